"""``encours audit``: seal the record, verify it, prove an entry, export, change the key."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from commands import counterfactuals, evidence, replay
from commands.shared import console, say, stop, workspace_here

if TYPE_CHECKING:
    from models.workspace import Workspace
    from serving.checkpoint import Verifier
    from serving.seals import Seals
    from serving.verification import Fault, Report

LATE_SECONDS = 60
app = typer.Typer(
    help="Verify that the record is as it was signed, and prove it to others.",
    no_args_is_help=True,
)
for _command in (
    replay.replay,
    replay.bridge,
    counterfactuals.counterfactuals,
    replay.contest,
    evidence.evidence,
):
    app.command()(_command)
Held = Annotated[
    list[Path] | None,
    typer.Option(
        "--checkpoint",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="A checkpoint held elsewhere; may be given again.",
    ),
]
Out = Annotated[
    Path | None, typer.Option(metavar="FILE", help="File to write; by default to the screen.")
]


@app.command()
def seal() -> None:
    """Seal now what is recorded, as the running service does by itself every half second."""
    from serving.sealer import Alarm, Sealer

    workspace = _recorded()
    try:
        sealed = Sealer.of(workspace).seal()
    except Alarm as alarm:
        _wrong(f"nothing is sealed: {alarm}")
    entries = "1 entry" if sealed == 1 else f"{sealed:,} entries"
    say(f"{entries} sealed" if sealed else "nothing to seal, or the service just did")


@app.command()
def verify(
    witness: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Folder with copies of the checkpoints; by default ENCOURS_WITNESS.",
        ),
    ] = None,
    checkpoint: Held = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Public keys that were noted elsewhere; by default the workspace's own.",
        ),
    ] = None,
) -> None:
    """Verify every entry, every seal and every signature; exit code 1 when something is wrong.

    Names the first entry that is not what was sealed. Against whoever can write both the database
    and the keys only a checkpoint helps that is held elsewhere.
    """
    from serving.checkpoint import NoteError
    from serving.seals import Witness
    from serving.verification import verify as verify_all

    workspace = _recorded()
    folder = Witness(witness or workspace.witness)
    try:
        trusted = _keys(workspace, keys)
    except NoteError as error:
        _wrong(f"the keys: {error}")
    were_sealed = bool(folder.sizes() or checkpoint)
    with _seals(workspace, were_sealed=were_sealed) as seals:
        report = verify_all(seals, trusted, folder, checkpoint or [], processes=_processors())
    _say_report(report, workspace.witness if witness is None else witness)


def _say_report(report: Report, witness: Path) -> None:
    if report.fault is not None:
        _wrong(_in_words(report.fault))
    held = f"{report.witnessed:,} checkpoints held in {witness} or given"
    say(
        f"{report.entries:,} entries are as they were sealed and signed: "
        f"{report.checkpoints:,} checkpoints in the database, {held}."
    )
    if report.witnessed == 0:
        say("No checkpoint is held elsewhere: an older copy of the record would look the same.")
    if report.unsealed:
        since = datetime.fromtimestamp((report.unsealed_since or 0) / 1e6, UTC)
        late = (datetime.now(UTC) - since).total_seconds() > LATE_SECONDS
        why = ": is the service running? `encours audit seal` seals them" if late else ""
        say(f"{report.unsealed:,} entries are not sealed yet, since {since:%Y-%m-%d %H:%M:%S}{why}")


def _in_words(fault: Fault) -> str:
    which = f"entry {fault.entry}"
    if fault.last > fault.entry:
        which = f"entries {fault.entry} to {fault.last}, one at least"
    return f"{fault.what}, {which}: {fault.detail}"


@app.command()
def prove(
    id: Annotated[str, typer.Argument(help="Id of the assessment or override.")],
    checkpoint: Held = None,
    out: Out = None,
) -> None:
    """Prove that one entry is on the record as it was signed: a file that docs/verify.py checks."""
    from serving.export import NotExportable
    from serving.export import prove as prove_entry

    workspace = _recorded()
    with _seals(workspace) as seals:
        try:
            proof = prove_entry(seals, _lines(workspace), id, _texts(checkpoint))
        except NotExportable as error:
            stop(str(error))
    _write(out, iter([json.dumps(proof, ensure_ascii=False) + "\n"]))


@app.command()
def export(
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="N|DAY", help="First entry, by number or day (UTC)."),
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="N|DAY", help="Last entry, by number or day.")
    ] = None,
    checkpoint: Held = None,
    out: Out = None,
) -> None:
    """Export sealed entries, byte for byte, with all it takes to check them with docs/verify.py."""
    from serving.export import NotExportable
    from serving.export import export as export_entries

    workspace = _recorded()
    with _seals(workspace) as seals:
        begin, end = seals.between(*_bounds(from_, first=True), *_bounds(to, first=False))
        try:
            lines = export_entries(seals, _lines(workspace), begin, end, _texts(checkpoint))
            _write(out, lines)
        except NotExportable as error:
            stop(str(error))
    if out is not None:
        say(f"{out}: {end - begin:,} entries")


@app.command("rotate-key")
def rotate_key() -> None:
    """Change the key that signs; the old one signs the next checkpoint too, and is destroyed."""
    from models.key_file import KeyFileError
    from serving.checkpoint_keys import Keys

    keys = Keys(_recorded().home / "keys")
    try:
        new = keys.rotate()
    except (KeyFileError, FileNotFoundError) as error:
        stop(str(error))
    say(f"The new key, to be noted where others keep it:\n{new}")
    say(f"{keys.public} names all keys; the next checkpoint is signed by both.")


# What the commands share.


def _recorded() -> Workspace:
    workspace = workspace_here()
    if not workspace.has_record():
        stop("nothing is recorded here yet")
    return workspace


@contextmanager
def _seals(workspace: Workspace, *, were_sealed: bool = False) -> Iterator[Seals]:
    """Read the record in one transaction; what cannot be read is a fault."""
    from sqlalchemy.exc import DBAPIError

    from features.store import connect
    from serving.seals import Seals

    engine = connect(workspace.record_url, only_reads=True)
    try:
        with engine.connect() as connection:
            seals = Seals(connection)
            if not seals.exist() and were_sealed:
                _wrong("unsigned: checkpoints are held elsewhere, and nothing is sealed here")
            if not seals.exist():
                stop(
                    "nothing is sealed here yet: the running service does, or `encours audit seal`"
                )
            yield seals
    except DBAPIError as error:
        _wrong(f"the record cannot be read: {error.orig}")
    finally:
        engine.dispose()


def _processors() -> int:
    """Count those that this process may use; Linux alone can tell."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _keys(workspace: Workspace, noted: Path | None) -> list[Verifier]:
    from serving.checkpoint_keys import vouched

    pinned = [] if noted is None else vouched(noted.read_text("utf-8").splitlines())
    return vouched(_lines(workspace), pinned)


