"""Measures a fitted curve out of time: on rows from its cut-off on, with outcomes known since.

Beside it stand, on the same rows, a scorecard and the credit manager's rule of thumb, both fitted
with what was known at the same cut-off: the curve must beat them, and the report says by how much.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from models.curve import TermCurve
from models.metrics import (
    Band,
    Interval,
    Null,
    Quality,
    auc_of,
    bands,
    calibration_error,
    calibration_null,
    drawn_together,
    gains,
    interval,
    quality,
)
from training.dataset import LATE, Dataset
from training.payment_dates import PaymentDates, measure_payment_dates
from training.rule_of_thumb import learn_rule
from training.scorecard import MOST_ROWS, learn_scorecard
from training.segments import Segment

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Index = NDArray[np.int64]
HEADLINE_DAYS = {"late": 30, "default": 365}
CHUNK = 20_000  # rows asked at once, as in the curve: fresh memory for all would be slow
GAINS_AT = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)


def out_of_time(
    curve: TermCurve,
    dataset: Dataset,
    rows: Index,
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


# ------------------------------------------------------------------------------ the curve's answers


class Challenger(Protocol):
    """What answers the same question at one term in a simpler way."""

    def score(self, X: Floats) -> Floats:
        """Rank rows: higher is riskier."""

    def probability(self, X: Floats) -> Floats:
        """Probability of the event."""


class Said(NamedTuple):
    """What one of them said of each row; arrays of shape (n_rows,)."""

    score: Floats
    probability: Floats


class Answers(NamedTuple):
    """What the curve and its challengers said at one term, and what happened.

    Attributes
    ----------
    row : ndarray of int64, shape (n_rows,)
        Rows of the dataset with a known outcome.
    customer : ndarray of int64
    happened : ndarray of bool
    curve : Said
    challengers : dict of str to Said
        ``scorecard`` and ``rule``; none where no outcome at the term was known at the cut-off.
    """

    row: Index
    customer: Index
    happened: Bools
    curve: Said
    challengers: dict[str, Said]

    def of(self, chosen: Index) -> Answers:
        """Keep the answers at the `chosen` places."""
        return Answers(
            self.row[chosen],
            self.customer[chosen],
            self.happened[chosen],
            _at(self.curve, chosen),
            {name: _at(said, chosen) for name, said in self.challengers.items()},
        )


def _at(said: Said, chosen: Index) -> Said:
    return Said(said.score[chosen], said.probability[chosen])


def challengers(
    dataset: Dataset, term_days: int, cutoff: int, most_rows: int | None = None
) -> dict[str, Challenger]:
    """Fit the scorecard and the rule with what was known before `cutoff`.

    Parameters
    ----------
    dataset : Dataset
    term_days : int
    cutoff : int
        Exclusive date.
    most_rows : int, optional
        Of more rows with a known outcome both learn every second, third…; by default the scorecard
        of 100,000, the rule of all.

    Returns
    -------
    dict
        ``scorecard`` and ``rule``; empty where no outcome at the term was known.
    """
    known = dataset.known_at(term_days, cutoff)
    if known.row.size == 0:
        return {}
    known = known if most_rows is None else known.at_most(most_rows)
    return {
        "scorecard": learn_scorecard(dataset, term_days, known.at_most(MOST_ROWS)),
        "rule": learn_rule(dataset, known),
    }


def ask_all(
    curve: TermCurve,
    beside: Mapping[str, Challenger],
    dataset: Dataset,
    rows: Index,
    term_days: int,
    end: int,
) -> Answers:
    """Ask the curve and its challengers about rows at one term.

    Parameters
    ----------
    curve : TermCurve
    beside : mapping of str to Challenger
        Fitted for this term.
    dataset : Dataset
    rows : ndarray of int64
    term_days : int
    end : int
        Exclusive date: rows whose outcome is not known before it are left out.
    """
    asked = dataset.ask(rows, np.full(rows.size, term_days, np.int32), end)
    chunks = range(0, max(1, asked.row.size), CHUNK)
    parts = [_said(curve, beside, dataset, asked.row[i : i + CHUNK], term_days) for i in chunks]
    probability = np.concatenate([of_curve for of_curve, _ in parts])
    return Answers(
        asked.row,
        dataset.customer[asked.row],
        asked.happened,
        Said(probability, probability),
        {name: joined([said[name] for _, said in parts]) for name in beside},
    )


def _said(
    curve: TermCurve,
    beside: Mapping[str, Challenger],
    dataset: Dataset,
    rows: Index,
    term_days: int,
) -> tuple[Floats, dict[str, Said]]:
    X = dataset.X[rows]
    probability = curve.probability(X, np.full(rows.size, term_days, np.int32))
    return probability, {
        name: Said(one.score(X), one.probability(X)) for name, one in beside.items()
    }


def joined(said: Sequence[Said]) -> Said:
    """Put what was said of several rows together."""
    return Said(*(np.concatenate(column) for column in zip(*said, strict=True)))


# --------------------------------------------------------------------------------- what is measured


@dataclass(frozen=True)
class Challenged:
    """A challenger on the rows of the curve.

    Attributes
    ----------
    auc : Interval
    gap : Interval
        The curve's AUC less the challenger's, on the same draws of customers.
    brier : float
    """

    auc: Interval
    gap: Interval
    brier: float


@dataclass(frozen=True)
class Compared:
    """The curve's quality on one set of rows at one term, and its challengers on the same."""

    quality: Quality
    challengers: dict[str, Challenged]


