"""A recorded assessment in words: to a salesperson, to the customer, to an auditor."""

from __future__ import annotations

import json

from fastapi import APIRouter, Request, Response

from serving.access import Guarded, needs
from serving.answer import to_bytes
from serving.deadline import in_time
from serving.evidence import medians
from serving.openapi import ASSESSMENT_ID, problem_responses, told
from serving.opened import Desk
from serving.problems import SLOW_ANSWER, UNKNOWN_ASSESSMENT, WITH_A_KEY
from serving.registers import registers
from serving.routes.assessments import found
from serving.schemas.registers import Registers

WHOLE = ("risk", "auditor")
router = APIRouter(route_class=Guarded)


@router.get(
    "/v1/assessments/{assessment_id}/registers",
    operation_id="registers",
    summary="Read it as told to a salesperson, to the customer and to an auditor",
    description="Three texts of the one recorded answer: a sentence with an action, a letter "
    "without any internal figure, and every contribution with its value and comparison. The last "
    "only for risk and auditor.",
    responses={
        200: {"description": "In French and English.", "content": told(Registers, "registers")},
        **problem_responses(UNKNOWN_ASSESSMENT, SLOW_ANSWER, *WITH_A_KEY),
    },
    openapi_extra=needs("crm", "risk", "auditor", parameters=[ASSESSMENT_ID]),
)
async def _registers(request: Request) -> Response:
    assessment_id = json.loads(await found(request))["id"]
    whole = request.state.key.role in WHOLE

    def tell(desk: Desk) -> bytes:
        opened = desk.get()
        (entry,) = opened.record.find_many([assessment_id])
        body = json.loads(entry.body)
        compared = medians(opened.workspace.bundles, body["answer"]) if whole else None
        return to_bytes(registers(body, compared, whole=whole))

    answer = await in_time(request, tell, request.app.state.desk)
    return Response(answer, media_type="application/json")
