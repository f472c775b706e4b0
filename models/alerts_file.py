"""When a degradation is told: the schema of models/alerts.yaml, read strictly."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from models.strict_yaml import Number, Rate, Section, Whole, fault_at, read

PATH = Path(__file__).with_name("alerts.yaml")
Code = Literal[
    "insolvency_opened",
    "in_default",
    "cover_withdrawn",
    "cover_refused",
    "cover_reduced",
    "grade_worsened",
    "probability_multiplied",
    "overdue",
    "limit_exceeded",
    "insurer_deadline",
    "data_depth_lost",
]
CODES: tuple[Code, ...] = get_args(Code)
Severity = Literal["critical", "warning", "notice"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
Days = Annotated[int, Field(ge=0, le=3650)]
Steps = Annotated[int, Field(ge=1, le=7)]
Times = Annotated[Number, Field(gt=1, le=1000)]
Amount = Annotated[Number, Field(ge=0, le=Decimal(10) ** 12, decimal_places=2)]
Letter = Literal["A", "B", "C", "D", "E", "F", "G", "H"]


class AlertsError(ValueError):
    """The rules of alerts cannot be used; each line says file, line, key and fault."""


class Told(Section):
    """How urgent an alert is."""

    severity: Severity


class CoverReduced(Told):
    """Share of the cover that is gone."""

    at_least_rate: Annotated[Rate, Field(gt=0)]


class GradeWorsened(Told):
    """Notches of the master scale."""

    at_least_notches: Steps
    from_grade: Letter
    clears_below: Steps
    again_after_notches: Steps

    @model_validator(mode="after")
    def _clears_at_less(self) -> Self:
        if self.clears_below >= self.at_least_notches:
            raise fault_at("clears_below")(f"must be below {self.at_least_notches} notches")
        return self


class ProbabilityMultiplied(Told):
    """Times the probability of before."""

    at_least_times: Times
    above_rate: Rate
    clears_below_times: Times
    again_after_times: Times

    @model_validator(mode="after")
    def _clears_at_less(self) -> Self:
        if self.clears_below_times >= self.at_least_times:
            raise fault_at("clears_below_times")(f"must be below {self.at_least_times}")
        return self


class Overdue(Told):
    """Days after the due date, and how much."""

    after_days: Days
    at_least_amount: Amount
    at_least_rate: Rate
    clears_days: Days
    again_after_days: Annotated[Days, Field(ge=1)]

    @model_validator(mode="after")
    def _clears_at_less(self) -> Self:
        if self.clears_days >= self.after_days:
            raise fault_at("clears_days")(f"must be below {self.after_days} days")
        return self


class LimitExceeded(Told):
    """Exposure above the limit."""

    above_rate: Annotated[Number, Field(ge=0, le=100)]
    at_least_amount: Amount
    again_after_times: Times


class InsurerDeadline(Told):
    """Days until the last day, or since."""

    within_days: Days
    missed_days: Days
    at_least_amount: Amount


class DataDepthLost(Told):
    """Letters of how much is known."""

    at_least_letters: Steps
    from_letter: Literal["A", "B", "C", "D", "E", "F", "G"]
    clears_below: Steps
    again_after_letters: Steps

    @model_validator(mode="after")
    def _clears_at_less(self) -> Self:
        if self.clears_below >= self.at_least_letters:
            raise fault_at("clears_below")(f"must be below {self.at_least_letters} letters")
        return self


class AlertRules(Whole):
    """A checked file, as :func:`load` reads it."""

    version: str
    reference_days: Days
    first_sight: Annotated[tuple[Code, ...], Field(strict=False)]
    insolvency_opened: Told
    in_default: Told
    cover_withdrawn: Told
    cover_refused: Told
    cover_reduced: CoverReduced
    grade_worsened: GradeWorsened
    probability_multiplied: ProbabilityMultiplied
    overdue: Overdue
    limit_exceeded: LimitExceeded
    insurer_deadline: InsurerDeadline
    data_depth_lost: DataDepthLost

    def severity(self, code: Code) -> Severity:
        """Return how urgent alerts of a code are."""
        told: Told = getattr(self, code)
        return told.severity


def load(source: Path | str = PATH) -> AlertRules:
    """Read and check the rules of alerts.

    Parameters
    ----------
    source : Path or str
        A file, or the text of one.

    Raises
    ------
    AlertsError
        With one line for each fault: ``alerts.yaml:12: overdue.after_days: ...``.
    """
    return read(source, "alerts", AlertRules, AlertsError)
