"""The risk team's commands: promote, rollback, shadow and ui, from the keyboard to the files."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

import encours
from models import bundle as bundles
from models.bundle import Champions
from models.curve import Calibration
from models.workspace import Workspace
from serving.audit import Record
from tests.training.shelf import Shelf
from training import gate_file
from training.promote import verify

ROOT = Path(__file__).parents[1]


class Ran(NamedTuple):
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch, capsys) -> Callable[..., Ran]:
    """Run a command in this process, on a terminal wide enough for its tables."""
    monkeypatch.setattr(encours.console, "_width", 300)  # undone as it was: not set
    monkeypatch.delenv("ENCOURS_TODAY", raising=False)

    def run(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["encours", *arguments])
        capsys.readouterr()
        code = 0
        try:
            encours.main()
        except SystemExit as end:
            code = int(end.code or 0)
        return Ran(code, *capsys.readouterr())

    return run


@pytest.fixture
def desk(seller, monkeypatch) -> Workspace:
    """Stand at the desk of a seller whose registry is in memory."""
    shelf = Shelf()
    monkeypatch.setenv("ENCOURS_HOME", str(seller.home))
    monkeypatch.setattr(encours, "_tracking", lambda workspace: shelf)
    champions = Champions.load(seller.champions)
    for question in ("late", "default"):
        shelf.record(question, {}, {}, seller.bundles / getattr(champions, question), {})
    return seller


def off_by(workspace: Workspace, log_odds: float) -> str:
    """Write the late champion's curve again, wrong by so much."""
    found = bundles.read(workspace.bundles, Champions.load(workspace.champions).late)
    known = found.curve.calibration
    moved = Calibration(known.slope, known.terms, tuple(o + log_odds for o in known.offsets))
    curve = replace(found.curve, calibration=moved)
    return bundles.write(workspace.bundles, curve, found.reference, found.card)


def challenge(workspace: Workspace, sha256: str) -> None:
    encours._tracking(workspace).record("late", {}, {}, workspace.bundles / sha256, {})


@pytest.fixture
def few_events(monkeypatch) -> None:
    """Let the two dozen late invoices of a small ledger tell curves apart."""
    rules = gate_file.load()
    few = {"fewest_events": 20}
    parts = {"better": rules.better, "segments": rules.segments}
    changed = {name: part.model_copy(update=few) for name, part in parts.items()}
    monkeypatch.setattr(gate_file, "load", lambda: rules.model_copy(update=changed))


@pytest.fixture
def worse(desk) -> str:
    """Register a challenger that is worse than the champion."""
    sha256 = off_by(desk, 2.0)
    challenge(desk, sha256)
    return sha256


@pytest.fixture
def poor_champion(desk) -> str:
    """Put a poor curve in charge of what was there, which challenges it."""
    good = Champions.load(desk.champions)
    poor = off_by(desk, -2.5)
    replace(good, late=poor).save(desk.champions)
    return poor


def test_a_refused_challenger_ends_with_code_1_and_the_verdict(run, desk, few_events, worse):
    before = desk.champions.read_bytes()
    ran = run("promote", "--as", "Anna")
    assert (ran.code, ran.err) == (1, "")
    cells = [[cell.strip() for cell in line.split("│")] for line in ran.out.splitlines()]
    result = {row[1]: row[2] for row in cells if len(row) > 4 and row[1]}
    assert set(result) == {"better", "calibrated", "segments", "monotone", "reloads"}
    assert (result["better"], result["segments"]) == ("failed", "failed")
    assert (result["monotone"], result["reloads"]) == ("passed", "passed")
    assert "what is in charge stays" in ran.out
    assert desk.champions.read_bytes() == before
    assert not (desk.home / "promotions").exists()


def test_a_better_challenger_is_put_in_charge_and_signed(run, desk, few_events, poor_champion):
    ran = run("promote", "late", "--as", "Anna")
    assert (ran.code, ran.err) == (0, ""), ran.out
    assert str(desk.champions) in ran.out
    assert "recorded: promotion, number 1, signed by key" in ran.out
    (record,) = verify(desk)
    assert record.body["by"] == "Anna"
    assert record.body["before"]["late"] == poor_champion
    assert Champions.load(desk.champions).late == record.body["after"]["late"] != poor_champion

    back = run("rollback", "--as", "Ben")
    assert (back.code, back.err) == (0, "")
    assert "recorded: rollback, number 2" in back.out
    assert Champions.load(desk.champions).late == poor_champion
    assert [one.body["by"] for one in verify(desk)] == ["Anna", "Ben"]


def test_what_is_put_in_charge_is_on_the_record_before_it_speaks(
    run, desk, few_events, poor_champion, monkeypatch
):
    from serving import promotions

    speaks = []
    put = promotions.put_on_record

    def spied(record, signed):
        speaks.append(Champions.load(desk.champions).late)
        return put(record, signed)

    monkeypatch.setattr(promotions, "put_on_record", spied)
    run("promote", "late", "--as", "Anna")
    run("rollback", "--as", "Ben")
    good = verify(desk)[0].body["after"]["late"]
    assert speaks == [poor_champion, good]
    with closing(Record(desk.record_url)) as record:
        entries = [json.loads(one.body) for one in record.after(0, "promotion")]
    assert [(one["change"], one["by"], one["parts"]) for one in entries] == [
        ("promotion", "Anna", ["late"]),
        ("rollback", "Ben", ["late"]),
    ]
    for entry, signed in zip(entries, verify(desk), strict=True):
        assert entry["promotion"] == {"file_sha256": signed.sha256, **signed.body}


