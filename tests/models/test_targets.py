"""Outcomes: when each is known for sure, and that nothing known later moves it."""

import json
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import history
from features.history import NEVER, History
from features.settlement import WRITE_OFF
from models.targets import (
    DEFAULT_DEFINITIONS,
    DefaultDefinition,
    Defaults,
    days_late_known_at,
    default_within,
    find_defaults,
    is_in_default,
    late,
    recording_days,
)
from tests.features.ledgers import START, day, known_before, ledger_of, raw_tables

BUREAU, BANK, INSURER = (DEFAULT_DEFINITIONS[name] for name in ("bureau", "bank", "insurer"))
LAST_DAY = START + 700
FEW = settings(max_examples=30, deadline=None)  # drawing a ledger takes 50 ms


# ----------------------------------------------------------------------------------------- lateness


def days_late(known: History, cutoff: str, invoice: str = "F1") -> float:
    return float(days_late_known_at(known, day(cutoff))[list(known.invoice_id).index(invoice)])


def is_late(known: History, term: int, cutoff: str, invoice: str = "F1") -> bool | None:
    """Whether an invoice was late by more than `term` days; ``None`` while that is not known."""
    i = list(known.invoice_id).index(invoice)
    asked = np.array([term], np.int32)
    known_days = days_late_known_at(known, day(cutoff))
    outcome = late(known_days[[i]], known.invoices.due_on[[i]], asked, day(cutoff))
    return bool(outcome.happened[0]) if outcome.known[0] else None


def test_lateness_is_known_the_day_after_the_term_whether_paid_or_not(known):
    """
    due_on     | settled_on | amount
    2024-03-01 | 2024-03-05 | 100
    2024-03-01 |            | 100
    """
    for invoice in ("F1", "F2"):  # 1 March + 10 days = 11 March: sure from the 12th on
        assert is_late(known, 10, "2024-03-11", invoice) is None
        assert is_late(known, 10, "2024-03-12", invoice) is (invoice == "F2")


def test_a_payment_on_the_last_day_is_not_late(known):
    """
    due_on     | settled_on | amount
    2024-03-01 | 2024-03-11 | 100
    """
    assert is_late(known, 10, "2024-06-01") is False
    assert is_late(known, 9, "2024-06-01") is True


def test_a_payment_before_the_due_date_is_late_by_more_than_a_negative_term(known):
    """
    due_on     | settled_on | amount
    2024-03-01 | 2024-02-25 | 100
    """
    assert is_late(known, -5, "2024-06-01") is False
    assert is_late(known, -6, "2024-06-01") is True


def test_an_open_invoice_stays_in_and_is_late_at_any_term(known):
    """
    due_on     | settled_on | amount
    2024-03-01 |            | 100
    """
    assert [is_late(known, t, "2024-09-01") for t in (-30, 0, 120)] == [True, True, True]


def test_a_half_paid_invoice_is_not_paid(known):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-01 | 2024-03-01 | 100

    settled_on | invoice | amount
    2024-03-01 | F1      | 50
    """
    assert days_late(known, "2024-09-01") == np.inf


def test_the_last_instalment_decides(known):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-01 | 2024-03-01 | 100

    settled_on | invoice | amount
    2024-03-01 | F1      | 50
    2024-03-21 | F1      | 50
    """
    assert days_late(known, "2024-09-01") == 20


def test_a_payment_counts_once_it_is_known_and_then_by_its_own_date(known):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-01 | 2024-03-01 | 100

    settled_on | invoice | amount | recorded_at
    2024-03-05 | F1      | 100    | 2024-03-20 09:00
    """
    assert days_late(known, "2024-03-20") == np.inf
    assert days_late(known, "2024-03-21") == 4


def test_an_invoice_says_nothing_before_it_is_known(known):
    """
    invoice | issued_on  | due_on     | amount | recorded_at
    F1      | 2024-02-01 | 2024-03-01 | 100    | 2024-05-02 09:00
    """
    assert is_late(known, 0, "2024-05-02") is None
    assert is_late(known, 0, "2024-05-03") is True


def test_an_invoice_closed_by_a_credit_note_says_nothing(known):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-01 | 2024-03-01 | 100

    settled_on | invoice | amount | kind
    2024-04-10 | F1      | 60     | credit_note
    2024-04-10 | F1      | 40     | payment
    """
    assert is_late(known, 0, "2024-04-10") is True  # then it was simply unpaid
    assert is_late(known, 0, "2024-09-01") is None


