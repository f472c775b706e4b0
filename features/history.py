"""Facts → each customer's history as sorted arrays: what the feature families read.

All arrays lie by customer, then by the day they became known, so a family takes a customer's
slice and cuts it with ``searchsorted``. Dates are days since 1970-01-01 (int32), money is in cents
(int64). A fact is known on the later of its own date and the day it was recorded; whoever looks
at `as_of` uses what was known on an earlier day. ``NEVER`` is after every date.

Where facts were corrected a customer has several views (:mod:`features.versions`), and every array
lies by view. Orders and changes of the customer lie by customer, version by version: no feature
reads them, and a view for each order that was closed would repeat all the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.compiled import njit
from features.fallen_due import FADED_DAYS
from features.ledger import (
    CHANGE_KINDS,
    INSOLVENCY_KINDS,
    SETTLEMENT_KINDS,
    TABLES,
    Ledger,
    empty_table,
)
from features.peers import Group, Own, PeerDays, add_up, gather
from features.relation import is_beyond_law
from features.settlement import (
    NOTHING,
    PAYMENT,
    REVERSAL,
    UNALLOCATED,
    Cash,
    Steps,
    allocate,
    joined,
)
from features.versions import (
    FOREVER,
    MICROSECONDS_A_DAY,
    Rows,
    Views,
    lay_out,
    looked_at,
    views,
)

__all__ = ["FOREVER", "MICROSECONDS_A_DAY", "NEVER", "Facts", "History", "build", "facts_of"]

Days = NDArray[np.int32]
Cents = NDArray[np.int64]
Index = NDArray[np.int64]
Facts = dict[str, Rows]
"""Columns by table: dates as days, instants as microseconds, text as objects; sorted by key."""

NEVER = np.iinfo(np.int32).max
FEW = 2_000
HELD = -2  # cash that names an invoice we do not know yet
BY_VERSION = ("orders", "customer_changes")
FIGURES = (
    "revenue_cents",
    "operating_income_cents",
    "net_income_cents",
    "total_assets_cents",
    "equity_cents",
    "financial_debt_cents",
    "current_assets_cents",
    "current_liabilities_cents",
)


class Invoices(NamedTuple):
    """Invoices, sorted by view, then by the day they became known.

    ``start`` is each view's slice of the other arrays; ``step_start`` and ``dispute_start`` are
    each invoice's slices of the balance steps and of the disputes.
    """

    start: Index
    known_on: Days
    issued_on: Days
    due_on: Days
    amount_cents: Cents
    is_beyond_law: NDArray[np.bool_]  # terms longer than the law allows
    disputed_on: Days  # day we knew of the first dispute, else NEVER
    gone_on: Days  # day after which nothing of it is open or recent any more, else NEVER
    step_start: Index
    dispute_start: Index


class Settled(NamedTuple):
    """Invoices paid in full, sorted by view, then by the day we knew.

    A re-opened invoice (a bounced debit) stands here until ``until``, the day we knew of that, and
    again when it is paid for good. Invoices closed by a credit note or a write-off were not paid.
    """

    start: Index
    known_on: Days
    until: Days
    days_late: NDArray[np.int32]
    amount_cents: Cents
    payments: NDArray[np.int32]  # how many it took, bounced ones not counted
    has_residue: NDArray[np.bool_]  # closed with cents unpaid
    invoice: Index


class Lines(NamedTuple):
    """Lines of cash and credit notes as they came, sorted by view, then by the day known."""

    start: Index
    known_on: Days
    kind: NDArray[np.int8]
    cents: Cents
    is_named: NDArray[np.bool_]  # says which invoice it pays


class Disputes(NamedTuple):
    """Disputes, sorted by invoice; ``closed_on`` is ``NEVER`` while open."""

    invoice: Index
    known_on: Days
    closed_on: Days


class Limits(NamedTuple):
    """The seller's credit limits, sorted by view and the day decided; the last known one holds."""

    start: Index
    known_on: Days
    cents: Cents


