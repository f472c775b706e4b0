"""Hostile requests: no undeclared failure, no hang, a problem each, and nothing sent comes back.

Most are handed to the application as a server would; a share goes over raw sockets to the real
service, whole or cut, slow or contradicting itself.

python -m benchmarks.fuzz --requests 50000 --sockets 2000
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import structlog
from rich.console import Console
from rich.progress import Progress

from benchmarks.hostile import CANARY, Case, Hostile
from benchmarks.page import Row, at_least, at_most, publish
from benchmarks.seller import Service, bearer, parser, scratch, today_and_orders, warm_up

TITLE = "Hostile requests"
AT_ONCE = 4
HANG_SECONDS = 20.0  # the deadline is 15
DECLARED = {503, 504}  # of those from 500 on
PATIENCE_SECONDS = 0.3
SLOW_SOCKETS, SLOW_SECONDS = 100, 8.0


@dataclass
class Found:
    """What the answers were, and the first that broke each rule."""

    statuses: Counter[int] = field(default_factory=Counter)
    broken: dict[str, list[str]] = field(default_factory=dict)
    slowest: float = 0.0

    def break_(self, rule: str, how: str) -> None:
        """Note a broken rule."""
        self.broken.setdefault(rule, []).append(how)

    def count(self, rule: str) -> int:
        """How often a rule was broken."""
        return len(self.broken.get(rule, ()))


@dataclass
class Answer:
    """What an application sent."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    read: int = 0

    @property
    def named(self) -> dict[str, str]:
        """Headers by name."""
        return {name.decode().lower(): value.decode("latin-1") for name, value in self.headers}


async def answer_of(app: Any, case: Case) -> Answer:
    """Hand a request to an application as a server does."""
    answer, chunks = Answer(), case.chunks()
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": case.method,
        "scheme": "http",
        "path": case.path,
        "raw_path": quote(case.path).encode(),
        "query_string": case.query,
        "root_path": "",
        "headers": list(case.headers),
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 3000),
    }

    async def receive() -> dict[str, Any]:
        chunk = next(chunks, None)
        answer.read += len(chunk or b"")
        return {"type": "http.request", "body": chunk or b"", "more_body": chunk is not None}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer.status, answer.headers = message["status"], list(message["headers"])
        else:
            answer.body += message.get("body", b"")

    await asyncio.wait_for(app(scope, receive, send), HANG_SECONDS)
    return answer


def _tells_a_fact(answer: Answer, case: Case) -> bool:
    """Whether the answer is about a customer whom an earlier request of the fuzz made known."""
    if answer.status not in {200, 201}:
        return False
    if case.path == "/v1/assessments/batch":  # what is refused of it tells nothing either
        refused = [one["problem"] for one in json.loads(answer.body)["items"] if "problem" in one]
        return CANARY not in json.dumps(refused)
    return case.path == "/v1/assessments" or case.path.startswith(f"/v1/customers/{CANARY}")


def check(answer: Answer, case: Case, found: Found) -> None:
    """Hold an answer against the rules."""
    shown, status = f"{case.method} {case.path[:60]} {case.body[:80]!r}", answer.status
    found.statuses[status] += 1
    if (status >= 500 and status not in DECLARED) or status < 200:
        found.break_("undeclared", f"{status} {shown}")
    text = bytes(answer.body) + repr(answer.headers).encode()
    if CANARY.encode() in text and not _tells_a_fact(answer, case):
        found.break_("echo", f"{status} {shown}")
    if status >= 400 and not _is_problem(answer, case.method):
        found.break_("shape", f"{status} {shown} {bytes(answer.body[:100])!r}")
    if status in {429, 503} and "retry-after" not in answer.named:
        found.break_("shape", f"{status} without Retry-After {shown}")
    if answer.read > 9 * 1024 * 1024:
        found.break_("read", f"{answer.read} bytes {shown}")


def _is_problem(answer: Answer, method: str) -> bool:
    if answer.named.get("content-type") != "application/problem+json":
        return False
    if method == "HEAD":
        return True
    try:
        said = json.loads(answer.body)
    except ValueError:
        return False
    needed = {"type", "title", "status", "detail", "request_id"}
    return bool(needed <= said.keys() <= needed | {"errors"} and said["status"] == answer.status)