def _lines(workspace: Workspace) -> list[str]:
    from serving.checkpoint_keys import Keys

    public = Keys(workspace.home / "keys").public
    return public.read_text("utf-8").splitlines() if public.exists() else []


def _texts(files: list[Path] | None) -> list[str]:
    return [file.read_text("utf-8") for file in files or []]


def _bounds(asked: str | None, *, first: bool) -> tuple[int | None, int | None]:
    """Read a bound: an entry's number, or the instant at which a day begins or ends."""
    if asked is None:
        return None, None
    if re.fullmatch("[0-9]{1,18}", asked):
        return int(asked), None
    try:
        day = date.fromisoformat(asked) + timedelta(days=0 if first else 1)
    except ValueError:
        stop(f"{asked!r} is neither an entry's number nor a day written YYYY-MM-DD")
    return None, int(datetime.combine(day, time.min, UTC).timestamp()) * 1_000_000


def _write(out: Path | None, lines: Iterator[str]) -> None:
    """Write a file whole or not at all, or to the screen."""
    if out is None:
        for line in lines:
            typer.echo(line, nl=False)
        return
    draft = out.with_name(f".{out.name}.draft")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.writelines(lines)
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)


def _wrong(message: str) -> NoReturn:
    """Say what is wrong with the record, and end with exit code 1."""
    console.print(f"WRONG: {message}", style="bold red", soft_wrap=True)
    raise SystemExit(1)
