"""The relationship: how new the customer is, and the terms he is granted.

French law (C. com. L441-10) allows at most 60 days from the invoice or, by agreement, 45 days end
of month, counted either way: to the end of the month and 45 days, or 45 days and to its end.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.compiled import njit

LATEST = 20
FIRST_ORDERS = 3
LEGAL_DAYS, LEGAL_DAYS_END_OF_MONTH = 60, 45


class Relation(NamedTuple):
    """Where the relationship stands."""

    first_orders: float  # 1 with fewer than three invoices, else 0
    terms_days: float  # mean of the latest 20 invoices, from issue to due date
    beyond_law_rate: float  # share of the year's invoices with terms longer than the law's


def is_beyond_law(issued_on: NDArray[np.int32], due_on: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Tell which invoices fall due after the longest legal terms; days, shape (n_invoices,)."""
    month_and_days = _end_of_month(issued_on) + LEGAL_DAYS_END_OF_MONTH
    days_and_month = _end_of_month(issued_on + LEGAL_DAYS_END_OF_MONTH)
    longest = np.maximum(np.maximum(month_and_days, days_and_month), issued_on + LEGAL_DAYS)
    beyond: NDArray[np.bool_] = due_on > longest
    return beyond


def _end_of_month(days: NDArray[np.int32]) -> NDArray[np.int64]:
    month = days.astype("datetime64[D]").astype("datetime64[M]")
    last: NDArray[np.int64] = (month + 1).astype("datetime64[D]").astype(np.int64) - 1
    return last


@njit
def relation(
    issued_on: NDArray[np.int32],
    due_on: NDArray[np.int32],
    is_beyond_law: NDArray[np.bool_],
    n_year: int,
    observed_days: int,
) -> Relation:
    """Describe the relationship.

    Parameters
    ----------
    issued_on, due_on, is_beyond_law : ndarray of shape (n_invoices,)
        The invoices known, oldest first.
    n_year : int
        How many of them became known in the last 365 days.
    observed_days : int
        How long the ledger as a whole has been observed.
    """
    n = due_on.size
    days, latest = 0, min(n, LATEST)
    for i in range(n - latest, n):
        days += due_on[i] - issued_on[i]
    beyond = 0
    for i in range(n - n_year, n):
        beyond += is_beyond_law[i]
    return Relation(
        1.0 if n < FIRST_ORDERS else 0.0,
        days / latest if n > 0 else np.nan,
        beyond / n_year if n_year > 0 and observed_days >= 365 else np.nan,
    )
