"""Rows and pairs: who is asked when, at which terms, and what each pair weighs."""

import numpy as np
import pytest

from features import history
from features.build import build, customer_spine, invoice_spine
from features.history import History
from models.targets import DEFAULT_DEFINITIONS, find_defaults, is_in_default, recording_days
from tests.features.ledgers import day, known_before, ledger_of, read_tables
from tests.training.conftest import CUTOFF, END, dataset_of
from training.dataset import DEFAULT, LATE, Dataset, default_dataset, late_dataset

BUREAU = DEFAULT_DEFINITIONS["bureau"]
both = pytest.mark.parametrize("question", ["late", "default"])


@pytest.fixture
def known(request) -> History:
    """Lay out the history of the docstring's ledger."""
    return history.build(history.facts_of(ledger_of(read_tables(request.function.__doc__))))


def asked_on(dataset: Dataset, known: History) -> list[tuple[str, str]]:
    return [
        (str(known.customers[who]), str(np.datetime64(int(when), "D")))
        for who, when in zip(dataset.customer, dataset.as_of, strict=True)
    ]


# -------------------------------------------------------------------------------------------- pairs


@both
def test_a_row_counts_by_the_share_of_its_terms_that_is_known(datasets, question, rng):
    dataset = datasets[question]
    rows = dataset.known_before(CUTOFF)
    pairs = dataset.draw(rows, 6, CUTOFF, rng)
    shares = np.bincount(pairs.row, weights=pairs.weight, minlength=dataset.X.shape[0])
    counts = np.bincount(pairs.row, minlength=dataset.X.shape[0])
    assert {1, 6} <= set(counts)  # some rows have few terms known yet, most have all
    assert shares == pytest.approx(counts / 6)
    assert (dataset.ask(rows, np.full(rows.size, 60, np.int32), CUTOFF).weight == 1).all()


@both
def test_terms_are_drawn_over_the_whole_range_and_nowhere_else(datasets, question, rng):
    dataset, asked = datasets[question], {"late": LATE, "default": DEFAULT}[question]
    rows = np.resize(dataset.known_before(END), 30_000)
    drawn = dataset.draw(np.unique(rows), 40, END + 10_000, rng).term_days
    assert set(drawn) == set(range(asked.shortest, asked.longest + 1))


def test_terms_are_drawn_more_densely_where_the_curve_bends_most(datasets, rng):
    dataset = datasets["late"]
    drawn = dataset.draw(dataset.known_before(CUTOFF - 365), 20, CUTOFF, rng).term_days
    around_due = np.mean((drawn >= -3) & (drawn <= 3)) / 7
    far = np.mean((drawn > 60) & (drawn <= 120)) / 60
    assert around_due > 4 * far


@both
def test_only_outcomes_known_at_the_cutoff_make_a_pair(datasets, question):
    dataset = datasets[question]
    rows = dataset.known_before(CUTOFF)
    term = np.full(rows.size, 60, np.int32)
    pairs = dataset.ask(rows, term, CUTOFF)
    outcome = dataset.outcomes(rows, term, CUTOFF)
    assert 0 < pairs.row.size < rows.size
    np.testing.assert_array_equal(pairs.row, rows[outcome.known])
    np.testing.assert_array_equal(pairs.happened, outcome.happened[outcome.known])


def test_an_invoice_is_asked_about_once_its_payment_would_be_in_the_books(datasets, past):
    dataset, waits = datasets["late"], recording_days(past, CUTOFF)
    assert waits > 0  # the simulated seller books some payments days later
    rows = dataset.known_before(CUTOFF)
    due_on = past.invoices.due_on[invoice_spine(past).invoice[rows]]
    known = dataset.outcomes(rows, np.zeros(rows.size, np.int32), CUTOFF).known
    assert due_on[known].max() == CUTOFF - waits - 1


@both
def test_rows_lie_before_the_cutoff_or_from_it_on(datasets, question):
    dataset = datasets[question]
    before, after = dataset.known_before(CUTOFF), dataset.between(CUTOFF, END)
    assert dataset.as_of[before].max() < CUTOFF <= dataset.as_of[after].min()
    assert dataset.as_of[after].max() < END


