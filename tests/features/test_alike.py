"""How invoices like this one were paid, with the arithmetic left visible."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import history
from features.alike import alike
from tests.features.test_order import planned

FRIDAY, MONDAY = "2024-06-28", "2024-07-01"


def faded(days):
    return 0.5 ** (days / 180)


def test_an_invoice_due_on_another_weekday_weighs_a_tenth(known):
    """
    due_on     | settled_on | amount
    2024-05-31 | 2024-06-03 | 100
    2024-05-30 | 2024-05-30 | 100
    """
    row = planned(known, 100, "2024-06-14", FRIDAY)  # the first fell due on a Friday
    friday, thursday = faded(11), faded(15)
    usual = friday / (friday + thursday)
    like = friday + 0.1 * thursday
    assert row.alike_late_rate == pytest.approx((friday + usual) / (like + 1))
    assert row.alike_days_late == pytest.approx((3 * friday + 3 * usual) / (like + 1))
    assert planned(known, 100, "2024-06-14", MONDAY).alike_late_rate < row.alike_late_rate


def test_an_invoice_weighs_what_the_smaller_amount_is_of_the_larger(known):
    """
    due_on     | settled_on | amount
    2024-05-31 | 2024-06-10 | 80
    2024-05-31 | 2024-06-10 | 50
    2024-05-24 | 2024-06-10 | 200
    2024-05-24 | 2024-05-24 | 100
    """
    row = planned(known, 100, "2024-06-14", FRIDAY)
    older, recent = faded(21), faded(4)
    like = recent * (80 / 100 + 50 / 100 + 100 / 200) + older
    usual = 3 * recent / (3 * recent + older)
    expected = (recent * (0.8 + 0.5 + 0.5) + usual) / (like + 1)
    assert row.alike_late_rate == pytest.approx(expected)


def test_a_delay_counts_for_90_days_at_most_early_or_late(known):
    """
    due_on     | settled_on | amount
    2023-05-26 | 2024-05-31 | 100
    """
    assert planned(known, 100, "2024-06-14", FRIDAY).alike_days_late == pytest.approx(90)


def test_early_counts_as_early(known):
    """
    due_on     | settled_on | amount
    2024-05-31 | 2024-05-27 | 100
    """
    row = planned(known, 100, "2024-06-14", FRIDAY)
    assert row.alike_days_late == pytest.approx(-4)
    assert row.alike_late_rate == 0


def test_what_is_known_on_the_day_itself_does_not_count(known):
    """
    due_on     | settled_on | amount
    2024-05-31 | 2024-06-14 | 100
    """
    assert np.isnan(planned(known, 100, "2024-06-14", FRIDAY).alike_late_rate)
    assert planned(known, 100, "2024-06-15", FRIDAY).alike_late_rate == 1


def test_a_payment_that_bounced_no_longer_counts(known):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-05-01 | 2024-05-31 | 100

    settled_on | invoice | kind     | amount
    2024-06-05 | F1      | payment  | 100
    2024-06-10 | F1      | reversal | 100
    """
    assert planned(known, 100, "2024-06-10", FRIDAY).alike_late_rate == 1
    row = planned(known, 100, "2024-06-11", FRIDAY)
    assert np.isnan(row.alike_late_rate)
    assert np.isnan(row.alike_days_late)


def test_the_latest_500_count(known):
    """
    due_on     | settled_on | amount | times
    2024-05-31 | 2024-06-10 | 100    | 1
    2024-05-31 | 2024-06-11 | 100    | 499
    """
    row = planned(known, 100, "2024-06-14", FRIDAY)
    assert row.alike_days_late == pytest.approx(
        (10 * faded(4) + 499 * 11 * faded(3)) / (faded(4) + 499 * faded(3))
    )


def test_the_one_before_them_does_not(known):
    """
    due_on     | settled_on | amount | times
    2024-05-31 | 2024-06-10 | 100    | 1
    2024-05-31 | 2024-06-11 | 100    | 500
    """
    assert planned(known, 100, "2024-06-14", FRIDAY).alike_days_late == pytest.approx(11)


def test_what_was_paid_more_than_ten_half_lives_ago_does_not_count(known):
    """
    due_on     | settled_on | amount
    2019-01-01 | 2019-01-01 | 100
    """
    assert planned(known, 100, "2023-12-06", FRIDAY).alike_late_rate == 0  # 1,800 days
    assert np.isnan(planned(known, 100, "2023-12-07", FRIDAY).alike_late_rate)


def test_without_a_payment_there_is_nothing_to_compare(known):
    """
    due_on     | settled_on | amount
    2024-05-31 |            | 100
    """
    for customer in ("A", "nobody"):
        row = planned(known, 100, "2024-06-14", FRIDAY, customer)
        assert np.isnan(row.alike_late_rate)
        assert np.isnan(row.alike_days_late)


@given(
    st.lists(st.tuples(st.integers(-200, 200), st.integers(1, 10**9)), min_size=1, max_size=20),
    st.integers(1, 10**9),
    st.integers(0, 400),
)
@settings(deadline=None)
def test_it_lies_between_the_best_and_the_worst_that_was_seen(paid, cents, due_on):
    days_late, amounts = (np.array(column) for column in zip(*paid, strict=True))
    n = days_late.size
    due, known_on = np.arange(n, dtype=np.int32), np.arange(n, dtype=np.int32)
    until = np.full(n, history.NEVER, np.int32)
    found = alike(
        days_late.astype(np.int32), amounts, np.arange(n), due, known_on, until, 30, due_on, cents
    )
    assert 0 <= found.late_rate <= 1 + 1e-12
    counted = np.clip(days_late, -90, 90)
    assert counted.min() - 1e-9 <= found.days_late <= counted.max() + 1e-9
