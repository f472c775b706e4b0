"""Every feature a second time: slow, plain, and from the words alone.

It is written from the docstrings of the families, in the simplest way there is: keep the facts that
were known before the date, play them day by day, look at the balances. It knows no step, no slice,
no ``until``. The compiled families must agree with it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import nan

import pandas as pd

from features.ledger import Ledger

TOLERANCE_CENTS = 100
KINDS = ["payment", "credit_note", "write_off", "reversal"]
WINDOWS = (30, 90, 180, 365)
A_DAY = pd.Timedelta(days=1)


@dataclass
class Bill:
    """One invoice, as it stands while the days go by."""

    known: pd.Timestamp
    issued: pd.Timestamp
    due: pd.Timestamp
    name: str
    cents: int
    taken: list[tuple[str, int, pd.Timestamp]] = field(default_factory=list)
    closed_by: str | None = None
    closed: tuple[pd.Timestamp, int] | None = None  # day we knew, days late

    @property
    def balance(self) -> int:
        """What is still owed."""
        return self.cents - sum(cents for _, cents, _ in self.taken)

    @property
    def is_open(self) -> bool:
        """More than the tolerance is owed, or half of it."""
        return self.balance > TOLERANCE_CENTS or 2 * self.balance >= self.cents

    def sum_of(self, *kinds: str) -> int:
        """Add what these kinds of settlement took off."""
        return sum(cents for kind, cents, _ in self.taken if kind in kinds)

    def take(self, kind: str, cents: int, paid_on: pd.Timestamp, today: pd.Timestamp) -> None:
        """Take `cents` off the balance, and see whether that pays or re-opens the invoice."""
        was_open = self.is_open
        self.taken.append((kind, cents, paid_on))
        if self.is_open:
            self.closed_by = None
        elif was_open:
            last = max(paid_on for _, _, paid_on in self.taken)
            self.closed = (today, (last - self.due).days)
            in_cash, waived = self.sum_of("payment", "reversal"), self.sum_of("credit_note")
            self.closed_by = "payment" if in_cash > waived else "credit_note"
            if self.sum_of("write_off"):
                self.closed_by = "write_off"


def bills_at(ledger: Ledger, customer: str, as_of: pd.Timestamp) -> list[Bill]:
    """Play what was known of a customer before `as_of`; the oldest invoice comes first."""
    rows = ledger["invoices"]
    rows = rows[rows["customer_id"] == customer]
    known = [
        Bill(
            _known(r.issued_on, r.recorded_at), r.issued_on, r.due_on, r.invoice_id, r.amount_cents
        )
        for r in rows.itertuples()
    ]
    bills = sorted(
        (b for b in known if b.known < as_of), key=lambda b: (b.known, b.issued, b.due, b.name)
    )
    cash = _cash(ledger, customer, as_of, {b.name: b for b in bills})
    credit: dict[str, list] = {kind: [0, None] for kind in KINDS[:3]}  # cents, value date
    days = {b.known for b in bills} | {line[0] for line in cash}
    for today in sorted(days):
        arrived = [b for b in bills if b.known <= today]
        _spend(credit, arrived, today)
        for line in cash:
            if line[0] == today:
                _receive(*line[4:], credit, today)
                _spend(credit, arrived, today)
    return bills


def _known(happened_on: pd.Timestamp, recorded_at: pd.Timestamp) -> pd.Timestamp:
    return max(happened_on, recorded_at.normalize())


def _cash(ledger: Ledger, customer: str, as_of: pd.Timestamp, bills: dict[str, Bill]) -> list:
    """Cash lines in the order they play: held until their invoice is known, reversals last."""
    lines = []
    rows = ledger["settlements"]
    for r in rows[rows["customer_id"] == customer].itertuples():
        named = not pd.isna(r.invoice_id)
        known = _known(r.settled_on, r.recorded_at)
        if known >= as_of or (named and r.invoice_id not in bills):
            continue
        bill = bills[r.invoice_id] if named else None
        day = max(known, bill.known) if bill else known
        place = list(bills).index(r.invoice_id) if named else -1
        lines.append(
            (
                day,
                r.kind == "reversal",
                not named,
                (KINDS.index(r.kind), place, r.settled_on, r.amount_cents),
                *(r.kind, bill, r.amount_cents, r.settled_on),
            )
        )
    return sorted(lines, key=lambda line: line[:4])


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
        for bill in bills:
            if cents and bill.is_open:
                applied = min(cents, bill.balance)
                bill.take(kind, applied, paid_on, today)
                cents -= applied
        credit[kind] = [0 if kind == "write_off" else cents, paid_on]


def features(
    ledger: Ledger, customer: str, as_of: pd.Timestamp, observed_from: pd.Timestamp | None
) -> dict[str, float]:
    """Every customer feature at a date, by name; `observed_from` is None when nothing ever was."""
    bills = bills_at(ledger, customer, as_of)
    observed = (as_of - observed_from).days if observed_from is not None else -1
    paid = [(*b.closed, b.cents) for b in bills if b.closed_by == "payment"]
    row = {}
    for window in WINDOWS:
        inside = [p for p in paid if as_of - window * A_DAY <= p[0]]
        named = _settled(pd.DataFrame(inside, columns=["known", "late", "cents"]))
        for name, value in named.items():
            row[f"settled_{window}_{name}"] = value if observed >= window else nan
    paid.sort(key=lambda p: p[0])  # stable: the oldest invoice first within a day
    row |= {f"latest_{n}": v for n, v in _latest(paid[-5:], as_of).items()}
    row |= {f"recent_{n}": v for n, v in _recent(paid, as_of).items()}
    row |= {f"open_{n}": v for n, v in _open([b for b in bills if b.is_open], as_of).items()}
    row |= {f"due_{n}": v for n, v in _fallen_due(bills, as_of).items()}
    row |= {f"purchases_{n}": v for n, v in _purchases(bills, as_of, observed).items()}
    return row


def _settled(paid: pd.DataFrame) -> dict[str, float]:
    if paid.empty:
        return {"invoices": 0, "days_beyond_terms": nan, "late_rate": nan, "late_30_rate": nan}
    return {
        "invoices": len(paid),
        "days_beyond_terms": (paid["late"] * paid["cents"]).sum() / paid["cents"].sum(),
        "late_rate": (paid["late"] > 0).mean(),
        "late_30_rate": (paid["late"] > 30).mean(),
    }


def _latest(paid: list, as_of: pd.Timestamp) -> dict[str, float]:
    if not paid:
        return {"days_beyond_terms": nan, "worst_days_late": nan, "days_since": nan}
    late = [days for _, days, _ in paid]
    return {
        "days_beyond_terms": sum(late) / len(late),
        "worst_days_late": max(late),
        "days_since": (as_of - paid[-1][0]).days,
    }


def _recent(paid: list, as_of: pd.Timestamp) -> dict[str, float]:
    """Half as much every 90 days, and nothing beyond ten half-lives."""
    aged = [((as_of - known).days, late) for known, late, _ in paid]
    weights = {i: 0.5 ** (age / 90) for i, (age, _) in enumerate(aged) if age <= 900}

    def mean(of: Callable[[int], float]) -> float:
        total = sum(weights.values())
        return sum(w * of(aged[i][1]) for i, w in weights.items()) / total if weights else nan

    usual = mean(lambda late: late)
    return {
        "days_beyond_terms": usual,
        "late_rate": mean(lambda late: late > 0),
        "late_15_rate": mean(lambda late: late > 15),
        "spread_days": mean(lambda late: (late - usual) ** 2) ** 0.5,
    }


def _fallen_due(bills: list[Bill], as_of: pd.Timestamp) -> dict[str, float]:
    """Half as much every 60 days, and nothing beyond ten half-lives."""
    yesterday = as_of - A_DAY
    due = [b for b in bills if b.due <= yesterday < b.due + 600 * A_DAY]
    due = [b for b in due if b.closed_by != "credit_note"]
    late = {
        b.name: b.closed[1] if b.closed_by == "payment" else (yesterday - b.due).days for b in due
    }

    def mean(among: list[Bill], of: Callable[[int], float]) -> float:
        weights = [0.5 ** ((yesterday - b.due).days / 60) for b in among]
        values = [of(late[b.name]) for b in among]
        pairs = zip(weights, values, strict=True)
        return sum(w * v for w, v in pairs) / sum(weights) if among else nan

    return {
        "late_rate": mean(due, lambda days: days > 0),
        "late_15_rate": mean([b for b in due if b.due < yesterday - 15 * A_DAY], lambda d: d > 15),
        "days_late": mean(due, lambda days: max(days, 0)),
    }


def _open(bills: list[Bill], as_of: pd.Timestamp) -> dict[str, float]:
    owed = sum(b.balance for b in bills)
    past_due = {b.name: (as_of - A_DAY - b.due).days for b in bills}

    def share(days: int) -> float:
        return sum(b.balance for b in bills if past_due[b.name] > days) / owed if owed else nan

    weighted = sum(past_due[b.name] * b.balance for b in bills)
    return {
        "exposure": owed / 100,
        "invoices": len(bills),
        "overdue_rate": share(0),
        "overdue_30_rate": share(30),
        "longest_overdue_days": max([0, *past_due.values()]),
        "days_past_due": weighted / owed if owed else nan,
    }


def _purchases(bills: list[Bill], as_of: pd.Timestamp, observed: int) -> dict[str, float]:
    def bought(window: int) -> list[int]:
        return [b.cents for b in bills if as_of - window * A_DAY <= b.known]

    latest = [b.cents for b in bills][-20:]
    year, quarter = sum(bought(365)), sum(bought(90))
    return {
        "invoices_90": len(bought(90)) if observed >= 90 else nan,
        "amount_90": quarter / 100 if observed >= 90 else nan,
        "trend": (quarter / 90) / (year / 365) if year and observed >= 365 else nan,
        "typical_amount": sum(latest) / len(latest) / 100 if latest else nan,
        "days_since_last": (as_of - bills[-1].known).days if bills else nan,
        "tenure_days": (as_of - bills[0].known).days if bills else nan,
    }
