"""Limits of a whole portfolio: every active customer described once, scored in one matrix.

What one customer is told at the order is asked here of all, about the usual order of each: the
median amount and terms of the latest invoices. One history, one feature build, two calls of the
default curve; then the rules of :mod:`models.limits`, customer by customer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.build import CUSTOMER_FEATURES, build, customer_spine
from features.history import History
from models import depth, grades
from models.bundle import Bundle
from models.insurance_file import InsuranceRules
from models.limit_proposals import Proposal, propose
from models.limits import Order, Risk, recommended_limit
from models.policy import Policy
from models.position import Positions, positions
from models.situation import NOBODY, RestOfGroup, cover_of_ledger, situate
from models.targets import ACTIVE_DAYS, DEFAULT_DEFINITIONS, find_defaults, is_in_default
from models.wording import Words
from serving.speaking import cure_rate

HABIT = 20  # invoices that tell a usual order, as in serving.answering
DAYS_SINCE_LAST = CUSTOMER_FEATURES.index("purchases_days_since_last")
NO_MODEL = Words("aucun modèle de défaut en service", "no default model is in charge")
TOO_THIN = Words("client trop peu connu : à décider", "too little is known of the customer: decide")


class Portfolio(NamedTuple):
    """Proposals for the active customers, and what the others still have.

    Attributes
    ----------
    proposals : list of Proposal
        By customer.
    dormant : int
        Customers with a limit who had no invoice for a year: nothing is proposed for them.
    dormant_cents : int
        Their limits together.
    """

    proposals: list[Proposal]
    dormant: int
    dormant_cents: int


def portfolio(
    history: History,
    as_of: int,
    curve: Bundle | None,
    policy: Policy,
    rules: InsuranceRules,
) -> Portfolio:
    """Propose a limit for every active customer.

    Parameters
    ----------
    history : History
        All facts, in all versions.
    as_of : int
        Exclusive date, in days.
    curve : Bundle or None
        The default curve in charge; None where there is none.
    policy : Policy
    rules : InsuranceRules
        The insurer's policy, with the covers of the ledger.

    Returns
    -------
    Portfolio
    """
    codes = np.arange(history.customers.size)
    dates = np.full(codes.size, as_of, np.int32)
    X = build(history, customer_spine(codes, dates))
    known = positions(history, codes, dates.astype(np.int64))
    is_active = X[:, DAYS_SINCE_LAST] <= ACTIVE_DAYS
    active = codes[is_active]
    usual = _usual_orders(history, active, as_of, policy)
    spells = find_defaults(history, DEFAULT_DEFINITIONS[policy.default_definition])
    in_default = is_in_default(spells, active, dates[is_active])
    scores = _score(X[is_active], in_default, usual, curve, policy)
    rests = _rests(known)
    proposals = []
    for place, code in enumerate(active):
        one, order, risk = known.of(int(code)), usual[place], scores.risk(place)
        cover, rest = cover_of_ledger(one, as_of), rests.get(int(code), NOBODY)
        situation = situate(one, order, cover, as_of, rules, rest).situation
        limit = None if risk is None else recommended_limit(order, situation, risk, policy)
        proposals.append(
            propose(
                str(history.customers[code]),
                limit,
                one.limit_cents,
                situation.owed_cents,
                policy,
                facts=situation.facts,
                grade=None if risk is None else risk.grade,
                abstains=scores.abstains,
            )
        )
    asleep = ~is_active & (np.nan_to_num(known.limit_cents) > 0)
    return Portfolio(proposals, int(asleep.sum()), int(known.limit_cents[asleep].sum()))


class _Scores(NamedTuple):
    """What the default curve says; arrays of shape (n_customers,), NaN where it abstains."""

    at_horizon: NDArray[np.float64]
    grade: NDArray[np.str_]
    abstains: Words
    cure_rate: float

    def risk(self, place: int) -> Risk | None:
        """Give what the rules reckon with; the expected delay does not move a limit."""
        if np.isnan(self.at_horizon[place]):
            return None
        probability, grade = float(self.at_horizon[place]), str(self.grade[place])
        cured = 0.0 if probability == 1 else self.cure_rate  # who is in default has not been cured
        return Risk(probability, 0.0, grade=grade, cure_rate=cured)


def _score(
    X: NDArray[np.float64],
    in_default: NDArray[np.bool_],
    usual: Sequence[Order],
    bundle: Bundle | None,
    policy: Policy,
) -> _Scores:
    """Ask the default curve about every customer at once; who is in default has defaulted."""
    scores = np.full((2, len(usual)), np.nan)
    if bundle is not None:
        curve = bundle.curve
        asked = (depth.letters(X, CUSTOMER_FEATURES) != depth.FLOOR) & ~in_default
        lives = [policy.horizon_days(order.terms_days) for order in usual]
        lives = np.clip(lives, curve.shortest, curve.longest).astype(np.int32)[asked]
        year = np.full(lives.size, grades.HORIZON_DAYS, np.int32)
        for place, horizon in enumerate((lives, year)):
            scores[place, asked] = curve.probability(X[asked], horizon)
    scores[:, in_default] = 1.0
    letters = grades.grade(np.nan_to_num(scores[1], nan=1.0))  # read where there is a probability
    cured = 0.0 if bundle is None else cure_rate(bundle.reference, policy)
    return _Scores(scores[0], letters, NO_MODEL if bundle is None else TOO_THIN, cured)


def _usual_orders(
    history: History, codes: NDArray[np.int64], as_of: int, policy: Policy
) -> list[Order]:
    """Give each customer's median amount and terms, as an assessment without an order does."""
    invoices, found = history.invoices, []
    granted = invoices.due_on - invoices.issued_on
    for view in history.views.at(codes, np.full(codes.size, as_of)):
        first, last = invoices.start[view], invoices.start[view + 1]
        end = first + int(np.searchsorted(invoices.known_on[first:last], as_of))
        latest = slice(max(first, end - HABIT), end)
        amount = int(np.median(invoices.amount_cents[latest]))
        terms = int(np.median(granted[latest]))
        found.append(Order(amount, policy.assumed_margin_cents(amount), terms))
    return found


def _rests(known: Positions) -> dict[int, RestOfGroup]:
    """Sum up, for each customer of a group, what its other companies owe and buy in a year."""
    owed, bought = known.exposure.cents, known.yearly_purchases_cents
    members: dict[str, list[int]] = {}
    for code in np.flatnonzero(known.group != None):  # noqa: E711 (element by element)
        members.setdefault(str(known.group[code]), []).append(int(code))
    return {
        code: RestOfGroup(
            int(owed[codes].sum() - owed[code]), int(bought[codes].sum() - bought[code])
        )
        for codes in members.values()
        for code in codes
    }
