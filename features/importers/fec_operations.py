"""What happened on each line of a customer's account, told by the other lines of its entry.

In the entry 411 credit 120, 512 debit 60, 654 debit 50, 4457 debit 10 the customer paid 60 and 60
were written off: one line, two parts. In 411 credit 120, 416 debit 120 of one customer nothing
happened at all: the claim moved, and both lines are a transfer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.importers.fec_entries import (
    BANK,
    CLOSING_BALANCE,
    IGNORED,
    OPENING_BALANCE,
    OTHER,
    SALE,
    SET_OFF,
    VAT,
    WRITE_OFF,
    Ints,
    by_value,
    category,
)

OPENING, TRANSFER = 20, 21
NO_TWIN = -1
DEBIT_KINDS = {SALE: "invoice", OPENING: "invoice", OTHER: "invoice", SET_OFF: "invoice"}
DEBIT_KINDS |= {BANK: "reversal", WRITE_OFF: "reversal", TRANSFER: "transfer"}
CREDIT_KINDS = {BANK: "payment", SET_OFF: "payment", OPENING: "payment"}
CREDIT_KINDS |= {SALE: "credit_note", OTHER: "credit_note", WRITE_OFF: "write_off"}
CREDIT_KINDS |= {TRANSFER: "transfer"}
COLUMNS = ["at", "cents", "operation", "contra", "twin"]


class Part(NamedTuple):
    """Some cents of a customer's line: its place, the amount > 0, what happened, against what."""

    at: int
    cents: int
    operation: int
    contra: str = ""
    twin: int = NO_TWIN  # place of the line that a transfer comes from or goes to


def operations(lines: pd.DataFrame, entry: Ints, opening: NDArray[np.bool_]) -> pd.DataFrame:
    """Split the customers' lines into parts.

    Parameters
    ----------
    lines : DataFrame
        All lines, with ``customer``; index 0 to n - 1.
    entry : ndarray of shape (n,)
        Number of the entry of each line.
    opening : ndarray of shape (n,)
        Which lines are opening entries.

    Returns
    -------
    DataFrame
        A row a part: ``at`` (place of the line), ``cents`` > 0, ``operation``, ``contra`` (the
        first three digits of the other account), ``twin``, ``is_debit`` and ``kind``.
    """
    theirs = (lines["customer"].notna() & (lines["cents"] != 0)).to_numpy(bool)
    categories = _categories(lines, entry, theirs)
    simple, contra_at = _simple(lines["cents"].to_numpy(), entry, theirs, categories)
    plain = theirs & (simple | opening)
    place = np.flatnonzero(plain)
    account = lines["account"].str[:3].to_numpy(object)
    parts = pd.DataFrame(
        {
            "at": place,
            "cents": np.abs(lines["cents"].to_numpy()[place]),
            "operation": np.where(opening[place], OPENING, categories[contra_at[place]]),
            "contra": np.where(opening[place], "", account[contra_at[place]]),
            "twin": NO_TWIN,
        }
    )
    mixed = np.isin(entry, np.unique(entry[theirs & ~plain])) & (theirs | (categories != IGNORED))
    rest = pd.DataFrame(
        _split_mixed(lines, entry, np.flatnonzero(mixed), categories), None, COLUMNS
    )
    same = rest.astype(parts.dtypes).groupby(["at", "operation", "twin"], sort=False)
    parts = pd.concat(
        [parts, same.agg({"cents": "sum", "contra": "first"}).reset_index()]
    ).sort_values("at", kind="stable")
    return _named(parts.reset_index(drop=True), lines)


def _named(parts: pd.DataFrame, lines: pd.DataFrame) -> pd.DataFrame:
    is_debit = lines["cents"].to_numpy()[parts["at"]] > 0
    debits, credits = (parts["operation"].map(kinds) for kinds in (DEBIT_KINDS, CREDIT_KINDS))
    return parts.assign(is_debit=is_debit, kind=debits.where(is_debit, credits))


def _categories(lines: pd.DataFrame, entry: Ints, theirs: NDArray[np.bool_]) -> Ints:
    """Tell what each line is; VAT follows the loss or the sale of its entry."""
    categories = by_value(lines["account"], category)
    categories[np.isin(categories, (OPENING_BALANCE, CLOSING_BALANCE))] = OTHER
    has_loss = np.zeros(entry.max(initial=-1) + 1, bool)
    has_loss[entry[categories == WRITE_OFF]] = True
    vat = categories == VAT
    categories[vat] = np.where(has_loss[entry[vat]], WRITE_OFF, SALE)
    categories[theirs] = IGNORED
    return categories


