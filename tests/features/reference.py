"""Every feature a second time, in plain pandas and from the words alone.

Two layers, neither of which reads the compiled side. :func:`state` keeps the facts that were known
before a date, each as it was written then, and plays every customer's days one by one: it knows no
step, no slice, no ``until``. :func:`features` reads that state, one date for all customers, the way
it is written in a notebook. The compiled families must agree with both.

Days are days since 1970-01-01, money is in cents, a date that is not there is ``NEVER``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pandas as pd

from features.history import MICROSECONDS_A_DAY, Facts
from features.ledger import TABLES

TOLERANCE_CENTS = 100
KINDS = ["payment", "credit_note", "write_off", "reversal"]
WINDOWS = (30, 90, 180, 365)
YEAR = 365
BLOCK, BLOCKS = 30, 12
FEWEST_PEER_EVENTS = 20
THE_END = 100_000  # 2243, after every date of a ledger


@dataclass(frozen=True)
class State:
    """What was known at a date, of all customers; ``customer_id`` may be text or integers.

    Attributes
    ----------
    customers : DataFrame, indexed by customer_id
        Whom to describe: every customer of the ledger, whatever is known of him.
        ``sector``, ``country`` (null when unknown), ``recorded_on`` (day, NaN when his row was not
        recorded yet).
    invoices : DataFrame
        Known invoices, oldest first within a customer: by ``known_on``, ``issued_on``, ``due_on``,
        identifier. ``customer_id``, ``invoice_id``, ``known_on``, ``issued_on``, ``due_on`` (days),
        ``cents``, ``balance`` (open cents, 0 once within the tolerance), ``closed_by`` (kind of
        settlement, null while open), ``days_late`` (of the payment in full, else NaN).
    closings : DataFrame
        Payments in full, also of invoices re-opened since; by ``known_on``, then as the invoices,
        within a customer. ``customer_id``, ``known_on``, ``due_on`` (days), ``days_late``,
        ``cents`` (amount of the invoice), ``parts`` (payments less reversals until then),
        ``residue`` (cents waived), ``stands`` (not re-opened since).
    payments : DataFrame
        Known settlement lines. ``customer_id``, ``known_on``, ``kind``, ``cents``, ``named`` (bool:
        names an invoice).
    disputes : DataFrame
        Known disputes of known invoices. ``customer_id``, ``invoice_id``, ``is_open`` (bool).
    limits : DataFrame
        Known credit limits. ``customer_id``, ``limit_id``, ``decided_on``, ``recorded_at``
        (microseconds), ``amount_cents``.
    statements : DataFrame
        Known accounts. ``customer_id``, ``statement_id``, ``known_on``, ``closed_on`` (days) and
        the amounts of the ledger's table, NaN where not said.
    covers : DataFrame
        Known insurance covers. ``customer_id``, ``cover_id``, ``known_on``, ``recorded_at``
        (microseconds), ``ends_on`` (day or NEVER), ``amount_cents``, ``insured_rate``.
    insolvencies : DataFrame
        Known judgments. ``customer_id``, ``kind``.
    peer_events : DataFrame
        Payments in full as first seen, of customers whose row was recorded: see
        :func:`first_seen`. ``customer_id``, ``sector``, ``country``, ``known_on`` (day),
        ``days_late``.
    """

    customers: pd.DataFrame
    invoices: pd.DataFrame
    closings: pd.DataFrame
    payments: pd.DataFrame
    disputes: pd.DataFrame
    limits: pd.DataFrame
    statements: pd.DataFrame
    covers: pd.DataFrame
    insolvencies: pd.DataFrame
    peer_events: pd.DataFrame


# --- What was known ----------------------------------------------------------------------


def state(
    facts: Facts, as_of: int, seen: pd.DataFrame | None = None, customers: tuple[str, ...] = ()
) -> State:
    """Say what was known at `as_of`, of every customer of the ledger and of `customers`.

    `seen` is what :func:`first_seen` gives; it does not depend on the date.
    """
    rows = {name: known_rows(facts, name, as_of) for name in TABLES}
    everyone = {c for columns in facts.values() for c in columns["customer_id"]} | {*customers}
    standing, closed = _played(rows["invoices"], rows["settlements"])
    invoices, closings = _invoices(standing), _closings(closed)
    lines = rows["settlements"].rename(columns={"amount_cents": "cents"})
    disputes = rows["disputes"]
    disputes = disputes[disputes["invoice_id"].isin(invoices["invoice_id"])]
    seen = first_seen(facts) if seen is None else seen
    return State(
        customers=rows["customers"]
        .set_index("customer_id")
        .rename(columns={"known_on": "recorded_on"})[["sector", "country", "recorded_on"]]
        .reindex(sorted(everyone)),
        invoices=invoices,
        closings=closings,
        payments=lines.assign(named=lines["invoice_id"].notna()),
        disputes=disputes.assign(is_open=disputes["closed_on"] >= as_of),
        limits=rows["credit_limits"],
        statements=rows["financial_statements"],
        covers=rows["insurance_covers"],
        insolvencies=rows["insolvency_events"],
        peer_events=seen[seen["known_on"] < as_of],
    )


def first_seen(facts: Facts) -> pd.DataFrame:
    """Log every payment in full on the day it was first seen; what came later changes no line.

    A payment in full known on a day is seen by who looks on the day after, with the rows as they
    were written then: one that only a later correction makes is never seen, one that a correction
    takes away stays. It counts from the day the customer's own row was recorded, with the sector
    and country of then.

    Returns
    -------
    DataFrame
        ``State.peer_events`` of the last day there is.
    """
    tables = {name: pd.DataFrame(facts[name]) for name in ("invoices", "settlements")}
    changes: dict[str, set[int]] = {}  # first dates that see a correction, by customer
    for rows in tables.values():
        rows = rows[rows["since_at"] > rows["recorded_at"]]
        for customer, instant in zip(rows["customer_id"], rows["since_at"], strict=True):
            changes.setdefault(customer, set()).add(instant // MICROSECONDS_A_DAY + 1)
    log = _seen_between(
        {n: rows[~rows["customer_id"].isin(list(changes))] for n, rows in tables.items()},
        0,
        THE_END,
    )
    for customer, days in changes.items():
        own = {n: rows[rows["customer_id"] == customer] for n, rows in tables.items()}
        for first, after in pairwise([0, *sorted(days), THE_END]):
            log += _seen_between(own, first, after)
    events = _closings(log)[["customer_id", "known_on", "days_late"]]
    customers = pd.DataFrame(facts["customers"])
    customers["recorded_on"] = customers["recorded_at"] // MICROSECONDS_A_DAY
    events = events.merge(customers.drop(columns=["name"]), on="customer_id")
    events["known_on"] = events[["known_on", "recorded_on"]].max(axis=1)
    midnight = (events["known_on"] + 1) * MICROSECONDS_A_DAY
    as_written = (events["since_at"] < midnight) & (midnight <= events["until_at"])
    return events[as_written][["customer_id", "sector", "country", "known_on", "days_late"]]


def _seen_between(tables: dict[str, pd.DataFrame], first: int, after: int) -> list[tuple]:
    """Payments in full seen for the first time by the dates `first` to `after` - 1."""
    rows = [_known_rows(tables[name], name, after - 1) for name in ("invoices", "settlements")]
    return [closing for closing in _played(*rows)[1] if closing[1] + 1 >= first]


def known_rows(facts: Facts, name: str, as_of: int) -> pd.DataFrame:
    """Rows of a table known before `as_of`, each in the version that was current when it began."""
    return _known_rows(pd.DataFrame(facts[name]), name, as_of)


def _known_rows(rows: pd.DataFrame, name: str, as_of: int) -> pd.DataFrame:
    midnight = as_of * MICROSECONDS_A_DAY
    rows = rows[(rows["since_at"] < midnight) & (midnight <= rows["until_at"])]
    assert rows[TABLES[name].key].is_unique
    happened_on, recorded_on = TABLES[name].happened_on, rows["recorded_at"] // MICROSECONDS_A_DAY
    known_on = recorded_on if happened_on is None else recorded_on.clip(lower=rows[happened_on])
    return rows.assign(known_on=known_on)[known_on < as_of]


@dataclass
class Closing:
    """An invoice is paid in full."""

    known: int
    days_late: int
    parts: int
    residue: int
    stands: bool = True


@dataclass
class Bill:
    """One invoice, as it stands while the days go by."""

    known: int
    issued: int
    due: int
    name: str
    cents: int
    balance: int = 0
    taken: list[tuple[str, int, int]] = field(default_factory=list)  # kind, cents, value date
    closed_by: str | None = None
    closings: list[Closing] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.balance = self.cents

    @property
    def is_open(self) -> bool:
        """More than the tolerance is owed, or half of it."""
        return self.balance > TOLERANCE_CENTS or 2 * self.balance >= self.cents

    def sum_of(self, *kinds: str) -> int:
        """Add what these kinds of settlement took off."""
        return sum(cents for kind, cents, _ in self.taken if kind in kinds)

    def count_of(self, kind: str) -> int:
        """Count what settlements of this kind took something off, or put it back."""
        return sum(one == kind for one, _, _ in self.taken)

    def take(self, kind: str, cents: int, paid_on: int, today: int) -> None:
        """Take `cents` off the balance, and see whether that pays or re-opens the invoice."""
        was_open = self.is_open
        self.taken.append((kind, cents, paid_on))
        self.balance -= cents
        if self.is_open:
            if self.closed_by == "payment":
                self.closings[-1].stands = False
            self.closed_by = None
        elif was_open:
            in_cash, waived = self.sum_of("payment", "reversal"), self.sum_of("credit_note")
            self.closed_by = "payment" if in_cash > waived else "credit_note"
            if self.sum_of("write_off"):
                self.closed_by = "write_off"
            if self.closed_by == "payment":
                last = max(paid_on for _, _, paid_on in self.taken)
                parts = self.count_of("payment") - self.count_of("reversal")
                self.closings.append(Closing(today, last - self.due, parts, self.balance))


def _played(invoices: pd.DataFrame, lines: pd.DataFrame) -> tuple[list[tuple], list[tuple]]:
    """Play every customer's known invoices and cash: rows of ``invoices`` and of ``closings``."""
    cash_of = dict(list(lines.groupby("customer_id")))
    standing, closed = [], []
    for customer, rows in invoices.groupby("customer_id"):
        for bill in bills_of(rows, cash_of.get(customer, lines.iloc[:0])):
            late = bill.closings[-1].days_late if bill.closed_by == "payment" else np.nan
            dates = (bill.known, bill.issued, bill.due)
            owed = bill.balance if bill.is_open else 0
            standing.append((customer, bill.name, *dates, bill.cents, owed, bill.closed_by, late))
            closed += [
                (customer, c.known, bill.due, c.days_late, bill.cents, c.parts, c.residue, c.stands)
                for c in bill.closings
            ]
    return standing, closed


