"""What a row that comes is to a store that holds versions: new, said already, or a correction."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from features.history import FOREVER
from features.store_schema import Arrays

Mask = NDArray[np.bool_]
Numbers = NDArray[np.int64]


class Here(NamedTuple):
    """All versions here of the facts that come; ``place`` says which of those each belongs to."""

    place: Numbers
    content_hash: Numbers
    since_at: Numbers
    until_at: Numbers
    recorded_at: Numbers
    recorded_assumed: Numbers


Outcome = Literal["added", "superseded", "already_there", "refused"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
NOTHING_HERE = Here(*(np.empty(0, np.int64) for _ in Here._fields))


class Verdict(NamedTuple):
    """What each row that comes is, and the version it makes.

    Attributes
    ----------
    new, corrects, already_there, moved, orphaned : ndarray of bool, shape (n_rows,)
        Each row is one of these: unknown here; says something else than here; says what a version
        here says; its number belongs to another customer here; it names an invoice that came with
        it and was refused for that.
    content_hash : ndarray of int64
    since_at : ndarray of int64
        Instant from which the version counts.
    recorded_at, recorded_assumed : ndarray
        When the fact was first recorded, in whatever version.
    """

    new: Mask
    corrects: Mask
    already_there: Mask
    moved: Mask
    orphaned: Mask
    content_hash: Numbers
    since_at: Numbers
    recorded_at: Numbers
    recorded_assumed: Mask

    @property
    def to_write(self) -> Mask:
        """Rows that make a version."""
        return self.new | self.corrects

    @property
    def refused(self) -> Mask:
        """Rows that are not taken."""
        return self.moved | self.orphaned

    @property
    def outcome(self) -> NDArray[np.int8]:
        """What became of each row, as its place in ``OUTCOMES``."""
        first = [self.new, self.corrects, self.already_there]
        return np.select(first, [0, 1, 2], 3).astype(np.int8)


def judge(columns: Arrays, content_hash: Numbers, here: Here, appended_at: int) -> Verdict:
    """Compare rows that come with the versions here of the same customers and keys.

    Notes
    -----
    100 was corrected to 90, and a row says 100. It is an old file read again, and nothing new,
    unless it says that it was recorded after the 90: then the value changed back. Without an
    instant of its own it cannot tell, and changes nothing.

    A correction counts from the instant it was recorded, and never before what it corrects; one
    without an instant of its own cannot have been known before we got it.
    """
    recorded_at, assumed = columns["recorded_at"], columns["recorded_assumed"]
    is_current = here.until_at == FOREVER
    place = here.place[is_current]
    found = np.zeros(recorded_at.size, bool)
    found[place] = True
    same, said_before = found & False, found & False
    same[place] = here.content_hash[is_current] == content_hash[place]
    said_before[here.place[here.content_hash == content_hash[here.place]]] = True
    current_since = _put(np.zeros_like(recorded_at), place, here.since_at[is_current])
    is_later = ~assumed & (recorded_at > current_since)
    already_there = same | (said_before & ~is_later)
    corrects = found & ~already_there
    told_at = np.where(assumed, appended_at, recorded_at)
    return Verdict(
        new=~found,
        corrects=corrects,
        already_there=already_there,
        moved=np.zeros_like(found),
        orphaned=np.zeros_like(found),
        content_hash=content_hash,
        since_at=np.where(corrects, np.maximum(told_at, current_since + 1), recorded_at),
        recorded_at=_put(recorded_at.copy(), place, here.recorded_at[is_current]),
        recorded_assumed=_put(assumed.copy(), place, here.recorded_assumed[is_current]),
    )


def move(verdict: Verdict, elsewhere: Numbers) -> None:
    """Refuse the new rows at these places: their number belongs to another customer."""
    verdict.new[elsewhere] = False
    verdict.moved[elsewhere] = True


def orphan(verdict: Verdict, named: Mask) -> None:
    """Refuse the rows to write that name an invoice refused in the same append."""
    verdict.orphaned[:] = named & verdict.to_write
    for mask in (verdict.new, verdict.corrects):
        mask[verdict.orphaned] = False


def _put(values: NDArray, place: Numbers, found: NDArray) -> NDArray:  # type: ignore[type-arg]
    values[place] = found
    return values
