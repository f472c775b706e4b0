"""Answers of the past made again byte for byte, over versions of the curves, policies and facts.

In six rounds a seller's customers are assessed: three versions of both curves, two policies. Before
each round facts come in, back-dated, corrected and of groups, and people decide otherwise. Then all
answers are made again, and some are changed to see that it is said. The versions of a curve are its
calibrations: another booster is another file by its hash, which the tests of promotion cover.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
from rich.console import Console

from benchmarks.page import PAGE, Row, at_least, publish
from benchmarks.seller import ROOT, copy, make
from features.ledger import check
from features.store import Source, Store
from models import bundle as bundles
from models.bundle import Champions
from models.curve import Calibration
from models.policy import Order, load
from models.workspace import Workspace
from serving.assess import Assessor, OrderNeeded
from serving.audit import Entry, Record, leaf_hash
from serving.override import Overrider, OverrideRefused, Wanted
from serving.replay import Entries, Replayed, Replayer, in_order

SLOPES = (1.0, 0.8, 1.2)  # of each version's calibration, times the one that was fitted
POLICIES = (("", ""), ("unsecured: 0.60", "unsecured: 0.50"))
ORDERS = (None, Order(2_000_00, 20_00, 30), Order(50_000_00, 5_000_00, 0), Order(9_99, -1_00, 60))
DECIDED_EVERY = 20
GIVEN = (  # inputs that an answer may not hang on: their change is found by the seal
    *("actor", "request", "runs_on", "id", "code"),
    *("known_at_microseconds", "sequence", "observed_from"),
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOTES = """\
Six rounds, three calibrations of both curves times two policies; before each, invoices come in that
are back-dated or correct earlier ones, and customers join groups; a person decides otherwise on one
assessment in twenty. *Made again*: the whole entry, answer and evidence, by the function that
answered. *Walked*: the recorded features through the boosters' text in plain Python, at every term.
*Changed*: in one place of answer or evidence that is no mere input, leaf hash included.
Run with `python -m benchmarks.replay`.
"""


def main() -> None:
    """Measure what is asked for, and keep it in the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assessments", type=int, default=10_000)
    parser.add_argument("--tampered", type=int, default=200)
    parser.add_argument("--home", type=Path, help="a trained seller; it is copied")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trained = asked.home or Path(folder) / "trained"
        if asked.home is None:
            make(trained, 10_000)
        workspace = Workspace(copy(trained, Path(folder) / "home"))
        rows = bench(workspace, asked.assessments, asked.tampered)
    sys.exit(0 if publish(Console(), PAGE, "Answers are made again", rows, NOTES) else 1)


def bench(workspace: Workspace, n: int, n_tampered: int) -> list[Row]:
    """Assess, make again, change."""
    seconds = processor_seconds(lambda: assess_all(workspace, n))
    entries = in_order(Entries(workspace.record_url).sample(n, 1))
    replayer = Replayer(workspace, Store(workspace.facts_url))
    found: list[Replayed] = []
    again = processor_seconds(lambda: found.extend(map(replayer.replay, entries)))
    exact = sum(not one.differences for one in found)
    for one in [one for one in found if one.differences][:3]:
        Console().print(one.entry.id, *one.differences)
    missed = sum(not replayer.replay(one).differences for one in tampered(entries, n_tampered))
    kept = [json.loads(entry.body)["evidence"] for entry in entries]
    return [
        at_least(f"of {len(found):,} made again to the byte and walked", exact, len(found), "{:,}"),
        at_least(
            f"of {n_tampered:,} changed in one place, named",
            n_tampered - missed,
            n_tampered,
            "{:,}",
        ),
        Row("states of the ledger that they saw", str(len({one["sequence"] for one in kept}))),
        Row("with an assumed order", f"{sum(one['asked'] is None for one in kept):,}"),
        Row("with a person's decision in force", f"{sum(map(has_override, kept)):,}"),
        Row("bytes an entry, mean", f"{sum(len(e.body) for e in entries) / len(entries):,.0f}"),
        Row("an assessment, processor time", f"{1e3 * seconds / len(entries):.1f} ms"),
        Row("a replay with both scorers, processor time", f"{1e3 * again / len(entries):.1f} ms"),
    ]


def has_override(evidence: dict[str, Any]) -> bool:
    """Tell whether a person's decision was in force."""
    return evidence["override"] is not None


def processor_seconds(run: Callable[[], object]) -> float:
    """Take the processor time of a call."""
    begun = time.process_time()
    run()
    return time.process_time() - begun


