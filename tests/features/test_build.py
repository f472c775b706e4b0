"""The feature matrix against a slow reference, and the laws of time and of identity."""

import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

import hypothesis
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import history
from features.build import build, customer_spine, feature_names, invoice_spine
from features.history import FOREVER, MICROSECONDS_A_DAY, NEVER, facts_of, first_day
from features.importers.mapping import KINDS
from features.importers.tabular import load_mapping
from features.importers.tabular import read as read_file
from features.ledger import INSOLVENCY_KINDS, TABLES, check
from features.simulator import Simulation, simulate
from features.store import Source, Store, sqlite_url
from tests.features import reference
from tests.features.ledgers import (
    AS_OF,
    START,
    corrected,
    day,
    is_known,
    known_before,
    ledger_of,
    moments,
    raw_tables,
    read_tables,
)

ROOT = Path(__file__).parents[2]
RECEIVABLES = ROOT.parent / "shared" / "data" / "receivables_2018_2019.csv"
NAMES = feature_names(with_order=False)
DATES = st.lists(AS_OF, min_size=1, max_size=5)
CORRECTIONS = st.sampled_from([0, 0.1, 0.3]).flatmap(
    lambda share: st.tuples(st.just(share), st.integers(0, 2**32 - 1))
)
A_DAY = MICROSECONDS_A_DAY
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


def chosen(facts, keep):
    """Rows of each table that `keep` of its name and its columns says."""
    masks = {name: keep(name, rows) for name, rows in facts.items()}
    return {name: {c: v[masks[name]] for c, v in rows.items()} for name, rows in facts.items()}


def put_together(*parts):
    """Rows of several facts, by table."""
    return {
        name: {c: np.concatenate([part[name][c] for part in parts]) for c in rows}
        for name, rows in parts[0].items()
    }


# --- Corrected rows ----------------------------------------------------------------------

LATER_BY_DAYS = [0, 1, 1, 3, 40, 100, 200]


def _times(cents, rng):
    return np.maximum(cents * rng.choice([0.5, 0.99, 1.01, 2], cents.size), 1).astype(np.int64)


def _ended(dates, rng):
    """End what runs, and let what ended run on, end sooner or later."""
    ends = np.where(dates == NEVER, START + rng.integers(0, 700, dates.size), dates)
    moved = ends + rng.choice([0, 30, -30, 200], dates.size)
    return np.where(rng.random(dates.size) < 0.2, NEVER, moved).astype(np.int32)


def _later(dates, rng):
    return (dates + rng.choice([0, 5, 30, 90], dates.size)).astype(np.int32)


def _other(kinds):
    return lambda values, rng: rng.choice(np.array(kinds, object), values.size)


def _other_rate(rates, rng):
    return rng.choice([0.5, 0.7, 0.95], rates.size)


WRITTEN_ANEW = {
    "customers": {"sector": _other(["4321A", "4669B", None])},
    "invoices": {"amount_cents": _times, "due_on": _later},
    "settlements": {"amount_cents": _times, "settled_on": _later},
    "disputes": {"closed_on": _ended},
    "insurance_covers": {"ends_on": _ended, "amount_cents": _times, "insured_rate": _other_rate},
    "credit_limits": {"amount_cents": _times},
    "insolvency_events": {"kind": _other(INSOLVENCY_KINDS)},
    "financial_statements": {"equity_cents": lambda v, rng: v * rng.choice([0.5, 2], v.size)},
    "orders": {"closed_on": _ended, "amount_cents": _times},
    "customer_changes": {"value": _other(["G1", "G2", "unverified", "key", None])},
}


