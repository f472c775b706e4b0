"""What the customer contests: lateness that is no lack of money, and invoices credited back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.compiled import njit
from features.settlement import CREDIT_NOTE

WINDOW_DAYS = 365


class Disputes(NamedTuple):
    """Disputes known at a date, open or closed, and what was credited."""

    rate_365: float  # share of the year's invoices disputed
    open_invoices: float  # unpaid invoices under an open dispute
    open_rate: float  # share of the exposure under an open dispute
    late_disputed_rate: float  # share of the year's late invoices disputed: lateness explained
    credit_note_rate: float  # dilution: credited in the year against invoiced


@njit
def disputes(
    year_disputed_on: NDArray[np.int32],
    year_cents: NDArray[np.int64],
    open_cents: NDArray[np.int64],
    open_is_disputed: NDArray[np.bool_],
    days_since_due: NDArray[np.int32],
    days_late: NDArray[np.int32],
    due_was_disputed: NDArray[np.bool_],
    credited_cents: int,
    as_of: int,
    observed_days: int,
) -> Disputes:
    """Summarise disputes.

    Parameters
    ----------
    year_disputed_on, year_cents : ndarray of shape (n_year,)
        Invoices of the year: day of the first dispute, amount.
    open_cents, open_is_disputed : ndarray of shape (n_open,)
        Open invoices: unpaid amount, whether a dispute is open.
    days_since_due, days_late, due_was_disputed : ndarray of shape (n_due,)
        Invoices fallen due: how long ago, days late so far, whether ever disputed.
    credited_cents : int
        Credit notes of the year.
    as_of : int
        The date we look from, exclusive.
    observed_days : int
        How long the ledger as a whole has been observed.

    Returns
    -------
    Disputes
        Each share is missing where there is nothing to share.
    """
    exposure, disputed_cents, n_open = np.int64(0), np.int64(0), 0
    for i in range(open_cents.size):
        exposure += open_cents[i]
        if open_is_disputed[i]:
            disputed_cents += open_cents[i]
            n_open += 1
    open_rate = disputed_cents / exposure if exposure > 0 else np.nan
    if observed_days < WINDOW_DAYS:
        return Disputes(np.nan, float(n_open), open_rate, np.nan, np.nan)
    late, late_disputed = 0, 0
    for i in range(days_late.size):
        if days_since_due[i] < WINDOW_DAYS and days_late[i] > 0:
            late += 1
            late_disputed += due_was_disputed[i]
    disputed = (year_disputed_on < as_of).sum()
    return Disputes(
        disputed / year_cents.size if year_cents.size > 0 else np.nan,
        float(n_open),
        open_rate,
        late_disputed / late if late > 0 else np.nan,
        credited_cents / year_cents.sum() if year_cents.size > 0 else np.nan,
    )


@njit
def credited(kind: NDArray[np.int8], cents: NDArray[np.int64]) -> int:
    """Add up the credit notes among lines of settlement."""
    total = 0
    for i in range(kind.size):
        if kind[i] == CREDIT_NOTE:
            total += cents[i]
    return total
