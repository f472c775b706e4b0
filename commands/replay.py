"""``encours audit replay · bridge · contest``: answers of the past, again and compared."""

from __future__ import annotations

import json
import os
from collections import Counter
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer
from rich.table import Table

from commands.shared import Today, console, ledger_here, past_today, say, stop, workspace_here

if TYPE_CHECKING:
    from features.store import Store
    from models.workspace import Workspace
    from serving.audit import Entry
    from serving.replay import Replayed

SHOWN = 20
MOST_MOVED = 5  # measures told of a part; the JSON has all
Words = Literal["en", "fr"]
Language = Annotated[Words, typer.Option("--language", help="In which language to tell.")]
CURVES = {
    "default": {
        "en": "P(default within {days} days)",
        "fr": "P(défaut dans les {days} jours)",
    },
    "late": {
        "en": "P(paid more than {days} days late)",
        "fr": "P(payée plus de {days} jours en retard)",
    },
}
OTHERS = {"en": "{n} other measures", "fr": "{n} autres mesures"}
TOTAL = {"en": "in all", "fr": "en tout"}
AsJson = Annotated[bool, typer.Option("--json", help="All of it, as JSON.")]


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
    if not entries:
        return
    _say_all([replayer.replay(entry) for entry in in_order(entries)])


def bridge(
    id1: Annotated[str, typer.Argument(metavar="ID1", help="Id of the earlier assessment.")],
    id2: Annotated[str, typer.Argument(metavar="ID2", help="Id of the later one.")],
    curve: Annotated[
        Literal["default", "late"] | None,
        typer.Option(help="By default `default` where both assessments have it, else `late`."),
    ] = None,
    term: Annotated[
        int | None, typer.Option(help="Days: by default 365 of `default`, 30 of `late`.")
    ] = None,
    language: Language = "en",
    as_json: AsJson = False,
) -> None:
    """Tell why a customer's probability moved between two assessments.

    In log-odds and in points of probability: the days that passed, the facts that became known, the
    order, the model; by feature, adding up exactly.
    """
    from serving.bridging import NoBridge, bridge_between
    from serving.replay import Replayer

    workspace, store = recorded()
    old, new = (an_assessment(workspace, id) for id in (id1, id2))
    try:
        found = bridge_between(Replayer(workspace, store), old, new, curve, term)
    except NoBridge as error:
        stop(str(error))
    if as_json:
        _say_json(found)
    else:
        _say_bridge(found, language)


def contest(
    assessment: Annotated[str, typer.Argument(help="Id of the assessment that is contested.")],
    correct: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="The customer's facts as they should be: JSON as POST /v1/facts takes it.",
        ),
    ],
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who contests it.")],
    why: Annotated[str, typer.Option(metavar="TEXT", help="Why, in 10 to 500 characters.")],
    language: Language = "en",
    as_json: AsJson = False,
    today: Today = None,
) -> None:
    """Correct facts that an assessment came from, assess again, and tell what moved.

    The facts of before stay readable. Both answers, who, why and what moved go on the record.
    """
    from serving.contest import Contested, ContestRefused

    wanted = Contested(assessment, by, why, correct.name, correct.read_bytes())
    try:
        told = _contest(wanted, today)
    except ContestRefused as error:
        stop(str(error))
    if as_json:
        _say_json(told)
        return
    said = told["contest"]
    if said["bridge"] is None:
        say(f"The two answers cannot be compared: {said['no_bridge']}")
    else:
        _say_bridge(said["bridge"], language)
    place, again = told["record"], said["answered_again"]
    say(f"answered again: entry {again['entry']}, id {again['id']}")
    say(f"recorded: entry {place['entry']}, leaf {place['leaf_hash'][:16]}, id {said['id']}")
    say("The name is not authenticated.")


def _contest(wanted: Any, today: date | None) -> dict[str, Any]:
    import structlog

    from serving.contest import Contester
    from serving.opened import desk_from_environment
    from serving.replay import Replayer

    silent = structlog.make_filtering_bound_logger("critical")  # errors are said once
    structlog.configure(wrapper_class=silent)
    workspace, store = recorded()
    day = today or past_today(workspace)
    if day is not None:
        os.environ["ENCOURS_TODAY"] = day.isoformat()
    opened = desk_from_environment().get()
    replayer = Replayer(workspace, store)
    contester = Contester(opened.store, opened.record, opened.assessor, opened.clock, replayer)
    return contester.contest(wanted)


