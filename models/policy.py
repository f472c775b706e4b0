"""What to do about an order: blocking rules, the limit, the worth of each option, one action.

The options and their worth are in :mod:`models.options`, with a worked example; the words in
:mod:`models.wording`.

The law: along each chain of options (open > deposits > cash > refuse, …) a higher probability of
default, a longer expected delay, less margin, less cover or more exposure never gives a softer
action. docs/decisions.md has the argument, the tests search for counterexamples. Money is integer
cents outside; inside, decimals, rounded once at the end, half to even.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from typing import get_args

from models import wording
from models.limits import Limit, Line, Order, Risk, Situation, recommended_limit
from models.options import (
    Offer,
    Priced,
    at_risk,
    expected_loss,
    offers,
    price,
    with_cover_raised,
)
from models.policy_file import (
    FRAUD_SIGNALS,
    Action,
    BlockingRule,
    Kind,
    Policy,
    PolicyError,
    Rule,
    load,
)

__all__ = [
    "Decision",
    "Option",
    "Order",
    "Policy",
    "PolicyError",
    "Risk",
    "Situation",
    "decide",
    "expected_loss",
    "load",
    "recommended_limit",
]

LIMIT_EXCEEDED = Rule("limit_exceeded", "limite de crédit dépassée", "credit limit exceeded")
MARGIN_TOO_LOW = Rule(
    "margin_below_credit_cost",
    "la marge ne paie pas le risque et le financement d’un crédit non assuré",
    "the margin does not pay for the risk and funding of uninsured credit",
)
ABSTAINS = Rule(
    "default_curve_abstains", "pas de probabilité de défaut", "no probability of default"
)
ABOVE_DECIDED = Rule(
    "above_decided_limit",
    "au-delà de la limite qu’une personne a décidée",
    "above the limit that a person decided",
)
PAID_IN_ADVANCE = Rule("paid_in_advance", "commande payée d’avance", "the order is paid in advance")


@dataclass(frozen=True)
class Option:
    """One answer to the order and its worth, in cents; rates in 0–1.

    `terms_days` are those of shorter terms. `margin_cents` counts what the customer's strategic
    importance adds; `uninsured_cents` is the exposure added that no insurer pays. `obstacle` is the
    rule that makes the option inadmissible. `chosen` marks the policy's pick, which stays a
    proposal when a person has to decide. Holding the order for a person is shown as ``review``: it
    is worth less than the best option, and only a rule chooses it.
    """

    kind: Action
    deposit_rate: float | None
    terms_days: int | None
    amount_on_credit_cents: int
    uninsured_cents: int
    acceptance: float
    margin_cents: int
    default_probability: float | None
    lgd_rate: float | None
    expected_loss_cents: int
    funding_cents: int
    cost_cents: int
    expected_profit_cents: int
    obstacle: Rule | None
    chosen: bool = False

    @property
    def admissible(self) -> bool:
        """Whether no rule and no limit stands in the way."""
        return self.obstacle is None


@dataclass(frozen=True)
class Decision:
    """What to do about an order, and why.

    Attributes
    ----------
    action : str
        The kind of the chosen option, or ``review``: the order is held until a person decides.
    proposed_action : str or None
        What the policy would do with an order held for review; None when the order is not held, or
        when the default curve abstains and there is nothing to propose.
    deposit_rate : float or None
        Of the action or of the proposal, when it is a deposit.
    smallest_deposit_rate : float or None
        The smallest deposit that is admissible and makes the order worth more than refusing it; 0
        when none is needed, None when none makes it worth it.
    limit : Limit or None
        None when the default curve abstains.
    options : tuple of Option
        One a kind, the best deposit among them, and ``review``; the chosen one first, then by
        profit, inadmissible ones last.
    derivation : tuple of Line
        The worth of the chosen option, line by line; empty when nothing is chosen.
    rules : tuple of Rule
        What fired: blocking rules, the limit, the curve's abstention.
    fr, en : str
        The decision in one sentence, for the seller.
    customer_fr, customer_en : str
        One sentence that a salesperson can repeat to the customer: it says nothing of the risk.
    """

    action: Action
    proposed_action: Kind | None
    deposit_rate: float | None
    smallest_deposit_rate: float | None
    limit: Limit | None
    options: tuple[Option, ...]
    derivation: tuple[Line, ...]
    rules: tuple[Rule, ...]
    fr: str
    en: str
    customer_fr: str
    customer_en: str

    @property
    def requires_human(self) -> bool:
        """Whether a person has to decide: a rule asks for it, or there is no probability."""
        return self.action == "review"

    @property
    def pick(self) -> Option | None:
        """The option chosen or proposed."""
        return next((option for option in self.options if option.chosen), None)


def decide(order: Order, situation: Situation, risk: Risk | None, policy: Policy) -> Decision:
    """Choose the admissible option with the highest expected profit; on a tie, the harder one.

    Parameters
    ----------
    order : Order
        Amount > 0, terms >= 0, paid in advance 0 … amount; the margin may be negative.
    situation : Situation
        The customer now, without this order.
    risk : Risk or None
        None when the default curve abstains: a person decides, and only the options without
        credit, whose worth needs no probability, are priced.
    policy : Policy
        From :func:`load`.

    Notes
    -----
    An order that is paid in advance passes, whatever its worth: only a signal of fraud holds it.
    """
    if order.amount_cents <= 0 or order.terms_days < 0:
        raise ValueError(f"an order has an amount > 0 and terms >= 0; got {order}")
    if not 0 <= order.paid_cents <= order.amount_cents:
        raise ValueError(f"what is paid in advance must be in 0 … amount; got {order}")
    case = _Case(order, situation, risk, policy)
    priced = [(one, case.obstacle(one.offer)) for one in case.priced]
    ranked = _best_of_each_kind(priced)
    pick = case.pick(ranked)
    fired, is_above = case.fired(pick), case.is_above_decided(pick)
    held = pick is None or is_above or any(rule.requires_human for rule in fired)
    shown = [_shown(one, obstacle, chosen=one is pick) for one, obstacle in ranked]
    shown.append(_held(ranked[0][0], policy))
    rules = [rule.in_words for rule in fired]
    if any(obstacle == LIMIT_EXCEEDED for _, obstacle in priced):
        rules.append(LIMIT_EXCEEDED)
    if is_above:
        rules.append(ABOVE_DECIDED)
    if case.is_paid:
        rules.append(PAID_IN_ADVANCE)
    elif risk is None:
        rules.append(ABSTAINS)
    said = wording.decision(pick, order, held=held)
    deposit_rate = None if pick is None else pick.offer.deposit_rate
    return Decision(
        action="review" if pick is None or held else pick.offer.kind,
        proposed_action=pick.offer.kind if pick and held else None,
        deposit_rate=None if deposit_rate is None else float(deposit_rate),
        smallest_deposit_rate=_smallest_deposit(priced),
        limit=case.limit,
        options=tuple(sorted(shown, key=_rank)),
        derivation=() if pick is None else wording.derivation(pick, order),
        rules=tuple(rules),
        fr=said.fr,
        en=said.en,
        customer_fr=said.customer_fr,
        customer_en=said.customer_en,
    )


Judged = tuple[Priced, Rule | None]
"""A priced offer with what makes it inadmissible."""


@dataclass(frozen=True)
class _Case:
    """One order before its decision."""

    order: Order
    situation: Situation
    risk: Risk | None
    policy: Policy

    @property
    def is_paid(self) -> bool:
        return self.order.unpaid_cents == 0

    @cached_property
    def facts(self) -> frozenset[str]:
        """Return what is true of the customer, a breach of the limit included."""
        known, most = self.situation.facts, self._most(self.known_limit)
        if self.known_limit is not None and most is not None and self.situation.owed_cents > most:
            known |= {"limit_breached"}
        return known

    @cached_property
    def rules(self) -> list[BlockingRule]:
        """Return the rules whose fact is true; only a signal of fraud stops a paid order."""
        fired = [rule for rule in self.policy.blocking if rule.when in self.facts]
        return [rule for rule in fired if not self.is_paid or rule.when in FRAUD_SIGNALS]

    @cached_property
    def closed(self) -> dict[Kind, Rule]:
        """Return the options that a blocking rule forbids, each with the rule."""
        kinds: tuple[Kind, ...] = get_args(Kind)
        return {kind: rule.in_words for rule in self.rules for kind in kinds if rule.bars(kind)}

    @property
    def _breaches(self) -> set[str]:
        """Return the rules that fire because of the limit itself: they leave it as it is."""
        return {rule.id for rule in self.rules if rule.when == "limit_breached"}

    def fired(self, pick: Priced | None) -> list[BlockingRule]:
        """Return the rules that forbid options or that call for a person."""
        return [rule for rule in self.rules if not (pick and rule.unless == pick.offer.kind)]

    @cached_property
    def known_limit(self) -> Limit | None:
        """Return the limit that the models and the situation give; None without a probability."""
        if self.risk is None:
            return None
        return recommended_limit(self.order, self.situation, self.risk, self.policy)

    @cached_property
    def limit(self) -> Limit | None:
        """Return the limit as it is answered: 0 where a rule leaves no credit without security."""
        rule = self.closed.get("open")
        if rule is not None and "deposit" in self.closed and rule.id not in self._breaches:
            return Limit(0, (Line(rule.fr, rule.en, 0),), 0)
        return self.known_limit

    def _most(self, limit: Limit | None) -> int | None:
        """Return the exposure that appetite and bounds allow, with the tolerance."""
        if limit is None:
            return 0
        most = limit.most_cents
        return None if most is None else int(most * (1 + self.policy.limit.tolerance_rate))

    def _room(self, limit: Limit | None) -> int:
        most = self._most(limit)
        if most is None:
            return self.order.unpaid_cents
        return max(0, most - self.situation.owed_cents)

    @cached_property
    def room_cents(self) -> int:
        """Return what appetite and bounds leave for this order."""
        return self._room(self.known_limit)

    def is_above_decided(self, pick: Priced | None) -> bool:
        """Tell whether the option goes above the limit that a person decided, by enough to ask him.

        By enough: the expected loss of what lies above it is worth his time.
        """
        decided, limit = self.situation.decided_limit_cents, self.known_limit
        if decided is None or limit is None or pick is None or pick.default_probability is None:
            return False
        rules = self.policy.limit
        reached = self.situation.owed_cents + at_risk(pick.offer, self.policy)
        if reached <= limit.cents * (1 + rules.tolerance_rate):
            return False
        worth = 100 * rules.review_above_expected_loss_amount
        return pick.default_probability * pick.lgd_rate * (reached - limit.cents) >= worth

    @cached_property
    def priced(self) -> list[Priced]:
        """Return every option on offer with its worth, hardest first."""
        order, policy = self.order, self.policy
        found = offers(order, self.room_cents, policy, on_credit=self.risk is not None)
        known = self.risk is not None and self.risk.shorter_default_probability is not None
        return [
            price(offer, order, self.situation, self.risk, policy)
            for offer in found
            if known or offer.kind != "shorter_terms"
        ]

    def pick(self, ranked: list[Judged]) -> Priced | None:
        """Return the best admissible option; cash for an order paid in advance, if it is open."""
        if self.is_paid:
            paid, obstacle = next(one for one in ranked if one[0].offer.kind == "cash")
            if obstacle is None:
                return paid
        if self.risk is None and not self.is_paid:
            return None
        return ranked[0][0]  # refusing is always admissible, so the first option is

    def obstacle(self, offer: Offer) -> Rule | None:
        """Return what makes an option inadmissible: a rule, the limit, or the margin."""
        if offer.kind in self.closed:
            return self.closed[offer.kind]
        if at_risk(offer, self.policy) > self._room_for(offer):
            return LIMIT_EXCEEDED
        if offer.kind == "reduced_limit" and not self.margin_pays_uninsured_credit:
            return MARGIN_TOO_LOW
        return None

    def _room_for(self, offer: Offer) -> int:
        """Return what the limit leaves for an option: an insured sale raises the cover first."""
        raised = with_cover_raised(offer, self.situation)
        if raised is self.situation or self.risk is None:
            return self.room_cents
        limit = recommended_limit(self.order, raised, self.risk, self.policy)
        return self._room(limit)

    @property
    def margin_pays_uninsured_credit(self) -> bool:
        """Whether each unit on credit earns, even beyond the cover.

        Else a small, covered part could earn more than a large one, and a lower limit would bring
        back the credit that a higher one had made worthless.
        """
        amount = Decimal(self.order.unpaid_cents)
        uncovered = replace(self.situation, covered_cents=0, exposure_cents=0, orders_cents=0)
        whole = Offer("open", Decimal(1), amount, Decimal(1))
        return price(whole, self.order, uncovered, self.risk, self.policy).profit >= 0


def _best_of_each_kind(priced: list[Judged]) -> list[Judged]:
    """Return one option a kind: best first, inadmissible last, equal profits as they came."""
    best: dict[Kind, Judged] = {}
    for one in sorted(priced, key=lambda judged: (judged[1] is not None, -judged[0].profit)):
        best.setdefault(one[0].offer.kind, one)
    return list(best.values())


def _rank(option: Option) -> tuple[bool, bool, int]:
    """Order options as they are read: the chosen one, then by profit, inadmissible ones last."""
    return not option.chosen, not option.admissible, -option.expected_profit_cents


def _smallest_deposit(priced: list[Judged]) -> float | None:
    """Return the smallest deposit, 0 for open terms, that makes the order worth it."""
    rates = [
        one.offer.deposit_rate or Decimal(0)
        for one, obstacle in priced
        if obstacle is None and one.profit > 0 and one.offer.kind in ("open", "deposit")
    ]
    return float(min(rates)) if rates else None


def _shown(one: Priced, obstacle: Rule | None, *, chosen: bool) -> Option:
    """Return an option as an answer shows it, rounded to cents."""
    rate, probability = one.offer.deposit_rate, one.default_probability
    return Option(
        kind=one.offer.kind,
        deposit_rate=None if rate is None else float(rate),
        terms_days=one.offer.terms_days,
        amount_on_credit_cents=round(one.offer.on_credit_cents),
        uninsured_cents=round(one.uninsured),
        acceptance=float(one.offer.acceptance),
        margin_cents=round(one.margin),
        default_probability=None if probability is None else float(probability),
        lgd_rate=None if probability is None else float(one.lgd_rate),
        expected_loss_cents=round(one.loss),
        funding_cents=round(one.funding),
        cost_cents=round(one.cost),
        expected_profit_cents=round(one.profit),
        obstacle=obstacle,
        chosen=chosen,
    )


def _held(best: Priced, policy: Policy) -> Option:
    """Return what holding the order for a person is worth: the best option, later and at a cost."""
    offer = best.offer._replace(acceptance=best.offer.acceptance * policy.review.acceptance_rate)
    cost = best.cost + 100 * policy.review.cost_amount
    profit = offer.acceptance * (best.margin - best.loss - best.funding - cost)
    later = best._replace(offer=offer, cost=cost, profit=profit)
    return replace(_shown(later, None, chosen=False), kind="review")
