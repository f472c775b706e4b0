"""Two databases behind one store: SQLite by default, PostgreSQL by its URL.

What differs between them stands here: durability, one consistent view for a reader, bulk insertion,
and keys given to a query.
"""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psycopg.sql
import pyarrow as pa
import pyarrow.csv
import pysqlite3
import sqlalchemy as sa
from numpy.typing import NDArray

from features.history import NEVER
from features.ledger import LedgerError
from features.store_schema import Arrays, sql_values

WRITER_CACHE_KIB = 262_144
SQLITE_PRAGMAS = {"journal_mode": "WAL", "synchronous": "FULL", "foreign_keys": "ON"}
SQLITE_WAIT_SECONDS = 60.0  # for another writer
REPLACED = "the file is another one now"
TROUBLES = {  # what databases say, and what we say
    REPLACED: "its file was removed or replaced",
    "is locked": "it is locked by another program",
    "lock timeout": "it is locked by another program",
    "is full": "its disk is full",
    "No space left": "its disk is full",
    "readonly database": "it is read-only",
    "read-only transaction": "it is read-only",
    "malformed": "its file is damaged",
    "not a database": "its file is damaged",
    "no such table": "its tables are missing",
    "does not exist": "its tables are missing",
    "unable to open": "its file cannot be opened",
    "disk I/O error": "its disk fails",
    "connection": "it does not answer",
    "starting up": "it is starting",
    "shutting down": "it is stopping",
}
_FILE = "file"
LOOK_AGAIN_SECONDS = 0.0005  # for the writer's place; less often while it takes long
MOST_SECONDS_BETWEEN_LOOKS = 0.02
ROWS_A_CHUNK = 50_000  # written, or keys given
ROWS_A_FETCH = 1_000  # transposed while they are in the processor's cache


def connect(
    url: str, *, only_reads: bool = False, wait_seconds: float = SQLITE_WAIT_SECONDS
) -> sa.Engine:
    """Open a database.

    Parameters
    ----------
    url : str
        SQLAlchemy URL. On SQLite each connection asserts the pragmas that make it durable.
    only_reads : bool, default False
        Refuse writes; a transaction then sees one state of the database, whatever others write.
    wait_seconds : float, optional
        For a writer of a SQLite file that keeps others out.
    """
    if url.startswith("sqlite"):
        return _connect_sqlite(url, wait_seconds, only_reads=only_reads)
    if not only_reads:
        return sa.create_engine(url, hide_parameters=True, pool_pre_ping=True)
    reading = (
        "-c default_transaction_isolation=repeatable\\ read -c default_transaction_read_only=on"
    )
    found = sa.make_url(url)
    given = str(found.query.get("options", ""))
    found = found.update_query_dict({"options": f"{given} {reading}".strip()})
    return sa.create_engine(found, hide_parameters=True, pool_pre_ping=True)


def _connect_sqlite(url: str, wait_seconds: float, *, only_reads: bool) -> sa.Engine:
    wait = {"timeout": wait_seconds}
    engine = sa.create_engine(url, module=pysqlite3, hide_parameters=True, connect_args=wait)

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # SQLAlchemy says BEGIN, see below
        try:
            if not only_reads and (file := _which(engine)) and not file[2]:
                # Were it opened, whatever opens it later would be read-only too, once it is not.
                raise pysqlite3.OperationalError("attempt to write a readonly database")
            _set_pragmas(connection, only_reads=only_reads)
        except Exception:
            connection.close()  # what is open keeps a disk's fault alive for others
            raise
        record.info[_FILE] = _which(engine)

    @sa.event.listens_for(engine, "checkout")
    def _check(_connection: Any, record: Any, _proxy: object) -> None:
        # What is written to a file that was removed or replaced is lost, and SQLite does not mind.
        if record.info[_FILE] != _which(engine):
            engine.dispose()  # the idle ones too: one that is read-only keeps new ones so
            raise sa.exc.DisconnectionError(REPLACED)

    @sa.event.listens_for(engine, "commit")
    def _check_again(
        connection: sa.Connection,
    ) -> None:  # it may have waited for the writer's place
        if connection.info[_FILE] != _which(engine):
            raise sa.exc.OperationalError("COMMIT", None, OSError(REPLACED), hide_parameters=True)

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        if connection.get_execution_options().get("write"):
            _take_the_writers_place(connection, wait_seconds)
        else:
            connection.exec_driver_sql("BEGIN")

    return engine


