"""Merkle trees of RFC 6962: one root for all leaves, and short proofs of what stands below it.

Worked example: of three leaves a, b, c the root is H(H(a, b), c). That a stands below it is proved
by b and c, from which everybody computes the root anew; that the tree grew from the one of a and b
is proved by c alone. The frontier of three leaves is H(a, b) and c: all it takes to add a fourth.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

_sha256 = hashlib.sha256
EMPTY = _sha256().digest()  # root of no leaves


def leaf_hash(data: bytes) -> bytes:
    """Hash a leaf: SHA-256 over a zero byte and the data."""
    return _sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash a node: SHA-256 over a one byte and its two children."""
    return _sha256(b"\x01" + left + right).digest()


class Frontier:
    """Roots of the perfect subtrees that make up a tree; what is needed to go on.

    Parameters
    ----------
    size : int, default 0
        Number of leaves.
    hashes : sequence of bytes, default none
        One for each bit set in `size`, the largest subtree first, as :attr:`hashes` gives them.

    Raises
    ------
    ValueError
        If there are not as many hashes as `size` needs.
    """

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        if len(hashes) != size.bit_count():
            raise ValueError(f"{size} leaves have {size.bit_count()} subtrees, not {len(hashes)}")
        left = iter(reversed(hashes))
        self._at = [next(left) if size >> level & 1 else None for level in range(size.bit_length())]
        self.size = size

    @property
    def hashes(self) -> list[bytes]:
        """Roots of the perfect subtrees, the largest first."""
        return [node for node in reversed(self._at) if node is not None]

    def extend(self, nodes: Iterable[bytes], level: int = 0) -> None:
        """Add leaves, in O(log n) and one hash each; or whole subtrees of ``2**level`` leaves.

        Raises
        ------
        ValueError
            If the tree ends amid such a subtree.
        """
        if self.size % (1 << level):
            raise ValueError(f"a subtree of {1 << level} leaves cannot begin at {self.size}")
        row = list(nodes)
        self.size += len(row) << level
        self._at += [None] * (self.size.bit_length() - len(self._at))
        while row:
            if (left := self._at[level]) is not None:
                row.insert(0, left)
            self._at[level] = row.pop() if len(row) % 2 else None
            row = _parents(row)
            level += 1

    def root(self) -> bytes:
        """Give the root of all leaves so far."""
        root = None
        for node in self._at:
            if node is not None:
                root = node if root is None else node_hash(node, root)
        return EMPTY if root is None else root


def _parents(row: Sequence[bytes]) -> list[bytes]:
    # node_hash, inlined: it is most of the time that a tree takes
    return [
        _sha256(b"\x01" + left + right).digest()
        for left, right in zip(row[::2], row[1::2], strict=True)
    ]


def root(leaves: Iterable[bytes]) -> bytes:
    """Give the root of a tree of these leaf hashes."""
    frontier = Frontier()
    frontier.extend(leaves)
    return frontier.root()


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Prove that a leaf stands at `index` (RFC 6962, section 2.1.1).

    Returns
    -------
    list of bytes
        Roots of the subtrees beside its path, from the leaf up.
    """
    if not 0 <= index < len(leaves):
        raise IndexError(f"there is no leaf {index} among {len(leaves)}")
    proof, begin, end = [], 0, len(leaves)
    while end - begin > 1:
        half = begin + _largest_power_below(end - begin)
        if index < half:
            proof.append(root(leaves[half:end]))
            end = half
        else:
            proof.append(root(leaves[begin:half]))
            begin = half
    return proof[::-1]


def consistency_proof(leaves: Sequence[bytes], old: int) -> list[bytes]:
    """Prove that the tree grew from its first `old` leaves (RFC 6962, section 2.1.2)."""
    if not 0 <= old <= len(leaves):
        raise IndexError(f"{len(leaves)} leaves did not grow from {old}")
    if old in (0, len(leaves)):
        return []
    proof, begin, end = [], 0, len(leaves)
    while old != end:
        half = begin + _largest_power_below(end - begin)
        if old <= half:
            proof.append(root(leaves[half:end]))
            end = half
        else:
            proof.append(root(leaves[begin:half]))
            begin = half
    if begin:  # else the verifier holds this root already
        proof.append(root(leaves[begin:end]))
    return proof[::-1]


def is_included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Tell whether a proof shows a leaf hash at `index` of the tree (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    last, node = size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if index & 1 or index == last:
            node = node_hash(sibling, node)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        index, last = index >> 1, last >> 1
    return last == 0 and node == root


def is_consistent(
    old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Tell whether a proof shows that one tree grew from another (RFC 9162, section 2.1.4.2)."""
    if old == new or old == 0:
        return not proof and old_root == (new_root if old == new else EMPTY)
    if not 0 < old < new:
        return False
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not path:
        return False
    index, last = old - 1, new - 1
    while index & 1:
        index, last = index >> 1, last >> 1
    before = after = path[0]
    for node in path[1:]:
        if last == 0:
            return False
        if index & 1 or index == last:
            before, after = node_hash(node, before), node_hash(node, after)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            after = node_hash(after, node)
        index, last = index >> 1, last >> 1
    return last == 0 and before == old_root and after == new_root


def subtrees(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut leaves into the fewest perfect subtrees that stand in every tree of at least `end`.

    Yields
    ------
    tuple of (int, int)
        Level and first leaf. With the roots of those before and after a range, whoever holds the
        range computes the root of all.

    Examples
    --------
    >>> list(subtrees(3, 8))
    [(0, 3), (2, 4)]
    """
    while begin < end:
        level = (end - begin).bit_length() - 1
        if begin:
            level = min(level, (begin & -begin).bit_length() - 1)
        yield level, begin
        begin += 1 << level


def _largest_power_below(n: int) -> int:
    return 1 << (n - 1).bit_length() - 1
