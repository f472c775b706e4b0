"""The ledger contract: tables, columns, units, and the checks that guard them.

A :class:`Ledger` is a set of dated facts about customers who buy on credit. Two dates belong to
each fact: when it happened (``issued_on``, ``settled_on``…) and ``recorded_at``, when we knew.
Money is in integer cents of the ledger's one base currency; the amount and the currency of the
source are kept beside it. :func:`check` never drops a row: what breaks a rule comes back among
the rejects, with the name of the rule.

Conventions: ``_on`` is a date, ``_at`` a UTC instant without a zone, ``_cents`` money, ``_rate`` a
share in 0–1. Amounts are positive; the ``kind`` of a settlement says which way it goes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pyarrow
import pyarrow.compute as pc

SETTLEMENT_KINDS = ("payment", "credit_note", "write_off", "reversal")
INSOLVENCY_KINDS = (
    "safeguard",
    "reorganisation",
    "liquidation",
)  # sauvegarde, redressement, liquidation
CHANGE_KINDS = ("group", "bank_details", "strategic_importance")
BANK_DETAILS = ("verified", "unverified")
IMPORTANCES = ("normal", "important", "key")
EARLIEST, LATEST = pd.Timestamp("1990-01-01"), pd.Timestamp("2100-01-01")
A_DAY = pd.Timedelta(days=1)


class LedgerError(ValueError):
    """The ledger as a whole cannot be read; the message says what, where, how many, the first."""


def _identifier(meaning: str, *, nullable: bool = False) -> pa.Column:
    not_blank = pa.Check(lambda s: s.str.strip() != "", error="blank_identifier")
    return pa.Column("str", not_blank, nullable=nullable, description=meaning)


def _text(meaning: str) -> pa.Column:
    return pa.Column("str", nullable=True, description=meaning)


def _date(meaning: str, *, nullable: bool = False) -> pa.Column:
    in_range = pa.Check.in_range(EARLIEST, LATEST, error="date_out_of_range")
    return pa.Column("datetime64[ns]", in_range, nullable=nullable, description=meaning)


def _instant(meaning: str) -> pa.Column:
    in_range = pa.Check.in_range(EARLIEST, LATEST, error="date_out_of_range")
    return pa.Column("datetime64[ns]", in_range, description=meaning)


def _cents(meaning: str) -> pa.Column:
    return pa.Column("int64", pa.Check.gt(0, error="amount_not_positive"), description=meaning)


def _signed_cents(meaning: str) -> pa.Column:
    return pa.Column("Int64", nullable=True, description=meaning)


def _one_of(kinds: tuple[str, ...], meaning: str) -> pa.Column:
    return pa.Column("str", pa.Check.isin(kinds, error="unknown_kind"), description=meaning)


def _after(later: str, earlier: str, error: str) -> pa.Check:
    def holds(rows: pd.DataFrame) -> pd.Series:
        return (rows[later] >= rows[earlier]) | rows[later].isna() | rows[earlier].isna()

    return pa.Check(holds, error=error)


def _at_most(smaller: str, larger: str, error: str) -> pa.Check:
    def holds(rows: pd.DataFrame) -> pd.Series:
        return (rows[smaller] <= rows[larger]) | rows[smaller].isna() | rows[larger].isna()

    return pa.Check(holds, error=error)


def _value_of(kind: str, allowed: tuple[str, ...], error: str) -> pa.Check:
    """Rule: a change of this kind says one of the allowed values, or nothing, which ends it."""

    def holds(rows: pd.DataFrame) -> pd.Series:
        return (rows["kind"] != kind) | rows["value"].isin(allowed) | rows["value"].isna()

    return pa.Check(holds, error=error)


_RECORDED = {
    "recorded_at": _instant("when we knew, UTC"),
    "recorded_assumed": pa.Column(
        "bool", description="recorded_at was not given: the fact's own date"
    ),
}
_ORIGINAL = {
    "original_amount": _text("amount as written in the source, in original_currency"),
    "original_currency": _text("ISO 4217 code of the source's amount"),
}


@dataclass(frozen=True)
class Table:
    """One table of facts: its key, the date of its fact, and its columns with their checks."""

    key: str
    happened_on: str | None
    schema: pa.DataFrameSchema
    refers_to: tuple[str, ...] = field(default=())

    @property
    def columns(self) -> list[str]:
        """Column names, in order."""
        return list(self.schema.columns)


def _table(
    key: str,
    happened_on: str | None,
    columns: dict[str, pa.Column],
    *,
    refers_to: tuple[str, ...] = (),
    checks: list[pa.Check] | None = None,
) -> Table:
    schema = pa.DataFrameSchema(columns, checks=checks or [], strict=True)
    return Table(key, happened_on, schema, refers_to)


TABLES: dict[str, Table] = {
    "customers": _table(
        "customer_id",
        None,
        {
            "customer_id": _identifier("the seller's own number for the customer"),
            "name": _text("company name"),
            "country": _text("ISO 3166 alpha-2"),
            "sector": _text("activity code, NAF/NACE or the seller's own"),
            "is_natural_person": pa.Column("bool", description="sole trader, natural person"),
            **_RECORDED,
        },
    ),
    "invoices": _table(
        "invoice_id",
        "issued_on",
        {
            "invoice_id": _identifier("the invoice's number, unique in the ledger"),
            "customer_id": _identifier("who owes it"),
            "issued_on": _date("date of the invoice"),
            "due_on": _date("last day to pay it in time"),
            "amount_cents": _cents("amount, tax included, > 0"),
            **_ORIGINAL,
            **_RECORDED,
        },
        refers_to=("customers",),
        checks=[_after("due_on", "issued_on", "due_before_issue")],
    ),
    "settlements": _table(
        "settlement_id",
        "settled_on",
        {
            "settlement_id": _identifier("unique; made from the content when absent"),
            "customer_id": _identifier("who paid or was credited"),
            "invoice_id": _identifier("null for unallocated cash", nullable=True),
            "kind": _one_of(SETTLEMENT_KINDS, "what settles; a reversal re-opens"),
            "settled_on": _date("value date: the day of the bank line or of the credit note"),
            "amount_cents": _cents("amount, > 0 whatever the kind"),
            **_ORIGINAL,
            **_RECORDED,
        },
        refers_to=("customers", "invoices"),
    ),
    "disputes": _table(
        "dispute_id",
        "opened_on",
        {
            "dispute_id": _identifier("unique in the ledger"),
            "customer_id": _identifier("who disputes"),
            "invoice_id": _identifier("the disputed invoice"),
            "opened_on": _date("first day of the dispute"),
            "closed_on": _date("last day, known on that day; null while open", nullable=True),
            **_RECORDED,
        },
        refers_to=("customers", "invoices"),
        checks=[_after("closed_on", "opened_on", "closed_before_opened")],
    ),
    "insurance_covers": _table(
        "cover_id",
        "starts_on",
        {
            "cover_id": _identifier("the insurer's decision"),
            "customer_id": _identifier("the named buyer"),
            "starts_on": _date("first day covered"),
            "ends_on": _date("last day covered; null while it runs", nullable=True),
            "amount_cents": pa.Column(
                "int64",
                pa.Check.ge(0, error="amount_negative"),
                description="limit; 0 is a refusal",
            ),
            "insured_rate": pa.Column(
                "float64",
                pa.Check.in_range(0, 1, error="rate_outside_0_1"),
                description="insured share, 0 to 1",
            ),
            **_RECORDED,
        },
        refers_to=("customers",),
        checks=[_after("ends_on", "starts_on", "ends_before_start")],
    ),
    "credit_limits": _table(
        "limit_id",
        "decided_on",
        {
            "limit_id": _identifier("the seller's decision"),
            "customer_id": _identifier("whom it allows credit"),
            "decided_on": _date("first day it holds, until the next decision"),
            "amount_cents": pa.Column(
                "int64",
                pa.Check.ge(0, error="amount_negative"),
                description="largest exposure allowed; 0 is no credit",
            ),
            **_RECORDED,
        },
        refers_to=("customers",),
    ),
    "insolvency_events": _table(
        "event_id",
        "opened_on",
        {
            "event_id": _identifier("the notice"),
            "customer_id": _identifier("the debtor"),
            "kind": _one_of(INSOLVENCY_KINDS, "safeguard, reorganisation or liquidation"),
            "opened_on": _date("date of the judgment"),
            **_RECORDED,
        },
        refers_to=("customers",),
    ),
    "financial_statements": _table(
        "statement_id",
        "published_on",
        {
            "statement_id": _identifier("the filing"),
            "customer_id": _identifier("whose accounts"),
            "closed_on": _date("last day of the financial year"),
            "published_on": _date("first day anybody could read it"),
            "revenue_cents": _signed_cents("turnover of the year"),
            "operating_income_cents": _signed_cents("résultat d'exploitation"),
            "net_income_cents": _signed_cents("résultat net"),
            "total_assets_cents": _signed_cents("total de l'actif"),
            "equity_cents": _signed_cents("capitaux propres"),
            "financial_debt_cents": _signed_cents("dettes financières"),
            "current_assets_cents": _signed_cents("actif circulant"),
            "current_liabilities_cents": _signed_cents("passif à moins d'un an"),
            **_RECORDED,
        },
        refers_to=("customers",),
        checks=[_after("published_on", "closed_on", "published_before_closed")],
    ),
    "orders": _table(
        "order_id",
        "accepted_on",
        {
            "order_id": _identifier("the order's number; an order stays one until it is closed"),
            "customer_id": _identifier("who ordered"),
            "accepted_on": _date("day the seller accepted it"),
            "amount_cents": _cents("what is still to be invoiced of it, tax included, > 0"),
            "deposit_cents": pa.Column(
                "int64",
                pa.Check.ge(0, error="amount_negative"),
                description="received on it and booked on account 419, so not among the "
                "settlements; at most the amount",
            ),
            "closed_on": _date(
                "day it was wholly invoiced or cancelled, known on that day; null while open",
                nullable=True,
            ),
            **_ORIGINAL,
            **_RECORDED,
        },
        refers_to=("customers",),
        checks=[
            _after("closed_on", "accepted_on", "closed_before_accepted"),
            _at_most("deposit_cents", "amount_cents", "deposit_above_amount"),
        ],
    ),
    "customer_changes": _table(
        "change_id",
        "changed_on",
        {
            "change_id": _identifier("unique in the ledger"),
            "customer_id": _identifier("whom it is about"),
            "changed_on": _date("first day it holds, until the next change of its kind"),
            "kind": _one_of(CHANGE_KINDS, "what changed"),
            "value": pa.Column(
                "str",
                pa.Check(lambda s: s.str.strip() != "", error="blank_value"),
                nullable=True,
                description="group: its name or number; bank_details: verified or unverified, "
                "never the details; strategic_importance: normal, important or key; null ends it",
            ),
            **_RECORDED,
        },
        refers_to=("customers",),
        checks=[
            _value_of("bank_details", BANK_DETAILS, "bank_details_are_not_kept"),
            _value_of("strategic_importance", IMPORTANCES, "unknown_importance"),
        ],
    ),
}

Rule = Callable[[pd.DataFrame, Table], pd.DataFrame]
REJECT_COLUMNS = ["table", "row", "column", "reason"]


@dataclass(frozen=True)
class Ledger:
    """Checked facts: one data frame per entry of :data:`TABLES`, columns as declared there.

    Attributes
    ----------
    currency : str
        ISO 4217 code of the base currency; every ``_cents`` column is in its cents.
    tables : dict of str to DataFrame
        All of :data:`TABLES`, possibly empty.
    """

    currency: str
    tables: dict[str, pd.DataFrame]

    def __getitem__(self, table: str) -> pd.DataFrame:
        return self.tables[table]

    @property
    def rows(self) -> int:
        """Number of facts in all tables."""
        return sum(map(len, self.tables.values()))


@dataclass(frozen=True)
class Known:
    """What a store already holds, so that a later file may refer to it.

    Attributes
    ----------
    customers : Index of str
        Customer identifiers.
    debtors : Series of str
        The customer of each invoice, indexed by invoice identifier.
    """

    customers: pd.Index = field(default_factory=lambda: pd.Index([], dtype="str"))
    debtors: pd.Series = field(
        default_factory=lambda: pd.Series([], pd.Index([], dtype="str"), "str")
    )


def empty_table(name: str) -> pd.DataFrame:
    """Table `name` with no row and the declared columns and types."""
    return _empty(name).copy(deep=False)


@cache
def _empty(name: str) -> pd.DataFrame:
    columns = TABLES[name].schema.columns
    return pd.DataFrame({c: pd.Series(dtype=_pandas_dtype(spec)) for c, spec in columns.items()})


def _pandas_dtype(column: pa.Column) -> Any:
    return column.dtype.type


def conform(name: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Give `rows` the columns of table `name`: absent ones get their stated default.

    ``recorded_at`` defaults to the fact's own date and is then flagged in ``recorded_assumed``;
    ``is_natural_person`` defaults to false; other absent columns are null.

    Raises
    ------
    LedgerError
        If `rows` has a column that the table does not know.
    """
    table = TABLES[name]
    unknown = [c for c in rows.columns if c not in table.columns]
    if unknown:
        raise LedgerError(f"{name} has {len(unknown)} unknown column(s), first {unknown[0]!r}")
    rows = rows.copy()
    if "recorded_at" not in rows:
        rows["recorded_at"] = pd.NaT
    if "recorded_assumed" not in rows:
        rows["recorded_assumed"] = rows["recorded_at"].isna()
    if table.happened_on is not None and table.happened_on in rows:
        rows["recorded_at"] = rows["recorded_at"].fillna(rows[table.happened_on])
    elif table.happened_on is None:  # a customer was known before its first fact
        rows["recorded_at"] = rows["recorded_at"].fillna(EARLIEST)
    if name == "customers":
        said = rows.get("is_natural_person", pd.Series(False, rows.index))
        rows["is_natural_person"] = said.astype(object).where(said.notna(), False)
    unnumbered = name == "settlements" and "settlement_id" not in rows
    for column in table.columns:
        if column not in rows:
            rows[column] = pd.NA
    rows = _typed(name, rows[table.columns])
    if unnumbered:  # from typed values, so that a payment has the same number in every file
        rows["settlement_id"] = settlement_ids(rows)
    return rows


