"""The command line: ``encours import · simulate · train · promote · serve · assess · run``.

It sits on top of the four packages and imports each only when a command needs it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import date, timedelta
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # two busy threads on a shared core starve
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # more change the last bits, wait busily
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "true")

import typer
from rich.table import Column, Table

from commands import alerts, audit, keys, limits, override, policy
from commands.portfolio import portfolio
from commands.shared import (
    POLICY,
    ROOT,
    As,
    LedgerDb,
    Port,
    Today,
    a_date,
    as_date,
    bar,
    console,
    day_number,
    ledger_here,
    past_today,
    say,
    stages,
    stop,
    this_day,
    workspace_here,
)

if TYPE_CHECKING:
    import pandas as pd

    from features.importers.tabular import Imported
    from features.shards import Asked
    from features.store import Appended, Store
    from features.workers import Run
    from models.bundle import Bundle
    from models.policy import Order
    from models.workspace import Workspace
    from training.gate import Judge, Verdict
    from training.promote import Outcome
    from training.signing import Signed
    from training.train import Plan

READY_SECONDS = 300  # a busy machine takes a minute and more to compile the features, once
FIRST_USE_PAIRS = 200_000  # to learn from
CLUSTER_PAIRS = 100_000_000  # a cluster is asked for when there are more than a machine holds
PACKAGES = ("features", "models", "serving", "training", "commands")

app = typer.Typer(
    help="Predict payment default in B2B trade credit, explain it, and recommend what to do.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
features_app = typer.Typer(help="Describe customers and invoices in bulk.", no_args_is_help=True)
app.add_typer(features_app, name="features")
app.add_typer(policy.app, name="policy")
app.add_typer(keys.app, name="keys")
app.add_typer(audit.app, name="audit")
app.add_typer(alerts.app, name="alerts")
app.command()(portfolio)
app.command()(limits.limits)
app.command()(override.override)
app.command()(override.overrides)


Mapping = Annotated[
    Path | None,
    typer.Option("--mapping", "-m", help="YAML file: how to read it. A FEC needs none."),
]
Terms = Annotated[
    Path | None,
    typer.Option(help="YAML file: the payment terms that a FEC does not hold; see docs/fec.md."),
]
What = Annotated[
    Literal["late", "default", "policy", "all"],
    typer.Argument(metavar="WHAT", help="One curve, the policy, or all of them."),
]


@app.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(help="CSV or Parquet file, a folder of them, or a FEC (French accounts)."),
    ],
    mapping: Mapping = None,
    terms: Terms = None,
) -> None:
    """Check a ledger file, keep what is new, put bad rows aside, and say what it holds.

    A row that changed since an earlier import supersedes it; what was known before stays readable.
    """
    _import(workspace_here(), file, mapping, terms)


@app.command()
def simulate(
    folder: Annotated[Path, typer.Argument(help="Where to write one Parquet file a table.")],
    invoices: Annotated[int, typer.Option(min=1, help="About how many.")] = 100_000,
    years: Annotated[int, typer.Option(min=1, max=30, help="How long.")] = 6,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same bytes.")] = 1,
    ends_on: Annotated[
        date | None,
        typer.Option(parser=a_date, metavar="YYYY-MM-DD", help="Last day; by default yesterday."),
    ] = None,
) -> None:
    """Write a realistic ledger to try things on; read it with mappings/encours.yaml."""
    from features.simulator import Simulation, write
    from features.simulator import simulate as run_simulation

    last_day = ends_on or this_day() - timedelta(days=1)
    if not 2000 <= last_day.year < 2100:  # the years before it must be dates that a ledger takes
        stop("a simulated ledger ends between 2000 and 2099")
    simulation = Simulation(invoices=invoices, years=years, ends_on=last_day, seed=seed)
    write(run_simulation(simulation).tables, folder)
    say(f"{folder}: about {invoices:,} invoices over {years} years, to {last_day}")


@app.command()
def train(
    ledger: LedgerDb = None,
    cutoff: Annotated[
        date | None,
        typer.Option(
            parser=a_date,
            metavar="YYYY-MM-DD",
            help="Train on what was known before this day, measure on what came after.",
        ),
    ] = None,
    walks: Annotated[
        int,
        typer.Option(
            "--walk-forward",
            min=0,
            max=60,
            metavar="N",
            help="Fit again at N earlier cut-offs, to see whether it was good all along.",
        ),
    ] = 6,
    trials: Annotated[
        int,
        typer.Option(
            "--search", min=0, max=1_000, metavar="TRIALS", help="Search LightGBM's parameters."
        ),
    ] = 0,
    minutes: Annotated[
        float | None,
        typer.Option("--search-minutes", min=0.1, help="End each curve's search after so long."),
    ] = None,
    owner: Annotated[
        str | None, typer.Option(help="Who answers for the models, on their cards; else the login.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Dask scheduler, as tcp://10.0.0.5:8786: its workers boost, on the same version "
            "of this project. Their sockets are unencrypted: use a trusted network.",
        ),
    ] = None,
) -> None:
    """Fit both curves, measure them out of time, and register them as challengers.

    Beside each stand a scorecard and the rule of thumb of a credit manager, on the same rows.
    `encours ui` shows every run with its plots and model card.
    """
    from training.promote import login_name
    from training.train import Plan

    seconds = math.inf if minutes is None else minutes * 60
    plan = Plan(walks=walks, trials=trials, search_seconds=seconds, owner=owner or login_name())
    if cluster is None:
        _train(workspace_here(ledger), cutoff, plan)
        return
    from training.cluster import cluster as on_cluster

    with on_cluster(cluster) as boosting:
        many = replace(plan.settings, most_pairs=CLUSTER_PAIRS)
        _train(workspace_here(ledger), cutoff, replace(plan, settings=many, boosting=boosting))


@app.command()
def promote(
    what: What = "all",
    name: As = None,
    ledger: LedgerDb = None,
) -> None:
    """Put the challengers that pass the gate in charge; a running service follows without restart.

    Its rules are in training/gate.yaml. When it refuses, nothing changes and the exit code is 1.
    """
    workspace = workspace_here(ledger)
    _promote(workspace, what, name, _gate(workspace))


@app.command()
def rollback(
    what: What = "all",
    name: As = None,
    ledger: LedgerDb = None,
) -> None:
    """Put back what was in charge before; by default all that the latest promotion changed."""
    from training.promote import rollback as put_back

    workspace = workspace_here(ledger)
    parts = None if what == "all" else [what]
    with _on_record(workspace) as tell:
        outcome = put_back(_tracking(workspace), workspace, parts, name, tell)
    _say_in_charge(workspace, outcome)


@app.command()
def shadow(ledger: LedgerDb = None) -> None:
    """Tell how far the challengers lie from the champions beside which they were scored."""
    from serving.shadow import compare
    from training.gate_file import load

    workspace = workspace_here(ledger)
    if not workspace.has_record():
        stop("nothing was assessed here yet")
    compared = compare(workspace.record_url, load().calibrated.late_bands_upper_rates)
    if not compared:
        say("No challenger was scored beside a champion yet: `encours train` names new ones.")
        return
    columns = ("curve", "champion", "challenger", "assessments", "at days", "mean |difference|")
    table = Table(*columns, "rank correlation", "band or grade changes", title="In the shadow")
    for one in compared:
        correlation = "–" if one.rank_correlation != one.rank_correlation else None
        table.add_row(
            one.question,
            one.champion[:12],
            one.challenger[:12],
            f"{one.assessments:,}",
            str(one.term_days),
            f"{one.mean_difference:.2%}",
            correlation or f"{one.rank_correlation:.3f}",
            f"{one.moved_rate:.1%}",
        )
    console.print(table)


@app.command()
def ui(port: Port = 5000, ledger: LedgerDb = None) -> None:
    """Open MLflow on 127.0.0.1: runs, pictures, versions, challengers and champions."""
    workspace = workspace_here(ledger)
    if not (workspace.home / "mlflow.db").exists():
        stop("nothing was trained here yet: run `encours train` first")
    _require_free(port)
    here = f"127.0.0.1:{port},localhost:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1"]
    stores = ["--backend-store-uri", workspace.mlflow_url]
    stores += ["--artifacts-destination", str(workspace.mlflow_artifacts.resolve())]
    asked = [*command, "--port", str(port), "--allowed-hosts", here, *stores]
    asked += ["--uvicorn-opts", "--log-level warning"]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    quiet |= {"PYTHONWARNINGS": "ignore"}  # MLflow's own
    say(f"MLflow: http://127.0.0.1:{port} (stop with Ctrl-C)")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell ignores it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # in a session of its own: Ctrl-C reaches us, and we end it in its own way
    server = subprocess.Popen(asked, env={**os.environ, **quiet}, start_new_session=True)  # noqa: S603
    try:
        raise typer.Exit(server.wait())
    except KeyboardInterrupt:
        pass
    finally:
        server.terminate()
        server.wait()


@app.command()
def serve(port: Port = 3000, today: Today = None) -> None:
    """Serve assessments on 127.0.0.1."""
    workspace = workspace_here()
    with _service(workspace, port, today or past_today(workspace)) as service:
        raise typer.Exit(service.wait())


@app.command()
def assess(
    customer: Annotated[str, typer.Argument(help="The customer's identifier.")],
    amount: Annotated[
        str | None, typer.Option(help="Order amount, tax included, as 20000.00.")
    ] = None,
    margin: Annotated[str | None, typer.Option(help="Margin on it, as 800.00.")] = None,
    terms: Annotated[
        int | None, typer.Option(help="Days from the invoice to its due date; by default 30.")
    ] = None,
    paid: Annotated[
        str | None, typer.Option(help="Of the amount, received in advance, as 5000.00.")
    ] = None,
    today: Today = None,
) -> None:
    """Assess one customer from the command line; the answer is recorded as over HTTP.

    Without --amount, the customer's usual order is assumed.
    """
    import structlog

    from serving.opened import desk_from_environment

    silent = structlog.make_filtering_bound_logger("critical")  # errors are said once, below
    structlog.configure(wrapper_class=silent)
    workspace, order = workspace_here(), _order(amount, margin, terms, paid)
    _set_environment(workspace, today or past_today(workspace))
    answer = desk_from_environment().get().assessor.assess(customer, order)
    console.print_json(answer.decode())


def _order(
    amount: str | None, margin: str | None, terms: int | None, paid: str | None
) -> Order | None:
    """Read an order as the API does, and refuse it with the API's words."""
    from pydantic import ValidationError

    from serving.schemas import OrderGiven

    if amount is None and margin is None and terms is None and paid is None:
        return None
    if amount is None or margin is None:
        stop("an order needs both --amount and --margin")
    try:
        days = 30 if terms is None else terms
        given = OrderGiven(amount=amount, margin=margin, terms_days=days, paid=paid or "0.00")
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).removesuffix("day_number")
        money = 'must be money with at most two decimals, as "20000.00"'
        said = money if first["type"] == "string_pattern_mismatch" else first["msg"]
        stop(f"--{option} {said[0].lower()}{said[1:]}")
    return given.in_cents()


