"""Where a customer stands when it orders: what it owes, its group, its cover, what it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import numpy as np

from features.history import Facts, History
from features.history import build as build_history
from features.store import Store
from features.versions import current
from models.exposure import Exposure
from models.insurance import (
    Cover,
    Deadline,
    Disagreement,
    InsuranceRules,
    OpenInvoice,
    OrderCover,
    deadlines,
    disagreement,
)
from models.policy import Order, Policy, Situation
from models.portfolio import portfolio_at
from models.position import Position, position
from models.situation import NOBODY, RestOfGroup, as_date, situate
from models.targets import DEFAULT_DEFINITIONS, find_defaults
from models.targets import is_in_default as in_default_at
from serving.covers import CoverProvider, Found, covers_of
from serving.covers.said import found_among

MOST_MEMBERS = 200  # of a group, looked at for one answer


@dataclass(frozen=True)
class Insurer:
    """The insurer's policy, and who gives its covers; None is the ledger's own table."""

    rules: InsuranceRules
    provider: CoverProvider | None = None


@dataclass(frozen=True)
class Seen:
    """What the books and the insurer say of a customer who orders.

    Attributes
    ----------
    situation : Situation
        What the policy reads.
    exposure : Exposure
    rest : RestOfGroup
        The other companies of the group.
    found : Found or None
        The insurer's decision; None when there never was one.
    cover : OrderCover
        What it covers of the order.
    deadlines : tuple of Deadline
        What the insurer's policy asks for, by overdue invoice.
    """

    situation: Situation
    exposure: Exposure
    rest: RestOfGroup
    found: Found | None
    cover: OrderCover
    deadlines: tuple[Deadline, ...]

    def cover_in_force(self, as_of: int) -> Cover | None:
        """Return the insurer's decision, unless it ended before today."""
        cover = None if self.found is None else self.found.cover
        return None if cover is None or cover.has_ended(as_date(as_of - 1)) else cover

    def disagreement(
        self, yearly_probability: float | None, order: Order, as_of: int, rules: InsuranceRules
    ) -> Disagreement | None:
        """Say where our probability of default and the insurer's decision contradict each other."""
        cover = None if self.found is None else self.found.cover
        wanted = self.situation.owed_cents + order.unpaid_cents
        return disagreement(yearly_probability, cover, wanted, as_date(as_of), rules)


@dataclass(frozen=True)
class LookedUp:
    """What was looked up of a customer's group before, so that it is not again.

    Attributes
    ----------
    books : dict of str to History
        By member.
    rests : dict of (str, int) to RestOfGroup
        By group and day.
    """

    books: dict[str, History] = field(default_factory=dict)
    rests: dict[tuple[str, int], RestOfGroup] = field(default_factory=dict)


class Group(NamedTuple):
    """The store to look the rest of a group up in, and as known when.

    Attributes
    ----------
    store : Store
    known_at : int
        Instant, in microseconds since 1970.
    sequence : int
        The store's last append that counts.
    observed_from : int
        The first day the ledger knew anything of, then.
    before : LookedUp, optional
        Where much is asked about one customer.
    """

    store: Store
    known_at: int
    sequence: int
    observed_from: int
    before: LookedUp | None = None


def describe(
    history: History,
    facts: Facts,
    order: Order,
    as_of: int,
    now: datetime,
    insurer: Insurer,
    group: Group,
) -> Seen:
    """Describe where the one customer of `history` stands, as thought of now.

    Parameters
    ----------
    history : History
    facts : Facts
        The customer's, from which `history` was built.
    order : Order
    as_of : int
        Exclusive date, in days: what becomes known on it or later does not count.
    now : datetime
        The instant before it, UTC.
    insurer : Insurer
    group : Group
    """
    known = position(history, 0, as_of)
    customer_id = str(facts["customers"]["customer_id"][0])
    found = _cover(facts, customer_id, now, insurer)
    rest = _rest_of_group(known, customer_id, as_of, group)
    cover = None if found is None else found.cover
    is_unverified = found is not None and found.is_unverified
    situation, part = situate(
        known, order, cover, as_of, insurer.rules, rest, is_unverified=is_unverified
    )
    asked = _asked(history, known, cover, as_of, insurer.rules)
    return Seen(situation, known.exposure, rest, found, part, asked)


def _asked(
    history: History, known: Position, cover: Cover | None, as_of: int, rules: InsuranceRules
) -> tuple[Deadline, ...]:
    """Return what the insurer's policy asks for; nothing of a customer whom it never covered."""
    if cover is None or (cover.is_refusal and not known.cover_withdrawn):
        return ()
    return deadlines(_open_invoices(history, as_of), as_date(as_of), rules)


def _cover(facts: Facts, customer_id: str, now: datetime, insurer: Insurer) -> Found | None:
    if insurer.provider is None:
        return found_among(covers_of(facts["insurance_covers"]), now, now)
    return insurer.provider.cover(customer_id, now)


def _rest_of_group(known: Position, customer_id: str, as_of: int, group: Group) -> RestOfGroup:
    """Add up what the other companies of the group owe and buy."""
    if known.group is None:
        return NOBODY
    rests = {} if group.before is None else group.before.rests
    if (known.group, as_of) not in rests:
        members = group.store.members(known.group, group.known_at, group.sequence)
        others = [one for one in members if one != customer_id][:MOST_MEMBERS]
        positions = [_position_of(one, as_of, group) for one in others]
        rests[known.group, as_of] = RestOfGroup(
            sum(max(0, one.exposure.cents) for one in positions),
            sum(one.yearly_purchases_cents for one in positions),
        )
    return rests[known.group, as_of]


def _position_of(customer_id: str, as_of: int, group: Group) -> Position:
    books = {} if group.before is None else group.before.books
    if customer_id not in books:
        found = group.store.snapshot(customer_id, group.known_at, sequence=group.sequence)
        books[customer_id] = build_history(current(found.facts), group.observed_from)
    return position(books[customer_id], 0, as_of)


def _open_invoices(history: History, as_of: int) -> Iterator[OpenInvoice]:
    """Give the invoices that the one customer of `history` has not paid."""
    owed = portfolio_at(history, as_of)
    for row in np.flatnonzero(owed.owed_cents > 0).tolist():
        yield OpenInvoice(
            str(owed.invoice_id[row]),
            as_date(int(owed.due_on[row])),
            int(owed.owed_cents[row]),
            bool(owed.is_disputed[row]),
        )


def is_in_default(history: History, policy: Policy, as_of: int) -> bool:
    """Tell whether the one customer of `history` is in default, by the policy's definition."""
    spells = find_defaults(history, DEFAULT_DEFINITIONS[policy.default_definition])
    me, today = np.zeros(1, np.int64), np.array([as_of], np.int32)
    return bool(in_default_at(spells, me, today)[0])
