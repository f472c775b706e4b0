"""Every way to tamper with a record that somebody who owns the database has, at random.

A record in memory: its entries, leaves and checkpoints as the database has them, and the
checkpoints that a witness holds. :func:`tampered` does one thing to it, and tells which entry must
be named first.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from serving.seals import Entry, Sealed, Trees, hashes
from serving.verification import DATABASE, Fault, Head, checked, first_fault

WITNESS = "the witness"
ROWS_A_BATCH = 500


@dataclass(frozen=True)
class Books:
    """A record: what stands there, and what was signed.

    Attributes
    ----------
    rows : list of Sealed
        In the order of the tree.
    heads : list of Head
        Of the database and of the witness.
    """

    rows: list[Sealed]
    heads: list[Head]

    @classmethod
    def made(cls, entries: int, seed: int = 1, most_at_once: int = 100) -> Books:
        """Make a record that is sealed every few entries."""
        rng, rows = random.Random(seed), []  # noqa: S311
        for place in range(entries):
            body = rng.randbytes(rng.randint(1, 200)) + b"%d" % place
            entry = Entry(place + 1, place * 1_000, b"id-%d" % place, b"assessment", b"", body)
            rows.append(_sealed(entry))
        sizes, size = [], 0
        while size < entries:
            size = min(size + rng.randint(1, most_at_once), entries)
            sizes.append(size)
        return cls(rows, [*_signed(rows, sizes, DATABASE), *_signed(rows, sizes, WITNESS)])

    def verify(self) -> Fault | None:
        """Find the first fault, as the command does."""
        rows = [row.row() for row in self.rows]
        batches = (rows[at : at + ROWS_A_BATCH] for at in range(0, len(rows), ROWS_A_BATCH))
        return first_fault(checked(batches), self.heads, self)[0]

    def sealed_at(self, leaf: bytes) -> int | None:
        """See :class:`serving.verification.Lookup`."""
        return next((row.sequence for row in self.rows if row.leaf_hash == leaf), None)

    def standing_at(self, leaf: bytes) -> int | None:
        """See :class:`serving.verification.Lookup`."""
        wanted = leaf.hex().encode()
        entries = (row.entry for row in self.rows if row.entry is not None)
        return next((entry.sequence for entry in entries if entry.leaf_hash == wanted), None)


@dataclass(frozen=True)
class Tampering:
    """What was done to a record.

    Attributes
    ----------
    how : str
    books : Books
        As it is now.
    what : set of str
        How the fault may be called.
    first, last : int
        The first bad entry is one of these: one and the same unless seals were written anew.
    """

    how: str
    books: Books
    what: set[str]
    first: int
    last: int

    def is_found_by(self, fault: Fault | None) -> bool:
        """Tell whether a fault says what was done."""
        return (
            fault is not None
            and fault.what in self.what
            and (fault.entry, fault.last) == (self.first, self.last)
        )


def tampered(books: Books, rng: random.Random) -> Tampering:
    """Do one thing to a record; the record itself stays."""
    how = rng.choice(list(WAYS))
    return WAYS[how](how, books, rng)


def tamperings(books: Books, n: int, seed: int) -> Iterator[Tampering]:
    """Give `n` random tamperings."""
    rng = random.Random(seed)  # noqa: S311
    for _ in range(n):
        yield tampered(books, rng)


# One entry is changed.


def _byte(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    changed = bytearray(data)
    changed[at] ^= rng.randint(1, 255)
    return bytes(changed)


def _change(how: str, books: Books, rng: random.Random) -> Tampering:
    """Change a byte of one column of an entry."""
    row = rng.choice(books.rows)
    entry, column = _entry(row), how.rpartition(" ")[2]
    if column == "recorded_at":
        changed = entry._replace(recorded_at=entry.recorded_at ^ 1 << rng.randrange(50))
    else:
        byte: dict[str, Any] = {column: _byte(getattr(entry, column), rng)}
        changed = entry._replace(**byte)
    return _one(how, books, row._replace(entry=changed), {"changed"})


def _rewrite(how: str, books: Books, rng: random.Random) -> Tampering:
    """Change a byte of a body, and the leaf hash with it."""
    row = rng.choice(books.rows)
    entry = _hashed(_entry(row)._replace(body=_byte(_entry(row).body, rng)))
    return _one(how, books, row._replace(entry=entry), {"changed"})


def _reseal(how: str, books: Books, rng: random.Random) -> Tampering:
    """Change a byte of what was sealed."""
    row, column = rng.choice(books.rows), how.rpartition(" ")[2]
    byte: dict[str, Any] = {column: _byte(getattr(row, column), rng)}
    row = row._replace(**byte)
    return _one(how, books, row, {"changed", "removed"})


def _one(how: str, books: Books, row: Sealed, what: set[str]) -> Tampering:
    rows = list(books.rows)
    rows[row.tree_index] = row
    return Tampering(how, Books(rows, books.heads), what, row.sequence, row.sequence)


# Entries are removed, put in, exchanged.


def _remove(how: str, books: Books, rng: random.Random) -> Tampering:
    row = books.rows[rng.randrange(len(books.rows) - 1)]
    return _one(how, books, row._replace(entry=None), {"removed"})


def _remove_and_close_up(how: str, books: Books, rng: random.Random) -> Tampering:
    place = rng.randrange(len(books.rows) - 1)
    entries: list[Entry | None] = [row.entry for row in books.rows]
    del entries[place]
    return _renumbered(how, books, [*entries, None], place, {"removed"})


def _insert(how: str, books: Books, rng: random.Random) -> Tampering:
    place = rng.randrange(len(books.rows) - 1)
    entries = [row.entry for row in books.rows]
    foreign = Entry(0, 7, b"id", b"assessment", b"", rng.randbytes(50))
    entries[place:place] = [_hashed(foreign)]
    return _renumbered(how, books, entries[:-1], place, {"inserted"})


def _swap(how: str, books: Books, rng: random.Random) -> Tampering:
    places = sorted(rng.sample(range(len(books.rows)), 2))
    entries = [row.entry for row in books.rows]
    entries[places[0]], entries[places[1]] = entries[places[1]], entries[places[0]]
    return _renumbered(how, books, entries, places[0], {"reordered"})


def _move(how: str, books: Books, rng: random.Random) -> Tampering:
    begin, end = sorted(rng.sample(range(len(books.rows)), 2))
    entries = [row.entry for row in books.rows]
    entries.insert(end, entries.pop(begin))
    return _renumbered(how, books, entries, begin, {"reordered"})


def _renumbered(
    how: str, books: Books, entries: list[Entry | None], first: int, what: set[str]
) -> Tampering:
    rows = books.rows[:first]
    for row, entry in zip(books.rows[first:], entries[first:], strict=True):
        renumbered = None if entry is None else entry._replace(sequence=row.sequence)
        rows.append(row._replace(entry=renumbered))
    return Tampering(how, Books(rows, books.heads), what, first + 1, first + 1)


# The end is cut off.


def _truncate(how: str, books: Books, rng: random.Random) -> Tampering:
    """Entries alone: their seals stay."""
    first = rng.randrange(len(books.rows))
    gone = [row._replace(entry=None) for row in books.rows[first:]]
    now = Books([*books.rows[:first], *gone], books.heads)
    return Tampering(how, now, {"truncated"}, first + 1, first + 1)


def _truncate_with_leaves(how: str, books: Books, rng: random.Random) -> Tampering:
    first = rng.randrange(len(books.rows))
    now = Books(books.rows[:first], books.heads)
    return Tampering(how, now, {"truncated"}, first + 1, first + 1)


def _older_copy(how: str, books: Books, rng: random.Random) -> Tampering:
    """Entries, leaves and checkpoints, as they were once."""
    head = rng.choice([head for head in books.heads if head.size < len(books.rows)])
    heads = [h for h in books.heads if h.size <= head.size or h.held_by != DATABASE]
    now = Books(books.rows[: head.size], heads)
    return Tampering(how, now, {"older copy"}, head.size + 1, head.size + 1)


# Whoever has the database writes seals anew; whoever has the key too, signatures.


def _rewrite_with_leaves(how: str, books: Books, rng: random.Random) -> Tampering:
    """All is written anew but what was signed: it is known to the next checkpoint."""
    row = rng.choice(books.rows)
    changed = _sealed(_entry(row)._replace(body=_byte(_entry(row).body, rng)))
    first, last = _interval(books, row.tree_index)
    rows = list(books.rows)
    rows[row.tree_index] = changed
    return Tampering(how, Books(rows, books.heads), {"changed"}, first, last)


def _fork(how: str, books: Books, rng: random.Random) -> Tampering:
    """All is written anew, and signed with the same key: only the witness knows."""
    place = rng.randrange(len(books.rows))
    first, last = _interval(books, place)
    rows = list(books.rows)
    rows[place] = _sealed(_entry(rows[place])._replace(body=rng.randbytes(60)))
    sizes = [head.size for head in books.heads if head.held_by == DATABASE]
    held = [head for head in books.heads if head.held_by != DATABASE]
    return Tampering(
        how, Books(rows, [*_signed(rows, sizes, DATABASE), *held]), {"forked"}, first, last
    )


def _interval(books: Books, place: int) -> tuple[int, int]:
    sizes = sorted({head.size for head in books.heads})
    after = next(size for size in sizes if size > place)
    before = max((size for size in sizes if size <= place), default=0)
    return before + 1, after


def _sealed(entry: Entry) -> Sealed:
    entry = _hashed(entry)
    return Sealed(entry.sequence - 1, entry.sequence, *hashes(entry), entry)


def _hashed(entry: Entry) -> Entry:
    return entry._replace(leaf_hash=hashes(entry)[0].hex().encode())


def _entry(row: Sealed) -> Entry:
    assert row.entry is not None  # noqa: S101
    return row.entry


def _signed(rows: list[Sealed], sizes: list[int], held_by: str) -> list[Head]:
    trees, heads = Trees(), []
    for size in sizes:
        part = rows[trees.size : size]
        trees.extend([row.leaf_hash for row in part], [row.columns_hash for row in part])
        heads.append(Head(size, *trees.roots, held_by))
    return heads


WAYS: dict[str, Callable[[str, Books, random.Random], Tampering]] = {
    **{
        f"a byte of {column}": _change
        for column in ("body", "id", "kind", "recorded_at", "leaf_hash")
    },
    "a body and its leaf hash": _rewrite,
    "a byte of the sealed leaf_hash": _reseal,
    "a byte of the sealed columns_hash": _reseal,
    "removed": _remove,
    "removed and closed up": _remove_and_close_up,
    "inserted": _insert,
    "exchanged": _swap,
    "moved": _move,
    "entries cut off": _truncate,
    "entries and leaves cut off": _truncate_with_leaves,
    "an older copy": _older_copy,
    "an entry and its leaf": _rewrite_with_leaves,
    "a fork": _fork,
}
