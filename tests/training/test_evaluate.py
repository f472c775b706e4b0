"""Measured out of time: each term on the outcomes known by the end, beside two challengers."""

import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from models.metrics import calibration_error, calibration_null
from tests.training.conftest import CUTOFF, END, QUICK
from training.evaluate import (
    Answers,
    Evaluation,
    Said,
    ask_all,
    challengers,
    evaluate,
    out_of_time,
)
from training.fit import Fit, fit
from training.rule_of_thumb import fit_rule, learn_rule
from training.scorecard import fit_scorecard, learn_scorecard
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


def test_only_the_late_curve_names_payment_dates(evaluations):
    assert evaluations["late"].payment_dates.rows > 100
    assert evaluations["default"].payment_dates is None


# -------------------------------------------------------------------------------- the challengers


@both
def test_the_challengers_of_fewer_rows_learn_every_second_one(datasets, question):
    dataset, term = datasets[question], HEADLINE[question]
    known = dataset.known_at(term, CUTOFF)
    fewer = challengers(dataset, term, CUTOFF, -(-known.row.size // 2))
    every_second = known.at_most(known.row.size - 1)
    assert every_second.row.tolist() == known.row[::2].tolist()
    assert fewer["rule"] == learn_rule(dataset, every_second)
    assert fewer["scorecard"] == learn_scorecard(dataset, term, every_second)
    assert fewer["scorecard"] != fit_scorecard(dataset, term, CUTOFF)


@both
def test_rows_asked_in_pieces_get_the_same_answers(datasets, fits, question, monkeypatch):
    dataset, term = datasets[question], HEADLINE[question]
    beside = challengers(dataset, term, CUTOFF)
    asked = beside, dataset, dataset.between(CUTOFF, END), term, END
    whole = ask_all(fits[question].curve, *asked)
    monkeypatch.setattr("training.evaluate.CHUNK", 7)
    pieces = ask_all(fits[question].curve, *asked)
    assert whole.row.size > 100
    for said, again in ((whole.curve, pieces.curve), *_both_said(whole, pieces)):
        np.testing.assert_array_equal(said.score, again.score)
        np.testing.assert_array_equal(said.probability, again.probability)


def _both_said(first: Answers, second: Answers) -> list[tuple[Said, Said]]:
    return [(first.challengers[name], second.challengers[name]) for name in ("scorecard", "rule")]