async def flood(app: Any, next_case: Callable[[], Case], requests: int, console: Console) -> Found:
    """Ask, a few at once, and check each answer."""
    found = Found()
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("asking", total=requests)

        async def one() -> None:
            case, begun = next_case(), time.perf_counter()
            try:
                check(await answer_of(app, case), case, found)
            except TimeoutError:
                found.break_("hang", f"{case.method} {case.path[:60]}")
            except Exception as error:  # noqa: BLE001 (it is what we look for)
                found.break_("crash", f"{type(error).__name__} {case.method} {case.path[:60]}")
            found.slowest = max(found.slowest, time.perf_counter() - begun)
            progress.advance(task)

        for start in range(0, requests, AT_ONCE):
            await asyncio.gather(*(one() for _ in range(min(AT_ONCE, requests - start))))
    return found


def in_process(home: Path, requests: int, seed: int, console: Console) -> list[Row]:
    """Flood the application with the trained home behind it."""
    from models.workspace import Workspace
    from serving.api import create_app
    from serving.audit import Record
    from serving.keys import ROLES, Keys
    from serving.opened import desk_from_environment

    today, bodies = today_and_orders(home)
    os.environ |= {"ENCOURS_HOME": str(home), "ENCOURS_TODAY": today}
    lines: list[str] = []
    structlog.configure(processors=[_into(lines)])
    keys = Keys(lambda: Record(Workspace(home).record_url))
    shown = [
        f"Bearer {keys.make(role, role, 'benchmarks.fuzz', calls_a_second=1e5).text}"
        for role in (*ROLES, "crm", "risk", "risk")
    ]
    app = create_app(desk_from_environment(), keys)
    customers = [json.loads(body)["customer"]["id"] for body in bodies]
    known = {"customer_id": customers}
    rng = random.Random(seed)  # noqa: S311 (no secret)
    hostile = Hostile(app.openapi(), shown, known, rng)
    begun = time.perf_counter()
    found = asyncio.run(flood(app, hostile.case, requests, console))
    took = time.perf_counter() - begun
    structlog.reset_defaults()
    show(found, console)
    lines_with = sum(CANARY in line for line in lines)
    statuses = ", ".join(f"{n:,} × {s}" for s, n in sorted(found.statuses.items()))
    return [
        Row("requests handed to the application", f"{requests:,} in {took:.0f} s"),
        Row("answers by status", statuses),
        at_most("undeclared 5xx (not 503 or 504)", found.count("undeclared"), 0, "{}"),
        at_most("exceptions that left the application", found.count("crash"), 0, "{}"),
        at_most("requests without an answer in 20 s", found.count("hang"), 0, "{}"),
        at_most("refusals that are no problem+json", found.count("shape"), 0, "{}"),
        at_most("answers that hold something that was sent", found.count("echo"), 0, "{}"),
        at_most("log lines that hold something that was sent", lines_with, 0, "{}"),
        at_most("bodies read beyond 9 MB (60 MB were offered)", found.count("read"), 0, "{}"),
        Row("slowest answer", f"{found.slowest:.2f} s"),
    ]


def _into(lines: list[str]) -> Any:
    def keep(_logger: object, _name: str, event: dict[str, Any]) -> dict[str, Any]:
        lines.append(repr(event))
        raise structlog.DropEvent

    return keep


def show(found: Found, console: Console) -> None:
    """Print the first of what broke each rule."""
    for rule, cases in found.broken.items():
        console.print(f"[red]{rule}[/red]: {len(cases)}")
        for case in cases[:5]:
            console.print(f"  {case}", markup=False)


# ------------------------------------------------------------------------------- raw sockets


