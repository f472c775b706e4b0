"""The real process, started as an operator does, on a folder where nothing was imported yet."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from features.store import sqlite_url
from serving.audit import Record
from serving.keys import Keys

REPOSITORY = Path(__file__).parents[2]
START_SECONDS = 180


class Served(NamedTuple):
    """A running service."""

    client: httpx.Client
    log: Path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_alive(process: subprocess.Popen[bytes], client: httpx.Client, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            client.get("/livez")
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"the service did not start:\n{log.read_text()}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module", params=["nothing imported", "damaged facts"])
def served(folder, request) -> Iterator[Served]:
    home, log, port = folder / request.param, folder / f"{request.param}.log", _free_port()
    home.mkdir()
    if request.param == "damaged facts":
        (home / "facts.db").write_bytes(b"not a database " * 1000)
    key = Keys(lambda: Record(sqlite_url(home / "record.db"))).make("a CRM", "crm", "the tests")
    bearer = {"Authorization": f"Bearer {key.text}"}
    command = [sys.executable, "-m", "bentoml", "serve", "serving.service:Encours", "--port"]
    environment = os.environ | {
        "ENCOURS_HOME": str(home),
        "BENTOML_HOME": str(folder / "bentoml"),
        "__BENTOML_DEBUG_USAGE": "true",  # what it would report home goes to the log instead
    }
    environment.pop("BENTOML_DO_NOT_TRACK", None)
    address = f"http://127.0.0.1:{port}"
    with log.open("wb") as output, httpx.Client(base_url=address, headers=bearer) as client:
        process = subprocess.Popen(
            [*command, str(port)], cwd=REPOSITORY, env=environment, stdout=output, stderr=output
        )
        try:
            _wait_until_alive(process, client, log)
            yield Served(client, log)
        finally:
            process.terminate()
            process.wait(120)


def test_it_is_alive_and_says_why_it_is_not_ready(served):
    assert served.client.get("/livez").status_code == 200
    ready = served.client.get("/readyz")
    assert ready.status_code == 503
    assert ready.text


def test_an_order_gets_a_problem_that_says_what_to_do(served):
    answer = served.client.post("/v1/assessments", json={"customer": {"id": "canary-4711"}})
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "30"
    assert answer.headers["x-content-type-options"] == "nosniff"
    problem = answer.json()
    assert problem["type"] == "/problems/not-ready"
    assert problem["detail"] == served.client.get("/readyz").text
    assert "encours import" in problem["detail"] or "its file is damaged" in problem["detail"]


def test_the_client_speaks_with_the_process_and_says_why_there_is_no_answer(served):
    from serving.client import Encours, EncoursProblem

    key = served.client.headers["authorization"].removeprefix("Bearer ")
    with Encours(str(served.client.base_url), key, most_seconds=5) as encours:
        assert encours.index()["service"] == "encours"
        assert encours.describe()["openapi"] == "3.1.0"
        with pytest.raises(EncoursProblem) as raised:  # it does not wait longer than it may
            encours.assess({"customer": {"id": "C-17"}})
    assert (raised.value.type, raised.value.retry_after) == ("/problems/not-ready", 30)


def test_the_page_of_the_api_is_served_with_its_files(served):
    page = served.client.get("/docs")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    script = served.client.get("/docs/swagger-ui-bundle.js")
    assert (script.status_code, script.headers["content-encoding"]) == (200, "gzip")


def test_a_pickle_is_not_taken(served):
    headers = {"Content-Type": "application/vnd.bentoml+pickle"}
    for path in ("/v1/assessments", "/assess", "/predict", "/"):
        answer = served.client.post(path, content=b"\x80\x04N.", headers=headers)
        assert answer.status_code in {404, 405, 415}
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/metrics", "/docs.json", "/static_content/index.html", "/x"])
def test_every_path_but_the_probes_is_ours(served, path):
    assert served.client.get("/").json()["service"] == "encours"
    answer = served.client.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_its_log_has_one_line_a_request_and_nothing_else_of_it(served):
    served.client.get("/canary-4711")
    text = served.log.read_text()
    requests = [json.loads(line) for line in text.splitlines() if '"event": "request"' in line]
    assert requests[-1]["status"] == 404
    assert {line["route"] for line in requests} <= {
        None,
        "/",
        "/openapi.json",
        "/docs",
        "/docs/{file}",
        "/v1/assessments",
    }
    assert "canary-4711" not in text
    assert "Tracking Payload" not in text


def test_it_listens_on_this_machine_only(served):
    assert "listening on http://127.0.0.1:" in served.log.read_text()


def test_our_deadlines_stand_in_the_place_of_bentomls_time_out():
    said = subprocess.run(
        [
            sys.executable,
            "-c",
            "from serving.service import Encours, Through\n"
            "from _bentoml_impl.server.app import ServiceAppFactory\n"
            "Encours.inject_config()\n"
            "names = [one.cls.__name__ for one in ServiceAppFactory(Encours).middlewares]\n"
            "print(Through.__name__ in names, 'TimeoutMiddleware' in names)",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert said.stdout.split() == ["True", "False"]


@pytest.mark.parametrize(
    "begin",
    [b"GET /", b"GET / HTTP/1.1\r\nX-A: ", b"GET / HTTP/1.1\r\n"],
    ids=["path", "header", "headers"],
)
def test_a_head_that_does_not_end_is_cut_off(served, begin):
    piece = b"x" * 4096 if begin[-1:] != b"\n" else b"X-A: 1\r\n" * 500
    sent, answer = 0, b""
    with socket.create_connection(
        ("127.0.0.1", served.client.base_url.port), timeout=20
    ) as connection:
        connection.sendall(begin)
        try:
            while sent < 10_000_000:
                connection.sendall(piece)
                sent += len(piece)
            answer = connection.recv(1000)
        except OSError:  # it was cut while we sent
            pass
    assert sent < 10_000_000 or answer.startswith(b"HTTP/1.1 400")
