"""The sentences of alerts, in French and in English, with the same figures.

Most are never said: a rule gives its sentence at each look at a customer, and it is written only
when the rule has something to tell.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from models.wording import Words

Written = tuple[str, str]  # in French and in English


class Sentence(NamedTuple):
    """A sentence in both languages, and the figures that it is still to be written with."""

    fr: str
    en: str
    figures: dict[str, tuple[Callable[..., Written], tuple[Any, ...]]]

    def written(self) -> Words:
        """Write the figures into the sentence."""
        written = {name: write(*values) for name, (write, values) in self.figures.items()}
        fr, en = ({name: both[i] for name, both in written.items()} for i in range(2))
        return Words(self.fr.format_map(fr), self.en.format_map(en))


class Figures:
    """Figures of a sentence, each written as either language does.

    >>> Figures("EUR").money("owed", 1234567).fill("doit {owed}", "owes {owed}").written()
    Words(fr='doit 12 345,67 EUR', en='owes 12,345.67 EUR')
    """

    def __init__(self, currency: str) -> None:
        self._currency = currency
        self._figures: dict[str, tuple[Callable[..., Written], tuple[Any, ...]]] = {}

    def money(self, name: str, cents: int) -> Figures:
        """Add an amount."""
        return self._put(name, _money, cents, self._currency)

    def rate(self, name: str, share: float) -> Figures:
        """Add a share, as per cent."""
        return self._put(name, _rate, share)

    def times(self, name: str, factor: float) -> Figures:
        """Add a factor."""
        return self._put(name, _times, factor)

    def day(self, name: str, day: date) -> Figures:
        """Add a date."""
        return self._put(name, _day, day)

    def days(self, name: str, count: int) -> Figures:
        """Add a number of days, singular or plural."""
        return self._put(name, _days, count)

    def text(self, name: str, text: str) -> Figures:
        """Add what is written the same in both."""
        return self._put(name, _text, text)

    def fill(self, fr: str, en: str) -> Sentence:
        """Put the figures in the sentences."""
        return Sentence(fr, en, dict(self._figures))

    def _put(self, name: str, write: Callable[..., Written], *values: object) -> Figures:
        self._figures[name] = write, values
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
