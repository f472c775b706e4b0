"""How the customer paid: invoices settled in a window, in the year, lately, and as they fade.

A window of 90 days at `as_of` holds what became known as paid on the 90 days before it. A paid
invoice that was open again by then (a bounced debit) is left out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.compiled import count_before, njit

WINDOWS_DAYS = (30, 90, 180, 365)
YEAR_DAYS = 365
LATEST = 5
HALF_LIFE_DAYS = 90
FADED_DAYS = 10 * HALF_LIFE_DAYS  # a thousandth of the weight: no longer read
FADING = 0.5 ** (np.arange(FADED_DAYS + 1) / HALF_LIFE_DAYS)  # weight by age in days


class Settled(NamedTuple):
    """Payment behaviour over the invoices settled in one window."""

    invoices: float
    days_beyond_terms: float  # weighted by amount; negative when the customer pays early
    late_rate: float  # share of the invoices paid after their due date
    late_30_rate: float  # share paid more than 30 days after it


class Year(NamedTuple):
    """How payment spread over the invoices settled in 365 days, each counting once."""

    mean_days_late: float
    median_days_late: float
    p90_days_late: float  # nine in ten came earlier
    spread_days: float  # standard deviation
    late_15_rate: float
    late_60_rate: float
    late_90_rate: float
    trend_days: float  # days beyond terms of 90 days less those of 365: positive is getting worse
    partial_rate: float  # share that took more than one payment
    residue_rate: float  # share closed with cents left unpaid


class Latest(NamedTuple):
    """The latest five settled invoices, however long ago, and the streak of good ones."""

    days_beyond_terms: float  # plain mean: a habit shows in each invoice, large or small
    worst_days_late: float
    days_since: float  # since we knew of the latest settlement
    on_time_streak: float  # invoices paid in time since the last late one


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
def year(
    days_late: NDArray[np.int32],
    payments: NDArray[np.int32],
    has_residue: NDArray[np.bool_],
    until: NDArray[np.int32],
    as_of: int,
    trend_days: float,
) -> Year:
    """Summarise the invoices settled in the year before `as_of`.

    Parameters
    ----------
    days_late, payments, has_residue, until : ndarray of shape (n_invoices,)
        Days from due date to settlement; payments it took; whether cents were left; day we knew
        the invoice was open again.
    as_of : int
        The date we look from, exclusive.
    trend_days : float
        Days beyond terms of the last 90 days less those of the year.

    Returns
    -------
    Year
        Missing where no invoice was settled.

    Notes
    -----
    Days late 0, 2, 4, 40: the mean is 11.5, the median 3, nine in ten within 29.2 days.
    """
    days = np.empty(days_late.size)
    n, late_15, late_60, late_90, partial, residue = 0, 0, 0, 0, 0, 0
    for i in range(days_late.size):
        if until[i] < as_of:
            continue
        days[n] = days_late[i]
        n += 1
        late_15 += days_late[i] > 15
        late_60 += days_late[i] > 60
        late_90 += days_late[i] > 90
        partial += payments[i] > 1
        residue += has_residue[i]
    if n == 0:
        nan = np.nan
        return Year(nan, nan, nan, nan, nan, nan, nan, nan, nan, nan)
    days = _sorted(days[:n])
    mean = days.sum() / n
    return Year(
        mean,
        _quantile(days, 0.5),
        _quantile(days, 0.9),
        np.sqrt(((days - mean) ** 2).sum() / n),
        late_15 / n,
        late_60 / n,
        late_90 / n,
        trend_days,
        partial / n,
        residue / n,
    )


@njit
def _sorted(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sort by insertion, fastest for the few invoices of most customers; else as NumPy does."""
    if values.size > 40:
        return np.sort(values)
    for i in range(1, values.size):
        value, place = values[i], i
        while place > 0 and values[place - 1] > value:
            values[place] = values[place - 1]
            place -= 1
        values[place] = value
    return values


@njit
def _quantile(ordered: NDArray[np.float64], share: float) -> float:
    """Interpolate the quantile of ascending values, as NumPy does by default."""
    place = share * (ordered.size - 1)
    below = int(place)
    above = min(below + 1, ordered.size - 1)
    return float(ordered[below] + (ordered[above] - ordered[below]) * (place - below))


@njit
def latest(
    days_late: NDArray[np.int32],
    known_on: NDArray[np.int32],
    until: NDArray[np.int32],
    as_of: int,
) -> Latest:
    """Summarise the latest five of the invoices settled before `as_of`, given in order of time."""
    count, streak, days = 0, 0, 0
    worst, last = np.nan, np.nan
    for i in range(days_late.size - 1, -1, -1):
        if until[i] < as_of:
            continue
        if count < LATEST:
            days += days_late[i]
            worst = float(days_late[i]) if count == 0 else max(worst, float(days_late[i]))
            last = float(as_of - known_on[i]) if count == 0 else last
        if streak == count and days_late[i] <= 0:
            streak += 1
        count += 1
        if count >= LATEST and streak < count:
            break
    if count == 0:
        return Latest(np.nan, np.nan, np.nan, np.nan)
    return Latest(days / min(count, LATEST), worst, last, float(streak))


@njit
def recent(
    days_late: NDArray[np.int32],
    known_on: NDArray[np.int32],
    until: NDArray[np.int32],
    as_of: int,
) -> Recent:
    """Summarise the invoices settled before `as_of`, given in order of time, recent ones most."""
    weight, late, late_15, days, squares = 0.0, 0.0, 0.0, 0.0, 0.0
    begin = count_before(known_on, as_of - FADED_DAYS)
    for i in range(begin, days_late.size):
        if until[i] < as_of:
            continue
        w = FADING[as_of - known_on[i]]
        weight += w
        late += w * (days_late[i] > 0)
        late_15 += w * (days_late[i] > 15)
        days += w * days_late[i]
    if weight == 0:
        return Recent(np.nan, np.nan, np.nan, np.nan)
    mean = days / weight
    for i in range(begin, days_late.size):  # again: the mean of squares less the square of the mean
        if until[i] >= as_of:  # is noise where every invoice is paid on the same day
            w = FADING[as_of - known_on[i]]
            squares += w * (days_late[i] - mean) ** 2
    return Recent(mean, late / weight, late_15 / weight, np.sqrt(squares / weight))
