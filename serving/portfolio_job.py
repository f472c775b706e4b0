"""A portfolio as a job: all customers scored shard by shard into a file, which the record attests.

The facts are those known at one instant, up to one import, and the models those of the start,
whatever is imported or promoted meanwhile: who has the entry can make the same file again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.metadata import version as installed
from multiprocessing import parent_process
from multiprocessing.connection import wait
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from features.compiled import sources_hash
from features.peers import PeerDays
from features.shards import collector_off
from features.store import READ_COLUMNS, Store
from features.workers import Run, processes
from models import grades
from models.bundle import Champions
from models.workspace import Workspace
from serving.answer import iso, to_bytes
from serving.audit import Record
from serving.jobs import FORMATS, Job, Jobs, recorded, sha256_of
from serving.portfolio_scores import SCHEMA, Books, score
from serving.speaking import Speaking

KIND = "portfolio"
SCHEMA_VERSION = 1
INVOICES_A_SHARD = 25_000  # some seconds of work: how often progress is told, or a job cancelled
BOM = b"\xef\xbb\xbf"  # spreadsheets take a file without it for the local encoding
RISKY = r"^([=+\-@\t\r\n＝＋－＠])"  # OWASP, CSV injection; full-width ones count as formulas too


class PortfolioError(RuntimeError):
    """The job cannot be done; the message says why, without customer data."""


class Unwanted(Exception):
    """The job was cancelled, or the service stops."""


class Shard(NamedTuple):
    """A stretch of customers: its place, its first and last, and those wanted of it or ``None``."""

    place: int
    customers: tuple[str, str]
    wanted: tuple[str, ...] | None


@dataclass(frozen=True)
class Work:
    """What is the same for every shard.

    Attributes
    ----------
    workspace : Workspace
    ledger_id : str
    champions : Champions
        The models and the policy that speak.
    sequence, observed_from : int
        The last import that counts; first day the ledger knows anything of.
    known_at : int
        Facts recorded before this instant count, in microseconds since 1970.
    as_of : int
        Exclusive date, in days.
    sources : str
        Hash of the code of the features, the same in every process.
    sees : frozenset of str or None
        Whom the asker may see; ``None`` is all.
    peers : PeerDays
    """

    workspace: Workspace
    ledger_id: str
    champions: Champions
    sequence: int
    observed_from: int
    known_at: int
    as_of: int
    sources: str
    sees: frozenset[str] | None
    peers: PeerDays = field(repr=False)


class Where(Protocol):
    """Gives what runs the shards; see :mod:`features.workers`."""

    def __call__(self) -> AbstractContextManager[Run]:
        """Open it."""


def in_processes() -> AbstractContextManager[Run]:
    """Score in processes of this machine, one a core, that let others go first."""
    return processes(max(1, min(4, os.cpu_count() or 1)), be_modest)


def be_modest() -> None:
    """Prepare a process that scores: it lets others go first, and ends with the service."""
    os.nice(10)  # an order that waits for its answer goes first
    parent = parent_process()
    assert parent is not None  # noqa: S101 (for the type checker)
    Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End with the service, even when it was killed: nobody would read what is scored."""
    wait([parent])
    os._exit(1)


def run(
    job: Job,
    jobs: Jobs,
    store: Store,
    record: Record,
    workspace: Workspace,
    now: datetime,
    where: Where = in_processes,
    is_stopping: Callable[[], bool] = lambda: False,
) -> None:
    """Do a job from its start to its end on the record.

    Parameters
    ----------
    job : Job
        That runs.
    jobs : Jobs
        Told how far it is, and that it is done.
    store, record, workspace
    now : datetime
        Facts known at this instant count, UTC.
    where : Where
    is_stopping : callable
        Asked between shards.

    Raises
    ------
    Unwanted
        Nothing of the result is left.
    PortfolioError, BundleError, PolicyError
    """
    work, shards, total = plan(job, store, workspace, now)
    done = 0

    def progress(rows: int) -> None:
        nonlocal done
        done += rows
        if is_stopping() or not jobs.report(job.id, done, total):
            raise Unwanted

    progress(0)
    drafts = {format: jobs.draft(job.id, format) for format in FORMATS}
    with where() as there:
        rows = write(in_order(there(score_shard, shards, work), progress), drafts)
    if not jobs.seal(job.id):
        raise Unwanted
    files = {format: _published(jobs, job.id, format) for format in FORMATS}
    wanted = _wanted(job)
    named = None if wanted is None else record.persons.hidden(wanted)
    body = _entry(job, work, rows, files, named)
    record.append(job.id, KIND, to_bytes(body))
    result = recorded(record, job.id)
    assert result is not None  # noqa: S101 (for the type checker)
    jobs.finish(job.id, result)