def raw_requests(bearer: str, body: bytes) -> dict[str, bytes]:
    """Write requests that contradict themselves, or are none."""
    line = f"POST /v1/assessments HTTP/1.1\r\nHost: encours\r\nAuthorization: {bearer}\r\n"
    head = line.encode() + b"Connection: close\r\n"
    kept_json_head = line.encode() + b"Content-Type: application/json\r\n"
    json_head = head + b"Content-Type: application/json\r\n"
    length = b"Content-Length: %d\r\n" % len(body)
    chunk = b"%x\r\n%s\r\n" % (len(body), body)
    hidden = b"GET /" + CANARY.encode() + b" HTTP/1.1\r\nHost: encours\r\n\r\n"
    chunked = json_head + b"Transfer-Encoding: chunked\r\n"
    return {
        "sound": json_head + length + b"\r\n" + body,
        "CL and TE": chunked + length + b"\r\n" + chunk + b"0\r\n\r\n",
        "TE and CL, hidden request": chunked + b"Content-Length: 4\r\n\r\n0\r\n\r\n" + hidden,
        "two lengths": json_head + length + b"Content-Length: 1\r\n\r\n" + body,
        "TE twice": chunked + b"Transfer-Encoding: identity\r\n\r\n" + chunk + b"0\r\n\r\n",
        "TE with a space": json_head
        + b"Transfer-Encoding : chunked\r\n\r\n"
        + chunk
        + b"0\r\n\r\n",
        "TE unknown": json_head + b"Transfer-Encoding: xchunked\r\n\r\n" + chunk + b"0\r\n\r\n",
        "chunk size no number": chunked + b"\r\nzz\r\n" + body + b"\r\n0\r\n\r\n",
        "chunk size huge": chunked + b"\r\n" + b"f" * 40 + b"\r\n" + body,
        "chunk shorter than said": chunked + b"\r\nffff\r\n" + body + b"\r\n0\r\n\r\n",
        "length no number": json_head + b"Content-Length: 1e3\r\n\r\n" + body,
        "length negative": json_head + b"Content-Length: -1\r\n\r\n" + body,
        "no host": b"GET / HTTP/1.1\r\n\r\n",
        "bare line feeds": (json_head + length).replace(b"\r\n", b"\n") + b"\n" + body,
        "folded header": json_head + b"X-A: 1\r\n 2\r\n" + length + b"\r\n" + body,
        "NUL in a header": json_head + b"X-A: a\x00b\r\n" + length + b"\r\n" + body,
        "header without a colon": json_head + CANARY.encode() + b"\r\n" + length + b"\r\n" + body,
        "headers of 200 kB": json_head + b"X-A: " + b"a" * 200_000 + b"\r\n\r\n",
        "path of 100 kB": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: e\r\n\r\n",
        "HTTP/0.9": b"GET /\r\n\r\n",
        "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "HTTP/9.9": b"GET / HTTP/9.9\r\nHost: e\r\n\r\n",
        "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        "upgrade": b"GET / HTTP/1.1\r\nHost: e\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        "expect": json_head + b"Expect: 100-continue\r\n" + length + b"\r\n" + body,
        "pipelined": (kept_json_head + length + b"\r\n" + body) * 3,
        "absolute address": b"GET http://" + CANARY.encode() + b"/ HTTP/1.1\r\nHost: e\r\n\r\n",
    }


@dataclass
class Sockets:
    """What raw sockets got."""

    statuses: Counter[str] = field(default_factory=Counter)
    failures: int = 0
    echoes: int = 0
    hidden_answered: int = 0
    hangs: int = 0
    odd: list[str] = field(default_factory=list)


def talk(port: int, data: bytes, timeout: float) -> bytes | None:
    """Send bytes, say that no more come, and read to the end; ``None`` when nothing ends it."""
    received, patience = b"", PATIENCE_SECONDS
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=patience) as connection:
            connection.sendall(data)
            while True:
                try:
                    piece = connection.recv(65_536)
                except TimeoutError:  # it waits for more, or for another request
                    if patience == timeout:
                        return None
                    patience = timeout
                    connection.shutdown(socket.SHUT_WR)
                    connection.settimeout(timeout)
                    continue
                if not piece:
                    break
                received += piece
    except OSError:
        pass  # it was cut: an answer too
    return received


def torment(service: Service, number: int, rng: random.Random, bearer: str, body: bytes) -> Sockets:
    """Send raw requests, whole, cut or with a byte changed."""
    got, raw = Sockets(), raw_requests(bearer, body)
    for place in range(number):
        name = list(raw)[place % len(raw)]
        data = raw[name]
        if place >= len(raw):
            at = rng.randrange(len(data))
            other = bytes((rng.randrange(256),))
            data = rng.choice((data, data[:at], data[:at] + other + data[at + 1 :]))
        answer = talk(service.port, data, HANG_SECONDS)
        if answer is None:
            got.hangs += 1
            got.odd.append(f"hang: {name}")
            continue
        statuses = re.findall(rb"^HTTP/1\.[01] (\d{3})", answer, re.MULTILINE)
        got.statuses[b"+".join(statuses).decode() or "closed"] += 1
        bad = [s for s in statuses if s >= b"500" and s not in {b"503", b"504"}]
        got.failures += len(bad)
        got.echoes += CANARY.encode() in answer
        got.hidden_answered += "hidden" in name and len(statuses) > 1
        if bad or CANARY.encode() in answer:
            got.odd.append(f"{name}: {answer[:200]!r}")
    return got


