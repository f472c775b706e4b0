"""The ten rows of docs/models.md, read from the page and computed again."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

from models.targets import late
from tests.features.ledgers import day
from training.dataset import Pairs, Question
from training.fit import calibrate

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text("utf-8")
SECTION = PAGE[PAGE.index("## Ten rows, by hand") : PAGE.index("## Measured out of time")]
TERMS = (5, 30)
KNOWN = {"yes": True, "no": False, "?": None}


def table(heading: str) -> list[list[str]]:
    lines = SECTION[SECTION.index(heading) :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def number(text: str) -> float:
    return float(text.replace("−", "-").replace(" %", "")) / (100 if "%" in text else 1)


def margin(habit: float, term: int) -> float:
    return (-1.4 if habit <= 6 else 0.5) + (0.7 if term <= 12 else -0.1)


@pytest.fixture(scope="module")
def pairs() -> tuple[Pairs, np.ndarray]:
    """Ask the ten invoices at both terms; say each known pair's margin too."""
    asked = []
    for place, (_, habit, due, paid, *_) in enumerate(table("| invoice |")):
        days_late = np.inf if paid == "open" else day(paid) - day(due)
        for term in TERMS:
            of_one = np.array([days_late], float), np.array([day(due)]), np.array([term], np.int32)
            outcome = late(*of_one, day("2025-08-01"))
            if outcome.known[0]:
                known = (place, term, bool(outcome.happened[0]), margin(float(habit), term))
                asked.append(known)
    row, term_days, happened, margins = (np.array(column) for column in zip(*asked, strict=True))
    return Pairs(row, term_days.astype(np.int32), happened, np.full(row.size, 0.5)), margins


def test_the_outcomes_on_the_page_are_those_of_the_code(pairs):
    known, _ = pairs
    of_code = {
        (int(row), int(term)): bool(happened)
        for row, term, happened in zip(known.row, known.term_days, known.happened, strict=True)
    }
    for place, cells in enumerate(table("| invoice |")):
        assert [KNOWN[cell] for cell in cells[4:]] == [of_code.get((place, t)) for t in TERMS]


def test_the_calibration_on_the_page_is_that_of_the_code(pairs):
    known, margins = pairs
    question = Question("late", -1, TERMS, TERMS, TERMS)
    fitted = calibrate(question, margins, known, smoothness=0.5)
    said = re.search(r"\*\*a = ([\d.]+), b\(5\) = (−[\d.]+), b\(30\) = (−[\d.]+)\*\*", SECTION)
    assert said is not None
    assert (fitted.slope, *fitted.offsets) == pytest.approx(
        [number(one) for one in said.groups()], abs=6e-5
    )
    for cells in table("| | m |"):
        m, log_odds, probability, count, events = map(number, cells[1:])
        here = np.isclose(margins, m)
        assert (here.sum(), known.happened[here].sum()) == (count, events)
        term = known.term_days[here][:1]
        assert fitted.slope * m + fitted.offset(term)[0] == pytest.approx(log_odds, abs=2e-4)
        assert expit(log_odds) == pytest.approx(probability, abs=6e-4)


def test_the_sums_on_the_page_are_those_of_its_own_figures(pairs):
    known, margins = pairs
    a, at = 1.0814, {5: -0.4513, 30: -0.5781}
    p = expit(a * margins + np.array([at[int(term)] for term in known.term_days]))
    for term, said, seen in ((5, 2.3245, 2.0), (30, 1.1268, 1.0)):
        here = known.term_days == term
        assert (known.weight * p)[here].sum() == pytest.approx(said, abs=2e-4)
        assert (known.weight * known.happened)[here].sum() == seen
        assert f"{said:.4f}" in SECTION
    assert (known.weight * (p - known.happened) * margins).sum() == pytest.approx(-0.0814, abs=3e-4)
