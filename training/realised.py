"""What became of past invoices: what was paid and when, credited, disputed, lost, or is undecided.

Worked example, an invoice of 1,000 issued on 1 January, due on the 31st: 600 are paid on 10 March,
a credit note of 100 comes, the customer fails and 300 are written off. Credited 100 (dilution, no
credit loss); lost 300; paid 600, lent for 69 days. What is lost was lent until it counts as lost,
90 days after the due date: 300 for 30 + 90 days.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.history import History, in_dispute, last_step
from features.settlement import CREDIT_NOTE, PAYMENT, REVERSAL, WRITE_OFF

LOST_AFTER_DAYS = 90  # after the due date: unpaid by an insolvent customer, it is lost
Floats = NDArray[np.float64]
Index = NDArray[np.int64]


class Realised(NamedTuple):
    """What became of invoices, in cents; arrays of shape (n_invoices,).

    amount = paid + credited + disputed + lost + undecided.

    Attributes
    ----------
    amount : ndarray of float64
    paid : ndarray of float64
        Bounced payments taken back; a residue within the tolerance of settlement counts as paid.
    credited : ndarray of float64
        By credit notes: dilution.
    disputed : ndarray of float64
        Unpaid or written off under an open dispute: no credit loss.
    lost : ndarray of float64
        Written off, or unpaid by an insolvent customer for longer than `LOST_AFTER_DAYS`.
    undecided : ndarray of float64
        Unpaid as long, and the customer has not failed: nobody knows yet.
    lent : ndarray of float64
        Cents × days from the issue until they were paid, or counted as lost; what is undecided
        until the end of the ledger.
    """

    amount: Floats
    paid: Floats
    credited: Floats
    disputed: Floats
    lost: Floats
    undecided: Floats
    lent: Floats


def matured(history: History, invoice: Index, end: int) -> NDArray[np.bool_]:
    """Tell which invoices have been due for long enough, before `end`, to be judged."""
    judged: NDArray[np.bool_] = history.invoices.due_on[invoice] + LOST_AFTER_DAYS < end
    return judged


def realised(history: History, invoice: Index, end: int) -> Realised:
    """Say what became of invoices, as known before `end`.

    Parameters
    ----------
    history : History
        All facts.
    invoice : ndarray of int64, shape (n_invoices,)
        Of the current ones, matured: see :func:`matured`.
    end : int
        Exclusive date, in days.

    Raises
    ------
    ValueError
        If an invoice has not matured.
    """
    if not matured(history, invoice, end).all():
        raise ValueError("an invoice is judged only once its horizon has passed")
    invoices = history.invoices
    amount = invoices.amount_cents[invoice].astype(np.float64)
    credited, written_off, lent = _settled(history, invoice, end)
    left = _balance(history, invoice, end)
    is_disputed = _disputed(history, invoice, written_off + left > 0, end)
    insolvent_on = history.insolvent_on[history.views.latest[history.invoice_customer[invoice]]]
    lost = np.where(is_disputed, 0.0, written_off + np.where(insolvent_on < end, left, 0.0))
    disputed = np.where(is_disputed, written_off + left, 0.0)
    undecided = written_off + left - lost - disputed
    terms_days = invoices.due_on[invoice] - invoices.issued_on[invoice]
    lent += lost * (terms_days + LOST_AFTER_DAYS)
    lent += undecided * (end - invoices.issued_on[invoice])
    paid = amount - credited - disputed - lost - undecided
    return Realised(amount, paid, credited, disputed, lost, undecided, lent)


def _settled(history: History, invoice: Index, end: int) -> tuple[Floats, Floats, Floats]:
    """Sum what was credited and written off, and cents × days of what was paid."""
    steps, n = history.steps, history.invoices.due_on.size
    known = steps.known_on < end
    of, kind, cents = steps.invoice[known], steps.kind[known], steps.cents[known]
    days = np.maximum(0, steps.paid_on[known] - history.invoices.issued_on[of])

    def total(kinds: tuple[int, ...], values: NDArray[np.int64]) -> Floats:
        chosen, summed = np.isin(kind, kinds), np.zeros(n)
        np.add.at(summed, of[chosen], values[chosen])
        return summed[invoice]

    lent = total((PAYMENT, REVERSAL), cents * days)  # a bounced payment is taken back on its day
    return total((CREDIT_NOTE,), cents), total((WRITE_OFF,), cents), lent


def _balance(history: History, invoice: Index, end: int) -> Floats:
    invoices, steps = history.invoices, history.steps
    last = [last_step(invoices, steps, i, end) for i in invoice.tolist()]
    place = np.array(last, np.int64)
    open_cents = invoices.amount_cents[invoice].copy()
    stepped = place >= 0
    open_cents[stepped] = steps.open_cents[place[stepped]]
    return open_cents.astype(np.float64)


def _disputed(
    history: History, invoice: Index, unpaid: NDArray[np.bool_], end: int
) -> NDArray[np.bool_]:
    """Tell which unpaid invoices are, or were written off, under an open dispute."""
    found = np.zeros(invoice.size, bool)
    start, disputes, steps = history.invoices.dispute_start, history.disputes, history.steps
    for row in np.flatnonzero(unpaid):
        i = int(invoice[row])
        if start[i] == start[i + 1]:
            continue
        own = slice(history.invoices.step_start[i], history.invoices.step_start[i + 1])
        off = (steps.kind[own] == WRITE_OFF) & (steps.known_on[own] < end)
        judged_on = int(steps.known_on[own][off][0]) if off.any() else end
        found[row] = in_dispute(disputes, start[i], start[i + 1], judged_on)
    return found
