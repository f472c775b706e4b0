"""The gate's rules: the schema of ``gate.yaml`` and its checks; see training/gate.py."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from training.dataset import DEFAULT, LATE, Question

PATH = Path(__file__).with_name("gate.yaml")
QUESTIONS = {question.name: question for question in (LATE, DEFAULT)}

Rate = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(gt=0)]


class GateError(ValueError):
    """The gate's rules cannot be used, or there is nothing to judge with."""


class Section(BaseModel):
    """A part of the rules, read strictly; gate.yaml explains each key."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Headline(Section):
    """Terms at which challenger and champion are compared."""

    late: tuple[int, ...] = Field(min_length=1, strict=False)
    default: tuple[int, ...] = Field(min_length=1, strict=False)

    @model_validator(mode="after")
    def _are_asked(self) -> Self:
        for question in QUESTIONS.values():
            for term in self.of(question):
                if not question.shortest <= term <= question.longest:
                    allowed = f"{question.shortest} to {question.longest}"
                    raise ValueError(f"{question.name}: {term} is not within {allowed} days")
        return self

    def of(self, question: Question) -> tuple[int, ...]:
        """Headline terms of one question."""
        return self.late if question is LATE else self.default


class Better(Section):
    """How the difference to the champion is measured."""

    resamples: Annotated[int, Field(ge=100)]
    fewest_events: Count


class Calibrated(Section):
    """How calibration is tested."""

    alpha_rate: Rate
    late_term_days: int
    late_bands_upper_rates: tuple[float, ...] = Field(min_length=1, strict=False)
    binds_first_promotion: bool

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if not LATE.shortest <= self.late_term_days <= LATE.longest:
            raise ValueError(f"late_term_days must be {LATE.shortest} to {LATE.longest}")
        bounds = (0.0, *self.late_bands_upper_rates)
        if any(high <= low for low, high in pairwise(bounds)) or bounds[-1] != 1:
            raise ValueError("late_bands_upper_rates must rise from above 0 to 1")
        return self


class SegmentRules(Section):
    """How much worse a segment may get."""

    worse_by_at_most_rate: Annotated[float, Field(ge=0, lt=1)]
    fewest_events: Count


class Monotone(Section):
    """How many pairs are moved."""

    pairs: Count


class Rules(Section):
    """The rules of one ``gate.yaml``.

    Attributes
    ----------
    sha256 : str
        Hash of the file's bytes, for the signed record.
    """

    four_eyes: bool
    headline_terms_days: Headline
    better: Better
    calibrated: Calibrated
    segments: SegmentRules
    monotone: Monotone
    _sha256: str = PrivateAttr("")

    @property
    def sha256(self) -> str:
        """SHA-256 of the file."""
        return self._sha256


def load(path: Path = PATH) -> Rules:
    """Read and check the rules.

    Raises
    ------
    GateError
        With one line for each fault: ``gate.yaml: better.resamples: ...``.
    """
    try:
        content = path.read_bytes()
        rules = Rules.model_validate(yaml.safe_load(content))
    except OSError as error:
        raise GateError(f"{path.name}: cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", error)
        raise GateError(f"{path.name}:{mark.line + 1 if mark else 1}: {problem}") from error
    except ValidationError as error:
        faults = [(".".join(map(str, one["loc"])), one["msg"]) for one in error.errors()]
        raise GateError("\n".join(f"{path.name}: {at}: {msg}" for at, msg in faults)) from error
    rules._sha256 = hashlib.sha256(content).hexdigest()
    return rules