def test_a_small_credit_note_does_not_hide_when_the_rest_was_paid(known):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-01 | 2024-03-01 | 100

    settled_on | invoice | amount | kind
    2024-03-02 | F1      | 40     | credit_note
    2024-03-11 | F1      | 60     | payment
    """
    assert days_late(known, "2024-09-01") == 10


def test_a_disputed_invoice_says_nothing_once_the_dispute_is_known(known):
    """
    due_on     | settled_on | amount
    2024-03-01 | 2024-04-01 | 100
    2024-03-01 | 2024-04-01 | 100

    dispute_id | invoice | opened_on  | closed_on
    D1         | F1      | 2024-03-10 | 2024-03-12
    """
    assert is_late(known, 0, "2024-03-10") is True
    assert is_late(known, 0, "2024-03-11") is None
    assert is_late(known, 0, "2024-09-01") is None
    assert is_late(known, 0, "2024-09-01", "F2") is True


def test_a_written_off_invoice_was_never_paid(known):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-01 | 2024-03-01 | 100

    settled_on | invoice | amount | kind
    2024-03-01 | F1      | 90     | payment
    2024-06-01 | F1      | 10     | write_off
    """
    assert days_late(known, "2024-09-01") == np.inf


def test_cents_left_over_make_nobody_late_when_they_come(known):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-01 | 2024-03-01 | 100

    settled_on | invoice | amount
    2024-03-01 | F1      | 99.50
    2024-08-01 | F1      | 0.50
    """
    assert days_late(known, "2024-09-01") == 0


def test_cents_left_over_are_no_loss_when_they_are_written_off(known):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-01 | 2024-03-01 | 100

    settled_on | invoice | amount | kind
    2024-03-01 | F1      | 99.50  | payment
    2024-08-01 | F1      | 0.50   | write_off
    """
    assert days_late(known, "2024-09-01") == 0


