"""The record: each entry's exact bytes, durable before an answer leaves, append-only.

An entry's leaf hash is SHA-256 over a zero byte and the stored bytes (RFC 6962), so that checking
one never needs to write it again the same way. SQLite by default, PostgreSQL by its URL.

Entries that wait while another one is being written share the next commit: the first to get the
lock writes them all (group commit). Under load one fsync carries as many answers as there are
threads; alone, an entry waits for nobody.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, NamedTuple

import sqlalchemy as sa
import structlog

from features.store import connect, writing
from features.store_database import Prepared, reading, why
from features.store_persons import empty_log
from models.workspace import Workspace
from serving.limits import RECORD_WAIT_SECONDS, TROUBLE_SECONDS
from serving.person_key import Erased, key_named
from serving.persons import Persons
from serving.subjects import PLACES, customer_of

ENTRIES_A_COMMIT = 256
_metadata = sa.MetaData()
_SEQUENCE = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite numbers only INTEGER keys
_entries = sa.Table(
    "entries",
    _metadata,
    sa.Column("sequence", _SEQUENCE, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("leaf_hash", sa.Text, nullable=False),
    sa.Column("recorded_at", sa.BigInteger, nullable=False),
)
_requests = sa.Table(
    "requests",
    _metadata,
    sa.Column("client", sa.Text, primary_key=True),
    sa.Column("key_hash", sa.Text, primary_key=True),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("entry_id", sa.Text),  # the answer is this entry's, or else `answer`
    sa.Column("status", sa.Integer),
    sa.Column("answer", sa.LargeBinary),
    sa.Column("recorded_at", sa.BigInteger, nullable=False),
)
_subjects = sa.Table(  # whom an entry is about, for look-up: its body says it, and is the source
    "subjects",
    _metadata,
    sa.Column("sequence", _SEQUENCE, primary_key=True, autoincrement=False),
    sa.Column("customer_id", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Index("subjects_customer", "customer_id", "kind", "sequence"),
)
_RARE = "kind <> 'assessment'"
_rare = sa.Index(  # asking for what is not an assessment costs nothing where there is none
    "entries_rare",
    _entries.c.kind,
    _entries.c.sequence,
    sqlite_where=sa.text(_RARE),
    postgresql_where=sa.text(_RARE),
)
_APPEND_ONLY = "the record is append-only"


def _forbid_changes(table: sa.Table, is_there: str) -> None:
    """Let the database itself refuse to change or remove what is recorded."""
    for verb, when in (
        ("UPDATE", ""),
        ("DELETE", ""),
        ("INSERT", f"WHEN EXISTS ({is_there})"),  # INSERT OR REPLACE deletes without that trigger
    ):
        trigger = (
            f"CREATE TRIGGER {table.name}_no_{verb.lower()} BEFORE {verb} ON {table.name} {when} "
            f"BEGIN SELECT RAISE(ABORT, '{_APPEND_ONLY}'); END"
        )
        _after_create(table, trigger, "sqlite")
    _after_create(
        table,
        "CREATE OR REPLACE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{_APPEND_ONLY}'; END $$",
        "postgresql",
    )
    for name, each in (("change", "UPDATE OR DELETE"), ("truncate", "TRUNCATE")):
        trigger = (
            f"CREATE TRIGGER {table.name}_no_{name} BEFORE {each} ON {table.name} "
            "FOR EACH STATEMENT EXECUTE FUNCTION append_only()"
        )
        _after_create(table, trigger, "postgresql")


def _after_create(table: sa.Table, statement: str, dialect: str) -> None:
    ddl = sa.DDL(statement.replace("%", "%%")).execute_if(dialect=dialect)  # type: ignore[no-untyped-call]
    sa.event.listen(table, "after_create", ddl)


_forbid_changes(_entries, "SELECT 1 FROM entries WHERE sequence = NEW.sequence OR id = NEW.id")
_forbid_changes(
    _requests, "SELECT 1 FROM requests WHERE client = NEW.client AND key_hash = NEW.key_hash"
)
_forbid_changes(_subjects, "SELECT 1 FROM subjects WHERE sequence = NEW.sequence")


_COLUMNS = [column for column in _entries.c if column.name != "recorded_at"]
_ADD = (
    _entries.insert()
    .values(
        {name: sa.bindparam(name) for name in ("id", "kind", "body", "leaf_hash", "recorded_at")}
    )
    .returning(_entries.c.sequence)
)
_ADD_SUBJECT = _subjects.insert()
_LATER = (
    sa.select(*_COLUMNS)
    .where(sa.literal_column(_RARE), _entries.c.kind == sa.bindparam("kind"))
    .where(_entries.c.sequence > sa.bindparam("sequence"))
    .order_by(_entries.c.sequence)
)
_OF_CUSTOMER = (
    sa.select(*_COLUMNS)
    .join_from(_subjects, _entries, _subjects.c.sequence == _entries.c.sequence)
    .order_by(_subjects.c.sequence.desc())
)
_ANSWER = sa.select(*_requests.c, *_COLUMNS).outerjoin_from(
    _requests, _entries, _requests.c.entry_id == _entries.c.id
)
_CLAIM = sa.text(  # one statement for both databases, whose triggers see no row that is there
    "INSERT INTO requests "
    "(client, key_hash, fingerprint, entry_id, status, answer, recorded_at) "
    "SELECT :client, :key_hash, :fingerprint, :entry_id, :status, :answer, :recorded_at "
    "WHERE NOT EXISTS "
    "(SELECT 1 FROM requests WHERE client = :client AND key_hash = :key_hash) "
    "ON CONFLICT DO NOTHING"
)
_FILL = sa.text(  # another process may have written an entry, and whom it is about, meanwhile
    "INSERT INTO subjects (sequence, customer_id, kind) VALUES (:sequence, :customer_id, :kind) "
    "ON CONFLICT DO NOTHING"
)
_IN_ORDER = sa.text("SELECT pg_advisory_xact_lock(hashtext('encours record in order'))")
_FREE = {"entry_id": None, "status": None, "answer": None}
ENTRIES_A_READ = 1_000
_HIDDEN = "person "  # begins the fingerprint of a request about a natural person
log = structlog.get_logger()


class TooLate(Exception):
    """The caller was told that there is no answer: nothing is recorded for it any more."""


class Unwritable(sa.exc.SQLAlchemyError):
    """The last commit failed, and another thread is finding out whether the next one does."""


class AnotherRequest(Exception):
    """The idempotency key was used before, for another request."""


class Once(NamedTuple):
    """A request that is answered once, however often it is sent.

    Attributes
    ----------
    client : str
        Whose key it is: two clients may choose the same.
    key_hash : str
        SHA-256 of the ``Idempotency-Key``.
    fingerprint : str
        SHA-256 of method, path and body: the same key with another one is a mistake.
    """

    client: str
    key_hash: str
    fingerprint: str


class Kept(NamedTuple):
    """An answer that is no entry: the status and the exact bytes."""

    status: int
    body: bytes


@dataclass(frozen=True)
class Entry:
    """One recorded thing.

    Attributes
    ----------
    sequence : int
        Its place in the record, from 1.
    id : str
    kind : str
        ``assessment``; ``batch``, a call that asked for many of them; ``portfolio``, a file of
        scores that was made; ``override``, a person's decision instead of the policy's; ``key``, an
        API key made or revoked; ``alert``, what the service or a person says of a customer's
        degrading; ``contest``, facts that were corrected, with the answers before and after;
        ``erasure``, a person's data made unreadable; ``promotion``, curves or a policy proposed,
        put in charge or put back.
    body : bytes
        UTF-8 JSON.
    leaf_hash : str
        RFC 6962 leaf hash of what is recorded.
    recorded : bytes or None
        What is recorded where that is not the body: one about a natural person is encrypted.
    person : str or None
        The id of the key that it is encrypted by.
    """

    sequence: int
    id: str
    kind: str
    body: bytes
    leaf_hash: str
    recorded: bytes | None = None
    person: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether what is recorded is what its leaf hash was made from."""
        recorded = self.body if self.recorded is None else self.recorded
        return leaf_hash(recorded) == self.leaf_hash


