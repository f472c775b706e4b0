"""Money and invoices: what pays what, on which day we knew it."""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from features import history
from features.history import NEVER, facts_of
from features.settlement import RESIDUAL_TOLERANCE_CENTS
from tests.features.ledgers import START, ledger_of, raw_tables

# --- Partial payments, tolerance, reversals ----------------------------------------------


def test_the_worked_example_of_the_module(steps_of, paid_of):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-20 | 2024-03-15 | 1000.00

    settled_on | kind     | invoice | amount
    2024-03-10 | payment  | F1      | 600.00
    2024-03-20 | payment  | F1      | 399.98
    2024-03-25 | reversal | F1      | 399.98
    """
    assert steps_of("F1") == [
        ("2024-03-10", "payment", 600.00, 400.00),
        ("2024-03-20", "payment", 399.98, 0),
        ("2024-03-25", "reversal", -399.98, 400.00),
    ]
    assert paid_of("F1") == [("2024-03-20", "2024-03-25", 5)]


def test_a_reopened_invoice_is_paid_again_later(paid_of):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-20 | 2024-03-15 | 1000.00

    settled_on | kind     | invoice | amount
    2024-03-20 | payment  | F1      | 1000.00
    2024-03-25 | reversal | F1      | 1000.00
    2024-04-14 | payment  | F1      | 1000.00
    """
    assert paid_of("F1") == [("2024-03-20", "2024-03-25", 5), ("2024-04-14", None, 30)]


def test_a_payment_stands_only_until_its_own_reversal_whatever_happens_next(paid_of):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-20 | 2024-03-15 | 100

    settled_on | kind        | invoice | amount
    2024-03-20 | payment     | F1      | 100
    2024-03-25 | reversal    | F1      | 100
    2024-04-01 | credit_note | F1      | 100
    2024-05-01 | reversal    | F1      | 100
    """
    assert paid_of("F1") == [("2024-03-20", "2024-03-25", 5)]


def test_an_invoice_stays_open_one_cent_beyond_the_tolerance(steps_of, paid_of):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-03-01 | 2024-03-31 | 500.00
    F2      | 2024-03-01 | 2024-03-31 | 500.00

    settled_on | invoice | amount
    2024-03-20 | F1      | 499.00
    2024-03-20 | F2      | 498.99
    """
    assert RESIDUAL_TOLERANCE_CENTS == 100
    assert steps_of("F1") == [("2024-03-20", "payment", 499.00, 0)]
    assert steps_of("F2") == [("2024-03-20", "payment", 498.99, 1.01)]
    assert len(paid_of("F1")) == 1
    assert paid_of("F2") == []


def test_a_small_invoice_is_not_settled_while_half_of_it_is_open(steps_of):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-03-01 | 2024-03-31 | 1.00
    F2      | 2024-03-01 | 2024-03-31 | 1.00
    F3      | 2024-03-01 | 2024-03-31 | 0.01

    settled_on | invoice | amount
    2024-03-20 | F1      | 0.50
    2024-03-20 | F2      | 0.51
    2024-03-20 | F3      | 0.01
    """
    assert steps_of("F1") == [("2024-03-20", "payment", 0.50, 0.50)]
    assert steps_of("F2") == [("2024-03-20", "payment", 0.51, 0)]
    assert steps_of("F3") == [("2024-03-20", "payment", 0.01, 0)]


# --- Cash without a name, and too much cash ----------------------------------------------


def test_cash_in_no_invoices_name_pays_the_oldest_first_and_is_marked_inferred(known, steps_of):
    """
    invoice | issued_on  | due_on     | amount
    F2      | 2024-03-05 | 2024-03-20 | 100
    F1      | 2024-03-01 | 2024-03-31 | 100
    F3      | 2024-03-06 | 2024-03-31 | 100

    settled_on | invoice | amount
    2024-03-10 |         | 150
    2024-03-11 | F3      | 100
    """
    assert steps_of("F1") == [("2024-03-10", "payment", 100, 0)]
    assert steps_of("F2") == [("2024-03-10", "payment", 50, 50)]
    assert steps_of("F3") == [("2024-03-11", "payment", 100, 0)]
    inferred = dict(zip(known.invoice_id[known.steps.invoice], known.steps.inferred, strict=True))
    assert inferred == {"F1": True, "F2": True, "F3": False}


def test_an_overpayment_is_credit_for_the_oldest_open_invoice(known, steps_of):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-03-01 | 2024-03-31 | 100
    F2      | 2024-03-02 | 2024-03-31 | 100

    settled_on | invoice | amount
    2024-03-10 | F2      | 130
    """
    assert steps_of("F2") == [("2024-03-10", "payment", 100, 0)]
    assert steps_of("F1") == [("2024-03-10", "payment", 30, 70)]
    assert known.steps.inferred.tolist() == [True, False]  # by invoice, the oldest first


