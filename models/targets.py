"""The outcomes the models learn, and when each is known for sure.

*Late*: an invoice is late by more than *t* days when it was not paid by ``due_on + t``; that is
known from the day after on, paid or not, so open invoices stay in. *Default*: a customer defaults
on the first day its books show it, under a :class:`DefaultDefinition`; within *h* days of ``as_of``
is known once ``as_of + h`` has passed. Features never import this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.compiled import njit
from features.history import NEVER, Days, Disputes, History, Invoices, last_step
from features.settlement import CREDIT_NOTE, NOTHING, PAYMENT, Steps

ACTIVE_DAYS = 365  # a customer without an invoice for longer is not asked about default


@dataclass(frozen=True)
class DefaultDefinition:
    """When a customer's books show a default.

    Attributes
    ----------
    name : str
        Preset.
    days_past_due : int
        An invoice counts from this many days past due on.
    exposure_rate : float
        Share of the customer's exposure that must be that late; disputed amounts never count.
    insolvency : bool
        Whether an insolvency judgment is a default by itself.
    """

    name: str
    days_past_due: int
    exposure_rate: float
    insolvency: bool = True


DEFAULT_DEFINITIONS = {"bureau": DefaultDefinition("bureau", 90, 0.10)}


def days_late_known_at(history: History, cutoff: int) -> NDArray[np.float64]:
    """Days from due date to payment of each invoice, as known before `cutoff`.

    Parameters
    ----------
    history : History
        All facts.
    cutoff : int
        Exclusive date.

    Returns
    -------
    ndarray of float64, shape (n_invoices,)
        Infinite when no payment in full was known, a write-off included; NaN where lateness says
        nothing of the payer: a credit note closed the invoice, it was disputed, or it was not yet
        known itself.

    Notes
    -----
    The step that closes an invoice decides: the cents left within the tolerance make nobody late
    when they come, and are no loss when they are written off.
    """
    days_late = _days_late(history.invoices, history.steps, cutoff)
    disputes = history.disputes
    days_late[disputes.invoice[disputes.known_on < cutoff]] = np.nan
    return days_late


@njit
def _days_late(invoices: Invoices, steps: Steps, cutoff: int) -> NDArray[np.float64]:
    days_late = np.full(invoices.due_on.size, np.inf)
    for i in range(invoices.due_on.size):
        if invoices.known_on[i] >= cutoff:
            days_late[i] = np.nan
        k = last_step(invoices, steps, i, cutoff)
        closed_by = NOTHING if k < 0 else steps.closed_by[k]
        if closed_by == PAYMENT:
            days_late[i] = steps.closed_on[k] - invoices.due_on[i]
        elif closed_by == CREDIT_NOTE:
            days_late[i] = np.nan
    return days_late


class Outcomes(NamedTuple):
    """Outcome of each (row, term) pair.

    Attributes
    ----------
    known : ndarray of bool, shape (n_pairs,)
        Whether the outcome is sure at the cut-off and says something.
    happened : ndarray of bool
        Late, or in default; meaningful only where known.
    """

    known: NDArray[np.bool_]
    happened: NDArray[np.bool_]


def late(
    days_late: NDArray[np.float64],
    due_on: Days,
    term_days: NDArray[np.int32],
    cutoff: int,
) -> Outcomes:
    """Tell which invoices were paid more than `term_days` after their due date.

    All arrays have shape (n_pairs,). The day ``due_on + term_days`` must lie before `cutoff`,
    whether or not the invoice was paid: else early payers would be learned first.
    """
    known = (due_on + term_days < cutoff) & ~np.isnan(days_late)
    return Outcomes(known, ~(days_late <= term_days))


class Defaults(NamedTuple):
    """Spells of default, by customer, then by date.

    A spell begins on the day the books show it and ends on the day they no longer do; an
    insolvency never ends.
    """

    start: NDArray[np.int64]
    began_on: Days
    ended_on: Days


def find_defaults(history: History, definition: DefaultDefinition) -> Defaults:
    """Find every spell of default in the history.

    Parameters
    ----------
    history : History
        All facts.
    definition : DefaultDefinition
        What a default is.

    Returns
    -------
    Defaults
        The spell of a day depends on nothing known after that day.

    Notes
    -----
    90 days past due on at least 10 % of the exposure: with 1,000 open of which 120 fell due 90 days
    ago, the ratio is 12 % and the spell begins; when 30 of these are paid, 90 of 970 are 9.3 % and
    it ends.
    """
    insolvent_on = history.insolvent_on
    if not definition.insolvency:
        insolvent_on = np.full_like(insolvent_on, NEVER)
    return Defaults(
        *_spells(
            history.invoices,
            history.steps,
            history.disputes,
            history.views.latest,
            insolvent_on,
            definition.days_past_due,
            definition.exposure_rate,
        )
    )


ISSUED, STEPPED, OVERDUE, DISPUTED, RESOLVED, INSOLVENT = range(6)


@njit
def _spells(
    invoices: Invoices,
    steps: Steps,
    disputes: Disputes,
    latest: NDArray[np.int64],
    insolvent_on: NDArray[np.int32],
    days_past_due: int,
    exposure_rate: float,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Play each customer's days, as thought of now, and note when its books are in default."""
    n_customers, dispute_start = latest.size, invoices.dispute_start
    most = 2 * invoices.due_on.size + steps.invoice.size + 2 * disputes.invoice.size + n_customers
    began_on, ended_on = np.empty(most, np.int32), np.empty(most, np.int32)
    start = np.zeros(n_customers + 1, np.int64)
    balance = np.zeros(invoices.due_on.size, np.int64)
    old, disputes_open = np.zeros(balance.size, np.bool_), np.zeros(balance.size, np.int64)
    n = 0
    for customer in range(n_customers):
        view = latest[customer]
        first, last = invoices.start[view], invoices.start[view + 1]
        days, kinds, targets = _events(
            invoices, steps, disputes, dispute_start, first, last, days_past_due
        )
        if insolvent_on[view] < NEVER:
            days = np.append(days, insolvent_on[view])
            kinds, targets = np.append(kinds, INSOLVENT), np.append(targets, 0)
        exposure, overdue = 0, 0
        insolvent, inside = False, False
        order = np.argsort(days, kind="mergesort")
        for place in range(order.size):
            e = order[place]
            if kinds[e] == INSOLVENT:
                insolvent = True
            else:
                i = steps.invoice[targets[e]] if kinds[e] == STEPPED else targets[e]
                if old[i] and disputes_open[i] == 0:
                    overdue -= balance[i]
                exposure -= balance[i]
                if kinds[e] == ISSUED:
                    balance[i] = invoices.amount_cents[i]
                elif kinds[e] == STEPPED:
                    balance[i] = steps.open_cents[targets[e]]
                elif kinds[e] == OVERDUE:
                    old[i] = True
                else:
                    disputes_open[i] += 1 if kinds[e] == DISPUTED else -1
                exposure += balance[i]
                if old[i] and disputes_open[i] == 0:
                    overdue += balance[i]
            end_of_day = place + 1 == order.size or days[order[place + 1]] > days[e]
            if end_of_day:
                now = insolvent or (overdue > 0 and overdue >= exposure_rate * exposure)
                if now and not inside:
                    began_on[n], ended_on[n] = days[e], NEVER
                    n += 1
                elif inside and not now:
                    ended_on[n - 1] = days[e]
                inside = now
        start[customer + 1] = n
    return start, began_on[:n], ended_on[:n]


