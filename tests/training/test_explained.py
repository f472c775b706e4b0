"""What moves a curve as a whole: adds up, is exact, and says how steady its reasons are."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest

from features.build import build, invoice_spine
from features.dictionary import dictionary
from tests.training.conftest import CUTOFF, END, QUICK
from training.explained import (
    TAKEN_APART_DAYS,
    a_day_earlier,
    dependence,
    explained,
    interaction_values,
    shaken,
    steadiness,
)
from training.fit import fit


@pytest.fixture(scope="module", params=["late", "default"])
def question(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def curves(datasets):
    return {name: fit(dataset, CUTOFF, QUICK).curve for name, dataset in datasets.items()}


@pytest.fixture(scope="module")
def found(curves, datasets, past, question):
    return explained(curves[question], datasets[question], past, CUTOFF, END)


def test_it_is_json_and_the_same_each_time(found, curves, datasets, past, question):
    again = explained(curves[question], datasets[question], past, CUTOFF, END)
    assert json.dumps(found, allow_nan=False) == json.dumps(again, allow_nan=False)


def test_importance_falls_and_its_shares_add_up(found):
    sizes = [one["contribution"] for one in found["importance"]]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(one["share"] for one in found["importance"]) == pytest.approx(1)
    assert min(sizes) > 0


def test_parts_of_a_dependence_hold_all_rows_and_average_to_the_mean_contribution(
    found, curves, datasets, question
):
    for one in found["dependence"]:
        assert sum(part["rows"] for part in one["parts"]) == found["rows"]
        known = [part for part in one["parts"] if part["from"] is not None]
        assert all(a["to"] < b["from"] for a, b in pairwise(known))


def test_interactions_add_up_to_the_contributions(curves, datasets, question):
    curve = curves[question]
    X, term_days = datasets[question].X[:40], TAKEN_APART_DAYS[question]
    values = interaction_values(curve, X, term_days)
    told = curve.contributions(X, np.full(40, term_days, np.int32))
    assert np.abs(values.sum(axis=2)[:, :-1] - told).max() < 1e-9
    assert np.abs(values - values.transpose(0, 2, 1)).max() < 1e-9
    assert np.abs(values).max() > 0.01


def test_pairs_are_ranked_by_what_they_do_together(found):
    effects = [one["effect"] for one in found["interactions"]]
    assert effects == sorted(effects, reverse=True)
    assert all(one["first"] != one["second"] for one in found["interactions"])


def test_dependence_keeps_equal_values_together():
    """Value 0 in four rows of six; the others are parts of their own."""
    values = np.array([0, 0, 0, 0, 5, 9, np.nan])
    contributions = np.array([-1, -1, -2, 0, 3, 4, 0.5])
    first, *others, missing = dependence(values, contributions)
    assert first == {"from": 0.0, "to": 0.0, "rows": 4, "contribution": -1.0}
    assert sum(part["rows"] for part in others) == 2
    assert missing == {"from": None, "to": None, "rows": 1, "contribution": 0.5}
    assert dependence(np.array([np.nan]), np.array([1.0])) == [
        {"from": None, "to": None, "rows": 1, "contribution": 1.0}
    ]


def test_noise_moves_amounts_and_no_counts(datasets):
    data = datasets["default"]
    X = data.X[:200]
    moved = (shaken(X, data.features) != X) & ~np.isnan(X) & (X != 0)
    for place, name in enumerate(data.features):
        is_counted = dictionary()[name].unit in {"count", "flag", "date_part"}
        assert not (is_counted and moved[:, place].any()), name
    assert moved.any()


def test_a_day_earlier_is_what_would_have_been_answered_then(datasets, past):
    """Of an invoice: planned for that day, from what was known before it."""
    data = datasets["late"]
    rows = np.flatnonzero(data.as_of > CUTOFF)[:50]
    earlier = a_day_earlier(data, past, rows)
    spine = invoice_spine(past, past.current[rows])
    nothing = np.full(rows.size, -1)
    as_is = build(past, spine._replace(invoice=nothing))
    assert np.array_equal(as_is, data.X[rows], equal_nan=True)  # planned is as issued
    assert not np.array_equal(earlier, as_is, equal_nan=True)
    terms = data.features.index("order_terms_days")
    assert np.array_equal(earlier[:, terms], as_is[:, terms])


def test_steadiness_compares_measures_and_not_windows():
    """90 and 365 days of one measure are one reason; the second row has another first reason."""
    features = ("settled_90_late_rate", "settled_365_late_rate", "purchases_days_since_last")
    before = np.array([[1.0, 0.0, 0.5], [1.0, 0.0, 0.5], [0.0, 0.0, 0.0]])
    after = np.array([[0.0, 1.0, 0.5], [0.1, 0.0, 0.5], [0.0, 0.0, 0.0]])
    assert steadiness(features, before, after) == {
        "first_stays": 2 / 3,
        "told_stay": 1.0,
        "moved": pytest.approx((0 + 0.9 + 0) / 3),
    }


def test_of_few_rows_nothing_is_said(curves, datasets, past, question):
    assert explained(curves[question], datasets[question], past, END, END) is None
