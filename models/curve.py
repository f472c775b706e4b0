"""The term curve: one booster and an affine calibration give a probability at any term.

The booster reads a row's features and, as its last input, the term in days. Its margin *m* becomes
log-odds by ``a·m + b(t)``: affine, so contributions scaled by ``a`` still add up to the calibrated
log-odds; the booster is monotone in the term and so is ``b``, so the curve never crosses itself.

For instance with a = 0.9, b(30) = −0.2 and a margin of −2 at 30 days, the log-odds are −2.0 and the
probability 1 / (1 + e²) = 11.9 %.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from models.trees import Trees

Floats = NDArray[np.float64]
LATE_TERMS = (0, 5, 15, 30, 60)  # days after the due date, in reports and answers
DEFAULT_HORIZONS = (30, 90, 180, 365)  # days from now
CHUNK = 20_000  # rows asked at once: fresh memory for all of them would take longer than the trees
NOMINAL_TAIL = 0.1  # what p10 and p90 leave out at each end by their names


@dataclass(frozen=True)
class Calibration:
    """Log-odds from margins: ``slope · margin + offset(term)``.

    Attributes
    ----------
    slope : float
        ``a``, > 0.
    terms : tuple of int
        Knots, ascending, in days.
    offsets : tuple of float
        ``b`` at the knots, monotone the way the curve is; linear between, constant beyond.
    """

    slope: float
    terms: tuple[int, ...]
    offsets: tuple[float, ...]

    def offset(self, term_days: NDArray[np.int32]) -> Floats:
        """Return ``b`` at each term."""
        return np.interp(term_days, self.terms, self.offsets)

    def log_odds(self, margins: Floats, term_days: NDArray[np.int32]) -> Floats:
        """Calibrate margins at their terms, both of shape (n,)."""
        return self.slope * margins + self.offset(term_days)


class Explained(NamedTuple):
    """A log-odds taken apart: ``base + contributions.sum()`` is the log-odds.

    Attributes
    ----------
    base : float
        What a row without any information gets at that term.
    contributions : ndarray of float64, shape (n_features,)
        What each feature adds, in calibrated log-odds.
    """

    base: float
    contributions: Floats


@dataclass(frozen=True)
class TermCurve:
    """P(event) of a row at any term.

    Attributes
    ----------
    question : str
        ``late``: paid more than t days after the due date, falls with t. ``default``: defaults
        within t days, rises with t.
    booster : lightgbm.Booster
        Trimmed to its best iteration; its last input is the term.
    features : tuple of str
        The other inputs, in order.
    calibration : Calibration
    shortest, longest : int
        Terms the curve was trained for, in days.
    tail : float
        Of a late curve: p10 is read where 1 − tail is unpaid, p90 where `tail` is.
    threads : int
        Of one prediction; any number gives the same bits. One is right where many are asked at
        once, as in the service.
    trees : Trees, optional
        The booster's, to ask one row at many terms; :func:`models.bundle.read` gives them.
    """

    question: str
    booster: lgb.Booster
    features: tuple[str, ...]
    calibration: Calibration
    shortest: int
    longest: int
    tail: float = NOMINAL_TAIL
    threads: int = 1
    trees: Trees | None = field(default=None, compare=False, repr=False)

    def log_odds(self, X: Floats, term_days: NDArray[np.int32]) -> Floats:
        """Calibrated log-odds.

        Parameters
        ----------
        X : ndarray of float64, shape (n_rows, n_features)
            Columns as in ``features``; NaN is missing.
        term_days : ndarray of int32, shape (n_rows,)
            One term a row, within ``shortest`` … ``longest``.

        Returns
        -------
        ndarray of float64, shape (n_rows,)

        Raises
        ------
        ValueError
            If a term is outside what the curve knows, or the columns are not its features.
        """
        starts = range(0, max(1, X.shape[0]), CHUNK)
        parts = [self._margins(X[i : i + CHUNK], term_days[i : i + CHUNK]) for i in starts]
        margins = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return self.calibration.log_odds(margins, term_days)

    def probability(self, X: Floats, term_days: NDArray[np.int32]) -> Floats:
        """Probabilities, one a row; see :meth:`log_odds`."""
        probabilities: Floats = expit(self.log_odds(X, term_days))
        return probabilities

    def at(self, row: Floats, term_days: NDArray[np.int32]) -> Floats:
        """Probabilities of one row, shape (n_features,), at several terms, shape (n_terms,)."""
        probabilities: Floats = expit(self.log_odds_at(row, term_days))
        return probabilities

    def log_odds_at(self, row: Floats, term_days: NDArray[np.int32]) -> Floats:
        """Log-odds of one row, shape (n_features,), at several terms, shape (n_terms,)."""
        return self.calibration.log_odds(self.margins_at(row, term_days), term_days)

    def margins_at(self, row: Floats, term_days: NDArray[np.int32]) -> Floats:
        """Margins of one row, not calibrated; as :meth:`log_odds_at`."""
        if self.trees is None:
            return self._margins(np.broadcast_to(row, (term_days.size, row.size)), term_days)
        self._check(row.size, term_days)
        return self.trees.margins(row, term_days.astype(np.float64))

    def explain(self, row: Floats, term_days: int) -> Explained:
        """Take one row's log-odds at one term apart; shape of `row`: (n_features,).

        The term's own contribution belongs to the base: it is the question, not a reason.
        """
        inputs = self._inputs(row[None, :], np.array([term_days], np.int32))
        raw = np.asarray(self.booster.predict(inputs, pred_contrib=True, num_threads=1))[0]
        scaled = self.calibration.slope * raw
        offset = float(self.calibration.offset(np.array([term_days], np.int32))[0])
        return Explained(float(scaled[-1] + scaled[-2] + offset), scaled[:-2])

    def contributions(self, X: Floats, term_days: NDArray[np.int32]) -> Floats:
        """Give what each feature adds to each row's log-odds, shape (n_rows, n_features).

        Parameters as in :meth:`log_odds`.
        """
        raw = np.asarray(self.booster.predict(self._inputs(X, term_days), pred_contrib=True))
        scaled: Floats = self.calibration.slope * raw[:, :-2]
        return scaled

    def _margins(self, X: Floats, term_days: NDArray[np.int32]) -> Floats:
        inputs = self._inputs(X, term_days)
        return np.asarray(
            self.booster.predict(inputs, raw_score=True, num_threads=self.threads), np.float64
        )

    def _check(self, n_columns: int, term_days: NDArray[np.int32]) -> None:
        if n_columns != len(self.features):
            raise ValueError(f"{n_columns} columns given, the curve reads {len(self.features)}")
        if term_days.size and (term_days.min() < self.shortest or term_days.max() > self.longest):
            raise ValueError(f"terms go from {self.shortest} to {self.longest} days")

    def _inputs(self, X: Floats, term_days: NDArray[np.int32]) -> Floats:
        self._check(X.shape[1], term_days)
        return np.column_stack([X, term_days.astype(np.float64)])


class PaidOn(NamedTuple):
    """Days after the due date by which the invoice is paid with 10, 50 and 90 % probability.

    ``None`` where the probability is not reached within the curve's terms.
    """

    p10: int | None
    p50: int | None
    p90: int | None


def left_unpaid(tail: float) -> tuple[float, float, float]:
    """Say what is still unpaid at p10, p50 and p90."""
    return 1 - tail, 0.5, tail


def payment_interval(terms: NDArray[np.int32], late: Floats, tail: float = NOMINAL_TAIL) -> PaidOn:
    """Read the payment date off a late curve.

    Parameters
    ----------
    terms : ndarray of int32, shape (n_terms,)
        Days after the due date, ascending.
    late : ndarray of float64, shape (n_terms,)
        P(paid more than t days after the due date), not rising.
    tail : float
        What p10 and p90 leave out at each end of the curve. Days are whole, and the day on which
        the curve passes 90 % belongs to the interval altogether: with 0.1 it holds more than 80 %
        of the payments. A fit chooses the `tail` of its curve so that it holds 80 %.
    """

    def first(unpaid: float) -> int | None:
        reached = np.flatnonzero(late <= unpaid)
        return int(terms[reached[0]]) if reached.size else None

    return PaidOn(*map(first, left_unpaid(tail)))


def expected_delay_days(terms: NDArray[np.int32], late: Floats) -> float:
    """Mean days past due of a payment, early ones counting 0: the area under the late curve.

    A payment 10 days late is late by more than 0, 1, … 9 days: 10 ones to add, so days count whole
    and the curve is read as straight between the terms given. Delays beyond the longest term count
    as that term. Terms and probabilities as in :func:`payment_interval`.
    """
    days = np.arange(terms[-1])
    return float(np.interp(days, terms, late).sum())
