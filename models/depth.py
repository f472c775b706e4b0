"""How much is known of a customer: a letter A–G, what it does to an interval, and what would help.

Points are counted, and the letter says how many (:func:`letters`):

- invoices settled in the last year: 1 point from one on, 2 from three, 3 from six, 4 from twelve; 1
  where they are older, or where an invoice fell due unpaid;
- since the first invoice: 1 point from 90 days on, 2 from 365;
- four invoices or more in the last year: 1 point;
- published accounts: 1 point;
- a decision of a credit insurer: 1 point;
- how comparable customers pay: 1 point, but only beside another one: it says nothing of *this* one.

The year is the longest window the ledger covers, where it covers less. For instance a customer of
two years with 20 invoices, all settled, has 4 + 2 + 1 = 7 points, letter B; with published accounts
8, letter A. G, no point at all, is the floor: the curves abstain.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import beta

from features.settled import WINDOWS_DAYS

Floats = NDArray[np.float64]
Index = NDArray[np.int64]
LETTERS = ("A", "B", "C", "D", "E", "F", "G")
FEWEST_POINTS = (8, 7, 5, 4, 2, 1, 0)  # of each letter
FLOOR = "G"
SETTLED_STEPS = (1, 3, 6, 12)
TENURE_STEPS_DAYS = (90, 365)
FEWEST_INVOICES = 4
LEVEL = 0.80
WIDEST_LOG_ODDS = math.log(10)  # nothing measured: odds ten times lower to ten times higher


class Record(NamedTuple):
    """A family of facts that a customer may lack.

    Attributes
    ----------
    prefixes : tuple of str
        Of the names of the features it feeds.
    witness : str
        The feature that has a value as soon as there is any such fact.
    fr, en : str
        What to obtain.
    """

    prefixes: tuple[str, ...]
    witness: str
    fr: str
    en: str


RECORDS = {
    "settled": Record(
        ("settled_", "year_", "latest_", "recent_", "payments_"),
        "latest_days_since",
        "des factures réglées",
        "settled invoices",
    ),
    "purchases": Record(
        ("purchases_", "relation_"),
        "purchases_tenure_days",
        "des factures antérieures",
        "earlier invoices",
    ),
    "accounts": Record(
        ("accounts_",), "accounts_age_days", "des comptes publiés", "published accounts"
    ),
    "cover": Record(
        ("cover_",),
        "cover_refused",
        "une garantie d'assurance-crédit",
        "credit insurance cover",
    ),
    "peers": Record(
        ("peers_",),
        "peers_late_rate",
        "le secteur et le pays, avec des clients comparables",
        "sector and country, with comparable customers",
    ),
}


def letters(X: Floats, features: Sequence[str]) -> NDArray[np.str_]:
    """Say how much is known of the customer of each row.

    Parameters
    ----------
    X : ndarray of float64, shape (n_rows, n_features)
        Of either curve; NaN is missing.
    features : sequence of str
        Names of its columns.

    Returns
    -------
    ndarray of str, shape (n_rows,)
        A letter each, from A, much, to G, nothing.
    """
    place = _places(tuple(features))

    def most(*names: str) -> Floats:  # a longer window never holds less; it may be missing
        longest: Floats = np.fmax.reduce([X[:, place[name]] for name in names], initial=0.0)
        return longest

    def known(name: str) -> NDArray[np.bool_]:
        return ~np.isnan(X[:, place[name]])

    settled = np.searchsorted(
        SETTLED_STEPS, most(*(f"settled_{days}_invoices" for days in WINDOWS_DAYS)), side="right"
    )
    ever = known("latest_days_since") | known("due_late_rate")
    tenure = np.searchsorted(TENURE_STEPS_DAYS, most("purchases_tenure_days"), side="right")
    buys = most("purchases_invoices_90", "purchases_invoices_365") >= FEWEST_INVOICES
    own = np.maximum(settled, ever) + tenure + buys
    own = own + known("accounts_age_days") + known("cover_refused")
    points = own + (known("peers_late_rate") & (own > 0))
    richest = np.argmax(points[:, None] >= np.array(FEWEST_POINTS), axis=1)
    lettered: NDArray[np.str_] = np.array(LETTERS)[richest]
    return lettered


@cache
def _places(features: tuple[str, ...]) -> dict[str, int]:
    return {name: column for column, name in enumerate(features)}


def family_weights(contributions: Floats, X: Floats, features: Sequence[str]) -> dict[str, float]:
    """Measure how far each family of facts moves the curve where it is known.

    Parameters
    ----------
    contributions : ndarray of float64, shape (n_rows, n_features)
        Of the training rows, in calibrated log-odds.
    X : ndarray of float64, shape (n_rows, n_features)
        The same rows.
    features : sequence of str

    Returns
    -------
    dict of str to float
        Mean of |sum of the family's contributions| over the rows that have it, by key of
        ``RECORDS``; a family that no row has is left out.

    Notes
    -----
    The features of one family say nearly the same: their contributions are added before their size
    is taken, as they are when a reason is told.
    """
    weights = {}
    for family, record in RECORDS.items():
        has_it = ~np.isnan(X[:, features.index(record.witness)])
        columns = [i for i, name in enumerate(features) if name.startswith(record.prefixes)]
        if has_it.any():
            moved = contributions[has_it][:, columns].sum(axis=1)
            weights[family] = float(np.abs(moved).mean())
    return weights


def most_helpful(row: Floats, features: Sequence[str], weights: Mapping[str, float]) -> str | None:
    """Name the family of facts that this customer lacks and that would move the curve most.

    Parameters
    ----------
    row : ndarray of float64, shape (n_features,)
    features : sequence of str
    weights : mapping
        See :func:`family_weights`.

    Returns
    -------
    str or None
        A key of ``RECORDS``; ``None`` where nothing measured is missing.
    """
    lacking = [
        family for family in weights if math.isnan(row[features.index(RECORDS[family].witness)])
    ]
    return max(lacking, key=lambda family: weights[family], default=None)


def abstention(
    row: Floats, features: Sequence[str], weights: Mapping[str, float]
) -> dict[str, Any]:
    """Say, of a customer of letter G, why the curves abstain and which record would help most.

    Parameters are those of :func:`most_helpful`.

    Returns
    -------
    dict
        ``reason`` and its two languages, and ``record``, a key of ``RECORDS`` or ``None``.
    """
    fr = "rien n'est connu de ce client : ni facture réglée ou échue, ni comptes, ni garantie"
    en = "nothing is known of this customer: no invoice settled or due, no accounts, no cover"
    record = most_helpful(row, features, weights)
    if record is not None:
        fr += f" ; ce qui aiderait le plus : {RECORDS[record].fr}"
        en += f"; what would help most: {RECORDS[record].en}"
    return {"reason": en, "fr": fr, "en": en, "record": record}


class Interval(NamedTuple):
    """Where a probability may lie."""

    low: float
    high: float


def measure(
    letter: NDArray[np.str_],
    probability: Floats,
    happened: NDArray[np.bool_],
    customer: Index,
    level: float = LEVEL,
) -> dict[str, dict[str, Any]]:
    """Measure how far the default rate of each letter may lie from what the curve said.

    Parameters
    ----------
    letter, probability, happened, customer : ndarray of shape (n_rows,)
        Letters, probabilities of default within 365 days, what happened, and whose rows: rows that
        the curve did not learn from. Only a customer's first row counts.
    level : float
        Of the interval.

    Returns
    -------
    dict
        By letter: ``customers``, ``defaults``, and ``low`` and ``high``, offsets in log-odds around
        a probability, with low ≤ 0 ≤ high. Where nobody was measured, those of the next thinner
        letter that has somebody; after the last, log-odds of ± 2.3 (ten times the odds).

    Notes
    -----
    Jeffreys' interval of d defaults among n customers is that of a Beta(d + ½, n − d + ½); its ends
    are told as log-odds from the mean of what was said (Brown, Cai and DasGupta, 2001, "Interval
    estimation for a binomial proportion"). A thinner letter is never given a narrower side than a
    richer one.
    """
    first = np.unique(customer, return_index=True)[1]
    letter, probability, happened = letter[first], probability[first], happened[first]
    table: dict[str, dict[str, Any]] = {}
    low, high = -WIDEST_LOG_ODDS, WIDEST_LOG_ODDS
    for one in reversed(LETTERS):
        mine = letter == one
        n, defaults = int(mine.sum()), int(happened[mine].sum())
        if n:
            low, high = _offsets(n, defaults, float(probability[mine].mean()), level)
        table[one] = {"customers": n, "defaults": defaults, "low": low, "high": high}
    return _never_narrower({one: table[one] for one in LETTERS})


def _offsets(n: int, defaults: int, said: float, level: float) -> tuple[float, float]:
    tail = (1 - level) / 2
    ends = beta.ppf([tail, 1 - tail], defaults + 0.5, n - defaults + 0.5)
    low, high = logit(ends) - logit(said)
    return float(low), float(high)


def _never_narrower(table: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Widen each letter's offsets to hold 0, what was said, and those of the richer letters."""
    low, high = 0.0, 0.0
    for measured in table.values():
        low, high = min(low, measured["low"]), max(high, measured["high"])
        measured["low"], measured["high"] = low, high
    return table


def interval(
    table: Mapping[str, Mapping[str, float]], default_probability: float, letter: str
) -> Interval:
    """Give the interval of a probability of default within 365 days.

    Parameters
    ----------
    table : mapping
        See :func:`measure`.
    default_probability : float
        Within 0 … 1.
    letter : str

    Returns
    -------
    Interval
        It contains the probability, and rises with it.
    """
    log_odds, offsets = logit(default_probability), table[letter]
    low, high = expit(log_odds + offsets["low"]), expit(log_odds + offsets["high"])
    # there and back again, a probability may move by its last bit
    return Interval(min(float(low), default_probability), max(float(high), default_probability))
