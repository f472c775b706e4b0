"""The laws of the policy: worse is never answered more softly, nothing admissible earns more.

An option is *softer* than another when it stands before it on a chain, or when more customers take
it, it gives as much credit, loses as much of each unit and takes as much of the limit, and one of
these more. An insured sale compares along its chain only: it pays a premium for its cover.
"""

from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from models.limits import in_force_beside, recommended_limit
from models.options import beyond_cover, offers
from models.policy import Decision, Option, Order, Policy, Risk, Situation, decide, expected_loss
from models.policy_file import SECURITIES, load
from tests.models.policies import LESS, NO_DEPOSIT, POLICY, TEXT, admissible, option, policy_with

ORDER = Order(amount_cents=20_000_00, margin_cents=800_00, terms_days=30)
NEW = Situation(exposure_cents=0, yearly_purchases_cents=0, covered_cents=0, insured_rate=0.9)

cents = st.integers(0, 100_000_00)
rates = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.5, 0.9, 1.0]))
probabilities = st.one_of(st.floats(0, 0.2), st.floats(0, 1), st.sampled_from([0.0, 1.0]))


class Asked(NamedTuple):
    """An order, where the customer stands, and the risk."""

    order: Order
    now: Situation
    risk: Risk


@st.composite
def cases(draw):
    """Orders of every size, whose cover, exposure and purchases are of the order's size."""
    amount = draw(st.sampled_from([1, 99, 80_00, 2_000_00, 20_000_00]))
    order = Order(
        amount,
        draw(st.integers(-amount // 20, amount // 3)),
        draw(st.integers(0, 90)),
        draw(st.sampled_from([0, 0, amount // 4, amount // 2])),
    )
    situation = Situation(
        exposure_cents=draw(st.integers(-amount, 3 * amount)),
        yearly_purchases_cents=draw(st.sampled_from([0, 1, 2 * amount, 20 * amount])),
        covered_cents=draw(st.integers(0, 4 * amount)),
        insured_rate=draw(rates),
        orders_cents=draw(st.sampled_from([0, amount])),
        deductible_cents=draw(st.sampled_from([0, 0, amount // 10, amount])),
        importance=draw(st.sampled_from(["normal", "important", "key"])),
        group_exposure_cents=draw(st.sampled_from([0, 0, 3 * amount])),
        decided_limit_cents=draw(st.sampled_from([None, None, amount, 5 * amount])),
    )
    probability = draw(probabilities)
    shorter, cured = probability * draw(st.floats(0, 1)), draw(st.sampled_from([0.0, 0.0, 0.9]))
    delay = draw(st.floats(-60, 120))
    return Asked(order, situation, Risk(probability, delay, shorter, cure_rate=cured))


@st.composite
def policies(draw):
    """Policies of all kinds: with and without each option, a steep or a flat acceptance."""
    if draw(st.integers(0, 2)) == 0:
        return draw(st.sampled_from([POLICY, NO_DEPOSIT]))
    document = yaml.safe_load(TEXT)
    document["acceptance_rate"] = draw(acceptances())
    losses = sorted(draw(st.sets(st.integers(0, 59), min_size=3, max_size=3)), reverse=True)
    document["lgd_rate"] |= dict(zip(SECURITIES, (loss / 100 for loss in losses), strict=True))
    document["deposit_step_rate"] = draw(st.sampled_from([0.05, 0.1, 0.25]))
    document["appetite"]["expected_loss_rate"] = draw(st.sampled_from([0.002, 0.02, 0.2]))
    document["limit"]["tolerance_rate"] = draw(st.sampled_from([0, 0.1, 0.333]))
    document["funding"]["annual_rate"] = draw(st.sampled_from([0, 0.05, 0.5]))
    for cost in document["instrument_cost"].values():
        cost["rate"] = draw(st.sampled_from([0, 0.004, 0.05]))
    return load(yaml.safe_dump(document))


@st.composite
def acceptances(draw):
    """Draw acceptances that fall along each chain; each option but four may be left out."""
    shares = sorted(draw(st.sets(st.integers(1, 100), min_size=6, max_size=8)), reverse=True)
    between = st.sampled_from(shares[1:-1])
    knots = sorted(draw(st.sets(st.integers(1, 99), max_size=len(shares) - 2)))
    found = {
        "open": shares[0] / 100,
        "deposit": {
            knot / 100: share / 100 for knot, share in zip(knots, shares[1:], strict=False)
        },
        "cash": shares[-1] / 100,
        "refuse": 0,
    }
    for kind in ("reduced_limit", "shorter_terms", "insured_sale", "factoring"):
        if draw(st.booleans()):
            found[kind] = draw(between) / 100
    secured = draw(st.sets(st.sampled_from(SECURITIES)))
    falling = zip([kind for kind in SECURITIES if kind in secured], shares[1:-1], strict=False)
    return found | {kind: share / 100 for kind, share in falling}


# Worse is never answered more softly.


def riskier(asked: Asked, draw) -> Asked:
    """Raise the whole curve of default in proportion."""
    order, now, risk = asked
    raised = draw(st.floats(risk.default_probability, 1))
    factor = raised / risk.default_probability if risk.default_probability else 0.0
    shorter = min(raised, (risk.shorter_default_probability or 0) * factor)
    return Asked(
        order,
        now,
        replace(risk, default_probability=raised, shorter_default_probability=shorter),
    )


def with_more_exposure(asked: Asked, draw) -> Asked:
    """Owe more; once a deductible is used up the next order is insured better, so there is none."""
    order, now, risk = asked
    assert now.deductible_cents == 0
    return Asked(order, replace(now, exposure_cents=now.exposure_cents + draw(cents)), risk)


AGGRAVATIONS = {
    "more risk": riskier,
    "a longer delay": lambda asked, draw: asked._replace(
        risk=replace(
            asked.risk, expected_delay_days=draw(st.floats(asked.risk.expected_delay_days, 3650))
        )
    ),
    "less margin": lambda asked, draw: asked._replace(
        order=asked.order._replace(
            margin_cents=asked.order.margin_cents - draw(st.integers(0, 20_000_00))
        )
    ),
    "less cover": lambda asked, draw: asked._replace(
        now=replace(asked.now, covered_cents=draw(st.integers(0, asked.now.covered_cents)))
    ),
    "a smaller insured share": lambda asked, draw: asked._replace(
        now=replace(asked.now, insured_rate=draw(st.floats(0, asked.now.insured_rate)))
    ),
    "more exposure": with_more_exposure,
    "less importance": lambda asked, draw: asked._replace(
        now=replace(asked.now, importance="normal")
    ),
}


def measures(of: Option, risk: Risk, policy: Policy) -> tuple[float, ...]:
    """Return acceptance, credit, loss of a unit on credit, and what it takes of the limit."""
    credit, lgd_rate = of.amount_on_credit_cents, float(policy.lgd_of(of.kind))
    if credit == 0:
        return of.acceptance, 0, 0, 0
    lived = 1.0
    if of.kind == "shorter_terms" and risk.default_probability:
        lived = (risk.shorter_default_probability or 0) / risk.default_probability
    return of.acceptance, credit, of.acceptance * lgd_rate * lived, credit * lgd_rate


def is_softer(one: Option, other: Option, risk: Risk, policy: Policy) -> bool:
    kinds = {one.kind, other.kind}
    if "insured_sale" in kinds and not kinds & {"open", "cash", "refuse"}:
        return False
    mine, others = measures(one, risk, policy), measures(other, risk, policy)
    softer = [a >= b for a, b in zip(mine, others, strict=True)]
    more = [a > b + 1e-9 * abs(b) for a, b in zip(mine, others, strict=True)]
    return all(softer) and any(more)


def chosen(decision: Decision) -> Option:
    return next(one for one in decision.options if one.chosen)


@pytest.mark.parametrize("aggravation", AGGRAVATIONS)
@given(case=cases(), policy=policies(), data=st.data())
def test_the_law_worse_is_never_answered_more_softly(aggravation, case, policy, data):
    if aggravation == "more exposure":
        case = case._replace(now=replace(case.now, deductible_cents=0))
    worse = AGGRAVATIONS[aggravation](case, data.draw)
    answer, before = chosen(decide(*worse, policy)), chosen(decide(*case, policy))
    assert not is_softer(answer, before, worse.risk, policy)


def test_the_shipped_options_compare_as_a_credit_manager_would_say():
    decision = decide(ORDER, replace(NEW, yearly_purchases_cents=480_000_00), RISK, POLICY)
    named = {one.kind: one for one in decision.options}

    def softer(one: str, other: str) -> bool:
        return is_softer(named[one], named[other], RISK, POLICY)

    for kind in set(named) - {"open", "cash", "refuse", "review"}:
        assert softer("open", kind)
        assert softer(kind, "cash")
        assert softer(kind, "refuse")
    assert softer("retention_of_title", "bank_guarantee")
    assert softer("bank_guarantee", "letter_of_credit")
    assert not softer("retention_of_title", "deposit")  # more credit, less loss of each unit
    assert not softer("deposit", "retention_of_title")


RISK = Risk(0.0391657, 9, 0.035)


@given(case=cases(), policy=policies(), data=st.data())
def test_more_risk_or_less_cover_never_raises_the_limit(case, policy, data):
    for aggravation in (riskier, AGGRAVATIONS["less cover"]):
        worse = aggravation(case, data.draw)
        assert recommended_limit(*worse, policy).cents <= recommended_limit(*case, policy).cents


@given(decided=cents, recommended=st.lists(cents, min_size=2, max_size=2))
def test_a_limit_in_force_follows_the_recommended_one_and_never_above_the_decided(
    decided, recommended
):
    low, high = sorted(recommended)
    assert (
        in_force_beside(low, decided, POLICY) <= in_force_beside(high, decided, POLICY) <= decided
    )


def test_a_lower_limit_never_brings_back_credit_that_a_higher_one_refused():
    """Open terms fit the first limit and earn less than cash. The second leaves the covered part.

    On it alone, 12,000, the worth would be 0.9 × (0.6 × 800 − 65) = 373.50, above cash, 320.
    """
    policy = policy_with(
        acceptance_rate={**dict.fromkeys(LESS), "deposit": {}}, limit={"tolerance_rate": 0}
    )
    covered = replace(NEW, covered_cents=12_000_00, insured_rate=1.0)
    milder, worse = (decide(ORDER, covered, Risk(p, 9.0), policy) for p in (0.08, 1.0))
    assert (milder.action, worse.action) == ("cash", "cash")
    assert option(milder, "open").admissible
    reduced = option(worse, "reduced_limit")
    assert reduced.expected_profit_cents == 373_50 > option(worse, "cash").expected_profit_cents
    assert reduced.obstacle is not None
    assert reduced.obstacle.id == "margin_below_credit_cost"


# Nothing admissible earns more.


def priced_by_brute_force(asked: Asked, policy: Policy, most_cents: int | None) -> list[float]:
    """Price every option, every deposit of the grid, again from the formula, in floats.

    Those that a cent of the limit decides about are left out.
    """
    order, now, risk = asked
    taken, most = policy.acceptance_rate, float("1e18") if most_cents is None else most_cents
    ceiling = most * (1 + float(policy.limit.tolerance_rate))
    room = max(0, int(ceiling) - now.owed_cents)
    future = {"normal": 0.0, "important": 0.25, "key": 0.5}[now.importance]
    margin = order.margin_cents + max(0, order.margin_cents) * future
    open_days = max(0, order.terms_days + risk.expected_delay_days)

    def lost(exposure: float, cover: float) -> float:
        owed = max(0.0, exposure)
        return owed - max(0.0, min(owed, cover) * now.insured_rate - now.deductible_cents)

    def worth(credit, acceptance, lgd=0.6, probability=None, days=open_days, cost=0.0, raised=0.0):
        cover = max(now.covered_cents, raised)
        added = lost(now.owed_cents + credit, cover) - lost(now.owed_cents, cover)
        p = risk.default_probability if probability is None else probability
        lgd *= 1 - risk.cure_rate
        funding = credit * float(policy.funding.annual_rate) * days / 360
        return acceptance * (margin - p * lgd * added - funding - cost)

    worths = [0.0, float(taken.cash) * margin]
    if now.owed_cents > int(ceiling):
        return worths
    unpaid = order.unpaid_cents
    if unpaid <= room - 1:
        worths.append(worth(unpaid, float(taken.open)))
        shorter = policy.shorter_terms_days(order.terms_days)
        if shorter:
            days = max(0, shorter + risk.expected_delay_days)
            p = risk.shorter_default_probability
            worths.append(worth(unpaid, float(taken.shorter_terms), probability=p, days=days))
    for rate, accepted in policy.deposits:
        credit = order.amount_cents * (1 - float(rate))
        if credit < unpaid and credit <= room - 1:
            worths.append(worth(credit, float(accepted)))
    for kind in (*SECURITIES, "factoring"):
        accepted, lgd = taken.of(kind), float(policy.lgd_of(kind))
        if accepted is not None and unpaid * lgd / 0.6 <= room - 1:
            cost = getattr(policy.instrument_cost, kind)
            paid = max(float(cost.rate) * unpaid, 100 * float(cost.minimum_amount))
            worths.append(worth(unpaid, float(accepted), lgd=lgd, cost=paid))
    return worths


@given(case=cases(), policy=policies())
def test_no_admissible_option_beats_the_chosen_one(case, policy):
    decision = decide(*case, policy)
    assert decision.limit is not None
    best = max(priced_by_brute_force(case, policy, decision.limit.most_cents))
    assert best <= chosen(decision).expected_profit_cents + 0.51


def test_a_search_over_the_options_of_a_hundred_orders_finds_nothing_better():
    rng = np.random.default_rng(5)
    actions = set()
    for _ in range(100):
        amount = int(rng.integers(500_00, 80_000_00))
        risk = float(rng.beta(0.5, 9))
        asked = Asked(
            Order(amount, int(amount * rng.uniform(-0.01, 0.2)), int(rng.integers(0, 91))),
            Situation(
                exposure_cents=int(rng.integers(-10_000_00, 60_000_00)),
                yearly_purchases_cents=int(rng.integers(0, 900_000_00)),
                covered_cents=int(rng.choice([0, 30_000_00, 100_000_00])),
                insured_rate=0.9,
                orders_cents=int(rng.choice([0, 5_000_00])),
                importance=str(rng.choice(["normal", "important", "key"])),
            ),
            Risk(risk, float(rng.normal(8, 10)), 0.9 * risk),
        )
        decision = decide(*asked, POLICY)
        assert decision.limit is not None
        best = max(priced_by_brute_force(asked, POLICY, decision.limit.most_cents))
        assert best <= chosen(decision).expected_profit_cents + 0.51
        actions.add(decision.action)
    assert len(actions) >= 4  # else the search would not have searched


# Money.


@given(case=cases(), policy=policies())
def test_a_larger_deposit_never_raises_the_expected_loss(case, policy):
    order, now, risk = case
    losses = [
        expected_loss(
            order.amount_cents * (1 - rate), now, risk.default_probability, Decimal("0.6")
        )
        for rate in (Decimal(0), *(rate for rate, _ in policy.deposits), Decimal(1))
    ]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == 0


@given(case=cases(), split=st.integers(0, 100))
def test_the_cover_counts_once_for_two_orders_in_a_row(case, split):
    order, now, risk = case
    now = replace(now, exposure_cents=max(0, now.exposure_cents))
    first = Decimal(order.amount_cents * split // 100)
    after = replace(now, exposure_cents=now.exposure_cents + int(first))
    lgd_rate, probability = Decimal("0.6"), risk.default_probability
    at_once = expected_loss(Decimal(order.amount_cents), now, probability, lgd_rate)
    in_turn = expected_loss(first, now, probability, lgd_rate) + expected_loss(
        order.amount_cents - first, after, probability, lgd_rate
    )
    assert float(at_once) == pytest.approx(float(in_turn))


@given(case=cases())
def test_insured_and_uninsured_make_the_exposure_and_the_cover_pays_once(case):
    now = case.now
    exposure = Decimal(max(0, now.owed_cents))
    assert now.insured(exposure) + now.uninsured(exposure) == exposure
    assert now.insured(exposure) <= Decimal(str(now.insured_rate)) * now.covered_cents


@given(case=cases(), policy=policies())
def test_an_insured_sale_insures_what_no_cover_reaches_and_nothing_twice(case, policy):
    order, now, _ = case
    for offer in offers(order, 0, policy, on_credit=True):
        if offer.kind == "insured_sale":
            beyond = beyond_cover(offer, now)
            within = offer.on_credit_cents - beyond
            left = max(0, now.covered_cents - max(0, now.owed_cents))
            assert 0 <= beyond <= offer.on_credit_cents
            assert within <= left + max(0, -now.owed_cents)


@given(case=cases(), policy=policies())
def test_rounding_to_cents_loses_nothing(case, policy):
    """What is shown gives the profit again, but for half a cent of each rounded figure."""
    for one in decide(*case, policy).options:
        costs = one.expected_loss_cents + one.funding_cents + one.cost_cents
        again = one.acceptance * (one.margin_cents - costs)
        assert abs(one.expected_profit_cents - again) <= 2.5


@given(case=cases(), policy=policies())
def test_the_answer_is_whole(case, policy):
    decision = decide(*case, policy)
    kinds = [one.kind for one in decision.options]
    assert len(kinds) == len(set(kinds))
    assert {"open", "cash", "refuse", "review"} <= set(kinds)
    done = decision.proposed_action or decision.action
    assert [one.kind for one in decision.options if one.chosen] == [done]
    assert decision.options[0].chosen
    assert decision.derivation[-1].value == chosen(decision).expected_profit_cents
    assert {done} <= admissible(decision)
