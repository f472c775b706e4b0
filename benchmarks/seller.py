"""A small trained seller to break things on, and the processes that serve it."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reliability.md"
INVOICES = 10_000  # enough defaults for both curves
START_SECONDS = 300.0  # what is compiled at first takes its time on a busy machine


def make(home: Path, invoices: int) -> None:
    """Simulate a ledger, train quickly, and put both curves and the policy in charge."""
    from features.history import build
    from features.importers.tabular import load_mapping, read
    from features.simulator import Simulation, simulate, write
    from features.store import Source, Store
    from models.workspace import Workspace
    from training.fit import Settings
    from training.promote import promote
    from training.tracking import Tracking
    from training.train import Books, Plan, train_default, train_late

    workspace, files = Workspace(home), home / "simulated"
    how = Simulation(invoices=invoices, years=5, seed=3, invoices_per_customer=25)
    write(simulate(how).tables, files)
    imported = read(files, load_mapping(ROOT / "mappings" / "encours.yaml"))
    store = Store(workspace.facts_url, "EUR")
    store.append(imported.ledger, Source(imported.sources))
    ledger = store.ledger
    history = build(store.read(versions=True), ledger.observed_from)
    books = Books(ledger.id, store.data_sha256(), history, store.last_day() + 1)
    plan = Plan(Settings(most_rounds=25, pairs_per_row=2), walks=0, resamples=5)
    tracking = Tracking(workspace.mlflow_url, workspace.mlflow_artifacts)
    for train in (train_late, train_default):
        train(books, workspace.bundles, tracking, plan=plan)
    promote(tracking, workspace, ROOT / "models" / "policy.yaml")


def today_and_orders(home: Path, most: int = 100) -> tuple[str, list[bytes]]:
    """Give the day to answer as of, and an order of each of some customers."""
    from features.store import Store
    from models.workspace import Workspace

    store = Store(Workspace(home).facts_url)
    today = date(1970, 1, 1) + timedelta(days=store.last_day())
    customers = sorted(set(store.read()["customers"]["customer_id"]))[:most]
    order = {"amount": "2000.00", "margin": "200.00", "terms_days": 30}
    return str(today), [
        json.dumps({"customer": {"id": customer}, "order": order}).encode()
        for customer in customers
    ]


def bearer(record_url: str) -> str:
    """Make a key for the clients; the value of their Authorization header."""
    from serving.audit import Record
    from serving.keys import Keys

    record = Record(record_url)
    made = Keys(lambda: record).make("the clients", "crm", "benchmarks", calls_a_second=1e5)
    record.close()  # a disk on which a file is open cannot be made read-only
    return f"Bearer {made.text}"


def copy(home: Path, where: Path) -> Path:
    """Copy what serves of a home, its record left out."""
    shutil.copytree(home, where, ignore=shutil.ignore_patterns("mlflow*", "simulated", "record*"))
    return where


class Heard(NamedTuple):
    """An answer, or what the client saw in its place: status 0 is a broken connection."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float


