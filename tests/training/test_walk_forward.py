"""Walk-forward: cut-offs through time, each fit asked only about what came after it."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from features.ledger import LedgerError
from models.targets import Outcomes
from tests.training.conftest import END, QUICK
from training.dataset import Dataset
from training.evaluate import ask_all, challengers, measure
from training.fit import fit
from training.rule_of_thumb import fit_rule
from training.walk_forward import POOLED, SHORTEST_WINDOW, most_cutoffs, walk_forward, windows

both = pytest.mark.parametrize("question", ["late", "default"])
FASTER = replace(QUICK, most_rounds=8)


def iso(day: int) -> str:
    return str(np.datetime64(day, "D"))


@pytest.fixture(scope="module")
def told() -> list[str]:
    return []


@pytest.fixture(scope="module")
def table(datasets, told) -> pd.DataFrame:
    return walk_forward(datasets["late"], END, 6, FASTER, told.append, resamples=5)


# ------------------------------------------------------------------------------------- the cut-offs


@both
def test_six_cutoffs_are_evenly_spaced_over_the_time_that_allows_measuring(datasets, question):
    dataset = datasets[question]
    edges = windows(dataset, END, 6)
    assert len(edges) == 7
    lengths = np.diff(edges)
    assert lengths.max() - lengths.min() <= 1
    assert lengths.min() >= SHORTEST_WINDOW
    longest = dataset.question.reported[-1]
    assert edges[0] - dataset.as_of.min() == 365 + longest
    for cutoff, until in pairwise(edges):
        rows = dataset.between(cutoff, until)
        assert rows.size > 0
        known = dataset.outcomes(rows, np.full(rows.size, longest, np.int32), END).known
        assert known.mean() > 0.85  # but for disputes, credit notes and a few with long terms
    after = dataset.between(edges[-1] + 31, END)
    assert dataset.outcomes(after, np.full(after.size, longest, np.int32), END).known.mean() < 0.6


@both
def test_a_ledger_too_short_says_how_many_cutoffs_fit(datasets, question):
    dataset = datasets[question]
    end = END - {"late": 800, "default": 250}[question]
    fitting = most_cutoffs(dataset, end)
    assert 0 < fitting < 6
    assert len(windows(dataset, end, fitting)) == fitting + 1
    with pytest.raises(LedgerError, match=f"{question} curve: {fitting} of 6 cut-offs fit"):
        walk_forward(dataset, end, 6, FASTER)


def test_a_ledger_without_rows_fits_none(datasets):
    dataset = datasets["late"]
    assert most_cutoffs(dataset, int(dataset.as_of.min())) == 0


# ---------------------------------------------------------------------------------------- the table


def test_each_line_is_the_measure_of_a_fit_at_its_cutoff(datasets, table):
    dataset = datasets["late"]
    edges = windows(dataset, END, 6)
    by_cutoff = table[table["cutoff"] != POOLED]
    assert by_cutoff["cutoff"].unique().tolist() == [iso(day) for day in edges[:-1]]
    cutoff, until = edges[2:4]
    curve = fit(dataset, cutoff, FASTER).curve
    for term in (5, 30):
        beside = challengers(dataset, term, cutoff)
        answers = ask_all(curve, beside, dataset, dataset.between(cutoff, until), term, END)
        assert dataset.as_of[answers.row].min() >= cutoff
        assert dataset.as_of[answers.row].max() < until
        expected = measure(answers, term, resamples=5)
        line = table[(table["cutoff"] == iso(cutoff)) & (table["term_days"] == term)].iloc[0]
        assert line["until"] == iso(until)
        assert line["auc"] == expected.quality.auc.value
        assert (line["auc_low"], line["auc_high"]) == expected.quality.auc[1:]
        assert line["brier"] == expected.quality.brier
        assert (line["said"], line["seen"]) == expected.quality[-2:]
        for name, challenger in expected.challengers.items():
            assert line[f"{name}_auc"] == challenger.auc.value
            assert line[f"{name}_gap"] == challenger.gap.value
            assert line[f"{name}_brier"] == challenger.brier


def test_the_pooled_lines_hold_the_rows_of_all_windows(table):
    pooled = table[table["cutoff"] == POOLED].set_index("term_days")
    each = table[table["cutoff"] != POOLED].groupby("term_days")
    assert pooled.index.tolist() == [0, 5, 15, 30, 60]
    pd.testing.assert_series_equal(pooled["rows"], each["rows"].sum())
    pd.testing.assert_series_equal(pooled["events"], each["events"].sum())
    weighted = each[["said", "seen", "brier", "rows"]].apply(
        lambda lines: (
            lines[["said", "seen", "brier"]].mul(lines["rows"], axis=0).sum() / lines["rows"].sum()
        )
    )
    for column in ("said", "seen", "brier"):
        assert pooled[column].to_numpy() == pytest.approx(weighted[column].to_numpy())


def test_the_pooled_auc_is_that_of_all_windows_together(datasets, table):
    dataset = datasets["late"]
    term, happened, score = 15, [], []
    for cutoff, until in pairwise(windows(dataset, END, 6)):
        rows = dataset.between(cutoff, until)
        asked = dataset.ask(rows, np.full(rows.size, term, np.int32), END)
        happened.append(asked.happened)
        score.append(fit_rule(dataset, term, cutoff).score(dataset.X[asked.row]))
    line = table[(table["cutoff"] == POOLED) & (table["term_days"] == term)].iloc[0]
    expected = roc_auc_score(np.concatenate(happened), np.concatenate(score))
    assert line["rule_auc"] == pytest.approx(expected)
    assert line["rule_gap"] == pytest.approx(line["auc"] - expected)
    assert line["rule_gap_low"] < line["rule_gap"] < line["rule_gap_high"]


def test_progress_names_every_cutoff(datasets, table, told):
    edges = windows(datasets["late"], END, 6)
    wanted = [f"cut-off {iso(day)}, {place} of 6" for place, day in enumerate(edges[:-1], 1)]
    assert told == wanted


# ------------------------------------------------------------------------------------------ leakage


def told_otherwise(dataset: Dataset, from_day: int) -> Dataset:
    """Turn every outcome round that was not known before a day."""

    def outcomes(rows, term_days, cutoff) -> Outcomes:
        true = dataset.outcomes(rows, term_days, cutoff)
        settled = dataset.outcomes(rows, term_days, min(cutoff, from_day)).known
        return Outcomes(true.known, true.happened ^ ~settled)

    return replace(dataset, outcomes=outcomes)


@both
def test_an_outcome_from_a_cutoff_on_changes_nothing_that_is_said_there(datasets, question):
    dataset = datasets[question]
    first, second, _ = windows(dataset, END, 2)
    true = walk_forward(dataset, END, 2, FASTER, resamples=2)
    turned = walk_forward(told_otherwise(dataset, first), END, 2, FASTER, resamples=2)
    assert true["cutoff"].tolist() == turned["cutoff"].tolist()
    at_first, at_second = (true["cutoff"] == iso(day) for day in (first, second))
    measured = ["auc", "brier", "seen", "scorecard_auc", "rule_auc"]
    assert (turned["said"] == true["said"])[at_first].all()
    assert (turned[measured] != true[measured])[at_first].all(axis=None)
    assert (turned["said"] != true["said"])[at_second].any()
