"""The first answer, made and thrown away: what is compiled and loaded with it is there for others.

Until then ``/readyz`` says that it is not ready. On a busy machine the first order after a new
version would otherwise run into its deadline.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock, Thread
from typing import Any

import structlog

from models.policy import Order
from serving.assess import AssessmentError, Assessor
from serving.audit import Entry, New, leaf_hash
from serving.opened import Desk, Opened
from serving.persons import Persons

ORDER = Order(amount_cents=1_000_00, margin_cents=100_00, terms_days=30)
log = structlog.get_logger()


class _Nowhere:
    """A record that keeps nothing."""

    persons = Persons()

    def append_many(self, new: Sequence[New], *_: object) -> list[Entry]:
        return [Entry(0, one.id, one.kind, one.body, leaf_hash(one.body)) for one in new]

    def after(self, _sequence: int, _kind: str) -> list[Entry]:
        return []


class Warm:
    """Warms up in a thread of its own, once there is something to answer from.

    Parameters
    ----------
    desk : Desk
    answer : callable, optional
        Gives an answer that leaves no trace.
    """

    def __init__(self, desk: Desk, answer: Callable[[Opened], None] | None = None) -> None:
        self._desk, self._answer = desk, answer or answer_nobody
        self._starting = Lock()
        self._thread: Thread | None = None

    def readiness(self) -> str | None:
        """Return ``None`` when an assessment can be given in time, else why not."""
        reason = self._desk.readiness()
        if reason is not None:
            return reason
        with self._starting:
            if self._thread is None:
                self._thread = Thread(target=self._run, name="warm", daemon=True)
                self._thread.start()
        return "It compiles its features." if self._thread.is_alive() else None

    def _run(self) -> None:
        try:
            self._answer(self._desk.get())
        except Exception as error:  # noqa: BLE001 (it is tried for real with the first order)
            log.error("not_warmed_up", error=type(error).__name__)


def answer_nobody(opened: Opened) -> None:
    """Answer an order of one customer, and record nothing."""
    nowhere: Any = _Nowhere()
    assessor = Assessor(opened.store, nowhere, opened.workspace, opened.clock)  # asks no insurer
    customers = opened.store.read(columns={"customers": ("customer_id",)})["customers"]
    try:
        assessor.assess(str(customers["customer_id"][0]), ORDER)
    except AssessmentError as error:
        log.info("not_warmed_up", error=type(error).__name__)
