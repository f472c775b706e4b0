"""The gate between a challenger and the service: five checks, their rules in ``gate.yaml``.

========== ===========================================================================
better     than the champion on the same out-of-time rows, beyond noise
calibrated no grade is riskier than it says (Jeffreys, one row per customer and year)
segments   none worse than with the champion by more than a margin
monotone   no feature, nor the term, moves a probability the wrong way
reloads    written again, the bundle has the same bytes
========== ===========================================================================

A first promotion has nothing to be better than: what compares is skipped, and says so.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.dictionary import dictionary
from features.history import History
from models import bundle as bundles
from models import grades
from models.bundle import Bundle, BundleError
from models.curve import TermCurve
from models.metrics import Interval, auc, interval_by_customer, jeffreys
from models.targets import DefaultDefinition
from training.dataset import LATE, Dataset, default_dataset, late_dataset
from training.gate_file import QUESTIONS, Better, Calibrated, GateError, Rules, SegmentRules
from training.segments import Segment, segments

Status = Literal["passed", "failed", "skipped"]
Kinds = Callable[[int], Mapping[str, Segment]]  # cut-off → ways to tell the dataset's rows apart
Judge = Callable[[Bundle, Bundle | None], "Verdict"]  # challenger and champion → verdict
Floats = NDArray[np.float64]
Index = NDArray[np.int64]


class Check(NamedTuple):
    """One check and how it went, in words.

    Attributes
    ----------
    name : str
    status : str
        ``passed``, ``failed`` or ``skipped``.
    seen, wanted : str
    binds : bool
        Whether failing refuses the challenger.
    """

    name: str
    status: Status
    seen: str
    wanted: str
    binds: bool = True


@dataclass(frozen=True)
class Verdict:
    """What the gate says of one challenger.

    Attributes
    ----------
    question : str
    challenger : str
        SHA-256 of its bundle.
    champion : str or None
        Whom it was compared with.
    checks : tuple of Check
    """

    question: str
    challenger: str
    champion: str | None
    checks: tuple[Check, ...]

    @property
    def is_accepted(self) -> bool:
        """Whether no check that binds failed."""
        return not any(check.status == "failed" and check.binds for check in self.checks)


NO_LEDGER = "right after training, whose report says how good it is; not judged again"
NO_CHAMPION = "there is no champion to compare with"
WANTED = {
    "better": "a lower log-loss than the champion's, beyond noise, on the same rows",
    "calibrated": "no grade riskier than it says",
    "segments": "none much worse than with the champion",
    "monotone": "no probability moves against the dictionary or the term",
    "reloads": "the same bytes when written again",
}


def first(challenger: Bundle, champion: Bundle | None, rules: Rules) -> Verdict:
    """Judge a first challenger right after its training, without reading the ledger again.

    Raises
    ------
    GateError
        If there is a champion: comparing needs the ledger.
    """
    if champion is not None:
        raise GateError("a challenger is compared with its champion on the ledger: give it")
    skipped = [
        Check("better", "skipped", NO_CHAMPION, WANTED["better"]),
        Check("calibrated", "skipped", NO_LEDGER, WANTED["calibrated"]),
        Check("segments", "skipped", NO_CHAMPION, WANTED["segments"]),
    ]
    return _verdict(
        challenger, None, [*skipped, _monotone(challenger, rules), _reloads(challenger)]
    )


def on_ledger(history: History, end: int, definition: DefaultDefinition, rules: Rules) -> Judge:
    """Prepare to judge on what a ledger says now.

    Parameters
    ----------
    history : History
    end : int
        Exclusive date until which the ledger is complete.
    definition : DefaultDefinition
        Of the policy that will be in force.
    rules : Rules
    """

    def judge(challenger: Bundle, champion: Bundle | None) -> Verdict:
        is_late = challenger.curve.question == LATE.name
        dataset = late_dataset(history) if is_late else default_dataset(history, definition, end)

        def kinds(since: int) -> Mapping[str, Segment]:
            return segments(dataset, history, since)

        return decide(challenger, champion, dataset, end, rules, kinds)

    return judge


def decide(
    challenger: Bundle,
    champion: Bundle | None,
    dataset: Dataset,
    end: int,
    rules: Rules,
    kinds: Kinds,
) -> Verdict:
    """Judge a challenger.

    Parameters
    ----------
    challenger : Bundle
    champion : Bundle or None
        Of the same question; ``None`` for a first promotion.
    dataset : Dataset
        The question's rows, on the facts known today.
    end : int
        Exclusive date until which outcomes are known.
    rules : Rules
    kinds : callable
        Gives the segments for a cut-off: :func:`training.segments.segments` with what it needs.

    Returns
    -------
    Verdict
    """
    return _verdict(
        challenger,
        champion,
        [
            *_compared(challenger, champion, dataset, end, rules, kinds),
            _calibrated(challenger, dataset, end, rules.calibrated, is_first=champion is None),
            _monotone(challenger, rules),
            _reloads(challenger),
        ],
    )


def _verdict(challenger: Bundle, champion: Bundle | None, checks: list[Check]) -> Verdict:
    ordered = sorted(checks, key=lambda check: list(WANTED).index(check.name))
    beaten = None if champion is None else champion.sha256
    return Verdict(challenger.curve.question, challenger.sha256, beaten, tuple(ordered))


def cutoff(*judged: Bundle) -> int:
    """Return the latest cut-off: none of them has learned from what came after."""
    days = [np.datetime64(one.card["cutoff"], "D").astype(int) for one in judged]
    return int(max(days))


# Better, and everywhere so.


class Paired(NamedTuple):
    """Rows asked at the headline terms, all with a known outcome; arrays of shape (n_pairs,).

    Attributes
    ----------
    row : ndarray of int64
        Into the dataset.
    term_days : ndarray of int32
    happened : ndarray of bool
    customer : ndarray of int64
    challenger, champion : ndarray of float64
        Probabilities.
    """

    row: Index
    term_days: NDArray[np.int32]
    happened: NDArray[np.bool_]
    customer: Index
    challenger: Floats
    champion: Floats


def _compared(
    challenger: Bundle,
    champion: Bundle | None,
    dataset: Dataset,
    end: int,
    rules: Rules,
    kinds: Kinds,
) -> list[Check]:
    if champion is None:
        names = ("better", "segments")
        return [Check(name, "skipped", NO_CHAMPION, WANTED[name]) for name in names]
    since = cutoff(challenger, champion)
    terms = rules.headline_terms_days.of(dataset.question)
    pairs = _paired(challenger.curve, champion.curve, dataset, since, end, terms)
    events = {term: int(pairs.happened[pairs.term_days == term].sum()) for term in terms}
    rarest = min(terms, key=events.__getitem__)
    if events[rarest] < rules.better.fewest_events:
        seen = f"{events[rarest]} events at {rarest} days since {_date(since)}"
        wanted = f"at least {rules.better.fewest_events}, to tell the two apart"
        return [
            Check("better", "failed", seen, wanted),
            Check("segments", "skipped", seen, WANTED["segments"]),
        ]
    return [
        _better(pairs, terms, rules.better),
        _no_worse_segment(pairs, kinds(since), rules.segments),
    ]


def _paired(
    challenger: TermCurve,
    champion: TermCurve,
    dataset: Dataset,
    since: int,
    end: int,
    terms: tuple[int, ...],
) -> Paired:
    rows = dataset.between(since, end)
    asked = dataset.ask(
        np.repeat(rows, len(terms)), np.tile(np.array(terms, np.int32), rows.size), end
    )
    X = dataset.X[asked.row]
    return Paired(
        asked.row,
        asked.term_days,
        asked.happened,
        dataset.customer[asked.row],
        challenger.probability(X, asked.term_days),
        champion.probability(X, asked.term_days),
    )


def _better(pairs: Paired, terms: tuple[int, ...], rules: Better) -> Check:
    loss = _log_loss(pairs.challenger, pairs.happened)
    worse_by = loss - _log_loss(pairs.champion, pairs.happened)
    groups = [pairs.term_days == term for term in terms]

    def mean_over_terms(values: Floats) -> Callable[[Index], float]:
        return lambda times: float(np.mean([_mean(values[g], times[g]) for g in groups]))

    resamples = rules.resamples
    overall = interval_by_customer(mean_over_terms(worse_by), pairs.customer, resamples)
    by_term = [
        interval_by_customer(partial(_mean, worse_by[group]), pairs.customer[group], resamples)
        for group in groups
    ]
    is_better = overall.high < 0 and not any(one.low > 0 for one in by_term)
    shown = [f"log-loss {_signed(overall)} over all"]
    for term, group, one in zip(terms, groups, by_term, strict=True):
        happened = pairs.happened[group]
        aucs = [auc(happened, said[group]) for said in (pairs.challenger, pairs.champion)]
        shown.append(f"at {term} days {_signed(one)}, AUC {aucs[0]:.3f} for {aucs[1]:.3f}")
    customers = np.unique(pairs.customer).size
    seen = f"{'; '.join(shown)} ({pairs.row.size:,} outcomes of {customers:,} customers)"
    wanted = "a log-loss below the champion's, its whole interval too, and none above at one term"
    return Check("better", "passed" if is_better else "failed", seen, wanted)


def _no_worse_segment(pairs: Paired, kinds: Mapping[str, Segment], rules: SegmentRules) -> Check:
    challenger = _log_loss(pairs.challenger, pairs.happened)
    champion = _log_loss(pairs.champion, pairs.happened)
    rise, small = {}, []
    for kind, segment in kinds.items():
        code = segment.code[pairs.row]
        for place, label in enumerate(segment.labels):
            here = code == place
            name = f"{kind} {label}"
            if pairs.happened[here].sum() >= rules.fewest_events:
                rise[name] = float(challenger[here].sum() / champion[here].sum() - 1)
            elif here.any():
                small.append(name)
    wanted = f"no segment's log-loss up by more than {rules.worse_by_at_most_rate:.0%}"
    aside = f"; too small to judge: {', '.join(small)}" if small else ""
    if not rise:
        seen = f"no segment has {rules.fewest_events} events{aside}"
        return Check("segments", "skipped", seen, wanted)
    worst = max(rise, key=lambda name: rise[name])
    is_fine = rise[worst] <= rules.worse_by_at_most_rate
    seen = f"{len(rise)} segments judged, the worst {worst}: {rise[worst]:+.1%}{aside}"
    return Check("segments", "passed" if is_fine else "failed", seen, wanted)


def _log_loss(probability: Floats, happened: NDArray[np.bool_]) -> Floats:
    said = np.where(happened, probability, 1 - probability)
    loss: Floats = -np.log(np.maximum(said, 1e-15))  # as scikit-learn's
    return loss


def _mean(values: Floats, times: Index) -> float:
    total = times.sum()
    return float((values * times).sum() / total) if total else float("nan")


# Calibrated.


class Grade(NamedTuple):
    """One grade on independent rows: what was seen, what was said, and Jeffreys' p-value."""

    name: str
    rows: int
    events: int
    said: float
    p_value: float


