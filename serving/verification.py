"""Verifies the record: every entry against its seal, every seal against what was signed.

Three things must agree: the entries, the leaves that were sealed, and the roots that checkpoints
sign, in the database and wherever a copy is held. The leaves tell which entry it is; the signatures
tell that nobody wrote entries and leaves anew; the copies, that nobody signed anew either.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain, count, repeat, takewhile
from multiprocessing import get_context
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from features.store import connect
from serving.checkpoint import NoteError, Verifier, opened
from serving.seals import Entry, Row, Sealed, Seals, Trees, Witness, hashes, hashes_of

DATABASE = "the database"
MANY = 500_000  # entries, to be worth two seconds of processor time for starting each process
A_TASK = 5_000
What = Literal[
    "changed", "removed", "inserted", "reordered", "truncated", "older copy", "forked", "unsigned"
]


class Fault(NamedTuple):
    """What is wrong first, in the order of the tree.

    Attributes
    ----------
    what : str
        ``changed``, ``removed``, ``inserted``, ``reordered`` or ``truncated`` entries; an ``older
        copy`` of the record; a record that was ``forked``: another one was signed before; a seal
        that is ``unsigned``: taken away, damaged, or by nobody known.
    entry : int
        The first bad entry.
    last : int
        When seals cannot tell which one, it is one from `entry` to this one; else the same.
    detail : str
        In words.
    """

    what: What
    entry: int
    last: int
    detail: str


class Head(NamedTuple):
    """Roots that somebody holds the signature of."""

    size: int
    root: bytes
    columns: bytes
    held_by: str


class Lookup(Protocol):
    """Finds bodies by their leaf hash."""

    def sealed_at(self, leaf: bytes) -> int | None:
        """Return the entry that was sealed with this body."""

    def standing_at(self, leaf: bytes) -> int | None:
        """Return the entry that has this body now."""


@dataclass(frozen=True)
class Report:
    """What came of a verification.

    Attributes
    ----------
    fault : Fault or None
        The first, if any.
    entries : int
        That are sealed and were read.
    checkpoints, witnessed : int
        In the database; and held elsewhere.
    unsealed : int
        Entries after the last checkpoint.
    unsealed_since : int or None
        When the first of them was recorded, in microseconds since 1970 (UTC).
    """

    fault: Fault | None
    entries: int
    checkpoints: int
    witnessed: int
    unsealed: int = 0
    unsealed_since: int | None = None


class Checked(NamedTuple):
    """Leaves in the order of the tree, compared with what stands there.

    Attributes
    ----------
    places : list of int
        Entries that are what was sealed.
    bodies, columns : list of bytes
        Their leaf hashes.
    rest : list of Row
        From the first that is not on; most often none.
    """

    places: list[int]
    bodies: list[bytes]
    columns: list[bytes]
    rest: list[Row]

    @property
    def holds_any(self) -> bool:
        """Whether anything stands there at all."""
        return bool(self.places) or any(map(_holds, self.rest))


def verify(
    seals: Seals,
    verifiers: Sequence[Verifier],
    witness: Witness,
    held: Iterable[Path] = (),
    processes: int = 1,
) -> Report:
    """Verify a whole record.

    Parameters
    ----------
    seals : Seals
    verifiers : sequence of Verifier
        Keys whose signatures count.
    witness : Witness
    held : iterable of Path, optional
        More checkpoints that are held elsewhere, one a file.
    processes : int, default 1
        How many read and hash the entries of a large record.
    """
    notes = [(stored.size, stored.note, DATABASE) for stored in seals.checkpoints()]
    copies = [(size, witness.read(size), "the witness") for size in witness.sizes()]
    files = [(None, path.read_text("utf-8"), path.name) for path in held]
    heads, unsigned = _opened([*notes, *copies, *files], verifiers)
    last = seals.last_sequence()
    many = processes > 1 and seals.count() >= MANY
    parts = in_processes(seals, processes) if many else checked(seals.rows())
    fault, entries = first_fault(parts, heads, seals)
    strays = seals.strays(last) if seals.is_dense else []
    inserted = _inserted(strays[0]) if strays else None
    lost = _lost([size for size, _, _ in notes], [size for size, _, _ in copies])
    faults = [one for one in (unsigned, fault, inserted, lost) if one is not None]
    first = min(faults, key=lambda one: one.entry, default=None)
    held_elsewhere = len(copies) + len(files)
    return Report(first, entries, len(notes), held_elsewhere, *seals.unsealed(last))


def _opened(
    notes: Iterable[tuple[int | None, str, str]], verifiers: Sequence[Verifier]
) -> tuple[list[Head], Fault | None]:
    """Verify signatures; the first that is wrong is a fault of what came since the one before."""
    heads: list[Head] = []
    wrong, before = None, 0
    for size, note, held_by in notes:
        try:
            checkpoint = opened(note, verifiers)
            if size not in (None, checkpoint.size):
                raise NoteError(f"it is of {checkpoint.size} entries")
        except NoteError as error:
            detail = f"{held_by} has a checkpoint of {size or '?'} entries, and {error}"
            wrong = wrong or Fault("unsigned", before + 1, size or before + 1, detail)
        else:
            heads.append(Head(checkpoint.size, checkpoint.root, checkpoint.columns, held_by))
            before = checkpoint.size
    return heads, wrong


def _inserted(entry: int) -> Fault:
    detail = "later ones were sealed and it is not: put there since, or its seal taken away"
    return Fault("inserted", entry, entry, detail)


def _lost(sizes: list[int], witnessed: list[int]) -> Fault | None:
    """Find the first checkpoint that the witness has and the database has no more."""
    last = max(sizes, default=0)
    lost = sorted(size for size in set(witnessed) - set(sizes) if size < last)
    if not lost:
        return None
    before = max((size for size in sizes if size < lost[0]), default=0)
    detail = f"the database's checkpoint of {lost[0]} entries was taken away"
    return Fault("unsigned", before + 1, lost[0], detail)


def checked(batches: Iterable[list[Row]], begin: int = 0) -> Iterator[Checked]:
    """Compare leaves with what stands there; the first is to be at `begin`."""
    for rows in batches:
        yield _checked(rows, begin)
        begin += len(rows)


def in_processes(seals: Seals, n: int) -> Iterator[Checked]:
    """Do so in `n` fresh processes, each with a transaction of its own: what is sealed stays."""
    url, size = seals.url, seals.count()
    begins = range(0, size, A_TASK)
    ends = [*begins[1:], None]  # whatever comes last is looked at too
    with ProcessPoolExecutor(n, mp_context=get_context("spawn")) as pool:
        for parts in pool.map(_checked_range, repeat(url), begins, ends):
            yield from parts


def _checked_range(url: str, begin: int, end: int | None) -> list[Checked]:
    engine = connect(url, only_reads=True)
    try:
        with engine.connect() as connection:
            return list(checked(Seals(connection).rows(begin, end), begin))
    finally:
        engine.dispose()


def _checked(rows: list[Row], begin: int) -> Checked:
    try:
        bodies, columns = hashes_of(rows)
    except TypeError:
        bodies, columns = [], []
    found = ([*range(begin, begin + len(bodies))], bodies, columns, list(map(_said, bodies)))
    if found == tuple([row[at] for row in rows] for at in (0, 2, 3, 8)):
        return Checked([row[1] for row in rows], bodies, columns, [])
    good = [row for row, _ in takewhile(_is_good, zip(rows, count(begin), strict=False))]
    places, bodies, columns = ([row[at] for row in good] for at in (1, 2, 3))
    return Checked(places, bodies, columns, rows[len(good) :])


def _is_good(placed: tuple[Row, int]) -> bool:
    row, index = placed
    leaf = Sealed.of(row)
    try:
        is_sealed = leaf.entry is not None and hashes(leaf.entry) == leaf[2:4]
    except TypeError:
        return False
    return is_sealed and (leaf.tree_index, row[8]) == (index, _said(leaf.leaf_hash))


def _holds(row: Row) -> bool:
    return row[4] is not None


def _said(leaf: bytes) -> bytes:
    """Write a leaf hash as the record does."""
    return leaf.hex().encode()


def first_fault(
    parts: Iterable[Checked], heads: Iterable[Head], lookup: Lookup
) -> tuple[Fault | None, int]:
    """Find the first entry that is not what was sealed and signed.

    Parameters
    ----------
    parts : iterable of Checked
        Every leaf in the order of the tree.
    heads : iterable of Head
    lookup : Lookup
        Asked once, about the first bad entry.

    Returns
    -------
    tuple of (Fault or None, int)
        The fault, and how many entries before it are good.
    """
    rest, walk = iter(parts), _Walk(heads)
    for part in rest:
        fault = walk.take(part)
        if fault is None and part.rest:
            bad, *later = part.rest
            holding = chain(map(_holds, later), (one.holds_any for one in rest))
            fault = _fault_of(Sealed.of(bad), walk.trees.size, holding, lookup)
        if fault is not None:
            return fault, walk.trees.size
    return walk.end(), walk.trees.size


class _Walk:
    """Grows the tree from root to root that somebody signed."""

    def __init__(self, heads: Iterable[Head]) -> None:
        self.trees, self._last = Trees(), 0
        self._ahead = deque(sorted((one for one in heads if one.size), key=_in_order))
        here = [head.size for head in self._ahead if head.held_by == DATABASE]
        self._in_database = max(here, default=0)
        self._agreed = {DATABASE: 0}  # up to which entry each holder's roots agree

    def take(self, part: Checked) -> Fault | None:
        """Add leaves; a fault where a root is another than was signed."""
        begin, end = self.trees.size, self.trees.size + len(part.places)
        while self.trees.size < end:
            upto = min(self._ahead[0].size, end) if self._ahead else end
            some = slice(self.trees.size - begin, upto - begin)
            self.trees.extend(part.bodies[some], part.columns[some])
            self._last = part.places[upto - begin - 1]
            if (fault := self._compare()) is not None:
                return fault
        return None

    def _compare(self) -> Fault | None:
        while self._ahead and self._ahead[0].size == self.trees.size:
            head = self._ahead.popleft()
            if (head.root, head.columns) != self.trees.roots:
                return _disagreement(head, self._agreed, self._last)
            self._agreed[head.held_by] = self._last
        return None

    def end(self) -> Fault | None:
        """Tell what was signed beyond the last leaf, or not signed before it."""
        size, last = self.trees.size, self._last
        if self._ahead:
            return _too_short(self._ahead[-1], size, self._in_database, last + 1)
        if size > self._in_database:
            detail = f"{size} entries are sealed, and the database's last checkpoint is missing"
            return Fault("unsigned", self._agreed[DATABASE] + 1, last, detail)
        return None


def _in_order(head: Head) -> tuple[int, bool]:
    return head.size, head.held_by != DATABASE


# What is wrong, in words.


def _fault_of(bad: Sealed, index: int, holding: Iterable[bool], lookup: Lookup) -> Fault:
    if bad.tree_index != index:
        detail = "what was sealed of entries before it was taken away"
        return Fault("unsigned", bad.sequence, bad.sequence, detail)
    elsewhere = lookup.standing_at(bad.leaf_hash)
    if bad.entry is not None:
        what, detail = _difference(bad, bad.entry, elsewhere, lookup)
    elif elsewhere is not None:
        what, detail = "reordered", f"it stands as entry {elsewhere} now"
    elif not any(holding):
        what, detail = "truncated", "neither it nor any that was sealed after it is there"
    else:
        what, detail = "removed", "it was sealed and is not there"
    return Fault(what, bad.sequence, bad.sequence, detail)


def _difference(
    bad: Sealed, entry: Entry, elsewhere: int | None, lookup: Lookup
) -> tuple[What, str]:
    """Say what the entry at a place is, that is not the one sealed there."""
    try:
        body = hashes(entry)[0]
    except TypeError:
        return "changed", "something else than text, bytes and numbers stands there"
    claims = entry.leaf_hash == _said(bad.leaf_hash)
    if body == bad.leaf_hash:
        if not claims:
            return "changed", "its leaf hash is another"
        return "changed", "its place, id, kind or time is another than was sealed"
    was = lookup.sealed_at(body)
    is_moved = claims or elsewhere not in (None, bad.sequence)
    if was is not None and is_moved:
        return "reordered", f"the body of entry {was} stands there"
    if was is not None:
        return "removed", f"it is not there, and the body of entry {was} stands in its place"
    if is_moved and not claims:
        return "inserted", f"a body that was never sealed; what was is in entry {elsewhere} now"
    return "changed", "its body is another than was sealed"


def _disagreement(head: Head, agreed: dict[str, int], last: int) -> Fault:
    """Say so when entries and leaves agree, and not with a root that was signed."""
    what: What = "changed" if head.held_by == DATABASE else "forked"
    how = "entries and seals were written anew" if what == "changed" else "two were signed"
    detail = f"{head.held_by} has a checkpoint of {head.size} entries that are others: {how}"
    since = max(agreed.values()) if what == "changed" else agreed.get(head.held_by, 0)
    return Fault(what, since + 1, last, detail)


def _too_short(head: Head, size: int, in_database: int, entry: int) -> Fault:
    what: What = "truncated" if in_database > size else "older copy"
    detail = f"{head.held_by} has a checkpoint of {head.size} entries, and {size} are sealed here"
    return Fault(what, entry, entry, detail)
