from __future__ import annotations

import asyncio
import json
import random
import re
import tempfile
import threading
import time
from array import array
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from fastapi import FastAPI
from fastapi.openapi.models import OpenAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from features.store import sqlite_url
from models.policy import Order
from serving import api, problems
from serving.api import create_app as app_of
from serving.assess import Asking, NotReady, OrderNeeded, OtherCurrency, UnknownCustomer
from serving.audit import Record
from serving.body import PLAIN_WORDS
from serving.envelope import Envelope
from serving.in_hand import InHand
from serving.keys import Keys
from serving.limits import LONGEST_BODY_BYTES
from serving.problems import Fault
from serving.routes.facts import PATHS
from serving.schemas import (
    ASSESSMENT_EXAMPLE,
    REQUEST_EXAMPLE,
    Assessment,
    AssessmentRequest,
    Problem,
)
from serving.schemas.alert import AcknowledgementRequest
from serving.schemas.batch import Batch
from serving.schemas.desk import OF_DESK
from serving.schemas.facts import NAMES
from serving.schemas.jobs import Job
from serving.schemas.override import OverrideRequest
from serving.schemas.prospect import ProspectRequest
from serving.straight import Straight

ID = "01981f2e-7c1a-7d33-9f4e-5a0b6c7d8e9f"
ANSWER = f'{{ "id":"{ID}",\t"name": "Méré",  "p": 0.10 }}\n'.encode()  # no serializer writes so
CANARY = "canary-4711"
KEYS = Keys(lambda: Record(sqlite_url(Path(tempfile.mkdtemp()) / "record.db")))
KEY = KEYS.make("a CRM", "crm", "the tests", calls_a_second=100_000)
LONG = "Send at most 64 KiB."
BEARER = {"Authorization": f"Bearer {KEY.text}"}
JSON = {"Content-Type": "application/json", **BEARER}


ACTOR = {"client": "a CRM", "role": "crm", "key": KEY.key.id}


class _Stub:
    """An assessor that answers, raises or blocks as told."""

    def __init__(self, raises: Exception | None = None) -> None:
        self.raises = raises
        self.asked: list[Any] = []

    def assess(
        self,
        customer_id: str,
        order: Order | None,
        currency: str | None = None,
        asking: Asking | None = None,
    ) -> bytes:
        self.asking = asking
        self.asked.append(
            (customer_id, order) if currency is None else (customer_id, order, currency)
        )
        if self.raises is not None:
            raise self.raises
        return ANSWER

    def find(self, assessment_id: str) -> bytes | None:
        self.asked.append(assessment_id)
        if self.raises is not None:
            raise self.raises
        return ANSWER if assessment_id == ID else None

    def readiness(self) -> str | None:
        return None


class _Desk:
    """A desk with the stub, and nothing else on it."""

    def __init__(self, assessor: _Stub) -> None:
        self.assessor = assessor

    def get(self) -> _Desk:
        return self

    def readiness(self) -> str | None:
        return self.assessor.readiness()


def create_app(stub: _Stub, **given: Any) -> FastAPI:
    return app_of(_Desk(stub), KEYS, **given)


async def _call(app: FastAPI, method: str, path: str, **given: Any) -> httpx.Response:
    # not TestClient: it wants httpx2, and nothing here needs more than the transport
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://encours", trust_env=False
    ) as client:
        return await client.request(method, path, **given)


def call(app: FastAPI, method: str, path: str, **given: Any) -> httpx.Response:
    return asyncio.run(_call(app, method, path, **{"headers": BEARER, **given}))


def post(app: FastAPI, body: object, **given: Any) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return call(app, "POST", "/v1/assessments", **{"content": content, "headers": JSON, **given})


def request(**changes: Any) -> dict[str, Any]:
    """Change fields of the order of the example request."""
    return {**REQUEST_EXAMPLE, "order": {**REQUEST_EXAMPLE["order"], **changes}}


def expect(answer: httpx.Response, fault: Fault, detail: str | None = None) -> dict[str, Any]:
    """Check the exact shape of a problem and return its errors, if any."""
    assert answer.status_code == fault.status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    errors = problem.pop("errors", None)
    assert problem == {
        "type": f"/problems/{fault.name}",
        "title": fault.title,
        "status": fault.status,
        "detail": fault.remedy if detail is None else detail,
        "request_id": answer.headers["x-request-id"],
    }
    return errors


