"""The plot of a probability taken apart: from what any customer gets to what this one gets.

Each bar begins where the one before it ended, in log-odds, for there contributions add up; the axis
says which probability that is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any, Literal, NamedTuple

MOST_BARS = 10  # measures with a bar of their own; the others share one
WIDTH, LABELS, ROW, TOP = 760, 330, 24, 8
PLOT = (LABELS + 12, WIDTH - 12)
STEPS = (
    range(1000, 10_000, 5),
    range(100, 1000),
    range(100, 1000, 2),
    range(100, 1000, 5),
    range(10, 100),
    range(10, 100, 2),
    range(10, 100, 5),
    range(1, 10),
    (1, 2, 5),
)
"""Leading digits of round probabilities, from fine to coarse."""
DECADES = range(1, 8)
LEAST_BETWEEN = 46  # of two labels of the axis
ROOM_FOR_NUMBERS = 62


class Bar(NamedTuple):
    """A bar: `label` at its left, `amount` at its end, from `x` over `width`, in row `y`."""

    kind: Literal["base", "raises", "lowers", "total"]
    label: str
    amount: float
    x: float
    width: float
    y: float
    end: float
    number_x: float
    anchor: Literal["start", "end"]


class Tick(NamedTuple):
    """A line of the axis."""

    x: float
    probability: float


class Waterfall(NamedTuple):
    """All that is drawn."""

    width: int
    height: int
    bars: list[Bar]
    ticks: list[Tick]


def waterfall(told: Mapping[str, Any], language: str) -> Waterfall | None:
    """Lay out the plot of an auditor's register; ``None`` where nothing was explained.

    >>> def measure(name, moved):
    ...     return {"fr": name, "en": name, "value": 1.0, "contribution": moved}
    >>> told = {"base": -4.0, "log_odds": -3.0, "measures": [measure("a", 0.2), measure("b", 0.8)]}
    >>> [(bar.label, round(bar.amount, 3)) for bar in waterfall(told, "en").bars]
    [('Any customer', -4.0), ('b', 0.8), ('a', 0.2), ('This customer', -3.0)]
    """
    if told["base"] is None:
        return None
    steps = _steps(told["measures"], language)
    ends = [told["base"]]
    for _, moved in steps:
        ends.append(ends[-1] + moved)
    scale = _Scale(min(*ends, told["log_odds"]), max(*ends, told["log_odds"]))
    names = ("N’importe quel client", "Ce client") if language == "fr" else _ENGLISH
    bars = [_whole("base", names[0], told["base"], scale, 0)]
    for place, (label, moved) in enumerate(steps, 1):
        bars.append(_step(label, ends[place - 1], moved, scale, place))
    bars.append(_whole("total", names[1], told["log_odds"], scale, len(bars)))
    height = TOP + ROW * len(bars) + 30
    return Waterfall(WIDTH, height, bars, scale.ticks())


_ENGLISH = ("Any customer", "This customer")


def _steps(measures: Sequence[Mapping[str, Any]], language: str) -> list[tuple[str, float]]:
    moved = [one for one in measures if one["contribution"]]
    moved.sort(key=lambda one: -abs(one["contribution"]))
    steps = [(one[language], one["contribution"]) for one in moved[:MOST_BARS]]
    if rest := moved[MOST_BARS:]:
        others = "autres mesures" if language == "fr" else "other measures"
        together = math.fsum(one["contribution"] for one in rest)
        steps.append((f"{len(rest)} {others}", together))
    return steps


class _Scale:
    """From log-odds to the plot, with room for numbers on both sides."""

    def __init__(self, low: float, high: float) -> None:
        self._low, span = low, max(high - low, 1e-6)
        self._left = PLOT[0] + ROOM_FOR_NUMBERS
        self._unit = (PLOT[1] - ROOM_FOR_NUMBERS - self._left) / span

    def __call__(self, log_odds: float) -> float:
        return self._left + (log_odds - self._low) * self._unit

    def ticks(self) -> list[Tick]:
        """Place round probabilities: the finest that all have room, else the coarsest with some."""
        for leading in STEPS:
            ticks = self._within(leading)
            if len(ticks) > 1 and all(b.x - a.x >= LEAST_BETWEEN for a, b in pairwise(ticks)):
                return ticks
        return self._apart(ticks)

    def _within(self, leading: Iterable[int]) -> list[Tick]:
        placed = [
            Tick(round(self(math.log(one / (1 - one))), 1), one) for one in _round(tuple(leading))
        ]
        return [tick for tick in placed if PLOT[0] + 14 <= tick.x <= PLOT[1] - 14]

    def _apart(self, ticks: list[Tick]) -> list[Tick]:
        chosen: list[Tick] = []
        for tick in ticks:
            if not chosen or tick.x - chosen[-1].x >= LEAST_BETWEEN:
                chosen.append(tick)
        return chosen


@cache
def _round(leading: tuple[int, ...]) -> list[float]:
    """Give round probabilities up to one half, and what they leave to certainty.

    >>> _round((1, 5))[-5:]
    [0.9, 0.95, 0.99, 0.995, 0.999]
    """
    small = {
        round(digits / 10 ** (len(str(digits)) - 1 + decade), 9)
        for digits in leading
        for decade in DECADES
    }
    low = sorted(one for one in small if 0.0001 <= one <= 0.5)
    return sorted({*low, *(round(1 - one, 9) for one in low if one >= 0.001)})


def _whole(
    kind: Literal["base", "total"], label: str, amount: float, scale: _Scale, place: int
) -> Bar:
    """Mark where it begins or ends: a diamond's width, for log-odds have no zero to start from."""
    x = scale(amount)
    return _bar(kind, label, amount, x - 4, x + 4, x, place)


def _step(label: str, start: float, moved: float, scale: _Scale, place: int) -> Bar:
    a, b = scale(start), scale(start + moved)
    kind: Literal["raises", "lowers"] = "raises" if moved > 0 else "lowers"
    return _bar(kind, label, moved, min(a, b), max(a, b), b, place)


def _bar(
    kind: Any, label: str, amount: float, left: float, right: float, end: float, y: int
) -> Bar:
    is_left = kind == "lowers"
    number_x = left - 5 if is_left else right + 5
    return Bar(
        kind,
        label,
        amount,
        round(left, 1),
        round(max(right - left, 1.0), 1),
        TOP + ROW * y,
        round(end, 1),
        round(number_x, 1),
        "end" if is_left else "start",
    )
