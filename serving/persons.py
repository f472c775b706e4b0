"""Natural persons on the record: what is recorded about one can be made unreadable, and only that.

An entry about Mrs Morel, sole trader C-17, is recorded encrypted by a key that is hers alone, and
whom it is about is written as that key's id, a random name. Leaf hash, tree and proofs are of what
is recorded, so they hold with or without the key. When she is erased her key is destroyed: what
was recorded stays in its place for ever, and nobody can read it again.

The keys lie beside the record, never on it, and are no part of what is proven: a table that may be
changed, in a file of its own or, with PostgreSQL, in the record's database. From the moment that an
erasure begins no process reads or writes about the person any more, half a second later at most.
"""

from __future__ import annotations

import os
import secrets
import time
import weakref
from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from functools import cached_property
from pathlib import Path
from threading import Lock

import sqlalchemy as sa

from features.store import connect, writing
from features.store_database import Prepared, reading
from features.store_persons import PersonFacts, overwrite, tidy
from models.workspace import Workspace
from serving.person_key import PREFIX, Erased, PersonKey, Undecipherable, key_named

FRESH_SECONDS = 0.5  # an erasure counts in every process after that
KEY_BYTES = 32
_metadata = sa.MetaData()
_keys = sa.Table(
    "person_keys",
    _metadata,
    sa.Column("key_id", sa.Text, primary_key=True),
    sa.Column("customer_id", sa.Text, unique=True),  # null once the key is destroyed
    sa.Column("secret", sa.LargeBinary),
    sa.Column("made_at", sa.BigInteger, nullable=False),
    sa.Column("erased_at", sa.BigInteger, index=True),  # since when nobody may read with it
)
_KEY = (_keys.c.key_id, _keys.c.customer_id, _keys.c.secret, _keys.c.erased_at)
_MAKE = sa.text(
    "INSERT INTO person_keys (key_id, customer_id, secret, made_at) "
    "VALUES (:key_id, :customer_id, :secret, :made_at) ON CONFLICT DO NOTHING"
)


