"""Run a command in this process, as a user does."""

import sys
from typing import NamedTuple

import pytest

import encours


class Ran(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a command on a home of its own; a stack trace is never what a user sees."""
    monkeypatch.setenv("ENCOURS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ENCOURS_DATABASE_URL", raising=False)
    monkeypatch.setattr(encours.console, "_width", 200)  # undone as it was: not set

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["encours", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            encours.main()
        except SystemExit as end:
            code = end.code or 0
        ran = Ran(code, *capsys.readouterr())
        assert "Traceback" not in ran.out + ran.err
        return ran

    return run
