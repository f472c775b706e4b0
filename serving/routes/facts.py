"""Push facts: many at once, or one by its table."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from features.ledger import TABLES
from serving import body
from serving.access import Guarded, needs
from serving.answer import to_bytes
from serving.facts import MAY_PUSH, Push, push
from serving.keys import Role
from serving.limits import LONGEST_BODY_BYTES, LONGEST_BULK_BYTES
from serving.once import HEADER, answer_once
from serving.openapi import PUSHED, problem_responses, request_body
from serving.opened import Opened
from serving.problems import (
    FACT_REFUSED,
    FORBIDDEN,
    ONCE,
    SLOW_ANSWER,
    WITH_A_BODY,
    WITH_A_KEY,
    Refusal,
)
from serving.schemas import FieldError
from serving.schemas.facts import FACTS_EXAMPLE, ROW_EXAMPLES, ROWS, FactGiven, Facts

PATHS = {
    "customers": "customers",
    "invoices": "invoices",
    "settlements": "settlements",
    "disputes": "disputes",
    "insurance_covers": "covers",
    "credit_limits": "credit-limits",
    "insolvency_events": "insolvency-events",
    "financial_statements": "financial-statements",
    "orders": "orders",
    "customer_changes": "customer-changes",
}
PROBLEMS = (*WITH_A_BODY, *ONCE, SLOW_ANSWER, *WITH_A_KEY)
router = APIRouter(route_class=Guarded)


@router.post(
    "/v1/facts",
    operation_id="push_facts",
    summary="Push facts",
    description="Adds what is good and says of each row what became of it: look at the refused "
    "ones. Rows may refer to each other in any order. The next assessment counts them. Sent again, "
    "everything is `already_there`. A `crm` key may push "
    f"{', '.join(name for name in TABLES if name in MAY_PUSH['crm'])}.",
    responses={
        200: {"description": "What became of each row.", "content": PUSHED},
        **problem_responses(*PROBLEMS),
    },
    openapi_extra=needs(
        "crm",
        "risk",
        most_bytes=LONGEST_BULK_BYTES,
        requestBody=request_body(Facts, LONGEST_BULK_BYTES, {"facts": {"value": FACTS_EXAMPLE}}),
        parameters=[HEADER],
    ),
)
async def _push_facts(request: Request) -> Response:
    sent = await body.read(request, Facts)
    rows: dict[str, list[FactGiven]] = {name: getattr(sent.asked, name) for name in TABLES}
    demand_may_push(request.state.key.role, rows)
    call = _call(request, rows, sent.raw)

    def work(opened: Opened) -> bytes:
        return to_bytes(push(opened.store, opened.clock, call))

    return await answer_once(request, sent.raw, work)


def demand_may_push(role: Role, rows: Mapping[str, Sequence[FactGiven]]) -> None:
    """Refuse tables that a role may not push."""
    if others := [name for name in TABLES if rows[name] and name not in MAY_PUSH[role]]:
        raise Refusal(FORBIDDEN, f"A key of role {role} may not push {', '.join(others)}.")


def _call(request: Request, rows: Mapping[str, Sequence[FactGiven]], raw: bytes) -> Push:
    state = request.state
    return Push(rows, state.key, state.request_id, raw, state.deadline)


def _push_one(table: str) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    """Make the handler that takes one row of a table."""

    async def handle(request: Request) -> Response:
        sent = await body.read(request, ROWS[table])
        call = _call(request, {table: [sent.asked]}, sent.raw)

        def work(opened: Opened) -> bytes:
            answer = push(opened.store, opened.clock, call)
            _demand_taken(answer["results"][0])
            return to_bytes(answer)

        return await answer_once(request, sent.raw, work)

    return handle


def _demand_taken(result: Mapping[str, Any]) -> None:
    """Refuse the request whose one fact is refused: who looks at the status only has to see it."""
    if result["status"] == "refused":
        pointer = "" if result["field"] is None else f"/{result['field']}"
        error = FieldError(pointer=pointer, detail=result["en"], reason=result["reason"])
        raise Refusal(FACT_REFUSED, errors=(error,))


for _table, _path in PATHS.items():
    _roles: list[Role] = [role for role, tables in MAY_PUSH.items() if _table in tables]
    router.post(
        f"/v1/{_path}",
        operation_id=f"push_{_path.replace('-', '_')}",
        summary=f"Push one of {_path.replace('-', ' ')}",
        description=f"The same as one row of `{_table}` in POST /v1/facts.",
        responses={
            200: {"description": "What became of it.", "content": PUSHED},
            **problem_responses(*PROBLEMS, FACT_REFUSED),
        },
        openapi_extra=needs(
            *_roles,
            most_bytes=LONGEST_BODY_BYTES,
            requestBody=request_body(
                ROWS[_table], LONGEST_BODY_BYTES, {_table: {"value": ROW_EXAMPLES[_table]}}
            ),
            parameters=[HEADER],
        ),
    )(_push_one(_table))
