"""What an answer follows from, and the one function that gives it: live, and again in a replay.

:class:`Known` and :class:`Question` hold every input. Live they come from the clock, the store, the
insurer, the pointer file and the record; in a replay from what the entry kept of them. The same
function then gives the same bytes, or something was changed.
"""

from __future__ import annotations

import hashlib
import platform
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.build import Spine, build
from features.history import Facts, History
from features.history import build as build_history
from features.peers import PeerDays
from features.store import Described, Store
from features.versions import current
from models.overrides import Override
from models.policy import Decision, Order, Policy, decide
from serving import shadow
from serving.answer import compose, cover_evidence, to_bytes
from serving.overrides import apply
from serving.situation import Group, Insurer, LookedUp, Seen, describe, is_in_default
from serving.speaking import Speaking, Views, consult

SCHEMA_VERSION = 2  # 1 kept too little to be replayed
HABIT = 20  # invoices that tell a customer's usual order
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
PACKAGES, SOURCES = ("features", "models", "serving"), (".py", ".yaml", ".json")
LIBRARIES = ("lightgbm", "numba", "numpy", "scipy")


class AssessmentError(Exception):
    """An assessment cannot be given; `detail` says why and what to do, without customer data."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class OrderNeeded(AssessmentError):
    """No order is given and the customer has none to assume."""


class Question(NamedTuple):
    """What is asked, and by whom.

    Attributes
    ----------
    id : str
        The answer's.
    customer_id : str
    order : Order or None
        ``None`` assumes the customer's usual one.
    actor : dict of str to str
        Who asks, for the record.
    request : str or None
        Fingerprint of the request.
    prospect : dict of str to list of dict, or None
        The facts that came with the order, by table, of a company that the ledger does not know.
    """

    id: str
    customer_id: str
    order: Order | None
    actor: dict[str, str]
    request: str | None
    prospect: dict[str, list[dict[str, Any]]] | None = None


@dataclass(frozen=True)
class Known:
    """Everything that is known when the question is asked.

    Attributes
    ----------
    now : datetime
        The instant, UTC.
    sequence : int
        The store's last append: nothing that came later is looked at.
    ledger : Described
    facts : Facts
        The customer's, in all versions, as known at `now`.
    peers : PeerDays
    store : Store
        To look the rest of the group up in, as known then.
    insurer : Insurer
        Its rules, and who gives its decision.
    speaking : Speaking
        Champions, challengers and policy.
    override : Override or None
        What a person decided for the customer, in force that day.
    runs_on : dict of str to str
        See :func:`runs_on`.
    before : LookedUp, optional
        Of the rest of the group, where much is asked.
    """

    now: datetime
    sequence: int
    ledger: Described
    facts: Facts
    peers: PeerDays
    store: Store
    insurer: Insurer
    speaking: Speaking
    override: Override | None
    runs_on: dict[str, str]
    before: LookedUp | None = None

    @property
    def as_of(self) -> int:
        """Exclusive day: what was recorded today counts."""
        return day_of(self.now) + 1


class Answered(NamedTuple):
    """An answer, and what was found on the way.

    Attributes
    ----------
    body : bytes
        Of an entry of the record: ``schema``, ``answer`` and ``evidence``.
    seen : Seen
    views : Views
    in_default : bool
    """

    body: bytes
    seen: Seen
    views: Views
    in_default: bool


def answer(question: Question, known: Known) -> Answered:
    """Answer a question from what is known; nothing else has a part in it.

    Raises
    ------
    OrderNeeded
    """
    looked, as_of = look(known), known.as_of
    asked = question.order or usual_order(looked.books, as_of, known.speaking.policy)
    row, views = consulted(question.customer_id, known, looked, asked)
    seen, decision, override = decided(known, looked, asked, views)
    said = compose(
        question.id,
        as_of,
        known.now,
        known.ledger.currency,
        looked.standing,
        asked,
        seen,
        views,
        decision,
        known.speaking.champions,
        known.insurer.rules,
        known.runs_on["encours"],
        assumed=question.order is None,
    )
    said["override"] = override
    evidence = {
        "actor": question.actor,
        "request": question.request,
        "asked": None if question.order is None else question.order._asdict(),
        "ledger_id": known.ledger.id,
        "owed_cents": seen.situation.owed_cents,
        "facts": sorted(seen.situation.facts),
        "sequence": known.sequence,
        "known_at_microseconds": microseconds(known.now),
        "observed_from": known.ledger.observed_from,
        "features": [value.hex() for value in row.tolist()],
        "margins": _margins_shown(views),
        "contributions": _contributions_shown(views),
        "cover": cover_evidence(seen.found),
        "cover_from": "ledger" if known.insurer.provider is None else "provider",
        "override": None if known.override is None else known.override.id,
        "abstentions": known.speaking.champions.abstentions,
        "shadow": shadow.score(known.speaking, row, views),
        "runs_on": known.runs_on,
    }
    if question.prospect is not None:
        evidence["prospect"] = question.prospect
    body = to_bytes({"schema": SCHEMA_VERSION, "answer": said, "evidence": evidence})
    return Answered(body, seen, views, looked.in_default)


class Looked(NamedTuple):
    """What is known of the customer, laid out once for any order.

    Attributes
    ----------
    standing : Facts
        The facts as thought of now; the features know what was thought before.
    history, books : History
        Of all versions, and of those that stand.
    in_default : bool
    """

    standing: Facts
    history: History
    books: History
    in_default: bool


def look(known: Known) -> Looked:
    """Lay out what is known."""
    observed_from, standing = known.ledger.observed_from, current(known.facts)
    history = build_history(known.facts, observed_from, known.peers)
    one_view = history.views.are_single
    books = history if one_view else build_history(standing, observed_from)
    in_default = is_in_default(books, known.speaking.policy, known.as_of)
    return Looked(standing, history, books, in_default)


def consulted(
    customer_id: str, known: Known, looked: Looked, order: Order, *, explained: bool = True
) -> tuple[NDArray[np.float64], Views]:
    """Describe the customer and the order, and ask the curves; give the features, shape (n,)."""
    row = features_of(looked.history, customer_id, order, known.as_of)
    currency, in_default = known.ledger.currency, looked.in_default
    views = consult(
        known.speaking, row, order, currency, in_default=in_default, explained=explained
    )
    return row, views


def decided(
    known: Known, looked: Looked, order: Order, views: Views
) -> tuple[Seen, Decision, dict[str, Any] | None]:
    """Decide about the order; give what was seen, and the person's decision that counts."""
    policy, ledger = known.speaking.policy, known.ledger
    group = Group(
        known.store, microseconds(known.now), known.sequence, ledger.observed_from, known.before
    )
    seen = describe(
        looked.books, looked.standing, order, known.as_of, known.now, known.insurer, group
    )
    decision = decide(order, seen.situation, views.risk, policy)
    decision, override = apply(known.override, decision, order, seen.situation, policy)
    return seen, decision, override


