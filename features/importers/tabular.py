"""Import of CSV and Parquet files with a small YAML mapping.

A mapping says where each column of ours comes from: a source column (``customer``), another
mapped column (``issued_on``), a date moved by days (``due_on - 14 days``) or a constant
(``=payment``). No code. With ``issued_on: due_on - 14 days`` the line ``F-1,C-7,2024-01-31,80.5``
becomes invoice F-1 of C-7, issued 2024-01-17, due 2024-01-31, of 8050 cents.

Each record of a file ends, in each table that reads it, as a row of the ledger, as a reject with
its reason, or in :class:`Account` as a repeated customer or an invoice not settled yet.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import json
import re
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, ValidationError
from pydantic import model_validator as validate

from features.ledger import (
    EARLIEST,
    INSOLVENCY_KINDS,
    LATEST,
    SETTLEMENT_KINDS,
    TABLES,
    Known,
    Ledger,
    LedgerError,
    check,
)

RECORDS_A_BATCH = 65_536
SEPARATORS = (",", ";", "\t", "|")
NOT_TEXT = {b"PAR1": "a Parquet", b"PK\x03\x04": "an Excel or zip", b"\x1f\x8b": "a gzip"}
BOOLEANS = dict.fromkeys(["true", "1", "yes", "oui"], True)
BOOLEANS |= dict.fromkeys(["false", "0", "no", "non"], False)
KINDS = {"settlements": SETTLEMENT_KINDS, "insolvency_events": INSOLVENCY_KINDS}
DEFAULTED = {"recorded_at", "recorded_assumed", "is_natural_person", "settlement_id"}
REJECT_COLUMNS = ["table", "file", "line", "column", "reason", "row"]
DATE_AND_DAYS = re.compile(r"(?P<name>.+?) (?P<sign>[+-]) (?P<days>\d{1,4}) days?")
GROUPINGS = {" ": " \u00a0\u202f", "'": "'’"}  # a space is often a narrow or unbreakable one
MOST_CENTS = 9e18  # int64

Parsed = tuple[pd.Series, dict[str, Any]]  # values, null where bad; masks of the bad by reason
Progress = Callable[[int, int], None]


class MappingError(LedgerError):
    """A mapping file is wrong; the message says the file, the key and what is allowed."""


def _known_keys(raw: Any, allowed: Collection[str]) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise ValueError(f"must hold keys; allowed: {', '.join(allowed)}")
    if unknown := [key for key in raw if key not in allowed]:
        raise ValueError(f"{unknown[0]!r} is not a known key; allowed: {', '.join(allowed)}")
    return raw


def _codec(name: str) -> str:
    try:
        "a,b\n".encode(name)
    except LookupError:
        raise ValueError("not a text encoding; use for example utf-8, cp1252, utf-16") from None
    return name


def _date_pattern(pattern: str) -> str:
    day = pd.Series(pd.to_datetime(["2001-12-23"], utc=True))
    again = _strptime(day.dt.strftime(pattern), pattern)
    if (again.dt.date != day.dt.date).any():
        raise ValueError('must give year, month and day, as "%Y-%m-%d" or "%d/%m/%Y" do')
    return pattern


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Format(_Strict):
    """How the source writes text, dates and amounts; ``instant`` is that of ``recorded_at``."""

    type: Literal["csv", "parquet"]
    separator: Annotated[str, Field(pattern=r'^[^"\r\n]$')] = ","
    encoding: Annotated[str, AfterValidator(_codec)] = "utf-8"
    date: Annotated[str, AfterValidator(_date_pattern)] = "%Y-%m-%d"
    instant: Annotated[str, AfterValidator(_date_pattern)] | None = None
    decimal: Literal[".", ","] = "."
    thousands: Literal[".", ",", " ", "'"] | None = None

    @validate(mode="before")
    @classmethod
    def _name_the_allowed(cls, raw: Any) -> Any:
        return _known_keys(raw, cls.model_fields)

    @validate(mode="after")
    def _tell_thousands_from_decimals(self) -> Format:
        if self.decimal == self.thousands:
            raise ValueError("decimal and thousands must differ")
        return self


class Expression(NamedTuple):
    """Where a column comes from: a source column or one of ours, moved by days, or a constant."""

    text: str
    name: str
    days: int
    constant: str | None
    is_ours: bool

    @classmethod
    def of(cls, text: str, ours: Collection[str]) -> Expression:
        """Read `text`; a name among `ours` is that mapped column, another a source column."""
        if text.startswith("="):
            return cls(text[1:].strip(), "", 0, text[1:].strip(), is_ours=False)
        moved = DATE_AND_DAYS.fullmatch(text)
        name, days = (moved["name"], int(moved["sign"] + moved["days"])) if moved else (text, 0)
        return cls(text, name, days, None, name in ours)

    @property
    def is_assumed(self) -> bool:
        """Whether the source does not say it."""
        return self.constant is not None or self.days != 0 or self.is_ours


class Section(_Strict):
    """How one table is filled: an expression for each of its columns."""

    table: str
    columns: dict[str, str]
    file: str | None = None
    optional: bool = False
    kinds: dict[str, str] = {}

    @validate(mode="before")
    @classmethod
    def _split_columns_from_options(cls, raw: dict[str, Any]) -> Any:
        table, columns = raw["table"], TABLES[raw["table"]].columns
        amounts = [c.removesuffix("_cents") for c in columns if c.endswith("_cents")]
        options = ["file", "optional"] + ["kinds"] * (table in KINDS)
        keys = _known_keys(raw["keys"], columns + amounts + ["currency"] * bool(amounts) + options)
        fields = {key: text for key, text in keys.items() if key not in options}
        given = {key: keys[key] for key in options if key in keys}
        return {"table": table, "columns": fields, **given}

    @validate(mode="after")
    def _fill_the_table(self) -> Section:
        filled = Counter(map(self.target, self.columns))
        if missing := sorted(self.needed - set(filled)):
            raise ValueError(f"lacks {', '.join(missing)}")
        if twice := [c for c, times in filled.items() if times > 1]:
            raise ValueError(f"fills {twice[0]} twice, in cents and in units")
        if wrong := sorted(set(self.kinds.values()) - set(KINDS.get(self.table, ()))):
            raise ValueError(f"kinds: {wrong[0]!r} is not among {', '.join(KINDS[self.table])}")
        if self.file and (PurePath(self.file).is_absolute() or ".." in PurePath(self.file).parts):
            raise ValueError("file: must lie in the folder that is imported")
        try:
            self._check_kinds()
        except CycleError:
            raise ValueError("columns are derived from each other in a circle") from None
        return self

    def _check_kinds(self) -> None:
        for key, (text, name, days, _, is_ours) in self.expressions.items():
            kind, origin = self.kind(key), self.kind(name) if is_ours else self.kind(key)
            if origin not in (kind, "date" if kind == "instant" else kind):
                raise ValueError(f"{key}: {text!r} is of kind {origin}, {kind} is needed")
            if days and kind not in ("date", "instant"):
                raise ValueError(f"{key}: only dates move by days")

    @cached_property
    def expressions(self) -> dict[str, Expression]:
        """Expression of each column, a column after those it is derived from."""
        found = {
            k: Expression.of(text, self.columns.keys() - {k}) for k, text in self.columns.items()
        }
        needs = {key: {e.name} if e.is_ours else set() for key, e in found.items()}
        return {key: found[key] for key in TopologicalSorter(needs).static_order()}

    @property
    def needed(self) -> set[str]:
        """Columns of the contract that every row must fill; an invoice names the customer."""
        columns = TABLES[self.table].schema.columns
        needed = {name for name, column in columns.items() if not column.nullable} - DEFAULTED
        named = self.table != "invoices" and "invoice_id" in self.columns
        return needed - {"customer_id"} if named and "customer_id" not in self.columns else needed

    @property
    def source_columns(self) -> list[str]:
        """Columns that the source must have."""
        expressions = (self.expressions[key] for key in self.columns)
        return [e.name for e in expressions if e.constant is None and not e.is_ours]

    def target(self, key: str) -> str:
        """Column of the contract that `key` fills: ``amount`` fills ``amount_cents``."""
        return f"{key}_cents" if f"{key}_cents" in TABLES[self.table].columns else key

    def kind(self, key: str) -> str:
        """Tell the type of a value by the contract's conventions for names."""
        if key in ("is_natural_person", "recorded_assumed"):
            return "boolean"
        if self.target(key) != key:
            return "amount"
        kinds = {"on": "date", "at": "instant", "cents": "cents", "rate": "number"}
        return kinds.get(key.rpartition("_")[2], "text")

    def assumptions(self) -> Iterator[str]:
        """Say in words what the source does not."""
        for key, expression in self.expressions.items():
            if expression.is_assumed:
                yield f"{key} = {expression.text} (assumed)"
        if "recorded_at" not in self.columns:
            yield f"recorded_at = {TABLES[self.table].happened_on or EARLIEST.date()} (assumed)"


