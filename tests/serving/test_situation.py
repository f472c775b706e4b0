"""Where a customer stands when it orders, as an answer shows it."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from models.insurance import Cover
from models.insurance_file import PATH, load
from models.policy import Order
from serving.covers import Found
from serving.opened import desk_from_environment
from serving.schemas import Assessment
from serving.situation import Insurer
from tests.serving.test_assess import add, assessor_of

ORDER = Order(amount_cents=5_000_00, margin_cents=500_00, terms_days=30)


@pytest.fixture
def told(blank, clock):
    """Assess customer A's order in a ledger to which tables are added."""

    def told(text: str, order: Order = ORDER, insurer: Insurer | None = None) -> dict:
        add(blank, text)
        assessor = assessor_of(blank, clock)
        if insurer is not None:
            assessor._insurer = insurer
        body = assessor.assess("A", order)
        Assessment.model_validate_json(body)
        return json.loads(body)

    return told


def test_the_exposure_is_told_part_by_part(told):
    """1,000 − 400 paid and 500 disputed are owed; 50 named no invoice; 700 − 200 are on order."""
    exposure = told(
        """
        invoice | issued_on  | due_on     | amount
        F1      | 2025-05-01 | 2025-06-15 | 1000
        F2      | 2025-05-20 | 2025-07-31 | 500

        invoice | settled_on | amount
        F1      | 2025-06-01 | 400

        dispute_id | invoice | opened_on
        D1         | F2      | 2025-06-10

        order_id | accepted_on | amount | deposit
        O1       | 2025-06-20  | 700    | 200
        """
    )["exposure"]
    assert exposure == {
        "total": "1600.00",
        "invoices": "1100.00",
        "unapplied": "0.00",
        "orders": "500.00",
        "disputed": "500.00",
        "overdue": "600.00",
        "rest_of_group": "0.00",
    }


def test_what_the_group_owes_is_told_and_bounds_the_limit(told):
    """A and B belong to one group, C left it."""
    alone = told(
        """
        customer | invoice | issued_on  | due_on     | amount
        A        | F0      | 2025-04-01 | 2025-05-01 | 1000
        A        | F1      | 2025-05-01 | 2025-07-15 | 1000
        B        | F2      | 2025-05-01 | 2025-07-15 | 90000
        C        | F3      | 2025-05-01 | 2025-07-15 | 7000

        invoice | settled_on | amount
        F0      | 2025-05-01 | 1000
        """
    )
    together = told(
        """
        change_id | customer | changed_on | kind  | value
        1         | A        | 2025-01-01 | group | Morel
        2         | B        | 2025-01-01 | group | Morel
        3         | C        | 2025-01-01 | group | Morel
        4         | C        | 2025-06-01 | group |
        """
    )
    assert alone["exposure"]["rest_of_group"] == "0.00"
    assert together["exposure"]["rest_of_group"] == "90000.00"
    lines = {line["en"] for line in together["limit_derivation"]}
    assert "of which taken by the group" in lines


def test_an_unverified_change_of_bank_details_holds_even_a_paid_order(told):
    answer = told(
        """
        due_on     | settled_on | amount
        2025-05-01 | 2025-05-01 | 5000

        change_id | changed_on | kind         | value
        1         | 2025-06-20 | bank_details | unverified
        """,
        ORDER._replace(paid_cents=5_000_00),
    )
    assert answer["recommendation"]["action"] == "review"
    assert "fraud_signal" in [rule["id"] for rule in answer["rules"]]


def test_what_the_insurer_covers_of_the_order_is_told_with_why_not_the_rest(told):
    """4,000 covered at 90 %, of which 1,000 are used: 2,700 of 5,000 are insured."""
    insurance = told(
        """
        invoice | issued_on  | due_on     | amount
        F1      | 2025-05-01 | 2025-07-15 | 1000

        cover_id | starts_on  | amount | insured_rate
        1        | 2025-01-01 | 4000   | 0.9
        """
    )["insurance"]
    assert (insurance["insured"], insurance["uninsured"]) == ("2700.00", "2300.00")
    assert {reason["id"]: reason["amount"] for reason in insurance["reasons"]} == {
        "above_cover": "1000.00",
        "used_up": "1000.00",
        "own_share": "300.00",
    }