def _take_the_writers_place(connection: sa.Connection, wait_seconds: float) -> None:
    """Begin to write, as soon as the writer before has committed.

    SQLite itself looks again after 1, 2, 5, 10 … ms. Where two processes write all the time, that
    is as long as several commits take, and all that is to be written waits for it.
    """
    cursor, begun = connection.connection.cursor(), time.monotonic()
    cursor.execute("PRAGMA busy_timeout=0")
    try:
        while True:
            try:
                cursor.execute("BEGIN IMMEDIATE")
            except pysqlite3.OperationalError as error:
                waited = time.monotonic() - begun
                is_busy = error.sqlite_errorcode & 0xFF == pysqlite3.SQLITE_BUSY
                if not is_busy or waited > wait_seconds:
                    raise
                time.sleep(min(max(LOOK_AGAIN_SECONDS, waited / 20), MOST_SECONDS_BETWEEN_LOOKS))
            else:
                return
    finally:
        cursor.execute(f"PRAGMA busy_timeout={wait_seconds * 1000:.0f}")


def _set_pragmas(connection: Any, *, only_reads: bool) -> None:
    for pragma, value in SQLITE_PRAGMAS.items():
        connection.execute(f"PRAGMA {pragma}={value}")
    if connection.execute("PRAGMA synchronous").fetchone()[0] != 2:
        raise LedgerError("SQLite did not accept synchronous=FULL: answers could be lost")
    connection.execute(
        "PRAGMA query_only=ON" if only_reads else f"PRAGMA cache_size=-{WRITER_CACHE_KIB}"
    )


def _which(engine: sa.Engine) -> tuple[int, int, bool] | None:
    """Tell a database's file from another one in its place, and whether it can be written."""
    path = engine.url.database or ""
    try:
        status = os.stat(path)  # noqa: PTH116 (at each use, three times faster)
    except OSError:
        return None
    return status.st_dev, status.st_ino, os.access(path, os.W_OK)


