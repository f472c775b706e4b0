"""The search: never worse than where it began, blind to what comes after, and within its budget."""

import itertools
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import log_loss

from features import history
from tests.features.ledgers import known_before
from tests.training.conftest import CUTOFF, dataset_of
from training import tune
from training.dataset import Dataset
from training.fit import BOOSTER_PARAMETERS, Settings, boost, draw_stages, monotone_directions
from training.tune import SPACE, Search, search

BRIEF = Settings(most_rounds=25, patience=5, pairs_per_row=1, threads=1)
TRIALS = 10
both = pytest.mark.parametrize("question", ["late", "default"])


@pytest.fixture(scope="module")
def searches(datasets) -> dict[str, Search]:
    return {name: search(one, CUTOFF, BRIEF, TRIALS) for name, one in datasets.items()}


def held_out_loss(dataset: Dataset, settings: Settings) -> float:
    """Log-loss of the later pairs, as computed by scikit-learn from a fit without the search."""
    stages = draw_stages(dataset, CUTOFF, settings, np.random.default_rng(settings.seed))
    booster = boost(dataset, stages.learn, settings, settings.most_rounds, stages.held_out)
    row, term, happened, weight = stages.held_out
    said = booster.predict(np.column_stack([dataset.X[row], term]))
    return float(log_loss(happened, said, sample_weight=weight))


# ------------------------------------------------------------------------------------ what it finds


@both
def test_the_first_trial_is_the_settings_as_given(datasets, searches, question):
    first = searches[question].trials[0]
    assert first.state == "complete"
    assert {name: BOOSTER_PARAMETERS.get(name, 0.0) for name in SPACE} == first.parameters
    assert first.value == pytest.approx(held_out_loss(datasets[question], BRIEF), rel=1e-6)


@both
def test_what_it_finds_is_better_by_its_own_measure_and_a_fit_has_the_same(
    datasets, searches, question
):
    found = searches[question]
    values = [trial.value for trial in found.trials if trial.state == "complete"]
    best = found.trials[found.best]
    assert best.value == min(values) < found.trials[0].value
    assert found.settings == replace(BRIEF, parameters=best.parameters)
    assert held_out_loss(datasets[question], found.settings) == pytest.approx(best.value, rel=1e-6)


@both
def test_every_trial_lies_in_the_stated_space_and_differs_from_the_others(searches, question):
    trials = searches[question].trials
    for trial in trials:
        assert set(trial.parameters) == set(SPACE)
        assert all(SPACE[n].low <= value <= SPACE[n].high for n, value in trial.parameters.items())
        assert 1 <= trial.rounds <= BRIEF.most_rounds
    assert len({tuple(trial.parameters.values()) for trial in trials}) == len(trials) == TRIALS


def test_nothing_searched_leaves_features_out(searches):
    sampling = {"feature_fraction", "feature_fraction_bynode", "extra_trees", "linear_tree"}
    assert not sampling & set(SPACE)


def test_when_nothing_is_better_the_settings_stay_as_given(datasets):
    found = search(datasets["default"], CUTOFF, BRIEF, trials=1)
    assert (found.best, len(found.trials)) == (0, 1)
    assert found.settings is BRIEF


def test_it_begins_from_settings_outside_its_space_and_keeps_what_it_does_not_search(datasets):
    odd = {"num_leaves": 4, "lambda_l2": 0.0, "learning_rate": 0.3, "max_bin": 63}
    found = search(datasets["default"], CUTOFF, replace(BRIEF, parameters=odd), trials=3)
    first = found.trials[0].parameters
    assert {name: first[name] for name in odd if name in SPACE} == {
        name: value for name, value in odd.items() if name in SPACE
    }
    assert found.settings.parameters["max_bin"] == 63
    assert found.trials[0].value == pytest.approx(
        held_out_loss(datasets["default"], replace(BRIEF, parameters=odd)), rel=1e-6
    )


@pytest.mark.parametrize("corner", ["low", "high"])
def test_whatever_it_tries_keeps_the_directions(datasets, rng, corner):
    """Smoothing and gains that must be reached do not loosen the constraints."""
    dataset = datasets["late"]
    tried = {name: getattr(known, corner) for name, known in SPACE.items()} | {"num_leaves": 96}
    booster = boost(
        dataset,
        draw_stages(dataset, CUTOFF, BRIEF, rng).learn,
        replace(BRIEF, parameters=tried),
        60,
    )
    directions = np.array(monotone_directions(dataset.question, dataset.features))
    X = dataset.X[rng.integers(len(dataset.X), size=20_000)]
    inputs = np.column_stack([X, rng.integers(-30, 121, size=len(X))])
    steps = directions * rng.exponential(20, inputs.shape)
    riskier = np.where(rng.random(inputs.shape) < 0.2, inputs + steps, inputs)
    margins = [booster.predict(one, raw_score=True) for one in (inputs, riskier)]
    assert (margins[1] < margins[0]).sum() == 0
    assert (margins[1] > margins[0]).mean() > 0.05


