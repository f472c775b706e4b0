"""What moves a curve as a whole, and how steady the reasons are that it gives.

Measured out of time, in calibrated log-odds, at the term that contributions are shown at. Worked
example: of two rows the longest overdue adds +0.6 and −0.2: its importance is 0.4.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.build import build, customer_spine, invoice_spine
from features.dictionary import dictionary
from features.history import History
from models.curve import TermCurve
from models.explanation import most_important
from training.dataset import LATE, Dataset
from training.reference import TAKEN_APART_DAYS

with warnings.catch_warnings():  # shap 0.51's own, on matplotlib 3.11
    warnings.simplefilter("ignore", PendingDeprecationWarning)
    import shap

Floats = NDArray[np.float64]
Index = NDArray[np.int64]
ROWS = 1_000  # taken apart: enough for the third digit of a share
FEWEST_ROWS = 50
PAIRED_ROWS = 100  # interactions take features times as long
SHOWN, PAIRS_SHOWN, CURVES = 15, 10, 6
PARTS = 5  # of a dependence curve: fifths of the values
NOISE_RATE = 0.01
UNTOUCHED = {"count", "flag", "date_part"}  # units that noise does not come in


def explained(
    curve: TermCurve, dataset: Dataset, history: History, cutoff: int, end: int
) -> dict[str, Any] | None:
    """Measure what moves a curve, on rows that it never saw.

    Parameters
    ----------
    curve : TermCurve
        Fitted with what was known before `cutoff`.
    dataset : Dataset
    history : History
        From which the dataset was built.
    cutoff, end : int
        First day, and exclusive last one, of the rows.

    Returns
    -------
    dict or None
        ``term_days``, ``rows``; ``importance`` of each feature (mean absolute contribution, and
        its share of all); ``dependence`` of the strongest: the mean contribution by fifths of the
        value; ``interactions``: the strongest pairs, mean absolute effect beyond each alone;
        ``noise`` and ``a_day_earlier``: how often the first reason stays. None of few rows.
    """
    rows = some(dataset.between(cutoff, end), ROWS)
    if rows.size < FEWEST_ROWS:
        return None
    term_days = TAKEN_APART_DAYS[dataset.question.name]
    X = dataset.X[rows]

    def taken_apart(X: Floats) -> Floats:
        return curve.contributions(X, np.full(X.shape[0], term_days, np.int32))

    contributions = taken_apart(X)
    size = np.abs(contributions).mean(axis=0)
    order = [i for i in np.argsort(-size, kind="stable").tolist() if size[i] > 0]
    return {
        "term_days": term_days,
        "rows": int(rows.size),
        "importance": [
            {
                "feature": curve.features[i],
                "contribution": float(size[i]),
                "share": float(size[i] / size.sum()),
            }
            for i in order
        ],
        "dependence": [
            {"feature": curve.features[i], "parts": dependence(X[:, i], contributions[:, i])}
            for i in order[:CURVES]
        ],
        "interactions": interactions(curve, some_of(X, PAIRED_ROWS), term_days),
        "noise": {"rate": NOISE_RATE}
        | steadiness(curve.features, contributions, taken_apart(shaken(X, curve.features))),
        "a_day_earlier": steadiness(
            curve.features, contributions, taken_apart(a_day_earlier(dataset, history, rows))
        ),
    }


def some(rows: Index, most: int) -> Index:
    """Take rows evenly, at most so many."""
    return rows[:: max(1, -(-rows.size // most))]


def some_of(X: Floats, most: int) -> Floats:
    """Take rows of a matrix evenly, at most so many."""
    return X[some(np.arange(X.shape[0]), most)]


def dependence(values: Floats, contributions: Floats) -> list[dict[str, Any]]:
    """Give the mean contribution by fifths of a feature's values, and where it is missing.

    Equal values stay together: of a value that most rows have there is one part.

    >>> dependence(np.array([0.0, 0.0, 2.0, np.nan]), np.array([-1.0, -3.0, 4.0, 0.5]))[0]
    {'from': 0.0, 'to': 0.0, 'rows': 2, 'contribution': -2.0}
    """
    missing = np.isnan(values)
    known, told = values[~missing], contributions[~missing]
    edges = np.unique(np.quantile(known, np.arange(1, PARTS) / PARTS)) if known.size else known
    part = np.searchsorted(edges, known, side="left")
    found: list[dict[str, Any]] = [
        _part(known[part == place], told[part == place]) for place in np.unique(part)
    ]
    if missing.any():
        lacking = {"from": None, "to": None, "rows": int(missing.sum())}
        found.append(lacking | {"contribution": float(contributions[missing].mean())})
    return found


def _part(values: Floats, contributions: Floats) -> dict[str, Any]:
    return {
        "from": float(values.min()),
        "to": float(values.max()),
        "rows": int(values.size),
        "contribution": float(contributions.mean()),
    }


def interactions(curve: TermCurve, X: Floats, term_days: int) -> list[dict[str, Any]]:
    """Rank pairs of features by what they do together beyond what each does alone.

    Shapley interaction values of the trees, exact: those of a feature with all the others and with
    itself add up to its contribution. The term is one of the pair where it bends an effect.
    """
    effects = interaction_values(curve, X, term_days)
    names = (*curve.features, "term")
    together = 2 * np.abs(effects).mean(axis=0)  # a pair stands on both sides of the diagonal
    first, second = np.triu_indices(len(names), 1)
    order = np.argsort(-together[first, second], kind="stable")[:PAIRS_SHOWN]
    return [
        {"first": names[i], "second": names[j], "effect": float(together[i, j])}
        for i, j in zip(first[order].tolist(), second[order].tolist(), strict=True)
        if together[i, j] > 0
    ]


def interaction_values(curve: TermCurve, X: Floats, term_days: int) -> Floats:
    """Give the interaction values, shape (n_rows, n_features + 1, n_features + 1), in log-odds.

    The last row and column are the term's.
    """
    inputs = np.column_stack([X, np.full(X.shape[0], float(term_days))])
    explainer = shap.TreeExplainer(curve.booster, feature_perturbation="tree_path_dependent")
    values: Floats = curve.calibration.slope * np.asarray(explainer.shap_interaction_values(inputs))
    return values


def shaken(X: Floats, features: tuple[str, ...]) -> Floats:
    """Move each amount, share and number of days by about 1 %, one matrix always alike."""
    rng = np.random.default_rng(0)
    units = [dictionary()[name].unit for name in features]
    moves = np.array([unit not in UNTOUCHED for unit in units])
    noise: Floats = X * (1 + NOISE_RATE * moves * rng.standard_normal(X.shape))
    return noise


def a_day_earlier(dataset: Dataset, history: History, rows: Index) -> Floats:
    """Describe rows as of the day before; an invoice as an order planned for that day.

    Earlier, not later: the day after its date the invoice itself is one of the customer's.
    """
    if dataset.question is not LATE:
        return build(history, customer_spine(dataset.customer[rows], dataset.as_of[rows] - 1))
    spine = invoice_spine(history, history.current[rows])
    planned = spine._replace(
        as_of=spine.as_of - 1,
        invoice=np.full(rows.size, -1),
        issued_on=spine.issued_on - 1,
        due_on=spine.due_on - 1,
    )
    return build(history, planned)


def steadiness(features: tuple[str, ...], before: Floats, after: Floats) -> dict[str, float]:
    """Compare the reasons told of rows, before and after: contributions, shape (n, n_features).

    Returns
    -------
    dict
        ``first_stays``: share of rows whose first reason is the same measure. ``told_stay``: share
        of the reasons told that are told still. ``moved``: mean absolute change in log-odds.
    """
    entries = dictionary()

    def told(contributions: Floats) -> list[str]:
        return [entries[features[i]].field for i in most_important(features, contributions)]

    pairs = [(told(old), told(new)) for old, new in zip(before, after, strict=True)]
    stay = [len({*old} & {*new}) / len(old) for old, new in pairs if old]
    return {
        "first_stays": float(np.mean([old[:1] == new[:1] for old, new in pairs])),
        "told_stay": float(np.mean(stay)) if stay else 1.0,
        "moved": float(np.abs((after - before).sum(axis=1)).mean()),
    }
