"""Short versions of what ``make chaos`` does for longer: the laws of docs/reliability.md."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from fastapi import FastAPI
from packaging.version import Version

from benchmarks.fuzz import Answer, Found, answer_of, check
from benchmarks.hostile import CANARY, Case, Hostile
from serving.api import create_app
from serving.keys import ROLES
from serving.opened import desk_from_environment
from tests.serving.test_api import JSON, KEYS, _Desk, _Stub
from tests.test_project import FLOORS, PACKAGES

ROOT = Path(__file__).parents[2]


# Hostile requests.


def flood(app: FastAPI, requests: int, seed: int) -> Found:
    found = Found()
    bearers = [
        f"Bearer {KEYS.make(role, role, 'tests', calls_a_second=1e5).text}" for role in ROLES
    ]
    known = {"customer_id": ["C-17"]}
    hostile = Hostile(app.openapi(), bearers, known, random.Random(seed))  # noqa: S311

    async def one_after_the_other() -> None:
        for _ in range(requests):
            case = hostile.case()
            check(await answer_of(app, case), case, found)

    asyncio.run(one_after_the_other())
    return found


def test_hostile_requests_get_problems_and_nothing_of_them_comes_back(seller, monkeypatch):
    monkeypatch.setenv("ENCOURS_HOME", str(seller.home))
    monkeypatch.setenv("ENCOURS_TODAY", "2025-07-01")
    found = flood(create_app(desk_from_environment(), KEYS), 600, 7)
    assert found.broken == {}
    assert {400, 401, 403, 404, 405, 413, 415, 422} <= set(found.statuses)


@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        (Answer(500, [(b"content-type", b"text/plain")], bytearray(b"oops")), "undeclared"),
        (Answer(0), "undeclared"),
        (Answer(200, [], bytearray(CANARY.encode())), "echo"),
        (Answer(200, [(b"x-a", CANARY.encode())]), "echo"),
        (Answer(422, [(b"content-type", b"application/json")], bytearray(b"{}")), "shape"),
        (Answer(413, [], bytearray(), 60_000_000), "read"),
    ],
)
def test_an_answer_that_breaks_a_rule_is_found(answer, rule):
    found = Found()
    check(answer, Case("GET", "/", ()), found)
    assert found.count(rule) == 1


def test_of_a_body_of_60_mb_only_the_beginning_is_read():
    app = create_app(_Desk(_Stub()), KEYS)
    headers = tuple((name.lower().encode(), said.encode()) for name, said in JSON.items())
    case = Case("POST", "/v1/assessments", headers, b"[0]," * 16_384, times=960)
    answer = asyncio.run(answer_of(app, case))
    assert answer.status == 413
    assert answer.read <= 3 * 65_536


# What it stands on.


@pytest.mark.parametrize("package", FLOORS)
def test_known_holes_are_mended_in_the_versions_that_run(package):
    assert Version(version(package)) >= Version(FLOORS[package])


LOADED = """
import sys
from _bentoml_impl.loader import load
load("serving.service:Encours").to_asgi()
from serving import worker
worker.application()
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_a_worker_loads_no_tracking_no_training_and_nothing_that_unpickles_models(tmp_path):
    """BentoML itself imports cloudpickle, and LightGBM joblib: nothing of ours calls them."""
    environment = {**os.environ, "ENCOURS_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [sys.executable, "-c", LOADED],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(ran.stdout.splitlines()[-1].split())
    assert {"serving", "bentoml", "lightgbm"} <= loaded
    assert loaded.isdisjoint({"mlflow", "dill", "skops", "training", "optuna", "shap"})


# The bento.


def test_the_bento_has_what_serving_imports_its_lock_and_nothing_else():
    """That it serves is shown by `python -m benchmarks.bento`: building takes its time."""
    bento = yaml.safe_load((ROOT / "bentofile.yaml").read_text("utf-8"))
    assert bento["python"] == {"lock_packages": False, "requirements_txt": "requirements.lock"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    below = {"serving", *layers[layers.index("training | serving") + 1 :]}
    assert below < set(PACKAGES)
    assert set(bento["include"]) == {*(f"/{package}/" for package in below), "/pyproject.toml"}
    assert bento["service"] == "serving.service:Encours"


def test_in_a_bento_the_version_is_that_of_the_project(monkeypatch):
    from importlib.metadata import PackageNotFoundError

    from serving import answering

    def none(_name):
        raise PackageNotFoundError

    monkeypatch.setattr(answering, "installed", none)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert answering._version() == project["version"]
