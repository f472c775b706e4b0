"""Figures beside scikit-learn's, and intervals that know whose rows they are."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from models.metrics import Interval, auc, by_customer, quality


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from([0.1, 0.2, 0.5, 0.9])), min_size=2).filter(
        lambda rows: len({happened for happened, _ in rows}) == 2
    )
)
def test_the_auc_is_the_share_of_pairs_put_right_ties_counting_half(rows):
    happened, score = (np.array(column) for column in zip(*rows, strict=True))
    events, others = score[happened], score[~happened]
    right = (events[:, None] > others).mean() + (events[:, None] == others).mean() / 2
    assert auc(happened, score) == pytest.approx(right)
    assert auc(happened, score) == roc_auc_score(happened, score)


@pytest.mark.parametrize("all_of_them", [True, False])
def test_with_one_class_there_is_no_auc(all_of_them):
    assert math.isnan(auc(np.full(4, all_of_them), np.array([0.1, 0.2, 0.3, 0.4])))


@pytest.fixture
def dominated() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """200 customers, one of them half of the rows, and its rows unlike the others'."""
    rng = np.random.default_rng(0)
    customer = np.concatenate([np.zeros(400, np.int64), 1 + np.arange(400) % 199])
    happened = rng.random(800) < np.where(customer == 0, 0.6, 0.2)
    score = np.where(happened, 0.3, 0.0) + rng.random(800) + np.where(customer == 0, 0.0, 0.5)
    return happened, score, customer


def test_an_interval_by_customer_is_wider_where_one_customer_dominates(dominated):
    happened, score, customer = dominated

    def figure(rows: np.ndarray) -> float:
        return auc(happened[rows], score[rows])

    whose = by_customer(figure, customer)
    each_alone = by_customer(figure, np.arange(customer.size))
    assert whose.value == each_alone.value == auc(happened, score)
    assert whose.high - whose.low > 1.5 * (each_alone.high - each_alone.low)


def test_the_rows_of_a_customer_are_drawn_together():
    customer = np.array([3, 1, 3, 1, 3, 8])
    drawn = []

    def figure(rows: np.ndarray) -> float:
        drawn.append(np.bincount(customer[rows], minlength=9))
        return 0.0

    by_customer(figure, customer, resamples=50)
    assert drawn.pop().tolist() == np.bincount(customer).tolist()  # the figure itself
    for counts in drawn:
        assert counts[1] % 2 == counts[3] % 3 == 0
        assert counts[1] // 2 + counts[3] // 3 + counts[8] == 3
    assert len({tuple(counts) for counts in drawn}) > 5


def test_an_interval_holds_its_figure_and_is_the_same_each_time(dominated):
    happened, score, customer = dominated
    first, again = (quality(30, happened, score.clip(0, 1), customer) for _ in range(2))
    assert first == again
    assert first.auc.low < first.auc.value < first.auc.high


def test_draws_without_an_event_are_left_out_of_the_interval():
    happened = np.array([True, False, False, False])
    interval = by_customer(
        lambda rows: auc(happened[rows], np.array([0.9, 0.1, 0.2, 0.3])[rows]), np.arange(4)
    )
    assert interval == Interval(1.0, 1.0, 1.0)


@pytest.mark.parametrize("all_of_them", [True, False])
def test_where_only_one_thing_happened_all_but_the_auc_is_measured(all_of_them):
    measured = quality(0, np.full(3, all_of_them), np.array([0.1, 0.2, 0.6]), np.arange(3))
    assert all(math.isnan(figure) for figure in measured.auc)
    assert measured.observed_rate == float(all_of_them)
    assert measured.predicted_rate == pytest.approx(0.3)
    off = np.array([0.9, 0.8, 0.4]) if all_of_them else np.array([0.1, 0.2, 0.6])
    assert measured.brier == pytest.approx((off**2).mean())
    assert measured.log_loss == pytest.approx(-np.log(1 - off).mean())


def test_quality_counts_what_it_measured(dominated):
    happened, score, customer = dominated
    probability = score.clip(0.01, 0.99)
    measured = quality(15, happened, probability, customer)
    assert (measured.term_days, measured.rows, measured.events) == (15, 800, happened.sum())
    assert measured.brier == pytest.approx(((probability - happened) ** 2).mean())
    assert measured.observed_rate == happened.mean()


def test_an_interval_is_shown_with_its_bounds():
    assert str(Interval(0.9, 0.85, 0.951)) == "0.900 [0.850–0.951]"
    assert str(Interval(math.nan, math.nan, math.nan)) == "–"
