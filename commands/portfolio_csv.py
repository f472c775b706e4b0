"""The detail of a portfolio as CSV: UTF-8, decimal points, no text that a spreadsheet would run."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from commands.portfolio import Report
from commands.shared import as_date
from models.factoring import REASONS
from models.late_interest import overdue_days
from models.provisions import matrix
from models.receivables import bucket_names

RISKY = ("=", "+", "-", "@", "\t", "\r", "\n")  # OWASP, CSV injection

INVOICE_COLUMNS = (
    "invoice_id", "customer_id", "customer_name", "issued_on", "due_on", "currency", "amount",
    "open", "owed", "days_past_due", "is_disputed", "is_beyond_law", "eligible", "excluded",
    "reason", "insured", "group", "roll_rate", "ecl_roll_rate", "model_probability", "ecl_model",
    "late_interest", "indemnity", "days_without_rate",
)  # fmt: skip


def text(value: object) -> str:
    """Write text that comes from the ledger so that no spreadsheet takes it for a formula.

    >>> text("=1+1"), text("C-17"), text("-5")
    ("'=1+1", 'C-17', "'-5")
    """
    written = str(value)
    return f"'{written}" if written.startswith(RISKY) else written


def amount(cents: int) -> str:
    """Write cents as a decimal.

    >>> amount(123456), amount(-5)
    ('1234.56', '-0.05')
    """
    whole, rest = divmod(abs(cents), 100)
    return f"{'-' if cents < 0 else ''}{whole}.{rest:02d}"


def write(report: Report, out: Path) -> list[Path]:
    """Write the invoices to a ``.csv`` file, or everything to a folder; return the files."""
    if out.suffix.lower() == ".csv":
        out.parent.mkdir(parents=True, exist_ok=True)
        _write(out, INVOICE_COLUMNS, _invoices(report))
        return [out]
    out.mkdir(parents=True, exist_ok=True)
    files = [out / name for name in ("invoices.csv", "provision_matrix.csv", "measures.csv")]
    _write(files[0], INVOICE_COLUMNS, _invoices(report))
    columns = ("group", "days_past_due", "exposure", "insured", "roll_rate", "ecl_roll_rate")
    _write(files[1], (*columns, "model_probability", "ecl_model"), _matrix(report))
    _write(files[2], ("measure", "unit", "value"), _measures(report))
    return files


def _write(file: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def _rate(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6f}"


def _invoices(report: Report) -> Iterable[Sequence[str]]:
    """Write each invoice that is open or that owes for having been late."""
    seen, p, judged, due = report.portfolio, report.provisioned, report.judged, report.due
    overdue, has_model = overdue_days(seen), report.model is not None
    in_euros = report.currency == "EUR"
    shown = (seen.open_cents > 0) | due.is_late
    for i in shown.nonzero()[0].tolist():
        customer = int(seen.customer[i])
        yield (
            text(seen.invoice_id[i]),
            text(seen.customers.id[customer]),
            text(report.names[customer]),
            str(as_date(int(seen.issued_on[i]))),
            str(as_date(int(seen.due_on[i]))),
            report.currency,
            amount(int(seen.amount_cents[i])),
            amount(int(seen.open_cents[i])),
            amount(int(seen.owed_cents[i])),
            str(overdue[i]),
            str(bool(seen.is_disputed[i])).lower(),
            str(bool(seen.is_beyond_law[i])).lower(),
            amount(int(judged.eligible_cents[i])),
            amount(int(judged.excluded_cents[i])),
            REASONS[judged.reason[i]] if seen.owed_cents[i] else "nothing_owed",
            amount(int(p.insured_cents[i])),
            text(report.groups.names[p.group[i]]),
            _rate(p.historical_rate[i]) if seen.owed_cents[i] else "",
            amount(int(p.historical_cents[i])),
            _rate(p.model_rate[i]) if has_model and seen.owed_cents[i] else "",
            amount(int(p.model_cents[i])) if has_model else "",
            amount(int(due.interest_cents[i])),
            amount(int(due.indemnity_cents[i])) if in_euros else "",
            str(due.days_without_rate[i]),
        )


def _matrix(report: Report) -> Iterable[Sequence[str]]:
    how, has_model = report.how.provision, report.model is not None
    names = bucket_names((*how.ageing_days, how.default_days))
    for cell in matrix(report.provisioned, len(names), len(report.groups.names)):
        yield (
            text(report.groups.names[cell.group]),
            text(names[cell.bucket]),
            amount(cell.owed_cents),
            amount(cell.insured_cents),
            _rate(cell.historical_rate),
            amount(cell.historical_cents),
            _rate(cell.model_rate) if has_model else "",
            amount(cell.model_cents) if has_model else "",
        )


def _measures(report: Report) -> Iterable[Sequence[str]]:
    m, currency = report.measured, report.currency
    money = {
        "open_invoices": m.period.closing,
        "unapplied": m.unapplied_cents,
        "exposure": int(m.owed_by_customer.sum()),
        "disputed": m.disputed_cents,
        "sales": m.period.sales,
        "advance": report.judged.advance_cents,
    }
    days = {
        "dso": m.simple_dso,
        "dso_count_back": m.count_back_dso,
        "dso_best_possible": m.best_possible_dso,
        "average_days_delinquent": m.days_delinquent,
        "days_beyond_terms": m.beyond_terms.early_counts,
        "days_beyond_terms_late_only": m.beyond_terms.late_only,
        "days_beyond_terms_with_open": m.beyond_terms.with_open,
    }
    shares = {
        "collection_effectiveness": m.collection_effectiveness,
        "top_1_of_exposure": m.exposure.top_1_rate,
        "top_1_of_turnover": m.turnover.top_1_rate,
        "herfindahl_of_exposure": m.exposure.herfindahl,
    }
    yield ("day", "date", str(report.day))
    yield ("payment_index", "0-100", _rate(m.beyond_terms.payment_index))
    yield from ((name, currency, amount(cents)) for name, cents in money.items())
    yield from ((name, "days", _rate(value)) for name, value in days.items())
    yield from ((name, "share", _rate(value)) for name, value in shares.items())
