"""Jobs: ask for a whole portfolio, see how far it is, fetch it, or call it off."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse
from uuid_utils import uuid7

from serving import body
from serving.access import Guarded, needs
from serving.answer import to_bytes
from serving.audit import Once
from serving.deadline import in_time
from serving.job_runner import JobRunner
from serving.jobs import FORMATS, Job
from serving.keys import Key
from serving.limits import LONGEST_BULK_BYTES, MOST_JOBS_WAITING
from serving.once import HEADER, answer_once, once_of
from serving.openapi import content, header, problem_responses
from serving.opened import Opened
from serving.problems import (
    ERASED,
    INVALID,
    ONCE,
    OVERLOADED,
    SLOW_ANSWER,
    UNFINISHED_JOB,
    UNKNOWN_JOB,
    WITH_A_BODY,
    WITH_A_KEY,
    Refusal,
)
from serving.routes.assessments import UUID, actor
from serving.schemas import jobs as schemas
from serving.schemas.answer import FieldError

MEDIA_TYPES = {"parquet": "application/vnd.apache.parquet", "csv": "text/csv; charset=utf-8"}
DESCRIBED = content(schemas.Job, {"running": {"$ref": "#/components/examples/job"}})
JOB_ID = {
    "name": "job_id",
    "in": "path",
    "required": True,
    "description": "The `id` of the answer.",
    "schema": {"type": "string", "format": "uuid"},
}
FORMAT = {
    "name": "format",
    "in": "query",
    "required": False,
    "description": "CSV is UTF-8 with a byte order mark; text that a spreadsheet would take for a "
    "formula has a ' before it.",
    "schema": {"type": "string", "enum": list(FORMATS), "default": "parquet"},
}
router = APIRouter(route_class=Guarded)


@router.post(
    "/v1/jobs",
    operation_id="ask_for_a_job",
    summary="Score a portfolio",
    description="Scores all customers, or those listed, about the usual order of each, beside the "
    "answers to others: grade, score, probabilities, how much is known, exposure and up to four "
    "reasons a customer. Facts are those known when it begins.",
    status_code=202,
    responses={
        202: {
            "description": "It is queued.",
            "headers": {"Location": header("Where to see how far it is.", "string")},
            "content": DESCRIBED,
        },
        **problem_responses(*WITH_A_BODY, *ONCE, SLOW_ANSWER, *WITH_A_KEY),
    },
    openapi_extra=needs(
        "risk",
        most_bytes=LONGEST_BULK_BYTES,
        requestBody={
            "required": True,
            "description": f"At most {LONGEST_BULK_BYTES // 2**20} MiB of UTF-8, each name once an "
            "object.",
            "content": content(
                schemas.JobRequest,
                {"all": {"value": {}}, "some": {"value": {"customers": ["C-17", "C-18"]}}},
            ),
        },
        parameters=[HEADER],
    ),
)
async def _ask(request: Request) -> Response:
    sent = await body.read(request, schemas.JobRequest)
    key, runner = request.state.key, _runner(request)
    id = _id(once_of(request, sent.raw))
    sees = None if key.customers is None else sorted(key.customers)
    customers = sent.asked.customers

    def add(_: Opened) -> bytes:
        job = runner.jobs().add(id, actor(key), sees, customers, MOST_JOBS_WAITING)
        if job is None:
            raise Refusal(OVERLOADED, f"{MOST_JOBS_WAITING} jobs wait already.")
        runner.start()
        return to_bytes(shown(job))

    answer = await answer_once(request, sent.raw, add, 202)
    answer.headers["Location"] = f"/v1/jobs/{json.loads(bytes(answer.body))['id']}"
    return answer


def _id(once: Once | None) -> str:
    """Name a job; the same request that is sent again asks for the same one."""
    if once is None:
        return str(uuid7())
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "\0".join(once)))


def _runner(request: Request) -> JobRunner:
    runner: JobRunner = request.app.state.jobs
    return runner


@router.get(
    "/v1/jobs/{job_id}",
    operation_id="see_a_job",
    summary="See how far a job is",
    description="Ask every second or so until its status is final; only the client that asked for "
    "the job sees it.",
    responses={
        200: {"description": "As it stands.", "content": DESCRIBED},
        **problem_responses(UNKNOWN_JOB, SLOW_ANSWER, *WITH_A_KEY),
    },
    openapi_extra=needs("risk", parameters=[JOB_ID]),
)
async def _see(request: Request) -> Response:
    return _answer(await _found(request))


@router.delete(
    "/v1/jobs/{job_id}",
    operation_id="cancel_a_job",
    summary="Cancel a job",
    description="One that has ended stays as it is.",
    responses={
        200: {"description": "As it stands now.", "content": DESCRIBED},
        **problem_responses(UNKNOWN_JOB, SLOW_ANSWER, *WITH_A_KEY),
    },
    openapi_extra=needs("risk", parameters=[JOB_ID]),
)
async def _cancel(request: Request) -> Response:
    job = await _found(request)
    await in_time(request, lambda: _runner(request).jobs().cancel(job.id))
    return _answer(await _found(request))


@router.get(
    "/v1/jobs/{job_id}/result",
    operation_id="fetch_a_result",
    response_class=FileResponse,
    summary="Fetch a job's result",
    description="The file, once the job is done; its hash is on the record.",
    responses={
        200: {
            "description": "The file.",
            "headers": {"Content-Disposition": header("Its name.", "string")},
            "content": {
                kind.partition(";")[0]: {"schema": {"type": "string", "format": "binary"}}
                for kind in MEDIA_TYPES.values()
            },
        },
        **problem_responses(UNKNOWN_JOB, UNFINISHED_JOB, ERASED, INVALID, SLOW_ANSWER, *WITH_A_KEY),
    },
    openapi_extra=needs("risk", parameters=[JOB_ID, FORMAT]),
)
async def _fetch(request: Request) -> Response:
    format = request.query_params.get("format", "parquet")
    if format not in FORMATS:
        wrong = FieldError(pointer="/format", detail="must be parquet or csv")
        raise Refusal(INVALID, errors=(wrong,))
    job = await _found(request)
    if job.status != "done":
        raise Refusal(UNFINISHED_JOB, f"It is {job.status}.")
    file = _runner(request).jobs().file(job.id, format)
    if not file.exists():
        raise Refusal(ERASED, "It held a person whose data was erased: ask for another.")
    return FileResponse(
        file, media_type=MEDIA_TYPES[format], filename=f"encours-portfolio-{job.id}.{format}"
    )


async def _found(request: Request) -> Job:
    """Return the job that the path names, if the caller may see it."""
    id, key = request.path_params["job_id"], request.state.key
    if not UUID.fullmatch(id):
        raise Refusal(UNKNOWN_JOB)
    job = await in_time(request, lambda: _runner(request).jobs().find(id))
    if job is None or not may_see(key, job):
        raise Refusal(UNKNOWN_JOB)
    return job


def may_see(key: Key, job: Job) -> bool:
    """Tell whether a key may see a job: of its own client, of customers that it all sees."""
    if key.client != job.client or key.customers is None:
        return key.client == job.client
    return job.sees is not None and key.customers.issuperset(job.sees)


def _answer(job: Job) -> Response:
    return Response(to_bytes(shown(job)), media_type="application/json")


def shown(job: Job) -> dict[str, Any]:
    """Show a job."""
    return {
        "id": job.id,
        "kind": "portfolio",
        "status": job.status,
        "reason": job.reason,
        "progress": {"done": job.done, "total": job.total, "eta_seconds": job.eta_seconds},
        "created_at": _instant(job.created_at),
        "started_at": _instant(job.started_at),
        "ended_at": _instant(job.ended_at),
        "result": None if job.result is None else _result(job.result),
    }


def _result(said: dict[str, Any]) -> dict[str, Any]:
    files = {
        format: {**file, "sha256": f"sha256:{file['sha256']}"}
        for format, file in said["files"].items()
    }
    return {**said, "files": files}


def _instant(at: float | None) -> str | None:
    return None if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