@pytest.fixture
def stub() -> _Stub:
    return _Stub()


@pytest.fixture
def app(stub: _Stub) -> FastAPI:
    return create_app(stub)


# Good answers


def test_the_recorded_bytes_leave_unchanged(app, stub):
    answer = post(app, REQUEST_EXAMPLE)
    assert (answer.status_code, answer.content) == (201, ANSWER)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["location"] == f"/v1/assessments/{ID}"
    assert stub.asked == [("C-17", Order(2_000_000, 80_000, 30))]
    again = call(app, "GET", answer.headers["location"])
    assert (again.status_code, again.content) == (200, ANSWER)


@pytest.mark.parametrize("body", [{}, {"order": None}])
def test_the_order_may_be_left_out(app, stub, body):
    assert post(app, {"customer": {"id": "C-17"}, **body}).status_code == 201
    assert stub.asked == [("C-17", None)]


@pytest.mark.parametrize(
    ("amount", "margin", "expected"),
    [
        ("1", "1", (100, 100)),
        ("0.1", "-0.1", (10, -10)),
        ("999999999999.99", "0.29", (99_999_999_999_999, 29)),  # 0.29 × 100 is 28.999… in floats
    ],
)
def test_money_becomes_cents_exactly(app, stub, amount, margin, expected):
    assert post(app, request(amount=amount, margin=margin)).status_code == 201
    assert stub.asked[0][1][:2] == expected


def test_a_body_of_the_longest_size_is_read(app):
    padded = json.dumps(REQUEST_EXAMPLE).encode().ljust(LONGEST_BODY_BYTES)
    assert post(app, padded).status_code == 201
    expect(post(app, padded + b" "), problems.LONG_BODY, LONG)


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; Charset=UTF-8"])
def test_json_may_be_announced_in_any_case(app, kind):
    headers = {"Content-Type": kind, **BEARER}
    assert post(app, REQUEST_EXAMPLE, headers=headers).status_code == 201


def test_the_index_names_the_routes(app):
    assert call(app, "GET", "/").json()["assess"] == "POST /v1/assessments"


def test_assessments_run_beside_each_other(app, stub):
    meeting = threading.Barrier(2, timeout=60)  # broken, thus a 500, if one waits for the other
    stub.assess = lambda *_: (meeting.wait(), ANSWER)[1]

    async def both() -> list[httpx.Response]:
        one = {"content": json.dumps(REQUEST_EXAMPLE), "headers": JSON}
        return await asyncio.gather(*(_call(app, "POST", "/v1/assessments", **one) for _ in "ab"))

    assert [answer.status_code for answer in asyncio.run(both())] == [201, 201]


# Bodies that are not the JSON we take


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="cut"),
        pytest.param(b'{"customer": {"id": "C-17"}} {}', id="two"),
        pytest.param(b'{"customer": {"id": "A"}, "customer": {"id": "B"}}', id="duplicate"),
        pytest.param(b'{"customer": {"id": "A", "id": "A"}}', id="duplicate inside"),
        pytest.param(b'{"customer": {"\\u0069d": "A", "id": "B"}}', id="duplicate, escaped"),
        pytest.param(b'{"order": {"terms_days": NaN}}', id="NaN"),
        pytest.param(b'{"order": {"terms_days": -Infinity}}', id="Infinity"),
        pytest.param(b'{"order": {"terms_days": ' + b"9" * 5000 + b"}}", id="digits"),
        pytest.param("é".encode("latin-1"), id="Latin-1"),
        pytest.param('{"customer": {"id": "C-17"}}'.encode("utf-16"), id="UTF-16"),
        pytest.param(b'\xef\xbb\xbf{"customer": {"id": "C-17"}}', id="byte order mark"),
        pytest.param(b'{"customer": {"id": "\x00"}}', id="raw NUL"),
        pytest.param(b"[" * 60_000, id="deep list"),
        pytest.param(b'{"a":' * 10_000, id="deep object"),
        pytest.param(b"[" * 30_000 + b"]" * 30_000, id="deep and whole"),
    ],
)
def test_what_is_not_json_is_refused(app, stub, body):
    assert expect(post(app, body), problems.MALFORMED) is None
    assert stub.asked == []


def test_a_body_without_end_is_refused_while_it_is_read(app):
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 1 << 24:
            sent += 4096
            yield b" " * 4096

    expect(post(app, b"", content=endless()), problems.LONG_BODY, LONG)
    assert sent <= LONGEST_BODY_BYTES + 2 * 4096


