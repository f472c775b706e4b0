"""Assess an order, and read an assessment again."""

from __future__ import annotations

import json
import re

from fastapi import APIRouter, Request, Response

from features.ledger import TABLES
from serving import body
from serving.access import Guarded, needs
from serving.answer import id_of
from serving.assess import Asking
from serving.deadline import in_time, order_in_time
from serving.facts import MAY_PUSH
from serving.keys import Key
from serving.limits import LONGEST_BODY_BYTES, LONGEST_PROSPECT_BYTES
from serving.once import HEADER, alone, once_of
from serving.openapi import (
    ASSESSED,
    ASSESSMENT_ID,
    ASSESSMENT_REQUEST,
    PROSPECT_REQUEST,
    header,
    problem_responses,
)
from serving.opened import Desk
from serving.person_key import Erased
from serving.problems import (
    ERASED,
    FACT_REFUSED,
    FORBIDDEN,
    KNOWN_CUSTOMER,
    ONCE,
    ORDER_NEEDED,
    OTHER_CURRENCY,
    SLOW_ANSWER,
    UNKNOWN_ASSESSMENT,
    UNKNOWN_CUSTOMER,
    WITH_A_BODY,
    WITH_A_KEY,
    Refusal,
)
from serving.prospects import Prospect
from serving.routes.facts import demand_may_push
from serving.schemas import AssessmentRequest, OrderGiven
from serving.schemas.prospect import ProspectRequest

UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_RECORDED = {
    "description": "Assessed and recorded.",
    "headers": {"Location": header("Where it can be read again.", "string")},
    "content": ASSESSED,
}
router = APIRouter(route_class=Guarded)


@router.post(
    "/v1/assessments",
    operation_id="assess",
    summary="Assess a customer's order",
    description="Assesses, records, then answers. Each call makes an assessment of its own, unless "
    "it has the Idempotency-Key of an earlier one.",
    status_code=201,
    responses={
        201: _RECORDED,
        **problem_responses(
            *WITH_A_BODY,
            *ONCE,
            UNKNOWN_CUSTOMER,
            ERASED,
            ORDER_NEEDED,
            OTHER_CURRENCY,
            SLOW_ANSWER,
            *WITH_A_KEY,
        ),
    },
    openapi_extra=needs(
        "crm",
        "risk",
        most_bytes=LONGEST_BODY_BYTES,
        requestBody=ASSESSMENT_REQUEST,
        parameters=[HEADER],
    ),
)
async def _assess(request: Request) -> Response:
    sent = await body.read(request, AssessmentRequest)
    customer, order = sent.asked.customer, sent.asked.order
    if not request.state.key.sees(customer.id):
        raise Refusal(UNKNOWN_CUSTOMER)
    return await _assessed(request, sent.raw, customer.id, order)


@router.post(
    "/v1/assessments/prospect",
    operation_id="assess_prospect",
    summary="Assess a prospect's order",
    description="Assesses a company that the ledger does not know, by the facts that come with the "
    "order: trade references, what an insurer or a court said, the books of its group. They count "
    "for this assessment alone and stay on the record with it; once it is a customer, push them. "
    "With few facts the curves abstain, and the answer says what would help most. A `crm` key may "
    f"give {', '.join(name for name in TABLES if name in MAY_PUSH['crm'])}; a key for chosen "
    "customers may assess no prospect.",
    status_code=201,
    responses={
        201: _RECORDED,
        **problem_responses(
            *WITH_A_BODY,
            *ONCE,
            KNOWN_CUSTOMER,
            ERASED,
            FACT_REFUSED,
            OTHER_CURRENCY,
            SLOW_ANSWER,
            *WITH_A_KEY,
        ),
    },
    openapi_extra=needs(
        "crm",
        "risk",
        most_bytes=LONGEST_PROSPECT_BYTES,
        requestBody=PROSPECT_REQUEST,
        parameters=[HEADER],
    ),
)
async def _assess_prospect(request: Request) -> Response:
    sent = await body.read(request, ProspectRequest)
    key: Key = request.state.key
    if key.customers is not None:
        raise Refusal(FORBIDDEN, "A key for chosen customers may assess no prospect.")
    rows = {name: getattr(sent.asked.facts, name) for name in TABLES}
    demand_may_push(key.role, rows)
    return await _assessed(request, sent.raw, Prospect.of(rows), sent.asked.order)


async def _assessed(
    request: Request, raw: bytes, customer: str | Prospect, order: OrderGiven | None
) -> Response:
    """Assess in a thread; answer what was recorded."""
    asked = None if order is None else order.in_cents()
    currency = None if order is None else order.stated_currency
    once = once_of(request, raw)
    asking = Asking(actor(request.state.key), once, request.state.deadline)

    desk: Desk = request.app.state.desk

    def assess() -> bytes:
        return desk.get().assessor.assess(customer, asked, currency, asking)

    with alone(request, once):
        answer = await order_in_time(request, assess)
    location = f"/v1/assessments/{id_of(answer)}"
    return Response(answer, 201, {"Location": location}, "application/json")


def actor(key: Key) -> dict[str, str]:
    """Say who asked, for the record."""
    return {"client": key.client, "role": key.role, "key": key.id}


@router.get(
    "/v1/assessments/{assessment_id}",
    operation_id="find",
    summary="Read an assessment again",
    description="Answers the same bytes as when it was made.",
    responses={
        200: {"description": "As it was answered.", "content": ASSESSED},
        **problem_responses(UNKNOWN_ASSESSMENT, ERASED, SLOW_ANSWER, *WITH_A_KEY),
    },
    openapi_extra=needs("crm", "risk", "auditor", parameters=[ASSESSMENT_ID]),
)
async def _find(request: Request) -> Response:
    return Response(await found(request), media_type="application/json")


async def found(request: Request) -> bytes:
    """Return the assessment that the path names, if the caller may see its customer."""
    assessment_id = request.path_params["assessment_id"]
    if not UUID.fullmatch(assessment_id):
        raise Refusal(UNKNOWN_ASSESSMENT)

    def find(desk: Desk) -> bytes | None:
        return desk.get().assessor.find(assessment_id)

    key: Key = request.state.key
    try:
        answer = await in_time(request, find, request.app.state.desk)
    except Erased:
        raise Refusal(ERASED if key.customers is None else UNKNOWN_ASSESSMENT) from None
    if answer is None or not (
        key.customers is None or key.sees(json.loads(answer)["customer"]["id"])
    ):
        raise Refusal(UNKNOWN_ASSESSMENT)
    return answer
