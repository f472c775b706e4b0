"""Allocates payments, credit notes, write-offs and reversals to invoices, as we knew them.

An invoice of 1,000.00 gets 600.00 on 10 March and 399.98 on 20 March: its open balance steps to
400.00 on the 10th and, the residue of two cents being within the tolerance, to 0 on the 20th. A
bounced debit of 399.98 known on the 25th steps it back to 400.00 and re-opens it.

Every step carries the day it became *known*, so whoever looks at a date uses the steps before that
date and nothing else: a payment recorded late, or an invoice re-opened later, cannot leak back.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.compiled import njit

PAYMENT, CREDIT_NOTE, WRITE_OFF, REVERSAL = range(4)  # ledger.SETTLEMENT_KINDS, in this order
UNALLOCATED = -1
NOTHING = -1
RESIDUAL_TOLERANCE_CENTS = 100


class Cash(NamedTuple):
    """Settlements, one entry each: whose, for which invoice, what, when, how much.

    Attributes
    ----------
    customer, invoice : ndarray of int64, shape (n_settlements,)
        Index of the customer; index of the invoice it names, or ``UNALLOCATED``.
    kind : ndarray of int8
        PAYMENT, CREDIT_NOTE, WRITE_OFF or REVERSAL.
    known_on, paid_on : ndarray of int32
        Day it became known; value date.
    cents : ndarray of int64
        Amount, > 0 whatever the kind.
    """

    customer: NDArray[np.int64]
    invoice: NDArray[np.int64]
    kind: NDArray[np.int8]
    known_on: NDArray[np.int32]
    paid_on: NDArray[np.int32]
    cents: NDArray[np.int64]


class Steps(NamedTuple):
    """Balance steps, sorted by invoice, then by the day they became known.

    Attributes
    ----------
    invoice : ndarray of int64, shape (n_steps,)
        Index of the invoice.
    known_on : ndarray of int32
        Day the step became known.
    paid_on : ndarray of int32
        Value date of what caused the step.
    kind : ndarray of int8
        PAYMENT, CREDIT_NOTE, WRITE_OFF or REVERSAL.
    cents : ndarray of int64
        What the step takes off the balance; negative for a reversal.
    open_cents : ndarray of int64
        Balance after the step; 0 once the rest is within the tolerance.
    inferred : ndarray of bool
        The payer named no invoice (or overpaid one): allocated first-in first-out.
    closed_by : ndarray of int8
        What the invoice stands closed by after the step: a write-off if there was any, else a
        payment if more was paid than credited, else a credit note; ``NOTHING`` while it is open.
    closed_on : ndarray of int32
        Value date of the last money needed to close it; meaningless while it is open.
    """

    invoice: NDArray[np.int64]
    known_on: NDArray[np.int32]
    paid_on: NDArray[np.int32]
    kind: NDArray[np.int8]
    cents: NDArray[np.int64]
    open_cents: NDArray[np.int64]
    inferred: NDArray[np.bool_]
    closed_by: NDArray[np.int8]
    closed_on: NDArray[np.int32]


@njit
def _blank_steps(n: int) -> Steps:
    return Steps(
        np.empty(n, np.int64),
        np.empty(n, np.int32),
        np.empty(n, np.int32),
        np.empty(n, np.int8),
        np.empty(n, np.int64),
        np.empty(n, np.int64),
        np.empty(n, np.bool_),
        np.full(n, NOTHING, np.int8),
        np.zeros(n, np.int32),
    )


@njit
def _play(
    invoice_start: NDArray[np.int64],
    invoice_known_on: NDArray[np.int32],
    invoice_cents: NDArray[np.int64],
    cash_start: NDArray[np.int64],
    cash: Cash,
    tolerance_cents: int,
) -> tuple[Steps, int]:
    """Play each customer's invoices and cash in the order they became known.

    Within a day invoices come first, so that cash of the same day finds them. Cash that names no
    invoice, and what exceeds the invoice it names, waits as credit for the oldest open invoice and
    keeps its kind: a credit note is never turned into a payment. A write-off never waits, for a
    loss is not more than what is owed; a reversal that finds nothing to re-open takes back credit.
    """
    # A step is the named part of a cash line, closes an invoice, or uses the credit up.
    steps = _blank_steps(3 * cash.cents.size + 2 * invoice_cents.size)
    n = 0
    balance = invoice_cents.copy()
    residue = np.minimum(tolerance_cents, (invoice_cents - 1) // 2)
    credit, credit_paid_on = np.zeros(REVERSAL, np.int64), np.zeros(REVERSAL, np.int32)  # by kind
    for customer in range(invoice_start.size - 1):
        oldest = arrived = invoice_start[customer]  # none open before `oldest`; known so far
        j, end = cash_start[customer], cash_start[customer + 1]
        credit[:] = 0
        while j < end or (credit.sum() > 0 and arrived < invoice_start[customer + 1]):
            if arrived < invoice_start[customer + 1] and (
                j == end or invoice_known_on[arrived] <= cash.known_on[j]
            ):
                today = invoice_known_on[arrived]
                arrived += 1
            else:
                today, i = cash.known_on[j], cash.invoice[j]
                applied = 0
                if i != UNALLOCATED and cash.kind[j] == REVERSAL:
                    applied = -min(cash.cents[j], invoice_cents[i] - balance[i])
                    oldest = min(oldest, i)
                elif i != UNALLOCATED:
                    applied = min(cash.cents[j], balance[i])
                if applied != 0:
                    balance[i] -= applied
                    open_cents = balance[i] if balance[i] > residue[i] else 0
                    _write(steps, n, i, today, cash.paid_on[j], cash.kind[j], applied, open_cents)
                    steps.inferred[n] = False
                    n += 1
                kind = cash.kind[j]
                if kind == REVERSAL:
                    credit[PAYMENT] = max(credit[PAYMENT] - (cash.cents[j] + applied), 0)
                elif cash.cents[j] > applied and (kind != WRITE_OFF or i == UNALLOCATED):
                    credit[kind] += cash.cents[j] - applied
                    credit_paid_on[kind] = cash.paid_on[j]
                j += 1
            for kind in range(REVERSAL):
                while credit[kind] > 0 and oldest < arrived:
                    if balance[oldest] > residue[oldest]:
                        applied = min(credit[kind], balance[oldest])
                        credit[kind] -= applied
                        balance[oldest] -= applied
                        open_cents = balance[oldest] if balance[oldest] > residue[oldest] else 0
                        paid_on = credit_paid_on[kind]
                        _write(steps, n, oldest, today, paid_on, kind, applied, open_cents)
                        steps.inferred[n] = True
                        n += 1
                    if balance[oldest] <= residue[oldest]:
                        oldest += 1
            credit[WRITE_OFF] = 0
    return steps, n


@njit
def _write(
    steps: Steps,
    n: int,
    invoice: int,
    known_on: int,
    paid_on: int,
    kind: int,
    cents: int,
    open_cents: int,
) -> None:
    steps.invoice[n], steps.known_on[n], steps.paid_on[n] = invoice, known_on, paid_on
    steps.kind[n], steps.cents[n], steps.open_cents[n] = kind, cents, open_cents


def allocate(
    invoice_start: NDArray[np.int64],
    invoice_known_on: NDArray[np.int32],
    invoice_cents: NDArray[np.int64],
    cash: Cash,
    tolerance_cents: int = RESIDUAL_TOLERANCE_CENTS,
) -> Steps:
    """Allocate settlements to invoices.

    Parameters
    ----------
    invoice_start : ndarray of int64, shape (n_customers + 1,)
        Each customer's slice of the invoices.
    invoice_known_on : ndarray of int32, shape (n_invoices,)
        Day each invoice became known, ascending within a customer; the oldest comes first.
    invoice_cents : ndarray of int64, shape (n_invoices,)
        Amounts, > 0.
    cash : Cash
        In any order.
    tolerance_cents : int
        An invoice is settled when this much or less is open, and never while half of it is.

    Returns
    -------
    Steps
        Sorted by invoice, then by the day known.

    Notes
    -----
    A payment that names an invoice not yet known (a deposit) is held until the invoice is known.
    """
    named = cash.invoice != UNALLOCATED
    known_on = cash.known_on.copy()
    known_on[named] = np.maximum(known_on[named], invoice_known_on[cash.invoice[named]])
    # On one day: money for a named invoice, money for none, reversals; then by what is in the row,
    # so that neither the order of the file nor the numbers of the lines can change a step.
    day = joined(cash.customer, known_on)
    turn = (cash.kind == REVERSAL) * 8 + ~named * 4 + cash.kind
    order = np.lexsort((cash.cents, joined(cash.invoice, cash.paid_on), turn, day))
    cash = Cash._make(column[order] for column in cash._replace(known_on=known_on))
    cash_start = np.searchsorted(cash.customer, np.arange(invoice_start.size))
    steps, n = _play(
        invoice_start, invoice_known_on, invoice_cents, cash_start, cash, tolerance_cents
    )
    by_invoice = np.argsort(steps.invoice[:n], kind="stable")
    steps = Steps._make(column[:n][by_invoice] for column in steps)
    _close(steps)
    return steps


def joined(high: NDArray[Any], low: NDArray[np.int32]) -> NDArray[np.int64]:
    """Join two columns into one that sorts like both; `low` ≥ 0."""
    key: NDArray[np.int64] = high.astype(np.int64) << 32 | low
    return key


@njit
def _close(steps: Steps) -> None:
    """Fill in what closed each invoice, and when.

    Cents that come after the step within the tolerance change neither.
    """
    lost, in_cash, waived, latest = False, 0, 0, 0
    for k in range(steps.invoice.size):
        first = k == 0 or steps.invoice[k] != steps.invoice[k - 1]
        if first:
            lost, in_cash, waived, latest = False, 0, 0, steps.paid_on[k]
        latest = max(latest, steps.paid_on[k])
        if steps.kind[k] == CREDIT_NOTE:
            waived += steps.cents[k]
        elif steps.kind[k] == WRITE_OFF:
            lost = True
        else:
            in_cash += steps.cents[k]
        if steps.open_cents[k] > 0:
            continue
        if not first and steps.closed_by[k - 1] != NOTHING:
            steps.closed_by[k], steps.closed_on[k] = steps.closed_by[k - 1], steps.closed_on[k - 1]
            continue
        steps.closed_by[k] = WRITE_OFF if lost else PAYMENT if in_cash > waived else CREDIT_NOTE
        steps.closed_on[k] = latest
