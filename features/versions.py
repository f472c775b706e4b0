"""Which version of a row counts when: each customer's *views* of his facts.

An invoice of 1,000.00 known since 2 March is corrected to 900.00 on 20 May. Whoever looks at any
date up to 20 May sees the customer with 1,000.00, and with 900.00 from the 21st on, known since
2 March in both. So this customer has two views, and the families read one or the other as if it
were a customer of its own. A customer whose facts were never corrected has one view.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MICROSECONDS_A_DAY = 86_400_000_000
FOREVER = np.iinfo(np.int64).max
ALWAYS = np.iinfo(np.int32).min

Rows = dict[str, NDArray[Any]]
"""Columns of one table, the rows' versions included: ``recorded_at`` is when the fact was first
recorded, a version counts from ``since_at`` until ``until_at``, in microseconds."""


class Views(NamedTuple):
    """What was thought of each customer, over time.

    Attributes
    ----------
    start : ndarray of int64, shape (n_customers + 1,)
        Each customer's slice of the views.
    since : ndarray of int32, shape (n_views,)
        First ``as_of`` that looks at the view; ``ALWAYS`` for a customer's first.
    """

    start: NDArray[np.int64]
    since: NDArray[np.int32]

    @property
    def are_single(self) -> bool:
        """Whether no customer was ever corrected."""
        return self.since.size == self.start.size - 1

    @property
    def latest(self) -> NDArray[np.int64]:
        """Each customer's last view: what is thought now."""
        latest: NDArray[np.int64] = self.start[1:] - 1
        return latest

    @property
    def customer(self) -> NDArray[np.int64]:
        """Customer of each view."""
        return np.repeat(np.arange(self.start.size - 1), np.diff(self.start))

    def at(self, customer: NDArray[np.int64], as_of: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """Give the views of customers that dates look at; −1 stays −1."""
        if self.are_single:
            return customer
        far = np.int64(1) << 33
        key = self.customer * far + self.since
        view: NDArray[np.int64] = np.searchsorted(key, customer * far + as_of, side="right") - 1
        return np.where(customer < 0, -1, view)


def views(
    tables: dict[str, Rows], customer_of: dict[str, NDArray[np.int64]], n_customers: int
) -> Views:
    """Cut each customer's time wherever one of his rows was superseded."""
    customer, since = [np.arange(n_customers)], [np.full(n_customers, ALWAYS, np.int64)]
    for name, rows in tables.items():
        until_at = rows["until_at"]
        if until_at.size and until_at.min() < FOREVER:
            superseded = until_at < FOREVER
            customer.append(customer_of[name][superseded])
            since.append(_day_after(until_at[superseded]))
    if len(customer) > 1:
        cuts = np.stack([np.concatenate(customer), np.concatenate(since)])
        customer_of_view, since_of_view = np.unique(cuts, axis=1)
    else:
        customer_of_view, since_of_view = customer[0], since[0]
    start = np.searchsorted(customer_of_view, np.arange(n_customers + 1))
    return Views(start, since_of_view.astype(np.int32))


def lay_out(
    rows: Rows, customer: NDArray[np.int64], views: Views
) -> tuple[Rows, NDArray[np.int64]]:
    """Repeat each row in the views that it counts in.

    Returns
    -------
    rows : Rows
        In the order they had, the copies of one row together.
    view : ndarray of int64, shape (n_rows_laid_out,)
    """
    if views.are_single:
        return rows, customer
    count = np.diff(views.start)[customer]
    row = np.repeat(np.arange(customer.size), count)
    place = np.arange(row.size) - np.repeat(np.cumsum(count) - count, count)
    view = views.start[customer[row]] + place
    begins, ends = looked_at(rows)
    counts = (begins[row] <= views.since[view]) & (views.since[view] < ends[row])
    row, view = row[counts], view[counts]
    return {column: values[row] for column, values in rows.items()}, view


def looked_at(rows: Rows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give the first ``as_of`` that looks at each version, and the first that no longer does."""
    is_first = rows["since_at"] == rows["recorded_at"]
    begins = np.where(is_first, ALWAYS, _day_after(rows["since_at"]))
    return begins, _day_after(rows["until_at"])


def current(tables: dict[str, Rows]) -> dict[str, Rows]:
    """Keep the versions that count now; `tables` itself when nothing was ever corrected."""
    if all((rows["until_at"] == FOREVER).all() for rows in tables.values()):
        return tables
    kept = {name: rows["until_at"] == FOREVER for name, rows in tables.items()}
    return {
        name: {column: values[kept[name]] for column, values in rows.items()}
        for name, rows in tables.items()
    }


def _day_after(instants: NDArray[np.int64]) -> NDArray[np.int64]:
    """First ``as_of`` that an instant lies before."""
    return instants // MICROSECONDS_A_DAY + 1
