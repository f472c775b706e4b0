"""What an assessment says to a salesperson, to the customer and to an auditor."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from serving.registers import registers
from serving.schemas.answer import Abstention, English, French, Probability, Told
from serving.schemas.examples import ASSESSMENT_EXAMPLE


class Both(Told):
    """A text in both languages."""

    fr: French
    en: English


class CustomerLetter(Told):
    """A letter to the customer, in parts and as a whole; no probability, score or limit in it."""

    decision: Annotated[str, Field(description="What was decided.")]
    reasons: Annotated[
        list[str],
        Field(max_length=4, description="Principal reasons; none where nothing was held against."),
    ]
    can_do: Annotated[list[str], Field(description="What the customer can do about it.")]
    notes: Annotated[list[str], Field(description="That a person decides; rights of a person.")]
    whom: Annotated[str, Field(description="Whom to ask.")]
    reference: Annotated[str, Field(description="Of the assessment: its `id`.")]
    text: Annotated[str, Field(description="The letter, to be sent.")]


class CustomerLetters(Told):
    """The letter in both languages."""

    fr: Annotated[CustomerLetter, Field(description="In French.")]
    en: Annotated[CustomerLetter, Field(description="In English.")]


class Measure(Told):
    """A measure, and what it moved."""

    code: Annotated[str, Field(description="Stable name.")]
    feature: Annotated[str, Field(description="The measure, as named in docs/features.md.")]
    fr: French
    en: English
    value: Annotated[float | None, Field(description="In `unit`; null when missing.")]
    unit: Annotated[str, Field(description="Of `value` and `compare`: days, share, money …")]
    compare: Annotated[
        float | None,
        Field(description="Median of the customers the model learned from, in `unit`."),
    ]
    contribution: Annotated[
        float | None,
        Field(
            description="In log-odds; positive raises the probability. Null where the curve does "
            "not read it."
        ),
    ]


class Audited(Told):
    """Everything: base + sum of contributions = log_odds."""

    curve: Annotated[
        Literal["late", "default"] | None, Field(description="Which probability is taken apart.")
    ]
    horizon_days: Annotated[
        int | None, Field(description="Horizon of the probability, in days; null with `curve`.")
    ]
    base: Annotated[float | None, Field(description="What any customer gets, in log-odds.")]
    measures: Annotated[list[Measure], Field(description="All of them, in their order.")]
    sum: Annotated[
        float | None, Field(description="Base and all contributions, in log-odds; as `log_odds`.")
    ]
    log_odds: Annotated[float | None, Field(description="As recorded, in log-odds.")]
    probability: Annotated[Probability | None, Field(description="1 / (1 + exp(−log_odds)).")]
    abstentions: Annotated[
        dict[Literal["late", "default"], Abstention],
        Field(description="By curve that says nothing: why."),
    ]
    versions: Annotated[
        dict[str, str | None],
        Field(description="Of models, policies, words and code, most by SHA-256."),
    ]


class Registers(Told):
    """One recorded answer, told to three people."""

    id: Annotated[str, Field(description="Of the assessment.")]
    currency: Annotated[str, Field(description="ISO 4217, of all money in it.")]
    salesperson: Annotated[Both, Field(description="One sentence: what to do, and why.")]
    customer: Annotated[CustomerLetters, Field(description="A letter, to be sent as it is.")]
    auditor: Annotated[
        Audited | None, Field(description="Null unless the key is a risk's or an auditor's.")
    ]


_KEPT: dict[str, Any] = {
    "features": ["nan", (23.0).hex()],
    "contributions": {"base": (-4.1).hex(), "by_feature": [(0.06).hex(), (0.84).hex()]},
    "runs_on": {},
}
REGISTERS_EXAMPLE = registers({"answer": ASSESSMENT_EXAMPLE, "evidence": _KEPT}, whole=True)
REGISTERS_EXAMPLE["auditor"]["versions"] = ASSESSMENT_EXAMPLE["versions"]
