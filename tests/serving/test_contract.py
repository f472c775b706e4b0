"""What an integrator reads: every route, every field, every error, in 3.1 and in 3.0."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import re
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docs import integration_page, openapi_page
from serving import problems
from serving.contract import complete, fields, kind_of, operations
from serving.keys import ROLES
from serving.openapi_3_0 import down, schema
from serving.problems import Fault
from serving.routes.documentation import FILES, PAGES, POLICY
from tests.serving import draft_04

OFFICIAL = json.loads(Path(__file__).with_name("openapi-3.0.schema.json").read_text("utf-8"))
DOCUMENT = openapi_page.document()
OPERATIONS = {f"{method.upper()} {path}": one for path, method, one in operations(DOCUMENT)}
FIELDS = {f"{name}.{field}": said for name, field, said in fields(DOCUMENT)}
A_UNIT = re.compile(
    r"days?|0 to 1|currenc|cents|log-odds|`unit`|seconds?|milliseconds?|bytes|KiB|points|years?"
    r"|number of|how many|status code|percent|rows?|calls",
    re.IGNORECASE,
)


def call(path: str, **headers: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=openapi_page.app())
        async with httpx.AsyncClient(transport=transport, base_url="http://encours") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(ask())


# Nothing is left undescribed.


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_an_operation_says_what_it_does_for_whom_and_shows_an_example(operation):
    assert operation["operationId"]
    assert operation["summary"]
    assert operation["tags"]
    roles = operation["x-roles"]
    assert set(roles) <= set(ROLES)
    assert operation["security"] == ([{"key": []}] if roles else [])
    ends = f"Roles: {', '.join(roles)}." if roles else "Needs no key."
    assert operation["description"].endswith(ends)
    assert len(operation["description"]) > len(ends)
    bodies = [operation["requestBody"]] if "requestBody" in operation else []
    bodies += [said for status, said in operation["responses"].items() if status.startswith("2")]
    assert bodies
    for body in bodies:
        assert body["description"]
        for kind, content in body.get("content", {}).items():
            assert "schema" in content
            is_json = kind.endswith("json")
            assert not is_json or content.get("examples") or "example" in content
    for parameter in operation.get("parameters", []):
        assert parameter["description"], parameter["name"]
        assert "example" in parameter or "examples" in parameter, parameter["name"]


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_every_error_of_an_operation_has_the_shape_of_a_problem(operation):
    errors = {s: said for s, said in operation["responses"].items() if not s.startswith("2")}
    assert {"404", "405", "500"} <= set(errors)
    if operation["x-roles"]:
        assert {"401", "403", "429", "503"} <= set(errors)
    if "requestBody" in operation:
        assert {"400", "413", "415", "422"} <= set(errors)
    for status, said in errors.items():
        content = said["content"]["application/problem+json"]
        assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
        assert content["examples"]
        for example in content["examples"].values():
            assert str(example["value"]["status"]) == status
    assert all("Retry-After" in errors[s]["headers"] for s in ("429", "503") if s in errors)


@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS)
def test_a_field_is_described_and_a_number_says_its_unit(field):
    branches = [field, *field.get("anyOf", ()), *field.get("allOf", ())]
    schemas = DOCUMENT["components"]["schemas"]
    referred = [schemas[one["$ref"].rpartition("/")[2]] for one in branches if "$ref" in one]
    said = [one["description"] for one in (field, *referred) if one.get("description")]
    assert said
    is_number = any(one.get("type") in {"number", "integer"} for one in branches)
    if (is_number or kind_of(field)) and not field.get("description", "").startswith("Number"):
        assert A_UNIT.search(said[0]) or kind_of(field) in {"day", "instant"}


def test_operation_ids_are_names_that_generators_take_as_they_are():
    ids = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch("[a-z][a-z0-9_]*", id) for id in ids)


def test_units_roles_tags_and_examples_are_added_where_none_is_said():
    money = {"type": "string", "pattern": r"^-?[0-9]+\.[0-9]{2}$", "description": "Unpaid."}
    share = {"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "null"}]}
    told = {"description": "Paid, in units of the ledger's currency.", "pattern": money["pattern"]}
    asked = [{"schema": {"enum": ["a", "b"]}}, {"schema": {"format": "uuid"}, "example": "mine"}]
    operation = {"x-roles": ["crm", "risk"], "description": "A.", "parameters": asked}
    document = {
        "paths": {"/v1/things/{id}": {"get": operation}},
        "components": {"schemas": {"A": {"properties": {"a": money, "b": share, "c": told}}}},
    }
    complete(document)
    assert money["description"] == "Unpaid. In units of `currency`, two decimals."
    assert share["description"] == "0 to 1."
    assert told["description"] == "Paid, in units of the ledger's currency."
    assert operation["description"] == "A. Roles: crm, risk."
    assert [one["example"] for one in asked] == ["a", "mine"]
    assert document["tags"] == [{"name": "things"}]


# The same contract in 3.0.


def test_the_description_in_3_0_follows_the_official_schema():
    assert list(draft_04.errors(OFFICIAL, down(DOCUMENT))) == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda document: document.pop("info"),
        lambda document: document.update(openapi="3.1.0"),
        lambda document: document["paths"]["/v1/assessments"]["post"].pop("responses"),
        lambda document: document["components"]["schemas"]["Line"].update(type=["object", "null"]),
        lambda document: document["components"]["schemas"]["Line"].update(const=1),
        lambda document: document["components"]["schemas"]["Line"].update(examples=[1]),
        lambda document: document["components"]["schemas"]["Line"].update(exclusiveMinimum=0),
    ],
)
def test_what_is_not_3_0_does_not_follow_the_official_schema(spoil):
    document = down(DOCUMENT)
    spoil(document)
    assert list(draft_04.errors(OFFICIAL, document)) != []


def test_the_description_in_3_0_has_the_same_operations_and_fields():
    older = down(DOCUMENT)
    assert [one[:2] for one in operations(older)] == [one[:2] for one in operations(DOCUMENT)]
    assert [one[:2] for one in fields(older)] == [one[:2] for one in fields(DOCUMENT)]
    for (_, _, new), (_, _, old) in zip(operations(DOCUMENT), operations(older), strict=True):
        assert old["responses"].keys() == new["responses"].keys()
        assert old["x-roles"] == new["x-roles"]
    assert json.dumps(openapi_page.document()) == json.dumps(DOCUMENT)  # it was not changed


LINE = {"$ref": "#/components/schemas/Line"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": ["string", "null"]}, {"type": "string", "nullable": True}),
        (
            {"type": ["string", "integer"]},
            {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        ),
        ({"type": ["string"]}, {"type": "string"}),
        ({"anyOf": [False, {"type": "null"}]}, {"not": {}, "nullable": True}),
        ({"type": "null"}, {"type": "string", "nullable": True, "enum": [None]}),
        (
            {"anyOf": [{"type": "number", "minimum": 0}, {"type": "null"}], "description": "d"},
            {"type": "number", "minimum": 0, "nullable": True, "description": "d"},
        ),
        (
            {"anyOf": [LINE, {"type": "null"}], "description": "d"},
            {"type": "object", "allOf": [LINE], "nullable": True, "description": "d"},
        ),
        (
            {"oneOf": [LINE, {"type": "string"}, {"type": "null"}]},
            {"oneOf": [LINE, {"type": "string"}], "nullable": True},
        ),
        ({"anyOf": [LINE, {"type": "string"}]}, {"anyOf": [LINE, {"type": "string"}]}),
        (
            {"anyOf": [{"enum": ["a"], "type": "string"}, {"type": "null"}]},
            {"enum": ["a", None], "type": "string", "nullable": True},
        ),
        ({"const": "a", "type": "string"}, {"enum": ["a"], "type": "string"}),
        ({"examples": ["a", "b"]}, {"example": "a"}),
        ({"exclusiveMinimum": 0}, {"minimum": 0, "exclusiveMinimum": True}),
        ({"exclusiveMaximum": 5, "maximum": 9}, {"maximum": 5, "exclusiveMaximum": True}),
        ({"exclusiveMaximum": 9, "maximum": 5}, {"maximum": 5}),
        (
            {"type": "array", "prefixItems": [{"type": "string"}, LINE], "items": False},
            {"type": "array", "items": {"anyOf": [{"type": "string"}, LINE]}, "maxItems": 2},
        ),
        (
            {"type": "array", "prefixItems": [LINE], "maxItems": 1, "minItems": 1},
            {"type": "array", "items": LINE, "maxItems": 1, "minItems": 1},
        ),
        ({"type": "array", "prefixItems": [LINE]}, {"type": "array", "items": {}}),
        ({"type": "array"}, {"type": "array", "items": {}}),
        (LINE, LINE),
        ({**LINE, "description": "d"}, {"allOf": [LINE], "description": "d"}),
        (
            {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/png"},
            {"type": "string", "format": "byte"},
        ),
        (
            {"type": "string", "contentMediaType": "application/octet-stream"},
            {"type": "string", "format": "binary"},
        ),
        (
            {"type": "object", "patternProperties": {"^a": LINE}, "additionalProperties": False},
            {"type": "object", "additionalProperties": LINE},
        ),
        ({"type": "object", "patternProperties": {"^a": LINE}}, {"type": "object"}),
        ({"propertyNames": {"enum": ["a"]}, "if": {}, "$comment": "c"}, {}),
        ({"properties": {"const": {"const": 1}}}, {"properties": {"const": {"enum": [1]}}}),
        ({"not": {"const": 1}, "x-a": 1}, {"not": {"enum": [1]}, "x-a": 1}),
        (True, {}),
        (False, {"not": {}}),
        ({"default": {"const": 1}, "example": {"type": ["a"]}},) * 2,
    ],
)
def test_what_3_0_says_otherwise_is_said_otherwise(given, expected):
    before = json.dumps(given)
    assert schema(given) == expected
    assert json.dumps(given) == before


def test_what_3_1_added_to_the_document_is_said_otherwise_or_left_out():
    older = down(
        {
            "openapi": "3.1.0",
            "jsonSchemaDialect": "d",
            "info": {
                "title": "t",
                "version": "1",
                "summary": "s",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "webhooks": {"w": {"post": {"operationId": "w"}}},
            "components": {
                "pathItems": {"p": {}},
                "responses": {"r": {"description": "d"}},
                "examples": {"e": {"value": {"const": 1, "schema": {"const": 1}}}},
            },
        }
    )
    assert older == {
        "openapi": "3.0.3",
        "info": {"title": "t", "version": "1", "license": {"name": "Apache-2.0"}},
        "paths": {},
        "x-webhooks": {
            "w": {
                "post": {
                    "operationId": "w",
                    "responses": {"default": {"description": "Not described."}},
                }
            }
        },
        "components": {
            "responses": {"r": {"description": "d"}},
            "examples": {"e": {"value": {"const": 1, "schema": {"const": 1}}}},
        },
    }


types = st.sampled_from(["string", "integer", "number", "boolean", "object", "null"])
schemas = st.recursive(
    st.booleans()
    | st.fixed_dictionaries(
        {},
        optional={
            "type": types | st.lists(types, min_size=1, max_size=3, unique=True),
            "const": st.integers(),
            "enum": st.lists(st.integers() | st.none(), min_size=1, max_size=3, unique=True),
            "examples": st.lists(st.integers(), max_size=2),
            "exclusiveMinimum": st.integers(),
            "minimum": st.integers(),
            "$comment": st.text(),
        },
    ),
    lambda inside: st.fixed_dictionaries(
        {},
        optional={
            "anyOf": st.lists(inside | st.just({"type": "null"}), min_size=1, max_size=3),
            "oneOf": st.lists(inside | st.just(LINE), min_size=1, max_size=3),
            "properties": st.dictionaries(st.sampled_from("ab"), inside, max_size=2),
            "patternProperties": st.dictionaries(st.just("^a"), inside, max_size=1),
            "additionalProperties": inside,
            "prefixItems": st.lists(inside, min_size=1, max_size=2),
            "items": inside,
            "not": inside,
        },
    ),
    max_leaves=6,
)


@given(schemas)
def test_any_schema_of_3_1_becomes_one_that_follows_the_official_schema_of_3_0(given):
    wanted = {"$ref": "#/definitions/Schema"}
    converted = schema(given)
    assert list(draft_04.errors(wanted, converted, OFFICIAL)) == []


# Where it stands.


@pytest.mark.parametrize("file", openapi_page.FILES, ids=lambda file: file.name)
def test_the_committed_copy_is_what_the_service_says(file):
    said = openapi_page.FILES[file]()
    refresh = "refresh it with: make docs   (or: .venv/bin/python -m docs.openapi_page)"
    assert json.loads(file.read_text("utf-8")) == said, refresh


@pytest.mark.parametrize(("path", "version"), [("openapi", "3.1.0"), ("openapi-3.0", "3.0.3")])
def test_it_is_served_in_both_versions_without_a_key(path, version):
    answer = call(f"/{path}.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["openapi"] == version
    assert answer.json() == json.loads((openapi_page.HERE / f"{path}.json").read_text("utf-8"))


def test_the_index_names_every_operation():
    named = call("/").json()
    assert {operation["operationId"] for operation in OPERATIONS.values()} <= named.keys()
    assert set(OPERATIONS) <= set(named.values())


# The page for people.


def test_the_page_runs_files_of_ours_only_and_nothing_inline():
    answer = call("/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == POLICY
    assert "unsafe" not in POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    page = answer.text
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|https?:|//", page)
    loaded = re.findall(r'(?:src|href)="docs/([^"]+)"', page)
    assert set(loaded) == set(FILES)
    for name in loaded:
        assert call(f"/docs/{name}").status_code == 200


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_the_page_is_the_same_compressed_or_not(name):
    small, plain = call(f"/docs/{name}"), call(f"/docs/{name}", **{"Accept-Encoding": "identity"})
    assert small.content == plain.content  # httpx decompresses
    assert small.headers["content-type"] == f"{FILES[name]}; charset=utf-8"
    assert "content-encoding" not in plain.headers
    assert small.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "name", ["index.html", "NOTICE", "..%2Fdocs%2Findex.html", "swagger-ui-bundle.js.gz", "%00"]
)
def test_no_other_file_is_served(name):
    assert call(f"/docs/{name}").json()["type"] == "/problems/not-found"


def test_what_is_vendored_is_what_its_notice_says():
    notice = (PAGES / "NOTICE").read_text("utf-8")
    said = dict(reversed(one) for one in re.findall(r"^([0-9a-f]{64})  (\S+)$", notice, re.M))
    assert set(said) == set(FILES) - {"page.js"}
    for name, sha256 in said.items():
        packed = PAGES / f"{name}.gz"
        content = gzip.decompress(packed.read_bytes()) if packed.exists() else None
        content = (PAGES / name).read_bytes() if content is None else content
        assert hashlib.sha256(content).hexdigest() == sha256
    assert (PAGES / "LICENSE").exists()


# The guide.


def test_the_tables_of_the_guide_are_what_the_code_says():
    text = integration_page.PAGE.read_text("utf-8")
    refresh = "refresh it with: make docs   (or: .venv/bin/python -m docs.integration_page)"
    assert integration_page.written(text) == text, refresh
    for problem in {value for value in vars(problems).values() if isinstance(value, Fault)}:
        assert f"`{problem.name}`" in text


def test_the_guide_says_that_its_recipes_were_not_run_and_where_they_come_from():
    recipes = integration_page.PAGE.read_text("utf-8").partition("## Recipes")[2]
    assert "not run against any of them" in recipes
    for part in recipes.split("\n### ")[1:]:
        assert "https://" in part.replace("https://encours.example", ""), part[:40]


def test_the_python_of_the_guide_is_python():
    text = integration_page.PAGE.read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        compile(block, "docs/integration.md", "exec")
