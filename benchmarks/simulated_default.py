"""AUC of the default curve on a simulated ledger, beside what the simulator's own state allows.

Nobody can know more of a simulated customer than the stress that he lives through, which the ledger
does not show, and what the ledger does show: an invoice 80 days past due tells of a default within
90 days what no stress can. A booster that reads the stress, its past and the crisis behind it,
alone and together with the ledger's features, therefore says how far the curve could go at all.

An ablation says where the curve's knowledge comes from: the curve is fitted again without each
family of features, and with each alone, and asked about the same customers at the same dates.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, cast

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from sklearn.model_selection import GroupKFold

from benchmarks.page import PAGE, Row, publish
from features.build import FAMILIES
from features.history import build as build_history
from features.history import facts_of
from features.ledger import check
from features.simulator import Simulated, Simulation, simulate
from models.metrics import Interval, auc, by_customer
from models.targets import DEFAULT_DEFINITIONS
from training.dataset import Dataset, Pairs, default_dataset
from training.fit import BOOSTER_PARAMETERS, Settings, fit

TITLE = "Simulated default"
HORIZONS = (90, 365)
TEST_DAYS = 2 * 365  # customers are asked about in the first of two years after the cut-off
MONTHS_BETWEEN = 3  # rows of the ablation and of the tests
LAGS = (1, 3, 6, 12)  # months of stress before the present one
RESAMPLES = 100
QUICK = Settings(
    pairs_per_row=2, most_rounds=150, patience=10, parameters={"learning_rate": 0.1}
)  # of the ablation: some twenty fits
SETTLED = ("year", "latest", "recent")  # families about settled invoices besides the windows

Floats = NDArray[np.float64]
Index = NDArray[np.int64]


NOTES = """
Bureau definition, a simulated ledger of six years (25 invoices a customer), through check, history
and features. What is known two years before the end trains; in the year after, each active customer
not in default is asked about once a quarter. AUC [95 % by resampling customers]. *Latent state*: a
booster for one horizon that reads stress, its past and its crisis part, which no ledger shows, at
the same customers and dates; *ledger in a booster*: one that reads the features of the curve;
*latent state and ledger*: both. These learn on a row a quarter of each customer. The ablation fits
the curve again on such rows, with fewer pairs and faster, without each family of features and with
each alone. Features of a family that others say too are not missed: the losses do not add up.
"""


class World(NamedTuple):
    """A simulated ledger as rows for the default curve, and the state of each row's customer.

    Attributes
    ----------
    dataset : Dataset
        Customers on the first of each month.
    latent : ndarray of float64, shape (n_rows, n_states)
        What drives the simulation, known at the row's date.
    cutoff, end : int
        What is known before the cut-off trains; outcomes are known until the end.
    """

    dataset: Dataset
    latent: Floats
    cutoff: int
    end: int

    @property
    def test(self) -> Index:
        """Rows to measure on: a year of customers, each asked about once a quarter."""
        year = self.dataset.between(self.cutoff, self.end - max(HORIZONS) + 1)
        return year[is_in_quarter(self.dataset.as_of[year])]

    @property
    def learned(self) -> Index:
        """Rows to learn from, one a quarter of each customer."""
        rows = self.dataset.known_before(self.cutoff)
        return rows[is_in_quarter(self.dataset.as_of[rows])]


def prepare(simulated: Simulated, ends_on: int) -> World:
    """Take the simulated tables through the ledger to features and outcomes.

    Raises
    ------
    ValueError
        If the ledger's rules refuse a row that is not a planted duplicate.
    """
    ledger, rejects = check(simulated.tables, "EUR")
    if set(rejects["reason"]) - {"duplicate"}:
        raise ValueError(f"{len(rejects)} rows refused, first: {rejects.iloc[0].to_dict()}")
    history = build_history(facts_of(ledger))
    dataset = default_dataset(history, DEFAULT_DEFINITIONS["bureau"], ends_on + 1)
    number = {c: i for i, c in enumerate(simulated.tables["customers"]["customer_id"])}
    customer = np.array([number[c] for c in history.customers], np.int64)[dataset.customer]
    first = simulated.truth["month"].min().to_datetime64()
    month = _month(dataset.as_of) - int(first.astype("datetime64[M]").astype(np.int64))
    life = simulated.life
    latent = states(life.stress, life.crisis, life.hazard, month, customer)
    return World(dataset, latent, ends_on + 1 - TEST_DAYS, ends_on + 1)


def states(stress: Floats, crisis: Floats, hazard: Floats, month: Index, customer: Index) -> Floats:
    """Describe customers on the first day of months by what drives them, nothing later.

    Parameters
    ----------
    stress, crisis, hazard : ndarray of float64, shape (n_months, n_customers)
        Each drawn for the month when it begins.
    month, customer : ndarray of int64, shape (n_rows,)

    Returns
    -------
    ndarray of float64, shape (n_rows, n_states)
        Of the month: stress, crisis, hazard; then stress of earlier months, of `LAGS`, and crisis
        of the month before, NaN before the first; last, the mean stress so far.
    """
    mean = np.cumsum(stress, axis=0) / np.arange(1, len(stress) + 1)[:, None]
    return np.column_stack(
        [
            *(of[month, customer] for of in (stress, crisis, hazard)),
            *(_earlier(stress, lag, month, customer) for lag in LAGS),
            _earlier(crisis, 1, month, customer),
            mean[month, customer],
        ]
    )


def _earlier(of: Floats, lag: int, month: Index, customer: Index) -> Floats:
    return np.where(month >= lag, of[month - lag, customer], np.nan)


def _month(days: NDArray[np.int32]) -> Index:
    return days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)


def is_in_quarter(as_of: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Tell which days lie in the first month of a quarter."""
    return np.equal(_month(as_of) % MONTHS_BETWEEN, 0)


