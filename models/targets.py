"""The outcomes the models learn, and when each is known for sure.

*Late*: an invoice is late by more than *t* days when it was not paid by ``due_on + t``; that is
known from the day after on, paid or not, so open invoices stay in. *Default*: a customer defaults
on the first day its books show it, under a :class:`DefaultDefinition`; within *h* days of ``as_of``
is known once ``as_of + h`` has passed. Features never import this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from numpy.typing import NDArray

from features.compiled import njit
from features.history import NEVER, Days, Disputes, History, Invoices, last_step
from features.settlement import CREDIT_NOTE, NOTHING, PAYMENT, WRITE_OFF, Steps

RECORDED_RATE = 0.95
ACTIVE_DAYS = 365  # a customer without an invoice for longer is not asked about default


@dataclass(frozen=True)
class DefaultDefinition:
    """When a customer's books show a default.

    A customer is in default while what is late and undisputed has been *material*, at the end of
    each day, for `consecutive_days`; from an insolvency judgment on; and by a write-off.

    Attributes
    ----------
    name : str
        Preset.
    days_past_due : int
        An invoice counts as late from this many days past due on.
    exposure_rate : float
        Share of the customer's exposure that must be late; disputed amounts never count.
    insolvency : bool
        Whether an insolvency judgment is a default by itself.
    consecutive_days : int
        Days after the first on which the late amount must have stayed material.
    amount_cents, natural_person_amount_cents : int
        What must be late is more than this, in cents of the ledger's base currency; the second
        where the customer is a natural person.
    must_exceed_rate : bool
        Whether the late amount must exceed the share, or only reach it.
    write_off : bool
        Whether writing off undisputed debt is a default by itself; cents within the tolerance of
        settlement are no debt.
    probation_days : int
        Days without any of this until the spell ends; after an insolvency it never does.
    """

    name: str
    days_past_due: int
    exposure_rate: float
    insolvency: bool = True
    consecutive_days: int = 0
    amount_cents: int = 0
    natural_person_amount_cents: int = 0
    must_exceed_rate: bool = False
    write_off: bool = False
    probation_days: int = 0


def _presets() -> dict[str, DefaultDefinition]:
    path = Path(__file__).with_name("default_definitions.yaml")
    presets: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {name: DefaultDefinition(name, **fields) for name, fields in presets.items()}


DEFAULT_DEFINITIONS = _presets()


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


def recording_days(history: History, cutoff: int) -> int:
    """Days until nineteen payments in twenty were in the books, of those known before `cutoff`.

    A payment of the last days may still be on its way into the ledger: an invoice is known to be
    late only after that. With a bank file read the next morning, and a weekend in between, 3.

    Parameters
    ----------
    history : History
        All facts.
    cutoff : int
        Exclusive date.
    """
    paid = history.settled
    took = paid.known_on - (history.invoices.due_on[paid.invoice] + paid.days_late)
    took = took[paid.known_on < cutoff]
    return int(np.quantile(took, RECORDED_RATE, method="higher")) if took.size else 0


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
    whether or not the invoice was paid: else early payers would be learned first. Where payments
    are recorded late, `cutoff` is to be earlier by :func:`recording_days`.
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

    More than 90 consecutive days past due on more than 500 and 1 %: 600 fell due on 1 January. They
    are past due from the 2nd on, which makes 91 days on 1 April (of a leap year): the spell begins.
    Paid on 10 April, they keep the customer on probation for 90 days: it ends on 9 July.
    """
    latest, insolvent_on = history.views.latest, history.insolvent_on
    if not definition.insolvency:
        insolvent_on = np.full_like(insolvent_on, NEVER)
    rule = _Rule(
        definition.days_past_due,
        definition.consecutive_days,
        definition.amount_cents,
        definition.natural_person_amount_cents,
        definition.exposure_rate,
        definition.must_exceed_rate,
        definition.write_off,
        definition.probation_days,
    )
    happenings = (history.invoices, history.steps, history.disputes)
    return Defaults(*_spells(*happenings, latest, insolvent_on, history.natural_person_on, rule))


class _Rule(NamedTuple):
    """A default definition's numbers, as compiled code reads them."""

    days_past_due: int
    consecutive_days: int
    amount_cents: int
    natural_person_amount_cents: int
    exposure_rate: float
    must_exceed_rate: bool
    write_off: bool
    probation_days: int


ISSUED, STEPPED, OVERDUE, DISPUTED, RESOLVED, INSOLVENT, NATURAL_PERSON = range(7)


