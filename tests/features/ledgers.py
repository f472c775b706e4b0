"""Small ledgers: read from a docstring, or drawn at random with every oddity we know of."""

import inspect
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from features.history import FIGURES, FOREVER, MICROSECONDS_A_DAY, NEVER, Facts
from features.ledger import INSOLVENCY_KINDS, TABLES, Ledger, conform, empty_table

EMPTY = {name: empty_table(name) for name in TABLES}
START = 19_723  # 2024-01-01, a Monday
MONEY = {"amount", "deposit", *(figure.removesuffix("_cents") for figure in FIGURES)}


def day(date: str) -> int:
    """Days since 1970 of an ISO date."""
    return int(np.datetime64(date, "D").astype(int))


def read_tables(text: str) -> dict[str, pd.DataFrame]:
    """Read the tables of a docstring, one a paragraph, told apart by their columns.

    ``amount`` is in euros, as are ``revenue``, ``equity`` and the other figures of accounts. The
    customer is A and a settlement a payment unless they are said. A paragraph with both ``due_on``
    and ``settled_on`` gives, line by line, an invoice issued 30 days before it is due, unless said,
    and the payment of all of it; still open when blank. A line counts as many ``times`` as it says.
    """
    found: dict[str, list[pd.DataFrame]] = {}
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if "|" in paragraph:
            lines = [[cell.strip() for cell in line.split("|")] for line in paragraph.split("\n")]
            rows = _rows(pd.DataFrame(lines[1:], columns=lines[0], dtype="str").replace("", pd.NA))
            if {"due_on", "settled_on"} <= set(rows):
                for name, part in _shorthand(rows).items():
                    found.setdefault(name, []).append(part)
            else:
                found.setdefault(_name(rows), []).append(rows)
    tables = {name: pd.concat(parts, ignore_index=True) for name, parts in found.items()}
    if "customers" not in tables:
        ids = sorted(set().union(*(t["customer_id"].dropna() for t in tables.values())) | {"A"})
        tables["customers"] = pd.DataFrame({"customer_id": ids})
    return tables


def _name(rows: pd.DataFrame) -> str:
    told_by = {"due_on": "invoices", "settled_on": "settlements"}
    told_by |= {TABLES[name].key: name for name in reversed(TABLES)}  # customers last
    return next(name for column, name in told_by.items() if column in rows)


def _rows(rows: pd.DataFrame) -> pd.DataFrame:
    rows = rows.rename(columns={"customer": "customer_id", "invoice": "invoice_id"})
    if "customer_id" not in rows:
        rows.insert(0, "customer_id", "A")
    for column in rows:
        if column.endswith(("_on", "_at")):
            rows[column] = pd.to_datetime(rows[column], format="ISO8601")
    for column in MONEY & set(rows):
        cents = pd.to_numeric(rows.pop(column)) * 100
        rows[f"{column}_cents"] = cents.round().astype("Int64")
    if "insured_rate" in rows:
        rows["insured_rate"] = pd.to_numeric(rows["insured_rate"])
    if "times" in rows:
        times = pd.to_numeric(rows.pop("times")).to_numpy(int)
        rows = rows.loc[rows.index.repeat(times)].reset_index(drop=True)
    if "settled_on" in rows and "kind" not in rows:
        rows["kind"] = "payment"
    return rows


