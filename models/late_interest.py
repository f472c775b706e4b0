"""What late payment costs the customer: interest and the fixed indemnity of French law.

Between businesses, late-payment interest (pénalités de retard) runs without reminder from the day
after the due date, at the ECB's main refinancing rate of the half-year and ten points unless
another rate was agreed, and each late invoice owes 40 € besides (C. com. L441-10 II, D441-5).
1,000.00 paid 30 days late in the second half of 2025, at 12.15 %, owe 1,000 × 12.15 % × 30/365 =
9.99, and 40.00.
"""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.portfolio import Cents, Days, Flags, Index, Portfolio
from models.receivables_file import LateInterest

BASIS_POINTS = 10_000
EPOCH = date(1970, 1, 1)


class Due(NamedTuple):
    """What each invoice owes for being late, shape (n_invoices,).

    Attributes
    ----------
    is_late : ndarray of bool
        Open past its due date or paid after it, and claimed; see :func:`late_interest`.
    interest_cents : ndarray of int64
        Interest to today or to the payment, rounded once, half to the even cent.
    indemnity_cents : ndarray of int64
    days_without_rate : ndarray of int64
        Days on which interest runs at a rate that nobody wrote down: they bear none here.
    """

    is_late: Flags
    interest_cents: Cents
    indemnity_cents: Cents
    days_without_rate: Index


def late_interest(portfolio: Portfolio, how: LateInterest) -> Due:
    """Reckon what is due on every late invoice.

    Notes
    -----
    Interest follows the balance: a part paid on a day bears none from the next day on. It stops
    when insolvency proceedings open (C. com. L622-28), known on the day we knew; what falls due
    after that owes no indemnity either (L441-10 II). Nothing is claimed of a disputed invoice, nor
    of one due before the limitation, five years (L110-4).
    """
    insolvent_on = portfolio.customers.insolvent_on[portfolio.customer].astype(np.int64)
    until = np.minimum(portfolio.today, insolvent_on)
    due_on = portfolio.due_on.astype(np.int64)
    claimed = (due_on < until) & ~portfolio.is_disputed
    claimed &= due_on >= portfolio.today - how.limitation_days
    unpaid_days, _ = _accrue(portfolio, until, _one_a_day(portfolio))
    is_late = claimed & (unpaid_days > 0)
    interest, bare_days = _interest(portfolio, until, how)
    return Due(
        is_late=is_late,
        interest_cents=np.where(is_late, interest, 0),
        indemnity_cents=np.where(is_late, how.indemnity_cents, 0),
        days_without_rate=np.where(is_late, bare_days, 0),
    )


class _Clock(NamedTuple):
    """Something that grows day by day from `first`: its total at the end of each day."""

    first: int
    total: Index

    def between(self, after: Index, until: Index) -> Index:
        """Growth on the days after one up to another, that one included."""
        last = self.total.size - 1
        at_end = self.total[np.clip(until - self.first, 0, last)]
        at_start = self.total[np.clip(after - self.first, 0, last)]
        grown: Index = np.maximum(at_end - at_start, 0)
        return grown


def _days(portfolio: Portfolio) -> tuple[int, Index]:
    first = int(portfolio.due_on.min(initial=portfolio.today))
    first = min(first, portfolio.today)
    return first, np.arange(first, portfolio.as_of, dtype=np.int64)


def _one_a_day(portfolio: Portfolio) -> _Clock:
    first, days = _days(portfolio)
    return _Clock(first, np.arange(days.size, dtype=np.int64))


def _rate_clocks(portfolio: Portfolio, how: LateInterest) -> tuple[_Clock, _Clock]:
    """Basis points that accrue by day, and days that have no rate."""
    first, days = _days(portfolio)
    points, bare = np.zeros(days.size, np.int64), np.ones(days.size, np.int64)
    for period in how.rates:
        within = (days >= _day(period.first_on)) & (days <= _day(period.last_on))
        points[within], bare[within] = int(how.rate(period) * BASIS_POINTS), 0
    return _Clock(first, np.cumsum(points)), _Clock(first, np.cumsum(bare))


def _accrue(portfolio: Portfolio, until: Index, clock: _Clock) -> tuple[Index, Index]:
    """Sum balance × growth over the late days of each invoice, and the growth up to settlement.

    The balance is the amount less what was taken off it, so the sum is that of the amount from the
    due date on less that of each part from the day it was paid on.
    """
    due_on = portfolio.due_on.astype(np.int64)
    moved = portfolio.movements
    total = portfolio.amount_cents * clock.between(due_on, until)
    since = np.maximum(due_on[moved.invoice], moved.on)
    part = moved.cents * clock.between(since, until[moved.invoice])
    np.subtract.at(total, moved.invoice, part)
    settled_on = np.full(due_on.size, np.iinfo(np.int32).min, np.int64)
    np.maximum.at(settled_on, moved.invoice, moved.on.astype(np.int64))
    ends = np.where(portfolio.open_cents > 0, until, np.minimum(settled_on, until))
    return total, clock.between(due_on, ends)


def _interest(portfolio: Portfolio, until: Index, how: LateInterest) -> tuple[Cents, Index]:
    points, bare = _rate_clocks(portfolio, how)
    accrued, _ = _accrue(portfolio, until, points)
    _, bare_days = _accrue(portfolio, until, bare)
    return _rounded(accrued, BASIS_POINTS * how.year_days), bare_days


def _rounded(part: Index, whole: int) -> Cents:
    """Divide whole numbers and round half to even, without a float.

    >>> _rounded(np.array([5, 15, 16, 0]), 10).tolist()
    [0, 2, 2, 0]
    """
    quotient, rest = np.divmod(part, whole)
    up = (2 * rest > whole) | ((2 * rest == whole) & (quotient % 2 == 1))
    rounded: Cents = quotient + up
    return rounded


def _day(day: date) -> int:
    return (day - EPOCH).days


class Claim(NamedTuple):
    """Late invoices added up."""

    invoices: int
    interest_cents: int
    indemnity_cents: int
    without_rate: int  # invoices with days that bear no interest for want of a rate


def claim(due: Due, chosen: NDArray[np.bool_]) -> Claim:
    """Add up the late invoices among those chosen, shape (n_invoices,)."""
    late = due.is_late & chosen
    return Claim(
        int(late.sum()),
        int(due.interest_cents[late].sum()),
        int(due.indemnity_cents[late].sum()),
        int((due.days_without_rate[late] > 0).sum()),
    )


def last_day_with_rate(how: LateInterest) -> date | None:
    """Last day that the file has a rate for; ``None`` when it has none."""
    return max((period.last_on for period in how.rates), default=None)


def overdue_days(portfolio: Portfolio) -> Days:
    """Days past due of open invoices, 0 of the others."""
    overdue: Days = np.where(portfolio.open_cents > 0, np.maximum(portfolio.days_past_due, 0), 0)
    return overdue
