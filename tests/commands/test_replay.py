"""``encours audit replay``: what it prints, and with which exit code it ends."""

from __future__ import annotations

import json

import pysqlite3
import pytest

from features.store import Store
from models.policy import Order
from serving.assess import Assessor
from serving.audit import Record, leaf_hash


@pytest.fixture
def ids(seller, clock, monkeypatch) -> list[str]:
    """Assess three customers in the home of the commands; give the answers' ids."""
    assessor = Assessor(Store(seller.facts_url), Record(seller.record_url), seller, clock)
    order = Order(2_000_00, 120_00, 30)
    told = [assessor.assess(f"C-0000{n}", order) for n in (1, 2, 3)]
    return [json.loads(one)["id"] for one in told]


@pytest.fixture
def run_there(run, seller, monkeypatch):
    monkeypatch.setenv("ENCOURS_HOME", str(seller.home))
    return run


def test_one_answer_or_a_sample_is_made_again(run_there, ids):
    exact = "1 assessments made again: the same bytes, and the same margins twice.\n"
    assert run_there("audit", "replay", ids[0]) == (0, exact, "")
    assert run_there("audit", "replay", "--sample", 1000).out.startswith("3 assessments made")


def test_what_differs_is_said_with_exit_code_1(run_there, ids, seller):
    with pysqlite3.connect(seller.home / "record.db") as connection:
        connection.execute("DROP TRIGGER entries_no_update")
        (body,) = connection.execute("SELECT body FROM entries WHERE id = ?", (ids[1],)).fetchone()
        said = json.loads(body)
        said["answer"]["recommendation"]["en"] = "Deliver."
        body = json.dumps(said, ensure_ascii=False).encode()
        changed = (body, leaf_hash(body), ids[1])
        connection.execute("UPDATE entries SET body = ?, leaf_hash = ? WHERE id = ?", changed)
    ran = run_there("audit", "replay", "--sample", 10)
    assert ran.code == 1
    first, last = ran.out.splitlines()
    assert first.startswith(f"DIFFERS: entry 2, {ids[1]}: answer/recommendation/en: recorded ")
    assert last == "1 of 3 assessments differ."


def test_a_call_that_asks_for_nothing_or_for_what_is_not_there_is_refused(run_there, ids):
    assert run_there("audit", "replay").code == 2
    assert run_there("audit", "replay", ids[0], "--sample", 3).code == 2
    ran = run_there("audit", "replay", "nobody")
    assert (ran.code, ran.err) == (2, "encours: the record has no assessment of that id\n")


def test_without_a_record_it_says_so_and_makes_none(run_there, seller):
    assert run_there("audit", "replay", "--sample", 1).code == 2
    assert not (seller.home / "record.db").exists()
