"""Small fitted curves, for the tests of what reads one."""

from functools import cache

import lightgbm as lgb
import numpy as np

from features.build import feature_names
from models.curve import Calibration, TermCurve

N_FEATURES = 8
FEATURES = feature_names(with_order=False)[:N_FEATURES]  # two windows of one family's four fields
CALIBRATION = {
    "late": Calibration(0.9, (-30, 0, 30, 120), (0.4, 0.1, -0.2, -0.2)),
    "default": Calibration(1.2, (30, 90, 365), (-0.5, 0.0, 0.25)),
}


def rows(n: int, seed: int = 0) -> np.ndarray:
    """Draw feature rows, shape (n, N_FEATURES), a tenth of the values missing."""
    rng = np.random.default_rng(seed)
    X = rng.normal(0, 2, (n, N_FEATURES))
    return np.where(rng.random(X.shape) < 0.1, np.nan, X)


@cache
def fitted(question: str = "late", rounds: int = 40) -> TermCurve:
    """Fit a curve to noise that leans on two features and on the term."""
    knots = CALIBRATION[question].terms
    direction = -1 if question == "late" else 1
    rng = np.random.default_rng(1)
    X = rows(4_000, seed=2)
    term = rng.integers(knots[0], knots[-1] + 1, size=X.shape[0])
    risk = np.nan_to_num(X[:, 1]) + 0.5 * np.nan_to_num(X[:, 4]) + direction * term / 40
    data = lgb.Dataset(
        np.column_stack([X, term]),
        label=risk + rng.logistic(size=term.size) > 0,
        free_raw_data=True,
    )
    parameters = {
        "objective": "binary",
        "num_leaves": 15,
        "monotone_constraints": [0] * N_FEATURES + [direction],
        "monotone_constraints_method": "basic",
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
        "num_threads": 1,
        "seed": 3,
    }
    booster = lgb.train(parameters, data, num_boost_round=rounds)
    return TermCurve(question, booster, FEATURES, CALIBRATION[question], knots[0], knots[-1])
