"""Payment behaviour, with the arithmetic left visible."""

import numpy as np
import pytest


def test_large_invoices_weigh_more(features_at):
    """
    due_on     | settled_on | amount
    2024-03-01 | 2024-03-11 | 300
    2024-03-01 | 2024-03-01 | 100
    """
    row = features_at("2024-03-31")
    assert row.settled_90_days_beyond_terms == (10 * 300 + 0 * 100) / 400


def test_paying_early_counts_as_negative_days(features_at):
    """
    due_on     | settled_on | amount
    2024-03-20 | 2024-03-15 | 100
    2024-03-20 | 2024-03-21 | 100
    """
    assert features_at("2024-03-31").settled_30_days_beyond_terms == (-5 * 100 + 1 * 100) / 200


def test_late_is_after_the_due_date_and_very_late_more_than_30_days_after(features_at):
    """
    due_on     | settled_on | amount
    2024-03-01 | 2024-03-01 | 100
    2024-03-01 | 2024-03-02 | 100
    2024-03-01 | 2024-03-31 | 100
    2024-03-01 | 2024-04-01 | 900
    """
    row = features_at("2024-04-02")
    assert row.settled_90_invoices == 4
    assert row.settled_90_late_rate == 3 / 4  # 1, 30 and 31 days; the due date itself is in time
    assert row.settled_90_late_30_rate == 1 / 4  # 31 days; a share of invoices, not of amounts


def test_a_window_holds_the_days_before_the_date_and_not_the_date(features_at):
    """
    due_on     | settled_on | amount
    2024-03-01 | 2024-03-01 | 100
    2024-03-02 | 2024-03-02 | 100
    2024-03-31 | 2024-03-31 | 100
    """
    assert features_at("2024-03-31").settled_30_invoices == 2  # 1 March … 30 March
    assert features_at("2024-04-01").settled_30_invoices == 2  # 2 March … 31 March
    assert features_at("2024-04-01").settled_90_invoices == 3


def test_each_window_has_its_own_length(features_at):
    """
    due_on     | settled_on | amount
    2024-12-30 | 2024-12-30 | 100
    2024-11-01 | 2024-11-01 | 100
    2024-08-01 | 2024-08-01 | 100
    2024-02-01 | 2024-02-01 | 100
    2023-12-01 | 2023-12-01 | 100
    """
    row = features_at("2024-12-31")
    counted = [getattr(row, f"settled_{w}_invoices") for w in (30, 90, 180, 365)]
    assert counted == [1, 2, 3, 4]


def test_a_window_without_settled_invoices_counts_zero_and_its_rates_are_missing(features_at):
    """
    due_on     | settled_on | amount
    2024-03-01 | 2024-03-11 | 300
    2024-06-01 |            | 300
    """
    row = features_at("2024-06-10")
    assert row.settled_30_invoices == 0
    assert np.isnan(row.settled_30_days_beyond_terms)
    assert np.isnan(row.settled_30_late_rate)
    assert np.isnan(row.settled_30_late_30_rate)
    assert row.settled_180_days_beyond_terms == 10


