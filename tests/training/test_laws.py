"""A training repeats itself to the last byte, whatever the number of threads."""

from unittest.mock import create_autospec

import pytest

from features.history import build
from features.store import Store
from models.bundle import Champions
from training.fit import Settings
from training.tracking import Tracking, Version
from training.train import Books, Plan, train_default, train_late


@pytest.fixture(scope="module")
def books(trained) -> Books:
    """Read the ledger that the champions were trained on, again."""
    store = Store(trained.facts_url)
    ledger = store.ledger
    history = build(store.read(versions=True), ledger.observed_from)
    return Books(ledger.id, store.data_sha256(), history, store.last_day() + 1)


@pytest.mark.parametrize("train", [train_late, train_default])
def test_at_another_number_of_threads_training_gives_the_same_bundle(
    trained, books, tmp_path, train
):
    """The champions were trained at two threads; MLflow, which keeps what it is given, is left out.

    The bundle holds booster, calibration, reference and the measures: all of them must agree.
    """
    tracking = create_autospec(Tracking, instance=True)
    tracking.find.return_value = None
    tracking.record.side_effect = lambda question, parameters, metrics, bundle, files, **_: Version(
        question, "1", bundle.name
    )
    one_thread = Plan(Settings(most_rounds=25, pairs_per_row=2, threads=1), walks=0, resamples=5)
    version = train(books, tmp_path, tracking, plan=one_thread).version
    assert version.bundle_sha256 == getattr(Champions.load(trained.champions), version.question)
