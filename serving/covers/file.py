"""Covers of a CSV or JSON file, as a broker or an insurer's extranet exports them.

The file is read again when it changes, as a whole or not at all: while a new one is broken, the
last good one speaks, and what it says is stale. A row that breaks a rule is put aside with its
line and the reason, and its customer's cover is then not confirmed: the row might have ended it.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock, Thread
from typing import Any, NamedTuple

import structlog
from pydantic import ConfigDict, ValidationError

from models.insurance import Cover, InsuranceRules
from models.insurance_file import FileSource
from serving.covers.rows import JSON, CoverRow, Currency, Identifier, faults
from serving.covers.said import Found, Outage, found_among

log = structlog.get_logger()

REQUIRED = {"customer_id", "currency", "amount", "starts_on", "ends_on"}
OPTIONAL = {"insured_rate", "decided_at"}
LONGEST_WAIT_SECONDS = 0.3  # of an order, for a file that has just changed
BLANK = re.compile(r"[ \t\r\n]*")


class Reject(NamedTuple):
    """A row put aside: its line in the file, from 1, and the reason, without its content."""

    line: int
    reason: str


class FileRow(CoverRow):
    """One row of the file; unknown fields are faults here, for a person may have misspelt one."""

    model_config = ConfigDict(extra="forbid")

    customer_id: Identifier
    currency: Currency


@dataclass(frozen=True)
class _Content:
    """A file that was read: covers by customer, what was put aside, when it was written."""

    covers: dict[str, list[Cover]] = field(default_factory=dict)
    rejects: tuple[Reject, ...] = ()
    doubtful: frozenset[str] = frozenset()
    written_at: datetime | None = None
    is_broken: bool = False  # a newer file cannot be used


class _Broken(ValueError):
    """The file as a whole cannot be used."""


_Stamp = tuple[int, int, int, int]


class FileCovers:
    """Gives the covers of a file.

    Parameters
    ----------
    source : FileSource
        The file and when it is stale.
    rules : InsuranceRules
        Whose insured share holds where a row has none.
    currency : str
        ISO 4217, of the ledger: a row in another one is put aside.
    """

    def __init__(self, source: FileSource, rules: InsuranceRules, currency: str) -> None:
        self._source, self._path = source, Path(source.path)
        self._rate, self._currency = rules.insured_rate, currency
        self._content = _Content()
        self._stamp: _Stamp | None = None
        self._has_looked = False
        self._is_shut = False  # the file is there and could not be opened: try again each time
        self._reading = Lock()

    @property
    def rejects(self) -> tuple[Reject, ...]:
        """Rows of the file in use that were put aside."""
        return self._content.rejects

    def cover(self, customer_id: str, at: datetime) -> Found | None:
        """Return the cover; see :meth:`CoverProvider.cover`."""
        self._refresh()
        content = self._content
        if content.written_at is None:  # no good file yet
            return Found(None, None, "file_unreadable")
        age = at - content.written_at
        outage = self._outage(content, customer_id, age)
        covers = content.covers.get(customer_id, ())
        return found_among(covers, at, content.written_at, outage)

    def _outage(self, content: _Content, customer_id: str, age: timedelta) -> Outage | None:
        if content.is_broken:
            return "file_unreadable"
        if customer_id in content.doubtful:
            return "rows_refused"
        return "file_old" if age > timedelta(days=self._source.stale_after_days) else None

    def _refresh(self) -> None:
        """Read the file when it changed; a large one does not hold this answer, only the first."""
        is_first = not self._has_looked
        if not self._reading.acquire(blocking=is_first):
            return  # another thread reads it: what was read before speaks meanwhile
        stamp = _stamp_of(self._path)
        if self._has_looked and stamp == self._stamp and not (self._is_shut and stamp):
            self._reading.release()
            return
        reader = Thread(target=self._read_again, args=(stamp,), daemon=True)
        try:
            reader.start()
        except RuntimeError:  # the machine has no thread left: the next order tries again
            self._reading.release()
            return
        reader.join(None if is_first else LONGEST_WAIT_SECONDS)

    def _read_again(self, stamp: _Stamp | None) -> None:
        self._is_shut = False
        try:
            self._content = self._parsed()
            self._report()
        except (_Broken, OSError, MemoryError) as error:
            self._is_shut = isinstance(error, OSError)
            reason = str(error) if isinstance(error, _Broken) else type(error).__name__
            if stamp != self._stamp or not self._content.is_broken:  # else it was said
                log.error("cover_file_refused", path=str(self._path), reason=reason)
            self._content = replace(self._content, is_broken=True)
        finally:
            self._stamp, self._has_looked = stamp, True
            self._reading.release()

    def _report(self) -> None:
        if rejects := self._content.rejects:
            first = [f"line {line}: {reason}" for line, reason in rejects[:3]]
            log.error("cover_rows_refused", path=str(self._path), rows=len(rejects), first=first)

    def _parsed(self) -> _Content:
        with self._path.open("rb") as file:
            status = os.fstat(file.fileno())
            body = file.read(self._source.largest_file_bytes + 1)
        if len(body) > self._source.largest_file_bytes:
            raise _Broken(f"is larger than {self._source.largest_file_bytes} bytes")
        try:
            text = body.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise _Broken("is not UTF-8") from error
        rows = _csv_rows(text) if self._path.suffix == ".csv" else _json_rows(text)
        return self._sorted_out(rows, datetime.fromtimestamp(status.st_mtime, UTC))

    def _sorted_out(self, rows: Iterable[tuple[int, Any]], written_at: datetime) -> _Content:
        covers: dict[str, list[Cover]] = defaultdict(list)
        rejects, doubtful = [], set()
        for line, raw in rows:
            try:
                row = FileRow.model_validate(raw)
                reason = "" if row.currency == self._currency else f"is not in {self._currency}"
            except ValidationError as error:
                reason = faults(error)
            if not reason:
                covers[row.customer_id].append(row.cover("file", self._rate))
                continue
            rejects.append(Reject(line, reason))
            customer_id = raw.get("customer_id") if isinstance(raw, dict) else None
            if isinstance(customer_id, str):
                doubtful.add(customer_id)
        return _Content(dict(covers), tuple(rejects), frozenset(doubtful), written_at)


def _stamp_of(path: Path) -> _Stamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    # What is copied may keep its date, and what replaces it take its place on the disk.
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


def _csv_rows(text: str) -> Iterator[tuple[int, Any]]:
    """Yield each record with the line it ends on; an empty field is null."""
    separator = ";" if ";" in text.partition("\n")[0] else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(header)
        for values in reader:
            if values:  # else an empty line
                yield reader.line_num, _record(header, values)
    except csv.Error as error:
        raise _Broken(f"line {reader.line_num} is not CSV: {error}") from error


def _check_header(header: list[str]) -> None:
    if missing := sorted(REQUIRED - set(header)):
        raise _Broken(f"has no column {', '.join(missing)}")
    if len(set(header)) < len(header) or set(header) - REQUIRED - OPTIONAL:
        raise _Broken(f"has other columns than {', '.join(sorted(REQUIRED | OPTIONAL))}")


def _record(header: list[str], values: list[str]) -> dict[str, Any]:
    record: dict[str, Any] = {
        name: value.strip() or None for name, value in zip(header, values, strict=False)
    }
    if len(values) > len(header):
        record["more fields than the header"] = True
    if rate := record.get("insured_rate"):
        record["insured_rate"] = _number(rate)
    return record


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text  # the row's check says what is wrong


def _json_rows(text: str) -> Iterator[tuple[int, Any]]:
    """Yield each item of the one array with the line it starts on."""
    place, line = _skip(text, 0), 1
    if text[place : place + 1] != "[":
        raise _Broken("is not a JSON array of covers")
    counted, place, separator = 0, _skip(text, place + 1), "["
    while text[place : place + 1] != "]" or separator == ",":
        line, counted = line + text.count("\n", counted, place), place
        try:
            item, place = JSON.raw_decode(text, place)
        except (ValueError, RecursionError) as error:
            raise _Broken(f"line {line} is not JSON") from error
        yield line, item
        place = _skip(text, place)
        separator = text[place : place + 1]
        if separator == ",":
            place = _skip(text, place + 1)
        elif separator != "]":
            raise _Broken(f"the array is not closed after line {line}")
    if _skip(text, place + 1) != len(text):
        raise _Broken("has something after its array")


def _skip(text: str, place: int) -> int:
    blank = BLANK.match(text, place)
    return blank.end() if blank else place
