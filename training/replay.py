"""Past orders as they were known then, and what a policy would have answered to each.

Every invoice issued in a window after a cut-off is an order: its amount, its terms from issue to
due date, and a margin. It is described as online, by what was known before its issue date: the same
features, position and situation; both curves were fitted with what was known at the cut-off, so
that nothing has seen the window. Earlier orders of the same customer and day count as accepted.

Nobody's later orders change with an answer: exposure is that of the real history.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.build import CUSTOMER_FEATURES, build, feature_names, invoice_spine
from features.history import History
from features.ledger import CHANGE_KINDS
from models import depth, grades
from models.curve import TermCurve
from models.insurance import InsuranceRules
from models.limits import Order, Risk, Situation
from models.policy import Decision, Policy, decide
from models.position import Positions, positions
from models.situation import NOBODY, RestOfGroup, cover_of_ledger, situate
from models.targets import ACTIVE_DAYS, DEFAULT_DEFINITIONS, find_defaults
from models.targets import is_in_default as in_default_at
from training.cures import cures
from training.dataset import default_dataset, late_dataset
from training.fit import Settings, fit
from training.train import FEWEST_DEFAULTS

Floats = NDArray[np.float64]
Index = NDArray[np.int64]
Bools = NDArray[np.bool_]
Progress = Callable[[int, int], None]

DELAYS = np.array((0, 1, 2, 3, 5, 7, 10, 15, 20, 25, 30, 40, 50, 60, 75, 90, 105, 120), np.int32)
"""Days late at which the late curve is read; online it is read at each, for one order."""

ALL_FEATURES = feature_names(with_order=True)
SINCE_LAST = CUSTOMER_FEATURES.index("purchases_days_since_last")
GROUP = CHANGE_KINDS.index("group")
CHUNK = 2_000  # orders of which the late curve is read at once


class Curves(NamedTuple):
    """Both curves, fitted with what was known at one cut-off; None where one abstains.

    `cure_rate` is what was known then to be paid after all: :mod:`training.cures`.
    """

    late: TermCurve | None
    default: TermCurve | None
    cure_rate: float = 0.0


def fit_curves(
    history: History,
    cutoff: int,
    end: int,
    definition: str,
    settings: Settings,
    progress: Callable[[str], None] = lambda stage: None,
) -> Curves:
    """Fit both curves with what was known before `cutoff`; the default curve may abstain.

    Parameters
    ----------
    history : History
    cutoff, end : int
        Exclusive dates.
    definition : str
        Preset of ``DEFAULT_DEFINITIONS``.
    settings : Settings
    progress : callable
        Told each stage.

    Raises
    ------
    LedgerError
        If too little time lies before the cut-off.
    """
    progress("late curve: features")
    late = fit(late_dataset(history), cutoff, settings, lambda s: progress(f"late curve: {s}"))
    chosen = DEFAULT_DEFINITIONS[definition]
    spells = find_defaults(history, chosen)
    if (spells.began_on < cutoff).sum() < FEWEST_DEFAULTS:
        return Curves(late.curve, None)
    progress("default curve: features")
    rows = default_dataset(history, chosen, end)
    found = fit(rows, cutoff, settings, lambda s: progress(f"default curve: {s}"))
    return Curves(late.curve, found.curve, cures(history, spells, cutoff).rate)


@dataclass(frozen=True)
class PastOrders:
    """Orders as asked and known then; arrays of shape (n_orders,), in order of issue.

    Attributes
    ----------
    invoice, customer : ndarray of int64
        Codes in the history.
    issued_on : ndarray of int32
    orders : list of Order
    X : ndarray of float64, shape (n_orders, n_features)
        As known before the issue date.
    situations : list of Situation
    overdue_days : ndarray of int64
        Of the customer's oldest undisputed invoice, then; 0 for none.
    """

    invoice: Index
    customer: Index
    issued_on: NDArray[np.int32]
    orders: list[Order]
    X: Floats
    situations: list[Situation]
    overdue_days: Index

    @property
    def amount(self) -> Floats:
        """Amounts asked for, in cents."""
        return np.array([order.amount_cents for order in self.orders], np.float64)

    @property
    def margin(self) -> Floats:
        """Margins, in cents."""
        return np.array([order.margin_cents for order in self.orders], np.float64)

    @property
    def terms_days(self) -> NDArray[np.int32]:
        """Terms, in days."""
        return np.array([order.terms_days for order in self.orders], np.int32)


def choose(history: History, first: int, end: int) -> Index:
    """Give the current invoices issued from `first` on and before `end`, by date of issue."""
    index = history.current
    issued_on = history.invoices.issued_on[history.as_first_known(index)]
    chosen = np.flatnonzero((issued_on >= first) & (issued_on < end))
    return index[chosen[np.argsort(issued_on[chosen], kind="stable")]]


def sample(history: History, invoice: Index, most: int, seed: int = 0) -> Index:
    """Keep all invoices of customers drawn at random, until there are `most` of them or none left.

    Parameters
    ----------
    history : History
    invoice : ndarray of int64
        From :func:`choose`.
    most : int
        The last customer drawn may exceed it.
    seed : int
    """
    if invoice.size <= most:
        return invoice
    who = history.invoice_customer[invoice]
    customers, count = np.unique(who, return_counts=True)
    drawn = np.random.default_rng(seed).permutation(customers.size)
    enough = int(np.searchsorted(np.cumsum(count[drawn]), most)) + 1
    return invoice[np.isin(who, customers[drawn[:enough]])]


def past_orders(
    history: History,
    invoice: Index,
    rules: InsuranceRules,
    margin_rate: float | Floats,
) -> PastOrders:
    """Describe invoices as the orders that they were.

    Parameters
    ----------
    history : History
    invoice : ndarray of int64, shape (n_orders,)
        From :func:`choose`.
    rules : InsuranceRules
        The insurer's policy.
    margin_rate : float or ndarray of float64, shape (n_orders,)
        Share of the amount.
    """
    spine = invoice_spine(history, invoice)
    as_of = spine.as_of.astype(np.int64)
    margin = np.rint(spine.amount_cents * np.asarray(margin_rate)).astype(np.int64)
    terms = np.maximum(0, spine.due_on - spine.issued_on)
    asked = zip(spine.amount_cents.tolist(), margin.tolist(), terms.tolist(), strict=True)
    orders = [Order(*one) for one in asked]
    known = positions(history, spine.customer, as_of)
    situations = _situations(history, spine.customer, as_of, orders, known, rules)
    overdue = known.exposure.longest_overdue_days
    X = build(history, spine)
    return PastOrders(invoice, spine.customer, spine.as_of, orders, X, situations, overdue)


def _situations(
    history: History,
    customer: Index,
    as_of: Index,
    orders: list[Order],
    known: Positions,
    rules: InsuranceRules,
) -> list[Situation]:
    """Put together what was known of each customer, one order of a day after the other."""
    rest = rest_of_group(history, customer, as_of, known)
    delivered, today = _delivered(history), dict[tuple[int, int], int]()
    found = []
    for i, order in enumerate(orders):
        one, key = known.of(i), (int(customer[i]), int(as_of[i]))
        accepted = max(0, one.exposure.orders_cents - delivered.get(key, 0)) + today.get(key, 0)
        one = replace(one, exposure=one.exposure._replace(orders_cents=accepted))
        cover = cover_of_ledger(one, key[1])
        found.append(situate(one, order, cover, key[1], rules, rest[i]).situation)
        today[key] = today.get(key, 0) + order.amount_cents
    return found


def _delivered(history: History) -> dict[tuple[int, int], int]:
    """Sum accepted orders by customer and the day they are closed: an invoice takes their place.

    Without this an order would count twice on its day, as accepted and as asked.
    """
    orders, found = history.orders, dict[tuple[int, int], int]()
    customer = np.repeat(np.arange(orders.start.size - 1), np.diff(orders.start))
    rows = zip(customer.tolist(), orders.closed_on.tolist(), orders.cents.tolist(), strict=True)
    for who, closed_on, cents in rows:
        found[who, closed_on] = found.get((who, closed_on), 0) + cents
    return found


def rest_of_group(
    history: History, customer: Index, as_of: Index, known: Positions
) -> list[RestOfGroup]:
    """Sum what the other companies of each customer's group owed and bought, as known then."""
    changes = history.changes
    who = np.repeat(np.arange(changes.start.size - 1), np.diff(changes.start))
    ever: dict[str, set[int]] = {}
    for row in np.flatnonzero((changes.kind == GROUP) & (changes.value >= 0)):
        ever.setdefault(str(history.change_values[changes.value[row]]), set()).add(int(who[row]))
    asked = [
        (i, other)
        for i, group in enumerate(known.group)
        if group is not None
        for other in sorted(ever.get(str(group), set()) - {int(customer[i])})
    ]
    rest = [NOBODY] * as_of.size
    if not asked:
        return rest
    row, other = np.array(asked, np.int64).T
    others = positions(history, other, as_of[row])
    is_member = others.group == known.group[row]
    owed, bought = others.exposure.cents, others.yearly_purchases_cents
    for k in np.flatnonzero(is_member):
        i = int(row[k])
        exposure, purchases = rest[i]
        rest[i] = RestOfGroup(exposure + int(owed[k]), purchases + int(bought[k]))
    return rest


