"""Facts → each customer's history as sorted arrays: what the feature families read.

All arrays lie by customer, then by the day they became known, so a family takes a customer's
slice and cuts it with ``searchsorted``. Dates are days since 1970-01-01 (int32), money is in cents
(int64). A fact is known on the later of its own date and the day it was recorded; whoever looks
at `as_of` uses what was known on an earlier day. ``NEVER`` is after every date.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.compiled import njit
from features.ledger import SETTLEMENT_KINDS, TABLES, Ledger
from features.settlement import NOTHING, PAYMENT, UNALLOCATED, Cash, Steps, allocate

Days = NDArray[np.int32]
Cents = NDArray[np.int64]
Facts = dict[str, dict[str, NDArray[Any]]]
"""Columns by table: dates as days, instants as microseconds, text as objects; sorted by key."""

NEVER = np.iinfo(np.int32).max
MICROSECONDS_A_DAY = 86_400_000_000


class Settled(NamedTuple):
    """Invoices paid in full, sorted by customer, then by the day we knew.

    A re-opened invoice (a bounced debit) stands here until ``until``, the day we knew of that, and
    again when it is paid for good. Invoices closed by a credit note or a write-off were not paid.
    """

    start: NDArray[np.int64]
    known_on: Days
    until: Days
    days_late: NDArray[np.int32]
    amount_cents: Cents
    invoice: NDArray[np.int64]


class Invoices(NamedTuple):
    """Invoices, sorted by customer, then by the day they became known.

    ``start`` is each customer's slice of the other arrays; ``step_start`` each invoice's slice of
    the balance steps.
    """

    start: NDArray[np.int64]
    known_on: Days
    issued_on: Days
    due_on: Days
    amount_cents: Cents
    step_start: NDArray[np.int64]


class Disputes(NamedTuple):
    """Disputes, sorted by invoice; ``closed_on`` is ``NEVER`` while open."""

    invoice: NDArray[np.int64]
    known_on: Days
    closed_on: Days


class History(NamedTuple):
    """Everything known of each customer, as arrays by customer.

    Attributes
    ----------
    customers : ndarray of object, shape (n_customers,)
        Identifiers, ascending; the index is the customer's code.
    observed_from : int
        First day the ledger as a whole knows anything.
    invoice_id : ndarray of object, shape (n_invoices,)
        Identifiers, in the order of ``invoices``.
    invoices, steps, settled, disputes
        What became known, when.
    insolvent_on : ndarray of int32, shape (n_customers,)
        Day we knew of the first insolvency judgment, else ``NEVER``.
    """

    customers: NDArray[np.object_]
    observed_from: int
    invoice_id: NDArray[np.object_]
    invoices: Invoices
    steps: Steps
    settled: Settled
    disputes: Disputes
    insolvent_on: Days

    @property
    def invoice_customer(self) -> NDArray[np.int64]:
        """Code of each invoice's customer."""
        return np.repeat(np.arange(self.customers.size), np.diff(self.invoices.start))

    def codes(self, customer_ids: NDArray[np.object_]) -> NDArray[np.int64]:
        """Codes of customers by identifier; −1 for one without any fact."""
        return pd.Index(self.customers).get_indexer(pd.Index(customer_ids)).astype(np.int64)


def facts_of(ledger: Ledger) -> Facts:
    """Turn checked tables into plain arrays, the rows of each table sorted by customer and key."""
    facts: Facts = {}
    for name, table in TABLES.items():
        rows = ledger[name].sort_values(["customer_id", table.key])
        facts[name] = {column: _plain(rows[column]) for column in table.columns}
    return facts


def _plain(column: pd.Series[Any]) -> NDArray[Any]:
    name = str(column.name)
    if name.endswith("_on"):
        days = column.to_numpy("datetime64[D]").astype(np.int64)
        return np.where(column.isna(), NEVER, days).astype(np.int32)
    if name.endswith("_at"):
        return column.to_numpy("datetime64[us]").astype(np.int64)
    if column.dtype == "Int64":
        return column.to_numpy(np.float64, na_value=np.nan)
    if column.dtype == "str":
        return column.astype(object).where(column.notna(), None).to_numpy()
    return column.to_numpy()


def known_on(fact: dict[str, NDArray[Any]], happened_on: str) -> Days:
    """Day a fact became known: the later of its own date and of the day it was recorded."""
    recorded_on = fact["recorded_at"] // MICROSECONDS_A_DAY
    known: Days = np.maximum(fact[happened_on], recorded_on).astype(np.int32)
    return known


def first_day(facts: Facts) -> int:
    """First day anything became known; ``NEVER`` when there is nothing."""
    dated = (("invoices", "issued_on"), ("settlements", "settled_on"))
    return int(min(known_on(facts[name], day).min(initial=NEVER) for name, day in dated))


