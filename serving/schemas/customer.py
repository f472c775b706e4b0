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

    id: Annotated[str, Field(description="Of the assessment.")]
    currency: Annotated[str, Field(description="ISO 4217, of all money in it.")]
    customer: Customer
    late: LateCurve | None
    late_bands: LateBands | None
    paid_on: PaidOn | None
    default: DefaultCurve | None
    default_interval: DefaultInterval | None
    abstentions: Annotated[
        dict[Literal["late", "default"], Abstention],
        Field(description="By curve that says nothing: why."),
    ]
    explanation: Explanation | None
    versions: Versions
    record: RecordPlace


class OptionsTold(Told):
    """What was weighed in an assessment: the same values as in it."""

    id: Annotated[str, Field(description="Of the assessment.")]
    currency: Annotated[str, Field(description="ISO 4217, of all money in it.")]
    order: OrderSeen
    recommendation: Recommendation
    derivation: Annotated[
        list[Line], Field(description="How the chosen option's profit comes about, line by line.")
    ]
    limit_derivation: Annotated[
        list[Line], Field(description="How the limit comes about, line by line.")
    ]
    options: Annotated[
        list[Option], Field(description="All that were weighed, the most profitable first.")
    ]
    rules: Annotated[list[Rule], Field(description="Rules of the policy that fired.")]
    override: Override | None
    versions: Versions
    record: RecordPlace


class Scored(Told):
    """The scores of an assessment."""

    id: Annotated[str, Field(description="Of the assessment.")]
    known_at: Instant
    grade: Annotated[
        str | None, Field(description="A to H; null where the default curve abstained.")
    ]
    score: Annotated[
        int | None,
        Field(
            description="0 to 1000 points, higher is safer; null where the default curve abstained."
        ),
    ]
    default_365: Annotated[
        Probability | None, Field(description="That the customer defaults within 365 days.")
    ]
    late_30: Annotated[
        Probability | None, Field(description="That the invoice is paid over 30 days late.")
    ]
    action: Annotated[str, Field(description="What was recommended.")]
    versions: Versions


class CoverNow(Told):
    """The insurer's decision in force."""

    covered: Annotated[Money, Field(description="0.00 when there is none.")]
    insured_rate: Rate
    valid_to: Day | None
    stale: Annotated[bool, Field(description="The insurer could not confirm it now.")]


class CustomerNow(Told):
    """A customer: exposure and cover now, score as last assessed."""

    id: Annotated[str, Field(description="The seller's number for the customer.")]
    name: Annotated[str | None, Field(description="Null where the ledger has none.")]
    country: Annotated[str | None, Field(description="ISO 3166-1 alpha-2.")]
    is_natural_person: Annotated[
        bool, Field(description="Whether it is a sole trader: automated refusals need a person.")
    ]
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

    assessments: Annotated[list[Scored], Field(description="Newest first.")]
    before: Annotated[
        str | None, Field(description="Send it to get the older ones; null: there are none.")
    ]


class ModelTold(Told):
    """A model in charge, or scored in its shadow."""

    question: Annotated[Literal["late", "default"], Field(description="Which curve it is.")]
    place: Annotated[
        Literal["champion", "shadow"],
        Field(description="A champion answers; a shadow is scored beside it, for the record."),
    ]
    hash: Hash
    trained_on: Annotated[Hash | None, Field(description="The data it learned from.")]
    trained_from: Day | None
    cutoff: Annotated[Day | None, Field(description="What was known before it was learned.")]
    measured_until: Day | None
    metrics: Annotated[list[dict[str, Any]], Field(description="Out of time, by term in days.")]
    refused: Annotated[str | None, Field(description="Why it is not used, though it is named.")]


class ModelsTold(Told):
    """Which models speak, and which are scored beside them."""

    models: Annotated[list[ModelTold], Field(description="Champions first.")]
    abstentions: Annotated[
        dict[str, Abstention], Field(description="By curve: why it has no champion.")
    ]


class PolicyTold(Told):
    """The policy in force."""

    hash: Hash
    version: Annotated[str, Field(description="As its file names itself.")]
    policy: Annotated[dict[str, Any], Field(description="Its file, as JSON.")]
