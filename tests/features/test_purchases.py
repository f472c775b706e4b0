"""What the customer buys, with the arithmetic left visible."""

import numpy as np
import pytest

from features.purchases import count_back


def test_ninety_days_of_purchases_end_before_the_date(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-01-01 | 2024-02-01 | 1.00
    F2      | 2024-01-02 | 2024-02-01 | 20.50
    F3      | 2024-03-31 | 2024-04-30 | 300.00
    F4      | 2024-04-01 | 2024-04-30 | 4000.00
    """
    row = features_at("2024-04-01")  # 2 January … 31 March are 90 days
    assert row.purchases_invoices_90 == 2
    assert row.purchases_amount_90 == 20.50 + 300.00


def test_a_steady_buyer_has_a_trend_of_one(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-03-01 | 2024-03-31 | 90
    F2      | 2023-09-01 | 2023-09-30 | 275
    F3      | 2023-04-01 | 2023-04-30 | 900
    """
    row = features_at("2024-04-01")  # F3 is 366 days ago
    assert row.purchases_trend == pytest.approx((90 / 90) / ((90 + 275) / 365))
    assert row.purchases_trend == 1


def test_the_trend_of_a_customer_who_stopped_is_zero_then_missing(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2023-06-01 | 2023-06-30 | 90
    """
    assert features_at("2024-04-01").purchases_trend == 0
    assert np.isnan(features_at("2024-06-01").purchases_trend)
    assert features_at("2024-05-31").purchases_trend == 0


def test_the_typical_amount_is_the_mean_of_the_latest_twenty(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F0      | 2024-01-01 | 2024-01-31 | 999999
    F1      | 2024-01-02 | 2024-01-31 | 100
    F2      | 2024-01-03 | 2024-01-31 | 100
    F3      | 2024-01-04 | 2024-01-31 | 100
    F4      | 2024-01-05 | 2024-01-31 | 100
    F5      | 2024-01-06 | 2024-01-31 | 100
    F6      | 2024-01-07 | 2024-01-31 | 100
    F7      | 2024-01-08 | 2024-01-31 | 100
    F8      | 2024-01-09 | 2024-01-31 | 100
    F9      | 2024-01-10 | 2024-01-31 | 100
    F10     | 2024-01-11 | 2024-01-31 | 200
    F11     | 2024-01-12 | 2024-01-31 | 200
    F12     | 2024-01-13 | 2024-01-31 | 200
    F13     | 2024-01-14 | 2024-01-31 | 200
    F14     | 2024-01-15 | 2024-01-31 | 200
    F15     | 2024-01-16 | 2024-01-31 | 200
    F16     | 2024-01-17 | 2024-01-31 | 200
    F17     | 2024-01-18 | 2024-01-31 | 200
    F18     | 2024-01-19 | 2024-01-31 | 200
    F19     | 2024-01-20 | 2024-01-31 | 200
    F20     | 2024-01-21 | 2024-01-31 | 200
    """
    assert features_at("2024-02-01").purchases_typical_amount == (9 * 100 + 11 * 200) / 20
    assert features_at("2024-01-04").purchases_typical_amount == (999999 + 2 * 100) / 3


def test_last_and_first_purchase_are_counted_in_days(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-01-01 | 2024-01-31 | 100
    F2      | 2024-01-31 | 2024-02-29 | 100
    """
    row = features_at("2024-02-01")
    assert (row.purchases_days_since_last, row.purchases_tenure_days) == (1, 31)


def test_without_an_invoice_counts_are_zero_and_the_rest_is_missing(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-01-01 | 2024-01-31 | 100
    """
    row = features_at("2024-01-01")
    assert (row.purchases_invoices_90, row.purchases_amount_90) == (0, 0)
    assert (row.purchases_invoices_365, row.purchases_amount_365) == (0, 0)
    assert np.isnan(row.purchases_trend)
    assert np.isnan(row.purchases_volatility)
    assert np.isnan(row.purchases_dso_days)
    assert np.isnan(row.purchases_typical_amount)
    assert np.isnan(row.purchases_days_since_last)
    assert np.isnan(row.purchases_tenure_days)


@pytest.mark.parametrize("customer", ["A", "nobody"])
def test_windows_longer_than_what_was_observed_are_missing_with_and_without_invoices(
    features_at, customer
):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-01-01 | 2024-01-31 | 100
    """
    row = features_at("2024-03-30", customer, observed_from="2024-01-01")  # 89 days
    assert np.isnan(row.purchases_invoices_90)
    assert np.isnan(row.purchases_amount_90)
    row = features_at("2024-03-31", customer, observed_from="2024-01-01")
    assert row.purchases_invoices_90 == (1 if customer == "A" else 0)
    assert np.isnan(row.purchases_trend)


@pytest.mark.parametrize("customer", ["A", "nobody"])
def test_a_year_and_twelve_blocks_need_as_much_history(features_at, customer):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-01-01 | 2024-01-31 | 100
    """
    row = features_at("2024-12-30", customer, observed_from="2024-01-01")  # 364 days
    assert np.isnan(row.purchases_invoices_365)
    assert np.isnan(row.purchases_amount_365)
    row = features_at("2024-12-31", customer, observed_from="2024-01-01")
    assert row.purchases_invoices_365 == (1 if customer == "A" else 0)
    row = features_at("2024-03-31", customer, observed_from="2023-04-07")  # 359 days
    assert np.isnan(row.purchases_volatility)
    assert np.isnan(row.purchases_dso_days)
    row = features_at("2024-03-31", customer, observed_from="2023-04-06")
    assert np.isnan(row.purchases_volatility) == (customer == "nobody")
    assert np.isnan(row.purchases_dso_days) == (customer == "nobody")


def test_a_year_of_purchases_begins_365_days_before_the_date(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-29 | 2024-03-31 | 1.00
    F2      | 2024-03-01 | 2024-03-31 | 20.50
    F3      | 2025-02-28 | 2025-03-31 | 300.00
    F4      | 2025-03-01 | 2025-03-31 | 4000.00
    """
    row = features_at("2025-03-01")
    assert row.purchases_invoices_365 == 2
    assert row.purchases_amount_365 == 20.50 + 300.00


def test_volatility_is_the_spread_of_twelve_blocks_of_30_days_against_their_mean(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F0      | 2024-01-05 | 2024-01-31 | 9999
    F1      | 2024-01-06 | 2024-01-31 | 600
    F2      | 2024-12-01 | 2024-12-31 | 200
    F3      | 2024-12-30 | 2024-12-31 | 400
    F4      | 2024-12-31 | 2024-12-31 | 9999
    """
    row = features_at("2024-12-31")  # blocks from 1 December, …, 6 January on
    mean = (600 + 200 + 400) / 12
    spread = ((2 * (600 - mean) ** 2 + 10 * (0 - mean) ** 2) / 12) ** 0.5
    assert row.purchases_volatility == pytest.approx(spread / mean)


def test_who_buys_as_much_in_every_block_has_no_volatility(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-01-06 | 2024-01-31 | 100
    F2      | 2024-02-05 | 2024-02-28 | 100
    F3      | 2024-03-06 | 2024-03-31 | 100
    F4      | 2024-04-05 | 2024-04-30 | 100
    F5      | 2024-05-05 | 2024-05-31 | 100
    F6      | 2024-06-04 | 2024-06-30 | 100
    F7      | 2024-07-04 | 2024-07-31 | 100
    F8      | 2024-08-03 | 2024-08-31 | 100
    F9      | 2024-09-02 | 2024-09-30 | 100
    F10     | 2024-10-02 | 2024-10-31 | 100
    F11     | 2024-11-01 | 2024-11-30 | 100
    F12     | 2024-12-01 | 2024-12-31 | 100
    """
    assert features_at("2024-12-31").purchases_volatility == 0
    assert features_at("2025-01-01").purchases_volatility > 0  # all one block older: F1 is out
    alone = ((1 * (100 - 100 / 12) ** 2 + 11 * (100 / 12) ** 2) / 12) ** 0.5 / (100 / 12)
    assert features_at("2025-11-26").purchases_volatility == pytest.approx(
        alone
    )  # F12, at 360 days
    assert np.isnan(features_at("2025-11-27").purchases_volatility)


def test_days_sales_outstanding_count_back_the_sales_that_are_still_owed(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-10-15 | 2024-11-30 | 90
    F2      | 2024-11-15 | 2024-12-31 | 120
    F3      | 2024-12-15 | 2025-01-31 | 100

    settled_on | invoice | amount
    2024-11-30 | F1      | 60
    """
    row = features_at("2024-12-31")
    assert row.open_exposure == 250
    assert row.purchases_dso_days == 30 + 30 + 30 * (250 - 100 - 120) / 90


def test_the_worked_value_of_counting_back_with_months_of_the_calendar():
    sales, days = np.array([100.0, 120.0, 90.0]), np.array([30, 31, 30])
    assert count_back(250.0, sales, days) == 30 + 31 + 30 * 30 / 90  # 71 days
    assert count_back(220.0, sales, days) == 30 + 31
    assert count_back(99.0, sales, days) == 30 * 99 / 100
    assert count_back(0.0, sales, days) == 0
    assert count_back(1000.0, sales, days) == 30 + 31 + 30  # the balance outlasts the sales


def test_counting_back_steps_over_a_month_without_sales_only_while_something_is_owed():
    sales, days = np.array([0.0, 100.0, 0.0, 50.0]), np.array([30, 30, 30, 30])
    assert count_back(100.0, sales, days) == 30 + 30
    assert count_back(125.0, sales, days) == 30 + 30 + 30 + 30 * 25 / 50


def test_days_sales_outstanding_are_zero_when_nothing_is_owed_and_360_at_most(features_at):
    """
    customer | due_on     | settled_on | amount
    A        | 2022-03-01 |            | 100
    B        | 2024-12-15 | 2024-12-16 | 100
    """
    assert features_at("2024-12-31", "A").purchases_dso_days == 360  # no purchase in them
    assert features_at("2024-12-31", "B").purchases_dso_days == 0
