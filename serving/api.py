"""The web application: routes behind their guard; recorded bytes, or a problem (RFC 9457), out.

Nothing that was sent comes back in an answer or goes to the log.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig

from serving.access import Guard
from serving.envelope import Envelope
from serving.in_hand import InHand
from serving.job_runner import JobRunner
from serving.keys import Keys
from serving.limits import ANSWER_SECONDS, MOST_IN_HAND, ORDER_THREADS, OTHER_THREADS
from serving.openapi import Api
from serving.opened import Desk
from serving.problems import HANDLERS
from serving.routes import ROUTERS
from serving.straight import Straight

NO_TELEMETRY: TelemetryConfig = {  # paths name assessments, and exceptions may name customers
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}


def create_app(
    desk: Desk,
    keys: Keys,
    answer_seconds: float = ANSWER_SECONDS,
    in_hand: InHand | None = None,
) -> FastAPI:
    """Build the web application.

    Parameters
    ----------
    desk : Desk
        What the routes act on.
    keys : Keys
        Who may call them.
    answer_seconds : float
        How long an answer may take before the caller gets a 504.
    in_hand : InHand, optional
        What the workers of the service have in hand; by default there is one.
    """
    app = Api(
        title="encours",
        version="1",
        description="Assesses orders on trade credit: who pays late, who defaults, and what to do. "
        "Money is a string in units of the ledger's currency, terms are days, probabilities and "
        "rates are 0 to 1, instants are UTC. Answers may gain fields. Probes: /livez, and /readyz, "
        "which says why not. An operation's x-roles are the roles whose keys may call it.",
        openapi_url=None,  # a documented route of ours
        docs_url=None,  # FastAPI's pages load scripts from a CDN
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers=HANDLERS,
        telemetry=NO_TELEMETRY,
    )
    app.state.desk = desk
    app.state.guard = Guard(keys, MOST_IN_HAND, answer_seconds)
    app.state.order_threads = ThreadPoolExecutor(ORDER_THREADS, "order")
    app.state.threads = ThreadPoolExecutor(OTHER_THREADS, "other")
    app.state.answering = set()
    app.state.batches = []
    app.state.jobs = JobRunner(desk)
    for router in ROUTERS:
        app.include_router(router)
    app.add_middleware(Straight, routers=ROUTERS)
    app.add_middleware(Envelope, in_hand=in_hand)  # around all
    return app
