"""The record under hostile SQL, full and read-only disks, threads, and kill -9."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pysqlite3
import pytest
import sqlalchemy as sa
import structlog
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    SQLAlchemyError,
)

from features.store import Store, connect, sqlite_url, writing
from features.store_database import why
from models.policy import Order
from serving import audit
from serving.assess import Assessor, NotReady
from serving.audit import AnotherRequest, Entry, Kept, Once, Record, TooLate, leaf_hash
from tests.features.postgres import postgres

ROOT = Path(__file__).parents[2]
ORDER = Order(2_000_00, 120_00, 30)


@pytest.fixture(scope="module")
def new_postgres() -> Iterator[Callable[[], str]]:
    with postgres() as new:
        yield new


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path) -> str:
    if request.param == "postgresql":
        return request.getfixturevalue("new_postgres")()
    return sqlite_url(tmp_path / "record.db")


on_sqlite = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
on_postgres = pytest.mark.parametrize("url", ["postgresql"], indirect=True)


@pytest.fixture
def open_record(url) -> Iterator[Callable[[], Record]]:
    """Open the record once more, as another process would."""
    opened: list[Record] = []

    def open_one() -> Record:
        opened.append(Record(url))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture
def record(open_record) -> Record:
    return open_record()


@contextmanager
def transaction(url: str) -> Iterator[sa.Connection]:
    engine = connect(url)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def rows(url: str) -> list[tuple]:
    engine = connect(url)
    with engine.connect() as connection:
        found = connection.exec_driver_sql(
            "SELECT sequence, id, body, leaf_hash FROM entries ORDER BY sequence"
        ).all()
    engine.dispose()
    return [tuple(row) for row in found]


# An entry.


def test_an_entry_is_found_as_it_was_appended(record):
    body = '{"é": 1, "a": 1e-7}'.encode()
    entry = record.append("a", "assessment", body)
    assert (entry.sequence, entry.id, entry.kind, entry.body) == (1, "a", "assessment", body)
    assert record.find("a") == entry
    assert record.find("b") is None
    assert record.append("b", "assessment", b"{}").sequence == 2


def test_the_leaf_hash_is_that_of_rfc_6962(record, url):
    empty = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert leaf_hash(b"") == empty
    assert leaf_hash(b"L123456") == hashlib.sha256(b"\x00L123456").hexdigest()
    record.append("empty", "assessment", b"")
    record.append("full", "assessment", b"{}")
    assert record.find("empty").leaf_hash == empty
    for _, _, body, stored in rows(url):
        assert stored == hashlib.sha256(b"\x00" + body).hexdigest()


def test_a_record_outlives_its_process(record, open_record):
    entry = record.append("a", "assessment", b"{}")
    assert open_record().find("a") == entry
    assert open_record().append("b", "assessment", b"{}").sequence == 2


# Append only.


@on_sqlite
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET body = x'00'",
        "UPDATE entries SET leaf_hash = 'x' WHERE sequence = 2",
        "UPDATE entries SET recorded_at = 0",
        "UPDATE entries SET sequence = sequence + 10",
        "DELETE FROM entries",
        "DELETE FROM entries WHERE sequence = 3",
        "INSERT OR REPLACE INTO entries VALUES (2, 'new', 'assessment', x'00', 'x', 0)",
        "INSERT OR REPLACE INTO entries VALUES (9, 'b', 'assessment', x'00', 'x', 0)",
        "REPLACE INTO entries (id, kind, body, leaf_hash, recorded_at)"
        " VALUES ('c', 'assessment', x'00', 'x', 0)",
        "INSERT INTO entries VALUES (2, 'new', 'assessment', x'00', 'x', 0)"
        " ON CONFLICT (sequence) DO UPDATE SET body = excluded.body",
    ],
)
def test_entries_cannot_be_changed_removed_or_replaced(record, url, statement):
    for name in "abc":
        record.append(name, "assessment", name.encode())
    before = rows(url)
    with (
        pytest.raises(IntegrityError, match="append-only"),
        transaction(url) as connection,
    ):
        connection.exec_driver_sql(statement)
    assert rows(url) == before


@on_postgres
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET body = ''",
        "UPDATE entries SET recorded_at = 0 WHERE false",
        "DELETE FROM entries WHERE sequence = 3",
        "DELETE FROM requests",
        "UPDATE requests SET entry_id = 'b'",
        "TRUNCATE entries",
        "TRUNCATE entries, requests CASCADE",
        "INSERT INTO entries (sequence, id, kind, body, leaf_hash, recorded_at)"
        " VALUES (2, 'new', 'assessment', '', 'x', 0)"
        " ON CONFLICT (sequence) DO UPDATE SET body = excluded.body",
        "MERGE INTO entries USING (SELECT 2 AS place) AS one ON sequence = place"
        " WHEN MATCHED THEN DELETE",
    ],
)
def test_postgresql_refuses_to_change_what_is_recorded(record, url, statement):
    for name in "abc":
        record.append(name, "assessment", name.encode(), once(name))
    before = rows(url)
    with (
        pytest.raises(DBAPIError, match="append-only"),
        transaction(url) as connection,
    ):
        connection.exec_driver_sql(statement)
    assert rows(url) == before


def test_an_identifier_is_used_once(record, url):
    record.append("a", "assessment", b"first")
    with pytest.raises(IntegrityError):
        record.append("a", "assessment", b"second")
    assert record.find("a").body == b"first"
    assert record.append("b", "assessment", b"{}").sequence >= 2  # PostgreSQL leaves a gap


# A request is answered once.


def once(key: str = "k", fingerprint: str = "f", client: str = "a CRM") -> Once:
    return Once(client, key, fingerprint)


def test_a_request_that_comes_again_gets_the_entry_of_the_first(record, url):
    first = record.append("a", "assessment", b"first", once())
    assert record.answered(once()) == first
    assert record.append("b", "assessment", b"second", once()) == first
    assert [row[1] for row in rows(url)] == ["a"]


def test_keys_of_two_clients_are_two(record):
    record.append("a", "assessment", b"first", once())
    assert record.answered(once(client="another")) is None
    assert record.append("b", "assessment", b"second", once(client="another")).id == "b"


def test_a_key_is_of_one_request(record, url):
    record.append("a", "assessment", b"first", once())
    for ask in (
        lambda: record.answered(once(fingerprint="other")),
        lambda: record.append("b", "assessment", b"second", once(fingerprint="other")),
        lambda: record.keep(once(fingerprint="other"), 200, b"second"),
        lambda: record.keep(once(), 200, b"no entry"),
    ):
        with pytest.raises(AnotherRequest):
            ask()
    assert [row[1] for row in rows(url)] == ["a"]


def test_an_answer_that_is_no_entry_is_kept_too(record):
    assert record.keep(once(), 207, b"first") == Kept(207, b"first")
    assert record.keep(once(), 200, b"second") == Kept(207, b"first")
    assert record.answered(once()) == Kept(207, b"first")
    with pytest.raises(AnotherRequest):
        record.append("a", "assessment", b"an entry", once())


@on_sqlite
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE requests SET entry_id = 'b'",
        "DELETE FROM requests",
        "INSERT OR REPLACE INTO requests VALUES ('a CRM', 'k', 'f', 'b', NULL, NULL, 0)",
    ],
)
def test_what_a_request_was_answered_cannot_be_changed(record, url, statement):
    first = record.append("a", "assessment", b"first", once())
    with (
        pytest.raises(IntegrityError, match="append-only"),
        transaction(url) as connection,
    ):
        connection.exec_driver_sql(statement)
    assert record.answered(once()) == first


def test_many_at_once_are_each_recorded_and_none_twice_for_a_key(record, open_record, url):
    other = open_record()  # another process would be as far

    def ask(number: int) -> Entry:
        written = (record, other)[number % 2]
        key = once(str(number // 4), str(number // 4))
        return written.append(f"e-{number}", "assessment", f"{number}".encode(), key)

    with ThreadPoolExecutor(16) as threads:
        entries = list(threads.map(ask, range(400)))
    stored = rows(url)
    assert len(stored) == 100
    assert [row[0] for row in stored] == list(range(1, 101))
    for number, entry in enumerate(entries):
        assert entry == entries[number // 4 * 4]


def test_those_that_wait_share_a_commit(record, url, monkeypatch):
    commits = []
    monkeypatch.setattr(audit, "writing", lambda engine: commits.append(1) or writing(engine))
    with ThreadPoolExecutor(20) as threads, record._committing:
        asked = [threads.submit(record.append, f"{n}", "assessment", b"{}") for n in range(20)]
        while len(record._waiting) < 20:
            time.sleep(0.001)
        record._commit_waiting()
    assert sorted(each.result().sequence for each in asked) == list(range(1, 21))
    assert len(commits) == 1


def test_after_its_deadline_nothing_is_recorded(record, url):
    with pytest.raises(TooLate):
        record.append("a", "assessment", b"{}", once(), time.monotonic() - 0.001)
    assert rows(url) == []
    assert record.append("b", "assessment", b"{}", once(), time.monotonic() + 60).id == "b"


def test_when_the_commit_fails_nobody_who_shared_it_is_answered(record, url):
    record.append("there", "assessment", b"{}")
    with ThreadPoolExecutor(2) as threads, record._committing:
        asked = [threads.submit(record.append, id, "assessment", b"{}") for id in ("a", "there")]
        while len(record._waiting) < 2:
            time.sleep(0.001)
        record._commit_waiting()
    for each in asked:
        with pytest.raises(IntegrityError):
            each.result()
    assert [row[1] for row in rows(url)] == ["there"]


# Nothing is answered that is not recorded.


@pytest.fixture
def assessor(trained, record, clock) -> Assessor:
    return Assessor(Store(trained.facts_url), record, trained, clock)


def refusal(assessor: Assessor) -> str:
    """Ask, expect no answer, and return all that was said."""
    with structlog.testing.capture_logs() as logs, pytest.raises(NotReady) as refused:
        assessor.assess("C-00001", ORDER)
    return refused.value.detail + json.dumps(logs)


def test_the_answer_is_on_disk_when_it_leaves(assessor, url):
    answer = json.loads(assessor.assess("C-00001", ORDER))
    ((sequence, id_, body, stored),) = rows(url)
    assert (sequence, id_, stored) == (1, answer["id"], answer["record"]["leaf_hash"])
    recorded = json.loads(body)["answer"]
    assert recorded == {k: v for k, v in answer.items() if k != "record"}


@on_sqlite
def test_a_full_disk_gives_no_answer_and_once_there_is_room_it_answers(record, assessor, url):
    assessor.assess("C-00001", ORDER)

    def fill(connection, _record):
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")

    sa.event.listen(record._engine, "connect", fill)
    record._engine.dispose()
    said = refusal(assessor)
    assert "C-00001" not in said
    assert "recorded" in said
    assert len(rows(url)) == 1

    sa.event.remove(record._engine, "connect", fill)
    record._engine.dispose()
    assessor.assess("C-00001", ORDER)
    assert [row[0] for row in rows(url)] == [1, 2]


@on_sqlite
def test_a_read_only_record_gives_no_answer(record, assessor, url):
    def forbid(connection, _record):
        connection.execute("PRAGMA query_only = ON")  # root writes to read-only files

    sa.event.listen(record._engine, "connect", forbid)
    record._engine.dispose()
    refusal(assessor)
    assert rows(url) == []


@on_sqlite
def test_a_lost_record_gives_no_answer(record, assessor, tmp_path):
    record._engine.dispose()
    for file in tmp_path.glob("record.db*"):
        file.unlink()
    refusal(assessor)  # an empty file is made in its place, without the table


@on_sqlite
def test_a_record_locked_for_long_gives_no_answer(record, assessor, url):
    def hurry(connection, _record):
        connection.execute("PRAGMA busy_timeout = 50")

    sa.event.listen(record._engine, "connect", hurry)
    record._engine.dispose()
    with connect(url).connect().execution_options(write=True) as other, other.begin():
        refusal(assessor)
    assessor.assess("C-00001", ORDER)
    assert len(rows(url)) == 1


@on_sqlite
def test_a_closed_connection_gives_no_answer(record, assessor, url):
    def close(connection):
        connection.connection.dbapi_connection.close()

    sa.event.listen(record._engine, "begin", close)
    refusal(assessor)
    assert rows(url) == []


def test_a_failed_commit_gives_no_answer(record, assessor, url):
    def fail(_connection):
        raise sa.exc.OperationalError("COMMIT of C-00001", None, OSError("disk I/O error"))

    sa.event.listen(record._engine, "commit", fail)
    assert "C-00001" not in refusal(assessor)
    assert rows(url) == []


@on_sqlite
def test_a_record_that_cannot_be_read_finds_nothing_and_says_so(record, assessor, tmp_path):
    answer = json.loads(assessor.assess("C-00001", ORDER))
    record._engine.dispose()
    for file in tmp_path.glob("record.db*"):
        file.unlink()
    with structlog.testing.capture_logs(), pytest.raises(NotReady):
        assessor.find(answer["id"])


@on_sqlite
def test_facts_that_cannot_be_read_give_no_answer(seller, record, clock, url):
    store = Store(seller.facts_url)
    assessor = Assessor(store, record, seller, clock)
    with connect(seller.facts_url).begin() as connection:
        connection.exec_driver_sql("DROP TABLE disputes")
    assert "C-00001" not in refusal(assessor)
    assert rows(url) == []


@on_sqlite
def test_a_record_opens_only_with_durable_writes(record):
    with record._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


# Many writers, and sudden ends.


def test_what_four_threads_append_is_all_there_in_one_sequence(record, url):
    def write(writer: int) -> list[int]:
        return [
            record.append(f"{writer}-{n}", "assessment", f"{writer} {n}".encode()).sequence
            for n in range(25)
        ]

    with ThreadPoolExecutor(4) as pool:
        sequences = list(pool.map(write, range(4)))
    assert sorted(s for own in sequences for s in own) == list(range(1, 101))
    assert all(own == sorted(own) for own in sequences)
    stored = rows(url)
    assert [row[0] for row in stored] == list(range(1, 101))
    for writer, own in enumerate(sequences):
        for n, sequence in enumerate(own):
            assert stored[sequence - 1][1:3] == (f"{writer}-{n}", f"{writer} {n}".encode())


KILLS = """
import json, os, random, signal, sys, time
from itertools import count
from serving.audit import Record