def _typed(table: str, rows: pd.DataFrame) -> pd.DataFrame:
    columns = TABLES[table].schema.columns
    dtypes = {name: _pandas_dtype(column) for name, column in columns.items()}
    if all(rows[name].dtype == dtype for name, dtype in dtypes.items()):
        return rows
    rows = rows.copy()
    for name, dtype in dtypes.items():
        values = rows[name]
        if dtype == "bool" and values.dtype != "bool":
            _demand(values.isin([True, False]), table, "must be true or false")
        elif dtype in ("int64", pd.Int64Dtype()) and pd.api.types.is_float_dtype(values):
            _demand(values.isna() | (values % 1 == 0), table, "must be whole cents")
        elif pd.api.types.is_datetime64_dtype(values) and (
            values.min() < EARLIEST or values.max() > LATEST
        ):  # year 9999 is a reject, not a crash
            rows[name] = values.clip(EARLIEST - A_DAY, LATEST + A_DAY)
        if dtype == "int64" and values.isna().any():
            dtypes[name] = "Int64"  # a missing amount stays visible to the checks
    try:
        return rows.astype(dtypes)
    except (TypeError, ValueError) as error:
        raise LedgerError(f"{table} cannot be read as declared: {error}") from error


def _demand(holds: pd.Series, table: str, what: str) -> None:
    if not holds.all():
        n, first = int((~holds).sum()), holds.index[~holds][0]
        raise LedgerError(f"{table}.{holds.name} {what}; {n} rows, first {first!r}")