def graded(
    curve: TermCurve, dataset: Dataset, since: int, end: int, rules: Calibrated
) -> list[Grade]:
    """Test each grade on one row per customer and year.

    The year counts from `since`; which of a customer's rows is taken is drawn, always the same.
    """
    is_late = dataset.question is LATE
    term = rules.late_term_days if is_late else grades.HORIZON_DAYS
    rows = dataset.between(since, end)
    asked = dataset.ask(rows, np.full(rows.size, term, np.int32), end)
    drawn = np.random.default_rng(0).permutation(asked.row.size)
    row = asked.row[drawn]
    year = (dataset.as_of[row].astype(np.int64) - since) // 365
    _, chosen = np.unique(np.column_stack([dataset.customer[row], year]), axis=0, return_index=True)
    places = drawn[np.sort(chosen)]
    happened = asked.happened[places]
    said = curve.probability(dataset.X[asked.row[places]], asked.term_days[places])
    bounds = rules.late_bands_upper_rates if is_late else grades.UPPER_BOUNDS
    names = _bands(bounds) if is_late else list(grades.GRADES)
    band = np.searchsorted(bounds, said)
    return [
        _grade(names[place], happened[band == place], said[band == place])
        for place in np.unique(band)
    ]


def _grade(name: str, happened: NDArray[np.bool_], said: Floats) -> Grade:
    events, mean = int(happened.sum()), float(said.mean())
    return Grade(name, happened.size, events, mean, jeffreys(happened.size, events, mean))


