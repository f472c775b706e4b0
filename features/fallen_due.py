"""How the invoices that fell due were met, whether paid by now or not, recent ones most.

Settled invoices alone flatter a customer who stops paying: the unpaid ones are not among them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.compiled import njit

HALF_LIFE_DAYS = 60
FADED_DAYS = 10 * HALF_LIFE_DAYS  # a thousandth of the weight: no longer read
FADING = 0.5 ** (np.arange(FADED_DAYS) / HALF_LIFE_DAYS)  # weight by days since due


class FallenDue(NamedTuple):
    """Invoices past their due date; an unpaid one is late by the days passed so far."""

    late_rate: float
    late_15_rate: float  # of those due more than 15 days ago: the others cannot tell yet
    days_late: float  # plain mean, early counting 0


@njit
def fallen_due(days_since_due: NDArray[np.int32], days_late: NDArray[np.int32]) -> FallenDue:
    """Summarise the invoices fallen due, one weighing half as much every 60 days.

    Parameters
    ----------
    days_since_due : ndarray of int32, shape (n_invoices,)
        Days from the due date to the last day before `as_of`, ≥ 0.
    days_late : ndarray of int32, shape (n_invoices,)
        Days from due date to payment, or so far when unpaid; negative when early.

    Returns
    -------
    FallenDue
        Missing where no invoice fell due.
    """
    weight, weight_15, late, late_15, days = 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(days_late.size):
        w = FADING[days_since_due[i]]
        weight += w
        late += w * (days_late[i] > 0)
        days += w * max(days_late[i], 0)
        if days_since_due[i] > 15:
            weight_15 += w
            late_15 += w * (days_late[i] > 15)
    return FallenDue(
        late / weight if weight > 0 else np.nan,
        late_15 / weight_15 if weight_15 > 0 else np.nan,
        days / weight if weight > 0 else np.nan,
    )
