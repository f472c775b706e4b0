"""Who gets in: keys, roles, customers, rates, and room."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from sqlalchemy.exc import SQLAlchemyError

from features.store import sqlite_url
from serving import problems
from serving.access import Guarded
from serving.api import create_app
from serving.audit import Record
from serving.keys import ROLES, KeyFault, Keys
from serving.routes import ROUTERS
from serving.schemas import REQUEST_EXAMPLE
from tests.features.postgres import postgres
from tests.serving.test_api import ANSWER, CANARY, ID, _call, _Desk, _Stub, call, expect, post

TODAY = datetime(2025, 7, 2, 9, 14, 7, tzinfo=UTC)


@pytest.fixture(scope="module")
def new_postgres() -> Iterator[Callable[[], str]]:
    with postgres() as new:
        yield new


@pytest.fixture
def record(request, tmp_path) -> Iterator[Record]:
    on_postgres = getattr(request, "param", "sqlite") == "postgresql"
    new = request.getfixturevalue("new_postgres") if on_postgres else None
    record = Record(new() if new else sqlite_url(tmp_path / "record.db"))
    yield record
    record.close()


@pytest.fixture
def keys(record) -> Keys:
    return Keys(lambda: record, lambda: TODAY)


on_both = pytest.mark.parametrize("record", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def stub() -> _Stub:
    return _Stub()


@pytest.fixture
def app(stub, keys) -> FastAPI:
    return create_app(_Desk(stub), keys)


def bearer(text: str, **more: str) -> dict[str, str]:
    headers = {"Authorization": f"Bearer {text}", "Content-Type": "application/json"}
    return headers | {name.replace("_", "-"): said for name, said in more.items()}


# Keys.


def test_a_key_is_shown_once_and_only_its_hash_is_kept(keys, tmp_path):
    made = keys.make("HubSpot", "crm", "Claire")
    secret = made.text[len("encours_") + 13 :]
    assert len(secret) == 43  # 256 bits in base64
    assert made.text not in repr(made.key)
    assert secret.encode() not in (tmp_path / "record.db").read_bytes()
    keys.refresh()
    assert keys.holder(made.text) == made.key


@on_both
def test_every_change_is_on_the_record_with_who_made_it(keys):
    made = keys.make("HubSpot", "crm", "Claire")
    keys.revoke(made.key.id, "Paul")
    said = [json.loads(entry.body) for entry in keys._record.after(0, "key")]
    assert [(one["change"], one["by"]) for one in said] == [("made", "Claire"), ("revoked", "Paul")]
    assert keys.all()[0].revoked_at == "2025-07-02T09:14:07Z"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:-1],
        lambda text: text + "A",
        lambda text: text.swapcase(),
        lambda text: text[:-1] + ("A" if text[-1] != "A" else "B"),
        lambda text: text.replace("encours_", ""),
        lambda text: "encours_" + "0" * 12 + text[20:],
        lambda text: text + "\n",
        lambda _: "",
    ],
)
def test_a_key_that_is_not_exactly_it_is_none(keys, spoil):
    text = keys.make("HubSpot", "crm", "Claire").text
    assert keys.holder(text) is not None
    assert keys.holder(spoil(text)) is None


@on_both
def test_a_key_stops_on_its_last_day_and_when_it_is_revoked(keys):
    ends = keys.make("a", "crm", "Claire", expires_on=date(2025, 7, 3))
    assert keys.holder(ends.text) is not None
    later = Keys(lambda: keys._record, lambda: TODAY.replace(day=3))
    later.refresh()
    assert later.holder(ends.text) is None
    elsewhere = Keys(lambda: keys._record, lambda: TODAY)
    elsewhere.refresh()
    keys.revoke(ends.key.id, "Paul")
    assert elsewhere.holder(ends.text) is not None  # until it reads the record again
    elsewhere.refresh()
    assert elsewhere.holder(ends.text) is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"client": " "}, "1 to 100 printable"),
        ({"client": "a\x00"}, "1 to 100 printable"),
        ({"client": "a", "customers": []}, "about nobody"),
        ({"client": "a", "expires_on": date(2025, 7, 2)}, "not in the future"),
        ({"client": "a", "calls_a_second": 0.0}, "must be > 0"),
        ({"client": "a", "calls_a_second": float("nan")}, "must be > 0"),
    ],
)
def test_a_key_that_could_not_work_is_not_made(keys, given, said):
    with pytest.raises(KeyFault, match=said):
        keys.make(**{"role": "crm", "by": "Claire", **given})
    assert keys.all() == []


@on_both
def test_a_key_is_revoked_once(keys):
    made = keys.make("a", "crm", "Claire")
    keys.revoke(made.key.id, "Paul")
    with pytest.raises(KeyFault, match="was revoked on 2025-07-02"):
        keys.revoke(made.key.id, "Paul")
    with pytest.raises(KeyFault, match="there is no key"):
        keys.revoke("0" * 12, "Paul")


# Routes.


def test_a_route_that_does_not_say_who_may_call_it_cannot_be_made():
    router = APIRouter(route_class=Guarded)
    with pytest.raises(TypeError, match="does not say who may call it"):
        router.add_api_route("/open", lambda: None)


def every_operation() -> list[tuple[str, str, list[str]]]:
    return [
        (method, route.path, route.openapi_extra["x-roles"])
        for router in ROUTERS
        for route in router.routes
        for method in sorted(route.methods)
    ]


@pytest.mark.parametrize(("method", "path", "roles"), every_operation())
def test_each_role_reaches_its_routes_and_no_other(app, keys, method, path, roles):
    path = path.format_map(
        {
            "assessment_id": ID,
            "customer_id": "C-17",
            "job_id": ID,
            "alert_id": ID,
            "file": "page.js",
        }
    )
    body = {"content": b"{}"} if method in {"POST", "PUT"} else {}
    if roles:
        without = call(app, method, path, headers={"Content-Type": "application/json"}, **body)
        expect(without, problems.UNAUTHENTICATED)
        assert without.headers["www-authenticate"] == 'Bearer realm="encours"'
    for role in ROLES:
        headers = bearer(keys.make(role, role, "Claire").text)
        answer = call(app, method, path, headers=headers, **body)
        if not roles or role in roles:
            assert answer.status_code not in {401, 403}
        else:
            expect(answer, problems.FORBIDDEN)


def test_only_the_index_the_description_and_the_documentation_need_no_key():
    open_to_all = {path for _, path, roles in every_operation() if not roles}
    assert open_to_all <= {"/", "/openapi.json", "/openapi-3.0.json", "/docs", "/docs/{file}"}


@pytest.mark.parametrize("scheme", ["", "Basic", "bearer2", "Bearer"])
def test_a_key_shown_otherwise_is_not_seen(app, keys, scheme):
    text = keys.make("a", "crm", "Claire").text if scheme != "Bearer" else ""
    answer = post(app, REQUEST_EXAMPLE, headers=bearer("") | {"Authorization": f"{scheme} {text}"})
    expect(answer, problems.UNAUTHENTICATED)


def test_a_stranger_makes_nobody_read_a_body(app):
    async def endless():
        raise AssertionError("the body was read")
        yield b""

    headers = {"Content-Type": "application/json"}
    expect(post(app, b"", content=endless(), headers=headers), problems.UNAUTHENTICATED)


def test_what_is_too_long_or_no_json_is_refused_before_the_key_is_looked_at(app):
    long = {"Content-Type": "application/json", "Content-Length": "1000000000"}
    assert post(app, b"", headers=long).status_code == 413
    assert post(app, b"", headers={"Content-Type": "text/csv"}).status_code == 415


# Customers.


def test_a_key_sees_its_customers_only(app, keys, stub):
    own = bearer(keys.make("a", "crm", "Claire", customers=["C-17"]).text)
    assert post(app, REQUEST_EXAMPLE, headers=own).status_code == 201
    other = {"customer": {"id": "C-18"}}
    expect(post(app, other, headers=own), problems.UNKNOWN_CUSTOMER)
    assert [asked[0] for asked in stub.asked] == ["C-17"]


def test_of_others_it_cannot_tell_whether_there_is_an_assessment(app, keys, stub):
    answer = {**json.loads(ANSWER), "customer": {"id": "C-18"}}
    stub.find = lambda id: json.dumps(answer).encode() if id == ID else None
    others = bearer(keys.make("a", "crm", "Claire", customers=["C-17"]).text)
    theirs = call(app, "GET", f"/v1/assessments/{ID}", headers=others)
    none = call(app, "GET", f"/v1/assessments/{ID.replace('0', '1')}", headers=others)
    expect(theirs, problems.UNKNOWN_ASSESSMENT)
    expect(none, problems.UNKNOWN_ASSESSMENT)
    whole = bearer(keys.make("b", "crm", "Claire", customers=["C-18"]).text)
    assert call(app, "GET", f"/v1/assessments/{ID}", headers=whole).status_code == 200


def test_who_asked_goes_on_the_record(app, keys, stub):
    made = keys.make("HubSpot", "crm", "Claire")
    post(app, REQUEST_EXAMPLE, headers=bearer(made.text))
    assert stub.asking.actor == {"client": "HubSpot", "role": "crm", "key": made.key.id}


# Rates and room.


def test_a_key_that_calls_too_often_is_told_when_to_come_back(app, keys):
    slow = bearer(keys.make("a", "crm", "Claire", calls_a_second=0.5).text)
    other = bearer(keys.make("b", "crm", "Claire").text)
    statuses = [post(app, REQUEST_EXAMPLE, headers=slow).status_code for _ in range(3)]
    assert statuses == [201, 201, 429]
    refused = post(app, REQUEST_EXAMPLE, headers=slow)
    expect(refused, problems.TOO_MANY_CALLS)
    assert refused.headers["retry-after"] == "2"
    assert post(app, REQUEST_EXAMPLE, headers=other).status_code == 201


def test_where_the_keys_cannot_be_read_in_time_the_caller_is_told(stub, monkeypatch, keys):
    made, release = keys.make("a CRM", "crm", "the tests").text, threading.Event()
    monkeypatch.setattr(Keys, "is_fresh", False)
    monkeypatch.setattr(keys, "refresh", lambda: release.wait(5))
    app = create_app(_Desk(stub), keys, answer_seconds=0.1)
    begun = time.monotonic()
    expect(call(app, "GET", f"/v1/assessments/{ID}", headers=bearer(made)), problems.SLOW_ANSWER)
    assert time.monotonic() - begun < 3
    release.set()


def test_all_who_come_while_the_keys_are_read_wait_for_one_reading(stub, keys, monkeypatch):
    made, read = keys.make("a CRM", "crm", "the tests").text, []
    monkeypatch.setattr(Keys, "is_fresh", False)

    def fails_slowly() -> None:
        read.append(time.sleep(0.5))
        raise SQLAlchemyError

    monkeypatch.setattr(keys, "refresh", fails_slowly)
    app = create_app(_Desk(stub), keys)

    async def many() -> list[int]:
        path, headers = f"/v1/assessments/{ID}", bearer(made)
        asked = (_call(app, "GET", path, headers=headers) for _ in range(20))
        return [one.status_code for one in await asyncio.gather(*asked)]

    assert asyncio.run(many()) == [problems.NOT_READY.status] * 20
    assert len(read) == 1


def test_beyond_those_in_hand_the_next_is_told_to_come_back(keys, stub, monkeypatch):
    monkeypatch.setattr("serving.api.MOST_IN_HAND", 2)
    app, release = create_app(_Desk(stub), keys), threading.Event()
    stub.assess = lambda *_: (release.wait(10), ANSWER)[1]
    headers = bearer(keys.make("a", "crm", "Claire").text)
    content = json.dumps(REQUEST_EXAMPLE)

    async def three() -> list[httpx.Response]:
        def ask():
            return _call(app, "POST", "/v1/assessments", content=content, headers=headers)

        waiting = [asyncio.create_task(ask()) for _ in range(2)]
        await asyncio.sleep(0.2)
        refused = await ask()
        release.set()
        return [refused, *await asyncio.gather(*waiting)]

    refused, *answered = asyncio.run(three())
    expect(refused, problems.OVERLOADED)
    assert refused.headers["retry-after"] == "1"
    assert [answer.status_code for answer in answered] == [201, 201]
    assert post(app, REQUEST_EXAMPLE, headers=headers).status_code == 201


# Once.


@pytest.fixture
def ask(app, keys) -> Callable[..., httpx.Response]:
    text = keys.make("a", "crm", "Claire").text
    return lambda body, key: post(app, body, headers=bearer(text, Idempotency_Key=key))


def test_the_key_of_a_request_reaches_the_record_hashed(ask, stub):
    assert ask(REQUEST_EXAMPLE, CANARY).status_code == 201
    first = stub.asking.once
    ask(REQUEST_EXAMPLE, CANARY)
    assert stub.asking.once == first
    assert (first.client, len(first.key_hash)) == ("a", 64)
    ask({"customer": {"id": "C-17"}}, CANARY)
    assert stub.asking.once.key_hash == first.key_hash
    assert stub.asking.once.fingerprint != first.fingerprint
    assert CANARY not in str(first)


@pytest.mark.parametrize("key", ["", "a b", "é", "k" * 129, "\x7f"])
def test_a_key_of_a_request_that_is_none_is_refused(ask, stub, key):
    expect(ask(REQUEST_EXAMPLE, key.encode("latin-1")), problems.BAD_KEY)
    assert stub.asked == []


def test_a_key_that_was_used_for_another_request_is_refused(ask, stub):
    stub.raises = problems.AnotherRequest()
    expect(ask(REQUEST_EXAMPLE, "k"), problems.KEY_REUSED)


def test_while_it_is_answered_the_same_request_is_told_to_wait(app, keys, stub):
    release = threading.Event()
    stub.assess = lambda *_: (release.wait(10), ANSWER)[1]
    headers = bearer(keys.make("a", "crm", "Claire").text, Idempotency_Key="k")
    content = json.dumps(REQUEST_EXAMPLE)

    async def both() -> tuple[httpx.Response, httpx.Response]:
        def ask():
            return _call(app, "POST", "/v1/assessments", content=content, headers=headers)

        first = asyncio.create_task(ask())
        await asyncio.sleep(0.2)
        second = await ask()
        release.set()
        return await first, second

    first, second = asyncio.run(both())
    assert first.status_code == 201
    expect(second, problems.IN_PROGRESS)
    assert second.headers["retry-after"] == "1"
    assert post(app, content.encode(), headers=headers).status_code == 201
