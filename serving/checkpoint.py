"""Checkpoints: how many entries the record has, their roots, and who signed that.

A checkpoint is a C2SP signed note (c2sp.org/signed-note, c2sp.org/tlog-checkpoint)::

    encours.record/5f0c1a9e77d2
    3
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
    columns x0Cl7lQq7TzVJdDa5Z6v9YJ0X5n8JrQ7hQe3b2y9t5Y=

    — encours.record/5f0c1a9e77d2 Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5…

The first three lines are the origin, the number of leaves and the root of the entries' bodies. The
fourth, an extension, is the root of a second tree of the same shape over what stands beside the
bodies: place, id, kind and time. A leaf of an entry is thus its body and nothing else.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ED25519 = b"\x01"
EXTENSION = "columns "
MOST_SIGNATURES = 16


class NoteError(ValueError):
    """The note is no checkpoint, or nobody known signed it."""


@dataclass(frozen=True)
class Verifier:
    """A public key and the name it signs under.

    Attributes
    ----------
    name : str
        Without blanks and plus signs.
    public : bytes
        Ed25519 public key.
    """

    name: str
    public: bytes

    @cached_property
    def key_id(self) -> bytes:
        """First four bytes of the hash of name and key."""
        named = self.name.encode() + b"\n" + ED25519 + self.public
        return hashlib.sha256(named).digest()[:4]

    @classmethod
    def of(cls, name: str, key: Ed25519PrivateKey) -> Verifier:
        """Give the public half of a key."""
        return cls(name, key.public_key().public_bytes_raw())

    @classmethod
    def parse(cls, text: str) -> Verifier:
        """Read ``name+id+key``.

        Raises
        ------
        NoteError
        """
        name, _, rest = text.partition("+")
        key_id, _, encoded = rest.partition("+")
        data = _decoded(encoded)
        verifier = cls(name, data[1:])
        if data[:1] != ED25519 or len(data) != 33 or verifier.key_id.hex() != key_id:
            raise NoteError(f"{text!r} is no verifier key")
        return verifier

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{_encoded(ED25519 + self.public)}"

    def has_signed(self, text: str, signature: bytes) -> bool:
        """Tell whether this key signed the text."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class Signer:
    """A private key and the name it signs under."""

    name: str
    key: Ed25519PrivateKey

    @property
    def verifier(self) -> Verifier:
        """Its public half."""
        return Verifier.of(self.name, self.key)

    def sign(self, text: str) -> str:
        """Give the key id and the signature of a text, in Base64."""
        return _encoded(self.verifier.key_id + self.key.sign(text.encode()))


@dataclass(frozen=True)
class Checkpoint:
    """How many entries the record has and what they are.

    Attributes
    ----------
    origin : str
        Which record.
    size : int
        Number of entries.
    root : bytes
        Root of their bodies.
    columns : bytes
        Root of what stands beside the bodies.
    """

    origin: str
    size: int
    root: bytes
    columns: bytes

    @property
    def text(self) -> str:
        """What is signed."""
        root, columns = _encoded(self.root), _encoded(self.columns)
        return f"{self.origin}\n{self.size}\n{root}\n{EXTENSION}{columns}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read what was signed.

        Raises
        ------
        NoteError
            If it is anything else than :attr:`text` gives.
        """
        lines = text.split("\n")
        try:
            origin, size, root, columns = lines[:4]
            read = cls(origin, int(size), _decoded(root), _decoded(columns.removeprefix(EXTENSION)))
        except ValueError as error:
            raise NoteError("this is no checkpoint") from error
        if read.text != text or len(read.root) != 32 or len(read.columns) != 32 or not origin:
            raise NoteError("this is no checkpoint")
        return read


def signed(text: str, signers: Iterable[Signer]) -> str:
    """Make a signed note of a text."""
    return text + "\n" + "".join(f"— {one.name} {one.sign(text)}\n" for one in signers)


def opened(note: str, verifiers: Sequence[Verifier]) -> Checkpoint:
    """Return the checkpoint of a note that a known key signed.

    Raises
    ------
    NoteError
        If it is damaged, nobody known signed it, or the signature of a known key is wrong.
    """
    text, blank, tail = note.rpartition("\n\n")
    if not blank or not tail.endswith("\n"):
        raise NoteError("this is no signed note")
    text += "\n"
    known = {(one.name, one.key_id): one for one in verifiers}
    lines = tail[:-1].split("\n")
    signatures = [_signature(line) for line in lines[: MOST_SIGNATURES + 1]]
    ours = [(known[by], signature) for by, signature in signatures if by in known]
    if not ours or len(lines) > MOST_SIGNATURES:
        raise NoteError("no known key signed it")
    if not all(verifier.has_signed(text, signature) for verifier, signature in ours):
        raise NoteError("its signature is wrong")
    return Checkpoint.parse(text)


def _signature(line: str) -> tuple[tuple[str, bytes], bytes]:
    """Return name and key id, and the signature, of a line."""
    dash, name, data = (*line.split(" "), "", "")[:3]
    if dash != "—" or line.count(" ") != 2:
        raise NoteError("this is no signed note")
    key_id, signature = signature_of(data)
    return (name, key_id), signature


def signature_of(text: str) -> tuple[bytes, bytes]:
    """Return key id and signature, as :meth:`Signer.sign` gives them."""
    data = _decoded(text)
    return data[:4], data[4:]


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decoded(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoteError("this is no Base64") from error
    if _encoded(data) != text:  # other spare bits are another text
        raise NoteError("this is no Base64")
    return data
