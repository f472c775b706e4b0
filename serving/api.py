"""The routes: a request, checked strictly, in; recorded bytes, or a problem (RFC 9457), out.

The body is read and parsed here, and not by FastAPI, to refuse what its parser lets through:
duplicate names (the last would win), NaN, other encodings, bodies without end. Nothing that was
sent comes back in an answer or goes to the log.
"""

from __future__ import annotations

import asyncio
import json
import re
import traceback
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeVar
from uuid import uuid4

import structlog
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from pydantic.json_schema import models_json_schema
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.policy import Order
from serving.assess import AssessmentError, NotReady, OrderNeeded, UnknownCustomer
from serving.schemas import (
    ASSESSMENT_EXAMPLE,
    REQUEST_EXAMPLE,
    Assessment,
    AssessmentRequest,
    FieldError,
    Problem,
)

LONGEST_BODY_BYTES = 64 * 1024
BODY_SECONDS = 10.0
ANSWER_SECONDS = 15.0
RETRY_AFTER_SECONDS = 30
THREADS = 8
SECURE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'",
}
UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}

P = ParamSpec("P")
T = TypeVar("T")
router = APIRouter()
log = structlog.get_logger()


class Assesses(Protocol):
    """The use case, as the web needs it; its methods block."""

    def assess(self, customer_id: str, order: Order | None) -> bytes:
        """Return the answer's JSON, already durable."""

    def find(self, assessment_id: str) -> bytes | None:
        """Return the same bytes again, ``None`` when there is no such assessment."""

    def readiness(self) -> str | None:
        """Return ``None`` when ready, else why not."""


class Fault(NamedTuple):
    """A kind of problem: its stable name, its status, and what to do about it."""

    name: str
    status: int
    title: str
    remedy: str


MALFORMED = Fault(
    "malformed-json",
    400,
    "The body is not JSON",
    "Send one JSON object in UTF-8, each name once in an object, no NaN or Infinity.",
)
NOT_FOUND = Fault("not-found", 404, "No such resource", "See /openapi.json for the routes.")
UNKNOWN_CUSTOMER = Fault(
    "unknown-customer", 404, "Unknown customer", "Import the customer, or check its id."
)
UNKNOWN_ASSESSMENT = Fault(
    "unknown-assessment", 404, "Unknown assessment", "Check the id against the answer's."
)
WRONG_METHOD = Fault(
    "method-not-allowed", 405, "Method not allowed", "Use a method of the Allow header."
)
SLOW_BODY = Fault(
    "body-too-slow", 408, "The body did not arrive", f"Send it within {BODY_SECONDS:.0f} seconds."
)
LONG_BODY = Fault(
    "body-too-large",
    413,
    "The body is too large",
    f"Send at most {LONGEST_BODY_BYTES // 1024} KiB.",
)
WRONG_TYPE = Fault(
    "unsupported-media-type",
    415,
    "The body is not announced as JSON",
    "Send Content-Type: application/json, in UTF-8, without Content-Encoding.",
)
INVALID = Fault(
    "invalid-request", 422, "The request is not valid", "Correct the fields that errors points to."
)
ORDER_NEEDED = Fault("order-needed", 422, "An order is needed", "Give an order.")
INTERNAL = Fault(
    "internal-error",
    500,
    "The service failed",
    "Try again; if it fails again, give the request_id to whoever runs the service.",
)
NOT_READY = Fault(
    "not-ready", 503, "The service is not ready", "Try again after Retry-After seconds."
)
SLOW_ANSWER = Fault(
    "answer-too-slow",
    504,
    "The answer took too long",
    "Ask again; the assessment that was too slow may still be recorded.",
)
ANY_ROUTE = (NOT_FOUND, WRONG_METHOD, INTERNAL)
FAULTS: Mapping[type[AssessmentError], Fault] = {
    UnknownCustomer: UNKNOWN_CUSTOMER,
    OrderNeeded: ORDER_NEEDED,
    NotReady: NOT_READY,
}


@dataclass(eq=False)  # exceptions are hashed
class Refusal(Exception):
    """A request that gets a problem for an answer; `detail` None gives the fault's remedy."""

    fault: Fault
    detail: str | None = None
    errors: tuple[FieldError, ...] = ()


def _problem(
    scope: Scope, refusal: Refusal, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    wait = {"Retry-After": str(RETRY_AFTER_SECONDS)} if refusal.fault is NOT_READY else {}
    return JSONResponse(
        _described(scope["state"]["request_id"], refusal),
        refusal.fault.status,
        {**wait, **(headers or {})},
        "application/problem+json",
    )


def _described(request_id: str, refusal: Refusal) -> dict[str, Any]:
    fault = refusal.fault
    return Problem(
        type=f"/problems/{fault.name}",
        title=fault.title,
        status=fault.status,
        detail=refusal.detail or fault.remedy,
        request_id=request_id,
        errors=list(refusal.errors) or None,
    ).model_dump(exclude_none=True)


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
        exception_handlers={
            Refusal: _refused,
            AssessmentError: _not_assessed,
            HTTPException: _not_routed,
        },
    )
    app.state.assessor = assessor
    app.state.answer_seconds = answer_seconds
    app.state.threads = ThreadPoolExecutor(THREADS, "assess")
    app.include_router(router)
    app.add_middleware(Envelope)
    return app


