"""A bento that serves where there is no source tree.

It is built from ``bentofile.yaml`` into a store of its own, and served from an empty folder without
PYTHONPATH. A word is changed in the packed description, so that an answer shows that the packed
files serve, and not the ones of the repository.

python -m benchmarks.bento
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.page import Row, at_least, at_most, publish
from benchmarks.seller import ROOT, Service, bearer, parser, scratch, today_and_orders, warm_up
from models.workspace import Workspace

TITLE = "The bento"
WORD, PACKED = "Assesses orders on trade credit", "Assesses orders, packed, on trade credit"
MOST_MB = 20.0


def build(store: Path) -> Path:
    """Build the bento into a store; give its folder."""
    environment = {**os.environ, "BENTOML_HOME": str(store), "BENTOML_DO_NOT_TRACK": "true"}
    command = [sys.executable, "-m", "bentoml", "build", ".", "--version", "chaos"]
    subprocess.run(  # noqa: S603 (our own command)
        command, cwd=ROOT, env=environment, check=True, capture_output=True
    )
    return store / "bentos" / "encours" / "chaos"


def run(here: Path) -> list[Row]:
    """Build, serve, ask."""
    home, empty, store = here / "home", here / "empty", here / "store"
    empty.mkdir()
    begun = time.monotonic()
    packed = build(store)
    took = time.monotonic() - begun
    files = [file for file in packed.rglob("*") if file.is_file()]
    strangers = {
        str(file.relative_to(packed / "src"))
        for file in files
        if file.is_relative_to(packed / "src")
        and file.relative_to(packed / "src").parts[0] not in {"features", "models", "serving"}
    } - {"pyproject.toml", "bentofile.yaml"}
    described = packed / "src" / "serving" / "api.py"
    described.write_text(described.read_text("utf-8").replace(WORD, PACKED), "utf-8")
    today, bodies = today_and_orders(home)
    shown = bearer(Workspace(home).record_url)
    environment = {"ENCOURS_TODAY": today, "BENTOML_HOME": str(store), "PYTHONPATH": ""}
    where = {"what": "encours:chaos", "folder": empty}
    with Service(home, here / "service.log", environment, **where) as service:  # type: ignore[arg-type]
        warm_up(service, shown, bodies)
        answer = json.loads(service.assess(shown, bodies[0]).body)
        description = service.ask("GET", "/openapi.json").body.decode()
    size = sum(file.stat().st_size for file in files) / 1e6
    return [
        Row("seconds to build", f"{took:.0f}"),
        at_most("size, MB", size, MOST_MB, "{:.1f}"),
        at_most("files that do not belong in it", len(strangers), 0, "{}"),
        at_least("the packed files serve", int(PACKED in description), 1, "{}"),
        at_least("an order is answered from an empty folder", int("versions" in answer), 1, "{}"),
        Row("as version", answer["versions"]["code"]),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; the exit code is 1 when it does not serve."""
    asked, console = parser(__doc__).parse_args(arguments), Console()
    with scratch(asked.home, console) as here:
        rows = run(here)
    notes = "`python -m benchmarks.bento`: `make bento` builds the same one into your own store."
    return 0 if publish(console, asked.page, TITLE, rows, notes) else 1


if __name__ == "__main__":
    sys.exit(main())