def test_a_bounced_payment_is_none_until_it_is_made_good(known):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-01 | 2024-03-01 | 100

    settled_on | invoice | amount | kind
    2024-03-01 | F1      | 100    | payment
    2024-03-10 | F1      | 100    | reversal
    2024-03-31 | F1      | 100    | payment
    """
    assert days_late(known, "2024-03-10") == 0
    assert days_late(known, "2024-03-11") == np.inf
    assert days_late(known, "2024-04-01") == 30


def late_pairs(known: History, terms: np.ndarray, cutoff: int) -> tuple[np.ndarray, np.ndarray]:
    """Known and happened by invoice and term, shape (n_invoices, n_terms)."""
    lateness, due_on = days_late_known_at(known, cutoff), known.invoices.due_on
    shape = (due_on.size, terms.size)
    asked = np.tile(terms, due_on.size)
    outcome = late(np.repeat(lateness, terms.size), np.repeat(due_on, terms.size), asked, cutoff)
    return outcome.known.reshape(shape), outcome.happened.reshape(shape)


TERMS = np.arange(-30, 121, dtype=np.int32)
CUTOFFS = st.integers(START + 20, LAST_DAY)


@FEW
@given(raw_tables(), CUTOFFS)
def test_facts_known_from_the_cutoff_on_change_no_known_lateness(tables, cutoff):
    facts = history.facts_of(ledger_of(tables))
    told, witness = history.build(facts), history.build(known_before(facts, cutoff))
    sure, happened = late_pairs(told, TERMS, cutoff)
    sure_then, happened_then = late_pairs(witness, TERMS, cutoff)
    place = pd.Index(witness.invoice_id).get_indexer(pd.Index(told.invoice_id))
    assert not sure[place < 0].any()  # nobody had heard of these
    met = place >= 0
    np.testing.assert_array_equal(sure[met], sure_then[place[met]])
    assert (happened[met] == happened_then[place[met]])[sure[met]].all()


def test_a_fact_known_the_day_before_the_cutoff_does_change_it(known):
    """
    due_on     | settled_on | amount
    2024-03-01 | 2024-05-14 | 100
    """
    # 14 May 2024 is a Tuesday: the law above would be idle if this made no difference
    assert days_late(known, "2024-05-14") == np.inf
    assert days_late(known, "2024-05-15") == 74


@FEW
@given(raw_tables(), CUTOFFS)
def test_late_by_more_days_is_rarer_and_known_later(tables, cutoff):
    known = history.build(history.facts_of(ledger_of(tables)))
    sure, happened = late_pairs(known, TERMS, cutoff)
    assert (sure[:, :-1] >= sure[:, 1:]).all()
    assert (happened[:, :-1] >= happened[:, 1:])[sure[:, 1:]].all()


# ----------------------------------------------------------------------------------------- defaults


def test_a_natural_person_is_one_from_the_day_we_knew_the_customer():
    customers = pd.DataFrame(
        {
            "customer_id": ["A", "B"],
            "is_natural_person": [True, False],
            "recorded_at": pd.Timestamp("2024-02-01 10:00"),
        }
    )
    known = history.build(history.facts_of(ledger_of({"customers": customers})))
    assert known.natural_person_on.tolist() == [day("2024-02-01"), NEVER]


class Spell(NamedTuple):
    """Two ISO dates; no end while it lasts."""

    began: str
    ended: str | None


def spells(
    known: History, before: str = "2025-01-01", definition=BUREAU, person_on: int | None = None
) -> list[Spell]:
    """Spells of the first customer that began before a date."""
    if person_on is not None:
        known = known._replace(natural_person_on=np.array([person_on], np.int32))
    found = find_defaults(known, definition)
    mine = slice(found.start[0], found.start[1])
    return [
        Spell(_date(began), None if ended == NEVER else _date(ended))
        for began, ended in zip(found.began_on[mine], found.ended_on[mine], strict=True)
        if began < day(before)
    ]


def _date(number: int) -> str:
    return str(np.datetime64(int(number), "D"))


def test_the_worked_example_120_of_1000_begins_and_90_of_970_ends(known):
    """
    invoice | issued_on  | due_on     | amount
    OLD     | 2023-12-01 | 2024-01-01 | 120
    NEW     | 2024-02-01 | 2024-12-31 | 880

    settled_on | invoice | amount
    2024-04-10 | OLD     | 30
    """
    assert 120 / 1000 >= 0.10 > 90 / 970
    assert spells(known) == [Spell("2024-03-31", "2024-04-10")]  # 1 January + 90 days


def test_exactly_a_tenth_is_a_default(known):
    """
    invoice | issued_on  | due_on     | amount
    OLD     | 2023-12-01 | 2024-01-01 | 100
    NEW     | 2024-02-01 | 2024-12-31 | 900
    """
    assert spells(known) == [Spell("2024-03-31", None)]


def test_a_cent_less_than_a_tenth_is_none(known):
    """
    invoice | issued_on  | due_on     | amount
    OLD     | 2023-12-01 | 2024-01-01 | 99.99
    NEW     | 2024-02-01 | 2024-12-31 | 900.01
    """
    assert spells(known) == []


def test_a_payment_on_the_ninetieth_day_comes_in_time(known):
    """
    due_on     | settled_on | amount
    2024-01-01 | 2024-03-31 | 100
    """
    assert spells(known) == []


def test_an_invoice_recorded_long_after_its_due_date_counts_from_then_on(known):
    """
    invoice | issued_on  | due_on     | amount | recorded_at
    OLD     | 2023-12-01 | 2024-01-01 | 100    | 2024-06-03 09:00
    """
    assert spells(known) == [Spell("2024-06-03", None)]


def test_a_disputed_amount_never_makes_a_default(known):
    """
    invoice | issued_on  | due_on     | amount
    OLD     | 2023-12-01 | 2024-01-01 | 100

    dispute_id | invoice | opened_on  | closed_on
    D1         | OLD     | 2024-01-15 |
    """
    assert find_defaults(known, BUREAU).began_on.size == 0  # not even at the end of time


def test_an_invoice_in_two_disputes_is_free_when_both_are_closed(known):
    """
    invoice | issued_on  | due_on     | amount
    OLD     | 2023-12-01 | 2024-01-01 | 100

    dispute_id | invoice | opened_on  | closed_on
    D1         | OLD     | 2024-01-15 | 2024-05-02
    D2         | OLD     | 2024-02-01 | 2024-07-01
    """
    assert spells(known) == [Spell("2024-07-01", None)]


def test_a_dispute_opened_in_a_spell_ends_it_and_closing_it_resumes_it(known):
    """
    invoice | issued_on  | due_on     | amount
    OLD     | 2023-12-01 | 2024-01-01 | 100

    dispute_id | invoice | opened_on  | closed_on
    D1         | OLD     | 2024-04-10 | 2024-05-02
    """
    assert spells(known) == [Spell("2024-03-31", "2024-04-10"), Spell("2024-05-02", None)]


def test_an_insolvency_never_ends_even_when_all_is_paid(known):
    """
    due_on     | settled_on | amount
    2024-01-01 | 2024-06-01 | 100

    event_id | kind           | opened_on
    J1       | reorganisation | 2024-02-12
    """
    assert spells(known) == [Spell("2024-02-12", None)]
    overdue_only = DefaultDefinition("overdue", 90, 0.10, insolvency=False)
    assert spells(known, definition=overdue_only) == [Spell("2024-03-31", "2024-06-01")]


def test_a_customer_that_never_bought_can_be_insolvent(known):
    """
    event_id | kind        | opened_on
    J1       | liquidation | 2024-02-12
    """
    assert spells(known) == [Spell("2024-02-12", None)]


def test_a_customer_enters_again_when_what_is_owed_besides_shrinks(known):
    """
    invoice | issued_on  | due_on     | amount
    OLD     | 2023-12-01 | 2024-01-01 | 120
    NEW     | 2024-02-01 | 2024-12-31 | 880

    settled_on | invoice | amount
    2024-04-10 | OLD     | 30
    2024-05-02 | NEW     | 880
    """
    assert spells(known) == [Spell("2024-03-31", "2024-04-10"), Spell("2024-05-02", None)]


def test_a_bounced_payment_puts_the_customer_back_in_default(known):
    """
    invoice | issued_on  | due_on     | amount
    OLD     | 2023-12-01 | 2024-01-01 | 100

    settled_on | invoice | amount | kind
    2024-04-10 | OLD     | 100    | payment
    2024-04-16 | OLD     | 100    | reversal
    """
    assert spells(known) == [Spell("2024-03-31", "2024-04-10"), Spell("2024-04-16", None)]


def test_the_books_are_read_at_the_end_of_the_day(known):
    """
    invoice | issued_on  | due_on     | amount
    OLD     | 2023-12-01 | 2024-01-01 | 100

    settled_on | invoice | amount | kind
    2024-04-10 | OLD     | 100    | payment
    2024-04-10 | OLD     | 100    | reversal
    """
    assert spells(known) == [Spell("2024-03-31", None)]  # paid and bounced within a day: no gap


@pytest.mark.parametrize("definition", [BUREAU, BANK, INSURER], ids=lambda d: d.name)
def test_an_insolvency_is_a_default_for_everybody_and_never_ends(known, definition):
    """
    due_on     | settled_on | amount
    2024-01-01 | 2024-02-20 | 1000

    event_id | kind        | opened_on
    J1       | liquidation | 2024-02-12
    """
    assert spells(known, definition=definition) == [Spell("2024-02-12", None)]


def test_the_bank_counts_more_than_90_consecutive_days_and_three_months_of_probation(known):
    """
    due_on     | settled_on | amount
    2024-01-01 | 2024-04-10 | 600
    """
    # 2 January is the first day past due, 31 March the 90th, 1 April the 91st
    assert day("2024-04-01") - day("2024-01-01") == 91
    assert day("2024-07-09") - day("2024-04-10") == 90
    assert spells(known, definition=BANK) == [Spell("2024-04-01", "2024-07-09")]


def test_the_bank_is_paid_in_time_on_the_90th_day_and_not_on_the_91st_when_it_is_known_later(known):
    """
    customer | due_on     | settled_on | amount
    A        | 2024-01-01 | 2024-03-31 | 600
    B        | 2024-01-01 | 2024-04-02 | 600
    """
    found = find_defaults(known, BANK)
    assert [seen_by(found, customer, day("2024-06-01")) for customer in (0, 1)] == [
        [],
        [(day("2024-04-01"), NEVER)],
    ]


def test_for_the_bank_500_is_not_material_and_a_cent_more_is(known):
    """
    customer | due_on     | settled_on | amount
    A        | 2024-01-01 |            | 500.00
    B        | 2024-01-01 |            | 500.01
    """
    found = find_defaults(known, BANK)
    assert np.diff(found.start).tolist() == [0, 1]


def test_for_the_bank_a_natural_person_owes_a_material_amount_above_100(known):
    """
    due_on     | settled_on | amount
    2024-01-01 |            | 100.01
    """
    assert spells(known, definition=BANK) == []
    assert spells(known, definition=BANK, person_on=day("2023-06-01")) == [
        Spell("2024-04-01", None)
    ]


def test_who_becomes_known_as_a_natural_person_later_counts_as_one_from_then_on(known):
    """
    due_on     | settled_on | amount
    2024-01-01 |            | 100.01
    """
    # material from 1 February on: more than 90 days are over on 1 May, 90 days later
    assert spells(known, definition=BANK, person_on=day("2024-02-01")) == [
        Spell("2024-05-01", None)
    ]


def test_for_the_bank_one_percent_of_the_exposure_is_not_material_and_a_cent_more_is(known):
    """
    customer | invoice | issued_on  | due_on     | amount
    A        | A-OLD   | 2023-12-01 | 2024-01-01 | 600
    A        | A-NEW   | 2023-12-01 | 2024-12-31 | 59400
    B        | B-OLD   | 2023-12-01 | 2024-01-01 | 600.01
    B        | B-NEW   | 2023-12-01 | 2024-12-31 | 59400
    """
    assert 600 / 60_000 == 0.01
    found = find_defaults(known, BANK)
    assert [seen_by(found, customer, day("2024-12-31")) for customer in (0, 1)] == [
        [],
        [(day("2024-04-01"), NEVER)],
    ]


def test_the_banks_days_are_consecutive_for_the_customer_whichever_invoices_are_late(known):
    """
    due_on     | settled_on | amount
    2024-01-01 | 2024-02-20 | 600
    2024-02-10 | 2024-04-05 | 600
    """
    # neither was 90 days late, but something material was from 2 January to 4 April
    assert spells(known, definition=BANK) == [Spell("2024-04-01", "2024-07-04")]


def test_a_day_without_a_material_amount_starts_the_banks_count_again(known):
    """
    due_on     | settled_on | amount
    2024-01-01 | 2024-03-20 | 600
    2024-03-20 |            | 600
    """
    # nothing is past due on 20 March; the second one is from the 21st on, 91 days on 19 June
    assert spells(known, definition=BANK) == [Spell("2024-06-19", None)]


def test_an_invoice_a_day_earlier_leaves_no_gap_in_the_banks_count(known):
    """
    due_on     | settled_on | amount
    2024-01-01 | 2024-03-20 | 600
    2024-03-19 |            | 600
    """
    assert spells(known, definition=BANK) == [Spell("2024-04-01", None)]


def test_a_dispute_stops_the_banks_count_and_it_starts_again_when_it_is_closed(known):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2023-12-01 | 2024-01-01 | 600

    dispute_id | invoice | opened_on  | closed_on
    D1         | F1      | 2024-03-10 | 2024-05-02
    """
    assert spells(known, definition=BANK) == [Spell("2024-07-31", None)]  # 2 May + 90 days


