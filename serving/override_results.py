"""What became of each override: the invoices that followed it, beside what the policy proposed.

The ledger does not say which invoice came of which order, so the customer's invoices issued from
the day of the decision on are taken, oldest first, until they make up the order; after
``FOLLOWED_DAYS``, or at the customer's next decision, nothing more is. Worked example: a deposit of
20 % was taken on an order of 10,000 € with a margin of 800 € (8 %) where the policy refused. One
invoice of 6,000 € was paid 12 days late, another of 4,000 € was written off: the result so far is
8 % × 6,000 − 4,000 = −3,520 €, and the policy's would have been 0. A debt of a customer in default
counts as lost, as far as it is open; what is recovered later counts when it is paid.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from features.history import History, last_step
from features.settlement import CREDIT_NOTE, WRITE_OFF
from models.overrides import Direction, Override
from models.targets import Defaults, is_in_default
from serving.audit import Record
from serving.person_key import Erased

FOLLOWED_DAYS = 180
State = Literal["paid", "open", "overdue", "lost", "credited"]


class Followed(NamedTuple):
    """An invoice that followed an override, as far as it belongs to the order.

    Attributes
    ----------
    invoice_id : str
    cents : int
        Of the order.
    state : str
        ``paid``; ``open``, not due yet; ``overdue``; ``lost``: written off, or open while the
        customer is in default; ``credited``: closed by a credit note.
    days_late : int
        From the due date to the payment, or to now while overdue; negative when paid early.
    lost_cents : int
        Of it, what was not paid.
    """

    invoice_id: str
    cents: int
    state: State
    days_late: int
    lost_cents: int


class Result(NamedTuple):
    """What became of an override.

    Attributes
    ----------
    override : Override
    ends_on : int
        Exclusive day on which it stopped being in force.
    proposed, proposed_rate : str or None, float or None
        What the policy chose, and the rate of a deposit.
    proposed_profit_cents : int or None
        What the policy expected of its choice.
    followed : tuple of Followed
    result_cents : int or None
        Margin of what was paid, less what was lost; None while nothing is known.
    """

    override: Override
    ends_on: int
    proposed: str | None
    proposed_rate: float | None
    proposed_profit_cents: int | None
    followed: tuple[Followed, ...]
    result_cents: int | None

    @property
    def in_words(self) -> str:
        """What happened, in a few words."""
        if not self.followed:
            return "no invoice since"
        said = []
        for state in ("paid", "open", "overdue", "lost", "credited"):
            here = [one for one in self.followed if one.state == state]
            if here:
                said.append(_words(state, here))
        return "; ".join(said)


class Summary(NamedTuple):
    """Overrides of one direction together, withdrawals left out.

    Money is of those that are `known` alone; `proposed_profit_cents` is what the policy expected of
    its own choices on them.
    """

    direction: Direction | None
    overrides: int
    known: int
    result_cents: int
    proposed_profit_cents: int


def results(
    overrides: Sequence[Override],
    record: Record,
    history: History,
    defaults: Defaults,
    as_of: int,
) -> list[Result]:
    """Follow each override up to a date.

    Parameters
    ----------
    overrides : sequence of Override
        All of the record, oldest first.
    record : Record
        Holds the assessments that were overridden.
    history : History
        All facts.
    defaults : Defaults
        Spells of default, from :func:`models.targets.find_defaults`.
    as_of : int
        Exclusive date.

    Returns
    -------
    list of Result
        Withdrawals left out, oldest first.
    """
    found = []
    for place, override in enumerate(overrides):
        if override.choice is None:
            continue
        later = (one for one in overrides[place + 1 :] if one.customer_id == override.customer_id)
        until = _day(override.expires_on) + 1
        replaced_on = next((_day(one.decided_on) for one in later), None)
        ends_on = until if replaced_on is None else min(until, replaced_on)
        last = min(as_of, _day(override.decided_on) + FOLLOWED_DAYS, replaced_on or as_of)
        followed = tuple(_followed(override, history, defaults, last, as_of))
        found.append(
            Result(
                override,
                ends_on,
                *_proposed(override, record),
                followed,
                _result(override, followed),
            )
        )
    return found


def summary(found: Sequence[Result]) -> list[Summary]:
    """Sum results up by direction: softer and harder than the policy, and not comparable."""
    directions: tuple[Direction | None, ...] = ("softer", "harder", None)
    parts = [(way, [one for one in found if one.override.direction == way]) for way in directions]
    return [_summed(way, part) for way, part in parts if part]


def _summed(way: Direction | None, part: Sequence[Result]) -> Summary:
    known = [one for one in part if one.result_cents is not None]
    result = sum(one.result_cents or 0 for one in known)
    proposed = sum(one.proposed_profit_cents or 0 for one in known)
    return Summary(way, len(part), len(known), result, proposed)


def _followed(
    override: Override,
    history: History,
    defaults: Defaults,
    last: int,
    as_of: int,
) -> Iterator[Followed]:
    (customer,) = history.codes([override.customer_id])
    if customer < 0:
        return
    invoices, left = history.invoices, override.order.amount_cents
    view = history.views.latest[customer]
    ours = np.arange(invoices.start[view], invoices.start[view + 1])
    issued_on = invoices.issued_on[ours]
    since = (issued_on >= _day(override.decided_on)) & (issued_on < last)
    since &= invoices.known_on[ours] < as_of
    ours = ours[since]
    codes, today = np.array([customer], np.int64), np.array([as_of], np.int32)
    in_default = bool(is_in_default(defaults, codes, today)[0])
    for invoice in ours[np.argsort(invoices.issued_on[ours], kind="stable")]:
        if left <= 0:
            return
        part = min(left, int(invoices.amount_cents[invoice]))
        left -= part
        yield _state(history, int(invoice), part, as_of, in_default=in_default)


def _state(
    history: History,
    invoice: int,
    part_cents: int,
    as_of: int,
    *,
    in_default: bool,
) -> Followed:
    """Tell how one invoice stands; what is open of it is taken in the order's proportion."""
    invoices, steps = history.invoices, history.steps
    name, whole = str(history.invoice_id[invoice]), int(invoices.amount_cents[invoice])
    since_due = as_of - 1 - int(invoices.due_on[invoice])
    step = last_step(invoices, steps, invoice, as_of)
    open_cents = whole if step < 0 else int(steps.open_cents[step])
    closed_by = -1 if step < 0 else int(steps.closed_by[step])
    if open_cents == 0 and closed_by == CREDIT_NOTE:
        return Followed(name, part_cents, "credited", 0, 0)
    if closed_by == WRITE_OFF:
        own = slice(invoices.step_start[invoice], step + 1)
        lost = int(steps.cents[own][steps.kind[own] == WRITE_OFF].sum())
        return Followed(name, part_cents, "lost", since_due, round(part_cents * lost / whole))
    if open_cents == 0:
        days_late = int(steps.closed_on[step] - invoices.due_on[invoice])
        return Followed(name, part_cents, "paid", days_late, 0)
    if in_default and since_due > 0:
        lost = round(part_cents * open_cents / whole)
        return Followed(name, part_cents, "lost", since_due, lost)
    return Followed(name, part_cents, "overdue" if since_due > 0 else "open", max(0, since_due), 0)


