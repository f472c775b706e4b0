"""The receivables known at a date: what is open and owed, and what later facts cannot change."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings

from features import history
from features.history import facts_of
from models.exposure import exposures
from models.factoring import by_reason, eligibility
from models.late_interest import late_interest
from models.portfolio import Portfolio, by_customer, portfolio_at
from models.provisions import cohort, horizon_days, matrix, provision, roll_rates
from models.receivables import measure
from models.receivables_file import load
from tests.features.ledgers import corrected, day, known_before, ledger_of, moments, read_tables

HOW = load()


def open_of(seen: Portfolio) -> dict[str, int]:
    return dict(zip(seen.invoice_id, seen.open_cents.tolist(), strict=True))


def owed_of(seen: Portfolio) -> dict[str, int]:
    return dict(zip(seen.invoice_id, seen.owed_cents.tolist(), strict=True))


def provisioned(seen: Portfolio):
    """Provision with one group and without a model."""
    followed = cohort(seen, HOW.provision)
    rolls = roll_rates(followed.reached_cents, np.zeros(followed.invoice.size, np.int64), 1, 1)
    return provision(seen, rolls, np.zeros(seen.customers.id.size, np.int64), HOW.provision)


# What is open.


def test_a_payment_counts_from_the_day_it_was_booked_and_then_from_its_value_date(known):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-03-01 | 2024-03-31 | 1000

    invoice | settled_on | amount | recorded_at
    F1      | 2024-04-10 | 400    | 2024-04-12
    """
    assert open_of(portfolio_at(known, day("2024-04-11"))) == {"F1": 1000_00}
    assert open_of(portfolio_at(known, day("2024-04-12"))) == {"F1": 1000_00}
    booked = portfolio_at(known, day("2024-04-13"))
    assert open_of(booked) == {"F1": 600_00}
    assert booked.balance_cents(day("2024-04-10")).tolist() == [1000_00]
    assert booked.balance_cents(day("2024-04-11")).tolist() == [600_00]  # as known now


def test_a_back_dated_invoice_is_not_there_before_it_is_recorded(known):
    """
    invoice | issued_on  | due_on     | amount | recorded_at
    F1      | 2024-03-01 | 2024-03-31 | 1000   | 2024-05-02
    """
    assert open_of(portfolio_at(known, day("2024-05-02"))) == {}
    assert open_of(portfolio_at(known, day("2024-05-03"))) == {"F1": 1000_00}


def test_credit_notes_and_write_offs_close_and_a_bounced_debit_opens_again(known):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-01-01 | 2024-01-31 | 100
    F2      | 2024-01-01 | 2024-01-31 | 100
    F3      | 2024-01-01 | 2024-01-31 | 100

    invoice | kind        | settled_on | amount
    F1      | credit_note | 2024-02-01 | 30
    F2      | write_off   | 2024-02-01 | 100
    F3      | payment     | 2024-02-01 | 100
    F3      | reversal    | 2024-02-05 | 100
    """
    assert open_of(portfolio_at(known, day("2024-02-05"))) == {"F1": 70_00, "F2": 0, "F3": 0}
    assert open_of(portfolio_at(known, day("2024-02-06"))) == {"F1": 70_00, "F2": 0, "F3": 100_00}
    assert portfolio_at(known, day("2024-02-05")).paid.invoice.tolist() == [2]
    assert portfolio_at(known, day("2024-02-06")).paid.invoice.tolist() == []


def test_unapplied_money_is_set_against_what_is_due_first_and_stays_visible(known):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-01-01 | 2024-01-31 | 100
    F2      | 2024-01-01 | 2024-03-31 | 100

    invoice | settled_on | amount
    F9      | 2024-02-01 | 130
    """
    seen = portfolio_at(known, day("2024-02-02"))
    assert open_of(seen) == {"F1": 100_00, "F2": 100_00}
    assert owed_of(seen) == {"F1": 0, "F2": 70_00}
    assert seen.customers.unapplied_cents.tolist() == [130_00]
    assert seen.credit_cents.tolist() == [0]


