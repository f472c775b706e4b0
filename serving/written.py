"""Numbers, money, days and instants, as a reader of French or of English expects them."""

from __future__ import annotations

import math
from typing import Any

from features.dictionary import NO_BREAK_SPACE
from serving.answering import instant_of

NARROW = "\u202f"
UNITS = {
    "days": ("jours", "days"),
    "share": ("part", "share"),
    "count": ("nombre", "count"),
    "ratio": ("rapport", "ratio"),
    "date_part": ("jour", "day"),
    "flag": ("0 ou 1", "0 or 1"),
    "points": ("écart de parts", "difference of shares"),
    "change": ("variation", "change"),
}
DIGITS = 6  # significant ones: enough to recompute by hand, few enough to read


class Written:
    """Writes in one language.

    Parameters
    ----------
    language : str
    currency : str
        Of all money.
    """

    def __init__(self, language: str, currency: str) -> None:
        self.language, self.currency = language, currency

    def t(self, fr: str, en: str) -> str:
        """Choose the text of the language."""
        return fr if self.language == "fr" else en

    def number(self, value: float | None) -> str:
        """Write a number with six significant digits.

        >>> Written("fr", "EUR").number(1234.5678), Written("en", "EUR").number(-0.25)
        ('1\u202f234,57', '−0.25')
        """
        if value is None:
            return "–"
        digits = 0 if value == 0 else max(0, DIGITS - 1 - math.floor(math.log10(abs(value))))
        text = f"{value:,.{digits}f}"
        return self._sign(text.rstrip("0").rstrip(".") if "." in text else text)

    def signed(self, value: float | None, digits: int = 4) -> str:
        """Write a contribution with its sign.

        >>> Written("fr", "EUR").signed(0.5), Written("en", "EUR").signed(-0.5)
        ('+0,5000', '−0.5000')
        """
        return "–" if value is None else self._sign(f"{value:+.{digits}f}")

    def percent(self, value: float | None, digits: int = 2) -> str:
        r"""Write a share or a probability.

        >>> Written("fr", "EUR").percent(0.0683), Written("en", "EUR").percent(0.5, 0)
        ('6,83\xa0%', '50%')
        """
        if value is None:
            return "–"
        space = NO_BREAK_SPACE if self.language == "fr" else ""
        return self._sign(f"{100 * value:.{digits}f}{space}%")

    def money(self, text: str | None) -> str:
        r"""Write an amount as it is recorded.

        >>> Written("fr", "EUR").money("-1234.50"), Written("en", "EUR").money("1234.50")
        ('−1\u202f234,50\xa0EUR', 'EUR\xa01,234.50')
        """
        if text is None:
            return "–"
        units, _, cents = text.partition(".")
        amount = self._sign(f"{int(units):,}.{cents}")
        if units.startswith("-") and int(units) == 0:
            amount = f"−{amount}"
        pair = (amount, self.currency) if self.language == "fr" else (self.currency, amount)
        return NO_BREAK_SPACE.join(pair)

    def amount(self, text: str) -> str:
        """Write an amount without its currency, for a column that says it."""
        return self.money(text).replace(self.currency, "").strip(NO_BREAK_SPACE)

    def brief_percent(self, value: float) -> str:
        r"""Write a round probability with the digits that it has.

        >>> Written("fr", "EUR").brief_percent(0.005), Written("en", "EUR").brief_percent(0.995)
        ('0,5\xa0%', '99.5%')
        """
        text = f"{100 * value:.6f}".rstrip("0").rstrip(".")
        return self.percent(value, len(text.partition(".")[2]))

    def interval(self, measured: dict[str, float] | None) -> str:
        """Write a measure with its interval."""
        if not measured:
            return "–"
        value, low, high = (
            self._sign(f"{measured[name]:.3f}") for name in ("value", "low", "high")
        )
        return f"{value} ({low}–{high})"

    def cents(self, value: float) -> str:
        """Write cents as an amount of units."""
        whole = round(value)
        sign = "-" if whole < 0 else ""
        return self.money(f"{sign}{abs(whole) // 100}.{abs(whole) % 100:02d}")

    def line(self, line: dict[str, Any]) -> str:
        """Write the value of a line of a derivation."""
        value, unit = line["value"], line["unit"]
        if unit == "cents":
            return self.cents(value)
        if unit == "rate":
            return self.percent(value, 3)
        return f"{self.number(value)}{NO_BREAK_SPACE}{self.unit(unit)}"

    def unit(self, unit: str) -> str:
        """Name the unit of a measure."""
        if unit == "money":
            return self.currency
        return self.t(*UNITS.get(unit, (unit, unit)))

    def instant(self, microseconds: int) -> str:
        """Write an instant, UTC."""
        at = instant_of(microseconds)
        day = f"{at:%d/%m/%Y}" if self.language == "fr" else f"{at:%Y-%m-%d}"
        return f"{day} {at:%H:%M:%S} UTC"

    def day(self, text: str | None) -> str:
        """Write a day that is recorded as YYYY-MM-DD.

        >>> Written("fr", "EUR").day("2025-07-03")
        '03/07/2025'
        """
        if text is None:
            return "–"
        return "/".join(reversed(text.split("-"))) if self.language == "fr" else text

    def _sign(self, text: str) -> str:
        text = text.replace("-", "−")
        if self.language == "fr":
            text = text.replace(",", NARROW).replace(".", ",")
        return text
