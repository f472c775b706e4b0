"""Answers of the past made again: the same bytes, whatever came later; a change is named."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.store import Source, Store
from models import bundle as bundles
from models.bundle import Champions
from models.curve import Calibration
from models.insurance import Cover
from models.insurance_file import load as load_rules
from models.policy import Order, load
from models.workspace import Workspace
from serving.assess import Asking, Assessor
from serving.audit import Once, Record, leaf_hash
from serving.covers import Found
from serving.override import Overrider, Wanted
from serving.replay import Entries, Replayer, in_order
from serving.situation import Insurer
from tests.conftest import POLICY
from tests.features.ledgers import ledger_of, read_tables

NOW = datetime(2025, 7, 2, 9, 14, 7, 123_456, tzinfo=UTC)
ORDERS = (None, Order(2_000_00, 120_00, 30), Order(50_000_00, 500_00, 0), Order(9_99, -1_00, 60))
DISPUTED = Order(2_000_00, 20_00, 30)  # the policy wants no open terms
PEOPLE = {"Claire": "credit_manager"}
LATER = """
customer | invoice | issued_on  | due_on     | amount
C-00001  | X1      | 2025-03-01 | 2025-03-31 | 900
C-00002  | X2      | 2025-05-01 | 2025-05-31 | 4000
C-00003  | X3      | 2025-05-01 | 2025-05-31 | 70000
"""
GROUP = """
change_id | customer | changed_on | kind  | value
g1        | C-00001  | 2025-01-01 | group | Morel
g2        | C-00002  | 2025-01-01 | group | Morel
"""


class Seller:
    """One seller whose facts, curves, policy and insurer change between assessments."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace, self.now = workspace, NOW
        self.store, self.record = Store(workspace.facts_url), Record(workspace.record_url)
        self.insurer: Insurer | None = None
        customers = np.unique(self.store.read()["customers"]["customer_id"].astype(str))
        self.customers, self.n = customers.tolist(), 0

    def assess(self, customer: str | None = None, order: Order | None = None, **asking: Any) -> str:
        """Assess the next customer, or this one; give the answer's id."""
        if customer is None:
            customer = self.customers[(7 * self.n) % len(self.customers)]
            order = order or ORDERS[self.n % len(ORDERS)]
            self.n += 1
        who = Asking({"client": "test", "role": "crm"}, **asking)
        assessor = Assessor(self.store, self.record, self.workspace, lambda: self.now, self.insurer)
        return json.loads(assessor.assess(customer, order, asking=who))["id"]

    def some(self, n: int) -> None:
        """Assess customers who have an invoice, an hour apart."""
        for _ in range(n):
            self.now += timedelta(hours=1)
            self.assess()

    def add(self, text: str) -> None:
        """Import the tables that `text` shows, at the present instant."""
        tables = read_tables(text)
        tables.pop("customers")
        at = (self.now - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        self.store.append(ledger_of(tables), Source(()), at)

    def recalibrate(self, question: str, slope: float) -> None:
        """Put another version of a curve in charge."""
        champions = Champions.load(self.workspace.champions)
        found = bundles.read(self.workspace.bundles, getattr(champions, question))
        calibration = found.curve.calibration
        curve = replace(
            found.curve,
            calibration=Calibration(slope, calibration.terms, calibration.offsets),
        )
        sha256 = bundles.write(self.workspace.bundles, curve, found.reference, found.card)
        self.point(**{question: sha256})

    def point(self, **named: Any) -> None:
        """Swap what the pointer file names."""
        champions = Champions.load(self.workspace.champions)
        replace(champions, **named).save(self.workspace.champions)

    def policy(self, old: str, new: str) -> None:
        """Put another policy in charge."""
        text = POLICY.read_text("utf-8")
        assert text.count(old) == 1
        sha256 = load(text.replace(old, new)).sha256
        folder = self.workspace.policies
        (folder / f"{sha256}.yaml").write_text(text.replace(old, new), "utf-8")
        self.point(policy=sha256)

    def decide(self, assessment_id: str) -> None:
        """Decide otherwise than the policy."""
        in_charge = load(self.workspace.policies / f"{self.champions.policy}.yaml")
        overrider = Overrider(self.store, self.record, in_charge, PEOPLE, lambda: self.now)
        until = self.now.date() + timedelta(days=20)
        wanted = Wanted(assessment_id, "Claire", "The parent company pays.", "open", until=until)
        overrider.decide(wanted)

    @property
    def champions(self) -> Champions:
        """What the pointer file names."""
        return Champions.load(self.workspace.champions)


class Http:
    """An insurer who last confirmed a cover yesterday, and does not answer now."""

    def cover(self, customer_id: str, at: datetime) -> Found | None:
        """Give a stale cover to some, nothing to others."""
        known = datetime(2025, 7, 1, 9, 3, 2, 77, tzinfo=UTC)
        match sum(map(ord, customer_id)) % 3:
            case 0:
                return None
            case 1:
                return Found(None, known, "timeout")
        ends = date(2026, 1, 31)
        cover = Cover(40_000_00, 0.9, known.date(), ends, "http", known, is_stale=True)
        return Found(cover, known, "timeout")


def copy(trained: Workspace, folder: Path) -> Workspace:
    workspace = Workspace(folder)
    workspace.home.mkdir()
    for file in (trained.facts, trained.champions):
        shutil.copy(file, workspace.home)
    for name in (trained.bundles, trained.policies):
        shutil.copytree(name, workspace.home / name.name)
    return workspace


@pytest.fixture(scope="module")
def past(trained, tmp_path_factory) -> Workspace:
    """Assess some hundred times, with several versions of curves and policy. Read it only."""
    seller = Seller(copy(trained, tmp_path_factory.mktemp("past") / "seller"))
    seller.some(12)
    seller.decide(seller.assess("C-00100", DISPUTED))
    seller.assess("C-00100", DISPUTED)  # a person's decision counts
    seller.assess("C-00100", Order(9_000_000_00, 0, 90))  # and not for so much
    seller.assess("C-00001", ORDERS[1])
    seller.add(GROUP)
    seller.assess("C-00001", ORDERS[1])
    once = Once("test", leaf_hash(b"key"), leaf_hash(b"request"))
    seller.assess("C-00002", None, once=once)
    seller.add(LATER)
    seller.recalibrate("default", 0.8)
    seller.some(20)
    seller.add(LATER.replace("4000", "40000").replace("900", "100"))  # corrected, back-dated
    seller.assess("C-00001", ORDERS[1])
    seller.policy("lgd_rate: 0.60", "lgd_rate: 0.50")
    seller.insurer = Insurer(load_rules(), Http())
    seller.some(20)
    challenged = seller.champions.default
    seller.recalibrate("late", 1.1)
    seller.recalibrate("default", 0.7)
    seller.point(challengers={"default": challenged})
    seller.some(20)
    seller.insurer = Insurer(load_rules(_other_rules()))
    seller.some(5)
    seller.point(default=None, abstentions={"default": {"reason": "too few events"}})
    seller.some(5)
    tables = read_tables("customer | recorded_at\nP1 | 2025-07-01")
    seller.store.append(ledger_of(tables), Source(()))
    seller.assess("P1", ORDERS[1])
    return seller.workspace


def _other_rules() -> str:
    from models.insurance_file import PATH

    return PATH.read_text("utf-8") + "\n# another one\n"


def replayed(workspace: Workspace) -> list[Any]:
    replayer = Replayer(workspace, Store(workspace.facts_url))
    return [
        replayer.replay(entry) for entry in in_order(Entries(workspace.record_url).sample(999, 1))
    ]


def test_every_answer_is_made_again_to_the_byte_and_scored_twice(past):
    found = replayed(past)
    assert len(found) > 85
    assert [one.differences for one in found if one.differences] == []
    assert not any(one.other_code for one in found)


def test_the_assessments_are_of_every_kind(past):
    bodies = [json.loads(one.body) for one in Entries(past.record_url).sample(999, 1)]
    kept = [body["evidence"] for body in bodies]
    versions = [body["answer"]["versions"] for body in bodies]
    assert len({(one["late"], one["default"]) for one in versions}) >= 4
    assert len({one["policy"] for one in versions}) == 2
    assert len({one["insurance"] for one in versions}) == 2
    assert len({one["sequence"] for one in kept}) >= 4
    assert sum(one["override"] is not None for one in kept) >= 2
    assert sum(body["answer"]["override"] is not None for body in bodies) == 1
    assert {one["cover_from"] for one in kept} == {"ledger", "provider"}
    assert any(one["asked"] is None for one in kept)
    assert any(one["shadow"] for one in kept)
    assert any(body["answer"]["exposure"]["rest_of_group"] != "0.00" for body in bodies)
    assert any(set(one["margins"]) == {"late", "default"} for one in kept)
    assert any(one["margins"] == {} for one in kept)
