"""Why a probability moved, from two entries of the record; and facts that a customer contests."""

from __future__ import annotations

import json
import math
from datetime import timedelta
from typing import Any

import pytest

from features.store import Store, connect
from models.policy import Order
from serving.assess import Assessor
from serving.bridging import NoBridge, bridge_between
from serving.contest import Contested, Contester, ContestRefused
from serving.replay import Entries, Replayer
from tests.serving.test_replay import Seller

CUSTOMER = "C-00100"
ORDER = Order(2_000_00, 120_00, 30)
UNPAID = """
customer | invoice | issued_on  | due_on     | amount
C-00100  | X1      | 2025-05-01 | 2025-05-31 | 90000
"""
SETTLED = {
    "settlements": [
        {
            "settlement_id": "paid-X1",
            "customer_id": CUSTOMER,
            "invoice_id": "X1",
            "kind": "payment",
            "settled_on": "2025-05-30",
            "amount": "90000.00",
        }
    ]
}
WHY = "It was paid on 30 May, see the bank's statement."


@pytest.fixture
def shop(seller) -> Seller:
    return Seller(seller)


def between(shop: Seller, first: str, second: str, *asked: Any) -> dict[str, Any]:
    workspace = shop.workspace
    replayer = Replayer(workspace, Store(workspace.facts_url))
    old, new = (Entries(workspace.record_url).find(id) for id in (first, second))
    return bridge_between(replayer, old, new, *asked)


def parts(found: dict[str, Any]) -> dict[str, float]:
    return {part["kind"]: part["log_odds"] for part in found["parts"]}


def recorded(shop: Seller, id: str) -> dict[str, Any]:
    return json.loads(shop.record.find(id).body)["answer"]


def test_days_facts_order_and_model_add_up_to_what_the_answers_say(shop):
    """The first two days nothing but time passes; then facts come, then another model."""
    first = shop.assess(CUSTOMER, ORDER)
    shop.now += timedelta(days=40)
    later = shop.assess(CUSTOMER, ORDER)
    shop.add(UNPAID)
    known = shop.assess(CUSTOMER, ORDER)
    shop.recalibrate("default", 0.7)
    shop.recalibrate("late", 1.2)
    shop.policy("unsecured: 0.60", "unsecured: 0.50")
    last = shop.assess(CUSTOMER, Order(80_000_00, 0, 60))
    for question, term in (("default", 365), ("late", 30), ("late", 0)):
        found = between(shop, first, last, question, term)
        told = [recorded(shop, id)[question][str(term)] for id in (first, last)]
        assert [found["before"], found["after"]] == pytest.approx(told, abs=1e-9)
        logits = [math.log(p / (1 - p)) for p in told]
        assert math.fsum(parts(found).values()) == pytest.approx(logits[1] - logits[0], abs=1e-9)
        moved = math.fsum(part["points"] for part in found["parts"])
        assert moved == pytest.approx(told[1] - told[0], abs=1e-9)
        assert set(parts(found)) == {"time", "facts", "order", "model", "policy"}
        assert parts(found)["model"] != 0
        assert parts(found)["policy"] == 0
    assert {k for k, v in parts(between(shop, first, later)).items() if v} == {"time"}
    assert {k for k, v in parts(between(shop, later, known)).items() if v} == {"facts"}
    assert parts(between(shop, known, last, "default", 365))["order"] == 0
    assert parts(between(shop, known, last, "late", 30))["order"] != 0


def test_there_is_no_way_between_what_cannot_be_compared(shop):
    first = shop.assess(CUSTOMER, ORDER)
    other = shop.assess("C-00003", ORDER)
    shop.now += timedelta(days=1)
    later = shop.assess(CUSTOMER, ORDER)
    with pytest.raises(NoBridge, match="two customers"):
        between(shop, first, other)
    with pytest.raises(NoBridge, match="the second assessment is the earlier one"):
        between(shop, later, first)
    with pytest.raises(NoBridge, match="speaks of"):
        between(shop, first, later, "default", 9_999)
    shop.add(UNPAID.replace("2025-05", "2025-01").replace("01-31", "02-28"))
    shop.now += timedelta(days=1)
    defaulted = shop.assess(CUSTOMER, ORDER)
    assert recorded(shop, defaulted)["default"] is None
    with pytest.raises(NoBridge, match="already in default"):
        between(shop, first, defaulted, "default")
    assert between(shop, first, defaulted)["curve"] == "late"


