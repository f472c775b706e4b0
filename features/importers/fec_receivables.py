"""Parts of customers' lines → the tables of a ledger.

An invoice is a document: a customer, a reference and a date, ``C-17/F-9/20240115``; a settlement
is numbered by its customer, reference, date, kind and amount, counted when they repeat. So a line
has the same number in every export that holds it, whatever the lines around it.

An opening entry repeats what the year before left open. Of a customer whose invoices are known
already it is no news and set aside; one that names a known invoice stands for that invoice, and
what pays it settles it. Of other customers its debits are invoices and its credits payments.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from features.importers.fec_matching import letter_groups, match, name_returns
from features.importers.fec_operations import OPENING
from features.importers.fec_terms import Terms
from features.ledger import EARLIEST, Known

NO_REFERENCE = ("-", "0", "")  # Odoo writes a dash
OLDEST_DOCUMENT = pd.Timedelta(days=366)
DOCUMENT = r"^(?P<key>.*)/\d{8}(?:/\d+)?$"


@dataclass(frozen=True)
class Receivables:
    """What the customers' accounts say.

    Attributes
    ----------
    tables : dict of str to DataFrame
        ``customers``, ``invoices`` and ``settlements`` for :func:`features.ledger.check`.
    parts : DataFrame
        The parts with their customer, dates and number, those set aside included: their
        ``aside`` is the reason, null on the others.
    shares : DataFrame
        Settlements as in the table, with ``inferred``: named by amount and date, not by letter.
    """

    tables: dict[str, pd.DataFrame]
    parts: pd.DataFrame
    shares: pd.DataFrame


def receivables(
    lines: pd.DataFrame, parts: pd.DataFrame, terms: Terms, known: Known
) -> Receivables:
    """Rebuild invoices, and what settles them, from the parts of customers' lines."""
    parts = _dated(parts, lines)
    parts["group"] = letter_groups(lines, parts)
    parts["invoice_id"] = _documents(parts)
    parts = _without_repeats(parts, known)
    claims = parts[(parts["kind"] == "invoice") & parts["invoice_id"].notna()]
    invoices = _invoices(claims[claims["aside"].isna()], terms)
    flows = parts[parts["kind"].isin(["payment", "credit_note", "write_off", "reversal"])]
    flows = flows[flows["aside"].isna()].sort_values("at", kind="stable").reset_index(drop=True)
    flows = _dated_by_the_bank(flows, invoices)
    lettered = claims.rename(columns={"happened_on": "issued_on"})
    shares = match(lettered[lettered["group"] >= 0], flows.rename(columns=_SETTLED))
    settlements = _settlements(flows, shares)
    settlements["inferred"] = name_returns(settlements, invoices)
    tables = {
        "customers": _customers(lines, known),
        "invoices": invoices,
        "settlements": settlements.drop(columns=["inferred", "group", "cents"]),
    }
    return Receivables(tables, parts, settlements)


_SETTLED = {"happened_on": "settled_on"}


def _dated(parts: pd.DataFrame, lines: pd.DataFrame) -> pd.DataFrame:
    """Give each part its customer, reference and dates.

    The date of the document holds unless it is after the entry's, or more than a year before it
    (an opening entry's may be older): then the entry's date holds.
    """
    columns = ["line", "customer", "account", "journal", "number", "piece", "piece_on", "booked_on"]
    told = lines[columns].take(parts["at"].to_numpy()).reset_index(drop=True)
    parts = parts.join(told).rename(columns={"customer": "customer_id"})
    oldest = (parts["booked_on"] - OLDEST_DOCUMENT).where(parts["operation"] != OPENING, EARLIEST)
    plausible = parts["piece_on"].between(oldest, parts["booked_on"])
    parts["happened_on"] = parts["piece_on"].where(plausible, parts["booked_on"])
    parts["redated"] = parts["piece_on"].notna() & ~plausible
    parts["has_piece"] = parts["piece"].notna() & ~parts["piece"].isin(NO_REFERENCE)
    entry = parts["journal"].fillna("") + "-" + parts["number"].fillna("")
    parts["reference"] = parts["piece"].where(parts["has_piece"], entry)
    return parts


