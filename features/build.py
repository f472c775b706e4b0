"""Spine × history → feature matrix, the same compiled families in batch and for one customer.

A *spine* says for whom and when: a customer, an exclusive date ``as_of`` and, for the late curve,
the invoice in question. The monthly spine of the default curve, the issue dates of the late curve
and the single row of an assessment all go through :func:`build`, so that training and serving
cannot drift apart.
"""

from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from features import settled as settled_family
from features.accounts import Accounts, accounts
from features.alike import Alike, alike
from features.compiled import count_before, njit
from features.cover import Cover, cover
from features.disputes import Disputes, credited, disputes
from features.fallen_due import FADED_DAYS as DUE_FADED_DAYS
from features.fallen_due import FallenDue, fallen_due
from features.history import Accounts as AccountsKnown
from features.history import (
    Covers,
    Days,
    Groups,
    History,
    Invoices,
    Judgments,
    Limits,
    Lines,
    Settled,
    in_dispute,
    last_step,
    limit_in_force,
)
from features.history import Disputes as DisputesKnown
from features.legal import Legal, legal
from features.open_items import OpenItems, open_items
from features.order import Order, order
from features.payments import Payments, payments
from features.peers import Own, Peers, Table, peers
from features.purchases import Purchases, purchases
from features.relation import Relation, relation
from features.settled import WINDOWS_DAYS, YEAR_DAYS, latest, recent, settled, year
from features.settlement import CREDIT_NOTE, NOTHING, PAYMENT, Steps

FAMILIES: dict[str, tuple[str, ...]] = {
    **{f"settled_{window}": settled_family.Settled._fields for window in WINDOWS_DAYS},
    "year": settled_family.Year._fields,
    "latest": settled_family.Latest._fields,
    "recent": settled_family.Recent._fields,
    "open": OpenItems._fields,
    "due": FallenDue._fields,
    "purchases": Purchases._fields,
    "payments": Payments._fields,
    "disputes": Disputes._fields,
    "relation": Relation._fields,
    "accounts": Accounts._fields,
    "cover": Cover._fields,
    "legal": Legal._fields,
    "peers": Peers._fields,
}
"""What is said of a customer, by family; a feature is named after both."""

CUSTOMER_FEATURES: tuple[str, ...] = tuple(
    f"{family}_{field}" for family, fields in FAMILIES.items() for field in fields
)
"""What is said of a customer at a date: the features of the default curve."""

ORDER_FEATURES: tuple[str, ...] = tuple(
    f"{family}_{field}"
    for family, fields in (("order", Order._fields), ("alike", Alike._fields))
    for field in fields
)
"""What is said of an invoice besides: the late curve reads both."""

TYPICAL_AMOUNT = CUSTOMER_FEATURES.index("purchases_typical_amount")
COPIED_ROWS = 20_000  # at once: their copy stays in the cache
N_FEATURES = len(CUSTOMER_FEATURES)
EDGES = [0, *accumulate(len(fields) for fields in FAMILIES.values())]


class Spine(NamedTuple):
    """The (customer, as_of) pairs to describe, in any order, with their invoice where there is one.

    Attributes
    ----------
    customer : ndarray of int64, shape (n_rows,)
        Codes from :meth:`History.codes`; −1 for a customer without any fact.
    as_of : ndarray of int32
        Exclusive date, in days.
    invoice : ndarray of int64
        Index into the history's invoices, −1 for a planned order or none.
    amount_cents, issued_on, due_on
        The invoice, issued or planned; empty arrays when the rows have none.
    """

    customer: NDArray[np.int64]
    as_of: Days
    invoice: NDArray[np.int64]
    amount_cents: NDArray[np.int64]
    issued_on: Days
    due_on: Days


def invoice_spine(history: History, chosen: NDArray[np.int64] | None = None) -> Spine:
    """Describe each invoice on its issue date, or only the `chosen` ones by index.

    Of an invoice corrected since, the first version is described: the only one known then.
    """
    invoices = history.invoices
    index = history.current if chosen is None else chosen
    first = history.as_first_known(index)
    return Spine(
        customer=history.invoice_customer[index],
        as_of=invoices.issued_on[first],
        invoice=index,
        amount_cents=invoices.amount_cents[first],
        issued_on=invoices.issued_on[first],
        due_on=invoices.due_on[first],
    )


