"""Speed and memory of training: from the facts in the store to both curves in the registry.

The whole is what ``encours train`` does, in a process of its own on two cores. What LightGBM takes
is measured in the same run, so that a busy machine slows both alike.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import wraps
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from benchmarks import parts
from benchmarks.page import PAGE, Row, at_most, print_table, write_section

CORES = 2
MOST_SECONDS = 600
MOST_OVERHEAD = 30  # per cent of what LightGBM takes
REVIEW = ("measure", "cut-off", "register")  # stages after the fit
SHOWN_SECONDS = 1.0  # shorter stages are told together


class Stage(NamedTuple):
    """A stretch of the training, in seconds.

    Attributes
    ----------
    name : str
    seconds : float
    boosting : float
        Of these, inside LightGBM: its own data laid out, and ``lightgbm.train``.
    """

    name: str
    seconds: float
    boosting: float

    @property
    def is_review(self) -> bool:
        """Whether the curve is there already, and is measured, compared, drawn and registered."""
        return self.name.partition(": ")[2].startswith(REVIEW)


class Trained(NamedTuple):
    """A training as a whole: its stages, and its process's peak of memory."""

    stages: list[Stage]
    peak_bytes: int


class Stopwatch:
    """Cuts the time into stages, and tells apart what LightGBM takes."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []
        self._name, self._begun, self._boosting, self._inside = "", 0.0, 0.0, False

    def __call__(self, name: str) -> None:
        """End the stage under way and begin another."""
        now = time.perf_counter()
        if self._name:
            self.stages.append(Stage(self._name, now - self._begun, self._boosting))
        self._name, self._begun, self._boosting = name, now, 0.0

    def boosting(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Count the time of a function of LightGBM's, once where one calls the other."""

        @wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:
            if self._inside:
                return function(*arguments, **named)
            self._inside, begun = True, time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                self._inside = False
                self._boosting += time.perf_counter() - begun

        return timed


def train(home: str, walks: int | None) -> Trained:
    """Train both curves on the ledger at `home`, as ``encours train`` does."""
    watch = Stopwatch()
    watch("imports")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    for name, value in (("OMP_WAIT_POLICY", "passive"), ("OPENBLAS_NUM_THREADS", "1")):
        os.environ.setdefault(name, value)  # as the command line does
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    import lightgbm as lgb

    from features.history import build
    from features.store import Store
    from models.workspace import Workspace
    from training.tracking import Tracking
    from training.train import Books, Plan, train_default, train_late

    for owner, name in ((lgb, "train"), (lgb.Dataset, "construct")):
        setattr(owner, name, watch.boosting(getattr(owner, name)))
    workspace, plan = Workspace(Path(home)), Plan() if walks is None else Plan(walks=walks)
    watch("read the facts")
    store = Store(workspace.facts_url)
    ledger, facts, end = store.ledger, store.read(versions=True), store.last_day() + 1
    watch("lay out the histories")
    history = build(facts, ledger.observed_from)
    del facts
    books = Books(ledger.id, store.data_sha256(), history, end)
    watch("open the registry")
    tracking = Tracking(workspace.mlflow_url, workspace.mlflow_artifacts)
    for curve in (train_late, train_default):
        curve(books, workspace.bundles, tracking, plan=plan, progress=watch)
    watch("end")
    in_bytes = 1 if sys.platform == "darwin" else 1024
    return Trained(watch.stages, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * in_bytes)


