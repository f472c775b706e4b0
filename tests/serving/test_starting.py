"""Several workers may start at once on a record that nobody has made yet."""

from concurrent.futures import ThreadPoolExecutor

from features.store import sqlite_url
from serving.audit import Record


def test_workers_that_start_together_make_one_record(tmp_path):
    url = sqlite_url(tmp_path / "record.db")
    with ThreadPoolExecutor(8) as workers:
        records = list(workers.map(lambda _: Record(url), range(8)))
    entries = [record.append(f"id-{i}", "assessment", b"{}") for i, record in enumerate(records)]
    assert [entry.sequence for entry in entries] == list(range(1, 9))
