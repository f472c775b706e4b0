"""The use case: a person with the right role decides otherwise than the policy, on the record.

The decision is durable before it is answered. Nothing here knows of the web; the clock, the store,
the record and who has which role are given. What became of it: :mod:`serving.override_results`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from uuid_utils import uuid7

from features.history import build
from features.store import Store
from features.versions import current
from models.bundle import BundleError, Champions
from models.limits import Order
from models.overrides import Choice, Direction, Override, direction
from models.policy_file import FACT_WORDS, Kind, Policy, Role, load
from models.position import position
from models.situation import facts
from models.strict_yaml import exact
from models.workspace import Workspace
from serving.answer import to_bytes
from serving.assess import COMMAND_LINE, Asking
from serving.audit import Entry, Kept, Record
from serving.overrides import KIND, Overrides, choice_shown

SCHEMA_VERSION = 1
SHORTEST_REASON, LONGEST_REASON = 10, 500
EPOCH = date(1970, 1, 1)


class OverrideRefused(Exception):
    """The decision is not taken; the message says why, in one sentence."""


class UnknownPerson(OverrideRefused):
    """Who decides has no role that may: people.yaml or the policy does not give one."""


class Wanted(NamedTuple):
    """What a person asks for.

    `kind` None withdraws the decision in force. `limit_cents`, by default what is owed and what the
    decision leaves on credit, is the exposure up to which it holds.
    """

    assessment_id: str
    by: str
    reason: str
    kind: Kind | None = None
    deposit_rate: Decimal | None = None
    terms_days: int | None = None
    limit_cents: int | None = None
    until: date | None = None


def policy_in_charge(workspace: Workspace) -> Policy:
    """Load the policy that the pointer file names.

    Raises
    ------
    BundleError, PolicyError
    """
    named = Champions.load(workspace.champions).policy
    policy = load(workspace.policies / f"{named}.yaml")
    if policy.sha256 != named:
        raise BundleError(f"policy {named[:12]} was changed")
    return policy


@dataclass(frozen=True)
class _Assessed:
    """The assessment that is overridden."""

    entry: Entry
    answer: dict[str, Any]
    customer_id: str
    order: Order
    owed_cents: int
    of_the_insurer: frozenset[str]

    @property
    def place(self) -> dict[str, Any]:
        """Where it stands on the record."""
        entry = self.entry
        return {"id": entry.id, "entry": entry.sequence, "leaf_hash": entry.leaf_hash}

    @property
    def proposed(self) -> tuple[Any, Decimal | None]:
        """The policy's own action, with the rate of a deposit."""
        pick: dict[str, Any] = next((one for one in self.answer["options"] if one["chosen"]), {})
        rate = pick.get("deposit_rate")
        return pick.get("kind"), None if rate is None else exact(rate)

    def is_what_policy_recommends(self, choice: Choice) -> bool:
        """Tell whether the policy chose the same, without holding the order for a person."""
        held = self.answer["recommendation"]["requires_human"]
        return not held and (choice.kind, choice.deposit_rate) == self.proposed


class _Ruling(NamedTuple):
    """What is decided once it is checked; no choice withdraws the decision before it."""

    choice: Choice | None
    compared: Direction | None
    facts: list[str]
    until: date


