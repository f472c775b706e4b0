"""Boosting on a Dask cluster: two worker processes of this machine give as good a curve as one."""

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import distributed
import numpy as np
import pytest

from features.dictionary import dictionary
from features.workers import WorkersError
from models import bundle as bundles
from tests.training.conftest import CUTOFF, END, QUICK
from training.cluster import Boost, best_iteration, cluster, shares
from training.dataset import Dataset, Pairs
from training.evaluate import out_of_time
from training.fit import Fit, boost, draw_stages, fit

SETTINGS = replace(QUICK, most_rounds=40, parameters={"learning_rate": 0.1})


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Start a scheduler and two worker processes on 127.0.0.1, without a dashboard."""
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=None,
        worker_dashboard_address=None,
    ) as local:
        yield local.scheduler_address


@pytest.fixture
def two(address) -> Iterator[Boost]:
    with cluster(address) as boost_there:
        yield boost_there


def fit_with(elsewhere: Boost, dataset: Dataset) -> Fit:
    return fit(dataset, CUTOFF, SETTINGS, boosting=elsewhere)


def learned(dataset: Dataset) -> Pairs:
    """Draw the pairs of the first stage."""
    return draw_stages(dataset, CUTOFF, SETTINGS, np.random.default_rng(1)).learn


@pytest.mark.parametrize("question", ["late", "default"])
def test_the_curve_is_as_good_as_that_of_one_machine(two, datasets, question):
    dataset = datasets[question]
    here, there = fit(dataset, CUTOFF, SETTINGS), fit_with(two, dataset)
    rows = dataset.between(CUTOFF, END)
    measured = [out_of_time(one.curve, dataset, rows, END, 50) for one in (here, there)]
    assert len(measured[0]) >= 3
    for one, other in zip(*measured, strict=True):
        assert one.auc.low <= other.auc.value <= one.auc.high
    if question == "late":  # of the default curve 14 events at most are measured: too few
        losses = [sum(quality.log_loss for quality in one) for one in measured]
        assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert there.training_pairs == here.training_pairs


def test_it_is_monotone_and_writes_a_bundle_without_a_trace_of_the_cluster(
    two, datasets, tmp_path, rng
):
    dataset = datasets["late"]
    fitted = fit_with(two, dataset)
    sha256 = bundles.write(tmp_path, fitted.curve, {}, {})
    text = (tmp_path / sha256 / "booster.txt").read_text()
    assert "127.0.0.1" not in text
    network = re.findall(r"^\[((?:num_machines|local_listen_port|machines): .*)\]$", text, re.M)
    assert sorted(network) == ["local_listen_port: 12400", "machines: ", "num_machines: 1"]
    curve = bundles.read(tmp_path, sha256).curve
    assert curve.booster.feature_name() == [*dataset.features, "term_days"]
    directions = np.array([dictionary()[name].direction for name in dataset.features])
    X = dataset.X[rng.integers(len(dataset.X), size=20_000)]
    terms = rng.integers(curve.shortest, curve.longest + 1, size=20_000).astype(np.int32)
    moved = np.where(rng.random(X.shape) < 0.2, X + directions * rng.exponential(20, X.shape), X)
    before, after = curve.log_odds(X, terms), curve.log_odds(moved, terms)
    assert (after >= before).all()
    assert (after > before).mean() > 0.1


def test_each_pair_has_its_weight_there_too(two, datasets):
    """Asked of nothing, one tree says about the weighted rate."""
    dataset = datasets["late"]
    pairs = learned(dataset)
    heavy = pairs._replace(weight=np.where(pairs.happened, 9.0, 0.5))
    nothing = np.full((1, len(dataset.features) + 1), np.nan)
    said = [
        make(dataset, asked, SETTINGS, 1).predict(nothing)[0]
        for asked in (pairs, heavy)
        for make in (boost, two)
    ]
    assert said[1] == pytest.approx(said[0], rel=0.02)
    assert said[3] == pytest.approx(said[2], rel=0.02)
    assert said[2] > 2 * said[0]


def test_it_stops_where_one_machine_does(datasets):
    dataset = datasets["default"]
    pairs, held_out = draw_stages(dataset, CUTOFF, SETTINGS, np.random.default_rng(1))
    whole, stops = boost(dataset, pairs, SETTINGS, 80), set()
    for patience in (1, 2, 3):
        eager = replace(SETTINGS, patience=patience)
        stopped = boost(dataset, pairs, eager, 80, held_out).best_iteration
        assert best_iteration(whole, dataset, held_out, eager) == stopped
        stops.add(stopped)
    assert len(stops) > 1


def test_a_customer_is_on_one_worker_and_each_has_about_as_much(datasets):
    dataset = datasets["late"]
    pairs = learned(dataset)
    for n in (1, 2, 7):
        cut = shares(dataset, pairs, n)
        assert len(cut) == n
        assert sorted(np.concatenate(cut)) == list(range(pairs.row.size))
        customers = [set(dataset.customer[pairs.row[share]]) for share in cut]
        assert sum(map(len, customers)) == len(set.union(*customers))
        largest = np.bincount(dataset.customer[pairs.row]).max()
        assert max(map(len, cut)) <= pairs.row.size / n + largest


def test_one_customer_is_one_share_whatever_the_workers(datasets):
    dataset = datasets["late"]
    pairs = learned(dataset)
    his = dataset.customer[pairs.row] == dataset.customer[pairs.row[0]]
    (share,) = shares(dataset, Pairs(*(column[his] for column in pairs)), 3)
    assert share.size == his.sum()


def test_without_dask_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(WorkersError, match=r"pip install --editable '\.\[cluster\]'"):
        cluster("tcp://127.0.0.1:9").__enter__()


def test_a_scheduler_that_does_not_answer_is_said_so(monkeypatch):
    monkeypatch.setattr("features.workers.CONNECT_SECONDS", 0.3)
    with (
        pytest.raises(WorkersError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"),
        cluster("tcp://127.0.0.1:9"),
    ):
        pass


def test_a_worker_that_is_lost_ends_the_training_with_one_sentence(address, datasets):
    dataset = datasets["late"]
    pairs = learned(dataset)
    with distributed.Client(address, set_as_default=False) as watcher:
        pid = next(iter(watcher.run(os.getpid).values()))

        def kill() -> None:
            while "_train_part" not in str(watcher.processing()):
                time.sleep(0.05)
            time.sleep(1)
            os.kill(pid, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        with (
            pytest.raises(WorkersError, match="the cluster lost a worker while training"),
            cluster(address) as two,
        ):
            two(dataset, pairs, SETTINGS, 20_000)
        killer.join()
