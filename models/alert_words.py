"""The sentences of alerts, in French and in English, with the same figures."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from models.wording import Words

Written = tuple[str, str]  # in French and in English


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
        return self._put(name, _money(cents, self._currency))

    def rate(self, name: str, share: float) -> Figures:
        """Add a share, as per cent."""
        return self._put(name, _rate(share))

    def times(self, name: str, factor: float) -> Figures:
        """Add a factor."""
        return self._put(name, _times(factor))

    def day(self, name: str, day: date) -> Figures:
        """Add a date."""
        return self._put(name, _day(day))

    def days(self, name: str, count: int) -> Figures:
        """Add a number of days, singular or plural."""
        return self._put(name, _days(count))

    def text(self, name: str, text: str) -> Figures:
        """Add what is written the same in both."""
        return self._put(name, _text(text))

    def fill(self, fr: str, en: str) -> Words:
        """Put the figures in the sentences."""
        return Words(fr.format_map(self._fr), en.format_map(self._en))

    def _put(self, name: str, written: Written) -> Figures:
        self._fr[name], self._en[name] = written
        return self


def _money(cents: int, currency: str) -> Written:
    en = f"{Decimal(cents) / 100:,.2f}"
    fr = en.replace(",", " ").replace(".", ",")
    return f"{fr} {currency}", f"{en} {currency}"


def _rate(share: float) -> Written:
    en = f"{100 * share:.1f}"
    return f"{en.replace('.', ',')} %", f"{en} %"


def _times(factor: float) -> Written:
    en = f"{factor:.1f}"
    return en.replace(".", ","), en


def _day(day: date) -> Written:
    return f"{day:%d/%m/%Y}", str(day)


def _days(count: int) -> Written:
    s = "s" if abs(count) != 1 else ""
    return f"{count} jour{s}", f"{count} day{s}"


def _text(text: str) -> Written:
    return text, text
