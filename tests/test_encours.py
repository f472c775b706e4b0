"""The command line as its users meet it: what it prints, what it leaves, how it fails."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
import typer

import encours
from features.store import Store, sqlite_url
from models.workspace import Workspace
from training.fit import Settings
from training.train import Plan

ROOT = Path(__file__).parents[1]
COMMANDS = [
    command.name or command.callback.__name__ for command in encours.app.registered_commands
]
PARQUET = ROOT / "mappings" / "encours.yaml"
MAPPING = """
format: {type: csv, separator: ",", date: "%Y-%m-%d", decimal: "."}
currency: EUR
customers: {customer_id: customer}
invoices:
  {invoice_id: invoice, customer_id: customer, issued_on: issued, due_on: due, amount: amount}
settlements: {invoice_id: invoice, settled_on: paid, amount: amount, kind: =payment}
"""
HEADER = "invoice,customer,issued,due,amount,paid"
GOOD = [
    "F-1,Alba,2024-01-01,2024-01-31,100.00,2024-02-02",
    "F-2,Alba,2024-02-01,2024-03-02,200.50,2024-03-01",
    "F-3,Brume,2024-02-01,2024-03-02,300.00,",
]


class Ran(NamedTuple):
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one thing it said on stderr, on one line whatever the terminal's width."""
        return re.sub(r"[│╭╮╰╯─\s]+", " ", self.err).strip()


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("ENCOURS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ENCOURS_TODAY", raising=False)
    return tmp_path / "home"


