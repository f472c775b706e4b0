"""The queries of the store, each made into text once: one customer is a dozen of them in a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, wraps
from typing import Any

import numpy as np
import sqlalchemy as sa

from features.history import FOREVER
from features.ledger import TABLES
from features.store_database import Prepared, all_rows, given_keys
from features.store_schema import SCHEMA, TEXT, Arrays, Field, as_arrays, join_arrays

Columns = Mapping[str, Sequence[str]]
Rows = dict[str, tuple[Prepared, list[Field]]]
NOW = {"known_at": FOREVER, "sequence": FOREVER}
_FOREVER = sa.literal_column(str(FOREVER), sa.BigInteger)
_KNOWN_AT, _SEQUENCE = (sa.bindparam(name, type_=sa.BigInteger) for name in NOW)


def made_once(make: Callable[..., Prepared]) -> Callable[..., Prepared]:
    """Keep the queries that a method makes."""
    made: dict[tuple[Any, ...], Prepared] = {}

    @wraps(make)
    def given(*arguments: Any) -> Prepared:
        if arguments not in made:
            made[arguments] = make(*arguments)
        return made[arguments]

    return given


class Queries:
    """Queries for one kind of database; each is made once a process."""

    def __init__(self, dialect: sa.Dialect) -> None:
        self._dialect = dialect
        self._rows: dict[Any, Rows] = {}

    def rows(self, scope: str, columns: Columns, *, versions: bool) -> Rows:
        """Facts of a scope of customers, by table; parameters as in ``NOW`` and the scope's."""
        key = (scope, versions, tuple(columns.items()))
        if key not in self._rows:
            self._rows[key] = {
                name: self._rows_of(name, wanted, scope, versions=versions)
                for name, wanted in columns.items()
            }
        return self._rows[key]

    def _rows_of(
        self, name: str, columns: Sequence[str], scope: str, *, versions: bool
    ) -> tuple[Prepared, list[Field]]:
        table = SCHEMA.facts[name]
        is_superseded = _is_superseded(table)
        until_at = sa.case((is_superseded, table.c.until_at), else_=_FOREVER)
        fields = [Field.of(table, column) for column in columns]
        fields.append(Field("since_at", "int64", table.c.since_at))
        if versions:
            fields.append(Field("until_at", "int64", until_at))
        query = sa.select(*(field.expression.label(field.name) for field in fields))
        query = query.where(_is_here(table))
        if not versions:
            query = query.where(sa.not_(is_superseded))
        query = query.where(*_in_scope(table, scope)).order_by(*table.primary_key)
        return Prepared(query, self._dialect), fields

    @made_once
    def described(self) -> Prepared:
        """Describe the ledger: number of the last append, identity, currency and first day."""
        ledger, sources = SCHEMA.ledger, SCHEMA.sources
        last = sa.select(sa.func.coalesce(sa.func.max(sources.c.sequence), 0)).scalar_subquery()
        columns = (ledger.c.id, ledger.c.currency, ledger.c.observed_from)
        return Prepared(sa.select(last, *columns), self._dialect)

    @made_once
    def group_changes(self) -> Prepared:
        """Read the changes of group until ``day`` of every customer who was ever in a group.

        Gives ``customer_id`` and ``value``, the last change of each customer at the end.
        """
        table = SCHEMA.facts["customer_changes"]
        once = table.alias("once")
        ever = sa.select(once.c.customer_id).where(
            once.c.kind == "group", once.c.value == sa.bindparam("group_name", type_=TEXT)
        )
        query = sa.select(table.c.customer_id, table.c.value).where(
            table.c.customer_id.in_(ever),
            table.c.kind == "group",
            table.c.changed_on <= sa.bindparam("day", type_=sa.BigInteger),
            _is_here(table),
            sa.not_(_is_superseded(table)),
        )
        in_time = (table.c.changed_on, table.c.recorded_at, table.c.change_id)
        return Prepared(query.order_by(table.c.customer_id, *in_time), self._dialect)

    @made_once
    def peer_changes(self) -> Prepared:
        """Sum up what the appends after one, up to another, changed of the peers' table."""
        table = SCHEMA.peer_days
        by = (table.c.sector, table.c.country, table.c.day)
        counts = (table.c.events, table.c.late, table.c.late_30)
        sums = (sa.cast(sa.func.sum(count), sa.BigInteger) for count in counts)
        after, upto = (sa.bindparam(name, type_=sa.BigInteger) for name in ("after", "upto"))
        query = sa.select(*by, *sums).where(table.c.sequence > after, table.c.sequence <= upto)
        return Prepared(query.group_by(*by), self._dialect)

    @made_once
    def invoices_by_customer(self) -> Prepared:
        """Every customer with the number of his invoices."""
        customers, invoices = SCHEMA.facts["customers"], SCHEMA.facts["invoices"]
        count = (
            sa.select(invoices.c.customer_id, sa.func.count().label("n"))
            .group_by(invoices.c.customer_id)
            .subquery("counts")
        )
        own = customers.outerjoin(count, count.c.customer_id == customers.c.customer_id)
        columns = (customers.c.customer_id, sa.func.coalesce(count.c.n, 0))
        query = sa.select(*columns).select_from(own).where(customers.c.until_at == _FOREVER)
        return Prepared(query.order_by(customers.c.customer_id), self._dialect)

    @made_once
    def versions(self, name: str) -> Prepared:
        """Versions here of given keys of given customers: ``place``, then as ``Here``."""
        table, given = SCHEMA.facts[name], given_keys(self._dialect.name)
        columns = ("content_hash", "since_at", "until_at", "recorded_at")
        assumed = sa.cast(table.c.recorded_assumed, sa.Integer)
        is_given = sa.and_(
            table.c.customer_id == given.c.customer_id, table.c[TABLES[name].key] == given.c.key
        )
        found = sa.select(given.c.place, *(table.c[c] for c in columns), assumed)
        return Prepared(found.select_from(given.join(table, is_given)), self._dialect)

    @made_once
    def elsewhere(self, name: str) -> Prepared:
        """Places of the given keys that belong to another customer than given."""
        table, given = SCHEMA.facts[name], given_keys(self._dialect.name)
        found = sa.select(given.c.place).select_from(self._join_key(name, given))
        found = found.where(table.c.customer_id != given.c.customer_id)
        return Prepared(found, self._dialect)

    @made_once
    def found(self, name: str) -> Prepared:
        """Those of the given keys that are here, each with its customer."""
        table, given = SCHEMA.facts[name], given_keys(self._dialect.name)
        found = sa.select(given.c.key, table.c.customer_id)
        return Prepared(found.select_from(self._join_key(name, given)), self._dialect)

    def _join_key(self, name: str, given: sa.FromClause) -> sa.FromClause:
        table = SCHEMA.facts[name]
        is_given = table.c[TABLES[name].key] == given.c.key
        return given.join(table, sa.and_(is_given, table.c.until_at == _FOREVER))

    @made_once
    def keys(self, name: str) -> Prepared:
        """All keys here, each with its customer."""
        table = SCHEMA.facts[name]
        found = sa.select(table.c[TABLES[name].key].label("key"), table.c.customer_id)
        return Prepared(found.where(table.c.until_at == _FOREVER), self._dialect)

    @made_once
    def hashes(self, name: str) -> Prepared:
        """Hash of what every version says, and since when it counts."""
        table = SCHEMA.facts[name]
        found = sa.select(table.c.content_hash, table.c.since_at)
        return Prepared(found.order_by(*table.primary_key), self._dialect)

    @made_once
    def supersede(self, name: str) -> Prepared:
        """Note on a current version ``until`` when it counts, and ``by`` which append it ends."""
        table = SCHEMA.facts[name]
        update = table.update().where(
            table.c.customer_id == sa.bindparam("customer"),
            table.c[TABLES[name].key] == sa.bindparam("its_key"),
            table.c.until_at == _FOREVER,
        )
        until, by = (sa.bindparam(name, type_=sa.BigInteger) for name in ("until", "by"))
        return Prepared(update.values(until_at=until, superseded_sequence=by), self._dialect)


