"""Where everything stands: one folder, ``var/demo`` unless ``ENCOURS_HOME`` says otherwise."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from features.store import sqlite_url


@dataclass(frozen=True)
class Workspace:
    """The files of one installation.

    Parameters
    ----------
    home : Path
        The folder; made when something is first written.
    """

    home: Path

    @classmethod
    def from_environment(cls) -> Workspace:
        """Read ``ENCOURS_HOME``."""
        return cls(Path(os.environ.get("ENCOURS_HOME", "var/demo")))

    @property
    def facts(self) -> Path:
        """The facts, a SQLite file."""
        return self.home / "facts.db"

    @property
    def facts_url(self) -> str:
        """The facts, as a URL."""
        return sqlite_url(self.facts)

    @property
    def record_url(self) -> str:
        """The record of assessments, a SQLite file of its own."""
        return sqlite_url(self.home / "record.db")

    @property
    def mlflow_url(self) -> str:
        """MLflow's tracking and registry, a SQLite file of its own."""
        return sqlite_url(self.home / "mlflow.db")

    @property
    def mlflow_artifacts(self) -> Path:
        """Artefacts of MLflow's runs and models."""
        return self.home / "mlartifacts"

    @property
    def bundles(self) -> Path:
        """Bundles, each under its hash, never deleted."""
        return self.home / "bundles"

    @property
    def policies(self) -> Path:
        """Policy files, each under its hash, never deleted."""
        return self.home / "policies"

    @property
    def champions(self) -> Path:
        """The pointer file: what speaks now."""
        return self.home / "champions.json"

    @property
    def rejects(self) -> Path:
        """Rows that imports put aside, one CSV file an import."""
        return self.home / "rejects"
