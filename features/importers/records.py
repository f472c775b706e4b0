"""Files → records: the text of each column, and the line of the file that each record starts on.

A line that is no whole record is kept beside them, with its reason. A file that cannot be read as
a whole is an error, which says what would help and quotes nothing that may be customer data.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import re
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.importers.formats import Format
from features.ledger import LedgerError

RECORDS_A_BATCH = 65_536
LONGEST_LINE = 131_072  # a longer field is broken for the csv module
SEPARATORS = (",", ";", "\t", "|")
NOT_TEXT = {b"PAR1": "a Parquet", b"PK\x03\x04": "an Excel or zip", b"\x1f\x8b": "a gzip"}
NOT_SHOWN = "not shown: they may be data, if the header is missing"
NUMBER_OR_DATE = re.compile(r"\W*\d")  # 80.50, -5, 2024-01-31, 31 janv. 2024


class Broken(NamedTuple):
    """A line that is no whole record."""

    line: int
    reason: str
    text: str


Content = tuple[pa.Table, Sequence[int], list[Broken]]


@dataclass(frozen=True)
class Records:
    """One file: its whole records, as text when it is CSV, the line of each, the broken lines."""

    file: str
    sha256: str
    whole: pa.Table
    lines: NDArray[np.int64]
    broken: list[Broken]
    parsed: dict[tuple[str, str], Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def count(self) -> int:
        """Number of records, whole or broken; a blank line is none."""
        return len(self.lines) + len(self.broken)


def read_records(
    path: Path, needed: Collection[str], style: Format, advance: Callable[[int], None]
) -> Records:
    """Read a file that must have the columns `needed`; `advance` is told the bytes done.

    Raises
    ------
    LedgerError
        If the file is empty, of another format or encoding, or lacks a column.
    """
    data = b""
    try:
        data = path.read_bytes()
        if not data:
            raise LedgerError("the file is empty")
        if style.type == "csv":
            whole, lines, broken = _read_csv(data, needed, style, advance)
        else:
            whole, lines, broken = _read_parquet(data, needed)
    except OSError as error:
        raise LedgerError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeError:
        raise LedgerError(f"{path}: {_undecodable(data, style.encoding)}") from None
    except LedgerError as error:
        raise LedgerError(f"{path}: {error}") from error
    advance(len(data))
    sha256 = hashlib.sha256(data).hexdigest()
    return Records(path.name, sha256, whole, np.array(lines, "int64"), broken)


def _read_parquet(data: bytes, needed: Collection[str]) -> Content:
    try:
        table = pq.ParquetFile(pa.BufferReader(data)).read()
    except (pa.ArrowException, OSError) as error:
        raise LedgerError("this is no readable Parquet file; is its format.type csv?") from error
    _check_columns(table.column_names, needed)
    views = [pa.string() if t == pa.string_view() else t for t in table.schema.types]
    table = table.cast(pa.schema(zip(table.column_names, views, strict=True)))  # for take()
    return table, range(1, len(table) + 1), []


def _read_csv(
    data: bytes, needed: Collection[str], style: Format, advance: Callable[[int], None]
) -> Content:
    _check_text(data, style.encoding)
    raw = io.BytesIO(data)
    is_utf8 = codecs.lookup(style.encoding).name == "utf-8"
    text = io.TextIOWrapper(raw, "utf-8-sig" if is_utf8 else style.encoding, newline="")
    feed = _Feed(text)
    records = _split(feed, style.separator)
    header = next((fields for _, fields in records if fields != []), None)
    names = _names(header or [])
    _check_columns(names, needed, "".join(feed.taken))
    if is_utf8 and (table := _read_plain(data, names, style.separator)) is not None:
        return table, range(2, len(table) + 2), []
    lines: list[int] = []
    broken: list[Broken] = []

    def whole() -> Iterator[list[str]]:
        for line, fields in records:
            if fields is not None and len(fields) == len(names):
                lines.append(line)
                yield fields
            elif fields != []:  # a blank line is no record
                reason = "bad_quotes" if fields is None else "wrong_number_of_fields"
                broken.append(Broken(line, reason, "".join(feed.taken).rstrip("\r\n")))

    rows, batches = whole(), []
    while cells := list(chain.from_iterable(islice(rows, RECORDS_A_BATCH))):
        columns = [pa.array(cells[place :: len(names)], pa.string()) for place in range(len(names))]
        batches.append(pa.record_batch(columns, names=names))
        advance(raw.tell())
    schema = pa.schema([(name, pa.string()) for name in names])
    return pa.Table.from_batches(batches, schema), lines, broken


def _read_plain(data: bytes, names: list[str], separator: str) -> pa.Table | None:
    """Read a file where every line is a record, many times faster; ``None`` for any other."""
    ends = data.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n")
    if any(odd in ends for odd in (b'"', b"\r", b"\n\n")) or ends.startswith(b"\n"):
        return None
    try:
        return pa.csv.read_csv(
            pa.BufferReader(ends),
            pa.csv.ReadOptions(column_names=names, skip_rows=1, block_size=LONGEST_LINE // 2),
            pa.csv.ParseOptions(delimiter=separator, quote_char=False),
            pa.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowException:  # a line with too few fields, or too long, or bytes that are no text
        return None


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


def _split(feed: _Feed, separator: str) -> Iterator[tuple[int, list[str] | None]]:
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


def _names(header: list[str]) -> list[str]:
    stripped = (name.lstrip("\ufeff").strip() for name in header)
    return [name or f"column {place}" for place, name in enumerate(stripped, 1)]


def _check_columns(names: list[str], needed: Collection[str], header: str = "") -> None:
    named = _are_names(names, needed)
    found = ", ".join(names) if named else f"{len(names)} column(s), {NOT_SHOWN}"
    missing = [name for name in needed if name not in names]
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        which = f", first {twice[0]!r}" if named else f"; the file has {found}"
        raise LedgerError(f"{len(twice)} column name(s) appear twice{which}")
    if not missing:
        return
    message = f"the mapping needs {', '.join(needed)}; not found: {', '.join(missing)}"
    message += f"; the file has {found if names else 'no readable header'}"
    for other in SEPARATORS:
        if set(needed) <= set(_names(next(csv.reader([header], delimiter=other), []))):
            message += f"; with format.separator {other!r} they are all there"
    raise LedgerError(message)


def _are_names(names: list[str], needed: Collection[str]) -> bool:
    """Tell names from data: without a header the first line is a customer's, and not quoted."""
    return not set(names).isdisjoint(needed) and not any(map(NUMBER_OR_DATE.match, names))


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
