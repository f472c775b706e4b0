"""From what the books and the insurer say of a customer to the situation that the policy reads.

One definition, two uses: online for one order, and in a backtest for each past order as it was
known then.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple, cast

from models import insurance
from models.insurance import InsuranceRules, OrderCover, assess_cover
from models.limits import Order, Situation
from models.policy_file import Fact, Importance
from models.position import Position

OBTAINABLE = frozenset({"no_cover", "cover_unverified", "ended"})
"""Why an order has no cover although the insurer could still give one."""


class RestOfGroup(NamedTuple):
    """What the other companies of a customer's group owe and buy in a year, in cents, >= 0."""

    exposure_cents: int = 0
    purchases_cents: int = 0


NOBODY = RestOfGroup()


class Situated(NamedTuple):
    """What the policy reads, and what the insurer covers of the order."""

    situation: Situation
    cover: OrderCover


def situate(
    known: Position,
    order: Order,
    cover: insurance.Cover | None,
    as_of: int,
    rules: InsuranceRules,
    rest: RestOfGroup = NOBODY,
    *,
    is_unverified: bool = False,
) -> Situated:
    """Put together what the policy reads of a customer who orders.

    Parameters
    ----------
    known : Position
        From the books.
    order : Order
    cover : Cover or None
        The insurer's last decision: :func:`models.insurance.last_decision`, or
        :func:`cover_of_ledger`.
    as_of : int
        Exclusive date, in days since 1970.
    rules : InsuranceRules
        The insurer's policy.
    rest : RestOfGroup
    is_unverified : bool
        There is no cover because its source is down.

    Notes
    -----
    An order that no cover reaches, although the insurer could give one, is priced as an insured
    sale at the policy's insured share; one that the insurer excludes or refuses is not insurable.
    """
    part = assess_cover(
        cover,
        known.exposure.cents,
        known.exposure.disputed_cents,
        known.exposure.longest_overdue_days,
        order.unpaid_cents,
        order.terms_days,
        as_date(as_of),
        rules,
        is_unverified=is_unverified,
    )
    open_to_us = (
        part.is_excluded
        and {reason.id for reason in part.reasons if reason.id != "disputed"} <= OBTAINABLE
    )
    situation = Situation(
        exposure_cents=known.exposure.invoices_cents - known.exposure.unapplied_cents,
        yearly_purchases_cents=known.yearly_purchases_cents,
        covered_cents=part.covered_cents,
        insured_rate=float(rules.insured_rate) if open_to_us else part.insured_rate,
        facts=facts(known),
        orders_cents=known.exposure.orders_cents,
        deductible_cents=rules.deductible_cents,
        importance=cast(Importance, known.strategic_importance),
        group_exposure_cents=max(0, rest.exposure_cents),
        group_purchases_cents=rest.purchases_cents,
        equity_cents=known.equity_cents,
        decided_limit_cents=known.limit_cents,
    )
    return Situated(situation, part)


def facts(known: Position) -> frozenset[Fact]:
    """Return what is true of the customer, as blocking rules name it."""
    true: dict[Fact, bool] = {
        "bank_details_unverified": known.bank_details_unverified,
        "insolvency_opened": known.insolvency_opened,
        "cover_withdrawn": known.cover_withdrawn,
        "is_natural_person": known.is_natural_person,
    }
    return frozenset(fact for fact, holds in true.items() if holds)


def cover_of_ledger(known: Position, as_of: int) -> insurance.Cover | None:
    """Return the decision in force that the ledger knows; None when there is none."""
    if known.cover.amount_cents == 0 and known.cover.insured_rate == 0:
        return None
    today = as_date(as_of - 1)
    ends_on = None if known.cover.ends_on is None else as_date(known.cover.ends_on)
    return insurance.Cover(
        known.cover.amount_cents,
        known.cover.insured_rate,
        today,
        ends_on,
        "ledger",
        datetime.combine(today, time(), UTC),
    )


def as_date(day: int) -> date:
    """Give the date of a day number.

    >>> as_date(18262)
    datetime.date(2020, 1, 1)
    """
    return date(1970, 1, 1) + timedelta(days=day)
