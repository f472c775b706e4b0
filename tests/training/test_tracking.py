"""MLflow shows a fit with its pictures, tables and surroundings, and a search with its trials."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from training.tracking import CHALLENGER, NOT_A_CHECKOUT, Tracking, Trial, git_commit

PICTURE = b"\x89PNG\r\n\x1a\n\x00\xff"


@pytest.fixture(scope="module")
def tracking(tmp_path_factory) -> Iterator[Tracking]:
    """One MLflow for all: laying out its tables takes seconds."""
    before = mlflow.get_tracking_uri()
    home = tmp_path_factory.mktemp("mlflow")
    yield Tracking(f"sqlite:///{home / 'mlflow.db'}", home / "artifacts")
    mlflow.set_tracking_uri(before)
    mlflow.set_registry_uri(before)


@pytest.fixture
def bundle(tmp_path) -> Path:
    folder = tmp_path / ("ab" * 32)
    folder.mkdir()
    (folder / "card.json").write_text("{}")
    return folder


def run_of(version) -> mlflow.entities.Run:
    client = mlflow.MlflowClient()
    return client.get_run(client.get_model_version("late-payment", version.number).run_id)


def artifact(run, name: str) -> Path:
    return Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path=name))


def test_pictures_texts_and_tables_are_kept_with_the_run(tracking, bundle):
    files = {"plots/gains.png": PICTURE, "features.json": "[]", "card.html": "é"}
    table = {"cutoff": ["2024-01-01", "2024-04-01"], "auc": [0.81, 0.82]}
    version = tracking.record("late", {}, {}, bundle, files, tables={"walk_forward": table})
    run = run_of(version)
    assert artifact(run, "plots/gains.png").read_bytes() == PICTURE
    assert artifact(run, "card.html").read_text("utf-8") == "é"
    shown = json.loads(artifact(run, "walk_forward.json").read_text())
    assert shown["columns"] == ["cutoff", "auc"]
    assert shown["data"] == [["2024-01-01", 0.81], ["2024-04-01", 0.82]]


def test_a_run_says_with_what_it_was_made(tracking, bundle):
    run = run_of(tracking.record("late", {}, {}, bundle, {}, tags={"search_run_id": "s1"}))
    assert run.data.tags["search_run_id"] == "s1"
    assert run.data.tags["git_commit"] == git_commit(Path(__file__).parents[2])
    for name in ("python", "platform", "code", "library.lightgbm", "library.numpy"):
        assert run.data.tags[name][0].isalnum()


def test_figures_that_are_not_finite_are_left_out(tracking, bundle):
    figures = {"auc_0d": float("nan"), "brier_0d": 0.1, "log_loss_0d": float("inf")}
    assert run_of(tracking.record("late", {}, figures, bundle, {})).data.metrics == {
        "brier_0d": 0.1
    }


def test_the_version_carries_its_description_and_its_bundle(tracking, bundle):
    version = tracking.record("late", {}, {}, bundle, {}, description="**late**, 600 trees")
    found = mlflow.MlflowClient().get_model_version("late-payment", version.number)
    assert found.description == "**late**, 600 trees"
    assert found.tags["bundle_sha256"] == bundle.name
    assert tracking.find("late", CHALLENGER) == version


def test_a_version_is_found_by_its_bundle_and_the_latest_counts(tracking, bundle):
    tracking.record("late", {}, {}, bundle, {})
    again = tracking.record("late", {}, {}, bundle, {})
    assert tracking.version_of("late", bundle.name) == again
    assert tracking.version_of("late", "0" * 64) is None
    assert tracking.version_of("default", bundle.name) is None


# Searches.

TRIALS = [
    Trial({"num_leaves": 15}, 0.40, "complete"),
    Trial({"num_leaves": 31}, 0.30, "complete"),
    Trial({"num_leaves": 63}, 0.20, "pruned"),
    Trial({"num_leaves": 255}, float("nan"), "fail"),
]


def children(parent: str) -> list[mlflow.entities.Run]:
    client = mlflow.MlflowClient()
    experiment = client.get_run(parent).info.experiment_id
    asked = f"tags.`mlflow.parentRunId` = '{parent}'"
    return client.search_runs([experiment], asked, order_by=["attributes.start_time"])


def test_each_trial_is_a_run_below_the_search(tracking):
    parent = tracking.search("late", TRIALS)
    found = children(parent)
    assert [run.data.params["num_leaves"] for run in found] == ["15", "31", "63", "255"]
    assert [run.data.tags["state"] for run in found] == ["complete", "complete", "pruned", "fail"]
    assert [run.info.status for run in found] == ["FINISHED", "FINISHED", "KILLED", "FAILED"]
    assert [run.data.metrics.get("log_loss") for run in found] == [0.40, 0.30, 0.20, None]


def test_a_search_shows_the_best_of_the_trials_that_were_completed(tracking):
    run = mlflow.MlflowClient().get_run(tracking.search("default", TRIALS, "brier"))
    assert run.info.run_name == "default search"
    assert run.data.params == {"num_leaves": "31"}
    assert run.data.metrics == {"brier": 0.30}
    assert run.data.tags["trials"] == "4"
    assert "git_commit" in run.data.tags


def test_a_search_in_which_nothing_was_completed_is_kept_too(tracking):
    parent = tracking.search("late", TRIALS[2:])
    assert mlflow.MlflowClient().get_run(parent).data.params == {}
    assert len(children(parent)) == 2


def test_a_search_registers_nothing(tracking, bundle):
    before = tracking.record("late", {}, {}, bundle, {})
    tracking.search("late", TRIALS)
    assert tracking.find("late", CHALLENGER) == before


# Commits.


@pytest.fixture
def checkout(tmp_path) -> Path:
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed")
    who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    (tmp_path / "a.txt").write_text("a")
    for command in (("init", "-q"), ("add", "a.txt"), (*who, "commit", "-qm", "a")):
        subprocess.run([git, "-C", tmp_path, *command], check=True)
    return tmp_path


def test_a_checkout_is_named_by_its_commit_and_whether_files_differ(checkout):
    clean = git_commit(checkout)
    assert len(clean) == 40
    (checkout / "a.txt").write_text("b")
    assert git_commit(checkout) == f"{clean} with local changes"


def test_a_folder_inside_somebody_elses_repository_is_no_checkout(checkout):
    inside = checkout / "inside"
    inside.mkdir()
    assert git_commit(inside) == NOT_A_CHECKOUT


def test_without_git_there_is_no_commit_to_name(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert git_commit(checkout) == NOT_A_CHECKOUT
