"""What the shipped policy would have earned on a simulated ledger, and the most it could have.

The ledger goes through check, history and features; both curves are fitted 530 days before its end
and the orders of the year after are replayed, as known then: :mod:`training.backtest_run`. Beside
the policy stand accepting all, the ageing rule, and the same policy told the *true* probability: of
a booster that reads the stress that drives the simulation, which no ledger shows, besides the
ledger, and that learned on the orders of other customers, later ones included.

Where the policy earns less than accepting all, the rows below say which part of it costs what: its
limits, its probability, or its loss given default.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import yaml
from numpy.typing import NDArray
from rich.console import Console
from sklearn.model_selection import GroupKFold

from benchmarks.page import PAGE, Row, publish
from benchmarks.simulated_default import states
from features.build import build, customer_spine
from features.history import History, facts_of
from features.history import build as build_history
from features.ledger import check
from features.simulator import Simulated, Simulation, simulate
from models import insurance
from models.limits import Risk
from models.policy import Policy, load
from models.targets import DEFAULT_DEFINITIONS, default_within, find_defaults, is_in_default
from training.backtest import (
    Difference,
    Result,
    accept_all,
    by_ageing,
    difference,
    result,
)
from training.backtest_report import money, spread
from training.backtest_run import WINDOW_DAYS, Backtest, Plan, decided, run
from training.fit import BOOSTER_PARAMETERS, Settings
from training.replay import PastOrders, horizons, shorter_terms

TITLE = "Decisions"
SEED = 1
MOST_ORDERS = 8_000
PAIRS = 200_000
RESAMPLES = 1_000
FOLDS = 4
TREES = 150
THIN_MARGIN = 0.01
POLICY = Path(__file__).parents[1] / "models" / "policy.yaml"
NO_LIMIT: dict[str, Any] = {"headroom": 1000, "tolerance_rate": 1.0}

Floats = NDArray[np.float64]
Index = NDArray[np.int64]

NOTES = """
The default simulation, seed 1, six years; curves fitted 530 days before its end, orders of the year
after, all of customers drawn at random, margin 5 % of the order. EUR [95 % by resampling
customers, paired]. Conditions are weighted with the acceptance that the policy states. *True
probability*: that the customer defaults over the order's life, of a booster that reads the
simulation's stress and the ledger, on other customers' orders. *Hindsight* refuses what lost money
and nothing else: no open terms could have earned more. *Without limits*: neither need, appetite,
equity, a decided limit nor the rule on a breached limit. *LGD as seen*: the policy's losses given
default, scaled so that the unsecured one is what was lost, before insurance, of the orders whose
customer defaulted. Conditions cost customers: where nearly nothing is lost, and the margin is high,
nothing is to be won; with the margin of a distributor there is.
"""


@dataclass(frozen=True)
class Variant:
    """A part of the policy changed.

    Attributes
    ----------
    words : str
    has_limits, has_rules, is_true, is_lgd_seen : bool
        Whether the limits and the blocking rules bind, the probability is the true one, and the
        loss given default is as seen.
    """

    words: str
    has_limits: bool = True
    has_rules: bool = True
    is_true: bool = False
    is_lgd_seen: bool = False


VARIANTS = (
    Variant("true probability", is_true=True),
    Variant("without limits", has_limits=False),
    Variant("without limits, true probability", has_limits=False, is_true=True),
    Variant("the same, LGD as seen", has_limits=False, is_true=True, is_lgd_seen=True),
    Variant("the same, without blocking rules", False, False, is_true=True, is_lgd_seen=True),
)


def history_of(simulated: Simulated) -> History:
    """Take the simulated tables through the ledger.

    Raises
    ------
    ValueError
        If the ledger's rules refuse a row that is not a planted duplicate.
    """
    ledger, rejects = check(simulated.tables, "EUR")
    if set(rejects["reason"]) - {"duplicate"}:
        raise ValueError(f"{len(rejects)} rows refused, first: {rejects.iloc[0].to_dict()}")
    return build_history(facts_of(ledger))


def changed(policy: Policy, variant: Variant, lgd: float | None = None) -> Policy:
    """Give the shipped policy without its limits or rules, or with another loss given default."""
    document = yaml.safe_load(POLICY.read_text("utf-8"))
    if not variant.has_rules:
        document["blocking"] = []
    if not variant.has_limits:
        kept = {name: value for name, value in document["limit"].items() if "review" in name}
        document["limit"] = {**kept, **NO_LIMIT, "coarsest_step": 1000}
        document["appetite"]["expected_loss_rate"] = 1.0
        rules = [rule for rule in document["blocking"] if rule["when"] != "limit_breached"]
        document["blocking"] = rules
    if lgd is not None:
        scale = lgd / float(policy.lgd_rate.unsecured)
        document["lgd_rate"] = {kind: r * scale for kind, r in document["lgd_rate"].items()}
    return load(yaml.safe_dump(document))


def unlimited(past: PastOrders) -> PastOrders:
    """Forget what limits customers besides the policy: decided limits and equity."""
    free = [replace(s, decided_limit_cents=None, equity_cents=None) for s in past.situations]
    return replace(past, situations=free)


# -------------------------------------------------------------------------------- true probability


class Truth:
    """P(default) of orders by what drives the simulation and what the ledger shows.

    Parameters
    ----------
    simulated : Simulated
    history : History
        Of its tables.
    policy : Policy
        Its definition of default and horizon.
    end : int
        Exclusive date until which outcomes are known.
    """

    def __init__(self, simulated: Simulated, history: History, policy: Policy, end: int) -> None:
        self._simulated, self._history, self._policy = simulated, history, policy
        self._spells = find_defaults(history, DEFAULT_DEFINITIONS[policy.default_definition])
        self._end = end

    def describe(self, customer: Index, as_of: NDArray[np.int32]) -> Floats:
        """Give latent states and features of customers at dates."""
        tables, life = self._simulated.tables, self._simulated.life
        number = {c: i for i, c in enumerate(tables["customers"]["customer_id"])}
        place = np.array([number[c] for c in self._history.customers], np.int64)[customer]
        first = self._simulated.truth["month"].min().to_datetime64().astype("datetime64[M]")
        months = as_of.astype("datetime64[D]").astype("datetime64[M]") - first
        latent = states(life.stress, life.crisis, life.hazard, months.astype(np.int64), place)
        return np.hstack([latent, build(self._history, customer_spine(customer, as_of))])

    def probabilities(self, past: PastOrders, sooner: NDArray[np.int32]) -> Floats:
        """Give P(default) within each order's horizon, and within `sooner` days: two columns.

        Each fold of customers is asked of a booster that learned on the others, all their orders of
        the ledger whose outcome is known.
        """
        h, policy = self._history, self._policy
        index = h.current
        who, day = h.invoice_customer[index], h.invoices.issued_on[index]
        terms = np.maximum(0, h.invoices.due_on[index] - day).astype(np.int32)
        horizon = horizons(policy, terms)
        outcome = default_within(self._spells, who, day, horizon, self._end)
        kept = outcome.known & ~is_in_default(self._spells, who, day)
        who, day, horizon, happened = who[kept], day[kept], horizon[kept], outcome.happened[kept]
        X = np.column_stack([self.describe(who, day), horizon])
        mine = self.describe(past.customer, past.issued_on)
        asked = horizons(policy, past.terms_days)
        found = np.empty((past.customer.size, 2))
        customers = np.unique(np.concatenate([who, past.customer]))
        for _, held_out in GroupKFold(FOLDS).split(customers, groups=customers):
            others = ~np.isin(who, customers[held_out])
            own = np.isin(past.customer, customers[held_out])
            booster = _booster(X[others], happened[others])
            for column, days in enumerate((asked, sooner)):
                inputs = np.column_stack([mine[own], days[own]])
                found[own, column] = np.asarray(booster.predict(inputs))
        return np.column_stack([found[:, 0], np.minimum(found[:, 0], found[:, 1])])


def _booster(X: Floats, happened: NDArray[np.bool_]) -> lgb.Booster:
    """Boost with a horizon as the last column, along which the probability only rises."""
    rises = [0] * (X.shape[1] - 1) + [1]
    parameters = {**BOOSTER_PARAMETERS, "num_threads": 2, "seed": 7, "learning_rate": 0.05}
    parameters["monotone_constraints"] = rises
    return lgb.train(parameters, lgb.Dataset(X, happened), TREES)


def told_the_truth(
    tested: Backtest, said: list[Risk | None], truth: Truth, policy: Policy
) -> list[Risk | None]:
    """Put the true probability in the place of the model's; customers in default stay as known."""
    shorter = np.maximum(0, shorter_terms(policy, tested.past.terms_days))
    sooner = horizons(policy, shorter.astype(np.int32))
    p = truth.probabilities(tested.past, sooner)
    return [
        risk
        if risk is None or risk.default_probability == 1
        else replace(
            risk,
            default_probability=float(p[i, 0]),
            shorter_default_probability=None
            if risk.shorter_default_probability is None
            else float(p[i, 1]),
        )
        for i, risk in enumerate(said)
    ]


