"""A cover as others write it, in a file or a reply: strict JSON, strict types, then a `Cover`."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeGuard

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from models.insurance import Cover

EARLIEST, LATEST = date(1990, 1, 1), date(2100, 1, 1)  # as in the ledger
LONGEST_IDENTIFIER = 256


MONEY = re.compile(r"[0-9]{1,12}(\.[0-9]{1,2})?")
A_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
AN_INSTANT = re.compile(
    A_DAY.pattern + r"T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})"
)


def _day(text: object) -> date | None:
    if text is None:
        return None
    try:
        day = date.fromisoformat(text) if _is(text, A_DAY) else None
    except ValueError:  # its message repeats what was sent
        day = None
    if day is None or not EARLIEST <= day <= LATEST:
        raise ValueError(f"must be a date as 2026-11-25, from {EARLIEST} to {LATEST}")
    return day


def _instant(text: object) -> datetime | None:
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text) if _is(text, AN_INSTANT) else None
    except ValueError:
        instant = None
    if instant is None or not EARLIEST <= instant.date() <= LATEST:
        raise ValueError("must be an instant with its zone, as 2026-11-25T09:00:00Z")
    return instant.astimezone(UTC)


def _money(text: object) -> str:
    if not _is(text, MONEY):
        raise ValueError('must be money as text, at most two decimals, as "40000.00"')
    return text


def _is(text: object, pattern: re.Pattern[str]) -> TypeGuard[str]:
    return isinstance(text, str) and pattern.fullmatch(text) is not None


Day = Annotated[date, BeforeValidator(_day)]
Money = Annotated[str, BeforeValidator(_money)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}\z")]
Identifier = Annotated[str, Field(min_length=1, max_length=LONGEST_IDENTIFIER)]


class CoverRow(BaseModel):
    """One decision of the insurer; unknown fields are passed over, missing ones are not.

    ``ends_on`` has to be there, null for a permanent cover, so that a misspelt key never makes a
    temporary cover permanent.
    """

    model_config = ConfigDict(
        strict=True, frozen=True, allow_inf_nan=False, hide_input_in_errors=True
    )

    amount: Money
    insured_rate: Annotated[float, Field(ge=0, le=1)] | None = None
    starts_on: Day
    ends_on: Annotated[date | None, BeforeValidator(_day)]
    decided_at: Annotated[datetime | None, BeforeValidator(_instant)] = None

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> CoverRow:
        if self.ends_on is not None and self.ends_on < self.starts_on:
            raise ValueError("ends_on is before starts_on")
        return self

    def cover(self, source: Literal["file", "http"], default_rate: Decimal) -> Cover:
        """Return the decision; without a share of its own it has the policy's."""
        rate = float(default_rate) if self.insured_rate is None else self.insured_rate
        decided_at = self.decided_at or datetime.combine(self.starts_on, time(), UTC)
        cents = int(Decimal(self.amount) * 100)
        return Cover(cents, rate, self.starts_on, self.ends_on, source, decided_at)


def faults(error: ValidationError) -> str:
    """Say what is wrong, field by field, without repeating what was sent."""
    found = [
        f"{'.'.join(map(str, one['loc']))}: {one['msg'].removeprefix('Value error, ')}"
        for one in error.errors()
    ]
    return "; ".join(found[:3]).removeprefix(": ")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    by_name = dict(pairs)
    if len(by_name) < len(pairs):
        raise ValueError("a name appears twice")
    return by_name


def _no_number(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


JSON = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_number)
"""JSON as in RFC 8259, each name once in an object, no NaN."""
