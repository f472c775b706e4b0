"""What became of an override: the docstring is the ledger it is followed on."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal

import pytest

from features.history import build, facts_of
from features.store import sqlite_url
from models.limits import Order
from models.overrides import Choice, Override
from models.targets import DEFAULT_DEFINITIONS, find_defaults
from serving.audit import Record
from serving.override_results import results, summary
from tests.features.ledgers import day, ledger_of, read_tables

DEPOSIT = Choice("deposit", 8_000_00, Decimal("0.2"))
OPTIONS = [
    {"kind": "cash", "deposit_rate": None, "expected_profit": "320.00", "chosen": True},
    {"kind": "open", "deposit_rate": None, "expected_profit": "-50.00", "chosen": False},
]


def an_override(choice=DEPOSIT, decided="2024-03-01", expires="2024-04-30", **changes) -> Override:
    said = {
        "id": f"o-{decided}",
        "assessment_id": "a-1",
        "customer_id": "A",
        "order": Order(10_000_00, 800_00, 30),
        "direction": "softer",
        "facts": frozenset(),
        "by": "Claire",
        "role": "credit_manager",
        "reason": "because",
        **changes,
    }
    days = date.fromisoformat(decided), date.fromisoformat(expires)
    return Override(choice=choice, decided_on=days[0], expires_on=days[1], **said)


@pytest.fixture
def follow(request, tmp_path):
    """Follow overrides up to a day on the ledger of the test's docstring."""

    def follow(as_of: str, *overrides: Override):
        record = Record(sqlite_url(tmp_path / "record.db"))
        body = {"answer": {"options": OPTIONS}}
        if record.find("a-1") is None:
            record.append("a-1", "assessment", json.dumps(body).encode())
        facts = facts_of(ledger_of(read_tables(request.function.__doc__)))
        history = build(facts)
        defaults = find_defaults(history, DEFAULT_DEFINITIONS["bureau"])
        return results(overrides or [an_override()], record, history, defaults, day(as_of))

    return follow


def test_until_an_invoice_follows_nothing_is_known(follow):
    """
    due_on     | settled_on | amount
    2024-02-15 | 2024-02-15 | 5000
    """
    (one,) = follow("2024-06-01")
    assert (one.followed, one.result_cents) == ((), None)
    assert one.in_words == "no invoice since"
    assert (one.proposed, one.proposed_profit_cents) == ("cash", 320_00)


def test_invoices_are_taken_until_they_make_up_the_order(follow):
    """
    due_on     | settled_on | amount
    2024-04-05 | 2024-04-17 | 6000
    2024-04-10 | 2024-04-10 | 3000
    2024-04-20 |            | 3000
    2024-04-25 |            | 9000
    """
    (one,) = follow("2024-04-22")
    assert [(f.cents, f.state, f.days_late) for f in one.followed] == [
        (6_000_00, "paid", 12),
        (3_000_00, "paid", 0),
        (1_000_00, "overdue", 1),
    ]
    assert one.result_cents == 8 * 9_000  # 8 % of 9,000 = 720
    assert one.in_words == "9,000.00 paid late, by 12 days at most; 1,000.00 overdue by 1 day"


def test_what_is_open_and_not_due_says_nothing_yet(follow):
    """
    due_on     | settled_on | amount
    2024-04-05 |            | 6000
    """
    (one,) = follow("2024-03-20")
    assert [f.state for f in one.followed] == ["open"]
    assert one.result_cents is None


def test_a_write_off_is_lost(follow):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-03-06 | 2024-04-05 | 6000
    F2      | 2024-03-07 | 2024-04-05 | 4000

    settlement_id | invoice | settled_on | amount | kind
    S1            | F1      | 2024-04-17 | 6000   | payment
    S2            | F2      | 2024-09-01 | 4000   | write_off
    """
    (one,) = follow("2024-10-01")
    assert one.result_cents == 8 * 6_000 - 4_000_00  # the module's worked example: −3,520
    assert "4,000.00 of 4,000.00 lost" in one.in_words


def test_what_a_customer_in_default_owes_counts_as_lost_until_it_is_paid(follow):
    """
    due_on     | settled_on | amount
    2024-04-05 | 2024-08-30 | 6000
    """
    (one,) = follow("2024-08-01")  # more than 90 days past due
    assert [f.state for f in one.followed] == ["lost"]
    assert one.result_cents == -6_000_00
    (later,) = follow("2024-09-15")
    assert [f.state for f in later.followed] == ["paid"]
    assert later.result_cents == 8 * 6_000


def test_part_paid_in_default_loses_the_rest(follow):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-03-06 | 2024-04-05 | 6000

    settlement_id | invoice | settled_on | amount | kind
    S1            | F1      | 2024-04-17 | 2000   | payment
    """
    (one,) = follow("2024-08-01")
    assert one.result_cents == 8 * 2_000 - 4_000_00


def test_a_credit_note_is_neither_paid_nor_lost(follow):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-03-06 | 2024-04-05 | 6000

    settlement_id | invoice | settled_on | amount | kind
    S1            | F1      | 2024-03-17 | 6000   | credit_note
    """
    (one,) = follow("2024-08-01")
    assert [f.state for f in one.followed] == ["credited"]
    assert one.result_cents is None


def test_the_next_decision_on_the_customer_takes_over(follow):
    """
    due_on     | settled_on | amount
    2024-04-05 | 2024-04-05 | 1000
    2024-05-05 | 2024-05-05 | 2000
    """
    first, second = an_override(), an_override(decided="2024-04-01")
    one, two = follow("2024-06-01", first, second)
    assert [f.cents for f in one.followed] == [1_000_00]
    assert [f.cents for f in two.followed] == [2_000_00]
    assert one.ends_on == day("2024-04-01")


def test_a_withdrawal_ends_a_decision_and_is_not_followed(follow):
    """
    due_on     | settled_on | amount
    2024-05-05 | 2024-05-05 | 2000
    """
    (one,) = follow("2024-06-01", an_override(), an_override(None, "2024-03-20"))
    assert one.followed == ()


def test_another_customer_s_invoices_do_not_count(follow):
    """
    customer | due_on     | settled_on | amount
    B        | 2024-04-05 | 2024-04-05 | 1000
    """
    assert follow("2024-06-01")[0].followed == ()
    assert follow("2024-06-01", an_override(customer_id="nobody"))[0].followed == ()


def test_the_summary_is_by_direction_and_sums_only_what_is_known(follow):
    """
    customer | due_on     | settled_on | amount
    A        | 2024-04-05 | 2024-04-05 | 10000
    """
    found = follow("2024-06-01", an_override(), an_override(customer_id="B", direction="harder"))
    softer, harder = summary(found)
    assert (softer.direction, softer.overrides, softer.known) == ("softer", 1, 1)
    assert (softer.result_cents, softer.proposed_profit_cents) == (800_00, 320_00)
    assert (harder.direction, harder.overrides, harder.known) == ("harder", 1, 0)
    assert (harder.result_cents, harder.proposed_profit_cents) == (0, 0)
