"""Tables of a portfolio for the terminal; each says what it counts, in which unit."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from rich.table import Table

from commands.portfolio import Report
from commands.shared import as_date
from models.factoring import WORDS, by_reason
from models.late_interest import claim, last_day_with_rate
from models.provisions import Cell, matrix, owed_without_answer
from models.receivables import bucket_names, days_of_index

LARGEST = 5
WORST = 3
NOTHING = "–"


def money(cents: int) -> str:
    """Write cents as units with two decimals, without a float.

    >>> money(123456789), money(-5), money(0)
    ('1,234,567.89', '-0.05', '0.00')
    """
    whole, rest = divmod(abs(cents), 100)
    return f"{'-' if cents < 0 else ''}{whole:,}.{rest:02d}"


def share(rate: float, decimals: int = 1) -> str:
    """Write a share in per cent; – where there is none."""
    return NOTHING if math.isnan(rate) else f"{rate:.{decimals}%}"


def days(number: float) -> str:
    """Write a number of days; – where there is none."""
    return NOTHING if math.isnan(number) else f"{number:.1f} d"


class Section(NamedTuple):
    """A table and what is to be known to read it, a line each."""

    table: Table
    notes: list[str]


def sections(report: Report) -> list[Section]:
    """Lay out all that is shown."""
    shown = [by_measure(report), by_age(report), by_size(report)]
    shown += [by_rate(report), by_loss(report), by_eligibility(report), by_lateness(report)]
    if report.measured.beyond_law.invoices.size:
        shown.append(by_terms(report))
    return shown


def _table(title: str, *headings: str, left: int = 1) -> Table:
    table = Table(title=title, title_justify="left")
    for place, heading in enumerate(headings):
        is_text = place < left
        table.add_column(heading, justify="left" if is_text else "right", no_wrap=not is_text)
    return table


def by_measure(report: Report) -> Section:
    """Show the measures, one line each with its definition."""
    m, how = report.measured, report.how.measures
    lately, paid = m.period, m.beyond_terms
    title = f"Receivables (encours clients), as known at the end of {report.day}, {report.currency}"
    table = Table(title=title, title_justify="left")
    table.add_column("measure (mesure)")
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("definition")
    span, window = f"last {lately.days} days", f"last {how.settled_days} days"
    rows: list[tuple[str, str, str] | None] = [
        (
            "open invoices (factures ouvertes)",
            money(lately.closing),
            f"{sum(m.ageing_invoices):,} invoices, tax included, disputed ones too",
        ),
        (
            "unapplied (règlements non lettrés)",
            money(m.unapplied_cents),
            "money and credit notes received that no invoice has used; not deducted above",
        ),
        (
            "exposure (encours)",
            money(int(m.owed_by_customer.sum())),
            "open less unapplied, customer by customer; not netted: customers in credit, "
            f"{money(int(report.portfolio.credit_cents.sum()))}",
        ),
        ("disputed (litiges)", money(m.disputed_cents), "open invoices under an open dispute"),
        None,
        (
            f"sales, {span} (ventes)",
            money(lately.sales),
            f"invoiced {money(lately.invoiced)} less credit notes {money(lately.credited)}",
        ),
        (
            "DSO (délai moyen de règlement)",
            days(m.simple_dso),
            f"open invoices ÷ sales × days, {span}",
        ),
        (
            "DSO by count-back (épuisement)",
            days(m.count_back_dso),
            "months of sales that the open invoices use up, the latest first; – when they "
            "exceed all sales known",
        ),
        (
            "best-possible DSO (DSO théorique)",
            days(m.best_possible_dso),
            "the same of what is not yet due: the terms granted",
        ),
        ("ADD (retard moyen)", days(m.days_delinquent), "DSO less best-possible DSO"),
        (
            "CEI (efficacité du recouvrement)",
            share(m.collection_effectiveness),
            "collected ÷ collectable: (opening + sales − written off − closing) ÷ (opening + "
            f"sales − closing not due), {span}",
        ),
        None,
        (
            "payment index (indice de paiement)",
            NOTHING if math.isnan(paid.payment_index) else f"{paid.payment_index:.0f}",
            f"0–100, 80 = on terms: mean over {paid.invoices:,} invoices paid in full in the "
            f"{window}, by amount{_as_days(paid.payment_index)}",
        ),
        (
            "days beyond terms (jours de retard)",
            days(paid.early_counts),
            "Σ amount × days late ÷ Σ amount of the same; early counts negative",
        ),
        ("  early counts 0", days(paid.late_only), "the same, early payment counts 0"),
        (
            "  with open invoices",
            days(paid.with_open),
            "early negative, and what is open and past due counts with its days so far",
        ),
    ]
    for row in rows:
        if row is None:
            table.add_section()
        else:
            table.add_row(*row)
    return Section(table, [])


def _as_days(index: float) -> str:
    if math.isnan(index):
        return ""
    number = float(days_of_index(index))
    return f"; as {days(abs(number))} {'late' if number > 0 else 'early'}"


def by_age(report: Report) -> Section:
    """Show the open invoices by age."""
    m = report.measured
    total = m.period.closing
    table = _table("Ageing (balance âgée)", "days past due", "invoices", "amount", "share")
    names = bucket_names(report.how.measures.ageing_days)
    for name, invoices, cents in zip(names, m.ageing_invoices, m.ageing_cents, strict=True):
        part = cents / total if total else math.nan
        table.add_row(name, f"{invoices:,}", money(cents), share(part))
    table.add_section()
    overdue = total - m.ageing_cents[0]
    count = f"{sum(m.ageing_invoices[1:]):,}"
    table.add_row("overdue (échu)", count, money(overdue), share(overdue / total if total else 0))
    table.add_row("open", f"{sum(m.ageing_invoices):,}", money(total), "")
    return Section(table, [])


def by_size(report: Report) -> Section:
    """Show how much depends on few customers, and name those that weigh most."""
    m, named_from = report.measured, float(report.how.measures.named_customer_rate)
    table = _table("Concentration", "customer (client)", "exposure", "share", "turnover, 1 year")
    table.add_column("share", justify="right")
    for label, field in (("largest", 1), ("top 5", 5), ("top 10", 10)):
        owed, sold = (getattr(one, f"top_{field}_rate") for one in (m.exposure, m.turnover))
        table.add_row(label, "", share(owed), "", share(sold))
    table.add_row("Herfindahl (Σ share²)", "", *_herfindahl(report))
    table.add_section()
    owed_total, sold_total = int(m.owed_by_customer.sum()), int(m.sold_by_customer.sum())
    for customer in _weighty(report):
        owed, sold = int(m.owed_by_customer[customer]), int(m.sold_by_customer[customer])
        shares = [owed / (owed_total or 1), sold / (sold_total or 1)]
        star = " *" if max(shares) >= named_from else ""
        name = f"{report.names[customer]}{star}"
        table.add_row(name, money(owed), share(shares[0]), money(sold), share(shares[1]))
    note = f"* {named_from:.0%} or more of the exposure or of the turnover: much depends on it."
    return Section(table, [note])


def _weighty(report: Report) -> list[int]:
    """Pick the customers to name: who owes or buys most, and all that are a large share."""
    m, chosen = report.measured, []
    named_from = float(report.how.measures.named_customer_rate)
    for found, cents in ((m.exposure, m.owed_by_customer), (m.turnover, m.sold_by_customer)):
        total, most = int(cents.sum()), LARGEST if found is m.exposure else 1
        for place, customer in enumerate(found.order.tolist()):
            if cents[customer] == 0 or (place >= most and cents[customer] < named_from * total):
                break
            chosen.append(customer)
    return list(dict.fromkeys(chosen))


def _herfindahl(report: Report) -> list[str]:
    def said(value: float) -> str:
        return NOTHING if math.isnan(value) else f"{value:.3f}"

    m = report.measured
    return [said(m.exposure.herfindahl), "", said(m.turnover.herfindahl)]


def by_rate(report: Report) -> Section:
    """Show the provision matrix: probabilities of default by group and age, on both bases."""
    names = bucket_names((*report.how.provision.ageing_days, report.how.provision.default_days))
    by, is_one = report.groups.by, report.groups.by == "none"
    ages = "by age alone" if is_one else f"by age and {by}"
    bases = "roll rate" if report.model is None else "roll rate | model"
    title = f"Provision matrix (matrice de provisions): {bases}, {ages}"
    table = _table(title, "group" if is_one else by, *names)
    cells = {(cell.group, cell.bucket): cell for cell in _cells(report)}
    for place, name in enumerate(report.groups.names):
        found = [cells.get((place, age)) for age in range(len(names))]
        if any(found):
            table.add_row(name, *(_rates(report, cell) for cell in found))
    how = report.how.provision
    lines = [
        f"Roll rate: of what came into the cell in {how.history_days} days, the share that came to "
        f"be more than {how.default_days} days past due; disputed invoices left out.",
        f"~ fewer than {how.fewest_invoices} invoices: the rate of that age over all groups.",
        "Customers under insolvency proceedings count 100 %.",
    ]
    if report.model is None:
        lines.append(f"No model column: {report.why}.")
    else:
        lines.append(
            f"Model: {report.model}, default within the days left to the due date + "
            f"{how.horizon_days}; weighted by what is at risk."
        )
        lines.append(
            "The roll rate follows the invoice and the model the customer, who defaults by a share "
            "of what it owes: of a single invoice long overdue the roll rate knows more."
        )
    if report.groups.by == "grade":
        lines.append("Past invoices are grouped by the grade of the day they fell due.")
    return Section(table, lines)


def _cells(report: Report) -> list[Cell]:
    n_buckets = len(report.how.provision.ageing_days) + 2
    return matrix(report.provisioned, n_buckets, len(report.groups.names))


def _rates(report: Report, cell: Cell | None) -> str:
    if cell is None:
        return ""
    pooled = "~" if report.rolls.is_pooled[cell.bucket, cell.group] else ""
    said = f"{pooled}{share(cell.historical_rate)}"
    return said if report.model is None else f"{said} | {share(cell.model_rate)}"


def by_loss(report: Report) -> Section:
    """Show the expected credit losses by age, on both bases."""
    how, p = report.how.provision, report.provisioned
    names = bucket_names((*how.ageing_days, how.default_days))
    title = f"Expected credit losses (pertes attendues, IFRS 9), {report.currency}"
    table = _table(title, "days past due", "exposure", "insured", "at risk", "ECL, roll rates")
    table.add_column("ECL, model", justify="right")

    def row(label: str, chosen: np.ndarray) -> None:
        owed, insured = int(p.owed_cents[chosen].sum()), int(p.insured_cents[chosen].sum())
        lost = [money(int(p.historical_cents[chosen].sum()))]
        lost.append(money(int(p.model_cents[chosen].sum())) if report.model else NOTHING)
        table.add_row(label, money(owed), money(insured), money(owed - insured), *lost)

    for place, name in enumerate(names):
        row(name, p.bucket == place)
    table.add_section()
    row("total", np.ones(p.bucket.size, bool))
    return Section(table, _loss_notes(report))


def _loss_notes(report: Report) -> list[str]:
    how, p, lost = report.how.provision, report.provisioned, report.lost
    lgd = float(how.lgd_rate)
    lines = [
        f"ECL = (exposure − insured) × probability × LGD {lgd:.0%}, to the cent on each invoice; "
        "disputed invoices are not insured."
    ]
    if lost.defaulted_cents:
        lines.append(
            f"Seen: of {money(lost.defaulted_cents)} once in default, {share(lost.rate)} were "
            f"still unpaid a year after the due date, beside the LGD of {lgd:.0%}."
        )
    if np.isnan(p.historical_rate[p.owed_cents > 0]).any():
        lines.append("The ledger is too short for some roll rates: those cells provision nothing.")
    if report.model is not None:
        unsaid = owed_without_answer(report.portfolio, p)
        lines.append(f"The model abstains on {money(unsaid)}, which take the roll rates.")
    else:
        lines.append(f"No model: {report.why}.")
    return lines


def by_eligibility(report: Report) -> Section:
    """Show what a factor would finance, and why not the rest."""
    how, judged = report.how.factoring, report.judged
    table = _table(
        f"Factoring (affacturage), {report.currency}", "reason (motif)", "invoices", "amount",
        "share",
    )  # fmt: skip
    total = int(report.portfolio.owed_cents.sum())
    for line in by_reason(report.portfolio, judged):
        part = line.cents / total if total else math.nan
        table.add_row(WORDS[line.reason], f"{line.invoices:,}", money(line.cents), share(part))
    table.add_section()
    table.add_row("exposure (encours)", "", money(total), "")
    table.add_row(
        f"advance (avance), {float(how.advance_rate):.0%}", "", money(judged.advance_cents), ""
    )
    notes = [
        f"First reason that holds. Too overdue: > {how.most_days_past_due} days; too old: > "
        f"{how.most_days_old} days; one customer at most {float(how.concentration_rate):.0%} of "
        "what is eligible before that limit.",
        "An invoice cut by a limit counts in both lines. Your agreement decides: --parameters.",
    ]
    return Section(table, notes)


def by_lateness(report: Report) -> Section:
    """Show interest and indemnities of late payment."""
    how, due = report.how.late_interest, report.due
    in_euros = report.currency == "EUR"
    table = _table(
        f"Late payment (pénalités de retard), {report.currency}", "invoices", "late", "interest",
        f"indemnity {money(how.indemnity_cents)} €",
    )  # fmt: skip
    is_open = report.portfolio.open_cents > 0
    everything = np.ones(is_open.size, bool)
    for label, chosen in (
        ("open, past due", is_open),
        ("settled late", ~is_open),
        ("total", everything),
    ):
        one = claim(due, chosen)
        indemnity = money(one.indemnity_cents) if in_euros else NOTHING
        table.add_row(label, f"{one.invoices:,}", money(one.interest_cents), indemnity)
    lines = [
        f"To {report.day}. C. com. L441-10 II: {_rate_words(report)} a year, each day after the "
        "due date, on what is unpaid; D441-5: one indemnity a late invoice.",
        f"Of {how.limitation_days // 365} years; not of disputed invoices, nor after insolvency "
        "proceedings opened. What the law allows to claim, not what was claimed.",
    ]
    bare = claim(due, everything).without_rate
    if bare:
        last = last_day_with_rate(how)
        lines.append(
            f"! {bare:,} invoices have days without a rate, which bear none here: the rates of "
            f"models/receivables.yaml end on {last}. Bring them up to date."
        )
    if not in_euros:
        lines.append("The indemnity is in euros and is not converted.")
    return Section(table, lines)


def _rate_words(report: Report) -> str:
    how = report.how.late_interest
    if how.agreed_rate is None:
        return f"the ECB's rate + {float(how.points_rate) * 100:g} points"
    return f"{float(how.agreed_rate):.2%} agreed, at least {how.legal_multiple} × the legal rate"


def by_terms(report: Report) -> Section:
    """Show the invoices whose terms exceed the legal maximum, the longest first."""
    found, seen = report.measured.beyond_law, report.portfolio
    terms = seen.due_on - seen.issued_on
    table = _table(
        "Terms beyond the law (délais supérieurs au maximum légal)",
        "invoice", "customer", "issued", "due", "days", "amount", left=2,
    )  # fmt: skip
    longest = found.invoices[np.argsort(-terms[found.invoices], kind="stable")][:WORST]
    for i in longest.tolist():
        issued, due = (str(as_date(int(day[i]))) for day in (seen.issued_on, seen.due_on))
        name = report.names[int(seen.customer[i])]
        amount = money(int(seen.amount_cents[i]))
        table.add_row(str(seen.invoice_id[i]), name, issued, due, str(terms[i]), amount)
    note = (
        f"{found.invoices.size:,} of {found.looked_at:,} invoices of the last year or still open, "
        f"{money(found.cents)}: beyond 60 days, and beyond 45 days end of month (C. com. L441-10 "
        "I). Shorter maxima (30 days for transport and perishables) are not known here."
    )
    return Section(table, [note])
