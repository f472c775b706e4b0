"""The smallest changes that soften the action of a recorded assessment: what a person can do.

A deposit, a smaller order, shorter terms, invoices paid. The search decides as an answer does, from
what was known at the assessment, and leaves out what it does not need; each change that it finds is
then given to the very function that answers, and is only told if the action comes out.

Along each way changes are tried from the smallest to the largest, every so many; between the last
that does not soften the action and the first that does, halves lead to a pair of neighbours: this
change does, and the next smaller one does not. Probabilities are steps in the amount and the terms,
so a still smaller change between two that were tried is not excluded; `benchmarks/counterfactuals`
tries every euro of some.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import takewhile
from typing import Any, NamedTuple

import numpy as np

from features.history import FOREVER, build
from features.peers import PeerDays, Seen, add_up, seen
from features.peers import change as peers_change
from models.changes import KINDS, Change, ChangeKind, Owed, in_words, lowered
from models.overrides import softness
from models.policy import Decision, Order, Policy
from models.policy_file import Action
from models.portfolio import portfolio_at
from models.situation import as_date
from models.strict_yaml import exact
from models.wording import Words
from serving.answer import money
from serving.answering import (
    SCHEMA_VERSION,
    Known,
    Question,
    answer,
    consulted,
    decided,
    look,
    microseconds,
)
from serving.audit import Entry
from serving.replay import CANNOT, NotReplayable, Replayer
from serving.schemas.request import cents
from serving.situation import LookedUp
from serving.speaking import Views

TRIED = 20  # changes of each way, before halving between two of them
MOST_INVOICES = 24  # that are looked at, oldest due first
LEAST_SHARE = 0.1  # of the amount: less than that is another order
LATEST_DAYS = 14  # how far ahead a payment is promised to help
A_EURO = 100  # cents: amounts go in whole units


class NoCounterfactuals(Exception):
    """The assessment cannot be looked at again; the message says why."""


class Aim(NamedTuple):
    """What a softer action is, seen from the one that was answered.

    Attributes
    ----------
    decision : Decision
        As answered.
    policy : Policy
    """

    decision: Decision
    policy: Policy

    @property
    def is_reached(self) -> bool:
        """Whether nothing is softer than what was answered."""
        is_paid = any(rule.id == "paid_in_advance" for rule in self.decision.rules)
        return self.decision.action == "open" or (is_paid and self.decision.action == "cash")

    def is_met(self, then: Decision, order: Order) -> bool:
        """Tell whether a decision is softer: more customers take it, or no person has to decide.

        An order that was held passes when the action is at least as soft as what was proposed, or
        when it is paid.
        """
        was = self.decision
        if then.action in ("review", "refuse", was.action):
            return False
        if was.action != "review":
            return self._is_softer(then, was.action)
        if was.proposed_action is None or order.unpaid_cents == 0:
            return True
        return then.action == was.proposed_action or self._is_softer(then, was.proposed_action)

    def _is_softer(self, then: Decision, than: Action) -> bool:
        """Compare as overrides do; a part of the order is softer than nothing on credit alone."""
        if then.action == "reduced_limit" and than not in ("cash", "refuse"):
            return False
        mine = softness(then.action, _exact(then.deposit_rate), self.policy)
        its = softness(than, _exact(self.decision.deposit_rate), self.policy)
        return mine is not None and its is not None and mine > its


def _exact(rate: float | None) -> Decimal | None:
    return None if rate is None else exact(rate)


class Case:
    """A customer as known, for any order; nothing is explained, which would take the longest.

    Parameters
    ----------
    known : Known
    customer_id : str
    """

    def __init__(self, known: Known, customer_id: str) -> None:
        self.known, self.customer_id = known, customer_id
        self.looked = look(known)
        self._views: dict[tuple[int, int], Views] = {}

    def decide(self, order: Order) -> Decision:
        """Decide as an answer would."""
        asked = order.amount_cents, order.terms_days  # the curves know no more of an order
        if asked not in self._views:
            _, views = consulted(self.customer_id, self.known, self.looked, order, explained=False)
            self._views[asked] = views
        return decided(self.known, self.looked, order, self._views[asked])[1]

    def owed(self) -> list[Owed]:
        """List the invoices that can be paid and that nobody disputes, the one due first first."""
        books = portfolio_at(self.looked.books, self.known.as_of)
        rows = np.flatnonzero((books.open_cents > 0) & ~books.is_disputed).tolist()
        found = [
            Owed(str(books.invoice_id[row]), int(books.open_cents[row]), int(books.due_on[row]))
            for row in rows
        ]
        return sorted(found, key=lambda one: (one.due_on, one.invoice_id))[:MOST_INVOICES]

    def once_paid(self, invoices: tuple[Owed, ...], days: int = 0) -> Case:
        """Give the case in which invoices are paid in full some days later, and nothing else is."""
        return Case(paid(self.known, self.customer_id, invoices, days), self.customer_id)


def paid(known: Known, customer_id: str, invoices: tuple[Owed, ...], days: int = 0) -> Known:
    """Say what is known some days later, when invoices were paid that day and nothing else came.

    The customer's own payments are among those of its sector, and are taken off there when it is
    compared with the others: both are changed together, as an append does.
    """
    now = known.now + timedelta(days=days)
    day = known.as_of - 1 + days
    rows = known.facts["settlements"]
    n, at = len(invoices), microseconds(now) - 1
    added: dict[str, list[Any]] = {
        "settlement_id": [f"counterfactual {place:02}" for place in range(n)],
        "customer_id": [customer_id] * n,
        "invoice_id": [one.invoice_id for one in invoices],
        "kind": ["payment"] * n,
        "settled_on": [day] * n,
        "amount_cents": [one.open_cents for one in invoices],
        "recorded_at": [at] * n,
        "since_at": [at] * n,
        "until_at": [FOREVER] * n,
    }
    settlements = {
        column: np.concatenate([values, np.array(added.get(column, [None] * n), values.dtype)])
        for column, values in rows.items()
    }
    facts = {**known.facts, "settlements": settlements}
    observed_from, override = known.ledger.observed_from, known.override
    before, after = (build(facts, observed_from, known.peers) for facts in (known.facts, facts))
    groups = {group for group in after.group_names if group is not None}
    moved = peers_change([seen(before)], [seen(after)])
    return replace(
        known,
        now=now,
        facts=facts,
        peers=add_up([_seen_of(known.peers, groups), moved]),
        override=override if override and override.in_force(now.date()) else None,
    )


def _seen_of(peers: PeerDays, groups: set[tuple[str, str]]) -> Seen:
    """Read the events of some groups back from the table: the customer looks at no other."""
    table, places = peers.table, {g: p for g, p in peers.places.items() if g in groups}
    slices = [np.arange(table.start[p], table.start[p + 1]) for p in places.values()]
    rows = np.concatenate([np.empty(0, np.int64), *slices])
    group = np.repeat(np.arange(len(slices)), [one.size for one in slices])
    counts = (np.diff(c)[rows] for c in (table.events, table.late, table.late_30))
    return Seen(list(places), group, table.day[rows], *counts)


class Way(NamedTuple):
    """Changes of one kind, the smallest first: how many, and which stands at a place."""

    n: int
    at: Callable[[int], Change]

    def first(self, flips: Callable[[Change], bool], tried: int = TRIED) -> Change | None:
        """Find the smallest change that flips: every so many are tried, then halves."""
        place = first(self.n, lambda place: flips(self.at(place)), tried)
        return None if place is None else self.at(place)


def first(n: int, flips: Callable[[int], bool], tried: int = TRIED) -> int | None:
    """Find the first of `n` places that flips: every so many, then halving.

    >>> first(100, lambda place: place >= 42)
    42
    """
    step, before = max(1, math.ceil(n / tried)), -1
    for place in (*range(step - 1, n, step), n - 1):
        if place > before and flips(place):
            return _halved(before, place, flips)
        before = max(before, place)
    return None


def _halved(before: int, place: int, flips: Callable[[int], bool]) -> int:
    """Come down to a place that flips, and the one before it does not."""
    while place - before > 1:
        middle = (before + place) // 2
        if flips(middle):
            place = middle
        else:
            before = middle
    return place


class Search:
    """Looks for the smallest change of each kind.

    Parameters
    ----------
    case : Case
    order : Order
    decision : Decision
        As answered.
    """

    def __init__(self, case: Case, order: Order, decision: Decision) -> None:
        self._case, self._order, self._decision = case, order, decision
        self._aim = Aim(decision, case.known.speaking.policy)
        self._paid: dict[tuple[Owed, ...], Case] = {(): case}

    def found(self) -> list[Change]:
        """List the changes that soften the action, the smallest effort first.

        Of each kind the smallest, and the smallest that gives open terms where that is another.
        """
        if self._aim.is_reached:
            return []
        found = [*self._alone()] or [*self._both()]
        return sorted(found, key=lambda one: (one.effort(self._order), KINDS.index(one.kind)))

    def _alone(self) -> Iterator[Change]:
        for way in (self._deposit("deposit"), self._smaller_order(), self._shorter_terms()):
            yield from self._firsts(way)
        for change in self._firsts(self._invoices()):
            yield self._dated(self._fewest(change))

    def _both(self) -> Iterator[Change]:
        """Pay all that is overdue, and some of the order in advance."""
        today = self._case.known.as_of - 1
        overdue = tuple(one for one in self._case.owed() if one.due_on < today)
        if overdue:
            way = self._deposit("pay_invoices_and_deposit", overdue)
            yield from map(self._dated, self._firsts(way))

    def _firsts(self, way: Way) -> Iterator[Change]:
        """Give the smallest change, and the smallest that gives open terms if that is another."""
        smallest = way.first(self.is_met)
        if smallest is None:
            return
        yield smallest
        if self.action(smallest) != "open":
            opens = way.first(lambda one: self.is_met(one) and self.action(one) == "open")
            if opens is not None:
                yield opens

    def action(self, change: Change) -> Action:
        """Give the action after a change, what is to be paid being paid today."""
        return self._decide(change).action

    def is_met(self, change: Change) -> bool:
        """Tell whether a change softens the action."""
        return self._aim.is_met(self._decide(change), change.order)

    def _decide(self, change: Change) -> Decision:
        return self._once_paid(change.invoices).decide(change.order)

    def smaller(self, change: Change) -> Iterator[Change]:
        """Give what a change is said to be smaller than: all before it on its way.

        Of invoices, those that are left when one is left out.
        """
        if change.kind == "pay_invoices":
            for one in change.invoices:
                rest = tuple(other for other in change.invoices if other is not one)
                yield change._replace(invoices=rest)
            return
        ways = {
            "deposit": self._deposit("deposit"),
            "smaller_order": self._smaller_order(),
            "shorter_terms": self._shorter_terms(),
            "pay_invoices_and_deposit": self._deposit(change.kind, change.invoices),
        }
        way = ways[change.kind]
        yield from takewhile(lambda one: one.order != change.order, map(way.at, range(way.n)))

    def _once_paid(self, invoices: tuple[Owed, ...]) -> Case:
        if invoices not in self._paid:
            self._paid[invoices] = self._case.once_paid(invoices)
        return self._paid[invoices]

    def _deposit(self, kind: ChangeKind, invoices: tuple[Owed, ...] = ()) -> Way:
        """Pay some of the order in advance, less than what was answered itself."""
        order, was = self._order, self._decision
        most = order.unpaid_cents
        if was.action == "deposit" and was.deposit_rate is not None:
            most = math.ceil(exact(was.deposit_rate) * order.amount_cents) - order.paid_cents
        takes_all = was.action in ("review", "refuse")  # who pays all waits for nobody
        n = math.ceil(most / A_EURO) - (0 if takes_all else 1)

        def at(place: int) -> Change:
            deposit = min((place + 1) * A_EURO, order.unpaid_cents)
            paid_cents = order.paid_cents + deposit
            return Change(kind, order._replace(paid_cents=paid_cents), invoices)

        return Way(n, at)

    def _smaller_order(self) -> Way:
        """Order less, but more than the part that was answered itself."""
        order, pick = self._order, self._decision.pick
        largest = (order.amount_cents - 1) // A_EURO
        least = max(math.ceil(LEAST_SHARE * order.amount_cents), order.paid_cents + 1)
        if self._decision.action == "reduced_limit" and pick is not None:
            least = max(least, order.paid_cents + pick.amount_on_credit_cents + 1)

        def at(place: int) -> Change:
            return Change("smaller_order", lowered(order, (largest - place) * A_EURO))

        return Way(largest - math.ceil(least / A_EURO) + 1, at)

    def _shorter_terms(self) -> Way:
        """Pay sooner, but later than what was answered itself."""
        order, pick = self._order, self._decision.pick
        shortest = 0
        if self._decision.action == "shorter_terms" and pick is not None:
            shortest = (pick.terms_days or 0) + 1

        def at(place: int) -> Change:
            terms_days = order.terms_days - 1 - place
            return Change("shorter_terms", order._replace(terms_days=terms_days))

        return Way(order.terms_days - shortest, at)

    def _invoices(self) -> Way:
        """Pay invoices, those due first first."""
        owed = self._case.owed()

        def at(place: int) -> Change:
            return Change("pay_invoices", self._order, tuple(owed[: place + 1]))

        return Way(len(owed), at)

    def _fewest(self, change: Change) -> Change:
        """Leave out the invoices that need not be paid for the same action, the largest first."""
        action = self.action(change)
        for one in sorted(change.invoices, key=lambda one: -one.open_cents):
            rest = tuple(other for other in change.invoices if other is not one)
            fewer = change._replace(invoices=rest)
            if self.is_met(fewer) and self.action(fewer) == action:
                change = fewer
        return change

    def _dated(self, change: Change) -> Change:
        """Find the first day on which the payment no longer gives the same action."""
        case, today = self._case, self._case.known.as_of - 1
        promised = self.action(change)
        days = 1
        while days <= LATEST_DAYS:
            then = case.once_paid(change.invoices, days).decide(change.order)
            if then.action != promised:
                break
            days += 1
        return change._replace(before=as_date(today + days))


def counterfactuals(replayer: Replayer, entry: Entry) -> dict[str, Any]:
    """Find the smallest changes that soften the action of a recorded assessment.

    Parameters
    ----------
    replayer : Replayer
    entry : Entry
        Of an assessment.

    Returns
    -------
    dict
        As :class:`serving.schemas.counterfactuals.Counterfactuals` describes it.

    Raises
    ------
    NoCounterfactuals
    """
    said, known, order = read(replayer, entry)
    case = Case(known, said["customer"]["id"])
    decision = case.decide(order)
    recorded = said["recommendation"]
    if (decision.action, decision.en) != (recorded["action"], recorded["en"]):
        raise NoCounterfactuals(
            f"entry {entry.sequence} is not what its facts give: replay it first"
        )
    search, found = Search(case, order, decision), []
    for change in search.found():
        then = answered(case, entry.id, change)
        if {one["action"] for one in then} == {search.action(change)}:
            found.append(_told(change, order, then[0], said["currency"]))
    return {
        "assessment_id": entry.id,
        "known_at": said["known_at"],
        "currency": said["currency"],
        "order": said["order"],
        "action": decision.action,
        "proposed_action": decision.proposed_action,
        "found": found,
        "none_found": None if found else _why_none(decision, said, known.speaking.policy),
    }


def answered(case: Case, id: str, change: Change) -> list[dict[str, Any]]:
    """Answer the changed question, by the function that answers; give what it recommends.

    Where invoices are to be paid, on each day on which they may be.
    """
    days = 1 if change.before is None else (change.before - as_date(case.known.as_of - 1)).days
    told: list[dict[str, Any]] = []
    for later in range(days):
        known = case.known
        if change.invoices:
            known = paid(known, case.customer_id, change.invoices, later)
        question = Question(id, case.customer_id, change.order, {}, None)
        told.append(json.loads(answer(question, known).body)["answer"]["recommendation"])
    return told


def read(replayer: Replayer, entry: Entry) -> tuple[dict[str, Any], Known, Order]:
    """Read what was answered, from what was known, and about which order."""
    try:
        body = json.loads(entry.body)
        if body["schema"] != SCHEMA_VERSION:
            raise NoCounterfactuals(f"entry {entry.sequence} was recorded by an earlier version")
        said, asked = body["answer"], body["answer"]["order"]
        amount, margin, paid_ = (cents(asked[name]) for name in ("amount", "margin", "paid"))
        known = replace(replayer.known(body), before=LookedUp())
        return said, known, Order(amount, margin, asked["terms_days"], paid_)
    except (*CANNOT, NotReplayable) as error:
        raise NoCounterfactuals(
            f"entry {entry.sequence} cannot be looked at again: {error}"
        ) from error
    except (KeyError, ValueError, TypeError) as error:
        raise NoCounterfactuals(
            f"entry {entry.sequence} is damaged ({type(error).__name__})"
        ) from error


def _told(change: Change, was: Order, then: dict[str, Any], currency: str) -> dict[str, Any]:
    words = in_words(change, was, Words(then["fr"], then["en"]), currency)
    deposit = change.deposit_cents(was)
    return {
        "kind": change.kind,
        "deposit": money(deposit) if deposit else None,
        "order_amount": money(change.order.amount_cents)
        if change.kind == "smaller_order"
        else None,
        "terms_days": change.order.terms_days if change.kind == "shorter_terms" else None,
        "invoices": [
            {
                "invoice_id": one.invoice_id,
                "open": money(one.open_cents),
                "due_on": as_date(one.due_on).isoformat(),
            }
            for one in change.invoices
        ],
        "invoices_total": money(change.invoices_cents) if change.invoices else None,
        "before": None if change.before is None else change.before.isoformat(),
        "effort": round(change.effort(was), 6),
        "action": then["action"],
        "deposit_rate": then["deposit_rate"],
        "fr": words.fr,
        "en": words.en,
    }


NOTHING_SOFTER = Words(
    "Rien n’est plus favorable que ce qui est répondu.",
    "Nothing is more favourable than what was answered.",
)
NOTHING_HELPS = Words(
    "Ni acompte, ni commande plus petite, ni délai plus court, ni règlement de factures, parmi "
    "ceux essayés, n’adoucit l’action.",
    "No deposit, smaller order, shorter terms or payment of invoices, of those tried, softens the "
    "action.",
)
A_PERSON = Words(
    "Une personne a décidé pour ce client ; elle seule peut en décider autrement.",
    "A person decided about this customer, and only a person can decide otherwise.",
)
A_RULE = Words(
    "Aucun des changements essayés ne lève : {rules}.", "No change tried lifts: {rules}."
)


def _why_none(decision: Decision, said: dict[str, Any], policy: Policy) -> dict[str, Any]:
    """Say why no change softens the action."""
    ids = {rule.id for rule in policy.blocking}
    rules = [rule for rule in decision.rules if rule.id in ids]
    if Aim(decision, policy).is_reached:
        id, words = "nothing_softer", NOTHING_SOFTER
    elif said["override"] is not None:
        id, words = "decided_by_a_person", A_PERSON
    elif rules:
        fr, en = (", ".join(names) for names in zip(*((r.fr, r.en) for r in rules), strict=True))
        id, words = "rule", Words(A_RULE.fr.format(rules=fr), A_RULE.en.format(rules=en))
    else:
        id, words = "nothing_helps", NOTHING_HELPS
    shown = [rule._asdict() for rule in rules] if id == "rule" else []
    return {"id": id, "rules": shown, "fr": words.fr, "en": words.en}
