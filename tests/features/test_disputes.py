"""What the customer contests, with the arithmetic left visible."""

import numpy as np


def test_a_disputed_invoice_counts_once_and_for_good(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-01 | 2024-03-01 | 900
    F2      | 2024-02-01 | 2024-03-01 | 100
    F3      | 2024-02-01 | 2024-03-01 | 100
    F4      | 2024-02-01 | 2024-03-01 | 100

    dispute_id | invoice | opened_on  | closed_on  | recorded_at
    D1         | F2      | 2024-02-10 | 2024-02-20 | 2024-02-10
    D2         | F2      | 2024-03-10 |            | 2024-03-10
    D3         | F3      | 2024-02-10 |            | 2024-03-20
    """
    assert features_at("2024-02-10").disputes_rate_365 == 0 / 4  # opened on that day
    assert features_at("2024-02-11").disputes_rate_365 == 1 / 4
    assert features_at("2024-03-20").disputes_rate_365 == 1 / 4  # closed, and opened again
    assert features_at("2024-03-21").disputes_rate_365 == 2 / 4  # D3 was recorded on the 20th


def test_the_disputed_share_is_of_the_invoices_of_365_days_whenever_they_were_disputed(
    features_at,
):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-29 | 2024-03-31 | 100
    F2      | 2024-03-01 | 2024-03-31 | 100
    F3      | 2025-02-28 | 2025-03-31 | 100

    dispute_id | invoice | opened_on
    D1         | F1      | 2025-01-10
    D2         | F2      | 2024-03-10
    """
    assert features_at("2025-03-01").disputes_rate_365 == 1 / 2  # F2 of F2 and F3
    assert features_at("2025-03-02").disputes_rate_365 == 0 / 1
    assert np.isnan(features_at("2026-03-01").disputes_rate_365)


def test_open_disputes_of_open_invoices_are_a_share_of_the_exposure(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-01 | 2024-03-01 | 500
    F2      | 2024-02-01 | 2024-03-01 | 300
    F3      | 2024-02-01 | 2024-03-01 | 700

    settled_on | invoice | amount
    2024-02-20 | F1      | 400
    2024-02-20 | F3      | 700

    dispute_id | invoice | opened_on
    D1         | F1      | 2024-02-10
    D2         | F3      | 2024-02-10
    """
    row = features_at("2024-02-20")
    assert row.disputes_open_invoices == 2
    assert row.disputes_open_rate == (500 + 700) / (500 + 300 + 700)
    row = features_at("2024-02-21")  # F3 is paid, 100 are left of F1
    assert row.disputes_open_invoices == 1
    assert row.disputes_open_rate == 100 / (100 + 300)


def test_a_dispute_is_open_up_to_its_last_day_and_closed_from_the_day_after_it(features_at):
    """
    due_on     | settled_on | amount
    2024-05-31 |            | 100

    dispute_id | invoice | opened_on  | closed_on
    D1         | F1      | 2024-05-10 | 2024-06-10
    """
    assert features_at("2024-05-10").disputes_open_invoices == 0
    assert features_at("2024-05-11").disputes_open_invoices == 1
    assert features_at("2024-06-10").disputes_open_rate == 1
    row = features_at("2024-06-11")
    assert (row.disputes_open_invoices, row.disputes_open_rate) == (0, 0)


def test_a_closing_that_was_recorded_late_leaves_the_dispute_open_until_then(features_at):
    """
    due_on     | settled_on | amount
    2024-05-31 |            | 100

    dispute_id | invoice | opened_on  | closed_on  | recorded_at
    D1         | F1      | 2024-05-10 |            | 2024-05-10
    D1'        | F1      | 2024-05-10 | 2024-06-10 | 2024-07-01
    """
    assert features_at("2024-06-20").disputes_open_invoices == 1
    assert features_at("2024-07-01").disputes_open_invoices == 1
    assert features_at("2024-07-02").disputes_open_invoices == 0
    assert features_at("2024-07-02").disputes_rate_365 == 1


def test_a_second_dispute_of_an_invoice_keeps_it_in_dispute(features_at):
    """
    due_on     | settled_on | amount
    2024-05-31 |            | 100

    dispute_id | invoice | opened_on  | closed_on
    D1         | F1      | 2024-05-10 | 2024-05-20
    D2         | F1      | 2024-05-15 |
    """
    assert features_at("2024-06-01").disputes_open_invoices == 1


def test_lateness_is_explained_by_the_disputed_share_of_the_late_invoices(features_at):
    """
    invoice | issued_on  | due_on     | amount
    UNPAID  | 2024-02-01 | 2024-03-01 | 100
    LATE    | 2024-02-01 | 2024-03-01 | 900
    ON_TIME | 2024-02-01 | 2024-03-01 | 100
    CREDIT  | 2024-02-01 | 2024-03-01 | 100
    LOST    | 2024-02-01 | 2024-03-01 | 100
    TODAY   | 2024-02-01 | 2024-03-31 | 100

    settled_on | kind        | invoice | amount
    2024-03-02 | payment     | LATE    | 900
    2024-03-01 | payment     | ON_TIME | 100
    2024-03-20 | credit_note | CREDIT  | 100
    2024-03-20 | write_off   | LOST    | 100

    dispute_id | invoice | opened_on  | closed_on
    D1         | UNPAID  | 2024-02-10 | 2024-02-20
    D2         | ON_TIME | 2024-02-10 |
    D3         | CREDIT  | 2024-02-10 |
    D4         | TODAY   | 2024-02-10 |
    """
    row = features_at("2024-04-01")  # late are UNPAID, LATE and LOST
    assert row.disputes_late_disputed_rate == 1 / 3
    assert features_at("2024-04-02").disputes_late_disputed_rate == 2 / 4  # and TODAY, by a day


def test_late_invoices_are_those_fallen_due_in_the_last_365_days(features_at):
    """
    due_on     | settled_on | amount
    2024-03-01 | 2024-03-11 | 100
    2024-02-29 | 2024-03-11 | 100

    dispute_id | invoice | opened_on
    D1         | F2      | 2024-03-05
    """
    assert features_at("2024-04-01").disputes_late_disputed_rate == 1 / 2
    assert features_at("2025-02-28").disputes_late_disputed_rate == 1 / 2  # 363 and 364 days ago
    assert features_at("2025-03-01").disputes_late_disputed_rate == 0 / 1
    assert np.isnan(features_at("2025-03-02").disputes_late_disputed_rate)


def test_dilution_is_what_was_credited_in_the_year_against_what_was_invoiced(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2023-02-01 | 2023-03-01 | 1000
    F2      | 2024-03-01 | 2024-03-31 | 300
    F3      | 2024-04-01 | 2024-04-30 | 100

    settled_on | kind        | invoice | amount
    2024-02-29 | credit_note | F1      | 200
    2024-03-01 | credit_note | F1      | 50
    2024-05-01 | credit_note |         | 30
    2024-05-01 | payment     | F2      | 270
    2024-05-02 | reversal    | F2      | 270
    2024-05-03 | write_off   | F3      | 40
    """
    row = features_at("2025-03-01")  # from 1 March 2024 on; F1 is older, its credit note is not
    assert row.disputes_credit_note_rate == (50 + 30) / (300 + 100)
    assert features_at("2025-03-02").disputes_credit_note_rate == 30 / 100


def test_without_invoices_nothing_is_disputed_and_shares_are_missing(features_at):
    """
    customer | due_on     | settled_on | amount
    A        | 2024-03-01 | 2024-03-01 | 100
    B        | 2024-03-01 | 2024-03-01 | 100
    """
    row = features_at("2024-04-01", "nobody")
    assert row.disputes_open_invoices == 0
    assert np.isnan(row.disputes_rate_365)
    assert np.isnan(row.disputes_open_rate)
    assert np.isnan(row.disputes_late_disputed_rate)
    assert np.isnan(row.disputes_credit_note_rate)
    row = features_at("2024-04-01")  # paid in time
    assert (row.disputes_rate_365, row.disputes_credit_note_rate) == (0, 0)
    assert np.isnan(row.disputes_late_disputed_rate)


def test_less_than_a_year_of_history_says_only_what_is_in_dispute_now(features_at):
    """
    due_on     | settled_on | amount
    2024-03-01 |            | 100

    dispute_id | invoice | opened_on
    D1         | F1      | 2024-03-01
    """
    row = features_at("2024-03-20", observed_from="2023-03-22")  # 364 days
    assert (row.disputes_open_invoices, row.disputes_open_rate) == (1, 1)
    assert np.isnan(row.disputes_rate_365)
    assert np.isnan(row.disputes_late_disputed_rate)
    assert np.isnan(row.disputes_credit_note_rate)
    row = features_at("2024-03-20", observed_from="2023-03-21")
    assert (row.disputes_rate_365, row.disputes_late_disputed_rate) == (1, 1)
    assert row.disputes_credit_note_rate == 0
