"""The policy: its file, the worth of each option, and the law that more risk never softens."""

import hashlib
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from models.policy import (
    Decision,
    Option,
    Order,
    PolicyError,
    Risk,
    Situation,
    decide,
    expected_loss,
    load,
)

FILE = Path(__file__).parents[2] / "models" / "policy.yaml"
TEXT = FILE.read_text(encoding="utf-8")
POLICY = load(FILE)
NO_DEPOSIT = load(TEXT.replace("{0.30: 0.85, 0.50: 0.60}", "{}"))

ORDER = Order(amount_cents=20_000_00, margin_cents=800_00, terms_days=30)
REGULAR = Situation(
    exposure_cents=0, yearly_purchases_cents=480_000_00, covered_cents=0, insured_rate=0.9
)
NEW = replace(REGULAR, yearly_purchases_cents=0)
RISK = Risk(default_probability=0.0391657, expected_delay_days=9)


def option(decision: Decision, kind: str) -> Option:
    return next(one for one in decision.options if one.kind == kind)


def rule_ids(decision: Decision) -> list[str]:
    return [rule.id for rule in decision.rules]


# The worth of the options


def test_the_worked_order_is_accepted_with_a_deposit_of_30_percent():
    decision = decide(ORDER, REGULAR, RISK, POLICY)
    shown = [
        (o.kind, o.expected_loss_cents, o.funding_cents, o.expected_profit_cents, o.chosen)
        for o in decision.options
    ]
    assert shown == [
        ("deposit", 328_99, 75_83, 335_90, True),
        ("cash", 0, 0, 320_00, False),
        ("open", 469_99, 108_33, 221_68, False),
        ("refuse", 0, 0, 0, False),
    ]
    assert (decision.action, decision.deposit_rate) == ("deposit", 0.30)
    assert decision.limit is not None
    assert decision.limit.cents == 60_000_00
    assert decision.fr == "Accepter avec un acompte de 30 % à la commande."
    assert decision.en == "Accept with a 30 % deposit on order."
    assert (decision.rules, decision.requires_human) == ((), False)
    assert by_hand(0.70, 0.85) == pytest.approx(335.90, abs=0.005)


def by_hand(credit_rate: float, acceptance: float) -> float:
    """Return the expected profit of the worked order, in euros."""
    on_credit = 20_000 * credit_rate
    return acceptance * (800 - 0.0391657 * 0.60 * on_credit - on_credit * 0.05 * 39 / 360)


def test_30_percent_is_the_best_deposit_of_the_grid():
    best = max(POLICY.deposits, key=lambda d: by_hand(1 - float(d[0]), float(d[1])))
    assert best == (Decimal("0.30"), Decimal("0.85"))


def test_a_straight_line_from_open_to_cash_would_have_chosen_another_deposit():
    straight = load(TEXT.replace("{0.30: 0.85, 0.50: 0.60}", "{0.50: 0.70}"))
    assert decide(ORDER, REGULAR, RISK, straight).deposit_rate != 0.30


@pytest.mark.parametrize(
    ("deposit_rate", "acceptance"),
    [("0.05", "0.975"), ("0.30", "0.85"), ("0.40", "0.725"), ("0.50", "0.60"), ("0.75", "0.50")],
)
def test_acceptance_is_interpolated_between_the_stated_deposits(deposit_rate, acceptance):
    assert dict(POLICY.deposits)[Decimal(deposit_rate)] == Decimal(acceptance)


def test_only_what_exceeds_the_insured_part_can_be_lost():
    covered = replace(NEW, covered_cents=40_000_00)
    loss = expected_loss(Decimal(50_000_00), covered, 0.04, Decimal("0.60"))
    assert loss == Decimal("0.04") * Decimal("0.60") * (50_000_00 - 36_000_00) == 336_00


def test_the_exposure_that_exists_uses_the_cover_first():
    covered = replace(NEW, covered_cents=40_000_00, exposure_cents=30_000_00)
    loss = expected_loss(Decimal(50_000_00), covered, 0.04, Decimal("0.60"))
    assert loss == Decimal("0.04") * Decimal("0.60") * (50_000_00 - 9_000_00)