def _simple(
    cents: Ints, entry: Ints, theirs: NDArray[np.bool_], categories: Ints
) -> tuple[NDArray[np.bool_], Ints]:
    """Find entries whose customers' lines are all on one side, against lines of one category.

    Returns for each line whether its entry is simple, and the place of its first line on the
    other side.
    """
    n = entry.max(initial=-1) + 1
    sides = [np.bincount(entry[theirs & s], minlength=n) for s in (cents > 0, cents < 0)]
    one_sided = (sides[0] == 0) != (sides[1] == 0)
    on_debit = sides[0] > 0
    other = ~theirs & (categories != IGNORED) & ((cents < 0) == on_debit[entry]) & (cents != 0)
    place = np.flatnonzero(other)[::-1]  # the first is written last
    first, least, most = np.zeros(n, "int64"), np.full(n, 99), np.full(n, -1)
    first[entry[place]] = place
    np.minimum.at(least, entry[place], categories[place])
    np.maximum.at(most, entry[place], categories[place])
    return (one_sided & (least == most))[entry], first[entry]


def _split_mixed(
    lines: pd.DataFrame, entry: Ints, places: Ints, categories: Ints
) -> Iterator[Part]:
    """Split the lines of entries of several customers' sides or several categories."""
    places = places[np.argsort(entry[places], kind="stable")]
    customers, accounts = (lines[c].to_numpy(object) for c in ("customer", "account"))
    cents, days = lines["cents"].to_numpy(), lines["booked_on"].to_numpy("int64")
    starts = np.flatnonzero(np.diff(entry[places], prepend=-2))
    for group in np.split(places, starts[1:]) if len(places) else ():
        open_lines = [
            _Open(at, customers[at], accounts[at], int(categories[at]), int(cents[at]), days[at])
            for at in group.tolist()
            if cents[at]
        ]
        yield from _untangle(open_lines)


@dataclass
class _Open:
    """A line of an entry, and the cents of it that are not explained yet."""

    at: int
    customer: str | None
    account: str
    category: int
    cents: int
    day: int


def _untangle(entry: list[_Open]) -> Iterator[Part]:
    """Explain the customers' lines of one entry: moved between accounts, else against others."""
    theirs = [line for line in entry if isinstance(line.customer, str)]
    others = [line for line in entry if not isinstance(line.customer, str)]
    for own in _by_customer(theirs):
        yield from _moves(own, between_accounts=True)
    for debits, credits in ((theirs, others), (others, theirs)):
        for debit, credit, cents in _meet(debits, credits):
            line, other = (debit, credit) if debits is theirs else (credit, debit)
            yield Part(line.at, cents, other.category, other.account[:3])
    for own in _by_customer(theirs):
        yield from _moves(own, between_accounts=False)
    for debit, credit, cents in _meet(theirs, theirs):
        yield Part(debit.at, cents, OTHER, credit.account[:3])
        yield Part(credit.at, cents, OTHER, debit.account[:3])
    yield from (Part(line.at, abs(line.cents), OTHER) for line in theirs if line.cents)


def _by_customer(lines: list[_Open]) -> Iterable[list[_Open]]:
    """Group lines by customer and day: over two days money was somewhere else between."""
    found: dict[tuple[str | None, int], list[_Open]] = {}
    for line in lines:
        found.setdefault((line.customer, line.day), []).append(line)
    return found.values()


def _moves(own: list[_Open], *, between_accounts: bool) -> Iterator[Part]:
    """Pair what leaves an account of a customer with what reaches another account of his."""
    froms = list(dict.fromkeys(line.account for line in own)) if between_accounts else [""]
    for account in froms:
        leaving = [line for line in own if line.account == account or not between_accounts]
        reached = [line for line in own if line.account != account or not between_accounts]
        for debit, credit, cents in _meet(reached, leaving):
            yield Part(debit.at, cents, TRANSFER, twin=credit.at)
            yield Part(credit.at, cents, TRANSFER, twin=debit.at)


def _meet(debits: list[_Open], credits: list[_Open]) -> Iterator[tuple[_Open, _Open, int]]:
    """Set debits against credits in the order of the file, and take from both what they share."""
    ones, others = ([x for x in debits if x.cents > 0], [x for x in credits if x.cents < 0])
    i = j = 0
    while i < len(ones) and j < len(others):
        cents = min(ones[i].cents, -others[j].cents)
        ones[i].cents -= cents
        others[j].cents += cents
        yield ones[i], others[j], cents
        i, j = i + (ones[i].cents == 0), j + (others[j].cents == 0)
