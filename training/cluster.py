"""Boosts on a Dask cluster (``lightgbm.dask``), for more pairs than one machine holds.

The rows travel once, cut by customer, and each worker makes the pairs of its own rows: only the
cluster holds the pairs, several times as large. Its workers have this project installed, in this
version. Each proposes the bins of some features from its own rows alone, and which features is left
to chance: the trees are not to the last bit those of one machine, nor those of the next run.

LightGBM's workers talk over sockets of their own, unencrypted, bound to all interfaces of their
machine on ports that the system chooses: run them where only they reach each other. No
``local_listen_port`` is given, which several workers of one machine could not share.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from features.workers import WorkersError, connect
from training.dataset import Dataset, Pairs
from training.fit import TERM, Settings, booster_parameters

Floats = NDArray[np.float64]
Index = NDArray[np.int64]

LOST = "the cluster lost a worker while training, most likely for want of memory: add workers"
TIME_OUT_MINUTES = 10  # of LightGBM's sockets
NETWORK = {"machines": "", "local_listen_port": 12400, "num_machines": 1, "time_out": 120}
"""What LightGBM writes into a model that one machine made."""


class Boost(Protocol):
    """What a fit boosts with: :func:`training.fit.boost`, or a cluster."""

    def __call__(
        self,
        dataset: Dataset,
        pairs: Pairs,
        settings: Settings,
        rounds: int,
        held_out: Pairs | None = None,
    ) -> lgb.Booster:
        """Boost for `rounds`, or until the log-loss of `held_out` falls no more."""
        ...


@contextmanager
def cluster(address: str) -> Iterator[Boost]:
    """Boost on the workers of the Dask scheduler at `address`.

    Raises
    ------
    WorkersError
        If Dask is not installed, nobody answers, there is no worker, or one is lost.
    """
    with connect(address) as client:
        import distributed

        try:
            yield partial(boost_on, client)
        except (distributed.client.FutureCancelledError, distributed.KilledWorker) as error:
            raise WorkersError(LOST) from error
        except lgb.basic.LightGBMError as error:
            if "Socket" not in str(error):
                raise
            raise WorkersError(LOST) from error
        except ModuleNotFoundError as error:
            raise WorkersError(
                f"the cluster's workers lack {error.name}: install this project there"
            ) from error


def boost_on(
    client: Any,
    dataset: Dataset,
    pairs: Pairs,
    settings: Settings,
    rounds: int,
    held_out: Pairs | None = None,
) -> lgb.Booster:
    """Boost on a cluster, as :func:`training.fit.boost` does on one machine.

    Parameters
    ----------
    client : distributed.Client
    dataset, pairs : Dataset, Pairs
    settings : Settings
        Each worker takes the threads that Dask gave it, not those of the settings.
    rounds : int
    held_out : Pairs, optional
        Measured here once all `rounds` are made: ``lightgbm.dask`` cannot stop early. The booster's
        best iteration is where early stopping would have found it.

    Returns
    -------
    lightgbm.Booster
        Its text holds nothing of the cluster.
    """
    from dask import array

    join: Any = array.concatenate  # not annotated
    workers = sorted(client.nthreads())
    parts = zip(workers, shares(dataset, pairs, len(workers)), strict=False)
    held = [_send(client, worker, _part(dataset, pairs, share)) for worker, share in parts]
    inputs, happened, weight = (join(column) for column in zip(*held, strict=True))
    parameters = booster_parameters(dataset, settings)
    del parameters["num_threads"]
    # a regressor, since each worker of a classifier numbers the classes that it sees by itself
    model = lgb.DaskLGBMRegressor(
        client=client,
        n_estimators=rounds,
        tree_learner="data",
        time_out=TIME_OUT_MINUTES,
        **parameters,
    )
    with client.as_current(), warnings.catch_warnings():  # LightGBM waits for the current client
        warnings.filterwarnings("ignore", "Parameter n_jobs will be ignored")  # nor did we set it
        names = [*dataset.features, TERM]
        model.fit(inputs, happened, sample_weight=weight, feature_name=names)
    booster = lgb.Booster(model_str=_without_network(model.booster_.model_to_string()))
    if held_out is not None:
        booster.best_iteration = best_iteration(booster, dataset, held_out, settings)
    return booster


@dataclass(frozen=True)
class Part:
    """What one worker is sent: its rows, and the pairs to make of them.

    Attributes
    ----------
    X : ndarray of float64, shape (n_rows, n_features)
    row : ndarray of int64, shape (n_pairs,)
        Index into `X`.
    term_days : ndarray of int32
    happened : ndarray of bool
    weight : ndarray of float64
    """

    X: Floats
    row: Index
    term_days: NDArray[np.int32]
    happened: NDArray[np.bool_]
    weight: Floats


def shares(dataset: Dataset, pairs: Pairs, n: int) -> list[Index]:
    """Cut the pairs into at most `n` shares of whole customers, about equal in size.

    Returns
    -------
    list of ndarray of int64
        Places in `pairs`; fewer shares where one customer has more than its part of them.
    """
    customer = dataset.customer[pairs.row]
    order = np.argsort(customer, kind="stable")
    even = np.arange(1, n) * order.size // n
    edges = np.searchsorted(customer[order], customer[order][even])
    return [share for share in np.split(order, edges) if share.size]


def _part(dataset: Dataset, pairs: Pairs, share: Index) -> Part:
    rows, row = np.unique(pairs.row[share], return_inverse=True)
    _, term_days, happened, weight = pairs
    return Part(dataset.X[rows], row, term_days[share], happened[share], weight[share])


def _send(client: Any, worker: str, part: Part) -> list[Any]:
    """Send a worker its part; name as Dask arrays the inputs, outcomes and weights it makes."""
    from dask import array

    name_array: Any = array.from_delayed  # not annotated
    n, n_inputs = part.row.size, part.X.shape[1] + 1
    sent = client.scatter(part, workers=[worker], hash=False)
    return [
        name_array(client.submit(make, sent, workers=[worker], pure=False), shape, float)
        for make, shape in ((_inputs, (n, n_inputs)), (_happened, (n,)), (_weight, (n,)))
    ]


def _inputs(part: Part) -> Floats:
    return np.column_stack([part.X[part.row], part.term_days])


def _happened(part: Part) -> Floats:
    return part.happened.astype(np.float64)


def _weight(part: Part) -> Floats:
    return part.weight


def _without_network(text: str) -> str:
    """Write into a booster's text what one machine writes: an address is none of its business."""
    for name, value in NETWORK.items():
        text = re.sub(rf"^\[{name}: .*\]$", f"[{name}: {value}]", text, flags=re.MULTILINE)
    return text


def best_iteration(
    booster: lgb.Booster, dataset: Dataset, held_out: Pairs, settings: Settings
) -> int:
    """Find the trees after which `patience` more did not lower the log-loss of `held_out`."""
    inputs = np.column_stack([dataset.X[held_out.row], held_out.term_days])
    margins = np.zeros(held_out.row.size)
    lowest, best = np.inf, 0
    for tree in range(booster.num_trees()):
        margins += booster.predict(
            inputs,
            raw_score=True,
            start_iteration=tree,
            num_iteration=1,
            num_threads=settings.threads,
        )
        losses = np.logaddexp(0, margins) - held_out.happened * margins
        log_loss = np.average(losses, weights=held_out.weight)
        if log_loss < lowest:
            lowest, best = log_loss, tree + 1
        elif tree + 1 - best >= settings.patience:
            break
    return best
