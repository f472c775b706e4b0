"""Seals the record: reads again what was committed, and signs how far the tree has grown.

Off the path of an answer. What an answer wrote is read back from the database and hashed anew, so
that a bit that flipped on its way is found before anybody vouches for it. One process seals,
whoever holds the lock; the others wait for it to end. Whatever does not fit is an alarm: nothing is
signed any more, and the service is not ready, until somebody has looked.
"""

from __future__ import annotations

import fcntl
import os
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import sqlalchemy as sa
import structlog

from features.store import connect
from models import key_file
from models.key_file import KeyFileError
from models.workspace import Workspace
from serving import seals
from serving.checkpoint import Checkpoint, NoteError, Signer, opened, signed
from serving.checkpoint_keys import Keys
from serving.seals import Entry, Sealed, Seals, Stored, Trees, Witness

RETRY_SECONDS = 5.0
INTERVAL_SECONDS = 0.5  # an entry waits half of it on average, and at most one second
MOST_AT_ONCE = 5_000  # entries a checkpoint
LATE_SECONDS = 60.0  # unsealed for longer: not ready
FORGOTTEN_SECONDS = 600.0  # no transaction takes longer to commit an entry
LOOKED_BACK = 10_000  # places that may still be committed when another process takes over
_ADVISORY_LOCK = sa.text(
    "SELECT pg_try_advisory_lock(hashtextextended('encours.record ' || current_schema(), 0))"
)
log = structlog.get_logger()


class Alarm(Exception):
    """What is to be sealed does not fit; somebody must look before anything is signed."""


