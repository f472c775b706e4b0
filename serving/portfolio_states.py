"""The states of a whole portfolio, for the watch: every customer who owes, scored in one matrix.

What an assessment says of one customer's state is said here of all, from one history, one feature
build and one call of the default curve.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.build import CUSTOMER_FEATURES, build, customer_spine
from features.history import History
from models import depth, grades
from models.alerts import CoverState, Due, State
from models.bundle import Bundle
from models.insurance import OpenInvoice, deadlines
from models.insurance_file import InsuranceRules, LedgerSource
from models.policy import Policy
from models.portfolio import portfolio_at
from models.position import Position, positions
from models.situation import as_date
from models.targets import ACTIVE_DAYS, DEFAULT_DEFINITIONS, find_defaults, is_in_default

DAYS_SINCE_LAST = CUSTOMER_FEATURES.index("purchases_days_since_last")
REFUSED = CUSTOMER_FEATURES.index("cover_refused")


class _Scored(NamedTuple):
    """What the curve says of each customer; arrays of shape (n_customers,), NaN: it abstains."""

    probability: NDArray[np.float64]
    letter: NDArray[np.str_]
    in_default: NDArray[np.bool_]
    refused: NDArray[np.float64]


def states(
    history: History,
    at: datetime,
    curve: Bundle | None,
    policy: Policy,
    rules: InsuranceRules,
    also: frozenset[str] = frozenset(),
) -> list[State]:
    """Describe every customer who owes or has ordered.

    Parameters
    ----------
    history : History
        All facts, in all versions.
    at : datetime
        The instant, UTC; the day counts to its end.
    curve : Bundle or None
        The default curve in charge.
    policy : Policy
        Its definition of default.
    rules : InsuranceRules
        The insurer's policy. Where its covers are not the ledger's they are unknown here: he is
        asked about one customer at a time.
    also : frozenset of str
        Customers to describe whether or not they owe.

    Returns
    -------
    list of State
        By customer.
    """
    as_of = (at.date() - datetime(1970, 1, 1, tzinfo=UTC).date()).days + 1
    everyone = np.arange(history.customers.size)
    known = positions(history, everyone, np.full(everyone.size, as_of, np.int64))
    wanted = known.exposure.invoices_cents + known.exposure.orders_cents > 0
    wanted |= np.isin(history.customers, sorted(also)) if also else False
    codes = everyone[wanted]
    scored = _score(history, codes, as_of, curve, policy)
    asks_ledger = isinstance(rules.provider, LedgerSource)
    due = _deadlines(history, as_of, rules) if asks_ledger else {}
    model = None if curve is None else curve.sha256
    found = []
    for place, code in enumerate(codes.tolist()):
        one, customer = known.of(code), str(history.customers[code])
        refused = float(scored.refused[place])  # NaN for a customer he never decided on
        cover, covered = _cover(one, refused=refused == 1) if asks_ledger else ("unknown", 0)
        probability = float(scored.probability[place])
        in_default, abstains = bool(scored.in_default[place]), bool(np.isnan(probability))
        letter = None if abstains else str(grades.grade(probability))
        found.append(
            State(
                customer_id=customer,
                at=at,
                model=model,
                grade="H" if in_default else letter,
                default_probability=None if abstains or in_default else probability,
                data_depth=str(scored.letter[place]),
                insolvency_opened=one.insolvency_opened,
                in_default=in_default,
                exposure_cents=one.exposure.cents,
                overdue_cents=one.exposure.overdue_cents,
                longest_overdue_days=one.exposure.longest_overdue_days,
                limit_cents=one.limit_cents,
                cover=cover,
                covered_cents=covered,
                # he is told of a customer whom he covers, or did
                deadlines=due.get(customer, ()) if refused == 0 or one.cover_withdrawn else (),
            )
        )
    return found


def _score(
    history: History, codes: NDArray[np.int64], as_of: int, curve: Bundle | None, policy: Policy
) -> _Scored:
    """Ask the default curve about the customers whom it knows, as an assessment does."""
    dates = np.full(codes.size, as_of, np.int32)
    X = build(history, customer_spine(codes, dates))
    letter = depth.letters(X, CUSTOMER_FEATURES)
    spells = find_defaults(history, DEFAULT_DEFINITIONS[policy.default_definition])
    in_default = is_in_default(spells, codes, dates)
    probability = np.full(codes.size, np.nan)
    asked = (letter != depth.FLOOR) & ~in_default & (X[:, DAYS_SINCE_LAST] <= ACTIVE_DAYS)
    if curve is not None and asked.any():
        year = np.full(int(asked.sum()), grades.HORIZON_DAYS, np.int32)
        probability[asked] = curve.curve.probability(X[asked], year)
    return _Scored(probability, letter, in_default, X[:, REFUSED])


def _cover(one: Position, *, refused: bool) -> tuple[CoverState, int]:
    if one.cover.amount_cents > 0:
        return "in_force", one.cover.amount_cents
    return ("refused" if refused or one.cover_withdrawn else "none"), 0


def _deadlines(history: History, as_of: int, rules: InsuranceRules) -> dict[str, tuple[Due, ...]]:
    """List, by customer, until when the insurer must be told of undisputed overdue invoices."""
    found: dict[str, list[Due]] = {}
    for customer, one in _open_invoices(history, as_of):
        for asked in deadlines([one], as_date(as_of), rules):
            if asked.kind == "threatened_loss_notification" and not asked.is_disputed:
                due = Due(asked.invoice_id, asked.due_on, asked.days_left, asked.open_cents)
                found.setdefault(customer, []).append(due)
    return {
        customer: tuple(sorted(due, key=lambda d: (d.days_left, d.invoice_id)))
        for customer, due in found.items()
    }


def _open_invoices(history: History, as_of: int) -> Iterator[tuple[str, OpenInvoice]]:
    owed = portfolio_at(history, as_of)
    overdue = (owed.owed_cents > 0) & (owed.due_on < as_of - 1)
    for row in np.flatnonzero(overdue).tolist():
        yield (
            str(owed.customers.id[owed.customer[row]]),
            OpenInvoice(
                str(owed.invoice_id[row]),
                as_date(int(owed.due_on[row])),
                int(owed.owed_cents[row]),
                bool(owed.is_disputed[row]),
            ),
        )
