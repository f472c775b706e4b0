"""Speed and memory of a portfolio as a job: 100,000 customers scored with their reasons.

The job is the service's own, in its own processes; what it makes, a Parquet file and a CSV file, is
on disk and on the record when the time is taken. Beside it, on a sample, the same work customer by
customer, and with LightGBM's own contributions.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from rich.console import Console

from benchmarks import parts
from benchmarks.page import PAGE, Row, at_least, at_most, publish

if TYPE_CHECKING:
    from models.workspace import Workspace

CORES = 2
INVOICES_A_CUSTOMER = 10
FEWEST_A_SECOND = 2_000
WIDEST_DIFFERENCE = 1e-9  # of contributions, in log-odds
TRAINED_INVOICES = 150_000  # of the first customers: the trees are those of a whole training
TRAINED_PAIRS = 150_000
SAMPLE = 200  # customers, one by one
NOW = datetime(2026, 1, 1, 9, tzinfo=UTC)
ACTOR = {"client": "benchmark", "role": "risk", "key": "none"}
POLICY = Path(__file__).parents[1] / "models" / "policy.yaml"


class Job(NamedTuple):
    """What a job took: seconds on the clock and of processors, the largest process, its file."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    rows: int
    explained: int


class Sampled(NamedTuple):
    """Customers a processor second of each way on the same sample, and how far they differ."""

    shard: float
    pred_contrib: float
    one_by_one: float
    difference: float
    same_codes: bool


def train(home: str) -> tuple[int, int]:
    """Train and promote both curves on the first customers; return their numbers of trees."""
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    from features.history import build
    from features.store import Store
    from training.fit import Settings
    from training.promote import promote
    from training.tracking import Tracking
    from training.train import Books, Plan, train_default, train_late

    workspace = _workspace(home)
    store = Store(workspace.facts_url)
    first = store.customer_shards(TRAINED_INVOICES)[0]
    history = build(store.read(customers=first, versions=True), store.ledger.observed_from)
    books = Books(store.ledger.id, "the first customers", history, store.last_day() + 1)
    plan = Plan(Settings(most_pairs=TRAINED_PAIRS), walks=0, resamples=5)
    tracking = Tracking(workspace.mlflow_url, workspace.mlflow_artifacts)
    for curve in (train_late, train_default):
        curve(books, workspace.bundles, tracking, plan=plan)
    promote(tracking, workspace, POLICY)
    return known(home)


def known(home: str) -> tuple[int, int]:
    """Count the trees of the curves in charge."""
    from features.store import Store
    from serving.speaking import Speaking

    workspace = _workspace(home)
    store = Store(workspace.facts_url)
    speaking = Speaking.load(workspace, store.ledger.id)
    late, default = speaking.late, speaking.default
    if late is None or default is None:
        raise RuntimeError("both curves are needed: take more customers")
    return late.curve.booster.num_trees(), default.curve.booster.num_trees()


def run_job(home: str) -> Job:
    """Score all customers, as the service does."""
    import pyarrow.parquet as pq

    from features.store import Store
    from features.workers import processes
    from serving import portfolio_job
    from serving.audit import Record
    from serving.jobs import Jobs

    _on(CORES)

    workspace = _workspace(home)
    store, record = Store(workspace.facts_url), Record(workspace.record_url)
    jobs = Jobs(Path(tempfile.mkdtemp(dir=home)))  # a run that was cut short leaves its own
    begun, used = time.perf_counter(), _cpu_seconds()
    jobs.add(str(uuid4()), ACTOR, None, None, 1)
    job = jobs.take(1)
    if job is None:
        raise RuntimeError("another job runs there")
    portfolio_job.run(job, jobs, store, record, workspace, NOW, partial(processes, CORES))
    seconds, cpu_seconds = time.perf_counter() - begun, _cpu_seconds() - used
    table = pq.read_table(jobs.file(job.id, "parquet"), columns=["explained_curve"])
    explained = table.num_rows - table["explained_curve"].null_count
    jobs.close()
    return Job(seconds, cpu_seconds, _peak_bytes(), table.num_rows, explained)


def sample(home: str) -> Sampled:
    """Score a shard, the same with ``pred_contrib``, and some of it one by one."""
    from features.store import Store
    from models.curve import TermCurve
    from serving import portfolio_job, portfolio_scores
    from serving.assess import Assessor, OrderNeeded
    from serving.audit import Record
    from serving.jobs import Jobs

    _on(1)
    workspace = _workspace(home)
    store = Store(workspace.facts_url)
    jobs = Jobs(Path(tempfile.mkdtemp(dir=home)))
    jobs.add(str(uuid4()), ACTOR, None, None, 1)
    job = jobs.take(1)
    if job is None:
        raise RuntimeError("another job runs there")
    work, shards, _ = portfolio_job.plan(job, store, workspace, NOW)
    portfolio_job.score_shard(shards[0], work)  # loads and compiles
    begun = time.process_time()
    ours = portfolio_job.score_shard(shards[1], work).rows
    ours_took = time.process_time() - begun
    setattr(portfolio_scores, "contributions", TermCurve.contributions)  # noqa: B010 (for mypy)
    begun = time.process_time()
    theirs = portfolio_job.score_shard(shards[1], work).rows
    theirs_took = time.process_time() - begun
    assessor = Assessor(store, Record(workspace.record_url), workspace, lambda: NOW)
    customers = ours["customer_id"].to_pylist()[:SAMPLE]
    assessor.readiness()
    begun, n = time.process_time(), 0
    for customer in customers:
        try:
            assessor.assess(customer, None)
        except OrderNeeded:
            continue
        n += 1
    one_by_one = (time.process_time() - begun) / n
    jobs.close()
    different, same = _compared(ours.to_pylist(), theirs.to_pylist())
    return Sampled(
        ours.num_rows / ours_took, ours.num_rows / theirs_took, 1 / one_by_one, different, same
    )


