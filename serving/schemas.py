"""What the API takes and gives: the request, checked strictly, and the answers, described.

Answers leave as the exact bytes of the record; their models here describe them in the OpenAPI
document and hold them to it in the tests. Money is a string in units of the ledger's currency:
JSON numbers are binary floats in most readers.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from models.policy import Order
from models.policy_file import Action, Kind

LONGEST_TERMS_DAYS = 275  # + 90 days: the longest horizon of the default curve, 365


def cents(money: str) -> int:
    """Read money as cents.

    >>> cents("-19.5")
    -1950
    """
    return int(Decimal(money) * 100)


def _printable(text: str) -> str:
    """Refuse control characters, NUL first: PostgreSQL cannot store it, logs can be forged."""
    if not text.isprintable():
        raise PydanticCustomError("not_printable", "must have printable characters only")
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
        AfterValidator(_printable),
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

    def in_cents(self) -> Order:
        """Give the order as the use case takes it."""
        return Order(cents(self.amount), cents(self.margin), self.terms_days)


class AssessmentRequest(Given):
    """A customer and the order to decide on."""

    customer: CustomerGiven
    order: Annotated[
        OrderGiven | None,
        Field(description="Without it, the customer's usual amount and terms are assumed."),
    ] = None


def _open_ended(schema: dict[str, Any]) -> None:
    schema.pop("additionalProperties")


class Told(BaseModel):
    """A part of an answer; tests allow no other field, integrators have to: some will come."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=_open_ended)


Money = Annotated[
    str,
    Field(
        pattern=r"^-?[0-9]+\.[0-9]{2}$",
        description="In units of `currency`, two decimals.",
    ),
]
Probability = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(ge=0, le=1, description="A share, 0 to 1.")]
Day = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$", json_schema_extra={"format": "date"})]
Hash = Annotated[str, Field(pattern="^sha256:[0-9a-f]{64}$")]
French = Annotated[str, Field(description="In French.")]
English = Annotated[str, Field(description="In English.")]


class Customer(Told):
    """The customer, as the ledger knows it."""

    id: str
    name: str | None
    is_natural_person: bool
    country: Annotated[str | None, Field(description="ISO 3166-1 alpha-2.")]


class OrderSeen(Told):
    """The order that was assessed."""

    amount: Money
    margin: Money
    terms_days: Annotated[int, Field(description="Days from the invoice to its due date.")]
    assumed: Annotated[
        bool, Field(description="True when no order was given: the customer's usual one.")
    ]


class LateCurve(Told):
    """Probability that the invoice is paid more than that many days after its due date."""

    days_0: Annotated[Probability, Field(alias="0")]
    days_5: Annotated[Probability, Field(alias="5")]
    days_15: Annotated[Probability, Field(alias="15")]
    days_30: Annotated[Probability, Field(alias="30")]
    days_60: Annotated[Probability, Field(alias="60")]


class PaidOn(Told):
    """Dates by which the payment arrives with that probability; null beyond the curve."""

    p10: Day | None
    p50: Day | None
    p90: Day | None


class DefaultCurve(Told):
    """Probability that the customer defaults within that many days."""

    days_30: Annotated[Probability, Field(alias="30")]
    days_90: Annotated[Probability, Field(alias="90")]
    days_180: Annotated[Probability, Field(alias="180")]
    days_365: Annotated[Probability, Field(alias="365")]


class Abstention(BaseModel):
    """Why a curve gives no probability; other members give the figures behind it."""

    model_config = ConfigDict(extra="allow")

    reason: str


class Reason(Told):
    """A measure that moved the probability."""

    code: Annotated[str, Field(description="Stable name.")]
    feature: str
    contribution: Annotated[
        float, Field(description="In log-odds; positive raises the probability.")
    ]
    value: Annotated[float | None, Field(description="In `unit`; null when missing.")]
    unit: str
    compare: Annotated[
        float | None, Field(description="Median of the customers the model learned from.")
    ]
    fr: French
    en: English


class Explanation(Told):
    """A probability taken apart: base + sum of reasons + other = log_odds."""

    curve: Literal["late", "default"]
    horizon_days: Annotated[int, Field(description="Of the probability.")]
    base: Annotated[float, Field(description="What any customer gets, in log-odds.")]
    reasons: Annotated[list[Reason], Field(max_length=4, description="Largest first.")]
    other: Annotated[float, Field(description="All other measures together, in log-odds.")]
    log_odds: float
    probability: Annotated[Probability, Field(description="1 / (1 + exp(−log_odds)).")]


