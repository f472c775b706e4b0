"""What many rows are told adds up, and is what LightGBM tells one."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pytest

from models import contributions as contributions_module
from models.contributions import contributions
from models.curve import Calibration, TermCurve

N = 900


def inputs(kind: str, rng: np.random.Generator) -> np.ndarray:
    X = rng.normal(size=(N, 7)).round(1)
    if kind == "missing":
        X[rng.random(X.shape) < 0.2] = np.nan
    if kind == "zeros":
        X[rng.random(X.shape) < 0.4] = 0.0
    return X


def fitted(kind: str, leaves: int = 15, **parameters: object) -> tuple[TermCurve, np.ndarray]:
    rng = np.random.default_rng(4)
    X, term = inputs(kind, rng), rng.integers(1, 90, N).astype(np.int32)
    log_odds = np.nansum(X[:, :3], axis=1) + (X[:, 3] > 0) * X[:, 4] + term / 60
    y = rng.random(N) < 1 / (1 + np.exp(-np.nan_to_num(log_odds)))
    given = {"objective": "binary", "num_leaves": leaves, "min_data_in_leaf": 3, "verbose": -1}
    given |= {"num_threads": 1, "seed": 1, **parameters}
    data = lgb.Dataset(np.column_stack([X, term]), y.astype(float))
    booster = lgb.train(given, data, 12)
    names = tuple(f"f{i}" for i in range(7))
    return TermCurve("default", booster, names, Calibration(0.8, (1, 90), (-1.0, 0.5)), 1, 90), X


CASES = [
    ("plain", {}),
    ("missing", {}),
    ("missing", {"use_missing": False}),
    ("zeros", {"zero_as_missing": True}),
    ("missing", {"zero_as_missing": True}),
    ("missing", {"leaves": 200, "min_data_in_leaf": 1}),
]


@pytest.mark.parametrize(("kind", "given"), CASES)
def test_they_are_those_of_lightgbm(kind, given):
    curve, X = fitted(kind, **given)
    rng = np.random.default_rng(5)
    asked = np.vstack([X, inputs("missing", rng), inputs("zeros", rng)])
    term = rng.integers(1, 91, len(asked)).astype(np.int32)
    ours = contributions(curve, asked, term)
    np.testing.assert_allclose(ours, curve.contributions(asked, term), rtol=0, atol=1e-12)
    assert np.abs(ours).max() > 0.1


def test_beyond_the_cases_worked_out_each_row_is(monkeypatch):
    curve, X = fitted("missing", leaves=60)
    term = np.full(N, 30, np.int32)
    before = contributions(curve, X, term)
    monkeypatch.setattr(contributions_module, "MOST_WORKED_OUT", 2)
    contributions_module._leaves.cache_clear()
    leaves = contributions_module._leaves(curve.booster)
    assert (leaves.case_start < 0).any()
    np.testing.assert_allclose(contributions(curve, X, term), before, rtol=0, atol=1e-12)


def test_with_the_base_they_are_the_log_odds():
    curve, X = fitted("missing")
    term = np.full(N, 45, np.int32)
    base = np.array([curve.explain(row, 45).base for row in X[:40]])
    told = base + contributions(curve, X[:40], term[:40]).sum(axis=1)
    np.testing.assert_allclose(told, curve.log_odds(X[:40], term[:40]), rtol=0, atol=1e-9)


def test_a_row_is_told_the_same_in_any_company():
    curve, X = fitted("missing")
    term = np.arange(1, N + 1, dtype=np.int32) % 90 + 1
    together = contributions(curve, X, term)
    alone = np.vstack([contributions(curve, X[i : i + 1], term[i : i + 1]) for i in range(20)])
    assert together[:20].tobytes() == alone.tobytes()


def test_a_stump_is_worked_out_by_hand():
    """
    a quarter of the rows lies above 10 and has the value 1, the others 0: the mean is 0.25

    above 10: 1 − 0.25 = 0.75        not above: 0 − 0.25 = −0.25
    """
    leaves = contributions_module.Leaves(
        value=np.array([0.0, 1.0]),
        start=np.array([0, 1, 2]),
        feature=np.array([0, 0]),
        above=np.array([-np.inf, 10.0]),
        upto=np.array([10.0, np.inf]),
        takes_missing=np.array([True, False]),
        share=np.array([0.75, 0.25]),
        missing=np.array([2]),
        case_start=np.array([0, 2]),
        cases=np.empty(4),
    )
    contributions_module._work_out(leaves)
    told = contributions_module._add_up(leaves, np.array([[11.0, 10.0, np.nan]]))
    assert told.tolist() == [[0.75, -0.25, -0.25]]


def test_categories_are_not_explained():
    rng = np.random.default_rng(1)
    X = np.column_stack([rng.integers(0, 6, N), rng.integers(1, 90, N)]).astype(float)
    data = lgb.Dataset(X, (X[:, 0] % 2).astype(float), categorical_feature=[0])
    given = {"objective": "binary", "verbose": -1, "num_threads": 1, "min_data_in_leaf": 5}
    booster = lgb.train(given, data, 2)
    curve = TermCurve("default", booster, ("f0",), Calibration(1.0, (1,), (0.0,)), 1, 90)
    with pytest.raises(ValueError, match="numerical"):
        contributions(curve, X[:, :1], np.full(N, 3, np.int32))
