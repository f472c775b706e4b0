"""From a ledger to challengers: trained, measured out of time, registered, repeatable."""

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest

from features import history
from features.history import Facts
from features.ledger import LedgerError
from models import bundle as bundles
from models.workspace import Workspace
from tests.features.ledgers import day, known_before, ledger_of, read_tables
from tests.training.conftest import CUTOFF, END, PLAN, QUICK
from training import train
from training.evaluate import evaluate
from training.tracking import CHALLENGER, CHAMPION, Tracking
from training.train import Abstained, Books, Trained, train_default, train_late


@pytest.fixture(scope="module")
def blank(tmp_path_factory) -> Path:
    """Let MLflow lay out its tables once: it takes seconds."""
    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    Tracking(f"sqlite:///{file}", file.parent / "artifacts")
    return file


@pytest.fixture
def workspace(blank, tmp_path) -> Iterator[Workspace]:
    """Make a workspace; afterwards MLflow's global setting is as it was."""
    before = mlflow.get_tracking_uri()
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(blank, home / "mlflow.db")
    yield Workspace(home)
    mlflow.set_tracking_uri(before)
    mlflow.set_registry_uri(before)


@pytest.fixture(autouse=True)
def no_pictures(request, monkeypatch) -> None:
    """Draw nothing, unless a test looks at the pictures: they take seconds and are tested alone."""
    if "pictures" not in request.keywords:
        monkeypatch.setattr(train.plots, "of_fit", lambda *_: {})


@pytest.fixture
def tracking(workspace) -> Tracking:
    return Tracking(workspace.mlflow_url, workspace.mlflow_artifacts)


@pytest.fixture(scope="module")
def books(facts) -> Books:
    return books_of(facts)


def books_of(facts: Facts, end: int = END) -> Books:
    return Books("L1", "f" * 64, history.build(facts), end)


@pytest.fixture
def late(books, workspace, tracking) -> Trained:
    return train_late(books, workspace.bundles, tracking, plan=PLAN)


def abstain(books: Books, workspace: Workspace, tracking: Tracking) -> Abstained:
    answer = train_default(books, workspace.bundles, tracking, plan=PLAN)
    assert isinstance(answer, Abstained)
    return answer


# ----------------------------------------------------------------------------------------- training


def test_a_trained_curve_stands_on_disk_and_in_the_registry_as_challenger(
    books, workspace, tracking, late
):
    sha256 = late.version.bundle_sha256
    found = bundles.read(workspace.bundles, sha256)
    assert found.curve.question == "late"
    assert tracking.find("late", CHALLENGER) == late.version
    assert tracking.find("late", CHAMPION) is None
    card = found.card
    assert (card["ledger_id"], card["data_sha256"]) == (books.id, books.data_sha256)
    assert day(card["cutoff"]) == late.fit.cutoff == END - train.LATE_TEST_DAYS
    assert card["measured_until"] == "2026-01-01"
    assert card["rounds"] == late.fit.rounds
    assert [one["term_days"] for one in card["metrics"]] == [0, 5, 15, 30, 60]
    assert not workspace.champions.exists()


def test_the_registry_keeps_the_very_files_of_the_bundle(workspace, tracking, late):
    model = mlflow.MlflowClient().get_model_version("late-payment", late.version.number)
    kept = Path(mlflow.artifacts.download_artifacts(model.source))
    here = workspace.bundles / late.version.bundle_sha256
    for file in here.iterdir():
        (copy,) = kept.rglob(file.name)
        assert copy.read_bytes() == file.read_bytes()
    assert not [file for file in kept.rglob("*") if file.suffix in {".pkl", ".pickle"}]


def test_a_run_shows_its_parameters_and_figures(tracking, late):
    client = mlflow.MlflowClient()
    version = client.get_model_version("late-payment", late.version.number)
    run = client.get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["seed"] == str(QUICK.seed)
    assert run.data.params["ledger_id"] == "L1"
    assert run.data.metrics["auc_15d"] == pytest.approx(late.measured[2].auc.value)
    assert all(math.isfinite(value) for value in run.data.metrics.values())


