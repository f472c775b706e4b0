"""Measured out of time: each term on the outcomes known by the end, and on no other."""

import numpy as np
import pytest

from tests.training.conftest import CUTOFF, END, QUICK
from training.evaluate import out_of_time
from training.fit import fit


@pytest.mark.parametrize("question", ["late", "default"])
def test_each_term_is_measured_on_the_outcomes_known_by_the_end(datasets, question):
    dataset = datasets[question]
    curve = fit(dataset, CUTOFF, QUICK).curve
    rows, end = dataset.between(CUTOFF, END), CUTOFF + 140
    measured = {one.term_days: one for one in out_of_time(curve, dataset, rows, end, resamples=5)}
    for term in dataset.question.reported:
        outcome = dataset.outcomes(rows, np.full(rows.size, term, np.int32), end)
        if not outcome.known.any():
            assert term not in measured  # a year from the cut-off is not over yet
            continue
        asked = rows[outcome.known]
        said = curve.probability(dataset.X[asked], np.full(asked.size, term, np.int32))
        assert measured[term].rows == asked.size < rows.size
        assert measured[term].events == outcome.happened[outcome.known].sum()
        assert measured[term].predicted_rate == pytest.approx(said.mean())
    assert set(measured) == {"late": {0, 5, 15, 30, 60}, "default": {30, 90}}[question]
