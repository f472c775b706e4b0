"""Past orders in euros: what each policy would have earned on what became of them.

Worked example, in euros: three orders of 1,000 on 30-day terms, margin 50, funding 5 % of 360 days.

=================================  ======  ====  =======  ======================================
what became of it                  margin  loss  funding  earned on open terms
=================================  ======  ====  =======  ======================================
paid on the due date                50.00  0.00     4.17  1,000 × 5 % × 30 / 360; 45.83
paid 60 days late                   50.00  0.00    12.50  1,000 × 5 % × 90 / 360; 37.50
never paid, covered at 90 %         50.00   100    16.67  lent for 30 + 90 days; −66.67
=================================  ======  ====  =======  ======================================

Accepting all earned 16.67. A deposit of 30 % asked for the last one leaves 70 % of the loss and of
the funding: 50 − 70 − 11.67 = −31.67 if the customer accepts, and 0 if not.

**What nobody can know.** An order that was answered with a condition was, in truth, delivered on
open terms: whether the customer would have taken the condition is not in any ledger. Its result is
weighted with the acceptance that one policy, the *yardstick*, states, for every policy alike; the
bounds say what comes out if all accept, if none does, and if only those do who fail, or who pay.
Acceptance, what a security saves, the costs of instruments and of money are all the yardstick's: a
policy must not win by what it believes.

**What is lost** is what the ledger lost, recoveries and cures included: no loss given default is
applied to it again. A security keeps as much of it as its LGD is below that of unsecured credit
(0.40 / 0.60 of it under retention of title); shorter terms as much as they lower the probability.
The insurer pays his share of it, in turn and at most once of each cover.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from models.limits import Order, Risk, Situation
from models.metrics import Interval, drawn_by_customer, interval
from models.options import Offer, instrument_cost, with_cover_raised
from models.policy import Decision, Policy
from models.policy_file import Kind
from models.targets import Outcomes
from training.realised import Realised
from training.replay import PastOrders

Floats = NDArray[np.float64]
Index = NDArray[np.int64]
Bools = NDArray[np.bool_]
WHOLE = Decimal(1)
RESAMPLES = 1_000


class Given(NamedTuple):
    """What the seller grants a customer who accepts; shares in 0–1.

    Attributes
    ----------
    kind : str
    acceptance : float
        Share of customers who take it, by the yardstick; 1 on open terms, which they took.
    delivered, on_credit : float
        Of the order.
    loss_share : float
        Of what open terms lost on the part on credit, this stays lost.
    insured_share : float
        Of the loss, the insurer pays this.
    indemnity_cents : float
        Most that the cover pays.
    cost_cents : float
    days_sooner : int
        By which shorter terms bring the payment forward.
    deposit_rate : float
    """

    kind: Kind
    acceptance: float = 1.0
    delivered: float = 1.0
    on_credit: float = 1.0
    loss_share: float = 1.0
    insured_share: float = 0.0
    indemnity_cents: float = 0.0
    cost_cents: float = 0.0
    days_sooner: int = 0
    deposit_rate: float = 0.0


REFUSED = Given("refuse", acceptance=0.0, delivered=0.0, on_credit=0.0)


@dataclass(frozen=True)
class Answers:
    """What each order is answered.

    Attributes
    ----------
    name : str
    given : list of Given
        Of an order held for a person, what the policy proposed to him; open terms, as it went in
        truth, where it proposed nothing.
    held : ndarray of bool
    expected_loss_cents : float
        What the policy expected to lose on open terms, on the orders it has a probability for.
    priced : ndarray of bool
        Those orders.
    """

    name: str
    given: list[Given]
    held: Bools
    expected_loss_cents: float = 0.0
    priced: Bools | None = None

    @property
    def kind(self) -> NDArray[np.str_]:
        """Kind of each option given."""
        return np.array([one.kind for one in self.given], np.str_)

    def each(self, field: str) -> Floats:
        """Give one field of every answer."""
        return np.array([getattr(one, field) for one in self.given], np.float64)


# ----------------------------------------------------------------------------------------- answers


def accept_all(past: PastOrders, world: Policy, name: str = "accept all") -> Answers:
    """Answer as history did: open terms to everybody."""
    given = [
        granted("open", order.amount_cents, order.amount_cents, situation, world)
        for order, situation in zip(past.orders, past.situations, strict=True)
    ]
    return Answers(name, given, np.zeros(len(given), bool))


@dataclass(frozen=True)
class AgeingRule:
    """What a credit manager does who looks at the ageing balance alone.

    Attributes
    ----------
    deposit_up_to_days : int
        Longest days overdue, undisputed, that are answered with a deposit; open terms before.
    cash_up_to_days : int
        And with cash before delivery; beyond, and in insolvency, the order is refused.
    deposit_rate : float
    """

    deposit_up_to_days: int = 30
    cash_up_to_days: int = 60
    deposit_rate: float = 0.30


def by_ageing(past: PastOrders, world: Policy, rule: AgeingRule | None = None) -> Answers:
    """Answer by how long the customer's oldest undisputed invoice was overdue."""
    rule = rule or AgeingRule()
    given = []
    for order, situation, days in zip(
        past.orders, past.situations, past.overdue_days.tolist(), strict=True
    ):
        amount = order.amount_cents
        if "insolvency_opened" in situation.facts or days > rule.cash_up_to_days:
            given.append(REFUSED)
        elif days > rule.deposit_up_to_days:
            given.append(granted("cash", amount, 0, situation, world))
        elif days > 0:
            left = amount * (1 - rule.deposit_rate)
            given.append(
                granted("deposit", amount, left, situation, world, deposit_rate=rule.deposit_rate)
            )
        else:
            given.append(granted("open", amount, amount, situation, world))
    return Answers("ageing rule", given, np.zeros(len(given), bool))


