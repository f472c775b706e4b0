"""``encours policy``: check, show, compare and try out a decision policy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from commands.shared import (
    POLICY,
    console,
    say,
)

if TYPE_CHECKING:
    from models.matrix import Cell
    from models.policy import Policy

app = typer.Typer(
    help="Check, show, compare and try out the decision policy.", no_args_is_help=True
)
File = Annotated[
    Path, typer.Argument(help="Policy file; by default the one that comes with encours.")
]
Other = Annotated[Path, typer.Argument(help="The policy file to compare it with.")]


@app.command()
def check(file: File = POLICY) -> None:
    """Read a policy strictly: each fault with its file, line and key, and exit code 2."""
    from models.policy import load

    policy = load(file)
    options = sum(share is not None for share in dict(policy.acceptance_rate).values())
    say(f"{file}: version {policy.version}, {options} options, {len(policy.blocking)} rules")
    say(f"identity: sha256 {policy.sha256}")


@app.command()
def show(file: File = POLICY) -> None:
    """Print the matrix that falls out: grade × margin × strategic importance × cover → action."""
    from models.matrix import Reference
    from models.policy import load

    policy, asked = load(file), Reference()
    amount, purchases = (x / 100 for x in (asked.amount_cents, asked.yearly_purchases_cents))
    say(
        f"Policy {policy.version}, for an order of {amount:,.0f} on {asked.terms_days}-day terms "
        f"of a customer in the middle of its grade, who buys {purchases:,.0f} a year, owes nothing "
        "and pays on the day."
    )
    for title, cells in _by_table(policy):
        console.print(_table(title, cells))


@app.command()
def diff(other: Other, file: File = POLICY) -> None:
    """Tell which keys differ between two policies, and which cells of the matrix change."""
    from models.matrix import matrix
    from models.policy import load

    before, after = load(other), load(file)
    keys = _changes(_flat(before), _flat(after))
    if not keys:
        say("The two policies say the same.")
        return
    table = Table("key", str(other), str(file), title="What differs")
    for line in keys:
        table.add_row(*line)
    console.print(table)
    cells = Table("importance", "cover", "grade", "margin", str(other), str(file))
    cells.title = "Cells of the matrix that change"
    pairs = list(zip(matrix(before), matrix(after), strict=True))
    changed = [(old, new) for old, new in pairs if old.text != new.text]
    for old, new in changed:
        cover, margin = "covered" if old.is_covered else "no cover", f"{old.margin_rate:.0%}"
        cells.add_row(old.importance, cover, old.grade, margin, old.text, new.text)
    if changed:
        console.print(cells)
    say(f"{len(changed)} of {len(pairs)} cells of the matrix change.")


def _by_table(policy: Policy) -> Iterator[tuple[str, list[Cell]]]:
    from models.matrix import IMPORTANCES, matrix

    cells = list(matrix(policy))
    for importance in IMPORTANCES:
        for is_covered in (False, True):
            cover = "the order covered at 90 %" if is_covered else "no cover"
            wanted = (importance, is_covered)
            here = [cell for cell in cells if (cell.importance, cell.is_covered) == wanted]
            yield f"{importance} customer, {cover}", here


def _table(title: str, cells: list[Cell]) -> Table:
    from models.matrix import MARGIN_RATES

    table = Table("grade", *(f"margin {rate:.0%}" for rate in MARGIN_RATES), title=title)
    by_grade: dict[str, list[str]] = {}
    for cell in cells:
        by_grade.setdefault(cell.grade, []).append(cell.text)
    for grade, texts in by_grade.items():
        table.add_row(grade, *texts)
    return table


def _flat(policy: Policy) -> dict[str, str]:
    """Write a policy as one line a key."""
    return dict(_keys("", policy.model_dump(mode="json", by_alias=True)))


def _keys(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _keys(f"{path}.{key}" if path else str(key), inner)
    elif isinstance(value, list) and path == "blocking":
        for rule in value:
            yield from _keys(f"{path}.{rule['id']}", rule)
    else:
        yield path, _written(value)


def _written(value: Any) -> str:
    if value is None:
        return "–"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _changes(before: dict[str, str], after: dict[str, str]) -> list[tuple[str, str, str]]:
    names = list(dict.fromkeys([*before, *after]))
    found = [(name, before.get(name, "–"), after.get(name, "–")) for name in names]
    return [one for one in found if one[1] != one[2]]
