"""Questions and their rows: who is described when, and how the outcome at a term is known.

Both curves are trained from the same shape: rows of features, a cut-off, and for any (row, term)
pair the outcome as it was known before the cut-off.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.build import build, customer_spine, feature_names, invoice_spine
from features.history import Days, History
from models import targets
from models.curve import DEFAULT_HORIZONS, LATE_TERMS
from models.targets import DefaultDefinition, Outcomes

Floats = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Question:
    """What a curve answers, and over which terms.

    Attributes
    ----------
    name : str
        ``late`` or ``default``.
    direction : int
        −1 when the probability falls with the term, 1 when it rises.
    knots : tuple of int
        Terms where the calibration's offset may bend; the first and last bound the curve.
    bend : tuple of int
        First and last term of the stretch where the curve bends most.
    reported : tuple of int
        Terms in reports and answers.
    """

    name: str
    direction: int
    knots: tuple[int, ...]
    bend: tuple[int, int]
    reported: tuple[int, ...]

    @property
    def shortest(self) -> int:
        """Shortest term, in days."""
        return self.knots[0]

    @property
    def longest(self) -> int:
        """Longest term, in days."""
        return self.knots[-1]


LATE = Question(
    name="late",
    direction=-1,
    knots=(-30, -15, -7, -3, 0, 3, 7, 15, 30, 60, 90, 120),
    bend=(-6, 35),
    reported=LATE_TERMS,
)
DEFAULT = Question(
    name="default",
    direction=1,
    knots=(30, 60, 90, 120, 180, 270, 365),
    bend=(30, 180),
    reported=DEFAULT_HORIZONS,
)


class Pairs(NamedTuple):
    """Rows asked at terms, with outcomes known before a cut-off.

    Attributes
    ----------
    row : ndarray of int64, shape (n_pairs,)
        Index into the dataset.
    term_days : ndarray of int32
    happened : ndarray of bool
    weight : ndarray of float64
        Of a row asked at n terms each pair weighs 1 / n, whether or not the others are known.
    """

    row: Index
    term_days: NDArray[np.int32]
    happened: NDArray[np.bool_]
    weight: Floats

    def at_most(self, most: int) -> Pairs:
        """Keep every second, third… where there are more than `most`."""
        step = max(1, -(-self.row.size // most))
        some = slice(None, None, step)
        return Pairs(self.row[some], self.term_days[some], self.happened[some], self.weight[some])


@dataclass(frozen=True)
class Dataset:
    """Rows to learn from.

    Attributes
    ----------
    question : Question
    features : tuple of str
        Names of the columns of `X`.
    X : ndarray of float64, shape (n_rows, n_features)
    customer : ndarray of int64, shape (n_rows,)
        Code of each row's customer.
    as_of : ndarray of int32, shape (n_rows,)
    known_on : ndarray of int32, shape (n_rows,)
        Day we knew that there was such a row: an invoice may be recorded long after its date.
    outcomes : callable
        (rows, terms, cut-off) → what was known before the cut-off.
    """

    question: Question
    features: tuple[str, ...]
    X: Floats
    customer: Index
    as_of: Days
    known_on: Days
    outcomes: Callable[[Index, NDArray[np.int32], int], Outcomes]

    def between(self, first: int, end: int) -> Index:
        """Rows with ``first <= as_of < end``."""
        return np.flatnonzero((self.as_of >= first) & (self.as_of < end))

    def known_before(self, cutoff: int) -> Index:
        """Rows that were known before `cutoff`, and so lie before it."""
        return np.flatnonzero((self.as_of < cutoff) & (self.known_on < cutoff))

    def ask(self, rows: Index, term_days: NDArray[np.int32], cutoff: int) -> Pairs:
        """Pair rows with terms, both of shape (n_pairs,), and keep the pairs known at `cutoff`."""
        outcome = self.outcomes(rows, term_days, cutoff)
        known = outcome.known
        row, happened = rows[known], outcome.happened[known]
        return Pairs(row, term_days[known], happened, np.ones(row.size))

    def known_at(self, term_days: int, cutoff: int) -> Pairs:
        """Ask all that was known before `cutoff` at one term."""
        rows = self.known_before(cutoff)
        return self.ask(rows, np.full(rows.size, term_days, np.int32), cutoff)

    def draw(self, rows: Index, per_row: int, cutoff: int, rng: np.random.Generator) -> Pairs:
        """Pair each row with `per_row` random terms, drawn densely where the curve bends most.

        A row of which little is known yet counts less than one of which all is: sharing one unit
        among its known pairs would let the shortest terms, known first, outweigh the others.
        """
        row = np.repeat(rows, per_row)
        pairs = self.ask(row, _draw_terms(self.question, row.size, rng), cutoff)
        return pairs._replace(weight=pairs.weight / per_row)


def _draw_terms(question: Question, n: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Draw a quarter of the terms over the whole curve, half where it bends, a quarter as reported.

    With few distinct terms the probability between two of them would be off; evenly drawn, most
    pairs would ask what is nearly certain.
    """
    first, last = question.bend
    evenly = rng.integers(question.shortest, question.longest + 1, size=n)
    bending = rng.integers(first, last + 1, size=n)
    reported = rng.choice(question.reported, size=n)
    lot = rng.random(n)
    return np.select([lot < 0.25, lot < 0.75], [evenly, bending], reported).astype(np.int32)