def _documents(parts: pd.DataFrame) -> pd.Series:
    """Name the invoices: lines of one document are one invoice if booked on one day."""
    day = parts["happened_on"].dt.strftime("%Y%m%d")
    name = parts["customer_id"] + "/" + parts["reference"] + "/" + day
    is_invoice = parts["kind"] == "invoice"
    booked = pd.DataFrame({"name": name, "on": parts["booked_on"]})[is_invoice].drop_duplicates()
    booked["nth"] = booked.groupby("name").cumcount() + 1
    again = booked[booked["nth"] > 1].set_index(["name", "on"])["nth"]
    if len(again):
        key = pd.MultiIndex.from_arrays([name, parts["booked_on"]])
        nth = again.reindex(key).set_axis(parts.index)
        name = name.where(nth.isna(), name + "/" + nth.astype("Int64").astype("str"))
    names: pd.Series = name.where(is_invoice)
    return names


def _without_repeats(parts: pd.DataFrame, known: Known) -> pd.DataFrame:
    """Set aside what only closes a year or opens the next, and name the invoices known by it."""
    theirs = parts["customer_id"].isin(known.debtors.unique())
    repeated = (parts["operation"] == OPENING) & theirs
    closing = parts["contra"] == "891"
    aside = pd.Series(None, parts.index, dtype=object)
    aside[repeated], aside[closing] = "opening_already_known", "closing_entry"
    parts["aside"] = aside
    if repeated.any() or closing.any():
        parts.loc[closing, "invoice_id"] = None
        parts.loc[repeated, "invoice_id"] = _recognised(parts[repeated], known)
    return parts


def _recognised(opening: pd.DataFrame, known: Known) -> pd.Series:
    """Find the known invoice of opening lines: by number and date, else by number alone."""
    ids = pd.Series(known.debtors.index, dtype="str")
    by_reference = pd.Series(ids.to_numpy(), ids.str.extract(DOCUMENT)["key"].to_numpy())
    by_reference = by_reference[~by_reference.index.duplicated(keep="last")]
    key = opening["customer_id"] + "/" + opening["reference"]
    found = key.where(opening["has_piece"]).map(by_reference)
    return opening["invoice_id"].where(opening["invoice_id"].isin(ids), found)


def _invoices(claims: pd.DataFrame, terms: Terms) -> pd.DataFrame:
    found = claims.groupby("invoice_id", sort=False).agg(
        customer_id=("customer_id", "first"),
        issued_on=("happened_on", "first"),
        amount_cents=("cents", "sum"),
        recorded_at=("booked_on", "first"),
    )
    found = found.reset_index().assign(recorded_assumed=True)
    found["due_on"] = terms.due_on(found)
    return found


def _dated_by_the_bank(flows: pd.DataFrame, invoices: pd.DataFrame) -> pd.DataFrame:
    """Date payments that repeat the document of an invoice by their entry, the bank's line."""
    day = flows["happened_on"].dt.strftime("%Y%m%d")
    document = flows["customer_id"] + "/" + flows["reference"] + "/" + day
    copied = flows["kind"].isin(["payment", "reversal"]) & document.isin(invoices["invoice_id"])
    return flows.assign(happened_on=flows["booked_on"].where(copied, flows["happened_on"]))


def _settlements(flows: pd.DataFrame, shares: pd.DataFrame) -> pd.DataFrame:
    rows = flows.take(shares["at"].to_numpy()).reset_index(drop=True)
    day = rows["happened_on"].dt.strftime("%Y%m%d")
    amount = rows["cents"].astype("str")
    parts = [rows["reference"], day, rows["kind"].astype("str"), amount]
    content = rows["customer_id"].str.cat(parts, sep="/")
    nth = content.groupby(content).cumcount()
    return pd.DataFrame(
        {
            "settlement_id": content + "/" + nth.astype("str"),
            "customer_id": rows["customer_id"],
            "invoice_id": shares["invoice_id"],
            "kind": rows["kind"].astype("str"),
            "settled_on": rows["happened_on"],
            "amount_cents": shares["cents"],
            "recorded_at": rows["booked_on"],
            "recorded_assumed": True,
            "group": rows["group"],
            "cents": shares["cents"],
        }
    )


def _customers(lines: pd.DataFrame, known: Known) -> pd.DataFrame:
    """Name the customers not known yet, by the first name that their lines give."""
    theirs = lines[lines["customer"].notna()]
    name = theirs["auxiliary_name"].where(theirs["auxiliary"].notna(), theirs["account_name"])
    found = name.groupby(theirs["customer"], sort=False).first().reset_index()
    found.columns = ["customer_id", "name"]
    return found[~found["customer_id"].isin(known.customers)].reset_index(drop=True)
