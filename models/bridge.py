"""Why a probability moved between two dates, in parts that add up exactly.

A customer is looked at four times: as at first, once the days have passed with the same facts, once
what became known since is known, and with the new order. Nature sets that order: a fact cannot be
known before its day. Each look is scored by the old model and by the new one. A part is the mean of
what it moves under either, and the model's part the mean of what it moves at the first look and at
the last: neither speaks first, and the parts telescope::

    log-odds        first   days passed   facts known   order
    old model       −3.20         −3.10         −2.40   −2.40
    new model       −3.00         −2.95         −2.25   −2.25
    days +0.075, facts +0.70, order 0, model (0.20 + 0.15) / 2 = +0.175: −3.20 + 0.95 = −2.25

The policy prices a probability and has no part in it. In points of probability each part counts at
the slope of the chord, (p₂ − p₁) / (l₂ − l₁): a log-odds is worth the same whichever part it is of,
so these add up too, and no order of the parts is favoured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.dictionary import dictionary
from models.curve import Explained

Kind = Literal["time", "facts", "order", "model", "policy"]
STEPS: tuple[Kind, ...] = ("time", "facts", "order")
WORDS: dict[Kind, tuple[str, str]] = {
    "time": ("les jours ont passé, à faits inchangés", "days passed, the same facts"),
    "facts": ("faits connus depuis", "facts that became known"),
    "order": ("une autre commande", "another order"),
    "model": ("un autre modèle", "another model"),
    "policy": (
        "une autre politique : sans effet sur la probabilité",
        "another policy: no effect on the probability",
    ),
}
TERM = "term_days"
TERM_WORDS = ("part propre de l’horizon demandé", "the share of the term asked")
CONVENTION = (
    "Points : log-cotes de chaque part × la pente de la corde entre les deux probabilités.",
    "Points: each part's log-odds × the slope of the chord between the two probabilities.",
)


class Moved(NamedTuple):
    """What one measure moves within a part; its windows are added up.

    Attributes
    ----------
    feature : str
        The window that moves most; ``term_days`` is the term asked, which weighs more on one
        customer than on another.
    fr, en : str
        Its label.
    before, after : float or None
        Its values; ``None`` is missing.
    log_odds, points : float
        Of all windows of the measure.
    """

    feature: str
    fr: str
    en: str
    before: float | None
    after: float | None
    log_odds: float
    points: float


class Part(NamedTuple):
    """One cause.

    Attributes
    ----------
    kind : str
    fr, en : str
    log_odds, points : float
        Points of probability, in 0–1.
    moved : tuple of Moved
        Largest first; they add up to the part. None where the model or the policy is the cause.
    """

    kind: Kind
    fr: str
    en: str
    log_odds: float
    points: float
    moved: tuple[Moved, ...] = ()


@dataclass(frozen=True)
class Bridge:
    """The way from one probability to another: ``before + Σ parts = after``, in log-odds.

    Attributes
    ----------
    log_odds_before, log_odds_after : float
    before, after : float
        Probabilities.
    parts : tuple of Part
    """

    log_odds_before: float
    log_odds_after: float
    before: float
    after: float
    parts: tuple[Part, ...]


class Looks(NamedTuple):
    """A model's view of the four looks.

    Attributes
    ----------
    explained : tuple of Explained
        Each look taken apart, in the order of ``STEPS``: first, then after each step.
    """

    explained: Sequence[Explained]

    def log_odds(self, look: int) -> float:
        """Add one look up."""
        base, contributions = self.explained[look]
        return math.fsum([base, *contributions.tolist()])

    def step(self, look: int) -> NDArray[np.float64]:
        """Say what each feature moves from one look to the next, shape (n_features,)."""
        after, before = (self.explained[n].contributions for n in (look + 1, look))
        moved: NDArray[np.float64] = after - before
        return moved

    def step_of_base(self, look: int) -> float:
        """Say what the base moves: the term's own share, which hangs on the row it is asked of."""
        return self.explained[look + 1].base - self.explained[look].base


def bridge(
    features: Sequence[str],
    rows: Sequence[NDArray[np.float64]],
    old: Looks,
    new: Looks,
    *,
    other_model: bool,
    other_policy: bool,
) -> Bridge:
    """Take the way from the first look of the old model to the last of the new one apart.

    Parameters
    ----------
    features : sequence of str
        Of both models.
    rows : sequence of ndarray, shape (n_features,)
        Their values at the four looks.
    old, new : Looks
        The same where the model is.
    other_model, other_policy : bool
        Whether to name them among the parts.
    """
    before, after = old.log_odds(0), new.log_odds(len(STEPS))
    slope = _slope(before, after)
    parts = []
    for look, kind in enumerate(STEPS):
        by_feature = (old.step(look) + new.step(look)) / 2
        base = (old.step_of_base(look) + new.step_of_base(look)) / 2
        moved = _by_measure(features, by_feature, rows[look], rows[look + 1], slope)
        if base != 0:
            of_term = Moved(TERM, *TERM_WORDS, None, None, base, base * slope)
            moved = tuple(sorted([*moved, of_term], key=_size))
        total = math.fsum([base, *by_feature.tolist()])
        parts.append(Part(kind, *WORDS[kind], total, total * slope, moved))
    if other_model:
        ends = [new.log_odds(look) - old.log_odds(look) for look in (0, len(STEPS))]
        total = sum(ends) / 2
        parts.append(Part("model", *WORDS["model"], total, total * slope))
    if other_policy:
        parts.append(Part("policy", *WORDS["policy"], 0.0, 0.0))
    return Bridge(before, after, _probability(before), _probability(after), tuple(parts))


def _probability(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds)) if log_odds >= 0 else 1 - 1 / (1 + math.exp(log_odds))


def _slope(before: float, after: float) -> float:
    """Give points of probability for one of log-odds: the chord's, where it has a length."""
    first, last = _probability(before), _probability(after)
    if abs(after - before) < 1e-6:  # the tangent: the chord would be rounding alone
        return first * (1 - first)
    return (last - first) / (after - before)


def _by_measure(
    features: Sequence[str],
    by_feature: NDArray[np.float64],
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    slope: float,
) -> tuple[Moved, ...]:
    """Add the windows of each measure up, largest first."""
    entries = dictionary()
    together: dict[str, list[int]] = {}
    for i in np.argsort(-np.abs(by_feature), kind="stable").tolist():
        if by_feature[i] != 0:
            together.setdefault(entries[features[i]].field, []).append(i)
    moved = []
    for places in together.values():
        most = places[0]
        words, total = entries[features[most]].words, math.fsum(by_feature[places].tolist())
        values = _value(before[most]), _value(after[most])
        labels = words["fr"].label, words["en"].label
        moved.append(Moved(features[most], *labels, *values, total, total * slope))
    return tuple(sorted(moved, key=_size))


def _size(moved: Moved) -> float:
    return -abs(moved.log_odds)


def _value(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
