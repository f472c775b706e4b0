"""What speaks now: models and policy."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from serving import in_charge
from serving.access import Guarded, needs
from serving.deadline import in_time
from serving.openapi import problem_responses, told
from serving.opened import Desk
from serving.problems import SLOW_ANSWER, WITH_A_KEY
from serving.schemas.customer import ModelsTold, PolicyTold

router = APIRouter(route_class=Guarded)


@router.get(
    "/v1/models",
    operation_id="models",
    summary="Read which models speak, and which are scored in their shadow",
    description="Each by the hash that answers name, with what it was trained on and its measures.",
    responses={
        200: {"description": "From their cards.", "content": told(ModelsTold, "models")},
        **problem_responses(SLOW_ANSWER, *WITH_A_KEY),
    },
    openapi_extra=needs("risk", "auditor", "admin"),
)
async def _models(request: Request) -> Response:
    def read(desk: Desk) -> bytes:
        opened = desk.get()
        return in_charge.models(opened.workspace, opened.store.ledger.id)

    answer = await in_time(request, read, request.app.state.desk)
    return Response(answer, media_type="application/json")


@router.get(
    "/v1/policy",
    operation_id="policy",
    summary="Read the policy in force",
    description="The file that every answer since its promotion was decided with.",
    responses={
        200: {"description": "Its file, as JSON.", "content": told(PolicyTold, "policy")},
        **problem_responses(SLOW_ANSWER, *WITH_A_KEY),
    },
    openapi_extra=needs("risk", "auditor", "admin"),
)
async def _policy(request: Request) -> Response:
    def read(desk: Desk) -> bytes:
        return in_charge.policy(desk.get().workspace)

    answer = await in_time(request, read, request.app.state.desk)
    return Response(answer, media_type="application/json")
