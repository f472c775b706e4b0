"""A points scorecard for one question and term: the classic challenger of a booster.

Each feature is cut into bins, each bin gets its *weight of evidence*: the log-odds of the event in
it, less those of all rows. Where the dictionary gives a direction the bins go that way. A logistic
regression with coefficients ≥ 0 adds the weights up. With all rows at log-odds −3.0, a customer in
a bin of −2.2 has the weight 0.8; at a coefficient of 0.5 the bin adds 0.4 to his log-odds and, at
20 points for twice the odds, takes 0.4 · 20 / ln 2 = 11.5 points off his score.

Features are chosen by information value, from the highest down: at least 0.02, no correlation of
weights above 0.7 with one already chosen, fifteen at most. One that the regression gives a negative
coefficient is dropped, the most negative first, and the regression fitted again.

References
----------
Siddiqi (2006), *Credit Risk Scorecards*: weights of evidence, an information value below 0.02 as
unpredictive, 600 points at odds of 50 to 1 and 20 points for twice the odds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.isotonic import isotonic_regression

from features.dictionary import dictionary
from features.ledger import LedgerError
from training.dataset import Dataset, Pairs

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Index = NDArray[np.int64]
BINS, FREE_BINS = 20, 5  # at most, of a feature with a direction and of one without
PRIOR_ROWS = 20  # a bin is pulled to the mean as if it held so many average rows more
LEAST_INFORMATION = 0.02
MOST_CORRELATION = 0.7
MOST_FEATURES = 15
MOST_ROWS = 100_000
CHUNK = 10_000  # rows copied at once
TOLERANCE = 1e-8  # of the regression's last step
POINTS_TO_DOUBLE, ANCHOR_POINTS, ANCHOR_ODDS = 20, 600, 50
POINTS_A_LOG_ODDS = POINTS_TO_DOUBLE / math.log(2)


@dataclass(frozen=True)
class Binned:
    """One feature in bins.

    Attributes
    ----------
    feature : str
    edges : tuple of float
        Ascending; a value belongs to the bin that begins at the last edge not above it.
    weights : tuple of float
        Weight of evidence of each of the ``len(edges) + 1`` bins; positive is riskier.
    missing : float
        That of a missing value; 0 where none was seen.
    information : float
        Information value: Σ (share of the events − share of the others) · weight; 0 where only one
        of the two was seen.
    """

    feature: str
    edges: tuple[float, ...]
    weights: tuple[float, ...]
    missing: float
    information: float

    def weight(self, values: Floats) -> Floats:
        """Weight of evidence of each value, shape (n_rows,)."""
        of_bin = np.array(self.weights)[np.searchsorted(self.edges, values, side="right")]
        return np.where(np.isnan(values), self.missing, of_bin)


@dataclass(frozen=True)
class Scorecard:
    """A fitted scorecard.

    Attributes
    ----------
    term_days : int
    features : tuple of str
        Names of the columns of the matrices it is given.
    intercept : float
        Log-odds of a row with all weights 0.
    binned : tuple of Binned
        The features chosen, the most informative first.
    coefficients : tuple of float
        Of each, > 0.
    """

    term_days: int
    features: tuple[str, ...]
    intercept: float
    binned: tuple[Binned, ...]
    coefficients: tuple[float, ...]

    def log_odds(self, X: Floats) -> Floats:
        """Log-odds of the event for rows of shape (n_rows, n_features)."""
        total = np.full(X.shape[0], self.intercept)
        for one, coefficient in zip(self.binned, self.coefficients, strict=True):
            total += coefficient * one.weight(X[:, self.features.index(one.feature)])
        return total

    def score(self, X: Floats) -> Floats:
        """Rank rows: higher is riskier. It is the log-odds."""
        return self.log_odds(X)

    def probability(self, X: Floats) -> Floats:
        """Probability of the event for rows of shape (n_rows, n_features)."""
        return np.asarray(expit(self.log_odds(X)))

    def table(self) -> pd.DataFrame:
        """Write the card as a table, to be added up by hand.

        Returns
        -------
        DataFrame
            ``feature``, ``bin``, ``weight_of_evidence`` and ``points`` by bin. The first line, the
            same for everybody, holds the base points. More points are safer: 600 are odds of 50 to
            1 against the event, 20 more double them.
        """
        base = ANCHOR_POINTS - POINTS_A_LOG_ODDS * (self.intercept + math.log(ANCHOR_ODDS))
        lines: list[tuple[str, str, float, float]] = [("base", "everybody", 0.0, base)]
        for one, coefficient in zip(self.binned, self.coefficients, strict=True):
            names = [*_bin_names(one.edges), "missing"]
            for name, weight in zip(names, [*one.weights, one.missing], strict=True):
                points = -POINTS_A_LOG_ODDS * coefficient * weight
                lines.append((one.feature, name, weight, points))
        return pd.DataFrame(lines, columns=["feature", "bin", "weight_of_evidence", "points"])


def fit_scorecard(dataset: Dataset, term_days: int, cutoff: int) -> Scorecard:
    """Fit a scorecard with what was known before `cutoff`.

    Parameters
    ----------
    dataset : Dataset
        Of more than 100,000 rows with a known outcome, every second, third… is used.
    term_days : int
    cutoff : int
        Exclusive date: only outcomes known before it count.

    Returns
    -------
    Scorecard
        Without a feature, and so the same for everybody, where none is informative.

    Raises
    ------
    LedgerError
        If no outcome is known at that term.
    """
    asked = dataset.known_at(term_days, cutoff)
    if asked.row.size == 0:
        raise LedgerError(
            f"{dataset.question.name} scorecard: no outcome at {term_days} days is known at the "
            "cut-off"
        )
    return learn_scorecard(dataset, term_days, asked.at_most(MOST_ROWS))


def learn_scorecard(dataset: Dataset, term_days: int, asked: Pairs) -> Scorecard:
    """Fit a scorecard on pairs at one term, at least one."""
    row, happened = asked.row, asked.happened
    binned, weights = _chosen(dataset, row, happened)
    intercept, coefficients = regression(weights, happened, np.ones(weights.shape[1]))
    while (coefficients <= 0).any():
        kept = np.arange(coefficients.size) != np.argmin(coefficients)
        binned = [one for one, is_kept in zip(binned, kept, strict=True) if is_kept]
        weights = weights[:, kept]
        intercept, coefficients = regression(weights, happened, coefficients[kept])
    return Scorecard(
        term_days, dataset.features, intercept, tuple(binned), tuple(coefficients.tolist())
    )


def bin_feature(feature: str, values: Floats, happened: Bools, direction: int) -> Binned:
    """Cut a feature into bins by its quantiles and weigh them.

    Parameters
    ----------
    feature : str
    values : ndarray of float64, shape (n_rows,)
        NaN is missing and has a bin of its own, outside any order.
    happened : ndarray of bool, shape (n_rows,)
    direction : int
        1 when more is riskier, −1 when less is: neighbours that go the other way are pooled. 0:
        fewer bins, in no order.
    """
    is_known = ~np.isnan(values)
    known = values[is_known]
    edges = _edges(known, BINS if direction else FREE_BINS)
    place = np.where(is_known, np.searchsorted(edges, values, side="right"), edges.size + 1)
    rows = np.bincount(place, minlength=edges.size + 2)
    events = np.bincount(place, weights=happened, minlength=edges.size + 2)
    overall = (happened.sum() + 0.5) / (happened.size + 1)
    weight = rows + float(PRIOR_ROWS)
    rate = (events + PRIOR_ROWS * overall) / weight
    if direction:
        rate[:-1] = isotonic_regression(
            rate[:-1], sample_weight=weight[:-1], increasing=direction > 0
        )
    evidence = logit(rate) - logit(overall)
    others = rows - events
    has_both = events.sum() > 0 and others.sum() > 0
    shares = events / events.sum() - others / others.sum() if has_both else np.zeros(rows.size)
    parted = np.flatnonzero(np.diff(evidence[:-1]))  # bins pooled into one need no edge between
    return Binned(
        feature=feature,
        edges=tuple(edges[parted].tolist()),
        weights=tuple(evidence[:-1][[0, *(parted + 1)]].tolist()),
        missing=float(evidence[-1]),
        information=float((shares * evidence).sum()),
    )


def _edges(known: Floats, bins: int) -> Floats:
    """Inner bounds of about `bins` bins of as many values each, none of them empty.

    A value that would fill more than a bin stands alone and the bins share the others: else the few
    customers with anything overdue would lie in one bin.
    """
    if known.size == 0:
        return known
    known = np.sort(known)
    begins = np.flatnonzero(np.append(True, known[1:] != known[:-1]))
    values, count = known[begins], np.diff(begins, append=known.size)
    most = int(count.argmax())
    if count[most] * bins <= known.size or values.size == 1:
        edges = _quantiles(known, bins)
    else:
        others = np.delete(known, slice(begins[most], begins[most] + count[most]))
        edges = np.append(_quantiles(others, bins), values[most : most + 2])
    return np.unique(edges[edges > values[0]])


def _quantiles(ascending: Floats, bins: int) -> Floats:
    """Inner bounds of `bins` bins of as many values each, each one of the values."""
    cuts = np.linspace(0, 1, bins + 1)[1:-1]
    return ascending[np.ceil(cuts * (ascending.size - 1)).astype(np.int64)]


def _chosen(dataset: Dataset, row: Index, happened: Bools) -> tuple[list[Binned], Floats]:
    """Choose features by information value and correlation; return them with their weights."""
    directions = dictionary()
    columns = _columns(dataset.X, row)
    candidates = []
    for column, feature in enumerate(dataset.features):
        one = bin_feature(feature, columns[column], happened, directions[feature].direction)
        if one.information >= LEAST_INFORMATION:
            candidates.append((one, column))
    candidates.sort(key=lambda candidate: (-candidate[0].information, candidate[1]))
    chosen: list[Binned] = []
    weights: list[Floats] = []
    directed: list[Floats] = []
    for one, column in candidates:
        if len(chosen) == MOST_FEATURES:
            break
        weight = one.weight(columns[column])
        centred = weight - weight.mean()
        centred /= np.sqrt((centred * centred).sum())  # its product with another: the correlation
        if all(abs(centred @ other) <= MOST_CORRELATION for other in directed):
            chosen.append(one)
            weights.append(weight)
            directed.append(centred)
    return chosen, np.column_stack(weights) if weights else np.empty((row.size, 0))


def _columns(X: Floats, row: Index) -> Floats:
    """Put the values of each feature side by side, written once: they are read many times."""
    columns = np.empty((X.shape[1], row.size))
    for first in range(0, row.size, CHUNK):
        some = slice(first, first + CHUNK)
        columns[:, some] = X[row[some]].T
    return columns


def regression(weights: Floats, happened: Bools, start: Floats) -> tuple[float, Floats]:
    """Fit a logistic regression by Newton's method: at the lowest Σ loss + ½ Σ coefficient².

    Parameters
    ----------
    weights : ndarray of float64, shape (n_rows, n_features)
    happened : ndarray of bool, shape (n_rows,)
    start : ndarray of float64, shape (n_features,)
        Coefficients to begin with: the nearer, the fewer steps.

    Returns
    -------
    intercept : float
        The overall log-odds where there is no feature.
    coefficients : ndarray of float64, shape (n_features,)
    """
    overall = float(logit((happened.sum() + 0.5) / (happened.size + 1)))
    if start.size == 0:
        return overall, start
    design = np.column_stack([np.ones(happened.size), weights])
    pull = np.array([0.0, *np.ones(start.size)])

    def loss(theta: Floats, log_odds: Floats) -> float:
        likelihood = np.logaddexp(0, log_odds).sum() - log_odds[happened].sum()
        return float(likelihood + (pull * theta**2).sum() / 2)

    theta = np.array([overall, *start])
    log_odds = design @ theta
    lowest, gains = loss(theta, log_odds), True
    while gains:
        probability = expit(log_odds)
        gradient = design.T @ (probability - happened) + pull * theta
        spread = probability * (1 - probability)
        curvature = (design.T * spread) @ design + np.diag(pull)
        step = np.linalg.solve(curvature, gradient)
        while True:
            log_odds = design @ (theta - step)
            reached = loss(theta - step, log_odds)
            if reached <= lowest or np.abs(step).max() <= TOLERANCE:
                break
            step /= 2  # too far
        gains = np.abs(step).max() > TOLERANCE
        theta, lowest = theta - step, reached
    return float(theta[0]), theta[1:]


def _bin_names(edges: tuple[float, ...]) -> list[str]:
    """Write bins in words, such as ``< 3``, ``3 to 12`` and ``≥ 12``."""
    if not edges:
        return ["any"]
    said = [f"{edge:.6g}" for edge in edges]
    between = [f"{low} to {high}" for low, high in pairwise(said)]
    return [f"< {said[0]}", *between, f"≥ {said[-1]}"]