@njit
def _spells(
    invoices: Invoices,
    steps: Steps,
    disputes: Disputes,
    latest: NDArray[np.int64],
    insolvent_on: NDArray[np.int32],
    natural_person_on: NDArray[np.int32],
    rule: _Rule,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Play each customer's days, as thought of now, and note when its books are in default.

    Days are looked at where a fact changes the books, and where a time runs out between two facts.
    """
    n_customers, dispute_start = latest.size, invoices.dispute_start
    facts = 2 * invoices.due_on.size + steps.invoice.size + 2 * disputes.invoice.size
    most = 2 * (facts + 2 * n_customers)  # a spell begins with a fact, or by itself after it
    began_on, ended_on = np.empty(most, np.int32), np.empty(most, np.int32)
    start = np.zeros(n_customers + 1, np.int64)
    balance = np.zeros(invoices.due_on.size, np.int64)
    old, disputes_open = np.zeros(balance.size, np.bool_), np.zeros(balance.size, np.int64)
    n = 0
    for customer in range(n_customers):
        view = latest[customer]
        first, last = invoices.start[view], invoices.start[view + 1]
        days, kinds, targets = _events(
            invoices, steps, disputes, dispute_start, first, last, rule.days_past_due
        )
        of_customer = (
            (INSOLVENT, insolvent_on[view]),
            (NATURAL_PERSON, natural_person_on[view]),
        )
        for kind, day in of_customer:
            if day < NEVER:
                days = np.append(days, day)
                kinds, targets = np.append(kinds, kind), np.append(targets, 0)
        exposure, overdue, least = 0, 0, rule.amount_cents
        insolvent, inside, written_off = False, False, False
        material_since, quiet_since = NEVER, NEVER
        order = np.argsort(days, kind="mergesort")
        for place in range(order.size):
            e = order[place]
            if kinds[e] == INSOLVENT:
                insolvent = True
            elif kinds[e] == NATURAL_PERSON:
                least = rule.natural_person_amount_cents
            else:
                i = steps.invoice[targets[e]] if kinds[e] == STEPPED else targets[e]
                if old[i] and disputes_open[i] == 0:
                    overdue -= balance[i]
                exposure -= balance[i]
                if kinds[e] == ISSUED:
                    balance[i] = invoices.amount_cents[i]
                elif kinds[e] == STEPPED:
                    loses = steps.kind[targets[e]] == WRITE_OFF and balance[i] > 0
                    written_off = written_off or (
                        rule.write_off and loses and disputes_open[i] == 0
                    )
                    balance[i] = steps.open_cents[targets[e]]
                elif kinds[e] == OVERDUE:
                    old[i] = True
                else:
                    disputes_open[i] += 1 if kinds[e] == DISPUTED else -1
                exposure += balance[i]
                if old[i] and disputes_open[i] == 0:
                    overdue += balance[i]
            today = days[e]
            next_day = days[order[place + 1]] if place + 1 < order.size else NEVER
            while today < next_day:  # the end of the day, then of each on which a time runs out
                share = rule.exposure_rate * exposure
                enough = overdue > share or (overdue == share and not rule.must_exceed_rate)
                if not (overdue > least and enough):
                    material_since = NEVER
                elif material_since == NEVER:
                    material_since = today
                matured_on = material_since + rule.consecutive_days
                held = insolvent or matured_on <= today
                if held:
                    quiet_since = NEVER
                elif written_off:
                    quiet_since = today + 1
                elif quiet_since == NEVER:
                    quiet_since = today
                if (held or written_off) and not inside:
                    inside = True
                    began_on[n], ended_on[n] = today, NEVER
                    n += 1
                written_off = False
                free_on = quiet_since + rule.probation_days
                if inside and free_on <= today:
                    inside = False
                    ended_on[n - 1] = today
                matures = NEVER if held else matured_on
                today = min(matures, free_on if inside else NEVER)
        start[customer + 1] = n
    return start, began_on[:n].copy(), ended_on[:n].copy()


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
    """List what changes the books of one customer: days, kinds, and the invoice or step.

    Disputes come before steps: a write-off of the same day is then seen as disputed.
    """
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
        for d in range(dispute_start[i], dispute_start[i + 1]):
            days[e], kinds[e], targets[e] = disputes.known_on[d], DISPUTED, i
            e += 1
            if disputes.closed_on[d] < NEVER:
                closed_on = max(disputes.closed_on[d], disputes.known_on[d])
                days[e], kinds[e], targets[e] = closed_on, RESOLVED, i
                e += 1
        for k in range(invoices.step_start[i], invoices.step_start[i + 1]):
            days[e], kinds[e], targets[e] = steps.known_on[k], STEPPED, k
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