# ------------------------------------------------------------------------------------------ rows


def rows(
    tested: Backtest, true: list[Risk | None], policy: Policy, console: Console
) -> Iterator[Row]:
    """Give the figures of a backtest of the shipped policy, named ``policy``.

    `true` is what the models would have said with the true probability.
    """
    results, said = tested.results, tested.said["policy"]
    actual, ageing, own = (results[name] for name in ("accept all", "ageing rule", "policy"))
    customers = np.unique(tested.past.customer).size
    lost = int((tested.became.lost > 0).sum())
    yield Row("orders / customers / orders lost", f"{own.amount.size:,} / {customers:,} / {lost}")
    for name, one in results.items():
        yield Row(f"{name}: profit", money(one.total("profit")))
        yield Row(f"{name}: losses after the insurer", money(one.total("loss")))
    hindsight = float(np.maximum(actual.earned.profit, 0).sum())
    yield Row("hindsight: profit", money(hindsight))
    yield _must_be_positive("policy − accept all", difference(own, actual, RESAMPLES))
    yield _must_be_positive("policy − ageing rule", difference(own, ageing, RESAMPLES))
    unpaid = (own.total("profit") - own.total("undecided")) - (
        actual.total("profit") - actual.total("undecided")
    )
    yield Row("policy − accept all, if all that is unpaid is lost", money(unpaid))
    low, high = own.bounds["only the losing accept"], own.bounds["only the paying accept"]
    yield Row("policy: profit, whoever accepts", f"{money(low)} to {money(high)}")
    believed = tested.beliefs["policy"]
    for words, a, b in (
        ("P(default) said / seen", believed.said, believed.seen),
        ("the same, by amount", believed.said_by_amount, believed.seen_by_amount),
        ("loss given default assumed / seen", believed.lgd_assumed, believed.lgd_seen),
    ):
        yield Row(words, f"{a:.2%} / {b:.2%}")
    expected, seen = money(believed.expected_loss), money(believed.lost)
    yield Row("loss on open terms expected / seen", f"{expected} / {seen}")
    for variant in VARIANTS:
        with console.status(f"decisions: {variant.words}"):
            one = of_variant(variant, tested, true if variant.is_true else said, policy)
        yield Row(f"{variant.words}: profit", money(one.total("profit")))
        if variant.is_true and variant.has_limits:
            share = own.total("profit") / one.total("profit")
            yield Row("policy: share of its profit with the true probability", f"{share:.1%}")
        yield Row(f"{variant.words} − accept all", spread(difference(one, actual, RESAMPLES).all))
        if not variant.has_rules:
            spared = one.if_held_orders(actual.by_order) - one.total("profit")
            yield Row("of that, orders held for a person", money(-spared))


