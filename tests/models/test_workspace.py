"""Where everything stands."""

from pathlib import Path

import sqlalchemy as sa

from models.workspace import Workspace


def test_the_home_is_the_demo_unless_the_environment_says_otherwise(monkeypatch, tmp_path):
    monkeypatch.delenv("ENCOURS_HOME", raising=False)
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
