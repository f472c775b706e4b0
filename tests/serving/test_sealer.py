"""The sealer: what it signs, what it refuses to sign, and that only one does."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pysqlite3
import pytest
import sqlalchemy as sa
import structlog

from features.store import connect
from models.key_file import KeyFileError
from models.workspace import Workspace
from serving import merkle, sealer
from serving.audit import Record
from serving.checkpoint import Checkpoint, NoteError, opened
from serving.checkpoint_keys import Keys
from serving.sealer import Alarm, Sealer
from serving.seals import Seals, Stored, columns
from tests.features.postgres import postgres

ROOT = Path(__file__).parents[2]


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return Workspace(tmp_path / "home")


@pytest.fixture
def record(workspace) -> Record:
    return Record(workspace.record_url)


def append(record: Record, *bodies: str) -> None:
    for body in bodies:
        record.append(f"id-{body}", "assessment", body.encode())


def seal(workspace: Workspace) -> int:
    return Sealer.of(workspace).seal()


def stored(workspace: Workspace) -> list[Stored]:
    with connect(workspace.record_url).connect() as connection:
        return list(Seals(connection).checkpoints())


def checkpoints(workspace: Workspace) -> list[Checkpoint]:
    verifiers = Keys(workspace.home / "keys").verifiers()
    return [opened(one.note, verifiers) for one in stored(workspace)]


def tamper(workspace: Workspace, *statements: str) -> None:
    """Do what the triggers forbid, as somebody who owns the file can."""
    with connect(workspace.record_url).begin() as connection:
        triggers = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type='trigger'")
        for (name,) in triggers.all():
            connection.exec_driver_sql(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.exec_driver_sql(statement)


def naive_roots(workspace: Workspace, size: int) -> tuple[bytes, bytes]:
    with connect(workspace.record_url).connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT sequence, recorded_at, kind, id, body FROM entries ORDER BY sequence LIMIT ?",
            (size,),
        ).all()
    beside = [columns(s, at, kind.encode(), id.encode()) for s, at, kind, id, _ in rows]
    bodies = merkle.root(map(merkle.leaf_hash, [row[-1] for row in rows]))
    return bodies, merkle.root(map(merkle.leaf_hash, beside))


# What is sealed.


def test_a_checkpoint_signs_the_roots_of_all_that_is_committed(workspace, record):
    append(record, "a", "b", "c")
    assert seal(workspace) == 3
    append(record, "d", "e")
    assert seal(workspace) == 2
    found = checkpoints(workspace)
    assert [one.size for one in found] == [3, 5]
    for one in found:
        assert (one.root, one.columns) == naive_roots(workspace, one.size)
    assert len({one.origin for one in found}) == 1


def test_without_new_entries_nothing_is_signed(workspace, record):
    assert seal(workspace) == 0
    assert stored(workspace) == []
    assert not (workspace.home / "keys").exists()
    append(record, "a")
    assert [seal(workspace) for _ in range(3)] == [1, 0, 0]
    assert len(stored(workspace)) == 1


def test_a_record_of_before_is_sealed_from_its_first_entry(workspace, record, monkeypatch):
    monkeypatch.setattr(sealer, "MOST_AT_ONCE", 4)
    append(record, *"abcdefghij")
    assert seal(workspace) == 10
    assert [one.size for one in checkpoints(workspace)] == [4, 8, 10]


def test_the_key_is_its_owners_alone_and_not_in_the_database(workspace, record):
    append(record, "a")
    seal(workspace)
    key = workspace.home / "keys" / "record.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o400
    assert b"PRIVATE" not in (workspace.home / "record.db").read_bytes()


def test_each_checkpoint_is_copied_to_the_witness(workspace, record):
    for body in "abc":
        append(record, body)
        seal(workspace)
    files = sorted(workspace.witness.iterdir())
    assert [file.name for file in files] == [f"00000000000{n}.txt" for n in (1, 2, 3)]
    assert [file.read_text() for file in files] == [one.note for one in stored(workspace)]


def test_the_environment_names_the_witness(monkeypatch, tmp_path):
    monkeypatch.setenv("ENCOURS_WITNESS", str(tmp_path / "other disk"))
    assert Workspace.from_environment().witness == tmp_path / "other disk"
    assert Workspace(tmp_path).witness == tmp_path / "witness"


def test_copies_that_the_witness_misses_are_handed_in_later(workspace, record):
    append(record, "a")
    workspace.witness.write_text("no folder")
    with pytest.raises(OSError, match="witness"):
        seal(workspace)
    assert len(stored(workspace)) == 1
    workspace.witness.unlink()
    append(record, "b")
    assert seal(workspace) == 1
    assert len(list(workspace.witness.iterdir())) == 2


# What is not.


def refusal(workspace: Workspace) -> str:
    """Seal, and expect that nothing is signed or copied."""
    before, copies = stored(workspace), sorted(workspace.witness.glob("*"))
    with pytest.raises(Alarm) as alarm:
        seal(workspace)
    assert stored(workspace) == before
    assert sorted(workspace.witness.glob("*")) == copies
    return str(alarm.value)


@pytest.fixture
def sealed(workspace, record) -> Workspace:
    """Give a record of three sealed entries."""
    append(record, "a", "b", "c")
    seal(workspace)
    return workspace


def test_a_bit_that_flipped_on_its_way_to_the_disk_is_not_sealed(sealed, record, monkeypatch):
    append(record, "d")
    add = record._add.run
    monkeypatch.setattr(record._add, "run", lambda cursor, row: add(cursor, {**row, "body": b"f"}))
    append(record, "g")  # the hash is of g, and f is stored
    assert "entry 5 does not have the leaf hash" in refusal(sealed)


def test_a_bit_that_flips_as_it_is_read_back_is_not_sealed(sealed, record, monkeypatch):
    append(record, "d")
    read = Seals.entries

    def flipped(self, *given):
        return [entry._replace(body=b"e") for entry in read(self, *given)]

    monkeypatch.setattr(Seals, "entries", flipped)
    assert "entry 4 does not have the leaf hash" in refusal(sealed)
    monkeypatch.undo()
    assert seal(sealed) == 1


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("DELETE FROM entries WHERE sequence = 2", "entry 2 was sealed and is not there"),
        ("DELETE FROM leaves WHERE tree_index = 2", "2 leaves stand there, of 3"),
        ("UPDATE checkpoints SET frontier = x''", "3 leaves have 2 subtrees"),
        ("UPDATE checkpoints SET frontier = zeroblob(128)", "does not extend"),
        ("UPDATE checkpoints SET size = 2", "2 leaves have 1 subtrees"),
        ("UPDATE checkpoints SET note = replace(note, char(10) || '3', char(10) || '4')", "wrong"),
        ("UPDATE checkpoints SET note = 'x'", "no signed note"),
        ("DELETE FROM checkpoints", "signed"),
        ("UPDATE entries SET sequence = 7 WHERE sequence = 3", "entry 3 was sealed and is not"),
    ],
)
def test_a_tree_that_is_not_what_was_signed_is_not_extended(sealed, record, statement, reason):
    tamper(sealed, statement)
    append(record, "d")
    assert reason in refusal(sealed)


def test_what_was_removed_before_it_was_sealed_is_missed(sealed, record):
    append(record, "d", "e")
    tamper(sealed, "DELETE FROM entries WHERE sequence = 4")
    assert "entry 4 was removed before it was sealed" in refusal(sealed)


def test_an_entry_put_among_sealed_ones_is_not_sealed(sealed, record):
    tamper(sealed, "INSERT INTO entries VALUES (-1, 'x', 'override', x'7b7d', 'x', 0)")
    append(record, "d")
    assert "entry -1 was inserted among entries that were sealed before" in refusal(sealed)


def test_entries_that_were_moved_before_they_were_sealed_are_missed(workspace, record):
    append(record, "a", "b", "c")
    tamper(workspace, "UPDATE entries SET sequence = sequence + 10 WHERE sequence > 1")
    with pytest.raises(Alarm, match="entry 2 was removed"):
        seal(workspace)


def test_an_older_copy_of_the_record_is_not_extended(sealed, record, tmp_path):
    with pysqlite3.connect(sealed.home / "record.db") as connection:
        connection.execute("VACUUM INTO ?", (str(tmp_path / "old.db"),))
    append(record, "d")
    seal(sealed)
    for file in sealed.home.glob("record.db*"):
        file.unlink()
    shutil.copy(tmp_path / "old.db", sealed.home / "record.db")
    append(Record(sealed.record_url), "e")
    assert "older copy" in refusal(sealed)


def test_a_fork_is_not_extended(sealed, record, tmp_path):
    """The older copy goes on elsewhere; its next checkpoint has the size of one already held."""
    other = Workspace(tmp_path / "other")
    shutil.copytree(sealed.home, other.home)
    append(record, "d")
    seal(sealed)
    append(Record(other.record_url), "x")
    seal(other)
    one = Sealer(other.record_url, other.home, sealed.witness)
    with pytest.raises(Alarm, match="forked"):
        one.seal()


def test_without_the_key_that_signed_before_none_is_made(sealed, record):
    append(record, "d")
    shutil.rmtree(sealed.home / "keys")
    with pytest.raises((KeyFileError, Alarm)):
        seal(sealed)
    assert len(stored(sealed)) == 1
    assert not (sealed.home / "keys").exists()


def test_a_key_lost_while_the_sealer_runs_is_not_made_anew(workspace, record):
    one = Sealer.of(workspace)
    append(record, "a")
    with one._lock() as connection:
        assert one._seal_all(connection) == 1
        shutil.rmtree(workspace.home / "keys")
        append(record, "b")
        with pytest.raises(KeyFileError, match="is missing"):
            one._seal_all(connection)
    assert not (workspace.home / "keys").exists()


def test_checkpoints_changed_while_the_sealer_runs_are_missed(workspace, record):
    one = Sealer.of(workspace)
    append(record, "a")
    with one._lock() as connection:
        assert one._seal_all(connection) == 1
        tamper(workspace, "DELETE FROM checkpoints")
        append(record, "b")
        with pytest.raises(Alarm, match="was sealed to 1 entries, and now to 0"):
            one._seal_all(connection)
    assert stored(workspace) == []


def test_another_records_key_does_not_sign_this_one(sealed, record, tmp_path):
    other = Workspace(tmp_path / "other")
    append(Record(other.record_url), "x")
    seal(other)
    append(record, "d")
    shutil.rmtree(sealed.home / "keys")
    shutil.copytree(other.home / "keys", sealed.home / "keys")
    assert "no known key signed it" in refusal(sealed)


@pytest.mark.parametrize("table", ["leaves", "checkpoints"])
def test_seals_cannot_be_changed_removed_or_replaced(sealed, table):
    for statement in (
        "UPDATE {} SET rowid = rowid + 7",
        "DELETE FROM {}",
        "INSERT OR REPLACE INTO {0} SELECT * FROM {0}",
    ):
        with (
            pytest.raises(sa.exc.IntegrityError, match="append-only"),
            connect(sealed.record_url).begin() as connection,
        ):
            connection.exec_driver_sql(statement.format(table))


# Keys that change.


def test_the_next_checkpoint_after_a_change_is_signed_by_both_keys(sealed, record):
    keys = Keys(sealed.home / "keys")
    (old,) = keys.verifiers()
    new = keys.rotate()
    assert keys.verifiers() == [old, new]
    for body in "de":
        append(record, body)
        seal(sealed)
    first, both, last = (one.note for one in stored(sealed))
    for note, by in ((first, {old}), (both, {old, new}), (last, {new})):
        for verifier in (old, new):
            if verifier in by:
                opened(note, [verifier])
            else:
                with pytest.raises(NoteError, match="no known key"):
                    opened(note, [verifier])
    assert sorted(file.name for file in (sealed.home / "keys").iterdir()) == [
        "record.keys",
        "record.pem",
    ]


def test_a_key_is_changed_once_between_two_checkpoints(sealed, record):
    keys = Keys(sealed.home / "keys")
    keys.rotate()
    with pytest.raises(KeyFileError, match="wait for the next checkpoint"):
        keys.rotate()
    append(record, "d")
    seal(sealed)
    keys.rotate()
    assert len(keys.verifiers()) == 3


def test_before_the_first_checkpoint_there_is_no_key_to_change(workspace, tmp_path):
    (tmp_path / "keys").mkdir()
    with pytest.raises(KeyFileError, match="is missing"):
        Keys(tmp_path / "keys").rotate()


def test_a_change_of_keys_cut_short_anywhere_leaves_a_key_that_signs(sealed, record, monkeypatch):
    keys, folder = Keys(sealed.home / "keys"), sealed.home / "keys"

    def fail(*_):
        raise OSError("cut short")

    for n, (owner, name) in enumerate(
        [(sealer.key_file, "replace"), (sealer.key_file.os, "link"), (Path, "replace")]
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, fail)
            with pytest.raises(OSError, match="cut short"):
                keys.rotate()
        append(record, f"after {n}")
        assert seal(sealed) == 1
    keys.rotate()
    append(record, "at last")
    assert seal(sealed) == 1
    assert not (folder / "record.next.pem").exists()


# The thread.


@pytest.fixture
def quick(monkeypatch):
    """Let the sealer look often, and try again soon."""
    monkeypatch.setattr(sealer, "INTERVAL_SECONDS", 0.02)
    monkeypatch.setattr(sealer, "RETRY_SECONDS", 0.02)


@pytest.fixture
def running(workspace, record) -> Iterator[Callable[[], Sealer]]:
    """Give a function that starts one more sealer; all are stopped."""
    started = []

    def start() -> Sealer:
        started.append(Sealer.of(workspace))
        started[-1].start()
        return started[-1]

    yield start
    for one in started:
        one.stop()


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_entries_are_sealed_within_a_second(workspace, record, running):
    """The 99th percentile over some five seconds of one entry every 10 ms and more."""
    running()
    appended = []
    for n in range(300):
        append(record, f"entry {n}")
        appended.append(time.time())
        time.sleep(0.008)
    wait_until(lambda: bool(stored(workspace)) and stored(workspace)[-1].size == 300)
    with connect(workspace.record_url).connect() as connection:
        found = connection.exec_driver_sql("SELECT size, sealed_at FROM checkpoints ORDER BY size")
        sizes = found.all()
    delays, begin = [], 0
    for size, at in sizes:
        delays += [at / 1e6 - moment for moment in appended[begin:size]]
        begin = size
    assert len(delays) == 300
    assert sorted(delays)[296] <= 1.0


def test_a_stopped_sealer_has_sealed_all_there_was(workspace, record):
    one = Sealer.of(workspace)
    one.start()
    append(record, *"abcde")
    one.stop()
    assert stored(workspace)[-1].size == 5
    Sealer.of(workspace).stop()  # one that was never started


def test_a_sealer_may_start_before_there_is_a_record(tmp_path, quick):
    workspace = Workspace(tmp_path / "fresh")
    with structlog.testing.capture_logs() as logs:
        one = Sealer.of(workspace)
        one.start()
        time.sleep(0.2)
        assert one.readiness() is None
        append(Record(workspace.record_url), "a")
        wait_until(lambda: (workspace.witness / f"{1:012d}.txt").exists())
        one.stop()
    assert logs == []


def test_an_alarm_is_logged_once_and_the_service_is_not_ready(sealed, record, running, quick):
    tamper(sealed, "UPDATE checkpoints SET note = 'x'")
    append(record, "d")
    with structlog.testing.capture_logs() as logs:
        one = running()
        wait_until(lambda: one.readiness() is not None)
        time.sleep(0.2)
    assert "the checkpoint of 3 entries" in one.readiness()
    assert [line["event"] for line in logs] == ["sealing_refused"]
    assert logs[0]["log_level"] == "error"
    assert "the checkpoint" in Sealer.of(sealed).readiness()  # another process sees it


def test_readiness_comes_back_when_the_cause_is_mended(sealed, record, running, quick):
    before = stored(sealed)[0].note
    tamper(sealed, "UPDATE checkpoints SET note = 'x'")
    with structlog.testing.capture_logs():
        one = running()
        wait_until(lambda: one.readiness() is not None)
        with connect(sealed.record_url).begin() as connection:
            connection.exec_driver_sql("UPDATE checkpoints SET note = ?", (before,))
        append(record, "d")
        wait_until(lambda: len(stored(sealed)) == 2)
        wait_until(lambda: one.readiness() is None)


def test_a_sealer_that_fails_for_long_is_not_ready(workspace, record, running, quick, monkeypatch):
    monkeypatch.setattr(sealer, "LATE_SECONDS", 0.1)
    append(record, "a")
    workspace.witness.write_text("no folder")
    with structlog.testing.capture_logs() as logs:
        one = running()
        wait_until(lambda: one.readiness() is not None)
        assert "has not been sealed" in one.readiness()
        workspace.witness.unlink()
        wait_until(lambda: one.readiness() is None)
    assert {line["event"] for line in logs} == {"sealing_failed"}


def test_of_two_sealers_one_seals_and_the_other_takes_over(workspace, record, running, quick):
    first, second = running(), running()
    with ThreadPoolExecutor(2) as pool:
        writers = [
            pool.submit(append, record, *(f"{writer} {n}" for n in range(50)))
            for writer in range(2)
        ]
        for writer in writers:
            writer.result()
    wait_until(lambda: bool(stored(workspace)) and stored(workspace)[-1].size == 100)
    first.stop()
    append(record, "after the first")
    wait_until(lambda: stored(workspace)[-1].size == 101)
    second.stop()
    for one in checkpoints(workspace):
        assert (one.root, one.columns) == naive_roots(workspace, one.size)


PROCESS = """
import json, sys, time
from pathlib import Path
from serving import sealer
from serving.audit import Record
from serving.sealer import Sealer