def of_variant(
    variant: Variant, tested: Backtest, said: list[Risk | None], policy: Policy
) -> Result:
    """Replay the same orders under a changed policy; the yardstick stays the shipped one."""
    seen = tested.beliefs["policy"].lgd_seen
    lgd = max(seen, 0.001) if variant.is_lgd_seen and not np.isnan(seen) else None
    other = changed(policy, variant, lgd)
    past = tested.past if variant.has_limits else unlimited(tested.past)
    return decided(variant.words, past, tested.became, said, other, policy)


def _must_be_positive(what: str, more: Difference) -> Row:
    return Row(what, spread(more.all), "interval above 0", more.all.low > 0)


def backtest(simulated: Simulated, ends_on: int, policy: Policy, margin_rate: float) -> Backtest:
    """Replay the last year of orders of a simulated ledger whose last day is `ends_on`."""
    end = ends_on + 1
    settings = Settings(most_pairs=PAIRS)
    plan = Plan(end - WINDOW_DAYS, end, margin_rate, MOST_ORDERS, SEED, settings)
    history = history_of(simulated)
    return run(history, {"policy": policy}, policy, insurance.load(), plan)


def bench(console: Console, page: Path = PAGE, invoices: int = 100_000) -> bool:
    """Measure, print and write the section; tell whether the policy wins."""
    policy, how = load(POLICY), Simulation(invoices=invoices, seed=SEED)
    ends_on = int(np.datetime64(how.ends_on, "D").astype(np.int64))
    with console.status(f"decisions: {invoices:,} invoices, curves, orders"):
        simulated = simulate(how)
        tested = backtest(simulated, ends_on, policy, float(policy.assumed_margin_rate))
    with console.status("decisions: true probability"):
        truth = Truth(simulated, history_of(simulated), policy, ends_on + 1)
        true = told_the_truth(tested, tested.said["policy"], truth, policy)
    found = [*rows(tested, true, policy, console), *thin(tested, true, policy)]
    return publish(console, page, TITLE, found, NOTES)


