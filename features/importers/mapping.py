"""The mapping file: where each column of a ledger comes from, and what the source never says.

A column is filled from a source column (``customer``), another mapped column (``issued_on``), a
date moved by days (``due_on - 14 days``) or a constant (``=payment``). No code. What is not the
source's own word is an assumption, and the import repeats it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePath
from typing import Annotated, Any, NamedTuple

import pyarrow as pa
import yaml
from pydantic import BaseModel, Field, Strict, ValidationError, field_validator, model_validator

from features.importers.formats import Format, Kind, parse
from features.ledger import (
    CHANGE_KINDS,
    EARLIEST,
    INSOLVENCY_KINDS,
    SETTLEMENT_KINDS,
    TABLES,
    LedgerError,
)

KINDS = {
    "settlements": SETTLEMENT_KINDS,
    "insolvency_events": INSOLVENCY_KINDS,
    "customer_changes": CHANGE_KINDS,
}
DEFAULTED = {"recorded_at", "recorded_assumed", "is_natural_person", "settlement_id"}
DATE_AND_DAYS = re.compile(r"(?P<name>.+?) (?P<sign>[+-]) (?P<days>\d{1,4}) days?")


class MappingError(LedgerError):
    """A mapping file is wrong; the message says the file, the key and what is allowed."""


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
            constant = text[1:].strip()
            return cls(constant, "", 0, constant, is_ours=False)
        moved = DATE_AND_DAYS.fullmatch(text)
        name, days = (moved["name"], int(moved["sign"] + moved["days"])) if moved else (text, 0)
        return cls(text, name, days, None, name in ours)

    @property
    def is_assumed(self) -> bool:
        """Whether the source does not say it."""
        return self.constant is not None or self.days != 0 or self.is_ours


class Section(BaseModel, frozen=True, strict=True):
    """How one table is filled: an expression for each of its columns."""

    table: str
    columns: dict[str, str]
    file: str | None = None
    optional: bool = False
    kinds: dict[str, str] = {}

    @model_validator(mode="before")
    @classmethod
    def _split_columns_from_options(cls, raw: dict[str, Any]) -> Any:
        table, columns = raw["table"], TABLES[raw["table"]].columns
        amounts = [c.removesuffix("_cents") for c in columns if c.endswith("_cents")]
        options = ["file", "optional"] + ["kinds"] * (table in KINDS)
        keys = _known_keys(raw["keys"], columns + amounts + ["currency"] * bool(amounts) + options)
        fields = {key: text for key, text in keys.items() if key not in options}
        given = {key: keys[key] for key in options if key in keys}
        return {"table": table, "columns": fields, **given}

    @model_validator(mode="after")
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
        return self

    @model_validator(mode="after")
    def _derive_like_from_like(self) -> Section:
        for key, (text, name, days, _, is_ours) in self.expressions.items():
            kind, origin = self.kind(key), self.kind(name) if is_ours else self.kind(key)
            if origin not in (kind, "date" if kind == "instant" else kind):
                raise ValueError(f"{key}: {text!r} is of kind {origin}, {kind} is needed")
            if days and kind not in ("date", "instant"):
                raise ValueError(f"{key}: only dates move by days")
        return self

    @cached_property
    def expressions(self) -> dict[str, Expression]:
        """Expression of each column, a column after those it is derived from."""
        found = {
            k: Expression.of(text, self.columns.keys() - {k}) for k, text in self.columns.items()
        }
        needs = {key: {e.name} if e.is_ours else set() for key, e in found.items()}
        try:
            return {key: found[key] for key in TopologicalSorter(needs).static_order()}
        except CycleError:
            raise ValueError("columns are derived from each other in a circle") from None

    @property
    def needed(self) -> set[str]:
        """Columns of the contract that every row must fill; an invoice names the customer."""
        columns = TABLES[self.table].schema.columns
        needed = {name for name, column in columns.items() if not column.nullable} - DEFAULTED
        named = self.table != "invoices" and "invoice_id" in self.columns
        return needed - {"customer_id"} if named and "customer_id" not in self.columns else needed

    @property
    def source_columns(self) -> list[str]:
        """Columns that the source must have, in the order of the mapping file."""
        expressions = (self.expressions[key] for key in self.columns)
        return [e.name for e in expressions if e.constant is None and not e.is_ours]

    def target(self, key: str) -> str:
        """Column of the contract that `key` fills: ``amount`` fills ``amount_cents``."""
        return f"{key}_cents" if f"{key}_cents" in TABLES[self.table].columns else key

    def kind(self, key: str) -> Kind:
        """Tell the type of a value by the contract's conventions for names."""
        if key in ("is_natural_person", "recorded_assumed"):
            return "boolean"
        if self.target(key) != key:
            return "amount"
        kinds: dict[str, Kind]
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


class Mapping(BaseModel, frozen=True, strict=True):
    """A mapping file, validated."""

    format: Format
    currency: Currency
    tables: dict[str, Section]
    exchange_rates: dict[Currency, Rate] = {}
    absent: Annotated[tuple[str, ...], Strict(False)] = ()

    @model_validator(mode="before")
    @classmethod
    def _gather_tables(cls, raw: Any) -> Any:
        keys = _known_keys(raw, ["format", "currency", "exchange_rates", "absent", *TABLES])
        tables = {name: {"table": name, "keys": keys[name]} for name in TABLES if name in keys}
        if not tables:
            raise ValueError(f"fills no table; known: {', '.join(TABLES)}")
        return {key: keys[key] for key in keys if key not in TABLES} | {"tables": tables}

    @field_validator("format", mode="before")
    @classmethod
    def _name_the_allowed(cls, raw: Any) -> Any:
        return _known_keys(raw, Format.model_fields)

    @model_validator(mode="after")
    def _parse_constants(self) -> Mapping:
        for table, section in self.tables.items():
            for key, expression in section.expressions.items():
                if expression.constant is not None:
                    constant = pa.chunked_array([[expression.constant]], pa.string())
                    value, bad = parse(constant, section.kind(key), self.format)
                    if value.isna().any() or any(mask.any() for mask in bad.values()):
                        raise ValueError(f"{table}.{key}: the constant is no {section.kind(key)}")
        return self

    @model_validator(mode="after")
    def _convert_foreign_money_only(self) -> Mapping:
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


def _known_keys(raw: Any, allowed: Collection[str]) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise ValueError(f"must hold keys; allowed: {', '.join(allowed)}")
    if unknown := [key for key in raw if key not in allowed]:
        raise ValueError(f"{unknown[0]!r} is not a known key; allowed: {', '.join(allowed)}")
    return raw
