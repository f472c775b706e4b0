"""The narratives in notebooks/ run from top to bottom."""

import runpy
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.py"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_runs_and_shows_something(notebook, capsys):
    runpy.run_path(str(notebook))
    assert len(capsys.readouterr().out.splitlines()) > 3
