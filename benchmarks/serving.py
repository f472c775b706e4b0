"""Speed of the service: assessments a second beside bare uvicorn and MLflow's scoring server.

On two cores, in one run, by turns in short rounds so that a busy machine slows all alike:

- ``encours serve``: BentoML running our application, each assessment explained and on the record;
- the same application on bare uvicorn, with as many workers;
- ``mlflow models serve``: the bare score of the same late booster on one row of features, with
  MLflow's default of one worker, and with as many as the service has. The model has its signature,
  which checks the names of the columns and lets values be missing, as those of real customers are;
- the same without a signature, for a matrix of plain numbers: MLflow's fastest way, which takes
  columns in any order for granted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import cycle
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from benchmarks import stages
from benchmarks.page import PAGE, Row, at_least, at_most, publish
from serving.limits import WORKERS

TITLE = "Serving"
ROOT = Path(__file__).parents[1]
CORES = 2
CONNECTIONS = 8
SEED = 1
LEAST_TIMES_MLFLOW = 6.0
LEAST_OF_UVICORN = 0.5
MOST_P99_OF_UVICORN = 2.0
MOST_START_SECONDS = 10.0
PAIRS = 200_000  # to learn from, as `encours run` does on first use
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Server(NamedTuple):
    """A server under test.

    Attributes
    ----------
    name : str
    command : list of str
        With ``{port}``.
    ready : str
        Path that answers 200 once it is ready.
    workers : int
    requests : list of bytes
        Sent one after the other.
    """

    name: str
    command: list[str]
    ready: str
    workers: int
    requests: list[bytes]


class Running(NamedTuple):
    """A server that answers: where, since how many seconds after its start, in which process."""

    server: Server
    port: int
    start_seconds: float
    pid: int


class Round(NamedTuple):
    """One round of load on one server.

    Attributes
    ----------
    rate : float
        Answers a second.
    latencies : ndarray of float64
        Seconds, one an answer.
    client_share : float
        CPU time of the load client, as a share of the cores.
    """

    rate: float
    latencies: np.ndarray
    client_share: float

    def quantile_ms(self, q: float) -> float:
        """Latency that the share q of the answers stays below, in milliseconds."""
        return float(np.quantile(self.latencies, q)) * 1000


class Memory(NamedTuple):
    """Memory of one worker, in MB: resident, and with its part of what is shared."""

    rss: float
    pss: float

    @property
    def shown(self) -> str:
        """Both, as the table shows them."""
        return f"{self.rss:.0f} / {self.pss:.0f} MB"


# ------------------------------------------------------------------------------- the load client


def request(path: str, content: Any, key: str | None) -> bytes:
    """Write an HTTP request with JSON, as a client with an API key sends it."""
    body = json.dumps(content).encode()
    headers = {
        "Host": "127.0.0.1",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **({} if key is None else {"Authorization": f"Bearer {key}"}),
    }
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def _talk(port: int, requests: Iterator[bytes], until: float) -> list[float]:
    """Ask on one keep-alive connection until it is time; give the seconds of each answer.

    A connection that the server closes after an answer is made again, on the clock.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    seconds, is_closed = [], False
    try:
        while (begun := time.perf_counter()) < until:
            if is_closed:
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(next(requests))
            head = await reader.readuntil(b"\r\n\r\n")
            length = LENGTH.search(head)
            body = await reader.readexactly(int(length[1]) if length else 0)
            if head[9:11] != b"20":
                raise RuntimeError(f"answered {head[:60]!r} {body[:300]!r}")
            is_closed = b"\r\nconnection: close\r\n" in head.lower()
            seconds.append(time.perf_counter() - begun)
    finally:
        writer.close()
        await writer.wait_closed()
    return seconds


def load(running: Running, seconds: float) -> Round:
    """Ask a server on all connections at once."""

    async def all_at_once() -> list[list[float]]:
        requests = cycle(running.server.requests)
        until = time.perf_counter() + seconds
        talks = (_talk(running.port, requests, until) for _ in range(CONNECTIONS))
        return await asyncio.gather(*talks)

    begun, cpu = time.perf_counter(), time.process_time()
    latencies = np.concatenate([np.array(one) for one in asyncio.run(all_at_once())])
    wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
    return Round(latencies.size / wall, latencies, cpu / wall / CORES)


# ----------------------------------------------------------------------------------- the servers


def application() -> Any:
    """Make the service's application for bare uvicorn, with the service's logs."""
    from models.workspace import Workspace
    from serving.api import create_app
    from serving.audit import Record
    from serving.envelope import configure_log
    from serving.in_hand import InHand
    from serving.keys import Keys
    from serving.opened import desk_from_environment

    configure_log()
    workspace = Workspace.from_environment()
    keys = Keys(lambda: Record.of(workspace))
    return create_app(desk_from_environment(), keys, in_hand=InHand.shared(workspace.workers))


