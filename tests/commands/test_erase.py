"""``encours erase``: what it asks, says and refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from features.store import Source, Store
from models.workspace import Workspace
from serving.audit import Record
from serving.erasure import KIND
from tests.features.ledgers import ledger_of, read_tables
from tests.serving.test_erasure import FIRM, PERSON, WHY, small
from tests.serving.test_persons import assessment


@pytest.fixture
def home(tmp_path) -> Path:
    """Give the home of the commands, with a person and a firm, each assessed once."""
    workspace = small(Workspace(tmp_path / "home"))
    record = Record.of(workspace)
    record.append("a", "assessment", assessment(PERSON))
    record.append("b", "assessment", assessment(FIRM))
    return workspace.home


def test_a_person_is_erased_and_it_is_said_how_much(run, home):
    ran = run("erase", PERSON, "--by", "DPO", "--why", WHY, "--yes")
    said = (
        "erased: 2 facts removed, 1 entries of the record are unreadable; it verifies as before.\n"
    )
    assert (ran.code, ran.out) == (0, said)
    ran = run("erase", PERSON, "--why", WHY, "--yes")
    assert (ran.code, "no longer" in ran.err) == (2, True)
    assert PERSON not in ran.err


def test_it_asks_first_and_no_is_no(run, home, monkeypatch):
    monkeypatch.setattr(typer, "confirm", lambda _: False)
    ran = run("erase", PERSON, "--why", WHY)
    assert (ran.code, ran.err) == (2, "encours: nothing is erased\n")
    assert ran.out.startswith("2 facts will be removed, 1 entries of the record become unreadable")
    assert Record.of(Workspace(home)).find("a").body == assessment(PERSON)
    monkeypatch.setattr(typer, "confirm", lambda _: True)
    assert run("erase", PERSON, "--why", WHY).code == 0
    assert len(Record.of(Workspace(home)).after(0, KIND)) == 1


def test_a_firm_an_unknown_customer_and_a_call_without_sense_are_refused(run, home):
    ran = run("erase", FIRM, "--why", WHY, "--yes")
    assert (ran.code, "legal person" in ran.err) == (2, True)
    assert run("erase", "nobody", "--why", WHY, "--yes").code == 2
    assert run("erase", PERSON, "--yes").code == 2
    assert run("erase", "--why", WHY).code == 2
    assert run("erase", PERSON, "--inactive-since", "2021-01-01", "--why", WHY).code == 2
    assert run("erase", "--inactive-since", "2121-01-01").code == 2
    assert Record.of(Workspace(home)).after(0, KIND) == []


def test_who_is_inactive_is_listed_and_erased_only_with_yes(run, home):
    ran = run("erase", "--inactive-since", "2024-01-01")
    assert (ran.code, ran.out) == (0, "No natural person without anything since 2024-01-01.\n")
    tables = read_tables(
        f"""
        customer | invoice | settled_on | amount
        {PERSON} | X1      | 2020-04-10 | 900
        """
    )
    tables.pop("customers")
    Store(Workspace(home).facts_url).append(ledger_of(tables), Source(()))
    ran = run("erase", "--inactive-since", "2024-01-01")
    assert ran.out.splitlines() == [
        PERSON,
        "1 natural persons without anything since 2024-01-01. Nothing is erased: --yes --why TEXT "
        "does.",
    ]
    assert Record.of(Workspace(home)).find("a").body == assessment(PERSON)
    assert run("erase", "--inactive-since", "2024-01-01", "--yes").code == 2  # why?
    ran = run("erase", "--inactive-since", "2024-01-01", "--yes", "--why", WHY)
    assert ran.out.splitlines()[1].startswith("erased: 3 facts removed, 1 entries")
    assert run("erase", "--inactive-since", "2024-01-01").out.startswith("No natural person")


def test_without_a_ledger_it_says_so_and_makes_none(run, tmp_path):
    assert run("erase", "C-1", "--why", WHY, "--yes").code == 2
    assert not (tmp_path / "home").exists()


def test_a_replay_of_what_was_erased_is_no_failure(run, home):
    run("erase", PERSON, "--by", "DPO", "--why", WHY, "--yes")
    ran = run("audit", "replay", "a")
    assert ran.code == 0
    assert ran.out.startswith("The assessment was erased on 20")
    assert ran.out.endswith(": it can no longer be replayed.\n")
    ran = run("audit", "bridge", "a", "b")
    assert (ran.code, "erased on" in ran.err) == (2, True)
