"""What happens in a simulated trade: who buys, how they fare, what they owe, how they pay.

One function a step, in the order of a sale: :func:`draw_customers`, :func:`live`, :func:`bill`,
:func:`dispute`, :func:`pay`, :func:`fail`. Nothing here knows what the seller writes down.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.special import expit, logit

from features.ledger import INSOLVENCY_KINDS, SETTLEMENT_KINDS

if TYPE_CHECKING:
    from features.simulator import World

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

PAYMENT, CREDIT_NOTE, WRITE_OFF, REVERSAL = map(
    SETTLEMENT_KINDS.index, ("payment", "credit_note", "write_off", "reversal")
)
LIQUIDATION = INSOLVENCY_KINDS.index("liquidation")
NEVER = 10**6  # a day after every ledger

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


class Customers(NamedTuple):
    """Who buys, and with what habits; arrays of shape (n_customers,)."""

    natural: Bools  # a sole trader
    size: Floats  # log-scale
    sector: Ints  # index in SECTORS
    country: Ints  # index in COUNTRIES
    joined: Ints  # month
    left: Ints  # month
    level: Floats  # the persistent part of stress
    terms: Ints  # index in TERMS
    run: Ints  # index in RUNS
    before: Bools  # pays at the run before the wanted day, not after it
    habit_days: Floats
    month_end_rate: Floats  # of invoices summed up on the last day
    orders: Floats  # invoices a month, relative
    cents: Floats  # median invoice
    revenue: Floats  # of the company, per cent billed to it

    @property
    def n(self) -> int:
        """Number of customers."""
        return len(self.level)


def draw_customers(rng: Generator, world: World) -> Customers:
    """Draw who buys: many small and a few very large, each with habits, by month of joining."""
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
    return Customers(
        natural,
        size,
        sector,
        country,
        joined,
        left=joined + 1 + rng.exponential(12 / rates.leaving_rate, n).astype("int64"),
        level=level,
        terms=_choose(rng, [share for _, _, share in TERMS], n),
        run=_choose(rng, RUNS, n),
        before=rng.random(n) < 0.7,
        habit_days=habit + np.array([days for _, _, days in COUNTRIES])[country],
        month_end_rate=rng.beta(0.5, 1.2, n),
        orders=np.exp(0.9 * size),
        cents=150_000 * np.exp(0.7 * size + rng.normal(0, 0.8, n)),
        revenue=rng.uniform(13, 78, n),
    )


class Life(NamedTuple):
    """What happens to customers; arrays of shape (n_months, n_customers) or (n_customers,)."""

    stress: Floats
    crisis: Floats  # the part of stress that crises make
    hazard: Floats  # probability to fail in the month
    trades: Bools  # buys this month, not failed before it
    orders: Floats  # expected invoices in the month
    failed_on: Ints  # day of the judgment, NEVER
    failure: Ints  # index in INSOLVENCY_KINDS


def live(rng: Generator, world: World, customers: Customers) -> Life:
    """Live month by month: stress, failure, and orders, which fall while stress is high.

    Stress is a persistent level, a slow personal course with some crises, a shock of the sector
    and the cycle of the economy. It needs months to climb, hence most failures are announced.
    """
    rates, months, n = world.simulation, world.months, customers.n
    month = np.arange(months)[:, None]
    cycle = 0.25 * np.sin(2 * np.pi * (month / 54 + rng.random()))
    cycle = cycle + _course(rng, (months, 1), memory=0.9, spread=0.12)
    sector = _course(rng, (months, len(SECTORS)), memory=0.95, spread=0.25)
    personal = _course(rng, (months, n), memory=0.92, spread=0.5)
    crisis = _crises(rng, (months, n), rates.crisis_rate / 12)
    personal += crisis
    stress = customers.level + personal + sector[:, customers.sector] + cycle
    steep = rates.stressed_failure_rate * expit(2.8 * (stress - rates.fatal_stress))
    hazard = 1 - (1 - rates.sudden_failure_rate / 12) * (1 - steep)

    present = (month >= customers.joined) & (month < customers.left)
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
    orders = customers.orders * season * appetite
    orders *= rates.invoices / orders.sum()
    return Life(stress, crisis, hazard, trades, orders, failed_on, failure)


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


class Bills(NamedTuple):
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
        """Number of invoices."""
        return len(self.issued)

    def payday(self, world: World, day: Ints, at: Ints) -> Ints:
        """Move the payments of invoices `at` to their debtors' runs, never before the issue."""
        run, place = self.run[at], world.place(day)
        early, late = world.preceding[run, place], world.following[run, place]
        return np.where(self.before[at] & (early >= self.issued[at]), early, late)


