"""Kinds of rows, each told as it was known at the row's date: where a curve may do worse.

========= ==================================================================================
size      thirds by what the customer bought in the year before, cut on the rows learned from
sector    the commonest sectors, the rest together
tenure    first invoice known less than 180 days ago, or longer
person    sole traders (natural persons) and companies
customer  seen: in the rows before the cut-off; unseen: not
========= ==================================================================================

Thirds and not fixed amounts: a seller of bolts and one of ships have no bound in common. They are
thirds of *rows*, so that each has enough of them to be measured; the large third holds few
customers. Their bounds come from the rows before the cut-off, so a label means the same on every
row that is measured later.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.history import History
from training.dataset import Dataset

Index = NDArray[np.int64]
Bools = NDArray[np.bool_]
NEW_DAYS = 180
MOST_SECTORS = 8
YEAR_AMOUNT, TENURE = "purchases_amount_365", "purchases_tenure_days"
SIZES = ("small", "medium", "large", "unknown")
TENURES = ("new", "established")
PERSONS = ("sole_trader", "company", "unknown")
SEEN = ("seen", "unseen")
OTHER, UNKNOWN = "other", "unknown"


class Segment(NamedTuple):
    """One way to tell the rows of a dataset apart.

    Attributes
    ----------
    labels : tuple of str
    code : ndarray of int64, shape (n_rows,)
        Place of each row's label.
    """

    labels: tuple[str, ...]
    code: Index


def segments(dataset: Dataset, history: History, cutoff: int) -> dict[str, Segment]:
    """Tell the rows of a dataset apart in every way that divides them.

    Parameters
    ----------
    dataset : Dataset
        Of `history`.
    history : History
    cutoff : int
        Exclusive date before which the curve learned.

    Returns
    -------
    dict of str to Segment
        By name; a segment that has only one label on these rows says nothing and is left out.
    """
    learned = dataset.known_before(cutoff)
    view = history.views.at(dataset.customer, dataset.as_of)
    is_recorded = history.groups.known_on[view] < dataset.as_of
    is_person = history.natural_person_on[view] < dataset.as_of
    found = {
        "size": _size(dataset, learned),
        "sector": _sector(history, view, is_recorded, learned),
        "tenure": _tenure(dataset),
        "customer": _seen(dataset, learned),
        "person": Segment(PERSONS, np.select([is_person, is_recorded], [0, 1], 2)),
    }
    return {name: one for name, one in found.items() if np.unique(one.code).size > 1}


def _size(dataset: Dataset, learned: Index) -> Segment:
    amount = dataset.X[:, dataset.features.index(YEAR_AMOUNT)]
    known = amount[learned]
    known = known[~np.isnan(known)]
    if known.size == 0:
        return Segment(SIZES, np.full(amount.size, SIZES.index(UNKNOWN)))
    third = np.searchsorted(np.quantile(known, [1 / 3, 2 / 3]), amount)
    return Segment(SIZES, np.where(np.isnan(amount), SIZES.index(UNKNOWN), third))


def _sector(history: History, view: Index, is_recorded: Bools, learned: Index) -> Segment:
    named = [UNKNOWN if group is None else group[0] for group in history.group_names]
    common = _commonest(named, np.bincount(view[learned], minlength=len(named)))
    labels = (*common, OTHER, UNKNOWN)
    place = {name: labels.index(name) for name in (*common, UNKNOWN)}
    by_view = np.array([place.get(name, labels.index(OTHER)) for name in named], np.int64)
    return Segment(labels, np.where(is_recorded, by_view[view], labels.index(UNKNOWN)))


def _commonest(named: Sequence[str], rows: Index) -> list[str]:
    """Sectors with most rows, by name."""
    total: dict[str, int] = {}
    for name, count in zip(named, rows.tolist(), strict=True):
        total[name] = total.get(name, 0) + count
    total.pop(UNKNOWN, None)
    ranked = sorted(total, key=lambda name: (-total[name], name))
    return sorted(ranked[:MOST_SECTORS])


def _tenure(dataset: Dataset) -> Segment:
    days = dataset.X[:, dataset.features.index(TENURE)]
    return Segment(TENURES, np.where(days >= NEW_DAYS, 1, 0))  # no invoice known yet: new


def _seen(dataset: Dataset, learned: Index) -> Segment:
    is_seen = np.isin(dataset.customer, dataset.customer[learned])
    return Segment(SEEN, np.where(is_seen, 0, 1))
