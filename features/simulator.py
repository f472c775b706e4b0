"""A seeded, realistic trade-credit ledger for the demo, the tests and the benchmarks.

Customers live through a latent monthly *stress* that nobody sees. It makes them slip their
payments, pay in instalments, dispute, order less, lose their credit insurance and, when it is
high, fail. The tables show only what a seller would have recorded; the truth is kept beside them.

The steps follow a sale: :func:`_draw_customers`, :func:`_live`, :func:`_bill`, :func:`_dispute`,
:func:`_pay`, :func:`_fail`, then the tables. Inside, a day is an integer (days since 1970-01-01),
a month an integer (0 is the ledger's first), and money integer cents. Each step has its own
stream of random numbers, so that a rate changed in one leaves the steps before it as they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import NDArray
from pandas.api.extensions import ExtensionArray
from scipy.special import expit, logit

from features.ledger import INSOLVENCY_KINDS, SETTLEMENT_KINDS, TABLES

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

PAYMENT, CREDIT_NOTE, WRITE_OFF, REVERSAL = map(
    SETTLEMENT_KINDS.index, ("payment", "credit_note", "write_off", "reversal")
)
LIQUIDATION = INSOLVENCY_KINDS.index("liquidation")
NEVER = 10**6  # a day after every ledger
DAYS_AROUND = 1_200  # the calendar reaches this far beyond both ends of the ledger

SECTORS = (  # NAF division, share of customers, stress, first word of a company's name
    ("01", 0.05, -0.10, "Domaine"),
    ("10", 0.07, 0.00, "Conserverie"),
    ("25", 0.09, 0.00, "Ateliers"),
    ("28", 0.06, -0.20, "Mécanique"),
    ("41", 0.08, 0.45, "Constructions"),
    ("43", 0.16, 0.40, "Menuiserie"),
    ("46", 0.17, -0.10, "Négoce"),
    ("47", 0.10, 0.15, "Comptoir"),
    ("49", 0.07, 0.20, "Transports"),
    ("56", 0.05, 0.60, "Auberge"),
    ("62", 0.06, -0.30, "Logiciels"),
    ("70", 0.04, -0.25, "Cabinet"),
)
# ISO code, share of customers, days that its customers usually pay later
COUNTRIES = (("FR", 0.8, 0), ("DE", 0.07, -3), ("BE", 0.06, 0), ("ES", 0.04, 4), ("IT", 0.03, 6))
# days, then to the end of that month?, share of customers
TERMS = ((0, False, 0.05), (30, False, 0.35), (30, True, 0.2), (45, True, 0.22), (60, False, 0.18))
# share of customers that pay on any working day, Tuesdays, Thursdays, 10th, 15th and last, last
RUNS = (0.45, 0.10, 0.15, 0.08, 0.12, 0.10)
SEASON = (0.95, 0.98, 1.08, 1.02, 1.0, 1.08, 1.0, 0.72, 1.06, 1.08, 1.04, 0.99)  # from January
HEADS = ("Mar", "Bel", "Cour", "Val", "Ros", "Ger", "Lan", "Mont", "Del", "Fer", "Cham", "Vau")
TAILS = ("vanne", "tier", "celle", "brun", "lière", "quet", "sard", "teuil", "gny", "rieux", "lon")
FORMS = ("SARL", "SAS", "SA", "et Fils")
FIRST_NAMES = ("Alice", "Bruno", "Claire", "Denis", "Élise", "Gaëlle", "Hugo", "Inès", "Karine")


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
    """

    tables: dict[str, pd.DataFrame]
    truth: pd.DataFrame


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
    ['customers', 'disputes', 'financial_statements']
    """
    rng = np.random.default_rng(simulation.seed).spawn(10)  # one stream a step
    world = _World.of(simulation)
    customers = _draw_customers(rng[0], world)
    life = _live(rng[1], world, customers)
    bills = _bill(rng[2], world, customers, life)
    disputes = _dispute(rng[3], world, bills)
    flows = _pay(rng[4], world, bills, disputes)
    flows = _fail(rng[5], world, bills, flows)
    clerk = _Clerk(rng[6], world, _numbered("C", len(customers["level"])))
    tables = {
        "customers": _customers_table(clerk, customers),
        **_sales_tables(clerk, bills, disputes, flows),
        "insurance_covers": _covers_table(rng[7], clerk, customers, life),
        "insolvency_events": _insolvencies_table(rng[8], clerk, life),
        "financial_statements": _statements_table(rng[9], clerk, customers, life),
    }
    return Simulated(tables, _truth(clerk, life))


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


class _World(NamedTuple):
    """The parameters, and lookup tables by day; days before `origin` or far ahead are clipped."""

    simulation: Simulation
    origin: int
    ends_on: int
    month_starts: Ints  # (n_months + 1,)
    preceding: Ints  # (n_runs, n_days): last run on or before the day
    following: Ints  # (n_runs, n_days): first run on or after the day
    month_end: Ints  # (n_days,)

    @classmethod
    def of(cls, simulation: Simulation) -> _World:
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
        return len(self.month_starts) - 1

    def place(self, day: Ints) -> Ints:
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


def _draw_customers(rng: Generator, world: _World) -> dict[str, NDArray[Any]]:
    """Draw who buys: many small and a few very large, each with habits, by month of joining.

    The rest of the module calls each array of shape (n_customers,) by its name below.
    """
    rates = world.simulation
    n = max(2, round(rates.invoices / rates.invoices_per_customer))
    natural = rng.random(n) < rates.natural_person_rate
    size = rng.normal(-0.45, 0.8, n) + rng.exponential(0.45, n) - natural  # Pareto above a body
    newcomer = rng.random(n) < rates.newcomer_rate
    joined = np.sort(np.where(newcomer, rng.integers(0, world.months, n), 0))
    sector = _choose(rng, [share for _, share, _, _ in SECTORS], n)
    country = _choose(rng, [share for _, share, _ in COUNTRIES], n)
    riskier = np.array([stress for _, _, stress, _ in SECTORS])[sector] - 0.1 * size
    level = rng.normal(0, 0.5, n) + riskier
    habit = rng.choice([-6.0, 0.0, 1.0], n, p=[0.18, 0.66, 0.16])
    habit = np.where(habit > 0, rng.exponential(6, n), habit) + 2 * level
    return {
        "natural": natural,
        "size": size,  # log-scale
        "sector": sector,
        "country": country,
        "joined": joined,  # month
        "left": joined + 1 + rng.exponential(12 / rates.leaving_rate, n).astype("int64"),
        "level": level,  # the persistent part of stress
        "terms": _choose(rng, [share for _, _, share in TERMS], n),
        "run": _choose(rng, RUNS, n),
        "before": rng.random(n) < 0.7,  # pays at the run before the wanted day, not after it
        "habit_days": habit + np.array([days for _, _, days in COUNTRIES])[country],
        "month_end_rate": rng.beta(0.5, 1.2, n),  # of invoices summed up on the last day
        "orders": np.exp(0.9 * size),  # invoices a month, relative
        "cents": 150_000 * np.exp(0.7 * size + rng.normal(0, 0.8, n)),  # median invoice
        "revenue": rng.uniform(13, 78, n),  # of the company, per cent billed to it
    }


class _Life(NamedTuple):
    """What happens to customers; arrays of shape (n_months, n_customers) or (n_customers,)."""

    stress: Floats
    hazard: Floats  # probability to fail in the month
    trades: Bools  # buys this month, not failed before it
    orders: Floats  # expected invoices in the month
    failed_on: Ints  # day of the judgment, NEVER
    failure: Ints  # index in INSOLVENCY_KINDS


def _live(rng: Generator, world: _World, customers: dict[str, NDArray[Any]]) -> _Life:
    """Live month by month: stress, failure, and orders, which fall while stress is high.

    Stress is a persistent level, a slow personal course with some crises, a shock of the sector
    and the cycle of the economy. It needs months to climb, hence most failures are announced.
    """
    rates, months, n = world.simulation, world.months, len(customers["level"])
    month = np.arange(months)[:, None]
    cycle = 0.25 * np.sin(2 * np.pi * (month / 54 + rng.random()))
    cycle = cycle + _course(rng, (months, 1), memory=0.9, spread=0.12)
    sector = _course(rng, (months, len(SECTORS)), memory=0.95, spread=0.25)
    personal = _course(rng, (months, n), memory=0.92, spread=0.5)
    personal += _crises(rng, (months, n), rates.crisis_rate / 12)
    stress = customers["level"] + personal + sector[:, customers["sector"]] + cycle
    steep = rates.stressed_failure_rate * expit(2.8 * (stress - rates.fatal_stress))
    hazard = 1 - (1 - rates.sudden_failure_rate / 12) * (1 - steep)

    present = (month >= customers["joined"]) & (month < customers["left"])
    falls = present & (rng.random((months, n)) < hazard)
    failed_in = np.where(falls.any(axis=0), falls.argmax(axis=0), months)
    failure = rng.choice(len(INSOLVENCY_KINDS), n, p=[0.08, 0.30, 0.62])
    failed_on = world.working(world.month_starts[failed_in] + rng.integers(0, 27, n))
    failed_on[failed_in == months] = NEVER
    trades = present & (month <= failed_in)
    continues = present & (month > failed_in) & (failure != LIQUIDATION)

    calendar_month = world.month_starts[:-1].astype("datetime64[D]").astype("datetime64[M]")
    season = np.array(SEASON)[calendar_month.astype("int64") % 12, None]
    appetite = np.exp(-0.4 * np.clip(stress - 1, 0, None)) * (trades + 0.15 * continues)
    orders = customers["orders"] * season * appetite
    return _Life(
        stress, hazard, trades, orders * (rates.invoices / orders.sum()), failed_on, failure
    )


def _course(rng: Generator, shape: tuple[int, int], memory: float, spread: float) -> Floats:
    """Draw stationary mean-reverting paths, AR(1) along the first axis, of deviation `spread`."""
    shocks = rng.normal(0, spread, shape)
    shocks[1:] *= np.sqrt(1 - memory**2)
    return _remembered(shocks, memory)


def _crises(rng: Generator, shape: tuple[int, int], rate: float) -> Floats:
    """Draw crises: stress that climbs for nine months, then ebbs away in two or three years."""
    height = rng.uniform(2, 5, shape) * (rng.random(shape) < rate)
    return _remembered(_remembered(height / 3.87, 0.9), 0.9)  # the response peaks at 3.87


def _remembered(shocks: Floats, memory: float) -> Floats:
    """Let each row keep the share `memory` of the row before it."""
    path = shocks.copy()
    for t in range(1, len(path)):
        path[t] += memory * path[t - 1]
    return path


class _Bills(NamedTuple):
    """Invoices and what decides their payment; arrays of shape (n_invoices,), by date of issue."""

    customer: Ints
    issued: Ints
    due: Ints
    cents: Ints
    strain: Floats  # stress in the month due, within -2 to 4
    failed_on: Ints  # the debtor's judgment, if it freezes this invoice; else NEVER
    habit_days: Floats
    run: Ints
    before: Bools

    @property
    def n(self) -> int:
        return len(self.issued)

    def payday(self, world: _World, day: Ints, at: Ints) -> Ints:
        """Move the payments of invoices `at` to their debtors' runs, never before the issue."""
        run, place = self.run[at], world.place(day)
        early, late = world.preceding[run, place], world.following[run, place]
        return np.where(self.before[at] & (early >= self.issued[at]), early, late)


