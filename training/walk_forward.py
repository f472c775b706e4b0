"""Fits and measures again and again through time, to see whether a curve was good all along.

The time that allows measuring is cut into as many windows of one length as there are cut-offs. At
each cut-off the curve, a scorecard and the rule of thumb learn what was known then, and are asked
about the rows of the window after it. For instance six years of ledger, of which the first 425
days teach the first late curve and the last 100 or so are not settled yet: six windows of 277 days.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.ledger import LedgerError
from training.dataset import Dataset
from training.evaluate import Answers, Compared, ask_all, challengers, compare, joined
from training.fit import Settings, fit

SHORTEST_WINDOW = 31  # days: the first of a month, when the default curve asks, is always in it
YEAR_DAYS = 365  # the longest window of the features
UNSETTLED_RATE = 0.05
FAR = 100_000  # days: any outcome is known by then
POOLED = "all"
MOST_ASKED = 50_000  # rows of a window
MOST_LEARNED = 50_000  # rows of a scorecard and of a rule


def walk_forward(
    dataset: Dataset,
    end: int,
    cutoffs: int = 6,
    settings: Settings | None = None,
    progress: Callable[[str], None] = lambda stage: None,
    resamples: int = 200,
) -> pd.DataFrame:
    """Measure fits at several cut-offs, each on the window after it.

    Parameters
    ----------
    dataset : Dataset
    end : int
        Exclusive date until which outcomes are known.
    cutoffs : int
        How many.
    settings : Settings, optional
        Of every fit.
    progress : callable
        Told each stage.
    resamples : int
        Draws of customers for the intervals.

    Returns
    -------
    DataFrame
        A line by cut-off and reported term, then one by term with the rows of all windows,
        ``cutoff`` *all*: ``until`` (end of the window, exclusive), ``rows``, ``events``, ``auc``
        with ``auc_low`` and ``auc_high``, ``brier``, ``said`` and ``seen`` (mean probability and
        rate), and of ``scorecard`` and ``rule`` the AUC and by how much the curve exceeds it, as
        ``scorecard_auc``, ``scorecard_gap``, ``scorecard_gap_low``… NaN where there is no figure.

    Raises
    ------
    LedgerError
        If the ledger is too short, saying how many cut-offs fit.

    Notes
    -----
    Of a window's rows, where they are more than 50,000, every second, third… is asked; so are of
    those whose outcome is known at the cut-off those that teach the challengers. A customer's rows
    stand in several windows; the intervals of the pooled lines draw customers with all their rows.
    The pooled AUC also compares rows of different windows, and so curves of different cut-offs.
    """
    edges = windows(dataset, end, cutoffs)
    answers: dict[int, list[Answers]] = {}
    lines = []
    for place, (cutoff, until) in enumerate(pairwise(edges), start=1):
        progress(f"cut-off {_iso(cutoff)}, {place} of {cutoffs}")
        curve = fit(dataset, cutoff, settings).curve
        rows = dataset.between(cutoff, until)
        rows = rows[:: max(1, -(-rows.size // MOST_ASKED))]
        for term_days in dataset.question.reported:
            beside = challengers(dataset, term_days, cutoff, MOST_LEARNED)
            said = ask_all(curve, beside, dataset, rows, term_days, end)
            if said.row.size:
                answers.setdefault(term_days, []).append(said)
                compared = compare(said, term_days, resamples)
                lines.append(_line(_iso(cutoff), _iso(until), compared))
    for term_days, parts in answers.items():
        lines.append(_line(POOLED, _iso(edges[-1]), compare(_pooled(parts), term_days, resamples)))
    return pd.DataFrame(lines)


def windows(dataset: Dataset, end: int, cutoffs: int) -> list[int]:
    """Place the cut-offs, and the end of the last window, evenly over the time that allows it.

    The first leaves a year, what the features look back on, and the longest reported term. The last
    window ends where the outcomes at that term are known before `end`. One row in twenty of those
    without may lie before: it is not measured at that term.

    Parameters
    ----------
    dataset : Dataset
    end : int
        Exclusive date until which outcomes are known.
    cutoffs : int
        At least 1.

    Returns
    -------
    list of int
        ``cutoffs + 1`` days, ascending.

    Raises
    ------
    LedgerError
        If the windows would be shorter than 31 days.
    """
    first, last = _span(dataset, end)
    fitting = _fitting(first, last)
    if fitting < cutoffs:
        raise LedgerError(
            f"{dataset.question.name} curve: {fitting} of {cutoffs} cut-offs fit between "
            f"{_iso(first)}, when enough is known to learn from, and {_iso(last)}, until when "
            f"outcomes are known; a cut-off needs {SHORTEST_WINDOW} days, import more history"
        )
    return [int(day) for day in np.linspace(first, last, cutoffs + 1)]


def most_cutoffs(dataset: Dataset, end: int) -> int:
    """Count how many cut-offs fit at most; 0 where the ledger is too short for any."""
    return _fitting(*_span(dataset, end))


def _fitting(first: int, last: int) -> int:
    return max(0, (last - first) // SHORTEST_WINDOW)


def _span(dataset: Dataset, end: int) -> tuple[int, int]:
    """First day that leaves enough to learn from, and the day until which outcomes are known."""
    rows = dataset.known_before(end)
    if rows.size == 0:
        return end, end
    longest = dataset.question.reported[-1]
    first = int(dataset.as_of[rows].min()) + YEAR_DAYS + longest
    return first, _settled_until(dataset, rows, end)


def _settled_until(dataset: Dataset, rows: NDArray[np.int64], end: int) -> int:
    """Day before which rows have a known outcome at the longest reported term, but for a few."""
    term = np.full(rows.size, dataset.question.reported[-1], np.int32)
    is_open = ~dataset.outcomes(rows, term, end).known & dataset.outcomes(rows, term, FAR).known
    if not is_open.any():
        return end
    return int(np.quantile(dataset.as_of[rows[is_open]], UNSETTLED_RATE, method="lower"))


def _pooled(parts: Sequence[Answers]) -> Answers:
    """Put the answers of several windows together."""
    named = [name for name in parts[0].challengers if all(name in p.challengers for p in parts)]
    return Answers(
        np.concatenate([part.row for part in parts]),
        np.concatenate([part.customer for part in parts]),
        np.concatenate([part.happened for part in parts]),
        joined([part.curve for part in parts]),
        {name: joined([part.challengers[name] for part in parts]) for name in named},
    )


def _line(cutoff: str, until: str, compared: Compared) -> dict[str, str | int | float]:
    quality = compared.quality
    line: dict[str, str | int | float] = {
        "cutoff": cutoff,
        "until": until,
        "term_days": quality.term_days,
        "rows": quality.rows,
        "events": quality.events,
        "auc": quality.auc.value,
        "auc_low": quality.auc.low,
        "auc_high": quality.auc.high,
        "brier": quality.brier,
        "said": quality.predicted_rate,
        "seen": quality.observed_rate,
    }
    for name, challenger in compared.challengers.items():
        line[f"{name}_auc"] = challenger.auc.value
        line[f"{name}_brier"] = challenger.brier
        line[f"{name}_gap"] = challenger.gap.value
        line[f"{name}_gap_low"] = challenger.gap.low
        line[f"{name}_gap_high"] = challenger.gap.high
    return line


def _iso(day: int) -> str:
    return str(np.datetime64(day, "D"))
