"""Reasons: at most four, one a field, worded, and adding up to the log-odds."""

import math
from dataclasses import asdict

import numpy as np
import pytest
from scipy.special import expit

from features.dictionary import dictionary
from models.bundle import Bundle
from models.curve import Calibration, Explained, TermCurve
from models.explanation import MOST_REASONS, Explanation, explain
from tests.models.curves import FEATURES, fitted, rows

MEDIANS = {name: float(n) for n, name in enumerate(FEATURES)}
MEDIANS[FEATURES[3]] = None  # nobody had this one


def bundled(curve: TermCurve) -> Bundle:
    return Bundle("0" * 64, curve, {"median": MEDIANS}, {})


@pytest.mark.parametrize("question", ["late", "default"])
def test_base_reasons_and_the_rest_add_up_to_the_log_odds(question):
    bundle = bundled(fitted(question))
    for n, row in enumerate(rows(150, seed=21)):
        term = (30, 45, 90, 120)[n % 4]
        told = explain(bundle, row, term, "EUR")
        total = told.base + sum(reason.contribution for reason in told.reasons) + told.other
        assert total == pytest.approx(told.log_odds, abs=1e-9, rel=0)
        assert told.probability == expit(told.log_odds)
        asked = bundle.curve.probability(row[None, :], np.array([term], np.int32))
        assert told.probability == asked[0]
        assert (told.curve, told.horizon_days) == (question, term)


class Told:
    """A curve whose contributions are given."""

    def __init__(self, **contributions: float) -> None:
        self.question, self.features = "late", tuple(contributions)
        self.contributions = np.array(list(contributions.values()))

    def explain(self, row: np.ndarray, term_days: int) -> Explained:
        """Give them, on a base of −4.1."""
        return Explained(-4.1, self.contributions)

    def log_odds(self, X: np.ndarray, term_days: np.ndarray) -> np.ndarray:
        """Add them up."""
        return np.array([-4.1 + self.contributions.sum()])


def reasons_of(values: list[float] | None = None, **contributions: float) -> Explanation:
    curve = Told(**contributions)
    row = np.array(values or [1.0] * len(contributions))
    return explain(
        Bundle("0" * 64, curve, {"median": dict.fromkeys(contributions, None)}, {}), row, 30, "EUR"
    )


def test_the_worked_example():
    told = reasons_of(settled_30_late_rate=0.62, open_overdue_rate=0.22, settled_90_late_rate=0.06)
    assert [reason.contribution for reason in told.reasons] == [0.62, 0.22]
    assert told.other == pytest.approx(0.06)  # the second window of a field already told
    assert told.log_odds == pytest.approx(-3.20)
    assert told.probability == pytest.approx(0.039, abs=5e-4)


def test_at_most_four_reasons_the_largest_first_whatever_their_sign():
    told = reasons_of(
        open_overdue_rate=0.1,
        settled_30_invoices=-0.9,
        settled_30_late_rate=0.5,
        settled_30_days_beyond_terms=-0.3,
        latest_days_since=0.2,
        latest_worst_days_late=-0.05,
    )
    assert MOST_REASONS == 4
    assert [reason.contribution for reason in told.reasons] == [-0.9, 0.5, -0.3, 0.2]
    assert told.other == pytest.approx(0.1 - 0.05)


def test_the_windows_of_one_measure_are_one_reason_told_by_the_largest():
    windows = {f"settled_{w}_late_rate": c for w, c in ((30, 0.2), (90, -0.4), (180, 0.3))}
    told = reasons_of(**windows, settled_90_late_30_rate=0.1)
    assert [r.feature for r in told.reasons] == ["settled_90_late_rate", "settled_90_late_30_rate"]


def test_a_feature_that_adds_nothing_is_no_reason():
    told = reasons_of(settled_30_late_rate=0.0, open_overdue_rate=-0.0, latest_days_since=0.1)
    assert [reason.feature for reason in told.reasons] == ["latest_days_since"]
    assert reasons_of(settled_30_late_rate=0.0).reasons == ()


def test_equal_contributions_keep_the_order_of_the_features():
    features = ("latest_days_since", "open_overdue_rate", "settled_30_late_rate")
    told = reasons_of(**dict.fromkeys(features, 0.2))
    assert tuple(reason.feature for reason in told.reasons) == features
    backwards = reasons_of(**dict.fromkeys(features[::-1], 0.2))
    assert tuple(reason.feature for reason in backwards.reasons) == features[::-1]


def test_a_reason_is_worded_in_both_languages_with_its_value_and_the_median():
    curve = Told(settled_90_days_beyond_terms=0.5)
    bundle = Bundle("0" * 64, curve, {"median": {"settled_90_days_beyond_terms": 2.0}}, {})
    (reason,) = explain(bundle, np.array([12.0]), 30, "EUR").reasons
    assert reason.en == ("Paid 12 days beyond terms on average over 90 days (median customer: 2)")
    assert reason.fr == (
        "Paie en moyenne 12 jours après l'échéance sur 90 jours"
        " (médiane des clients\N{NO-BREAK SPACE}: 2)"
    )
    assert (reason.code, reason.unit) == ("DBT_90", "days")
    assert (reason.value, reason.compare) == (12.0, 2.0)


def test_a_missing_value_is_said_to_be_missing():
    told = reasons_of([math.nan], settled_90_days_beyond_terms=0.5)
    (reason,) = told.reasons
    assert (reason.value, reason.compare) == (None, None)
    assert reason.en == "No invoice settled in 90 days"
    assert reason.fr == "Aucune facture soldée sur 90 jours"


def test_every_feature_can_be_a_reason_in_both_languages():
    for feature, entry in dictionary().items():
        for value in (0.25, -3.0, 40.0, math.nan):
            (reason,) = reasons_of([value], **{feature: 0.5}).reasons
            assert reason.code == entry.code
            for words in (reason.fr, reason.en):
                assert words
                assert "{" not in words
                assert "nan" not in words.split()


def test_of_random_rows_at_most_four_reasons_each_of_its_own_field():
    bundle = bundled(fitted())
    for row in rows(100, seed=22):
        told = explain(bundle, row, 30, "EUR")
        fields = [dictionary()[reason.feature].field for reason in told.reasons]
        sizes = [abs(reason.contribution) for reason in told.reasons]
        assert 1 <= len(fields) == len(set(fields)) <= 4
        assert sizes == sorted(sizes, reverse=True)
        for reason in told.reasons:
            value = row[FEATURES.index(reason.feature)]
            assert reason.value == (None if np.isnan(value) else value)
            assert reason.compare == MEDIANS[reason.feature]


def test_the_same_question_gets_the_same_answer():
    row = rows(1, seed=23)[0]
    answers = [asdict(explain(bundled(fitted()), row, 30, "EUR")) for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]


def test_a_calibration_moves_the_base_and_not_the_ranking():
    curve, row = fitted(), rows(1, seed=24)[0]
    moved = TermCurve(
        curve.question,
        curve.booster,
        curve.features,
        Calibration(curve.calibration.slope, (0,), (1.5,)),
        curve.shortest,
        curve.longest,
    )
    first, second = (explain(bundled(one), row, 30, "EUR") for one in (curve, moved))
    assert first.reasons == second.reasons
    assert second.base - first.base == pytest.approx(1.5 - -0.2)
