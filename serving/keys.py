"""API keys: who may ask what. The record is the only source, as for overrides.

A key is ``encours_<id>_<secret>``: 256 random bits, shown once. The record holds its SHA-256, its
client, role and customers; a revocation is another entry. Random bits of that length cannot be
guessed, so a slow hash would protect nothing and cost each request its time.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from threading import Lock
from typing import Any, Literal, NamedTuple, get_args

from sqlalchemy.exc import SQLAlchemyError
from uuid_utils import uuid7

from features.store_database import why
from serving.audit import Record
from serving.limits import CALLS_A_SECOND, MOST_CALLS_A_SECOND

KIND = "key"
FRESH_SECONDS = 1.0  # a key that is made or revoked counts everywhere after that
Role = Literal["crm", "risk", "auditor", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
_KEY = re.compile("encours_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_NO_HASH = "0" * 64


class KeyFault(ValueError):
    """A key cannot be made or revoked."""


@dataclass(frozen=True)
class Key:
    """An API key, without its secret.

    Attributes
    ----------
    id : str
    client : str
        The system or person that holds it; a client may hold several, to change them.
    role : Role
    customers : frozenset of str or None
        The customers it may ask about, ``None`` for all.
    sha256 : str
        Of the whole key.
    made_at : str
        UTC, ISO 8601.
    expires_on : date or None
        The first day on which it no longer works.
    revoked_at : str or None
    """

    id: str
    client: str
    role: Role
    customers: frozenset[str] | None
    sha256: str
    made_at: str
    expires_on: date | None = None
    revoked_at: str | None = None
    calls_a_second: float = CALLS_A_SECOND

    def works_on(self, day: date) -> bool:
        """Tell whether it is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_on is None or day < self.expires_on)

    def sees(self, customer_id: str) -> bool:
        """Tell whether it may ask about the customer."""
        return self.customers is None or customer_id in self.customers


class Unreadable(SQLAlchemyError):
    """Another thread found that the record cannot be read."""


class Made(NamedTuple):
    """A new key and its text, which is nowhere else."""

    key: Key
    text: str


class Keys:
    """The API keys of a record.

    Parameters
    ----------
    record : callable
        Opens the record; called at first use, so that a damaged one is a problem and no crash.
    clock : callable, optional
        Gives the present instant, UTC: the real one, whatever day answers are given as of.
    """

    def __init__(
        self, record: Callable[[], Record], clock: Callable[[], datetime] | None = None
    ) -> None:
        self._open, self._clock = record, clock or _utc_now
        self._by_id: dict[str, Key] = {}
        self._names: dict[str, list[str] | None] = {}  # of customers, as the record has them
        self._seen, self._read_at = 0, -FRESH_SECONDS
        self._reading = Lock()
        self._failed: tuple[float, str] | None = None

    @cached_property
    def _record(self) -> Record:
        return self._open()

    @property
    def is_fresh(self) -> bool:
        """Whether the record was read within the last second."""
        return time.monotonic() - self._read_at < FRESH_SECONDS

    def refresh(self) -> None:
        """Read what was added to the record."""
        asked_at = time.monotonic()
        with self._reading:
            if self._read_at >= asked_at:  # by another thread, while this one waited
                return
            if self._failed is not None and self._failed[0] >= asked_at:
                raise Unreadable(self._failed[1])
            try:
                self._read()
            except SQLAlchemyError as error:
                self._failed = time.monotonic(), why(error)  # the error holds connections open
                raise

    def _read(self) -> None:
        begun = time.monotonic()
        for entry in self._record.after(self._seen, KIND):
            self._learn(json.loads(entry.body)["key"])
            self._seen = entry.sequence
        self._read_at = begun

    def _learn(self, said: dict[str, Any]) -> None:
        names = said["customers"]
        named = None if names is None else frozenset(self._record.persons.shown(names))
        self._names[said["id"]] = names
        self._by_id[said["id"]] = _from_said(said, named)

    def all(self) -> list[Key]:
        """Return every key, in the order they were made."""
        self.refresh()
        return list(self._by_id.values())

    def holder(self, text: str) -> Key | None:
        """Return the key that `text` is, if it works today, as of the last refresh."""
        matched = _KEY.fullmatch(text)
        found = None if matched is None else self._by_id.get(matched[1])
        expected = _NO_HASH if found is None else found.sha256
        is_it = hmac.compare_digest(_sha256(text), expected)
        if found is None or not is_it or not found.works_on(self._clock().date()):
            return None
        return found

    def make(
        self,
        client: str,
        role: Role,
        by: str,
        customers: Collection[str] | None = None,
        expires_on: date | None = None,
        calls_a_second: float = CALLS_A_SECOND,
    ) -> Made:
        """Make a key and put it on the record.

        Parameters
        ----------
        client : str
        role : Role
        by : str
            Who makes it.
        customers : collection of str, optional
            Those it may ask about; by default all.
        expires_on : date, optional
        calls_a_second : float, optional

        Raises
        ------
        KeyFault
        """
        if not client.strip() or not client.isprintable() or len(client) > 100:
            raise KeyFault("a client needs a name of 1 to 100 printable characters")
        if customers is not None and not customers:
            raise KeyFault("the list of customers is empty: the key could ask about nobody")
        if expires_on is not None and expires_on <= self._clock().date():
            raise KeyFault(f"{expires_on} is not in the future")
        if not 0 < calls_a_second <= MOST_CALLS_A_SECOND:
            raise KeyFault(f"calls a second must be > 0 and at most {MOST_CALLS_A_SECOND:,.0f}")
        id = secrets.token_hex(6)
        text = f"encours_{id}_{secrets.token_urlsafe(32)}"
        named = None if customers is None else frozenset(customers)
        made_at = self._now()
        key = Key(id, client, role, named, _sha256(text), made_at, expires_on, None, calls_a_second)
        names = None if customers is None else self._record.persons.hidden(sorted(customers))
        self._put(key, "made", by, names)
        return Made(key, text)

    def revoke(self, id: str, by: str) -> Key:
        """Revoke a key; it stops within a second in every process.

        Raises
        ------
        KeyFault
            If there is no such key, or it was revoked before.
        """
        self.refresh()
        key = self._by_id.get(id)
        if key is None:
            raise KeyFault(f"there is no key {id}: `encours keys list` shows them")
        if key.revoked_at is not None:
            raise KeyFault(f"key {id} was revoked on {key.revoked_at}")
        revoked = Key(**{**key.__dict__, "revoked_at": self._now()})
        self._put(revoked, "revoked", by, self._names[id])
        return revoked

    def _put(self, key: Key, change: str, by: str, names: list[str] | None) -> None:
        said = {"schema": 1, "change": change, "by": by, "at": self._now()}
        said |= {"key": _said(key, names)}
        body = json.dumps(said, ensure_ascii=False, allow_nan=False).encode()
        self._record.append(str(uuid7()), KIND, body)
        self.refresh()

    def _now(self) -> str:
        return self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")


def _said(key: Key, names: list[str] | None) -> dict[str, object]:
    expires_on = None if key.expires_on is None else str(key.expires_on)
    return {**key.__dict__, "customers": names, "expires_on": expires_on}


def _from_said(said: dict[str, Any], customers: frozenset[str] | None) -> Key:
    expires_on = said["expires_on"]
    last = None if expires_on is None else date.fromisoformat(expires_on)
    return Key(**{**said, "customers": customers, "expires_on": last})


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _utc_now() -> datetime:
    return datetime.now(UTC)
