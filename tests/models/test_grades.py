"""The master scale: fixed, published, and the same whatever the model."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import grades
from models.grades import GRADES, bounds, grade, scale, score

PROBABILITIES = st.floats(0, 1)


def test_the_published_scale_is_this_one():
    """Whoever changes it renames it: grades of two scales do not compare."""
    assert scale() == {
        "name": "encours-1",
        "horizon_days": 365,
        "upper_bounds": {
            "A": 0.005, "B": 0.01, "C": 0.025, "D": 0.05, "E": 0.1, "F": 0.2, "G": 0.4, "H": 1.0,
        },
        "even_odds_score": 337,
        "points_to_halve_the_odds": 50,
    }  # fmt: skip


def test_the_example_of_the_contracts_is_grade_e_and_512():
    assert grade([0.081]).tolist() == ["E"]
    assert score([0.081]).tolist() == [512]


def test_a_customer_in_default_is_h_and_0():
    assert grade([1.0]).tolist() == ["H"]
    assert score([1.0]).tolist() == [0]


def test_a_probability_on_a_bound_gets_the_better_grade_and_just_above_the_worse():
    highest = np.array([bounds(letter).high for letter in GRADES])
    assert grade(highest).tolist() == list(GRADES)
    assert grade(np.nextafter(highest[:-1], 1)).tolist() == list(GRADES[1:])
    assert grade([0.0]).tolist() == ["A"]


@given(PROBABILITIES)
def test_a_probability_lies_within_the_bounds_of_its_grade(probability):
    low, high = bounds(str(grade([probability])[0]))
    assert low < probability <= high or probability == low == 0


def test_the_bounds_of_the_grades_meet_and_cover_everything():
    ends = [bounds(letter) for letter in GRADES]
    assert ends[0].low == 0
    assert ends[-1].high == 1
    assert all(a.high == b.low for a, b in pairwise(ends))


@pytest.mark.parametrize("probability", [0.01, 0.08, 0.3])
def test_50_points_halve_the_odds(probability):
    odds = probability / (1 - probability) / 2
    safer = odds / (1 + odds)
    assert abs(score([safer])[0] - score([probability])[0] - 50) <= 1  # each is rounded


def test_even_odds_score_337_which_is_the_constant_of_the_formula():
    assert score([0.5]).tolist() == [337]
    by_hand = 337 - 50 / math.log(2) * math.log(0.081 / 0.919)
    assert by_hand == pytest.approx(512.2, abs=0.05)


@given(PROBABILITIES, PROBABILITIES)
def test_a_likelier_default_never_scores_higher_nor_grades_better(one, other):
    low, high = sorted((one, other))
    assert score([low])[0] >= score([high])[0]
    assert grade([low])[0] <= grade([high])[0]
    assert 0 <= score([high])[0] <= 1000


def test_the_table_of_the_docstring_is_what_the_functions_say():
    ends = score([bounds(letter).high for letter in GRADES[:-1]]).tolist()
    assert ends == [719, 668, 601, 549, 495, 437, 366]
    rows = grades.__doc__.splitlines()
    for letter, end in zip(GRADES, ends, strict=False):
        assert any(row.startswith(f"{letter} ") and str(end) in row for row in rows)


@pytest.mark.parametrize("wrong", [-0.01, 1.01, math.nan])
@pytest.mark.parametrize("asked", [grade, score])
def test_what_is_no_probability_is_refused_with_how_many(asked, wrong):
    with pytest.raises(ValueError, match="1 of 2 probabilities are not within 0 … 1"):
        asked([0.2, wrong])
