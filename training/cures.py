"""How much of what is on credit is paid after all when its customer defaults.

A customer who defaults within an order's life may have paid that very order before, or pay it in
the end: a default by the `bureau` preset is *90 days late on a tenth*, and no loss. The policy's
loss given default is about a claim that fails; what the ledger shows to be paid comes off first.

Worked example: of 100,000 ordered by customers who then defaulted, 97,000 were paid in the end and
3 % lost. One customer may decide that: resampling customers gives up to 11 % in nineteen draws of
twenty, so that 89 % count as cured. Of fewer than 20 customers nothing does.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.history import History
from models.targets import Defaults, default_within, is_in_default
from training.realised import realised

FEWEST_CUSTOMERS = 20
DRAWS = 1_000
PRUDENT = 0.95  # of the draws of customers lose no more than what counts as lost
LIFE_AFTER_TERMS_DAYS = 90  # as the shipped policy's horizon_days
SETTLED_DAYS = 365  # after the due date: what is unpaid until then counts as lost

Floats = NDArray[np.float64]
Index = NDArray[np.int64]


class Cures(NamedTuple):
    """What was paid after all, of orders whose customer defaulted within their life.

    Attributes
    ----------
    rate : float
        Prudent: the lower end of a one-sided interval of 95 %, by resampling customers; 0 with too
        few of them.
    seen_rate : float
        Of the amounts; NaN without any.
    customers, orders : int
    """

    rate: float
    seen_rate: float
    customers: int
    orders: int

    def as_dict(self) -> dict[str, Any]:
        """Give plain types for JSON, null for what has no figure."""
        seen = None if np.isnan(self.seen_rate) else self.seen_rate
        return self._asdict() | {"seen_rate": seen}


def cures(history: History, spells: Defaults, cutoff: int) -> Cures:
    """Measure what was paid after all, as known before a cut-off.

    Parameters
    ----------
    history : History
    spells : Defaults
        By the definition of the curve.
    cutoff : int
        Exclusive date, in days.

    Notes
    -----
    Weighted by amount, as what it prices. What is disputed or credited is no loss; what nobody has
    decided a year after the due date is.
    """
    invoices = history.invoices
    index = history.current
    index = index[invoices.due_on[index] + SETTLED_DAYS < cutoff]
    issued_on, customer = invoices.issued_on[index], history.invoice_customer[index]
    terms_days = np.maximum(0, invoices.due_on[index] - issued_on)
    lives = (terms_days + LIFE_AFTER_TERMS_DAYS).astype(np.int32)
    outcome = default_within(spells, customer, issued_on, lives, cutoff)
    chosen = outcome.known & outcome.happened & ~is_in_default(spells, customer, issued_on)
    return _of_customers(history, index[chosen], customer[chosen], cutoff)


def _of_customers(history: History, invoice: Index, customer: Index, cutoff: int) -> Cures:
    became = realised(history, invoice, cutoff)
    who, place = np.unique(customer, return_inverse=True)
    asked, lost = np.zeros(who.size), np.zeros(who.size)
    np.add.at(asked, place, became.amount)
    np.add.at(lost, place, became.lost + became.undecided)
    seen = 1 - float(lost.sum() / asked.sum()) if who.size else float("nan")
    return Cures(_prudent(asked, lost), seen, int(who.size), int(invoice.size))


def _prudent(asked: Floats, lost: Floats) -> float:
    """Return the share paid after all of which 95 % of the draws of customers show more.

    >>> _prudent(np.array([100.0, 50.0]), np.array([0.0, 0.0]))  # two customers tell nothing
    0.0
    """
    n = asked.size
    if n < FEWEST_CUSTOMERS:
        return 0.0
    drawn = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), DRAWS)
    return 1 - float(np.quantile(drawn @ lost / (drawn @ asked), PRUDENT))
