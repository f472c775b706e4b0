"""Counterfactuals applied: each change told gives the action promised, by another way.

A seller's customers are assessed, and the changes that soften each action are asked for until
there are enough. Then each is done: a payment is appended to a fresh copy of the facts, a changed
order is asked, and the assessor answers, as the service does. Nothing of the search has a part.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from rich.console import Console

from benchmarks.page import PAGE, Row, at_least, at_most, publish
from benchmarks.replay import news
from benchmarks.seller import copy, make
from features.ledger import check
from features.store import Source, Store
from models.policy import Order
from models.workspace import Workspace
from serving.assess import Assessor, OrderNeeded
from serving.audit import Record
from serving.counterfactuals import Case, Search, counterfactuals, read
from serving.replay import Entries, Replayer
from serving.schemas.request import cents

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MARGINS = (0.02, 0.04, 0.08)  # of the amount
TERMS = (30, 45, 60, 14)
TIMES = (1.0, 4.0, 12.0, 30.0)  # the customer's usual amount
SLOW_MILLISECONDS = 1_000
NOTES = """\
Customers of a simulated ledger, a quarter of them with back-dated invoices, some in groups, each
with orders of one to thirty times the usual amount, at margins of 2 to 8 % and terms of 14 to 60
days. *Gives the promised action*: done by another way than it was found: a payment is appended to
a copy of the facts, a changed order is asked of the assessor; a payment that may come until a date
is done on the first and on the last day. *A smaller one*: every euro and day below what was told,
and the invoices without each one, with the search's own decisions, for changes with at most 3,000
smaller ones.
Run with `python -m benchmarks.counterfactuals`.
"""
MOST_TRIED = 3_000


class Promised(NamedTuple):
    """A change told of an assessment, and the customer and the instant it is of."""

    customer_id: str
    at: datetime
    order: Order
    change: dict[str, Any]


def main() -> None:
    """Measure what is asked for, and keep it in the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counterfactuals", type=int, default=1_000)
    parser.add_argument("--minimal", type=int, default=60, help="how many to try smaller ones of")
    parser.add_argument("--home", type=Path, help="a trained seller; it is copied")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trained = asked.home or Path(folder) / "trained"
        if asked.home is None:
            make(trained, 10_000)
        workspace = Workspace(copy(trained, Path(folder) / "home"))
        bring_news(workspace)
        rows = bench(workspace, asked.counterfactuals, asked.minimal)
    sys.exit(0 if publish(Console(), PAGE, "Counterfactuals hold", rows, NOTES) else 1)


def bring_news(workspace: Workspace) -> None:
    """Append back-dated invoices, many of them overdue, and groups of customers."""
    store = Store(workspace.facts_url)
    customers = sorted(set(store.read()["invoices"]["customer_id"]))
    now = EPOCH + timedelta(days=store.last_day() + 1)
    facts = news(store, customers, Random(1), now)  # noqa: S311 (no secret)
    store.append(facts, Source(()), (now - EPOCH) // timedelta(microseconds=1))


def bench(workspace: Workspace, n: int, n_minimal: int = 0) -> list[Row]:
    """Find, apply, and look for smaller ones."""
    told, seconds = found(workspace, n)
    promised = [one for _, some in told for one in some]
    kept = sum(holds(workspace, one) for one in promised)
    whole = sum(map(is_paid_in_full, promised))
    actions = Counter(answer["action"] for answer, _ in told)
    none = Counter(a["none_found"]["id"] for a, _ in told if a["none_found"] is not None)
    helped = [a for a, _ in told if a["none_found"] is None]
    could = len(told) - none["nothing_softer"]
    rows = [
        at_least(
            f"of {len(promised):,} applied, give the promised action", kept, len(promised), "{:,}"
        ),
        Row("of them, the whole order paid in advance", f"{whole:,}"),
        Row("assessments", f"{len(told):,}: " + _counted(actions)),
        Row("of those that could be softer, with a change", f"{len(helped):,} of {could:,}"),
        Row("without one", _counted(none)),
        Row("changes by kind", _counted(Counter(one.change["kind"] for one in promised))),
        Row("actions that they give", _counted(Counter(one.change["action"] for one in promised))),
        Row("a question, processor time, median", f"{1e3 * np.median(seconds):.0f} ms"),
        at_most(
            "a question, processor time, 95th percentile",
            1e3 * np.quantile(seconds, 0.95),
            SLOW_MILLISECONDS,
            "{:.0f} ms",
        ),
    ]
    if n_minimal:
        tried, smaller = smaller_ones(workspace, n_minimal)
        rows.append(
            Row(f"of {tried:,} gone through one by one, with a smaller one", f"{smaller:,}")
        )
    return rows


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in counts.most_common())