def with_corrections(facts, share, rng):
    """Write a `share` of the rows anew, once or twice, each version some days after the one before.

    Some on the very instant, some at midnight, some within the day.
    """
    facts = {name: dict(rows) for name, rows in facts.items()}
    for name, written_anew in WRITTEN_ANEW.items():
        for _ in range(2):
            rows = facts[name]
            old = np.flatnonzero(
                (rows["until_at"] == FOREVER) & (rng.random(rows["until_at"].size) < share)
            )
            anew = {column: values[old] for column, values in rows.items()}
            for column, write in written_anew.items():
                anew[column] = write(anew[column], rng).astype(rows[column].dtype)
            later = rng.choice(LATER_BY_DAYS, old.size) * A_DAY
            later += rng.choice([0, 3_600_000_000], old.size)
            anew["since_at"] = anew["since_at"] + later
            rows["until_at"] = rows["until_at"].copy()
            rows["until_at"][old] = anew["since_at"]
            together = {c: np.concatenate([v, anew[c]]) for c, v in rows.items()}
            keys = (together[TABLES[name].key], together["customer_id"])
            order = np.lexsort((together["since_at"], *(k.astype(str) for k in keys)))
            facts[name] = {c: v[order] for c, v in together.items()}
    return facts


# --- Two implementations -----------------------------------------------------------------


def assert_agree(facts, as_of, others=("nobody",)):
    """Compare the compiled features of every customer with the reference, at each date."""
    known, seen = history.build(facts), reference.first_seen(facts)
    for date in as_of:
        state = reference.state(facts, date, seen, others)
        expected = reference.features(state, date, known.observed_from)
        assert tuple(expected) == NAMES
        found = pd.DataFrame(describe(known, expected.index, [date]), expected.index, NAMES)
        pd.testing.assert_frame_equal(found, expected, rtol=1e-9, atol=1e-9, obj=f"as of {date}")


@given(moments(), st.lists(AS_OF, max_size=2), CORRECTIONS)
@settings(max_examples=16, deadline=None)
def test_the_compiled_families_agree_with_the_slow_reference(moment, dates, corrections):
    tables, as_of = moment
    share, seed = corrections
    facts = with_corrections(facts_of(ledger_of(tables)), share, np.random.default_rng(seed))
    assert_agree(facts, [as_of, *dates])


ODD = Simulation(
    invoices=2_000,
    seed=11,
    invoices_per_customer=30,
    newcomer_rate=0.5,
    crisis_rate=0.3,
    slip_rate=0.3,
    slip_days=20,
    give_up_rate=0.02,
    instalment_rate=0.15,
    bounce_rate=0.1,
    residue_rate=0.1,
    overpayment_rate=0.1,
    deposit_rate=0.1,
    dispute_rate=0.15,
    credit_note_rate=0.1,
    unallocated_rate=0.15,
    backdated_rate=0.2,
    duplicate_rate=0.05,
)


@cache
def simulated_facts(invoices, share):
    """Facts of a ledger full of oddities, a `share` of them corrected, with limits besides."""
    rng = np.random.default_rng(5)
    tables = simulate(Simulation(**(vars(ODD) | {"invoices": invoices}))).tables
    customers = tables["customers"]["customer_id"]
    limited = customers.sample(frac=0.7, random_state=1).repeat(2).reset_index(drop=True)
    days = pd.to_timedelta(rng.integers(0, 2_000, limited.size), unit="D")
    tables["credit_limits"] = pd.DataFrame(
        {
            "limit_id": [f"L{i:04d}" for i in range(limited.size)],
            "customer_id": limited,
            "decided_on": pd.Timestamp("2020-01-01") + days,
            "amount_cents": rng.choice([0, 500_000, 2_000_000], limited.size),
        }
    )
    ledger, rejects = check(tables, "EUR")
    assert set(rejects["reason"]) == {"duplicate"}
    return with_corrections(facts_of(ledger), share, rng)


@pytest.mark.parametrize("share", [0, 0.03])
def test_they_agree_on_a_simulated_ledger_full_of_oddities(share):
    dates = pd.date_range("2020-04-01", "2026-01-31", periods=10).floor("D")
    as_of = (dates - pd.Timestamp(0)).days.tolist()
    assert_agree(simulated_facts(2_000, share), as_of)


