"""Alerts: poll for those that are new, and say that one was seen."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field

from models.alerts_file import SEVERITIES, Severity
from serving import body
from serving.access import Guarded, needs
from serving.alerts import Alert, AlertClosed, UnknownAlert
from serving.answer import to_bytes
from serving.deadline import in_time
from serving.keys import Key
from serving.limits import LONGEST_BODY_BYTES
from serving.once import HEADER, answer_once
from serving.openapi import problem_responses, taken, told
from serving.opened import Desk, Opened
from serving.problems import (
    ALERT_CLOSED,
    ERASED,
    INVALID,
    ONCE,
    SLOW_ANSWER,
    UNKNOWN_ALERT,
    WITH_A_BODY,
    WITH_A_KEY,
    Refusal,
)
from serving.query import LIMIT, Cursor, Limit, Query, asked, parameter
from serving.routes.assessments import UUID, actor
from serving.schemas.alert import AcknowledgementRequest, AlertPage, AlertTold, alert_shown

router = APIRouter(route_class=Guarded)
STATUSES = ("open", "acknowledged", "all")
ALERT_ID = {
    "name": "alert_id",
    "in": "path",
    "required": True,
    "description": "The `id` of the alert.",
    "schema": {"type": "string", "format": "uuid"},
}


class AlertsQuery(Query):
    """Which alerts."""

    status: Literal["open", "acknowledged", "all"] = "open"
    since: Annotated[str | None, Field(pattern=r"^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}:\d{2}Z)?$")] = None
    customer: Annotated[str | None, Field(min_length=1, max_length=128)] = None
    severity: Severity | None = None
    limit: Limit = 50
    cursor: Cursor = "0"

    def keeps(self, alert: Alert, key: Key) -> bool:
        """Tell whether the alert is asked for, and for the caller to see."""
        said = alert.said
        return (
            key.sees(said["customer_id"])
            and self.status in ("all", alert.status)
            and (self.since is None or said["at"] >= self.since)
            and self.customer in (None, said["customer_id"])
            and self.severity in (None, said["severity"])
        )


@router.get(
    "/v1/alerts",
    operation_id="alerts",
    summary="Poll for alerts on customers who degrade",
    description="In the order they were raised. Send `cursor` of the last answer to get what came "
    "since: with `status=all`, every alert exactly once. One that becomes worse is a new alert.",
    responses={
        200: {"description": "A page.", "content": told(AlertPage, "alerts")},
        **problem_responses(INVALID, SLOW_ANSWER, *WITH_A_KEY),
    },
    openapi_extra=needs(
        "crm",
        "risk",
        "auditor",
        parameters=[
            parameter("status", "As it is now.", type="string", enum=STATUSES, default="open"),
            parameter("since", "A day or an instant, UTC.", "2025-03-12", type="string"),
            parameter("customer", "Of this customer only.", "C-17", type="string"),
            parameter("severity", "Of this one only.", type="string", enum=SEVERITIES),
            LIMIT,
            parameter("cursor", "`cursor` of the answer before.", "17", type="string"),
        ],
    ),
)
async def _alerts(request: Request) -> Response:
    query, key = asked(request, AlertsQuery), request.state.key

    def read(desk: Desk) -> bytes:
        alerts = desk.get().alerts
        page = alerts.page(int(query.cursor), query.limit, lambda one: query.keeps(one, key))
        shown = [_shown(one, key) for one in page.alerts]
        return to_bytes({"alerts": shown, "cursor": str(page.reached), "is_last": page.is_last})

    answer = await in_time(request, read, request.app.state.desk)
    return Response(answer, media_type="application/json")


@router.post(
    "/v1/alerts/{alert_id}/acknowledge",
    operation_id="acknowledge",
    summary="Say that an alert was seen",
    description="Who, when and the note go on the record. Sent again it changes nothing.",
    responses={
        200: {"description": "Acknowledged.", "content": told(AlertTold, "alert")},
        **problem_responses(
            *WITH_A_BODY, *ONCE, UNKNOWN_ALERT, ERASED, ALERT_CLOSED, SLOW_ANSWER, *WITH_A_KEY
        ),
    },
    openapi_extra=needs(
        "risk",
        most_bytes=LONGEST_BODY_BYTES,
        requestBody=taken(AcknowledgementRequest, seen={"note": "Called them: paid tomorrow."}),
        parameters=[ALERT_ID, HEADER],
    ),
)
async def _acknowledge(request: Request) -> Response:
    sent = await body.read(request, AcknowledgementRequest)
    key, alert_id = request.state.key, request.path_params["alert_id"]
    if not re.fullmatch(UUID, alert_id):
        raise Refusal(UNKNOWN_ALERT)

    def acknowledge(opened: Opened) -> bytes:
        known = opened.alerts.find(alert_id)
        if known is None or not key.sees(known.said["customer_id"]):
            raise Refusal(UNKNOWN_ALERT)
        try:
            seen = opened.alerts.acknowledge(alert_id, actor(key), sent.asked.note, opened.clock())
        except UnknownAlert:
            raise Refusal(UNKNOWN_ALERT) from None
        except AlertClosed:
            raise Refusal(ALERT_CLOSED) from None
        return to_bytes(_shown(seen, key))

    return await answer_once(
        request, sent.raw, acknowledge, about=lambda answer: str(json.loads(answer)["customer_id"])
    )


def _shown(alert: Alert, key: Key) -> dict[str, Any]:
    return alert_shown(alert, whole=key.role != "crm")
