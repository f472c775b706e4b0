"""Reads ``dictionary.yaml``: each feature's code, unit, direction of risk, words in FR and EN."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from features.build import feature_names
from features.settled import WINDOWS_DAYS

PATH = Path(__file__).with_name("dictionary.yaml")
DIRECTIONS = {"higher_is_riskier": 1, "lower_is_riskier": -1, "free": 0}
SIGNED = ("points", "change")
UNITS = ("days", "share", "count", "money", "ratio", "date_part", "flag", *SIGNED)
LANGUAGES = ("fr", "en")
NO_BREAK_SPACE = "\u00a0"
MEDIAN = {"fr": "médiane des clients", "en": "median customer"}


@dataclass(frozen=True)
class Words:
    """What to say of a feature in one language; ``reason`` holds ``{value}``, except a flag's.

    ``early`` is said, with the value's size, where a negative number means *before*, a fall or a
    loss; ``otherwise`` where a flag is 0.
    """

    label: str
    reason: str
    missing: str
    early: str = ""
    otherwise: str = ""


@dataclass(frozen=True)
class Entry:
    """One feature.

    Attributes
    ----------
    feature : str
        Name of the column of the feature matrix.
    code : str
        Stable name of the reason.
    field : str
        Family and field without the window: reasons of one field say nearly the same.
    unit : str
        One of `UNITS`.
    window_days : int or None
        Days it looks back on; it has no value when the ledger has been observed for less.
    direction : int
        1 when a higher value is riskier, −1 when a lower one is, 0 when nothing is promised.
    words : dict of str to Words
        By language.
    """

    feature: str
    code: str
    field: str
    unit: str
    window_days: int | None
    direction: int
    words: dict[str, Words]

    def say(self, value: float, language: str, currency: str, median: float | None = None) -> str:
        """Word the reason for `value`, or say why there is none when it is NaN.

        `median`, of the customers to compare with, is added in brackets.
        """
        words = self.words[language]
        if value != value:
            return words.missing
        if self.unit == "flag":
            return words.reason if value else words.otherwise
        early = value < 0 and words.early != ""
        reason, size = (words.early, -value) if early else (words.reason, value)
        # The words say which way it went: only the median beside them needs its sign.
        size_said = display(size, self.unit, language, currency).lstrip("+")
        said = reason.replace("{value}", size_said)
        if median is None or self.unit == "date_part":
            return said
        colon = f"{NO_BREAK_SPACE}:" if language == "fr" else ":"
        others = display(median, self.unit, language, currency)
        return f"{said} ({MEDIAN[language]}{colon} {others})"


def display(value: float, unit: str, language: str, currency: str) -> str:
    r"""Write a value in its unit, the way a reader of `language` expects.

    >>> display(0.236, "share", "en", "EUR"), display(1234.5, "money", "en", "EUR")
    ('24%', 'EUR 1,234')
    >>> display(2.04, "ratio", "fr", "EUR")
    '2,0'
    >>> display(-0.124, "points", "en", "EUR"), display(0.03, "change", "en", "EUR")
    ('−12\xa0pts', '+3%')
    """
    if unit in SIGNED:
        share = display(abs(value), "share", language, currency)
        size = f"{abs(value) * 100:.0f}{NO_BREAK_SPACE}pts" if unit == "points" else share
        return f"{'−' if value < 0 else '+'}{size}"
    if unit == "share":
        return f"{value:z.0%}" if language == "en" else f"{value * 100:z.0f}{NO_BREAK_SPACE}%"
    if unit == "money":
        amount = f"{value:,.0f}"
        if language == "en":
            return f"{currency} {amount}"
        return f"{amount.replace(',', NO_BREAK_SPACE)}{NO_BREAK_SPACE}{currency}"
    if unit == "ratio":
        return f"{value:.1f}" if language == "en" else f"{value:.1f}".replace(".", ",")
    return f"{value:z.0f}"


@cache
def dictionary() -> dict[str, Entry]:
    """Every feature's entry by name, in the order of the feature matrix with an order.

    Raises
    ------
    ValueError
        If a feature has no entry, or an entry no feature.
    """
    families: dict[str, dict[str, Any]] = yaml.safe_load(PATH.read_text(encoding="utf-8"))
    entries: dict[str, Entry] = {}
    for family, fields in families.items():
        for field, said in fields.items():
            for window in WINDOWS_DAYS if family == "settled" else (None,):
                entry = _entry(family, field, said, window)
                entries[entry.feature] = entry
    names = feature_names(with_order=True)
    unsaid, unknown = sorted(set(names) - set(entries)), sorted(set(entries) - set(names))
    if unsaid or unknown:
        raise ValueError(f"{PATH.name}: features without words {unsaid}, unknown {unknown}")
    return {name: entries[name] for name in names}


def _entry(family: str, field: str, said: dict[str, Any], window: int | None) -> Entry:
    def at(text: str) -> str:
        return text if window is None else text.replace("{window}", str(window))

    prefix = family if window is None else f"{family}_{window}"
    return Entry(
        feature=f"{prefix}_{field}",
        code=at(said["code"]),
        field=f"{family}.{field}",
        unit=said["unit"],
        window_days=said.get("window", window),
        direction=DIRECTIONS[said["direction"]],
        words={
            language: Words(**{part: at(text) for part, text in said[language].items()})
            for language in LANGUAGES
        },
    )


def dictionary_sha256() -> str:
    """Hash of the dictionary's bytes: part of a model's identity."""
    return hashlib.sha256(PATH.read_bytes()).hexdigest()
