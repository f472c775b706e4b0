"""The feature matrix against a slow reference, and the laws of time and of identity."""

import tempfile
from pathlib import Path

import hypothesis
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import history
from features.build import build, customer_spine, feature_names, invoice_spine
from features.history import MICROSECONDS_A_DAY, NEVER, facts_of, first_day
from features.ledger import SETTLEMENT_KINDS, TABLES, check
from features.store import Source, Store, sqlite_url
from tests.features import reference
from tests.features.ledgers import (
    AS_OF,
    START,
    day,
    is_known,
    known_before,
    ledger_of,
    moments,
    raw_tables,
    read_tables,
)

NAMES = feature_names(with_order=False)
DATES = st.lists(AS_OF, min_size=1, max_size=5)
few = settings(max_examples=10, deadline=None)


def describe(known, customers, as_of):
    """Features of each customer at each date, in the order customer × date."""
    pairs = [(code, date) for code in known.codes(np.array(customers, object)) for date in as_of]
    codes, dates = np.array(pairs, np.int64).T
    return build(known, customer_spine(codes, dates.astype(np.int32)))


def at(facts, customers, as_of, observed_from=None):
    return describe(history.build(facts, observed_from), customers, as_of)


def same_bits(left, right):
    return left.tobytes() == right.tobytes()


def business_day_before(as_of):
    """Give the last business day before `as_of`, in days."""
    return int(np.busday_offset(np.datetime64(as_of, "D"), -1, roll="forward").astype(int))


# --- Two implementations -----------------------------------------------------------------


@given(moments(), DATES)
@settings(max_examples=40, deadline=None)
def test_the_compiled_families_agree_with_the_slow_reference(moment, dates):
    tables, as_of = moment[0], [moment[1], *dates]
    ledger = ledger_of(tables)
    facts = facts_of(ledger)
    customers = [*tables["customers"]["customer_id"], "nobody"]
    X = at(facts, customers, as_of)
    since = pd.Timestamp(first_day(facts), unit="D")
    rows = [(c, pd.Timestamp(d, unit="D")) for c in customers for d in as_of]
    expected = pd.DataFrame([reference.features(ledger, c, d, since) for c, d in rows])
    assert tuple(expected) == NAMES
    np.testing.assert_allclose(X, expected.to_numpy(float), rtol=1e-9, atol=1e-9, equal_nan=True)


# --- Time --------------------------------------------------------------------------------


@given(moments())
@settings(max_examples=40, deadline=None)
def test_removing_what_happened_or_was_recorded_from_a_date_on_changes_no_feature(moment):
    tables, as_of = moment
    facts, customers = facts_of(ledger_of(tables)), tables["customers"]["customer_id"]
    then = at(known_before(facts, as_of), customers, [as_of])
    assert same_bits(at(facts, customers, [as_of]), then)


@given(moments(), st.integers(2, 9), st.integers(0, 40), st.integers(0, 3))
@few
def test_altering_later_facts_changes_no_feature(moment, times, delay, turn):
    tables, as_of = moment
    facts, customers = facts_of(ledger_of(tables)), tables["customers"]["customer_id"]
    altered = {name: dict(rows) for name, rows in facts.items()}
    for name, rows in altered.items():
        later, happened_on = ~is_known(facts, name, as_of), TABLES[name].happened_on
        if name == "customers":
            continue
        rows[happened_on] = np.where(later, rows[happened_on] + delay, rows[happened_on])
        rows["recorded_at"] = rows["recorded_at"] + later * delay * MICROSECONDS_A_DAY
        for column in {"due_on", "amount_cents"} & set(rows):
            rows[column] = np.where(later, rows[column] * times, rows[column])
        if name == "settlements":
            turned = [
                SETTLEMENT_KINDS[(SETTLEMENT_KINDS.index(k) + turn) % 4] for k in rows["kind"]
            ]
            rows["kind"] = np.where(later, np.array(turned, object), rows["kind"])
    then, now = at(facts, customers, [as_of]), at(altered, customers, [as_of])
    assert same_bits(then, now)


