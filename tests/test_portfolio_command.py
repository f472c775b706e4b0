"""``encours portfolio``: what a credit manager reads, with a model and without, and the CSV."""

from __future__ import annotations

import csv
import re
import sys
from decimal import Decimal
from pathlib import Path

import pytest

import encours
from commands.portfolio_csv import RISKY
from commands.portfolio_tables import days, money, share
from models.receivables_file import PATH

MAPPING = """
format: {type: csv, separator: ",", date: "%Y-%m-%d", decimal: "."}
currency: EUR
customers: {customer_id: customer}
invoices:
  {invoice_id: invoice, customer_id: customer, issued_on: issued, due_on: due, amount: amount}
settlements: {invoice_id: invoice, settled_on: paid, amount: amount, kind: =payment}
"""
LEDGER = """invoice,customer,issued,due,amount,paid
F-1,Alba,2025-01-01,2025-01-31,100.00,2025-02-02
F-2,Alba,2025-02-01,2025-03-03,200.50,
=2+5,@Brume,2025-02-01,2025-05-02,300.00,
"""


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command on a wide terminal; return its code, what it printed and what it said."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr(sys, "argv", ["encours", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            encours.main()
        except SystemExit as end:
            code = int(end.code or 0)
        ran = capsys.readouterr()
        assert "Traceback" not in ran.out + ran.err
        return code, ran.out, ran.err

    return run


@pytest.fixture
def at_home(trained, monkeypatch):
    monkeypatch.setenv("ENCOURS_HOME", str(trained.home))
    monkeypatch.delenv("ENCOURS_TODAY", raising=False)
    return trained


@pytest.fixture
def small(run, tmp_path, monkeypatch) -> Path:
    """Import a ledger of three invoices, without any model."""
    monkeypatch.setenv("ENCOURS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ENCOURS_TODAY", raising=False)
    (tmp_path / "ledger.csv").write_text(LEDGER)
    (tmp_path / "mapping.yaml").write_text(MAPPING)
    assert run("import", tmp_path / "ledger.csv", "-m", tmp_path / "mapping.yaml")[0] == 0
    return tmp_path


def read(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.read_text("utf-8").splitlines()))


def cells(out: str, label: str) -> list[str]:
    """Cells of the first line of a table that begins with a label."""
    line = next(line for line in out.splitlines() if line.startswith(f"│ {label}"))
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_without_a_model_everything_else_is_told_and_why_there_is_no_model(run, small):
    code, out, _ = run("portfolio", "--today", "2025-03-31")
    assert code == 0
    assert cells(out, "open invoices")[1] == "500.50"
    assert cells(out, "1–30") == ["1–30", "1", "200.50", "40.1%"]
    assert cells(out, "best-possible DSO")[1] == days(300 / 600.50 * 90)
    assert "No model: no model is in charge: run `encours train`, then `encours promote`." in out
    assert "Terms beyond the law" in out  # =2+5: 90 days
    for word in ("balance âgée", "encours", "affacturage", "pénalités de retard", "litige"):
        assert word in out


def test_a_customer_that_is_a_quarter_of_the_turnover_is_named(run, small):
    out = run("portfolio", "--today", "2025-03-31")[1]
    assert cells(out, "@Brume")[0] == "@Brume *"
    assert cells(out, "Alba")[4] == "50.0%"


def test_facts_of_later_days_do_not_count(run, small):
    out = run("portfolio", "--today", "2025-01-31")[1]
    assert cells(out, "open invoices")[1] == "100.00"
    assert cells(run("portfolio", "--today", "2025-02-02")[1], "open invoices")[1] == "500.50"


def test_the_csv_holds_each_invoice_and_no_formula(run, small):
    file = small / "detail" / "invoices.csv"
    out = run("portfolio", "--today", "2025-03-31", "--out", file)[1]
    assert f"Written: {file}" in out
    rows = {row["invoice_id"]: row for row in read(file)}
    assert list(rows) == ["'=2+5", "F-1", "F-2"]
    assert rows["'=2+5"]["customer_id"] == "'@Brume"
    assert rows["F-2"]["days_past_due"] == "28"
    assert rows["F-2"]["late_interest"] == str(round(Decimal("200.50") * 28 * 1315 / 3650000, 2))
    assert rows["F-1"]["reason"] == "nothing_owed"
    assert rows["F-1"]["indemnity"] == "40.00"
    for row in rows.values():
        assert not any(value.startswith(RISKY) for value in row.values())


def test_with_the_model_in_charge_both_bases_stand_side_by_side_and_add_up(run, at_home, tmp_path):
    code, out, err = run("portfolio", "--out", tmp_path / "all")
    assert code == 0
    assert "answers are given as of that day" in err
    assert re.search(r"Model: default curve [0-9a-f]{12}", out)
    assert "roll rate | model, by age and grade" in out
    invoices, matrix = (
        read(tmp_path / "all" / "invoices.csv"),
        read(tmp_path / "all" / "provision_matrix.csv"),
    )
    measures = {row["measure"]: row["value"] for row in read(tmp_path / "all" / "measures.csv")}

    def total(rows: list[dict[str, str]], column: str) -> Decimal:
        return sum((Decimal(row[column]) for row in rows), Decimal(0))

    owed = total(invoices, "owed")
    assert owed == total(matrix, "exposure") == Decimal(measures["exposure"])
    assert total(invoices, "eligible") + total(invoices, "excluded") == owed
    for basis in ("ecl_roll_rate", "ecl_model"):
        assert total(invoices, basis) == total(matrix, basis)
    shown = cells(out[out.index("Expected credit losses") :], "total")
    assert shown[1] == f"{owed:,.2f}"
    assert shown[5] == f"{total(matrix, 'ecl_model'):,.2f}"
    at_risk = [row for row in invoices if Decimal(row["owed"]) > 0]
    assert all(0 <= Decimal(row["model_probability"]) <= 1 for row in at_risk)


@pytest.mark.parametrize("by", ["sector", "country", "none"])
def test_the_matrix_can_be_grouped_otherwise(run, at_home, by):
    out = run("portfolio", "--group", by)[1]
    assert ("by age alone" if by == "none" else f"by age and {by}") in out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--group", "grade"], "grades are the model's, and no model is in charge"),
        (["--group", "colour"], "colour"),
        (["--parameters", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
        (["--ledger", "nowhere.db"], "nowhere.db"),
    ],
)
def test_what_cannot_be_is_one_sentence(run, small, options, said):
    code, out, err = run("portfolio", *options)
    assert (code, out) == (2, "")
    assert said in err


def test_parameters_of_ones_own_are_read_strictly(run, small, tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text(PATH.read_text("utf-8").replace("lgd_rate: 0.60", "lgd_rate: 6"))
    assert f"{mine}:" in run("portfolio", "--parameters", mine)[2]
    mine.write_text(PATH.read_text("utf-8").replace("indemnity: 40.00", "indemnity: 50.00"))
    assert "indemnity 50.00 €" in run("portfolio", "--parameters", mine)[1]


def test_without_a_ledger_it_says_what_comes_first(run, tmp_path, monkeypatch):
    monkeypatch.setenv("ENCOURS_HOME", str(tmp_path / "none"))
    code, _, err = run("portfolio")
    assert code == 2
    assert "run `encours import` first" in err
    assert not (tmp_path / "none").exists()


def test_figures_are_written_for_reading():
    assert money(-1_234_567_05) == "-1,234,567.05"
    assert (share(float("nan")), days(float("nan"))) == ("–", "–")
