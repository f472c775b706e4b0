"""Every feature has its words, and the page says what the dictionary says."""

import math

import pytest

from docs.dictionary_page import PAGE, page
from features.build import feature_names
from features.dictionary import dictionary

UNITS = {"days", "share", "count", "money", "ratio", "date_part"}


def test_every_feature_has_an_entry_in_the_order_of_the_matrix():
    assert tuple(dictionary()) == feature_names(with_order=True)


def test_codes_are_unique():
    codes = [entry.code for entry in dictionary().values()]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("entry", dictionary().values(), ids=lambda entry: entry.feature)
def test_every_entry_has_a_unit_a_direction_and_words_in_both_languages(entry):
    assert entry.unit in UNITS
    assert entry.direction in (-1, 0, 1)
    for language in ("fr", "en"):
        said = entry.say(12.0, language, "EUR")
        assert said
        assert "{" not in said
        assert entry.say(math.nan, language, "EUR") == entry.words[language].missing != ""


def test_a_value_and_the_median_are_said_in_the_readers_language():
    entry = dictionary()["settled_90_days_beyond_terms"]
    assert entry.say(23.4, "fr", "EUR", 6.0) == (
        "Paie en moyenne 23 jours après l'échéance sur 90 jours (médiane des clients\u00a0: 6)"
    )
    assert entry.say(23.4, "en", "EUR", 6.0) == (
        "Paid 23 days beyond terms on average over 90 days (median customer: 6)"
    )


def test_paying_early_is_said_as_early():
    entry = dictionary()["settled_90_days_beyond_terms"]
    assert entry.say(-3.0, "en", "EUR") == (
        "Paid 3 days before the due date on average over 90 days"
    )


def test_the_page_in_docs_is_the_dictionarys():
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make docs`"
