"""The invoice itself, issued or planned."""

from datetime import date, timedelta
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import history
from features.build import Spine, build, feature_names
from tests.features.ledgers import day, ledger_of


def planned(known, amount, issued_on, due_on, customer="A"):
    """Describe an order that is not an invoice yet."""
    spine = Spine(
        customer=known.codes(np.array([customer], object)),
        as_of=np.array([day(issued_on)], np.int32),
        invoice=np.array([-1]),
        amount_cents=np.array([round(amount * 100)]),
        issued_on=np.array([day(issued_on)], np.int32),
        due_on=np.array([day(due_on)], np.int32),
    )
    names = feature_names(with_order=True)
    return SimpleNamespace(**dict(zip(names, build(known, spine)[0], strict=True)))


def test_amount_terms_and_the_calendar_of_the_due_date(known):
    """
    due_on     | settled_on | amount
    2024-03-01 | 2024-03-11 | 300
    2024-03-01 | 2024-03-11 | 100
    """
    row = planned(known, 1250.50, "2024-04-01", "2024-05-31")
    assert row.order_amount == 1250.50
    assert row.order_amount_to_habit == 1250.50 / ((300 + 100) / 2)
    assert row.order_terms_days == 29 + 31
    assert row.order_due_weekday == 4  # 31 May 2024 was a Friday
    assert row.order_due_month_day == 31


def test_the_amount_has_no_measure_for_a_customer_without_invoices(known):
    """
    due_on     | settled_on | amount
    2024-03-01 | 2024-03-11 | 300
    """
    assert np.isnan(planned(known, 100, "2024-04-01", "2024-05-01", "nobody").order_amount_to_habit)
    assert np.isnan(planned(known, 100, "2024-01-31", "2024-05-01").order_amount_to_habit)


def test_cash_on_delivery_has_terms_of_zero_days(known):
    """
    due_on     | settled_on | amount
    2024-03-01 | 2024-03-11 | 300
    """
    assert planned(known, 100, "2024-04-01", "2024-04-01").order_terms_days == 0


@given(st.dates(date(1990, 1, 1), date(2100, 1, 1)), st.integers(0, 120))
@settings(deadline=None)
def test_weekday_and_day_of_the_month_are_those_of_the_calendar(issued_on, terms):
    due_on = issued_on + timedelta(days=terms)
    row = planned(NOTHING, 1, issued_on.isoformat(), due_on.isoformat())
    assert row.order_due_weekday == due_on.weekday()
    assert row.order_due_month_day == due_on.day
    assert row.order_terms_days == terms


NOTHING = history.build(history.facts_of(ledger_of({})))


@pytest.mark.parametrize("customer", ["A", "nobody"])
def test_a_planned_order_adds_nothing_to_what_is_said_of_the_customer(known, features_at, customer):
    """
    due_on     | settled_on | amount
    2024-03-01 | 2024-03-11 | 300
    2024-03-31 |            | 100
    """
    said = vars(features_at("2024-04-01", customer, observed_from="2024-01-31"))
    row = vars(planned(known, 1e6, "2024-04-01", "2024-05-01", customer))
    np.testing.assert_equal({name: row[name] for name in said}, said)