@app.command()
def run(
    ledger: Annotated[
        Path | None, typer.Option(help="Your own file; without it, a simulated ledger.")
    ] = None,
    mapping: Mapping = None,
    port: Port = 3000,
    today: Today = None,
) -> None:
    """Prepare everything on first use (import, train, promote), then serve and show an answer."""
    from models.workspace import Workspace

    if ledger is None and mapping is not None:
        stop("a mapping says how to read a ledger: give --ledger too")
    if ledger is not None and mapping is None:
        _require_fec(ledger)
    workspace = Workspace.from_environment()
    if ledger is not None and "ENCOURS_HOME" not in os.environ:
        workspace = replace(workspace, home=workspace.home.with_name(ledger.stem))
    if not workspace.champions.exists():
        _prepare(workspace, ledger, mapping)
    elif ledger is not None:
        say(f"{workspace.home} was prepared before; to add what is new in a file:")
        say(f"  ENCOURS_HOME={workspace.home} .venv/bin/encours import FILE --mapping MAPPING")
    today = today or past_today(workspace)
    with _service(workspace, port, today) as service:
        _show_an_answer(workspace, service, port, today)
        raise typer.Exit(service.wait())


@features_app.command("build")
def build_features(
    out: Annotated[Path, typer.Option(help="Folder for the Parquet files, missing or empty.")],
    spine: Annotated[
        str,
        typer.Option(
            help="Rows to describe: monthly (each customer, on the first of each month), invoices "
            "(each on its issue date), or a CSV or Parquet FILE with customer_id and as_of "
            "(YYYY-MM-DD; what was known before that day counts), and for invoices amount_cents "
            "and due_on.",
            metavar="monthly|invoices|FILE",
        ),
    ] = "monthly",
    first: Annotated[
        date | None,
        typer.Option(
            "--from",
            parser=a_date,
            metavar="YYYY-MM-DD",
            help="First date to describe; by default the ledger's first.",
        ),
    ] = None,
    last: Annotated[
        date | None,
        typer.Option(
            "--to",
            parser=a_date,
            metavar="YYYY-MM-DD",
            help="Last date to describe; by default the day after the ledger's last.",
        ),
    ] = None,
    processes: Annotated[int, typer.Option(min=1, max=256, help="On this machine.")] = 1,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Dask scheduler, as tcp://10.0.0.5:8786. Its workers run the same version of this "
            "project, reach the ledger's database and share the folder --out.",
        ),
    ] = None,
    shard_invoices: Annotated[
        int, typer.Option(min=1, help="About how many invoices a file covers; bounds the memory.")
    ] = 250_000,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier build in that folder.")
    ] = False,
) -> None:
    """Write every feature for many customers and dates, as Parquet: one file a shard of customers.

    A missing feature is null. _manifest.json, written last, says which ledger, import and features
    these are, with the SHA-256 of each file.
    """
    from features.shards import build_shards

    asked = _asked(spine, first, last)
    store = ledger_here(workspace_here())
    if store is None:
        stop("there is no ledger here yet: run `encours import` first")
    begun = time.monotonic()
    with _workers(processes, cluster) as run, bar("features") as progress:
        built = build_shards(
            workspace_here().facts_url,
            out.resolve(),
            asked,
            run,
            invoices_a_shard=shard_invoices,
            overwrite=overwrite,
            progress=progress,
        )
    if built.rows_of_unknown_customers:
        say(f"{built.rows_of_unknown_customers:,} rows name customers that the ledger lacks")
    say(
        f"{out}: {built.rows:,} rows x {built.features} features in {built.files:,} "
        f"{'file' if built.files == 1 else 'files'}, {built.bytes / 1e6:,.1f} MB, "
        f"{time.monotonic() - begun:.1f} s"
    )


