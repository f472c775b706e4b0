"""Features of a whole ledger, shard by shard: the same bytes wherever they are built."""

import hashlib
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import distributed
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import encours
from features import history, shards
from features.build import build, customer_spine, feature_names, invoice_spine
from features.dictionary import dictionary_sha256
from features.history import History
from features.ledger import check
from features.shards import MANIFEST, Asked, ShardsError, build_shards
from features.simulator import Simulation, simulate
from features.spine_file import SpineError
from features.store import Source, Store, sqlite_url
from features.workers import Run, WorkersError, cluster, here, processes
from tests.features.ledgers import day
from tests.features.postgres import postgres

FILE = Source((("ledger.parquet", "0" * 64),))
MONTHLY = Asked("monthly", day("2024-01-01"), day("2025-06-30"))
INVOICES = Asked("invoices")
BY_FEW = {"invoices_a_shard": 600}
WORDS = re.compile(r"[│╭╮╰╯─\s]+")


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    """Give two and a half years of about 60 customers and 2,400 invoices, all rows good."""
    how = Simulation(
        invoices=2_400, years=3, ends_on=date(2025, 6, 30), invoices_per_customer=40, seed=5
    )
    ledger, _ = check(simulate(how).tables, "EUR")
    return dict(ledger.tables)


@pytest.fixture(scope="module")
def fill(tables) -> Callable[[str], str]:
    """Fill a store with the ledger, then with corrections of some of its invoices."""

    def fill(url: str) -> str:
        store = Store(url, "EUR")
        good, _ = check(tables, "EUR")
        store.append(good, FILE)
        invoices = tables["invoices"]
        again = invoices[(invoices["issued_on"] < "2025-01-01").to_numpy()][::40].copy()
        again["amount_cents"] += 5_000
        again["recorded_at"] = pd.Timestamp("2025-02-03 10:00")
        corrections = {name: rows[:0] for name, rows in tables.items()} | {"invoices": again}
        better, _ = check(corrections, "EUR", store.known())
        assert store.append(better, FILE).superseded["invoices"] == len(again) > 20
        return url

    return fill


@pytest.fixture(scope="module")
def url(fill, tmp_path_factory) -> str:
    return fill(sqlite_url(tmp_path_factory.mktemp("facts") / "facts.db"))


@pytest.fixture(scope="module")
def whole(url) -> History:
    """Lay out the whole ledger at once."""
    store = Store(url)
    return history.build(store.read(versions=True), store.ledger.observed_from)


@pytest.fixture(scope="module")
def monthly(url, tmp_path_factory) -> Path:
    """Build the monthly rows here, in this process. Read it only."""
    out = tmp_path_factory.mktemp("monthly")
    build_shards(url, out, MONTHLY, here, **BY_FEW)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    """Read the bytes of every file, hidden ones too."""
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def manifest(folder: Path) -> dict:
    return json.loads((folder / MANIFEST).read_text("utf-8"))


def matrix(folder: Path) -> np.ndarray:
    """Read the features of all parts, as rows."""
    names = manifest(folder)["features"]
    return pd.read_parquet(folder)[names].to_numpy(np.float64)


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    missing = np.isnan(a) & np.isnan(b)
    return a.shape == b.shape and bool(((a.view(np.int64) == b.view(np.int64)) | missing).all())


# What is written.


def test_the_parts_together_are_what_one_build_of_the_whole_ledger_gives(monthly, whole):
    rows = pd.read_parquet(monthly)
    days = rows["as_of"].to_numpy("datetime64[D]").astype(np.int32)
    X = build(whole, customer_spine(whole.codes(rows["customer_id"]), days))
    assert same_bits(matrix(monthly), X)
    assert len(manifest(monthly)["parts"]) >= 4
    assert (~np.isnan(rows["peers_late_rate"])).sum() > 50  # each shard sees the others' payments
    assert not whole.views.are_single


def test_a_customer_is_described_each_month_once_his_first_invoice_is_known(monthly, whole):
    rows = pd.read_parquet(monthly)
    months = pd.date_range("2024-01-01", "2025-06-01", freq="MS").date
    first = pd.Series(whole.invoices.known_on).groupby(whole.invoice_customer).min()
    wanted = [
        (customer, month)
        for customer, known in zip(whole.customers[first.index], first, strict=True)
        for month in months
        if day(str(month)) > known
    ]
    assert list(zip(rows["customer_id"], rows["as_of"], strict=True)) == wanted