class Covers(NamedTuple):
    """The insurer's decisions, sorted by view and the day known; the last running one holds."""

    start: Index
    known_on: Days
    ends_on: Days
    cents: Cents
    insured_rate: NDArray[np.float64]


class Judgments(NamedTuple):
    """Insolvency events, sorted by view and the day known."""

    start: Index
    known_on: Days
    is_liquidation: NDArray[np.bool_]


class Accounts(NamedTuple):
    """Published yearly accounts, sorted by view, day known and identifier.

    ``figures`` has shape (n_accounts, 8), cents in the order of ``FIGURES``, NaN when not given.
    """

    start: Index
    known_on: Days
    closed_on: Days
    figures: NDArray[np.float64]


class Orders(NamedTuple):
    """Versions of accepted orders, sorted by customer.

    Dates from ``begins`` on and before ``ends`` look at a version.
    """

    start: Index
    known_on: Days
    closed_on: Days
    begins: Index
    ends: Index
    cents: Cents  # not invoiced yet, less the deposit


class Changes(NamedTuple):
    """Versions of the customers' changes, sorted by customer and the day of the change.

    Dates from ``begins`` on and before ``ends`` look at a version; the last known one of a kind
    holds. ``value`` indexes ``History.change_values``, −1 where the change ends what was.
    """

    start: Index
    known_on: Days
    begins: Index
    ends: Index
    kind: NDArray[np.int8]  # ledger.CHANGE_KINDS, in this order
    value: Index


class Groups(NamedTuple):
    """The sector and country that each view compares with.

    ``code`` indexes the peers' table, −1 for none; ``known_on`` is the day the customer was known.
    """

    code: Index
    known_on: Days


class History(NamedTuple):
    """Everything known of each customer, as arrays by customer, or by view where there are several.

    Attributes
    ----------
    customers : ndarray of object, shape (n_customers,)
        Identifiers, ascending; the index is the customer's code.
    views : Views
        Which slice of the arrays below a date looks at.
    observed_from : int
        First day the ledger as a whole knows anything.
    invoice_id : ndarray of object, shape (n_invoices,)
        Identifiers, in the order of ``invoices``.
    invoices, steps, settled, lines, disputes, limits, covers, judgments, accounts, groups
        What became known, when; by view.
    orders, changes
        What is no feature's, by customer.
    change_values : ndarray of object
        The distinct values of the changes.
    insolvent_on : ndarray of int32, shape (n_views,)
        Day we knew of the first insolvency judgment, else ``NEVER``.
    natural_person_on : ndarray of int32, shape (n_views,)
        Day we knew that the customer is a natural person, ``NEVER`` for a company.
    group_names : list of (str, str) or None
        Sector and country of each view.
    own : Own
        The payments in full that each customer adds to his peers' table, by customer.
    peers : PeerDays
        Payments in full by sector, country and day, of the whole ledger.
    """

    customers: NDArray[np.object_]
    views: Views
    observed_from: int
    invoice_id: NDArray[np.object_]
    invoices: Invoices
    steps: Steps
    settled: Settled
    lines: Lines
    disputes: Disputes
    limits: Limits
    covers: Covers
    judgments: Judgments
    accounts: Accounts
    groups: Groups
    orders: Orders
    changes: Changes
    change_values: NDArray[np.object_]
    insolvent_on: Days
    natural_person_on: Days
    group_names: list[Group | None]
    own: Own
    peers: PeerDays

    @property
    def invoice_customer(self) -> Index:
        """Code of each invoice's customer."""
        by_view = np.repeat(np.arange(self.views.since.size), np.diff(self.invoices.start))
        return by_view if self.views.are_single else self.views.customer[by_view]

    @property
    def current(self) -> Index:
        """The invoices as they are thought of now: those of each customer's latest view."""
        if self.views.are_single:
            return np.arange(self.invoices.due_on.size)
        is_latest = np.zeros(self.views.since.size, bool)
        is_latest[self.views.latest] = True
        return np.flatnonzero(np.repeat(is_latest, np.diff(self.invoices.start)))

    def as_first_known(self, invoice: Index) -> Index:
        """Find the first version of invoices: what was known of them on their issue date."""
        if self.views.are_single:
            return invoice
        is_first = np.zeros(self.views.since.size, bool)
        is_first[self.views.start[:-1]] = True
        first = np.flatnonzero(np.repeat(is_first, np.diff(self.invoices.start)))
        return first[first_places(self.invoice_id[invoice], self.invoice_id[first])]

    def codes(self, customer_ids: Iterable[str]) -> Index:
        """Codes of customers by identifier; −1 for one without any fact."""
        code = {customer: code for code, customer in enumerate(self.customers)}
        return np.array([code.get(customer, -1) for customer in customer_ids], np.int64)


