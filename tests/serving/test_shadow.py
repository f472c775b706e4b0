"""Challengers are scored beside champions: on the record, not in the answer, never in its way."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import structlog

from features.store import Store, sqlite_url
from models import bundle as bundles
from models.bundle import BundleError, Champions
from models.curve import Calibration, TermCurve
from models.policy import Order
from models.workspace import Workspace
from serving.assess import Assessor
from serving.audit import Record
from serving.shadow import compare

ORDER = Order(2_000_00, 120_00, 30)
BOUNDS = (0.1, 0.2, 0.5, 1.0)


def assessor_of(workspace: Workspace, clock: Any) -> Assessor:
    return Assessor(Store(workspace.facts_url), Record(workspace.record_url), workspace, clock)


@pytest.fixture
def customer(seller, clock) -> str:
    """Name a customer of whom both curves say something."""
    assessor = assessor_of(seller, clock)
    named = (f"C-{number:05d}" for number in range(1, 50))
    return next(one for one in named if told(assessor.assess(one, ORDER))["default"])


def told(answer: bytes) -> dict[str, Any]:
    """Read an answer, without what makes each one unique."""
    return {k: v for k, v in json.loads(answer).items() if k not in ("id", "record")}


def evidence(workspace: Workspace, answer: bytes) -> dict[str, Any]:
    return json.loads(Record(workspace.record_url).find(json.loads(answer)["id"]).body)["evidence"]


def shadow(workspace: Workspace, question: str, raised_by: float = 1.0) -> str:
    """Name a challenger: the champion's curve with its log-odds raised."""
    champions = Champions.load(workspace.champions)
    found = bundles.read(workspace.bundles, getattr(champions, question))
    known = found.curve.calibration
    raised = Calibration(known.slope, known.terms, tuple(o + raised_by for o in known.offsets))
    curve = replace(found.curve, calibration=raised)
    sha256 = bundles.write(workspace.bundles, curve, found.reference, found.card)
    named = replace(champions, challengers=champions.challengers | {question: sha256})
    named.save(workspace.champions)
    return sha256


def odds(probability: float) -> float:
    return probability / (1 - probability)


def test_what_the_challengers_say_is_on_the_record_and_not_in_the_answer(seller, customer, clock):
    before = told(assessor_of(seller, clock).assess(customer, ORDER))
    named = {question: shadow(seller, question) for question in ("late", "default")}
    answer = assessor_of(seller, clock).assess(customer, ORDER)
    assert told(answer) == before
    said = evidence(seller, answer)["shadow"]
    assert {question: one["sha256"] for question, one in said.items()} == named
    for question in named:
        assert said[question]["probabilities"].keys() == before[question].keys()
        for term, champion in before[question].items():
            challenger = said[question]["probabilities"][term]
            assert odds(challenger) / odds(champion) == pytest.approx(np.e)
    assert all(sha256[:12] not in answer.decode() for sha256 in named.values())


def test_without_a_challenger_nothing_stands_in_the_shadow(seller, customer, clock):
    assert evidence(seller, assessor_of(seller, clock).assess(customer, ORDER))["shadow"] == {}


def test_a_pointer_file_from_before_there_were_shadows_still_speaks(seller, customer, clock):
    pointer = json.loads(seller.champions.read_text())
    pointer.pop("challengers")
    seller.champions.write_text(json.dumps(pointer))
    assert assessor_of(seller, clock).readiness() is None


def test_a_challenger_named_while_the_service_runs_is_scored_from_then_on(seller, customer, clock):
    assessor = assessor_of(seller, clock)
    assert evidence(seller, assessor.assess(customer, ORDER))["shadow"] == {}
    shadow(seller, "late")
    assert set(evidence(seller, assessor.assess(customer, ORDER))["shadow"]) == {"late"}


