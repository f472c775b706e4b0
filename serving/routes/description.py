"""What there is: the index and the description of the API. They need no key."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from serving.access import Guarded, needs
from serving.openapi import problem_responses
from serving.problems import ANY_ROUTE

router = APIRouter(route_class=Guarded)


@router.get(
    "/",
    operation_id="index",
    summary="Name the routes",
    responses={200: {"description": "The routes."}, **problem_responses(*ANY_ROUTE)},
    openapi_extra=needs(),
)
async def _index() -> Response:
    return JSONResponse(
        {
            "service": "encours",
            "assess": "POST /v1/assessments",
            "assess_many": "POST /v1/assessments/batch",
            "find": "GET /v1/assessments/{assessment_id}",
            "score_a_portfolio": "POST /v1/jobs",
            "description": "GET /openapi.json",
            "alive": "GET /livez",
            "ready": "GET /readyz",
        }
    )


@router.get(
    "/openapi.json",
    operation_id="describe",
    summary="Describe the API",
    responses={200: {"description": "This document."}, **problem_responses(*ANY_ROUTE)},
    openapi_extra=needs(),
)
async def _describe(request: Request) -> Response:
    return JSONResponse(request.app.openapi())
