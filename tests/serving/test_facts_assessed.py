"""What was pushed counts in the very next assessment, and in none of those before it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI

from features.build import Spine, build
from features.dictionary import dictionary
from features.history import build as build_history
from features.store import Store
from models.workspace import Workspace
from serving.api import create_app
from serving.assess import Assessor
from serving.audit import Record
from serving.keys import Keys
from serving.opened import Opened
from tests.conftest import NOW
from tests.features.ledgers import day
from tests.serving.test_access import bearer
from tests.serving.test_api import call
from tests.serving.test_facts import table, ticking

ORDER = {"amount": "2000.00", "margin": "120.00", "terms_days": 30}
PLACES = {name: place for place, name in enumerate(dictionary())}
BOOKS = """
    customer | name
    A        | Atelier Morel

    invoice | issued_on  | due_on     | amount
    F1      | 2025-04-01 | 2025-05-01 | 1000.00
    F2      | 2025-06-15 | 2025-07-15 | 500.00
    """


class _Seller:
    """A client of the service over one workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self.store, self.record = Store(workspace.facts_url), Record(workspace.record_url)
        clock = ticking()
        assessor = Assessor(self.store, self.record, workspace, clock)
        opened = Opened(self.store, self.record, workspace, clock, None, assessor)
        keys = Keys(lambda: self.record, lambda: NOW)
        self.get = lambda: opened
        self.app: FastAPI = create_app(self, keys, answer_seconds=120)
        text = keys.make("ERP", "risk", "Claire", calls_a_second=1e5).text
        self.headers = bearer(text)

    def push(self, facts: Any) -> list[str]:
        """Push facts, shown as small tables or given; tell what became of each."""
        body = table(facts) if isinstance(facts, str) else facts
        answer = self.post("/v1/facts", body)
        assert answer.status_code == 200, answer.text
        return [one["status"] for one in answer.json()["results"]]

    def post(self, path: str, body: Any) -> Any:
        return call(self.app, "POST", path, content=json.dumps(body), headers=self.headers)

    def assess(self, customer: str = "A") -> dict[str, Any]:
        """Ask for an assessment; give its features and the parts of the exposure, in units."""
        answer = self.post("/v1/assessments", {"customer": {"id": customer}, "order": ORDER})
        assert answer.status_code == 201, answer.text
        evidence = json.loads(self.record.find(answer.json()["id"]).body)["evidence"]
        self.evidence = evidence
        features = {n: float.fromhex(evidence["features"][at]) for n, at in PLACES.items()}
        exposure = {name: float(money) for name, money in answer.json()["exposure"].items()}
        return {**features, **exposure, "rules": [one["id"] for one in answer.json()["rules"]]}

    def again(self, evidence: dict[str, Any], customer: str = "A") -> list[str]:
        """Make the features of an earlier assessment again, from what it had seen."""
        sequence, known_at = evidence["sequence"], evidence["known_at_microseconds"]
        facts = self.store.read(customer, known_at, sequence, versions=True)
        peers = self.store.peers(sequence)
        history = build_history(facts, evidence["observed_from"], peers)
        as_of = np.array([day("2025-07-03")], np.int32)
        cents = np.array([2_000_00])
        spine = Spine(np.array([0]), as_of, np.array([-1]), cents, as_of, as_of + 30)
        return [value.hex() for value in build(history, spine)[0].tolist()]


@pytest.fixture
def seller(blank) -> _Seller:
    seller = _Seller(blank)
    assert seller.push(BOOKS) == ["added"] * 3
    return seller


def test_a_new_customer_and_his_invoices_count_at_once(seller):
    found = seller.assess()
    assert (found["invoices"], found["overdue"]) == (1500, 1000)
    assert found["open_exposure"] == 1500
    assert found["open_longest_overdue_days"] == day("2025-07-02") - day("2025-05-01")