def test_a_relapse_within_the_banks_three_months_is_the_same_default(known):
    """
    due_on     | settled_on | amount
    2024-01-01 | 2024-04-10 | 600

    invoice | issued_on  | due_on     | amount
    F2      | 2024-02-01 | 2024-03-01 | 50

    settled_on | invoice | amount | kind
    2024-05-15 | F2      | 50     | write_off
    """
    # a write-off on 15 May: 90 days without anything are 16 May to 13 August
    assert spells(known, definition=BANK) == [Spell("2024-04-01", "2024-08-14")]


def test_a_write_off_is_a_default_for_the_bank_however_small_and_for_no_other(known):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-01-01 | 2024-02-01 | 40

    settled_on | invoice | amount | kind
    2024-03-01 | F1      | 30     | payment
    2024-03-11 | F1      | 10     | write_off
    """
    assert spells(known, definition=BANK) == [Spell("2024-03-11", "2024-06-10")]
    assert spells(known, definition=BUREAU) == spells(known, definition=INSURER) == []


def test_writing_off_cents_or_a_disputed_debt_is_no_default(known):
    """
    customer | invoice | issued_on  | due_on     | amount
    A        | F1      | 2024-01-01 | 2024-02-01 | 40
    B        | F2      | 2024-01-01 | 2024-02-01 | 40

    customer | settled_on | invoice | amount | kind
    A        | 2024-03-01 | F1      | 39.50  | payment
    A        | 2024-03-11 | F1      | 0.50   | write_off
    B        | 2024-03-11 | F2      | 40     | write_off

    customer | dispute_id | invoice | opened_on  | closed_on
    B        | D1         | F2      | 2024-03-11 |
    """
    assert find_defaults(known, BANK).began_on.size == 0


def test_the_insurer_waits_180_days_and_then_any_amount_unpaid_counts(known):
    """
    due_on     | settled_on | amount
    2024-01-01 | 2024-07-05 | 20
    2024-02-01 | 2024-12-31 | 9000
    """
    assert day("2024-06-29") - day("2024-01-01") == 180
    assert spells(known, definition=INSURER) == [
        Spell("2024-06-29", "2024-07-05"),
        Spell("2024-07-30", "2024-12-31"),
    ]


def test_the_insurer_is_paid_in_time_on_the_last_day_of_the_waiting_period(known):
    """
    due_on     | settled_on | amount
    2024-01-01 | 2024-06-29 | 1000
    """
    assert spells(known, definition=INSURER) == []


def test_what_is_disputed_at_the_end_of_the_waiting_period_is_no_loss_of_the_insurer(known):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2023-12-01 | 2024-01-01 | 1000

    dispute_id | invoice | opened_on  | closed_on
    D1         | F1      | 2024-05-02 | 2024-08-02
    """
    assert spells(known, definition=INSURER) == [Spell("2024-08-02", None)]


