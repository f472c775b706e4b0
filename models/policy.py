"""What to do about an order: the expected profit of each option, blocking rules, one action.

Worked example, in euros: an order of 20,000 with a margin of 800, 30 days, 9 days late on average,
probability of default 0.0391657, loss given default 0.60, funding 5 % over 360 days, no cover.

=============  ==========  =============  =======  ==================================
option         acceptance  expected loss  funding  expected profit
=============  ==========  =============  =======  ==================================
open                 1.00         469.99   108.33  800 − 578.32 = 221.68
deposit 30 %         0.85         328.99    75.83  0.85 × (800 − 404.82) = **335.90**
cash                 0.40           0.00     0.00  0.40 × 800 = 320.00
refuse               0.00           0.00     0.00  0.00
=============  ==========  =============  =======  ==================================

The law: a higher probability of default, a longer expected delay, less margin, less cover or more
exposure never gives a softer action. docs/decisions.md has the argument, the tests search for
counterexamples. Money is integer cents outside; inside, decimals, rounded once at the end, half to
even.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from typing import NamedTuple, get_args

from models.limits import Limit, Line, Order, Risk, Situation, recommended_limit
from models.policy_file import Action, BlockingRule, Kind, Policy, PolicyError, Rule, exact, load

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


@dataclass(frozen=True)
class Option:
    """One answer to the order and its worth, in cents; rates in 0–1.

    `obstacle` is the rule that makes it inadmissible. `chosen` marks the policy's pick, which
    stays a proposal when a person has to decide.
    """

    kind: Kind
    deposit_rate: float | None
    amount_on_credit_cents: int
    acceptance: float
    expected_loss_cents: int
    funding_cents: int
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
    limit : Limit or None
        None when the default curve abstains.
    options : tuple of Option
        One a kind, the best deposit among them; best first, inadmissible ones last.
    rules : tuple of Rule
        What fired: blocking rules, the limit, the curve's abstention.
    fr, en : str
        The decision in one sentence that a salesperson can repeat.
    """

    action: Action
    proposed_action: Kind | None
    deposit_rate: float | None
    limit: Limit | None
    options: tuple[Option, ...]
    rules: tuple[Rule, ...]
    fr: str
    en: str

    @property
    def requires_human(self) -> bool:
        """Whether a person has to decide: a rule asks for it, or there is no probability."""
        return self.action == "review"


def expected_loss(
    on_credit_cents: Decimal, situation: Situation, default_probability: float, lgd_rate: Decimal
) -> Decimal:
    """Return the loss, in cents, that an amount on credit adds: probability × LGD × uninsured.

    The exposure that exists uses the cover first, and a customer in credit owes nothing yet. For
    50,000 € on credit at 4 % and 60 %, covered 40,000 € at 90 %: 4 % × 60 % × (50,000 − 36,000) =
    336 €; if the seller already holds 5,000 € of the customer, 4 % × 60 % × (45,000 − 36,000).
    """

    def uninsured(exposure_cents: Decimal) -> Decimal:
        owed = max(Decimal(0), exposure_cents)
        return owed - min(owed, Decimal(situation.covered_cents)) * exact(situation.insured_rate)

    before = Decimal(situation.exposure_cents)
    added = uninsured(before + on_credit_cents) - uninsured(before)
    return exact(default_probability) * lgd_rate * added


