"""Reads the rows to describe from a file: customers and dates, with an invoice or not.

===========  =======================================================================
customer_id  whom to describe
as_of        exclusive date: what was known before that day counts
amount_cents with ``due_on``: the invoice, issued or planned, in cents, tax included
due_on       its due date
issued_on    its issue date; without the column, ``as_of``
invoice_id   its number, repeated in the result
===========  =======================================================================

CSV is UTF-8 with commas, dates written YYYY-MM-DD. Other columns are left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

NEEDED = ("customer_id", "as_of")
INVOICE = ("invoice_id", "amount_cents", "issued_on", "due_on")
EPOCH = date(1970, 1, 1).toordinal()
FIRST_DAY, LAST_DAY = date(1990, 1, 1).toordinal() - EPOCH, date(2100, 1, 1).toordinal() - EPOCH
WHOLE_CENTS = r"^[0-9]{1,15}$"


class SpineError(ValueError):
    """The file as a whole cannot be used; the message says which column, why and where."""


def read_spine(path: Path) -> pa.Table:
    """Read the rows of a spine.

    Parameters
    ----------
    path : Path
        CSV, or Parquet when the file begins as such.

    Returns
    -------
    pyarrow.Table
        ``row`` (from 1, as in the file), ``customer_id``, ``as_of`` and those of the invoice's
        columns that the file has; ``issued_on`` whenever there is an invoice.

    Raises
    ------
    SpineError
        If a column is missing or a value cannot be.
    """
    try:
        read = _read(path)
        if read.num_rows == 0:
            raise SpineError("there is no row")
        return _checked(read)
    except (SpineError, pa.ArrowException) as error:
        said = str(error).splitlines()[0]
        raise SpineError(f"{path.name} cannot be used as a spine: {said}") from error


def by_shard(spine: pa.Table, first_customers: Sequence[str]) -> list[pa.Table]:
    """Cut a spine by shards of customers, given the first of each, ascending.

    Rows keep their order. A customer between two shards, or before the first, is nobody's and
    goes to a neighbour.
    """
    ids = spine["customer_id"].combine_chunks().dictionary_encode()
    distinct = np.array(ids.dictionary.to_pylist(), object)
    place = np.searchsorted(np.array(first_customers, object), distinct, side="right") - 1
    shard = np.maximum(place, 0)[ids.indices.to_numpy()]
    order = np.argsort(shard, kind="stable")
    cuts = np.searchsorted(shard[order], np.arange(len(first_customers) + 1))
    return [spine.take(order[a:b]) for a, b in pairwise(cuts)]


def _read(path: Path) -> pa.Table:
    with path.open("rb") as file:
        is_parquet = file.read(4) == b"PAR1"
    if is_parquet:
        names = pq.read_schema(path).names
        return pq.read_table(path, columns=_wanted(names))
    with pyarrow.csv.open_csv(path) as file:
        wanted = _wanted(file.schema.names)
    as_text = pyarrow.csv.ConvertOptions(
        include_columns=wanted, column_types=dict.fromkeys(wanted, pa.string())
    )
    return pyarrow.csv.read_csv(path, convert_options=as_text)


def _wanted(names: list[str]) -> list[str]:
    for name in NEEDED:
        if names.count(name) != 1:
            raise SpineError(f"it needs one column {name}")
    found = [name for name in INVOICE if name in names]
    if ("amount_cents" in found) != ("due_on" in found):
        raise SpineError("an invoice needs both amount_cents and due_on")
    if "issued_on" in found and "due_on" not in found:
        found.remove("issued_on")
    return [*NEEDED, *found]


def _checked(read: pa.Table) -> pa.Table:
    columns = {
        "row": pa.array(np.arange(1, read.num_rows + 1)),
        "customer_id": _text(read, "customer_id"),
        "as_of": _days(read, "as_of"),
    }
    if "invoice_id" in read.column_names:
        columns["invoice_id"] = _text(read, "invoice_id")
    if "due_on" in read.column_names:
        columns["amount_cents"] = _cents(read, "amount_cents")
        issued = "issued_on" if "issued_on" in read.column_names else "as_of"
        columns["issued_on"], columns["due_on"] = _days(read, issued), _days(read, "due_on")
        _refuse(pc.less(columns["due_on"], columns["issued_on"]), "due_on lies before the issue")
    return pa.table(columns)


def _text(read: pa.Table, name: str) -> pa.Array:
    column = read[name].cast(pa.string()).combine_chunks()
    _refuse(pc.equal(pc.utf8_trim_whitespace(column.fill_null("")), ""), f"{name} is empty")
    return column


def _cents(read: pa.Table, name: str) -> pa.Array:
    column = read[name].combine_chunks()
    if pa.types.is_string(column.type):
        whole = pc.match_substring_regex(column.fill_null(""), WHOLE_CENTS)
        _refuse(pc.invert(whole), f"{name} is not a whole number of cents")
    cents = column.cast(pa.int64()).fill_null(0)
    _refuse(pc.less_equal(cents, 0), f"{name} is not above 0")
    return cents


def _days(read: pa.Table, name: str) -> pa.Array:
    column = read[name].combine_chunks()
    if not pa.types.is_date(column.type) and not pa.types.is_timestamp(column.type):
        column = _parsed(column.cast(pa.string()))
    day = column.cast(pa.date32())
    number = day.cast(pa.int32()).fill_null(LAST_DAY + 1)
    outside = pc.or_(pc.less(number, FIRST_DAY), pc.greater(number, LAST_DAY))
    _refuse(outside, f"{name} is not a date (YYYY-MM-DD) from 1990 to 2100")
    return day


def _parsed(text: pa.Array) -> pa.Array:
    """Parse dates; what is none becomes null. There are few distinct ones."""
    encoded = text.dictionary_encode()
    day_of = pa.array([_iso(value) for value in encoded.dictionary.to_pylist()], pa.date32())
    return day_of.take(encoded.indices)


def _iso(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if len(text) == len("YYYY-MM-DD") else None
    except ValueError:
        return None


def _refuse(bad: pa.Array, what: str) -> None:
    rows: NDArray[np.int64] = np.flatnonzero(bad.to_numpy(zero_copy_only=False)) + 1
    if rows.size:
        raise SpineError(f"{what} in {rows.size:,} of its rows, first in row {rows[0]:,}")