def test_the_waiting_period_is_the_policys_own(known):
    """
    due_on     | settled_on | amount
    2024-01-01 |            | 1000
    """
    shorter = replace(INSURER, days_past_due=150)
    assert spells(known, definition=shorter) == [Spell("2024-05-30", None)]


def test_the_presets_are_those_of_the_domain_page():
    assert {name: asdict(preset) for name, preset in DEFAULT_DEFINITIONS.items()} == {
        "bureau": asdict(DefaultDefinition("bureau", 90, 0.10)),
        "bank": asdict(
            DefaultDefinition(
                "bank",
                days_past_due=1,
                exposure_rate=0.01,
                consecutive_days=90,
                amount_cents=500_00,
                natural_person_amount_cents=100_00,
                must_exceed_rate=True,
                write_off=True,
                probation_days=90,
            )
        ),
        "insurer": asdict(DefaultDefinition("insurer", 180, 0.0)),
    }


@pytest.mark.parametrize("definition", [BUREAU, BANK, INSURER], ids=lambda d: d.name)
def test_a_definition_comes_back_from_a_model_card_as_it_was(definition):
    assert json.loads(json.dumps(asdict(definition))) == asdict(definition)


def plain_spells(
    known: History, definition: DefaultDefinition, customer: int, person_on: int = NEVER
) -> list[tuple]:
    """Evaluate the books of a customer at the end of each day, one by one, from the words alone."""
    invoices, steps, disputes = known.invoices, known.steps, known.disputes
    mine = range(invoices.start[customer], invoices.start[customer + 1])
    steps_of = {i: np.flatnonzero(steps.invoice == i) for i in mine}
    disputes_of = {i: np.flatnonzero(disputes.invoice == i) for i in mine}

    def balance(i: int, today: int) -> int:
        if invoices.known_on[i] > today:
            return 0
        seen = [k for k in steps_of[i] if steps.known_on[k] <= today]
        return int(steps.open_cents[seen[-1]] if seen else invoices.amount_cents[i])

    def is_disputed(i: int, today: int) -> bool:
        return any(disputes.known_on[d] <= today < disputes.closed_on[d] for d in disputes_of[i])

    def is_material(today: int) -> bool:
        owed = {i: balance(i, today) for i in mine}
        late = sum(
            cents
            for i, cents in owed.items()
            if today - invoices.due_on[i] >= definition.days_past_due and not is_disputed(i, today)
        )
        is_person = person_on <= today
        least = definition.natural_person_amount_cents if is_person else definition.amount_cents
        share = definition.exposure_rate * sum(owed.values())
        return late > least and (late > share if definition.must_exceed_rate else late >= share)

    def is_written_off(today: int) -> bool:
        for i in mine:
            before = int(invoices.amount_cents[i])
            for k in steps_of[i]:
                lost = steps.kind[k] == WRITE_OFF and steps.known_on[k] == today
                if lost and before > 0 and not is_disputed(i, today):
                    return True
                before = int(steps.open_cents[k])
        return False

    found: list[list[int]] = []
    inside, material_days, quiet_days = False, 0, 0
    for today in range(START - 40, LAST_DAY + 1):
        material_days = material_days + 1 if is_material(today) else 0
        shown = material_days > definition.consecutive_days
        shown |= definition.insolvency and known.insolvent_on[customer] <= today
        shown |= definition.write_off and is_written_off(today)
        quiet_days = 0 if shown else quiet_days + 1
        if shown and not inside:
            found.append([today, NEVER])
            inside = True
        elif inside and quiet_days > definition.probation_days:
            found[-1][1] = today
            inside = False
    return [tuple(spell) for spell in found]


