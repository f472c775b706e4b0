"""A seeded, realistic trade-credit ledger for the demo, the tests and the benchmarks.

Customers live through a latent monthly *stress* that nobody sees. It makes them slip their
payments, pay in instalments, dispute, order less, lose their credit insurance and, when it is
high, fail. What happens is in :mod:`features.simulated_trade`; what a seller would have recorded
of it, all that the tables show, in :mod:`features.simulated_books`.

Inside, a day is an integer (days since 1970-01-01), a month an integer (0 is the ledger's first),
and money integer cents. Each step has its own stream of random numbers, so that a rate changed in
one leaves the steps before it as they were.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features import simulated_books as books
from features import simulated_trade as trade
from features.simulated_trade import Bools, Ints

DAYS_AROUND = 1_200  # the calendar reaches this far beyond both ends of the ledger


@dataclass(frozen=True)
class Simulation:
    """What to simulate. Rates of behaviour hold at stress 0 and grow with stress where stated.

    Attributes
    ----------
    invoices : int
        Expected number of invoices, all customers and years.
    years : int
        Length of the ledger, calendar years counted back from the month of `ends_on`.
    ends_on : date
        Last day of the ledger: nothing is dated after it, nor recorded after the next day.
    seed : int
        The same seed and parameters give the same bytes.
    invoices_per_customer : float
        Mean number of invoices of a customer over the ledger; sets the number of customers.
    newcomer_rate : float
        Share of customers that join after the ledger's start.
    leaving_rate : float
        Probability a year that a customer stops buying for reasons other than failure.
    natural_person_rate : float
        Share of customers that are sole traders.
    crisis_rate : float
        Crises a customer and year; stress then climbs for months, and may be fatal.
    sudden_failure_rate : float
        Probability a year of a failure that no stress announces.
    stressed_failure_rate : float
        Probability a month of failure when stress is extreme.
    fatal_stress : float
        Stress at which half of `stressed_failure_rate` is reached.
    slip_rate : float
        Share of invoices paid later than the customer's habit; grows with stress.
    slip_days : float
        Mean days of such a slip; grows with stress.
    instalment_rate, bounce_rate, give_up_rate : float
        Share of invoices paid in 2 or 3 parts, by a debit that bounces, never; grow with stress.
    residue_rate, overpayment_rate, deposit_rate : float
        Share of invoices paid 1 to 50 cents short, up to 5 % too much, partly before issue.
    dispute_rate, credit_note_rate : float
        Share of invoices disputed (grows with stress), credited without a dispute.
    unallocated_rate : float
        Share of simple payments received without the invoice's number.
    backdated_rate : float
        Share of facts recorded 5 to 30 days after they happened.
    duplicate_rate : float
        Share of invoices and settlements that the source repeats, same id and same content.
    order_rate : float
        Share of invoices that an accepted order precedes, by up to a month.
    grouped_rate : float
        Share of customers that belong to a group of companies.
    important_rate : float
        Share of customers, the largest, that matter to the seller; a fifth of them are key.
    bank_change_rate : float
        Probability a year that a customer's bank details change; then unverified for some days.
    """

    invoices: int = 100_000
    years: int = 6
    ends_on: date = date(2025, 12, 31)
    seed: int = 1
    invoices_per_customer: float = 50.0
    newcomer_rate: float = 0.33
    leaving_rate: float = 0.06
    natural_person_rate: float = 0.08
    crisis_rate: float = 0.033
    sudden_failure_rate: float = 0.003
    stressed_failure_rate: float = 0.20
    fatal_stress: float = 3.85
    slip_rate: float = 0.085
    slip_days: float = 5.0
    instalment_rate: float = 0.012
    bounce_rate: float = 0.002
    give_up_rate: float = 0.0001
    residue_rate: float = 0.012
    overpayment_rate: float = 0.003
    deposit_rate: float = 0.005
    dispute_rate: float = 0.012
    credit_note_rate: float = 0.015
    unallocated_rate: float = 0.006
    backdated_rate: float = 0.012
    duplicate_rate: float = 0.002
    order_rate: float = 0.05
    grouped_rate: float = 0.04
    important_rate: float = 0.05
    bank_change_rate: float = 0.01

    def __post_init__(self) -> None:
        if self.invoices < 1 or self.years < 1:
            raise ValueError(f"invoices and years must be >= 1: {self.invoices}, {self.years}")


@dataclass(frozen=True)
class Simulated:
    """A simulated ledger and what drove it.

    Attributes
    ----------
    tables : dict of str to DataFrame
        Raw tables for :func:`features.ledger.check`; only planted duplicates are rejects.
    truth : DataFrame of shape (n_customer_months, 4)
        ``customer_id``, ``month`` (its first day), ``stress`` (latent, about -2 to 5, 0 is usual)
        and ``insolvency_hazard`` (probability to fail in the month), while the customer trades.
    life : Life
        What the truth is taken from: every month of every customer, in the order of the table of
        customers, whether or not he trades.
    """

    tables: dict[str, pd.DataFrame]
    truth: pd.DataFrame
    life: trade.Life


def simulate(simulation: Simulation = Simulation()) -> Simulated:
    """Simulate a ledger.

    Parameters
    ----------
    simulation : Simulation
        Size, dates, seed and rates.

    Returns
    -------
    Simulated
        Raw tables (all of :data:`features.ledger.TABLES`) and the latent truth.

    Examples
    --------
    >>> simulated = simulate(Simulation(invoices=500, seed=7))
    >>> sorted(simulated.tables)[:3]
    ['credit_limits', 'customer_changes', 'customers']
    """
    rng = np.random.default_rng(simulation.seed).spawn(13)  # one stream a step
    world = World.of(simulation)
    customers = trade.draw_customers(rng[0], world)
    life = trade.live(rng[1], world, customers)
    bills = trade.bill(rng[2], world, customers, life)
    disputes = trade.dispute(rng[3], world, bills)
    flows = trade.pay(rng[4], world, bills, disputes)
    flows = trade.fail(rng[5], world, bills, flows)
    clerk = books.Clerk.of(rng[6], world, customers)
    tables = {
        "customers": books.customers_table(clerk, customers),
        **books.sales_tables(clerk, bills, disputes, flows),
        "insurance_covers": books.covers_table(rng[7], clerk, customers, life),
        "credit_limits": books.limits_table(rng[10], clerk, customers, life),
        "insolvency_events": books.insolvencies_table(rng[8], clerk, life),
        "financial_statements": books.statements_table(rng[9], clerk, customers, life),
        "orders": books.orders_table(rng[11], clerk, customers, life, bills),
        "customer_changes": books.changes_table(rng[12], clerk, customers, life),
    }
    return Simulated(tables, books.truth(clerk, life), life)


def write(tables: dict[str, pd.DataFrame], folder: Path) -> None:
    """Write one Parquet file a table, ``<table>.parquet``; the same tables give the same bytes.

    Parameters
    ----------
    tables : dict of str to DataFrame
        Tables by name.
    folder : Path
        Where to write; made when absent.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        rows.to_parquet(folder / f"{name}.parquet", engine="pyarrow", index=False)


