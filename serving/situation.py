"""Where a customer stands, as the policy wants to know it."""

from __future__ import annotations

import numpy as np

from features.history import History
from models.policy import Policy, Situation
from models.position import Cover, position
from models.targets import DEFAULT_DEFINITIONS, find_defaults
from models.targets import is_in_default as in_default_at


def describe(history: History, as_of: int) -> tuple[Situation, Cover]:
    """Describe what the one customer of `history` owes, buys, is covered for, and what bars him.

    Parameters
    ----------
    history : History
    as_of : int
        Exclusive date, in days: what becomes known on it or later does not count.
    """
    known = position(history, 0, as_of)
    true = {
        "insolvency_opened": known.insolvency_opened,
        "is_natural_person": known.is_natural_person,
    }
    situation = Situation(
        exposure_cents=known.exposure.invoices_cents - known.exposure.unapplied_cents,
        yearly_purchases_cents=known.yearly_purchases_cents,
        covered_cents=known.cover.amount_cents,
        insured_rate=known.cover.insured_rate,
        facts=frozenset(fact for fact, holds in true.items() if holds),
    )
    return situation, known.cover


def is_in_default(history: History, policy: Policy, as_of: int) -> bool:
    """Tell whether the one customer of `history` is in default, by the policy's definition."""
    spells = find_defaults(history, DEFAULT_DEFINITIONS[policy.default_definition])
    me, today = np.zeros(1, np.int64), np.array([as_of], np.int32)
    return bool(in_default_at(spells, me, today)[0])
