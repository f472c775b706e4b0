"""Searches LightGBM's parameters on the time split that every fit makes, within a budget.

A trial is the fit's own first stage: it learns on the earlier rows before the cut-off, with what
was known then, and is judged by the log-loss of the later ones. Nothing from the cut-off on is
seen, so what the curve is later measured on stays untouched. Trial 0 is the settings as given: by
its own measure, a search never ends with worse ones.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from training.dataset import Dataset
from training.fit import Settings, Stages, boost, booster_parameters, draw_stages

optuna.logging.set_verbosity(optuna.logging.WARNING)

TRIALS = 40
AT_RANDOM = 8  # trials before the sampler and the pruner draw conclusions
STRIDE = 0.4  # of rounds × learning rate, between two looks: ten rounds of 0.04
DECIMALS = 9  # of the log-loss: the last bits of a sum depend on the number of threads
WARM_UP = 3  # strides before anything is given up
SAME = 1e-9  # 10 × 0.04 is a whole stride
Progress = Callable[[str], None]


class Range(NamedTuple):
    """Values that a parameter may take; whole numbers when `low` is one.

    Attributes
    ----------
    low, high : float
        Both included.
    log : bool
        Whether ratios count and not differences.
    unset : float
        What LightGBM takes when it is told nothing.
    """

    low: float
    high: float
    log: bool
    unset: float

    def around(self, start: float) -> BaseDistribution:
        """Widen the range so that it holds `start`."""
        low, high = min(self.low, start), max(self.high, start)
        log = self.log and low > 0
        if isinstance(self.low, int):
            return IntDistribution(int(low), int(high), log=log)
        return FloatDistribution(low, high, log=log)


SPACE: Mapping[str, Range] = MappingProxyType(
    {
        "learning_rate": Range(0.02, 0.12, True, 0.1),
        "num_leaves": Range(8, 96, True, 31),
        "min_data_in_leaf": Range(20, 2_000, True, 20),  # pairs, of which a row has several
        "lambda_l2": Range(0.1, 100.0, True, 0.0),
        "min_gain_to_split": Range(0.0, 2.0, False, 0.0),
        "path_smooth": Range(0.0, 100.0, False, 0.0),
    }
)
"""What is searched. No sampling of features: a tree without the term learns nothing of it."""


class Trial(NamedTuple):
    """One try.

    Attributes
    ----------
    parameters : mapping
        Of ``SPACE``, what was tried.
    value : float
        Weighted log-loss of the held-out pairs, the lowest of all its rounds.
    state : str
        ``complete``, or ``pruned``: given up as hopeless, or because the time was over.
    rounds : int
        Trees at that lowest log-loss.
    """

    parameters: Mapping[str, float]
    value: float
    state: str
    rounds: int


@dataclass(frozen=True)
class Search:
    """What was tried and what came out best.

    Attributes
    ----------
    settings : Settings
        As given, with the best trial's parameters.
    best : int
        Place of that trial in `trials`; 0 when nothing was better than the settings given.
    trials : tuple of Trial
        In the order they were tried. Only a limit in seconds makes them differ from run to run.
    seconds : tuple of float
        What each took.
    """

    settings: Settings
    best: int
    trials: tuple[Trial, ...]
    seconds: tuple[float, ...] = field(compare=False)


def search(
    dataset: Dataset,
    cutoff: int,
    settings: Settings | None = None,
    trials: int = TRIALS,
    seconds: float = math.inf,
    progress: Progress = lambda stage: None,
    clock: Callable[[], float] = time.monotonic,
) -> Search:
    """Search for parameters with a lower log-loss, until `trials` or `seconds` are spent.

    Parameters
    ----------
    dataset : Dataset
    cutoff : int
        Exclusive date: rows at or after it, or only known since, are not used.
    settings : Settings, optional
        Where to start, and all that is not searched: seed, pairs, rounds at most.
    trials : int
        At most, >= 1; the first always runs to its end.
    seconds : float
        A trial under way is given up when they are over, unless it is the first.
    progress : callable
        Told of each trial as it begins.
    clock : callable
        Seconds from any beginning.

    Returns
    -------
    Search

    Raises
    ------
    LedgerError
        If too little time lies before the cut-off for any outcome to be known.
    """
    settings = settings or Settings()
    deadline = clock() + seconds
    stages = draw_stages(dataset, cutoff, settings, np.random.default_rng(settings.seed))
    given = booster_parameters(dataset, settings)
    start = {name: given.get(name, known.unset) for name, known in SPACE.items()}
    space = {name: known.around(start[name]) for name, known in SPACE.items()}
    study = _study(settings.seed)
    study.enqueue_trial(start)
    tried: list[Trial] = []
    took: list[float] = []
    while len(tried) < trials and (not tried or clock() < deadline):
        sofar = f", lowest log-loss {tried[_best(tried)].value:.5f}" if tried else ""
        progress(f"search: trial {len(tried) + 1} of {trials}{sofar}")
        begun = clock()
        watch = _Watch(study.ask(space), deadline, clock)
        tried.append(_try(watch, dataset, stages, settings))
        study.tell(watch.trial, *_told(tried[-1]))
        took.append(clock() - begun)
    best = _best(tried)
    found = settings if best == 0 else _with(settings, tried[best].parameters)
    return Search(found, best, tuple(tried), tuple(took))


def _study(seed: int) -> optuna.Study:
    """Begin a study that draws from the seed alone and gives up what is worse than the median."""
    return optuna.create_study(
        sampler=TPESampler(n_startup_trials=AT_RANDOM, seed=seed),
        pruner=MedianPruner(n_startup_trials=AT_RANDOM // 2, n_warmup_steps=WARM_UP),
    )


def _try(watch: _Watch, dataset: Dataset, stages: Stages, settings: Settings) -> Trial:
    parameters = watch.trial.params
    state = "complete"
    try:
        boost(
            dataset,
            stages.learn,
            _with(settings, parameters),
            settings.most_rounds,
            stages.held_out,
            callbacks=[watch],
        )
    except optuna.TrialPruned:
        state = "pruned"
    return Trial(parameters, watch.lowest, state, watch.rounds)


def _with(settings: Settings, parameters: Mapping[str, float]) -> Settings:
    return replace(settings, parameters={**settings.parameters, **parameters})


def _told(trial: Trial) -> tuple[float | None, TrialState]:
    """Say to Optuna how a trial ended; of one given up it knows what was reported."""
    if trial.state == "complete":
        return trial.value, TrialState.COMPLETE
    return None, TrialState.PRUNED


def _best(tried: list[Trial]) -> int:
    """Find the completed trial with the lowest log-loss, the first of equals."""
    complete = [n for n, trial in enumerate(tried) if trial.state == "complete"]
    return min(complete, key=lambda n: tried[n].value)


class _Watch:
    """Follows a fit round by round, and gives it up when it is hopeless or the time is over.

    Fits are compared at equal rounds × learning rate: at equal rounds, one that learns slowly and
    ends better would look worse.
    """

    def __init__(self, trial: optuna.Trial, deadline: float, clock: Callable[[], float]) -> None:
        self.trial, self.lowest, self.rounds = trial, math.inf, 0
        self._deadline, self._clock = deadline, clock
        self._rate, self._step = float(trial.params["learning_rate"]), 0

    def __call__(self, env: Any) -> None:
        """Note the log-loss after a round; LightGBM calls this."""
        done = env.iteration + 1
        log_loss = round(float(env.evaluation_result_list[0].metric_value), DECIMALS)
        if log_loss < self.lowest:
            self.lowest, self.rounds = log_loss, done
        if self.trial.number > 0 and self._clock() >= self._deadline:
            raise optuna.TrialPruned
        step = int(done * self._rate / STRIDE + SAME)
        if step > self._step:
            self._step = step
            self.trial.report(self.lowest, step)
            if self.trial.should_prune():
                raise optuna.TrialPruned
