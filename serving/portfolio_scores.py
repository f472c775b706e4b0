"""Scores of a whole portfolio: what an assessment of each customer's usual order says, in bulk.

The same history, the same features and the same curves as of one order, a matrix at a time: of any
customer the scores are those that a single assessment at that instant gives, bit for bit, and
the reasons the same codes, their contributions but for rounding (:mod:`models.contributions`). What
is decided of an order is not asked here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.build import CUSTOMER_FEATURES, Spine, build
from features.compiled import count_before, njit
from features.dictionary import dictionary
from features.history import Facts, History, Invoices
from features.history import build as build_history
from features.peers import PeerDays
from features.versions import current
from models import depth, grades
from models.bundle import Bundle
from models.contributions import contributions
from models.explanation import MOST_REASONS, most_important
from models.exposure import exposures
from models.targets import ACTIVE_DAYS, DEFAULT_DEFINITIONS, find_defaults, is_in_default
from serving.answering import HABIT
from serving.speaking import (
    ALL_FEATURES,
    DAYS_SINCE_LAST,
    LATE_EXPLAINED_DAYS,
    Speaking,
    horizon_of,
)

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
NO_MODEL, TOO_THIN, NO_ORDER = "no_model", "too_little_known", "no_invoice_yet"
IN_DEFAULT, DORMANT, UNKNOWN = "in_default", "no_invoice_for_a_year", "unknown_customer"
LATE_DAYS = 30
SCHEMA = pa.schema(
    [
        pa.field("customer_id", pa.string(), nullable=False),
        ("grade", pa.string()),
        ("score", pa.int16()),
        (f"late_{LATE_DAYS}_probability", pa.float64()),
        (f"default_{grades.HORIZON_DAYS}_probability", pa.float64()),
        ("data_depth", pa.string()),
        ("late_abstention", pa.string()),
        ("default_abstention", pa.string()),
        ("exposure", pa.decimal128(18, 2)),
        ("explained_curve", pa.string()),
        ("explained_horizon_days", pa.int16()),
        *(
            column
            for n in range(1, MOST_REASONS + 1)
            for column in ((f"reason_{n}", pa.string()), (f"contribution_{n}", pa.float64()))
        ),
    ]
)
"""A row a customer: probabilities 0 to 1, contributions in log-odds, exposure in the currency."""


class Books(NamedTuple):
    """Facts of some customers, laid out both ways an assessment reads them.

    Attributes
    ----------
    history : History
        In all versions: the features know what was thought before.
    standing : History
        As thought of now.
    """

    history: History
    standing: History

    @classmethod
    def of(cls, facts: Facts, observed_from: int, peers: PeerDays) -> Books:
        """Lay facts out, given in all their versions."""
        history = build_history(facts, observed_from, peers)
        if history.views.are_single:
            return cls(history, history)
        return cls(history, build_history(current(facts), observed_from))


def score(
    books: Books,
    ids: Sequence[str],
    as_of: int,
    speaking: Speaking,
    sees: Collection[str] | None = None,
) -> pa.Table:
    """Score customers.

    Parameters
    ----------
    books : Books
    ids : sequence of str
        One of whom the books know nothing gets a row that says so.
    as_of : int
        Exclusive date, in days.
    speaking : Speaking
    sees : collection of str, optional
        Whom the asker may see, if not all: another customer is as unknown as one who is none.

    Returns
    -------
    pyarrow.Table
        In the order of `ids`; columns as in ``SCHEMA``.
    """
    code = books.history.codes(ids)
    if sees is not None:
        code[[id not in sees for id in ids]] = -1
    is_known = code >= 0
    known = np.array(ids, object)[is_known]
    rows = _scored(books, code[is_known], books.standing.codes(known), as_of, speaking)
    columns: dict[str, list[Any]] = {"customer_id": list(ids)}
    for name, values in rows.items():
        found = iter(values)
        columns[name] = [next(found) if here else None for here in is_known]
    for name in ("late_abstention", "default_abstention"):
        columns[name] = [
            said if here else UNKNOWN for said, here in zip(columns[name], is_known, strict=True)
        ]
    return pa.table(columns, SCHEMA)


class _Said(NamedTuple):
    """What one curve says: NaN where it abstains, and there why, else ``None``."""

    probability: Floats
    why_not: NDArray[np.object_]

    @property
    def speaks(self) -> Mask:
        return np.array([why is None for why in self.why_not], bool)


def _scored(
    books: Books,
    code: NDArray[np.int64],
    standing: NDArray[np.int64],
    as_of: int,
    speaking: Speaking,
) -> dict[str, list[Any]]:
    dates = np.full(code.size, as_of, np.int32)
    usual = _usual_orders(books.standing, standing, as_of)
    X = build(books.history, _planned(code, dates, usual))
    X[usual[:, 0] == 0, len(CUSTOMER_FEATURES) :] = np.nan
    definition = DEFAULT_DEFINITIONS[speaking.policy.default_definition]
    in_default = is_in_default(find_defaults(books.standing, definition), standing, dates)
    letter = depth.letters(X, ALL_FEATURES)
    is_too_thin = (letter == depth.FLOOR) & ~in_default
    late = _late(speaking.late, X, is_too_thin, usual[:, 0] > 0)
    default = _default(speaking.default, X, is_too_thin, in_default)
    certain = np.where(in_default, 1.0, default.probability)
    graded = ~np.isnan(certain)
    letters, points = np.full(code.size, None, object), np.full(code.size, None, object)
    letters[graded], points[graded] = grades.grade(certain[graded]), grades.score(certain[graded])
    owed = exposures(books.standing, standing, dates.astype(np.int64)).cents
    return {
        "grade": letters.tolist(),
        "score": points.tolist(),
        f"late_{LATE_DAYS}_probability": _nullable(late.probability),
        f"default_{grades.HORIZON_DAYS}_probability": _nullable(default.probability),
        "data_depth": letter.tolist(),
        "late_abstention": late.why_not.tolist(),
        "default_abstention": default.why_not.tolist(),
        "exposure": _units(owed),
        **_reasons(speaking, X, usual[:, 1], late.speaks, default.speaks),
    }


def _late(bundle: Bundle | None, X: Floats, is_too_thin: Mask, has_order: Mask) -> _Said:
    """Ask the late curve about each usual order; parameters as of one in `consult`."""
    why_not = np.full(len(X), NO_MODEL if bundle is None else None, object)
    if bundle is not None:
        why_not[~has_order] = NO_ORDER
        why_not[is_too_thin] = TOO_THIN
    return _asked(bundle, X, why_not, LATE_DAYS)


def _default(bundle: Bundle | None, X: Floats, is_too_thin: Mask, in_default: Mask) -> _Said:
    """Ask the default curve about each customer; who is in default has defaulted."""
    why_not = np.full(len(X), NO_MODEL if bundle is None else None, object)
    if bundle is not None:
        why_not[~(X[:, DAYS_SINCE_LAST] <= ACTIVE_DAYS)] = DORMANT
        why_not[is_too_thin] = TOO_THIN
    why_not[in_default] = IN_DEFAULT
    return _asked(bundle, X, why_not, grades.HORIZON_DAYS)


def _asked(bundle: Bundle | None, X: Floats, why_not: NDArray[np.object_], days: int) -> _Said:
    said = _Said(np.full(len(X), np.nan), why_not)
    if bundle is not None and said.speaks.any():
        known = X[said.speaks, : len(bundle.curve.features)]
        term = np.full(len(known), days, np.int32)
        said.probability[said.speaks] = bundle.curve.probability(known, term)
    return said


def _reasons(
    speaking: Speaking, X: Floats, terms: NDArray[np.int64], by_late: Mask, by_default: Mask
) -> dict[str, list[Any]]:
    """Explain each row by the curve that a single assessment explains, at the same horizon."""
    none: list[Any] = [None] * len(X)
    told = {
        field.name: list(none)
        for field in SCHEMA
        if field.name.startswith(("explained_", "reason_", "contribution_"))
    }
    late_days = np.full(len(X), LATE_EXPLAINED_DAYS, np.int32)
    _explain(told, speaking.late, X, by_late & ~by_default, late_days)
    if speaking.default is not None:
        curve = speaking.default.curve
        days = np.array([horizon_of(speaking.policy, curve, int(each)) for each in terms], np.int32)
        _explain(told, speaking.default, X, by_default, days)
    return told


def _explain(
    told: dict[str, list[Any]],
    bundle: Bundle | None,
    X: Floats,
    asked: Mask,
    days: NDArray[np.int32],
) -> None:
    if bundle is None or not asked.any():
        return
    curve, codes = bundle.curve, dictionary()
    moved = contributions(curve, X[asked, : len(curve.features)], days[asked])
    for row, each in zip(np.flatnonzero(asked).tolist(), moved, strict=True):
        told["explained_curve"][row] = curve.question
        told["explained_horizon_days"][row] = int(days[row])
        for n, place in enumerate(most_important(curve.features, each), 1):
            told[f"reason_{n}"][row] = codes[curve.features[place]].code
            told[f"contribution_{n}"][row] = float(each[place])


def _planned(code: NDArray[np.int64], dates: NDArray[np.int32], usual: NDArray[np.int64]) -> Spine:
    """Plan each usual order's invoice, as an assessment does."""
    amount, terms = np.maximum(usual[:, 0], 1), usual[:, 1].astype(np.int32)
    return Spine(code, dates, np.full(code.size, -1), amount, dates, dates + terms)