def test_each_invoice_is_described_on_its_issue_date(url, whole, tmp_path):
    built = build_shards(url, tmp_path, INVOICES, here, **BY_FEW)
    rows = pd.read_parquet(tmp_path)
    spine = invoice_spine(whole)
    by_id = {i: row for row, i in enumerate(whole.invoice_id[spine.invoice])}
    order = np.array([by_id[i] for i in rows["invoice_id"]])
    assert sorted(order) == list(range(built.rows))
    assert same_bits(matrix(tmp_path), build(whole, spine)[order])
    assert list(rows["customer_id"]) == list(whole.customers[spine.customer[order]])
    assert list(rows["amount_cents"]) == list(spine.amount_cents[order])
    for column, days in (("as_of", spine.as_of), ("due_on", spine.due_on)):
        assert rows[column].to_numpy("datetime64[D]").astype(int).tolist() == days[order].tolist()


def test_invoices_outside_the_dates_are_left_out(url, tmp_path):
    asked = Asked("invoices", day("2025-01-31"), day("2025-02-28"))
    build_shards(url, tmp_path, asked, here, **BY_FEW)
    days = pd.read_parquet(tmp_path)["as_of"]
    assert date(2025, 1, 31) <= days.min() < days.max() <= date(2025, 2, 28)


def test_columns_are_typed_and_a_missing_feature_is_null(monthly):
    table = pq.read_table(monthly)
    names = list(feature_names(with_order=False))
    assert table.column_names == ["customer_id", "as_of", *names]
    assert table.schema.types == [pa.string(), pa.date32(), *([pa.float64()] * len(names))]
    assert table["settled_90_late_rate"].null_count > 0
    assert not any(np.isnan(table[n].drop_null().to_numpy()).any() for n in names)


def test_the_manifest_says_what_was_built_of_what(monthly, url):
    said, store = manifest(monthly), Store(url)
    assert said["ledger"] == {
        "id": store.ledger.id,
        "currency": "EUR",
        "observed_from": str(np.datetime64(store.ledger.observed_from, "D")),
        "sequence": 2,
    }
    assert said["spine"] == {"kind": "monthly", "from": "2024-01-01", "to": "2025-06-30"}
    assert said["dictionary_sha256"] == dictionary_sha256()
    assert "sqlite" not in json.dumps(said)
    for part in said["parts"]:
        data = (monthly / part["file"]).read_bytes()
        assert (part["bytes"], part["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        rows = pq.read_table(monthly / part["file"])
        customers = rows["customer_id"].to_pylist()
        assert part["rows"] == len(customers)
        assert part["first_customer"] <= min(customers) <= max(customers) <= part["last_customer"]
    assert said["rows"] == sum(part["rows"] for part in said["parts"])
    assert sorted(contents(monthly)) == sorted([MANIFEST, *(p["file"] for p in said["parts"])])


def test_the_memory_is_bounded_by_rows_too(url, monthly, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "ROWS_A_GROUP", 7)
    build_shards(url, tmp_path, MONTHLY, here, **BY_FEW)
    assert same_bits(matrix(tmp_path), matrix(monthly))
    assert pq.ParquetFile(tmp_path / "part-00001.parquet").num_row_groups > 10


def test_an_import_while_features_are_built_is_not_half_in_them(fill, tables, tmp_path):
    url = fill(sqlite_url(tmp_path / "facts.db"))
    invoices = tables["invoices"]
    again = invoices.assign(amount_cents=invoices["amount_cents"] + 100)
    again["recorded_at"] = pd.Timestamp("2024-02-01")
    more, _ = check({**tables, "invoices": again}, "EUR")

    def import_meanwhile(done: int, total: int) -> None:
        if done == 1:
            Store(url).append(more, FILE)

    before, during = tmp_path / "before", tmp_path / "during"
    build_shards(url, before, MONTHLY, here, **BY_FEW)
    build_shards(url, during, MONTHLY, here, **BY_FEW, progress=import_meanwhile)
    assert Store(url).sequence() == 3
    assert contents(during) == contents(before)


def test_progress_is_told_from_nothing_to_all(url, tmp_path):
    told = []
    built = build_shards(url, tmp_path, MONTHLY, here, **BY_FEW, progress=lambda *s: told.append(s))
    assert told == [(i, built.files) for i in range(built.files + 1)]


# Where it is built.


@contextmanager
def two_dask_workers() -> Iterator[Run]:
    """Start a scheduler and two worker processes on 127.0.0.1, without a dashboard."""
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            worker_dashboard_address=None,
        ) as local,
        cluster(local.scheduler_address) as run,
    ):
        yield run


