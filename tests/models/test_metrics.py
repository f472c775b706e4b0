"""Figures beside scikit-learn's, and intervals that know whose rows they are."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, chi2
from sklearn.metrics import roc_auc_score

from models.metrics import (
    Interval,
    auc,
    auc_of,
    bands,
    brier_of,
    by_customer,
    calibration_error,
    calibration_null,
    difference_by_customer,
    gains,
    interval_by_customer,
    jeffreys,
    psi,
    psi_critical,
    psi_without_drift,
    quality,
)

SCORES = st.sampled_from([0.1, 0.2, 0.5, 0.9])


@given(
    st.lists(st.tuples(st.booleans(), SCORES), min_size=2).filter(
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


# ------------------------------------------------------------------- figures of weights, and pairs


@given(st.lists(st.tuples(st.booleans(), SCORES, st.integers(0, 3)), min_size=1))
def test_weights_count_rows_as_often_as_they_say(rows):
    happened, score, times = (np.array(column) for column in zip(*rows, strict=True))
    repeated = np.repeat(np.arange(times.size), times)
    expected = auc(happened[repeated], score[repeated]) if repeated.size else math.nan
    assert auc_of(happened, score)(times) == pytest.approx(expected, nan_ok=True)
    if repeated.size:
        off = (score - happened)[repeated]
        assert brier_of(happened, score)(times) == pytest.approx((off**2).mean())


def test_an_interval_of_weights_is_that_of_the_rows_they_stand_for(dominated):
    happened, score, customer = dominated
    of_rows = by_customer(lambda rows: auc(happened[rows], score[rows]), customer, 50, seed=4)
    of_weights = interval_by_customer(auc_of(happened, score), customer, 50, seed=4)
    assert of_weights == pytest.approx(of_rows)
    assert of_weights != interval_by_customer(auc_of(happened, score), customer, 50, seed=5)


def test_a_score_exceeds_itself_by_nothing(dominated):
    happened, score, customer = dominated
    same = auc_of(happened, score)
    assert difference_by_customer(same, same, customer) == Interval(0.0, 0.0, 0.0)


def test_a_difference_is_known_better_than_both_its_parts(dominated, rng):
    happened, score, customer = dominated
    better, worse = auc_of(happened, score), auc_of(happened, score + 0.3 * rng.random(score.size))
    parts = [interval_by_customer(one, customer) for one in (better, worse)]
    apart = difference_by_customer(better, worse, customer)
    assert apart.value == pytest.approx(parts[0].value - parts[1].value)
    assert apart.low < apart.value < apart.high
    assert apart.high - apart.low < 0.6 * min(part.high - part.low for part in parts)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


# ------------------------------------------------------------------------------------------- gains


def test_a_perfect_score_holds_all_events_in_as_many_rows():
    happened = np.arange(100) < 10
    captured = gains(happened, happened.astype(float), [0.0, 0.05, 0.1, 0.5, 1.0])
    assert captured == pytest.approx([0, 0.5, 1, 1, 1])


@given(st.lists(st.tuples(st.booleans(), SCORES), min_size=1), st.randoms(use_true_random=False))
def test_gains_do_not_depend_on_the_order_of_tied_rows(rows, random):
    def captured() -> list[float]:
        happened, score = (np.array(column) for column in zip(*rows, strict=True))
        return gains(happened, score, [0.1, 0.3, 0.7, 1.0]).tolist()

    first = captured()
    random.shuffle(rows)
    assert captured() == pytest.approx(first, nan_ok=True)
    assert first[-1] == 1 or not any(happened for happened, _ in rows)


# ------------------------------------------------------------------------------------- calibration


def test_the_calibration_error_by_hand():
    """
    said      | happened | band
    0.1, 0.3  | no, no   | said 0.2, seen 0.0
    0.6, 0.8  | no, yes  | said 0.7, seen 0.5
    """
    said, happened = np.array([0.6, 0.1, 0.8, 0.3]), np.array([False, False, True, False])
    assert calibration_error(happened, said, count=2) == pytest.approx((0.2 + 0.2) / 2)
    assert calibration_error(happened, said, count=1) == pytest.approx(0.45 - 0.25)
    low, high = bands(happened, said, count=2)
    assert low == pytest.approx((0.1, 0.3, 2, 0, 0.2, 0.0))
    assert high == pytest.approx((0.6, 0.8, 2, 1, 0.7, 0.5))


def test_bands_hold_every_row_once_as_many_each_and_ascend(rng):
    said = rng.random(1_000)
    cut = bands(rng.random(1_000) < said, said, count=20)
    assert [band.rows for band in cut] == [50] * 20
    assert all(one.high < other.low for one, other in pairwise(cut))
    assert all(band.low <= band.said <= band.high for band in cut)


def test_equal_probabilities_are_never_parted():
    said = np.repeat([0.1, 0.2], [90, 10])
    assert [band.rows for band in bands(said > 1, said)] == [90, 10]


def test_the_error_of_true_probabilities_is_that_of_the_null(rng):
    said = rng.beta(1, 8, size=4_000)
    null = calibration_null(said)
    errors = [calibration_error(rng.random(said.size) < said, said) for _ in range(300)]
    assert null.median == pytest.approx(np.median(errors), rel=0.08)
    assert np.mean(np.array(errors) > null.high) == pytest.approx(0.05, abs=0.04)
    assert calibration_null(said) == null


def test_probabilities_a_quarter_too_high_stand_out_of_the_null(rng):
    true = rng.beta(1, 8, size=4_000)
    happened = rng.random(true.size) < true
    assert calibration_error(happened, 1.25 * true) > calibration_null(1.25 * true).high
    assert calibration_error(happened, true) < calibration_null(true).high


def test_with_more_rows_a_perfect_model_errs_less(rng):
    said = rng.beta(1, 8, size=16_000)
    few, many = calibration_null(said[:1_000]), calibration_null(said)
    assert many.median == pytest.approx(few.median / 4, rel=0.2)


def test_jeffreys_of_the_worked_grade():
    """200 customers, 5 defaults, 1 % said: 0.029, where the exact binomial says 0.052."""
    assert jeffreys(200, 5, 0.01) == pytest.approx(0.029, abs=5e-4)
    assert binom.sf(5 - 1, 200, 0.01) == pytest.approx(0.052, abs=5e-4)


def test_jeffreys_falls_with_defaults_and_rises_with_what_was_said():
    by_defaults = [jeffreys(200, defaults, 0.02) for defaults in range(201)]
    by_probability = [jeffreys(200, 5, probability) for probability in np.linspace(0, 1, 50)]
    assert (np.diff(by_defaults) <= 0).all()
    assert (np.diff(by_probability) >= 0).all()
    assert (by_probability[0], by_probability[-1]) == (0, 1)
    assert by_defaults[0] > 0.99 > 0.01 > by_defaults[12]


def test_jeffreys_does_not_lean_either_way(rng):
    drawn = rng.binomial(500, 0.03, size=4_000)
    p_values = np.array([jeffreys(500, int(defaults), 0.03) for defaults in drawn])
    assert p_values.mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("counts", [(10, 11, 0.1), (10, -1, 0.1), (10, 1, 1.5)])
def test_jeffreys_of_what_cannot_be_is_an_error(counts):
    with pytest.raises(ValueError, match=r"defaults of 10 customers at a probability of"):
        jeffreys(*counts)


# ------------------------------------------------------------------------------------------- drift


def test_the_stability_index_by_hand():
    reference, now = np.array([50, 50]), np.array([80, 120])
    expected = (0.4 - 0.5) * math.log(0.4 / 0.5) + (0.6 - 0.5) * math.log(0.6 / 0.5)
    assert psi(reference, now) == pytest.approx(expected)
    assert psi(now, reference) == pytest.approx(expected)
    assert psi(reference, 7 * reference) == 0
    assert psi(reference, np.array([100, 0])) == pytest.approx(
        0.5 * math.log(1 / 0.5) + (0.005 - 0.5) * math.log(0.005 / 0.5)
    )


def test_without_drift_the_usual_limit_is_passed_as_often_as_known():
    """
    rows          | 50   | 100  | 200
    PSI over 0.10 | 87 % | 40 % | 2.5 %
    """
    rates = [np.mean(psi_without_drift(10_000, rows) > 0.10) for rows in (50, 100, 200)]
    assert rates == pytest.approx([0.87, 0.40, 0.025], abs=0.01)


def test_the_critical_value_is_passed_once_in_twenty_and_near_chi_square():
    critical = psi_critical(5_000, 2_000)
    assert critical == pytest.approx(chi2.ppf(0.95, 9) * (1 / 5_000 + 1 / 2_000), rel=0.03)
    rng, passed = np.random.default_rng(1), []
    for _ in range(600):
        edges = np.quantile(rng.random(5_000), np.linspace(0, 1, 11)[1:-1])
        counts = np.bincount(np.searchsorted(edges, rng.random(2_000)), minlength=10)
        passed.append(psi(np.full(10, 500), counts) > critical)
    assert np.mean(passed) == pytest.approx(0.05, abs=0.025)