def why(error: Exception) -> str:
    """Say why a database cannot be used, in words of our own: its message may hold data."""
    said = str(getattr(error, "orig", error))
    if said in TROUBLES.values():
        return said
    found = (ours for theirs, ours in TROUBLES.items() if theirs in said)
    return next(found, type(error).__name__)


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Open a transaction that writes: all of it or nothing; on SQLite one writer at a time."""
    options = engine.connect().execution_options(write=True)
    with sqlalchemy_errors(engine), options as connection, connection.begin():
        yield connection


@contextmanager
def reading(engine: sa.Engine) -> Iterator[Any]:
    """Give a cursor of the driver, in a transaction that sees one state of the database."""
    with sqlalchemy_errors(engine):
        connection = engine.raw_connection()
        try:
            cursor = connection.cursor()
            if engine.dialect.name == "sqlite":  # psycopg begins by itself
                cursor.execute("BEGIN")
            yield cursor
        finally:
            connection.close()  # rolls back


@contextmanager
def sqlalchemy_errors(engine: sa.Engine) -> Iterator[None]:
    """Raise what the driver raises as SQLAlchemy does, without the parameters: customer data."""
    driver = engine.dialect.loaded_dbapi
    try:
        yield
    except driver.IntegrityError as error:
        raise sa.exc.IntegrityError("facts", None, error, hide_parameters=True) from error
    except driver.Error as error:
        raise sa.exc.DBAPIError("facts", None, error, hide_parameters=True) from error


class Prepared:
    """The text of a query for one database, made once; its parameters have names."""

    def __init__(self, query: sa.sql.expression.ClauseElement, dialect: sa.Dialect) -> None:
        compiled = query.compile(dialect=dialect)
        self.text = str(compiled)
        self._names = getattr(compiled, "positiontup", None)
        self._constants = compiled.params
        selected = getattr(query, "selected_columns", ())
        self.width = len(selected)

    def run(self, cursor: Any, values: Mapping[str, Any]) -> Any:
        """Run the query; return its cursor."""
        cursor.execute(self.text, self.parameters(values))
        return cursor

    def parameters(self, values: Mapping[str, Any]) -> Any:
        """Put the parameters as the driver wants them."""
        given = {name: values.get(name, default) for name, default in self._constants.items()}
        return given if self._names is None else [given[name] for name in self._names]


def run_all(cursor: Any, queries: Sequence[Prepared], values: Mapping[str, Any]) -> list[Any]:
    """Run queries that give few rows; on PostgreSQL in one round trip. Return the rows of each."""
    if not hasattr(cursor.connection, "pipeline"):
        return [query.run(cursor, values).fetchall() for query in queries]
    with cursor.connection.pipeline():
        cursors = [query.run(cursor.connection.cursor(), values) for query in queries]
    return [each.fetchall() for each in cursors]


def given_keys(dialect: str) -> sa.FromClause:
    """Keys given to a query by :func:`key_parameters`: ``place``, ``customer_id``, ``key``."""
    if dialect == "sqlite":
        pairs = sa.func.json_each(sa.bindparam("pairs", type_=sa.Text)).table_valued("key", "value")
        part = [pairs.c.value.op("->>")(sa.literal_column(str(i))) for i in range(2)]
        columns = (pairs.c.key.label("place"), part[0].label("customer_id"), part[1].label("key"))
        return sa.select(*columns).subquery("given")
    texts = [sa.bindparam(name, type_=sa.ARRAY(sa.Text)) for name in ("customers", "keys")]
    rows = sa.func.unnest(*texts).table_valued(
        sa.column("customer_id", sa.Text),
        sa.column("key", sa.Text),
        with_ordinality="number",
        name="numbered",
    )
    numbered = rows.render_derived()
    place = (numbered.c.number - 1).label("place")
    return sa.select(place, numbered.c.customer_id, numbered.c.key).subquery("given")


def key_parameters(
    dialect: str, customers: NDArray[np.object_], keys: NDArray[np.object_]
) -> dict[str, Any]:
    """Give `keys`, each of its customer, to a query on :func:`given_keys`."""
    if dialect == "sqlite":
        pairs = list(zip(customers.tolist(), keys.tolist(), strict=True))
        return {"pairs": json.dumps(pairs, ensure_ascii=False)}
    return {"customers": customers.tolist(), "keys": keys.tolist()}


def insert(connection: sa.Connection, table: sa.Table, columns: Arrays) -> None:
    """Insert many rows."""
    size = next(iter(columns.values())).size
    put = _execute_many if connection.dialect.name == "sqlite" else _copy
    for start in range(0, size, ROWS_A_CHUNK):
        chunk = slice(start, start + ROWS_A_CHUNK)
        put(connection, table, {name: values[chunk] for name, values in columns.items()})


def _execute_many(connection: sa.Connection, table: sa.Table, columns: Arrays) -> None:
    # The driver is slow on what is no plain number or text: a column of nulls is left out.
    values = {name: sql_values(name, array) for name, array in columns.items()}
    values = {n: column for n, column in values.items() if any(v is not None for v in column)}
    statement = table.insert().compile(connection, column_keys=list(values))
    rows = zip(*(values[name] for name in statement.positiontup or ()), strict=True)
    _cursor(connection).executemany(str(statement), rows)


def _copy(connection: sa.Connection, table: sa.Table, columns: Arrays) -> None:
    rows = pa.table({name: _arrow(name, array) for name, array in columns.items()})
    text = io.BytesIO()
    pa.csv.write_csv(rows, text, pa.csv.WriteOptions(include_header=False))
    name, names = psycopg.sql.Identifier(table.name), map(psycopg.sql.Identifier, columns)
    statement = psycopg.sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(
        name, psycopg.sql.SQL(", ").join(names)
    )
    with _cursor(connection).copy(statement) as copy:
        copy.write(text.getbuffer())


def _arrow(name: str, values: NDArray[Any]) -> pa.Array:
    if name.endswith("_on"):
        return pa.array(values, mask=values == NEVER)
    array = pa.array(values, from_pandas=True)
    return array.cast(pa.int64()) if name.endswith("_cents") else array


def update_many(connection: sa.Connection, statement: Prepared, columns: Arrays) -> None:
    """Run an update once for each row of `columns`."""
    rows = zip(*(array.tolist() for array in columns.values()), strict=True)
    each = (statement.parameters(dict(zip(columns, row, strict=True))) for row in rows)
    _cursor(connection).executemany(statement.text, each)


def _cursor(connection: sa.Connection) -> Any:
    return connection.connection.cursor()


def all_rows(cursor: Any) -> Iterator[Sequence[Any]]:
    """Give the rows of a query, a chunk at a time; one chunk, perhaps empty, at least."""
    while len(rows := cursor.fetchmany(ROWS_A_FETCH)) == ROWS_A_FETCH:
        yield rows
    yield rows


def sqlite_url(path: Path) -> str:
    """URL of a SQLite file, whose folder is made when missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{path.resolve()}"