@pytest.fixture
def run(home, monkeypatch, capsys):
    """Run a command in this process; a stack trace is never what a user sees."""

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["encours", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            encours.main()
        except SystemExit as end:
            code = end.code or 0
        ran = Ran(code, *capsys.readouterr())
        assert "Traceback" not in ran.out + ran.err
        return ran

    return run


def refused(ran: Ran) -> str:
    """One sentence on stderr, nothing on stdout, exit code 2."""
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(("encours: ", "Usage: encours"))
    if ran.err.startswith("encours: ") and "as YAML" not in ran.err:  # YAML shows the place
        assert ran.err.count("\n") == 1, ran.err
    return ran.sentence


def written(folder: Path, lines: list[str], mapping: str = MAPPING) -> tuple[Path, Path]:
    """Write a ledger file and its mapping."""
    ledger, how = folder / "ledger.csv", folder / "mapping.yaml"
    ledger.write_text("\n".join([HEADER, *lines, ""]), encoding="utf-8")
    how.write_text(mapping)
    return ledger, how


def figures(ran: Ran) -> dict[str, str]:
    """Read the summary's table."""
    cells = [re.split(r"\s*│\s*", line) for line in ran.out.splitlines() if "│" in line]
    return {row[1]: row[2] for row in cells}


def added(ran: Ran) -> dict[str, int]:
    """Rows added, by table."""
    rows = figures(ran).items()
    return {
        k[: -len(" added")]: int(v.split()[0].replace(",", ""))
        for k, v in rows
        if k.endswith(" added")
    }


def put_aside(home: Path, number: int = 1) -> list[dict[str, str]]:
    file = home / "rejects" / f"import-{number}.csv"
    return list(csv.DictReader(file.read_text("utf-8").splitlines())) if file.exists() else []


# Help and README.


def test_help_lists_each_command(run):
    ran = run("--help")
    assert ran.code == 0
    desk = {"train", "promote", "rollback", "shadow", "ui", "portfolio"}
    arbitration = {"override", "overrides", "limits", "erase"}
    assert set(COMMANDS) == desk | arbitration | {"import", "simulate", "serve", "assess", "run"}
    for command in COMMANDS:
        assert re.search(rf"^│ {command} +\w", ran.out, re.MULTILINE), command


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_and_option_says_what_it_does(run, command):
    assert run(command, "--help").code == 0
    for parameter in typer.main.get_command(encours.app).commands[command].params:
        assert getattr(parameter, "help", "."), parameter.name


@pytest.mark.parametrize("command", COMMANDS)
def test_the_readme_mentions_each_command(command):
    readme = (ROOT / "README.md").read_text()
    assert f"encours {command}" in readme


def test_help_is_quick_for_it_imports_no_model():
    script = (
        "import sys, encours; sys.argv = ['encours', '--help']\n"
        "try: encours.main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'mlflow', 'lightgbm', 'pandas', 'bentoml'} & sys.modules.keys()))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines()[-1] == "[]"


# Import: nothing is lost.


def test_a_good_file_is_imported_and_summed_up(run, home, tmp_path):
    ran = run("import", *_with_mapping(written(tmp_path, GOOD)))
    assert ran.code == 0
    said = figures(ran)
    assert added(ran) == {"customers": 2, "invoices": 3, "settlements": 2}
    assert said["rows read"] == "3"
    assert said["invoices not settled yet"] == "1"
    assert said["exposure"] == "300.00 EUR"
    assert said["paid late"] == "50.0% of invoices"
    assert said["period"] == "2024-01-01 to 2024-03-02" or said["period"].startswith("2024-01-01")
    assert not (home / "rejects").exists()


def _with_mapping(files: tuple[Path, Path]) -> tuple[object, ...]:
    return files[0], "--mapping", files[1]


def test_what_is_simulated_is_imported_once(run, home, tmp_path):
    ran = run(
        "simulate", tmp_path / "sim", "--invoices", 600, "--years", 2, "--ends-on", "2025-06-30"
    )
    assert ran.code == 0
    assert "to 2025-06-30" in ran.out
    first = run("import", tmp_path / "sim", "-m", PARQUET)
    assert first.code == 0
    assert added(first)["invoices"] > 400
    again = run("import", tmp_path / "sim", "-m", PARQUET)
    assert again.code == 0
    assert set(added(again).values()) == {0}
    for table, rows in added(first).items():
        if rows:
            assert figures(again)[f"{table} added"] == f"0 ({rows:,} already there)"
    lines = sum(len(pd.read_parquet(file)) for file in (tmp_path / "sim").iterdir())
    assert figures(first)["rows read"] == f"{lines:,}"
    assert sum(added(first).values()) + len(put_aside(home)) == lines


@pytest.mark.parametrize(
    ("line", "table", "reason"),
    [
        ("F-9,Alba,01/02/2024,2024-03-02,50.00,", "invoices", "bad_date"),
        ("F-9,Alba,2024-02-30,2024-03-02,50.00,", "invoices", "bad_date"),
        ("F-9,Alba,9999-01-01,9999-12-31,50.00,", "invoices", "date_out_of_range"),
        ("F-9,Alba,,2024-03-02,50.00,", "invoices", "missing_value"),
        ("F-9,Alba,2024-03-02,2024-02-01,50.00,", "invoices", "due_before_issue"),
        ("F-9,Alba,2024-02-01,2024-03-02,-50.00,", "invoices", "amount_not_positive"),
        ("F-9,Alba,2024-02-01,2024-03-02,0,", "invoices", "amount_not_positive"),
        ('F-9,Alba,2024-02-01,2024-03-02,"50,00",', "invoices", "bad_amount"),
        ("F-9,Alba,2024-02-01,2024-03-02,50.001,", "invoices", "amount_has_more_than_two_decimals"),
        ("F-9,Alba,2024-02-01,2024-03-02,,", "invoices", "missing_value"),
        ("F-9,,2024-02-01,2024-03-02,50.00,", "customers", "missing_value"),
        (",Alba,2024-02-01,2024-03-02,50.00,", "invoices", "missing_value"),
        ("F-9,Alba,2024-02-01,2024-03-02,50.00,soon", "settlements", "bad_date"),
        ("F-9,Alba,2024-02-01,2024-03-02,50.00", "invoices", "wrong_number_of_fields"),
        ('F-9,"Alba,2024-02-01,2024-03-02,50.00,', "invoices", "bad_quotes"),
        (GOOD[0], "invoices", "duplicate"),
        (GOOD[0].replace("100.00", "7.00"), "invoices", "duplicate_with_other_content"),
    ],
)
def test_a_bad_line_is_put_aside_with_its_reason_and_the_others_are_kept(
    run, home, tmp_path, line, table, reason
):
    lines = [*GOOD[:2], line, GOOD[2]]
    ran = run("import", *_with_mapping(written(tmp_path, lines)))
    assert ran.code == 0
    aside = put_aside(home)
    assert {row["line"] for row in aside} == {"4"}  # the header is line 1
    assert {"table": table, "reason": reason} in [
        {key: row[key] for key in ("table", "reason")} for row in aside
    ]
    assert all(json.loads(row["row"]) for row in aside)
    assert str(home / "rejects" / "import-1.csv") in ran.out
    assert f"put aside: {reason.replace('_', ' ')}" in figures(ran)
    assert figures(ran)["rows read"] == "4"
    assert added(ran)["invoices"] + sum(row["table"] == "invoices" for row in aside) == 4
    waiting = int(figures(ran).get("invoices not settled yet", 0))
    refused = sum(row["table"] == "settlements" for row in aside)
    assert added(ran)["settlements"] + refused + waiting == 4


def test_invoices_of_unknown_customers_are_put_aside(run, home, tmp_path, simulated):
    folder = tmp_path / "sim"
    shutil.copytree(simulated, folder)
    customers = pd.read_parquet(folder / "customers.parquet")
    customers[5:].to_parquet(folder / "customers.parquet")
    lines = sum(len(pd.read_parquet(file)) for file in folder.iterdir())
    ran = run("import", folder, "-m", PARQUET)
    assert ran.code == 0
    aside = put_aside(home)
    orphans = [row for row in aside if row["reason"] == "unknown_customer"]
    assert {row["table"] for row in orphans} >= {"invoices", "settlements"}
    assert all(row["line"].isdigit() for row in aside)
    assert sum(added(ran).values()) + len(aside) == lines


def test_a_line_that_says_otherwise_later_supersedes(run, home, tmp_path):
    run("import", *_with_mapping(written(tmp_path, GOOD)))
    before = Store(sqlite_url(home / "facts.db")).sequence()
    changed = [GOOD[0].replace("100.00", "999.00"), "F-8,Alba,nonsense,2024-01-01,5,"]
    ran = run("import", *_with_mapping(written(tmp_path, changed)))
    assert ran.code == 0
    assert re.search(r"invoices corrected +│ 1 ", ran.out)
    assert added(ran)["invoices"] == 0
    aside = {(row["table"], row["reason"]): row for row in put_aside(home, 2)}
    assert aside["invoices", "bad_date"]["line"] == "3"
    store = Store(sqlite_url(home / "facts.db"))
    assert 99_900 in store.read()["invoices"]["amount_cents"]
    then = store.read(sequence=before)["invoices"]["amount_cents"]
    assert 10_000 in then
    assert 99_900 not in then


FEC = """
JournalCode|JournalLib|EcritureNum|EcritureDate|CompteNum|CompteLib|CompAuxNum|CompAuxLib|PieceRef|PieceDate|EcritureLib|Debit|Credit|EcritureLet|DateLet|ValidDate|Montantdevise|Idevise
VE|Ventes|1|20240115|411000|Clients|C-17|Morel|F-9|20240115|Facture|120,00|0,00|A||||
VE|Ventes|1|20240115|707000|Ventes|||F-9|20240115|Facture|0,00|120,00|||||
BQ|Banque|2|20240220|512000|Banque|||R-1|20240220|Virement|120,00|0,00|||||
BQ|Banque|2|20240220|411000|Clients|C-17|Morel|R-1|20240220|Virement|0,00|120,00|A||||
""".lstrip()


def test_a_fec_needs_no_mapping_and_says_what_it_could_not_tell(run, home, tmp_path):
    file = tmp_path / "123456782FEC20241231.txt"
    file.write_text(FEC)
    ran = run("import", file)
    assert ran.code == 0
    assert added(ran) == {"customers": 1, "invoices": 1, "settlements": 1}
    assert "settled by lettering" in ran.out
    assert "due by default terms" in ran.out
    terms = tmp_path / "terms.yaml"
    terms.write_text('terms:\n  customers:\n    "C-17": 45 days end of month\n')
    again = run("import", file, "--terms", terms)
    assert re.search(r"invoices corrected +│ 1 ", again.out)


def test_a_broken_fec_is_refused_with_its_lines(run, tmp_path):
    file = tmp_path / "fec.txt"
    file.write_text(FEC.replace("120,00|0,00|A", "121,00|0,00|A"))
    said = refused(run("import", file))
    assert "line" in said
    assert "Morel" not in said


def test_a_file_of_bad_lines_only_is_summed_up_too(run, home, tmp_path):
    ran = run("import", *_with_mapping(written(tmp_path, ["F-9,Alba,x,y,z,"])))
    assert ran.code == 0
    assert "None" not in ran.out
    assert added(ran)["invoices"] == 0


# Import: what cannot be read as a whole.


def test_a_file_with_another_separator_names_it(run, home, tmp_path):
    ledger, how = written(tmp_path, GOOD)
    ledger.write_text(ledger.read_text().replace(",", ";"))
    assert "format.separator ';'" in refused(run("import", ledger, "-m", how))
    assert not (home / "facts.db").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (HEADER.encode(), "has a header and no rows"),
        (b"PAR1 and so on", "Parquet"),
        (b"PK\x03\x04 and so on", "Excel"),
        (f"{HEADER}\nF-1,Caf\xe9,2024-01-01,2024-01-31,1,".encode("latin-1"), "encoding"),
        (b"a,b\n1,2\n", "the mapping needs"),
    ],
)
def test_a_file_of_another_kind_is_refused_in_one_sentence(run, home, tmp_path, content, said):
    ledger, how = written(tmp_path, GOOD)
    ledger.write_bytes(content)
    assert said in refused(run("import", ledger, "-m", how))
    assert not (home / "facts.db").exists()


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ("", "must hold keys"),
        ("a: [", "cannot be read as YAML"),
        (MAPPING.replace("currency: EUR", "currency: euro"), "currency"),
        (MAPPING.replace("due_on: due, ", ""), "lacks due_on"),
        (MAPPING.replace("invoices:", "bills:"), "'bills' is not a known key"),
        (MAPPING.replace("%Y-%m-%d", "%d"), "must give year, month and day"),
        (MAPPING.replace("=payment", "=gift"), "gift"),
    ],
)
def test_a_bad_mapping_is_refused_and_the_key_is_named(run, tmp_path, mapping, said):
    ledger, how = written(tmp_path, GOOD, mapping)
    if said == "gift":  # known only when rows are checked
        assert "unknown kind" in run("import", ledger, "-m", how).out
    else:
        assert said in refused(run("import", ledger, "-m", how))


