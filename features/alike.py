"""How the customer paid his invoices most like this one: due on the same weekday, as large.

A customer pays in runs, on the days his accountant sits down to it: whether an invoice is paid on
its due date or on the run after it depends on the weekday it falls due, and small or recurring
invoices go another way through his house than large ones.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.compiled import njit

LATEST = 500
HALF_LIFE_DAYS = 180
FADED_DAYS = 10 * HALF_LIFE_DAYS  # a thousandth of the weight: no longer read
FADING = 0.5 ** (np.arange(FADED_DAYS + 1) / HALF_LIFE_DAYS)  # weight by age in days
OTHER_WEEKDAY = 0.1  # what an invoice due on another weekday weighs beside one due on the same
WORST_DAYS = 90  # a delay counts for no more, early or late: one forgotten invoice is no habit


class Alike(NamedTuple):
    """Settled invoices, each weighing by how like this one it is, and how recent."""

    late_rate: float
    days_late: float


@njit
def alike(
    days_late: NDArray[np.int32],
    amount_cents: NDArray[np.int64],
    invoice: NDArray[np.int64],
    due_on: NDArray[np.int32],
    known_on: NDArray[np.int32],
    until: NDArray[np.int32],
    as_of: int,
    own_due_on: int,
    own_cents: int,
) -> Alike:
    """Summarise the latest 500 invoices settled before `as_of`, given in order of time.

    Parameters
    ----------
    days_late, amount_cents, invoice, known_on, until : ndarray of shape (n_settled,)
        Days from due date to settlement; amounts; index of the invoice; day we knew; day we knew
        the invoice was open again.
    due_on : ndarray of int32, shape (n_invoices,)
        Due dates by index of the invoice, in days.
    as_of : int
        The date we look from, exclusive.
    own_due_on, own_cents : int
        The invoice in question, issued or planned.

    Returns
    -------
    Alike
        Missing where no invoice was settled.

    Notes
    -----
    Asked about 100 due on a Friday, an invoice of 80 due on a Friday weighs 80 / 100, one of 200
    due on a Monday 0.1 × 100 / 200; both half as much after 180 days. The customer's usual rate is
    added with a weight of 1: one like invoice says little.
    """
    weight, late, days = 0.0, 0.0, 0.0  # of the customer's invoices, by age alone
    like, like_late, like_days = 0.0, 0.0, 0.0
    count = 0
    for i in range(days_late.size - 1, -1, -1):
        age = as_of - known_on[i]
        if count == LATEST or age > FADED_DAYS:
            break
        if until[i] < as_of:
            continue
        count += 1
        w, cents = FADING[age], amount_cents[i]
        is_late = days_late[i] > 0
        counted = float(max(-WORST_DAYS, min(WORST_DAYS, days_late[i])))
        weight += w
        late += w * is_late
        days += w * counted
        w *= min(cents, own_cents) / max(cents, own_cents)
        if (due_on[invoice[i]] - own_due_on) % 7:
            w *= OTHER_WEEKDAY
        like += w
        like_late += w * is_late
        like_days += w * counted
    if count == 0:
        return Alike(np.nan, np.nan)
    return Alike((like_late + late / weight) / (like + 1), (like_days + days / weight) / (like + 1))