def test_a_write_off_uses_no_money_up(known):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-01-01 | 2024-01-31 | 100

    invoice | kind      | settled_on | amount
    F1      | write_off | 2024-02-01 | 100
    F9      | payment   | 2024-02-01 | 50
    """
    seen = portfolio_at(known, day("2024-02-02"))
    assert seen.customers.unapplied_cents.tolist() == [50_00]
    assert owed_of(seen) == {"F1": 0}


def test_a_customer_in_credit_owes_nothing_and_does_not_pay_for_another(known):
    """
    customer | invoice | issued_on  | due_on     | amount
    A        | F1      | 2024-01-01 | 2024-01-31 | 100
    B        | F2      | 2024-01-01 | 2024-01-31 | 100

    customer | invoice | settled_on | amount
    A        | F1      | 2024-02-01 | 150
    """
    seen = portfolio_at(known, day("2024-02-02"))
    assert owed_of(seen) == {"F1": 0, "F2": 100_00}
    assert seen.credit_cents.tolist() == [50_00, 0]


def test_a_dispute_is_open_until_its_last_day(known):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-01-01 | 2024-01-31 | 100

    dispute_id | invoice | opened_on  | closed_on
    D1         | F1      | 2024-02-01 | 2024-02-10
    """

    def is_disputed(on: str) -> bool:
        return bool(portfolio_at(known, day(on)).is_disputed[0])

    assert [is_disputed(f"2024-02-{d}") for d in ("01", "02", "10", "11")] == [
        False, True, True, False,
    ]  # fmt: skip
    assert portfolio_at(known, day("2024-02-11")).was_disputed.tolist() == [True]


def test_a_corrected_amount_counts_from_the_day_after_it_was_corrected():
    """
    invoice | issued_on  | due_on     | amount | recorded_at
    K1      | 2024-03-01 | 2024-03-31 | 1000   | 2024-03-01
    K1'     | 2024-03-01 | 2024-03-31 | 900    | 2024-05-20
    """
    doc = test_a_corrected_amount_counts_from_the_day_after_it_was_corrected.__doc__
    known = history.build(corrected(facts_of(ledger_of(read_tables(doc)))))
    assert open_of(portfolio_at(known, day("2024-05-20"))) == {"K1": 1000_00}
    assert open_of(portfolio_at(known, day("2024-05-21"))) == {"K1": 900_00}


def test_the_cover_decided_last_among_those_that_run_holds(known):
    """
    cover_id | starts_on  | ends_on    | amount | insured_rate
    K1       | 2024-01-01 |            | 1000   | 0.9
    K2       | 2024-02-01 | 2024-02-29 | 500    | 0.8
    K3       | 2024-04-01 |            | 0      | 0
    """

    def cover(on: str) -> tuple[int, float, bool]:
        c = portfolio_at(known, day(on)).customers
        return int(c.covered_cents[0]), float(c.insured_rate[0]), bool(c.is_decided[0])

    assert cover("2024-01-01") == (0, 0.0, False)
    assert cover("2024-01-15") == (1000_00, 0.9, True)
    assert cover("2024-03-01") == (500_00, 0.8, True)
    assert cover("2024-03-02") == (1000_00, 0.9, True)
    assert cover("2024-04-02") == (0, 0.0, True)


def test_a_ledger_without_invoices_measures_nothing_and_fails_at_nothing():
    known = history.build(history.NO_FACTS)
    seen = portfolio_at(known, day("2024-01-01"))
    measured = measure(seen, HOW.measures)
    assert measured.period.closing == sum(measured.ageing_cents) == 0
    assert np.isnan(measured.simple_dso)
    assert matrix(provisioned(seen), 5, 1) == []
    assert eligibility(seen, HOW.factoring).advance_cents == 0
    assert late_interest(seen, HOW.late_interest).interest_cents.size == 0


