"""What a bundle keeps of its training rows: what an answer compares with, and how sure it is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import depth, grades
from models.curve import TermCurve
from training.dataset import DEFAULT, Dataset

Index = NDArray[np.int64]
YEAR_DAYS = 365
TAKEN_APART_DAYS = {"late": 30, "default": 365}  # term at which families of facts are weighed
MOST_TAKEN_APART = 1_000
QUANTILES = tuple(range(0, 101, 5))  # per cent


def reference(dataset: Dataset, curve: TermCurve, cutoff: int, end: int) -> dict[str, Any]:
    """Gather what the answers compare with.

    Parameters
    ----------
    dataset : Dataset
    curve : TermCurve
        Fitted with what was known before `cutoff`.
    cutoff : int
        Exclusive date.
    end : int
        Exclusive date until which outcomes are known.

    Returns
    -------
    dict
        ``median`` of each feature and ``family_weights`` (:func:`models.depth.family_weights`),
        over the year before the cut-off; ``probability_quantiles`` there, every 5 %. Of the default
        curve also ``depth`` (:func:`models.depth.measure`), out of time, and the grade ``scale``.
    """
    term_days = TAKEN_APART_DAYS[dataset.question.name]
    rows = latest_year(dataset, cutoff)
    X = dataset.X[rows]
    some = X[:: max(1, -(-rows.size // MOST_TAKEN_APART))]
    terms = np.full(rows.size, term_days, np.int32)
    contributions = curve.contributions(some, terms[: some.shape[0]])
    quantiles = np.quantile(curve.probability(X, terms), np.array(QUANTILES) / 100)
    found: dict[str, Any] = {
        "median": medians(dataset, cutoff),
        "family_weights": depth.family_weights(contributions, some, dataset.features),
        "probability_quantiles": {
            f"{place}": float(value) for place, value in zip(QUANTILES, quantiles, strict=True)
        },
        "quantiles_term_days": term_days,
    }
    if dataset.question is DEFAULT:
        found |= {"scale": grades.scale(), "depth": _depth(dataset, curve, cutoff, end)}
    return found


def latest_year(dataset: Dataset, cutoff: int) -> Index:
    """Rows of the year before the cut-off that were known by then."""
    rows = dataset.known_before(cutoff)
    return rows[dataset.as_of[rows] >= cutoff - YEAR_DAYS]


def medians(dataset: Dataset, cutoff: int) -> dict[str, float | None]:
    """Median of each feature over the year before the cut-off; ``None`` where all are missing."""
    X = dataset.X[latest_year(dataset, cutoff)]
    known = ~np.isnan(X).all(axis=0)
    found: dict[str, float | None] = dict.fromkeys(dataset.features)
    for column in np.flatnonzero(known):
        found[dataset.features[column]] = float(np.nanmedian(X[:, column]))
    return found


def _depth(dataset: Dataset, curve: TermCurve, cutoff: int, end: int) -> dict[str, Any]:
    rows = dataset.between(cutoff, end)
    asked = dataset.ask(rows, np.full(rows.size, grades.HORIZON_DAYS, np.int32), end)
    X = dataset.X[asked.row]
    return depth.measure(
        depth.letters(X, dataset.features),
        curve.probability(X, asked.term_days),
        asked.happened,
        dataset.customer[asked.row],
    )
