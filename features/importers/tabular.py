"""Import of CSV and Parquet files with a small YAML mapping.

A mapping says where each column of ours comes from. With ``issued_on: due_on - 14 days`` the line
``F-1,C-7,2024-01-31,80.5`` becomes invoice F-1 of C-7, issued 2024-01-17, due 2024-01-31, of 8050
cents. The grammar is in :mod:`features.importers.mapping`.

Each record of a file ends, in each table that reads it, as a row of the ledger, as a reject with
its reason, or in :class:`Account` as a repeated customer or an invoice not settled yet.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow as pa

from features.importers.mapping import Mapping, MappingError, load_mapping
from features.importers.records import Records, read_records
from features.importers.rows import Rows, fill, name_debtors
from features.ledger import LATEST, TABLES, Known, Ledger, LedgerError, check

__all__ = [
    "Account",
    "Imported",
    "Mapping",
    "MappingError",
    "Progress",
    "Summary",
    "load_mapping",
    "read",
    "summary",
]

REJECT_COLUMNS = ["table", "file", "line", "column", "reason", "row"]

Progress = Callable[[int, int], None]  # bytes done, bytes in all
LookUp = Callable[[Collection[str], Collection[str]], Known]  # of these customers and invoices


@dataclass(frozen=True)
class Account:
    """What became of the records that one table read: `read` is the sum of the others."""

    read: int
    kept: int
    rejected: int
    repeated_customers: int = 0
    not_settled: int = 0


@dataclass(frozen=True)
class Imported:
    """A ledger, and what became of every record of its source.

    Attributes
    ----------
    ledger : Ledger
        Rows that pass every rule.
    rejects : DataFrame
        ``table``, ``file``, ``line`` (in the file, its header is line 1; in Parquet the row, from
        1), ``column``, ``reason`` and ``row``, the source's record as JSON. A line that is bad for
        several tables is listed for each.
    rows_read : int
        Records in all files; blank lines are none.
    assumptions, absent : tuple of str
        What the mapping supposes, and what this data cannot say.
    sources : tuple of (str, str)
        File names with their SHA-256.
    accounts : dict of str to Account
        By table.
    """

    ledger: Ledger
    rejects: pd.DataFrame
    rows_read: int
    assumptions: tuple[str, ...]
    absent: tuple[str, ...]
    sources: tuple[tuple[str, str], ...]
    accounts: dict[str, Account]


def read(
    source: Path,
    mapping: Mapping,
    known: Known | LookUp | None = None,
    progress: Progress | None = None,
) -> Imported:
    """Import a file, or a folder whose files the mapping names.

    Parameters
    ----------
    source : Path
        File; or folder, when the sections of `mapping` have a ``file``.
    mapping : Mapping
        See :func:`load_mapping`.
    known : Known or callable, optional
        Customers and invoices that earlier imports brought; or a function that gives those of
        them that the file names, as :meth:`features.store.Store.known_of` does.
    progress : callable, optional
        Told the bytes done and their total, now and then.

    Raises
    ------
    LedgerError
        If a file as a whole cannot be read; bad rows are among the rejects instead.
    """
    paths = _paths(source, mapping)
    files = _read_files(paths, mapping, progress or (lambda done, total: None))
    rows, known = _fill_tables(paths, files, mapping, known)
    ledger, broken = check({t: rows[t].good for t in rows}, mapping.currency, known)
    rejects, accounts = [], {}
    for table, (_, faults, n_aside) in rows.items():
        found = pd.concat([faults, broken.loc[broken["table"] == table, list(faults)]])
        records = files[paths[table]]
        rejects.append(_rejects(table, records, found))
        kind = "repeated_customers" if table == "customers" else "not_settled"
        counts = (records.count, len(ledger[table]), len(rejects[-1]))
        accounts[table] = Account(*counts, **{kind: n_aside})
    return Imported(
        ledger=ledger,
        rejects=pd.concat(rejects, ignore_index=True),
        rows_read=sum(records.count for records in files.values()),
        assumptions=tuple(dict.fromkeys(mapping.assumptions(paths))),
        absent=tuple(dict.fromkeys((*mapping.absent, *(t for t in TABLES if t not in paths)))),
        sources=tuple((records.file, records.sha256) for records in files.values()),
        accounts=accounts,
    )


def _paths(source: Path, mapping: Mapping) -> dict[str, Path]:
    """Say which file fills each table."""
    if not source.exists():
        raise LedgerError(f"{source} does not exist")
    files = {table: section.file for table, section in mapping.tables.items()}
    if not source.is_dir():
        if named := [file for file in files.values() if file]:
            raise LedgerError(f"{source} is one file; give the folder that holds {named[0]}")
        return dict.fromkeys(files, source)
    if nameless := [table for table, file in files.items() if not file]:
        raise LedgerError(f"{source} is a folder, and the mapping has no {nameless[0]}.file")
    paths = {table: source / file for table, file in files.items() if file}
    return {t: p for t, p in paths.items() if p.exists() or not mapping.tables[t].optional}


def _read_files(
    paths: dict[str, Path], mapping: Mapping, progress: Progress
) -> dict[Path, Records]:
    """Read each file once, with the columns that all its tables need."""
    sizes = {path: path.stat().st_size for path in paths.values() if path.exists()}
    files: dict[Path, Records] = {}
    for path in dict.fromkeys(paths.values()):
        sections = [mapping.tables[table] for table in paths if paths[table] == path]
        needed = dict.fromkeys(name for section in sections for name in section.source_columns)
        done = sum(sizes[earlier] for earlier in files)

        def advance(at: int, done: int = done) -> None:
            progress(done + at, sum(sizes.values()))

        files[path] = read_records(path, needed, mapping.format, advance)
    if not any(records.count for records in files.values()):
        raise LedgerError(f"{next(iter(files))} has a header and no rows")
    return files


def _fill_tables(
    paths: dict[str, Path],
    files: dict[Path, Records],
    mapping: Mapping,
    known: Known | LookUp | None,
) -> tuple[dict[str, Rows], Known]:
    """Fill each table from its file, and name the debtors that only its invoices know."""
    readers = Counter(paths.values())
    tables = {
        table: fill(mapping.tables[table], files[path], mapping, shares=readers[path] > 1)
        for table, path in paths.items()
    }
    if known is not None and not isinstance(known, Known):
        known = known(*(_named(tables, key) for key in ("customer_id", "invoice_id")))
    known = known or Known()
    for table in paths:
        if "customer_id" not in mapping.tables[table].columns:
            invoices = tables["invoices"].good if "invoices" in tables else None
            tables[table] = name_debtors(tables[table], invoices, known)
    return tables, known


def _named(tables: dict[str, Rows], key: str) -> list[str]:
    """Gather the customers or the invoices that a file names."""
    columns = [rows.good[key].dropna() for rows in tables.values() if key in rows.good]
    return pd.concat(columns).unique().tolist() if columns else []


def _rejects(table: str, records: Records, found: pd.DataFrame) -> pd.DataFrame:
    """List the bad records of one table as its source wrote them."""
    place = found["row"].to_numpy("int64")
    written = records.whole.take(pa.array(place)).to_pylist()
    raw = [{k: None if v is None else str(v) for k, v in record.items()} for record in written]
    whole = zip(records.lines[place], found["column"], found["reason"], raw, strict=True)
    broken = [(line, None, reason, {"text": text}) for line, reason, text in records.broken]
    rows = [(*reject, json.dumps(row, ensure_ascii=False)) for *reject, row in [*whole, *broken]]
    rejects = pd.DataFrame(rows, columns=["line", "column", "reason", "row"])
    rejects = rejects.assign(table=table, file=records.file).sort_values("line", kind="stable")
    types = dict.fromkeys(REJECT_COLUMNS, "str") | {"line": "int64"}
    return rejects[REJECT_COLUMNS].astype(types)


@dataclass(frozen=True)
class Summary:
    """What an import brought, in the words of its user.

    Attributes
    ----------
    rows_read : int
        Records in all files.
    kept : dict of str to int
        Rows of the ledger, by table that the mapping fills.
    quarantined : dict of str to int
        Lines by reason; one that is bad for several tables counts once a reason.
    first_on, last_on : date or None
        From the first fact to the last.
    customers : int
        Customers in the ledger.
    exposure_cents : int
        Open balance: the invoices, less what settled them, less unallocated cash.
    late_rate : float or None
        Share of the settled invoices, by count, whose last settlement came after ``due_on``.
    assumptions, absent : tuple of str
        As in :class:`Imported`.
    """

    rows_read: int
    kept: dict[str, int]
    quarantined: dict[str, int]
    first_on: date | None
    last_on: date | None
    customers: int
    exposure_cents: int
    late_rate: float | None
    assumptions: tuple[str, ...]
    absent: tuple[str, ...]


def summary(imported: Imported, as_of: date | None = None) -> Summary:
    """Sum up an import; the open balance, the dates and the late share by facts before `as_of`."""
    ledger, before = imported.ledger, LATEST if as_of is None else pd.Timestamp(as_of)
    invoices, settlements = ledger["invoices"], ledger["settlements"]
    invoices = invoices[invoices["issued_on"] < before].set_index("invoice_id")
    settlements = settlements[settlements["settled_on"] < before]
    undone = settlements["kind"] == "reversal"
    cents = settlements["amount_cents"].where(~undone, -settlements["amount_cents"])
    settled = cents.groupby(settlements["invoice_id"]).sum()
    balance = invoices["amount_cents"] - settled.reindex(invoices.index, fill_value=0)
    paid_on = settlements["settled_on"].where(~undone).groupby(settlements["invoice_id"]).max()
    late = (paid_on.reindex(invoices.index) > invoices["due_on"])[balance <= 0]
    columns = {name: table.happened_on for name, table in TABLES.items() if table.happened_on}
    days = pd.concat([ledger[name][column] for name, column in columns.items()])
    days = days[days < before]
    by_reason = imported.rejects.drop_duplicates(["file", "line", "reason"])["reason"]
    return Summary(
        rows_read=imported.rows_read,
        kept={table: account.kept for table, account in imported.accounts.items()},
        quarantined={str(reason): n for reason, n in by_reason.value_counts().items()},
        first_on=None if days.empty else days.min().date(),
        last_on=None if days.empty else days.max().date(),
        customers=len(ledger["customers"]),
        exposure_cents=int(balance.sum() - cents[settlements["invoice_id"].isna()].sum()),
        late_rate=None if late.empty else float(late.mean()),
        assumptions=imported.assumptions,
        absent=imported.absent,
    )
