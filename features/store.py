"""The facts in SQL: append what is new, read all or one customer as known at an instant.

SQLite by default, one file, through SQLAlchemy; rows lie by customer, so that one customer's
history is one short read. Appending is idempotent: a row that the store already holds is skipped.
In the tables dates are days since 1970-01-01, instants microseconds since then (UTC), money cents.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pysqlite3
import sqlalchemy as sa
from numpy.typing import NDArray

from features.history import MICROSECONDS_A_DAY, NEVER, Facts, facts_of, first_day
from features.ledger import TABLES, Known, Ledger, LedgerError

SCHEMA_VERSION = 1
SQLITE_PRAGMAS = {"journal_mode": "WAL", "synchronous": "FULL", "foreign_keys": "ON"}


@dataclass(frozen=True)
class Source:
    """Where facts came from, for the trail: file names with their SHA-256, and the mapping's."""

    files: tuple[tuple[str, str], ...]
    mapping_sha256: str = ""


@dataclass(frozen=True)
class Appended:
    """What an append did: rows by table."""

    sequence: int
    added: dict[str, int]
    already_there: dict[str, int]
    rejects: pd.DataFrame


def connect(url: str) -> sa.Engine:
    """Open a database; on SQLite each connection asserts the pragmas that make it durable."""
    if not url.startswith("sqlite"):
        return sa.create_engine(url)
    engine = sa.create_engine(url, module=pysqlite3)

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # SQLAlchemy says BEGIN, see below
        for pragma, value in SQLITE_PRAGMAS.items():
            connection.execute(f"PRAGMA {pragma}={value}")
        if connection.execute("PRAGMA synchronous").fetchone()[0] != 2:
            raise LedgerError("SQLite did not accept synchronous=FULL: answers could be lost")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(
            "BEGIN IMMEDIATE" if connection.get_execution_options().get("write") else "BEGIN"
        )

    return engine


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Open a transaction that writes: all of it or nothing; on SQLite one writer at a time."""
    with engine.connect().execution_options(write=True) as connection, connection.begin():
        yield connection


class Store:
    """The facts of one ledger.

    Parameters
    ----------
    url : str
        SQLAlchemy URL, ``sqlite:///var/facts.db``.
    currency : str, optional
        Base currency of a new ledger; an existing one keeps its own.

    Raises
    ------
    LedgerError
        If the database holds no ledger and no `currency` is given, or another currency.
    """

    def __init__(self, url: str, currency: str | None = None) -> None:
        self._engine = connect(url)
        self._tables, self._sources, self._ledger, metadata = _schema()
        if currency is not None:
            with writing(self._engine) as connection:
                metadata.create_all(connection)
        with self._reading() as connection:
            found = self._describe(connection)
        if found is None:
            if currency is None:
                raise LedgerError("there is no ledger here yet: run `encours import` first")
            self._create(currency)
        elif found.schema_version != SCHEMA_VERSION:
            raise LedgerError(
                f"the ledger has schema {found.schema_version}, this version reads {SCHEMA_VERSION}"
            )
        elif currency is not None and found.currency != currency:
            raise LedgerError(f"the ledger is in {found.currency}, the file in {currency}")

    def _create(self, currency: str) -> None:
        with writing(self._engine) as connection:
            row = {"id": str(uuid.uuid4()), "currency": currency, "schema_version": SCHEMA_VERSION}
            connection.execute(self._ledger.insert(), {**row, "observed_from": NEVER})

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with self._engine.connect() as connection:
            yield connection

    def _describe(self, connection: sa.Connection) -> sa.Row[Any] | None:
        if not sa.inspect(connection).has_table(self._ledger.name):
            return None
        return connection.execute(self._ledger.select()).first()

    @property
    def ledger(self) -> sa.Row[Any]:
        """The ledger's ``id``, ``currency`` and ``observed_from``."""
        with self._reading() as connection:
            return connection.execute(self._ledger.select()).one()

    def known(self) -> Known:
        """Return the customers and invoices already here, for the checks of a later file."""
        customers, invoices = self._tables["customers"], self._tables["invoices"]
        with self._reading() as connection:
            ids = connection.execute(sa.select(customers.c.customer_id)).scalars().all()
            pairs = connection.execute(sa.select(invoices.c.invoice_id, invoices.c.customer_id))
            invoice_ids, debtors = _unzip(pairs.all(), 2)
        index = pd.Index(invoice_ids, dtype="str")
        return Known(pd.Index(ids, dtype="str"), pd.Series(debtors, index=index, dtype="str"))

    def append(self, ledger: Ledger, source: Source) -> Appended:
        """Add the facts that are not here yet, in one transaction.

        Parameters
        ----------
        ledger : Ledger
            Checked facts, in the store's currency.
        source : Source
            Their origin.

        Returns
        -------
        Appended
            A row whose key is here with other content is not added: it comes back among the
            rejects, as ``already_there_with_other_content``.
        """
        if ledger.currency != self.ledger.currency:
            raise LedgerError(f"the ledger is in {self.ledger.currency}, not {ledger.currency}")
        facts = facts_of(ledger)
        added, already_there, rejects = {}, {}, []
        fresh: Facts = {}
        with writing(self._engine) as connection:
            sequence = self._open_source(connection, source)
            for name, columns in facts.items():
                new, same, other = self._compare(connection, name, columns)
                self._insert(connection, name, columns, new, sequence)
                added[name], already_there[name] = int(new.sum()), int(same.sum())
                rejects.append(_conflicts(ledger, name, columns, other))
                fresh[name] = {column: values[new] for column, values in columns.items()}
            counts = json.dumps(added)
            connection.execute(
                self._sources.update().where(self._sources.c.sequence == sequence),
                {"added": counts},
            )
            self._note_first_day(connection, first_day(fresh))
        return Appended(sequence, added, already_there, pd.concat(rejects, ignore_index=True))

    def _open_source(self, connection: sa.Connection, source: Source) -> int:
        latest = connection.scalar(sa.select(sa.func.max(self._sources.c.sequence))) or 0
        row = {
            "sequence": latest + 1,
            "files": json.dumps(source.files),
            "mapping_sha256": source.mapping_sha256,
            "appended_at": time.time_ns() // 1000,
            "added": "{}",
        }
        connection.execute(self._sources.insert(), row)
        return int(latest + 1)

    def _compare(
        self, connection: sa.Connection, name: str, columns: dict[str, NDArray[Any]]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
        """Tell new rows from rows already here and from rows here with other content."""
        table, key = self._tables[name], TABLES[name].key
        here = connection.execute(sa.select(table.c[key], table.c.content_hash)).all()
        keys, hashes = _unzip(here, 2)
        place = pd.Index(keys, dtype=object).get_indexer(pd.Index(columns[key], dtype=object))
        found = place >= 0
        same = found.copy()
        same[found] = np.asarray(hashes, np.int64)[place[found]] == _content_hash(columns)[found]
        return ~found, same, found & ~same

    def _insert(
        self,
        connection: sa.Connection,
        name: str,
        columns: dict[str, NDArray[Any]],
        new: NDArray[np.bool_],
        sequence: int,
    ) -> None:
        if not new.any():
            return
        values = [_sql_values(column[new]) for column in columns.values()]
        values += [_content_hash(columns)[new].tolist(), [sequence] * int(new.sum())]
        names = [*columns, "content_hash", "sequence"]
        statement = self._tables[name].insert().compile(connection, column_keys=names)
        rows = list(zip(*values, strict=True))
        if statement.positional:
            connection.exec_driver_sql(str(statement), rows)
        else:
            connection.execute(
                self._tables[name].insert(), [dict(zip(names, r, strict=True)) for r in rows]
            )

    def _note_first_day(self, connection: sa.Connection, first: int) -> None:
        earlier = self._ledger.c.observed_from > first
        connection.execute(self._ledger.update().where(earlier), {"observed_from": first})

    def read(
        self,
        customer_id: str | None = None,
        known_at: int | None = None,
        sequence: int | None = None,
    ) -> Facts:
        """Read facts.

        Parameters
        ----------
        customer_id : str, optional
            Only this customer's.
        known_at : int, optional
            Only facts recorded before this instant, in microseconds since 1970 (UTC).
        sequence : int, optional
            Only facts that the store held when this was its last append.

        Returns
        -------
        Facts
            Columns by table, rows sorted by customer and key.
        """
        facts: Facts = {}
        with self._reading() as connection:
            for name in TABLES:
                query = self._select(name, customer_id, known_at, sequence)
                facts[name] = _columns(name, connection.execute(query).all())
        return facts

    def _select(
        self, name: str, customer_id: str | None, known_at: int | None, sequence: int | None
    ) -> sa.Select[Any]:
        table = self._tables[name]
        query = sa.select(*(table.c[c] for c in TABLES[name].columns))
        query = query.order_by(table.c.customer_id, table.c[TABLES[name].key])
        if customer_id is not None:
            query = query.where(table.c.customer_id == customer_id)
        if known_at is not None:
            query = query.where(table.c.recorded_at < known_at)
        if sequence is not None:
            query = query.where(table.c.sequence <= sequence)
        return query

    def sequence(self) -> int:
        """Return the number of the last append: what an assessment has seen."""
        with self._reading() as connection:
            return connection.scalar(sa.select(sa.func.max(self._sources.c.sequence))) or 0

    def last_day(self) -> int:
        """Last day on which anything became known, in days since 1970."""
        recorded, days = [], []
        with self._reading() as connection:
            for name, happened in (("invoices", "issued_on"), ("settlements", "settled_on")):
                columns = self._tables[name].c
                latest = sa.select(sa.func.max(columns.recorded_at), sa.func.max(columns[happened]))
                instant, day = connection.execute(latest).one()
                recorded.append((instant or 0) // MICROSECONDS_A_DAY)
                days.append(day or 0)
        return int(max(recorded + days))

    def data_sha256(self) -> str:
        """Hash of every fact, whatever the order and the number of imports that brought it."""
        digest = hashlib.sha256()
        with self._reading() as connection:
            for name, table in self._tables.items():
                key = TABLES[name].key
                rows = connection.execute(
                    sa.select(table.c[key], table.c.content_hash).order_by(table.c[key])
                )
                digest.update(name.encode())
                for part in rows.partitions(100_000):
                    digest.update(repr([tuple(row) for row in part]).encode())
        return digest.hexdigest()


def sqlite_url(path: Path) -> str:
    """URL of a SQLite file, whose folder is made when missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{path.resolve()}"


def _schema() -> tuple[dict[str, sa.Table], sa.Table, sa.Table, sa.MetaData]:
    """Derive the SQL tables from the ledger contract, clustered by customer."""
    metadata = sa.MetaData()
    tables = {}
    for name, table in TABLES.items():
        columns = [_sql_column(c, table.key) for c in table.columns]
        tables[name] = sa.Table(
            name,
            metadata,
            *columns,
            sa.Column("content_hash", sa.BigInteger, nullable=False),
            sa.Column("sequence", sa.BigInteger, sa.ForeignKey("sources.sequence"), nullable=False),
            sqlite_with_rowid=False,
        )
        if table.key != "customer_id":
            sa.Index(f"{name}_key", tables[name].c[table.key], unique=True)
    sources = sa.Table(
        "sources",
        metadata,
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("files", sa.Text, nullable=False),
        sa.Column("mapping_sha256", sa.Text, nullable=False),
        sa.Column("appended_at", sa.BigInteger, nullable=False),
        sa.Column("added", sa.Text, nullable=False),
    )
    ledger = sa.Table(
        "ledger",
        metadata,
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("observed_from", sa.BigInteger, nullable=False),
        sa.Column("schema_version", sa.BigInteger, nullable=False),
    )
    return tables, sources, ledger, metadata


def _sql_column(name: str, key: str) -> sa.Column[Any]:
    in_key = name in ("customer_id", key)
    return sa.Column(name, _sql_type(name), primary_key=in_key)


def _sql_type(name: str) -> type[sa.types.TypeEngine[Any]]:
    if name.endswith(("_on", "_at", "_cents")):
        return sa.BigInteger
    if name.endswith("_rate"):
        return sa.Float
    if name.startswith("is_") or name == "recorded_assumed":
        return sa.Boolean
    return sa.Text


def _content_hash(columns: dict[str, NDArray[Any]]) -> NDArray[np.int64]:
    """64-bit hash of each row without the time of its recording."""
    content = {c: v for c, v in columns.items() if not c.startswith("recorded")}
    hashes = pd.util.hash_pandas_object(pd.DataFrame(content), index=False)
    return hashes.to_numpy().view(np.int64)


def _sql_values(column: NDArray[Any]) -> list[Any]:
    if column.dtype == np.int32:
        return [None if value == NEVER else value for value in column.tolist()]
    if column.dtype == np.float64:
        return [None if value != value else value for value in column.tolist()]
    return list(column.tolist())


def _columns(name: str, rows: Sequence[Any]) -> dict[str, NDArray[Any]]:
    columns = TABLES[name].schema.columns
    values = _unzip(rows, len(columns))
    return {
        c: _array(c, v, nullable=spec.nullable)
        for (c, spec), v in zip(columns.items(), values, strict=True)
    }


def _array(name: str, values: Sequence[Any], *, nullable: bool) -> NDArray[Any]:
    kind = _sql_type(name)
    if name.endswith("_on"):
        return np.array([NEVER if v is None else v for v in values], np.int32)
    if kind is sa.BigInteger:
        return np.array(values, np.float64 if nullable else np.int64)
    if kind is sa.Text:
        array = np.empty(len(values), object)
        array[:] = values
        return array
    return np.array(values, bool if kind is sa.Boolean else np.float64)


def _unzip(rows: Sequence[Any], n: int) -> list[tuple[Any, ...]]:
    return list(zip(*rows, strict=True)) if rows else [()] * n


def _conflicts(
    ledger: Ledger, name: str, columns: dict[str, NDArray[Any]], other: NDArray[np.bool_]
) -> pd.DataFrame:
    key = TABLES[name].key
    rows = ledger[name][ledger[name][key].isin(columns[key][other])]
    written = [row.to_json(date_format="iso") for _, row in rows.iterrows()]
    reason = "already_there_with_other_content"
    return pd.DataFrame({"table": name, "column": key, "reason": reason, "row": written})