@given(moments(), raw_tables())
@few
def test_adding_later_facts_changes_no_feature(moment, more):
    tables, as_of = moment
    facts, customers = facts_of(ledger_of(tables)), tables["customers"]["customer_id"]
    added = facts_of(ledger_of(_renumbered(more, "X")))
    later = {
        name: {c: v[~is_known(added, name, as_of)] for c, v in rows.items()}
        for name, rows in added.items()
    }
    both = {
        name: {c: np.concatenate([v, later[name][c]]) for c, v in rows.items()}
        for name, rows in facts.items()
    }
    assert same_bits(at(facts, customers, [as_of]), at(both, customers, [as_of]))


def _renumbered(tables, prefix):
    """Give invoices and disputes other numbers, so that two ledgers can be put together."""
    tables = {name: rows.copy() for name, rows in tables.items()}
    for name, rows in tables.items():
        for column in {"invoice_id", "dispute_id"} & set(rows):
            tables[name][column] = (prefix + rows[column]).where(rows[column].notna(), None)
    return tables


FRIDAY_PAYMENT = """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-03-01 | 2024-03-15 | 300

    settled_on | invoice | amount
    2024-03-15 | F1      | 300
    """


@pytest.mark.parametrize("as_of", ["2024-03-16", "2024-03-18"])
def test_a_law_that_looks_one_business_day_less_far_is_seen_to_fail(as_of):
    """Negative control: paid on Friday 15th; Saturday and Monday look back to that Friday."""
    facts = facts_of(ledger_of(read_tables(FRIDAY_PAYMENT)))
    too_early = known_before(facts, business_day_before(day(as_of)))
    assert same_bits(
        at(facts, ["A"], [day(as_of)]), at(known_before(facts, day(as_of)), ["A"], [day(as_of)])
    )
    assert not same_bits(at(facts, ["A"], [day(as_of)]), at(too_early, ["A"], [day(as_of)]))


def test_random_ledgers_are_rich_enough_to_see_one_business_day_too_many():
    def changes(moment):
        tables, as_of = moment
        facts, customers = facts_of(ledger_of(tables)), tables["customers"]["customer_id"]
        too_early = known_before(facts, business_day_before(as_of))
        return not same_bits(at(facts, customers, [as_of]), at(too_early, customers, [as_of]))

    hypothesis.find(
        moments(),
        changes,
        settings=settings(max_examples=60, phases=[hypothesis.Phase.generate], database=None),
    )