def test_where_the_champion_says_nothing_the_challenger_is_not_asked(seller, customer, clock):
    shadow(seller, "default")
    why = {"reason": "12 matured defaults, at least 50 are needed", "events": 12, "floor": 50}
    champions = Champions.load(seller.champions)
    replace(champions, default=None, abstentions={"default": why}).save(seller.champions)
    with structlog.testing.capture_logs() as logs:
        answer = assessor_of(seller, clock).assess(customer, ORDER)
    assert evidence(seller, answer)["shadow"] == {}
    assert logs == []


@pytest.mark.parametrize("damage", ["missing", "changed", "another ledger", "no booster at all"])
def test_a_damaged_challenger_harms_no_answer_and_is_said_once(seller, customer, clock, damage):
    before = told(assessor_of(seller, clock).assess(customer, ORDER))
    sha256 = shadow(seller, "late")
    folder = seller.bundles / sha256
    match damage:
        case "missing":
            (folder / "booster.txt").unlink()
        case "changed":
            text = (folder / "booster.txt").read_bytes()
            (folder / "booster.txt").write_bytes(text.replace(b"1", b"2", 1))
        case "another ledger":
            found = bundles.read(seller.bundles, sha256)
            card = {**found.card, "ledger_id": "other"}
            other = bundles.write(seller.bundles, found.curve, found.reference, card)
            name_late(seller, other)
        case _:  # its hashes are right, and it is no model
            name_late(seller, rewritten(seller, sha256, "calibration.json", b"[]"))
    shadow(seller, "default")
    assessor = assessor_of(seller, clock)
    with structlog.testing.capture_logs() as logs:
        answers = [assessor.assess(customer, ORDER) for _ in range(2)]
    assert all(told(answer) == before for answer in answers)
    assert [line["event"] for line in logs] == ["shadow_refused"]
    assert logs[0]["curve"] == "late"
    assert set(evidence(seller, answers[0])["shadow"]) == {"default"}  # the other one is scored
    assert assessor.readiness() is None


def name_late(workspace: Workspace, sha256: str) -> None:
    champions = Champions.load(workspace.champions)
    replace(champions, challengers={"late": sha256}).save(workspace.champions)