def test_a_bounced_payment_counts_until_we_know_that_it_bounced(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-01 | 2024-03-01 | 100

    settled_on | kind     | invoice | amount
    2024-03-01 | payment  | F1      | 100
    2024-03-08 | reversal | F1      | 100
    2024-03-21 | payment  | F1      | 100
    """
    assert features_at("2024-03-08").settled_90_late_rate == 0
    assert features_at("2024-03-09").settled_90_invoices == 0
    assert np.isnan(features_at("2024-03-09").latest_days_beyond_terms)
    row = features_at("2024-03-22")
    assert (row.settled_90_invoices, row.settled_90_days_beyond_terms) == (1, 20)


def test_the_latest_five_are_the_last_we_knew_of_however_long_ago(features_at):
    """
    due_on     | settled_on | amount
    2022-01-01 | 2022-03-01 | 100
    2022-02-01 | 2022-02-02 | 100
    2022-03-01 | 2022-03-03 | 900
    2022-04-01 | 2022-04-04 | 100
    2022-05-01 | 2022-05-05 | 100
    2022-06-01 | 2022-06-06 | 100
    """
    row = features_at("2024-06-01")
    assert row.latest_days_beyond_terms == (59 + 2 + 3 + 4 + 5) / 5  # not the one of 2 February
    assert row.latest_worst_days_late == 59
    assert row.latest_days_since == 726  # from 6 June 2022


def test_the_worst_of_early_payments_is_negative(features_at):
    """
    due_on     | settled_on | amount
    2024-03-01 | 2024-02-20 | 100
    2024-03-01 | 2024-02-26 | 100
    """
    row = features_at("2024-03-01")
    assert (row.latest_worst_days_late, row.latest_days_beyond_terms) == (-4, (-10 - 4) / 2)


def test_a_customer_who_never_paid_has_no_latest_invoices(features_at):
    """
    due_on     | settled_on | amount
    2024-03-01 |            | 100
    """
    row = features_at("2024-03-20")
    assert np.isnan(row.latest_days_beyond_terms)
    assert np.isnan(row.latest_worst_days_late)
    assert np.isnan(row.latest_days_since)
    assert np.isnan(row.latest_on_time_streak)


def test_the_streak_counts_back_to_the_last_late_payment_beyond_the_latest_five(features_at):
    """
    due_on     | settled_on | amount
    2022-01-01 | 2022-01-01 | 100
    2022-02-01 | 2022-02-02 | 100
    2022-03-01 | 2022-03-01 | 100
    2022-04-01 | 2022-04-01 | 100
    2022-05-01 | 2022-05-01 | 100
    2022-06-01 | 2022-06-01 | 100
    2022-07-01 | 2022-07-01 | 100
    2022-08-01 | 2022-07-20 | 100
    2022-09-01 | 2022-09-02 | 100
    """
    assert features_at("2022-02-02").latest_on_time_streak == 1
    assert features_at("2022-02-03").latest_on_time_streak == 0  # one day late
    assert features_at("2022-09-02").latest_on_time_streak == 6  # early is in time
    assert features_at("2024-09-02").latest_on_time_streak == 0


def test_of_payments_known_on_one_day_that_of_the_newest_invoice_is_the_latest(features_at):
    """
    invoice | issued_on  | due_on     | amount
    A1      | 2024-03-01 | 2024-04-30 | 100
    B2      | 2024-02-01 | 2024-03-01 | 100

    settled_on | invoice | amount
    2024-03-31 | A1      | 100
    2024-03-31 | B2      | 100
    """
    assert features_at("2024-04-01").latest_on_time_streak == 1  # A1 in time, before it B2 late


def test_a_late_payment_that_bounced_does_not_break_the_streak_until_it_is_paid(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-01 | 2024-03-01 | 100
    F2      | 2024-02-01 | 2024-03-01 | 100

    settled_on | kind     | invoice | amount
    2024-03-01 | payment  | F1      | 100
    2024-03-05 | payment  | F2      | 100
    2024-03-08 | reversal | F2      | 100
    2024-03-21 | payment  | F2      | 100
    """
    assert features_at("2024-03-06").latest_on_time_streak == 0
    assert features_at("2024-03-09").latest_on_time_streak == 1
    assert features_at("2024-03-22").latest_on_time_streak == 0


def test_a_settlement_weighs_half_as_much_every_90_days(features_at):
    """
    due_on     | settled_on | amount
    2024-03-21 | 2024-03-31 | 100
    2023-12-12 | 2024-01-01 | 900
    """
    row = features_at("2024-07-01")  # 92 and 182 days later; 90 days between the two
    new, old = 0.5 ** (92 / 90), 0.5 ** (182 / 90)
    assert old == pytest.approx(new / 2)
    usual = (10 * 2 + 20 * 1) / 3
    assert row.recent_days_beyond_terms == pytest.approx(usual)
    assert row.recent_late_rate == 1
    assert row.recent_late_15_rate == pytest.approx(1 / 3)
    spread = ((2 * (10 - usual) ** 2 + 1 * (20 - usual) ** 2) / 3) ** 0.5
    assert row.recent_spread_days == pytest.approx(spread)


def test_who_always_pays_on_the_same_day_has_no_spread(features_at):
    """
    due_on     | settled_on | amount
    2024-01-01 | 2024-03-31 | 100
    2024-01-08 | 2024-04-07 | 100
    2024-01-31 | 2024-04-30 | 100
    """
    assert features_at("2024-07-02").recent_spread_days == pytest.approx(0, abs=1e-12)


def test_settlements_ten_half_lives_ago_are_no_longer_recent(features_at):
    """
    due_on     | settled_on | amount
    2021-03-01 | 2021-03-31 | 100
    """
    assert features_at("2023-09-17").recent_days_beyond_terms == 30  # 900 days
    assert np.isnan(features_at("2023-09-18").recent_days_beyond_terms)
    assert np.isnan(features_at("2023-09-18").recent_late_rate)
    assert np.isnan(features_at("2023-09-18").recent_late_15_rate)
    assert np.isnan(features_at("2023-09-18").recent_spread_days)