def thin(tested: Backtest, true: list[Risk | None], policy: Policy) -> Iterator[Row]:
    """Give the same orders with a thin margin, beside the optimum with the true probability."""
    past, became = tested.past, tested.became
    orders = [
        order._replace(margin_cents=round(order.amount_cents * THIN_MARGIN))
        for order in past.orders
    ]
    past, at = replace(past, orders=orders), f"margin of {THIN_MARGIN:.0%}"
    own, best = (
        decided(name, past, became, said, policy, policy)
        for name, said in (("policy", tested.said["policy"]), ("true", true))
    )
    yield Row(f"{at}: policy: profit", money(own.total("profit")))
    for answers in (accept_all(past, policy), by_ageing(past, policy)):
        other = result(answers, past, became, policy)
        yield Row(f"{at}: {answers.name}: profit", money(other.total("profit")))
        more = difference(own, other, RESAMPLES)
        yield _must_be_positive(f"{at}: policy − {answers.name}", more)
    yield Row(f"{at}: true probability: profit", money(best.total("profit")))
    share = own.total("profit") / best.total("profit")
    yield Row(f"{at}: policy: share of that profit", f"{share:.1%}")


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=TITLE)
    parser.add_argument("--page", type=Path, default=PAGE, help="where the table is kept")
    parser.add_argument("--invoices", type=int, default=100_000, help="to simulate")
    asked_for = parser.parse_args(arguments)
    return 0 if bench(Console(), asked_for.page, asked_for.invoices) else 1


if __name__ == "__main__":
    sys.exit(main())
