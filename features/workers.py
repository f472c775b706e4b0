"""Where the same function runs, once a task: in this process, in several, or on a Dask cluster.

Each way gives a :class:`Run`. Nothing else differs, so the results are the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any, Protocol, TypeVar

Task = TypeVar("Task")
Common = TypeVar("Common")
Result = TypeVar("Result")

CONNECT_SECONDS = 30


class WorkersError(RuntimeError):
    """The workers as such failed, not what they were asked to do."""


class Run(Protocol):
    """Call ``function(task, common)`` once a task; give the results as they are ready."""

    def __call__(
        self, function: Callable[[Task, Common], Result], tasks: Sequence[Task], common: Common
    ) -> Iterator[Result]:
        """Run, and cancel what has not begun when one fails."""
        ...


def here(
    function: Callable[[Task, Common], Result], tasks: Sequence[Task], common: Common
) -> Iterator[Result]:
    """Run in this process, one task after the other."""
    for task in tasks:
        yield function(task, common)


@contextmanager
def processes(n: int, prepare: Callable[[], None] | None = None) -> Iterator[Run]:
    """Run in `n` fresh processes of this machine, each of which calls `prepare` first."""
    with ProcessPoolExecutor(n, get_context("spawn"), prepare) as pool:

        def run(
            function: Callable[[Task, Common], Result], tasks: Sequence[Task], common: Common
        ) -> Iterator[Result]:
            waiting = [pool.submit(function, task, common) for task in tasks]
            try:
                for done in as_completed(waiting):
                    yield done.result()
            except BrokenProcessPool as error:
                raise WorkersError(
                    "a worker process was killed, most likely for want of memory: "
                    "take fewer processes, or fewer invoices a shard"
                ) from error
            finally:
                for future in waiting:
                    future.cancel()

        yield run


@contextmanager
def connect(address: str) -> Iterator[Any]:
    """Connect to the Dask scheduler at `address`; gives the ``distributed.Client``.

    Raises
    ------
    WorkersError
        If Dask is not installed, nobody answers, or there is no worker.
    """
    try:
        import dask.dataframe  # noqa: F401 (LightGBM asks for it)
        import distributed
    except ImportError:
        raise WorkersError(
            "a Dask cluster needs the extra `cluster`: pip install --editable '.[cluster]'"
        ) from None
    try:
        client: Any = _untyped(distributed.Client)(
            address, timeout=CONNECT_SECONDS, set_as_default=False
        )
    except (OSError, ValueError) as error:
        raise WorkersError(f"no Dask scheduler answers at {address}") from error
    with client:
        _wait_for_a_worker(client, address)
        yield client


@contextmanager
def cluster(address: str) -> Iterator[Run]:
    """Run on the workers of the Dask scheduler at `address`, which have this project installed.

    Raises
    ------
    WorkersError
        As :func:`connect`, or if workers keep dying.
    """
    with connect(address) as client:
        import distributed

        def run(
            function: Callable[[Task, Common], Result], tasks: Sequence[Task], common: Common
        ) -> Iterator[Result]:
            held = client.scatter(common, broadcast=True, hash=False)
            futures = client.map(function, tasks, [held] * len(tasks), pure=False)
            try:
                for future in _untyped(distributed.as_completed)(futures, loop=client.loop):
                    yield future.result()
            except distributed.KilledWorker as error:
                raise WorkersError(
                    "the cluster's workers keep dying, most likely for want of memory: "
                    "take fewer invoices a shard"
                ) from error
            except ModuleNotFoundError as error:
                raise WorkersError(
                    f"the cluster's workers lack {error.name}: install this project there"
                ) from error
            finally:
                client.cancel(futures)

        yield run


def _untyped(function: Any) -> Any:
    return function  # Dask's own are not annotated


def _wait_for_a_worker(client: Any, address: str) -> None:
    try:
        client.wait_for_workers(1, timeout=CONNECT_SECONDS)
    except TimeoutError as error:
        raise WorkersError(f"the Dask scheduler at {address} has no worker") from error
