"""The key of one natural person, and what is encrypted by it: JSON that anyone can hash."""

from __future__ import annotations

import base64
import hmac
import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PREFIX = "person-"  # of a key's id
NONCE_BYTES = 12
_BEGIN = b'{"person_key": "'


class Erased(Exception):
    """It was about a person whose data was erased; `at` is when, ``None`` where that is unknown."""

    def __init__(self, at: datetime | None = None) -> None:
        super().__init__(f"erased on {at:%Y-%m-%d}" if at else "erased")
        self.at = at


class Undecipherable(Exception):
    """What is recorded about a person cannot be read, and no erasure says why."""


@dataclass(frozen=True)
class PersonKey:
    """The key of one person.

    Attributes
    ----------
    id : str
        Random: it stands on the record for the person.
    customer_id : str
    secret : bytes
    erased_at : int or None
        Microseconds since 1970.
    """

    id: str
    customer_id: str | None
    secret: bytes | None = field(repr=False)
    erased_at: int | None = None

    @cached_property
    def _cipher(self) -> AESGCM:
        self.require_readable()
        assert self.secret is not None  # noqa: S101 (for the type checker)
        return AESGCM(self.secret)

    def require_readable(self) -> None:
        """Refuse once the person is erased.

        Raises
        ------
        Erased
        """
        if self.erased_at is not None or self.secret is None:
            raise Erased(_instant(self.erased_at))

    def encrypt(self, what: str, body: bytes) -> bytes:
        """Encrypt a body; it can be read as `what` alone.

        Parameters
        ----------
        what : str
            Of an entry its kind and id, so that no two can be swapped.
        body : bytes

        Returns
        -------
        bytes
            JSON: ``person_key``, ``cipher``, ``nonce`` and ``ciphertext``, the last two in Base64.

        Raises
        ------
        Erased
        """
        nonce = os.urandom(NONCE_BYTES)
        hidden = self._cipher.encrypt(nonce, body, self._bound(what))
        return b'%s%s", "cipher": "AES-256-GCM", "nonce": "%s", "ciphertext": "%s"}' % (
            _BEGIN,
            self.id.encode(),
            base64.b64encode(nonce),
            base64.b64encode(hidden),
        )

    def decrypt(self, what: str, recorded: bytes) -> bytes:
        """Read what :meth:`encrypt` wrote.

        Raises
        ------
        Erased, Undecipherable
        """
        cipher = self._cipher
        try:
            said = json.loads(recorded)
            nonce, hidden = (
                base64.b64decode(said[name], validate=True) for name in ("nonce", "ciphertext")
            )
            return cipher.decrypt(nonce, hidden, self._bound(what))
        except (ValueError, KeyError, TypeError, InvalidTag):
            raise Undecipherable("it was changed, or stands in another one's place") from None

    def _bound(self, what: str) -> bytes:
        return f"encours {self.id} {what}".encode()

    def hide(self, text: str) -> str:
        """Hash a text so that without the key nobody can try what it was."""
        self.require_readable()
        assert self.secret is not None  # noqa: S101 (for the type checker)
        return hmac.digest(self.secret, b"encours text " + text.encode(), "sha256").hex()


def key_named(recorded: bytes | None) -> str | None:
    """Return the id of the key that something is encrypted by; ``None`` where it is not.

    >>> key_named(b'{"person_key": "person-1f", "cipher": "AES-256-GCM"}')
    'person-1f'
    >>> key_named(b'{"schema": 2}') is None
    True
    """
    if recorded is None or not recorded.startswith(_BEGIN):
        return None
    return recorded[len(_BEGIN) : recorded.index(b'"', len(_BEGIN))].decode()


def _instant(microseconds: int | None) -> datetime | None:
    if microseconds is None:
        return None
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
