"""What is in charge: named by a promotion, recorded before, put back by a rollback."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import lightgbm as lgb
import mlflow
import numpy as np
import pytest

from features.build import feature_names
from features.dictionary import dictionary
from models import bundle as bundles
from models.bundle import Bundle, BundleError, Champions
from models.curve import Calibration, TermCurve
from models.policy import PolicyError
from models.targets import DEFAULT_DEFINITIONS
from models.workspace import Workspace
from tests.training.shelf import Shelf
from training import gate_file
from training.gate import Check, Verdict
from training.gate_file import GateError
from training.promote import (
    PromotionError,
    name_challengers,
    promote,
    rollback,
    signatures,
    verify,
)
from training.signing import RecordError
from training.tracking import CHALLENGER, CHAMPION, Tracking, Version

POLICY = Path(__file__).parents[2] / "models" / "policy.yaml"
WHY = {"reason": "12 matured defaults, at least 50 are needed", "events": 12, "floor": 50}


# A workspace with small bundles.


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return Workspace(tmp_path / "home")


@pytest.fixture
def tracking() -> Tracking:
    return Shelf()


@pytest.fixture
def mlflow_at_home(workspace) -> Iterator[Tracking]:
    """Use the real registry; afterwards MLflow's global setting is as it was."""
    before = mlflow.get_tracking_uri()
    workspace.home.mkdir()
    yield Tracking(workspace.mlflow_url, workspace.mlflow_artifacts)
    mlflow.set_tracking_uri(before)
    mlflow.set_registry_uri(before)


@cache
def curve(question: str) -> TermCurve:
    """Fit a small curve that keeps the dictionary's promises."""
    features = feature_names(with_order=False)[:8]
    direction = -1 if question == "late" else 1
    terms = (-30, 120) if question == "late" else (30, 365)
    rng = np.random.default_rng(1)
    X = np.column_stack([rng.normal(0, 2, (2_000, 8)), rng.integers(*terms, 2_000)])
    risk = X[:, 1] + direction * X[:, -1] / 40 + rng.logistic(size=2_000)
    monotone = [*(dictionary()[name].direction for name in features), direction]
    booster = lgb.train(
        {
            "objective": "binary",
            "monotone_constraints": monotone,
            "num_leaves": 7,
            "num_threads": 1,
            "verbosity": -1,
        },
        lgb.Dataset(X, risk > 0),
        num_boost_round=10,
    )
    booster = lgb.Booster(model_str=booster.model_to_string())
    return TermCurve(question, booster, features, Calibration(1.0, terms, (0.0, 0.0)), *terms)


def written(folder: Path, question: str, note: str = "first", **card: object) -> Path:
    """Write a bundle; another `note` makes another of it."""
    if question == "default":
        card.setdefault("default_definition", asdict(DEFAULT_DEFINITIONS["bureau"]))
    said = {"question": question, "ledger_id": "L1", "cutoff": "2025-01-01", "note": note}
    return folder / bundles.write(folder, curve(question), {"median": {}}, said | card)


@pytest.fixture
def challenge(workspace, tracking) -> Callable[..., Version]:
    """Register a bundle as challenger."""

    def challenge(question: str, *note: str, **card: object) -> Version:
        bundle = written(workspace.bundles, question, *note, **card)
        return tracking.record(question, {}, {}, bundle, {})

    return challenge


@pytest.fixture
def both(challenge) -> dict[str, Version]:
    return {question: challenge(question) for question in ("late", "default")}


def lenient(challenger: Bundle, champion: Bundle | None) -> Verdict:
    beaten = None if champion is None else champion.sha256
    check = Check("better", "passed", "a gain", "a gain")
    return Verdict(challenger.curve.question, challenger.sha256, beaten, (check,))


def strict(challenger: Bundle, champion: Bundle | None) -> Verdict:
    fine = lenient(challenger, champion)
    return Verdict(
        fine.question, fine.challenger, fine.champion, (Check("better", "failed", *"ab"),)
    )


