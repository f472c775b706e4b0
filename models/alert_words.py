"""The sentences of alerts, in French and in English, with the same figures."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from models.wording import Words


class Figures:
    """Figures of a sentence, each written as either language does.

    >>> Figures("EUR").money("owed", 1234567).fill("doit {owed}", "owes {owed}")
    Words(fr='doit 12 345,67 EUR', en='owes 12,345.67 EUR')
    """

    def __init__(self, currency: str) -> None:
        self._currency = currency
        self._fr: dict[str, str] = {}
        self._en: dict[str, str] = {}

    def money(self, name: str, cents: int) -> Figures:
        """Add an amount."""
        en = f"{Decimal(cents) / 100:,.2f}"
        fr = en.replace(",", " ").replace(".", ",")
        return self._put(name, f"{fr} {self._currency}", f"{en} {self._currency}")

    def rate(self, name: str, share: float) -> Figures:
        """Add a share, as per cent."""
        en = f"{100 * share:.1f}"
        return self._put(name, f"{en.replace('.', ',')} %", f"{en} %")

    def times(self, name: str, factor: float) -> Figures:
        """Add a factor."""
        en = f"{factor:.1f}"
        return self._put(name, en.replace(".", ","), en)

    def day(self, name: str, day: date) -> Figures:
        """Add a date."""
        return self._put(name, f"{day:%d/%m/%Y}", str(day))

    def days(self, name: str, count: int) -> Figures:
        """Add a number of days, singular or plural."""
        s = "s" if abs(count) != 1 else ""
        return self._put(name, f"{count} jour{s}", f"{count} day{s}")

    def text(self, name: str, text: str) -> Figures:
        """Add what is written the same in both."""
        return self._put(name, text, text)

    def fill(self, fr: str, en: str) -> Words:
        """Put the figures in the sentences."""
        return Words(fr.format_map(self._fr), en.format_map(self._en))

    def _put(self, name: str, fr: str, en: str) -> Figures:
        self._fr[name], self._en[name] = fr, en
        return self
