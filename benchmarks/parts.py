"""What is measured, a part at a time, each in a process of its own: see :func:`measure`.

A part is a function of this module that takes plain arguments and returns figures; it is run as
``python -m benchmarks.parts NAME JSON``, pinned to some cores, with every library on one thread.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from features.history import History
    from features.store import Store

ROOT = Path(__file__).parents[1]
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
INVOICES_A_PIECE = 1_000_000
ROWS_AT_ONCE = 50_000
CSV_MAPPING = """
format: {type: csv, separator: ",", date: "%Y-%m-%d", decimal: "."}
currency: EUR
customers: {customer_id: customer}
invoices:
  {invoice_id: invoice, customer_id: customer, issued_on: issued, due_on: due, amount: amount}
settlements: {invoice_id: invoice, settled_on: paid, amount: amount, kind: =payment}
"""


class Measured(NamedTuple):
    """What a part took as a whole process, and the figures that it gives."""

    seconds: float
    peak_bytes: int
    figures: dict[str, float]


def measure(part: Callable[..., dict[str, float]], *, cores: int = 1, **arguments: Any) -> Measured:
    """Run a part in a fresh process on the first `cores` cores."""
    asked = json.dumps(arguments, default=str)
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.parts", part.__name__]
    with tempfile.TemporaryFile("w+") as output:
        begun = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603 (our own command)
            [*command, str(cores), asked], cwd=ROOT, env=os.environ | ONE_THREAD, stdout=output
        )
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise RuntimeError(f"benchmark part {part.__name__} ended with {process.returncode}")
        output.seek(0)
        figures = json.loads(output.read().splitlines()[-1])
    in_bytes = 1 if sys.platform == "darwin" else 1024
    return Measured(seconds, used.ru_maxrss * in_bytes, figures)


class _Clock:
    """Adds up the time of the stretches that count."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - begun


# --- Ledgers -----------------------------------------------------------------------------