def settlement_ids(rows: pd.DataFrame) -> pd.Series:
    """Identify settlements that have no number: by their content, counted when it repeats."""
    codes, days = pd.factorize(rows["settled_on"])  # dates repeat: write each once
    day = pd.Series(pd.DatetimeIndex(days).strftime("%Y%m%d"), dtype="str").reindex(codes)
    target = rows["invoice_id"].fillna("unallocated/" + rows["customer_id"])
    written = _joined([target, rows["kind"], day, rows["amount_cents"].astype("str")], rows.index)
    repeat = pd.Series("0", rows.index, dtype="str")
    again = written.duplicated(keep=False)
    if again.any():
        content = ["customer_id", "invoice_id", "kind", "settled_on", "amount_cents"]
        same = rows[again].groupby(content, dropna=False, sort=False)
        repeat[again] = same.cumcount().astype("str")
    return _joined([written, repeat], rows.index)


def _joined(parts: list[pd.Series[Any]], index: pd.Index) -> pd.Series:
    """Join text row by row; nothing where a part is missing."""
    text = pyarrow.large_string()
    columns = [pyarrow.array(part, text, from_pandas=True) for part in parts]
    joined = pc.binary_join_element_wise(*columns, pyarrow.scalar("/", text))
    return pd.Series(joined.to_pandas().array, index, dtype="str")


