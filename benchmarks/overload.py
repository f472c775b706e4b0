"""Three times more orders than the service can answer: what it answers stays what it could answer.

The peak is what it answers a second to as many clients as it admits. Then orders arrive at three
times that rate, whether or not the earlier ones were answered, each on a connection of its own
pool; rounds of both take turns, so that a busy machine slows both.

python -m benchmarks.overload --seconds 10 --rounds 3
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.page import Row, at_least, at_most, publish
from benchmarks.seller import Service, bearer, parser, scratch, today_and_orders, warm_up
from models.workspace import Workspace

TITLE = "Overload"
AT_PEAK = 16  # connections of the closed loop
TIMES = 3.0
LEAST_GOODPUT = 0.85
MOST_PROBE_SECONDS = 1.0
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclass
class Round:
    """What clients saw in a round.

    Attributes
    ----------
    answered, refused : list of float
        Seconds until each.
    other : list of bytes
        Anything that is neither an answer nor 429 or 503 with Retry-After.
    probes : list of float
        Seconds until ``/livez`` answered.
    took, cpu : float
        Seconds of the round, and of CPU time of the service until the last answer.
    too_late : int
        Answers after the round.
    open : int
        Orders that were sent and not answered yet.
    """

    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    other: list[bytes] = field(default_factory=list)
    probes: list[float] = field(default_factory=list)
    took: float = 0.0
    cpu: float = 0.0
    too_late: int = 0
    open: int = 0

    def note(self, head: bytes, took: float) -> None:
        """Count an answer by the head of its response, empty if there was none."""
        if head[9:12] == b"201":
            self.answered.append(took)
        elif head[9:12] in {b"503", b"429"} and b"retry-after" in head.lower():
            self.refused.append(took)
        else:
            self.other.append(head[:40] or b"no answer")

    @property
    def a_cpu_second(self) -> float:
        """Answers a second of CPU time that the service got."""
        return (len(self.answered) + self.too_late) / self.cpu

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.answered) / self.took


class _Connection(asyncio.Protocol):
    """A connection that is kept: one request at a time, as little work as can be."""

    def __init__(self, idle: list[_Connection]) -> None:
        self._idle, self._got = idle, b""
        self._heard: Callable[[bytes], None] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 (for the type checker)
        self._transport = transport

    def send(self, request: bytes, heard: Callable[[bytes], None]) -> None:
        """Send a request; `heard` is given the answer's head, or nothing if it never comes."""
        assert self._transport is not None  # noqa: S101 (for the type checker)
        self._heard = heard
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, end, body = self._got.partition(b"\r\n\r\n")
        length = LENGTH.search(head) if end else None
        if not end or len(body) < (int(length[1]) if length else 0):
            return
        self._got = b""
        if b"\r\nconnection: close" not in head.lower():
            self._idle.append(self)
        self._tell(head)

    def connection_lost(self, _exc: Exception | None) -> None:
        if self in self._idle:
            self._idle.remove(self)
        self._tell(b"")

    def _tell(self, head: bytes) -> None:
        heard, self._heard = self._heard, None
        if heard is not None:
            heard(head)


class Load:
    """Sends orders over kept connections, and makes more where all are in use."""

    def __init__(self, port: int, bearer: str, bodies: Sequence[bytes]) -> None:
        self._port = port
        self._requests = cycle([_request(bearer, body) for body in bodies])
        self._idle: list[_Connection] = []
        self._connecting: set[asyncio.Task[None]] = set()

    def send(self, seen: Round, then: Callable[[], None] = lambda: None) -> None:
        """Send the next order, and note the answer."""
        begun, request = time.perf_counter(), next(self._requests)
        seen.open += 1

        def heard(head: bytes) -> None:
            if not head:  # it was closed while it was idle
                self._on_a_new_one(request, noted)
            else:
                noted(head)

        def noted(head: bytes) -> None:
            seen.open -= 1
            seen.note(head, time.perf_counter() - begun)
            then()

        if self._idle:
            self._idle.pop().send(request, heard)
        else:
            self._on_a_new_one(request, noted)

    def _on_a_new_one(self, request: bytes, heard: Callable[[bytes], None]) -> None:
        async def connect() -> None:
            running = asyncio.get_running_loop()
            try:
                _, made = await running.create_connection(
                    lambda: _Connection(self._idle), "127.0.0.1", self._port
                )
            except OSError:
                heard(b"")
            else:
                made.send(request, heard)

        task = asyncio.create_task(connect())
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def probe(self, seen: Round, until: float) -> None:
        """Ask whether it is alive, again and again."""
        while time.perf_counter() < until:
            begun = time.perf_counter()
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            writer.write(b"GET /livez HTTP/1.1\r\nHost: e\r\nConnection: close\r\n\r\n")
            head = await reader.read()
            seen.probes.append(
                time.perf_counter() - begun if head[9:12] == b"200" else float("inf")
            )
            writer.close()
            await asyncio.sleep(0.2)

    async def closed(self, seconds: float) -> Round:
        """Ask on some connections, the next order after each answer."""
        seen, begun = Round(), time.perf_counter()

        def next_one() -> None:
            if time.perf_counter() < begun + seconds:
                self.send(seen, next_one)

        for _ in range(AT_PEAK):
            next_one()
        await self._all_heard(seen)
        seen.took = time.perf_counter() - begun
        return seen

    async def open(self, seconds: float, rate: float) -> Round:
        """Ask at a rate, whether or not the earlier ones were answered."""
        seen, begun, sent = Round(), time.perf_counter(), 0
        probing = asyncio.create_task(self.probe(seen, begun + seconds))
        while (elapsed := time.perf_counter() - begun) < seconds:
            while sent < elapsed * rate:
                self.send(seen)
                sent += 1
            await asyncio.sleep(0.005)
        seen.took = time.perf_counter() - begun
        in_time = len(seen.answered)
        await self._all_heard(seen)
        await probing
        seen.too_late = len(seen.answered) - in_time
        del seen.answered[in_time:]
        return seen

    async def _all_heard(self, seen: Round, most_seconds: float = 90) -> None:
        """Wait until each order has its answer; what has none by then is neither."""
        until = time.perf_counter() + most_seconds
        while seen.open and time.perf_counter() < until:
            await asyncio.sleep(0.01)
        seen.other += [b"no answer"] * seen.open


