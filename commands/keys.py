"""``encours keys``: who may call the service."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table

from commands.shared import a_date, console, say, stop, workspace_here

if TYPE_CHECKING:
    from models.workspace import Workspace
    from serving.keys import Key, Keys, Made, Role

app = typer.Typer(help="API keys: make, list and revoke them.", no_args_is_help=True)
WHAT_ROLES_DO = {
    "crm": "asks for assessments, pushes facts",
    "risk": "the same, and overrides, portfolios",
    "auditor": "reads all that was answered",
    "admin": "reads what is in force; makes no assessment",
}
Customers = Annotated[
    Path | None,
    typer.Option(
        "--customers", metavar="FILE", help="A text file, one customer a line; by default all."
    ),
]
Expires = Annotated[
    date | None,
    typer.Option(
        parser=a_date, metavar="YYYY-MM-DD", help="First day on which it no longer works."
    ),
]
By = Annotated[
    str | None,
    typer.Option("--as", metavar="NAME", help="Who does it, for the record; else the login name."),
]


@app.command()
def create(
    client: Annotated[str, typer.Argument(help="The system or person that will hold it.")],
    role: Annotated[str, typer.Option(help="crm, risk, auditor or admin.")],
    customers: Customers = None,
    expires: Expires = None,
    calls: Annotated[
        float | None, typer.Option("--calls-a-second", help="How many it may make for long.")
    ] = None,
    by: By = None,
) -> None:
    """Make a key and print it, this once: only its hash is kept."""
    from serving.keys import ROLES
    from serving.limits import CALLS_A_SECOND

    if role not in ROLES:
        stop(f"--role must be one of {', '.join(ROLES)}")
    named = None if customers is None else _ids(customers)
    keys = keys_of(workspace_here())
    many = CALLS_A_SECOND if calls is None else calls
    made = keys.make(client, role, _by(by), named, expires, many)
    console.print(made.text, soft_wrap=True)
    about = "all customers" if named is None else f"{len(set(named)):,} customers"
    can = f"role {role}, {about}, {made.key.calls_a_second:g} calls a second"
    typer.echo(f"{can}. It is not shown again: send it as Authorization: Bearer", err=True)


@app.command("list")
def list_() -> None:
    """List the keys, without their secrets."""
    found = keys_of(workspace_here()).all()
    if not found:
        say("There is no key yet: `encours keys create NAME --role crm` makes one.")
        return
    id = Column("key", min_width=len(found[0].id))  # whole, to revoke it by
    expires_on = Column("expires", min_width=10)
    table = Table(id, "client", Column("role", min_width=4), "customers", expires_on, "state")
    for key in found:
        customers = "all" if key.customers is None else f"{len(key.customers):,}"
        expires = "never" if key.expires_on is None else str(key.expires_on)
        table.add_row(key.id, key.client, key.role, customers, expires, _state(key))
    console.print(table)


def _state(key: Key) -> str:
    from commands.shared import this_day

    if key.revoked_at is not None:
        return f"revoked {key.revoked_at[:10]}"
    return f"works since {key.made_at[:10]}" if key.works_on(this_day()) else "expired"


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(help="Its id, the 12 characters of `encours keys list`.")],
    by: By = None,
) -> None:
    """Revoke a key: a running service refuses it within a second."""
    revoked = keys_of(workspace_here()).revoke(key, _by(by))
    say(f"key {revoked.id} of {revoked.client} is revoked")


def keys_of(workspace: Workspace) -> Keys:
    """Open the keys of a workspace."""
    from serving.audit import Record
    from serving.keys import Keys

    return Keys(lambda: Record.of(workspace))


def one_of_each(workspace: Workspace) -> dict[Role, Made]:
    """Make a key of each role where there is no key yet; else nothing."""
    from serving.keys import ROLES

    keys = keys_of(workspace)
    if keys.all():
        return {}
    return {role: keys.make(f"first run, {role}", role, _by(None)) for role in ROLES}


def _ids(file: Path) -> list[str]:
    """Read customers, one a line."""
    lines = [line.strip() for line in file.read_text("utf-8").splitlines()]
    return [line for line in lines if line]


def _by(name: str | None) -> str:
    from training.promote import login_name

    return name or login_name()
