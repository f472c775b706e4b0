"""What is known of a customer at a date, with the arithmetic left visible; batch and one agree."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import history
from features.history import FOREVER, MICROSECONDS_A_DAY, NEVER, Facts, facts_of
from features.ledger import SETTLEMENT_KINDS, check
from features.store import Source, Store, sqlite_url
from features.versions import current
from models.exposure import Exposure, exposure, exposures
from models.position import Cover, Position, position, positions
from tests.features.ledgers import (
    AS_OF,
    START,
    corrected,
    day,
    known_before,
    ledger_of,
    moments,
    raw_tables,
    read_tables,
)
from tests.features.test_build import CORRECTIONS, with_corrections


@pytest.fixture
def position_at(request) -> Callable[..., Position]:
    """Describe customer A of the test's docstring; K1' corrects K1."""
    ledger, rejects = check(read_tables(request.function.__doc__), "EUR")
    assert rejects.empty, rejects.to_string()
    known = history.build(corrected(facts_of(ledger)))

    def describe(as_of: str, customer: str = "A") -> Position:
        return position(known, int(known.codes([customer])[0]), day(as_of))

    return describe


# --- Exposure ----------------------------------------------------------------------------


def test_the_worked_example(position_at):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-05-16 | 2024-06-15 | 1000
    F2      | 2024-06-30 | 2024-07-30 | 500

    settled_on | invoice | amount | recorded_at
    2024-06-20 | F1      | 400    | 2024-06-20
    2024-06-25 | F3      | 50     | 2024-06-25

    invoice | issued_on  | due_on     | amount
    F3      | 2024-07-08 | 2024-08-07 | 300

    dispute_id | invoice | opened_on  | closed_on
    D1         | F2      | 2024-06-30 |

    order_id | accepted_on | amount | deposit | closed_on
    O1       | 2024-06-10  | 700    | 200     | 2024-07-08
    """
    before = position_at("2024-07-01").exposure
    assert before == Exposure(600_00 + 500_00, 50_00, 700_00 - 200_00, 500_00, 600_00, 15)
    assert before.cents == 1100_00 - 50_00 + 500_00
    assert position_at("2024-07-08").exposure.orders_cents == 500_00
    after = position_at("2024-07-09").exposure  # invoiced on the 8th, and F3 uses the 50
    assert after == Exposure(600_00 + 500_00 + 250_00, 0, 0, 500_00, 600_00, 23)


def test_an_invoice_is_overdue_from_the_day_after_it_was_due(position_at):
    """
    due_on     | settled_on | amount
    2024-06-15 |            | 100
    """
    assert position_at("2024-06-16").exposure[4:] == (0, 0)  # the end of the day it is due
    assert position_at("2024-06-17").exposure[4:] == (100_00, 1)


def test_a_dispute_that_is_closed_leaves_the_invoice_overdue(position_at):
    """
    due_on     | settled_on | amount
    2024-06-15 |            | 100

    dispute_id | invoice | opened_on  | closed_on
    D1         | F1      | 2024-06-10 | 2024-06-30
    """
    assert position_at("2024-06-30").exposure[3:] == (100_00, 0, 0)
    assert position_at("2024-07-01").exposure[3:] == (0, 100_00, 15)


def test_an_order_counts_from_the_day_after_it_was_recorded_in_the_version_known_then(position_at):
    """
    order_id | accepted_on | amount | deposit | closed_on  | recorded_at
    O1       | 2024-06-10  | 700    | 0       |            | 2024-06-12
    O1'      | 2024-06-10  | 700    | 700     |            | 2024-06-20
    O2       | 2024-06-10  | 100    | 0       |            | 2024-06-10
    O2'      | 2024-06-10  | 100    | 0       | 2024-06-25 | 2024-07-02
    """
    orders = {at: position_at(at).exposure.orders_cents for at in SOME_DAYS}
    assert orders == {
        "2024-06-10": 0,
        "2024-06-11": 100_00,
        "2024-06-12": 100_00,
        "2024-06-13": 700_00 + 100_00,
        "2024-06-20": 700_00 + 100_00,
        "2024-06-21": 0 + 100_00,  # paid in advance, all of it
        "2024-07-02": 100_00,  # closed in June, but nobody had told us
        "2024-07-03": 0,
    }


