"""The recommended limit: what the customer needs, what the seller accepts to lose."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.limits import recommended_limit
from models.policy import Order, Risk, Situation, expected_loss, load

TEXT = (Path(__file__).parents[2] / "models" / "policy.yaml").read_text(encoding="utf-8")
POLICY = load(TEXT)
ORDER = Order(amount_cents=20_000_00, margin_cents=800_00, terms_days=30)
REGULAR = Situation(
    exposure_cents=0, yearly_purchases_cents=300_000_00, covered_cents=40_000_00, insured_rate=0.9
)
RISK = Risk(default_probability=0.04, expected_delay_days=9)


def limit_of(order=ORDER, situation=REGULAR, risk=RISK) -> int:
    return recommended_limit(order, situation, risk, POLICY).cents


def test_the_limit_is_the_smaller_of_need_and_appetite_and_says_so_line_by_line():
    limit = recommended_limit(ORDER, REGULAR, RISK, POLICY)
    assert [(line.en, line.value, line.unit) for line in limit.derivation] == [
        ("Purchases over a year", 300_000_00, "cents"),
        ("What the customer needs", 37_000_00, "cents"),  # 300,000 × 30 / 365 × 1.5 = 36,986.30
        ("Expected loss accepted", 6_000_00, "cents"),  # 2 % of 300,000
        ("Loss per uninsured unit", 0.024, "rate"),  # 4 % × 60 %
        ("Uninsured exposure borne", 250_000_00, "cents"),  # 6,000 / 0.024
        ("With the insured part", 286_000_00, "cents"),  # + 90 % of 40,000
        ("Cover and beyond", 290_000_00, "cents"),  # 40,000 + 250,000
        ("Concentration allowed", 2_000_000_00, "cents"),  # 10 % of 20 millions
        ("Recommended limit", 37_000_00, "cents"),
    ]
    assert limit.cents == 37_000_00


def test_the_appetite_spends_exactly_the_expected_loss_accepted():
    loss = expected_loss(Decimal(286_000_00), REGULAR, 0.04, Decimal("0.60"))
    assert loss == 6_000_00


def test_within_the_cover_the_uninsured_share_alone_counts_against_the_appetite():
    """2 % of 20,000 = 400 = 20 % × 60 % × 10 % of 33,333; 60,000 × 90 % would have been added."""
    covered = replace(REGULAR, yearly_purchases_cents=0, covered_cents=60_000_00)
    order = ORDER._replace(amount_cents=20_000_00)
    lines = recommended_limit(order, covered, Risk(0.20, 9), POLICY).derivation
    assert {line.en: line.value for line in lines}["With the insured part"] == 33_000_00
    assert expected_loss(Decimal(33_333_33), covered, 0.20, Decimal("0.60")) < 400_00


@pytest.mark.parametrize(
    ("risk", "why"),
    [(Risk(0.0, 9), "no default, no loss"), (Risk(1e-300, 9), "hardly any")],
)
def test_without_risk_the_need_decides(risk, why):
    assert limit_of(risk=risk) == 37_000_00, why


@pytest.mark.parametrize("amount_cents", [80_00, 950_00, 20_550_00])
def test_a_new_customer_needs_its_order_and_rounding_does_not_cut_it(amount_cents):
    new = replace(REGULAR, yearly_purchases_cents=0, covered_cents=0)
    limit = limit_of(ORDER._replace(amount_cents=amount_cents), new, Risk(0.001, 0))
    assert amount_cents <= limit < 1.1 * amount_cents


@pytest.mark.parametrize(
    ("appetite", "limit"),
    [(123_456, 123_000), (12_345, 12_000), (9_999, 9_900), (1_234, 1_200), (87, 87), (0.4, 0.4)],
)
def test_the_appetite_is_rounded_down_to_two_digits_and_no_coarser_than_1_000(appetite, limit):
    """2 % of the order over a loss rate of 60 %: the order is 30 times the appetite."""
    new = replace(REGULAR, yearly_purchases_cents=0, covered_cents=0)
    order = ORDER._replace(amount_cents=round(30 * 100 * appetite))
    assert limit_of(order, new, Risk(1.0, 0)) == limit * 100


cents = st.integers(0, 500_000_00)
situations = st.builds(Situation, cents, cents, cents, st.floats(0, 1))
orders = st.builds(Order, st.integers(1, 100_000_00), st.just(0), st.integers(0, 90))
risks = st.builds(Risk, st.floats(0, 1), st.floats(-60, 120))


@given(orders, situations, risks, st.floats(0, 1))
def test_more_risk_never_raises_the_limit(order, now, risk, other):
    low, high = sorted([risk.default_probability, other])
    milder, worse = (replace(risk, default_probability=p) for p in (low, high))
    assert limit_of(order, now, worse) <= limit_of(order, now, milder)


@given(orders, situations, risks, cents, st.floats(0, 1))
def test_less_cover_never_raises_the_limit(order, now, risk, covered, insured_rate):
    less = replace(
        now,
        covered_cents=min(covered, now.covered_cents),
        insured_rate=min(insured_rate, now.insured_rate),
    )
    assert limit_of(order, less, risk) <= limit_of(order, now, risk)


@given(orders, situations, risks, st.floats(-60, 3650))
def test_paying_later_does_not_move_the_limit(order, now, risk, delay):
    later = replace(risk, expected_delay_days=delay)
    assert limit_of(order, now, later) == limit_of(order, now, risk)


@given(orders, situations, risks)
def test_the_exposure_that_exists_does_not_move_the_limit(order, now, risk):
    assert limit_of(order, replace(now, exposure_cents=0), risk) == limit_of(order, now, risk)


@given(orders, situations, risks)
def test_a_full_limit_never_costs_more_than_the_loss_accepted(order, now, risk):
    idle = replace(now, exposure_cents=0)
    limit = limit_of(order, idle, risk)
    loss = expected_loss(Decimal(limit), idle, risk.default_probability, Decimal("0.60"))
    accepted = Decimal("0.02") * max(idle.yearly_purchases_cents, order.amount_cents)
    assert loss <= accepted + Decimal("1e-9")
