"""Trains both curves on a ledger, measures them out of time and registers them as challengers.

The curve that is registered is the one that was measured: fitted with what was known at the
cut-off, then asked about the time since. Beside it stand a scorecard and the rule of thumb on the
same rows, the same fit repeated at earlier cut-offs, and the pictures that a reviewer asks for.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import lightgbm as lgb
import pandas as pd

from features.history import History
from features.ledger import LedgerError
from models import bundle as bundles
from models.bundle import Bundle
from models.metrics import Interval, Quality
from models.targets import DEFAULT_DEFINITIONS, find_defaults
from training import gate, gate_file, model_card, plots
from training.card import as_date, card, figures, parameters, steadiness_figures
from training.cures import cures
from training.dataset import DEFAULT, LATE, Dataset, default_dataset, late_dataset
from training.evaluate import Evaluation, evaluate
from training.explained import explained
from training.fit import Fit, Settings, fit
from training.reference import reference
from training.segments import segments
from training.tracking import CHAMPION, Tracking, Trial, Version
from training.walk_forward import POOLED, most_cutoffs, walk_forward

FEWEST_DEFAULTS = 50
FEWEST_ROWS = 1_000
LATE_TEST_DAYS = 90 + LATE.reported[-1]
DEFAULT_TEST_DAYS = DEFAULT.longest + 31  # a month of customers asked about a year
WALK_PAIRS = 40_000  # of a fit at an earlier cut-off: there are many
WALK_PAIRS_PER_ROW = 2  # at least: as good as twice the pairs of six a row, of fewer rows
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
class Plan:
    """What a training does.

    Attributes
    ----------
    settings : Settings
        Of the fit; where the search starts.
    walks : int
        Earlier cut-offs at which the fit is repeated; fewer where the ledger is short.
    trials : int
        Of the search of parameters; 0 searches nothing.
    search_seconds : float
        Of the search, at most.
    resamples : int
        Draws of customers for the intervals.
    owner : str
        Who answers for the models: on the card, not in the bundle.
    boosting : callable, optional
        What boosts the fit, as :func:`training.cluster.cluster` gives; searches and earlier
        cut-offs, smaller, stay on this machine.
    """

    settings: Settings = field(default_factory=Settings)
    walks: int = 6
    trials: int = 0
    search_seconds: float = math.inf
    resamples: int = 200
    owner: str = "not named"
    boosting: Callable[..., lgb.Booster] | None = None


@dataclass(frozen=True)
class Trained:
    """A registered curve and how it did.

    Attributes
    ----------
    version : Version
    fit : Fit
    evaluation : Evaluation
    walked : DataFrame or None
        See :func:`training.walk_forward.walk_forward`; ``None`` where no earlier cut-off was asked
        for or the ledger is too short.
    """

    version: Version
    fit: Fit
    evaluation: Evaluation
    walked: pd.DataFrame | None

    @property
    def measured(self) -> list[Quality]:
        """The curve at each reported term."""
        return [one.quality for one in self.evaluation.terms.values()]


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
    plan: Plan | None = None,
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
    plan : Plan, optional
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
    return _train(dataset, books, bundle_folder, tracking, cutoff, plan or Plan(), {}, progress)


def train_default(
    books: Books,
    bundle_folder: Path,
    tracking: Tracking,
    cutoff: int | None = None,
    plan: Plan | None = None,
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
    defined = {"default_definition": asdict(chosen)}
    cured = cures(books.history, spells, cutoff).as_dict()
    return _train(
        dataset,
        books,
        bundle_folder,
        tracking,
        cutoff,
        plan or Plan(),
        defined,
        progress,
        {"cures": cured},
    )


def _train(
    dataset: Dataset,
    books: Books,
    bundle_folder: Path,
    tracking: Tracking,
    cutoff: int,
    plan: Plan,
    definition: dict[str, Any],
    progress: Progress,
    measured_before: dict[str, Any] | None = None,
) -> Trained:
    name = dataset.question.name

    def stage(said: str) -> None:
        progress(f"{name}: {said}")

    _require_history(dataset, cutoff)
    settings, tags = plan.settings, {}
    if plan.trials:
        from training import tune  # Optuna takes a second to import

        found = tune.search(dataset, cutoff, settings, plan.trials, plan.search_seconds, stage)
        tried = [Trial(trial.parameters, trial.value, trial.state) for trial in found.trials]
        settings, tags = found.settings, {"search_run_id": tracking.search(name, tried)}
    fitted = fit(dataset, cutoff, settings, stage, plan.boosting)
    kinds = segments(dataset, books.history, cutoff)
    evaluation = evaluate(
        fitted.curve, dataset, cutoff, books.end, kinds, resamples=plan.resamples, progress=stage
    )
    walked = _walked(dataset, books.end, settings, plan, stage)
    stage("what moves it")
    moves = explained(fitted.curve, dataset, books.history, cutoff, books.end)
    measured = _figures_of(fitted, dataset, evaluation, walked) | {"explained": moves}
    stage("register")
    kept = reference(dataset, fitted.curve, cutoff, books.end) | (measured_before or {})
    said = {**card(dataset, books.id, books.data_sha256, fitted, evaluation), **definition}
    sha256 = bundles.write(bundle_folder, fitted.curve, kept, said)
    before = _champion(bundle_folder, tracking, name)
    papers = _papers(said | {"owner": plan.owner, "bundle_sha256": sha256}, measured, before)
    version = tracking.record(
        name,
        parameters(settings, fitted, books.id, books.data_sha256),
        figures(evaluation) | steadiness_figures(moves),
        bundle_folder / sha256,
        {
            "features.json": json.dumps(list(dataset.features), indent=1),
            **papers,
            **_pictures(fitted, dataset, evaluation, walked),
        },
        tables={} if walked is None else {"walk_forward": _columns(walked)},
        tags={**tags, "data_sha256": books.data_sha256, "owner": plan.owner},
    )
    return Trained(version, fitted, evaluation, walked)


def _walked(
    dataset: Dataset, end: int, settings: Settings, plan: Plan, stage: Progress
) -> pd.DataFrame | None:
    """Repeat the fit at earlier cut-offs, as many as the ledger has room for."""
    walks = min(plan.walks, most_cutoffs(dataset, end))
    if walks == 0:
        return None
    lighter = replace(
        settings,
        most_pairs=min(settings.most_pairs, WALK_PAIRS),
        fewest_pairs_per_row=min(settings.fewest_pairs_per_row, WALK_PAIRS_PER_ROW),
    )
    return walk_forward(dataset, end, walks, lighter, stage, plan.resamples)


def _champion(folder: Path, tracking: Tracking, question: str) -> Bundle | None:
    version = tracking.find(question, CHAMPION)
    return None if version is None else bundles.read(folder, version.bundle_sha256)


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


def _figures_of(
    fitted: Fit, dataset: Dataset, evaluation: Evaluation, walked: pd.DataFrame | None
) -> dict[str, Any]:
    """Put all that was measured together, ready for JSON."""
    rules = gate_file.load().calibrated
    grades = gate.graded(fitted.curve, dataset, fitted.cutoff, evaluation.end, rules)
    steps = [] if walked is None else json.loads(walked.to_json(orient="records"))
    return evaluation.as_dict() | {
        "grades": [grade._asdict() for grade in grades],
        "walk_forward": steps,
    }


def _papers(
    named: dict[str, Any], measured: dict[str, Any], before: Bundle | None
) -> dict[str, str]:
    """Write what a reviewer reads: all the figures, and the model card."""
    last = None if before is None else before.card | {"bundle_sha256": before.sha256}
    return {
        "evaluation.json": json.dumps(measured, indent=1, sort_keys=True),
        "model_card.html": model_card.render(named, measured, last),
    }


def _pictures(
    fitted: Fit, dataset: Dataset, evaluation: Evaluation, walked: pd.DataFrame | None
) -> dict[str, bytes]:
    rows = dataset.between(fitted.cutoff, evaluation.end)
    asked = [
        plots.Asked(term_days, answers.curve.probability, answers.happened)
        for term_days, answers in evaluation.answers.items()
    ]
    pictures = plots.of_fit(fitted.curve, dataset, rows, asked)
    if walked is not None:
        name = dataset.question.name
        steps = walked[walked["cutoff"] != POOLED]
        cutoffs = sorted(set(steps["cutoff"]))
        auc = {
            term: _auc_at(steps[steps["term_days"] == term], cutoffs)
            for term in dataset.question.reported
        }
        days = [date.fromisoformat(day) for day in cutoffs]
        pictures["plots/walk_forward.png"] = plots.walk_forward(name, days, auc)
    return pictures


def _auc_at(steps: pd.DataFrame, cutoffs: list[str]) -> list[Interval]:
    """Give the AUC at each cut-off; NaN where nothing was measured."""
    found = steps.set_index("cutoff")[["auc", "auc_low", "auc_high"]].reindex(cutoffs)
    return [Interval(*map(float, line)) for line in found.to_numpy()]


def _columns(table: pd.DataFrame) -> dict[str, list[Any]]:
    """Give a table to MLflow, null where there is no figure."""
    whole = table.astype(object).where(table.notna(), None)
    return {str(name): whole[name].tolist() for name in whole}
