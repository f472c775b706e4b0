"""How payment spread over the invoices settled in a year, with the arithmetic left visible."""

import numpy as np
import pytest

FIELDS = (
    *("mean_days_late", "median_days_late", "p90_days_late", "spread_days"),
    *("late_15_rate", "late_60_rate", "late_90_rate", "trend_days"),
    *("partial_rate", "residue_rate"),
)


def year(row):
    """Values of the family, in the order of the matrix."""
    return [getattr(row, f"year_{field}") for field in FIELDS]


def test_mean_median_ninth_decile_and_spread_count_every_invoice_once(features_at):
    """
    due_on     | settled_on | amount
    2024-03-01 | 2024-03-01 | 9000
    2024-03-01 | 2024-03-03 | 1
    2024-03-01 | 2024-03-05 | 1
    2024-03-01 | 2024-04-10 | 1
    """
    row = features_at("2024-05-01")  # 0, 2, 4 and 40 days late
    mean = (0 + 2 + 4 + 40) / 4
    assert row.year_mean_days_late == mean
    assert row.year_median_days_late == (2 + 4) / 2
    assert row.year_p90_days_late == pytest.approx(4 + 0.7 * (40 - 4))  # place 0.9 × 3 = 2.7
    squares = (0 - mean) ** 2 + (2 - mean) ** 2 + (4 - mean) ** 2 + (40 - mean) ** 2
    assert row.year_spread_days == pytest.approx((squares / 4) ** 0.5)


def test_the_median_of_an_odd_number_is_the_middle_one_and_early_is_negative(features_at):
    """
    due_on     | settled_on | amount
    2024-03-20 | 2024-03-11 | 100
    2024-03-20 | 2024-03-17 | 100
    2024-03-20 | 2024-03-30 | 100
    """
    row = features_at("2024-05-01")  # −9, −3 and 10 days
    assert row.year_median_days_late == -3
    assert row.year_p90_days_late == pytest.approx(-3 + 0.8 * (10 + 3))  # place 0.9 × 2 = 1.8


def test_one_settled_invoice_is_its_own_mean_and_median_and_has_no_spread(features_at):
    """
    due_on     | settled_on | amount
    2024-03-01 | 2024-03-08 | 100
    """
    row = features_at("2024-05-01")
    assert (row.year_mean_days_late, row.year_median_days_late, row.year_p90_days_late) == (7, 7, 7)
    assert row.year_spread_days == 0


def test_late_by_more_than_15_60_and_90_days_is_a_share_of_the_invoices(features_at):
    """
    due_on     | settled_on | amount
    2024-03-01 | 2024-03-16 | 1
    2024-03-01 | 2024-03-17 | 1
    2024-03-01 | 2024-04-30 | 1
    2024-03-01 | 2024-05-01 | 1
    2024-03-01 | 2024-05-30 | 1
    2024-03-01 | 2024-05-31 | 95
    """
    row = features_at("2024-06-01")  # 15, 16, 60, 61, 90 and 91 days
    assert row.year_late_15_rate == 5 / 6
    assert row.year_late_60_rate == 3 / 6
    assert row.year_late_90_rate == 1 / 6


def test_a_year_is_the_365_days_before_the_date_and_not_the_date(features_at):
    """
    due_on     | settled_on | amount
    2024-02-29 | 2024-02-29 | 100
    2024-02-29 | 2024-03-01 | 100
    2025-02-26 | 2025-03-01 | 100
    """
    assert features_at("2025-03-01").year_mean_days_late == 1  # from 1 March 2024 on
    assert features_at("2025-03-02").year_mean_days_late == 3
    assert features_at("2024-03-02").year_mean_days_late == (0 + 1) / 2


