"""Verifies the record: every entry against its seal, every seal against what was signed.

Three things must agree: the entries, the leaves that were sealed, and the roots that checkpoints
sign, in the database and wherever a copy is held. The leaves tell which entry it is; the signatures
tell that nobody wrote entries and leaves anew; the copies, that nobody signed anew either.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, count, takewhile
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from serving.checkpoint import NoteError, Verifier, opened
from serving.seals import Entry, Row, Sealed, Seals, Trees, Witness, hashes, hashes_of

DATABASE = "the database"
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


def verify(
    seals: Seals, verifiers: Sequence[Verifier], witness: Witness, held: Iterable[Path] = ()
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
    """
    notes = [(stored.size, stored.note, DATABASE) for stored in seals.checkpoints()]
    copies = [(size, witness.read(size), "the witness") for size in witness.sizes()]
    files = [(None, path.read_text("utf-8"), path.name) for path in held]
    heads, unsigned = _opened([*notes, *copies, *files], verifiers)
    last = seals.last_sequence()
    fault, entries = first_fault(seals.rows(), heads, seals)
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


def first_fault(
    batches: Iterable[list[Row]], heads: Iterable[Head], lookup: Lookup
) -> tuple[Fault | None, int]:
    """Find the first entry that is not what was sealed and signed.

    Parameters
    ----------
    batches : iterable of list of Row
        Every leaf in the order of the tree, with what stands there now.
    heads : iterable of Head
    lookup : Lookup
        Asked once, about the first bad entry.

    Returns
    -------
    tuple of (Fault or None, int)
        The fault, and how many entries before it are good.
    """
    rest, trees = iter(batches), Trees()
    ahead = deque(sorted((one for one in heads if one.size), key=_in_order))
    in_database = max((head.size for head in ahead if head.held_by == DATABASE), default=0)
    last, agreed = 0, {DATABASE: 0}  # up to which entry each holder's roots agree
    for batch in rest:
        while batch:
            upto = ahead[0].size - trees.size if ahead else len(batch)
            part, batch = batch[:upto], batch[upto:]
            bodies, columns = _good(part, trees.size)
            trees.extend(bodies, columns)
            if len(bodies) < len(part):
                first, *later = part[len(bodies) :]
                after = map(Sealed.of, chain(later, batch, chain.from_iterable(rest)))
                return _fault_of(Sealed.of(first), trees.size, after, lookup), trees.size
            last = part[-1][1]
            while ahead and ahead[0].size == trees.size:
                head = ahead.popleft()
                if (head.root, head.columns) != trees.roots:
                    return _disagreement(head, agreed, last), trees.size
                agreed[head.held_by] = last
    if ahead:
        return _too_short(ahead[-1], trees.size, in_database, last + 1), trees.size
    if trees.size > in_database:
        detail = f"{trees.size} entries are sealed, and the database's last checkpoint is missing"
        return Fault("unsigned", agreed[DATABASE] + 1, last, detail), trees.size
    return None, trees.size


def _in_order(head: Head) -> tuple[int, bool]:
    return head.size, head.held_by != DATABASE


def _good(rows: list[Row], begin: int) -> tuple[list[bytes], list[bytes]]:
    """Return the hashes of the leading rows whose entry is what was sealed at its place."""
    try:
        bodies, columns = hashes_of(rows)
    except TypeError:
        bodies, columns = [], []
    found = ([*range(begin, begin + len(bodies))], bodies, columns, list(map(_said, bodies)))
    if found == tuple([row[at] for row in rows] for at in (0, 2, 3, 8)):
        return bodies, columns
    good = list(takewhile(lambda each: _is_good(*each), zip(rows, count(begin), strict=False)))
    return [row[2] for row, _ in good], [row[3] for row, _ in good]


def _is_good(row: Row, index: int) -> bool:
    leaf = Sealed.of(row)
    try:
        is_sealed = leaf.entry is not None and hashes(leaf.entry) == leaf[2:4]
    except TypeError:
        return False
    return is_sealed and (leaf.tree_index, row[8]) == (index, _said(leaf.leaf_hash))


def _said(leaf: bytes) -> bytes:
    """Write a leaf hash as the record does."""
    return leaf.hex().encode()


# What is wrong, in words.


def _fault_of(bad: Sealed, index: int, later: Iterable[Sealed], lookup: Lookup) -> Fault:
    if bad.tree_index != index:
        detail = "what was sealed of entries before it was taken away"
        return Fault("unsigned", bad.sequence, bad.sequence, detail)
    elsewhere = lookup.standing_at(bad.leaf_hash)
    if bad.entry is not None:
        what, detail = _difference(bad, bad.entry, elsewhere, lookup)
    elif elsewhere is not None:
        what, detail = "reordered", f"it stands as entry {elsewhere} now"
    elif all(leaf.entry is None for leaf in later):
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
