"""``encours audit evidence``: everything about one assessment, in one file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from commands.replay import an_assessment, recorded
from commands.shared import console, say, stop

if TYPE_CHECKING:
    from serving.evidence import Evidence

KINDS = (".html", ".pdf")


def evidence(
    id: Annotated[str, typer.Argument(help="Id of the assessment.")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html|FILE.pdf",
            help="File to write, of the kind that its name says; by default HTML to the screen.",
        ),
    ] = None,
    lang: Annotated[
        Literal["fr", "en"], typer.Option("--lang", "--language", help="In which language.")
    ] = "fr",
) -> None:
    """Put all about one assessment into one file: answer, reasons, data, models, policy, proof.

    Stands alone: no script, nothing from elsewhere; the proof is in it, for docs/verify.py. The
    answer is made again first. Exit code 1, with the file written, when it differs or the proof
    does not hold.
    """
    from serving.evidence import NotEvident, gather
    from serving.evidence_page import render

    if out is not None and out.suffix not in KINDS:
        stop(f"{out.name} is to end with {' or '.join(KINDS)}")
    workspace, store = recorded()
    try:
        found = gather(workspace, store, an_assessment(workspace, id))
    except NotEvident as error:
        stop(str(error))
    page = render(found, lang, time.time_ns() // 1000)
    if out is None:
        typer.echo(page, nl=False)
    else:
        _write(out, _pdf(page, found) if out.suffix == ".pdf" else page.encode())
        say(f"{out}: {out.stat().st_size / 1024:,.0f} KiB")
    _say_faults(found)


def _pdf(page: str, found: Evidence) -> bytes:
    from serving.evidence_page import proof_json
    from serving.evidence_pdf import PdfUnavailable, pdf

    content = found.proof.content
    try:
        return pdf(page, None if content is None else proof_json(content))
    except PdfUnavailable as error:
        stop(str(error))


def _write(out: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    draft = out.with_name(f".{out.name}.draft")
    try:
        draft.write_bytes(content)
        draft.replace(out)
    except OSError as error:
        stop(f"{out} cannot be written: {error.strerror}")
    finally:
        draft.unlink(missing_ok=True)


def _say_faults(found: Evidence) -> None:
    replayed = found.replayed
    faults = [f"DIFFERS: {one}" for one in (replayed.differences if replayed else ())]
    if found.proof.content is not None and not found.proof.holds:
        faults.append("WRONG: the proof does not hold: see `encours audit verify`")
    for fault in faults:
        console.print(fault, style="bold red", soft_wrap=True)
    if faults:
        raise SystemExit(1)
