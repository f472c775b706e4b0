"""What the use cases act on, opened once a process and as soon as it is there."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import NoReturn, Protocol

from features.ledger import LedgerError
from features.store import Store
from models.alerts_file import PATH, AlertRules, AlertsError
from models.alerts_file import load as load_rules
from models.insurance_file import InsuranceError, LedgerSource
from models.workspace import Workspace
from serving.alerts import Alerts
from serving.assess import Assesses, Assessor, NotReady, nothing_unrecorded
from serving.audit import Record
from serving.covers import provider_of, rules_from_environment
from serving.overrides import Overrides
from serving.references import References
from serving.replay import Replayer
from serving.situation import Insurer
from serving.watch import Watch


@dataclass(frozen=True)
class Opened:
    """The facts, the record, and what reads them.

    Attributes
    ----------
    store : Store
    record : Record
    workspace : Workspace
    clock : callable
        Gives the present instant, UTC; with ``ENCOURS_TODAY`` the end of that day.
    insurer : Insurer
    assessor : Assesses
    """

    store: Store
    record: Record
    workspace: Workspace
    clock: Callable[[], datetime]
    insurer: Insurer
    assessor: Assesses

    @cached_property
    def alerts(self) -> Alerts:
        """The alerts of the record."""
        return Alerts(self.record)

    @cached_property
    def overrides(self) -> Overrides:
        """The decisions of people on the record."""
        return Overrides(self.record)

    @cached_property
    def replayer(self) -> Replayer:
        """Looks at assessments of the past again, from a store of its own."""
        return Replayer(self.workspace, Store(self.workspace.facts_url))


class Desk(Protocol):
    """What the routes ask for what is opened."""

    def get(self) -> Opened:
        """Return what is opened, or raise :class:`NotReady`; it blocks."""

    def readiness(self) -> str | None:
        """Return ``None`` when an assessment can be given, else why not."""


class WhenReady:
    """A desk that opens once there is a ledger; until then it is not ready and says why.

    Parameters
    ----------
    open : callable
        Gives what is opened, or raises :class:`NotReady`; tried again at each call.
    """

    def __init__(self, open: Callable[[], Opened]) -> None:
        self._open = open
        self._opened: Opened | None = None
        self._opening = Lock()
        self._refused: tuple[float, str] | None = None

    def get(self) -> Opened:
        """Return what is opened; see :class:`Desk`."""
        asked_at = time.monotonic()
        with self._opening:
            if self._opened is None:
                self._opened = self._try(asked_at)
            return self._opened

    def _try(self, asked_at: float) -> Opened:
        """Open, once for all who waited while it was tried: a locked record takes its time."""
        if self._refused is not None and self._refused[0] > asked_at:
            raise NotReady(self._refused[1])
        try:
            return self._open()
        except NotReady as error:
            self._refused = time.monotonic(), error.detail  # the error holds connections open
            raise

    def readiness(self) -> str | None:
        """Return ``None`` when an assessment can be given; see :class:`Desk`."""
        try:
            return self.get().assessor.readiness()
        except NotReady as error:
            return error.detail


def desk_from_environment() -> WhenReady:
    """Give the desk of ``ENCOURS_HOME``, ready as soon as a ledger is there.

    ``ENCOURS_TODAY`` (YYYY-MM-DD) answers as of that day, for a ledger of the past.
    """
    return WhenReady(_open)


@nothing_unrecorded()
def _open() -> Opened:
    workspace = Workspace.from_environment()
    today = os.environ.get("ENCOURS_TODAY")
    try:
        clock = _utc_now if today is None else _end_of(date.fromisoformat(today))
        if not workspace.has_facts():  # opening it would make it
            raise LedgerError("there is no ledger here yet: run `encours import` first")
        store = Store(workspace.facts_url)
        insurer = insurer_from_environment(store.ledger.currency)
        rules = alert_rules_from_environment()
    except (LedgerError, InsuranceError, AlertsError, OSError, ValueError) as error:
        raise NotReady(str(error)) from error
    record = Record.of(workspace)
    references = References(workspace.record_url, record.persons)
    watch = Watch(Alerts(record), references, store.ledger.currency, rules)
    assessor = Assessor(store, record, workspace, clock, insurer, watch)
    return Opened(store, record, workspace, clock, insurer, assessor)


def insurer_from_environment(currency: str) -> Insurer:
    """Give the insurer of ``ENCOURS_INSURANCE``, else the one that comes with encours.

    Raises
    ------
    InsuranceError, CoverSettingsError
        If the file cannot be used, or the API key is missing.
    """
    rules = rules_from_environment()
    if isinstance(rules.provider, LedgerSource):
        return Insurer(rules)
    return Insurer(rules, provider_of(rules, currency, _no_ledger))


def alert_rules_from_environment() -> AlertRules:
    """Give the rules of ``ENCOURS_ALERTS``, else those that come with encours.

    Raises
    ------
    AlertsError
    """
    return load_rules(Path(os.environ.get("ENCOURS_ALERTS") or PATH))


def _no_ledger(customer_id: str, at: datetime) -> NoReturn:
    """Stand for the ledger, whose covers come with the customer's facts."""
    raise AssertionError("the ledger's covers are not asked for")


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _end_of(day: date) -> Callable[[], datetime]:
    end = datetime(day.year, day.month, day.day, 23, 59, 59, 999_999, tzinfo=UTC)
    return lambda: end
