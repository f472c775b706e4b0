"""Fits a term curve: one booster over dense random terms, then an affine calibration out of time.

The rows before the cut-off are split in time. The booster learns on the earlier ones, with what was
known then; the later ones stop it and calibrate it; it is then refitted on all of them with the
same number of rounds. Everything it sees was known before the cut-off.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from features.dictionary import dictionary
from features.ledger import LedgerError
from models.curve import NOMINAL_TAIL, Calibration, TermCurve
from training.dataset import LATE, Dataset, Pairs, Question
from training.payment_dates import calibrate_tail

Floats = NDArray[np.float64]
Index = NDArray[np.int64]
TERM = "term_days"
CHUNK = 10_000  # pairs copied at once
MOST_CALIBRATED = 200_000
BOOSTER_PARAMETERS: Mapping[str, Any] = MappingProxyType(
    {
        "objective": "binary",
        "learning_rate": 0.04,
        "num_leaves": 31,
        "min_data_in_leaf": 200,  # pairs, of which a row has up to 16
        "lambda_l2": 1.0,  # no feature sampling: a tree without the term learns nothing of it
        "monotone_constraints_method": "basic",  # the finer methods are not always monotone
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
)


@dataclass(frozen=True)
class Settings:
    """How to fit.

    Attributes
    ----------
    pairs_per_row, fewest_pairs_per_row : int
        Random terms drawn for each row; of many rows fewer, but not fewer than the second.
    most_pairs : int
        Pairs at most. Of more rows than it allows with the fewest terms each, that many are drawn
        at random.
    most_rounds, patience : int
        Trees at most, and how many without progress end the fit.
    calibration_rate : float
        Share of the rows, the latest, that stop and calibrate the booster.
    seed : int
    threads : int
        The same booster comes out at any number.
    parameters : mapping
        LightGBM parameters that differ from ``BOOSTER_PARAMETERS``.
    """

    pairs_per_row: int = 16
    fewest_pairs_per_row: int = 6
    most_pairs: int = 800_000
    most_rounds: int = 600
    patience: int = 30
    calibration_rate: float = 0.25
    seed: int = 7
    threads: int = 2
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Fit:
    """A fitted curve and how it came about."""

    curve: TermCurve
    rounds: int
    training_pairs: int
    calibration_pairs: int
    trained_from: int
    cutoff: int


def fit(
    dataset: Dataset,
    cutoff: int,
    settings: Settings | None = None,
    progress: Callable[[str], None] = lambda stage: None,
    boosting: Callable[..., lgb.Booster] | None = None,
) -> Fit:
    """Fit a curve with what was known before `cutoff`.

    Parameters
    ----------
    dataset : Dataset
        Rows; those at or after `cutoff`, or only known since, are not used.
    cutoff : int
        Exclusive date.
    settings : Settings, optional
    progress : callable
        Told the name of each stage.
    boosting : callable, optional
        What boosts, in place of :func:`boost`: :func:`training.cluster.cluster` gives one.

    Returns
    -------
    Fit

    Raises
    ------
    LedgerError
        If too little time lies before the cut-off for any outcome to be known.
    """
    settings, boosting = settings or Settings(), boosting or boost
    rng = np.random.default_rng(settings.seed)
    progress("learn")
    stages = draw_stages(dataset, cutoff, settings, rng)
    draft = boosting(dataset, stages.learn, settings, settings.most_rounds, stages.held_out)
    rounds = max(draft.best_iteration, 1)

    progress("calibrate")
    some = thinned(stages.held_out)
    calibration = calibrate(dataset.question, _margins(draft, dataset, some), some)
    first = _curve(draft, dataset, calibration, settings)
    held_out = np.unique(stages.held_out.row)
    is_late = dataset.question is LATE
    tail = calibrate_tail(first, dataset, held_out, cutoff) if is_late else NOMINAL_TAIL

    progress("refit")
    rows = dataset.known_before(cutoff)
    everything = _draw(dataset, rows, cutoff, settings, rng)
    booster = boosting(dataset, everything, settings, rounds)
    final = _loaded(booster.model_to_string(num_iteration=rounds))
    return Fit(
        curve=replace(_curve(final, dataset, calibration, settings), tail=tail),
        rounds=rounds,
        training_pairs=everything.row.size,
        calibration_pairs=some.row.size,
        trained_from=int(dataset.as_of[rows].min()),
        cutoff=cutoff,
    )


def _curve(
    booster: lgb.Booster, dataset: Dataset, calibration: Calibration, settings: Settings
) -> TermCurve:
    question = dataset.question
    return TermCurve(
        question=question.name,
        booster=booster,
        features=dataset.features,
        calibration=calibration,
        shortest=question.shortest,
        longest=question.longest,
        threads=settings.threads,
    )


class Stages(NamedTuple):
    """Pairs to learn from, and later ones that stop and calibrate what was learned."""

    learn: Pairs
    held_out: Pairs


def draw_stages(
    dataset: Dataset, cutoff: int, settings: Settings, rng: np.random.Generator
) -> Stages:
    """Split the rows before `cutoff` in time and pair them with terms.

    Raises
    ------
    LedgerError
        If too little time lies before the cut-off for any outcome to be known.
    """
    rows = dataset.known_before(cutoff)
    if rows.size == 0:
        raise LedgerError(f"{dataset.question.name} curve: nothing is known before the cut-off")
    split = int(np.quantile(dataset.as_of[rows], 1 - settings.calibration_rate))
    earlier, later = rows[dataset.as_of[rows] < split], rows[dataset.as_of[rows] >= split]
    learn = _draw(dataset, earlier, split, settings, rng)
    held_out = _draw(dataset, later, cutoff, settings, rng)
    if learn.row.size == 0 or held_out.row.size == 0:
        raise LedgerError(
            f"{dataset.question.name} curve: {learn.row.size} outcomes are known to learn from and "
            f"{held_out.row.size} to calibrate with; import more history or choose a later cut-off"
        )
    return Stages(learn, held_out)


def _draw(
    dataset: Dataset, rows: Index, cutoff: int, settings: Settings, rng: np.random.Generator
) -> Pairs:
    """Draw no more pairs than `most_pairs`: where rows are many fewer terms each, then fewer rows.

    A small ledger is worth asking more often of each row; a large one has rows enough.
    """
    affordable = settings.most_pairs // max(rows.size, 1)
    per_row = min(settings.pairs_per_row, max(affordable, settings.fewest_pairs_per_row))
    most_rows = settings.most_pairs // per_row
    if rows.size > most_rows:
        rows = np.sort(rng.choice(rows, most_rows, replace=False))
    return dataset.draw(rows, per_row, cutoff, rng)


def monotone_directions(question: Question, features: tuple[str, ...]) -> list[int]:
    """Directions of the features, from the dictionary, and of the term."""
    return [*(dictionary()[name].direction for name in features), question.direction]


def booster_parameters(dataset: Dataset, settings: Settings) -> dict[str, Any]:
    """Everything LightGBM is told."""
    return {
        **BOOSTER_PARAMETERS,
        "monotone_constraints": monotone_directions(dataset.question, dataset.features),
        "seed": settings.seed,
        "num_threads": settings.threads,
        **settings.parameters,
    }


def boost(
    dataset: Dataset,
    pairs: Pairs,
    settings: Settings,
    rounds: int,
    held_out: Pairs | None = None,
    callbacks: Sequence[Callable[..., Any]] = (),
) -> lgb.Booster:
    """Boost for `rounds`, or until the log-loss of `held_out` falls no more."""
    training = _lgb_data(dataset, pairs)
    parameters = booster_parameters(dataset, settings)
    if held_out is None:
        return lgb.train(parameters, training, num_boost_round=rounds)
    stop = lgb.early_stopping(settings.patience, verbose=False)
    return lgb.train(
        parameters,
        training,
        num_boost_round=rounds,
        valid_sets=[_lgb_data(dataset, held_out, training)],
        callbacks=[stop, *callbacks],
    )


def _loaded(text: str) -> lgb.Booster:
    """Load a booster's text without the number of threads: it changes no tree, nor the identity."""
    return lgb.Booster(model_str=re.sub(r"\[num_threads: \d+\]", "[num_threads: 0]", text))


