"""The project as a whole: what it is made of, what it stands on, what it may not name."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PACKAGES = ("commands", "features", "models", "serving", "training")
LOCKS = ("requirements.lock", "requirements-dev.lock")
TARGETS = ("run", "test", "check", "lint", "types", "bench", "chaos", "bento", "docs", "clean")
FLOORS = {  # the versions that mended holes we would be open to
    "starlette": "1.3.1",
    "bentoml": "1.4.39",
    "mlflow": "3.17",
    "aiohttp": "3.14.4",
    "python-multipart": "0.0.32",
}
ADDRESSES = re.compile(
    r"index[-_]url|find-links|trusted-host|/simp[l]e/?\b|files\.pythonhosted|"
    r"/wor[k]/|/hom[e]/\w|/roo[t]/|/User[s]/|[A-Z]:\\Users"
)
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def locked(name: str) -> dict[str, Version]:
    """Read the versions of a lock by canonical name."""
    pins = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE)
    return {canonicalize_name(package): Version(version) for package, version in pins}


def python(script: str) -> list[str]:
    """Run a script in a fresh Python, in the repository; return the words of its last line."""
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return ran.stdout.splitlines()[-1].split()


def files_in_git() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


# Packages.


@pytest.mark.parametrize("package", [*PACKAGES, "encours"])
def test_each_package_is_this_repositorys(package):
    assert Path(find_spec(package).origin).is_relative_to(ROOT)
    origin = python(f"import {package}; print({package}.__file__)")[0]
    assert Path(origin).is_relative_to(ROOT)


def test_every_package_is_in_the_wheel():
    wheel = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert sorted(wheel["packages"]) == sorted(PACKAGES)
    assert wheel["include"] == ["encours.py"]
    assert sorted(PYPROJECT["tool"]["importlinter"]["root_packages"]) == sorted(PACKAGES)


def test_serving_loads_neither_training_nor_its_tools():
    script = "import sys, serving.assess, serving.audit, serving.api; print(*sys.modules)"
    loaded = {module.partition(".")[0] for module in python(script)}
    assert "serving" in loaded
    assert loaded.isdisjoint({"training", "mlflow", "shap", "dill", "skops"})


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_of_ours_reads_pickles_or_runs_text(package):
    forbidden = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "skops"}
    for file in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names = [alias.name for alias in getattr(node, "names", []) if hasattr(alias, "name")]
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            imported = {name.partition(".")[0] for name in names}
            assert imported.isdisjoint(forbidden), f"{file}:{node.lineno}"
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                unsafe = {"eval", "exec", "yaml.load", "yaml.unsafe_load", "pd.read_pickle"}
                assert called not in unsafe, f"{file}:{node.lineno}"
                pickles = [k for k in node.keywords if k.arg == "allow_pickle"]
                assert not pickles, f"{file}:{node.lineno}"


# What is in git.


def test_no_file_names_an_index_or_a_path_of_one_machine():
    files = files_in_git()
    assert ROOT / "pyproject.toml" in files
    for file in files:
        text = file.read_text("utf-8", errors="replace")
        found = ADDRESSES.search(text) if file != Path(__file__) else None
        assert found is None, f"{file.relative_to(ROOT)} names {found}"


def test_nothing_large_or_built_is_in_git():
    for file in files_in_git():
        assert file.stat().st_size < 1_000_000, file
        assert file.suffix not in {".db", ".parquet", ".pyc", ".so", ".whl", ".pkl"}, file


# What it stands on.


@pytest.mark.parametrize("name", LOCKS)
def test_each_package_of_a_lock_is_pinned_by_hash(name):
    text = (ROOT / name).read_text()
    entries = re.split(r"^(?=[\w.-]+(?:\[\S+\])?==)", text, flags=re.MULTILINE)[1:]
    assert len(entries) == len(locked(name)) > 50
    for entry in entries:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry), entry.split()[0]
    requirements = [line for line in text.splitlines() if re.match(r"\S", line)]
    assert all(re.match(r"[\w.-]+(\[\S+\])?==\S+|#", line) for line in requirements)


def test_the_service_runs_on_versions_that_the_tests_run_on():
    runtime, dev = (locked(name) for name in LOCKS)
    assert runtime.items() <= dev.items()
    assert dev.keys() > runtime.keys()


def test_every_declared_dependency_is_locked_at_a_version_it_allows():
    groups = PYPROJECT["dependency-groups"]
    runtime = PYPROJECT["project"]["dependencies"] + groups["build"]
    for name, declared in ((LOCKS[0], runtime), (LOCKS[1], runtime + groups["dev"])):
        versions = locked(name)
        for line in declared:
            needed = Requirement(line)
            version = versions[canonicalize_name(needed.name)]
            assert needed.specifier.contains(version, prereleases=True), f"{needed} in {name}"


def test_what_is_installed_is_what_is_locked():
    from importlib.metadata import version

    versions = locked(LOCKS[0])
    for name in ("lightgbm", "numpy", "pydantic", "sqlalchemy", "starlette", "bentoml"):
        assert Version(version(name)) == versions[name]


@pytest.mark.parametrize("name", LOCKS)
@pytest.mark.parametrize("package", FLOORS)
def test_known_holes_are_mended_in_the_locked_versions(name, package):
    assert locked(name)[package] >= Version(FLOORS[package])


def test_test_tools_are_not_in_the_runtime_lock():
    assert locked(LOCKS[0]).keys().isdisjoint({"pytest", "hypothesis", "mypy", "ruff"})


# Make.


def test_plain_make_lists_the_targets():
    said = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    listed = {line.split()[0]: line for line in said.splitlines() if line.strip()}
    assert set(TARGETS) <= set(listed)
    assert all(len(listed[target].split()) > 2 for target in TARGETS)  # with what it does


@pytest.mark.parametrize("target", TARGETS)
def test_each_target_exists(target):
    question = ["make", "--dry-run", "--always-make", target, "VENV=.venv-of-nobody"]
    assert subprocess.run(question, cwd=ROOT, capture_output=True, check=False).returncode == 0