# ------------------------------------------------------------------------------------- what it sees


@both
def test_facts_known_from_the_cutoff_on_do_not_change_the_search(facts, searches, question):
    then = dataset_of(question, history.build(known_before(facts, CUTOFF)))
    assert search(then, CUTOFF, BRIEF, TRIALS) == searches[question]


def test_an_earlier_cutoff_changes_it(datasets, searches):
    other = search(datasets["default"], CUTOFF - 60, BRIEF, trials=1)
    assert other.trials[0] != searches["default"].trials[0]


# --------------------------------------------------------------------------------------- repeatable


def test_the_same_seed_gives_the_same_search_at_one_and_two_threads(datasets, searches):
    again = search(datasets["default"], CUTOFF, replace(BRIEF, threads=2), TRIALS)
    assert again.trials == searches["default"].trials
    assert len(again.seconds) == TRIALS


def test_another_seed_tries_something_else(datasets, searches):
    other = search(datasets["default"], CUTOFF, replace(BRIEF, seed=8), trials=2)
    assert other.trials[1].parameters != searches["default"].trials[1].parameters


def test_it_says_nothing_but_its_progress(datasets, capfd):
    told = []
    found = search(datasets["default"], CUTOFF, BRIEF, trials=2, progress=told.append)
    assert told == [
        "search: trial 1 of 2",
        f"search: trial 2 of 2, lowest log-loss {found.trials[0].value:.5f}",
    ]
    assert capfd.readouterr() == ("", "")


# ------------------------------------------------------------------------------------------- budget


@both
def test_what_is_worse_than_most_is_given_up_early(searches, question):
    trials = searches[question].trials
    given_up = [trial for trial in trials if trial.state == "pruned"]
    assert {trial.state for trial in trials} == {"complete", "pruned"}
    lowest = trials[searches[question].best].value
    assert all(trial.value > lowest for trial in given_up)
    assert min(trial.rounds for trial in given_up) < BRIEF.most_rounds


def test_a_fit_that_learns_slowly_is_not_given_up_for_being_slow(datasets, monkeypatch):
    """Slow fits are behind at equal trees; here they lead at equal trees x rate, and in the end."""

    def learn(dataset, pairs, settings, rounds, held_out, callbacks):
        rate = settings.parameters["learning_rate"]
        for done in range(rounds):
            log_loss = math.exp(-(done + 1) * rate) / 10 + rate
            said = SimpleNamespace(metric_value=log_loss)
            callbacks[0](SimpleNamespace(iteration=done, evaluation_result_list=[said]))

    monkeypatch.setattr(tune, "boost", learn)
    found = search(datasets["default"], CUTOFF, replace(BRIEF, most_rounds=300), trials=30)
    rates = [trial.parameters["learning_rate"] for trial in found.trials]
    given_up = [n for n, trial in enumerate(found.trials) if trial.state == "pruned"]
    assert len(given_up) > 5
    for n in given_up:
        assert rates[n] > np.median([rates[m] for m in range(n) if m not in given_up])
    assert rates[found.best] < 0.025


def test_without_time_the_first_trial_is_still_made_in_full(datasets, searches):
    found = search(datasets["default"], CUTOFF, BRIEF, TRIALS, seconds=0.0)
    assert found.trials == searches["default"].trials[:1]


def test_a_trial_under_way_when_the_time_is_over_is_given_up(datasets, searches):
    """The clock shows a second more at each look: a few around a trial, one a round."""
    whole = searches["default"].trials
    ticks = itertools.count()
    found = search(
        datasets["default"], CUTOFF, BRIEF, TRIALS, seconds=15.0, clock=lambda: next(ticks)
    )
    first, second = found.trials
    assert first == whole[0]
    assert (second.state, second.parameters) == ("pruned", whole[1].parameters)
    assert 1 <= second.rounds < whole[1].rounds
    assert (found.best, found.settings) == (0, BRIEF)
    assert len(found.seconds) == 2
