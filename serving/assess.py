"""The use case: a customer and an order in, an explained and recorded recommendation out.

Facts as known now → features → both curves → reasons → options → record → answer. Nothing here
knows of the web; the clock, the store and the record are given.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import structlog
from numpy.typing import NDArray
from sqlalchemy.exc import SQLAlchemyError
from uuid_utils import uuid7

from features.build import Spine, build, feature_names
from features.history import NEVER, Facts, History, known_on
from features.history import build as build_history
from features.ledger import LedgerError
from features.settlement import WRITE_OFF
from features.store import Store
from models import bundle as bundles
from models.bundle import Bundle, BundleError, Champions
from models.curve import expected_delay_days, payment_interval
from models.explanation import Explanation, explain
from models.policy import Decision, Order, Policy, PolicyError, Risk, Situation, decide, load
from models.targets import DEFAULT_DEFINITIONS, find_defaults, is_in_default
from models.workspace import Workspace
from serving.audit import Entry, Record

SCHEMA_VERSION = 1
LATE_TERMS = (0, 5, 15, 30, 60)
DEFAULT_HORIZONS = (30, 90, 180, 365)
HABIT = 20  # invoices that tell a customer's usual order
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


class NotReady(AssessmentError):
    """There is no ledger or champion to speak with, or no record to write to."""


@contextmanager
def _nothing_unrecorded() -> Iterator[None]:
    """Refuse when a database fails; its message may hold customer data and goes nowhere."""
    try:
        yield
    except SQLAlchemyError as error:
        log.error("database_failed", error=type(error).__name__)
        raise NotReady(
            "The ledger or the record of assessments cannot be used now, and nothing is answered "
            "that is not recorded."
        ) from error


@dataclass(frozen=True)
class Speaking:
    """What speaks now: champions of both curves and the policy, loaded together.

    Attributes
    ----------
    champions : Champions
    late, default : Bundle or None
        ``None`` where the curve abstains.
    policy : Policy
    """

    champions: Champions
    late: Bundle | None
    default: Bundle | None
    policy: Policy

    @classmethod
    def load(cls, workspace: Workspace, ledger_id: str) -> Speaking:
        """Load what the pointer file names, each file verified before it is parsed.

        Raises
        ------
        BundleError, PolicyError
            If a file is missing or damaged, or a bundle was trained for something else: another
            ledger, set of features (that of the other curve) or default definition.
        """
        champions = Champions.load(workspace.champions)

        policy = load(workspace.policies / f"{champions.policy}.yaml")
        if policy.sha256 != champions.policy:
            raise BundleError(f"policy {champions.policy[:12]} was changed")
        definition = asdict(DEFAULT_DEFINITIONS[policy.default_definition])

        def read(question: str, sha256: str | None) -> Bundle | None:
            if sha256 is None:
                return None
            found = bundles.read(workspace.bundles, sha256)
            features = feature_names(with_order=question == "late")
            defined = definition if question == "default" else None
            for what, said, wanted in (
                ("ledger", found.card.get("ledger_id"), ledger_id),
                ("set of features", found.curve.features, features),
                ("default definition", found.card.get("default_definition"), defined),
            ):
                if said != wanted:
                    raise BundleError(f"bundle {sha256[:12]} was trained on another {what}")
            return found

        late, default = read("late", champions.late), read("default", champions.default)
        return cls(champions, late, default, policy)


class Views(NamedTuple):
    """What the curves say of one customer and order; ``None`` where a curve abstains."""

    late: dict[int, float] | None
    paid_on: dict[str, str | None] | None
    expected_delay_days: float
    default: dict[int, float] | None
    explanation: Explanation | None
    abstentions: dict[str, dict[str, Any]]


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
    """

    def __init__(
        self, store: Store, record: Record, workspace: Workspace, clock: Callable[[], datetime]
    ) -> None:
        self._store, self._record, self._workspace = store, record, workspace
        self._clock = clock
        self._ledger = store.ledger
        self._speaking: Speaking | None = None
        self._stamp: tuple[int, int] | None = None
        self._retry_at = math.inf

    def readiness(self) -> str | None:
        """Return ``None`` when an assessment can be given, else why not."""
        try:
            self._current()
        except NotReady as error:
            return error.detail
        return None

    def _current(self) -> Speaking:
        """Load the champions when their pointer changed; keep the last good ones if they fail."""
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
        return self._speaking

    @_nothing_unrecorded()
    def assess(self, customer_id: str, order: Order | None) -> bytes:
        """Assess a customer's order, record the assessment, then return it.

        Parameters
        ----------
        customer_id : str
        order : Order or None
            ``None`` assumes the customer's usual amount, terms and the policy's margin.

        Returns
        -------
        bytes
            UTF-8 JSON, the same that :meth:`find` returns for its ``id``.

        Raises
        ------
        UnknownCustomer, OrderNeeded, NotReady
        """
        speaking = self._current()
        now = self._clock()
        as_of = _day(now) + 1  # exclusive: what was recorded today counts
        observed_from = int(self._store.ledger.observed_from)  # an import may bring older facts
        sequence = self._store.sequence()
        facts = self._store.read(customer_id, known_at=_microseconds(now), sequence=sequence)
        if facts["customers"]["customer_id"].size == 0:
            raise UnknownCustomer("The ledger does not know this customer: import it first.")
        history = build_history(facts, observed_from)
        asked = order or _usual_order(history, as_of, speaking.policy)
        spine = _planned(history, customer_id, asked, as_of)
        row = build(history, spine)[0]
        in_default = _is_in_default(history, speaking.policy, as_of)
        views = _views(speaking, row, asked, as_of, self._ledger.currency, in_default=in_default)
        situation, cover = _situation(facts, history, as_of)
        risk = _risk(views, in_default=in_default)
        decision = decide(asked, situation, risk, speaking.policy)
        answer = {
            "id": str(uuid7()),
            "as_of": _iso(as_of),
            "known_at": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "currency": self._ledger.currency,
            "customer": _customer(facts),
            "order": {
                "amount": _money(asked.amount_cents),
                "margin": _money(asked.margin_cents),
                "terms_days": asked.terms_days,
                "assumed": order is None,
            },
            "exposure": _money(situation.exposure_cents),
            **_views_shown(views),
            **_decision_shown(decision),
            "insurance": cover,
            "versions": {
                "late": _hash(speaking.champions.late),
                "default": _hash(speaking.champions.default),
                "policy": _hash(speaking.champions.policy),
                "code": installed("encours"),
            },
        }
        evidence = {
            "ledger_id": self._ledger.id,
            "sequence": sequence,
            "known_at_microseconds": _microseconds(now),
            "observed_from": observed_from,
            "features": [value.hex() for value in row.tolist()],
        }
        body = _json({"schema": SCHEMA_VERSION, "answer": answer, "evidence": evidence})
        return _answer(self._record.append(str(answer["id"]), "assessment", body))

    @_nothing_unrecorded()
    def find(self, assessment_id: str) -> bytes | None:
        """Return an earlier assessment, byte for byte, or ``None``."""
        entry = self._record.find(assessment_id)
        return None if entry is None else _answer(entry)


