"""What a person decides instead of the policy: its bounds, its words, and what becomes of it.

Worked example: a customer owes 5,000 €. For an order of 20,000 € on 30-day terms the policy wants
cash; the credit manager takes a deposit of 20 %. That leaves 20,000 × 80 % = 16,000 € on credit, so
the exposure may reach 5,000 + 16,000 = 21,000 €. Until it ends, the decision holds for orders of at
most 20,000 € on terms of at most 30 days that keep the exposure within 21,000 €: delivered and
unpaid, the first one uses it up. A decision *harder* than the policy's holds for any order.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Literal, NamedTuple

from models import wording
from models.limits import Limit, Line, Order
from models.options import NOTHING, WHOLE, Offer, Priced
from models.policy import Decision
from models.policy_file import FACT_WORDS, Action, BlockingRule, CustomerFact, Kind, Policy, Rule
from models.strict_yaml import exact

Direction = Literal["softer", "harder"]


class Choice(NamedTuple):
    """What a person decides about an order.

    Attributes
    ----------
    kind : str
    limit_cents : int
        Exposure, this order included, up to which the decision holds.
    deposit_rate : Decimal or None
        Of a deposit.
    terms_days : int or None
        Of shorter terms.
    """

    kind: Kind
    limit_cents: int
    deposit_rate: Decimal | None = None
    terms_days: int | None = None

    def credit_cents(self, order: Order, owed_cents: int) -> int:
        """Return what it leaves on credit of an order; what is paid already is no credit."""
        match self.kind:
            case "cash" | "refuse":
                return 0
            case "deposit":
                asked = math.floor(order.amount_cents * (self.deposit_rate or 0))
                return order.amount_cents - max(asked, order.paid_cents)
            case "reduced_limit":
                return min(order.unpaid_cents, max(0, self.limit_cents - owed_cents))
        return order.unpaid_cents


@dataclass(frozen=True)
class Override:
    """A recorded decision of a person.

    Attributes
    ----------
    id, assessment_id, customer_id : str
    choice : Choice or None
        None withdraws the decision before it.
    order : Order
        The order that was assessed.
    direction : str or None
        Whether it was ``softer`` or ``harder`` than the policy; None where they do not compare.
    facts : frozenset of str
        What was true of the customer then.
    by, role, reason : str
    decided_on, expires_on : date
        First and last day in force.
    """

    id: str
    assessment_id: str
    customer_id: str
    choice: Choice | None
    order: Order
    direction: Direction | None
    facts: frozenset[str]
    by: str
    role: str
    reason: str
    decided_on: date
    expires_on: date

    def in_force(self, today: date) -> bool:
        """Tell whether it runs on a day, whatever the order."""
        return self.choice is not None and self.decided_on <= today <= self.expires_on

    def covers(self, order: Order, owed_cents: int) -> bool:
        """Tell whether an order is no larger, on no longer terms, and within the limit."""
        if self.choice is None:
            return False
        credit = self.choice.credit_cents(order, owed_cents)
        return (
            order.amount_cents <= self.order.amount_cents
            and order.terms_days <= self.order.terms_days
            and (credit == 0 or owed_cents + credit <= self.choice.limit_cents)
        )


def softness(kind: Action | None, deposit_rate: Decimal | None, policy: Policy) -> Decimal | None:
    """Return how soft an action is: the share of customers who take it, as the policy has it.

    None where the policy has no such option, or nothing was chosen.
    """
    match kind:
        case None | "review":
            return None
        case "deposit":
            return None if deposit_rate is None else policy.acceptance_rate.at(deposit_rate)
        case _:
            return policy.acceptance_rate.of(kind)


def direction(
    choice: Choice, proposed: Action | None, proposed_rate: Decimal | None, policy: Policy
) -> Direction | None:
    """Tell whether a choice is softer or harder than what the policy proposes.

    None where they do not compare: equally soft, not on offer, or nothing was proposed.
    """
    mine = softness(choice.kind, choice.deposit_rate, policy)
    its = softness(proposed, proposed_rate, policy)
    if mine is None or its is None or mine == its:
        return None
    return "softer" if mine > its else "harder"


def voided_by(override: Override, facts: Collection[str], policy: Policy) -> CustomerFact | None:
    """Return the fact that voids an override: one nobody overrides, or a new one that bars it."""
    choice = override.choice

    def bars(rule: BlockingRule) -> bool:
        return choice is not None and rule.bars(choice.kind) and rule.when not in override.facts

    barring = {rule.when for rule in policy.blocking if bars(rule)}
    never = set(policy.override.never_when)
    found: list[CustomerFact] = [
        "bank_details_unverified",
        "insolvency_opened",
        "cover_withdrawn",
        "is_natural_person",
    ]
    return next((fact for fact in found if fact in facts and fact in never | barring), None)


def applied(
    override: Override,
    decision: Decision,
    order: Order,
    owed_cents: int,
    facts: Collection[str],
    policy: Policy,
) -> Decision | None:
    """Put a person's decision in the place of the policy's, where it counts for this order.

    Parameters
    ----------
    override : Override
        In force on the day.
    decision : Decision
        The policy's own; its choice stays visible as ``proposed_action`` and among the options.
    order : Order
        An order paid in advance needs nobody's leave.
    owed_cents : int
        Exposure without the order, accepted orders included.
    facts : collection of str
        What is true of the customer now.
    policy : Policy

    Returns
    -------
    Decision or None
        None where the override does not count. Where a fact voids it, the policy's decision with a
        rule that says so.
    """
    choice = override.choice
    if choice is None or order.unpaid_cents == 0:
        return None
    own = decision.proposed_action or decision.action
    rate = decision.deposit_rate
    proposed_rate = None if rate is None else exact(rate)
    is_harder = "harder" == override.direction == direction(choice, own, proposed_rate, policy)
    if not (override.covers(order, owed_cents) or is_harder):
        return None
    if fact := voided_by(override, facts, policy):
        return replace(decision, rules=(*decision.rules, _void(fact)))
    said = wording.decision(_as_priced(choice, order, owed_cents), order, held=False)
    return replace(
        decision,
        action=choice.kind,
        proposed_action=None if own == "review" else own,
        deposit_rate=None if choice.deposit_rate is None else float(choice.deposit_rate),
        limit=_limit(decision.limit, choice),
        rules=(*decision.rules, _in_words(override)),
        fr=f"Décidé par une personne ({override.role}) : {_low(said.fr)}",
        en=f"Decided by a person ({override.role}): {_low(said.en)}",
        customer_fr=said.customer_fr,
        customer_en=said.customer_en,
    )


def counts(decision: Decision) -> bool:
    """Tell whether a decision is a person's: not so where a fact voids the override."""
    return any(rule.id == "override" for rule in decision.rules)


