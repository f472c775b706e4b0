"""What the API takes: a customer and an order, checked strictly."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from models.policy import Order

LONGEST_TERMS_DAYS = 275  # + 90 days: the longest horizon of the default curve, 365


def cents(money: str) -> int:
    """Read money as cents.

    >>> cents("-19.5")
    -1950
    """
    return int(Decimal(money) * 100)


def printable(text: str) -> str:
    """Refuse control characters, NUL first: PostgreSQL cannot store it, logs can be forged."""
    if not text.isprintable():
        raise PydanticCustomError("notprintable", "must have printable characters only")
    return text


class Given(BaseModel):
    """A part of a request: no conversion, no unknown field, nothing of it in error messages."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True
    )


class CustomerGiven(Given):
    """The customer who orders."""

    id: Annotated[
        str,
        Field(min_length=1, max_length=128, description="The seller's number for the customer."),
        AfterValidator(printable),
    ]


class OrderGiven(Given):
    """The order to decide on."""

    amount: Annotated[
        str,
        Field(
            pattern=r"^[0-9]{1,12}(\.[0-9]{1,2})?$",
            description="Amount, tax included, > 0, in units of the ledger's currency.",
        ),
    ]
    margin: Annotated[
        str,
        Field(
            pattern=r"^-?[0-9]{1,12}(\.[0-9]{1,2})?$",
            description="What the seller earns on it if it is paid, in units of the ledger's "
            "currency; negative when sold at a loss. At most the amount, either way.",
        ),
    ]
    terms_days: Annotated[
        int,
        Field(
            ge=0,
            le=LONGEST_TERMS_DAYS,
            description="Days from the invoice to its due date.",
        ),
    ]

    paid: Annotated[
        str,
        Field(
            pattern=r"^[0-9]{1,12}(\.[0-9]{1,2})?$",
            description="Of the amount, received in advance (deposits, prepayment), and not among "
            "the payments of the ledger.",
        ),
    ] = "0.00"
    currency: Annotated[
        str | None,
        Field(
            pattern="^[A-Z]{3}$",
            description="ISO 4217; by default the ledger's. Another one needs exchange_rate.",
        ),
    ] = None
    exchange_rate: Annotated[
        str | None,
        Field(
            pattern=r"^[0-9]{1,9}(\.[0-9]{1,9})?$",
            description="Units of the ledger's currency for one unit of `currency`, > 0.",
        ),
    ] = None

    @field_validator("amount")
    @classmethod
    def _is_positive(cls, amount: str) -> str:
        if cents(amount) == 0:
            raise PydanticCustomError("not_positive", "must be > 0")
        return amount

    @field_validator("margin")
    @classmethod
    def _is_within_the_amount(cls, margin: str, info: ValidationInfo) -> str:
        amount = info.data.get("amount")  # absent when it is wrong itself
        if amount is not None and abs(cents(margin)) > cents(amount):
            raise PydanticCustomError("beyond_the_amount", "must be at most the amount, either way")
        return margin

    @field_validator("paid")
    @classmethod
    def _is_part_of_the_amount(cls, paid: str, info: ValidationInfo) -> str:
        amount = info.data.get("amount")
        if amount is not None and cents(paid) > cents(amount):
            raise PydanticCustomError("beyond_the_amount", "must be at most the amount")
        return paid

    @field_validator("exchange_rate")
    @classmethod
    def _converts_a_currency(cls, rate: str | None, info: ValidationInfo) -> str | None:
        if rate is not None and info.data.get("currency") is None:
            raise PydanticCustomError("no_currency", "needs a currency to convert from")
        if rate is not None and Decimal(rate) == 0:
            raise PydanticCustomError("not_positive", "must be > 0")
        return rate

    @property
    def stated_currency(self) -> str | None:
        """The currency that the order's cents are in; None is the ledger's."""
        return self.currency if self.exchange_rate is None else None

    def in_cents(self) -> Order:
        """Give the order as the use case takes it, converted where there is a rate."""
        rate = Decimal(self.exchange_rate or 1)
        amount, margin, paid = (
            round(cents(money) * rate) for money in (self.amount, self.margin, self.paid)
        )
        return Order(max(1, amount), margin, self.terms_days, min(paid, max(1, amount)))


class AssessmentRequest(Given):
    """A customer and the order to decide on."""

    customer: CustomerGiven
    order: Annotated[
        OrderGiven | None,
        Field(description="Without it, the customer's usual amount and terms are assumed."),
    ] = None