@st.composite
def troubled(draw: st.DrawFn) -> dict[str, Any]:
    """Draw small ledgers with insolvencies, and with several disputes on one invoice."""
    tables = draw(raw_tables())
    customers = list(tables["customers"]["customer_id"])
    judged = draw(st.lists(st.sampled_from(customers), max_size=2))
    days = draw(st.lists(st.integers(START, START + 600), min_size=2, max_size=2))
    tables["insolvency_events"] = pd.DataFrame(
        {
            "event_id": [f"J{n}" for n in range(len(judged))],
            "customer_id": judged,
            "kind": "liquidation",
            "opened_on": pd.to_datetime(days[: len(judged)], unit="D"),
        }
    )
    disputes = tables["disputes"]
    if len(disputes):
        shift = pd.Timedelta(days=draw(st.integers(-10, 150)))
        again = disputes.assign(
            dispute_id=disputes["dispute_id"] + "b",
            opened_on=disputes["opened_on"] + shift,
            closed_on=disputes["closed_on"] + shift + pd.Timedelta(days=draw(st.integers(0, 90))),
            recorded_at=disputes["opened_on"] + shift,
        )
        tables["disputes"] = pd.concat([disputes, again], ignore_index=True)
    return tables


DEFINITIONS = st.sampled_from([BUREAU, BANK, INSURER]) | st.builds(
    DefaultDefinition,
    name=st.just("drawn"),
    days_past_due=st.sampled_from([0, 1, 30, 90]),
    exposure_rate=st.sampled_from([0.0, 0.10, 0.5, 1.0]),
    insolvency=st.booleans(),
    consecutive_days=st.sampled_from([0, 1, 20, 90]),
    amount_cents=st.sampled_from([0, 10_000]),
    natural_person_amount_cents=st.sampled_from([0, 50_000]),
    must_exceed_rate=st.booleans(),
    write_off=st.booleans(),
    probation_days=st.sampled_from([0, 1, 40]),
)
PERSONS = st.lists(
    st.sampled_from([NEVER, NEVER, START - 100, START + 200]), min_size=5, max_size=5
)