def _bill(rng: Generator, world: _World, customers: dict[str, NDArray[Any]], life: _Life) -> _Bills:
    """Issue invoices: on working days, or summed up on the last day of the month.

    The month of a failure ends with the judgment; later invoices belong to the rescue.
    """
    count = rng.poisson(life.orders)
    month, customer = (np.repeat(i, count[count > 0]) for i in np.nonzero(count))
    start, end = world.month_starts[month], world.month_starts[month + 1] - 1
    issued = world.working(start + (rng.random(len(month)) * (end - start)).astype("int64"))
    sums_up = rng.random(len(month)) < customers["month_end_rate"][customer]
    issued = np.where(sums_up, end, np.minimum(issued, end))
    after_judgment = life.trades[month, customer] & (issued > life.failed_on[customer])
    order = np.argsort(issued, kind="stable")
    order = order[((issued <= world.ends_on) & ~after_judgment)[order]]
    issued, customer = issued[order], customer[order]

    n = len(issued)
    exception = rng.random(n) < 0.03
    terms = np.where(exception, rng.integers(0, len(TERMS), n), customers["terms"][customer])
    due = issued + np.array([days for days, _, _ in TERMS])[terms]
    to_month_end = np.array([end for _, end, _ in TERMS])[terms]
    due = np.where(to_month_end, world.month_end[world.place(due)], due)
    cents = customers["cents"][customer] * np.exp(rng.normal(0, 0.7, n))
    failed_on = life.failed_on[customer]
    return _Bills(
        customer,
        issued,
        due,
        cents=np.maximum(cents, 1_000).astype("int64"),
        strain=np.clip(life.stress[world.month(due), customer], -2, 4),
        failed_on=np.where(issued <= failed_on, failed_on, NEVER),
        habit_days=customers["habit_days"][customer],
        run=customers["run"][customer],
        before=customers["before"][customer],
    )


