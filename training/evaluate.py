"""Measures a fitted curve out of time: on rows from its cut-off on, with outcomes known since."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.curve import TermCurve
from models.metrics import Quality, quality
from training.dataset import Dataset


def out_of_time(
    curve: TermCurve,
    dataset: Dataset,
    rows: NDArray[np.int64],
    end: int,
    resamples: int = 200,
) -> list[Quality]:
    """Measure the curve at each reported term.

    Parameters
    ----------
    curve : TermCurve
        Fitted with what was known before the first of `rows`.
    dataset : Dataset
    rows : ndarray of int64
        Rows from the cut-off on.
    end : int
        Exclusive date until which outcomes are known.
    resamples : int
        Draws of customers for the intervals.

    Returns
    -------
    list of Quality
        One for each reported term for which some outcome is known.
    """
    measured = []
    for term_days in dataset.question.reported:
        asked = dataset.ask(rows, np.full(rows.size, term_days, np.int32), end)
        if asked.row.size:
            probability = curve.probability(dataset.X[asked.row], asked.term_days)
            customer = dataset.customer[asked.row]
            measured.append(quality(term_days, asked.happened, probability, customer, resamples))
    return measured
