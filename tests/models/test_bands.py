"""On time, late, very late; and a customer's open invoices added up."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.bands import Outlook, bands, outlook, still_unpaid
from models.curve import Calibration, TermCurve, expected_delay_days
from tests.models.curves import fitted, rows

CURVE = fitted("late")
PLANNED = CURVE.shortest
SOME = rows(12, seed=4)
DAYS = st.integers(-60, 200)


class Silent:
    """A booster that says nothing: what is left is the calibration's offset."""

    def predict(self, inputs: np.ndarray, **kwargs: object) -> np.ndarray:
        """Say 0 of every row."""
        return np.zeros(len(inputs))


def curve_through(late: dict[int, float]) -> TermCurve:
    """Make the curve that says these probabilities of everybody."""
    offsets = tuple(float(np.log(p / (1 - p))) for p in late.values())
    return replace(CURVE, booster=Silent(), calibration=Calibration(1.0, tuple(late), offsets))


WORKED = curve_through({-30: 0.99, 0: 0.40, 10: 0.20, 30: 0.05, 120: 0.01})


def days(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def test_the_worked_example_an_invoice_10_days_late():
    unpaid = still_unpaid(WORKED, rows(1), days(10), np.array([0, 10, 30]))
    assert unpaid == pytest.approx(np.array([[1, 1, 0.05 / 0.20]]))


def test_a_planned_order_is_asked_the_curve_itself():
    on_time, late, very_late = bands(WORKED, rows(1), days(PLANNED))
    assert (on_time, late, very_late) == pytest.approx((0.60, 0.35, 0.05))


def test_an_invoice_not_yet_due_but_still_open_is_no_longer_one_that_was_paid_early():
    terms = np.array([0])
    assert still_unpaid(WORKED, rows(1), days(-30), terms)[0, 0] == pytest.approx(0.40)
    later = still_unpaid(WORKED, rows(1), days(-15), terms)[0, 0]
    assert later > still_unpaid(WORKED, rows(1), days(-29), terms)[0, 0] > 0.40


def test_an_invoice_later_than_the_curve_knows_is_very_late():
    on_time, late, very_late = bands(WORKED, rows(1), days(400))
    assert (on_time[0], late[0], very_late[0]) == (0, 0, 1)


def test_the_thresholds_are_free_and_have_to_ascend():
    low, high = bands(WORKED, rows(1), days(PLANNED), 10, 30), bands(
        WORKED, rows(1), days(PLANNED), 10, 120
    )  # fmt: skip
    assert low.on_time == high.on_time == pytest.approx(0.80)
    assert (low.very_late[0], high.very_late[0]) == pytest.approx((0.05, 0.01))
    with pytest.raises(ValueError, match="late after 31 days, but very late after 30"):
        bands(WORKED, rows(1), days(PLANNED), 31, 30)
    with pytest.raises(ValueError, match="terms go from -30 to 120 days"):
        bands(WORKED, rows(1), days(PLANNED), 0, 121)


@given(st.lists(DAYS, min_size=12, max_size=12), st.integers(-30, 120), st.integers(-30, 120))
def test_bands_are_probabilities_that_add_up(passed, one, other):
    told = np.stack(bands(CURVE, SOME, days(*passed), *sorted((one, other))))
    assert ((told >= 0) & (told <= 1)).all()
    assert told.sum(axis=0) == pytest.approx(1)


@given(DAYS, DAYS, st.integers(-30, 120))
def test_the_longer_unpaid_the_likelier_to_be_later(one, other, term):
    less, more = sorted((one, other))
    asked = np.array([term])
    sooner = still_unpaid(CURVE, SOME, np.full(12, less, np.int32), asked)
    later = still_unpaid(CURVE, SOME, np.full(12, more, np.int32), asked)
    assert (later >= sooner - 1e-12).all()


# ------------------------------------------------------------------------------- the whole customer


def open_book(*invoices: tuple[int, int, bool], curve: TermCurve = WORKED) -> Outlook:
    """Add up invoices told by days past due, euros open and whether disputed."""
    passed, euros, disputed = zip(*invoices, strict=True)
    cents = np.array(euros, np.int64) * 100
    X = rows(len(invoices), seed=9)
    return outlook(curve, X, days(*passed), cents, np.array(disputed), terms=(0, 30))


def test_days_late_are_weighted_by_amount():
    alone = [open_book((passed, 100, False)) for passed in (PLANNED, 10)]
    first, second = (book.expected_days_late for book in alone)
    together = open_book((PLANNED, 100, False), (10, 300, False))
    assert together.expected_days_late == pytest.approx((100 * first + 300 * second) / 400)
    assert together.invoices == 2
    assert together.open_cents == 400_00


def test_the_expected_days_of_an_order_are_those_of_the_curve():
    terms = np.arange(CURVE.shortest, CURVE.longest + 1, dtype=np.int32)
    X = rows(1, seed=9)
    expected = expected_delay_days(terms, CURVE.at(X[0], terms))
    book = open_book((PLANNED, 100, False), curve=CURVE)
    assert book.expected_days_late == pytest.approx(expected)


def test_the_late_amount_is_what_is_expected_to_be_paid_later_than_the_term():
    book = open_book((PLANNED, 1_000, False), (10, 300, False))
    assert book.late_cents == {0: 400_00 + 300_00, 30: 50_00 + 75_00}


def test_an_invoice_later_than_the_curve_knows_counts_as_it_stands():
    assert open_book((400, 100, False)).expected_days_late == 400


def test_disputed_invoices_are_reported_and_not_counted():
    book = open_book((PLANNED, 1_000, False), (200, 9_000, True))
    assert book[:4] == open_book((PLANNED, 1_000, False))[:4]
    assert (book.disputed_invoices, book.disputed_cents) == (1, 9_000_00)


def test_without_an_undisputed_invoice_there_is_nothing_to_expect():
    book = open_book((5, 100, True))
    assert book == Outlook(0, 0, None, {0: 0, 30: 0}, 1, 100_00)
