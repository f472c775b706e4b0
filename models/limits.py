"""The recommended credit limit, the lines that derive it, and what it is derived from.

The limit is the smallest of what the customer's purchases need, what the seller accepts to lose,
and what cover, equity and concentration allow. Worked example: a customer buys 300,000 € a year on
30-day terms, probability of default 4 %, loss given default 60 %, covered 40,000 € at 90 %. It
needs 300,000 × 30 / 365 × 1.5 = 36,986.30, in steps 37,000 €. The seller accepts to lose 2 % of
300,000 = 6,000 €, the expected loss of 6,000 / (4 % × 60 %) = 250,000 € uninsured, or of 286,000 €
with 36,000 € insured. The limit is 37,000 €.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Literal, NamedTuple, get_args

from models.policy_file import Fact, Importance, Policy
from models.strict_yaml import exact


class Order(NamedTuple):
    """An order to decide on: amount (tax included) and margin in cents, terms in days.

    `paid_cents` of the amount has been received in advance, and is not among the customer's cash.
    """

    amount_cents: int
    margin_cents: int
    terms_days: int
    paid_cents: int = 0

    @property
    def unpaid_cents(self) -> int:
        """What is left to pay."""
        return self.amount_cents - self.paid_cents


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
        Amount of the insurance cover in force for this order, >= 0.
    insured_rate : float
        Share of the covered exposure that the insurer pays, in 0–1.
    facts : frozenset of str
        What is true of the customer, among :data:`models.policy_file.Fact`.
    orders_cents : int
        Accepted orders not invoiced yet, less the deposits received on them, >= 0.
    deductible_cents : int
        What the insurer keeps of a claim (*franchise*), >= 0.
    importance : str
        Strategic importance: ``normal``, ``important`` or ``key``.
    group_exposure_cents, group_purchases_cents : int
        Exposure and yearly purchases of the other companies of the group, >= 0.
    equity_cents : int or None
        Of the last published accounts; None when there are none.
    decided_limit_cents : int or None
        The limit that a person decided; None when nobody did.
    """

    exposure_cents: int
    yearly_purchases_cents: int
    covered_cents: int
    insured_rate: float
    facts: frozenset[str] = frozenset()
    orders_cents: int = 0
    deductible_cents: int = 0
    importance: Importance = "normal"
    group_exposure_cents: int = 0
    group_purchases_cents: int = 0
    equity_cents: int | None = None
    decided_limit_cents: int | None = None

    def __post_init__(self) -> None:
        for name in _NOT_NEGATIVE:
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name} must be >= 0; got {getattr(self, name)}")
        if not 0 <= self.insured_rate <= 1:
            raise ValueError(f"insured_rate must be in 0–1; got {self.insured_rate}")
        if unknown := sorted(self.facts - _FACTS):
            raise ValueError(f"unknown facts {unknown}; known: {sorted(_FACTS)}")

    @property
    def owed_cents(self) -> int:
        """The exposure with the orders accepted, in cents; negative when in credit."""
        return self.exposure_cents + self.orders_cents

    def insured(self, exposure_cents: Decimal) -> Decimal:
        """Return what the insurer would pay of an exposure, in cents.

        40,000 covered at 90 % with a deductible of 1,000 insures 35,000 of 50,000.
        """
        covered = min(max(Decimal(0), exposure_cents), Decimal(self.covered_cents))
        return max(Decimal(0), covered * self._insured_rate - self.deductible_cents)

    @cached_property
    def _insured_rate(self) -> Decimal:
        return exact(self.insured_rate)

    def uninsured(self, exposure_cents: Decimal) -> Decimal:
        """Return what would be lost of an exposure, in cents; a customer in credit owes nothing."""
        return max(Decimal(0), exposure_cents) - self.insured(exposure_cents)

    @cached_property
    def uninsured_now(self) -> Decimal:
        """Return what would be lost of what is owed, in cents."""
        return self.uninsured(Decimal(self.owed_cents))


_FACTS: frozenset[str] = frozenset(get_args(Fact))
_NOT_NEGATIVE = (
    "yearly_purchases_cents",
    "covered_cents",
    "orders_cents",
    "deductible_cents",
    "group_exposure_cents",
    "group_purchases_cents",
    "decided_limit_cents",
)


