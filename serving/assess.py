"""The use case: a customer and an order in, an explained and recorded recommendation out.

Facts as known now → features → both curves → reasons → options → record → answer. Nothing here
knows of the web; the clock, the store and the record are given.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Lock
from typing import NamedTuple, Protocol

import numpy as np
import structlog
from sqlalchemy.exc import SQLAlchemyError
from uuid_utils import uuid7

from features.build import Spine, build
from features.history import History
from features.history import build as build_history
from features.store import Store
from features.versions import current
from models.bundle import BundleError
from models.insurance_file import load as rules_of_insurer
from models.policy import Order, Policy, PolicyError, decide
from models.workspace import Workspace
from serving import shadow
from serving.answer import compose, cover_evidence, to_bytes, with_its_place
from serving.audit import Entry, Kept, New, Once, Record
from serving.overrides import Overrides
from serving.situation import Group, Insurer, describe, is_in_default
from serving.speaking import Speaking, consult

SCHEMA_VERSION = 1
HABIT = 20  # invoices that tell a customer's usual order
UNKNOWN = "The ledger does not know this customer: import it first."
RETRY_SECONDS = 10.0  # champions that were refused may have been mended since
log = structlog.get_logger()


class AssessmentError(Exception):
    """An assessment cannot be given; `detail` says why and what to do, without customer data."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class UnknownCustomer(AssessmentError):
    """The ledger does not know the customer."""


class OrderNeeded(AssessmentError):
    """No order is given and the customer has none to assume."""


class OtherCurrency(AssessmentError):
    """The order is in another currency than the ledger, and no rate is given."""


class NotReady(AssessmentError):
    """There is no ledger or champion to speak with, or no record to write to."""


class Asking(NamedTuple):
    """Who asks, until when, and whether once.

    Attributes
    ----------
    actor : dict of str to str
        ``client``, ``role`` and ``key``, for the record.
    once : Once or None
        The request, when its answer is to be given again and not made anew.
    deadline : float
        On the clock of :func:`time.monotonic`; after it nothing is recorded.
    """

    actor: dict[str, str]
    once: Once | None = None
    deadline: float = math.inf


COMMAND_LINE = Asking({"client": "command line"})


class Assesses(Protocol):
    """The use case, as others need it; its methods block."""

    def assess(
        self,
        customer_id: str,
        order: Order | None,
        currency: str | None = None,
        asking: Asking = COMMAND_LINE,
    ) -> bytes:
        """Return the answer's JSON, already durable."""

    def at_one_instant(self, asking: Asking) -> Callable[[str, Order | None, str | None], New]:
        """Take the present instant and the champions of now for several assessments."""

    def find(self, assessment_id: str) -> bytes | None:
        """Return the same bytes again, ``None`` when there is no such assessment."""

    def readiness(self) -> str | None:
        """Return ``None`` when ready, else why not."""


@contextmanager
def nothing_unrecorded() -> Iterator[None]:
    """Refuse when a database fails; its message may hold customer data and goes nowhere."""
    try:
        yield
    except SQLAlchemyError as error:
        log.error("database_failed", error=type(error).__name__)
        raise NotReady(
            f"The ledger or the record of assessments cannot be used now ({type(error).__name__}), "
            "and nothing is answered that is not recorded."
        ) from error


