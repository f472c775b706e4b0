"""The straight way to a route: by its method and path, where the path has no parameter."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import APIRouter, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.access import Guarded
from serving.problems import answered


class Straight:
    """Answers the routes whose path has no parameter itself; FastAPI finds the others.

    FastAPI tries its routes one after the other and opens two exit stacks for what our routes do
    not use. That is a good part of what a refusal costs, and refusals come when there is no time.

    Parameters
    ----------
    otherwise : ASGI application
        Answers everything else.
    routers : iterable of APIRouter
    """

    def __init__(self, otherwise: ASGIApp, routers: Iterable[APIRouter]) -> None:
        self._otherwise = otherwise
        self._handlers = {
            (method, route.path): (route, route.get_route_handler())
            for router in routers
            for route in router.routes
            if isinstance(route, Guarded) and not route.param_convertors
            for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        found = self._handlers.get((scope.get("method", ""), scope.get("path", "")))
        if found is None:
            await self._otherwise(scope, receive, send)
            return
        scope["route"], handle = found
        response = await answered(Request(scope, receive, send), handle)
        await response(scope, receive, send)