# ------------------------------------------------------------------------------------ probabilities


def in_default(history: History, past: PastOrders, definition: str) -> Bools:
    """Tell whose customers were in default when they ordered, by a preset's definition.

    By the books as thought of now, as online: a correction recorded since is seen.
    """
    spells = find_defaults(history, DEFAULT_DEFINITIONS[definition])
    return in_default_at(spells, past.customer, past.issued_on)


def horizons(policy: Policy, terms_days: NDArray[np.int32]) -> NDArray[np.int32]:
    """Give the horizon, in days, that prices each order's credit."""
    asked = [policy.horizon_days(int(days)) for days in terms_days]
    return np.array(asked, np.int32)


def shorter_terms(policy: Policy, terms_days: NDArray[np.int32]) -> NDArray[np.int32]:
    """Give the shorter terms on offer for each order, in days; −1 for none."""
    found = [policy.shorter_terms_days(int(days)) for days in terms_days]
    return np.array([-1 if days is None else days for days in found], np.int32)


def expected_delays(late: TermCurve, X: Floats) -> Floats:
    """Mean days past due of the payment of each order; see ``models.curve.expected_delay_days``."""
    weights = _area(DELAYS)
    found = np.empty(len(X))
    for first in range(0, len(X), CHUNK):
        rows = X[first : first + CHUNK]
        asked = np.repeat(rows, DELAYS.size, axis=0)
        said = late.probability(asked, np.tile(DELAYS, len(rows)))
        weighted = said.reshape(-1, DELAYS.size) * weights
        found[first : first + CHUNK] = weighted.sum(axis=1)  # a row's sum, whatever its company
    return found


