"""How a source writes text, dates and amounts, and the values that it means.

A column is read whole. Beside its values, null where they are bad, come masks of the bad ones by
reason: with ``decimal: ","`` the texts ``1,50`` and ``1.50`` are 150 cents and a ``bad_amount``.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, BaseModel, Field, model_validator

from features.ledger import EARLIEST, LATEST

BOOLEANS = dict.fromkeys(["true", "1", "yes", "oui"], True)
BOOLEANS |= dict.fromkeys(["false", "0", "no", "non"], False)
GROUPINGS = {" ": " \u00a0\u202f", "'": "'’"}  # a space is often a narrow or unbreakable one
NO_TEXT = pa.scalar(None, pa.string())

Kind = Literal["text", "date", "instant", "amount", "cents", "number", "boolean"]
Parsed = tuple[pd.Series, dict[str, Any]]  # values, null where bad; masks of the bad by reason


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


class Format(BaseModel, frozen=True, extra="forbid", strict=True):
    """How the source writes text, dates and amounts; ``instant`` is that of ``recorded_at``."""

    type: Literal["csv", "parquet"]
    separator: Annotated[str, Field(pattern=r'^[^"\r\n]$')] = ","
    encoding: Annotated[str, AfterValidator(_codec)] = "utf-8"
    date: Annotated[str, AfterValidator(_date_pattern)] = "%Y-%m-%d"
    instant: Annotated[str, AfterValidator(_date_pattern)] | None = None
    decimal: Literal[".", ","] = "."
    thousands: Literal[".", ",", " ", "'"] | None = None

    @model_validator(mode="after")
    def _tell_thousands_from_decimals(self) -> Format:
        if self.decimal == self.thousands:
            raise ValueError("decimal and thousands must differ")
        return self


def parse(column: pa.ChunkedArray, kind: Kind, style: Format) -> Parsed:
    """Read a column of text or of typed values as `kind`.

    Raises
    ------
    pyarrow.ArrowException
        If the values of a typed column cannot be written as text, lists for example.
    """
    if kind == "date":
        return _dates(column, style.date, whole_days=True)
    if kind == "instant":
        return _dates(column, style.instant or style.date, whole_days=False)
    text = as_text(column)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        style = Format(type=style.type)  # we wrote the text of a typed column
    if kind in ("amount", "cents"):
        return _cents(text, style, decimals=2 if kind == "amount" else 0)
    if kind == "number":
        return _numbers(text, style)
    return _booleans(text) if kind == "boolean" else (text.to_pandas(), {})


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Write any column as trimmed text, blank as null."""
    if pa.types.is_floating(column.type):  # Arrow would write 10000000000.0 as 1e+10
        exact = (None if x is None or np.isnan(x) else Decimal(repr(x)) for x in column.to_pylist())
        plain = [None if x is None else format(x.normalize(), "f") for x in exact]
        column = pa.chunked_array([pa.array(plain, pa.string())])
    text = pc.utf8_trim_whitespace(column.cast(pa.string()))
    return pc.if_else(pc.equal(text, ""), NO_TEXT, text)


def _dates(column: pa.ChunkedArray, pattern: str, *, whole_days: bool) -> Parsed:
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        if whole_days and pa.types.is_timestamp(kind) and kind.tz:
            column = pc.local_timestamp(column)
        moments = column.cast(pa.timestamp("us"), safe=False).to_pandas()
        bad = moments.isna() & False
    else:
        text = as_text(column).to_pandas()
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
    cents = pc.if_else(pc.and_(fits, fine), digits, NO_TEXT).cast(pa.int64())
    too_fine = "amount_has_more_than_two_decimals" if decimals else "cents_are_not_whole"
    return cents.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get), {
        "bad_amount": pc.and_(pc.is_valid(text), pc.invert(fits)).to_numpy(),
        too_fine: pc.and_(fits, pc.invert(fine)).to_numpy(),
    }


def _numbers(text: pa.ChunkedArray, style: Format) -> Parsed:
    plain = pc.replace_substring(text, style.decimal, ".")
    good = pc.match_substring_regex(plain, r"^[+-]?\d+(\.\d+)?$")
    values = pc.if_else(good, plain, NO_TEXT).cast(pa.float64())
    return values.to_pandas(), {"bad_number": pc.fill_null(pc.invert(good), False).to_numpy()}


def _booleans(text: pa.ChunkedArray) -> Parsed:
    """Read true or false; nothing said is false."""
    values = text.to_pandas()
    found = values.str.lower().map(BOOLEANS).astype("boolean")
    return found.fillna(False).astype("bool"), {"bad_boolean": found.isna() & values.notna()}
