"""``encours alerts``: evaluate the whole portfolio, and list what stands."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, NamedTuple

import typer
from rich.table import Table

from commands.shared import (
    LedgerDb,
    Today,
    bar,
    console,
    ledger_here,
    past_today,
    say,
    stages,
    stop,
    workspace_here,
)

if TYPE_CHECKING:
    from datetime import date

    from features.store import Store
    from models.alerts import State
    from models.alerts_file import AlertRules
    from models.workspace import Workspace
    from serving.alerts import Alert, Alerts

app = typer.Typer(help="Alerts on customers who degrade: raise, list.", no_args_is_help=True)


@app.command()
def run(today: Today = None, ledger: LedgerDb = None) -> None:
    """Evaluate every customer who owes, against the state of before, and print the new alerts.

    Run it once a day, after the ledger is imported. Each assessment evaluates its customer too. The
    first run notes the states to compare with; models/alerts.yaml says what it tells all the same.
    """
    from serving.alerts import Alerts
    from serving.audit import Record
    from serving.references import References
    from serving.watch import Watch

    workspace, store = _opened(ledger)
    rules = _rules()
    record = Record.of(workspace)
    alerts, references = Alerts(record), References(workspace.record_url, record.persons)
    is_first = not references.all()
    before = _standing(alerts)
    found = _states(workspace, store, today, frozenset(one.chain[0] for one in before))
    watch = Watch(alerts, references, store.ledger.currency, rules)
    with bar("comparing with the state of before") as progress:
        raised = watch.see_all(found.states, lambda done: progress(done, len(found.states)))
    if raised:
        console.print(_table(raised, f"New alerts, {found.at:%Y-%m-%d}"))
    if is_first:
        say("The first run: their states are noted, and compared with the next time.")
    stand = len(_standing(alerts))
    over = len(before) + len(raised) - stand
    say(
        f"{len(found.states):,} customers evaluated: {len(raised):,} new alerts, {over:,} over or "
        f"replaced by a worse one, {stand:,} stand."
    )


@app.command("list")
def list_(ledger: LedgerDb = None) -> None:
    """List the alerts that stand, the most urgent first."""
    from models.alerts_file import SEVERITIES
    from serving.alerts import Alerts
    from serving.audit import Record

    workspace = workspace_here(ledger)
    if not workspace.has_record():
        stop("nothing was assessed or evaluated here yet")
    found = _standing(Alerts(Record.of(workspace)))
    if not found:
        say("No alert stands.")
        return
    found.sort(key=lambda one: SEVERITIES.index(one.said["severity"]))
    console.print(_table(found, "Alerts that stand"))


class _Evaluated(NamedTuple):
    """States to compare, as of an instant."""

    states: list[State]
    at: datetime


def _states(
    workspace: Workspace, store: Store, today: date | None, also: frozenset[str]
) -> _Evaluated:
    from features.history import build
    from serving.covers.provider import rules_from_environment
    from serving.portfolio_states import states
    from serving.speaking import Speaking

    day = today or past_today(workspace)
    at = datetime.now(UTC) if day is None else datetime.combine(day, time.max, UTC)
    described = store.ledger
    with stages() as progress:
        progress("reading facts")
        history = build(store.read(versions=True), described.observed_from)
        speaking = Speaking.load(workspace, described.id)
        progress("scoring customers")
        insurer = rules_from_environment()
        found = states(history, at, speaking.default, speaking.policy, insurer, also)
    if insurer.provider.kind != "ledger":
        say("Covers are the insurer's: they are compared at assessments, not here.")
    return _Evaluated(found, at)


def _opened(ledger: str | None) -> tuple[Workspace, Store]:
    workspace = workspace_here(ledger)
    store = ledger_here(workspace)
    if store is None:
        stop("there is no ledger here yet: run `encours import` first")
    if not workspace.champions.exists():
        stop("no model is in charge here yet: run `encours train`, then `encours promote`")
    return workspace, store


def _rules() -> AlertRules:
    from models.alerts_file import AlertsError
    from serving.opened import alert_rules_from_environment

    try:
        return alert_rules_from_environment()
    except AlertsError as error:
        stop(str(error))


def _standing(alerts: Alerts) -> list[Alert]:
    return [one for one in alerts.all() if one.is_standing]


def _table(found: list[Alert], title: str) -> Table:
    table = Table("customer", "severity", "what", "since", "", title=title, show_lines=True)
    for one in found:
        said = one.said
        what = f"{said['en']}\n{said['fr']}"
        status = "" if one.status == "open" else one.status
        table.add_row(said["customer_id"], said["severity"], what, said["at"][:10], status)
    return table
