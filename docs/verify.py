"""Checks an export or a proof of an encours record, without encours.

    python verify.py export.jsonl --keys record.keys --checkpoint checkpoint.txt

Needs Python 3.10 or later and the package "cryptography" (for Ed25519), nothing else. Exit code 1:
something is not as it was signed, and it says what. Checked are the signature of each checkpoint,
by a key of --keys or one that such a key vouches for (without --keys by the file's own keys, which
proves less); at each checkpoint the root of the entries, computed anew from their exact bytes, and
of their place, time, kind and id; and that the record grew from each checkpoint that you kept.

Formats: c2sp.org/signed-note, c2sp.org/tlog-checkpoint; proofs of RFC 6962, 2.1.1 and 2.1.2.
"""

import argparse
import base64
import hashlib
import json
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

TREES = ("bodies", "columns")


class Wrong(Exception):
    """Something is not as it was signed."""


def decoded(text):
    """Read Base64, in the one way there is to write it."""
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise Wrong(f"{text[-8:]!r} is no Base64")
    return data


def leaf_hash(data):
    """Hash a leaf."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left, right):
    """Hash a node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """The roots of the perfect subtrees that make up the tree so far, each with its level."""

    def __init__(self):
        self.size, self.nodes = 0, []

    def add(self, node, level=0):
        """Add a leaf, or a subtree of two to the power of level leaves."""
        self.size += 1 << level
        while self.nodes and self.nodes[-1][0] == level:
            node, level = node_hash(self.nodes.pop()[1], node), level + 1
        self.nodes.append((level, node))

    def root(self):
        """Give the root of all leaves so far."""
        root = None
        for _, node in reversed(self.nodes):
            root = node if root is None else node_hash(node, root)
        return root


def levels(begin, end):
    """Give the levels of the perfect subtrees that the leaves from begin to end make up."""
    while begin < end:
        level = (end - begin).bit_length() - 1
        if begin:
            level = min(level, (begin & -begin).bit_length() - 1)
        yield level
        begin += 1 << level


def root_of(leaf, index, size, proof):
    """Give the root that an inclusion proof leads to."""
    if size == 1:
        if proof:
            raise Wrong("the inclusion proof is too long")
        return leaf
    half = 1 << (size - 1).bit_length() - 1
    if index < half:
        return node_hash(root_of(leaf, index, half, proof[:-1]), proof[-1])
    return node_hash(proof[-1], root_of(leaf, index - half, size - half, proof[:-1]))


def roots_of(old, new, proof, old_root, known=True):
    """Give the old and the new root that a consistency proof leads to."""
    if old == new:
        (node,) = [old_root, *proof] if known else proof
        return node, node
    half = 1 << (new - 1).bit_length() - 1
    if old <= half:
        before, after = roots_of(old, half, proof[:-1], old_root, known)
        return before, node_hash(after, proof[-1])
    before, after = roots_of(old - half, new - half, proof[:-1], old_root, False)
    return node_hash(proof[-1], before), node_hash(proof[-1], after)


class Key:
    """A public key, written name+id+key."""

    def __init__(self, text):
        self.text, (self.name, key_id, encoded) = text, text.split("+", 2)
        data = decoded(encoded)
        self.id = hashlib.sha256(self.name.encode() + b"\n" + data).digest()[:4]
        if data[:1] != b"\x01" or self.id.hex() != key_id:
            raise Wrong(f"{text!r} is no public key")
        self.key = Ed25519PublicKey.from_public_bytes(data[1:])

    def has_signed(self, text, signature):
        """Tell whether this key signed a text."""
        try:
            self.key.verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True


def known_keys(lines, pinned):
    """Give the keys pinned, or else the first; and those that one before vouches for."""
    known = list(pinned)
    for line in lines:
        text, _, vouching = line.partition(" ")
        key, data = Key(text), decoded(vouching)
        by = [one for one in known if one.id == data[:4]]
        if not known or any(one.has_signed(text + "\n", data[4:]) for one in by):
            known.append(key)
        elif not pinned:
            raise Wrong(f"no key before vouches for {text}")
    return known


def opened(note, keys):
    """Give origin, size and both roots of a checkpoint that a known key signed."""
    text, _, tail = note.rpartition("\n\n")
    (*lines, end), text, is_signed = tail.split("\n"), text + "\n", False
    for line in lines:
        dash, name, encoded = line.split(" ")
        data = decoded(encoded)
        for key in keys:
            if (dash, name, data[:4]) == ("—", key.name, key.id):
                if not key.has_signed(text, data[4:]):
                    raise Wrong("the signature of a checkpoint is wrong")
                is_signed = True
    if end or not is_signed:
        raise Wrong("a checkpoint is signed by no known key")
    origin, size, root, columns, _ = text.split("\n")
    roots = [decoded(one) for one in (root, columns.split(" ")[1])]
    return origin, int(size), dict(zip(TREES, roots, strict=True))


