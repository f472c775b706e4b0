"""The smallest changes that soften an action: they do, no smaller one does, or none is told."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.counterfactuals import (
    append_payments,
    bench,
    bring_news,
    found,
    holds,
    instant,
    orders,
    smaller_ones,
)
from features.store import Source, Store
from models.changes import Owed
from models.policy import Order, load
from models.situation import as_date
from serving.answering import Question, answer
from serving.assess import Assessor
from serving.audit import Entry, Record
from serving.counterfactuals import (
    Aim,
    Case,
    NoCounterfactuals,
    Search,
    counterfactuals,
    first,
    paid,
    read,
)
from serving.override import Overrider, Wanted
from serving.replay import Entries, Replayer
from serving.schemas.counterfactuals import Counterfactuals
from tests.conftest import POLICY
from tests.features.ledgers import ledger_of, read_tables

HELD = Order(2_000_00, 20_00, 30)
BANK_DETAILS = """
change_id | customer | changed_on | kind         | value
b1        | {customer}  | 2025-06-01 | bank_details | unverified
"""
CORRECTED = """
customer | invoice | issued_on  | due_on     | amount
{customer}  | X1      | 2025-03-01 | 2025-03-31 | {amount}
"""


def the_entry(workspace, id: str) -> Entry:
    entry = Entries(workspace.record_url).find(id)
    assert entry is not None
    return entry


def assessed(workspace, customer: str, order: Order, at: datetime) -> Entry:
    """Assess, and give what is on the record."""
    store, record = Store(workspace.facts_url), Record(workspace.record_url)
    told = Assessor(store, record, workspace, lambda: at).assess(customer, order)
    record.close()
    return the_entry(workspace, json.loads(told)["id"])


def told_of(workspace, entry: Entry) -> dict[str, Any]:
    told = counterfactuals(Replayer(workspace, Store(workspace.facts_url)), entry)
    Counterfactuals.model_validate(told)
    return told


def first_where(workspace, action: str) -> tuple[Entry, dict[str, Any]]:
    """Assess until an action comes; give the entry and what was told."""
    store = Store(workspace.facts_url)
    for customer, order in orders(store):
        entry = assessed(workspace, customer, order, instant(store))
        if json.loads(entry.body)["answer"]["recommendation"]["action"] == action:
            return entry, told_of(workspace, entry)
    raise AssertionError(action)


# They do.


def test_every_change_told_gives_the_promised_action_when_it_is_done(seller):
    told, _ = found(seller, 60)
    promised = [one for _, some in told for one in some]
    kinds = {one.change["kind"] for one in promised}
    assert {"deposit", "smaller_order", "shorter_terms", "pay_invoices"} <= kinds
    assert [one for one in promised if not holds(seller, one)] == []
    for answer_, some in told:
        Counterfactuals.model_validate(answer_)
        assert (answer_["none_found"] is None) == bool(some)
        efforts = [one.change["effort"] for one in some]
        assert efforts == sorted(efforts)
        assert (
            answer_["action"] not in {one.change["action"] for one in some} | {"open"} or not some
        )


def test_the_benchmark_holds_on_a_few(seller):
    """With back-dated invoices and groups of customers."""
    bring_news(seller)
    rows = {row.what: row for row in bench(seller, 6, 1)}
    (applied,) = (row for what, row in rows.items() if what.endswith("the promised action"))
    assert applied.is_met
    assert int(applied.measured) >= 6
    assert rows["of 1 gone through one by one, with a smaller one"].measured == "0"


def test_no_smaller_change_gives_the_same_action(seller):
    found(seller, 40)
    tried, smaller = smaller_ones(seller, 5, 150)
    assert (tried, smaller) == (5, 0)


def test_a_payment_that_is_imagined_is_seen_as_one_that_is_appended(seller):
    """Features, exposure and peers, of a customer whose facts were corrected before, to the bit."""
    store = Store(seller.facts_url)
    at = instant(store)
    for customer in sorted(set(store.read()["invoices"]["customer_id"]))[:40]:
        for amount in (900, 4000):  # the second corrects the first
            tables = read_tables(CORRECTED.format(customer=customer, amount=amount))
            tables.pop("customers")
            tables["invoices"]["invoice_id"] = f"X-{customer}"
            days = timedelta(days=3 if amount == 900 else 2)
            when = int((at - days - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))
            store.append(ledger_of(tables), Source(()), when)
        entry = assessed(seller, customer, HELD, at)
        said, known, order = read(Replayer(seller, Store(seller.facts_url)), entry)
        owed = tuple(Case(known, customer).owed())
        if len(owed) >= 2:
            break
    assert not Case(known, customer).looked.history.views.are_single
    later = at + timedelta(days=3)
    imagined = json.loads(
        answer(Question("x", customer, order, {}, None), paid(known, customer, owed, 3)).body
    )
    invoices = [
        {"invoice_id": one.invoice_id, "open": f"{Decimal(one.open_cents) / 100:.2f}"}
        for one in owed
    ]
    append_payments(store, customer, invoices, later)
    done = json.loads(assessed(seller, customer, order, later).body)
    assert imagined["evidence"]["features"] == done["evidence"]["features"]
    assert said["exposure"] != imagined["answer"]["exposure"] == done["answer"]["exposure"]
    assert imagined["answer"]["options"] == done["answer"]["options"]


def test_what_came_later_does_not_count(seller):
    entry, told = first_where(seller, "cash")
    customer = json.loads(entry.body)["answer"]["customer"]["id"]
    tables = read_tables(CORRECTED.format(customer=customer, amount=70_000))
    tables.pop("customers")
    Store(seller.facts_url).append(ledger_of(tables), Source(()))
    assert told_of(seller, entry) == told


def test_what_the_answer_does_not_confirm_is_not_told(seller, monkeypatch):
    entry, told = first_where(seller, "cash")
    assert told["found"]
    other = SimpleNamespace(body=b'{"answer": {"recommendation": {"action": "refuse"}}}')
    monkeypatch.setattr("serving.counterfactuals.answer", lambda *_: other)
    assert told_of(seller, entry)["found"] == []


# None is told.


def test_what_is_open_already_cannot_be_softer(seller):
    _, told = first_where(seller, "open")
    assert told["found"] == []
    assert told["none_found"]["id"] == "nothing_softer"


def test_a_signal_of_fraud_is_lifted_by_nothing_not_even_by_paying_all(seller):
    store = Store(seller.facts_url)
    tables = read_tables(BANK_DETAILS.format(customer="C-00001"))
    tables.pop("customers")
    store.append(ledger_of(tables), Source(()))
    entry = assessed(seller, "C-00001", HELD, instant(store))
    told = told_of(seller, entry)
    assert (told["action"], told["found"]) == ("review", [])
    assert told["none_found"]["id"] == "rule"
    assert [rule["id"] for rule in told["none_found"]["rules"]] == ["fraud_signal"]
    assert told["none_found"]["en"].startswith("No change tried lifts: bank details changed")


def test_what_a_person_decided_harder_is_for_a_person(seller):
    store = Store(seller.facts_url)
    at, record = instant(store), Record(seller.record_url)
    entry, _ = first_where(seller, "open")
    said = json.loads(entry.body)["answer"]
    overrider = Overrider(store, record, load(POLICY), {"Claire": "credit_manager"}, lambda: at)
    until = at.date() + timedelta(days=20)
    overrider.decide(Wanted(entry.id, "Claire", "They move to Spain.", "cash", until=until))
    record.close()
    amount = int(Decimal(said["order"]["amount"]) * 100)
    order = Order(amount, int(Decimal(said["order"]["margin"]) * 100), said["order"]["terms_days"])
    told = told_of(seller, assessed(seller, said["customer"]["id"], order, at))
    assert (told["action"], told["found"]) == ("cash", [])
    assert told["none_found"]["id"] == "decided_by_a_person"


def test_an_entry_that_is_not_what_its_facts_give_is_refused(seller):
    entry, _ = first_where(seller, "open")
    said = json.loads(entry.body)
    said["answer"]["recommendation"]["action"] = "cash"
    other = replace(entry, body=json.dumps(said).encode())
    with pytest.raises(NoCounterfactuals, match="is not what its facts give: replay it first"):
        told_of(seller, other)
    with pytest.raises(NoCounterfactuals, match="recorded by an earlier version"):
        told_of(seller, replace(entry, body=b'{"schema": 1}'))
    with pytest.raises(NoCounterfactuals, match=r"is damaged \(KeyError\)"):
        told_of(seller, replace(entry, body=b'{"schema": 2}'))


# What is softer.


def decision(action: str, proposed: str | None = None, rate: float | None = None) -> Any:
    return SimpleNamespace(action=action, proposed_action=proposed, deposit_rate=rate, rules=())


@pytest.mark.parametrize(
    ("was", "then", "unpaid", "softer"),
    [
        (("cash",), ("open",), 1, True),
        (("cash",), ("bank_guarantee",), 1, True),
        (("cash",), ("cash",), 0, False),
        (("cash",), ("review", "open"), 1, False),
        (("cash",), ("reduced_limit",), 1, True),
        (("deposit", None, 0.3), ("reduced_limit",), 1, False),
        (("deposit", None, 0.3), ("deposit", None, 0.1), 1, False),  # the same action
        (("deposit", None, 0.3), ("retention_of_title",), 1, True),
        (("deposit", None, 0.05), ("retention_of_title",), 1, False),
        (("deposit", None, 0.3), ("cash",), 0, False),
        (("refuse",), ("cash",), 0, True),
        (("refuse",), ("refuse",), 1, False),
        (("review", "cash"), ("cash",), 1, True),  # no person has to decide
        (("review", "open"), ("cash",), 1, False),
        (("review", "open"), ("cash",), 0, True),  # it is paid
        (("review", "cash"), ("open",), 1, True),
        (("review", None), ("cash",), 0, True),
        (("review", None), ("review", None), 0, False),
    ],
)
def test_softer_is_what_more_customers_take_or_what_waits_for_nobody(was, then, unpaid, softer):
    aim = Aim(decision(*was), load(POLICY))
    order = Order(10, 1, 30, 10 - unpaid)
    assert aim.is_met(decision(*then), order) == softer


# The search.


@given(st.integers(0, 500), st.integers(0, 500))
def test_the_smallest_is_found_where_all_larger_ones_flip_too(n, place):
    assert first(n, lambda one: one >= place) == (place if place < n else None)


@given(st.lists(st.booleans(), max_size=200))
def test_what_is_found_flips_and_its_neighbour_does_not(flips):
    place = first(len(flips), flips.__getitem__)
    if place is not None:
        assert flips[place]
        assert place == 0 or not flips[place - 1]


@given(st.lists(st.booleans(), max_size=20))
def test_of_few_each_is_tried(flips):
    expected = flips.index(True) if True in flips else None
    assert first(len(flips), flips.__getitem__) == expected


def test_the_search_looks_at_few():
    """At most 20, then halves: some 40 orders of half a million euros."""
    asked = []
    first(500_000, lambda place: asked.append(place) or place >= 123_456)
    assert len(asked) <= 20 + 15


def test_disputed_invoices_are_no_debt_to_pay(seller):
    store = Store(seller.facts_url)
    disputes = store.read()["disputes"]
    still = disputes["closed_on"] > store.last_day() + 10
    customer = str(disputes["customer_id"][still][0])
    entry = assessed(seller, customer, HELD, instant(store))
    _, known, _ = read(Replayer(seller, store), entry)
    owed = Case(known, customer).owed()
    disputed = set(disputes["invoice_id"][still & (disputes["customer_id"] == customer)])
    assert disputed & {one.invoice_id for one in owed} == set()
    assert owed == sorted(owed, key=lambda one: one.due_on)
    assert all(isinstance(one, Owed) and one.open_cents > 0 for one in owed)
    assert np.all(np.array([one.due_on for one in owed]) > 0)


# The search, on a customer made up: what it owes, and what is decided of an order once it is paid.

TODAY = 20_000
ASKED = Order(1_000_00, 100_00, 30)
OLD, MIDDLE, NEW = (Owed(f"F-{n}", n * 100_00, TODAY + due) for n, due in enumerate((-9, -3, 8), 1))


class MadeUp:
    """A case that decides as told."""

    def __init__(self, decide, invoices=(), days=0) -> None:
        self._decide, self._paid, self._days = decide, invoices, days
        speaking = SimpleNamespace(policy=load(POLICY))
        self.known = SimpleNamespace(speaking=speaking, as_of=TODAY + 1)

    def owed(self) -> list[Owed]:
        """Give three invoices, two of them overdue."""
        return [OLD, MIDDLE, NEW]

    def once_paid(self, invoices, days=0) -> MadeUp:
        """Pay some."""
        return MadeUp(self._decide, invoices, days)

    def decide(self, order: Order) -> Any:
        """Decide as told."""
        return decision(self._decide(order, {one.invoice_id for one in self._paid}, self._days))


def searched(decide, order: Order = ASKED, was: str = "cash") -> list[Any]:
    """Search from an answer."""
    answered = decision(was)
    answered.pick = None
    return Search(MadeUp(decide), order, answered).found()


def test_of_each_kind_the_smallest_and_the_smallest_that_gives_open_terms_are_told():
    def decide(order, _, __):
        if order.unpaid_cents <= 400_00:
            return "open"
        return "bank_guarantee" if order.unpaid_cents <= 750_00 else "cash"

    told = [(one.kind, one.order.paid_cents, one.order.amount_cents) for one in searched(decide)]
    assert told == [
        ("deposit", 250_00, 1_000_00),
        ("smaller_order", 0, 750_00),
        ("deposit", 600_00, 1_000_00),
        ("smaller_order", 0, 400_00),
    ]


def test_an_invoice_that_need_not_be_paid_is_left_out_until_the_day_it_helps_no_more():
    def decide(_, paid, days):
        return "open" if "F-2" in paid and days < 5 else "cash"

    (told,) = searched(decide)
    assert (told.kind, told.invoices) == ("pay_invoices", (MIDDLE,))
    assert told.before == as_date(TODAY + 5)  # the last day that it is recorded is TODAY + 4


def test_a_payment_is_promised_no_longer_than_it_is_answered():
    (told,) = searched(lambda _, paid, __: "open" if "F-1" in paid else "cash")
    assert told.before == as_date(TODAY + 15)


def test_all_that_is_overdue_and_a_deposit_are_told_where_nothing_alone_helps():
    def decide(order, paid, _):
        return "open" if paid == {"F-1", "F-2"} and order.paid_cents >= 30_00 else "cash"

    (told,) = searched(decide)
    assert told.kind == "pay_invoices_and_deposit"
    assert told.invoices == (OLD, MIDDLE)  # F-3 is not due yet
    assert told.order.paid_cents == 30_00
    assert told.effort(Order(1_000_00, 0, 30)) == (100 + 200 + 30) / 1_000
    assert searched(lambda order, paid, _: "cash") == []


@pytest.mark.parametrize(("was", "most"), [("cash", 999_00), ("refuse", 1_000_00)])
def test_to_pay_all_is_told_where_the_answer_does_not_ask_for_it_itself(was, most):
    asked = []

    def decide(order, paid, _):
        if not paid and order.amount_cents == 1_000_00 and order.terms_days == 30:
            asked.append(order.paid_cents)
        return was

    searched(decide, was=was)
    assert max(asked) == most


def test_a_smaller_order_stays_above_a_tenth_and_above_what_is_paid():
    asked = []
    searched(lambda order, *_: asked.append(order.amount_cents) or "cash")
    assert min(asked) == 100_00
    asked.clear()
    order = Order(1_000_00, 100_00, 30, 450_50)
    searched(lambda order, *_: asked.append(order.amount_cents) or "cash", order)
    assert min(asked) == 451_00


def test_what_the_answer_asks_for_itself_is_not_told():
    """A deposit of 30 %, part of the order, or 15 days: only what is less is looked at."""
    asked: list[Order] = []

    def look(action: str, **pick: Any) -> None:
        asked.clear()
        answered = decision(action, rate=pick.get("rate"))
        answered.pick = SimpleNamespace(**pick)
        case = MadeUp(lambda order, *_: asked.append(order) or action)
        Search(case, Order(1_000_00, 100_00, 30), answered).found()

    look("deposit", rate=0.3)
    assert max(one.paid_cents for one in asked) == 299_00
    look("reduced_limit", amount_on_credit_cents=600_00)
    assert min(one.amount_cents for one in asked) == 601_00
    look("shorter_terms", terms_days=15)
    assert min(one.terms_days for one in asked) == 16