def _asked(spine: str, first: date | None, last: date | None) -> Asked:
    from features.shards import Asked

    if first is not None and last is not None and first > last:
        stop("--from lies after --to")
    if spine in ("monthly", "invoices"):
        from_day, to_day = (None if day is None else day_number(day) for day in (first, last))
        return Asked(spine, from_day, to_day)
    if first is not None or last is not None:
        stop("a spine file says its own dates: leave out --from and --to")
    if not Path(spine).is_file():
        stop(f"--spine must be monthly, invoices or a file, and {spine} is none of them")
    return Asked("file", file=Path(spine))


@contextmanager
def _workers(processes: int, cluster: str | None) -> Iterator[Run]:
    from features import workers

    if cluster is not None and processes > 1:
        stop("give either --processes or --cluster")
    if cluster is not None:
        with workers.cluster(cluster) as run:
            yield run
    elif processes > 1:
        with workers.processes(processes) as run:
            yield run
    else:
        yield workers.here


def _prepare(workspace: Workspace, ledger: Path | None, mapping: Path | None) -> None:
    from training.fit import Settings
    from training.train import Plan

    say(f"First use: preparing {workspace.home}")
    store = ledger_here(workspace)
    if ledger is not None:
        _import(workspace, ledger, mapping)
    elif store is None or store.sequence() == 0:  # else an earlier first use was interrupted
        simulate(workspace.home / "simulated")
        _import(workspace, workspace.home / "simulated", ROOT / "mappings" / "encours.yaml")
    quick = Settings(most_pairs=FIRST_USE_PAIRS)
    _train(workspace, None, Plan(quick, walks=0))
    say("Trained quickly, on few rows: `encours train` takes more and looks further back.")
    _promote(workspace)