def assessor_from_environment() -> Assessor | Waiting:
    """Build the assessor of ``ENCOURS_HOME``; one that is not ready where there is no ledger.

    ``ENCOURS_TODAY`` (YYYY-MM-DD) answers as of that day, for a ledger of the past.
    """
    workspace = Workspace.from_environment()
    try:
        if not workspace.facts.exists():  # opening it would make it
            raise LedgerError("there is no ledger here yet: run `encours import` first")
        store = Store(workspace.facts_url)
    except LedgerError as error:
        return Waiting(str(error))
    today = os.environ.get("ENCOURS_TODAY")
    clock = _utc_now if today is None else _end_of(date.fromisoformat(today))
    return Assessor(store, Record(workspace.record_url), workspace, clock)


class Waiting:
    """Stands in while there is no ledger: never ready, and says why."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def readiness(self) -> str:
        """Say why no assessment can be given."""
        return self._reason

    def assess(self, customer_id: str, order: Order | None) -> bytes:
        """Refuse."""
        raise NotReady(self._reason)

    def find(self, assessment_id: str) -> bytes | None:
        """Refuse."""
        raise NotReady(self._reason)


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
    """Plan the order's invoice for today."""
    today = as_of - 1
    customer = history.codes(np.array([customer_id], object))
    days = np.array([as_of, today, today + order.terms_days], np.int32)
    nothing = np.array([-1], np.int64)
    amount = np.array([order.amount_cents], np.int64)
    return Spine(customer, days[:1], nothing, amount, days[1:2], days[2:])