def test_a_mebibyte_is_refused(app):
    expect(post(app, b" " * (1 << 20)), problems.LONG_BODY, LONG)


def test_a_body_that_does_not_arrive_is_given_up(app, monkeypatch):
    monkeypatch.setattr("serving.body.BODY_SECONDS", 0.05)

    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(5)

    expect(post(app, b"", content=slow()), problems.SLOW_BODY)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/jsonp"},
        {"Content-Type": "application/vnd.bentoml+pickle"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
def test_only_json_is_taken(app, stub, headers):
    expect(post(app, REQUEST_EXAMPLE, headers=BEARER | headers), problems.WRONG_TYPE)
    assert stub.asked == []


# Requests that are not valid


@pytest.mark.parametrize(
    ("changes", "pointer", "detail"),
    [
        ({"amount": 20000.0}, "/order/amount", "must be a string"),
        ({"amount": float("1e308") * 10}, "/order/amount", None),
        ({"amount": None}, "/order/amount", "must be a string"),
        ({"amount": "0.00"}, "/order/amount", "must be > 0"),
        ({"amount": "-1.00"}, "/order/amount", PLAIN_WORDS["string_pattern_mismatch"]),
        ({"amount": "1.005"}, "/order/amount", PLAIN_WORDS["string_pattern_mismatch"]),
        ({"amount": "1e3"}, "/order/amount", PLAIN_WORDS["string_pattern_mismatch"]),
        ({"amount": "1,000"}, "/order/amount", PLAIN_WORDS["string_pattern_mismatch"]),
        ({"amount": "1.00\n"}, "/order/amount", PLAIN_WORDS["string_pattern_mismatch"]),
        ({"amount": "١"}, "/order/amount", PLAIN_WORDS["string_pattern_mismatch"]),
        ({"amount": "1" * 13}, "/order/amount", PLAIN_WORDS["string_pattern_mismatch"]),
        ({"margin": "20000.01"}, "/order/margin", "must be at most the amount, either way"),
        ({"margin": "-20000.01"}, "/order/margin", "must be at most the amount, either way"),
        ({"paid": "20000.01"}, "/order/paid", "must be at most the amount"),
        ({"paid": "-1.00"}, "/order/paid", PLAIN_WORDS["string_pattern_mismatch"]),
        ({"currency": "usd"}, "/order/currency", PLAIN_WORDS["string_pattern_mismatch"]),
        ({"exchange_rate": "0.92"}, "/order/exchange_rate", "needs a currency to convert from"),
        ({"currency": "USD", "exchange_rate": "0"}, "/order/exchange_rate", "must be > 0"),
        ({"terms_days": "30"}, "/order/terms_days", "must be a whole number"),
        ({"terms_days": 30.0}, "/order/terms_days", "must be a whole number"),
        ({"terms_days": True}, "/order/terms_days", "must be a whole number"),
        ({"terms_days": -1}, "/order/terms_days", "Input should be greater than or equal to 0"),
        ({"terms_days": 276}, "/order/terms_days", "Input should be less than or equal to 275"),
        ({"terms_days": 10**400}, "/order/terms_days", None),
        ({"term_days": 30}, "/order", "has an unknown field; see /openapi.json"),
    ],
)
def test_a_wrong_field_is_pointed_at(app, stub, changes, pointer, detail):
    body = json.dumps(request(**changes)).replace("Infinity", "1e999").encode()
    errors = expect(post(app, body), problems.INVALID)
    assert [one["pointer"] for one in errors] == [pointer]
    assert detail is None or errors[0]["detail"] == detail
    assert stub.asked == []


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ([], [""]),
        ("C-17", [""]),
        (None, [""]),
        ({}, ["/customer"]),
        ({"customer": "C-17"}, ["/customer"]),
        ({"customer": {"id": ""}}, ["/customer/id"]),
        ({"customer": {"id": "C" * 129}}, ["/customer/id"]),
        ({"customer": {"id": "C\x0017"}}, ["/customer/id"]),
        ({"customer": {"id": "C\n17"}}, ["/customer/id"]),
        ({"customer": {"id": "C\u202e17"}}, ["/customer/id"]),
        ({"customer": {"id": "C\ud800"}}, ["/customer/id"]),
        ({"customer": {"id": 17}}, ["/customer/id"]),
        ({"customer": {"id": "C-17"}, "\ud800": 1}, [""]),
        ({"customer": {"id": "C-17"}, "a": 1, "b": 2}, [""]),
        ({"customer": {}, "order": {}}, "customer/id order/amount order/margin order/terms_days"),
    ],
)
def test_every_wrong_field_is_pointed_at_once(app, stub, body, pointers):
    if isinstance(pointers, str):
        pointers = [f"/{pointer}" for pointer in pointers.split()]
    errors = expect(post(app, body), problems.INVALID)
    assert [one["pointer"] for one in errors] == pointers
    assert stub.asked == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inside: (
        st.lists(inside, max_size=3)
        | st.dictionaries(st.sampled_from(["customer", "order", "id", "amount"]), inside)
    ),
    max_leaves=8,
)


