"""What the customer owes: the open invoices known at a date, disputed ones included."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.compiled import njit


class OpenItems(NamedTuple):
    """Invoices not paid in full; shares are of the exposure."""

    exposure: float  # unpaid part of known invoices, in the base currency; orders not included
    invoices: float
    overdue_rate: float  # past due
    overdue_30_rate: float  # more than 30 days past due
    overdue_60_rate: float
    overdue_90_rate: float
    longest_overdue_days: float  # 0 when nothing is past due
    days_past_due: float  # weighted by open amount; negative when not yet due
    oldest_days: float  # since the issue of the oldest; 0 when nothing is open
    top_1_rate: float  # owed on the largest open invoice
    top_3_rate: float  # owed on the three largest
    limit_use: float  # exposure against the credit limit in force


@njit
def open_items(
    days_past_due: NDArray[np.int32],
    age_days: NDArray[np.int32],
    open_cents: NDArray[np.int64],
    limit_cents: int,
) -> OpenItems:
    """Summarise open invoices.

    Parameters
    ----------
    days_past_due, age_days : ndarray of int32, shape (n_open,)
        Days from the due date, and from the issue, to the last day before `as_of`; ≤ 0 when not yet
        past due.
    open_cents : ndarray of int64, shape (n_open,)
        Unpaid amounts, > 0.
    limit_cents : int
        Credit limit in force; 0 where there is none.

    Returns
    -------
    OpenItems
        Shares and the mean are missing where nothing is open, the use of the limit where there is
        none.
    """
    exposure, weighted_days = np.int64(0), np.int64(0)
    overdue, overdue_30, overdue_60, overdue_90 = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    first, second, third = np.int64(0), np.int64(0), np.int64(0)  # the largest balances
    longest, oldest = 0, 0
    for i in range(open_cents.size):
        cents, days = open_cents[i], days_past_due[i]
        exposure += cents
        weighted_days += days * cents
        oldest = max(oldest, age_days[i])
        longest = max(longest, days)
        overdue += cents * (days > 0)
        overdue_30 += cents * (days > 30)
        overdue_60 += cents * (days > 60)
        overdue_90 += cents * (days > 90)
        if cents > first:
            first, second, third = cents, first, second
        elif cents > second:
            second, third = cents, second
        elif cents > third:
            third = cents
    use = exposure / limit_cents if limit_cents > 0 else np.nan
    if exposure == 0:
        nan = np.nan
        return OpenItems(0.0, 0.0, nan, nan, nan, nan, 0.0, nan, 0.0, nan, nan, use)
    return OpenItems(
        exposure / 100,
        float(open_cents.size),
        overdue / exposure,
        overdue_30 / exposure,
        overdue_60 / exposure,
        overdue_90 / exposure,
        float(longest),
        weighted_days / exposure,
        float(oldest),
        first / exposure,
        (first + second + third) / exposure,
        use,
    )
