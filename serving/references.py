"""The states that customers are compared with: a note of the watch, beside the record.

No part of the record: each alert says from what to what. If it is lost, customers are seen for the
first time again, and what stands is not told twice. Of a natural person it is encrypted, under the
name that the record has of him.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

import sqlalchemy as sa

from features.store import connect, writing
from features.store_database import Prepared, reading
from features.store_persons import overwrite
from models.alerts import Reference, from_json, to_json
from serving.person_key import Erased, PersonKey, key_named
from serving.persons import Persons

_WHAT = "alert reference"
_metadata = sa.MetaData()
_references = sa.Table(
    "alert_references",
    _metadata,
    sa.Column("customer_id", sa.Text, primary_key=True),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("reference", sa.Text, nullable=False),
)
_OF = sa.select(_references.c.reference).where(
    _references.c.customer_id == sa.bindparam("customer")
)
_PUT = sa.text(
    "INSERT INTO alert_references (customer_id, at, reference) "
    "VALUES (:customer_id, :at, :reference) "
    "ON CONFLICT (customer_id) DO UPDATE SET at = excluded.at, reference = excluded.reference "
    "WHERE excluded.at >= alert_references.at"
)


class References:
    """References by customer.

    Parameters
    ----------
    url : str
        SQLAlchemy URL of the record's database.
    persons : Persons, optional
        Their keys; by default nobody is a natural person.
    """

    def __init__(self, url: str, persons: Persons | None = None) -> None:
        self._engine, self._persons = connect(url), persons or Persons()
        self._of = Prepared(_OF, self._engine.dialect)
        with writing(self._engine) as connection:
            if self._engine.dialect.name == "postgresql":
                alone = sa.func.pg_advisory_xact_lock(sa.func.hashtext("encours references"))
                connection.execute(sa.select(alone))
            _metadata.create_all(connection)

    def of(self, customer_id: str) -> Reference | None:
        """Return the customer's, ``None`` before the first evaluation."""
        found = self._find(customer_id)
        if found is None and (key := self._persons.find(customer_id)) is not None:
            found = self._find(key.id)
        return None if found is None else self._read(customer_id, found)[1]

    def _find(self, name: str) -> str | None:
        with reading(self._engine) as cursor:
            row = self._of.run(cursor, {"customer": name}).fetchone()
        return None if row is None else row[0]

    def all(self) -> dict[str, Reference]:
        """Return every customer's."""
        wanted = sa.select(_references).order_by(_references.c.at)
        with self._engine.connect() as connection:
            rows = connection.execute(wanted).all()
        found = {}
        for row in rows:
            try:
                customer_id, reference = self._read(row.customer_id, row.reference)
            except Erased:
                continue
            found[customer_id] = reference
        return found

    def put(self, references: Mapping[str, Reference]) -> None:
        """Keep what customers are compared with next; an older evaluation does not undo a newer."""
        keys = self._persons.keys_for(references)
        rows = [_row(one, references[one], key) for one, key in keys.items()]
        hidden = references.keys() - {row["customer_id"] for row in rows}
        if rows:
            with writing(self._engine) as connection:
                connection.execute(_PUT, rows)
                self._remove(connection, hidden)  # of before, in clear

    def forget(self, names: Collection[str]) -> None:
        """Remove what is kept under the names of a customer."""
        with writing(self._engine) as connection:
            self._remove(connection, names)

    def _remove(self, connection: sa.Connection, names: Collection[str]) -> None:
        if names:
            overwrite(connection)
            connection.execute(_references.delete().where(_references.c.customer_id.in_(names)))

    def _read(self, name: str, text: str) -> tuple[str, Reference]:
        """Read what is kept under a name: the customer and his reference."""
        recorded = text.encode()
        id = key_named(recorded)
        if id is None:
            return name, from_json(json.loads(recorded))
        key = self._persons.key(id)
        assert key.customer_id is not None  # noqa: S101 (for the type checker)
        return key.customer_id, from_json(json.loads(key.decrypt(_WHAT, recorded)))


def _row(customer_id: str, reference: Reference, key: PersonKey | None) -> dict[str, str]:
    text = json.dumps(to_json(reference), sort_keys=True)
    return {
        "customer_id": customer_id if key is None else key.id,
        "at": reference.at.isoformat(timespec="microseconds"),
        "reference": text if key is None else key.encrypt(_WHAT, text.encode()).decode(),
    }
