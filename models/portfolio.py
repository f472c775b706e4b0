"""The receivables of all customers, as known at one date: what the toolbox measures.

An invoice of 1,000.00 due on 31 March, of which 400.00 were paid on 10 April and booked on the
12th, is open for 1,000.00 to whoever looks at 11 April and for 600.00 at 13 April. A balance *at an
earlier day* is that day's as known now: the 600.00 already stand on 11 April.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.history import History
from features.peers import Group
from features.settlement import REVERSAL, WRITE_OFF

Days = NDArray[np.int32]
Cents = NDArray[np.int64]
Index = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Movements(NamedTuple):
    """What changed the balances of the invoices.

    Attributes
    ----------
    invoice : ndarray of int64, shape (n_movements,)
        Row of the portfolio.
    on : ndarray of int32
        Value date, or the invoice's own date for money that came before it.
    kind : ndarray of int8
        As :data:`features.ledger.SETTLEMENT_KINDS`.
    cents : ndarray of int64
        What it took off the balance, the cents within the tolerance included; < 0 re-opens.
    """

    invoice: Index
    on: Days
    kind: NDArray[np.int8]
    cents: Cents


class Payments(NamedTuple):
    """Invoices that stand paid in full: row, day we knew, days after the due date (< 0 early)."""

    invoice: Index
    known_on: Days
    days_late: Days


class Customers(NamedTuple):
    """What is known of the customers, shape (n_customers,) each.

    Attributes
    ----------
    id : ndarray of object
    unapplied_cents : ndarray of int64
        Money and credit notes received that no invoice has used, ≥ 0.
    covered_cents, insured_rate : ndarray
        The insurer's cover in force; 0 without one.
    is_decided : ndarray of bool
        Whether a cover is in force, be it of 0 (a refusal).
    insolvent_on : ndarray of int32
        Day we knew of insolvency proceedings, else ``NEVER``.
    is_natural_person : ndarray of bool
    group : list of (str, str) or None
        Sector and country.
    """

    id: NDArray[np.object_]
    unapplied_cents: Cents
    covered_cents: Cents
    insured_rate: NDArray[np.float64]
    is_decided: Flags
    insolvent_on: Days
    is_insolvent: Flags
    is_natural_person: Flags
    group: list[Group | None]


@dataclass(frozen=True)
class Portfolio:
    """Every invoice known at a date, by customer, the one due first first.

    Attributes
    ----------
    as_of : int
        Exclusive date, in days since 1970: what is known on it or later does not count.
    invoice_id, customer, issued_on, due_on, amount_cents : ndarray of shape (n_invoices,)
        `customer` is a row of `customers`.
    open_cents : ndarray of int64
        What is not settled, ≥ 0.
    owed_cents : ndarray of int64
        The same less the customer's unapplied money, set against what is due first.
    is_disputed, was_disputed : ndarray of bool
        Under an open dispute; under any, ever.
    is_beyond_law : ndarray of bool
        Terms longer than C. com. L441-10 allows; see :func:`features.relation.is_beyond_law`.
    movements : Movements
    paid : Payments
    customers : Customers
    """

    as_of: int
    invoice_id: NDArray[np.object_]
    customer: Index
    issued_on: Days
    due_on: Days
    amount_cents: Cents
    open_cents: Cents
    owed_cents: Cents
    is_disputed: Flags
    was_disputed: Flags
    is_beyond_law: Flags
    movements: Movements
    paid: Payments
    customers: Customers

    @property
    def today(self) -> int:
        """The last day that counts."""
        return self.as_of - 1

    @property
    def first_day(self) -> int:
        """Date of the first invoice; today when there is none."""
        return int(self.issued_on.min(initial=self.today))

    @property
    def days_past_due(self) -> Days:
        """Days from the due date to today; ≤ 0 when not yet past due."""
        days: Days = np.int32(self.today) - self.due_on
        return days

    @property
    def credit_cents(self) -> Cents:
        """Unapplied money beyond what each customer owes: a debt of ours, shape (n_customers,)."""
        set_off = by_customer(self, self.open_cents - self.owed_cents)
        return self.customers.unapplied_cents - set_off

    def balance_cents(self, day: int) -> Cents:
        """Balances at the beginning of a day, as known now; 0 before the invoice's own date."""
        balance = np.where(self.issued_on < day, self.amount_cents, 0)
        moved = self.movements
        before = moved.on < day
        np.subtract.at(balance, moved.invoice[before], moved.cents[before])
        return balance