@FEW
@given(troubled(), DEFINITIONS, PERSONS)
def test_spells_are_those_of_books_read_every_day(tables, definition, persons):
    known = history.build(history.facts_of(ledger_of(tables)))
    person_on = np.array(persons[: known.customers.size], np.int32)
    found = find_defaults(known._replace(natural_person_on=person_on), definition)
    for customer in range(known.customers.size):
        plain = plain_spells(known, definition, customer, person_on[customer])
        assert seen_by(found, customer, LAST_DAY + 1) == plain


def seen_by(found: Defaults, customer: int, as_of: int) -> list[tuple[int, int]]:
    """Spells as seen before a day: those begun, each with its end only when it ended by then."""
    mine = slice(found.start[customer], found.start[customer + 1])
    return [
        (int(began), int(ended) if ended < as_of else NEVER)
        for began, ended in zip(found.began_on[mine], found.ended_on[mine], strict=True)
        if began < as_of
    ]


@FEW
@given(troubled(), DEFINITIONS, CUTOFFS)
def test_the_spells_of_a_day_depend_on_nothing_known_after_it(tables, definition, as_of):
    facts = history.facts_of(ledger_of(tables))
    told, witness = history.build(facts), history.build(known_before(facts, as_of))
    later, then = find_defaults(told, definition), find_defaults(witness, definition)
    codes = witness.codes(told.customers)
    for customer, code in enumerate(codes):
        expected = seen_by(then, code, as_of) if code >= 0 else []
        assert seen_by(later, customer, as_of) == expected


def test_the_spells_of_a_day_do_depend_on_that_day(known):
    """
    due_on     | settled_on | amount
    2024-01-02 | 2024-04-02 | 100
    """
    found = find_defaults(known, BUREAU)  # 2 January + 90 days: Monday 1 April
    assert seen_by(found, 0, day("2024-04-01")) == []
    assert seen_by(found, 0, day("2024-04-02")) == [(day("2024-04-01"), NEVER)]
    assert seen_by(found, 0, day("2024-04-03")) == [(day("2024-04-01"), day("2024-04-02"))]


def defaults_within(found: Defaults, as_of: str, horizon: int, cutoff: str) -> bool | None:
    """Whether the first customer defaults; ``None`` where that is not asked or not yet known."""
    customer, today = np.zeros(1, np.int64), np.array([day(as_of)], np.int32)
    outcome = default_within(found, customer, today, np.array([horizon], np.int32), day(cutoff))
    return bool(outcome.happened[0]) if outcome.known[0] else None