class Recommendation(Told):
    """What to do about the order."""

    action: Annotated[
        Action, Field(description="`review`: the order is held until a person decides.")
    ]
    proposed_action: Annotated[
        Kind | None,
        Field(description="What the policy would do with an order held for review, if it can."),
    ]
    deposit_rate: Annotated[
        Rate | None, Field(description="Share of the amount to ask on order, 0 to 1.")
    ]
    limit: Annotated[
        Money | None, Field(description="Recommended credit limit, this order included.")
    ]
    requires_human: bool
    fr: French
    en: English


class Line(Told):
    """A line of the credit limit's derivation."""

    fr: French
    en: English
    value: float
    unit: Literal["cents", "rate"]


class Rule(Told):
    """A rule of the policy that fired."""

    id: str
    fr: French
    en: English


class Option(Told):
    """One answer to the order and its worth: acceptance × (margin − loss − funding)."""

    kind: Kind
    deposit_rate: Rate | None
    credit: Annotated[Money, Field(description="What would be delivered before it is paid.")]
    acceptance: Annotated[Probability, Field(description="That the customer accepts it.")]
    expected_loss: Money
    funding: Annotated[Money, Field(description="Cost of the money lent until it is paid.")]
    expected_profit: Money
    admissible: Annotated[bool, Field(description="No rule and no limit stands in the way.")]
    obstacle: Annotated[Rule | None, Field(description="What makes it inadmissible.")]
    chosen: bool


class Insurance(Told):
    """The credit insurer's cover in force."""

    covered: Money
    insured_rate: Annotated[Rate, Field(description="Share of the covered exposure it pays.")]
    valid_to: Day | None
    stale: bool


class Versions(Told):
    """Exactly what spoke; null where a curve abstains for want of a model."""

    late: Hash | None
    default: Hash | None
    policy: Hash
    code: str


class RecordPlace(Told):
    """Where the assessment stands in the append-only record."""

    entry: Annotated[int, Field(ge=1, description="Its sequence in the record.")]
    leaf_hash: Annotated[
        str,
        Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of its leaf (RFC 6962)."),
    ]
    sealed: bool


class Assessment(Told):
    """A recorded assessment; the same bytes each time it is read."""

    id: Annotated[str, Field(json_schema_extra={"format": "uuid"})]
    as_of: Annotated[Day, Field(description="Facts before this day count.")]
    known_at: Annotated[
        str,
        Field(
            description="When it was made, UTC: facts recorded until then count.",
            json_schema_extra={"format": "date-time"},
        ),
    ]
    currency: Annotated[str, Field(description="ISO 4217, of all money in the answer.")]
    customer: Customer
    order: OrderSeen
    exposure: Annotated[Money, Field(description="What the customer owes, without this order.")]
    late: LateCurve | None
    paid_on: PaidOn | None
    default: DefaultCurve | None
    abstentions: Annotated[
        dict[Literal["late", "default"], Abstention],
        Field(description="By curve: why it gives no probability."),
    ]
    explanation: Explanation | None
    recommendation: Recommendation
    limit_derivation: list[Line]
    options: Annotated[list[Option], Field(description="Best first, inadmissible ones last.")]
    insurance: Insurance
    rules: Annotated[list[Rule], Field(description="Rules that fired, in order.")]
    versions: Versions
    record: RecordPlace


class FieldError(Told):
    """What is wrong with a field of the request."""

    pointer: Annotated[str, Field(description='JSON pointer, such as "/order/amount".')]
    detail: str


class Problem(Told):
    """Why there is no answer, and what to do (RFC 9457); never repeats what was sent."""

    type: Annotated[
        str, Field(description="Stable.", json_schema_extra={"format": "uri-reference"})
    ]
    title: str
    status: int
    detail: Annotated[str, Field(description="What to do.")]
    request_id: Annotated[str, Field(description="As in X-Request-Id and in the service's log.")]
    errors: Annotated[list[FieldError] | None, Field(description="With status 422.")] = None


REQUEST_EXAMPLE: dict[str, Any] = {
    "customer": {"id": "C-17"},
    "order": {"amount": "20000.00", "margin": "800.00", "terms_days": 30},
}