def _invoices(standing: list[tuple]) -> pd.DataFrame:
    names = "customer_id invoice_id known_on issued_on due_on cents balance closed_by days_late"
    return _frame(standing, names, text={"customer_id", "invoice_id", "closed_by"})


def _closings(closed: list[tuple]) -> pd.DataFrame:
    names = "customer_id known_on due_on days_late cents parts residue stands"
    rows = _frame(closed, names, text={"customer_id"})
    rows["stands"] = rows["stands"].astype(bool)
    return rows.sort_values(["customer_id", "known_on"], kind="stable")


def _frame(rows: list[tuple], names: str, text: set[str]) -> pd.DataFrame:
    columns = zip(
        names.split(), zip(*rows, strict=True) if rows else [()] * len(names), strict=False
    )
    return pd.DataFrame(
        {name: np.array(column, object if name in text else float) for name, column in columns}
    )


def bills_of(invoices: pd.DataFrame, lines: pd.DataFrame) -> list[Bill]:
    """Play what is known of one customer; the oldest invoice comes first."""
    bills = [
        Bill(r.known_on, r.issued_on, r.due_on, r.invoice_id, r.amount_cents)
        for r in invoices.itertuples()
    ]
    bills.sort(key=lambda b: (b.known, b.issued, b.due, b.name))
    cash = _cash(lines, bills)
    credit: dict[str, list[int]] = {kind: [0, 0] for kind in KINDS[:3]}  # cents, value date
    days = {b.known for b in bills} | {line[0] for line in cash}
    for today in sorted(days):
        arrived = [b for b in bills if b.known <= today]
        _spend(credit, arrived, today)
        while cash and cash[0][0] == today:
            _receive(*cash.pop(0)[4:], credit, today)
            _spend(credit, arrived, today)
    return bills


