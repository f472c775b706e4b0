"""Accounting file (FEC) → its lines, typed; whatever separator, encoding and habits it has.

The line ``VE|Ventes|12|20240115|411000|Clients|C-17|Morel|F-9|20240115|Facture|00120,00||A||||``
becomes a debit of 12000 cents on account 411000 of C-17, lettered A. A line that cannot be read is
kept beside them with its number and reason. Sources: LPF art. A47 A-1 (18 columns, tab or pipe,
dates YYYYMMDD, decimal comma, Debit and Credit or Montant and Sens); BOI-CF-IOR-60-40-20.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features.importers.formats import Format, as_text, parse
from features.importers.records import Broken
from features.ledger import LedgerError

LINES_A_BATCH = 100_000
HEADER_BYTES = 4_096
SEPARATORS = ("\t", "|", ";")
MOST_BLANKS_AT_THE_END = 8
BLANKS = " \t\u00a0\u202f\ufeff"
COLUMNS = {  # ours ← theirs, lower case
    "journal": "journalcode",
    "journal_name": "journallib",
    "number": "ecriturenum",
    "booked_on": "ecrituredate",
    "account": "comptenum",
    "account_name": "comptelib",
    "auxiliary": "compauxnum",
    "auxiliary_name": "compauxlib",
    "piece": "pieceref",
    "piece_on": "piecedate",
    "letter": "ecriturelet",
    "validated_on": "validdate",
}
NEEDED = ("journalcode", "ecriturenum", "ecrituredate", "comptenum")
AMOUNTS = (("debit", "credit"), ("montant", "sens"))
DIRECTIONS = {"D": 1, "+1": 1, "1": 1, "+": 1, "C": -1, "-1": -1, "-": -1}
DATE_SHAPES = {r"\d{8}": "%Y%m%d", r"\d\d/\d\d/\d{4}": "%d/%m/%Y", r"\d{4}-\d\d-\d\d": "%Y-%m-%d"}
NO_DATE = r"^[0\s/-]+$"  # 00000000
CUSTOMER_ACCOUNT = re.compile(r'(?:^|[\t|;])\s*"?41[1369]\w*"?\s*(?=[\t|;])')

Masks = dict[str, np.ndarray]


@dataclass(frozen=True)
class Lines:
    """The lines of a file.

    Attributes
    ----------
    file, sha256, encoding, separator : str
        Where they come from, and how it was written.
    table : DataFrame
        ``line`` (the header is line 1), the keys of :data:`COLUMNS`, and ``cents``: debit less
        credit, so that a negative debit is a credit.
    broken : list of Broken
        Lines that cannot be read, with their reason and text.
    count : int
        Lines after the header, blank ones not counted.
    """

    file: str
    sha256: str
    encoding: str
    separator: str
    table: pd.DataFrame
    broken: list[Broken]
    count: int
    texts: Sequence[str]

    def text(self, line: int) -> str:
        """Give line `line` as it was written."""
        return self.texts[line - 1]


@dataclass(frozen=True)
class Header:
    """Names of the columns, lower case, and the character between them."""

    separator: str
    names: tuple[str, ...]
    line: int
    padding: str

    @property
    def amounts(self) -> tuple[str, str]:
        """Columns of the amount: debit and credit, or amount and direction."""
        return next(pair for pair in AMOUNTS if set(pair) <= set(self.names))

    @property
    def is_fec(self) -> bool:
        """Whether the columns that an import needs are there."""
        names = set(self.names)
        return names.issuperset(NEEDED) and any(names.issuperset(pair) for pair in AMOUNTS)


def sniff(data: bytes) -> Header | None:
    """Read the header of a file from its first bytes; ``None`` when it is no FEC."""
    with suppress(LedgerError):
        text, _ = decode(data, whole=False)
        header = _header(_lines(text))
        return header if header.is_fec else None
    return None


def read_lines(path: Path, progress: Callable[[int, int], None]) -> Lines:
    """Read the lines of a FEC; `progress` is told the bytes done and their total.

    Raises
    ------
    LedgerError
        If the file is empty, of unknown encoding, no FEC, or cut in its last line.
    """
    try:
        data = path.read_bytes()
        text, encoding = decode(data)
        texts = _lines(text)
        header = _header(texts)
        _check_header(header)
        batches, broken = _split(texts, header, lambda share: progress(int(share), len(data)))
        table, bad = _typed(batches, header)
    except OSError as error:
        raise LedgerError(f"{path} cannot be read: {error.strerror}") from error
    except LedgerError as error:
        raise LedgerError(f"{path}: {error}") from error
    broken += [Broken(line, reason, texts[line - 1]) for line, reason in bad]
    progress(len(data), len(data))
    return Lines(
        path.name,
        hashlib.sha256(data).hexdigest(),
        encoding,
        header.separator,
        table,
        sorted(broken),
        len(table) + len(broken),
        texts,
    )


def decode(data: bytes, *, whole: bool = True) -> tuple[str, str]:
    """Decode a file, and name its encoding: UTF-8 if it can be, else the one its bytes fit.

    Bytes 0x80–0x9F are characters in cp1252 and controls in ISO-8859-15, which has the euro at
    0xA4. A part of a file may end within a character.
    """
    if not data.strip():
        raise LedgerError("the file is empty")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "strict" if whole else "ignore"), "utf-16"
    if (at := data.find(0)) >= 0:
        raise LedgerError(f"line {_line_of(data, at)} holds a NUL byte: this is no text")
    with suppress(UnicodeDecodeError):
        return codecs.getincrementaldecoder("utf-8-sig")().decode(data, whole), "utf-8"
    encoding = "cp1252" if re.search(rb"[\x80-\x9f]", data) else "iso-8859-15"
    try:
        return data.decode(encoding), encoding
    except UnicodeDecodeError as error:
        where = f"byte {error.start} (line {_line_of(data, error.start)})"
        raise LedgerError(f"{where} is no UTF-8, ISO-8859-15 or cp1252") from None


def _line_of(data: bytes, at: int) -> int:
    return len(_lines(data[:at].decode("latin-1")))


def _lines(text: str) -> list[str]:
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _header(texts: Sequence[str]) -> Header:
    place = next(i for i, text in enumerate(texts) if text.strip())
    first = texts[place]
    separator = max(SEPARATORS, key=first.count)
    names = [name.strip().strip('"').strip().lower() for name in first.split(separator)]
    while names and not names[-1]:
        del names[-1]
    padding = BLANKS + '"' * first.lstrip(BLANKS).startswith('"')
    return Header(separator, tuple(names), place + 1, padding)


def _check_header(header: Header) -> None:
    """Refuse what is no FEC, and quote none of it: without a header it may be data."""
    if header.is_fec:
        if len(set(header.names)) < len(header.names):
            twice = next(name for name in header.names if header.names.count(name) > 1)
            raise LedgerError(f"line {header.line}: column {twice!r} appears twice")
        return
    missing = [name for name in NEEDED if name not in header.names]
    if not any(set(header.names).issuperset(pair) for pair in AMOUNTS):
        missing.append("debit and credit, or montant and sens")
    raise LedgerError(
        f"this is no FEC: line {header.line} must name the 18 columns of LPF art. A47 A-1, "
        f"not found: {', '.join(missing)}"
    )


def _split(
    texts: Sequence[str], header: Header, advance: Callable[[float], None]
) -> tuple[pa.Table, list[Broken]]:
    """Split lines into the columns that are read, and ``line``; set aside those that do not fit."""
    wanted = [name for name in (*COLUMNS.values(), *header.amounts) if name in header.names]
    schema = pa.schema([("line", pa.int64()), *((name, pa.string()) for name in wanted)])
    batches, broken, done = [], list[Broken](), 0.0
    for start in range(header.line, len(texts), LINES_A_BATCH):
        part = pa.array(texts[start : start + LINES_A_BATCH], pa.string())
        written = pc.not_equal(pc.utf8_trim_whitespace(part), "").to_numpy(zero_copy_only=False)
        numbers = start + 1 + np.flatnonzero(written)
        part, fits = _trimmed(part.filter(pa.array(written)), header)
        broken += [
            Broken(int(line), "wrong_number_of_fields", texts[line - 1]) for line in numbers[~fits]
        ]
        columns = _columns(part.filter(pa.array(fits)), header, wanted)
        batches.append(pa.record_batch([pa.array(numbers[fits]), *columns], schema=schema))
        done += float(pc.sum(pc.binary_length(part)).as_py() or 0)
        advance(done)
    _check_end(texts, header, broken)
    if not any(map(len, batches)) and not broken:
        raise LedgerError("the file has a header and no lines")
    return pa.Table.from_batches(batches, schema), broken


def _trimmed(part: pa.Array, header: Header) -> tuple[pa.Array, np.ndarray]:
    """Take separators off the end of lines that have more than columns; say which lines fit."""
    between = len(header.names) - 1
    extra = pc.count_substring(part, header.separator).to_numpy() - between
    for n in range(1, MOST_BLANKS_AT_THE_END + 1):
        if not (extra == n).any():
            continue
        ends = pc.ends_with(part, header.separator * n).to_numpy(zero_copy_only=False)
        longer = (extra == n) & ends
        part = pc.if_else(pa.array(longer), pc.utf8_slice_codeunits(part, 0, -n), part)
        extra[longer] = 0
    return part, extra == 0


def _columns(part: pa.Array, header: Header, wanted: Sequence[str]) -> list[pa.Array]:
    width = len(header.names)
    cells = pc.split_pattern(part, header.separator).flatten()
    places = (header.names.index(name) for name in wanted)
    columns = [cells.take(pa.array(np.arange(at, len(cells), width))) for at in places]
    return [pc.utf8_trim(column, header.padding) for column in columns]


def _check_end(texts: Sequence[str], header: Header, broken: list[Broken]) -> None:
    """Refuse a file whose last line is short: what else was cut off nobody knows."""
    last = next(i for i in range(len(texts), 0, -1) if texts[i - 1].strip())
    if broken and broken[-1].line == last:
        fields = texts[last - 1].count(header.separator) + 1
        if fields < len(header.names):
            raise LedgerError(
                f"line {last}, the last, has {fields} of {len(header.names)} fields: "
                "the file was cut short"
            )


def _typed(batches: pa.Table, header: Header) -> tuple[pd.DataFrame, list[tuple[int, str]]]:
    """Read dates and amounts; give the good lines, and number and reason of the others."""
    style = _style(batches["ecrituredate"])
    cents, bad = _cents(batches, header, style)
    rows = {"line": batches["line"].to_numpy(), "cents": cents}
    for ours, theirs in COLUMNS.items():
        column = batches[theirs] if theirs in header.names else _blank(len(batches))
        if ours.endswith("_on"):
            rows[ours], wrong = _dates(column, style)
            bad |= wrong if ours == "booked_on" else {}
        else:
            rows[ours] = as_text(column).to_pandas().astype("str")
    table = pd.DataFrame(rows)
    table["booked_on"] = table["booked_on"].fillna(table["piece_on"])
    bad["missing_date"] = table["booked_on"].isna().to_numpy()
    bad["missing_account"] = table["account"].isna().to_numpy()
    reasons = pd.Series(None, table.index, dtype=object)
    for reason, mask in reversed(bad.items()):
        reasons[mask] = reason
    good = reasons.isna()
    faults = list(zip(table.loc[~good, "line"].tolist(), reasons[~good], strict=True))
    return table[good].reset_index(drop=True), faults


def _blank(n: int) -> pa.ChunkedArray:
    return pa.chunked_array([pa.nulls(n, pa.string())])


def _style(dates: pa.ChunkedArray) -> Format:
    """Tell how the file writes dates by its first one; the law says YYYYMMDD."""
    first = next((str(x) for batch in dates.chunks for x in batch.to_pylist() if x), "")
    pattern = next((p for shape, p in DATE_SHAPES.items() if re.fullmatch(shape, first)), "%Y%m%d")
    return Format(type="csv", date=pattern, decimal=",", thousands=" ")


def _dates(column: pa.ChunkedArray, style: Format) -> tuple[pd.Series, Masks]:
    said = pc.replace_substring_regex(column, NO_DATE, "")
    return parse(said, "date", style)


def _cents(batches: pa.Table, header: Header, style: Format) -> tuple[pd.Series, Masks]:
    """Read the amount of each line, a debit positive, and masks of the bad ones by reason."""
    first, second = header.amounts
    amount, bad = _amount(batches[first], style)
    if second == "credit":
        credit, bad_credit = _amount(batches[second], style)
        return amount - credit, {r: mask | bad_credit[r] for r, mask in bad.items()}
    said = pc.utf8_upper(batches[second]).to_pandas()
    sign = said.map(DIRECTIONS)
    unknown = sign.isna() & (amount != 0)
    return amount * sign.fillna(0).astype("int64"), bad | {"bad_direction": unknown.to_numpy()}


def _amount(column: pa.ChunkedArray, style: Format) -> tuple[pd.Series, Masks]:
    """Read amounts: ``0000000069,60``, ``-69.6``, ``69,60-``, ``,5`` or nothing, which is 0."""
    plain = pc.replace_substring(column, ".", ",")
    for pattern, put in ((r"^(.+)-$", r"-\1"), (r"^([+-]?),", r"\g<1>0,"), (r",$", "")):
        plain = pc.replace_substring_regex(plain, pattern, put.replace(r"\g<1>", r"\1"))
    plain = pc.replace_substring_regex(plain, r"^([+-]?)\s*0+(\d)", r"\1\2")
    cents, bad = parse(plain, "amount", style)
    return cents.fillna(0).astype("int64"), bad


def on_a_customer(text: str) -> bool:
    """Tell whether a line that cannot be read may be one of a customer's account."""
    return CUSTOMER_ACCOUNT.search(text) is not None


def reject_rows(file: str, lines: Iterator[Broken], column: str | None = None) -> pd.DataFrame:
    """Lay out lines put aside as the rejects of an import."""
    import json

    rows = [
        ("fec", file, b.line, column, b.reason, json.dumps({"text": b.text}, ensure_ascii=False))
        for b in lines
    ]
    names = ["table", "file", "line", "column", "reason", "row"]
    types = dict.fromkeys(names, "str") | {"line": "int64"}
    return pd.DataFrame(rows, columns=names).astype(types)
