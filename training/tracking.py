"""The one place that talks to MLflow: runs, registered models and their aliases.

A bundle is registered as plain files, never as a pickled model: the registry names versions, the
bundle's hash is the model's identity.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # before the import: it reads it once

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.entities.model_registry import RegisteredModel

REGISTERED = {"late": "late-payment", "default": "default"}
BUNDLE_TAG, ABSTAINED_TAG = "bundle_sha256", "abstained"
CHAMPION, CHALLENGER = "champion", "challenger"


@dataclass(frozen=True)
class Version:
    """A registered version of a curve."""

    question: str
    number: str
    bundle_sha256: str


class Tracking:
    """MLflow on one SQLite file, with artefacts in a folder beside it.

    Parameters
    ----------
    uri : str
        Tracking and registry URI, ``sqlite:///var/mlflow.db``.
    artifacts : Path
        Folder of the artefacts.
    """

    def __init__(self, uri: str, artifacts: Path) -> None:
        mlflow.set_tracking_uri(uri)  # registering looks the model up through the global setting
        mlflow.set_registry_uri(uri)
        self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        self._artifacts = artifacts

    def record(
        self,
        question: str,
        parameters: Mapping[str, Any],
        metrics: Mapping[str, float],
        bundle: Path,
        files: Mapping[str, str],
    ) -> Version:
        """Log one fit and register its bundle as the challenger.

        Parameters
        ----------
        question : str
            ``late`` or ``default``.
        parameters, metrics : mapping
            As shown in MLflow.
        bundle : Path
            Folder of the bundle, named after its hash.
        files : mapping
            Text files to keep with the run, by name.

        Returns
        -------
        Version
        """
        client = self._client
        run = client.create_run(self._experiment(), run_name=question)
        run_id = run.info.run_id
        now = run.info.start_time
        client.log_batch(
            run_id,
            metrics=[Metric(name, value, now, 0) for name, value in metrics.items()],
            params=[Param(name, str(value)) for name, value in parameters.items()],
        )
        for name, text in files.items():
            client.log_text(run_id, text, name)
        model = client.create_logged_model(
            run.info.experiment_id, name=question, source_run_id=run_id
        )
        client.log_model_artifacts(model.model_id, str(bundle))
        client.finalize_logged_model(model.model_id, "READY")
        name = self._registered(question)
        version = client.create_model_version(
            name,
            source=f"models:/{model.model_id}",
            run_id=run_id,
            model_id=model.model_id,
            tags={BUNDLE_TAG: bundle.name},
        )
        client.set_terminated(run_id)
        registered = Version(question, str(version.version), bundle.name)
        self.alias(registered, CHALLENGER)
        if self.abstention(question) is not None:
            client.delete_registered_model_tag(name, ABSTAINED_TAG)
        return registered

    def abstain(self, question: str, why: Mapping[str, Any]) -> None:
        """Note that the ledger cannot teach a curve, and withdraw its challenger."""
        name = self._registered(question)
        self._client.set_registered_model_tag(name, ABSTAINED_TAG, json.dumps(dict(why)))
        self.withdraw(question, CHALLENGER)

    def abstention(self, question: str) -> dict[str, Any] | None:
        """Return why the latest training taught no such curve, or ``None`` when it did."""
        model = self._model(question)
        if model is None or ABSTAINED_TAG not in model.tags:
            return None
        why: dict[str, Any] = json.loads(model.tags[ABSTAINED_TAG])
        return why

    def alias(self, version: Version, alias: str) -> None:
        """Point `alias` at `version`."""
        name = REGISTERED[version.question]
        self._client.set_registered_model_alias(name, alias, version.number)

    def withdraw(self, question: str, alias: str) -> None:
        """Let `alias` point at nothing."""
        if self.find(question, alias) is not None:
            self._client.delete_registered_model_alias(REGISTERED[question], alias)

    def find(self, question: str, alias: str) -> Version | None:
        """Return the version that `alias` points at, if any."""
        model = self._model(question)
        if model is None or alias not in model.aliases:
            return None
        found = self._client.get_model_version(REGISTERED[question], str(model.aliases[alias]))
        return Version(question, str(found.version), found.tags[BUNDLE_TAG])

    def _experiment(self) -> str:
        found = self._client.get_experiment_by_name("encours")
        if found is not None:
            return str(found.experiment_id)
        location = self._artifacts.resolve().as_uri()
        return str(self._client.create_experiment("encours", artifact_location=location))

    def _registered(self, question: str) -> str:
        name = REGISTERED[question]
        if self._model(question) is None:
            self._client.create_registered_model(name)
        return name

    def _model(self, question: str) -> RegisteredModel | None:
        found = self._client.search_registered_models(f"name = '{REGISTERED[question]}'")
        return found[0] if found else None
