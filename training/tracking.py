"""The one place that talks to MLflow: runs, registered models and their aliases.

A bundle is registered as plain files, never as a pickled model: the registry names versions, the
bundle's hash is the model's identity. One run a fit; a search of parameters is one run with a child
for each trial.
"""

from __future__ import annotations

import json
import math
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # before the import: it reads it once

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.entities.model_registry import RegisteredModel
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS, MLFLOW_PARENT_RUN_ID

REGISTERED = {"late": "late-payment", "default": "default"}
BUNDLE_TAG, ABSTAINED_TAG = "bundle_sha256", "abstained"
CHAMPION, CHALLENGER = "champion", "challenger"
LIBRARIES = ("lightgbm", "numpy", "scikit-learn", "scipy", "shap", "optuna", "mlflow")
ENDED = {"complete": "FINISHED", "pruned": "KILLED"}  # a trial's state → its run's; else FAILED
NOT_A_CHECKOUT = "not a checkout"
Table = Mapping[str, list[Any]]  # column → values
NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Version:
    """A registered version of a curve."""

    question: str
    number: str
    bundle_sha256: str


class Trial(NamedTuple):
    """One try of a search of parameters.

    Attributes
    ----------
    parameters : mapping
        What was tried.
    value : float
        What it reached, lower is better; NaN where it failed.
    state : str
        Optuna's word: ``complete``, ``pruned`` (given up as hopeless) or ``fail``.
    """

    parameters: Mapping[str, Any]
    value: float
    state: str


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
        files: Mapping[str, str | bytes],
        *,
        tables: Mapping[str, Table] = NONE,
        tags: Mapping[str, str] = NONE,
        description: str = "",
    ) -> Version:
        """Log one fit and register its bundle as the challenger.

        Parameters
        ----------
        question : str
            ``late`` or ``default``.
        parameters, metrics : mapping
            As shown in MLflow; figures that are not finite are left out.
        bundle : Path
            Folder of the bundle, named after its hash.
        files : mapping
            To keep with the run, by name, folders with ``/``: text, or a picture's bytes.
        tables : mapping, optional
            By name, without an extension: each opens as a table in MLflow.
        tags : mapping, optional
            Such as ``search_run_id``; those of :func:`environment` come by themselves.
        description : str, optional
            Of the registered version, Markdown.

        Returns
        -------
        Version
        """
        client = self._client
        run_id = self._begin(question, {**environment(), **tags})
        self._log(run_id, parameters, metrics)
        self._keep(run_id, {**files, **{f"{k}.json": _as_table(v) for k, v in tables.items()}})
        shown = [{"path": f"{name}.json", "type": "table"} for name in tables]
        client.set_tag(run_id, MLFLOW_LOGGED_ARTIFACTS, json.dumps(shown))
        model = client.create_logged_model(self._experiment(), name=question, source_run_id=run_id)
        client.log_model_artifacts(model.model_id, str(bundle))
        client.finalize_logged_model(model.model_id, "READY")
        name = self._registered(question)
        version = client.create_model_version(
            name,
            source=f"models:/{model.model_id}",
            run_id=run_id,
            model_id=model.model_id,
            tags={BUNDLE_TAG: bundle.name},
            description=description or None,
        )
        client.set_terminated(run_id)
        registered = Version(question, str(version.version), bundle.name)
        self.alias(registered, CHALLENGER)
        if self.abstention(question) is not None:
            client.delete_registered_model_tag(name, ABSTAINED_TAG)
        return registered

    def search(self, question: str, trials: Iterable[Trial], measure: str = "log_loss") -> str:
        """Log a search of parameters: one run, with a child run for each trial.

        Parameters
        ----------
        question : str
            ``late`` or ``default``.
        trials : iterable of Trial
            In the order they were tried; `measure` names their value.

        Returns
        -------
        str
            The run's id: the tag ``search_run_id`` of the fit that uses what was found.
        """
        tried = list(trials)
        tags = {**environment(), "trials": str(len(tried))}
        parent = self._begin(f"{question} search", tags)
        for number, trial in enumerate(tried):
            child = self._begin(
                f"{question} trial {number}", {MLFLOW_PARENT_RUN_ID: parent, "state": trial.state}
            )
            self._log(child, trial.parameters, {measure: trial.value})
            self._client.set_terminated(child, ENDED.get(trial.state, "FAILED"))
        completed = [trial for trial in tried if trial.state == "complete"]
        if completed:
            best = min(completed, key=lambda trial: trial.value)
            self._log(parent, best.parameters, {measure: best.value})
        self._client.set_terminated(parent)
        return parent

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

    def tag(self, version: Version, tags: Mapping[str, str]) -> None:
        """Note something about a version."""
        for key, value in tags.items():
            name = REGISTERED[version.question]
            self._client.set_model_version_tag(name, version.number, key, value)

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

    def version_of(self, question: str, bundle_sha256: str) -> Version | None:
        """Return the latest version that registered a bundle, if any."""
        found = self._client.search_model_versions(f"name = '{REGISTERED[question]}'")
        numbers = [int(one.version) for one in found if one.tags.get(BUNDLE_TAG) == bundle_sha256]
        return Version(question, str(max(numbers)), bundle_sha256) if numbers else None

    def _begin(self, name: str, tags: Mapping[str, str]) -> str:
        run = self._client.create_run(self._experiment(), tags=dict(tags), run_name=name)
        return str(run.info.run_id)

    def _log(
        self, run_id: str, parameters: Mapping[str, Any], metrics: Mapping[str, float]
    ) -> None:
        now = self._client.get_run(run_id).info.start_time
        self._client.log_batch(
            run_id,
            metrics=[Metric(k, v, now, 0) for k, v in metrics.items() if math.isfinite(v)],
            params=[Param(name, str(value)) for name, value in parameters.items()],
        )

    def _keep(self, run_id: str, files: Mapping[str, str | bytes]) -> None:
        if not files:
            return
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.encode() if isinstance(content, str) else content)
            self._client.log_artifacts(run_id, folder)

    def _experiment(self) -> str:
        found = self._client.get_experiment_by_name("encours")
        if found is not None:
            return str(found.experiment_id)
        location = self._artifacts.resolve().as_uri()
        tags = {"mlflow.experimentKind": "custom_model_development"}  # its pages open on runs
        return str(self._client.create_experiment("encours", location, tags))

    def _registered(self, question: str) -> str:
        name = REGISTERED[question]
        if self._model(question) is None:
            self._client.create_registered_model(name)
        return name

    def _model(self, question: str) -> RegisteredModel | None:
        found = self._client.search_registered_models(f"name = '{REGISTERED[question]}'")
        return found[0] if found else None


