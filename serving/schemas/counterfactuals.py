"""What the API gives of the smallest changes that soften an action."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from models.changes import ChangeKind
from models.policy_file import Action, Kind
from serving.schemas.answer import Day, English, French, Money, OrderSeen, Rate, Rule, Told
from serving.schemas.examples import ASSESSMENT_EXAMPLE


class InvoiceToPay(Told):
    """An invoice that the customer can pay."""

    invoice_id: Annotated[str, Field(description="The seller's number for the invoice.")]
    open: Annotated[Money, Field(description="What is unpaid of it, in units of `currency`.")]
    due_on: Day


class Counterfactual(Told):
    """A change that softens the action; it was answered again with it, and this came out."""

    kind: Annotated[
        ChangeKind,
        Field(
            description="`deposit`: part of the order is paid in advance. `smaller_order`, with "
            "the margin in proportion. `shorter_terms`. `pay_invoices`. "
            "`pay_invoices_and_deposit`, where no change alone softens the action."
        ),
    ]
    deposit: Annotated[
        Money | None,
        Field(description="To pay in advance, beyond what was, in units of `currency`; else null."),
    ]
    order_amount: Annotated[
        Money | None,
        Field(description="Of the smaller order, in units of `currency`; else null."),
    ]
    terms_days: Annotated[
        int | None, Field(ge=0, description="Days from the invoice to its due date; else null.")
    ]
    invoices: Annotated[
        list[InvoiceToPay], Field(description="To pay in full; none can be left out.")
    ]
    invoices_total: Annotated[
        Money | None, Field(description="What they cost together, in units of `currency`.")
    ]
    before: Annotated[
        Day | None,
        Field(description="The first day on which it is too late to record the payment."),
    ]
    effort: Annotated[
        float,
        Field(
            ge=0,
            description="What is paid sooner or not ordered, as a share of the order's amount, 0 "
            "to 1 and more; of the days, for shorter terms. The smallest comes first.",
        ),
    ]
    action: Annotated[Kind, Field(description="What is answered then.")]
    deposit_rate: Annotated[
        Rate | None, Field(description="Where that is a deposit: a share of the amount, 0 to 1.")
    ]
    fr: French
    en: English


class WhyNone(Told):
    """Why no change softens the action."""

    id: Annotated[
        Literal["nothing_softer", "rule", "decided_by_a_person", "nothing_helps"],
        Field(
            description="`nothing_softer`: the answer is open terms, or the order is paid. "
            "`rule`: no change tried lifts the rules below. `decided_by_a_person`. "
            "`nothing_helps`: none of the changes tried."
        ),
    ]
    rules: Annotated[list[Rule], Field(description="Rules that no change lifts.")]
    fr: French
    en: English


class Counterfactuals(Told):
    """The smallest changes that soften the action of an assessment, as known then."""

    assessment_id: Annotated[
        str, Field(description="Of the assessment.", json_schema_extra={"format": "uuid"})
    ]
    known_at: Annotated[
        str,
        Field(
            description="Instant of the assessment, UTC: facts that came later do not count.",
            json_schema_extra={"format": "date-time"},
        ),
    ]
    currency: Annotated[str, Field(description="ISO 4217, that of the ledger.")]
    order: OrderSeen
    action: Annotated[Action, Field(description="What was answered.")]
    proposed_action: Annotated[
        Kind | None, Field(description="What was proposed where a person decides; else null.")
    ]
    found: Annotated[
        list[Counterfactual],
        Field(
            description="Of each kind the smallest that softens the action and, where that is "
            "another, the smallest that gives open terms; the least effort first."
        ),
    ]
    none_found: Annotated[WhyNone | None, Field(description="Null where a change was found.")]


COUNTERFACTUALS_EXAMPLE: dict[str, Any] = {
    "assessment_id": ASSESSMENT_EXAMPLE["id"],
    "known_at": ASSESSMENT_EXAMPLE["known_at"],
    "currency": "EUR",
    "order": ASSESSMENT_EXAMPLE["order"],
    "action": "deposit",
    "proposed_action": None,
    "found": [
        {
            "kind": "deposit",
            "deposit": "4213.00",
            "order_amount": None,
            "terms_days": None,
            "invoices": [],
            "invoices_total": None,
            "before": None,
            "effort": 0.21065,
            "action": "open",
            "deposit_rate": None,
            "fr": "Avec 4 213,00 EUR versés d’avance sur la commande : accepter avec paiement à 30 "
            "jours.",
            "en": "With 4,213.00 EUR paid in advance on the order: accept on 30-day terms.",
        },
        {
            "kind": "pay_invoices",
            "deposit": None,
            "order_amount": None,
            "terms_days": None,
            "invoices": [{"invoice_id": "F-1023", "open": "6310.00", "due_on": "2025-02-10"}],
            "invoices_total": "6310.00",
            "before": "2025-03-18",
            "effort": 0.3155,
            "action": "open",
            "deposit_rate": None,
            "fr": "Si la facture F-1023 (6 310,00 EUR) est réglée et enregistrée avant le "
            "18/03/2025 : accepter avec paiement à 30 jours.",
            "en": "If invoice F-1023 (6,310.00 EUR) is paid and recorded before 2025-03-18: accept "
            "on 30-day terms.",
        },
    ],
    "none_found": None,
}
