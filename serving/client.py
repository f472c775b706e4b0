"""A client of encours, in one file: copy it; it needs Python 3.11 and httpx, nothing else of ours.

    client = Encours("https://encours.example", key)
    answer = client.assess({"customer": {"id": "C-17"}, "order": {...}})
    answer["recommendation"]["action"]

A call that makes something carries an Idempotency-Key, so that it is sent again after a broken
connection, a 429 or a 503 without being done twice. What the service refuses is raised as
:class:`EncoursProblem`. The key is never logged; httpx itself logs method, address and status, at
level INFO of the logger ``httpx``.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, NotRequired, Self, TypedDict, TypeVar, cast
from urllib.parse import quote

import httpx

AGAIN = frozenset({408, 409, 429, 502, 503, 504})  # 409: the same request is being answered
ATTEMPT_SECONDS = 20.0  # the service gives up on an answer after 15
MOST_SECONDS = 60.0
FIRST_WAIT_SECONDS = 0.25
LONGEST_WAIT_SECONDS = 8.0
HERE = frozenset({"localhost", "127.0.0.1", "::1"})
IN_PROGRESS = "/problems/request-in-progress"
J = TypeVar("J")


class Pointer(TypedDict):
    """What is wrong with a field of the request."""

    pointer: str
    detail: str


class EncoursProblem(Exception):
    """The service refused, in its own words (RFC 9457).

    Attributes
    ----------
    type : str
        Stable, such as ``/problems/unknown-customer``; ``about:blank`` when something between here
        and the service answered.
    status : int
    title, detail : str
        What it is, and what to do about it.
    errors : sequence of Pointer
        The fields that are wrong, of a 422.
    request_id : str or None
        As in the service's log.
    retry_after : float or None
        Seconds that the service asked to wait.
    """

    def __init__(
        self,
        type: str,
        status: int,
        title: str,
        detail: str,
        errors: Sequence[Pointer] = (),
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{status} {title}: {detail}")
        self.type, self.status, self.title, self.detail = type, status, title, detail
        self.errors, self.request_id, self.retry_after = tuple(errors), request_id, retry_after


class EncoursUnreachable(Exception):
    """No answer came within the time given; the request may have been done."""


# Made from the contract by `make docs`: do not edit up to the next such line.


class Abstention(TypedDict):
    """Why a curve gives no probability; other members give the figures behind it."""

    reason: str


class Acknowledged(TypedDict):
    """Who has seen an alert, when, and what was found or done."""

    by: str | None
    role: str
    at: str
    note: str | None


class AcknowledgementRequest(TypedDict):
    """That a person has seen an alert."""

    note: NotRequired[str]


class AlertPage(TypedDict):
    """Alerts in the order in which they were raised."""

    alerts: list[AlertTold]
    cursor: str
    is_last: bool


class AlertTold(TypedDict):
    """A customer has degraded."""

    id: str
    customer_id: str
    code: Literal[
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
    severity: Literal["critical", "warning", "notice"]
    at: str
    assessment_id: str | None
    currency: str
    fr: str
    en: str
    evidence: dict[str, Any]
    measure: float
    replaces: str | None
    rules: str
    status: Literal["open", "acknowledged", "over", "replaced"]
    acknowledged: Acknowledged | None
    ended_at: str | None


class Assessment(TypedDict):
    """A recorded assessment; the same bytes each time it is read."""

    id: str
    as_of: str
    known_at: str
    currency: str
    customer: Customer
    order: OrderSeen
    exposure: Exposure
    late: LateCurve | None
    late_bands: LateBands | None
    paid_on: PaidOn | None
    default: DefaultCurve | None
    default_interval: DefaultInterval | None
    abstentions: dict[str, Abstention]
    explanation: Explanation | None
    recommendation: Recommendation
    derivation: list[Line]
    limit_derivation: list[Line]
    options: list[Option]
    insurance: Insurance
    rules: list[Rule]
    override: Override | None
    versions: Versions
    record: RecordPlace


class AssessmentRequest(TypedDict):
    """A customer and the order to decide on."""

    customer: CustomerGiven
    order: NotRequired[OrderGiven | None]


class Audited(TypedDict):
    """Everything: base + sum of contributions = log_odds."""

    curve: Literal["late", "default"] | None
    horizon_days: int | None
    base: float | None
    measures: list[Measure]
    sum: float | None
    log_odds: float | None
    probability: float | None
    abstentions: dict[str, Abstention]
    versions: dict[str, str | None]


class Batch(TypedDict):
    """Many assessments, in the order sent."""

    id: str
    items: list[BatchItem]


class BatchItem(TypedDict):
    """One of many: its assessment, or why there is none."""

    status: int
    assessment: NotRequired[Assessment | None]
    problem: NotRequired[ItemProblem | None]


class BatchRequest(TypedDict):
    """Customers and orders to decide on; one that is not valid is refused alone."""

    items: list[AssessmentRequest]


class Both(TypedDict):
    """A text in both languages."""

    fr: str
    en: str


class ChangeFact(TypedDict):
    """A row of `customer_changes` by `change_id`, of `changed_on`."""

    change_id: str
    customer_id: str
    changed_on: str
    kind: Literal["bank_details", "group", "strategic_importance"]
    value: NotRequired[str | None]
    recorded_at: NotRequired[str | None]


class Counterfactual(TypedDict):
    """A change that softens the action; it was answered again with it, and this came out."""

    kind: Literal[
        "deposit", "smaller_order", "shorter_terms", "pay_invoices", "pay_invoices_and_deposit"
    ]
    deposit: str | None
    order_amount: str | None
    terms_days: int | None
    invoices: list[InvoiceToPay]
    invoices_total: str | None
    before: str | None
    effort: float
    action: Literal[
        "open",
        "reduced_limit",
        "shorter_terms",
        "deposit",
        "retention_of_title",
        "bank_guarantee",
        "letter_of_credit",
        "insured_sale",
        "factoring",
        "cash",
        "refuse",
    ]
    deposit_rate: float | None
    fr: str
    en: str


class Counterfactuals(TypedDict):
    """The smallest changes that soften the action of an assessment, as known then."""

    assessment_id: str
    known_at: str
    currency: str
    order: OrderSeen
    action: Literal[
        "open",
        "reduced_limit",
        "shorter_terms",
        "deposit",
        "retention_of_title",
        "bank_guarantee",
        "letter_of_credit",
        "insured_sale",
        "factoring",
        "cash",
        "refuse",
        "review",
    ]
    proposed_action: (
        Literal[
            "open",
            "reduced_limit",
            "shorter_terms",
            "deposit",
            "retention_of_title",
            "bank_guarantee",
            "letter_of_credit",
            "insured_sale",
            "factoring",
            "cash",
            "refuse",
        ]
        | None
    )
    found: list[Counterfactual]
    none_found: WhyNone | None


class CoverFact(TypedDict):
    """A row of `insurance_covers` by `cover_id`, of `starts_on`."""

    cover_id: str
    customer_id: str
    starts_on: str
    ends_on: NotRequired[str | None]
    amount: str
    insured_rate: float
    recorded_at: NotRequired[str | None]


class CoverNow(TypedDict):
    """The insurer's decision in force."""

    covered: str
    insured_rate: float
    valid_to: str | None
    stale: bool