SOME_DAYS = [f"2024-06-{day}" for day in (10, 11, 12, 13, 20, 21)] + ["2024-07-02", "2024-07-03"]


# --- The rest of what is known -----------------------------------------------------------


def test_the_last_known_change_of_each_kind_holds(position_at):
    """
    change_id | changed_on | kind                 | value      | recorded_at
    M1        | 2024-01-10 | group                | Morel      | 2024-01-10
    M2        | 2024-03-01 | group                |            | 2024-03-01
    M3        | 2024-02-01 | group                | Autre      | 2024-04-01
    M4        | 2024-01-10 | bank_details         | unverified | 2024-01-10
    M5        | 2024-01-20 | bank_details         | verified   | 2024-01-20
    M6        | 2024-01-10 | strategic_importance | key        | 2024-01-15
    M7        | 2024-01-10 | group                | Morel      | 2024-01-12
    """

    def seen(as_of):
        known = position_at(as_of)
        return known.group, known.bank_details_unverified, known.strategic_importance

    assert seen("2024-01-10") == (None, False, "normal")
    assert seen("2024-01-11") == ("Morel", True, "normal")
    assert seen("2024-01-16") == ("Morel", True, "key")
    assert seen("2024-01-21") == ("Morel", False, "key")
    assert seen("2024-03-02") == (None, False, "key")
    assert seen("2024-04-02") == (None, False, "key")  # M3 is of February: M2 came after it


def test_a_decision_of_nothing_after_a_cover_withdrew_it(position_at):
    """
    cover_id | customer | starts_on  | ends_on    | amount | insured_rate
    K1       | A        | 2024-01-01 |            | 1000   | 0.9
    K2       | A        | 2024-03-01 |            | 0      | 0.9
    K3       | A        | 2024-05-01 |            | 500    | 0.8
    K4       | ENDED    | 2024-01-01 | 2024-03-31 | 1000   | 0.9
    K5       | REFUSED  | 2024-01-01 |            | 0      | 0.9
    """
    seen = [(p.cover, p.cover_withdrawn) for p in map(position_at, ("2024-01-01", "2024-03-01"))]
    assert seen == [(Cover(), False), (Cover(1000_00, 0.9, None), False)]
    assert position_at("2024-03-02").cover_withdrawn
    again = position_at("2024-05-02")
    assert (again.cover, again.cover_withdrawn) == (Cover(500_00, 0.8, None), False)
    running = position_at("2024-04-01", "ENDED")
    assert running.cover == Cover(1000_00, 0.9, day("2024-03-31"))
    for as_of, customer in (("2024-04-02", "ENDED"), ("2024-01-02", "REFUSED")):
        known = position_at(as_of, customer)
        assert (known.cover.amount_cents, known.cover_withdrawn) == (0, False)


def test_limit_equity_purchases_and_judgments_are_those_known(position_at):
    """
    limit_id | decided_on | amount
    L1       | 2024-01-01 | 1000
    L2       | 2024-03-01 | 0

    statement_id | closed_on  | published_on | equity | revenue
    S1           | 2022-12-31 | 2024-02-01   | -5     | 10
    S2           | 2023-12-31 | 2024-06-30   |        | 10

    event_id | kind       | opened_on
    E1       | safeguard  | 2024-04-01

    due_on     | settled_on | amount
    2023-05-31 | 2023-05-31 | 40
    2023-06-30 | 2023-06-30 | 100
    """

    def seen(as_of):
        known = position_at(as_of)
        found = (known.limit_cents, known.equity_cents, known.insolvency_opened)
        return *found, known.yearly_purchases_cents

    assert seen("2024-01-01") == (None, None, False, 140_00)
    assert seen("2024-02-02") == (1000_00, -5_00, False, 140_00)
    assert seen("2024-04-02") == (0, -5_00, True, 140_00)
    assert seen("2024-05-01") == (0, -5_00, True, 100_00)  # the first was of 1 May 2023
    assert seen("2024-07-01") == (0, None, True, 0)  # the latest accounts do not say