def snapshot(folder: Path) -> dict[str, bytes]:
    """All files below a folder, by path."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


# Promoting.


def test_promotion_names_the_champions_and_keeps_the_policy(workspace, tracking, challenge):
    late = challenge("late")
    tracking.abstain("default", WHY)
    outcome = promote(tracking, workspace, POLICY)
    champions = outcome.champions
    assert outcome.status == "done"
    assert Champions.load(workspace.champions) == champions
    assert (champions.late, champions.default) == (late.bundle_sha256, None)
    assert champions.abstentions == {"default": WHY}
    kept = workspace.policies / f"{champions.policy}.yaml"
    assert kept.read_bytes() == POLICY.read_bytes()
    assert tracking.find("late", CHAMPION) == late
    assert tracking.find("default", CHAMPION) is None


def test_mlflow_shows_who_is_champion_what_the_gate_said_and_after_a_rollback_who_was(
    workspace, mlflow_at_home
):
    def register(question: str, note: str) -> Version:
        bundle = written(workspace.bundles, question, note)
        return mlflow_at_home.record(question, {}, {}, bundle, {})

    first = {question: register(question, "first") for question in ("late", "default")}
    promote(mlflow_at_home, workspace, POLICY)
    second = register("late", "second")
    promote(mlflow_at_home, workspace, POLICY, lenient)
    assert mlflow_at_home.find("late", CHAMPION) == second
    assert mlflow_at_home.find("default", CHAMPION) == first["default"]
    shown = mlflow.MlflowClient().get_model_version("late-payment", second.number)
    assert shown.tags["gate"] == "passed"
    rollback(mlflow_at_home, workspace)
    assert mlflow_at_home.find("late", CHAMPION) == first["late"]
    assert mlflow_at_home.find("late", CHALLENGER) == second


def test_both_curves_are_promoted_together(workspace, tracking, both):
    champions = promote(tracking, workspace, POLICY).champions
    assert champions.abstentions == {}
    for question, version in both.items():
        assert getattr(champions, question) == version.bundle_sha256
        assert tracking.find(question, CHAMPION) == version


def test_a_first_promotion_says_what_it_did_not_compare(workspace, tracking, both):
    for verdict in promote(tracking, workspace, POLICY).verdicts:
        status = {check.name: check.status for check in verdict.checks}
        assert status == {
            "better": "skipped",
            "calibrated": "skipped",
            "segments": "skipped",
            "monotone": "passed",
            "reloads": "passed",
        }


def test_a_second_promotion_without_the_ledger_is_not_judged(workspace, tracking, both, challenge):
    first = promote(tracking, workspace, POLICY).champions
    challenge("late", "second")
    with pytest.raises(GateError, match="on the ledger"):
        promote(tracking, workspace, POLICY)
    assert Champions.load(workspace.champions) == first


def test_the_gate_is_shown_the_challenger_and_the_champion(workspace, tracking, both, challenge):
    promote(tracking, workspace, POLICY)
    second = challenge("late", "second")
    asked = []

    def judge(challenger, champion):
        asked.append((challenger.sha256, champion.sha256))
        return lenient(challenger, champion)

    outcome = promote(tracking, workspace, POLICY, judge)
    assert asked == [(second.bundle_sha256, both["late"].bundle_sha256)]  # default is unchanged
    assert outcome.champions.late == second.bundle_sha256
    assert outcome.champions.default == both["default"].bundle_sha256


def test_what_the_gate_refuses_is_not_promoted_and_said_in_the_registry(
    workspace, tracking, both, challenge
):
    promote(tracking, workspace, POLICY)
    second = challenge("late", "second")
    files = snapshot(workspace.home)
    outcome = promote(tracking, workspace, POLICY, strict)
    assert outcome.status == "refused"
    assert not outcome.verdicts[0].is_accepted
    assert snapshot(workspace.home) == files
    assert tracking.find("late", CHAMPION) == both["late"]
    assert tracking.tags[second] == {"gate": "refused: better"}


def test_when_the_gate_refuses_one_curve_the_other_can_be_promoted_alone(
    workspace, tracking, both, challenge
):
    promote(tracking, workspace, POLICY)
    challenge("late", "worse")
    better = challenge("default", "better")

    def judge(challenger, champion):
        return (strict if challenger.curve.question == "late" else lenient)(challenger, champion)

    assert promote(tracking, workspace, POLICY, judge).status == "refused"
    champions = promote(tracking, workspace, POLICY, judge, parts=["default"]).champions
    assert champions.default == better.bundle_sha256
    assert champions.late == both["late"].bundle_sha256


def test_a_policy_alone_needs_no_gate(workspace, tracking, both, challenge, tmp_path):
    promote(tracking, workspace, POLICY)
    challenge("late", "worse")
    other = tmp_path / "policy.yaml"
    other.write_text(POLICY.read_text() + "\n")
    champions = promote(tracking, workspace, other, strict, parts=["policy"]).champions
    assert (workspace.policies / f"{champions.policy}.yaml").read_bytes() == other.read_bytes()
    assert champions.late == both["late"].bundle_sha256


def test_the_first_promotion_puts_everything_in_charge(workspace, tracking, both):
    with pytest.raises(PromotionError, match="promote all"):
        promote(tracking, workspace, POLICY, lenient, parts=["late"])
    assert not workspace.champions.exists()


def test_a_curve_that_abstains_again_has_no_champion_any_more(workspace, tracking, both):
    first = promote(tracking, workspace, POLICY).champions
    tracking.abstain("default", WHY)
    second = promote(tracking, workspace, POLICY).champions
    assert (second.late, second.default) == (first.late, None)
    assert tracking.find("default", CHAMPION) is None
    assert (workspace.bundles / first.default).is_dir()  # old decisions replay


def test_a_curve_that_can_be_taught_again_abstains_no_more(workspace, tracking, challenge):
    challenge("late")
    tracking.abstain("default", WHY)
    promote(tracking, workspace, POLICY)
    taught = challenge("default")
    champions = promote(tracking, workspace, POLICY).champions
    assert champions.default == taught.bundle_sha256
    assert champions.abstentions == {}


def test_without_a_challenger_nothing_is_promoted(workspace, tracking, challenge):
    challenge("late")
    with pytest.raises(PromotionError, match="no challenger for the default curve"):
        promote(tracking, workspace, POLICY)
    assert not workspace.champions.exists()
    assert tracking.find("late", CHAMPION) is None


def test_without_any_training_nothing_is_promoted(workspace, tracking):
    with pytest.raises(PromotionError, match="run `encours train`"):
        promote(tracking, workspace, POLICY)


def test_a_default_curve_of_another_definition_than_the_policys_is_refused(
    workspace, tracking, challenge
):
    challenge("late")
    challenge("default", default_definition={"name": "bank"})
    with pytest.raises(PromotionError, match="another definition of default than the policy's"):
        promote(tracking, workspace, POLICY)
    assert not workspace.champions.exists()


def test_a_damaged_challenger_is_refused_and_nothing_changes(workspace, tracking, both, challenge):
    promote(tracking, workspace, POLICY)
    challenge("late", "second")
    damaged = workspace.bundles / challenge("default", "second").bundle_sha256 / "booster.txt"
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    files = snapshot(workspace.home)
    with pytest.raises(BundleError, match=r"booster\.txt was changed"):
        promote(tracking, workspace, POLICY, lenient)
    assert snapshot(workspace.home) == files
    for question, version in both.items():
        assert tracking.find(question, CHAMPION) == version


def test_a_wrong_policy_is_refused_and_nothing_changes(workspace, tracking, both, tmp_path):
    wrong = tmp_path / "policy.yaml"
    wrong.write_text("loss_given_default: 2")
    files = snapshot(workspace.home)
    with pytest.raises(PolicyError):
        promote(tracking, workspace, wrong)
    assert snapshot(workspace.home) == files
    assert tracking.find("late", CHAMPION) is None


def test_promoting_twice_changes_nothing(workspace, tracking, both):
    first = promote(tracking, workspace, POLICY)
    files = snapshot(workspace.home)
    again = promote(tracking, workspace, POLICY, strict)
    assert (again.status, again.champions) == ("unchanged", first.champions)
    assert snapshot(workspace.home) == files


def test_promoting_leaves_nothing_where_it_was_run(
    workspace, tracking, both, tmp_path, monkeypatch
):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    promote(tracking, workspace, POLICY)
    assert list(elsewhere.iterdir()) == []


# Signed records.


def test_a_promotion_leaves_a_signed_record_of_what_who_when_and_why(
    workspace, tracking, both, challenge
):
    first = promote(tracking, workspace, POLICY, by="Anna").champions
    second = challenge("late", "second")
    promote(tracking, workspace, POLICY, lenient, by="Ben")
    earlier, later = (record.body for record in verify(workspace))
    assert (earlier["kind"], earlier["by"], earlier["before"]) == ("promotion", "Anna", None)
    assert later["by"] == "Ben"
    assert later["at"].endswith("+00:00")
    assert later["before"]["late"] == first.late
    assert later["after"]["late"] == second.bundle_sha256
    assert later["after"]["policy"] == first.policy
    assert later["gate_sha256"] == gate_file.load().sha256
    assert later["verdicts"]["late"]["checks"][0]["seen"] == "a gain"
    assert later["verdicts"]["late"]["champion"] == first.late


def test_without_a_name_the_login_name_is_recorded(workspace, tracking, both, monkeypatch):
    monkeypatch.setenv("LOGNAME", "camille")
    promote(tracking, workspace, POLICY)
    assert verify(workspace)[0].body["by"] == "camille"


def test_nothing_is_promoted_on_records_that_were_tampered_with(
    workspace, tracking, both, challenge
):
    first = promote(tracking, workspace, POLICY).champions
    challenge("late", "second")
    record = workspace.home / "promotions" / "000001.json"
    record.write_text(record.read_text().replace('"by": "', '"by": "not '))
    for call in (
        lambda: promote(tracking, workspace, POLICY, lenient),
        lambda: rollback(tracking, workspace),
        lambda: verify(workspace),
    ):
        with pytest.raises(RecordError, match=r"000001\.json was changed"):
            call()
    assert Champions.load(workspace.champions) == first


def test_a_pointer_file_changed_by_hand_is_found(workspace, tracking, both, challenge):
    promote(tracking, workspace, POLICY)
    other = challenge("late", "second")
    pointer = json.loads(workspace.champions.read_text())
    workspace.champions.write_text(json.dumps(pointer | {"late": other.bundle_sha256}))
    with pytest.raises(RecordError, match="names late that no last record names"):
        verify(workspace)


def test_a_record_taken_away_is_found_by_what_is_in_charge(workspace, tracking, both, challenge):
    promote(tracking, workspace, POLICY)
    challenge("late", "second")
    promote(tracking, workspace, POLICY, lenient)
    (workspace.home / "promotions" / "000002.json").unlink()
    with pytest.raises(RecordError, match="names late"):
        verify(workspace)


def test_a_lost_pointer_file_does_not_make_a_promotion_the_first(
    workspace, tracking, both, challenge
):
    first = promote(tracking, workspace, POLICY).champions
    challenge("late", "second")
    workspace.champions.unlink()
    outcome = promote(tracking, workspace, POLICY, strict)
    assert (outcome.status, outcome.champions.late) == ("refused", first.late)


def test_a_promotion_cut_short_after_its_record_can_be_made_again(
    workspace, tracking, both, challenge, monkeypatch
):
    first = promote(tracking, workspace, POLICY).champions
    second = challenge("late", "second").bundle_sha256

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Champions, "save", crash)
        with pytest.raises(KeyboardInterrupt):
            promote(tracking, workspace, POLICY, lenient)
    assert Champions.load(workspace.champions).late == first.late
    assert promote(tracking, workspace, POLICY, lenient).champions.late == second
    assert verify(workspace)
    assert rollback(tracking, workspace).champions.late == first.late


# Four eyes.


@pytest.fixture
def four_eyes() -> gate_file.Rules:
    return gate_file.load().model_copy(update={"four_eyes": True})


def test_with_four_eyes_a_second_person_approves(workspace, tracking, both, four_eyes):
    proposed = promote(tracking, workspace, POLICY, by="Anna", rules=four_eyes)
    assert proposed.status == "proposed"
    assert not workspace.champions.exists()
    assert tracking.find("late", CHAMPION) is None
    done = promote(tracking, workspace, POLICY, by="Ben", rules=four_eyes)
    assert done.status == "done"
    assert (done.record.body["by"], done.record.body["proposed_by"]) == ("Ben", "Anna")
    assert [record.body["kind"] for record in verify(workspace)] == ["proposal", "promotion"]


@pytest.mark.parametrize("name", ["Anna", "anna", " ANNA "])
def test_nobody_approves_their_own_proposal(workspace, tracking, both, four_eyes, name):
    promote(tracking, workspace, POLICY, by="Anna", rules=four_eyes)
    again = promote(tracking, workspace, POLICY, by=name, rules=four_eyes)
    assert (again.status, again.record.body["by"]) == ("waiting", "Anna")
    assert not workspace.champions.exists()
    assert len(verify(workspace)) == 1


def test_a_proposal_of_other_bundles_is_no_approval(
    workspace, tracking, both, four_eyes, challenge
):
    promote(tracking, workspace, POLICY, by="Anna", rules=four_eyes)
    challenge("late", "slipped in")
    outcome = promote(tracking, workspace, POLICY, by="Ben", rules=four_eyes)
    assert (outcome.status, outcome.record.body["by"]) == ("proposed", "Ben")
    assert not workspace.champions.exists()


def test_what_the_gate_refuses_cannot_be_approved(workspace, tracking, both, four_eyes, challenge):
    promote(tracking, workspace, POLICY)
    challenge("late", "second")
    promote(tracking, workspace, POLICY, lenient, by="Anna", rules=four_eyes)
    refused = promote(tracking, workspace, POLICY, strict, by="Ben", rules=four_eyes)
    assert refused.status == "refused"


# Rolling back.


def test_a_rollback_puts_the_former_champion_back_and_records_it(
    workspace, tracking, both, challenge
):
    first = promote(tracking, workspace, POLICY).champions
    second = challenge("late", "second")
    promote(tracking, workspace, POLICY, lenient)
    outcome = rollback(tracking, workspace, by="Ben")
    assert outcome.champions.late == first.late
    assert Champions.load(workspace.champions) == outcome.champions
    assert tracking.find("late", CHAMPION) == both["late"]
    last = verify(workspace)[-1].body
    assert (last["kind"], last["by"], last["parts"]) == ("rollback", "Ben", ["late"])
    assert last["before"]["late"] == second.bundle_sha256


def test_rolling_back_again_goes_further_back_and_ends_at_the_first(
    workspace, tracking, both, challenge
):
    history = [promote(tracking, workspace, POLICY).champions.late]
    for note in ("second", "third"):
        challenge("late", note)
        history.append(promote(tracking, workspace, POLICY, lenient).champions.late)
    assert rollback(tracking, workspace, ["late"]).champions.late == history[1]
    assert rollback(tracking, workspace, ["late"]).champions.late == history[0]
    with pytest.raises(PromotionError, match="nothing was in charge before: late"):
        rollback(tracking, workspace, ["late"])


def test_what_was_rolled_back_may_be_promoted_and_rolled_back_again(
    workspace, tracking, both, challenge
):
    first = promote(tracking, workspace, POLICY).champions.late
    second = challenge("late", "second").bundle_sha256
    for _ in range(2):
        assert promote(tracking, workspace, POLICY, lenient).champions.late == second
        assert rollback(tracking, workspace).champions.late == first


def test_by_default_what_the_latest_promotion_changed_is_rolled_back(
    workspace, tracking, both, challenge, tmp_path
):
    first = promote(tracking, workspace, POLICY).champions
    challenge("default", "second")
    second = promote(tracking, workspace, POLICY, lenient).champions
    challenge("late", "third")
    other = tmp_path / "policy.yaml"
    other.write_text(POLICY.read_text() + "\n")
    promote(tracking, workspace, other, lenient)
    back = rollback(tracking, workspace).champions
    assert (back.late, back.default, back.policy) == (first.late, second.default, first.policy)
    assert rollback(tracking, workspace).champions.default == first.default


def test_one_curve_alone_can_be_rolled_back(workspace, tracking, both, challenge):
    first = promote(tracking, workspace, POLICY).champions
    for question in both:
        challenge(question, "second")
    second = promote(tracking, workspace, POLICY, lenient).champions
    back = rollback(tracking, workspace, ["default"]).champions
    assert (back.late, back.default) == (second.late, first.default)


def test_a_curve_that_abstained_before_abstains_again_after_a_rollback(
    workspace, tracking, challenge
):
    challenge("late")
    tracking.abstain("default", WHY)
    promote(tracking, workspace, POLICY)
    challenge("default")
    promote(tracking, workspace, POLICY)
    back = rollback(tracking, workspace).champions
    assert (back.default, back.abstentions) == (None, {"default": WHY})
    assert tracking.find("default", CHAMPION) is None


def test_before_any_promotion_and_after_one_there_is_nothing_to_roll_back(
    workspace, tracking, both
):
    with pytest.raises(PromotionError, match="nothing was promoted yet"):
        rollback(tracking, workspace)
    promote(tracking, workspace, POLICY)
    with pytest.raises(PromotionError, match="nothing was in charge before"):
        rollback(tracking, workspace)


def test_a_workspace_older_than_the_records_can_be_rolled_back_too(
    workspace, tracking, both, challenge
):
    first = promote(tracking, workspace, POLICY).champions
    shutil.rmtree(workspace.home / "promotions")
    challenge("late", "second")
    promote(tracking, workspace, POLICY, lenient)
    assert rollback(tracking, workspace).champions.late == first.late


def test_a_rollback_goes_back_to_what_was_in_charge_though_a_hand_had_put_it_there(
    workspace, tracking, both, challenge
):
    first = promote(tracking, workspace, POLICY).champions
    by_hand = challenge("late", "by hand").bundle_sha256
    replace(first, late=by_hand).save(workspace.champions)
    challenge("late", "third")
    promote(tracking, workspace, POLICY, lenient)
    assert rollback(tracking, workspace).champions.late == by_hand
    with pytest.raises(PromotionError, match="nothing was in charge before: late"):
        rollback(tracking, workspace, ["late"])


def test_a_former_champion_that_is_damaged_is_not_put_back(workspace, tracking, both, challenge):
    first = promote(tracking, workspace, POLICY).champions
    challenge("late", "second")
    second = promote(tracking, workspace, POLICY, lenient).champions
    (workspace.bundles / first.late / "card.json").unlink()
    with pytest.raises(BundleError, match=r"card\.json cannot be read"):
        rollback(tracking, workspace)
    assert Champions.load(workspace.champions) == second
    assert len(signatures(workspace).verified()) == 2


# Challengers in the shadow.


def test_challengers_are_named_beside_the_champions(workspace, tracking, both, challenge):
    first = promote(tracking, workspace, POLICY).champions
    assert first.challengers == {}  # nobody stands in their own shadow
    second = challenge("late", "second")
    name_challengers(tracking, workspace)
    named = Champions.load(workspace.champions)
    assert named.challengers == {"late": second.bundle_sha256}
    assert (named.late, named.default) == (first.late, first.default)
    assert verify(workspace)  # who stands in the shadow is no promotion
    assert tracking.find("late", CHALLENGER) == second


def test_a_promoted_challenger_leaves_the_shadow_and_after_a_rollback_is_back_in_it(
    workspace, tracking, both, challenge
):
    promote(tracking, workspace, POLICY)
    second = challenge("late", "second")
    name_challengers(tracking, workspace)
    assert promote(tracking, workspace, POLICY, lenient).champions.challengers == {}
    back = rollback(tracking, workspace).champions
    assert back.challengers == {"late": second.bundle_sha256}


def test_before_the_first_promotion_there_is_nobody_to_stand_beside(workspace, tracking, both):
    name_challengers(tracking, workspace)
    assert not workspace.champions.exists()


def test_naming_the_same_challengers_again_does_not_touch_the_file(
    workspace, tracking, both, challenge
):
    promote(tracking, workspace, POLICY)
    challenge("late", "second")
    name_challengers(tracking, workspace)
    before = workspace.champions.stat()
    name_challengers(tracking, workspace)
    assert workspace.champions.stat().st_ino == before.st_ino
