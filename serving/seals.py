"""What is sealed, in tables beside the record's: leaves in the order of the tree, and checkpoints.

The order of the tree is a number of its own, ``tree_index`` from 0, because on PostgreSQL entries
have gaps and may be committed out of order. On SQLite entry n always has index n - 1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from operator import ge, le, lt
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa

from features.store import connect
from models import key_file
from serving.merkle import Frontier, leaf_hash

_COLUMNS = b"%d %d %d %b %b"
_ROWS_A_BATCH = 1_000
_IN_PARTS = {"yield_per": _ROWS_A_BATCH}
HASH = 32  # bytes

metadata = sa.MetaData()
leaves = sa.Table(
    "leaves",
    metadata,
    sa.Column("tree_index", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("sequence", sa.BigInteger, nullable=False, unique=True),
    sa.Column("leaf_hash", sa.LargeBinary, nullable=False),
    sa.Column("columns_hash", sa.LargeBinary, nullable=False),
)
checkpoints = sa.Table(
    "checkpoints",
    metadata,
    sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("frontier", sa.LargeBinary, nullable=False),  # to go on from, bodies then columns
    sa.Column("sealed_at", sa.BigInteger, nullable=False),
)
_CLAIM = "the record is append-only"
for _table in (leaves, checkpoints):
    _key = next(iter(_table.primary_key)).name
    for _verb, _when in (
        ("UPDATE", ""),
        ("DELETE", ""),
        ("INSERT", f"WHEN EXISTS (SELECT 1 FROM {_table.name} WHERE {_key} = NEW.{_key})"),  # noqa: S608
    ):
        sa.event.listen(
            _table,
            "after_create",
            sa.DDL(  # type: ignore[no-untyped-call]
                f"CREATE TRIGGER {_table.name}_no_{_verb.lower()} BEFORE {_verb} ON {_table.name} "
                f"{_when} BEGIN SELECT RAISE(ABORT, '{_CLAIM}'); END"
            ).execute_if(dialect="sqlite"),
        )
    for _statement in (
        f"CREATE FUNCTION {_table.name}_no_change() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{_CLAIM}'; END $$",
        f"CREATE TRIGGER {_table.name}_no_change BEFORE UPDATE OR DELETE OR TRUNCATE "
        f"ON {_table.name} FOR EACH STATEMENT EXECUTE FUNCTION {_table.name}_no_change()",
    ):
        sa.event.listen(
            _table,
            "after_create",
            sa.DDL(_statement).execute_if(dialect="postgresql"),  # type: ignore[no-untyped-call]
        )
_entries = sa.table(  # the record's own, untyped: whatever stands there is read
    "entries",
    *map(sa.column, ("sequence", "id", "kind", "body", "leaf_hash", "recorded_at")),
)


_STORED = sa.select(checkpoints.c.size, checkpoints.c.note, checkpoints.c.frontier)


class Entry(NamedTuple):
    """A row of the record as it stands there, whatever stands there.

    Attributes
    ----------
    sequence, recorded_at : int
    id, kind : bytes
        UTF-8.
    leaf_hash : bytes
        As the record says it, 64 hexadecimal digits.
    body : bytes
    """

    sequence: int
    recorded_at: int
    id: bytes
    kind: bytes
    leaf_hash: bytes
    body: bytes

    def columns(self) -> bytes:
        """Write what stands beside the body, so that no two entries give the same."""
        return columns(self.sequence, self.recorded_at, self.kind, self.id)


Row = tuple[Any, ...]  # a leaf and its entry, flat: quicker to read by the hundred thousand


class Sealed(NamedTuple):
    """A leaf and what stands at its place of the record now: ``None`` when there is nothing."""

    tree_index: int
    sequence: int
    leaf_hash: bytes
    columns_hash: bytes
    entry: Entry | None

    @classmethod
    def of(cls, row: Row) -> Sealed:
        """Read a row of :meth:`Seals.rows`."""
        return cls(row[0], row[1], row[2], row[3], None if row[4] is None else Entry(*row[4:]))

    def row(self) -> Row:
        """Write it as a row."""
        return (*self[:4], *(self.entry or (None,) * len(Entry._fields)))


class Stored(NamedTuple):
    """A checkpoint as the database has it."""

    size: int
    note: str
    frontier: bytes


class Trees:
    """The two trees, over bodies and over columns, as far as they have grown."""

    def __init__(self, size: int = 0, frontier: bytes = b"") -> None:
        nodes = [frontier[at : at + HASH] for at in range(0, len(frontier), HASH)]
        half = len(nodes) // 2
        self.bodies, self.columns = Frontier(size, nodes[:half]), Frontier(size, nodes[half:])

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.bodies.size

    @property
    def roots(self) -> tuple[bytes, bytes]:
        """Of bodies and of columns."""
        return self.bodies.root(), self.columns.root()

    @property
    def frontier(self) -> bytes:
        """What it takes to go on, as the constructor wants it."""
        return b"".join(self.bodies.hashes + self.columns.hashes)

    def extend(self, bodies: list[bytes], columns: list[bytes]) -> None:
        """Add the leaf hashes of entries."""
        self.bodies.extend(bodies)
        self.columns.extend(columns)


def columns(sequence: int, recorded_at: int, kind: bytes, id: bytes) -> bytes:
    """Write what stands beside a body: ``1 1751447647000000 10 assessment 01981f2e…``.

    The length of the kind stands before it: no other kind and id read the same.
    """
    return _COLUMNS % (sequence, recorded_at, len(kind), kind, id)


def hashes(entry: Entry) -> tuple[bytes, bytes]:
    """Hash an entry's body and its columns.

    Raises
    ------
    TypeError
        If something else than numbers and bytes was written there.
    """
    return leaf_hash(entry.body), leaf_hash(entry.columns())


def hashes_of(rows: Sequence[Row]) -> tuple[list[bytes], list[bytes]]:
    """Hash the bodies and the columns of many rows, as :func:`hashes` does.

    Raises
    ------
    TypeError
        If an entry is not there, or something else than numbers and bytes is.
    """
    sha256 = hashlib.sha256
    bodies = [sha256(b"\x00" + row[9]).digest() for row in rows]
    beside = [(row[4], row[5], len(row[7]), row[7], row[6]) for row in rows]
    return bodies, [sha256(b"\x00" + _COLUMNS % each).digest() for each in beside]


class Seals:
    """The sealed part of a record, in its database.

    Parameters
    ----------
    connection : Connection
        All is read as this transaction sees it.
    """

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._is_sqlite = connection.dialect.name == "sqlite"

    @property
    def is_dense(self) -> bool:
        """Whether entries have no gaps and come in order: on SQLite."""
        return self._is_sqlite

    @property
    def url(self) -> str:
        """The record's database."""
        return self._connection.engine.url.render_as_string(hide_password=False)

    def exist(self) -> bool:
        """Tell whether anything can have been sealed here."""
        return sa.inspect(self._connection).has_table("checkpoints")

    def add(self, sealed: list[Sealed], checkpoint: dict[str, Any]) -> None:
        """Add leaves and the checkpoint over them."""
        rows = [dict(zip(leaves.c.keys(), leaf[:4], strict=True)) for leaf in sealed]
        self._connection.execute(leaves.insert(), rows)
        self._connection.execute(checkpoints.insert(), checkpoint)

    def last(self) -> Stored | None:
        """Return the latest checkpoint."""
        query = _STORED.order_by(checkpoints.c.size.desc()).limit(1)
        row = self._connection.execute(query).first()
        return None if row is None else Stored(*row)

    def checkpoints(self, beyond: int = -1) -> Iterator[Stored]:
        """Give the checkpoints of more than `beyond` entries, by size."""
        query = _STORED.where(checkpoints.c.size > beyond).order_by(checkpoints.c.size)
        with self._connection.execute(query, execution_options=_IN_PARTS) as rows:
            for row in rows:
                yield Stored(*row)

    def count(self) -> int:
        """Count the leaves."""
        return self._one(sa.select(sa.func.count()).select_from(leaves))

    def missing(self) -> int | None:
        """Return the first entry that is sealed and not there, if any."""
        there = sa.exists().where(_entries.c.sequence == leaves.c.sequence)
        query = sa.select(leaves.c.sequence).where(~there).order_by(leaves.c.tree_index).limit(1)
        found: int | None = self._connection.execute(query).scalar()
        return found

    def last_sequence(self) -> int:
        """Return the highest sealed place of the record; 0 when nothing is sealed."""
        return self._one(sa.select(sa.func.coalesce(sa.func.max(leaves.c.sequence), 0)))

    def strays(self, upto: int) -> list[int]:
        """Return the entries up to a place of the record that are not sealed."""
        sealed = sa.exists().where(leaves.c.sequence == _entries.c.sequence)
        query = sa.select(_entries.c.sequence).where(_entries.c.sequence <= upto, ~sealed)
        return list(self._connection.execute(query.order_by(_entries.c.sequence)).scalars())

    def unsealed_places(self, after: int, upto: int) -> list[int]:
        """Return the places of the record of which no entry is sealed, whether there is one."""
        place = leaves.c.sequence
        query = sa.select(place).where(place > after, place <= upto)
        sealed = set(self._connection.execute(query).scalars())
        return [place for place in range(after + 1, upto + 1) if place not in sealed]

    def unsealed(self, after: int) -> tuple[int, int | None]:
        """Count the entries after a place of the record, and tell when the first was recorded."""
        query = sa.select(sa.func.count(), sa.func.min(_entries.c.recorded_at))
        count, since = self._connection.execute(query.where(_entries.c.sequence > after)).one()
        return count, since

    def entries(self, after: int, late: list[int], limit: int) -> list[Entry]:
        """Return entries after a place of the record, in order, and those of `late` places."""
        is_wanted = _entries.c.sequence > after
        if late:
            is_wanted |= _entries.c.sequence.in_(late)
        query = sa.select(*self._entry()).where(is_wanted).order_by(_entries.c.sequence)
        return [Entry(*row) for row in self._connection.execute(query.limit(limit))]

    def sealed(self, begin: int, end: int) -> Iterator[Sealed]:
        """Give leaves in the order of the tree, with what stands in the record."""
        for batch in self.rows(begin, end):
            yield from map(Sealed.of, batch)

    def rows(self, begin: int = 0, end: int | None = None) -> Iterator[list[Row]]:
        """Give leaves in the order of the tree by batches: leaf, then entry or nothing."""
        query = (
            sa.select(*leaves.c, *self._entry())
            .select_from(leaves.outerjoin(_entries, leaves.c.sequence == _entries.c.sequence))
            .where(leaves.c.tree_index >= begin)
            .order_by(leaves.c.tree_index)
        )
        if end is not None:
            query = query.where(leaves.c.tree_index < end)
        if self._is_sqlite:  # the driver alone: SQLAlchemy's rows take as long as the hashes
            text = query.compile(self._connection, compile_kwargs={"literal_binds": True})
            cursor = self._connection.connection.cursor()
            cursor.execute(str(text))
            while rows := list(cursor.fetchmany(_ROWS_A_BATCH)):
                yield rows
            return
        with self._connection.execute(query, execution_options=_IN_PARTS) as result:
            for batch in result.partitions():
                yield [tuple(row) for row in batch]

    def sealed_hashes(self, end: int) -> tuple[list[bytes], list[bytes]]:
        """Return the hashes of the first `end` leaves: of bodies, and of columns."""
        wanted = sa.select(leaves.c.leaf_hash, leaves.c.columns_hash)
        query = wanted.where(leaves.c.tree_index < end).order_by(leaves.c.tree_index)
        rows = self._connection.execute(query).all()
        return [row[0] for row in rows], [row[1] for row in rows]

    def sealed_at(self, leaf: bytes) -> int | None:
        """Return the place of the record at which a body was sealed, if any."""
        query = sa.select(leaves.c.sequence).where(leaves.c.leaf_hash == leaf).limit(1)
        found: int | None = self._connection.execute(query).scalar()
        return found

    def standing_at(self, leaf: bytes) -> int | None:
        """Return the place of the record that claims to hold a body, if any."""
        query = sa.select(_entries.c.sequence).where(_entries.c.leaf_hash == leaf.hex()).limit(1)
        found: int | None = self._connection.execute(query).scalar()
        return found

    def index_of(self, id: str) -> int | None:
        """Return the place in the tree of an entry, by its id; ``None`` when it is not sealed."""
        joined = leaves.join(_entries, leaves.c.sequence == _entries.c.sequence)
        query = sa.select(leaves.c.tree_index).select_from(joined).where(_entries.c.id == id)
        found: int | None = self._connection.execute(query).scalar()
        return found

    def between(
        self, first: int | None, since: int | None, last: int | None, until: int | None
    ) -> tuple[int, int]:
        """Find places in the tree: from the first wanted, without the one after the last.

        Parameters
        ----------
        first, last : int or None
            Entries.
        since, until : int or None
            Or instants, in microseconds since 1970: from the one, before the other.
        """
        sequence, at = _entries.c.sequence, _entries.c.recorded_at
        bounds = ((sequence, ge, first), (at, ge, since), (sequence, le, last), (at, lt, until))
        wanted = [compared(of, to) for of, compared, to in bounds if to is not None]
        index = leaves.c.tree_index
        query = sa.select(sa.func.min(index), sa.func.max(index)).select_from(
            leaves.join(_entries, leaves.c.sequence == sequence)
        )
        begin, end = self._connection.execute(query.where(*wanted)).one()
        return (0, 0) if begin is None else (begin, end + 1)

    def has_entry(self, id: str) -> bool:
        """Tell whether an entry is recorded."""
        found = self._connection.execute(sa.select(_entries.c.id).where(_entries.c.id == id))
        return found.first() is not None

    def _entry(self) -> list[sa.ColumnElement[Any]]:
        c = _entries.c
        if self._is_sqlite:  # text that somebody made no UTF-8 is to be read too
            id, kind, leaf = (sa.cast(one, sa.LargeBinary) for one in (c.id, c.kind, c.leaf_hash))
            return [c.sequence, c.recorded_at, id, kind, leaf, c.body]
        texts = (sa.func.convert_to(one, "UTF8") for one in (c.id, c.kind, c.leaf_hash))
        return [c.sequence, c.recorded_at, *texts, c.body]

    def _one(self, query: sa.Select[Any]) -> int:
        return int(self._connection.execute(query).scalar_one())


class Witness:
    """A folder with a copy of each checkpoint, to be kept where nobody changes it.

    Parameters
    ----------
    folder : Path
        Made with the first copy.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def sizes(self) -> list[int]:
        """Return the sizes of the checkpoints held, ascending."""
        return sorted(int(file.stem) for file in self._folder.glob(f"{'[0-9]' * 12}.txt"))

    def read(self, size: int) -> str:
        """Return a checkpoint held."""
        return self._file(size).read_text("utf-8")

    def keep(self, size: int, note: str) -> bool:
        """Copy a checkpoint, whole or not at all; one that is held already stays.

        Returns
        -------
        bool
            Whether this one is held now, and not another of that size.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            key_file.write_new(self._file(size), note.encode(), 0o444)
        except FileExistsError:
            return self.read(size) == note
        return True

    def _file(self, size: int) -> Path:
        return self._folder / f"{size:012d}.txt"


def open_to_read(url: str) -> sa.Engine:
    """Open a record's database without changing it."""
    return connect(url, only_reads=True)