@settings(deadline=None)  # a thread on a busy machine
@given(body=st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_no_body_makes_the_service_fail(body):
    assert post(create_app(_Stub()), body).status_code in {201, 400, 422}


# Routes and methods


@pytest.mark.parametrize(
    "path", ["/nothing", "/docs/", "/redoc", "/v1/assessments/", "/v1", "/%00", "//v1/assessments"]
)
def test_an_unknown_path_is_not_found(app, path):
    expect(call(app, "GET", path), problems.NOT_FOUND)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/assessments", "POST"),
        ("OPTIONS", "/v1/assessments", "POST"),
        ("DELETE", f"/v1/assessments/{ID}", "GET"),
        ("POST", "/", "GET"),
    ],
)
def test_another_method_is_told_the_right_one(app, method, path, allowed):
    answer = call(app, method, path)
    expect(answer, problems.WRONG_METHOD)
    assert answer.headers["allow"] == allowed


def test_an_unknown_assessment_is_not_found(app, stub):
    other = ID.replace("0", "1")
    expect(call(app, "GET", f"/v1/assessments/{other}"), problems.UNKNOWN_ASSESSMENT)
    assert stub.asked == [other]


@pytest.mark.parametrize("id", ["1", "%00", ID.upper(), f"{ID}%0A", "../secrets", "a" * 10_000])
def test_what_cannot_be_an_id_is_not_looked_for(app, stub, id):
    answer = call(app, "GET", f"/v1/assessments/{id}")
    assert answer.status_code == 404
    assert stub.asked == []


# What the use case refuses, and failures


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (UnknownCustomer("Import it."), problems.UNKNOWN_CUSTOMER),
        (NotReady("Run `encours train`."), problems.NOT_READY),
    ],
)
def test_a_refusal_of_the_use_case_is_a_problem(error, fault):
    answer = post(create_app(_Stub(raises=error)), REQUEST_EXAMPLE)
    assert expect(answer, fault, error.detail) is None
    assert answer.headers.get("retry-after") == ("30" if fault is problems.NOT_READY else None)


def test_an_order_in_another_currency_is_converted_at_the_rate_given(app, stub):
    changes = {"currency": "USD", "exchange_rate": "0.92", "paid": "100.00"}
    assert post(app, request(**changes)).status_code == 201
    converted = Order(18_400_00, 736_00, 30, 92_00)
    assert stub.asked == [("C-17", converted)]


def test_an_order_in_another_currency_without_a_rate_says_in_which_it_is(app, stub):
    post(app, request(currency="USD"))
    assert stub.asked[-1][-1] == "USD"
    stub.raises = OtherCurrency("The ledger is in EUR.")
    refused = post(app, request(currency="USD"))
    errors = expect(refused, problems.OTHER_CURRENCY, "The ledger is in EUR.")
    assert errors == [{"pointer": "/order/exchange_rate", "detail": "is required"}]


def test_a_missing_order_is_pointed_at():
    app = create_app(_Stub(raises=OrderNeeded("Give one.")))
    errors = expect(post(app, {"customer": {"id": "C-17"}}), problems.ORDER_NEEDED, "Give one.")
    assert errors == [{"pointer": "/order", "detail": "is required"}]


def test_a_record_that_is_not_ready_says_so():
    app = create_app(_Stub(raises=NotReady("No ledger.")))
    expect(call(app, "GET", f"/v1/assessments/{ID}"), problems.NOT_READY, "No ledger.")