ASSESSMENT_EXAMPLE: dict[str, Any] = {  # the worked example of models/policy.py
    "id": "01981f2e-7c1a-7d33-9f4e-5a0b6c7d8e9f",
    "as_of": "2025-03-13",
    "known_at": "2025-03-12T09:14:07Z",
    "currency": "EUR",
    "customer": {
        "id": "C-17",
        "name": "Atelier Morel SAS",
        "country": "FR",
        "is_natural_person": False,
    },
    "order": {"amount": "20000.00", "margin": "800.00", "terms_days": 30, "assumed": False},
    "exposure": "12000.00",
    "late": {"0": 0.46, "5": 0.31, "15": 0.17, "30": 0.09, "60": 0.05},
    "paid_on": {"p10": "2025-04-06", "p50": "2025-04-11", "p90": "2025-05-10"},
    "default": {"30": 0.006, "90": 0.029, "180": 0.052, "365": 0.081},
    "abstentions": {},
    "explanation": {
        "curve": "default",
        "horizon_days": 120,
        "base": -4.10,
        "reasons": [
            {
                "code": "DBT_90",
                "feature": "settled_90_days_beyond_terms",
                "contribution": 0.62,
                "value": 23.0,
                "unit": "days",
                "compare": 6.0,
                "fr": "Paie en moyenne 23 jours après l'échéance depuis 90 jours "
                "(profils comparables : 6)",
                "en": "Paid 23 days beyond terms on average over 90 days (similar customers: 6)",
            },
            {
                "code": "OVERDUE_MAX",
                "feature": "open_longest_overdue_days",
                "contribution": 0.22,
                "value": 12.0,
                "unit": "days",
                "compare": 0.0,
                "fr": "Plus long retard en cours : 12 jours (profils comparables : 0)",
                "en": "Longest overdue now: 12 days (similar customers: 0)",
            },
        ],
        "other": 0.06,
        "log_odds": -3.20,
        "probability": 0.0391657,
    },
    "recommendation": {
        "action": "deposit",
        "proposed_action": None,
        "deposit_rate": 0.30,
        "limit": "37000.00",
        "requires_human": False,
        "fr": "Accepter avec un acompte de 30 % à la commande.",
        "en": "Accept with a 30 % deposit on order.",
    },
    "limit_derivation": [
        {
            "fr": "Achats sur un an",
            "en": "Purchases over a year",
            "value": 30000000,
            "unit": "cents",
        },
        {
            "fr": "Besoin du client",
            "en": "What the customer needs",
            "value": 3700000,
            "unit": "cents",
        },
        {
            "fr": "Limite recommandée",
            "en": "Recommended limit",
            "value": 3700000,
            "unit": "cents",
        },
    ],
    "options": [
        {
            "kind": "deposit",
            "deposit_rate": 0.30,
            "credit": "14000.00",
            "acceptance": 0.85,
            "expected_loss": "328.99",
            "funding": "75.83",
            "expected_profit": "335.90",
            "admissible": True,
            "obstacle": None,
            "chosen": True,
        },
        {
            "kind": "cash",
            "deposit_rate": None,
            "credit": "0.00",
            "acceptance": 0.40,
            "expected_loss": "0.00",
            "funding": "0.00",
            "expected_profit": "320.00",
            "admissible": True,
            "obstacle": None,
            "chosen": False,
        },
        {
            "kind": "open",
            "deposit_rate": None,
            "credit": "20000.00",
            "acceptance": 1.0,
            "expected_loss": "469.99",
            "funding": "108.33",
            "expected_profit": "221.68",
            "admissible": True,
            "obstacle": None,
            "chosen": False,
        },
        {
            "kind": "refuse",
            "deposit_rate": None,
            "credit": "0.00",
            "acceptance": 0.0,
            "expected_loss": "0.00",
            "funding": "0.00",
            "expected_profit": "0.00",
            "admissible": True,
            "obstacle": None,
            "chosen": False,
        },
    ],
    "insurance": {"covered": "0.00", "insured_rate": 0.9, "valid_to": None, "stale": False},
    "rules": [],
    "versions": {
        "late": f"sha256:{'1f' * 32}",
        "default": f"sha256:{'2e' * 32}",
        "policy": f"sha256:{'3d' * 32}",
        "code": "0.1.0",
    },
    "record": {"entry": 18233, "leaf_hash": "5a" * 32, "sealed": False},
}
