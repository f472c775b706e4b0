"""The use case: facts pushed by a client, checked as an import is, appended, answered row by row.

A payment of F-7 and the invoice F-7 come in one call, the payment first; another payment names F-8,
which nobody knows. The first two are added, the third is refused as ``unknown_invoice``, and the
answer says so of each by its place in what was sent. Nothing here knows of the web.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from features.ledger import TABLES, Known, Ledger, check
from features.store import Source, Store
from features.store_versions import OUTCOMES
from serving.audit import TooLate
from serving.fact_words import WORDS
from serving.keys import Key, Role
from serving.schemas.facts import FactGiven, field_of, sent_columns
from serving.schemas.request import cents

Tables = dict[str, pd.DataFrame]
CLOCKS_DIFFER = timedelta(minutes=5)
# What the seller's own books say. The rest comes from elsewhere (insurer, courts, registry) or is
# the risk team's own word, and each row of it can lift a block or raise a limit.
OF_THE_BOOKS = frozenset({"customers", "invoices", "settlements", "disputes", "orders"})
MAY_PUSH: Mapping[Role, frozenset[str]] = {"crm": OF_THE_BOOKS, "risk": frozenset(TABLES)}


@dataclass(frozen=True)
class Push:
    """One call.

    Attributes
    ----------
    rows : dict of str to sequence of FactGiven
        By table.
    key : Key
        Of the client, with the customers that it sees.
    request_id : str
    body : bytes
        As received, for the trail.
    deadline : float
        On the clock of :func:`time.monotonic`; after it nothing is added.
    source : str, optional
        Where it comes from, for the trail; by default the client and its request.
    """

    rows: Mapping[str, Sequence[FactGiven]]
    key: Key
    request_id: str
    body: bytes
    deadline: float
    source: str | None = None


class Fault(NamedTuple):
    """Why a row is refused: its column and the name of the rule."""

    column: str | None
    reason: str


Faults = dict[tuple[str, int], Fault]  # by table and place in what was sent


def push(store: Store, clock: Callable[[], datetime], sent: Push) -> dict[str, Any]:
    """Append what is good of a call; say of each row what became of it.

    Returns
    -------
    dict
        As :class:`serving.schemas.facts.FactsAnswer` describes it.

    Raises
    ------
    TooLate
    """
    arrival = arrived_at(clock)
    ledger, faults = _checked(store, arrival, sent)
    if time.monotonic() > sent.deadline:
        raise TooLate
    return _told(arrival, sent, faults, *_append(store, ledger, sent, faults))


def correct(store: Store, clock: Callable[[], datetime], sent: Push) -> dict[str, Any]:
    """Append a call as :func:`push` does, if all of it is good; else nothing."""
    arrival = arrived_at(clock)
    ledger, faults = _checked(store, arrival, sent)
    if faults:
        return _told(arrival, sent, faults, store.sequence(), {})  # no row has an outcome
    return _told(arrival, sent, faults, *_append(store, ledger, sent, faults))


def _told(
    arrival: Arrival,
    sent: Push,
    faults: Faults,
    sequence: int,
    outcomes: dict[str, dict[Hashable, str]],
) -> dict[str, Any]:
    results = {
        name: _results(name, len(rows), outcomes.get(name, {}), faults)
        for name, rows in sent.rows.items()
        if rows
    }
    return {
        "sequence": sequence,
        "recorded_at": arrival.at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "counts": {name: _count(of) for name, of in results.items()},
        "results": [one for of in results.values() for one in of],
    }


class Arrival(NamedTuple):
    """When a call arrives by the service's clock, and the last instant that counts at once."""

    at: datetime
    latest: datetime


def arrived_at(clock: Callable[[], datetime]) -> Arrival:
    """Tell when a call arrives: now.

    As of a past day the clock stands at its end, where assessments look from. What arrives then is
    recorded on that day at the present time of day: later is later, and all of it counts.
    """
    now = datetime.now(UTC)  # before the clock: midnight may fall between them
    stands_at = clock()
    latest = stands_at - timedelta(microseconds=1)  # assessments look before their instant
    return Arrival(min(datetime.combine(stands_at.date(), now.time(), UTC), latest), latest)


def _checked(store: Store, arrival: Arrival, sent: Push) -> tuple[Ledger, Faults]:
    """Part the good rows from the others, which are noted with their fault."""
    tables = {name: frame(name, rows, arrival.at) for name, rows in sent.rows.items() if rows}
    faults: Faults = {}
    _put_aside(tables, _unseen(sent.key), "customer_id", "unknown_customer", faults)
    too_late = _after(arrival.latest + CLOCKS_DIFFER)
    _put_aside(tables, too_late, "recorded_at", "recorded_in_the_future", faults)
    tables = {name: known_by(arrival.latest, rows) for name, rows in tables.items()}
    known = _known(store, tables, sent.key)
    ledger, broken = check(tables, store.ledger.currency, known)
    return ledger, faults | faults_of(broken, "row")