def late_dataset(history: History) -> Dataset:
    """Describe every invoice on its issue date."""
    spine = invoice_spine(history)

    @cache  # asked of many terms, at few cut-offs
    def known_at(cutoff: int) -> tuple[Floats, int]:
        recorded = cutoff - targets.recording_days(history, cutoff)
        return targets.days_late_known_at(history, cutoff), recorded

    def outcomes(rows: Index, term_days: NDArray[np.int32], cutoff: int) -> Outcomes:
        invoice = spine.invoice[rows]
        days_late, recorded = known_at(cutoff)
        return targets.late(
            days_late[invoice], history.invoices.due_on[invoice], term_days, recorded
        )

    return Dataset(
        LATE,
        feature_names(with_order=True),
        build(history, spine),
        spine.customer,
        spine.as_of,
        history.invoices.known_on[spine.invoice],
        outcomes,
    )


def default_dataset(history: History, definition: DefaultDefinition, end: int) -> Dataset:
    """Describe every active customer on the first day of each month up to `end`, exclusive.

    Customers in default are not asked about, nor those without an invoice for a year.
    """
    defaults = targets.find_defaults(history, definition)
    months = _months(history.observed_from, end)
    customer = np.repeat(np.arange(history.customers.size), months.size)
    as_of = np.tile(months, history.customers.size)
    asked = _is_active(history, customer, as_of)
    asked &= ~targets.is_in_default(defaults, customer, as_of)
    spine = customer_spine(customer[asked], as_of[asked])

    def outcomes(rows: Index, term_days: NDArray[np.int32], cutoff: int) -> Outcomes:
        who, when = spine.customer[rows], spine.as_of[rows]
        return targets.default_within(defaults, who, when, term_days, cutoff)

    return Dataset(
        DEFAULT,
        feature_names(with_order=False),
        build(history, spine),
        spine.customer,
        spine.as_of,
        spine.as_of,  # everything that makes a row was known by then
        outcomes,
    )


def _months(first: int, end: int) -> Days:
    month = np.datetime64(first, "D").astype("datetime64[M]") + 1
    months = np.arange(month, np.datetime64(end, "D").astype("datetime64[M]") + 1)
    days = months.astype("datetime64[D]").astype(np.int32)
    return days[days < end]


def _is_active(history: History, customer: Index, as_of: Days) -> NDArray[np.bool_]:
    """Tell who had an invoice that became known in the year before `as_of`."""
    far = np.int64(1) << 32
    current = history.current
    known = history.invoice_customer[current] * far + history.invoices.known_on[current]
    until = np.searchsorted(known, customer * far + as_of)
    since = np.searchsorted(known, customer * far + as_of - targets.ACTIVE_DAYS)
    return until > since
