"""What tells that a customer degrades: from the state of before to that of now.

Worked example: the best grade of the last 180 days was B, the customer is now E: three notches, as
many as are told. The alert stays open while he is worse than B; at G, two notches further, it is
told again; back at B it is over, and B is compared with again. At D it would neither be over nor
told.

Each rule is a latch with two bounds: raised at one, over at another, less strict one; in between
nothing is said, whatever moves. What is not known now (a curve that abstains, an insurer who cannot
be asked) neither raises nor ends anything. Nothing here reads a clock, a file or a database.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any, Literal, NamedTuple

from models.alert_words import Figures
from models.alerts_file import CODES, AlertRules, Code, Severity, load
from models.depth import LETTERS
from models.grades import GRADES, HORIZON_DAYS
from models.wording import Words

__all__ = [
    "Due",
    "Evaluated",
    "Finding",
    "Latch",
    "Reference",
    "State",
    "evaluate",
    "from_json",
    "load",
    "to_json",
]

CoverState = Literal["in_force", "refused", "none", "unknown"]
CLEARLY = 0.9  # a probability that fell by less moves nothing


class Due(NamedTuple):
    """An unpaid, covered invoice of which the insurer must be told, and until when."""

    invoice_id: str
    due_on: date
    days_left: int
    open_cents: int


@dataclass(frozen=True)
class State:
    """What is known of a customer at an instant.

    Attributes
    ----------
    customer_id : str
    at : datetime
        UTC.
    model : str or None
        Which default curve spoke: two curves do not tell a change of the customer.
    grade, default_probability : str or None, float or None
        Within 365 days; None where the curve abstains.
    data_depth : str
        A to G.
    insolvency_opened, in_default : bool
    exposure_cents, overdue_cents, longest_overdue_days : int
        As :class:`models.exposure.Exposure`.
    limit_cents : int or None
        The seller's own limit; None when he never decided.
    cover : str
        ``in_force``; ``refused``, also when it was withdrawn; ``none``, also when it ended;
        ``unknown`` when the insurer cannot be asked.
    covered_cents : int
        0 unless it is in force.
    deadlines : tuple of Due
        Of undisputed invoices.
    """

    customer_id: str
    at: datetime
    model: str | None
    grade: str | None
    default_probability: float | None
    data_depth: str
    insolvency_opened: bool
    in_default: bool
    exposure_cents: int
    overdue_cents: int
    longest_overdue_days: int
    limit_cents: int | None
    cover: CoverState
    covered_cents: int
    deadlines: tuple[Due, ...] = ()

    @property
    def has_grade(self) -> bool:
        """Whether the curve graded it: a customer in default has a grade by definition only."""
        known = self.grade is not None and self.default_probability is not None
        return known and not (self.in_default or self.insolvency_opened)


class Latch(NamedTuple):
    """A condition that holds since it was met: how much of it, and from what."""

    measure: float
    base: float | str | None = None
    marks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reference:
    """The state that the next one is compared with, and the conditions that hold."""

    at: datetime
    model: str | None
    grade: str | None
    default_probability: float | None
    risk_since: datetime
    data_depth: str
    depth_since: datetime
    covered_cents: int | None
    cover_since: datetime
    latches: Mapping[Code, Latch] = field(default_factory=dict)


class Finding(NamedTuple):
    """A degradation to tell of; `is_again` when one that was told has become worse.

    `measure` is how much: notches, times, days, cents, a share or a number, by the code's rule.
    """

    code: Code
    severity: Severity
    is_again: bool
    measure: float
    fr: str
    en: str
    evidence: dict[str, Any]


class Evaluated(NamedTuple):
    """What one evaluation gives: the next reference, what to tell, and which codes are over."""

    reference: Reference
    findings: tuple[Finding, ...]
    over: tuple[Code, ...]


class _Look(NamedTuple):
    """One rule's view: whether it is met, whether it is over, whether it is worse than told."""

    holds: bool
    is_over: bool
    is_worse: bool
    latch: Latch
    told: Callable[[], _Told]


class _Told(NamedTuple):
    """A sentence and its evidence, written only when it is told: most looks find nothing new."""

    words: Words
    evidence: dict[str, Any]


