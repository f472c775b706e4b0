"""A test's docstring is the ledger it tests: see :func:`tests.features.ledgers.read_tables`."""

import pytest

from features import history
from features.history import History
from tests.features.ledgers import ledger_of, read_tables


@pytest.fixture
def known(request) -> History:
    """Lay out the history of the docstring's ledger."""
    return history.build(history.facts_of(ledger_of(read_tables(request.function.__doc__))))
