"""The recommended credit limit, the lines that derive it, and what it is derived from.

The limit is the smaller of what the customer's purchases need and what the seller accepts to lose.
Worked example: a customer buys 300,000 € a year on 30-day terms, probability of default 4 %, loss
given default 60 %, covered 40,000 € at 90 %. It needs 300,000 × 30 / 365 × 1.5 = 36,986.30, in
steps 37,000 €. The seller accepts to lose 2 % of 300,000 = 6,000 €, the expected loss of
6,000 / (4 % × 60 %) = 250,000 € uninsured, or of 286,000 € with 36,000 € insured. The limit is
37,000 €.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, NamedTuple, get_args

from models.policy_file import Fact, Policy, exact


class Order(NamedTuple):
    """An order to decide on: amount (tax included) and margin in cents, terms in days."""

    amount_cents: int
    margin_cents: int
    terms_days: int


@dataclass(frozen=True)
class Situation:
    """What is known of the customer at that moment, without the models.

    Parameters
    ----------
    exposure_cents : int
        Unpaid invoices − credit notes − unapplied cash; negative when the customer is in credit.
    yearly_purchases_cents : int
        Purchases of the last 365 days, >= 0; 0 for a new customer.
    covered_cents : int
        Amount of the insurance cover in force, >= 0.
    insured_rate : float
        Share of the covered exposure that the insurer pays, in 0–1.
    facts : frozenset of str
        What is true of the customer, among :data:`models.policy_file.Fact`.
    """

    exposure_cents: int
    yearly_purchases_cents: int
    covered_cents: int
    insured_rate: float
    facts: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.yearly_purchases_cents < 0 or self.covered_cents < 0:
            raise ValueError("yearly_purchases_cents and covered_cents must be >= 0")
        if not 0 <= self.insured_rate <= 1:
            raise ValueError(f"insured_rate must be in 0–1; got {self.insured_rate}")
        if unknown := sorted(self.facts - set(get_args(Fact))):
            raise ValueError(f"unknown facts {unknown}; known: {sorted(get_args(Fact))}")


@dataclass(frozen=True)
class Risk:
    """What the models say of this order.

    Parameters
    ----------
    default_probability : float
        At the horizon that the policy sets for the order's terms, in 0–1.
    expected_delay_days : float
        Days from the due date to the payment; negative for a customer who pays early.
    """

    default_probability: float
    expected_delay_days: float

    def __post_init__(self) -> None:
        if not 0 <= self.default_probability <= 1:
            raise ValueError(f"default_probability must be in 0–1; got {self.default_probability}")
        if not math.isfinite(self.expected_delay_days):
            raise ValueError(f"expected_delay_days must be finite; got {self.expected_delay_days}")


class Line(NamedTuple):
    """One line of a derivation: its label in both languages, its value and unit."""

    fr: str
    en: str
    value: int | float
    unit: Literal["cents", "rate"] = "cents"


class Limit(NamedTuple):
    """A recommended credit limit, in cents, and its derivation in reading order."""

    cents: int
    derivation: tuple[Line, ...]


def recommended_limit(order: Order, situation: Situation, risk: Risk, policy: Policy) -> Limit:
    """Recommend the largest exposure worth allowing, all invoices and this order included.

    Returns
    -------
    Limit
        The need is rounded up, so that rounding never keeps an order out, and the appetite down.

    Notes
    -----
    A higher probability of default or less cover never raises the limit. The need counts the
    terms and not the expected delay, so that a customer never earns a higher limit by paying late.
    """
    need = _on_step(_need(order, situation, policy), policy, math.ceil)
    business = max(situation.yearly_purchases_cents, order.amount_cents)
    budget = policy.appetite.expected_loss_rate * business
    loss_rate = exact(risk.default_probability) * policy.lgd_rate.unsecured
    lines = [
        Line("Achats sur un an", "Purchases over a year", situation.yearly_purchases_cents),
        Line("Besoin du client", "What the customer needs", need),
        Line("Perte attendue acceptée", "Expected loss accepted", round(budget)),
        Line("Perte par unité non assurée", "Loss per uninsured unit", float(loss_rate), "rate"),
    ]
    limit = need
    if loss_rate > 0:  # else no exposure has an expected loss, and the need alone decides
        uninsured = budget / loss_rate
        appetite = _on_step(_with_cover(uninsured, situation), policy, math.floor)
        limit = min(need, appetite)
        lines += [
            Line("Encours non assuré supportable", "Uninsured exposure borne", int(uninsured)),
            Line("Avec la part assurée", "With the insured part", appetite),
        ]
    lines.append(Line("Limite recommandée", "Recommended limit", limit))
    return Limit(limit, tuple(lines))


def _need(order: Order, situation: Situation, policy: Policy) -> Decimal:
    """Return the exposure that regular purchases create at these terms, at least the order."""
    regular = Decimal(situation.yearly_purchases_cents * order.terms_days) / 365
    return max(Decimal(order.amount_cents), regular * policy.limit.headroom)


def _with_cover(uninsured: Decimal, situation: Situation) -> Decimal:
    """Return the exposure whose uninsured part is `uninsured`.

    Beyond the cover each unit is uninsured; within it, 1 − insured_rate of each unit.
    """
    insured_rate = exact(situation.insured_rate)
    beyond = uninsured + situation.covered_cents * insured_rate
    return min(beyond, uninsured / (1 - insured_rate)) if insured_rate < 1 else beyond


def _on_step(cents: Decimal, policy: Policy, rounded: Callable[[Decimal], int]) -> int:
    """Keep two leading digits, in steps no coarser than the policy's: 1,234 € → 1,200 €."""
    step = min(100 * policy.limit.coarsest_step, int(10 ** max(0, len(str(int(cents))) - 2)))
    return rounded(cents / step) * step