def evaluate(before: Reference | None, now: State, rules: AlertRules, currency: str) -> Evaluated:
    """Compare a customer's state with that of before.

    Parameters
    ----------
    before : Reference or None
        From the evaluation before; None at first sight.
    now : State
    rules : AlertRules
    currency : str
        Of the amounts in sentences.

    Returns
    -------
    Evaluated
        With the same state again: the same reference, and nothing to tell.
    """
    compared = _first(now) if before is None else before
    latches = dict(compared.latches)
    if compared.covered_cents is None and now.cover == "refused":  # nobody knows since when
        latches["cover_refused"] = Latch(1.0, 0)
    findings: list[Finding] = []
    over: list[Code] = []
    for code in CODES:
        latch = latches.get(code)
        look = _LOOKS[code](_Seen(compared, latch, latches, now, rules, currency))
        if look is None:
            continue
        if look.is_over:
            over.append(code)
            latches.pop(code, None)
        elif latch is None and look.holds:
            latches[code] = look.latch
            if before is not None or code in rules.first_sight:
                findings.append(_finding(code, look, rules, is_again=False))
        elif latch is not None and look.is_worse:
            latches[code] = look.latch
            findings.append(_finding(code, look, rules, is_again=True))
    return Evaluated(_moved(compared, now, rules, latches), tuple(findings), tuple(over))


def _finding(code: Code, look: _Look, rules: AlertRules, *, is_again: bool) -> Finding:
    severity, (words, evidence) = rules.severity(code), look.told()
    return Finding(code, severity, is_again, look.latch.measure, words.fr, words.en, evidence)


# ------------------------------------------------------------------------------------- reference


def _first(now: State) -> Reference:
    """Compare a customer who is seen for the first time with himself."""
    grade, probability = _risk_of(now)
    covered = None if now.cover == "unknown" else now.covered_cents
    at, depth = now.at, now.data_depth
    return Reference(at, now.model, grade, probability, at, depth, at, covered, at)


def _risk_of(now: State) -> tuple[str | None, float | None]:
    return (now.grade, now.default_probability) if now.has_grade else (None, None)


def _moved(
    before: Reference, now: State, rules: AlertRules, latches: dict[Code, Latch]
) -> Reference:
    """Compare the next time with the better of both states, or with this one when it is old."""
    moved, longest = replace(before, latches=latches), timedelta(days=rules.reference_days)
    grade, probability = _risk_of(now)
    if grade is not None and probability is not None:
        was = before.default_probability
        better = was is None or probability < CLEARLY * was or _place(grade) < _place(before.grade)
        if better or before.model != now.model or now.at - before.risk_since > longest:
            moved = replace(moved, model=now.model, grade=grade)
            moved = replace(moved, default_probability=probability, risk_since=now.at)
    deeper = LETTERS.index(now.data_depth) < LETTERS.index(before.data_depth)
    if deeper or now.at - before.depth_since > longest:
        moved = replace(moved, data_depth=now.data_depth, depth_since=now.at)
    if now.cover != "unknown":
        was_covered, told = before.covered_cents, _COVERS & set(latches)
        better = was_covered is None or now.covered_cents > was_covered
        less = now.covered_cents != was_covered
        if better or (less and (told or now.at - before.cover_since > longest)):
            moved = replace(moved, covered_cents=now.covered_cents, cover_since=now.at)
    return moved if moved == before else replace(moved, at=now.at)


def _place(grade: str | None) -> int:
    return len(GRADES) if grade is None else GRADES.index(grade)


def to_json(reference: Reference) -> dict[str, Any]:
    """Give a reference as JSON keeps it."""
    days = {n: v.isoformat() for n, v in reference.__dict__.items() if isinstance(v, datetime)}
    latches = {code: list(latch) for code, latch in sorted(reference.latches.items())}
    return {**reference.__dict__, **days, "latches": latches}


def from_json(said: dict[str, Any]) -> Reference:
    """Read what :func:`to_json` gave."""
    days = ("at", "risk_since", "depth_since", "cover_since")
    known = {code: Latch(m, b, tuple(marks)) for code, (m, b, marks) in said["latches"].items()}
    return Reference(
        **{**said, **{n: datetime.fromisoformat(said[n]) for n in days}, "latches": known}
    )


# ----------------------------------------------------------------------------------------- rules


class _Seen(NamedTuple):
    """What a rule looks at; `latch` is its own, of `latches`."""

    before: Reference
    latch: Latch | None
    latches: Mapping[Code, Latch]
    now: State
    rules: AlertRules
    currency: str


_Rule = Callable[[_Seen], _Look | None]
_COVERS: frozenset[Code] = frozenset({"cover_withdrawn", "cover_refused", "cover_reduced"})


