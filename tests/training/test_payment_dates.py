"""Payment dates: read as the service reads them, and wide enough for four payments in five."""

from dataclasses import replace

import numpy as np
import pytest

from models import targets
from models.curve import NOMINAL_TAIL, TermCurve, payment_interval
from tests.training.conftest import CUTOFF, END, QUICK
from training.fit import fit
from training.payment_dates import (
    FEWEST_TELLING,
    TAILS,
    calibrate_tail,
    measure_payment_dates,
    payment_days,
)


@pytest.fixture(scope="module")
def curve(datasets) -> TermCurve:
    return fit(datasets["late"], CUTOFF, QUICK).curve


def test_payment_days_are_those_read_off_the_whole_curve(datasets, curve):
    dataset = datasets["late"]
    rows = dataset.between(CUTOFF, END)[::40]
    terms = np.arange(curve.shortest, curve.longest + 1, dtype=np.int32)
    expected = [
        payment_interval(terms, curve.at(dataset.X[row], terms), curve.tail) for row in rows
    ]
    beyond = curve.longest + 1
    wanted = [[beyond if day is None else day for day in one] for one in expected]
    assert payment_days(curve, dataset.X[rows]).tolist() == wanted
    assert len({tuple(one) for one in wanted}) > 5


@pytest.mark.parametrize("later", [0.0, 2.0, 3.0])  # as fitted, or in log-odds of being late
def test_dates_compare_with_the_days_of_payment(past, datasets, curve, later):
    """Only terms are asked of the outcomes; here the days of payment themselves are counted."""
    dataset = datasets["late"]
    offsets = tuple(offset + later for offset in curve.calibration.offsets)
    curve = replace(curve, calibration=replace(curve.calibration, offsets=offsets))
    rows, end = dataset.between(CUTOFF, END), CUTOFF + 150
    found = measure_payment_dates(curve, dataset, rows, end)
    days_late = targets.days_late_known_at(past, end)[rows]  # a late row is an invoice
    due_on = past.invoices.due_on[rows]
    p10, p50, p90 = payment_days(curve, dataset.X[rows]).T
    never = curve.longest + 1
    lasts = np.maximum(60, p10 - 1)
    lasts = np.maximum(lasts, np.where(p50 < never, p50 + 3, 0))
    lasts = np.maximum(lasts, np.where(p90 < never, p90, 0))
    recorded = end - targets.recording_days(past, end)
    counted = (due_on + lasts < recorded) & ~np.isnan(days_late)
    near = (np.abs(days_late - p50) <= 3) & (p50 < never)
    covered = (days_late >= p10) & ((days_late <= p90) | (p90 == never))
    assert found.rows == counted.sum() > 50
    assert found.near_rate == pytest.approx(near[counted].mean())
    assert found.covered_rate == pytest.approx(covered[counted].mean())
    terms = np.arange(curve.shortest, never, dtype=np.int32)
    said = []
    for x, first, last in zip(dataset.X[rows[counted]], p10[counted], p90[counted], strict=True):
        unpaid = [1.0, *curve.at(x, terms), 0.0]  # before the shortest term, after the longest
        said.append(unpaid[first - curve.shortest] - unpaid[last - curve.shortest + 1])
    assert found.covered_rate_said == pytest.approx(np.mean(said))


def test_without_a_known_payment_there_is_no_measure(datasets, curve):
    rows = datasets["late"].between(CUTOFF, END)
    assert measure_payment_dates(curve, datasets["late"], rows, CUTOFF) is None


# ------------------------------------------------------------------------------ where they are read


@pytest.mark.parametrize("until", [CUTOFF + 90, END])  # when many rows do not tell yet, and later
def test_the_tail_is_the_one_that_holds_the_share_nearest_to_four_in_five(datasets, curve, until):
    """Counted by the days of payment, each interval read as it would be told."""
    dataset = datasets["late"]
    rows = dataset.between(CUTOFF, CUTOFF + 75)
    held = {}
    for tail in TAILS:
        p10, _, p90 = payment_days(replace(curve, tail=tail), dataset.X[rows]).T
        has_end = p90 <= curve.longest
        tells = dataset.outcomes(rows, np.minimum(p90, curve.longest), until).known
        started = dataset.outcomes(rows, p10 - 1, until).happened
        ended = has_end & dataset.outcomes(rows, p90, until).happened
        if tells.sum() >= FEWEST_TELLING:
            held[tail] = (started & ~ended)[tells].mean()
    off_by = {tail: abs(rate - 0.8) for tail, rate in held.items()}
    chosen = calibrate_tail(curve, dataset, rows, until)
    assert off_by[chosen] == min(off_by.values()) < 0.05
    assert max(off_by.values()) > 0.1  # not any would do


def test_where_few_rows_tell_the_ends_are_read_by_their_names(datasets, curve):
    dataset = datasets["late"]
    rows = dataset.between(CUTOFF, CUTOFF + 60)
    assert calibrate_tail(curve, dataset, rows, CUTOFF) == NOMINAL_TAIL
    assert calibrate_tail(curve, dataset, rows[:50], END) == NOMINAL_TAIL


def test_the_fit_keeps_the_tail_of_rows_that_it_did_not_learn_from(datasets, curve, monkeypatch):
    asked = []

    def noted(draft, dataset, rows, cutoff):
        asked.append((dataset.as_of[rows].min(), cutoff))
        return 0.31

    monkeypatch.setattr("training.fit.calibrate_tail", noted)
    again = fit(datasets["late"], CUTOFF, QUICK).curve
    assert again.tail == 0.31 != curve.tail
    ((first, cutoff),) = asked
    learned = datasets["late"].known_before(CUTOFF)
    assert first >= np.quantile(datasets["late"].as_of[learned], 0.7)
    assert cutoff == CUTOFF
    assert fit(datasets["default"], CUTOFF, QUICK).curve.tail == NOMINAL_TAIL
