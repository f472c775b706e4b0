"""How money comes in, with the arithmetic left visible."""

import numpy as np


def test_the_last_payment_is_the_last_line_of_money_whatever_it_pays(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-01 | 2024-03-01 | 100
    F2      | 2024-06-01 | 2024-06-30 | 100

    settled_on | kind        | invoice | amount
    2024-03-01 | payment     | F1      | 50
    2024-03-11 | payment     |         | 50
    2024-03-15 | credit_note | F1      | 10
    2024-03-16 | write_off   | F1      | 10
    2024-03-17 | reversal    | F1      | 10
    2024-03-21 | payment     | F2      | 100
    """
    assert features_at("2024-03-11").payments_days_since_last == 10  # of 1 March
    assert features_at("2024-03-12").payments_days_since_last == 1  # it names no invoice
    assert features_at("2024-03-21").payments_days_since_last == 10  # only payments count
    assert features_at("2024-03-22").payments_days_since_last == 1  # a deposit on F2


def test_a_payment_counts_from_the_day_it_was_recorded(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-01 | 2024-03-01 | 100

    settled_on | invoice | amount | recorded_at
    2024-03-01 | F1      | 100    | 2024-03-10
    """
    assert np.isnan(features_at("2024-03-10").payments_days_since_last)
    assert features_at("2024-03-12").payments_days_since_last == 2


def test_intervals_are_between_days_with_a_payment(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-01 | 2024-03-01 | 1000

    settled_on | kind        | invoice | amount
    2024-03-01 | payment     | F1      | 100
    2024-03-11 | payment     | F1      | 100
    2024-03-11 | payment     |         | 100
    2024-03-20 | credit_note | F1      | 100
    2024-03-31 | payment     | F1      | 100
    """
    row = features_at("2024-04-01")  # 10 and 20 days
    assert row.payments_interval_days == (10 + 20) / 2
    assert row.payments_irregularity_days == (((10 - 15) ** 2 + (20 - 15) ** 2) / 2) ** 0.5


def test_an_interval_takes_two_days_of_payment_and_irregularity_three(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-01 | 2024-03-01 | 1000

    settled_on | invoice | amount
    2024-03-01 | F1      | 100
    2024-03-01 | F1      | 100
    2024-03-11 | F1      | 100
    2024-03-21 | F1      | 100
    """
    assert np.isnan(features_at("2024-03-11").payments_interval_days)  # twice on one day
    assert features_at("2024-03-12").payments_interval_days == 10
    assert np.isnan(features_at("2024-03-12").payments_irregularity_days)
    assert features_at("2024-03-22").payments_irregularity_days == 0  # 10 days both times


def test_the_share_that_names_no_invoice_is_of_the_money_paid(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-01 | 2024-03-01 | 1000

    settled_on | kind        | invoice | amount
    2024-03-01 | payment     | F1      | 300
    2024-03-02 | payment     |         | 100
    2024-03-03 | credit_note |         | 500
    """
    assert features_at("2024-04-01").payments_unallocated_rate == 100 / (300 + 100)


def test_a_bounce_is_a_reversal_line(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-01 | 2024-03-01 | 100

    settled_on | kind     | invoice | amount
    2024-03-01 | payment  | F1      | 100
    2024-03-08 | reversal | F1      | 100
    2024-03-15 | payment  | F1      | 100
    2024-03-22 | reversal | F1      | 100
    """
    assert features_at("2024-03-08").payments_bounces_365 == 0
    assert features_at("2024-03-09").payments_bounces_365 == 1
    assert features_at("2024-03-23").payments_bounces_365 == 2


def test_the_year_of_payments_is_the_365_days_before_the_date(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2023-02-01 | 2023-03-01 | 9000

    settled_on | kind     | invoice | amount
    2024-02-29 | payment  |         | 500
    2024-02-29 | reversal | F1      | 100
    2024-03-01 | payment  |         | 100
    2024-03-01 | reversal | F1      | 100
    2024-03-11 | payment  | F1      | 300
    2025-02-28 | payment  | F1      | 400
    2025-03-01 | payment  |         | 900
    """
    row = features_at("2025-03-01")  # from 1 March 2024 to 28 February 2025
    assert row.payments_bounces_365 == 1
    assert row.payments_unallocated_rate == 100 / (100 + 300 + 400)
    assert row.payments_interval_days == (10 + 354) / 2


def test_without_a_payment_bounces_are_zero_and_the_rest_is_missing(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-01 | 2024-03-01 | 100

    settled_on | kind        | invoice | amount
    2024-03-10 | credit_note | F1      | 100
    """
    row = features_at("2024-04-01")
    assert row.payments_bounces_365 == 0
    assert np.isnan(row.payments_days_since_last)
    assert np.isnan(row.payments_interval_days)
    assert np.isnan(row.payments_irregularity_days)
    assert np.isnan(row.payments_unallocated_rate)


def test_less_than_a_year_of_history_says_only_when_the_last_payment_came(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-01 | 2024-03-01 | 1000

    settled_on | invoice | amount
    2024-03-01 | F1      | 100
    2024-03-11 | F1      | 100
    2024-03-31 | F1      | 100
    """
    row = features_at("2025-02-28", observed_from="2024-03-01")  # 364 days
    assert row.payments_days_since_last == 334
    assert np.isnan(row.payments_interval_days)
    assert np.isnan(row.payments_irregularity_days)
    assert np.isnan(row.payments_unallocated_rate)
    assert np.isnan(row.payments_bounces_365)
    row = features_at("2025-03-01", observed_from="2024-03-01")
    assert (row.payments_interval_days, row.payments_bounces_365) == (15, 0)