def bare_uvicorn(port: int) -> None:
    """Run the application on uvicorn's own supervisor of workers.

    On a socket that says that it is TCP: on those that uvicorn makes for several workers, asyncio
    does not turn Nagle's algorithm off, and an answer may wait 40 ms for the client's ACK.
    """
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    config = uvicorn.Config(
        "benchmarks.serving:application",
        factory=True,
        workers=WORKERS,
        loop="serving.loop:new_loop",
        http="serving.loop:BoundedProtocol",
        access_log=False,
    )
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        Multiprocess(config, [listening]).run()


def servers(home: Path, models: Path, key: str) -> list[Server]:
    """List what is compared, the service first."""
    asked = [request("/v1/assessments", one, key) for one in orders(home)]
    named, plain = (request("/invocations", one, None) for one in _rows_to_score(home))
    python = [sys.executable, "-m"]
    ours = [*python, "bentoml", "serve", "serving.service:Encours"]
    bare = "import sys; from benchmarks.serving import bare_uvicorn as run; run(int(sys.argv[1]))"
    scores = [*python, "mlflow", "models", "serve", "--env-manager", "local", "-m"]
    signed, unsigned = ([*scores, str(models / name)] for name in ("signed", "unsigned"))
    many, here = ["--workers", str(WORKERS)], ["--host", "127.0.0.1", "--port", "{port}"]
    return [
        Server("encours serve", [*ours, *here], "/readyz", WORKERS, asked),
        Server("bare uvicorn", [sys.executable, "-c", bare, "{port}"], "/", WORKERS, asked),
        Server("mlflow", [*signed, *here], "/ping", 1, [named]),
        Server(f"mlflow, {WORKERS} workers", [*signed, *many, *here], "/ping", WORKERS, [named]),
        Server("mlflow, no signature", [*unsigned, *here], "/ping", 1, [plain]),
    ]


@contextmanager
def started(server: Server, home: Path, logs: Path) -> Iterator[Running]:
    """Run a server until the end; its output goes to a file."""
    port = _free_port()
    environment = {
        **os.environ,
        "ENCOURS_HOME": str(home),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONPATH": str(ROOT),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    if not server.name.startswith("mlflow"):
        environment.setdefault("OMP_WAIT_POLICY", "passive")  # as the command line does
    command = [part.replace("{port}", str(port)) for part in server.command]
    with (logs / f"{server.name}.log".replace(" ", "_")).open("wb") as log:
        begun = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603 (our own command)
            command, stdout=log, stderr=log, env=environment, cwd=ROOT, start_new_session=True
        )
        try:
            _wait(f"http://127.0.0.1:{port}{server.ready}", process)
            yield Running(server, port, time.perf_counter() - begun, process.pid)
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a server with all its processes."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        os.killpg(process.pid, signal.SIGKILL)


