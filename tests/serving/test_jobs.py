"""Jobs: from queued to their end, whatever happens in between."""

from __future__ import annotations

import csv
import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import structlog
from fastapi import FastAPI

from features.store import Store, sqlite_url
from features.workers import here
from serving import portfolio_job, problems
from serving.api import create_app
from serving.assess import Assessor
from serving.audit import Record, leaf_hash
from serving.job_runner import JobRunner
from serving.jobs import STOPPED, Job, Jobs, sha256_of
from serving.keys import ROLES, Keys
from serving.opened import Opened
from serving.portfolio_job import BOM, KIND, harmless, write
from serving.portfolio_scores import SCHEMA
from serving.schemas import jobs as schemas
from tests.serving.test_access import bearer
from tests.serving.test_api import call, expect

ACTOR = {"client": "risk team", "role": "risk", "key": "0" * 12}


def a_job(**changes: Any) -> Job:
    nothing = dict.fromkeys(
        ["sees", "customers", "reason", "runner", "total", "started_at", "ended_at", "result"]
    )
    said = {"id": "J1", "client": "risk team", "actor": ACTOR, "status": "running"}
    return Job(**{**nothing, **said, "is_sealed": False, "done": 0, "created_at": 0.0, **changes})


@contextmanager
def in_this_process() -> Iterator[Any]:
    yield here


@pytest.fixture
def jobs(tmp_path) -> Iterator[Jobs]:
    opened = Jobs(tmp_path / "jobs")
    yield opened
    opened.close()


def record_of(jobs: Jobs) -> Record:
    return Record(sqlite_url(jobs.folder / "record.db"))


def add(jobs: Jobs, id: str, most_waiting: int = 10) -> Job | None:
    return jobs.add(id, ACTOR, None, None, most_waiting)


# From queued to the end.


def test_jobs_are_taken_in_turn_as_many_at_once_as_may_run(jobs):
    for id in ("b", "a", "c"):
        assert add(jobs, id).status == "queued"
    assert jobs.take(2).id == "b"
    assert jobs.take(2).id == "a"
    assert jobs.take(2) is None
    assert jobs.some_wait()
    jobs.fail("b", "for a test")
    assert jobs.take(2).id == "c"
    assert not jobs.some_wait()


def test_beyond_those_that_may_wait_none_is_added(jobs):
    assert add(jobs, "a", 1) is not None
    assert add(jobs, "b", 1) is None
    assert add(jobs, "a", 1).id == "a"  # asked for again, it is the same
    jobs.take(1)
    assert add(jobs, "b", 1) is not None


def test_progress_tells_how_long_it_will_take(jobs):
    add(jobs, "a")
    assert jobs.take(1).eta_seconds is None
    assert jobs.report("a", 25, 100)
    job = jobs.find("a")
    assert (job.done, job.total) == (25, 100)
    later = Job(**{**job.__dict__, "started_at": time.time() - 10})
    assert later.eta_seconds == 30


def test_what_is_cancelled_stays_so(jobs):
    add(jobs, "a")
    add(jobs, "b")
    assert jobs.cancel("b")
    jobs.take(1)
    jobs.draft("a", "csv").write_text("half")
    assert jobs.cancel("a")
    assert not jobs.report("a", 1, 2)
    assert not jobs.seal("a")
    jobs.fail("a", STOPPED)
    jobs.finish("a", {"rows": 0})
    assert [jobs.find(id).status for id in "ab"] == ["cancelled", "cancelled"]
    assert not jobs.draft("a", "csv").exists()
    assert jobs.take(1) is None


def test_once_it_is_being_recorded_it_is_too_late_to_cancel(jobs):
    add(jobs, "a")
    jobs.take(1)
    assert jobs.seal("a")
    assert not jobs.cancel("a")


# A restart.


def die(jobs: Jobs) -> None:
    """Let go of the lock as the end of a process does, and of nothing else."""
    jobs._held.close()


def test_after_a_restart_what_ran_has_failed_and_what_waited_waits(tmp_path):
    before = Jobs(tmp_path / "jobs")
    add(before, "ran")
    add(before, "waits")
    before.take(1)
    before.draft("ran", "csv").write_text("half")
    before.file("ran", "parquet").write_text("whole, and not recorded")
    die(before)
    after = Jobs(tmp_path / "jobs")
    after.recover(lambda: record_of(after))
    ran = after.find("ran")
    assert (ran.status, ran.reason) == ("failed", STOPPED)
    assert ran.ended_at is not None
    assert after.take(1).id == "waits"
    left = {file.name for file in after.folder.iterdir() if "ran" in file.name}
    assert left == set()
    after.close()