def _request(bearer: str, body: bytes) -> bytes:
    head = (
        "POST /v1/assessments HTTP/1.1\r\nHost: encours\r\nContent-Type: application/json\r\n"
        f"Authorization: {bearer}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def turns(
    service: Service, load: Load, seconds: float, rounds: int
) -> list[tuple[Round, Round]]:
    """Measure the peak and the overload in turns."""
    await load.closed(seconds / 2)
    made = []
    for _ in range(rounds):
        begun = service.cpu_seconds()
        peak = await load.closed(seconds)
        peak.cpu = (between := service.cpu_seconds()) - begun
        over = await load.open(seconds, TIMES * peak.rate)
        over.cpu = service.cpu_seconds() - between
        made.append((peak, over))
    return made


def rows(made: Sequence[tuple[Round, Round]]) -> list[Row]:
    """Compare each overload with the peak before it."""
    peaks, overs = zip(*made, strict=True)
    goodput = float(np.median([over.rate / peak.rate for peak, over in made]))
    by_cpu = float(np.median([over.a_cpu_second / peak.a_cpu_second for peak, over in made]))
    refused = np.concatenate([over.refused for over in overs])
    answered = np.concatenate([over.answered for over in overs])
    probes = np.concatenate([over.probes for over in overs])
    other = Counter(one for over in overs for one in over.other)
    return [
        Row("peak, answers a second, median", f"{np.median([p.rate for p in peaks]):.0f}"),
        Row("peak, p99", f"{_p(np.concatenate([p.answered for p in peaks]), 99):.0f} ms"),
        Row("orders at three times that", f"{answered.size + refused.size + other.total():,}"),
        at_least("answers a second of CPU, of the peak, median", by_cpu, LEAST_GOODPUT, "{:.0%}"),
        at_least("answers a second, of the peak, median", goodput, LEAST_GOODPUT, "{:.0%}"),
        Row("answers, p50 and p99", f"{_p(answered, 50):.0f} and {_p(answered, 99):.0f} ms"),
        Row("refused with Retry-After", f"{refused.size:,}"),
        Row("until refused, p50 and p99", f"{_p(refused, 50):.0f} and {_p(refused, 99):.0f} ms"),
        at_most("neither answered nor refused so", other.total(), 0, "{}"),
        Row("of which", ", ".join(f"{n} × {what.decode()}" for what, n in other.most_common(3))),
        at_most("/livez meanwhile, slowest, s", float(probes.max()), MOST_PROBE_SECONDS, "{:.2f}"),
    ]


def _p(seconds: Any, percent: float) -> float:
    return float(np.percentile(seconds, percent)) * 1000 if len(seconds) else float("nan")


def run(here: Path, seconds: float, rounds: int) -> list[Row]:
    """Overload the real service."""
    home = here / "home"
    today, bodies = today_and_orders(home)
    shown = bearer(Workspace(home).record_url)
    with Service(home, here / "service.log", {"ENCOURS_TODAY": today}) as service:
        warm_up(service, shown, bodies)
        load = Load(service.port, shown, bodies)
        return rows(asyncio.run(turns(service, load, seconds, rounds)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; the exit code is 1 when a target was missed."""
    taken = parser(__doc__)
    taken.add_argument("--seconds", type=float, default=10)
    taken.add_argument("--rounds", type=int, default=3)
    asked, console = taken.parse_args(arguments), Console()
    with scratch(asked.home, console) as here:
        made = run(here, asked.seconds, asked.rounds)
    notes = (
        f"`python -m benchmarks.overload --seconds {asked.seconds:g} --rounds {asked.rounds}`: the "
        f"peak is that of {AT_PEAK} clients who wait for their answers. The client shares the two "
        "cores with the service, so the times say more of the machine than of the service: its "
        f"load average was {os.getloadavg()[0]:.0f}. Answers a second of the CPU time that the "
        "service got leave out what others took."
    )
    return 0 if publish(console, asked.page, TITLE, made, notes) else 1


if __name__ == "__main__":
    sys.exit(main())
