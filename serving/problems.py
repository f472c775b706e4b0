"""The catalogue of problems, and how a refusal becomes one (RFC 9457).

Whatever goes wrong is one of these faults: each is in the OpenAPI document by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import structlog
from fastapi import Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.types import Scope

from features.store_database import why
from serving.assess import (
    KNOWN,
    UNKNOWN,
    AssessmentError,
    KnownCustomer,
    NotReady,
    OrderNeeded,
    OtherCurrency,
    UnknownCustomer,
)
from serving.audit import AnotherRequest, TooLate
from serving.limits import BODY_SECONDS, BUSY_SECONDS, MOST_ERRORS, RETRY_AFTER_SECONDS
from serving.person_key import Erased
from serving.prospects import ProspectRefused
from serving.schemas import FieldError, Problem

log = structlog.get_logger()


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
UNAUTHENTICATED = Fault(
    "unauthenticated",
    401,
    "No valid API key",
    "Send Authorization: Bearer and a key of `encours keys create`, neither revoked nor expired.",
)
FORBIDDEN = Fault(
    "forbidden", 403, "The key's role may not do this", "Use a key of a role in x-roles."
)
NOT_FOUND = Fault("not-found", 404, "No such resource", "See /openapi.json for the routes.")
UNKNOWN_CUSTOMER = Fault(
    "unknown-customer",
    404,
    "Unknown customer",
    UNKNOWN,  # the same words of one it may not see
)
KNOWN_CUSTOMER = Fault("known-customer", 409, "The ledger knows this customer", KNOWN)
UNKNOWN_JOB = Fault("unknown-job", 404, "Unknown job", "Check the id against the answer's.")
UNFINISHED_JOB = Fault(
    "job-not-done", 409, "The job has no result", "Read its status: only what is done has a result."
)
UNKNOWN_ASSESSMENT = Fault(
    "unknown-assessment", 404, "Unknown assessment", "Check the id against the answer's."
)
ERASED = Fault(
    "erased",
    410,
    "The data was erased",
    "It was about a natural person whose data was erased: nobody can read it again.",
)
NOT_AGAIN = Fault(
    "not-made-again",
    409,
    "The assessment cannot be made again",
    "`encours audit replay ID` says what it lacks.",
)
UNKNOWN_ALERT = Fault(
    "unknown-alert", 404, "Unknown alert", "Check the id against that of GET /v1/alerts."
)
ALERT_CLOSED = Fault(
    "alert-closed",
    409,
    "The alert is acknowledged already, over, or replaced by a worse one",
    "Read it again: GET /v1/alerts?status=all.",
)
OVERRIDE_REFUSED = Fault(
    "override-refused",
    409,
    "The decision is not taken",
    "See docs/overrides.md: what exceeds a mandate is for a person with a larger one.",
)
NOT_A_PERSON = Fault(
    "not-a-person",
    403,
    "The key's client has no role that may decide",
    "Name the key's client in people.yaml, with a role of the policy's override section.",
)
WRONG_METHOD = Fault(
    "method-not-allowed", 405, "Method not allowed", "Use a method of the Allow header."
)
SLOW_BODY = Fault(
    "body-too-slow", 408, "The body did not arrive", f"Send it within {BODY_SECONDS:.0f} seconds."
)
IN_PROGRESS = Fault(
    "request-in-progress",
    409,
    "The same request is being answered",
    "Try again after Retry-After seconds: the answer will be the same.",
)
LONG_BODY = Fault(
    "body-too-large",
    413,
    "The body is too large",
    "Send at most x-most-body-bytes of the route in /openapi.json.",
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
OTHER_CURRENCY = Fault(
    "other-currency",
    422,
    "The order is in another currency",
    "Give exchange_rate, or the amounts in the ledger's currency.",
)
FACT_REFUSED = Fault(
    "fact-refused",
    422,
    "The fact is refused",
    "Correct what errors points to, or push first what it refers to; nothing was added.",
)
KEY_REUSED = Fault(
    "idempotency-key-reused",
    422,
    "The Idempotency-Key was used for another request",
    "Use a new key for a new request; the same key asks for the same answer.",
)
BAD_KEY = Fault(
    "invalid-idempotency-key",
    400,
    "The Idempotency-Key is not valid",
    "Send 1 to 128 printable ASCII characters, a UUID for instance.",
)
TOO_MANY_CALLS = Fault(
    "too-many-calls",
    429,
    "Too many calls with this key",
    "Try again after Retry-After seconds, or ask for a key that may make more.",
)
INTERNAL = Fault(
    "internal-error",
    500,
    "The service failed",
    "Try again; if it fails again, give the request_id to whoever runs the service.",
)
NOT_READY = Fault(
    "not-ready", 503, "The service is not ready", "Try again after Retry-After seconds."
)
OVERLOADED = Fault(
    "overloaded", 503, "The service has enough to do", "Try again after Retry-After seconds."
)
SLOW_ANSWER = Fault(
    "answer-too-slow",
    504,
    "The answer took too long",
    "Ask again, with the same Idempotency-Key: should it have been recorded after all, you get it.",
)
ANY_ROUTE = (NOT_FOUND, WRONG_METHOD, INTERNAL)
WITH_A_KEY = (UNAUTHENTICATED, FORBIDDEN, TOO_MANY_CALLS, OVERLOADED, NOT_READY, *ANY_ROUTE)
WITH_A_BODY = (MALFORMED, SLOW_BODY, LONG_BODY, WRONG_TYPE, INVALID)
ONCE = (BAD_KEY, IN_PROGRESS, KEY_REUSED)
WAITS = {NOT_READY: RETRY_AFTER_SECONDS, OVERLOADED: BUSY_SECONDS, IN_PROGRESS: BUSY_SECONDS}
FAULTS: Mapping[type[AssessmentError], Fault] = {
    UnknownCustomer: UNKNOWN_CUSTOMER,
    KnownCustomer: KNOWN_CUSTOMER,
    ProspectRefused: FACT_REFUSED,
    OrderNeeded: ORDER_NEEDED,
    OtherCurrency: OTHER_CURRENCY,
    NotReady: NOT_READY,
}

POINTERS: Mapping[Fault, FieldError] = {
    ORDER_NEEDED: FieldError(pointer="/order", detail="is required"),
    OTHER_CURRENCY: FieldError(pointer="/order/exchange_rate", detail="is required"),
}


@dataclass(eq=False)  # exceptions are hashed
class Refusal(Exception):
    """A request that gets a problem for an answer; `detail` None gives the fault's remedy."""

    fault: Fault
    detail: str | None = None
    errors: tuple[FieldError, ...] = ()
    retry_after: int | None = None  # seconds; None is the fault's own wait, if it has one