class _Disputes(NamedTuple):
    """Disputed invoices; arrays of shape (n_disputes,)."""

    invoice: Ints
    opened: Ints
    closed: Ints  # NEVER for the few that nobody closes


def _dispute(rng: Generator, world: _World, bills: _Bills) -> _Disputes:
    """Dispute some invoices, soon after issue; most disputes are closed within weeks."""
    rate = world.simulation.dispute_rate * np.exp(0.35 * bills.strain)
    invoice = np.flatnonzero(rng.random(bills.n) < rate)
    n = len(invoice)
    opened = world.working(bills.issued[invoice] + rng.integers(2, 30, n))
    closed = world.working(opened + 5 + rng.exponential(35, n).astype("int64"))
    closed[rng.random(n) < 0.04] = NEVER
    kept = opened < bills.failed_on[invoice]
    return _Disputes(invoice[kept], opened[kept], closed[kept])


class _Flows(NamedTuple):
    """Settlements; arrays of shape (n_settlements,)."""

    invoice: Ints
    kind: Ints  # index in SETTLEMENT_KINDS
    day: Ints
    cents: Ints
    named: Bools  # the invoice is known; false for unallocated cash

    @classmethod
    def of(cls, invoice: Ints, kind: int, day: Ints, cents: NDArray[Any]) -> _Flows:
        n = len(invoice)
        return cls(invoice, np.full(n, kind), day, cents.astype("int64"), np.ones(n, bool))

    @classmethod
    def joined(cls, flows: Sequence[_Flows]) -> _Flows:
        """Put flows together, without those of nothing."""
        columns: Any = map(np.concatenate, zip(*flows, strict=True))
        together = cls(*columns)
        return together.where(together.cents > 0)

    def where(self, rows: Bools | Ints) -> _Flows:
        columns: Any = (column[rows] for column in self)
        return _Flows(*columns)

    def settled(self, n: int) -> Ints:
        """Sum what settles each of `n` invoices, in cents; a reversal takes back."""
        signed = np.where(self.kind == REVERSAL, -1, 1) * self.cents
        return np.bincount(self.invoice, signed, n).astype("int64")


