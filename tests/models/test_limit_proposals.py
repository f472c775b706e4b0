"""New limits beside old ones: what moves, what stays, and why."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from models.limit_proposals import (
    BOUND_WORDS,
    blocking,
    by_euros_moved,
    propose,
    totals,
    with_hysteresis,
)
from models.limits import Order, Risk, Situation, recommended_limit
from tests.models.policies import POLICY, policy_with

ORDER = Order(amount_cents=20_000_00, margin_cents=800_00, terms_days=30)
REGULAR = Situation(
    exposure_cents=0, yearly_purchases_cents=300_000_00, covered_cents=40_000_00, insured_rate=0.9
)
RISK = Risk(0.04, 9, grade="D")


def proposal(
    old_cents=None, situation=REGULAR, risk=RISK, policy=POLICY, customer="C", exposure_cents=0
):
    limit = None if risk is None else recommended_limit(ORDER, situation, risk, policy)
    grade = None if risk is None else risk.grade
    facts = situation.facts
    return propose(customer, limit, old_cents, exposure_cents, policy, facts=facts, grade=grade)


# Hysteresis, both ways.


@pytest.mark.parametrize(
    ("old", "recommended", "new"),
    [
        (None, 37_000, 37_000),
        (50_000, 46_000, 50_000),
        (50_000, 54_000, 50_000),
        (50_000, 45_000, 50_000),
        (50_000, 55_000, 50_000),
        (50_000, 44_000, 44_000),
        (50_000, 56_000, 56_000),
        (0, 1_000, 1_000),
        (1_000, 0, 0),
        (0, 0, 0),
    ],
)
def test_within_the_hysteresis_of_the_old_limit_nothing_changes(old, recommended, new):
    cents = None if old is None else 100 * old
    assert with_hysteresis(100 * recommended, cents, POLICY) == 100 * new


def test_without_hysteresis_every_recommendation_is_proposed():
    bare = policy_with(limit={"hysteresis_rate": 0})
    assert with_hysteresis(50_001_00, 50_000_00, bare) == 50_001_00


cents = st.integers(0, 500_000_00)
situations = st.builds(Situation, cents, cents, cents, st.floats(0, 1))
risks = st.builds(Risk, st.floats(0, 1), st.just(0.0), grade=st.sampled_from("ABCDEFGH"))
policies = st.builds(lambda r: policy_with(limit={"hysteresis_rate": r}), st.floats(0, 0.5))


@given(situations, risks, st.none() | cents, policies)
def test_proposals_applied_and_asked_again_change_nothing(now, risk, old, policy):
    first = proposal(old, now, risk, policy)
    again = proposal(
        first.new_cents, replace(now, decided_limit_cents=first.new_cents), risk, policy
    )
    assert again.new_cents == first.new_cents
    assert again.moved_cents == 0
    assert not again.is_changed


@given(
    st.floats(0.005, 0.9),
    st.integers(1_000_00, 500_000_00),
    st.lists(st.floats(-0.04, 0.04), min_size=2, max_size=8),
)
def test_noise_in_the_probability_does_not_make_a_limit_flap(probability, purchases, noise):
    """The probability trembles by 4 % around its value: the first limit proposed stays."""
    now = Situation(0, purchases, 0, 0.0)
    small, limit = Order(1_00, 0, 30), None
    seen = []
    for tremble in noise:
        risk = Risk(probability * (1 + tremble), 0, grade="E")
        one = recommended_limit(small, now, risk, POLICY)
        limit = propose("C", one, limit, 0, POLICY).new_cents
        seen.append(limit)
    assume(max(seen, default=0) >= 100_00)
    assert len(set(seen)) == 1


@given(situations, risks, cents)
def test_what_is_proposed_is_the_old_limit_or_the_recommended_one(now, risk, old):
    one = proposal(old, now, risk)
    assert one.new_cents in (old, one.recommended_cents)
    assert abs(one.recommended_cents - one.new_cents) <= POLICY.limit.hysteresis_rate * old


# Why.


@pytest.mark.parametrize(
    ("changes", "risk", "bound"),
    [
        ({}, RISK, "need"),
        ({"covered_cents": 0}, Risk(0.9, 9, grade="H"), "appetite"),
        ({"group_exposure_cents": 250_000_00}, RISK, "group"),
        ({"covered_cents": 0, "yearly_purchases_cents": 9_000_000_00}, Risk(0.001, 9), "cover"),
        ({"equity_cents": 1}, RISK, "equity"),
        (
            {"group_exposure_cents": 1_990_000_00, "covered_cents": 0},
            Risk(1e-9, 9),
            "concentration",
        ),
    ],
)
def test_the_bound_that_binds_is_named_in_both_languages(changes, risk, bound):
    one = proposal(situation=replace(REGULAR, **changes), risk=risk)
    assert one.why == BOUND_WORDS[bound]


@given(situations, risks)
def test_the_bound_named_is_the_one_whose_figure_is_the_limit(now, risk):
    limit = recommended_limit(ORDER, now, risk, POLICY)
    figure = {
        "need": "What the customer needs",
        "appetite": "With the insured part",
        "group": "With the insured part",
        "cover": "Cover and beyond",
        "equity": "Share of equity",
        "concentration": "Concentration allowed",
    }[limit.bound]
    assert {line.en: line.value for line in limit.derivation}[figure] == limit.recommended_cents


def test_every_bound_has_its_words():
    for words in BOUND_WORDS.values():
        assert words.fr
        assert words.en
        assert words.fr != words.en


# Who is blocked, and who is not known.


@pytest.mark.parametrize(
    ("fact", "is_blocked"),
    [
        ("insolvency_opened", True),
        ("bank_details_unverified", True),
        ("cover_withdrawn", True),
        ("is_natural_person", False),  # a person decides on the order; credit is not closed
    ],
)
def test_a_rule_that_leaves_no_credit_without_security_proposes_nothing(fact, is_blocked):
    one = proposal(50_000_00, replace(REGULAR, facts=frozenset({fact})))
    assert (one.new_cents == 0) == is_blocked
    assert (blocking({fact}, POLICY) is not None) == is_blocked
    if is_blocked:
        assert one.moved_cents == -50_000_00
        assert one.derivation[0].en == one.why.en


def test_a_blocked_customer_gets_0_even_within_the_hysteresis():
    loose = policy_with(limit={"hysteresis_rate": 0.99})
    blocked = replace(REGULAR, facts=frozenset({"insolvency_opened"}))
    assert proposal(100, blocked, policy=loose).new_cents == 0


def test_a_blocked_customer_is_blocked_where_the_curve_abstains_too():
    blocked = replace(REGULAR, facts=frozenset({"insolvency_opened"}))
    assert proposal(100, blocked, risk=None).new_cents == 0


def test_where_the_curve_abstains_nothing_is_proposed_and_the_old_limit_stays():
    one = proposal(50_000_00, risk=None)
    assert (one.new_cents, one.recommended_cents, one.moved_cents) == (None, None, 0)
    assert one.in_force_cents == 50_000_00
    assert "no probability of default" in one.why.en


# The portfolio.

FEW = [
    proposal(None, customer="A"),  # 37,000, a first one
    proposal(100_000_00, customer="B", exposure_cents=60_000_00),  # lowered to 37,000
    proposal(20_000_00, customer="C", exposure_cents=30_000_00),  # raised to 37,000
    proposal(38_000_00, customer="D"),  # stays
    proposal(5_000_00, risk=None, customer="E", exposure_cents=6_000_00),
    proposal(None, risk=None, customer="F", exposure_cents=6_000_00),
]


def test_most_euros_moved_come_first_and_the_undecided_last():
    assert [one.customer_id for one in by_euros_moved(FEW)] == ["B", "A", "C", "D", "E", "F"]


def test_totals_add_up():
    """Before 100 + 20 + 38 + 5 = 163; after 37 + 37 + 37 + 38 + 5 = 154, in thousands."""
    found = totals(FEW)
    assert (found.customers, found.raised, found.lowered, found.first) == (6, 1, 1, 1)
    assert (found.unchanged, found.undecided) == (1, 2)
    assert (found.before_cents, found.after_cents) == (163_000_00, 154_000_00)
    assert found.above_before_cents == (30 - 20 + 6 - 5) * 1_000_00
    assert found.above_after_cents == (60 - 37 + 6 - 5) * 1_000_00
    assert found.after_cents - found.before_cents == sum(one.moved_cents for one in FEW)


def test_the_room_is_what_the_limit_leaves_and_may_be_negative():
    assert FEW[1].room_cents == (37 - 60) * 1_000_00
    assert FEW[5].room_cents is None


def test_a_limit_is_looked_at_again_sooner_where_the_risk_is_higher():
    days = [proposal(risk=Risk(0.04, 9, grade=grade)).review_days for grade in "ACEH"]
    assert days == [365, 180, 90, 30]
    assert Decimal(POLICY.limit.hysteresis_rate) == Decimal("0.10")
