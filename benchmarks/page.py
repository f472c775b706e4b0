"""Tables of figures beside their targets: printed, and kept in ``docs/benchmarks.md``."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
HEADINGS = ("what", "target", "measured", "")
PACKAGES = (
    "numpy",
    "pandas",
    "numba",
    "pyarrow",
    "lightgbm",
    "scikit-learn",
    "sqlalchemy",
    "pysqlite3",
)


class Row(NamedTuple):
    """A figure; without a target it is for information."""

    what: str
    measured: str
    target: str = ""
    is_met: bool | None = None

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """What the table shows."""
        verdict = {None: "", True: "PASS", False: "FAIL"}[self.is_met]
        return self.what, self.target, self.measured, verdict


def at_least(what: str, value: float, target: float, shown: str) -> Row:
    """Make a row that is met from `target` up; `shown` formats both."""
    return Row(what, shown.format(value), f">= {shown.format(target)}", value >= target)


def at_most(what: str, value: float, target: float, shown: str) -> Row:
    """Make a row that is met up to `target`; `shown` formats both."""
    return Row(what, shown.format(value), f"<= {shown.format(target)}", value <= target)


def print_table(console: Console, title: str, rows: Sequence[Row]) -> None:
    """Print the figures; what is not met in red."""
    table = Table(title=title, title_justify="left")
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading in ("what", "") else "right")
    for row in rows:
        table.add_row(*row.cells, style="red" if row.is_met is False else None)
    console.print(table)


def publish(console: Console, page: Path, title: str, rows: Sequence[Row], notes: str) -> bool:
    """Print the figures, keep them in the page, and tell whether every target is met."""
    print_table(console, title, rows)
    write_section(page, title, rows, notes)
    return all(row.is_met is not False for row in rows)


def write_section(page: Path, title: str, rows: Sequence[Row], notes: str) -> None:
    """Put a section into the page, in the place of the one with the same title."""
    text = page.read_text("utf-8") if page.exists() else "# Benchmarks\n\nMade by `make bench`.\n"
    head, *sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    section = f"## {title}\n\n{_machine()}\n\n{_markdown(rows)}\n\n{notes.strip()}\n"
    kept = [s.rstrip() + "\n" for s in sections if not s.startswith(f"## {title}\n")]
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join([head.rstrip() + "\n", *kept, section]), encoding="utf-8")


def _markdown(rows: Sequence[Row]) -> str:
    cells = [HEADINGS, *(row.cells for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(HEADINGS))]
    lines = [
        f"| {row[0]:<{widths[0]}} | {row[1]:>{widths[1]}} | {row[2]:>{widths[2]}} "
        f"| {row[3]:<{widths[3]}} |"
        for row in cells
    ]
    rule = (
        f"|{'-' * (widths[0] + 2)}|{'-' * (widths[1] + 1)}:|{'-' * (widths[2] + 1)}:"
        f"|{'-' * (widths[3] + 2)}|"
    )
    return "\n".join([lines[0], rule, *lines[1:]])


def _machine() -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{date.today()}: {os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB, "  # noqa: DTZ011
        f"{platform.system()}, Python {platform.python_version()}, {versions}."
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.+)$", cpuinfo.read_text(), re.MULTILINE)
    return names[0] if names else platform.machine()
