"""Lines of a FEC → entries that balance, what each account is, and who owes.

An entry is the lines of one journal, number and date, cut wherever they balance: 120 on 411, 100 on
707 and 20 on 4457 are one entry although the next invoice has the same number. What does not
balance so is tried by journal and number (an entry over several days), then by journal and date
(one number a line). What balances in no way is broken.

An account's first digits say what it is (plan comptable général, ANC 2014-03).
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.ledger import LedgerError

Ints = NDArray[np.int64]

NO_ENTRY = -1
RECEIVABLE = ("411", "413", "416")
DEPOSIT = "419"
NOT_A_DEPOSIT = ("4196", "4198")  # returnable packaging; credit notes to come

BANK, WRITE_OFF, SALE, SET_OFF, OTHER, VAT, IGNORED, OPENING_BALANCE, CLOSING_BALANCE = range(9)
CATEGORIES = {  # the longest prefix of an account wins
    "4": OTHER,  # 467 a factor, 462 sales of fixed assets, 444 the State…
    "40": SET_OFF,  # suppliers
    "42": SET_OFF,
    "45": SET_OFF,  # partners
    "47": SET_OFF,  # suspense: money that waited to be recognised
    "478": OTHER,
    "4190": SET_OFF,  # deposits of no named customer
    "418": SALE,
    "419": SET_OFF,
    "4196": OTHER,
    "4198": SALE,
    "445": VAT,
    "487": SALE,
    "49": IGNORED,  # provisions 491, with their 6817 and 7817
    "5": BANK,
    "59": IGNORED,
    "6": OTHER,
    "627": BANK,  # a bank's fee, taken off a payment: the customer paid all of it
    "654": WRITE_OFF,
    "6714": WRITE_OFF,  # 654 of before 2025 when exceptional
    "665": SALE,  # discount for early payment, as a credit note
    "666": BANK,  # loss of exchange on a payment
    "68": IGNORED,
    "7": SALE,
    "766": BANK,
    "78": IGNORED,
    "890": OPENING_BALANCE,
    "891": CLOSING_BALANCE,
}
OPENING_CODE = re.compile(r"(A|RA|R)-?N(O|OUV|OUVEAUX?)?\d*|OUV.*|ANX|AA", re.IGNORECASE)
OPENING_NAME = re.compile(r"nouveau|ouverture|report|reprise des? soldes?|opening", re.IGNORECASE)


def category(account: str) -> int:
    """Tell what an account is when it stands against a customer's; unknown ones are OTHER."""
    for length in range(len(account), 0, -1):
        if (found := CATEGORIES.get(account[:length])) is not None:
            return found
    return OTHER


def by_value(values: pd.Series, tell: object) -> NDArray[np.int64]:
    """Apply a function of text to a column whose values repeat."""
    codes, distinct = pd.factorize(values)
    return np.array([tell(value) for value in distinct], np.int64)[codes]  # type: ignore[operator]


def customers_of(lines: pd.DataFrame) -> pd.Series:
    """Name the customer of each line that counts in what he owes; null on other lines.

    He is the auxiliary account; without one, the account itself, a doubtful 416X or a bill 413X
    being that of 411X when there is one. A deposit of no named customer is nobody's.
    """
    account, auxiliary = lines["account"], lines["auxiliary"]
    kind = account.str[:3]
    deposit = (kind == DEPOSIT) & ~account.str.startswith(NOT_A_DEPOSIT)
    alone = account[(kind == "411") & auxiliary.isna()].unique()
    own = "411" + account.str[3:]
    theirs = account.where(~own.isin(alone), own).mask(deposit)
    return auxiliary.fillna(theirs).where(kind.isin(RECEIVABLE) | deposit)


def number_entries(lines: pd.DataFrame) -> Ints:
    """Give each line its entry, or :data:`NO_ENTRY` when it balances in no way."""
    entry = np.full(len(lines), NO_ENTRY)
    ways = (["journal", "number", "booked_on"], ["journal", "number"], ["journal", "booked_on"])
    for way in ways:
        left = np.flatnonzero(entry == NO_ENTRY)
        if not len(left):
            break
        key = lines.iloc[left].groupby(way, dropna=False, sort=False).ngroup().to_numpy()
        cents = lines["cents"].to_numpy()[left]
        excess = np.zeros(key.max() + 1, "int64")
        np.add.at(excess, key, cents)
        fine = excess[key] == 0
        order = np.argsort(key[fine], kind="stable")
        placed = left[fine][order]
        if not len(placed):
            continue
        accounts = lines.iloc[placed].groupby(["account", "auxiliary"], dropna=False).ngroup()
        cuts = _cut(lines["cents"].to_numpy()[placed], accounts.to_numpy(), key[fine][order])
        entry[placed] = cuts + entry.max() + 1
    return entry


