"""Pictures are readable PNG files, the same bytes for the same arrays."""

import struct
import zlib
from datetime import date

import numpy as np
import pytest

from models.metrics import Interval
from tests.training.conftest import CUTOFF, END, QUICK
from training import plots
from training.fit import fit
from training.plots import Asked


def chunks(png: bytes) -> dict[bytes, bytes]:
    """Read a PNG file's chunks, the last of each kind, checking their sums."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    found, place = {}, 8
    while place < len(png):
        (size,) = struct.unpack(">I", png[place : place + 4])
        kind, data = png[place + 4 : place + 8], png[place + 8 : place + 8 + size]
        assert zlib.crc32(kind + data) == struct.unpack(">I", png[place + 8 + size :][:4])[0]
        found[kind], place = data, place + 12 + size
    return found


def size(png: bytes) -> tuple[int, int]:
    width, height = struct.unpack(">II", chunks(png)[b"IHDR"][:8])
    return width, height


@pytest.fixture(scope="module")
def curve(datasets):
    return fit(datasets["late"], CUTOFF, QUICK).curve


@pytest.fixture(scope="module")
def explained(curve, datasets):
    rows = datasets["late"].between(CUTOFF, END)
    return plots.explain(curve, datasets["late"].X[rows], 30)


@pytest.fixture
def asked(rng) -> list[Asked]:
    said = rng.beta(1, 8, 500)
    return [Asked(term, said, rng.random(500) < said) for term in (0, 5, 30)]


def test_a_fit_shows_calibration_gains_and_contributions_twice_the_same(curve, datasets, asked):
    late = datasets["late"]
    rows = late.between(CUTOFF, END)
    shown = plots.of_fit(curve, late, rows, asked)
    assert {name.split("_")[0] for name in shown} == {
        "plots/reliability.png",
        "plots/gains.png",
        "plots/shap",
    }
    assert sum("dependence" in name for name in shown) == plots.DEPENDENCES
    assert plots.of_fit(curve, late, rows, asked) == shown
    for picture in shown.values():
        width, height = size(picture)
        assert 400 < height <= width < 2_000


def test_a_picture_carries_neither_a_date_nor_the_name_of_a_library(asked):
    found = chunks(plots.gains("late", asked))
    assert set(found) <= {b"IHDR", b"pHYs", b"IDAT", b"IEND"}


def test_while_no_outcome_is_known_there_is_nothing_to_show(curve, datasets):
    late = datasets["late"]
    assert plots.of_fit(curve, late, late.between(END - 2, END), []) == {}


def test_each_picture_depends_on_what_it_shows(asked, rng):
    other = [one._replace(happened=rng.permutation(one.happened)) for one in asked]
    for draw in (plots.reliability, plots.gains):
        assert draw("late", asked) != draw("late", other)
        assert draw("late", asked) == draw("late", asked)


@pytest.mark.parametrize("events", [0, 1, 499, 500])
def test_terms_where_nearly_nothing_or_everything_happened_are_drawn_too(rng, events):
    happened = np.arange(500) < events
    for draw in (plots.reliability, plots.gains):
        size(draw("default", [Asked(365, rng.random(500), happened)]))


def test_contributions_add_up_to_the_calibrated_log_odds(explained, curve):
    term = np.full(len(explained), 30, np.int32)
    added = explained.base_values + explained.values.sum(axis=1)
    assert added == pytest.approx(curve.log_odds(explained.data, term), abs=1e-9)


def test_features_are_named_in_words_with_their_unit(explained, curve):
    assert "Longest overdue (days)" in explained.feature_names
    assert all(name not in explained.feature_names for name in curve.features)
    assert len(set(explained.feature_names)) == len(curve.features)


def test_drawing_leaves_the_global_generator_as_it_was(explained):
    before = np.random.get_state()[1].tolist()  # noqa: NPY002 (shap draws from it)
    plots.beeswarm(explained, "late")
    plots.dependence(explained, 0)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_a_walk_forward_leaves_a_gap_where_nothing_was_measured():
    nothing = Interval(float("nan"), float("nan"), float("nan"))
    days = [date(2024, month, 1) for month in (1, 4, 7)]
    full = [Interval(0.8, 0.7, 0.9)] * 3
    with_gap = {0: full, 30: [full[0], nothing, full[0]]}
    width, _ = size(plots.walk_forward("late", days, with_gap))
    assert width > 400
    assert plots.walk_forward("late", days, {0: full, 30: full}) != plots.walk_forward(
        "late", days, with_gap
    )
