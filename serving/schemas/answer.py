"""What the API gives: an assessment, or a problem.

Answers leave as the exact bytes of the record; their models here describe them in the OpenAPI
document and hold them to it in the tests.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.policy_file import Action, Kind


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
Probability = Annotated[float, Field(ge=0, le=1, description="A probability, 0 to 1.")]
Rate = Annotated[float, Field(ge=0, le=1, description="A share, 0 to 1.")]
Day = Annotated[
    str,
    Field(
        pattern=r"^\d{4}-\d{2}-\d{2}$",
        description="A day, YYYY-MM-DD.",
        json_schema_extra={"format": "date"},
    ),
]
Hash = Annotated[
    str, Field(pattern="^sha256:[0-9a-f]{64}$", description="SHA-256 of its files: its identity.")
]
French = Annotated[str, Field(description="In French.")]
English = Annotated[str, Field(description="In English.")]


class Customer(Told):
    """The customer, as the ledger knows it."""

    id: Annotated[str, Field(description="The seller's number for the customer.")]
    name: Annotated[str | None, Field(description="As in the ledger; null where it has none.")]
    is_natural_person: Annotated[
        bool, Field(description="True for a sole trader: a person decides what harms them.")
    ]
    country: Annotated[str | None, Field(description="ISO 3166-1 alpha-2.")]
    grade: Annotated[
        Literal["A", "B", "C", "D", "E", "F", "G", "H"] | None,
        Field(
            description="On the master scale of `versions.grades`, by the probability of default "
            "within 365 days: A at most 0.5 %, B 1 %, C 2.5 %, D 5 %, E 10 %, F 20 %, G 40 %, H "
            "above or in default. Null where the default curve abstains."
        ),
    ]
    score: Annotated[
        int | None,
        Field(
            ge=0,
            le=1000,
            description="Points, 0 to 1000: higher is safer, 50 points halve the odds of default.",
        ),
    ]
    data_depth: Annotated[
        Literal["A", "B", "C", "D", "E", "F", "G"],
        Field(description="How much is known of the customer, A much; at G the curves abstain."),
    ]


class OrderSeen(Told):
    """The order that was assessed."""

    amount: Annotated[
        Money, Field(description="Tax included, in units of `currency`, two decimals.")
    ]
    margin: Annotated[
        Money,
        Field(
            description="What the seller earns if it is paid, in units of `currency`, two decimals."
        ),
    ]
    terms_days: Annotated[int, Field(description="Days from the invoice to its due date.")]
    paid: Annotated[Money, Field(description="Of the amount, received in advance.")]
    assumed: Annotated[
        bool, Field(description="True when no order was given: the customer's usual one.")
    ]


class LateCurve(Told):
    """Probability that the invoice is paid more than that many days after its due date."""

    days_0: Annotated[
        Probability, Field(alias="0", description="Paid more than 0 days late, 0 to 1.")
    ]
    days_5: Annotated[
        Probability, Field(alias="5", description="Paid more than 5 days late, 0 to 1.")
    ]
    days_15: Annotated[
        Probability, Field(alias="15", description="Paid more than 15 days late, 0 to 1.")
    ]
    days_30: Annotated[
        Probability, Field(alias="30", description="Paid more than 30 days late, 0 to 1.")
    ]
    days_60: Annotated[
        Probability, Field(alias="60", description="Paid more than 60 days late, 0 to 1.")
    ]


class LateBands(Told):
    """Probabilities that the invoice is paid on time, late or very late; they add up to 1."""

    late_after_days: Annotated[int, Field(description="Late is more than these days after due.")]
    very_late_after_days: Annotated[
        int, Field(description="Very late is more than these days after due.")
    ]
    on_time: Annotated[Probability, Field(description="At most `late_after_days` late, 0 to 1.")]
    late: Annotated[Probability, Field(description="Between the two, 0 to 1.")]
    very_late: Annotated[
        Probability, Field(description="More than `very_late_after_days` late, 0 to 1.")
    ]


class PaidOn(Told):
    """Payment date: paid by p50 as likely as not; p10 to p90 hold four in five; null beyond."""

    p10: Annotated[Day | None, Field(description="Start of the interval, YYYY-MM-DD.")]
    p50: Annotated[Day | None, Field(description="The median day, YYYY-MM-DD.")]
    p90: Annotated[Day | None, Field(description="End of the interval, YYYY-MM-DD.")]


class DefaultCurve(Told):
    """Probability that the customer defaults within that many days."""

    days_30: Annotated[
        Probability, Field(alias="30", description="Default within 30 days, 0 to 1.")
    ]
    days_90: Annotated[
        Probability, Field(alias="90", description="Default within 90 days, 0 to 1.")
    ]
    days_180: Annotated[
        Probability, Field(alias="180", description="Default within 180 days, 0 to 1.")
    ]
    days_365: Annotated[
        Probability, Field(alias="365", description="Default within 365 days, 0 to 1.")
    ]


class DefaultInterval(Told):
    """Where the probability of default may lie; wider for a customer of whom less is known."""

    horizon_days: Annotated[int, Field(description="Horizon of the probability, in days.")]
    level: Annotated[Rate, Field(description="Level of the interval, 0 to 1.")]
    low: Annotated[Probability, Field(description="Lower end of the interval, 0 to 1.")]
    high: Annotated[Probability, Field(description="Upper end of the interval, 0 to 1.")]


class Abstention(BaseModel):
    """Why a curve gives no probability; other members give the figures behind it."""

    model_config = ConfigDict(extra="allow")

    reason: Annotated[str, Field(description="In words, for the log or a person.")]


class Reason(Told):
    """A measure that moved the probability."""

    code: Annotated[str, Field(description="Stable name.")]
    feature: Annotated[str, Field(description="The measure, as named in docs/features.md.")]
    contribution: Annotated[
        float, Field(description="In log-odds; positive raises the probability.")
    ]
    value: Annotated[float | None, Field(description="In `unit`; null when missing.")]
    unit: Annotated[str, Field(description="Of `value` and `compare`: days, rate, EUR …")]
    compare: Annotated[
        float | None,
        Field(description="Median of the customers the model learned from, in `unit`."),
    ]
    fr: French
    en: English


class Explanation(Told):
    """A probability taken apart: base + sum of reasons + other = log_odds."""

    curve: Annotated[
        Literal["late", "default"], Field(description="Which probability is taken apart.")
    ]
    horizon_days: Annotated[int, Field(description="Horizon of the probability, in days.")]
    base: Annotated[float, Field(description="What any customer gets, in log-odds.")]
    reasons: Annotated[list[Reason], Field(max_length=4, description="Largest first.")]
    other: Annotated[float, Field(description="All other measures together, in log-odds.")]
    log_odds: Annotated[float, Field(description="The sum, in log-odds.")]
    probability: Annotated[Probability, Field(description="1 / (1 + exp(−log_odds)).")]


class Recommendation(Told):
    """What to do about the order."""

    action: Annotated[
        Action, Field(description="`review`: the order is held until a person decides.")
    ]
    proposed_action: Annotated[
        Kind | None,
        Field(
            description="What the policy would do with an order held for review, if it can, or "
            "that a person decided otherwise."
        ),
    ]
    deposit_rate: Annotated[
        Rate | None, Field(description="Share of the amount to ask on order, 0 to 1.")
    ]
    smallest_deposit_rate: Annotated[
        Rate | None,
        Field(
            description="Smallest admissible deposit that makes the order worth more than refusing "
            "it: 0 when none is needed, null when none does."
        ),
    ]
    requires_human: Annotated[bool, Field(description="True when a person has to decide.")]
    fr: French
    en: English
    customer_fr: Annotated[
        str, Field(description="In French, for the customer: nothing of risk, nothing of cover.")
    ]
    customer_en: Annotated[
        str, Field(description="In English, for the customer: nothing of risk, nothing of cover.")
    ]
    limit: Annotated[
        Money | None,
        Field(
            description="Credit limit in force, this order included: the one that a person decided "
            "unless appetite, cover, equity or concentration lie well below it."
        ),
    ]
    recommended_limit: Annotated[Money | None, Field(description="What the policy recommends.")]
    review_limit_on: Annotated[
        Day | None, Field(description="When to look at the limit again, by grade.")
    ]


class Line(Told):
    """A line of a derivation, in reading order."""

    fr: French
    en: English
    value: Annotated[float, Field(description="In `unit`.")]
    unit: Annotated[
        Literal["cents", "rate", "days"],
        Field(description="Cents of `currency`, a share 0 to 1, or days."),
    ]


class Rule(Told):
    """A rule of the policy that fired."""

    id: Annotated[str, Field(description="Stable name, of the policy file.")]
    fr: French
    en: English


class Option(Told):
    """One answer to the order and its worth: acceptance × (margin − loss − funding − cost)."""

    kind: Annotated[
        Action, Field(description="`review`: the best option, once a person has looked at it.")
    ]
    deposit_rate: Annotated[
        Rate | None, Field(description="Share of the amount asked on order, 0 to 1; of a deposit.")
    ]
    terms_days: Annotated[int | None, Field(description="Days to pay, of shorter terms.")]
    credit: Annotated[Money, Field(description="What would be delivered before it is paid.")]
    uninsured: Annotated[Money, Field(description="The exposure it adds that no insurer pays.")]
    acceptance: Annotated[
        Probability, Field(description="That the customer, the insurer or the factor accepts it.")
    ]
    margin: Annotated[
        Money, Field(description="Of what is delivered, with what strategic importance adds.")
    ]
    default_probability: Annotated[
        Probability | None, Field(description="Over its life on credit; null without credit.")
    ]
    lgd_rate: Annotated[
        Rate | None, Field(description="Share of an unpaid, uninsured amount that is lost.")
    ]
    expected_loss: Annotated[
        Money, Field(description="default_probability × lgd_rate × uninsured.")
    ]
    funding: Annotated[Money, Field(description="Cost of the money lent until it is paid.")]
    cost: Annotated[Money, Field(description="Of the guarantee, the premium or the factor.")]
    expected_profit: Annotated[
        Money, Field(description="Its worth, in units of `currency`, two decimals.")
    ]
    admissible: Annotated[bool, Field(description="No rule and no limit stands in the way.")]
    obstacle: Annotated[Rule | None, Field(description="What makes it inadmissible.")]
    chosen: Annotated[bool, Field(description="The recommended one.")]


class Uncovered(Told):
    """Why a part of the order is not insured."""

    id: Annotated[str, Field(description="Stable name.")]
    amount: Annotated[
        Money, Field(description="Left uninsured by it; the parts add up. 0.00: only worth saying.")
    ]
    fr: French
    en: English


class Deadline(Told):
    """What the insurer's policy asks for about an overdue invoice, and until when."""

    invoice_id: Annotated[str, Field(description="The seller's number of the invoice.")]
    kind: Annotated[
        Literal["stop_of_deliveries", "threatened_loss_notification"],
        Field(description="Stop delivering, or tell the insurer that a loss threatens."),
    ]
    due_on: Annotated[Day, Field(description="Last day to do it.")]
    days_left: Annotated[int, Field(description="Days left: 0 on the last, negative when missed.")]
    open: Annotated[Money, Field(description="What is unpaid of the invoice.")]
    is_disputed: Annotated[bool, Field(description="True while a dispute on it is open.")]
    fr: French
    en: English