def _area(terms: NDArray[np.int32]) -> Floats:
    """Give what each term weighs in the area under a curve that is straight between them."""
    days = np.arange(terms[-1])
    return np.array([np.interp(days, terms, unit).sum() for unit in np.eye(terms.size)])


def risks(
    past: PastOrders, curves: Curves, is_in_default: Bools, policy: Policy
) -> list[Risk | None]:
    """Say what the models would have said of each order, as online.

    A customer in default has the probability 1. None, and so a person decides, where a curve
    abstains: of a customer of whom nothing was known, or without an invoice for a year.
    """
    is_thin = (depth.letters(past.X, ALL_FEATURES) == depth.FLOOR) & ~is_in_default
    if curves.late is None or not len(past.X):
        return [None] * len(past.orders)
    delays = expected_delays(curves.late, past.X)
    is_known = past.X[:, SINCE_LAST] <= ACTIVE_DAYS
    if curves.default is None:
        is_known[:] = False
    asked = np.flatnonzero(is_known & ~is_in_default & ~is_thin)
    said = np.full((len(delays), 3), 1.0)  # over the order's life, on shorter terms, in a year
    if curves.default is not None:
        said[asked] = _default_probabilities(past, asked, curves.default, policy)
    has_shorter = shorter_terms(policy, past.terms_days) >= 0
    answered = is_in_default.copy()
    answered[asked] = True
    letters = grades.grade(said[:, 2])
    cured = curves.cure_rate if policy.cures == "measured" else 0.0
    return [
        Risk(
            float(said[i, 0]),
            float(delays[i]),
            float(said[i, 1]) if has_shorter[i] or is_in_default[i] else None,
            str(letters[i]),
            0.0 if is_in_default[i] else cured,
        )
        if answered[i]
        else None
        for i in range(len(delays))
    ]


def _default_probabilities(
    past: PastOrders, rows: Index, curve: TermCurve, policy: Policy
) -> Floats:
    """Give P(default) over each order's life, its life on shorter terms, and within a year."""
    X = np.ascontiguousarray(past.X[rows][:, : len(curve.features)])
    terms = past.terms_days[rows]

    def within(days: NDArray[np.int32]) -> Floats:
        return curve.probability(X, np.clip(days, curve.shortest, curve.longest).astype(np.int32))

    whole = within(horizons(policy, terms))
    sooner = within(horizons(policy, np.maximum(0, shorter_terms(policy, terms))))
    a_year = within(np.full(rows.size, grades.HORIZON_DAYS, np.int32))
    return np.column_stack([whole, np.minimum(sooner, whole), a_year])


def replay(
    past: PastOrders,
    said: list[Risk | None],
    policy: Policy,
    progress: Progress = lambda done, total: None,
) -> list[Decision]:
    """Decide on every order under a policy."""
    found = []
    for i, (order, situation, risk) in enumerate(
        zip(past.orders, past.situations, said, strict=True)
    ):
        if i % 100 == 0:
            progress(i, len(said))
        found.append(decide(order, situation, risk, policy))
    return found
