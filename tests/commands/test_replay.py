"""``encours audit replay``: what it prints, and with which exit code it ends."""

from __future__ import annotations

import json
import shlex
from datetime import timedelta
from pathlib import Path

import pysqlite3
import pytest

from features.store import Store
from models.policy import Order
from serving.assess import Assessor
from serving.audit import Record, leaf_hash
from tests.commands.test_audit import OF_ANSWERS


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
    exact = "1 assessment made again: the same bytes, and the same margins twice.\n"
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


# docs/auditing.md

PAGE = Path(__file__).parents[2] / "docs" / "auditing.md"


def test_every_command_of_the_page_does_what_it_says(
    run_there, seller, clock, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENCOURS_TODAY", "2025-07-03")
    store, customer = Store(seller.facts_url), "C-00100"
    now = [clock(), clock() + timedelta(days=1)]
    record, order = Record(seller.record_url), Order(2_000_00, 120_00, 30)
    ids = []
    for at in now:
        told = Assessor(store, record, seller, lambda at=at: at).assess(customer, order)
        ids.append(json.loads(told)["id"])
    page = PAGE.read_text("utf-8")
    invoice = store.read(customer)["invoices"]["invoice_id"][-1]
    correction = page.split("```json\n")[1].split("```")[0]
    correction = correction.replace("C-17", customer).replace("F-7", str(invoice))
    Path("correction.json").write_text(correction, "utf-8")
    lines = [line for block in page.split("```")[1::2] for line in block.splitlines()]
    mine = [line for line in lines if line.split()[:2] == ["encours", "audit"]]
    mine = [line for line in mine if line.split()[2] in OF_ANSWERS - {"evidence"}]
    assert len(mine) == 9
    for line in mine:
        words = shlex.split(line)[1:]
        given = {"ID": ids[0], "ID1": ids[0], "ID2": ids[1]}
        ran = run_there(*(given.get(word, word) for word in words))
        assert (ran.code, ran.err) == (0, ""), (line, ran)
    again = Record(seller.record_url).after(0, "contest")
    assert json.loads(again[0].body)["contest"]["by"] == "Marie Morel"


def test_a_bridge_is_told_in_both_languages_and_adds_up_as_printed(run_there, seller, clock):
    store, record = Store(seller.facts_url), Record(seller.record_url)
    order, ids = Order(2_000_00, 120_00, 30), []
    for days in (0, 30):
        at = clock() + timedelta(days=days)
        told = Assessor(store, record, seller, lambda at=at: at).assess("C-00100", order)
        ids.append(json.loads(told)["id"])
    told = run_there("audit", "bridge", *ids)
    assert told.out.startswith("C-00100, P(default within 365 days): ")
    assert "days passed, the same facts" in told.out
    assert "facts that became known" in told.out
    french = run_there("audit", "bridge", *ids, "--language", "fr").out
    assert french.startswith("C-00100, P(défaut dans les 365 jours)")
    assert "les jours ont passé" in french
    assert "." not in french.splitlines()[-2]  # a decimal comma
    found = json.loads(run_there("audit", "bridge", *ids, "--json").out)
    total = sum(part["log_odds"] for part in found["parts"])
    assert abs(total - (found["log_odds_after"] - found["log_odds_before"])) < 1e-9
    assert run_there("audit", "bridge", ids[1], ids[0]).err.startswith("encours: the second")


def test_a_contest_that_is_refused_says_why(run_there, ids, tmp_path):
    (tmp_path / "wrong.json").write_text("{}", "utf-8")
    asked = ("audit", "contest", ids[0], "--correct", tmp_path / "wrong.json", "--by", "M")
    ran = run_there(*asked, "--why", "It was paid in May.", "--today", "2025-07-03")
    assert (ran.code, ran.err) == (2, "encours: the correction holds no row\n")
