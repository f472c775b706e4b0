"""Facts in SQL: nothing twice, nothing overwritten, nothing half written; SQLite and PostgreSQL."""

import json
import os
import signal
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from features import history, store, store_database
from features.history import FOREVER, MICROSECONDS_A_DAY, NEVER, facts_of
from features.ledger import TABLES, Ledger, LedgerError, check
from features.store import (
    READ_COLUMNS,
    Source,
    Store,
    connect,
    sqlite_url,
    writing,
)
from features.store_queries import queries_for
from features.store_schema import SCHEMA
from tests.features.ledgers import day, ledger_of, raw_tables, read_tables
from tests.features.postgres import postgres

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

    order_id | customer | accepted_on | closed_on  | amount | deposit | recorded_at
    O1       | A        | 2024-03-04  | 2024-03-18 | 500.00 | 150.00  | 2024-03-04
    O2       | B        | 2024-03-06  |            | 700.00 | 0       | 2024-03-09

    change_id | customer | changed_on | kind         | value      | recorded_at
    M1        | A        | 2024-03-01 | group        | Morel      | 2024-03-01
    M2        | B        | 2024-03-01 | group        | Morel      | 2024-03-04
    M3        | B        | 2024-04-01 | group        |            | 2024-04-01
    M4        | A        | 2024-03-02 | bank_details | unverified | 2024-03-02
    """


@pytest.fixture(scope="session")
def new_schema():
    with postgres() as new:
        yield new


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def new_db(request, tmp_path_factory) -> Callable[[], str]:
    """Give a function that makes a place for one more ledger, and its URL."""
    if request.param == "postgresql":
        return request.getfixturevalue("new_schema")
    return lambda: sqlite_url(tmp_path_factory.mktemp("store") / "var" / "facts.db")


@pytest.fixture
def facts_db(new_db):
    return new_db()


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
    assert left.keys() == right.keys()
    for name in left:
        assert left[name].keys() == right[name].keys()
        for column in left[name]:
            a, b = left[name][column], right[name][column]
            assert a.dtype == b.dtype, (name, column)
            np.testing.assert_array_equal(a, b, err_msg=f"{name}.{column}")


def of_customer(facts, customer):
    """Keep the rows of one customer."""
    return {
        name: {c: v[rows["customer_id"] == customer] for c, v in rows.items()}
        for name, rows in facts.items()
    }


def microseconds(instant):
    """Microseconds since 1970 of an instant in UTC."""
    return pd.Timestamp(instant).value // 1000


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
def test_two_halves_are_the_whole(new_db, example, halves):
    whole = Store(new_db(), "EUR")
    whole.append(example, FILE)
    halved = Store(new_db(), "EUR")
    for half in halves:
        halved.append(part(example, half), FILE)
    assert halved.data_sha256() == whole.data_sha256()
    assert halved.ledger.observed_from == whole.ledger.observed_from
    same_facts(halved.read(), whole.read())
    assert sum(halved.append(example, FILE).added.values()) == 0


def test_the_hash_tells_another_ledger(new_db, example):
    hashes = set()
    dearer = {**example.tables, "invoices": example["invoices"].assign(amount_cents=1)}
    for ledger in [example, part(example, slice(1)), Ledger("EUR", dearer)]:
        facts = Store(new_db(), "EUR")
        facts.append(ledger, FILE)
        hashes.add(facts.data_sha256())
    assert len(hashes) == 3


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


# --- Versions ----------------------------------------------------------------------------

MARCH_2 = microseconds("2024-03-02 08:30")
APRIL_9 = microseconds("2024-04-09 10:00")
MAY_1 = microseconds("2024-05-01 12:00")


def f1(ledger, cents, recorded_at=None, **changes):
    """Invoice F1 of the example again, with another amount, recorded then or nobody knows when."""
    row = ledger["invoices"].query("invoice_id == 'F1'").assign(amount_cents=cents, **changes)
    when = {"recorded_at": pd.Timestamp(recorded_at or "2024-03-01")}
    row = row.assign(**when, recorded_assumed=recorded_at is None)
    return Ledger("EUR", {**ledger_of({}).tables, "invoices": row})


def amount(facts, **how):
    """Amount of F1, as read."""
    rows = facts.read(**how)["invoices"]
    return rows["amount_cents"][rows["invoice_id"] == "F1"].tolist()


def test_a_corrected_row_counts_from_the_instant_it_was_recorded(facts_db, example):
    facts = Store(facts_db, "EUR")
    facts.append(example, FILE)
    before = facts.read()
    appended = facts.append(f1(example, 9000, "2024-04-09 10:00"), FILE)
    assert appended.superseded["invoices"] == 1 == sum(appended.superseded.values())
    assert sum(appended.added.values()) == 0 == sum(appended.already_there.values())
    assert appended.rejects.empty
    assert amount(facts) == [9000]
    assert amount(facts, known_at=APRIL_9) == [10000]  # what was recorded before that instant
    assert amount(facts, known_at=APRIL_9 + 1) == [9000]
    assert amount(facts, known_at=MARCH_2) == []
    assert amount(facts, sequence=1) == [10000]
    same_facts(facts.read(sequence=1), before)


def test_every_version_is_kept_with_its_time_and_the_instant_the_fact_was_first_known(
    facts_db, example
):
    facts = Store(facts_db, "EUR")
    facts.append(example, FILE)
    facts.append(f1(example, 9000, "2024-04-09 10:00"), FILE)
    facts.append(f1(example, 8000, "2024-05-01 12:00"), FILE)
    rows = facts.read("A", versions=True)["invoices"]
    kept = rows["invoice_id"] == "F1"
    assert rows["amount_cents"][kept].tolist() == [10000, 9000, 8000]
    assert rows["since_at"][kept].tolist() == [MARCH_2, APRIL_9, MAY_1]
    assert rows["until_at"][kept].tolist() == [APRIL_9, MAY_1, FOREVER]
    assert set(rows["recorded_at"][kept]) == {MARCH_2}
    assert not rows["recorded_assumed"][kept].any()
    assert rows["until_at"][~kept].tolist() == [FOREVER]
    then = facts.read(versions=True, sequence=2)["invoices"]  # the third was not here yet
    assert then["until_at"][then["invoice_id"] == "F1"].tolist() == [APRIL_9, FOREVER]
    then = facts.read(versions=True, known_at=MAY_1)["invoices"]  # nor recorded
    assert then["until_at"][then["invoice_id"] == "F1"].tolist() == [APRIL_9, FOREVER]
    counts = facts.read()["invoices"]
    assert set(counts["until_at"]) == {FOREVER}
    assert counts["since_at"][0] == MAY_1


def test_a_correction_of_unknown_date_counts_from_its_import(facts_db, example):
    facts = Store(facts_db, "EUR")
    facts.append(example, FILE)
    facts.append(f1(example, 9000), FILE, appended_at=MAY_1)
    assert amount(facts, known_at=MAY_1) == [10000]
    assert amount(facts, known_at=MAY_1 + 1) == [9000]


def test_without_a_clock_given_an_import_is_now(facts_db, example):
    facts = Store(facts_db, "EUR")
    facts.append(example, FILE)
    before = time.time_ns() // 1000
    facts.append(f1(example, 9000), FILE)
    since = facts.read()["invoices"]["since_at"].max()
    assert before <= since <= time.time_ns() // 1000


def test_a_correction_never_counts_before_what_it_corrects(facts_db, example):
    facts = Store(facts_db, "EUR")
    facts.append(example, FILE)
    facts.append(f1(example, 9000, "2024-03-02 08:30"), FILE)
    facts.append(f1(example, 8000), FILE, appended_at=MARCH_2)
    rows = facts.read("A", versions=True)["invoices"]
    kept = rows["invoice_id"] == "F1"
    assert rows["since_at"][kept].tolist() == [MARCH_2, MARCH_2 + 1, MARCH_2 + 2]
    assert rows["until_at"][kept].tolist() == [MARCH_2 + 1, MARCH_2 + 2, FOREVER]


@pytest.mark.parametrize(
    ("recorded_at", "changes_back"),
    [
        ("2024-03-02 08:30", False),  # the old file again
        ("2024-04-09 10:00", False),
        (None, False),  # cannot tell
        ("2024-04-09 10:00:00.000001", True),
    ],
)
def test_a_value_changes_back_only_when_that_was_recorded_later(
    facts_db, example, recorded_at, changes_back
):
    facts = Store(facts_db, "EUR")
    facts.append(example, FILE)
    facts.append(f1(example, 9000, "2024-04-09 10:00"), FILE)
    appended = facts.append(f1(example, 10000, recorded_at), FILE)
    assert appended.superseded["invoices"] == changes_back
    assert appended.already_there["invoices"] == (not changes_back)
    assert amount(facts) == [10000 if changes_back else 9000]
    assert sum(facts.append(f1(example, 9000, "2024-04-09 10:00"), FILE).superseded.values()) == 0


def test_an_assumed_date_does_not_tell_that_a_value_changed_back(facts_db, example):
    facts = Store(facts_db, "EUR")
    for cents, recorded_at in ((10000, "2024-02-01"), (9000, "2024-02-10")):  # before its issue
        facts.append(f1(example, cents, recorded_at), FILE)
    assert facts.append(f1(example, 10000), FILE).already_there["invoices"] == 1
    assert amount(facts) == [9000]


def test_a_number_of_another_customer_is_refused_and_kept_whole(facts_db, example):
    facts = Store(facts_db, "EUR")
    facts.append(example, FILE)
    before = facts.data_sha256()
    invoices = example["invoices"].copy()
    invoices.loc[invoices["invoice_id"] == "F2", ["customer_id", "amount_cents"]] = ["B", 77]
    appended = facts.append(Ledger("EUR", {**example.tables, "invoices": invoices}), FILE)
    assert appended.rejects[["table", "column", "reason"]].values.tolist() == [
        ["invoices", "invoice_id", "belongs_to_another_customer"]
    ]
    refused = json.loads(appended.rejects["row"][0])
    names = ("invoice_id", "customer_id", "amount_cents")
    assert [refused[name] for name in names] == ["F2", "B", 77]
    assert appended.already_there["invoices"] == 2
    assert facts.data_sha256() == before
    assert facts.read("B")["invoices"]["invoice_id"].tolist() == ["F3"]


def test_each_row_is_told_what_became_of_it(facts_db, example):
    facts = Store(facts_db, "EUR")
    facts.append(part(example, slice(0, 2)), FILE)
    invoices = example["invoices"].set_index(pd.Index(["x", "y", "z"]))
    invoices.loc["y", "amount_cents"] = 1
    new = invoices.loc[["x"]].assign(invoice_id="F4").set_index(pd.Index(["new"]))
    theirs = invoices.loc[["x"]].assign(customer_id="B").set_index(pd.Index(["theirs"]))
    ledger = Ledger("EUR", {**example.tables, "invoices": pd.concat([theirs, new, invoices])})
    assert facts.append(ledger, FILE).outcome(ledger, "invoices").to_dict() == {
        "x": "already_there",
        "y": "superseded",
        "z": "added",
        "new": "added",
        "theirs": "refused",
    }


def test_a_payment_of_an_invoice_that_another_append_took_meanwhile_is_refused(facts_db, example):
    """
    invoice | customer | issued_on  | due_on     | amount
    F9      | A        | 2024-03-01 | 2024-03-31 | 100.00
    F2      | B        | 2024-03-01 | 2024-03-31 | 100.00

    settlement_id | settled_on | customer | invoice | amount
    P1            | 2024-03-20 | A        | F9      | 60.00
    P2            | 2024-03-20 | A        | F2      | 60.00
    P3            | 2024-03-20 | B        | F2      | 60.00
    P4            | 2024-03-20 | B        |         | 60.00
    """
    facts = Store(facts_db, "EUR")
    facts.append(example, FILE)  # since the ledger was checked: F2 is A's
    tables = read_tables(
        test_a_payment_of_an_invoice_that_another_append_took_meanwhile_is_refused.__doc__
    )
    tables["customers"] = example["customers"]
    ledger = ledger_of(tables)
    appended = facts.append(ledger, FILE)
    assert appended.outcome(ledger, "settlements").tolist() == [
        *("added", "added", "refused", "added")  # P2 pays the F2 that A owes
    ]
    assert appended.rejects[["table", "label", "reason"]].values.tolist() == [
        ["invoices", 1, "belongs_to_another_customer"],
        ["settlements", 2, "not_the_invoiced_customer"],
    ]
    assert facts.read("B")["settlements"]["settlement_id"].tolist() == ["P4"]


def test_a_customer_is_corrected_too(facts_db, example):
    facts = Store(facts_db, "EUR")
    facts.append(example, FILE)
    renamed = example["customers"].iloc[:1].assign(name="Atelier Morel SAS")
    appended = facts.append(
        Ledger("EUR", {**ledger_of({}).tables, "customers": renamed}), FILE, appended_at=MAY_1
    )
    assert (appended.superseded["customers"], appended.added["customers"]) == (1, 0)
    assert facts.read("A")["customers"]["name"].tolist() == ["Atelier Morel SAS"]
    assert facts.read("A", known_at=MAY_1)["customers"]["name"].tolist() == ["Atelier Morel"]
    assert sorted(facts.known().customers) == ["A", "B"]


def test_a_correction_does_not_end_a_ledger_of_the_past_today(facts_db, example):
    facts = Store(facts_db, "EUR")
    facts.append(example, FILE)
    before = facts.last_day(), facts.ledger.observed_from
    facts.append(f1(example, 9000), FILE)
    assert (facts.last_day(), facts.ledger.observed_from) == before


def test_the_hash_covers_what_was_thought_before_and_since_when(new_db, example):
    histories = [
        [],
        [f1(example, 9000, "2024-04-09 10:00")],
        [f1(example, 9000, "2024-04-09 10:01")],
        [f1(example, 8000, "2024-04-09"), f1(example, 9000, "2024-04-09 10:00")],
    ]
    hashes = []
    for corrections in histories:
        facts = Store(new_db(), "EUR")
        for ledger in [example, *corrections]:
            facts.append(ledger, FILE)
        hashes.append(facts.data_sha256())
    assert len(set(hashes)) == len(hashes)


@st.composite
def imports(draw):
    """Draw imports, each some of five invoices with their amounts, recorded since the last."""
    drawn = []
    for number in range(1, draw(st.integers(2, 5)) + 1):
        invoices = draw(st.lists(st.integers(0, 4), min_size=1, max_size=5, unique=True))
        rows = [
            (i, draw(st.sampled_from([100, 200, 300])), draw(st.sampled_from([None, 0, 12, 24])))
            for i in invoices
        ]
        drawn.append((number, rows))
    return drawn


def imported(number, rows):
    """Ledger of a drawn import and its instant: the midnight that ends day `number`."""
    midnight = pd.Timestamp("2024-06-01") + pd.Timedelta(days=number)
    hours = [None if hour is None else midnight - pd.Timedelta(hours=hour) for _, _, hour in rows]
    invoices = pd.DataFrame(
        {
            "invoice_id": [f"F{i}" for i, _, _ in rows],
            "customer_id": ["AB"[i % 2] for i, _, _ in rows],
            "issued_on": pd.Timestamp("2024-05-01"),
            "due_on": pd.Timestamp("2024-05-31"),
            "amount_cents": [cents for _, cents, _ in rows],
            "recorded_at": pd.Series(hours, dtype="datetime64[us]"),
        }
    )
    customers = pd.DataFrame({"customer_id": ["A", "B"]})
    ledger = ledger_of({"customers": customers, "invoices": invoices})
    return ledger, midnight.value // 1000


def thought(ledgers, known_at):
    """Say amount by invoice as the imports tell it, one row after the other: slow and obvious."""
    told = {}
    for ledger, at in ledgers:
        for row in ledger["invoices"].itertuples():
            recorded, story = row.recorded_at.value // 1000, told.setdefault(row.invoice_id, [])
            if not story:
                story.append((recorded, row.amount_cents))
                continue
            since, current = story[-1]
            is_back = not row.recorded_assumed and recorded > since
            if row.amount_cents == current or (
                row.amount_cents in [cents for _, cents in story] and not is_back
            ):
                continue
            when = max(at if row.recorded_assumed else recorded, since + 1)
            story.append((when, row.amount_cents))
    found = {
        invoice: [cents for since, cents in story if since < known_at]
        for invoice, story in told.items()
    }
    return {invoice: story[-1] for invoice, story in found.items() if story}


@given(imports(), st.data())
@settings(max_examples=10, deadline=None)
def test_what_was_known_then_is_read_for_ever_whatever_comes_later(new_db, drawn, data):
    facts, seen = Store(new_db(), "EUR"), []
    ledgers = [imported(number, rows) for number, rows in drawn]
    for number, (ledger, at) in enumerate(ledgers, 1):
        facts.append(ledger, FILE, appended_at=at)
        hours = data.draw(st.integers(-24 * number - 48, 72))
        for known_at in (at + hours * 3_600_000_000, at + 1, None):
            seen.append((number, known_at, facts.read(known_at=known_at)))
    for number, known_at, then in seen:
        same_facts(facts.read(known_at=known_at, sequence=number), then)
        same_facts(facts.read("A", known_at, number), of_customer(then, "A"))
        rows = then["invoices"]
        amounts = dict(zip(rows["invoice_id"], rows["amount_cents"].tolist(), strict=True))
        assert amounts == thought(ledgers[:number], FOREVER if known_at is None else known_at)
        assert list(amounts) == sorted(amounts, key=lambda i: (int(i[1:]) % 2, i))


@given(imports(), st.randoms())
@settings(max_examples=8, deadline=None)
def test_all_files_again_in_any_order_add_nothing(new_db, drawn, random):
    facts = Store(new_db(), "EUR")
    ledgers = [imported(number, rows) for number, rows in drawn]
    for ledger, at in ledgers:
        facts.append(ledger, FILE, appended_at=at)
    before, sha256 = facts.read(versions=True), facts.data_sha256()
    random.shuffle(ledgers)
    for ledger, at in ledgers:
        appended = facts.append(ledger, FILE, appended_at=at + 10**12)
        assert sum(appended.added.values()) == sum(appended.superseded.values()) == 0
        assert sum(appended.already_there.values()) == ledger.rows
    same_facts(facts.read(versions=True), before)
    assert facts.data_sha256() == sha256


# --- Read --------------------------------------------------------------------------------


def test_what_is_read_is_what_was_appended_column_by_column(facts_db, example):
    facts = Store(facts_db, "EUR")
    facts.append(example, FILE)
    same_facts(Store(facts_db).read(), facts_of(example))


def test_an_empty_ledger_is_read_with_its_types(facts_db):
    same_facts(Store(facts_db, "EUR").read(), facts_of(ledger_of({})))


@given(raw_tables())
@settings(max_examples=5, deadline=None)
def test_random_ledgers_are_read_as_they_were_appended(new_db, tables):
    ledger = ledger_of(tables)
    facts = Store(new_db(), "EUR")
    half = len(tables["invoices"]) // 2
    facts.append(part(ledger, slice(half, None)), FILE)
    facts.append(ledger, FILE)
    same_facts(facts.read(), facts_of(ledger))


def test_one_customer_is_the_rows_of_that_customer(facts_db, example):
    facts = Store(facts_db, "EUR")
    facts.append(example, FILE)
    for customer in ("A", "B", "nobody"):
        same_facts(facts.read(customer), of_customer(facts_of(example), customer))


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


@pytest.mark.parametrize("versions", [False, True])
def test_shards_of_customers_are_the_whole_in_its_order(facts_db, versions):
    counts = {"A": 3, "B": 0, "C": 9, "D": 1, "É": 4, "a": 2}
    invoices = pd.DataFrame(
        {"invoice_id": f"F{c}{i}", "customer_id": c, "amount_cents": 1 + i}
        for c, n in counts.items()
        for i in range(n)
    ).assign(issued_on=pd.Timestamp("2024-05-01"), due_on=pd.Timestamp("2024-05-31"))
    customers = pd.DataFrame({"customer_id": list(counts)})
    facts = Store(facts_db, "EUR")
    facts.append(ledger_of({"customers": customers, "invoices": invoices}), FILE)
    twice = ledger_of({"invoices": invoices[:2].assign(amount_cents=77)})
    facts.append(twice, FILE)
    shards = facts.customer_shards(6)
    assert shards == [("A", "B"), ("C", "C"), ("D", "a"), ("É", "É")]
    parts = [facts.read(customers=shard, versions=versions) for shard in shards]
    whole = facts.read(versions=versions)
    assert whole["invoices"]["invoice_id"].size == 19 + 2 * versions
    for name, rows in whole.items():
        for column, values in rows.items():
            assert np.concatenate([part[name][column] for part in parts]).tolist() == list(values)
    assert facts.customer_shards(100) == [("A", "É")]


def test_an_empty_ledger_has_no_shard(facts_db):
    assert Store(facts_db, "EUR").customer_shards(5) == []


def test_many_rows_are_read_in_their_order_whatever_the_chunk(facts_db, monkeypatch):
    ids = [f"F{i}" for i in range(25)]
    monkeypatch.setattr(store, "ROWS_A_CHUNK", 10)
    for size in ("ROWS_A_CHUNK", "ROWS_A_FETCH"):
        monkeypatch.setattr(store_database, size, 10)
    invoices = pd.DataFrame({"invoice_id": ids, "customer_id": "A", "amount_cents": range(1, 26)})
    dates = {"issued_on": pd.Timestamp("2024-05-01"), "due_on": pd.Timestamp("2024-05-31")}
    ledger = ledger_of(
        {"customers": pd.DataFrame({"customer_id": ["A"]}), "invoices": invoices.assign(**dates)}
    )
    facts = Store(facts_db, "EUR")
    facts.append(part(ledger, slice(0, 15)), FILE)
    appended = facts.append(ledger, FILE)
    assert (appended.added["invoices"], appended.already_there["invoices"]) == (10, 15)
    same_facts(facts.read(), facts_of(ledger))
    same_facts(facts.read("A"), facts_of(ledger))
    other = ledger_of({"invoices": invoices.assign(customer_id="B", **dates)})
    assert len(facts.append(other, FILE).rejects) == 25
    assert facts.known_of([], ids).debtors.size == 25


def test_text_and_numbers_come_back_as_they_were(facts_db):
    names = ["", '"', "a,b", "a\nb\r\nc", "\\.", "\\N", "NULL", "É\u202f’", "𝄞", "tab\there", None]
    ids = ["10", "9", "Z", "a", "É", "e\u0301", "𝄞", "\ue000", "A b", "A'b", 'A"b']
    tables = {
        "customers": pd.DataFrame({"customer_id": ids, "name": pd.array(names, dtype="str")}),
        "insurance_covers": pd.DataFrame(
            {
                "cover_id": ["K1", "K2", "K3"],
                "customer_id": ids[:3],
                "starts_on": pd.Timestamp("2024-05-01"),
                "amount_cents": [0, 2**62, 1],
                "insured_rate": [0.1 + 0.2, 1 / 3, 1.0],
            }
        ),
    }
    ledger = ledger_of(tables)
    facts = Store(facts_db, "EUR")
    facts.append(ledger, FILE)
    same_facts(facts.read(), facts_of(ledger))
    assert facts.read()["customers"]["customer_id"].tolist() == sorted(ids)  # byte by byte
    assert sum(facts.append(ledger, FILE).already_there.values()) == ledger.rows
    assert facts.known_of(ids, []).customers.tolist() == sorted(ids)


def test_what_a_file_names_is_looked_up_alone(facts_db, example):
    facts = Store(facts_db, "EUR")
    facts.append(example, FILE)
    known = facts.known_of(["B", "nobody"], ["F1", "none"])
    assert known.debtors.to_dict() == {"F1": "A"}
    assert known.customers.tolist() == ["A", "B"]  # the debtor too
    everything = facts.known_of(["A", "B"], ["F1", "F2", "F3"])
    assert everything.debtors.sort_index().equals(facts.known().debtors.sort_index())
    nothing = facts.known_of([], [])
    assert (nothing.customers.size, nothing.debtors.size) == (0, 0)


def test_a_snapshot_is_one_customer_with_what_it_takes_to_see_him_again(facts_db, example):
    facts = Store(facts_db, "EUR")
    facts.append(example, FILE)
    seen = facts.snapshot("A", APRIL_9)
    assert (seen.sequence, seen.ledger) == (1, facts.ledger)
    facts.append(f1(example, 9000, "2024-04-01"), FILE)
    again = facts.read("A", APRIL_9, seen.sequence, columns=READ_COLUMNS)
    same_facts(seen.facts, again)
    assert seen.facts["invoices"]["amount_cents"].tolist() == [10000, 20000]
    assert "original_amount" not in again["invoices"]
    assert facts.snapshot("nobody", APRIL_9).facts["customers"]["customer_id"].size == 0


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


def test_a_ledger_of_another_schema_says_to_import_again(facts_db):
    Store(facts_db, "EUR")
    engine = connect(facts_db)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE ledger SET schema_version = 1")
    engine.dispose()
    for currency in (None, "EUR"):
        with pytest.raises(LedgerError, match="has schema 1, this version reads 3: import your f"):
            Store(facts_db, currency)


def test_every_connection_is_durable(tmp_path):
    url = sqlite_url(tmp_path / "facts.db")
    Store(url, "EUR")
    for engine in (connect(url), connect(url, only_reads=True)):
        for _ in range(2):
            with engine.connect() as connection:
                ask = connection.exec_driver_sql
                assert ask("PRAGMA journal_mode").scalar() == "wal"
                assert ask("PRAGMA synchronous").scalar() == 2  # FULL
                assert ask("PRAGMA foreign_keys").scalar() == 1
                version = ask("SELECT sqlite_version()").scalar()
                assert tuple(map(int, version.split("."))) >= (3, 51, 3)  # the WAL-reset bug
            engine.dispose()


def test_readers_cannot_write(facts_db):
    Store(facts_db, "EUR")
    engine = connect(facts_db, only_reads=True)
    with engine.connect() as connection, pytest.raises(sa.exc.DBAPIError):
        connection.exec_driver_sql("UPDATE ledger SET currency = 'USD'")
    engine.dispose()


def test_a_key_has_one_current_version(facts_db, example):
    facts = Store(facts_db, "EUR")
    facts.append(example, FILE)
    again = SCHEMA.facts["invoices"].update().values(invoice_id="F1")
    with writing(facts._engine) as connection, pytest.raises(sa.exc.IntegrityError):
        connection.execute(again)


# --- Failure -----------------------------------------------------------------------------


@pytest.mark.parametrize("at_table", ["customers", "invoices", "financial_statements"])
def test_a_failure_in_the_middle_of_an_append_leaves_nothing_behind(
    facts_db, example, monkeypatch, at_table
):
    facts = Store(facts_db, "EUR")
    facts.append(part(example, slice(0, 1)), FILE)
    before = facts.read(versions=True), facts.data_sha256(), facts.sequence(), facts.ledger
    corrected = Ledger(
        "EUR", {**example.tables, "customers": example["customers"].assign(sector="0111Z")}
    )
    fail_at(monkeypatch, at_table, OSError("disk full"))
    with pytest.raises(OSError, match="disk full"):
        facts.append(corrected, FILE)
    monkeypatch.undo()
    reopened = Store(facts_db)
    same_facts(reopened.read(versions=True), before[0])
    after = reopened.data_sha256(), reopened.sequence(), reopened.ledger
    assert after == before[1:]
    appended = reopened.append(example, FILE)  # and the same file goes in afterwards
    assert appended.sequence == before[2] + 1
    same_facts(reopened.read(), facts_of(example))


def fail_at(monkeypatch, at_table, error=None):
    """Fail after a table was written; without an error the process dies."""
    insert = store.insert

    def failing(connection, table, columns):
        insert(connection, table, columns)
        if table.name == at_table:
            if error is None:
                os.kill(os.getpid(), signal.SIGKILL)
            raise error

    monkeypatch.setattr(store, "insert", failing)


def test_a_process_killed_in_the_middle_of_an_append_leaves_nothing_behind(
    facts_db, example, monkeypatch
):
    facts = Store(facts_db, "EUR")
    facts.append(part(example, slice(0, 1)), FILE)
    before = facts.read(versions=True), facts.data_sha256(), facts.sequence(), facts.ledger
    fail_at(monkeypatch, "settlements")
    child = os.fork()
    if child == 0:  # never comes back: it dies while it writes
        with suppress(BaseException):
            Store(facts_db).append(example, FILE)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    monkeypatch.undo()
    same_facts(facts.read(versions=True), before[0])
    assert (facts.data_sha256(), facts.sequence(), facts.ledger) == before[1:]
    facts.append(example, FILE)
    same_facts(facts.read(), facts_of(example))


def test_a_reader_sees_one_state_while_another_appends(facts_db, example, monkeypatch):
    reader, writer = Store(facts_db, "EUR"), Store(facts_db)
    writer.append(part(example, slice(0, 1)), FILE)
    before, rows = reader.read(), store.read_rows

    def interrupted(*how):
        found = rows(*how)
        if writer.sequence() == 1:
            writer.append(example, FILE)
        return found

    monkeypatch.setattr(store, "read_rows", interrupted)
    same_facts(reader.read(), before)
    assert reader.read()["invoices"]["invoice_id"].size == 3


def test_two_who_append_at_once_wait_for_each_other(facts_db, example):
    halves = [part(example, slice(0, 1)), part(example, slice(1, None))]
    with ThreadPoolExecutor(6) as pool:
        jobs = [
            pool.submit(lambda half=half: Store(facts_db, "EUR").append(half, FILE))
            for half in halves * 3
        ]
        done = [job.result() for job in jobs]
    assert sorted(appended.sequence for appended in done) == [1, 2, 3, 4, 5, 6]
    assert sum(sum(appended.added.values()) for appended in done) == example.rows
    same_facts(Store(facts_db).read(), facts_of(example))


def test_a_database_that_fails_says_nothing_of_customers(facts_db, example):
    facts = Store(facts_db, "EUR")
    facts.append(example, FILE)
    engine = connect(facts_db)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE disputes")
    engine.dispose()
    for fails in (lambda: facts.read("Bérénice"), lambda: facts.append(example, FILE)):
        with pytest.raises(sa.exc.DBAPIError) as failure:
            fails()
        assert "Bérénice" not in str(failure.value)


# --- Groups of companies -----------------------------------------------------------------

GROUPS = """
    change_id | customer | changed_on | kind  | value | recorded_at
    M1        | A        | 2024-01-01 | group | Morel | 2024-01-01
    M2        | B        | 2024-01-01 | group | Morel | 2024-01-20
    M3        | B        | 2024-03-01 | group |       | 2024-03-01
    M4        | C        | 2024-01-01 | group | Autre | 2024-01-01
    M5        | C        | 2024-02-01 | group | Morel | 2024-02-01
    M6        | D        | 2024-01-01 | group | Autre | 2024-01-01
    M7        | E        | 2024-05-01 | group | Morel | 2024-01-01
    """


def members(facts, at, group="Morel", **how):
    return facts.members(group, microseconds(at), **how)


def test_the_members_of_a_group_are_those_whose_last_change_known_names_it(facts_db):
    facts = Store(facts_db, "EUR")
    facts.append(ledger_of(read_tables(GROUPS)), FILE)
    assert members(facts, "2024-01-10") == ["A"]
    assert members(facts, "2024-01-20 00:00") == ["A"]  # recorded at that instant, not before
    assert members(facts, "2024-01-20 00:01") == ["A", "B"]
    assert members(facts, "2024-02-10") == ["A", "B", "C"]
    assert members(facts, "2024-03-10") == ["A", "C"]
    assert members(facts, "2024-05-01 09:00") == ["A", "C", "E"]
    assert members(facts, "2024-05-01 09:00", "Autre") == ["D"]
    assert members(facts, "2024-05-01 09:00", "nobody's") == []
    assert facts.members("Morel") == ["A", "C", "E"]


def test_a_corrected_group_is_read_as_it_was_known_and_as_it_was_imported(facts_db):
    """
    change_id | customer | changed_on | kind  | value | recorded_at
    M6        | D        | 2024-01-01 | group | Morel | 2024-04-09 10:00
    """
    facts = Store(facts_db, "EUR")
    facts.append(ledger_of(read_tables(GROUPS)), FILE)
    again = read_tables(
        test_a_corrected_group_is_read_as_it_was_known_and_as_it_was_imported.__doc__
    )
    facts.append(ledger_of({"customer_changes": again["customer_changes"]}), FILE)
    assert members(facts, "2024-04-09 10:00") == ["A", "C"]
    assert members(facts, "2024-04-10") == ["A", "C", "D"]
    assert members(facts, "2024-04-10", "Autre") == []
    assert members(facts, "2024-04-10", sequence=1) == ["A", "C"]
    assert members(facts, "2024-04-10", "Autre", sequence=1) == ["D"]


@given(raw_tables(), st.integers(0, 700))
@settings(max_examples=10, deadline=None)
def test_members_are_the_customers_whose_history_names_the_group(tables, later):
    """Random ledgers; the slow reading takes every row known, in the order of the changes."""
    facts = Store(sqlite_url(Path(tempfile.mkdtemp()) / "facts.db"), "EUR")
    ledger = ledger_of(tables)
    facts.append(ledger, FILE)
    at = pd.Timestamp("2024-01-01") + pd.Timedelta(days=later, hours=12)
    rows = ledger["customer_changes"].query("kind == 'group'")
    rows = rows[(rows["recorded_at"] < at) & (rows["changed_on"] < at)]
    rows = rows.sort_values(["changed_on", "recorded_at", "change_id"])
    last = rows.drop_duplicates("customer_id", keep="last").set_index("customer_id")["value"]
    for group in ("G1", "G2"):
        assert facts.members(group, at.value // 1000) == sorted(last.index[last == group])


def test_the_members_of_a_group_are_found_without_reading_the_table(tmp_path):
    url = sqlite_url(tmp_path / "facts.db")
    Store(url, "EUR")
    query = queries_for("sqlite").group_changes()
    given = query.parameters({"known_at": 1, "sequence": 1, "day": 1, "group_name": "G"})
    with connect(url).connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query.text}", tuple(given)).all()
    assert not any("SCAN" in row.detail for row in plan), plan
    assert any("customer_changes_value" in row.detail for row in plan), plan
