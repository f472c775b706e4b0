"""How often alerts come on a stationary simulated portfolio, and what they see coming.

The default curve is fitted 530 days before the ledger's end; then every customer who owes is
evaluated at each month's end, as known then, for a year. A *warning* is any alert but the three
that tell an event itself: insolvency, default, the insurer's deadline.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.decisions import history_of
from benchmarks.page import PAGE, Row, publish
from features.history import History
from features.simulator import Simulation, simulate
from models import alerts, insurance
from models.alerts import Reference, evaluate
from models.alerts_file import CODES, AlertRules
from models.bundle import Bundle
from models.policy import Policy, load
from models.targets import DEFAULT_DEFINITIONS, Defaults, find_defaults
from serving.portfolio_states import states
from training.backtest_run import WINDOW_DAYS
from training.dataset import default_dataset
from training.fit import Settings, fit

TITLE = "Alerts"
SEED = 1
PAIRS = 200_000
MONTHS = 12
SOON_DAYS = 180
EVENTS = {"insolvency_opened", "in_default", "insurer_deadline"}
POLICY = Path(__file__).parents[1] / "models" / "policy.yaml"
NOTES = """
The default simulation, seed 1, six years; curve fitted 530 days before its end, then twelve months
of evaluations at the month's end. Defaults are those of the shipped policy's definition that begin
after the first evaluation, of customers who were evaluated and not in default then. *By chance*:
the share of all customers not alerted yet who default as soon after a month's end.
"""


class Raised(NamedTuple):
    """An alert: whose, what, and on which day (exclusive date)."""

    customer: str
    code: str
    day: int


class Watched(NamedTuple):
    """What a year of evaluations raised, and who was evaluated when."""

    raised: list[Raised]
    evaluated: list[tuple[int, set[str]]]


def curve_of(history: History, cutoff: int, end: int, policy: Policy) -> Bundle:
    """Fit the default curve with what was known before the cut-off."""
    definition = DEFAULT_DEFINITIONS[policy.default_definition]
    found = fit(default_dataset(history, definition, end), cutoff, Settings(most_pairs=PAIRS))
    return Bundle("of the benchmark", found.curve, {}, {})


def month_ends(cutoff: int) -> list[int]:
    """Give the exclusive dates after the last day of the months from the cut-off on."""
    first = np.datetime64(cutoff, "D").astype("datetime64[M]") + 1
    months = first + np.arange(MONTHS + 1)
    return [int(day) for day in months.astype("datetime64[D]").astype(np.int64)]


def watched(
    history: History, curve: Bundle, policy: Policy, rules: AlertRules, days: list[int]
) -> Watched:
    """Evaluate everybody who owes on each day, as the watch does."""
    references: dict[str, Reference] = {}
    raised: list[Raised] = []
    evaluated: list[tuple[int, set[str]]] = []
    for day in days:
        last = date(1970, 1, 1).toordinal() + day - 1
        at = datetime.combine(date.fromordinal(last), time.max, UTC)
        also = frozenset(references)
        found = states(history, at, curve, policy, insurance.load(), also)
        for state in found:
            one = evaluate(references.get(state.customer_id), state, rules, "EUR")
            references[state.customer_id] = one.reference
            raised += [Raised(state.customer_id, said.code, day) for said in one.findings]
        owing = {s.customer_id for s in found if s.exposure_cents > 0 and not s.in_default}
        evaluated.append((day, owing))
    return Watched(raised, evaluated)


def defaults_on(history: History, spells: Defaults, first: int, last: int) -> dict[str, int]:
    """Give, by customer, the first day in default after a date."""
    found: dict[str, int] = {}
    for code, customer in enumerate(history.customers):
        began = spells.began_on[spells.start[code] : spells.start[code + 1]]
        inside = began[(began >= first) & (began < last)]
        if inside.size:
            found[str(customer)] = int(inside[0])
    return found


def rows(seen: Watched, defaults: dict[str, int], end: int) -> Iterator[Row]:
    """Give the figures."""
    first, everyone = seen.evaluated[0]
    later = seen.evaluated[1:]
    owing = sum(len(customers) for _, customers in later)
    news = [one for one in seen.raised if one.day > first]
    yield Row("customers evaluated a month / months", f"{owing / len(later):,.0f} / {len(later)}")
    by_code = Counter(one.code for one in news)
    warnings = [one for one in news if one.code not in EVENTS]
    yield Row("alerts per 100 customers and month", f"{100 * len(news) / owing:.2f}")
    yield Row("of these, warnings", f"{100 * len(warnings) / owing:.2f}")
    for code in CODES:
        yield Row(f"… {code}", f"{100 * by_code[code] / owing:.2f}")
    sound = [one for one in warnings if one.customer not in defaults]
    yield Row("warnings on customers who never defaulted", f"{100 * len(sound) / owing:.2f}")
    hit = {c: day for c, day in defaults.items() if c in everyone and day < later[-1][0]}
    first_warning: dict[str, int] = {}
    for one in warnings:
        first_warning.setdefault(one.customer, one.day)
    ahead = {c: day - first_warning[c] for c, day in hit.items() if c in first_warning}
    leads = np.array([days for days in ahead.values() if days >= 0])
    share = leads.size / max(1, len(hit))
    yield Row("defaults in the year", f"{len(hit)}")
    yield Row("… warned before", f"{leads.size} ({share:.0%})")
    yield Row("… at least 30 days before", f"{int((leads >= 30).sum())}")
    yield Row("days before, median", f"{np.median(leads):.0f}" if leads.size else "none")
    yield from _precision(first_warning, defaults, later, end)


def _precision(
    first_warning: dict[str, int],
    defaults: dict[str, int],
    later: list[tuple[int, set[str]]],
    end: int,
) -> Iterator[Row]:
    """Compare how many warned customers default soon with how many of the others do."""

    def soon(customer: str, day: int) -> bool:
        return day <= defaults.get(customer, end + SOON_DAYS) < day + SOON_DAYS

    warned = [soon(c, day) for c, day in first_warning.items() if day + SOON_DAYS <= end]
    others = [
        soon(c, day)
        for day, customers in later
        if day + SOON_DAYS <= end
        for c in customers
        if first_warning.get(c, end) > day
    ]
    yield Row(f"warned customers who default within {SOON_DAYS} days", _rate(warned))
    yield Row("by chance", _rate(others))
    lift = (np.mean(warned) / np.mean(others)) if warned and any(others) else float("nan")
    yield Row("times chance", f"{lift:.1f}", ">= 3.0", bool(lift >= 3))


def _rate(happened: list[bool]) -> str:
    known: NDArray[np.bool_] = np.array(happened, bool)
    return "none" if known.size == 0 else f"{known.mean():.1%} of {known.size:,}"


def bench(console: Console, page: Path = PAGE, invoices: int = 100_000) -> bool:
    """Measure, print and write the section; tell whether warnings see defaults coming."""
    policy, rules, how = load(POLICY), alerts.load(), Simulation(invoices=invoices, seed=SEED)
    end = int(np.datetime64(how.ends_on, "D").astype(np.int64)) + 1
    cutoff = end - WINDOW_DAYS
    with console.status(f"alerts: {invoices:,} invoices, curve"):
        history = history_of(simulate(how))
        curve = curve_of(history, cutoff, end, policy)
    days = month_ends(cutoff)
    with console.status("alerts: a year of evaluations"):
        seen = watched(history, curve, policy, rules, days)
    spells = find_defaults(history, DEFAULT_DEFINITIONS[policy.default_definition])
    found = list(rows(seen, defaults_on(history, spells, days[0], end), end))
    return publish(console, page, TITLE, found, NOTES)


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=TITLE)
    parser.add_argument("--page", type=Path, default=PAGE, help="where the table is kept")
    parser.add_argument("--invoices", type=int, default=100_000, help="to simulate")
    asked_for = parser.parse_args(arguments)
    return 0 if bench(Console(), asked_for.page, asked_for.invoices) else 1


if __name__ == "__main__":
    sys.exit(main())
