"""Where everything stands: one folder, ``var/demo`` unless ``ENCOURS_HOME`` says otherwise.

Facts and record may stand elsewhere: in the PostgreSQL databases of ``ENCOURS_DATABASE_URL`` and
``ENCOURS_RECORD_URL``, which may be one.
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
    recorded_url : str, optional
        PostgreSQL database of the record; by default it is a SQLite file of the folder.
    witness_folder : Path, optional
        Where the record's checkpoints are copied; by default a folder of the home.
    """

    home: Path
    database_url: str | None = field(default=None, repr=False)  # it may hold a password
    recorded_url: str | None = field(default=None, repr=False)
    witness_folder: Path | None = None

    @classmethod
    def from_environment(cls) -> Workspace:
        """Read ``ENCOURS_HOME``, ``…_DATABASE_URL``, ``…_RECORD_URL`` and ``…_WITNESS``."""
        home = Path(os.environ.get("ENCOURS_HOME", "var/demo"))
        database, record, witness = (
            os.environ.get(f"ENCOURS_{what}") or None
            for what in ("DATABASE_URL", "RECORD_URL", "WITNESS")
        )
        return cls(home, database, record, Path(witness) if witness else None)

    @property
    def facts(self) -> Path:
        """The facts, when they are a SQLite file."""
        return self.home / "facts.db"

    @property
    def facts_url(self) -> str:
        """The facts, as a URL with its driver; ``postgres://`` and ``postgresql://`` will do."""
        if self.database_url is None:
            return sqlite_url(self.facts)
        return _with_driver(self.database_url)

    def has_facts(self) -> bool:
        """Tell whether there is anything to open: opening a SQLite file would make it.

        A database may still hold no ledger; the store says so.
        """
        return self.database_url is not None or self.facts.exists()

    @property
    def record_url(self) -> str:
        """The record of assessments, by default a SQLite file of its own."""
        if self.recorded_url is None:
            return sqlite_url(self.home / "record.db")
        return _with_driver(self.recorded_url)

    def has_record(self) -> bool:
        """Tell whether anything was recorded yet: opening a SQLite file would make it."""
        return self.recorded_url is not None or (self.home / "record.db").exists()

    @property
    def person_keys_url(self) -> str:
        """The keys of natural persons: beside the record, and to be left out of its backups."""
        if self.recorded_url is None:
            return sqlite_url(self.home / "person-keys.db")
        return _with_driver(self.recorded_url)

    @property
    def workers(self) -> Path:
        """What the workers of a service have in hand; nothing that outlives them."""
        return self.home / "workers"

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
    def insurance(self) -> Path:
        """The insurer's policies that answers followed, each under its hash, never deleted."""
        return self.home / "insurance"

    @property
    def champions(self) -> Path:
        """The pointer file: what speaks now."""
        return self.home / "champions.json"

    @property
    def rejects(self) -> Path:
        """Rows that imports put aside, one CSV file an import."""
        return self.home / "rejects"


def _with_driver(url: str) -> str:
    return re.sub("^postgres(ql)?://", "postgresql+psycopg://", url)
