"""The trees walked by ourselves say what LightGBM says, to the last bit."""

from dataclasses import replace

import lightgbm as lgb
import numpy as np
import pytest

from models import trees
from tests.models.curves import N_FEATURES, fitted, rows

both = pytest.mark.parametrize("question", ["late", "default"])


def by_lightgbm(booster: lgb.Booster, row: np.ndarray, terms: np.ndarray) -> np.ndarray:
    inputs = np.column_stack([np.tile(row, (terms.size, 1)), terms])
    return booster.predict(inputs, raw_score=True, num_threads=1)


def read(booster: lgb.Booster) -> trees.Trees:
    found = trees.read(booster.model_to_string())
    assert found is not None
    return found


@both
def test_all_terms_at_once_say_what_lightgbm_says_of_each(question):
    curve = fitted(question)
    terms = np.arange(curve.shortest, curve.longest + 1, dtype=np.float64)
    walked = read(curve.booster)
    for row in [*rows(200, seed=11), np.zeros(N_FEATURES), np.full(N_FEATURES, np.nan)]:
        np.testing.assert_array_equal(
            walked.margins(row, terms), by_lightgbm(curve.booster, row, terms)
        )


def test_terms_come_in_any_order_and_more_than_once():
    booster, row = fitted("default").booster, rows(1, seed=12)[0]
    terms = np.array([365.0, 30.0, 120.0, 30.0, 90.0])
    np.testing.assert_array_equal(
        read(booster).margins(row, terms), by_lightgbm(booster, row, terms)
    )


def test_a_missing_value_where_training_saw_none_counts_as_zero():
    X = np.random.default_rng(4).normal(size=(2_000, 2))
    data = lgb.Dataset(X, label=X[:, 0] + X[:, 1] > 0.3)
    booster = lgb.train({"objective": "binary", "verbosity": -1, "num_threads": 1}, data, 20)
    terms = np.linspace(-2, 2, 50)
    for value in (np.nan, 0.0, -0.0, 0.7):
        row = np.array([value])
        np.testing.assert_array_equal(
            read(booster).margins(row, terms), by_lightgbm(booster, row, terms)
        )


def test_a_tree_that_learned_nothing_is_one_leaf():
    data = lgb.Dataset(np.ones((100, 2)), label=np.arange(100) < 30)
    told = {"objective": "binary", "verbosity": -1, "num_threads": 1}
    booster = lgb.Booster(model_str=lgb.train(told, data, 3).model_to_string())
    row, terms = np.ones(1), np.array([1.0, 2.0])
    np.testing.assert_array_equal(
        read(booster).margins(row, terms), by_lightgbm(booster, row, terms)
    )


@pytest.mark.parametrize("kind", ["zero_as_missing", "linear_tree", "categories"])
def test_trees_that_do_more_than_compare_numbers_are_left_to_lightgbm(kind):
    rng = np.random.default_rng(5)
    X = np.column_stack([rng.integers(0, 5, 2_000), rng.normal(size=2_000)]).astype(float)
    told = {"objective": "binary", "verbosity": -1, "num_threads": 1}
    if kind != "categories":
        told[kind] = True
    categories = [0] if kind == "categories" else []
    data = lgb.Dataset(
        X, label=X[:, 0] % 2 + X[:, 1] > 0.8, categorical_feature=categories, params=told
    )
    assert trees.read(lgb.train(told, data, 5).model_to_string()) is None


@both
def test_a_curve_with_its_trees_says_the_same_at_every_term(question):
    curve = fitted(question)
    walking = replace(curve, trees=read(curve.booster))
    terms = np.arange(curve.shortest, curve.longest + 1, dtype=np.int32)
    for row in rows(20, seed=13):
        np.testing.assert_array_equal(
            walking.log_odds_at(row, terms), curve.log_odds_at(row, terms)
        )
    with pytest.raises(ValueError, match="terms go from"):
        walking.log_odds_at(row, terms + 1)
    with pytest.raises(ValueError, match="columns given"):
        walking.log_odds_at(row[1:], terms)
