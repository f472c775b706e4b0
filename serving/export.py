"""What an auditor takes away: a proof of one entry, or entries with all it takes to check them.

Both are JSON that ``docs/verify.py`` checks without this project. An export has one object a line:
first what it is of, with the roots of the subtrees before and after its entries; then the entries,
each checkpoint after the last entry that it is about.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from serving import merkle
from serving.checkpoint import Checkpoint
from serving.merkle import subtrees
from serving.seals import Sealed, Seals

PROOF, EXPORT = "encours-proof/1", "encours-export/1"
Leaves = tuple[list[bytes], list[bytes]]  # of bodies, and of columns
Object = dict[str, Any]


class NotExportable(ValueError):
    """What is asked for is not sealed, or not there."""


def prove(seals: Seals, keys: Sequence[str], id: str, held: Iterable[str] = ()) -> Object:
    """Prove that an entry is in the tree of the latest checkpoint.

    Parameters
    ----------
    seals : Seals
    keys : sequence of str
        Lines of ``record.keys``.
    id : str
        The entry's.
    held : iterable of str, optional
        Checkpoints held elsewhere, to prove that the tree grew from theirs.

    Raises
    ------
    NotExportable
        If there is no such entry, or it is not sealed yet.
    """
    index, last = seals.index_of(id), seals.last()
    if index is None or last is None:
        why = "is not sealed yet" if seals.has_entry(id) else "is not on the record"
        raise NotExportable(f"{id} {why}")
    (leaf,) = seals.sealed(index, index + 1)
    leaves = seals.sealed_hashes(last.size)
    proof = {name: _hex(merkle.inclusion_proof(of, index)) for name, of in _named(leaves)}
    return {
        "format": PROOF,
        "keys": list(keys),
        "checkpoint": last.note,
        "entry": _entry(leaf),
        "inclusion": proof,
        "consistency": [_grown_from(note, leaves) for note in held],
    }


def export(
    seals: Seals, keys: Sequence[str], begin: int, end: int, held: Iterable[str] = ()
) -> Iterator[str]:
    """Give the lines of an export.

    Parameters
    ----------
    seals : Seals
    keys : sequence of str
        Lines of ``record.keys``.
    begin, end : int
        Places in the tree: from `begin`, without `end`.
    held : iterable of str, optional
        Checkpoints held elsewhere, to prove that the tree grew from theirs.

    Raises
    ------
    NotExportable
        If nothing is sealed there.
    """
    last = seals.last()
    if last is None or not 0 <= begin < end <= last.size:
        raise NotExportable("no entry from there to there is sealed")
    leaves = seals.sealed_hashes(last.size)
    yield _line(
        {
            "format": EXPORT,
            "keys": list(keys),
            "begin": begin,
            "end": end,
            "before": _roots(leaves, 0, begin),
            "after": _roots(leaves, end, last.size),
            "checkpoint": last.note,
            "consistency": [_grown_from(note, leaves) for note in held],
        }
    )
    yield from _entries(seals, begin, end)


def _entries(seals: Seals, begin: int, end: int) -> Iterator[str]:
    checkpoints = iter([one for one in seals.checkpoints(begin) if one.size <= end])
    following = next(checkpoints, None)
    for leaf in seals.sealed(begin, end):
        yield _line(_entry(leaf))
        if following is not None and following.size == leaf.tree_index + 1:
            yield _line({"checkpoint": following.note})
            following = next(checkpoints, None)


def _entry(leaf: Sealed) -> Object:
    entry = leaf.entry
    if entry is None:
        raise NotExportable(f"entry {leaf.sequence} was removed: run `encours audit verify`")
    return {
        "index": leaf.tree_index,
        "sequence": entry.sequence,
        "recorded_at": entry.recorded_at,
        "kind": _text(entry.kind),
        "id": _text(entry.id),
        "body": base64.b64encode(entry.body).decode(),
    }


def _grown_from(note: str, leaves: Leaves) -> Object:
    size = Checkpoint.parse(note.rpartition("\n\n")[0] + "\n").size
    if size > len(leaves[0]):
        raise NotExportable(
            f"the checkpoint held is of {size} entries, and {len(leaves[0])} are sealed here"
        )
    proofs = {name: _hex(merkle.consistency_proof(of, size)) for name, of in _named(leaves)}
    return {"checkpoint": note, **proofs}


def _roots(leaves: Leaves, begin: int, end: int) -> Object:
    """Give the roots of the perfect subtrees that the leaves of a range make up."""
    places = [(first, first + (1 << level)) for level, first in subtrees(begin, end)]
    return {
        name: _hex([merkle.root(of[first:last]) for first, last in places])
        for name, of in _named(leaves)
    }


def _named(leaves: Leaves) -> list[tuple[str, list[bytes]]]:
    return list(zip(("bodies", "columns"), leaves, strict=True))


def _hex(hashes: Iterable[bytes]) -> list[str]:
    return [one.hex() for one in hashes]


def _text(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")  # then its hash differs, and is found


def _line(content: Object) -> str:
    return json.dumps(content, ensure_ascii=False) + "\n"