def _cash(lines: pd.DataFrame, bills: list[Bill]) -> list[tuple]:
    """Cash lines in the order they play: held until their invoice is known, reversals last."""
    place_of, cash = {b.name: i for i, b in enumerate(bills)}, []
    for r in lines.itertuples():
        named = not pd.isna(r.invoice_id)
        if named and r.invoice_id not in place_of:
            continue
        place = place_of[r.invoice_id] if named else -1
        bill = bills[place] if named else None
        day = max(r.known_on, bill.known) if bill else r.known_on
        content = (KINDS.index(r.kind), place, r.settled_on, r.amount_cents)
        order = (day, r.kind == "reversal", not named, content)
        cash.append((*order, r.kind, bill, r.amount_cents, r.settled_on))
    return sorted(cash, key=lambda line: line[:4])


def _receive(kind, bill, cents, paid_on, credit, today) -> None:
    applied = 0
    if bill and kind == "reversal":
        applied = min(cents, bill.cents - bill.balance)
    elif bill:
        applied = min(cents, bill.balance)
    if applied:
        bill.take(kind, -applied if kind == "reversal" else applied, paid_on, today)
    rest = cents - applied
    if kind == "reversal":
        credit["payment"][0] = max(credit["payment"][0] - rest, 0)
    elif rest and (kind != "write_off" or bill is None):
        credit[kind] = [credit[kind][0] + rest, paid_on]


