"""The routes: a checked request in; recorded bytes, or a problem (RFC 9457), out.

Nothing that was sent comes back in an answer or goes to the log.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, Protocol, TypeVar

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse

from models.policy import Order
from serving import body
from serving.envelope import Envelope
from serving.limits import ANSWER_SECONDS, THREADS
from serving.openapi import ASSESSED, ASSESSMENT_ID, REQUEST_BODY, Api, header, problem_responses
from serving.problems import (
    ANY_ROUTE,
    HANDLERS,
    INVALID,
    LONG_BODY,
    MALFORMED,
    NOT_READY,
    ORDER_NEEDED,
    OTHER_CURRENCY,
    SLOW_ANSWER,
    SLOW_BODY,
    UNKNOWN_ASSESSMENT,
    UNKNOWN_CUSTOMER,
    WRONG_TYPE,
    Refusal,
)

UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

P = ParamSpec("P")
T = TypeVar("T")
router = APIRouter()


class Assesses(Protocol):
    """The use case, as the web needs it; its methods block."""

    def assess(self, customer_id: str, order: Order | None, currency: str | None = None) -> bytes:
        """Return the answer's JSON, already durable."""

    def find(self, assessment_id: str) -> bytes | None:
        """Return the same bytes again, ``None`` when there is no such assessment."""

    def readiness(self) -> str | None:
        """Return ``None`` when ready, else why not."""


def create_app(assessor: Assesses, answer_seconds: float = ANSWER_SECONDS) -> FastAPI:
    """Build the web application.

    Parameters
    ----------
    assessor : Assesses
    answer_seconds : float
        How long an assessment may take before the caller gets a 504.
    """
    app = Api(
        title="encours",
        version="1",
        description="Assesses orders on trade credit: who pays late, who defaults, and what to do. "
        "Money is a string in units of the ledger's currency, terms are days, probabilities and "
        "rates are 0 to 1. Answers may gain fields. Probes: /livez, and /readyz, which says why "
        "not.",
        openapi_url=None,  # a documented route of ours
        docs_url=None,  # FastAPI's pages load scripts from a CDN
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers=HANDLERS,
    )
    app.state.assessor = assessor
    app.state.answer_seconds = answer_seconds
    app.state.threads = ThreadPoolExecutor(THREADS, "assess")
    app.include_router(router)
    app.add_middleware(Envelope)
    return app


@router.post(
    "/v1/assessments",
    operation_id="assess",
    summary="Assess a customer's order",
    description="Assesses, records, then answers. Each call makes an assessment of its own.",
    status_code=201,
    responses={
        201: {
            "description": "Assessed and recorded.",
            "headers": {"Location": header("Where it can be read again.", "string")},
            "content": ASSESSED,
        },
        **problem_responses(
            MALFORMED,
            UNKNOWN_CUSTOMER,
            SLOW_BODY,
            LONG_BODY,
            WRONG_TYPE,
            INVALID,
            ORDER_NEEDED,
            OTHER_CURRENCY,
            NOT_READY,
            SLOW_ANSWER,
            *ANY_ROUTE,
        ),
    },
    openapi_extra={"requestBody": REQUEST_BODY},
)
async def _assess(request: Request) -> Response:
    asked = await body.read(request)
    order = None if asked.order is None else asked.order.in_cents()
    currency = None if asked.order is None else asked.order.stated_currency
    assessor: Assesses = request.app.state.assessor
    answer = await _in_time(request, assessor.assess, asked.customer.id, order, currency)
    location = f"/v1/assessments/{json.loads(answer)['id']}"
    return Response(answer, 201, {"Location": location}, "application/json")


@router.get(
    "/v1/assessments/{assessment_id}",
    operation_id="find",
    summary="Read an assessment again",
    description="Answers the same bytes as when it was made.",
    responses={
        200: {"description": "As it was answered.", "content": ASSESSED},
        **problem_responses(UNKNOWN_ASSESSMENT, NOT_READY, SLOW_ANSWER, *ANY_ROUTE),
    },
    openapi_extra={"parameters": [ASSESSMENT_ID]},
)
async def _find(request: Request) -> Response:
    assessment_id = request.path_params["assessment_id"]
    if not UUID.fullmatch(assessment_id):
        raise Refusal(UNKNOWN_ASSESSMENT)
    assessor: Assesses = request.app.state.assessor
    answer = await _in_time(request, assessor.find, assessment_id)
    if answer is None:
        raise Refusal(UNKNOWN_ASSESSMENT)
    return Response(answer, media_type="application/json")


@router.get(
    "/",
    operation_id="index",
    summary="Name the routes",
    responses={200: {"description": "The routes."}, **problem_responses(*ANY_ROUTE)},
)
async def _index() -> Response:
    return JSONResponse(
        {
            "service": "encours",
            "assess": "POST /v1/assessments",
            "find": "GET /v1/assessments/{assessment_id}",
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
)
async def _describe(request: Request) -> Response:
    return JSONResponse(request.app.openapi())


async def _in_time(request: Request, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do blocking work in a thread; past the deadline the caller is told, the thread ends alone.

    The pool is our own: a cancelled call gives its place in anyio's back while its thread goes on,
    and a stuck disk would make threads without end.
    """
    state = request.app.state
    pending = partial(work, *args, **kwargs)
    answer = asyncio.get_running_loop().run_in_executor(state.threads, pending)
    done, _ = await asyncio.wait({answer}, timeout=state.answer_seconds)
    if not done:
        answer.cancel()  # if it still waits for a thread, it never starts
        raise Refusal(SLOW_ANSWER)
    return answer.result()