def rows(invoices: int, seconds: float, trained: Trained) -> list[Row]:
    """Compare the making of the curves with what LightGBM took of it; say where the time went."""
    n = f"{invoices:,} invoices"
    started = seconds - sum(stage.seconds for stage in trained.stages)
    stages = [Stage("start of the process", started, 0.0), *grouped(trained.stages)]
    making = [stage for stage in stages if not stage.is_review]
    boosting = _boosted(making)
    made = sum(stage.seconds for stage in making)
    short = [stage for stage in stages if stage.seconds < SHOWN_SECONDS]
    return [
        at_most(f"{n}: facts to both curves registered, s", seconds, MOST_SECONDS, "{:.0f}"),
        Row(f"{n}: facts to fitted curves", f"{made:.1f} s, {boosting:.1f} s in LightGBM"),
        at_most(
            f"{n}: all of it, over LightGBM, %",
            100 * (seconds / _boosted(stages) - 1),
            MOST_OVERHEAD,
            "{:.1f}",
        ),
        at_most(
            f"{n}: facts to fitted curves, over LightGBM, %",
            100 * (made / boosting - 1),
            MOST_OVERHEAD,
            "{:.1f}",
        ),
        Row(f"{n}: review and registry besides", f"{seconds - made:.1f} s"),
        Row(f"{n}: peak memory, GB", f"{trained.peak_bytes / 1e9:.2f}"),
        *(
            Row(f"{n}: {stage.name}", f"{stage.seconds:.1f} s{_of_that(stage)}")
            for stage in stages
            if stage not in short
        ),
        Row(
            f"{n}: {len(short)} stages of less than {SHOWN_SECONDS:.0f} s",
            f"{sum(stage.seconds for stage in short):.1f} s",
        ),
    ]


def grouped(stages: list[Stage]) -> list[Stage]:
    """Add up the stages of one curve that begin with the same word: all cut-offs, all terms."""
    sums: dict[str, Stage] = {}
    for name, seconds, boosting in stages:
        curve, is_of_curve, what = name.partition(": ")
        group = f"{curve}: {what.split()[0]}" if is_of_curve else name
        _, sofar, boosted = sums.get(group, Stage(group, 0.0, 0.0))
        sums[group] = Stage(group, sofar + seconds, boosted + boosting)
    return list(sums.values())


def _boosted(stages: list[Stage]) -> float:
    return sum(stage.boosting for stage in stages)


def _of_that(stage: Stage) -> str:
    return f", {stage.boosting:.1f} s in LightGBM" if stage.boosting else ""


NOTES = """
A simulated ledger (SQLite) of six years to 31 December 2025, trained on with the default settings.
*In LightGBM* is the time inside `lightgbm.train` of the same run, its data laid out included.
*Facts to fitted curves* is start, reading, histories, features, pairs, both stages of each fit and
calibration. The *review* is what comes after: measures with intervals,
scorecard and rule of thumb beside the curve, the fits at earlier cut-offs (*cut-off*),
pictures and the registry. The stages of a curve are told by their first word.
"""


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write the page; 0 when every target is met."""
    asked = _parser().parse_args(arguments)
    console = Console()
    console.print(f"load average before: {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(dir=asked.folder, prefix="encours-bench-") as home:
        with console.status(f"{asked.invoices:,} invoices: making the ledger"):
            parts.measure(parts.make_ledger, cores=CORES, home=home, invoices=asked.invoices)
        with console.status(f"{asked.invoices:,} invoices: training"):
            begun = time.perf_counter()
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
                trained = fresh.submit(train, home, asked.walks).result()
            seconds = time.perf_counter() - begun
    table = rows(asked.invoices, seconds, trained)
    print_table(console, "Training", table)
    write_section(asked.page, "Training", table, NOTES)
    console.print(f"load average after: {os.getloadavg()[0]:.1f}")
    missed = [row.what for row in table if row.is_met is False]
    for what in missed:
        console.print(f"MISSED {what}", style="red")
    return 1 if missed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    of = parser.add_argument
    of("--invoices", type=int, default=1_000_000, help="of the ledger")
    of("--walks", type=int, help="earlier cut-offs to fit at; by default as `encours train`")
    of("--page", type=Path, default=PAGE, help="where the table is kept")
    of("--folder", type=Path, help="where to work: about 1 GB for a million invoices")
    return parser


if __name__ == "__main__":
    sys.exit(main())
