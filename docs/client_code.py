"""Writes the types and operations of ``serving/client.py`` from the contract: ``make docs``."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docs.openapi_page import document
from serving.contract import operations

FILE = Path(__file__).parents[1] / "serving" / "client.py"
BEGINS = "# Made from the contract by `make docs`: do not edit up to the next such line.\n"
ENDS = "# The end of what is made from the contract.\n"
WORDS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
NOT_TYPES = {"Problem"}  # raised, as EncoursProblem
UNTYPED = {"documentation", "documentation_file"}  # for browsers
PROTOCOL = '''
class _Operations:
    """What the service does, one method an operation, named as in the contract."""

    def _call(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> httpx.Response:
        raise NotImplementedError
'''


def code() -> str:
    """Return the types and the operations, as Python."""
    described = document()
    schemas = described["components"]["schemas"]
    types = [_type(name, one) for name, one in schemas.items() if name not in NOT_TYPES]
    methods = [
        _method(path, method, one)
        for path, method, one in operations(described)
        if one["operationId"] not in UNTYPED
    ]
    return "\n\n".join([*types, PROTOCOL + "\n".join(methods)])


def _type(name: str, schema: dict[str, Any]) -> str:
    """Write a type; names that are no names of Python take the other way to write it."""
    described = schema.get("properties")
    if described is None:
        return f"{name} = {_word(schema)}"
    needed = schema.get("required", ())
    if not all(field.isidentifier() for field in described):
        members = ", ".join(f'"{field}": {_word(one)}' for field, one in described.items())
        return f'{name} = TypedDict("{name}", {{{members}}})'
    members = "\n".join(
        f"    {field}: {_word(one) if field in needed else f'NotRequired[{_word(one)}]'}"
        for field, one in described.items()
    )
    return f'class {name}(TypedDict):\n    """{_summary(schema["description"])}"""\n\n{members}\n'


def _summary(text: str) -> str:
    return text.partition("\n")[0]


def _word(schema: dict[str, Any]) -> str:
    """Write the type of a value."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            return " | ".join(dict.fromkeys(_word(one) for one in schema[choice]))
    if "const" in schema or "enum" in schema:
        values = schema.get("enum", [schema.get("const")])
        return f"Literal[{', '.join(_literal(value) for value in values)}]"
    if schema.get("type") == "array":
        return f"list[{_word(schema.get('items', {}))}]"
    if schema.get("type") == "object":
        inside = schema.get("additionalProperties", True)
        return f"dict[str, {_word(inside) if isinstance(inside, dict) else 'Any'}]"
    return WORDS.get(str(schema.get("type")), "Any")


def _literal(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _method(path: str, method: str, operation: dict[str, Any]) -> str:
    """Write the method of an operation."""
    takes = list(_parameters(operation))
    by_place = {name: said for where, name, said in takes if where == "path"}
    query = [(name, said) for where, name, said in takes if where == "query"]
    has_key = any(where == "header" for where, _, _ in takes)
    given = [f"{name}: {said}" for name, said in by_place.items()]
    body = operation.get("requestBody")
    if body is not None:
        given.append(f"request: {_word(body['content']['application/json']['schema'])}")
    named = [f"{_python(name)}: {said} | None = None" for name, said in query]
    named += ["idempotency_key: str | None = None"] if has_key else []
    arguments = ", ".join(["self", *given, *(["*", *named] if named else [])])
    returned, read = _returned(operation)
    place = re.sub(r"{(\w+)}", r"{quote(\1, safe='')}", path)
    place = f'f"{place}"' if place != path else f'"{path}"'
    passed = [f'"{method.upper()}"', place]
    passed += ["body=request"] if body is not None else []
    if query:
        asked = ", ".join(f'"{name}": {_python(name)}' for name, _ in query)
        passed.append(f"query={{{asked}}}")
    passed += ["idempotency_key=idempotency_key or _new_key()"] if has_key else []
    call = f"self._call({', '.join(passed)})"
    return (
        f"\n    def {operation['operationId']}({arguments}) -> {returned}:\n"
        f'        """{_sentence(operation["summary"])}"""\n'
        f"        return {read.format(call=call)}\n"
    )


def _sentence(summary: str) -> str:
    return summary if summary.endswith(".") else f"{summary}."


def _parameters(operation: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for one in operation.get("parameters", ()):
        yield one["in"], one["name"], _word(one["schema"])


def _python(name: str) -> str:
    return name.replace("-", "_")


def _returned(operation: dict[str, Any]) -> tuple[str, str]:
    """Say what a method returns, and how it is read from the answer."""
    good = next(one for status, one in operation["responses"].items() if status.startswith("2"))
    content = good.get("content", {})
    if "application/json" in content:
        word = _word(content["application/json"]["schema"])
        return word, f"cast({word}, {{call}}.json())"
    return ("bytes", "{call}.content") if content else ("None", "{call} and None")


def written(text: str) -> str:
    """Give the client with what is made from the contract in its place."""
    before, _, rest = text.partition(BEGINS)
    _, _, after = rest.partition(ENDS)
    return f"{before}{BEGINS}\n\n{code()}\n\n{ENDS}{after}"


if __name__ == "__main__":
    FILE.write_text(written(FILE.read_text("utf-8")), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", FILE], check=True)  # noqa: S603
