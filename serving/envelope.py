"""Around each request: its id, secure headers, one log line, and the net for failures."""

from __future__ import annotations

import random
import traceback
from collections.abc import Iterable
from time import perf_counter

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils import uuid4

from serving.deadline import Spent
from serving.in_hand import InHand
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
ANSWERS_A_MOVE = 16  # on average, until a worker with much in hand ends a connection
_SECURE = [(name.lower().encode(), said.encode()) for name, said in SECURE_HEADERS.items()]
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}

Header = tuple[bytes, bytes]
log = structlog.get_logger()


def configure_log() -> None:
    """Write the log to standard output, a JSON object a line, for the rest of the process."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger("info"),
        logger_factory=structlog.WriteLoggerFactory(),
        cache_logger_on_first_use=True,
    )


class Envelope:
    """Around each request: its id, secure headers, one log line, and the net for failures.

    A failure must not leave here: servers log it with its message, which may hold customer data.

    Parameters
    ----------
    app : ASGI application
    in_hand : InHand, optional
        By default this worker is alone.
    """

    def __init__(self, app: ASGIApp, in_hand: InHand | None = None) -> None:
        self._app, self._in_hand = app, in_hand or InHand()

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
                ours = [(b"x-request-id", request_id.encode()), *self._closing()]
                message["headers"] = _with_ours(message.get("headers", ()), ours)
            await send(message)

        self._in_hand.add(1)
        try:
            await self._app(scope, receive, sealed_send)
        except Exception as error:  # noqa: BLE001  the last net, see above
            log.error("request_failed", request_id=request_id, **_without_data(error))
            if not status:
                await problem_response(scope, Refusal(INTERNAL))(scope, receive, sealed_send)
        finally:
            self._in_hand.add(-1)
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

    def _closing(self) -> list[Header]:
        """End the connection now and then while another worker has less to do."""
        if not self._in_hand.is_much() or random.random() * ANSWERS_A_MOVE >= 1:  # noqa: S311
            return []
        return [(b"connection", b"close")]


def _with_ours(headers: Iterable[Header], ours: Iterable[Header]) -> list[Header]:
    """Add what every answer says; a page's own policy of content stays."""
    given = list(headers)
    said = {name for name, _ in given}
    return [*given, *(one for one in _SECURE if one[0] not in said), *ours]


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 1)


def _without_data(error: Exception) -> dict[str, str]:
    """Tell a failure's type and place; its message may hold what was sent."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return {"error": type(error).__name__, "at": f"{frame.filename}:{frame.lineno}"}