# Each test's table is pushed after BOOKS; the expectations are what the next assessment sees.
STEPS = {
    "a partial payment leaves the rest open": (
        """
        settlement | settled_on | invoice | amount
        P1         | 2025-07-01 | F1      | 400.00
        """,
        {"invoices": 1000 - 400 + 500, "open_exposure": 1100, "overdue": 600},
    ),
    "the rest of it settles the invoice": (
        """
        settlement | settled_on | invoice | amount
        P1         | 2025-06-01 | F1      | 400.00
        P2         | 2025-07-01 | F1      | 600.00
        """,
        {"invoices": 500, "overdue": 0, "open_invoices": 1, "year_partial_rate": 1},
    ),
    "a credit note takes off what is owed, and is no payment": (
        """
        settlement | settled_on | invoice | amount | kind
        N1         | 2025-07-01 | F1      | 250.00 | credit_note
        """,
        {"invoices": 1250, "overdue": 750},
    ),
    "a reversal opens the invoice again": (
        """
        settlement | settled_on | invoice | amount  | kind
        P1         | 2025-06-20 | F1      | 1000.00 | payment
        R1         | 2025-06-27 | F1      | 1000.00 | reversal
        """,
        {"invoices": 1500, "overdue": 1000, "payments_bounces_365": 1},
    ),
    "a write-off is owed no more": (
        """
        settlement | settled_on | invoice | amount  | kind
        W1         | 2025-07-01 | F1      | 1000.00 | write_off
        """,
        {"invoices": 500, "overdue": 0},
    ),
    "cash that names no invoice pays the oldest": (
        """
        settlement | settled_on | amount
        P1         | 2025-07-01 | 300.00
        """,
        {"total": 1500 - 300, "overdue": 700, "payments_unallocated_rate": 1},
    ),
    "a dispute takes its invoice out of the overdue": (
        """
        dispute_id | invoice | opened_on
        D1         | F1      | 2025-06-30
        """,
        {"invoices": 1500, "disputed": 1000, "overdue": 0, "disputes_open_invoices": 1},
    ),
    "a correction of the amount": (
        """
        invoice | issued_on  | due_on     | amount
        F1      | 2025-04-01 | 2025-05-01 | 900.00
        """,
        {"invoices": 1400, "open_exposure": 1400, "overdue": 900},
    ),
    "an order that was accepted": (
        """
        order_id | accepted_on | amount  | deposit
        O1       | 2025-07-01  | 3000.00 | 1000.00
        """,
        {"orders": 2000, "total": 3500},
    ),
    "a cover": (
        """
        cover_id | starts_on  | amount  | insured_rate
        K1       | 2025-07-01 | 4000.00 | 0.9
        """,
        {"cover_amount": 4000, "cover_insured_rate": 0.9},
    ),
    "a judgment": (
        """
        event_id | kind        | opened_on
        E1       | liquidation | 2025-07-02
        """,
        {"legal_liquidation": 1, "rules": ["insolvency_opened", "limit_breached"]},
    ),
    "accounts": (
        """
        statement_id | closed_on  | published_on | revenue   | equity   | total_assets
        S1           | 2024-12-31 | 2025-06-30   | 900000.00 | -1000.00 | 50000.00
        """,
        {"accounts_revenue": 900_000},
    ),
}


def of(customer: str, text: str) -> dict[str, Any]:
    """Show the same facts of another customer, under numbers of his own."""

    def renamed(name: str, value: Any) -> Any:
        if name == "customer_id":
            return customer
        return f"{customer}/{value}" if name.endswith("_id") else value

    tables = table(text).items()
    return {
        name: [{field: renamed(field, value) for field, value in row.items()} for row in rows]
        for name, rows in tables
    }


def test_what_is_pushed_counts_at_once_and_not_before(seller):
    for step, (text, expected) in STEPS.items():
        pushed = of(step, text)
        seller.push(of(step, BOOKS))
        seller.assess(step)
        before = seller.evidence
        assert set(seller.push(pushed)) <= {"added", "superseded"}, step
        found = seller.assess(step)
        assert {name: found[name] for name in expected} == expected, step
        assert seller.again(before, step) == before["features"], step
        after = seller.evidence["features"]
        assert (after != before["features"]) is ("orders" not in expected), step
        assert set(seller.push(pushed)) == {"already_there"}, step
        seller.assess(step)
        assert seller.evidence["features"] == after, step


def test_a_dispute_that_is_closed_counts_no_more(seller):
    opened = {"dispute_id": "D1", "customer_id": "A", "invoice_id": "F1", "opened_on": "2025-06-01"}
    assert seller.push({"disputes": [opened]}) == ["added"]
    assert seller.assess()["disputed"] == 1000
    while_open = seller.evidence
    assert seller.push({"disputes": [{**opened, "closed_on": "2025-07-01"}]}) == ["superseded"]
    found = seller.assess()
    assert (found["disputed"], found["overdue"]) == (0, 1000)
    assert seller.again(while_open) == while_open["features"]


def test_a_correction_and_its_correction_count_the_same_second(seller):
    for amount in ("900.00", "950.00", "900.00"):
        invoice = {"invoice_id": "F1", "issued_on": "2025-04-01", "due_on": "2025-05-01"}
        corrected = {**invoice, "customer_id": "A", "amount": amount}
        assert seller.push({"invoices": [corrected]}) == ["superseded"]
        assert seller.assess()["invoices"] == float(amount) + 500


def test_pushes_and_assessments_at_once_lose_nothing(seller):
    """Eight threads, 200 calls: every second one pushes an invoice, the others assess."""
    invoice = {"customer_id": "A", "issued_on": "2025-06-01", "due_on": "2025-07-01"}

    def one(place: int) -> tuple[int, str]:
        if place % 2:
            row = {**invoice, "invoice_id": f"N{place}", "amount": "1.00"}
            answer = seller.post("/v1/invoices", row)
            return answer.status_code, answer.json()["results"][0]["status"]
        asked = {"customer": {"id": "A"}, "order": ORDER}
        return seller.post("/v1/assessments", asked).status_code, ""

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(one, range(200)))
    assert answers == [(201, ""), (200, "added")] * 100
    assert seller.assess()["invoices"] == 1500 + 100
    assert seller.store.sequence() == 1 + 100
