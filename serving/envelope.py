"""Around each request: its id, secure headers, one log line, and the net for failures."""

from __future__ import annotations

import traceback
from time import perf_counter
from uuid import uuid4

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.deadline import Spent
from serving.problems import INTERNAL, Refusal, problem_response

SECURE_HEADERS = {  # of every answer; the pages for people say their own policy of content
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",  # and no CORS header: no other site reads it
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}

log = structlog.get_logger()


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
        state = scope.setdefault("state", {})
        request_id = state["request_id"] = uuid4().hex
        spent = state["spent"] = Spent()

        async def sealed_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, said in SECURE_HEADERS.items():
                    headers.setdefault(name, said)
                headers["X-Request-Id"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, sealed_send)
        except Exception as error:  # noqa: BLE001  the last net, see above
            log.error("request_failed", request_id=request_id, **_without_data(error))
            if not status:
                await problem_response(scope, Refusal(INTERNAL))(scope, receive, sealed_send)
        log.info(
            "request",
            method=scope["method"] if scope["method"] in METHODS else "other",
            route=getattr(scope.get("route"), "path", "") or None,  # "": only BentoML's mount
            status=status,
            milliseconds=_milliseconds(perf_counter() - started),
            waiting_milliseconds=_milliseconds(spent.waiting),
            work_milliseconds=_milliseconds(spent.work),
            key=state["key"].id if "key" in state else None,
            request_id=request_id,
        )


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 1)


def _without_data(error: Exception) -> dict[str, str]:
    """Tell a failure's type and place; its message may hold what was sent."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return {"error": type(error).__name__, "at": f"{frame.filename}:{frame.lineno}"}