def holm(p_values: list[float], alpha: float) -> list[bool]:
    """Tell which hypotheses fall when all are tested together (Holm 1979, step down).

    >>> holm([0.012, 0.04, 0.9], alpha=0.05)  # below 0.05 / 3, not below 0.05 / 2
    [True, False, False]
    """
    falls = [False] * len(p_values)
    for left, place in zip(
        range(len(p_values), 0, -1),
        sorted(range(len(p_values)), key=p_values.__getitem__),
        strict=True,
    ):
        if p_values[place] > alpha / left:
            break
        falls[place] = True
    return falls


def _calibrated(
    challenger: Bundle, dataset: Dataset, end: int, rules: Calibrated, *, is_first: bool
) -> Check:
    since = cutoff(challenger)
    wanted = (
        f"no grade riskier than it says (Jeffreys, one-sided, {rules.alpha_rate:.0%} over all "
        "grades by Holm)"
    )
    binds = rules.binds_first_promotion or not is_first
    found = graded(challenger.curve, dataset, since, end, rules)
    if not found:
        seen = f"no outcome is known since {_date(since)}"
        return Check("calibrated", "failed", seen, wanted, binds)
    falls = holm([grade.p_value for grade in found], rules.alpha_rate)
    rows = sum(grade.rows for grade in found)
    if not any(falls):
        nearest = min(found, key=lambda grade: grade.p_value)
        seen = f"{len(found)} grades on {rows:,} rows; the nearest is {_said(nearest)}"
        return Check("calibrated", "passed", seen, wanted, binds)
    seen = "; ".join(_said(grade) for grade, fell in zip(found, falls, strict=True) if fell)
    return Check("calibrated", "failed", seen, wanted, binds)