def _insolvency(seen: _Seen) -> _Look:
    now, currency = seen.now, seen.currency
    opened = now.insolvency_opened

    def told() -> _Told:
        words = (
            Figures(currency)
            .money("owed", now.exposure_cents)
            .fill(
                "Une procédure collective est ouverte ; encours {owed}.",
                "Insolvency proceedings are open; exposure {owed}.",
            )
        )
        return _Told(words, _owed(now))

    return _Look(opened, not opened, False, Latch(1.0), told)


def _default(seen: _Seen) -> _Look:
    now, currency = seen.now, seen.currency
    holds = now.in_default and not now.insolvency_opened  # that is told already

    def told() -> _Told:
        words = (
            Figures(currency)
            .money("overdue", now.overdue_cents)
            .money("owed", now.exposure_cents)
            .days("days", now.longest_overdue_days)
            .fill(
                "Le client est en défaut au sens de la politique : {overdue} échus sans litige, "
                "depuis {days} au plus, sur un encours de {owed}.",
                "The customer is in default by the policy's definition: {overdue} overdue and "
                "undisputed, for {days} at most, of an exposure of {owed}.",
            )
        )
        return _Told(words, _owed(now))

    return _Look(holds, not now.in_default, False, Latch(1.0), told)


def _cover_withdrawn(seen: _Seen) -> _Look | None:
    return _cover_gone(seen, had_one=True)


def _cover_refused(seen: _Seen) -> _Look | None:
    return _cover_gone(seen, had_one=False)


def _cover_gone(seen: _Seen, *, had_one: bool) -> _Look | None:
    """Look at a decision of the insurer that covers nothing; an end alone is a reduction."""
    before, latch, now, currency = seen.before, seen.latch, seen.now, seen.currency
    base = _cents(before.covered_cents if latch is None else latch.base)
    if now.cover == "unknown" or base is None:
        return None
    is_told = not had_one and "cover_withdrawn" in seen.latches
    holds = now.cover == "refused" and (base > 0) == had_one and not is_told
    is_over = now.cover == "in_force" and now.covered_cents > 0

    def told() -> _Told:
        figures = Figures(currency).money("was", base).money("owed", now.exposure_cents)
        withdrawn = (
            "L’assureur a retiré son agrément de {was} ; encours {owed}.",
            "The insurer withdrew his cover of {was}; exposure {owed}.",
        )
        refused = (
            "L’assureur refuse sa garantie ; encours {owed}.",
            "The insurer refuses to cover the customer; exposure {owed}.",
        )
        words = figures.fill(*(withdrawn if had_one else refused))
        return _Told(words, {**_cover_evidence(base, now), **_owed(now)})

    return _Look(holds, is_over, False, Latch(1.0, base), told)


def _cover_reduced(seen: _Seen) -> _Look | None:
    before, latch, now, rules, currency = (
        seen.before,
        seen.latch,
        seen.now,
        seen.rules,
        seen.currency,
    )
    base = _cents(before.covered_cents if latch is None else latch.base)
    if now.cover == "unknown" or base is None:
        return None
    lost, least = 1 - now.covered_cents / base if base else 0.0, rules.cover_reduced.at_least_rate
    gone = now.cover == "refused"  # told as such
    holds = not gone and lost >= least
    worse = not gone and latch is not None and lost >= latch.measure + float(least)
    is_over = gone or lost <= 0

    def told() -> _Told:
        words = (
            Figures(currency)
            .money("was", base)
            .money("now", now.covered_cents)
            .rate("lost", lost)
            .money("owed", now.exposure_cents)
            .fill(
                "La garantie de l’assureur est passée de {was} à {now} ({lost} de moins) ; encours "
                "{owed}.",
                "The insurer's cover went from {was} to {now} ({lost} less); exposure {owed}.",
            )
        )
        return _Told(words, {**_cover_evidence(base, now), "lost_rate": lost, **_owed(now)})

    return _Look(holds, is_over, worse, Latch(lost, base), told)


def _cents(base: float | str | None) -> int | None:
    return None if base is None else int(base)