@njit
def _events(
    invoices: Invoices,
    steps: Steps,
    disputes: Disputes,
    dispute_start: NDArray[np.int64],
    first: int,
    last: int,
    days_past_due: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """List what changes the books of one customer: days, kinds, and the invoice or step."""
    n_steps = invoices.step_start[last] - invoices.step_start[first]
    n_disputes = dispute_start[last] - dispute_start[first]
    n = 2 * (last - first) + n_steps + 2 * n_disputes
    days, kinds, targets = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
    e = 0
    for i in range(first, last):
        days[e], kinds[e], targets[e] = invoices.known_on[i], ISSUED, i
        overdue_on = max(invoices.due_on[i] + days_past_due, invoices.known_on[i])
        days[e + 1], kinds[e + 1], targets[e + 1] = overdue_on, OVERDUE, i
        e += 2
        for k in range(invoices.step_start[i], invoices.step_start[i + 1]):
            days[e], kinds[e], targets[e] = steps.known_on[k], STEPPED, k
            e += 1
        for d in range(dispute_start[i], dispute_start[i + 1]):
            days[e], kinds[e], targets[e] = disputes.known_on[d], DISPUTED, i
            e += 1
            if disputes.closed_on[d] < NEVER:
                closed_on = max(disputes.closed_on[d], disputes.known_on[d])
                days[e], kinds[e], targets[e] = closed_on, RESOLVED, i
                e += 1
    return days[:e], kinds[:e], targets[:e]


def default_within(
    defaults: Defaults,
    customer: NDArray[np.int64],
    as_of: Days,
    horizon_days: NDArray[np.int32],
    cutoff: int,
) -> Outcomes:
    """Tell which customers default within `horizon_days` from `as_of` on.

    All arrays have shape (n_pairs,). Customers in default at `as_of` are not asked (not known);
    for the others the outcome is known once ``as_of + horizon_days`` is not after `cutoff`.
    """
    next_began_on, in_default = _next_spell(defaults, customer, as_of)
    known = (as_of + horizon_days <= cutoff) & ~in_default
    return Outcomes(known, next_began_on < as_of + horizon_days)


@njit
def _next_spell(
    defaults: Defaults, customer: NDArray[np.int64], as_of: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    began_on = np.full(customer.size, NEVER, np.int64)
    in_default = np.zeros(customer.size, np.bool_)
    for row in range(customer.size):
        first, last = defaults.start[customer[row]], defaults.start[customer[row] + 1]
        k = first + np.searchsorted(defaults.began_on[first:last], as_of[row])
        in_default[row] = k > first and defaults.ended_on[k - 1] >= as_of[row]
        if k < last:
            began_on[row] = defaults.began_on[k]
    return began_on, in_default


def is_in_default(
    defaults: Defaults, customer: NDArray[np.int64], as_of: Days
) -> NDArray[np.bool_]:
    """Tell which customers were in default at `as_of`; shape (n_rows,)."""
    return _next_spell(defaults, customer, as_of)[1]