def decide(order: Order, situation: Situation, risk: Risk | None, policy: Policy) -> Decision:
    """Choose the admissible option with the highest expected profit; on a tie, the harder one.

    Parameters
    ----------
    order : Order
        Amount > 0 and terms >= 0; the margin may be negative.
    situation : Situation
        The customer now, without this order.
    risk : Risk or None
        None when the default curve abstains: a person decides, and only the options without
        credit, whose worth needs no probability, are priced.
    policy : Policy
        From :func:`load`.

    Notes
    -----
    expected profit = acceptance × (margin − expected loss − funding).
    """
    if order.amount_cents <= 0 or order.terms_days < 0:
        raise ValueError(f"an order has an amount > 0 and terms >= 0; got {order}")
    case = _Case(order, situation, risk, policy)
    priced = [case.price(offer) for offer in case.offers()]
    options = _best_of_each_kind(priced)
    pick = None
    if risk is not None:  # refusing is always admissible, so the first option is
        pick = options[0] = replace(options[0], chosen=True)
    fired = case.fired(pick)
    held = pick is None or any(rule.requires_human for rule in fired)
    rules = [rule.in_words for rule in fired]
    if any(one.obstacle == LIMIT_EXCEEDED for one in priced):
        rules.append(LIMIT_EXCEEDED)
    if risk is None:
        rules.append(ABSTAINS)
    fr, en = _sentence(pick, order, held=held)
    return Decision(
        action=pick.kind if pick and not held else "review",
        proposed_action=pick.kind if pick and held else None,
        deposit_rate=pick.deposit_rate if pick else None,
        limit=case.limit,
        options=tuple(options),
        rules=tuple(rules),
        fr=fr,
        en=en,
    )


class _Offer(NamedTuple):
    """What an option gives: the share of the order delivered, the cents of it on credit."""

    kind: Kind
    share: Decimal
    on_credit: Decimal
    acceptance: Decimal
    deposit_rate: Decimal | None = None


class _Priced(NamedTuple):
    """An offer and its exact worth in cents."""

    offer: _Offer
    loss: Decimal
    funding: Decimal
    profit: Decimal
    obstacle: Rule | None

    def option(self) -> Option:
        """Return the option as an answer shows it, rounded to cents."""
        rate = self.offer.deposit_rate
        return Option(
            kind=self.offer.kind,
            deposit_rate=None if rate is None else float(rate),
            amount_on_credit_cents=round(self.offer.on_credit),
            acceptance=float(self.offer.acceptance),
            expected_loss_cents=round(self.loss),
            funding_cents=round(self.funding),
            expected_profit_cents=round(self.profit),
            obstacle=self.obstacle,
        )


