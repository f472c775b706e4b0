"""``encours limits``: what is proposed, why, and the file that is imported back."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from commands.limits import COLUMNS
from features.store import Source, Store
from models.bundle import Champions
from tests.features.ledgers import ledger_of, read_tables

DAY = ("--today", "2025-07-02")
MAPPING = Path(__file__).parents[2] / "mappings" / "credit_limits.yaml"


@pytest.fixture
def run_there(run, seller, monkeypatch):
    monkeypatch.setenv("ENCOURS_HOME", str(seller.home))
    return run


@pytest.fixture
def lines(run_there, tmp_path):
    """Write the file and read it, by customer."""

    def lines():
        file = tmp_path / "limits.csv"
        assert run_there("limits", "--out", file, *DAY).code == 0
        rows = list(csv.DictReader(file.read_text("utf-8").splitlines()))
        return {row["customer_id"]: row for row in rows}

    return lines


def add(seller, text: str) -> None:
    tables = read_tables(text)
    store = Store(seller.facts_url)
    here = tables["customers"]["customer_id"].isin(store.known().customers)
    tables["customers"] = tables["customers"][~here]
    store.append(ledger_of(tables), Source(()))


def cents(money: str) -> int:
    return round(100 * float(money or 0))


def test_limits_are_shown_most_euros_first_with_totals_and_why(run_there):
    ran = run_there("limits", *DAY)
    assert ran.code == 0
    assert "Limits that change, most euros first, in EUR" in ran.out
    assert "what the customer's purchases need" in ran.out
    for words in ("raised", "lowered", "first limits", "unchanged (within 10% of the old one)"):
        assert words in ran.out
    assert "Exposure above the limit" in ran.out
    assert "Without a proposal the old limit stays: too little is known" in ran.out
    assert "Not looked at" in ran.out


def test_the_file_has_every_customer_who_bought_within_a_year(lines, seller):
    found = lines()
    invoices = Store(seller.facts_url).read()["invoices"]
    recent = invoices["issued_on"] > (np.datetime64("2025-07-02") - 364).astype(int)
    assert set(found) >= {str(one) for one in invoices["customer_id"][recent]}
    assert [*next(iter(found.values()))] == list(COLUMNS)


def test_lines_are_sorted_by_euros_moved_and_every_figure_adds_up(lines):
    rows = list(lines().values())
    moved = [abs(cents(row["moved"])) for row in rows]
    assert moved == sorted(moved, reverse=True)
    assert moved[0] > 0
    for row in rows:
        assert cents(row["moved"]) == cents(row["amount"]) - cents(row["old"])
        if row["amount"]:
            assert cents(row["room"]) == cents(row["amount"]) - cents(row["exposure"])
        if row["recommended"]:
            assert row["grade"] in "ABCDEFGH"
            unchanged = abs(cents(row["recommended"]) - cents(row["old"])) <= cents(row["old"]) / 10
            assert (row["amount"] == row["old"]) == (unchanged and row["old"] != "")
            assert row["review_on"] > "2025-07-02"


def test_what_is_recommended_is_what_an_assessment_of_the_usual_order_says(lines, run_there):
    """Of customers without cover or group: the assessment does not read these yet."""
    compared = 0
    for customer, row in lines().items():
        answer = json.loads(run_there("assess", customer, *DAY).out) if compared < 8 else None
        if answer is None:
            break
        if answer["recommendation"]["recommended_limit"] is None:
            continue
        if answer["insurance"]["covered"] != "0.00" or "group" in row["why_en"]:
            continue
        if row["why_en"] != "what the customer's purchases need":
            continue
        assert answer["recommendation"]["recommended_limit"] == row["recommended"]
        assert answer["customer"]["grade"] == row["grade"]
        compared += 1
    assert compared == 8


def test_the_approved_file_is_imported_back_and_asked_again_hardly_anything_moves(
    lines, run_there, tmp_path
):
    """The curve reads how the limit is used, so the probability moves a little with a new one."""
    before = lines()
    ran = run_there("import", tmp_path / "limits.csv", "-m", MAPPING)
    assert ran.code == 0
    after = lines()
    decided = {customer: row["amount"] for customer, row in before.items() if row["amount"]}
    assert {customer: after[customer]["old"] for customer in decided} == decided
    moved = [c for c in decided if after[c]["amount"] != after[c]["old"]]
    assert len(moved) <= 0.02 * len(decided)


def test_a_line_without_a_proposal_is_put_aside_by_the_import_and_never_made_0(
    lines, run_there, tmp_path, seller
):
    """
    customer | invoice | issued_on  | due_on     | amount | recorded_at
    NEW      | N-1     | 2025-07-01 | 2025-07-31 | 500    | 2025-07-01
    """
    add(seller, test_a_line_without_a_proposal_is_put_aside_by_the_import_and_never_made_0.__doc__)
    row = lines()["NEW"]
    assert (row["amount"], row["recommended"], row["grade"]) == ("", "", "")
    assert "too little is known" in row["why_en"]
    ran = run_there("import", tmp_path / "limits.csv", "-m", MAPPING)
    assert "put aside" in ran.out
    assert lines()["NEW"]["old"] == ""


def test_a_blocked_customer_is_proposed_nothing(lines, seller, run_there):
    customer = next(c for c, row in lines().items() if cents(row["amount"]) > 0)
    add(
        seller,
        f"""
        event_id | customer   | kind           | opened_on  | recorded_at
        E-NOW    | {customer} | reorganisation | 2025-07-02 | 2025-07-02
    """,
    )
    row = lines()[customer]
    assert (row["amount"], row["why_en"]) == ("0.00", "insolvency proceedings opened")
    assert row["why_fr"] == "procédure collective ouverte"


def test_no_cell_is_run_by_a_spreadsheet(lines, seller, tmp_path):
    """
    customer   | invoice | issued_on  | due_on     | amount | recorded_at
    =1+1       | N-2     | 2025-07-01 | 2025-07-31 | 500    | 2025-07-01
    @SUM(A1)   | N-3     | 2025-07-01 | 2025-07-31 | 500    | 2025-07-01
    """
    add(seller, test_no_cell_is_run_by_a_spreadsheet.__doc__)
    found = lines()
    assert {"'=1+1", "'@SUM(A1)"} <= set(found)
    for row in found.values():
        for column, value in row.items():
            is_money = column in ("moved", "room", "exposure")
            assert is_money or not value.startswith(("=", "+", "-", "@")), column


def test_the_derivation_of_one_customer_ends_in_what_is_proposed(run_there, lines):
    customer, row = next((c, r) for c, r in lines().items() if cents(r["amount"]) > 0)
    ran = run_there("limits", customer, *DAY)
    assert ran.code == 0
    recommended = f"{cents(row['recommended']) / 100:,.2f}"
    assert "Purchases over a year" in ran.out
    assert "Limite recommandée" in ran.out
    assert recommended in ran.out
    assert f"Why: {row['why_en']} ({row['why_fr']})." in ran.out
    assert f"To be looked at again on {row['review_on']}" in ran.out


def test_a_customer_who_does_not_buy_has_no_derivation(run_there):
    ran = run_there("limits", "nobody", *DAY)
    assert (ran.code, ran.out) == (2, "")
    assert "nobody is not among the customers who bought within a year" in ran.err


def test_without_a_default_curve_nothing_is_proposed_and_it_says_why(run_there, seller):
    content = json.loads(seller.champions.read_text())
    content["default"] = None
    content["abstentions"] = {"default": {"reason": "too few defaults"}}
    seller.champions.write_text(json.dumps(content))
    assert Champions.load(seller.champions).default is None
    ran = run_there("limits", *DAY)
    assert ran.code == 0
    assert "no default model is in charge" in ran.out
    assert " 0 raised, " in ran.out


def test_before_there_is_anything_it_says_what_comes_first(run):
    ran = run("limits")
    assert (ran.code, ran.out) == (2, "")
    assert "run `encours import` first" in ran.err