def groups() -> dict[str, tuple[str, ...]]:
    """Families of features; those about settled invoices, in any window, are one."""
    together: dict[str, tuple[str, ...]] = {}
    for family, fields in FAMILIES.items():
        name = "settled" if family in SETTLED or family.startswith("settled_") else family
        together[name] = together.get(name, ()) + tuple(f"{family}_{field}" for field in fields)
    return together


def reading(dataset: Dataset, names: set[str]) -> Dataset:
    """Leave a dataset only the features of these names."""
    kept = [i for i, name in enumerate(dataset.features) if name in names]
    features = tuple(dataset.features[i] for i in kept)
    return replace(dataset, features=features, X=np.ascontiguousarray(dataset.X[:, kept]))


def choosing(dataset: Dataset, chosen: Index) -> Dataset:
    """Leave a dataset only some rows; row ``i`` is the ``chosen[i]``-th of before."""
    return replace(
        dataset,
        X=dataset.X[chosen],
        customer=dataset.customer[chosen],
        as_of=dataset.as_of[chosen],
        known_on=dataset.known_on[chosen],
        outcomes=lambda rows, terms, cutoff: dataset.outcomes(chosen[rows], terms, cutoff),
    )


def asked(dataset: Dataset, rows: Index, horizon: int, cutoff: int) -> Pairs:
    """Ask rows about one horizon, as known at `cutoff`."""
    return dataset.ask(rows, np.full(rows.size, horizon, np.int32), cutoff)


def booster_score(world: World, X: Floats, horizon: int) -> Floats:
    """Score the test rows by a booster on `X` for one horizon, without promised directions.

    Folds by customer within the rows to learn from say how many trees.
    """
    pairs = asked(world.dataset, world.learned, horizon, world.cutoff)
    data = lgb.Dataset(X[pairs.row], pairs.happened, free_raw_data=False)
    parameters = {**BOOSTER_PARAMETERS, "num_threads": 2, "seed": 7}
    folds = GroupKFold(4).split(pairs.row, groups=world.dataset.customer[pairs.row])
    measured = lgb.cv(
        {**parameters, "metric": "auc"},
        data,
        num_boost_round=400,
        folds=folds,
        callbacks=[lgb.early_stopping(30, verbose=False)],
    )
    rounds = len(cast("list[float]", measured["valid auc-mean"]))  # up to the best
    booster = lgb.train(parameters, data, rounds)
    return np.asarray(booster.predict(X[world.test]))


def curve_scores(dataset: Dataset, world: World, settings: Settings) -> dict[int, Floats]:
    """Fit a curve on `dataset` and score the world's test rows at each horizon."""
    curve = fit(dataset, world.cutoff, settings).curve
    columns = [world.dataset.features.index(name) for name in dataset.features]
    X = np.ascontiguousarray(world.dataset.X[world.test][:, columns])
    return {h: curve.probability(X, np.full(len(X), h, np.int32)) for h in HORIZONS}


