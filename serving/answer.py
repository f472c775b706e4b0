"""The answer's shape: what the use case found, as the JSON that callers and the record keep."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime
from typing import Any

from features.history import Facts
from models import depth, grades
from models.bands import LATE_AFTER_DAYS, VERY_LATE_AFTER_DAYS
from models.bundle import Champions
from models.explanation import Explanation
from models.insurance import Cover, InsuranceRules
from models.limits import Limit
from models.policy import Decision, Option, Order
from models.situation import as_date
from serving.audit import Entry
from serving.covers import Found
from serving.situation import Seen
from serving.speaking import Views

_ID = re.compile(rb'\s*\{\s*"id"\s*:\s*"([^"]*)"')
_ANSWER, _EVIDENCE = b'"answer": ', b', "evidence": {'  # members of what is recorded


def compose(
    id: str,
    as_of: int,
    known_at: datetime,
    currency: str,
    facts: Facts,
    order: Order,
    seen: Seen,
    views: Views,
    decision: Decision,
    champions: Champions,
    rules: InsuranceRules,
    code: str,
    *,
    assumed: bool,
) -> dict[str, Any]:
    """Put an answer together; everything but its place on the record."""
    return {
        "id": id,
        "as_of": iso(as_of),
        "known_at": f"{known_at.replace(tzinfo=None).isoformat(timespec='seconds')}Z",
        "currency": currency,
        "customer": {**_customer(facts), **_standing_shown(views)},
        "order": {
            "amount": money(order.amount_cents),
            "margin": money(order.margin_cents),
            "terms_days": order.terms_days,
            "paid": money(order.paid_cents),
            "assumed": assumed,
        },
        "exposure": _exposure_shown(seen),
        **_views_shown(views, as_of + order.terms_days),
        **_decision_shown(decision, as_of),
        "insurance": _insurance_shown(seen, order, views, as_of, rules),
        "versions": {
            "late": _identity(champions.late),
            "default": _identity(champions.default),
            "policy": _identity(champions.policy),
            "insurance": _identity(rules.sha256),
            "grades": grades.SCALE,
            "code": code,
        },
    }


def cover_evidence(found: Found | None) -> dict[str, Any] | None:
    """Keep what the insurer said, whoever gave it: a replay cannot ask again."""
    if found is None:
        return None
    cover = found.cover
    return {
        "outage": found.outage,
        "checked_at": _instant(found.checked_at),
        "cover": None
        if cover is None
        else {
            "amount_cents": cover.amount_cents,
            "insured_rate": cover.insured_rate,
            "starts_on": str(cover.starts_on),
            "ends_on": None if cover.ends_on is None else str(cover.ends_on),
            "source": cover.source,
            "known_at": _instant(cover.known_at),
        },
    }


def cover_found(kept: dict[str, Any] | None) -> Found | None:
    """Read back what :func:`cover_evidence` kept."""
    if kept is None:
        return None
    said, outage = kept["cover"], kept["outage"]
    cover = None
    if said is not None:
        cover = Cover(
            said["amount_cents"],
            said["insured_rate"],
            date.fromisoformat(said["starts_on"]),
            None if said["ends_on"] is None else date.fromisoformat(said["ends_on"]),
            said["source"],
            datetime.fromisoformat(said["known_at"]),
            is_stale=outage is not None,
        )
    checked_at = kept["checked_at"]
    at = None if checked_at is None else datetime.fromisoformat(checked_at)
    return Found(cover, at, outage)


def _instant(at: datetime | None) -> str | None:
    return None if at is None else f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def with_its_place(entry: Entry) -> bytes:
    """Give a recorded answer with its place on the record: the same bytes each time.

    Cut out of the body as it stands there, for reading it would take longer than writing it did.
    Quotes within a text are escaped, so that no text can look like where the answer ends.
    """
    begin, end = entry.body.index(_ANSWER) + len(_ANSWER), entry.body.rindex(_EVIDENCE)
    place = {"entry": entry.sequence, "leaf_hash": entry.leaf_hash, "sealed": False}
    return b"%s, %s" % (entry.body[begin : end - 1], to_bytes({"record": place})[1:])


def id_of(answer: bytes) -> str:
    """Read the identifier of an answer, its first member: the rest is long.

    >>> id_of(b'{"id": "0197", "as_of": "2025-07-03"}')
    '0197'
    """
    found = _ID.match(answer)
    if found is None:
        raise ValueError("an answer begins with its id")
    return found[1].decode()


def to_bytes(content: dict[str, Any] | str) -> bytes:
    """Write JSON as UTF-8; a NaN is an error."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False).encode()


def money(cents: int) -> str:
    """Write cents as units with two decimals.

    >>> money(-1905)
    '-19.05'
    """
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"


def iso(day: int) -> str:
    """Write a day number as a date.

    >>> iso(18262)
    '2020-01-01'
    """
    return as_date(day).isoformat()


def _exposure_shown(seen: Seen) -> dict[str, str]:
    known = seen.exposure
    return {
        "total": money(known.cents),
        "invoices": money(known.invoices_cents),
        "unapplied": money(known.unapplied_cents),
        "orders": money(known.orders_cents),
        "disputed": money(known.disputed_cents),
        "overdue": money(known.overdue_cents),
        "rest_of_group": money(seen.rest.exposure_cents),
    }


