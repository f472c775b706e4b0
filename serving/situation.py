"""Where a customer stands, without the models: exposure, purchases, cover, what bars it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.history import NEVER, Facts, History, known_on
from features.settlement import WRITE_OFF
from models.policy import Policy, Situation
from models.targets import DEFAULT_DEFINITIONS, find_defaults
from models.targets import is_in_default as in_default_at


class Cover(NamedTuple):
    """The insurer's cover in force; nothing when there is none."""

    amount_cents: int = 0
    insured_rate: float = 0.0
    ends_on: int | None = None


def describe(facts: Facts, history: History, as_of: int) -> tuple[Situation, Cover]:
    """Describe what one customer owes, buys, is covered for, and what bars it.

    Parameters
    ----------
    facts : Facts
        Of this customer alone.
    history : History
        Of the same facts.
    as_of : int
        Exclusive date, in days: what becomes known on it or later does not count.
    """
    invoices = history.invoices
    lately = (invoices.known_on >= as_of - 365) & (invoices.known_on < as_of)
    cover = _cover_in_force(facts["insurance_covers"], as_of)
    true = {
        "insolvency_opened": bool((history.insolvent_on < as_of).any()),
        "is_natural_person": bool(facts["customers"]["is_natural_person"][0]),
    }
    situation = Situation(
        exposure_cents=_exposure_cents(facts["settlements"], history, as_of),
        yearly_purchases_cents=int(invoices.amount_cents[lately].sum()),
        covered_cents=cover.amount_cents,
        insured_rate=cover.insured_rate,
        facts=frozenset(fact for fact, holds in true.items() if holds),
    )
    return situation, cover


def _exposure_cents(settlements: dict[str, NDArray[Any]], history: History, as_of: int) -> int:
    """Sum what is open, less the money that no invoice has used yet; negative in credit.

    A write-off that no invoice used is not money, and takes nothing off.
    """
    invoices, steps = history.invoices, history.steps
    is_known = steps.known_on < as_of
    n_known = np.add.accumulate(np.concatenate([[0], is_known]))[invoices.step_start]
    last = invoices.step_start[:-1] + np.diff(n_known) - 1  # steps lie by the day they were known
    after = np.append(steps.open_cents, 0)[last]
    open_cents = np.where(np.diff(n_known) > 0, after, invoices.amount_cents)
    kind = settlements["kind"]
    received = np.where(kind == "reversal", -1, 1) * settlements["amount_cents"]
    received = received[(kind != "write_off") & (known_on(settlements, "settled_on") < as_of)]
    used = steps.cents[is_known & (steps.kind != WRITE_OFF)]
    return int(open_cents[invoices.known_on < as_of].sum() - max(0, received.sum() - used.sum()))


def _cover_in_force(covers: dict[str, NDArray[Any]], as_of: int) -> Cover:
    """Return the cover decided last among those that run today."""
    starts_on, ends_on = known_on(covers, "starts_on"), covers["ends_on"]
    running = np.flatnonzero((starts_on < as_of) & (ends_on >= as_of - 1))
    if running.size == 0:
        return Cover()
    decided = np.lexsort((covers["recorded_at"][running], starts_on[running]))
    last = running[decided[-1]]
    end = None if ends_on[last] == NEVER else int(ends_on[last])
    return Cover(int(covers["amount_cents"][last]), float(covers["insured_rate"][last]), end)


def is_in_default(history: History, policy: Policy, as_of: int) -> bool:
    """Tell whether the one customer of `history` is in default, by the policy's definition."""
    spells = find_defaults(history, DEFAULT_DEFINITIONS[policy.default_definition])
    me, today = np.zeros(1, np.int64), np.array([as_of], np.int32)
    return bool(in_default_at(spells, me, today)[0])
