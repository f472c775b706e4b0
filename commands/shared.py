"""What the commands share: the console, options, dates, and the workspace they act on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

if TYPE_CHECKING:
    from features.store import Store
    from models.workspace import Workspace

SETTLED_LONG_AGO_DAYS = 45  # a ledger that ended earlier is answered as of its last day
ROOT = Path(__file__).parents[1]
POLICY = ROOT / "models" / "policy.yaml"
console = Console(markup=False, highlight=False)


def a_date(text: str) -> date:
    """Read an option that is a date."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a date written YYYY-MM-DD") from None


LedgerDb = Annotated[
    str | None,
    typer.Option(
        "--ledger",
        metavar="DB",
        help="SQLite file (or PostgreSQL URL) that holds the imported facts; what is trained goes "
        "beside the file. By default the one of ENCOURS_HOME.",
    ),
]
As = Annotated[
    str | None,
    typer.Option(
        "--as", metavar="NAME", help="Who does it, for the signed record; else the login name."
    ),
]
Port = Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")]
Today = Annotated[
    date | None,
    typer.Option(
        parser=a_date,
        metavar="YYYY-MM-DD",
        envvar="ENCOURS_TODAY",
        help="Answer as of this day; by default today, or the last day of a ledger of the past.",
    ),
]


def workspace_here(ledger: str | None = None) -> Workspace:
    """Give the workspace of the environment, or the one that stands beside a database of facts."""
    from features.store import sqlite_url
    from models.workspace import Workspace

    workspace = Workspace.from_environment()
    if ledger is None:
        return workspace
    if ledger.startswith(("postgres://", "postgresql://")):
        return replace(workspace, database_url=ledger)
    file = Path(ledger)
    if not _is_sqlite(file):
        stop(f"{file} is no database of facts: `encours import` makes one of a ledger file")
    home = workspace.home if "ENCOURS_HOME" in os.environ else file.parent
    return replace(workspace, home=home, database_url=sqlite_url(file))


def _is_sqlite(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(16) == b"SQLite format 3\0"


def ledger_here(workspace: Workspace) -> Store | None:
    """Open the facts; ``None``, with nothing made, where there is no ledger yet."""
    from features.ledger import LedgerError
    from features.store import Store

    try:
        return Store(workspace.facts_url) if workspace.has_facts() else None
    except LedgerError:  # an import was cut short before it wrote anything
        return None


def past_today(workspace: Workspace) -> date | None:
    """Give the ledger's last day when it lies well in the past, and say so; else nothing."""
    store = ledger_here(workspace)
    last_day = this_day() if store is None else as_date(store.last_day())
    if (this_day() - last_day).days <= SETTLED_LONG_AGO_DAYS:
        return None
    said = f"The ledger ended on {last_day}: answers are given as of that day."
    Console(stderr=True).print(said, soft_wrap=True, highlight=False)
    return last_day


def _progress(*columns: ProgressColumn) -> Progress:
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


@contextmanager
def bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show how far a long work of known length is: call it with done and total."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with _progress(*columns) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def stages() -> Iterator[Callable[[str], None]]:
    """Show the stage that a long work is at."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with _progress(*columns) as progress:
        task = progress.add_task("starting")
        yield lambda stage: progress.update(task, description=stage)


def this_day() -> date:
    """Give today, UTC."""
    return datetime.now(UTC).date()


def day_number(day: date) -> int:
    """Give the days since 1970-01-01."""
    return (day - date(1970, 1, 1)).days


def as_date(days: int) -> date:
    """Give the date of a day number."""
    return date(1970, 1, 1) + timedelta(days=days)


def say(message: str) -> None:
    """Print a sentence."""
    console.print(message, soft_wrap=True)  # one line, however long a path is


def stop(message: str) -> NoReturn:
    """Say what the user can mend, and end with exit code 2."""
    errors = Console(stderr=True, markup=False, highlight=False)
    errors.print(f"encours: {message}", style="red", soft_wrap=True)
    raise SystemExit(2)