def test_the_job_of_a_process_that_lives_is_left_alone(jobs, tmp_path):
    add(jobs, "a")
    jobs.take(1)
    other = Jobs(tmp_path / "jobs")
    other.recover(lambda: record_of(other))
    assert jobs.find("a").status == "running"
    other.close()


@pytest.mark.parametrize("spoil", [False, True])
def test_a_result_on_the_record_is_done_if_it_is_whole(tmp_path, spoil):
    before = Jobs(tmp_path / "jobs")
    add(before, "a")
    before.take(1)
    before.seal("a")
    files = {}
    for format in ("parquet", "csv"):
        before.file("a", format).write_text(format)
        files[format] = {"sha256": sha256_of(before.file("a", format)), "bytes": 3}
    result = {"rows": 3, "files": files}
    entry = record_of(before).append("a", KIND, json.dumps({"result": result}).encode())
    if spoil:
        before.file("a", "csv").write_text("changed")
    die(before)
    after = Jobs(tmp_path / "jobs")
    after.recover(lambda: record_of(after))
    job = after.find("a")
    if spoil:
        assert (job.status, job.reason) == ("failed", STOPPED)
    else:
        assert job.status == "done"
        assert job.result == {**result, "entry": entry.sequence, "leaf_hash": entry.leaf_hash}
    after.close()


# Files.


PAYLOADS = [
    "=1+1",
    "+33 1",
    "-5",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "＝1+1",
    "＋1",
    "－1",
    "＠A1",
    '=HYPERLINK("http://x","a")',
    "=cmd|' /C calc'!A0",
]


def rows_of(ids: list[str], contribution: float = -0.25) -> pa.Table:
    columns = {field.name: pa.nulls(len(ids), field.type) for field in SCHEMA}
    columns["customer_id"] = pa.array(ids)
    columns["contribution_1"] = pa.array([contribution] * len(ids))
    columns["exposure"] = pa.array([Decimal(-1234)] * len(ids), pa.decimal128(18, 2))
    return pa.table(columns, SCHEMA)


def written(tmp_path: Path, *parts: pa.Table) -> tuple[bytes, pa.Table]:
    files = {format: tmp_path / f"a.{format}" for format in ("csv", "parquet")}
    write(iter(parts), files)
    return files["csv"].read_bytes(), pq.read_table(files["parquet"])


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_text_is_a_formula_and_a_negative_number_is_a_number(tmp_path, payload):
    text, table = written(tmp_path, rows_of([payload]))
    (row,) = csv.DictReader(io.StringIO(text.decode("utf-8-sig"), newline=""))
    assert row["customer_id"] == f"'{payload}"
    assert float(row["contribution_1"]) == -0.25
    assert row["exposure"] == "-1234.00"
    assert table["customer_id"].to_pylist() == [payload]  # Parquet runs nothing


@pytest.mark.parametrize("said", ["C-17", "a=b", " =1", "'=1", "Ünï", 'a"b', "a,b", "a\nb"])
def test_other_text_stays_as_it_is(tmp_path, said):
    text, _ = written(tmp_path, rows_of([said]))
    (row,) = csv.DictReader(io.StringIO(text.decode("utf-8-sig"), newline=""))
    assert row["customer_id"] == said
    assert text.startswith(BOM)


def test_a_missing_value_is_empty(tmp_path):
    text, _ = written(tmp_path, rows_of(["C-1"]), rows_of(["C-2"]))
    found = list(csv.DictReader(io.StringIO(text.decode("utf-8-sig"), newline="")))
    assert [row["customer_id"] for row in found] == ["C-1", "C-2"]
    assert {row["grade"] for row in found} == {""}
    assert harmless(rows_of(["C-1"]))["grade"].null_count == 1


# The whole way.


class _Desk:
    def __init__(self, opened: Opened) -> None:
        self._opened = opened

    def get(self) -> Opened:
        return self._opened

    def readiness(self) -> str | None:
        return None


@pytest.fixture
def opened(seller, clock) -> Opened:
    store, record = Store(seller.facts_url), Record(seller.record_url)
    assessor = Assessor(store, record, seller, clock)
    return Opened(store, record, seller, clock, None, assessor)


@pytest.fixture
def keys(opened) -> Keys:
    return Keys(lambda: opened.record)


@pytest.fixture
def app(opened, keys) -> Iterator[FastAPI]:
    made = create_app(_Desk(opened), keys)
    made.state.jobs = JobRunner(_Desk(opened), in_this_process)
    yield made
    made.state.jobs.close()


@pytest.fixture
def risk(keys) -> dict[str, str]:
    return bearer(keys.make("risk team", "risk", "Claire").text)


