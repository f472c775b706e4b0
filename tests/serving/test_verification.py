"""Verification: whatever is done to a record is found, and the first bad entry named."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from benchmarks.tampering import WAYS, Books, tamperings
from serving.verification import DATABASE, Head


@pytest.fixture(scope="module")
def books() -> Books:
    """Make a record of 10,000 entries, sealed up to 100 at a time."""
    return Books.made(10_000)


def test_a_record_that_nobody_touched_is_good(books):
    assert books.verify() is None


@pytest.mark.parametrize(("entries", "n"), [(10_000, 100), (1_000, 1_000)])
def test_random_tamperings_are_found_and_the_first_bad_entry_named(entries, n):
    """``python -m benchmarks.audit`` does ten thousand to ten thousand entries."""
    seen = Counter()
    for one in tamperings(Books.made(entries), n, seed=3):
        fault = one.books.verify()
        assert one.is_found_by(fault), (one.how, one.what, one.first, one.last, fault)
        seen[one.how] += 1
    assert set(seen) == set(WAYS)


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("entries", [2, 3, 8])
def test_every_way_is_found_in_a_short_record(how, entries):
    for seed in range(20):
        rng, books = random.Random(seed), Books.made(entries, seed, most_at_once=2)  # noqa: S311
        if how == "an older copy" and len({head.size for head in books.heads}) == 1:
            continue
        one = WAYS[how](how, books, rng)
        fault = one.books.verify()
        assert one.is_found_by(fault), (one.what, one.first, one.last, fault)


def test_leaves_taken_away_are_missed(books):
    rows = [*books.rows[:40], *books.rows[41:]]
    assert Books(rows, books.heads).verify()[:2] == ("unsigned", 42)


def test_a_checkpoint_taken_away_from_the_end_is_missed(books):
    last = max(head.size for head in books.heads)
    before = max(head.size for head in books.heads if head.size < last)
    heads = [h for h in books.heads if h.size < last or h.held_by != DATABASE]
    fault = Books(books.rows, heads).verify()
    assert fault[:3] == ("unsigned", before + 1, last)


def test_something_else_than_text_and_bytes_in_an_entry_is_a_change(books):
    for column, value in (("recorded_at", "x"), ("body", "text"), ("id", None)):
        rows = list(books.rows)
        rows[7] = rows[7]._replace(entry=rows[7].entry._replace(**{column: value}))
        assert Books(rows, books.heads).verify()[:2] == ("changed", 8)


def test_a_checkpoint_of_another_record_held_elsewhere_is_a_fork(books):
    head = Head(500, b"r" * 32, b"c" * 32, "paper.txt")
    fault = Books(books.rows, [*books.heads, head]).verify()
    assert (fault.what, fault.last) == ("forked", 500)
    assert "paper.txt" in fault.detail
