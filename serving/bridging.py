"""The use case: two assessments of one customer, and why the probability moved between them.

Both are looked at again from the facts as known then; the bridge itself is :mod:`models.bridge`.
"""

from __future__ import annotations

import json
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.history import build as build_history
from features.ledger import LedgerError
from models import grades
from models.bridge import CONVENTION, Bridge, Looks, bridge
from models.bundle import Bundle, BundleError
from models.insurance_file import InsuranceError
from models.policy import Order, PolicyError
from serving.answering import SCHEMA_VERSION, Known, features_of
from serving.audit import Entry
from serving.replay import NotReplayable, Replayer
from serving.schemas.request import cents
from serving.speaking import LATE_EXPLAINED_DAYS, Speaking

Question = Literal["late", "default"]
TERMS: dict[Question, int] = {"default": grades.HORIZON_DAYS, "late": LATE_EXPLAINED_DAYS}


class NoBridge(Exception):
    """There is no way from one assessment to the other; the message says why."""


class _Side(NamedTuple):
    """One of the two assessments, as known then."""

    entry: Entry
    answer: dict[str, Any]
    features: list[str]
    known: Known
    order: Order

    @property
    def customer_id(self) -> str:
        identifier: str = self.answer["customer"]["id"]
        return identifier

    @property
    def place(self) -> dict[str, Any]:
        """Where it stands, and what it was."""
        return {
            "id": self.entry.id,
            "entry": self.entry.sequence,
            "known_at": self.answer["known_at"],
            "versions": self.answer["versions"],
        }

    def row(self, known: Known, as_of: int, order: Order) -> NDArray[np.float64]:
        """Describe the customer from what another side knows, on another day."""
        history = build_history(known.facts, known.ledger.observed_from, known.peers)
        return features_of(history, self.customer_id, order, as_of)


def bridge_between(
    replayer: Replayer,
    old: Entry,
    new: Entry,
    question: Question | None = None,
    term_days: int | None = None,
) -> dict[str, Any]:
    """Say why the probability moved from one assessment to a later one of the same customer.

    Parameters
    ----------
    replayer : Replayer
    old, new : Entry
        Two assessments.
    question : str, optional
        ``default`` or ``late``; by default the first of them of which both speak.
    term_days : int, optional
        Where the curve is asked; by default 365 days for default, 30 for late.

    Returns
    -------
    dict
        ``from`` and ``to``, ``curve``, ``term_days``, and the fields of the bridge.

    Raises
    ------
    NoBridge
    """
    before, after = _side(replayer, old), _side(replayer, new)
    if before.customer_id != after.customer_id:
        raise NoBridge("the assessments are of two customers")
    if before.known.now > after.known.now:
        raise NoBridge("the second assessment is the earlier one: name it first")
    asked = question or _of_both(before, after)
    _require_spoken(before, after, asked)
    term = TERMS[asked] if term_days is None else term_days
    found = _bridge(before, after, asked, term)
    return {
        "customer_id": before.customer_id,
        "curve": asked,
        "term_days": term,
        "from": before.place,
        "to": after.place,
        **_shown(found),
        "convention_fr": CONVENTION[0],
        "convention_en": CONVENTION[1],
    }


def _bridge(before: _Side, after: _Side, question: Question, term: int) -> Bridge:
    then, now, new_day = before.known, after.known, after.known.as_of
    whole = [
        before.row(then, then.as_of, before.order),
        before.row(then, new_day, before.order),
        before.row(now, new_day, before.order),
        before.row(now, new_day, after.order),
    ]
    for side, row in ((before, whole[0]), (after, whole[-1])):
        if [value.hex() for value in row.tolist()] != side.features:
            raise NoBridge(f"entry {side.entry.sequence} is not what its facts give: replay it")
    old, new = (_bundle(side.known.speaking, question) for side in (before, after))
    rows = [row[: len(old.curve.features)] for row in whole]
    looks = []
    for one in dict.fromkeys((old.sha256, new.sha256)):
        curve = (old if one == old.sha256 else new).curve
        if not curve.shortest <= term <= curve.longest:
            raise NoBridge(f"the curve speaks of {curve.shortest} to {curve.longest} days")
        looks.append(Looks([curve.explain(row, term) for row in rows]))
    return bridge(
        old.curve.features,
        rows,
        looks[0],
        looks[-1],
        other_model=old.sha256 != new.sha256,
        other_policy=before.answer["versions"]["policy"] != after.answer["versions"]["policy"],
    )


def _bundle(speaking: Speaking, question: Question) -> Bundle:
    found = speaking.default if question == "default" else speaking.late
    assert found is not None, "it spoke"  # noqa: S101 (for the type checker)
    return found


def _side(replayer: Replayer, entry: Entry) -> _Side:
    try:
        body = json.loads(entry.body)
        if body["schema"] != SCHEMA_VERSION:
            raise NoBridge(f"entry {entry.sequence} was recorded by an earlier version")
        said = body["answer"]
        parts = (said["order"][name] for name in ("amount", "margin", "terms_days", "paid"))
        order = Order(*(part if isinstance(part, int) else cents(part) for part in parts))
        known = replayer.known(body)
    except (BundleError, InsuranceError, LedgerError, NotReplayable, PolicyError) as error:
        raise NoBridge(f"entry {entry.sequence} cannot be looked at again: {error}") from error
    except (KeyError, ValueError, TypeError) as error:
        raise NoBridge(f"entry {entry.sequence} is damaged ({type(error).__name__})") from error
    return _Side(entry, said, body["evidence"]["features"], known, order)


def _of_both(before: _Side, after: _Side) -> Question:
    for question in TERMS:
        if all(side.answer[question] is not None for side in (before, after)):
            return question
    return "default"  # which says why not


def _require_spoken(before: _Side, after: _Side, question: Question) -> None:
    for side in (before, after):
        if side.answer[question] is None:
            why = side.answer["abstentions"].get(question, {}).get("reason", "it says nothing")
            raise NoBridge(f"the {question} curve does not speak in {side.entry.id}: {why}")


def _shown(found: Bridge) -> dict[str, Any]:
    parts = [
        {**part._asdict(), "moved": [moved._asdict() for moved in part.moved]}
        for part in found.parts
    ]
    return {**vars(found), "parts": parts}