class Customer(TypedDict):
    """The customer, as the ledger knows it."""

    id: str
    name: str | None
    is_natural_person: bool
    country: str | None
    grade: Literal["A", "B", "C", "D", "E", "F", "G", "H"] | None
    score: int | None
    data_depth: Literal["A", "B", "C", "D", "E", "F", "G"]


class CustomerFact(TypedDict):
    """A row of `customers` by `customer_id`."""

    customer_id: str
    name: NotRequired[str | None]
    country: NotRequired[str | None]
    sector: NotRequired[str | None]
    is_natural_person: bool
    recorded_at: NotRequired[str | None]


class CustomerGiven(TypedDict):
    """The customer who orders."""

    id: str


class CustomerLetter(TypedDict):
    """A letter to the customer, in parts and as a whole; no probability, score or limit in it."""

    decision: str
    reasons: list[str]
    can_do: list[str]
    notes: list[str]
    whom: str
    reference: str
    text: str


class CustomerLetters(TypedDict):
    """The letter in both languages."""

    fr: CustomerLetter
    en: CustomerLetter


class CustomerNow(TypedDict):
    """A customer: exposure and cover now, score as last assessed."""

    id: str
    name: str | None
    country: str | None
    is_natural_person: bool
    as_of: str
    known_at: str
    currency: str
    exposure: Exposure
    longest_overdue_days: int
    limit: str | None
    cover: CoverNow
    last_assessment: Scored | None
    override: Override | None
    alerts: list[AlertTold]


class Deadline(TypedDict):
    """What the insurer's policy asks for about an overdue invoice, and until when."""

    invoice_id: str
    kind: Literal["stop_of_deliveries", "threatened_loss_notification"]
    due_on: str
    days_left: int
    open: str
    is_disputed: bool
    fr: str
    en: str


class Decided(TypedDict):
    """What was decided."""

    action: Literal[
        "open",
        "reduced_limit",
        "shorter_terms",
        "deposit",
        "retention_of_title",
        "bank_guarantee",
        "letter_of_credit",
        "insured_sale",
        "factoring",
        "cash",
        "refuse",
    ]
    deposit_rate: float | None
    terms_days: int | None
    limit: str


DefaultCurve = TypedDict("DefaultCurve", {"30": float, "90": float, "180": float, "365": float})


class DefaultInterval(TypedDict):
    """Where the probability of default may lie; wider for a customer of whom less is known."""

    horizon_days: int
    level: float
    low: float
    high: float


