"""The use case, many at once: each assessed like a single one, all recorded by one commit.

One instant and one set of champions hold for the whole call. On the record come the assessments,
each an entry of its own, then one entry of kind ``batch`` that names them and keeps why the others
were refused: the call's answer is made of these alone, now and whenever it is asked for again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from uuid_utils import uuid7

from models.policy import Order
from serving.answer import to_bytes, with_its_place
from serving.assess import Asking, Assess, Assessed, AssessmentError, NotReady, nothing_unrecorded
from serving.audit import AnotherRequest, Entry, New, Record, TooLate
from serving.opened import Opened

KIND = "batch"
SCHEMA_VERSION = 1
Problem = dict[str, Any]  # with its ``status``
ProblemOf = Callable[[int, AssessmentError], Problem]


class Wanted(NamedTuple):
    """A customer and the order to decide on, as :meth:`serving.assess.Assessor.assess` takes it."""

    customer_id: str
    order: Order | None
    currency: str | None = None


@nothing_unrecorded()
def assess_many(
    opened: Opened,
    asked: Sequence[Wanted | Problem],
    asking: Asking,
    problem_of: ProblemOf,
) -> bytes:
    """Assess many customers' orders, record them together, then return the answer.

    Parameters
    ----------
    opened : Opened
    asked : sequence of Wanted or Problem
        A request that is refused already keeps its place.
    asking : Asking
        Of the whole call; one that was answered before is answered the same.
    problem_of : callable
        Says why the one at a place is not assessed.

    Returns
    -------
    bytes
        UTF-8 JSON: ``id``, and ``items`` in the order asked.

    Raises
    ------
    NotReady, TooLate, AnotherRequest
        Then nothing is recorded.
    """
    earlier = None if asking.once is None else opened.record.answered(asking.once)
    if earlier is not None:
        return _answer(_batch(earlier), opened.record)
    assess = opened.assessor.at_one_instant(asking)
    outcomes: list[Assessed | Problem] = []
    for place, one in enumerate(asked):
        if time.monotonic() > asking.deadline:
            raise TooLate
        outcomes.append(_outcome(place, one, assess, problem_of))
    made = [one for one in outcomes if isinstance(one, Assessed)]
    entries = opened.record.append_many(
        [*(one.new for one in made), _entry(outcomes, asking)], asking.once, asking.deadline
    )
    if len(entries) > len(made):  # else another call with the same key was faster
        for assessed in made:
            opened.assessor.watch(assessed)
    return _answer(_batch(entries[-1]), opened.record)


def _outcome(
    place: int,
    one: Wanted | Problem,
    assess: Assess,
    problem_of: ProblemOf,
) -> Assessed | Problem:
    if not isinstance(one, Wanted):
        return one
    try:
        return assess(*one)
    except NotReady:
        raise
    except AssessmentError as error:
        return problem_of(place, error)


def _entry(outcomes: Sequence[Assessed | Problem], asking: Asking) -> New:
    id = str(uuid7())
    items = [
        {"assessment": one.new.id} if isinstance(one, Assessed) else {"problem": one}
        for one in outcomes
    ]
    request = None if asking.once is None else asking.once.fingerprint
    said = {"schema": SCHEMA_VERSION, "id": id, "actor": asking.actor, "request": request}
    return New(id, KIND, to_bytes({**said, "items": items}))


def _batch(entry: object) -> dict[str, Any]:
    if not (isinstance(entry, Entry) and entry.kind == KIND):
        raise AnotherRequest
    said: dict[str, Any] = json.loads(entry.body)
    return said


def _answer(batch: dict[str, Any], record: Record) -> bytes:
    """Put the answer together from the record; an assessment keeps its exact bytes."""
    ids = [item["assessment"] for item in batch["items"] if "assessment" in item]
    entries = iter(record.find_many(ids))
    items = [
        b'{"status": 201, "assessment": ' + with_its_place(next(entries)) + b"}"
        if "assessment" in item
        else to_bytes({"status": item["problem"]["status"], "problem": item["problem"]})
        for item in batch["items"]
    ]
    id = to_bytes(batch["id"])
    return b'{"id": ' + id + b', "items": [' + b", ".join(items) + b"]}"