class Signed:
    """What is signed in a file, and the checkpoints that somebody holds, to be compared."""

    def __init__(self, head, pinned, held):
        self.keys = known_keys(head["keys"], pinned)
        self.origin, self.size, self.roots = opened(head["checkpoint"], self.keys)
        self.signed, self.held = 1, {}
        self.held |= {name: self.open(note) for name, note in held.items()}
        for one in head["consistency"]:
            self.require_grown_from(one)

    def open(self, note):
        """Give size and roots of a checkpoint of this record."""
        origin, size, roots = opened(note, self.keys)
        if origin != self.origin:
            raise Wrong(f"a checkpoint is of another record, {origin}")
        self.signed += 1
        return size, roots

    def require_grown_from(self, one):
        """Check a consistency proof, and that it is of the checkpoint held of that size."""
        size, roots = self.open(one["checkpoint"])
        for name in TREES:
            proof = [bytes.fromhex(node) for node in one[name]]
            grown = size <= self.size and roots_of(size, self.size, proof, roots[name])
            if grown != (roots[name], self.roots[name]):
                raise Wrong(f"the record did not grow from the checkpoint of {size} entries")
        self.compare(size, roots)

    def compare(self, size, roots):
        """Compare with the checkpoints held of that size."""
        for name, held in list(self.held.items()):
            if held == (size, roots):
                del self.held[name]
            elif held[0] == size:
                raise Wrong(f"{name} is of other entries: the record was rewritten or forked")

    def require_all_compared(self):
        """Check that nothing held is left."""
        self.compare(self.size, self.roots)
        for name, (size, _) in self.held.items():
            if size > self.size:
                why = f"entries from {self.size + 1} on are missing, or this is an older copy"
                raise Wrong(f"{name} is of {size} entries, and {self.size} are signed here: {why}")
            raise Wrong(f"nothing here shows that the record grew from {name}: ask for that")


def leaves_of(entry):
    """Hash an entry's exact bytes, and what stands beside them."""
    kind, id = entry["kind"].encode(), entry["id"].encode()
    beside = b"%d %d %d %b %b" % (entry["sequence"], entry["recorded_at"], len(kind), kind, id)
    return leaf_hash(decoded(entry["body"])), leaf_hash(beside)


def check_proof(head, _lines, signed):
    """Check the proof of one entry."""
    entry = head["entry"]
    if not 0 <= entry["index"] < signed.size:
        raise Wrong("the entry is not among those signed")
    for name, leaf in zip(TREES, leaves_of(entry), strict=True):
        proof = [bytes.fromhex(node) for node in head["inclusion"][name]]
        if root_of(leaf, entry["index"], signed.size, proof) != signed.roots[name]:
            raise Wrong(f"entry {entry['sequence']} is not what was signed")
    return f"entry {entry['sequence']} ({entry['id']}) is as it was signed"


def check_export(head, lines, signed):
    """Check every entry of an export, at each checkpoint."""
    begin, end = head["begin"], head["end"]
    if not 0 <= begin < end <= signed.size:
        raise Wrong("the entries are not among those signed")
    bodies, _ = trees = Tree(), Tree()
    add_subtrees(trees, head["before"], [*levels(0, begin)])
    since, held_sizes = None, {size for size, _ in signed.held.values()}
    for content in map(json.loads, lines):
        if "checkpoint" in content:
            if signed.open(content["checkpoint"]) != (bodies.size, roots(trees)):
                raise Wrong(f"entries from {since} on are not those of the next checkpoint")
            since = None
            continue
        if content["index"] != bodies.size or bodies.size == end:
            raise Wrong(f"entry {content['sequence']} does not follow the one before it")
        for tree, leaf in zip(trees, leaves_of(content), strict=True):
            tree.add(leaf)
        since = since or content["sequence"]
        if bodies.size in held_sizes:
            signed.compare(bodies.size, roots(trees))
    if bodies.size != end:
        raise Wrong(f"the export is cut short: {bodies.size - begin} of {end - begin} entries")
    add_subtrees(trees, head["after"], [*levels(end, signed.size)])
    if roots(trees) != signed.roots:
        raise Wrong(f"entries from {since or 'the end'} on are not those of the last checkpoint")
    return f"{end - begin:,} entries, of {signed.size:,} signed, are as they were signed"


def roots(trees):
    """Give the root of each tree."""
    return {name: tree.root() for name, tree in zip(TREES, trees, strict=True)}


def add_subtrees(trees, given, of_levels):
    """Add the subtrees before or after the entries."""
    for name, tree in zip(TREES, trees, strict=True):
        for level, root in zip(of_levels, given[name], strict=True):
            tree.add(bytes.fromhex(root), level)


def check(file, keys, checkpoints):
    """Check a file; give what it shows and, when none were given, the keys it rests on."""
    pinned = known_keys(keys.read_text("utf-8").splitlines(), []) if keys else []
    held = {str(path): path.read_text("utf-8") for path in checkpoints}
    with file.open(encoding="utf-8") as lines:
        head = json.loads(next(lines))
        signed = Signed(head, pinned, held)
        checks = {"encours-proof/1": check_proof, "encours-export/1": check_export}
        said = checks[head["format"]](head, lines, signed)
    signed.require_all_compared()
    said += f"; checkpoints of {signed.origin} signed well: {signed.signed}."
    return said, [] if pinned else signed.keys


def main():
    """Check the file asked for."""
    parser = argparse.ArgumentParser(description="Checks an export or a proof of a record.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--keys", type=Path, help="public keys that you trust, one a line")
    parser.add_argument("--checkpoint", type=Path, action="append", default=[], help="held by you")
    asked = parser.parse_args()
    try:
        said, keys = check(asked.file, asked.keys, asked.checkpoint)
    except Wrong as wrong:
        sys.exit(f"WRONG: {wrong}")
    except (ValueError, LookupError, TypeError, AttributeError, StopIteration) as error:
        sys.exit(f"WRONG: a file is damaged ({type(error).__name__}: {error})")
    print(said)
    if keys:
        print("The keys are the file's own: compare them with those you noted, or give --keys.")
        print(*(f"  {key.text}" for key in keys), sep="\n")


if __name__ == "__main__":
    main()