def _wait(url: str, process: subprocess.Popen[bytes], most_seconds: float = 120) -> None:
    deadline = time.monotonic() + most_seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with code {process.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 (our own address)
                if response.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise RuntimeError(f"{url} did not answer within {most_seconds:.0f} s")


def _free_port() -> int:
    with socket.socket() as here:
        here.bind(("127.0.0.1", 0))
        return int(here.getsockname()[1])


def memory(running: Running) -> Memory:
    """Measure a worker's memory: the mean of the largest processes of the server's session."""
    found = sorted((_of_process(pid) for pid in _family(running.pid)), reverse=True)
    largest = found[: running.server.workers]
    return Memory(*(sum(column) / len(largest) for column in zip(*largest, strict=True)))


def _family(pid: int) -> list[int]:
    """List a process and its descendants."""
    parent_of = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            _, parent, *_ = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        parent_of[int(status.parent.name)] = int(parent)
    family = [pid]
    for one in family:
        family += [child for child, parent in parent_of.items() if parent == one]
    return family


def _of_process(pid: int) -> Memory:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return Memory(0.0, 0.0)
    kib = {name: int(size) for name, size in re.findall(r"^(\w+): +(\d+) kB", rollup, re.M)}
    return Memory(kib["Rss"] * 1024 / 1e6, kib["Pss"] * 1024 / 1e6)


# -------------------------------------------------------------------------- what they are asked


def make(home: Path, invoices: int) -> None:
    """Simulate a ledger, train quickly as `encours run` does, and put both curves in charge.

    The ledger ends the day before: orders are assessed as of now, as in production. Of a past day
    the ledger of today may know better, and is asked once more for each answer.
    """
    from features.history import build
    from features.importers.tabular import load_mapping, read
    from features.simulator import Simulation, simulate, write
    from features.store import Source, Store
    from models.workspace import Workspace
    from training.fit import Settings
    from training.promote import promote
    from training.tracking import Tracking
    from training.train import Books, Plan, train_default, train_late

    workspace, ledger_files = Workspace(home), home / "simulated"
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    asked = Simulation(invoices=invoices, seed=SEED, ends_on=yesterday)
    write(simulate(asked).tables, ledger_files)
    imported = read(ledger_files, load_mapping(ROOT / "mappings" / "encours.yaml"))
    store = Store(workspace.facts_url, "EUR")
    store.append(imported.ledger, Source(imported.sources))
    ledger = store.ledger
    history = build(store.read(versions=True), ledger.observed_from)
    books = Books(ledger.id, store.data_sha256(), history, store.last_day() + 1)
    tracking = Tracking(workspace.mlflow_url, workspace.mlflow_artifacts)
    for train in (train_late, train_default):
        train(books, workspace.bundles, tracking, plan=Plan(Settings(most_pairs=PAIRS), walks=0))
    promote(tracking, workspace, ROOT / "models" / "policy.yaml")


def save_for_mlflow(home: Path, models: Path) -> None:
    """Save the late booster as MLflow serves LightGBM, with its signature and without."""
    import mlflow.lightgbm
    import pandas as pd
    from mlflow.models import infer_signature

    booster = _late(home).booster
    inputs = pd.DataFrame([[0.0] * booster.num_feature()], columns=booster.feature_name())
    signature = infer_signature(inputs, booster.predict(inputs))
    mlflow.lightgbm.save_model(booster, models / "signed", signature=signature)
    mlflow.lightgbm.save_model(booster, models / "unsigned")


def _late(home: Path) -> Any:
    from models import bundle
    from models.workspace import Workspace

    workspace = Workspace(home)
    late = bundle.Champions.load(workspace.champions).late
    if late is None:
        raise RuntimeError("there is no late curve to serve")
    return bundle.read(workspace.bundles, late).curve


def _rows_to_score(home: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give MLflow one row of named features, a tenth of them missing, and one of plain numbers."""
    names = _late(home).booster.feature_name()
    values = [None if place % 10 == 9 else 1.0 for place in range(len(names))]
    named = {"dataframe_split": {"columns": names, "data": [values]}}
    return named, {"inputs": [[1.0] * len(names)]}


def orders(home: Path, most: int = 500) -> list[dict[str, Any]]:
    """Make orders of the ledger's customers, each of another customer."""
    rng = np.random.default_rng(SEED)
    customers = rng.permutation(np.array(_customers(home), object))[:most]
    amounts = rng.lognormal(9, 1, customers.size).round(2)
    terms = rng.choice([14, 30, 45, 60], customers.size)
    return [
        {
            "customer": {"id": customer},
            "order": {
                "amount": f"{amount:.2f}",
                "margin": f"{amount * 0.05:.2f}",
                "terms_days": int(days),
            },
        }
        for customer, amount, days in zip(customers.tolist(), amounts, terms, strict=True)
    ]


def _customers(home: Path) -> list[str]:
    from features.store import Store
    from models.workspace import Workspace

    facts = Store(Workspace(home).facts_url).read(columns={"customers": ("customer_id",)})
    return sorted(facts["customers"]["customer_id"].tolist())


# ------------------------------------------------------------------------------------ the figures


def rows(running: Sequence[Running], rounds: Sequence[Sequence[Round]]) -> list[Row]:
    """Compare, each round of the service with the same round of the others."""
    ours, bare, scores, scores_many, plain = rounds
    p99 = median(_ratios(ours, bare, lambda one: one.quantile_ms(0.99)))
    return [
        _ratio_row("answers/s, encours ÷ mlflow", ours, scores, LEAST_TIMES_MLFLOW),
        _ratio_row(f"answers/s, encours ÷ mlflow, {WORKERS} workers", ours, scores_many),
        _ratio_row("answers/s, encours ÷ mlflow, no signature", ours, plain),
        _ratio_row("answers/s, encours ÷ bare uvicorn", ours, bare, LEAST_OF_UVICORN),
        at_most("p99, encours ÷ bare uvicorn", p99, MOST_P99_OF_UVICORN, "{:.2f}"),
        *(
            Row(f"{server.name}: answers/s", _spread([r.rate for r in of], "{:.0f}"))
            for (server, *_), of in zip(running, rounds, strict=True)
        ),
        *(
            Row(f"{server.name}: p50 / p99, ms", _latencies(of))
            for (server, *_), of in zip(running, rounds, strict=True)
        ),
        at_most(
            f"{running[0].server.name}: start to ready, s",
            running[0].start_seconds,
            MOST_START_SECONDS,
            "{:.1f}",
        ),
        *(
            Row(f"{one.server.name}: start to ready, s", f"{one.start_seconds:.1f}")
            for one in running[1:]
        ),
        *(
            Row(f"{one.server.name}: memory of a worker, RSS / PSS", memory(one).shown)
            for one in running
        ),
        Row(
            "load client: CPU, % of the cores",
            f"{100 * max(one.client_share for of in rounds for one in of):.0f} at most",
        ),
    ]


def _ratios(
    ours: Sequence[Round], theirs: Sequence[Round], of: Callable[[Round], float]
) -> list[float]:
    return [of(one) / of(other) for one, other in zip(ours, theirs, strict=True)]


def _ratio_row(
    what: str, ours: Sequence[Round], theirs: Sequence[Round], least: float | None = None
) -> Row:
    ratios = _ratios(ours, theirs, lambda one: one.rate)
    shown = _spread(ratios, "{:.2f}")
    if least is None:
        return Row(what, shown)
    return at_least(what, median(ratios), least, "{:.2f}")._replace(measured=shown)


def _spread(values: Sequence[float], shown: str) -> str:
    middle, low, high = (shown.format(v) for v in (median(values), min(values), max(values)))
    return f"{middle} [{low} to {high}]"


def _latencies(of: Sequence[Round]) -> str:
    seconds = np.concatenate([one.latencies for one in of]) * 1000
    return "{:.1f} / {:.1f}".format(*np.quantile(seconds, [0.5, 0.99]))


NOTES = """
{connections} keep-alive connections from a raw asyncio client on the same two cores; the servers
take turns, {rounds} rounds of {seconds:.0f} s each, and each ratio is that of two rounds beside
each other: median [least to most]. Load average {before:.1f} before, {after:.1f} after. An
assessment reads the customer's facts, makes its history and features, asks both curves, explains
one, prices the options and is on the record (fsync) before it answers, about 15 kB; MLflow answers
one number for one row of features: named, some missing, and checked by the model's signature; *no
signature* is a matrix of plain numbers. *CPU* is the thread's
own time of one assessment without the web, in a process of its own.
"""


def bench(console: Console, asked: argparse.Namespace) -> bool:
    """Measure, print and write the page; tell whether every target is met."""
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="encours-bench-") as scratch, ExitStack() as stack:
        home = Path(scratch) / "home" if asked.home is None else asked.home
        if asked.home is None:
            with console.status("a ledger, and curves"):
                make(home, asked.invoices)
        save_for_mlflow(home, Path(scratch))
        given = (home, Path(scratch) / "stages.db", orders(home, 100))
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
            spent = alone.submit(stages.measure, *given).result()
            recording = alone.submit(stages.recording, *given).result()
        running = []
        for server in servers(home, Path(scratch), _key(home)):
            console.print(f"starting {server.name}")
            running.append(stack.enter_context(started(server, home, Path(scratch))))
            load(running[-1], asked.seconds / 2)  # warm
        rounds: list[list[Round]] = [[] for _ in running]
        for turn in range(asked.rounds):
            for one, of in zip(running, rounds, strict=True):
                of.append(load(one, asked.seconds))
                console.print(f"{turn + 1}: {one.server.name} {of[-1].rate:.0f}/s")
        table = [*rows(running, rounds), *stages.recording_rows(recording), *stages.rows(spent)]
    notes = NOTES.format(
        connections=CONNECTIONS,
        rounds=asked.rounds,
        seconds=asked.seconds,
        before=before,
        after=os.getloadavg()[0],
    )
    return publish(console, asked.page, TITLE, table, notes)


def _key(home: Path) -> str:
    """Make an API key that may ask as fast as the service answers."""
    from models.workspace import Workspace
    from serving.audit import Record
    from serving.keys import Keys
    from serving.limits import MOST_CALLS_A_SECOND

    keys = Keys(lambda: Record(Workspace(home).record_url))
    made = keys.make("load", "crm", "benchmarks.serving", calls_a_second=MOST_CALLS_A_SECOND)
    return made.text


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 0 when every target is met."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    return 0 if bench(Console(), _parser().parse_args(arguments)) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    of = parser.add_argument
    of("--invoices", type=int, default=40_000, help="of the simulated ledger")
    of("--home", type=Path, help="a trained ENCOURS_HOME, instead of one with a simulated ledger")
    of("--rounds", type=int, default=7)
    of("--seconds", type=float, default=6.0, help="of a round")
    of("--page", type=Path, default=PAGE, help="where the table is kept")
    return parser


if __name__ == "__main__":
    sys.exit(main())
