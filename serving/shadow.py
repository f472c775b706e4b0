"""The challengers in the champions' shadow: scored beside them, kept on the record, never answered.

What a shadow says is evidence for the risk team, before a challenger is in charge: how far would
answers move? A shadow that fails is dropped and said once; the answer never waits for it to mend.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa
import structlog
from numpy.typing import NDArray
from scipy.stats import rankdata

from features.store import connect
from models import grades
from models.curve import TermCurve
from serving.speaking import Speaking, Views

COMPARED_DAYS = {"late": 30, "default": grades.HORIZON_DAYS}
log = structlog.get_logger()


def score(speaking: Speaking, row: NDArray[np.float64], views: Views) -> dict[str, Any]:
    """Ask the challengers what the champions were asked.

    Parameters
    ----------
    speaking : Speaking
        A shadow that fails is taken out of its ``shadows``, and logged.
    row : ndarray of float64, shape (n_features,)
    views : Views
        What the champions said; a shadow of one that said nothing is not asked.

    Returns
    -------
    dict
        By question the bundle's ``sha256`` and its ``probabilities`` by term in days.
    """
    said: dict[str, Any] = {}
    for question, bundle in list(speaking.shadows.items()):
        asked = views.late if question == "late" else views.default
        if asked is None:
            continue
        try:
            by_term = _at(bundle.curve, row, list(asked))
        except Exception as error:  # noqa: BLE001 (whatever fails, the answer goes out)
            if speaking.shadows.pop(question, None) is not None:
                log.error("shadow_failed", curve=question, error=type(error).__name__)
        else:
            said[question] = {"sha256": bundle.sha256, "probabilities": by_term}
    return said


def _at(curve: TermCurve, row: NDArray[np.float64], terms: list[int]) -> dict[int, float]:
    probabilities = curve.at(row[: len(curve.features)], np.array(terms, np.int32))
    if not np.isfinite(probabilities).all():
        raise ValueError("not a probability")
    return dict(zip(terms, probabilities.tolist(), strict=True))


class Compared(NamedTuple):
    """How far a challenger lies from the champion beside which it was scored.

    Attributes
    ----------
    question : str
    champion, challenger : str
        SHA-256 of the bundles.
    term_days : int
        Where they are compared.
    assessments : int
    mean_difference : float
        Mean of the absolute differences of their probabilities.
    rank_correlation : float
        Spearman's; NaN when one of them says the same of everybody.
    moved_rate : float
        Share of the assessments whose band (late) or grade (default) differs.
    """

    question: str
    champion: str
    challenger: str
    term_days: int
    assessments: int
    mean_difference: float
    rank_correlation: float
    moved_rate: float


def compare(record_url: str, late_bounds: Sequence[float]) -> list[Compared]:
    """Read the record of assessments and compare each challenger with its champion.

    Parameters
    ----------
    record_url : str
        SQLAlchemy URL of the record.
    late_bounds : sequence of float
        Upper bounds of the bands of the late curve; the default curve has its grades.

    Returns
    -------
    list of Compared
        One for each pair of bundles that were asked together, in the order they first were.
    """
    pairs: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for body in _assessments(record_url):
        answer, shadow = body["answer"], body["evidence"].get("shadow", {})
        for question, said in shadow.items():
            term = str(COMPARED_DAYS[question])
            champion = answer["versions"][question].removeprefix("sha256:")
            both = answer[question][term], said["probabilities"][term]
            pairs.setdefault((question, champion, said["sha256"]), []).append(both)
    bounds = {"late": late_bounds, "default": grades.UPPER_BOUNDS}
    return [_compared(*named, np.array(said), bounds[named[0]]) for named, said in pairs.items()]


def _compared(
    question: str,
    champion: str,
    challenger: str,
    said: NDArray[np.float64],
    bounds: Sequence[float],
) -> Compared:
    """Compare what both said, shape (n_assessments, 2)."""
    band = np.searchsorted(bounds, said)
    return Compared(
        question,
        champion,
        challenger,
        COMPARED_DAYS[question],
        said.shape[0],
        float(np.abs(said[:, 1] - said[:, 0]).mean()),
        _spearman(said[:, 0], said[:, 1]),
        float((band[:, 0] != band[:, 1]).mean()),
    )


def _spearman(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Give Spearman's rank correlation, NaN where one is constant: scipy's own warns then."""
    ranks = [rankdata(said) for said in (first, second)]
    if any(np.ptp(rank) == 0 for rank in ranks):
        return float("nan")
    return float(np.corrcoef(*ranks)[0, 1])


def _assessments(record_url: str) -> Iterator[dict[str, Any]]:
    entries = sa.table("entries", sa.column("sequence"), sa.column("kind"), sa.column("body"))
    asked = sa.select(entries.c.body).where(entries.c.kind == "assessment")
    with connect(record_url).connect() as connection:
        for (body,) in connection.execute(asked.order_by(entries.c.sequence)):
            yield json.loads(body)
