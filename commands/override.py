"""``encours override`` and ``overrides``: a person decides otherwise, and what came of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

from commands.shared import (
    LedgerDb,
    Today,
    a_date,
    as_date,
    console,
    day_number,
    ledger_here,
    past_today,
    say,
    stop,
    this_day,
    workspace_here,
)

if TYPE_CHECKING:
    from features.store import Store
    from models.overrides import Override
    from models.workspace import Workspace
    from serving.audit import Record
    from serving.override import Wanted
    from serving.override_results import Result, Summary

Kinds = Literal[
    "open", "deposit", "reduced_limit", "shorter_terms", "retention_of_title", "bank_guarantee",
    "letter_of_credit", "insured_sale", "factoring", "cash", "refuse",
]  # fmt: skip
MONEY = re.compile(r"[0-9]{1,12}(\.[0-9]{1,2})?")


def override(
    assessment: Annotated[str, typer.Argument(help="Id of the assessment to decide on.")],
    reason: Annotated[str, typer.Option(help="Why, in 10 to 500 characters; it is recorded.")],
    action: Annotated[
        Kinds | None, typer.Option(help="What to do about the order instead.")
    ] = None,
    deposit_rate: Annotated[
        float | None, typer.Option(help="Share of the amount to ask, as 0.2: with a deposit.")
    ] = None,
    terms: Annotated[int | None, typer.Option(help="Days: with shorter terms.")] = None,
    limit: Annotated[
        str | None,
        typer.Option(
            help="Exposure, this order included, up to which the decision holds, as 15000.00; by "
            "default what is owed and what the decision leaves on credit."
        ),
    ] = None,
    until: Annotated[
        date | None,
        typer.Option(parser=a_date, metavar="YYYY-MM-DD", help="Last day in force."),
    ] = None,
    withdraw: Annotated[
        bool, typer.Option("--withdraw", help="End the decision in force instead of taking one.")
    ] = False,
    name: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="NAME",
            help="Who decides, as people.yaml names them; else the login name. NOT authenticated "
            "yet: the name is taken on trust, and the record says so.",
        ),
    ] = None,
    today: Today = None,
) -> None:
    """Decide otherwise than the policy about an assessed order, with a reason and an end.

    people.yaml in ENCOURS_HOME says who has which role, the policy what each role may do
    (docs/overrides.md). Names are not authenticated yet: whoever may run this command can decide
    as anybody whom that file names.
    """
    from serving.override import OverrideRefused, Wanted
    from training.promote import login_name

    if withdraw == (action is not None):
        stop("give either --action or --withdraw")
    wanted = Wanted(
        assessment,
        name or login_name(),
        reason,
        action,
        _exact(deposit_rate),
        terms,
        _cents(limit),
        until,
    )
    try:
        told = json.loads(_decide(wanted, today))
    except OverrideRefused as refused:
        stop(_low(str(refused)))
    _say_recorded(told)


def _decide(wanted: Wanted, today: date | None) -> bytes:
    from serving.audit import Record
    from serving.override import Overrider, policy_in_charge
    from serving.people import FILE_NAME, load

    workspace, store = _opened(None)
    people = load(workspace.home / FILE_NAME)
    policy = policy_in_charge(workspace)
    clock = _clock(today or past_today(workspace))
    return Overrider(store, Record.of(workspace), policy, people, clock).decide(wanted)


def _say_recorded(told: dict[str, Any]) -> None:
    said, place = told["override"], told["record"]
    who, decided = f"{said['by']} ({said['role']})", said["decided"]
    if decided is None:
        say(f"{who} withdraws the decision in force for {said['customer_id']}.")
    else:
        done = _action(decided["action"], decided["deposit_rate"], decided["terms_days"])
        proposed = _action(said["proposed"]["action"], said["proposed"]["deposit_rate"])
        say(f"{who} decides for {said['customer_id']}: {done}; the policy: {proposed}.")
        order = said["order"]
        say(
            f"Until {said['expires_on']}, for orders of at most {order['amount_cents'] / 100:,.2f} "
            f"on terms of at most {order['terms_days']} days, exposure within {decided['limit']}."
        )
        if said["direction"] == "harder":
            say("Harder than the policy: it holds for larger orders too.")
    say(f"recorded: entry {place['entry']}, leaf {place['leaf_hash'][:16]}, id {said['id']}")
    say("The name is not authenticated.")


def overrides(
    customer: Annotated[
        str | None, typer.Argument(help="Only this customer's; by default all.")
    ] = None,
    today: Today = None,
    ledger: LedgerDb = None,
) -> None:
    """List decisions taken otherwise than the policy, and what has happened since.

    The ledger does not link an invoice to an order: the customer's invoices issued from the day of
    the decision on are taken, until they make up the order (docs/overrides.md).
    """
    from serving.audit import Record
    from serving.override_results import summary
    from serving.overrides import Overrides

    workspace, store = _opened(ledger)
    if not workspace.has_record():
        stop("nothing was assessed here yet")
    record = Record.of(workspace)
    every = Overrides(record).all()
    wanted = [one for one in every if customer in (None, one.customer_id)]
    if not wanted:
        say("Nobody has decided otherwise than the policy.")
        return
    day = today or past_today(workspace) or this_day()
    found = _results(wanted, workspace, store, record, day)
    console.print(_table(found, every, day, store.ledger.currency))
    _say_summary(summary(found), store.ledger.currency)


def _results(
    wanted: list[Override], workspace: Workspace, store: Store, record: Record, day: date
) -> list[Result]:
    from features.history import build
    from models.targets import DEFAULT_DEFINITIONS, find_defaults
    from serving.override import policy_in_charge
    from serving.override_results import results

    history = build(store.read(versions=True), store.ledger.observed_from)
    definition = DEFAULT_DEFINITIONS[policy_in_charge(workspace).default_definition]
    defaults = find_defaults(history, definition)
    return results(wanted, record, history, defaults, day_number(day) + 1)


def _table(found: list[Result], every: list[Override], day: date, currency: str) -> Table:
    latest = {one.customer_id: one.id for one in every}
    columns = ("decided, until", "order", "policy", "decided instead", "since")
    table = Table(
        *columns, title=f"Decided otherwise than the policy, in {currency}", show_lines=True
    )
    table.add_column("result so far", justify="right")
    for one in found:
        override, result = one.override, one.result_cents
        if override.choice is None:
            continue
        rate = override.choice.deposit_rate
        asked = None if rate is None else float(rate)
        chosen = _action(override.choice.kind, asked, override.choice.terms_days)
        runs = override.in_force(day) and latest[override.customer_id] == override.id
        until = str(override.expires_on) if runs else f"ended {as_date(one.ends_on - 1)}"
        table.add_row(
            f"{override.decided_on}\n{until}",
            f"{override.customer_id}\n{override.order.amount_cents / 100:,.2f}",
            _action(one.proposed, one.proposed_rate),
            f"{chosen}: {override.direction or 'not comparable'}\n{override.by}, {override.role}",
            one.in_words,
            "nothing known yet" if result is None else f"{result / 100:,.2f}",
        )
    return table


def _say_summary(totals: list[Summary], currency: str) -> None:
    for one in totals:
        way = "not comparable" if one.direction is None else f"{one.direction} than the policy"
        if one.known == 0:
            say(f"{one.overrides} {way}: nothing known yet.")
            continue
        so_far, expected = one.result_cents / 100, one.proposed_profit_cents / 100
        say(
            f"{one.overrides} {way}: {so_far:,.2f} {currency} so far, of the {one.known} where "
            f"anything is known; the policy expected {expected:,.2f} of its own choices on them."
        )
    say("So far: margin of what was paid less what was lost. An order refused has no outcome.")


def _opened(ledger: str | None) -> tuple[Workspace, Store]:
    workspace = workspace_here(ledger)
    store = ledger_here(workspace)
    if store is None:
        stop("there is no ledger here yet: run `encours import` first")
    if not workspace.champions.exists():
        stop("no policy is in charge here yet: run `encours train`, then `encours promote`")
    return workspace, store


def _clock(day: date | None) -> Callable[[], datetime]:
    """Give a clock of now, or one that stands at the end of a day."""
    if day is None:
        return lambda: datetime.now(UTC)
    end = datetime.combine(day, time.max, UTC)
    return lambda: end


def _cents(money: str | None) -> int | None:
    from serving.schemas.request import cents

    if money is not None and not MONEY.fullmatch(money):
        stop('--limit must be money with at most two decimals, as "15000.00"')
    return None if money is None else cents(money)


def _exact(rate: float | None) -> Any:
    from models.strict_yaml import exact

    return None if rate is None else exact(rate)


def _action(kind: str | None, rate: float | None = None, terms: int | None = None) -> str:
    from models.wording import LABELS

    if kind is None:
        return "nothing proposed"
    label = dict(LABELS)[kind].en  # type: ignore[index]
    if rate is not None:
        return f"{label} {100 * rate:g} %"
    return label if terms is None else f"{label}, {terms} days"


def _low(sentence: str) -> str:
    return f"{sentence[0].lower()}{sentence[1:].rstrip('.')}"
