"""The invoice itself, issued or planned: its amount, its terms, and where its due date falls."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from features.compiled import njit

THURSDAY = 3  # 1970-01-01, day 0, was a Thursday; Monday is 0


class Order(NamedTuple):
    """One invoice, issued or planned."""

    amount: float  # in the base currency, tax included
    amount_to_habit: float  # against the customer's typical invoice; 1 is usual
    terms_days: float  # from issue to due date
    due_weekday: float  # 0 Monday … 6 Sunday
    due_month_day: float  # 1 … 31


@njit
def order(
    amount_cents: int, issued_on: int, due_on: int, due_month_day: int, typical_amount: float
) -> Order:
    """Describe one invoice.

    Parameters
    ----------
    amount_cents : int
        Its amount, > 0.
    issued_on, due_on : int
        Its dates, in days.
    due_month_day : int
        Day of the month it falls due, 1 … 31.
    typical_amount : float
        The customer's usual invoice, in the base currency; may be missing.
    """
    amount = amount_cents / 100
    return Order(
        amount,
        amount / typical_amount if typical_amount > 0 else np.nan,
        float(due_on - issued_on),
        float((due_on + THURSDAY) % 7),
        float(due_month_day),
    )