def check(
    tables: dict[str, pd.DataFrame], currency: str, known: Known | None = None
) -> tuple[Ledger, pd.DataFrame]:
    """Split raw tables into a checked ledger and its rejects.

    Parameters
    ----------
    tables : dict of str to DataFrame
        Some or all of :data:`TABLES`; absent ones are empty. The index labels identify rows.
    currency : str
        Base currency, ISO 4217.
    known : Known, optional
        Customers and invoices that earlier files brought.

    Returns
    -------
    ledger : Ledger
        Rows that pass every rule.
    rejects : DataFrame
        One line per bad row: ``table``, ``row`` (index label), ``column``, ``reason``; a row
        that breaks several rules is listed under the first.

    Raises
    ------
    LedgerError
        If a table or a column is not part of the contract, a column is not of its type, or index
        labels repeat.
    """
    known = known or Known()
    unknown = sorted(set(tables) - set(TABLES))
    if unknown:
        raise LedgerError(
            f"{len(unknown)} unknown table(s), first {unknown[0]!r}; known: {', '.join(TABLES)}"
        )
    good: dict[str, pd.DataFrame] = {}
    rejects = [pd.DataFrame(columns=REJECT_COLUMNS, dtype=object)]
    for name, table in TABLES.items():
        if name not in tables:
            good[name] = empty_table(name)
            continue
        rows = conform(name, tables[name])
        if not rows.index.is_unique:
            raise LedgerError(f"{name}: index labels must be unique, they identify the rejects")
        # Duplicates last: a row that is refused anyway must not push a good one out.
        for bad in (_broken_rules, _orphans(good, known), _duplicates):
            found = bad(rows, table)
            if len(found):
                rows = rows.drop(index=pd.Index(found["row"]))
            rejects.append(found.assign(table=name)[REJECT_COLUMNS])
        good[name] = _typed(name, rows)
    return Ledger(currency, good), pd.concat(rejects, ignore_index=True)


