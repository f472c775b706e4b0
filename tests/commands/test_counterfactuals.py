"""``encours audit counterfactuals``: what it prints."""

from __future__ import annotations

import json

import pytest

from benchmarks.counterfactuals import found
from serving.schemas.counterfactuals import Counterfactuals


@pytest.fixture
def told(seller, monkeypatch):
    monkeypatch.setenv("ENCOURS_HOME", str(seller.home))
    return [answer for answer, _ in found(seller, 12)[0]]


def test_changes_are_told_in_both_languages_and_as_json(run, told):
    helped = next(one for one in told if one["found"])
    ran = run("audit", "counterfactuals", helped["assessment_id"])
    assert (ran.code, ran.err) == (0, "")
    head, titles, *rows = ran.out.splitlines()
    assert head.startswith(f"{helped['order']['amount']} EUR, ")
    assert titles.split() == ["change", "effort", "then"]
    assert len(rows) == len(helped["found"])
    for row, one in zip(rows, helped["found"], strict=True):
        assert row.startswith(one["en"].partition(": ")[0])
    french = run("audit", "counterfactuals", helped["assessment_id"], "--language", "fr").out
    assert french.splitlines()[2].startswith(helped["found"][0]["fr"].partition(" : ")[0])
    as_json = json.loads(run("audit", "counterfactuals", helped["assessment_id"], "--json").out)
    Counterfactuals.model_validate(as_json)
    assert as_json == helped


def test_where_there_is_none_it_says_why(run, told):
    softest = next(one for one in told if one["action"] == "open")
    out = run("audit", "counterfactuals", softest["assessment_id"]).out
    assert out.splitlines()[-1] == "Nothing is more favourable than what was answered."
    ran = run("audit", "counterfactuals", "nobody")
    assert (ran.code, ran.err) == (2, "encours: the record has no assessment of that id\n")
