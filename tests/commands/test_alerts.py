"""``encours alerts``: the whole portfolio against the state of before."""

import re

import pytest

from models.alerts_file import PATH
from serving.alerts import Alerts
from serving.audit import Record


@pytest.fixture
def run_there(run, seller, monkeypatch):
    monkeypatch.setenv("ENCOURS_HOME", str(seller.home))
    return run


def counts(out: str) -> tuple[int, ...]:
    """Read: customers evaluated, new alerts, over or replaced, standing."""
    found = re.search(
        r"([\d,]+) customers evaluated: ([\d,]+) new alerts, ([\d,]+) over .*, ([\d,]+) stand", out
    )
    assert found is not None
    return tuple(int(one.replace(",", "")) for one in found.groups())


def test_the_portfolio_is_evaluated_once_and_then_against_the_state_of_before(run_there, seller):
    first = run_there("alerts", "run", "--today", "2025-04-30")
    assert first.code == 0
    assert "The first run" in first.out
    evaluated, new, over, stand = counts(first.out)
    assert evaluated > 20
    assert (over, stand) == (0, new)
    known = {one.said["code"] for one in Alerts(Record(seller.record_url)).all()}
    assert known <= {"insolvency_opened", "in_default", "insurer_deadline"}

    again = run_there("alerts", "run", "--today", "2025-04-30")
    assert counts(again.out) == (evaluated, 0, 0, stand)
    assert "The first run" not in again.out

    later = run_there("alerts", "run", "--today", "2025-06-30")
    _, raised, _, _ = counts(later.out)
    assert raised > 0
    listed = run_there("alerts", "list")
    assert listed.code == 0
    assert "Alerts that stand" in listed.out


def test_rules_of_ones_own_are_read_strictly(run_there, tmp_path, monkeypatch):
    own = tmp_path / "alerts.yaml"
    own.write_text(PATH.read_text("utf-8").replace("after_days: 45", "after_days: 1"), "utf-8")
    monkeypatch.setenv("ENCOURS_ALERTS", str(own))
    wrong = run_there("alerts", "run", "--today", "2025-04-30")
    assert wrong.code == 2
    assert "overdue.clears_days: must be below 1 days" in re.sub(r"\s+", " ", wrong.err)


@pytest.mark.parametrize("command", ["run", "list"])
def test_where_there_is_nothing_it_says_what_to_do(run, command):
    ran = run("alerts", command)
    assert ran.code == 2
    assert "encours" in ran.err
