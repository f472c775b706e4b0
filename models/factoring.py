"""Which receivables a factor would finance (affacturage), why not the others, and the advance.

Of 100,000.00 offered, 8,000.00 are disputed and 12,000.00 more than 60 days past due. One customer
owes 30,000.00 of the 80,000.00 left and may be 25 % of them: 10,000.00 are beyond. Eligible are
70,000.00, and 85 % of it, 59,500.00, are advanced.

The agreement decides what is eligible; models/receivables.yaml holds usual figures.
"""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.portfolio import Cents, Flags, Portfolio, by_customer, fill
from models.receivables_file import Factoring

REASONS = (
    "eligible",
    "insolvency_opened",
    "natural_person",
    "related_party",
    "disputed",
    "too_overdue",
    "too_old",
    "cross_aged",
    "not_approved",
    "beyond_approval",
    "beyond_concentration",
)
"""Why an invoice, or a part of it, is not financed; the first that holds is said."""

WORDS = {
    "eligible": "eligible (éligible)",
    "insolvency_opened": "insolvency opened (procédure collective)",
    "natural_person": "natural person (personne physique)",
    "related_party": "related party (partie liée)",
    "disputed": "disputed (litige)",
    "too_overdue": "too long overdue (échu depuis trop longtemps)",
    "too_old": "too old (facture trop ancienne)",
    "cross_aged": "customer mostly too overdue (contamination)",
    "not_approved": "customer not approved (non agréé)",
    "beyond_approval": "beyond the approved amount (hors agrément)",
    "beyond_concentration": "beyond the concentration limit (concentration)",
}


class Eligibility(NamedTuple):
    """What is financed of each invoice; shape (n_invoices,).

    Attributes
    ----------
    eligible_cents, excluded_cents : ndarray of int64
        They add up to what is owed on it.
    reason : ndarray of int64
        Place in `REASONS` of why the excluded part is; 0 where nothing is.
    advance_cents : int
        Of all: the advance rate of what is eligible, rounded down to the cent.
    """

    eligible_cents: Cents
    excluded_cents: Cents
    reason: NDArray[np.int64]
    advance_cents: int


def eligibility(portfolio: Portfolio, how: Factoring) -> Eligibility:
    """Judge every invoice on which anything is owed.

    Notes
    -----
    The limits by customer come last. What is due first fits under them first, and the excess is
    excluded, be it a part of an invoice. The cover in force is taken for the factor's approval.
    """
    owed = portfolio.owed_cents
    reason = _reasons(portfolio, how)
    passed = np.where(reason == 0, owed, 0)
    room, is_approval = _room(portfolio, how, passed)
    eligible = fill(passed, portfolio.customer, room)
    beyond = (reason == 0) & (eligible < passed)
    by_approval = is_approval[portfolio.customer]
    reason[beyond & by_approval] = REASONS.index("beyond_approval")
    reason[beyond & ~by_approval] = REASONS.index("beyond_concentration")
    reason[owed == 0] = 0
    advance = _share(int(eligible.sum()), how.advance_rate)
    return Eligibility(eligible, owed - eligible, reason, advance)


def _reasons(portfolio: Portfolio, how: Factoring) -> NDArray[np.int64]:
    """First reason that excludes the whole of each invoice; 0 for none."""
    customers, customer = portfolio.customers, portfolio.customer
    too_overdue = portfolio.days_past_due > how.most_days_past_due
    related = np.isin(customers.id.astype(str), how.related_customers)
    holds = {
        "insolvency_opened": customers.is_insolvent[customer],
        "natural_person": customers.is_natural_person[customer],
        "related_party": related[customer],
        "disputed": portfolio.is_disputed,
        "too_overdue": too_overdue,
        "too_old": portfolio.today - portfolio.issued_on > how.most_days_old,
        "cross_aged": _cross_aged(portfolio, too_overdue, how)[customer],
        "not_approved": _not_approved(portfolio, how)[customer],
    }
    places = [REASONS.index(name) for name in holds]
    return np.select(list(holds.values()), places, 0).astype(np.int64)


def _cross_aged(portfolio: Portfolio, too_overdue: Flags, how: Factoring) -> Flags:
    """Tell the customers of whose debt more than the share is too overdue; exact in cents."""
    owed = by_customer(portfolio, portfolio.owed_cents)
    late = by_customer(portfolio, np.where(too_overdue, portfolio.owed_cents, 0))
    most = [_share(cents, how.cross_aged_rate) for cents in owed.tolist()]
    is_cross_aged: Flags = late > np.array(most, np.int64)
    return is_cross_aged


def _not_approved(portfolio: Portfolio, how: Factoring) -> Flags:
    is_uncovered: Flags = portfolio.customers.covered_cents == 0
    if how.approval == "not_refused":
        is_uncovered &= portfolio.customers.is_decided
    return is_uncovered


def _room(portfolio: Portfolio, how: Factoring, passed_cents: Cents) -> tuple[Cents, Flags]:
    """Most that is financed of each customer, and whether it is the approval that says so."""
    covered = portfolio.customers.covered_cents
    most = np.full(covered.size, _share(int(passed_cents.sum()), how.concentration_rate))
    is_approval = (covered > 0) & (covered <= most)
    return np.where(is_approval, covered, most), is_approval


def _share(cents: int, rate: Decimal) -> int:
    return int((cents * rate).to_integral_value(ROUND_FLOOR))


class Line(NamedTuple):
    """One reason with its invoices and cents."""

    reason: str
    invoices: int
    cents: int


def by_reason(portfolio: Portfolio, judged: Eligibility) -> list[Line]:
    """Add up by reason, in their order; with what is eligible, exactly what is owed."""
    owed = portfolio.owed_cents > 0
    financed = judged.eligible_cents > 0
    lines = [Line("eligible", int(financed.sum()), int(judged.eligible_cents.sum()))]
    for place, reason in enumerate(REASONS[1:], 1):
        chosen = owed & (judged.reason == place)
        if chosen.any():
            cents = int(judged.excluded_cents[chosen].sum())
            lines.append(Line(reason, int(chosen.sum()), cents))
    return lines
