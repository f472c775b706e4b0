"""The peers' table in the store: what each append changed of it, so that any past one comes again.

An append that brings a late payment adds ``(sector, country, day, 1, 1, 0)``; one that corrects it
away adds ``(sector, country, day, -1, -1, 0)``. The table at an append is the sum up to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features import history
from features.history import Facts
from features.peers import PeerDays, Seen, add_up, change, seen, together
from features.store_database import Prepared, all_rows
from features.store_queries import NOW, Queries, read_rows
from features.store_schema import Arrays

CUSTOMERS_AT_A_TIME = 2_000
FEW = 500  # read one by one: the customers between them may be many
NEEDED = {
    "customers": ("customer_id", "sector", "country", "is_natural_person", "recorded_at"),
    "invoices": ("invoice_id", "customer_id", "issued_on", "due_on", "amount_cents", "recorded_at"),
    "settlements": (
        "settlement_id",
        "customer_id",
        "invoice_id",
        "kind",
        "settled_on",
        "amount_cents",
        "recorded_at",
    ),
}


class PeersNow:
    """The peers' table, kept up to date with the appends; not to be shared between threads.

    Attributes
    ----------
    sequence : int
        The last append that the table counts.
    table : PeerDays
    """

    def __init__(self) -> None:
        self.sequence, self._seen = 0, together([])
        self.table = add_up([])

    def at(self, cursor: Any, query: Prepared, sequence: int) -> PeerDays:
        """Give the table as it was when `sequence` was the last append."""
        if sequence < self.sequence:
            return add_up([_read_changes(cursor, query, 0, sequence)])
        if sequence > self.sequence:
            news = _read_changes(cursor, query, self.sequence, sequence)
            if news.day.size:
                self._seen = together([self._seen, news])
                self.table = add_up([self._seen])
            self.sequence = sequence
        return self.table


def changed_by(
    cursor: Any, queries: Queries, customers: NDArray[np.object_], sequence: int
) -> Arrays:
    """Tell what an append changed, as rows to insert.

    Parameters
    ----------
    cursor
        Of the transaction that appends.
    queries : Queries
    customers : ndarray of object
        Those of whom the append wrote something, ascending.
    sequence : int
        The append's number.
    """
    before, after = [], []
    for facts in _facts(cursor, queries, customers, sequence - 1):
        before.append(seen(history.build(facts, 0)))
    for facts in _facts(cursor, queries, customers, sequence):
        after.append(seen(history.build(facts, 0)))
    news = change(before, after)
    sectors, countries = (np.array([g[i] for g in news.groups], object) for i in range(2))
    return {
        "sequence": np.full(news.day.size, sequence),
        "sector": sectors[news.group],
        "country": countries[news.group],
        "day": news.day.astype(np.int64),
        "events": news.events,
        "late": news.late,
        "late_30": news.late_30,
    }


def _facts(
    cursor: Any, queries: Queries, customers: NDArray[np.object_], sequence: int
) -> Iterator[Facts]:
    """Read what the table is made from, some customers at a time, as the store was then."""
    scope = "one" if customers.size <= FEW else "from_to"
    wanted = queries.rows(scope, NEEDED, versions=True)
    none = {name: rows for name, rows in history.NO_FACTS.items() if name not in NEEDED}
    step = 1 if scope == "one" else CUSTOMERS_AT_A_TIME
    for start in range(0, customers.size, step):
        some = customers[start : start + step]
        values = {**NOW, "sequence": sequence, "customer": some[0]}
        values |= {"first": some[0], "last": some[-1]}
        facts = {name: read_rows(cursor, *query, values) for name, query in wanted.items()}
        if scope == "from_to":
            facts = {name: _only(rows, some) for name, rows in facts.items()}
        yield facts | none


def _only(rows: Arrays, customers: NDArray[np.object_]) -> Arrays:
    """Keep the rows of some customers."""
    chosen = set(customers.tolist())
    kept = np.array([customer in chosen for customer in rows["customer_id"].tolist()], bool)
    return rows if kept.all() else {name: values[kept] for name, values in rows.items()}


def _read_changes(cursor: Any, query: Prepared, after: int, upto: int) -> Seen:
    """Add up the changes of the appends after one, up to another."""
    query.run(cursor, {"after": after, "upto": upto})
    rows = [row for part in all_rows(cursor) for row in part]
    places: dict[tuple[str, str], int] = {}
    group = [places.setdefault((row[0], row[1]), len(places)) for row in rows]
    counts = np.array([row[2:] for row in rows], np.int64).reshape(-1, 4)
    day = counts[:, 0].astype(np.int32)
    return Seen(list(places), np.array(group, np.int64), day, *counts[:, 1:].T)
