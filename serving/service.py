"""The BentoML service: process, probes and lifecycle; the routes are serving/api.py.

python -m bentoml serve serving.service:Encours --host 127.0.0.1 --port 3000

The process that starts the workers imports this too, and answers nothing: what answers is
serving/worker.py, which the workers import once they run.
"""

from __future__ import annotations

import os

os.environ["BENTOML_DO_NOT_TRACK"] = "true"  # before the import, which may cache it

import bentoml
from bentoml._internal.server.http import traffic
from bentoml._internal.utils.analytics import usage_stats
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from serving import loop
from serving.limits import WORKERS

OURS = "/v1/"
loop.install()
usage_stats.do_not_track.cache_clear()  # `bentoml serve` asked before it imported this file


class Through:
    """Stands for BentoML's time-out; serving/deadline.py has our own, in our own words.

    BentoML's, which its configuration asks for and cannot turn off, makes a task and a timer of a
    minute for each request, and keeps the timer, with all of the request that hangs on it, when the
    answer is long gone.

    What is asked of our routes goes straight to them: on the way by BentoML's routes are four more
    functions that it makes for each request, for itself.
    """

    def __init__(self, app: ASGIApp, timeout: float) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        is_ours = scope["type"] == "http" and scope["path"].startswith(OURS)
        await (_every_path if is_ours else self._app)(scope, receive, send)


traffic.TimeoutMiddleware = Through  # type: ignore[assignment,misc]


async def _every_path(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer every path that BentoML's probes leave.

    Mounted as a plain function: of a FastAPI object BentoML takes only the paths it knows, and
    answers the others itself, with an index page that loads scripts from elsewhere.
    """
    from serving.worker import application

    await application()(scope, receive, send)


@bentoml.asgi_app(_every_path, path="/")
@bentoml.service(
    name="encours",
    workers=WORKERS,
    http={"host": "127.0.0.1", "port": 3000},
    logging={"access": {"enabled": False}},  # serving/envelope.py logs, without paths
    metrics={"enabled": False},  # they are labelled by path: assessment ids, without end
    tracing={"excluded_urls": ".*"},  # three spans an answer, for nobody
)
class Encours:
    """Assesses orders on trade credit."""

    def __init__(self) -> None:
        from serving import worker

        self._worker = worker
        worker.start()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def stop(self) -> None:
        """End what goes on in the background."""
        self._worker.stop()

    async def __is_ready__(self) -> bool:
        """Answer ``/readyz``, with the reason when it is not."""
        reason = await self._worker.readiness()
        if reason is not None:
            raise HTTPException(503, reason)
        return True
