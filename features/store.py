"""The facts in SQL: append what is new, read one customer, a shard or all, as known at an instant.

SQLite by default, one file; PostgreSQL by its URL. Nothing is ever overwritten. Invoice F1 of
100.00, recorded on 2 March, comes again with 90.00, recorded on 9 April: that is its second
version. Whoever asks what was known on 5 April still gets 100.00, and 90.00 from 9 April on, both
*recorded* on 2 March, when the fact became known; and an assessment that ran on 10 April, before
the second file was imported, is replayed with 100.00, by the sequence of the store that it saw.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
import weakref
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import sqlalchemy as sa
from numpy.typing import NDArray

from features.history import (
    FOREVER,
    MICROSECONDS_A_DAY,
    NEVER,
    Facts,
    by_customer,
    facts_of,
    first_day,
)
from features.ledger import TABLES, Known, Ledger, LedgerError
from features.peers import PeerDays
from features.store_database import (
    ROWS_A_CHUNK,
    Prepared,
    all_rows,
    connect,
    insert,
    key_parameters,
    reading,
    run_all,
    sqlite_url,
    update_many,
    writing,
)
from features.store_peers import NEEDED, PeersNow, changed_by
from features.store_queries import NOW, Columns, few_rows, queries_for, read_rows
from features.store_schema import (
    ALL_COLUMNS,
    READ_COLUMNS,
    SCHEMA,
    SCHEMA_VERSION,
    Arrays,
    content_hash,
)
from features.store_versions import NOTHING_HERE, OUTCOMES, Here, Verdict, judge, move, orphan

__all__ = [
    "ALL_COLUMNS",
    "READ_COLUMNS",
    "SCHEMA_VERSION",
    "Appended",
    "Described",
    "Snapshot",
    "Source",
    "Store",
    "connect",
    "sqlite_url",
    "writing",
]

WRITTEN = ("content_hash", "since_at", "recorded_at", "recorded_assumed")
NAME_INVOICES = [name for name, table in TABLES.items() if "invoices" in table.refers_to]
_NO_REJECTS = pd.DataFrame(columns=["table", "column", "reason", "row", "label"], dtype=object)
HAPPENED = (("invoices", "issued_on"), ("settlements", "settled_on"))


@dataclass(frozen=True)
class Source:
    """Where facts came from, for the trail: file names with their SHA-256, and the mapping's.

    What is no file says what it is instead of a name.
    """

    files: tuple[tuple[str, str], ...]
    mapping_sha256: str = ""


@dataclass(frozen=True)
class Appended:
    """What an append did: rows by table.

    Attributes
    ----------
    sequence : int
        The append's number.
    added : dict of str to int
        Facts that were not here.
    superseded : dict of str to int
        New versions of facts that were here with other content.
    already_there : dict of str to int
        Rows that say what a version here says.
    rejects : DataFrame
        ``table``, ``column``, ``reason``, ``row`` (JSON) and ``label`` (of the row's index) of the
        rows refused: those that give another customer a number that is his
        (``belongs_to_another_customer``), and those that name such an invoice of the same append
        (``not_the_invoiced_customer``).
    outcomes : dict of str to ndarray of int8
        What became of each row, in the order of :func:`features.history.facts_of`, as its place in
        ``OUTCOMES``; :meth:`outcome` says it by label.
    """

    sequence: int
    added: dict[str, int]
    superseded: dict[str, int]
    already_there: dict[str, int]
    rejects: pd.DataFrame
    outcomes: dict[str, NDArray[np.int8]]

    def outcome(self, ledger: Ledger, name: str) -> pd.Series[str]:
        """Tell what became of each row of a table of the ledger appended, by its index label."""
        labels = by_customer(name, ledger[name]).index
        return pd.Series(np.array(OUTCOMES, object)[self.outcomes[name]], labels)


class Described(NamedTuple):
    """The ledger: its identity, base currency, and the first day it knows anything of."""

    id: str
    currency: str
    observed_from: int


class Snapshot(NamedTuple):
    """One customer as known at an instant, and what it takes to see it again.

    Attributes
    ----------
    sequence : int
        The store's last append; reading again up to it gives the same facts for ever.
    ledger : Described
    facts : Facts
        Every version; :func:`features.versions.current` gives those that count.
    """

    sequence: int
    ledger: Described
    facts: Facts


class Store:
    """The facts of one ledger.

    Parameters
    ----------
    url : str
        SQLAlchemy URL, ``sqlite:///var/facts.db`` or ``postgresql+psycopg://user@host/name``.
    currency : str, optional
        Base currency of a new ledger; an existing one keeps its own.

    Raises
    ------
    LedgerError
        If the database holds no ledger and no `currency` is given, another currency, or the
        schema of another version.
    """

    def __init__(self, url: str, currency: str | None = None) -> None:
        self._engine, self._readers = connect(url), connect(url, only_reads=True)
        for engine in (self._engine, self._readers):
            weakref.finalize(self, engine.dispose)
        self._dialect = self._engine.dialect.name
        self._queries = queries_for(self._dialect)
        self._peers, self._one_at_a_time = PeersNow(), Lock()
        found = self._find()
        if found is None and currency is not None:
            found = self._create(currency)
        if found is None:
            raise LedgerError("there is no ledger here yet: run `encours import` first")
        version, described = found
        if version != SCHEMA_VERSION:
            raise LedgerError(
                f"the ledger has schema {version}, this version reads {SCHEMA_VERSION}: "
                "import your files again into a new one"
            )
        if currency is not None and described != currency:
            raise LedgerError(f"the ledger is in {described}, the file in {currency}")

    def _find(self, connection: sa.Connection | None = None) -> tuple[int, str] | None:
        """Look for a ledger: its schema version and its currency."""
        if connection is None:
            with self._engine.connect() as connection:
                return self._find(connection)
        ledger = SCHEMA.ledger
        if not sa.inspect(connection).has_table(ledger.name):
            return None
        row = connection.execute(sa.select(ledger.c.schema_version, ledger.c.currency)).first()
        return None if row is None else (row.schema_version, row.currency)

    def _create(self, currency: str) -> tuple[int, str]:
        """Make the tables and the ledger, unless another process does so at this moment."""
        with writing(self._engine) as connection:
            if self._dialect == "postgresql":
                alone = sa.func.pg_advisory_xact_lock(sa.func.hashtext("encours"))
                connection.execute(sa.select(alone))
            found = self._find(connection)
            if found is None:
                SCHEMA.metadata.create_all(connection)
                row = {"id": str(uuid.uuid4()), "currency": currency, "observed_from": NEVER}
                row |= {"last_day": 0, "schema_version": SCHEMA_VERSION}
                connection.execute(SCHEMA.ledger.insert(), row)
        return found or (SCHEMA_VERSION, currency)

    @property
    def ledger(self) -> Described:
        """The ledger's ``id``, ``currency`` and ``observed_from``."""
        with reading(self._readers) as cursor:
            return self._describe(cursor)[1]

    def _describe(self, cursor: Any) -> tuple[int, Described]:
        sequence, *described = self._queries.described().run(cursor, {}).fetchone()
        return sequence, Described(*described)

    def sequence(self) -> int:
        """Return the number of the last append: what an assessment has seen."""
        with reading(self._readers) as cursor:
            return self._describe(cursor)[0]

    def last_day(self) -> int:
        """Last day of an invoice, of a settlement, or of its recording, in days since 1970.

        A correction tells of a day in the past: the day it came does not count.
        """
        with self._engine.connect() as connection:
            return int(connection.execute(sa.select(SCHEMA.ledger.c.last_day)).scalar_one())

    # --- Append --------------------------------------------------------------------------

    def append(self, ledger: Ledger, source: Source, appended_at: int | None = None) -> Appended:
        """Add new facts, and new versions of those that are here, in one transaction.

        Parameters
        ----------
        ledger : Ledger
            Checked facts, in the store's currency.
        source : Source
            Their origin.
        appended_at : int, optional
            Instant of the append, in microseconds since 1970; by default now. A correction that
            does not say when it was recorded counts from it.

        Returns
        -------
        Appended
        """
        described = self.ledger
        if ledger.currency != described.currency:
            raise LedgerError(f"the ledger is in {described.currency}, not {ledger.currency}")
        at = time.time_ns() // 1000 if appended_at is None else appended_at
        facts, verdicts, rejects = facts_of(ledger), dict[str, Verdict](), []
        with writing(self._engine) as connection:
            sequence = self._open_source(connection, source, at)
            for name, columns in facts.items():
                verdict = verdicts[name] = self._judge(connection, name, columns, at)
                if name in NAME_INVOICES and verdicts["invoices"].moved.any():
                    orphan(verdict, _names_moved(columns, facts, verdicts))
                self._write(connection, name, columns, verdict, sequence)
                rejects.append(_refused(ledger, name, columns, verdict))
            appended = _sum_up(sequence, verdicts, rejects)
            self._note(connection, facts, verdicts, appended)
            self._note_peers(connection, _touched(facts, verdicts), sequence)
        return appended

    def _open_source(self, connection: sa.Connection, source: Source, at: int) -> int:
        """Give the append its number, one append at a time (on SQLite there is one writer)."""
        connection.execute(sa.select(SCHEMA.ledger.c.id).with_for_update())
        sources = SCHEMA.sources
        latest = connection.scalar(sa.select(sa.func.max(sources.c.sequence))) or 0
        row = {"sequence": latest + 1, "files": json.dumps(source.files), "appended_at": at}
        row |= {"mapping_sha256": source.mapping_sha256, "added": "{}", "superseded": "{}"}
        connection.execute(sources.insert(), row)
        return int(latest + 1)

    def _judge(
        self, connection: sa.Connection, name: str, columns: Arrays, appended_at: int
    ) -> Verdict:
        """Tell what each row is to the store."""
        key = TABLES[name].key
        hashes = content_hash(name, columns)
        if hashes.size == 0 or self._is_empty(connection, name):
            return judge(columns, hashes, NOTHING_HERE, appended_at)
        customers, keys = columns["customer_id"], columns[key]
        here = Here(*self._look_up(connection, self._queries.versions(name), customers, keys))
        verdict = judge(columns, hashes, here, appended_at)
        if key != "customer_id":
            new, query = np.flatnonzero(verdict.new), self._queries.elsewhere(name)
            (elsewhere,) = self._look_up(connection, query, customers[new], keys[new])
            move(verdict, new[elsewhere])
        return verdict

    def _look_up(
        self,
        connection: sa.Connection,
        query: Prepared,
        customers: NDArray[np.object_],
        keys: NDArray[np.object_],
    ) -> list[NDArray[np.int64]]:
        """Run a query on given keys; its first column is the key's place among them."""
        cursor = connection.connection.cursor()
        found = [np.empty((0, query.width), np.int64)]
        for start in range(0, keys.size, ROWS_A_CHUNK):
            chunk = slice(start, start + ROWS_A_CHUNK)
            given = key_parameters(self._dialect, customers[chunk], keys[chunk])
            rows = query.run(cursor, given).fetchall()
            numbers = np.array(rows, np.int64).reshape(-1, query.width)
            numbers[:, 0] += start
            found.append(numbers)
        return list(np.concatenate(found).T)

    def _write(
        self,
        connection: sa.Connection,
        name: str,
        columns: Arrays,
        verdict: Verdict,
        sequence: int,
    ) -> None:
        """Insert new rows and new versions; note on the replaced ones until when they counted."""
        key, again, write = TABLES[name].key, verdict.corrects, verdict.to_write
        if again.any():
            replaced = {"customer": columns["customer_id"], "its_key": columns[key]}
            replaced |= {"until": verdict.since_at, "by": np.full(again.size, sequence)}
            replaced = {parameter: values[again] for parameter, values in replaced.items()}
            update_many(connection, self._queries.supersede(name), replaced)
        if write.any():
            rows = {column: columns[column] for column in TABLES[name].columns}
            rows |= {column: getattr(verdict, column) for column in WRITTEN}
            rows = {column: values[write] for column, values in rows.items()}
            n = int(write.sum())
            rows |= {"until_at": np.full(n, FOREVER), "superseded_sequence": np.full(n, FOREVER)}
            rows |= {"sequence": np.full(n, sequence)}
            with self._index_last(connection, name):
                insert(connection, SCHEMA.facts[name], rows)

    @contextmanager
    def _index_last(self, connection: sa.Connection, name: str) -> Iterator[None]:
        """Make the index of a table that is still empty after its rows: sorting is faster."""
        index, is_first = SCHEMA.current(name), self._is_empty(connection, name)
        if is_first:
            index.drop(connection)
        yield
        if is_first:
            index.create(connection)

    def _is_empty(self, connection: sa.Connection, name: str) -> bool:
        anything = sa.select(1).select_from(SCHEMA.facts[name]).limit(1)
        return connection.scalar(anything) is None

    def _note(
        self,
        connection: sa.Connection,
        facts: Facts,
        verdicts: dict[str, Verdict],
        appended: Appended,
    ) -> None:
        """Note what the append added, and how far the ledger reaches now."""
        sources, ledger = SCHEMA.sources, SCHEMA.ledger
        this = sources.update().where(sources.c.sequence == appended.sequence)
        counts = {"added": appended.added, "superseded": appended.superseded}
        connection.execute(this, {column: json.dumps(n) for column, n in counts.items()})
        fresh = {name: _written(facts[name], verdict) for name, verdict in verdicts.items()}
        last = _last_day(fresh)
        first = first_day(
            {n: {**rows, "recorded_at": rows["since_at"]} for n, rows in fresh.items()}
        )
        earlier = ledger.update().where(ledger.c.observed_from > first)
        connection.execute(earlier, {"observed_from": first})
        connection.execute(ledger.update().where(ledger.c.last_day < last), {"last_day": last})

    def _note_peers(
        self, connection: sa.Connection, customers: NDArray[np.object_], sequence: int
    ) -> None:
        """Note what the append changes of how peers pay."""
        cursor = connection.connection.cursor()
        insert(connection, SCHEMA.peer_days, changed_by(cursor, self._queries, customers, sequence))

    # --- Read ----------------------------------------------------------------------------

    def read(
        self,
        customer_id: str | None = None,
        known_at: int | None = None,
        sequence: int | None = None,
        *,
        customers: tuple[str, str] | None = None,
        versions: bool = False,
        columns: Columns = ALL_COLUMNS,
    ) -> Facts:
        """Read facts: of each the version that counts, or all versions.

        Parameters
        ----------
        customer_id : str, optional
            Only this customer's.
        known_at : int, optional
            As known just before this instant, in microseconds since 1970 (UTC).
        sequence : int, optional
            As the store was when this was its last append.
        customers : tuple of (str, str), optional
            Only those of the customers from the first to the last of these.
        versions : bool, default False
            All versions, each from ``since_at`` until ``until_at``; else the one that counts.
        columns : mapping of str to sequence of str, default all
            Columns by table; :data:`READ_COLUMNS` leaves out those that no feature reads.

        Returns
        -------
        Facts
            Columns by table, rows sorted by customer, key and version. ``recorded_at`` is the
            instant at which the fact was first known, whatever the version; ``until_at`` is
            ``FOREVER`` where no other version counts by then.
        """
        scope, values = "all", dict[str, Any](NOW)
        if customer_id is not None:
            scope, values["customer"] = "one", customer_id
        elif customers is not None:
            scope, (values["first"], values["last"]) = "from_to", customers
        if known_at is not None:
            values["known_at"] = known_at
        if sequence is not None:
            values["sequence"] = sequence
        queries = self._queries.rows(scope, columns, versions=versions)
        with reading(self._readers) as cursor:
            if scope == "one":
                texts = [query for query, _ in queries.values()]
                return few_rows(queries, run_all(cursor, texts, values))
            return {name: read_rows(cursor, *query, values) for name, query in queries.items()}

    def snapshot(
        self,
        customer_id: str,
        known_at: int,
        columns: Columns = READ_COLUMNS,
        sequence: int | None = None,
    ) -> Snapshot:
        """Read one customer as known at an instant, in all versions, with the ledger, at once.

        With a `sequence`, as the store was when this was its last append, but for the ledger.
        """
        values = {**NOW, "known_at": known_at, "customer": customer_id}
        if sequence is not None:
            values["sequence"] = sequence
        queries = self._queries.rows("one", columns, versions=True)
        texts = [self._queries.described(), *(query for query, _ in queries.values())]
        with reading(self._readers) as cursor:
            (described,), *found = run_all(cursor, texts, values)
        last, *ledger = described
        seen = last if sequence is None else sequence
        return Snapshot(seen, Described(*ledger), few_rows(queries, found))

    def peers(self, sequence: int | None = None) -> PeerDays:
        """Read how others of each sector and country paid, by day.

        Parameters
        ----------
        sequence : int, optional
            As the store was when this was its last append.
        """
        with self._one_at_a_time:
            if sequence is not None and sequence == self._peers.sequence:
                return self._peers.table
            return self._read_peers(sequence)

    def _read_peers(self, sequence: int | None) -> PeerDays:
        with reading(self._readers) as cursor:
            upto = self._describe(cursor)[0] if sequence is None else sequence
            return self._peers.at(cursor, self._queries.peer_changes(), upto)

    def members(
        self, group: str, known_at: int | None = None, sequence: int | None = None
    ) -> list[str]:
        """Find the customers of a group of companies, ascending; ask only where there is a group.

        Parameters
        ----------
        group : str
            The ``value`` of the change.
        known_at : int, optional
            As known just before this instant, in microseconds since 1970 (UTC): by the last change
            of each customer's group dated until that day and recorded before the instant.
        sequence : int, optional
            As the store was when this was its last append.
        """
        at = NOW["known_at"] if known_at is None else known_at
        upto = NOW["sequence"] if sequence is None else sequence
        values = {"known_at": at, "sequence": upto, "day": at // MICROSECONDS_A_DAY}
        with reading(self._readers) as cursor:
            given = {**values, "group_name": group}
            rows = self._queries.group_changes().run(cursor, given).fetchall()
        last = dict(rows)  # in the order of time
        return [customer for customer, value in last.items() if value == group]

    def customer_shards(self, n_invoices_a_shard: int) -> list[tuple[str, str]]:
        """Cut the customers, in their order, into shards of about so many invoices.

        Returns
        -------
        list of tuple of (str, str)
            First and last customer of each shard: no more invoices, and no more customers, than
            asked, but for a single customer who has more.
        """
        with reading(self._readers) as cursor:
            rows = [
                row
                for part in all_rows(self._queries.invoices_by_customer().run(cursor, {}))
                for row in part
            ]
        total = np.cumsum([max(n, 1) for _, n in rows])
        shards, first = [], 0
        while first < len(rows):
            most = n_invoices_a_shard + (total[first - 1] if first else 0)
            end = max(int(np.searchsorted(total, most, side="right")), first + 1)
            shards.append((rows[first][0], rows[end - 1][0]))
            first = end
        return shards

    def count_customers(self) -> int:
        """Count the customers here."""
        customers = SCHEMA.facts["customers"]
        counted = sa.select(sa.func.count()).where(customers.c.until_at == FOREVER)
        with self._readers.connect() as connection:
            return int(connection.execute(counted).scalar_one())

    def known(self) -> Known:
        """Return all customers and invoices here; :meth:`known_of` reads only those of a file."""
        with reading(self._readers) as cursor:
            customers = self._queries.keys("customers").run(cursor, {}).fetchall()
            invoices = self._queries.keys("invoices").run(cursor, {}).fetchall()
        return _known([customer for customer, _ in customers], invoices)

    def known_of(self, customer_ids: Collection[str], invoice_ids: Collection[str]) -> Known:
        """Return those of these customers and invoices that are here, with the debtors."""
        invoices = self._find_keys("invoices", invoice_ids)
        wanted = {*customer_ids, *(debtor for _, debtor in invoices)}
        return _known([customer for customer, _ in self._find_keys("customers", wanted)], invoices)

    def _find_keys(self, name: str, keys: Collection[str]) -> list[tuple[str, str]]:
        found, wanted = [], np.array(sorted(keys), object)
        with reading(self._readers) as cursor:
            for start in range(0, wanted.size, ROWS_A_CHUNK):
                part = wanted[start : start + ROWS_A_CHUNK]
                given = key_parameters(self._dialect, part, part)
                found += self._queries.found(name).run(cursor, given).fetchall()
        return found

    def data_sha256(self) -> str:
        """Hash of every version of every fact: what it says and since when.

        It does not depend on the number or the order of the imports, as far as these do not change
        what is known since when: a correction that does not say when it was recorded counts from
        its import.
        """
        digest = hashlib.sha256()
        with reading(self._readers) as cursor:
            for name in TABLES:
                digest.update(name.encode())
                for rows in all_rows(self._queries.hashes(name).run(cursor, {})):
                    digest.update(np.array(rows, "<i8").tobytes())
        return digest.hexdigest()


def _known(customers: list[str], invoices: list[tuple[str, str]]) -> Known:
    ids, debtors = zip(*invoices, strict=True) if invoices else ((), ())
    debtor_of = pd.Series(debtors, index=pd.Index(ids, dtype="str"), dtype="str")
    return Known(pd.Index(customers, dtype="str"), debtor_of)


def _sum_up(sequence: int, verdicts: dict[str, Verdict], rejects: list[pd.DataFrame]) -> Appended:
    def count(mask: str) -> dict[str, int]:
        return {name: int(getattr(verdict, mask).sum()) for name, verdict in verdicts.items()}

    aside = pd.concat(rejects, ignore_index=True)
    counts = (count("new"), count("corrects"), count("already_there"))
    outcomes = {name: verdict.outcome for name, verdict in verdicts.items()}
    return Appended(sequence, *counts, aside, outcomes)


def _touched(facts: Facts, verdicts: dict[str, Verdict]) -> NDArray[np.object_]:
    """Give the customers of whom something was written that their payments hang on."""
    names = [facts[name]["customer_id"][verdicts[name].to_write] for name in NEEDED]
    return np.array(sorted(set(np.concatenate(names).tolist())), object)


def _written(columns: Arrays, verdict: Verdict) -> Arrays:
    written = verdict.to_write
    rows = {**columns, "since_at": verdict.since_at, "recorded_at": verdict.recorded_at}
    return {column: values[written] for column, values in rows.items()}


def _last_day(facts: Facts) -> int:
    recorded = [facts[name]["recorded_at"] // MICROSECONDS_A_DAY for name, _ in HAPPENED]
    days = [facts[name][happened] for name, happened in HAPPENED]
    return int(max(array.max(initial=0) for array in recorded + days))


def _names_moved(columns: Arrays, facts: Facts, verdicts: dict[str, Verdict]) -> NDArray[np.bool_]:
    """Find the rows that name an invoice of this append that turned out to be another customer's.

    The checks knew the store of a moment before; an append since then may have taken the number.
    """
    invoices, moved = facts["invoices"], verdicts["invoices"].moved
    pairs = [(of["invoice_id"].tolist(), of["customer_id"].tolist()) for of in (invoices, columns)]
    refused = {
        pair for pair, is_moved in zip(zip(*pairs[0], strict=True), moved, strict=True) if is_moved
    }
    return np.array([pair in refused for pair in zip(*pairs[1], strict=True)], bool)


def _refused(ledger: Ledger, name: str, columns: Arrays, verdict: Verdict) -> pd.DataFrame:
    """List the rows that give another customer a number that is his, or name such an invoice."""
    key, faults = TABLES[name].key, [_NO_REJECTS]
    for mask, column, reason in (
        (verdict.moved, key, "belongs_to_another_customer"),
        (verdict.orphaned, "customer_id", "not_the_invoiced_customer"),
    ):
        if not mask.any():
            continue
        rows = ledger[name][ledger[name][key].isin(columns[key][mask])]
        written = [row.to_json(date_format="iso") for _, row in rows.iterrows()]
        said = {"table": name, "column": column, "reason": reason}
        faults.append(pd.DataFrame({**said, "row": written, "label": rows.index}))
    return pd.concat(faults, ignore_index=True)
