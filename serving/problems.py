"""The catalogue of problems, and how a refusal becomes one (RFC 9457).

Whatever goes wrong is one of these faults: each is in the OpenAPI document by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import Scope

from serving.assess import AssessmentError, NotReady, OrderNeeded, OtherCurrency, UnknownCustomer
from serving.limits import BODY_SECONDS, LONGEST_BODY_BYTES, RETRY_AFTER_SECONDS
from serving.schemas import FieldError, Problem


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
OTHER_CURRENCY = Fault(
    "other-currency",
    422,
    "The order is in another currency",
    "Give exchange_rate, or the amounts in the ledger's currency.",
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


def problem_response(
    scope: Scope, refusal: Refusal, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Answer a request with its problem."""
    wait = {"Retry-After": str(RETRY_AFTER_SECONDS)} if refusal.fault is NOT_READY else {}
    return JSONResponse(
        problem(scope["state"]["request_id"], refusal),
        refusal.fault.status,
        {**wait, **(headers or {})},
        "application/problem+json",
    )


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


async def _not_assessed(request: Request, error: AssessmentError) -> Response:
    fault = FAULTS[type(error)]
    pointed = POINTERS.get(fault)
    errors = () if pointed is None else (pointed,)
    return problem_response(request.scope, Refusal(fault, error.detail, errors))


async def _not_routed(request: Request, error: HTTPException) -> Response:
    fault = WRONG_METHOD if error.status_code == WRONG_METHOD.status else NOT_FOUND
    return problem_response(request.scope, Refusal(fault), error.headers)


HANDLERS: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    Refusal: _refused,
    AssessmentError: _not_assessed,
    HTTPException: _not_routed,
}