def test_the_insurers_deadlines_are_told_for_each_overdue_invoice(told):
    """Due on 1 May; on 2 July it is 62 days overdue: beyond 60 nothing delivered is covered."""
    answer = told(
        """
        invoice | issued_on  | due_on     | amount
        F1      | 2025-04-01 | 2025-05-01 | 1000

        cover_id | starts_on  | amount | insured_rate
        1        | 2025-01-01 | 40000  | 0.9
        """
    )
    deadlines = {one["kind"]: one for one in answer["insurance"]["deadlines"]}
    assert deadlines["stop_of_deliveries"]["days_left"] == -2
    assert deadlines["threatened_loss_notification"]["days_left"] == 28
    assert deadlines["threatened_loss_notification"]["due_on"] == "2025-07-30"
    assert [reason["id"] for reason in answer["insurance"]["reasons"]] == [
        "overdue_beyond_extension"
    ]
    opened = next(one for one in answer["options"] if one["kind"] == "open")
    assert opened["uninsured"] == "5000.00"


def test_a_customer_whom_the_insurer_never_covered_has_no_deadline(told):
    text = "invoice | issued_on | due_on | amount\nF1 | 2025-04-01 | 2025-05-01 | 1000"
    assert told(text)["insurance"]["deadlines"] == []


class Down:
    """An insurer who last confirmed a cover yesterday, and does not answer now."""

    def cover(self, customer_id: str, at: datetime) -> Found:
        """Give yesterday's cover, and say that it is."""
        known = datetime(2025, 7, 1, 9, tzinfo=UTC)
        cover = Cover(40_000_00, 0.9, known.date(), None, "http", known, is_stale=True)
        return Found(cover, known, "timeout")


def test_a_stale_cover_still_counts_and_says_since_when(told):
    insurer = Insurer(load(), Down())
    insurance = told("due_on | settled_on | amount\n2025-05-01 | 2025-05-01 | 500", ORDER, insurer)[
        "insurance"
    ]
    assert insurance["stale"] is True
    assert insurance["insured"] == "4500.00"
    assert "did not answer in time; last confirmed on 2025-07-01" in insurance["stale_en"]
    assert "01/07/2025" in insurance["stale_fr"]


def test_what_the_insurer_said_is_kept_on_the_record(blank, clock, told):
    assessor = assessor_of(blank, clock)
    add(blank, "due_on | settled_on | amount\n2025-05-01 | 2025-05-01 | 500")
    assessor._insurer = replace(assessor._insurer, provider=Down())
    answer = json.loads(assessor.assess("A", ORDER))
    entry = assessor._record.find(answer["id"])
    kept = json.loads(entry.body)["evidence"]["cover"]
    assert kept["outage"] == "timeout"
    assert kept["cover"]["amount_cents"] == 40_000_00


HTTP = 'provider: {kind: http, url: "https://insurer.example/v1"}'


def test_an_insurer_who_needs_a_key_is_not_asked_without_one(seller, tmp_path, monkeypatch):
    file = tmp_path / "insurance.yaml"
    file.write_text(PATH.read_text("utf-8").replace("provider: {kind: ledger}", HTTP), "utf-8")
    monkeypatch.setenv("ENCOURS_HOME", str(seller.home))
    monkeypatch.setenv("ENCOURS_INSURANCE", str(file))
    monkeypatch.delenv("ENCOURS_INSURER_KEY", raising=False)
    assert "ENCOURS_INSURER_KEY must hold" in desk_from_environment().readiness()


def test_covers_may_come_from_a_file_that_the_environment_names(
    seller, clock, tmp_path, monkeypatch
):
    covers = tmp_path / "covers.csv"
    covers.write_text(
        "customer_id,amount,currency,insured_rate,starts_on,ends_on,decided_at\n"
        "C-00001,30000.00,EUR,0.9,2025-01-01,,2025-01-01T09:00:00Z\n",
        "utf-8",
    )
    file = tmp_path / "insurance.yaml"
    source = f"provider: {{kind: file, path: {covers}}}"
    file.write_text(PATH.read_text("utf-8").replace("provider: {kind: ledger}", source), "utf-8")
    monkeypatch.setenv("ENCOURS_HOME", str(seller.home))
    monkeypatch.setenv("ENCOURS_INSURANCE", str(file))
    monkeypatch.setenv("ENCOURS_TODAY", "2025-05-31")
    answer = json.loads(desk_from_environment().get().assessor.assess("C-00001", ORDER))
    assert answer["insurance"]["covered"] == "30000.00"