def test_credit_waits_for_the_next_invoice_and_keeps_its_value_date(steps_of, paid_of):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-03-15 | 2024-04-15 | 100

    settled_on | invoice | amount
    2024-03-10 |         | 100
    """
    assert steps_of("F1") == [("2024-03-15", "payment", 100, 0)]
    assert paid_of("F1") == [("2024-03-15", None, -36)]  # paid on 10 March, due on 15 April


def test_a_payment_before_its_invoice_is_held_until_the_invoice_is_known(steps_of, paid_of):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-03-01 | 2024-03-31 | 100
    F2      | 2024-03-15 | 2024-03-31 | 100

    settled_on | invoice | amount
    2024-03-10 | F2      | 100
    """
    assert steps_of("F1") == []
    assert steps_of("F2") == [("2024-03-15", "payment", 100, 0)]
    assert paid_of("F2") == [("2024-03-15", None, -21)]


def test_a_late_invoice_recording_delays_what_we_know_not_the_days_late(paid_of):
    """
    invoice | issued_on  | due_on     | amount | recorded_at
    F1      | 2024-03-01 | 2024-03-31 | 100    | 2024-05-02 18:00

    settled_on | invoice | amount | recorded_at
    2024-04-02 | F1      | 100    | 2024-04-03
    """
    assert paid_of("F1") == [("2024-05-02", None, 2)]


def test_a_bounced_overpayment_leaves_no_credit_behind(steps_of):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-03-01 | 2024-03-31 | 100
    F2      | 2024-04-01 | 2024-04-30 | 100

    settled_on | kind     | invoice | amount
    2024-03-10 | payment  | F1      | 120
    2024-03-12 | reversal | F1      | 120
    """
    assert [balance for *_, balance in steps_of("F1")] == [0, 100]
    assert steps_of("F2") == []


def test_a_bounced_payment_without_a_name_takes_back_the_credit(steps_of):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-04-01 | 2024-04-30 | 100

    settled_on | kind     | invoice | amount
    2024-03-10 | payment  |         | 100
    2024-03-12 | reversal |         | 60
    """
    assert steps_of("F1") == [("2024-04-01", "payment", 40, 60)]


# --- Credit notes and write-offs ---------------------------------------------------------


def test_what_was_credited_or_written_off_was_not_paid(steps_of, paid_of):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-03-01 | 2024-03-31 | 100
    F2      | 2024-03-01 | 2024-03-31 | 100
    F3      | 2024-03-01 | 2024-03-31 | 100
    F4      | 2024-03-01 | 2024-03-31 | 100
    F5      | 2024-03-01 | 2024-03-31 | 100

    settled_on | kind        | invoice | amount
    2024-03-10 | credit_note | F1      | 100
    2024-03-10 | write_off   | F2      | 100
    2024-03-10 | payment     | F3      | 90
    2024-03-11 | write_off   | F3      | 10
    2024-03-10 | credit_note | F4      | 50
    2024-03-11 | payment     | F4      | 50
    2024-03-10 | credit_note | F5      | 49
    2024-03-11 | payment     | F5      | 51
    """
    for invoice in ("F1", "F2", "F3", "F4", "F5"):
        assert steps_of(invoice)[-1][-1] == 0  # all are closed
    paid = [name for name in ("F1", "F2", "F3", "F4", "F5") if paid_of(name)]
    assert paid == ["F5"]  # more of it was paid than credited


def test_a_credit_note_in_no_invoices_name_is_not_a_payment(steps_of, paid_of):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-03-01 | 2024-03-31 | 100

    settled_on | kind        | invoice | amount
    2024-03-10 | credit_note |         | 100
    """
    assert steps_of("F1") == [("2024-03-10", "credit_note", 100, 0)]
    assert paid_of("F1") == []


