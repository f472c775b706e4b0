"""Where a customer's facts came from: the appends that brought them, with their files' hashes."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import NamedTuple

import sqlalchemy as sa

from features.store_database import connect
from features.store_schema import SCHEMA


class Append(NamedTuple):
    """An append to the store, and what it brought of one customer.

    Attributes
    ----------
    sequence : int
    appended_at : int
        Microseconds since 1970.
    files : tuple of (str, str)
        Name, or what it was instead of a file, and SHA-256.
    mapping_sha256 : str
        Of the mapping that read them; empty when there was none.
    rows : dict of str to int
        Versions of the customer's facts by table.
    """

    sequence: int
    appended_at: int
    files: tuple[tuple[str, str], ...]
    mapping_sha256: str
    rows: dict[str, int]


def sources_of(url: str, customer_id: str, known_at: int, sequence: int) -> list[Append]:
    """Name the appends that a customer's facts came with, oldest first.

    Parameters
    ----------
    url : str
        Of the facts.
    customer_id : str
    known_at : int
        Facts recorded later do not count; microseconds since 1970.
    sequence : int
        Nor do appends after this one.
    """
    engine = connect(url, only_reads=True)
    try:
        with engine.connect() as connection:
            rows = _rows(connection, customer_id, known_at, sequence)
            sources = SCHEMA.sources
            wanted = sources.c.sequence.in_(sorted(rows))
            found = connection.execute(
                sa.select(sources).where(wanted).order_by(sources.c.sequence)
            )
            return [
                Append(
                    one.sequence,
                    one.appended_at,
                    tuple((name, sha256) for name, sha256 in json.loads(one.files)),
                    one.mapping_sha256,
                    rows[one.sequence],
                )
                for one in found
            ]
    finally:
        engine.dispose()


def _rows(
    connection: sa.Connection, customer_id: str, known_at: int, sequence: int
) -> dict[int, dict[str, int]]:
    rows: dict[int, dict[str, int]] = defaultdict(dict)
    for name, table in SCHEMA.facts.items():
        query = (
            sa.select(table.c.sequence, sa.func.count())
            .where(
                table.c.customer_id == customer_id,
                table.c.sequence <= sequence,
                table.c.since_at <= known_at,
            )
            .group_by(table.c.sequence)
        )
        for append, count in connection.execute(query):
            rows[append][name] = count
    return rows
