"""Where the CPU time of one assessment goes, stage by stage, without the web."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, date, datetime
from functools import wraps
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.page import Row, at_most

MOST_MS = 6.0
REPEATS = 5  # the first compiles
LAST = datetime.max.time()
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


def measure(
    home: Path, record: Path, today: str, orders: Sequence[dict[str, Any]]
) -> dict[str, float]:
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
        (Record, "append", "record, without waiting for the disk"),
    )
    workspace, now = Workspace(home), datetime.combine(date.fromisoformat(today), LAST, UTC)
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


def rows(spent: dict[str, float]) -> list[Row]:
    """Show the whole, then each stage, longest first."""
    longest_first = sorted(spent, key=lambda stage: -spent[stage])
    return [
        at_most("CPU of one assessment, ms", sum(spent.values()), MOST_MS, "{:.1f}"),
        *(Row(f"CPU: {stage}", f"{spent[stage]:.2f} ms") for stage in longest_first),
    ]