sealer.INTERVAL_SECONDS = 0.05
url, home, name = sys.argv[1:]
one = Sealer(url, Path(home), Path(home) / "witness")
one.start()
record = Record(url)
for n in range(50):
    record.append(f"{name}-{n}", "assessment", f"{name} {n}".encode())
one.stop()
print(json.dumps(one.readiness()))
"""


def test_two_processes_that_append_and_seal_make_one_tree(workspace, record):
    given = (workspace.record_url, str(workspace.home))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, *given, name],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for name in "ab"
    ]  # fmt: skip
    said = [process.communicate()[0] for process in processes]
    assert [json.loads(text.splitlines()[-1]) for text in said] == [None, None], said
    assert [process.returncode for process in processes] == [0, 0]
    seal(workspace)
    found = checkpoints(workspace)
    assert found[-1].size == 100
    for one in found:
        assert (one.root, one.columns) == naive_roots(workspace, one.size)


# PostgreSQL: gaps, and commits out of order.


@pytest.fixture(scope="module")
def server() -> Iterator[Callable[[], str]]:
    with postgres() as new_url:
        yield new_url


ENTRIES = (
    "CREATE TABLE entries (sequence BIGSERIAL PRIMARY KEY, id TEXT UNIQUE, kind TEXT, body BYTEA, "
    "leaf_hash TEXT, recorded_at BIGINT)"
)


@pytest.fixture
def engine(server) -> Iterator[sa.Engine]:
    engine = connect(server())
    with engine.begin() as connection:
        connection.exec_driver_sql(ENTRIES)
    yield engine
    engine.dispose()


def url_of(engine: sa.Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def insert(connection: sa.Connection, body: str) -> None:
    data = body.encode()
    row = (body, data, merkle.leaf_hash(data).hex())
    connection.exec_driver_sql(
        "INSERT INTO entries (id, kind, body, leaf_hash, recorded_at) "
        "VALUES (%s, 'assessment', %s, %s, 7)",
        row,
    )


def sealed_sequences(engine: sa.Engine) -> list[tuple[int, int]]:
    with engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT tree_index, sequence FROM leaves ORDER BY 1")
        return [tuple(row) for row in found]


def test_on_postgresql_late_commits_are_sealed_in_the_order_they_come(engine, tmp_path):
    one = Sealer(url_of(engine), tmp_path, tmp_path / "witness")
    with engine.connect() as slow, engine.connect() as failing, one._lock() as connection:
        insert(slow, "slow")  # place 1
        insert(failing, "failing")  # place 2, never committed
        with engine.begin() as quick:
            insert(quick, "quick")  # place 3
        assert one._seal_all(connection) == 1
        slow.commit()
        failing.rollback()
        assert one._seal_all(connection) == 1
        with engine.begin() as quick:
            insert(quick, "last")
        assert one._seal_all(connection) == 1
        assert sealed_sequences(engine) == [(0, 3), (1, 1), (2, 4)]
        assert list(one._state.late) == [2]
    assert Sealer(url_of(engine), tmp_path, tmp_path / "witness").seal() == 0


def test_on_postgresql_a_late_commit_is_sealed_by_the_process_that_takes_over(engine, tmp_path):
    url = url_of(engine)
    with engine.connect() as slow:
        insert(slow, "slow")
        with engine.begin() as quick:
            insert(quick, "quick")
        assert Sealer(url, tmp_path, tmp_path / "witness").seal() == 1
        taken_over = Sealer(url, tmp_path, tmp_path / "witness")
        with taken_over._lock() as connection:
            assert taken_over._seal_all(connection) == 0
            slow.commit()
            assert taken_over._seal_all(connection) == 1
    assert sealed_sequences(engine) == [(0, 2), (1, 1)]


def test_on_postgresql_one_sealer_has_the_lock(engine, tmp_path):
    url = url_of(engine)
    first, second = (Sealer(url, tmp_path, tmp_path / "witness") for _ in range(2))
    with engine.begin() as connection:
        insert(connection, "a")
    with first._lock() as ours, second._lock() as theirs:
        assert (ours is None, theirs is None) == (False, True)
    assert second.seal() == 1


def test_on_postgresql_seals_cannot_be_changed(engine, tmp_path):
    with engine.begin() as connection:
        insert(connection, "a")
    Sealer(url_of(engine), tmp_path, tmp_path / "w").seal()
    for statement in (
        "UPDATE leaves SET sequence = 9",
        "DELETE FROM checkpoints",
        "TRUNCATE leaves",
    ):
        with (
            pytest.raises(sa.exc.DBAPIError, match="append-only"),
            engine.begin() as connection,
        ):
            connection.exec_driver_sql(statement)
