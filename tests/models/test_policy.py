"""The policy: what it chooses, its limit, its blocking rules, its words."""

from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple, get_args

import pytest
import yaml

from models import wording
from models.options import offers, price
from models.policy import Order, Risk, Situation, decide, expected_loss, load
from models.policy_file import Kind
from tests.models.policies import (
    FILE,
    LESS,
    NO_DEPOSIT,
    POLICY,
    TEXT,
    admissible,
    option,
    policy_with,
    rule_ids,
)

ORDER = Order(amount_cents=20_000_00, margin_cents=800_00, terms_days=30)
REGULAR = Situation(
    exposure_cents=0, yearly_purchases_cents=480_000_00, covered_cents=0, insured_rate=0.9
)
NEW = replace(REGULAR, yearly_purchases_cents=0)
RISK = Risk(
    default_probability=0.0391657,
    expected_delay_days=9,
    shorter_default_probability=0.035,
    grade="E",
)


# The worth of the options


def test_the_worked_order_is_accepted_with_a_deposit_of_30_percent():
    decision = decide(ORDER, REGULAR, RISK, POLICY)
    shown = [
        (o.kind, o.expected_loss_cents, o.funding_cents, o.cost_cents, o.expected_profit_cents)
        for o in decision.options
    ]
    assert shown == [
        ("deposit", 328_99, 75_83, 0, 335_90),
        ("retention_of_title", 313_33, 108_33, 20_00, 322_51),
        ("cash", 0, 0, 0, 320_00),
        ("review", 328_99, 75_83, 40_00, 286_80),  # 0.95 × 0.85 × (800 − 404.82 − 40)
        ("bank_guarantee", 39_17, 108_33, 100_00, 276_25),
        ("shorter_terms", 420_00, 66_67, 0, 266_33),  # 15 days: 3.5 % until 105 days
        ("insured_sale", 47_00, 108_33, 80_00, 254_10),
        ("letter_of_credit", 15_67, 108_33, 150_00, 236_70),
        ("open", 469_99, 108_33, 0, 221_68),
        ("factoring", 47_00, 108_33, 240_00, 182_10),
        ("refuse", 0, 0, 0, 0),
    ]
    assert [o.kind for o in decision.options if o.chosen] == ["deposit"]
    assert (decision.action, decision.deposit_rate) == ("deposit", 0.30)
    assert decision.limit is not None
    assert decision.limit.cents == 60_000_00
    assert decision.fr == "Accepter avec un acompte de 30 % à la commande."
    assert decision.en == "Accept with a 30 % deposit on order."
    assert decision.customer_fr == (
        "Nous lançons votre commande dès réception d’un acompte de 30 %, le solde à 30 jours."
    )
    assert decision.customer_en == (
        "We start your order on receipt of a 30 % deposit, the balance in 30 days."
    )
    assert (decision.rules, decision.requires_human) == ((), False)
    assert by_hand(0.70, 0.85) == pytest.approx(335.90, abs=0.005)


def test_the_order_that_the_documentation_walks_through_is_this_one():
    """Each row of the table, to the cent, whatever its multiplications."""
    page = (FILE.parents[1] / "docs" / "decisions.md").read_text("utf-8")
    table = page.partition("## One order by hand")[2].partition("\n\nThe deposit is")[0]
    told = {}
    for line in table.splitlines():
        cells = [cell.strip(" *") for cell in line.strip("|").split("|")]
        if len(cells) == 7 and cells[6].count(".") and cells[0] in NAMES:
            told[NAMES[cells[0]]] = [
                cell.split()[-1].strip("*") if cell else "0.00" for cell in cells
            ]
    shown = {one.kind: one for one in decide(ORDER, REGULAR, RISK, POLICY).options}
    assert set(told) == set(shown)
    for kind, (_, credit, loss, funding, cost, _, profit) in told.items():
        option = shown[kind]
        for text, cents in (
            (credit, option.amount_on_credit_cents),
            (loss, option.expected_loss_cents),
            (funding, option.funding_cents),
            (cost, option.cost_cents),
            (profit, option.expected_profit_cents),
        ):
            assert Decimal(text.replace(",", "")) * 100 == cents, (kind, text)


NAMES = {
    "deposit 30 %": "deposit",
    "retention of title": "retention_of_title",
    "cash": "cash",
    "review": "review",
    "bank guarantee": "bank_guarantee",
    "shorter terms, 15 days": "shorter_terms",
    "insured sale": "insured_sale",
    "letter of credit": "letter_of_credit",
    "open terms": "open",
    "factoring without recourse": "factoring",
    "refuse": "refuse",
}