class Persons:
    """The keys of the natural persons of one ledger.

    Parameters
    ----------
    url : str, optional
        SQLAlchemy URL of the keys; without it nobody is a person here.
    facts : callable, optional
        Opens the facts, which say who is a natural person; ``None`` while there are none.
    """

    def __init__(
        self, url: str | None = None, facts: Callable[[], PersonFacts | None] = lambda: None
    ) -> None:
        self._url, self._open_facts = url, facts
        self._facts: PersonFacts | None = None
        self._engine: sa.Engine | None = None
        self._is_made = False
        self._known: dict[tuple[str, str], PersonKey | None] = {}
        self._erased: frozenset[str] | None = None
        self._read_at = -FRESH_SECONDS
        self._opening = Lock()

    @classmethod
    def of(cls, workspace: Workspace) -> Persons:
        """Give the persons of a workspace."""

        def facts() -> PersonFacts | None:
            if not workspace.has_facts():
                return None
            found = PersonFacts(workspace.facts_url)
            return found if found.has_ledger() else None

        return cls(workspace.person_keys_url, facts)

    # --- Who is one ----------------------------------------------------------------------

    def is_person(self, customer_id: str) -> bool | None:
        """Tell whether the ledger has a customer as a natural person; ``None``: it has no such."""
        facts = self._ledger()
        return None if facts is None else facts.is_person(customer_id)

    def _ledger(self) -> PersonFacts | None:
        if self._facts is None and self._url is not None:
            self._facts = self._open_facts()
        return self._facts

    # --- Keys ----------------------------------------------------------------------------

    def find(self, customer_id: str) -> PersonKey | None:
        """Return a customer's key, erased or not, if there is one."""
        return self._look_up("customer_id", customer_id)

    def is_erased(self, customer_id: str) -> bool:
        """Tell whether the erasure of a customer has begun; afterwards nobody knows him."""
        found = self.find(customer_id)
        return found is not None and found.erased_at is not None

    def key_for(
        self, customer_id: str, is_person: bool | None = None, *, in_ledger: bool = True
    ) -> PersonKey | None:
        """Return the key by which to record something about a customer, made when missing.

        Parameters
        ----------
        customer_id : str
        is_person : bool, optional
            What the ledger says; it is asked when that is not given.
        in_ledger : bool, default True
            Whether the ledger is to know the customer; a prospect it does not.

        Returns
        -------
        PersonKey or None
            ``None`` for one who is no natural person.

        Raises
        ------
        Erased
            If he is, or if nobody knows the customer any more.
        """
        if self._url is None or is_person is False:
            return None
        found = self.find(customer_id)
        if found is not None:
            found.require_readable()
            return found if is_person or self.is_person(customer_id) is not False else None
        is_person = self.is_person(customer_id) if is_person is None else is_person
        if is_person is None:
            raise Erased
        return self._make([customer_id], in_ledger=in_ledger)[0] if is_person else None

    def names_of(self, customer_id: str) -> list[str]:
        """Return the names under which the record may have a customer: his own, and his key's."""
        found = self.find(customer_id)
        return [customer_id] if found is None else [customer_id, found.id]

    def hidden(self, customer_ids: Iterable[str]) -> list[str]:
        """Write a list of customers for the record: natural persons as the ids of their keys.

        Who is erased is left out.
        """
        listed = list(customer_ids)
        _, keys = self._among(listed)
        kept = (one for one in listed if one not in keys or keys[one].erased_at is None)
        return [keys[one].id if one in keys else one for one in kept]

    def keys_for(self, customer_ids: Iterable[str]) -> dict[str, PersonKey | None]:
        """Return what :meth:`key_for` does of each customer; who is erased is left out."""
        if self._url is None:
            return dict.fromkeys(customer_ids)
        known, keys = self._among(list(customer_ids))
        firms: dict[str, PersonKey | None] = dict.fromkeys(known.keys() - keys.keys())
        return firms | {one: key for one, key in keys.items() if key.erased_at is None}

    def _among(self, customer_ids: list[str]) -> tuple[dict[str, bool], dict[str, PersonKey]]:
        """Tell who is known, as a natural person or not, and give the keys of those who are."""
        facts = self._ledger()
        known = {} if facts is None else facts.among(customer_ids)
        persons = sorted(one for one, is_person in known.items() if is_person)
        return known, dict(zip(persons, self._make(persons), strict=True))

    def shown(self, names: Iterable[str]) -> list[str]:
        """Read a list of :meth:`hidden`; who was erased since is left out."""
        found = []
        for name in names:
            key = self._look_up("key_id", name) if name.startswith(PREFIX) else None
            if key is None:
                found.append(name)
            elif key.customer_id is not None and key.erased_at is None:
                found.append(key.customer_id)
        return found

    def _make(self, customer_ids: Collection[str], *, in_ledger: bool = True) -> list[PersonKey]:
        """Give the keys of natural persons, made where missing; two processes make one."""
        missing = [one for one in customer_ids if self.find(one) is None]
        if missing:
            self._insert(missing)
        keys = [self.find(one) for one in customer_ids]
        made = [key for key in keys if key is not None]
        for key in made if in_ledger else ():
            if key.customer_id in missing and self.is_person(key.customer_id) is None:
                self.destroy(key.id)  # his facts were removed since they were read
                raise Erased
        if len(made) < len(keys):  # another process did so at this moment
            raise Erased
        return made

    def _insert(self, customer_ids: Collection[str]) -> None:
        now = time.time_ns() // 1000
        rows = [
            {
                "key_id": PREFIX + secrets.token_hex(16),
                "customer_id": one,
                "secret": os.urandom(KEY_BYTES),
                "made_at": now,
            }
            for one in customer_ids
        ]
        with writing(self._made()) as connection:
            connection.execute(_MAKE, rows)
        self._forget_all()

    # --- What is recorded ----------------------------------------------------------------

    def decrypt(self, what: str, recorded: bytes) -> tuple[bytes, str | None]:
        """Read a body of the record; with the id of its key, if it is about a natural person.

        Raises
        ------
        Erased, Undecipherable
        """
        id = key_named(recorded)
        return (recorded, None) if id is None else (self.key(id).decrypt(what, recorded), id)

    def key(self, id: str) -> PersonKey:
        """Return a key by its id.

        Raises
        ------
        Erased, Undecipherable
        """
        found = self._look_up("key_id", id)
        if found is None:
            raise Undecipherable("the key of the person whom it is about is not here")
        found.require_readable()
        return found

    def erased(self) -> frozenset[str]:
        """Return the ids of the keys of all who were erased."""
        self._forget_what_is_old()
        found = self._erased
        if found is None:
            found = self._erased = self._read_erased()
        return found

    def _read_erased(self) -> frozenset[str]:
        if not self._is_there():
            return frozenset()
        query = sa.select(_keys.c.key_id).where(_keys.c.erased_at.is_not(None))
        with self._open().connect() as connection:
            return frozenset(connection.execute(query).scalars())

    # --- Erasure -------------------------------------------------------------------------

    def begin_erasure(self, customer_id: str, at: datetime) -> PersonKey:
        """Have nobody read or write about a person from now on; again it changes nothing."""
        self._make([customer_id])
        this = _keys.c.customer_id == customer_id, _keys.c.erased_at.is_(None)
        with writing(self._made()) as connection:
            begun = {"erased_at": int(at.timestamp() * 1_000_000)}
            connection.execute(_keys.update().where(*this), begun)
        self._forget_all()
        found = self.find(customer_id)
        assert found is not None  # noqa: S101 (for the type checker)
        return found

    def unfinished(self) -> dict[str, PersonKey]:
        """Return the keys of those whose erasure has begun and was cut short, by customer."""
        if not self._is_there():
            return {}
        begun = _keys.c.erased_at.is_not(None), _keys.c.customer_id.is_not(None)
        with self._open().connect() as connection:
            rows = connection.execute(sa.select(*_KEY).where(*begun)).all()
        return {row.customer_id: PersonKey(*row) for row in rows}

    def destroy(self, id: str) -> None:
        """Destroy a key, and whose it was."""
        now = time.time_ns() // 1000
        gone = {"customer_id": None, "secret": None}
        with writing(self._made()) as connection:
            overwrite(connection)
            this = _keys.update().where(_keys.c.key_id == id)
            since = sa.func.coalesce(_keys.c.erased_at, now)
            connection.execute(this.values(**gone, erased_at=since))
        self._forget_all()

    def tidy(self) -> None:
        """Leave nothing of a key that was destroyed in the file or its log."""
        if self._is_there():
            tidy(self._open(), _keys.name)

    # --- The database --------------------------------------------------------------------

    def _look_up(self, column: str, value: str) -> PersonKey | None:
        self._forget_what_is_old()
        try:
            return self._known[column, value]
        except KeyError:
            found = self._known[column, value] = self._read(column, value)
            return found

    def _forget_what_is_old(self) -> None:
        if time.monotonic() - self._read_at >= FRESH_SECONDS:
            self._forget_all()

    def _forget_all(self) -> None:
        self._known, self._erased, self._read_at = {}, None, time.monotonic()

    def _read(self, column: str, value: str) -> PersonKey | None:
        if not self._is_there():
            return None
        with reading(self._open()) as cursor:
            row = self._queries[column].run(cursor, {"value": value}).fetchone()
        return None if row is None else PersonKey(*row)

    @cached_property
    def _queries(self) -> dict[str, Prepared]:
        return {
            name: Prepared(
                sa.select(*_KEY).where(_keys.c[name] == sa.bindparam("value")),
                self._open().dialect,
            )
            for name in ("customer_id", "key_id")
        }

    def _is_there(self) -> bool:
        """Tell whether any key was ever made: opening a SQLite file would make it."""
        if self._is_made or self._url is None:
            return self._is_made
        file = _file(self._url)
        if file is None or file.exists():
            self._is_made = sa.inspect(self._open()).has_table(_keys.name)
        return self._is_made

    def _open(self) -> sa.Engine:
        with self._opening:
            if self._engine is None:
                assert self._url is not None  # noqa: S101 (for the type checker)
                self._engine = connect(self._url)
                weakref.finalize(self, self._engine.dispose)
            return self._engine

    def _made(self) -> sa.Engine:
        """Open the database, made when missing: a file that its owner alone may read."""
        if self._is_there():
            return self._open()
        file = _file(self._url or "")
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
        engine = self._open()
        with writing(engine) as connection:
            if engine.dialect.name == "postgresql":
                alone = sa.func.pg_advisory_xact_lock(sa.func.hashtext("encours persons"))
                connection.execute(sa.select(alone))
            _metadata.create_all(connection)
        return engine


def _file(url: str) -> Path | None:
    """Return the file of a SQLite database."""
    return Path(sa.make_url(url).database or "") if url.startswith("sqlite") else None
