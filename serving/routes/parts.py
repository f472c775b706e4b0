"""The parts of a recorded assessment, with the same values: why, and what was weighed."""

from __future__ import annotations

import json

from fastapi import APIRouter, Request, Response

from serving.access import Guarded, needs
from serving.answer import to_bytes
from serving.customers import explanation_of, options_of
from serving.openapi import ASSESSMENT_ID, problem_responses, told
from serving.problems import ERASED, SLOW_ANSWER, UNKNOWN_ASSESSMENT, WITH_A_KEY
from serving.routes.assessments import found
from serving.schemas.customer import ExplanationTold, OptionsTold

router = APIRouter(route_class=Guarded)
FAULTS = problem_responses(UNKNOWN_ASSESSMENT, ERASED, SLOW_ANSWER, *WITH_A_KEY)


@router.get(
    "/v1/assessments/{assessment_id}/explanation",
    operation_id="explain",
    summary="Read why: probabilities and the reasons that add up to them",
    description="The part of the recorded answer that explains it, with the same values.",
    responses={
        200: {"description": "As recorded.", "content": told(ExplanationTold, "explanation")},
        **FAULTS,
    },
    openapi_extra=needs("crm", "risk", "auditor", parameters=[ASSESSMENT_ID]),
)
async def _explanation(request: Request) -> Response:
    answer = json.loads(await found(request))
    return Response(to_bytes(explanation_of(answer)), media_type="application/json")


@router.get(
    "/v1/assessments/{assessment_id}/options",
    operation_id="options",
    summary="Read what was weighed: options with their expected profit, limit, rules",
    description="The part of the recorded answer that the decision was taken on, with the same "
    "values.",
    responses={
        200: {"description": "As recorded.", "content": told(OptionsTold, "options")},
        **FAULTS,
    },
    openapi_extra=needs("crm", "risk", "auditor", parameters=[ASSESSMENT_ID]),
)
async def _options(request: Request) -> Response:
    answer = json.loads(await found(request))
    return Response(to_bytes(options_of(answer)), media_type="application/json")
