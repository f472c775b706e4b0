"""A backtest from end to end: fit at a cut-off, describe the orders since, decide, reckon.

Nothing has seen the window: both curves are fitted here with what was known at the cut-off, and
each order is described by what was known on its day.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from features.history import History
from features.ledger import LedgerError
from models.insurance import InsuranceRules
from models.limits import Risk
from models.policy import Policy
from models.targets import DEFAULT_DEFINITIONS, Outcomes, default_within, find_defaults
from training.backtest import Beliefs, Result, accept_all, beliefs, by_ageing, by_policy, result
from training.fit import Settings
from training.realised import LOST_AFTER_DAYS, Realised, matured, realised
from training.replay import (
    Curves,
    PastOrders,
    choose,
    fit_curves,
    horizons,
    in_default,
    past_orders,
    replay,
    risks,
    sample,
)

LONGEST_TERMS_DAYS = 75  # 45 days end of month
WINDOW_DAYS = 365 + LONGEST_TERMS_DAYS + LOST_AFTER_DAYS
"""A year of orders, and the time until the last of them is judged."""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What to replay.

    Attributes
    ----------
    cutoff, end : int
        Exclusive dates, in days: orders are those issued from the first on, outcomes those known
        before the second.
    margin_rate : float
        Of every order.
    most_orders : int
        Of more, all orders of customers drawn at random are replayed.
    seed : int
    settings : Settings
        Of the fits.
    """

    cutoff: int
    end: int
    margin_rate: float
    most_orders: int = 5_000
    seed: int = 0
    settings: Settings = field(default_factory=Settings)


@dataclass(frozen=True)
class Backtest:
    """Policies on the same orders.

    Attributes
    ----------
    plan : Plan
    past : PastOrders
    became : Realised
    results : dict of str to Result
        ``accept all`` and ``ageing rule`` first, then the policies by name.
    beliefs : dict of str to Beliefs
        Of the policies.
    said : dict of str to list of (Risk or None)
        What the models said for each policy.
    issued, not_matured : int
        Invoices issued in the window; those of them whose outcome is not known yet.
    """

    plan: Plan
    past: PastOrders
    became: Realised
    results: dict[str, Result]
    beliefs: dict[str, Beliefs]
    said: dict[str, list[Risk | None]]
    issued: int
    not_matured: int


def run(
    history: History,
    policies: Mapping[str, Policy],
    world: Policy,
    rules: InsuranceRules,
    plan: Plan,
    progress: Progress = lambda stage: None,
) -> Backtest:
    """Replay the orders of a ledger under policies.

    Parameters
    ----------
    history : History
        All facts.
    policies : mapping of str to Policy
        By name.
    world : Policy
        The yardstick; see :mod:`training.backtest`.
    rules : InsuranceRules
        The insurer's policy.
    plan : Plan
    progress : callable
        Told each stage.

    Raises
    ------
    LedgerError
        If too little was known before the cut-off, or no order since has matured.
    """
    issued = choose(history, plan.cutoff, plan.end)
    judged = issued[matured(history, issued, plan.end)]
    if judged.size == 0:
        raise LedgerError(
            "no order since the cut-off has been due for 90 days: choose an earlier one"
        )
    invoice = sample(history, judged, plan.most_orders, plan.seed)
    past = past_orders(history, invoice, rules, plan.margin_rate)
    became = realised(history, invoice, plan.end)
    beside = (accept_all(past, world), by_ageing(past, world))
    results = {one.name: result(one, past, became, world) for one in beside}
    fitted: dict[str, Curves] = {}
    said, believed = dict[str, list[Risk | None]](), dict[str, Beliefs]()
    for name, policy in policies.items():
        curves = _fitted(fitted, history, policy.default_definition, plan, progress)
        defaulted = in_default(history, past, policy.default_definition)
        said[name] = risks(past, curves, defaulted, policy)
        results[name] = decided(name, past, became, said[name], policy, world, progress)
        happened = defaulting(history, past, policy, plan.end)
        lgd = float(policy.lgd_rate.unsecured)
        believed[name] = beliefs(said[name], happened, results[name], results[beside[0].name], lgd)
    left = int(issued.size - judged.size)
    return Backtest(plan, past, became, results, believed, said, int(issued.size), left)


def _fitted(
    known: dict[str, Curves], history: History, definition: str, plan: Plan, progress: Progress
) -> Curves:
    """Fit the curves of a definition of default once."""
    if definition not in known:
        known[definition] = fit_curves(
            history, plan.cutoff, plan.end, definition, plan.settings, progress
        )
    return known[definition]


def decided(
    name: str,
    past: PastOrders,
    became: Realised,
    said: list[Risk | None],
    policy: Policy,
    world: Policy,
    progress: Progress = lambda stage: None,
) -> Result:
    """Decide on every order by one policy, and reckon."""

    def tell(done: int, total: int) -> None:
        progress(f"{name}: {done:,} of {total:,} orders decided")

    answers = by_policy(name, past, replay(past, said, policy, tell), policy, world)
    return result(answers, past, became, world)


def defaulting(history: History, past: PastOrders, policy: Policy, end: int) -> Outcomes:
    """Tell which customers defaulted over their order's life, by the policy's definition."""
    spells = find_defaults(history, DEFAULT_DEFINITIONS[policy.default_definition])
    days = horizons(policy, past.terms_days)
    return default_within(spells, past.customer, past.issued_on, days, end)