@dataclass(frozen=True)
class Measured:
    """The curve on one set of rows at one term.

    Attributes
    ----------
    customers : int
    quality : Quality
    calibration_error : float
        Expected calibration error over `bands`.
    calibration_null : Null
        That of a perfectly calibrated model on the same rows.
    bands : list of Band
        Calibration table: rows with neighbouring probabilities, said and seen.
    gains : dict of str to float
        Share of the events among the riskiest 1 %, 2 %… of the rows.
    challengers : dict of str to Challenged
    """

    customers: int
    quality: Quality
    calibration_error: float
    calibration_null: Null
    bands: list[Band]
    gains: dict[str, float]
    challengers: dict[str, Challenged]


def compare(answers: Answers, term_days: int, resamples: int = 200) -> Compared:
    """Measure the curve, and its challengers beside it, on rows with known outcomes.

    Parameters
    ----------
    answers : Answers
        At least one row.
    term_days : int
    resamples : int
        Draws of customers for the intervals.
    """
    happened, customer, said = answers.happened, answers.customer, answers.curve.probability
    scores = [said, *(challenger.score for challenger in answers.challengers.values())]
    areas = [auc_of(happened, score) for score in scores]
    own, *others = drawn_together(areas, customer, resamples)
    beside = {}
    for (name, challenger), theirs in zip(answers.challengers.items(), others, strict=True):
        brier = float(np.square(challenger.probability - happened).mean())
        beside[name] = Challenged(interval(theirs), interval(own - theirs), brier)
    without_interval = quality(term_days, happened, said, customer, resamples=0)
    return Compared(without_interval._replace(auc=interval(own)), beside)


def measure(answers: Answers, term_days: int, resamples: int = 200) -> Measured:
    """Compare as :func:`compare` does, and look at the calibration and the gains."""
    happened, said = answers.happened, answers.curve.probability
    compared = compare(answers, term_days, resamples)
    captured = gains(happened, said, GAINS_AT).tolist()
    return Measured(
        customers=np.unique(answers.customer).size,
        quality=compared.quality,
        calibration_error=calibration_error(happened, said),
        calibration_null=calibration_null(said),
        bands=bands(happened, said),
        gains={f"{share:g}": value for share, value in zip(GAINS_AT, captured, strict=True)},
        challengers=compared.challengers,
    )


