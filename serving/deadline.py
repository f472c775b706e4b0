"""Blocking work in threads of our own, given up at the deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import ParamSpec, TypeVar

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
    return await in_threads(request, request.app.state.threads, partial(work, *args, **kwargs))


async def order_in_time(request: Request, work: Callable[[], T]) -> T:
    """Do the work of a single order, in threads that are kept for them; see :func:`in_time`."""
    return await in_threads(request, request.app.state.order_threads, work)


async def in_threads(request: Request, threads: Executor, work: Callable[[], T]) -> T:
    """Do blocking work in some threads, until the deadline; see :func:`in_time`."""
    pending = partial(_measured, request.state.spent, time.perf_counter(), work)
    answer = asyncio.get_running_loop().run_in_executor(threads, pending)
    left = request.state.deadline - time.monotonic()
    done, _ = await asyncio.wait({answer}, timeout=max(0.0, left))
    if not done:
        answer.cancel()  # if it still waits for a thread, it never starts
        raise Refusal(SLOW_ANSWER)
    return answer.result()


def _measured(spent: Spent, asked_at: float, work: Callable[[], T]) -> T:
    started = time.perf_counter()
    spent.waiting += started - asked_at
    try:
        return work()
    finally:
        spent.work += time.perf_counter() - started
