"""Lettering of a FEC → which invoice each payment settles.

Letter A on account 411 of a customer holds invoices of 100 and 50 and payments of 120 and 30: the
oldest invoice is paid first, so the payment of 120 becomes settlements of 100 and 20, and the one
of 30 settles the rest of the second invoice. A letter is worth what its account and customer are:
others may use A too. A transfer joins the letters on its two ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from features.importers.fec_entries import Ints
from features.importers.fec_operations import NO_TWIN

NO_GROUP = -1
RETURN_DAYS = 70  # a direct debit comes back within 8 weeks (SEPA Core rulebook), and the post


Entry = list[Any]  # an invoice, and the cents of it still owed or already settled


class Share(NamedTuple):
    """Some cents of a settlement: its place, the invoice or none, the amount."""

    at: int
    invoice_id: str | None
    cents: int


def letter_groups(lines: pd.DataFrame, parts: pd.DataFrame) -> Ints:
    """Give each part the number of its letter, :data:`NO_GROUP` when it has none.

    A letter belongs to one account of one customer; when it balances only over several accounts
    of his, it belongs to these.
    """
    keys = lines[["customer", "account", "letter"]]
    lettered = (keys["customer"].notna() & keys["letter"].notna()).to_numpy(bool)
    found = lines[lettered]
    narrow = found.groupby(["customer", "account", "letter"], sort=False)["cents"]
    wide = found.groupby(["customer", "letter"], sort=False)["cents"]
    joint = (narrow.transform("sum") != 0) & (wide.transform("sum") == 0)
    group = np.full(len(lines), NO_GROUP)
    group[lettered] = np.where(joint, narrow.ngroup().size + wide.ngroup(), narrow.ngroup())
    numbers: Ints = _joined(group, parts)[parts["at"].to_numpy()]
    return numbers


def _joined(group: Ints, parts: pd.DataFrame) -> Ints:
    """Give one number to groups that transfers join."""
    moved = parts[parts["twin"] != NO_TWIN]
    one, other = group[moved["at"]], group[moved["twin"]]
    both = (one != NO_GROUP) & (other != NO_GROUP)
    n = group.max(initial=-1) + 1
    edges = coo_array((np.ones(both.sum(), bool), (one[both], other[both])), shape=(n, n))
    label = connected_components(edges, directed=False)[1] if n else np.array([], "int64")
    return np.where(group == NO_GROUP, NO_GROUP, np.append(label, NO_GROUP)[group])


def match(claims: pd.DataFrame, settlements: pd.DataFrame) -> pd.DataFrame:
    """Say which invoice each settlement settles, and how much of it.

    Parameters
    ----------
    claims : DataFrame
        ``group``, ``invoice_id``, ``issued_on``, ``cents``; a row a lettered part of an invoice.
    settlements : DataFrame
        ``group``, ``kind``, ``settled_on``, ``cents``; index 0 to n - 1.

    Returns
    -------
    DataFrame
        ``at`` (row of `settlements`), ``invoice_id`` (null for none) and ``cents``, which sum to
        the settlement's. A letter with one invoice names it for all its settlements, even beyond
        its amount; one with several is allocated first-in first-out, and what is left names none.
    """
    invoices = claims.groupby("group")["invoice_id"].agg(["nunique", "first"])
    told = settlements["group"].map(invoices["nunique"]).fillna(0)
    single = settlements["group"].map(invoices["first"]).where(told == 1)
    plain = settlements.index[told <= 1]
    shares = settlements.loc[plain, ["cents"]].assign(at=plain, invoice_id=single[plain])
    rest = pd.DataFrame(_match_several(claims, settlements[told > 1]), columns=list(Share._fields))
    rest = rest.astype({"at": "int64", "cents": "int64"})
    rest = rest.groupby(["at", "invoice_id"], sort=False, dropna=False, as_index=False).sum()
    found = pd.concat([shares, rest])
    found["invoice_id"] = found["invoice_id"].astype("str")
    return found.sort_values("at", kind="stable").reset_index(drop=True)


def _match_several(claims: pd.DataFrame, settlements: pd.DataFrame) -> Iterator[Share]:
    claims = claims[claims["group"].isin(settlements["group"].unique())]
    claims = claims.sort_values(["issued_on", "invoice_id"], kind="stable")
    owed: dict[int, list[Entry]] = {}
    for group, invoice_id, cents in zip(*_lists(claims, "group invoice_id cents"), strict=True):
        owed.setdefault(group, []).append([invoice_id, cents])
    undone = settlements["kind"] == "reversal"
    ordered = settlements.assign(undone=undone).sort_values(["settled_on", "undone"], kind="stable")
    done: dict[int, list[Entry]] = {}
    columns = _lists(ordered.assign(at=ordered.index), "at group undone cents")
    for at, group, is_undone, cents in zip(*columns, strict=True):
        froms, tos = owed[group], done.setdefault(group, [])
        if is_undone:
            yield from _allocate(at, cents, tos[::-1], froms, newest_first=True)
            done[group] = [entry for entry in tos if entry[1]]
        else:
            yield from _allocate(at, cents, froms, tos, newest_first=False)
            owed[group] = [entry for entry in froms if entry[1]]


def _lists(rows: pd.DataFrame, columns: str) -> list[list[Any]]:
    return [rows[column].tolist() for column in columns.split()]


def _allocate(
    at: int, cents: int, froms: list[Entry], tos: list[Entry], *, newest_first: bool
) -> Iterator[Share]:
    """Move cents from what is owed to what is settled, or back; what finds nothing names none."""
    for entry in froms:
        taken = min(cents, entry[1])
        if taken:
            entry[1] -= taken
            cents -= taken
            tos.insert(0 if newest_first else len(tos), [entry[0], taken])
            yield Share(at, entry[0], taken)
        if not cents:
            return
    yield Share(at, None, cents)


def name_returns(settlements: pd.DataFrame, invoices: pd.DataFrame) -> NDArray[np.bool_]:
    """Name the invoice of returned payments whose letter holds none; say which rows were named.

    A return undoes the customer's latest payment of its amount within :data:`RETURN_DAYS`, first
    one of its letter. When that payment names no invoice either, both name his oldest invoice of
    that very amount that stayed open beyond the return. `settlements` is changed in place.
    """
    names = settlements["invoice_id"].to_numpy(object, copy=True)
    inferred = np.zeros(len(settlements), bool)
    is_return = (settlements["kind"] == "reversal") & settlements["invoice_id"].isna()
    if not is_return.any():
        return inferred
    whose = settlements.loc[is_return, "customer_id"].unique()
    paid_on = settlements.groupby("invoice_id")["settled_on"].max()
    invoices = invoices[invoices["customer_id"].isin(whose)].sort_values("issued_on", kind="stable")
    last_paid = paid_on.reindex(pd.Index(invoices["invoice_id"], dtype="str"))
    invoices = invoices.assign(paid_on=last_paid.to_numpy("datetime64[ns]"))
    for customer, rows in settlements[settlements["customer_id"].isin(whose)].groupby(
        "customer_id"
    ):
        payments = rows[rows["kind"] == "payment"]
        theirs = invoices[invoices["customer_id"] == customer]
        for back in rows[is_return[rows.index]].itertuples():
            payment = _undone_by(back, payments)
            if payment is None:
                continue
            payments = payments.drop(index=payment.Index)
            invoice = names[payment.Index]
            if not isinstance(invoice, str):
                invoice = _open_on(back, payment, theirs)
            if invoice is not None:
                names[[back.Index, payment.Index]] = invoice
                inferred[[back.Index, payment.Index]] = True
    settlements["invoice_id"] = pd.Series(names, settlements.index, "str")
    return inferred


def _undone_by(back: Any, payments: pd.DataFrame) -> Any | None:
    days = (back.settled_on - payments["settled_on"]).dt.days
    found = payments[(payments["cents"] == back.cents) & days.between(0, RETURN_DAYS)]
    own_letter = (found["group"] == back.group) & (back.group != NO_GROUP)
    ranked = found.assign(own=own_letter).sort_values(["own", "settled_on"], kind="stable")
    return next(ranked.iloc[-1:].itertuples(), None)


def _open_on(back: Any, payment: Any, invoices: pd.DataFrame) -> str | None:
    found = invoices[
        (invoices["amount_cents"] == back.cents)
        & (invoices["issued_on"] <= payment.settled_on)
        & ~(invoices["paid_on"] <= back.settled_on)
    ]
    return None if found.empty else str(found["invoice_id"].iloc[0])
