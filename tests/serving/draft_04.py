"""As much of JSON Schema draft 4 as the official schema of OpenAPI 3.0 uses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
}
SAYS_NOTHING = {
    "$schema", "id", "definitions", "default", "description", "format", "title",
}  # fmt: skip


def errors(schema: dict[str, Any], value: Any, root: Any = None, at: str = "") -> Iterator[str]:
    """Give what is wrong with a value, with its JSON pointer."""
    root = schema if root is None else root
    if "$ref" in schema:
        schema = root["definitions"][schema["$ref"].removeprefix("#/definitions/")]
    holds = partial(_holds, root=root, at=at)
    for word, said in schema.items():
        if word in SAYS_NOTHING or word in ("additionalProperties", "patternProperties"):
            continue
        if word == "type":
            right = isinstance(value, TYPES[said]) and isinstance(value, bool) == (
                said == "boolean"
            )
            yield from [] if right else [f"{at}: is no {said}"]
        elif word == "enum":
            yield from [] if value in said else [f"{at}: {value!r} is none of {said}"]
        elif word == "pattern":
            wrong = isinstance(value, str) and not re.search(said, value)
            yield from [f"{at}: {value!r} is not like {said}"] if wrong else []
        elif word == "required":
            missing = [name for name in said if isinstance(value, dict) and name not in value]
            yield from [f"{at}: {name} is missing" for name in missing]
        elif word == "properties":
            pass
        elif word == "items":
            for number, one in enumerate(value if isinstance(value, list) else []):
                yield from errors(said, one, root, f"{at}/{number}")
        elif word in ("minItems", "minProperties"):
            yield from [f"{at}: too few"] if len(value) < said else []
        elif word == "maxProperties":
            yield from [f"{at}: too many"] if isinstance(value, dict) and len(value) > said else []
        elif word == "uniqueItems":
            again = isinstance(value, list) and any(one in value[:n] for n, one in enumerate(value))
            yield from [f"{at}: twice the same"] if again else []
        elif word in ("minimum", "exclusiveMinimum"):
            low = word == "minimum" and isinstance(value, (int, float)) and value < said
            yield from [f"{at}: too small"] if low else []
        elif word == "not":
            yield from [f"{at}: is what it must not be"] if holds(said, value) else []
        elif word == "allOf":
            for one in said:
                yield from errors(one, value, root, at)
        elif word in ("anyOf", "oneOf"):
            good = sum(holds(one, value) for one in said)
            if good != 1 and (word == "oneOf" or not good):
                tried = [list(errors(one, value, root, at))[:2] for one in said]
                yield f"{at}: {good} of {len(said)} hold: {tried}"
        else:
            raise NotImplementedError(word)
    if isinstance(value, dict):
        yield from _members(schema, value, root, at)


def _holds(schema: dict[str, Any], value: Any, root: Any, at: str) -> bool:
    return next(errors(schema, value, root, at), None) is None


def _members(schema: dict[str, Any], value: dict[str, Any], root: Any, at: str) -> Iterator[str]:
    patterns, rest = schema.get("patternProperties", {}), schema.get("additionalProperties", True)
    for name, one in value.items():
        found = [schema["properties"][name]] if name in schema.get("properties", {}) else []
        found += [said for pattern, said in patterns.items() if re.search(pattern, name)]
        if not found and rest is False:
            yield f"{at}: {name} is not known"
        for said in found or ([rest] if isinstance(rest, dict) else []):
            yield from errors(said, one, root, f"{at}/{name}")