class Disagreement(Told):
    """Our probability of default and the insurer's decision contradict each other."""

    kind: Annotated[
        Literal["insurer_refuses_low_risk", "insurer_covers_high_risk"],
        Field(description="Which of the two says less risk."),
    ]
    fr: French
    en: English


class Insurance(Told):
    """The credit insurer's decision, and what it covers of this order."""

    covered: Annotated[
        Money, Field(description="By the decision in force; 0.00 when there is none.")
    ]
    insured_rate: Annotated[Rate, Field(description="Share of the covered exposure it pays.")]
    valid_to: Annotated[
        Day | None, Field(description="Last day of the cover; null when it has no end or is none.")
    ]
    insured: Annotated[Money, Field(description="Of this order, what the insurer would pay.")]
    uninsured: Annotated[Money, Field(description="Of this order, what it would not.")]
    reasons: Annotated[list[Uncovered], Field(description="Why the uninsured part is.")]
    deadlines: Annotated[list[Deadline], Field(description="Most urgent first, disputed last.")]
    disagreement: Disagreement | None
    stale: Annotated[bool, Field(description="The insurer could not confirm it now.")]
    stale_fr: Annotated[str | None, Field(description="In French: why, and since when.")]
    stale_en: Annotated[str | None, Field(description="In English: why, and since when.")]


