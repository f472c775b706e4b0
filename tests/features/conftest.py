"""A test's docstring is the ledger it tests; see :func:`tables`."""

from collections.abc import Callable
from types import SimpleNamespace

import pandas as pd
import pytest

from features import history
from features.build import build, customer_spine, feature_names
from features.history import History
from features.ledger import Ledger, check
from tests.features.ledgers import corrected, day, read_tables


@pytest.fixture
def tables(request) -> dict[str, pd.DataFrame]:
    """Raw tables, as written in the test's docstring: see :func:`read_tables`."""
    return read_tables(request.function.__doc__)


@pytest.fixture
def checked(tables) -> tuple[Ledger, pd.DataFrame]:
    """Check the docstring's ledger."""
    return check(tables, "EUR")


@pytest.fixture
def ledger(checked) -> Ledger:
    """Check the docstring's ledger, in which every row must be good."""
    good, rejects = checked
    assert rejects.empty, rejects.to_string()
    return good


@pytest.fixture
def known(ledger) -> History:
    """Lay out the history of the docstring's ledger."""
    return history.build(history.facts_of(ledger))


@pytest.fixture
def features_at(ledger) -> Callable[..., SimpleNamespace]:
    """Features of customer A at a date, by name; the ledger is observed since 2020.

    Where K1' stands in the docstring it corrects K1: see :func:`corrected`.
    """

    def describe(as_of: str, customer: str = "A", observed_from: str = "2020-01-01"):
        known = history.build(corrected(history.facts_of(ledger)), day(observed_from))
        spine = customer_spine(known.codes([customer]), pd.array([day(as_of)]).to_numpy("int32"))
        return SimpleNamespace(
            **dict(zip(feature_names(with_order=False), build(known, spine)[0], strict=True))
        )

    return describe


@pytest.fixture
def steps_of(known) -> Callable[[str], list[tuple]]:
    """Balance steps of an invoice: day known, kind, amount taken off, amount still open."""

    def steps(invoice_id: str) -> list[tuple]:
        invoice = list(known.invoice_id).index(invoice_id)
        kinds = ("payment", "credit_note", "write_off", "reversal")
        return [
            (str(pd.Timestamp(s[1], unit="D").date()), kinds[s[3]], s[4] / 100, s[5] / 100)
            for s in zip(*known.steps, strict=True)
            if s[0] == invoice
        ]

    return steps


@pytest.fixture
def paid_of(known) -> Callable[[str], list[tuple]]:
    """When an invoice stood as paid: day known, day it was open again or None, days late."""

    def paid(invoice_id: str) -> list[tuple]:
        def date(value):
            return None if value == history.NEVER else str(pd.Timestamp(value, unit="D").date())

        stood = known.settled
        columns = (stood.known_on, stood.until, stood.days_late, stood.invoice)
        return [
            (date(since), date(until), days_late)
            for since, until, days_late, invoice in zip(*columns, strict=True)
            if known.invoice_id[invoice] == invoice_id
        ]

    return paid
