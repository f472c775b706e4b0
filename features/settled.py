"""How the customer paid: the invoices settled in a window, the latest ones, and all as they fade.

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
HALF_LIFE_DAYS = 90
FADED_DAYS = 10 * HALF_LIFE_DAYS  # a thousandth of the weight: no longer read


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


class Recent(NamedTuple):
    """Every settled invoice, a settlement weighing half as much every 90 days."""

    days_beyond_terms: float  # not weighted by amount: what the customer usually does
    late_rate: float
    late_15_rate: float
    spread_days: float  # standard deviation of the days beyond terms


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


@njit
def recent(
    days_late: NDArray[np.int32],
    known_on: NDArray[np.int32],
    until: NDArray[np.int32],
    as_of: int,
) -> Recent:
    """Summarise the invoices settled before `as_of`, given in order of time, recent ones most."""
    weight, late, late_15, days, squares = 0.0, 0.0, 0.0, 0.0, 0.0
    begin = np.searchsorted(known_on, as_of - FADED_DAYS)
    for i in range(begin, days_late.size):
        if until[i] < as_of:
            continue
        w = 0.5 ** ((as_of - known_on[i]) / HALF_LIFE_DAYS)
        weight += w
        late += w * (days_late[i] > 0)
        late_15 += w * (days_late[i] > 15)
        days += w * days_late[i]
    if weight == 0:
        return Recent(np.nan, np.nan, np.nan, np.nan)
    mean = days / weight
    for i in range(begin, days_late.size):  # again: the mean of squares less the square of the mean
        if until[i] >= as_of:  # is noise where every invoice is paid on the same day
            w = 0.5 ** ((as_of - known_on[i]) / HALF_LIFE_DAYS)
            squares += w * (days_late[i] - mean) ** 2
    return Recent(mean, late / weight, late_15 / weight, np.sqrt(squares / weight))
