"""The command line: ``encours import · simulate · train · promote · serve · assess · run``.

It sits on top of the four packages and imports each only when a command needs it.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # two busy threads on a shared core starve
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "true")

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd

    from features.importers.tabular import Summary
    from features.store import Appended
    from models.metrics import Quality
    from models.workspace import Workspace
    from training.train import Trained

SETTLED_LONG_AGO_DAYS = 45  # a ledger that ended earlier is answered as of its last day
READY_SECONDS = 60
ROOT = Path(__file__).parent
POLICY = ROOT / "models" / "policy.yaml"

app = typer.Typer(
    help="Predict payment default in B2B trade credit, explain it, and recommend what to do.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console()

Mapping = Annotated[Path, typer.Option("--mapping", "-m", help="YAML file: how to read it.")]
Port = Annotated[int, typer.Option(help="Port on 127.0.0.1.")]
Today = Annotated[
    str | None, typer.Option(help="Answer as of this day (YYYY-MM-DD), for a ledger of the past.")
]


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet file, or a folder of them.")],
    mapping: Mapping,
) -> None:
    """Check a ledger file, keep what is new, put bad rows aside, and say what it holds."""
    _import(_workspace(), file, mapping)


@app.command()
def simulate(
    folder: Annotated[Path, typer.Argument(help="Where to write one Parquet file a table.")],
    invoices: Annotated[int, typer.Option(help="About how many.")] = 100_000,
    years: Annotated[int, typer.Option(help="How long.")] = 6,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 1,
    ends_on: Annotated[str | None, typer.Option(help="Last day; yesterday by default.")] = None,
) -> None:
    """Write a realistic ledger to try things on; read it with mappings/encours.yaml."""
    from features.simulator import Simulation, write
    from features.simulator import simulate as run_simulation

    last_day = _today() - timedelta(days=1) if ends_on is None else date.fromisoformat(ends_on)
    simulation = Simulation(invoices=invoices, years=years, ends_on=last_day, seed=seed)
    write(run_simulation(simulation).tables, folder)
    console.print(f"{folder}: {invoices:,} invoices over {years} years, to {last_day}")


@app.command()
def train(
    cutoff: Annotated[
        str | None, typer.Option(help="Train on what was known before (YYYY-MM-DD).")
    ] = None,
) -> None:
    """Fit both curves, measure them out of time, and register them as challengers."""
    _train(_workspace(), cutoff)


@app.command()
def promote() -> None:
    """Put the challengers in charge; a running service follows without restart."""
    _promote(_workspace())


@app.command()
def serve(port: Port = 3000, today: Today = None) -> None:
    """Serve assessments on 127.0.0.1."""
    workspace = _workspace()
    raise typer.Exit(_service(workspace, port, today or _past_today(workspace)).wait())


@app.command()
def assess(
    customer: Annotated[str, typer.Argument(help="The customer's identifier.")],
    amount: Annotated[str | None, typer.Option(help="Order amount, 20000.00.")] = None,
    margin: Annotated[str, typer.Option(help="Margin on it, 800.00.")] = "0.00",
    terms: Annotated[int, typer.Option(help="Terms in days.")] = 30,
    today: Today = None,
) -> None:
    """Assess one customer from the command line; the answer is recorded as over HTTP."""
    from decimal import Decimal

    from models.policy import Order
    from serving.assess import AssessmentError, assessor_from_environment

    workspace = _workspace()
    _set_environment(workspace, today or _past_today(workspace))
    order = None
    if amount is not None:
        cents = [int(Decimal(text).scaleb(2)) for text in (amount, margin)]
        order = Order(cents[0], cents[1], terms)
    try:
        answer = assessor_from_environment().assess(customer, order)
    except AssessmentError as error:
        _stop(error.detail)
    console.print_json(answer.decode())


@app.command()
def run(
    ledger: Annotated[
        Path | None, typer.Option(help="Your own file; without it, a simulated ledger.")
    ] = None,
    mapping: Annotated[Path | None, typer.Option(help="How to read it.")] = None,
    port: Port = 3000,
) -> None:
    """Prepare everything on first use (import, train, promote), then serve and show an answer."""
    from models.workspace import Workspace

    if (ledger is None) != (mapping is None):
        _stop("give both a ledger and its mapping, or neither")
    workspace = Workspace.from_environment()
    if ledger is not None and "ENCOURS_HOME" not in os.environ:
        workspace = Workspace(workspace.home.with_name(ledger.stem))
    if not workspace.champions.exists():
        _prepare(workspace, ledger, mapping)
    today = _past_today(workspace)
    if today is not None:
        console.print(f"The ledger ended on {today}: answers are given as of that day.")
    service = _service(workspace, port, today)
    try:
        _show_an_answer(workspace, service, port, today)
        raise typer.Exit(service.wait())
    except KeyboardInterrupt:
        service.terminate()
        service.wait()


def _workspace() -> Workspace:
    from models.workspace import Workspace

    return Workspace.from_environment()


def _prepare(workspace: Workspace, ledger: Path | None, mapping: Path | None) -> None:
    console.print(f"First use: preparing [bold]{workspace.home}[/]")
    if ledger is None or mapping is None:
        ledger, mapping = workspace.home / "simulated", ROOT / "mappings" / "encours.yaml"
        simulate(ledger)
    _import(workspace, ledger, mapping)
    _train(workspace, None)
    _promote(workspace)


def _import(workspace: Workspace, file: Path, mapping: Path) -> None:
    from features.importers.mapping import load_mapping
    from features.importers.tabular import read, summary
    from features.store import Source, Store

    how = load_mapping(mapping)
    store = Store(workspace.facts_url) if workspace.facts.exists() else None
    with _bar(f"reading {file.name}") as progress:
        imported = read(file, how, store.known() if store else None, progress)
    with console.status("storing"):
        store = store or Store(workspace.facts_url, how.currency)
        appended = store.append(imported.ledger, Source(imported.sources, _sha256(mapping)))
    rejects = _write_rejects(workspace, appended, imported.rejects)
    _print_summary(summary(imported), appended, how.currency, rejects)


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _write_rejects(workspace: Workspace, appended: Appended, rejects: pd.DataFrame) -> Path | None:
    import pandas as pd

    aside = pd.concat([rejects, appended.rejects], ignore_index=True)
    if aside.empty:
        return None
    workspace.rejects.mkdir(parents=True, exist_ok=True)
    path = workspace.rejects / f"import-{appended.sequence}.csv"
    aside.to_csv(path, index=False)
    return path


def _print_summary(found: Summary, appended: Appended, currency: str, rejects: Path | None) -> None:
    table = Table("", "", title="Import", show_header=False)
    table.add_row("rows read", f"{found.rows_read:,}")
    for name, kept in found.kept.items():
        there = appended.already_there[name]
        known = f" ({there:,} already there)" if there else ""
        table.add_row(f"{name} added", f"{appended.added[name]:,}{known}" if kept else "0")
    quarantined = dict(found.quarantined)
    for reason, n in appended.rejects["reason"].value_counts().items():
        quarantined[str(reason)] = quarantined.get(str(reason), 0) + int(n)
    for reason, count in quarantined.items():
        table.add_row(f"put aside: {reason}", f"{count:,}")
    table.add_row("period", f"{found.first_on} to {found.last_on}")
    table.add_row("customers", f"{found.customers:,}")
    table.add_row("exposure", f"{found.exposure_cents / 100:,.2f} {currency}")
    late = "nothing settled" if found.late_rate is None else f"{found.late_rate:.1%}"
    table.add_row("paid late", late)
    for assumption in found.assumptions:
        table.add_row("assumed", assumption)
    if found.absent:
        table.add_row("this data cannot say", ", ".join(found.absent))
    if rejects is not None:
        table.add_row("rows put aside are in", str(rejects))
    console.print(table)


def _train(workspace: Workspace, cutoff: str | None) -> None:
    from features.history import build
    from features.store import Store
    from training.train import Abstained, Books, train_default, train_late

    day = None if cutoff is None else (date.fromisoformat(cutoff) - date(1970, 1, 1)).days
    store = Store(workspace.facts_url)
    with _stages() as progress:
        progress("reading facts")
        described = store.ledger
        history = build(store.read(), described.observed_from)
        books = Books(described.id, store.data_sha256(), history, store.last_day() + 1)
        tracking = _tracking(workspace)
        for fit in (train_late, train_default):
            outcome = fit(books, workspace.bundles, tracking, day, progress=progress)
            if isinstance(outcome, Abstained):
                console.print(f"The {outcome.question} curve abstains: {outcome.reason}.")
            else:
                console.print(_quality_table(outcome))


def _promote(workspace: Workspace) -> None:
    from training.promote import promote as put_in_charge

    put_in_charge(_tracking(workspace), workspace, POLICY)
    console.print(f"promoted: {workspace.champions}")


def _quality_table(trained: Trained) -> Table:
    from training.train import as_date

    title = (
        f"{trained.version.question} curve, version {trained.version.number}: trained on what was "
        f"known before {as_date(trained.fit.cutoff)}, measured since"
    )
    table = Table("days", "asked", "happened", "AUC [95 %]", "Brier", "said", "seen", title=title)
    for column in table.columns:
        column.justify = "right"
    for q in trained.measured:
        table.add_row(*_quality_cells(q))
    return table


def _quality_cells(q: Quality) -> list[str]:
    asked = [f"{q.term_days}", f"{q.rows:,}", f"{q.events:,}", str(q.auc), f"{q.brier:.4f}"]
    return [*asked, f"{q.predicted_rate:.2%}", f"{q.observed_rate:.2%}"]


def _tracking(workspace: Workspace) -> Any:
    from training.tracking import Tracking

    return Tracking(workspace.mlflow_url, workspace.mlflow_artifacts)


def _past_today(workspace: Workspace) -> str | None:
    """Give the ledger's last day when it lies well in the past, else nothing."""
    from features.ledger import LedgerError
    from features.store import Store

    try:
        last_day = date(1970, 1, 1) + timedelta(days=Store(workspace.facts_url).last_day())
    except LedgerError:
        return None  # the service says so itself
    return str(last_day) if (_today() - last_day).days > SETTLED_LONG_AGO_DAYS else None


