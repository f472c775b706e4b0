"""Hours under load: memory, open files and latency stay where they were.

Orders arrive at a steady rate below the peak. Of each worker the resident memory and the open
files are read twice a minute; the slope of memory is that of a line through the second half.

python -m benchmarks.soak --minutes 60
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console

from benchmarks.overload import Load, Round
from benchmarks.page import Row, at_most, publish
from benchmarks.seller import Service, bearer, parser, scratch, today_and_orders, warm_up
from models.workspace import Workspace

TITLE = "Soak"
MOST_MB_AN_HOUR = 10.0
MOST_FILES = 4
MOST_DRIFT = 0.5
LEAST_MINUTES = 30.0  # from which on a slope says anything


class Seen(NamedTuple):
    """The service at a moment: hours since the start, MB of its processes, open files."""

    hours: float
    mb: float
    files: int


def look(service: Service, begun: float) -> Seen:
    """Look at the processes of the service."""
    mb, files = 0.0, 0
    for pid in service.pids():
        status = Path(f"/proc/{pid}/status").read_text()
        kib = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")]
        mb += int(kib[0]) * 1024 / 1e6 if kib else 0.0
        files += sum(_is_file(opened) for opened in Path(f"/proc/{pid}/fd").iterdir())
    return Seen((time.monotonic() - begun) / 3600, mb, files)


def _is_file(opened: Path) -> bool:
    """Tell a file from a connection: of these clients hold more or fewer."""
    with suppress(OSError):
        return not str(opened.readlink()).startswith("socket:")
    return False


async def soak(
    service: Service, load: Load, minutes: float, rate: float
) -> tuple[list[Seen], list[Round]]:
    """Ask at a rate, half a minute at a time, and look after each."""
    begun, seen, rounds = time.monotonic(), list[Seen](), list[Round]()
    while time.monotonic() - begun < minutes * 60:
        rounds.append(await load.open(min(30.0, minutes * 6), rate))
        seen.append(look(service, begun))
    return seen, rounds


def rows(seen: Sequence[Seen], rounds: Sequence[Round], minutes: float, rate: float) -> list[Row]:
    """Compare the end with the beginning; the first half warms up."""
    half = len(seen) // 2
    later, table = seen[half:], []
    slope = float(np.polyfit([one.hours for one in later], [one.mb for one in later], 1)[0])
    files = max(one.files for one in later) - min(one.files for one in later)
    p99 = [float(np.percentile(one.answered, 99)) for one in rounds if one.answered]
    parts = np.median(p99[half // 2 : half]), np.median(p99[half:])
    drift = float(parts[1] / parts[0]) - 1
    answered = sum(len(one.answered) for one in rounds)
    refused = sum(len(one.refused) for one in rounds)
    table = [
        Row("minutes under load", f"{minutes:g}"),
        Row("orders answered, refused", f"{answered:,} at {rate:g} a second, {refused:,}"),
        at_most("failures", sum(len(one.other) for one in rounds), 0, "{}"),
        Row("memory of all processes, first and last", f"{seen[0].mb:.0f}, {seen[-1].mb:.0f} MB"),
        at_most("open files, most less least of the second half", files, MOST_FILES, "{}"),
    ]
    shown = at_most("memory, MB an hour in the second half", slope, MOST_MB_AN_HOUR, "{:.1f}")
    drifted = at_most("p99, second half over second quarter", drift, MOST_DRIFT, "{:+.0%}")
    if minutes < LEAST_MINUTES:  # it still warms up: for information
        shown, drifted = (Row(one.what, one.measured) for one in (shown, drifted))
    return [*table, shown, drifted]


def run(here: Path, minutes: float, rate: float) -> list[Row]:
    """Soak the real service."""
    home = here / "home"
    today, bodies = today_and_orders(home, 1_000)
    shown = bearer(Workspace(home).record_url)
    with Service(home, here / "service.log", {"ENCOURS_TODAY": today}) as service:
        warm_up(service, shown, bodies)
        load = Load(service.port, shown, bodies)
        seen, rounds = asyncio.run(soak(service, load, minutes, rate))
    return rows(seen, rounds, minutes, rate)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; the exit code is 1 when a target was missed."""
    taken = parser(__doc__)
    taken.add_argument("--minutes", type=float, default=60)
    taken.add_argument("--rate", type=float, default=20, help="orders a second")
    asked, console = taken.parse_args(arguments), Console()
    with scratch(asked.home, console) as here:
        made = run(here, asked.minutes, asked.rate)
    notes = (
        f"`python -m benchmarks.soak --minutes {asked.minutes:g} --rate {asked.rate:g}`. Below "
        f"{LEAST_MINUTES:g} minutes memory and latency are for information."
    )
    return 0 if publish(console, asked.page, TITLE, made, notes) else 1


if __name__ == "__main__":
    sys.exit(main())
