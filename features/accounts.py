"""What the customer's published yearly accounts say, once they were published."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.compiled import njit

YEAR_BEFORE_DAYS = (300, 430)  # a financial year may be a little shorter or longer than 365


class Accounts(NamedTuple):
    """Ratios of the latest accounts, and their change since those of the year before."""

    leverage: float  # what is owed to others, against total assets; above 1 equity is gone
    liquidity: float  # current assets to current liabilities
    coverage: float  # operating income to financial debt
    profitability: float  # net income to revenue
    revenue: float  # in the base currency
    leverage_change: float
    liquidity_change: float
    coverage_change: float
    profitability_change: float
    revenue_change: float  # 0.1 is ten per cent more
    age_days: float  # since the end of the financial year


@njit
def accounts(closed_on: NDArray[np.int32], figures: NDArray[np.float64], as_of: int) -> Accounts:
    """Describe the accounts published before `as_of`.

    Parameters
    ----------
    closed_on : ndarray of int32, shape (n_accounts,)
        Last day of each financial year, in the order they became known.
    figures : ndarray of float64, shape (n_accounts, 8)
        In cents: revenue, operating income, net income, total assets, equity, financial debt,
        current assets, current liabilities; NaN when not given.
    as_of : int
        The date we look from, exclusive.

    Returns
    -------
    Accounts
        A ratio is missing where a figure is, or its divisor is not positive.
    """
    nan = np.nan
    latest, before = -1, -1
    for i in range(closed_on.size):
        if latest < 0 or closed_on[i] >= closed_on[latest]:
            latest = i
    if latest < 0:
        return Accounts(nan, nan, nan, nan, nan, nan, nan, nan, nan, nan, nan)
    for i in range(closed_on.size):
        earlier = closed_on[latest] - closed_on[i]
        in_range = YEAR_BEFORE_DAYS[0] <= earlier <= YEAR_BEFORE_DAYS[1]
        if in_range and (before < 0 or closed_on[i] >= closed_on[before]):
            before = i
    now = _ratios(figures[latest])
    then = _ratios(figures[before]) if before >= 0 else (nan, nan, nan, nan, nan)
    grown = now[4] / then[4] - 1 if now[4] > 0 and then[4] > 0 else nan
    return Accounts(
        now[0],
        now[1],
        now[2],
        now[3],
        now[4],
        now[0] - then[0],
        now[1] - then[1],
        now[2] - then[2],
        now[3] - then[3],
        grown,
        float(as_of - closed_on[latest]),
    )


@njit
def _ratios(figures: NDArray[np.float64]) -> tuple[float, float, float, float, float]:
    revenue, operating, net, assets, equity, debt, current_assets, current_liabilities = figures
    return (
        (assets - equity) / assets if assets > 0 else np.nan,
        current_assets / current_liabilities if current_liabilities > 0 else np.nan,
        operating / debt if debt > 0 else np.nan,
        net / revenue if revenue > 0 else np.nan,
        revenue / 100,
    )
