"""What the customer is told has no figure, in either language, for every measure and rule."""

import re

import pytest
import yaml
from pydantic import ValidationError

from features.dictionary import LANGUAGES, dictionary
from models.letter import PATH, LetterWords, words
from models.policy_file import FACT_WORDS

INTERNAL = re.compile(
    r"probab|score|note |class(e|ement)\b|grade|limit|plafond|marge|margin|LGD|perte|loss|assureur|"
    r"insur(er|ance)|médiane|median|moyenne|average|autres clients|other customers|risque|risk|"
    r"modèle|model|%",
    re.IGNORECASE,
)


def texts(part: object) -> list[str]:
    """Every text below a part of the file, other than the names of measures."""
    if isinstance(part, dict):
        return [text for key, one in part.items() if key != "measures" for text in texts(one)]
    return [part] if isinstance(part, str) else []


@pytest.mark.parametrize("feature", dictionary())
def test_every_code_has_words_for_the_customer_in_both_languages(feature):
    _, reason = words().reason_of(feature)
    for value in (None, 3.0, 0.0, -3.0):
        for language in LANGUAGES:
            for said in (reason.said_of(value).of(language), reason.do.of(language)):
                assert said
                assert not re.search("[0-9]", said)


def test_a_delay_that_was_none_is_not_told_as_one():
    for feature in ("settled_90_days_beyond_terms", "due_late_rate", "open_overdue_rate"):
        _, reason = words().reason_of(feature)
        assert reason.said_of(2.0) == reason.plain
        assert reason.said_of(0.0) == reason.said_of(-2.0) == reason.neutral
        assert reason.said_of(None) == reason.missing


def test_every_fact_of_the_policy_that_goes_against_a_customer_has_words():
    assert set(FACT_WORDS) - {"is_natural_person"} <= set(words().rules)


def test_no_word_is_of_how_we_reckon():
    said = texts(yaml.safe_load(PATH.read_text("utf-8")))
    assert len(said) > 100
    assert [text for text in said if INTERNAL.search(text)] == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("cover.refused]", "cover.refused, cover.colour]", "unknown measures ['cover.colour']"),
        (", cover.refused]", "]", "measures without words for the customer ['cover.refused']"),
        ("cover.refused]", "cover.refused, order.amount]", "stand twice ['order.amount']"),
        ("le délai de paiement demandé", "le délai de 30 jours", "should match pattern"),
    ],
)
def test_words_that_leave_out_or_tell_too_much_are_refused(old, new, fault):
    changed = PATH.read_text("utf-8").replace(old, new, 1)
    with pytest.raises(ValidationError) as refused:
        LetterWords.model_validate(yaml.safe_load(changed))
    assert fault in str(refused.value)
