"""One small simulated seller, trained and promoted once; whoever writes gets a copy."""

import os

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # before any import of MLflow
os.environ["MLFLOW_LOGGING_LEVEL"] = "WARNING"
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.pop("COLUMNS", None)  # of a terminal: readline leaves it to pytest-xdist's workers
os.environ.pop("LINES", None)

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import hypothesis
import pysqlite3
import pytest
import structlog

from features.history import build
from features.importers.tabular import load_mapping, read
from features.simulator import Simulation, simulate, write
from features.store import Source, Store
from models.workspace import Workspace
from training.fit import Settings
from training.promote import promote
from training.tracking import Tracking
from training.train import Books, Plan, Trained, train_default, train_late

hypothesis.settings.register_profile(  # machines are slow at times
    "encours", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("encours")
ROOT = Path(__file__).parents[1]
POLICY = ROOT / "models" / "policy.yaml"
LEDGER_ENDS_ON = date(2025, 6, 30)
NOW = datetime(2025, 7, 2, 9, 14, 7, tzinfo=UTC)  # all of the ledger is recorded by then


@pytest.fixture(scope="session")
def simulated(tmp_path_factory) -> Path:
    """Write a folder of Parquet files: five years of about 400 customers and 10,000 invoices."""
    folder = tmp_path_factory.mktemp("simulated")
    how = Simulation(
        invoices=10_000, years=5, ends_on=LEDGER_ENDS_ON, seed=3, invoices_per_customer=25
    )
    write(simulate(how).tables, folder)
    return folder


@pytest.fixture(scope="session")
def trained(simulated, tmp_path_factory) -> Workspace:
    """Train on that ledger and put both curves and the policy in force. Read it only."""
    workspace = Workspace(tmp_path_factory.mktemp("trained"))
    imported = read(simulated, load_mapping(ROOT / "mappings" / "encours.yaml"))
    store = Store(workspace.facts_url, "EUR")
    store.append(imported.ledger, Source(imported.sources))
    with pysqlite3.connect(workspace.facts) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # copies take the one file
    ledger = store.ledger
    history = build(store.read(versions=True), ledger.observed_from)
    books = Books(ledger.id, store.data_sha256(), history, store.last_day() + 1)
    quick = Plan(Settings(most_rounds=25, pairs_per_row=2), walks=0, resamples=5)
    tracking = Tracking(workspace.mlflow_url, workspace.mlflow_artifacts)
    for train in (train_late, train_default):
        assert isinstance(train(books, workspace.bundles, tracking, plan=quick), Trained)
    promote(tracking, workspace, POLICY)
    return workspace


@pytest.fixture(autouse=True)
def _logs_as_by_default() -> Iterator[None]:
    """Forget how a command that ran in this process wanted its logs."""
    yield
    if structlog.is_configured():
        structlog.reset_defaults()


@pytest.fixture
def seller(trained, tmp_path) -> Workspace:
    """Copy the trained workspace, bundles included, to write to it."""
    workspace = Workspace(tmp_path / "seller")
    workspace.home.mkdir()
    for file in (trained.facts, trained.champions):
        shutil.copy(file, workspace.home)
    for folder in (trained.bundles, trained.policies):
        shutil.copytree(folder, workspace.home / folder.name)
    return workspace


@pytest.fixture
def blank(trained, tmp_path) -> Workspace:
    """Make a ledger without facts that the trained curves take for the one they know."""
    workspace = Workspace(tmp_path / "blank")
    Store(workspace.facts_url, "EUR")
    known = Store(trained.facts_url).ledger
    with pysqlite3.connect(workspace.facts) as connection:
        identity = (known.id, known.observed_from)
        connection.execute("UPDATE ledger SET id = ?, observed_from = ?", identity)
    shutil.copy(trained.champions, workspace.home)
    for folder in (trained.bundles, trained.policies):
        (workspace.home / folder.name).symlink_to(folder)
    return workspace


@pytest.fixture(scope="session")
def clock() -> Callable[[], datetime]:
    """Give a clock that stands at 2025-07-02 09:14:07 UTC."""
    return lambda: NOW
