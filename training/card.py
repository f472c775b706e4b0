"""What is said of a fit: the card in its bundle, the parameters and figures that MLflow shows."""

from __future__ import annotations

import platform
from importlib.metadata import version as installed
from typing import Any

import numpy as np

from training.dataset import Dataset
from training.evaluate import Evaluation, Measured
from training.fit import BOOSTER_PARAMETERS, Fit, Settings

LIBRARIES = ("lightgbm", "numpy", "scikit-learn")


def card(
    dataset: Dataset, ledger_id: str, data_sha256: str, fitted: Fit, evaluation: Evaluation
) -> dict[str, Any]:
    """Say what a bundle is, where it comes from and how good it is; no date of today in it."""
    return {
        "question": dataset.question.name,
        "terms_days": [dataset.question.shortest, dataset.question.longest],
        "ledger_id": ledger_id,
        "data_sha256": data_sha256,
        "trained_from": as_date(fitted.trained_from),
        "cutoff": as_date(fitted.cutoff),
        "measured_until": as_date(evaluation.end),
        "rounds": fitted.rounds,
        "libraries": {name: installed(name) for name in LIBRARIES},
        "python": platform.python_version(),
        "metrics": [_metric(measured) for measured in evaluation.terms.values()],
    }


def _metric(measured: Measured) -> dict[str, Any]:
    """Say how good the curve is at one term; no AUC where nothing happened, or nothing else."""
    quality = measured.quality
    figures = quality.auc._asdict()
    auc = {name: None if value != value else value for name, value in figures.items()}
    return {**quality._asdict(), "auc": auc, "calibration_error": measured.calibration_error}


def parameters(settings: Settings, fitted: Fit, ledger_id: str, data_sha256: str) -> dict[str, Any]:
    """Everything that makes the fit what it is, for MLflow."""
    return {
        **BOOSTER_PARAMETERS,
        **settings.parameters,
        "seed": settings.seed,
        "pairs_per_row": settings.pairs_per_row,
        "most_pairs": settings.most_pairs,
        "most_rounds": settings.most_rounds,
        "patience": settings.patience,
        "calibration_rate": settings.calibration_rate,
        "rounds": fitted.rounds,
        "training_pairs": fitted.training_pairs,
        "cutoff": as_date(fitted.cutoff),
        "ledger_id": ledger_id,
        "data_sha256": data_sha256,
    }


def figures(evaluation: Evaluation) -> dict[str, float]:
    """Out-of-time figures by term, for MLflow; NaN where there is none."""
    shown: dict[str, float] = {}
    for term_days, measured in evaluation.terms.items():
        quality = measured.quality
        shown |= {
            f"auc_{term_days}d": quality.auc.value,
            f"auc_low_{term_days}d": quality.auc.low,
            f"auc_high_{term_days}d": quality.auc.high,
            f"brier_{term_days}d": quality.brier,
            f"log_loss_{term_days}d": quality.log_loss,
            f"predicted_rate_{term_days}d": quality.predicted_rate,
            f"observed_rate_{term_days}d": quality.observed_rate,
            f"calibration_error_{term_days}d": measured.calibration_error,
        }
        for name, challenger in measured.challengers.items():
            shown[f"{name}_auc_{term_days}d"] = challenger.auc.value
            shown[f"{name}_gap_{term_days}d"] = challenger.gap.value
    if evaluation.payment_dates is not None:
        shown["paid_within_3_days_of_p50"] = evaluation.payment_dates.near_rate
        shown["paid_from_p10_to_p90"] = evaluation.payment_dates.covered_rate
    return shown


def steadiness_figures(moves: dict[str, Any] | None) -> dict[str, float]:
    """How steady the reasons are, for MLflow; see :func:`training.explained.explained`."""
    if moves is None:
        return {}
    return {
        f"first_reason_stays_{change}": moves[change]["first_stays"]
        for change in ("noise", "a_day_earlier")
    }


def as_date(day: int) -> str:
    """Write a day number as an ISO date.

    >>> as_date(18262)
    '2020-01-01'
    """
    return str(np.datetime64(day, "D"))
