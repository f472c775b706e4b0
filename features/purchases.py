"""What the customer buys: how much, how often, since when, and whether it is changing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.compiled import count_before, njit

HABIT = 20
BLOCKS, BLOCK_DAYS = 12, 30


class Purchases(NamedTuple):
    """Invoices issued to the customer."""

    invoices_90: float
    amount_90: float  # in the base currency, tax included
    invoices_365: float
    amount_365: float
    trend: float  # the last 90 days against the daily rate of the last 365; 1 is steady
    typical_amount: float  # mean of the latest 20 invoices, in the base currency
    days_since_last: float
    tenure_days: float  # since the first invoice we know
    volatility: float  # of the purchases by 30 days, over 360: standard deviation to mean
    dso_days: float  # days sales outstanding by count-back, at most 360


@njit
def purchases(
    known_on: NDArray[np.int32],
    amount_cents: NDArray[np.int64],
    exposure_cents: int,
    as_of: int,
    observed_days: int,
) -> Purchases:
    """Summarise the invoices known before `as_of`.

    Parameters
    ----------
    known_on : ndarray of int32, shape (n_invoices,)
        Days the invoices became known, ascending, all before `as_of`.
    amount_cents : ndarray of int64, shape (n_invoices,)
        Invoice amounts, > 0.
    exposure_cents : int
        What is open of them.
    as_of : int
        The date we look from, exclusive.
    observed_days : int
        How long the ledger as a whole has been observed.

    Returns
    -------
    Purchases
        Windows longer than what was observed are missing, as is all that needs an invoice where
        there is none.
    """
    nan, n = np.nan, known_on.size
    has_quarter, has_year = observed_days >= 90, observed_days >= 365
    if n == 0:
        quarter_zero, year_zero = 0.0 if has_quarter else nan, 0.0 if has_year else nan
        zeros = (quarter_zero, quarter_zero, year_zero, year_zero)
        return Purchases(*zeros, nan, nan, nan, nan, nan, nan)
    year = count_before(known_on, as_of - 365)
    quarter = count_before(known_on, as_of - 90)
    year_cents, quarter_cents = amount_cents[year:].sum(), amount_cents[quarter:].sum()
    trend, volatility, dso_days = nan, nan, nan
    if has_year and year_cents > 0:
        trend = (quarter_cents / 90) / (year_cents / 365)
    if observed_days >= BLOCKS * BLOCK_DAYS:
        sales = np.zeros(BLOCKS)
        for i in range(n - 1, -1, -1):
            block = (as_of - 1 - known_on[i]) // BLOCK_DAYS
            if block >= BLOCKS:
                break
            sales[block] += amount_cents[i]
        mean = sales.sum() / BLOCKS
        if mean > 0:
            volatility = np.sqrt(((sales - mean) ** 2).sum() / BLOCKS) / mean
        dso_days = count_back(float(exposure_cents), sales, np.full(BLOCKS, BLOCK_DAYS))
    return Purchases(
        float(n - quarter) if has_quarter else nan,
        quarter_cents / 100 if has_quarter else nan,
        float(n - year) if has_year else nan,
        year_cents / 100 if has_year else nan,
        trend,
        amount_cents[-HABIT:].sum() / min(n, HABIT) / 100,
        float(as_of - known_on[-1]),
        float(as_of - known_on[0]),
        volatility,
        dso_days,
    )


@njit
def count_back(balance: float, sales: NDArray[np.float64], days: NDArray[np.int64]) -> float:
    """Count how many days of sales are still owed, the latest period first.

    Parameters
    ----------
    balance : float
        What is owed, ≥ 0.
    sales : ndarray of float64, shape (n_periods,)
        Sales of each period, the latest first, in the unit of `balance`.
    days : ndarray of int64, shape (n_periods,)
        Length of each period.

    Returns
    -------
    float
        Days; all of them when the balance outlasts the sales.

    Examples
    --------
    Of 250 owed, 100 and 120 are the sales of the last two months, and 30 of 90 of the one before.

    >>> count_back(250.0, np.array([100.0, 120.0, 90.0]), np.array([30, 31, 30]))
    71.0
    """
    counted = 0.0
    for period in range(sales.size):
        if balance <= 0:
            break
        if sales[period] > balance:
            return counted + float(days[period]) * balance / float(sales[period])
        balance -= sales[period]
        counted += float(days[period])
    return counted
