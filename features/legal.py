"""Insolvency judgments (procédures collectives), once we knew of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.compiled import njit


class Legal(NamedTuple):
    """Judgments known at a date."""

    insolvency: float  # 1 when any is known, else 0
    liquidation: float  # 1 when a liquidation is, else 0


@njit
def legal(is_liquidation: NDArray[np.bool_]) -> Legal:
    """Tell what the judgments known before the date are, one entry each."""
    return Legal(
        1.0 if is_liquidation.size > 0 else 0.0,
        1.0 if is_liquidation.any() else 0.0,
    )
