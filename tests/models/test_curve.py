"""The term curve: calibrated log-odds that add up, and that never cross themselves."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.curve import (
    Calibration,
    PaidOn,
    expected_delay_days,
    payment_interval,
)
from tests.models.curves import CALIBRATION, N_FEATURES, fitted, rows

both = pytest.mark.parametrize("question", ["late", "default"])


def terms_of(curve) -> np.ndarray:
    return np.arange(curve.shortest, curve.longest + 1, dtype=np.int32)


class Says:
    """A booster whose margin is always the same."""

    def __init__(self, margin: float) -> None:
        self.margin = margin

    def predict(self, inputs: np.ndarray, **kwargs: object) -> np.ndarray:
        """Say it of every row."""
        return np.full(len(inputs), self.margin)


def test_the_worked_example():
    calibration = Calibration(0.9, (0, 30), (0.1, -0.2))
    curve = replace(fitted(), booster=Says(-2.0), calibration=calibration)
    at_30 = np.array([30], np.int32)
    assert curve.log_odds(rows(1), at_30) == pytest.approx([0.9 * -2 + -0.2])
    assert curve.probability(rows(1), at_30) == pytest.approx([1 / (1 + np.exp(2.0))])
    assert curve.probability(rows(1), at_30)[0] == pytest.approx(0.119, abs=5e-4)


def test_the_offset_is_straight_between_the_knots_and_constant_beyond():
    calibration = Calibration(1.0, (0, 10), (0.4, 0.2))
    asked = np.array([-5, 0, 5, 10, 99], np.int32)
    assert calibration.offset(asked) == pytest.approx([0.4, 0.4, 0.3, 0.2, 0.2])


@both
def test_contributions_and_base_add_up_to_the_log_odds_at_every_term(question):
    curve, terms = fitted(question), terms_of(fitted(question))
    for row in rows(4, seed=5):
        log_odds = curve.log_odds(np.tile(row, (terms.size, 1)), terms)
        for term, expected in zip(terms, log_odds, strict=True):
            base, contributions = curve.explain(row, int(term))
            assert contributions.shape == (N_FEATURES,)
            assert base + contributions.sum() == pytest.approx(expected, abs=1e-9, rel=0)


@both
def test_contributions_are_those_of_shap_to_the_last_bit(question):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # shap calls what matplotlib will rename
        import shap

    curve, X = fitted(question), rows(20, seed=6)
    terms = np.linspace(curve.shortest, curve.longest, 20).astype(np.int32)
    inputs = np.column_stack([X, terms])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # and warns that its answer for a binary model has changed
        explainer = shap.TreeExplainer(curve.booster)
        values = np.asarray(explainer.shap_values(inputs))
    slope = curve.calibration.slope
    for row, term, value in zip(X, terms, values, strict=True):
        explained = curve.explain(row, int(term))
        np.testing.assert_array_equal(explained.contributions, slope * value[:-1])


@both
def test_the_contribution_of_the_term_belongs_to_the_base(question):
    curve, row = fitted(question), rows(1)[0]
    inputs = np.append(row, 60.0)[None, :]
    raw = curve.booster.predict(inputs, pred_contrib=True)[0]
    slope, offset = curve.calibration.slope, curve.calibration.offset(np.array([60]))[0]
    assert raw[-2] != 0
    assert curve.explain(row, 60).base == pytest.approx(slope * (raw[-1] + raw[-2]) + offset)


@both
def test_the_curve_never_crosses_itself(question):
    curve, terms = fitted(question), terms_of(fitted(question))
    for row in rows(200, seed=7):
        log_odds = curve.log_odds(np.tile(row, (terms.size, 1)), terms)
        step = np.diff(log_odds) if question == "default" else -np.diff(log_odds)
        assert step.min() >= 0
        probability = np.diff(curve.at(row, terms))
        assert (probability >= 0 if question == "default" else probability <= 0).all()


def test_a_curve_without_the_constraint_does_cross_itself():
    curve = fitted()
    bent = replace(curve, calibration=replace(CALIBRATION["late"], offsets=(0.0, 0.0, 3.0, 0.0)))
    terms = terms_of(curve)
    assert np.diff(bent.at(rows(1)[0], terms)).max() > 0


@both
def test_one_row_at_several_terms_is_that_row_at_each(question):
    curve, row = fitted(question), rows(1)[0]
    terms = terms_of(curve)[::11]
    alone = [curve.probability(row[None, :], np.array([t], np.int32))[0] for t in terms]
    np.testing.assert_array_equal(curve.at(row, terms), alone)


@both
@pytest.mark.parametrize("beyond", [-1, 1])
def test_a_term_outside_what_the_curve_knows_raises(question, beyond):
    curve = fitted(question)
    term = curve.shortest - 1 if beyond < 0 else curve.longest + 1
    said = f"from {curve.shortest} to {curve.longest}"
    with pytest.raises(ValueError, match=said):
        curve.log_odds(rows(2), np.array([curve.longest, term], np.int32))
    with pytest.raises(ValueError, match=said):
        curve.explain(rows(1)[0], term)
    for known in (curve.shortest, curve.longest):
        assert np.isfinite(curve.explain(rows(1)[0], known).base)


@pytest.mark.parametrize("columns", [N_FEATURES - 1, N_FEATURES + 1])
def test_a_column_too_few_or_too_many_raises(columns):
    with pytest.raises(ValueError, match=f"{columns} columns given, the curve reads {N_FEATURES}"):
        fitted().log_odds(np.zeros((1, columns)), np.zeros(1, np.int32))


# ------------------------------------------------------------------------- what is read off a curve

DAYS = np.arange(-30, 121, dtype=np.int32)


def late_when_paid(days: dict[int, float]) -> np.ndarray:
    """P(late by more than t) at each of ``DAYS`` when paid on day d with the probability given."""
    return np.array([sum(p for d, p in days.items() if d > t) for t in DAYS])


def test_a_wider_tail_leaves_more_out_on_both_sides_and_p50_alone():
    terms, late = np.array([0, 5, 10, 20, 40], np.int32), np.array([0.92, 0.8, 0.5, 0.2, 0.05])
    assert payment_interval(terms, late, 0.1) == PaidOn(5, 10, 40)
    assert payment_interval(terms, late, 0.2) == PaidOn(5, 10, 20)
    assert payment_interval(terms, late, 0.05) == PaidOn(0, 10, 40)


def test_the_payment_interval_is_where_the_curve_passes_90_50_and_10_percent():
    late = late_when_paid({-5: 0.125, 3: 0.25, 10: 0.25, 40: 0.375})
    # paid by −5: 12.5 %; by 3: 37.5 %; by 10: 62.5 %; by 40: 100 %
    assert payment_interval(DAYS, late) == PaidOn(p10=-5, p50=10, p90=40)


def test_a_probability_reached_exactly_is_reached():
    terms = np.array([0, 10, 20, 30], np.int32)
    assert payment_interval(terms, np.array([1.0, 0.9, 0.5, 0.1])) == PaidOn(10, 20, 30)


def test_what_is_not_reached_within_the_terms_is_none():
    assert payment_interval(DAYS, np.full(DAYS.size, 0.95)) == PaidOn(None, None, None)
    assert payment_interval(DAYS, np.full(DAYS.size, 0.30)) == PaidOn(-30, -30, None)


def test_the_expected_delay_of_a_payment_ten_days_late_is_ten_days():
    assert expected_delay_days(DAYS, late_when_paid({10: 1.0})) == pytest.approx(10)


def test_the_expected_delay_counts_an_early_payment_as_none():
    late = late_when_paid({-20: 0.5, 0: 0.25, 40: 0.25})
    assert expected_delay_days(DAYS, late) == pytest.approx(0.25 * 40)


def test_a_delay_beyond_the_longest_term_counts_as_that_term():
    assert expected_delay_days(DAYS, np.ones(DAYS.size)) == pytest.approx(120)


def test_the_expected_delay_on_sparse_terms_reads_the_curve_as_straight_between():
    sparse, late = np.array([0, 10, 20], np.int32), np.array([1.0, 0.5, 0.0])
    assert expected_delay_days(sparse, late) == pytest.approx(sum(1 - t / 20 for t in range(20)))


@given(hnp.arrays(np.float64, DAYS.size, elements=st.floats(0, 1)))
def test_the_expected_delay_and_the_interval_grow_with_the_curve(drawn):
    low = np.sort(drawn)[::-1]
    high = np.minimum(1.0, low + 0.05)
    assert expected_delay_days(DAYS, high) >= expected_delay_days(DAYS, low)
    for sooner, later in zip(
        payment_interval(DAYS, low), payment_interval(DAYS, high), strict=True
    ):
        assert later is None or (sooner is not None and sooner <= later)