def test_a_customer_without_facts_owes_nothing_and_nothing_bars_him(position_at):
    """
    due_on     | settled_on | amount
    2024-03-31 |            | 40
    """
    blank = position_at("2024-04-02", "nobody")
    nothing = (None, None, Cover(), False, False, False, False, "normal", None)
    assert blank == Position(Exposure(0, 0, 0, 0, 0, 0), 0, *nothing)


# --- Laws --------------------------------------------------------------------------------


def facts_with(tables, corrections) -> Facts:
    share, seed = corrections
    return with_corrections(facts_of(ledger_of(tables)), share, np.random.default_rng(seed))


@given(moments(), CORRECTIONS)
@settings(max_examples=25)
def test_removing_what_came_later_changes_nothing(moment, corrections):
    tables, as_of = moment
    facts = facts_with(tables, corrections)
    known, then = history.build(facts), history.build(known_before(facts, as_of))
    for code, customer in enumerate(known.customers):
        code_then = int(then.codes([customer])[0])
        assert position(known, code, as_of) == position(then, code_then, as_of)


@given(raw_tables(), st.lists(AS_OF, min_size=1, max_size=4), CORRECTIONS, st.randoms())
@settings(max_examples=25)
def test_many_pairs_in_any_order_are_each_as_alone(tables, dates, corrections, random):
    known = history.build(facts_with(tables, corrections))
    pairs = [
        (code, date) for code in range(-1, known.customers.size) for date in (*dates, dates[0])
    ]
    random.shuffle(pairs)
    customer, as_of = np.array(pairs, np.int64).T
    together = positions(known, customer, as_of)
    apart = exposures(known, customer, as_of)
    assert len(together) == len(pairs)
    for row, pair in enumerate(pairs):
        assert together.of(row) == position(known, *pair)
        assert together.exposure.of(row) == apart.of(row) == exposure(known, *pair)


@given(moments(), CORRECTIONS)
@settings(max_examples=40)
def test_the_compiled_position_agrees_with_the_slow_reading(moment, corrections):
    tables, as_of = moment
    facts = facts_with(tables, corrections)
    known = history.build(facts)
    for code, customer in enumerate(known.customers):
        found = position(known, code, as_of)
        assert found.exposure == slow_exposure(facts, customer, as_of)
        seen = (found.group, found.strategic_importance, found.bank_details_unverified)
        assert seen == slow_changes(facts, customer, as_of)
        assert (found.cover.amount_cents, found.cover_withdrawn) == slow_cover(
            facts, customer, as_of
        )
        assert found.yearly_purchases_cents == slow_purchases(facts, customer, as_of)


@given(raw_tables(), st.integers(0, 500))
@settings(max_examples=8)
def test_what_the_service_reads_gives_the_position_of_the_batch(tables, later):
    """The service reads one customer as known at an instant; a backtest reads all, and a date."""
    store = Store(sqlite_url(Path(tempfile.mkdtemp()) / "facts.db"), "EUR")
    store.append(ledger_of(tables), Source(()))
    as_of = START + later
    everything = history.build(store.read(versions=True))
    for code, customer in enumerate(everything.customers):
        facts = store.snapshot(customer, as_of * MICROSECONDS_A_DAY).facts
        alone = history.build(facts, everything.observed_from)
        if alone.customers.size:
            assert position(alone, 0, as_of) == position(everything, code, as_of)


def versions(facts: Facts, name: str, customer: str, as_of: int) -> pd.DataFrame:
    """Rows as written for whoever looks at a date: of each fact the last version by then."""
    rows = pd.DataFrame(facts[name])
    rows = rows[rows["customer_id"] == customer]
    first = rows["since_at"] == rows["recorded_at"]
    began = first | (rows["since_at"] < as_of * MICROSECONDS_A_DAY)
    ended = (rows["until_at"] != FOREVER) & (rows["until_at"] < as_of * MICROSECONDS_A_DAY)
    return rows[began & ~ended & (rows["recorded_at"] < as_of * MICROSECONDS_A_DAY)]


