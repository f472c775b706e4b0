"""The peers' table in the store is the one that the facts themselves give, at every append."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import history
from features.ledger import Ledger
from features.simulator import Simulation, simulate
from features.store import Source, Store, sqlite_url
from tests.features.ledgers import ledger_of, raw_tables
from tests.features.postgres import postgres

FILE = Source(())


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def new_db(request, tmp_path_factory) -> Callable[[], str]:
    """Give a function that makes a place for one more ledger, and its URL."""
    if request.param == "postgresql":
        with postgres() as new:
            yield new
    else:
        yield lambda: sqlite_url(tmp_path_factory.mktemp("peers") / "facts.db")


def counts(peers):
    """Events, late and late by 30 days of each group and day where there are any."""
    table = peers.table
    found = {}
    for group, place in peers.places.items():
        for row in range(table.start[place], table.start[place + 1]):
            columns = (table.events, table.late, table.late_30)
            changed = tuple(int(column[row + 1] - column[row]) for column in columns)
            if any(changed):
                found[*group, int(table.day[row])] = changed
    return found


def from_the_facts(store, sequence):
    """Build the table anew from every version of every fact."""
    return counts(history.build(store.read(sequence=sequence, versions=True), 0).peers)


@given(
    tables=raw_tables(),
    parts=st.lists(st.floats(0, 1), min_size=1, max_size=3),
    days=st.lists(st.integers(0, 900), min_size=3, max_size=3),
    times=st.integers(2, 3),
)
@settings(max_examples=15, deadline=None)
def test_after_any_appends_and_corrections_it_is_that_of_the_facts(
    new_db, tables, parts, days, times
):
    whole = ledger_of(tables)
    store = Store(new_db(), "EUR")
    store.append(whole, FILE)
    for share, delay in zip(parts, days, strict=False):
        n = round(share * len(whole["invoices"]))
        invoices = whole["invoices"].head(n)
        dearer = invoices.assign(
            amount_cents=invoices["amount_cents"] * times,
            recorded_at=invoices["recorded_at"] + pd.Timedelta(days=delay),
            recorded_assumed=False,
        )
        store.append(Ledger("EUR", whole.tables | {"invoices": dearer}), FILE)
    for sequence in range(1, store.sequence() + 1):
        assert counts(store.peers(sequence)) == from_the_facts(store, sequence)
    assert counts(store.peers()) == from_the_facts(store, store.sequence())


@pytest.fixture(scope="module")
def simulated() -> Ledger:
    tables = simulate(Simulation(invoices=4_000, years=3, seed=5, duplicate_rate=0)).tables
    return ledger_of(tables)


def test_a_ledger_in_two_imports_has_the_table_of_one(new_db, simulated):
    whole, halves = Store(new_db(), "EUR"), Store(new_db(), "EUR")
    whole.append(simulated, FILE)
    known = simulated["invoices"]["recorded_at"] < pd.Timestamp("2024-07-01")
    first = set(simulated["invoices"].loc[known, "invoice_id"])
    settlements = simulated["settlements"]
    named = settlements["invoice_id"].isin(first)
    early = {"invoices": simulated["invoices"][known], "settlements": settlements[named]}
    none = {name: rows.head(0) for name, rows in simulated.tables.items()}
    halves.append(Ledger("EUR", none | {"customers": simulated["customers"]} | early), FILE)
    before = counts(halves.peers())
    halves.append(simulated, FILE)
    assert counts(halves.peers()) == counts(whole.peers())
    assert sum(events for events, _, _ in counts(whole.peers()).values()) > 2_000
    assert counts(halves.peers(1)) == before  # a replay sees the table of then
    assert before != counts(whole.peers())


def test_one_append_for_few_and_for_many_customers_gives_the_same(new_db, simulated, monkeypatch):
    many, one_by_one = Store(new_db(), "EUR"), Store(new_db(), "EUR")
    monkeypatch.setattr("features.store_peers.FEW", 0)
    monkeypatch.setattr("features.store_peers.CUSTOMERS_AT_A_TIME", 7)
    many.append(simulated, FILE)
    monkeypatch.setattr("features.store_peers.FEW", 10**9)
    one_by_one.append(simulated, FILE)
    assert counts(many.peers()) == counts(one_by_one.peers()) == from_the_facts(many, 1)


def test_an_append_that_changes_no_payment_adds_no_row(new_db, simulated):
    store = Store(new_db(), "EUR")
    store.append(simulated, FILE)
    first = store.peers()
    renamed = simulated["customers"].assign(name="Another name", recorded_assumed=True)
    store.append(Ledger("EUR", simulated.tables | {"customers": renamed}), FILE)
    assert store.sequence() == 2
    assert store.peers() is first
    assert np.array_equal(store.peers(1).table.events, first.table.events)
