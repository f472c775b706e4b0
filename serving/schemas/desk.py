"""Models and examples of the reading desk, alerts and overrides, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from serving.customers import explanation_of, options_of
from serving.schemas.alert import AcknowledgementRequest, AlertPage, AlertTold
from serving.schemas.customer import (
    CustomerNow,
    ExplanationTold,
    ModelsTold,
    OptionsTold,
    PolicyTold,
    ScoreHistory,
)
from serving.schemas.examples import ASSESSMENT_EXAMPLE
from serving.schemas.override import OverridePage, OverrideRequest, OverrideTold
from serving.schemas.registers import REGISTERS_EXAMPLE, Registers

DESK_MODELS: tuple[type[BaseModel], ...] = (
    ExplanationTold,
    OptionsTold,
    Registers,
    CustomerNow,
    ScoreHistory,
    AlertTold,
    AlertPage,
    AcknowledgementRequest,
    OverrideRequest,
    OverrideTold,
    OverridePage,
    ModelsTold,
    PolicyTold,
)
_SHA = "sha256:" + "0123456789abcdef" * 4
_SCORED: dict[str, Any] = {
    "id": ASSESSMENT_EXAMPLE["id"],
    "known_at": "2025-03-12T09:14:07Z",
    "grade": "E",
    "score": 512,
    "default_365": 0.081,
    "late_30": 0.12,
    "action": "deposit",
    "versions": ASSESSMENT_EXAMPLE["versions"],
}
ALERT_EXAMPLE: dict[str, Any] = {
    "id": "01981f2e-7c1a-7d33-9f4e-5a0b6c7d8e01",
    "customer_id": "C-17",
    "code": "grade_worsened",
    "severity": "warning",
    "at": "2025-03-12T09:14:07Z",
    "assessment_id": ASSESSMENT_EXAMPLE["id"],
    "currency": "EUR",
    "fr": "La classe est passée de B à E : probabilité de défaut de 8,1 % à 365 jours ; encours "
    "12 000,00 EUR.",
    "en": "The grade went from B to E: a probability of default of 8.1 % within 365 days; exposure "
    "12,000.00 EUR.",
    "evidence": {
        "grade_before": "B",
        "grade": "E",
        "notches": 3,
        "default_probability": 0.081,
        "model": "0123456789abcdef" * 4,
        "exposure": "12000.00",
        "overdue": "0.00",
        "longest_overdue_days": 0,
    },
    "measure": 3.0,
    "replaces": None,
    "rules": _SHA,
    "status": "open",
    "acknowledged": None,
    "ended_at": None,
}
_OVERRIDE: dict[str, Any] = {
    "override": {
        "id": "01981f2e-7c1a-7d33-9f4e-5a0b6c7d8e02",
        "assessment": {"id": ASSESSMENT_EXAMPLE["id"], "entry": 1, "leaf_hash": "0" * 64},
        "customer_id": "C-17",
        "order": {
            "amount_cents": 2_000_000,
            "margin_cents": 80_000,
            "terms_days": 30,
            "paid_cents": 0,
        },
        "owed_cents": 0,
        "decided": {
            "action": "open",
            "deposit_rate": None,
            "terms_days": None,
            "limit": "20000.00",
        },
        "proposed": {"action": "deposit", "deposit_rate": 0.3},
        "direction": "softer",
        "facts": [],
        "by": "Claire Martin",
        "role": "credit_manager",
        "authenticated": True,
        "key": "0123456789ab",
        "reason": "The parent company guarantees the order.",
        "expires_on": "2025-04-30",
        "decided_at": "2025-03-12T10:00:00Z",
        "replaces": None,
        "policy": _SHA,
    },
    "record": {"entry": 2, "leaf_hash": "0" * 64, "sealed": False},
}
_CUSTOMER: dict[str, Any] = {
    "id": "C-17",
    "name": "Atelier Morel SAS",
    "country": "FR",
    "is_natural_person": False,
    "as_of": "2025-03-13",
    "known_at": "2025-03-12T09:14:07Z",
    "currency": "EUR",
    "exposure": ASSESSMENT_EXAMPLE["exposure"],
    "longest_overdue_days": 0,
    "limit": "30000.00",
    "cover": {"covered": "0.00", "insured_rate": 0.0, "valid_to": None, "stale": False},
    "last_assessment": _SCORED,
    "override": None,
    "alerts": [ALERT_EXAMPLE],
}
_MODEL: dict[str, Any] = {
    "question": "default",
    "place": "champion",
    "hash": _SHA,
    "trained_on": _SHA,
    "trained_from": "2020-01-01",
    "cutoff": "2024-01-01",
    "measured_until": "2025-03-12",
    "metrics": [],
    "refused": None,
}
OF_DESK: dict[str, tuple[type[BaseModel], dict[str, Any]]] = {
    "explanation": (ExplanationTold, explanation_of(ASSESSMENT_EXAMPLE)),
    "options": (OptionsTold, options_of(ASSESSMENT_EXAMPLE)),
    "registers": (Registers, REGISTERS_EXAMPLE),
    "customer": (CustomerNow, _CUSTOMER),
    "history": (ScoreHistory, {"assessments": [_SCORED], "before": None}),
    "alert": (AlertTold, ALERT_EXAMPLE),
    "alerts": (AlertPage, {"alerts": [ALERT_EXAMPLE], "cursor": "17", "is_last": True}),
    "override": (OverrideTold, _OVERRIDE),
    "overrides": (OverridePage, {"overrides": [_OVERRIDE], "cursor": "17", "is_last": True}),
    "models": (ModelsTold, {"models": [_MODEL], "abstentions": {}}),
    "policy": (PolicyTold, {"hash": _SHA, "version": "2026-11", "policy": {"version": "2026-11"}}),
}
DESK_EXAMPLES = {name: {"value": value} for name, (_, value) in OF_DESK.items()}
