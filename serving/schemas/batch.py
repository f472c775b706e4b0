"""Many assessments in one call: what is sent, and what comes back."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from serving.limits import MOST_ASSESSED_AT_ONCE
from serving.schemas.answer import Assessment, FieldError, Told
from serving.schemas.examples import ASSESSMENT_EXAMPLE
from serving.schemas.request import Given


class BatchRequest(Given):
    """Customers and orders to decide on; one that is not valid is refused alone."""

    items: Annotated[
        list[Any],  # each checked by itself
        Field(min_length=1, max_length=MOST_ASSESSED_AT_ONCE),
        WithJsonSchema(
            {
                "type": "array",
                "description": "Each as the body of a call of its own.",
                "minItems": 1,
                "maxItems": MOST_ASSESSED_AT_ONCE,
                "items": {"$ref": "#/components/schemas/AssessmentRequest"},
            }
        ),
    ]


class ItemProblem(Told):
    """Why one of many got no assessment; see Problem."""

    type: Annotated[
        str, Field(description="Stable name.", json_schema_extra={"format": "uri-reference"})
    ]
    title: Annotated[str, Field(description="In a few words.")]
    status: Annotated[int, Field(description="HTTP status code of a call of its own.")]
    detail: Annotated[str, Field(description="What to do.")]
    errors: Annotated[
        list[FieldError] | None,
        Field(description='Pointers into the whole request, such as "/items/3/order/amount".'),
    ] = None


class BatchItem(Told):
    """One of many: its assessment, or why there is none."""

    status: Annotated[int, Field(description="Status code that a call of its own would have had.")]
    assessment: Annotated[
        Assessment | None, Field(description="With status 201, and the same as of a single call.")
    ] = None
    problem: Annotated[ItemProblem | None, Field(description="With any other status.")] = None


class Batch(Told):
    """Many assessments, in the order sent."""

    id: Annotated[
        str, Field(description="Of the call, on the record.", json_schema_extra={"format": "uuid"})
    ]
    items: Annotated[list[BatchItem], Field(description="In the order sent.")]


BATCH_REQUEST_EXAMPLE: dict[str, Any] = {
    "items": [
        {
            "customer": {"id": "C-17"},
            "order": {"amount": "20000.00", "margin": "800.00", "terms_days": 30},
        },
        {"customer": {"id": "C-18"}},
    ]
}
BATCH_EXAMPLE: dict[str, Any] = {
    "id": "01981f2e-7c1a-7d33-9f4e-5a0b6c7d8ea0",
    "items": [
        {"status": 201, "assessment": ASSESSMENT_EXAMPLE},
        {
            "status": 404,
            "problem": {
                "type": "/problems/unknown-customer",
                "title": "Unknown customer",
                "status": 404,
                "detail": "The ledger does not know this customer: import it first.",
            },
        },
    ],
}
