"""The states that customers are compared with: a note of the watch, beside the record.

No part of the record: each alert says from what to what. If it is lost, customers are seen for the
first time again, and what stands is not told twice.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

import sqlalchemy as sa

from features.store import connect, writing
from features.store_database import Prepared, reading
from models.alerts import Reference, from_json, to_json

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
    """

    def __init__(self, url: str) -> None:
        self._engine = connect(url)
        self._of = Prepared(_OF, self._engine.dialect)
        with writing(self._engine) as connection:
            if self._engine.dialect.name == "postgresql":
                alone = sa.func.pg_advisory_xact_lock(sa.func.hashtext("encours references"))
                connection.execute(sa.select(alone))
            _metadata.create_all(connection)

    def of(self, customer_id: str) -> Reference | None:
        """Return the customer's, ``None`` before the first evaluation."""
        with reading(self._engine) as cursor:
            found = self._of.run(cursor, {"customer": customer_id}).fetchone()
        return None if found is None else from_json(json.loads(found[0]))

    def all(self) -> dict[str, Reference]:
        """Return every customer's."""
        wanted = sa.select(_references.c.customer_id, _references.c.reference)
        with self._engine.connect() as connection:
            rows = connection.execute(wanted).all()
        return {row.customer_id: from_json(json.loads(row.reference)) for row in rows}

    def put(self, references: Mapping[str, Reference]) -> None:
        """Keep what customers are compared with next; an older evaluation does not undo a newer."""
        rows: Collection[dict[str, str]] = [
            {
                "customer_id": customer_id,
                "at": reference.at.isoformat(timespec="microseconds"),
                "reference": json.dumps(to_json(reference), sort_keys=True),
            }
            for customer_id, reference in references.items()
        ]
        if rows:
            with writing(self._engine) as connection:
                connection.execute(_PUT, list(rows))
