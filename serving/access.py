"""Who may ask, and how much: what stands before every route.

In this order, so that nobody makes us work before we know him: size and type of the body → key →
role → rate → place among those in hand → deadline. A route says what it needs with :func:`needs`;
one that does not cannot be made.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, cast

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.datastructures import Headers

from serving.deadline import OneLook
from serving.keys import Key, Keys, Role
from serving.limits import BURST_SECONDS
from serving.problems import (
    FORBIDDEN,
    LONG_BODY,
    OVERLOADED,
    SLOW_ANSWER,
    TOO_MANY_CALLS,
    UNAUTHENTICATED,
    WRONG_TYPE,
    Refusal,
)

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def needs(*roles: Role, most_bytes: int = 0, **described: Any) -> dict[str, Any]:
    """Say who may call a route and how long its body may be, for us and for its description.

    Parameters
    ----------
    *roles : Role
        None: anyone, without a key.
    most_bytes : int, default 0
        Of the body; 0 where there is none.
    **described
        More of the operation, as OpenAPI names it.
    """
    asked = {"x-roles": list(roles), "x-most-body-bytes": most_bytes, **described}
    return {**asked, "security": [{"key": []}] if roles else []}


class Guarded(APIRoute):
    """A route behind the guard; a route without :func:`needs` is an error.

    Its function takes the request and gives the response: of FastAPI it needs the description, and
    none of what FastAPI does for functions of another kind.
    """

    def get_route_handler(self) -> Handler:
        """Put the guard before the route's function."""
        handle, asked = self.endpoint, self.openapi_extra
        if asked is None or "x-roles" not in asked:
            raise TypeError(f"{self.path} does not say who may call it: see serving.access.needs")
        roles, most_bytes = frozenset(asked["x-roles"]), asked["x-most-body-bytes"]

        async def guarded(request: Request) -> Response:
            guard: Guard = request.app.state.guard
            if most_bytes:
                _check_body(request.headers, most_bytes)
            if not roles:
                return cast(Response, await handle(request))
            request.state.deadline = time.monotonic() + guard.answer_seconds
            key = request.state.key = await guard.holder(request)
            if key.role not in roles:
                raise Refusal(FORBIDDEN)
            guard.count(key)
            guard.admit()
            try:
                return cast(Response, await handle(request))
            finally:
                guard.leave()

        return guarded


def _check_body(headers: Headers, most_bytes: int) -> None:
    """Refuse a body that says itself that it is too long, or no JSON, before reading any of it."""
    if not announces_json(headers):
        raise Refusal(WRONG_TYPE)
    said = headers.get("content-length", "0")
    if said.isascii() and said.isdigit() and int(said[:20]) > most_bytes:
        raise Refusal(LONG_BODY, f"Send at most {most_bytes // 1024} KiB.")


def announces_json(headers: Headers) -> bool:
    """Tell whether the body is announced as JSON in UTF-8, as it is."""
    media_type, _, parameters = headers.get("content-type", "").lower().partition(";")
    in_utf_8 = parameters.replace(" ", "").replace('"', "") in {"", "charset=utf-8"}
    return (
        media_type.strip() == "application/json"
        and in_utf_8
        and headers.get("content-encoding", "identity") == "identity"
    )


@dataclass
class _Bucket:
    """Calls that a key may still make at once; it fills with time."""

    left: float
    filled_at: float


class Guard:
    """What one process knows of its callers. It is used on the event loop only.

    Parameters
    ----------
    keys : Keys
    most_in_hand : int
        Requests admitted at once; the next one is told to come back.
    answer_seconds : float
        From the look at the key to the deadline.
    """

    def __init__(self, keys: Keys, most_in_hand: int, answer_seconds: float) -> None:
        self._keys, self._most_in_hand = keys, most_in_hand
        self.answer_seconds = answer_seconds
        self._look = OneLook(keys.refresh, "keys")
        self._in_hand = 0
        self._buckets: dict[str, _Bucket] = {}

    async def holder(self, request: Request) -> Key:
        """Return the key that the request shows."""
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not text:
            raise Refusal(UNAUTHENTICATED)
        if not self._keys.is_fresh:
            await self._refreshed(request.state.deadline - time.monotonic())
        key = self._keys.holder(text.strip())
        if key is None:
            raise Refusal(UNAUTHENTICATED)
        return key

    async def _refreshed(self, seconds: float) -> None:
        """Wait for the keys to be read; all who come meanwhile wait for the same reading."""
        try:
            await self._look.result(seconds)
        except TimeoutError:
            raise Refusal(SLOW_ANSWER) from None

    def count(self, key: Key) -> None:
        """Take a call from the key's bucket, or say when there is one again."""
        now, most = time.monotonic(), max(1.0, key.calls_a_second * BURST_SECONDS)
        bucket = self._buckets.setdefault(key.id, _Bucket(most, now))
        bucket.left = min(most, bucket.left + (now - bucket.filled_at) * key.calls_a_second)
        bucket.filled_at = now
        if bucket.left < 1:
            wait = math.ceil((1 - bucket.left) / key.calls_a_second)
            raise Refusal(TOO_MANY_CALLS, retry_after=wait)
        bucket.left -= 1

    def admit(self) -> None:
        """Take a place among the requests that are worked on or wait for it, if there is one."""
        if self._in_hand >= self._most_in_hand:
            raise Refusal(OVERLOADED)
        self._in_hand += 1

    def leave(self) -> None:
        """Give the place back."""
        self._in_hand -= 1