url, rng, acknowledged = sys.argv[1], random.Random(5), {}
for cycle in range(20):
    said, saying = os.pipe()
    writer = os.fork()
    if writer == 0:
        record = Record(url)
        for n in count():
            entry = record.append(f"{cycle}-{n}", "assessment", f"{cycle} {n}".encode())
            os.write(saying, f"{entry.sequence} {entry.id}\\n".encode())
    os.close(saying)
    first = os.read(said, 1).decode()  # it writes
    time.sleep(rng.uniform(0.002, 0.04))
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    with os.fdopen(said) as lines:
        for line in (first + lines.read()).splitlines():
            place, id_ = line.split()
            acknowledged[id_] = int(place)
json.dump(acknowledged, sys.stdout)
"""


def test_what_was_acknowledged_survives_kill_9(record, url):
    """Twenty writers, each killed after 2 to 40 ms of writing."""
    killed = subprocess.run(
        [sys.executable, "-c", KILLS, url], cwd=ROOT, stdout=subprocess.PIPE, check=True
    )
    acknowledged = json.loads(killed.stdout)
    stored = {row[1]: row for row in rows(url)}
    assert len(acknowledged) >= 20
    assert acknowledged.keys() <= stored.keys()
    assert len(stored) <= len(acknowledged) + 20  # at most one each was not told of
    if url.startswith("sqlite"):  # PostgreSQL leaves gaps where a writer was killed
        assert [row[0] for row in rows(url)] == list(range(1, len(stored) + 1))
    for id_, (place, _, body, hashed) in stored.items():
        assert acknowledged.get(id_, place) == place
        assert body.decode() == id_.replace("-", " ")
        assert hashed == leaf_hash(body)
    assert record.append("after", "assessment", b"{}").sequence > len(stored)


RACE = """
import json, random, sys, threading
from serving.audit import Once, Record