@pytest.mark.pictures
def test_a_run_holds_what_a_reviewer_asks_for(books, workspace, tracking):
    plan = replace(PLAN, walks=2, trials=2, owner="Ada <risk>")
    settings = replace(QUICK, most_rounds=8)
    trained = train_late(books, workspace.bundles, tracking, plan=replace(plan, settings=settings))
    client = mlflow.MlflowClient()
    version = client.get_model_version("late-payment", trained.version.number)
    run = client.get_run(version.run_id)
    kept = Path(mlflow.artifacts.download_artifacts(run_id=version.run_id))
    pictures = {file.stem for file in (kept / "plots").iterdir()}
    assert pictures >= {"reliability", "gains", "shap_beeswarm", "walk_forward"}
    card = (kept / "model_card.html").read_text("utf-8")
    assert trained.version.bundle_sha256 in card
    assert "Ada &lt;risk&gt;" in card
    measured = json.loads((kept / "evaluation.json").read_text("utf-8"))
    assert {step["cutoff"] for step in measured["walk_forward"]} >= {"all"}
    assert len({step["cutoff"] for step in measured["walk_forward"]}) == 3
    assert sum(grade["rows"] for grade in measured["grades"]) > 0
    assert set(measured["segments"]) >= {"size", "sector", "tenure", "person"}
    trials = client.search_runs(
        [run.info.experiment_id], f"tags.mlflow.parentRunId = '{run.data.tags['search_run_id']}'"
    )
    assert len(trials) == 2
    assert run.data.metrics["scorecard_auc_0d"] > 0.5
    assert not (workspace.bundles / trained.version.bundle_sha256 / "model_card.html").exists()


def test_training_again_gives_the_same_bundle_and_another_version(books, workspace, tracking, late):
    again = train_late(
        books, workspace.bundles, tracking, plan=replace(PLAN, settings=replace(QUICK, threads=2))
    )
    assert again.version.bundle_sha256 == late.version.bundle_sha256
    assert int(again.version.number) == int(late.version.number) + 1
    assert tracking.find("late", CHALLENGER) == again.version
    assert len(list(workspace.bundles.iterdir())) == 1


def test_another_ledger_has_another_bundle_though_the_curve_is_the_same(
    books, workspace, tracking, late
):
    other = train_late(
        replace(books, id="L2"), workspace.bundles, tracking, plan=PLAN
    ).version.bundle_sha256
    assert other != late.version.bundle_sha256
    first, second = (
        workspace.bundles / sha256 / "booster.txt" for sha256 in (other, late.version.bundle_sha256)
    )
    assert first.read_bytes() == second.read_bytes()


def test_the_rows_a_curve_is_measured_on_lie_from_its_cutoff_on(
    books, workspace, tracking, monkeypatch
):
    asked = []

    def noted(curve, dataset, cutoff, end, kinds, **how):
        asked.append((cutoff, end))
        return evaluate(curve, dataset, cutoff, end, kinds, **how)

    monkeypatch.setattr(train, "evaluate", noted)
    trained = train_late(books, workspace.bundles, tracking, CUTOFF, PLAN)
    assert asked == [(trained.fit.cutoff, END)] == [(CUTOFF, END)]
    assert trained.measured[0].rows > 100


def test_what_the_card_says_of_the_past_stays_when_the_future_changes(
    facts, books, workspace, tracking
):
    told = train_late(books, workspace.bundles, tracking, CUTOFF, PLAN)
    then = books_of(known_before(facts, CUTOFF), CUTOFF)
    blind = train_late(then, workspace.bundles, tracking, CUTOFF, PLAN)
    assert blind.measured == []  # nobody knows yet
    first, second = (
        bundles.read(workspace.bundles, one.version.bundle_sha256) for one in (told, blind)
    )
    assert first.reference == second.reference
    said_later = {"metrics", "measured_until"}
    assert {k: v for k, v in first.card.items() if k not in said_later} == {
        k: v for k, v in second.card.items() if k not in said_later
    }


