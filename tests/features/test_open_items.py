"""What the customer owes, with the arithmetic left visible."""

import numpy as np


def test_exposure_is_the_unpaid_part_of_known_invoices_in_euros(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-03-01 | 2024-03-31 | 1000.00
    F2      | 2024-03-05 | 2024-04-05 | 250.50
    F3      | 2024-03-20 | 2024-04-20 | 999.00

    settled_on | invoice | amount
    2024-03-10 | F1      | 600.00
    """
    row = features_at("2024-03-20")  # F3 is known from the 21st on
    assert row.open_exposure == 1000.00 - 600.00 + 250.50
    assert row.open_invoices == 2


def test_shares_are_of_the_amount_and_past_due_starts_the_day_after_the_due_date(features_at):
    """
    due_on     | settled_on | amount
    2024-03-31 |            | 100
    2024-03-30 |            | 200
    2024-03-01 |            | 300
    2024-02-29 |            | 400
    """
    row = features_at("2024-04-01")  # looks back from the end of 31 March
    assert row.open_overdue_rate == (200 + 300 + 400) / 1000
    assert row.open_overdue_30_rate == 400 / 1000  # 31 days; 1 March is 30 days
    assert row.open_longest_overdue_days == 31
    assert row.open_days_past_due == (0 * 100 + 1 * 200 + 30 * 300 + 31 * 400) / 1000


def test_nothing_past_due_is_zero_days_overdue_and_negative_days_past_due(features_at):
    """
    due_on     | settled_on | amount
    2024-04-10 |            | 100
    2024-04-20 |            | 300
    """
    row = features_at("2024-04-01")
    assert (row.open_overdue_rate, row.open_overdue_30_rate) == (0, 0)
    assert row.open_longest_overdue_days == 0
    assert row.open_days_past_due == (-10 * 100 - 20 * 300) / 400


def test_a_customer_who_owes_nothing_has_no_shares(features_at):
    """
    due_on     | settled_on | amount
    2024-03-01 | 2024-03-11 | 100
    """
    row = features_at("2024-04-01")
    assert (row.open_exposure, row.open_invoices, row.open_longest_overdue_days) == (0, 0, 0)
    assert np.isnan(row.open_overdue_rate)
    assert np.isnan(row.open_overdue_30_rate)
    assert np.isnan(row.open_overdue_60_rate)
    assert np.isnan(row.open_overdue_90_rate)
    assert np.isnan(row.open_days_past_due)
    assert np.isnan(row.open_top_1_rate)
    assert np.isnan(row.open_top_3_rate)
    assert row.open_oldest_days == 0


def test_disputed_invoices_are_owed_like_the_others(features_at):
    """
    due_on     | settled_on | amount
    2024-03-01 |            | 100

    dispute_id | invoice | opened_on
    D1         | F1      | 2024-02-20
    """
    assert features_at("2024-04-01").open_exposure == 100


def test_what_was_credited_or_written_off_is_no_longer_owed(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-01 | 2024-03-01 | 100
    F2      | 2024-02-01 | 2024-03-01 | 100

    settled_on | kind        | invoice | amount
    2024-03-10 | credit_note | F1      | 30
    2024-03-20 | write_off   | F2      | 100
    """
    assert features_at("2024-03-20").open_exposure == 70 + 100
    assert features_at("2024-03-21").open_exposure == 70


def test_a_bounced_payment_is_owed_again_and_as_late_as_its_due_date_says(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-01 | 2024-03-01 | 100

    settled_on | kind     | invoice | amount
    2024-03-01 | payment  | F1      | 100
    2024-03-08 | reversal | F1      | 100
    """
    assert features_at("2024-03-08").open_exposure == 0
    row = features_at("2024-03-09")
    assert (row.open_exposure, row.open_longest_overdue_days) == (100, 7)


def test_overdue_for_more_than_60_and_90_days_is_a_share_of_the_amount(features_at):
    """
    due_on     | settled_on | amount
    2024-04-01 |            | 100
    2024-03-31 |            | 200
    2024-03-02 |            | 300
    2024-03-01 |            | 400
    """
    row = features_at("2024-06-01")  # 60, 61, 90 and 91 days before the end of 31 May
    assert row.open_overdue_60_rate == (200 + 300 + 400) / 1000
    assert row.open_overdue_90_rate == 400 / 1000


def test_the_oldest_open_invoice_is_that_issued_first_whenever_it_was_recorded(features_at):
    """
    invoice | issued_on  | due_on     | amount | recorded_at
    PAID    | 2024-01-01 | 2024-01-31 | 100    | 2024-01-01
    F1      | 2024-02-01 | 2024-05-31 | 100    | 2024-02-01
    LATE    | 2024-01-15 | 2024-05-31 | 100    | 2024-03-20

    settled_on | invoice | amount
    2024-01-31 | PAID    | 100
    """
    assert features_at("2024-01-02").open_oldest_days == 0  # issued on the last day
    assert features_at("2024-03-20").open_oldest_days == 29 + 18  # F1, to the end of the 19th
    assert features_at("2024-03-21").open_oldest_days == 16 + 29 + 20  # LATE, to that of the 20th


def test_the_largest_are_the_largest_balances_and_not_the_largest_amounts(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-03-01 | 2024-03-31 | 1000
    F2      | 2024-03-01 | 2024-03-31 | 200
    F3      | 2024-03-01 | 2024-03-31 | 400
    F4      | 2024-03-01 | 2024-03-31 | 300

    settled_on | invoice | amount
    2024-03-10 | F1      | 900
    """
    assert features_at("2024-03-10").open_top_1_rate == 1000 / 1900
    row = features_at("2024-03-11")
    assert row.open_top_1_rate == 400 / 1000
    assert row.open_top_3_rate == (400 + 300 + 200) / 1000


def test_up_to_three_open_invoices_make_all_of_the_exposure(features_at):
    """
    due_on     | settled_on | amount
    2024-03-31 |            | 100
    2024-03-31 |            | 100
    """
    row = features_at("2024-04-01")
    assert (row.open_top_1_rate, row.open_top_3_rate) == (1 / 2, 1)


def test_the_use_of_the_limit_is_the_exposure_against_the_last_limit_decided(features_at):
    """
    due_on     | settled_on | amount
    2024-03-01 | 2024-04-10 | 200
    2024-05-31 |            | 50

    limit_id | decided_on | amount | recorded_at
    L1       | 2024-01-01 | 1000   | 2024-01-01
    L2       | 2024-03-10 | 500    | 2024-03-20
    L3       | 2024-02-15 | 4000   | 2024-03-25
    L4       | 2024-04-30 | 0      | 2024-04-30
    """
    assert np.isnan(features_at("2024-01-01").open_limit_use)  # known from the 2nd on
    assert features_at("2024-01-02").open_limit_use == 0 / 1000
    assert features_at("2024-03-20").open_limit_use == 200 / 1000
    assert features_at("2024-03-21").open_limit_use == 200 / 500
    assert features_at("2024-03-26").open_limit_use == 200 / 500  # L3 was decided before L2
    assert features_at("2024-04-11").open_limit_use == 0 / 500  # nothing open before 1 May
    assert np.isnan(features_at("2024-05-02").open_limit_use)  # a limit of zero


def test_of_limits_decided_on_one_day_the_last_recorded_holds_then_the_last_numbered(features_at):
    """
    customer | due_on     | settled_on | amount
    A        | 2024-03-31 |            | 100
    B        | 2024-03-31 |            | 100

    limit_id | customer | decided_on | amount | recorded_at
    L1       | A        | 2024-01-01 | 200    | 2024-01-01 09:00
    L2       | A        | 2024-01-01 | 400    | 2024-01-01 08:00
    L3       | B        | 2024-01-01 | 200    | 2024-01-01 09:00
    L4       | B        | 2024-01-01 | 400    | 2024-01-01 09:00
    """
    assert features_at("2024-03-31", "A").open_limit_use == 100 / 200
    assert features_at("2024-03-31", "B").open_limit_use == 100 / 400
