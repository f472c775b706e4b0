"""Where the CPU time of one assessment goes, stage by stage, without the web."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

from benchmarks.page import Row, at_most
from serving.audit import Entry

MOST_MS = 6.0
MOST_RECORDING_MS = 10.0
REPEATS = 5  # the first compiles
REST = "the rest: usual order, evidence, place"


class Stopwatch:
    """Counts the thread's CPU time in functions, of each without the stages inside it."""

    def __init__(self) -> None:
        self.spent: dict[str, int] = defaultdict(int)
        self._inside: list[int] = []

    def stage(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Count a function's time as a stage's."""

        @wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:
            begun = time.thread_time_ns()
            self._inside.append(0)
            try:
                return function(*arguments, **named)
            finally:
                took, inside = time.thread_time_ns() - begun, self._inside.pop()
                self.spent[name] += took - inside
                if self._inside:
                    self._inside[-1] += took

        return timed


def measure(home: Path, record: Path, orders: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Assess orders one after the other; give the milliseconds of each stage of one of them.

    The least of some repeats, stage by stage: what else runs on the machine only adds to it.
    """
    from features.store import Store
    from models.workspace import Workspace
    from serving import answering, assess, situation, speaking
    from serving.audit import Record
    from serving.overrides import Overrides
    from serving.schemas import OrderGiven

    watch, least = Stopwatch(), dict[str, float]()
    stages = (
        (Store, "snapshot", "facts of the customer from the store"),
        (Store, "peers", "table of the peers"),
        (answering, "build_history", "history: facts laid out and settled"),
        (situation, "build_history", "history of the others of a group"),
        (answering, "build", "features"),
        (answering, "is_in_default", "whether he is in default"),
        (answering, "consult", "both curves"),
        (speaking, "explain", "reasons"),
        (answering, "describe", "exposure, group and insurance"),
        (answering, "decide", "options, limit and policy"),
        (Overrides, "in_force", "overrides looked up"),
        (answering, "compose", "answer put together"),
        (answering, "to_bytes", "written as JSON"),
        (Record, "append_many", "record, without waiting for the disk"),
    )
    workspace, now = Workspace(home), datetime.now(UTC)
    store, kept = Store(workspace.facts_url), Record(f"sqlite:///{record}")
    asked = [(one["customer"]["id"], OrderGiven(**one["order"]).in_cents()) for one in orders]
    with ExitStack() as stack:
        for owner, name, stage in stages:
            timed = watch.stage(stage, getattr(owner, name))
            stack.enter_context(patch.object(owner, name, timed))
        whole = watch.stage(REST, assess.Assessor(store, kept, workspace, lambda: now).assess)
        for _ in range(REPEATS):
            watch.spent.clear()
            for customer, order in asked:
                whole(customer, order)
            for stage, nanoseconds in watch.spent.items():
                milliseconds = nanoseconds / len(asked) / 1e6
                least[stage] = min(least.get(stage, milliseconds), milliseconds)
    return least


def recording(home: Path, record: Path, orders: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Assess each order with the record and without, by turns; give both medians, milliseconds.

    On the clock: with the record means on the disk (fsync).
    """
    from features.store import Store
    from models.workspace import Workspace
    from serving.assess import Assessor
    from serving.audit import Record
    from serving.schemas import OrderGiven

    def forgets(self: Record, new: Sequence[Any], *_more: Any) -> list[Entry]:
        return [Entry(0, one.id, one.kind, one.body, "0" * 64) for one in new]

    workspace, now = Workspace(home), datetime.now(UTC)
    store, kept = Store(workspace.facts_url), Record(f"sqlite:///{record}")
    assess = Assessor(store, kept, workspace, lambda: now).assess
    took: dict[str, list[float]] = {"with": [], "without": []}
    for turn in range(REPEATS):
        for one in orders:
            order = OrderGiven(**one["order"]).in_cents()
            for how, of in took.items():
                with ExitStack() as stack:
                    if how == "without":
                        stack.enter_context(patch.object(Record, "append_many", forgets))
                    begun = time.perf_counter()
                    assess(one["customer"]["id"], order)
                    if turn:  # the first compiles
                        of.append(1000 * (time.perf_counter() - begun))
    return median(took["with"]), median(took["without"])


def recording_rows(spent: tuple[float, float]) -> list[Row]:
    """Show what the record costs an answer."""
    with_it, without = spent
    return [
        at_most(
            "recording: p50 with less p50 without, ms",
            with_it - without,
            MOST_RECORDING_MS,
            "{:.1f}",
        ),
        Row(
            "one answer at a time: p50 with / without the record, ms",
            f"{with_it:.1f} / {without:.1f}",
        ),
    ]


def rows(spent: dict[str, float]) -> list[Row]:
    """Show the whole, then each stage, longest first."""
    longest_first = sorted(spent, key=lambda stage: -spent[stage])
    return [
        at_most("CPU of one assessment, ms", sum(spent.values()), MOST_MS, "{:.1f}"),
        *(Row(f"CPU: {stage}", f"{spent[stage]:.2f} ms") for stage in longest_first),
    ]
