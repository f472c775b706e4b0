"""Answers of the past made again: the same bytes, whatever came later; a change is named."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pysqlite3
import pytest

from features.build import feature_names
from features.store import Source, Store
from models import bundle as bundles
from models.bundle import Champions
from models.curve import Calibration
from models.insurance import Cover
from models.insurance_file import load as load_rules
from models.policy import Order, load
from models.workspace import Workspace
from serving.assess import Asking, Assessor
from serving.audit import Entry, Once, Record, leaf_hash
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
        customers = np.unique(self.store.read()["invoices"]["customer_id"].astype(str))
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
    seller.policy("unsecured: 0.60", "unsecured: 0.50")
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
    _rewrite_the_past(seller)
    return seller.workspace


def _rewrite_the_past(seller: Seller) -> None:
    """Import old facts that nobody had: another joined the group, and peers pay what they owed."""
    seller.add(GROUP.replace("g1", "g3").replace("C-00001", "C-00100"))
    facts = seller.store.read()
    paid = set(facts["settlements"]["invoice_id"].tolist())
    invoices = facts["invoices"]
    owed = [i for i, id in enumerate(invoices["invoice_id"].tolist()) if id not in paid]
    day = np.array(["2025-06-20"] * len(owed), "datetime64[s]")
    settlements = pd.DataFrame(
        {
            "settlement_id": [f"old-{i}" for i in owed],
            "customer_id": invoices["customer_id"][owed].astype(str),
            "invoice_id": invoices["invoice_id"][owed].astype(str),
            "kind": "payment",
            "settled_on": day,
            "amount_cents": invoices["amount_cents"][owed],
            "recorded_at": day,
        }
    )
    seller.store.append(ledger_of({"settlements": settlements}), Source(()))


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


# What was changed is named.


@pytest.fixture(scope="module")
def replayer(past) -> Replayer:
    return Replayer(past, Store(past.facts_url))


def found(past: Workspace, wanted: Any) -> Entry:
    """Find the first assessment whose answer and evidence are so."""
    for entry in Entries(past.record_url).sample(999, 1):
        body = json.loads(entry.body)
        if wanted(body["answer"], body["evidence"]):
            return entry
    raise AssertionError("there is none")


def spoken(answer: dict[str, Any], evidence: dict[str, Any]) -> bool:
    return set(evidence["margins"]) == {"late", "default"}


def altered(entry: Entry, change: Any) -> Entry:
    """Change an entry, and its leaf hash with it, as who owns the database can."""
    body = json.loads(entry.body)
    change(body["answer"], body["evidence"])
    written = json.dumps(body, ensure_ascii=False).encode()
    assert written != entry.body
    return replace(entry, body=written, leaf_hash=leaf_hash(written))


def put(*path: Any) -> Any:
    """Change one place of the body; the last of the path is what stands there then."""
    *steps, last, value = path

    def change(*body: dict[str, Any]) -> None:
        where: Any = {"answer": body[0], "evidence": body[1]}
        for step in steps:
            where = where[step]
        where[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("evidence", "margins", "late", "-30", "0x1.8p+1"), "the trees of late give"),
        (put("evidence", "margins", "default", "90", "0x1.8p+1"), "evidence/margins/default/90"),
        (put("evidence", "contributions", "base", "0x0.0p+0"), "evidence/contributions/base"),
        (put("answer", "late", "30", 0.001), "answer/late/30: recorded 0.001, made again 0."),
        (put("answer", "options", 2, "cost", "0.01"), "answer/options/2/cost: recorded"),
        (put("answer", "recommendation", "en", "Deliver."), "answer/recommendation/en: recorded"),
        (put("answer", "insurance", "covered", "1.00"), "answer/insurance/covered"),
        (put("evidence", "owed_cents", 1), "evidence/owed_cents: recorded 1, made again"),
        (put("evidence", "asked", None), ": recorded"),
        (put("evidence", "sequence", 0), "it cannot be made again: the ledger did not know"),
        (put("evidence", "sequence", 10**30), "it cannot be made again: OverflowError"),
        (put("evidence", "known_at_microseconds", 10**30), "OverflowError in what it keeps"),
        (put("evidence", "features", 0, "0x1p9999"), "feature "),
        (put("evidence", "ledger_id", "x"), "it cannot be made again: it is of another ledger"),
        (put("evidence", "override", "x"), "it cannot be made again: the override that it names"),
        (put("answer", "versions", "policy", "sha256:12"), "it cannot be made again: "),
        (put("answer", "versions", "late", "sha256:../x"), "it cannot be made again: "),
        (put("answer", "customer", []), "it cannot be made again: TypeError in what it keeps"),
        (put("evidence", "more", 1), "evidence/more: recorded 1, made again nothing"),
    ],
)
def test_a_change_is_named_with_the_feature_or_field(past, replayer, change, said):
    entry = altered(found(past, spoken), change)
    assert any(said in one for one in replayer.replay(entry).differences)


def test_a_changed_feature_is_named_and_leads_elsewhere_in_the_trees(past, replayer):
    entry = found(past, spoken)
    said = json.loads(entry.body)["answer"]["explanation"]["reasons"][0]
    place = feature_names(with_order=True).index(said["feature"])
    other = -1e9 if (said["value"] or 0) > 0 else 1e9
    changed = replayer.replay(altered(entry, put("evidence", "features", place, other.hex())))
    first, *walked = changed.differences
    assert first.startswith(f"feature {said['feature']}: recorded ")
    assert any(one.startswith("the trees of default give ") for one in walked)


def test_a_change_of_a_bit_is_found(past, replayer):
    entry = found(past, spoken)
    body = json.loads(entry.body)
    for place, value in enumerate(body["evidence"]["features"][:20]):
        number = float.fromhex(value)
        if number == number and number != 0:
            other = float(np.nextafter(number, np.inf)).hex()
            changed = replayer.replay(altered(entry, put("evidence", "features", place, other)))
            assert changed.differences[0].startswith("feature ")


def test_other_bytes_of_the_same_content_and_a_broken_seal_are_found(past, replayer):
    entry = found(past, spoken)
    spaced = entry.body.replace(b'"answer": ', b'"answer":  ', 1)
    said = replayer.replay(replace(entry, body=spaced)).differences
    assert said == (
        "the entry's bytes are not those of its leaf hash",
        "the same content in other bytes",
    )
    assert "JSONDecodeError" in replayer.replay(replace(entry, body=b"{")).differences[1]


def test_an_entry_from_before_is_not_taken_for_exact(past, replayer):
    old = json.dumps({"schema": 1, "answer": {}, "evidence": {}}).encode()
    entry = Entry(1, "x", "assessment", old, leaf_hash(old))
    (said,) = replayer.replay(entry).differences
    assert said.startswith("it cannot be made again: it is of schema 1, which keeps too little")


def test_another_version_of_the_code_is_said_and_the_rest_compared(past, replayer):
    entry = found(past, spoken)
    changed = replayer.replay(altered(entry, put("evidence", "runs_on", "numpy", "1.0")))
    assert changed.differences == ()
    assert changed.other_code[0].startswith("numpy 1.0 → ")


@pytest.mark.parametrize("what", ["policies", "bundles", "insurance"])
def test_a_file_that_was_changed_is_no_basis(past, tmp_path, what):
    """Policies, bundles and the insurer's policies are verified by the hash that names them."""
    workspace = Workspace(tmp_path / "copy")
    shutil.copytree(past.home, workspace.home)
    for file in (workspace.home / what).rglob("*"):
        if file.suffix in (".yaml", ".txt"):
            file.write_bytes(file.read_bytes() + b"\n# changed\n")
    replayer = Replayer(workspace, Store(workspace.facts_url))
    said = replayer.replay(found(past, spoken)).differences
    assert said
    assert "it cannot be made again" in said[0]
    assert "was changed" in said[0]


def test_facts_changed_in_the_database_are_found(past, tmp_path):
    """Who rewrites the facts cannot rewrite what was answered from them."""
    workspace = Workspace(tmp_path / "copy")
    shutil.copytree(past.home, workspace.home)
    entry = found(past, spoken)
    customer = json.loads(entry.body)["answer"]["customer"]["id"]
    with pysqlite3.connect(workspace.facts) as connection:
        changed = connection.execute(
            "UPDATE invoices SET amount_cents = amount_cents + 100 WHERE customer_id = ?",
            (customer,),
        )
        assert changed.rowcount > 0
    said = Replayer(workspace, Store(workspace.facts_url)).replay(entry).differences
    assert said[0].startswith("feature ")


def test_a_sample_is_drawn_by_its_seed_without_repetition(past):
    entries = Entries(past.record_url)
    drawn = [[one.id for one in entries.sample(10, seed)] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) == 10
    assert {one.kind for one in entries.sample(999, 1)} == {"assessment"}
