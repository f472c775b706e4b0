"""The OpenAPI document; our own parsing and raw answers, unseen by FastAPI, are described here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from serving.contract import complete
from serving.fact_words import WORDS
from serving.limits import LONGEST_BODY_BYTES, LONGEST_PROSPECT_BYTES
from serving.problems import (
    FACT_REFUSED,
    INVALID,
    ORDER_NEEDED,
    TOO_MANY_CALLS,
    WAITS,
    Fault,
    Refusal,
    problem,
)
from serving.schemas import (
    ASSESSMENT_EXAMPLE,
    REQUEST_EXAMPLE,
    Assessment,
    AssessmentRequest,
    FieldError,
    Problem,
)
from serving.schemas.batch import BATCH_EXAMPLE, Batch, BatchRequest
from serving.schemas.counterfactuals import COUNTERFACTUALS_EXAMPLE, Counterfactuals
from serving.schemas.desk import DESK_EXAMPLES, DESK_MODELS
from serving.schemas.facts import FACTS_ANSWER_EXAMPLE, ROWS, Facts, FactsAnswer
from serving.schemas.jobs import JOB_EXAMPLE, Job, JobRequest
from serving.schemas.prospect import PROSPECT_EXAMPLE, ProspectRequest

_MODELS: tuple[type[BaseModel], ...] = (
    AssessmentRequest,
    Assessment,
    Problem,
    *ROWS.values(),
    Facts,
    FactsAnswer,
    ProspectRequest,
    *DESK_MODELS,
    BatchRequest,
    Batch,
    Counterfactuals,
    JobRequest,
    Job,
)


class Api(FastAPI):
    """FastAPI, with the components that our own parsing and raw answers keep from it."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI 3.1 document."""
        if self.openapi_schema is None:
            document = get_openapi(
                title=self.title,
                version=self.version,
                description=self.description,
                routes=self.routes,
            )
            self.openapi_schema = complete(document | {"components": _components()})
        return self.openapi_schema


def _components() -> dict[str, Any]:
    """Describe bodies; the example stands here because FastAPI drops nulls from a route's."""
    _, schemas = models_json_schema(
        [(model, "validation") for model in _MODELS],
        ref_template="#/components/schemas/{model}",
    )
    key = {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "encours_<id>_<secret>",
        "description": "An API key: `encours keys create`.",
    }
    return {
        "schemas": schemas["$defs"],
        "examples": {
            "assessment": {"value": ASSESSMENT_EXAMPLE},
            "pushed": {"value": FACTS_ANSWER_EXAMPLE},
            **DESK_EXAMPLES,
            "batch": {"value": BATCH_EXAMPLE},
            "counterfactuals": {"value": COUNTERFACTUALS_EXAMPLE},
            "job": {"value": JOB_EXAMPLE},
        },
        "securitySchemes": {"key": key},
    }


def content(model: type[Any], examples: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a body of JSON."""
    return _content("application/json", model, examples)


def _content(media_type: str, model: type[Any], examples: Mapping[str, Any]) -> dict[str, Any]:
    return {
        media_type: {
            "schema": {"$ref": f"#/components/schemas/{model.__name__}"},
            "examples": examples,
        }
    }


def problem_responses(*faults: Fault) -> dict[int | str, dict[str, Any]]:
    """Describe the problems that a route answers, one response a status."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for fault in faults:
        alike = [other for other in faults if other.status == fault.status]
        examples = {other.name: {"value": _example(other)} for other in alike}
        by_status[fault.status] = {
            "description": ", or ".join(f"{other.title} (`{other.name}`)" for other in alike),
            "headers": _RETRY_AFTER if fault in WAITS or fault is TOO_MANY_CALLS else {},
            "content": _content("application/problem+json", Problem, examples),
        }
    return by_status


def _example(fault: Fault) -> dict[str, Any]:
    errors = {
        INVALID: (FieldError(pointer="/order/amount", detail="must be > 0"),),
        ORDER_NEEDED: (FieldError(pointer="/order", detail="is required"),),
        FACT_REFUSED: (
            FieldError(
                pointer="/invoice_id",
                detail=WORDS["unknown_invoice"].en,
                reason="unknown_invoice",
            ),
        ),
    }
    return problem("0123456789abcdef0123456789abcdef", Refusal(fault, None, errors.get(fault, ())))


def told(model: type[Any], example: str) -> dict[str, Any]:
    """Describe an answer by its model and one of the document's examples."""
    named = {"example": {"$ref": f"#/components/examples/{example}"}}
    return _content("application/json", model, named)


def taken(model: type[Any], **examples: Any) -> dict[str, Any]:
    """Describe a body that a route takes."""
    shown = {name: {"value": value} for name, value in examples.items()}
    return {
        "required": True,
        "description": f"At most {LONGEST_BODY_BYTES // 1024} KiB of UTF-8.",
        "content": _content("application/json", model, shown),
    }


def header(description: str, kind: str) -> dict[str, Any]:
    """Describe a header of an answer."""
    return {"description": description, "schema": {"type": kind}}


_RETRY_AFTER = {"Retry-After": header("Seconds to wait.", "integer")}
ASSESSED = _content(
    "application/json", Assessment, {"deposit": {"$ref": "#/components/examples/assessment"}}
)
PUSHED = _content(
    "application/json", FactsAnswer, {"facts": {"$ref": "#/components/examples/pushed"}}
)


def request_body(model: type[Any], most_bytes: int, examples: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a body that we parse ourselves."""
    return {
        "required": True,
        "description": f"At most {most_bytes // 1024} KiB of UTF-8, each name once an object.",
        "content": _content("application/json", model, examples),
    }


ASSESSMENT_REQUEST = request_body(
    AssessmentRequest,
    LONGEST_BODY_BYTES,
    {"order": {"value": REQUEST_EXAMPLE}, "usual_order": {"value": {"customer": {"id": "C-17"}}}},
)
PROSPECT_REQUEST = request_body(
    ProspectRequest, LONGEST_PROSPECT_BYTES, {"prospect": {"value": PROSPECT_EXAMPLE}}
)
ASSESSMENT_ID = {
    "name": "assessment_id",
    "in": "path",
    "required": True,
    "description": "The `id` of the answer.",
    "schema": {"type": "string", "format": "uuid"},
}
