"""What the customer buys, with the arithmetic left visible."""

import numpy as np
import pytest


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
    assert np.isnan(row.purchases_trend)
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
