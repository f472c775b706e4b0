"""New credit limits for a portfolio: what is proposed of each customer, and why.

The recommended limit is proposed unless it lies within the policy's hysteresis of the old one, both
ways, so that limits do not flap. Worked example with 10 %: beside an old limit of 50,000 € a
recommended 46,000 or 54,000 changes nothing; 44,000 and 56,000 are proposed. Once decided, 56,000
stays while what is recommended lies in 50,400 … 61,600. Where a blocking rule leaves no credit
without security, 0 is proposed whatever the old limit. Recommended limits have two leading digits,
so with 10 % a step up or down on that grid alone never moves one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from models.limits import Bound, Limit, Line
from models.policy_file import Policy, Rule
from models.wording import Words

BOUND_WORDS: dict[Bound, Words] = {
    "need": Words("besoin du client (achats et délai)", "what the customer's purchases need"),
    "appetite": Words("perte attendue acceptée", "expected loss accepted"),
    "group": Words(
        "perte attendue acceptée, moins l’encours du groupe",
        "expected loss accepted, less what the group owes",
    ),
    "cover": Words("couverture de l’assureur et au-delà", "insurer's cover and beyond"),
    "equity": Words("part des capitaux propres", "share of equity"),
    "concentration": Words("concentration du portefeuille", "concentration of receivables"),
}
ABSTAINS = Words("pas de probabilité de défaut : à décider", "no probability of default: decide")


class Proposal(NamedTuple):
    """What is proposed of one customer's limit.

    Attributes
    ----------
    customer_id : str
    old_cents : int or None
        The limit decided last; None when nobody decided.
    recommended_cents : int or None
        What the rules recommend; None where the default curve abstains.
    new_cents : int or None
        What is proposed; None where nothing can be.
    why : Words
        The binding bound, the blocking rule, or why nothing is proposed.
    grade : str or None
    exposure_cents : int
        Accepted orders included; negative in credit.
    review_days : int or None
    derivation : tuple of Line
    """

    customer_id: str
    old_cents: int | None
    recommended_cents: int | None
    new_cents: int | None
    why: Words
    grade: str | None
    exposure_cents: int
    review_days: int | None
    derivation: tuple[Line, ...]

    @property
    def in_force_cents(self) -> int | None:
        """The limit once the proposal is accepted: the old one where nothing is proposed."""
        return self.old_cents if self.new_cents is None else self.new_cents

    @property
    def moved_cents(self) -> int:
        """By how much the limit moves; a first limit moves from 0."""
        return (self.in_force_cents or 0) - (self.old_cents or 0)

    @property
    def is_changed(self) -> bool:
        """Whether something else than the old limit is proposed; a first one always is."""
        return self.new_cents is not None and self.new_cents != self.old_cents

    @property
    def room_cents(self) -> int | None:
        """What the limit leaves; negative where the exposure is beyond it."""
        limit = self.in_force_cents
        return None if limit is None else limit - self.exposure_cents


class Totals(NamedTuple):
    """The portfolio before and after, in cents."""

    customers: int
    raised: int
    lowered: int
    first: int
    unchanged: int
    undecided: int
    before_cents: int
    after_cents: int
    above_before_cents: int
    above_after_cents: int


def with_hysteresis(recommended_cents: int, old_cents: int | None, policy: Policy) -> int:
    """Return the limit to propose: the old one while the recommended one is near, either way."""
    if old_cents is None:
        return recommended_cents
    slack = policy.limit.hysteresis_rate * old_cents
    return old_cents if abs(recommended_cents - old_cents) <= slack else recommended_cents


def blocking(facts: Collection[str], policy: Policy) -> Rule | None:
    """Return the first rule that leaves no credit without security; None when there is none."""
    for rule in policy.blocking:
        if rule.when in facts and rule.bars("open") and rule.bars("deposit"):
            return rule.in_words
    return None


def propose(
    customer_id: str,
    limit: Limit | None,
    old_cents: int | None,
    exposure_cents: int,
    policy: Policy,
    *,
    facts: Collection[str] = (),
    grade: str | None = None,
    abstains: Words = ABSTAINS,
) -> Proposal:
    """Propose a customer's limit.

    Parameters
    ----------
    customer_id : str
    limit : Limit or None
        Of :func:`models.limits.recommended_limit`; None where the default curve abstains.
    old_cents : int or None
    exposure_cents : int
    policy : Policy
    facts : collection of str
        What is true of the customer.
    grade : str, optional
    abstains : Words
        Why there is no probability.
    """
    rule, lines = blocking(facts, policy), () if limit is None else limit.derivation
    days = None if limit is None else limit.review_days
    if rule is not None:
        recommended, new, why = 0, 0, Words(rule.fr, rule.en)
        lines = (Line(rule.fr, rule.en, 0),)
    elif limit is None or limit.bound is None:
        recommended, new, why = None, None, abstains
    else:
        recommended, why = limit.recommended_cents, BOUND_WORDS[limit.bound]
        new = with_hysteresis(recommended, old_cents, policy)
    return Proposal(
        customer_id, old_cents, recommended, new, why, grade, exposure_cents, days, tuple(lines)
    )


def by_euros_moved(proposals: Sequence[Proposal]) -> list[Proposal]:
    """Sort by euros moved, most first; customers without a proposal come last of equals."""
    return sorted(
        proposals, key=lambda one: (-abs(one.moved_cents), one.new_cents is None, one.customer_id)
    )


def totals(proposals: Sequence[Proposal]) -> Totals:
    """Sum a portfolio up; an exposure is above a limit only where there is one."""
    changed = [one for one in proposals if one.is_changed and one.old_cents is not None]
    return Totals(
        customers=len(proposals),
        raised=sum(one.moved_cents > 0 for one in changed),
        lowered=sum(one.moved_cents < 0 for one in changed),
        first=sum(one.is_changed and one.old_cents is None for one in proposals),
        unchanged=sum(one.new_cents is not None and not one.is_changed for one in proposals),
        undecided=sum(one.new_cents is None for one in proposals),
        before_cents=sum(one.old_cents or 0 for one in proposals),
        after_cents=sum(one.in_force_cents or 0 for one in proposals),
        above_before_cents=sum(_above(one, one.old_cents) for one in proposals),
        above_after_cents=sum(_above(one, one.in_force_cents) for one in proposals),
    )


def _above(one: Proposal, limit_cents: int | None) -> int:
    return 0 if limit_cents is None else max(0, one.exposure_cents - limit_cents)
