"""``encours audit replay``: make answers of the past again, byte for byte."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from commands.shared import console, ledger_here, say, stop, workspace_here

if TYPE_CHECKING:
    from features.store import Store
    from models.workspace import Workspace
    from serving.audit import Entry
    from serving.replay import Replayed

SHOWN = 20


def replay(
    id: Annotated[str | None, typer.Argument(help="Id of the assessment.")] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Replay so many assessments drawn at random.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
) -> None:
    """Make an assessment again from the facts as known then, and compare byte for byte.

    Features, margins, calibration, options and answer; then the recorded features once more through
    the trees in plain Python, without LightGBM. Exit code 1 when anything differs, with what
    differs first.
    """
    from serving.replay import Replayer, in_order

    if (id is None) == (sample is None):
        stop("give either the id of an assessment or --sample")
    workspace, store = recorded()
    replayer = Replayer(workspace, store)
    entries = _entries(workspace, id, sample, seed)
    _say_all([replayer.replay(entry) for entry in in_order(entries)])


def _entries(workspace: Workspace, id: str | None, sample: int | None, seed: int) -> list[Entry]:
    from serving.replay import Entries

    if id is None:
        found = Entries(workspace.record_url).sample(sample or 0, seed)
        if not found:
            stop("no assessment is recorded here yet")
        return found
    return [an_assessment(workspace, id)]


def an_assessment(workspace: Workspace, id: str) -> Entry:
    """Give an assessment of the record, or stop."""
    from serving.replay import Entries

    entry = Entries(workspace.record_url).find(id)
    if entry is None or entry.kind != "assessment":
        stop("the record has no assessment of that id")
    return entry


def recorded() -> tuple[Workspace, Store]:
    """Open the ledger where something was recorded, or stop."""
    workspace = workspace_here()
    store = ledger_here(workspace)
    if store is None or not workspace.has_record():
        stop("nothing is recorded here yet")
    return workspace, store


def _say_all(replayed: list[Replayed]) -> None:
    wrong = [one for one in replayed if one.differences]
    others = Counter(said for one in replayed for said in one.other_code)
    for said, n in others.items():
        say(f"{n:,} answered by another code: {said}")
    for one in wrong[:SHOWN]:
        entry = one.entry
        for difference in one.differences:
            _say_wrong(f"entry {entry.sequence}, {entry.id}: {difference}")
    if len(wrong) > SHOWN:
        say(f"… and {len(wrong) - SHOWN:,} more")
    if wrong:
        _fail(f"{len(wrong):,} of {len(replayed):,} assessments differ.")
    say(f"{len(replayed):,} assessments made again: the same bytes, and the same margins twice.")


def _say_wrong(message: str) -> None:
    console.print(f"DIFFERS: {message}", style="bold red", soft_wrap=True)


def _fail(message: str) -> NoReturn:
    console.print(message, style="bold red", soft_wrap=True)
    raise SystemExit(1)
