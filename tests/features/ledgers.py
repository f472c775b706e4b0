"""Small ledgers: read from a docstring, or drawn at random with every oddity we know of."""

import inspect
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from features.history import MICROSECONDS_A_DAY, NEVER, Facts
from features.ledger import TABLES, Ledger, conform, empty_table

EMPTY = {name: empty_table(name) for name in TABLES}
START = 19_723  # 2024-01-01, a Monday


def day(date: str) -> int:
    """Days since 1970 of an ISO date."""
    return int(np.datetime64(date, "D").astype(int))


def read_tables(text: str) -> dict[str, pd.DataFrame]:
    """Read the tables of a docstring, one a paragraph, told apart by their columns.

    ``amount`` is in euros. The customer is A and a settlement a payment unless they are said. A
    paragraph with both ``due_on`` and ``settled_on`` gives, line by line, an invoice issued 30 days
    before it is due, unless said, and the payment of all of it; still open when blank.
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
    if "amount" in rows:
        cents = pd.to_numeric(rows.pop("amount")) * 100
        rows["amount_cents"] = cents.round().astype("Int64")
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
    typed = {n: conform(n, tables[n]) if n in tables else EMPTY[n] for n in TABLES}
    return Ledger("EUR", typed)


def is_known(facts: Facts, name: str, as_of: int) -> np.ndarray:
    """Say which rows of a table happened and were recorded before `as_of`, both."""
    rows, happened_on = facts[name], TABLES[name].happened_on
    known = rows["recorded_at"] < as_of * MICROSECONDS_A_DAY
    return known if happened_on is None else known & (rows[happened_on] < as_of)


def known_before(facts: Facts, as_of: int) -> Facts:
    """Keep what happened and was recorded before `as_of`: what a witness of that day could say."""
    kept = {
        name: {column: values[is_known(facts, name, as_of)] for column, values in rows.items()}
        for name, rows in facts.items()
    }
    closed_on = kept["disputes"]["closed_on"]
    kept["disputes"]["closed_on"] = np.where(closed_on < as_of, closed_on, NEVER).astype(np.int32)
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


@st.composite
def raw_tables(draw: st.DrawFn, kinds: st.SearchStrategy[str] = KINDS) -> dict[str, Any]:
    """Draw raw tables of 1–4 customers and up to 25 invoices, all rows good.

    Payments are partial, over, late, early, before the invoice, in no invoice's name, reversed, and
    written down late; several facts fall on one day, week-ends included.
    """
    customers = [f"C{i}" for i in range(draw(st.integers(1, 4)))]
    invoices, settlements, disputes = [], [], []
    for i in range(draw(st.integers(1, 25))):
        customer = draw(st.sampled_from(customers))
        issued = START + draw(st.sampled_from([0, 7, 30, 31]) | st.integers(0, 450))
        cents, terms = draw(AMOUNTS), draw(st.sampled_from([0, 14, 30, 60]))
        invoices.append((f"F{i}", customer, issued, issued + terms, cents, issued + draw(LAGS)))
        paid = issued
        for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2, 3, 4]))):
            paid = max(paid + draw(PAID_AFTER), START - 20)
            owner, name = customer, draw(st.sampled_from([f"F{i}"] * 4 + [None]))
            kind, amount = draw(kinds), draw(SHARES)(cents)
            if kind == "reversal" and settlements:  # of the line before
                owner, name, _, _, amount, _ = settlements[-1]
            settlements.append((owner, name, kind, paid, amount, paid + draw(LAGS)))
        if draw(st.sampled_from([False] * 4 + [True])):
            closed = draw(st.sampled_from([None, issued + 20]))
            disputes.append((f"D{i}", customer, f"F{i}", issued + 5, closed, issued + draw(LAGS)))
    return {
        "customers": pd.DataFrame({"customer_id": customers}),
        "invoices": _frame(
            invoices, "invoice_id customer_id issued_on due_on amount_cents recorded_at"
        ),
        "settlements": _frame(
            settlements, "customer_id invoice_id kind settled_on amount_cents recorded_at"
        ),
        "disputes": _frame(
            disputes, "dispute_id customer_id invoice_id opened_on closed_on recorded_at"
        ),
    }


def _frame(rows: list[tuple], names: str) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=names.split())
    for column in frame:
        if column.endswith(("_on", "_at")):
            frame[column] = pd.to_datetime(frame[column].astype("float64"), unit="D")
    return frame


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
