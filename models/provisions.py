"""IFRS 9 provision matrix: expected credit losses by ageing bucket × group, on two bases.

Of 1,000.00 that customers of a group owed 1–30 days past due, in invoices of the past, 80.00 came
to be more than 90 days past due: the *roll rate* to default is 8 %. An invoice of 500.00 in that
cell, of which 450.00 are insured, provisions (500.00 − 450.00) × 8 % × 60 % = 2.40. Beside it
stands what the model's own, forward-looking probability gives for that customer.

IFRS 9 5.5.15 has trade receivables carry lifetime losses, B5.5.35 allows a provision matrix, and
B5.5.55 counts credit insurance that belongs to the terms: what is insured is not provisioned again.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.settlement import WRITE_OFF
from models.portfolio import Cents, Flags, Index, Portfolio, by_customer, fill
from models.receivables import bucket
from models.receivables_file import Provision

Floats = NDArray[np.float64]


class Cohort(NamedTuple):
    """Invoices of the past whose end is known, never disputed: what roll rates are measured on.

    Attributes
    ----------
    invoice : ndarray of int64, shape (n_cohort,)
        Rows of the portfolio.
    reached_cents : ndarray of int64, shape (n_buckets, n_cohort)
        What was still unpaid when the invoice came into each bucket: the first when it was issued,
        the last when it became a default. A write-off is not a payment.
    """

    invoice: Index
    reached_cents: Cents


def cohort(portfolio: Portfolio, how: Provision) -> Cohort:
    """Follow the invoices that fell due in the years whose defaults are known."""
    end = portfolio.as_of - 1 - how.default_days
    due_on = portfolio.due_on
    past = (due_on >= end - how.history_days) & (due_on < end) & ~portfolio.was_disputed
    invoice = np.flatnonzero(past)
    steps = [portfolio.issued_on, *(due_on + days for days in (*how.ageing_days, how.default_days))]
    unpaid = [_unpaid_cents(portfolio, day.astype(np.int64))[invoice] for day in steps]
    return Cohort(invoice, np.stack(unpaid))


def _unpaid_cents(portfolio: Portfolio, day: Index) -> Cents:
    """Find what was unpaid at the end of each invoice's own day, written off or not."""
    moved = portfolio.movements
    counts = (moved.on <= day[moved.invoice]) & (moved.kind != WRITE_OFF)
    unpaid = portfolio.amount_cents.copy()
    np.subtract.at(unpaid, moved.invoice[counts], moved.cents[counts])
    clipped: Cents = np.clip(unpaid, 0, portfolio.amount_cents)
    return clipped


class RollRates(NamedTuple):
    """Shares of what came into each bucket that came to default; shape (n_buckets, n_groups).

    Attributes
    ----------
    rate : ndarray of float64
        0–1; NaN where nothing ever came into the bucket.
    invoices : ndarray of int64
        How many were unpaid when they came into the bucket.
    is_pooled : ndarray of bool
        Too few: the rate is that of the bucket over all groups.
    """

    rate: Floats
    invoices: Index
    is_pooled: Flags


def roll_rates(reached_cents: Cents, group: Index, n_groups: int, fewest: int) -> RollRates:
    """Measure roll rates to default.

    Parameters
    ----------
    reached_cents : ndarray of int64, shape (n_buckets, n_cohort)
        See :class:`Cohort`.
    group : ndarray of int64, shape (n_cohort,)
    n_groups : int
    fewest : int
        Invoices below which a cell is pooled.

    Examples
    --------
    Of 300 issued, 100 were late and 30 came to default:

    >>> found = roll_rates(np.array([[200, 100], [100, 0], [30, 0]]), np.array([0, 0]), 1, 1)
    >>> found.rate.ravel().round(2).tolist(), found.invoices.ravel().tolist()
    ([0.1, 0.3, 1.0], [2, 1, 1])
    """
    n_buckets = reached_cents.shape[0]
    reached = np.zeros((n_buckets, n_groups), np.int64)
    count = np.zeros((n_buckets, n_groups), np.int64)
    for place in range(n_buckets):
        np.add.at(reached[place], group, reached_cents[place])
        np.add.at(count[place], group, (reached_cents[place] > 0).astype(np.int64))
    rate = _shares(np.broadcast_to(reached[-1], reached.shape), reached)
    pooled = _shares(np.full(n_buckets, reached[-1].sum()), reached.sum(axis=1))
    pooled[-1], rate[-1] = 1.0, 1.0
    is_pooled = count < fewest
    is_pooled[-1] = False
    return RollRates(np.where(is_pooled, pooled[:, None], rate), count, is_pooled)


