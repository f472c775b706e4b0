"""Corrected rows: which version counts when, and who is laid out twice for it."""

import numpy as np
import pytest

from features import history
from features.build import build, customer_spine, feature_names, invoice_spine
from features.history import FOREVER, MICROSECONDS_A_DAY, facts_of
from features.versions import ALWAYS
from tests.features import ledgers
from tests.features.ledgers import day, ledger_of, read_tables

TWO_CUSTOMERS = """
    invoice | customer | issued_on  | due_on     | amount
    F1      | A        | 2024-03-02 | 2024-04-01 | 1000
    F2      | A        | 2024-03-05 | 2024-04-05 | 200
    F3      | B        | 2024-03-05 | 2024-04-05 | 300

    settled_on | customer | invoice | amount
    2024-04-03 | A        | F1      | 900
    """


def corrected(facts, table, key, change, at):
    """Add a version of the row `key` with other content, recorded on the day `at`."""
    rows = {column: values.copy() for column, values in facts[table].items()}
    names = rows[next(iter(rows))]
    (place,) = np.flatnonzero((names == key) & (rows["until_at"] == FOREVER))
    again = {column: values[[place]].copy() for column, values in rows.items()}
    for column, value in change.items():
        again[column][0] = value
    instant = day(at) * MICROSECONDS_A_DAY + 1
    rows["until_at"][place] = again["since_at"][0] = instant
    return facts | {table: {c: np.insert(v, place + 1, again[c]) for c, v in rows.items()}}


@pytest.fixture
def facts():
    return facts_of(ledger_of(read_tables(TWO_CUSTOMERS)))


def exposure(facts, as_of, customer="A"):
    known = history.build(facts, day("2020-01-01"))
    spine = customer_spine(known.codes([customer]), np.array([day(as_of)], np.int32))
    return dict(zip(feature_names(with_order=False), build(known, spine)[0], strict=True))


def test_a_correction_counts_from_the_day_after_it_was_recorded(facts):
    facts = corrected(facts, "invoices", "F1", {"amount_cents": 90_000}, "2024-05-20")
    assert exposure(facts, "2024-05-20")["open_exposure"] == 1000 - 900 + 200
    assert exposure(facts, "2024-05-21")["open_exposure"] == 900 - 900 + 200


def test_the_corrected_invoice_is_known_since_it_was_first_recorded(facts):
    facts = corrected(facts, "invoices", "F1", {"amount_cents": 90_000}, "2024-05-20")
    row = exposure(facts, "2024-05-21")
    assert row["purchases_tenure_days"] == day("2024-05-21") - day("2024-03-02")
    assert row["latest_days_since"] == day("2024-05-21") - day("2024-04-03")  # paid in full then


def test_a_dispute_whose_end_is_learned_later_is_open_until_then():
    tables = read_tables(
        TWO_CUSTOMERS
        + """
    dispute_id | customer | invoice | opened_on  | closed_on
    D1         | A        | F2      | 2024-04-10 |
    """
    )
    change = {"closed_on": day("2024-04-20")}
    facts = corrected(facts_of(ledger_of(tables)), "disputes", "D1", change, "2024-05-02")
    counts = [exposure(facts, d)["disputes_open_invoices"] for d in ("2024-05-02", "2024-05-03")]
    assert counts == [1, 0]


def test_only_the_corrected_customer_is_laid_out_twice(facts):
    change = {"amount_cents": 90_000}
    known = history.build(corrected(facts, "invoices", "F1", change, "2024-05-20"))
    assert known.views.since.tolist() == [ALWAYS, day("2024-05-21"), ALWAYS]
    assert known.invoice_id.tolist() == ["F1", "F2", "F1", "F2", "F3"]
    assert known.invoices.amount_cents.tolist() == [100_000, 20_000, 90_000, 20_000, 30_000]
    assert known.invoice_id[known.current].tolist() == ["F1", "F2", "F3"]
    assert known.invoice_customer.tolist() == [0, 0, 0, 0, 1]


def test_two_corrections_of_a_day_make_one_view_and_of_two_days_two(facts):
    facts = corrected(facts, "invoices", "F1", {"amount_cents": 90_000}, "2024-05-20")
    facts = corrected(facts, "invoices", "F2", {"amount_cents": 10_000}, "2024-05-20")
    assert history.build(facts).views.since.size == 3
    facts = corrected(facts, "invoices", "F1", {"amount_cents": 95_000}, "2024-05-22")
    known = history.build(facts)
    assert known.views.since.size == 4
    assert [exposure(facts, f"2024-05-{d}")["open_exposure"] for d in (20, 21, 22, 23)] == [
        1000 - 900 + 200,
        100,
        100,
        (950 - 900) + 100,
    ]


def test_an_invoice_is_described_as_it_was_first_known_whatever_was_corrected_since(facts):
    change = {"amount_cents": 90_000, "due_on": day("2024-06-01")}
    known = history.build(corrected(facts, "invoices", "F1", change, "2024-05-20"))
    spine = invoice_spine(known)
    assert known.invoice_id[spine.invoice].tolist() == ["F1", "F2", "F3"]
    assert spine.amount_cents.tolist() == [100_000, 20_000, 30_000]
    assert spine.due_on.tolist() == [day(d) for d in ("2024-04-01", "2024-04-05", "2024-04-05")]
    before = invoice_spine(history.build(facts))
    assert build(known, spine).tobytes() == build(history.build(facts), before).tobytes()
    assert known.invoices.amount_cents[spine.invoice[0]] == 90_000  # the outcome is of what is owed


def test_without_corrections_nothing_is_repeated(facts):
    assert history.build(facts).views.are_single


def test_an_order_that_is_closed_and_a_change_corrected_repeat_nothing(ledger):
    """
    due_on     | settled_on | amount
    2024-03-31 | 2024-03-31 | 1000

    order_id | accepted_on | amount | deposit | closed_on  | recorded_at
    O1       | 2024-01-10  | 700    | 0       |            | 2024-01-10
    O1'      | 2024-01-10  | 700    | 0       | 2024-02-01 | 2024-02-01

    change_id | changed_on | kind  | value | recorded_at
    M1        | 2024-01-10 | group | Morel | 2024-01-10
    M1'       | 2024-01-10 | group | Autre | 2024-03-01
    """
    known = history.build(ledgers.corrected(facts_of(ledger)))
    assert known.views.are_single
    assert known.orders.cents.size == 2
    assert known.invoices.due_on.size == 1
