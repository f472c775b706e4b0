"""What is known of a customer at a date without any model: exposure, limit, cover, what bars him.

One definition, two uses: :func:`position` of one customer online, :func:`positions` of many pairs
in a backtest. A fact counts when its date and its recording are both before ``as_of``, exclusive,
in the version that was known then. Money is in cents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from features.compiled import count_before, njit
from features.cover import in_force
from features.history import (
    FIGURES,
    NEVER,
    Accounts,
    Changes,
    Covers,
    History,
    Invoices,
    Limits,
    limit_in_force,
)
from features.ledger import CHANGE_KINDS
from models.exposure import Exposure, Exposures, Pairs, exposures

YEAR_DAYS = 365
EQUITY = FIGURES.index("equity_cents")
GROUP, BANK_DETAILS, IMPORTANCE = map(
    CHANGE_KINDS.index, ("group", "bank_details", "strategic_importance")
)
NOTHING = -1
Mask = NDArray[np.bool_]
Value = TypeVar("Value", bound=np.generic)


class Cover(NamedTuple):
    """The insurer's cover in force; nothing when there is none."""

    amount_cents: int = 0
    insured_rate: float = 0.0
    ends_on: int | None = None


@dataclass(frozen=True)
class Position:
    """What is known of one customer at a date.

    Attributes
    ----------
    exposure : Exposure
    yearly_purchases_cents : int
        Invoices known in the last 365 days, >= 0.
    limit_cents : int or None
        The seller's own credit limit decided last; ``None`` when he never decided.
    equity_cents : int or None
        Of the latest financial year published; ``None`` when there is none or it does not say.
    cover : Cover
        The insurer's decision known last among those that run.
    cover_withdrawn : bool
        Whether that decision is of nothing, and one known before it was not. A cover that ran its
        time and ended was not withdrawn.
    insolvency_opened, is_natural_person : bool
    bank_details_unverified : bool
        Whether the bank details changed and nobody has verified them.
    strategic_importance : str
        ``normal``, ``important`` or ``key``; normal when nobody said.
    group : str or None
        The group of companies he belongs to; :meth:`features.store.Store.members` gives the others.
    """

    exposure: Exposure
    yearly_purchases_cents: int
    limit_cents: int | None
    equity_cents: int | None
    cover: Cover
    cover_withdrawn: bool
    insolvency_opened: bool
    is_natural_person: bool
    bank_details_unverified: bool
    strategic_importance: str
    group: str | None


@dataclass(frozen=True)
class Positions:
    """:class:`Position` of many pairs; each array is of shape (n_pairs,).

    ``limit_cents`` and ``equity_cents`` are floats, whole cents, NaN for none; ``cover_ends_on`` is
    ``NEVER`` when no end is set or there is no cover.
    """

    exposure: Exposures
    yearly_purchases_cents: NDArray[np.int64]
    limit_cents: NDArray[np.float64]
    equity_cents: NDArray[np.float64]
    cover_cents: NDArray[np.int64]
    insured_rate: NDArray[np.float64]
    cover_ends_on: NDArray[np.int32]
    cover_withdrawn: Mask
    insolvency_opened: Mask
    is_natural_person: Mask
    bank_details_unverified: Mask
    strategic_importance: NDArray[np.object_]
    group: NDArray[np.object_]

    def __len__(self) -> int:
        return int(self.yearly_purchases_cents.size)

    def of(self, pair: int) -> Position:
        """Give the position of one pair."""
        ends_on = int(self.cover_ends_on[pair])
        return Position(
            exposure=self.exposure.of(pair),
            yearly_purchases_cents=int(self.yearly_purchases_cents[pair]),
            limit_cents=_cents(self.limit_cents[pair]),
            equity_cents=_cents(self.equity_cents[pair]),
            cover=Cover(
                int(self.cover_cents[pair]),
                float(self.insured_rate[pair]),
                None if ends_on == NEVER else ends_on,
            ),
            cover_withdrawn=bool(self.cover_withdrawn[pair]),
            insolvency_opened=bool(self.insolvency_opened[pair]),
            is_natural_person=bool(self.is_natural_person[pair]),
            bank_details_unverified=bool(self.bank_details_unverified[pair]),
            strategic_importance=str(self.strategic_importance[pair]),
            group=self.group[pair],
        )


def position(history: History, customer: int, as_of: int) -> Position:
    """Describe one customer; see :func:`positions`."""
    return positions(history, np.array([customer]), np.array([as_of])).of(0)


