"""The insurer's policy: what part of an order is covered, until when, and who disagrees."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from models.insurance import (
    Cover,
    InsuranceError,
    OpenInvoice,
    assess_cover,
    deadlines,
    disagreement,
    in_force,
    indemnified_on,
    last_decision,
    load,
)
from models.insurance_file import PATH

TEXT = PATH.read_text(encoding="utf-8")
RULES = load()
TODAY = date(2026, 11, 25)
AS_OF = TODAY + timedelta(days=1)  # exclusive


def cover_of(amount=40_000, rate=0.9, starts="2026-01-01", ends=None, known=None, **more) -> Cover:
    first, last = date.fromisoformat(starts), ends and date.fromisoformat(ends)
    known_at = datetime.fromisoformat(f"{known or starts}T08:00:00+00:00")
    return Cover(amount * 100, rate, first, last, "ledger", known_at, **more)


def order_cover(cover=None, owed=0, disputed=0, overdue=0, order=50_000, terms=30, **more):
    rules = more.pop("rules", RULES)
    amounts = (owed * 100, disputed * 100, overdue, order * 100)
    return assess_cover(cover, *amounts, terms, AS_OF, rules, **more)


def said(found) -> dict[str, float]:
    return {reason.id: reason.cents / 100 for reason in found.reasons}


def ruled(**figures):
    return RULES.model_copy(update=figures)


# What part of the order is covered.


def test_50_000_with_40_000_covered_at_90_percent_is_insured_for_36_000():
    found = order_cover(cover_of())
    assert (found.insured_cents, found.uninsured_cents) == (36_000_00, 14_000_00)
    assert said(found) == {"above_cover": 10_000, "own_share": 4_000}
    assert (found.covered_cents, found.insured_rate) == (40_000_00, 0.9)
    assert [(r.fr, r.en) for r in found.reasons] == [
        (
            "10 000,00 dépassent l’agrément de 40 000,00",
            "10,000.00 are above the cover of 40,000.00",
        ),
        (
            "4 000,00 restent à la charge du vendeur : quotité garantie de 90 %",
            "4,000.00 stay with the seller: the insured share is 90 %",
        ),
    ]


def test_what_is_already_owed_uses_the_cover_first():
    """50,000 − 15,000 owed: 25,000 of the cover are left, 90 % of them insured."""
    found = order_cover(cover_of(), owed=15_000)
    assert found.insured_cents == 22_500_00
    assert said(found) == {"above_cover": 10_000, "used_up": 15_000, "own_share": 2_500}


def test_a_full_cover_leaves_nothing_for_the_order():
    found = order_cover(cover_of(), owed=60_000, order=10_000)
    assert found.insured_cents == 0
    assert said(found) == {"used_up": 10_000}
    assert "60,000.00 are already owed" in found.reasons[0].en


def test_money_already_received_is_neither_insured_nor_lost():
    found = order_cover(cover_of(), owed=-20_000)
    assert (found.received_cents, found.insured_cents) == (20_000_00, 27_000_00)
    assert found.uninsured_cents == 3_000_00


def test_disputed_debt_uses_no_cover_and_is_said_to_be_uncovered():
    found = order_cover(cover_of(), owed=15_000, disputed=15_000)
    assert found.insured_cents == 36_000_00
    assert said(found) == {"above_cover": 10_000, "own_share": 4_000, "disputed": 0}
    counted = ruled(excludes_disputed=False)
    assert order_cover(cover_of(), owed=15_000, disputed=15_000, rules=counted).insured_cents == (
        22_500_00
    )


def test_the_deductible_is_taken_once_from_the_indemnity_whatever_is_owed_before():
    """90 % of 10,000 − 1,000; the deductible is used up by the debt that exists."""
    rules = ruled(deductible_per_claim_amount=1_000)
    assert order_cover(cover_of(), order=10_000, rules=rules).insured_cents == 8_000_00
    assert order_cover(cover_of(), owed=5_000, order=10_000, rules=rules).insured_cents == 9_000_00
    assert said(order_cover(cover_of(), order=1_000, rules=rules)) == {
        "own_share": 100,
        "deductible": 900,
    }


def test_the_maximum_liability_bounds_what_is_paid_in_a_year():
    rules = ruled(maximum_liability_amount=50_000)
    found = order_cover(cover_of(), rules=rules, indemnified_cents=30_000_00)
    assert found.insured_cents == 20_000_00
    assert said(found)["maximum_liability"] == 16_000
    spent = order_cover(cover_of(), rules=rules, indemnified_cents=99_000_00)
    assert (spent.insured_cents, spent.uninsured_cents) == (0, 50_000_00)


@pytest.mark.parametrize(
    ("cover", "more", "why"),
    [
        (None, {}, "no_cover"),
        (None, {"is_unverified": True}, "cover_unverified"),
        (cover_of(amount=0), {}, "refused"),
        (cover_of(ends="2026-11-24"), {}, "ended"),
        (cover_of(ends="2026-12-01"), {"delivers_on": date(2026, 12, 2)}, "ends_before_delivery"),
        (cover_of(starts="2026-11-26"), {}, "starts_after_delivery"),
        (cover_of(), {"overdue": 61}, "overdue_beyond_extension"),
        (cover_of(), {"terms": 76}, "terms_too_long"),
    ],
)
def test_an_excluded_order_is_not_insured_at_all_and_says_why(cover, more, why):
    found = order_cover(cover, **more)
    assert (found.insured_cents, found.covered_cents, found.insured_rate) == (0, 0, 0)
    assert said(found) == {why: 50_000}
    assert found.is_excluded
    assert found.insured_part(10_000_00) == 0
    assert all(reason.fr and reason.en for reason in found.reasons)


@pytest.mark.parametrize(
    ("cover", "more"),
    [
        (cover_of(ends="2026-11-25"), {}),
        (cover_of(ends="2026-12-01"), {"delivers_on": date(2026, 12, 1)}),
        (cover_of(starts="2026-11-25"), {}),
        (cover_of(starts="2026-11-26"), {"delivers_on": date(2026, 11, 26)}),
        (cover_of(), {"overdue": 60}),
        (cover_of(), {"terms": 75}),
    ],
)
def test_the_last_day_still_counts(cover, more):
    assert order_cover(cover, **more).insured_cents == 36_000_00


def test_every_exclusion_is_named_and_the_first_takes_the_amount():
    found = order_cover(cover_of(amount=0), overdue=90, terms=90)
    assert said(found) == {"refused": 50_000, "overdue_beyond_extension": 0, "terms_too_long": 0}


def test_a_stale_cover_still_insures_and_says_that_it_is_stale():
    found = order_cover(cover_of(is_stale=True))
    assert found.is_stale
    assert found.insured_cents == 36_000_00
    assert "cover_stale" in said(found)


def test_a_bad_call_is_refused():
    for wrong in ({"disputed": -1}, {"order": -1}, {"terms": -1}, {"indemnified_cents": -1}):
        with pytest.raises(ValueError, match="must be >= 0"):
            order_cover(cover_of(), **wrong)


# Laws.

cents = st.integers(0, 500_000_00)
rates = st.sampled_from([0.0, 0.333, 0.5, 0.9, 0.95, 1.0]) | st.floats(0, 1)
policies = st.builds(
    lambda deductible, most, excludes: ruled(
        deductible_per_claim_amount=deductible,
        maximum_liability_amount=most,
        excludes_disputed=excludes,
    ),
    st.integers(0, 20_000),
    st.none() | st.integers(0, 400_000),
    st.booleans(),
)
amounts = st.integers(-100_000_00, 500_000_00)


def insured(amount_cents, rate, owed, order, rules, disputed=0):
    cover = replace(cover_of(), amount_cents=amount_cents, insured_rate=rate)
    return assess_cover(cover, owed, disputed, 0, order, 30, AS_OF, rules)


@given(cents, rates, amounts, cents, cents, policies)
def test_received_insured_and_uninsured_are_the_order_and_reasons_add_up(
    cover, rate, owed, disputed, order, rules
):
    found = insured(cover, rate, owed, order, rules, disputed)
    parts = (found.received_cents, found.insured_cents, found.uninsured_cents)
    assert sum(parts) == order
    assert min(parts) >= 0
    assert sum(reason.cents for reason in found.reasons) == found.uninsured_cents
    assert min((reason.cents for reason in found.reasons), default=0) >= 0
    assert bool(found.reasons) or found.uninsured_cents == 0
    assert abs(found.insured_part(order) - found.insured_cents) < 1


@given(cents, rates, amounts, st.lists(cents, max_size=6), policies)
@example(cover=1, rate=0.9, owed=0, orders=[1], rules=RULES)  # 0.9 of a cent is none
def test_an_insured_part_never_counts_twice(cover, rate, owed, orders, rules):
    total, exposure = 0, owed
    for order in orders:
        total += insured(cover, rate, exposure, order, rules).insured_cents
        exposure += order
    assert total <= rate * cover + 1e-6
    assert total == insured(cover, rate, owed, sum(orders), rules).insured_cents


@given(cents, cents, rates, amounts, cents, policies)
def test_more_cover_never_insures_less(one, other, rate, owed, order, rules):
    less, more = (insured(c, rate, owed, order, rules).insured_cents for c in sorted((one, other)))
    assert less <= more


@given(cents, rates, amounts, amounts, cents, policies)
def test_owing_more_never_insures_more_than_the_deductible_it_uses(
    cover, rate, one, other, order, rules
):
    low, high = sorted((one, other))
    milder, worse = (insured(cover, rate, owed, order, rules).insured_cents for owed in (low, high))
    a_cent = 1  # totals are rounded down
    assert worse <= milder + rules.deductible_cents + max(0, -low) + a_cent


@given(cents, rates, cents, cents, policies)
def test_the_parts_of_an_order_grow_with_the_amount_on_credit(cover, rate, owed, order, rules):
    found = insured(cover, rate, owed, order, rules)
    steps = [found.insured_part(order * share // 10) for share in range(11)]
    assert steps[0] == 0
    assert all(smaller <= larger for smaller, larger in pairwise(steps))


# Which decision holds.


def test_the_last_decision_that_runs_holds_and_a_refusal_is_one():
    granted, cut = cover_of(), cover_of(amount=0, starts="2026-06-01")
    assert in_force([granted, cut], AS_OF) == cut
    assert in_force([cut, granted], date(2026, 6, 1)) == granted  # exclusive: the day before


def test_a_temporary_cover_gives_way_to_the_permanent_one_when_it_ends():
    permanent = cover_of()
    season = cover_of(amount=90_000, starts="2026-10-01", ends="2026-11-25")
    assert (permanent.kind, season.kind) == ("permanent", "temporary")
    assert in_force([permanent, season], AS_OF) == season
    assert in_force([permanent, season], AS_OF + timedelta(days=1)) == permanent


def test_a_decision_counts_from_the_day_it_is_known():
    backdated = cover_of(starts="2026-01-01", known="2026-11-25")
    assert in_force([backdated], TODAY) is None
    assert in_force([backdated], AS_OF) == backdated


def test_an_ended_cover_is_told_from_none():
    first, second = cover_of(ends="2026-03-31"), cover_of(amount=5_000, ends="2026-06-30")
    assert in_force([first, second], AS_OF) is None
    assert last_decision([first, second], AS_OF) == second
    assert last_decision([], AS_OF) is None
    assert last_decision([cover_of(starts="2027-01-01")], AS_OF) is None


decisions = st.builds(
    lambda amount, start, length, known: Cover(
        amount,
        0.9,
        TODAY + timedelta(days=start),
        None if length is None else TODAY + timedelta(days=start + length),
        "ledger",
        datetime(2026, 11, 25, 8, tzinfo=UTC) + timedelta(days=known),
    ),
    st.integers(0, 3),
    st.integers(-5, 5),
    st.none() | st.integers(0, 5),
    st.integers(-5, 5),
)


@given(st.lists(decisions, max_size=6), st.randoms())
def test_the_order_of_the_decisions_does_not_matter_nor_what_is_not_known_yet(covers, random):
    shuffled = random.sample(covers, len(covers))
    assert in_force(shuffled, AS_OF) == in_force(covers, AS_OF)
    assert last_decision(shuffled, AS_OF) == last_decision(covers, AS_OF)
    known = [one for one in covers if one.known_on < AS_OF]
    assert in_force(known, AS_OF) == in_force(covers, AS_OF)


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount_cents": -1},
        {"insured_rate": 1.1},
        {"insured_rate": float("nan")},
        {"ends_on": date(2025, 12, 31)},
        {"known_at": datetime(2026, 1, 1)},  # noqa: DTZ001
        {"source": "rumour"},
    ],
)
def test_a_cover_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(cover_of(), **wrong)


# Deadlines.


def test_each_overdue_invoice_has_its_deadlines_the_most_urgent_first():
    """
    due_on     | overdue | stop of deliveries | notification
    2026-08-27 | 90 days | missed by 30       | today
    2026-10-26 | 30 days | 30 days left       | 60 days left
    2026-11-25 | due today: not overdue
    """
    invoices = [
        OpenInvoice("F-2", date(2026, 10, 26), 500_00),
        OpenInvoice("F-3", date(2026, 11, 25), 900_00),
        OpenInvoice("F-1", date(2026, 8, 27), 100_00),
    ]
    found = deadlines(invoices, AS_OF, RULES)
    assert [(one.invoice_id, one.kind, one.days_left) for one in found] == [
        ("F-1", "stop_of_deliveries", -30),
        ("F-1", "threatened_loss_notification", 0),
        ("F-2", "stop_of_deliveries", 30),
        ("F-2", "threatened_loss_notification", 60),
    ]
    assert [(one.fr, one.en) for one in found[:2]] == [
        (
            "F-1 : dernier jour pour livrer ce client, au plus tard le 26/10/2026 "
            "(dépassé depuis 30 jours)",
            "F-1: last day to deliver, by 2026-10-26 at the latest (missed by 30 days)",
        ),
        (
            "F-1 : déclaration de menace de sinistre à l’assureur, au plus tard le 25/11/2026 "
            "(aujourd’hui)",
            "F-1: threatened-loss notification to the insurer, by 2026-11-25 at the latest (today)",
        ),
    ]


@pytest.mark.parametrize(("overdue", "left"), [(59, 1), (60, 0), (61, -1)])
def test_deliveries_are_covered_exactly_until_the_stop_of_deliveries(overdue, left):
    invoice = OpenInvoice("F-1", TODAY - timedelta(days=overdue), 100_00)
    stop = next(one for one in deadlines([invoice], AS_OF, RULES) if "stop" in one.kind)
    assert stop.days_left == left
    assert (order_cover(cover_of(), overdue=overdue).insured_cents > 0) == (left >= 0)


def test_a_disputed_invoice_stops_no_delivery_and_comes_last():
    invoices = [
        OpenInvoice("F-1", date(2026, 8, 1), 100_00, is_disputed=True),
        OpenInvoice("F-2", date(2026, 11, 1), 100_00),
    ]
    *_, last = found = deadlines(invoices, AS_OF, RULES)
    assert [(one.invoice_id, one.is_disputed) for one in found] == [
        ("F-2", False),
        ("F-2", False),
        ("F-1", True),
    ]
    assert last.kind == "threatened_loss_notification"
    assert "facture litigieuse" in last.fr
    assert "disputed invoice" in last.en
    assert len(deadlines(invoices, AS_OF, ruled(excludes_disputed=False))) == 4


def test_a_paid_invoice_has_no_deadline():
    assert deadlines([OpenInvoice("F-1", date(2026, 8, 1), 0)], AS_OF, RULES) == ()


def test_the_indemnity_falls_due_after_the_waiting_period():
    assert indemnified_on(TODAY, RULES) == date(2027, 4, 24)  # 150 days


# Disagreement.


@pytest.mark.parametrize(
    ("probability", "cover", "kind"),
    [
        (0.01, cover_of(amount=0), "insurer_refuses_low_risk"),
        (0.01, cover_of(ends="2026-11-24"), "insurer_refuses_low_risk"),
        (0.011, cover_of(amount=0), None),
        (0.01, None, None),
        (0.01, cover_of(ends="2026-11-25"), None),
        (0.101, cover_of(), "insurer_covers_high_risk"),
        (0.101, cover_of(amount=39_999), None),
        (0.10, cover_of(), None),
        (0.5, cover_of(amount=0), None),
        (None, cover_of(), None),
    ],
)
def test_disagreement_is_flagged_both_ways_and_on_the_bound(probability, cover, kind):
    found = disagreement(probability, cover, 40_000_00, AS_OF, RULES)
    assert (found and found.kind) == kind
    if found:
        assert found.grade in found.fr
        assert found.grade in found.en


# The policy file.


def test_the_policy_is_identified_by_its_bytes():
    assert load(TEXT).sha256 == RULES.sha256 != load(TEXT + "#").sha256


@pytest.mark.parametrize(
    ("was", "now", "fault"),
    [
        ("insured_rate: 0.90", "insured_rate: 1.5", "insurance:11: insured_rate: "),
        ("insured_rate: 0.90", "insured_rate: .nan", "insurance:11: insured_rate: "),
        ("insured_rate: 0.90", 'insured_rate: "0.9"', "insurance:11: insured_rate: "),
        ("maximum_terms_days: 75", "maximum_terms_days: true", ": maximum_terms_days: "),
        ("maximum_terms_days: 75", "maximum_terms_days: -1", ": maximum_terms_days: "),
        ("maximum_terms_days:", "maximum_terms_day:", ": maximum_terms_day: Extra"),
        ("amount: 0", "amount: 0.005", "deductible_per_claim_amount: "),
        ("stop_of_deliveries_days: 60", "stop_of_deliveries_days: 61", "at most maximum_extension"),
        ("above_rate: 0.10", "above_rate: 0.001", "disagreement.high_risk_above_rate: "),
        ("version: 2026-11", "version: 2026-11\nversion: 2", "version is repeated"),
        ("kind: ledger}", "kind: oracle}", "provider: "),
        ("version:", "version", "insurance:"),
    ],
)
def test_a_fault_is_named_by_line_and_key(was, now, fault):
    before, found, after = TEXT.rpartition(was) if "kind" in was else TEXT.partition(was)
    assert found
    with pytest.raises(InsuranceError, match=r"insurance:\d+: ") as error:
        load(before + now + after)
    assert fault in str(error.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(InsuranceError, match=r"none\.yaml: cannot be read"):
        load(tmp_path / "none.yaml")


def http(url: str) -> str:
    return TEXT.replace("provider: {kind: ledger}", f"provider: {{kind: http, url: '{url}'}}")


@pytest.mark.parametrize(
    "url",
    ["https://insurer.example/v1/", "https://insurer.example:8443", "http://127.0.0.1:9000/v1"],
)
def test_the_insurers_address_is_https_or_this_machine(url):
    assert load(http(url)).provider.url == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "http://insurer.example",
        "http://localhost:9000",
        "http://127.0.0.1.evil.example",
        "http://2130706433",
        "http://[::1]/",
        "https://user:secret@insurer.example",
        "http://127.0.0.1@evil.example",
        "https://insurer.example/?a=b",
        "https://insurer.example/#a",
        "https://insurer.example/../admin",
        "https://insurer.example/%2e%2e/admin",
        "https://insurer.example\\@evil.example",
        "https://",
        "https://insurer.example:99999",
        "ftp://insurer.example",
        "file:///etc/passwd",
        "insurer.example",
        "",
    ],
)
def test_any_other_address_is_refused(url):
    with pytest.raises(InsuranceError, match=r"insurance:\d+: provider\.http\.url"):
        load(http(url))