def test_missing_files_are_named(run, tmp_path):
    ledger, how = written(tmp_path, GOOD)
    nowhere = tmp_path / "nowhere"
    assert "nowhere does not exist" in refused(run("import", nowhere, "-m", how))
    assert "nowhere" in refused(run("import", ledger, "-m", nowhere))
    assert "--mapping" in refused(run("import", ledger))


def test_a_ledger_has_one_currency(run, tmp_path):
    run("import", *_with_mapping(written(tmp_path, GOOD)))
    dollars = written(tmp_path, GOOD, MAPPING.replace("EUR", "USD"))
    assert "the ledger is in EUR" in refused(run("import", *_with_mapping(dollars)))


# Before there is anything.


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train"], "run `encours import` first"),
        (["promote"], "run `encours train`"),
        (["assess", "C-1"], "run `encours import` first"),
        (["run", "--ledger", "x.csv"], "x.csv does not exist"),
        (["run", "--ledger", str(PARQUET)], "is no FEC: say how to read it with --mapping"),
        (["run", "--mapping", "x.yaml"], "give --ledger too"),
        (["import", str(PARQUET)], "is no FEC: say how to read it with --mapping"),
    ],
)
def test_each_command_says_which_comes_first_and_stands_in_no_ones_way(
    run, home, tmp_path, arguments, said
):
    assert said in refused(run(*arguments))
    assert not (home / "facts.db").exists()
    assert run("import", *_with_mapping(written(tmp_path, GOOD))).code == 0


