"""What the customer buys: how much, how often, since when, and whether it is changing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.compiled import njit

HABIT = 20


class Purchases(NamedTuple):
    """Invoices issued to the customer."""

    invoices_90: float
    amount_90: float  # in the base currency, tax included
    trend: float  # the last 90 days against the daily rate of the last 365; 1 is steady
    typical_amount: float  # mean of the latest 20 invoices, in the base currency
    days_since_last: float
    tenure_days: float  # since the first invoice we know


@njit
def purchases(
    known_on: NDArray[np.int32], amount_cents: NDArray[np.int64], as_of: int, observed_days: int
) -> Purchases:
    """Summarise the invoices known before `as_of`.

    Parameters
    ----------
    known_on : ndarray of int32, shape (n_invoices,)
        Days the invoices became known, ascending, all before `as_of`.
    amount_cents : ndarray of int64, shape (n_invoices,)
        Invoice amounts, > 0.
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
    n = known_on.size
    if n == 0:
        none = 0.0 if observed_days >= 90 else np.nan
        return Purchases(none, none, np.nan, np.nan, np.nan, np.nan)
    year = np.searchsorted(known_on, as_of - 365)
    quarter = np.searchsorted(known_on, as_of - 90)
    year_cents, quarter_cents = amount_cents[year:].sum(), amount_cents[quarter:].sum()
    trend = np.nan
    if observed_days >= 365 and year_cents > 0:
        trend = (quarter_cents / 90) / (year_cents / 365)
    return Purchases(
        float(n - quarter) if observed_days >= 90 else np.nan,
        quarter_cents / 100 if observed_days >= 90 else np.nan,
        trend,
        amount_cents[-HABIT:].sum() / min(n, HABIT) / 100,
        float(as_of - known_on[-1]),
        float(as_of - known_on[0]),
    )