def bill(rng: Generator, world: World, customers: Customers, life: Life) -> Bills:
    """Issue invoices: on working days, or summed up on the last day of the month.

    The month of a failure ends with the judgment; later invoices belong to the rescue.
    """
    count = rng.poisson(life.orders)
    month, customer = (np.repeat(i, count[count > 0]) for i in np.nonzero(count))
    start, end = world.month_starts[month], world.month_starts[month + 1] - 1
    issued = world.working(start + (rng.random(len(month)) * (end - start)).astype("int64"))
    sums_up = rng.random(len(month)) < customers.month_end_rate[customer]
    issued = np.where(sums_up, end, np.minimum(issued, end))
    after_judgment = life.trades[month, customer] & (issued > life.failed_on[customer])
    order = np.argsort(issued, kind="stable")
    order = order[((issued <= world.ends_on) & ~after_judgment)[order]]
    issued, customer = issued[order], customer[order]

    n = len(issued)
    exception = rng.random(n) < 0.03
    terms = np.where(exception, rng.integers(0, len(TERMS), n), customers.terms[customer])
    due = issued + np.array([days for days, _, _ in TERMS])[terms]
    to_month_end = np.array([end for _, end, _ in TERMS])[terms]
    due = np.where(to_month_end, world.month_end[world.place(due)], due)
    cents = customers.cents[customer] * np.exp(rng.normal(0, 0.7, n))
    failed_on = life.failed_on[customer]
    return Bills(
        customer,
        issued,
        due,
        cents=np.maximum(cents, 1_000).astype("int64"),
        strain=np.clip(life.stress[world.month(due), customer], -2, 4),
        failed_on=np.where(issued <= failed_on, failed_on, NEVER),
        habit_days=customers.habit_days[customer],
        run=customers.run[customer],
        before=customers.before[customer],
    )


class Disputes(NamedTuple):
    """Disputed invoices; arrays of shape (n_disputes,)."""

    invoice: Ints
    opened: Ints
    closed: Ints  # NEVER for the few that nobody closes


def dispute(rng: Generator, world: World, bills: Bills) -> Disputes:
    """Dispute some invoices, soon after issue; most disputes are closed within weeks."""
    rate = world.simulation.dispute_rate * np.exp(0.35 * bills.strain)
    invoice = np.flatnonzero(rng.random(bills.n) < rate)
    n = len(invoice)
    opened = world.working(bills.issued[invoice] + rng.integers(2, 30, n))
    closed = world.working(opened + 5 + rng.exponential(35, n).astype("int64"))
    closed[rng.random(n) < 0.04] = NEVER
    kept = opened < bills.failed_on[invoice]
    return Disputes(invoice[kept], opened[kept], closed[kept])


class Flows(NamedTuple):
    """Settlements; arrays of shape (n_settlements,)."""

    invoice: Ints
    kind: Ints  # index in SETTLEMENT_KINDS
    day: Ints
    cents: Ints
    named: Bools  # the invoice is known; false for unallocated cash

    @classmethod
    def of(cls, invoice: Ints, kind: int, day: Ints, cents: NDArray[Any]) -> Flows:
        """Settle invoices, each once, all by the same kind."""
        n = len(invoice)
        return cls(invoice, np.full(n, kind), day, cents.astype("int64"), np.ones(n, bool))

    @classmethod
    def joined(cls, flows: Sequence[Flows]) -> Flows:
        """Put flows together, without those of nothing."""
        columns: Any = map(np.concatenate, zip(*flows, strict=True))
        together = cls(*columns)
        return together.where(together.cents > 0)

    def where(self, rows: Bools | Ints) -> Flows:
        """Select some, by a mask or by position."""
        columns: Any = (column[rows] for column in self)
        return Flows(*columns)

    def settled(self, n: int) -> Ints:
        """Sum what settles each of `n` invoices, in cents; a reversal takes back."""
        signed = np.where(self.kind == REVERSAL, -1, 1) * self.cents
        return np.bincount(self.invoice, signed, n).astype("int64")