Currency = Annotated[str, Field(pattern="^[A-Z]{3}$")]
Rate = Annotated[float, Field(gt=0, le=1e6)]


class Mapping(_Strict):
    """A mapping file, validated."""

    format: Format
    currency: Currency
    tables: dict[str, Section]
    exchange_rates: dict[Currency, Rate] = {}
    absent: Annotated[tuple[str, ...], Strict(False)] = ()

    @validate(mode="before")
    @classmethod
    def _gather_tables(cls, raw: Any) -> Any:
        keys = _known_keys(raw, ["format", "currency", "exchange_rates", "absent", *TABLES])
        tables = {name: {"table": name, "keys": keys[name]} for name in TABLES if name in keys}
        if not tables:
            raise ValueError(f"fills no table; known: {', '.join(TABLES)}")
        return {key: keys[key] for key in keys if key not in TABLES} | {"tables": tables}

    @validate(mode="after")
    def _parse_constants(self) -> Mapping:
        for table, section in self.tables.items():
            for key, expression in section.expressions.items():
                if expression.constant is not None:
                    constant = pa.chunked_array([[expression.constant]], pa.string())
                    value, bad = _parse(constant, section.kind(key), self.format)
                    if value.isna().any() or any(mask.any() for mask in bad.values()):
                        raise ValueError(f"{table}.{key}: the constant is no {section.kind(key)}")
        if self.currency in self.exchange_rates:
            raise ValueError(f"exchange_rates.{self.currency}: the base currency has no rate")
        return self

    def assumptions(self, tables: Collection[str]) -> Iterator[str]:
        """Say in words what the source does not, and the mapping does."""
        for table in tables:
            yield from self.tables[table].assumptions()
        for code, rate in self.exchange_rates.items():
            yield f"1 {code} = {rate} {self.currency} at any date (assumed)"


