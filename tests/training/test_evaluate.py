"""Measured out of time: each term on the outcomes known by the end, beside two challengers."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from models import targets
from models.curve import payment_interval
from models.metrics import calibration_error, calibration_null
from tests.training.conftest import CUTOFF, END, QUICK
from training.evaluate import (
    Evaluation,
    evaluate,
    measure_payment_dates,
    out_of_time,
    payment_days,
)
from training.fit import Fit, fit
from training.rule_of_thumb import fit_rule
from training.scorecard import fit_scorecard
from training.segments import Segment, segments

both = pytest.mark.parametrize("question", ["late", "default"])
MEASURED_UNTIL = CUTOFF + 200
HEADLINE = {"late": 30, "default": 90}


@pytest.fixture(scope="module")
def fits(datasets) -> dict[str, Fit]:
    return {question: fit(dataset, CUTOFF, QUICK) for question, dataset in datasets.items()}


@pytest.fixture(scope="module")
def divided(past, datasets) -> dict[str, dict[str, Segment]]:
    return {name: segments(dataset, past, CUTOFF) for name, dataset in datasets.items()}


@pytest.fixture(scope="module")
def evaluations(datasets, fits, divided) -> dict[str, Evaluation]:
    return {
        name: evaluate(
            fits[name].curve,
            dataset,
            CUTOFF,
            MEASURED_UNTIL,
            divided[name],
            headline_days=HEADLINE[name],
            resamples=10,
        )
        for name, dataset in datasets.items()
    }


@both
def test_each_term_is_measured_on_the_outcomes_known_by_the_end(datasets, fits, question):
    dataset = datasets[question]
    curve = fits[question].curve
    rows, end = dataset.between(CUTOFF, END), CUTOFF + 140
    measured = {one.term_days: one for one in out_of_time(curve, dataset, rows, end, resamples=5)}
    for term in dataset.question.reported:
        outcome = dataset.outcomes(rows, np.full(rows.size, term, np.int32), end)
        if not outcome.known.any():
            assert term not in measured  # a year from the cut-off is not over yet
            continue
        asked = rows[outcome.known]
        said = curve.probability(dataset.X[asked], np.full(asked.size, term, np.int32))
        assert measured[term].rows == asked.size < rows.size
        assert measured[term].events == outcome.happened[outcome.known].sum()
        assert measured[term].predicted_rate == pytest.approx(said.mean())
    assert set(measured) == {"late": {0, 5, 15, 30, 60}, "default": {30, 90}}[question]


@both
def test_the_evaluation_agrees_with_the_plain_measures(datasets, fits, evaluations, question):
    dataset, evaluation = datasets[question], evaluations[question]
    rows = dataset.between(CUTOFF, MEASURED_UNTIL)
    plain = out_of_time(fits[question].curve, dataset, rows, MEASURED_UNTIL, resamples=10)
    assert [one.quality for one in evaluation.terms.values()] == plain
    assert list(evaluation.terms) == [one.term_days for one in plain]
    assert (evaluation.cutoff, evaluation.end) == (CUTOFF, MEASURED_UNTIL)
    assert evaluation.rows == rows.size


@both
def test_challengers_answer_for_the_same_rows_and_know_no_more(
    datasets, fits, evaluations, question
):
    dataset, term = datasets[question], HEADLINE[question]
    rows = dataset.between(CUTOFF, MEASURED_UNTIL)
    asked = dataset.ask(rows, np.full(rows.size, term, np.int32), MEASURED_UNTIL)
    X = dataset.X[asked.row]
    measured = evaluations[question].terms[term]
    own = roc_auc_score(asked.happened, fits[question].curve.probability(X, asked.term_days))
    fitted = {
        "scorecard": fit_scorecard(dataset, term, CUTOFF),
        "rule": fit_rule(dataset, term, CUTOFF),
    }
    assert set(measured.challengers) == set(fitted)
    for name, challenger in fitted.items():
        found = measured.challengers[name]
        theirs = roc_auc_score(asked.happened, challenger.score(X))
        assert found.auc.value == pytest.approx(theirs)
        assert found.gap.value == pytest.approx(own - theirs)
        assert found.gap.low <= found.gap.high
        off = challenger.probability(X) - asked.happened
        assert found.brier == pytest.approx((off**2).mean())


@both
def test_the_curve_and_the_scorecard_beat_the_rule_of_thumb(evaluations, question):
    measured = evaluations[question].terms[HEADLINE[question]]
    assert measured.challengers["rule"].gap.value > 0.03
    scorecard, rule = measured.challengers["scorecard"], measured.challengers["rule"]
    assert scorecard.auc.value > rule.auc.value > 0.5


@both
def test_calibration_is_given_with_what_a_perfect_model_would_reach(
    datasets, fits, evaluations, question
):
    dataset = datasets[question]
    rows = dataset.between(CUTOFF, MEASURED_UNTIL)
    for term, measured in evaluations[question].terms.items():
        asked = dataset.ask(rows, np.full(rows.size, term, np.int32), MEASURED_UNTIL)
        said = fits[question].curve.probability(dataset.X[asked.row], asked.term_days)
        assert measured.calibration_error == calibration_error(asked.happened, said)
        assert measured.calibration_null == calibration_null(said)
        assert sum(band.rows for band in measured.bands) == measured.quality.rows
        assert sum(band.events for band in measured.bands) == measured.quality.events
        off = sum(band.rows * abs(band.said - band.seen) for band in measured.bands)
        assert measured.calibration_error == pytest.approx(off / measured.quality.rows)


@both
def test_gains_rise_with_the_share_of_rows_looked_at(evaluations, question):
    for measured in evaluations[question].terms.values():
        captured = list(measured.gains.values())
        assert captured == sorted(captured)
        assert measured.gains["0.2"] > 0.3


@both
def test_each_segment_divides_the_rows_of_the_headline_term(
    datasets, divided, evaluations, question
):
    evaluation, dataset = evaluations[question], datasets[question]
    whole = evaluation.terms[HEADLINE[question]].quality
    assert set(evaluation.segments) == set(divided[question])
    rows = dataset.between(CUTOFF, MEASURED_UNTIL)
    asked = dataset.ask(rows, np.full(rows.size, HEADLINE[question], np.int32), MEASURED_UNTIL)
    for name, by_label in evaluation.segments.items():
        assert sum(one.quality.rows for one in by_label.values()) == whole.rows
        assert sum(one.quality.events for one in by_label.values()) == whole.events
        segment = divided[question][name]
        for label, one in by_label.items():
            chosen = segment.code[asked.row] == segment.labels.index(label)
            assert one.quality.rows == chosen.sum()
            assert one.quality.events == asked.happened[chosen].sum()
            assert one.customers == np.unique(dataset.customer[asked.row[chosen]]).size
            assert set(one.challengers) == {"scorecard", "rule"}
    assert {"seen", "unseen"} == set(evaluation.segments["customer"])


@both
def test_the_evaluation_is_json_without_a_figure_where_there_is_none(evaluations, question):
    plain = evaluations[question].as_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["cutoff"] == "2025-03-04"
    term = plain["terms"][str(HEADLINE[question])]
    assert set(term["quality"]["auc"]) == {"value", "low", "high"}
    assert term["bands"][0]["rows"] > 0


def test_a_segment_in_which_nothing_happened_has_no_auc_and_is_null(datasets, fits):
    dataset = datasets["default"]
    spells = dataset.outcomes(
        np.arange(dataset.as_of.size), np.full(dataset.as_of.size, 90, np.int32), MEASURED_UNTIL
    )
    by_outcome = Segment(("calm", "failing"), spells.happened.astype(np.int64))
    evaluation = evaluate(
        fits["default"].curve,
        dataset,
        CUTOFF,
        MEASURED_UNTIL,
        {"outcome": by_outcome},
        headline_days=90,
        resamples=3,
    )
    calm = evaluation.as_dict()["segments"]["outcome"]["calm"]
    assert calm["quality"]["events"] == 0 < calm["quality"]["rows"]
    assert calm["quality"]["auc"] == {"value": None, "low": None, "high": None}
    assert calm["challengers"]["rule"]["gap"]["value"] is None
    json.dumps(evaluation.as_dict(), allow_nan=False)


def test_where_no_outcome_was_known_at_the_cutoff_no_challenger_answers(datasets, fits):
    dataset = datasets["default"]
    early = int(dataset.as_of.min()) + 200
    rows = dataset.between(early, early + 200)
    evaluation = evaluate(fits["default"].curve, dataset, early, END, rows=rows, resamples=3)
    assert set(evaluation.terms[90].challengers) == {"scorecard", "rule"}
    assert evaluation.terms[365].challengers == {}
    assert evaluation.terms[365].quality.rows > 0


# ------------------------------------------------------------------------------------ payment dates


def test_payment_days_are_those_read_off_the_whole_curve(datasets, fits):
    dataset, curve = datasets["late"], fits["late"].curve
    rows = dataset.between(CUTOFF, END)[::40]
    terms = np.arange(curve.shortest, curve.longest + 1, dtype=np.int32)
    expected = [payment_interval(terms, curve.at(dataset.X[row], terms)) for row in rows]
    beyond = curve.longest + 1
    wanted = [[beyond if day is None else day for day in one] for one in expected]
    assert payment_days(curve, dataset.X[rows]).tolist() == wanted
    assert len({tuple(one) for one in wanted}) > 5


@pytest.mark.parametrize("later", [0.0, 2.0, 3.0])  # as fitted, or in log-odds of being late
def test_dates_compare_with_the_days_of_payment(past, datasets, fits, later):
    """Only terms are asked of the outcomes; here the days of payment themselves are counted."""
    dataset, curve = datasets["late"], fits["late"].curve
    offsets = tuple(offset + later for offset in curve.calibration.offsets)
    curve = replace(curve, calibration=replace(curve.calibration, offsets=offsets))
    rows, end = dataset.between(CUTOFF, END), CUTOFF + 150
    found = measure_payment_dates(curve, dataset, rows, end)
    days_late = targets.days_late_known_at(past, end)[rows]  # a late row is an invoice
    due_on = past.invoices.due_on[rows]
    p10, p50, p90 = payment_days(curve, dataset.X[rows]).T
    never = curve.longest + 1
    lasts = np.maximum(60, p10 - 1)
    lasts = np.maximum(lasts, np.where(p50 < never, p50 + 3, 0))
    lasts = np.maximum(lasts, np.where(p90 < never, p90, 0))
    recorded = end - targets.recording_days(past, end)
    counted = (due_on + lasts < recorded) & ~np.isnan(days_late)
    near = (np.abs(days_late - p50) <= 3) & (p50 < never)
    covered = (days_late >= p10) & ((days_late <= p90) | (p90 == never))
    assert found.rows == counted.sum() > 50
    assert found.near_rate == pytest.approx(near[counted].mean())
    assert found.covered_rate == pytest.approx(covered[counted].mean())
    terms = np.arange(curve.shortest, never, dtype=np.int32)
    said = []
    for x, first, last in zip(dataset.X[rows[counted]], p10[counted], p90[counted], strict=True):
        unpaid = [1.0, *curve.at(x, terms), 0.0]  # before the shortest term, after the longest
        said.append(unpaid[first - curve.shortest] - unpaid[last - curve.shortest + 1])
    assert found.covered_rate_said == pytest.approx(np.mean(said))


def test_without_a_known_payment_there_is_no_measure(datasets, fits):
    rows = datasets["late"].between(CUTOFF, END)
    assert measure_payment_dates(fits["late"].curve, datasets["late"], rows, CUTOFF) is None


def test_only_the_late_curve_names_payment_dates(evaluations):
    assert evaluations["late"].payment_dates.rows > 100
    assert evaluations["default"].payment_dates is None