def _insurance_shown(
    seen: Seen, order: Order, views: Views, as_of: int, rules: InsuranceRules
) -> dict[str, Any]:
    found, part = seen.found, seen.cover
    cover = seen.cover_in_force(as_of)
    ends_on = None if cover is None else cover.ends_on
    yearly = None if views.default is None else views.default[grades.HORIZON_DAYS]
    flagged = seen.disagreement(yearly, order, as_of, rules)
    return {
        "covered": money(0 if cover is None else cover.amount_cents),
        "insured_rate": 0.0 if cover is None else cover.insured_rate,
        "valid_to": None if ends_on is None else str(ends_on),
        "insured": money(part.insured_cents),
        "uninsured": money(part.uninsured_cents),
        "reasons": [
            {"id": reason.id, "amount": money(reason.cents), "fr": reason.fr, "en": reason.en}
            for reason in part.reasons
        ],
        "deadlines": [
            {
                "invoice_id": one.invoice_id,
                "kind": one.kind,
                "due_on": str(one.due_on),
                "days_left": one.days_left,
                "open": money(one.open_cents),
                "is_disputed": one.is_disputed,
                "fr": one.fr,
                "en": one.en,
            }
            for one in seen.deadlines
        ],
        "disagreement": None
        if flagged is None
        else {"kind": flagged.kind, "fr": flagged.fr, "en": flagged.en},
        "stale": part.is_stale,
        "stale_fr": None if found is None else found.fr,
        "stale_en": None if found is None else found.en,
    }


def _customer(facts: Facts) -> dict[str, Any]:
    customer = {name: column[0] for name, column in facts["customers"].items()}
    return {
        "id": customer["customer_id"],
        "name": customer["name"],
        "country": customer["country"],
        "is_natural_person": bool(customer["is_natural_person"]),
    }


def _standing_shown(views: Views) -> dict[str, Any]:
    standing = views.standing
    return {
        "grade": None if standing is None else standing.grade,
        "score": None if standing is None else standing.score,
        "data_depth": views.data_depth,
    }


def _views_shown(views: Views, due_on: int) -> dict[str, Any]:
    paid_on = None
    if views.paid_on is not None:
        days = views.paid_on._asdict().items()
        paid_on = {quantile: None if d is None else iso(due_on + d) for quantile, d in days}
    interval = None
    if views.default_interval is not None:
        ends = views.default_interval._asdict()
        interval = {"horizon_days": grades.HORIZON_DAYS, "level": depth.LEVEL, **ends}
    return {
        "late": views.late,
        "late_bands": None if views.late_bands is None else _bands_shown(views.late_bands),
        "paid_on": paid_on,
        "default": views.default,
        "default_interval": interval,
        "abstentions": views.abstentions,
        "explanation": None if views.explanation is None else _explanation_shown(views.explanation),
    }


def _explanation_shown(told: Explanation) -> dict[str, Any]:
    return {**vars(told), "reasons": [vars(reason) for reason in told.reasons]}


def _bands_shown(shares: dict[str, float]) -> dict[str, Any]:
    return {
        "late_after_days": LATE_AFTER_DAYS,
        "very_late_after_days": VERY_LATE_AFTER_DAYS,
        **shares,
    }


def _decision_shown(decision: Decision, as_of: int) -> dict[str, Any]:
    limit = decision.limit
    return {
        "recommendation": {
            "action": decision.action,
            "proposed_action": decision.proposed_action,
            "deposit_rate": decision.deposit_rate,
            "smallest_deposit_rate": decision.smallest_deposit_rate,
            "requires_human": decision.requires_human,
            "fr": decision.fr,
            "en": decision.en,
            "customer_fr": decision.customer_fr,
            "customer_en": decision.customer_en,
            **_limit_shown(limit, as_of),
        },
        "derivation": [line._asdict() for line in decision.derivation],
        "limit_derivation": [] if limit is None else [line._asdict() for line in limit.derivation],
        "options": [_option_shown(option) for option in decision.options],
        "rules": [rule._asdict() for rule in decision.rules],
    }


def _limit_shown(limit: Limit | None, as_of: int) -> dict[str, Any]:
    if limit is None:
        return {"limit": None, "recommended_limit": None, "review_limit_on": None}
    return {
        "limit": money(limit.cents),
        "recommended_limit": money(limit.recommended_cents),
        "review_limit_on": None if limit.review_days is None else iso(as_of + limit.review_days),
    }


def _option_shown(option: Option) -> dict[str, Any]:
    return {
        "kind": option.kind,
        "deposit_rate": option.deposit_rate,
        "terms_days": option.terms_days,
        "credit": money(option.amount_on_credit_cents),
        "uninsured": money(option.uninsured_cents),
        "acceptance": option.acceptance,
        "margin": money(option.margin_cents),
        "default_probability": option.default_probability,
        "lgd_rate": option.lgd_rate,
        "expected_loss": money(option.expected_loss_cents),
        "funding": money(option.funding_cents),
        "cost": money(option.cost_cents),
        "expected_profit": money(option.expected_profit_cents),
        "admissible": option.admissible,
        "obstacle": None if option.obstacle is None else option.obstacle._asdict(),
        "chosen": option.chosen,
    }


def _identity(sha256: str | None) -> str | None:
    return None if sha256 is None else f"sha256:{sha256}"