def _views(
    speaking: Speaking,
    row: NDArray[np.float64],
    order: Order,
    as_of: int,
    currency: str,
    *,
    in_default: bool,
) -> Views:
    late, paid_on, delay_days = None, None, 0.0
    default, explanation = None, None
    abstentions = dict(speaking.champions.abstentions)
    if speaking.late is not None:
        curve = speaking.late.curve
        terms = np.arange(curve.shortest, curve.longest + 1, dtype=np.int32)
        by_term = curve.at(row, terms)
        late = {t: float(by_term[t - curve.shortest]) for t in LATE_TERMS}
        delay_days = expected_delay_days(terms, by_term)
        interval = payment_interval(terms, by_term)._asdict()
        due_on = as_of - 1 + order.terms_days
        paid_on = {q: None if d is None else _iso(due_on + d) for q, d in interval.items()}
    if in_default:
        abstentions["default"] = {"reason": "the customer is already in default"}
    elif speaking.default is not None:
        curve = speaking.default.curve
        known = row[: len(curve.features)]
        by_term = curve.at(known, np.array(DEFAULT_HORIZONS, np.int32))
        default = dict(zip(DEFAULT_HORIZONS, by_term.tolist(), strict=True))
        asked_days = speaking.policy.horizon_days(order.terms_days)
        horizon = min(max(asked_days, curve.shortest), curve.longest)
        explanation = explain(speaking.default, known, horizon, currency)
    return Views(late, paid_on, delay_days, default, explanation, abstentions)


def _is_in_default(history: History, policy: Policy, as_of: int) -> bool:
    spells = find_defaults(history, DEFAULT_DEFINITIONS[policy.default_definition])
    me, today = np.zeros(1, np.int64), np.array([as_of], np.int32)
    return bool(is_in_default(spells, me, today)[0])


def _risk(views: Views, *, in_default: bool) -> Risk | None:
    """Say what the policy may reckon with; ``None`` where a curve abstains."""
    if views.late is None or (views.explanation is None and not in_default):
        return None
    probability = 1.0 if views.explanation is None else views.explanation.probability
    return Risk(probability, views.expected_delay_days)


def _situation(facts: Facts, history: History, as_of: int) -> tuple[Situation, dict[str, Any]]:
    """Describe what is owed, bought, covered and barred; and the cover as shown."""
    invoices = history.invoices
    lately = (invoices.known_on >= as_of - 365) & (invoices.known_on < as_of)
    cover = _cover_in_force(facts["insurance_covers"], as_of)
    true = {
        "insolvency_opened": bool((history.insolvent_on < as_of).any()),
        "is_natural_person": bool(facts["customers"]["is_natural_person"][0]),
    }
    situation = Situation(
        exposure_cents=_exposure_cents(facts["settlements"], history, as_of),
        yearly_purchases_cents=int(invoices.amount_cents[lately].sum()),
        covered_cents=cover.amount_cents,
        insured_rate=cover.insured_rate,
        facts=frozenset(fact for fact, holds in true.items() if holds),
    )
    shown = {
        "covered": _money(cover.amount_cents),
        "insured_rate": cover.insured_rate,
        "valid_to": None if cover.ends_on is None else _iso(cover.ends_on),
        "stale": False,
    }
    return situation, shown


def _exposure_cents(settlements: dict[str, NDArray[Any]], history: History, as_of: int) -> int:
    """Sum what is open, less the money that no invoice has used yet; negative in credit.

    A write-off that no invoice used is not money, and takes nothing off.
    """
    invoices, steps = history.invoices, history.steps
    is_known = steps.known_on < as_of
    n_known = np.add.accumulate(np.concatenate([[0], is_known]))[invoices.step_start]
    last = invoices.step_start[:-1] + np.diff(n_known) - 1  # steps lie by the day they were known
    after = np.append(steps.open_cents, 0)[last]
    open_cents = np.where(np.diff(n_known) > 0, after, invoices.amount_cents)
    kind = settlements["kind"]
    received = np.where(kind == "reversal", -1, 1) * settlements["amount_cents"]
    received = received[(kind != "write_off") & (known_on(settlements, "settled_on") < as_of)]
    used = steps.cents[is_known & (steps.kind != WRITE_OFF)]
    return int(open_cents[invoices.known_on < as_of].sum() - max(0, received.sum() - used.sum()))


