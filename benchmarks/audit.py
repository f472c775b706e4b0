"""The record's proofs: speed of verification, delay of sealing, and tampering that is found.

Each figure is of one process; what the machine alone takes to read and hash the same bytes is
measured beside it, in processor time, so that a busy machine slows both alike.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.page import PAGE, Row, at_least, at_most, publish
from benchmarks.tampering import Books, tamperings
from features.store import connect, sqlite_url, writing
from serving import audit, export
from serving.audit import Record
from serving.checkpoint_keys import Keys
from serving.merkle import leaf_hash
from serving.sealer import Sealer
from serving.seals import Seals, Witness
from serving.verification import verify

VERIFIER = PAGE.parent / "verify.py"
BODY_BYTES = 6_250  # of an assessment of the demo
ENTRIES_A_SECOND = 100_000
SEALED_SECONDS = 1.0
NOTES = """\
The record: verification reads every entry from SQLite, hashes it anew and compares it with its seal
and with the signed roots; *floor* is the same bytes read by the driver and hashed, nothing else.
Per second of processor time of one core. The delay is from an append's return to the signed
checkpoint, with one entry every 10 ms at most. Tampering: `benchmarks/tampering.py`, against
records of as many entries as stated. Run with `python -m benchmarks.audit`.
"""


def main() -> None:
    """Measure what is asked for, and keep it in the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--tamperings", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=60.0, help="of sealing")
    asked = parser.parse_args()
    rows = bench(asked.entries, asked.tamperings, asked.seconds)
    sys.exit(0 if publish(Console(), PAGE, "The record proves itself", rows, NOTES) else 1)


def bench(entries: int, n_tamperings: int, seconds: float) -> list[Row]:
    """Measure everything."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for size in (500, BODY_BYTES):
            found += verification(Path(folder) / str(size), entries, size)
        found += sealing(Path(folder) / "sealing", seconds)
    return [*found, *tampering(n_tamperings, 10_000)]


def verification(home: Path, entries: int, size: int) -> list[Row]:
    """Measure verification, export and the offline verifier on a record of `entries`."""
    url = fill(home, entries, size)
    sealer = Sealer(url, home, home / "witness")
    _, sealing = processor_time(sealer.seal)
    engine = connect(url, only_reads=True)
    keys = Keys(home / "keys")
    with engine.connect() as connection:
        seals = Seals(connection)
        args = seals, keys.verifiers(), Witness(home / "witness")
        report, verifying = processor_time(lambda: verify(*args))
        if report.fault is not None or report.entries != entries:
            raise AssertionError(report)
        _, floor = processor_time(lambda: read_and_hash(connection))
        file, lines = home / "export.jsonl", keys.public.read_text("utf-8").splitlines()
        _, exporting = processor_time(lambda: write(file, export.export(seals, lines, 0, entries)))
    engine.dispose()
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-I", VERIFIER, file], check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    offline = time.perf_counter() - begun
    what = f"{entries:,} entries of {size:,} bytes"
    return [
        at_least(f"{what}: verified, entries/s", entries / verifying, ENTRIES_A_SECOND, "{:,.0f}"),
        Row(f"{what}: floor, entries/s", f"{entries / floor:,.0f}"),
        Row(f"{what}: sealed, entries/s", f"{entries / sealing:,.0f}"),
        Row(f"{what}: exported, entries/s", f"{entries / exporting:,.0f}"),
        Row(f"{what}: docs/verify.py, entries/s by the clock", f"{entries / offline:,.0f}"),
    ]


def fill(home: Path, entries: int, size: int) -> str:
    """Make a record, quicker than by appending."""
    home.mkdir(parents=True)
    url, rng = sqlite_url(home / "record.db"), Random(1)  # noqa: S311
    Record(url)
    engine, filling = connect(url), rng.randbytes(size)
    for begin in range(0, entries, 5_000):
        places = range(begin, min(begin + 5_000, entries))
        rows = [_entry(place, (b"%d" % place + filling)[:size]) for place in places]
        with writing(engine) as connection:
            connection.execute(audit._entries.insert(), rows)
    engine.dispose()
    return url


def _entry(place: int, body: bytes) -> dict[str, Any]:
    id = str(uuid.UUID(int=place + (1 << 120)))
    digest = leaf_hash(body).hex()
    row = {"id": id, "kind": "assessment", "body": body, "leaf_hash": digest}
    return {**row, "recorded_at": 1_751_447_647_000_000 + place}


def read_and_hash(connection: Any) -> None:
    """Do what no verification can do without."""
    cursor = connection.connection.cursor()
    cursor.execute("SELECT * FROM leaves JOIN entries USING (sequence) ORDER BY tree_index")
    body = [column[0] for column in cursor.description].index("body")
    while rows := cursor.fetchmany(1_000):
        for row in rows:
            leaf_hash(row[body])


def processor_time(work: Callable[[], Any]) -> tuple[Any, float]:
    """Do a work; give what it gives, and its seconds of processor time."""
    begun = time.process_time()
    result = work()
    return result, time.process_time() - begun


def write(file: Path, lines: Any) -> None:
    """Write lines."""
    with file.open("w", encoding="utf-8") as opened:
        opened.writelines(lines)


def sealing(home: Path, seconds: float) -> list[Row]:
    """Append for a while, and measure how long each entry waits for its checkpoint."""
    url = sqlite_url(home / "record.db")
    record, sealer = Record(url), Sealer(url, home, home / "witness")
    sealer.start()
    appended, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        record.append(str(uuid.uuid4()), "assessment", b"x" * BODY_BYTES)
        appended.append(time.time())
        time.sleep(0.005)
    sealer.stop()
    engine = connect(url, only_reads=True)
    delays: list[float] = []
    with engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT size, sealed_at FROM checkpoints ORDER BY size")
        for size, at in found:
            delays += [at / 1e6 - since for since in appended[len(delays) : size]]
    engine.dispose()
    p50, p99, longest = np.percentile(delays, [50, 99, 100])
    what = f"{len(delays):,} entries in {seconds:.0f} s"
    return [
        at_most(f"{what}: sealed within, p99, s", p99, SEALED_SECONDS, "{:.2f}"),
        Row(f"{what}: median and longest", f"{p50:.2f} s, {longest:.2f} s"),
    ]


def tampering(n: int, entries: int) -> list[Row]:
    """Tamper with a record at random, and count what is found and named right."""
    books, found = Books.made(entries), 0
    for one in tamperings(books, n, seed=7):
        found += one.is_found_by(one.books.verify())
    what = f"{n:,} ways of tampering with {entries:,} entries: first bad entry named, %"
    return [at_least(what, 100 * found / n, 100, "{:.2f}")]


if __name__ == "__main__":
    main()