def _said(grade: Grade) -> str:
    return (
        f"{grade.name}: {grade.events} of {grade.rows:,} happened, {grade.events / grade.rows:.2%} "
        f"for {grade.said:.2%} said, p = {grade.p_value:.4f}"
    )


def _bands(bounds: tuple[float, ...]) -> list[str]:
    return [f"{low:.0%} to {high:.0%}" for low, high in pairwise((0.0, *bounds))]


# Monotone, and reloads.


def _monotone(challenger: Bundle, rules: Rules) -> Check:
    wrong = wrong_moves(challenger.curve, rules.monotone.pairs)
    seen = f"{sum(wrong.values()):,} of {rules.monotone.pairs:,} pairs move the wrong way"
    if not wrong:
        return Check("monotone", "passed", seen, WANTED["monotone"])
    worst = max(wrong, key=lambda name: wrong[name])
    return Check("monotone", "failed", f"{seen}, most of them with {worst}", WANTED["monotone"])


def wrong_moves(curve: TermCurve, pairs: int, seed: int = 0) -> dict[str, int]:
    """Move one promised feature, or the term, the riskier way, and count where the risk falls.

    Rows are drawn over all that the booster can tell apart: each feature at or beside one of the
    thresholds of its splits, or missing.

    Parameters
    ----------
    curve : TermCurve
    pairs : int
    seed : int

    Returns
    -------
    dict of str to int
        Pairs that moved the wrong way, by feature; ``term_days`` is the term.
    """
    rng = np.random.default_rng(seed)
    question = QUESTIONS[curve.question]
    direction = [*(dictionary()[name].direction for name in curve.features), question.direction]
    told_apart = _thresholds(curve)
    inputs = np.column_stack([rng.choice(values, pairs) for values in told_apart])
    inputs[:, :-1][rng.random((pairs, len(curve.features))) < 0.1] = np.nan
    can_move = [p for p in np.flatnonzero(direction) if told_apart[p].size > 1]
    moved = rng.choice(can_move, pairs)
    each, ends = np.arange(pairs), np.empty((pairs, 2))
    for place in can_move:
        ends[moved == place] = rng.choice(told_apart[place], (np.sum(moved == place), 2))
    ends.sort(axis=1)
    safer_first = np.where(np.array(direction)[moved, None] > 0, ends, ends[:, ::-1])
    said = []
    for value in safer_first.T:
        inputs[each, moved] = value
        said.append(curve.log_odds(inputs[:, :-1], inputs[:, -1].astype(np.int32)))
    names = np.array([*curve.features, "term_days"])
    found, count = np.unique(names[moved[said[1] < said[0] - 1e-9]], return_counts=True)
    return dict(zip(found.tolist(), count.tolist(), strict=True))


def _thresholds(curve: TermCurve) -> list[Floats]:
    """Values of each input on both sides of every split; whole terms for the term."""
    text = curve.booster.model_to_string()
    feature = _numbers(text, "split_feature").astype(np.int64)
    threshold = _numbers(text, "threshold")
    apart = []
    for place in range(len(curve.features)):
        splits = np.unique(threshold[feature == place])
        apart.append(np.concatenate([splits, np.nextafter(splits, np.inf), [0.0]]))
    apart.append(np.arange(curve.shortest, curve.longest + 1, dtype=np.float64))
    return apart


def _numbers(text: str, name: str) -> Floats:
    lines = re.findall(rf"^{name}=(.+)$", text, re.MULTILINE)
    return np.array(" ".join(lines).split(), np.float64)


def _reloads(challenger: Bundle) -> Check:
    with tempfile.TemporaryDirectory() as folder:
        try:
            again = bundles.write(
                Path(folder), challenger.curve, challenger.reference, challenger.card
            )
            bundles.read(Path(folder), again)
        except BundleError as error:
            return Check("reloads", "failed", str(error), WANTED["reloads"])
    if again != challenger.sha256:
        seen = f"bundle {challenger.sha256[:12]} becomes {again[:12]}: train again"
        return Check("reloads", "failed", seen, WANTED["reloads"])
    return Check("reloads", "passed", f"bundle {again[:12]}", WANTED["reloads"])


def _signed(interval: Interval) -> str:
    return f"{interval.value:+.4f} [{interval.low:+.4f} … {interval.high:+.4f}]"


def _date(day: int) -> str:
    return str(np.datetime64(day, "D"))


def shown(verdict: Verdict) -> dict[str, Any]:
    """Give a verdict as it stands in the signed record."""
    return {
        "challenger": verdict.challenger,
        "champion": verdict.champion,
        "accepted": verdict.is_accepted,
        "checks": [check._asdict() for check in verdict.checks],
    }
