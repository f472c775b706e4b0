"""The model card of a version: one HTML page that stands alone, for the risk team and auditors.

It holds no script, nothing from elsewhere and no date of today: the same card and evaluation give
the same bytes. What was not measured is said to be so, and never left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from features.build import feature_names
from features.dictionary import dictionary
from models import grades

FEW_EVENTS = 50  # fewer do not tell a good curve from a fair one
CHALLENGERS = {"scorecard": "Scorecard", "rule": "Rule of thumb"}
DIRECTIONS = {1: "higher is riskier", -1: "lower is riskier", 0: "free"}
NOT_STATED = "not stated"
MOST_MOVING = 15  # features in the table; evaluation.json has all
STEADY_RATE = 0.9  # fewer first reasons that stay are told among the limits
CHANGES = {
    "noise": "Each amount, share and number of days moved a little",
    "a_day_earlier": "Asked a day earlier",
}
DEFINITION = {
    "name": "Preset",
    "days_past_due": "An invoice is late from, days past due",
    "consecutive_days": "And stays so for, further days",
    "exposure_rate": "What is late, share of the exposure",
    "must_exceed_rate": "The share must be exceeded, not only reached",
    "amount_cents": "What is late is more than",
    "natural_person_amount_cents": "The same of a natural person",
    "insolvency": "An insolvency judgment is a default",
    "write_off": "A write-off is a default",
    "probation_days": "Ends after, days without any of it",
}
COMPARED = {
    "bundle_sha256": "Bundle",
    "owner": "Owner",
    "ledger_id": "Ledger",
    "data_sha256": "Data",
    "trained_from": "Trained from",
    "cutoff": "Cut-off",
    "measured_until": "Measured until",
    "terms_days": "Terms",
    "default_definition": "Default definition",
    "rounds": "Trees",
    "libraries": "Libraries",
    "python": "Python",
}


class Table(NamedTuple):
    """A table: the first column is text, the others are figures."""

    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def render(
    card: Mapping[str, Any], evaluation: Mapping[str, Any], before: Mapping[str, Any] | None = None
) -> str:
    """Write the model card of one version.

    Parameters
    ----------
    card : mapping
        The bundle's ``card.json``; with ``owner`` and ``bundle_sha256`` where they are known.
    evaluation : mapping
        :meth:`training.evaluate.Evaluation.as_dict`; with ``walk_forward``, the records of
        :func:`training.walk_forward.walk_forward`, and ``grades``, those of
        :func:`training.gate.graded`, where they were measured.
    before : mapping, optional
        Card of the version before; without it this one is the first.

    Returns
    -------
    str
        HTML.
    """
    question, headline = card["question"], evaluation.get("headline_days")
    return _template().render(
        question=question,
        title={"late": "Late-payment curve", "default": "Default curve"}[question],
        owner=card.get("owner") or NOT_STATED,
        bundle=card.get("bundle_sha256") or NOT_STATED,
        identity=_identity(card),
        lineage=_lineage(card),
        definition=_definition(card.get("default_definition")),
        at_headline="" if headline is None else f", at {headline} days",
        metrics=_metrics(evaluation),
        payment_dates=_payment_dates(evaluation.get("payment_dates")),
        grades=_graded(evaluation.get("grades"), question),
        scale=grades.SCALE,
        bands=_bands(_headline(evaluation)),
        gains=_gains(_headline(evaluation)),
        segments=_segments(evaluation),
        moves=_moves(evaluation.get("explained") or {}),
        challengers=_beside(evaluation),
        walk_forward=_walked(evaluation),
        features=_features(question),
        libraries=_listed(card.get("libraries")),
        python=card.get("python", NOT_STATED),
        limits=_limits(card, evaluation),
        is_first=before is None,
        changes=None if before is None else _changes(card, before),
    )


@cache
def _template() -> Template:
    here = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=here,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("model_card.html")


# ------------------------------------------------------------------------------- what it is made of


def _identity(card: Mapping[str, Any]) -> Table:
    shortest, longest = card.get("terms_days", (None, None))
    terms = NOT_STATED if shortest is None else f"{shortest} to {longest} days"
    return _facts(
        {
            "Owner": card.get("owner"),
            "Bundle (SHA-256 of its manifest)": card.get("bundle_sha256"),
            "Terms": terms,
            "Trees": _count(card.get("rounds")),
        }
    )


def _lineage(card: Mapping[str, Any]) -> Table:
    cutoff, end = card.get("cutoff"), card.get("measured_until")
    return _facts(
        {
            "Ledger": card.get("ledger_id"),
            "Data (SHA-256 of every fact)": card.get("data_sha256"),
            "First day learned from": card.get("trained_from"),
            "As known": None if cutoff is None else f"before {cutoff}",
            "Measured": None if end is None else f"from {cutoff}, outcomes known before {end}",
        }
    )


def _definition(definition: Mapping[str, Any] | None) -> Table | None:
    if definition is None:
        return None
    fields = [name for name in DEFINITION if name in definition]  # read from a card, by letter
    fields += [name for name in definition if name not in DEFINITION]
    return _facts({_worded(name): _in_unit(name, definition[name]) for name in fields})


def _worded(field: str) -> str:
    return DEFINITION.get(field, field.replace("_", " ").capitalize())


def _in_unit(field: str, value: Any) -> str:
    if field.endswith("_cents"):
        return f"{value / 100:,.2f}"
    return (
        _rate(value) if field.endswith("_rate") and field != "must_exceed_rate" else _plain(value)
    )


def _plain(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _facts(said: Mapping[str, Any]) -> Table:
    rows = [(name, NOT_STATED if value is None else str(value)) for name, value in said.items()]
    return Table(("", ""), rows)


# ----------------------------------------------------------------------------------- how good it is


def _terms(evaluation: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    return {int(term): one for term, one in (evaluation.get("terms") or {}).items()}


def _headline(evaluation: Mapping[str, Any]) -> Mapping[str, Any]:
    return _terms(evaluation).get(evaluation.get("headline_days", -1), {})


def _metrics(evaluation: Mapping[str, Any]) -> Table | None:
    headings = (
        "Term (days)", "Customers", "Asked", "Happened", "AUC [95 %]", "Brier", "Log-loss",
        "Said", "Seen", "Calibration error", "A perfect one’s, 95 % below",
    )  # fmt: skip
    rows = []
    for term, one in _terms(evaluation).items():
        quality, null = one["quality"], one.get("calibration_null") or {}
        rows.append(
            (
                str(term),
                _count(one.get("customers")),
                _count(quality["rows"]),
                _count(quality["events"]),
                _interval(quality["auc"]),
                _figure(quality["brier"]),
                _figure(quality["log_loss"]),
                _rate(quality["predicted_rate"]),
                _rate(quality["observed_rate"]),
                _rate(one.get("calibration_error")),
                _rate(null.get("high")),
            )
        )
    return _table(headings, rows)


def _payment_dates(dates: Mapping[str, Any] | None) -> Table | None:
    if not dates:
        return None
    headings = ("Invoices", "Paid within 3 days of p50", "Paid from p10 to p90", "Said")
    near, covered, said = (
        _rate(dates.get(name)) for name in ("near_rate", "covered_rate", "covered_rate_said")
    )
    return Table(headings, [(_count(dates.get("rows")), near, covered, said)])


def _graded(found: Iterable[Mapping[str, Any]] | None, question: str) -> Table | None:
    if not found:
        return None
    what = "Defaults" if question == "default" else "Happened"
    headings = ("Grade", "Probability", "Customers", what, "Said", "Seen", "Jeffreys p")
    by_name = {one["name"]: one for one in found}
    names = grades.GRADES if question == "default" else tuple(by_name)
    rows = []
    for name in names:
        one = by_name.get(name)
        span = _span(name) if question == "default" else name
        if one is None:
            rows.append((name, span, "0", "0", "–", "–", "–"))
            continue
        seen = one["events"] / one["rows"] if one["rows"] else None
        counts = (_count(one["rows"]), _count(one["events"]))
        p_value = _figure(one["p_value"])
        rows.append((name, span, *counts, _rate(one["said"]), _rate(seen), p_value))
    return Table(headings, rows)


def _span(grade: str) -> str:
    low, high = grades.bounds(grade)
    return f"{low:.1%} – {high:.1%}"


def _bands(measured: Mapping[str, Any]) -> Table | None:
    headings = ("Probability", "Asked", "Happened", "Said", "Seen")
    rows = [
        (
            f"{_rate(band['low'])} – {_rate(band['high'])}",
            _count(band["rows"]),
            _count(band["events"]),
            _rate(band["said"]),
            _rate(band["seen"]),
        )
        for band in measured.get("bands") or []
    ]
    return _table(headings, rows)


def _gains(measured: Mapping[str, Any]) -> Table | None:
    gains = measured.get("gains") or {}
    rows = [(f"{float(share):.0%}", _rate(captured)) for share, captured in gains.items()]
    return _table(("Riskiest share of the rows", "Share of what happened"), rows)


def _segments(evaluation: Mapping[str, Any]) -> Table | None:
    headings = (
        "Segment", "Customers", "Asked", "Happened", "AUC [95 %]", "Said", "Seen",
        *(f"Above {name.lower()} by" for name in CHALLENGERS.values()),
    )  # fmt: skip
    rows = []
    for segment, labels in (evaluation.get("segments") or {}).items():
        for label, one in labels.items():
            quality, beside = one["quality"], one.get("challengers") or {}
            rows.append(
                (
                    f"{segment}: {label}".replace("_", " "),
                    _count(one.get("customers")),
                    _count(quality["rows"]),
                    _count(quality["events"]),
                    _interval(quality["auc"]),
                    _rate(quality["predicted_rate"]),
                    _rate(quality["observed_rate"]),
                    *(_gap((beside.get(name) or {}).get("gap")) for name in CHALLENGERS),
                )
            )
    return _table(headings, rows)


def _beside(evaluation: Mapping[str, Any]) -> Table | None:
    headings = ("Term (days)", "Compared with", "Its AUC [95 %]", "Curve above by [95 %]", "Brier")
    rows = [
        (
            str(term),
            name,
            _interval(one["challengers"][key]["auc"]),
            _gap(one["challengers"][key]["gap"]),
            _figure(one["challengers"][key]["brier"]),
        )
        for term, one in _terms(evaluation).items()
        for key, name in CHALLENGERS.items()
        if key in (one.get("challengers") or {})
    ]
    return _table(headings, rows)


def _walked(evaluation: Mapping[str, Any]) -> Table | None:
    """Lay out each cut-off at the headline term, and every term over all cut-offs."""
    headings = (
        "Cut-off", "Until", "Term (days)", "Asked", "Happened", "AUC [95 %]", "Said", "Seen",
        *(f"Above {name.lower()} by" for name in CHALLENGERS.values()),
    )  # fmt: skip
    headline = evaluation.get("headline_days")
    rows = [
        (
            line["cutoff"],
            line["until"],
            str(line["term_days"]),
            _count(line["rows"]),
            _count(line["events"]),
            _interval({end: line[f"auc{tail}"] for end, tail in ENDS.items()}),
            _rate(line["said"]),
            _rate(line["seen"]),
            *(
                _gap({end: line.get(f"{name}_gap{tail}") for end, tail in ENDS.items()})
                for name in CHALLENGERS
            ),
        )
        for line in evaluation.get("walk_forward") or []
        if line["cutoff"] == "all" or line["term_days"] == headline
    ]
    return _table(headings, rows)


ENDS = {"value": "", "low": "_low", "high": "_high"}


def _features(question: str) -> Table:
    entries = [dictionary()[name] for name in feature_names(with_order=question == "late")]
    rows = [
        (
            entry.words["en"].label,
            entry.feature,
            entry.unit.replace("_", " "),
            DIRECTIONS[entry.direction],
        )
        for entry in entries
    ]
    return Table(("Feature", "Name", "Unit", "Monotone direction"), rows)


# ---------------------------------------------------------------------------------- what moves it


class Moves(NamedTuple):
    """What moves a curve, table by table; None of what was not measured."""

    strongest: Table | None
    shapes: Table | None
    together: Table | None
    steady: Table | None
    rows: str
    noise: str


def _moves(found: Mapping[str, Any]) -> Moves:
    shown = (found.get("importance") or [])[:MOST_MOVING]
    headings = ("Feature", "Name", "Mean effect (log-odds)", "Share of all")
    strongest = [
        (_label(one["feature"]), one["feature"], _figure(one["contribution"]), _rate(one["share"]))
        for one in shown
    ]
    shapes = [
        (
            _label(one["feature"]),
            _span_of(part),
            _count(part["rows"]),
            _signed(part["contribution"]),
        )
        for one in found.get("dependence") or []
        for part in one["parts"]
    ]
    together = [
        (_label(one["first"]), _label(one["second"]), _figure(one["effect"]))
        for one in found.get("interactions") or []
    ]
    steady = [
        (words, _rate(one["first_stays"]), _rate(one["told_stay"]), _figure(one["moved"]))
        for change, words in CHANGES.items()
        if (one := found.get(change))
    ]
    return Moves(
        _table(headings, strongest),
        _table(("Feature", "Value", "Rows", "Mean effect (log-odds)"), shapes),
        _table(("Feature", "Together with", "Mean effect (log-odds)"), together),
        _table(("Change", "First reason stays", "Reasons told stay", "Log-odds move by"), steady),
        _count(found.get("rows")),
        _rate((found.get("noise") or {}).get("rate")),
    )


def _label(feature: str) -> str:
    return "Term asked" if feature == "term" else dictionary()[feature].words["en"].label


def _span_of(part: Mapping[str, Any]) -> str:
    low, high = part["from"], part["to"]
    if low is None:
        return "missing"
    return f"{low:,.4g}" if low == high else f"{low:,.4g} … {high:,.4g}"


# ------------------------------------------------------------------------------ limits and changes


def _limits(card: Mapping[str, Any], evaluation: Mapping[str, Any]) -> list[str]:
    """Tell what the figures themselves warn of."""
    found = []
    for term, one in _terms(evaluation).items():
        quality, null = one["quality"], one.get("calibration_null") or {}
        if quality["events"] < FEW_EVENTS:
            found.append(
                f"At {term} days only {_count(quality['events'])} events were seen out of time: "
                "the figures of that term say little."
            )
        if null and one["calibration_error"] > null["high"]:
            found.append(
                f"At {term} days the calibration error, {_rate(one['calibration_error'])}, is "
                f"above {_rate(null['high'])}, which 95 % of perfectly calibrated models stay "
                "below on the same rows."
            )
        for key, name in CHALLENGERS.items():
            gap = ((one.get("challengers") or {}).get(key) or {}).get("gap")
            if gap and gap["low"] is not None and gap["low"] <= 0:
                found.append(
                    f"At {term} days the curve does not rank better than the {name.lower()} "
                    f"beyond noise ({_gap(gap)})."
                )
    risky = [one for one in evaluation.get("grades") or [] if one["p_value"] < 0.05]
    found += [
        f"Grade {one['name']}, tested alone, is riskier than it says: {_count(one['events'])} of "
        f"{_count(one['rows'])} happened, {_rate(one['said'])} said, p = {_figure(one['p_value'])}."
        for one in risky
    ]
    moves = evaluation.get("explained") or {}
    for change, words in CHANGES.items():
        stays = (moves.get(change) or {}).get("first_stays", 1.0)
        if stays < STEADY_RATE:
            found.append(
                f"{words}: another first reason in {_rate(1 - stays)} of the rows. Where several "
                "reasons weigh nearly the same, read them together."
            )
    if not card.get("owner"):
        found.append("No owner is stated.")
    return found


def _changes(card: Mapping[str, Any], before: Mapping[str, Any]) -> Table:
    rows = []
    for key, name in COMPARED.items():
        was, now = before.get(key), card.get(key)
        if was != now:
            write = _defined if key == "default_definition" else _stated
            rows.append((name, write(was), write(now)))
    was_auc, auc = _aucs(before), _aucs(card)
    rows += [
        (f"AUC at {term} days", was_auc.get(term, "not measured"), auc.get(term, "not measured"))
        for term in sorted(was_auc.keys() | auc.keys())
        if was_auc.get(term) != auc.get(term)
    ]
    return Table(("", "Before", "Now"), rows)


def _defined(definition: Mapping[str, Any] | None) -> str:
    table = _definition(definition)
    return NOT_STATED if table is None else "; ".join(": ".join(row) for row in table.rows)


def _aucs(card: Mapping[str, Any]) -> dict[int, str]:
    return {one["term_days"]: _interval(one["auc"]) for one in card.get("metrics") or []}


def _stated(value: Any) -> str:
    if value is None:
        return NOT_STATED
    return _listed(value) if isinstance(value, Mapping) else str(value)


def _listed(named: Mapping[str, Any] | None) -> str:
    if not named:
        return NOT_STATED
    return ", ".join(f"{name} {_plain(value)}" for name, value in named.items())


# ------------------------------------------------------------------------------------------ figures


def _table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table | None:
    return Table(headings, rows) if rows else None


def _shown(write: Callable[[float], str], value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else write(value)


def _count(value: float | None) -> str:
    return _shown(lambda one: f"{one:,.0f}", value)


def _figure(value: float | None) -> str:
    return _shown(lambda one: f"{one:.3f}", value)


def _rate(value: float | None) -> str:
    return _shown(lambda one: f"{one:.2%}", value)


def _interval(found: Mapping[str, float | None]) -> str:
    value, low, high = (_figure(found.get(end)) for end in ENDS)
    return value if low == "–" else f"{value} [{low}–{high}]"


def _gap(found: Mapping[str, float | None] | None) -> str:
    if found is None:
        return "–"
    value, low, high = (_shown(_signed, found.get(end)) for end in ENDS)
    return value if low == "–" else f"{value} [{low}…{high}]"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")
