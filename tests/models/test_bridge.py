"""The parts of a bridge add up, whatever moved."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.build import feature_names
from models.bridge import Bridge, Looks, bridge
from models.curve import Explained

FEATURES = feature_names(with_order=True)[:4]
EXAMPLE = ((-3.20, -3.10, -2.40, -2.40), (-3.00, -2.95, -2.25, -2.25))
numbers = st.floats(-5, 5)
four = st.lists(st.lists(numbers, min_size=4, max_size=4), min_size=4, max_size=4)


def looks(base: float, contributions: list[list[float]], drift: float = 0.0) -> Looks:
    """Give four looks whose base drifts: the term's own share hangs on the row."""
    return Looks([Explained(base + n * drift, np.array(r)) for n, r in enumerate(contributions)])


def bridged(old: Looks, new: Looks, **said: bool) -> Bridge:
    rows = [np.full(4, float(look)) for look in range(4)]
    named = {"other_model": True, "other_policy": True, **said}
    return bridge(FEATURES, rows, old, new, **named)


def by_kind(found: Bridge) -> dict[str, float]:
    return {part.kind: part.log_odds for part in found.parts}


def test_the_example_of_the_module():
    old, new = (
        looks(-3.0, [[log_odds + 3.0, 0.0, 0.0, 0.0] for log_odds in one]) for one in EXAMPLE
    )
    found = bridged(old, new)
    expected = {"time": 0.075, "facts": 0.70, "order": 0.0, "model": 0.175, "policy": 0.0}
    assert by_kind(found) == pytest.approx(expected, abs=1e-12)
    assert found.log_odds_before == pytest.approx(-3.20)
    assert found.log_odds_after == pytest.approx(-2.25)


@given(four, four, numbers, numbers, numbers)
def test_parts_and_their_measures_add_up_in_log_odds_and_in_points(old, new, base, other, drift):
    found = bridged(looks(base, old, drift), looks(other, new, -2 * drift))
    moved = found.log_odds_after - found.log_odds_before
    assert math.fsum(part.log_odds for part in found.parts) == pytest.approx(moved, abs=1e-9)
    points = math.fsum(part.points for part in found.parts)
    assert points == pytest.approx(found.after - found.before, abs=1e-9)
    for part in found.parts:
        if part.kind not in ("model", "policy"):
            told = math.fsum(one.log_odds for one in part.moved)
            assert told == pytest.approx(part.log_odds, abs=1e-9)
            sizes = [abs(one.log_odds) for one in part.moved]
            assert sizes == sorted(sizes, reverse=True)


@given(four, numbers)
def test_the_way_back_is_the_way_there_with_the_other_sign(rows, base):
    """Where nothing but the model changed, exchanging the models changes the sign."""
    still = [rows[0]] * 4
    there = bridged(looks(base, still), looks(0.0, [rows[1]] * 4))
    back = bridged(looks(0.0, [rows[1]] * 4), looks(base, still))
    assert by_kind(there)["model"] == pytest.approx(-by_kind(back)["model"], abs=1e-12)
    for kind in ("time", "facts", "order", "policy"):
        assert by_kind(there)[kind] == 0


def test_nothing_moves_nothing():
    same = looks(-2.0, [[0.1, 0.2, 0.3, 0.4]] * 4)
    found = bridged(same, same, other_model=False, other_policy=False)
    assert {part.kind: part.points for part in found.parts} == {"time": 0, "facts": 0, "order": 0}
    assert all(part.moved == () for part in found.parts)
    assert found.before == found.after == pytest.approx(1 / (1 + math.exp(1.0)))


def test_windows_of_one_measure_are_told_once_with_the_values_of_the_largest():
    features = ("settled_90_invoices", "settled_365_invoices")
    rows = [np.array(values) for values in ([1.0, 2.0], [1.0, 2.0], [3.0, np.nan], [3.0, np.nan])]
    before, after = Explained(0.0, np.zeros(2)), Explained(0.0, np.array([0.1, 0.4]))
    found = Looks([before, before, after, after])
    told = bridge(features, rows, found, found, other_model=False, other_policy=False)
    (moved,) = told.parts[1].moved
    assert (moved.feature, moved.before, moved.after) == ("settled_365_invoices", 2.0, None)
    assert moved.log_odds == pytest.approx(0.5)
