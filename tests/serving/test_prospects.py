"""A prospect is assessed by the facts that come with the order, and by nothing of the ledger."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from features.store import Store
from serving.api import create_app
from serving.assess import Assessor
from serving.counterfactuals import Case, counterfactuals, paid, read
from serving.fact_words import OF_PROSPECTS, WORDS
from serving.keys import Keys
from serving.replay import Replayer
from tests.conftest import NOW
from tests.serving.test_access import bearer
from tests.serving.test_api import call
from tests.serving.test_facts import table
from tests.serving.test_facts_assessed import BOOKS, ORDER, PLACES, _Seller

PATH = "/v1/assessments/prospect"
PAID = """
    settlement | settled_on | invoice | amount
    P1         | 2025-05-20 | F1      | 400.00
    """


@pytest.fixture
def seller(blank) -> _Seller:
    return _Seller(blank)


def told(*tables: str, of: str = "P") -> dict[str, Any]:
    """Lay small tables out as the facts of one prospect."""
    facts: dict[str, Any] = {}
    for text in tables:
        for name, rows in table(text).items():
            facts[name] = [{**row, "customer_id": of} for row in rows]
    return facts


def asked(*tables: str, **order: Any) -> dict[str, Any]:
    return {"facts": told(*tables), "order": {**ORDER, **order}}


def evidence_of(seller: _Seller, answer: Any) -> dict[str, Any]:
    assert answer.status_code == 201, answer.text
    return json.loads(seller.record.find(answer.json()["id"]).body)["evidence"]


def test_the_same_facts_say_the_same_of_a_prospect_as_of_a_customer(seller):
    prospect = seller.post(PATH, asked(BOOKS, PAID))
    before = evidence_of(seller, prospect)
    for name in ("invoices", "settlements"):
        assert seller.store.read()[name]["customer_id"].size == 0  # the ledger did not get them
    known = told(BOOKS, PAID, of="A")
    for name, day in (("customers", ""), ("invoices", "issued_on"), ("settlements", "settled_on")):
        for row in known[name]:
            row["recorded_at"] = f"{row.get(day, '1990-01-01')}T00:00:00Z"
    seller.push(known)
    customer = seller.post("/v1/assessments", {"customer": {"id": "A"}, "order": ORDER})
    after = evidence_of(seller, customer)
    assert before["features"] == after["features"]
    said, of_customer = prospect.json(), customer.json()
    own = {"id", "customer", "known_at", "record"}
    assert {n: v for n, v in said.items() if n not in own} == {
        n: v for n, v in of_customer.items() if n not in own
    }
    assert said["customer"] == {**of_customer["customer"], "id": "P"}
    assert said["exposure"]["overdue"] == "600.00"


def test_a_prospect_of_whom_nothing_is_known_is_left_to_a_person(seller):
    said = seller.post(PATH, {"facts": told("customer | name\nP | Morel"), "order": ORDER}).json()
    assert said["customer"]["data_depth"] == "G"
    assert said["recommendation"]["requires_human"]
    assert said["order"]["assumed"] is False


def test_the_answer_is_read_again_and_replayed_from_its_entry(seller):
    first = seller.post(PATH, asked(BOOKS, PAID))
    found = call(seller.app, "GET", first.headers["location"], headers=seller.headers)
    assert found.content == first.content
    seller.push(told(BOOKS, of="P"))  # a customer at last, with other books
    seller.push(told(PAID, of="P"))
    entry = seller.record.find(first.json()["id"])
    replayer = Replayer(seller.get().workspace, Store(seller.get().workspace.facts_url))
    assert replayer.replay(entry).differences == ()


def test_the_changes_that_would_help_a_prospect_are_told(seller):
    first = seller.post(PATH, asked(BOOKS, PAID, amount="900000.00", margin="9000.00"))
    entry = seller.record.find(first.json()["id"])
    replayer = Replayer(seller.get().workspace, seller.store)
    said = counterfactuals(replayer, entry)
    assert said["action"] != "open"
    assert said["found"]
    _, known, _ = read(replayer, entry)
    owed = tuple(Case(known, "P").owed())
    assert owed[0][:2] == ("F1", 600_00)
    assert Case(paid(known, "P", owed), "P").owed() == []


def test_a_changed_fact_of_a_prospect_is_named_by_the_replay(seller):
    first = seller.post(PATH, asked(BOOKS, PAID))
    entry = seller.record.find(first.json()["id"])
    body = json.loads(entry.body)
    body["evidence"]["prospect"]["settlements"][0]["amount"] = "999.00"
    replayer = Replayer(seller.get().workspace, seller.store)
    again = json.loads(replayer.again(body))
    assert again["evidence"]["features"] != body["evidence"]["features"]


def test_with_the_same_idempotency_key_the_answer_is_the_same(seller):
    headers = {**seller.headers, "Idempotency-Key": "one"}
    body = json.dumps(asked(BOOKS))
    one, two = (call(seller.app, "POST", PATH, content=body, headers=headers) for _ in range(2))
    assert one.content == two.content
    other = json.dumps(asked(BOOKS, amount="2000.01"))
    assert call(seller.app, "POST", PATH, content=other, headers=headers).status_code == 422


def test_a_prospect_is_not_watched(seller, monkeypatch):
    seen: list[Any] = []
    monkeypatch.setattr(Assessor, "watch", lambda _self, assessed: seen.append(assessed.state))
    seller.post(PATH, asked(BOOKS))
    assert seen == [None]


def test_a_company_that_the_ledger_knows_is_no_prospect(seller):
    seller.push(told(BOOKS, of="P"))
    answer = seller.post(PATH, asked(BOOKS))
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/known-customer")


def changed(table: str, **values: Any) -> dict[str, Any]:
    body = copy.deepcopy(asked(BOOKS, PAID))
    body["facts"][table][-1] |= values
    return body


FAULTY = {
    "a rule of the ledger": (
        changed("invoices", due_on="2025-03-01"),
        "/facts/invoices/1",
        "due_before_issue",
    ),
    "an invoice that is not told": (
        changed("settlements", invoice_id="F9"),
        "/facts/settlements/0/invoice_id",
        "unknown_invoice",
    ),
    "another company's fact": (
        changed("invoices", customer_id="Q"),
        "/facts/invoices/1/customer_id",
        "another_company",
    ),
    "a fact of tomorrow": (
        changed("settlements", recorded_at="2025-07-04T00:00:00Z"),
        "/facts/settlements/0/recorded_at",
        "recorded_in_the_future",
    ),
    "no company": (
        {"facts": {"customers": []}, "order": ORDER},
        "/facts/customers/0/customer_id",
        "not_one_company",
    ),
    "two companies": (
        {"facts": told("customer | name\nP | Morel\nP | Morel"), "order": ORDER},
        "/facts/customers/1/customer_id",
        "not_one_company",
    ),
}


@pytest.mark.parametrize("case", FAULTY)
def test_what_is_wrong_is_pointed_out_and_nothing_is_recorded(seller, case):
    body, pointer, reason = FAULTY[case]
    answer = seller.post(PATH, body)
    said = answer.json()
    assert (answer.status_code, said["type"]) == (422, "/problems/fact-refused")
    assert [(one["pointer"], one["reason"]) for one in said["errors"]] == [(pointer, reason)]
    assert said["errors"][0]["detail"] == {**WORDS, **OF_PROSPECTS}[reason].en
    assert "Morel" not in answer.text
    assert seller.record.of_customer("P", "assessment", 1) == []


def test_an_order_is_needed_and_the_facts_are_few(seller):
    assert seller.post(PATH, {"facts": told(BOOKS)}).json()["errors"][0]["pointer"] == "/order"
    many = asked(BOOKS)
    many["facts"]["invoices"] = [
        {**many["facts"]["invoices"][0], "invoice_id": f"F-{n}"} for n in range(1_000)
    ]
    answer = seller.post(PATH, many)
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-request")
    assert "1,000 facts" in answer.json()["errors"][0]["detail"]


def test_who_may_tell_what(seller):
    keys = Keys(lambda: seller.record, lambda: NOW)
    crm = keys.make("CRM", "crm", "Claire", calls_a_second=1e5)
    chosen = keys.make("shop", "crm", "Claire", customers=["P"], calls_a_second=1e5)
    own = asked(BOOKS)
    cover = {"cover_id": "K", "customer_id": "P", "starts_on": "2025-01-01", "insured_rate": 0.9}
    covered = asked(BOOKS)
    covered["facts"]["insurance_covers"] = [{**cover, "amount": "50000.00"}]

    app = create_app(seller, keys, answer_seconds=120)

    def status(key: Any, body: Any) -> int:
        headers = bearer(key.text)
        return call(app, "POST", PATH, content=json.dumps(body), headers=headers).status_code

    assert (status(crm, own), status(crm, covered), status(chosen, own)) == (201, 403, 403)
    answer = seller.post(PATH, covered)
    assert answer.json()["insurance"]["covered"] == "50000.00"


def test_every_feature_is_that_of_the_facts_told(seller):
    evidence = evidence_of(seller, seller.post(PATH, asked(BOOKS, PAID)))
    found = {name: float.fromhex(evidence["features"][at]) for name, at in PLACES.items()}
    assert found["open_exposure"] == 1100
    assert evidence["prospect"]["settlements"][0]["amount"] == "400.00"