def test_an_import_cut_short_stands_in_no_ones_way(run, home, tmp_path):
    home.mkdir()
    (home / "facts.db").touch()
    assert "encours import" in refused(run("train"))
    assert run("import", *_with_mapping(written(tmp_path, GOOD))).code == 0


@pytest.mark.parametrize("command", [["train"], ["assess", "C-1"], ["serve"]])
def test_facts_that_are_no_database_are_said_so(run, home, command):
    home.mkdir()
    (home / "facts.db").write_bytes(b"not a database" * 999)
    assert "file is not a database" in refused(run(*command))


def test_too_short_a_ledger_is_said_so(run, tmp_path):
    run("import", *_with_mapping(written(tmp_path, GOOD)))
    assert "late curve: " in refused(run("train"))


# What is typed wrong.


@pytest.mark.parametrize("date", ["01/02/2024", "2024-02-30", "yesterday", "2024", ""])
@pytest.mark.parametrize(
    "command",
    [["train", "--cutoff"], ["simulate", "x", "--ends-on"], ["assess", "C", "--today"]],
)
def test_a_bad_date_is_one_sentence(run, command, date):
    assert f"{date!r} is not a date written YYYY-MM-DD" in refused(run(*command, date))


def test_a_bad_day_in_the_environment_is_one_sentence(run, monkeypatch):
    monkeypatch.setenv("ENCOURS_TODAY", "soon")
    assert "ENCOURS_TODAY" in refused(run("assess", "C-1"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--amount", "abc", "--margin", "1"], "--amount must be money"),
        (["--amount", "NaN", "--margin", "1"], "--amount must be money"),
        (["--amount", "1e400", "--margin", "1"], "--amount must be money"),
        (["--amount", "-5", "--margin", "1"], "--amount must be money"),
        (["--amount", "1.005", "--margin", "1"], "--amount must be money"),
        (["--amount", "0", "--margin", "0"], "--amount must be > 0"),
        (["--amount", "10", "--margin", "x"], "--margin must be money"),
        (["--amount", "10", "--margin", "11"], "--margin must be at most the amount"),
        (["--amount", "10", "--margin", "1", "--terms", "-1"], "--terms"),
        (["--amount", "10", "--margin", "1", "--terms", "999"], "--terms"),
        (["--amount", "10", "--margin", "1", "--terms", "x"], "--terms"),
        (["--amount", "10"], "both --amount and --margin"),
        (["--terms", "60"], "both --amount and --margin"),
    ],
)
def test_a_bad_order_is_one_sentence(run, options, said):
    assert said in refused(run("assess", "C-1", *options))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--invoices", "0"], "--invoices"),
        (["--years", "0"], "--years"),
        (["--years", "99"], "--years"),
        (["--seed", "-1"], "--seed"),
        (["--ends-on", "1492-10-12"], "between 2000 and 2099"),
    ],
)
def test_a_simulation_that_cannot_be_is_refused(run, tmp_path, options, said):
    assert said in refused(run("simulate", tmp_path / "sim", *options))
    assert not (tmp_path / "sim").exists()