class Overrider:
    """Takes decisions of people on the assessments of one ledger.

    Parameters
    ----------
    store : Store
    record : Record
    policy : Policy
        In charge now: its section ``override`` says who may decide what.
    people : mapping of str to str
        Role by name, from :func:`serving.people.load`.
    clock : callable
        Gives the present instant, UTC.
    """

    def __init__(
        self,
        store: Store,
        record: Record,
        policy: Policy,
        people: Mapping[str, str],
        clock: Callable[[], datetime],
    ) -> None:
        self._store, self._record, self._clock = store, record, clock
        self._policy, self._people = policy, people
        self._overrides = Overrides(record)

    def decide(self, wanted: Wanted, asking: Asking = COMMAND_LINE) -> bytes:
        """Check a decision, record it, then return it.

        Parameters
        ----------
        wanted : Wanted
        asking : Asking, optional
            Who asks; with an API key the name is authenticated. A request that was answered before
            is answered the same.

        Returns
        -------
        bytes
            UTF-8 JSON: ``override``, as recorded, and its place on the ``record``.

        Raises
        ------
        OverrideRefused, TooLate, AnotherRequest
        """
        earlier = None if asking.once is None else self._record.answered(asking.once)
        if earlier is not None:
            return earlier.body if isinstance(earlier, Kept) else with_its_place(earlier)
        assessed = self._assessed(wanted.assessment_id)
        role = self._role(wanted.by)
        _require_reason(wanted.reason)
        now = self._clock()
        today = now.date()
        before = self._overrides.in_force(assessed.customer_id, today)
        self._require_rank(wanted, role, before)
        if wanted.kind is None:
            if before is None:
                raise OverrideRefused("There is no decision in force to withdraw.")
            ruling = _Ruling(None, None, [], before.expires_on)
            return self._put(wanted, assessed, ruling, before, asking)
        until = self._until(wanted, assessed, today)
        true = self._facts(assessed, now)
        self._require_no_barring(true)
        choice = _choice(wanted, assessed)
        self._require_mandate(choice, assessed, role)
        if assessed.is_what_policy_recommends(choice) and wanted.limit_cents is None:
            raise OverrideRefused("The policy recommends the same: there is nothing to decide.")
        compared = direction(choice, *assessed.proposed, self._policy)
        ruling = _Ruling(choice, compared, sorted(true), until)
        return self._put(wanted, assessed, ruling, before, asking)

    def _assessed(self, assessment_id: str) -> _Assessed:
        entry = self._record.find(assessment_id)
        if entry is None or entry.kind != "assessment":
            raise OverrideRefused("The record has no assessment of that id.")
        body = json.loads(entry.body)
        answer, evidence = body["answer"], body["evidence"]
        if evidence["ledger_id"] != self._store.ledger.id:
            raise OverrideRefused("The assessment is of another ledger.")
        if "owed_cents" not in evidence:
            raise OverrideRefused("The assessment was made by an earlier version: assess again.")
        said = answer["order"]
        amount, margin, paid = (_cents(said[part]) for part in ("amount", "margin", "paid"))
        order = Order(amount, margin, said["terms_days"], paid)
        if order.unpaid_cents == 0:
            raise OverrideRefused("The order is paid in advance: there is nothing to decide.")
        withdrawn = frozenset(evidence["facts"]) & {"cover_withdrawn"}
        customer_id, owed_cents = answer["customer"]["id"], evidence["owed_cents"]
        return _Assessed(entry, answer, customer_id, order, owed_cents, withdrawn)

    def _role(self, name: str) -> Role:
        if name not in self._people:
            raise UnknownPerson(f"people.yaml does not name {name!r}.")
        role = self._people[name]
        if role not in self._policy.override.roles:
            raise UnknownPerson(f"{name} is {role}, and the policy gives that role no decision.")
        return self._policy.override.roles[role]

    def _require_rank(self, wanted: Wanted, role: Role, before: Override | None) -> None:
        """Refuse the same person twice, and a role below that of the decision in force."""
        if before is None:
            return
        is_own = before.by == wanted.by
        if is_own and wanted.kind is not None and before.assessment_id == wanted.assessment_id:
            raise OverrideRefused(
                f"{wanted.by} has already decided on this assessment: withdraw that decision, or "
                "assess again."
            )
        above = self._policy.override.roles.get(before.role)
        if not is_own and above is not None and above.most_amount > role.most_amount:
            raise OverrideRefused(f"A decision of {before.role} is in force, a higher role.")

    def _until(self, wanted: Wanted, assessed: _Assessed, today: date) -> date:
        most = timedelta(days=self._policy.override.longest_days)
        if wanted.until is None or wanted.until < today:
            raise OverrideRefused("The last day in force must be given and must not be past.")
        if wanted.until > today + most:
            raise OverrideRefused(f"A decision runs {most.days} days at most: to {today + most}.")
        made_on = date.fromisoformat(assessed.answer["known_at"][:10])
        if today - made_on > most:
            raise OverrideRefused(f"The assessment is of {made_on}, too old: assess again.")
        return wanted.until

    def _facts(self, assessed: _Assessed, now: datetime) -> frozenset[str]:
        """Look up what is true of the customer now: more may be known than when it was assessed.

        A cover that the insurer withdrew may stand in no book: there the assessment's word counts.
        """
        as_of = (now.date() - EPOCH).days + 1
        instant = (now - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        _, ledger, found = self._store.snapshot(assessed.customer_id, instant)
        if found["customers"]["customer_id"].size == 0:  # of nobody no position can be computed
            raise OverrideRefused(
                "The ledger does not know the customer: push what is known of a prospect first."
            )
        books = build(current(found), ledger.observed_from)
        return frozenset(facts(position(books, 0, as_of))) | assessed.of_the_insurer

    def _require_no_barring(self, true: frozenset[str]) -> None:
        for fact in self._policy.override.never_when:
            if fact in true:
                raise OverrideRefused(f"Nobody may override this: {FACT_WORDS[fact][1]}.")

    def _require_mandate(self, choice: Choice, assessed: _Assessed, role: Role) -> None:
        """Refuse what the role may not decide: the kind, or the credit beyond what is owed."""
        if choice.kind not in role.kinds:
            allowed = ", ".join(role.kinds)
            raise OverrideRefused(f"The role may not decide {choice.kind}, only {allowed}.")
        credit = choice.credit_cents(assessed.order, assessed.owed_cents)
        if credit == 0 and choice.kind not in ("cash", "refuse"):
            raise OverrideRefused("The limit given leaves nothing to deliver on credit.")
        if credit and choice.limit_cents < assessed.owed_cents + credit:
            raise OverrideRefused("The limit is below what is owed and what the order adds to it.")
        opened = choice.limit_cents - max(0, assessed.owed_cents) if credit else 0
        if opened > 100 * role.most_amount:
            raise OverrideRefused(
                f"The decision leaves {opened / 100:,.2f} on credit beyond what is owed, and the "
                f"role may leave {role.most_amount:,.2f}."
            )

    def _put(
        self,
        wanted: Wanted,
        assessed: _Assessed,
        ruling: _Ruling,
        before: Override | None,
        asking: Asking,
    ) -> bytes:
        """Record the decision; it is on disk when this returns."""
        kind, rate = assessed.proposed
        id, choice = str(uuid7()), ruling.choice
        override = {
            "id": id,
            "assessment": assessed.place,
            "customer_id": assessed.customer_id,
            "order": assessed.order._asdict(),
            "owed_cents": assessed.owed_cents,
            "decided": None if choice is None else choice_shown(choice),
            "proposed": {"action": kind, "deposit_rate": None if rate is None else float(rate)},
            "direction": ruling.compared,
            "facts": ruling.facts,
            "by": wanted.by,
            "role": self._people[wanted.by],
            "authenticated": "key" in asking.actor,  # else the name is taken on trust
            "key": asking.actor.get("key"),
            "reason": wanted.reason.strip(),
            "expires_on": str(ruling.until),
            "decided_at": self._clock().strftime("%Y-%m-%dT%H:%M:%SZ"),
            "replaces": None if before is None else before.id,
            "policy": f"sha256:{self._policy.sha256}",
        }
        body = to_bytes({"schema": SCHEMA_VERSION, "override": override})
        entry = self._record.append(id, KIND, body, asking.once, asking.deadline)
        return with_its_place(entry)


def with_its_place(entry: Entry) -> bytes:
    """Give a recorded override with its place on the record: the same bytes each time."""
    place = {"entry": entry.sequence, "leaf_hash": entry.leaf_hash, "sealed": False}
    return to_bytes({"override": json.loads(entry.body)["override"], "record": place})


def _require_reason(reason: str) -> None:
    if not (SHORTEST_REASON <= len(reason.strip()) <= LONGEST_REASON and reason.isprintable()):
        raise OverrideRefused(
            f"The reason must have {SHORTEST_REASON} to {LONGEST_REASON} printable characters."
        )


def _choice(wanted: Wanted, assessed: _Assessed) -> Choice:
    """Complete what is asked for: each kind with what it needs, and nothing else."""
    kind, rate, terms = wanted.kind, wanted.deposit_rate, wanted.terms_days
    assert kind is not None, "a withdrawal decides nothing"  # noqa: S101 (for the type checker)
    if (kind == "deposit") != (rate is not None) or not 0 < (rate or Decimal("0.5")) < 1:
        raise OverrideRefused("A deposit, and nothing else, needs a rate between 0 and 1.")
    is_shorter = 0 < terms < assessed.order.terms_days if terms is not None else True
    if (kind == "shorter_terms") != (terms is not None) or not is_shorter:
        asked = assessed.order.terms_days
        raise OverrideRefused(f"Shorter terms, and nothing else, need days below {asked}.")
    if kind == "reduced_limit" and wanted.limit_cents is None:
        raise OverrideRefused("A reduced limit needs the limit.")
    if wanted.limit_cents is not None:
        if kind in ("cash", "refuse"):
            raise OverrideRefused(f"No limit goes with {kind}: it leaves nothing on credit.")
        return Choice(kind, wanted.limit_cents, rate, terms)
    bare = Choice(kind, 0, rate, terms)
    owed = assessed.owed_cents
    return bare._replace(limit_cents=max(0, owed + bare.credit_cents(assessed.order, owed)))


def _cents(money: str) -> int:
    return int(Decimal(money) * 100)
