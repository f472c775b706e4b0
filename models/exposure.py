"""What a customer owes and has ordered at a date, and what of it is disputed or overdue.

Worked example, in euros, as of 1 July, exclusive: 30 June is the last day that counts. Invoice F1
of 1,000, due on 15 June, had 400 paid; F2 of 500, due on 31 July, is disputed; 50 came without an
invoice before there was any to pay; an order of 700 with a deposit of 200 is not invoiced yet::

    invoices 600 + 500 = 1,100    unapplied 50    orders 700 − 200 = 500
    exposure 1,100 − 50 + 500 = 1,550    disputed 500    overdue 600, for 15 days

A fact counts when its date and its recording are both before ``as_of``, in the version that was
known then; an order until the day it is closed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.compiled import count_before, njit
from features.history import (
    Disputes,
    History,
    Invoices,
    Lines,
    Orders,
    in_dispute,
)
from features.settlement import REVERSAL, WRITE_OFF, Steps


class Exposure(NamedTuple):
    """What one customer owes and has ordered at a date; cents, but for the days."""

    invoices_cents: int  # open invoices, less what was paid or credited on them
    unapplied_cents: int  # cash and credit notes that no invoice has used yet, >= 0
    orders_cents: int  # accepted and not invoiced yet, less the deposits on them, >= 0
    disputed_cents: int  # of the open invoices, under an open dispute
    overdue_cents: int  # of the open invoices, past due on the day before as_of, undisputed
    longest_overdue_days: int  # of those, on the day before as_of; 0 when none

    @property
    def cents(self) -> int:
        """Exposure, orders included; negative in credit."""
        return self.invoices_cents - self.unapplied_cents + self.orders_cents


class Exposures(NamedTuple):
    """:class:`Exposure` of many pairs; arrays of int64 of shape (n_pairs,)."""

    invoices_cents: NDArray[np.int64]
    unapplied_cents: NDArray[np.int64]
    orders_cents: NDArray[np.int64]
    disputed_cents: NDArray[np.int64]
    overdue_cents: NDArray[np.int64]
    longest_overdue_days: NDArray[np.int64]

    @property
    def cents(self) -> NDArray[np.int64]:
        """Exposure, orders included; negative in credit."""
        return self.invoices_cents - self.unapplied_cents + self.orders_cents

    def of(self, pair: int) -> Exposure:
        """Give the exposure of one pair."""
        return Exposure._make(int(column[pair]) for column in self)


def exposure(history: History, customer: int, as_of: int) -> Exposure:
    """Measure one customer's exposure; see :func:`exposures`."""
    return exposures(history, np.array([customer]), np.array([as_of])).of(0)


def exposures(history: History, customer: NDArray[np.int64], as_of: NDArray[np.int64]) -> Exposures:
    """Measure the exposure of many (customer, as_of) pairs.

    Parameters
    ----------
    history : History
    customer : ndarray of int64, shape (n_pairs,)
        Codes in `history`, in any order; −1 for a customer without any fact, who owes nothing.
    as_of : ndarray of int64, shape (n_pairs,)
        Exclusive dates, in days.

    Returns
    -------
    Exposures
    """
    view, day = history.views.at(customer, as_of), as_of.astype(np.int64)
    order = np.lexsort((day, view))  # the kernels go from date to date of one view
    pairs = Pairs(customer[order], view[order], day[order])
    in_order = np.zeros((as_of.size, len(Exposure._fields)), np.int64)
    _owed(history.invoices, history.steps, history.disputes, pairs, in_order)
    _unapplied(history.lines, pairs, in_order[:, 1])
    _ordered(history.orders, pairs, in_order[:, 2])
    out = np.empty_like(in_order)
    out[order] = in_order
    return Exposures._make(np.ascontiguousarray(column) for column in out.T)


class Pairs(NamedTuple):
    """Whom to describe when, and the view looked at; −1 for a customer without any fact."""

    customer: NDArray[np.int64]
    looked_at: NDArray[np.int64]
    as_of: NDArray[np.int64]


@njit
def _owed(
    invoices: Invoices,
    steps: Steps,
    disputes: Disputes,
    pairs: Pairs,
    out: NDArray[np.int64],
) -> None:
    """Sum open invoices up; column 1 is what invoices have used of cash and credit notes."""
    oldest, used = 0, 0  # invoices before it are gone for good at this date, and used
    for row in range(pairs.as_of.size):
        today, view = pairs.as_of[row], pairs.looked_at[row]
        if view < 0:
            continue
        first, last = invoices.start[view], invoices.start[view + 1]
        last = first + count_before(invoices.known_on[first:last], today)
        if row == 0 or view != pairs.looked_at[row - 1]:
            oldest, used = first, 0
        while oldest < last and invoices.gone_on[oldest] < today:
            used += _balance(invoices, steps, oldest, today)[1]
            oldest += 1
        out[row, 1] = used
        for i in range(oldest, last):
            balance, taken = _balance(invoices, steps, i, today)
            out[row, 0] += balance
            out[row, 1] += taken
            if balance == 0:
                continue
            since_due = today - 1 - invoices.due_on[i]
            a, b = invoices.dispute_start[i], invoices.dispute_start[i + 1]
            if invoices.disputed_on[i] < today and in_dispute(disputes, a, b, today):
                out[row, 3] += balance
            elif since_due > 0:
                out[row, 4] += balance
                out[row, 5] = max(out[row, 5], since_due)


@njit
def _balance(invoices: Invoices, steps: Steps, invoice: int, as_of: int) -> tuple[int, int]:
    """Give what is open of an invoice, and the cash and credit notes that it has used."""
    balance, taken = invoices.amount_cents[invoice], 0
    for k in range(invoices.step_start[invoice], invoices.step_start[invoice + 1]):
        if steps.known_on[k] >= as_of:
            break
        balance = steps.open_cents[k]
        if steps.kind[k] != WRITE_OFF:
            taken += steps.cents[k]
    return balance, taken


@njit
def _unapplied(lines: Lines, pairs: Pairs, out: NDArray[np.int64]) -> None:
    """Turn what invoices have used into what they have not used of the cash and credit notes.

    A write-off that no invoice used is not money, and takes nothing off.
    """
    line, received = 0, 0
    for row in range(pairs.as_of.size):
        view = pairs.looked_at[row]
        if view < 0:
            continue
        if row == 0 or view != pairs.looked_at[row - 1]:
            line, received = lines.start[view], 0
        while line < lines.start[view + 1] and lines.known_on[line] < pairs.as_of[row]:
            if lines.kind[line] == REVERSAL:
                received -= lines.cents[line]
            elif lines.kind[line] != WRITE_OFF:
                received += lines.cents[line]
            line += 1
        out[row] = max(0, received - out[row])


@njit
def _ordered(orders: Orders, pairs: Pairs, out: NDArray[np.int64]) -> None:
    for row in range(pairs.as_of.size):
        today, customer = pairs.as_of[row], pairs.customer[row]
        if customer < 0:
            continue
        for i in range(orders.start[customer], orders.start[customer + 1]):
            is_looked_at = orders.begins[i] <= today < orders.ends[i]
            if is_looked_at and orders.known_on[i] < today <= orders.closed_on[i]:
                out[row] += orders.cents[i]