def _as_table(table: Table) -> str:
    """Write a table as MLflow reads one; its own ``log_table`` warns on pandas 3."""
    rows = list(zip(*table.values(), strict=True))
    return json.dumps({"columns": list(table), "data": rows}, indent=1)


def environment() -> dict[str, str]:
    """Say what ran: Python, platform, libraries and the project's commit, as a run's tags."""
    libraries = {f"library.{name}": installed(name) for name in LIBRARIES}
    return {
        "git_commit": git_commit(Path(__file__).parents[1]),
        "code": installed("encours"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        **libraries,
    }


def git_commit(project: Path) -> str:
    """Name the commit of a checkout, and whether files differ from it.

    Returns
    -------
    str
        The commit, followed by ``with local changes`` where there are some, or ``not a checkout``:
        the project may be installed without git, or inside somebody else's repository.
    """
    git = shutil.which("git")
    if git is None:
        return NOT_A_CHECKOUT

    def said(*question: str) -> str | None:
        command = [git, "-C", str(project), *question]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        return answer.stdout.strip() if answer.returncode == 0 else None

    top, commit = said("rev-parse", "--show-toplevel"), said("rev-parse", "HEAD")
    if top is None or commit is None or Path(top) != project.resolve():
        return NOT_A_CHECKOUT
    return f"{commit} with local changes" if said("status", "--porcelain") else commit
