"""The scorecard: weights of evidence that go the right way, few features, points to add up."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from features import history
from features.dictionary import dictionary
from features.ledger import LedgerError
from tests.features.ledgers import known_before
from tests.training.conftest import CUTOFF, dataset_of
from training.dataset import Dataset, Pairs
from training.scorecard import (
    BINS,
    LEAST_INFORMATION,
    MOST_CORRELATION,
    PRIOR_ROWS,
    Scorecard,
    bin_feature,
    fit_scorecard,
    regression,
)

QUESTIONS = [("late", 15), ("default", 90)]
both = pytest.mark.parametrize(("question", "term"), QUESTIONS)


@pytest.fixture(scope="module")
def cards(datasets) -> dict[str, Scorecard]:
    return {
        question: fit_scorecard(datasets[question], term, CUTOFF) for question, term in QUESTIONS
    }


def learned(dataset: Dataset, term: int) -> Pairs:
    rows = dataset.known_before(CUTOFF)
    return dataset.ask(rows, np.full(rows.size, term, np.int32), CUTOFF)


# -------------------------------------------------------------------------------------- one feature


def test_the_weight_of_evidence_by_hand():
    """
    value   | rows | events
    0       | 900  | 36
    1       | 100  | 24
    missing | 200  | 12
    """
    values = np.repeat([0.0, 1.0, np.nan], [900, 100, 200])
    happened = np.concatenate([np.arange(n) < k for n, k in ((900, 36), (100, 24), (200, 12))])
    binned = bin_feature("flag", values, happened, 1)
    overall = (72 + 0.5) / (1200 + 1)

    def weight(rows: int, events: int) -> float:
        pulled = (events + PRIOR_ROWS * overall) / (rows + PRIOR_ROWS)
        return logit(pulled) - logit(overall)

    assert binned.edges == (1.0,)
    assert binned.weights == pytest.approx((weight(900, 36), weight(100, 24)))
    assert binned.missing == pytest.approx(weight(200, 12)) == pytest.approx(0, abs=0.01)
    shares = [(36 / 72 - 864 / 1128), (24 / 72 - 76 / 1128)]
    expected = sum(s * w for s, w in zip(shares, binned.weights, strict=True))
    assert binned.information == pytest.approx(expected, abs=1e-3)
    assert binned.weight(np.array([-3.0, 0.99, 1.0, 7.0, np.nan])).tolist() == [
        *[binned.weights[0]] * 2,
        *[binned.weights[1]] * 2,
        binned.missing,
    ]


@given(
    st.lists(
        st.tuples(st.sampled_from([np.nan, 0.0, 0.0, 0.5, 1.0, 2.0, 9.0]), st.booleans()),
        min_size=1,
    ),
    st.sampled_from([-1, 1]),
)
def test_bins_go_the_way_of_the_dictionary_whatever_the_data(rows, direction):
    values, happened = (np.array(column) for column in zip(*rows, strict=True))
    binned = bin_feature("any", values, happened, direction)
    assert (direction * np.diff(binned.weights) > 0).all()  # equal neighbours are one bin
    assert len(binned.weights) == len(binned.edges) + 1
    assert np.isfinite([*binned.weights, binned.missing]).all()
    if not np.isnan(values).any():
        assert binned.missing == pytest.approx(0, abs=1e-12)


def test_a_feature_without_direction_may_bend(rng):
    values = rng.normal(size=5_000)
    happened = rng.random(5_000) < np.where(np.abs(values) > 1, 0.4, 0.1)
    free = bin_feature("free", values, happened, 0)
    assert free.weights[0] > 0 > free.weights[len(free.weights) // 2]
    assert free.weights[-1] > 0
    for direction in (-1, 1):
        assert bin_feature("bound", values, happened, direction).information < free.information


def test_few_rows_apart_from_the_most_common_value_still_tell(rng):
    values = np.where(rng.random(20_000) < 0.97, 0.0, rng.integers(1, 100, size=20_000))
    happened = rng.random(20_000) < expit(-3 + 0.05 * values)
    weights = bin_feature("overdue", values, happened, 1).weights
    assert len(weights) >= 5
    assert weights[-1] - weights[1] > 2


def test_a_bin_of_few_rows_stays_near_the_mean():
    values, happened = np.repeat([0.0, 1.0], [5_000, 2]), np.arange(5_002) % 10 == 1
    happened[-2:] = True
    few = bin_feature("rare", values, happened, 1).weights[-1]
    assert 0 < few < math.log(2.5)


# -------------------------------------------------------------------------------------- the card


@both
def test_its_mean_probability_is_the_rate_it_learned_from(datasets, cards, question, term):
    asked = learned(datasets[question], term)
    said = cards[question].probability(datasets[question].X[asked.row])
    assert said.mean() == pytest.approx(asked.happened.mean(), rel=1e-5)
    riskiest = said >= np.quantile(said, 0.8)
    assert said[riskiest].mean() == pytest.approx(asked.happened[riskiest].mean(), rel=0.15)


@both
def test_features_are_informative_and_not_alike(datasets, cards, question, term):
    card, dataset = cards[question], datasets[question]
    information = [one.information for one in card.binned]
    assert len(information) >= 4
    assert information == sorted(information, reverse=True)
    assert information[-1] >= LEAST_INFORMATION
    assert min(card.coefficients) > 0
    X = dataset.X[learned(dataset, term).row]
    weights = [one.weight(X[:, dataset.features.index(one.feature)]) for one in card.binned]
    alike = np.corrcoef(weights) - np.eye(len(weights))
    assert np.abs(alike).max() <= MOST_CORRELATION


@both
def test_no_feature_moves_the_wrong_way(datasets, cards, question, term):
    card, dataset = cards[question], datasets[question]
    asked, moved = learned(dataset, term), 0
    X = dataset.X[asked.row[:500]]
    for one in card.binned:
        direction = dictionary()[one.feature].direction
        if direction:
            riskier = X.copy()
            riskier[:, dataset.features.index(one.feature)] += direction * 10
            change = card.log_odds(riskier) - card.log_odds(X)
            assert change.min() >= 0
            moved += (change > 0).sum()
    assert moved > 0


@both
def test_the_points_of_the_table_add_up_to_the_probability(datasets, cards, question, term):
    card, dataset = cards[question], datasets[question]
    table = card.table()
    x = dataset.X[learned(dataset, term).row[123]]
    points = table["points"][0]
    for one in card.binned:
        value = x[dataset.features.index(one.feature)]
        lines = table[table["feature"] == one.feature]
        assert lines["bin"].iloc[-1] == "missing"
        place = -1 if np.isnan(value) else np.searchsorted(one.edges, value, side="right")
        points += lines["points"].iloc[place]
    odds_against = 50 * 2 ** ((points - 600) / 20)
    assert card.probability(x[None, :])[0] == pytest.approx(1 / (1 + odds_against))


def test_the_table_reads_like_a_card(cards):
    table = cards["late"].table()
    assert list(table) == ["feature", "bin", "weight_of_evidence", "points"]
    assert table.iloc[0][["feature", "bin"]].tolist() == ["base", "everybody"]
    first = table[table["feature"] == cards["late"].binned[0].feature]
    names = first["bin"].tolist()
    assert names[0].startswith("< ")
    assert names[-2].startswith("≥ ")
    assert all(" to " in name for name in names[1:-2])
    assert len(names) <= 2 * BINS + 1
    risk = np.sign(first["weight_of_evidence"]) * np.sign(first["points"])
    assert (risk <= 0).all()  # riskier than the mean costs points


@both
def test_nothing_known_since_the_cutoff_is_learned(facts, datasets, cards, question, term):
    then = dataset_of(question, history.build(known_before(facts, CUTOFF)))
    assert fit_scorecard(then, term, CUTOFF) == cards[question]
    assert fit_scorecard(datasets[question], term, CUTOFF + 60) != cards[question]


@both
def test_the_same_data_give_the_same_card(datasets, cards, question, term):
    again = fit_scorecard(datasets[question], term, CUTOFF)
    pd.testing.assert_frame_equal(again.table(), cards[question].table(), check_exact=True)


def test_where_nothing_happened_everybody_gets_the_same(datasets):
    dataset = datasets["default"]
    first = int(dataset.as_of.min())
    cutoff = first + 40
    asked_rows = dataset.known_before(cutoff)
    asked = dataset.ask(asked_rows, np.full(asked_rows.size, 30, np.int32), cutoff)
    assert asked.row.size > 0 == asked.happened.sum()
    card = fit_scorecard(dataset, 30, cutoff)
    assert card.binned == ()
    assert np.unique(card.probability(dataset.X)).size == 1
    assert 0 < card.probability(dataset.X[:1])[0] < 0.05


def test_without_a_known_outcome_there_is_no_card(datasets):
    dataset = datasets["default"]
    early = int(dataset.as_of.min()) + 300
    with pytest.raises(LedgerError, match="default scorecard: no outcome at 365 days is known"):
        fit_scorecard(dataset, 365, early)


# --------------------------------------------------------------------------------------- regression


@pytest.mark.parametrize("start", [0.0, 1.0, 30.0])  # from afar a whole step would be too far
def test_the_regression_is_the_one_that_scikit_learn_finds(rng, start):
    weights = rng.normal(0, 1, (3_000, 4))
    happened = rng.random(3_000) < expit(weights @ [1.0, 0.5, 0.0, -0.4] - 3)
    expected = LogisticRegression(solver="newton-cholesky", tol=1e-10).fit(weights, happened)
    intercept, coefficients = regression(weights, happened, np.full(4, start))
    assert intercept == pytest.approx(expected.intercept_[0], abs=1e-6)
    assert coefficients == pytest.approx(expected.coef_[0], abs=1e-6)