def _compared(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> tuple[float, bool]:
    """Tell how far contributions lie apart at most, and whether all else is the same."""
    apart, same = 0.0, True
    for one, other in zip(ours, theirs, strict=True):
        for name, value in one.items():
            if name.startswith("contribution") and value is not None and other[name] is not None:
                apart = max(apart, abs(value - other[name]))
            else:
                same = same and value == other[name]
    return apart, same


def _workspace(home: str) -> Workspace:
    from models.workspace import Workspace

    return Workspace(Path(home))


def _on(cores: int) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def _cpu_seconds() -> float:
    """Add up the processor time of this process and of those that it ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def _peak_bytes() -> int:
    in_bytes = 1 if sys.platform == "darwin" else 1024
    both = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(who).ru_maxrss for who in both) * in_bytes


def rows(trees: tuple[int, int], job: Job, sampled: Sampled) -> list[Row]:
    """Compare with the targets."""
    n = f"{job.rows:,} customers"
    return [
        at_least(
            f"{n}: scored with reasons, a second, {CORES} cores",
            job.rows / job.seconds,
            FEWEST_A_SECOND,
            "{:,.0f}",
        ),
        Row(f"{n}: the job, from queued to recorded", f"{job.seconds:.1f} s"),
        Row(f"{n}: processor time of it", f"{job.cpu_seconds:.1f} s"),
        Row(
            f"{n}: a second, were both cores its own",
            f"{CORES * job.rows / job.cpu_seconds:,.0f}",
        ),
        Row(f"{n}: explained", f"{job.explained:,}"),
        Row(f"{n}: peak memory of the largest process, GB", f"{job.peak_bytes / 1e9:.2f}"),
        Row("a shard, customers a processor second", f"{sampled.shard:,.0f}"),
        Row(
            "the same with pred_contrib",
            f"{sampled.pred_contrib:,.0f}: {sampled.shard / sampled.pred_contrib:.1f} × slower",
        ),
        Row(
            "single answers, one by one",
            f"{sampled.one_by_one:,.0f}: {sampled.shard / sampled.one_by_one:.0f} × slower",
        ),
        at_most(
            "contributions beside pred_contrib, largest difference",
            sampled.difference,
            WIDEST_DIFFERENCE,
            "{:.0e}",
        ),
        Row(
            "codes and all else beside pred_contrib",
            "the same" if sampled.same_codes else "differ",
            "the same",
            sampled.same_codes,
        ),
        Row("trees of the late and of the default curve", f"{trees[0]} and {trees[1]}"),
    ]


NOTES = f"""
A simulated ledger (SQLite) of six years with {INVOICES_A_CUSTOMER} invoices a customer; curves
trained with the default settings on {TRAINED_PAIRS:,} pairs of its first customers. The job is
the service's, but that its {CORES} processes do not give way to others: started and compiled code
loaded within the time, its Parquet and CSV files hashed and on the record at the end. Who is
explained by the default curve is not by the late one, as in a single answer. *Single answers*
decide the order too, and write each to the record.
"""


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write the page; 0 when every target is met."""
    asked = _parser().parse_args(arguments)
    console = Console()
    console.print(f"load average before: {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(dir=asked.folder, prefix="encours-bench-") as made:
        home = str(asked.home or made)
        if not (Path(home) / "facts.db").exists():
            with console.status(f"{asked.customers:,} customers: making the ledger"):
                parts.measure(
                    parts.make_ledger,
                    cores=CORES,
                    home=home,
                    invoices=asked.customers * INVOICES_A_CUSTOMER,
                    invoices_per_customer=INVOICES_A_CUSTOMER,
                )
        with console.status("training"):
            trees = _fresh(train if not (Path(home) / "champions.json").exists() else known, home)
        with console.status("a shard, and one by one"):
            sampled = _fresh(sample, home)
        with console.status("the job"):
            job = _fresh(run_job, home)
    table = rows(trees, job, sampled)
    is_met = publish(console, asked.page, "Portfolio", table, NOTES)
    console.print(f"load average after: {os.getloadavg()[0]:.1f}")
    for row in table:
        if row.is_met is False:
            console.print(f"MISSED {row.what}", style="red")
    return 0 if is_met else 1


def _fresh(part: Any, home: str) -> Any:
    """Run a part in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        return fresh.submit(part, home).result()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    of = parser.add_argument
    of("--customers", type=int, default=100_000, help="of the ledger")
    of("--page", type=Path, default=PAGE, help="where the table is kept")
    of("--folder", type=Path, help="where to work: about 1 GB for 100,000 customers")
    of("--home", type=Path, help="a folder to keep the ledger in, or to find it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