def test_a_failure_gives_its_id_and_logs_its_type_and_place():
    with structlog.testing.capture_logs() as logs:
        answer = post(create_app(_Stub(raises=RuntimeError(CANARY))), REQUEST_EXAMPLE)
    expect(answer, problems.INTERNAL)
    failed, seen = logs
    assert failed.pop("at").startswith(__file__)
    assert failed == {
        "event": "request_failed",
        "log_level": "error",
        "error": "RuntimeError",
        "request_id": answer.json()["request_id"],
    }
    assert seen["status"] == 500


def test_a_slow_answer_is_given_up_and_its_outcome_forgotten(stub, caplog):
    outcome = []

    def slow(*_: object) -> bytes:
        time.sleep(0.3)
        outcome.append("recorded")
        raise RuntimeError(CANARY)

    stub.assess = slow
    expect(post(create_app(stub, answer_seconds=0.05), REQUEST_EXAMPLE), problems.SLOW_ANSWER)
    time.sleep(0.5)
    assert outcome == ["recorded"]
    assert caplog.text == ""


def test_what_waits_too_long_for_a_thread_is_never_assessed(stub, monkeypatch):
    monkeypatch.setattr(api, "ORDER_THREADS", 1)
    app, release, started = create_app(stub, answer_seconds=0.1), threading.Event(), []
    stub.assess = lambda customer_id, *_: (started.append(customer_id), release.wait(5), ANSWER)[2]
    for id in ("first", "second"):
        expect(post(app, {"customer": {"id": id}}), problems.SLOW_ANSWER)
    release.set()
    app.state.order_threads.shutdown(wait=True)
    assert started == ["first"]


def test_what_takes_long_keeps_no_order_waiting(stub, monkeypatch):
    monkeypatch.setattr(api, "OTHER_THREADS", 1)
    app, release, begun = create_app(stub), threading.Event(), threading.Event()
    stub.find = lambda _id: (begun.set(), release.wait(5), ANSWER)[2]

    async def both() -> tuple[int, bool]:
        long = asyncio.create_task(_call(app, "GET", f"/v1/assessments/{ID}", headers=BEARER))
        assert await asyncio.to_thread(begun.wait, 5)
        order = {"content": json.dumps(REQUEST_EXAMPLE), "headers": JSON}
        answer = await _call(app, "POST", "/v1/assessments", **order)
        was_waiting = not long.done()
        release.set()
        await long
        return answer.status_code, was_waiting

    assert asyncio.run(both()) == (201, True)


def _sent_by(app: ASGIApp, *received: Message) -> list[Message]:
    """Call an application as a server does, and collect what it sends."""
    scope = {"type": "http", "method": "POST", "path": "/v1/assessments", "query_string": b""}
    scope["headers"] = [(name.lower().encode(), said.encode()) for name, said in JSON.items()]
    left, sent = list(received), []

    async def receive() -> Message:
        return left.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent


def test_a_caller_who_leaves_is_no_failure(app):
    with structlog.testing.capture_logs() as logs:
        started, _ = _sent_by(app, {"type": "http.disconnect"})
    assert started["status"] == 400
    assert [line["event"] for line in logs] == ["request"]


