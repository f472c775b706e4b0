"""The benchmarks run, compare like with like, and say when a target is missed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import features, page
from benchmarks.page import Row, at_least, at_most, write_section
from benchmarks.parts import Measured

ROOT = Path(__file__).parents[1]


def figures(text: str) -> dict[str, tuple[str, str, str]]:
    """Read the tables of the page: target, measured, verdict by what was measured."""
    rows = [re.split(r"\s*\|\s*", line)[1:-1] for line in text.splitlines() if line[:2] == "| "]
    return {what: (target, measured, verdict) for what, target, measured, verdict in rows}


def test_every_measure_is_made_on_a_small_ledger_and_kept_on_the_page(tmp_path):
    kept, work = tmp_path / "benchmarks.md", tmp_path / "work"
    work.mkdir()
    sizes = ["--invoices", "3000", "--customers", "20", "--lines", "500", "--brief"]
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.features", *sizes, "--page", kept, "--folder", work],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in ran.stderr, ran.stderr
    found = figures(kept.read_text("utf-8"))
    target, _, verdict = found["3,000 invoices: largest difference between the two"]
    assert (target, verdict) == ("<= 1e-09", "PASS")  # both ways give the same features
    assert found["3,000 invoices: peak memory of the command, GB"][2] == "PASS"
    assert len([what for what in found if "p50" in what or "p99" in what]) == 4
    assert len([what for what in found if what.endswith("lines/s")]) == 2
    missed = [what for what, row in found.items() if row[2] == "FAIL"]
    assert ran.returncode == bool(missed)
    assert re.findall(r"^MISSED (.+)$", ran.stdout, re.MULTILINE) == missed
    assert list(work.iterdir()) == []  # gigabytes are not left behind


def timed(invoices: int, *seconds: float) -> features.Bulk:
    """Give a ledger's measures of which only the times count."""
    bulk = features.Bulk(Path(), invoices)
    bulk.runs["in_memory"] = [Measured(99, 0, {"seconds": s}) for s in seconds]
    bulk.runs["command"] = [Measured(s, 0, {}) for s in seconds]
    return bulk


def test_growth_compares_medians_and_is_1_in_proportion():
    small = timed(1_000, 2.0, 1.0, 50.0)
    assert [row.measured for row in features.growth(small, timed(10_000, 20.0))] == ["1.00"] * 2
    slow = features.growth(small, timed(10_000, 200.0))
    assert [(row.measured, row.is_met) for row in slow] == [("2.00", False)] * 2


def test_two_processes_must_be_worth_their_start():
    bulk = timed(10_000_000, 84.0)
    for seconds, is_met in ((49.4, True), (49.5, False)):
        bulk.runs["two"] = [Measured(seconds, 0, {})]
        assert features.two_processes(bulk).is_met is is_met


def test_a_large_ledger_is_run_once_and_the_naive_way_on_three_dates():
    large = features.Bulk(Path(), 10_000_000)
    assert (large.times, [str(day) for day in large.naive_dates]) == (
        1,
        ["2023-07-01", "2024-07-01", "2025-07-01"],
    )
    large.runs["naive"] = [Measured(99, 0, {"seconds": 10.0})]
    assert large.seconds("naive") == 120


@pytest.mark.parametrize(
    ("row", "is_met"),
    [
        (at_least("ratio", 12.0, 12, "{:.1f}"), True),
        (at_least("ratio", 11.99, 12, "{:.1f}"), False),
        (at_most("time", 1.0, 1, "{:.2f} ms"), True),
        (at_most("time", 1.001, 1, "{:.2f} ms"), False),
        (at_most("time", float("nan"), 1, "{:.2f} ms"), False),
    ],
)
def test_a_target_is_met_by_the_figure_not_by_how_it_is_shown(row, is_met):
    assert row.is_met is is_met
    assert row.cells[3] == ("PASS" if is_met else "FAIL")


def test_a_missed_target_fails_the_command(monkeypatch, tmp_path, capsys):
    missed, met = at_least("speed", 1, 2, "{}"), at_least("size", 2, 1, "{}")
    monkeypatch.setattr(features, "_on_ledgers", lambda *_: [("Bulk", [met], "")])
    monkeypatch.setattr(features, "import_of_csv", lambda *_: [met, Row("for information", "1")])
    arguments = ["--page", str(tmp_path / "page.md"), "--folder", str(tmp_path)]
    assert features.main(arguments) == 0
    monkeypatch.setattr(features, "import_of_csv", lambda *_: [missed])
    assert features.main(arguments) == 1
    assert "MISSED speed" in capsys.readouterr().out


def test_a_section_replaces_the_one_before_and_leaves_the_others(tmp_path):
    kept = tmp_path / "page.md"
    write_section(kept, "One", [Row("a", "1")], "Note one.")
    write_section(kept, "Two", [Row("b", "2")], "Note two.")
    write_section(kept, "One", [Row("a", "3")], "Note three.")
    text = kept.read_text("utf-8")
    assert text.startswith("# Benchmarks\n")
    assert figures(text)["a"] == ("", "3", "")
    assert figures(text)["b"] == ("", "2", "")
    assert ("Note one." in text, text.count("## One\n"), text.count("## Two\n")) == (False, 1, 1)
    assert page.PAGE.parent.name == "docs"


def test_sampled_dates_lie_in_the_middle_of_equal_stretches():
    assert features._spread(list(range(36)), 3) == [6, 18, 30]
    assert features._spread(list(range(36)), 36) == list(range(36))
