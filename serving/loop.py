"""The event loop of the service: asyncio's, which looks for new events less often while it is busy.

At each turn asyncio asks the system for events, and gives the interpreter's lock away for it even
when it would not wait. Another thread that computes takes the lock and keeps it for 5 ms: a request
of three turns waits three times. Here the loop first does what it has to do.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable

import uvicorn.config

MOST_TURNS = 8  # without a look at what has come meanwhile


class BusySelector(selectors.DefaultSelector):
    """Looks for events when there is nothing else to do, and now and then."""

    _turns = 0

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:  # 0: the loop has things to do
        """Return the events that came; see :meth:`selectors.BaseSelector.select`."""
        if timeout is not None and timeout <= 0 and self._turns < MOST_TURNS:
            self._turns += 1
            return []
        self._turns = 0
        found: list[tuple[selectors.SelectorKey, int]] = super().select(timeout)
        return found


def new_loop() -> asyncio.SelectorEventLoop:
    """Make such a loop."""
    return asyncio.SelectorEventLoop(BusySelector())


def factory(use_subprocess: bool = False) -> Callable[[], asyncio.AbstractEventLoop]:
    """Give what makes the loop, as uvicorn asks for it."""
    return new_loop


def install() -> None:
    """Have uvicorn make such loops where it may choose: BentoML leaves it the choice."""
    uvicorn.config.LOOP_FACTORIES["auto"] = f"{__name__}:{factory.__name__}"