class Disagreement(TypedDict):
    """Our probability of default and the insurer's decision contradict each other."""

    kind: Literal["insurer_refuses_low_risk", "insurer_covers_high_risk"]
    fr: str
    en: str


class DisputeFact(TypedDict):
    """A row of `disputes` by `dispute_id`, of `opened_on`."""

    dispute_id: str
    customer_id: str
    invoice_id: str
    opened_on: str
    closed_on: NotRequired[str | None]
    recorded_at: NotRequired[str | None]


class Explanation(TypedDict):
    """A probability taken apart: base + sum of reasons + other = log_odds."""

    curve: Literal["late", "default"]
    horizon_days: int
    base: float
    reasons: list[Reason]
    other: float
    log_odds: float
    probability: float


class ExplanationTold(TypedDict):
    """What explains an assessment: the same values as in it."""

    id: str
    currency: str
    customer: Customer
    late: LateCurve | None
    late_bands: LateBands | None
    paid_on: PaidOn | None
    default: DefaultCurve | None
    default_interval: DefaultInterval | None
    abstentions: dict[str, Abstention]
    explanation: Explanation | None
    versions: Versions
    record: RecordPlace


class Exposure(TypedDict):
    """What the customer owes and has ordered, without this order, part by part."""

    total: str
    invoices: str
    unapplied: str
    orders: str
    disputed: str
    overdue: str
    rest_of_group: str


class FactCounts(TypedDict):
    """How many facts of a table became what."""

    added: int
    superseded: int
    already_there: int
    refused: int


class FactResult(TypedDict):
    """What became of one fact."""

    table: str
    row: int
    status: Literal["added", "superseded", "already_there", "refused"]
    field: str | None
    reason: str | None
    fr: str | None
    en: str | None


class Facts(TypedDict):
    """Facts by table, at most 10,000 in all; they may refer to each other."""

    customers: NotRequired[list[CustomerFact]]
    invoices: NotRequired[list[InvoiceFact]]
    settlements: NotRequired[list[SettlementFact]]
    disputes: NotRequired[list[DisputeFact]]
    insurance_covers: NotRequired[list[CoverFact]]
    credit_limits: NotRequired[list[LimitFact]]
    insolvency_events: NotRequired[list[InsolvencyFact]]
    financial_statements: NotRequired[list[StatementFact]]
    orders: NotRequired[list[OrderFact]]
    customer_changes: NotRequired[list[ChangeFact]]


class FactsAnswer(TypedDict):
    """What became of the facts; the next assessment counts those that are not refused."""

    sequence: int
    recorded_at: str
    counts: dict[str, FactCounts]
    results: list[FactResult]


class FieldError(TypedDict):
    """What is wrong with a field of the request."""

    pointer: str
    detail: str
    reason: NotRequired[str | None]


class InsolvencyFact(TypedDict):
    """A row of `insolvency_events` by `event_id`, of `opened_on`."""

    event_id: str
    customer_id: str
    kind: Literal["liquidation", "reorganisation", "safeguard"]
    opened_on: str
    recorded_at: NotRequired[str | None]


class Insurance(TypedDict):
    """The credit insurer's decision, and what it covers of this order."""

    covered: str
    insured_rate: float
    valid_to: str | None
    insured: str
    uninsured: str
    reasons: list[Uncovered]
    deadlines: list[Deadline]
    disagreement: Disagreement | None
    stale: bool
    stale_fr: str | None
    stale_en: str | None


class InvoiceFact(TypedDict):
    """A row of `invoices` by `invoice_id`, of `issued_on`."""

    invoice_id: str
    customer_id: str
    issued_on: str
    due_on: str
    amount: str
    original_amount: NotRequired[str | None]
    original_currency: NotRequired[str | None]
    recorded_at: NotRequired[str | None]


class InvoiceToPay(TypedDict):
    """An invoice that the customer can pay."""

    invoice_id: str
    open: str
    due_on: str


class ItemProblem(TypedDict):
    """Why one of many got no assessment; see Problem."""

    type: str
    title: str
    status: int
    detail: str
    errors: NotRequired[list[FieldError] | None]


class Job(TypedDict):
    """One job."""

    id: str
    kind: Literal["portfolio"]
    status: Literal["queued", "running", "done", "failed", "cancelled"]
    reason: str | None
    progress: Progress
    created_at: str
    started_at: str | None
    ended_at: str | None
    result: JobResult | None


class JobRequest(TypedDict):
    """Customers to score, each about its usual order."""

    kind: NotRequired[Literal["portfolio"]]
    customers: NotRequired[list[str] | None]


class JobResult(TypedDict):
    """What came of a job; the record holds the same, with models, policy and facts."""

    rows: int
    files: dict[str, ResultFile]
    entry: int
    leaf_hash: str


class LateBands(TypedDict):
    """Probabilities that the invoice is paid on time, late or very late; they add up to 1."""

    late_after_days: int
    very_late_after_days: int
    on_time: float
    late: float
    very_late: float


