"""The use case: what is known of a customer now, and the history of his scores. Reads only."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from features.history import build
from features.versions import current
from models.limits import Order
from serving.answer import iso, money, to_bytes
from serving.assess import UnknownCustomer
from serving.audit import Entry
from serving.opened import Opened
from serving.overrides import shown
from serving.schemas.alert import alert_shown
from serving.situation import Group, describe

NO_ORDER = Order(0, 0, 0)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def profile(opened: Opened, customer_id: str, *, whole: bool) -> bytes:
    """Tell who a customer is and how he stands: exposure and cover now, score as last assessed.

    Parameters
    ----------
    opened : Opened
    customer_id : str
    whole : bool
        With who acknowledged alerts, and the notes.

    Raises
    ------
    UnknownCustomer
    """
    now, store = opened.clock(), opened.store
    as_of, known_at = (now - EPOCH).days + 1, (now - EPOCH) // timedelta(microseconds=1)
    sequence, ledger, facts = store.snapshot(customer_id, known_at)
    standing = current(facts)
    is_known = standing["customers"]["customer_id"].size > 0
    if not is_known or opened.record.persons.is_erased(customer_id):
        raise UnknownCustomer("The ledger does not know this customer: import it first.")
    books = build(standing, ledger.observed_from)
    group = Group(store, known_at, sequence, ledger.observed_from)
    seen = describe(books, standing, NO_ORDER, as_of, now, opened.insurer, group)
    customer = {name: column[0] for name, column in standing["customers"].items()}
    last = opened.record.of_customer(customer_id, "assessment", 1)
    override = opened.overrides.in_force(customer_id, now.date())
    limit, cover = seen.situation.decided_limit_cents, seen.cover_in_force(as_of)
    known = seen.exposure
    return to_bytes(
        {
            "id": customer_id,
            "name": customer["name"],
            "country": customer["country"],
            "is_natural_person": bool(customer["is_natural_person"]),
            "as_of": iso(as_of),
            "known_at": f"{now:%Y-%m-%dT%H:%M:%SZ}",
            "currency": ledger.currency,
            "exposure": {
                "total": money(known.cents),
                "invoices": money(known.invoices_cents),
                "unapplied": money(known.unapplied_cents),
                "orders": money(known.orders_cents),
                "disputed": money(known.disputed_cents),
                "overdue": money(known.overdue_cents),
                "rest_of_group": money(seen.rest.exposure_cents),
            },
            "longest_overdue_days": known.longest_overdue_days,
            "limit": None if limit is None else money(limit),
            "cover": {
                "covered": money(0 if cover is None else cover.amount_cents),
                "insured_rate": 0.0 if cover is None else cover.insured_rate,
                "valid_to": None if cover is None or cover.ends_on is None else str(cover.ends_on),
                "stale": seen.cover.is_stale,
            },
            "last_assessment": scored(last[0]) if last else None,
            "override": None if override is None else shown(override),
            "alerts": [
                alert_shown(one, whole=whole) for one in opened.alerts.standing(customer_id)
            ],
        }
    )


def history(opened: Opened, customer_id: str, limit: int, before: int | None) -> bytes:
    """Give the scores of a customer's assessments, newest first.

    Raises
    ------
    UnknownCustomer
        Where the ledger does not know him.
    """
    if not _is_known(opened, customer_id):
        raise UnknownCustomer("The ledger does not know this customer: import it first.")
    found = opened.record.of_customer(customer_id, "assessment", limit + 1, before)
    more = len(found) > limit
    page = found[:limit]
    cursor = str(page[-1].sequence) if more else None
    return to_bytes({"assessments": [scored(one) for one in page], "before": cursor})


def _is_known(opened: Opened, customer_id: str) -> bool:
    is_here = customer_id in opened.store.known_of([customer_id], []).customers
    return is_here and not opened.record.persons.is_erased(customer_id)


def scored(entry: Entry) -> dict[str, Any]:
    """Show the scores of a recorded assessment."""
    answer = json.loads(entry.body)["answer"]
    default, late = answer["default"], answer["late"]
    return {
        "id": answer["id"],
        "known_at": answer["known_at"],
        "grade": answer["customer"]["grade"],
        "score": answer["customer"]["score"],
        "default_365": None if default is None else default["365"],
        "late_30": None if late is None else late["30"],
        "action": answer["recommendation"]["action"],
        "versions": answer["versions"],
    }


def explanation_of(answer: dict[str, Any]) -> dict[str, Any]:
    """Take out of an answer what explains it, with the same values."""
    parts = (
        "id",
        "currency",
        "customer",
        "late",
        "late_bands",
        "paid_on",
        "default",
        "default_interval",
        "abstentions",
        "explanation",
        "versions",
        "record",
    )
    return {part: answer[part] for part in parts}


def options_of(answer: dict[str, Any]) -> dict[str, Any]:
    """Take out of an answer what was weighed, with the same values."""
    parts = (
        "id",
        "currency",
        "order",
        "recommendation",
        "derivation",
        "limit_derivation",
        "options",
        "rules",
        "override",
        "versions",
        "record",
    )
    return {part: answer[part] for part in parts}
