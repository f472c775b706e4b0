"""How good a curve is: discrimination and calibration, with intervals by resampling customers.

An interval draws customers, not rows: a draw says how many times each row counts. A *figure* is
therefore a function of such weights; 1, 0 and 2 for three rows mean that the first is there once,
the second not and the third twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Index = NDArray[np.int64]
Figure = Callable[[Index], float]
"""Takes how many times each row counts, shape (n_rows,); NaN where there is no figure."""

BANDS = 20


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


# ---------------------------------------------------------------------------------------- intervals


def by_customer(
    figure: Callable[[Index], float],
    customer: Index,
    resamples: int = 200,
    seed: int = 0,
) -> Interval:
    """Give a figure of *row indices* its interval by drawing customers with replacement.

    Rows of one customer are not independent, and one customer can be a quarter of them: drawing
    rows would make the interval too narrow.

    Parameters
    ----------
    figure : callable
        Takes row indices, one as often as it was drawn, and gives the figure; may be NaN where a
        draw has no event. Such draws are left out; the interval is NaN when there are no others.
    customer : ndarray of int64, shape (n_rows,)
        Whose row.

    See Also
    --------
    interval_by_customer : The same of a figure that takes weights, many times as fast.
    """
    each = np.arange(customer.size)
    return interval_by_customer(
        lambda times: figure(np.repeat(each, times)), customer, resamples, seed
    )


def interval_by_customer(
    figure: Figure, customer: Index, resamples: int = 200, seed: int = 0
) -> Interval:
    """Give a figure of *weights* its interval by drawing customers with replacement.

    Other parameters and what happens to NaN as in :func:`by_customer`.
    """
    return interval(drawn_by_customer(figure, customer, resamples, seed))


def difference_by_customer(
    first: Figure, second: Figure, customer: Index, resamples: int = 200, seed: int = 0
) -> Interval:
    """Tell by how much the first figure exceeds the second, both measured on the same draws.

    Two scores of the same rows rise and fall together from draw to draw, so the interval of their
    difference is much narrower than those of the two would suggest.
    """
    measured = drawn_together([first, second], customer, resamples, seed)
    return interval(measured[0] - measured[1])


def drawn_by_customer(
    figure: Figure, customer: Index, resamples: int = 200, seed: int = 0
) -> Floats:
    """Measure a figure as it is, then on each draw of customers; shape (1 + resamples,).

    The same seed draws the same customers whatever the figure, so what two figures give may be
    taken from one another.
    """
    drawn: Floats = drawn_together([figure], customer, resamples, seed)[0]
    return drawn


def drawn_together(
    figures: Sequence[Figure], customer: Index, resamples: int = 200, seed: int = 0
) -> Floats:
    """Measure several figures as :func:`drawn_by_customer` does each, on the same draws.

    Returns
    -------
    ndarray of float64, shape (n_figures, 1 + resamples)
    """
    each = np.ones(customer.size, np.int64)
    measured = [
        [figure(times) for figure in figures]
        for times in chain([each], _draws(customer, resamples, seed))
    ]
    return np.array(measured).T


def interval(drawn: Floats) -> Interval:
    """Read a figure and its interval off what :func:`drawn_by_customer` gave."""
    measured = drawn[1:][~np.isnan(drawn[1:])]
    low, high = np.quantile(measured, [0.025, 0.975]) if measured.size else (math.nan, math.nan)
    return Interval(float(drawn[0]), float(low), float(high))


def _draws(customer: Index, resamples: int, seed: int) -> Iterator[Index]:
    """Yield how many times each row is there when its customers are drawn with replacement."""
    rng = np.random.default_rng(seed)
    customers, who = np.unique(customer, return_inverse=True)
    for _ in range(resamples):
        drawn = rng.integers(customers.size, size=customers.size)
        yield np.bincount(drawn, minlength=customers.size)[who]


# ----------------------------------------------------------------------------------- discrimination


def auc(happened: Bools, score: Floats) -> float:
    """Area under the ROC curve; NaN when only one class is present."""
    if happened.all() or not happened.any():
        return math.nan
    return float(roc_auc_score(happened, score))


def auc_of(happened: Bools, score: Floats) -> Figure:
    """Prepare the AUC of weighted rows: sorted once, then a few sums for each draw.

    Parameters
    ----------
    happened : ndarray of bool, shape (n_rows,)
    score : ndarray of float64, shape (n_rows,)
        Higher is riskier; tied pairs count half.

    Returns
    -------
    callable
        NaN where the weights leave only one class.
    """
    order = np.argsort(score, kind="stable")
    ordered, event = score[order], np.flatnonzero(happened[order])
    edges = np.flatnonzero(np.diff(ordered, prepend=np.nan, append=np.nan) != 0)  # NaN differs
    tie = np.searchsorted(edges, event, side="right") - 1
    first = np.flatnonzero(np.diff(tie, prepend=-1))  # of the events of each tie that has some
    begin, end = edges[tie[first]], edges[tie[first] + 1]
    reached = np.zeros(score.size + 1, np.int64)

    def figure(times: Index) -> float:
        weight = times[order]
        np.cumsum(weight, out=reached[1:])
        events = np.add.reduceat(weight[event], first)
        n_events = int(events.sum())
        n_others = int(reached[-1]) - n_events
        if n_events == 0 or n_others == 0:
            return math.nan
        others = reached[end] - reached[begin] - events
        below = reached[begin] - (np.cumsum(events) - events) + others / 2
        right = float((events * below).sum())  # not a dot product: it would wake BLAS's threads
        return right / n_events / n_others

    return figure


def gains(happened: Bools, score: Floats, shares: Sequence[float] | Floats) -> Floats:
    """Share of all events that the riskiest rows hold.

    Parameters
    ----------
    happened : ndarray of bool, shape (n_rows,)
    score : ndarray of float64, shape (n_rows,)
        Higher is riskier. Of tied rows as many are taken as are needed, whichever they are: the
        expected share.
    shares : sequence of float, shape (n_shares,)
        Of the rows, 0–1.

    Returns
    -------
    ndarray of float64, shape (n_shares,)
        NaN without an event.

    Examples
    --------
    >>> score = np.array([0.9, 0.8, 0.2, 0.2])
    >>> gains(np.array([True, False, True, False]), score, [0.25, 0.5, 0.75]).tolist()
    [0.5, 0.5, 0.75]
    """
    if not happened.any():
        return np.full(len(shares), np.nan)
    _, tie, rows = np.unique(-score, return_inverse=True, return_counts=True)
    events = np.bincount(tie, weights=happened)
    reached = np.concatenate([[0.0], np.cumsum(rows) / happened.size])
    captured = np.concatenate([[0.0], np.cumsum(events) / events.sum()])
    return np.asarray(np.interp(shares, reached, captured))


# -------------------------------------------------------------------------------------- calibration


def brier_of(happened: Bools, probability: Floats) -> Figure:
    """Prepare the Brier score of weighted rows: the mean square of what was said less what was."""
    off = np.square(probability - happened)
    return lambda times: float((off * times).sum()) / float(times.sum())


class Band(NamedTuple):
    """Rows with neighbouring probabilities: what was said of them and what was seen."""

    low: float
    high: float
    rows: int
    events: int
    said: float
    seen: float


def bands(happened: Bools, probability: Floats, count: int = BANDS) -> list[Band]:
    """Cut rows into bands of as many rows each, by probability: a calibration table.

    Parameters
    ----------
    happened : ndarray of bool, shape (n_rows,)
    probability : ndarray of float64, shape (n_rows,)
    count : int
        Bands at most: equal probabilities are never parted.

    Returns
    -------
    list of Band
        Ascending; none is empty.
    """
    band = _band(probability, count)
    order = np.argsort(band, kind="stable")
    cuts = np.flatnonzero(np.diff(band[order])) + 1
    return [
        Band(
            low=float(probability[rows].min()),
            high=float(probability[rows].max()),
            rows=rows.size,
            events=int(happened[rows].sum()),
            said=float(probability[rows].mean()),
            seen=float(happened[rows].mean()),
        )
        for rows in np.split(order, cuts)
        if rows.size
    ]


def calibration_error(happened: Bools, probability: Floats, count: int = BANDS) -> float:
    """Measure the expected calibration error: how far seen is from said, on average over rows.

    Rows count with their band's distance; bands as in :func:`bands`. The error is never 0, not even
    for a perfect model: compare it with :func:`calibration_null`.
    """
    band = _band(probability, count)
    return float(np.abs(np.bincount(band, probability - happened)).sum() / probability.size)


class Null(NamedTuple):
    """Calibration error of a perfectly calibrated model: half, and 95 % of the draws are below."""

    median: float
    high: float


def calibration_null(
    probability: Floats, count: int = BANDS, draws: int = 200, seed: int = 0
) -> Null:
    """Simulate the calibration error that the same rows would give if every probability were true.

    Parameters
    ----------
    probability : ndarray of float64, shape (n_rows,)
        What was said; each draw makes every outcome happen with just this probability.
    count : int
        Bands, as in :func:`calibration_error`.

    Notes
    -----
    The draws are independent, the outcomes of one customer are not: one bankruptcy makes ten rows
    late together. With n_c rows a customer that move together with correlation ρ the error of a
    perfect model is up to √(1 + (n_c − 1)ρ) times as large. The null is therefore strict: an error
    below it is good, one somewhat above it need not be the model's.
    """
    rng = np.random.default_rng(seed)
    band = _band(probability, count)
    order = np.argsort(band, kind="stable")
    said = probability[order]
    starts = np.flatnonzero(np.diff(band[order], prepend=-1))
    expected = np.add.reduceat(said, starts)
    errors = [
        np.abs(np.add.reduceat(rng.random(said.size) < said, starts, dtype=np.int64) - expected)
        for _ in range(draws)
    ]
    median, high = np.quantile(np.sum(errors, axis=1) / said.size, [0.5, 0.95])
    return Null(float(median), float(high))


def _band(probability: Floats, count: int) -> Index:
    """Place of each row among `count` bands of as many rows; equal ones share a band."""
    edges = np.quantile(probability, np.linspace(0, 1, count + 1)[1:-1])
    return np.searchsorted(edges, probability)


def jeffreys(customers: int, defaults: int, probability: float) -> float:
    """Test whether more customers of a grade default than its probability allows.

    With Jeffreys' prior the rate of default given the count is Beta(D + ½, N − D + ½); the p-value
    is its chance of being no higher than `probability`. Small means that the grade is riskier than
    it says.

    Parameters
    ----------
    customers : int
        N, independent of one another: one snapshot of a customer and year.
    defaults : int
        D, of them.
    probability : float
        Of default, as the grade says.

    Returns
    -------
    float
        One-sided p-value.

    Raises
    ------
    ValueError
        If the counts or the probability cannot be.

    References
    ----------
    European Central Bank (2019), *Instructions for reporting the validation results of internal
    models*, section 2.5.3.1. Brown, Cai, DasGupta (2001), *Interval Estimation for a Binomial
    Proportion*, Statistical Science 16(2): why not the exact binomial, which says 0.052 here.

    Examples
    --------
    >>> round(jeffreys(customers=200, defaults=5, probability=0.01), 3)
    0.029
    """
    if not 0 <= defaults <= customers or not 0 <= probability <= 1:
        raise ValueError(
            f"{defaults} defaults of {customers} customers at a probability of {probability}"
        )
    return float(beta.cdf(probability, defaults + 0.5, customers - defaults + 0.5))


# -------------------------------------------------------------------------------------------- drift


def psi(reference: Index, now: Index) -> float:
    """Add up the population stability index: Σ (q − p) ln(q / p) over bins.

    Parameters
    ----------
    reference, now : ndarray of int64, shape (n_bins,)
        Rows in each bin; an empty bin counts half a row.

    Returns
    -------
    float
        0 for the same shares; compare it with :func:`psi_critical`.
    """
    p = np.maximum(reference, 0.5) / reference.sum()
    q = np.maximum(now, 0.5) / now.sum()
    return float(((q - p) * np.log(q / p)).sum())


def psi_critical(
    reference: int,
    now: int,
    bins: int = 10,
    level: float = 0.95,
    draws: int = 20_000,
    seed: int = 0,
) -> float:
    """PSI that chance alone does not exceed with probability `level`.

    Parameters
    ----------
    reference, now : int
        Rows in both samples. The bins are the reference's quantiles.

    Notes
    -----
    Simulated. For large samples it tends to the χ² quantile with ``bins − 1`` degrees of freedom
    times 1 / reference + 1 / now (Yurdakul 2018, *Statistical Properties of Population Stability
    Index*). The usual fixed limit of 0.10 is exceeded without any drift in 87 % of checks at 50
    rows, 40 % at 100 and 2.5 % at 200.
    """
    return float(np.quantile(psi_without_drift(reference, now, bins, draws, seed), level))


def psi_without_drift(
    reference: int, now: int, bins: int = 10, draws: int = 20_000, seed: int = 0
) -> Floats:
    """Simulate the PSI of two samples of one population; parameters as in :func:`psi_critical`.

    The true share of a reference's quantile bin is not 1 / bins but, over references, Dirichlet
    around it.

    Returns
    -------
    ndarray of float64, shape (draws,)
    """
    rng = np.random.default_rng(seed)
    p = 1 / bins
    shares = rng.dirichlet(np.full(bins, reference * p), size=draws)
    q = np.maximum(rng.multinomial(now, shares), 0.5) / now
    index: Floats = ((q - p) * np.log(q / p)).sum(axis=1)
    return index


# ------------------------------------------------------------------------------------ all of a term


def quality(
    term_days: int,
    happened: Bools,
    probability: Floats,
    customer: Index,
    resamples: int = 200,
) -> Quality:
    """Measure one term; arrays have shape (n_rows,)."""
    area = interval_by_customer(auc_of(happened, probability), customer, resamples)
    return Quality(
        term_days=term_days,
        rows=happened.size,
        events=int(happened.sum()),
        auc=area,
        brier=float(brier_score_loss(happened, probability)),
        log_loss=float(log_loss(happened, probability, labels=[False, True])),
        predicted_rate=float(probability.mean()),
        observed_rate=float(happened.mean()),
    )
