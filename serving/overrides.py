"""What people decided instead of the policy, read back from the record, by customer.

The record is the only source: each look-up first reads what was added since the last one, so that
an override counts in every process from the moment it is durable. With nothing new this is one
query on an index that holds overrides only.
"""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from threading import Lock
from typing import Any

from models.limits import Order, Situation
from models.overrides import Choice, Override, applied, counts
from models.policy import Decision, Policy
from serving.audit import Record

KIND = "override"


class Overrides:
    """What people decided, oldest first; of each customer the last decision counts.

    Parameters
    ----------
    record : Record
    """

    def __init__(self, record: Record) -> None:
        self._record, self._seen = record, 0
        self._all: list[Override] = []
        self._latest: dict[str, Override] = {}
        self._persons: dict[str, str] = {}  # customers by the key that they are encrypted by
        self._reading = Lock()

    def all(self) -> list[Override]:
        """Return every override and withdrawal on the record."""
        self._catch_up()
        return list(self._all)

    def in_force(self, customer_id: str, today: date) -> Override | None:
        """Return the customer's last override, if it runs on that day."""
        self._catch_up()
        latest = self._latest.get(customer_id)
        return latest if latest is not None and latest.in_force(today) else None

    def _catch_up(self) -> None:
        with self._reading:
            for entry in self._record.after(self._seen, KIND):
                read = from_body(entry.body)
                self._all.append(read)
                self._latest[read.customer_id] = read
                self._seen = entry.sequence
                if entry.person is not None:
                    self._persons[entry.person] = read.customer_id
            for person in self._persons.keys() & self._record.persons.erased():
                customer_id = self._persons.pop(person)
                self._all = [one for one in self._all if one.customer_id != customer_id]
                self._latest.pop(customer_id, None)


def apply(
    found: Override | None, decision: Decision, order: Order, situation: Situation, policy: Policy
) -> tuple[Decision, dict[str, Any] | None]:
    """Put a person's decision in the place of the policy's, where one counts for the order.

    Parameters
    ----------
    found : Override or None
        In force on the day.
    decision : Decision
        The policy's.
    order : Order
    situation : Situation
    policy : Policy

    Returns
    -------
    Decision
    dict or None
        The override as an answer shows it: neither the name nor the reason leave the record.
    """
    if found is None:
        return decision, None
    owed_cents, true = situation.owed_cents, situation.facts
    instead = applied(found, decision, order, owed_cents, true, policy) or decision
    return instead, shown(found) if counts(instead) else None


def shown(override: Override) -> dict[str, Any]:
    """Show an override in force in an answer."""
    choice = override.choice
    assert choice is not None, "in force"  # noqa: S101 (for the type checker)
    return {
        "id": override.id,
        "assessment_id": override.assessment_id,
        "role": override.role,
        **choice_shown(choice),
        "decided_on": str(override.decided_on),
        "expires_on": str(override.expires_on),
    }


def choice_shown(choice: Choice) -> dict[str, Any]:
    """Show what was decided."""
    rate = choice.deposit_rate
    return {
        "action": choice.kind,
        "deposit_rate": None if rate is None else float(rate),
        "terms_days": choice.terms_days,
        "limit": f"{choice.limit_cents // 100}.{choice.limit_cents % 100:02d}",
    }


def from_body(body: bytes) -> Override:
    """Read an override from the exact bytes of its entry."""
    said = json.loads(body)["override"]
    return Override(
        id=said["id"],
        assessment_id=said["assessment"]["id"],
        customer_id=said["customer_id"],
        choice=None if said["decided"] is None else _choice(said["decided"]),
        order=Order(**said["order"]),
        direction=said["direction"],
        facts=frozenset(said["facts"]),
        by=said["by"],
        role=said["role"],
        reason=said["reason"],
        decided_on=date.fromisoformat(said["decided_at"][:10]),
        expires_on=date.fromisoformat(said["expires_on"]),
    )


def _choice(said: dict[str, Any]) -> Choice:
    rate = said["deposit_rate"]
    limit_cents = int(Decimal(said["limit"]) * 100)
    rate = None if rate is None else Decimal(str(rate))
    return Choice(said["action"], limit_cents, rate, said["terms_days"])