def _pay(rng: Generator, world: _World, bills: _Bills, disputes: _Disputes) -> _Flows:
    """Settle as if nobody failed: credit notes, then the rest in one of several ways.

    An invoice is paid in exactly one way, so that money is conserved whatever the rates.
    """
    rates = world.simulation
    credit_notes = _credit(rng, world, bills, disputes)
    owed = bills.cents - credit_notes.settled(bills.n)
    planned = _plan(rng, world, bills, disputes)
    strained, alike = np.exp(0.7 * bills.strain), np.ones(bills.n)
    ways = np.cumsum(
        [
            rates.instalment_rate * strained,
            rates.bounce_rate * strained,
            rates.give_up_rate * strained**2,
            rates.residue_rate * alike,
            rates.overpayment_rate * alike,
            rates.deposit_rate * alike,
        ],
        axis=0,
    )
    way = (rng.random(bills.n) >= ways).sum(axis=0)
    parts, bounced, _, short, over, deposit, plain = (np.flatnonzero(way == i) for i in range(7))
    excess = owed[over] * rng.uniform(0.001, 0.05, len(over))
    simple = _Flows.of(plain, PAYMENT, planned[plain], owed[plain])
    return _Flows.joined(
        [
            credit_notes,
            simple._replace(named=rng.random(len(plain)) >= rates.unallocated_rate),
            _Flows.of(
                short, PAYMENT, planned[short], owed[short] - rng.integers(1, 51, len(short))
            ),
            _Flows.of(over, PAYMENT, planned[over], owed[over] + excess),
            *_deposit(rng, world, bills, deposit, planned[deposit], owed[deposit]),
            *_split(rng, world, bills, parts, planned[parts], owed[parts]),
            *_bounce(rng, world, bills, bounced, planned[bounced], owed[bounced]),
        ]
    )