def customer_spine(customer: NDArray[np.int64], as_of: Days) -> Spine:
    """Describe customers at dates, with no invoice."""
    none = np.empty(0, np.int32)
    return Spine(customer, as_of, none.astype(np.int64), none.astype(np.int64), none, none)


def feature_names(*, with_order: bool) -> tuple[str, ...]:
    """Names of the columns of :func:`build`, in order."""
    return CUSTOMER_FEATURES + ORDER_FEATURES if with_order else CUSTOMER_FEATURES


def build(history: History, spine: Spine) -> NDArray[np.float64]:
    """Compute the feature matrix.

    Parameters
    ----------
    history : History
        Facts of every customer of the spine.
    spine : Spine
        Rows to describe.

    Returns
    -------
    ndarray of float64, shape (n_rows, n_features)
        In the spine's order; columns as in :func:`feature_names`, the order's own features only
        when the spine has invoices. NaN is *missing*, never zero; a window longer than the observed
        history is missing.
    """
    has_invoices = spine.due_on.size > 0
    X = np.empty((spine.customer.size, len(feature_names(with_order=has_invoices))))
    looked_at = _describe_customers(history, spine, X[:, :N_FEATURES])
    if has_invoices:
        _describe_orders(history, spine, looked_at, X)
    return X


def _describe_customers(
    history: History, spine: Spine, out: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Write the customers' features; return the view that each row looks at."""
    (customer, as_of), pair_of_row = _distinct(spine.customer, spine.as_of)
    view = history.views.at(customer, as_of)
    pairs = _Pairs(customer, view, as_of, as_of - history.observed_from)
    if pair_of_row is None:
        _customer_features(history, pairs, out)
        return view
    by_pair = np.empty((as_of.size, N_FEATURES))
    _customer_features(history, pairs, by_pair)
    for begin in range(0, pair_of_row.size, COPIED_ROWS):
        rows = slice(begin, begin + COPIED_ROWS)
        out[rows] = by_pair[pair_of_row[rows]]
    return view[pair_of_row]


def _describe_orders(
    history: History, spine: Spine, looked_at: NDArray[np.int64], X: NDArray[np.float64]
) -> None:
    """Write the features of each row's own invoice beside those of its customer."""
    own, described = X[:, N_FEATURES:], len(Order._fields)
    typical_amount = np.ascontiguousarray(X[:, TYPICAL_AMOUNT])
    _order_features(
        spine.amount_cents, spine.issued_on, spine.due_on, _month_day(spine.due_on),
        typical_amount, own[:, :described],
    )  # fmt: skip
    due_on = history.invoices.due_on
    _alike_features(history.settled, due_on, spine, looked_at, own[:, described:])


def _distinct(
    customer: NDArray[np.int64], as_of: Days
) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """Distinct (customer, as_of) pairs: a customer with ten invoices a day is described once.

    Beside them the pair of each row, ``None`` where they are the rows.
    """
    key = customer.astype(np.int64) << 32 | as_of.astype(np.int64)
    pair_of_row: NDArray[np.int64] | None = None
    if not (key[1:] > key[:-1]).all():  # else they are distinct and sorted as they come
        key, pair_of_row = np.unique(key, return_inverse=True)
    return np.stack([key >> 32, key & 0xFFFFFFFF]), pair_of_row


def _month_day(days: Days) -> NDArray[np.int32]:
    dates = days.astype("datetime64[D]")
    month_day: NDArray[np.int32] = (dates - dates.astype("datetime64[M]")).astype(np.int32) + 1
    return month_day


class _Pairs(NamedTuple):
    """Whom to describe when, sorted by customer, then by date.

    ``looked_at`` is the customer's view that the date looks at, −1 for a customer without any fact;
    ``observed_days`` how long the ledger as a whole had been observed.
    """

    customer: NDArray[np.int64]
    looked_at: NDArray[np.int64]
    as_of: NDArray[np.int64]
    observed_days: NDArray[np.int64]


def _customer_features(history: History, pairs: _Pairs, out: NDArray[np.float64]) -> None:
    """Describe each pair, one kernel after the other; each writes the columns of its families."""
    owed = np.empty(pairs.as_of.size, np.int64)  # cents
    h, of = history, _columns
    _settled(h.settled, pairs, out[:, of("settled_30", "recent")])
    _owed(
        h.invoices, h.steps, h.disputes, h.limits, h.lines,
        pairs, out[:, of("open", "due")], out[:, of("disputes")], owed,
    )  # fmt: skip
    _bought(h.invoices, owed, pairs, out[:, of("purchases")], out[:, of("relation")])
    _paid(h.lines, pairs, out[:, of("payments")])
    _published(h.accounts, pairs, out[:, of("accounts")])
    _insured(h.covers, owed, pairs, out[:, of("cover")])
    _judged(h.judgments, pairs, out[:, of("legal")])
    own_group = h.groups.code[h.own.view]
    _compared(h.groups, h.own, own_group, h.peers.table, pairs, out[:, of("peers")])


def _columns(first: str, last: str = "") -> slice:
    """Find the columns of a family, or of those from `first` to `last`."""
    names = list(FAMILIES)
    return slice(EDGES[names.index(first)], EDGES[names.index(last or first) + 1])


Values = TypeVar("Values", bound=tuple[float, ...])


@njit
def _put(out: NDArray[np.float64], col: int, values: Values) -> int:
    """Write one family's features from `col` on; return the column after them."""
    for value in values:
        out[col] = value
        col += 1
    return col


@njit
def _slice(
    start: NDArray[np.int64], known_on: NDArray[np.int32], view: int, as_of: int
) -> tuple[int, int]:
    """Find the rows of a view that were known before `as_of`; none for view −1."""
    if view < 0:
        return 0, 0
    first, last = start[view], start[view + 1]
    return first, first + count_before(known_on[first:last], as_of)


@njit
def _settled(paid: Settled, pairs: _Pairs, out: NDArray[np.float64]) -> None:
    for row in range(pairs.as_of.size):
        today, observed_days = pairs.as_of[row], pairs.observed_days[row]
        first, last = _slice(paid.start, paid.known_on, pairs.looked_at[row], today)
        col, begin, beyond_90, beyond_365 = 0, first, np.nan, np.nan
        for window in WINDOWS_DAYS:
            begin = first + count_before(paid.known_on[first:last], today - window)
            days_late, cents = paid.days_late[begin:last], paid.amount_cents[begin:last]
            in_window = settled(days_late, cents, paid.until[begin:last], today)
            if window == 90:
                beyond_90 = in_window.days_beyond_terms
            beyond_365 = in_window.days_beyond_terms
            for value in in_window:
                out[row, col] = value if observed_days >= window else np.nan
                col += 1
        if observed_days < YEAR_DAYS:
            begin = last
        in_year = year(
            paid.days_late[begin:last],
            paid.payments[begin:last],
            paid.has_residue[begin:last],
            paid.until[begin:last],
            today,
            beyond_90 - beyond_365,
        )
        col = _put(out[row], col, in_year)
        days_late, known_on = paid.days_late[first:last], paid.known_on[first:last]
        until = paid.until[first:last]
        col = _put(out[row], col, latest(days_late, known_on, until, today))
        _put(out[row], col, recent(days_late, known_on, until, today))


class _Room(NamedTuple):
    """Room for one customer's open invoices and for those fallen due."""

    days_past_due: NDArray[np.int32]
    age_days: NDArray[np.int32]
    open_cents: NDArray[np.int64]
    open_is_disputed: NDArray[np.bool_]
    days_since_due: NDArray[np.int32]
    days_late: NDArray[np.int32]
    due_was_disputed: NDArray[np.bool_]


@njit
def _room(start: NDArray[np.int64]) -> _Room:
    """Make room for the customer with most invoices."""
    n = 0
    for i in range(start.size - 1):
        n = max(n, start[i + 1] - start[i])
    return _Room(
        np.empty(n, np.int32),
        np.empty(n, np.int32),
        np.empty(n, np.int64),
        np.empty(n, np.bool_),
        np.empty(n, np.int32),
        np.empty(n, np.int32),
        np.empty(n, np.bool_),
    )


@njit
def _owed(
    invoices: Invoices,
    steps: Steps,
    contested: DisputesKnown,
    limits: Limits,
    lines: Lines,
    pairs: _Pairs,
    out: NDArray[np.float64],
    contested_out: NDArray[np.float64],
    owed_cents: NDArray[np.int64],
) -> None:
    room = _room(invoices.start)
    oldest = 0  # invoices before it are gone for good at this date
    for row in range(pairs.as_of.size):
        today, view = pairs.as_of[row], pairs.looked_at[row]
        first, last = _slice(invoices.start, invoices.known_on, view, today)
        if row == 0 or view != pairs.looked_at[row - 1]:
            oldest = first
        while oldest < last and invoices.gone_on[oldest] < today:
            oldest += 1
        n_open, n_due = _gather(invoices, steps, contested, oldest, last, today, room)
        open_cents = room.open_cents[:n_open]
        owed_cents[row] = open_cents.sum()
        days_past_due, age_days = room.days_past_due[:n_open], room.age_days[:n_open]
        days_since_due, days_late = room.days_since_due[:n_due], room.days_late[:n_due]
        limit = limit_in_force(limits, view, today)
        limit_cents = limits.cents[limit] if limit >= 0 else 0
        col = _put(out[row], 0, open_items(days_past_due, age_days, open_cents, limit_cents))
        _put(out[row], col, fallen_due(days_since_due, days_late))
        in_year = first + count_before(invoices.known_on[first:last], today - YEAR_DAYS)
        a, b = _slice(lines.start, lines.known_on, view, today)
        a += count_before(lines.known_on[a:b], today - YEAR_DAYS)
        disputed = disputes(
            invoices.disputed_on[in_year:last],
            invoices.amount_cents[in_year:last],
            open_cents,
            room.open_is_disputed[:n_open],
            days_since_due,
            days_late,
            room.due_was_disputed[:n_due],
            credited(lines.kind[a:b], lines.cents[a:b]),
            today,
            pairs.observed_days[row],
        )
        _put(contested_out[row], 0, disputed)


@njit
def _bought(
    invoices: Invoices,
    owed_cents: NDArray[np.int64],
    pairs: _Pairs,
    out: NDArray[np.float64],
    granted_out: NDArray[np.float64],
) -> None:
    for row in range(pairs.as_of.size):
        today, observed_days = pairs.as_of[row], pairs.observed_days[row]
        first, last = _slice(invoices.start, invoices.known_on, pairs.looked_at[row], today)
        known_on, cents = invoices.known_on[first:last], invoices.amount_cents[first:last]
        _put(out[row], 0, purchases(known_on, cents, owed_cents[row], today, observed_days))
        issued_on, due_on = invoices.issued_on[first:last], invoices.due_on[first:last]
        n_year = last - first - count_before(known_on, today - YEAR_DAYS)
        is_beyond_law = invoices.is_beyond_law[first:last]
        granted = relation(issued_on, due_on, is_beyond_law, n_year, observed_days)
        _put(granted_out[row], 0, granted)


@njit
def _paid(lines: Lines, pairs: _Pairs, out: NDArray[np.float64]) -> None:
    for row in range(pairs.as_of.size):
        today, observed_days = pairs.as_of[row], pairs.observed_days[row]
        a, b = _slice(lines.start, lines.known_on, pairs.looked_at[row], today)
        known_on, kind, cents = lines.known_on[a:b], lines.kind[a:b], lines.cents[a:b]
        paid = payments(known_on, kind, cents, lines.is_named[a:b], today, observed_days)
        _put(out[row], 0, paid)


@njit
def _published(published: AccountsKnown, pairs: _Pairs, out: NDArray[np.float64]) -> None:
    for row in range(pairs.as_of.size):
        today = pairs.as_of[row]
        a, b = _slice(published.start, published.known_on, pairs.looked_at[row], today)
        _put(out[row], 0, accounts(published.closed_on[a:b], published.figures[a:b], today))


@njit
def _insured(
    covers: Covers, owed_cents: NDArray[np.int64], pairs: _Pairs, out: NDArray[np.float64]
) -> None:
    for row in range(pairs.as_of.size):
        today = pairs.as_of[row]
        a, b = _slice(covers.start, covers.known_on, pairs.looked_at[row], today)
        insured = cover(
            covers.known_on[a:b],
            covers.ends_on[a:b],
            covers.cents[a:b],
            covers.insured_rate[a:b],
            owed_cents[row],
            today,
            pairs.observed_days[row],
        )
        _put(out[row], 0, insured)


@njit
def _judged(judgments: Judgments, pairs: _Pairs, out: NDArray[np.float64]) -> None:
    for row in range(pairs.as_of.size):
        a, b = _slice(judgments.start, judgments.known_on, pairs.looked_at[row], pairs.as_of[row])
        _put(out[row], 0, legal(judgments.is_liquidation[a:b]))


@njit
def _compared(
    groups: Groups,
    own: Own,
    own_group: NDArray[np.int64],
    table: Table,
    pairs: _Pairs,
    out: NDArray[np.float64],
) -> None:
    for row in range(pairs.as_of.size):
        today, view, customer = pairs.as_of[row], pairs.looked_at[row], pairs.customer[row]
        group, a, b = -1, 0, 0
        if view >= 0 and groups.known_on[view] < today:
            group, a, b = groups.code[view], own.start[customer], own.start[customer + 1]
        others = peers(
            table,
            group,
            own_group[a:b],
            own.day[a:b],
            own.is_late[a:b],
            own.is_late_30[a:b],
            today,
            pairs.observed_days[row],
        )
        _put(out[row], 0, others)


@njit
def _gather(
    invoices: Invoices,
    steps: Steps,
    disputes: DisputesKnown,
    first: int,
    last: int,
    as_of: int,
    room: _Room,
) -> tuple[int, int]:
    """Gather what was open, and what fell due lately, among the invoices `first` … `last`.

    Of those fallen due, what a credit note closed is left out; what was written off is still
    unpaid.

    Returns
    -------
    n_open, n_due : int
        How many of each are in `room`.
    """
    n_open, n_due = 0, 0
    for i in range(first, last):
        if invoices.gone_on[i] < as_of:
            continue
        k = last_step(invoices, steps, i, as_of)
        was_disputed = invoices.disputed_on[i] < as_of
        balance = invoices.amount_cents[i] if k < 0 else steps.open_cents[k]
        since_due = as_of - 1 - invoices.due_on[i]
        if balance > 0:
            room.open_cents[n_open] = balance
            room.days_past_due[n_open] = since_due
            room.age_days[n_open] = as_of - 1 - invoices.issued_on[i]
            room.open_is_disputed[n_open] = was_disputed and in_dispute(
                disputes, invoices.dispute_start[i], invoices.dispute_start[i + 1], as_of
            )
            n_open += 1
        closed_by = NOTHING if k < 0 else steps.closed_by[k]
        if since_due < 0 or since_due >= DUE_FADED_DAYS or closed_by == CREDIT_NOTE:
            continue
        paid_late = steps.closed_on[k] - invoices.due_on[i] if closed_by == PAYMENT else since_due
        room.days_since_due[n_due], room.days_late[n_due] = since_due, paid_late
        room.due_was_disputed[n_due] = was_disputed
        n_due += 1
    return n_open, n_due


@njit
def _order_features(
    amount_cents: NDArray[np.int64],
    issued_on: NDArray[np.int32],
    due_on: NDArray[np.int32],
    due_month_day: NDArray[np.int32],
    typical_amount: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    for row in range(due_on.size):
        described = order(
            amount_cents[row], issued_on[row], due_on[row], due_month_day[row], typical_amount[row]
        )
        for col, value in enumerate(described):
            out[row, col] = value


@njit
def _alike_features(
    paid: Settled,
    due_on: NDArray[np.int32],
    spine: Spine,
    looked_at: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None:
    for row in range(spine.due_on.size):
        today = spine.as_of[row]
        first, last = _slice(paid.start, paid.known_on, looked_at[row], today)
        described = alike(
            paid.days_late[first:last],
            paid.amount_cents[first:last],
            paid.invoice[first:last],
            due_on,
            paid.known_on[first:last],
            paid.until[first:last],
            today,
            spine.due_on[row],
            spine.amount_cents[row],
        )
        _put(out[row], 0, described)
