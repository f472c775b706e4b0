"""The parameters of the receivables toolbox: the schema of ``receivables.yaml`` and its checks."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from models.strict_yaml import Number, Rate, Section, Whole, read

PATH = Path(__file__).with_name("receivables.yaml")


class ReceivablesError(ValueError):
    """The parameters cannot be used; each line says file, line, key and fault."""


def _in_steps(step: str) -> AfterValidator:
    def check(number: Decimal) -> Decimal:
        if number.is_finite() and number % Decimal(step):
            raise ValueError(f"must be a multiple of {step}")
        return number

    return AfterValidator(check)


YearlyRate = Annotated[Rate, _in_steps("0.0001")]
Euros = Annotated[Number, Field(ge=0), _in_steps("0.01")]
Days = Annotated[int, Field(gt=0)]
Bounds = Annotated[tuple[int, ...], Field(min_length=1, strict=False)]


def _require_buckets(bounds: tuple[int, ...]) -> None:
    if bounds[0] != 0 or any(low >= high for low, high in pairwise(bounds)):
        raise ValueError(f"ageing_days must begin with 0 and rise; got {list(bounds)}")


class Measures(Section):
    """What the measures count."""

    sales_days: Days
    settled_days: Days
    ageing_days: Bounds
    named_customer_rate: Rate

    @model_validator(mode="after")
    def _rises(self) -> Self:
        _require_buckets(self.ageing_days)
        return self


class Provision(Section):
    """What the provision matrix reckons with."""

    ageing_days: Bounds
    default_days: Days
    history_days: Days
    fewest_invoices: Days
    lgd_rate: Rate
    horizon_days: Days

    @model_validator(mode="after")
    def _rises(self) -> Self:
        _require_buckets((*self.ageing_days, self.default_days))
        return self


class Factoring(Section):
    """What a factor accepts."""

    most_days_past_due: Annotated[int, Field(ge=0)]
    most_days_old: Days
    cross_aged_rate: Rate
    approval: Literal["not_refused", "cover"]
    concentration_rate: Rate
    advance_rate: Rate
    related_customers: Annotated[tuple[str, ...], Field(strict=False)]


class HalfYear(Section):
    """Official rates of a period, both days included."""

    first_on: Annotated[date, Field(alias="from")]
    last_on: Annotated[date, Field(alias="to")]
    ecb_rate: YearlyRate
    legal_rate: YearlyRate

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Self:
        if self.last_on < self.first_on:
            raise ValueError(f"ends on {self.last_on}, before it begins")
        return self


class LateInterest(Section):
    """What late payment costs the customer."""

    points_rate: YearlyRate
    agreed_rate: YearlyRate | None
    legal_multiple: Annotated[int, Field(ge=0)]
    year_days: Literal[360, 365]
    indemnity: Euros
    limitation_days: Days
    rates: Annotated[tuple[HalfYear, ...], Field(strict=False)]

    @property
    def indemnity_cents(self) -> int:
        """The indemnity of one late invoice."""
        return int(self.indemnity * 100)

    def rate(self, period: HalfYear) -> Decimal:
        """Give the yearly rate of a period.

        The floor of three times the legal rate binds what was agreed; what was not agreed is the
        ECB's rate and ten points (C. com. L441-10 II), even where that is less.
        """
        if self.agreed_rate is None:
            return period.ecb_rate + self.points_rate
        return max(self.agreed_rate, self.legal_multiple * period.legal_rate)

    @model_validator(mode="after")
    def _covers_no_day_twice(self) -> Self:
        for earlier, later in pairwise(self.rates):
            if later.first_on <= earlier.last_on:
                raise ValueError(f"rates: {later.first_on} is covered twice, or not in order")
        return self


class Parameters(Whole):
    """A checked ``receivables.yaml``, as :func:`load` reads it."""

    version: str
    measures: Measures
    provision: Provision
    factoring: Factoring
    late_interest: LateInterest


def load(source: Path | str = PATH) -> Parameters:
    """Read and check the parameters.

    Parameters
    ----------
    source : Path or str
        A file, or the text of one.

    Raises
    ------
    ReceivablesError
        With one line for each fault: ``receivables.yaml:12: provision.lgd_rate: ...``.
    """
    return read(source, "receivables", Parameters, ReceivablesError)
