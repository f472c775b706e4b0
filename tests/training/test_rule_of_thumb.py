"""The rule of thumb: the longest overdue first, and a rate learned before the cut-off."""

import numpy as np
import pytest

from features import history
from features.ledger import LedgerError
from tests.features.ledgers import known_before
from tests.training.conftest import CUTOFF, dataset_of
from training.rule_of_thumb import LONGEST, SHARE, RuleOfThumb, fit_rule

both = pytest.mark.parametrize(("question", "term"), [("late", 15), ("default", 90)])


def test_days_come_first_then_the_share_overdue():
    """
    longest overdue | share overdue | rank
    nothing open    |               | 0
    0               | 0 %           | 0
    5               | 10 %          | 1
    5               | 100 %         | 2
    6               | 1 %           | 3
    """
    rule = RuleOfThumb((SHARE, LONGEST), (0.0, 10.0), (0.1, 0.3))
    X = np.array([[np.nan, 0], [0, 0], [0.1, 5], [1.0, 5], [0.01, 6]])
    score = rule.score(X)
    assert score[0] == score[1] == 0
    assert (np.diff(score[1:]) > 0).all()
    assert rule.probability(X)[2] == pytest.approx(0.1 + 0.2 * 5.1 / 10)


@both
def test_its_probability_is_the_rate_seen_and_never_falls_with_the_score(datasets, question, term):
    dataset = datasets[question]
    rule = fit_rule(dataset, term, CUTOFF)
    rows = dataset.known_before(CUTOFF)
    asked = dataset.ask(rows, np.full(rows.size, term, np.int32), CUTOFF)
    X = dataset.X[asked.row]
    assert rule.probability(X).mean() == pytest.approx(asked.happened.mean())
    in_order = rule.probability(X)[np.argsort(rule.score(X), kind="stable")]
    assert (np.diff(in_order) >= 0).all()
    assert in_order[-1] > 2 * in_order[0]


@both
def test_nothing_known_since_the_cutoff_is_learned(facts, datasets, question, term):
    then = dataset_of(question, history.build(known_before(facts, CUTOFF)))
    rule = fit_rule(datasets[question], term, CUTOFF)
    assert fit_rule(then, term, CUTOFF) == rule
    assert fit_rule(datasets[question], term, CUTOFF + 60) != rule


def test_without_a_known_outcome_there_is_no_rule(datasets):
    dataset = datasets["default"]
    early = int(dataset.as_of.min()) + 300
    with pytest.raises(LedgerError, match="default rule: no outcome at 365 days is known"):
        fit_rule(dataset, 365, early)