# Laws.


@given(moments())
@settings(max_examples=20)
def test_what_is_owed_less_credit_is_the_exposure_of_an_assessment(moment):
    tables, as_of = moment
    books = history.build(facts_of(ledger_of(tables)))
    seen = portfolio_at(books, as_of)
    customers = np.arange(seen.customers.id.size)
    known = exposures(books, customers, np.full(customers.size, as_of))
    owed = by_customer(seen, seen.owed_cents) - seen.credit_cents
    assert owed.tolist() == (known.invoices_cents - known.unapplied_cents).tolist()


@given(moments())
@settings(max_examples=30)
def test_every_table_adds_up_to_the_cent(moment):
    tables, as_of = moment
    seen = portfolio_at(history.build(facts_of(ledger_of(tables))), as_of)
    measured, judged = measure(seen, HOW.measures), eligibility(seen, HOW.factoring)
    lately, owed = measured.period, int(seen.owed_cents.sum())
    assert sum(measured.ageing_cents) == lately.closing == seen.open_cents.sum()
    assert seen.balance_cents(as_of).tolist() == seen.open_cents.tolist()
    moved = lately.credited + lately.lost + lately.collected
    assert lately.opening + lately.invoiced - moved == lately.closing
    assert (seen.open_cents >= seen.owed_cents).all()
    assert (seen.owed_cents >= 0).all()

    assert (judged.eligible_cents + judged.excluded_cents == seen.owed_cents).all()
    assert (judged.eligible_cents >= 0).all()
    assert ((judged.reason > 0) == (judged.excluded_cents > 0)).all()  # one reason, once
    assert sum(line.cents for line in by_reason(seen, judged)) == owed
    assert judged.advance_cents <= judged.eligible_cents.sum()

    p = provisioned(seen)
    cells = matrix(p, 5, 1)
    assert sum(cell.owed_cents for cell in cells) == owed
    assert sum(cell.insured_cents for cell in cells) == p.insured_cents.sum()
    assert sum(cell.historical_cents for cell in cells) == p.historical_cents.sum()
    assert (p.insured_cents <= seen.owed_cents).all()
    assert (p.historical_cents <= seen.owed_cents - p.insured_cents).all()


def figures(seen: Portfolio) -> tuple:
    """All that the toolbox says, by identifier."""
    m, p = measure(seen, HOW.measures), provisioned(seen)
    judged, due = eligibility(seen, HOW.factoring), late_interest(seen, HOW.late_interest)
    columns = (
        seen.open_cents, seen.owed_cents, seen.is_disputed, judged.eligible_cents, judged.reason,
        p.insured_cents, p.historical_cents, due.interest_cents, due.indemnity_cents,
        due.days_without_rate, horizon_days(seen, HOW.provision),
    )  # fmt: skip
    by_invoice = dict(zip(seen.invoice_id, np.stack(columns, axis=1).tolist(), strict=True))
    said = [
        value for value in m if not hasattr(value, "order") and not isinstance(value, np.ndarray)
    ]
    shares = [one[:4] for one in (m.exposure, m.turnover)]
    return by_invoice, repr(said[:-1]), repr(shares), judged.advance_cents


@given(moments())
@settings(max_examples=30)
def test_nothing_known_later_changes_a_figure(moment):
    tables, as_of = moment
    facts = facts_of(ledger_of(tables))
    then = portfolio_at(history.build(known_before(facts, as_of)), as_of)
    assert figures(portfolio_at(history.build(facts), as_of)) == figures(then)


def test_the_law_above_can_fail():
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-03-01 | 2024-03-31 | 1000
    """
    doc = test_the_law_above_can_fail.__doc__
    seen = portfolio_at(history.build(facts_of(ledger_of(read_tables(doc)))), day("2024-05-01"))
    assert figures(seen) != figures(replace(seen, open_cents=seen.open_cents - 1))
