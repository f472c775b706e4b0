"""Tables of a training for the terminal: how good each curve is, beside what, where, and when."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd
from rich.table import Table

from models.metrics import Interval
from training.card import as_date
from training.evaluate import Challenged, Measured
from training.train import Trained

CHALLENGERS = {"scorecard": "scorecard", "rule": "rule of thumb"}
MEASURED = ("asked", "happened", "AUC [95 %]", "said", "seen")
ABOVE = tuple(f"above {name}" for name in CHALLENGERS.values())
STAR = "* beyond noise: the whole 95 % interval lies on that side of 0"
ENDS = ("", "_low", "_high")


def tables(trained: Trained) -> list[Table]:
    """Lay out everything that one training measured."""
    shown = [by_term(trained), beside(trained)]
    if trained.evaluation.segments:
        shown.append(by_segment(trained))
    if trained.walked is not None:
        shown.append(by_cutoff(trained.walked, trained.evaluation.headline_days))
    return shown


def by_term(trained: Trained) -> Table:
    """Show the curve at each term; *off by* is the mean distance between said and seen."""
    version = trained.version
    title = (
        f"{version.question} curve, version {version.number}: trained on what was known before "
        f"{as_date(trained.fit.cutoff)}, measured since"
    )
    table = _table(title, "days", *MEASURED, "off by", "if perfect")
    for term_days, measured in trained.evaluation.terms.items():
        off_by = f"{measured.calibration_error:.2%}"
        perfect = f"< {measured.calibration_null.high:.2%}"
        table.add_row(str(term_days), *_cells(measured), off_by, perfect)
    dates = trained.evaluation.payment_dates
    if dates is not None:
        table.caption = (
            f"Paid within 3 days of p50: {dates.near_rate:.1%}; from p10 to p90: "
            f"{dates.covered_rate:.1%}, {dates.covered_rate_said:.1%} said ({dates.rows:,} rows)"
        )
    return table


def beside(trained: Trained) -> Table:
    """Show what the curve must beat, on the same rows."""
    table = _table("Beside it on the same rows", "days")
    for name in CHALLENGERS.values():
        table.add_column(f"AUC of the {name}", justify="right")
        table.add_column("curve above by [95 %]", justify="right")
    for term_days, measured in trained.evaluation.terms.items():
        if measured.challengers:
            theirs = [measured.challengers[name] for name in CHALLENGERS]
            cells = [cell for one in theirs for cell in (f"{one.auc.value:.3f}", _gap(one.gap))]
            table.add_row(str(term_days), *cells)
    return table


def by_segment(trained: Trained) -> Table:
    """Show the curve on each kind of row, at the headline term."""
    days = trained.evaluation.headline_days
    table = _table(f"By segment, at {days} days", "segment", *MEASURED, *ABOVE)
    table.columns[0].justify = "left"
    for kind, labels in trained.evaluation.segments.items():
        for label, measured in labels.items():
            named = f"{kind}: {label}".replace("_", " ")
            table.add_row(named, *_cells(measured), *_gaps(measured.challengers))
        table.add_section()
    table.caption = STAR
    return table


def by_cutoff(walked: pd.DataFrame, term_days: int) -> Table:
    """Show the same fit at earlier cut-offs, at one term."""
    title = f"Fitted again at earlier cut-offs, at {term_days} days"
    table = _table(title, "cut-off", *MEASURED, *ABOVE)
    for step in walked[walked["term_days"] == term_days].to_dict("records"):
        auc = Interval(step["auc"], step["auc_low"], step["auc_high"])
        gaps = [
            _short(Interval(*(step.get(f"{name}_gap{end}", math.nan) for end in ENDS)))
            for name in CHALLENGERS
        ]
        counts = [step["cutoff"], f"{step['rows']:,}", f"{step['events']:,}"]
        table.add_row(*counts, str(auc), f"{step['said']:.2%}", f"{step['seen']:.2%}", *gaps)
    table.caption = STAR
    return table


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def _cells(measured: Measured) -> list[str]:
    q = measured.quality
    counts = [f"{q.rows:,}", f"{q.events:,}", str(q.auc)]
    return [*counts, f"{q.predicted_rate:.2%}", f"{q.observed_rate:.2%}"]


def _gaps(challengers: Mapping[str, Challenged]) -> list[str]:
    return [
        _short(challengers[name].gap) if name in challengers else "not fitted"
        for name in CHALLENGERS
    ]


def _short(gap: Interval) -> str:
    """Write by how much the curve is better, with a star beyond noise."""
    if math.isnan(gap.value):
        return "–"
    return f"{gap.value:+.3f}{'*' if gap.low > 0 or gap.high < 0 else ' '}"


def _gap(gap: Interval) -> str:
    """Write by how much the curve is better; – where one of the two has no AUC."""
    if math.isnan(gap.value):
        return "–"
    return f"{gap.value:+.3f} [{gap.low:+.3f} … {gap.high:+.3f}]"