@dataclass
class Service:
    """The real service, BentoML and all, in a process group of its own.

    Parameters
    ----------
    home : Path
    log : Path
        What it writes.
    environment : dict of str to str, optional
        More of it.
    python : list of str, optional
        How Python and its working directory are chosen, for a bento for instance.
    """

    home: Path
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    what: str = "serving.service:Encours"
    folder: Path = ROOT
    port: int = field(default_factory=lambda: free_port())
    process: subprocess.Popen[bytes] | None = None
    start_seconds: float = 0.0

    def __enter__(self) -> Service:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def start(self, path: str = "/livez", status: int = 200) -> None:
        """Start it and wait until a path answers so."""
        command = [sys.executable, "-m", "bentoml", "serve", self.what]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        begun = time.monotonic()
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(  # noqa: S603 (our own command)
                command,
                cwd=self.folder,
                env=self._environment(),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.wait_for(path, status)
        self.start_seconds = time.monotonic() - begun

    def _environment(self) -> dict[str, str]:
        given = {"ENCOURS_HOME": str(self.home), "BENTOML_DO_NOT_TRACK": "true"}
        given |= {"OMP_WAIT_POLICY": "passive", "OPENBLAS_NUM_THREADS": "1"}
        return {**os.environ, "PYTHONPATH": str(ROOT), **given, **self.environment}

    def wait_for(self, path: str, status: int, most_seconds: float = START_SECONDS) -> float:
        """Wait until a path answers with a status; give the seconds that it took."""
        begun = time.monotonic()
        while (took := time.monotonic() - begun) < most_seconds:
            if self.process is not None and self.process.poll() is not None:
                raise RuntimeError(f"the service ended:\n{self.log.read_text()[-2000:]}")
            if self.ask("GET", path).status == status:
                return took
            time.sleep(0.05)
        raise RuntimeError(f"{path} did not answer {status}:\n{self.log.read_text()[-2000:]}")

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 60,
    ) -> Heard:
        """Ask on a connection of its own."""
        begun = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            said = {name.lower(): value for name, value in answer.getheaders()}
            return Heard(answer.status, said, answer.read(), time.monotonic() - begun)
        except (OSError, http.client.HTTPException):
            return Heard(0, {}, b"", time.monotonic() - begun)
        finally:
            connection.close()

    def assess(self, bearer: str, body: bytes, key: str = "", timeout: float = 60) -> Heard:
        """Ask for an assessment."""
        headers = {"Authorization": bearer, "Content-Type": "application/json"}
        headers |= {"Idempotency-Key": key} if key else {}
        return self.ask("POST", "/v1/assessments", body, headers, timeout)

    def pids(self) -> list[int]:
        """List its process and the descendants: BentoML's workers lead sessions of their own."""
        assert self.process is not None  # noqa: S101 (for the type checker)
        parents = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError, IndexError):
                state, parent, *_ = stat.read_text().rpartition(")")[2].split()
                parents[int(stat.parent.name)] = int(parent) if state != "Z" else 0
        family = [self.process.pid]
        for one in family:
            family += [child for child, parent in parents.items() if parent == one]
        return family

    def cpu_seconds(self) -> float:
        """CPU time of all processes, so far."""
        ticks = 0
        for pid in self.pids():
            with suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def terminate(self) -> float:
        """Send SIGTERM as an orchestrator does; give the seconds until it is gone."""
        assert self.process is not None  # noqa: S101 (for the type checker)
        begun = time.monotonic()
        self.process.terminate()
        self.process.wait(60)
        return time.monotonic() - begun

    def end(self) -> None:
        """End it and all that it started."""
        if self.process is None:
            return
        family = self.pids()
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            self.process.terminate()
            self.process.wait(20)
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process = None


def warm_up(service: Service, bearer: str, bodies: Sequence[bytes]) -> None:
    """Ask until it answers: what is compiled is loaded with the first answer."""
    end = time.monotonic() + START_SECONDS
    while (heard := service.assess(bearer, bodies[0])).status != 201:
        if time.monotonic() > end:
            raise RuntimeError(f"it answers {heard.status}: {heard.body!r}")
        time.sleep(0.1)


def free_port() -> int:
    """Find a port of this machine that nobody listens on."""
    with socket.socket() as here:
        here.bind(("127.0.0.1", 0))
        return int(here.getsockname()[1])


def parser(described: str | None) -> argparse.ArgumentParser:
    """Make a command line with what every scenario takes."""
    made = argparse.ArgumentParser(description=(described or "").partition("\n")[0])
    made.add_argument("--home", type=Path, help="a trained home to copy; by default a small one")
    made.add_argument("--page", type=Path, default=PAGE)
    made.add_argument("--seed", type=int, default=1)
    return made


@contextmanager
def scratch(home: Path | None, console: Console) -> Iterator[Path]:
    """Give a folder of which ``home`` may be broken: a copy of the one given, or a small one."""
    with tempfile.TemporaryDirectory(prefix="encours-chaos-") as folder:
        here = Path(folder)
        if home is None:
            console.print("simulating and training")
            make(here / "trained", INVOICES)
        copy(home or here / "trained", here / "home")
        yield here
