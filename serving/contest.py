"""The use case: a customer contests an answer, facts are corrected, and it is answered again.

The correction is appended like any other fact: what was known before stays, the new version says
who brought it and why. Then the same order is assessed again, and the record gets an entry that
points to both answers and holds the bridge between them. Cut short after the correction, the same
call again finds it there and goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from pydantic import ValidationError
from uuid_utils import uuid7

from features.ledger import TABLES
from features.store import Store
from models.policy import Order
from serving.answer import to_bytes
from serving.assess import Asking, Assesses
from serving.audit import Entry, Record
from serving.bridging import NoBridge, bridge_between
from serving.covers.rows import JSON
from serving.facts import Push, correct
from serving.keys import Key
from serving.person_key import Erased
from serving.replay import Replayer
from serving.schemas.facts import FactGiven, Facts
from serving.schemas.request import cents

KIND = "contest"
SCHEMA_VERSION = 1
SHORTEST_REASON, LONGEST_REASON = 10, 500


class ContestRefused(Exception):
    """Nothing was corrected; the message says why."""


class Contested(NamedTuple):
    """What is contested.

    Attributes
    ----------
    assessment_id, by, why : str
    file_name : str
    correction : bytes
        JSON as ``POST /v1/facts`` takes it: rows by table, of the customer alone.
    """

    assessment_id: str
    by: str
    why: str
    file_name: str
    correction: bytes


class Contester:
    """Corrects facts and answers again, on one ledger.

    Parameters
    ----------
    store : Store
    record : Record
    assessor : Assesses
    clock : callable
        That of the assessor.
    replayer : Replayer
    """

    def __init__(
        self,
        store: Store,
        record: Record,
        assessor: Assesses,
        clock: Callable[[], datetime],
        replayer: Replayer,
    ) -> None:
        self._store, self._record, self._assessor = store, record, assessor
        self._clock, self._replayer = clock, replayer

    def contest(self, wanted: Contested) -> dict[str, Any]:
        """Correct, answer again and record; give what is on the record, and its place.

        Raises
        ------
        ContestRefused
        """
        try:
            old = self._record.find(wanted.assessment_id)
        except Erased as erased:
            raise ContestRefused(f"the assessment was {erased}") from None
        if old is None or old.kind != "assessment":
            raise ContestRefused("the record has no assessment of that id")
        _require_words(wanted)
        said = json.loads(old.body)["answer"]
        customer_id = said["customer"]["id"]
        corrected = self._correct(wanted, customer_id)
        actor = {"client": "command line", "contest_of": old.id}
        again = self._assessor.assess(customer_id, _order(said), asking=Asking(actor))
        new = self._record.find(json.loads(again)["id"])
        assert new is not None, "it was recorded"  # noqa: S101 (for the type checker)
        return self._put(wanted, old, new, customer_id, corrected)

    def _correct(self, wanted: Contested, customer_id: str) -> dict[str, Any]:
        rows = _rows(wanted.correction)
        name = f"{wanted.file_name}, contest of {wanted.assessment_id} by {wanted.by}: {wanted.why}"
        key = Key("command line", wanted.by, "risk", frozenset([customer_id]), "", "")
        push = Push(rows, key, "", wanted.correction, float("inf"), name)
        answer = correct(self._store, self._clock, push)
        refused = [one for one in answer["results"] if one["status"] == "refused"]
        if refused:
            first = refused[0]
            where = f"{first['table']}/{first['row']}/{first['field'] or ''}"
            took = sum(one["status"] != "refused" for one in answer["results"])
            raise ContestRefused(
                f"{len(refused)} rows cannot be taken, and {took or 'none'} of the others are; "
                f"first {where}: {first['en']}"
            )
        return answer

    def _put(
        self,
        wanted: Contested,
        old: Entry,
        new: Entry,
        customer_id: str,
        corrected: Mapping[str, Any],
    ) -> dict[str, Any]:
        try:
            moved, why_not = bridge_between(self._replayer, old, new), None
        except NoBridge as error:
            moved, why_not = None, str(error)
        id = str(uuid7())
        said = {
            "id": id,
            "customer_id": customer_id,
            "assessment": _place(old),
            "answered_again": _place(new),
            "by": wanted.by,
            "authenticated": False,  # the command line takes names on trust
            "why": wanted.why.strip(),
            "contested_at": f"{self._clock():%Y-%m-%dT%H:%M:%SZ}",
            "correction": {
                "file": wanted.file_name,
                "sha256": hashlib.sha256(wanted.correction).hexdigest(),
                "sequence": corrected["sequence"],
                "counts": corrected["counts"],
            },
            "bridge": moved,
            "no_bridge": why_not,
        }
        entry = self._record.append(id, KIND, to_bytes({"schema": SCHEMA_VERSION, KIND: said}))
        return {KIND: said, "record": {"entry": entry.sequence, "leaf_hash": entry.leaf_hash}}


def _place(entry: Entry) -> dict[str, Any]:
    return {"id": entry.id, "entry": entry.sequence, "leaf_hash": entry.leaf_hash}


def _require_words(wanted: Contested) -> None:
    why = wanted.why.strip()
    if not (SHORTEST_REASON <= len(why) <= LONGEST_REASON and why.isprintable()):
        raise ContestRefused(
            f"the reason must have {SHORTEST_REASON} to {LONGEST_REASON} printable characters"
        )
    if not (0 < len(wanted.by) <= 100 and wanted.by.isprintable()):
        raise ContestRefused("the name must have 1 to 100 printable characters")


def _rows(correction: bytes) -> dict[str, Sequence[FactGiven]]:
    try:
        given = Facts.model_validate(JSON.decode(correction.decode()))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = "/".join(map(str, first["loc"]))
        raise ContestRefused(f"the correction cannot be read: {where}: {first['msg']}") from None
    except (ValueError, RecursionError):
        raise ContestRefused("the correction cannot be read: it is not strict JSON") from None
    rows = {name: getattr(given, name) for name in TABLES}
    if not any(rows.values()):
        raise ContestRefused("the correction holds no row")
    return rows


def _order(said: Mapping[str, Any]) -> Order:
    """Take the very order of the old answer, an assumed one too: another would blur the effect."""
    order = said["order"]
    amount, margin, paid = (cents(order[name]) for name in ("amount", "margin", "paid"))
    return Order(amount, margin, order["terms_days"], paid)
