"""How the invoices that fell due were met, with the arithmetic left visible."""

import numpy as np
import pytest


def test_an_unpaid_invoice_is_late_by_the_days_passed_so_far(features_at):
    """
    due_on     | settled_on | amount
    2024-03-01 |            | 100
    2024-03-01 | 2024-03-03 | 100
    2024-03-01 | 2024-02-20 | 100
    """
    row = features_at("2024-03-12")  # the end of the 11th: 10 days
    assert row.due_late_rate == pytest.approx(2 / 3)
    assert row.due_days_late == pytest.approx((10 + 2 + 0) / 3)  # early counts 0


def test_an_invoice_weighs_half_as_much_every_60_days(features_at):
    """
    due_on     | settled_on | amount
    2024-03-01 | 2024-03-01 | 100
    2024-04-30 | 2024-05-03 | 900
    """
    assert features_at("2024-06-01").due_late_rate == pytest.approx(2 / 3)
    assert features_at("2024-06-01").due_days_late == pytest.approx(2 / 3 * 3)


def test_late_by_more_than_15_days_asks_only_those_due_more_than_15_days_ago(features_at):
    """
    due_on     | settled_on | amount
    2024-03-01 |            | 100
    """
    assert np.isnan(features_at("2024-03-17").due_late_15_rate)  # 15 days
    assert features_at("2024-03-18").due_late_15_rate == 1


def test_due_is_from_the_due_date_on_and_for_ten_half_lives(features_at):
    """
    due_on     | settled_on | amount
    2024-03-01 |            | 100
    """
    assert np.isnan(features_at("2024-03-01").due_late_rate)
    assert features_at("2024-03-02").due_late_rate == 0
    assert features_at("2024-03-03").due_late_rate == 1
    assert features_at("2025-10-22").due_days_late == 599
    assert np.isnan(features_at("2025-10-23").due_days_late)


def test_what_was_credited_is_left_out_and_what_was_written_off_is_unpaid(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-01 | 2024-03-01 | 100
    F2      | 2024-02-01 | 2024-03-01 | 100

    settled_on | kind        | invoice | amount
    2024-03-02 | credit_note | F1      | 100
    2024-03-05 | write_off   | F2      | 100
    """
    assert features_at("2024-03-12").due_days_late == pytest.approx(10)


def test_the_last_cents_within_the_tolerance_change_nothing(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-01 | 2024-03-01 | 1000.00
    F2      | 2024-02-01 | 2024-03-01 | 1000.00
    F3      | 2024-02-01 | 2024-03-01 | 1000.00

    settled_on | kind        | invoice | amount
    2024-03-04 | payment     | F1      | 999.50
    2024-03-04 | payment     | F2      | 999.50
    2024-03-04 | payment     | F3      | 999.50
    2024-03-25 | payment     | F1      | 0.50
    2024-03-25 | credit_note | F2      | 0.50
    2024-03-25 | write_off   | F3      | 0.50
    """
    assert features_at("2024-04-30").due_days_late == pytest.approx(3)
    assert features_at("2024-04-30").settled_90_days_beyond_terms == 3
