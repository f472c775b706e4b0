"""The law of a FEC's import: what each customer owes in the ledger is what his accounts say."""

from __future__ import annotations

import pandas as pd

from features.ledger import Ledger, LedgerError


def account_movements(lines: pd.DataFrame) -> pd.DataFrame:
    """Sum accounts 411, 413, 416 and 419 by customer and month booked: a row each, ``cents``."""
    theirs = lines[lines["customer"].notna()]
    return _by_month(theirs["customer"], theirs["booked_on"], theirs["cents"])


def ledger_movements(ledger: Ledger, aside: pd.DataFrame) -> pd.DataFrame:
    """Sum what a ledger, and the parts of lines set `aside`, add to what customers owe."""
    invoices, settlements = ledger["invoices"], ledger["settlements"]
    undone = settlements["kind"] == "reversal"
    owed = settlements["amount_cents"].where(undone, -settlements["amount_cents"])
    skipped = aside["cents"].where(aside["is_debit"], -aside["cents"])
    return _by_month(
        pd.concat([invoices["customer_id"], settlements["customer_id"], aside["customer_id"]]),
        pd.concat([invoices["recorded_at"], settlements["recorded_at"], aside["booked_on"]]),
        pd.concat([invoices["amount_cents"], owed, skipped]),
    )


def _by_month(customers: pd.Series, days: pd.Series, cents: pd.Series) -> pd.DataFrame:
    month = days.dt.to_period("M").rename("month")
    sums = cents.astype("int64").groupby([customers.rename("customer_id"), month]).sum()
    return sums.rename("cents").reset_index()


def check_balances(lines: pd.DataFrame, ledger: Ledger, aside: pd.DataFrame) -> None:
    """Compare each customer's balance at each month end, to the cent.

    Balances agree at every month end if and only if movements agree in every month.

    Parameters
    ----------
    lines : DataFrame
        ``customer``, ``booked_on`` and ``cents`` of the file's lines, and their ``line``.
    ledger : Ledger
        What was made of them.
    aside : DataFrame
        ``customer_id``, ``booked_on``, ``cents``, ``is_debit`` of what was set aside on purpose.

    Raises
    ------
    LedgerError
        With the number of customers and the first month that differ.
    """
    keys = ["customer_id", "month"]
    both = account_movements(lines).merge(
        ledger_movements(ledger, aside), "outer", on=keys, suffixes=("", "_ledger")
    )
    differ = both[both["cents"].fillna(0) != both["cents_ledger"].fillna(0)]
    if len(differ):
        first = differ.sort_values("month").iloc[0]
        booked = lines["booked_on"].dt.to_period("M")
        at = (lines["customer"] == first["customer_id"]) & (booked == first["month"])
        where = f", line {lines.loc[at, 'line'].iloc[0]}" if at.any() else ""
        raise LedgerError(
            f"what customers owe differs from accounts 411, 413, 416 and 419; "
            f"{differ['customer_id'].nunique()} customers, first in {first['month']}{where}"
        )
