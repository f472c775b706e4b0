"""``encours policy check | show | diff | simulate``."""

import re
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from commands import policy as commands_policy
from features.ledger import check
from features.simulator import Simulation, simulate
from features.store import Source, Store, sqlite_url
from tests.models.policies import FILE, POLICY, TEXT
from training.backtest_report import _texts


def test_a_good_policy_is_told_by_its_identity(run):
    ran = run("policy", "check")
    assert ran.code == 0
    assert POLICY.sha256 in ran.out
    assert "11 options, 5 rules" in ran.out


def test_every_fault_of_a_policy_is_told_with_its_line(run, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(TEXT.replace("cash: 0.40", "cash: 1.40").replace("E: 90", "E: 900"), "utf-8")
    ran = run("policy", "check", file)
    assert ran.code == 2
    lines = file.read_text("utf-8").splitlines()
    for start, key in (("  cash: 1.40", "acceptance_rate.cash"), ("  review_days", "limit.review")):
        at = next(i for i, line in enumerate(lines, 1) if line.startswith(start))
        assert f"{file}:{at}: {key}" in ran.err


def test_the_matrix_names_an_action_in_every_cell(run):
    ran = run("policy", "show")
    assert ran.code == 0
    assert ran.out.count("margin 10%") == 6
    for action in ("open terms", "deposit 30 %", "retention of title", "cash before delivery"):
        assert action in ran.out
    assert "key customer, the order covered at 90 %" in ran.out


def test_two_policies_are_compared_key_by_key_and_cell_by_cell(run, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text(TEXT.replace("cash: 0.40", "cash: 0.44"), "utf-8")
    ran = run("policy", "diff", other, FILE)
    assert ran.code == 0
    assert "acceptance_rate.cash" in ran.out
    assert "of 192 cells of the matrix change" in ran.out


def test_a_policy_says_the_same_as_itself(run):
    assert "say the same" in run("policy", "diff", FILE, FILE).out


@pytest.mark.parametrize("command", ["check", "show"])
def test_a_missing_file_is_one_sentence(run, command, tmp_path):
    ran = run("policy", command, tmp_path / "nowhere.yaml")
    assert (ran.code, ran.out) == (2, "")
    assert "cannot be read" in ran.err


# --- simulate ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ledger_db(tmp_path_factory) -> Path:
    """Import three years of a few customers, one of whom has a formula for a name."""
    folder = tmp_path_factory.mktemp("ledger")
    tables = simulate(
        Simulation(invoices=3_000, years=3, ends_on=date(2025, 6, 30), invoices_per_customer=25)
    ).tables
    victim = tables["invoices"]["customer_id"].mode()[0]
    for rows in tables.values():
        rows["customer_id"] = rows["customer_id"].replace(victim, "=HYPERLINK(1)")
    tables["customers"]["name"] = "Secret & Fils"
    ledger, _ = check(tables, "EUR")
    store = Store(sqlite_url(folder / "facts.db"), "EUR")
    store.append(ledger, Source(()))
    return folder / "facts.db"


def test_past_orders_are_replayed_beside_what_happened(run, ledger_db, tmp_path, monkeypatch):
    monkeypatch.setattr(commands_policy, "QUICK_PAIRS", 5_000)
    monkeypatch.setattr(commands_policy, "RESAMPLES", 20)
    strict = tmp_path / "strict.yaml"
    strict.write_text(TEXT.replace("margin_rate: 0.05", "margin_rate: 0.02"), "utf-8")
    out = tmp_path / "decisions.csv"
    ran = run(
        *("policy", "simulate", strict, "--ledger", ledger_db, "--cutoff", "2024-06-03"),
        *("--orders", 100, "--margin-rate", "0.05", "--out", out),
    )
    assert (ran.code, ran.err) == (0, "")
    assert "Orders issued from 2024-06-03 on" in ran.out
    assert "are those of shipped policy.yaml, for every policy" in ran.out
    assert "strict.yaml (new): the default curve abstains" in ran.out
    for words in ("accept all", "ageing rule", "strict.yaml (new)", "Believed and seen"):
        assert words in ran.out
    for caveat in ("in no ledger", "is not known", "real history", "held for a person"):
        assert caveat in ran.out
    decisions = pd.read_csv(out)
    assert 100 <= len(decisions) < 300
    assert decisions["issued_on"].min() >= "2024-06-03"
    assert set(decisions["accept_all_action"]) == {"open"}
    profit = round(decisions["accept_all_profit"].sum())
    shown = re.search(r"│ profit +│ +([\d,]+) │", ran.out)
    assert int(shown[1].replace(",", "")) == pytest.approx(profit, abs=1)
    text = out.read_text("utf-8")
    assert "Secret" not in text
    assert not re.search(r"(^|,)[=+@]", text, re.MULTILINE)


def test_what_cannot_be_replayed_is_one_sentence(run, ledger_db):
    ran = run("policy", "simulate", "--ledger", ledger_db, "--cutoff", "2030-01-01")
    assert (ran.code, ran.out) == (2, "")
    assert "the ledger ends on" in ran.err
    ran = run("policy", "simulate", "--ledger", ledger_db, "--cutoff", "2025-06-01")
    assert ran.code == 2
    assert "choose an earlier one" in ran.err
    assert "run `encours import` first" in run("policy", "simulate").err


def test_identifiers_that_a_spreadsheet_would_run_are_quoted():
    assert _texts(np.array(["=1+1", "-2", "C-1"], object)) == ["'=1+1", "'-2", "C-1"]
