"""Spine × history → feature matrix, the same compiled families in batch and for one customer.

A *spine* says for whom and when: a customer, an exclusive date ``as_of`` and, for the late curve,
the invoice in question. The monthly spine of the default curve, the issue dates of the late curve
and the single row of an assessment all go through :func:`build`, so that training and serving
cannot drift apart.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features import settled as settled_family
from features.compiled import njit
from features.fallen_due import FADED_DAYS as DUE_FADED_DAYS
from features.fallen_due import FallenDue, fallen_due
from features.history import Days, History, Invoices, Settled, last_step
from features.open_items import OpenItems, open_items
from features.order import Order, order
from features.purchases import Purchases, purchases
from features.settled import WINDOWS_DAYS, latest, recent, settled
from features.settlement import CREDIT_NOTE, NOTHING, PAYMENT, Steps

CUSTOMER_FEATURES: tuple[str, ...] = (
    *(f"settled_{w}_{f}" for w in WINDOWS_DAYS for f in settled_family.Settled._fields),
    *(f"latest_{f}" for f in settled_family.Latest._fields),
    *(f"recent_{f}" for f in settled_family.Recent._fields),
    *(f"open_{f}" for f in OpenItems._fields),
    *(f"due_{f}" for f in FallenDue._fields),
    *(f"purchases_{f}" for f in Purchases._fields),
)
"""What is said of a customer at a date: the features of the default curve."""

ORDER_FEATURES: tuple[str, ...] = tuple(f"order_{f}" for f in Order._fields)
"""What is said of an invoice besides: the late curve reads both."""

TYPICAL_AMOUNT = CUSTOMER_FEATURES.index("purchases_typical_amount")


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
    """Describe each invoice as it was on its issue date, or only the `chosen` ones by index."""
    invoices = history.invoices
    index = np.arange(invoices.amount_cents.size) if chosen is None else chosen
    return Spine(
        customer=history.invoice_customer[index],
        as_of=invoices.issued_on[index],
        invoice=index,
        amount_cents=invoices.amount_cents[index],
        issued_on=invoices.issued_on[index],
        due_on=invoices.due_on[index],
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
    pairs, pair_of_row = _distinct(spine.customer, spine.as_of)
    by_pair = np.empty((pairs.shape[1], len(CUSTOMER_FEATURES)))
    _customer_features(
        history.invoices,
        history.steps,
        history.settled,
        pairs[0],
        pairs[1],
        history.observed_from,
        by_pair,
    )
    X = by_pair[pair_of_row]
    if spine.due_on.size == 0:
        return X
    own = np.empty((spine.due_on.size, len(ORDER_FEATURES)))
    typical_amount = np.ascontiguousarray(X[:, TYPICAL_AMOUNT])
    month_day = _month_day(spine.due_on)
    _order_features(
        spine.amount_cents, spine.issued_on, spine.due_on, month_day, typical_amount, own
    )
    return np.hstack([X, own])


def _distinct(
    customer: NDArray[np.int64], as_of: Days
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Distinct (customer, as_of) pairs: a customer with ten invoices a day is described once."""
    key = customer.astype(np.int64) << 32 | as_of.astype(np.int64)
    distinct, pair_of_row = np.unique(key, return_inverse=True)
    return np.stack([distinct >> 32, distinct & 0xFFFFFFFF]), pair_of_row


def _month_day(days: Days) -> NDArray[np.int32]:
    dates = days.astype("datetime64[D]")
    month_day: NDArray[np.int32] = (dates - dates.astype("datetime64[M]")).astype(np.int32) + 1
    return month_day


@njit
def _customer_features(
    invoices: Invoices,
    steps: Steps,
    paid: Settled,
    customer: NDArray[np.int64],
    as_of: NDArray[np.int64],
    observed_from: int,
    out: NDArray[np.float64],
) -> None:
    days = np.empty(invoices.amount_cents.size, np.int32)
    days_late = np.empty(invoices.amount_cents.size, np.int32)
    cents = np.empty(invoices.amount_cents.size, np.int64)
    for row in range(customer.size):
        today = as_of[row]
        observed_days = today - observed_from
        first = last = paid_first = paid_last = 0
        if customer[row] >= 0:
            first, last = invoices.start[customer[row]], invoices.start[customer[row] + 1]
            last = first + np.searchsorted(invoices.known_on[first:last], today)
            paid_first, paid_last = paid.start[customer[row]], paid.start[customer[row] + 1]
            paid_last = paid_first + np.searchsorted(paid.known_on[paid_first:paid_last], today)
        col = 0
        for window in WINDOWS_DAYS:
            begin = paid_first + np.searchsorted(
                paid.known_on[paid_first:paid_last], today - window
            )
            in_window = settled(
                paid.days_late[begin:paid_last],
                paid.amount_cents[begin:paid_last],
                paid.until[begin:paid_last],
                today,
            )
            for value in in_window:
                out[row, col] = value if observed_days >= window else np.nan
                col += 1
        for value in latest(
            paid.days_late[paid_first:paid_last],
            paid.known_on[paid_first:paid_last],
            paid.until[paid_first:paid_last],
            today,
        ):
            out[row, col] = value
            col += 1
        for value in recent(
            paid.days_late[paid_first:paid_last],
            paid.known_on[paid_first:paid_last],
            paid.until[paid_first:paid_last],
            today,
        ):
            out[row, col] = value
            col += 1
        n_open = _gather_open(invoices, steps, first, last, today, days, cents)
        for value in open_items(days[:n_open], cents[:n_open]):
            out[row, col] = value
            col += 1
        n_due = _gather_fallen_due(invoices, steps, first, last, today, days, days_late)
        for value in fallen_due(days[:n_due], days_late[:n_due]):
            out[row, col] = value
            col += 1
        for value in purchases(
            invoices.known_on[first:last], invoices.amount_cents[first:last], today, observed_days
        ):
            out[row, col] = value
            col += 1


@njit
def _gather_open(
    invoices: Invoices,
    steps: Steps,
    first: int,
    last: int,
    as_of: int,
    days_past_due: NDArray[np.int32],
    open_cents: NDArray[np.int64],
) -> int:
    """Gather what was open before `as_of` among the invoices `first` … `last`; return how many."""
    n = 0
    for i in range(first, last):
        k = last_step(invoices, steps, i, as_of)
        balance = invoices.amount_cents[i] if k < 0 else steps.open_cents[k]
        if balance > 0:
            open_cents[n] = balance
            days_past_due[n] = as_of - 1 - invoices.due_on[i]
            n += 1
    return n


@njit
def _gather_fallen_due(
    invoices: Invoices,
    steps: Steps,
    first: int,
    last: int,
    as_of: int,
    days_since_due: NDArray[np.int32],
    days_late: NDArray[np.int32],
) -> int:
    """Gather what fell due before `as_of` among the invoices `first` … `last`; return how many.

    What a credit note closed is left out; what was written off is still unpaid.
    """
    n = 0
    for i in range(first, last):
        since_due = as_of - 1 - invoices.due_on[i]
        if since_due < 0 or since_due >= DUE_FADED_DAYS:
            continue
        k = last_step(invoices, steps, i, as_of)
        closed_by = NOTHING if k < 0 else steps.closed_by[k]
        if closed_by == CREDIT_NOTE:
            continue
        days_since_due[n] = since_due
        paid = closed_by == PAYMENT
        days_late[n] = steps.closed_on[k] - invoices.due_on[i] if paid else since_due
        n += 1
    return n


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
