"""Kill -9 at random moments under load: every acknowledged answer must be there, and none twice.

Two processes serve one record. Clients send orders with an Idempotency-Key and send some of them
again; meanwhile one process, or both at once, is killed with SIGKILL and started again. At the end
every key that got an answer must give the same bytes, and the record must hold one entry a key.

python -m benchmarks.kills --cycles 500
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import os
import random
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pysqlite3
from rich.console import Console
from rich.progress import Progress

from benchmarks.page import Row, at_least, at_most, publish
from benchmarks.seller import INVOICES, PAGE, free_port, today_and_orders

TITLE = "Kill -9 under load"
SERVERS, CLIENTS = 2, 8
SENT_AGAIN = 0.3  # of the requests
ALIVE_SECONDS = (0.05, 0.6)  # under load, before a kill
START_SECONDS = 60.0
PRELOADED = ["uvicorn", "serving.api", "serving.opened"]
BEYOND = """
SELECT count(*) FROM entries
WHERE kind = 'assessment' AND id NOT IN (SELECT entry_id FROM requests WHERE entry_id IS NOT NULL)
"""  # each key names one entry


def serve(home: str, today: str, port: int) -> None:
    """Serve the application until killed; runs in a process of its own."""
    os.environ |= {"ENCOURS_HOME": home, "ENCOURS_TODAY": today}
    import structlog
    import uvicorn

    from models.workspace import Workspace
    from serving.api import create_app
    from serving.audit import Record
    from serving.keys import Keys
    from serving.opened import desk_from_environment

    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    keys = Keys(lambda: Record(Workspace(Path(home)).record_url))
    app = create_app(desk_from_environment(), keys)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="critical")


@dataclass
class Said:
    """What the clients were told; guarded by its lock.

    Attributes
    ----------
    bodies : dict of str to bytes
        Request by key.
    answers : dict of str to str
        SHA-256 of the acknowledged answer by key.
    differing : int
        Times that a key got two different answers.
    acknowledged, broken, refused : int
        Answers; connections that broke; answers that were refusals, by a deadline for instance.
    """

    bodies: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    differing: int = 0
    acknowledged: int = 0
    broken: int = 0
    refused: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def choose(self, rng: random.Random, bodies: Sequence[bytes]) -> tuple[str, bytes]:
        """Choose a new request, or one that was sent before."""
        with self.lock:
            if self.bodies and rng.random() < SENT_AGAIN:
                key = rng.choice(list(self.bodies))
                return key, self.bodies[key]
            key = str(uuid.UUID(int=rng.getrandbits(128)))
            self.bodies[key] = rng.choice(bodies)
            return key, self.bodies[key]

    def note(self, key: str, status: int, answer: bytes) -> None:
        """Note an answer."""
        with self.lock:
            if status != 201:
                self.refused += 1
                return
            digest = hashlib.sha256(answer).hexdigest()
            self.differing += self.answers.setdefault(key, digest) != digest
            self.acknowledged += 1


@dataclass
class Client:
    """One client; it goes on with the other server when a connection breaks."""

    ports: list[int]
    bearer: str
    said: Said
    seed: int
    bodies: Sequence[bytes]
    stop: threading.Event

    def run(self) -> None:
        """Ask until told to stop."""
        rng = random.Random(self.seed)  # noqa: S311 (no secret)
        while not self.stop.is_set():
            key, body = self.said.choose(rng, self.bodies)
            self.ask(rng.choice(self.ports), key, body)

    def ask(self, port: int, key: str, body: bytes) -> None:
        """Send one request and note what is said."""
        headers = {
            "Authorization": self.bearer,
            "Content-Type": "application/json",
            "Idempotency-Key": key,
        }
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("POST", "/v1/assessments", body, headers)
            answer = connection.getresponse()
            self.said.note(key, answer.status, answer.read())
        except (OSError, http.client.HTTPException):
            with self.said.lock:
                self.said.broken += 1
            time.sleep(0.02)  # it is starting again
        finally:
            connection.close()


class Servers:
    """The serving processes, forked from one that has imported everything."""

    def __init__(self, home: Path, today: str) -> None:
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload(PRELOADED)
        self._home, self._today = home, today
        self.ports = [free_port() for _ in range(SERVERS)]
        self._processes: list[Any] = [None] * SERVERS
        self.restarts: list[float] = []
        for number in range(SERVERS):
            self.start(number)

    def start(self, number: int) -> None:
        """Start one and wait until it answers."""
        begun, port = time.perf_counter(), self.ports[number]
        arguments = (str(self._home), self._today, port)
        process = self._context.Process(target=serve, args=arguments, daemon=True)
        process.start()
        self._processes[number] = process
        while not _answers(port):
            if time.perf_counter() - begun > START_SECONDS or not process.is_alive():
                raise RuntimeError("a server did not start again")
            time.sleep(0.01)
        self.restarts.append(time.perf_counter() - begun)

    def kill(self, number: int) -> None:
        """Kill one at once, in the middle of whatever it does."""
        os.kill(self._processes[number].pid, signal.SIGKILL)
        self._processes[number].join()

    def kill_and_restart(self, numbers: Sequence[int]) -> None:
        """Kill some at the same moment; the load goes on, on those that live."""
        for number in numbers:
            self.kill(number)
        for number in numbers:
            self.start(number)

    def end(self) -> None:
        """End all."""
        for process in self._processes:
            process.terminate()
            process.join(10)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def kill_cycles(home: Path, cycles: int, seed: int, console: Console) -> list[Row]:
    """Load, kill, start again; then look at what is left."""
    from models.workspace import Workspace
    from serving.audit import Record
    from serving.keys import Keys

    today, bodies = today_and_orders(home)
    keys = Keys(lambda: Record(Workspace(home).record_url))
    made = keys.make("the clients", "crm", "benchmarks.kills", calls_a_second=100_000)
    rng, said, stop = random.Random(seed), Said(), threading.Event()  # noqa: S311
    servers = Servers(home, today)
    bearer = f"Bearer {made.text}"
    clients = [
        Client(servers.ports, bearer, said, rng.getrandbits(64), bodies, stop)
        for _ in range(CLIENTS)
    ]
    threads = [threading.Thread(target=client.run) for client in clients]
    for thread in threads:
        thread.start()
    try:
        with Progress(console=console, transient=True) as progress:
            for _ in progress.track(range(cycles), description="killing"):
                time.sleep(rng.uniform(*ALIVE_SECONDS))
                both = rng.random() < 1 / 3
                servers.kill_and_restart([0, 1] if both else [rng.randrange(SERVERS)])
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    first_time = dict(said.answers)
    for key, body in said.bodies.items():  # those that never heard an answer ask once more
        clients[0].ask(servers.ports[0], key, body)
    servers.end()
    return _rows(home, cycles, said, first_time, servers.restarts)


def _rows(
    home: Path, cycles: int, said: Said, first_time: dict[str, str], restarts: list[float]
) -> list[Row]:
    """Hold what the clients were told against the record."""
    with pysqlite3.connect(home / "record.db") as connection:
        ((twice,),) = connection.execute(BEYOND).fetchall()
        sound = connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    lost = sum(said.answers.get(key) != digest for key, digest in first_time.items())
    unanswered = len(said.bodies) - len(said.answers)
    ordered = sorted(restarts)
    return [
        Row("cycles of kill -9 and start", f"{cycles:,}"),
        at_least("answers acknowledged", said.acknowledged, 1, "{:,}"),
        Row("distinct requests", f"{len(said.bodies):,}"),
        Row("connections that broke", f"{said.broken:,}"),
        Row("refusals", f"{said.refused:,}"),
        at_most("acknowledged answers that are lost or changed", lost, 0, "{}"),
        at_most("keys with two different answers", said.differing, 0, "{}"),
        at_most("assessments beyond one a key", twice, 0, "{}"),
        at_most("keys without an answer at the end", unanswered, 0, "{}"),
        at_least("the database is sound (integrity_check)", int(sound), 1, "{}"),
        Row("start to first answer, median", f"{ordered[len(ordered) // 2]:.2f} s"),
    ]


def main() -> int:
    """Run the kills; the exit code is 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cycles", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--home", type=Path, help="a trained home to use; its record grows")
    parser.add_argument("--page", type=Path, default=PAGE)
    asked, console = parser.parse_args(), Console()
    with tempfile.TemporaryDirectory() as folder:
        home = asked.home or Path(folder) / "home"
        if asked.home is None:
            from benchmarks.seller import make

            console.print("simulating and training")
            make(home, INVOICES)
        rows = kill_cycles(home, asked.cycles, asked.seed, console)
    notes = (
        f"`python -m benchmarks.kills --cycles {asked.cycles} --seed {asked.seed}`: {SERVERS} "
        f"processes on one SQLite record, {CLIENTS} clients, {SENT_AGAIN:.0%} of the requests sent "
        "again; a third of the kills takes both processes at once."
    )
    return 0 if publish(console, asked.page, TITLE, rows, notes) else 1


if __name__ == "__main__":
    sys.exit(main())