def _shares(part: Cents, whole: Cents) -> Floats:
    """Divide, NaN by nothing; at most 1: a bounced debit can come back after its bucket."""
    share = np.full(whole.shape, math.nan)
    np.divide(part, whole, out=share, where=whole > 0)
    shares: Floats = np.minimum(share, 1.0)
    return shares


def insured_cents(portfolio: Portfolio) -> Cents:
    """Find the insured part of what is owed on each invoice, exact to the cent by customer.

    A customer's cover is used by what is due first. A disputed invoice is not covered: policies
    suspend it until the dispute is settled.

    Notes
    -----
    With 40,000 covered at 90 %, 50,000 owed are insured for 36,000, on however many invoices.
    """
    coverable = np.where(portfolio.is_disputed, 0, portfolio.owed_cents)
    customers = portfolio.customers
    covered = fill(coverable, portfolio.customer, customers.covered_cents)
    rate_ppm = np.rint(customers.insured_rate * 1_000_000).astype(np.int64)[portfolio.customer]
    total = np.cumsum(covered)
    first = np.searchsorted(portfolio.customer, portfolio.customer)
    upto = total - (total[first] - covered[first]) if total.size else total
    insured: Cents = upto * rate_ppm // 1_000_000 - (upto - covered) * rate_ppm // 1_000_000
    return insured


class Provisioned(NamedTuple):
    """Expected credit losses, one entry an invoice.

    Attributes
    ----------
    bucket, group : ndarray of int64, shape (n_invoices,)
    owed_cents, insured_cents : ndarray of int64
    historical_rate, model_rate : ndarray of float64
        Probability of default on each basis; NaN where there is none. Where the model abstains it
        is the historical one.
    historical_cents, model_cents : ndarray of int64
        Loss expected; 0 where there is no rate.
    is_asked : ndarray of bool
        The model said something of the customer.
    """

    bucket: Index
    group: Index
    owed_cents: Cents
    insured_cents: Cents
    historical_rate: Floats
    model_rate: Floats
    historical_cents: Cents
    model_cents: Cents
    is_asked: Flags


def provision(
    portfolio: Portfolio,
    rolls: RollRates,
    group: Index,
    how: Provision,
    default_probability: Floats | None = None,
) -> Provisioned:
    """Provision what is owed: exposure less insured × probability × LGD, invoice by invoice.

    Parameters
    ----------
    portfolio : Portfolio
    rolls : RollRates
        Of groups that `group` places customers in.
    group : ndarray of int64, shape (n_customers,)
    how : Provision
    default_probability : ndarray of float64, shape (n_invoices,), optional
        The model's, at the invoice's horizon; NaN where it abstains. Without it there is no model.

    Notes
    -----
    A customer under insolvency proceedings, and what is more than `default_days` past due, are in
    default on both bases. A disputed invoice stays in its bucket: whether it is credited instead
    is dilution, not credit risk, and for the accountant to judge.
    """
    placed = bucket(portfolio.days_past_due, (*how.ageing_days, how.default_days))
    group = group[portfolio.customer]
    is_default = portfolio.customers.is_insolvent[portfolio.customer]
    is_default = is_default | (placed == len(how.ageing_days) + 1)
    historical = np.where(is_default, 1.0, rolls.rate[placed, group])
    said = np.full(placed.size, math.nan) if default_probability is None else default_probability
    model = np.where(is_default, 1.0, np.where(np.isnan(said), historical, said))
    insured = insured_cents(portfolio)
    at_risk = portfolio.owed_cents - insured
    return Provisioned(
        bucket=placed,
        group=group,
        owed_cents=portfolio.owed_cents,
        insured_cents=insured,
        historical_rate=historical,
        model_rate=model,
        historical_cents=_loss_cents(at_risk, historical, float(how.lgd_rate)),
        model_cents=_loss_cents(at_risk, model, float(how.lgd_rate)),
        is_asked=is_default | ~np.isnan(said),
    )