# Routes and their description.


def _content(media_type: str, model: type[Any], examples: Mapping[str, Any]) -> dict[str, Any]:
    return {
        media_type: {
            "schema": {"$ref": f"#/components/schemas/{model.__name__}"},
            "examples": examples,
        }
    }


def _problems(*faults: Fault) -> dict[int | str, dict[str, Any]]:
    """Describe the problems that a route answers, one response a status."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for fault in faults:
        alike = [other for other in faults if other.status == fault.status]
        examples = {other.name: {"value": _example(other)} for other in alike}
        by_status[fault.status] = {
            "description": ", or ".join(f"{other.title} (`{other.name}`)" for other in alike),
            "headers": _RETRY_AFTER if fault is NOT_READY else {},
            "content": _content("application/problem+json", Problem, examples),
        }
    return by_status


def _example(fault: Fault) -> dict[str, Any]:
    errors = {
        INVALID: (FieldError(pointer="/order/amount", detail="must be > 0"),),
        ORDER_NEEDED: (FieldError(pointer="/order", detail="is required"),),
    }
    return _described(
        "0123456789abcdef0123456789abcdef", Refusal(fault, None, errors.get(fault, ()))
    )


def _header(description: str, kind: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": kind}}


_RETRY_AFTER = {"Retry-After": _header("Seconds to wait.", "integer")}
_ASSESSED = _content(
    "application/json", Assessment, {"deposit": {"$ref": "#/components/examples/assessment"}}
)
_BODY = {
    "required": True,
    "description": f"At most {LONGEST_BODY_BYTES // 1024} KiB of UTF-8, each name once an object.",
    "content": _content(
        "application/json",
        AssessmentRequest,
        {
            "order": {"value": REQUEST_EXAMPLE},
            "usual_order": {"value": {"customer": {"id": "C-17"}}},
        },
    ),
}
_ID = {
    "name": "assessment_id",
    "in": "path",
    "required": True,
    "description": "The `id` of the answer.",
    "schema": {"type": "string", "format": "uuid"},
}


@router.post(
    "/v1/assessments",
    operation_id="assess",
    summary="Assess a customer's order",
    description="Assesses, records, then answers. Each call makes an assessment of its own.",
    status_code=201,
    responses={
        201: {
            "description": "Assessed and recorded.",
            "headers": {"Location": _header("Where it can be read again.", "string")},
            "content": _ASSESSED,
        },
        **_problems(
            MALFORMED,
            UNKNOWN_CUSTOMER,
            SLOW_BODY,
            LONG_BODY,
            WRONG_TYPE,
            INVALID,
            ORDER_NEEDED,
            NOT_READY,
            SLOW_ANSWER,
            *ANY_ROUTE,
        ),
    },
    openapi_extra={"requestBody": _BODY},
)
async def _assess(request: Request) -> Response:
    asked = _checked(_parsed(await _body(request)))
    order = None if asked.order is None else asked.order.in_cents()
    assessor: Assesses = request.app.state.assessor
    answer = await _in_time(request, assessor.assess, asked.customer.id, order)
    location = f"/v1/assessments/{json.loads(answer)['id']}"
    return Response(answer, 201, {"Location": location}, "application/json")


@router.get(
    "/v1/assessments/{assessment_id}",
    operation_id="find",
    summary="Read an assessment again",
    description="Answers the same bytes as when it was made.",
    responses={
        200: {"description": "As it was answered.", "content": _ASSESSED},
        **_problems(UNKNOWN_ASSESSMENT, NOT_READY, SLOW_ANSWER, *ANY_ROUTE),
    },
    openapi_extra={"parameters": [_ID]},
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
    responses={200: {"description": "The routes."}, **_problems(*ANY_ROUTE)},
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
    responses={200: {"description": "This document."}, **_problems(*ANY_ROUTE)},
)
async def _describe(request: Request) -> Response:
    return JSONResponse(request.app.openapi())


class Api(FastAPI):
    """FastAPI, with the components that our own parsing and raw answers keep from it."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI 3.1 document."""
        if self.openapi_schema is None:
            document = get_openapi(
                title=self.title,
                version=self.version,
                description=self.description,
                routes=self.routes,
            )
            self.openapi_schema = document | {"components": _components()}
        return self.openapi_schema


