"""The rule a credit manager uses today: who is longest overdue, then whose debt is older.

Customers are ranked by the days their oldest unpaid invoice is past due; of equal ones, by the
share of what they owe that is past due. It needs the open items of the day and nothing else. For
instance 12 days and 40 % overdue gives the score 12.4, above 12 days and 10 %, below 13 days.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from features.ledger import LedgerError
from training.dataset import Dataset, Pairs

Floats = NDArray[np.float64]
Index = NDArray[np.int64]
LONGEST, SHARE = "open_longest_overdue_days", "open_overdue_rate"


@dataclass(frozen=True)
class RuleOfThumb:
    """The rule, and the rate that followed each score before the cut-off.

    Attributes
    ----------
    features : tuple of str
        Names of the columns of the matrices it is given.
    scores, rates : tuple of float
        Scores, ascending, and the rate at each, never falling; straight lines between them.
    """

    features: tuple[str, ...]
    scores: tuple[float, ...]
    rates: tuple[float, ...]

    def score(self, X: Floats) -> Floats:
        """Rank rows of shape (n_rows, n_features): higher is riskier; 0 when nothing is overdue."""
        return _score(X, self.features)

    def probability(self, X: Floats) -> Floats:
        """Rate that followed each row's score."""
        return np.interp(self.score(X), self.scores, self.rates)


def fit_rule(dataset: Dataset, term_days: int, cutoff: int) -> RuleOfThumb:
    """Learn what rate followed each score, by isotonic regression.

    Parameters
    ----------
    dataset : Dataset
    term_days : int
    cutoff : int
        Exclusive date: only outcomes known before it count.

    Raises
    ------
    LedgerError
        If none is known at that term.
    """
    asked = dataset.known_at(term_days, cutoff)
    if asked.row.size == 0:
        raise LedgerError(
            f"{dataset.question.name} rule: no outcome at {term_days} days is known at the cut-off"
        )
    return learn_rule(dataset, asked)


def learn_rule(dataset: Dataset, asked: Pairs) -> RuleOfThumb:
    """Learn what rate followed each score on pairs at one term, at least one."""
    score = _score(dataset.X, dataset.features, asked.row)
    fitted = IsotonicRegression().fit(score, asked.happened.astype(np.float64))
    return RuleOfThumb(
        dataset.features, tuple(fitted.X_thresholds_.tolist()), tuple(fitted.y_thresholds_.tolist())
    )


def _score(X: Floats, features: tuple[str, ...], rows: Index | slice = slice(None)) -> Floats:
    """Days and share in one number: the share is never more than 1, the days are whole."""
    days, share = X[rows, features.index(LONGEST)], X[rows, features.index(SHARE)]
    return np.asarray(np.nan_to_num(days) + np.nan_to_num(share))