def test_a_payment_recorded_late_counts_from_then_with_the_delay_of_its_value_date(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2023-12-01 | 2024-01-01 | 100

    settled_on | invoice | amount | recorded_at
    2024-01-10 | F1      | 100    | 2024-06-01
    """
    assert np.isnan(features_at("2024-06-01").year_mean_days_late)
    assert features_at("2024-06-02").year_mean_days_late == 9
    assert features_at("2025-06-01").year_mean_days_late == 9  # 365 days after it was recorded
    assert np.isnan(features_at("2025-06-02").year_mean_days_late)


def test_a_bounced_payment_is_left_out_until_the_invoice_is_paid_for_good(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-01 | 2024-03-01 | 100

    settled_on | kind     | invoice | amount
    2024-03-01 | payment  | F1      | 100
    2024-03-08 | reversal | F1      | 100
    2024-03-21 | payment  | F1      | 100
    """
    assert features_at("2024-03-08").year_mean_days_late == 0
    assert np.isnan(features_at("2024-03-09").year_mean_days_late)
    assert features_at("2024-03-22").year_mean_days_late == 20


def test_the_trend_is_the_delay_of_90_days_less_that_of_the_year(features_at):
    """
    due_on     | settled_on | amount
    2023-09-01 | 2023-09-05 | 300
    2024-03-01 | 2024-03-13 | 100
    """
    row = features_at("2024-04-01")
    assert row.year_trend_days == 12 - (4 * 300 + 12 * 100) / 400  # weighted by amount
    assert np.isnan(features_at("2024-06-12").year_trend_days)  # 91 days: no delay of 90 days
    assert features_at("2024-06-12").year_mean_days_late == (4 + 12) / 2


def test_a_customer_who_pays_sooner_than_he_used_to_has_a_negative_trend(features_at):
    """
    due_on     | settled_on | amount
    2023-09-01 | 2023-09-11 | 100
    2024-03-01 | 2024-03-03 | 100
    """
    assert features_at("2024-04-01").year_trend_days == 2 - (10 + 2) / 2


def test_partial_is_more_than_one_payment_that_held_by_the_day_it_closed(features_at):
    """
    invoice | issued_on  | due_on     | amount
    TWICE   | 2024-02-01 | 2024-03-01 | 1000
    ONCE    | 2024-02-01 | 2024-03-01 | 1000
    BOUNCED | 2024-02-01 | 2024-03-01 | 1000
    CREDIT  | 2024-02-01 | 2024-03-01 | 1000

    settled_on | kind        | invoice | amount
    2024-03-01 | payment     | TWICE   | 400
    2024-03-09 | payment     | TWICE   | 600
    2024-03-01 | payment     | ONCE    | 1000
    2024-03-01 | payment     | BOUNCED | 1000
    2024-03-08 | reversal    | BOUNCED | 1000
    2024-03-21 | payment     | BOUNCED | 1000
    2024-03-01 | credit_note | CREDIT  | 100
    2024-03-05 | payment     | CREDIT  | 900
    """
    assert features_at("2024-03-09").year_partial_rate == 0 / 2  # ONCE and CREDIT are closed
    assert features_at("2024-03-10").year_partial_rate == 1 / 3  # and TWICE
    assert features_at("2024-03-22").year_partial_rate == 1 / 4  # and BOUNCED: 2 payments − 1


def test_a_residue_is_what_stays_unpaid_within_the_tolerance_and_its_payment_is_no_part(
    features_at,
):
    """
    invoice | issued_on  | due_on     | amount
    SHORT   | 2024-02-01 | 2024-03-01 | 1000.00
    EXACT   | 2024-02-01 | 2024-03-01 | 1000.00
    OVER    | 2024-02-01 | 2024-03-01 | 1000.00

    settled_on | invoice | amount
    2024-03-04 | SHORT   | 999.50
    2024-03-04 | EXACT   | 1000.00
    2024-03-05 | OVER    | 1000.50
    2024-03-25 | SHORT   | 0.50
    """
    for as_of in ("2024-03-06", "2024-03-26"):  # what comes later changes neither
        row = features_at(as_of)
        assert row.year_residue_rate == 1 / 3
        assert row.year_partial_rate == 0


def test_money_that_names_no_invoice_pays_each_invoice_in_one_part(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-01 | 2024-03-01 | 100
    F2      | 2024-02-02 | 2024-03-02 | 100

    settled_on | invoice | amount
    2024-03-04 |         | 150
    2024-03-06 |         | 50
    """
    assert features_at("2024-03-07").year_partial_rate == 1 / 2  # F1 by one line, F2 by two


def test_what_a_credit_note_or_a_write_off_closed_was_not_paid(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-01 | 2024-03-01 | 100
    F2      | 2024-02-01 | 2024-03-01 | 100

    settled_on | kind        | invoice | amount
    2024-03-20 | credit_note | F1      | 100
    2024-03-20 | write_off   | F2      | 100
    """
    assert np.isnan(year(features_at("2024-05-01"))).all()


def test_without_a_settled_invoice_or_a_year_of_history_all_is_missing(features_at):
    """
    due_on     | settled_on | amount
    2024-03-11 | 2024-03-13 | 500
    """
    assert np.isnan(year(features_at("2024-03-13"))).all()
    assert np.isnan(year(features_at("2024-03-14", "nobody"))).all()
    assert np.isnan(year(features_at("2024-03-14", observed_from="2023-03-16"))).all()  # 364 days
    enough = features_at("2024-03-14", observed_from="2023-03-15")
    assert not np.isnan(year(enough)).any()
