"""``encours erase``: the data of a natural person, on request or because nothing happened since."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer

from commands.shared import a_date, ledger_here, say, stop, this_day, workspace_here

if TYPE_CHECKING:
    from models.workspace import Workspace
    from serving.erasure import Eraser, Found

SHOWN = 50


def erase(
    customer: Annotated[str | None, typer.Argument(help="The seller's number for him.")] = None,
    by: Annotated[
        str | None, typer.Option("--by", metavar="NAME", help="Who erases; else the login name.")
    ] = None,
    why: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Why, in 10 to 500 characters; it stays on the record and must name nobody.",
        ),
    ] = None,
    inactive_since: Annotated[
        date | None,
        typer.Option(
            parser=a_date,
            metavar="YYYY-MM-DD",
            help="All natural persons of whom nothing was invoiced, ordered, due or settled since, "
            "and who owe nothing; without --yes they are only listed.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Erase without asking.")] = False,
) -> None:
    """Erase the data of a customer who is a natural person; it cannot be undone.

    Facts and results of jobs are removed. What the record says of him becomes unreadable, for its
    key is destroyed, and the record still verifies. Legal persons are refused. Cut short, the same
    command again goes on. What is not erased: docs/erasure.md.
    """
    if (customer is None) == (inactive_since is None):
        stop("give either a customer or --inactive-since")
    if why is None and (customer is not None or yes):
        stop("give --why: the record keeps the reason")
    workspace = workspace_here()
    if ledger_here(workspace) is None:
        stop("there is no ledger here yet")
    if customer is not None:
        _erase(workspace, [customer], by, why or "", yes=yes)
        return
    assert inactive_since is not None  # noqa: S101 (for the type checker)
    _erase_inactive(workspace, inactive_since, by, why, yes=yes)


def _erase_inactive(
    workspace: Workspace, since: date, by: str | None, why: str | None, *, yes: bool
) -> None:
    from serving.erasure import inactive_since

    if since >= this_day():
        stop(f"{since} is not past")
    found = inactive_since(workspace, since)
    if not found:
        say(f"No natural person without anything since {since}.")
        return
    for one in found[: None if yes else SHOWN]:
        say(one)
    if len(found) > SHOWN and not yes:
        say(f"… and {len(found) - SHOWN:,} more")
    said = f"{len(found):,} natural persons without anything since {since}"
    if yes:
        _erase(workspace, found, by, why or "", yes=True)
    else:
        say(f"{said}. Nothing is erased: --yes --why TEXT does.")


def _erase(
    workspace: Workspace, customers: list[str], by: str | None, why: str, *, yes: bool
) -> None:
    from serving.audit import Record
    from serving.erasure import Eraser, ErasureRefused, Wanted
    from training.promote import login_name

    eraser = Eraser(workspace, Record.of(workspace))
    wanted = [Wanted(customer, by or login_name(), why) for customer in customers]
    try:
        if not yes:
            _ask(eraser, customers[0])
        _say(eraser.erase_all(wanted))
    except ErasureRefused as refused:
        stop(str(refused))


def _ask(eraser: Eraser, customer: str) -> None:
    found = eraser.look(customer)
    say(
        f"{found.facts:,} facts will be removed, {found.entries:,} entries of the record become "
        "unreadable, for ever."
    )
    if not typer.confirm("Erase?"):
        stop("nothing is erased")


def _say(found: list[Found]) -> None:
    facts, entries, in_clear = (
        sum(getattr(one, part) for one in found) for part in ("facts", "entries", "in_clear")
    )
    say(
        f"erased: {facts:,} facts removed, {entries:,} entries of the record are unreadable; it "
        "verifies as before."
    )
    if in_clear:
        say(
            f"{in_clear:,} entries of before persons were encrypted stay in clear: what they "
            "say cannot be changed, or the record would not verify."
        )