def _import(
    workspace: Workspace, file: Path, mapping: Path | None, terms: Path | None = None
) -> None:
    from features.store import Source, Store

    store = ledger_here(workspace)
    with bar(f"reading {file.name}") as progress:
        imported, currency = _read(file, mapping, terms, store, progress)
    with console.status("storing"):
        store = store or Store(workspace.facts_url, currency)
        how = mapping or terms
        source = Source(imported.sources, "" if how is None else _sha256(how))
        appended = store.append(imported.ledger, source)
    rejects = _write_rejects(workspace, appended, imported.rejects)
    _print_summary(imported, appended, currency)
    if rejects is not None:
        say(f"Rows put aside are in {rejects}")


def _read(
    file: Path,
    mapping: Path | None,
    terms: Path | None,
    store: Store | None,
    progress: Callable[[int, int], None],
) -> tuple[Imported, str]:
    """Read a file by its mapping or, without one, as a FEC; return it with its currency."""
    from features.importers import fec
    from features.importers.mapping import load_mapping
    from features.importers.tabular import read

    if mapping is not None:
        if terms is not None:
            stop("--terms are for a FEC; a mapping says itself where due dates come from")
        how = load_mapping(mapping)
        return read(file, how, store.known_of if store else None, progress), how.currency
    _require_fec(file)
    given = None if terms is None else fec.load_terms(terms)
    imported = fec.read(file, given, store.known() if store else None, progress)
    return imported, imported.ledger.currency


