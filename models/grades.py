"""Grades A–H and a score 0–1000 from the probability of default within 365 days.

The master scale is fixed: a grade means the same probability whatever the model, the ledger or the
year. Each grade's bound is about twice that of the grade before, and 50 points of score halve the
odds. For instance 8.1 % are odds of 0.088, a score of 512 and grade E.

========  =====================  ===============
grade     default within a year  score
========  =====================  ===============
A         at most 0.5 %          719 and above
B         at most 1 %            668 – 719
C         at most 2.5 %          601 – 668
D         at most 5 %            549 – 601
E         at most 10 %           495 – 549
F         at most 20 %           437 – 495
G         at most 40 %           366 – 437
H         above                  366 and below
========  =====================  ===============
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logit

SCALE = "encours-1"  # another scale gets another name: grades of two scales do not compare
HORIZON_DAYS = 365
GRADES = ("A", "B", "C", "D", "E", "F", "G", "H")
UPPER_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.10, 0.20, 0.40, 1.0)
LOWEST_SCORE, HIGHEST_SCORE = 0, 1000
EVEN_ODDS_SCORE = 337  # of a customer as likely to default as not
POINTS_TO_HALVE_THE_ODDS = 50


class Bounds(NamedTuple):
    """Probabilities of a grade: above `low`, up to and including `high`; A begins with 0."""

    low: float
    high: float


def grade(default_probability: ArrayLike) -> NDArray[np.str_]:
    """Grade customers by the probability that they default within 365 days.

    Parameters
    ----------
    default_probability : array-like of float64, shape (n_rows,)
        Within 0 … 1; that of a customer in default is 1.

    Returns
    -------
    ndarray of str, shape (n_rows,)
        A letter each; a probability on a bound gets the better grade.

    Raises
    ------
    ValueError
        If a probability is missing or outside 0 … 1.

    Examples
    --------
    >>> grade([0.005, 0.081, 1.0]).tolist()
    ['A', 'E', 'H']
    """
    return np.array(GRADES)[np.searchsorted(UPPER_BOUNDS, _checked(default_probability))]


def score(default_probability: ArrayLike) -> NDArray[np.int64]:
    """Score customers 0–1000, higher is safer; parameters and errors as in :func:`grade`.

    Examples
    --------
    >>> score([0.0, 0.081, 0.5, 1.0]).tolist()
    [1000, 512, 337, 0]
    """
    points_a_log_odd = POINTS_TO_HALVE_THE_ODDS / math.log(2)
    points = EVEN_ODDS_SCORE - points_a_log_odd * logit(_checked(default_probability))
    rounded: NDArray[np.int64] = np.rint(np.clip(points, LOWEST_SCORE, HIGHEST_SCORE)).astype(int)
    return rounded


def bounds(letter: str) -> Bounds:
    """Give the probabilities of a grade.

    >>> bounds("E")
    Bounds(low=0.05, high=0.1)
    """
    place = GRADES.index(letter)
    return Bounds(UPPER_BOUNDS[place - 1] if place else 0.0, UPPER_BOUNDS[place])


def scale() -> dict[str, Any]:
    """Give the scale as a bundle states it."""
    return {
        "name": SCALE,
        "horizon_days": HORIZON_DAYS,
        "upper_bounds": dict(zip(GRADES, UPPER_BOUNDS, strict=True)),
        "even_odds_score": EVEN_ODDS_SCORE,
        "points_to_halve_the_odds": POINTS_TO_HALVE_THE_ODDS,
    }


def _checked(probability: ArrayLike) -> NDArray[np.float64]:
    checked = np.asarray(probability, np.float64)
    wrong = ~((checked >= 0) & (checked <= 1))
    if wrong.any():
        raise ValueError(f"{wrong.sum()} of {checked.size} probabilities are not within 0 … 1")
    return checked