@pytest.fixture
def one_spell() -> Defaults:
    """In default from 31 March on, and no longer on 10 April 2024."""
    began, ended = (np.array([day(d)], np.int32) for d in ("2024-03-31", "2024-04-10"))
    return Defaults(np.array([0, 1]), began, ended)


def test_a_default_within_h_days_is_known_when_all_h_days_have_passed(one_spell):
    # asked on 1 March for 10 days: 1 … 10 March, all before the 11th
    assert defaults_within(one_spell, "2024-03-01", 10, "2024-03-10") is None
    assert defaults_within(one_spell, "2024-03-01", 10, "2024-03-11") is False


def test_a_default_is_not_known_early_because_it_came_early(one_spell):
    assert defaults_within(one_spell, "2024-03-01", 60, "2024-04-29") is None
    assert defaults_within(one_spell, "2024-03-01", 60, "2024-04-30") is True


def test_the_horizon_counts_the_day_asked_and_not_the_day_after_its_last(one_spell):
    assert defaults_within(one_spell, "2024-03-01", 30, "2024-12-31") is False  # to 30 March
    assert defaults_within(one_spell, "2024-03-01", 31, "2024-12-31") is True
    assert defaults_within(one_spell, "2024-03-31", 1, "2024-12-31") is True  # not seen yet


def test_a_customer_in_default_is_not_asked(one_spell):
    customer = np.zeros(4, np.int64)
    days = np.array(
        [day(d) for d in ("2024-03-31", "2024-04-01", "2024-04-10", "2024-04-11")], np.int32
    )
    # its end on 10 April is seen from the 11th on
    assert is_in_default(one_spell, customer, days).tolist() == [False, True, True, False]
    assert defaults_within(one_spell, "2024-04-10", 30, "2024-12-31") is None
    assert defaults_within(one_spell, "2024-04-11", 30, "2024-12-31") is False


@FEW
@given(troubled(), CUTOFFS, st.data())
def test_default_within_more_days_is_likelier_and_known_later(tables, cutoff, data):
    known = history.build(history.facts_of(ledger_of(tables)))
    found = find_defaults(known, BUREAU)
    as_of = data.draw(st.integers(START, cutoff))
    horizons = np.arange(1, 401, dtype=np.int32)
    for code in range(known.customers.size):
        customer = np.full(horizons.size, code)
        today = np.full(horizons.size, as_of, np.int32)
        outcome = default_within(found, customer, today, horizons, cutoff)
        assert (outcome.known[:-1] >= outcome.known[1:]).all()
        assert (outcome.happened[:-1] <= outcome.happened[1:]).all()


@FEW
@given(troubled(), CUTOFFS, st.data())
def test_facts_known_from_the_cutoff_on_change_no_known_default(tables, cutoff, data):
    facts = history.facts_of(ledger_of(tables))
    told, witness = history.build(facts), history.build(known_before(facts, cutoff))
    n = 40
    code = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
    as_of = np.array(
        data.draw(st.lists(st.integers(START, START + 700), min_size=n, max_size=n)), np.int32
    )
    horizons = np.tile(np.array([1, 30, 90, 365], np.int32), n // 4)
    asked = code < told.customers.size
    there = witness.codes(told.customers)[code[asked]]
    met = there >= 0
    outcomes = [
        default_within(find_defaults(h, BUREAU), who[met], as_of[asked][met], days[met], cutoff)
        for h, who, days in (
            (told, code[asked], horizons[asked]),
            (witness, there, horizons[asked]),
        )
    ]
    np.testing.assert_array_equal(outcomes[0].known, outcomes[1].known)
    sure = outcomes[0].known
    np.testing.assert_array_equal(outcomes[0].happened[sure], outcomes[1].happened[sure])


def test_the_books_wait_for_nineteen_payments_in_twenty(known):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-01 | 2024-03-01 | 100
    F2      | 2024-02-01 | 2024-03-01 | 100
    F3      | 2024-02-01 | 2024-03-01 | 100

    settled_on | invoice | amount | recorded_at
    2024-03-04 | F1      | 100    | 2024-03-04 09:00
    2024-03-05 | F2      | 100    | 2024-03-08 09:00
    2024-04-30 | F3      | 100    | 2024-05-20 09:00
    """
    waits = {"2024-03-04": 0, "2024-03-05": 0, "2024-03-09": 3, "2024-05-21": 20}
    assert {cutoff: recording_days(known, day(cutoff)) for cutoff in waits} == waits