def by_policy(
    name: str, past: PastOrders, decisions: Sequence[Decision], policy: Policy, world: Policy
) -> Answers:
    """Turn a policy's decisions into what they grant.

    Parameters
    ----------
    name : str
    past : PastOrders
    decisions : sequence of Decision
        One an order.
    policy : Policy
        Whose decisions they are.
    world : Policy
        The yardstick; what it does not say is taken from `policy`.
    """
    given = []
    for order, situation, decision in zip(past.orders, past.situations, decisions, strict=True):
        given.append(_decided(decision, order, situation, world, policy))
    on_open = [_open_loss(decision) for decision in decisions]
    return Answers(
        name,
        given,
        np.array([one.requires_human for one in decisions], bool),
        float(sum(loss for loss in on_open if loss is not None)),
        np.array([loss is not None for loss in on_open], bool),
    )


def _open_loss(decision: Decision) -> int | None:
    """Return the loss expected on open terms, in cents; None without a probability."""
    losses = [one.expected_loss_cents for one in decision.options if one.kind == "open"]
    return losses[0] if losses else None


def _decided(
    decision: Decision, order: Order, situation: Situation, world: Policy, policy: Policy
) -> Given:
    pick, amount = decision.pick, order.amount_cents
    if pick is None:
        return granted("open", amount, amount, situation, world, policy)
    if pick.kind == "refuse":
        return REFUSED
    one = granted(
        cast(Kind, pick.kind),  # only a rule chooses a review
        amount,
        pick.amount_on_credit_cents,
        situation,
        world,
        policy,
        deposit_rate=pick.deposit_rate or 0.0,
    )
    if pick.terms_days is None:
        return one
    usual = next(option for option in decision.options if option.kind == "open")
    left = 1.0  # share of the losses: as the probability falls
    if usual.default_probability:
        left = (pick.default_probability or 0.0) / usual.default_probability
    return one._replace(loss_share=left, days_sooner=order.terms_days - pick.terms_days)


def granted(
    kind: Kind,
    amount: int,
    on_credit: float,
    situation: Situation,
    world: Policy,
    policy: Policy | None = None,
    deposit_rate: float = 0.0,
) -> Given:
    """Say what an option gives, by the yardstick.

    Parameters
    ----------
    kind : str
    amount, on_credit : int, float
        Of the order, in cents.
    situation : Situation
    world : Policy
        The yardstick.
    policy : Policy, optional
        Says what an instrument is worth that the yardstick does not offer.
    deposit_rate : float
    """
    if on_credit == 0:
        return Given(kind, _acceptance(kind, deposit_rate, world, policy), on_credit=0.0)
    share = on_credit / amount
    delivered = share if kind == "reduced_limit" else 1.0
    offer = Offer(kind, WHOLE, Decimal(on_credit), WHOLE)
    raised, owed = with_cover_raised(offer, situation), Decimal(situation.owed_cents)
    insured = raised.insured(owed + offer.on_credit_cents) - raised.insured(owed)
    return Given(
        kind,
        acceptance=_acceptance(kind, deposit_rate, world, policy),
        delivered=delivered,
        on_credit=share,
        loss_share=_loss_share(kind, world, policy),
        insured_share=float(insured / offer.on_credit_cents),
        indemnity_cents=float(raised.insured(Decimal(raised.covered_cents))),
        cost_cents=float(instrument_cost(offer, situation, world)),
        deposit_rate=deposit_rate,
    )


def _acceptance(kind: Kind, deposit_rate: float, world: Policy, policy: Policy | None) -> float:
    if kind == "open":
        return 1.0  # the customer took it
    if kind == "deposit":
        return float(world.acceptance_rate.at(Decimal(str(deposit_rate))))
    said = world.acceptance_rate.of(kind)
    if said is None and policy is not None:
        said = policy.acceptance_rate.of(kind)
    return float(said or 0)