def facts_of(ledger: Ledger) -> Facts:
    """Turn checked tables into plain arrays, the rows of each table sorted by customer and key."""
    return _as_arrays(ledger.tables)


def by_customer(name: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Sort checked rows of a table by customer and key, the order of :func:`facts_of`."""
    return rows.sort_values(["customer_id", TABLES[name].key]) if len(rows) else rows


def _as_arrays(tables: dict[str, pd.DataFrame]) -> Facts:
    facts: Facts = {}
    for name in TABLES:
        rows = by_customer(name, tables[name])
        columns = _columns(name, rows) if len(rows) else _no_columns(name)
        since_at = columns["recorded_at"].copy()
        facts[name] = {**columns, "since_at": since_at, "until_at": np.full_like(since_at, FOREVER)}
    return facts


def _columns(name: str, rows: pd.DataFrame) -> Rows:
    return {column: _plain(rows[column]) for column in TABLES[name].columns}


@cache
def _no_columns(name: str) -> Rows:
    return _columns(name, empty_table(name))


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


def known_on(fact: Rows, happened_on: str) -> Days:
    """Day a fact became known: the later of its own date and of the day it was recorded."""
    recorded_on = fact["recorded_at"] // MICROSECONDS_A_DAY
    known: Days = np.maximum(fact[happened_on], recorded_on).astype(np.int32)
    return known


def first_day(facts: Facts) -> int:
    """First day anything became known; ``NEVER`` when there is nothing."""
    dated = (("invoices", "issued_on"), ("settlements", "settled_on"))
    return int(min(known_on(facts[name], day).min(initial=NEVER) for name, day in dated))


def build(facts: Facts, observed_from: int | None = None, peers: PeerDays | None = None) -> History:
    """Lay facts out by customer.

    Parameters
    ----------
    facts : Facts
        Of the whole ledger, of a shard of customers, or of one customer.
    observed_from : int, optional
        First day the whole ledger knows anything; needed when `facts` are only a part of it.
    peers : PeerDays, optional
        Payments in full of the whole ledger by sector and country; likewise.

    Returns
    -------
    History
    """
    customers, customer_of = _customer_codes(facts)
    n = customers.size
    by_view = {name: facts[name] for name in TABLES if name not in BY_VERSION}
    seen_as = views(by_view, customer_of, n)
    n_views = seen_as.since.size
    laid_out = {name: lay_out(of, customer_of[name], seen_as) for name, of in by_view.items()}
    rows = {name: table for name, (table, _) in laid_out.items()}
    view = {name: of_row for name, (_, of_row) in laid_out.items()}

    order, issue_known_on = _invoice_order(rows["invoices"], view["invoices"])
    own_rows = {column: values[order] for column, values in rows["invoices"].items()}
    view_of_invoice, known = view["invoices"][order], issue_known_on[order]
    named_in = {
        name: (rows[name]["invoice_id"], view[name]) for name in ("settlements", "disputes")
    }
    invoice_id = own_rows["invoice_id"]
    number = np.arange(known.size) if seen_as.are_single else first_places(invoice_id, invoice_id)
    place = _places(invoice_id, view_of_invoice, number, named_in)
    start = np.searchsorted(view_of_invoice, np.arange(n_views + 1))
    cash = _cash(rows["settlements"], view["settlements"], place["settlements"])
    steps = allocate(start, known, own_rows["amount_cents"], cash)
    disputes = _disputes(rows["disputes"], place["disputes"])
    invoices = _invoices(own_rows, start, known, steps, disputes)
    settled = _settled(steps, invoices, view_of_invoice)
    judgments = _judgments(rows["insolvency_events"], view["insolvency_events"], n_views)
    sectors = _sectors(rows["customers"], view["customers"], n_views)
    own = gather(seen_as, settled, sectors.known_on)
    changes, change_values = _changes(facts["customer_changes"], customer_of["customer_changes"], n)
    if peers is None:
        peers = add_up([own.by_group(sectors.names)])
    return History(
        customers=customers,
        views=seen_as,
        observed_from=first_day(facts) if observed_from is None else observed_from,
        invoice_id=own_rows["invoice_id"],
        invoices=invoices,
        steps=steps,
        settled=settled,
        lines=_lines(rows["settlements"], view["settlements"], n_views),
        disputes=disputes,
        limits=_limits(rows["credit_limits"], view["credit_limits"], n_views),
        covers=_covers(rows["insurance_covers"], view["insurance_covers"], n_views),
        judgments=judgments,
        accounts=_accounts(rows["financial_statements"], view["financial_statements"], n_views),
        groups=Groups(peers.codes(sectors.names), sectors.known_on),
        orders=_orders(facts["orders"], customer_of["orders"], n),
        changes=changes,
        change_values=change_values,
        insolvent_on=_first(
            np.repeat(np.arange(n_views), np.diff(judgments.start)), judgments.known_on, n_views
        ),
        natural_person_on=_persons(rows["customers"], view["customers"], n_views),
        group_names=sectors.names,
        own=own,
        peers=peers,
    )


def _customer_codes(facts: Facts) -> tuple[NDArray[np.object_], dict[str, Index]]:
    """Give every customer of any table a code, ascending with its identifier."""
    named = {name: facts[name]["customer_id"] for name in TABLES}
    ordered = sorted(set().union(*(ids.tolist() for ids in named.values())))
    customers = np.empty(len(ordered), object)
    customers[:] = ordered
    code = {customer: i for i, customer in enumerate(ordered)}
    return customers, {name: _coded(ids, code) for name, ids in named.items()}


def _coded(identifiers: NDArray[np.object_], code: dict[Any, int]) -> Index:
    """Look up the codes of identifiers; of many, once for all the times one comes in a row."""
    if identifiers.size <= FEW:
        return np.array([code[identifier] for identifier in identifiers.tolist()], np.int64)
    begins = np.ones(identifiers.size, bool)
    begins[1:] = identifiers[1:] != identifiers[:-1]
    place = np.flatnonzero(begins)
    codes = np.array([code[identifier] for identifier in identifiers[place].tolist()], np.int64)
    return np.repeat(codes, np.diff(place, append=identifiers.size))


def _invoice_order(rows: Rows, view: Index) -> tuple[Index, Days]:
    """Sort invoices by view, day known, then the oldest first; rows come sorted by identifier."""
    known = known_on(rows, "issued_on")
    of_view, oldest_first = joined(view, known), joined(rows["issued_on"], rows["due_on"])
    return np.lexsort((oldest_first, of_view)), known


def _invoices(rows: Rows, start: Index, known: Days, steps: Steps, disputes: Disputes) -> Invoices:
    """Lay sorted invoices out with what steps and disputes say of each."""
    each = np.arange(known.size + 1)
    step_start = np.searchsorted(steps.invoice, each)
    return Invoices(
        start=start,
        known_on=known,
        issued_on=rows["issued_on"],
        due_on=rows["due_on"],
        amount_cents=rows["amount_cents"],
        is_beyond_law=is_beyond_law(rows["issued_on"], rows["due_on"]),
        disputed_on=_first(disputes.invoice, disputes.known_on, known.size),
        gone_on=_gone_on(rows["due_on"], step_start, steps),
        step_start=step_start,
        dispute_start=np.searchsorted(disputes.invoice, each),
    )


def _places(
    invoice_id: NDArray[np.object_],
    view: Index,
    number: Index,
    named_in: dict[str, tuple[NDArray[np.object_], Index]],
) -> dict[str, Index]:
    """Place among the invoices of the one each row names, in the row's own view.

    `number` is the same for the same invoice in several views: where it first stands.
    ``UNALLOCATED`` for a row that names none, ``HELD`` for one that names an unknown invoice.
    """
    n = invoice_id.size
    key = view * n + number
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    identifiers = np.concatenate([ids for ids, _ in named_in.values()])
    view_of_row = np.concatenate([view for _, view in named_in.values()])
    place = first_places(identifiers, invoice_id)  # one search for all: the table is what costs
    named = place >= 0
    place[named] = order[np.searchsorted(ordered, view_of_row[named] * n + place[named])]
    place[~named & (identifiers != None)] = HELD  # noqa: E711 (element by element)
    cuts = np.cumsum([ids.size for ids, _ in named_in.values()])[:-1]
    return dict(zip(named_in, np.split(place, cuts), strict=True))


def first_places(identifiers: NDArray[np.object_], among: NDArray[np.object_]) -> Index:
    """Find where each identifier first stands; ``UNALLOCATED`` for none.

    Arrow looks many up three times faster than a dict, which serves one customer ten times faster.
    """
    if among.size <= FEW:
        place: dict[Any, int] = {}
        for i, identifier in enumerate(among):
            place.setdefault(identifier, i)
        return np.array([place.get(i, UNALLOCATED) for i in identifiers], np.int64)
    texts, where = (pa.array(values, pa.string()) for values in (identifiers, among))
    found = pc.index_in(texts, value_set=where, skip_nulls=True)
    places: Index = found.fill_null(UNALLOCATED).to_numpy().astype(np.int64)
    return places


def _first(of: Index, days: Days, n: int) -> Days:
    """Earliest of `days` by what they belong to; ``NEVER`` for none."""
    first = np.full(n, NEVER, np.int32)
    np.minimum.at(first, of, days)
    return first


def _cash(rows: Rows, view: Index, invoice: Index) -> Cash:
    """Lay settlements out for allocation; what names an unknown invoice is held back."""
    kept = invoice != HELD
    if not kept.all():
        rows = {column: values[kept] for column, values in rows.items()}
        view, invoice = view[kept], invoice[kept]
    return Cash(
        customer=view,
        invoice=invoice,
        kind=_kinds(rows),
        known_on=known_on(rows, "settled_on"),
        paid_on=rows["settled_on"],
        cents=rows["amount_cents"],
    )


def _kinds(settlements: Rows) -> NDArray[np.int8]:
    code = {kind: place for place, kind in enumerate(SETTLEMENT_KINDS)}
    return _coded(settlements["kind"], code).astype(np.int8)


def _gone_on(due_on: Days, step_start: Index, steps: Steps) -> Days:
    """Day after which nothing of an invoice is open or recent any more."""
    gone = np.full(due_on.size, NEVER, np.int32)
    stepped = np.flatnonzero(np.diff(step_start))
    last = step_start[1:][stepped] - 1
    is_closed = steps.open_cents[last] == 0
    invoice, last = stepped[is_closed], last[is_closed]
    gone[invoice] = np.maximum(steps.known_on[last], due_on[invoice] + FADED_DAYS)
    return gone


def _settled(steps: Steps, invoices: Invoices, view: Index) -> Settled:
    """Lay the invoices paid in full out by view and by the day we knew."""
    closes, until, payments, has_residue = _paid_in_full(steps, invoices.amount_cents)
    invoice = steps.invoice[closes]
    order = np.lexsort((invoice, steps.known_on[closes], view[invoice]))
    closes, invoice = closes[order], invoice[order]
    return Settled(
        start=np.searchsorted(view[invoice], np.arange(invoices.start.size)),
        known_on=steps.known_on[closes],
        until=until[order],
        days_late=steps.closed_on[closes] - invoices.due_on[invoice],
        amount_cents=invoices.amount_cents[invoice],
        payments=payments[order],
        has_residue=has_residue[order],
        invoice=invoice,
    )


@njit
def _paid_in_full(
    steps: Steps, amount_cents: Cents
) -> tuple[NDArray[np.int64], Days, NDArray[np.int32], NDArray[np.bool_]]:
    """Find the steps that close an invoice by payment.

    Returns
    -------
    closes : ndarray of int64, shape (n,)
        Index of each closing step.
    until : ndarray of int32
        Day we knew that the invoice was open again, else ``NEVER``.
    payments : ndarray of int32
        How many payments it took, those that bounced not counted.
    has_residue : ndarray of bool
        Whether cents were left unpaid.
    """
    n_steps = steps.invoice.size
    closes, until = np.empty(n_steps, np.int64), np.full(n_steps, NEVER, np.int32)
    payments, has_residue = np.empty(n_steps, np.int32), np.empty(n_steps, np.bool_)
    n, before, parts, taken = 0, NOTHING, 0, 0
    for k in range(n_steps):
        if k == 0 or steps.invoice[k] != steps.invoice[k - 1]:
            before, parts, taken = NOTHING, 0, 0
        taken += steps.cents[k]
        if steps.kind[k] == PAYMENT:
            parts += 1
        elif steps.kind[k] == REVERSAL:
            parts -= 1
        now = steps.closed_by[k]
        if before == NOTHING and now == PAYMENT:
            closes[n], payments[n] = k, parts
            has_residue[n] = amount_cents[steps.invoice[k]] > taken
            n += 1
        elif before == PAYMENT and now == NOTHING:
            until[n - 1] = steps.known_on[k]  # a bounced debit re-opens it
        before = now
    return closes[:n], until[:n], payments[:n], has_residue[:n]


@njit
def last_step(invoices: Invoices, steps: Steps, invoice: int, as_of: int) -> int:
    """Index of the invoice's last balance step known before `as_of`, −1 for none."""
    for k in range(invoices.step_start[invoice + 1] - 1, invoices.step_start[invoice] - 1, -1):
        if steps.known_on[k] < as_of:
            return k
    return -1


@njit
def in_dispute(disputes: Disputes, first: int, last: int, as_of: int) -> bool:
    """Tell whether one of an invoice's disputes, `first` … `last`, was open at `as_of`."""
    for d in range(first, last):  # noqa: SIM110 (Numba has no any() of a generator)
        if disputes.known_on[d] < as_of <= disputes.closed_on[d]:
            return True
    return False


@njit
def limit_in_force(limits: Limits, view: int, as_of: int) -> int:
    """Index of the last known of the limits, which lie by day decided; −1 for none."""
    if view >= 0:
        for i in range(limits.start[view + 1] - 1, limits.start[view] - 1, -1):
            if limits.known_on[i] < as_of:
                return i
    return -1


def _by_day_known(view: Index, known: Days, n_views: int, *ties: Any) -> tuple[Index, Index]:
    """Sort rows by view and day known, then by `ties`; return each view's slice, and the order."""
    order = np.lexsort((*ties[::-1], known, view))
    return np.searchsorted(view[order], np.arange(n_views + 1)), order


def _lines(rows: Rows, view: Index, n_views: int) -> Lines:
    known = known_on(rows, "settled_on")
    start, order = _by_day_known(view, known, n_views)
    named = rows["invoice_id"] != None  # noqa: E711 (element by element)
    return Lines(
        start, known[order], _kinds(rows)[order], rows["amount_cents"][order], named[order]
    )


def _disputes(rows: Rows, invoice: Index) -> Disputes:
    order = np.argsort(invoice, kind="stable")
    order = order[invoice[order] >= 0]  # not those of an invoice we do not know yet
    opened = known_on(rows, "opened_on")
    return Disputes(invoice[order], opened[order], rows["closed_on"][order])


def _limits(rows: Rows, view: Index, n_views: int) -> Limits:
    known = known_on(rows, "decided_on")
    order = np.lexsort((rows["recorded_at"], rows["decided_on"], view))  # rows come sorted by key
    start = np.searchsorted(view[order], np.arange(n_views + 1))
    return Limits(start, known[order], rows["amount_cents"][order])


def _covers(rows: Rows, view: Index, n_views: int) -> Covers:
    known = known_on(rows, "starts_on")
    start, order = _by_day_known(view, known, n_views, rows["recorded_at"])
    cents, rate = rows["amount_cents"][order], rows["insured_rate"][order]
    return Covers(start, known[order], rows["ends_on"][order], cents, rate)


def _judgments(rows: Rows, view: Index, n_views: int) -> Judgments:
    known = known_on(rows, "opened_on")
    start, order = _by_day_known(view, known, n_views)
    code = {kind: place for place, kind in enumerate(INSOLVENCY_KINDS)}
    liquidated = _coded(rows["kind"], code) == code["liquidation"]
    return Judgments(start, known[order], liquidated[order])


def _accounts(rows: Rows, view: Index, n_views: int) -> Accounts:
    known = known_on(rows, "published_on")
    start, order = _by_day_known(view, known, n_views)
    figures = np.stack([rows[name] for name in FIGURES], axis=1)
    return Accounts(start, known[order], rows["closed_on"][order], figures[order])


def _orders(rows: Rows, customer: Index, n_customers: int) -> Orders:
    order = np.argsort(customer, kind="stable")
    begins, ends = looked_at(rows)
    return Orders(
        np.searchsorted(customer[order], np.arange(n_customers + 1)),
        known_on(rows, "accepted_on")[order],
        rows["closed_on"][order],
        begins[order],
        ends[order],
        (rows["amount_cents"] - rows["deposit_cents"])[order],
    )


def _changes(rows: Rows, customer: Index, n_customers: int) -> tuple[Changes, NDArray[np.object_]]:
    order = np.lexsort((rows["recorded_at"], rows["changed_on"], customer))  # then by key, as given
    begins, ends = looked_at(rows)
    kinds = {kind: place for place, kind in enumerate(CHANGE_KINDS)}
    value, values = _distinct(rows["value"])
    changes = Changes(
        np.searchsorted(customer[order], np.arange(n_customers + 1)),
        known_on(rows, "changed_on")[order],
        begins[order],
        ends[order],
        _coded(rows["kind"], kinds).astype(np.int8)[order],
        value.astype(np.int64)[order],
    )
    return changes, values


def _distinct(values: NDArray[np.object_]) -> tuple[Index, NDArray[np.object_]]:
    """Give distinct values numbers as they come, −1 for none; a dict is faster for few."""
    if values.size > FEW:
        return pd.factorize(values)
    place: dict[Any, int] = {}
    codes = [-1 if v is None else place.setdefault(v, len(place)) for v in values.tolist()]
    distinct = np.empty(len(place), object)
    distinct[:] = list(place)
    return np.array(codes, np.int64), distinct


class _Sectors(NamedTuple):
    """Sector and country of each view, ``None`` when either is unknown, and the day known."""

    names: list[Group | None]
    known_on: Days


def _sectors(rows: Rows, view: Index, n_views: int) -> _Sectors:
    names: list[Group | None] = [None] * n_views
    for place, sector, country in zip(view, rows["sector"], rows["country"], strict=True):
        if sector is not None and country is not None:
            names[place] = (sector, country)
    known = np.full(n_views, NEVER, np.int32)
    known[view] = rows["recorded_at"] // MICROSECONDS_A_DAY
    return _Sectors(names, known)


def _persons(rows: Rows, view: Index, n_views: int) -> Days:
    known = np.full(n_views, NEVER, np.int32)
    is_person = rows["is_natural_person"].astype(bool)
    known[view[is_person]] = rows["recorded_at"][is_person] // MICROSECONDS_A_DAY
    return known


NO_FACTS = _as_arrays({name: empty_table(name) for name in TABLES})
"""A ledger without a row."""
