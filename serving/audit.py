"""The record: each assessment's exact bytes, durable before the answer leaves, append-only.

An entry's leaf hash is SHA-256 over a zero byte and the stored bytes (RFC 6962), so that checking
one never needs to write it again the same way.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass

import sqlalchemy as sa

from features.store import connect, writing
from features.store_database import reading

_metadata = sa.MetaData()
_entries = sa.Table(
    "entries",
    _metadata,
    sa.Column("sequence", sa.Integer, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("leaf_hash", sa.Text, nullable=False),
    sa.Column("recorded_at", sa.BigInteger, nullable=False),
)
_overrides = sa.Index(  # so that asking whether there is one costs nothing where there are none
    "entries_override", _entries.c.sequence, sqlite_where=sa.text("kind = 'override'")
)
_IS_THERE = "WHEN EXISTS (SELECT 1 FROM entries WHERE sequence = NEW.sequence OR id = NEW.id)"
for _verb, _when in (
    ("UPDATE", ""),
    ("DELETE", ""),
    ("INSERT", _IS_THERE),  # INSERT OR REPLACE deletes without a DELETE trigger
):
    sa.event.listen(
        _entries,
        "after_create",
        sa.DDL(  # type: ignore[no-untyped-call]
            f"CREATE TRIGGER entries_no_{_verb.lower()} BEFORE {_verb} ON entries {_when} "
            "BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END"
        ).execute_if(dialect="sqlite"),
    )
_OVERRIDES_AFTER = (
    "SELECT sequence, id, kind, body, leaf_hash FROM entries "
    "WHERE kind = 'override' AND sequence > ? ORDER BY sequence"
)


@dataclass(frozen=True)
class Entry:
    """One recorded thing.

    Attributes
    ----------
    sequence : int
        Its place in the record, from 1.
    id : str
    kind : str
        ``assessment``, or ``override``: a person's decision instead of the policy's.
    body : bytes
        UTF-8 JSON, exactly as recorded.
    leaf_hash : str
        RFC 6962 leaf hash of the body.
    """

    sequence: int
    id: str
    kind: str
    body: bytes
    leaf_hash: str


class Record:
    """The append-only record.

    Parameters
    ----------
    url : str
        SQLAlchemy URL of its database.
    """

    def __init__(self, url: str) -> None:
        self._engine = connect(url)
        with writing(self._engine) as connection:  # one of several starting workers makes it
            _metadata.create_all(connection)
            _overrides.create(connection, checkfirst=True)  # a record of before has none

    def append(self, id: str, kind: str, body: bytes) -> Entry:
        """Add an entry; it is on disk when this returns.

        Raises
        ------
        sqlalchemy.exc.SQLAlchemyError
            If it could not be written: then nothing may be answered.
        """
        digest, now = leaf_hash(body), time.time_ns() // 1000
        row = {"id": id, "kind": kind, "body": body, "leaf_hash": digest, "recorded_at": now}
        with writing(self._engine) as connection:
            added = _entries.insert().returning(_entries.c.sequence)
            sequence = connection.execute(added, row).scalar_one()
        return Entry(sequence, id, kind, body, digest)

    def find(self, id: str) -> Entry | None:
        """Return an entry by its identifier, if there is one."""
        columns = [c for c in _entries.c if c.name != "recorded_at"]
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(*columns).where(_entries.c.id == id)).first()
        return None if row is None else Entry(**row._mapping)

    def overrides_after(self, sequence: int) -> list[Entry]:
        """Return the overrides after a place of the record, in its order."""
        with reading(self._engine) as cursor:
            rows = cursor.execute(_OVERRIDES_AFTER, (sequence,)).fetchall()
        return [Entry(*row) for row in rows]


def leaf_hash(body: bytes) -> str:
    """Hash the bytes of an entry as a leaf of a Merkle tree (RFC 6962, section 2.1)."""
    return hashlib.sha256(b"\x00" + body).hexdigest()
