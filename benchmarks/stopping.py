"""SIGTERM under load: what is being answered is answered, then the service ends.

Clients ask on connections of their own while the process gets SIGTERM, as an orchestrator sends
it. A request whose connection was taken before it may not break; after it, connections are
refused. Each acknowledged answer must be on the record, and none twice for its key.

python -m benchmarks.stopping --cycles 20
"""

from __future__ import annotations

import sys
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pysqlite3
from rich.console import Console
from rich.progress import Progress

from benchmarks.page import Row, at_least, at_most, publish
from benchmarks.seller import Service, bearer, parser, scratch, today_and_orders, warm_up
from models.workspace import Workspace

TITLE = "SIGTERM under load"
CLIENTS = 6
MOST_SECONDS = 30.0


@dataclass
class Asked:
    """A request: when it was sent, and the status it got; 0 where the connection broke."""

    key: str
    sent_at: float
    status: int


@dataclass
class Clients:
    """Clients that ask until told to stop."""

    service: Service
    bearer: str
    bodies: Sequence[bytes]
    asked: list[Asked] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, number: int) -> None:
        """Ask one order after the other."""
        while not self.stop.is_set():
            key, sent_at = str(uuid.uuid4()), time.monotonic()
            body = self.bodies[number % len(self.bodies)]
            heard = self.service.assess(self.bearer, body, key)
            self.asked.append(Asked(key, sent_at, heard.status))
            if heard.status == 0:
                time.sleep(0.05)


def cycle(
    service: Service, bearer: str, bodies: Sequence[bytes]
) -> tuple[list[Asked], float, float]:
    """Start, load, send SIGTERM; give what was asked, when it was sent, and how long it took."""
    service.start("/readyz")
    warm_up(service, bearer, bodies)
    clients = Clients(service, bearer, bodies)
    threads = [threading.Thread(target=clients.run, args=(n,)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    time.sleep(1.5)
    terminated_at = time.monotonic()
    took = service.terminate()
    clients.stop.set()
    for thread in threads:
        thread.join(60)
    service.end()
    return clients.asked, terminated_at, took


def run(here: Path, cycles: int, console: Console) -> list[Row]:
    """Stop again and again."""
    home = here / "home"
    workspace = Workspace(home)
    today, bodies = today_and_orders(home)
    shown = bearer(workspace.record_url)
    service = Service(home, here / "service.log", {"ENCOURS_TODAY": today})
    times, asked, in_flight, broken = [], list[Asked](), 0, 0
    try:
        with Progress(console=console, transient=True) as progress:
            for _ in progress.track(range(cycles), description="stopping"):
                found, terminated_at, took = cycle(service, shown, bodies)
                times.append(took)
                asked += found
                # one that was sent a moment before may not have been taken yet
                before = [one for one in found if one.sent_at < terminated_at - 0.02]
                last = [one for one in before if one.sent_at > terminated_at - 1]
                in_flight += sum(one.status == 201 for one in last)
                broken += sum(one.status == 0 for one in before)
    finally:
        service.end()
    acknowledged = [one.key for one in asked if one.status == 201]
    with pysqlite3.connect(home / "record.db") as connection:
        kept = connection.execute("SELECT count(*) FROM requests").fetchone()[0]
    odd = sorted({one.status for one in asked} - {0, 201, 503, 504})
    return [
        Row("cycles", f"{cycles:,}"),
        at_least("orders answered", len(acknowledged), 1, "{:,}"),
        Row("of which sent in the last second before SIGTERM", f"{in_flight:,}"),
        at_most("orders sent before SIGTERM that broke", broken, 0, "{}"),
        at_most("other failures", len(odd), 0, "{}"),
        at_least(
            "answers on the record, less those acknowledged", kept - len(acknowledged), 0, "{}"
        ),
        at_most("until it is gone, slowest, s", max(times), MOST_SECONDS, "{:.1f}"),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; the exit code is 1 when a promise was broken."""
    taken = parser(__doc__)
    taken.add_argument("--cycles", type=int, default=20)
    asked, console = taken.parse_args(arguments), Console()
    with scratch(asked.home, console) as here:
        rows = run(here, asked.cycles, console)
    notes = (
        f"`python -m benchmarks.stopping --cycles {asked.cycles}`: the real service, {CLIENTS} "
        "clients, each order on a connection of its own."
    )
    return 0 if publish(console, asked.page, TITLE, rows, notes) else 1


if __name__ == "__main__":
    sys.exit(main())
