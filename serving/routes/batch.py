"""Assess many orders in one call."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import APIRouter, Request, Response

from serving import body
from serving.access import Guarded, needs
from serving.assess import Asking, AssessmentError
from serving.assess_many import Problem, Wanted, assess_many
from serving.deadline import in_time
from serving.keys import Key
from serving.limits import (
    BATCH_SECONDS,
    LONGEST_BULK_BYTES,
    MOST_ASSESSED_AT_ONCE,
    MOST_BATCHES,
)
from serving.once import HEADER, alone, once_of
from serving.openapi import content, problem_responses
from serving.opened import Desk
from serving.person_key import Erased
from serving.problems import (
    ERASED,
    ONCE,
    OVERLOADED,
    SLOW_ANSWER,
    UNKNOWN_CUSTOMER,
    WITH_A_BODY,
    WITH_A_KEY,
    Refusal,
    problem,
    refusal_of,
)
from serving.routes.assessments import actor
from serving.schemas.batch import BATCH_REQUEST_EXAMPLE, Batch, BatchRequest
from serving.schemas.request import AssessmentRequest

router = APIRouter(route_class=Guarded)


@router.post(
    "/v1/assessments/batch",
    operation_id="assess_many",
    summary="Assess many orders in one call",
    description=f"At most {MOST_ASSESSED_AT_ONCE:,} items, each answered in its place as a call of "
    "its own would be, all at one instant and by the same models, recorded all together. What is "
    "wrong with one item is said in its place and stops no other. The answer may take up to "
    f"{BATCH_SECONDS:.0f} seconds: send an Idempotency-Key.",
    responses={
        200: {
            "description": "Assessed and recorded, or refused, item by item.",
            "content": content(Batch, {"two": {"$ref": "#/components/examples/batch"}}),
        },
        **problem_responses(*WITH_A_BODY, *ONCE, SLOW_ANSWER, *WITH_A_KEY),
    },
    openapi_extra=needs(
        "crm",
        "risk",
        most_bytes=LONGEST_BULK_BYTES,
        requestBody={
            "required": True,
            "description": f"At most {LONGEST_BULK_BYTES // 2**20} MiB of UTF-8, each name once an "
            "object.",
            "content": content(BatchRequest, {"two": {"value": BATCH_REQUEST_EXAMPLE}}),
        },
        parameters=[HEADER],
    ),
)
async def _assess_many(request: Request) -> Response:
    with _place(request):
        sent = await body.read(request, BatchRequest)
        once = once_of(request, sent.raw)
        request.state.deadline = time.monotonic() + BATCH_SECONDS
        key: Key = request.state.key
        asking = Asking(actor(key), once, request.state.deadline)

        def assess(desk: Desk) -> bytes:
            asked = [_wanted(place, item, key) for place, item in enumerate(sent.asked.items)]
            return assess_many(desk.get(), asked, asking, _problem_of)

        with alone(request, once):
            answer = await in_time(request, assess, request.app.state.desk)
    return Response(answer, media_type="application/json")


@contextmanager
def _place(request: Request) -> Iterator[None]:
    """Hold one of the few places of such calls: beside them single orders are still answered."""
    in_hand: list[object] = request.app.state.batches
    if len(in_hand) >= MOST_BATCHES:
        raise Refusal(OVERLOADED)
    in_hand.append(request)
    try:
        yield
    finally:
        in_hand.remove(request)


def _wanted(place: int, item: object, key: Key) -> Wanted | Problem:
    try:
        asked = body.checked(item, AssessmentRequest)
    except Refusal as refusal:
        return _item_problem(refusal, place)
    if not key.sees(asked.customer.id):
        return _item_problem(Refusal(UNKNOWN_CUSTOMER), place)
    if asked.order is None:
        return Wanted(asked.customer.id, None)
    return Wanted(asked.customer.id, asked.order.in_cents(), asked.order.stated_currency)


def _problem_of(place: int, error: AssessmentError | Erased) -> Problem:
    refusal = Refusal(ERASED) if isinstance(error, Erased) else refusal_of(error)
    return _item_problem(refusal, place)


def _item_problem(refusal: Refusal, place: int) -> Problem:
    said: dict[str, Any] = problem("", refusal)
    del said["request_id"]
    for error in said.get("errors", ()):
        error["pointer"] = f"/items/{place}{error['pointer']}"
    return said