@dataclass(frozen=True)
class Evaluation:
    """A fitted curve, measured out of time.

    Attributes
    ----------
    question : str
    cutoff, end : int
        Exclusive dates: what it learned was known before the first, outcomes before the second.
    rows : int
        Rows it was asked about, known outcome or not.
    terms : dict of int to Measured
        By reported term, where some outcome is known.
    headline_days : int
        Term of the segments.
    segments : dict of str to dict of str to Measured
        By segment and label; labels without a known outcome are left out.
    payment_dates : PaymentDates or None
        Of the late curve only.
    answers : dict of int to Answers
        What was said of each row, by reported term: for pictures, not in :meth:`as_dict`.
    """

    question: str
    cutoff: int
    end: int
    rows: int
    terms: dict[int, Measured]
    headline_days: int
    segments: dict[str, dict[str, Measured]]
    payment_dates: PaymentDates | None
    answers: dict[int, Answers] = field(default_factory=dict, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Give plain types for JSON: dates as text, keys as text, null for what has no figure."""
        dates = {name: str(np.datetime64(getattr(self, name), "D")) for name in ("cutoff", "end")}
        plain: dict[str, Any] = _plain(dataclasses.replace(self, answers={})) | dates
        del plain["answers"]
        return plain


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {one.name: _plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def evaluate(
    curve: TermCurve,
    dataset: Dataset,
    cutoff: int,
    end: int,
    segments: Mapping[str, Segment] | None = None,
    *,
    rows: Index | None = None,
    headline_days: int | None = None,
    resamples: int = 200,
    progress: Callable[[str], None] = lambda stage: None,
) -> Evaluation:
    """Measure a curve and its challengers on what came after its cut-off.

    Parameters
    ----------
    curve : TermCurve
        Fitted with what was known before `cutoff`.
    dataset : Dataset
    cutoff : int
        The challengers learn what was known before it.
    end : int
        Exclusive date until which outcomes are known.
    segments : mapping of str to Segment, optional
        From :func:`training.segments.segments`.
    rows : ndarray of int64, optional
        Rows to ask about, none before `cutoff`; by default all from it on.
    headline_days : int, optional
        Term of the segments; by default 30 days late, default within 365.
    resamples : int
        Draws of customers for the intervals.
    progress : callable
        Told each stage.

    Returns
    -------
    Evaluation
    """
    question = dataset.question
    rows = dataset.between(cutoff, end) if rows is None else rows
    headline = HEADLINE_DAYS[question.name] if headline_days is None else headline_days
    terms: dict[int, Measured] = {}
    kept: dict[int, Answers] = {}
    by_segment: dict[str, dict[str, Measured]] = {}
    for term_days in sorted({*question.reported, headline}):
        progress(f"measure at {term_days} days")
        beside = challengers(dataset, term_days, cutoff)
        answers = ask_all(curve, beside, dataset, rows, term_days, end)
        if answers.row.size == 0:
            continue
        if term_days in question.reported:
            kept[term_days] = answers
            terms[term_days] = measure(answers, term_days, resamples)
        if term_days == headline:
            by_segment = {
                name: _by_label(answers, segment, term_days, resamples)
                for name, segment in (segments or {}).items()
            }
    payment_dates = None
    if question is LATE:
        progress("measure payment dates")
        payment_dates = measure_payment_dates(curve, dataset, rows, end)
    return Evaluation(
        question.name, cutoff, end, rows.size, terms, headline, by_segment, payment_dates, kept
    )


def _by_label(
    answers: Answers, segment: Segment, term_days: int, resamples: int
) -> dict[str, Measured]:
    code = segment.code[answers.row]
    return {
        segment.labels[place]: measure(
            answers.of(np.flatnonzero(code == place)), term_days, resamples
        )
        for place in np.unique(code)
    }