def _require_fec(file: Path) -> None:
    """Stop when a file that comes without a mapping needs one."""
    from features.importers import fec

    if not file.exists():
        stop(f"{file} does not exist")
    if file.is_dir() or not fec.is_fec(file):
        stop(f"{file} is no FEC: say how to read it with --mapping (examples are in mappings/)")


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _write_rejects(workspace: Workspace, appended: Appended, rejects: pd.DataFrame) -> Path | None:
    import pandas as pd

    aside = pd.concat([rejects, appended.rejects.drop(columns="label")], ignore_index=True)
    if aside.empty:
        return None
    aside["line"] = aside["line"].astype("Int64")  # rows that the store refused have none
    workspace.rejects.mkdir(parents=True, exist_ok=True)
    path = workspace.rejects / f"import-{appended.sequence}.csv"
    aside.to_csv(path, index=False)
    return path


def _print_summary(imported: Imported, appended: Appended, currency: str) -> None:
    from features.importers.fec import FecImported
    from features.importers.tabular import summary

    found = summary(imported)
    table = Table(Column(no_wrap=True), Column(), title="Import", show_header=False)
    table.add_row("rows read", f"{found.rows_read:,}")
    for name in found.kept:
        there = appended.already_there[name]
        known = f" ({there:,} already there)" if there else ""
        table.add_row(f"{name.replace('_', ' ')} added", f"{appended.added[name]:,}{known}")
        if corrected := appended.superseded[name]:
            table.add_row(f"{name.replace('_', ' ')} corrected", f"{corrected:,}")
    waiting = sum(account.not_settled for account in imported.accounts.values())
    if waiting:
        table.add_row("invoices not settled yet", f"{waiting:,}")
    for reason, count in _put_aside(found.quarantined, appended).items():
        table.add_row(f"put aside: {reason.replace('_', ' ')}", f"{count:,}")
    if found.first_on is not None:
        table.add_row("period", f"{found.first_on} to {found.last_on}")
    table.add_row("customers", f"{found.customers:,}")
    table.add_row("exposure", f"{found.exposure_cents / 100:,.2f} {currency}")
    late = "nothing settled" if found.late_rate is None else f"{found.late_rate:.1%} of invoices"
    table.add_row("paid late", late)
    if isinstance(imported, FecImported):
        for label, text in imported.verdict.rows():
            table.add_row(label, text)
    for assumption in found.assumptions:
        table.add_row("assumed", assumption)
    if found.absent:
        table.add_row("this data cannot say", ", ".join(found.absent).replace("_", " "))
    console.print(table)


