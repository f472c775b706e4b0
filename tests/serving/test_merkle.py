"""Merkle trees against the vectors of certificate transparency and a naive tree."""

from __future__ import annotations

import hashlib
import random
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import merkle
from serving.merkle import Frontier, leaf_hash

# Published with the reference implementation of certificate transparency.
INPUTS = [
    bytes.fromhex(text)
    for text in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]  # fmt: skip
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = {
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): INCLUSION[0, 8],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
LEAVES = [leaf_hash(data) for data in INPUTS]
SIZES = st.integers(1, 70)


@cache
def leaves_of(size: int) -> list[bytes]:
    return [leaf_hash(b"%d" % n) for n in range(size)]


def naive_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, word for word."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_inclusion(m: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962, word for word."""
    if len(leaves) == 1:
        return []
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    if m < k:
        return [*naive_inclusion(m, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_inclusion(m - k, leaves[k:]), naive_root(leaves[:k])]


def naive_consistency(m: int, leaves: list[bytes], *, known: bool = True) -> list[bytes]:
    """SUBPROOF of RFC 6962, word for word."""
    if m == len(leaves):
        return [] if known else [naive_root(leaves)]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    if m <= k:
        return [*naive_consistency(m, leaves[:k], known=known), naive_root(leaves[k:])]
    return [*naive_consistency(m - k, leaves[k:], known=False), naive_root(leaves[:k])]


# The published vectors.


def test_the_roots_are_the_published_ones():
    for size, expected in enumerate(ROOTS):
        assert merkle.root(LEAVES[:size]).hex() == expected


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_inclusion_proofs_are_the_published_ones(index, size):
    proof = merkle.inclusion_proof(LEAVES[:size], index)
    assert [node.hex() for node in proof] == INCLUSION[index, size]
    assert merkle.is_included(LEAVES[index], index, size, proof, bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize(("old", "new"), CONSISTENCY)
def test_consistency_proofs_are_the_published_ones(old, new):
    proof = merkle.consistency_proof(LEAVES[:new], old)
    assert [node.hex() for node in proof] == CONSISTENCY[old, new]
    roots = (bytes.fromhex(ROOTS[size]) for size in (old, new))
    assert merkle.is_consistent(old, new, *roots, proof)


# Against the naive tree.


@given(SIZES, st.data())
def test_a_tree_grown_in_any_steps_is_the_naive_one(size, data):
    leaves, frontier = leaves_of(size), Frontier()
    while frontier.size < size:
        step = data.draw(st.integers(1, size - frontier.size))
        frontier.extend(leaves[frontier.size : frontier.size + step])
        assert frontier.root() == naive_root(leaves[: frontier.size])
        frontier = Frontier(frontier.size, frontier.hashes)  # laid down and taken up again


@given(SIZES, st.data())
def test_every_leaf_is_proved_as_the_rfc_says(size, data):
    index, leaves = data.draw(st.integers(0, size - 1)), leaves_of(size)
    proof = merkle.inclusion_proof(leaves, index)
    assert proof == naive_inclusion(index, leaves)
    assert merkle.is_included(leaves[index], index, size, proof, naive_root(leaves))


@given(SIZES, st.data())
def test_every_growth_is_proved_as_the_rfc_says(new, data):
    old, leaves = data.draw(st.integers(1, new)), leaves_of(new)
    proof = merkle.consistency_proof(leaves, old)
    assert proof == naive_consistency(old, leaves)
    roots = naive_root(leaves[:old]), naive_root(leaves)
    assert merkle.is_consistent(old, new, *roots, proof)


@given(SIZES, st.data())
def test_a_range_and_the_subtrees_beside_it_give_the_root(size, data):
    end = data.draw(st.integers(1, size))
    begin, leaves = data.draw(st.integers(0, end)), leaves_of(size)
    frontier = Frontier()
    for level, first in merkle.subtrees(0, begin):
        frontier.extend([naive_root(leaves[first : first + (1 << level)])], level)
    frontier.extend(leaves[begin:end])
    for level, first in merkle.subtrees(end, size):
        frontier.extend([naive_root(leaves[first : first + (1 << level)])], level)
    assert (frontier.size, frontier.root()) == (size, naive_root(leaves))


# Forged proofs.


def mutated(proof: list[bytes], rng: random.Random) -> list[bytes]:
    """Give another proof: a bit flipped, a node dropped, repeated, added, or two exchanged."""
    forged = list(proof)
    at = rng.randrange(len(forged)) if forged else 0
    how = rng.choice(["bit", "drop", "repeat", "add", "swap"]) if forged else "add"
    if how == "bit":
        bits = int.from_bytes(forged[at], "big") ^ 1 << rng.randrange(256)
        forged[at] = bits.to_bytes(32, "big")
    elif how == "drop":
        del forged[at]
    elif how == "repeat":
        forged.insert(at, forged[at])
    elif how == "add":
        forged.insert(rng.randint(0, len(forged)), rng.randbytes(32))
    else:
        other = rng.randrange(len(forged))
        forged[at], forged[other] = forged[other], forged[at]
    return forged


@cache
def honest(size: int) -> tuple[list[list[bytes]], list[list[bytes]], list[bytes]]:
    leaves = leaves_of(size)
    inclusion = [merkle.inclusion_proof(leaves, index) for index in range(size)]
    consistency = [merkle.consistency_proof(leaves, old) for old in range(size + 1)]
    return inclusion, consistency, [merkle.root(leaves[:n]) for n in range(size + 1)]


def test_fifty_thousand_forged_inclusion_proofs_are_refused():
    """The proof, the leaf, its place or the root is another than the honest one."""
    rng, forged = random.Random(1), 0  # noqa: S311
    while forged < 50_000:
        size = rng.randint(2, 40)
        index, (proofs, _, roots) = rng.randrange(size), honest(size)
        leaf, proof, root = leaves_of(size)[index], proofs[index], roots[size]
        case = rng.randrange(4)
        if case == 0:
            other = mutated(proof, rng)
            given, wrong = (leaf, index, size, other, root), other != proof
        elif case == 1:
            place = rng.randint(-2, size + 2)
            given, wrong = (leaf, place, size, proof, root), place != index
        elif case == 2:
            given, wrong = (rng.randbytes(32), index, size, proof, root), True
        else:
            given, wrong = (leaf, index, size, proof, rng.choice(roots[:size])), True
        if wrong:
            forged += 1
            assert not merkle.is_included(*given)


def test_fifty_thousand_forged_consistency_proofs_are_refused():
    """The proof or one of the two roots is another than the honest one."""
    rng, forged = random.Random(2), 0  # noqa: S311
    while forged < 50_000:
        new = rng.randint(2, 40)
        old, (_, proofs, roots) = rng.randint(1, new), honest(new)
        proof, case = proofs[old], rng.randrange(3)
        if case == 0:
            other = mutated(proof, rng)
            given, wrong = (old, new, roots[old], roots[new], other), other != proof
        elif case == 1:
            root = rng.choice(roots)
            given, wrong = (old, new, root, roots[new], proof), root != roots[old]
        else:
            root = rng.choice(roots)
            given, wrong = (old, new, roots[old], root, proof), root != roots[new]
        if wrong:
            forged += 1
            assert not merkle.is_consistent(*given)


def test_trees_that_cannot_have_grown_so_are_refused():
    root = merkle.root(LEAVES)
    assert not merkle.is_consistent(9, 8, root, root, [])
    assert not merkle.is_consistent(-1, 8, root, root, [])
    assert merkle.is_consistent(0, 8, merkle.EMPTY, root, [])
    assert not merkle.is_consistent(0, 8, root, root, [])
    assert not merkle.is_consistent(3, 8, root, root, [])


def test_a_node_is_no_leaf():
    """A leaf of 64 bytes that are two hashes does not stand for the node above them."""
    pair = LEAVES[0] + LEAVES[1]
    assert leaf_hash(pair) != merkle.node_hash(LEAVES[0], LEAVES[1])


def test_what_is_out_of_the_tree_cannot_be_proved():
    for index in (-1, 8):
        with pytest.raises(IndexError):
            merkle.inclusion_proof(LEAVES, index)
    for old in (-1, 9):
        with pytest.raises(IndexError):
            merkle.consistency_proof(LEAVES, old)
    with pytest.raises(ValueError, match="2 subtrees"):
        Frontier(3, [merkle.EMPTY])
    with pytest.raises(ValueError, match="cannot begin at 3"):
        Frontier(3, LEAVES[:2]).extend([merkle.EMPTY], level=1)
