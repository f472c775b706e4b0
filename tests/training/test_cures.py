"""What was paid after all, of orders whose customer defaulted."""

import numpy as np
import pytest

from features import history
from models.targets import DEFAULT_DEFINITIONS, find_defaults
from tests.features.ledgers import day, ledger_of, read_tables
from training.cures import FEWEST_CUSTOMERS, Cures, _prudent, cures

CUTOFF = day("2025-06-01")


def measured(text: str) -> Cures:
    books = history.build(history.facts_of(ledger_of(read_tables(text))))
    return cures(books, find_defaults(books, DEFAULT_DEFINITIONS["bureau"]), CUTOFF)


def test_what_a_customer_in_default_pays_late_is_cured_and_what_is_written_off_is_not():
    """F0 makes A default on 20 April 2023, in the lives of F1 and F2; 1,000 of 4,000 are lost."""
    found = measured(
        """
        invoice | issued_on  | due_on     | amount
        F0      | 2022-12-21 | 2023-01-20 | 5000
        F1      | 2023-01-01 | 2023-01-31 | 3000
        F2      | 2023-01-10 | 2023-02-09 | 1000

        invoice | settled_on | amount | kind
        F0      | 2023-09-01 | 5000   | payment
        F1      | 2023-09-01 | 3000   | payment
        F2      | 2023-12-01 | 1000   | write_off
        """
    )
    assert (found.customers, found.orders, found.seen_rate) == (1, 2, 0.75)
    assert found.rate == 0  # one customer tells nothing


def test_an_order_paid_before_its_customer_defaults_is_not_lost():
    """F1 is paid on the day; F0 makes A default on 1 May 2023, 91 days after F1 was issued."""
    found = measured(
        """
        invoice | issued_on  | due_on     | amount
        F0      | 2022-12-01 | 2023-01-31 | 5000
        F1      | 2023-01-31 | 2023-03-02 | 1000

        invoice | settled_on | amount | kind
        F1      | 2023-03-02 | 1000   | payment
        F0      | 2024-01-31 | 5000   | write_off
        """
    )
    assert found.orders == 1  # F0's own life ended the day before
    assert found.seen_rate == 1


def test_nothing_is_measured_of_what_is_due_for_less_than_a_year():
    found = measured(
        """
        invoice | issued_on  | due_on     | amount
        F1      | 2024-06-01 | 2024-07-01 | 3000
        """
    )
    assert found.orders == 0
    assert found.as_dict() == {"rate": 0.0, "seen_rate": None, "customers": 0, "orders": 0}


def test_a_few_customers_tell_nothing_and_many_tell_less_than_they_show():
    asked = np.full(FEWEST_CUSTOMERS, 100.0)
    lost = np.where(np.arange(FEWEST_CUSTOMERS) < 2, 100.0, 0.0)  # a tenth
    assert _prudent(asked[1:], lost[1:]) == 0
    assert 0.7 < _prudent(asked, lost) < 0.9
    assert _prudent(np.tile(asked, 50), np.tile(lost, 50)) == pytest.approx(0.9, abs=0.02)


def test_one_customer_that_is_most_of_the_amount_does_not_decide_alone():
    asked = np.append(np.full(40, 100.0), 100_000.0)
    lost = np.append(np.full(40, 60.0), 0.0)
    assert 1 - lost.sum() / asked.sum() > 0.97
    assert _prudent(asked, lost) < 0.5
