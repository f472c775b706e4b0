"""``encours policy``: check, show, compare and try out a decision policy."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from commands.shared import (
    POLICY,
    LedgerDb,
    a_date,
    as_date,
    console,
    day_number,
    ledger_here,
    say,
    stages,
    stop,
    this_day,
    workspace_here,
)

if TYPE_CHECKING:
    from models.matrix import Cell
    from models.policy import Policy
    from models.workspace import Workspace

QUICK_PAIRS = 200_000  # to learn from, as on first use
RESAMPLES = 1_000
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


@app.command()
def simulate(
    file: File = POLICY,
    against: Annotated[
        Path | None,
        typer.Option(help="The policy to compare it with; by default the one in charge."),
    ] = None,
    ledger: LedgerDb = None,
    cutoff: Annotated[
        date | None,
        typer.Option(
            parser=a_date,
            metavar="YYYY-MM-DD",
            help="Fit on what was known before this day, replay the orders since; by default "
            "530 days before the end.",
        ),
    ] = None,
    orders: Annotated[
        int,
        typer.Option(min=1, help="Of more, all orders of customers drawn at random."),
    ] = 5_000,
    margin_rate: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Margin, as a share of each order; by default what is assumed."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="CSV file for the decisions, one line an order.")
    ] = None,
) -> None:
    """Replay past orders under a policy, in euros, beside what happened and the ageing rule.

    Both curves are fitted anew, and quickly, at the cut-off: nothing has seen what it is judged on.
    """
    from models import insurance
    from models.policy import load
    from training.backtest_report import tables, write_decisions
    from training.backtest_run import WINDOW_DAYS, Plan, run
    from training.fit import Settings

    workspace = workspace_here(ledger)
    policy, (name, other) = load(file), _compared(workspace, against)
    policies = {file.name: policy}
    if other.sha256 != policy.sha256:
        policies = {f"{file.name} (new)": policy, name: other}
    store = ledger_here(workspace)
    if store is None:
        stop("there is no ledger here yet: run `encours import` first")
    with stages() as progress:
        from features.history import build

        progress("reading facts")
        described = store.ledger
        history = build(store.read(versions=True), described.observed_from)
        end = min(store.last_day(), day_number(this_day())) + 1
        first = end - WINDOW_DAYS if cutoff is None else day_number(cutoff)
        if first >= end:
            stop(f"the ledger ends on {as_date(end - 1)}, nothing comes after that cut-off")
        rate = float(other.assumed_margin_rate) if margin_rate is None else margin_rate
        plan = Plan(first, end, rate, orders, settings=Settings(most_pairs=QUICK_PAIRS))
        tested = run(history, policies, other, insurance.load(), plan, progress)
    say(
        f"Orders issued from {as_date(first)} on, as known on their day; curves fitted, quickly, "
        f"on what was known before. Margin {rate:.1%}; acceptance, funding, costs and securities "
        f"are those of {name}, for every policy."
    )
    say(
        f"{tested.issued:,} invoices; {tested.not_matured:,} of them have not been due for 90 days "
        f"and are left out. {len(tested.past.orders):,} of the others replayed, seed {plan.seed}."
    )
    for one, risks in tested.said.items():
        if all(risk is None for risk in risks):
            say(f"{one}: the default curve abstains, too few defaults are known: all are held.")
    for table in tables(tested, described.currency, RESAMPLES):
        console.print(table)
    if out is not None:
        write_decisions(tested, history, out)
        say(f"decisions: {out}")


def _compared(workspace: Workspace, against: Path | None) -> tuple[str, Policy]:
    """Give the policy to compare with: the one named, else the one in charge, else the shipped."""
    from models.bundle import Champions
    from models.policy import load

    if against is not None:
        return against.name, load(against)
    if not workspace.champions.exists():
        return f"shipped {POLICY.name}", load(POLICY)
    sha256 = Champions.load(workspace.champions).policy
    return "in charge", load(workspace.policies / f"{sha256}.yaml")


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
