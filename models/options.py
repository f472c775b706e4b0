"""The options that answer an order, and the expected profit of each.

    expected profit = acceptance × (margin − expected loss − funding − cost of the instrument)
    expected loss   = P(default over the order's life) × loss given default × uninsured part added

The loss given default is that of the policy, less the share that the ledger shows to be paid after
all (`cure_rate` of the risk; 0 in the example).

Worked example, in euros: an order of 20,000 with a margin of 800, 30 days, 9 days late on average,
probability of default 0.0391657, loss given default 0.60, funding 5 % over 360 days, no cover.

==================  ==========  =============  =======  ======  ==================================
option              acceptance  expected loss  funding  cost    expected profit
==================  ==========  =============  =======  ======  ==================================
open                      1.00         469.99   108.33    0.00  800 − 578.32 = 221.68
deposit 30 %              0.85         328.99    75.83    0.00  0.85 × (800 − 404.82) = **335.90**
retention of title        0.90         313.33   108.33   20.00  0.90 × (800 − 441.66) = 322.51
cash                      0.40           0.00     0.00    0.00  0.40 × 800 = 320.00
refuse                    0.00           0.00     0.00    0.00  0.00
==================  ==========  =============  =======  ======  ==================================

Money is exact decimals of cents here; it is rounded once, half to even, when it is shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

from models.limits import Order, Risk, Situation
from models.policy_file import SECURITIES, Kind, Policy
from models.strict_yaml import exact

NOTHING, WHOLE = Decimal(0), Decimal(1)


class Offer(NamedTuple):
    """What an option gives.

    Attributes
    ----------
    kind : str
    share : Decimal
        Of the order that is delivered, and of its margin, in 0–1.
    on_credit_cents : Decimal
        Delivered before it is paid.
    acceptance : Decimal
        Probability that the customer (the insurer, the factor) takes it.
    deposit_rate : Decimal or None
        Share of the amount asked on order.
    terms_days : int or None
        Where they differ from those of the order.
    """

    kind: Kind
    share: Decimal
    on_credit_cents: Decimal
    acceptance: Decimal
    deposit_rate: Decimal | None = None
    terms_days: int | None = None


class Priced(NamedTuple):
    """An offer and its exact worth, in cents.

    `margin` is that of the part delivered, with what the customer's importance adds. Where there is
    no probability, `default_probability` is None and nothing is on credit.
    """

    offer: Offer
    margin: Decimal
    default_probability: Decimal | None
    lgd_rate: Decimal
    uninsured: Decimal
    loss: Decimal
    funding: Decimal
    cost: Decimal
    profit: Decimal


def offers(order: Order, room_cents: int, policy: Policy, *, on_credit: bool) -> list[Offer]:
    """List the options on offer, hardest first, so that equal profits go to the harder one.

    Parameters
    ----------
    order : Order
    room_cents : int
        What the limit leaves for this order: the part that a reduced limit delivers.
    policy : Policy
    on_credit : bool
        Whether options on credit can be priced; else only those without credit are listed.
    """
    taken = policy.acceptance_rate
    if order.unpaid_cents == 0:  # paid in advance: cash it is
        return [_refusal(policy), Offer("cash", WHOLE, NOTHING, WHOLE)]
    found = [_refusal(policy), Offer("cash", WHOLE, NOTHING, taken.cash)]
    return [*found, *_with_credit(order, room_cents, policy)] if on_credit else found


def _refusal(policy: Policy) -> Offer:
    return Offer("refuse", NOTHING, NOTHING, policy.acceptance_rate.refuse)


def _with_credit(order: Order, room_cents: int, policy: Policy) -> Iterator[Offer]:
    """Give the options on credit, hardest first; what is paid already is no credit."""
    taken = policy.acceptance_rate
    amount, unpaid = Decimal(order.amount_cents), Decimal(order.unpaid_cents)
    whole: tuple[Kind, ...] = (*reversed(SECURITIES[1:]), "insured_sale", "factoring")
    yield from _on_the_whole(whole, unpaid, policy)
    for rate, accepted in reversed(policy.deposits):
        if rate * amount > order.paid_cents:
            yield Offer("deposit", WHOLE, amount * (1 - rate), accepted, rate)
    yield from _on_the_whole(SECURITIES[:1], unpaid, policy)
    shorter = policy.shorter_terms_days(order.terms_days)
    if taken.shorter_terms is not None and shorter is not None:
        yield Offer("shorter_terms", WHOLE, unpaid, taken.shorter_terms, terms_days=shorter)
    part = Decimal(room_cents)  # no admissible option has more on credit
    if taken.reduced_limit is not None and 0 < part < unpaid:
        yield Offer("reduced_limit", part / unpaid, part, taken.reduced_limit)
    yield Offer("open", WHOLE, unpaid, taken.open)


def _on_the_whole(kinds: tuple[Kind, ...], unpaid: Decimal, policy: Policy) -> Iterator[Offer]:
    for kind in kinds:
        accepted = policy.acceptance_rate.of(kind)
        if accepted is not None:
            yield Offer(kind, WHOLE, unpaid, accepted)


def price(
    offer: Offer, order: Order, situation: Situation, risk: Risk | None, policy: Policy
) -> Priced:
    """Reckon what an offer is worth.

    Raises
    ------
    ValueError
        If something is on credit and there is no probability of default.
    """
    margin = offer.share * _margin(order, situation, policy)
    if offer.on_credit_cents == 0:
        worth = offer.acceptance * margin
        return Priced(offer, margin, None, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, worth)
    if risk is None:
        raise ValueError(f"{offer.kind} gives credit: it has no price without a probability")
    probability = probability_of(offer, risk)
    lgd_rate = risk.loss_given_default(policy.lgd_of(offer.kind))
    uninsured = added_uninsured(offer, situation)
    loss = probability * lgd_rate * uninsured
    funding = _funding(offer, order, risk, policy)
    cost = instrument_cost(offer, situation, policy)
    profit = offer.acceptance * (margin - loss - funding - cost)
    return Priced(offer, margin, probability, lgd_rate, uninsured, loss, funding, cost, profit)


def _margin(order: Order, situation: Situation, policy: Policy) -> Decimal:
    """Return the order's margin, with the further orders that go with a customer who leaves."""
    margin = Decimal(order.margin_cents)
    return margin + max(NOTHING, margin) * policy.future_orders.of(situation.importance)