def _append(
    store: Store, ledger: Ledger, sent: Push, faults: Faults
) -> tuple[int, dict[str, dict[Hashable, str]]]:
    """Append what is good; tell what became of each row, and add to the faults."""
    if ledger.rows == 0:
        return store.sequence(), {}
    appended = store.append(ledger, _source(sent))
    faults |= faults_of(appended.rejects, "label")
    return appended.sequence, {n: appended.outcome(ledger, n).to_dict() for n in ledger.tables}


def frame(name: str, rows: Sequence[FactGiven], at: datetime | None) -> pd.DataFrame:
    """Lay rows out as the ledger's checks take them; the index is the place in what was sent.

    What does not say when it became known did `at` this instant; with None, on its own day.
    """
    given = {
        column: [getattr(row, field_of(column)) for row in rows] for column in sent_columns(name)
    }
    laid_out = pd.DataFrame({column: _column(column, values) for column, values in given.items()})
    if at is not None:
        laid_out["recorded_at"] = laid_out["recorded_at"].fillna(stamp(at))
    return laid_out


def stamp(instant: datetime) -> pd.Timestamp:
    """Write an instant as the tables have it: UTC, without a zone."""
    return pd.Timestamp(instant.replace(tzinfo=None))


def _column(name: str, values: list[Any]) -> Any:
    if name.endswith("_cents"):
        return pd.array([None if money is None else cents(money) for money in values], "Int64")
    if name.endswith("_on"):
        return np.array([day or "NaT" for day in values], "datetime64[D]").astype("datetime64[s]")
    if name.endswith("_at"):
        return np.array(["NaT" if at is None else at[:-1] for at in values], "datetime64[us]")
    if isinstance(values[0], str | None):
        return pd.array(values, "str")
    return np.array(values, bool if isinstance(values[0], bool) else float)


def _unseen(key: Key) -> Callable[[pd.DataFrame], pd.Series[bool]]:
    """Find rows of customers that the key does not see: to it they are unknown."""
    return lambda rows: ~rows["customer_id"].map(key.sees).astype(bool)


def _after(instant: datetime) -> Callable[[pd.DataFrame], pd.Series[bool]]:
    return lambda rows: rows["recorded_at"] > stamp(instant)


def _put_aside(
    tables: Tables,
    is_bad: Callable[[pd.DataFrame], pd.Series[bool]],
    column: str,
    reason: str,
    faults: Faults,
) -> None:
    """Take the bad rows out of the tables, and note why."""
    for name, rows in tables.items():
        bad = is_bad(rows)
        faults.update({(name, int(row)): Fault(column, reason) for row in rows.index[bad]})
        tables[name] = rows[~bad]


def known_by(latest: datetime, rows: pd.DataFrame) -> pd.DataFrame:
    """Take a client's clock that is a little fast for ours: what has arrived is known."""
    recorded_at = rows["recorded_at"]
    return rows.assign(recorded_at=recorded_at.mask(recorded_at > stamp(latest), stamp(latest)))


def _known(store: Store, tables: Tables, key: Key) -> Known:
    """Find the customers and invoices named that are in the store and that the key sees."""
    named = [_named(tables, column) for column in ("customer_id", "invoice_id")]
    known = store.known_of(*named)
    if key.customers is None:
        return known
    return Known(known.customers, known.debtors[known.debtors.isin(list(key.customers))])


def _named(tables: Tables, column: str) -> set[str]:
    columns = (rows[column].dropna() for rows in tables.values() if column in rows)
    return set().union(*(values.tolist() for values in columns))


def _source(sent: Push) -> Source:
    """Say where the facts came from: the client, its request, and the SHA-256 of the body."""
    name = sent.source or (
        f"API request {sent.request_id} of {sent.key.client} with key {sent.key.id}"
    )
    return Source(((name, hashlib.sha256(sent.body).hexdigest()),))


def faults_of(rejects: pd.DataFrame, label: str) -> Faults:
    """Note the rejects of a check; `label` is the column that has the place in what was sent."""
    columns = (rejects[column] for column in ("table", label, "column", "reason"))
    return {
        (table, int(row)): Fault(column if isinstance(column, str) else None, reason)
        for table, row, column, reason in zip(*columns, strict=True)
    }


def _results(
    name: str, size: int, outcomes: Mapping[Hashable, str], faults: Faults
) -> list[dict[str, Any]]:
    return [
        _result(name, row, outcomes.get(row, "refused"), faults.get((name, row)))
        for row in range(size)
    ]


def _result(name: str, row: int, status: str, fault: Fault | None) -> dict[str, Any]:
    result: dict[str, Any] = {"table": name, "row": row, "status": status}
    if fault is None:
        return {**result, "field": None, "reason": None, "fr": None, "en": None}
    field = None if fault.column is None else field_of(fault.column)
    return {**result, "field": field, "reason": fault.reason, **WORDS[fault.reason]._asdict()}


def _count(results: Sequence[dict[str, Any]]) -> dict[str, int]:
    return {status: sum(one["status"] == status for one in results) for status in OUTCOMES}