def ask(app: FastAPI, headers: dict[str, str], body: Any = None) -> httpx.Response:
    content = json.dumps(body or {}).encode()
    return call(app, "POST", "/v1/jobs", content=content, headers=headers)


def ended(app: FastAPI, headers: dict[str, str], place: str) -> dict[str, Any]:
    """Wait for a job's end."""
    for _ in range(600):
        said = call(app, "GET", place, headers=headers).json()
        if said["status"] not in ("queued", "running"):
            return said
        time.sleep(0.1)
    raise AssertionError(said)


def test_a_portfolio_is_scored_recorded_and_fetched(app, risk, opened):
    asked = ask(app, risk)
    assert asked.status_code == 202
    schemas.Job.model_validate(asked.json())
    place = asked.headers["location"]
    said = ended(app, risk, place)
    schemas.Job.model_validate(said)
    assert said["status"] == "done"
    n = len(opened.store.known().customers)
    assert said["progress"] == {"done": n, "total": n, "eta_seconds": None}
    for format in ("parquet", "csv"):
        file = call(app, "GET", f"{place}/result?format={format}", headers=risk)
        assert file.status_code == 200
        assert "attachment" in file.headers["content-disposition"]
        told = said["result"]["files"][format]
        saved = opened.workspace.home / f"got.{format}"
        saved.write_bytes(file.content)
        assert f"sha256:{sha256_of(saved)}" == told["sha256"]
        assert len(file.content) == told["bytes"]
    table = pq.read_table(opened.workspace.home / "got.parquet")
    assert table.schema.equals(SCHEMA)
    ids = table["customer_id"].to_pylist()
    assert ids == sorted(ids)
    assert len(ids) == n
    entry = opened.record.find(said["id"])
    assert (entry.kind, entry.sequence) == (KIND, said["result"]["entry"])
    assert leaf_hash(entry.body) == said["result"]["leaf_hash"]
    body = json.loads(entry.body)
    assert body["sequence"] == opened.store.sequence()
    assert body["actor"]["client"] == "risk team"
    assert body["versions"]["default"] in {p.name for p in opened.workspace.bundles.iterdir()}
    left = sorted(file.suffix for file in (opened.workspace.home / "jobs").glob(said["id"] + "*"))
    assert left == [".csv", ".parquet"]


def test_who_has_the_entry_can_make_the_same_file_again(app, risk, opened, tmp_path):
    said = ended(app, risk, ask(app, risk).headers["location"])
    again = ended(app, risk, ask(app, risk).headers["location"])
    files = [one["result"]["files"]["csv"]["sha256"] for one in (said, again)]
    assert files[0] == files[1]
    assert said["id"] != again["id"]