def _shorthand(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    if "invoice_id" not in rows:
        rows["invoice_id"] = [f"F{i}" for i in range(1, len(rows) + 1)]
    if "issued_on" not in rows:
        rows["issued_on"] = rows["due_on"] - pd.Timedelta(days=30)
    paid = rows[rows["settled_on"].notna()]
    return {
        "invoices": rows[["customer_id", "invoice_id", "issued_on", "due_on", "amount_cents"]],
        "settlements": paid[["customer_id", "invoice_id", "kind", "settled_on", "amount_cents"]],
    }


def ledger_of(tables: dict[str, pd.DataFrame]) -> Ledger:
    """Type rows that are known to be good, without the checks: they are slow and tested alone."""
    typed = {n: conform(n, rows) for n, rows in tables.items() if len(rows)}
    return Ledger("EUR", EMPTY | typed)


def corrected(facts: Facts) -> Facts:
    """Take a row whose key ends in ``'`` for the next version of the row without it.

    K1' counts from the instant it was recorded, and K1 until then; both are known since K1 was.
    """
    facts = {name: dict(rows) for name, rows in facts.items()}
    for name, table in TABLES.items():
        rows, key = facts[name], facts[name][table.key]
        place = {k: i for i, k in enumerate(key)}
        for i, k in enumerate(key):
            if k.endswith("'"):
                before = place[k[:-1]]
                rows["until_at"][before] = rows["since_at"][i]
                rows["recorded_at"][i] = rows["recorded_at"][before]
        rows[table.key] = np.array([k.rstrip("'") for k in key], object)
    return facts


def is_known(facts: Facts, name: str, as_of: int) -> np.ndarray:
    """Say which rows of a table happened and were recorded before `as_of`, both."""
    rows, happened_on = facts[name], TABLES[name].happened_on
    known = rows["since_at"] < as_of * MICROSECONDS_A_DAY
    return known if happened_on is None else known & (rows[happened_on] < as_of)


def known_before(facts: Facts, as_of: int) -> Facts:
    """Keep what happened and was recorded before `as_of`: what a witness of that day could say."""
    kept = {
        name: {column: values[is_known(facts, name, as_of)] for column, values in rows.items()}
        for name, rows in facts.items()
    }
    for rows in kept.values():
        still = rows["until_at"] >= as_of * MICROSECONDS_A_DAY
        rows["until_at"] = np.where(still, FOREVER, rows["until_at"])
    for name in ("disputes", "orders"):
        closed_on = kept[name]["closed_on"]
        kept[name]["closed_on"] = np.where(closed_on < as_of, closed_on, NEVER).astype(np.int32)
    return kept


AMOUNTS = st.sampled_from([1, 2, 99, 150, 199, 201, 10_000, 12_345, 100_000]) | st.integers(
    1, 500_000
)
LAGS = st.sampled_from([0, 0, 0, 0, 1, 3, 40, -5])
PAID_AFTER = st.sampled_from([-3, 0, 0, 1, 4, 10, 30, 31, 61, 95]) | st.integers(-10, 200)
KINDS = st.sampled_from(["payment"] * 6 + ["reversal"] * 3 + ["credit_note"] * 2 + ["write_off"])
SHARES = st.sampled_from(
    [
        lambda cents: cents,
        lambda cents: cents,
        lambda cents: max(cents - 100, 1),
        lambda cents: max(cents - 101, 1),
        lambda cents: cents // 2 or 1,
        lambda cents: cents // 3 or 1,
        lambda cents: 2 * cents + 1,
    ]
)


DAYS = st.sampled_from([0, 30, 31, 200]) | st.integers(-200, 500)
FIGURE = [100_000, 250_000, 50_000, 120_000, -20_000, 0, None]
PUBLISHED = st.sampled_from([90, 90, 180, 300])
ALIKE = st.sampled_from(
    [
        *6 * [("4321A", "FR", START - 900)],
        *(("4321A", "FR", START + 60), ("4321A", "FR", START + 400)),
        *((None, "FR", START), ("4321A", None, START), ("4669B", "FR", START)),
    ]
)
CHANGES = st.sampled_from(
    [
        *(("group", "G1"), ("group", "G1"), ("group", "G2"), ("group", None)),
        *(("bank_details", "unverified"), ("bank_details", "verified"), ("bank_details", None)),
        *(("strategic_importance", level) for level in ("normal", "important", "key", None)),
    ]
)
COVERS = st.sampled_from(
    [
        *((100_000, 0.9, None), (100_000, 0.7, 200), (5_000, 0.9, 30)),
        *((5_000, 0.9, None), (0, 0.0, None), (0, 0.9, 0)),
    ]
)


@st.composite
def raw_tables(draw: st.DrawFn, kinds: st.SearchStrategy[str] = KINDS) -> dict[str, Any]:
    """Draw raw tables of 1–4 customers and up to 25 invoices, all rows good.

    Payments are partial, over, late, early, before the invoice, in no invoice's name, reversed, and
    written down late; several facts fall on one day, week-ends included. One ledger in four has one
    customer more, who pays often enough to be the others' peers. Limits, covers, judgments and
    accounts lie around the invoices, as do orders and changes of the customers.
    """
    customers = [f"C{i}" for i in range(draw(st.integers(1, 4)))]
    invoices, settlements, disputes = [], [], []
    for i in range(draw(st.integers(1, 25))):
        customer = draw(st.sampled_from(customers))
        issued = START + draw(st.sampled_from([0, 7, 30, 31]) | st.integers(0, 450))
        cents, terms = draw(AMOUNTS), draw(st.sampled_from([0, 14, 30, 60, 75]))
        invoices.append((f"F{i}", customer, issued, issued + terms, cents, issued + draw(LAGS)))
        paid = issued
        for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2, 3, 4]))):
            paid = max(paid + draw(PAID_AFTER), START - 20)
            owner, name = customer, draw(st.sampled_from([f"F{i}"] * 4 + [None]))
            kind, amount = draw(kinds), draw(SHARES)(cents)
            if kind == "reversal" and settlements:  # of the line before
                owner, name, _, _, amount, _ = settlements[-1]
            settlements.append((owner, name, kind, paid, amount, paid + draw(LAGS)))
        for again in range(draw(st.sampled_from([0, 0, 0, 0, 1, 2]))):
            opened = issued + draw(st.sampled_from([0, 5, 40]))
            closed = draw(st.sampled_from([None, opened, opened + 20, opened + 400]))
            disputes.append(
                (f"D{i}.{again}", customer, f"F{i}", opened, closed, opened + draw(LAGS))
            )
    if draw(st.sampled_from([False] * 3 + [True])):
        customers.append("C4")
        first, delay = START + draw(st.integers(0, 200)), draw(st.integers(0, 12))
        for i in range(24):
            issued, paid = first + 3 * i, first + 3 * i + 30 + delay * (i % 5)
            invoices.append((f"F9{i}", "C4", issued, issued + 30, 10_000, issued))
            settlements.append(("C4", f"F9{i}", "payment", paid, 10_000, paid))
    return {
        "customers": _customers(draw, customers),
        "invoices": _frame(
            invoices, "invoice_id customer_id issued_on due_on amount_cents recorded_at"
        ),
        "settlements": _frame(
            settlements, "customer_id invoice_id kind settled_on amount_cents recorded_at"
        ),
        "disputes": _frame(
            disputes, "dispute_id customer_id invoice_id opened_on closed_on recorded_at"
        ),
        **_around_the_invoices(draw, customers),
    }


