"""Writes ``docs/ledger.md`` from the ledger contract; run with ``make docs``."""

from __future__ import annotations

from pathlib import Path

import pandera.pandas as pa

from features.ledger import TABLES, Table

PAGE = Path(__file__).with_name("ledger.md")
HEAD = """# The ledger

Generated from `features/ledger.py` by `make docs`: do not edit. A mapping file (`mappings/`) fills
these tables; `customers` and `invoices` are enough to begin. `_on` is a date, `_at` an instant in
UTC, `_cents` money in the base currency, `_rate` a share in 0–1. A row that breaks a rule is put
aside under the rule's name. A key that comes again with other content supersedes the row from
`recorded_at` on; what was known before stays readable.

`orders` are what was accepted and is not invoiced yet: they count in the exposure until they are
closed. Correct the amount when a part is invoiced, else it counts twice. A deposit stands on its
order, on account 419, until the invoice; then it is a settlement of the invoice, on account 411.

`customer_changes` say what becomes of a customer; of each kind the last one known holds. Never
give bank details themselves: only whether the latest ones are `verified` or `unverified`.
"""
TABLE = """
| column | meaning | may be empty | rules |
|---|---|---|---|
"""


def page() -> str:
    """Return the page as Markdown: a section a table, a line a column."""
    return HEAD + "".join(_section(name, table) for name, table in TABLES.items())


def _section(name: str, table: Table) -> str:
    dated = f", dated by `{table.happened_on}`" if table.happened_on else ""
    rules = [f"`{check.error}`" for check in table.schema.checks]
    between = f" Rules between columns: {', '.join(rules)}." if rules else ""
    title = f"\n## {name}\n\nOne row a `{table.key}`{dated}.{between}\n"
    return title + TABLE + "".join(_line(*column) for column in table.schema.columns.items())


def _line(name: str, column: pa.Column) -> str:
    rules = ", ".join(f"`{check.error}`" for check in column.checks)
    return f"| `{name}` | {column.description} | {'yes' if column.nullable else ''} | {rules} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