LateCurve = TypedDict("LateCurve", {"0": float, "5": float, "15": float, "30": float, "60": float})


class LimitFact(TypedDict):
    """A row of `credit_limits` by `limit_id`, of `decided_on`."""

    limit_id: str
    customer_id: str
    decided_on: str
    amount: str
    recorded_at: NotRequired[str | None]


class Line(TypedDict):
    """A line of a derivation, in reading order."""

    fr: str
    en: str
    value: float
    unit: Literal["cents", "rate", "days"]


class Measure(TypedDict):
    """A measure, and what it moved."""

    code: str
    feature: str
    fr: str
    en: str
    value: float | None
    unit: str
    compare: float | None
    contribution: float | None


class ModelTold(TypedDict):
    """A model in charge, or scored in its shadow."""

    question: Literal["late", "default"]
    place: Literal["champion", "shadow"]
    hash: str
    trained_on: str | None
    trained_from: str | None
    cutoff: str | None
    measured_until: str | None
    metrics: list[dict[str, Any]]
    refused: str | None


class ModelsTold(TypedDict):
    """Which models speak, and which are scored beside them."""

    models: list[ModelTold]
    abstentions: dict[str, Abstention]


class Option(TypedDict):
    """One answer to the order and its worth: acceptance × (margin − loss − funding − cost)."""

    kind: Literal[
        "open",
        "reduced_limit",
        "shorter_terms",
        "deposit",
        "retention_of_title",
        "bank_guarantee",
        "letter_of_credit",
        "insured_sale",
        "factoring",
        "cash",
        "refuse",
        "review",
    ]
    deposit_rate: float | None
    terms_days: int | None
    credit: str
    uninsured: str
    acceptance: float
    margin: str
    default_probability: float | None
    lgd_rate: float | None
    expected_loss: str
    funding: str
    cost: str
    expected_profit: str
    admissible: bool
    obstacle: Rule | None
    chosen: bool


class OptionsTold(TypedDict):
    """What was weighed in an assessment: the same values as in it."""

    id: str
    currency: str
    order: OrderSeen
    recommendation: Recommendation
    derivation: list[Line]
    limit_derivation: list[Line]
    options: list[Option]
    rules: list[Rule]
    override: Override | None
    versions: Versions
    record: RecordPlace


class OrderFact(TypedDict):
    """A row of `orders` by `order_id`, of `accepted_on`."""

    order_id: str
    customer_id: str
    accepted_on: str
    amount: str
    deposit: str
    closed_on: NotRequired[str | None]
    original_amount: NotRequired[str | None]
    original_currency: NotRequired[str | None]
    recorded_at: NotRequired[str | None]


class OrderGiven(TypedDict):
    """The order to decide on."""

    amount: str
    margin: str
    terms_days: int
    paid: NotRequired[str]
    currency: NotRequired[str | None]
    exchange_rate: NotRequired[str | None]


class OrderSeen(TypedDict):
    """The order that was assessed."""

    amount: str
    margin: str
    terms_days: int
    paid: str
    assumed: bool


class Override(TypedDict):
    """A person's decision in force; who decided and why stay on the record."""

    id: str
    assessment_id: str
    role: str
    action: Literal[
        "open",
        "reduced_limit",
        "shorter_terms",
        "deposit",
        "retention_of_title",
        "bank_guarantee",
        "letter_of_credit",
        "insured_sale",
        "factoring",
        "cash",
        "refuse",
    ]
    deposit_rate: float | None
    terms_days: int | None
    limit: str
    decided_on: str
    expires_on: str


class OverrideMade(TypedDict):
    """A decision as recorded; amounts that end in ``_cents`` are whole cents."""

    id: str
    assessment: dict[str, Any]
    customer_id: str
    order: dict[str, int]
    owed_cents: int
    decided: Decided | None
    proposed: Proposed
    direction: Literal["softer", "harder"] | None
    facts: list[str]
    by: str
    role: str
    authenticated: bool
    key: NotRequired[str | None]
    reason: str
    expires_on: str
    decided_at: str
    replaces: str | None
    policy: str


class OverridePage(TypedDict):
    """Decisions in the order of the record."""

    overrides: list[OverrideTold]
    cursor: str
    is_last: bool


class OverrideRequest(TypedDict):
    """What a person decides about an assessed order, instead of the policy."""

    action: (
        Literal[
            "open",
            "reduced_limit",
            "shorter_terms",
            "deposit",
            "retention_of_title",
            "bank_guarantee",
            "letter_of_credit",
            "insured_sale",
            "factoring",
            "cash",
            "refuse",
        ]
        | Literal["withdraw"]
    )
    reason: str
    deposit_rate: NotRequired[float | None]
    terms_days: NotRequired[int | None]
    limit: NotRequired[str | None]
    until: NotRequired[str | None]


class OverrideTold(TypedDict):
    """A decision and its place on the record."""

    override: OverrideMade
    record: RecordPlace


