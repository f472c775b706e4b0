"""From the body to a checked request.

It is read and parsed here, and not by FastAPI, to refuse what its parser lets through: duplicate
names (the last would win), NaN, other encodings, bodies without end.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable

from fastapi import Request
from pydantic import ValidationError
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect

from serving.limits import BODY_SECONDS, LONGEST_BODY_BYTES
from serving.problems import INVALID, LONG_BODY, MALFORMED, SLOW_BODY, WRONG_TYPE, Refusal
from serving.schemas import AssessmentRequest, FieldError

PLAIN_WORDS = {
    "missing": "is required",
    "model_type": "must be an object",
    "string_type": "must be a string",
    "string_unicode": "must be valid Unicode",
    "string_pattern_mismatch": 'must be money as a string, at most two decimals, as "20000.00"',
    "int_type": "must be a whole number",
}


async def read(request: Request) -> AssessmentRequest:
    """Read what is asked, or raise the `Refusal` that says what is wrong with it."""
    return _checked(_parsed(await _received(request)))


async def _received(request: Request) -> bytes:
    """Read the body, what is not JSON refused before, what is too long while reading."""
    if not _announces_json(request.headers):
        raise Refusal(WRONG_TYPE)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > LONGEST_BODY_BYTES:
                    raise Refusal(LONG_BODY)
    except TimeoutError:
        raise Refusal(SLOW_BODY) from None
    except ClientDisconnect:
        raise Refusal(MALFORMED) from None
    return bytes(body)


def _announces_json(headers: Headers) -> bool:
    media_type, _, parameters = headers.get("content-type", "").lower().partition(";")
    in_utf_8 = parameters.replace(" ", "").replace('"', "") in {"", "charset=utf-8"}
    return (
        media_type.strip() == "application/json"
        and in_utf_8
        and headers.get("content-encoding", "identity") == "identity"
    )


def _parsed(body: bytes) -> object:
    """Parse JSON (RFC 8259), with each name once in an object."""
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


def _checked(content: object) -> AssessmentRequest:
    try:
        return AssessmentRequest.model_validate(content)
    except ValidationError as error:
        found = [_field_error(one["type"], one["loc"], one["msg"]) for one in error.errors()]
        unique = {(one.pointer, one.detail): one for one in found}
        raise Refusal(INVALID, errors=tuple(unique.values())) from None


def _field_error(kind: str, place: Iterable[int | str], message: str) -> FieldError:
    """Say what is wrong with a field; the name of an unknown one is input, and left out."""
    names = [str(name) for name in place]
    if kind == "extra_forbidden":
        names, message = names[:-1], "has an unknown field; see /openapi.json"
    pointer = "".join(f"/{name}" for name in names)
    return FieldError(pointer=pointer, detail=PLAIN_WORDS.get(kind, message))
