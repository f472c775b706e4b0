"""How customers move between grades in a year."""

from dataclasses import replace

import numpy as np
import pytest

from models import grades
from models.curve import Calibration
from models.targets import Outcomes
from tests.features.ledgers import day
from tests.models.curves import fitted
from tests.training.conftest import CUTOFF, END, QUICK
from training.dataset import DEFAULT, LATE, Dataset
from training.fit import fit
from training.migration import DESTINATIONS, Migration, migration


class Reads:
    """A booster whose margin is the first feature."""

    def predict(self, inputs: np.ndarray, **kwargs: object) -> np.ndarray:
        """Say it of every row."""
        return inputs[:, 0]


CURVE = replace(
    fitted("default"),
    booster=Reads(),
    calibration=Calibration(1.0, (30, 365), (0.0, 0.0)),
    features=("log_odds",),
)
SAID = {"A": 0.001, "B": 0.008, "C": 0.02, "H": 0.5}


def book(*rows: tuple[int, str, str], defaults: dict[int, str] | None = None) -> Dataset:
    """Make customers graded on given days, and days on which they default."""
    customer, dates, said = zip(*rows, strict=True)
    as_of = np.array([day(date) for date in dates], np.int32)
    began = {code: day(date) for code, date in (defaults or {}).items()}

    def outcomes(asked: np.ndarray, term_days: np.ndarray, cutoff: int) -> Outcomes:
        begins = np.array([began.get(customer[row], 10**6) for row in asked])
        known = as_of[asked] + term_days <= cutoff
        return Outcomes(known, (begins >= as_of[asked]) & (begins < as_of[asked] + term_days))

    p = np.array([SAID[letter] for letter in said])
    X = np.log(p / (1 - p))[:, None]
    return Dataset(DEFAULT, ("log_odds",), X, np.array(customer), as_of, as_of, outcomes)


def moves(found: Migration) -> dict[tuple[str, str], int]:
    """Give the cells that are not empty."""
    return {
        (grades.GRADES[i], DESTINATIONS[j]): int(found.counts[i, j])
        for i, j in zip(*np.nonzero(found.counts), strict=True)
    }


def test_a_customer_is_looked_up_a_year_later():
    known = book(
        (1, "2023-03-01", "B"), (1, "2023-09-01", "H"), (1, "2024-03-01", "C"),
        (2, "2023-03-01", "B"), (2, "2024-03-01", "B"),
        (3, "2023-03-01", "B"),
    )  # fmt: skip
    found = migration(CURVE, known, day("2023-03-01"), day("2024-03-01"))
    assert moves(found) == {("B", "C"): 1, ("B", "B"): 1, ("B", "left"): 1}
    assert found.snapshots == (day("2023-03-01"),)


def test_whoever_defaulted_in_between_did_whatever_became_of_him():
    known = book(
        (1, "2023-03-01", "A"),
        (1, "2024-03-01", "A"),
        (2, "2023-03-01", "A"),
        defaults={1: "2023-06-01", 2: "2024-02-29"},  # the 366th day of that year
    )
    found = migration(CURVE, known, day("2023-03-01"), day("2024-03-01"))
    assert moves(found) == {("A", "default"): 2}


def test_a_default_on_the_day_itself_belongs_to_the_next_year():
    known = book(
        (1, "2023-03-01", "A"), (1, "2024-03-01", "H"), defaults={1: "2024-03-01"}
    )  # fmt: skip
    found = migration(CURVE, known, day("2023-03-01"), day("2024-03-01"))
    assert moves(found) == {("A", "H"): 1}


def test_years_are_added_up_and_never_overlap():
    known = book(
        *((1, f"{year}-{month:02d}-01", "A") for year in (2022, 2023, 2024) for month in (3, 9))
    )
    found = migration(CURVE, known, day("2022-02-15"), day("2025-01-01"))
    assert [str(np.datetime64(d, "D")) for d in found.snapshots] == ["2022-03-01", "2023-03-01"]
    assert moves(found) == {("A", "A"): 2}


def test_a_year_that_is_not_over_is_not_counted():
    known = book((1, "2023-03-01", "A"), (1, "2024-03-01", "A"))
    with pytest.raises(ValueError, match="no day to grade on has a known year after it"):
        migration(CURVE, known, day("2023-03-01"), day("2024-02-29"))


def test_grades_are_of_the_default_curve():
    known = replace(book((1, "2023-03-01", "A")), question=LATE)
    with pytest.raises(ValueError, match="not of the late one"):
        migration(CURVE, known, day("2023-03-01"), day("2024-03-01"))


def test_the_table_says_shares_with_their_counts():
    counts = np.zeros((8, 10), np.int64)
    counts[1, [1, 2, 8, 9]] = 30, 4, 2, 4
    lines = Migration((0,), counts).table()
    assert lines.columns.tolist() == ["grade", "customers", *"ABCDEFGH", "default", "left"]
    row = lines.set_index("grade").loc["B"]
    assert row["customers"] == "40"
    assert row[["B", "C", "default", "left"]].tolist() == [
        "75% (30)",
        "10% (4)",
        "5% (2)",
        "10% (4)",
    ]
    assert row["A"] == "–"
    assert lines.set_index("grade").loc["A", "customers"] == "0"


def test_on_a_ledger_each_grade_moves_somewhere_and_the_riskier_default_more(datasets):
    known = datasets["default"]
    curve = fit(known, CUTOFF - 365, QUICK).curve
    found = migration(curve, known, int(known.as_of.min()), END)
    np.testing.assert_allclose(np.nansum(found.shares(), axis=1), found.customers > 0)
    graded = known.as_of == found.snapshots[0]
    first = migration(curve, known, found.snapshots[0], found.snapshots[0] + 366)
    assert first.customers.sum() == graded.sum()
    defaulted = found.counts[:, DESTINATIONS.index("default")]
    safer, riskier = slice(0, 4), slice(4, 8)
    rate = [defaulted[half].sum() / found.customers[half].sum() for half in (safer, riskier)]
    assert 0 < rate[0] < rate[1]