def who(task: int, common: None) -> int:
    """Say which process we are, not too fast for another one to take its share."""
    import time

    time.sleep(0.05)
    return os.getpid()


@pytest.mark.parametrize("workers", [lambda: processes(2), two_dask_workers])
def test_two_worker_processes_write_the_same_bytes_as_one(workers, url, monthly, tmp_path):
    with workers() as run:
        for _ in range(5):
            pids = set(run(who, range(20), None))
            if len(pids) == 2:
                break
        assert len(pids - {os.getpid()}) == 2
        build_shards(url, tmp_path / "monthly", MONTHLY, run, **BY_FEW)
        build_shards(url, tmp_path / "invoices", INVOICES, run, **BY_FEW)
    assert contents(tmp_path / "monthly") == contents(monthly)
    build_shards(url, tmp_path / "here", INVOICES, here, **BY_FEW)
    assert contents(tmp_path / "invoices") == contents(tmp_path / "here")


def test_facts_in_postgresql_give_the_same_parts(fill, monthly, tmp_path):
    with postgres() as new, processes(2) as run:
        build_shards(fill(new()), tmp_path, MONTHLY, run, **BY_FEW)
    assert manifest(tmp_path)["parts"] == manifest(monthly)["parts"]


def test_several_shards_of_one_customer_each_are_no_special_case(url, monthly, tmp_path):
    built = build_shards(url, tmp_path, MONTHLY, here, invoices_a_shard=1)
    assert built.files > 50
    assert same_bits(matrix(tmp_path), matrix(monthly))
    build_shards(url, tmp_path, MONTHLY, here, invoices_a_shard=10**9, overwrite=True)
    assert sorted(contents(tmp_path)) == [MANIFEST, "part-00001.parquet"]
    assert same_bits(matrix(tmp_path), matrix(monthly))


def killed(task: int, common: None) -> None:
    """End as a process without memory does."""
    os.kill(os.getpid(), signal.SIGKILL)


def failing(task: int, common: None) -> None:
    raise ShardsError("not this one")


def test_a_killed_process_is_said_so_and_what_may_help():
    with processes(2) as run, pytest.raises(WorkersError, match="fewer processes"):
        list(run(killed, [1, 2, 3], None))


@pytest.mark.parametrize("workers", [lambda: processes(2), two_dask_workers])
def test_an_error_of_ours_comes_back_as_it_was(workers):
    with workers() as run, pytest.raises(ShardsError, match=r"^not this one$"):
        list(run(failing, range(5), None))


def test_workers_with_other_code_are_refused(url, tmp_path, monkeypatch):
    said = iter(["of this process", "of the worker"])
    monkeypatch.setattr(shards, "sources_hash", lambda: next(said))
    with pytest.raises(ShardsError, match="other code"):
        build_shards(url, tmp_path, MONTHLY, here, **BY_FEW)


def test_a_folder_that_the_workers_do_not_share_is_said_so(url, tmp_path):
    def elsewhere(function, tasks, common):
        for task in tasks:
            result = function(task, common)
            if isinstance(result, shards.Part):
                (common.aside / result.file).unlink()
            yield result

    with pytest.raises(ShardsError, match=r"part-00001.parquet elsewhere.*must be shared"):
        build_shards(url, tmp_path, MONTHLY, elsewhere, **BY_FEW)
    assert contents(tmp_path) == {}


# Into which folder.


def test_an_earlier_build_is_kept_unless_it_may_be_replaced(url, monthly, tmp_path):
    build_shards(url, tmp_path, INVOICES, here, invoices_a_shard=100)
    before = contents(tmp_path)
    with pytest.raises(ShardsError, match="earlier build: --overwrite"):
        build_shards(url, tmp_path, MONTHLY, here, **BY_FEW)
    assert contents(tmp_path) == before
    build_shards(url, tmp_path, MONTHLY, here, **BY_FEW, overwrite=True)
    assert contents(tmp_path) == contents(monthly)