def load_mapping(path: Path) -> Mapping:
    """Read and validate a mapping file.

    Raises
    ------
    MappingError
        With the file, the key and what is allowed there.
    """
    try:
        return Mapping.model_validate(yaml.safe_load(path.read_text("utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(k) for k in first["loc"] if k not in ("tables", "columns"))
        message = first["msg"].removeprefix("Value error, ")
        raise MappingError(f"{path}: {key + ': ' if key else ''}{message}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise MappingError(f"{path} cannot be read as YAML: {error}") from error


class _Feed:
    """Lines for the csv reader; it remembers those of the current record and takes lines back."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.taken: list[str] = []
        self.again: deque[str] = deque()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.again.popleft() if self.again else next(self._lines)
        self.taken.append(line)
        return line


def _records(feed: _Feed, separator: str) -> Iterator[tuple[int, list[str] | None]]:
    """Split records; give the first line of each, and None for one whose quotes are wrong.

    A quote that is never closed swallows the lines after it: only its own line is bad, the others
    are read again. `feed.taken` holds the text of the record.
    """
    reader = csv.reader(feed, delimiter=separator, strict=True)
    line = 1
    while True:
        fields = None
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error:
            feed.again.extendleft(reversed(feed.taken[1:]))
            del feed.taken[1:]
        yield line, fields
        line += len(feed.taken)
        feed.taken.clear()


@dataclass(frozen=True)
class _Source:
    """One file: its whole records, the line of each, and the lines that are no whole record."""

    file: str
    sha256: str
    records: pa.Table
    lines: NDArray[np.int64]
    broken: list[tuple[int, str, str]]  # line, reason, text

    @property
    def count(self) -> int:
        return len(self.lines) + len(self.broken)

    def column(self, expression: Expression) -> pa.ChunkedArray:
        if expression.constant is None:
            return self.records[expression.name]
        return pa.chunked_array([pa.repeat(expression.constant, len(self.lines))])


def _open(path: Path, needed: list[str], style: Format, advance: Callable[[int], None]) -> _Source:
    data = b""
    try:
        data = path.read_bytes()
        if not data:
            raise LedgerError("the file is empty")
        if style.type == "csv":
            records, lines, broken = _read_csv(data, needed, style, advance)
        else:
            records, lines, broken = _read_parquet(data, needed)
    except OSError as error:
        raise LedgerError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeError:
        raise LedgerError(f"{path}: {_undecodable(data, style.encoding)}") from None
    except LedgerError as error:
        raise LedgerError(f"{path}: {error}") from error
    advance(len(data))
    sha256 = hashlib.sha256(data).hexdigest()
    return _Source(path.name, sha256, records, np.array(lines, "int64"), broken)


def _read_parquet(
    data: bytes, needed: list[str]
) -> tuple[pa.Table, list[int], list[tuple[int, str, str]]]:
    try:
        records = pq.ParquetFile(pa.BufferReader(data)).read()
    except (pa.ArrowException, OSError) as error:
        raise LedgerError("this is no readable Parquet file; is its format.type csv?") from error
    _check_columns(records.column_names, needed)
    views = [pa.string() if t == pa.string_view() else t for t in records.schema.types]
    records = records.cast(pa.schema(zip(records.column_names, views, strict=True)))  # for take()
    return records, list(range(1, len(records) + 1)), []


def _read_csv(
    data: bytes, needed: list[str], style: Format, advance: Callable[[int], None]
) -> tuple[pa.Table, list[int], list[tuple[int, str, str]]]:
    _check_text(data, style.encoding)
    raw = io.BytesIO(data)
    is_utf8 = codecs.lookup(style.encoding).name == "utf-8"
    text = io.TextIOWrapper(raw, "utf-8-sig" if is_utf8 else style.encoding, newline="")
    feed = _Feed(text)
    records = _records(feed, style.separator)
    header = next((fields for _, fields in records if fields != []), None)
    names = _names(header or [])
    _check_columns(names, needed, "".join(feed.taken))
    cells: list[str] = []
    batches: list[pa.RecordBatch] = []
    lines: list[int] = []
    broken: list[tuple[int, str, str]] = []
    for line, fields in records:
        if fields is not None and len(fields) == len(names):
            cells += fields
            lines.append(line)
        elif fields != []:  # a blank line is no record
            reason = "bad_quotes" if fields is None else "wrong_number_of_fields"
            broken.append((line, reason, "".join(feed.taken).rstrip("\r\n")))
        if len(cells) >= len(names) * RECORDS_A_BATCH:
            batches.append(_batch(cells, names))
            cells.clear()
            advance(raw.tell())
    return pa.Table.from_batches([*batches, _batch(cells, names)]), lines, broken


def _batch(cells: list[str], names: list[str]) -> pa.RecordBatch:
    columns = [pa.array(cells[place :: len(names)], pa.string()) for place in range(len(names))]
    return pa.record_batch(columns, names=names)


def _names(header: list[str]) -> list[str]:
    stripped = (name.lstrip("\ufeff").strip() for name in header)
    return [name or f"column {place}" for place, name in enumerate(stripped, 1)]


def _check_columns(names: list[str], needed: list[str], header: str = "") -> None:
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise LedgerError(f"{len(twice)} column name(s) appear twice, first {twice[0]!r}")
    if not (missing := [name for name in needed if name not in names]):
        return
    message = f"the mapping needs {', '.join(needed)}; not found: {', '.join(missing)}"
    message += f"; the file has {', '.join(names) or 'no readable header'}"
    for other in SEPARATORS:
        if set(needed) <= set(_names(next(csv.reader([header], delimiter=other), []))):
            message += f"; with format.separator {other!r} they are all there"
    raise LedgerError(message)


def _check_text(data: bytes, encoding: str) -> None:
    for start, what in NOT_TEXT.items():
        if data.startswith(start):
            raise LedgerError(f"this is {what} file, not CSV")
    if "ab".encode(encoding).endswith(b"ab") and (at := data.find(0)) >= 0:  # not in UTF-16
        hint = f"; try format.encoding {_guess(data)}" if _guess(data).startswith("utf-16") else ""
        line = data.count(b"\n", 0, at) + 1
        raise LedgerError(f"line {line} holds a NUL byte: this is no {encoding} text{hint}")
    is_unicode = codecs.lookup(encoding).name.startswith("utf")
    if not is_unicode and not data.isascii() and _guess(data) == "utf-8":
        raise LedgerError(f"declared as {encoding}, this reads as utf-8: say encoding: utf-8")


def _undecodable(data: bytes, encoding: str) -> str:
    at = 0
    try:
        data.decode(encoding)
    except UnicodeDecodeError as error:
        at = error.start
    line = data[:at].decode(encoding, "ignore").count("\n") + 1
    return f"byte {at} (line {line}) is no {encoding}; try format.encoding {_guess(data)}"


def _guess(data: bytes) -> str:
    """Name an encoding that can read `data`."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if data.count(0) > len(data) / 4:
        return "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
    for encoding in ("utf-8", "cp1252"):
        with suppress(UnicodeDecodeError):
            data.decode(encoding)
            return encoding
    return "iso-8859-15"


def _parse(column: pa.ChunkedArray, kind: str, style: Format) -> Parsed:
    """Read a column of text or of typed values as `kind`."""
    if kind == "date":
        return _dates(column, style.date, whole_days=True)
    if kind == "instant":
        return _dates(column, style.instant or style.date, whole_days=False)
    text = _text(column)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        style = Format(type=style.type)  # we wrote the text of a typed column
    if kind in ("amount", "cents"):
        return _cents(text, style, decimals=2 if kind == "amount" else 0)
    if kind == "number":
        return _numbers(text, style)
    values: pd.Series = text.to_pandas()
    if kind == "boolean":
        found = values.str.lower().map(BOOLEANS).astype("boolean")
        return found.fillna(False).astype("bool"), {"bad_boolean": found.isna() & values.notna()}
    return values, {}


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Write any column as trimmed text, blank as null."""
    if pa.types.is_floating(column.type):  # Arrow would write 10000000000.0 as 1e+10
        exact = (None if x is None or np.isnan(x) else Decimal(repr(x)) for x in column.to_pylist())
        plain = [None if x is None else format(x.normalize(), "f") for x in exact]
        column = pa.chunked_array([pa.array(plain, pa.string())])
    text = pc.utf8_trim_whitespace(column.cast(pa.string()))
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


def _dates(column: pa.ChunkedArray, pattern: str, *, whole_days: bool) -> Parsed:
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        if whole_days and pa.types.is_timestamp(kind) and kind.tz:
            column = pc.local_timestamp(column)
        moments = column.cast(pa.timestamp("us"), safe=False).to_pandas()
        bad = moments.isna() & False
    else:
        text = _text(column).to_pandas()
        codes, distinct = pd.factorize(text)  # dates repeat: read each once
        moments = _strptime(pd.Series(distinct), pattern).reindex(codes).reset_index(drop=True)
        bad = moments.isna() & text.notna()
    if whole_days:
        moments = moments.dt.normalize()
    outside = (moments < EARLIEST) | (moments > LATEST)  # 9999-12-31 does not fit in nanoseconds
    values = moments.mask(outside).astype("datetime64[ns]")
    return values, {"bad_date": bad, "date_out_of_range": outside}


def _strptime(text: pd.Series, pattern: str) -> pd.Series:
    """Read instants written exactly so: ``2024-1-5`` is not ``%Y-%m-%d`` (``%Y-%-m-%-d`` is)."""
    lenient = pattern.replace("%-", "%")  # reading has no %-d, and takes %d with or without 0
    moments = pd.to_datetime(text, format=lenient, errors="coerce", utc=True).dt.tz_localize(None)
    if "%z" in pattern or "%f" in pattern:  # not written back as they were
        return moments
    return moments.where(moments.dt.strftime(pattern).str.lower() == text.str.lower())


def _cents(text: pa.ChunkedArray, style: Format, *, decimals: int) -> Parsed:
    """Read amounts as integer cents, digit by digit: ``-1 234,50`` → ``-``, ``1 234``, ``5``."""
    groups = GROUPINGS.get(style.thousands or "", style.thousands)
    whole = rf"\d{{1,3}}(?:[{groups}]\d{{3}})+|\d+" if groups else r"\d+"
    pattern = rf"^(?:[+]|(?P<sign>-))?(?P<whole>{whole})(?:[{style.decimal}](?P<rest>\d+?)0*)?$"
    parts = pc.extract_regex(text, pattern)
    sign, whole, rest = (pc.struct_field(parts, [place]) for place in range(3))
    whole, rest = pc.replace_substring_regex(whole, r"\D", ""), pc.utf8_rtrim(rest, "0")
    fits = pc.fill_null(pc.less_equal(pc.utf8_length(whole), 17 - decimals), False)
    fine = pc.fill_null(pc.less_equal(pc.utf8_length(rest), decimals), True)
    digits = pc.binary_join_element_wise(sign, whole, pc.utf8_rpad(rest, decimals, "0"), "")
    cents = pc.if_else(pc.and_(fits, fine), digits, pa.scalar(None, pa.string())).cast(pa.int64())
    bad = pc.and_(pc.is_valid(text), pc.invert(fits)).to_numpy()
    too_fine = pc.and_(fits, pc.invert(fine)).to_numpy()
    values = cents.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    return values, {
        "bad_amount": bad,
        "amount_has_more_than_two_decimals" if decimals else "cents_are_not_whole": too_fine,
    }


def _numbers(text: pa.ChunkedArray, style: Format) -> Parsed:
    plain = pc.replace_substring(text, style.decimal, ".")
    good = pc.match_substring_regex(plain, r"^[+-]?\d+(\.\d+)?$")
    values = pc.if_else(good, plain, pa.scalar(None, pa.string())).cast(pa.float64())
    return values.to_pandas(), {"bad_number": pc.fill_null(pc.invert(good), False).to_numpy()}


class _Facts(NamedTuple):
    """Rows of one table to check, the records that cannot be read, how many are set aside."""

    rows: pd.DataFrame
    faults: pd.DataFrame
    aside: int


def _faults(rows: Any, column: str, reason: str) -> pd.DataFrame:
    return pd.DataFrame({"row": rows, "column": column, "reason": reason})


def _facts(section: Section, source: _Source, mapping: Mapping, *, shares: bool) -> _Facts:
    """Fill one table; `shares` says that other tables read the same records."""
    rows, faults = _values(section, source, mapping)
    aside = rows.index[:0]
    if shares and section.table == "settlements":
        dates = faults[faults["column"] == "settled_on"].drop_duplicates("row")
        aside = pd.Index(dates.loc[dates["reason"] == "missing_value", "row"])
    if shares and section.table == "customers":
        aside = _repeated(rows.drop(index=pd.Index(faults["row"].unique())))
    faults = faults[~faults["row"].isin(aside)].drop_duplicates("row")
    return _Facts(rows.drop(index=aside.union(pd.Index(faults["row"]))), faults, len(aside))


def _repeated(customers: pd.DataFrame) -> pd.Index:
    """Find the lines that name a customer again, with the same content; the first known stays."""
    if "recorded_at" in customers:
        customers = customers.sort_values("recorded_at", kind="stable")
    return customers.index[customers.filter(regex=r"^(?!recorded)").duplicated()]


def _values(
    section: Section, source: _Source, mapping: Mapping
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Evaluate the expressions of a table on every record."""
    values: dict[str, pd.Series] = {}
    faults = [_faults(np.array([], "int64"), "", "")]
    for key, expression in section.expressions.items():
        target, bad = section.target(key), dict[str, Any]()
        if expression.is_ours:
            value = values[section.target(expression.name)]
        else:
            value, bad = _read_column(source, expression, section.kind(key), mapping.format)
            if target in section.needed:
                bad |= {"missing_value": value.isna()}  # after the reasons why it is null
        values[target] = value + pd.Timedelta(days=expression.days) if expression.days else value
        faults += [_faults(np.flatnonzero(m), target, reason) for reason, m in bad.items()]
    if section.kinds:
        values["kind"] = values["kind"].map(section.kinds).fillna(values["kind"]).astype("str")
    if "recorded_at" in values and section.expressions["recorded_at"].is_assumed:
        values.setdefault("recorded_assumed", values["recorded_at"].notna() | True)
    if "currency" in values:
        faults += _convert(values, section, source, mapping)
    return pd.DataFrame(values, index=pd.RangeIndex(len(source.lines))), pd.concat(faults)


def _read_column(source: _Source, expression: Expression, kind: str, style: Format) -> Parsed:
    column = source.column(expression)
    try:
        return _parse(column, kind, style)
    except pa.ArrowException as error:
        what = f"column {expression.name!r} of type {column.type}"
        raise LedgerError(f"{source.file}: {what} cannot be read as {kind}") from error


def _convert(
    values: dict[str, pd.Series], section: Section, source: _Source, mapping: Mapping
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
        written = _text(source.column(amount)).to_pandas()
        values |= {"original_amount": written, "original_currency": theirs}


def _name_debtors(facts: _Facts, invoices: pd.DataFrame | None, known: Known) -> _Facts:
    """Give each row the customer of its invoice, when the source does not name him."""
    rows, debtors = facts.rows, known.debtors
    if invoices is not None:
        debtors = pd.concat([debtors, invoices.set_index("invoice_id")["customer_id"]])
    debtors = debtors[debtors.index.notna() & ~debtors.index.duplicated()]
    place = debtors.index.get_indexer(pd.Index(rows["invoice_id"]))
    missing = rows["invoice_id"].isna().to_numpy()
    faults = [
        facts.faults,
        _faults(rows.index[missing], "invoice_id", "missing_value"),
        _faults(rows.index[~missing & (place < 0)], "invoice_id", "unknown_invoice"),
    ]
    named = rows[place >= 0].assign(customer_id=debtors.array.take(place[place >= 0]))
    return _Facts(named, pd.concat(faults), facts.aside)


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
    source: Path, mapping: Mapping, known: Known | None = None, progress: Progress | None = None
) -> Imported:
    """Import a file, or a folder whose files the mapping names.

    Parameters
    ----------
    source : Path
        File; or folder, when the sections of `mapping` have a ``file``.
    mapping : Mapping
        See :func:`load_mapping`.
    known : Known, optional
        Customers and invoices that earlier imports brought.
    progress : callable, optional
        Told the bytes done and their total, now and then.

    Raises
    ------
    LedgerError
        If a file as a whole cannot be read; bad rows are among the rejects instead.
    """
    known = known or Known()
    paths = _paths(source, mapping)
    sources = _open_all(paths, mapping, progress or (lambda done, total: None))
    files = Counter(paths.values())
    facts: dict[str, _Facts] = {}
    for table, path in paths.items():
        section = mapping.tables[table]
        facts[table] = _facts(section, sources[path], mapping, shares=files[path] > 1)
        if "customer_id" not in section.columns:
            invoices = facts["invoices"].rows if "invoices" in facts else None
            facts[table] = _name_debtors(facts[table], invoices, known)
    ledger, broken = check({t: f.rows for t, f in facts.items()}, mapping.currency, known)
    rejects, accounts = [], {}
    for table, (_, faults, aside) in facts.items():
        found = pd.concat([faults, broken.loc[broken["table"] == table, list(faults)]])
        rejects.append(_rejects(table, sources[paths[table]], found))
        counts = (sources[paths[table]].count, len(ledger[table]), len(rejects[-1]))
        customers = table == "customers"
        accounts[table] = Account(*counts, aside * customers, aside * (not customers))
    return Imported(
        ledger=ledger,
        rejects=pd.concat(rejects, ignore_index=True),
        rows_read=sum(opened.count for opened in sources.values()),
        assumptions=tuple(dict.fromkeys(mapping.assumptions(paths))),
        absent=(*mapping.absent, *(table for table in mapping.tables if table not in paths)),
        sources=tuple((opened.file, opened.sha256) for opened in sources.values()),
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


def _open_all(paths: dict[str, Path], mapping: Mapping, progress: Progress) -> dict[Path, _Source]:
    sizes = {path: path.stat().st_size for path in paths.values() if path.exists()}
    sources: dict[Path, _Source] = {}
    for path in dict.fromkeys(paths.values()):
        sections = [mapping.tables[table] for table in paths if paths[table] == path]
        needed = dict.fromkeys(name for section in sections for name in section.source_columns)
        done = sum(sizes[earlier] for earlier in sources)

        def advance(at: int, done: int = done) -> None:
            progress(done + at, sum(sizes.values()))

        sources[path] = _open(path, list(needed), mapping.format, advance)
    if not any(opened.count for opened in sources.values()):
        raise LedgerError(f"{next(iter(sources))} has a header and no rows")
    return sources


def _rejects(table: str, source: _Source, found: pd.DataFrame) -> pd.DataFrame:
    """List the bad records of one table as its source wrote them."""
    place = found["row"].to_numpy("int64")
    records = source.records.take(pa.array(place)).to_pylist()
    raw = [{k: None if v is None else str(v) for k, v in record.items()} for record in records]
    whole = zip(source.lines[place], found["column"], found["reason"], raw, strict=True)
    broken = [(line, None, reason, {"text": text}) for line, reason, text in source.broken]
    rows = [(*reject, json.dumps(row, ensure_ascii=False)) for *reject, row in [*whole, *broken]]
    rejects = pd.DataFrame(rows, columns=["line", "column", "reason", "row"])
    rejects = rejects.assign(table=table, file=source.file).sort_values("line", kind="stable")
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