def _spend(credit, bills, today) -> None:
    for kind, (cents, paid_on) in credit.items():
        for bill in bills if cents else []:
            if cents and bill.is_open:
                applied = min(cents, bill.balance)
                bill.take(kind, applied, paid_on, today)
                cents -= applied
        credit[kind] = [0 if kind == "write_off" else cents, paid_on]


# --- The features ------------------------------------------------------------------------

ZERO_WHEN_NOTHING = [
    *(f"settled_{window}_invoices" for window in WINDOWS),
    *("open_exposure", "open_invoices", "open_longest_overdue_days", "open_oldest_days"),
    *("purchases_invoices_90", "purchases_amount_90"),
    *("purchases_invoices_365", "purchases_amount_365"),
    *("payments_bounces_365", "disputes_open_invoices"),
    *("legal_insolvency", "legal_liquidation"),
]
"""What is 0, and not missing, for a customer of whom nothing is known."""

SETTLED = ["invoices", "days_beyond_terms", "late_rate", "late_30_rate"]
WINDOW_OF = {
    **{f"settled_{window}_{name}": window for window in WINDOWS for name in SETTLED},
    **{
        f"year_{name}": YEAR
        for name in (
            *("mean_days_late", "median_days_late", "p90_days_late", "spread_days"),
            *("late_15_rate", "late_60_rate", "late_90_rate"),
            *("trend_days", "partial_rate", "residue_rate"),
        )
    },
    **{"purchases_invoices_90": 90, "purchases_amount_90": 90},
    **{f"purchases_{name}": YEAR for name in ("invoices_365", "amount_365", "trend")},
    **{f"purchases_{name}": BLOCK * BLOCKS for name in ("volatility", "dso_days")},
    **{
        f"payments_{name}": YEAR
        for name in ("interval_days", "irregularity_days", "unallocated_rate", "bounces_365")
    },
    **{f"disputes_{name}": YEAR for name in ("rate_365", "late_disputed_rate", "credit_note_rate")},
    **{"relation_beyond_law_rate": YEAR, "cover_cut_180": 180},
    **{"peers_late_rate": YEAR, "peers_late_30_rate": YEAR},
}
"""Features that are missing when the ledger was observed for fewer days than their window."""


def features(known: State, as_of: int, observed_from: int | None) -> pd.DataFrame:
    """Describe every customer at a date; `observed_from` is None when nothing ever was.

    Returns
    -------
    DataFrame
        Indexed as ``known.customers``, one column a feature, in the order of the specification.
    """
    standing = known.closings[known.closings["stands"]]
    families = {
        **{f"settled_{window}": settled(standing, as_of, window) for window in WINDOWS},
        "year": year(standing, as_of),
        "latest": latest(standing, as_of),
        "recent": recent(standing, as_of),
        "open": open_items(known.invoices, known.limits, as_of),
        "due": fallen_due(known.invoices, as_of),
        "purchases": purchases(known.invoices, as_of),
        "payments": payments(known.payments, as_of),
        "disputes": disputes(known.invoices, known.disputes, known.payments, as_of),
        "relation": relation(known.invoices, known.customers.index, as_of),
        "accounts": accounts(known.statements, as_of),
        "cover": cover(known.covers, known.invoices, as_of),
        "legal": legal(known.insolvencies),
        "peers": peers(known.peer_events, known.customers, as_of),
    }
    everyone = known.customers.index
    X = pd.concat(
        [rows.reindex(everyone).add_prefix(f"{name}_") for name, rows in families.items()], axis=1
    ).astype(float)
    X[ZERO_WHEN_NOTHING] = X[ZERO_WHEN_NOTHING].fillna(0.0)
    observed_days = -1 if observed_from is None else as_of - observed_from
    X[[name for name, window in WINDOW_OF.items() if observed_days < window]] = np.nan
    return X


def _by(rows: pd.DataFrame | pd.Series, customer: pd.Series | None = None):
    """Group by customer, in the order of the rows."""
    return rows.groupby("customer_id" if customer is None else customer, sort=False, observed=True)


def _inside(rows: pd.DataFrame, as_of: int, window: int) -> pd.DataFrame:
    """Rows that became known on the `window` days before `as_of`."""
    return rows[rows["known_on"].between(as_of - window, as_of - 1)]


def _ratio(part: pd.Series, whole: pd.Series) -> pd.Series:
    """Divide; missing where there is no whole, or none above zero."""
    return part / whole.where(whole > 0)