def plan(
    job: Job, store: Store, workspace: Workspace, now: datetime
) -> tuple[Work, list[Shard], int]:
    """Fix what speaks and what is known, and cut the customers into shards.

    Returns
    -------
    Work
    list of Shard
    int
        About how many customers they hold.
    """
    ledger, sequence = store.ledger, store.sequence()
    champions = Champions.load(workspace.champions)
    Speaking.load(workspace, ledger.id, champions)  # says at once what no worker could use
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    work = Work(
        workspace=workspace,
        ledger_id=ledger.id,
        champions=champions,
        sequence=sequence,
        observed_from=ledger.observed_from,
        known_at=(now - epoch) // timedelta(microseconds=1),
        as_of=(now.date() - epoch.date()).days + 1,
        sources=sources_hash(),
        sees=None if job.sees is None else frozenset(job.sees),
        peers=store.peers(sequence),
    )
    stretches = store.customer_shards(INVOICES_A_SHARD)
    wanted = _wanted(job)
    if wanted is None:
        shards = [Shard(place, each, None) for place, each in enumerate(stretches)]
        return work, shards, store.count_customers()
    return work, _cut(wanted, stretches), len(wanted)


def _wanted(job: Job) -> list[str] | None:
    """List the customers of a job, each once; ``None`` is all."""
    if job.customers is None and job.sees is None:
        return None
    return sorted({*(job.customers if job.customers is not None else job.sees or ())})


def _cut(wanted: Sequence[str], stretches: Sequence[tuple[str, str]]) -> list[Shard]:
    """Cut a list like the whole; one beyond every stretch goes with the nearest before it."""
    shards: list[Shard] = []
    begin = 0
    for place, (_, last) in enumerate(stretches or [("", "")]):
        end = begin
        is_last = place >= len(stretches) - 1
        while end < len(wanted) and (is_last or wanted[end] <= last):
            end += 1
        if end > begin:
            own = tuple(wanted[begin:end])
            shards.append(Shard(len(shards), (own[0], own[-1]), own))
        begin = end
    return shards


class Scored(NamedTuple):
    """The rows of a shard."""

    place: int
    rows: pa.Table


def score_shard(shard: Shard, work: Work) -> Scored:
    """Score the customers of a shard."""
    if work.sources != sources_hash():
        raise PortfolioError("a worker runs other code than the service: restart it")
    store = _store(work.workspace.facts_url)
    speaking = _speaking(work.workspace, work.ledger_id, json.dumps(asdict(work.champions)))
    with collector_off():
        facts = store.read(
            customers=shard.customers,
            known_at=work.known_at,
            sequence=work.sequence,
            versions=True,
            columns=READ_COLUMNS,
        )
        books = Books.of(facts, work.observed_from, work.peers)
    named = facts["customers"]["customer_id"]
    ids = sorted({*named.tolist()}) if shard.wanted is None else shard.wanted
    return Scored(shard.place, score(books, ids, work.as_of, speaking, work.sees))


_store = cache(Store)


@cache
def _speaking(workspace: Workspace, ledger_id: str, champions: str) -> Speaking:
    return Speaking.load(workspace, ledger_id, Champions(**json.loads(champions)))


def in_order(scored: Iterator[Scored], progress: Callable[[int], None]) -> Iterator[pa.Table]:
    """Give the rows of the shards in their order, and tell of each as soon as it is there."""
    waiting: dict[int, pa.Table] = {}
    following = 0
    for place, rows in scored:
        progress(rows.num_rows)
        waiting[place] = rows
        while following in waiting:
            yield waiting.pop(following)
            following += 1


def write(parts: Iterator[pa.Table], files: dict[str, Path]) -> int:
    """Write the same rows as Parquet and as CSV; return their number."""
    n = 0
    options = pyarrow.csv.WriteOptions(quoting_style="needed")
    with (
        pq.ParquetWriter(files["parquet"], SCHEMA, compression="zstd") as parquet,
        files["csv"].open("wb") as text,
    ):
        text.write(BOM)
        with pyarrow.csv.CSVWriter(text, SCHEMA, write_options=options) as csv:
            for rows in parts:
                parquet.write_table(rows)
                csv.write_table(harmless(rows))
                n += rows.num_rows
    return n


def harmless(rows: pa.Table) -> pa.Table:
    """Put a quote before text that a spreadsheet would run; a negative number stays a number."""
    for place, column in enumerate(rows.schema):
        if pa.types.is_string(column.type):
            quoted = pc.replace_substring_regex(rows[place], RISKY, r"'\1")
            rows = rows.set_column(place, column, quoted)
    return rows


def _published(jobs: Jobs, id: str, format: str) -> dict[str, Any]:
    """Make a draft the result: on disk, then in its place, whole."""
    draft, file = jobs.draft(id, format), jobs.file(id, format)
    with draft.open("rb") as opened:
        os.fsync(opened.fileno())
    said = {"sha256": sha256_of(draft), "bytes": draft.stat().st_size}
    draft.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return said


def _entry(
    job: Job, work: Work, rows: int, files: dict[str, Any], customers: list[str] | None
) -> dict[str, Any]:
    """Say all that it takes to make the same file again."""
    champions = work.champions
    return {
        "schema": SCHEMA_VERSION,
        "id": job.id,
        "actor": job.actor,
        "ledger_id": work.ledger_id,
        "sequence": work.sequence,
        "known_at_microseconds": work.known_at,
        "observed_from": work.observed_from,
        "as_of": iso(work.as_of),
        "customers": customers,
        "versions": {
            "late": champions.late,
            "default": champions.default,
            "policy": champions.policy,
            "grades": grades.SCALE,
            "features": work.sources,
            "code": installed("encours"),
            "pyarrow": pa.__version__,
        },
        "result": {"rows": rows, "files": files},
    }
