"""How customers move between grades in a year: the migration matrix of a ledger's history.

A customer graded B on 1 March 2023 is looked up on 1 March 2024: graded again, in default by then
(whatever he has become since), or left, with no invoice for a year. Of 40 graded B, 30 still B,
4 C, 2 in default and 4 left: the row is 75 %, 10 %, 5 %, 10 %.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models import grades
from models.curve import TermCurve
from training.dataset import DEFAULT, Dataset

Index = NDArray[np.int64]
DEFAULTED, LEFT = "default", "left"
DESTINATIONS = (*grades.GRADES, DEFAULTED, LEFT)


class Migration(NamedTuple):
    """Where customers of each grade were a year later.

    Attributes
    ----------
    snapshots : tuple of int
        Days on which customers were graded, ascending.
    counts : ndarray of int64, shape (8, 10)
        Customers by grade, and by grade, default or left a year later.
    """

    snapshots: tuple[int, ...]
    counts: Index

    @property
    def customers(self) -> Index:
        """Customers graded, by grade."""
        total: Index = self.counts.sum(axis=1)
        return total

    def shares(self) -> NDArray[np.float64]:
        """Shares of each grade's customers; NaN where a grade has none."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.counts / self.customers[:, None])

    def table(self) -> pd.DataFrame:
        """Give lines to read: grade, customers, and shares in per cent with their counts."""
        lines = []
        for letter, counts, shares in zip(grades.GRADES, self.counts, self.shares(), strict=True):
            cells = [
                f"{share:.0%} ({count:,})" if count else "–"
                for count, share in zip(counts.tolist(), shares.tolist(), strict=True)
            ]
            line = {"grade": letter, "customers": f"{counts.sum():,}"}
            lines.append(line | dict(zip(DESTINATIONS, cells, strict=True)))
        return pd.DataFrame(lines)


def migration(curve: TermCurve, dataset: Dataset, first: int, end: int) -> Migration:
    """Grade customers once a year and see where they are a year later.

    Parameters
    ----------
    curve : TermCurve
        The default curve. Where it learned from these rows itself, grades keep more than they would
        have: start at its cut-off for a fair picture.
    dataset : Dataset
        Of the default question: active customers, not in default, on the first of each month.
    first : int
        Day from which customers are graded: on the first of the month on or after it, and on the
        same day of the years after.
    end : int
        Exclusive date until which defaults are known; the year after a grading ends by then.

    Returns
    -------
    Migration

    Raises
    ------
    ValueError
        If the dataset asks another question, or no year lies between `first` and `end`.

    Notes
    -----
    A year is twelve months, so that both days are the first of a month. Whoever is not graded a
    year later and did not default in between has left: no invoice for a year.
    """
    if dataset.question is not DEFAULT:
        raise ValueError(f"grades are of the default curve, not of the {dataset.question.name} one")
    snapshots = _snapshots(dataset, first, end)
    if not snapshots:
        raise ValueError("no day to grade on has a known year after it")
    counts = np.zeros((len(grades.GRADES), len(DESTINATIONS)), np.int64)
    for day in snapshots:
        counts += _year(curve, dataset, day, end)
    return Migration(tuple(snapshots), counts)


def _snapshots(dataset: Dataset, first: int, end: int) -> list[int]:
    """Days to grade on: a year apart, each with its year over by `end`."""
    days = np.unique(dataset.as_of)
    days = days[days >= first]
    found: list[int] = []
    while days.size and _a_year_after(int(days[0])) <= end:
        found.append(int(days[0]))
        days = days[days >= _a_year_after(found[-1])]
    return found


def _a_year_after(day: int) -> int:
    month = np.datetime64(day, "D").astype("datetime64[M]")
    return int((month + 12).astype("datetime64[D]").astype(np.int64))


def _year(curve: TermCurve, dataset: Dataset, day: int, end: int) -> Index:
    """Count one year's moves; shape as :attr:`Migration.counts`."""
    later = _a_year_after(day)
    before, after = (np.flatnonzero(dataset.as_of == d) for d in (day, later))
    defaulted = dataset.outcomes(before, np.full(before.size, later - day, np.int32), end).happened
    destination = np.full(before.size, DESTINATIONS.index(LEFT))
    _, here, there = np.intersect1d(
        dataset.customer[before], dataset.customer[after], return_indices=True
    )
    destination[here] = _graded(curve, dataset, after[there])
    destination[defaulted] = DESTINATIONS.index(DEFAULTED)
    counts = np.zeros((len(grades.GRADES), len(DESTINATIONS)), np.int64)
    np.add.at(counts, (_graded(curve, dataset, before), destination), 1)
    return counts


def _graded(curve: TermCurve, dataset: Dataset, rows: Index) -> Index:
    """Place of each row's grade."""
    horizon = np.full(rows.size, grades.HORIZON_DAYS, np.int32)
    letters = grades.grade(curve.probability(dataset.X[rows], horizon))
    return np.searchsorted(grades.GRADES, letters)
