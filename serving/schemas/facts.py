"""Facts as they are pushed: the tables of the ledger contract, made into strict models.

Names, meanings and what may be empty are those of :data:`features.ledger.TABLES`; the rules of a
good row are too, and are checked there, a row at a time. Here is only what makes a call readable.
``amount_cents`` is sent as ``amount``, money as a string; dates and instants are ISO 8601.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from types import GenericAlias
from typing import Annotated, Any

import pandera.pandas as pa
from pydantic import AfterValidator, Field, create_model, model_validator
from pydantic_core import PydanticCustomError

from features.ledger import TABLES
from features.store_versions import Outcome
from serving.fact_words import WORDS
from serving.limits import MOST_ROWS
from serving.schemas.answer import English, French, Told
from serving.schemas.request import Given

NAMES = {
    "customers": "CustomerFact",
    "invoices": "InvoiceFact",
    "settlements": "SettlementFact",
    "disputes": "DisputeFact",
    "insurance_covers": "CoverFact",
    "credit_limits": "LimitFact",
    "insolvency_events": "InsolvencyFact",
    "financial_statements": "StatementFact",
    "orders": "OrderFact",
    "customer_changes": "ChangeFact",
}
_DATE = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z")
_SPACES = str.maketrans("\u00a0\u202f", "  ")  # in company names; not printable for Python
MONEY = "in units of the ledger's currency, as a string"
RECORDED_AT = "When it became known, UTC; by default when the call arrives. Not in the future."


def _plain(text: str) -> str:
    """Refuse control characters, and the blanks at the ends that an import takes off."""
    if not text.translate(_SPACES).isprintable():
        raise PydanticCustomError("not_printable", "must have printable characters only")
    if text != text.strip():
        raise PydanticCustomError("blanks", "must not begin or end with a blank")
    return text


def _is_date(text: str) -> str:
    if not _reads(_DATE, date.fromisoformat, text):
        raise PydanticCustomError("not_a_date", 'must be a date, as "2025-03-31"')
    return text


def _is_instant(text: str) -> str:
    if not _reads(_INSTANT, datetime.fromisoformat, text):
        raise PydanticCustomError("not_an_instant", 'must be UTC, as "2025-03-31T09:14:07Z"')
    return text


def _reads(pattern: re.Pattern[str], read: Any, text: str) -> bool:
    try:
        return pattern.fullmatch(text) is not None and read(text) is not None
    except ValueError:  # 30 February
        return False


def _described(**schema: str) -> Any:
    return Field(json_schema_extra=dict(schema))


Text = Annotated[str, Field(max_length=256), AfterValidator(_plain)]
Identifier = Annotated[str, Field(max_length=128), AfterValidator(_plain)]
Money = Annotated[str, Field(pattern=r"^-?[0-9]{1,12}(\.[0-9]{1,2})?$")]
Date = Annotated[str, AfterValidator(_is_date), _described(format="date")]
Instant = Annotated[str, AfterValidator(_is_instant), _described(format="date-time")]


class FactGiven(Given):
    """A fact, whole: what is left out is empty."""

    @model_validator(mode="before")
    @classmethod
    def _has_no_other_field(cls, given: object) -> object:
        return _known_names(cls, given)


class FactsGiven(Given):
    """Facts by table; at most 10,000 in all."""

    @model_validator(mode="before")
    @classmethod
    def _is_no_more_than_we_take(cls, given: object) -> object:
        _known_names(cls, given)
        if isinstance(given, dict):
            rows = sum(len(rows) for rows in given.values() if isinstance(rows, list))
            if rows > MOST_ROWS:  # before any of them is looked at
                raise PydanticCustomError("too_many_rows", f"has more than {MOST_ROWS:,} rows")
        return given


def _known_names(model: type[Given], given: object) -> object:
    """Refuse unknown names with one error: a million of them would be a million errors."""
    if isinstance(given, dict) and not given.keys() <= model.model_fields.keys():
        raise PydanticCustomError("unknown_field", "has an unknown field; see /openapi.json")
    return given


def field_of(column: str) -> str:
    """Name a column of the contract as it is sent."""
    return column.removesuffix("_cents")


def sent_columns(table: str) -> list[str]:
    """Columns of a table that are sent; whether ``recorded_at`` was given is ours to say."""
    return [column for column in TABLES[table].columns if column != "recorded_assumed"]


def _model(table: str) -> type[FactGiven]:
    columns = TABLES[table].schema.columns
    fields: dict[str, Any] = {
        field_of(name): _field(name, columns[name]) for name in sent_columns(table)
    }
    return create_model(NAMES[table], __base__=FactGiven, __doc__=_one_of(table), **fields)


def _one_of(table: str) -> str:
    dated = TABLES[table].happened_on
    return f"A row of `{table}` by `{TABLES[table].key}`" + (f", of `{dated}`." if dated else ".")


def _field(name: str, column: pa.Column) -> tuple[Any, Any]:
    """Say the type of a field and what it means."""
    if name == "recorded_at":
        return Instant | None, Field(None, description=RECORDED_AT)
    kinds = {kind for check in column.checks for kind in check.statistics.get("allowed_values", ())}
    more: dict[str, Any] = {"json_schema_extra": {"enum": sorted(kinds)}} if kinds else {}
    meaning = f"{column.description}; {MONEY}" if name.endswith("_cents") else column.description
    if column.nullable:
        return _type(name, column) | None, Field(None, description=meaning)
    return _type(name, column), Field(description=meaning, **more)


def _type(name: str, column: pa.Column) -> Any:
    if name.endswith("_cents"):
        return Money
    if name.endswith("_on"):
        return Date
    if column.dtype.type in ("bool", "float64"):
        return {"bool": bool, "float64": float}[str(column.dtype.type)]
    return Identifier if name.endswith("_id") else Text


ROWS: dict[str, type[FactGiven]] = {table: _model(table) for table in TABLES}


def _rows_of(row: type[FactGiven]) -> Any:
    return GenericAlias(list, (row,)), Field(default_factory=list, description=row.__doc__)


Facts: type[FactsGiven] = create_model(
    "Facts",
    __base__=FactsGiven,
    __doc__=f"Facts by table, at most {MOST_ROWS:,} in all; they may refer to each other.",
    **{table: _rows_of(row) for table, row in ROWS.items()},
)


class FactResult(Told):
    """What became of one fact."""

    table: Annotated[str, Field(description="As named in the request.")]
    row: Annotated[int, Field(ge=0, description="Number of the row in what was sent, from 0.")]
    status: Annotated[
        Outcome,
        Field(
            description="`added`: it was unknown. `superseded`: it corrects what was known. "
            "`already_there`: it says what was known. `refused`: it does not count."
        ),
    ]
    field: Annotated[str | None, Field(description="Where a refused fact is at fault.")]
    reason: Annotated[str | None, Field(description="Stable code, of a refused fact.")]
    fr: Annotated[French | None, Field(description="In French: why it is refused.")]
    en: Annotated[English | None, Field(description="In English: why it is refused.")]


class FactCounts(Told):
    """How many facts of a table became what."""

    added: Annotated[int, Field(description="Number of rows that were unknown.")]
    superseded: Annotated[int, Field(description="Number of rows that correct what was known.")]
    already_there: Annotated[int, Field(description="Number of rows that say what was known.")]
    refused: Annotated[int, Field(description="Number of rows that do not count.")]


class FactsAnswer(Told):
    """What became of the facts; the next assessment counts those that are not refused."""

    sequence: Annotated[
        int, Field(description="Number of the ledger's last append, with these facts.")
    ]
    recorded_at: Annotated[
        str,
        Field(
            description="When they arrived, UTC: the `recorded_at` of those that gave none.",
            json_schema_extra={"format": "date-time"},
        ),
    ]
    counts: Annotated[dict[str, FactCounts], Field(description="By table that was sent.")]
    results: Annotated[list[FactResult], Field(description="By table, in the order sent.")]


FACTS_EXAMPLE: dict[str, Any] = {
    "customers": [
        {
            "customer_id": "C-17",
            "name": "Atelier Morel SAS",
            "country": "FR",
            "sector": "4321A",
            "is_natural_person": False,
        }
    ],
    "invoices": [
        {
            "invoice_id": "F-1",
            "customer_id": "C-17",
            "issued_on": "2025-06-02",
            "due_on": "2025-07-02",
            "amount": "1200.00",
        }
    ],
    "settlements": [
        {
            "settlement_id": "P-1",
            "customer_id": "C-17",
            "invoice_id": "F-2",
            "kind": "payment",
            "settled_on": "2025-07-01",
            "amount": "500.00",
        }
    ],
}
ROW_EXAMPLES: dict[str, dict[str, Any]] = {
    **{table: rows[0] for table, rows in FACTS_EXAMPLE.items()},
    "disputes": {
        "dispute_id": "D-1",
        "customer_id": "C-17",
        "invoice_id": "F-1",
        "opened_on": "2025-06-20",
    },
    "insurance_covers": {
        "cover_id": "K-1",
        "customer_id": "C-17",
        "starts_on": "2025-01-01",
        "amount": "50000.00",
        "insured_rate": 0.9,
    },
    "credit_limits": {
        "limit_id": "L-1",
        "customer_id": "C-17",
        "decided_on": "2025-06-15",
        "amount": "30000.00",
    },
    "insolvency_events": {
        "event_id": "I-1",
        "customer_id": "C-17",
        "kind": "safeguard",
        "opened_on": "2025-06-25",
    },
    "financial_statements": {
        "statement_id": "B-2024",
        "customer_id": "C-17",
        "closed_on": "2024-12-31",
        "published_on": "2025-06-10",
        "revenue": "1850000.00",
        "equity": "240000.00",
    },
    "orders": {
        "order_id": "O-1",
        "customer_id": "C-17",
        "accepted_on": "2025-06-28",
        "amount": "4000.00",
        "deposit": "1200.00",
    },
    "customer_changes": {
        "change_id": "M-1",
        "customer_id": "C-17",
        "changed_on": "2025-06-30",
        "kind": "group",
        "value": "Groupe Morel",
    },
}
FACTS_ANSWER_EXAMPLE: dict[str, Any] = {
    "sequence": 42,
    "recorded_at": "2025-07-02T09:14:06.999999Z",
    "counts": {
        "customers": {"added": 1, "superseded": 0, "already_there": 0, "refused": 0},
        "invoices": {"added": 1, "superseded": 0, "already_there": 0, "refused": 0},
        "settlements": {"added": 0, "superseded": 0, "already_there": 0, "refused": 1},
    },
    "results": [
        *(
            {
                "table": table,
                "row": 0,
                "status": "added",
                "field": None,
                "reason": None,
                "fr": None,
                "en": None,
            }
            for table in ("customers", "invoices")
        ),
        {
            "table": "settlements",
            "row": 0,
            "status": "refused",
            "field": "invoice_id",
            "reason": "unknown_invoice",
            **WORDS["unknown_invoice"]._asdict(),
        },
    ],
}
