"""Whom entries are about: written with them, filled once for a record of before."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
import structlog

from features.store import connect, sqlite_url, writing
from serving.audit import Record
from tests.features.postgres import postgres


@pytest.fixture(scope="module")
def server():
    with postgres() as new_url:
        yield new_url


@pytest.fixture(autouse=True)
def _closes_what_was_opened(monkeypatch) -> Iterator[None]:
    """PostgreSQL's driver complains of connections that nobody closes."""
    opened = []

    def connect_and_note(url: str, **how: float) -> sa.Engine:
        opened.append(connect(url, **how))
        return opened[-1]

    for module in ("audit",):
        monkeypatch.setattr(f"serving.{module}.connect", connect_and_note)
    yield
    for engine in opened:
        engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path) -> str:
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "record.db")
    return request.getfixturevalue("server")()


def assessment(customer: str) -> bytes:
    return json.dumps({"answer": {"customer": {"id": customer}}}).encode()


def test_a_customers_entries_come_newest_first_and_page_by_place(url):
    record = Record(url)
    for i, customer in enumerate("abaaba"):
        record.append(str(i), "assessment", assessment(customer))
    record.append("o", "override", b'{"override": {"customer_id": "a"}}')
    assert [one.id for one in record.of_customer("a", "assessment", 10)] == ["5", "3", "2", "0"]
    first = record.of_customer("a", "assessment", 2)
    rest = record.of_customer("a", "assessment", 2, before=first[-1].sequence)
    assert [one.id for one in (*first, *rest)] == ["5", "3", "2", "0"]
    assert [one.id for one in record.of_customer("a", "override", 10)] == ["o"]
    assert record.of_customer("c", "assessment", 10) == []


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'"a"', b'{"answer": null}', b"\xff", b'{"answer": {}}']
)
def test_an_entry_about_nobody_is_recorded_all_the_same(url, body):
    assert Record(url).append("a", "assessment", body).body == body


def test_a_record_of_before_is_filled_once_and_keeps_its_bytes(url):
    record = Record(url)
    sent = [(str(i), "assessment", assessment("ab"[i % 2])) for i in range(2_500)]
    with writing(record._engine) as connection:
        connection.exec_driver_sql("DROP TABLE subjects")
        for id, kind, body in sent:
            row = {"id": id, "kind": kind, "body": body, "leaf_hash": "x", "recorded_at": 0}
            connection.execute(Record.__init__.__globals__["_entries"].insert(), row)
    with structlog.testing.capture_logs() as logs:
        again = Record(url)
        Record(url)
    assert [(one["event"], one["rows"]) for one in logs] == [("record_subjects_filled", 2_500)]
    assert len(again.of_customer("a", "assessment", 5_000)) == 1_250
    assert [again.find(id).body for id, _, _ in sent[:5]] == [body for _, _, body in sent[:5]]


def test_whom_an_entry_is_about_cannot_be_changed(url):
    record = Record(url)
    record.append("a", "assessment", assessment("a"))
    for statement in ("UPDATE subjects SET customer_id = 'b'", "DELETE FROM subjects"):
        with (
            pytest.raises(Exception, match="append-only"),
            writing(Record(url)._engine) as connection,
        ):
            connection.exec_driver_sql(statement)
