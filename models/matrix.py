"""The matrix that falls out of a policy: grade × margin × strategic importance × cover → action.

Nobody writes it: each cell is what :func:`models.policy.decide` answers to one reference order of a
customer in the middle of its grade, who owes nothing and pays on the day.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple, get_args

from models.grades import GRADES, HORIZON_DAYS, bounds
from models.limits import Order, Risk, Situation
from models.policy import Decision, Policy, decide
from models.policy_file import Importance
from models.wording import LABELS

MARGIN_RATES = (0.02, 0.05, 0.10, 0.20)
IMPORTANCES: tuple[Importance, ...] = get_args(Importance)


@dataclass(frozen=True)
class Reference:
    """The order and the customer that the matrix is read for; amounts in cents.

    `covered` says which covers are compared: none, and one of the whole order at `insured_rate`.
    """

    amount_cents: int = 20_000_00
    terms_days: int = 30
    yearly_purchases_cents: int = 240_000_00
    insured_rate: float = 0.90


class Cell(NamedTuple):
    """One cell of the matrix and its decision."""

    grade: str
    margin_rate: float
    importance: Importance
    is_covered: bool
    risk: Risk
    decision: Decision

    @property
    def key(self) -> tuple[str, float, str, bool]:
        """What names the cell."""
        return self.grade, self.margin_rate, self.importance, self.is_covered

    @property
    def text(self) -> str:
        """The action in two or three words, with its rate: ``deposit 30 %``."""
        pick = self.decision.pick
        if pick is None or pick.kind == "review":
            return "review"
        rate = "" if pick.deposit_rate is None else f" {100 * pick.deposit_rate:g} %"
        return f"{LABELS[pick.kind].en}{rate}"


def matrix(policy: Policy, reference: Reference | None = None) -> Iterator[Cell]:
    """Give every cell, by importance, cover, grade and margin.

    Parameters
    ----------
    policy : Policy
    reference : Reference, optional
    """
    asked = reference or Reference()
    order_of = {rate: _order(asked, rate) for rate in MARGIN_RATES}
    axes = product(IMPORTANCES, (False, True), GRADES, MARGIN_RATES)
    for importance, is_covered, grade, margin_rate in axes:
        situation = Situation(
            exposure_cents=0,
            yearly_purchases_cents=asked.yearly_purchases_cents,
            covered_cents=asked.amount_cents if is_covered else 0,
            insured_rate=asked.insured_rate,
            importance=importance,
        )
        risk = _risk(grade, asked.terms_days, policy)
        decision = decide(order_of[margin_rate], situation, risk, policy)
        yield Cell(grade, margin_rate, importance, is_covered, risk, decision)


def _order(asked: Reference, margin_rate: float) -> Order:
    return Order(asked.amount_cents, round(asked.amount_cents * margin_rate), asked.terms_days)


def _risk(grade: str, terms_days: int, policy: Policy) -> Risk:
    """Return the risk of a customer in the middle of a grade, who pays on the day."""
    yearly = middle(grade)
    shorter_days = policy.shorter_terms_days(terms_days)
    shorter = None if shorter_days is None else within(yearly, policy.horizon_days(shorter_days))
    return Risk(within(yearly, policy.horizon_days(terms_days)), 0.0, shorter, grade)


def middle(grade: str) -> float:
    """Return the geometric middle of a grade's probabilities within a year.

    >>> round(middle("E"), 4)
    0.0707
    """
    low, high = bounds(grade)
    return math.sqrt((low or high / 4) * high)


def within(yearly: float, days: int) -> float:
    """Return the probability within some days of a constant hazard, from that within a year.

    >>> round(within(0.10, 120), 4)
    0.034
    """
    return float(1 - (1 - yearly) ** (days / HORIZON_DAYS))
