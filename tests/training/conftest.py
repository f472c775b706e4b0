"""One simulated ledger, laid out once, for everything that trains."""

import numpy as np
import pytest

from features import history
from features.history import Facts, History
from features.ledger import check
from features.simulator import Simulation, simulate
from models.targets import DEFAULT_DEFINITIONS
from tests.features.ledgers import day
from training.dataset import Dataset, default_dataset, late_dataset
from training.fit import Settings
from training.train import Plan

END = day("2026-01-01")  # the simulated ledger's last day is 2025-12-31
CUTOFF = day("2025-03-04")  # a Tuesday
QUICK = Settings(most_rounds=25, pairs_per_row=3, threads=1)
PLAN = Plan(QUICK, walks=0, resamples=5)


@pytest.fixture(scope="session")
def facts() -> Facts:
    ledger, _ = check(simulate(Simulation(invoices=8_000, years=4, seed=3)).tables, "EUR")
    return history.facts_of(ledger)


@pytest.fixture(scope="session")
def past(facts) -> History:
    return history.build(facts)


def dataset_of(question: str, known: History) -> Dataset:
    if question == "late":
        return late_dataset(known)
    return default_dataset(known, DEFAULT_DEFINITIONS["bureau"], END)


@pytest.fixture(scope="session")
def datasets(past) -> dict[str, Dataset]:
    return {question: dataset_of(question, past) for question in ("late", "default")}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