def test_the_simulated_ledger_sets_every_feature_to_more_than_one_value():
    facts = simulated_facts(2_000, 0.03)
    known = history.build(facts)
    dates = range(day("2021-06-01"), day("2026-01-01"), 100)
    X = pd.DataFrame(describe(known, known.customers, dates), columns=NAMES)
    assert [name for name in NAMES if X[name].nunique() < 2] == []


def test_they_agree_on_the_real_receivables():
    if not RECEIVABLES.exists():
        pytest.skip("../shared/data/receivables_2018_2019.csv is absent: real data is not shipped")
    mapping = load_mapping(ROOT / "mappings" / "receivables.yaml")
    facts = facts_of(read_file(RECEIVABLES, mapping).ledger)
    assert_agree(facts, [day("2019-03-04"), day("2019-07-18"), day("2020-01-02")])


@given(raw_tables(), CORRECTIONS, st.data())
@settings(max_examples=5, deadline=None)
def test_an_invoice_agrees_with_the_slow_reference(tables, corrections, data):
    share, seed = corrections
    facts = with_corrections(facts_of(ledger_of(tables)), share, np.random.default_rng(seed))
    known, seen = history.build(facts), reference.first_seen(facts)
    (index,) = data.draw(st.lists(st.sampled_from(known.current.tolist()), min_size=1, max_size=1))
    found = build(known, invoice_spine(known, np.array([index])))[0]
    rows = pd.DataFrame(facts["invoices"])
    is_first = rows["since_at"] == rows["recorded_at"]
    invoice = rows[(rows["invoice_id"] == known.invoice_id[index]) & is_first]
    issued = int(invoice["issued_on"].iloc[0])
    state = reference.state(facts, issued, seen)
    own = reference.features(state, issued, known.observed_from).loc[invoice["customer_id"].iloc[0]]
    columns = invoice[["amount_cents", "issued_on", "due_on"]].to_numpy().T
    order = reference.order(*columns, own[["purchases_typical_amount"]].to_numpy())
    paid = state.closings[state.closings["stands"]]
    paid = paid[paid["customer_id"] == invoice["customer_id"].iloc[0]]
    alike = reference.alike(paid, issued, columns[2][0], columns[0][0])
    expected = pd.concat([own, order.iloc[0], alike])
    assert tuple(expected.index) == feature_names(with_order=True)
    np.testing.assert_allclose(found, expected.to_numpy(float), rtol=1e-9, atol=1e-9)


# --- Time --------------------------------------------------------------------------------


@st.composite
def corrected_moments(draw):
    """Draw facts, some of them corrected, their customers, and a date near some fact."""
    tables, as_of = draw(moments())
    share, seed = draw(CORRECTIONS)
    facts = with_corrections(facts_of(ledger_of(tables)), share, np.random.default_rng(seed))
    return facts, tables["customers"]["customer_id"], as_of


@given(corrected_moments())
@settings(max_examples=60, deadline=None)
def test_removing_what_happened_or_was_recorded_from_a_date_on_changes_no_feature(moment):
    facts, customers, as_of = moment
    then = at(known_before(facts, as_of), customers, [as_of])
    assert same_bits(at(facts, customers, [as_of]), then)


