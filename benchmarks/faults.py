"""Databases that fail under the running service: a refusal with its reason, and recovery.

Each fault is made from outside, under load: another program locks the record or writes slowly,
the file goes missing or is damaged, its disk is full or read-only. While it lasts no answer may
hold a score, ``/livez`` answers and ``/readyz`` says why; when it ends the service answers by
itself within seconds. At the end the record holds one entry an acknowledged answer.

python -m benchmarks.faults --seconds 30
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pysqlite3
from rich.console import Console

from benchmarks.page import Row, at_least, at_most, publish
from benchmarks.seller import (
    Heard,
    Service,
    bearer,
    parser,
    scratch,
    today_and_orders,
    warm_up,
)

TITLE = "Databases that fail"
CLIENTS = 8
RECOVERY_SECONDS = 5.0
MOST_SECONDS = 20.0  # for a refusal; the deadline is 15
SMALL_DISK = "256m"
REFUSED = frozenset({503, 504})


@dataclass
class Fault:
    """A way to fail.

    Attributes
    ----------
    name : str
    lasts : callable
        Makes it, and ends it on leaving, as a context manager.
    allowed : set of int
        The only statuses while it lasts.
    """

    name: str
    lasts: Callable[[], Any]
    allowed: frozenset[int] = REFUSED


@dataclass
class Seen:
    """What clients saw; guarded by its lock."""

    phase: str = "before"
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    slowest_refusal: float = 0.0
    scores: int = 0
    without_retry: int = 0
    acknowledged: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, heard: Heard, phase: str) -> None:
        """Note an answer that was asked for in a phase."""
        with self.lock:
            when = phase if phase == self.phase else "across"
            self.statuses[when, heard.status] += 1
            if heard.status == 201:
                self.acknowledged.append(json.loads(heard.body)["id"])
                return
            self.scores += b"probabilit" in heard.body or b"recommend" in heard.body
            if heard.status == 503:
                self.without_retry += "retry-after" not in heard.headers
                self.reasons[json.loads(heard.body)["detail"]] += 1
            if phase == self.phase == "during":
                self.slowest_refusal = max(self.slowest_refusal, heard.seconds)


@contextmanager
def asking(service: Service, bearer: str, bodies: Sequence[bytes], seen: Seen) -> Iterator[None]:
    """Ask on all connections until the end."""
    stop = threading.Event()

    def ask(number: int) -> None:
        place = number
        while not stop.is_set():
            phase = seen.phase
            seen.note(service.assess(bearer, bodies[place % len(bodies)], timeout=40), phase)
            place += CLIENTS
            if phase != "before":
                time.sleep(0.05)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)


@dataclass
class Outcome:
    """How the service took a fault."""

    name: str
    seen: Seen
    refused: bool
    livez: bool
    readyz: str
    recovered_after: float
    lost: int


def suffer(
    service: Service,
    fault: Fault,
    record: Path,
    bearer: str,
    bodies: Sequence[bytes],
    seconds: float,
) -> Outcome:
    """Let a fault happen under load, end it, and wait for the first answer."""
    seen, alive, ready = Seen(), True, ""
    with asking(service, bearer, bodies, seen):
        time.sleep(1)
        with fault.lasts():
            time.sleep(0.5)  # what was asked for before it may still be answered
            seen.phase = "during"
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                alive &= service.ask("GET", "/livez", timeout=5).status == 200
                probe = service.ask("GET", "/readyz", timeout=20)
                ready = probe.body.decode() if probe.status == 503 else ready
                time.sleep(0.5)
        seen.phase, ended = "after", time.monotonic()
        while service.assess(bearer, bodies[0], timeout=40).status != 201:
            if time.monotonic() - ended > 60:
                break
            time.sleep(0.05)
        recovered_after = time.monotonic() - ended
        service.wait_for("/readyz", 200, 60)
    during = {status for phase, status in seen.statuses if phase == "during"}
    refused = during <= fault.allowed
    lost = len(set(seen.acknowledged) - _recorded(record))
    return Outcome(fault.name, seen, refused, alive, ready, recovered_after, lost)


def _recorded(record: Path) -> set[str]:
    with pysqlite3.connect(record) as connection:
        return {id for (id,) in connection.execute("SELECT id FROM entries")}


# ------------------------------------------------------------------------------------- faults


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Keep a database to another process, as a stuck backup does."""
    script = (
        "import sys, pysqlite3 as s\n"
        "c = s.connect(sys.argv[1], timeout=60, isolation_level=None)\n"
        "c.execute('BEGIN EXCLUSIVE'); print('locked', flush=True); sys.stdin.read()"
    )
    with _helper(script, str(database)):
        yield


