"""The smallest changes that soften the action of an assessment."""

from __future__ import annotations

import structlog
from fastapi import APIRouter, Request, Response

from serving.access import Guarded, needs
from serving.answer import to_bytes
from serving.assess import nothing_unrecorded
from serving.counterfactuals import NoCounterfactuals, counterfactuals
from serving.deadline import in_time
from serving.openapi import ASSESSMENT_ID, problem_responses, told
from serving.opened import Desk
from serving.problems import (
    ERASED,
    NOT_AGAIN,
    SLOW_ANSWER,
    UNKNOWN_ASSESSMENT,
    WITH_A_KEY,
    Refusal,
)
from serving.routes.assessments import found
from serving.schemas.counterfactuals import Counterfactuals

router = APIRouter(route_class=Guarded)
log = structlog.get_logger()


@router.get(
    "/v1/assessments/{assessment_id}/counterfactuals",
    operation_id="counterfactuals",
    summary="Read the smallest changes that soften the action",
    description="A deposit, a smaller order, shorter terms, invoices paid: what a person can do. "
    "Reckoned from what was known at the assessment, with the models and the policy of then; each "
    "change was answered again by them, and softens the action. Not recorded: the same assessment "
    "gives the same changes. See docs/auditing.md.",
    responses={
        200: {
            "description": "What was found, or why nothing was.",
            "content": told(Counterfactuals, "counterfactuals"),
        },
        **problem_responses(UNKNOWN_ASSESSMENT, ERASED, NOT_AGAIN, SLOW_ANSWER, *WITH_A_KEY),
    },
    openapi_extra=needs("crm", "risk", "auditor", parameters=[ASSESSMENT_ID]),
)
async def _counterfactuals(request: Request) -> Response:
    await found(request)
    answer = await in_time(
        request, _of, request.app.state.desk, request.path_params["assessment_id"]
    )
    return Response(answer, media_type="application/json")


@nothing_unrecorded()
def _of(desk: Desk, assessment_id: str) -> bytes:
    opened = desk.get()
    entry = opened.record.find(assessment_id)
    if entry is None:
        raise Refusal(UNKNOWN_ASSESSMENT)
    try:
        return to_bytes(counterfactuals(opened.replayer, entry))
    except NoCounterfactuals as error:
        log.warning("no_counterfactuals", assessment_id=assessment_id, why=str(error))
        raise Refusal(NOT_AGAIN) from None