def test_a_folder_that_is_a_file_is_named(run, tmp_path):
    file = tmp_path / "file"
    file.touch()
    assert str(file) in refused(run("simulate", file, "--invoices", 100, "--years", 1))


# On a trained ledger.


@pytest.fixture
def at_home(seller, monkeypatch) -> Workspace:
    monkeypatch.setenv("ENCOURS_HOME", str(seller.home))
    return seller


def test_an_assessment_is_printed_as_json_and_recorded(run, at_home):
    ran = run("assess", "C-00001", "--amount", "2000", "--margin", "120.5", "--terms", "45")
    assert ran.code == 0
    answer = json.loads(ran.out)
    assert answer["order"] == {
        "amount": "2000.00",
        "margin": "120.50",
        "terms_days": 45,
        "paid": "0.00",
        "assumed": False,
    }
    assert answer["record"]["entry"] == 1
    assert ran.sentence == "The ledger ended on 2025-07-01: answers are given as of that day."
    assert answer["as_of"] == "2025-07-02"


def test_without_an_order_the_usual_one_is_assumed(run, at_home):
    assert json.loads(run("assess", "C-00001").out)["order"]["assumed"] is True


def test_terms_are_30_days_unless_said(run, at_home):
    ran = run("assess", "C-00001", "--amount", "2000", "--margin", "-10")
    answer = json.loads(ran.out)
    assert (answer["order"]["terms_days"], answer["order"]["margin"]) == (30, "-10.00")