def _customers(draw: st.DrawFn, customers: list[str]) -> pd.DataFrame:
    """Draw mostly alike customers, so that they have peers; some are recorded late."""
    rows = [(customer, *draw(ALIKE)) for customer in customers]
    return _frame(rows, "customer_id sector country recorded_at")


def _around_the_invoices(draw: st.DrawFn, customers: list[str]) -> dict[str, pd.DataFrame]:
    limits, covers, judgments, statements = [], [], [], []
    owners = st.sampled_from(customers)
    for i in range(draw(st.integers(0, 4))):
        amount = draw(st.sampled_from([0, 5_000, 100_000]))
        limits.append((f"L{i}", draw(owners), START + draw(DAYS), amount, draw(LAGS)))
    for i in range(draw(st.integers(0, 5))):
        starts = START + draw(DAYS)
        amount, share, lasts = draw(COVERS)
        ends = None if lasts is None else starts + lasts
        covers.append((f"K{i}", draw(owners), starts, ends, amount, share, draw(LAGS)))
    for i in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        kind, opened = draw(st.sampled_from(INSOLVENCY_KINDS)), START + draw(DAYS)
        judgments.append((f"J{i}", draw(owners), kind, opened, draw(LAGS)))
    owner = draw(owners)
    for i in range(draw(st.sampled_from([0, 1, 2, 3, 4]))):
        closed, waits = START + draw(st.sampled_from([-731, -366, -300, 0, 0])), draw(PUBLISHED)
        which = draw(st.integers(0, len(FIGURE) ** len(FIGURES)))
        figures = [FIGURE[which // len(FIGURE) ** n % len(FIGURE)] for n in range(len(FIGURES))]
        statements.append((f"S{i}", owner, closed, closed + waits, *figures, draw(LAGS)))
    orders, changes = [], []
    for i in range(draw(st.integers(0, 6))):
        accepted, cents = START + draw(DAYS), draw(AMOUNTS)
        lasts, deposit = draw(st.sampled_from([None, 0, 1, 20, 300])), draw(SHARES)(cents)
        closed = None if lasts is None else accepted + lasts
        deposit = draw(st.sampled_from([0, 0, min(deposit, cents)]))
        orders.append((f"O{i}", draw(owners), accepted, closed, cents, deposit, draw(LAGS)))
    for i in range(draw(st.integers(0, 6))):
        changes.append((f"M{i}", draw(owners), START + draw(DAYS), *draw(CHANGES), draw(LAGS)))
    tables = {
        "orders": _frame(
            orders, "order_id customer_id accepted_on closed_on amount_cents deposit_cents lag"
        ),
        "customer_changes": _frame(changes, "change_id customer_id changed_on kind value lag"),
        "credit_limits": _frame(limits, "limit_id customer_id decided_on amount_cents lag"),
        "insurance_covers": _frame(
            covers, "cover_id customer_id starts_on ends_on amount_cents insured_rate lag"
        ),
        "insolvency_events": _frame(judgments, "event_id customer_id kind opened_on lag"),
        "financial_statements": _frame(
            statements, f"statement_id customer_id closed_on published_on {' '.join(FIGURES)} lag"
        ),
    }
    return {name: _recorded(name, rows) for name, rows in tables.items()}


def _recorded(name: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Give the last column, a lag in days, as the day it leads to."""
    lag = rows.pop("lag").to_numpy("timedelta64[D]")
    return rows.assign(recorded_at=rows[TABLES[name].happened_on] + lag)


def _frame(rows: list[tuple], names: str) -> pd.DataFrame:
    """Lay rows out by column; days since 1970 become dates."""
    named = names.split()
    columns = zip(*rows, strict=True) if rows else [np.array([], object)] * len(named)
    return pd.DataFrame({n: _typed(n, values) for n, values in zip(named, columns, strict=True)})


def _typed(name: str, values: Any) -> Any:
    if name.endswith(("_on", "_at")):
        return np.array(values, "datetime64[D]").astype("datetime64[us]")
    return pd.array(values, "Int64") if name in FIGURES else values


AS_OF = st.integers(START - 30, START + 700)


@st.composite
def moments(draw: st.DrawFn) -> tuple[dict[str, Any], int]:
    """Draw tables and a date: mostly the day of some fact, or few days after, where it matters."""
    tables = draw(raw_tables())
    dates = [rows[c] for rows in tables.values() for c in rows if c.endswith(("_on", "_at"))]
    days = pd.concat(dates).dropna().dt.floor("D").unique()
    of_a_fact = (days - pd.Timestamp(0)).days.tolist()
    after = draw(st.sampled_from([0, 1, 1, 2, 3, 31, 91]))
    return tables, draw(st.sampled_from(of_a_fact)) + after