def _loss_share(kind: Kind, world: Policy, policy: Policy | None) -> float:
    says_it = getattr(world.lgd_rate, kind, 0) is not None
    said = world if says_it or policy is None else policy
    return float(said.lgd_of(kind) / said.lgd_rate.unsecured)


# ------------------------------------------------------------------------------------------- euros


class Earned(NamedTuple):
    """What each order earns if the customer accepts, in cents; arrays of shape (n_orders,).

    profit = margin − loss − funding − cost. `undecided` would be lost besides, of what is unpaid.
    """

    margin: Floats
    loss: Floats
    indemnity: Floats
    funding: Floats
    cost: Floats
    undecided: Floats

    @property
    def profit(self) -> Floats:
        """What is left."""
        return self.margin - self.loss - self.funding - self.cost


def earned(answers: Answers, past: PastOrders, became: Realised, world: Policy) -> Earned:
    """Apply answers to what became of the orders.

    Parameters
    ----------
    answers : Answers
    past : PastOrders
    became : Realised
        Of the same orders.
    world : Policy
        The yardstick: what money costs.
    """
    each = answers.each
    on_credit, kept = each("on_credit"), became.amount - became.credited - became.disputed
    margin = each("delivered") * past.margin * kept / past.amount
    stays = on_credit * each("loss_share")
    gross = stays * became.lost
    indemnity = _indemnities(answers, past.customer, gross)
    lent = np.maximum(0, became.lent - each("days_sooner") * kept)
    funding = world.funding
    rate = float(funding.annual_rate) / funding.basis_days
    return Earned(
        margin,
        gross - indemnity,
        indemnity,
        on_credit * lent * rate,
        each("cost_cents"),
        stays * became.undecided * (1 - each("insured_share")),
    )


def _indemnities(answers: Answers, customer: Index, gross: Floats) -> Floats:
    """Give what the insurer pays of each loss; of one customer never more than his cover."""
    share, most = answers.each("insured_share"), answers.each("indemnity_cents")
    paid, before = np.zeros(gross.size), dict[int, float]()
    for i in np.flatnonzero(gross * share > 0):  # in order of issue
        who = int(customer[i])
        left = max(0.0, most[i] - before.get(who, 0.0))
        paid[i] = min(gross[i] * share[i], left)
        before[who] = before.get(who, 0.0) + paid[i]
    return paid


@dataclass(frozen=True)
class Result:
    """A policy in euros: cents, weighted with acceptance unless said.

    Attributes
    ----------
    answers : Answers
    earned : Earned
        If accepted, by order.
    acceptance : ndarray of float64
        Of each order; of one held for a person also that the customer waits.
    became : Realised
    customer : ndarray of int64
    amount : ndarray of float64
    """

    answers: Answers
    earned: Earned
    acceptance: Floats
    became: Realised
    customer: Index
    amount: Floats

    @property
    def by_order(self) -> Floats:
        """Profit of each order, weighted with acceptance."""
        return self.acceptance * self.earned.profit

    def total(self, part: str) -> float:
        """Sum a part of :class:`Earned`, or the profit."""
        return float(self.acceptance @ getattr(self.earned, part))

    @property
    def bounds(self) -> dict[str, float]:
        """The profit, whatever the customers would have said.

        Open terms were taken, whatever is assumed. The last two bracket every possibility.
        """
        kind, profit = self.answers.kind, self.earned.profit
        sure, possible = kind == "open", kind != "refuse"
        asked = np.where(possible & ~sure, profit, 0.0)
        certain = float((self.acceptance * profit)[sure].sum())
        return {
            "none accepts": certain,
            "all accept": certain + float(asked.sum()),
            "only the losing accept": certain + float(np.minimum(asked, 0).sum()),
            "only the paying accept": certain + float(np.maximum(asked, 0).sum()),
        }

    def if_held_orders(self, other: Floats) -> float:
        """Give the profit if persons answer what is held with something else, worth `other`."""
        return float(np.where(self.answers.held, other, self.by_order).sum())

    @property
    def actions(self) -> dict[str, int]:
        """Orders by action; those held for a person under ``review``."""
        return dict(Counter(np.where(self.answers.held, "review", self.answers.kind).tolist()))

    def asked(self, chosen: Bools) -> Asked:
        """Count chosen orders."""
        return Asked(
            int(chosen.sum()),
            int(np.unique(self.customer[chosen]).size),
            float(self.amount[chosen].sum()),
        )

    @property
    def paid(self) -> Bools:
        """Orders of which nothing was lost, nor is still unpaid."""
        paid: Bools = (self.became.lost == 0) & (self.became.undecided == 0)
        return paid

    @property
    def refused_who_paid(self) -> Asked:
        """Orders refused that were paid in truth."""
        return self.asked((self.answers.kind == "refuse") & self.paid)

    @property
    def conditions_to_who_paid(self) -> Asked:
        """Orders answered with a condition that were paid in truth."""
        kind = self.answers.kind
        return self.asked((kind != "refuse") & (kind != "open") & self.paid)

    @property
    def deposits(self) -> Asked:
        """Orders answered with a deposit; the amount is that of the deposits."""
        rates = self.answers.each("deposit_rate")
        asked = self.asked(rates > 0)
        return asked._replace(cents=float(rates @ self.amount))


