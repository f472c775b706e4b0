"""What the API gives of a customer, of an assessment's parts, and of what is in charge."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from serving.schemas.alert import AlertTold, Instant
from serving.schemas.answer import (
    Abstention,
    Customer,
    Day,
    DefaultCurve,
    DefaultInterval,
    Explanation,
    Exposure,
    Hash,
    LateBands,
    LateCurve,
    Line,
    Money,
    Option,
    OrderSeen,
    Override,
    PaidOn,
    Probability,
    Rate,
    Recommendation,
    RecordPlace,
    Rule,
    Told,
    Versions,
)


class ExplanationTold(Told):
    """What explains an assessment: the same values as in it."""

    id: str
    currency: str
    customer: Customer
    late: LateCurve | None
    late_bands: LateBands | None
    paid_on: PaidOn | None
    default: DefaultCurve | None
    default_interval: DefaultInterval | None
    abstentions: dict[Literal["late", "default"], Abstention]
    explanation: Explanation | None
    versions: Versions
    record: RecordPlace


class OptionsTold(Told):
    """What was weighed in an assessment: the same values as in it."""

    id: str
    currency: str
    order: OrderSeen
    recommendation: Recommendation
    derivation: list[Line]
    limit_derivation: list[Line]
    options: list[Option]
    rules: list[Rule]
    override: Override | None
    versions: Versions
    record: RecordPlace


class Scored(Told):
    """The scores of an assessment."""

    id: Annotated[str, Field(description="Of the assessment.")]
    known_at: Instant
    grade: str | None
    score: int | None
    default_365: Annotated[
        Probability | None, Field(description="That the customer defaults within 365 days.")
    ]
    late_30: Annotated[
        Probability | None, Field(description="That the invoice is paid over 30 days late.")
    ]
    action: str
    versions: Versions


class CoverNow(Told):
    """The insurer's decision in force."""

    covered: Annotated[Money, Field(description="0.00 when there is none.")]
    insured_rate: Rate
    valid_to: Day | None
    stale: Annotated[bool, Field(description="The insurer could not confirm it now.")]


class CustomerNow(Told):
    """A customer: exposure and cover now, score as last assessed."""

    id: str
    name: str | None
    country: str | None
    is_natural_person: bool
    as_of: Day
    known_at: Instant
    currency: Annotated[str, Field(description="ISO 4217, of all money in the answer.")]
    exposure: Exposure
    longest_overdue_days: Annotated[int, Field(description="Days; 0 when nothing is overdue.")]
    limit: Annotated[Money | None, Field(description="Decided by the seller, in the ledger.")]
    cover: CoverNow
    last_assessment: Scored | None
    override: Annotated[Override | None, Field(description="A person's decision in force.")]
    alerts: Annotated[list[AlertTold], Field(description="Those that stand, oldest first.")]


class ScoreHistory(Told):
    """Scores of a customer's assessments, newest first."""

    assessments: list[Scored]
    before: Annotated[
        str | None, Field(description="Send it to get the older ones; null: there are none.")
    ]


class ModelTold(Told):
    """A model in charge, or scored in its shadow."""

    question: Literal["late", "default"]
    place: Literal["champion", "shadow"]
    hash: Hash
    trained_on: Annotated[Hash | None, Field(description="The data it learned from.")]
    trained_from: Day | None
    cutoff: Annotated[Day | None, Field(description="What was known before it was learned.")]
    measured_until: Day | None
    metrics: Annotated[list[dict[str, Any]], Field(description="Out of time, by term in days.")]
    refused: Annotated[str | None, Field(description="Why it is not used, though it is named.")]


class ModelsTold(Told):
    """Which models speak, and which are scored beside them."""

    models: list[ModelTold]
    abstentions: Annotated[
        dict[str, Abstention], Field(description="By curve: why it has no champion.")
    ]


class PolicyTold(Told):
    """The policy in force."""

    hash: Hash
    version: str
    policy: Annotated[dict[str, Any], Field(description="Its file, as JSON.")]