def by_hand(credit_rate: float, acceptance: float) -> float:
    """Return the expected profit of the worked order, in euros."""
    on_credit = 20_000 * credit_rate
    return acceptance * (800 - 0.0391657 * 0.60 * on_credit - on_credit * 0.05 * 39 / 360)


def test_30_percent_is_the_best_deposit_of_the_grid():
    best = max(POLICY.deposits, key=lambda d: by_hand(1 - float(d[0]), float(d[1])))
    assert best == (Decimal("0.30"), Decimal("0.85"))


def test_a_straight_line_from_open_to_cash_would_have_chosen_another_deposit():
    straight = policy_with(acceptance_rate={"deposit": {0.50: 0.70}})
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
    # 250,000 beyond cover × 1.1 − 265,000 leaves room for half of the order
    "a deposit of 75 percent or half of the order": Tie(
        1200,
        0.02,
        265_000,
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
    document = {**dict.fromkeys(LESS), "reduced_limit": None, **yaml.safe_load(tie.acceptance)}
    policy = policy_with(acceptance_rate=document, deposit_step_rate=0.25)
    decision = decide(order, now, Risk(tie.probability, 0.0), policy)
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


def test_an_exposure_above_what_the_bounds_allow_leaves_cash():
    """Without cover 250,000, with 10 % of tolerance 275,000."""
    above = replace(REGULAR, exposure_cents=300_000_00)
    decision = decide(ORDER, above, Risk(0.001, 0.0), POLICY)
    assert (decision.action, rule_ids(decision)) == ("cash", ["limit_breached"])
    assert admissible(decision) == {"cash", "refuse"}
    assert decision.limit is not None
    assert decision.limit.cents == 60_000_00


def test_an_exposure_within_the_tolerance_is_no_breach():
    within = replace(REGULAR, exposure_cents=275_000_00)
    assert rule_ids(decide(ORDER, within, Risk(0.001, 0.0), POLICY)) == ["limit_exceeded"]
    above = replace(within, orders_cents=1)  # an accepted order is owed as well
    assert rule_ids(decide(ORDER, above, Risk(0.001, 0.0), POLICY)) == ["limit_breached"]


def test_a_security_takes_less_of_the_limit():
    """275,000 − 259,000 leaves 16,000; under retention of title 20,000 × 0.4 / 0.6 = 13,333."""
    used = replace(REGULAR, exposure_cents=259_000_00)
    decision = decide(ORDER, used, RISK, POLICY)
    assert {"retention_of_title", "bank_guarantee"} <= admissible(decision)
    assert {"open", "shorter_terms", "factoring"} & admissible(decision) == {"factoring"}


def test_an_insured_sale_raises_the_cover_before_the_limit_is_asked():
    """Appetite: 2 % × 20,000 / (5 % × 60 %) = 13,333 uninsured; covered at 90 % it bears all."""
    decision = decide(ORDER, NEW, Risk(0.05, 0.0), POLICY)
    assert "insured_sale" in admissible(decision)
    assert "open" not in admissible(decision)
    assert option(decision, "insured_sale").uninsured_cents == 2_000_00


def test_a_decided_limit_holds_whatever_the_need_until_the_bounds_are_well_below_it():
    """Purchases of 480,000 need 60,000; at 40 % the appetite is 9,600 / 0.24 = 40,000."""

    def limit(decided: int | None, probability: float = 0.0391657) -> int:
        now = replace(REGULAR, decided_limit_cents=decided)
        decision = decide(ORDER, now, Risk(probability, 9), POLICY)
        assert decision.limit is not None
        return decision.limit.cents

    assert limit(None) == 60_000_00
    assert limit(50_000_00) == 50_000_00  # only a person raises it
    assert limit(90_000_00) == 90_000_00  # a person saw a need
    assert limit(44_000_00, 0.40) == 44_000_00  # within 10 % of the appetite
    assert limit(45_000_00, 0.40) == 40_000_00
    assert limit(0) == 0


def test_the_need_sizes_a_limit_and_never_keeps_an_order_out():
    """A customer who buys 480,000 a year needs 60,000, and owes 200,000 in its season."""
    decision = decide(ORDER, replace(REGULAR, exposure_cents=200_000_00), Risk(0.001, 0.0), POLICY)
    assert decision.limit is not None
    assert (decision.limit.recommended_cents, decision.action) == (60_000_00, "open")
    assert decision.rules == ()


def test_above_the_limit_that_a_person_decided_a_person_decides():
    """Owing 40,000, an order of 20,000 reaches 60,000; 55,000 decided reach 60,500 by tolerance.

    At 2 %, what lies above 54,000 may lose 0.02 × 0.60 × 6,000 = 72 > 40; at 1 % 36.
    """
    used = replace(REGULAR, exposure_cents=40_000_00)
    for decided, probability, is_held in (
        (55_000_00, 0.02, False),
        (54_000_00, 0.02, True),
        (54_000_00, 0.01, False),
        (0, 0.01, True),
    ):
        now = replace(used, decided_limit_cents=decided)
        order = ORDER._replace(margin_cents=4_000_00)  # so that open terms are worth it
        decision = decide(order, now, Risk(probability, 0.0), POLICY)
        assert (decision.proposed_action or decision.action) == "open"
        assert decision.requires_human == is_held
        assert ("above_decided_limit" in rule_ids(decision)) == is_held
    paid = decide(ORDER._replace(paid_cents=20_000_00), now, Risk(0.01, 0.0), POLICY)
    assert paid.action == "cash"


def test_what_the_ledger_shows_to_be_paid_after_all_is_not_lost():
    """0.0391657 × 0.60 × (1 − 0.75) × 20,000 = 117.50; the limit bears four times as much."""
    cured = replace(RISK, cure_rate=0.75)
    opened = option(decide(ORDER, REGULAR, cured, POLICY), "open")
    assert (opened.expected_loss_cents, opened.lgd_rate) == (117_50, 0.15)
    borne = [
        {line.en: line.value for line in decide(ORDER, NEW, risk, POLICY).limit.derivation}
        for risk in (RISK, cured)
    ]
    assert borne[1]["Uninsured exposure borne"] // 4 == borne[0]["Uninsured exposure borne"]


def test_a_reduced_limit_delivers_pro_rata_what_fits():
    """Room: 275,000 − 263,000 = 12,000, that is 60 % of the order and of its margin."""
    used = replace(REGULAR, exposure_cents=263_000_00)
    reduced = option(decide(ORDER, used, Risk(0.01, 9.0), NO_DEPOSIT), "reduced_limit")
    profit = 0.90 * (0.60 * 800 - 0.01 * 0.60 * 12_000 - 12_000 * 0.05 * 39 / 360)
    assert reduced.amount_on_credit_cents == 12_000_00
    assert reduced.expected_profit_cents == round(100 * profit)


def test_a_reduced_limit_is_chosen_when_no_deposit_is_on_offer():
    used = replace(REGULAR, exposure_cents=263_000_00)
    order = ORDER._replace(margin_cents=2000_00)
    decision = decide(order, used, Risk(0.01, 9.0), NO_DEPOSIT)
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
    assert admissible(decision) == {"cash", "refuse"}


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


def test_a_signal_of_fraud_holds_every_order_paid_in_advance_or_not():
    changed = replace(REGULAR, facts=frozenset({"bank_details_unverified"}))
    for order in (ORDER, ORDER._replace(paid_cents=20_000_00)):
        decision = decide(order, changed, Risk(0.0001, 0.0), POLICY)
        assert (decision.action, decision.proposed_action) == ("review", "refuse")
        assert decision.requires_human
        assert "fraud_signal" in rule_ids(decision)
        assert admissible(decision) == {"refuse"}
        assert decision.en == "A person decides; proposal: refuse the order."
        assert decision.customer_en.startswith("Your order is being reviewed")


@pytest.mark.parametrize("fact", ["insolvency_opened", "cover_withdrawn", "is_natural_person"])
@pytest.mark.parametrize("margin", [800_00, -100_00])
@pytest.mark.parametrize("risk", [RISK, None])
def test_an_order_paid_in_advance_passes(fact, margin, risk):
    now = replace(REGULAR, facts=frozenset({fact}), exposure_cents=900_000_00)
    paid = ORDER._replace(paid_cents=20_000_00, margin_cents=margin)
    decision = decide(paid, now, risk, POLICY)
    assert (decision.action, decision.requires_human) == ("cash", False)
    assert rule_ids(decision) == ["paid_in_advance"]
    assert decision.fr == "Livrer : la commande est payée."


def test_what_is_paid_of_the_order_is_no_credit_and_no_deposit_below_it_is_asked():
    decision = decide(ORDER._replace(paid_cents=5_000_00), REGULAR, RISK, POLICY)
    assert option(decision, "open").amount_on_credit_cents == 15_000_00
    assert option(decision, "deposit").deposit_rate == 0.30
    half = decide(ORDER._replace(paid_cents=10_000_00), REGULAR, RISK, POLICY)
    assert option(half, "deposit").deposit_rate > 0.50


def test_a_withdrawn_cover_leaves_what_a_bank_stands_behind():
    withdrawn = replace(REGULAR, facts=frozenset({"cover_withdrawn"}))
    decision = decide(ORDER, withdrawn, RISK, POLICY)
    assert admissible(decision) == {"cash", "bank_guarantee", "letter_of_credit", "refuse"}


def test_the_margin_of_a_key_customer_counts_its_further_orders():
    """800 and half of it again: open terms earn 1,200 − 578.32 = 621.68."""
    normal, key = (
        decide(ORDER, replace(REGULAR, importance=importance), RISK, POLICY)
        for importance in ("normal", "key")
    )
    assert option(key, "open").expected_profit_cents == 621_68
    assert option(key, "open").margin_cents == 1_200_00
    assert ("Margin of further orders", 400_00) in [(x.en, x.value) for x in key.derivation]
    assert (normal.action, key.action) == ("deposit", "retention_of_title")


def test_the_smallest_deposit_worth_asking_is_named():
    """Margin 400, 8 %: open 400 − 960 − 108 < 0; 40 % on credit leaves 400 − 384 − 43 < 0."""
    order = ORDER._replace(margin_cents=400_00)
    decision = decide(order, REGULAR, Risk(0.08, 9.0), POLICY)
    assert decision.smallest_deposit_rate == 0.65  # 400 − 0.35 × 1,068.33 > 0
    assert decide(ORDER, REGULAR, RISK, POLICY).smallest_deposit_rate == 0
    assert (
        decide(ORDER._replace(margin_cents=0), REGULAR, RISK, POLICY).smallest_deposit_rate is None
    )


def test_a_rule_may_hold_the_order_and_propose_what_it_leaves():
    held = load(TEXT.replace("allow: [cash, refuse]", "allow: [cash, refuse, review]"))
    opened = replace(REGULAR, facts=frozenset({"insolvency_opened"}))
    decision = decide(ORDER, opened, Risk(0.0001, 0.0), held)
    assert (decision.action, decision.proposed_action) == ("review", "cash")
    assert (decision.requires_human, rule_ids(decision)) == (True, ["insolvency_opened"])


def test_without_a_probability_a_person_decides_and_no_profit_is_invented():
    decision = decide(ORDER, REGULAR, None, POLICY)
    assert (decision.action, decision.proposed_action) == ("review", None)
    assert (decision.limit, decision.requires_human) == (None, True)
    assert rule_ids(decision) == ["default_curve_abstains"]
    priced = [(o.kind, o.expected_profit_cents, o.chosen) for o in decision.options]
    assert priced == [("cash", 320_00, False), ("review", 288_80, False), ("refuse", 0, False)]


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
        lambda: replace(NEW, orders_cents=-1),
        lambda: decide(ORDER._replace(paid_cents=20_000_01), NEW, RISK, POLICY),
        lambda: Risk(0.1, 0.0, shorter_default_probability=0.2),
        lambda: Risk(1.5, 0.0),
        lambda: Risk(0.1, 0.0, cure_rate=1.1),
        lambda: Risk(float("nan"), 0.0),
        lambda: Risk(0.1, float("inf")),
    ],
)
def test_a_bad_call_raises(bad_call):
    with pytest.raises(ValueError, match=r"must be|has an amount|unknown facts"):
        bad_call()


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
  - {id: insolvency_opened, when: insolvency_opened, allow: [cash, refuse, review]}
  - {id: natural_person, when: is_natural_person, unless: open, require: human_decision}