def _result(override: Override, followed: tuple[Followed, ...]) -> int | None:
    """Return the margin of what was paid less what was lost, in cents; None while unknown."""
    ended = [one for one in followed if one.state in ("paid", "lost")]
    if not ended:
        return None
    lost = sum(one.lost_cents for one in ended)
    paid = sum(one.cents for one in ended) - lost
    return round(paid * override.order.margin_cents / override.order.amount_cents) - lost


def _proposed(override: Override, record: Record) -> tuple[str | None, float | None, int | None]:
    """Return the policy's choice, its deposit rate, and what the policy expected of it."""
    try:
        entry = record.find(override.assessment_id)
    except Erased:
        entry = None
    options = [] if entry is None else json.loads(entry.body)["answer"]["options"]
    for option in options:
        if option["chosen"]:
            cents = round(100 * float(option["expected_profit"]))
            return option["kind"], option["deposit_rate"], cents
    return None, None, None


def _words(state: State, here: list[Followed]) -> str:
    total = sum(one.cents for one in here) / 100
    worst = max(one.days_late for one in here)
    match state:
        case "paid":
            return f"{total:,.2f} paid {_lateness(worst)}"
        case "overdue":
            return f"{total:,.2f} overdue by {_days(worst)}"
        case "lost":
            lost = sum(one.lost_cents for one in here) / 100
            return f"{lost:,.2f} of {total:,.2f} lost (default or write-off)"
        case "credited":
            return f"{total:,.2f} credited"
        case _:
            return f"{total:,.2f} not due yet"


def _lateness(days: int) -> str:
    return "on time" if days <= 0 else f"late, by {_days(days)} at most"


def _days(days: int) -> str:
    return "1 day" if days == 1 else f"{days} days"


def _day(date: Any) -> int:
    return int(np.datetime64(date, "D").astype(int))