def test_a_build_that_fails_leaves_the_earlier_one_whole(url, tmp_path):
    build_shards(url, tmp_path, INVOICES, here, **BY_FEW)
    before = contents(tmp_path)

    def stop(done: int, total: int) -> None:
        if done == total - 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_shards(url, tmp_path, MONTHLY, here, **BY_FEW, overwrite=True, progress=stop)
    assert contents(tmp_path) == before


def test_what_a_killed_build_left_is_cleared_away(url, monthly, tmp_path):
    left = tmp_path / shards.ASIDE
    left.mkdir()
    (left / "part-00001.parquet").write_bytes(b"half")
    (tmp_path / "part-00099.parquet").write_bytes(b"moved, but without its manifest")
    build_shards(url, tmp_path, MONTHLY, here, **BY_FEW)
    assert contents(tmp_path) == contents(monthly)


def test_a_folder_with_other_files_is_left_alone(url, tmp_path):
    (tmp_path / "thesis.parquet").write_bytes(b"ours")
    with pytest.raises(ShardsError, match=r"other files, as thesis\.parquet"):
        build_shards(url, tmp_path, MONTHLY, here, overwrite=True)
    assert contents(tmp_path) == {"thesis.parquet": b"ours"}


def test_a_ledger_without_invoices_is_said_so(tmp_path):
    url = sqlite_url(tmp_path / "facts.db")
    Store(url, "EUR")
    with pytest.raises(ShardsError, match="no invoice and no payment yet"):
        build_shards(url, tmp_path / "out", MONTHLY, here)


def test_a_span_without_a_first_of_a_month_is_refused(url, tmp_path):
    asked = Asked("monthly", day("2025-01-02"), day("2025-01-31"))
    with pytest.raises(ShardsError, match="no month begins"):
        build_shards(url, tmp_path / "out", asked, here)


# Rows from a file.


ROWS = """customer_id,as_of,note
C-00007,2025-03-01,x
Nobody,2025-03-01,before all others? no: after
C-00002,2025-01-15,"a, b"
0,2025-03-01,before all others
C-00007,2024-12-31,
C-000015,2025-03-01,between two
C-00002,2025-01-15,again
"""


def spine_of(folder: Path, text: str) -> Asked:
    file = folder / "spine.csv"
    file.write_text(text, encoding="utf-8")
    return Asked("file", file=file)


def test_rows_of_a_file_keep_their_order_within_a_part_and_say_where_they_came_from(
    url, whole, tmp_path
):
    asked = spine_of(tmp_path, ROWS)
    built = build_shards(url, tmp_path / "out", asked, here, **BY_FEW)
    rows = pd.read_parquet(tmp_path / "out")
    given = pd.read_csv(asked.file, dtype=str)
    assert built.rows == len(given) == 7
    for part in manifest(tmp_path / "out")["parts"]:
        assert pd.read_parquet(tmp_path / "out" / part["file"])["row"].is_monotonic_increasing
    rows = rows.sort_values("row", ignore_index=True)
    assert rows["row"].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert rows["customer_id"].tolist() == given["customer_id"].tolist()
    assert rows["as_of"].astype(str).tolist() == given["as_of"].tolist()
    days = pd.to_datetime(given["as_of"]).to_numpy("datetime64[D]").astype(np.int32)
    X = build(whole, customer_spine(whole.codes(given["customer_id"]), days))
    known = given["customer_id"].isin(whole.customers).to_numpy()
    names = manifest(tmp_path / "out")["features"]
    assert same_bits(rows[names].to_numpy()[known], X[known])


def test_rows_of_unknown_customers_are_kept_with_every_feature_missing_and_counted(url, tmp_path):
    asked = spine_of(tmp_path, ROWS)
    built = build_shards(url, tmp_path / "out", asked, here, **BY_FEW)
    said = manifest(tmp_path / "out")
    rows = pd.read_parquet(tmp_path / "out").set_index("customer_id")
    assert rows.loc[["Nobody", "0", "C-000015"], said["features"]].isna().all(axis=None)
    assert built.rows_of_unknown_customers == said["rows_of_unknown_customers"] == 3
    assert said["spine"] == {
        "kind": "file",
        "file": "spine.csv",
        "sha256": hashlib.sha256(ROWS.encode()).hexdigest(),
    }


ORDERS = """as_of,due_on,amount_cents,invoice_id,customer_id
2025-03-01,2025-03-31,123456,Q-1,C-00002
2025-03-01,2025-04-30,5000,Q-2,Nobody
"""


