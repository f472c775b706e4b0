"""A person decides otherwise than the policy; an API key's client is the person."""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import Field

from models.bundle import BundleError
from models.policy import PolicyError
from serving import body
from serving.access import Guarded, needs
from serving.answer import to_bytes
from serving.assess import Asking, NotReady
from serving.deadline import in_time
from serving.limits import LONGEST_BODY_BYTES
from serving.once import HEADER, alone, once_of
from serving.openapi import ASSESSMENT_ID, problem_responses, taken, told
from serving.opened import Desk, Opened
from serving.override import (
    Overrider,
    OverrideRefused,
    UnknownPerson,
    Wanted,
    policy_in_charge,
    with_its_place,
)
from serving.overrides import KIND
from serving.people import FILE_NAME, PeopleError, load
from serving.problems import (
    ERASED,
    INVALID,
    NOT_A_PERSON,
    ONCE,
    OVERRIDE_REFUSED,
    SLOW_ANSWER,
    UNKNOWN_ASSESSMENT,
    WITH_A_BODY,
    WITH_A_KEY,
    Refusal,
)
from serving.query import LIMIT, Cursor, Limit, Query, asked, parameter
from serving.routes.assessments import actor, found
from serving.schemas.override import OverridePage, OverrideRequest, OverrideTold

router = APIRouter(route_class=Guarded)
EXAMPLE = {
    "action": "deposit",
    "deposit_rate": 0.2,
    "reason": "The parent company guarantees the order.",
    "until": "2026-12-31",
}


class OverridesQuery(Query):
    """Which decisions."""

    customer: Annotated[str | None, Field(min_length=1, max_length=128)] = None
    limit: Limit = 50
    cursor: Cursor = "0"


@router.post(
    "/v1/assessments/{assessment_id}/override",
    operation_id="override",
    summary="Decide otherwise than the policy about an assessed order",
    description="Who decides is the key's client, by the role that people.yaml gives that name; "
    "the policy says what the role may decide. What exceeds its mandate is for another person, "
    "with a larger one. See docs/overrides.md.",
    status_code=201,
    responses={
        201: {"description": "Decided and recorded.", "content": told(OverrideTold, "override")},
        **problem_responses(
            *WITH_A_BODY,
            *ONCE,
            UNKNOWN_ASSESSMENT,
            ERASED,
            NOT_A_PERSON,
            OVERRIDE_REFUSED,
            SLOW_ANSWER,
            *WITH_A_KEY,
        ),
    },
    openapi_extra=needs(
        "risk",
        most_bytes=LONGEST_BODY_BYTES,
        requestBody=taken(
            OverrideRequest,
            deposit=EXAMPLE,
            withdraw={"action": "withdraw", "reason": "The guarantee did not come."},
        ),
        parameters=[ASSESSMENT_ID, HEADER],
    ),
)
async def _override(request: Request) -> Response:
    sent = await body.read(request, OverrideRequest)
    await found(request)
    key, once = request.state.key, once_of(request, sent.raw)
    asking = Asking(actor(key), once, request.state.deadline)
    wanted = sent.asked.wanted(request.path_params["assessment_id"], key.client)

    def decide(desk: Desk) -> bytes:
        return _decided(desk.get(), wanted, asking)

    with alone(request, once):
        answer = await in_time(request, decide, request.app.state.desk)
    return Response(answer, 201, media_type="application/json")


def _decided(opened: Opened, wanted: Wanted, asking: Asking) -> bytes:
    try:
        people = load(opened.workspace.home / FILE_NAME)
        policy = policy_in_charge(opened.workspace)
        overrider = Overrider(opened.store, opened.record, policy, people, opened.clock)
        return overrider.decide(wanted, asking)
    except PeopleError as error:
        said = "There is no people.yaml that can be used: it says who has which role."
        raise Refusal(NOT_A_PERSON, said) from error
    except UnknownPerson as refused:
        raise Refusal(NOT_A_PERSON, str(refused)) from None
    except OverrideRefused as refused:
        raise Refusal(OVERRIDE_REFUSED, str(refused)) from None
    except (BundleError, PolicyError) as error:
        raise NotReady(f"No policy can be used: {error}.") from error


@router.get(
    "/v1/overrides",
    operation_id="overrides",
    summary="Read what people decided otherwise than the policy",
    description="In the order of the record, withdrawals included, with who and why.",
    responses={
        200: {"description": "A page.", "content": told(OverridePage, "overrides")},
        **problem_responses(INVALID, SLOW_ANSWER, *WITH_A_KEY),
    },
    openapi_extra=needs(
        "risk",
        "auditor",
        parameters=[
            parameter("customer", "Of this customer only.", "C-17", type="string"),
            LIMIT,
            parameter("cursor", "`cursor` of the answer before.", "17", type="string"),
        ],
    ),
)
async def _overrides(request: Request) -> Response:
    query, key = asked(request, OverridesQuery), request.state.key

    def read(desk: Desk) -> bytes:
        after = int(query.cursor)
        entries = desk.get().record.after(after, KIND)
        about = [(one, json.loads(one.body)["override"]["customer_id"]) for one in entries]
        kept = [
            entry
            for entry, customer in about
            if key.sees(customer) and query.customer in (None, customer)
        ]
        page, is_last = kept[: query.limit], len(kept) <= query.limit
        reached = max([after, *(one.sequence for one in (entries if is_last else page))])
        shown = [json.loads(with_its_place(one)) for one in page]
        return to_bytes({"overrides": shown, "cursor": str(reached), "is_last": is_last})

    answer = await in_time(request, read, request.app.state.desk)
    return Response(answer, media_type="application/json")
