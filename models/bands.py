"""What the late curve says of open invoices: on time, late or very late, and of a whole customer.

An invoice still unpaid *s* days after its due date is asked S(t) / S(s): of those that were, how
many are not paid after *t* days either. With S(0) = 40 %, S(10) = 20 % and S(30) = 5 %, an invoice
10 days late is paid more than 30 days late with 5 / 20 = 25 %.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.curve import LATE_TERMS, TermCurve

Floats = NDArray[np.float64]
Days = NDArray[np.int32]
LATE_AFTER_DAYS, VERY_LATE_AFTER_DAYS = 0, 30  # in answers


class Bands(NamedTuple):
    """P(on time), P(late) and P(very late), which add up to 1; each of shape (n_rows,)."""

    on_time: Floats
    late: Floats
    very_late: Floats


def bands(
    curve: TermCurve,
    X: Floats,
    days_past_due: Days,
    late_after: int = LATE_AFTER_DAYS,
    very_late_after: int = VERY_LATE_AFTER_DAYS,
) -> Bands:
    """Tell on time, late and very late apart, at any two thresholds.

    Parameters
    ----------
    curve : TermCurve
        The late curve.
    X : ndarray of float64, shape (n_rows, n_features)
        Invoices as described on their issue date, or planned orders as if issued now.
    days_past_due : ndarray of int32, shape (n_rows,)
        Full days that each is known to be unpaid after its due date; negative before it, and the
        curve's shortest term or less for a planned order.
    late_after, very_late_after : int
        Late is paid more than the first after the due date, very late more than the second.

    Returns
    -------
    Bands

    Raises
    ------
    ValueError
        If the thresholds do not ascend or lie outside the curve's terms.
    """
    if late_after > very_late_after:
        raise ValueError(f"late after {late_after} days, but very late after {very_late_after}")
    unpaid = still_unpaid(curve, X, days_past_due, np.array([late_after, very_late_after]))
    late, very_late = unpaid[:, 0], unpaid[:, 1]
    return Bands(1 - late, late - very_late, very_late)


def still_unpaid(
    curve: TermCurve, X: Floats, days_past_due: Days, terms: NDArray[np.int_]
) -> Floats:
    """P(paid more than *t* days after the due date), given what is known to be unpaid.

    Parameters
    ----------
    curve, X, days_past_due
        See :func:`bands`.
    terms : ndarray of int, shape (n_terms,)
        Days after the due date, within the curve's terms.

    Returns
    -------
    ndarray of float64, shape (n_rows, n_terms)
        1 up to the days already passed.

    Raises
    ------
    ValueError
        If a term lies outside the curve's.
    """
    passed = np.clip(days_past_due, curve.shortest, curve.longest)
    # Not yet due for longer than the curve looks back: nothing to divide by.
    divisor = np.where(days_past_due > curve.shortest, curve.probability(X, passed), 1.0)
    n_rows, n_terms = X.shape[0], terms.size
    asked = np.tile(terms.astype(np.int32), n_rows)
    unpaid = curve.probability(np.repeat(X, n_terms, axis=0), asked).reshape(n_rows, n_terms)
    return np.minimum(unpaid / divisor[:, None], 1.0)  # above 1 up to the days passed


class Outlook(NamedTuple):
    """What to expect of a customer's open invoices, weighted by what is open of each.

    Attributes
    ----------
    invoices, open_cents : int
        Undisputed ones, and what is open of them.
    expected_days_late : float or None
        Mean days past due at payment, early ones counting 0; one already later than the curve knows
        counts as it stands. ``None`` without any invoice.
    late_cents : dict of int to int
        By term: what is expected to be paid more than so many days after its due date.
    disputed_invoices, disputed_cents : int
        Reported, and counted nowhere else.
    """

    invoices: int
    open_cents: int
    expected_days_late: float | None
    late_cents: dict[int, int]
    disputed_invoices: int
    disputed_cents: int


def outlook(
    curve: TermCurve,
    X: Floats,
    days_past_due: Days,
    open_cents: NDArray[np.int64],
    is_disputed: NDArray[np.bool_],
    terms: tuple[int, ...] = LATE_TERMS,
) -> Outlook:
    """Add up the open invoices of one customer.

    Parameters
    ----------
    curve, X, days_past_due
        See :func:`bands`; one row an invoice.
    open_cents : ndarray of int64, shape (n_rows,)
        What is open, ≥ 0.
    is_disputed : ndarray of bool, shape (n_rows,)
        Whether its payer contests it: that it is not paid says nothing of what the others will be.
    terms : tuple of int
        For the amounts.

    Notes
    -----
    Of 100 expected 4 days late and 300 expected 8: (100 × 4 + 300 × 8) / 400 = 7 days.
    """
    counts = ~is_disputed
    cents, passed = open_cents[counts], days_past_due[counts]
    each_day = np.arange(curve.longest)
    unpaid = still_unpaid(curve, X[counts], passed, each_day)
    days_late = np.maximum(unpaid.sum(axis=1), passed)  # late by more than 0, 1, 2 … days
    total = int(cents.sum())
    late = cents @ still_unpaid(curve, X[counts], passed, np.array(terms))
    return Outlook(
        invoices=int(counts.sum()),
        open_cents=total,
        expected_days_late=float(cents @ days_late) / total if total else None,
        late_cents={term: round(float(one)) for term, one in zip(terms, late, strict=True)},
        disputed_invoices=int(is_disputed.sum()),
        disputed_cents=int(open_cents[is_disputed].sum()),
    )