url, seed = sys.argv[1], int(sys.argv[2])
record, said, go = Record(url), {}, threading.Barrier(4)

def ask(numbers):
    go.wait()
    for number in numbers:
        entry = record.append(f"{seed}-{number}", "assessment", b"{}", Once("c", str(number), "f"))
        said[number] = entry.id

print("ready", flush=True)
sys.stdin.readline()
numbers = list(range(60))
random.Random(seed).shuffle(numbers)
threads = [threading.Thread(target=ask, args=(numbers[n::4],)) for n in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps(said), flush=True)
"""


def test_two_processes_that_get_the_same_requests_answer_each_once(record, url):
    """In another order each, so that they would wait for each other."""
    command = [sys.executable, "-c", RACE, url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    processes = [subprocess.Popen([*command, str(seed)], **pipes) for seed in (1, 2)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    said = [json.loads(process.communicate("go\n")[0]) for process in _started(processes)]
    assert len(said[0]) == 60
    assert said[0] == said[1]
    assert sorted(row[1] for row in rows(url)) == sorted(said[0].values())


def _started(processes: list[subprocess.Popen[str]]) -> list[subprocess.Popen[str]]:
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    return processes


# A database that fails.


@on_postgres
def test_a_connection_that_postgresql_ends_is_made_again(record, url):
    record.append("a", "assessment", b"{}")
    with transaction(url) as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        )
    assert record.find("a").body == b"{}"
    assert record.append("b", "assessment", b"{}").id == "b"


def test_while_one_waits_for_a_failing_disk_the_others_are_refused_at_once(record):
    record._note(sa.exc.OperationalError("COMMIT", None, OSError("database is locked")))
    begun = time.monotonic()
    with record._committing, ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(record.append, f"{n}", "assessment", b"{}") for n in range(8)]
        for each in asked:
            with pytest.raises(SQLAlchemyError, match="it is locked by another program"):
                each.result()
    assert time.monotonic() - begun < 2
    assert record.trouble() == "it is locked by another program"
    assert record.append("a", "assessment", b"{}").id == "a"  # the next one tries
    record._failed = None
    assert record.trouble() is None


@on_sqlite
@pytest.mark.parametrize("replaced", [False, True])
def test_what_would_be_written_to_a_file_that_is_gone_is_no_answer(record, tmp_path, replaced):
    """SQLite writes on to a file that was removed, and says that it is on disk."""
    record.append("a", "assessment", b"{}")
    file = tmp_path / "record.db"
    if replaced:
        Record(sqlite_url(tmp_path / "other.db")).close()
        (tmp_path / "other.db").replace(file)
    else:
        file.unlink()
    for end in ("-wal", "-shm"):
        file.with_name(f"record.db{end}").unlink()
    if replaced:
        assert record.append("b", "assessment", b"{}").sequence == 1  # in the file that is there
        assert [row[1] for row in rows(f"sqlite:///{file}")] == ["b"]
    else:
        with pytest.raises(SQLAlchemyError):
            record.append("b", "assessment", b"{}")
        assert record.trouble() == "its tables are missing"


@on_sqlite
def test_a_file_that_is_replaced_while_an_entry_waits_gives_no_answer(record, tmp_path, url):
    file, moved = tmp_path / "record.db", tmp_path / "moved.db"
    other = pysqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(record.append, "a", "assessment", b"{}")
        time.sleep(0.3)
        file.rename(moved)
        other.execute("ROLLBACK")
        other.close()
        with pytest.raises(SQLAlchemyError):
            asked.result()
    moved.rename(file)
    assert rows(url) == []


@pytest.mark.parametrize(
    ("said", "ours"),
    [
        ("database is locked", "it is locked by another program"),
        ("database or disk is full", "its disk is full"),
        ("attempt to write a readonly database", "it is read-only"),
        ("file is not a database", "its file is damaged"),
        ("connection to server at 127.0.0.1 failed", "it does not answer"),
        ("column C-00001 of the customer", "OperationalError"),
    ],
)
def test_why_a_database_fails_is_said_in_our_words(said, ours):
    assert why(sa.exc.OperationalError("SELECT 'C-00001'", None, OSError(said))) == ours
