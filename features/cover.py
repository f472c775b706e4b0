"""What the credit insurer covers, and whether he cut or refused."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.compiled import count_before, njit

CUT_DAYS = 180


class Cover(NamedTuple):
    """The insurer's decision in force; missing for a customer he never decided on."""

    amount: float  # in the base currency; 0 once a cover ended or was refused
    insured_rate: float
    use: float  # exposure against the cover
    cut_180: float  # 1 when it is lower than 180 days before, else 0
    refused: float  # 1 when the insurer's decision is nothing, else 0


@njit
def cover(
    known_on: NDArray[np.int32],
    ends_on: NDArray[np.int32],
    cents: NDArray[np.int64],
    insured_rate: NDArray[np.float64],
    exposure_cents: int,
    as_of: int,
    observed_days: int,
) -> Cover:
    """Describe the cover in force.

    Parameters
    ----------
    known_on, ends_on, cents, insured_rate : ndarray of shape (n_covers,)
        The insurer's decisions known before `as_of`, in order of time; ``ends_on`` is the last day.
    exposure_cents : int
        What the customer owes.
    as_of : int
        The date we look from, exclusive.
    observed_days : int
        How long the ledger as a whole has been observed.
    """
    nan = np.nan
    if known_on.size == 0:
        return Cover(nan, nan, nan, nan, nan)
    cut = nan
    now = in_force(known_on, ends_on, as_of)
    now_cents = cents[now] if now >= 0 else 0
    if observed_days >= CUT_DAYS:
        then = in_force(known_on, ends_on, as_of - CUT_DAYS)
        cut = 1.0 if then >= 0 and now_cents < cents[then] else 0.0
    refused = 1.0 if now >= 0 and now_cents == 0 else 0.0
    if now_cents == 0:
        return Cover(0.0, nan, nan, cut, refused)
    return Cover(now_cents / 100, insured_rate[now], exposure_cents / now_cents, cut, refused)


@njit
def in_force(known_on: NDArray[np.int32], ends_on: NDArray[np.int32], day: int) -> int:
    """Index of the decision in force at `day`, exclusive: the last that still runs; −1 for none."""
    for i in range(count_before(known_on, day) - 1, -1, -1):
        if ends_on[i] >= day - 1:
            return i
    return -1