@contextmanager
def slow(database: Path) -> Iterator[None]:
    """Take the writer's place nine tenths of the time."""
    script = (
        "import sys, time, pysqlite3 as s\n"
        "c = s.connect(sys.argv[1], timeout=60, isolation_level=None)\n"
        "print('slow', flush=True)\n"
        "while True:\n"
        "    c.execute('BEGIN IMMEDIATE'); time.sleep(0.9)\n"
        "    c.execute('ROLLBACK'); time.sleep(0.1)\n"
    )
    with _helper(script, str(database)):
        yield


@contextmanager
def _helper(script: str, *arguments: str) -> Iterator[None]:
    process = subprocess.Popen(  # noqa: S603 (our own script)
        [sys.executable, "-c", script, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None  # noqa: S101 (for the type checker)
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def missing(database: Path) -> Iterator[None]:
    """Take the file away, with what belongs to it, and put it back."""
    away = database.parent / "away"
    away.mkdir()
    _move(database, away)
    try:
        yield
    finally:
        for file in database.parent.glob(f"{database.name}*"):
            file.unlink()  # the empty one that a connection made in its place
        _move(away / database.name, database.parent)
        away.rmdir()


def _move(database: Path, where: Path) -> None:
    for file in database.parent.glob(f"{database.name}*"):
        shutil.move(file, where)


@contextmanager
def damaged(database: Path) -> Iterator[None]:
    """Put a damaged copy in the place of the file, then a sound one."""
    sound = database.with_name("sound.db")
    connection = pysqlite3.connect(database, timeout=60, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")  # nothing is recorded between the copy and the exchange
    for end in ("", "-wal"):
        shutil.copy(f"{database}{end}", f"{sound}{end}")
    broken = os.urandom(4_096) + sound.read_bytes()[4_096:]
    spoilt = database.with_name("spoilt.db")
    spoilt.write_bytes(broken)
    spoilt.replace(database)
    _remove_log(database)
    connection.close()
    try:
        yield
    finally:
        copied = pysqlite3.connect(sound)  # takes in what its log holds
        copied.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        copied.close()
        _remove_log(database)  # before: the service writes one of its own as soon as it can
        sound.replace(database)


def _remove_log(database: Path) -> None:
    """Remove the log of a file in whose place another one is put."""
    for end in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            database.with_name(database.name + end).unlink()


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Fill the small disk to the last byte."""
    filler = folder / "filler"
    opened = os.open(filler, os.O_WRONLY | os.O_CREAT)
    with suppress(OSError):
        while os.write(opened, b"\0" * 4_096):
            pass
    os.close(opened)
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def read_only(service: Service, folder: Path) -> Iterator[None]:
    """Start the service on a disk that was mounted read-only, as after a file system error."""
    service.end()
    _mount("-o", "remount,ro", str(folder))
    service.start()
    try:
        yield
    finally:
        _mount("-o", "remount,rw", str(folder))


def _mount(*arguments: str) -> None:
    subprocess.run(["/bin/mount", *arguments], check=True)  # noqa: S603 (our own arguments)


# ------------------------------------------------------------------------------------ the page


def faults(service: Service, home: Path, record: Path, on_a_disk: bool) -> list[Fault]:
    """List what is suffered; a disk of its own is needed for the last two."""
    listed = [
        Fault("record locked", lambda: locked(record)),
        Fault("record slow (0.9 s of each s)", lambda: slow(record), REFUSED | {201}),
        Fault("ledger locked", lambda: locked(home / "facts.db"), frozenset({201})),
        Fault("record missing", lambda: missing(record)),
        Fault("ledger missing", lambda: missing(home / "facts.db")),
        Fault("record damaged", lambda: damaged(record)),
    ]
    if on_a_disk:
        listed.append(
            Fault("disk of the record full", lambda: full(record.parent), REFUSED | {201})
        )
        listed.append(
            Fault("disk of the record read-only", lambda: read_only(service, record.parent))
        )
    return listed


def rows(outcomes: Sequence[Outcome], log: Path) -> list[Row]:
    """Put the outcomes in a table, three lines a fault."""
    table = []
    for one in outcomes:
        said = Counter({s: n for (phase, s), n in one.seen.statuses.items() if phase == "during"})
        shown = ", ".join(f"{n} × {status}" for status, n in sorted(said.items()))
        why = one.readyz or "ready"
        table += [
            Row(f"{one.name}: answers meanwhile; /readyz", f"{shown}; {why}"),
            at_least(
                f"{one.name}: answers as they must be, alive, nothing lost, no score",
                int(one.refused and one.livez and not one.lost and not one.seen.scores),
                1,
                "{}",
            ),
            at_most(
                f"{one.name}: slowest refusal, s", one.seen.slowest_refusal, MOST_SECONDS, "{:.1f}"
            ),
            at_most(
                f"{one.name}: first answer after its end, s",
                one.recovered_after,
                RECOVERY_SECONDS,
                "{:.1f}",
            ),
        ]
    without = sum(one.seen.without_retry for one in outcomes)
    scores = log.read_text("utf-8", "replace").count("probabilit")
    return [
        *table,
        at_most("503 without Retry-After", without, 0, "{}"),
        at_most("log lines with a score", scores, 0, "{}"),
    ]


def run(home: Path, disk: Path, log: Path, asked: Any, console: Console) -> list[Row]:
    """Suffer each fault in turn."""
    record = disk / "record.db"
    url = f"sqlite:///{record}"
    today, bodies = today_and_orders(home)
    shown = bearer(url)
    environment = {"ENCOURS_TODAY": today, "ENCOURS_RECORD_URL": url}
    outcomes = []
    with Service(home, log, environment) as service:
        warm_up(service, shown, bodies)
        for fault in faults(service, home, record, asked.disk is not None):
            if asked.only and asked.only not in fault.name:
                continue
            console.print(fault.name)
            outcome = suffer(service, fault, record, shown, bodies, asked.seconds)
            console.print(dict(outcome.seen.statuses), dict(outcome.seen.reasons))
            outcomes.append(outcome)
    return rows(outcomes, log)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; the exit code is 1 when a rule was broken."""
    taken = parser(__doc__)
    taken.add_argument("--seconds", type=float, default=30, help="how long each fault lasts")
    taken.add_argument("--only", help="a part of the name of the faults to run")
    taken.add_argument("--disk", type=Path, help="a disk of its own for the record, by itself")
    asked, console = taken.parse_args(arguments), Console()
    if asked.disk is None and os.geteuid() == 0 and shutil.which("unshare"):
        return _on_a_small_disk(list(sys.argv[1:] if arguments is None else arguments))
    with scratch(asked.home, console) as here:
        found = run(here / "home", asked.disk or here, here / "service.log", asked, console)
    only = f" --only '{asked.only}'" if asked.only else ""
    notes = (
        f"`python -m benchmarks.faults --seconds {asked.seconds:g}{only}`: {CLIENTS} clients ask "
        "while it lasts. The record is a SQLite file"
        + (f" on a tmpfs of {SMALL_DISK}" if asked.disk else "; as root also a full disk is made")
        + ". A ledger that is locked can still be read, a record that is slow is waited for, "
        "and on a full disk SQLite may write in the place of what its log no longer needs."
    )
    return 0 if publish(console, asked.page, TITLE, found, notes) else 1


def _on_a_small_disk(arguments: list[str]) -> int:
    """Run again with a small disk of its own, which nobody else sees."""
    with_disk = (
        'mkdir -p "$1" && mount -t tmpfs -o size=$2 tmpfs "$1" && d="$1" && shift 2 && '
        'exec "$0" -m benchmarks.faults --disk "$d" "$@"'
    )
    folder = f"/tmp/encours-disk-{os.getpid()}"  # noqa: S108 (in a mount namespace of our own)
    command = ["unshare", "-m", "sh", "-c", with_disk, sys.executable, folder, SMALL_DISK]
    try:
        return subprocess.run([*command, *arguments], check=False).returncode  # noqa: S603
    finally:
        with suppress(OSError):
            Path(folder).rmdir()


if __name__ == "__main__":
    sys.exit(main())