def settled(standing: pd.DataFrame, as_of: int, window: int) -> pd.DataFrame:
    """Payments in full known in a window; days weigh by amount, rates count."""
    paid = _inside(standing, as_of, window)
    sums = _by(
        paid.assign(
            weighted=paid["days_late"] * paid["cents"],
            late=paid["days_late"] > 0,
            late_30=paid["days_late"] > 30,
        )
    ).agg(
        invoices=("cents", "size"),
        cents=("cents", "sum"),
        weighted=("weighted", "sum"),
        late_rate=("late", "mean"),
        late_30_rate=("late_30", "mean"),
    )
    return sums.assign(days_beyond_terms=sums["weighted"] / sums["cents"])[SETTLED]


def year(standing: pd.DataFrame, as_of: int) -> pd.DataFrame:
    """How the payments in full of a year are distributed."""
    paid = _inside(standing, as_of, YEAR)
    late = paid["days_late"]
    groups = _by(
        paid.assign(
            late_15=late > 15,
            late_60=late > 60,
            late_90=late > 90,
            in_parts=paid["parts"] > 1,
            short=paid["residue"] > 0,
        )
    )
    shares = groups[["late_15", "late_60", "late_90", "in_parts", "short"]].mean()
    days = "days_beyond_terms"
    return pd.DataFrame(
        {
            "mean_days_late": groups["days_late"].mean(),
            "median_days_late": groups["days_late"].median(),
            "p90_days_late": groups["days_late"].quantile(0.9),
            "spread_days": groups["days_late"].std(ddof=0),
            "late_15_rate": shares["late_15"],
            "late_60_rate": shares["late_60"],
            "late_90_rate": shares["late_90"],
            "trend_days": settled(standing, as_of, 90)[days] - settled(standing, as_of, YEAR)[days],
            "partial_rate": shares["in_parts"],
            "residue_rate": shares["short"],
        }
    )


def latest(standing: pd.DataFrame, as_of: int) -> pd.DataFrame:
    """Describe the latest five payments in full, and how many in a row were in time."""
    five = _by(_by(standing).tail(5)).agg(
        days_beyond_terms=("days_late", "mean"),
        worst_days_late=("days_late", "max"),
        last=("known_on", "max"),
    )
    backwards = standing[::-1]
    so_far_late = _by(backwards["days_late"] > 0, backwards["customer_id"]).cumsum()
    streak = _by(so_far_late == 0, backwards["customer_id"]).sum()
    return pd.DataFrame(
        {
            "days_beyond_terms": five["days_beyond_terms"],
            "worst_days_late": five["worst_days_late"],
            "days_since": as_of - five["last"],
            "on_time_streak": streak,
        }
    )


def recent(standing: pd.DataFrame, as_of: int) -> pd.DataFrame:
    """Payments in full, half as much every 90 days and nothing beyond ten half-lives."""
    paid = standing[as_of - standing["known_on"] <= 900]
    customer, late = paid["customer_id"], paid["days_late"]
    weight = 0.5 ** ((as_of - paid["known_on"]) / 90)
    total = _by(weight, customer).sum()

    def mean(values: pd.Series) -> pd.Series:
        return _by(weight * values, customer).sum() / total

    usual = mean(late)
    return pd.DataFrame(
        {
            "days_beyond_terms": usual,
            "late_rate": mean(late > 0),
            "late_15_rate": mean(late > 15),
            "spread_days": mean((late - customer.map(usual).astype(float)) ** 2) ** 0.5,
        }
    )


def _exposure(invoices: pd.DataFrame) -> pd.Series:
    """Open cents of each customer who was ever invoiced."""
    return _by(invoices)["balance"].sum()


def open_items(invoices: pd.DataFrame, limits: pd.DataFrame, as_of: int) -> pd.DataFrame:
    """Say what is owed, how late it is, and in how few invoices it lies."""
    owed = invoices[invoices["balance"] > 0]
    past_due = as_of - 1 - owed["due_on"]
    sums = _by(
        owed.assign(
            over_0=owed["balance"].where(past_due > 0, 0),
            over_30=owed["balance"].where(past_due > 30, 0),
            over_60=owed["balance"].where(past_due > 60, 0),
            over_90=owed["balance"].where(past_due > 90, 0),
            past_due=past_due,
            weighted=past_due * owed["balance"],
        )
    ).agg(
        exposure=("balance", "sum"),
        invoices=("balance", "size"),
        over_0=("over_0", "sum"),
        over_30=("over_30", "sum"),
        over_60=("over_60", "sum"),
        over_90=("over_90", "sum"),
        longest=("past_due", "max"),
        weighted=("weighted", "sum"),
        first_issued=("issued_on", "min"),
        largest=("balance", "max"),
    )
    three = _by(_by(owed.sort_values("balance", ascending=False)).head(3))["balance"].sum()
    newest = limits.sort_values(["decided_on", "recorded_at", "limit_id"])
    limit = _by(newest)["amount_cents"].last()
    exposure = sums["exposure"]
    return pd.DataFrame(
        {
            "exposure": exposure / 100,
            "invoices": sums["invoices"],
            "overdue_rate": sums["over_0"] / exposure,
            "overdue_30_rate": sums["over_30"] / exposure,
            "overdue_60_rate": sums["over_60"] / exposure,
            "overdue_90_rate": sums["over_90"] / exposure,
            "longest_overdue_days": sums["longest"].clip(lower=0),
            "days_past_due": sums["weighted"] / exposure,
            "oldest_days": (as_of - 1 - sums["first_issued"]).clip(lower=0),
            "top_1_rate": sums["largest"] / exposure,
            "top_3_rate": three / exposure,
            "limit_use": _ratio(exposure.reindex(limit.index, fill_value=0), limit),
        }
    )