@dataclass(frozen=True)
class _Case:
    """One order before its decision."""

    order: Order
    situation: Situation
    risk: Risk | None
    policy: Policy

    @cached_property
    def rules(self) -> list[BlockingRule]:
        return [rule for rule in self.policy.blocking if rule.when in self.situation.facts]

    @cached_property
    def closed(self) -> dict[Kind, Rule]:
        """Return the options that a blocking rule forbids, each with the rule."""
        kinds: tuple[Kind, ...] = get_args(Kind)
        return {kind: rule.in_words for rule in self.rules for kind in kinds if rule.bars(kind)}

    def fired(self, pick: Option | None) -> list[BlockingRule]:
        """Return the rules that forbid options or that call for a person."""
        return [rule for rule in self.rules if not (pick and rule.unless == pick.kind)]

    @cached_property
    def limit(self) -> Limit | None:
        if {"open", "deposit"} <= self.closed.keys():
            rule = self.closed["open"]
            return Limit(0, (Line(rule.fr, rule.en, 0),))
        if self.risk is None:
            return None
        return recommended_limit(self.order, self.situation, self.risk, self.policy)

    @cached_property
    def room_cents(self) -> int:
        """Return what the limit and its tolerance leave for this order."""
        limit_cents = self.limit.cents if self.limit else 0
        ceiling = limit_cents * (1 + self.policy.limit.tolerance_rate)
        return max(0, int(ceiling) - self.situation.exposure_cents)

    def offers(self) -> list[_Offer]:
        """Return the options, hardest first, so that equal profits go to the harder one."""
        nothing, whole = Decimal(0), Decimal(1)
        amount, acceptance = Decimal(self.order.amount_cents), self.policy.acceptance_rate
        offers = [
            _Offer("refuse", nothing, nothing, acceptance.refuse),
            _Offer("cash", whole, nothing, acceptance.cash),
        ]
        if self.risk is None:  # the others give credit, and cannot be priced
            return offers
        for rate, accepted in reversed(self.policy.deposits):
            offers.append(_Offer("deposit", whole, amount * (1 - rate), accepted, rate))
        part = Decimal(self.room_cents)  # no admissible option has more on credit
        if acceptance.reduced_limit is not None and 0 < part < amount:
            offers.append(_Offer("reduced_limit", part / amount, part, acceptance.reduced_limit))
        return [*offers, _Offer("open", whole, amount, acceptance.open)]

    def price(self, offer: _Offer) -> _Priced:
        loss, funding = self.cost(offer.on_credit, self.situation)
        profit = offer.acceptance * (offer.share * self.order.margin_cents - loss - funding)
        return _Priced(offer, loss, funding, profit, self.obstacle(offer))

    def cost(self, on_credit: Decimal, situation: Situation) -> tuple[Decimal, Decimal]:
        """Return the expected loss and the funding of an amount on credit, in cents."""
        if self.risk is None:  # nothing is on credit then
            return Decimal(0), Decimal(0)
        lgd_rate, funding = self.policy.lgd_rate.unsecured, self.policy.funding
        loss = expected_loss(on_credit, situation, self.risk.default_probability, lgd_rate)
        days = max(Decimal(0), self.order.terms_days + exact(self.risk.expected_delay_days))
        return loss, on_credit * funding.annual_rate * days / funding.basis_days

    def obstacle(self, offer: _Offer) -> Rule | None:
        """Return what makes an option inadmissible: a rule, the limit, or the margin."""
        if offer.kind in self.closed:
            return self.closed[offer.kind]
        if offer.on_credit > self.room_cents:
            return LIMIT_EXCEEDED
        if offer.kind == "reduced_limit" and not self.margin_pays_uninsured_credit:
            return MARGIN_TOO_LOW
        return None

    @property
    def margin_pays_uninsured_credit(self) -> bool:
        """Whether each unit on credit earns, even beyond the cover.

        Else a small, covered part could earn more than a large one, and a lower limit would bring
        back the credit that a higher one had made worthless.
        """
        amount = Decimal(self.order.amount_cents)
        uncovered = replace(self.situation, covered_cents=0, exposure_cents=0)
        return self.order.margin_cents >= sum(self.cost(amount, uncovered))


def _best_of_each_kind(priced: list[_Priced]) -> list[Option]:
    """Return one option a kind: best first, inadmissible last, equal profits as they came."""
    best: dict[Kind, Option] = {}
    for one in sorted(priced, key=lambda p: (p.obstacle is not None, -p.profit)):
        best.setdefault(one.offer.kind, one.option())
    return list(best.values())


def _sentence(pick: Option | None, order: Order, *, held: bool) -> tuple[str, str]:
    """Return the decision in one sentence, in French and in English."""
    if pick is None:
        return f"Faire décider une personne : {ABSTAINS.fr}.", f"A person decides: {ABSTAINS.en}."
    fr, en = _in_words(pick, order)
    if not held:
        return fr, en
    return (
        f"Faire décider une personne ; proposition : {fr[0].lower()}{fr[1:]}",
        f"A person decides; proposal: {en[0].lower()}{en[1:]}",
    )


def _in_words(pick: Option, order: Order) -> tuple[str, str]:
    rate = f"{100 * (pick.deposit_rate or 0):g}"
    part = f"{Decimal(pick.amount_on_credit_cents) / 100:,.2f}"
    return {
        "open": (
            f"Accepter avec paiement à {order.terms_days} jours.",
            f"Accept on {order.terms_days}-day terms.",
        ),
        "deposit": (
            f"Accepter avec un acompte de {rate.replace('.', ',')} % à la commande.",
            f"Accept with a {rate} % deposit on order.",
        ),
        "reduced_limit": (
            f"Livrer pour {part.replace(',', ' ').replace('.', ',')}, ce que permet la limite.",
            f"Deliver {part} of it, what the limit allows.",
        ),
        "cash": ("Livrer après paiement comptant.", "Deliver after cash payment."),
        "refuse": ("Refuser la commande.", "Refuse the order."),
    }[pick.kind]
