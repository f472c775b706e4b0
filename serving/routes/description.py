"""What there is: the index and the description of the API. They need no key."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from serving.access import Guarded, needs
from serving.contract import operations
from serving.openapi import problem_responses
from serving.openapi_3_0 import down
from serving.problems import ANY_ROUTE

router = APIRouter(route_class=Guarded)


def _answers(description: str, schema: dict[str, Any], example: object) -> dict[int | str, Any]:
    """Describe an answer in JSON, and the problems of a route that anyone may call."""
    content = {"application/json": {"schema": schema, "example": example}}
    return {
        200: {"description": description, "content": content},
        **problem_responses(*ANY_ROUTE),
    }


def _document(version: str) -> dict[int | str, Any]:
    return _answers(
        "This document.",
        {"type": "object", "description": f"OpenAPI {version}."},
        {"openapi": version, "info": {"title": "encours", "version": "1"}, "paths": {}},
    )


@router.get(
    "/",
    operation_id="index",
    summary="Name the routes",
    description="One name a route, with its method and path.",
    responses=_answers(
        "The routes.",
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"service": "encours", "assess": "POST /v1/assessments", "ready": "GET /readyz"},
    ),
    openapi_extra=needs(),
)
async def _index(request: Request) -> Response:
    routes = {
        operation["operationId"]: f"{method.upper()} {path}"
        for path, method, operation in operations(request.app.openapi())
    }
    probes = {"alive": "GET /livez", "ready": "GET /readyz"}
    return JSONResponse({"service": "encours", **routes, **probes})


@router.get(
    "/openapi.json",
    operation_id="describe",
    summary="Describe the API",
    description="As OpenAPI 3.1.",
    responses=_document("3.1.0"),
    openapi_extra=needs(),
)
async def _describe(request: Request) -> Response:
    return JSONResponse(request.app.openapi())


@router.get(
    "/openapi-3.0.json",
    operation_id="describe_3_0",
    summary="Describe the API to tools that read no OpenAPI 3.1",
    description="The same contract as OpenAPI 3.0.3, which most CRMs import.",
    responses=_document("3.0.3"),
    openapi_extra=needs(),
)
async def _describe_3_0(request: Request) -> Response:
    return JSONResponse(down(request.app.openapi()))