class World(NamedTuple):
    """The parameters, and lookup tables by day; days before `origin` or far ahead are clipped."""

    simulation: Simulation
    origin: int
    ends_on: int
    month_starts: Ints  # (n_months + 1,)
    preceding: Ints  # (n_runs, n_days): last run on or before the day
    following: Ints  # (n_runs, n_days): first run on or after the day
    month_end: Ints  # (n_days,)

    @classmethod
    def of(cls, simulation: Simulation) -> World:
        """Lay out the calendar of `simulation`."""
        ends_on = np.datetime64(simulation.ends_on, "D")
        first = ends_on.astype("datetime64[M]") - (12 * simulation.years - 1)
        starts = (first + np.arange(12 * simulation.years + 1)).astype("datetime64[D]")
        days = np.arange(starts[0] - DAYS_AROUND, starts[-1] + DAYS_AROUND)
        month_end = (days.astype("datetime64[M]") + 1).astype("datetime64[D]") - 1
        runs, number, last = _run_days(days, month_end), days.astype("int64"), len(days) - 1
        before = np.maximum.accumulate(np.where(runs, np.arange(last + 1), 0), axis=1)
        after = np.where(runs, np.arange(last + 1), last)[:, ::-1]
        after = np.minimum.accumulate(after, axis=1)[:, ::-1]
        return cls(
            simulation,
            origin=int(number[0]),
            ends_on=int(ends_on.astype("int64")),
            month_starts=starts.astype("int64"),
            preceding=number[before],
            following=number[after],
            month_end=month_end.astype("int64"),
        )

    @property
    def months(self) -> int:
        """Number of months in the ledger."""
        return len(self.month_starts) - 1

    def place(self, day: Ints) -> Ints:
        """Give the position of `day` in the lookup tables."""
        return np.clip(day - self.origin, 0, len(self.month_end) - 1)

    def working(self, day: Ints) -> Ints:
        """Give the first working day on or after `day`."""
        first: Ints = self.following[0, self.place(day)]
        return first

    def month(self, day: Ints) -> Ints:
        """Give the ledger's month of `day`, the first or last one when outside."""
        month: Ints = np.searchsorted(self.month_starts, day, side="right") - 1
        return np.clip(month, 0, self.months - 1)


def _run_days(days: NDArray[np.datetime64], month_end: NDArray[np.datetime64]) -> Bools:
    """Say which days each of :data:`RUNS` pays on, never a week-end; (n_runs, n_days).

    A 10th on a week-end moves to Monday, a month end to the Friday before.
    """
    day_of_month = (days - days.astype("datetime64[M]")).astype("int64") + 1
    weekday = (days.astype("int64") + 3) % 7  # 1970-01-01 was a Thursday

    def moved(on: Bools, roll: Any) -> Bools:
        return np.isin(days, np.busday_offset(days[on], 0, roll=roll))

    tenth, fifteenth = (moved(day_of_month == n, "forward") for n in (10, 15))
    last = moved(days == month_end, "backward")
    return np.stack([weekday < 5, weekday == 1, weekday == 3, tenth, fifteenth | last, last])
