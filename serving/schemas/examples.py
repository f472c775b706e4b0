"""A request and its answer, for the OpenAPI document: the worked example of models/options.py."""

from __future__ import annotations

from typing import Any

REQUEST_EXAMPLE: dict[str, Any] = {
    "customer": {"id": "C-17"},
    "order": {"amount": "20000.00", "margin": "800.00", "terms_days": 30},
}


def _option(
    kind: str,
    credit: str,
    acceptance: float,
    loss: str,
    funding: str,
    profit: str,
    *,
    chosen: bool = False,
) -> dict[str, Any]:
    on_credit = credit != "0.00"
    return {
        "kind": kind,
        "deposit_rate": 0.30 if kind == "deposit" else None,
        "terms_days": None,
        "credit": credit,
        "uninsured": credit,
        "acceptance": acceptance,
        "margin": "0.00" if kind == "refuse" else "800.00",
        "default_probability": 0.0391657 if on_credit else None,
        "lgd_rate": 0.6 if on_credit else None,
        "expected_loss": loss,
        "funding": funding,
        "cost": "0.00",
        "expected_profit": profit,
        "admissible": True,
        "obstacle": None,
        "chosen": chosen,
    }


ASSESSMENT_EXAMPLE: dict[str, Any] = {
    "id": "01981f2e-7c1a-7d33-9f4e-5a0b6c7d8e9f",
    "as_of": "2025-03-13",
    "known_at": "2025-03-12T09:14:07Z",
    "currency": "EUR",
    "customer": {
        "id": "C-17",
        "name": "Atelier Morel SAS",
        "country": "FR",
        "is_natural_person": False,
        "grade": "E",
        "score": 512,
        "data_depth": "B",
    },
    "order": {
        "amount": "20000.00",
        "margin": "800.00",
        "terms_days": 30,
        "paid": "0.00",
        "assumed": False,
    },
    "exposure": {
        "total": "12000.00",
        "invoices": "12000.00",
        "unapplied": "0.00",
        "orders": "0.00",
        "disputed": "0.00",
        "overdue": "4000.00",
        "rest_of_group": "0.00",
    },
    "late": {"0": 0.46, "5": 0.31, "15": 0.17, "30": 0.09, "60": 0.05},
    "late_bands": {
        "late_after_days": 0,
        "very_late_after_days": 30,
        "on_time": 0.54,
        "late": 0.37,
        "very_late": 0.09,
    },
    "paid_on": {"p10": "2025-04-06", "p50": "2025-04-11", "p90": "2025-05-10"},
    "default": {"30": 0.006, "90": 0.029, "180": 0.052, "365": 0.081},
    "default_interval": {"horizon_days": 365, "level": 0.8, "low": 0.067, "high": 0.094},
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
        "smallest_deposit_rate": 0.0,
        "requires_human": False,
        "fr": "Accepter avec un acompte de 30 % à la commande.",
        "en": "Accept with a 30 % deposit on order.",
        "customer_fr": "Nous lançons votre commande dès réception d’un acompte de 30 %, le solde à "
        "30 jours.",
        "customer_en": "We start your order on receipt of a 30 % deposit, the balance in 30 days.",
        "limit": "37000.00",
        "recommended_limit": "37000.00",
        "review_limit_on": "2025-06-11",
    },
    "derivation": [
        {
            "fr": "Marge de ce qui est livré",
            "en": "Margin of what is delivered",
            "value": 80000,
            "unit": "cents",
        },
        {"fr": "Perte attendue", "en": "Expected loss", "value": 32899, "unit": "cents"},
        {"fr": "Financement", "en": "Funding", "value": 7583, "unit": "cents"},
        {"fr": "Acceptation", "en": "Acceptance", "value": 0.85, "unit": "rate"},
        {"fr": "Résultat attendu", "en": "Expected profit", "value": 33590, "unit": "cents"},
    ],
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
        _option("deposit", "14000.00", 0.85, "328.99", "75.83", "335.90", chosen=True),
        _option("cash", "0.00", 0.40, "0.00", "0.00", "320.00"),
        _option("open", "20000.00", 1.0, "469.99", "108.33", "221.68"),
        _option("refuse", "0.00", 0.0, "0.00", "0.00", "0.00"),
    ],
    "insurance": {
        "covered": "0.00",
        "insured_rate": 0.0,
        "valid_to": None,
        "insured": "0.00",
        "uninsured": "20000.00",
        "reasons": [
            {
                "id": "no_cover",
                "amount": "20000.00",
                "fr": "aucun agrément de l’assureur",
                "en": "the insurer gave no cover",
            }
        ],
        "deadlines": [
            {
                "invoice_id": "F-2025-118",
                "kind": "stop_of_deliveries",
                "due_on": "2025-04-29",
                "days_left": 48,
                "open": "4000.00",
                "is_disputed": False,
                "fr": "F-2025-118 : dernier jour pour livrer ce client, au plus tard le "
                "29/04/2025 (reste 48 jours)",
                "en": "F-2025-118: last day to deliver, by 2025-04-29 at the latest (48 days left)",
            }
        ],
        "disagreement": None,
        "stale": False,
        "stale_fr": None,
        "stale_en": None,
    },
    "rules": [],
    "override": None,
    "versions": {
        "late": f"sha256:{'1f' * 32}",
        "default": f"sha256:{'2e' * 32}",
        "policy": f"sha256:{'3d' * 32}",
        "insurance": f"sha256:{'4c' * 32}",
        "grades": "encours-1",
        "code": "0.1.0",
    },
    "record": {"entry": 18233, "leaf_hash": "5a" * 32, "sealed": False},
}
