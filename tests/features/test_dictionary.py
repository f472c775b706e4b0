"""Every feature has its words and its spec, and the page says what the dictionary says."""

import ast
import math
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from docs.dictionary_page import PAGE, page
from features.build import feature_names
from features.dictionary import LANGUAGES, UNITS, dictionary

ENTRIES = pytest.mark.parametrize("entry", dictionary().values(), ids=lambda entry: entry.feature)
SPECS = {"latest": "settled", "recent": "settled", "open": "open_items", "due": "fallen_due"}
LONGEST = 100  # characters of a reason: one line to read aloud on the telephone


def test_every_feature_has_an_entry_in_the_order_of_the_matrix():
    assert tuple(dictionary()) == feature_names(with_order=True)


def test_codes_are_unique():
    codes = [entry.code for entry in dictionary().values()]
    assert len(set(codes)) == len(codes)


@ENTRIES
def test_every_entry_has_a_unit_a_direction_and_words_in_both_languages(entry):
    assert entry.unit in UNITS
    assert entry.direction in (-1, 0, 1)
    for language in LANGUAGES:
        words = entry.words[language]
        for value in (12.0, 1.0, 0.0, -3.0):
            said = entry.say(value, language, "EUR")
            assert said
            assert "{" not in said
            assert len(said) <= LONGEST
        assert entry.say(math.nan, language, "EUR") == words.missing != ""
        assert words.label
        assert (words.otherwise != "") == (entry.unit == "flag")
        assert ("{value}" in words.reason) == (
            entry.unit != "flag" and entry.feature != "order_due_weekday"
        )
        assert words.early == "" or "{value}" in words.early
        if entry.unit in ("points", "change"):
            assert words.early, "a fall has its own words"


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


def test_a_flag_is_said_in_words_both_ways_and_never_against_a_median():
    entry = dictionary()["legal_liquidation"]
    assert entry.say(1.0, "fr", "EUR", 0.0) == "Le client a été mis en liquidation judiciaire"
    assert entry.say(0.0, "en", "EUR", 0.0) == "No liquidation known"


def test_a_change_is_said_as_a_rise_or_a_fall_and_its_median_with_a_sign():
    entry = dictionary()["accounts_leverage_change"]
    assert entry.say(0.12, "en", "EUR", -0.03) == (
        "Leverage rose by 12\u00a0pts from one year to the next (median customer: −3\u00a0pts)"
    )
    assert entry.say(-0.12, "fr", "EUR") == (
        "Endettement en baisse de 12\u00a0pts d'une année à l'autre"
    )
    entry = dictionary()["accounts_revenue_change"]
    assert entry.say(-0.2, "en", "EUR", 0.05) == (
        "Revenue fell by 20% from one year to the next (median customer: +5%)"
    )


def test_the_page_in_docs_is_the_dictionarys():
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make docs`"


# --- Specs -------------------------------------------------------------------------------


def spec(family: str) -> Path:
    """Where the tests of a family are: its manual."""
    return Path(__file__).with_name(f"test_{SPECS.get(family, family)}.py")


def asserted(source: str) -> set[str]:
    """Names that stand in an assertion, after a dot or in quotes."""
    statements = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Assert)]
    nodes = [node for statement in statements for node in ast.walk(statement)]
    quoted = {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    return quoted | {node.attr for node in nodes if isinstance(node, ast.Attribute)}


@pytest.mark.parametrize("field", sorted({entry.field for entry in dictionary().values()}))
def test_every_feature_has_a_test_in_the_manual_of_its_family(field):
    family, _ = field.split(".")
    features = {entry.feature for entry in dictionary().values() if entry.field == field}
    assert features & asserted(spec(family).read_text(encoding="utf-8")), spec(family).name


def test_a_name_outside_an_assertion_is_no_test():
    source = 'a = row.one\nassert row.two == 2\nassert row["three"]\n"""assert four"""'
    assert asserted(source) == {"two", "three"}


# --- Windows -----------------------------------------------------------------------------


@pytest.mark.parametrize("days", sorted({e.window_days for e in dictionary().values()} - {None}))
def test_a_feature_with_a_window_is_missing_until_the_ledger_was_observed_for_it(features_at, days):
    """
    customer | sector | country
    A        | 4321A  | FR
    B        | 4321A  | FR

    customer | issued_on  | due_on     | settled_on | amount | times
    A        | 2024-05-01 | 2024-05-05 | 2024-05-10 | 100    | 1
    A        | 2024-05-02 | 2024-05-05 | 2024-05-11 | 100    | 1
    A        | 2024-05-03 | 2024-05-05 | 2024-05-19 | 100    | 1
    B        | 2024-05-01 | 2024-05-05 | 2024-05-10 | 100    | 20

    cover_id | customer | starts_on  | amount | insured_rate
    K1       | A        | 2023-05-01 | 100    | 0.9
    """
    first = date(2024, 5, 20) - timedelta(days)
    enough = vars(features_at("2024-05-20", observed_from=str(first)))
    short = vars(features_at("2024-05-20", observed_from=str(first + timedelta(1))))
    for entry in dictionary().values():
        if entry.window_days == days:
            assert math.isnan(short[entry.feature]), entry.feature
            assert not math.isnan(enough[entry.feature]), entry.feature
        elif entry.window_days is None and entry.feature in short:
            np.testing.assert_equal(short[entry.feature], enough[entry.feature])