# Contests.


def contest(shop: Seller, id: str, correction: Any = SETTLED, why: str = WHY) -> dict[str, Any]:
    workspace = shop.workspace
    assessor = Assessor(shop.store, shop.record, workspace, lambda: shop.now)
    replayer = Replayer(workspace, Store(workspace.facts_url))
    contester = Contester(shop.store, shop.record, assessor, lambda: shop.now, replayer)
    written = correction if isinstance(correction, bytes) else json.dumps(correction).encode()
    return contester.contest(Contested(id, "Marie Morel", why, "paid.json", written))


def test_a_contested_fact_is_corrected_answered_again_and_the_way_there_recorded(shop):
    shop.add(UNPAID)
    old = shop.assess(CUSTOMER, ORDER)
    told = contest(shop, old)["contest"]
    entry = shop.record.find(told["id"])
    assert entry.kind == "contest"
    assert json.loads(entry.body)["contest"] == told
    assert (told["assessment"]["id"], told["by"], told["why"]) == (old, "Marie Morel", WHY)
    new = recorded(shop, told["answered_again"]["id"])
    assert new["order"] == {**recorded(shop, old)["order"], "assumed": False}
    assert float(new["exposure"]["invoices"]) < float(recorded(shop, old)["exposure"]["invoices"])
    assert {k for k, v in parts(told["bridge"]).items() if v} == {"facts"}
    assert told["bridge"]["after"] == pytest.approx(new["default"]["365"], abs=1e-9)
    assert told["bridge"]["after"] < told["bridge"]["before"]
    assert told["correction"]["counts"]["settlements"]["added"] == 1


def test_the_source_of_the_correction_says_who_and_why(shop):
    shop.add(UNPAID)
    old = shop.assess(CUSTOMER, ORDER)
    told = contest(shop, old)["contest"]
    with connect(shop.workspace.facts_url).connect() as connection:
        files = connection.exec_driver_sql(
            "SELECT files FROM sources ORDER BY sequence DESC LIMIT 1"
        ).scalar_one()
    ((name, sha256),) = json.loads(files)
    assert name == f"paid.json, contest of {old} by Marie Morel: {WHY}"
    assert sha256 == told["correction"]["sha256"]


def test_both_answers_are_made_again_to_the_byte_afterwards(shop):
    shop.add(UNPAID)
    old = shop.assess(CUSTOMER, ORDER)
    contest(shop, old)
    replayer = Replayer(shop.workspace, Store(shop.workspace.facts_url))
    entries = Entries(shop.workspace.record_url).sample(9, 1)
    assert len(entries) == 2
    assert all(replayer.replay(one).differences == () for one in entries)


@pytest.mark.parametrize(
    ("correction", "said"),
    [
        (b"{", "not strict JSON"),
        (b'{"settlements": [], "settlements": []}', "not strict JSON"),
        ({}, "holds no row"),
        ({"money": []}, "cannot be read"),
        ({"settlements": [{**SETTLED["settlements"][0], "invoice_id": "nobody"}]}, "none of the"),
        (
            {"settlements": [{**SETTLED["settlements"][0], "customer_id": "C-00003"}]},
            "1 rows cannot be taken, and none of the others are; first settlements/0/customer_id",
        ),
    ],
)
def test_what_cannot_be_taken_corrects_nothing(shop, correction, said):
    shop.add(UNPAID)
    old = shop.assess(CUSTOMER, ORDER)
    before = shop.store.sequence()
    with pytest.raises(ContestRefused, match=said):
        contest(shop, old, correction)
    assert shop.store.sequence() == before
    assert shop.record.after(0, "contest") == []


def test_a_contest_needs_an_assessment_and_a_reason(shop):
    old = shop.assess(CUSTOMER, ORDER)
    with pytest.raises(ContestRefused, match="no assessment of that id"):
        contest(shop, "nobody")
    with pytest.raises(ContestRefused, match="10 to 500"):
        contest(shop, old, why="no")