class PaidOn(TypedDict):
    """Payment date: paid by p50 as likely as not; p10 to p90 hold four in five; null beyond."""

    p10: str | None
    p50: str | None
    p90: str | None


class PolicyTold(TypedDict):
    """The policy in force."""

    hash: str
    version: str
    policy: dict[str, Any]


class Progress(TypedDict):
    """How far a job is."""

    done: int
    total: int | None
    eta_seconds: int | None


class Proposed(TypedDict):
    """What the policy would have done."""

    action: str | None
    deposit_rate: float | None


class ProspectRequest(TypedDict):
    """A company that the ledger does not know, described by facts, and the order to decide on."""

    facts: Facts
    order: OrderGiven


class Reason(TypedDict):
    """A measure that moved the probability."""

    code: str
    feature: str
    contribution: float
    value: float | None
    unit: str
    compare: float | None
    fr: str
    en: str


class Recommendation(TypedDict):
    """What to do about the order."""

    action: Literal[
        "open",
        "reduced_limit",
        "shorter_terms",
        "deposit",
        "retention_of_title",
        "bank_guarantee",
        "letter_of_credit",
        "insured_sale",
        "factoring",
        "cash",
        "refuse",
        "review",
    ]
    proposed_action: (
        Literal[
            "open",
            "reduced_limit",
            "shorter_terms",
            "deposit",
            "retention_of_title",
            "bank_guarantee",
            "letter_of_credit",
            "insured_sale",
            "factoring",
            "cash",
            "refuse",
        ]
        | None
    )
    deposit_rate: float | None
    smallest_deposit_rate: float | None
    requires_human: bool
    fr: str
    en: str
    customer_fr: str
    customer_en: str
    limit: str | None
    recommended_limit: str | None
    review_limit_on: str | None


class RecordPlace(TypedDict):
    """Where the assessment stands in the append-only record."""

    entry: int
    leaf_hash: str
    sealed: bool


class Registers(TypedDict):
    """One recorded answer, told to three people."""

    id: str
    currency: str
    salesperson: Both
    customer: CustomerLetters
    auditor: Audited | None


class ResultFile(TypedDict):
    """A file of the result."""

    bytes: int
    sha256: str


class Rule(TypedDict):
    """A rule of the policy that fired."""

    id: str
    fr: str
    en: str


class ScoreHistory(TypedDict):
    """Scores of a customer's assessments, newest first."""

    assessments: list[Scored]
    before: str | None


class Scored(TypedDict):
    """The scores of an assessment."""

    id: str
    known_at: str
    grade: str | None
    score: int | None
    default_365: float | None
    late_30: float | None
    action: str
    versions: Versions


class SettlementFact(TypedDict):
    """A row of `settlements` by `settlement_id`, of `settled_on`."""

    settlement_id: str
    customer_id: str
    invoice_id: NotRequired[str | None]
    kind: Literal["credit_note", "payment", "reversal", "write_off"]
    settled_on: str
    amount: str
    original_amount: NotRequired[str | None]
    original_currency: NotRequired[str | None]
    recorded_at: NotRequired[str | None]


class StatementFact(TypedDict):
    """A row of `financial_statements` by `statement_id`, of `published_on`."""

    statement_id: str
    customer_id: str
    closed_on: str
    published_on: str
    revenue: NotRequired[str | None]
    operating_income: NotRequired[str | None]
    net_income: NotRequired[str | None]
    total_assets: NotRequired[str | None]
    equity: NotRequired[str | None]
    financial_debt: NotRequired[str | None]
    current_assets: NotRequired[str | None]
    current_liabilities: NotRequired[str | None]
    recorded_at: NotRequired[str | None]


class Uncovered(TypedDict):
    """Why a part of the order is not insured."""

    id: str
    amount: str
    fr: str
    en: str


class Versions(TypedDict):
    """Exactly what spoke; null where a curve abstains for want of a model."""

    late: str | None
    default: str | None
    policy: str
    insurance: str
    grades: str
    code: str


class WhyNone(TypedDict):
    """Why no change softens the action."""

    id: Literal["nothing_softer", "rule", "decided_by_a_person", "nothing_helps"]
    rules: list[Rule]
    fr: str
    en: str