@dataclass(frozen=True)
class Risk:
    """What the models say of this order.

    Parameters
    ----------
    default_probability : float
        At the horizon that the policy sets for the order's terms, in 0–1.
    expected_delay_days : float
        Days from the due date to the payment; negative for a customer who pays early.
    shorter_default_probability : float, optional
        At the horizon of the shorter terms on offer, at most `default_probability`; without it they
        are not priced.
    grade : str, optional
        On the master scale; it sets when the limit is reviewed.
    cure_rate : float, optional
        Share of what is on credit that is paid after all when a customer defaults, as the ledger
        shows; 0 where it cannot, in 0–1.
    """

    default_probability: float
    expected_delay_days: float
    shorter_default_probability: float | None = None
    grade: str | None = None
    cure_rate: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.default_probability <= 1:
            raise ValueError(f"default_probability must be in 0–1; got {self.default_probability}")
        if not math.isfinite(self.expected_delay_days):
            raise ValueError(f"expected_delay_days must be finite; got {self.expected_delay_days}")
        if not 0 <= self.cure_rate <= 1:
            raise ValueError(f"cure_rate must be in 0–1; got {self.cure_rate}")
        shorter = self.shorter_default_probability
        if shorter is not None and not 0 <= shorter <= self.default_probability:
            raise ValueError(
                "shorter_default_probability must be in 0 … default_probability; "
                f"got {shorter}, {self.default_probability}"
            )

    def loss_given_default(self, lgd_rate: Decimal) -> Decimal:
        """Return what is lost of the amount on credit when the customer defaults, cures included.

        >>> Risk(0.04, 0, cure_rate=0.75).loss_given_default(Decimal("0.60"))
        Decimal('0.1500')
        """
        return lgd_rate * self._lost_rate

    @cached_property
    def _lost_rate(self) -> Decimal:
        return 1 - exact(self.cure_rate)

    @cached_property
    def exact_probability(self) -> Decimal:
        """The probability of default, as it is written."""
        return exact(self.default_probability)

    @cached_property
    def exact_delay_days(self) -> Decimal:
        """The expected delay, as it is written."""
        return exact(self.expected_delay_days)


class Line(NamedTuple):
    """One line of a derivation: its label in both languages, its value and unit."""

    fr: str
    en: str
    value: int | float
    unit: Literal["cents", "rate", "days"] = "cents"


Bound = Literal["need", "appetite", "group", "cover", "equity", "concentration"]
"""What may bound a limit; ``group`` is the appetite less what the rest of the group owes."""


class Limit(NamedTuple):
    """A credit limit and its derivation in reading order.

    Attributes
    ----------
    cents : int
        In force: the decided limit, unless the bounds lie well below it; the recommended one where
        nobody decided.
    derivation : tuple of Line
    recommended_cents : int
        What the rules recommend, without regard to what was decided.
    review_days : int or None
        Until the limit is looked at again; None where the grade is not known.
    bound : str or None
        The first of the smallest bounds; None where a rule leaves no credit.
    most_cents : int or None
        What appetite and bounds allow, whatever the need: the most that an order may reach without
        a person. None where nothing bounds it.
    """

    cents: int
    derivation: tuple[Line, ...]
    recommended_cents: int
    review_days: int | None = None
    bound: Bound | None = None
    most_cents: int | None = None


def recommended_limit(order: Order, situation: Situation, risk: Risk, policy: Policy) -> Limit:
    """Recommend the largest exposure worth allowing, all invoices and this order included.

    Returns
    -------
    Limit
        The need is rounded up, so that rounding never keeps an order out, and the bounds down.

    Notes
    -----
    A higher probability of default or less cover never raises the limit. The need counts the
    terms and not the expected delay, so that a customer never earns a higher limit by paying late.
    It sizes the limit that is proposed; an order is a need itself, and is never kept out by it.

    A limit that a person decided stays in force, whatever the need, while the bounds are not
    further below it than the policy's hysteresis; beyond that the lower one protects at once. A
    higher one is a proposal: only a person raises a limit.
    """
    need = _on_step(_need(order, situation, policy), policy, math.ceil)
    bounds = [*_appetite(order, situation, risk, policy), *_bounds(situation, policy)]
    most = min((one.most_cents for one in bounds if one.most_cents is not None), default=None)
    limit = need
    binding: Bound = "need"
    for bound in bounds:
        if bound.most_cents is not None and bound.most_cents < limit:
            limit, binding = bound.most_cents, bound.name
    lines = [
        Line("Achats sur un an", "Purchases over a year", situation.yearly_purchases_cents),
        Line("Besoin du client", "What the customer needs", need),
        *(bound.line for bound in bounds),
        Line("Limite recommandée", "Recommended limit", limit),
    ]
    in_force, decided = limit, situation.decided_limit_cents
    if decided is not None:
        in_force = decided if most is None else in_force_beside(most, decided, policy)
        lines.append(Line("Limite décidée", "Decided limit", decided))
        lines.append(Line("Limite en vigueur", "Limit in force", in_force))
    days = None if risk.grade is None else policy.limit.review_days[risk.grade]
    if days is not None:
        lines.append(Line("Revoir dans", "Review in", days, "days"))
    return Limit(in_force, tuple(lines), limit, days, binding, most)