@both
def test_facts_known_from_the_cutoff_on_change_no_row_and_no_pair(facts, datasets, question, rng):
    witness = history.build(known_before(facts, CUTOFF))
    told, then = datasets[question], dataset_of(question, witness)
    rows, rows_then = told.known_before(CUTOFF), then.known_before(CUTOFF)
    np.testing.assert_array_equal(told.X[rows], then.X[rows_then])
    np.testing.assert_array_equal(told.as_of[rows], then.as_of[rows_then])
    term = rng.integers(30, 121, size=rows.size).astype(np.int32)
    pairs, pairs_then = told.ask(rows, term, CUTOFF), then.ask(rows_then, term, CUTOFF)
    assert pairs.row.size > 1_000
    for column in ("term_days", "happened", "weight"):
        np.testing.assert_array_equal(getattr(pairs, column), getattr(pairs_then, column))


# ------------------------------------------------------------------------------------ the late rows


def test_every_invoice_is_described_on_its_issue_date(known):
    """
    due_on     | settled_on | amount
    2024-03-01 | 2024-03-11 | 100
    2024-04-15 |            | 300
    """
    dataset = late_dataset(known)
    assert asked_on(dataset, known) == [("A", "2024-01-31"), ("A", "2024-03-16")]
    np.testing.assert_array_equal(dataset.X, build(known, invoice_spine(known)))
    assert dataset.X.shape[1] == len(dataset.features)


def test_an_invoice_recorded_after_the_cutoff_is_no_row_before_it(known):
    """
    invoice | issued_on  | due_on     | amount | recorded_at
    F1      | 2024-01-31 | 2024-03-01 | 100    | 2024-01-31 18:00
    F2      | 2024-02-05 | 2024-03-06 | 100    | 2024-06-04 18:00
    """
    dataset = late_dataset(known)
    assert dataset.known_before(day("2024-06-04")).tolist() == [0]
    assert dataset.known_before(day("2024-06-05")).tolist() == [0, 1]
    rows, term = np.array([0, 1]), np.zeros(2, np.int32)
    assert dataset.ask(rows, term, day("2024-06-04")).row.tolist() == [0]


# --------------------------------------------------------------------------------- the default rows


def test_a_customer_is_asked_about_on_the_first_of_each_month_while_it_buys(known):
    """
    invoice | customer | issued_on  | due_on     | amount
    F1      | A        | 2023-01-15 | 2023-02-15 | 100
    F2      | B        | 2023-11-15 | 2023-12-15 | 100

    customer | settled_on | invoice | amount
    A        | 2023-02-15 | F1      | 100
    B        | 2023-12-15 | F2      | 100
    """
    dataset = default_dataset(known, BUREAU, day("2024-04-01"))
    months = [str(month) for month in np.arange("2023-02", "2024-04", dtype="datetime64[M]")]
    # A's invoice of 15 January 2023 is a year old on 15 January 2024: not asked on 1 February
    assert asked_on(dataset, known) == [
        *[("A", f"{month}-01") for month in months if month <= "2024-01"],
        *[("B", f"{month}-01") for month in months if month >= "2023-12"],
    ]
    spine = customer_spine(dataset.customer, dataset.as_of)
    np.testing.assert_array_equal(dataset.X, build(known, spine))
    assert dataset.X.shape[1] == len(dataset.features)


def test_a_customer_in_default_is_not_asked_about_until_it_is_out(known):
    """
    due_on     | settled_on | amount
    2024-01-01 | 2024-05-15 | 100
    """
    dataset = default_dataset(known, BUREAU, day("2024-08-01"))
    asked = [when for _, when in asked_on(dataset, known)]
    # in default from 31 March to 15 May
    assert [when for when in asked if when >= "2024-03"] == [
        "2024-03-01",
        "2024-06-01",
        "2024-07-01",
    ]


def test_no_row_of_the_simulated_ledger_was_in_default(past, datasets):
    dataset, found = datasets["default"], find_defaults(past, BUREAU)
    assert found.began_on.size > 20
    assert not is_in_default(found, dataset.customer, dataset.as_of).any()
    assert (dataset.as_of.astype("datetime64[D]").astype(str).astype("U10") >= "2022").all()
    assert {str(d)[-2:] for d in dataset.as_of.astype("datetime64[D]")} == {"01"}