def test_a_fact_counts_from_the_day_after_it_was_recorded(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-03-01 | 2024-03-15 | 300

    settled_on | invoice | amount | recorded_at
    2024-03-10 | F1      | 300    | 2024-03-20 23:59
    """
    assert features_at("2024-03-20").open_exposure == 300
    assert features_at("2024-03-21").open_exposure == 0
    assert features_at("2024-03-21").latest_days_since == 1  # known on the 20th
    assert (
        features_at("2024-03-21").latest_days_beyond_terms == -5
    )  # paid on the 10th, due on the 15th


def test_the_history_is_observed_from_the_first_day_anything_was_known(known):
    """
    invoice | issued_on  | due_on     | amount | recorded_at
    F1      | 2024-03-01 | 2024-03-31 | 300    | 2024-03-09

    settled_on | invoice | amount | recorded_at
    2024-03-05 |         | 100    | 2024-03-07
    """
    assert known.observed_from == day("2024-03-07")


def test_a_deposit_for_an_invoice_not_known_yet_is_not_spread_over_the_others(features_at):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-03-01 | 2024-03-31 | 300
    F2      | 2024-03-20 | 2024-04-20 | 100

    settled_on | invoice | amount
    2024-03-05 | F2      | 100
    """
    assert features_at("2024-03-10").open_exposure == 300
    assert features_at("2024-03-21").open_exposure == 300
    assert features_at("2024-03-21").open_invoices == 1


# --- Identity and order ------------------------------------------------------------------


@given(raw_tables(), DATES, st.randoms(use_true_random=False), st.booleans())
@few
def test_the_order_of_the_rows_changes_nothing(tables, as_of, random, numbered):
    if numbered:  # else the numbers come from the content
        tables = _numbered(tables)
    shuffled = {name: _shuffled(rows, random) for name, rows in tables.items()}
    customers = tables["customers"]["customer_id"]
    first, second = (at(facts_of(ledger_of(t)), customers, as_of) for t in (tables, shuffled))
    assert same_bits(first, second)


@given(raw_tables(), DATES, st.randoms(use_true_random=False))
@settings(max_examples=8, deadline=None)
def test_rows_that_come_twice_change_nothing(tables, as_of, random):
    tables = _numbered(tables)
    twice = {
        name: _shuffled(pd.concat([rows, rows.sample(frac=0.5, random_state=1)]), random)
        for name, rows in tables.items()
    }
    customers = tables["customers"]["customer_id"]
    once, again = (check(t, "EUR")[0] for t in (tables, twice))
    assert same_bits(at(facts_of(once), customers, as_of), at(facts_of(again), customers, as_of))


@given(raw_tables(), DATES, st.integers(1, 50))
@few
def test_other_numbers_for_customers_and_payments_change_nothing(tables, as_of, turn):
    ids = tables["customers"]["customer_id"]
    other_name = {c: f"{(int(c[1:]) * 7 + turn) % 53:02d}" for c in ids}
    other = {name: rows.copy() for name, rows in tables.items()}
    for rows in other.values():
        rows["customer_id"] = rows["customer_id"].map(other_name)
    places = np.arange(len(tables["settlements"]))[::-1]
    other["settlements"]["settlement_id"] = [f"R{place:03d}" for place in places]
    before = at(facts_of(ledger_of(_numbered(tables))), ids, as_of)
    assert same_bits(before, at(facts_of(ledger_of(other)), ids.map(other_name), as_of))


@given(raw_tables(), raw_tables(), DATES)
@few
def test_an_unrelated_customer_changes_nothing(tables, others, as_of):
    facts, ids = facts_of(ledger_of(tables)), tables["customers"]["customer_id"]
    others = _renumbered(others, "X")
    for rows in others.values():
        rows["customer_id"] = "B" + rows["customer_id"]
    both = {name: pd.concat([tables[name], others[name]], ignore_index=True) for name in tables}
    observed_from = first_day(facts)  # of the whole ledger, which an older customer may put back
    together = at(facts_of(ledger_of(both)), ids, as_of, observed_from)
    assert same_bits(at(facts, ids, as_of, observed_from), together)


def _numbered(tables):
    settlements = tables["settlements"]
    numbers = [f"R{i:03d}" for i in range(len(settlements))]
    return tables | {"settlements": settlements.assign(settlement_id=numbers)}


def _shuffled(rows, random):
    order = list(range(len(rows)))
    random.shuffle(order)
    return rows.iloc[order].reset_index(drop=True)


# --- Batch and service -------------------------------------------------------------------


@given(raw_tables(), DATES)
@few
def test_one_customers_history_gives_the_bits_of_the_batch(tables, as_of):
    facts = facts_of(ledger_of(tables))
    for customer in tables["customers"]["customer_id"]:
        own = {
            name: {c: v[rows["customer_id"] == customer] for c, v in rows.items()}
            for name, rows in facts.items()
        }
        alone = at(own, [customer], as_of, first_day(facts))
        assert same_bits(alone, at(facts, [customer], as_of))


@given(raw_tables(), DATES)
@settings(max_examples=10, deadline=None)
def test_what_the_service_reads_gives_the_bits_of_the_batch(tables, as_of):
    ledger = ledger_of(tables)
    customers = [*tables["customers"]["customer_id"], "nobody"]
    with tempfile.TemporaryDirectory() as folder:
        store = Store(sqlite_url(Path(folder) / "facts.db"), "EUR")
        store.append(ledger, Source(()))
        batch = history.build(store.read())
        observed_from = store.ledger.observed_from
        assert batch.observed_from == observed_from
        for customer in customers:
            alone = at(store.read(customer), [customer], as_of, observed_from)
            assert same_bits(alone, describe(batch, [customer], as_of))
        midnight = as_of[0] * MICROSECONDS_A_DAY
        then = at(store.read(known_at=midnight), customers, as_of[:1])
        assert same_bits(then, describe(batch, customers, as_of[:1]))


@given(raw_tables(), DATES)
@few
def test_a_row_does_not_depend_on_the_other_rows_of_the_spine(tables, as_of):
    known = history.build(facts_of(ledger_of(tables)))
    customers = tables["customers"]["customer_id"]
    together = describe(known, customers, as_of)
    pairs = [(c, d) for c in customers for d in as_of]
    alone = np.vstack([describe(known, [c], [d]) for c, d in pairs])
    backwards = describe(known, customers[::-1], as_of[::-1])[::-1]
    assert same_bits(together, alone)
    assert same_bits(together, np.ascontiguousarray(backwards))


# --- Nothing known -----------------------------------------------------------------------


ZERO_WITHOUT_FACTS = {
    *(f"settled_{w}_invoices" for w in (30, 90, 180, 365)),
    *("open_exposure", "open_invoices", "open_longest_overdue_days"),
    *("purchases_invoices_90", "purchases_amount_90"),
}


@pytest.mark.parametrize("customer", ["nobody", "B"])
def test_a_customer_without_facts_has_counts_of_zero_and_the_rest_missing(features_at, customer):
    """
    customer | name
    A        | Atelier Morel
    B        | known by name only

    customer | due_on     | settled_on | amount
    A        | 2024-03-31 | 2024-04-02 | 500
    """
    row = vars(features_at("2024-05-01", customer))
    assert {name for name, value in row.items() if value == 0} == ZERO_WITHOUT_FACTS
    assert all(np.isnan(row[name]) for name in row if name not in ZERO_WITHOUT_FACTS)


WINDOWED = {
    30: [f"settled_30_{f}" for f in ("invoices", "days_beyond_terms", "late_rate", "late_30_rate")],
    90: ["settled_90_invoices", "purchases_invoices_90", "purchases_amount_90"],
    180: ["settled_180_invoices"],
    365: ["settled_365_invoices", "purchases_trend"],
}


@pytest.mark.parametrize("window", WINDOWED)
@pytest.mark.parametrize("customer", ["A", "nobody"])
def test_a_window_longer_than_the_observed_history_is_missing(features_at, window, customer):
    """
    due_on     | settled_on | amount
    2024-03-11 | 2024-03-12 | 500
    2024-03-13 | 2024-03-13 | 500
    """
    observed_from = str(pd.Timestamp("2024-03-14") - pd.Timedelta(days=window))[:10]
    enough = vars(features_at("2024-03-14", customer, observed_from))
    short = vars(features_at("2024-03-13", customer, observed_from))
    assert all(np.isnan(short[name]) for name in WINDOWED[window])
    assert not any(np.isnan(enough[name]) for name in WINDOWED[window] if customer == "A")
    assert not any(np.isnan(enough[name]) for name in ZERO_WITHOUT_FACTS & {*WINDOWED[window]})


def test_an_empty_ledger_has_rows_and_knows_nothing():
    known = history.build(facts_of(ledger_of({})))
    assert known.observed_from == NEVER
    row = dict(zip(NAMES, describe(known, ["nobody"], [START])[0], strict=True))
    assert {n for n, v in row.items() if not np.isnan(v)} == {
        n for n in row if n.startswith("open_")
    } - {
        "open_overdue_rate",
        "open_overdue_30_rate",
        "open_days_past_due",
    }


# --- The spine of invoices ---------------------------------------------------------------


def test_an_invoice_is_described_as_its_customer_was_on_its_issue_date(known):
    """
    due_on     | settled_on | amount
    2024-03-31 | 2024-04-02 | 500
    2024-04-30 |            | 250
    """
    spine = invoice_spine(known)
    names = feature_names(with_order=True)
    rows = [dict(zip(names, row, strict=True)) for row in build(known, spine)]
    first, second = rows
    assert (first["order_amount"], first["open_exposure"]) == (500, 0)  # not its own exposure
    assert np.isnan(first["order_amount_to_habit"])
    # issued on 31 March: the first is not paid before 2 April
    assert (second["order_amount"], second["open_exposure"]) == (250, 500)
    assert second["order_amount_to_habit"] == 250 / 500
    (chosen,) = build(known, invoice_spine(known, np.array([1])))
    assert same_bits(chosen, build(known, spine)[1])