def _set_environment(workspace: Workspace, today: str | None) -> None:
    os.environ["ENCOURS_HOME"] = str(workspace.home.resolve())
    if today is not None:
        os.environ["ENCOURS_TODAY"] = today


def _service(workspace: Workspace, port: int, today: str | None) -> subprocess.Popen[bytes]:
    _set_environment(workspace, today)
    command = [sys.executable, "-m", "bentoml", "serve", "serving.service:Encours"]
    address = ["--host", "127.0.0.1", "--port", str(port), "--working-dir", str(ROOT)]
    return subprocess.Popen([*command, *address])  # noqa: S603 (our own command)


def _show_an_answer(
    workspace: Workspace, service: subprocess.Popen[bytes], port: int, today: str | None
) -> None:
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + READY_SECONDS
    while not _is_ready(url):
        if service.poll() is not None:
            _stop(f"the service ended with code {service.returncode}: is port {port} taken?")
        if time.monotonic() > deadline:
            _stop(f"the service was not ready after {READY_SECONDS} s")
        time.sleep(0.2)
    body = json.dumps(_example(workspace, today))
    request = urllib.request.Request(  # noqa: S310 (our own address)
        f"{url}/v1/assessments", body.encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as response:  # noqa: S310
        answer = response.read().decode()
    console.rule("Ask")
    console.print(
        f"curl -s {url}/v1/assessments -H 'Content-Type: application/json' \\\n  -d '{body}'",
        soft_wrap=True,
        highlight=False,
    )
    console.rule("Answer")
    console.print_json(answer)
    console.rule("Serving: stop with Ctrl-C")


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=2) as response:  # noqa: S310
            return bool(response.status == 200)
    except OSError:
        return False


