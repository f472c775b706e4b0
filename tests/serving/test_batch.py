"""Many assessments in one call: each as it would be alone, all recorded or none."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from sqlalchemy.exc import IntegrityError

from features.store import Store
from serving import problems
from serving.api import create_app
from serving.assess import UNKNOWN, Asking, AssessmentError, Assessor
from serving.assess_many import KIND, Wanted, assess_many
from serving.audit import AnotherRequest, New, Once, Record, TooLate, leaf_hash
from serving.keys import Keys
from serving.limits import MOST_ASSESSED_AT_ONCE
from serving.opened import Opened
from serving.schemas.batch import Batch
from tests.serving.test_access import bearer
from tests.serving.test_api import CANARY, call, expect
from tests.serving.test_assess import told
from tests.serving.test_jobs import _Desk

ORDER = {"amount": "2000.00", "margin": "120.00", "terms_days": 30}
PLACE = "/v1/assessments/batch"


@pytest.fixture
def opened(trained, clock, tmp_path) -> Opened:
    store, record = Store(trained.facts_url), Record(f"sqlite:///{tmp_path / 'record.db'}")
    return Opened(store, record, trained, clock, None, Assessor(store, record, trained, clock))


@pytest.fixture
def keys(opened) -> Keys:
    return Keys(lambda: opened.record)


@pytest.fixture
def app(opened, keys) -> FastAPI:
    return create_app(_Desk(opened), keys)


@pytest.fixture
def crm(keys) -> dict[str, str]:
    return bearer(keys.make("a CRM", "crm", "Claire").text)


def ask(app: FastAPI, headers: dict[str, str], items: Any) -> httpx.Response:
    content = json.dumps({"items": items}).encode()
    return call(app, "POST", PLACE, content=content, headers=headers)


def item(customer: str, order: Any = ORDER) -> dict[str, Any]:
    return {"customer": {"id": customer}, "order": order}


def recorded(opened: Opened, kind: str = "assessment") -> list[str]:
    """Give the identifiers of the entries of a kind."""
    with opened.record._engine.connect() as connection:
        asked = sa.text("SELECT id FROM entries WHERE kind = :kind")
        return list(connection.execute(asked, {"kind": kind}).scalars())


def problem_of(place: int, error: AssessmentError) -> dict[str, Any]:
    raise error


@pytest.fixture
def ids(opened) -> list[str]:
    invoiced = opened.store.read()["invoices"]["customer_id"].astype(str)
    return sorted(set(invoiced))[:6]


def test_each_is_answered_as_alone_in_the_order_sent(app, crm, opened, ids):
    asked = [item(id, None if place % 2 else ORDER) for place, id in enumerate(reversed(ids))]
    answer = ask(app, crm, asked)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    Batch.model_validate_json(answer.content)
    for one, found in zip(asked, answer.json()["items"], strict=True):
        assert found["status"] == 201
        content = json.dumps(one).encode()
        alone = call(app, "POST", "/v1/assessments", content=content, headers=crm)
        assert told(alone.content) == told(json.dumps(found["assessment"]).encode())
        again = call(app, "GET", f"/v1/assessments/{found['assessment']['id']}", headers=crm)
        assert again.content in answer.content  # its exact bytes
    assert [found["assessment"]["customer"]["id"] for found in answer.json()["items"]] == ids[::-1]


def test_the_evidence_is_that_of_a_single_call_too(app, crm, opened, ids):
    many = ask(app, crm, [item(ids[0])]).json()["items"][0]["assessment"]
    content = json.dumps(item(ids[0])).encode()
    alone = call(app, "POST", "/v1/assessments", content=content, headers=crm).json()
    first, second = (
        json.loads(opened.record.find(one["id"]).body)["evidence"] for one in (many, alone)
    )
    assert first == second


def test_one_that_is_wrong_stops_no_other(app, crm, opened, ids):
    wrong = [
        item("nobody"),
        item(ids[1], {**ORDER, "amount": 5}),
        {"customer": {}, "extra": CANARY},
        "text",
        item(ids[1], {**ORDER, "currency": "USD"}),
        None,
    ]
    answer = ask(app, crm, [item(ids[0]), *wrong, item(ids[2])])
    Batch.model_validate_json(answer.content)
    items = answer.json()["items"]
    assert [one["status"] for one in items] == [201, 404, 422, 422, 422, 422, 422, 201]
    said = [one["problem"] for one in items[1:-1]]
    assert said[0] == {
        "type": "/problems/unknown-customer",
        "title": "Unknown customer",
        "status": 404,
        "detail": UNKNOWN,
    }
    pointers = [[error["pointer"] for error in one.get("errors", [])] for one in said]
    assert pointers == [
        [],
        ["/items/2/order/amount"],
        ["/items/3/customer/id", "/items/3"],
        ["/items/4"],
        ["/items/5/order/exchange_rate"],
        ["/items/6"],
    ]
    assert CANARY not in answer.text
    assert len(recorded(opened)) == 2


def test_all_may_be_wrong(app, crm, opened):
    answer = ask(app, crm, [item("nobody")] * 3)
    assert [one["status"] for one in answer.json()["items"]] == [404] * 3
    assert recorded(opened) == []
    assert len(recorded(opened, KIND)) == 1  # who asked is on the record


def test_the_same_twice_is_assessed_twice(app, crm, opened, ids):
    first, second = ask(app, crm, [item(ids[0])] * 2).json()["items"]
    assert first["assessment"]["id"] != second["assessment"]["id"]
    assert told(json.dumps(first["assessment"]).encode()) == told(
        json.dumps(second["assessment"]).encode()
    )
    assert len(recorded(opened)) == 2


def test_all_are_recorded_in_one_commit_with_what_was_asked(app, crm, opened, ids):
    answer = ask(app, crm, [item(ids[0]), item("nobody"), item(ids[1])]).json()
    entry = opened.record.find(answer["id"])
    body = json.loads(entry.body)
    assert (entry.kind, entry.leaf_hash) == (KIND, leaf_hash(entry.body))
    made = [one["assessment"]["id"] for one in answer["items"] if one["status"] == 201]
    assert [one.get("assessment") for one in body["items"]] == [made[0], None, made[1]]
    assert body["actor"]["client"] == "a CRM"
    places = [opened.record.find(id).sequence for id in made]
    assert places == [entry.sequence - 2, entry.sequence - 1]


def test_the_same_call_gets_the_same_bytes_and_is_recorded_once(app, keys, opened, ids):
    headers = bearer(keys.make("a CRM", "crm", "Claire").text, Idempotency_Key="k")
    asked = [item(ids[0]), item("nobody"), item(ids[1], {**ORDER, "amount": 5})]
    first, again = ask(app, headers, asked), ask(app, headers, asked)
    assert first.content == again.content
    assert len(recorded(opened)) == 1
    expect(ask(app, headers, asked[:1]), problems.KEY_REUSED)
    single = json.dumps(item(ids[0])).encode()
    used = call(app, "POST", "/v1/assessments", content=single, headers=headers)
    expect(used, problems.KEY_REUSED)


def test_of_two_at_once_one_is_recorded(opened, ids):
    once = Once("a CRM", "0" * 64, "1" * 64)
    asking = Asking({"client": "a CRM", "role": "crm", "key": "0"}, once)
    answered = opened.record.answered
    opened.record.answered = lambda _: None  # as if both had looked before either wrote
    both = [assess_many(opened, [Wanted(ids[0], None)], asking, problem_of) for _ in range(2)]
    assert both[0] == both[1]
    assert len(recorded(opened)) == 1
    opened.record.answered = answered
    assert assess_many(opened, [], asking, problem_of) == both[0]


def test_after_the_deadline_nothing_is_recorded(opened, ids):
    late = Asking({"client": "a CRM", "role": "crm", "key": "0"}, None, time.monotonic() - 1)
    with pytest.raises(TooLate):
        assess_many(opened, [Wanted(ids[0], None)], late, problem_of)
    assert recorded(opened) == []


def test_another_customer_than_the_keys_is_as_unknown_as_nobody(app, keys, ids):
    narrow = bearer(keys.make("agent", "crm", "Claire", customers=[ids[0], "gone"]).text)
    items = ask(app, narrow, [item(ids[0]), item(ids[1]), item("gone")]).json()["items"]
    assert [one["status"] for one in items] == [201, 404, 404]
    assert items[1] == items[2]
    for other in (ids[1], "gone"):
        content = json.dumps(item(other)).encode()
        alone = call(app, "POST", "/v1/assessments", content=content, headers=narrow)
        expect(alone, problems.UNKNOWN_CUSTOMER)  # in the same words


@pytest.mark.parametrize("items", [None, [], {}, "text", [{}] * (MOST_ASSESSED_AT_ONCE + 1)])
def test_no_list_or_too_long_a_list_is_refused(app, crm, items):
    errors = expect(ask(app, crm, items), problems.INVALID)
    assert [one["pointer"] for one in errors] == ["/items"]


def test_few_such_calls_are_in_hand_at_once(app, crm, opened, monkeypatch):
    release, begun = threading.Event(), threading.Semaphore(0)

    def slow(*_: Any) -> bytes:
        begun.release()
        release.wait(20)
        return b"{}"

    monkeypatch.setattr("serving.routes.batch.assess_many", slow)
    threads = [
        threading.Thread(target=ask, args=(app, crm, [item("a")]), daemon=True) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    assert all(begun.acquire(timeout=10) for _ in threads)
    expect(ask(app, crm, [item("a")]), problems.OVERLOADED)
    release.set()
    for thread in threads:
        thread.join()
    assert ask(app, crm, [item("a")]).status_code == 200


# The record.


def test_many_entries_are_there_together_or_not_at_all(tmp_path):
    record = Record(f"sqlite:///{tmp_path / 'record.db'}")
    new = [New(id, "assessment", id.encode()) for id in "abc"]
    entries = record.append_many(new)
    assert [(one.sequence, one.id, one.body) for one in entries] == [
        (1, "a", b"a"),
        (2, "b", b"b"),
        (3, "c", b"c"),
    ]
    assert record.find_many(["c", "a", "a"]) == [entries[2], entries[0], entries[0]]
    with pytest.raises(IntegrityError):
        record.append_many([New("d", "assessment", b"d"), New("a", "assessment", b"a")])
    assert record.find("d") is None


def test_the_last_entry_is_the_answer(tmp_path):
    record = Record(f"sqlite:///{tmp_path / 'record.db'}")
    once = Once("a", "k", "f")
    entries = record.append_many([New(id, "assessment", b"{}") for id in "ab"], once)
    assert record.answered(once) == entries[-1]
    again = record.append_many([New(id, "assessment", b"{}") for id in "cd"], once)
    assert again == entries[-1:]
    assert record.find("c") is None
    with pytest.raises(AnotherRequest):
        record.append_many([New("e", "assessment", b"{}")], once._replace(fingerprint="g"))
