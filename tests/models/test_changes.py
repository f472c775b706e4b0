"""What a person can change about an order: the order as it becomes, the effort, the words."""

from __future__ import annotations

from datetime import date

import pytest

from models.changes import Change, Owed, in_words, lowered
from models.limits import Order
from models.wording import Words

ORDER = Order(20_000_00, 800_00, 30)
OPEN = Words("Accepter avec paiement à 30 jours.", "Accept on 30-day terms.")
INVOICES = tuple(Owed(f"F-{n}", 1_000_00, 20_000) for n in range(1, 8))


def test_the_margin_goes_with_the_amount_and_nothing_else_does():
    assert lowered(ORDER, 15_000_00) == Order(15_000_00, 600_00, 30)
    assert lowered(Order(3_00, -1_00, 7, 50), 2_00) == Order(2_00, -67, 7, 50)


@pytest.mark.parametrize(
    ("change", "effort"),
    [
        (Change("deposit", ORDER._replace(paid_cents=4_000_00)), 0.2),
        (Change("smaller_order", lowered(ORDER, 15_000_00)), 0.25),
        (Change("shorter_terms", ORDER._replace(terms_days=24)), 0.2),
        (Change("pay_invoices", ORDER, INVOICES[:2]), 0.1),
        (
            Change("pay_invoices_and_deposit", ORDER._replace(paid_cents=1_000_00), INVOICES),
            0.4,
        ),
    ],
)
def test_effort_is_what_is_paid_sooner_or_not_ordered_as_a_share(change, effort):
    assert change.effort(ORDER) == pytest.approx(effort)


def test_what_was_paid_before_is_no_effort():
    was = ORDER._replace(paid_cents=3_000_00)
    change = Change("deposit", was._replace(paid_cents=5_000_00))
    assert change.effort(was) == 0.1
    words = in_words(change, was, OPEN, "EUR")
    assert words.en.startswith("With 2,000.00 EUR more paid in advance on the order: accept on")
    assert words.fr.startswith("Avec 2 000,00 EUR de plus versés d’avance sur la commande : ")


@pytest.mark.parametrize(
    ("change", "fr", "en"),
    [
        (
            Change("deposit", ORDER._replace(paid_cents=4_213_00)),
            "Avec 4 213,00 EUR versés d’avance sur la commande : accepter avec paiement à 30 "
            "jours.",
            "With 4,213.00 EUR paid in advance on the order: accept on 30-day terms.",
        ),
        (
            Change("smaller_order", lowered(ORDER, 15_000_00)),
            "Avec une commande ramenée à 15 000,00 EUR : accepter avec paiement à 30 jours.",
            "With the order lowered to 15,000.00 EUR: accept on 30-day terms.",
        ),
        (
            Change("shorter_terms", ORDER._replace(terms_days=1)),
            "Avec un paiement à 1 jour : accepter avec paiement à 30 jours.",
            "With terms of 1 day: accept on 30-day terms.",
        ),
        (
            Change("pay_invoices", ORDER, (Owed("F{0}-7", 6_310_00, 0),), date(2026, 12, 1)),
            "Si la facture F{0}-7 (6 310,00 EUR) est réglée et enregistrée avant le 01/12/2026 : "
            "accepter avec paiement à 30 jours.",
            "If invoice F{0}-7 (6,310.00 EUR) is paid and recorded before 2026-12-01: accept on "
            "30-day terms.",
        ),
        (
            Change("pay_invoices", ORDER, INVOICES[:5], date(2026, 12, 1)),
            "Si les factures F-1, F-2, F-3, F-4 et F-5 (5 000,00 EUR) sont réglées et enregistrées "
            "avant le 01/12/2026 : accepter avec paiement à 30 jours.",
            "If invoices F-1, F-2, F-3, F-4 and F-5 (5,000.00 EUR) are paid and recorded before "
            "2026-12-01: accept on 30-day terms.",
        ),
        (
            Change(
                "pay_invoices_and_deposit",
                ORDER._replace(paid_cents=1_00),
                INVOICES,
                date(2026, 12, 1),
            ),
            "Si les factures F-1, F-2, F-3, F-4, F-5 et 2 autres (7 000,00 EUR) sont réglées et "
            "enregistrées avant le 01/12/2026, et avec 1,00 EUR versés d’avance sur la commande : "
            "accepter avec paiement à 30 jours.",
            "If invoices F-1, F-2, F-3, F-4, F-5 and 2 others (7,000.00 EUR) are paid and recorded "
            "before 2026-12-01, and with 1.00 EUR paid in advance on the order: accept on 30-day "
            "terms.",
        ),
    ],
)
def test_a_change_is_told_with_what_is_answered_then(change, fr, en):
    assert in_words(change, ORDER, OPEN, "EUR") == (fr, en)