def dribble(service: Service, bearer: str, body: bytes) -> tuple[float, list[bytes]]:
    """Open sockets that send a byte now and then; give the slowest probe, and what they heard."""
    head = f"POST /v1/assessments HTTP/1.1\r\nHost: e\r\nAuthorization: {bearer}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    lines = (head.encode(), b"POST /v1/assessments HTTP/1.1\r\nHo")
    opened = [
        socket.create_connection(("127.0.0.1", service.port), timeout=30)
        for _ in range(SLOW_SOCKETS)
    ]
    slowest, heard = 0.0, list[bytes]()
    try:
        for number, connection in enumerate(opened):
            connection.sendall(lines[number % 2])
        end, place = time.monotonic() + SLOW_SECONDS, 0
        while time.monotonic() < end:
            for connection in opened[::2]:
                connection.sendall(body[place : place + 1])
            place = min(place + 1, len(body) - 2)
            for probe in ("/livez", "/readyz", "/"):
                heard_of = service.ask("GET", probe, timeout=30)
                slowest = max(slowest, heard_of.seconds if heard_of.status == 200 else 30.0)
            time.sleep(0.5)
        for connection in opened[::2]:
            heard.append(connection.recv(4_096)[:12])
    except OSError:
        pass
    finally:
        for connection in opened:
            connection.close()
    return slowest, heard


def over_sockets(here: Path, sockets: int, seed: int, console: Console) -> list[Row]:
    """Send raw requests to the real service."""
    from models.workspace import Workspace

    home = here / "home"
    today, bodies = today_and_orders(home)
    shown = bearer(Workspace(home).record_url)
    log = here / "service.log"
    with Service(home, log, {"ENCOURS_TODAY": today}) as service:
        warm_up(service, shown, bodies)
        rng = random.Random(seed)  # noqa: S311
        got = torment(service, sockets, rng, shown, bodies[0])
        slowest, heard = dribble(service, shown, bodies[0])
        well = service.assess(shown, bodies[0]).status == 201
    for line in got.odd[:10]:
        console.print(line, markup=False)
    too_slow = sum(b" 408" in one for one in heard)
    logged = log.read_text("utf-8", "replace").count(CANARY)
    return [
        Row("raw requests over sockets", f"{sockets:,}"),
        Row("what they got", ", ".join(f"{n:,} × {s}" for s, n in got.statuses.most_common(12))),
        at_most("undeclared failures over sockets", got.failures, 0, "{}"),
        at_most("sockets that nothing ended in 20 s", got.hangs, 0, "{}"),
        at_most("hidden requests that were answered (smuggling)", got.hidden_answered, 0, "{}"),
        at_most("answers or log lines that hold something sent", got.echoes + logged, 0, "{}"),
        Row(f"{SLOW_SOCKETS // 2} slow bodies: closed with 408 after 10 s", f"{too_slow}"),
        at_most(f"slowest probe beside {SLOW_SOCKETS} slow sockets, s", slowest, 2.0, "{:.2f}"),
        at_least("answers well afterwards", int(well), 1, "{}"),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; the exit code is 1 when a rule was broken."""
    taken = parser(__doc__)
    taken.add_argument("--requests", type=int, default=50_000)
    taken.add_argument("--sockets", type=int, default=2_000)
    asked, console = taken.parse_args(arguments), Console()
    with scratch(asked.home, console) as here:
        rows = over_sockets(here, asked.sockets, asked.seed, console)
        rows += in_process(here / "home", asked.requests, asked.seed, console)
    notes = (
        f"`python -m benchmarks.fuzz --requests {asked.requests} --sockets {asked.sockets} --seed "
        f"{asked.seed}`: bodies are made from the OpenAPI document and spoilt "
        "(`benchmarks/hostile.py`). What is no HTTP is refused by uvicorn's parser, in plain text "
        "and not as a problem. A connection whose headers never end stays open: put a proxy "
        "that closes them in front where strangers can reach the port."
    )
    return 0 if publish(console, asked.page, TITLE, rows, notes) else 1


if __name__ == "__main__":
    sys.exit(main())