def assess_all(workspace: Workspace, n: int) -> None:
    """Assess customers in six rounds."""
    store, record = Store(workspace.facts_url), Record(workspace.record_url)
    customers = sorted(set(store.read()["invoices"]["customer_id"]))
    now = EPOCH + timedelta(days=store.last_day() + 2)
    first, random, done = Champions.load(workspace.champions), Random(1), 0  # noqa: S311
    for round in range(6):
        now += timedelta(days=1)
        store.append(news(store, customers, random, now), Source(()), _microseconds(now))
        text = put_in_charge(workspace, first, SLOPES[round % 3], *POLICIES[round % 2])
        clock = Clock(now)
        assessor = Assessor(store, record, workspace, clock)
        for _ in range(n // 6 + (round < n % 6)):
            clock.now = now = now + timedelta(seconds=1)
            customer, order = customers[done % len(customers)], ORDERS[done % len(ORDERS)]
            with suppress(OrderNeeded):
                told = json.loads(assessor.assess(customer, order))
                if done % DECIDED_EVERY == 0:
                    decide(store, record, text, told["id"], clock)
            done += 1


class Clock:
    """A clock that stands where it is put."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """Give the instant at which it stands."""
        return self.now


def _microseconds(now: datetime) -> int:
    return (now - EPOCH) // timedelta(microseconds=1)


def news(store: Store, customers: list[str], random: Random, now: datetime) -> Any:
    """Make invoices that are back-dated or correct those of the round before, and groups."""
    some = random.sample(customers, len(customers) // 4)
    today = pd.Timestamp(now.date())
    issued = [today - timedelta(days=random.randint(20, 300)) for _ in some]
    invoices = pd.DataFrame(
        {
            "invoice_id": [f"late-{customer}" for customer in some],
            "customer_id": some,
            "issued_on": issued,
            "due_on": [day + timedelta(days=30) for day in issued],
            "amount_cents": [random.randint(1, 9_000_000) for _ in some],
        }
    )
    joined = random.sample(customers, 20)
    changes = pd.DataFrame(
        {
            "change_id": [f"{now:%Y%m%d}-{customer}" for customer in joined],
            "customer_id": joined,
            "changed_on": today,
            "kind": "group",
            "value": [f"Group {random.randint(1, 4)}" for _ in joined],
        }
    )
    tables = {"invoices": invoices, "customer_changes": changes}
    ledger, rejects = check(tables, store.ledger.currency, store.known())
    if len(rejects):
        raise AssertionError(rejects)
    return ledger


def put_in_charge(workspace: Workspace, first: Champions, slope: float, old: str, new: str) -> str:
    """Put a version of both curves and a policy in charge; give the policy's text."""
    named: dict[str, Any] = {}
    for question in ("late", "default"):
        found = bundles.read(workspace.bundles, getattr(first, question))
        fitted = found.curve.calibration
        calibration = Calibration(slope * fitted.slope, fitted.terms, fitted.offsets)
        curve = replace(found.curve, calibration=calibration)
        named[question] = bundles.write(workspace.bundles, curve, found.reference, found.card)
    text = (ROOT / "models" / "policy.yaml").read_text("utf-8").replace(old, new)
    sha256 = load(text).sha256
    (workspace.policies / f"{sha256}.yaml").write_text(text, "utf-8")
    replace(first, policy=sha256, **named).save(workspace.champions)
    return text


def decide(store: Store, record: Record, policy: str, id: str, clock: Clock) -> None:
    """Decide otherwise, where the policy leaves anything to decide."""
    overrider = Overrider(store, record, load(policy), {"Claire": "head_of_credit"}, clock)
    until = clock.now.date() + timedelta(days=20)
    wanted = Wanted(id, "Claire", "The parent company pays.", "open", until=until)
    with suppress(OverrideRefused):
        overrider.decide(wanted)


def tampered(entries: list[Entry], n: int) -> Iterator[Entry]:
    """Change entries in one place each, and their leaf hashes with them."""
    random = Random(2)  # noqa: S311
    for entry in random.choices(entries, k=n):
        body = json.loads(entry.body)
        places = list(_places(body))
        where, key = random.choice(places)
        where[key] = _other(where[key])
        written = json.dumps(body, ensure_ascii=False).encode()
        yield replace(entry, body=written, leaf_hash=leaf_hash(written))


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    """Give every place that holds no dict or list, but for the inputs."""
    keys = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in keys:
        if key in GIVEN:
            continue
        if isinstance(value, dict | list):
            yield from _places(value)
        else:
            yield content, key


def _other(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return value[:-1] + ("0" if value[-1:] != "0" else "1")
    return 1


if __name__ == "__main__":
    main()