def _components() -> dict[str, Any]:
    """Describe bodies; the example stands here because FastAPI drops nulls from a route's."""
    _, schemas = models_json_schema(
        [(model, "validation") for model in (AssessmentRequest, Assessment, Problem)],
        ref_template="#/components/schemas/{model}",
    )
    return {"schemas": schemas["$defs"], "examples": {"assessment": {"value": ASSESSMENT_EXAMPLE}}}


# From the body to a checked request.


async def _body(request: Request) -> bytes:
    """Read the body, what is not JSON refused before, what is too long while reading."""
    if not _announces_json(request.headers):
        raise Refusal(WRONG_TYPE)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > LONGEST_BODY_BYTES:
                    raise Refusal(LONG_BODY)
    except TimeoutError:
        raise Refusal(SLOW_BODY) from None
    except ClientDisconnect:
        raise Refusal(MALFORMED) from None
    return bytes(body)


def _announces_json(headers: Headers) -> bool:
    media_type, _, parameters = headers.get("content-type", "").lower().partition(";")
    in_utf_8 = parameters.replace(" ", "").replace('"', "") in {"", "charset=utf-8"}
    return (
        media_type.strip() == "application/json"
        and in_utf_8
        and headers.get("content-encoding", "identity") == "identity"
    )


def _parsed(body: bytes) -> object:
    """Parse JSON (RFC 8259), with each name once in an object."""
    try:
        return json.loads(body.decode(), object_pairs_hook=_unique, parse_constant=_no_number)
    except (ValueError, RecursionError):  # not UTF-8, not JSON, 5,000 digits; too many brackets
        raise Refusal(MALFORMED) from None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    by_name = dict(pairs)
    if len(by_name) < len(pairs):
        raise ValueError("a name appears twice")
    return by_name


def _no_number(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _checked(content: object) -> AssessmentRequest:
    try:
        return AssessmentRequest.model_validate(content)
    except ValidationError as error:
        found = [_field_error(one["type"], one["loc"], one["msg"]) for one in error.errors()]
        unique = {(one.pointer, one.detail): one for one in found}
        raise Refusal(INVALID, errors=tuple(unique.values())) from None


PLAIN_WORDS = {
    "missing": "is required",
    "model_type": "must be an object",
    "string_type": "must be a string",
    "string_unicode": "must be valid Unicode",
    "string_pattern_mismatch": 'must be money as a string, at most two decimals, as "20000.00"',
    "int_type": "must be a whole number",
}


def _field_error(kind: str, place: Iterable[int | str], message: str) -> FieldError:
    """Say what is wrong with a field; the name of an unknown one is input, and left out."""
    names = [str(name) for name in place]
    if kind == "extra_forbidden":
        names, message = names[:-1], "has an unknown field; see /openapi.json"
    pointer = "".join(f"/{name}" for name in names)
    return FieldError(pointer=pointer, detail=PLAIN_WORDS.get(kind, message))


# From the use case to an answer.


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


async def _refused(request: Request, refusal: Refusal) -> Response:
    return _problem(request.scope, refusal)


async def _not_assessed(request: Request, error: AssessmentError) -> Response:
    fault = FAULTS[type(error)]
    pointed = (FieldError(pointer="/order", detail="is required"),) if fault is ORDER_NEEDED else ()
    return _problem(request.scope, Refusal(fault, error.detail, pointed))


async def _not_routed(request: Request, error: HTTPException) -> Response:
    fault = WRONG_METHOD if error.status_code == WRONG_METHOD.status else NOT_FOUND
    return _problem(request.scope, Refusal(fault), error.headers)


class Envelope:
    """Around each request: its id, secure headers, one log line, and the net for failures.

    A failure must not leave here: servers log it with its message, which may hold customer data,
    and BentoML's time-out waits for an answer that never starts.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = perf_counter(), 0
        request_id = scope.setdefault("state", {})["request_id"] = uuid4().hex

        async def sealed_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.update({**SECURE_HEADERS, "X-Request-Id": request_id})
            await send(message)

        try:
            await self._app(scope, receive, sealed_send)
        except Exception as error:  # noqa: BLE001  the last net, see above
            log.error("request_failed", request_id=request_id, **_without_data(error))
            if not status:
                await _problem(scope, Refusal(INTERNAL))(scope, receive, sealed_send)
        log.info(
            "request",
            method=scope["method"] if scope["method"] in METHODS else "other",
            route=getattr(scope.get("route"), "path", "") or None,  # "": only BentoML's mount
            status=status,
            milliseconds=round((perf_counter() - started) * 1000, 1),
            request_id=request_id,
        )


def _without_data(error: Exception) -> dict[str, str]:
    """Tell a failure's type and place; its message may hold what was sent."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return {"error": type(error).__name__, "at": f"{frame.filename}:{frame.lineno}"}