class Cover(NamedTuple):
    """The insurer's cover in force; nothing when there is none."""

    amount_cents: int = 0
    insured_rate: float = 0.0
    ends_on: int | None = None


def _cover_in_force(covers: dict[str, NDArray[Any]], as_of: int) -> Cover:
    """Return the cover decided last among those that run today."""
    starts_on, ends_on = known_on(covers, "starts_on"), covers["ends_on"]
    running = np.flatnonzero((starts_on < as_of) & (ends_on >= as_of - 1))
    if running.size == 0:
        return Cover()
    decided = np.lexsort((covers["recorded_at"][running], starts_on[running]))
    last = running[decided[-1]]
    end = None if ends_on[last] == NEVER else int(ends_on[last])
    return Cover(int(covers["amount_cents"][last]), float(covers["insured_rate"][last]), end)


def _customer(facts: Facts) -> dict[str, Any]:
    customer = {name: column[0] for name, column in facts["customers"].items()}
    return {
        "id": customer["customer_id"],
        "name": customer["name"],
        "country": customer["country"],
        "is_natural_person": bool(customer["is_natural_person"]),
    }


def _views_shown(views: Views) -> dict[str, Any]:
    return {
        "late": views.late,
        "paid_on": views.paid_on,
        "default": views.default,
        "abstentions": views.abstentions,
        "explanation": None if views.explanation is None else asdict(views.explanation),
    }


def _decision_shown(decision: Decision) -> dict[str, Any]:
    limit = decision.limit
    return {
        "recommendation": {
            "action": decision.action,
            "proposed_action": decision.proposed_action,
            "deposit_rate": decision.deposit_rate,
            "limit": None if limit is None else _money(limit.cents),
            "requires_human": decision.requires_human,
            "fr": decision.fr,
            "en": decision.en,
        },
        "limit_derivation": [] if limit is None else [line._asdict() for line in limit.derivation],
        "options": [
            {
                "kind": option.kind,
                "deposit_rate": option.deposit_rate,
                "credit": _money(option.amount_on_credit_cents),
                "acceptance": option.acceptance,
                "expected_loss": _money(option.expected_loss_cents),
                "funding": _money(option.funding_cents),
                "expected_profit": _money(option.expected_profit_cents),
                "admissible": option.admissible,
                "obstacle": None if option.obstacle is None else option.obstacle._asdict(),
                "chosen": option.chosen,
            }
            for option in decision.options
        ],
        "rules": [rule._asdict() for rule in decision.rules],
    }


def _answer(entry: Entry) -> bytes:
    """Give an entry's answer with its place in the record: the same bytes each time."""
    answer = json.loads(entry.body)["answer"]
    place = {"entry": entry.sequence, "leaf_hash": entry.leaf_hash, "sealed": False}
    return _json({**answer, "record": place})


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, allow_nan=False).encode()


def _money(cents: int) -> str:
    """Write cents as units with two decimals.

    >>> _money(-1905)
    '-19.05'
    """
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"


def _hash(sha256: str | None) -> str | None:
    return None if sha256 is None else f"sha256:{sha256}"


def _iso(day: int) -> str:
    return str(np.datetime64(day, "D"))


def _day(instant: datetime) -> int:
    return (instant.date() - datetime(1970, 1, 1, tzinfo=UTC).date()).days


def _microseconds(instant: datetime) -> int:
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _end_of(day: date) -> Callable[[], datetime]:
    end = datetime(day.year, day.month, day.day, 23, 59, 59, 999_999, tzinfo=UTC)
    return lambda: end


def _stamp(path: Path) -> tuple[int, int] | None:
    """Tell one state of a file from another; ``None`` while there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_ino