class New(NamedTuple):
    """What is to be recorded; see :class:`Entry`.

    `is_person` says whether it is about a natural person, where that is known already; `in_ledger`
    whether the customer is to be one of the ledger, which a prospect is not; `about` is the
    customer, where who writes it knows, and is else read out of the body.
    """

    id: str
    kind: str
    body: bytes
    is_person: bool | None = None
    in_ledger: bool = True
    about: str | None = None


class _Waiting:
    """Entries that wait to be written together, then their places, or what went wrong."""

    def __init__(
        self, new: Sequence[New], once: Once | None, deadline: float, persons: Persons
    ) -> None:
        self.new, self.once, self.deadline = new, once, deadline
        self.drafts = [_drafted(one, persons) for one in new]  # outside the transaction
        if once is not None:
            self.once = hidden(once, persons, self.drafts[-1].person)
        self.entries: list[Entry] | None = None
        self.error: Exception | None = None

    @property
    def is_done(self) -> bool:
        return self.entries is not None or self.error is not None


class Record:
    """The append-only record.

    Parameters
    ----------
    url : str
        SQLAlchemy URL of its database.
    persons : Persons, optional
        By whose keys what is about natural persons is encrypted; by default nobody is one.
    """

    def __init__(self, url: str, persons: Persons | None = None) -> None:
        self.persons = persons or Persons()
        self._engine = connect(url, wait_seconds=RECORD_WAIT_SECONDS)
        self._failed: tuple[float, str] | None = None
        self._later, self._add, self._add_subject = (
            Prepared(query, self._engine.dialect) for query in (_LATER, _ADD, _ADD_SUBJECT)
        )
        self._waiting: deque[_Waiting] = deque()
        self._committing = Lock()
        try:
            self._make()
        except Exception:
            self.close()  # SQLite keeps a file read-only while any connection to it is open
            raise

    @classmethod
    def of(cls, workspace: Workspace) -> Record:
        """Open the record of a workspace."""
        return cls(workspace.record_url, Persons.of(workspace))

    def _make(self) -> None:
        with writing(self._engine) as connection:  # one of several starting workers makes it
            if self._engine.dialect.name == "postgresql":
                alone = sa.func.pg_advisory_xact_lock(sa.func.hashtext("encours record"))
                connection.execute(sa.select(alone))
            _metadata.create_all(connection)
            _rare.create(connection, checkfirst=True)  # a record of before has none
            filled = sum(_fill_subjects(connection))
        if filled:
            log.info("record_subjects_filled", rows=filled)

    def close(self) -> None:
        """Close its connections; they are made again when they are needed."""
        self._engine.dispose()

    def append(
        self,
        id: str,
        kind: str,
        body: bytes,
        once: Once | None = None,
        deadline: float = float("inf"),
    ) -> Entry:
        """Add an entry; it is on disk when this returns.

        Parameters
        ----------
        id, kind : str
        body : bytes
        once : Once, optional
            The request that it answers; when that was answered meanwhile, that answer is returned.
        deadline : float, optional
            On the clock of :func:`time.monotonic`; after it nothing is written.

        Raises
        ------
        TooLate, AnotherRequest, Erased
        sqlalchemy.exc.SQLAlchemyError
            If it could not be written: then nothing may be answered.
        """
        return self.append_many([New(id, kind, body)], once, deadline)[0]

    def append_many(
        self, new: Sequence[New], once: Once | None = None, deadline: float = float("inf")
    ) -> list[Entry]:
        """Add entries in their order, all or none; they are on disk when this returns.

        Parameters
        ----------
        new : sequence of New
            At least one; the last is the answer to `once`.
        once, deadline
            As in :meth:`append`; of a request that was answered meanwhile, that answer alone is
            returned.

        Raises
        ------
        TooLate, AnotherRequest, Erased, sqlalchemy.exc.SQLAlchemyError
            As :meth:`append`.
        """
        if self._failed is not None and self._committing.locked():
            raise Unwritable(self._failed[1])  # one waits for the disk, not all threads
        mine = _Waiting(new, once, deadline, self.persons)
        self._waiting.append(mine)
        while not mine.is_done:
            with self._committing:
                if not mine.is_done:
                    self._commit_waiting()
        if mine.error is not None:
            raise mine.error
        assert mine.entries is not None  # noqa: S101 (for the type checker)
        return mine.entries

    def _commit_waiting(self) -> None:
        """Write all that wait in one transaction: all are on disk, or none."""
        together, size = [], 0
        while self._waiting and size < ENTRIES_A_COMMIT:
            together.append(self._waiting.popleft())
            size += len(together[-1].new)
        together.sort(key=lambda one: one.once or ())  # two processes must not wait for each other
        written: list[tuple[_Waiting, list[Entry] | Exception]] = []
        try:
            with writing(self._engine) as connection:
                if self._must_be_in_order(together):
                    connection.execute(_IN_ORDER)
                written = [(one, self._write(connection, one)) for one in together]
            self._failed = None
        except Exception as error:  # noqa: BLE001 (each who waits raises it)
            written = [(one, error) for one in together]
            self._engine.dispose()  # after a failed fsync nothing of a connection can be trusted
            self._note(error)
        for one, outcome in written:
            if isinstance(outcome, list):
                one.entries = outcome
            else:
                one.error = outcome

    def _must_be_in_order(self, together: list[_Waiting]) -> bool:
        """Tell whether who reads :meth:`after` a place could miss one that is written before it.

        PostgreSQL gives a number when an entry is written and shows it when it is committed.
        """
        is_read_in_order = any(new.kind != "assessment" for one in together for new in one.new)
        return is_read_in_order and self._engine.dialect.name == "postgresql"

    def _note(self, error: Exception) -> None:
        """Remember that the database fails; what it refuses by its rules is no failure of it."""
        refused = isinstance(error, sa.exc.IntegrityError)
        if isinstance(error, sa.exc.SQLAlchemyError) and not refused:
            self._failed = time.monotonic(), why(error)  # not the error: it holds connections open
            self.close()

    def trouble(self) -> str | None:
        """Say why nothing can be recorded now, ``None`` where something can."""
        failed = self._failed
        if failed is not None and time.monotonic() - failed[0] < TROUBLE_SECONDS:
            return failed[1]
        try:
            with writing(self._engine) as connection:  # on SQLite this takes the place of a writer
                connection.execute(sa.select(_entries.c.sequence).limit(1)).first()
        except sa.exc.SQLAlchemyError as error:
            self._note(error)
            return why(error)
        return None

    def _write(self, connection: sa.Connection, one: _Waiting) -> list[Entry] | Exception:
        if time.monotonic() > one.deadline:
            return TooLate()
        now = time.time_ns() // 1000
        claimed = {"entry_id": one.new[-1].id, "recorded_at": now}
        if one.once is not None and not _claim(connection, one.once, claimed):
            return self._earlier(connection, one.once)
        cursor, entries = connection.connection.cursor(), []
        for entry, customer_id in one.drafts:
            recorded = entry.body if entry.recorded is None else entry.recorded
            row: dict[str, Any] = {"id": entry.id, "kind": entry.kind, "body": recorded}
            row |= {"leaf_hash": entry.leaf_hash, "recorded_at": now}
            (sequence,) = self._add.run(cursor, row).fetchone()
            entries.append(replace(entry, sequence=sequence))
            if customer_id is not None:
                about = {"sequence": sequence, "customer_id": customer_id, "kind": entry.kind}
                self._add_subject.run(cursor, about)
        return entries

    def find(self, id: str) -> Entry | None:
        """Return an entry by its identifier, if there is one.

        Raises
        ------
        Erased, Undecipherable
        """
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(*_COLUMNS).where(_entries.c.id == id)).first()
        return None if row is None else readable(Entry(**row._mapping), self.persons)

    def find_many(self, ids: Sequence[str]) -> list[Entry | Erased]:
        """Return the entries of identifiers, in the order asked; each must be there."""
        found: dict[str, Entry | Erased] = {}
        with self._engine.connect() as connection:
            for begin in range(0, len(ids), ENTRIES_A_COMMIT):
                part = _entries.c.id.in_(ids[begin : begin + ENTRIES_A_COMMIT])
                for row in connection.execute(sa.select(*_COLUMNS).where(part)):
                    found[row.id] = _readable_or_not(Entry(**row._mapping), self.persons)
        return [found[id] for id in ids]

    def after(self, sequence: int, kind: str) -> list[Entry]:
        """Return the entries of a kind that is not ``assessment`` after a place, in its order.

        Those about persons who were erased are left out, here and in :meth:`of_customer`.
        """
        with reading(self._engine) as cursor:
            rows = self._later.run(cursor, {"kind": kind, "sequence": sequence}).fetchall()
        return self._readable(Entry(*row) for row in rows)

    def of_customer(
        self, customer_id: str, kind: str, limit: int, before: int | None = None
    ) -> list[Entry]:
        """Return the last entries of a kind about a customer, newest first.

        Parameters
        ----------
        customer_id, kind : str
        limit : int
            The most to return.
        before : int, optional
            Only those that stand before this place.
        """
        names = self.persons.names_of(customer_id)
        about = _subjects.c.customer_id.in_(names), _subjects.c.kind == kind
        query = _OF_CUSTOMER.where(*about).limit(limit)
        if before is not None:
            query = query.where(_subjects.c.sequence < before)
        with self._engine.connect() as connection:
            return self._readable(Entry(**row._mapping) for row in connection.execute(query))

    def count_about(self, name: str) -> int:
        """Count the entries about a customer: of his number in clear, or of his key's id."""
        about = sa.select(sa.func.count()).where(_subjects.c.customer_id == name)
        with self._engine.connect() as connection:
            return int(connection.execute(about).scalar_one())

    def places_about(self, name: str, kind: str) -> list[tuple[int, str]]:
        """Return place and id of the entries of a kind about a customer, in their order."""
        about = _subjects.c.customer_id == name, _subjects.c.kind == kind
        query = sa.select(_entries.c.sequence, _entries.c.id).join_from(
            _subjects, _entries, _subjects.c.sequence == _entries.c.sequence
        )
        with self._engine.connect() as connection:
            found = connection.execute(query.where(*about).order_by(_entries.c.sequence))
            return [(row.sequence, row.id) for row in found]

    def empty_log(self) -> None:
        """Empty SQLite's write-ahead log: what stands there stands in the file too."""
        empty_log(self._engine)

    def _readable(self, entries: Iterable[Entry]) -> list[Entry]:
        found = (_readable_or_not(entry, self.persons) for entry in entries)
        return [one for one in found if isinstance(one, Entry)]

    def answered(self, once: Once) -> Entry | Kept | None:
        """Return what the request was answered before, if it was.

        Raises
        ------
        AnotherRequest, Erased
        """
        with self._engine.connect() as connection:
            return self._answer_of(connection, once)

    def keep(self, once: Once, status: int, answer: bytes, about: str | None = None) -> Kept:
        """Keep an answer that is no entry, for ever; if there is one already, return that.

        Parameters
        ----------
        once, status, answer
        about : str, optional
            The customer that the answer tells of.

        Raises
        ------
        AnotherRequest, Erased
        """
        key = None if about is None else self.persons.key_for(about)
        kept = answer if key is None else key.encrypt(_of_request(once), answer)
        values: dict[str, Any] = {"status": status, "answer": kept}
        values["recorded_at"] = time.time_ns() // 1000
        named = hidden(once, self.persons, None if key is None else key.id)
        with writing(self._engine) as connection:
            if _claim(connection, named, values):
                return Kept(status, answer)
            found = self._answer_of(connection, named)
        if not isinstance(found, Kept):
            raise AnotherRequest
        return found

    def _earlier(self, connection: sa.Connection, once: Once) -> list[Entry] | Exception:
        """Return the entry that answered the request before, or what is wrong with asking again."""
        try:
            found = self._answer_of(connection, once)
        except (AnotherRequest, Erased) as error:
            return error
        return [found] if isinstance(found, Entry) else AnotherRequest()

    def _answer_of(self, connection: sa.Connection, once: Once) -> Entry | Kept | None:
        row = connection.execute(_ANSWER.where(*_is(once))).first()
        if row is None:
            return None
        asked = hidden(once, self.persons, key_named(row.body) or key_named(row.answer))
        if row.fingerprint != asked.fingerprint:
            raise AnotherRequest
        if row.entry_id is None:
            body, _ = self.persons.decrypt(_of_request(once), row.answer)
            return Kept(row.status, body)
        entry = Entry(row.sequence, row.id, row.kind, row.body, row.leaf_hash)
        return readable(entry, self.persons)


