"""What the routes imply, said in the OpenAPI document: tags, roles, units.

Each route and each schema says what is its own; what holds for all of them is written here once,
so that a new route has it too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

MONEY = re.compile(r"\[0-9\].*\\\.\[0-9\]\{(?:1,)?2\}")
UNITS = {
    "money": "In units of `currency`, two decimals.",
    "share": "0 to 1.",
    "day": "YYYY-MM-DD.",
    "instant": "UTC, ISO 8601.",
}
EXAMPLES = {"uuid": "01981f2e-7c1a-7d33-9f4e-5a0b6c7d8e9f", "date": "2025-03-12"}
SAID = {
    "money": re.compile("currenc", re.IGNORECASE),
    "share": re.compile(r"0 to 1|\b0\b.*\b1\b"),
    "day": re.compile("YYYY-MM-DD"),
    "instant": re.compile("UTC"),
}


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """Add to the document, in place, what its parts imply.

    Parameters
    ----------
    document : dict
        OpenAPI 3.1, whose operations say their roles (:func:`serving.access.needs`).
    """
    for path, _, operation in operations(document):
        operation["tags"] = [_tag(path)]
        said = [operation.get("description", ""), _who_may(operation["x-roles"])]
        operation["description"] = " ".join(filter(None, said))
        for parameter in operation.get("parameters", ()):
            _show_an_example(parameter)
    document["tags"] = [{"name": name} for name in _tags(document)]
    for _, _, field in fields(document):
        _say_the_unit(field)
    return document


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Give each operation with its path and method."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def fields(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Give each field of the components, with its schema's name and its own."""
    for name, schema in document["components"]["schemas"].items():
        for field, said in schema.get("properties", {}).items():
            yield name, field, said


def kind_of(field: dict[str, Any]) -> str | None:
    """Say which unit a field's own constraints give it, ``None`` when they give none.

    >>> kind_of({"type": "number", "minimum": 0, "maximum": 1})
    'share'
    """
    for one in (field, *field.get("anyOf", ())):
        if MONEY.search(one.get("pattern", "")):
            return "money"
        if one.get("type") == "number" and (one.get("minimum"), one.get("maximum")) == (0, 1):
            return "share"
        if one.get("format") in {"date", "date-time"}:
            return "day" if one["format"] == "date" else "instant"
    return None


def _show_an_example(parameter: dict[str, Any]) -> None:
    """Take the example of a parameter from its schema, where there is none and it has one."""
    schema = parameter.get("schema", {})
    found = [schema.get("default"), *schema.get("enum", ()), EXAMPLES.get(schema.get("format"))]
    found = [one for one in found if one is not None]
    if found and not parameter.keys() & {"example", "examples"}:
        parameter["example"] = found[0]


def _say_the_unit(field: dict[str, Any]) -> None:
    kind = kind_of(field)
    said = field.get("description", "")
    if kind is not None and not SAID[kind].search(said):
        field["description"] = f"{said} {UNITS[kind]}".strip()


def _tag(path: str) -> str:
    version, _, rest = path.removeprefix("/").partition("/")
    return rest.partition("/")[0] if version == "v1" else "description"


def _tags(document: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(operation["tags"][0] for _, _, operation in operations(document)))


def _who_may(roles: list[str]) -> str:
    return f"Roles: {', '.join(roles)}." if roles else "Needs no key."
