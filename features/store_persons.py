"""Customers who are natural persons: who they are, since when nothing happened, and their removal.

The store never overwrites a fact; this is the one place that removes some. What is left of a person
afterwards are counts by sector, country and day of how people paid: they name nobody.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from features.history import FOREVER, MICROSECONDS_A_DAY
from features.store_database import Prepared, connect, reading, sqlalchemy_errors, writing
from features.store_schema import SCHEMA

HAPPENED = (
    ("invoices", "issued_on"),
    ("invoices", "due_on"),
    ("settlements", "settled_on"),
    ("orders", "accepted_on"),
)
CONTEST, ERASED = "contest of ", "erased on request"
KEYS_A_QUERY = 500


class PersonFacts:
    """The facts of natural persons, in the database of a :class:`features.store.Store`.

    Parameters
    ----------
    url : str
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine, self._readers = connect(url), connect(url, only_reads=True)
        for engine in (self._engine, self._readers):
            weakref.finalize(self, engine.dispose)
        self._is_person = Prepared(_is_person(), self._readers.dialect)

    def close(self) -> None:
        """Close its connections; they are made again when they are needed."""
        self._engine.dispose()
        self._readers.dispose()

    def has_ledger(self) -> bool:
        """Tell whether there is a ledger yet: a database may be empty."""
        return sa.inspect(self._readers).has_table(SCHEMA.ledger.name)

    def is_person(self, customer_id: str) -> bool | None:
        """Tell whether a customer is a natural person; ``None`` where the ledger knows none."""
        with reading(self._readers) as cursor:
            row = self._is_person.run(cursor, {"customer": customer_id}).fetchone()
        return None if row is None else bool(row[0])

    def among(self, customer_ids: Collection[str]) -> dict[str, bool]:
        """Tell of each customer that the ledger has whether he is a natural person."""
        customers, asked, found = SCHEMA.facts["customers"], list(customer_ids), dict[str, bool]()
        with self._readers.connect() as connection:
            for start in range(0, len(asked), KEYS_A_QUERY):
                some = customers.c.customer_id.in_(asked[start : start + KEYS_A_QUERY])
                query = sa.select(customers.c.customer_id, customers.c.is_natural_person)
                rows = connection.execute(query.where(some, customers.c.until_at == FOREVER))
                found |= {row.customer_id: bool(row.is_natural_person) for row in rows}
        return found

    def all(self) -> list[str]:
        """Return every customer who is a natural person."""
        customers = SCHEMA.facts["customers"]
        query = sa.select(customers.c.customer_id).where(
            customers.c.until_at == FOREVER, customers.c.is_natural_person.is_(sa.true())
        )
        with self._readers.connect() as connection:
            return list(connection.execute(query.order_by(customers.c.customer_id)).scalars())

    def without_anything_since(self, day: int) -> list[str]:
        """Return the natural persons of whom nothing was invoiced, ordered, due or settled since.

        One of whom nothing ever was counts from the day he became known.

        Parameters
        ----------
        day : int
            In days since 1970.
        """
        customers, invoices = SCHEMA.facts["customers"], SCHEMA.facts["invoices"]
        busy = sa.union(*(_since(name, column, day) for name, column in HAPPENED))
        ever = sa.select(invoices.c.customer_id).distinct()
        came = customers.c.recorded_at >= day * MICROSECONDS_A_DAY
        with self._readers.connect() as connection:
            active, had_invoices, new = (
                set(connection.execute(query).scalars())
                for query in (busy, ever, sa.select(customers.c.customer_id).where(came))
            )
        active |= new - had_invoices
        return [one for one in self.all() if one not in active]

    def names(self, customer_id: str) -> list[str]:
        """Return the names that a customer ever had here."""
        customers = SCHEMA.facts["customers"]
        query = sa.select(customers.c.name).where(customers.c.customer_id == customer_id)
        with self._readers.connect() as connection:
            return sorted({name for name in connection.execute(query).scalars() if name})

    def count(self, customer_id: str) -> int:
        """Count the facts of a customer, in all versions."""
        with self._readers.connect() as connection:
            return sum(
                connection.execute(
                    sa.select(sa.func.count()).where(table.c.customer_id == customer_id)
                ).scalar_one()
                for table in SCHEMA.facts.values()
            )

    def ever_grouped_with(self, customer_id: str) -> list[str]:
        """Return the other customers who were ever in a group that this one was ever in."""
        changes = SCHEMA.facts["customer_changes"]
        groups = sa.select(changes.c.value).where(
            changes.c.customer_id == customer_id, changes.c.kind == "group"
        )
        others = sa.select(changes.c.customer_id).where(
            changes.c.kind == "group",
            changes.c.value.in_(groups),
            changes.c.customer_id != customer_id,
        )
        with self._readers.connect() as connection:
            return sorted(set(connection.execute(others).scalars()))

    def forget(self, customer_id: str) -> int:
        """Remove every version of every fact of a customer; return how many were removed."""
        with writing(self._engine) as connection:
            overwrite(connection)
            return sum(
                connection.execute(
                    table.delete().where(table.c.customer_id == customer_id)
                ).rowcount
                for table in SCHEMA.facts.values()
            )

    def rename_contests(self, assessment_ids: Collection[str]) -> None:
        """Take the name from the sources that say which of these is contested: a person wrote it.

        Their hash stays.
        """
        sources, contested = SCHEMA.sources, frozenset(assessment_ids)
        query = sa.select(sources.c.sequence, sources.c.files)
        query = query.where(sources.c.files.contains(CONTEST))
        with writing(self._engine) as connection:
            overwrite(connection)
            for row in connection.execute(query).all():
                files = [
                    [ERASED if contested.intersection(name.split()) else name, sha256]
                    for name, sha256 in json.loads(row.files)
                ]
                this = sources.update().where(sources.c.sequence == row.sequence)
                connection.execute(this, {"files": json.dumps(files)})

    def tidy(self) -> None:
        """Leave nothing of what was removed in the files: rewrite them, and empty their log."""
        tidy(self._engine)


