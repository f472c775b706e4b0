"""A request that is sent again, by a client that heard no answer, gets the answer it missed.

``Idempotency-Key`` is the client's own; with the same key and the same request the answer is the
same, byte for byte, for ever. Only answers are kept: after a problem the request may be sent again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fastapi import Request, Response

from serving.audit import AnotherRequest, Kept, Once
from serving.deadline import in_time
from serving.opened import Desk, Opened
from serving.problems import BAD_KEY, IN_PROGRESS, Refusal

_KEY = re.compile(r"[\x21-\x7e]{1,128}")
REPLAYED = "Idempotency-Replayed"
HEADER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Chosen by the client, one for each request that it makes; sent again with the "
    "same request it gives the same answer, byte for byte, for ever.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 128},
    "example": "0d6f1c3e-5f0a-4f0e-9f43-1c1c8f2c7a11",
}


def once_of(request: Request, body: bytes) -> Once | None:
    """Read what makes the request the same as another one; ``None`` when no key was sent."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise Refusal(BAD_KEY)
    path = request.url.path.encode()
    fingerprint = hashlib.sha256(b"\0".join((request.method.encode(), path, body))).hexdigest()
    return Once(request.state.key.client, hashlib.sha256(key.encode()).hexdigest(), fingerprint)


@contextmanager
def alone(request: Request, once: Once | None) -> Iterator[None]:
    """Refuse a request while the same process answers it; another process waits at the record."""
    answering: set[tuple[str, str]] = request.app.state.answering
    if once is None:
        yield
        return
    which = (once.client, once.key_hash)
    if which in answering:
        raise Refusal(IN_PROGRESS)
    answering.add(which)
    try:
        yield
    finally:
        answering.discard(which)


async def answer_once(
    request: Request,
    body: bytes,
    work: Callable[[Opened], bytes],
    status: int = 200,
    about: Callable[[bytes], str | None] = lambda _: None,
) -> Response:
    """Do work whose answer is no entry of the record, and keep the answer where a key was sent.

    Parameters
    ----------
    request : Request
    body : bytes
        As received.
    work : callable
        It blocks; done again after a failure between its end and the keeping of its answer, it
        must have the same effect as once.
    status : int, default 200
    about : callable, optional
        Names the customer that an answer tells of, if it does.
    """
    once = once_of(request, body)
    with alone(request, once):
        kept = await in_time(request, _kept, request.app.state.desk, once, work, status, about)
    return Response(kept[0].body, kept[0].status, headers(kept[1]), "application/json")


def headers(replayed: bool) -> dict[str, str]:
    """Say in the answer that it was given before."""
    return {REPLAYED: "true"} if replayed else {}


def _kept(
    desk: Desk,
    once: Once | None,
    work: Callable[[Opened], bytes],
    status: int,
    about: Callable[[bytes], str | None],
) -> tuple[Kept, bool]:
    opened = desk.get()
    if once is None:
        return Kept(status, work(opened)), False
    found = opened.record.answered(once)
    if found is None:
        answer = work(opened)
        return opened.record.keep(once, status, answer, about(answer)), False
    if not isinstance(found, Kept):
        raise AnotherRequest
    return found, True
