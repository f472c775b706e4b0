"""How money comes in: how regularly, whether it says what it pays, and whether it bounces."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.compiled import count_before, njit
from features.settlement import PAYMENT, REVERSAL

WINDOW_DAYS = 365


class Payments(NamedTuple):
    """Lines of cash as they came, whichever invoice they pay."""

    days_since_last: float  # since we knew of the latest payment
    interval_days: float  # mean time between two days of payment, over the year
    irregularity_days: float  # standard deviation of these intervals
    unallocated_rate: float  # share of the year's money that named no invoice
    bounces_365: float  # payments that came back


@njit
def payments(
    known_on: NDArray[np.int32],
    kind: NDArray[np.int8],
    cents: NDArray[np.int64],
    is_named: NDArray[np.bool_],
    as_of: int,
    observed_days: int,
) -> Payments:
    """Summarise the lines known before `as_of`, given in order of time.

    Parameters
    ----------
    known_on, kind, cents, is_named : ndarray of shape (n_lines,)
        Day known, kind of settlement, amount > 0, whether the line names an invoice.
    as_of : int
        The date we look from, exclusive.
    observed_days : int
        How long the ledger as a whole has been observed.

    Returns
    -------
    Payments
        The mean interval needs two days of payment in the window, its spread three.
    """
    since_last = np.nan
    for i in range(known_on.size - 1, -1, -1):
        if kind[i] == PAYMENT:
            since_last = float(as_of - known_on[i])
            break
    if observed_days < WINDOW_DAYS:
        return Payments(since_last, np.nan, np.nan, np.nan, np.nan)
    days = np.empty(known_on.size)
    n, bounces, total, unnamed = 0, 0, np.int64(0), np.int64(0)
    for i in range(count_before(known_on, as_of - WINDOW_DAYS), known_on.size):
        if kind[i] == REVERSAL:
            bounces += 1
        elif kind[i] == PAYMENT:
            total += cents[i]
            unnamed += 0 if is_named[i] else cents[i]
            if n == 0 or days[n - 1] != known_on[i]:
                days[n] = known_on[i]
                n += 1
    mean = (days[n - 1] - days[0]) / (n - 1) if n > 1 else np.nan
    squares = 0.0
    for i in range(1, n):
        squares += (days[i] - days[i - 1] - mean) ** 2
    return Payments(
        since_last,
        mean,
        np.sqrt(squares / (n - 1)) if n > 2 else np.nan,
        unnamed / total if total > 0 else np.nan,
        float(bounces),
    )