def test_a_failure_inside_an_answer_starts_no_second_one():
    async def breaks(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError

    assert [message["status"] for message in _sent_by(Envelope(breaks))] == [200]


async def _many_at_once(envelope: Envelope, n: int) -> list[dict[bytes, bytes]]:
    """Ask `n` times at once; give the headers of each answer."""
    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await asyncio.gather(*(envelope(dict(scope), None, send) for _ in range(n)))  # type: ignore[arg-type]
    return [dict(message["headers"]) for message in sent]


def test_a_worker_ends_connections_now_and_then_while_another_has_less_to_do():
    async def answers(_scope: Scope, _receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.01)  # until all are in hand
        await send({"type": "http.response.start", "status": 200, "headers": []})

    def ended(at_once: int, in_hand: InHand) -> float:
        envelope, times = Envelope(answers, in_hand), 800 // at_once
        answered = [asyncio.run(_many_at_once(envelope, at_once)) for _ in range(times)]
        headers = [one for some in answered for one in some]
        return sum(one.get(b"connection") == b"close" for one in headers) / len(headers)

    def with_others(*others: int) -> InHand:
        rows = [1, 100, 0, *(cell for other in others for cell in (1, 101, other))]
        return InHand(memoryview(array("q", rows)), 0)

    random.seed(1)
    assert ended(8, InHand()) == 0  # it is alone
    assert ended(8, with_others(8)) == ended(8, with_others(7)) == ended(8, with_others(20)) == 0
    assert ended(1, with_others(0)) == 0
    assert 0.5 / 16 < ended(8, with_others(0)) < 1.5 / 16
    assert 0.5 / 16 < ended(8, with_others(20, 0)) < 1.5 / 16


ASKED = {
    "an order": ("POST", "/v1/assessments", request()),
    "no valid order": ("POST", "/v1/assessments", request(terms_days="x")),
    "another method": ("PUT", "/v1/assessments", request()),
    "a path below": ("GET", f"/v1/assessments/{ID}", None),
    "another path": ("GET", "/v1/assessments/", None),
    "the index": ("GET", "/", None),
    "its head": ("HEAD", "/", None),
    "a query": ("GET", "/v1/alerts?limit=x", None),
}


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
@pytest.mark.parametrize("raises", [None, OrderNeeded("Give one."), RuntimeError(CANARY)])
def test_the_straight_way_and_that_of_fastapi_answer_alike(asked, raises):
    def answered(*, straight: bool) -> tuple[Any, ...]:
        app = create_app(_Stub(raises=raises))
        app.user_middleware = [
            one for one in app.user_middleware if straight or one.cls != Straight
        ]
        method, path, content = asked
        body = None if content is None else json.dumps(content).encode()
        with structlog.testing.capture_logs() as logs:
            answer = call(app, method, path, content=body, headers=JSON)
        request_id = answer.headers["x-request-id"]
        said = answer.text.replace(request_id, "")
        logged = [(line["event"], line.get("route"), line.get("key")) for line in logs]
        return answer.status_code, {**answer.headers, "x-request-id": ""}, said, logged

    assert answered(straight=True) == answered(straight=False)


# Nothing that was sent comes back


HOSTILE = {
    "customer id": {"customer": {"id": f"{CANARY}\n"}},
    "unknown field": {"customer": {"id": "C-17", CANARY: 1}},
    "unknown field's value": {"customer": {"id": "C-17", "name": CANARY}},
    "customer": {"customer": CANARY},
    "order": {"customer": {"id": "C-17"}, "order": CANARY},
    "amount": request(amount=CANARY),
    "margin": request(margin=CANARY),
    "terms": request(terms_days=CANARY),
    "whole": CANARY,
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_what_was_sent_neither_comes_back_nor_is_logged(app, caplog, body):
    with structlog.testing.capture_logs() as logs:
        answer = post(app, body)
    assert answer.status_code == 422
    assert CANARY not in answer.text + str(answer.headers) + str(logs) + caplog.text


@pytest.mark.parametrize(
    ("method", "path", "given"),
    [
        ("POST", "/v1/assessments", {"content": CANARY, "headers": JSON}),
        ("POST", "/v1/assessments", {"headers": {"Content-Type": CANARY}}),
        ("POST", f"/v1/assessments?{CANARY}", {"content": "{}", "headers": JSON}),
        ("GET", f"/v1/assessments/{CANARY}", {}),
        ("GET", f"/{CANARY}", {"headers": {"X-Request-Id": CANARY}}),
        ("GET", f"/v1/assessments/{ID}", {"headers": {"Authorization": f"Bearer {CANARY}"}}),
        ("POST", "/v1/assessments", {"headers": JSON | {"Idempotency-Key": f"{CANARY} "}}),
        (CANARY.upper(), "/", {}),
    ],
)
def test_no_part_of_a_request_comes_back(app, caplog, method, path, given):
    with structlog.testing.capture_logs() as logs:
        answer = call(app, method, path, **given)
    assert answer.status_code >= 400
    everything = answer.text + str(answer.headers) + str(logs) + caplog.text
    assert CANARY not in everything.lower()


def test_a_good_request_logs_the_route_and_no_data(app):
    body = {"customer": {"id": CANARY}}
    with structlog.testing.capture_logs() as logs:
        answer = post(app, body)
        call(app, "GET", f"/v1/assessments/{ID}")
    made, found = logs
    total, work = made.pop("milliseconds"), made.pop("work_milliseconds")
    assert total >= work + made.pop("waiting_milliseconds") - 0.2  # each is rounded
    assert made == {
        "event": "request",
        "log_level": "info",
        "method": "POST",
        "route": "/v1/assessments",
        "status": 201,
        "key": KEY.key.id,
        "request_id": answer.headers["x-request-id"],
    }
    assert KEY.text.rpartition("_")[2] not in str(logs)
    assert found["route"] == "/v1/assessments/{assessment_id}"
    assert ID not in str(logs)


def test_the_log_tells_the_wait_for_a_thread_from_the_work(stub, monkeypatch):
    monkeypatch.setattr(api, "ORDER_THREADS", 1)
    app = create_app(stub)
    stub.assess = lambda *_: (time.sleep(0.2), ANSWER)[1]

    async def both() -> None:
        one = {"content": json.dumps(REQUEST_EXAMPLE), "headers": JSON}
        await asyncio.gather(*(_call(app, "POST", "/v1/assessments", **one) for _ in "ab"))

    with structlog.testing.capture_logs() as logs:
        asyncio.run(both())
    first, second = logs
    assert first["work_milliseconds"] >= 200
    assert first["waiting_milliseconds"] < 150 <= second["waiting_milliseconds"]


def test_of_a_stranger_the_log_names_no_key(app):
    with structlog.testing.capture_logs() as logs:
        call(app, "GET", f"/v1/assessments/{ID}", headers={})
    assert logs[0]["key"] is None


@pytest.mark.parametrize(
    "path", ["/", "/openapi.json", "/docs", "/nothing", f"/v1/assessments/{ID}"]
)
def test_every_answer_has_the_secure_headers(app, path):
    one, two = call(app, "GET", path), call(app, "GET", path)
    assert one.headers["x-content-type-options"] == "nosniff"
    assert one.headers["cache-control"] == "no-store"
    assert one.headers["referrer-policy"] == "no-referrer"
    assert one.headers["x-frame-options"] == "DENY"
    assert one.headers["cross-origin-resource-policy"] == "same-origin"
    policy = one.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in policy
    assert path == "/docs" or "'self'" not in policy
    assert not any(name.startswith("access-control-") for name in one.headers)  # no CORS
    assert re.fullmatch("[0-9a-f]{32}", one.headers["x-request-id"])
    assert one.headers["x-request-id"] != two.headers["x-request-id"]


# The description


@pytest.fixture
def document(app) -> dict[str, Any]:
    return call(app, "GET", "/openapi.json").json()


def test_the_description_is_openapi_3_1_with_nothing_missing(document):
    assert document["openapi"].startswith("3.1.")
    OpenAPI.model_validate(document)
    referred_to = set(re.findall(r'"\$ref": "#/components/([\w/]+)"', json.dumps(document)))
    components = document["components"].items()
    named = {f"{kind}/{name}" for kind, those in components for name in those}
    assert referred_to | {"securitySchemes/key"} == named
    assert json.dumps(document).count('"$ref": "#/components/') == json.dumps(document).count(
        "$ref"
    )


_READ_ONE = "200 401 403 404 405 429 500 503 504"
_ERASABLE = "200 401 403 404 405 410 429 500 503 504"
_READ_MANY = "200 401 403 404 405 422 429 500 503 504"
_WRITTEN = "200 400 401 403 404 405 408 409 413 415 422 429 500 503 504"


def test_the_description_names_every_route_and_every_problem(app, document):
    routes = {
        (
            "POST",
            "/v1/assessments",
        ): "201 400 401 403 404 405 408 409 410 413 415 422 429 500 503 504",
        (
            "POST",
            "/v1/assessments/batch",
        ): "200 400 401 403 404 405 408 409 413 415 422 429 500 503 504",
        (
            "POST",
            "/v1/assessments/prospect",
        ): "201 400 401 403 404 405 408 409 410 413 415 422 429 500 503 504",
        ("POST", "/v1/jobs"): "202 400 401 403 404 405 408 409 413 415 422 429 500 503 504",
        ("GET", "/v1/jobs/{job_id}"): "200 401 403 404 405 429 500 503 504",
        ("DELETE", "/v1/jobs/{job_id}"): "200 401 403 404 405 429 500 503 504",
        ("GET", "/v1/jobs/{job_id}/result"): "200 401 403 404 405 409 410 422 429 500 503 504",
        ("GET", "/v1/assessments/{assessment_id}"): "200 401 403 404 405 410 429 500 503 504",
        **{
            ("POST", f"/v1/{path}"): "200 400 401 403 404 405 408 409 413 415 422 429 500 503 504"
            for path in ("facts", *PATHS.values())
        },
        ("GET", "/v1/assessments/{assessment_id}/explanation"): _ERASABLE,
        ("GET", "/v1/assessments/{assessment_id}/options"): _ERASABLE,
        ("GET", "/v1/assessments/{assessment_id}/registers"): _ERASABLE,
        ("GET", "/v1/assessments/{assessment_id}/evidence"): _ERASABLE.replace("429", "422 429"),
        ("GET", "/v1/assessments/{assessment_id}/counterfactuals"): _ERASABLE.replace(
            "410", "409 410"
        ),
        ("POST", "/v1/assessments/{assessment_id}/override"): _WRITTEN.replace(
            "200", "201"
        ).replace("413", "410 413"),
        ("GET", "/v1/overrides"): _READ_MANY,
        ("GET", "/v1/customers/{customer_id}"): _READ_ONE,
        ("GET", "/v1/customers/{customer_id}/assessments"): "200 401 403 404 405 422 429 500 503 "
        "504",
        ("GET", "/v1/alerts"): _READ_MANY,
        ("POST", "/v1/alerts/{alert_id}/acknowledge"): _WRITTEN.replace("413", "410 413"),
        ("GET", "/v1/models"): _READ_ONE,
        ("GET", "/v1/policy"): _READ_ONE,
        ("GET", "/"): "200 404 405 500",
        ("GET", "/openapi.json"): "200 404 405 500",
        ("GET", "/openapi-3.0.json"): "200 404 405 500",
        ("GET", "/docs"): "200 404 405 500",
        ("GET", "/docs/{file}"): "200 404 405 500",
    }
    described = {
        (method.upper(), path): " ".join(sorted(operation["responses"]))
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert described == routes
    faults = {value.name for value in vars(problems).values() if isinstance(value, Fault)}
    assert faults == set(re.findall(r'"/problems/([a-z-]+)"', json.dumps(document)))


def test_the_examples_of_the_description_hold(document):
    Assessment.model_validate(document["components"]["examples"]["assessment"]["value"])
    Batch.model_validate(document["components"]["examples"]["batch"]["value"])
    Job.model_validate(document["components"]["examples"]["job"]["value"])
    for path, model in (
        ("/v1/assessments", AssessmentRequest),
        ("/v1/assessments/prospect", ProspectRequest),
        ("/v1/assessments/{assessment_id}/override", OverrideRequest),
        ("/v1/alerts/{alert_id}/acknowledge", AcknowledgementRequest),
    ):
        asked = document["paths"][path]["post"]["requestBody"]["content"]
        for example in asked["application/json"]["examples"].values():
            model.model_validate(example["value"])
    for name, (model, value) in OF_DESK.items():
        assert document["components"]["examples"][name]["value"] == value
        model.model_validate(value)
    problems = [
        example["value"]
        for methods in document["paths"].values()
        for operation in methods.values()
        for response in operation["responses"].values()
        for example in response["content"]
        .get("application/problem+json", {"examples": {}})["examples"]
        .values()
    ]
    assert len(problems) > 20
    for problem in problems:
        Problem.model_validate(problem)


def test_the_description_gives_the_units(document):
    schemas = document["components"]["schemas"]
    for name in ("OrderGiven", "OrderSeen"):
        fields = schemas[name]["properties"]
        assert "currency" in fields["amount"]["description"]
        assert "currency" in fields["margin"]["description"]
        assert "Days" in fields["terms_days"]["description"]
    assert set(schemas["DefaultCurve"]["properties"]) == {"30", "90", "180", "365"}
    assert set(schemas["LateCurve"]["properties"]) == {"0", "5", "15", "30", "60"}


def test_the_example_adds_up():
    told = ASSESSMENT_EXAMPLE["explanation"]
    reasons = sum(reason["contribution"] for reason in told["reasons"])
    assert told["base"] + reasons + told["other"] == pytest.approx(told["log_odds"])
    assert ASSESSMENT_EXAMPLE["options"][0]["expected_profit"] == "335.90"
    assert [one["chosen"] for one in ASSESSMENT_EXAMPLE["options"]] == [True, False, False, False]


def test_integrators_are_not_told_to_refuse_new_fields(document):
    schemas = document["components"]["schemas"]
    closed = {
        name for name, schema in schemas.items() if schema.get("additionalProperties") is False
    }
    pushed = {"Facts", *NAMES.values()}
    requests = {
        "AcknowledgementRequest",
        "AssessmentRequest",
        "OverrideRequest",
        "BatchRequest",
        "JobRequest",
        "ProspectRequest",
    }
    assert closed == {*requests, "CustomerGiven", "OrderGiven", *pushed}