def test_planned_invoices_of_a_file_are_described_as_orders(url, whole, tmp_path):
    build_shards(url, tmp_path / "out", spine_of(tmp_path, ORDERS), here, **BY_FEW)
    rows = pd.read_parquet(tmp_path / "out").set_index("invoice_id")
    assert list(rows.columns[:6]) == [
        *("row", "customer_id", "as_of", "amount_cents", "issued_on", "due_on")
    ]
    assert rows.loc["Q-1", "order_amount"] == 1234.56
    assert rows.loc["Q-1", "order_terms_days"] == 30  # from as_of, having no issue date
    habit = rows.loc["Q-1", "purchases_typical_amount"]
    assert rows.loc["Q-1", "order_amount_to_habit"] == 1234.56 / habit
    assert rows.loc["Q-2", "order_amount"] == 50
    assert np.isnan(rows.loc["Q-2", "open_invoices"])


def test_parquet_and_an_issue_date_of_its_own_do_as_well(url, tmp_path):
    columns = {
        "customer_id": pa.array(["C-00002"]).dictionary_encode(),
        "as_of": pa.array([date(2025, 3, 1)]),
        "issued_on": pa.array(["2025-03-11"]),
        "due_on": pa.array([pd.Timestamp("2025-03-31")]),
        "amount_cents": pa.array([700], pa.int32()),
    }
    pq.write_table(pa.table(columns), tmp_path / "spine")
    build_shards(url, tmp_path / "out", Asked("file", file=tmp_path / "spine"), here)
    assert pd.read_parquet(tmp_path / "out")["order_terms_days"].tolist() == [20]


def test_a_file_that_names_few_customers_gives_empty_parts_too(url, tmp_path):
    asked = spine_of(tmp_path, "customer_id,as_of\nC-00001,2025-01-01\n")
    built = build_shards(url, tmp_path / "out", asked, here, **BY_FEW)
    assert (built.rows, built.files) == (1, len(list((tmp_path / "out").glob("part-*"))))
    assert len(pd.read_parquet(tmp_path / "out")) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Empty CSV file"),
        ("customer_id,as_of\n", "there is no row"),
        ("customer,as_of\nC,2025-01-01\n", "it needs one column customer_id"),
        ("customer_id;as_of\nC;2025-01-01\n", "it needs one column customer_id"),
        ("customer_id,as_of,as_of\nC,2025-01-01,2025-01-01\n", "it needs one column as_of"),
        (
            "customer_id,as_of\nC,2025-01-01\nC,2025-02-30\nC,soon\n",
            "as_of is not a date (YYYY-MM-DD) from 1990 to 2100 in 2 of its rows, first in row 2",
        ),
        ("customer_id,as_of\nC,1492-10-12\n", "as_of is not a date (YYYY-MM-DD) from 1990"),
        ("customer_id,as_of\nC,\n", "as_of is not a date"),
        ("customer_id,as_of\nC,20250101\n", "as_of is not a date"),
        ("customer_id,as_of\n ,2025-01-01\n", "customer_id is empty in 1 of its rows"),
        (
            "customer_id,as_of,due_on\nC,2025-01-01,2025-01-01\n",
            "an invoice needs both amount_cents and due_on",
        ),
        (
            "customer_id,as_of,due_on,amount_cents\nC,2025-01-02,2025-01-01,5\n",
            "due_on lies before the issue in 1 of its rows, first in row 1",
        ),
        (
            "customer_id,as_of,due_on,amount_cents\nC,2025-01-02,2025-01-09,5.50\n",
            "amount_cents is not a whole number of cents",
        ),
        (
            "customer_id,as_of,due_on,amount_cents\nC,2025-01-02,2025-01-09,0\n",
            "amount_cents is not above 0",
        ),
        ("customer_id,as_of\nC,2025-01-01,7\n", "Expected 2 columns, got 3"),
    ],
)
def test_a_file_that_cannot_be_is_refused_and_the_first_row_is_named(url, tmp_path, text, said):
    out = tmp_path / "out"
    with pytest.raises(SpineError, match=r"^spine.csv cannot be used as a spine: ") as refused:
        build_shards(url, out, spine_of(tmp_path, text), here)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert contents(out) == {}


# The command.


