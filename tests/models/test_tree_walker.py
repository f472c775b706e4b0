"""A second scorer that shares no code with LightGBM must give the same doubles."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pytest

from models import bundle as bundles
from models import tree_walker
from models.tree_walker import UnreadableBooster, margin, margins, read


def booster_of(X: np.ndarray, **parameters: object) -> lgb.Booster:
    rng = np.random.default_rng(1)
    seen = np.nan_to_num(X)
    y = (seen[:, 0] + seen[:, 1] + rng.normal(size=X.shape[0]) > 0).astype(float)
    settings = {"objective": "binary", "verbose": -1, "num_leaves": 15, "num_threads": 1}
    return lgb.train({**settings, **parameters}, lgb.Dataset(X, y), 30)


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2_000, 5))
    X[rng.random(X.shape) < 0.2] = np.nan
    X[rng.random(X.shape) < 0.2] = 0.0
    X[:, 3] = np.abs(X[:, 3])
    X[:, 4] = np.nan_to_num(X[:, 4])  # never missing: NaN is then read as zero
    return X


@pytest.mark.parametrize("parameters", [{}, {"zero_as_missing": True}, {"use_missing": False}])
def test_margins_are_the_same_doubles(rows, parameters):
    booster = booster_of(rows, **parameters)
    rng = np.random.default_rng(2)
    asked = rng.normal(size=(500, 5)) * rng.choice([0, 1, 1e-36, 1e300], (500, 5))
    asked[rng.random(asked.shape) < 0.2] = np.nan
    trees = read(booster.model_to_string())
    walked = [margin(trees, row) for row in asked.tolist()]
    assert walked == booster.predict(asked, raw_score=True).tolist()


def test_the_champions_score_the_same_without_lightgbm(trained):
    for folder in sorted(trained.bundles.iterdir()):
        curve = bundles.read(trained.bundles, folder.name).curve
        trees = read((folder / "booster.txt").read_text())
        rng = np.random.default_rng(3)
        rows = rng.exponential(30, (200, len(curve.features) + 1))
        rows[rng.random(rows.shape) < 0.3] = np.nan
        rows[:, -1] = rng.integers(curve.shortest, curve.longest, 200)
        expected = curve.booster.predict(rows, raw_score=True, num_threads=1)
        assert [margin(trees, row) for row in rows.tolist()] == expected.tolist()


def test_a_tree_of_one_leaf_says_the_same_of_everybody():
    booster = lgb.train(
        {"objective": "binary", "verbose": -1}, lgb.Dataset(np.zeros((50, 1)), np.arange(50) % 2), 1
    )
    trees = read(booster.model_to_string())
    expected = booster.predict(np.zeros((1, 1)), raw_score=True)[0]
    assert margin(trees, [0.0]) == margin(trees, [float("nan")]) == expected


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: "", "no tree"),
        (lambda text: text.replace("leaf_value=", "leaf="), "not whole"),
        (lambda text: text.replace("threshold=", "threshold=x ", 1), "not whole"),
        (lambda text: text.replace("threshold=", "threshold=1 ", 1), "lacks some"),
        (lambda text: text.replace("num_leaves=15", "num_leaves=14", 1), "lacks some"),
        (lambda text: text.replace("num_cat=0", "num_cat=1", 1), "categories"),
        (lambda text: text.replace("left_child=1 ", "left_child=0 ", 1), "circles"),
    ],
)
def test_what_cannot_be_followed_is_refused(rows, damage, said):
    text = booster_of(rows).model_to_string()
    damaged = damage(text)
    assert damaged != text
    with pytest.raises(UnreadableBooster, match=said):
        read(damaged)


def test_lightgbm_is_not_imported():
    assert "lightgbm" not in vars(tree_walker)


@pytest.mark.parametrize("parameters", [{}, {"zero_as_missing": True}, {"use_missing": False}])
def test_many_terms_at_once_are_what_each_gives_alone(rows, parameters):
    trees = read(booster_of(rows, **parameters).model_to_string())
    rng = np.random.default_rng(5)
    asked = rng.normal(size=(50, 4)) * rng.choice([0, 1, 1e-36, 1e300], (50, 4))
    asked[rng.random(asked.shape) < 0.3] = np.nan
    parted = 0
    for row in asked.tolist():
        terms = sorted([0.0, *rng.normal(size=9).tolist()])
        alone = [margin(trees, [*row, term]) for term in terms]
        assert margins(trees, row, terms) == alone
        parted += len(set(alone)) > 1
    assert parted > 10
    assert margins(trees, row, []) == []