def _late_so_far(invoices: pd.DataFrame, as_of: int) -> pd.Series:
    """Days late of the payment in full; of what is not paid, or written off, days so far."""
    return invoices["days_late"].fillna(as_of - 1 - invoices["due_on"])


def fallen_due(invoices: pd.DataFrame, as_of: int) -> pd.DataFrame:
    """Invoices past due, half as much every 60 days and nothing from ten half-lives on."""
    since_due = as_of - 1 - invoices["due_on"]
    due = invoices[since_due.between(0, 599) & (invoices["closed_by"] != "credit_note")]
    since_due, late = as_of - 1 - due["due_on"], _late_so_far(due, as_of)
    weight = 0.5 ** (since_due / 60)
    weight_15 = weight.where(since_due > 15, 0)

    def mean(values: pd.Series, weight: pd.Series) -> pd.Series:
        total = _by(weight, due["customer_id"]).sum()
        return _ratio(_by(weight * values, due["customer_id"]).sum(), total)

    return pd.DataFrame(
        {
            "late_rate": mean(late > 0, weight),
            "late_15_rate": mean(late > 15, weight_15),
            "days_late": mean(late.clip(lower=0), weight),
        }
    )


def purchases(invoices: pd.DataFrame, as_of: int) -> pd.DataFrame:
    """Say how much is bought, how steadily, since when, and how many days of it are owed."""
    ever = _by(invoices).agg(first=("known_on", "min"), last=("known_on", "max"))
    bought = {
        window: _by(_inside(invoices, as_of, window))["cents"].agg(["size", "sum"])
        for window in (90, YEAR)
    }
    quarter, whole_year = bought[90]["sum"].reindex(ever.index, fill_value=0), bought[YEAR]["sum"]
    in_blocks = _inside(invoices, as_of, BLOCK * BLOCKS)
    blocks = (
        in_blocks.assign(block=(as_of - 1 - in_blocks["known_on"]) // BLOCK)
        .groupby(["customer_id", "block"], observed=True)["cents"]
        .sum()
        .unstack(fill_value=0)
        .reindex(columns=range(BLOCKS), fill_value=0)
    )
    return pd.DataFrame(
        {
            "invoices_90": bought[90]["size"],
            "amount_90": bought[90]["sum"] / 100,
            "invoices_365": bought[YEAR]["size"],
            "amount_365": whole_year / 100,
            "trend": (quarter / 90) / (whole_year / YEAR),
            "typical_amount": _by(_by(invoices).tail(20))["cents"].mean() / 100,
            "days_since_last": as_of - ever["last"],
            "tenure_days": as_of - ever["first"],
            "volatility": blocks.std(axis=1, ddof=0) / blocks.mean(axis=1),
            "dso_days": _count_back(_exposure(invoices), blocks),
        }
    )


def _count_back(balance: pd.Series, blocks: pd.DataFrame) -> pd.Series:
    """Days of the latest sales that add up to the balance; `blocks` has the latest block first."""
    sales = blocks.reindex(balance.index, fill_value=0)
    until = sales.cumsum(axis=1)
    used_up = until.lt(balance, axis=0)  # the blocks that the balance outlasts
    n_used_up = used_up.sum(axis=1)
    rest = balance - sales.where(used_up, 0).sum(axis=1)
    last = sales.where(~used_up).bfill(axis=1)[0]  # of the block in which it ends
    days = BLOCK * n_used_up + BLOCK * rest / last
    return days.where(n_used_up < BLOCKS, BLOCK * BLOCKS).where(balance > 0, 0)


def payments(lines: pd.DataFrame, as_of: int) -> pd.DataFrame:
    """When money comes, how regularly, with what remittance, and how often it bounces."""
    paid = lines[lines["kind"] == "payment"]
    in_year = _inside(lines, as_of, YEAR)
    paid_in_year = in_year[in_year["kind"] == "payment"]
    days = paid_in_year[["customer_id", "known_on"]].drop_duplicates().sort_values("known_on")
    gaps = days.assign(gap=_by(days)["known_on"].diff())
    n = _by(days).size()
    unnamed = paid_in_year["cents"].where(~paid_in_year["named"], 0)
    cents = _by(paid_in_year.assign(unnamed=unnamed))[["cents", "unnamed"]].sum()
    return pd.DataFrame(
        {
            "days_since_last": as_of - _by(paid)["known_on"].max(),
            "interval_days": _by(gaps)["gap"].mean(),
            "irregularity_days": _by(gaps)["gap"].std(ddof=0).where(n >= 3),
            "unallocated_rate": cents["unnamed"] / cents["cents"],
            "bounces_365": _by(in_year[in_year["kind"] == "reversal"]).size(),
        }
    )


def disputes(
    invoices: pd.DataFrame, known_disputes: pd.DataFrame, lines: pd.DataFrame, as_of: int
) -> pd.DataFrame:
    """Say what is contested, and what is credited."""
    contested = known_disputes[known_disputes["is_open"]]["invoice_id"]
    invoices = invoices.assign(
        disputed=invoices["invoice_id"].isin(known_disputes["invoice_id"]),
        contested=invoices["invoice_id"].isin(contested),
    )
    in_year = _inside(invoices, as_of, YEAR)
    owed = invoices[invoices["balance"] > 0]
    owed = owed.assign(contested_cents=owed["balance"].where(owed["contested"], 0))
    cents = _by(owed)[["balance", "contested_cents"]].sum()
    late = invoices[
        (as_of - 1 - invoices["due_on"]).between(0, YEAR - 1)
        & (invoices["closed_by"] != "credit_note")
        & (_late_so_far(invoices, as_of) > 0)
    ]
    lines = _inside(lines, as_of, YEAR)
    credited = _by(lines[lines["kind"] == "credit_note"])["cents"].sum()
    bought = _by(in_year)["cents"].sum()
    return pd.DataFrame(
        {
            "rate_365": _by(in_year)["disputed"].mean(),
            "open_invoices": _by(owed)["contested"].sum(),
            "open_rate": cents["contested_cents"] / cents["balance"],
            "late_disputed_rate": _by(late)["disputed"].mean(),
            "credit_note_rate": credited.reindex(bought.index, fill_value=0) / bought,
        }
    )


def relation(invoices: pd.DataFrame, everyone: pd.Index, as_of: int) -> pd.DataFrame:
    """Say how new the customer is, and how long his terms are."""
    terms = invoices.assign(terms=invoices["due_on"] - invoices["issued_on"])
    in_year = _inside(invoices, as_of, YEAR)
    issued = pd.to_datetime(in_year["issued_on"], unit="D")
    days_45, month_end = pd.Timedelta(days=45), pd.offsets.MonthEnd(0)
    longest = pd.concat(
        [
            issued + pd.Timedelta(days=60),
            issued + month_end + days_45,
            issued + days_45 + month_end,
        ],
        axis=1,
    ).max(axis=1)  # C. com. L441-10
    beyond = pd.to_datetime(in_year["due_on"], unit="D") > longest
    return pd.DataFrame(
        {
            "first_orders": (_by(invoices).size().reindex(everyone, fill_value=0) < 3).astype(
                float
            ),
            "terms_days": _by(_by(terms).tail(20))["terms"].mean(),
            "beyond_law_rate": _by(beyond, in_year["customer_id"]).mean(),
        }
    )


def accounts(statements: pd.DataFrame, as_of: int) -> pd.DataFrame:
    """Describe the latest accounts, and the change since those of the year before."""
    oldest_first = statements.sort_values(["closed_on", "known_on", "statement_id"])
    now = _by(oldest_first).tail(1).set_index("customer_id")
    age = (
        oldest_first["customer_id"].map(now["closed_on"]).astype(float) - oldest_first["closed_on"]
    )
    before = _by(oldest_first[age.between(300, 430)]).tail(1).set_index("customer_id")
    before = before.reindex(now.index)
    ratios = _ratios(now)
    change = (ratios - _ratios(before)).drop(columns="revenue").add_suffix("_change")
    growth = _ratio(now["revenue_cents"].where(now["revenue_cents"] > 0), before["revenue_cents"])
    return ratios.join(change).assign(revenue_change=growth - 1, age_days=as_of - now["closed_on"])


def _ratios(rows: pd.DataFrame) -> pd.DataFrame:
    assets = rows["total_assets_cents"]
    return pd.DataFrame(
        {
            "leverage": _ratio(assets - rows["equity_cents"], assets),
            "liquidity": _ratio(rows["current_assets_cents"], rows["current_liabilities_cents"]),
            "coverage": _ratio(rows["operating_income_cents"], rows["financial_debt_cents"]),
            "profitability": _ratio(rows["net_income_cents"], rows["revenue_cents"]),
            "revenue": rows["revenue_cents"] / 100,
        }
    )


def _in_force(covers: pd.DataFrame, day: int) -> pd.DataFrame:
    """Give the cover in force at `day` of each customer who has one, by customer."""
    running = covers[(covers["known_on"] < day) & (covers["ends_on"] >= day - 1)]
    newest_last = running.sort_values(["known_on", "recorded_at", "cover_id"])
    return _by(newest_last).tail(1).set_index("customer_id")


def cover(covers: pd.DataFrame, invoices: pd.DataFrame, as_of: int) -> pd.DataFrame:
    """Say what the insurer covers, and whether it is less than 180 days ago."""
    ever = pd.Index(covers["customer_id"].unique())
    now = _in_force(covers, as_of).reindex(ever)
    before = _in_force(covers, as_of - 180)["amount_cents"].reindex(ever).fillna(0)
    amount = now["amount_cents"].fillna(0)
    exposure = _exposure(invoices).reindex(ever, fill_value=0)
    return pd.DataFrame(
        {
            "amount": amount / 100,
            "insured_rate": now["insured_rate"].where(amount > 0),
            "use": _ratio(exposure, amount),
            "cut_180": (amount < before).astype(float),
            "refused": (now["amount_cents"] == 0).astype(float),
        }
    )


def legal(insolvencies: pd.DataFrame) -> pd.DataFrame:
    """Say whether a court has opened proceedings."""
    is_liquidation = insolvencies["kind"] == "liquidation"
    return pd.DataFrame(
        {
            "insolvency": _by(insolvencies).size().clip(upper=1),
            "liquidation": _by(is_liquidation, insolvencies["customer_id"]).max(),
        }
    )


def peers(events: pd.DataFrame, customers: pd.DataFrame, as_of: int) -> pd.DataFrame:
    """How others of the same sector and country paid within a year, his own payments left out."""
    group, counts = ["sector", "country"], ["n", "late", "late_30"]
    events = _inside(events, as_of, YEAR).dropna(subset=group)
    events = events.assign(n=1, late=events["days_late"] > 0, late_30=events["days_late"] > 30)
    of_group = events.groupby(group, observed=True)[counts].sum()
    of_customer = events.groupby(["customer_id", *group], observed=True)[counts].sum()
    placed = customers.dropna().rename_axis("customer_id")
    everybody = placed.join(of_group, on=group)[counts]
    own = placed.set_index(group, append=True).join(of_customer)[counts].droplevel(group)
    others = everybody.fillna(0) - own.fillna(0)
    enough = others["n"] >= FEWEST_PEER_EVENTS
    return pd.DataFrame(
        {
            "late_rate": (others["late"] / others["n"]).where(enough),
            "late_30_rate": (others["late_30"] / others["n"]).where(enough),
        }
    )


def order(
    cents: np.ndarray, issued_on: np.ndarray, due_on: np.ndarray, typical_amount: np.ndarray
) -> pd.DataFrame:
    """Describe invoices, issued or planned, beside the customer's typical amount (in units)."""
    due = pd.Series(pd.to_datetime(due_on, unit="D"))
    amount, typical = pd.Series(cents) / 100, pd.Series(typical_amount)
    return pd.DataFrame(
        {
            "order_amount": amount,
            "order_amount_to_habit": _ratio(amount, typical),
            "order_terms_days": pd.Series(due_on) - pd.Series(issued_on),
            "order_due_weekday": due.dt.day_of_week,
            "order_due_month_day": due.dt.day,
        }
    ).astype(float)


def alike(closings: pd.DataFrame, as_of: int, due_on: int, cents: int) -> pd.Series:
    """Describe how one customer's paid invoices were met, those most like the invoice first.

    `closings` are the customer's that still stand, of :class:`State`.
    """
    rows = closings[closings["known_on"] >= as_of - 1800].tail(500)
    if rows.empty:
        return pd.Series({"alike_late_rate": np.nan, "alike_days_late": np.nan})
    recent = 0.5 ** ((as_of - rows["known_on"]) / 180)
    smaller, larger = rows["cents"].clip(upper=cents), rows["cents"].clip(lower=cents)
    same_weekday = pd.to_datetime(rows["due_on"], unit="D").dt.day_of_week == (due_on + 3) % 7
    like = recent * smaller / larger * np.where(same_weekday, 1.0, 0.1)
    met = {"late_rate": rows["days_late"] > 0, "days_late": rows["days_late"].clip(-90, 90)}
    return pd.Series(
        {
            f"alike_{name}": ((like * one).sum() + np.average(one, weights=recent))
            / (like.sum() + 1)
            for name, one in met.items()
        }
    )