def _loss_cents(at_risk_cents: Cents, rate: Floats, lgd_rate: float) -> Cents:
    """Round each invoice's loss to the cent, so that every sum of them is exact."""
    loss: Cents = np.rint(at_risk_cents * np.nan_to_num(rate) * lgd_rate).astype(np.int64)
    return loss


def horizon_days(portfolio: Portfolio, how: Provision) -> NDArray[np.int32]:
    """Days in which the model is asked for default: those left to the due date and a margin."""
    left: NDArray[np.int32] = np.maximum(-portfolio.days_past_due, 0) + np.int32(how.horizon_days)
    return left


class Cell(NamedTuple):
    """One cell of the matrix; rates are weighted by what is at risk, NaN where nothing is."""

    bucket: int
    group: int
    owed_cents: int
    insured_cents: int
    historical_rate: float
    model_rate: float
    historical_cents: int
    model_cents: int


def matrix(provisioned: Provisioned, n_buckets: int, n_groups: int) -> list[Cell]:
    """Add up the cells in which anything is owed, by bucket and group; sums are exact."""
    cells = []
    key = provisioned.bucket * n_groups + provisioned.group
    for place in range(n_buckets * n_groups):
        chosen = np.flatnonzero((key == place) & (provisioned.owed_cents > 0))
        if chosen.size:
            cells.append(_cell(provisioned, place // n_groups, place % n_groups, chosen))
    return cells


def _cell(provisioned: Provisioned, placed: int, group: int, chosen: Index) -> Cell:
    owed, insured = provisioned.owed_cents[chosen], provisioned.insured_cents[chosen]
    weight = owed - insured if (owed > insured).any() else owed

    def mean(rate: Floats) -> float:
        return float(np.average(rate[chosen], weights=weight))

    return Cell(
        placed,
        group,
        int(owed.sum()),
        int(insured.sum()),
        mean(provisioned.historical_rate),
        mean(provisioned.model_rate),
        int(provisioned.historical_cents[chosen].sum()),
        int(provisioned.model_cents[chosen].sum()),
    )


class Lost(NamedTuple):
    """What became of defaulted invoices: beside the LGD that is assumed."""

    defaulted_cents: int
    still_unpaid_cents: int

    @property
    def rate(self) -> float:
        """Share still unpaid; NaN of nothing."""
        if self.defaulted_cents == 0:
            return math.nan
        return self.still_unpaid_cents / self.defaulted_cents


def lost_after(portfolio: Portfolio, followed: Cohort, days: int) -> Lost:
    """Follow the cohort's defaults to `days` past due, of the invoices due that long ago."""
    invoice = followed.invoice
    old = portfolio.due_on[invoice] < portfolio.as_of - 1 - days
    unpaid = _unpaid_cents(portfolio, (portfolio.due_on + days).astype(np.int64))[invoice]
    defaulted = followed.reached_cents[-1]
    still = np.minimum(unpaid, defaulted)
    return Lost(int(defaulted[old].sum()), int(still[old].sum()))


def owed_without_answer(portfolio: Portfolio, provisioned: Provisioned) -> int:
    """Cents owed by customers of whom the model says nothing."""
    unsaid = np.where(provisioned.is_asked, 0, provisioned.owed_cents)
    return int(by_customer(portfolio, unsaid).sum())
