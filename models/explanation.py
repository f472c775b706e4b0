"""Contributions → at most four reasons, in French and English, that add up to the log-odds.

For instance base −4.10, reasons 0.62 and 0.22, other 0.06: log-odds −3.20, probability 3.9 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from features.dictionary import dictionary
from models.bundle import Bundle
from models.curve import Explained

MOST_REASONS = 4


@dataclass(frozen=True)
class Reason:
    """One reason.

    Attributes
    ----------
    code : str
        Stable name.
    feature : str
    contribution : float
        In calibrated log-odds; positive raises the probability.
    value : float or None
        The feature's value; ``None`` is missing.
    unit : str
    compare : float or None
        Median over the rows of the year before the curve's cut-off.
    fr, en : str
        The reason in words.
    """

    code: str
    feature: str
    contribution: float
    value: float | None
    unit: str
    compare: float | None
    fr: str
    en: str


@dataclass(frozen=True)
class Explanation:
    """A probability taken apart: ``base + Σ reasons + other = log_odds``.

    Attributes
    ----------
    curve : str
        ``late`` or ``default``.
    horizon_days : int
        The term asked: days after the due date, or from now.
    base : float
        What any customer gets at that term, in log-odds.
    reasons : tuple of Reason
        Largest first; the windows of one measure count as one reason.
    other : float
        All the other features together.
    log_odds : float
    probability : float
    """

    curve: str
    horizon_days: int
    base: float
    reasons: tuple[Reason, ...]
    other: float
    log_odds: float
    probability: float


def explain(
    bundle: Bundle,
    row: NDArray[np.float64],
    term_days: int,
    currency: str,
    log_odds: float | None = None,
    taken_apart: Explained | None = None,
) -> Explanation:
    """Explain one row's probability at one term.

    Parameters
    ----------
    bundle : Bundle
    row : ndarray of float64, shape (n_features,)
    term_days : int
    currency : str
        For amounts in the words.
    log_odds : float, optional
        What the curve says of that row and term, where it was asked already.
    taken_apart : Explained, optional
        The same, taken apart, where it was already.

    Returns
    -------
    Explanation

    Notes
    -----
    At most four, specific and in order of importance: the practice of adverse action notices
    (Regulation B, comment 9(b)(2)-1).
    """
    curve = bundle.curve
    taken_apart = taken_apart or curve.explain(row, term_days)
    contributions = taken_apart.contributions
    chosen = most_important(curve.features, contributions)
    reasons = tuple(
        _reason(bundle, curve.features[i], float(row[i]), float(contributions[i]), currency)
        for i in chosen
    )
    if log_odds is None:
        log_odds = float(curve.log_odds(row[None, :], np.array([term_days], np.int32))[0])
    told = math.fsum(reason.contribution for reason in reasons)
    return Explanation(
        curve=curve.question,
        horizon_days=term_days,
        base=taken_apart.base,
        reasons=reasons,
        other=math.fsum(contributions) - told,
        log_odds=log_odds,
        probability=float(expit(log_odds)),
    )


def most_important(features: tuple[str, ...], contributions: NDArray[np.float64]) -> list[int]:
    """Choose the places of the reasons to tell, largest first, one of each measure."""
    entries = dictionary()
    told: set[str] = set()
    chosen: list[int] = []
    for i in np.argsort(-np.abs(contributions), kind="stable").tolist():
        if contributions[i] == 0 or len(chosen) == MOST_REASONS:
            break  # what follows is smaller still
        field = entries[features[i]].field
        if field not in told:
            told.add(field)
            chosen.append(i)
    return chosen


def _reason(
    bundle: Bundle, feature: str, value: float, contribution: float, currency: str
) -> Reason:
    entry = dictionary()[feature]
    median = bundle.reference["median"][feature]
    return Reason(
        code=entry.code,
        feature=feature,
        contribution=contribution,
        value=None if math.isnan(value) else value,
        unit=entry.unit,
        compare=median,
        fr=entry.say(value, "fr", currency, median),
        en=entry.say(value, "en", currency, median),
    )