def make_ledger(home: str, invoices: int, invoices_per_customer: float = 50.0) -> dict[str, float]:
    """Fill a store with simulated sellers, a million invoices each, one after the other."""
    from datetime import date

    from features.ledger import check
    from features.simulator import Simulation, simulate
    from features.store import Source, Store

    store = Store(_url(home), "EUR")
    pieces = -(-invoices // INVOICES_A_PIECE)
    for piece in range(pieces):
        how = Simulation(
            invoices=invoices // pieces,
            seed=piece + 1,
            ends_on=date(2025, 12, 31),
            invoices_per_customer=invoices_per_customer,
        )
        tables = simulate(how).tables
        for rows in tables.values():
            for name in rows.columns[rows.columns.str.endswith("_id")]:
                rows[name] = f"{piece:02d}-" + rows[name].astype("str")
        store.append(check(tables, "EUR")[0], Source(((f"simulated {piece}", ""),)))
    return {"customers": len(store.known().customers)}


def make_csv(file: str, rows: int) -> dict[str, float]:
    """Write a CSV file of invoices, each with the day it was settled if it was."""
    from features.simulator import Simulation, simulate

    tables = simulate(Simulation(invoices=rows, seed=1)).tables
    invoices = tables["invoices"].drop_duplicates("invoice_id").set_index("invoice_id")
    paid = tables["settlements"].dropna(subset="invoice_id").groupby("invoice_id")["settled_on"]
    lines = invoices.assign(amount=invoices["amount_cents"] / 100, paid=paid.max())
    names = {"invoice_id": "invoice", "customer_id": "customer", "issued_on": "issued"}
    lines = lines.reset_index().rename(columns=names | {"due_on": "due"})
    wanted = ["invoice", "customer", "issued", "due", "amount", "paid"]
    lines[wanted].to_csv(file, index=False, date_format="%Y-%m-%d", float_format="%.2f")
    return {"rows": len(lines)}


# --- Many customers and dates ------------------------------------------------------------


def in_memory(home: str, first: int, last: int, shard_invoices: int) -> dict[str, float]:
    """Lay out histories and compute every feature from facts in memory; reading is not timed."""
    from features import peers
    from features.build import build
    from features.history import build as build_history
    from features.shards import collector_off, cut, monthly_spine, months

    laying_out, describing, rows, laid_out, seen = _Clock(), _Clock(), 0, [], []
    store, dates = _store(home), months(first, last)
    _load_compiled(store)
    for customers in store.customer_shards(shard_invoices):
        facts = _read(store, customers)
        with collector_off(), laying_out.running():
            history = build_history(facts, store.ledger.observed_from)
            seen.append(peers.seen(history))
        laid_out.append(history)
    with describing.running():
        whole = peers.add_up(seen)
        for history in laid_out:
            history = _compared_with(history, whole)
            spine = monthly_spine(history, dates)
            for begin in range(0, spine.customer.size, ROWS_AT_ONCE):
                rows += len(build(history, cut(spine, slice(begin, begin + ROWS_AT_ONCE))))
    both = {"seconds": laying_out.seconds + describing.seconds, "describing": describing.seconds}
    return both | {"rows": rows}


def _load_compiled(store: Store) -> None:
    """Read the compiled code from Numba's cache, as an import reads modules."""
    from features.build import build, customer_spine
    from features.history import build as build_history
    from features.shards import months

    customer = store.customer_shards(1)[0]
    history = build_history(_read(store, customer), store.ledger.observed_from, store.peers())
    build(history, customer_spine(history.codes(customer[:1]), months(0, 30)))


def command(
    home: str, out: str, first: str, last: str, processes: int, shard_invoices: int
) -> dict[str, float]:
    """Run ``encours features build``, as a user does."""
    import encours

    os.environ["ENCOURS_HOME"] = home
    span = ["--from", first, "--to", last, "--shard-invoices", str(shard_invoices)]
    several = ["--processes", str(processes)]
    encours.app(["features", "build", "--out", out, *span, *several], standalone_mode=False)
    return {"bytes": sum(file.stat().st_size for file in Path(out).glob("part-*"))}


def floor(home: str, out: str, first: int, last: int, shard_invoices: int) -> dict[str, float]:
    """Read the same facts, join settlements to invoices, write as large a matrix the same way."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from features.build import feature_names
    from features.shards import WRITTEN, collector_off, months

    names, dates, rows = feature_names(with_order=False), months(first, last), 0
    store = _store(home)
    for number, customers in enumerate(store.customer_shards(shard_invoices)):
        with collector_off():
            facts = _read(store, customers)
        invoices, cash = facts["invoices"], facts["settlements"]
        named, ids = (pa.array(rows["invoice_id"], pa.string()) for rows in (cash, invoices))
        place = pc.index_in(named, value_set=ids, skip_nulls=True).fill_null(0).to_numpy()
        days_late = cash["settled_on"] - invoices["due_on"][place]
        figures = [
            invoices["amount_cents"][place] / 100,
            days_late * 1.0,
            cash["amount_cents"] / 100,
        ]
        who, when = _known_rows(invoices, dates)
        with pq.ParquetWriter(
            Path(out) / f"part-{number:05d}.parquet",
            pa.schema(
                [("customer_id", pa.string()), ("as_of", pa.date32())]
                + [(name, pa.float64()) for name in names]
            ),
            **WRITTEN,
        ) as writer:
            for begin in range(0, when.size, ROWS_AT_ONCE):
                chunk = slice(begin, begin + ROWS_AT_ONCE)
                n = when[chunk].size
                said = [pa.array(who[chunk], pa.string()), pa.array(when[chunk], pa.date32())]
                filled = [pa.array(np.resize(figures[i % 3], n)) for i in range(len(names))]
                writer.write_table(pa.Table.from_arrays(said + filled, schema=writer.schema))
                rows += n
    return {"rows": rows}


def naive(home: str, dates: list[int], shard_invoices: int) -> dict[str, float]:
    """Compute every feature date by date in pandas, from frames in memory, customers by text.

    What it gives at the first date must agree with ours.
    """
    from benchmarks.naive import Frames, describe

    store, by_text, by_number = _store(home), _Clock(), _Clock()
    observed_from = store.ledger.observed_from
    histories = list(_histories(store, shard_invoices))
    numbered = Frames.of(histories)
    named = numbered.named([customer for history in histories for customer in history.customers])
    rows, apart = 0, 0.0
    for date in dates:
        with by_text.running():
            rows += len(describe(named, date, observed_from))
        with by_number.running():
            described = describe(numbered, date, observed_from)
        if date == dates[0]:
            apart = _difference(described, histories, date)
        del described
    timed = {"seconds": by_text.seconds, "numbered": by_number.seconds}
    return {**timed, "rows": rows, "difference": apart}


# --- One customer ------------------------------------------------------------------------


def online(home: str, customers: int, as_of: int) -> dict[str, float]:
    """Describe one customer after the other, from the store to the row; milliseconds."""
    import numpy as np

    from features.history import MICROSECONDS_A_DAY

    store = _store(home)
    whole = store.peers()
    rng = np.random.default_rng(1)
    ids = np.array(sorted(store.known().customers), object)
    debtors = store.known().debtors.to_numpy()
    asked = {
        "uniform": rng.choice(ids, customers),
        "by_invoices": rng.choice(debtors, customers),
    }
    known_at = as_of * MICROSECONDS_A_DAY
    figures: dict[str, float] = {}
    for name, chosen in asked.items():
        for customer in chosen[:20]:
            _one(store, customer, known_at, as_of, whole)
        took = [_one(store, customer, known_at, as_of, whole) for customer in chosen]
        figures |= {f"{name}_p{p}": float(np.percentile(took, p)) for p in (50, 99)}
    return figures


def _one(store: Store, customer: str, known_at: int, as_of: int, whole: Any) -> float:
    import numpy as np

    from features.build import build, customer_spine
    from features.history import build as build_history

    begun = time.perf_counter()
    snapshot = store.snapshot(customer, known_at)
    history = build_history(snapshot.facts, snapshot.ledger.observed_from, whole)
    build(history, customer_spine(history.codes([customer]), np.array([as_of], np.int32)))
    return (time.perf_counter() - begun) * 1e3


# --- Import ------------------------------------------------------------------------------


def import_csv(file: str, home: str) -> dict[str, float]:
    """Read and check a CSV file, then append it to a new ledger."""
    from features.importers.mapping import load_mapping
    from features.importers.tabular import read
    from features.store import Source, Store

    mapping = Path(home) / "mapping.yaml"
    mapping.write_text(CSV_MAPPING, encoding="utf-8")
    how = load_mapping(mapping)
    begun = time.perf_counter()
    imported = read(Path(file), how)
    read_in = time.perf_counter() - begun
    Store(_url(home), how.currency).append(imported.ledger, Source(imported.sources))
    both = time.perf_counter() - begun
    kept = sum(len(rows) for rows in imported.ledger.tables.values())
    return {"rows": imported.rows_read, "kept": kept, "read": read_in, "both": both}


# --- Shared ------------------------------------------------------------------------------


def _url(home: str) -> str:
    from features.store import sqlite_url

    return sqlite_url(Path(home) / "facts.db")


def _store(home: str) -> Store:
    from features.store import Store

    return Store(_url(home))


def _read(store: Store, customers: tuple[str, str]) -> Any:
    from features.store import READ_COLUMNS

    return store.read(customers=customers, versions=True, columns=READ_COLUMNS)


def _histories(store: Store, shard_invoices: int) -> Iterator[History]:
    from features.history import build as build_history

    for customers in store.customer_shards(shard_invoices):
        yield build_history(_read(store, customers), store.ledger.observed_from)


def _compared_with(history: History, whole: Any) -> History:
    """Give a shard's history the peers of the whole ledger."""
    code = whole.codes(history.group_names)
    return history._replace(peers=whole, groups=history.groups._replace(code=code))


def _known_rows(
    invoices: dict[str, NDArray[Any]], dates: NDArray[np.int32]
) -> tuple[NDArray[np.object_], NDArray[np.int32]]:
    """Give each customer every date after his first invoice became known."""
    import numpy as np

    known_on = np.maximum(invoices["issued_on"], invoices["recorded_at"] // 86_400_000_000)
    customer = invoices["customer_id"]
    begins = np.flatnonzero(np.append(True, customer[1:] != customer[:-1]))
    first = np.minimum.reduceat(known_on, begins)
    count = dates.size - np.searchsorted(dates, first, side="right")
    when = [dates[dates.size - n :] for n in count]
    return np.repeat(customer[begins], count), np.concatenate(when)


def _difference(described: Any, histories: list[History], date: int) -> float:
    """Largest relative difference between the naive features and ours; NaN only where both are."""
    import numpy as np

    from features import peers
    from features.build import build, customer_spine

    whole = peers.add_up([peers.seen(history) for history in histories])
    ours, first = [], 0
    for history in histories:
        n = history.customers.size
        code = np.flatnonzero(np.isin(np.arange(first, first + n), described.index))
        spine = customer_spine(code, np.full(code.size, date, np.int32))
        ours.append(build(_compared_with(history, whole), spine))
        first += n
    a, b = np.vstack(ours), described.to_numpy(np.float64)
    if a.shape != b.shape or (np.isnan(a) != np.isnan(b)).any():
        return float("inf")
    return float(np.nanmax(np.abs(a - b) / np.maximum(1.0, np.abs(b))))


def _main() -> None:
    name, cores, asked = sys.argv[1:]
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(cores)])
    part: Callable[..., dict[str, float]] = globals()[name]
    print(json.dumps(part(**json.loads(asked))))


if __name__ == "__main__":
    _main()