def positions(history: History, customer: NDArray[np.int64], as_of: NDArray[np.int64]) -> Positions:
    """Describe many (customer, as_of) pairs.

    Parameters
    ----------
    history : History
    customer : ndarray of int64, shape (n_pairs,)
        Codes in `history`, in any order; −1 for a customer without any fact.
    as_of : ndarray of int64, shape (n_pairs,)
        Exclusive dates, in days.

    Returns
    -------
    Positions
    """
    pairs = Pairs(customer, history.views.at(customer, as_of), as_of.astype(np.int64))
    covers, (cover, withdrawn) = history.covers, _insured(history.covers, pairs)
    values = _changed(history.changes, pairs)
    named = history.change_values
    bank_details = _taken(named, values[:, BANK_DETAILS], None)
    return Positions(
        exposure=exposures(history, customer, as_of),
        yearly_purchases_cents=_purchases(history.invoices, pairs),
        limit_cents=_limit(history.limits, pairs),
        equity_cents=_equity(history.accounts, pairs),
        cover_cents=_taken(covers.cents, cover, 0),
        insured_rate=_taken(covers.insured_rate, cover, 0.0),
        cover_ends_on=_taken(covers.ends_on, cover, NEVER),
        cover_withdrawn=withdrawn,
        insolvency_opened=_since(history.insolvent_on, pairs),
        is_natural_person=_since(history.natural_person_on, pairs),
        bank_details_unverified=(bank_details == "unverified").astype(bool),
        strategic_importance=_taken(named, values[:, IMPORTANCE], "normal"),
        group=_taken(named, values[:, GROUP], None),
    )


def _cents(value: float) -> int | None:
    return None if np.isnan(value) else int(value)


def _taken(values: NDArray[Value], place: NDArray[np.int64], otherwise: Any) -> NDArray[Value]:
    """Take values by place; `otherwise` where there is none."""
    taken = np.full(place.size, otherwise, values.dtype)
    taken[place >= 0] = values[place[place >= 0]]
    return taken


def _since(first_on: NDArray[np.int32], pairs: Pairs) -> Mask:
    """Say for which pairs something was known by then."""
    holds = np.zeros(pairs.looked_at.size, bool)
    there = pairs.looked_at >= 0
    holds[there] = first_on[pairs.looked_at[there]] < pairs.as_of[there]
    return holds


def _purchases(invoices: Invoices, pairs: Pairs) -> NDArray[np.int64]:
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(invoices.amount_cents)])
    return _bought(invoices, before, pairs)


@njit
def _bought(invoices: Invoices, before: NDArray[np.int64], pairs: Pairs) -> NDArray[np.int64]:
    out = np.zeros(pairs.as_of.size, np.int64)
    for row in range(out.size):
        today, view = pairs.as_of[row], pairs.looked_at[row]
        if view >= 0:
            first = invoices.start[view]
            known_on = invoices.known_on[first : invoices.start[view + 1]]
            year = first + count_before(known_on, today - YEAR_DAYS)
            out[row] = before[first + count_before(known_on, today)] - before[year]
    return out


@njit
def _limit(limits: Limits, pairs: Pairs) -> NDArray[np.float64]:
    out = np.full(pairs.as_of.size, np.nan)
    for row in range(out.size):
        place = limit_in_force(limits, pairs.looked_at[row], pairs.as_of[row])
        if place >= 0:
            out[row] = limits.cents[place]
    return out


@njit
def _equity(accounts: Accounts, pairs: Pairs) -> NDArray[np.float64]:
    out = np.full(pairs.as_of.size, np.nan)
    for row in range(out.size):
        view, latest = pairs.looked_at[row], NOTHING
        if view < 0:
            continue
        for i in range(accounts.start[view], accounts.start[view + 1]):
            if accounts.known_on[i] >= pairs.as_of[row]:
                break
            if latest < 0 or accounts.closed_on[i] >= accounts.closed_on[latest]:
                latest = i
        if latest >= 0:
            out[row] = accounts.figures[latest, EQUITY]
    return out


@njit
def _insured(covers: Covers, pairs: Pairs) -> tuple[NDArray[np.int64], Mask]:
    """Find the decision in force of each pair, and whether it withdrew an earlier one."""
    found = np.full(pairs.as_of.size, NOTHING, np.int64)
    withdrawn = np.zeros(pairs.as_of.size, np.bool_)
    for row in range(found.size):
        view, today = pairs.looked_at[row], pairs.as_of[row]
        if view < 0:
            continue
        a, b = covers.start[view], covers.start[view + 1]
        place = in_force(covers.known_on[a:b], covers.ends_on[a:b], today)
        if place >= 0:
            found[row] = a + place
            now = covers.cents[a + place]
            withdrawn[row] = now == 0 and (covers.cents[a : a + place] > 0).any()
    return found, withdrawn


@njit
def _changed(changes: Changes, pairs: Pairs) -> NDArray[np.int64]:
    """Find the value that holds of each kind of change; shape (n_pairs, n_kinds), −1 for none."""
    out = np.full((pairs.as_of.size, len(CHANGE_KINDS)), NOTHING, np.int64)
    for row in range(pairs.as_of.size):
        today, customer = pairs.as_of[row], pairs.customer[row]
        if customer < 0:
            continue
        for i in range(changes.start[customer], changes.start[customer + 1]):
            if changes.known_on[i] < today and changes.begins[i] <= today < changes.ends[i]:
                out[row, changes.kind[i]] = changes.value[i]
    return out