def _broken_rules(rows: pd.DataFrame, table: Table) -> pd.DataFrame:
    if rows.empty:
        return _rejects([], None, "")
    try:
        table.schema.validate(rows, lazy=True)
    except pa.errors.SchemaErrors as errors:
        cases = errors.failure_cases.sort_values("schema_context", kind="stable")  # columns first
        if cases["index"].isna().any():
            first = cases[cases["index"].isna()].iloc[0]
            raise LedgerError(f"column {first['column']!r} fails {first['check']}") from errors
        column = cases["column"].where(cases["schema_context"] == "Column")
        reason = cases["check"].replace({"not_nullable": "missing_value"})
        return _rejects(cases["index"], column, reason)
    return _rejects([], None, "")


def _duplicates(rows: pd.DataFrame, table: Table) -> pd.DataFrame:
    if rows[table.key].is_unique:
        return _rejects([], table.key, "")
    # We knew from the earliest record on, wherever it stands in the file.
    rows = rows.sort_values("recorded_at", kind="stable")
    again = rows[rows[table.key].duplicated()]
    first = rows.drop_duplicates(table.key).set_index(table.key)
    content = [c for c in first.columns if not c.startswith("recorded")]
    earlier = first.loc[again[table.key], content].reset_index(drop=True)
    later = again[content].reset_index(drop=True)
    equal = (earlier == later).fillna(False)
    identical = (equal | (earlier.isna() & later.isna())).all(axis=1).to_numpy(bool)
    return _rejects(
        again.index, table.key, np.where(identical, "duplicate", "duplicate_with_other_content")
    )


def _orphans(good: dict[str, pd.DataFrame], known: Known) -> Rule:
    """Rule: a row names a customer and an invoice of this ledger, and they belong together."""

    def find(rows: pd.DataFrame, table: Table) -> pd.DataFrame:
        found = [_rejects([], None, "")]
        if "customers" in table.refers_to:
            customers = pd.Index(good["customers"]["customer_id"]).append(known.customers).unique()
            orphan = customers.get_indexer(pd.Index(rows["customer_id"])) < 0
            found.append(_rejects(rows.index[orphan], "customer_id", "unknown_customer"))
        if "invoices" in table.refers_to:
            named = rows[rows["invoice_id"].notna()]
            debtors = pd.concat(  # what is known wins: a store overwrites nothing
                [known.debtors, good["invoices"].set_index("invoice_id")["customer_id"]]
            )
            debtors = debtors[~debtors.index.duplicated()]
            place = debtors.index.get_indexer(pd.Index(named["invoice_id"]))
            found.append(_rejects(named.index[place < 0], "invoice_id", "unknown_invoice"))
            named, place = named[place >= 0], place[place >= 0]
            other = debtors.iloc[place].to_numpy() != named["customer_id"].to_numpy()
            found.append(_rejects(named.index[other], "customer_id", "not_the_invoiced_customer"))
        return pd.concat(found).drop_duplicates("row")

    return find


def _rejects(index: Any, column: Any, reason: Any) -> pd.DataFrame:
    """List broken rows, one line per row, under the first rule they break."""
    rows = pd.DataFrame({"row": index, "column": column, "reason": reason}, dtype=object)
    return rows.drop_duplicates("row")