def _grade(seen: _Seen) -> _Look | None:
    before, latch, now, rules, currency = (
        seen.before,
        seen.latch,
        seen.now,
        seen.rules,
        seen.currency,
    )
    rule, base = rules.grade_worsened, before.grade if latch is None else str(latch.base)
    if not now.has_grade or base is None or (latch is None and before.model != now.model):
        return None
    lost = _place(now.grade) - _place(base)
    holds = lost >= rule.at_least_notches and _place(now.grade) >= _place(rule.from_grade)
    worse = latch is not None and lost >= latch.measure + rule.again_after_notches

    def told() -> _Told:
        words = (
            Figures(currency)
            .text("was", base)
            .text("now", str(now.grade))
            .rate("p", _known(now.default_probability))
            .text("horizon", str(HORIZON_DAYS))
            .money("owed", now.exposure_cents)
            .fill(
                "La classe est passée de {was} à {now} : probabilité de défaut de {p} à {horizon} "
                "jours ; encours {owed}.",
                "The grade went from {was} to {now}: a probability of default of {p} within "
                "{horizon} days; exposure {owed}.",
            )
        )
        return _Told(
            words,
            {"grade_before": base, "grade": now.grade, "notches": lost, **_risk_evidence(now)},
        )

    return _Look(holds, lost < rule.clears_below, worse, Latch(lost, base), told)


def _probability(seen: _Seen) -> _Look | None:
    before, latch, latches, now, rules, currency = (
        seen.before,
        seen.latch,
        seen.latches,
        seen.now,
        seen.rules,
        seen.currency,
    )
    rule = rules.probability_multiplied
    base = before.default_probability if latch is None else float(latch.base or 0)
    if not now.has_grade or not base or (latch is None and before.model != now.model):
        return None
    now_is = _known(now.default_probability)
    times = now_is / base
    holds = times >= rule.at_least_times and now_is >= rule.above_rate
    worse = latch is not None and times >= latch.measure * float(rule.again_after_times)
    is_over = times < rule.clears_below_times
    is_told = "grade_worsened" in latches  # the same, in notches

    def told() -> _Told:
        words = (
            Figures(currency)
            .rate("was", base)
            .rate("now", now_is)
            .times("times", times)
            .text("horizon", str(HORIZON_DAYS))
            .money("owed", now.exposure_cents)
            .fill(
                "La probabilité de défaut à {horizon} jours est passée de {was} à {now}, "
                "multipliée par {times} ; encours {owed}.",
                "The probability of default within {horizon} days went from {was} to {now}, times "
                "{times}; exposure {owed}.",
            )
        )
        return _Told(
            words, {"default_probability_before": base, "times": times, **_risk_evidence(now)}
        )

    return _Look(holds and not is_told, is_over, worse and not is_told, Latch(times, base), told)


def _overdue(seen: _Seen) -> _Look:
    latch, now, rules, currency = seen.latch, seen.now, seen.rules, seen.currency
    rule, days, cents = rules.overdue, now.longest_overdue_days, now.overdue_cents
    least = 100 * rule.at_least_amount
    material = cents >= least and cents >= rule.at_least_rate * max(0, now.exposure_cents)
    is_over = days <= rule.clears_days or 2 * cents < least
    holds = days > rule.after_days and material
    worse = latch is not None and material and days >= latch.measure + rule.again_after_days

    def told() -> _Told:
        words = (
            Figures(currency)
            .money("overdue", cents)
            .money("owed", now.exposure_cents)
            .days("days", days)
            .fill(
                "{overdue} sont échus sans litige, depuis {days} au plus, sur un encours de "
                "{owed}.",
                "{overdue} are overdue and undisputed, for {days} at most, of an exposure of "
                "{owed}.",
            )
        )
        return _Told(words, _owed(now))

    return _Look(holds, is_over, worse, Latch(float(days)), told)


def _limit(seen: _Seen) -> _Look:
    latch, now, rules, currency = seen.latch, seen.now, seen.rules, seen.currency
    rule, limit = rules.limit_exceeded, now.limit_cents or 0
    above = now.exposure_cents - limit
    holds = above > rule.above_rate * limit and above >= 100 * rule.at_least_amount
    worse = latch is not None and above >= latch.measure * float(rule.again_after_times)
    is_over = now.limit_cents is None or above <= 0

    def told() -> _Told:
        words = (
            Figures(currency)
            .money("owed", now.exposure_cents)
            .money("limit", limit)
            .money("above", above)
            .fill(
                "L’encours de {owed} dépasse la limite de {limit} de {above}.",
                "The exposure of {owed} is {above} above the limit of {limit}.",
            )
        )
        return _Told(words, {**_owed(now), "limit": _units(limit), "above": _units(above)})

    return _Look(holds and now.limit_cents is not None, is_over, worse, Latch(float(above)), told)