def _say_bridge(found: dict[str, Any], language: Words) -> None:
    first, last = found["from"]["known_at"][:10], found["to"]["known_at"][:10]
    curve = CURVES[found["curve"]][language].format(days=found["term_days"])
    say(
        f"{found['customer_id']}, {curve}: {_percent(found['before'], language)} "
        f"({first}) → {_percent(found['after'], language)} ({last})"
    )
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right")
    table.add_column(justify="right")
    total = found["log_odds_after"] - found["log_odds_before"]
    for part in found["parts"]:
        table.add_row(part[language], *_amounts(part["log_odds"], part["points"], language))
        for moved in part["moved"][:MOST_MOVED]:
            amounts = _amounts(moved["log_odds"], moved["points"], language)
            table.add_row(f"  {moved[language]}{_values(moved, language)}", *amounts)
        if rest := part["moved"][MOST_MOVED:]:
            log_odds, points = (sum(one[unit] for one in rest) for unit in ("log_odds", "points"))
            said = OTHERS[language].format(n=len(rest))
            table.add_row(f"  {said}", *_amounts(log_odds, points, language))
    table.add_row(
        TOTAL[language], *_amounts(total, found["after"] - found["before"], language), style="bold"
    )
    console.print(table)
    say(found[f"convention_{language}"])


def _amounts(log_odds: float, points: float, language: Words) -> tuple[str, str]:
    units = ("log-odds", "points") if language == "en" else ("log-cotes", "points")
    first, second = (_point(one, language) for one in (f"{log_odds:+.4f}", f"{100 * points:+.3f}"))
    return f"{first} {units[0]}", f"{second} {units[1]}"


def _percent(probability: float, language: Words) -> str:
    return f"{_point(f'{100 * probability:.3f}', language)} %"


def _values(moved: dict[str, Any], language: Words) -> str:
    if moved["before"] is None and moved["after"] is None:
        return ""
    return f": {_value(moved['before'], language)} → {_value(moved['after'], language)}"


def _value(value: float | None, language: Words) -> str:
    if value is None:
        return "–"
    return _point(f"{value:.10g}" if value == int(value) else f"{value:.4g}", language)


def _point(number: str, language: Words) -> str:
    return number if language == "en" else number.replace(".", ",")


def _say_json(content: dict[str, Any]) -> None:
    typer.echo(json.dumps(content, ensure_ascii=False, indent=1))


def _entries(workspace: Workspace, id: str | None, sample: int | None, seed: int) -> list[Entry]:
    from serving.person_key import Erased
    from serving.replay import Entries

    if id is None:
        found, erased = Entries.of(workspace).draw(sample or 0, seed)
        if erased:
            say(f"{erased:,} assessments passed over: erased, they can no longer be replayed.")
        if not found and not erased:
            stop("no assessment is recorded here yet")
        return found
    try:
        return [_found(workspace, id)]
    except Erased as erased:
        say(f"The assessment was {erased}: it can no longer be replayed.")
        return []


def an_assessment(workspace: Workspace, id: str) -> Entry:
    """Give an assessment of the record, or stop."""
    from serving.person_key import Erased

    try:
        return _found(workspace, id)
    except Erased as erased:
        stop(f"the assessment was {erased}: it can no longer be read")


def _found(workspace: Workspace, id: str) -> Entry:
    from serving.person_key import Undecipherable
    from serving.replay import Entries

    try:
        entry = Entries.of(workspace).find(id)
    except Undecipherable as error:
        _fail(f"WRONG: the assessment cannot be read: {error}")
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
    gone = [one for one in replayed if one.erased is not None]
    for one in gone[:SHOWN]:
        say(f"entry {one.entry.sequence}, {one.entry.id}: cannot be replayed: {one.erased}.")
    if wrong:
        _fail(f"{len(wrong):,} of {len(replayed):,} assessments differ.")
    again = len(replayed) - len(gone)
    counted = "1 assessment" if again == 1 else f"{again:,} assessments"
    say(f"{counted} made again: the same bytes, and the same margins twice.")


def _say_wrong(message: str) -> None:
    console.print(f"DIFFERS: {message}", style="bold red", soft_wrap=True)


def _fail(message: str) -> NoReturn:
    console.print(message, style="bold red", soft_wrap=True)
    raise SystemExit(1)