@pytest.fixture
def run(url, monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """Run ``encours features build`` on the ledger: code, stdout, stderr in one line each."""
    monkeypatch.setenv("ENCOURS_HOME", str(Path(url.removeprefix("sqlite:///")).parent))

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["encours", "features", "build", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            encours.main()
        except SystemExit as end:
            code = end.code or 0
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return code, *(WORDS.sub(" ", text).strip() for text in said)

    return run


def test_the_command_builds_and_says_what(run, monthly, tmp_path):
    span = "--from", "2024-01-01", "--to", "2025-06-30"
    code, out, err = run("--out", tmp_path, *span, "--shard-invoices", 600)
    assert (code, err) == (0, "")
    rows, features = manifest(monthly)["rows"], len(manifest(monthly)["features"])
    said = rf"{re.escape(str(tmp_path))}: {rows:,} rows x {features} features in \d files, "
    assert re.fullmatch(said + r"[\d.]+ MB, [\d.]+ s", out)
    assert contents(tmp_path) == contents(monthly)


def test_the_command_takes_processes_or_a_cluster(run, monthly, tmp_path):
    span = "--from", "2024-01-01", "--to", "2025-06-30", "--shard-invoices", 600
    assert run("--out", tmp_path / "two", *span, "--processes", 2)[0] == 0
    assert contents(tmp_path / "two") == contents(monthly)
    with distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        protocol="tcp://",
        host="127.0.0.1",
        dashboard_address=None,
        worker_dashboard_address=None,
    ) as local:
        address = local.scheduler_address
        assert run("--out", tmp_path / "dask", *span, "--cluster", address)[0] == 0
    assert contents(tmp_path / "dask") == contents(monthly)


def test_the_command_reads_a_file_and_counts_who_is_unknown(run, tmp_path):
    file = spine_of(tmp_path, ROWS).file
    code, out, err = run("--out", tmp_path / "out", "--spine", file)
    assert (code, err) == (0, "")
    assert out.startswith("3 rows name customers that the ledger lacks")
    assert ": 7 rows x " in out
    assert " in 1 file, " in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--spine", "weekly"], "--spine must be monthly, invoices or a file, and weekly is none"),
        (["--spine", "spine.csv", "--to", "2025-01-01"], "leave out --from and --to"),
        (["--from", "2025-02-01", "--to", "2025-01-01"], "--from lies after --to"),
        (["--from", "2025-02-30"], "'2025-02-30' is not a date written YYYY-MM-DD"),
        (["--from", "2025-01-02", "--to", "2025-01-03"], "no month begins"),
        (["--processes", "0"], "--processes"),
        (["--shard-invoices", "0"], "--shard-invoices"),
        (["--processes", "2", "--cluster", "tcp://127.0.0.1:9"], "either --processes or --cluster"),
        (["--cluster", "nonsense://x"], "no Dask scheduler answers at nonsense://x"),
    ],
)
def test_what_is_typed_wrong_ends_in_one_sentence(run, tmp_path, arguments, said):
    code, out, err = run("--out", tmp_path / "out", *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert contents(tmp_path) == {}


def test_a_scheduler_that_does_not_answer_is_said_so(run, tmp_path, monkeypatch):
    monkeypatch.setattr("features.workers.CONNECT_SECONDS", 0.3)
    code, _, err = run("--out", tmp_path / "out", "--cluster", "tcp://127.0.0.1:9")
    assert (code, err) == (2, "encours: no Dask scheduler answers at tcp://127.0.0.1:9")


def test_a_scheduler_without_workers_is_said_so(monkeypatch):
    monkeypatch.setattr("features.workers.CONNECT_SECONDS", 0.5)
    with (
        distributed.LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address=None) as local,
        pytest.raises(WorkersError, match="has no worker"),
        cluster(local.scheduler_address),
    ):
        pass


def test_without_dask_the_command_says_how_to_get_it(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    code, _, err = run("--out", tmp_path / "out", "--cluster", "tcp://127.0.0.1:9")
    assert code == 2
    assert "pip install --editable '.[cluster]'" in err


def test_without_a_ledger_the_command_says_what_comes_first(run, tmp_path, monkeypatch):
    monkeypatch.setenv("ENCOURS_HOME", str(tmp_path / "nowhere"))
    code, _, err = run("--out", tmp_path / "out")
    assert (code, err) == (2, "encours: there is no ledger here yet: run `encours import` first")
    assert not (tmp_path / "nowhere").exists()
