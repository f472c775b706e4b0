"""How the customer paid: the invoices settled in a window, and the latest ones.

A window of 90 days at `as_of` holds what became known as paid on the 90 days before it. A paid
invoice that was open again by then (a bounced debit) is left out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.compiled import njit

WINDOWS_DAYS = (30, 90, 180, 365)
LATEST = 5


class Settled(NamedTuple):
    """Payment behaviour over the invoices settled in one window."""

    invoices: float
    days_beyond_terms: float  # weighted by amount; negative when the customer pays early
    late_rate: float  # share of the invoices paid after their due date
    late_30_rate: float  # share paid more than 30 days after it


class Latest(NamedTuple):
    """The latest five settled invoices, however long ago."""

    days_beyond_terms: float  # plain mean: a habit shows in each invoice, large or small
    worst_days_late: float
    days_since: float  # since we knew of the latest settlement


@njit
def settled(
    days_late: NDArray[np.int32],
    amount_cents: NDArray[np.int64],
    until: NDArray[np.int32],
    as_of: int,
) -> Settled:
    """Summarise settled invoices.

    Parameters
    ----------
    days_late : ndarray of int32, shape (n_invoices,)
        Days from due date to settlement, negative when early.
    amount_cents : ndarray of int64, shape (n_invoices,)
        Invoice amounts, tax included, > 0.
    until : ndarray of int32, shape (n_invoices,)
        Day we knew the invoice was open again.
    as_of : int
        The date we look from, exclusive.

    Returns
    -------
    Settled
        Rates and days are missing where no invoice was settled.

    Notes
    -----
    Weighting by amount keeps one small forgotten invoice from hiding a large one paid on time.
    """
    count, late, late_30 = 0, 0, 0
    weighted_days, cents = np.int64(0), np.int64(0)
    for i in range(days_late.size):
        if until[i] < as_of:
            continue
        count += 1
        late += days_late[i] > 0
        late_30 += days_late[i] > 30
        weighted_days += days_late[i] * amount_cents[i]
        cents += amount_cents[i]
    if count == 0:
        return Settled(0.0, np.nan, np.nan, np.nan)
    return Settled(float(count), weighted_days / cents, late / count, late_30 / count)


@njit
def latest(
    days_late: NDArray[np.int32],
    known_on: NDArray[np.int32],
    until: NDArray[np.int32],
    as_of: int,
) -> Latest:
    """Summarise the latest five of the invoices settled before `as_of`, given in order of time."""
    count, days = 0, 0
    worst, last = np.nan, np.nan
    for i in range(days_late.size - 1, -1, -1):
        if until[i] < as_of:
            continue
        if count == 0:
            worst, last = float(days_late[i]), float(as_of - known_on[i])
        count += 1
        days += days_late[i]
        worst = max(worst, float(days_late[i]))
        if count == LATEST:
            break
    return Latest(days / count if count > 0 else np.nan, worst, last)
