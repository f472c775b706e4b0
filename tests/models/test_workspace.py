"""Where everything stands."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from features.store import Store
from models.workspace import Workspace


def test_the_home_is_the_demo_unless_the_environment_says_otherwise(monkeypatch, tmp_path):
    for variable in ("ENCOURS_HOME", "ENCOURS_DATABASE_URL"):
        monkeypatch.delenv(variable, raising=False)
    assert Workspace.from_environment() == Workspace(Path("var/demo"))
    monkeypatch.setenv("ENCOURS_HOME", str(tmp_path))
    assert Workspace.from_environment() == Workspace(tmp_path)


def test_everything_stands_below_the_home_each_database_in_a_file_of_its_own(tmp_path):
    workspace = Workspace(tmp_path / "not yet")
    urls = (workspace.facts_url, workspace.record_url, workspace.mlflow_url)
    files = [Path(str(sa.make_url(url).database)) for url in urls]
    folders = [
        workspace.mlflow_artifacts,
        workspace.bundles,
        workspace.policies,
        workspace.champions,
        workspace.rejects,
    ]
    assert files[0] == workspace.facts
    assert len({*files, *folders}) == len(files) + len(folders)
    assert {path.parent for path in (*files, *folders)} == {workspace.home}


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_the_facts_may_stand_in_a_database_by_url(monkeypatch, tmp_path, scheme):
    monkeypatch.setenv("ENCOURS_HOME", str(tmp_path))
    monkeypatch.setenv("ENCOURS_DATABASE_URL", f"{scheme}://risk:s3cret@db/ledger?sslmode=require")
    workspace = Workspace.from_environment()
    expected = "postgresql+psycopg://risk:s3cret@db/ledger?sslmode=require"
    assert workspace.facts_url == expected
    assert workspace.has_facts()
    assert "s3cret" not in repr(workspace)
    assert sa.make_url(workspace.record_url).database == str(tmp_path / "record.db")


def test_asking_whether_there_are_facts_makes_none(tmp_path):
    workspace = Workspace(tmp_path / "home")
    assert not workspace.has_facts()
    assert not workspace.home.exists()
    Store(workspace.facts_url, "EUR")
    assert workspace.has_facts()
