"""Everything about a recorded assessment, as one page to read or keep."""

from __future__ import annotations

import json
import time
from typing import Literal

from fastapi import APIRouter, Request, Response

from serving import query
from serving.access import Guarded, needs
from serving.deadline import in_time
from serving.evidence import NotEvident, gather
from serving.evidence_page import content_security_policy, render
from serving.openapi import ASSESSMENT_ID, problem_responses
from serving.opened import Desk
from serving.problems import INVALID, SLOW_ANSWER, UNKNOWN_ASSESSMENT, WITH_A_KEY, Refusal
from serving.routes.assessments import found

router = APIRouter(route_class=Guarded)


class _Asked(query.Query):
    language: Literal["fr", "en"] = "fr"


@router.get(
    "/v1/assessments/{assessment_id}/evidence",
    response_class=Response,
    operation_id="evidence",
    summary="Read everything about it: a page that stands alone, with its proof",
    description="Answer, reasons, data, models, policy, insurer, decisions of people and the proof "
    "for docs/verify.py: one HTML file without scripts. `encours audit evidence` writes it too, as "
    "PDF as well, and makes the answer again first.",
    responses={
        200: {"description": "The page.", "content": {"text/html": {"schema": {"type": "string"}}}},
        **problem_responses(INVALID, UNKNOWN_ASSESSMENT, SLOW_ANSWER, *WITH_A_KEY),
    },
    openapi_extra=needs(
        "risk",
        "auditor",
        parameters=[
            ASSESSMENT_ID,
            query.parameter(
                "language", "Of the page.", "fr", type="string", enum=["fr", "en"], default="fr"
            ),
        ],
    ),
)
async def _evidence(request: Request) -> Response:
    language = query.asked(request, _Asked).language
    assessment_id = json.loads(await found(request))["id"]

    def tell(desk: Desk) -> str:
        opened = desk.get()
        (entry,) = opened.record.find_many([assessment_id])
        return render(gather(opened.workspace, None, entry), language, time.time_ns() // 1000)

    try:
        page = await in_time(request, tell, request.app.state.desk)
    except NotEvident:
        raise Refusal(UNKNOWN_ASSESSMENT) from None
    policy = f"{content_security_policy()}; frame-ancestors 'none'"
    return Response(page, headers={"Content-Security-Policy": policy}, media_type="text/html")