def found(
    workspace: Workspace, n: int
) -> tuple[list[tuple[dict[str, Any], list[Promised]]], list[float]]:
    """Assess and ask until there are `n` changes, those not counted that pay the whole order.

    Give what was told of each assessment, and the processor seconds that it took.
    """
    store = Store(workspace.facts_url)
    record, at = Record(workspace.record_url), instant(store)
    assessor = Assessor(store, record, workspace, lambda: at)
    replayer = Replayer(workspace, Store(workspace.facts_url))
    told: list[tuple[dict[str, Any], list[Promised]]] = []
    seconds: list[float] = []
    total = 0
    for customer, order in orders(store):
        try:
            id = json.loads(assessor.assess(customer, order))["id"]
        except OrderNeeded:
            continue
        entry = record.find(id)
        assert entry is not None  # noqa: S101 (for the type checker)
        begun = time.process_time()
        answer = counterfactuals(replayer, entry)
        seconds.append(time.process_time() - begun)
        some = [Promised(customer, at, order, change) for change in answer["found"]]
        told.append((answer, some))
        total += sum(not is_paid_in_full(one) for one in some)
        if total >= n:
            break
    record.close()
    return told, seconds


def is_paid_in_full(one: Promised) -> bool:
    """Tell whether the change is to pay the whole order in advance: no wonder that it helps."""
    action: str = one.change["action"]
    return action == "cash"


def instant(store: Store) -> datetime:
    """Give an instant by which the whole ledger is known."""
    return EPOCH + timedelta(days=store.last_day() + 2, hours=9)


def orders(store: Store) -> Iterator[tuple[str, Order]]:
    """Give customers and orders, without end: all customers, then all again with other orders."""
    invoices = store.read()["invoices"]
    usual = pd.Series(invoices["amount_cents"]).groupby(invoices["customer_id"]).median()
    for turn in count():
        for place, (customer, amount) in enumerate(usual.items()):
            size, margin = TIMES[(place + turn) % 4], MARGINS[(place + turn // 4) % 3]
            cents_ = max(100_00, round(amount * size))
            yield str(customer), Order(cents_, round(cents_ * margin), TERMS[(place + turn) % 4])


def holds(workspace: Workspace, one: Promised) -> bool:
    """Do what was told, on the first and the last day; tell whether the action comes each time."""
    days = {0}
    if one.change["before"] is not None:
        days.add((date.fromisoformat(one.change["before"]) - one.at.date()).days - 1)
    return all(_action_on(workspace, one, day) == one.change["action"] for day in days)


def _action_on(workspace: Workspace, one: Promised, days: int) -> str:
    """Append the payments to a copy of the facts some days later, and ask for the order anew."""
    at, change = one.at + timedelta(days=days), one.change
    with tempfile.TemporaryDirectory() as folder:
        there = Workspace(Path(folder))
        for name in ("bundles", "policies"):
            (there.home / name).symlink_to(getattr(workspace, name))
        shutil.copy(workspace.champions, there.home)
        if change["invoices"]:
            shutil.copy(workspace.facts, there.home)
            store = Store(there.facts_url)
            append_payments(store, one.customer_id, change["invoices"], at)
        else:
            store = Store(workspace.facts_url)
        record = Record(there.record_url)
        assessor = Assessor(store, record, there, lambda: at)
        said = json.loads(assessor.assess(one.customer_id, changed(one.order, change)))
        record.close()
    return str(said["recommendation"]["action"])


def changed(order: Order, change: dict[str, Any]) -> Order:
    """Change an order as was told."""
    if change["deposit"] is not None:
        order = order._replace(paid_cents=order.paid_cents + cents(change["deposit"]))
    if change["terms_days"] is not None:
        order = order._replace(terms_days=change["terms_days"])
    if change["order_amount"] is not None:
        amount = cents(change["order_amount"])
        margin = round(order.margin_cents * amount / order.amount_cents)
        order = order._replace(amount_cents=amount, margin_cents=margin)
    return order


def append_payments(
    store: Store, customer_id: str, invoices: list[dict[str, Any]], at: datetime
) -> None:
    """Append the payment of invoices, as an import does."""
    now = at - timedelta(minutes=5)
    payments = pd.DataFrame(
        {
            "settlement_id": [f"paid-{one['invoice_id']}" for one in invoices],
            "customer_id": customer_id,
            "invoice_id": [one["invoice_id"] for one in invoices],
            "kind": "payment",
            "settled_on": pd.Timestamp(now.date()),
            "amount_cents": [cents(one["open"]) for one in invoices],
            "recorded_at": pd.Timestamp(now).tz_localize(None),
        }
    )
    ledger, rejects = check({"settlements": payments}, store.ledger.currency, store.known())
    if len(rejects):
        raise AssertionError(rejects)
    store.append(ledger, Source(()), (now - EPOCH) // timedelta(microseconds=1))


def smaller_ones(workspace: Workspace, n: int, most: int = MOST_TRIED) -> tuple[int, int]:
    """Go through all that is smaller than what was told; give how many, and with a smaller one."""
    replayer = Replayer(workspace, Store(workspace.facts_url))
    tried = smaller = 0
    for entry in Entries(workspace.record_url).sample(10 * n, 1):
        said, known, order = read(replayer, entry)
        case = Case(known, said["customer"]["id"])
        search = Search(case, order, case.decide(order))
        for change in search.found():
            below = list(search.smaller(change))
            if 0 < len(below) <= most:
                tried += 1
                action = search.action(change)
                smaller += any(
                    search.is_met(one) and (search.action(one) == action) for one in below
                )
            if tried >= n:
                return tried, smaller
    return tried, smaller


if __name__ == "__main__":
    main()