def rewritten(workspace: Workspace, sha256: str, name: str, data: bytes) -> str:
    """Copy a bundle with one file replaced and every hash made right."""
    files = bundles.verify(workspace.bundles, sha256) | {name: data}
    manifest = {
        one: {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        for one, content in files.items()
    }
    files["manifest.json"] = json.dumps(manifest).encode()
    folder = workspace.bundles / hashlib.sha256(files["manifest.json"]).hexdigest()
    folder.mkdir()
    for one, content in files.items():
        (folder / one).write_bytes(content)
    return folder.name


@pytest.mark.parametrize("failure", ["raises", "says no number"])
def test_a_challenger_that_fails_when_asked_is_dropped_and_said_once(
    seller, customer, clock, monkeypatch, failure
):
    before = told(assessor_of(seller, clock).assess(customer, ORDER))
    sha256 = shadow(seller, "late")
    at = TermCurve.at

    def failing(self, row, terms):
        if self.calibration.offsets == spoilt and terms.size == 5:
            if failure == "raises":
                raise RuntimeError(customer)
            return np.full(terms.size, np.nan)
        return at(self, row, terms)

    spoilt = bundles.read(seller.bundles, sha256).curve.calibration.offsets
    monkeypatch.setattr(TermCurve, "at", failing)
    assessor = assessor_of(seller, clock)
    with structlog.testing.capture_logs() as logs:
        answers = [assessor.assess(customer, ORDER) for _ in range(3)]
    assert all(told(answer) == before for answer in answers)
    assert [line["event"] for line in logs] == ["shadow_failed"]
    assert customer not in str(logs)
    assert all(evidence(seller, answer)["shadow"] == {} for answer in answers)


@pytest.mark.parametrize("challengers", [[], {"late": 5}, {"late": "../../elsewhere"}, None])
def test_a_pointer_file_whose_challengers_are_damaged_is_refused(seller, challengers):
    pointer = json.loads(seller.champions.read_text()) | {"challengers": challengers}
    seller.champions.write_text(json.dumps(pointer))
    with pytest.raises(BundleError, match=r"champions\.json is damaged"):
        Champions.load(seller.champions)


# Comparing what the record holds.


@pytest.fixture
def record_url(tmp_path) -> str:
    return sqlite_url(tmp_path / "record.db")


def remember(url: str, question: str, one: float, other: float, **who: str) -> None:
    """Record what champion (`one`) and challenger said; the term beside is never compared."""
    term = "30" if question == "late" else "365"
    names = {"champion": "a" * 64, "challenger": "b" * 64} | who
    answer = {
        question: {"5": 0.9, term: one},
        "versions": {question: f"sha256:{names['champion']}"},
    }
    said = {"sha256": names["challenger"], "probabilities": {"5": 0.0, term: other}}
    body = {"answer": answer, "evidence": {"shadow": {question: said}}}
    Record(url).append(str(uuid4()), "assessment", json.dumps(body).encode())


def test_the_comparison_by_hand(record_url):
    for champion, challenger in ((0.05, 0.06), (0.15, 0.25), (0.60, 0.45), (0.61, 0.91)):
        remember(record_url, "late", champion, challenger)
    (one,) = compare(record_url, BOUNDS)
    assert (one.question, one.term_days, one.assessments) == ("late", 30, 4)
    assert (one.champion, one.challenger) == ("a" * 64, "b" * 64)
    assert one.mean_difference == pytest.approx((0.01 + 0.10 + 0.15 + 0.30) / 4)
    assert one.rank_correlation == pytest.approx(1.0)
    assert one.moved_rate == 2 / 4  # 15 % to 25 % crosses 20 %, 60 % to 45 % crosses 50 %


def test_the_default_curve_is_compared_at_a_year_by_grade(record_url):
    remember(record_url, "default", 0.004, 0.006)  # A, B
    remember(record_url, "default", 0.110, 0.190)  # F, F
    (one,) = compare(record_url, BOUNDS)
    assert (one.term_days, one.moved_rate) == (365, 0.5)


def test_opposite_ranks_correlate_by_minus_one_and_a_constant_not_at_all(record_url, tmp_path):
    for champion, challenger in ((0.1, 0.3), (0.2, 0.2), (0.3, 0.1)):
        remember(record_url, "late", champion, challenger)
    assert compare(record_url, BOUNDS)[0].rank_correlation == pytest.approx(-1.0)
    other = sqlite_url(tmp_path / "other.db")
    for champion in (0.1, 0.2):
        remember(other, "late", champion, 0.5)
    assert np.isnan(compare(other, BOUNDS)[0].rank_correlation)


def test_each_pair_of_bundles_is_compared_by_itself(record_url):
    remember(record_url, "late", 0.1, 0.2)
    remember(record_url, "late", 0.1, 0.3, challenger="c" * 64)
    remember(record_url, "late", 0.1, 0.4, champion="c" * 64)
    found = compare(record_url, BOUNDS)
    assert [one.mean_difference for one in found] == pytest.approx([0.1, 0.2, 0.3])


def test_assessments_without_a_shadow_and_other_entries_are_passed_over(record_url):
    record = Record(record_url)
    record.append("x", "assessment", b'{"answer": {}, "evidence": {}}')  # from before
    record.append("y", "assessment", b'{"answer": {}, "evidence": {"shadow": {}}}')
    record.append("z", "decision", b"{}")
    assert compare(record_url, BOUNDS) == []


def test_the_service_records_what_the_comparison_reads(seller, clock):
    shadow(seller, "late")
    assessor = assessor_of(seller, clock)
    for customer in ("C-00001", "C-00002", "C-00003"):
        assessor.assess(customer, ORDER)
    (one,) = compare(seller.record_url, BOUNDS)
    champions = Champions.load(seller.champions)
    assert (one.champion, one.challenger) == (champions.late, champions.challengers["late"])
    assert one.assessments == 3
    assert one.mean_difference > 0