def _lgb_data(dataset: Dataset, pairs: Pairs, reference: lgb.Dataset | None = None) -> lgb.Dataset:
    return lgb.Dataset(
        _inputs(dataset, pairs),
        label=pairs.happened,
        weight=pairs.weight,
        feature_name=[*dataset.features, TERM],
        reference=reference,
    )


def _inputs(dataset: Dataset, pairs: Pairs) -> Floats:
    """Put each pair's features and term in a row, written once."""
    inputs = np.empty((pairs.row.size, dataset.X.shape[1] + 1))
    for first in range(0, pairs.row.size, CHUNK):
        some = slice(first, first + CHUNK)
        inputs[some, :-1] = dataset.X[pairs.row[some]]
    inputs[:, -1] = pairs.term_days
    return inputs


def thinned(pairs: Pairs) -> Pairs:
    """Keep about 200,000 pairs, each standing for those left out: more move nothing that counts."""
    step = max(1, round(pairs.row.size / MOST_CALIBRATED))
    row, term_days, happened, weight = pairs
    return Pairs(row[::step], term_days[::step], happened[::step], weight[::step] * step)


def _margins(booster: lgb.Booster, dataset: Dataset, pairs: Pairs) -> Floats:
    return np.asarray(booster.predict(_inputs(dataset, pairs), raw_score=True))