def problem_response(
    scope: Scope, refusal: Refusal, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Answer a request with its problem."""
    return JSONResponse(
        problem(scope["state"]["request_id"], refusal),
        refusal.fault.status,
        {**_headers(refusal), **(headers or {})},
        "application/problem+json",
    )


def _headers(refusal: Refusal) -> dict[str, str]:
    wait = refusal.retry_after or WAITS.get(refusal.fault)
    headers = {} if wait is None else {"Retry-After": str(wait)}
    if refusal.fault is UNAUTHENTICATED:
        headers["WWW-Authenticate"] = 'Bearer realm="encours"'
    return headers


def problem(request_id: str, refusal: Refusal) -> dict[str, Any]:
    """Put a refusal in the words of RFC 9457."""
    fault = refusal.fault
    return Problem(
        type=f"/problems/{fault.name}",
        title=fault.title,
        status=fault.status,
        detail=refusal.detail or fault.remedy,
        request_id=request_id,
        errors=list(refusal.errors) or None,
    ).model_dump(exclude_none=True)


async def _refused(request: Request, refusal: Refusal) -> Response:
    return problem_response(request.scope, refusal)


def refusal_of(error: AssessmentError) -> Refusal:
    """Say why there is no assessment."""
    fault = FAULTS[type(error)]
    if isinstance(error, ProspectRefused):
        return Refusal(fault, error.detail, _pointed_out(error))
    pointed = POINTERS.get(fault)
    return Refusal(fault, error.detail, () if pointed is None else (pointed,))


def _pointed_out(error: ProspectRefused) -> tuple[FieldError, ...]:
    return tuple(
        FieldError(pointer=one.pointer, detail=one.words.en, reason=one.reason)
        for one in error.faults[:MOST_ERRORS]
    )


async def _not_assessed(request: Request, error: AssessmentError) -> Response:
    return problem_response(request.scope, refusal_of(error))


async def _too_late(request: Request, _error: TooLate) -> Response:
    return problem_response(request.scope, Refusal(SLOW_ANSWER))


async def _key_reused(request: Request, _error: AnotherRequest) -> Response:
    return problem_response(request.scope, Refusal(KEY_REUSED))


async def _erased(request: Request, _error: Erased) -> Response:
    return problem_response(request.scope, Refusal(ERASED))


async def _database_failed(request: Request, error: SQLAlchemyError) -> Response:
    """Refuse when a database fails; its message may hold customer data and goes nowhere."""
    log.error("database_failed", error=type(error).__name__, why=why(error))
    said = f"A database cannot be used now ({why(error)})."
    return problem_response(request.scope, Refusal(NOT_READY, said))


async def _not_routed(request: Request, error: HTTPException) -> Response:
    fault = WRONG_METHOD if error.status_code == WRONG_METHOD.status else NOT_FOUND
    return problem_response(request.scope, Refusal(fault), error.headers)


HANDLERS: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    Refusal: _refused,
    AssessmentError: _not_assessed,
    HTTPException: _not_routed,
    TooLate: _too_late,
    AnotherRequest: _key_reused,
    Erased: _erased,
    SQLAlchemyError: _database_failed,
}


async def answered(
    request: Request, handle: Callable[[Request], Coroutine[Any, Any, Response]]
) -> Response:
    """Answer a request, or say what is wrong; what nobody foresaw is raised."""
    try:
        return await handle(request)
    except Exception as error:
        say = next((HANDLERS[kind] for kind in type(error).__mro__ if kind in HANDLERS), None)
        if say is None:
            raise
        return await say(request, error)
