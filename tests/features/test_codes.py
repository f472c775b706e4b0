"""A code, once given, names the same measure for good: answers on record are read by it."""

from pathlib import Path

from features.dictionary import dictionary

CODES = Path(__file__).with_name("codes.csv")


def test_no_code_was_dropped_or_given_another_meaning():
    """Add a line for a new feature; never change one. A feature that goes keeps its line."""
    given = dict(line.split(",") for line in CODES.read_text("utf-8").splitlines()[1:])
    now = {entry.code: entry.feature for entry in dictionary().values()}
    assert {code: now[code] for code in now if code in given} == {
        code: feature for code, feature in given.items() if code in now
    }
    assert set(now) <= set(given), "add the new codes to codes.csv"
    gone = set(given) - set(now)
    assert gone == set(), "a code was dropped: keep it, or say here why answers may lack it"
