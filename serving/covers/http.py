"""Covers asked of the insurer over HTTP, remembered, and never waited for beyond a budget.

Each question runs in a thread of its own, so that nothing on the way, not even a name server, holds
an answer longer than the budget; a reply that comes too late still serves the next order. Orders of
one customer share one question. After several failures, or when the insurer says so, he is left
alone for a while and what is remembered speaks.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from datetime import datetime
from threading import BoundedSemaphore, Lock, Thread
from typing import NamedTuple

import structlog

from models.insurance import Cover, InsuranceRules
from models.insurance_file import HttpSource
from serving.covers.insurer import MOST_CONNECTIONS, Insurer, InsurerError, Timing
from serving.covers.said import Found, found_among

log = structlog.get_logger()


class _Remembered(NamedTuple):
    """The insurer's decisions on one customer; `at` on the clock that only goes forward."""

    covers: tuple[Cover, ...]
    at: float
    checked_at: datetime


_Flight = Future[_Remembered]


class HttpCovers:
    """Gives the covers that the insurer states over HTTP; see docs/cover_provider.md.

    Parameters
    ----------
    source : HttpSource
    rules : InsuranceRules
        Whose insured share holds where a cover states none.
    currency : str
        ISO 4217, of the ledger.
    api_key : str
    timing : Timing, optional
    """

    def __init__(
        self,
        source: HttpSource,
        rules: InsuranceRules,
        currency: str,
        api_key: str,
        timing: Timing | None = None,
    ) -> None:
        self._source, self._rate = source, rules.insured_rate
        self._now = (timing or Timing()).now
        self._insurer = Insurer(source, api_key, currency, timing)
        self._lock = Lock()  # guards the four below
        self._memory: OrderedDict[str, _Remembered] = OrderedDict()
        self._flights: dict[str, _Flight] = {}
        self._failures = 0
        self._paused_until = -1.0
        self._seats = BoundedSemaphore(MOST_CONNECTIONS)

    def close(self) -> None:
        """Close the connections to the insurer."""
        self._insurer.close()

    def cover(self, customer_id: str, at: datetime) -> Found | None:
        """Return the cover; see :meth:`CoverProvider.cover`."""
        known = self._recall(customer_id, self._source.fresh_seconds)
        if known is not None:
            return found_among(known.covers, at, known.checked_at)
        try:
            told = self._ask(customer_id, at)
        except InsurerError as error:
            last = self._recall(customer_id, self._source.stale_seconds)
            if last is None:
                return Found(None, None, error.outage)
            return found_among(last.covers, at, last.checked_at, error.outage)
        return found_among(told.covers, at, told.checked_at)

    def _recall(self, customer_id: str, most_seconds: float) -> _Remembered | None:
        with self._lock:
            known = self._memory.get(customer_id)
        return known if known and self._now() - known.at < most_seconds else None

    def _ask(self, customer_id: str, at: datetime) -> _Remembered:
        """Wait for the question about this customer, new or under way, within the budget."""
        until = time.monotonic() + self._source.budget_ms / 1000
        flight = self._board(customer_id, at)
        try:
            return flight.result(timeout=max(0.0, until - time.monotonic()))
        except TooLate:
            raise InsurerError("timeout", "budget used") from None

    def _board(self, customer_id: str, at: datetime) -> _Flight:
        with self._lock:
            if customer_id in self._flights:
                return self._flights[customer_id]
            if self._now() < self._paused_until:
                raise InsurerError("paused", "left alone")
            if not self._seats.acquire(blocking=False):
                raise InsurerError("busy", "all connections wait")
            flight: _Flight = Future()
            self._flights[customer_id] = flight
        try:
            Thread(target=self._fly, args=(flight, customer_id, at), daemon=True).start()
        except RuntimeError:  # the machine has no thread left
            self._seats.release()
            with self._lock:
                self._flights.pop(customer_id, None)
            raise InsurerError("busy", "no thread") from None
        return flight

    def _fly(self, flight: _Flight, customer_id: str, at: datetime) -> None:
        try:
            rows = self._insurer.ask(customer_id)
            covers = tuple(row.cover("http", self._rate) for row in rows)
        except InsurerError as error:
            self._land(customer_id, None, error)
            flight.set_exception(error)
        except Exception as error:  # noqa: BLE001 a reply we did not think of is an outage too
            fault = InsurerError("bad_reply", type(error).__name__)
            self._land(customer_id, None, fault)
            flight.set_exception(fault)
        else:
            known = _Remembered(covers, self._now(), at)
            self._land(customer_id, known, None)
            flight.set_result(known)
        finally:
            self._seats.release()

    def _land(
        self, customer_id: str, known: _Remembered | None, error: InsurerError | None
    ) -> None:
        """Remember an answer, or count a failure; then the next order asks anew."""
        with self._lock:
            self._flights.pop(customer_id, None)
            if known is not None:
                self._failures = 0
                self._memory[customer_id] = known
                self._memory.move_to_end(customer_id)
                if len(self._memory) > self._source.cached_customers:
                    self._memory.popitem(last=False)
            if error is not None:
                self._count(error)
        if error is not None:
            log.warning("cover_outage", outage=error.outage, detail=error.detail)

    def _count(self, error: InsurerError) -> None:
        if error.outage == "identifier":  # ours, not his
            return
        self._failures += 1
        tired = self._failures >= self._source.failures_before_pause
        pause = max(error.wait_seconds, self._source.pause_seconds if tired else 0.0)
        if pause:
            self._paused_until = self._now() + pause