def _example(workspace: Workspace, today: str | None) -> dict[str, Any]:
    """Pick a customer worth asking about: owing, somewhat overdue, and still buying."""
    import numpy as np

    from features.build import CUSTOMER_FEATURES, build, customer_spine
    from features.history import build as build_history
    from features.store import Store

    store = Store(workspace.facts_url)
    history = build_history(store.read(), store.ledger.observed_from)
    day = _today() if today is None else date.fromisoformat(today)
    as_of = np.full(history.customers.size, (day - date(1970, 1, 1)).days + 1, np.int32)
    X = build(history, customer_spine(np.arange(history.customers.size), as_of))
    said = dict(zip(CUSTOMER_FEATURES, X.T, strict=True))
    overdue = said["open_longest_overdue_days"]
    lively = (said["purchases_days_since_last"] < 60) & (overdue > 5) & (overdue < 60)
    chosen = int(np.argmax(np.where(lively, said["open_overdue_rate"], -1.0)))
    amount = round(float(said["purchases_typical_amount"][chosen]), 2)
    order = {"amount": f"{amount:.2f}", "margin": f"{amount * 0.12:.2f}", "terms_days": 30}
    return {"customer": {"id": str(history.customers[chosen])}, "order": order}


@contextmanager
def _bar(title: str) -> Iterator[Callable[[int, int], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def _stages() -> Iterator[Callable[[str], None]]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting")
        yield lambda stage: progress.update(task, description=stage)


def _today() -> date:
    return datetime.now(UTC).date()


def _stop(message: str) -> None:
    Console(stderr=True).print(f"encours: {message}", style="red", highlight=False, markup=False)
    raise SystemExit(2)


def main() -> None:
    """Run the command line; a user's mistake ends in one sentence, not in a stack trace."""
    from features.ledger import LedgerError
    from models.bundle import BundleError
    from models.policy import PolicyError
    from training.promote import PromotionError

    try:
        app()
    except (LedgerError, BundleError, PolicyError, PromotionError) as error:
        _stop(str(error))


if __name__ == "__main__":
    main()