def _plan(rng: Generator, world: _World, bills: _Bills, disputes: _Disputes) -> Ints:
    """Plan the day of payment: the due date, the habit, a slip, then the customer's next run.

    A disputed invoice waits for the end of the dispute.
    """
    rates = world.simulation
    slips = rng.random(bills.n) < expit(logit(rates.slip_rate) + 1.5 * bills.strain)
    slip = slips * rng.exponential(rates.slip_days * np.exp(0.75 * bills.strain))
    wanted = bills.due + np.rint(bills.habit_days + np.minimum(slip, 400)).astype("int64")
    wanted = np.maximum(wanted, bills.issued)
    planned = bills.payday(world, wanted, np.arange(bills.n))
    agreed = world.working(disputes.closed + 3)
    planned[disputes.invoice] = np.maximum(planned[disputes.invoice], agreed)
    return planned


def _credit(rng: Generator, world: _World, bills: _Bills, disputes: _Disputes) -> _Flows:
    """Credit half of the disputed invoices when the dispute ends, and a few others; some in full.

    At most one credit note an invoice.
    """
    day = bills.issued + rng.integers(3, 40, bills.n)
    credited = rng.random(bills.n) < world.simulation.credit_note_rate
    day[disputes.invoice] = disputes.closed
    credited[disputes.invoice] = rng.random(len(disputes.invoice)) < 0.5
    at = np.flatnonzero(credited)
    share = np.where(rng.random(len(at)) < 0.2, 1.0, rng.uniform(0.03, 0.4, len(at)))
    return _Flows.of(at, CREDIT_NOTE, world.working(day[at]), bills.cents[at] * share)


def _deposit(
    rng: Generator, world: _World, bills: _Bills, at: Ints, day: Ints, owed: Ints
) -> list[_Flows]:
    """Pay 30 % on order, up to three weeks before the invoice, and the rest as planned."""
    ordered = world.place(bills.issued[at] - rng.integers(2, 22, len(at)))
    first = owed * 3 // 10
    return [
        _Flows.of(at, PAYMENT, world.preceding[0, ordered], first),
        _Flows.of(at, PAYMENT, day, owed - first),
    ]