def by_customer(portfolio: Portfolio, cents: Cents) -> Cents:
    """Add up the cents of invoices by customer, exactly; shape (n_customers,)."""
    total = np.zeros(portfolio.customers.id.size, np.int64)
    np.add.at(total, portfolio.customer, cents)
    return total


def fill(cents: Cents, customer: Index, room_cents: Cents) -> Cents:
    """Use up each customer's room by its rows, in their order.

    Parameters
    ----------
    cents : ndarray of int64, shape (n_rows,)
        ≥ 0.
    customer : ndarray of int64
        Place of each row's customer in `room_cents`, ascending.
    room_cents : ndarray of int64, shape (n_customers,)
        ≥ 0.

    Returns
    -------
    ndarray of int64, shape (n_rows,)
        The part of each row that fits.

    Examples
    --------
    >>> fill(np.array([60, 60, 10]), np.array([0, 0, 1]), np.array([100, 100])).tolist()
    [60, 40, 10]
    """
    total = np.cumsum(cents)
    first = np.searchsorted(customer, customer)
    before = total[first] - cents[first] if cents.size else total
    upto, room = total - before, room_cents[customer]
    filled: Cents = np.minimum(upto, room) - np.minimum(upto - cents, room)
    return filled


def portfolio_at(history: History, as_of: int) -> Portfolio:
    """Look at the receivables of a whole ledger.

    Parameters
    ----------
    history : History
        Of all customers, with all versions of corrected facts or without.
    as_of : int
        Exclusive date, in days since 1970.
    """
    codes = np.arange(history.customers.size)
    view = history.views.at(codes, np.full(codes.size, as_of, np.int32))
    customer_of_view = np.full(history.views.since.size, -1, np.int64)
    customer_of_view[view] = codes
    invoices = history.invoices
    of_invoice = customer_of_view[_rows(invoices.start)]
    index = np.flatnonzero((of_invoice >= 0) & (invoices.known_on < as_of))
    oldest_first = (invoices.issued_on[index], invoices.due_on[index], of_invoice[index])
    index = index[np.lexsort(oldest_first)]
    customer, amount_cents = of_invoice[index], invoices.amount_cents[index]
    row = np.full(of_invoice.size, -1, np.int64)
    row[index] = np.arange(index.size)

    movements = _movements(history, row, as_of)
    customers = _customers(history, view, customer_of_view, row, as_of)
    open_cents = amount_cents.copy()
    np.subtract.at(open_cents, movements.invoice, movements.cents)
    set_off = fill(open_cents, customer, customers.unapplied_cents)
    return Portfolio(
        as_of=as_of,
        invoice_id=history.invoice_id[index],
        customer=customer,
        issued_on=invoices.issued_on[index],
        due_on=invoices.due_on[index],
        amount_cents=amount_cents,
        open_cents=open_cents,
        owed_cents=open_cents - set_off,
        is_disputed=_in_dispute(history, row, as_of)[index],
        was_disputed=invoices.disputed_on[index] < as_of,
        is_beyond_law=invoices.is_beyond_law[index],
        movements=movements,
        paid=_paid(history, row, as_of),
        customers=customers,
    )


def _rows(start: Index) -> Index:
    """Tell which slice each row belongs to."""
    return np.repeat(np.arange(start.size - 1), np.diff(start))


