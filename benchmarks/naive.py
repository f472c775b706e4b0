"""The naive way: date by date, cut what was known then out of frames, and describe it in pandas.

The features are those of the tests' second implementation, customers named by text as there.
Invoices and groups are numbers here, kinds categories, and settlements are allocated already: all
in favour of this way, which is also measured with numbers for customers.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from features.build import feature_names
from features.history import FIGURES, NEVER, History
from features.ledger import SETTLEMENT_KINDS
from features.settlement import PAYMENT

reference: Any = import_module("tests.features.reference")  # not annotated for mypy
KINDS = pd.CategoricalDtype(list(SETTLEMENT_KINDS))


class Frames(NamedTuple):
    """The whole ledger as frames, with when each row became known."""

    customers: pd.DataFrame
    invoices: pd.DataFrame
    steps: pd.DataFrame
    closings: pd.DataFrame
    lines: pd.DataFrame
    disputes: pd.DataFrame
    limits: pd.DataFrame
    statements: pd.DataFrame
    covers: pd.DataFrame
    judgments: pd.DataFrame
    events: pd.DataFrame

    @classmethod
    def of(cls, histories: Sequence[History]) -> Frames:
        """Lay out shards of a ledger without corrections, one after the other."""
        parts, n_customers, n_invoices = [], 0, 0
        for history in histories:
            parts.append(_frames(history, n_customers, n_invoices))
            n_customers += history.customers.size
            n_invoices += history.invoice_id.size
        joined = [pd.concat(tables, ignore_index=True) for tables in zip(*parts, strict=True)]
        for events_or_customers in (joined[0], joined[-1]):
            events_or_customers["sector"] = events_or_customers["sector"].astype("category")
            events_or_customers["country"] = events_or_customers["country"].astype("category")
        return cls(*joined)

    def named(self, customers: Sequence[str]) -> Frames:
        """Name the customers as their ledger does, by text."""
        names = pd.array(customers, dtype="str")

        def name(rows: pd.DataFrame) -> pd.DataFrame:
            if "customer_id" not in rows:
                return rows
            return rows.assign(customer_id=names.take(rows["customer_id"].to_numpy()))

        return Frames(*map(name, self))


def describe(frames: Frames, as_of: int, observed_from: int) -> pd.DataFrame:
    """Describe every customer who was invoiced before `as_of`."""
    known: pd.DataFrame = reference.features(_state(frames, as_of), as_of, observed_from)
    return known[list(feature_names(with_order=False))]


def _state(frames: Frames, as_of: int) -> Any:
    """Cut out what was known before `as_of`."""
    invoices = _known(frames.invoices, as_of)
    last = _known(frames.steps, as_of).drop_duplicates("invoice_id", keep="last")
    last = last.set_index("invoice_id").reindex(invoices["invoice_id"])
    for name in ("balance", "closed_by", "closed_on"):
        invoices[name] = last[name].to_numpy()
    invoices["balance"] = invoices["balance"].fillna(invoices["cents"])
    paid = invoices["closed_by"] == PAYMENT
    invoices["days_late"] = (invoices["closed_on"] - invoices["due_on"]).where(paid)
    codes = invoices["closed_by"].fillna(-1).astype("int8").to_numpy()
    invoices["closed_by"] = pd.Categorical.from_codes(codes, dtype=KINDS)
    closings, disputes = _known(frames.closings, as_of), _known(frames.disputes, as_of)
    customers = frames.customers[frames.customers["first_on"] < as_of].set_index("customer_id")
    unknown = customers["recorded_on"] >= as_of
    customers.loc[unknown, ["sector", "country", "recorded_on"]] = np.nan
    return reference.State(
        customers=customers[["sector", "country", "recorded_on"]],
        invoices=invoices,
        closings=closings.assign(stands=closings["until"] >= as_of),
        payments=_known(frames.lines, as_of),
        disputes=disputes.assign(is_open=disputes["closed_on"] >= as_of),
        limits=_known(frames.limits, as_of),
        statements=_known(frames.statements, as_of),
        covers=_known(frames.covers, as_of),
        insolvencies=_known(frames.judgments, as_of),
        peer_events=_known(frames.events, as_of),
    )


def _known(rows: pd.DataFrame, as_of: int) -> pd.DataFrame:
    return rows[rows["known_on"] < as_of].copy()


def _frames(history: History, first_customer: int, first_invoice: int) -> tuple[pd.DataFrame, ...]:
    """Lay out one shard, its customers and invoices numbered from the given ones on."""
    if not history.views.are_single:
        raise ValueError("the naive way knows no corrections")
    n = history.customers.size
    everyone = np.arange(first_customer, first_customer + n)

    def whose(start: Any) -> Any:
        return np.repeat(everyone, np.diff(start))

    bills, paid, lines = history.invoices, history.settled, history.lines
    invoice_customer = whose(bills.start)
    first_on = np.full(n, NEVER)
    np.minimum.at(first_on, invoice_customer - first_customer, bills.known_on)
    groups = np.array([*history.peers.places, (None, None)], object)
    sector, country = groups[history.groups.code].T
    customers = pd.DataFrame({"customer_id": everyone, "sector": sector, "country": country})
    customers["recorded_on"], customers["first_on"] = history.groups.known_on * 1.0, first_on
    invoices = pd.DataFrame(
        {
            "customer_id": invoice_customer,
            "invoice_id": first_invoice + np.arange(bills.known_on.size),
            "known_on": bills.known_on,
            "issued_on": bills.issued_on,
            "due_on": bills.due_on,
            "cents": bills.amount_cents,
        }
    )
    steps = pd.DataFrame(
        {
            "invoice_id": first_invoice + history.steps.invoice,
            "known_on": history.steps.known_on,
            "balance": history.steps.open_cents,
            "closed_by": history.steps.closed_by,
            "closed_on": history.steps.closed_on,
        }
    )
    closings = pd.DataFrame(
        {
            "customer_id": whose(paid.start),
            "known_on": paid.known_on,
            "days_late": paid.days_late,
            "cents": paid.amount_cents,
            "parts": paid.payments,
            "residue": paid.has_residue.astype("int8"),
            "until": paid.until,
        }
    )
    cash = pd.DataFrame(
        {
            "customer_id": whose(lines.start),
            "known_on": lines.known_on,
            "kind": pd.Categorical.from_codes(lines.kind, dtype=KINDS),
            "cents": lines.cents,
            "named": lines.is_named,
        }
    )
    disputes = pd.DataFrame(
        {
            "customer_id": invoice_customer[history.disputes.invoice],
            "invoice_id": first_invoice + history.disputes.invoice,
            "known_on": history.disputes.known_on,
            "closed_on": history.disputes.closed_on,
        }
    )
    return customers, invoices, steps, closings, cash, disputes, *_others(history, whose)


def _others(history: History, whose: Any) -> tuple[pd.DataFrame, ...]:
    """Lay out the smaller tables; their order stands for what decides between two of a day."""
    limits = pd.DataFrame(
        {
            "customer_id": whose(history.limits.start),
            "known_on": history.limits.known_on,
            "amount_cents": history.limits.cents,
        }
    )
    limits["limit_id"] = limits["decided_on"] = np.arange(len(limits))
    statements = pd.DataFrame(history.accounts.figures, columns=list(FIGURES)).assign(
        customer_id=whose(history.accounts.start),
        known_on=history.accounts.known_on,
        closed_on=history.accounts.closed_on,
    )
    covers = pd.DataFrame(
        {
            "customer_id": whose(history.covers.start),
            "known_on": history.covers.known_on,
            "ends_on": history.covers.ends_on,
            "amount_cents": history.covers.cents,
            "insured_rate": history.covers.insured_rate,
        }
    )
    judgments = pd.DataFrame(
        {
            "customer_id": whose(history.judgments.start),
            "known_on": history.judgments.known_on,
            "kind": np.where(history.judgments.is_liquidation, "liquidation", "other"),
        }
    )
    own, groups = history.own, np.array([*history.peers.places, (None, None)], object)
    sector, country = groups[history.groups.code[own.view]].T
    events = pd.DataFrame(
        {
            "customer_id": whose(own.start),
            "sector": sector,
            "country": country,
            "known_on": own.day,
            "days_late": np.where(own.is_late_30, 31, own.is_late),
        }
    )
    for rows, key in ((limits, "limit_id"), (statements, "statement_id"), (covers, "cover_id")):
        rows[key], rows["recorded_at"] = np.arange(len(rows)), 0
    return limits, statements, covers, judgments, events