def test_what_the_customer_has_already_paid_is_not_lost_and_is_no_cover():
    in_credit = replace(NEW, covered_cents=40_000_00, exposure_cents=-5_000_00)
    loss = expected_loss(Decimal(50_000_00), in_credit, 0.04, Decimal("0.60"))
    assert loss == Decimal("0.04") * Decimal("0.60") * (45_000_00 - 36_000_00)


def test_a_customer_who_pays_early_costs_no_negative_funding():
    decision = decide(ORDER, REGULAR, Risk(0.01, -45.0), POLICY)
    assert option(decision, "open").funding_cents == 0


def with_acceptance(rates: str) -> str:
    """Return the policy file with these acceptance rates, and deposits in steps of 25 %."""
    kept, _, rest = TEXT.partition("acceptance_rate:\n")
    rest = rest[rest.index("# Deposits are asked") :].replace("step_rate: 0.05", "step_rate: 0.25")
    return f"{kept}acceptance_rate: {rates}\n\n{rest}"


class Tie(NamedTuple):
    """An order of 20,000 paid at delivery, for which two options earn the same."""

    margin: int
    probability: float
    exposure: int
    acceptance: str
    profit: int
    answer: tuple[str, float | None]


TIES = {
    # 0.40 × 800 = 800 − 0.04 × 0.60 × 20,000
    "cash or open": Tie(
        800, 0.04, 0, "{open: 1, deposit: {}, cash: 0.40, refuse: 0}", 320, ("cash", None)
    ),
    # 0.40 × (1,200 − 0.10 × 0.60 × 10,000) = 0.80 × (1,200 − 0.10 × 0.60 × 15,000)
    "a deposit of 50 or of 25 percent": Tie(
        1200,
        0.10,
        0,
        "{open: 1, deposit: {0.25: 0.80, 0.50: 0.40}, cash: 0.10, refuse: 0}",
        240,
        ("deposit", 0.50),
    ),
    # 0.40 × (1,200 − 0.02 × 0.60 × 5,000) = 0.95 × (600 − 0.02 × 0.60 × 10,000);
    # 20,000 × 1.1 − 12,000 leaves room for half of the order
    "a deposit of 75 percent or half of the order": Tie(
        1200,
        0.02,
        12_000,
        "{open: 1, deposit: {0.5: 0.41, 0.75: 0.40}, reduced_limit: 0.95, cash: 0.3, refuse: 0}",
        456,
        ("deposit", 0.75),
    ),
    "anything, worth nothing": Tie(
        0, 0.0, 0, "{open: 1, deposit: {}, cash: 0.40, refuse: 0}", 0, ("refuse", None)
    ),
}


@pytest.mark.parametrize("tie", TIES.values(), ids=TIES.keys())
def test_equal_profits_go_to_the_harder_option(tie):
    order = Order(amount_cents=20_000_00, margin_cents=100 * tie.margin, terms_days=0)
    now = replace(REGULAR, exposure_cents=100 * tie.exposure)
    decision = decide(order, now, Risk(tie.probability, 0.0), load(with_acceptance(tie.acceptance)))
    assert (decision.action, decision.deposit_rate) == tie.answer
    assert option(decision, decision.action).expected_profit_cents == 100 * tie.profit


def test_half_a_cent_is_rounded_to_the_even_cent():
    order = Order(amount_cents=100_00, margin_cents=0, terms_days=0)
    cents = [
        option(decide(order, NEW, Risk(p, 0.0), POLICY), "open").expected_loss_cents
        for p in (0.00075, 0.00025, 0.00125)  # 4.5, 1.5 and 7.5 cents of loss
    ]
    assert cents == [4, 2, 8]


# The limit


def test_a_new_customer_gets_no_open_terms_beyond_the_appetite():
    """Appetite: 2 % × 20,000 / (5 % × 60 %) = 13,333.33, in steps 13,000, with tolerance 14,300."""
    decision = decide(ORDER, NEW, Risk(0.05, 0.0), POLICY)
    assert option(decision, "open").obstacle is not None
    assert rule_ids(decision) == ["limit_exceeded"]
    assert decision.action == "deposit"
    assert option(decision, "deposit").amount_on_credit_cents <= 14_300_00
    assert option(decision, "reduced_limit").amount_on_credit_cents == 14_300_00