def _put_aside(quarantined: dict[str, int], appended: Appended) -> dict[str, int]:
    """Count the rows put aside by reason, those that the store refused included."""
    counts = dict(quarantined)
    for reason, count in appended.rejects["reason"].value_counts().items():
        counts[str(reason)] = counts.get(str(reason), 0) + int(count)
    return counts


def _train(workspace: Workspace, cutoff: date | None, plan: Plan) -> None:
    from features.history import build
    from models.policy import load
    from training.promote import name_challengers
    from training.report import tables
    from training.train import Abstained, Books, train_default, train_late

    store = ledger_here(workspace)
    if store is None:
        stop("there is no ledger here yet: run `encours import` first")
    last_day = min(
        store.last_day(), day_number(this_day())
    )  # a date mistyped into 2062 ends nothing
    day = None if cutoff is None else day_number(cutoff)
    if day is not None and day > last_day:
        stop(f"the ledger ends on {as_date(last_day)}, nothing comes after that cut-off")
    definition = load(POLICY).default_definition
    with stages() as progress:
        progress("reading facts")
        described = store.ledger
        history = build(store.read(versions=True), described.observed_from)
        books = Books(described.id, store.data_sha256(), history, last_day + 1)
        tracking = _tracking(workspace)
        for train_one in (train_late, partial(train_default, definition=definition)):
            outcome = train_one(books, workspace.bundles, tracking, day, plan, progress=progress)
            if isinstance(outcome, Abstained):
                say(f"The {outcome.question} curve abstains: {outcome.reason}.")
                continue
            for table in tables(outcome):
                console.print(table)
            if outcome.walked is None and plan.walks:
                say("The ledger is too short to fit again at earlier cut-offs.")
        name_challengers(tracking, workspace)


def _promote(
    workspace: Workspace, what: str = "all", name: str | None = None, judge: Judge | None = None
) -> None:
    """Promote; without a judge only what was just trained, for the first time."""
    from training.promote import PARTS
    from training.promote import promote as put_in_charge

    parts = PARTS if what == "all" else (what,)
    tracking = _tracking(workspace)
    with _on_record(workspace) as tell:
        outcome = put_in_charge(tracking, workspace, POLICY, judge, parts=parts, by=name, tell=tell)
    for verdict in outcome.verdicts:
        console.print(_verdict_table(verdict))
    match outcome.status:
        case "refused":
            say("The gate refuses; what is in charge stays.")
            raise SystemExit(1)
        case "unchanged":
            say("Nothing to promote: all of it is in charge already.")
        case "proposed" | "waiting" if outcome.record is not None:
            say(f"Proposed by {outcome.record.body['by']}; another person must approve:")
            say("  .venv/bin/encours promote --as NAME")
            raise SystemExit(0)
        case _:
            _say_in_charge(workspace, outcome)


@contextmanager
def _on_record(workspace: Workspace) -> Iterator[Callable[[Signed], object]]:
    """Give what puts a promotion on the record, with those before it that are not there yet."""
    from sqlalchemy.exc import SQLAlchemyError

    from features.store_database import why
    from serving.audit import Record
    from serving.promotions import put_on_record
    from training.promote import signatures

    earlier = signatures(workspace).verified()

    def tell(signed: Signed) -> None:
        with closing(Record(workspace.record_url)) as record:
            put_on_record(record, [*earlier, signed])

    try:
        yield tell
    except SQLAlchemyError as error:
        stop(f"nothing is put in charge: it could not be recorded first ({why(error)})")