def test_a_write_off_beyond_the_balance_pays_no_other_invoice(steps_of):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-03-01 | 2024-03-31 | 100
    F2      | 2024-03-01 | 2024-03-31 | 100

    settled_on | kind      | invoice | amount
    2024-03-09 | payment   | F1      | 60
    2024-03-10 | write_off | F1      | 100
    """
    assert steps_of("F1")[-1] == ("2024-03-10", "write_off", 40, 0)
    assert steps_of("F2") == []


def test_a_write_off_in_no_invoices_name_takes_what_is_owed_and_does_not_wait(steps_of):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-03-01 | 2024-03-31 | 100
    F2      | 2024-04-01 | 2024-04-30 | 100

    settled_on | kind      | invoice | amount
    2024-03-10 | write_off |         | 150
    """
    assert steps_of("F1") == [("2024-03-10", "write_off", 100, 0)]
    assert steps_of("F2") == []


# --- Within one day ----------------------------------------------------------------------


def test_on_one_day_the_invoice_comes_before_its_payment_and_money_before_its_reversal(
    steps_of, paid_of
):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-03-10 | 2024-03-10 | 100

    settlement_id | settled_on | kind     | invoice | amount
    A             | 2024-03-10 | reversal | F1      | 100
    B             | 2024-03-10 | payment  | F1      | 100
    """
    assert steps_of("F1") == [
        ("2024-03-10", "payment", 100, 0),
        ("2024-03-10", "reversal", -100, 100),
    ]
    assert paid_of("F1") == [("2024-03-10", "2024-03-10", 0)]


def test_on_one_day_named_cash_comes_before_cash_in_no_name(steps_of):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-03-01 | 2024-03-31 | 100
    F2      | 2024-03-02 | 2024-03-31 | 100

    settlement_id | settled_on | invoice | amount
    A             | 2024-03-10 |         | 100
    B             | 2024-03-10 | F1      | 100
    """
    assert steps_of("F1") == [("2024-03-10", "payment", 100, 0)]
    assert steps_of("F2") == [("2024-03-10", "payment", 100, 0)]


def test_invoices_known_on_one_day_are_oldest_by_issue_then_by_due_date(known):
    """
    invoice | issued_on  | due_on     | amount | recorded_at
    F1      | 2024-02-02 | 2024-03-31 | 100    | 2024-06-01
    F2      | 2024-02-01 | 2024-03-31 | 100    | 2024-06-01
    F10     | 2024-02-01 | 2024-03-01 | 100    | 2024-06-01
    """
    assert known.invoice_id.tolist() == ["F10", "F2", "F1"]


# --- Laws --------------------------------------------------------------------------------


@given(raw_tables())
@settings(max_examples=20, deadline=None)
def test_a_balance_is_its_amount_less_its_steps_and_stays_between_zero_and_the_amount(tables):
    known = history.build(facts_of(ledger_of(tables)))
    balance = known.invoices.amount_cents.copy()
    steps = known.steps
    for i, cents, open_cents in zip(steps.invoice, steps.cents, steps.open_cents, strict=True):
        amount = known.invoices.amount_cents[i]
        balance[i] -= cents
        assert 0 <= balance[i] <= amount
        is_open = balance[i] > RESIDUAL_TOLERANCE_CENTS or 2 * balance[i] >= amount
        assert open_cents == (balance[i] if is_open else 0)


