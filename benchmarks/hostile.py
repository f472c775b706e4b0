"""Hostile requests, made from the application's own OpenAPI document and from a list of tricks.

Each carries a canary, which no answer and no line of the log may show.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

CANARY = "canary-4711"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW")
TOKENS = (  # JSON that is none, or that parsers differ on
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "-1e999",
    "-0.0",
    "1" + "0" * 400,
    "9" * 6_000,
    "9007199254740993",
    "01",
    "0x10",
    "1.",
    "'x'",
    '"\\u0000"',
    '"\\ud800"',
    '"\\uD83D\\uDE00"',
    '"' + "a" * 5_000 + '"',
    "true",
    "null",
    "[]",
    "{}",
    "[" * 200 + "]" * 200,
    f'"{CANARY}"',
    f'{{"{CANARY}": 1}}',
    '"2000.00"',
    '"-0"',
    '"1e3"',
    '"=cmd|1"',
    '"<script>"',
    '"\u202e"',
    "/* */ 1",
)
VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    2**63,
    1.5,
    "",
    " ",
    CANARY,
    "C-00001",
    "0",
    "2000.00",
    "2000.001",
    "٣",
    "２000.00",
    "2025-02-31",
    "0000-00-00",
    "9999-12-31",
    "\u0000",
    "\U0001f4a9",
    "a" * 129,
    "../../etc/passwd",
    "' OR 1=1 --",
    [],
    {},
    [CANARY],
    {"id": CANARY},
    {"__proto__": {}},
)
TYPES = (
    "application/json",
    "application/json; charset=utf-8",
    "application/json; charset=latin-1",
    "application/vnd.bentoml+pickle",
    "multipart/form-data; boundary=" + "-" * 70,
    "application/x-www-form-urlencoded",
    "text/csv",
    "",
    f"application/{CANARY}",
    "application/json;" * 50,
)
KEYS = (b"k", b"", b" ", b"a b", b"\xff\xfe", b"k" * 129, b"k" * 60_000, CANARY.encode(), b"\x7f")
AUTHORIZATIONS = (
    b"",
    b"Bearer",
    b"Bearer ",
    b"Basic " + CANARY.encode(),
    b"Bearer " + CANARY.encode(),
    b"Bearer encours_" + b"0" * 12 + b"_" + b"A" * 43,
    b"Bearer \xff\xfe",
    b"bearer " * 1_000,
    b"Bearer " + b"A" * 60_000,
    b"Bearer eyJhbGciOiJub25lIn0.e30.",
)
ODD_HEADERS = (
    (b"content-length", b"-1"),
    (b"content-length", b"1e3"),
    (b"content-length", b"9" * 400),
    (b"content-length", "٣".encode()),
    (b"content-encoding", b"gzip"),
    (b"transfer-encoding", b"chunked, identity"),
    (b"range", b"bytes=" + b"0-," * 1_000),
    (b"host", b"a/b?c"),
    (b"x-forwarded-for", CANARY.encode()),
    (b"x-request-id", CANARY.encode()),
    (b"traceparent", CANARY.encode()),
    (b"accept", b"application/vnd.bentoml+pickle"),
    (b"x-http-method-override", b"DELETE"),
    (b"cookie", b"a=" + CANARY.encode()),
)


@dataclass(frozen=True)
class Case:
    """A request, as a server hands it on.

    Attributes
    ----------
    method : str
    path : str
        Decoded; its raw form is that in UTF-8.
    headers : tuple of pairs of bytes
    body : bytes
    pieces : int
        In how many the body arrives.
    times : int
        How often the body is sent, for a long one.
    query : bytes
    """

    method: str
    path: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes = b""
    pieces: int = 1
    times: int = 1
    query: bytes = b""

    def chunks(self) -> Iterator[bytes]:
        """Give the body as it arrives."""
        step = max(1, -(-len(self.body) // self.pieces))
        for _ in range(self.times):
            for start in range(0, len(self.body), step):
                yield self.body[start : start + step]


class Hostile:
    """Makes requests against every operation of an OpenAPI document.

    Parameters
    ----------
    document : dict
    bearers : list of str
        Values of Authorization that work.
    known : dict of str to list of str
        Good values of path parameters.
    rng : random.Random
    """

    def __init__(
        self,
        document: Mapping[str, Any],
        bearers: Sequence[str],
        known: Mapping[str, Sequence[str]],
        rng: random.Random,
    ) -> None:
        self._document, self._bearers, self._known, self._rng = document, bearers, known, rng
        self._operations = [
            (method.upper(), path, operation)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        ]
        self._tricks: tuple[Callable[[Case], Case], ...] = (
            self._as_it_is,
            self._as_it_is,
            self._another_type,
            self._another_key,
            self._another_authorization,
            self._odd_header,
            self._another_method,
            self._another_path,
            self._broken_bytes,
            self._broken_bytes,
            self._token,
            self._token,
            self._twice,
            self._deep,
            self._long,
            self._queried,
        )

    def case(self) -> Case:
        """Make the next request."""
        made = self._rng.choice(self._tricks)(self._sound())
        return self._rng.choice(self._tricks)(made) if self._rng.random() < 0.3 else made

    def _sound(self) -> Case:
        """Make a request that is likely to get past the guard."""
        method, path, operation = self._rng.choice(self._operations)
        headers = [(b"host", b"encours"), (b"authorization", self._bearer())]
        body = b""
        if "requestBody" in operation:
            headers.append((b"content-type", b"application/json"))
            body = json.dumps(self._content(operation["requestBody"])).encode()
        filled = self._fill(path)
        return Case(method, filled, tuple(headers), body, self._rng.choice((1, 1, 3, 50)))

    def _bearer(self) -> bytes:
        return self._rng.choice(self._bearers).encode()

    def _fill(self, path: str) -> str:
        parts = []
        for part in path.split("/"):
            known = self._known.get(part[1:-1], ()) if part.startswith("{") else None
            if known is None:
                parts.append(part)
            elif known and self._rng.random() < 0.5:
                parts.append(self._rng.choice(known))
            else:
                odd = (CANARY, "0", "%00", "..", "é" * 50, "a" * 2_000, "\u0000", "' OR 1=1")
                parts.append(self._rng.choice(odd))
        return "/".join(parts)

    def _content(self, described: Mapping[str, Any]) -> Any:
        """Take an example, or make an instance of the schema; change a part of it perhaps."""
        content = next(iter(described["content"].values()))
        examples = [one["value"] for one in content.get("examples", {}).values() if "value" in one]
        if examples and self._rng.random() < 0.6:
            made = json.loads(json.dumps(self._rng.choice(examples)))
        else:
            made = self._instance(content["schema"], 0)
        customers = self._known.get("customer_id")
        if customers and isinstance(made, dict) and "customer" in made and self._rng.random() < 0.7:
            made["customer"] = {"id": self._rng.choice(customers)}
        for _ in range(self._rng.choice((0, 1, 1, 2))):
            made = self._changed(made)
        return made

    def _instance(self, schema: Mapping[str, Any], depth: int) -> Any:
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            return self._instance(self._document["components"]["schemas"][name], depth + 1)
        for several in ("anyOf", "oneOf", "allOf"):
            if several in schema:
                return self._instance(self._rng.choice(schema[several]), depth + 1)
        if "enum" in schema or "const" in schema:
            return self._rng.choice(schema.get("enum", [schema.get("const")]))
        if depth > 12 or self._rng.random() < 0.05:
            return self._rng.choice(VALUES)
        return self._of_type(schema, depth)

    def _of_type(self, schema: Mapping[str, Any], depth: int) -> Any:
        rng = self._rng
        match schema.get("type"):
            case "object":
                required = set(schema.get("required", ()))
                return {
                    name: self._instance(one, depth + 1)
                    for name, one in schema.get("properties", {}).items()
                    if name in required or rng.random() < 0.7
                }
            case "array":
                item = schema.get("items", {})
                return [self._instance(item, depth + 1) for _ in range(rng.choice((0, 1, 3, 40)))]
            case "integer":
                low, high = schema.get("minimum", -5), schema.get("maximum", 400)
                return rng.choice((low, high, low - 1, high + 1, rng.randint(low, high)))
            case "number":
                return rng.choice((0.0, -0.0, 0.5, 1e308, rng.random()))
            case "string":
                good = ("2000.00", "C-00001", "2025-06-30", "EUR", "1.25")
                return rng.choice((*good, *(str(value) for value in VALUES)))
            case _:
                return rng.choice(VALUES)

    def _changed(self, content: Any) -> Any:
        """Change one place of it."""
        rng = self._rng
        if isinstance(content, dict) and content and rng.random() < 0.8:
            name = rng.choice(list(content))
            if rng.random() < 0.1:
                return {one: value for one, value in content.items() if one != name}
            if rng.random() < 0.1:
                return {**content, rng.choice((CANARY, "", "~/", "\u0000", "pd")): 1}
            return {**content, name: self._changed(content[name])}
        if isinstance(content, list) and content and rng.random() < 0.8:
            place = rng.randrange(len(content))
            return [*content[:place], self._changed(content[place]), *content[place + 1 :]]
        return rng.choice(VALUES)

    # Tricks.

    def _as_it_is(self, case: Case) -> Case:
        return case

    def _header(self, case: Case, name: bytes, value: bytes) -> Case:
        kept = tuple(header for header in case.headers if header[0] != name)
        return replace(case, headers=(*kept, (name, value)))

    def _another_type(self, case: Case) -> Case:
        return self._header(case, b"content-type", self._rng.choice(TYPES).encode())

    def _another_key(self, case: Case) -> Case:
        return self._header(case, b"idempotency-key", self._rng.choice(KEYS))

    def _another_authorization(self, case: Case) -> Case:
        return self._header(case, b"authorization", self._rng.choice(AUTHORIZATIONS))

    def _odd_header(self, case: Case) -> Case:
        return replace(case, headers=(*case.headers, self._rng.choice(ODD_HEADERS)))

    def _another_method(self, case: Case) -> Case:
        return replace(case, method=self._rng.choice(METHODS))

    def _another_path(self, case: Case) -> Case:
        odd = ("//", "/../", f"/{CANARY}", "/v1/assessments/", "/" + "a" * 10_000, "/\u0000", "*")
        return replace(case, path=self._rng.choice(odd))

    def _queried(self, case: Case) -> Case:
        odd = (b"a=" + CANARY.encode(), b"%", b"&" * 5_000, b"\xff", b"limit=-1&cursor=%00")
        return replace(case, query=self._rng.choice(odd))

    def _broken_bytes(self, case: Case) -> Case:
        rng, body = self._rng, case.body or b'{"a": 1}'
        place = rng.randrange(len(body))
        made = rng.choice(
            (
                body[:place],
                body[:place] + bytes((rng.randrange(256),)) + body[place + 1 :],
                body[:place] + rng.randbytes(8) + body[place:],
                b"\xef\xbb\xbf" + body,
                body.decode("latin-1").encode("utf-16"),
                body + body,
                body + b"\x00",
                rng.randbytes(200),
                b"\xed\xa0\x80",
                body.replace(b'"', b"'"),
                CANARY.encode(),
            )
        )
        return replace(case, body=made)

    def _token(self, case: Case) -> Case:
        """Put a token where a value stood."""
        text = case.body.decode("utf-8", "replace")
        places = [place for place, sign in enumerate(text) if sign == ":"]
        token = self._rng.choice(TOKENS)
        if not places:
            return replace(case, body=token.encode())
        start = self._rng.choice(places) + 1
        ends = [place for sign in ",}" if (place := text.find(sign, start)) > 0]
        end = min(ends, default=len(text))
        return replace(case, body=f"{text[:start]} {token}{text[end:]}".encode())

    def _twice(self, case: Case) -> Case:
        """Say a name twice in an object."""
        inner = case.body.strip()[1:]
        return replace(case, body=b'{"customer": {"id": "' + CANARY.encode() + b'"}, ' + inner)

    def _deep(self, case: Case) -> Case:
        depth = self._rng.choice((20, 500, 30_000))
        signs = self._rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
        return replace(case, body=signs[0] * depth + b"1" + signs[1] * depth)

    def _long(self, case: Case) -> Case:
        if self._rng.random() < 0.95:  # the longest are rare, they take their time
            return replace(case, body=b" " * self._rng.choice((65_536, 65_537, 200_000)))
        return replace(case, body=b"[0]," * 16_384, times=960)  # 60 MB