class Measure:
    """Measures scores of the test rows, and differences between two, customers resampled."""

    def __init__(self, world: World, horizon: int) -> None:
        rows = world.test
        pairs = asked(world.dataset, rows, horizon, world.end)
        self.place = np.searchsorted(rows, pairs.row)  # test rows come sorted
        self.happened = pairs.happened
        self.customer = world.dataset.customer[pairs.row]

    def auc(self, score: Floats) -> Interval:
        """AUC of a score of every test row."""
        of = score[self.place]
        return by_customer(lambda i: auc(self.happened[i], of[i]), self.customer, RESAMPLES)

    def gain(self, score: Floats, over: Floats) -> Interval:
        """How much larger one score's AUC is than another's on the same customers."""
        a, b = score[self.place], over[self.place]
        return by_customer(
            lambda i: auc(self.happened[i], a[i]) - auc(self.happened[i], b[i]),
            self.customer,
            RESAMPLES,
        )


def rows(world: World, console: Console) -> list[Row]:
    """Measure the curve, the bounds and the ablation."""
    measure = {h: Measure(world, h) for h in HORIZONS}
    with console.status("simulated default: curve"):
        curve = curve_scores(world.dataset, world, Settings())
    found = [
        Row(
            f"{h} days: customers asked / defaults",
            f"{measure[h].happened.size:,} / {int(measure[h].happened.sum()):,}",
        )
        for h in HORIZONS
    ]
    for h in HORIZONS:
        found += _bounds(world, measure[h], curve[h], h, console)
    found += _ablation(world, measure, console)
    return found


def _bounds(
    world: World, measure: Measure, curve: Floats, horizon: int, console: Console
) -> Iterator[Row]:
    yield Row(f"{horizon} days: AUC of the default curve", str(measure.auc(curve)))
    both = np.hstack([world.latent, world.dataset.X])
    for words, X in (
        ("ledger in a booster", world.dataset.X),
        ("latent state", world.latent),
        ("latent state and ledger", both),
    ):
        with console.status(f"simulated default: {words}, {horizon} days"):
            best = booster_score(world, X, horizon)
        yield Row(f"{horizon} days: AUC of the {words}", str(measure.auc(best)))
        yield Row(f"{horizon} days: {words} − curve", signed(measure.gain(best, curve)))


def _ablation(world: World, measure: dict[int, Measure], console: Console) -> Iterator[Row]:
    quarterly = np.flatnonzero(is_in_quarter(world.dataset.as_of))
    dataset = choosing(world.dataset, quarterly)
    with console.status("simulated default: all families"):
        everything = curve_scores(dataset, world, QUICK)
    for h in HORIZONS:
        yield Row(f"{h} days: quarterly rows, all families", str(measure[h].auc(everything[h])))
    alone: list[Row] = []
    for family, names in groups().items():
        with console.status(f"simulated default: without {family}, and alone"):
            rest = reading(dataset, set(dataset.features) - set(names))
            without = curve_scores(rest, world, QUICK)
            only = curve_scores(reading(dataset, set(names)), world, QUICK)
        for h in HORIZONS:
            lost = measure[h].gain(without[h], everything[h])
            yield Row(f"{h} days: without {family} − all", signed(lost))
            alone.append(Row(f"{h} days: {family} alone", str(measure[h].auc(only[h]))))
    yield from alone


def signed(interval: Interval) -> str:
    """Write a difference of two AUCs with its sign.

    >>> signed(Interval(-0.0123, -0.02, 0.001))
    '-0.012 [-0.020 to +0.001]'
    """
    return f"{interval.value:+.3f} [{interval.low:+.3f} to {interval.high:+.3f}]"


def run(console: Console, page: Path = PAGE, invoices: int = 200_000) -> bool:
    """Measure, print and write the section; there is no target to miss."""
    how = Simulation(invoices=invoices, invoices_per_customer=25)
    with console.status(f"simulated default: {invoices:,} invoices, features"):
        ends_on = int(np.datetime64(how.ends_on, "D").astype(np.int64))
        world = prepare(simulate(how), ends_on)
    found = rows(world, console)
    return publish(console, page, TITLE, found, NOTES)


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=TITLE)
    parser.add_argument("--page", type=Path, default=PAGE, help="where the table is kept")
    parser.add_argument("--invoices", type=int, default=200_000, help="to simulate")
    asked_for = parser.parse_args(arguments)
    return 0 if run(Console(), asked_for.page, asked_for.invoices) else 1


if __name__ == "__main__":
    sys.exit(main())
