"""Facts in SQL: nothing twice, nothing overwritten, nothing half written."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

from features import history
from features.history import MICROSECONDS_A_DAY, NEVER, facts_of
from features.ledger import TABLES, Ledger, LedgerError, check
from features.store import Source, Store, connect, sqlite_url
from tests.features.ledgers import day, ledger_of, raw_tables, read_tables

FILE = Source((("ledger.csv", "0" * 64),))

LEDGER = """
    customer | name           | sector
    A        | Atelier Morel  | 4321A
    B        | Bérénice & Cie |

    invoice | customer | issued_on  | due_on     | amount | original_currency | recorded_at
    F1      | A        | 2024-03-01 | 2024-03-31 | 100.00 |                   | 2024-03-02 08:30
    F2      | A        | 2024-03-05 | 2024-04-05 | 200.00 | USD               | 2024-03-05
    F3      | B        | 2024-02-01 | 2024-03-01 | 300.00 |                   | 2024-02-01

    settled_on | customer | invoice | amount
    2024-03-20 | A        | F1      | 100.00
    2024-03-21 | A        |         | 50.00

    dispute_id | customer | invoice | opened_on  | closed_on
    D1         | A        | F2      | 2024-03-10 |
    D2         | B        | F3      | 2024-03-10 | 2024-03-12

    cover_id | customer | starts_on  | ends_on | amount  | insured_rate
    K1       | A        | 2024-01-01 |         | 1000.00 | 0.9

    event_id | customer | kind        | opened_on
    E1       | B        | liquidation | 2024-05-02

    statement_id | customer | closed_on  | published_on | revenue_cents | equity_cents
    S1           | A        | 2022-12-31 | 2023-06-30   | 12345         | -5
    S2           | B        | 2022-12-31 | 2023-06-30   | 500           |
    """


@pytest.fixture
def facts_db(tmp_path):
    return sqlite_url(tmp_path / "var" / "facts.db")


@pytest.fixture
def example():
    tables = read_tables(LEDGER)
    tables["insurance_covers"] = tables["insurance_covers"].astype({"insured_rate": "float64"})
    for column in ("revenue_cents", "equity_cents"):
        statements = tables["financial_statements"]
        statements[column] = pd.to_numeric(statements[column]).astype("Int64")
    ledger, rejects = check(tables, "EUR")
    assert rejects.empty, rejects.to_string()
    return ledger


def part(ledger, keep):
    """Keep some rows of each table, by position."""
    return Ledger(ledger.currency, {name: rows.iloc[keep] for name, rows in ledger.tables.items()})


def same_facts(left, right):
    for name, table in TABLES.items():
        for column in table.columns:
            a, b = left[name][column], right[name][column]
            assert a.dtype == b.dtype, (name, column)
            np.testing.assert_array_equal(a, b, err_msg=f"{name}.{column}")


# --- Append ------------------------------------------------------------------------------


def test_the_same_file_twice_adds_nothing(facts_db, example):
    facts = Store(facts_db, "EUR")
    first = facts.append(example, FILE)
    before = facts.data_sha256(), facts.read(), facts.ledger.observed_from
    second = facts.append(example, FILE)
    assert first.added == {name: len(example[name]) for name in TABLES} == second.already_there
    assert set(second.added.values()) == set(first.already_there.values()) == {0}
    assert first.rejects.empty
    assert second.rejects.empty
    assert (facts.data_sha256(), facts.ledger.observed_from) == (before[0], before[2])
    same_facts(facts.read(), before[1])


def test_a_recording_time_that_changed_is_no_other_content(facts_db, example):
    facts = Store(facts_db, "EUR")
    facts.append(example, FILE)
    later = {n: t.assign(recorded_at=pd.Timestamp("2025-01-01")) for n, t in example.tables.items()}
    appended = facts.append(Ledger("EUR", later), FILE)
    assert sum(appended.added.values()) == 0
    assert appended.rejects.empty
    same_facts(facts.read(), facts_of(example))  # we knew when we knew it first


@pytest.mark.parametrize("halves", [(slice(0, 1), slice(1, None)), (slice(1, None), slice(0, 1))])
def test_two_halves_are_the_whole(tmp_path, example, halves):
    whole = Store(sqlite_url(tmp_path / "whole.db"), "EUR")
    whole.append(example, FILE)
    halved = Store(sqlite_url(tmp_path / "halved.db"), "EUR")
    for half in halves:
        halved.append(part(example, half), FILE)
    assert halved.data_sha256() == whole.data_sha256()
    assert halved.ledger.observed_from == whole.ledger.observed_from
    same_facts(halved.read(), whole.read())
    assert sum(halved.append(example, FILE).added.values()) == 0


def test_the_hash_tells_another_ledger(tmp_path, example):
    hashes = set()
    dearer = {**example.tables, "invoices": example["invoices"].assign(amount_cents=1)}
    for i, ledger in enumerate([example, part(example, slice(1)), Ledger("EUR", dearer)]):
        facts = Store(sqlite_url(tmp_path / f"{i}.db"), "EUR")
        facts.append(ledger, FILE)
        hashes.add(facts.data_sha256())
    assert len(hashes) == 3


def test_a_row_with_other_content_comes_back_and_overwrites_nothing(facts_db, example):
    facts = Store(facts_db, "EUR")
    facts.append(example, FILE)
    observed_from = facts.ledger.observed_from
    invoices = example["invoices"].set_index(pd.Index([10, 20, 30]))
    invoices.loc[[10, 30], "amount_cents"] = 77
    invoices.loc[30, ["issued_on", "recorded_at"]] = pd.Timestamp("2001-01-01")
    appended = facts.append(Ledger("EUR", {**example.tables, "invoices": invoices}), FILE)
    rejects = appended.rejects
    assert set(rejects["table"]) == {"invoices"}
    assert rejects["reason"].tolist() == ["already_there_with_other_content"] * 2
    refused = [json.loads(row) for row in rejects["row"]]  # kept whole
    assert [(row["invoice_id"], row["amount_cents"]) for row in refused] == [("F1", 77), ("F3", 77)]
    assert appended.already_there["invoices"] == 1
    same_facts(facts.read(), facts_of(example))
    assert facts.ledger.observed_from == observed_from == day("2024-02-01")


def test_the_ledger_is_observed_from_the_first_invoice_or_settlement_known(facts_db, example):
    facts = Store(facts_db, "EUR")
    assert facts.ledger.observed_from == NEVER
    facts.append(part(example, slice(0, 2)), FILE)
    assert facts.ledger.observed_from == day("2024-03-02")  # F1, recorded the day after
    facts.append(example, FILE)
    assert facts.ledger.observed_from == day("2024-02-01")
    assert history.build(facts.read()).observed_from == facts.ledger.observed_from


def test_a_later_file_may_refer_to_what_is_here(facts_db, example):
    facts = Store(facts_db, "EUR")
    facts.append(example, FILE)
    paid = pd.DataFrame(
        {
            "customer_id": ["B", "A", "C"],
            "invoice_id": ["F3", "F3", None],
            "kind": "payment",
            "settled_on": pd.Timestamp("2024-04-01"),
            "amount_cents": 30000,
        }
    )
    ledger, rejects = check({"settlements": paid}, "EUR", facts.known())
    assert rejects["reason"].tolist() == ["unknown_customer", "not_the_invoiced_customer"]
    assert facts.append(ledger, FILE).added["settlements"] == 1


# --- Read --------------------------------------------------------------------------------


def test_what_is_read_is_what_was_appended_column_by_column(facts_db, example):
    facts = Store(facts_db, "EUR")
    facts.append(example, FILE)
    same_facts(Store(facts_db).read(), facts_of(example))


def test_an_empty_ledger_is_read_with_its_types(facts_db):
    same_facts(Store(facts_db, "EUR").read(), facts_of(ledger_of({})))


@given(raw_tables())
@settings(max_examples=8, deadline=None)
def test_random_ledgers_are_read_as_they_were_appended(tmp_path_factory, tables):
    ledger = ledger_of(tables)
    facts = Store(sqlite_url(tmp_path_factory.mktemp("store") / "facts.db"), "EUR")
    half = len(tables["invoices"]) // 2
    facts.append(part(ledger, slice(half, None)), FILE)
    facts.append(ledger, FILE)
    same_facts(facts.read(), facts_of(ledger))


def test_one_customer_is_the_rows_of_that_customer(facts_db, example):
    facts = Store(facts_db, "EUR")
    facts.append(example, FILE)
    everything = facts_of(example)
    for customer in ("A", "B", "nobody"):
        own = {
            name: {c: v[rows["customer_id"] == customer] for c, v in rows.items()}
            for name, rows in everything.items()
        }
        same_facts(facts.read(customer), own)


def test_only_what_was_recorded_before_an_instant_is_read(facts_db, example):
    facts = Store(facts_db, "EUR")
    facts.append(example, FILE)
    at_half_past_eight = day("2024-03-02") * MICROSECONDS_A_DAY + int(8.5 * 3600e6)
    then = facts.read(known_at=at_half_past_eight)
    assert then["invoices"]["invoice_id"].tolist() == ["F3"]
    then = facts.read(known_at=at_half_past_eight + 1)
    assert then["invoices"]["invoice_id"].tolist() == ["F1", "F3"]
    assert then["settlements"]["settlement_id"].size == 0


def test_a_replay_does_not_see_a_later_import_of_old_facts(facts_db, example):
    facts = Store(facts_db, "EUR")
    assert facts.sequence() == 0
    first = facts.append(part(example, slice(0, 1)), FILE)
    seen = facts.read()
    second = facts.append(example, FILE)
    assert (first.sequence, second.sequence) == (1, 2)
    assert facts.sequence() == 2
    same_facts(facts.read(sequence=1), seen)
    same_facts(facts.read(sequence=2), facts_of(example))
    assert facts.read("B", sequence=1)["invoices"]["invoice_id"].size == 0


def test_the_last_day_is_the_last_on_which_anything_became_known(facts_db, example):
    facts = Store(facts_db, "EUR")
    facts.append(part(example, slice(0, 1)), FILE)
    assert facts.last_day() == day("2024-03-20")
    late = example["settlements"].assign(recorded_at=pd.Timestamp("2024-07-14 12:00"))
    facts.append(Ledger("EUR", {**example.tables, "settlements": late.iloc[1:]}), FILE)
    assert facts.last_day() == day("2024-07-14")


# --- Opening -----------------------------------------------------------------------------


def test_a_missing_ledger_says_how_to_make_one(facts_db):
    with pytest.raises(LedgerError, match="there is no ledger here yet: run `encours import`"):
        Store(facts_db)


def test_a_ledger_keeps_its_id_and_its_currency(facts_db, example):
    made = Store(facts_db, "EUR").ledger
    assert made.currency == "EUR"
    assert Store(facts_db).ledger.id == Store(facts_db, "EUR").ledger.id == made.id
    with pytest.raises(LedgerError, match="the ledger is in EUR, the file in USD"):
        Store(facts_db, "USD")
    facts = Store(facts_db)
    with pytest.raises(LedgerError, match="the ledger is in EUR, not USD"):
        facts.append(Ledger("USD", example.tables), FILE)
    assert facts.sequence() == 0


def test_every_connection_is_durable(facts_db):
    Store(facts_db, "EUR")
    engine = connect(facts_db)
    for _ in range(2):
        with engine.connect() as connection:
            ask = connection.exec_driver_sql
            assert ask("PRAGMA journal_mode").scalar() == "wal"
            assert ask("PRAGMA synchronous").scalar() == 2  # FULL
            assert ask("PRAGMA foreign_keys").scalar() == 1
            version = ask("SELECT sqlite_version()").scalar()
            assert tuple(map(int, version.split("."))) >= (3, 51, 3)  # the WAL-reset bug
        engine.dispose()


# --- Failure -----------------------------------------------------------------------------


@pytest.mark.parametrize("at_table", ["customers", "invoices", "financial_statements"])
def test_a_failure_in_the_middle_of_an_append_leaves_nothing_behind(
    facts_db, example, monkeypatch, at_table
):
    facts = Store(facts_db, "EUR")
    facts.append(part(example, slice(0, 1)), FILE)
    before = facts.read(), facts.data_sha256(), facts.sequence(), facts.ledger
    compare = facts._compare

    def failing(connection, name, columns):
        if name == at_table:
            raise OSError("disk full")
        return compare(connection, name, columns)

    monkeypatch.setattr(facts, "_compare", failing)
    with pytest.raises(OSError, match="disk full"):
        facts.append(example, FILE)
    reopened = Store(facts_db)
    same_facts(reopened.read(), before[0])
    after = reopened.data_sha256(), reopened.sequence(), reopened.ledger
    assert after == before[1:]
    appended = reopened.append(example, FILE)  # and the same file goes in afterwards
    assert appended.sequence == before[2] + 1
    same_facts(reopened.read(), facts_of(example))


def test_a_reader_sees_one_state_while_another_appends(facts_db, example):
    reader, writer = Store(facts_db, "EUR"), Store(facts_db)
    writer.append(part(example, slice(0, 1)), FILE)
    with reader._reading() as connection:
        tables = reader._tables["invoices"]
        before = len(connection.execute(tables.select()).all())
        writer.append(example, FILE)
        assert len(connection.execute(tables.select()).all()) == before == 1
    assert reader.read()["invoices"]["invoice_id"].size == 3
