"""Blocking work in threads of our own, given up at the deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from concurrent.futures import Future as ConcurrentFuture
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar

from fastapi import Request

from serving.problems import SLOW_ANSWER, Refusal

P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class Spent:
    """Where the time of a request went, for its log line.

    Attributes
    ----------
    waiting : float
        Seconds until a thread was free.
    work : float
        Seconds of work in threads; what is still at work past the deadline is not counted.
    """

    waiting: float = 0.0
    work: float = 0.0


async def in_time(request: Request, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do blocking work in a thread; past the deadline the caller is told, the thread ends alone.

    The pool is our own: a cancelled call gives its place in anyio's back while its thread goes on,
    and a stuck disk would make threads without end.
    """
    return await _in_threads(request, request.app.state.threads, partial(work, *args, **kwargs))


async def order_in_time(request: Request, work: Callable[[], T]) -> T:
    """Do the work of a single order, in threads that are kept for them; see :func:`in_time`."""
    return await _in_threads(request, request.app.state.order_threads, work)


async def _in_threads(request: Request, threads: Executor, work: Callable[[], T]) -> T:
    pending = partial(_measured, request.state.spent, time.perf_counter(), work)
    answer = asyncio.get_running_loop().run_in_executor(threads, pending)
    left = request.state.deadline - time.monotonic()
    done, _ = await asyncio.wait({answer}, timeout=max(0.0, left))
    if not done:
        answer.cancel()  # if it still waits for a thread, it never starts
        raise Refusal(SLOW_ANSWER)
    return answer.result()


class OneLook(Generic[T]):
    """Blocking work that all who ask meanwhile share, in a thread of its own.

    Parameters
    ----------
    look : callable
    name : str
        Of the thread.
    """

    def __init__(self, look: Callable[[], T], name: str) -> None:
        self._look, self._threads = look, ThreadPoolExecutor(1, name)
        self._looking: ConcurrentFuture[T] | None = None

    async def result(self, seconds: float) -> T:
        """Return what the look at work gives, or a new one.

        Raises
        ------
        TimeoutError
            When it takes longer; it goes on, for those who ask later.
        """
        if self._looking is None or self._looking.done():
            self._looking = self._threads.submit(self._look)
        waiting = asyncio.wrap_future(self._looking)
        waiting.add_done_callback(_seen)
        done, _ = await asyncio.wait({waiting}, timeout=max(0.0, seconds))
        if not done:
            raise TimeoutError
        return waiting.result()


def _seen(waiting: asyncio.Future[Any]) -> None:
    """Take a failure that nobody waits for any more, or asyncio logs it with its message."""
    if not waiting.cancelled():
        waiting.exception()


def _measured(spent: Spent, asked_at: float, work: Callable[[], T]) -> T:
    started = time.perf_counter()
    spent.waiting += started - asked_at
    try:
        return work()
    finally:
        spent.work += time.perf_counter() - started