def _split(
    rng: Generator, world: _World, bills: _Bills, at: Ints, day: Ints, owed: Ints
) -> list[_Flows]:
    """Pay in two or three equal parts, a month's run apart."""
    n = rng.integers(2, 4, len(at))
    paid = [owed * np.minimum(i, n) // n for i in range(4)]  # after the first i parts
    return [
        _Flows.of(at, PAYMENT, bills.payday(world, day + 32 * i, at), paid[i + 1] - paid[i])
        for i in range(3)
    ]


def _bounce(
    rng: Generator, world: _World, bills: _Bills, at: Ints, day: Ints, owed: Ints
) -> list[_Flows]:
    """Debit the customer, see the debit come back within days, then often be paid after all."""
    back = world.working(day + rng.integers(4, 10, len(at)))
    again = world.working(back + rng.integers(8, 45, len(at)))
    paid = rng.random(len(at)) < 0.88
    return [
        _Flows.of(at, PAYMENT, day, owed),
        _Flows.of(at, REVERSAL, back, owed),
        _Flows.of(at[paid], PAYMENT, again[paid], owed[paid]),
    ]


def _fail(rng: Generator, world: _World, bills: _Bills, flows: _Flows) -> _Flows:
    """Freeze what failed customers owe, recover a little, and write off most of what is lost.

    Residues and invoices given up are written off too, most of them, after some months.
    """
    flows = flows.where(flows.day < bills.failed_on[flows.invoice])
    frozen = bills.failed_on < NEVER
    lost = bills.cents - flows.settled(bills.n)
    estate = np.flatnonzero((lost > 0) & frozen & (rng.random(bills.n) < 0.2))
    day = world.working(bills.failed_on[estate] + rng.integers(150, 540, len(estate)))
    share = rng.uniform(0.05, 0.5, len(estate))
    recovered = _Flows.of(estate, PAYMENT, day, lost[estate] * share)

    last = bills.due.copy()
    np.maximum.at(last, flows.invoice, flows.day)
    last[frozen] = bills.failed_on[frozen]
    last[estate] = day
    lost -= recovered.settled(bills.n)
    residue = lost <= 50
    at = np.flatnonzero((lost > 0) & (rng.random(bills.n) < np.where(residue, 0.5, 0.8)))
    wait = np.where(residue[at], 40, 150) + rng.integers(0, 200, len(at))
    written_off = _Flows.of(at, WRITE_OFF, world.working(last[at] + wait), lost[at])
    return _Flows.joined([flows, recovered, written_off])


@dataclass(frozen=True)
class _Clerk:
    """Who writes the facts down: most on the day or the next, some weeks later."""

    rng: Generator
    world: _World
    customer_ids: ExtensionArray

    def delays(self, n: int) -> Ints:
        """Draw days of back-dating, mostly 0."""
        late = self.rng.random(n) < self.world.simulation.backdated_rate
        return late * self.rng.integers(5, 31, n)

    def times(self, day: Ints, delays: Ints) -> NDArray[np.datetime64]:
        """Record facts of `day`, in office hours of that or the next working day, UTC."""
        on = self.world.working(day + delays + (self.rng.random(len(day)) < 0.4))
        seconds = on * 86_400 + self.rng.integers(6 * 3_600, 18 * 3_600, len(day))
        return seconds.astype("datetime64[s]").astype("datetime64[ns]")

    def known(self, day: Ints, recorded_at: NDArray[np.datetime64]) -> Bools:
        """Say which facts happened and were recorded before the ledger ends."""
        too_late = np.datetime64(self.world.ends_on + 2, "D")
        return (day <= self.world.ends_on) & (recorded_at < too_late)

    def table(self, name: str, prefix: str, facts: dict[str, Any]) -> pd.DataFrame:
        """Lay out the known facts in order of date, numbered, with dates for day numbers.

        A day after the ledger's end is not a date yet.
        """
        day = facts[str(TABLES[name].happened_on)]
        recorded_at = self.times(day, self.delays(len(day)))
        kept = np.argsort(day, kind="stable")
        kept = kept[self.known(day, recorded_at)[kept]]
        dates = {c: _dates(v, self.world.ends_on) for c, v in facts.items() if c.endswith("_on")}
        rows = pd.DataFrame({**facts, **dates, "recorded_at": recorded_at})
        rows = rows.iloc[kept].reset_index(drop=True)
        return rows.assign(**{TABLES[name].key: _numbered(prefix, len(kept))})

    def repeated(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Plant duplicates: some rows come twice in a row."""
        again = self.rng.random(len(rows)) < self.world.simulation.duplicate_rate
        return rows.iloc[np.repeat(np.arange(len(rows)), 1 + again)].reset_index(drop=True)


def _sales_tables(
    clerk: _Clerk, bills: _Bills, disputes: _Disputes, flows: _Flows
) -> dict[str, pd.DataFrame]:
    """Write invoices, settlements and disputes; what settles an unknown invoice is unknown.

    The settlements of one invoice are back-dated together, so that none is known before an
    earlier one that it undoes.
    """
    recorded_at = clerk.times(bills.issued, clerk.delays(bills.n))
    known = clerk.known(bills.issued, recorded_at)
    year = bills.issued.astype("datetime64[D]").astype("datetime64[Y]").astype("int64") + 1970
    prefix = "F-" + pd.Series(year).astype("str")
    numbers = _numbered(prefix, bills.n, 6, before=np.searchsorted(year, year))
    debtors = clerk.customer_ids.take(bills.customer)
    invoices = {
        "invoice_id": numbers,
        "customer_id": debtors,
        "issued_on": _dates(bills.issued),
        "due_on": _dates(bills.due),
        "amount_cents": bills.cents,
        "recorded_at": recorded_at,
    }
    flow_times = clerk.times(flows.day, clerk.delays(bills.n)[flows.invoice])
    kept = np.lexsort((flows.invoice, flows.day))
    kept = kept[(clerk.known(flows.day, flow_times) & known[flows.invoice])[kept]]
    flows = flows.where(kept)
    settlements = {
        "settlement_id": _numbered("R", len(kept), 7),
        "customer_id": debtors.take(flows.invoice),
        "invoice_id": numbers.take(np.where(flows.named, flows.invoice, -1), allow_fill=True),
        "kind": _words(SETTLEMENT_KINDS, flows.kind),
        "settled_on": _dates(flows.day),
        "amount_cents": flows.cents,
        "recorded_at": flow_times[kept],
    }
    invoice, opened, closed = (column[known[disputes.invoice]] for column in disputes)
    disputed = {
        "customer_id": debtors.take(invoice),
        "invoice_id": numbers.take(invoice),
        "opened_on": opened,
        "closed_on": closed,
    }
    return {
        "invoices": clerk.repeated(pd.DataFrame(invoices)[known]),
        "settlements": clerk.repeated(pd.DataFrame(settlements)),
        "disputes": clerk.table("disputes", "D", disputed),
    }


def _customers_table(clerk: _Clerk, customers: dict[str, NDArray[Any]]) -> pd.DataFrame:
    """Name the customers; each was known some weeks before its first order, or years before."""
    n, natural, joined = len(clerk.customer_ids), customers["natural"], customers["joined"]

    def drawn(words: Sequence[str]) -> pd.Series:
        return pd.Series(_words(words, clerk.rng.integers(0, len(words), n)))

    family, first, form = drawn(HEADS) + drawn(TAILS), drawn(FIRST_NAMES), drawn(FORMS)
    trade = pd.Series(_words([word for _, _, _, word in SECTORS], customers["sector"]))
    company = trade + " " + family + " " + form
    known_for = clerk.rng.integers(40, np.where(joined > 0, 80, 3_000))
    return pd.DataFrame(
        {
            "customer_id": clerk.customer_ids,
            "name": company.where(~natural, first + " " + family),
            "country": _words([code for code, _, _ in COUNTRIES], customers["country"]),
            "sector": _words([code for code, _, _, _ in SECTORS], customers["sector"]),
            "is_natural_person": natural,
            "recorded_at": _dates(clerk.world.month_starts[joined] - known_for),
        }
    )


def _covers_table(
    rng: Generator, clerk: _Clerk, customers: dict[str, NDArray[Any]], life: _Life
) -> pd.DataFrame:
    """Insure the larger customers; the insurer halves, then withdraws, as stress grows.

    He sees stress two months late, sometimes misses it, and withdraws after a judgment.
    """
    world = clerk.world
    monthly = customers["cents"] * life.orders.sum(axis=0) / (1 + life.trades.sum(axis=0))
    monthly[customers["natural"]] = 0
    insured = np.flatnonzero(monthly > np.quantile(monthly, 0.7))
    n = len(insured)
    full = np.ceil(5 * monthly[insured] / 500_000).astype("int64") * 500_000
    starts = world.month_starts[customers["joined"][insured]]

    def stressed(threshold: Floats) -> Ints:
        above = life.trades[:, insured] & (life.stress[:, insured] > threshold)
        day = world.month_starts[np.minimum(above.argmax(axis=0) + 2, world.months)]
        seen = above.any(axis=0) & (rng.random(n) < 0.8)
        return np.where(seen, day + rng.integers(1, 28, n), NEVER)

    judged = life.failed_on[insured] + rng.integers(3, 15, n)
    withdrawn = np.maximum(np.minimum(stressed(rng.normal(2.6, 0.3, n)), judged), starts + 10)
    halved = stressed(rng.normal(1.7, 0.3, n))
    halved[(halved >= withdrawn) | (halved < starts + 10)] = NEVER
    begins = np.concatenate([starts, halved, withdrawn])
    ends = np.concatenate([np.minimum(halved, withdrawn), withdrawn, np.full(n, NEVER)])
    facts = {
        "customer_id": clerk.customer_ids.take(np.tile(insured, 3)),
        "starts_on": begins,
        "ends_on": ends - 1,
        "amount_cents": np.concatenate([full, full // 2, 0 * full]),
        "insured_rate": np.full(3 * n, 0.9),
    }
    return clerk.table("insurance_covers", "A", facts)


def _insolvencies_table(rng: Generator, clerk: _Clerk, life: _Life) -> pd.DataFrame:
    """Publish the judgments; a third of the rescues ends in a liquidation within a year or so."""
    failed = np.flatnonzero(life.failed_on < NEVER)
    converted = failed[(life.failure[failed] != LIQUIDATION) & (rng.random(len(failed)) < 0.35)]
    later = life.failed_on[converted] + rng.integers(90, 420, len(converted))
    kinds = np.concatenate([life.failure[failed], np.full(len(converted), LIQUIDATION)])
    facts = {
        "customer_id": clerk.customer_ids.take(np.concatenate([failed, converted])),
        "kind": _words(INSOLVENCY_KINDS, kinds),
        "opened_on": np.concatenate([life.failed_on[failed], clerk.world.working(later)]),
    }
    return clerk.table("insolvency_events", "P", facts)


def _statements_table(
    rng: Generator, clerk: _Clerk, customers: dict[str, NDArray[Any]], life: _Life
) -> pd.DataFrame:
    """Publish yearly accounts of the larger companies, 4 to 9 months after the year's end.

    Margins and equity shrink with the stress of the year; the most stressed often do not file.
    """
    starts = clerk.world.month_starts
    files = np.flatnonzero(~customers["natural"] & (customers["size"] > 0))
    first_month = starts[0].astype("datetime64[D]").astype("datetime64[M]")
    january = -int(first_month.astype("int64")) % 12
    quarters_before = _choose(rng, (0.72, 0.10, 0.08, 0.10), len(files))
    years = np.arange(-1, clerk.world.simulation.years + 1)
    after = (january + 12 * years[:, None] - 3 * quarters_before).ravel()  # month after closing
    who = np.tile(files, len(years))
    closed = (first_month + after).astype("datetime64[D]").astype("int64") - 1
    published = closed + rng.integers(122, 275, len(closed))
    seen = life.stress[np.clip(after - 1, 0, clerk.world.months - 1), who]
    stress = seen + rng.normal(0, 0.5, len(who))

    yearly = 12 * customers["cents"] * customers["revenue"] * life.orders.mean(axis=0)
    revenue = 5_000_000 + yearly[who] * np.exp(rng.normal(0, 0.08, len(who)) - 0.04 * stress)
    operating = revenue * (0.055 - 0.025 * stress + rng.normal(0, 0.02, len(who)))
    assets = revenue * rng.uniform(0.5, 0.9, len(who))
    equity = assets * np.minimum(0.36 - 0.09 * stress + rng.normal(0, 0.06, len(who)), 0.9)
    debt = (assets - equity) * rng.uniform(0.25, 0.45, len(who))
    before_tax = operating - 0.04 * debt
    filed = rng.random(len(who)) < 0.95 - 0.1 * np.clip(stress, 0, 4)
    filed &= published < life.failed_on[who]
    facts = {
        "customer_id": clerk.customer_ids.take(who),
        "closed_on": closed,
        "published_on": published,
        "revenue_cents": revenue.astype("int64"),
        "operating_income_cents": operating.astype("int64"),
        "net_income_cents": (before_tax - 0.25 * np.maximum(before_tax, 0)).astype("int64"),
        "total_assets_cents": assets.astype("int64"),
        "equity_cents": equity.astype("int64"),
        "financial_debt_cents": debt.astype("int64"),
        "current_assets_cents": (assets * rng.uniform(0.5, 0.75, len(who))).astype("int64"),
        "current_liabilities_cents": (assets - equity - 0.6 * debt).astype("int64"),
    }
    facts = {name: column[filed] for name, column in facts.items()}
    return clerk.table("financial_statements", "B", facts)


def _truth(clerk: _Clerk, life: _Life) -> pd.DataFrame:
    """List stress and hazard, one row a customer and month in which it trades."""
    customer, month = np.nonzero(life.trades.T)
    return pd.DataFrame(
        {
            "customer_id": clerk.customer_ids.take(customer),
            "month": _dates(clerk.world.month_starts[month]),
            "stress": life.stress[month, customer],
            "insolvency_hazard": life.hazard[month, customer],
        }
    )


def _choose(rng: Generator, shares: Sequence[float], n: int) -> Ints:
    return rng.choice(len(shares), n, p=shares)


def _words(words: Sequence[str], index: Ints) -> ExtensionArray:
    return pd.array(words, dtype="str").take(index)


def _dates(days: Ints, until: int = NEVER) -> NDArray[np.datetime64]:
    """Turn day numbers into dates; those after `until` are not a date."""
    dates = np.where(days <= until, days, 0).astype("datetime64[D]").astype("datetime64[ns]")
    dates[days > until] = np.datetime64("NaT")
    return dates


def _numbered(
    prefix: str | pd.Series, n: int, width: int = 5, before: Ints | int = 0
) -> ExtensionArray:
    """Make `n` identifiers such as ``C-00017``, counting from 1 after `before`."""
    numbers = pd.Series(np.arange(1, n + 1) - before).astype("str").str.zfill(width)
    return (prefix + "-" + numbers).array
