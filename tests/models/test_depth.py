"""How much is known of a customer, and what little knowledge does to an interval."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import beta

from features.build import feature_names
from models.depth import (
    LETTERS,
    RECORDS,
    WIDEST_LOG_ODDS,
    abstention,
    family_weights,
    interval,
    letters,
    measure,
    most_helpful,
)

FEATURES = feature_names(with_order=False)
STRANGER = {
    "settled_365_invoices": 0.0,
    "purchases_invoices_365": 0.0,
    "legal_insolvency": 0.0,
    "open_invoices": 0.0,
}


def row(**known: float) -> np.ndarray:
    """Describe a customer of whom a year of ledger holds nothing but `known`."""
    values = {**STRANGER, **known}
    return np.array([values.get(name, np.nan) for name in FEATURES])


def letter(**known: float) -> str:
    return str(letters(row(**known)[None, :], FEATURES)[0])


# ----------------------------------------------------------------------------------------- letters


REGULAR = {
    "settled_365_invoices": 20.0,
    "latest_days_since": 9.0,
    "purchases_tenure_days": 730.0,
    "purchases_invoices_365": 20.0,
}


def test_a_regular_customer_of_two_years_is_b_and_with_published_accounts_a():
    assert letter(**REGULAR) == "B"  # 4 + 2 + 1 points
    assert letter(**REGULAR, accounts_age_days=200.0) == "A"  # 8


@pytest.mark.parametrize(
    ("settled", "expected"), [(0, "G"), (1, "F"), (2, "F"), (3, "E"), (6, "E"), (12, "D")]
)
def test_settled_invoices_count_in_steps(settled, expected):
    """1, 3, 6 and 12 invoices: 1 to 4 points; here nothing else is known."""
    assert letter(settled_365_invoices=settled) == expected


@pytest.mark.parametrize(("tenure", "expected"), [(89, "G"), (90, "F"), (364, "F"), (365, "E")])
def test_time_since_the_first_invoice_counts_from_90_and_365_days(tenure, expected):
    assert letter(purchases_tenure_days=tenure) == expected


@pytest.mark.parametrize(("bought", "expected"), [(3, "G"), (4, "F")])
def test_four_invoices_in_a_year_are_a_point(bought, expected):
    assert letter(purchases_invoices_365=bought) == expected


@pytest.mark.parametrize("fact", ["accounts_age_days", "cover_refused"])
def test_accounts_and_an_insurers_decision_are_a_point_each_even_alone(fact):
    assert letter(**{fact: 0.0}) == "F"


def test_settlements_older_than_a_year_and_invoices_due_unpaid_are_a_point_together():
    assert letter(latest_days_since=500.0) == "F"
    assert letter(due_late_rate=1.0) == "F"
    assert letter(latest_days_since=500.0, due_late_rate=1.0) == "F"
    assert letter(settled_365_invoices=3.0, latest_days_since=9.0, due_late_rate=0.0) == "E"  # 2


def test_comparable_customers_count_only_beside_a_fact_of_this_one():
    assert letter(peers_late_rate=0.3) == "G"
    assert letter(accounts_age_days=90.0, peers_late_rate=0.3) == "E"  # 2 points


def test_a_customer_without_any_fact_is_g_in_a_ledger_of_any_age():
    assert letter() == "G"
    assert letters(np.full((1, len(FEATURES)), np.nan), FEATURES).tolist() == ["G"]


def test_in_a_young_ledger_the_longest_window_it_covers_counts():
    young = {"settled_365_invoices": np.nan, "purchases_invoices_365": np.nan}
    assert letter(**young, settled_90_invoices=6.0, settled_30_invoices=2.0) == "E"  # 3 points
    assert letter(**young, purchases_invoices_90=4.0) == "F"


def test_rows_of_the_late_curve_are_read_by_name():
    names = feature_names(with_order=True)
    X = np.hstack([row(**REGULAR), np.ones(len(names) - len(FEATURES))])[None, :]
    assert letters(X, names).tolist() == ["B"]
    assert letters(X[:, ::-1], names[::-1]).tolist() == ["B"]


COUNTS = st.fixed_dictionaries(
    {
        "settled_365_invoices": st.integers(0, 30),
        "purchases_tenure_days": st.integers(1, 900),
        "purchases_invoices_365": st.integers(0, 30),
    }
)
EXTRAS = ("accounts_age_days", "cover_refused", "peers_late_rate", "latest_days_since")


@given(COUNTS, COUNTS, st.sets(st.sampled_from(EXTRAS)), st.sets(st.sampled_from(EXTRAS)))
def test_knowing_more_never_gives_a_thinner_letter(one, other, few, more):
    less = {name: min(one[name], other[name]) for name in one}
    most = {name: max(one[name], other[name]) for name in one}
    thin = letter(**less, **dict.fromkeys(few, 1.0))
    rich = letter(**most, **dict.fromkeys(few | more, 1.0))
    assert rich <= thin


# ------------------------------------------------------------------------------- what would help


def facts(*families: str) -> np.ndarray:
    return row(**{RECORDS[family].witness: 1.0 for family in families})


def test_the_weight_of_a_family_is_what_it_moves_where_it_is_known():
    X = np.stack([facts("accounts"), facts("accounts"), facts("settled")])
    contributions = np.zeros(X.shape)
    leverage, liquidity = (
        FEATURES.index(name) for name in ("accounts_leverage", "accounts_liquidity")
    )
    contributions[0, [leverage, liquidity]] = 0.5, -0.1  # together +0.4
    contributions[1, leverage] = -0.2
    contributions[2, leverage] = 9.0  # of a customer without accounts: does not count
    contributions[2, FEATURES.index("year_spread_days")] = 0.7
    weights = family_weights(contributions, X, FEATURES)
    assert weights == {"accounts": pytest.approx(0.3), "settled": pytest.approx(0.7)}


def test_each_feature_counts_in_one_family_at_most_and_each_witness_in_its_own():
    for name in FEATURES:
        assert sum(name.startswith(record.prefixes) for record in RECORDS.values()) <= 1
    for record in RECORDS.values():
        assert record.witness in FEATURES
        assert record.witness.startswith(record.prefixes)


WEIGHTS = {"settled": 0.9, "accounts": 0.4, "cover": 0.6, "peers": 0.1}


def test_what_helps_most_is_the_heaviest_family_the_customer_lacks():
    assert most_helpful(facts(), FEATURES, WEIGHTS) == "settled"
    assert most_helpful(facts("settled"), FEATURES, WEIGHTS) == "cover"
    assert most_helpful(facts("settled", "cover"), FEATURES, WEIGHTS) == "accounts"


def test_nothing_is_asked_for_where_nothing_measured_is_missing():
    assert most_helpful(facts(*WEIGHTS), FEATURES, WEIGHTS) is None
    assert most_helpful(facts(), FEATURES, {}) is None
    assert abstention(facts(), FEATURES, {})["record"] is None


def test_an_abstention_names_the_record_in_both_languages():
    told = abstention(facts(), FEATURES, WEIGHTS)
    assert told["record"] == "settled"
    assert told["en"] == told["reason"]
    assert told["en"].endswith("what would help most: settled invoices")
    assert told["fr"].endswith("ce qui aiderait le plus : des factures réglées")


# --------------------------------------------------------------------------------------- intervals


def book(counts: dict[str, tuple[int, int]], said: float = 0.05) -> tuple[np.ndarray, ...]:
    """Make one row a customer, of so many customers and defaults by letter."""
    letter = np.concatenate([np.full(n, one) for one, (n, _) in counts.items()])
    happened = np.concatenate([np.arange(n) < d for n, d in counts.values()])
    return letter, np.full(letter.size, said), happened, np.arange(letter.size)


def test_the_offsets_are_jeffreys_interval_around_what_was_said():
    """1,000 customers, 40 defaults, 5 % said: Beta(40.5, 960.5) from log-odds −2.94."""
    table = measure(*book({"A": (1_000, 40)}))
    low, high = beta.ppf([0.1, 0.9], 40.5, 960.5)
    assert table["A"]["low"] == pytest.approx(logit(low) - logit(0.05))
    # 4.9 % at most seen, 5 % said: the interval still holds what is said
    assert high < 0.05
    assert table["A"]["high"] == 0
    assert (table["A"]["customers"], table["A"]["defaults"]) == (1_000, 40)


def test_the_level_is_the_share_within():
    wide, narrow = (measure(*book({"A": (400, 20)}), level=level)["A"] for level in (0.95, 0.5))
    assert wide["low"] < narrow["low"]
    assert wide["high"] > narrow["high"]


def test_only_a_customers_first_row_counts():
    letter, said, happened, customer = book({"A": (100, 4)})
    again = (np.tile(a, 2) for a in (letter, said, happened, customer))
    assert measure(*again) == measure(letter, said, happened, customer)


def test_fewer_customers_make_a_wider_interval():
    table = measure(*book({"A": (2_000, 100), "D": (200, 10), "F": (20, 1)}))
    low, high = zip(*(interval(table, 0.05, one) for one in ("A", "D", "F")), strict=True)
    assert low[0] > low[1] > low[2]
    assert high[0] < high[1] < high[2]


COUNTED = st.dictionaries(
    st.sampled_from(LETTERS),
    st.tuples(st.integers(1, 60), st.floats(0, 1)).map(lambda p: (p[0], round(p[0] * p[1]))),
    min_size=1,
)


@given(COUNTED, st.floats(1e-4, 0.9), st.floats(0, 1))
def test_a_thinner_letter_is_never_narrower_and_the_interval_holds_the_probability(
    counts, said, probability
):
    table = measure(*book(counts, said))
    assert list(table) == list(LETTERS)
    intervals = [interval(table, probability, one) for one in LETTERS]
    assert all(low <= probability <= high for low, high in intervals)
    for (low, high), (thinner_low, thinner_high) in pairwise(intervals):
        assert thinner_low <= low
        assert thinner_high >= high


@given(COUNTED, st.floats(0, 1), st.floats(0, 1))
def test_an_interval_rises_with_the_probability(counts, one, other):
    table = measure(*book(counts))
    less, more = sorted((one, other))
    for letter in LETTERS:
        below, above = interval(table, less, letter), interval(table, more, letter)
        assert below.low <= above.low + 1e-12
        assert below.high <= above.high + 1e-12


def test_letters_nobody_has_take_the_next_thinner_one_and_the_last_the_stated_prior():
    table = measure(*book({"C": (500, 25), "E": (50, 3)}))
    measured_c = float(logit(beta.ppf(0.1, 25.5, 475.5)) - logit(0.05))
    assert table["A"]["low"] == table["B"]["low"] == table["C"]["low"] == pytest.approx(measured_c)
    assert table["D"]["low"] == table["E"]["low"]
    assert table["A"]["customers"] == 0
    assert table["G"]["high"] == max(WIDEST_LOG_ODDS, table["E"]["high"])
    nobody = measure(*(column[:0] for column in book({"A": (1, 0)})))
    low, high = interval(nobody, 0.05, "A")
    assert low / (1 - low) == pytest.approx(0.05 / 0.95 / 10)
    assert high == pytest.approx(float(expit(logit(0.05) + math.log(10))))