class Asked(NamedTuple):
    """How many orders, of how many customers, of how much in cents."""

    orders: int
    customers: int
    cents: float


def result(answers: Answers, past: PastOrders, became: Realised, world: Policy) -> Result:
    """Put answers and what became of the orders together.

    An order held for a person costs that person's time, and some customers do not wait for him.
    """
    held, review = answers.held, world.review
    got = earned(answers, past, became, world)
    got = got._replace(cost=got.cost + held * 100 * float(review.cost_amount))
    waits = np.where(held, float(review.acceptance_rate), 1.0)
    acceptance = answers.each("acceptance") * waits
    return Result(answers, got, acceptance, became, past.customer, past.amount)


class Difference(NamedTuple):
    """By how much one policy earns more than another, in cents [95 %, customers drawn anew].

    Attributes
    ----------
    all : Interval
    without_largest : Interval
        Without the customer that the difference owes most to.
    largest : int
        His code.
    """

    all: Interval
    without_largest: Interval
    largest: int


def difference(first: Result, second: Result, resamples: int = RESAMPLES) -> Difference:
    """Tell by how much the first earns more than the second, on the same draws of customers."""
    customers, who = np.unique(first.customer, return_inverse=True)
    by_customer = np.zeros(customers.size)
    np.add.at(by_customer, who, first.by_order - second.by_order)
    largest = int(np.argmax(np.abs(by_customer)))
    rest = np.delete(by_customer, largest)
    whole, without = (_sum_interval(values, resamples) for values in (by_customer, rest))
    return Difference(whole, without, int(customers[largest]))


def _sum_interval(values: Floats, resamples: int) -> Interval:
    def total(times: Index) -> float:
        return float(times @ values)

    return interval(drawn_by_customer(total, np.arange(values.size), resamples))


class Beliefs(NamedTuple):
    """What a policy believed of open terms, beside what was seen on the same orders.

    Of customers who were not in default when they ordered, and for whom there was a probability.

    Attributes
    ----------
    orders : int
    said, seen : float
        P(default over the order's life), mean, and the share that defaulted.
    said_by_amount, seen_by_amount : float
        The same, each order weighing as its amount.
    lgd_assumed, lgd_seen : float
        Share lost of an order whose customer defaults: the policy's, and that of the ledger, cures
        and recoveries included, before insurance. NaN where nobody defaulted.
    expected_loss, lost : float
        On open terms after insurance, in cents; customers in default included.
    """

    orders: int
    said: float
    seen: float
    said_by_amount: float
    seen_by_amount: float
    lgd_assumed: float
    lgd_seen: float
    expected_loss: float
    lost: float


def beliefs(
    said: Sequence[Risk | None],
    defaulted: Outcomes,
    own: Result,
    actual: Result,
    lgd_assumed: float,
) -> Beliefs:
    """Compare beliefs with what was seen.

    Parameters
    ----------
    said : sequence of Risk or None
        What the policy was told, one an order.
    defaulted : Outcomes
        Whether the customer defaulted over the order's life.
    own, actual : Result
        Of the policy, and of accepting all.
    lgd_assumed : float
    """
    probability = np.array([np.nan if one is None else one.default_probability for one in said])
    asked = defaulted.known & ~np.isnan(probability)
    happened, p = defaulted.happened[asked], probability[asked]
    weight, each = own.amount[asked], np.ones(int(asked.sum()))
    exposed, lost = weight @ happened, own.became.lost[asked] @ happened
    priced = asked if own.answers.priced is None else own.answers.priced
    return Beliefs(
        int(asked.sum()),
        _mean(p, each),
        _mean(happened, each),
        _mean(p, weight),
        _mean(happened, weight),
        lgd_assumed,
        float(lost / exposed) if exposed else float("nan"),
        own.answers.expected_loss_cents,
        float(actual.earned.loss[priced].sum()),
    )


def _mean(values: Floats | Bools, weight: Floats) -> float:
    return float(values @ weight / weight.sum()) if weight.size else float("nan")
