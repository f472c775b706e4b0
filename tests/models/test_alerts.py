"""What tells that a customer degrades: laws of the latches, each rule's bounds, the words."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import grades
from models.alerts import Due, Evaluated, Finding, Reference, State, evaluate, from_json, to_json
from models.alerts_file import CODES, AlertsError, load

RULES = load()
NOW = datetime(2025, 7, 2, 9, 14, 7, tzinfo=UTC)
WELL = State(
    customer_id="C-17",
    at=NOW,
    model="m",
    grade="B",
    default_probability=0.008,
    data_depth="A",
    insolvency_opened=False,
    in_default=False,
    exposure_cents=2_000_000,
    overdue_cents=0,
    longest_overdue_days=0,
    limit_cents=3_000_000,
    cover="in_force",
    covered_cents=2_500_000,
)


def due(invoice: str, days_left: int, cents: int = 400_000) -> Due:
    return Due(invoice, NOW.date() + timedelta(days=days_left), days_left, cents)


def graded(letter: str) -> dict[str, Any]:
    low, high = grades.bounds(letter)
    return {"grade": letter, "default_probability": (low + high) / 2}


OVERDUE = {"overdue_cents": 500_000, "longest_overdue_days": 46}
DEGRADED: dict[str, dict[str, Any]] = {
    "insolvency_opened": {"insolvency_opened": True},
    "in_default": {"in_default": True, "grade": "H", "default_probability": None},
    "cover_withdrawn": {"cover": "refused", "covered_cents": 0},
    "cover_reduced": {"covered_cents": 1_000_000},
    "grade_worsened": graded("E"),
    "probability_multiplied": {"grade": "C", "default_probability": 0.20},
    "overdue": OVERDUE,
    "limit_exceeded": {"exposure_cents": 5_000_000},
    "insurer_deadline": {"deadlines": (due("F1", 10),)},
    "data_depth_lost": {"data_depth": "E"},
}


def play(*states: State) -> list[Evaluated]:
    """Evaluate states one after the other, a day apart."""
    found: list[Evaluated] = []
    for days, state in enumerate(states):
        before = found[-1].reference if found else None
        at = max(state.at, NOW + timedelta(days=days))
        found.append(evaluate(before, replace(state, at=at), RULES, "EUR"))
    return found


def told(*states: State) -> list[list[tuple[str, bool]]]:
    return [[(f.code, f.is_again) for f in one.findings] for one in play(*states)]


def worse(**changes: Any) -> State:
    return replace(WELL, **changes)


# Each rule.


@pytest.mark.parametrize("code", DEGRADED)
def test_each_degradation_is_told_once(code):
    bad = worse(**DEGRADED[code])
    first, raised, same = told(WELL, bad, bad)
    assert (first, raised, same) == ([], [(code, False)], [])


def test_a_first_refusal_is_told():
    nothing = worse(cover="none", covered_cents=0)
    refused = worse(cover="refused", covered_cents=0)
    assert told(nothing, refused, refused)[1:] == [[("cover_refused", False)], []]


def test_a_withdrawal_after_a_reduction_is_told_as_such():
    states = (WELL, worse(covered_cents=1_000_000), worse(cover="refused", covered_cents=0))
    assert told(*states)[2] == [("cover_withdrawn", False)]


@pytest.mark.parametrize("code", DEGRADED)
def test_what_is_over_can_be_told_again(code):
    bad = worse(**DEGRADED[code])
    found = play(WELL, bad, WELL, bad)
    assert code in found[2].over
    assert [f.code for f in found[3].findings] == [code]


@pytest.mark.parametrize(
    ("code", "between"),
    [
        ("grade_worsened", graded("C")),
        ("probability_multiplied", {"grade": "C", "default_probability": 0.015}),
        ("overdue", {"overdue_cents": 500_000, "longest_overdue_days": 16}),
        ("limit_exceeded", {"exposure_cents": 3_000_001}),
        ("data_depth_lost", {"data_depth": "B"}),
        ("cover_reduced", {"covered_cents": 2_400_000}),
    ],
)
def test_between_its_two_bounds_nothing_flaps(code, between):
    bad, middle = worse(**DEGRADED[code]), worse(**between)
    assert told(WELL, middle)[1] == []  # not enough to be told
    found = play(WELL, bad, middle, bad, middle, bad)
    assert [f.code for one in found for f in one.findings] == [code]  # nor good enough to be over
    assert all(code not in one.over for one in found[1:])


@pytest.mark.parametrize(
    ("code", "more"),
    [
        ("grade_worsened", graded("G")),
        ("probability_multiplied", {"grade": "C", "default_probability": 0.45}),
        ("overdue", {"overdue_cents": 500_000, "longest_overdue_days": 136}),
        ("limit_exceeded", {"exposure_cents": 7_500_000}),
        ("data_depth_lost", {"data_depth": "F"}),
        ("cover_reduced", {"covered_cents": 100_000}),
        ("insurer_deadline", {"deadlines": (due("F1", 9), due("F2", 14))}),
    ],
)
def test_what_becomes_much_worse_is_told_again(code, more):
    bad = worse(**DEGRADED[code])
    assert told(WELL, bad, worse(**more))[1:] == [[(code, False)], [(code, True)]]


def test_a_slow_slide_is_told_as_a_fall_is():
    letters = [worse(**graded(letter)) for letter in "BCDE"]
    assert [one[0] for one in told(*letters) if one] == [("grade_worsened", False)]


def test_a_state_older_than_the_reference_lasts_is_compared_with_no_longer():
    late = NOW + timedelta(days=RULES.reference_days + 10)
    d, e = worse(**graded("D"), at=late), worse(**graded("E"), at=late + timedelta(days=1))
    assert told(WELL, d, e) == [[], [], []]


def test_the_grade_says_it_alone():
    both = worse(**graded("G"))
    assert [f.code for f in play(WELL, both)[1].findings] == ["grade_worsened"]


def test_another_model_alone_alerts_nobody():
    other = worse(**graded("G"), model="another")
    assert told(WELL, other, other) == [[], [], []]
    assert told(WELL, worse(model="another"), other)[2] == [("grade_worsened", False)]


def test_an_insurer_who_cannot_be_asked_alerts_nobody_and_ends_nothing():
    unknown = worse(cover="unknown", covered_cents=0)
    assert told(WELL, unknown, WELL) == [[], [], []]
    found = play(WELL, worse(covered_cents=1_000_000), unknown, worse(covered_cents=1_000_000))
    assert [len(one.findings) for one in found] == [0, 1, 0, 0]


def test_a_curve_that_abstains_ends_nothing():
    found = play(WELL, worse(**graded("E")), worse(grade=None, default_probability=None))
    assert "grade_worsened" not in found[2].over


@pytest.mark.parametrize("code", DEGRADED)
def test_at_first_sight_only_events_are_told(code):
    bad = worse(**DEGRADED[code])
    first, same = told(bad, bad)
    assert [c for c, _ in first] == ([code] if code in RULES.first_sight else [])
    assert same == []


# Laws.

letters = st.sampled_from(grades.GRADES)
states = st.builds(
    lambda letter, depth, opened, default, owed, overdue, days, limit, cover, covered, left: State(
        customer_id="C-17",
        at=NOW,
        model="m",
        data_depth=depth,
        insolvency_opened=opened,
        in_default=default,
        exposure_cents=owed,
        overdue_cents=min(owed, overdue),
        longest_overdue_days=days,
        limit_cents=limit,
        cover=cover,
        covered_cents=covered if cover == "in_force" else 0,
        deadlines=tuple(due(f"F{i}", days_left) for i, days_left in enumerate(left)),
        **({"grade": None, "default_probability": None} if letter is None else graded(letter)),
    ),
    st.none() | letters,
    st.sampled_from("ABCDEFG"),
    st.sampled_from([False, False, False, True]),
    st.sampled_from([False, False, True]),
    st.integers(0, 10_000_000),
    st.integers(0, 2_000_000),
    st.integers(0, 200),
    st.none() | st.integers(0, 5_000_000),
    st.sampled_from(["in_force", "in_force", "refused", "none", "unknown"]),
    st.integers(1, 5_000_000),
    st.lists(st.integers(-60, 60), max_size=3),
)


@given(st.lists(states, min_size=1, max_size=6))
def test_the_same_state_again_tells_nothing_and_changes_nothing(some):
    *_, last = play(*some)
    at = NOW + timedelta(days=len(some) - 1)
    again = evaluate(last.reference, replace(some[-1], at=at), RULES, "EUR")
    assert again.findings == ()
    assert again.reference == last.reference


@given(st.lists(states, min_size=2, max_size=6))
def test_what_is_told_holds_and_is_not_over(some):
    for one in play(*some):
        codes = [f.code for f in one.findings]
        assert len(set(codes)) == len(codes)
        assert not set(codes) & set(one.over)
        assert set(codes) <= set(one.reference.latches)


@given(st.lists(states, min_size=1, max_size=4))
def test_a_reference_is_read_back_as_it_was_kept(some):
    reference: Reference = play(*some)[-1].reference
    assert from_json(json.loads(json.dumps(to_json(reference)))) == reference


# Words.


def figures(sentence: str, *, french: bool) -> list[str]:
    """Take the figures out of a sentence, written the same way for both languages."""
    sentence = sentence.replace("F1", "").replace("F2", "")
    if french:
        sentence = re.sub(r"(\d\d)/(\d\d)/(\d{4})", r"\3-\2-\1", sentence)
        sentence = re.sub(r"(?<=\d) (?=\d{3})", "", sentence).replace(",", ".")
    else:
        sentence = re.sub(r"(?<=\d),(?=\d{3})", "", sentence)
    return sorted(re.findall(r"\d+(?:[.-]\d+)*", sentence))


@given(st.lists(states, min_size=2, max_size=5))
def test_both_languages_give_the_same_figures(some):
    found: list[Finding] = [f for one in play(*some) for f in one.findings]
    for one in found:
        assert figures(one.fr, french=True) == figures(one.en, french=False)
        assert "{" not in one.fr + one.en


@pytest.mark.parametrize(
    ("code", "fr", "en"),
    [
        (
            "grade_worsened",
            "La classe est passée de B à E : probabilité de défaut de 7,5 % à 365 jours ; encours "
            "20 000,00 EUR.",
            "The grade went from B to E: a probability of default of 7.5 % within 365 days; "
            "exposure 20,000.00 EUR.",
        ),
        (
            "cover_reduced",
            "La garantie de l’assureur est passée de 25 000,00 EUR à 10 000,00 EUR (60,0 % de "
            "moins) ; encours 20 000,00 EUR.",
            "The insurer's cover went from 25,000.00 EUR to 10,000.00 EUR (60.0 % less); exposure "
            "20,000.00 EUR.",
        ),
        (
            "insurer_deadline",
            "Facture F1, 4 000,00 EUR impayés : menace de sinistre à déclarer à l’assureur au plus "
            "tard le 12/07/2025.",
            "Invoice F1, 4,000.00 EUR unpaid: the insurer must be told of a threatened loss by "
            "2025-07-12 at the latest.",
        ),
    ],
)
def test_the_sentences_say_values_with_their_units(code, fr, en):
    (finding,) = play(WELL, worse(**DEGRADED[code]))[1].findings
    assert (finding.fr, finding.en) == (fr, en)
    json.dumps(finding.evidence, allow_nan=False)


# The file.


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("clears_days: 15", "clears_days: 45", "overdue.clears_days: must be below 45 days"),
        ("clears_below: 1, again_after_notches", "clears_below: 3, again_after_notches", "below 3"),
        ("at_least_times: 3", "at_least_times: 1.2", "clears_below_times: must be below 1.2"),
        ("severity: notice", "severity: loud", "data_depth_lost.severity"),
        ("within_days: 15", "within_days: 15, maybe: 1", "insurer_deadline.maybe"),
        ("reference_days: 180", "reference_days: -1", "reference_days"),
        ("[insolvency_opened,", "[insolvency,", "first_sight"),
    ],
)
def test_a_file_that_would_flap_or_that_nobody_understands_is_refused(old, new, said):
    text = (load.__globals__["PATH"]).read_text("utf-8")
    assert old in text
    with pytest.raises(AlertsError, match=re.escape(said)):
        load(text.replace(old, new))


def test_every_code_has_a_rule():
    assert all(RULES.severity(code) for code in CODES)
