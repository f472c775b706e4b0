"""Jobs: what was asked for in bulk and is worked on while nobody waits, on disk from the start.

Below ``ENCOURS_HOME/jobs`` stand ``jobs.db``, the state of every job; the results, each a file that
appears whole; and a file a process that runs jobs, which it holds locked while it lives. A job goes
``queued`` → ``running`` → ``done`` or ``failed``, and may be ``cancelled`` before its end::

    the service is stopped while J1 runs and J2 waits; it starts again
    J1  failed, "the service stopped while it ran: ask again"     nothing of it is left
    J2  queued, and runs now

A result is first on disk, then on the record, then the job is done: one that stopped in between is
done when it is looked at next, if the record has it, else it failed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import sqlalchemy as sa

from features.store import connect, sqlite_url, writing
from features.store_persons import overwrite, tidy
from serving.audit import Record

Status = Literal["queued", "running", "done", "failed", "cancelled"]
FORMATS = ("parquet", "csv")
STOPPED = "the service stopped while it ran: ask again"
_metadata = sa.MetaData()
_jobs = sa.Table(
    "jobs",
    _metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("client", sa.Text, nullable=False),
    sa.Column("actor", sa.JSON, nullable=False),
    sa.Column("sees", sa.JSON(none_as_null=True)),  # the customers of its key; null is all
    sa.Column("customers", sa.JSON(none_as_null=True)),  # asked for; null is all
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("is_sealed", sa.Boolean, nullable=False, default=False),
    sa.Column("reason", sa.Text),
    sa.Column("runner", sa.Text),
    sa.Column("done", sa.Integer, nullable=False, default=0),
    sa.Column("total", sa.Integer),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("started_at", sa.Float),
    sa.Column("ended_at", sa.Float),
    sa.Column("result", sa.JSON(none_as_null=True)),
)


@dataclass(frozen=True)
class Job:
    """One job; instants are seconds since 1970.

    Attributes
    ----------
    id : str
    client : str
        Who asked.
    actor : dict of str to str
        For the record.
    sees : list of str or None
        The customers that the asker's key is for; ``None`` is all.
    customers : list of str or None
        Those asked for; ``None`` is all that the key is for.
    status : str
    is_sealed : bool
        The result is being recorded: too late to cancel.
    reason : str or None
        Why it failed.
    runner : str or None
        The process that works on it.
    done, total : int, int or None
        Customers; the total is known once it runs.
    created_at, started_at, ended_at : float or None
    result : dict or None
        What the record says of it: ``rows``, and ``files`` with their SHA-256, by format.
    """

    id: str
    client: str
    actor: dict[str, str]
    sees: list[str] | None
    customers: list[str] | None
    status: Status
    is_sealed: bool
    reason: str | None
    runner: str | None
    done: int
    total: int | None
    created_at: float
    started_at: float | None
    ended_at: float | None
    result: dict[str, Any] | None

    @property
    def eta_seconds(self) -> int | None:
        """Seconds that it will still take, judged by those it took."""
        if self.status != "running" or not self.done or self.total is None:
            return None
        assert self.started_at is not None  # noqa: S101 (for the type checker)
        passed = time.time() - self.started_at
        return round(passed / self.done * (self.total - self.done))


class Jobs:
    """The jobs of one home; several processes may share it.

    Parameters
    ----------
    folder : Path
        Made when missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._engine = connect(sqlite_url(folder / "jobs.db"))
        with writing(self._engine) as connection:
            _metadata.create_all(connection)
        self.runner = uuid4().hex
        self._held = self._lock(self.runner).open("wb")
        fcntl.flock(self._held, fcntl.LOCK_EX)

    def close(self) -> None:
        """Let go of the lock that says this process lives."""
        self._held.close()
        self._lock(self.runner).unlink(missing_ok=True)
        self._engine.dispose()

    def _lock(self, runner: str) -> Path:
        return self.folder / f"runner-{runner}.lock"

    def file(self, id: str, format: str) -> Path:
        """Where a job's result stands once it is done."""
        return self.folder / f"{id}.{format}"

    def draft(self, id: str, format: str) -> Path:
        """Where it is written first."""
        return self.folder / f"{id}.{format}.draft"

    # --- From queued to its end ----------------------------------------------------------

    def add(
        self,
        id: str,
        actor: dict[str, str],
        sees: list[str] | None,
        customers: list[str] | None,
        most_waiting: int,
    ) -> Job | None:
        """Queue a job; one that is there already stays as it is. ``None``: too many wait."""
        said: dict[str, Any] = {"id": id, "client": actor["client"], "actor": actor, "sees": sees}
        said |= {"customers": customers, "status": "queued", "created_at": time.time()}
        queued = sa.select(sa.func.count()).where(_jobs.c.status == "queued")
        with writing(self._engine) as connection:
            is_there = connection.scalar(sa.select(_jobs.c.id).where(_jobs.c.id == id)) is not None
            if not is_there:
                if (connection.scalar(queued) or 0) >= most_waiting:
                    return None
                connection.execute(_jobs.insert(), said)
        return self.find(id)

    def find(self, id: str) -> Job | None:
        """Return a job."""
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(_jobs).where(_jobs.c.id == id)).first()
        return None if row is None else Job(**row._mapping)

    def some_wait(self) -> bool:
        """Tell whether a job is queued."""
        with self._engine.connect() as connection:
            waiting = sa.select(_jobs.c.id).where(_jobs.c.status == "queued").limit(1)
            return connection.scalar(waiting) is not None

    def take(self, most_running: int) -> Job | None:
        """Take the job that has waited longest, unless as many as may run do already."""
        running = sa.select(sa.func.count()).where(_jobs.c.status == "running")
        first = (
            sa.select(_jobs.c.id)
            .where(_jobs.c.status == "queued")
            .order_by(_jobs.c.created_at, _jobs.c.id)
            .limit(1)
        )
        with writing(self._engine) as connection:
            id = connection.scalar(first)
            if id is None or (connection.scalar(running) or 0) >= most_running:
                return None
            begun = {"status": "running", "runner": self.runner, "started_at": time.time()}
            connection.execute(_jobs.update().where(_jobs.c.id == id), begun)
        return self.find(id)

    def report(self, id: str, done: int, total: int) -> bool:
        """Note how far a job is; tell whether it is still wanted."""
        return self._change(id, {"done": done, "total": total}, _jobs.c.status == "running")

    def seal(self, id: str) -> bool:
        """Begin to record a job's result; tell whether it is still wanted."""
        return self._change(id, {"is_sealed": True}, _jobs.c.status == "running")

    def finish(self, id: str, result: dict[str, Any]) -> None:
        """Note that a job's result is on disk and on the record."""
        ended = {"status": "done", "result": result, "ended_at": time.time()}
        ended |= {"done": result["rows"], "total": result["rows"]}
        self._change(id, ended, _jobs.c.status == "running")

    def fail(self, id: str, reason: str) -> None:
        """Note why a job failed, and leave nothing of its result."""
        self._remove_files(id)
        ended = {"status": "failed", "reason": reason, "ended_at": time.time(), "is_sealed": False}
        self._change(id, ended, _jobs.c.status == "running")

    def settle(self, id: str, reason: str) -> None:
        """Note that a job failed; of one that may be on the record, :meth:`recover` decides."""
        nobody_has_it = {"runner": ""}
        if not self._change(id, nobody_has_it, _jobs.c.is_sealed & (_jobs.c.status == "running")):
            self.fail(id, reason)

    def cancel(self, id: str) -> bool:
        """Cancel a job that waits or runs; tell whether it was in time."""
        ended = {"status": "cancelled", "ended_at": time.time()}
        may = _jobs.c.status.in_(("queued", "running")) & ~_jobs.c.is_sealed
        return self._change(id, ended, may)

    def _change(self, id: str, values: dict[str, Any], when: sa.ColumnElement[bool]) -> bool:
        with writing(self._engine) as connection:
            changed = connection.execute(_jobs.update().where(_jobs.c.id == id, when), values)
        return bool(changed.rowcount == 1)

    # --- Erasure -------------------------------------------------------------------------

    def some_run(self) -> bool:
        """Tell whether a job is at work."""
        with self._engine.connect() as connection:
            running = sa.select(_jobs.c.id).where(_jobs.c.status == "running").limit(1)
            return connection.scalar(running) is not None

    def forget(self, customer_ids: Collection[str], holds: Callable[[Path], bool]) -> None:
        """Take customers from the lists of all jobs, and remove the results that they are in.

        Parameters
        ----------
        customer_ids : collection of str
        holds : callable
            Tells of a result in Parquet whether it holds one of them.
        """
        with writing(self._engine) as connection:
            overwrite(connection)
            for row in connection.execute(sa.select(_jobs)).all():
                lists = {"sees": row.sees, "customers": row.customers}
                left = {
                    name: [one for one in listed if one not in customer_ids]
                    for name, listed in lists.items()
                    if listed
                }
                if left:
                    connection.execute(_jobs.update().where(_jobs.c.id == row.id), left)
                file = self.file(row.id, "parquet")
                if file.exists() and holds(file):
                    self._remove_files(row.id)
        tidy(self._engine)

    # --- After a restart -----------------------------------------------------------------

    def recover(self, record: Callable[[], Record]) -> None:
        """Give an end to the jobs whose process is gone.

        Parameters
        ----------
        record : callable
            Opens the record, which knows of a result that its job does not.
        """
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(_jobs).where(_jobs.c.status == "running")).all()
        for job in (Job(**row._mapping) for row in rows):
            if job.runner != self.runner and self._is_gone(str(job.runner)):
                result = recorded(record(), job.id) if job.is_sealed else None
                if result is not None and self._has(job.id, result):
                    self.finish(job.id, result)
                else:
                    self.fail(job.id, STOPPED)

    def _is_gone(self, runner: str) -> bool:
        lock = self._lock(runner)
        if not lock.exists():
            return True
        with lock.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            lock.unlink(missing_ok=True)
            return True

    def _has(self, id: str, result: dict[str, Any]) -> bool:
        """Tell whether the result is whole on disk."""
        for format, said in result["files"].items():
            file = self.file(id, format)
            if not file.exists() or sha256_of(file) != said["sha256"]:
                return False
        return True

    def _remove_files(self, id: str) -> None:
        for format in FORMATS:
            self.file(id, format).unlink(missing_ok=True)
            self.draft(id, format).unlink(missing_ok=True)


def recorded(record: Record, id: str) -> dict[str, Any] | None:
    """Return what the record says of a job's result, if it is there."""
    entry = record.find(id)
    if entry is None:
        return None
    result: dict[str, Any] = json.loads(entry.body)["result"]
    return {**result, "entry": entry.sequence, "leaf_hash": entry.leaf_hash}


def sha256_of(file: Path) -> str:
    """Hash a file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
