"""From the body to a checked request.

It is read and parsed here, and not by FastAPI, to refuse what its parser lets through: duplicate
names (the last would win), NaN, other encodings, bodies without end.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

from fastapi import Request
from pydantic import ValidationError
from starlette.requests import ClientDisconnect

from serving.deadline import in_time
from serving.limits import BODY_SECONDS, LONGEST_BODY_BYTES, MOST_ERRORS, MOST_PARTS
from serving.problems import INVALID, LONG_BODY, MALFORMED, SLOW_BODY, Refusal
from serving.schemas import FieldError
from serving.schemas.request import Given

M = TypeVar("M", bound=Given)

PLAIN_WORDS = {
    "missing": "is required",
    "model_type": "must be an object",
    "string_type": "must be a string",
    "string_unicode": "must be valid Unicode",
    "string_pattern_mismatch": 'must be money as a string, at most two decimals, as "20000.00"',
    "int_type": "must be a whole number",
}


class Sent(NamedTuple, Generic[M]):
    """What was sent: its exact bytes, and what they ask."""

    raw: bytes
    asked: M


async def read(request: Request, model: type[M]) -> Sent[M]:
    """Read what is asked, or raise the `Refusal` that says what is wrong with it.

    Parameters
    ----------
    request : Request
        Of a route whose :func:`serving.access.needs` says how long its body may be.
    model : type of Given
        What it must be.
    """
    most_bytes = request.scope["route"].openapi_extra["x-most-body-bytes"]
    raw = await _received(request, most_bytes)
    if len(raw) <= LONGEST_BODY_BYTES:
        return understood(raw, model)
    return await in_time(request, understood, raw, model)  # others are answered meanwhile


def understood(raw: bytes, model: type[M]) -> Sent[M]:
    """Parse and check a body; a long one takes a while."""
    return Sent(raw, checked(parsed(raw), model))


async def _received(request: Request, most_bytes: int) -> bytes:
    """Read the body; what is too long is refused while reading, whatever it said of its length."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most_bytes:
                    raise Refusal(LONG_BODY, f"Send at most {most_bytes // 1024} KiB.")
    except TimeoutError:
        raise Refusal(SLOW_BODY) from None
    except ClientDisconnect:
        raise Refusal(MALFORMED) from None
    return bytes(body)


def parsed(body: bytes) -> object:
    """Parse JSON (RFC 8259), with each name once in an object.

    Two bytes make an object of a hundred in memory: so many that no request needs them are refused
    unread.
    """
    if body.count(b"{") + body.count(b"[") > MOST_PARTS:
        raise Refusal(MALFORMED, f"Send at most {MOST_PARTS:,} objects and lists.")
    try:
        return json.loads(body.decode(), object_pairs_hook=_unique, parse_constant=_no_number)
    except (ValueError, RecursionError):  # not UTF-8, not JSON, 5,000 digits; too many brackets
        raise Refusal(MALFORMED) from None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    by_name = dict(pairs)
    if len(by_name) < len(pairs):
        raise ValueError("a name appears twice")
    return by_name


def _no_number(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def checked(content: object, model: type[M]) -> M:
    """Check what was parsed; every field that is wrong is pointed at."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        found = [_field_error(one["type"], one["loc"], one["msg"]) for one in faults[:MOST_ERRORS]]
        unique = {(one.pointer, one.detail): one for one in found}
        raise Refusal(INVALID, errors=tuple(unique.values())) from None


def _field_error(kind: str, place: Iterable[int | str], message: str) -> FieldError:
    """Say what is wrong with a field; the name of an unknown one is input, and left out."""
    names = [str(name) for name in place]
    if kind == "extra_forbidden":
        names, message = names[:-1], "has an unknown field; see /openapi.json"
    pointer = "".join(f"/{name}" for name in names)
    return FieldError(pointer=pointer, detail=PLAIN_WORDS.get(kind, message))
