"""Signed records of what was put in charge: each names the one before, so none can be changed.

A record is one JSON file, ``000001.json`` and so on, with a body and its Ed25519 signature. The
body holds the SHA-256 of the file before it: whoever changes, drops or inserts one breaks every
later one. What a folder cannot show is that its *last* records were taken away; compare them with
the pointer file, which they must explain, and keep the public key elsewhere: a person who may write
here could sign everything anew with a key of their own.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from models import key_file
from models.key_file import KeyFileError, write_new


class RecordError(ValueError):
    """The records were tampered with or cannot be read; nothing is built on them."""


@dataclass(frozen=True)
class Signed:
    """One record whose signature and place were verified.

    Attributes
    ----------
    number : int
        Its place, from 1.
    sha256 : str
        Hash of its file, which the next record names.
    body : dict
        What was recorded.
    """

    number: int
    sha256: str
    body: dict[str, Any]


class Signatures:
    """A folder of signed records and the key that signs them.

    Parameters
    ----------
    folder : Path
        The records; made with the first.
    key : Path
        Private key, PEM, readable by its owner only; made with the first record.
    """

    def __init__(self, folder: Path, key: Path) -> None:
        self._folder, self._key_file = folder, key

    def append(self, content: dict[str, Any]) -> Signed:
        """Sign a record and add it; it is on disk when this returns.

        Raises
        ------
        RecordError
            If an earlier record was tampered with: a new one would vouch for it; if the key is lost
            or open to others; or if somebody else just added one.
        """
        earlier = self.verified()
        key = self._key(may_make=not earlier)
        previous = earlier[-1].sha256 if earlier else None
        number = len(earlier) + 1
        body = {**content, "number": number, "previous": previous}
        data = _file(body, key.public_key(), key.sign(_bytes(body)))
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            write_new(self._folder / _name(number), data, mode=0o644)
        except FileExistsError as error:
            raise RecordError(f"{_name(number)} was added by somebody else: try again") from error
        return Signed(number, hashlib.sha256(data).hexdigest(), body)

    def verified(self) -> list[Signed]:
        """Return every record, oldest first, after checking signatures and chain.

        Raises
        ------
        RecordError
            Naming the first file that is missing, was changed, or does not belong there.
        """
        names = sorted(path.name for path in self._folder.glob("*.json"))
        found: list[Signed] = []
        signer = None
        for number, name in enumerate(names, start=1):
            if name != _name(number):
                raise RecordError(f"record {_name(number)} is missing: {name} stands in its place")
            data = (self._folder / name).read_bytes()
            body, public_key = _opened(name, data)
            signer = signer or public_key
            if public_key != signer:
                raise RecordError(f"record {name} was signed with another key")
            previous = found[-1].sha256 if found else None
            if (body.get("number"), body.get("previous")) != (number, previous):
                raise RecordError(f"record {name} does not follow the one before it")
            found.append(Signed(number, hashlib.sha256(data).hexdigest(), body))
        if signer is not None and self._key_file.exists() and self.signer() != signer:
            raise RecordError("the records were signed with another key than this workspace's")
        return found

    def signer(self) -> str:
        """Return the public key, 64 hexadecimal digits: note it where others keep it."""
        return _hex(self._key(may_make=False).public_key())

    def _key(self, *, may_make: bool) -> Ed25519PrivateKey:
        if not self._key_file.exists():
            if not may_make:
                raise RecordError(f"{self._key_file} is missing: it signed the records there are")
            key_file.make(self._key_file, mode=0o600)
        try:
            return key_file.load(self._key_file)
        except KeyFileError as error:
            raise RecordError(str(error)) from error


def _opened(name: str, data: bytes) -> tuple[dict[str, Any], str]:
    """Return a record's body and the key that signed it, if it is what was signed."""
    try:
        file = json.loads(data)
        body, public_key = file["body"], file["public_key"]
        signature = bytes.fromhex(file["signature"])
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
        key.verify(signature, _bytes(body))
    except (ValueError, KeyError, TypeError, InvalidSignature) as error:
        raise RecordError(f"record {name} was changed") from error
    if data != _file(body, key, signature):  # a blank more is a change too
        raise RecordError(f"record {name} was changed")
    return body, public_key


def _file(body: dict[str, Any], key: Ed25519PublicKey, signature: bytes) -> bytes:
    content = {"body": body, "public_key": _hex(key), "signature": signature.hex()}
    return json.dumps(content, sort_keys=True, indent=1, allow_nan=False).encode() + b"\n"


def _bytes(body: dict[str, Any]) -> bytes:
    """Give the bytes that are signed."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _hex(key: Ed25519PublicKey) -> str:
    return key.public_bytes_raw().hex()


def _name(number: int) -> str:
    return f"{number:06d}.json"
