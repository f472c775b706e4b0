"""What the API takes and gives of decisions taken otherwise than the policy."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from models.policy_file import Kind
from models.strict_yaml import exact
from serving.override import LONGEST_REASON, SHORTEST_REASON, Wanted
from serving.schemas.alert import Instant
from serving.schemas.answer import Day, Hash, Money, Rate, RecordPlace, Told
from serving.schemas.request import Given, cents


def _is_a_date(text: str) -> str:
    try:
        date.fromisoformat(text)
    except ValueError:
        raise PydanticCustomError("no_date", "must be a date, as 2026-12-31") from None
    return text


class OverrideRequest(Given):
    """What a person decides about an assessed order, instead of the policy."""

    action: Annotated[
        Kind | Literal["withdraw"],
        Field(description="`withdraw` ends the decision in force; it takes a reason alone."),
    ]
    reason: Annotated[
        str,
        Field(
            min_length=SHORTEST_REASON,
            max_length=LONGEST_REASON,
            description="Why; it is recorded, and shown to risk and auditor keys only.",
        ),
    ]
    deposit_rate: Annotated[
        float | None, Field(gt=0, lt=1, description="Share of the amount, 0 to 1: with a deposit.")
    ] = None
    terms_days: Annotated[
        int | None, Field(gt=0, le=3650, description="Days: with shorter terms.")
    ] = None
    limit: Annotated[
        str | None,
        Field(
            pattern=r"^[0-9]{1,12}(\.[0-9]{1,2})?$",
            description="Exposure, the order included, up to which the decision holds, in units of "
            "the ledger's currency; by default what is owed and what it leaves on credit.",
        ),
    ] = None
    until: Annotated[
        Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$"), AfterValidator(_is_a_date)] | None,
        Field(description="Last day in force."),
    ] = None

    def wanted(self, assessment_id: str, by: str) -> Wanted:
        """Give the decision as the use case takes it."""
        if self.action == "withdraw":
            return Wanted(assessment_id, by, self.reason)
        return Wanted(
            assessment_id,
            by,
            self.reason,
            self.action,
            None if self.deposit_rate is None else exact(self.deposit_rate),
            self.terms_days,
            None if self.limit is None else cents(self.limit),
            None if self.until is None else date.fromisoformat(self.until),
        )


class Decided(Told):
    """What was decided."""

    action: Annotated[Kind, Field(description="What was decided.")]
    deposit_rate: Rate | None
    terms_days: Annotated[
        int | None, Field(description="Days from the invoice to its due date: with shorter terms.")
    ]
    limit: Money


class Proposed(Told):
    """What the policy would have done."""

    action: Annotated[str | None, Field(description="Null where it left the decision to a person.")]
    deposit_rate: Rate | None


class OverrideMade(Told):
    """A decision as recorded; amounts that end in ``_cents`` are whole cents."""

    id: Annotated[str, Field(description="Of the decision.", json_schema_extra={"format": "uuid"})]
    assessment: Annotated[dict[str, Any], Field(description="Its id and place on the record.")]
    customer_id: Annotated[str, Field(description="The seller's number for the customer.")]
    order: Annotated[dict[str, int], Field(description="In cents, and the terms in days.")]
    owed_cents: Annotated[int, Field(description="Owed when it was assessed, in cents.")]
    decided: Annotated[Decided | None, Field(description="Null: the one before is withdrawn.")]
    proposed: Proposed
    direction: Annotated[
        Literal["softer", "harder"] | None, Field(description="Than the policy; null: neither.")
    ]
    facts: Annotated[list[str], Field(description="What was true of the customer then.")]
    by: Annotated[str, Field(description="Who decided.")]
    role: Annotated[str, Field(description="Of the person, in the policy.")]
    authenticated: Annotated[bool, Field(description="By an API key.")]
    key: Annotated[str | None, Field(description="Id of that key.")] = None
    reason: Annotated[str, Field(description="Why, in the person's words.")]
    expires_on: Annotated[Day, Field(description="Last day in force.")]
    decided_at: Instant
    replaces: Annotated[str | None, Field(description="Id of the decision that it ends.")]
    policy: Hash


class OverrideTold(Told):
    """A decision and its place on the record."""

    override: OverrideMade
    record: RecordPlace


class OverridePage(Told):
    """Decisions in the order of the record."""

    overrides: Annotated[list[OverrideTold], Field(description="Oldest first.")]
    cursor: Annotated[str, Field(description="Send it to get what comes after.")]
    is_last: Annotated[bool, Field(description="False when more is there already.")]