def _deadline(seen: _Seen) -> _Look | None:
    latch, now, rules, currency = seen.latch, seen.now, seen.rules, seen.currency
    if now.cover == "unknown":
        return None
    rule, marked = rules.insurer_deadline, () if latch is None else latch.marks
    material = [one for one in now.deadlines if one.open_cents >= 100 * rule.at_least_amount]
    near = [one for one in material if -rule.missed_days <= one.days_left <= rule.within_days]
    open_ids = {one.invoice_id for one in now.deadlines}
    new = sorted((one for one in near if one.invoice_id not in marked), key=lambda d: d.days_left)
    marks = tuple(sorted({id for id in marked if id in open_ids} | {d.invoice_id for d in new}))
    first = new[0] if new else Due("", now.at.date(), 0, 0)
    is_over = not any(id in open_ids for id in marked) and not near

    def told() -> _Told:
        words = (
            Figures(currency)
            .text("invoice", first.invoice_id)
            .money("open", first.open_cents)
            .day("due", first.due_on)
            .text("others", str(len(new) - 1))
            .fill(
                "Facture {invoice}, {open} impayés : menace de sinistre à déclarer à l’assureur au "
                "plus tard le {due}" + (" ; {others} autre(s) suivent." if len(new) > 1 else "."),
                "Invoice {invoice}, {open} unpaid: the insurer must be told of a threatened loss "
                "by {due} at the latest" + ("; {others} other(s) follow." if len(new) > 1 else "."),
            )
        )
        return _Told(words, {"invoices": [_due_shown(one) for one in new], **_owed(now)})

    return _Look(bool(near), is_over, bool(new), Latch(len(marks), None, marks), told)


def _due_shown(one: Due) -> dict[str, Any]:
    open_units = _units(one.open_cents)
    return {"invoice_id": one.invoice_id, "due_on": str(one.due_on), "open": open_units}


def _depth(seen: _Seen) -> _Look:
    before, latch, now, rules, currency = (
        seen.before,
        seen.latch,
        seen.now,
        seen.rules,
        seen.currency,
    )
    rule, base = rules.data_depth_lost, before.data_depth if latch is None else str(latch.base)
    place, least = LETTERS.index(now.data_depth), LETTERS.index(rule.from_letter)
    lost = place - LETTERS.index(base)
    holds = lost >= rule.at_least_letters and place >= least and now.exposure_cents > 0
    worse = latch is not None and lost >= latch.measure + rule.again_after_letters
    is_over = lost < rule.clears_below

    def told() -> _Told:
        words = (
            Figures(currency)
            .text("was", base)
            .text("now", now.data_depth)
            .money("owed", now.exposure_cents)
            .fill(
                "On en sait moins sur ce client : profondeur des données de {was} à {now} ; "
                "encours {owed}.",
                "Less is known of this customer: data depth from {was} to {now}; exposure {owed}.",
            )
        )
        return _Told(words, {"data_depth_before": base, "data_depth": now.data_depth, **_owed(now)})

    return _Look(holds, is_over, worse, Latch(float(lost), base), told)


_LOOKS: Mapping[Code, _Rule] = {
    "insolvency_opened": _insolvency,
    "in_default": _default,
    "cover_withdrawn": _cover_withdrawn,
    "cover_refused": _cover_refused,
    "cover_reduced": _cover_reduced,
    "grade_worsened": _grade,
    "probability_multiplied": _probability,
    "overdue": _overdue,
    "limit_exceeded": _limit,
    "insurer_deadline": _deadline,
    "data_depth_lost": _depth,
}


# -------------------------------------------------------------------------------------- evidence


def _owed(now: State) -> dict[str, Any]:
    return {
        "exposure": _units(now.exposure_cents),
        "overdue": _units(now.overdue_cents),
        "longest_overdue_days": now.longest_overdue_days,
    }


def _risk_evidence(now: State) -> dict[str, Any]:
    probability = now.default_probability
    return {"default_probability": probability, "model": now.model, **_owed(now)}


def _cover_evidence(base: int, now: State) -> dict[str, Any]:
    return {"covered_before": _units(base), "covered": _units(now.covered_cents)}


def _known(value: float | None) -> float:
    return 0.0 if value is None else value


def _units(cents: int) -> str:
    """Write cents as units with two decimals.

    >>> _units(-5)
    '-0.05'
    """
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"
