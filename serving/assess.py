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

import structlog
from sqlalchemy.exc import SQLAlchemyError
from uuid_utils import uuid7

from features.store import Store
from features.store_database import why
from models.alerts import State
from models.bundle import BundleError, keep
from models.insurance_file import load as rules_of_insurer
from models.policy import Order, PolicyError
from models.workspace import Workspace
from serving.answer import with_its_place
from serving.answering import AssessmentError as AssessmentError
from serving.answering import Known, Question, answer, microseconds, runs_on
from serving.answering import OrderNeeded as OrderNeeded
from serving.audit import Entry, Kept, New, Once, Record
from serving.overrides import Overrides
from serving.person_key import Undecipherable
from serving.prospects import Prospect, observed_from
from serving.situation import Insurer
from serving.speaking import Speaking
from serving.watch import Watch, state_of

UNKNOWN = "The ledger does not know this customer: import it first."
ONE_HOUR = timedelta(hours=1)
KNOWN = "The ledger knows a customer of this id: assess it by its id, and push what is new of it."
RETRY_SECONDS = 10.0  # champions that were refused may have been mended since
log = structlog.get_logger()


class UnknownCustomer(AssessmentError):
    """The ledger does not know the customer."""


class KnownCustomer(AssessmentError):
    """The ledger knows the customer that was given as a prospect."""


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


class Assessed(NamedTuple):
    """An assessment that is still to be recorded, and the state it found the customer in.

    A prospect has no state to watch.
    """

    new: New
    state: State | None


Assess = Callable[[str | Prospect, Order | None, str | None], Assessed]
"""Assesses a customer's order in a currency, at an instant that was taken before."""


