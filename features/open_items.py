"""What the customer owes: the open invoices known at a date, disputed ones included."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.compiled import njit


class OpenItems(NamedTuple):
    """Invoices not paid in full."""

    exposure: float  # unpaid part of known invoices, in the base currency; orders not included
    invoices: float
    overdue_rate: float  # share of the exposure past due
    overdue_30_rate: float  # share more than 30 days past due
    longest_overdue_days: float  # 0 when nothing is past due
    days_past_due: float  # weighted by open amount; negative when not yet due


@njit
def open_items(days_past_due: NDArray[np.int32], open_cents: NDArray[np.int64]) -> OpenItems:
    """Summarise open invoices.

    Parameters
    ----------
    days_past_due : ndarray of int32, shape (n_open,)
        Days from the due date to the last day before `as_of`; ≤ 0 when not yet past due.
    open_cents : ndarray of int64, shape (n_open,)
        Unpaid amounts, > 0.

    Returns
    -------
    OpenItems
        Shares and the mean are missing where nothing is open.
    """
    exposure, overdue, overdue_30 = np.int64(0), np.int64(0), np.int64(0)
    weighted_days, longest = np.int64(0), 0
    for i in range(open_cents.size):
        exposure += open_cents[i]
        weighted_days += days_past_due[i] * open_cents[i]
        if days_past_due[i] > 0:
            overdue += open_cents[i]
            longest = max(longest, days_past_due[i])
        if days_past_due[i] > 30:
            overdue_30 += open_cents[i]
    if exposure == 0:
        return OpenItems(0.0, 0.0, np.nan, np.nan, 0.0, np.nan)
    return OpenItems(
        exposure / 100,
        float(open_cents.size),
        overdue / exposure,
        overdue_30 / exposure,
        float(longest),
        weighted_days / exposure,
    )