class _Draft(NamedTuple):
    """An entry that has no place yet, and whom it is about as the record names them."""

    entry: Entry
    about: str | None

    @property
    def person(self) -> str | None:
        return self.entry.person


def _drafted(new: New, persons: Persons) -> _Draft:
    """Encrypt what is about a natural person, and hash what is to be recorded."""
    customer_id = new.about or customer_of(new.kind, new.body)
    key = None
    if customer_id is not None:
        key = persons.key_for(customer_id, new.is_person, in_ledger=new.in_ledger)
    if key is None:
        entry = Entry(0, new.id, new.kind, new.body, leaf_hash(new.body))
        return _Draft(entry, customer_id)
    recorded = key.encrypt(_of_entry(new.kind, new.id), new.body)
    entry = Entry(0, new.id, new.kind, new.body, leaf_hash(recorded), recorded, key.id)
    return _Draft(entry, key.id)


def readable(entry: Entry, persons: Persons) -> Entry:
    """Decrypt an entry as it was read, if it is about a natural person.

    Raises
    ------
    Erased, Undecipherable
    """
    body, person = persons.decrypt(_of_entry(entry.kind, entry.id), entry.body)
    if person is None:
        return entry
    return replace(entry, body=body, recorded=entry.body, person=person)


def _readable_or_not(entry: Entry, persons: Persons) -> Entry | Erased:
    try:
        return readable(entry, persons)
    except Erased as erased:
        return erased