class Assesses(Protocol):
    """The use case, as others need it; its methods block."""

    def assess(
        self,
        customer: str | Prospect,
        order: Order | None,
        currency: str | None = None,
        asking: Asking = COMMAND_LINE,
    ) -> bytes:
        """Return the answer's JSON, already durable."""

    def at_one_instant(self, asking: Asking) -> Assess:
        """Take the present instant and the champions of now for several assessments."""

    def watch(self, assessed: Assessed) -> None:
        """Tell whether a customer has degraded, once the assessment is recorded."""

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
        log.error("database_failed", error=type(error).__name__, why=why(error))
        raise NotReady(
            f"The ledger or the record of assessments cannot be used now ({why(error)}), "
            "and nothing is answered that is not recorded."
        ) from error
    except Undecipherable as error:
        log.error("undecipherable", why=str(error))
        raise NotReady(
            f"What is recorded about a natural person cannot be read: {error}."
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
    watch : Watch, optional
        Told of each assessment once it is recorded.
    """

    def __init__(
        self,
        store: Store,
        record: Record,
        workspace: Workspace,
        clock: Callable[[], datetime],
        insurer: Insurer | None = None,
        watch: Watch | None = None,
    ) -> None:
        self._watch = watch
        self._store, self._record, self._workspace = store, record, workspace
        self._clock, self._insurer = clock, insurer or Insurer(rules_of_insurer())
        self._overrides = Overrides(record)
        self._ledger = store.ledger
        self._speaking: Speaking | None = None
        self._stamp: tuple[int, int] | None = None
        self._kept: str | None = None
        self._retry_at = math.inf
        self._loading = Lock()

    def readiness(self) -> str | None:
        """Return ``None`` when an assessment can be given, else why not."""
        try:
            self._current()
            with nothing_unrecorded():
                self._store.sequence()
        except NotReady as error:
            return error.detail
        trouble = self._record.trouble()
        return None if trouble is None else f"The record cannot be written now ({trouble})."

    def _current(self) -> Speaking:
        """Load the champions when their pointer changed; keep the last good ones if they fail."""
        with self._loading:
            return self._newest()

    def _newest(self) -> Speaking:
        stamp, speaking = _stamp(self._workspace.champions), self._speaking
        if speaking is not None and stamp == self._stamp and time.monotonic() < self._retry_at:
            return speaking
        said_before = self._retry_at != math.inf and stamp == self._stamp
        self._stamp, self._retry_at = stamp, time.monotonic() + RETRY_SECONDS
        try:
            self._speaking = Speaking.load(self._workspace, self._ledger.id)
        except (BundleError, PolicyError) as error:
            if speaking is None:
                raise NotReady(
                    f"No model can be used: {error}. Run `encours train`, then `encours promote`."
                ) from error
            if not said_before:  # once, however often they are tried again
                log.error("champions_refused", reason=str(error))
            return speaking
        self._retry_at = math.inf
        for question, reason in self._speaking.refused.items():
            log.error("shadow_refused", curve=question, reason=reason)
        return self._speaking

    @nothing_unrecorded()
    def assess(
        self,
        customer: str | Prospect,
        order: Order | None,
        currency: str | None = None,
        asking: Asking = COMMAND_LINE,
    ) -> bytes:
        """Assess a customer's order, record the assessment, then return it.

        Parameters
        ----------
        customer : str or Prospect
            Its number in the ledger, or what is said of a company that the ledger does not know.
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
        UnknownCustomer, KnownCustomer, ProspectRefused, OrderNeeded, OtherCurrency, NotReady
        TooLate, AnotherRequest
        """
        earlier = None if asking.once is None else self._record.answered(asking.once)
        if earlier is not None:
            return _as_answered(earlier)
        assessed = self.at_one_instant(asking)(customer, order, currency)
        (entry,) = self._record.append_many([assessed.new], asking.once, asking.deadline)
        if entry.id == assessed.new.id:  # not another one's, that was faster
            self.watch(assessed)
        return with_its_place(entry)

    def at_one_instant(self, asking: Asking) -> Assess:
        """Take the present instant and the champions of now for several assessments.

        Returns
        -------
        callable
            Takes what :meth:`assess` takes, raises what it raises, and gives what is still to be
            recorded, then watched.
        """
        return partial(self._assessed, asking, self._current(), self._clock())

    def _assessed(
        self,
        asking: Asking,
        speaking: Speaking,
        now: datetime,
        customer: str | Prospect,
        order: Order | None,
        currency: str | None,
    ) -> Assessed:
        """Assess a customer's order; the entry is still to be recorded."""
        if currency not in (None, self._ledger.currency):
            raise OtherCurrency(f"The ledger is in {self._ledger.currency}.")
        prospect = customer if isinstance(customer, Prospect) else None
        customer_id = customer if isinstance(customer, str) else customer.customer_id
        known = self._known(customer_id, prospect, speaking, now)
        question = Question(
            str(uuid7()),
            customer_id,
            order,
            asking.actor,
            None if asking.once is None else asking.once.fingerprint,
            None if prospect is None else prospect.given,
        )
        body, seen, views, in_default = answer(question, known)
        model = speaking.champions.default
        is_person: bool | None = "is_natural_person" in seen.situation.facts
        if prospect is not None:
            new = New(question.id, "assessment", body, is_person, False, customer_id)
            return Assessed(new, None)
        is_person = is_person or _if_none_knows_more(now)
        new = New(question.id, "assessment", body, is_person, about=customer_id)
        return Assessed(new, state_of(customer_id, now, model, seen, views, in_default=in_default))

    def watch(self, assessed: Assessed) -> None:
        """Tell whether a customer has degraded, once the assessment is recorded."""
        if self._watch is not None and assessed.state is not None:
            self._watch.see(assessed.state, assessed.new.id)

    def _known(
        self, customer_id: str, prospect: Prospect | None, speaking: Speaking, now: datetime
    ) -> Known:
        """Gather what is known of a customer, or said of a prospect."""
        self._keep_rules()
        sequence, ledger, facts = self._store.snapshot(customer_id, microseconds(now))
        said = facts["customers"]
        is_known = said["customer_id"].size > 0
        if is_known and said["is_natural_person"].any():
            is_known = not self._record.persons.is_erased(customer_id)
        if prospect is not None:
            if is_known:
                raise KnownCustomer(KNOWN)
            facts = prospect.facts(now, ledger.currency)
            ledger = ledger._replace(observed_from=observed_from(facts, ledger.observed_from))
        elif not is_known:
            raise UnknownCustomer(UNKNOWN)
        return Known(
            now,
            sequence,
            ledger,
            facts,
            self._store.peers(sequence),
            self._store,
            self._insurer,
            speaking,
            self._overrides.in_force(customer_id, now.date()),
            runs_on(),
        )

    def _keep_rules(self) -> None:
        """Keep the insurer's policy by its hash, as policies are: a replay reads it there."""
        rules = self._insurer.rules
        if self._kept == rules.sha256:
            return
        try:
            keep(self._workspace.insurance, f"{rules.sha256}.yaml", rules.content)
        except OSError as error:
            raise NotReady(
                f"The insurer's policy cannot be kept beside the record ({error.strerror})."
            ) from error
        self._kept = rules.sha256

    @nothing_unrecorded()
    def find(self, assessment_id: str) -> bytes | None:
        """Return an earlier assessment, byte for byte, or ``None``.

        Raises
        ------
        Erased
            If it was about a person who is.
        """
        entry = self._record.find(assessment_id)
        if entry is None or entry.kind != "assessment":
            return None
        return with_its_place(entry)


def _if_none_knows_more(now: datetime) -> bool | None:
    """Say that a customer is no person; of a past instant the ledger may know better by now."""
    return False if datetime.now(UTC) - now < ONE_HOUR else None


def _as_answered(earlier: Entry | Kept) -> bytes:
    return earlier.body if isinstance(earlier, Kept) else with_its_place(earlier)


def _stamp(path: Path) -> tuple[int, int] | None:
    """Tell one state of a file from another; ``None`` while there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_ino
