"""``encours audit evidence``: the file it writes, what it prints, with which exit code it ends."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pysqlite3
import pytest

from features.store import Store
from models.policy import Order
from serving.assess import Assessor
from serving.audit import Record
from serving.sealer import Sealer
from tests.serving.test_evidence import require_pango

PAGE = Path(__file__).parents[2] / "docs" / "auditing.md"


@pytest.fixture
def id(seller, clock) -> str:
    """Assess a customer in the home of the commands, and seal it; give the answer's id."""
    assessor = Assessor(Store(seller.facts_url), Record(seller.record_url), seller, clock)
    told = assessor.assess("C-00100", Order(2_000_00, 120_00, 30))
    Sealer.of(seller).seal()
    return str(json.loads(told)["id"])


@pytest.fixture
def run_there(run, seller, monkeypatch, tmp_path):
    monkeypatch.setenv("ENCOURS_HOME", str(seller.home))
    monkeypatch.chdir(tmp_path)
    return run


def test_by_default_it_is_a_french_page_on_the_screen(run_there, id):
    ran = run_there("audit", "evidence", id)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("<!doctype html>")
    assert '<html lang="fr">' in ran.out
    assert ran.out.endswith("</html>\n")


def test_a_file_is_of_the_kind_that_its_name_says(run_there, id):
    ran = run_there("audit", "evidence", id, "--out", "e.html", "--lang", "en")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("e.html: ")
    assert '<html lang="en">' in Path("e.html").read_text("utf-8")
    ran = run_there("audit", "evidence", id, "--out", "e.doc")
    assert (ran.code, ran.err) == (2, "encours: e.doc is to end with .html or .pdf\n")
    assert list(Path().glob("*e.doc*")) == []
    assert run_there("audit", "evidence", id, "--lang", "de").code == 2
    require_pango()
    assert run_there("audit", "evidence", id, "--out", "e.pdf").code == 0
    assert Path("e.pdf").read_bytes().startswith(b"%PDF-")


def test_without_weasyprint_a_pdf_is_refused_and_the_page_is_not(run_there, id, monkeypatch):
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    ran = run_there("audit", "evidence", id, "--out", "e.pdf")
    assert ran.code == 2
    assert ran.err.startswith("encours: a PDF needs the package weasyprint")
    assert not Path("e.pdf").exists()
    assert run_there("audit", "evidence", id, "--out", "e.html").code == 0


def test_what_is_not_there_is_said_in_one_sentence(run_there, id):
    ran = run_there("audit", "evidence", "nobody")
    assert (ran.code, ran.err) == (2, "encours: the record has no assessment of that id\n")
    ran = run_there("audit", "evidence", id, "--out", "nowhere/e.html")
    assert (ran.code, ran.out) == (2, "")
    assert "nowhere/e.html cannot be written" in ran.err


def test_what_differs_is_written_and_ends_with_exit_code_1(run_there, id, seller):
    with pysqlite3.connect(seller.facts) as connection:
        connection.execute("UPDATE customers SET name = 'X' WHERE customer_id = 'C-00100'")
    ran = run_there("audit", "evidence", id, "--out", "e.html")
    assert ran.code == 1
    assert "DIFFERS: answer/customer/name" in ran.out
    assert "la réponse diffère" in Path("e.html").read_text("utf-8")


def test_the_commands_of_the_page_do_what_it_says(run_there, id):
    page = PAGE.read_text("utf-8")
    lines = [line for block in page.split("```")[1::2] for line in block.splitlines()]
    mine = [line for line in lines if line.startswith("encours audit evidence")]
    assert len(mine) == 2
    require_pango()
    for line in mine:
        words = [id if word == "ID" else word for word in shlex.split(line)[1:]]
        ran = run_there(*words)
        assert (ran.code, ran.err) == (0, ""), ran
    assert {file.name for file in Path().glob("evidence.*")} == {"evidence.html", "evidence.pdf"}