class Exposure(Told):
    """What the customer owes and has ordered, without this order, part by part."""

    total: Annotated[Money, Field(description="invoices − unapplied + orders.")]
    invoices: Annotated[
        Money, Field(description="Unpaid, less payments and credit notes that name them.")
    ]
    unapplied: Annotated[
        Money, Field(description="Cash and credit notes that no invoice has used yet.")
    ]
    orders: Annotated[
        Money, Field(description="Accepted and not invoiced yet, less deposits received on them.")
    ]
    disputed: Annotated[Money, Field(description="Of the invoices, under an open dispute.")]
    overdue: Annotated[Money, Field(description="Of the invoices, past due and undisputed.")]
    rest_of_group: Annotated[
        Money, Field(description="What the other companies of its group owe; not in total.")
    ]


class Override(Told):
    """A person's decision in force; who decided and why stay on the record."""

    id: Annotated[str, Field(description="Of the override.", json_schema_extra={"format": "uuid"})]
    assessment_id: Annotated[str, Field(description="The assessment it was decided on.")]
    role: Annotated[str, Field(description="Of the person, in the policy.")]
    action: Annotated[Kind, Field(description="What the person decided.")]
    deposit_rate: Annotated[
        Rate | None, Field(description="Share of the amount asked on order, 0 to 1; of a deposit.")
    ]
    terms_days: Annotated[int | None, Field(description="Days to pay, of shorter terms.")]
    limit: Annotated[
        Money, Field(description="Exposure, the order included, up to which it holds.")
    ]
    decided_on: Annotated[Day, Field(description="Day of the decision.")]
    expires_on: Annotated[Day, Field(description="Last day in force.")]


