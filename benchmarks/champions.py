"""Champions that are damaged or exchanged under the running service.

Damaged: what the pointer file names, or the file itself, is changed at random; the service must
refuse it before it is parsed, say so once, and go on with the last good ones in the same process.

Exchanged: two sets of champions take turns under load. Each answer is reckoned again with the
curves that it names, from the features on the record: an answer that mixes two would differ.

python -m benchmarks.champions --mutations 200 --swaps 200
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from benchmarks.page import Row, at_least, at_most, publish
from benchmarks.seller import Service, bearer, parser, scratch, today_and_orders, warm_up
from models import bundle as bundles
from models.bundle import Champions
from models.policy import Order, load
from models.workspace import Workspace

TITLE = "Champions damaged and exchanged"
CLIENTS = 4
SECONDS_A_SWAP = 0.1


def second_set(workspace: Workspace, first: Champions) -> Champions:
    """Write curves that answer otherwise: the same trees, more sure of themselves."""

    def other(sha256: str | None) -> str | None:
        if sha256 is None:
            return None
        found = bundles.read(workspace.bundles, sha256)
        sure = found.curve.calibration.slope * 1.1
        calibration = replace(found.curve.calibration, slope=sure)
        curve = replace(found.curve, calibration=calibration)
        return bundles.write(workspace.bundles, curve, found.reference, found.card)

    return replace(first, late=other(first.late), default=other(first.default))


# ------------------------------------------------------------------------------------- damaged


def _flipped(data: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(data))
    return data[:place] + bytes((data[place] ^ 1 << rng.randrange(8),)) + data[place + 1 :]


CHANGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _flipped,
    lambda data, rng: data[: rng.randrange(len(data))],
    lambda data, rng: data + rng.randbytes(50),
    lambda data, rng: rng.randbytes(len(data)),
    lambda data, _: b"",
    lambda data, _: data * 3,
    lambda data, _: b"[" * 200_000,
    lambda data, _: b'{"a":' * 50_000,
    lambda data, _: b"\x80\x04N.",
    lambda data, _: b"\xff\xfe" + data,
    lambda data, _: data.replace(b"0", b"9"),
    lambda data, _: data.replace(b"\n", b"\r\n"),
    lambda data, _: b"- &a [*a, *a]\n",
)
POINTERS: tuple[bytes, ...] = (
    b"null",
    b"[]",
    b'"x"',
    b"{}",
    b'{"late": 1, "default": null, "policy": "x", "abstentions": {}}',
    b'{"late": "../../etc/passwd", "default": null, "policy": "0", "abstentions": {}}',
    b"1e999",
    b"9" * 10_000,
)


def spoil(workspace: Workspace, other: Champions, rng: random.Random) -> None:
    """Damage a file of another set and put it in charge, or damage the pointer file itself."""
    which = rng.choice(("pointer", "pointer", "policy", "bundle", "bundle", "bundle"))
    if which == "pointer":
        sound = json.dumps(other.__dict__).encode()
        change = rng.choice((*CHANGES, *(lambda _d, _r, one=one: one for one in POINTERS)))
        workspace.champions.write_bytes(_differing(change, sound, rng))
        return
    if which == "policy":
        named = _sha(rng)
        sound = (workspace.policies / f"{other.policy}.yaml").read_bytes()
        spoilt = _differing(rng.choice(CHANGES), sound, rng)
        (workspace.policies / f"{named}.yaml").write_bytes(spoilt)
        replace(other, policy=named).save(workspace.champions)
        return
    question = rng.choice([q for q in ("late", "default") if getattr(other, q) is not None])
    named = getattr(other, question)
    folder = workspace.bundles / named
    kept = folder.with_name("kept")
    shutil.copytree(folder, kept)
    file = rng.choice(sorted(folder.iterdir()))
    if rng.random() < 0.1:
        file.unlink()
    else:
        file.write_bytes(_differing(rng.choice(CHANGES), file.read_bytes(), rng))
    other.save(workspace.champions)


def mend(workspace: Workspace, other: Champions) -> None:
    """Put the damaged bundle right again."""
    kept = workspace.bundles / "kept"
    for named in (other.late, other.default):
        folder = workspace.bundles / str(named)
        if kept.exists() and (kept / "manifest.json").exists() and _is(kept, str(named)):
            shutil.rmtree(folder)
            kept.rename(folder)


def _is(folder: Path, sha256: str) -> bool:
    import hashlib

    return hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest() == sha256


def _differing(
    change: Callable[[bytes, random.Random], bytes], sound: bytes, rng: random.Random
) -> bytes:
    """Change until it differs: the curve of a JSON file does not see its white space."""
    while (spoilt := change(sound, rng)) == sound or _same_json(spoilt, sound):
        change = _flipped
    return spoilt


def _same_json(spoilt: bytes, sound: bytes) -> bool:
    try:
        return bool(json.loads(spoilt) == json.loads(sound))
    except (ValueError, RecursionError):
        return False


def _sha(rng: random.Random) -> str:
    return rng.randbytes(32).hex()


def damaged(
    service: Service,
    workspace: Workspace,
    sets: tuple[Champions, Champions],
    ask: Callable[[], dict[str, Any]],
    mutations: int,
    rng: random.Random,
    console: Console,
) -> list[Row]:
    """Damage again and again; the last good ones go on."""
    good, other = sets
    named = {question: _versions(good)[question] for question in ("late", "default")}
    pids, begun = set(service.pids()), time.monotonic()
    wrong, refused_before = 0, _refusals(service.log)
    with Progress(console=console, transient=True) as progress:
        for _ in progress.track(range(mutations), description="damaging"):
            spoil(workspace, other, rng)
            answer = ask()
            spoken = {question: answer.get("versions", {}).get(question) for question in named}
            if spoken != named:
                wrong += 1
                console.print(f"{answer}"[:300], markup=False)
            mend(workspace, other)
    took = time.monotonic() - begun
    crashed = len(pids - set(service.pids()))
    good.save(workspace.champions)
    lines = _refusals(service.log) - refused_before
    return [
        Row("files damaged", f"{mutations:,} in {took:.0f} s"),
        at_most("answers by another than the last good champions", wrong, 0, "{}"),
        at_most("processes that ended", crashed, 0, "{}"),
        at_most("log lines beyond one a refusal", max(0, lines - mutations), 0, "{}"),
        at_least("refusals in the log", lines, mutations * 9 // 10, "{:,}"),
    ]


def _refusals(log: Path) -> int:
    return log.read_text("utf-8", "replace").count('"champions_refused"')


def _versions(champions: Champions) -> dict[str, str | None]:
    named = {"late": champions.late, "default": champions.default}
    return {name: None if sha is None else f"sha256:{sha}" for name, sha in named.items()}


# ----------------------------------------------------------------------------------- exchanged


@contextmanager
def asking(ask: Callable[[], dict[str, Any]], answers: list[dict[str, Any]]) -> Iterator[None]:
    """Ask on all connections until the end."""
    stop = threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            answers.append(ask())

    threads = [threading.Thread(target=go_on) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)


def exchanged(
    workspace: Workspace,
    sets: tuple[Champions, Champions],
    ask: Callable[[], dict[str, Any]],
    swaps: int,
    console: Console,
) -> list[Row]:
    """Exchange champions under load, then reckon each answer again."""
    answers: list[dict[str, Any]] = []
    with asking(ask, answers), Progress(console=console, transient=True) as progress:
        for number in progress.track(range(swaps), description="exchanging"):
            sets[number % 2].save(workspace.champions)
            time.sleep(SECONDS_A_SWAP)
    given = [answer for answer in answers if "versions" in answer]
    by_set = [sum(_named(answer) == _versions(champions) for answer in given) for champions in sets]
    features = _features(workspace, [answer["id"] for answer in given])
    speaking = {json.dumps(_versions(one)): _speaking(workspace, one) for one in sets}
    differing = sum(
        not _same(answer, features[answer["id"]], speaking.get(json.dumps(_named(answer))))
        for answer in given
    )
    return [
        Row("exchanges of both curves under load", f"{swaps:,}"),
        at_least("answers of the first and of the second set", min(by_set), 1, "{:,}"),
        Row("answers", f"{len(given):,}: {by_set[0]:,} and {by_set[1]:,}"),
        at_most("refusals meanwhile", len(answers) - len(given), 0, "{}"),
        at_most("answers that differ from what they name, or mix two", differing, 0, "{}"),
    ]


def _named(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: answer["versions"][name] for name in ("late", "default")}


def _features(workspace: Workspace, ids: list[str]) -> dict[str, list[str]]:
    """Read the features of assessments as an auditor does: some are encrypted on the record."""
    from serving.audit import Entry, Record

    found = [one for one in Record.of(workspace).find_many(ids) if isinstance(one, Entry)]
    return {one.id: json.loads(one.body)["evidence"]["features"] for one in found}


def _speaking(workspace: Workspace, champions: Champions) -> Any:
    from serving.speaking import Speaking

    policy = load(workspace.policies / f"{champions.policy}.yaml")
    late, default = (
        None if sha256 is None else bundles.read(workspace.bundles, sha256)
        for sha256 in (champions.late, champions.default)
    )
    return Speaking(champions, late, default, policy, {}, {})


def _same(answer: dict[str, Any], features: list[str], speaking: Any) -> bool:
    """Tell whether the named curves say the same, to the last bit."""
    from serving.speaking import consult

    if speaking is None:
        return False
    row = np.array([float.fromhex(value) for value in features])
    order = answer["order"]
    asked = Order(_cents(order["amount"]), _cents(order["margin"]), order["terms_days"])
    told = answer["abstentions"].get("default", {}).get("reason", "")
    views = consult(speaking, row, asked, answer["currency"], in_default="in default" in told)
    explained = views.explanation
    shown = answer["explanation"]
    return (
        _by_text(views.late) == answer["late"]
        and _by_text(views.default) == answer["default"]
        and (None if explained is None else (explained.base, explained.probability))
        == (None if shown is None else (shown["base"], shown["probability"]))
    )


def _cents(money: str) -> int:
    return round(float(money) * 100)


def _by_text(curve: dict[int, float] | None) -> dict[str, float] | None:
    return None if curve is None else {str(term): p for term, p in curve.items()}


def run(here: Path, asked: Any, console: Console) -> list[Row]:
    """Do both on one running service."""
    home = here / "home"
    workspace = Workspace(home)
    today, bodies = today_and_orders(home)
    shown = bearer(workspace.record_url)
    first = Champions.load(workspace.champions)
    sets = first, second_set(workspace, first)
    rng = random.Random(asked.seed)  # noqa: S311 (no secret)
    with Service(home, here / "service.log", {"ENCOURS_TODAY": today}) as service:
        warm_up(service, shown, bodies)

        def ask() -> dict[str, Any]:
            heard = service.assess(shown, rng.choice(bodies))
            return dict(json.loads(heard.body or b"{}"))

        rows = damaged(service, workspace, sets, ask, asked.mutations, rng, console)
        return rows + exchanged(workspace, sets, ask, asked.swaps, console)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; the exit code is 1 when a rule was broken."""
    taken = parser(__doc__)
    taken.add_argument("--mutations", type=int, default=200)
    taken.add_argument("--swaps", type=int, default=200)
    asked, console = taken.parse_args(arguments), Console()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    with scratch(asked.home, console) as here:
        rows = run(here, asked, console)
    notes = (
        f"`python -m benchmarks.champions --mutations {asked.mutations} --swaps {asked.swaps} "
        f"--seed {asked.seed}`: an exchange each {SECONDS_A_SWAP:g} s, {CLIENTS} clients. The "
        "second set has the same trees and another calibration."
    )
    return 0 if publish(console, asked.page, TITLE, rows, notes) else 1


if __name__ == "__main__":
    sys.exit(main())