def usual_order(history: History, as_of: int, policy: Policy) -> Order:
    """Assume the median amount and terms of the customer's latest invoices.

    Raises
    ------
    OrderNeeded
    """
    invoices = history.invoices
    end = int(np.searchsorted(invoices.known_on, as_of))  # a post-dated one is not known yet
    if end == 0:
        raise OrderNeeded("This customer has no invoice yet to assume an order from: give one.")
    latest = slice(max(0, end - HABIT), end)
    amount = int(np.median(invoices.amount_cents[latest]))
    terms = int(np.median((invoices.due_on - invoices.issued_on)[latest]))
    return Order(amount, policy.assumed_margin_cents(amount), terms)


def features_of(
    history: History, customer_id: str, order: Order, as_of: int
) -> NDArray[np.float64]:
    """Describe the customer and the order's invoice, planned for `as_of`.

    As in training, by what was known before. Shape (n_features,).
    """
    customer = history.codes(np.array([customer_id], object))
    days = np.array([as_of, as_of, as_of + order.terms_days], np.int32)
    nothing = np.array([-1], np.int64)
    amount = np.array([order.amount_cents], np.int64)
    row: NDArray[np.float64] = build(
        history, Spine(customer, days[:1], nothing, amount, days[1:2], days[2:])
    )[0]
    return row


def _margins_shown(views: Views) -> dict[str, dict[int, str]]:
    """Show what each booster said, before calibration, from each term on until the next one.

    The trees are steps in the term: of 151 terms some 65 differ from the one before.
    """
    shown: dict[str, dict[int, str]] = {}
    for question, (terms, margins) in views.margins.items():
        order = np.argsort(terms)
        if question == "late":
            order = order[np.diff(margins[order], prepend=np.nan) != 0]
        pairs = zip(terms[order].tolist(), margins[order].tolist(), strict=True)
        shown[question] = {term: margin.hex() for term, margin in pairs}
    return shown


def _contributions_shown(views: Views) -> dict[str, Any] | None:
    """Show the explained curve taken apart, in calibrated log-odds, feature by feature."""
    if views.explanation is None or views.taken_apart is None:
        return None
    base, by_feature = views.taken_apart
    return {
        "curve": views.explanation.curve,
        "term_days": views.explanation.horizon_days,
        "base": base.hex(),
        "by_feature": [value.hex() for value in by_feature.tolist()],
    }


@cache
def _runs_on() -> dict[str, str]:
    digest = hashlib.sha256()
    root = Path(__file__).parents[1]
    files = [
        (file.relative_to(root).as_posix(), file)
        for package in PACKAGES
        for file in (root / package).rglob("*")
        if file.suffix in SOURCES
    ]
    for name, file in sorted(files):
        digest.update(f"{name}\n".encode() + hashlib.sha256(file.read_bytes()).digest())
    return {
        "encours": _version(),
        "source_sha256": digest.hexdigest(),
        "python": platform.python_version(),
        **{name: installed(name) for name in LIBRARIES},
    }


def _version() -> str:
    try:
        return installed("encours")
    except PackageNotFoundError:  # in a bento, which is no package
        project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))
        return str(project["project"]["version"])


def runs_on() -> dict[str, str]:
    """Say which code answers: version, hash of the sources, and what the arithmetic hangs on."""
    return dict(_runs_on())


def day_of(instant: datetime) -> int:
    """Give the day of an instant, in days since 1970."""
    return (instant.date() - EPOCH.date()).days


def microseconds(instant: datetime) -> int:
    """Give an instant in microseconds since 1970."""
    return (instant - EPOCH) // MICROSECOND


def instant_of(microseconds: int) -> datetime:
    """Give the instant of a number of microseconds since 1970, UTC."""
    return EPOCH + timedelta(microseconds=microseconds)