def in_force_beside(most_cents: int, decided_cents: int, policy: Policy) -> int:
    """Return the limit in force where a person decided one and the bounds allow another, in cents.

    With a hysteresis of 10 %, a decided 50,000 stays in force beside an allowed 46,000, gives way
    to 44,000, and is not raised by 80,000.
    """
    least = decided_cents * (1 - policy.limit.hysteresis_rate)
    return decided_cents if most_cents >= least else most_cents


class _Bound(NamedTuple):
    """A line of the derivation, and the largest limit it allows, in cents, if it bounds any."""

    line: Line
    most_cents: int | None = None
    name: Bound = "appetite"


def _need(order: Order, situation: Situation, policy: Policy) -> Decimal:
    """Return the exposure that regular purchases create at these terms, at least the order."""
    regular = Decimal(situation.yearly_purchases_cents * order.terms_days) / 365
    return max(Decimal(order.amount_cents), regular * policy.limit.headroom)


def _appetite(order: Order, situation: Situation, risk: Risk, policy: Policy) -> Iterator[_Bound]:
    """Give the exposure that spends the expected loss accepted, less what the group owes."""
    business = situation.yearly_purchases_cents + situation.group_purchases_cents
    rate = policy.appetite.expected_loss_rate
    rate += policy.appetite.extra_when_strategic.of(situation.importance)
    budget = rate * max(business, order.amount_cents)
    yield _Bound(Line("Perte attendue acceptée", "Expected loss accepted", round(budget)))
    lgd_rate = risk.loss_given_default(policy.lgd_rate.unsecured)
    loss_rate = risk.exact_probability * lgd_rate
    yield _Bound(
        Line("Perte par unité non assurée", "Loss per uninsured unit", float(loss_rate), "rate")
    )
    if loss_rate == 0:  # no exposure has an expected loss
        return
    uninsured = budget / loss_rate
    yield _Bound(Line("Encours non assuré supportable", "Uninsured exposure borne", int(uninsured)))
    if others := situation.group_exposure_cents:
        uninsured = max(Decimal(0), uninsured - others)
        yield _Bound(Line("dont pris par le groupe", "of which taken by the group", others))
    most = _on_step(_with_cover(uninsured, situation), policy, math.floor)
    name: Bound = "group" if others else "appetite"
    yield _Bound(Line("Avec la part assurée", "With the insured part", most), most, name)


def _bounds(situation: Situation, policy: Policy) -> Iterator[_Bound]:
    """Give what cover, equity and concentration allow."""
    rules = policy.limit
    if rules.beyond_cover_amount is not None:
        most = situation.covered_cents + int(100 * rules.beyond_cover_amount)
        yield _Bound(Line("Couverture et au-delà", "Cover and beyond", most), most, "cover")
    if rules.equity is not None and situation.equity_cents is not None:
        share = rules.equity.share_rate * situation.equity_cents
        most = int(max(share, 100 * rules.equity.least_amount))
        yield _Bound(Line("Part des capitaux propres", "Share of equity", most), most, "equity")
    if rules.concentration is not None:
        whole = 100 * rules.concentration.receivables_amount
        most = int(rules.concentration.share_rate * whole) - situation.group_exposure_cents
        most = max(0, most)
        yield _Bound(
            Line("Concentration permise", "Concentration allowed", most), most, "concentration"
        )


def _with_cover(uninsured: Decimal, situation: Situation) -> Decimal:
    """Return the largest exposure whose uninsured part is `uninsured`, in cents.

    Beyond the cover each unit is uninsured; within it, 1 − insured_rate of each unit, once the
    deductible is borne.
    """
    beyond = uninsured + situation.insured(Decimal(situation.covered_cents))
    insured_rate = exact(situation.insured_rate)
    if insured_rate == 1 or beyond <= uninsured:
        return beyond
    within = max(uninsured, (uninsured - situation.deductible_cents) / (1 - insured_rate))
    return min(beyond, within)


def _on_step(cents: Decimal, policy: Policy, rounded: Callable[[Decimal], int]) -> int:
    """Keep two leading digits, in steps no coarser than the policy's: 1,234 € → 1,200 €."""
    step = min(100 * policy.limit.coarsest_step, int(10 ** max(0, len(str(int(cents))) - 2)))
    return rounded(cents / step) * step
