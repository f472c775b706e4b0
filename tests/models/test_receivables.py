"""DSO, ADD, CEI, ageing, payment index, days beyond terms, concentration: the worked values."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.portfolio import portfolio_at
from models.receivables import (
    beyond_terms,
    bucket,
    collection_effectiveness,
    concentration,
    count_back_dso,
    days_of_index,
    measure,
    monthly_sales,
    payment_index,
    period,
    simple_dso,
    weighted_mean,
)
from models.receivables_file import load
from tests.features.ledgers import day

HOW = load().measures
MONTHS = [(100, 30), (120, 31), (90, 30)]


# Worked values.


def test_the_count_back_takes_whole_months_and_a_part_of_the_last():
    assert count_back_dso(250, MONTHS) == 30 + 31 + 30 * 30 / 90 == 71


def test_the_best_possible_dso_is_54_days_and_21_are_delinquent():
    dso, best = simple_dso(250, 300, 90), simple_dso(180, 300, 90)
    assert (dso, best, dso - best) == (75, 54, 21)


def test_the_collection_effectiveness_is_78_per_cent():
    found = collection_effectiveness(200, 300, 250, 180)
    assert found == (200 + 300 - 250) / (200 + 300 - 180)
    assert round(found, 3) == 0.781


def test_what_is_written_off_was_not_collected():
    assert collection_effectiveness(200, 300, 250, 180, lost_cents=50) == 200 / 320


@pytest.mark.parametrize(
    ("index", "days"), [(100, -30), (90, -20), (80, 0), (70, 15), (50, 30), (40, 60), (20, 120)]
)
def test_the_payment_index_means_these_days(index, days):
    assert payment_index(days) == index
    assert days_of_index(index) == days


# Edges.


def test_a_balance_of_nothing_counts_back_no_day():
    assert count_back_dso(0, MONTHS) == 0


def test_a_balance_above_all_sales_known_has_no_count_back():
    assert count_back_dso(310, MONTHS) == 91
    assert math.isnan(count_back_dso(311, MONTHS))


def test_a_month_of_credit_notes_alone_covers_nothing():
    assert count_back_dso(100, [(-40, 30), (200, 30)]) == 30 + 15


def test_without_sales_there_is_no_dso():
    assert math.isnan(simple_dso(10, 0, 90))
    assert math.isnan(collection_effectiveness(0, 0, 0, 0))


@given(st.floats(-30, 180))
def test_the_index_and_its_inverse_agree(days):
    assert math.isclose(days_of_index(payment_index(days)), days, abs_tol=1e-9)


@given(st.floats(-1000, 1000), st.floats(0, 1000))
def test_later_never_raises_the_index(days, more):
    assert payment_index(days + more) <= payment_index(days)
    assert 0 <= payment_index(days) <= 100


@given(st.lists(st.integers(1, 1000), max_size=12), st.integers(0, 20_000), st.integers(0, 500))
def test_owing_more_never_shortens_the_count_back(sales, balance, more):
    months = [(cents, 30) for cents in sales]
    less, longer = count_back_dso(balance, months), count_back_dso(balance + more, months)
    assert math.isnan(longer) or longer >= less


def test_the_30th_day_is_in_the_first_bucket_and_the_due_date_in_none():
    assert bucket(np.array([0, 1, 30, 31], np.int32), [0, 30]).tolist() == [0, 1, 1, 2]


def test_large_invoices_weigh_more():
    assert weighted_mean([10, 0], np.array([300, 100])) == (10 * 300 + 0 * 100) / 400


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=30))
def test_concentration_lies_between_equal_shares_and_one_customer(amounts):
    found = concentration(np.array(amounts))
    if sum(amounts) == 0:
        assert math.isnan(found.herfindahl)
        return
    n = sum(amount > 0 for amount in amounts)
    assert 1 / n - 1e-9 <= found.herfindahl <= 1 + 1e-9
    assert found.top_1_rate <= found.top_5_rate <= found.top_10_rate <= 1
    assert found.top_1_rate == max(amounts) / sum(amounts)


# On a ledger.


def test_the_worked_balance_comes_out_of_a_ledger(known):
    """
    invoice | issued_on  | due_on     | amount
    F0      | 2024-02-01 | 2024-03-02 | 200
    F1      | 2024-04-10 | 2024-05-10 | 90
    F2      | 2024-05-10 | 2024-08-31 | 120
    F3      | 2024-06-10 | 2024-08-31 | 90

    invoice | settled_on | amount
    F0      | 2024-04-15 | 200
    F1      | 2024-05-15 | 20

    invoice | kind        | settled_on | amount
    F2      | credit_note | 2024-06-20 | 30
    """
    seen = portfolio_at(known, day("2024-07-01"))
    lately = period(seen, 90)  # 2 April to 30 June
    assert lately == (90, 200_00, 300_00, 30_00, 0, 220_00, 250_00, 180_00)
    assert lately.sales == 270_00
    assert monthly_sales(seen) == [(60_00, 30), (120_00, 31), (90_00, 30), (0, 31), (200_00, 29)]
    measured = measure(seen, HOW)
    assert measured.simple_dso == 250 / 270 * 90
    assert measured.count_back_dso == 30 + 31 + 30 * 70 / 90
    assert measured.days_delinquent == pytest.approx(70 / 270 * 90)
    assert measured.collection_effectiveness == (200 + 270 - 250) / (200 + 270 - 180)
    assert measured.ageing_cents == [180_00, 0, 70_00, 0, 0, 0]
    assert measured.ageing_invoices == [2, 0, 1, 0, 0, 0]


def test_the_month_of_today_has_the_days_gone_by(known):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-04-10 | 2024-05-10 | 90
    """
    assert monthly_sales(portfolio_at(known, day("2024-05-11"))) == [(0, 10), (90_00, 30)]


def test_days_beyond_terms_say_what_they_count(known):
    """
    invoice | due_on     | settled_on | amount
    F1      | 2024-03-31 | 2024-04-10 | 300
    F2      | 2024-03-31 | 2024-03-11 | 100
    F3      | 2024-04-10 |            | 100
    """
    found = beyond_terms(portfolio_at(known, day("2024-05-01")), 365)
    assert found.invoices == 2
    assert found.early_counts == (10 * 300 - 20 * 100) / 400
    assert found.late_only == 10 * 300 / 400
    assert found.with_open == (10 * 300 - 20 * 100 + 20 * 100) / 500
    assert found.payment_index == pytest.approx((300 * (80 - 10 / 1.5) + 100 * 90) / 400)


def test_payments_known_before_the_window_do_not_count(known):
    """
    invoice | due_on     | settled_on | amount
    F1      | 2024-03-31 | 2024-04-10 | 300
    """
    seen = portfolio_at(known, day("2024-05-01"))
    assert beyond_terms(seen, 21).invoices == 1
    assert beyond_terms(seen, 20).invoices == 0


def test_terms_beyond_60_days_and_45_end_of_month_are_found(known):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-03-01 | 2024-05-15 | 100
    F2      | 2024-03-01 | 2024-05-16 | 100
    F3      | 2024-03-01 | 2024-04-30 | 100
    """
    found = measure(portfolio_at(known, day("2024-04-01")), HOW).beyond_law
    assert (found.looked_at, found.cents) == (3, 100_00)  # F2: 31 March + 45 days is 15 May