def test_where_nothing_ever_happened_the_auc_is_left_blank(books, workspace, tracking, monkeypatch):
    def never(curve, dataset, *where, **how):
        punctual = replace(
            dataset,
            outcomes=lambda rows, terms, cutoff: dataset.outcomes(rows, terms, cutoff)._replace(
                happened=np.zeros(rows.size, bool)
            ),
        )
        return evaluate(curve, punctual, *where, **how)

    monkeypatch.setattr(train, "evaluate", never)
    trained = train_late(books, workspace.bundles, tracking, plan=PLAN)
    metrics = bundles.read(workspace.bundles, trained.version.bundle_sha256).card["metrics"]
    assert metrics[0]["auc"] == {"value": None, "low": None, "high": None}
    assert metrics[0]["events"] == 0
    client = mlflow.MlflowClient()
    run = client.get_run(client.get_model_version("late-payment", "1").run_id)
    assert "auc_0d" not in run.data.metrics
    assert run.data.metrics["brier_0d"] >= 0


# ------------------------------------------------------------------------------------- poor ledgers


@pytest.fixture
def known(request) -> Facts:
    """Read the facts of the docstring's ledger."""
    return history.facts_of(ledger_of(read_tables(request.function.__doc__)))


def test_a_ledger_with_too_little_history_is_refused_with_its_count(known, workspace, tracking):
    """
    due_on     | settled_on | amount
    2024-03-01 | 2024-03-11 | 100
    2024-04-15 | 2024-04-15 | 300
    """
    poor = books_of(known, day("2025-01-01"))
    said = r"late curve: 2 rows before the cut-off 2024-08-04, at least 1,000 are needed"
    with pytest.raises(LedgerError, match=said):
        train_late(poor, workspace.bundles, tracking)
    assert not workspace.bundles.exists()
    assert tracking.find("late", CHALLENGER) is None


def test_a_ledger_without_any_invoice_is_refused(known, workspace, tracking):
    """
    event_id | kind        | opened_on
    J1       | liquidation | 2024-02-12
    """
    empty = books_of(known, day("2025-01-01"))
    with pytest.raises(LedgerError, match="late curve: 0 rows before the cut-off"):
        train_late(empty, workspace.bundles, tracking)
    assert isinstance(train_default(empty, workspace.bundles, tracking), Abstained)


def test_a_ledger_of_many_invoices_and_little_time_is_refused(facts, past, workspace, tracking):
    first = int(past.invoices.issued_on.min())
    books = books_of(facts, first + 60)
    with pytest.raises(LedgerError, match="late curve"):
        train_late(books, workspace.bundles, tracking, first + 30)
    assert not workspace.bundles.exists()


@pytest.mark.parametrize("fit", [train_late, train_default])
def test_a_cutoff_after_the_end_of_the_ledger_is_refused(books, workspace, tracking, fit):
    said = "the cut-off 2026-01-02 lies after the ledger's end 2026-01-01"
    with pytest.raises(LedgerError, match=said):
        fit(books, workspace.bundles, tracking, END + 1)


def test_the_default_curve_abstains_below_fifty_matured_defaults(books, workspace, tracking):
    answer = abstain(books, workspace, tracking)
    assert answer.question == "default"
    why = tracking.abstention("default")
    assert why["events"] < why["floor"] == 50
    assert why["reason"] == answer.reason
    assert answer.reason == (
        f"{why['events']} matured defaults before the cut-off 2024-12-01, at least 50 are needed"
    )
    assert tracking.find("default", CHALLENGER) is None
    assert not workspace.bundles.exists()


def test_defaults_that_came_after_the_cutoff_teach_nothing(books, workspace, tracking, monkeypatch):
    early, late_on = CUTOFF - 300, CUTOFF
    counted = []
    for cutoff in (early, late_on):
        train_default(books, workspace.bundles, tracking, cutoff, PLAN)
        counted.append(tracking.abstention("default")["events"])
    assert counted[0] < counted[1]


def test_nothing_lands_in_the_folder_the_command_was_run_in(
    books, workspace, tracking, tmp_path, monkeypatch
):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    train_late(books, workspace.bundles, tracking, plan=PLAN)
    abstain(books, workspace, tracking)
    assert list(elsewhere.iterdir()) == []
    assert (workspace.home / "mlartifacts").is_dir()
