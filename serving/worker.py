"""What a worker of the service has: its application, its sealer, and whether it is ready.

Made once in each worker, by serving/service.py, when it is first needed.
"""

from __future__ import annotations

from functools import cache
from threading import Thread

from fastapi import FastAPI

from models.workspace import Workspace
from serving.api import create_app
from serving.audit import Record
from serving.deadline import OneLook
from serving.envelope import configure_log
from serving.in_hand import InHand
from serving.keys import Keys
from serving.limits import ANSWER_SECONDS
from serving.opened import desk_from_environment
from serving.sealer import Sealer
from serving.warm import Warm

_desk = cache(desk_from_environment)
_warm = cache(lambda: Warm(_desk()))
_sealer = cache(lambda: Sealer.of(Workspace.from_environment()))


@cache
def _look() -> OneLook[str | None]:
    return OneLook(lambda: _warm().readiness() or _sealer().readiness(), "ready")


@cache
def application() -> FastAPI:
    """Return the application."""
    workspace = Workspace.from_environment()
    keys = Keys(lambda: Record.of(workspace))
    return create_app(_desk(), keys, in_hand=InHand.shared(workspace.workers))


def start() -> None:
    """Take up the jobs that an earlier process left, seal, and warm up before anybody asks."""
    configure_log()
    application().state.jobs.start()
    _sealer().start()
    Thread(target=_warm().readiness, daemon=True).start()


def stop() -> None:
    """End the jobs, seal what was recorded last, and let another worker go on."""
    application().state.jobs.close()
    _sealer().stop()


async def readiness() -> str | None:
    """Return ``None`` when an order can be assessed and recorded, else why not."""
    try:
        return await _look().result(ANSWER_SECONDS)
    except TimeoutError:
        return "It takes too long to tell: a disk or a database does not answer."