def _limit(limit: Limit | None, choice: Choice) -> Limit | None:
    """Raise the limit in force to the exposure that the person allows."""
    if limit is None or choice.kind in ("cash", "refuse") or limit.cents >= choice.limit_cents:
        return limit
    line = Line("Limite décidée par une personne", "Limit decided by a person", choice.limit_cents)
    return limit._replace(cents=choice.limit_cents, derivation=(*limit.derivation, line))


def _as_priced(choice: Choice, order: Order, owed_cents: int) -> Priced:
    """Give a choice the form that the words are made from; its worth is not reckoned."""
    on_credit = Decimal(choice.credit_cents(order, owed_cents))
    offer = Offer(choice.kind, WHOLE, on_credit, WHOLE, choice.deposit_rate, choice.terms_days)
    return Priced(offer, *[NOTHING] * 8)


def _in_words(override: Override) -> Rule:
    ends = override.expires_on
    return Rule(
        "override",
        f"décision d’une personne ({override.role}) à la place de la politique, jusqu’au "
        f"{ends:%d/%m/%Y}",
        f"decided by a person ({override.role}) instead of the policy, until {ends}",
    )


def _void(fact: CustomerFact) -> Rule:
    fr, en = FACT_WORDS[fact]
    return Rule("override_void", f"dérogation sans effet : {fr}", f"override void: {en}")


def _low(sentence: str) -> str:
    return f"{sentence[0].lower()}{sentence[1:]}"