def _usual_orders(history: History, code: NDArray[np.int64], as_of: int) -> NDArray[np.int64]:
    """Give each customer's usual amount, in cents, and terms, in days; zeros where there is none.

    Parameters
    ----------
    code : ndarray of int64, shape (n_customers,)
        −1 for a customer without any fact.

    Returns
    -------
    ndarray of int64, shape (n_customers, 2)
        Medians of the latest invoices, as an assessment without an order assumes them.
    """
    view = history.views.at(code, np.full(code.size, as_of))
    return _medians(history.invoices, view, as_of, HABIT)


@njit
def _medians(
    invoices: Invoices, view: NDArray[np.int64], as_of: int, habit: int
) -> NDArray[np.int64]:
    out = np.zeros((view.size, 2), np.int64)
    for row in range(view.size):
        if view[row] < 0:
            continue
        first, last = invoices.start[view[row]], invoices.start[view[row] + 1]
        end = first + count_before(invoices.known_on[first:last], as_of)
        begin = max(first, end - habit)
        if begin == end:
            continue
        out[row, 0] = int(np.median(invoices.amount_cents[begin:end]))
        out[row, 1] = int(np.median(invoices.due_on[begin:end] - invoices.issued_on[begin:end]))
    return out


def _nullable(values: Floats) -> list[float | None]:
    return [None if np.isnan(value) else value for value in values.tolist()]


def _units(cents: NDArray[np.int64]) -> list[Decimal]:
    return [Decimal(each).scaleb(-2) for each in cents.tolist()]