def hidden(once: Once, persons: Persons, key_id: str | None) -> Once:
    """Name a request about a person so that nobody can try what was asked, without the key."""
    if key_id is None or once.fingerprint.startswith(_HIDDEN):
        return once
    return once._replace(fingerprint=_HIDDEN + persons.key(key_id).hide(once.fingerprint))


def _of_entry(kind: str, id: str) -> str:
    return f"entry {kind} {id}"


def _of_request(once: Once) -> str:
    return f"answer {once.key_hash} {once.client}"


def _fill_subjects(connection: sa.Connection) -> Iterator[int]:
    """Say whom the entries of a record of before are about; give how many rows at a time.

    What is known already is passed over: with nothing new this is one query.
    """
    known = sa.select(sa.func.coalesce(sa.func.max(_subjects.c.sequence), 0))
    last = connection.execute(known).scalar_one()
    columns = _entries.c.sequence, _entries.c.kind, _entries.c.body
    while True:
        later = sa.select(*columns).where(_entries.c.sequence > last)
        found = connection.execute(later.order_by(_entries.c.sequence).limit(ENTRIES_A_READ)).all()
        if not found:
            return
        last = found[-1].sequence
        about = [(row, customer_of(row.kind, row.body)) for row in found if row.kind in PLACES]
        rows = [
            {"sequence": row.sequence, "customer_id": customer_id, "kind": row.kind}
            for row, customer_id in about
            if customer_id is not None
        ]
        if rows:
            connection.execute(_FILL, rows)
        yield len(rows)


def _claim(connection: sa.Connection, once: Once, values: dict[str, Any]) -> bool:
    """Take the key for this request; tell whether it was free."""
    given = {**_FREE, **once._asdict(), **values}
    return bool(connection.execute(_CLAIM, given).rowcount == 1)


def _is(once: Once) -> tuple[sa.ColumnElement[bool], ...]:
    return _requests.c.client == once.client, _requests.c.key_hash == once.key_hash


def leaf_hash(body: bytes) -> str:
    """Hash the bytes of an entry as a leaf of a Merkle tree (RFC 6962, section 2.1)."""
    return hashlib.sha256(b"\x00" + body).hexdigest()