def test_an_exposure_above_the_limit_leaves_cash():
    above = replace(REGULAR, exposure_cents=100_000_00)
    decision = decide(ORDER, above, Risk(0.001, 0.0), POLICY)
    assert (decision.action, rule_ids(decision)) == ("cash", ["limit_exceeded"])
    assert {o.kind for o in decision.options if o.admissible} == {"cash", "refuse"}


def test_a_reduced_limit_delivers_pro_rata_what_fits():
    """Room: 60,000 × 1.1 − 54,000 = 12,000, that is 60 % of the order and of its margin."""
    used = replace(REGULAR, exposure_cents=54_000_00)
    reduced = option(decide(ORDER, used, Risk(0.01, 9.0), NO_DEPOSIT), "reduced_limit")
    profit = 0.90 * (0.60 * 800 - 0.01 * 0.60 * 12_000 - 12_000 * 0.05 * 39 / 360)
    assert reduced.amount_on_credit_cents == 12_000_00
    assert reduced.expected_profit_cents == round(100 * profit)


def test_a_reduced_limit_is_chosen_when_no_deposit_is_on_offer():
    used = replace(REGULAR, exposure_cents=54_000_00)
    decision = decide(ORDER._replace(margin_cents=2000_00), used, Risk(0.01, 9.0), NO_DEPOSIT)
    assert decision.action == "reduced_limit"
    assert decision.fr == "Livrer pour 12 000,00, ce que permet la limite."
    assert decision.en == "Deliver 12,000.00 of it, what the limit allows."


# Blocking rules and review


def test_an_insolvency_leaves_cash_or_refusal_and_no_limit():
    opened = replace(REGULAR, facts=frozenset({"insolvency_opened"}))
    decision = decide(ORDER, opened, Risk(0.0001, 0.0), POLICY)
    assert (decision.action, rule_ids(decision)) == ("cash", ["insolvency_opened"])
    assert decision.limit is not None
    assert decision.limit.cents == 0
    assert {o.kind for o in decision.options if o.admissible} == {"cash", "refuse"}


def test_a_person_decides_for_a_natural_person_unless_terms_are_open():
    person = replace(REGULAR, facts=frozenset({"is_natural_person"}))
    held = decide(ORDER, person, RISK, POLICY)
    assert (held.action, held.proposed_action, held.deposit_rate) == ("review", "deposit", 0.30)
    assert (held.requires_human, rule_ids(held)) == (True, ["natural_person"])
    assert held.fr == (
        "Faire décider une personne ; proposition : accepter avec un acompte de 30 % à la commande."
    )
    easy = decide(ORDER, person, Risk(0.0001, 0.0), POLICY)
    assert (easy.action, easy.requires_human, easy.rules) == ("open", False, ())


def test_a_rule_may_hold_the_order_and_propose_what_it_leaves():
    held = TEXT.replace("allow: [cash, refuse]", "allow: [refuse, review]")
    opened = replace(REGULAR, facts=frozenset({"insolvency_opened"}))
    decision = decide(ORDER, opened, Risk(0.0001, 0.0), load(held))
    assert (decision.action, decision.proposed_action) == ("review", "refuse")
    assert (decision.requires_human, rule_ids(decision)) == (True, ["insolvency_opened"])
    assert {o.kind for o in decision.options if o.admissible} == {"refuse"}
    assert decision.en == "A person decides; proposal: refuse the order."


def test_without_a_probability_a_person_decides_and_no_profit_is_invented():
    decision = decide(ORDER, REGULAR, None, POLICY)
    assert (decision.action, decision.proposed_action) == ("review", None)
    assert (decision.limit, decision.requires_human) == (None, True)
    assert rule_ids(decision) == ["default_curve_abstains"]
    priced = [(o.kind, o.expected_profit_cents, o.chosen) for o in decision.options]
    assert priced == [("cash", 320_00, False), ("refuse", 0, False)]


def test_every_rule_that_fires_is_named_in_both_languages():
    facts = frozenset({"insolvency_opened", "is_natural_person"})
    decision = decide(ORDER, replace(NEW, facts=facts), None, POLICY)
    assert decision.limit is not None
    assert decision.limit.cents == 0
    assert rule_ids(decision) == ["insolvency_opened", "natural_person", "default_curve_abstains"]
    for rule in decision.rules:
        assert rule.fr
        assert rule.en
        assert rule.fr != rule.en