def read_rows(cursor: Any, query: Prepared, fields: list[Field], values: dict[str, Any]) -> Arrays:
    """Run a query of :meth:`Queries.rows` and give its columns."""
    query.run(cursor, values)
    return _with_until(join_arrays([as_arrays(fields, rows) for rows in all_rows(cursor)]))


def few_rows(queries: Rows, found: Sequence[Any]) -> dict[str, Arrays]:
    """Give the columns of each table from the rows that :func:`run_all` found."""
    tables = zip(queries.items(), found, strict=True)
    return {name: _with_until(as_arrays(fields, rows)) for (name, (_, fields)), rows in tables}


def _with_until(arrays: Arrays) -> Arrays:
    """Say that the versions that count have no end in sight, unless the query said when."""
    if "until_at" not in arrays:
        arrays["until_at"] = np.full(arrays["since_at"].size, FOREVER)
    return arrays


def _is_here(table: sa.Table) -> sa.ColumnElement[bool]:
    """Say that a version was recorded and imported by the instant and append asked."""
    return sa.and_(table.c.since_at < _KNOWN_AT, table.c.sequence <= _SEQUENCE)


def _is_superseded(table: sa.Table) -> sa.ColumnElement[bool]:
    """Say that another version counts by the instant and append asked."""
    return sa.and_(table.c.superseded_sequence <= _SEQUENCE, table.c.until_at < _KNOWN_AT)


def _in_scope(table: sa.Table, scope: str) -> list[sa.ColumnElement[bool]]:
    customer = table.c.customer_id
    if scope == "all":
        return []
    if scope == "one":
        return [customer == sa.bindparam("customer")]
    return [customer >= sa.bindparam("first"), customer <= sa.bindparam("last")]


@cache
def queries_for(dialect: str) -> Queries:
    """Give the queries for ``sqlite`` or ``postgresql``."""
    driver = {"postgresql": "postgresql+psycopg"}.get(dialect, dialect)
    return Queries(sa.make_url(f"{driver}://").get_dialect()())
