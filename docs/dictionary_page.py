"""Writes ``docs/features.md`` from the feature dictionary; run with ``make docs``."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from features.accounts import Accounts
from features.alike import Alike
from features.cover import Cover
from features.dictionary import Entry, dictionary
from features.disputes import Disputes
from features.fallen_due import FallenDue
from features.legal import Legal
from features.open_items import OpenItems
from features.order import Order
from features.payments import Payments
from features.peers import Peers
from features.purchases import Purchases
from features.relation import Relation
from features.settled import Latest, Recent, Settled, Year

PAGE = Path(__file__).with_name("features.md")
DIRECTIONS = {1: "higher is riskier", -1: "lower is riskier", 0: "free"}
FAMILIES: dict[str, type] = {
    "settled": Settled,
    "year": Year,
    "latest": Latest,
    "recent": Recent,
    "open": OpenItems,
    "due": FallenDue,
    "purchases": Purchases,
    "payments": Payments,
    "disputes": Disputes,
    "relation": Relation,
    "accounts": Accounts,
    "cover": Cover,
    "legal": Legal,
    "peers": Peers,
    "order": Order,
    "alike": Alike,
}
HEAD = """# Features

Generated from `features/dictionary.yaml` by `make docs`: do not edit. A direction binds the models.
A feature with a window, in days, is missing as long as the ledger has been observed for less. Each
family has its manual, worked examples included, in `tests/features/`.
"""
TABLE = """
| feature | code | window | unit | direction | English | French | missing |
|---|---|---|---|---|---|---|---|
"""


def page() -> str:
    """Return the page as Markdown: a section a family, a line a feature."""
    families = groupby(dictionary().values(), key=lambda entry: entry.field.split(".")[0])
    return HEAD + "".join(_section(family, list(entries)) for family, entries in families)


def _section(family: str, entries: list[Entry]) -> str:
    described = FAMILIES[family]
    sentence = (described.__doc__ or "").partition("\n")[0]
    title = f"\n## {family}\n\n{sentence} (`{described.__module__}`)\n"
    return title + TABLE + "".join(map(_line, entries))


def _line(entry: Entry) -> str:
    english, french = entry.words["en"], entry.words["fr"]
    cells = [
        f"`{entry.feature}`",
        entry.code,
        "" if entry.window_days is None else str(entry.window_days),
        entry.unit,
        DIRECTIONS[entry.direction],
        english.label,
        french.label,
        english.missing,
    ]
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
