"""The same contract as OpenAPI 3.0.3, for the tools that read no 3.1, CRMs first.

What 3.0 can say otherwise is said otherwise; what it cannot say at all (``propertyNames``,
``if``) is left out: the document takes a little more than the service does, never less. Where null
is allowed beside a reference, 3.0 has no exact word: ``nullable`` with ``allOf`` is what its tools
read so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Json = dict[str, Any]

KEPT = {  # of the Schema Object of 3.0.3; its other words are converted below
    "title",
    "description",
    "type",
    "format",
    "default",
    "example",
    "enum",
    "nullable",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
    "required",
    "discriminator",
    "readOnly",
    "writeOnly",
    "deprecated",
    "externalDocs",
    "xml",
}
NOT_IN_3_0 = {"webhooks", "jsonSchemaDialect"}
PARTS_NOT_IN_3_0 = {"pathItems"}
REFERENCE = "$ref"
NULL = {"type": "null"}
VERBATIM = {"value", "example", "examples", "default", "enum"}  # data, never schemas


def down(document: Json) -> Json:
    """Give an OpenAPI 3.1 document as 3.0.3; what is given stays as it is.

    Parameters
    ----------
    document : dict
        OpenAPI 3.1.
    """
    kept = {name: part for name, part in document.items() if name not in NOT_IN_3_0}
    if "webhooks" in document:
        kept["x-webhooks"] = document["webhooks"]
    parts = {
        name: part
        for name, part in document.get("components", {}).items()
        if name not in PARTS_NOT_IN_3_0
    }
    schemas = {name: schema(one) for name, one in parts.get("schemas", {}).items()}
    others = {name: _part(part) for name, part in parts.items() if name != "schemas"}
    if schemas:
        others["schemas"] = schemas
    rest = {name: _part(part) for name, part in kept.items() if name != "components"}
    return {"paths": {}, **rest, "openapi": "3.0.3", "info": _info(document["info"])} | (
        {"components": others} if others else {}
    )


def _info(info: Json) -> Json:
    """Leave out what `info` has had since 3.1 only."""
    kept = {name: said for name, said in info.items() if name != "summary"}
    if "identifier" in kept.get("license", {}):
        licence = {name: said for name, said in kept["license"].items() if name != "identifier"}
        kept["license"] = licence
    return kept


def _part(part: Any) -> Any:
    """Convert what is no schema: schemas inside it, and references, which stand alone in 3.0."""
    if isinstance(part, list):
        return [_part(one) for one in part]
    if not isinstance(part, dict):
        return part
    if isinstance(part.get(REFERENCE), str):
        return {REFERENCE: part[REFERENCE]}
    converted = {name: _named(name, one) for name, one in part.items()}
    if "operationId" in part:
        converted.setdefault("responses", {"default": {"description": "Not described."}})
    return converted


def _named(name: str, part: Any) -> Any:
    if name == "schema":
        return schema(part)
    if name == "examples" and isinstance(part, dict):
        return {one: _without_siblings(said) for one, said in part.items()}
    return part if name in VERBATIM else _part(part)


def _without_siblings(example: Json) -> Json:
    return {REFERENCE: example[REFERENCE]} if REFERENCE in example else example


def schema(given: Json | bool) -> Json:
    """Give a JSON Schema of 3.1 (draft 2020-12) as a Schema Object of 3.0.3.

    >>> schema({"type": ["integer", "null"], "exclusiveMinimum": 0})
    {'type': 'integer', 'nullable': True, 'minimum': 0, 'exclusiveMinimum': True}
    """
    if isinstance(given, bool):
        return {} if given else {"not": {}}
    if REFERENCE in given:
        return _reference(given)
    found: Json = {name: said for name, said in given.items() if _stays(name)}
    for convert in CONVERSIONS:
        convert(given, found)
    return _with_null(found)


def _with_null(found: Json) -> Json:
    """Say null twice where values are listed: 3.0.3 wants it there too."""
    values = found.get("enum")
    if values is None or (None in values) == found.get("nullable", False):
        return found
    return found | {"nullable": True, "enum": [*(one for one in values if one is not None), None]}


def _stays(name: str) -> bool:
    return name in KEPT or name.startswith("x-")


def _reference(given: Json) -> Json:
    alone = {REFERENCE: given[REFERENCE]}
    siblings = {name: said for name, said in given.items() if name != REFERENCE}
    return {"allOf": [alone], **schema(siblings)} if siblings else alone


def _types(given: Json, found: Json) -> None:
    said = given.get("type")
    types = [said] if isinstance(said, str) else list(said or ())
    if said is None or types == [said] != ["null"]:
        return
    left = [one for one in types if one != "null"]
    if "null" in types:
        found["nullable"] = True
    if len(left) == 1:
        found["type"] = left[0]
    elif left:
        del found["type"]
        found["anyOf"] = [{"type": one} for one in left]
    else:  # null and nothing else
        found |= {"type": "string", "enum": [None]}


def _choices(given: Json, found: Json) -> None:
    for word in ("allOf", "anyOf", "oneOf"):
        if word not in given:
            continue
        left = [one for one in given[word] if one != NULL]
        if word == "allOf" or len(left) == len(given[word]):
            found[word] = [schema(one) for one in given[word]]
        elif len(left) < 2:
            _or_null(left[0] if left else NULL, found)
        else:
            found |= {word: [schema(one) for one in left], "nullable": True}


def _or_null(one: Json | bool, found: Json) -> None:
    """Merge the only choice beside null; what stands beside the choices goes first."""
    beside, alone = dict(found), schema(one)
    if REFERENCE in alone:
        alone = {"type": "object", "allOf": [alone]}
    found |= alone | beside | {"nullable": True}


def _children(given: Json, found: Json) -> None:
    if "properties" in given:
        found["properties"] = {name: schema(one) for name, one in given["properties"].items()}
    if "not" in given:
        found["not"] = schema(given["not"])
    rest = given.get("additionalProperties")
    patterns = [schema(one) for one in given.get("patternProperties", {}).values()]
    if patterns and isinstance(rest, dict):
        patterns.append(schema(rest))
    if patterns and (rest is False or isinstance(rest, dict)):
        found["additionalProperties"] = _any_of(patterns)
    elif rest is not None:
        found["additionalProperties"] = rest if isinstance(rest, bool) else schema(rest)


def _items(given: Json, found: Json) -> None:
    first, rest = [schema(one) for one in given.get("prefixItems", ())], given.get("items")
    if first:
        if rest is False:
            found["maxItems"] = min(len(first), given.get("maxItems", len(first)))
        elif rest is not None:
            first.append(schema(rest))
        elif given.get("maxItems", len(first) + 1) > len(first):
            first.append({})
        found["items"] = _any_of(first)
    elif rest is not None:
        found["items"] = schema(rest)
    elif given.get("type") == "array":
        found["items"] = {}  # 3.0 wants it


def _any_of(those: list[Json]) -> Json:
    """Give what takes each of them."""
    unique = [one for at, one in enumerate(those) if one not in those[:at]]
    if {} in unique:
        return {}
    return unique[0] if len(unique) == 1 else {"anyOf": unique}


def _bounds(given: Json, found: Json) -> None:
    for end, stricter in (("minimum", max), ("maximum", min)):
        exclusive = f"exclusive{end.capitalize()}"
        bound, open_bound = given.get(end), given.get(exclusive)
        if bound is None and open_bound is None:
            continue
        if open_bound is None or isinstance(open_bound, bool):
            found[end] = bound
        elif bound is None or stricter(bound, open_bound) == open_bound:
            found |= {end: open_bound, exclusive: True}
        else:
            found[end] = bound


def _constant(given: Json, found: Json) -> None:
    if "const" in given:
        found["enum"] = [given["const"]]


def _example(given: Json, found: Json) -> None:
    if given.get("examples") and "example" not in given:
        found["example"] = given["examples"][0]


def _content(given: Json, found: Json) -> None:
    if given.get("contentEncoding") == "base64":
        found.setdefault("format", "byte")
    elif given.get("contentMediaType") == "application/octet-stream":
        found.setdefault("format", "binary")


CONVERSIONS: tuple[Callable[[Json, Json], None], ...] = (
    _types,
    _constant,
    _bounds,
    _children,
    _items,
    _choices,
    _example,
    _content,
)
