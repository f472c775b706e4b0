"""``encours limits``: old → new credit limit of every active customer, and why."""

from __future__ import annotations

import csv
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from rich.table import Table

from commands.shared import (
    LedgerDb,
    Today,
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
    from models.limit_proposals import Proposal
    from models.limits import Line
    from models.workspace import Workspace
    from serving.portfolio_limits import Portfolio

RISKY = ("=", "+", "-", "@", "\t", "\r", "\n")  # OWASP, CSV injection
COLUMNS = (
    "limit_id", "customer_id", "decided_on", "amount", "currency", "old", "recommended", "moved",
    "grade", "exposure", "room", "review_on", "why_fr", "why_en",
)  # fmt: skip


class Proposed(NamedTuple):
    """The portfolio's proposals of one day."""

    portfolio: Portfolio
    day: date
    currency: str
    slack_rate: float


def limits(
    customer: Annotated[
        str | None, typer.Argument(help="Show how this customer's limit is derived.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="Write every line; once approved, import the file with "
            "mappings/credit_limits.yaml.",
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=0, help="How many lines to show.")] = 20,
    today: Today = None,
    ledger: LedgerDb = None,
) -> None:
    """Propose a credit limit for every customer who bought within a year: old, new, and why.

    Nothing is decided here: a limit holds once a person approves it and the file is imported.
    """
    proposed = _propose(workspace_here(ledger), today)
    if customer is not None:
        _explain(customer, proposed)
        return
    from models.limit_proposals import by_euros_moved

    lines = by_euros_moved(proposed.portfolio.proposals)
    console.print(_table([one for one in lines if one.is_changed][:top], proposed))
    _say_totals(proposed)
    if out is not None:
        _write(out, lines, proposed)
        say(f"Written: {out}, {len(lines)} lines; take out those that are not approved, then")
        say(f"  .venv/bin/encours import {out} -m mappings/credit_limits.yaml")


def _propose(workspace: Workspace, today: date | None) -> Proposed:
    from features.history import build
    from serving.covers.provider import rules_from_environment
    from serving.portfolio_limits import portfolio
    from serving.speaking import Speaking

    store = ledger_here(workspace)
    if store is None:
        stop("there is no ledger here yet: run `encours import` first")
    if not workspace.champions.exists():
        stop("no model is in charge here yet: run `encours train`, then `encours promote`")
    day = today or past_today(workspace) or this_day()
    described = store.ledger
    with stages() as progress:
        progress("reading facts")
        history = build(store.read(versions=True), described.observed_from)
        speaking = Speaking.load(workspace, described.id)
        progress("deriving limits")
        as_of, rules = day_number(day) + 1, rules_from_environment()
        found = portfolio(history, as_of, speaking.default, speaking.policy, rules)
    slack_rate = float(speaking.policy.limit.hysteresis_rate)
    return Proposed(found, day, described.currency, slack_rate)


def _table(shown: list[Proposal], proposed: Proposed) -> Table:
    title = f"Limits that change, most euros first, in {proposed.currency}"
    table = Table("customer", "grade", title=title)
    for column in ("exposure", "old", "recommended", "new", "room"):
        table.add_column(column, justify="right")
    table.add_column("review")
    table.add_column("bound by")
    for one in shown:
        table.add_row(
            one.customer_id,
            one.grade or "–",
            *map(_whole, (one.exposure_cents, one.old_cents, one.recommended_cents, one.new_cents)),
            _whole(one.room_cents),
            str(_review_on(one, proposed.day) or "–"),
            one.why.en,
        )
    return table


def _say_totals(proposed: Proposed) -> None:
    from models.limit_proposals import totals

    found = totals(proposed.portfolio.proposals)
    say(
        f"{found.customers} customers bought within a year: {found.raised} raised, "
        f"{found.lowered} lowered, {found.first} first limits, {found.unchanged} unchanged "
        f"(within {proposed.slack_rate:.0%} of the old one), {found.undecided} without a proposal."
    )
    before, after = _whole(found.before_cents), _whole(found.after_cents)
    say(f"Limits: {before} before, {after} after, in {proposed.currency}.")
    above = _whole(found.above_before_cents), _whole(found.above_after_cents)
    say(f"Exposure above the limit: {above[0]} before, {above[1]} after (where there is one).")
    if found.undecided:
        reasons = {one.why.en for one in proposed.portfolio.proposals if one.new_cents is None}
        say(f"Without a proposal the old limit stays: {'; '.join(sorted(reasons))}.")
    if proposed.portfolio.dormant:
        asleep = _whole(proposed.portfolio.dormant_cents)
        say(
            f"Not looked at: {proposed.portfolio.dormant} customers without an invoice for a year "
            f"still have limits of {asleep}."
        )


def _explain(customer: str, proposed: Proposed) -> None:
    """Print how one customer's limit is derived, line by line."""
    found = [one for one in proposed.portfolio.proposals if one.customer_id == customer]
    if not found:
        stop(f"{customer} is not among the customers who bought within a year")
    (one,) = found
    table = Table("", "", title=f"{customer}, grade {one.grade or '–'}, in {proposed.currency}")
    table.add_column("", justify="right")
    for line in one.derivation:
        table.add_row(line.en, line.fr, _value(line))
    console.print(table)
    say(f"Old limit {_whole(one.old_cents)}, proposed {_whole(one.new_cents)}.")
    say(f"Why: {one.why.en} ({one.why.fr}).")
    if one.new_cents == one.old_cents != one.recommended_cents:
        say(
            f"What is recommended lies within {proposed.slack_rate:.0%} of the old limit: it stays."
        )
    say(f"Exposure {_whole(one.exposure_cents)}, room {_whole(one.room_cents)}.")
    if (review := _review_on(one, proposed.day)) is not None:
        say(f"To be looked at again on {review}.")


def _write(file: Path, lines: list[Proposal], proposed: Proposed) -> None:
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(COLUMNS)
        for one in lines:
            writer.writerow(
                [
                    _text(f"{one.customer_id} {proposed.day}"),
                    _text(one.customer_id),
                    proposed.day,
                    *map(_amount, [one.in_force_cents]),
                    proposed.currency,
                    *map(_amount, [one.old_cents, one.recommended_cents, one.moved_cents]),
                    one.grade or "",
                    *map(_amount, [one.exposure_cents, one.room_cents]),
                    _review_on(one, proposed.day) or "",
                    _text(one.why.fr),
                    _text(one.why.en),
                ]
            )


def _review_on(one: Proposal, day: date) -> date | None:
    return None if one.review_days is None else day + timedelta(days=one.review_days)


def _value(line: Line) -> str:
    match line.unit:
        case "cents":
            return f"{line.value / 100:,.2f}"
        case "rate":
            return f"{line.value:.2%}"
        case _:
            return f"{line.value} days"


def _whole(cents: int | None) -> str:
    """Write cents as whole units, or that there is nothing."""
    return "none" if cents is None else f"{cents / 100:,.0f}"


def _amount(cents: int | None) -> str:
    """Write cents as a decimal; nothing for none.

    >>> _amount(123456), _amount(-5), _amount(None)
    ('1234.56', '-0.05', '')
    """
    if cents is None:
        return ""
    whole, rest = divmod(abs(cents), 100)
    return f"{'-' if cents < 0 else ''}{whole}.{rest:02d}"


def _text(value: str) -> str:
    """Write text that comes from the ledger so that no spreadsheet takes it for a formula.

    >>> _text("=1+1"), _text("C-17")
    ("'=1+1", 'C-17')
    """
    return f"'{value}" if value.startswith(RISKY) else value