def build(facts: Facts, observed_from: int | None = None) -> History:
    """Lay facts out by customer.

    Parameters
    ----------
    facts : Facts
        Of the whole ledger, of a shard of customers, or of one customer.
    observed_from : int, optional
        First day the whole ledger knows anything; needed when `facts` are only a part of it.

    Returns
    -------
    History
    """
    customers, customer_of = _customer_codes(facts)
    rows = facts["invoices"]
    issue_known_on = known_on(rows, "issued_on")
    oldest_first = (rows["due_on"], rows["issued_on"], issue_known_on, customer_of["invoices"])
    order = np.lexsort(oldest_first)
    customer = customer_of["invoices"][order]
    invoice_id = rows["invoice_id"][order]
    start = np.searchsorted(customer, np.arange(customers.size + 1))
    amount_cents, issue_known_on = rows["amount_cents"][order], issue_known_on[order]
    cash = _cash(facts["settlements"], customer_of["settlements"], invoice_id)
    steps = allocate(start, issue_known_on, amount_cents, cash)
    invoices = Invoices(
        start=start,
        known_on=issue_known_on,
        issued_on=rows["issued_on"][order],
        due_on=rows["due_on"][order],
        amount_cents=amount_cents,
        step_start=np.searchsorted(steps.invoice, np.arange(amount_cents.size + 1)),
    )
    if observed_from is None:
        observed_from = first_day(facts)
    return History(
        customers=customers,
        observed_from=observed_from,
        invoice_id=invoice_id,
        invoices=invoices,
        steps=steps,
        settled=_settled(steps, invoices, customer),
        disputes=_disputes(facts["disputes"], invoice_id),
        insolvent_on=_first_insolvency(facts, customer_of, customers.size),
    )


def _customer_codes(
    facts: Facts,
) -> tuple[NDArray[np.object_], dict[str, NDArray[np.int64]]]:
    """Give every customer of any table a code, ascending with its identifier."""
    tables = ("customers", "invoices", "settlements", "insolvency_events")
    stacked = np.concatenate([facts[t]["customer_id"] for t in tables])
    codes, customers = pd.factorize(stacked, sort=True)
    cuts = np.cumsum([facts[t]["customer_id"].size for t in tables])[:-1]
    return customers, dict(zip(tables, np.split(codes, cuts), strict=True))


def _place(identifiers: NDArray[np.object_], among: NDArray[np.object_]) -> NDArray[np.int64]:
    """Index of each invoice identifier; ``UNALLOCATED`` for none."""
    return pd.Index(among, dtype=object).get_indexer(pd.Index(identifiers, dtype=object))


def _cash(
    rows: dict[str, NDArray[Any]], customer: NDArray[np.int64], invoice_id: NDArray[np.object_]
) -> Cash:
    invoice = _place(rows["invoice_id"], invoice_id)
    # Cash that names an invoice we do not know yet is held, not spread over the others.
    held = (invoice == UNALLOCATED) & pd.notna(rows["invoice_id"])
    rows = {column: values[~held] for column, values in rows.items()}
    customer, invoice = customer[~held], invoice[~held]
    kinds = pd.Index(SETTLEMENT_KINDS).get_indexer(pd.Index(rows["kind"], dtype=object))
    return Cash(
        customer=customer,
        invoice=invoice,
        kind=kinds.astype(np.int8),
        known_on=known_on(rows, "settled_on"),
        paid_on=rows["settled_on"],
        cents=rows["amount_cents"],
    )


def _disputes(rows: dict[str, NDArray[Any]], invoice_id: NDArray[np.object_]) -> Disputes:
    invoice = _place(rows["invoice_id"], invoice_id)
    order = np.argsort(invoice, kind="stable")
    order = order[invoice[order] >= 0]  # not those of an invoice we do not know yet
    opened = known_on(rows, "opened_on")
    return Disputes(invoice[order], opened[order], rows["closed_on"][order])


def _first_insolvency(
    facts: Facts, customer_of: dict[str, NDArray[np.int64]], n_customers: int
) -> Days:
    first = np.full(n_customers, NEVER, np.int32)
    events = facts["insolvency_events"]
    np.minimum.at(first, customer_of["insolvency_events"], known_on(events, "opened_on"))
    return first


def _settled(steps: Steps, invoices: Invoices, customer: NDArray[np.int64]) -> Settled:
    """Lay the invoices paid in full out by customer and by the day we knew."""
    closes, until = _paid_in_full(steps)
    invoice = steps.invoice[closes]
    order = np.lexsort((invoice, steps.known_on[closes], customer[invoice]))
    closes, until, invoice = closes[order], until[order], invoice[order]
    return Settled(
        start=np.searchsorted(customer[invoice], np.arange(invoices.start.size)),
        known_on=steps.known_on[closes],
        until=until,
        days_late=steps.closed_on[closes] - invoices.due_on[invoice],
        amount_cents=invoices.amount_cents[invoice],
        invoice=invoice,
    )


@njit
def _paid_in_full(steps: Steps) -> tuple[NDArray[np.int64], Days]:
    """Find the steps that close an invoice by payment.

    Returns
    -------
    closes : ndarray of int64, shape (n,)
        Index of each closing step.
    until : ndarray of int32
        Day we knew that the invoice was open again, else ``NEVER``.
    """
    n_steps = steps.invoice.size
    closes, until = np.empty(n_steps, np.int64), np.full(n_steps, NEVER, np.int32)
    n = 0
    before = NOTHING
    for k in range(n_steps):
        if k == 0 or steps.invoice[k] != steps.invoice[k - 1]:
            before = NOTHING
        now = steps.closed_by[k]
        if before == NOTHING and now == PAYMENT:
            closes[n] = k
            n += 1
        elif before == PAYMENT and now == NOTHING:
            until[n - 1] = steps.known_on[k]  # a bounced debit re-opens it
        before = now
    return closes[:n], until[:n]


@njit
def last_step(invoices: Invoices, steps: Steps, invoice: int, as_of: int) -> int:
    """Index of the invoice's last balance step known before `as_of`, −1 for none."""
    for k in range(invoices.step_start[invoice + 1] - 1, invoices.step_start[invoice] - 1, -1):
        if steps.known_on[k] < as_of:
            return k
    return -1
