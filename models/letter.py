"""Reads ``letter.yaml``: what each measure and rule is called to the customer, without figures."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from features.dictionary import dictionary
from models.strict_yaml import Section, Whole, read

PATH = Path(__file__).with_name("letter.yaml")
ANY_OTHER = "any_other"


class LetterError(ValueError):
    """The words cannot be used; each line of the message says file, line, key and fault."""


class Said(Section):
    """A text in both languages; no digit stands in it."""

    fr: Annotated[str, Field(pattern="^[^0-9]+$")]
    en: Annotated[str, Field(pattern="^[^0-9]+$")]

    def of(self, language: str) -> str:
        """Give it in a language."""
        return self.fr if language == "fr" else self.en


class CustomerReason(Section):
    """A reason as the customer would name it, and what he can do about it.

    Attributes
    ----------
    measures : list of str
        ``family.field`` of the dictionary.
    plain : Said or None
        Where the value is above zero; ``neutral`` otherwise, ``missing`` without a value.
    """

    measures: list[str]
    plain: Said | None = None
    neutral: Said
    missing: Said
    do: Said

    def said_of(self, value: float | None) -> Said:
        """Choose the words that are true of a value."""
        if value is None:
            return self.missing
        return self.plain if self.plain is not None and value > 0 else self.neutral


class RuleWords(Section):
    """What a rule is called to the customer, and what he can do about it."""

    say: Said
    do: Said


class Frame(Section):
    """The sentences around the reasons."""

    thanks: Said
    usual: Said
    because: Said
    can_do: Said
    other_way: Said
    by_a_person: Said
    in_hand: Said
    whom: Said
    whom_short: Said
    natural_person: Said
    opening: Said
    closing: Said
    reference: Said


class LetterWords(Whole):
    """The whole file."""

    version: int
    reasons: dict[str, CustomerReason]
    rules: dict[str, RuleWords]
    letter: Frame

    @model_validator(mode="after")
    def _names_each_measure_once(self) -> Self:
        named = [one for reason in self.reasons.values() for one in reason.measures]
        known = {entry.field for entry in dictionary().values()}
        if unknown := sorted(set(named) - known):
            raise ValueError(f"unknown measures {unknown}")
        if unsaid := sorted(known - set(named)):
            raise ValueError(f"measures without words for the customer {unsaid}")
        if twice := sorted({one for one in named if named.count(one) > 1}):
            raise ValueError(f"measures that stand twice {twice}")
        if ANY_OTHER not in self.rules:
            raise ValueError(f"rules must have {ANY_OTHER}")
        return self

    def reason_of(self, feature: str) -> tuple[str, CustomerReason]:
        """Give the reason, with its name, that a feature stands for."""
        field = dictionary()[feature].field
        return next((name, one) for name, one in self.reasons.items() if field in one.measures)

    def rule_of(self, name: str) -> RuleWords:
        """Give the words of a rule or fact."""
        return self.rules.get(name, self.rules[ANY_OTHER])


@cache
def words() -> LetterWords:
    """Read the words that come with encours.

    Raises
    ------
    LetterError
    """
    return read(PATH, "letter", LetterWords, LetterError)