def pay(rng: Generator, world: World, bills: Bills, disputes: Disputes) -> Flows:
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
    simple = Flows.of(plain, PAYMENT, planned[plain], owed[plain])
    return Flows.joined(
        [
            credit_notes,
            simple._replace(named=rng.random(len(plain)) >= rates.unallocated_rate),
            Flows.of(short, PAYMENT, planned[short], owed[short] - rng.integers(1, 51, len(short))),
            Flows.of(over, PAYMENT, planned[over], owed[over] + excess),
            *_deposit(rng, world, bills, deposit, planned[deposit], owed[deposit]),
            *_split(rng, world, bills, parts, planned[parts], owed[parts]),
            *_bounce(rng, world, bills, bounced, planned[bounced], owed[bounced]),
        ]
    )


def _plan(rng: Generator, world: World, bills: Bills, disputes: Disputes) -> Ints:
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


def _credit(rng: Generator, world: World, bills: Bills, disputes: Disputes) -> Flows:
    """Credit half of the disputed invoices when the dispute ends, and a few others; some in full.

    At most one credit note an invoice.
    """
    day = bills.issued + rng.integers(3, 40, bills.n)
    credited = rng.random(bills.n) < world.simulation.credit_note_rate
    day[disputes.invoice] = disputes.closed
    credited[disputes.invoice] = rng.random(len(disputes.invoice)) < 0.5
    at = np.flatnonzero(credited)
    share = np.where(rng.random(len(at)) < 0.2, 1.0, rng.uniform(0.03, 0.4, len(at)))
    return Flows.of(at, CREDIT_NOTE, world.working(day[at]), bills.cents[at] * share)


def _deposit(
    rng: Generator, world: World, bills: Bills, at: Ints, day: Ints, owed: Ints
) -> list[Flows]:
    """Pay 30 % on order, up to three weeks before the invoice, and the rest as planned."""
    ordered = world.place(bills.issued[at] - rng.integers(2, 22, len(at)))
    first = owed * 3 // 10
    return [
        Flows.of(at, PAYMENT, world.preceding[0, ordered], first),
        Flows.of(at, PAYMENT, day, owed - first),
    ]


def _split(
    rng: Generator, world: World, bills: Bills, at: Ints, day: Ints, owed: Ints
) -> list[Flows]:
    """Pay in two or three equal parts, a month's run apart."""
    n = rng.integers(2, 4, len(at))
    paid = [owed * np.minimum(i, n) // n for i in range(4)]  # after the first i parts
    return [
        Flows.of(at, PAYMENT, bills.payday(world, day + 32 * i, at), paid[i + 1] - paid[i])
        for i in range(3)
    ]


def _bounce(
    rng: Generator, world: World, bills: Bills, at: Ints, day: Ints, owed: Ints
) -> list[Flows]:
    """Debit the customer, see the debit come back within days, then often be paid after all."""
    back = world.working(day + rng.integers(4, 10, len(at)))
    again = world.working(back + rng.integers(8, 45, len(at)))
    paid = rng.random(len(at)) < 0.88
    return [
        Flows.of(at, PAYMENT, day, owed),
        Flows.of(at, REVERSAL, back, owed),
        Flows.of(at[paid], PAYMENT, again[paid], owed[paid]),
    ]


def fail(rng: Generator, world: World, bills: Bills, flows: Flows) -> Flows:
    """Freeze what failed customers owe, recover a little, and write off most of what is lost.

    Residues and invoices given up are written off too, most of them, after some months.
    """
    flows = flows.where(flows.day < bills.failed_on[flows.invoice])
    frozen = bills.failed_on < NEVER
    lost = bills.cents - flows.settled(bills.n)
    estate = np.flatnonzero((lost > 0) & frozen & (rng.random(bills.n) < 0.2))
    day = world.working(bills.failed_on[estate] + rng.integers(150, 540, len(estate)))
    share = rng.uniform(0.05, 0.5, len(estate))
    recovered = Flows.of(estate, PAYMENT, day, lost[estate] * share)

    last = bills.due.copy()
    np.maximum.at(last, flows.invoice, flows.day)
    last[frozen] = bills.failed_on[frozen]
    last[estate] = day
    lost -= recovered.settled(bills.n)
    residue = lost <= 50
    at = np.flatnonzero((lost > 0) & (rng.random(bills.n) < np.where(residue, 0.5, 0.8)))
    wait = np.where(residue[at], 40, 150) + rng.integers(0, 200, len(at))
    written_off = Flows.of(at, WRITE_OFF, world.working(last[at] + wait), lost[at])
    return Flows.joined([flows, recovered, written_off])


def _choose(rng: Generator, shares: Sequence[float], n: int) -> Ints:
    return rng.choice(len(shares), n, p=shares)