def calibrate(
    question: Question, margins: Floats, pairs: Pairs, smoothness: float = 50.0
) -> Calibration:
    """Fit ``a·margin + b(t)`` by penalised maximum likelihood.

    Parameters
    ----------
    question : Question
        Gives the knots of ``b`` and the way it may go.
    margins : ndarray of float64, shape (n_pairs,)
        Of a booster that did not learn from these pairs.
    pairs : Pairs
    smoothness : float
        Weight, in rows, of the pull of ``b`` towards 0 and of ``a`` towards 1: where few
        outcomes are known yet, as at long terms, the curve stays as the booster drew it.

    Returns
    -------
    Calibration
    """
    knots = np.array(question.knots, float)
    basis = np.column_stack(
        [np.interp(pairs.term_days, knots, unit) for unit in np.eye(knots.size)]
    )
    # b = first offset, then steps that all go the curve's way
    signs = np.full(knots.size, float(question.direction))
    signs[0] = 1.0
    rises = np.tril(np.ones((knots.size, knots.size))) * signs
    design = np.column_stack([margins, basis @ rises])
    target, weight = pairs.happened.astype(float), pairs.weight
    neutral = np.zeros(knots.size + 1)
    neutral[0] = 1.0

    def loss(theta: Floats) -> tuple[float, Floats]:
        log_odds = design @ theta
        likelihood = weight @ (np.logaddexp(0, log_odds) - target * log_odds)
        away = theta - neutral
        gradient = design.T @ (weight * (expit(log_odds) - target)) + 2 * smoothness * away
        return float(likelihood + smoothness * away @ away), gradient

    bounds = [(0.05, None), (None, None), *[(0.0, None)] * (knots.size - 1)]
    theta = minimize(loss, neutral, jac=True, method="L-BFGS-B", bounds=bounds).x
    offsets = np.cumsum(signs * theta[1:])  # monotone to the last bit, as a product may not be
    return Calibration(float(theta[0]), question.knots, tuple(offsets.tolist()))
