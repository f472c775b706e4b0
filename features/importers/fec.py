"""Import of the French accounting file (FEC, LPF art. A47 A-1), which every company can export.

``411 C-17 debit 120`` against 707 and 4457 is an invoice; ``411 C-17 credit 120`` against 512, with
the same letter, its payment on the day of the bank line. The steps, a file each: :mod:`fec_lines`
reads the text, :mod:`fec_entries` the entries, :mod:`fec_operations` says what happened on the
customers' accounts, :mod:`fec_matching` what the letters join, :mod:`fec_receivables` lays out the
tables, :mod:`fec_terms` the due dates, :mod:`fec_balances` proves the sum of it.

**One law**: at each month end each customer owes in the ledger what his accounts 411, 413, 416 and
419 say, to the cent, or the import is refused. Hence what can be put aside, and what cannot:

- A line that cannot be read, or an entry that does not balance, is a reject when no customer's
  balance can hang on it: neither it nor its entry has an account of a customer, of money (class
  5), of sales (class 7, VAT). Purchases or wages a cent apart stop nothing.
- Anywhere else it is an error with its line numbers: the line that lacks may be a customer's.
- A file whose last line is short is an error; one cut between two entries looks whole.

**Unknown operations** keep balances right and are named in the verdict: a credit against anything
but money, sales or a loss (a factor's 467) is a credit note, which ends the claim and is neither
payment nor default; set-off against 40, 42, 45 and suspense 47 is a payment; another debit is an
invoice. **Recording**: ``recorded_at`` is EcritureDate, an assumption. ValidDate is when entries
became final, often a month or a year at once: as of that date nothing would be known all year.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from features.importers.fec_balances import check_balances
from features.importers.fec_entries import (
    NO_ENTRY,
    OTHER,
    SET_OFF,
    Ints,
    customers_of,
    number_entries,
    opening_entries,
    set_aside_unbalanced,
)
from features.importers.fec_lines import (
    HEADER_BYTES,
    Lines,
    on_a_customer,
    read_lines,
    reject_rows,
    sniff,
)
from features.importers.fec_operations import OPENING, operations
from features.importers.fec_receivables import Receivables, receivables
from features.importers.fec_terms import Term, Terms, TermsError, load_terms
from features.importers.fec_verdict import Matched, Verdict
from features.importers.records import Broken
from features.importers.tabular import Account, Imported, Progress
from features.ledger import TABLES, Known, LedgerError, check

__all__ = ["FecImported", "Term", "Terms", "TermsError", "Verdict", "is_fec", "load_terms", "read"]

CURRENCY = "EUR"  # books are kept in euros: C. com. art. L123-22
OPENINGS_ASSUMED = "opening entries are last year's open items (assumed)"


@dataclass(frozen=True)
class FecImported(Imported):
    """A ledger read from a FEC, and how far to trust it."""

    verdict: Verdict


def is_fec(path: Path) -> bool:
    """Tell whether a file's first line names the columns of a FEC."""
    try:
        with path.open("rb") as file:
            return sniff(file.read(HEADER_BYTES)) is not None
    except OSError:
        return False


def read(
    path: Path,
    terms: Terms | None = None,
    known: Known | None = None,
    progress: Progress | None = None,
) -> FecImported:
    """Import a FEC.

    Parameters
    ----------
    path : Path
        The file, in any of the variants seen: see :mod:`features.importers.fec_lines`.
    terms : Terms, optional
        Payment terms; the law's 30 days from invoice when absent.
    known : Known, optional
        Customers and invoices that earlier imports brought: import years in their order.
    progress : callable, optional
        Told the bytes done and their total, now and then.

    Raises
    ------
    LedgerError
        If the file as a whole cannot be trusted; lines no customer hangs on are rejects instead.
    """
    terms, known = terms or Terms(), known or Known()
    file = read_lines(path, progress or (lambda done, total: None))
    try:
        return _import(file, terms, known)
    except LedgerError as error:
        raise LedgerError(f"{path}: {error}") from error


def _import(file: Lines, terms: Terms, known: Known) -> FecImported:
    lines, entry, rejects = _whole_entries(file)
    if lines["customer"].isna().all():
        raise LedgerError("no line is on a customer's account (411, 413, 416, 419)")
    parts = operations(lines, entry, opening_entries(lines, entry))
    found = receivables(lines, parts, terms, known)
    ledger, broken = check(found.tables, CURRENCY, known)
    if len(broken):
        first = broken.iloc[0]
        raise LedgerError(
            f"{len(broken)} rows break a rule of the ledger, first {first['table']}."
            f"{first['column']}: {first['reason']}"
        )
    check_balances(lines, ledger, found.parts[found.parts["aside"].notna()])
    return FecImported(
        ledger=ledger,
        rejects=rejects,
        rows_read=file.count,
        assumptions=tuple(_assumptions(found, terms)),
        absent=tuple(table for table in TABLES if table not in found.tables),
        sources=((file.file, file.sha256),),
        accounts={t: Account(len(rows), len(ledger[t]), 0) for t, rows in found.tables.items()},
        verdict=_verdict(file, lines, entry, found, terms, len(rejects)),
    )


