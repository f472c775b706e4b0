"""The payment dates of the late curve: measured, and read where they hold what they promise.

p10 to p90 is to hold four payments in five. Read off the curve at 90 and 10 % unpaid it holds more:
days are whole, and the day that holds a percentile belongs to the interval altogether. So what the
two ends leave out is chosen on rows that the booster did not learn from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.curve import NOMINAL_TAIL, PaidOn, TermCurve, left_unpaid
from models.targets import Outcomes
from training.dataset import Dataset

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Index = NDArray[np.int64]
NEAR_DAYS = 3
MOST_DATED = 20_000
HELD_RATE = 0.80  # of the payments, from p10 to p90
TAILS = tuple(place / 200 for place in range(4, 81))  # 2 % to 40 %
FEWEST_TELLING = 100


@dataclass(frozen=True)
class PaymentDates:
    """How the payment dates read off a late curve compare with the payments.

    Attributes
    ----------
    rows : int
        Invoices of which it is known whether they were paid by the dates named.
    near_rate : float
        Share paid at most three days before or after p50; one without a p50 counts as missed.
    covered_rate : float
        Share paid from p10 to p90, both days included.
    covered_rate_said : float
        What the curve itself gives that interval.
    """

    rows: int
    near_rate: float
    covered_rate: float
    covered_rate_said: float


def measure_payment_dates(
    curve: TermCurve, dataset: Dataset, rows: Index, end: int
) -> PaymentDates | None:
    """Compare p10, p50 and p90 of the payment date with the payments.

    Parameters
    ----------
    curve : TermCurve
        The late curve.
    dataset : Dataset
    rows : ndarray of int64
        Of more than 20,000 every second, third… is asked.
    end : int
        Exclusive date until which payments are known.

    Returns
    -------
    PaymentDates or None
        None where no invoice's outcome is known.

    Notes
    -----
    An invoice counts once it is known whether it was paid by the longest reported term and by every
    day compared with: those still open at the end are in, as later than that. No day of payment is
    needed: paid by day *t* is *not late by more than t*, so paid from p10 to p90 is late by more
    than p10 − 1 and not by more than p90.
    """
    rows = _some(rows)
    p10, p50, p90 = payment_days(curve, dataset.X[rows]).T
    has_p50, has_p90 = p50 <= curve.longest, p90 <= curve.longest
    needed = np.maximum(p10 - 1, dataset.question.reported[-1]).astype(np.int32)
    needed = np.where(has_p50, np.maximum(needed, p50 + NEAR_DAYS), needed)
    needed = np.where(has_p90, np.maximum(needed, p90), needed)
    known = dataset.outcomes(rows, needed, end).known
    if not known.any():
        return None
    rows, p10, p50, p90 = rows[known], p10[known], p50[known], p90[known]
    has_p50, has_p90 = has_p50[known], has_p90[known]

    def late(days: NDArray[np.int32]) -> Bools:
        return dataset.outcomes(rows, days, end).happened

    near = has_p50 & late(p50 - NEAR_DAYS - 1) & ~late(p50 + NEAR_DAYS)
    covered = late(p10 - 1) & ~(has_p90 & late(p90))
    return PaymentDates(
        rows=rows.size,
        near_rate=float(near.mean()),
        covered_rate=float(covered.mean()),
        covered_rate_said=float(_said_between(curve, dataset.X[rows], p10, p90).mean()),
    )


def payment_days(curve: TermCurve, X: Floats) -> NDArray[np.int32]:
    """Read p10, p50 and p90 off a late curve for many rows at once.

    The days of :func:`models.curve.payment_interval` asked at every whole day.

    Parameters
    ----------
    curve : TermCurve
    X : ndarray of float64, shape (n_rows, n_features)

    Returns
    -------
    ndarray of int32, shape (n_rows, 3)
        Days after the due date; ``curve.longest + 1`` where not reached within the curve's terms.
    """
    unpaid = np.tile(left_unpaid(curve.tail), X.shape[0])
    row = np.repeat(np.arange(X.shape[0]), len(PaidOn._fields))

    def reached(place: Index, days: NDArray[np.int32]) -> Bools:
        return curve.probability(X[row[place]], days) <= unpaid[place]

    return _first_day(curve.shortest, curve.longest, row.size, reached).reshape(
        -1, len(PaidOn._fields)
    )


def _first_day(
    first: int, last: int, n: int, reached: Callable[[Index, NDArray[np.int32]], Bools]
) -> NDArray[np.int32]:
    """Find the first day on which each of n things is reached, by bisection: it then stays so.

    ``last + 1`` where it is not reached by the `last` one.
    """
    low, high = np.full(n, first, np.int32), np.full(n, last + 1, np.int32)
    while (searched := np.flatnonzero(low < high)).size:
        middle = (low[searched] + high[searched]) // 2
        is_reached = reached(searched, middle)
        high[searched] = np.where(is_reached, middle, high[searched])
        low[searched] = np.where(is_reached, low[searched], middle + 1)
    return low


def _said_between(
    curve: TermCurve, X: Floats, first: NDArray[np.int32], last: NDArray[np.int32]
) -> Floats:
    """Probability of a payment from `first` to `last`, both included, as the curve says."""
    return _unpaid(curve, X, first - 1) - _unpaid(curve, X, last)


def _unpaid(curve: TermCurve, X: Floats, days: NDArray[np.int32]) -> Floats:
    """Say what is still unpaid after a day: all before the shortest term, nothing past the longest.

    So an interval that has no end within the curve's terms holds all later payments.
    """
    unpaid = np.where(days < curve.shortest, 1.0, 0.0)
    asked = (days >= curve.shortest) & (days <= curve.longest)
    unpaid[asked] = curve.probability(X[asked], days[asked])
    return unpaid


# ------------------------------------------------------------------------------ where they are read


class Seen(NamedTuple):
    """How far each row's payment has been seen, beside what a late curve says of it.

    Attributes
    ----------
    is_seen : ndarray of bool, shape (n_rows,)
        Whether the day of payment is known, or that it lies past the longest term.
    before, after : ndarray of float64
        What the curve leaves unpaid before the day of payment, and after it.
    last : ndarray of float64
        What it leaves unpaid after the last day of which it is known.
    """

    is_seen: Bools
    before: Floats
    after: Floats
    last: Floats


def calibrate_tail(curve: TermCurve, dataset: Dataset, rows: Index, cutoff: int) -> float:
    """Choose how much p10 and p90 leave out at each end, so that they hold four payments in five.

    Parameters
    ----------
    curve : TermCurve
        Late curve that did not learn from `rows`.
    dataset : Dataset
    rows : ndarray of int64
        Of more than 20,000 every second, third… is asked.
    cutoff : int
        Exclusive date: only payments known before it count.

    Returns
    -------
    float
        That of ``TAILS`` with which the share held is nearest to 80 %; 0.1, as the names say, where
        fewer than 100 rows tell.

    Notes
    -----
    With S(t) unpaid after day t, a payment on day d lies from p10 to p90 if, and only if, S(d) ≤ 1
    − tail and S(d − 1) > tail. A row tells once its p90 is past, S(last day known) ≤ tail, *whether
    or not* it was paid: the paid ones alone would favour the early.
    """
    seen = _seen(curve, dataset, _some(rows), cutoff)
    held = {}
    for tail in TAILS:
        tells = seen.last <= tail
        is_held = seen.is_seen & (seen.after <= 1 - tail) & (seen.before > tail)
        if tells.sum() >= FEWEST_TELLING:
            held[tail] = float(is_held[tells].mean())
    return min(held, key=lambda tail: abs(held[tail] - HELD_RATE), default=NOMINAL_TAIL)


def _seen(curve: TermCurve, dataset: Dataset, rows: Index, cutoff: int) -> Seen:
    def outcomes(place: Index, days: NDArray[np.int32]) -> Outcomes:
        return dataset.outcomes(rows[place], days, cutoff)

    bounds = curve.shortest - 1, curve.longest, rows.size  # on the first: paid before any p10
    not_known = _first_day(*bounds, lambda at, days: ~outcomes(at, days).known)
    paid_on = _first_day(*bounds, lambda at, days: ~outcomes(at, days).happened)
    known_all_along = not_known > curve.longest
    X = dataset.X[rows]
    return Seen(
        is_seen=known_all_along | (paid_on < not_known),
        before=_unpaid(curve, X, paid_on - 1),
        after=_unpaid(curve, X, paid_on),
        last=np.where(known_all_along, 0.0, _unpaid(curve, X, not_known - 1)),
    )


def _some(rows: Index) -> Index:
    return rows[:: max(1, -(-rows.size // MOST_DATED))]
