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
    assert np.isnan(row.open_days_past_due)


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