@pytest.mark.parametrize(
    "bad_call",
    [
        lambda: decide(ORDER._replace(amount_cents=0), NEW, RISK, POLICY),
        lambda: decide(ORDER._replace(terms_days=-1), NEW, RISK, POLICY),
        lambda: replace(NEW, facts=frozenset({"insolvency"})),
        lambda: replace(NEW, insured_rate=90.0),
        lambda: replace(NEW, covered_cents=-1),
        lambda: Risk(1.5, 0.0),
        lambda: Risk(float("nan"), 0.0),
        lambda: Risk(0.1, float("inf")),
    ],
)
def test_a_bad_call_raises(bad_call):
    with pytest.raises(ValueError, match=r"must be|has an amount|unknown facts"):
        bad_call()


# The law

cents = st.integers(0, 100_000_00)
rates = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.5, 0.9, 1.0]))
probabilities = st.one_of(st.floats(0, 0.2), st.floats(0, 1), st.sampled_from([0.0, 1.0]))


@st.composite
def cases(draw):
    """Orders of every size, whose cover, exposure and purchases are of the order's size."""
    amount = draw(st.sampled_from([1, 99, 80_00, 2_000_00, 20_000_00]))
    order = Order(amount, draw(st.integers(-amount // 20, amount // 3)), draw(st.integers(0, 90)))
    situation = Situation(
        exposure_cents=draw(st.integers(-amount, 3 * amount)),
        yearly_purchases_cents=draw(st.sampled_from([0, 1, 2 * amount, 20 * amount])),
        covered_cents=draw(st.integers(0, 4 * amount)),
        insured_rate=draw(rates),
    )
    return order, situation, Risk(draw(probabilities), draw(st.floats(-60, 120)))


@st.composite
def policies(draw):
    """Policies of all kinds: with and without deposits, a steep or a flat acceptance."""
    if draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from([POLICY, NO_DEPOSIT]))
    shares = sorted(draw(st.sets(st.integers(1, 100), min_size=4, max_size=6)), reverse=True)
    knots = sorted(draw(st.sets(st.integers(1, 99), max_size=len(shares) - 2)))
    document = yaml.safe_load(TEXT)
    document["acceptance_rate"] = {
        "open": shares[0] / 100,
        "deposit": {
            knot / 100: share / 100 for knot, share in zip(knots, shares[1:], strict=False)
        },
        "reduced_limit": draw(st.sampled_from(shares[1:-1])) / 100,
        "cash": shares[-1] / 100,
        "refuse": 0,
    }
    document["deposit_step_rate"] = draw(st.sampled_from([0.05, 0.1, 0.25]))
    document["appetite"]["expected_loss_rate"] = draw(st.sampled_from([0.002, 0.02, 0.2]))
    document["limit"]["tolerance_rate"] = draw(st.sampled_from([0, 0.1, 0.333]))
    document["funding"]["annual_rate"] = draw(st.sampled_from([0, 0.05, 0.5]))
    return load(yaml.safe_dump(document))


AGGRAVATIONS = {
    "more risk": lambda order, now, risk, draw: (
        order,
        now,
        replace(risk, default_probability=draw(st.floats(risk.default_probability, 1))),
    ),
    "a longer delay": lambda order, now, risk, draw: (
        order,
        now,
        replace(risk, expected_delay_days=draw(st.floats(risk.expected_delay_days, 3650))),
    ),
    "less margin": lambda order, now, risk, draw: (
        order._replace(margin_cents=order.margin_cents - draw(st.integers(0, 20_000_00))),
        now,
        risk,
    ),
    "less cover": lambda order, now, risk, draw: (
        order,
        replace(now, covered_cents=draw(st.integers(0, now.covered_cents))),
        risk,
    ),
    "a smaller insured share": lambda order, now, risk, draw: (
        order,
        replace(now, insured_rate=draw(st.floats(0, now.insured_rate))),
        risk,
    ),
    "more exposure": lambda order, now, risk, draw: (
        order,
        replace(now, exposure_cents=now.exposure_cents + draw(cents)),
        risk,
    ),
}


def softness(decision: Decision) -> tuple[int, bool]:
    """Return the credit given, then whether the order is served at all."""
    chosen = next(one for one in decision.options if one.chosen)
    return chosen.amount_on_credit_cents, chosen.kind != "refuse"


@pytest.mark.parametrize("aggravation", AGGRAVATIONS)
@given(case=cases(), policy=policies(), data=st.data())
def test_the_law_worse_is_never_answered_more_softly(aggravation, case, policy, data):
    worse = AGGRAVATIONS[aggravation](*case, data.draw)
    assert softness(decide(*worse, policy)) <= softness(decide(*case, policy))


def test_a_lower_limit_never_brings_back_credit_that_a_higher_one_refused():
    """Open terms fit the first limit and earn less than cash. The second leaves the covered part.

    On it alone, 12,000, the worth would be 0.9 × (0.6 × 800 − 65) = 373.50, above cash, 320.
    """
    policy = load(TEXT.replace("{0.30: 0.85, 0.50: 0.60}", "{}").replace("0.10  #", "0  #"))
    covered = replace(NEW, covered_cents=12_000_00, insured_rate=1.0)
    milder, worse = (decide(ORDER, covered, Risk(p, 9.0), policy) for p in (0.08, 1.0))
    assert (milder.action, worse.action) == ("cash", "cash")
    assert option(milder, "open").admissible
    reduced = option(worse, "reduced_limit")
    assert reduced.expected_profit_cents == 373_50 > option(worse, "cash").expected_profit_cents
    assert reduced.obstacle is not None
    assert reduced.obstacle.id == "margin_below_credit_cost"


@given(case=cases(), policy=policies())
def test_no_admissible_option_beats_the_chosen_one(case, policy):
    """Every option of the grid is priced again, from the formula, in floats."""
    order, now, risk = case
    decision = decide(order, now, risk, policy)
    chosen = next(one for one in decision.options if one.chosen)
    ceiling = decision.limit.cents * (1 + float(policy.limit.tolerance_rate)) - now.exposure_cents
    taken = policy.acceptance_rate
    options = [(1.0, float(taken.open)), *((1 - float(d), float(a)) for d, a in policy.deposits)]
    worths = [0.0, float(taken.cash) * order.margin_cents]
    for credit_rate, acceptance in options:
        on_credit = credit_rate * order.amount_cents
        if on_credit <= ceiling - 1:  # a cent, for the floats
            owed = max(0, now.exposure_cents)
            added = max(0, now.exposure_cents + on_credit) - owed
            cover_left = max(0, now.covered_cents - owed)
            uninsured = added - min(added, cover_left) * now.insured_rate
            days = max(0, order.terms_days + risk.expected_delay_days)
            funding = on_credit * float(policy.funding.annual_rate) * days / 360
            loss = risk.default_probability * 0.60 * uninsured
            worths.append(acceptance * (order.margin_cents - loss - funding))
    assert max(worths) <= chosen.expected_profit_cents + 0.51


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


@given(case=cases(), policy=policies())
def test_the_answer_is_whole(case, policy):
    decision = decide(*case, policy)
    kinds = [one.kind for one in decision.options]
    assert len(kinds) == len(set(kinds))
    assert {"open", "cash", "refuse"} <= set(kinds)
    assert [one.kind for one in decision.options if one.chosen] == [decision.action]
    assert decision.options[0].chosen
    assert ("limit_exceeded" in rule_ids(decision)) == (
        option(decision, "open").obstacle is not None
    )


# The file


def test_the_identity_of_a_policy_is_the_hash_of_its_bytes():
    assert POLICY.sha256 == hashlib.sha256(FILE.read_bytes()).hexdigest()
    assert load(TEXT).sha256 == POLICY.sha256
    assert load(TEXT + "\n").sha256 != POLICY.sha256


def test_a_policy_cannot_be_changed_once_loaded():
    with pytest.raises(ValueError, match="frozen"):
        POLICY.version = "2025-04"  # type: ignore[misc]


def test_the_horizon_follows_the_terms():
    assert [POLICY.horizon_days(terms) for terms in (0, 30, 60)] == [90, 120, 150]


CONTRACT = """
version: 2025-03
default_definition: bureau
horizon_days: terms + 90
lgd_rate: {unsecured: 0.60}
funding: {annual_rate: 0.05, basis_days: 360, days: terms + expected_delay}
acceptance_rate: {open: 1, deposit: {0.30: 0.85, 0.50: 0.60}, cash: 0.40, refuse: 0}
deposit_step_rate: 0.05
appetite: {expected_loss_rate: 0.02}
blocking:
  - {id: insolvency_opened, when: insolvency_opened, allow: [refuse, review]}
  - {id: natural_person, when: is_natural_person, unless: open, require: human_decision}
"""


def test_a_policy_may_offer_no_reduced_limit_and_give_the_limit_no_slack():
    """Need: 480,000 × 30 / 365 = 39,452.05, in steps 40,000; of it 25,000 are used."""
    used = replace(REGULAR, exposure_cents=25_000_00)
    decision = decide(ORDER, used, RISK, load(CONTRACT))
    assert decision.limit is not None
    assert decision.limit.cents == 40_000_00
    assert rule_ids(decision) == ["limit_exceeded"]
    assert {o.kind for o in decision.options} == {"open", "deposit", "cash", "refuse"}


def line_of(start: str, text: str) -> int:
    """Return the last line that starts so, from 1."""
    return max(i for i, line in enumerate(text.splitlines(), 1) if line.strip().startswith(start))


FAULTS = [
    ("cash: 0.40", "cash: 1.40", "cash:", "acceptance_rate.cash: .*less than or equal to 1"),
    (
        "cash: 0.40",
        "cash: 0.70",
        "acceptance_rate:",
        "must fall: cash .0.7. is not below deposit 0.5",
    ),
    ("reduced_limit: 0.90", "reduced_limit: 0.30", "acceptance_rate:", "not below reduced_limit"),
    (
        "cash: 0.40",
        "cash: 0.40\n  shorter: 0.8",
        "shorter:",
        "acceptance_rate.shorter: Extra inputs",
    ),
    ("cash: 0.40", "", "acceptance_rate:", "acceptance_rate.cash: Field required"),
    ("cash: 0.40", "cash: 0.40\n  cash: 0.30", "cash:", "key cash is repeated"),
    ("0.50: 0.60", "0.50: .nan", "deposit:", "acceptance_rate.deposit"),
    ("0.50: 0.60", "1.50: 0.60", "deposit:", "acceptance_rate.deposit"),
    ("refuse: 0", "refuse: 0.1", "refuse:", "acceptance_rate.refuse"),
    ("{unsecured: 0.60}", "{unsecured: '0.60'}", "lgd_rate:", "lgd_rate.unsecured"),
    ("terms + 90", "terms × 3", "horizon_days:", "horizon_days"),
    ("bureau\n", "agency\n", "default_definition:", "default_definition"),
    ("step_rate: 0.05", "step_rate: 0.15", "", "deposit_step_rate must divide 1"),
    ("when: insolvency_opened", "when: moon_is_full", "- {id: insolvency", "blocking.0.when"),
    ("allow: [cash, refuse]", "allow: [cash]", "- {id: insolvency", "allow must keep refuse"),
    ("[cash, refuse]", "[reduced_limit, refuse]", "- {id: insolvency", "allow it with open only"),
    (", require: human_decision", "", "- {id: natural", "either allow, or require"),
    ("id: natural_person", "id: insolvency_opened", "", "ids must be unique"),
    ("headroom: 1.5", "headroom: [1.5", "", "expected"),
]


@pytest.mark.parametrize(("right", "wrong", "where", "message"), FAULTS)
def test_a_fault_is_told_with_its_file_line_and_key(tmp_path, right, wrong, where, message):
    assert right in TEXT
    file = tmp_path / "policy.yaml"
    file.write_text(TEXT.replace(right, wrong), encoding="utf-8")
    with pytest.raises(PolicyError, match=message) as caught:
        load(file)
    assert str(caught.value).startswith(
        f"{file}:{line_of(where, file.read_text()) if where else ''}"
    )


@pytest.mark.parametrize("text", ["", "[]", "policy", "\x00"])
def test_what_is_not_a_policy_is_refused(text):
    with pytest.raises(PolicyError):
        load(text)


def test_every_fault_is_told_at_once():
    faulty = TEXT.replace("cash: 0.40", "cash: 1.40").replace("headroom: 1.5", "headroom: 0.5")
    with pytest.raises(PolicyError) as caught:
        load(faulty)
    assert len(str(caught.value).splitlines()) == 2