def test_a_promotion_that_cannot_be_recorded_changes_nothing(
    run, desk, few_events, poor_champion, monkeypatch
):
    before = desk.champions.read_bytes()
    shut = desk.home / "shut.db"
    shut.mkdir()
    monkeypatch.setenv("ENCOURS_RECORD_URL", f"sqlite:///{shut}")
    ran = run("promote", "late", "--as", "Anna")
    assert (ran.code, ran.err[:50]) == (2, "encours: nothing is put in charge: it could not be")
    assert desk.champions.read_bytes() == before
    monkeypatch.delenv("ENCOURS_RECORD_URL")
    assert run("promote", "late", "--as", "Anna").code == 0
    with closing(Record(desk.record_url)) as record:  # the first was signed, and not carried out
        assert len(record.after(0, "promotion")) == 2


def test_what_is_in_charge_already_is_said_so(run, desk):
    ran = run("promote")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "Nothing to promote: all of it is in charge already.\n"


def test_with_four_eyes_the_first_only_proposes(run, desk, monkeypatch, tmp_path):
    rules = gate_file.load().model_copy(update={"four_eyes": True})
    monkeypatch.setattr(gate_file, "load", lambda: rules)
    other = tmp_path / "policy.yaml"
    other.write_text(encours.POLICY.read_text() + "\n")
    monkeypatch.setattr(encours, "POLICY", other)
    before = desk.champions.read_bytes()
    for _ in range(2):
        ran = run("promote", "--as", "Anna")
        assert (ran.code, ran.err) == (0, "")
        assert "Proposed by Anna; another person must approve" in ran.out
        assert desk.champions.read_bytes() == before
    assert "in charge" in run("promote", "--as", "Ben").out
    assert desk.champions.read_bytes() != before


def test_before_anything_was_promoted_there_is_nothing_to_roll_back(run, tmp_path, monkeypatch):
    monkeypatch.setenv("ENCOURS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(encours, "_tracking", lambda workspace: Shelf())
    ran = run("rollback")
    assert (ran.code, ran.out, ran.err) == (2, "", "encours: nothing was promoted yet\n")


@pytest.mark.parametrize("command", ["promote", "rollback"])
def test_what_can_be_promoted_is_one_of_four(run, desk, command):
    ran = run(command, "everything")
    assert ran.code == 2
    said = " ".join(re.sub("[│╭╮╰╯─]", " ", ran.err).split())
    assert "is not one of 'late', 'default', 'policy', 'all'" in said


def test_the_shadow_is_read_off_the_record(run, desk, worse):
    assert run("shadow").err == "encours: nothing was assessed here yet\n"
    assert run("assess", "C-00001").code == 0
    assert "No challenger was scored beside a champion yet" in run("shadow").out
    champions = Champions.load(desk.champions)
    replace(champions, challengers={"late": worse}).save(desk.champions)
    for customer in ("C-00001", "C-00002", "C-00003"):
        assert run("assess", customer).code == 0
    ran = run("shadow")
    assert (ran.code, ran.err) == (0, "")
    (line,) = (line for line in ran.out.splitlines() if worse[:12] in line)
    assert champions.late[:12] in line
    assert [cell.strip() for cell in line.split("│")][4:6] == ["3", "30"]


# MLflow's pages.


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_before_any_training_there_is_nothing_to_open(run, tmp_path, monkeypatch):
    monkeypatch.setenv("ENCOURS_HOME", str(tmp_path))
    ran = run("ui")
    assert (ran.code, ran.err[:36]) == (2, "encours: nothing was trained here ye")
    assert list(tmp_path.iterdir()) == []


def test_mlflow_opens_on_this_machine_only_and_ends_with_ctrl_c(tmp_path, port):
    home, log = tmp_path / "home", tmp_path / "log"
    home.mkdir()
    script = (
        "from training.tracking import Tracking; from pathlib import Path;"
        f"Tracking('sqlite:///{home}/mlflow.db', Path('{home}/a')).find('late', 'champion')"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, ROOT / "encours.py", "ui", "--port", str(port)],
            cwd=tmp_path,
            env=os.environ | {"ENCOURS_HOME": str(home)},
            stdout=output,
            stderr=output,
            start_new_session=True,  # a terminal's Ctrl-C reaches the group
        )
        try:
            _wait_for(f"http://127.0.0.1:{port}/health", process, log)
            hostile = httpx.get(f"http://127.0.0.1:{port}/", headers={"Host": "evil.example"})
            assert hostile.status_code == 403
            found = httpx.get(f"http://127.0.0.1:{port}/api/2.0/mlflow/registered-models/search")
            assert found.status_code == 200
        finally:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(120)
    assert process.returncode == 0
    assert "Traceback" not in log.read_text()
    assert f"http://127.0.0.1:{port}" in log.read_text()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0  # nothing is left behind
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "log"]


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 180
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    pytest.fail(f"MLflow did not start:\n{log.read_text()}")