def probability_of(offer: Offer, risk: Risk) -> Decimal:
    """Return the probability of default over the life of an offer on credit."""
    if offer.kind == "shorter_terms" and risk.shorter_default_probability is not None:
        return exact(risk.shorter_default_probability)
    return risk.exact_probability


def expected_loss(
    on_credit_cents: Decimal, situation: Situation, default_probability: float, lgd_rate: Decimal
) -> Decimal:
    """Return the loss, in cents, that an amount on credit adds: probability × LGD × uninsured.

    The exposure that exists uses the cover first, and a customer in credit owes nothing yet. For
    50,000 € on credit at 4 % and 60 %, covered 40,000 € at 90 %: 4 % × 60 % × (50,000 − 36,000) =
    336 €; if the seller already holds 5,000 € of the customer, 4 % × 60 % × (45,000 − 36,000).
    """
    return exact(default_probability) * lgd_rate * _added(on_credit_cents, situation)


def _added(on_credit_cents: Decimal, situation: Situation) -> Decimal:
    """Return the uninsured exposure that an amount on credit adds, in cents."""
    reached = situation.owed_cents + on_credit_cents
    return situation.uninsured(reached) - situation.uninsured_now


def added_uninsured(offer: Offer, situation: Situation) -> Decimal:
    """Return the uninsured exposure that an offer adds, in cents; see :func:`with_cover_raised`."""
    return _added(offer.on_credit_cents, with_cover_raised(offer, situation))


def with_cover_raised(offer: Offer, situation: Situation) -> Situation:
    """Return the situation in which an insured sale stands: the cover reaches to its end.

    Other offers stand where the customer stands.
    """
    if offer.kind != "insured_sale":
        return situation
    reached = situation.owed_cents + int(offer.on_credit_cents)
    return replace(situation, covered_cents=max(situation.covered_cents, reached))


def beyond_cover(offer: Offer, situation: Situation) -> Decimal:
    """Return the part of an offer that no cover reaches, in cents: an insured sale pays for it."""

    def beyond(exposure_cents: Decimal) -> Decimal:
        return max(NOTHING, exposure_cents - situation.covered_cents)

    before = Decimal(situation.owed_cents)
    return beyond(before + offer.on_credit_cents) - beyond(before)


def instrument_cost(offer: Offer, situation: Situation, policy: Policy) -> Decimal:
    """Return what the instrument of an offer costs the seller, in cents."""
    costs = policy.instrument_cost
    match offer.kind:
        case "insured_sale":
            return costs.insured_sale.cents(beyond_cover(offer, situation))
        case "retention_of_title" | "bank_guarantee" | "letter_of_credit" | "factoring":
            cost: Decimal = getattr(costs, offer.kind).cents(offer.on_credit_cents)
            return cost
    return NOTHING


def _funding(offer: Offer, order: Order, risk: Risk, policy: Policy) -> Decimal:
    """Return the cost of the money lent until it is expected, in cents."""
    terms_days = order.terms_days if offer.terms_days is None else offer.terms_days
    days = max(NOTHING, terms_days + risk.exact_delay_days)
    funding = policy.funding
    return offer.on_credit_cents * funding.annual_rate * days / funding.basis_days


def at_risk(offer: Offer, policy: Policy) -> Decimal:
    """Return how much of the limit an offer takes, in cents: less where a security stands behind.

    20,000 under retention of title (a loss of 40 % instead of 60 %) take 13,333.33 of the limit.
    """
    return offer.on_credit_cents * policy.lgd_of(offer.kind) / policy.lgd_rate.unsecured