@given(corrected_moments(), st.integers(2, 9), st.integers(0, 40), st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_altering_later_facts_changes_no_feature(moment, times, delay, turn):
    facts, customers, as_of = moment
    altered = {n: _altered(facts, n, as_of, times, delay, turn) for n in facts}
    then, now = at(facts, customers, [as_of]), at(altered, customers, [as_of])
    assert same_bits(then, now)


def _altered(facts, name, as_of, times, delay, turn):
    """Write otherwise, and later, what was not yet known of a table."""
    rows, happened_on, midnight = dict(facts[name]), TABLES[name].happened_on, as_of * A_DAY
    later = ~is_known(facts, name, as_of)
    for column in ("recorded_at", "since_at", "until_at"):
        moves = (rows[column] >= midnight) & (rows[column] < FOREVER)
        rows[column] = np.where(moves, rows[column] + delay * A_DAY, rows[column])
    for column, values in rows.items():
        if column == "closed_on" and name in (
            "disputes",
            "orders",
        ):  # said in advance, not known before
            moves = (values >= as_of) & (values < NEVER)
            other = np.where(moves, values + delay, values)
        elif column.endswith("_on"):
            moves = later & (values < NEVER) & (name != "customers")
            other = np.where(moves, values + delay, values)
        elif column.endswith("_cents"):
            other = np.where(later, values * times, values)
        elif column in ("sector", "country"):
            other = np.where(later, "another", values)
        elif column == "kind":
            kinds = KINDS[name]
            turned = [kinds[(kinds.index(k) + turn) % len(kinds)] for k in values]
            other = np.where(later, np.array(turned, object), values)
        else:
            continue
        rows[column] = other.astype(values.dtype)
    assert happened_on is None or later.sum() == (~is_known({name: rows}, name, as_of)).sum()
    return rows


@given(corrected_moments(), raw_tables())
@settings(max_examples=20, deadline=None)
def test_adding_later_facts_changes_no_feature(moment, more):
    facts, customers, as_of = moment
    added = facts_of(ledger_of(_renumbered(more, "X")))
    here = {*facts["customers"]["customer_id"]}
    later = chosen(
        added,
        lambda name, rows: (
            ~is_known(added, name, as_of)
            & ((name != "customers") | np.array([c not in here for c in rows["customer_id"]], bool))
        ),
    )
    both = put_together(facts, later)
    assert same_bits(at(facts, customers, [as_of]), at(both, customers, [as_of]))


def _renumbered(tables, prefix):
    """Give every fact but customers another number, so that two ledgers can be put together."""
    tables = {name: rows.copy() for name, rows in tables.items()}
    keys = {table.key for table in TABLES.values()} - {"customer_id"}
    for name, rows in tables.items():
        for column in keys & set(rows):
            tables[name][column] = (prefix + rows[column]).where(rows[column].notna(), None)
    return tables


FRIDAY_THE_15TH = {
    "an invoice": """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-03-15 | 2024-04-15 | 300
    """,
    "a payment in full": """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-03-01 | 2024-03-15 | 300

    settled_on | invoice | amount
    2024-03-15 | F1      | 300
    """,
    "a bounced debit": """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-03-01 | 2024-03-11 | 300

    settled_on | invoice | amount | kind
    2024-03-11 | F1      | 300    | payment
    2024-03-15 | F1      | 300    | reversal
    """,
    "a dispute that opens": """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-03-01 | 2024-03-11 | 300

    dispute_id | invoice | opened_on
    D1         | F1      | 2024-03-15
    """,
    "a dispute that closes": """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-03-01 | 2024-03-11 | 300

    dispute_id | invoice | opened_on  | closed_on
    D1         | F1      | 2024-03-04 | 2024-03-15
    """,
    "a cover": """
    cover_id | starts_on  | ends_on | amount | insured_rate
    K1       | 2024-03-15 |         | 1000   | 0.9
    """,
    "the end of a cover, learned that day": """
    cover_id | starts_on  | ends_on    | amount | insured_rate | recorded_at
    K1       | 2024-03-01 |            | 1000   | 0.9          | 2024-03-01
    K1'      | 2024-03-01 | 2024-03-08 | 1000   | 0.9          | 2024-03-15
    """,
    "a credit limit": """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-03-01 | 2024-03-11 | 300

    limit_id | decided_on | amount
    L1       | 2024-03-15 | 1000
    """,
    "accounts": """
    statement_id | closed_on  | published_on | revenue
    S1           | 2023-12-31 | 2024-03-15   | 1000
    """,
    "a judgment": """
    event_id | kind        | opened_on
    J1       | liquidation | 2024-03-15
    """,
    "a corrected amount": """
    invoice | issued_on  | due_on     | amount | recorded_at
    F1      | 2024-03-01 | 2024-03-11 | 300    | 2024-03-01
    F1'     | 2024-03-01 | 2024-03-11 | 200    | 2024-03-15
    """,
}


@pytest.mark.parametrize("as_of", ["2024-03-16", "2024-03-18"])
@pytest.mark.parametrize("what", FRIDAY_THE_15TH)
def test_a_law_that_looks_one_business_day_less_far_is_seen_to_fail(what, as_of):
    """Negative control: something is known on Friday; Saturday and Monday look back to it."""
    facts = _docstring_facts(FRIDAY_THE_15TH[what])
    now = at(facts, ["A"], [day(as_of)])
    enough = known_before(facts, day(as_of))
    too_little = known_before(facts, business_day_before(day(as_of)))
    assert same_bits(now, at(enough, ["A"], [day(as_of)]))
    assert not same_bits(now, at(too_little, ["A"], [day(as_of)]))


def test_peers_that_look_one_business_day_less_far_are_seen_to_fail():
    """Negative control: the twentieth payment of the others is known on Friday the 15th."""
    facts = _docstring_facts("""
        customer | sector | country
        A        | 4321A  | FR
        B        | 4321A  | FR

        customer | invoice | due_on     | settled_on | amount | issued_on
        B        | F0      | 2023-02-20 |            | 100    | 2023-02-01
        B        | F1      | 2024-03-11 | 2024-03-15 | 100    | 2024-03-01
    """)
    for i in range(2, 21):  # nineteen more, the Monday before
        one = _docstring_facts(f"""
            customer | invoice | due_on     | settled_on | amount | issued_on
            B        | F{i}    | 2024-03-04 | 2024-03-11 | 100    | 2024-03-01
        """)
        one = chosen(one, lambda name, rows: np.full(len(rows["customer_id"]), name != "customers"))
        facts = put_together(facts, one)
    as_of = day("2024-03-18")
    too_little = known_before(facts, business_day_before(as_of))
    rates = [dict(zip(NAMES, at(f, ["A"], [as_of])[0], strict=True)) for f in (facts, too_little)]
    assert [r["peers_late_rate"] for r in rates] == pytest.approx([1, np.nan], nan_ok=True)


def _docstring_facts(text):
    return corrected(facts_of(ledger_of(read_tables(text))))


def test_random_ledgers_are_rich_enough_to_see_one_business_day_too_many():
    def changes(moment):
        facts, customers, as_of = moment
        too_early = known_before(facts, business_day_before(as_of))
        return not same_bits(at(facts, customers, [as_of]), at(too_early, customers, [as_of]))

    _find(corrected_moments(), changes)


def test_random_ledgers_are_rich_enough_to_see_a_correction_before_it_was_made():
    def changes(moment):
        facts, customers, as_of = moment
        final = chosen(facts, lambda _, rows: rows["until_at"] == FOREVER)
        for rows in final.values():
            rows["since_at"] = rows["recorded_at"]
        return not same_bits(at(facts, customers, [as_of]), at(final, customers, [as_of]))

    _find(corrected_moments(), changes)


def _find(moments, holds):
    generate = [hypothesis.Phase.generate]
    how = settings(max_examples=100, phases=generate, database=None, derandomize=True)
    hypothesis.find(moments.map(Quiet), lambda quiet: holds(quiet.moment), settings=how)


class Quiet(NamedTuple):
    """A drawn moment whose repr is short: Hypothesis warns of long ones."""

    moment: tuple

    def __repr__(self) -> str:
        return "a moment"


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
def test_other_names_for_customers_payments_sectors_and_countries_change_nothing(
    tables, as_of, turn
):
    ids = tables["customers"]["customer_id"]
    other_name = {c: f"{(int(c[1:]) * 7 + turn) % 53:02d}" for c in ids}
    other = {name: rows.copy() for name, rows in tables.items()}
    for rows in other.values():
        rows["customer_id"] = rows["customer_id"].map(other_name)
    places = np.arange(len(tables["settlements"]))[::-1]
    other["settlements"]["settlement_id"] = [f"R{place:03d}" for place in places]
    for column, names in (("sector", {"4321A": "Z", "4669B": "A"}), ("country", {"FR": "AT"})):
        other["customers"][column] = other["customers"][column].replace(names)
    before = at(facts_of(ledger_of(_numbered(tables))), ids, as_of)
    assert same_bits(before, at(facts_of(ledger_of(other)), ids.map(other_name), as_of))


@given(raw_tables(), raw_tables(), DATES, CORRECTIONS)
@few
def test_an_unrelated_customer_of_another_sector_changes_nothing(
    tables, others, as_of, corrections
):
    ids = tables["customers"]["customer_id"]
    others = _renumbered(others, "X")
    for rows in others.values():
        rows["customer_id"] = "B" + rows["customer_id"]
    others["customers"]["sector"] = "X" + others["customers"]["sector"]
    share, seed = corrections
    facts, more = (facts_of(ledger_of(part)) for part in (tables, others))
    facts = with_corrections(facts, share, np.random.default_rng(seed))
    more = with_corrections(more, share, np.random.default_rng(seed + 1))
    more["customers"]["sector"][:] = "elsewhere"  # in every version
    observed_from = first_day(facts)  # of the whole ledger, which an older customer may put back
    together = at(put_together(facts, more), ids, as_of, observed_from)
    assert same_bits(at(facts, ids, as_of, observed_from), together)


PEERS = [NAMES.index(name) for name in NAMES if name.startswith("peers_")]


@given(raw_tables(), DATES, CORRECTIONS)
@few
def test_what_a_customer_does_is_not_among_his_own_peers(tables, as_of, corrections):
    share, seed = corrections
    facts = with_corrections(facts_of(ledger_of(tables)), share, np.random.default_rng(seed))
    since = first_day(facts)
    for customer in tables["customers"]["customer_id"]:
        idle = chosen(
            facts,
            lambda name, rows, customer=customer: np.array(
                [name == "customers" or c != customer for c in rows["customer_id"]], bool
            ),
        )
        active, idle = (at(f, [customer], as_of, since)[:, PEERS] for f in (facts, idle))
        assert same_bits(np.ascontiguousarray(active), np.ascontiguousarray(idle))


def test_without_a_customer_nothing_changes_for_others_but_their_peers():
    """Negative control for the laws above."""
    facts = simulated_facts(2_000, 0)
    rows = pd.DataFrame(facts["customers"])
    alike = rows.groupby(["sector", "country"])["customer_id"].agg(list)
    customer, *others = max(alike, key=len)
    without = chosen(facts, lambda _, rows: rows["customer_id"] != customer)
    as_of, since = [day("2023-06-01"), day("2024-06-01")], first_day(facts)
    X, Y = (at(f, others, as_of, since) for f in (facts, without))
    changed = ~np.isclose(X, Y, rtol=0, atol=0, equal_nan=True).all(axis=0)
    assert np.flatnonzero(changed).tolist() == PEERS


def _numbered(tables):
    settlements = tables["settlements"]
    numbers = [f"R{i:03d}" for i in range(len(settlements))]
    return tables | {"settlements": settlements.assign(settlement_id=numbers)}


def _shuffled(rows, random):
    order = list(range(len(rows)))
    random.shuffle(order)
    return rows.iloc[order].reset_index(drop=True)


# --- Batch and service -------------------------------------------------------------------


def _own(facts, customer):
    return chosen(facts, lambda _, rows: rows["customer_id"] == customer)


@given(raw_tables(), DATES, CORRECTIONS)
@few
def test_one_customers_history_gives_the_bits_of_the_batch(tables, as_of, corrections):
    share, seed = corrections
    facts = with_corrections(facts_of(ledger_of(tables)), share, np.random.default_rng(seed))
    batch = history.build(facts)
    for customer in tables["customers"]["customer_id"]:
        alone = history.build(_own(facts, customer), batch.observed_from, peers=batch.peers)
        assert same_bits(describe(alone, [customer], as_of), describe(batch, [customer], as_of))


def test_ten_thousand_rows_of_one_customer_alone_have_the_bits_of_the_batch():
    facts, rng = simulated_facts(15_000, 0.02), np.random.default_rng(9)
    batch = history.build(facts)
    drawn = rng.integers(0, len(batch.customers), 10_000)
    as_of = rng.integers(batch.observed_from, day("2026-02-01"), 10_000).astype(np.int32)
    expected = build(batch, customer_spine(drawn, as_of))
    for code in np.unique(drawn):
        customer = batch.customers[code]
        own = _own(facts, customer)
        alone = history.build(own, batch.observed_from, peers=batch.peers)
        for row in np.flatnonzero(drawn == code):
            spine = customer_spine(alone.codes([customer]), as_of[row : row + 1])
            assert same_bits(build(alone, spine)[0], expected[row]), (customer, as_of[row])


@given(raw_tables(), DATES, st.integers(0, 60))
@settings(max_examples=10, deadline=None)
def test_what_the_service_reads_gives_the_bits_of_the_batch(tables, as_of, later):
    customers = [*tables["customers"]["customer_id"], "nobody"]
    anew = tables["invoices"].iloc[::3].copy()
    anew["amount_cents"] += 1_000
    anew["recorded_at"] = anew[["recorded_at", "issued_on"]].max(axis=1) + pd.Timedelta(days=later)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(sqlite_url(Path(folder) / "facts.db"), "EUR")
        store.append(ledger_of(tables), Source(()))
        store.append(ledger_of({"invoices": anew}), Source(()))
        batch = history.build(store.read(versions=True))
        observed_from, peers = store.ledger.observed_from, batch.peers
        assert batch.observed_from == observed_from
        for customer in customers:
            expected = describe(batch, [customer], as_of)
            alone = history.build(store.read(customer, versions=True), observed_from, peers)
            assert same_bits(describe(alone, [customer], as_of), expected)
            then = store.read(customer, as_of[0] * A_DAY, versions=True)
            alone = history.build(then, observed_from, peers)
            assert same_bits(describe(alone, [customer], as_of[:1])[0], expected[0])


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
    *("open_exposure", "open_invoices", "open_longest_overdue_days", "open_oldest_days"),
    *("purchases_invoices_90", "purchases_amount_90"),
    *("purchases_invoices_365", "purchases_amount_365"),
    *("payments_bounces_365", "disputes_open_invoices"),
    *("legal_insolvency", "legal_liquidation"),
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
    assert row.pop("relation_first_orders") == 1
    assert {name for name, value in row.items() if value == 0} == ZERO_WITHOUT_FACTS
    assert all(np.isnan(row[name]) for name in row if name not in ZERO_WITHOUT_FACTS)


YEAR = [
    *("mean_days_late", "median_days_late", "p90_days_late", "spread_days", "late_15_rate"),
    *("late_60_rate", "late_90_rate", "trend_days", "partial_rate", "residue_rate"),
]
SETTLED = ["invoices", "days_beyond_terms", "late_rate", "late_30_rate"]
WINDOWED = {
    30: [f"settled_30_{f}" for f in SETTLED],
    90: [
        *(f"settled_90_{f}" for f in SETTLED),
        *("purchases_invoices_90", "purchases_amount_90"),
    ],
    180: [*(f"settled_180_{f}" for f in SETTLED), "cover_cut_180"],
    360: ["purchases_volatility", "purchases_dso_days"],
    365: [
        *(f"settled_365_{f}" for f in SETTLED),
        *(f"year_{f}" for f in YEAR),
        *("purchases_invoices_365", "purchases_amount_365", "purchases_trend"),
        *("payments_interval_days", "payments_irregularity_days"),
        *("payments_unallocated_rate", "payments_bounces_365"),
        *("disputes_rate_365", "disputes_late_disputed_rate", "disputes_credit_note_rate"),
        *("relation_beyond_law_rate", "peers_late_rate", "peers_late_30_rate"),
    ],
}


@pytest.mark.parametrize("window", WINDOWED)
@pytest.mark.parametrize("customer", ["A", "nobody"])
def test_a_window_longer_than_the_observed_history_is_missing(features_at, window, customer):
    """
    customer | sector | country
    A        | 4321A  | FR
    B        | 4321A  | FR

    due_on     | settled_on | amount
    2024-03-01 | 2024-03-10 | 500
    2024-03-11 | 2024-03-11 | 500
    2024-03-12 | 2024-03-12 | 500

    customer | settled_on | amount | times
    B        | 2024-03-01 | 2000   | 1

    customer | invoice | issued_on  | due_on     | amount
    B        | B1      | 2024-02-01 | 2024-02-29 | 100
    B        | B2      | 2024-02-01 | 2024-02-29 | 100
    B        | B3      | 2024-02-01 | 2024-02-29 | 100
    B        | B4      | 2024-02-01 | 2024-02-29 | 100
    B        | B5      | 2024-02-01 | 2024-02-29 | 100
    B        | B6      | 2024-02-01 | 2024-02-29 | 100
    B        | B7      | 2024-02-01 | 2024-02-29 | 100
    B        | B8      | 2024-02-01 | 2024-02-29 | 100
    B        | B9      | 2024-02-01 | 2024-02-29 | 100
    B        | B10     | 2024-02-01 | 2024-02-29 | 100
    B        | B11     | 2024-02-01 | 2024-02-29 | 100
    B        | B12     | 2024-02-01 | 2024-02-29 | 100
    B        | B13     | 2024-02-01 | 2024-02-29 | 100
    B        | B14     | 2024-02-01 | 2024-02-29 | 100
    B        | B15     | 2024-02-01 | 2024-02-29 | 100
    B        | B16     | 2024-02-01 | 2024-02-29 | 100
    B        | B17     | 2024-02-01 | 2024-02-29 | 100
    B        | B18     | 2024-02-01 | 2024-02-29 | 100
    B        | B19     | 2024-02-01 | 2024-02-29 | 100
    B        | B20     | 2024-02-01 | 2024-02-29 | 100

    cover_id | starts_on  | ends_on | amount | insured_rate
    K1       | 2024-03-01 |         | 1000   | 0.9
    """
    observed_from = str(pd.Timestamp("2024-03-14") - pd.Timedelta(days=window))[:10]
    enough = vars(features_at("2024-03-14", customer, observed_from))
    short = vars(features_at("2024-03-13", customer, observed_from))
    assert all(np.isnan(short[name]) for name in WINDOWED[window])
    assert not any(np.isnan(enough[name]) for name in WINDOWED[window] if customer == "A")
    assert not any(np.isnan(enough[name]) for name in ZERO_WITHOUT_FACTS & {*WINDOWED[window]})


def test_these_are_all_the_windows_and_zeros_of_the_reference():
    assert {n: w for w, names in WINDOWED.items() for n in names} == reference.WINDOW_OF
    assert set(reference.ZERO_WHEN_NOTHING) == ZERO_WITHOUT_FACTS


def test_an_empty_ledger_has_rows_and_knows_nothing():
    known = history.build(facts_of(ledger_of({})))
    assert known.observed_from == NEVER
    row = dict(zip(NAMES, describe(known, ["nobody"], [START])[0], strict=True))
    assert {n for n, v in row.items() if not np.isnan(v)} == {
        *("open_exposure", "open_invoices", "open_longest_overdue_days", "open_oldest_days"),
        *("disputes_open_invoices", "relation_first_orders"),
        *("legal_insolvency", "legal_liquidation"),
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
