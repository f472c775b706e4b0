"""Measures of receivables: DSO, ADD, CEI, ageing, payment index, days beyond terms, concentration.

One example is worked through: 250 are owed, of which 180 are not yet due; 300 were sold in the last
90 days (100, 120 and 90 in the last months of 30, 31 and 30 days); 200 were owed 90 days ago. Then
the DSO is 75 days, 71 counted back, 54 at best; 21 days are delinquent; the CEI is 78.1 %.

docs/receivables.md gives the sources.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from features.settlement import CREDIT_NOTE, WRITE_OFF
from models.portfolio import Cents, Days, Index, Portfolio, by_customer
from models.receivables_file import Measures

Floats = NDArray[np.float64]
INDEX_DAYS = (-30, -20, 0, 15, 30, 180)  # days beyond terms at the corners of the payment index
INDEX_VALUES = (100, 90, 80, 70, 50, 0)


def simple_dso(balance_cents: int, sales_cents: int, days: int) -> float:
    """Days of sales outstanding (DSO, délai moyen de recouvrement): balance ÷ sales × days.

    With the balance that is not yet due it is the *best possible* DSO. NaN without sales.

    >>> simple_dso(250, 300, 90), simple_dso(180, 300, 90)
    (75.0, 54.0)
    """
    return balance_cents / sales_cents * days if sales_cents > 0 else math.nan


def count_back_dso(balance_cents: int, sales: Sequence[tuple[int, int]]) -> float:
    """DSO by count-back (méthode par épuisement).

    Parameters
    ----------
    balance_cents : int
    sales : sequence of (int, int)
        Sales and days of each month, the latest first.

    Returns
    -------
    float
        Days of the months that the balance exhausts, the last one pro rata; NaN where it exceeds
        all sales known.

    Examples
    --------
    30 + 31 + 30 × 30/90:

    >>> count_back_dso(250, [(100, 30), (120, 31), (90, 30)])
    71.0
    """
    days, rest = 0.0, balance_cents
    for sales_cents, month_days in sales:
        if rest <= 0:
            return days
        if sales_cents > rest:
            return days + month_days * rest / sales_cents
        days, rest = days + month_days, rest - max(sales_cents, 0)
    return days if rest <= 0 else math.nan


def collection_effectiveness(
    opening_cents: int,
    sales_cents: int,
    closing_cents: int,
    current_cents: int,
    lost_cents: int = 0,
) -> float:
    """Give the collection effectiveness index (CEI): what was collected of what could be, 0–1.

    Parameters
    ----------
    opening_cents, closing_cents : int
        Balances at the beginning and the end of the period.
    sales_cents : int
        Invoiced in it, less credit notes.
    current_cents : int
        Part of the closing balance that is not yet due.
    lost_cents : int
        Written off in the period: closes invoices and is not collected.

    Examples
    --------
    >>> round(collection_effectiveness(200, 300, 250, 180), 3)
    0.781
    """
    due_cents = opening_cents + sales_cents
    collectable = due_cents - current_cents
    if collectable <= 0:
        return math.nan
    return (due_cents - closing_cents - lost_cents) / collectable


def payment_index(days_beyond_terms: ArrayLike) -> Floats:
    """Payment index 0–100 of days beyond terms (indice de paiement); 80 is on terms.

    30 days early or more is 100, 180 days late or more is 0, straight lines in between.

    >>> payment_index([-30, 0, 15, 30, 60, 120]).tolist()
    [100.0, 80.0, 70.0, 50.0, 40.0, 20.0]
    """
    days = np.asarray(days_beyond_terms, np.float64)
    index: Floats = np.interp(days, INDEX_DAYS, INDEX_VALUES)
    return index


def days_of_index(index: ArrayLike) -> Floats:
    """Days beyond terms that a payment index means: the inverse of :func:`payment_index`.

    >>> days_of_index([100, 80, 70, 50, 40, 20]).tolist()
    [-30.0, 0.0, 15.0, 30.0, 60.0, 120.0]
    """
    values = np.asarray(index, np.float64)
    days: Floats = np.interp(values, INDEX_VALUES[::-1], INDEX_DAYS[::-1])
    return days


def weighted_mean(values: ArrayLike, cents: Cents) -> float:
    """Mean weighted by amount; NaN when nothing weighs.

    >>> weighted_mean([10, 0], np.array([300, 100]))
    7.5
    """
    weight = int(cents.sum())
    return float(np.dot(np.asarray(values, np.float64), cents) / weight) if weight else math.nan


def bucket(days_past_due: Days, bounds: Sequence[int]) -> Index:
    """Place days past due into ageing buckets (balance âgée).

    Parameters
    ----------
    days_past_due : ndarray of int32
        ≤ 0 when not yet past due.
    bounds : sequence of int
        Last day of each bucket but the last; the first is 0, not yet due.

    Examples
    --------
    >>> bucket(np.array([-5, 0, 1, 30, 31, 400], np.int32), [0, 30, 60]).tolist()
    [0, 0, 1, 1, 2, 3]
    """
    places: Index = np.searchsorted(np.asarray(bounds), days_past_due)
    return places


def bucket_names(bounds: Sequence[int]) -> list[str]:
    """Name ageing buckets.

    >>> bucket_names([0, 30, 60])
    ['not due', '1–30', '31–60', '> 60']
    """
    later = [f"{low + 1}–{high}" for low, high in pairwise(bounds)]
    return ["not due", *later, f"> {bounds[-1]}"]


class Concentration(NamedTuple):
    """How much depends on few customers; shares of the total, 0–1, NaN of nothing.

    Attributes
    ----------
    top_1_rate, top_5_rate, top_10_rate : float
        Share of the largest, the five and the ten largest.
    herfindahl : float
        Σ share²: 1 when one customer is all; its inverse is a number of equal customers.
    order : ndarray of int64
        Customers, the largest first.
    """

    top_1_rate: float
    top_5_rate: float
    top_10_rate: float
    herfindahl: float
    order: Index


def concentration(cents: Cents) -> Concentration:
    """Measure concentration over customers, shape (n_customers,), amounts ≥ 0.

    >>> found = concentration(np.array([25, 50, 25]))
    >>> found.top_1_rate, found.top_5_rate, found.herfindahl, found.order.tolist()
    (0.5, 1.0, 0.375, [1, 0, 2])
    """
    order = np.argsort(-cents, kind="stable")
    total = int(cents.sum())
    if total == 0:
        return Concentration(math.nan, math.nan, math.nan, math.nan, order)
    share = cents[order] / total
    top_1, top_5, top_10 = (float(cents[order[:n]].sum() / total) for n in (1, 5, 10))
    return Concentration(top_1, top_5, top_10, float(share @ share), order)


class Period(NamedTuple):
    """Balances and flows of a period that ends at the date; what is written is in cents.

    ``opening + invoiced − credited − lost − collected = closing``, to the cent.
    """

    days: int
    opening: int
    invoiced: int  # tax included
    credited: int  # credit notes used by invoices
    lost: int  # written off
    collected: int  # payments less those that bounced
    closing: int
    current: int  # of the closing balance, not yet due

    @property
    def sales(self) -> int:
        """Invoiced less credited."""
        return self.invoiced - self.credited


def period(portfolio: Portfolio, days: int) -> Period:
    """Add up the last days of a portfolio; fewer where the ledger is shorter."""
    days = max(1, min(days, portfolio.as_of - portfolio.first_day))
    since = portfolio.as_of - days
    moved = portfolio.movements
    lately = moved.on >= since

    def total(chosen: NDArray[np.bool_]) -> int:
        return int(moved.cents[lately & chosen].sum())

    credited, lost = total(moved.kind == CREDIT_NOTE), total(moved.kind == WRITE_OFF)
    is_current = portfolio.days_past_due <= 0
    return Period(
        days=days,
        opening=int(portfolio.balance_cents(since).sum()),
        invoiced=int(portfolio.amount_cents[portfolio.issued_on >= since].sum()),
        credited=credited,
        lost=lost,
        collected=total(np.ones(moved.cents.size, bool)) - credited - lost,
        closing=int(portfolio.open_cents.sum()),
        current=int(portfolio.open_cents[is_current].sum()),
    )


def monthly_sales(portfolio: Portfolio) -> list[tuple[int, int]]:
    """Sales and days of each calendar month, the latest first; it has the days up to today."""
    first, last = _month(portfolio.first_day), _month(portfolio.today)
    cents = np.zeros(last - first + 1, np.int64)
    np.add.at(cents, _months(portfolio.issued_on) - first, portfolio.amount_cents)
    moved = portfolio.movements
    credited = moved.kind == CREDIT_NOTE
    np.subtract.at(cents, _months(moved.on[credited]) - first, moved.cents[credited])
    begins = np.arange(first, last + 2).astype("datetime64[M]").astype("datetime64[D]")
    ends = begins.astype(np.int64)
    ends[-1] = portfolio.as_of
    return list(zip(cents[::-1].tolist(), np.diff(ends)[::-1].tolist(), strict=True))


def _months(days: Days) -> Index:
    return days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)


def _month(day: int) -> int:
    return int(_months(np.array([day], np.int32))[0])


class BeyondTerms(NamedTuple):
    """Days beyond terms (DBT, jours de retard pondérés), weighted by amount, four ways.

    Attributes
    ----------
    invoices : int
        Paid in full in the window.
    early_counts : float
        Of those; early payment counts negative.
    late_only : float
        Of those; early payment counts 0.
    with_open : float
        Of those, early negative, and of what is open and past due, late so far.
    payment_index : float
        Mean payment index of those, 0–100: each invoice's index, weighted by amount.
    """

    invoices: int
    early_counts: float
    late_only: float
    with_open: float
    payment_index: float


def beyond_terms(portfolio: Portfolio, days: int) -> BeyondTerms:
    """Measure how late customers paid what we knew paid in the last `days`."""
    lately = portfolio.paid.known_on >= portfolio.as_of - days
    late, cents = (
        portfolio.paid.days_late[lately],
        portfolio.amount_cents[portfolio.paid.invoice[lately]],
    )
    overdue = (portfolio.days_past_due > 0) & (portfolio.open_cents > 0)
    all_days = np.concatenate([late, portfolio.days_past_due[overdue]])
    all_cents = np.concatenate([cents, portfolio.open_cents[overdue]])
    return BeyondTerms(
        invoices=late.size,
        early_counts=weighted_mean(late, cents),
        late_only=weighted_mean(np.maximum(late, 0), cents),
        with_open=weighted_mean(all_days, all_cents),
        payment_index=weighted_mean(payment_index(late), cents),
    )


class BeyondLaw(NamedTuple):
    """Invoices with terms longer than C. com. L441-10 allows, of the last year or still open."""

    looked_at: int
    invoices: Index
    cents: int


def beyond_law(portfolio: Portfolio) -> BeyondLaw:
    """Find them; `invoices` are rows of the portfolio."""
    recent = (portfolio.issued_on >= portfolio.as_of - 365) | (portfolio.open_cents > 0)
    found = np.flatnonzero(recent & portfolio.is_beyond_law)
    return BeyondLaw(int(recent.sum()), found, int(portfolio.amount_cents[found].sum()))


class Measured(NamedTuple):
    """What the portfolio measures, each as its function says; days, shares in 0–1 and cents."""

    period: Period
    simple_dso: float
    count_back_dso: float
    best_possible_dso: float
    days_delinquent: float  # ADD: DSO − best possible
    collection_effectiveness: float
    ageing_cents: list[int]
    ageing_invoices: list[int]
    unapplied_cents: int  # received, used by no invoice
    disputed_cents: int
    beyond_terms: BeyondTerms
    exposure: Concentration  # of what is owed
    turnover: Concentration  # of a year's sales
    owed_by_customer: Cents
    sold_by_customer: Cents
    beyond_law: BeyondLaw


def measure(portfolio: Portfolio, how: Measures) -> Measured:
    """Take every measure of a portfolio."""
    lately = period(portfolio, how.sales_days)
    dso = simple_dso(lately.closing, lately.sales, lately.days)
    best = simple_dso(lately.current, lately.sales, lately.days)
    placed = bucket(portfolio.days_past_due, how.ageing_days)
    n = len(how.ageing_days) + 1
    is_open = portfolio.open_cents > 0
    ageing = np.zeros(n, np.int64)
    np.add.at(ageing, placed, portfolio.open_cents)
    owed = by_customer(portfolio, portfolio.owed_cents)
    of_the_year = portfolio.issued_on >= portfolio.as_of - 365
    sold = by_customer(portfolio, np.where(of_the_year, portfolio.amount_cents, 0))
    return Measured(
        period=lately,
        simple_dso=dso,
        count_back_dso=count_back_dso(lately.closing, monthly_sales(portfolio)),
        best_possible_dso=best,
        days_delinquent=dso - best,
        collection_effectiveness=collection_effectiveness(
            lately.opening, lately.sales, lately.closing, lately.current, lately.lost
        ),
        ageing_cents=ageing.tolist(),
        ageing_invoices=np.bincount(placed[is_open], minlength=n).tolist(),
        unapplied_cents=int(portfolio.customers.unapplied_cents.sum()),
        disputed_cents=int(portfolio.open_cents[portfolio.is_disputed].sum()),
        beyond_terms=beyond_terms(portfolio, how.settled_days),
        exposure=concentration(owed),
        turnover=concentration(sold),
        owed_by_customer=owed,
        sold_by_customer=sold,
        beyond_law=beyond_law(portfolio),
    )
