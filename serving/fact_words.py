"""Why a fact is refused, in words; the codes are the names of the ledger's rules, or our own."""

from __future__ import annotations

from typing import NamedTuple


class Words(NamedTuple):
    """One meaning in both languages."""

    fr: str
    en: str


WORDS = {
    "blank_identifier": Words("L'identifiant est vide.", "The identifier is blank."),
    "missing_value": Words("Une valeur obligatoire manque.", "A required value is missing."),
    "date_out_of_range": Words(
        "La date est avant 1990 ou après 2100.", "The date is before 1990 or after 2100."
    ),
    "amount_not_positive": Words("Le montant doit être > 0.", "The amount must be > 0."),
    "amount_negative": Words("Le montant doit être ≥ 0.", "The amount must be ≥ 0."),
    "unknown_kind": Words("Ce `kind` n'existe pas.", "There is no such `kind`."),
    "due_before_issue": Words(
        "L'échéance précède la date de la facture.", "It is due before it is issued."
    ),
    "closed_before_opened": Words(
        "Le litige est clos avant d'être ouvert.", "The dispute is closed before it is opened."
    ),
    "rate_outside_0_1": Words("Le taux doit être de 0 à 1.", "The rate must be 0 to 1."),
    "ends_before_start": Words(
        "La garantie finit avant de commencer.", "The cover ends before it starts."
    ),
    "published_before_closed": Words(
        "Les comptes sont publiés avant la clôture de l'exercice.",
        "The accounts are published before the financial year is closed.",
    ),
    "closed_before_accepted": Words(
        "La commande est soldée avant d'être acceptée.",
        "The order is closed before it is accepted.",
    ),
    "deposit_above_amount": Words(
        "L'acompte dépasse le montant de la commande.", "The deposit is above the order's amount."
    ),
    "blank_value": Words(
        "La valeur est vide : null met fin à la précédente.",
        "The value is blank: null ends the one before.",
    ),
    "bank_details_are_not_kept": Words(
        "Ne donnez jamais de coordonnées bancaires : `verified` ou `unverified`.",
        "Never give bank details: `verified` or `unverified`.",
    ),
    "unknown_importance": Words(
        "L'importance est `normal`, `important` ou `key`.",
        "The importance is `normal`, `important` or `key`.",
    ),
    "unknown_customer": Words(
        "Ce client n'est ni dans le registre ni, accepté, dans cet appel.",
        "This customer is neither in the ledger nor, accepted, in this call.",
    ),
    "unknown_invoice": Words(
        "Cette facture n'est ni dans le registre ni, acceptée, dans cet appel.",
        "This invoice is neither in the ledger nor, accepted, in this call.",
    ),
    "not_the_invoiced_customer": Words(
        "La facture est celle d'un autre client.", "The invoice is another customer's."
    ),
    "belongs_to_another_customer": Words(
        "Ce numéro est déjà celui d'un autre client.", "This number is another customer's already."
    ),
    "duplicate": Words(
        "Cet appel contient déjà la même ligne.", "This call has the same row already."
    ),
    "duplicate_with_other_content": Words(
        "Cet appel contient déjà une autre version de ce numéro : envoyez une correction dans un "
        "appel suivant.",
        "This call has another version of this number already: send a correction in a later call.",
    ),
    "recorded_in_the_future": Words(
        "`recorded_at` est dans le futur : ce qui est arrivé est déjà connu.",
        "`recorded_at` is in the future: what has arrived is known already.",
    ),
}

OF_PROSPECTS = {
    "not_one_company": Words(
        "Décrivez un seul prospect : une ligne de `customers`.",
        "Describe one prospect: one row of `customers`.",
    ),
    "another_company": Words(
        "Ce fait ne concerne pas le prospect décrit dans `customers`.",
        "This fact is not of the prospect that `customers` describes.",
    ),
}
