"""What a factor would finance: each reason, the limits by customer, the advance."""

from decimal import Decimal

import pytest

from features import history
from models.factoring import REASONS, WORDS, by_reason, eligibility
from models.portfolio import portfolio_at
from models.receivables_file import load
from tests.features.ledgers import day, ledger_of, read_tables

HOW = load().factoring.model_copy(update={"concentration_rate": Decimal(1)})


def judged(known, on: str, how=HOW) -> dict[str, tuple[int, str]]:
    seen = portfolio_at(known, day(on))
    found = eligibility(seen, how)
    said = zip(found.eligible_cents.tolist(), (REASONS[r] for r in found.reason), strict=True)
    return dict(zip(seen.invoice_id, said, strict=True))


def test_every_reason_has_its_words():
    assert tuple(WORDS) == REASONS


def test_an_invoice_is_excluded_for_the_first_reason_that_holds():
    """
    customer | invoice | issued_on  | due_on     | amount
    A        | F1      | 2024-10-01 | 2024-10-31 | 100
    A        | F2      | 2024-11-01 | 2024-12-31 | 900
    B        | F3      | 2024-11-01 | 2024-12-31 | 100
    C        | F4      | 2024-11-01 | 2024-12-31 | 100
    D        | F5      | 2024-05-01 | 2024-12-31 | 100
    D        | F6      | 2024-11-01 | 2024-12-31 | 900
    E        | F7      | 2024-11-01 | 2024-12-31 | 100

    customer | event_id | kind        | opened_on
    C        | J1       | safeguard   | 2024-05-01

    customer | dispute_id | invoice | opened_on
    A        | D1         | F1      | 2024-11-10
    C        | D2         | F4      | 2024-11-10

    customer | cover_id | starts_on  | amount | insured_rate
    E        | K1       | 2024-01-01 | 0      | 0
    """
    tables = read_tables(test_an_invoice_is_excluded_for_the_first_reason_that_holds.__doc__)
    tables["customers"]["is_natural_person"] = tables["customers"]["customer_id"] == "B"
    known = history.build(history.facts_of(ledger_of(tables)))
    assert judged(known, "2024-12-01") == {
        "F1": (0, "disputed"),
        "F2": (900_00, "eligible"),
        "F3": (0, "natural_person"),
        "F4": (0, "insolvency_opened"),  # and disputed: said once
        "F5": (0, "too_old"),
        "F6": (900_00, "eligible"),
        "F7": (0, "not_approved"),
    }


def test_a_customer_mostly_too_overdue_takes_his_other_invoices_with_him(known):
    """
    customer | invoice | issued_on  | due_on     | amount
    A        | F1      | 2024-09-01 | 2024-09-30 | 51
    A        | F2      | 2024-11-01 | 2024-12-31 | 50
    B        | F3      | 2024-09-01 | 2024-09-30 | 50
    B        | F4      | 2024-11-01 | 2024-12-31 | 50
    """
    assert judged(known, "2024-12-01") == {
        "F1": (0, "too_overdue"),
        "F2": (0, "cross_aged"),
        "F3": (0, "too_overdue"),
        "F4": (50_00, "eligible"),
    }


def test_the_60th_day_past_due_is_the_last_that_passes(known):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-09-01 | 2024-10-01 | 100
    """
    assert judged(known, "2024-12-01")["F1"] == (100_00, "eligible")
    assert judged(known, "2024-12-02")["F1"] == (0, "too_overdue")


def test_related_parties_are_named_in_the_parameters(known):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-11-01 | 2024-12-31 | 100
    """
    how = HOW.model_copy(update={"related_customers": ("A",)})
    assert judged(known, "2024-12-01", how) == {"F1": (0, "related_party")}


def test_the_worked_concentration_leaves_70_000_and_advances_59_500(known):
    """
    customer | invoice | issued_on  | due_on     | amount
    A        | F1      | 2024-11-01 | 2024-12-15 | 15000
    A        | F2      | 2024-11-01 | 2024-12-31 | 15000
    B        | F3      | 2024-11-01 | 2024-12-31 | 20000
    C        | F4      | 2024-11-01 | 2024-12-31 | 20000
    D        | F5      | 2024-11-01 | 2024-12-31 | 10000
    D        | F6      | 2024-11-01 | 2024-12-31 | 8000
    E        | F7      | 2024-09-01 | 2024-09-15 | 12000

    customer | dispute_id | invoice | opened_on
    D        | D1         | F6      | 2024-11-10
    """
    how = load().factoring
    seen = portfolio_at(known, day("2024-12-01"))
    found = eligibility(seen, how)
    assert [tuple(line) for line in by_reason(seen, found)] == [
        ("eligible", 5, 70_000_00),
        ("disputed", 1, 8_000_00),
        ("too_overdue", 1, 12_000_00),
        ("beyond_concentration", 1, 10_000_00),
    ]
    assert found.advance_cents == 59_500_00
    assert judged(known, "2024-12-01", how)["F2"] == (5_000_00, "beyond_concentration")


def test_the_cover_in_force_is_the_most_that_is_approved(known):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-11-01 | 2024-12-15 | 60
    F2      | 2024-11-01 | 2024-12-31 | 60

    cover_id | starts_on  | amount | insured_rate
    K1       | 2024-01-01 | 100    | 0.9
    """
    assert judged(known, "2024-12-01") == {
        "F1": (60_00, "eligible"),
        "F2": (40_00, "beyond_approval"),
    }


@pytest.mark.parametrize(
    ("approval", "reason"), [("not_refused", "eligible"), ("cover", "not_approved")]
)
def test_the_parameters_say_whether_a_customer_needs_a_cover(known, approval, reason):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-11-01 | 2024-12-15 | 60
    """
    how = HOW.model_copy(update={"approval": approval})
    assert judged(known, "2024-12-01", how)["F1"][1] == reason


def test_the_advance_is_rounded_down_to_the_cent(known):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-11-01 | 2024-12-15 | 0.19
    """
    assert eligibility(portfolio_at(known, day("2024-12-01")), HOW).advance_cents == 16