def _say_in_charge(workspace: Workspace, outcome: Outcome) -> None:
    from training.promote import signatures

    if outcome.champions is None or outcome.record is None:
        return
    for question in ("late", "default"):
        sha256 = getattr(outcome.champions, question)
        say(f"{question} curve: {'abstains' if sha256 is None else sha256[:12]}")
    say(f"policy: {outcome.champions.policy[:12]}")
    say(f"in charge: {workspace.champions}")
    signer = signatures(workspace).signer()
    kind, number = outcome.record.body["kind"], outcome.record.number
    say(f"recorded: {kind}, number {number}, signed by key {signer[:16]}")


def _gate(workspace: Workspace) -> Judge:
    """Give the gate on the facts of now; they are read when a challenger is first judged."""

    @cache
    def ready() -> Judge:
        from features.history import build
        from models.policy import load
        from models.targets import DEFAULT_DEFINITIONS
        from training import gate, gate_file

        store = ledger_here(workspace)
        if store is None:
            stop("there is no ledger here yet: run `encours import` first")
        history = build(store.read(versions=True), store.ledger.observed_from)
        end = min(store.last_day(), day_number(this_day())) + 1
        definition = DEFAULT_DEFINITIONS[load(POLICY).default_definition]
        return gate.on_ledger(history, end, definition, gate_file.load())

    def judge(challenger: Bundle, champion: Bundle | None) -> Verdict:
        with stages() as progress:
            progress(f"{challenger.curve.question}: at the gate")
            return ready()(challenger, champion)

    return judge


def _verdict_table(verdict: Verdict) -> Table:
    against = "no champion" if verdict.champion is None else f"champion {verdict.champion[:12]}"
    title = f"{verdict.question} curve: challenger {verdict.challenger[:12]}, {against}"
    table = Table("check", "result", "seen", "wanted", title=title)
    for check in verdict.checks:
        result = check.status if check.binds else f"{check.status} (does not bind yet)"
        table.add_row(check.name, result, check.seen, check.wanted)
    return table


def _tracking(workspace: Workspace) -> Any:
    from training.tracking import Tracking

    return Tracking(workspace.mlflow_url, workspace.mlflow_artifacts)


def _set_environment(workspace: Workspace, today: date | None) -> None:
    os.environ["ENCOURS_HOME"] = str(workspace.home.resolve())
    if today is not None:
        os.environ["ENCOURS_TODAY"] = str(today)