@given(raw_tables())
@settings(max_examples=15, deadline=None)
def test_steps_follow_each_other_and_never_come_before_the_invoice_is_known(tables):
    known = history.build(facts_of(ledger_of(tables)))
    steps = known.steps
    order = np.lexsort((steps.known_on, steps.invoice))
    assert np.array_equal(order, np.arange(steps.invoice.size))
    assert (steps.known_on >= known.invoices.known_on[steps.invoice]).all()
    assert (steps.cents != 0).all()


@given(raw_tables(kinds=st.sampled_from(["payment", "payment", "credit_note"])))
@settings(max_examples=20, deadline=None)
def test_no_money_is_made_or_lost(tables):
    """Without reversals: what is applied and the credit left are the cash, kind by kind."""
    facts = facts_of(ledger_of(tables))
    known = history.build(facts)
    for code, customer in enumerate(known.customers):
        first, last = known.invoices.start[code : code + 2]
        own = (known.steps.invoice >= first) & (known.steps.invoice < last)
        rows = facts["settlements"]["customer_id"] == customer
        left = 0
        for code_of_kind, kind in enumerate(("payment", "credit_note")):
            of_kind = rows & (facts["settlements"]["kind"] == kind)
            cash = facts["settlements"]["amount_cents"][of_kind].sum()
            applied = known.steps.cents[own & (known.steps.kind == code_of_kind)].sum()
            assert applied <= cash
            left += cash - applied
        latest = dict(zip(known.steps.invoice, known.steps.open_cents, strict=True))
        owed = sum(latest.get(i, known.invoices.amount_cents[i]) for i in range(first, last))
        assert left == 0 or owed == 0  # credit is left only where nothing is open


@given(raw_tables(kinds=st.sampled_from(["payment", "credit_note", "write_off", "reversal"])))
@settings(max_examples=20, deadline=None)
def test_no_more_is_taken_off_than_was_brought_in(tables):
    facts = facts_of(ledger_of(tables))
    steps, rows = history.build(facts).steps, facts["settlements"]
    for code, kind in enumerate(("payment", "credit_note", "write_off")):
        brought = rows["amount_cents"][rows["kind"] == kind].sum()
        assert steps.cents[steps.kind == code].sum() <= brought


@given(raw_tables(kinds=st.just("payment")))
@settings(max_examples=20, deadline=None)
def test_when_every_payment_bounces_everything_is_owed_again(tables):
    paid = tables["settlements"].dropna(subset="invoice_id").drop_duplicates("invoice_id")
    amounts = tables["invoices"].set_index("invoice_id")["amount_cents"]
    no_more_than = paid["invoice_id"].map(amounts)
    paid = paid.assign(amount_cents=paid["amount_cents"].clip(upper=no_more_than))
    late = {day: paid[day] + pd.Timedelta(days=900) for day in ("settled_on", "recorded_at")}
    both = pd.concat([paid, paid.assign(kind="reversal", **late)], ignore_index=True)
    known = history.build(facts_of(ledger_of(tables | {"settlements": both})))
    taken = np.zeros(known.invoices.amount_cents.size, np.int64)
    np.add.at(taken, known.steps.invoice, known.steps.cents)
    assert not taken.any()
    assert known.steps.invoice.size == len(both)
    assert (known.settled.until < NEVER).all()


@given(raw_tables(), st.integers(START, START + 600))
@settings(max_examples=20, deadline=None)
def test_an_invoice_stands_as_paid_at_most_once_at_a_time(tables, as_of):
    known = history.build(facts_of(ledger_of(tables)))
    paid = known.settled
    standing = (paid.known_on < as_of) & (paid.until >= as_of)
    assert np.unique(paid.invoice[standing]).size == standing.sum()
    latest = dict.fromkeys(range(known.invoices.amount_cents.size), 1)
    for step in zip(*known.steps, strict=True):
        if step[1] < as_of:
            latest[step[0]] = step[5]
    assert all(latest[i] == 0 for i in paid.invoice[standing])
