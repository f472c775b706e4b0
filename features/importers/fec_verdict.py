"""What the import of a FEC knows, supposes and cannot know, for who decides whether to trust it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date

CANNOT_SAY = (
    "due dates",
    "the moment of recording",
    "disputes",
    "covers",
    "insolvencies",
    "sectors",
    "natural persons",
)


@dataclass(frozen=True)
class Matched:
    """Cents paid, credited or written off, by how the invoice is known."""

    lettered_cents: int = 0
    inferred_cents: int = 0
    unmatched_cents: int = 0

    @property
    def total_cents(self) -> int:
        """All that was settled."""
        return self.lettered_cents + self.inferred_cents + self.unmatched_cents

    def rate(self, cents: int) -> float:
        """Give the share of `cents` in all that was settled; 0 when nothing was."""
        return cents / self.total_cents if self.total_cents else 0.0


@dataclass(frozen=True)
class Verdict:
    """Counts and amounts that tell how far to trust the import of a FEC.

    Attributes
    ----------
    encoding, separator : str
        How the file was written.
    lines, lines_aside, entries : int
        Lines after the header, lines put aside, entries.
    first_on, last_on : date
        Dates of the first and the last entry.
    matched : Matched
        Settled amounts by lettering, by inference (first-in first-out, or a return by its
        amount), or without an invoice to go to.
    returns_inferred : int
        Returned payments and the payments they undo, whose invoice was told by amount and date.
    due_by_customer, due_by_default : int
        Invoices due by terms stated for their customer, by the default.
    default_terms : str
        That default, and whether it was stated.
    terms_without_customer : int
        Customers of the terms file that are not in this one.
    openings, openings_known : int
        Lines of opening entries read as open items; those set aside, being known already.
    openings_recognised : int
        Among those known, the lines that name their invoice.
    closings : int
        Lines of closing entries, set aside.
    transfers : int
        Moves between accounts of one customer: neither a payment nor an invoice.
    unusual : dict of str to int
        Other operations: what they are, against which account, what was made of them; lines.
    redated : int
        Lines whose PieceDate is after the entry's date or a year before it, and was not used.
    without_auxiliary : int
        Customers who are an account of their own.
    validated_days : float or None
        Median days from EcritureDate to ValidDate; null when there is no ValidDate.
    """

    encoding: str
    separator: str
    lines: int
    lines_aside: int
    entries: int
    first_on: date
    last_on: date
    matched: Matched
    returns_inferred: int
    due_by_customer: int
    due_by_default: int
    default_terms: str
    terms_without_customer: int
    openings: int
    openings_known: int
    openings_recognised: int
    closings: int
    transfers: int
    redated: int
    without_auxiliary: int
    validated_days: float | None
    unusual: dict[str, int] = field(default_factory=dict)

    def rows(self) -> Iterator[tuple[str, str]]:
        """Yield label and text, for a table on screen."""
        separator = {"\t": "tab"}.get(self.separator, self.separator)
        yield "file", f"{self.encoding}, separator {separator}"
        yield "lines read", f"{self.lines:,} in {self.entries:,} entries"
        if self.lines_aside:
            yield "lines put aside", f"{self.lines_aside:,}"
        yield "entries dated", f"{self.first_on} to {self.last_on}"
        matched = self.matched
        yield "settled by lettering", _share(matched, matched.lettered_cents)
        yield "settled by inference", _share(matched, matched.inferred_cents)
        yield "settled, no invoice found", _share(matched, matched.unmatched_cents)
        yield "due by the customer's terms", f"{self.due_by_customer:,} invoices"
        yield "due by default terms", f"{self.due_by_default:,} invoices: {self.default_terms}"
        yield "transfers, no payment", f"{self.transfers:,}"
        yield from self._oddities()
        days = self.validated_days
        seen = "none" if days is None else f"{days:.0f} days after the entry, by median"
        yield "ValidDate (not used)", seen
        yield "this file cannot say", ", ".join(CANNOT_SAY)

    def _oddities(self) -> Iterator[tuple[str, str]]:
        yield from ((f"unusual: {what}", f"{n:,} lines") for what, n in self.unusual.items())
        recognised = f"{self.openings_recognised:,} name their invoice"
        counts = {
            "opening lines read as open items": (self.openings, ""),
            "opening lines known already": (self.openings_known, recognised),
            "closing lines set aside": (self.closings, ""),
            "returns told by amount": (self.returns_inferred, ""),
            "document dates not used": (self.redated, "after the entry, or a year before"),
            "customers without auxiliary": (self.without_auxiliary, "named by their account"),
            "customers of the terms not here": (self.terms_without_customer, ""),
        }
        for label, (n, remark) in counts.items():
            if n:
                yield label, f"{n:,}{', ' * bool(remark)}{remark}"


def _share(matched: Matched, cents: int) -> str:
    return f"{matched.rate(cents):.1%} of {matched.total_cents / 100:,.2f} EUR"
