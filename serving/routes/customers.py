"""A customer now, and the history of his scores."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from serving.access import Guarded, needs
from serving.customers import history, profile
from serving.deadline import in_time
from serving.openapi import problem_responses, told
from serving.opened import Desk
from serving.problems import INVALID, SLOW_ANSWER, UNKNOWN_CUSTOMER, WITH_A_KEY, Refusal
from serving.query import LIMIT, Cursor, Limit, Query, asked, parameter
from serving.schemas.customer import CustomerNow, ScoreHistory

router = APIRouter(route_class=Guarded)
CUSTOMER_ID = {
    "name": "customer_id",
    "in": "path",
    "required": True,
    "description": "The seller's number for the customer.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 128},
    "example": "C-17",
}


class HistoryQuery(Query):
    """Which part of the history."""

    limit: Limit = 50
    before: Cursor | None = None


def customer_in(request: Request) -> str:
    """Return the customer that the path names, if the caller may see him and there can be one."""
    customer_id: str = request.path_params["customer_id"]
    is_an_id = len(customer_id) <= 128 and customer_id.isprintable()
    if not (is_an_id and request.state.key.sees(customer_id)):
        raise Refusal(UNKNOWN_CUSTOMER)
    return customer_id


@router.get(
    "/v1/customers/{customer_id}",
    operation_id="customer",
    summary="Read how a customer stands",
    description="Exposure, limit and cover are of now; the score is the last assessment's.",
    responses={
        200: {"description": "As known now.", "content": told(CustomerNow, "customer")},
        **problem_responses(UNKNOWN_CUSTOMER, SLOW_ANSWER, *WITH_A_KEY),
    },
    openapi_extra=needs("crm", "risk", "auditor", parameters=[CUSTOMER_ID]),
)
async def _customer(request: Request) -> Response:
    customer_id, whole = customer_in(request), request.state.key.role != "crm"

    def read(desk: Desk) -> bytes:
        return profile(desk.get(), customer_id, whole=whole)

    answer = await in_time(request, read, request.app.state.desk)
    return Response(answer, media_type="application/json")


@router.get(
    "/v1/customers/{customer_id}/assessments",
    operation_id="history",
    summary="Read the history of a customer's scores",
    description="Newest first. `before` of one answer gives the next older page; a newer one moves "
    "no page.",
    responses={
        200: {"description": "A page.", "content": told(ScoreHistory, "history")},
        **problem_responses(UNKNOWN_CUSTOMER, INVALID, SLOW_ANSWER, *WITH_A_KEY),
    },
    openapi_extra=needs(
        "crm",
        "risk",
        "auditor",
        parameters=[
            CUSTOMER_ID,
            LIMIT,
            parameter("before", "`before` of the answer before.", "17", type="string"),
        ],
    ),
)
async def _history(request: Request) -> Response:
    customer_id, query = customer_in(request), asked(request, HistoryQuery)
    before = None if query.before is None else int(query.before)

    def read(desk: Desk) -> bytes:
        return history(desk.get(), customer_id, query.limit, before)

    answer = await in_time(request, read, request.app.state.desk)
    return Response(answer, media_type="application/json")
