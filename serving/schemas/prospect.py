"""What is asked of a prospect: what is known of a company that the ledger does not know."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from features.ledger import TABLES
from serving.limits import MOST_PROSPECT_ROWS
from serving.schemas.facts import FACTS_EXAMPLE, Facts
from serving.schemas.request import Given, OrderGiven


class ProspectRequest(Given):
    """A company that the ledger does not know, described by facts, and the order to decide on."""

    facts: Annotated[
        Facts,  # type: ignore[valid-type]  # a model made from the ledger's contract
        Field(
            description="One row of `customers`, with an id of your own choosing, and what else is "
            f"known of the company; at most {MOST_PROSPECT_ROWS:,} rows in all. A row without "
            "`recorded_at` was known on its own day."
        ),
    ]
    order: Annotated[
        OrderGiven, Field(description="Of a prospect no usual order can be assumed: it is needed.")
    ]

    @model_validator(mode="after")
    def _are_few(self) -> ProspectRequest:
        if sum(len(getattr(self.facts, name)) for name in TABLES) > MOST_PROSPECT_ROWS:
            raise PydanticCustomError(
                "too_many_rows", f"has more than {MOST_PROSPECT_ROWS:,} facts of one prospect"
            )
        return self


PROSPECT_EXAMPLE: dict[str, Any] = {
    "facts": {
        "customers": [{**FACTS_EXAMPLE["customers"][0], "customer_id": "P-204"}],
        "invoices": [
            {
                "invoice_id": "R-1",
                "customer_id": "P-204",
                "issued_on": "2025-04-01",
                "due_on": "2025-05-01",
                "amount": "1200.00",
            }
        ],
        "settlements": [
            {
                "settlement_id": "RP-1",
                "customer_id": "P-204",
                "invoice_id": "R-1",
                "kind": "payment",
                "settled_on": "2025-05-06",
                "amount": "1200.00",
            }
        ],
    },
    "order": {"amount": "4000.00", "margin": "320.00", "terms_days": 30},
}
