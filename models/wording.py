"""The words of a decision, in French and in English: for the seller, and for the customer."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from models.limits import Line, Order
from models.options import Priced
from models.policy_file import Kind


class Said(NamedTuple):
    """A decision in one sentence each: for the seller, and to be repeated to the customer."""

    fr: str
    en: str
    customer_fr: str
    customer_en: str


class Words(NamedTuple):
    """A text in both languages."""

    fr: str
    en: str


NOBODY_KNOWS = Said(
    "Faire décider une personne : pas de probabilité de défaut.",
    "A person decides: no probability of default.",
    "Votre commande est à l’étude ; nous revenons vers vous rapidement.",
    "Your order is being reviewed; we will come back to you shortly.",
)
LABELS: dict[Kind, Words] = {
    "open": Words("crédit", "open terms"),
    "deposit": Words("acompte", "deposit"),
    "reduced_limit": Words("livraison partielle", "part of the order"),
    "shorter_terms": Words("délai raccourci", "shorter terms"),
    "retention_of_title": Words("réserve de propriété", "retention of title"),
    "bank_guarantee": Words("garantie bancaire", "bank guarantee"),
    "letter_of_credit": Words("crédit documentaire", "letter of credit"),
    "insured_sale": Words("vente assurée", "insured sale"),
    "factoring": Words("affacturage sans recours", "factoring without recourse"),
    "cash": Words("comptant", "cash before delivery"),
    "refuse": Words("refus", "refusal"),
}


def decision(pick: Priced | None, order: Order, *, held: bool) -> Said:
    """Say what was chosen or, where a person has to decide, what is proposed.

    Parameters
    ----------
    pick : Priced or None
        The option chosen; None when there is no probability.
    order : Order
    held : bool
        Whether a person decides: the customer is then told no more than that.
    """
    if pick is None:
        return NOBODY_KNOWS
    seller, customer = _for_the_seller(pick, order), _for_the_customer(pick, order)
    if not held:
        return Said(*seller, *customer)
    return Said(
        f"Faire décider une personne ; proposition : {_low(seller.fr)}",
        f"A person decides; proposal: {_low(seller.en)}",
        NOBODY_KNOWS.customer_fr,
        NOBODY_KNOWS.customer_en,
    )


def derivation(pick: Priced, order: Order) -> tuple[Line, ...]:
    """Derive the worth of an option, line by line."""
    margin = pick.offer.share * order.margin_cents
    lines = [Line("Marge de ce qui est livré", "Margin of what is delivered", round(margin))]
    if pick.margin > margin:
        further = round(pick.margin - margin)
        lines.append(Line("Marge des commandes suivantes", "Margin of further orders", further))
    lines.append(Line("Livré à crédit", "Delivered on credit", round(pick.offer.on_credit_cents)))
    if pick.default_probability is not None:
        probability, lgd_rate = float(pick.default_probability), float(pick.lgd_rate)
        lines += [
            Line("Probabilité de défaut", "Probability of default", probability, "rate"),
            Line("Perte en cas de défaut", "Loss given default", lgd_rate, "rate"),
            Line("Encours non assuré ajouté", "Uninsured exposure added", round(pick.uninsured)),
            Line("Perte attendue", "Expected loss", round(pick.loss)),
            Line("Financement", "Funding", round(pick.funding)),
            Line("Coût de l’instrument", "Cost of the instrument", round(pick.cost)),
        ]
    accepted = float(pick.offer.acceptance)
    lines.append(Line("Acceptation", "Acceptance", accepted, "rate"))
    lines.append(Line("Résultat attendu", "Expected profit", round(pick.profit)))
    return tuple(lines)


def _for_the_seller(pick: Priced, order: Order) -> Words:
    terms, shorter = order.terms_days, pick.offer.terms_days
    rate, part = _rate(pick), _money(pick.offer.on_credit_cents)
    said: dict[Kind, Words] = {
        "open": Words(f"Accepter avec paiement à {terms} jours.", f"Accept on {terms}-day terms."),
        "deposit": Words(
            f"Accepter avec un acompte de {rate.fr} % à la commande.",
            f"Accept with a {rate.en} % deposit on order.",
        ),
        "reduced_limit": Words(
            f"Livrer pour {part.fr}, ce que permet la limite.",
            f"Deliver {part.en} of it, what the limit allows.",
        ),
        "shorter_terms": Words(
            f"Accepter avec paiement à {shorter} jours au lieu de {terms}.",
            f"Accept on {shorter}-day terms instead of {terms}.",
        ),
        "retention_of_title": Words(
            "Accepter sous réserve de propriété.", "Accept under retention of title."
        ),
        "bank_guarantee": Words(
            "Accepter contre une garantie bancaire à première demande.",
            "Accept against a bank guarantee on first demand.",
        ),
        "letter_of_credit": Words(
            "Accepter contre un crédit documentaire.", "Accept against a letter of credit."
        ),
        "insured_sale": Words(
            "Accepter une fois la commande couverte par l’assureur-crédit.",
            "Accept once the credit insurer covers the order.",
        ),
        "factoring": Words(
            "Accepter en cédant la facture au factor, sans recours.",
            "Accept, and sell the invoice to the factor without recourse.",
        ),
        "cash": Words("Livrer après paiement comptant.", "Deliver after cash payment."),
        "refuse": Words("Refuser la commande.", "Refuse the order."),
    }
    if order.unpaid_cents == 0 and pick.offer.kind == "cash":
        return Words("Livrer : la commande est payée.", "Deliver: the order is paid.")
    return said[pick.offer.kind]


def _for_the_customer(pick: Priced, order: Order) -> Words:
    terms, shorter = order.terms_days, pick.offer.terms_days
    rate, part = _rate(pick), _money(pick.offer.on_credit_cents)
    said: dict[Kind, Words] = {
        "open": Words(
            f"Votre commande est acceptée, payable à {terms} jours.",
            f"Your order is accepted, payable in {terms} days.",
        ),
        "deposit": Words(
            f"Nous lançons votre commande dès réception d’un acompte de {rate.fr} %, le solde à "
            f"{terms} jours.",
            f"We start your order on receipt of a {rate.en} % deposit, the balance in {terms} "
            "days.",
        ),
        "reduced_limit": Words(
            f"Nous pouvons livrer dès maintenant pour {part.fr} ; le reste suivra vos règlements.",
            f"We can deliver {part.en} of it now; the rest follows your payments.",
        ),
        "shorter_terms": Words(
            f"Nous acceptons votre commande avec un paiement à {shorter} jours.",
            f"We accept your order with payment in {shorter} days.",
        ),
        "retention_of_title": Words(
            "Nous acceptons votre commande ; la marchandise reste notre propriété jusqu’au "
            "paiement complet.",
            "We accept your order; the goods remain ours until they are paid in full.",
        ),
        "bank_guarantee": Words(
            "Nous acceptons votre commande contre une garantie de votre banque.",
            "We accept your order against a guarantee from your bank.",
        ),
        "letter_of_credit": Words(
            "Nous acceptons votre commande contre un crédit documentaire de votre banque.",
            "We accept your order against a letter of credit from your bank.",
        ),
        "insured_sale": Words(
            "Nous acceptons votre commande dès l’accord de notre assureur-crédit.",
            "We accept your order as soon as our credit insurer agrees.",
        ),
        "factoring": Words(
            "Nous acceptons votre commande ; la facture sera à régler à notre société "
            "d’affacturage.",
            "We accept your order; the invoice will be payable to our factoring company.",
        ),
        "cash": Words(
            "Nous livrons votre commande dès réception de votre paiement.",
            "We deliver your order on receipt of your payment.",
        ),
        "refuse": Words(
            "Nous ne pouvons pas donner suite à cette commande.",
            "We are unable to take this order.",
        ),
    }
    if order.unpaid_cents == 0 and pick.offer.kind == "cash":
        return Words(
            "Votre paiement est reçu : nous livrons votre commande.",
            "Your payment has arrived: we deliver your order.",
        )
    return said[pick.offer.kind]


def _rate(pick: Priced) -> Words:
    rate = f"{100 * float(pick.offer.deposit_rate or 0):g}"
    return Words(rate.replace(".", ","), rate)


def _money(cents: Decimal) -> Words:
    """Write an amount as each language does.

    >>> _money(Decimal(1234567))
    Words(fr='12 345,67', en='12,345.67')
    """
    written = f"{Decimal(round(cents)) / 100:,.2f}"
    return Words(written.replace(",", " ").replace(".", ","), written)


def _low(sentence: str) -> str:
    return f"{sentence[0].lower()}{sentence[1:]}"