class _Operations:
    """What the service does, one method an operation, named as in the contract."""

    def _call(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> httpx.Response:
        raise NotImplementedError

    def assess(
        self, request: AssessmentRequest, *, idempotency_key: str | None = None
    ) -> Assessment:
        """Assess a customer's order."""
        return cast(
            Assessment,
            self._call(
                "POST",
                "/v1/assessments",
                body=request,
                idempotency_key=idempotency_key or _new_key(),
            ).json(),
        )

    def assess_prospect(
        self, request: ProspectRequest, *, idempotency_key: str | None = None
    ) -> Assessment:
        """Assess a prospect's order."""
        return cast(
            Assessment,
            self._call(
                "POST",
                "/v1/assessments/prospect",
                body=request,
                idempotency_key=idempotency_key or _new_key(),
            ).json(),
        )

    def find(self, assessment_id: str) -> Assessment:
        """Read an assessment again."""
        return cast(
            Assessment, self._call("GET", f"/v1/assessments/{quote(assessment_id, safe='')}").json()
        )

    def assess_many(self, request: BatchRequest, *, idempotency_key: str | None = None) -> Batch:
        """Assess many orders in one call."""
        return cast(
            Batch,
            self._call(
                "POST",
                "/v1/assessments/batch",
                body=request,
                idempotency_key=idempotency_key or _new_key(),
            ).json(),
        )

    def explain(self, assessment_id: str) -> ExplanationTold:
        """Read why: probabilities and the reasons that add up to them."""
        return cast(
            ExplanationTold,
            self._call(
                "GET", f"/v1/assessments/{quote(assessment_id, safe='')}/explanation"
            ).json(),
        )

    def options(self, assessment_id: str) -> OptionsTold:
        """Read what was weighed: options with their expected profit, limit, rules."""
        return cast(
            OptionsTold,
            self._call("GET", f"/v1/assessments/{quote(assessment_id, safe='')}/options").json(),
        )

    def counterfactuals(self, assessment_id: str) -> Counterfactuals:
        """Read the smallest changes that soften the action."""
        return cast(
            Counterfactuals,
            self._call(
                "GET", f"/v1/assessments/{quote(assessment_id, safe='')}/counterfactuals"
            ).json(),
        )

    def registers(self, assessment_id: str) -> Registers:
        """Read it as told to a salesperson, to the customer and to an auditor."""
        return cast(
            Registers,
            self._call("GET", f"/v1/assessments/{quote(assessment_id, safe='')}/registers").json(),
        )

    def evidence(self, assessment_id: str, *, language: Literal["fr", "en"] | None = None) -> bytes:
        """Read everything about it: a page that stands alone, with its proof."""
        return self._call(
            "GET",
            f"/v1/assessments/{quote(assessment_id, safe='')}/evidence",
            query={"language": language},
        ).content

    def override(
        self, assessment_id: str, request: OverrideRequest, *, idempotency_key: str | None = None
    ) -> OverrideTold:
        """Decide otherwise than the policy about an assessed order."""
        return cast(
            OverrideTold,
            self._call(
                "POST",
                f"/v1/assessments/{quote(assessment_id, safe='')}/override",
                body=request,
                idempotency_key=idempotency_key or _new_key(),
            ).json(),
        )

    def overrides(
        self, *, customer: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> OverridePage:
        """Read what people decided otherwise than the policy."""
        return cast(
            OverridePage,
            self._call(
                "GET",
                "/v1/overrides",
                query={"customer": customer, "limit": limit, "cursor": cursor},
            ).json(),
        )

    def customer(self, customer_id: str) -> CustomerNow:
        """Read how a customer stands."""
        return cast(
            CustomerNow, self._call("GET", f"/v1/customers/{quote(customer_id, safe='')}").json()
        )

    def history(
        self, customer_id: str, *, limit: int | None = None, before: str | None = None
    ) -> ScoreHistory:
        """Read the history of a customer's scores."""
        return cast(
            ScoreHistory,
            self._call(
                "GET",
                f"/v1/customers/{quote(customer_id, safe='')}/assessments",
                query={"limit": limit, "before": before},
            ).json(),
        )

    def alerts(
        self,
        *,
        status: Literal["open", "acknowledged", "all"] | None = None,
        since: str | None = None,
        customer: str | None = None,
        severity: Literal["critical", "warning", "notice"] | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> AlertPage:
        """Poll for alerts on customers who degrade."""
        return cast(
            AlertPage,
            self._call(
                "GET",
                "/v1/alerts",
                query={
                    "status": status,
                    "since": since,
                    "customer": customer,
                    "severity": severity,
                    "limit": limit,
                    "cursor": cursor,
                },
            ).json(),
        )

    def acknowledge(
        self, alert_id: str, request: AcknowledgementRequest, *, idempotency_key: str | None = None
    ) -> AlertTold:
        """Say that an alert was seen."""
        return cast(
            AlertTold,
            self._call(
                "POST",
                f"/v1/alerts/{quote(alert_id, safe='')}/acknowledge",
                body=request,
                idempotency_key=idempotency_key or _new_key(),
            ).json(),
        )

    def push_facts(self, request: Facts, *, idempotency_key: str | None = None) -> FactsAnswer:
        """Push facts."""
        return cast(
            FactsAnswer,
            self._call(
                "POST", "/v1/facts", body=request, idempotency_key=idempotency_key or _new_key()
            ).json(),
        )

    def push_customers(
        self, request: CustomerFact, *, idempotency_key: str | None = None
    ) -> FactsAnswer:
        """Push one of customers."""
        return cast(
            FactsAnswer,
            self._call(
                "POST", "/v1/customers", body=request, idempotency_key=idempotency_key or _new_key()
            ).json(),
        )

    def push_invoices(
        self, request: InvoiceFact, *, idempotency_key: str | None = None
    ) -> FactsAnswer:
        """Push one of invoices."""
        return cast(
            FactsAnswer,
            self._call(
                "POST", "/v1/invoices", body=request, idempotency_key=idempotency_key or _new_key()
            ).json(),
        )

    def push_settlements(
        self, request: SettlementFact, *, idempotency_key: str | None = None
    ) -> FactsAnswer:
        """Push one of settlements."""
        return cast(
            FactsAnswer,
            self._call(
                "POST",
                "/v1/settlements",
                body=request,
                idempotency_key=idempotency_key or _new_key(),
            ).json(),
        )

    def push_disputes(
        self, request: DisputeFact, *, idempotency_key: str | None = None
    ) -> FactsAnswer:
        """Push one of disputes."""
        return cast(
            FactsAnswer,
            self._call(
                "POST", "/v1/disputes", body=request, idempotency_key=idempotency_key or _new_key()
            ).json(),
        )

    def push_covers(self, request: CoverFact, *, idempotency_key: str | None = None) -> FactsAnswer:
        """Push one of covers."""
        return cast(
            FactsAnswer,
            self._call(
                "POST", "/v1/covers", body=request, idempotency_key=idempotency_key or _new_key()
            ).json(),
        )

    def push_credit_limits(
        self, request: LimitFact, *, idempotency_key: str | None = None
    ) -> FactsAnswer:
        """Push one of credit limits."""
        return cast(
            FactsAnswer,
            self._call(
                "POST",
                "/v1/credit-limits",
                body=request,
                idempotency_key=idempotency_key or _new_key(),
            ).json(),
        )

    def push_insolvency_events(
        self, request: InsolvencyFact, *, idempotency_key: str | None = None
    ) -> FactsAnswer:
        """Push one of insolvency events."""
        return cast(
            FactsAnswer,
            self._call(
                "POST",
                "/v1/insolvency-events",
                body=request,
                idempotency_key=idempotency_key or _new_key(),
            ).json(),
        )

    def push_financial_statements(
        self, request: StatementFact, *, idempotency_key: str | None = None
    ) -> FactsAnswer:
        """Push one of financial statements."""
        return cast(
            FactsAnswer,
            self._call(
                "POST",
                "/v1/financial-statements",
                body=request,
                idempotency_key=idempotency_key or _new_key(),
            ).json(),
        )

    def push_orders(self, request: OrderFact, *, idempotency_key: str | None = None) -> FactsAnswer:
        """Push one of orders."""
        return cast(
            FactsAnswer,
            self._call(
                "POST", "/v1/orders", body=request, idempotency_key=idempotency_key or _new_key()
            ).json(),
        )

    def push_customer_changes(
        self, request: ChangeFact, *, idempotency_key: str | None = None
    ) -> FactsAnswer:
        """Push one of customer changes."""
        return cast(
            FactsAnswer,
            self._call(
                "POST",
                "/v1/customer-changes",
                body=request,
                idempotency_key=idempotency_key or _new_key(),
            ).json(),
        )

    def ask_for_a_job(self, request: JobRequest, *, idempotency_key: str | None = None) -> Job:
        """Score a portfolio."""
        return cast(
            Job,
            self._call(
                "POST", "/v1/jobs", body=request, idempotency_key=idempotency_key or _new_key()
            ).json(),
        )

    def see_a_job(self, job_id: str) -> Job:
        """See how far a job is."""
        return cast(Job, self._call("GET", f"/v1/jobs/{quote(job_id, safe='')}").json())

    def cancel_a_job(self, job_id: str) -> Job:
        """Cancel a job."""
        return cast(Job, self._call("DELETE", f"/v1/jobs/{quote(job_id, safe='')}").json())

    def fetch_a_result(
        self, job_id: str, *, format: Literal["parquet", "csv"] | None = None
    ) -> bytes:
        """Fetch a job's result."""
        return self._call(
            "GET", f"/v1/jobs/{quote(job_id, safe='')}/result", query={"format": format}
        ).content

    def models(self) -> ModelsTold:
        """Read which models speak, and which are scored in their shadow."""
        return cast(ModelsTold, self._call("GET", "/v1/models").json())

    def policy(self) -> PolicyTold:
        """Read the policy in force."""
        return cast(PolicyTold, self._call("GET", "/v1/policy").json())

    def index(self) -> dict[str, str]:
        """Name the routes."""
        return cast(dict[str, str], self._call("GET", "/").json())

    def describe(self) -> dict[str, Any]:
        """Describe the API."""
        return cast(dict[str, Any], self._call("GET", "/openapi.json").json())

    def describe_3_0(self) -> dict[str, Any]:
        """Describe the API to tools that read no OpenAPI 3.1."""
        return cast(dict[str, Any], self._call("GET", "/openapi-3.0.json").json())


# The end of what is made from the contract.


class Encours(_Operations):
    """The service, as one key sees it.

    Parameters
    ----------
    url : str
        Such as ``https://encours.example``; without TLS on this machine only, the key would travel
        in clear.
    key : str
        Of ``encours keys create``.
    attempt_seconds : float, optional
        How long one attempt may take.
    most_seconds : float, optional
        How long a call may take with all its attempts and waits.
    transport : httpx.BaseTransport, optional
        For a proxy or client certificates of your own.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        attempt_seconds: float = ATTEMPT_SECONDS,
        most_seconds: float = MOST_SECONDS,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        base = httpx.URL(url)
        if base.scheme != "https" and base.host not in HERE:
            raise ValueError(f"{url}: use https, or the key travels in clear")
        if not key.strip():
            raise ValueError("the key is empty: `encours keys create` makes one")
        self._url, self._attempt_seconds, self._most_seconds = url, attempt_seconds, most_seconds
        self._sleep: Callable[[float], None] = time.sleep
        self._http = httpx.Client(
            base_url=base,
            headers={"Authorization": f"Bearer {key.strip()}", "Accept": "application/json"},
            transport=transport,
            follow_redirects=False,  # the key goes where it was meant to, and nowhere else
        )

    def __repr__(self) -> str:
        return f"Encours({self._url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def until(
        self,
        look: Callable[[], J],
        is_over: Callable[[J], bool],
        *,
        every_seconds: float = 2.0,
        most_seconds: float = 3600.0,
    ) -> J:
        """Look again and again until it is over, a job for instance.

        Raises
        ------
        TimeoutError
            If it is not over in time; it goes on.
        """
        ends_at = time.monotonic() + most_seconds
        while not is_over(found := look()):
            if time.monotonic() + every_seconds > ends_at:
                raise TimeoutError(f"not over after {most_seconds:.0f} s")
            self._sleep(every_seconds)
        return found

    def each(
        self,
        ask: Callable[[str | None], Mapping[str, Any]],
        *,
        items: str = "items",
        following: str = "next",
    ) -> Iterator[Any]:
        """Give each item of all pages; `ask` gets what the page before said of the following."""
        after: str | None = None
        while True:
            page = ask(after)
            yield from page[items]
            after = page.get(following)
            if not after:
                return

    def _call(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> httpx.Response:
        """Send a request until it is answered, refused for good, or out of time."""
        sent: dict[str, Any] = {}
        if idempotency_key is not None:
            sent["headers"] = {"Idempotency-Key": idempotency_key}
        may_repeat = method != "POST" or idempotency_key is not None
        if body is not None:
            sent["json"] = body
        if query:
            sent["params"] = {name: said for name, said in query.items() if said is not None}
        ends_at, attempt = time.monotonic() + self._most_seconds, 0
        while True:
            tried = self._attempt(method, path, sent, ends_at)
            if isinstance(tried, httpx.Response):
                return tried
            failure, wait = tried
            wait = _backoff(attempt) if wait is None else wait
            if not may_repeat or time.monotonic() + wait >= ends_at:
                raise failure
            self._sleep(wait)
            attempt += 1

    def _attempt(
        self, method: str, path: str, sent: dict[str, Any], ends_at: float
    ) -> httpx.Response | tuple[Exception, float | None]:
        """Try once: give the answer, or why there is none and how long to wait."""
        left = max(0.001, ends_at - time.monotonic())
        try:
            answer = self._http.request(
                method, path, timeout=min(self._attempt_seconds, left), **sent
            )
        except httpx.TransportError as error:
            unreachable = EncoursUnreachable(f"{self._url}: {type(error).__name__}")
            unreachable.__cause__ = error
            return unreachable, None
        if answer.is_success:
            return answer
        problem = _problem(answer)
        if answer.status_code not in AGAIN or (
            answer.status_code == httpx.codes.CONFLICT and problem.type != IN_PROGRESS
        ):
            raise problem
        return problem, problem.retry_after


def _new_key() -> str:
    return str(uuid.uuid4())


def _backoff(attempt: int) -> float:
    """Say how long to wait before trying again: twice as long each time, at random up to it."""
    longest = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0**attempt)
    return random.uniform(longest / 2, longest)  # noqa: S311  no secret


def _problem(answer: httpx.Response) -> EncoursProblem:
    """Read a refusal; what is none of the service's own is still a problem."""
    asked = answer.headers.get("retry-after", "")
    retry_after = float(asked) if asked.isascii() and asked.isdigit() else None
    said: Any = None
    if answer.headers.get("content-type", "").startswith("application/problem+json"):
        try:
            said = answer.json()
        except ValueError:
            said = None
    if not isinstance(said, dict):
        said = {"detail": "Something between this client and the service answered."}
    return EncoursProblem(
        said.get("type", "about:blank"),
        answer.status_code,
        said.get("title", answer.reason_phrase),
        said.get("detail", ""),
        said.get("errors", ()),
        said.get("request_id", answer.headers.get("x-request-id")),
        retry_after,
    )
