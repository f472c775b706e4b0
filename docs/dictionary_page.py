"""Writes ``docs/features.md`` from the feature dictionary; run with ``make docs``."""

from __future__ import annotations

from pathlib import Path

from features.dictionary import Entry, dictionary

PAGE = Path(__file__).with_name("features.md")
DIRECTIONS = {1: "higher is riskier", -1: "lower is riskier", 0: "free"}
HEAD = """# Features

Generated from `features/dictionary.yaml` by `make docs`: do not edit. A direction binds the models.

| feature | code | unit | direction | English | French | missing |
|---|---|---|---|---|---|---|
"""


def page() -> str:
    """Return the page as Markdown, one line a feature."""
    return HEAD + "".join(map(_line, dictionary().values()))


def _line(entry: Entry) -> str:
    english, french = entry.words["en"], entry.words["fr"]
    cells = [
        f"`{entry.feature}`",
        entry.code,
        entry.unit,
        DIRECTIONS[entry.direction],
        english.label,
        french.label,
        english.missing,
    ]
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
