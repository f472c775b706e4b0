"""Where everything stands: one folder, ``var/demo`` unless ``ENCOURS_HOME`` says otherwise.

The facts alone may stand elsewhere: in the PostgreSQL database of ``ENCOURS_DATABASE_URL``.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from features.store import sqlite_url


@dataclass(frozen=True)
class Workspace:
    """The files of one installation.

    Parameters
    ----------
    home : Path
        The folder; made when something is first written.
    database_url : str, optional
        PostgreSQL database of the facts; by default they are a SQLite file of the folder.
    witness_folder : Path, optional
        Where the record's checkpoints are copied; by default a folder of the home.
    """

    home: Path
    database_url: str | None = field(default=None, repr=False)  # it may hold a password
    witness_folder: Path | None = None

    @classmethod
    def from_environment(cls) -> Workspace:
        """Read ``ENCOURS_HOME``, ``ENCOURS_DATABASE_URL`` and ``ENCOURS_WITNESS``."""
        home = Path(os.environ.get("ENCOURS_HOME", "var/demo"))
        witness = os.environ.get("ENCOURS_WITNESS")
        database = os.environ.get("ENCOURS_DATABASE_URL") or None
        return cls(home, database, Path(witness) if witness else None)

    @property
    def facts(self) -> Path:
        """The facts, when they are a SQLite file."""
        return self.home / "facts.db"

    @property
    def facts_url(self) -> str:
        """The facts, as a URL with its driver; ``postgres://`` and ``postgresql://`` will do."""
        if self.database_url is None:
            return sqlite_url(self.facts)
        return re.sub("^postgres(ql)?://", "postgresql+psycopg://", self.database_url)

    def has_facts(self) -> bool:
        """Tell whether there is anything to open: opening a SQLite file would make it.

        A database may still hold no ledger; the store says so.
        """
        return self.database_url is not None or self.facts.exists()

    @property
    def record_url(self) -> str:
        """The record of assessments, a SQLite file of its own."""
        return sqlite_url(self.home / "record.db")

    @property
    def witness(self) -> Path:
        """Copies of the record's checkpoints, to be kept where nobody here changes them."""
        return self.witness_folder or self.home / "witness"

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