def _whole_entries(file: Lines) -> tuple[pd.DataFrame, Ints, pd.DataFrame]:
    """Give the lines of entries that balance, their entries, and all that was put aside."""
    _demand_no_customer(file)
    lines = file.table.assign(customer=customers_of(file.table))
    entry = number_entries(lines)
    if (entry == NO_ENTRY).any():
        try:
            lost = set_aside_unbalanced(lines, entry)
        except LedgerError as error:
            raise LedgerError(f"{error}{_say_broken(file.broken)}") from None
        numbers = lost["line"].tolist()
    else:
        numbers = []
    unbalanced = [Broken(n, "unbalanced_entry", file.text(n)) for n in numbers]
    rejects = reject_rows(file.file, iter(sorted([*file.broken, *unbalanced])))
    whole = entry != NO_ENTRY
    return lines[whole].reset_index(drop=True), entry[whole], rejects


def _demand_no_customer(file: Lines) -> None:
    """Refuse a file of which a line that may be a customer's cannot be read."""
    risky = [broken for broken in file.broken if on_a_customer(broken.text)]
    if risky:
        raise LedgerError(
            f"{len(risky)} line(s) that may be on a customer's account cannot be read, "
            f"first line {risky[0].line}: {risky[0].reason}"
        )


def _say_broken(broken: list[Broken]) -> str:
    if not broken:
        return ""
    return f"; {len(broken)} line(s) could not be read, first line {broken[0].line}: " + (
        broken[0].reason
    )


def _assumptions(found: Receivables, terms: Terms) -> list[str]:
    said = "as stated" if terms.is_stated else "assumed, C. com. art. L441-10"
    assumptions = [f"due_on = issued_on + {terms.default} ({said})"]
    if terms.customers:
        assumptions[0] += f", but for {len(terms.customers)} customer(s) with terms of their own"
    assumptions.append("recorded_at = EcritureDate (assumed)")
    if (found.parts["operation"] == OPENING).any():
        assumptions.append(OPENINGS_ASSUMED)
    return assumptions


def _verdict(
    file: Lines,
    lines: pd.DataFrame,
    entry: Ints,
    found: Receivables,
    terms: Terms,
    n_aside: int,
) -> Verdict:
    parts, invoices = found.parts, found.tables["invoices"]
    by_customer = int(invoices["customer_id"].isin(list(terms.customers)).sum())
    opening = parts["operation"] == OPENING
    repeated = parts["aside"] == "opening_already_known"
    alone = lines.loc[lines["customer"].notna() & lines["auxiliary"].isna(), "customer"]
    known_here = set(lines["customer"].dropna().unique())
    days = (lines["validated_on"] - lines["booked_on"]).dt.days.median()
    return Verdict(
        encoding=file.encoding,
        separator=file.separator,
        lines=file.count,
        lines_aside=n_aside,
        entries=len(np.unique(entry)),
        first_on=_day(lines["booked_on"].min()),
        last_on=_day(lines["booked_on"].max()),
        matched=_matched(found, lines),
        returns_inferred=int(found.shares["inferred"].sum()),
        due_by_customer=by_customer,
        due_by_default=len(invoices) - by_customer,
        default_terms=f"{terms.default}, {'stated' if terms.is_stated else 'assumed'}",
        terms_without_customer=len(set(terms.customers) - known_here),
        openings=int((opening & ~repeated).sum()),
        openings_known=int(repeated.sum()),
        openings_recognised=int((repeated & parts["invoice_id"].notna()).sum()),
        closings=int((parts["aside"] == "closing_entry").sum()),
        transfers=int(((parts["kind"] == "transfer") & parts["is_debit"]).sum()),
        redated=int(parts["redated"].sum()),
        without_auxiliary=alone.nunique(),
        validated_days=None if pd.isna(days) else float(days),
        unusual=_unusual(parts),
    )


def _day(moment: pd.Timestamp) -> date:
    return moment.date()


def _matched(found: Receivables, lines: pd.DataFrame) -> Matched:
    """Sum what settled invoices; of nameless money, what exceeds all that its payer owes is lost.

    That excess is a balance in credit on the file's last day.
    """
    settled = found.shares[found.shares["kind"] != "reversal"]
    cents = settled["amount_cents"]
    nameless, inferred = settled["invoice_id"].isna(), settled["inferred"]
    whose = lines["customer"].notna()
    balance = lines.loc[whose, "cents"].groupby(lines.loc[whose, "customer"]).sum()
    waiting = cents[nameless].groupby(settled.loc[nameless, "customer_id"]).sum()
    unmatched = np.minimum((-balance).clip(lower=0).reindex(waiting.index), waiting).sum()
    return Matched(
        lettered_cents=int(cents[~nameless & ~inferred].sum()),
        inferred_cents=int(cents[nameless | inferred].sum() - unmatched),
        unmatched_cents=int(unmatched),
    )


def _unusual(parts: pd.DataFrame) -> dict[str, int]:
    """Count the operations that are neither sale, money, loss nor transfer, by what they became."""
    odd = parts[parts["operation"].isin([OTHER, SET_OFF]) & parts["aside"].isna()]
    side = odd["is_debit"].map({True: "debit", False: "credit"})
    what = side + " against " + odd["contra"] + ", read as " + odd["kind"].str.replace("_", " ")
    return {str(name): int(n) for name, n in what.value_counts().items()}