def test_the_day_can_be_chosen_by_option_or_environment(run, at_home, monkeypatch):
    chosen = run("assess", "C-00001", "--today", "2025-03-31")
    assert json.loads(chosen.out)["as_of"] == "2025-04-01"
    assert chosen.err == ""
    monkeypatch.setenv("ENCOURS_TODAY", "2025-02-28")
    assert json.loads(run("assess", "C-00001").out)["as_of"] == "2025-03-01"


def test_errors_of_an_assessment_are_one_sentence(run, at_home):
    known = "--today", "2025-07-01"
    assert "does not know this customer" in refused(run("assess", "nobody", *known))
    at_home.champions.unlink()
    assert "run `encours train`" in refused(run("assess", "C-00001", *known)).lower()


def test_a_record_that_cannot_be_written_gives_no_answer(run, at_home):
    (at_home.home / "record.db").write_bytes(b"not a database" * 999)
    ran = run("assess", "C-00001", "--today", "2025-07-01")
    assert "cannot be used now (its file is damaged)" in refused(ran)


def test_a_cutoff_after_the_end_is_refused(run, at_home):
    said = refused(run("train", "--cutoff", "2025-07-02"))
    assert said == "encours: the ledger ends on 2025-07-01, nothing comes after that cut-off"


def test_a_worse_challenger_is_trained_shown_and_refused(run, at_home, monkeypatch):
    quick = partial(Plan, Settings(most_rounds=5, pairs_per_row=1), resamples=5)
    monkeypatch.setattr("training.train.Plan", quick)
    before = json.loads(run("assess", "C-00001").out)["versions"]
    trained = run("train", "--walk-forward", "0", "--owner", "Ada")
    assert (trained.code, trained.err) == (0, "")
    for words in ("late curve, version 1", "default curve, version 1", "AUC [95 %]", "By segment"):
        assert words in trained.out
    assert json.loads(run("assess", "C-00001").out)["versions"] == before  # not in charge yet
    assert "In the shadow" in run("shadow").out  # but asked beside the champion
    promoted = run("promote")
    assert promoted.code == 1
    assert "The gate refuses; what is in charge stays." in promoted.out
    assert json.loads(run("assess", "C-00001").out)["versions"] == before


# The service.


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("command", ["serve", "run"])
def test_a_taken_port_is_said_so(run, at_home, port, command):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        ran = run(command, "--port", port)
    assert ran.code == 2
    assert f"port {port} cannot be used" in ran.err


def test_run_serves_shows_an_answer_and_leaves_nothing_behind(at_home, port, tmp_path):
    log = tmp_path / "log"
    environment = {k: v for k, v in os.environ.items() if k != "ENCOURS_TODAY"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, ROOT / "encours.py", "run", "--port", str(port)],
            cwd=tmp_path,
            env=environment | {"BENTOML_HOME": str(tmp_path)},
            stdout=output,
            stderr=output,
        )
        try:
            end = time.monotonic() + 180
            while "Serving: stop with" not in log.read_text():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.2)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(120)
    said = log.read_text()
    assert "The ledger ended on 2025-07-01" in said
    assert f"curl -s http://127.0.0.1:{port}/v1/assessments" in said
    assert '"recommendation"' in said
    assert "Traceback" not in said
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0  # the service ended with it
    assert Store(at_home.facts_url).sequence() == 1
