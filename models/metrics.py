"""How good a curve is: discrimination and calibration, with intervals by resampling customers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "–"
        return f"{self.value:.3f} [{self.low:.3f}–{self.high:.3f}]"


class Quality(NamedTuple):
    """A curve at one term on one set of rows."""

    term_days: int
    rows: int
    events: int
    auc: Interval
    brier: float
    log_loss: float
    predicted_rate: float
    observed_rate: float


def by_customer(
    figure: Callable[[NDArray[np.int64]], float],
    customer: NDArray[np.int64],
    resamples: int = 200,
    seed: int = 0,
) -> Interval:
    """Give a figure its interval by drawing customers with replacement.

    Rows of one customer are not independent, and one customer can be a quarter of them: drawing
    rows would make the interval too narrow.

    Parameters
    ----------
    figure : callable
        Takes row indices, gives the figure; may be NaN where a draw has no event. Such draws are
        left out; the interval is NaN when there are no others.
    customer : ndarray of int64, shape (n_rows,)
        Whose row.
    """
    order = np.argsort(customer, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(customer[order])) + 1)
    rng = np.random.default_rng(seed)
    draws = [
        figure(np.concatenate([groups[g] for g in rng.integers(len(groups), size=len(groups))]))
        for _ in range(resamples)
    ]
    measured = [draw for draw in draws if not math.isnan(draw)]
    low, high = np.quantile(measured, [0.025, 0.975]) if measured else (math.nan, math.nan)
    return Interval(figure(np.arange(customer.size)), float(low), float(high))


def auc(happened: NDArray[np.bool_], score: Floats) -> float:
    """Area under the ROC curve; NaN when only one class is present."""
    if happened.all() or not happened.any():
        return math.nan
    return float(roc_auc_score(happened, score))


def quality(
    term_days: int,
    happened: NDArray[np.bool_],
    probability: Floats,
    customer: NDArray[np.int64],
    resamples: int = 200,
) -> Quality:
    """Measure one term; arrays have shape (n_rows,)."""
    return Quality(
        term_days=term_days,
        rows=happened.size,
        events=int(happened.sum()),
        auc=by_customer(lambda rows: auc(happened[rows], probability[rows]), customer, resamples),
        brier=float(brier_score_loss(happened, probability)),
        log_loss=float(log_loss(happened, probability, labels=[False, True])),
        predicted_rate=float(probability.mean()),
        observed_rate=float(happened.mean()),
    )