def slow_exposure(facts: Facts, customer: str, as_of: int) -> Exposure:
    """Add up the last balances of a history of nothing else than what counts that day."""
    rows = current(known_before(facts, as_of))
    his = {name: table["customer_id"] == customer for name, table in rows.items()}
    rows = {n: {c: values[his[n]] for c, values in table.items()} for n, table in rows.items()}
    then = history.build(rows)
    balance = then.invoices.amount_cents.copy()
    balance[then.steps.invoice] = then.steps.open_cents  # the last step of each comes last
    lines, steps, disputes, orders = (
        rows["settlements"],
        then.steps,
        rows["disputes"],
        rows["orders"],
    )
    sign = {"payment": 1, "credit_note": 1, "write_off": 0, "reversal": -1}
    received = sum(sign[k] * c for k, c in zip(lines["kind"], lines["amount_cents"], strict=True))
    used = steps.cents[steps.kind != SETTLEMENT_KINDS.index("write_off")].sum()
    is_disputed = np.isin(then.invoice_id, disputes["invoice_id"][disputes["closed_on"] == NEVER])
    days = as_of - 1 - then.invoices.due_on
    overdue = (days > 0) & ~is_disputed & (balance > 0)
    still = orders["closed_on"] == NEVER
    return Exposure(
        balance.sum(),
        max(0, received - used),
        (orders["amount_cents"] - orders["deposit_cents"])[still].sum(),
        balance[is_disputed].sum(),
        balance[overdue].sum(),
        days[overdue].max(initial=0),
    )


def slow_changes(facts: Facts, customer: str, as_of: int) -> tuple:
    rows = versions(facts, "customer_changes", customer, as_of)
    rows = rows[rows["changed_on"] < as_of]
    rows = rows.sort_values(["changed_on", "recorded_at", "change_id"])
    last = dict(zip(rows["kind"], rows["value"].astype(object), strict=True))
    last = {kind: None if pd.isna(value) else value for kind, value in last.items()}
    importance = last.get("strategic_importance") or "normal"
    return last.get("group"), importance, last.get("bank_details") == "unverified"


def slow_cover(facts: Facts, customer: str, as_of: int) -> tuple[int, bool]:
    rows = versions(facts, "insurance_covers", customer, as_of)
    rows = rows[rows["starts_on"] < as_of]
    known = np.maximum(rows["starts_on"], rows["recorded_at"] // MICROSECONDS_A_DAY)
    rows = rows.assign(known=known).sort_values(["known", "recorded_at", "cover_id"])
    running = rows[rows["ends_on"] >= as_of - 1]
    if running.empty:
        return 0, False
    amount = int(running["amount_cents"].iloc[-1])
    before = rows.loc[: running.index[-1], "amount_cents"].iloc[:-1]
    return amount, amount == 0 and bool((before > 0).any())


def slow_purchases(facts: Facts, customer: str, as_of: int) -> int:
    rows = versions(facts, "invoices", customer, as_of)
    known = np.maximum(rows["issued_on"], rows["recorded_at"] // MICROSECONDS_A_DAY)
    return int(rows["amount_cents"][(known < as_of) & (known >= as_of - 365)].sum())


def test_random_ledgers_have_what_the_laws_speak_of():
    """Orders open and closed, changes of each kind, something disputed, unapplied and overdue."""
    seen = np.zeros(len(Exposure._fields), int)
    groups: set = set()
    rng = np.random.default_rng(3)

    @given(raw_tables())
    @settings(max_examples=60, database=None, derandomize=True)
    def look(tables):
        known = history.build(facts_of(ledger_of(tables)))
        codes = np.arange(known.customers.size)
        found = positions(known, codes, START + rng.integers(0, 500, codes.size))
        seen[:] += np.array([(column > 0).sum() for column in found.exposure])
        groups.update(found.group.tolist(), found.strategic_importance.tolist())

    look()
    assert (seen > 3).all(), seen
    assert {"G1", "G2", "key", "important", None} <= groups
