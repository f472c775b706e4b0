"""Tables of a backtest for the terminal, and its decisions as CSV."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.table import Table

from features.history import History
from models.metrics import Interval
from training.backtest import Asked, Result, difference
from training.backtest_run import Backtest

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would take for one
CAVEATS = (
    "Orders refused in the past are in no ledger: neither the losses that this spared nor the "
    "margin that it cost can be seen, and a stricter policy looks worse than on all who asked.",
    "Whether a customer would have taken a condition is not known: results are weighted with the "
    "yardstick's acceptance, and the bounds say what comes out if all, none, only the losing or "
    "only the paying accept.",
    "Exposure is that of the real history: an order refused in January does not lower it in March.",
    "An order held for a person counts as what was proposed to him; open terms if nothing was.",
)


def tables(tested: Backtest, currency: str, resamples: int) -> list[Table]:
    """Lay out a backtest: euros, bounds, actions, differences, beliefs."""
    return [
        in_money(tested, currency),
        bounds(tested, currency),
        actions(tested),
        differences(tested, currency, resamples),
        believed(tested, currency),
    ]


def money(cents: float) -> str:
    """Write cents as whole units, with thousands separators.

    >>> money(-123456789.0)
    '-1,234,568'
    """
    return f"{round(cents / 100) + 0:,}"


def spread(interval: Interval) -> str:
    """Write a difference in cents with its sign and interval.

    >>> spread(Interval(123400.0, -5000.0, 200000.0))
    '+1,234 [-50 to +2,000]'
    """
    value, low, high = (f"{round(end / 100) + 0:+,}" for end in interval)
    return f"{value} [{low} to {high}]"


def _counted(asked: Asked) -> str:
    if not asked.orders:
        return "–"
    return f"{asked.orders:,} ({asked.customers:,}) {money(asked.cents)}"


def _table(title: str, *columns: str, caption: str | None = None) -> Table:
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left", no_wrap=i > 0)
    return table


Line = tuple[str, Callable[[Result], str]]


def _filled(table: Table, lines: Sequence[Line], results: Sequence[Result]) -> Table:
    for name, shown in lines:
        table.add_row(name, *(shown(one) for one in results))
    return table


def in_money(tested: Backtest, currency: str) -> Table:
    """Show what each policy would have earned, and what it cost and spared."""
    actual = tested.results["accept all"]

    def part(name: str) -> Callable[[Result], str]:
        return lambda one: money(one.total(name))

    def beside(name: str) -> Callable[[Result], str]:
        return lambda one: money(actual.total(name) - one.total(name))

    lines: list[Line] = [
        ("profit", part("profit")),
        ("  margin", part("margin")),
        ("  − losses, after the insurer", part("loss")),
        ("  − funding", part("funding")),
        ("  − instruments and reviews", part("cost")),
        ("losses avoided against accept all", beside("loss")),
        ("margin forgone against accept all", beside("margin")),
        ("unpaid, nobody knows yet", part("undecided")),
        (
            "refused who paid: orders (customers), amount",
            lambda one: _counted(one.refused_who_paid),
        ),
        ("condition asked of who paid", lambda one: _counted(one.conditions_to_who_paid)),
        ("deposits asked: orders (customers), amount", lambda one: _counted(one.deposits)),
    ]
    title = (
        f"{len(tested.past.orders):,} orders of {np.unique(tested.past.customer).size:,} "
        f"customers, {money(tested.past.amount.sum())} {currency}"
    )
    caption = "Accept all is what happened. " + CAVEATS[0]
    table = _table(title, currency, *tested.results, caption=caption)
    return _filled(table, lines, list(tested.results.values()))


def bounds(tested: Backtest, currency: str) -> Table:
    """Show the profit under what nobody can know."""
    actual = tested.results["accept all"]
    names = tuple(actual.bounds)

    def bound(name: str) -> Callable[[Result], str]:
        return lambda one: money(one.bounds[name])

    lines: list[Line] = [
        ("expected", lambda one: money(one.total("profit"))),
        *((f"of those asked for a condition, {name}", bound(name)) for name in names),
        (
            "persons answer what is held with open terms",
            lambda one: money(one.if_held_orders(actual.by_order)),
        ),
        (
            "persons refuse what is held",
            lambda one: money(one.if_held_orders(np.zeros_like(one.by_order))),
        ),
        (
            "all that is unpaid is lost",
            lambda one: money(one.total("profit") - one.total("undecided")),
        ),
    ]
    table = _table("Profit, whatever is assumed", currency, *tested.results, caption=CAVEATS[1])
    return _filled(table, lines, list(tested.results.values()))


def actions(tested: Backtest) -> Table:
    """Count orders by action."""
    found = {name: one.actions for name, one in tested.results.items()}
    kinds = sorted({kind for one in found.values() for kind in one})
    kinds.sort(key=lambda kind: -max(one.get(kind, 0) for one in found.values()))
    table = _table("Orders by action", "action", *found, caption=CAVEATS[3])
    for kind in kinds:
        table.add_row(kind.replace("_", " "), *(f"{one.get(kind, 0):,}" for one in found.values()))
    return table


def differences(tested: Backtest, currency: str, resamples: int) -> Table:
    """Show by how much each policy earns more than those before it."""
    title = f"Who earns more, {currency} [95 %, customers drawn anew]"
    columns = ("", "more by", "without the customer it owes most to")
    table = _table(title, *columns, caption=CAVEATS[2])
    names = list(tested.results)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[:i]]
    for a, b in pairs:
        more = difference(tested.results[a], tested.results[b], resamples)
        table.add_row(f"{a} − {b}", spread(more.all), spread(more.without_largest))
    return table


def believed(tested: Backtest, currency: str) -> Table:
    """Show what each policy believed beside what was seen."""
    caption = (
        "Where said is far from seen, the policy answers a risk that is not there: compare "
        "lgd_rate and the default curve with these before anything else."
    )
    table = _table("Believed and seen on open terms", "", *tested.beliefs, caption=caption)
    rows: list[tuple[str, str, str, Callable[[float], str]]] = [
        ("P(default over the order's life): said, seen", "said", "seen", _share),
        ("the same, by amount", "said_by_amount", "seen_by_amount", _share),
        ("lost of an order in default: assumed, seen", "lgd_assumed", "lgd_seen", _share),
        (f"loss after the insurer, {currency}: expected, lost", "expected_loss", "lost", money),
    ]
    for words, said, seen, shown in rows:
        cells = (
            f"{shown(getattr(one, said))}, {shown(getattr(one, seen))}"
            for one in tested.beliefs.values()
        )
        table.add_row(words, *cells)
    return table


def _share(rate: float) -> str:
    return "–" if math.isnan(rate) else f"{rate:.2%}"


def decisions(tested: Backtest, history: History) -> pd.DataFrame:
    """Give a line for each order, with what became of it and each policy's answer; no names.

    Amounts are in units of the currency. Identifiers that a spreadsheet would take for a formula
    begin with an apostrophe.
    """
    past, became = tested.past, tested.became
    columns: dict[str, object] = {
        "customer_id": _texts(history.customers[past.customer]),
        "invoice_id": _texts(history.invoice_id[past.invoice]),
        "issued_on": past.issued_on.astype("datetime64[D]").astype(str),
        "terms_days": past.terms_days,
        "amount": past.amount / 100,
        "margin": past.margin / 100,
        "lost": became.lost / 100,
        "unpaid": became.undecided / 100,
    }
    for name, one in tested.results.items():
        columns.update(_answered(re.sub(r"\W+", "_", name), one))
    return pd.DataFrame(columns)


def _answered(name: str, one: Result) -> Iterator[tuple[str, object]]:
    answers = one.answers
    yield f"{name}_action", np.where(answers.held, "review", answers.kind)
    yield f"{name}_option", answers.kind
    yield f"{name}_deposit_rate", answers.each("deposit_rate")
    yield f"{name}_acceptance", one.acceptance
    yield f"{name}_profit_if_accepted", (one.earned.profit / 100).round(2)
    yield f"{name}_profit", (one.by_order / 100).round(2)


def _texts(identifiers: NDArray[np.object_]) -> list[str]:
    return [f"'{text}" if text.startswith(FORMULA) else text for text in map(str, identifiers)]


def write_decisions(tested: Backtest, history: History, file: Path) -> None:
    """Write the decisions as CSV."""
    decisions(tested, history).to_csv(file, index=False)
