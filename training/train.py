"""Trains both curves on a ledger, measures them out of time and registers them as challengers.

The curve that is registered is the one that was measured: fitted with what was known at the
cut-off, then asked about the time since.
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import numpy as np

from features.history import History
from features.ledger import LedgerError
from models import bundle as bundles
from models.metrics import Quality
from models.targets import DEFAULT_DEFINITIONS, find_defaults
from training.dataset import DEFAULT, LATE, Dataset, default_dataset, late_dataset
from training.evaluate import out_of_time
from training.fit import BOOSTER_PARAMETERS, Fit, Settings, fit
from training.tracking import Tracking, Version

FEWEST_DEFAULTS = 50
LATE_TEST_DAYS = 90 + LATE.reported[-1]
DEFAULT_TEST_DAYS = DEFAULT.longest + 31  # a month of customers asked about a year
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Books:
    """The facts to train on, and how to name them.

    Attributes
    ----------
    id : str
        The store's identifier of the ledger: its bundles never score another one.
    data_sha256 : str
        Hash of every fact.
    history : History
    end : int
        Exclusive date until which the ledger is complete, in days.
    """

    id: str
    data_sha256: str
    history: History
    end: int


@dataclass(frozen=True)
class Trained:
    """A registered curve and how it did."""

    version: Version
    fit: Fit
    measured: list[Quality]


@dataclass(frozen=True)
class Abstained:
    """A curve that the ledger cannot teach, and why."""

    question: str
    reason: str


def train_late(
    books: Books,
    bundle_folder: Path,
    tracking: Tracking,
    cutoff: int | None = None,
    settings: Settings | None = None,
    progress: Progress = lambda stage: None,
) -> Trained:
    """Train, measure and register the late-payment curve.

    Parameters
    ----------
    books : Books
    bundle_folder : Path
        Where the bundle is written.
    tracking : Tracking
    cutoff : int, optional
        Exclusive date; by default five months before the end, so that the longest reported term
        is measured on the invoices that fell due in the three months after it.
    settings : Settings, optional
    progress : callable
        Told each stage.

    Raises
    ------
    LedgerError
        If the ledger holds too little time before the cut-off, or ends before it.
    """
    cutoff = _checked(cutoff, books, LATE_TEST_DAYS)
    progress("late: features")
    dataset = late_dataset(books.history)
    return _train(dataset, books, bundle_folder, tracking, cutoff, settings, {}, progress)


def train_default(
    books: Books,
    bundle_folder: Path,
    tracking: Tracking,
    cutoff: int | None = None,
    settings: Settings | None = None,
    definition: str = "bureau",
    progress: Progress = lambda stage: None,
) -> Trained | Abstained:
    """Train, measure and register the default curve, or abstain.

    Parameters are those of :func:`train_late`; `definition` names a preset of
    ``DEFAULT_DEFINITIONS``. The cut-off lies by default a year and a month before the end.

    Returns
    -------
    Trained or Abstained
        Abstained where fewer than 50 defaults are known before the cut-off: a curve learned from a
        handful of failures would be invented.
    """
    cutoff = _checked(cutoff, books, DEFAULT_TEST_DAYS)
    chosen = DEFAULT_DEFINITIONS[definition]
    spells = find_defaults(books.history, chosen)
    matured = int((spells.began_on < cutoff).sum())
    if matured < FEWEST_DEFAULTS:
        reason = (
            f"{matured} matured defaults before the cut-off {as_date(cutoff)}, "
            f"at least {FEWEST_DEFAULTS} are needed"
        )
        tracking.abstain(
            DEFAULT.name, {"reason": reason, "events": matured, "floor": FEWEST_DEFAULTS}
        )
        return Abstained(DEFAULT.name, reason)
    progress("default: features")
    dataset = default_dataset(books.history, chosen, books.end)
    return _train(
        dataset,
        books,
        bundle_folder,
        tracking,
        cutoff,
        settings,
        {"default_definition": asdict(chosen)},
        progress,
    )


def _train(
    dataset: Dataset,
    books: Books,
    bundle_folder: Path,
    tracking: Tracking,
    cutoff: int,
    settings: Settings | None,
    definition: dict[str, Any],
    progress: Progress,
) -> Trained:
    name = dataset.question.name
    settings = settings or Settings()
    _require_history(dataset, cutoff)
    fitted = fit(dataset, cutoff, settings, lambda stage: progress(f"{name}: {stage}"))
    progress(f"{name}: measure")
    measured = out_of_time(fitted.curve, dataset, dataset.between(cutoff, books.end), books.end)
    card = {**_card(dataset, books, fitted, measured), **definition}
    progress(f"{name}: register")
    sha256 = bundles.write(bundle_folder, fitted.curve, _reference(dataset, cutoff), card)
    version = tracking.record(
        name,
        _parameters(settings, fitted, books),
        _metrics(measured),
        bundle_folder / sha256,
        {"features.json": json.dumps(list(dataset.features), indent=1)},
    )
    return Trained(version, fitted, measured)


def _checked(cutoff: int | None, books: Books, test_days: int) -> int:
    """Return the cut-off, by default `test_days` before the end of the ledger."""
    if cutoff is None:
        return books.end - test_days
    if cutoff > books.end:
        raise LedgerError(
            f"the cut-off {as_date(cutoff)} lies after the ledger's end {as_date(books.end)}: "
            "what is paid until then is not known"
        )
    return cutoff


def _require_history(dataset: Dataset, cutoff: int) -> None:
    rows = dataset.known_before(cutoff).size
    if rows < 1_000:
        raise LedgerError(
            f"{dataset.question.name} curve: {rows} rows before the cut-off {as_date(cutoff)}, "
            "at least 1,000 are needed; import more history or choose a later cut-off"
        )


def _card(dataset: Dataset, books: Books, fitted: Fit, measured: list[Quality]) -> dict[str, Any]:
    return {
        "question": dataset.question.name,
        "terms_days": [dataset.question.shortest, dataset.question.longest],
        "ledger_id": books.id,
        "data_sha256": books.data_sha256,
        "trained_from": as_date(fitted.trained_from),
        "cutoff": as_date(fitted.cutoff),
        "measured_until": as_date(books.end),
        "rounds": fitted.rounds,
        "libraries": {name: installed(name) for name in ("lightgbm", "numpy", "scikit-learn")},
        "python": platform.python_version(),
        "metrics": [{**quality._asdict(), "auc": _auc(quality)} for quality in measured],
    }


def _auc(quality: Quality) -> dict[str, float | None]:
    """Return the AUC for the card; null where nothing happened, or nothing else."""
    figures = quality.auc._asdict()
    return {name: None if math.isnan(value) else value for name, value in figures.items()}


def _reference(dataset: Dataset, cutoff: int) -> dict[str, Any]:
    """Medians of the year before the cut-off, what reasons compare with; null when all missing."""
    rows = dataset.known_before(cutoff)
    X = dataset.X[rows[dataset.as_of[rows] >= cutoff - 365]]
    known = ~np.isnan(X).all(axis=0)
    medians = dict.fromkeys(dataset.features)
    for column in np.flatnonzero(known):
        medians[dataset.features[column]] = float(np.nanmedian(X[:, column]))
    return {"median": medians}


def _parameters(settings: Settings, fitted: Fit, books: Books) -> dict[str, Any]:
    return {
        **BOOSTER_PARAMETERS,
        **settings.parameters,
        "seed": settings.seed,
        "pairs_per_row": settings.pairs_per_row,
        "most_rounds": settings.most_rounds,
        "patience": settings.patience,
        "calibration_rate": settings.calibration_rate,
        "rounds": fitted.rounds,
        "training_pairs": fitted.training_pairs,
        "cutoff": as_date(fitted.cutoff),
        "ledger_id": books.id,
        "data_sha256": books.data_sha256,
    }


def _metrics(measured: list[Quality]) -> dict[str, float]:
    return {
        f"{figure}_{quality.term_days}d": value
        for quality in measured
        for figure, value in (
            ("auc", quality.auc.value),
            ("auc_low", quality.auc.low),
            ("auc_high", quality.auc.high),
            ("brier", quality.brier),
            ("log_loss", quality.log_loss),
            ("predicted_rate", quality.predicted_rate),
            ("observed_rate", quality.observed_rate),
        )
        if not math.isnan(value)
    }


def as_date(day: int) -> str:
    """Write a day number as an ISO date.

    >>> as_date(18262)
    '2020-01-01'
    """
    return str(np.datetime64(day, "D"))