@contextmanager
def _service(
    workspace: Workspace, port: int, today: date | None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the service; however we end, it ends with us."""
    _require_free(port)
    _set_environment(workspace, today)
    command = [sys.executable, "-m", "bentoml", "serve", "serving.service:Encours"]
    address = ["--host", "127.0.0.1", "--port", str(port), "--working-dir", str(ROOT)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    service = subprocess.Popen([*command, *address])  # noqa: S603 (our own command)
    try:
        yield service
    except KeyboardInterrupt:  # Ctrl-C reached the service too
        pass
    finally:
        service.terminate()
        service.wait()


def _require_free(port: int) -> None:
    """Stop when somebody answers on the port: we would ask them, and show their answer."""
    with socket.socket() as here:
        here.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            here.bind(("127.0.0.1", port))
        except OSError as error:
            stop(f"port {port} cannot be used: {error.strerror}; choose another with --port")


def _show_an_answer(
    workspace: Workspace,
    service: subprocess.Popen[bytes],
    port: int,
    today: date | None,
) -> None:
    """Ask as a CRM does, with a key that was just made; later there is none to ask with.

    Keys are made last: what could still go wrong must not leave keys that nobody saw.
    """
    url = f"http://127.0.0.1:{port}"
    _wait_until_ready(service, url)
    body = json.dumps(_example(workspace, today))
    made = keys.one_of_each(workspace)
    if made:
        console.rule("Answer")
        console.print_json(_ask(url, body, made["crm"].text))
        console.rule("API keys, shown this once: ask with crm")
        for role, key in made.items():
            said = f"{role:8} {key.text}  {keys.WHAT_ROLES_DO[role]}"
            console.print(said, soft_wrap=True)
    else:
        say("The keys were shown on the first run; this makes another one:")
        say("  .venv/bin/encours keys create NAME --role crm")
    console.rule("Ask")
    key_shown = made["crm"].text if made else "$ENCOURS_KEY"
    console.print(
        f"curl -s {url}/v1/assessments -H 'Content-Type: application/json' \\\n"
        f'  -H "Authorization: Bearer {key_shown}" \\\n'
        f"  -d '{body}'",
        soft_wrap=True,
    )
    say(f"Read and try the API: {url}/docs")
    console.rule("Serving: stop with Ctrl-C")


def _wait_until_ready(service: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    with console.status("starting; the first time it compiles its features"):
        while not _is_ready(url):
            if service.poll() is not None:
                stop(f"the service ended with code {service.returncode}")
            if time.monotonic() > deadline:
                stop(f"the service was not ready after {READY_SECONDS} s: {_not_ready(url)}")
            time.sleep(0.2)


def _ask(url: str, body: str, key: str) -> str:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    request = urllib.request.Request(f"{url}/v1/assessments", body.encode(), headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=READY_SECONDS) as response:  # noqa: S310
            return str(response.read().decode())
    except urllib.error.HTTPError as refused:
        stop(f"the service refused the example: {json.loads(refused.read())['detail']}")


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=2) as response:  # noqa: S310
            return bool(response.status == 200)
    except OSError:
        return False


def _not_ready(url: str) -> str:
    """Say why the service is not ready, in its own words where it has any."""
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=2):  # noqa: S310
            return "it was too slow"
    except urllib.error.HTTPError as refused:
        return refused.read().decode()
    except OSError as error:
        return str(error)


def _example(workspace: Workspace, today: date | None) -> dict[str, Any]:
    """Pick a customer worth asking about: owing, somewhat overdue, and still buying."""
    import numpy as np

    from features.build import CUSTOMER_FEATURES, build, customer_spine
    from features.history import build as build_history
    from features.store import Store

    store = Store(workspace.facts_url)
    history = build_history(store.read(), store.ledger.observed_from)
    as_of = np.full(history.customers.size, day_number(today or this_day()) + 1, np.int32)
    X = build(history, customer_spine(np.arange(history.customers.size), as_of))
    said = dict(zip(CUSTOMER_FEATURES, X.T, strict=True))
    overdue = said["open_longest_overdue_days"]
    lively = (said["purchases_days_since_last"] < 60) & (overdue > 5) & (overdue < 60)
    buys = ~np.isnan(said["purchases_typical_amount"])
    chosen = int(np.argmax(np.where(lively, said["open_overdue_rate"], np.where(buys, -1.0, -2.0))))
    amount = float(said["purchases_typical_amount"][chosen])
    order = {"amount": f"{amount:.2f}", "margin": f"{amount * 0.12:.2f}", "terms_days": 30}
    return {"customer": {"id": str(history.customers[chosen])}, "order": order}


def main() -> None:
    """Run the command line; a user's mistake ends in one sentence, not in a stack trace."""
    try:
        app(prog_name="encours")
    except Exception as error:
        message = _in_words(error)
        if message is None:
            raise
        stop(message)


def _in_words(error: Exception) -> str | None:
    """Say what a user can mend: our own errors, files and databases; ``None`` for our bugs."""
    if type(error).__module__.partition(".")[0] in PACKAGES:
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    if hasattr(error, "orig"):  # SQLAlchemy's; its own message shows the values
        where = f"in {workspace_here().home} or at ENCOURS_DATABASE_URL"
        return f"a database {where} cannot be used: {error.orig}"
    return None


if __name__ == "__main__":
    main()