class Assessor:
    """Assesses customers and orders of one ledger.

    Parameters
    ----------
    store : Store
    record : Record
    workspace : Workspace
        Where champions, bundles and policies stand.
    clock : callable
        Gives the present instant, UTC.
    insurer : Insurer, optional
        By default the one whose policy comes with encours, its covers those of the ledger.
    """

    def __init__(
        self,
        store: Store,
        record: Record,
        workspace: Workspace,
        clock: Callable[[], datetime],
        insurer: Insurer | None = None,
    ) -> None:
        self._store, self._record, self._workspace = store, record, workspace
        self._clock, self._insurer = clock, insurer or Insurer(rules_of_insurer())
        self._overrides = Overrides(record)
        self._ledger = store.ledger
        self._speaking: Speaking | None = None
        self._stamp: tuple[int, int] | None = None
        self._retry_at = math.inf
        self._loading = Lock()

    def readiness(self) -> str | None:
        """Return ``None`` when an assessment can be given, else why not."""
        try:
            self._current()
        except NotReady as error:
            return error.detail
        return None

    def _current(self) -> Speaking:
        """Load the champions when their pointer changed; keep the last good ones if they fail."""
        with self._loading:
            return self._newest()

    def _newest(self) -> Speaking:
        stamp, speaking = _stamp(self._workspace.champions), self._speaking
        if speaking is not None and stamp == self._stamp and time.monotonic() < self._retry_at:
            return speaking
        self._stamp, self._retry_at = stamp, time.monotonic() + RETRY_SECONDS
        try:
            self._speaking = Speaking.load(self._workspace, self._ledger.id)
        except (BundleError, PolicyError) as error:
            if speaking is None:
                raise NotReady(
                    f"No model can be used: {error}. Run `encours train`, then `encours promote`."
                ) from error
            log.error("champions_refused", reason=str(error))
            return speaking
        self._retry_at = math.inf
        for question, reason in self._speaking.refused.items():
            log.error("shadow_refused", curve=question, reason=reason)
        return self._speaking

    @nothing_unrecorded()
    def assess(
        self,
        customer_id: str,
        order: Order | None,
        currency: str | None = None,
        asking: Asking = COMMAND_LINE,
    ) -> bytes:
        """Assess a customer's order, record the assessment, then return it.

        Parameters
        ----------
        customer_id : str
        order : Order or None
            ``None`` assumes the customer's usual amount, terms and the policy's margin.
        currency : str or None
            What the order's cents are cents of; ``None`` is the ledger's currency.
        asking : Asking
            A request that was answered before is answered the same, from the record.

        Returns
        -------
        bytes
            UTF-8 JSON, the same that :meth:`find` returns for its ``id``.

        Raises
        ------
        UnknownCustomer, OrderNeeded, OtherCurrency, NotReady, TooLate, AnotherRequest
        """
        earlier = None if asking.once is None else self._record.answered(asking.once)
        if earlier is not None:
            return _as_answered(earlier)
        new = self.at_one_instant(asking)(customer_id, order, currency)
        return with_its_place(self._record.append(*new, asking.once, asking.deadline))

    def at_one_instant(self, asking: Asking) -> Callable[[str, Order | None, str | None], New]:
        """Take the present instant and the champions of now for several assessments.

        Returns
        -------
        callable
            Takes what :meth:`assess` takes, raises what it raises, and gives the entry that is
            still to be recorded.
        """
        return partial(self._assessed, asking, self._current(), self._clock())

    def _assessed(
        self,
        asking: Asking,
        speaking: Speaking,
        now: datetime,
        customer_id: str,
        order: Order | None,
        currency: str | None,
    ) -> New:
        """Assess a customer's order; the entry is still to be recorded."""
        if currency not in (None, self._ledger.currency):
            raise OtherCurrency(f"The ledger is in {self._ledger.currency}.")
        as_of = _day(now) + 1  # exclusive: what was recorded today counts
        sequence, ledger, facts = self._store.snapshot(customer_id, _microseconds(now))
        if facts["customers"]["customer_id"].size == 0:
            raise UnknownCustomer(UNKNOWN)
        peers = self._store.peers(sequence)
        history = build_history(facts, ledger.observed_from, peers)
        standing = current(facts)  # as thought of now; the features know what was thought before
        one_view = history.views.are_single
        books = history if one_view else build_history(standing, ledger.observed_from)
        asked = order or _usual_order(books, as_of, speaking.policy)
        spine = _planned(history, customer_id, asked, as_of)
        row = build(history, spine)[0]
        in_default = is_in_default(books, speaking.policy, as_of)
        views = consult(speaking, row, asked, self._ledger.currency, in_default=in_default)
        seen = describe(
            books,
            standing,
            asked,
            as_of,
            now,
            self._insurer,
            Group(self._store, _microseconds(now)),
        )
        decision = decide(asked, seen.situation, views.risk, speaking.policy)
        decision, override = self._overrides.apply(
            decision, customer_id, asked, seen.situation, as_of, speaking.policy
        )
        answer = compose(
            str(uuid7()),
            as_of,
            now,
            self._ledger.currency,
            standing,
            asked,
            seen,
            views,
            decision,
            speaking.champions,
            self._insurer.rules,
            assumed=order is None,
        )
        answer["override"] = override
        evidence = {
            "actor": asking.actor,
            "request": None if asking.once is None else asking.once.fingerprint,
            "ledger_id": self._ledger.id,
            "owed_cents": seen.situation.owed_cents,
            "facts": sorted(seen.situation.facts),
            "sequence": sequence,
            "known_at_microseconds": _microseconds(now),
            "observed_from": ledger.observed_from,
            "features": [value.hex() for value in row.tolist()],
            "cover": cover_evidence(seen.found),
            "shadow": shadow.score(speaking, row, views),
        }
        body = to_bytes({"schema": SCHEMA_VERSION, "answer": answer, "evidence": evidence})
        return New(answer["id"], "assessment", body)

    @nothing_unrecorded()
    def find(self, assessment_id: str) -> bytes | None:
        """Return an earlier assessment, byte for byte, or ``None``."""
        entry = self._record.find(assessment_id)
        if entry is None or entry.kind != "assessment":
            return None
        return with_its_place(entry)


def _as_answered(earlier: Entry | Kept) -> bytes:
    return earlier.body if isinstance(earlier, Kept) else with_its_place(earlier)


def _usual_order(history: History, as_of: int, policy: Policy) -> Order:
    """Assume the median amount and terms of the customer's latest invoices."""
    invoices = history.invoices
    end = int(np.searchsorted(invoices.known_on, as_of))  # a post-dated one is not known yet
    if end == 0:
        raise OrderNeeded("This customer has no invoice yet to assume an order from: give one.")
    latest = slice(max(0, end - HABIT), end)
    amount = int(np.median(invoices.amount_cents[latest]))
    terms = int(np.median((invoices.due_on - invoices.issued_on)[latest]))
    return Order(amount, policy.assumed_margin_cents(amount), terms)


def _planned(history: History, customer_id: str, order: Order, as_of: int) -> Spine:
    """Plan the order's invoice for `as_of`: described, as in training, by what was known before."""
    customer = history.codes(np.array([customer_id], object))
    days = np.array([as_of, as_of, as_of + order.terms_days], np.int32)
    nothing = np.array([-1], np.int64)
    amount = np.array([order.amount_cents], np.int64)
    return Spine(customer, days[:1], nothing, amount, days[1:2], days[2:])


def _day(instant: datetime) -> int:
    return (instant.date() - datetime(1970, 1, 1, tzinfo=UTC).date()).days


def _microseconds(instant: datetime) -> int:
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _stamp(path: Path) -> tuple[int, int] | None:
    """Tell one state of a file from another; ``None`` while there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_ino
