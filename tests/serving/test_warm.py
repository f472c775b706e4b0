"""Ready means that an order is answered in time, the first one too."""

from __future__ import annotations

import threading

import structlog

from features.store import Store, sqlite_url
from serving.assess import Assessor
from serving.audit import Record
from serving.opened import Opened
from serving.warm import Warm, answer_nobody


class _Desk:
    def __init__(self, reason: str | None = None) -> None:
        self.reason = reason

    def get(self) -> None:
        return None

    def readiness(self) -> str | None:
        return self.reason


def wait(warm: Warm) -> None:
    warm._thread.join(10)


def test_it_is_ready_once_it_has_answered_somebody():
    release = threading.Event()
    warm = Warm(_Desk(), lambda _: release.wait(10))
    assert warm.readiness() == "It compiles its features."
    release.set()
    wait(warm)
    assert warm.readiness() is None


def test_it_warms_up_when_there_is_something_to_answer_from():
    desk, answered = _Desk("there is no ledger"), []
    warm = Warm(desk, answered.append)
    assert warm.readiness() == "there is no ledger"
    assert answered == []
    desk.reason = None
    for _ in range(3):
        warm.readiness()
    wait(warm)
    assert answered == [None]


def test_what_cannot_be_warmed_up_is_ready_all_the_same():
    def fail(_opened):
        raise ValueError("C-00001")

    with structlog.testing.capture_logs() as logs:
        warm = Warm(_Desk(), fail)
        warm.readiness()
        wait(warm)
    assert warm.readiness() is None
    assert logs == [{"event": "not_warmed_up", "error": "ValueError", "log_level": "error"}]


def test_the_first_answer_leaves_no_trace(trained, clock, tmp_path):
    record = Record(sqlite_url(tmp_path / "record.db"))
    store = Store(trained.facts_url)
    assessor = Assessor(store, record, trained, clock)
    with structlog.testing.capture_logs() as logs:
        answer_nobody(Opened(store, record, trained, clock, assessor._insurer, assessor))
    assert logs == []
    with record._engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM entries").scalar() == 0
