"""What a person can change about an order, and the words for it."""

from __future__ import annotations

from datetime import date
from typing import Literal, NamedTuple, get_args

from models.alert_words import Figures
from models.limits import Order
from models.wording import Words

ChangeKind = Literal[
    "deposit", "smaller_order", "shorter_terms", "pay_invoices", "pay_invoices_and_deposit"
]
KINDS: tuple[ChangeKind, ...] = get_args(ChangeKind)
MOST_NAMED = 5  # invoices in a sentence


class Owed(NamedTuple):
    """An invoice that can be paid: what is open of it, in cents, and the day it is due."""

    invoice_id: str
    open_cents: int
    due_on: int


class Change(NamedTuple):
    """Something that the customer or the seller does otherwise.

    Attributes
    ----------
    kind : str
    order : Order
        As it becomes; the margin goes with the amount, in proportion.
    invoices : tuple of Owed
        Paid in full, and recorded.
    before : date or None
        By when the invoices are on the books: the first day on which it is too late.
    """

    kind: ChangeKind
    order: Order
    invoices: tuple[Owed, ...] = ()
    before: date | None = None

    @property
    def invoices_cents(self) -> int:
        """What the invoices cost."""
        return sum(one.open_cents for one in self.invoices)

    def deposit_cents(self, was: Order) -> int:
        """Return what is paid in advance, beyond what was."""
        return self.order.paid_cents - was.paid_cents

    def effort(self, was: Order) -> float:
        """Return what is paid sooner or not ordered, as a share of the order; of days, of terms.

        4,000 of 20,000 in advance are 0.2; so are 16,000 ordered instead, or 24 days for 30.
        """
        if self.kind == "shorter_terms":
            return 1 - self.order.terms_days / was.terms_days
        sooner = self.deposit_cents(was) + self.invoices_cents
        return (sooner + was.amount_cents - self.order.amount_cents) / was.amount_cents


def lowered(order: Order, amount_cents: int) -> Order:
    """Return the order for less, its margin in proportion, half to the even cent.

    >>> lowered(Order(20_000_00, 800_00, 30), 15_000_00)
    Order(amount_cents=1500000, margin_cents=60000, terms_days=30, paid_cents=0)
    """
    margin_cents = round(order.margin_cents * amount_cents / order.amount_cents)
    return order._replace(amount_cents=amount_cents, margin_cents=margin_cents)


def in_words(change: Change, was: Order, then: Words, currency: str) -> Words:
    """Say what to change and what is answered then.

    Parameters
    ----------
    change : Change
    was : Order
        As it was assessed.
    then : Words
        The decision in one sentence.
    currency : str
    """
    said = Figures(currency).text("fr", _low(then.fr)).text("en", _low(then.en))
    said.money("deposit", change.deposit_cents(was)).money("paid", change.invoices_cents)
    said.money("amount", change.order.amount_cents).days("terms", change.order.terms_days)
    more = Words(" de plus", " more") if was.paid_cents else Words("", "")
    in_advance = Words(
        "{deposit}" + more.fr + " versés d’avance sur la commande",
        "{deposit}" + more.en + " paid in advance on the order",
    )
    once_paid = Words("", "")
    if change.before is not None:
        said.day("before", change.before)
        once_paid = _once_paid(change)
    sentences: dict[ChangeKind, Words] = {
        "deposit": Words(f"Avec {in_advance.fr}", f"With {in_advance.en}"),
        "smaller_order": Words(
            "Avec une commande ramenée à {amount}", "With the order lowered to {amount}"
        ),
        "shorter_terms": Words("Avec un paiement à {terms}", "With terms of {terms}"),
        "pay_invoices": once_paid,
        "pay_invoices_and_deposit": Words(
            f"{once_paid.fr}, et avec {in_advance.fr}", f"{once_paid.en}, and with {in_advance.en}"
        ),
    }
    sentence = sentences[change.kind]
    return said.fill(sentence.fr + " : {fr}", sentence.en + ": {en}")


def _once_paid(change: Change) -> Words:
    """Say which invoices, by when; what an invoice is called is no format."""
    named = _named(change.invoices)
    if len(change.invoices) == 1:
        return Words(
            f"Si la facture {named.fr} ({{paid}}) est réglée et enregistrée avant le {{before}}",
            f"If invoice {named.en} ({{paid}}) is paid and recorded before {{before}}",
        )
    return Words(
        f"Si les factures {named.fr} ({{paid}}) sont réglées et enregistrées avant le {{before}}",
        f"If invoices {named.en} ({{paid}}) are paid and recorded before {{before}}",
    )


def _named(invoices: tuple[Owed, ...]) -> Words:
    """Name some of the invoices, and say how many others there are."""
    names = [one.invoice_id.replace("{", "{{").replace("}", "}}") for one in invoices]
    if len(names) == 1:
        return Words(names[0], names[0])
    shown, others = names[:MOST_NAMED], len(names) - MOST_NAMED
    last = Words(names[-1], names[-1])
    if others > 0:
        s = "s" if others > 1 else ""
        last = Words(f"{others} autre{s}", f"{others} other{s}")
    else:
        shown = shown[:-1]
    return Words(f"{', '.join(shown)} et {last.fr}", f"{', '.join(shown)} and {last.en}")


def _low(sentence: str) -> str:
    return f"{sentence[0].lower()}{sentence[1:]}"
