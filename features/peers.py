"""How others of the same sector and country pay: a dated table of the whole ledger.

Each payment in full is an event on the day it was first known, late or not; the table only grows,
so what peers looked like at a date never changes. A customer is no peer of himself: his own events
are taken off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.compiled import count_before, njit

if TYPE_CHECKING:
    from features.history import History, Settled
    from features.versions import Views

WINDOW_DAYS = 365
FEWEST_EVENTS = 20
Group = tuple[str, str]  # sector, country
Index = NDArray[np.int64]
Days = NDArray[np.int32]


class Peers(NamedTuple):
    """Payments in full by others of the same sector and country, over 365 days."""

    late_rate: float
    late_30_rate: float


class Table(NamedTuple):
    """Events by group, then by day; counts are running totals that begin with 0.

    ``start`` is each group's slice of ``day``; ``events[j] - events[i]`` are those of the days
    ``i`` to ``j - 1``.
    """

    start: Index
    day: Days
    events: Index
    late: Index
    late_30: Index


class PeerDays(NamedTuple):
    """The table, and the place of each group in it."""

    places: dict[Group, int]
    table: Table

    def codes(self, groups: Sequence[Group | None]) -> Index:
        """Give the places of groups in the table; −1 for one that is not in it."""
        return np.array([-1 if g is None else self.places.get(g, -1) for g in groups], np.int64)


class Seen(NamedTuple):
    """Events to count: how many of each group on each day, in any order, negative to take back."""

    groups: Sequence[Group]
    group: Index  # place among `groups`
    day: Days
    events: Index
    late: Index
    late_30: Index


class Own(NamedTuple):
    """The events of each customer, sorted by customer, then by day."""

    start: Index
    view: Index  # which says the group they count in
    day: Days
    is_late: NDArray[np.bool_]
    is_late_30: NDArray[np.bool_]

    def by_group(self, group_of_view: Sequence[Group | None]) -> Seen:
        """Count the events by group and day; a customer without sector or country counts not."""
        groups = sorted({group for group in group_of_view if group is not None})
        place = {group: i for i, group in enumerate(groups)}
        code = np.array([-1 if g is None else place[g] for g in group_of_view], np.int64)
        group = code[self.view]
        counts = group >= 0
        ones = np.ones(int(counts.sum()), np.int64)
        late, late_30 = self.is_late[counts], self.is_late_30[counts]
        day = self.day[counts]
        return _totalled(
            Seen(groups, group[counts], day, ones, late.astype(np.int64), late_30.astype(np.int64))
        )


def gather(views: Views, settled: Settled, customer_known_on: Days) -> Own:
    """Gather what each customer adds to the table: his payments in full, as first seen.

    A payment in full is seen in the view of the day after it; one that only a later correction
    makes is no event. It counts once the customer himself was recorded, in the group he is in then.
    """
    view = np.repeat(np.arange(views.since.size), np.diff(settled.start))
    known_on, days_late = settled.known_on, settled.days_late
    if not views.are_single:
        is_seen = views.at(views.customer[view], known_on.astype(np.int64) + 1) == view
        view, known_on, days_late = view[is_seen], known_on[is_seen], days_late[is_seen]
    day, customer = np.maximum(known_on, customer_known_on[view]), views.customer[view]
    if not views.are_single or (day != known_on).any():
        order = np.lexsort((day, customer))
        day, days_late, customer = day[order], days_late[order], customer[order]
        view = views.at(customer, day.astype(np.int64) + 1)
    start = np.searchsorted(customer, np.arange(views.start.size))
    return Own(start, view, day, days_late > 0, days_late > 30)


def _totalled(seen: Seen) -> Seen:
    """Add up the counts of one group and day, in their order."""
    key = seen.group << 32 | seen.day.astype(np.int64)
    if key.size == 0:
        return seen
    order = np.argsort(key, kind="stable")
    key = key[order]
    begins = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    counts = (np.add.reduceat(c[order], begins) for c in (seen.events, seen.late, seen.late_30))
    group, day = key[begins] >> 32, (key[begins] & 0xFFFFFFFF).astype(np.int32)
    return Seen(seen.groups, group, day, *counts)


def seen(history: History) -> Seen:
    """Count the events of a history's customers by group and day."""
    return history.own.by_group(history.group_names)


def together(parts: Sequence[Seen]) -> Seen:
    """Add up counts of shards of customers, or of imports one after the other."""
    groups = sorted({group for part in parts for group in part.groups})
    place = {group: i for i, group in enumerate(groups)}
    none = np.zeros(0, np.int64)
    nothing = Seen([], none, none.astype(np.int32), none, none, none)
    recoded = [
        part._replace(group=np.array([place[g] for g in part.groups], np.int64)[part.group])
        for part in (nothing, *parts)
    ]
    columns = (np.concatenate(column) for column in zip(*(p[1:] for p in recoded), strict=True))
    return _totalled(Seen(groups, *columns))


def change(before: Sequence[Seen], after: Sequence[Seen]) -> Seen:
    """Tell what leads from one state of the table to the other."""
    taken_back = [
        part._replace(events=-part.events, late=-part.late, late_30=-part.late_30)
        for part in before
    ]
    total = together([*taken_back, *after])
    changed = (total.events != 0) | (total.late != 0) | (total.late_30 != 0)
    return Seen(total.groups, *(column[changed] for column in total[1:]))


def add_up(parts: Sequence[Seen]) -> PeerDays:
    """Make the table from counts of shards of customers, or of imports one after the other."""
    total = together(parts)
    start = np.searchsorted(total.group, np.arange(len(total.groups) + 1))
    counts = (total.events, total.late, total.late_30)
    running = (np.concatenate([[0], np.cumsum(count)]) for count in counts)
    places = {group: place for place, group in enumerate(total.groups)}
    return PeerDays(places, Table(start, total.day.astype(np.int32), *running))


@njit
def peers(
    table: Table,
    group: int,
    own_group: NDArray[np.int64],
    own_day: NDArray[np.int32],
    own_late: NDArray[np.bool_],
    own_late_30: NDArray[np.bool_],
    as_of: int,
    observed_days: int,
) -> Peers:
    """Count the peers' events of the year before `as_of`, without the customer's own.

    Parameters
    ----------
    table : Table
        The whole ledger's.
    group : int
        Place of the customer's group in the table, −1 when unknown.
    own_group, own_day, own_late, own_late_30 : ndarray of shape (n_own,)
        The customer's own events, by day.
    as_of : int
        The date we look from, exclusive.
    observed_days : int
        How long the ledger as a whole has been observed.

    Returns
    -------
    Peers
        Missing without sector or country, or with fewer than 20 events.
    """
    if group < 0 or observed_days < WINDOW_DAYS:
        return Peers(np.nan, np.nan)
    first, last = table.start[group], table.start[group + 1]
    i = first + count_before(table.day[first:last], as_of - WINDOW_DAYS)
    j = first + count_before(table.day[first:last], as_of)
    events = table.events[j] - table.events[i]
    late, late_30 = table.late[j] - table.late[i], table.late_30[j] - table.late_30[i]
    for e in range(count_before(own_day, as_of - WINDOW_DAYS), count_before(own_day, as_of)):
        if own_group[e] == group:
            events -= 1
            late -= own_late[e]
            late_30 -= own_late_30[e]
    if events < FEWEST_EVENTS:
        return Peers(np.nan, np.nan)
    return Peers(late / events, late_30 / events)