class Sealer:
    """Seals the record of one workspace, in a thread of its own.

    Parameters
    ----------
    url : str
        The record's database.
    home : Path
        Where the keys are, and where the alarm is raised for all processes to see.
    witness : Path
        Folder that gets a copy of each checkpoint.
    """

    def __init__(self, url: str, home: Path, witness: Path) -> None:
        self._engine, self._home = connect(url), home
        weakref.finalize(self, self._engine.dispose)
        self._keys, self._witness = Keys(home / "keys"), Witness(witness)
        self._alarm_file = home / "record.alarm"
        self._state: _State | None = None
        self._failing_since: float | None = None
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="sealer", daemon=True)

    @classmethod
    def of(cls, workspace: Workspace) -> Sealer:
        """Give the sealer of a workspace; copies go to ``ENCOURS_WITNESS``, or beside it."""
        return cls(workspace.record_url, workspace.home, workspace.witness)

    def start(self) -> None:
        """Seal from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Seal what is there, and end."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._engine.dispose()

    def readiness(self) -> str | None:
        """Return ``None`` when the record is sealed as it should, else why not."""
        if self._alarm_file.exists():
            return f"The record is not sealed: {self._alarm_file.read_text('utf-8').strip()}"
        since = self._failing_since
        if since is not None and time.monotonic() - since > LATE_SECONDS:
            return f"The record has not been sealed for {LATE_SECONDS:.0f} s; see the log."
        return None

    def seal(self) -> int:
        """Seal all that is committed now, if no other process does; return how many entries.

        Raises
        ------
        Alarm
            If it does not fit; nothing is signed.
        SQLAlchemyError, OSError
            If database, keys or witness cannot be used now.
        """
        with self._lock() as connection:
            return 0 if connection is None else self._seal_all(connection)

    # The thread.

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._attempt(self._reign)
            self._stopping.wait(INTERVAL_SECONDS)

    def _reign(self) -> None:
        """Seal as long as the lock is held, which is until the end or an error."""
        with self._lock() as connection:
            while connection is not None:
                begun, is_last = time.monotonic(), self._stopping.is_set()
                self._seal_all(connection)
                self._all_is_well()
                if is_last:
                    return
                spent = time.monotonic() - begun  # counts: an entry may come just after the look
                self._stopping.wait(max(INTERVAL_SECONDS - spent, 0))

    def _attempt(self, work: Callable[[], object]) -> None:
        try:
            work()
            return
        except Alarm as alarm:
            self._raise_alarm(str(alarm))
        except (sa.exc.SQLAlchemyError, OSError, KeyFileError, NoteError) as error:
            self._failing_since = self._failing_since or time.monotonic()
            log.error("sealing_failed", error=type(error).__name__)  # its text may hold data
        self._stopping.wait(RETRY_SECONDS)

    def _raise_alarm(self, reason: str) -> None:
        """Say so once, and keep it where every process and whoever starts next sees it."""
        if not self._alarm_file.exists() or self._alarm_file.read_text("utf-8") != reason:
            log.error("sealing_refused", reason=reason)
            key_file.replace(self._alarm_file, reason.encode(), 0o644)

    def _all_is_well(self) -> None:
        self._failing_since = None
        self._alarm_file.unlink(missing_ok=True)

    # One process at a time.

    @contextmanager
    def _lock(self) -> Iterator[sa.Connection | None]:
        """Give the connection that seals; ``None`` when another process does."""
        self._state = None
        if self._engine.dialect.name != "sqlite":
            with self._engine.connect() as connection:
                connection.detach()  # closing it gives the lock back
                with _transaction(connection):
                    is_ours = connection.execute(_ADVISORY_LOCK).scalar_one()
                yield connection if is_ours else None
            return
        file = os.open(self._home / "record.sealer", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if not _try_lock(file):
                yield None
                return
            with self._engine.connect() as connection:
                yield connection
        finally:
            os.close(file)

    # Sealing.

    def _seal_all(self, connection: sa.Connection) -> int:
        state = self._state
        if state is None and not _is_recorded(connection):
            return 0
        if state is None:
            state = self._state = self._open(connection)
        before = state.trees.size
        while self._seal_some(connection, state) == MOST_AT_ONCE:
            pass
        return state.trees.size - before

    def _seal_some(self, connection: sa.Connection, state: _State) -> int:
        with _transaction(connection):
            found = Seals(connection)
            entries = found.entries(state.last, list(state.late), MOST_AT_ONCE)
            _require_no_other_seal(found, state)
        if not entries:
            return 0
        if found.is_dense:
            _require_dense(entries, state.last)
        sealed = [_checked(entry, place) for place, entry in enumerate(entries, state.trees.size)]
        grown = Trees(state.trees.size, state.trees.frontier)
        grown.extend([leaf.leaf_hash for leaf in sealed], [leaf.columns_hash for leaf in sealed])
        signers = self._keys.signers(may_make=state.trees.size == 0)
        note = _signed(state, grown, signers)
        row = {"size": grown.size, "note": note, "frontier": grown.frontier}
        with _transaction(connection, write=True):
            Seals(connection).add(sealed, {**row, "sealed_at": time.time_ns() // 1000})
        state.grow(grown, entries, is_dense=found.is_dense)
        self._hand_in(grown.size, note)
        if len(signers) > 1:
            self._keys.retire()
        return len(entries)

    def _open(self, connection: sa.Connection) -> _State:
        """Take up the tree where the last checkpoint left it, if it stands as it was signed."""
        with _transaction(connection, write=True):
            seals.metadata.create_all(connection)
        with _transaction(connection):
            found = Seals(connection)
            last = found.last()
            state = _State() if last is None else self._taken_up(found, last)
            state.late = _late(found, state)
            self._require_witnessed(found, last)
        return state

    def _taken_up(self, found: Seals, last: Stored) -> _State:
        try:
            checkpoint = opened(last.note, self._keys.verifiers())
        except NoteError as error:
            raise Alarm(f"the checkpoint of {last.size} entries: {error}") from error
        try:
            trees = Trees(last.size, last.frontier)
        except ValueError as error:
            raise Alarm(f"the tree of {last.size} entries: {error}") from error
        if (checkpoint.size, checkpoint.root, checkpoint.columns) != (last.size, *trees.roots):
            raise Alarm(f"the tree does not extend the checkpoint of {last.size} entries")
        if found.count() != last.size:
            raise Alarm(f"{found.count()} leaves stand there, of {last.size} that were sealed")
        if (missing := found.missing()) is not None:
            raise Alarm(f"entry {missing} was sealed and is not there any more")
        return _State(trees, found.last_sequence(), checkpoint.origin)

    def _require_witnessed(self, found: Seals, last: Stored | None) -> None:
        """Compare with the newest copies held, and hand in those that it misses."""
        size = 0 if last is None else last.size
        held = self._witness.sizes()
        if held and held[-1] > size:
            raise Alarm(
                f"a checkpoint of {held[-1]} entries was signed, and the record has one of {size}: "
                "this is an older copy of it"
            )
        newest = held[-1] if held else 0
        for stored in found.checkpoints(beyond=newest - 1):
            self._hand_in(stored.size, stored.note)

    def _hand_in(self, size: int, note: str) -> None:
        if not self._witness.keep(size, note):
            raise Alarm(f"another checkpoint of {size} entries was signed: the record is forked")


class _State:
    """How far the record is sealed.

    Attributes
    ----------
    trees : Trees
    last : int
        Highest sealed place of the record.
    origin : str or None
        ``None`` before the first checkpoint.
    late : dict of int to float
        On PostgreSQL places below that may still be committed, and when that was noticed.
    """

    def __init__(
        self, trees: Trees | None = None, last: int = 0, origin: str | None = None
    ) -> None:
        self.trees, self.last, self.origin = trees or Trees(), last, origin
        self.late: dict[int, float] = {}

    def grow(self, trees: Trees, entries: list[Entry], *, is_dense: bool) -> None:
        """Go on from here."""
        now, places = time.monotonic(), {entry.sequence for entry in entries}
        if not is_dense:
            gaps = set(range(self.last + 1, max(places) + 1)) - places
            waited = {n: at for n, at in self.late.items() if now - at < FORGOTTEN_SECONDS}
            self.late = {n: at for n, at in waited.items() if n not in places}
            self.late |= dict.fromkeys(gaps, now)
        self.trees, self.last = trees, max(self.last, *places)


def _is_recorded(connection: sa.Connection) -> bool:
    """Tell whether there is a record: a service may start before anything is imported."""
    with _transaction(connection):
        return sa.inspect(connection).has_table("entries")


def _late(found: Seals, state: _State) -> dict[int, float]:
    """Find what may still come below the highest sealed place; on SQLite nothing may."""
    strays = found.strays(state.last)
    if found.is_dense and strays:
        raise Alarm(f"entry {strays[0]} was inserted among entries that were sealed before")
    if found.is_dense:
        return {}
    recent = found.unsealed_places(max(state.last - LOOKED_BACK, 0), state.last)
    return dict.fromkeys([*strays, *recent], time.monotonic())


def _checked(entry: Entry, place: int) -> Sealed:
    """Hash an entry as it was read back; it must be what the record says."""
    try:
        body, columns = seals.hashes(entry)
        is_whole = body.hex().encode() == entry.leaf_hash
    except TypeError:
        is_whole = False
    if not is_whole:
        raise Alarm(f"entry {entry.sequence} does not have the leaf hash that it was recorded with")
    return Sealed(place, entry.sequence, body, columns, entry)


def _require_dense(entries: list[Entry], last: int) -> None:
    for place, entry in enumerate(entries, last + 1):
        if entry.sequence != place:
            raise Alarm(f"entry {place} was removed before it was sealed")


def _require_no_other_seal(found: Seals, state: _State) -> None:
    last = found.last()
    size = 0 if last is None else last.size
    if size != state.trees.size:
        raise Alarm(f"the record was sealed to {state.trees.size} entries, and now to {size}")


def _signed(state: _State, grown: Trees, signers: list[Signer]) -> str:
    origin = signers[0].name
    if state.origin not in (None, origin):
        raise Alarm(f"the record's checkpoints are of {state.origin}, the key is of {origin}")
    state.origin = origin
    return signed(Checkpoint(origin, grown.size, *grown.roots).text, signers)


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _transaction(connection: sa.Connection, *, write: bool = False) -> Iterator[None]:
    connection.execution_options(write=write)
    with connection.begin():
        yield