"""


def test_a_policy_may_offer_no_reduced_limit_and_give_the_limit_no_slack():
    """Need: 480,000 × 30 / 365 = 39,452.05, in steps 40,000; appetite 9,600 / 0.0235 = 408,520."""
    used = replace(REGULAR, exposure_cents=395_000_00)
    decision = decide(ORDER, used, RISK, load(CONTRACT))
    assert decision.limit is not None
    assert (decision.limit.cents, decision.limit.most_cents) == (40_000_00, 408_000_00)
    assert rule_ids(decision) == ["limit_exceeded"]
    assert {o.kind for o in decision.options} == {"open", "deposit", "cash", "refuse", "review"}


def test_every_kind_has_a_sentence_for_the_seller_and_one_for_the_customer():
    """The customer's says nothing of risk, scores, or the insurer's view of him."""
    every = [
        offers(order, 5_000_00, POLICY, on_credit=True)
        for order in (ORDER, ORDER._replace(paid_cents=20_000_00))
    ]
    kinds = set()
    for offer in every[0] + every[1]:
        pick = price(offer, ORDER, REGULAR, RISK, POLICY)
        said = wording.decision(pick, ORDER, held=False)
        assert all(sentence.endswith(".") for sentence in said)
        assert said.fr != said.en
        for word in ("risk", "risque", "default", "défaut", "score", "limite", "limit"):
            assert word not in f"{said.customer_fr} {said.customer_en}".lower()
        kinds.add(offer.kind)
    assert kinds == set(get_args(Kind)) == set(wording.LABELS)
