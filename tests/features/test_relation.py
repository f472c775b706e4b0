"""How new the customer is and the terms he is granted, with the arithmetic left visible."""

import numpy as np
import pytest

from features.relation import is_beyond_law
from tests.features.ledgers import day


def test_the_first_orders_are_those_before_three_invoices_are_known(features_at):
    """
    invoice | issued_on  | due_on     | amount | recorded_at
    F1      | 2024-03-01 | 2024-03-31 | 100    | 2024-03-01
    F2      | 2024-03-02 | 2024-04-01 | 100    | 2024-03-02
    F3      | 2024-03-03 | 2024-04-02 | 100    | 2024-03-20
    """
    assert features_at("2024-03-01").relation_first_orders == 1
    assert features_at("2024-03-20").relation_first_orders == 1  # two are known
    assert features_at("2024-03-21").relation_first_orders == 0
    assert features_at("2024-03-21", "nobody").relation_first_orders == 1


def test_usual_terms_are_the_mean_of_the_latest_twenty_invoices(features_at):
    """
    issued_on  | due_on     | settled_on | amount | times
    2024-01-01 | 2024-12-31 |            | 100    | 1
    2024-01-02 | 2024-02-01 |            | 900    | 8
    2024-01-03 | 2024-02-17 |            | 100    | 12
    """
    assert features_at("2024-02-01").relation_terms_days == (8 * 30 + 12 * 45) / 20
    assert features_at("2024-01-03").relation_terms_days == (365 + 8 * 30) / 9
    assert np.isnan(features_at("2024-01-01").relation_terms_days)


def test_the_latest_invoice_is_that_known_last(features_at):
    """
    invoice | issued_on  | due_on     | amount | recorded_at
    OLD     | 2023-01-01 | 2023-01-01 | 100    | 2024-03-02

    issued_on  | due_on     | settled_on | amount | times
    2024-03-01 | 2024-03-31 |            | 100    | 20
    """
    assert features_at("2024-03-02").relation_terms_days == 30
    assert features_at("2024-03-03").relation_terms_days == (19 * 30 + 1 * 0) / 20


@pytest.mark.parametrize(
    ("issued_on", "last_legal_day"),
    [
        ("2024-01-15", "2024-03-16"),  # end of January + 45 days; 60 days are 15 March
        ("2024-01-31", "2024-03-31"),  # 60 days, and the end of the month of 16 March
        ("2024-03-17", "2024-05-31"),  # 45 days are 1 May: to the end of May
        ("2024-03-01", "2024-05-15"),  # end of March + 45 days
        ("2023-12-17", "2024-02-15"),  # 60 days, more than 14 February; 45 days are 31 January
    ],
)
def test_the_law_allows_60_days_or_45_days_end_of_month_counted_either_way(
    issued_on, last_legal_day
):
    last = day(last_legal_day)
    issued = np.full(2, day(issued_on), np.int32)
    assert list(is_beyond_law(issued, np.array([last, last + 1], np.int32))) == [False, True]


def test_terms_beyond_the_law_are_a_share_of_the_years_invoices(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-29 | 2024-12-31 | 100
    F2      | 2024-03-01 | 2024-05-16 | 900
    F3      | 2024-03-01 | 2024-05-15 | 100
    F4      | 2024-04-02 | 2024-04-30 | 100
    F5      | 2025-03-01 | 2025-12-31 | 100
    """
    row = features_at("2025-03-01")  # from 1 March 2024 on, and not of the day itself
    assert row.relation_beyond_law_rate == 1 / 3
    assert features_at("2025-03-02").relation_beyond_law_rate == 1 / 2  # F4 and F5
    assert np.isnan(features_at("2024-02-29").relation_beyond_law_rate)


def test_the_year_of_terms_needs_a_year_of_history(features_at):
    """
    due_on     | settled_on | amount
    2024-03-01 |            | 100
    """
    row = features_at("2024-03-20", observed_from="2023-03-22")  # 364 days
    assert np.isnan(row.relation_beyond_law_rate)
    assert (row.relation_first_orders, row.relation_terms_days) == (1, 30)
    assert features_at("2024-03-20", observed_from="2023-03-21").relation_beyond_law_rate == 0