def _movements(history: History, row: Index, as_of: int) -> Movements:
    """Find what each step took off, in terms of the balance that stands after it."""
    steps, invoices = history.steps, history.invoices
    before = invoices.amount_cents[steps.invoice]
    again = np.flatnonzero(steps.invoice[1:] == steps.invoice[:-1]) + 1
    before[again] = steps.open_cents[again - 1]
    known = np.flatnonzero((row[steps.invoice] >= 0) & (steps.known_on < as_of))
    invoice = steps.invoice[known]
    return Movements(
        invoice=row[invoice],
        on=np.maximum(steps.paid_on[known], invoices.issued_on[invoice]),
        kind=steps.kind[known],
        cents=before[known] - steps.open_cents[known],
    )


def _paid(history: History, row: Index, as_of: int) -> Payments:
    """Find the invoices that stand paid: not those that bounced before the date."""
    paid = history.settled
    known = (row[paid.invoice] >= 0) & (paid.known_on < as_of) & (paid.until >= as_of)
    return Payments(row[paid.invoice[known]], paid.known_on[known], paid.days_late[known])


def _in_dispute(history: History, row: Index, as_of: int) -> Flags:
    disputes = history.disputes
    is_disputed = np.zeros(row.size, bool)
    is_open = (disputes.known_on < as_of) & (as_of <= disputes.closed_on)
    is_disputed[disputes.invoice[is_open]] = True
    return is_disputed


def _customers(
    history: History, view: Index, customer_of_view: Index, row: Index, as_of: int
) -> Customers:
    covered_cents, insured_rate, is_decided = _covers(history, customer_of_view, view.size, as_of)
    recorded = history.groups.known_on[view] < as_of
    named = [history.group_names[v] for v in view.tolist()]
    return Customers(
        id=history.customers,
        unapplied_cents=_unapplied_cents(history, customer_of_view, view.size, row, as_of),
        covered_cents=covered_cents,
        insured_rate=insured_rate,
        is_decided=is_decided,
        insolvent_on=history.insolvent_on[view],
        is_insolvent=history.insolvent_on[view] < as_of,
        is_natural_person=history.natural_person_on[view] < as_of,
        group=[name if known else None for name, known in zip(named, recorded, strict=True)],
    )


def _unapplied_cents(
    history: History, customer_of_view: Index, n: int, row: Index, as_of: int
) -> Cents:
    """Add up what came in and no invoice used; a write-off is not money."""
    lines, steps = history.lines, history.steps
    received = np.zeros(n, np.int64)
    of_line = customer_of_view[_rows(lines.start)]
    known = (of_line >= 0) & (lines.known_on < as_of) & (lines.kind != WRITE_OFF)
    sign = np.where(lines.kind[known] == REVERSAL, -1, 1)
    np.add.at(received, of_line[known], sign * lines.cents[known])
    of_invoice = customer_of_view[_rows(history.invoices.start)]
    used = (row[steps.invoice] >= 0) & (steps.known_on < as_of) & (steps.kind != WRITE_OFF)
    np.subtract.at(received, of_invoice[steps.invoice[used]], steps.cents[used])
    return np.maximum(received, 0)


def _covers(
    history: History, customer_of_view: Index, n: int, as_of: int
) -> tuple[Cents, NDArray[np.float64], Flags]:
    """Find the cover decided last among those that run today."""
    covers = history.covers
    of_cover = customer_of_view[_rows(covers.start)]
    runs = np.flatnonzero(
        (of_cover >= 0) & (covers.known_on < as_of) & (covers.ends_on >= as_of - 1)
    )
    last = np.full(n, -1, np.int64)
    np.maximum.at(last, of_cover[runs], runs)  # they lie by the day they were known
    is_decided = last >= 0
    cents, rate = np.append(covers.cents, 0)[last], np.append(covers.insured_rate, 0.0)[last]
    return cents, np.where(cents > 0, rate, 0.0), is_decided