def _is_person() -> sa.Select[Any]:
    customers = SCHEMA.facts["customers"]
    return sa.select(customers.c.is_natural_person).where(
        customers.c.customer_id == sa.bindparam("customer"), customers.c.until_at == FOREVER
    )


def _since(name: str, column: str, day: int) -> sa.Select[Any]:
    table = SCHEMA.facts[name]
    return sa.select(table.c.customer_id).where(table.c[column] >= day)


def overwrite(connection: sa.Connection) -> None:
    """Have SQLite write zeros over what this connection removes."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete=ON").fetchall()


def tidy(engine: sa.Engine, table: str | None = None) -> None:
    """Rewrite a database without what was removed from it, and empty its write-ahead log.

    PostgreSQL rewrites only a `table` that is named, else it gives the room to later rows; its log,
    and the archives made of that, are the server's.

    Raises
    ------
    sqlalchemy.exc.DBAPIError
        If another program keeps the database, or an older state of it, for too long.
    """
    if engine.dialect.name == "sqlite":
        _run_alone(engine, "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)")
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM" if table is None else f"VACUUM FULL {table}")


def empty_log(engine: sa.Engine) -> None:
    """Empty the write-ahead log of a SQLite database: what stands there stands in the file too."""
    if engine.dialect.name == "sqlite":
        _run_alone(engine, "PRAGMA wal_checkpoint(TRUNCATE)")


def _run_alone(engine: sa.Engine, *statements: str) -> None:
    """Run what no transaction may hold."""
    with sqlalchemy_errors(engine):
        connection = engine.raw_connection()
        try:
            for statement in statements:
                row = connection.cursor().execute(statement).fetchone()
                if row is not None and row[0]:
                    raise engine.dialect.loaded_dbapi.OperationalError("database is locked")
        finally:
            connection.close()