def _cut(cents: Ints, accounts: Ints, key: Ints) -> Ints:
    """Cut lines into the shortest runs that balance over two accounts or more; number these."""
    ends = np.cumsum(cents) == 0
    changes = np.cumsum(np.diff(accounts, prepend=accounts[:1]) != 0)
    last = np.append(np.diff(key) != 0, True)
    start = np.flatnonzero(np.append(True, ends[:-1]))
    first = start[np.cumsum(np.append(0, ends[:-1]))]
    ends &= last | (changes > changes[first])
    return np.concatenate([[0], np.cumsum(ends)[:-1]]).astype("int64")


def unbalanced(lines: pd.DataFrame, entry: Ints) -> pd.DataFrame:
    """List the broken entries: journal, number, date, first and last line, cents in excess."""
    broken = lines[entry == NO_ENTRY]
    keys = ["journal", "number", "booked_on"]
    found = broken.groupby(keys, dropna=False, sort=False).agg(
        first=("line", "min"), last=("line", "max"), cents=("cents", "sum")
    )
    excess: pd.DataFrame = found[found["cents"] != 0].reset_index()
    return excess


def could_be_a_customers(lines: pd.DataFrame) -> NDArray[np.bool_]:
    """Tell which lines are of accounts that stand against a customer's: money, sales, VAT."""
    categories = by_value(lines["account"], category)
    at_risk = np.isin(categories, (BANK, WRITE_OFF, SALE, VAT))
    return at_risk | lines["customer"].notna().to_numpy(bool)


def set_aside_unbalanced(lines: pd.DataFrame, entry: Ints) -> pd.DataFrame:
    """Give the lines of broken entries, which no customer's balance can depend on.

    Raises
    ------
    LedgerError
        If a broken entry has a line on an account of a customer, of money, of sales or of VAT: a
        line it lacks may be a customer's.
    """
    found = unbalanced(lines, entry)
    lost: pd.DataFrame = lines[entry == NO_ENTRY]
    at_risk = lost[could_be_a_customers(lost)]
    keys = ["journal", "number", "booked_on"]
    risky = found.merge(at_risk[keys].drop_duplicates(), on=keys)
    if len(risky):
        raise LedgerError(_say_unbalanced(risky))
    return lost


def _say_unbalanced(found: pd.DataFrame) -> str:
    first = found.sort_values("first").iloc[0]
    side = "debit" if first["cents"] > 0 else "credit"
    return (
        f"{len(found)} entr{'y does' if len(found) == 1 else 'ies do'} not balance, first "
        f"{first['journal']} {first['number']} of {first['booked_on']:%Y-%m-%d} "
        f"(lines {first['first']} to {first['last']}): {abs(first['cents']) / 100:.2f} too much "
        f"on the {side} side"
    )


def opening_entries(lines: pd.DataFrame, entry: Ints) -> NDArray[np.bool_]:
    """Tell which lines are opening entries (à-nouveaux), by what they are and not the name alone.

    No opening entry has an account of expense or income. It stands against 890; or its journal is
    named for it; or, on the file's first day, it has an account of capital, class 1.
    """
    kind, codes = lines["account"].str[:1], lines["journal"].fillna("")
    of = pd.Series(entry)
    operates = _any_in_entry(kind.isin(["6", "7"]), of)
    against = _any_in_entry(lines["account"].str.startswith("890"), of)
    named = by_value(codes, lambda code: OPENING_CODE.fullmatch(code) is not None)
    names = by_value(
        lines["journal_name"].fillna(""), lambda name: OPENING_NAME.search(name) is not None
    )
    first_day = lines["booked_on"] == lines["booked_on"].min()
    capital = _any_in_entry(kind == "1", of) & first_day
    found = against | (named + names > 0) | capital
    is_opening: NDArray[np.bool_] = (found & ~operates).to_numpy(bool)
    return is_opening


def _any_in_entry(mask: pd.Series, entry: pd.Series) -> pd.Series:
    return mask.groupby(entry.to_numpy()).transform("any")
