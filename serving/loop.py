"""What uvicorn runs the service on: an event loop, and a parser of requests that has a bound.

The loop is asyncio's, but looks for new events less often while it is busy. At each turn asyncio
asks the system for events, and gives the interpreter's lock away for it even when it would not
wait. Another thread that computes takes the lock and keeps it for 5 ms: a request of three turns
waits three times. Here the loop first does what it has to do.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable

import uvicorn.config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_TURNS = 8  # without a look at what has come meanwhile
MOST_HEAD_BYTES = 64 * 1024  # of a request, before its body


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


class BoundedProtocol(HttpToolsProtocol):
    """Refuses a request whose head does not end; the parser would keep all of it in memory."""

    _head_bytes: int | None = None  # of the head that is being read

    def on_message_begin(self) -> None:
        """Begin to count."""
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """End to count."""
        self._head_bytes = None
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Read what came."""
        super().data_received(data)
        if self._head_bytes is None or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > MOST_HEAD_BYTES:
            self.send_400_response("The request's head is too long.")


def install() -> None:
    """Have uvicorn take both where it may choose: BentoML leaves it the choice."""
    uvicorn.config.LOOP_FACTORIES["auto"] = f"{__name__}:{factory.__name__}"
    uvicorn.config.HTTP_PROTOCOLS["auto"] = f"{__name__}:{BoundedProtocol.__name__}"
