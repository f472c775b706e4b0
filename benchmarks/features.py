"""Speed and memory of the features: in bulk, for one customer, and of the import before them.

Every time is of a process of its own on one core, unless said, with one thread. Ratios are of runs
of the same call; where the ledger is small enough to repeat, A B C A B C, medians are compared.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import sys
import tempfile
from datetime import date, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from benchmarks import parts
from benchmarks.page import PAGE, Row, at_least, at_most, print_table, write_section
from benchmarks.parts import Measured, measure

EPOCH = date(1970, 1, 1)
FIRST, LAST = date(2023, 1, 1), date(2025, 12, 1)
DATES = [date(year, month, 1) for year in (2023, 2024, 2025) for month in range(1, 13)]
SHARD_INVOICES = 250_000
INVOICES_TO_REPEAT = 2_000_000  # up to so many, everything runs three times
DATES_OF_LARGE = 3  # naive dates of a ledger too large to repeat
MOST_BYTES = 4e9
SAME = 1e-9


class Bulk:
    """The measures of one ledger in bulk: a list of runs each."""

    def __init__(self, home: Path, invoices: int, *, brief: bool = False) -> None:
        self.home, self.invoices = home, invoices
        self.runs: dict[str, list[Measured]] = {}
        is_large = invoices > INVOICES_TO_REPEAT
        self.times = 1 if is_large or brief else 3
        self.naive_dates = _spread(DATES, DATES_OF_LARGE) if is_large or brief else DATES

    def run(self, console: Console) -> None:
        """Measure, the ways in turn; the naive one, far slower, once."""
        for _ in range(self.times):
            for way in ("in_memory", "floor", "command", "two"):
                with console.status(f"{self.invoices:,} invoices: {way.replace('_', ' ')}"):
                    self.runs.setdefault(way, []).append(self.measure(way))
        with console.status(f"{self.invoices:,} invoices: naive"):
            self.runs["naive"] = [self.measure("naive")]

    def measure(self, way: str) -> Measured:
        """Run one way once."""
        out = self.home / "out"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        common: dict[str, Any] = {"home": self.home, "shard_invoices": SHARD_INVOICES}
        days: dict[str, Any] = {"first": _days(FIRST), "last": _days(LAST)}
        try:
            if way == "in_memory":
                return measure(parts.in_memory, **common, **days)
            if way == "floor":
                return measure(parts.floor, **common, **days, out=out)
            if way == "naive":
                dates = [_days(day) for day in self.naive_dates]
                return measure(parts.naive, **common, dates=dates)
            n = 2 if way == "two" else 1
            written: dict[str, Any] = {"out": out, "first": FIRST, "last": LAST, "processes": n}
            return measure(parts.command, cores=n, **common, **written)
        finally:
            shutil.rmtree(out)

    def seconds(self, way: str) -> float:
        """Median time of a way: of the process, or of what it says is to count."""
        times = [run.figures.get("seconds", run.seconds) for run in self.runs[way]]
        share = len(DATES) / len(self.naive_dates) if way == "naive" else 1.0
        return share * median(times)

    def rows(self) -> list[Row]:
        """Compare the ways."""
        ours, naive, floor, whole = map(self.seconds, ("in_memory", "naive", "floor", "command"))
        describing = median(run.figures["describing"] for run in self.runs["in_memory"])
        n = f"{self.invoices:,} invoices"
        described = self.runs["in_memory"][0].figures["rows"]
        n_dates = len(self.naive_dates)
        sampled = "" if n_dates == len(DATES) else f", scaled from {n_dates} dates"
        in_pandas = self.runs["naive"][0].figures
        numbered = naive * in_pandas["numbered"] / in_pandas["seconds"]
        peak = max(run.peak_bytes for run in self.runs["command"])
        return [
            Row(f"{n}: rows, of 36 monthly dates", f"{described:,.0f}"),
            Row(f"{n}: facts in memory to features", f"{ours:,.1f} s"),
            Row(f"{n}: of that, features from histories laid out", f"{describing:,.1f} s"),
            Row(f"{n}: naive pandas{sampled}", f"{naive:,.0f} s"),
            at_most(
                f"{n}: largest difference between the two", in_pandas["difference"], SAME, "{:.0e}"
            ),
            at_least(f"{n}: naive / ours", naive / ours, 12, "{:.1f}"),
            Row(f"{n}: naive with numbered customers / ours", f"{numbered / ours:.1f}"),
            Row(f"{n}: the same, both from what is laid out", f"{numbered / describing:.1f}"),
            Row(f"{n}: whole command, store to Parquet", f"{whole:,.1f} s"),
            Row(f"{n}: floor, scan + join + write", f"{floor:,.1f} s"),
            at_most(f"{n}: whole command / floor", whole / floor, 4, "{:.2f}"),
            at_most(f"{n}: peak memory of the command, GB", peak / 1e9, MOST_BYTES / 1e9, "{:.2f}"),
            Row(f"{n}: two processes", f"{self.seconds('two'):,.1f} s"),
        ]


def two_processes(largest: Bulk) -> Row:
    """Compare two processes with one, where the few seconds that they take to start weigh least."""
    gain = largest.seconds("command") / largest.seconds("two")
    what = f"{largest.invoices:,} invoices: one process / two processes"
    return at_least(what, gain, 1.7, "{:.2f}")


def growth(small: Bulk, large: Bulk) -> list[Row]:
    """Say how time grows with the ledger: 1 is in proportion."""
    rows = []
    for way, words in (("in_memory", "from facts in memory"), ("command", "whole command")):
        exponent = math.log(large.seconds(way) / small.seconds(way))
        exponent /= math.log(large.invoices / small.invoices)
        what = f"growth exponent, {small.invoices:,} to {large.invoices:,}: {words}"
        rows.append(at_most(what, exponent, 1.15, "{:.2f}"))
    return rows


def one_customer(home: Path, invoices: int, customers: int) -> list[Row]:
    """Measure one customer at a time, from the store to the row."""
    as_of = _days(LAST)
    took = measure(parts.online, home=home, customers=customers, as_of=as_of).figures
    rows = []
    for name, words in (("uniform", "any customer"), ("by_invoices", "weighted by invoices")):
        for percentile, most in ((50, 1.0), (99, 5.0)):
            what, ms = (
                f"{invoices:,} invoices: {words}, p{percentile}",
                took[f"{name}_p{percentile}"],
            )
            is_asked = name == "uniform"  # the largest customers have thousands of invoices
            rows.append(
                at_most(what, ms, most, "{:.2f} ms") if is_asked else Row(what, f"{ms:.2f} ms")
            )
    return rows


def import_of_csv(folder: Path, rows: int) -> list[Row]:
    """Measure the import of a CSV file of invoices with their settlement."""
    file = folder / "ledger.csv"
    measure(parts.make_csv, file=file, rows=rows)
    runs = []
    for _ in range(3 if rows <= INVOICES_TO_REPEAT else 1):
        home = folder / "imported"
        home.mkdir()
        runs.append(measure(parts.import_csv, file=file, home=home).figures)
        shutil.rmtree(home)
    rate = median(run["rows"] / run["read"] for run in runs)
    both = median(run["rows"] / run["both"] for run in runs)
    what = f"{rows:,} lines, {runs[0]['kept']:,.0f} facts"
    return [
        at_least(f"{what}: read and checked, lines/s", rate, 100_000, "{:,.0f}"),
        Row(f"{what}: and stored, lines/s", f"{both:,.0f}"),
    ]


BULK_NOTES = """
Simulated sellers of a million invoices each, side by side in one ledger (SQLite), six years to
31 December 2025; each customer is described on the first of each month of the last three years,
once his first invoice is known. *Facts in memory* counts allocation, histories and features of
every shard of 250,000 invoices. *Naive pandas* is the tests' second implementation, date by date,
from frames that are in memory with settlements already allocated, customers by text as in the
ledger or, in its favour, by number; its features must agree with ours at the first date. The
*whole command* is `encours features build`, start-up included. The *floor* reads the same columns
of the same shards, joins settlements to invoices with Arrow, and writes a matrix of the same shape
with the same settings, computing nothing. Medians of three runs in turn up to two million invoices,
one run beyond; Numba's cache is warm.
"""
ONE_NOTES = """
From the store (SQLite, in the page cache) to the row of features: one read transaction, history,
every feature. The peers' table of the whole ledger is in memory.
"""
IMPORT_NOTES = """
One line an invoice with the date it was settled on; each line is read for three tables, every rule
of the ledger is checked. Medians of three runs up to two million lines.
"""


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write the page; 0 when every target is met."""
    asked = _parser().parse_args(arguments)
    console = Console()
    console.print(f"load average before: {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(dir=asked.folder, prefix="encours-bench-") as name:
        folder = Path(name)
        sections = []
        if asked.only in (None, "import"):
            sections.append(("Import", import_of_csv(folder, asked.lines), IMPORT_NOTES))
        if asked.only != "import":
            sections += _on_ledgers(folder, asked, console)
    for title, rows, notes in sections:
        print_table(console, title, rows)
        write_section(asked.page, title, rows, notes)
    missed = [row.what for _, rows, _ in sections for row in rows if row.is_met is False]
    for what in missed:
        console.print(f"MISSED {what}", style="red")
    return 1 if missed else 0


def _on_ledgers(
    folder: Path, asked: argparse.Namespace, console: Console
) -> list[tuple[str, list[Row], str]]:
    """Measure each ledger in bulk, and single customers of the largest."""
    sizes, bulk = sorted(asked.invoices)[-1 if asked.only else 0 :], list[Bulk]()
    with console.status("compiling"):
        _fill_the_caches(folder)
    for invoices in sizes:
        home = folder / str(invoices)
        home.mkdir()
        with console.status(f"{invoices:,} invoices: making the ledger"):
            measure(parts.make_ledger, cores=os.cpu_count() or 1, home=home, invoices=invoices)
        bulk.append(Bulk(home, invoices, brief=asked.brief))
        if asked.only is None:
            bulk[-1].run(console)
        if invoices < sizes[-1]:
            shutil.rmtree(home)
    with console.status("one customer at a time"):
        alone = one_customer(bulk[-1].home, sizes[-1], asked.customers)
    sections = [("One customer", alone, ONE_NOTES)]
    if asked.only is None:
        rows = [row for one in bulk for row in one.rows()] + [two_processes(bulk[-1])]
        rows += growth(bulk[0], bulk[-1]) if len(bulk) > 1 else []
        sections.insert(0, ("Features in bulk", rows, BULK_NOTES))
    return sections


def _fill_the_caches(folder: Path) -> None:
    """Compile what is compiled once for a version, so that no measure holds it."""
    home = folder / "first"
    home.mkdir()
    measure(parts.make_ledger, home=home, invoices=1_000)
    Bulk(home, 1_000).measure("in_memory")
    shutil.rmtree(home)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    of = parser.add_argument
    of("--invoices", type=int, nargs="+", default=[1_000_000, 10_000_000], help="ledgers")
    of("--customers", type=int, default=5_000, help="to describe one at a time")
    of("--lines", type=int, default=1_000_000, help="of the CSV file to import")
    of("--brief", action="store_true", help="run all once, and three naive dates: a smoke test")
    of("--only", choices=("import", "customer"), help="measure that section alone")
    of("--page", type=Path, default=PAGE, help="where the tables are kept")
    of("--folder", type=Path, help="where to work: about 7 GB for ten million invoices")
    return parser


def _spread(dates: list[date], n: int) -> list[date]:
    """Choose the middle date of each of `n` stretches of equal length."""
    length = len(dates) // n
    return [dates[i * length + length // 2] for i in range(n)]


def _days(day: date) -> int:
    return (day - EPOCH) // timedelta(days=1)


if __name__ == "__main__":
    sys.exit(main())