def test_a_cancelled_job_leaves_nothing(app, risk, opened, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()
    score = portfolio_job.score_shard

    def slow(shard: Any, work: Any) -> Any:
        begun.set()
        go_on.wait(20)
        return score(shard, work)

    monkeypatch.setattr("serving.portfolio_job.score_shard", slow)
    place = ask(app, risk).headers["location"]
    assert begun.wait(20)
    early = call(app, "GET", f"{place}/result", headers=risk)
    expect(early, problems.UNFINISHED_JOB, "It is running.")
    cancelled = call(app, "DELETE", place, headers=risk)
    assert cancelled.json()["status"] == "cancelled"
    go_on.set()
    second = ended(app, risk, ask(app, risk, {"customers": ["nobody"]}).headers["location"])
    assert second["status"] == "done"  # the next one runs
    assert call(app, "GET", place, headers=risk).json()["status"] == "cancelled"
    id = place.rpartition("/")[2]
    assert list((opened.workspace.home / "jobs").glob(id + "*")) == []
    assert opened.record.find(id) is None
    expect(
        call(app, "GET", f"{place}/result", headers=risk),
        problems.UNFINISHED_JOB,
        "It is cancelled.",
    )


def test_a_job_that_breaks_says_so_without_customer_data(app, risk, monkeypatch):
    def broken(*_: Any) -> None:
        raise RuntimeError("C-00001 owes 5")

    monkeypatch.setattr("serving.portfolio_job.score_shard", broken)
    with structlog.testing.capture_logs() as logs:
        said = ended(app, risk, ask(app, risk).headers["location"])
    assert (said["status"], said["reason"]) == ("failed", "the service failed: see its log")
    assert "owes" not in json.dumps(logs, default=str)
    assert [one["error"] for one in logs if one["event"] == "job_failed"] == ["RuntimeError"]


def test_without_the_record_there_is_no_result(app, risk, opened, monkeypatch):
    append = Record.append

    def full(record: Record, id: str, kind: str, *given: Any) -> Any:
        if kind == KIND:
            raise OSError("disk full")
        return append(record, id, kind, *given)

    monkeypatch.setattr(Record, "append", full)
    place = ask(app, risk).headers["location"]
    said = ended(app, risk, place)
    assert (said["status"], said["reason"]) == ("failed", STOPPED)
    assert call(app, "GET", f"{place}/result", headers=risk).status_code == 409


def test_stopping_the_service_fails_what_runs_and_keeps_what_waits(opened, keys, monkeypatch):
    begun = threading.Event()
    runner = JobRunner(_Desk(opened), in_this_process)

    def slow(*_: Any) -> Any:
        begun.set()
        runner._stopping.wait(20)
        return portfolio_job.Scored(0, rows_of(["C-1"]))

    monkeypatch.setattr("serving.portfolio_job.score_shard", slow)
    for id in ("ran", "waits"):
        runner.jobs().add(id, ACTOR, None, None, 9)
    runner.start()
    assert begun.wait(20)
    runner.close()
    monkeypatch.undo()
    again = JobRunner(_Desk(opened), in_this_process)
    assert again.jobs().find("ran").reason == STOPPED
    assert again.jobs().find("waits").status == "queued"
    again.start()
    for _ in range(300):
        if again.jobs().find("waits").status == "done":
            break
        time.sleep(0.1)
    assert again.jobs().find("waits").status == "done"
    again.close()


def test_the_same_request_asks_for_the_same_job(app, keys):
    text = keys.make("risk team", "risk", "Claire").text
    once = bearer(text, Idempotency_Key="k")
    first, second = ask(app, once), ask(app, once)
    assert first.content == second.content
    assert first.headers["location"] == second.headers["location"]
    assert second.headers["idempotency-replayed"] == "true"
    expect(ask(app, once, {"customers": ["C-1"]}), problems.KEY_REUSED)


# Who may.


def test_a_job_is_seen_by_its_own_client_only(app, keys, risk):
    place = ask(app, risk, {"customers": ["nobody"]}).headers["location"]
    ended(app, risk, place)
    other = bearer(keys.make("another team", "risk", "Claire").text)
    narrow = bearer(keys.make("risk team", "risk", "Claire", customers=["C-00001"]).text)
    same = bearer(keys.make("risk team", "risk", "Claire").text)
    for method, path in (("GET", place), ("DELETE", place), ("GET", f"{place}/result")):
        for headers in (other, narrow):
            expect(call(app, method, path, headers=headers), problems.UNKNOWN_JOB)
        assert call(app, method, path, headers=same).status_code == 200
    for role in set(ROLES) - {"risk"}:
        headers = bearer(keys.make("risk team", role, "Claire").text)
        expect(call(app, "GET", place, headers=headers), problems.FORBIDDEN)


def test_a_key_of_some_customers_gets_those_only(app, keys, opened):
    mine, other = sorted(opened.store.known().customers)[:2]
    narrow = bearer(keys.make("agent", "risk", "Claire", customers=[mine, "gone"]).text)
    for body, expected in (
        ({}, {mine: None, "gone": "unknown_customer"}),
        ({"customers": [mine, other]}, {mine: None, other: "unknown_customer"}),
    ):
        place = ask(app, narrow, body).headers["location"]
        said = ended(app, narrow, place)
        assert said["status"] == "done"
        text = call(app, "GET", f"{place}/result?format=csv", headers=narrow).content
        found = {
            row["customer_id"]: row["late_abstention"] == "unknown_customer"
            for row in csv.DictReader(io.StringIO(text.decode("utf-8-sig")))
        }
        assert found == {id: why is not None for id, why in expected.items()}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"customers": []}, "/customers"),
        ({"customers": [""]}, "/customers/0"),
        ({"customers": ["a\x00"]}, "/customers/0"),
        ({"customers": [1]}, "/customers/0"),
        ({"kind": "other"}, "/kind"),
        ({"more": 1}, ""),
    ],
)
def test_a_request_that_is_not_valid_is_pointed_at(app, risk, body, pointer):
    errors = expect(ask(app, risk, body), problems.INVALID)
    assert [one["pointer"] for one in errors] == [pointer]


def test_another_format_is_refused(app, risk):
    place = ask(app, risk, {"customers": ["nobody"]}).headers["location"]
    assert expect(
        call(app, "GET", f"{place}/result?format=xlsx", headers=risk), problems.INVALID
    ) == [{"pointer": "/format", "detail": "must be parquet or csv"}]


@pytest.mark.parametrize("id", ["1", "0" * 36, "%00"])
def test_what_is_no_job_is_unknown(app, risk, id):
    answer = call(app, "GET", f"/v1/jobs/{id}", headers=risk)
    assert answer.status_code == 404