class Versions(Told):
    """Exactly what spoke; null where a curve abstains for want of a model."""

    late: Annotated[Hash | None, Field(description="SHA-256 of the late curve's files.")]
    default: Annotated[Hash | None, Field(description="SHA-256 of the default curve's files.")]
    policy: Annotated[Hash, Field(description="SHA-256 of the policy.")]
    insurance: Annotated[Hash, Field(description="SHA-256 of the insurer's policy.")]
    grades: Annotated[str, Field(description="Name of the master scale.")]
    code: Annotated[str, Field(description="Version of encours.")]


class RecordPlace(Told):
    """Where the assessment stands in the append-only record."""

    entry: Annotated[int, Field(ge=1, description="Number of its entry in the record, from 1.")]
    leaf_hash: Annotated[
        str,
        Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of its leaf (RFC 6962)."),
    ]
    sealed: Annotated[
        bool,
        Field(
            description="Whether a signed checkpoint covered it when it was answered: false, for "
            "that comes within a second. The proof is in GET /v1/assessments/{id}/evidence."
        ),
    ]


class Assessment(Told):
    """A recorded assessment; the same bytes each time it is read."""

    id: Annotated[
        str,
        Field(
            description="To read it again, and to quote it.", json_schema_extra={"format": "uuid"}
        ),
    ]
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
    exposure: Exposure
    late: LateCurve | None
    late_bands: LateBands | None
    paid_on: PaidOn | None
    default: DefaultCurve | None
    default_interval: Annotated[
        DefaultInterval | None,
        Field(description="Null where the curve abstains, or was registered without one."),
    ]
    abstentions: Annotated[
        dict[Literal["late", "default"], Abstention],
        Field(description="By curve: why it gives no probability."),
    ]
    explanation: Explanation | None
    recommendation: Recommendation
    derivation: Annotated[list[Line], Field(description="Of the chosen option's worth.")]
    limit_derivation: Annotated[
        list[Line], Field(description="Of the recommended limit, line by line.")
    ]
    options: Annotated[
        list[Option],
        Field(description="The chosen one, then by expected profit, inadmissible ones last."),
    ]
    insurance: Insurance
    rules: Annotated[list[Rule], Field(description="Rules that fired, in order.")]
    override: Annotated[
        Override | None,
        Field(
            description="A person's decision that counts for this order: it is the recommended "
            "action, and `proposed_action` is the policy's own."
        ),
    ]
    versions: Versions
    record: RecordPlace


class FieldError(Told):
    """What is wrong with a field of the request."""

    pointer: Annotated[str, Field(description='JSON pointer, such as "/order/amount".')]
    detail: Annotated[str, Field(description="What is wrong with it.")]
    reason: Annotated[str | None, Field(description="Stable code, of a refused fact.")] = None


class Problem(Told):
    """Why there is no answer, and what to do (RFC 9457); never repeats what was sent."""

    type: Annotated[
        str,
        Field(
            description="Stable name of the problem.",
            json_schema_extra={"format": "uri-reference"},
        ),
    ]
    title: Annotated[str, Field(description="In words, the same for every problem of this type.")]
    status: Annotated[int, Field(description="The HTTP status code.")]
    detail: Annotated[str, Field(description="What to do.")]
    request_id: Annotated[str, Field(description="As in X-Request-Id and in the service's log.")]
    errors: Annotated[list[FieldError] | None, Field(description="With status 422.")] = None
