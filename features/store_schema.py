"""The SQL tables of the facts, made from the ledger contract, and how arrays lie in them.

Dates are days since 1970-01-01, instants microseconds since then (UTC), money cents. A row is one
*version* of a fact: it counts from ``since_at`` until ``until_at``. Rows lie by customer, key and
``since_at``, compared byte by byte, so that SQLite and PostgreSQL give them in one order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import sqlalchemy as sa
from numpy.typing import NDArray

from features.history import FOREVER, NEVER
from features.ledger import TABLES

SCHEMA_VERSION = 3
_NOT_READ = ("original_amount", "original_currency", "recorded_assumed")
ALL_COLUMNS = {name: tuple(table.columns) for name, table in TABLES.items()}
READ_COLUMNS = {
    name: tuple(column for column in columns if column not in _NOT_READ)
    for name, columns in ALL_COLUMNS.items()
}
"""What the features, the policy and the answers read of each table."""

Arrays = dict[str, NDArray[Any]]
_ODD, _HALF = np.uint64(0x9E3779B97F4A7C15), np.uint64(32)
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # compared as bytes


class Schema(NamedTuple):
    """The tables: one per table of the contract, the appends, the ledger's one row, and peers."""

    metadata: sa.MetaData
    facts: dict[str, sa.Table]
    sources: sa.Table
    ledger: sa.Table
    peer_days: sa.Table

    def current(self, name: str) -> sa.Index:
        """Index of the current versions by key, unique: one ledger gives a number once."""
        return next(i for i in self.facts[name].indexes if i.name == f"{name}_current")


def make_schema() -> Schema:
    """Derive the SQL tables from the ledger contract."""
    metadata = sa.MetaData()
    sources = sa.Table(
        "sources",
        metadata,
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("files", sa.Text, nullable=False),
        sa.Column("mapping_sha256", sa.Text, nullable=False),
        sa.Column("appended_at", sa.BigInteger, nullable=False),
        sa.Column("added", sa.Text, nullable=False),
        sa.Column("superseded", sa.Text, nullable=False),
    )
    ledger = sa.Table(
        "ledger",
        metadata,
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("observed_from", sa.BigInteger, nullable=False),
        sa.Column("last_day", sa.BigInteger, nullable=False),
        sa.Column("schema_version", sa.BigInteger, nullable=False),
    )
    facts = {name: _table(name, metadata) for name in TABLES}
    changes = facts["customer_changes"].c
    sa.Index("customer_changes_value", changes.kind, changes.value, changes.customer_id)
    return Schema(metadata, facts, sources, ledger, _peer_days(metadata))


def _peer_days(metadata: sa.MetaData) -> sa.Table:
    """Make the table of what each append changed of the peers' table."""
    in_key: dict[str, sa.types.TypeEngine[Any]] = {
        "sequence": sa.BigInteger(),
        "sector": TEXT,
        "country": TEXT,
        "day": sa.Integer(),
    }
    return sa.Table(
        "peer_days",
        metadata,
        *(sa.Column(name, kind, primary_key=True) for name, kind in in_key.items()),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("events", "late", "late_30")),
        sqlite_with_rowid=False,
    )


def _table(name: str, metadata: sa.MetaData) -> sa.Table:
    key = TABLES[name].key
    in_key = dict.fromkeys(["customer_id", key, "since_at"])
    others = [column for column in TABLES[name].columns if column not in in_key]
    table = sa.Table(
        name,
        metadata,
        *(sa.Column(column, sql_type(column), primary_key=True) for column in in_key),
        *(sa.Column(column, sql_type(column)) for column in others),
        sa.Column("until_at", sa.BigInteger, nullable=False),
        sa.Column("sequence", sa.BigInteger, sa.ForeignKey("sources.sequence"), nullable=False),
        sa.Column("superseded_sequence", sa.BigInteger, nullable=False),
        sa.Column("content_hash", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    is_current = table.c.until_at == sa.literal_column(str(FOREVER))
    sa.Index(
        f"{name}_current",
        table.c[key],
        unique=True,
        sqlite_where=is_current,
        postgresql_where=is_current,
    )
    return table


def sql_type(column: str) -> sa.types.TypeEngine[Any]:
    """Tell the SQL type of a column by the contract's conventions for names."""
    if column.endswith("_on"):
        return sa.Integer()
    if column.endswith(("_at", "_cents")):
        return sa.BigInteger()
    if column.endswith("_rate"):
        return sa.Float()
    if column.startswith("is_") or column == "recorded_assumed":
        return sa.Boolean()
    return TEXT


def content_hash(name: str, columns: Arrays) -> NDArray[np.int64]:
    """64-bit hash of each row without the time of its recording.

    SipHash of each text and a mix of the bits of each number, by pandas with its fixed key, folded
    column by column: the same in every process and on every (little-endian) platform.
    """
    folded = np.zeros(columns["customer_id"].size, np.uint64)
    for column in TABLES[name].columns:
        if not column.startswith("recorded"):
            is_distinct = column == TABLES[name].key  # else texts repeat: hash each once
            values = pd.util.hash_array(columns[column], categorize=not is_distinct)
            folded = (folded ^ values) * _ODD
            folded ^= folded >> _HALF
    return folded.view(np.int64)


def sql_values(column: str, values: NDArray[Any]) -> list[Any]:
    """Write an array as the driver takes it; what is not there is null."""
    if column.endswith("_on"):
        return [None if day == NEVER else day for day in values.tolist()]
    if values.dtype == bool:
        values = values.astype(np.int8)  # plain numbers are faster for the driver
    if values.dtype != np.float64:
        return list(values.tolist())
    number: type = int if column.endswith("_cents") else float
    return [None if value != value else number(value) for value in values.tolist()]


class Field(NamedTuple):
    """A column as it is selected and as it becomes an array."""

    name: str
    dtype: Any
    expression: sa.ColumnElement[Any]

    @classmethod
    def of(cls, table: sa.Table, name: str) -> Field:
        """Read a column of the contract as the contract types it."""
        column: sa.ColumnElement[Any] = table.c[name]
        kind, nullable = sql_type(name), TABLES[table.name].schema.columns[name].nullable
        if isinstance(kind, sa.Integer) and name.endswith("_on"):
            never = sa.literal_column(str(NEVER), sa.Integer)
            return cls(name, np.int32, sa.func.coalesce(column, never) if nullable else column)
        if isinstance(kind, sa.BigInteger):
            return cls(name, np.float64 if nullable else np.int64, column)
        if isinstance(kind, sa.Float):
            return cls(name, np.float64, column)
        return cls(name, bool if isinstance(kind, sa.Boolean) else object, column)


def as_arrays(fields: Sequence[Field], rows: Sequence[Any]) -> Arrays:
    """Turn the driver's rows into arrays by column."""
    if not rows:
        return {field.name: np.empty(0, field.dtype) for field in fields}
    columns = zip(fields, zip(*rows, strict=True), strict=True)
    return {field.name: _array(values, field.dtype) for field, values in columns}


def _array(values: tuple[Any, ...], dtype: Any) -> NDArray[Any]:
    if dtype is not object:
        return np.array(values, dtype)
    array = np.empty(len(values), object)
    array[:] = values
    return array


def join_arrays(parts: list[Arrays]) -> Arrays:
    """Put the arrays of consecutive rows one after the other."""
    if len(parts) == 1:
        return parts[0]
    return {column: np.concatenate([part[column] for part in parts]) for column in parts[0]}


SCHEMA = make_schema()
