"""The client in one file: what it sends, what it sends again, and what it never says."""

from __future__ import annotations

import ast
import asyncio
import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from docs import client_code
from docs.openapi_page import document
from features.store import sqlite_url
from serving import client as module
from serving.audit import Record
from serving.client import Encours, EncoursProblem, EncoursUnreachable
from serving.contract import operations
from serving.keys import Keys
from serving.schemas import REQUEST_EXAMPLE
from tests.serving.test_api import ID, _call, _Stub, create_app

KEY = "encours_0123456789ab_" + "s" * 43
PROBLEM = {"content-type": "application/problem+json"}


class Scripted:
    """A transport that answers as told, and keeps what it got."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers, self.got = list(answers), []
        self.slept: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Keep the request, and give the next answer; the last one again and again."""
        self.got.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def refused(status: int, name: str, **headers: str) -> httpx.Response:
    said = {"type": f"/problems/{name}", "title": "T", "status": status, "detail": "D"}
    return httpx.Response(status, json=said, headers={**PROBLEM, **headers})


def good() -> httpx.Response:
    return httpx.Response(201, json={"id": ID})


@pytest.fixture
def client_of(monkeypatch) -> Callable[..., Encours]:
    """Make a client of a script; its clock moves only while it sleeps."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])

    def client_of(scripted: Scripted, **given: Any) -> Encours:
        client = Encours("https://encours", KEY, transport=httpx.MockTransport(scripted), **given)

        def sleep(seconds: float) -> None:
            scripted.slept.append(seconds)
            now[0] += seconds

        client._sleep = sleep
        return client

    return client_of


# Against the application itself.


@pytest.fixture
def served(tmp_path) -> Encours:
    keys = Keys(lambda: Record(sqlite_url(tmp_path / "record.db")))
    app, key = create_app(_Stub()), keys.make("a CRM", "crm", "the tests").text
    app.state.guard._keys = keys

    def ask(request: httpx.Request) -> httpx.Response:
        given = {"content": request.content, "headers": dict(request.headers)}
        answer = asyncio.run(_call(app, request.method, request.url.raw_path.decode(), **given))
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    return Encours("http://127.0.0.1:3000", key, transport=httpx.MockTransport(ask))


def test_it_speaks_with_the_service(served):
    assert served.assess(REQUEST_EXAMPLE)["id"] == ID
    assert served.find(ID)["id"] == ID
    assert served.index()["assess"] == "POST /v1/assessments"
    assert served.describe()["openapi"] == "3.1.0"


def test_a_problem_is_raised_in_the_services_own_words(served):
    with pytest.raises(EncoursProblem, match="Correct the fields") as raised:
        served.assess({"customer": {"id": ""}})
    problem = raised.value
    assert (problem.type, problem.status) == ("/problems/invalid-request", 422)
    assert [one["pointer"] for one in problem.errors] == ["/customer/id"]
    assert len(problem.request_id) == 32


def test_what_is_in_a_path_cannot_leave_it(served):
    with pytest.raises(EncoursProblem) as raised:
        served.find("../../docs?x=")
    assert raised.value.type in {"/problems/unknown-assessment", "/problems/not-found"}


# What is sent, and sent again.


def test_each_order_has_a_key_of_its_own_unless_one_is_given(client_of):
    script = Scripted(good())
    client = client_of(script)
    for given in ({}, {}, {"idempotency_key": "mine"}):
        client.assess(REQUEST_EXAMPLE, **given)
    first, second, third = (request.headers["idempotency-key"] for request in script.got)
    assert first != second
    assert len(first) == 36
    assert third == "mine"


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.RemoteProtocolError("cut"),
        refused(429, "too-many-calls", **{"Retry-After": "2"}),
        refused(503, "overloaded", **{"Retry-After": "1"}),
        refused(504, "answer-too-slow"),
        refused(409, "request-in-progress", **{"Retry-After": "1"}),
        httpx.Response(502, text="<html>bad gateway</html>"),
    ],
)
def test_what_may_pass_is_sent_again_with_the_same_key_and_body(client_of, failure):
    script = Scripted(failure, failure, good())
    assert client_of(script).assess(REQUEST_EXAMPLE)["id"] == ID
    assert len({request.headers["idempotency-key"] for request in script.got}) == 1
    assert [json.loads(request.content) for request in script.got] == [REQUEST_EXAMPLE] * 3
    if isinstance(failure, httpx.Response) and "retry-after" in failure.headers:
        assert script.slept == [float(failure.headers["retry-after"])] * 2
    else:
        assert 0.125 <= script.slept[0] <= 0.25 <= script.slept[1] <= 0.5


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "malformed-json"),
        (401, "unauthenticated"),
        (403, "forbidden"),
        (404, "unknown-customer"),
        (409, "another-conflict"),
        (422, "idempotency-key-reused"),
        (500, "internal-error"),
    ],
)
def test_what_will_not_pass_is_raised_at_once(client_of, status, name):
    script = Scripted(refused(status, name))
    with pytest.raises(EncoursProblem) as raised:
        client_of(script).assess(REQUEST_EXAMPLE)
    assert (raised.value.status, raised.value.type) == (status, f"/problems/{name}")
    assert len(script.got) == 1


def test_a_call_that_could_be_done_twice_is_sent_once(client_of):
    script = Scripted(httpx.ReadTimeout("slow"))
    with pytest.raises(EncoursUnreachable):
        client_of(script)._call("POST", "/v1/something", body={})
    assert len(script.got) == 1


def test_it_gives_up_within_its_time(client_of):
    script = Scripted(httpx.ConnectError("refused"))
    with pytest.raises(EncoursUnreachable, match="ConnectError"):
        client_of(script, most_seconds=30).assess(REQUEST_EXAMPLE)
    assert 15 < sum(script.slept) < 30
    assert max(script.slept) <= 8


def test_a_wait_beyond_its_time_is_not_begun(client_of):
    script = Scripted(refused(429, "too-many-calls", **{"Retry-After": "3600"}))
    with pytest.raises(EncoursProblem) as raised:
        client_of(script).assess(REQUEST_EXAMPLE)
    assert raised.value.retry_after == 3600
    assert script.slept == []


def test_an_attempt_never_outlasts_the_call(client_of):
    script = Scripted(httpx.ConnectTimeout("slow"), good())
    client_of(script, attempt_seconds=5, most_seconds=5.1).assess(REQUEST_EXAMPLE)
    first, second = (request.extensions["timeout"]["read"] for request in script.got)
    assert first == 5
    assert second == pytest.approx(min(5, 5.1 - script.slept[0]))


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(302, headers={"Location": "https://elsewhere/"}),
        httpx.Response(404, text="<html>a proxy's own page</html>"),
        httpx.Response(400, content=b"{", headers=PROBLEM),
        httpx.Response(400, content=b"[]", headers=PROBLEM),
    ],
)
def test_what_something_between_answers_is_a_problem_too(client_of, answer):
    script = Scripted(answer)
    with pytest.raises(EncoursProblem, match="between this client and the service") as raised:
        client_of(script).find(ID)
    assert raised.value.type == "about:blank"
    assert len(script.got) == 1  # the key follows no redirect


# What goes on.


def test_until_looks_until_it_is_over(client_of):
    script, states = Scripted(good()), iter(["queued", "running", "done"])
    assert client_of(script).until(lambda: next(states), lambda one: one == "done") == "done"
    assert script.slept == [2.0, 2.0]


def test_until_ends_in_time(client_of):
    script = Scripted(good())
    with pytest.raises(TimeoutError, match="not over after 5 s"):
        client_of(script).until(lambda: "running", lambda _: False, most_seconds=5)
    assert sum(script.slept) <= 5


def test_each_gives_the_items_of_all_pages(client_of):
    pages = {None: {"items": [1, 2], "next": "b"}, "b": {"items": [3], "next": None}}
    assert list(client_of(Scripted(good())).each(pages.__getitem__)) == [1, 2, 3]


# What it keeps to itself.


def test_the_key_is_neither_shown_nor_logged(client_of, caplog):
    caplog.set_level(logging.DEBUG)
    script = Scripted(httpx.ConnectError("refused"), refused(500, "internal-error"))
    client = client_of(script)
    with pytest.raises(EncoursProblem) as raised:
        client.assess(REQUEST_EXAMPLE)
    assert script.got[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in repr(client) + str(raised.value) + repr(raised.value) + caplog.text


@pytest.mark.parametrize("url", ["http://encours.example", "http://10.0.0.1:3000", "encours"])
def test_the_key_does_not_travel_in_clear(url):
    with pytest.raises(ValueError, match="use https"):
        Encours(url, KEY)


@pytest.mark.parametrize("key", ["", " \n"])
def test_an_empty_key_is_refused_before_anything_is_asked(key):
    with pytest.raises(ValueError, match="the key is empty"):
        Encours("https://encours", key)


@pytest.mark.parametrize("url", ["http://127.0.0.1:3000", "http://localhost", "https://a.example"])
def test_it_may_on_this_machine_or_with_tls(url):
    Encours(url, KEY).close()


# One file, made from the contract.


def test_it_can_be_copied_alone(tmp_path):
    shutil.copy(module.__file__, tmp_path / "encours_client.py")
    script = (
        "import encours_client, sys; encours_client.Encours('https://a.example', 'k').close();"
        "ours = {'serving', 'features', 'models', 'training', 'commands', 'pydantic', 'fastapi'};"
        "assert not ours & {one.partition('.')[0] for one in sys.modules}, sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)


def test_it_has_every_operation_and_type_of_the_contract():
    text = Path(module.__file__).read_text("utf-8")
    refresh = "refresh it with: make docs   (or: .venv/bin/python -m docs.client_code)"
    assert ast.dump(ast.parse(client_code.written(text))) == ast.dump(ast.parse(text)), refresh
    names = {operation["operationId"] for _, _, operation in operations(document())}
    assert names - client_code.UNTYPED <= set(vars(module._Operations))


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "array", "items": {"$ref": "#/components/schemas/Line"}}, "list[Line]"),
        ({"anyOf": [{"type": "number"}, {"type": "null"}]}, "float | None"),
        ({"enum": ["a", "b"]}, 'Literal["a", "b"]'),
        ({"const": "a"}, 'Literal["a"]'),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "dict[str, int]"),
        ({"type": "object"}, "dict[str, Any]"),
        ({}, "Any"),
    ],
)
def test_a_schema_is_written_as_a_type(schema, expected):
    assert client_code._word(schema) == expected


def test_an_operation_is_written_as_a_method():
    operation = {
        "operationId": "fetch",
        "summary": "Fetch a result",
        "parameters": [
            {"in": "path", "name": "job_id", "schema": {"type": "string"}},
            {"in": "query", "name": "page-size", "schema": {"type": "integer"}},
            {"in": "header", "name": "Idempotency-Key", "schema": {"type": "string"}},
        ],
        "responses": {"200": {"content": {"text/csv": {}}}},
    }
    assert client_code._method("/v1/jobs/{job_id}", "post", operation).split("\n")[1:4] == [
        "    def fetch(self, job_id: str, *, page_size: int | None = None, "
        "idempotency_key: str | None = None) -> bytes:",
        '        """Fetch a result."""',
        '        return self._call("POST", f"/v1/jobs/{quote(job_id, safe=\'\')}", '
        'query={"page-size": page_size}, idempotency_key=idempotency_key or _new_key()).content',
    ]
