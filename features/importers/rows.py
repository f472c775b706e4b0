"""Records × one section of the mapping → rows of one table, and the records it cannot fill."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from features.importers.formats import Kind, Parsed, as_text, parse
from features.importers.mapping import Expression, Mapping, Section
from features.importers.records import Records
from features.ledger import TABLES, Known, LedgerError

MOST_CENTS = 9e18  # int64


class Rows(NamedTuple):
    """What one table reads of the records of one file; the index is the record's, from 0.

    Each record is among the `good`, which are still to be checked; or among the `faults`
    (``row``, ``column``, ``reason``); or set aside, being no news: `n_aside` of them.
    """

    good: pd.DataFrame
    faults: pd.DataFrame
    n_aside: int


def fill(section: Section, records: Records, mapping: Mapping, *, shares: bool) -> Rows:
    """Fill one table; `shares` says that other tables read the same records.

    Then a line without a settlement date is an invoice not settled yet, and a customer comes
    again on each of his invoices.
    """
    rows, faults = _evaluate(section, records, mapping)
    aside = rows.index[:0]
    if shares and section.table == "settlements":
        dates = faults[faults["column"] == "settled_on"].drop_duplicates("row")
        aside = pd.Index(dates.loc[dates["reason"] == "missing_value", "row"])
    if shares and section.table == "customers":
        aside = _repeated(rows.drop(index=pd.Index(faults["row"].unique())))
    faults = faults[~faults["row"].isin(aside)].drop_duplicates("row")
    return Rows(rows.drop(index=aside.union(pd.Index(faults["row"]))), faults, len(aside))


def name_debtors(rows: Rows, invoices: pd.DataFrame | None, known: Known) -> Rows:
    """Give each row the customer of its invoice, when the source does not name him."""
    good, debtors = rows.good, known.debtors
    if invoices is not None:
        debtors = pd.concat([debtors, invoices.set_index("invoice_id")["customer_id"]])
    debtors = debtors[debtors.index.notna() & ~debtors.index.duplicated()]
    place = debtors.index.get_indexer(pd.Index(good["invoice_id"]))
    missing = good["invoice_id"].isna().to_numpy()
    faults = [
        rows.faults,
        _faults(good.index[missing], "invoice_id", "missing_value"),
        _faults(good.index[~missing & (place < 0)], "invoice_id", "unknown_invoice"),
    ]
    named = good[place >= 0].assign(customer_id=debtors.array.take(place[place >= 0]))
    return Rows(named, pd.concat(faults), rows.n_aside)


def _faults(rows: Any, column: str, reason: str) -> pd.DataFrame:
    return pd.DataFrame({"row": rows, "column": column, "reason": reason})


def _repeated(customers: pd.DataFrame) -> pd.Index:
    """Find the lines that name a customer again, with the same content; the first known stays."""
    if "recorded_at" in customers:
        customers = customers.sort_values("recorded_at", kind="stable")
    return customers.index[customers.filter(regex=r"^(?!recorded)").duplicated()]


def _evaluate(
    section: Section, records: Records, mapping: Mapping
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Evaluate the expressions of a table on every record."""
    values: dict[str, pd.Series] = {}
    faults = [_faults(np.array([], "int64"), "", "")]
    for key, expression in section.expressions.items():
        target, bad = section.target(key), dict[str, Any]()
        if expression.is_ours:
            value = values[section.target(expression.name)]
        else:
            value, bad = _read(records, expression, section.kind(key), mapping)
            if target in section.needed:
                bad |= {"missing_value": value.isna()}  # after the reasons why it is null
        values[target] = value + pd.Timedelta(days=expression.days) if expression.days else value
        faults += [_faults(np.flatnonzero(m), target, reason) for reason, m in bad.items()]
    if section.kinds:
        values["kind"] = values["kind"].replace(section.kinds)
    if "currency" in values:
        faults += _convert(values, section, records, mapping)
    rows = pd.DataFrame(values, index=pd.RangeIndex(len(records.lines)))
    if "recorded_at" in rows and section.expressions["recorded_at"].is_assumed:
        rows["recorded_assumed"] = rows.get("recorded_assumed", True)
    return rows, pd.concat(faults)


def _read(records: Records, expression: Expression, kind: Kind, mapping: Mapping) -> Parsed:
    """Read a column as `kind`; one that several tables read, once."""
    place = (expression.name, kind)
    if expression.constant is None and place in records.parsed:
        values, bad = records.parsed[place]
        return values, dict(bad)
    column = _column(records, expression)
    try:
        values, bad = parse(column, kind, mapping.format)
    except pa.ArrowException as error:
        what = f"column {expression.name!r} of type {column.type}"
        raise LedgerError(f"{records.file}: {what} cannot be read as {kind}") from error
    if expression.constant is None:
        records.parsed[place] = values, dict(bad)
    return values, bad


def _column(records: Records, expression: Expression) -> pa.ChunkedArray:
    if expression.constant is None:
        return records.whole[expression.name]
    return pa.chunked_array([pa.repeat(expression.constant, len(records.lines))])


def _convert(
    values: dict[str, pd.Series], section: Section, records: Records, mapping: Mapping
) -> Iterator[pd.DataFrame]:
    """Bring amounts to the base currency, rounded half to even; keep them as written beside."""
    theirs = values.pop("currency").str.upper()
    yield _faults(np.flatnonzero(theirs.isna()), "currency", "missing_value")
    no_rate = theirs.notna() & ~theirs.isin([mapping.currency, *mapping.exchange_rates])
    yield _faults(np.flatnonzero(no_rate), "currency", "no_exchange_rate")
    for column in [column for column in values if column.endswith("_cents")]:
        cents = values[column] = values[column].copy()
        for code, rate in mapping.exchange_rates.items():
            large = (cents.abs() * rate > MOST_CENTS).fillna(False) & (theirs == code)
            yield _faults(np.flatnonzero(large), column, "bad_amount")
            ours = (theirs == code) & cents.notna() & ~large
            exact = [round(Decimal(int(c)) * Decimal(str(rate))) for c in cents[ours]]
            cents[ours] = pd.array(exact, "Int64")
    amount = section.expressions.get("amount") or section.expressions.get("amount_cents")
    if amount and not amount.is_ours and "original_amount" in TABLES[section.table].columns:
        written = as_text(_column(records, amount)).to_pandas()
        values |= {"original_amount": written, "original_currency": theirs}
