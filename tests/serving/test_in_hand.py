"""What the workers of a service know of each other, in a file that they share."""

from __future__ import annotations

import os
import subprocess
import sys
from array import array
from pathlib import Path

import pytest
import structlog

from serving import in_hand
from serving.in_hand import InHand

WORKER = """
import sys
from array import array
from pathlib import Path
from serving.in_hand import InHand
mine = InHand.shared(Path(sys.argv[1]))
for line in sys.stdin:
    mine.add(int(line))
    print(mine.is_much(), flush=True)
"""


class _Worker:
    """A worker in a process of its own, a child of this one as all of its service."""

    def __init__(self, file: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def add(self, requests: int) -> bool:
        """Add requests; tell whether it has much in hand then."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{requests}\n")
        self.process.stdin.flush()
        return {"True\n": True, "False\n": False}[self.process.stdout.readline()]

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def workers(tmp_path):
    made = [_Worker(tmp_path / "home" / "workers") for _ in range(2)]
    yield made
    for one in made:
        one.end()


def test_workers_see_what_the_others_of_their_service_have_in_hand(workers):
    first, second = workers
    assert [second.add(0), first.add(1), first.add(1)] == [False, False, True]
    assert [second.add(1), first.add(0)] == [False, False]  # 1 and 2
    assert [first.add(2), second.add(0)] == [True, False]
    assert [first.add(-3), second.add(1), first.add(0)] == [False, False, False]


def test_the_place_of_a_worker_that_was_killed_is_taken_by_the_next(workers, tmp_path):
    first, second = workers
    assert [second.add(0), first.add(3), second.add(9)] == [False, True, True]
    second.end()
    assert first.add(0) is False  # until its place is taken, its requests count
    third = _Worker(tmp_path / "home" / "workers")
    try:
        assert [third.add(0), first.add(0)] == [False, True]
    finally:
        third.end()


def test_another_service_of_the_same_home_does_not_count(tmp_path):
    file = tmp_path / "workers"
    mine = InHand.shared(file)
    mine.add(5)
    child = _Worker(file)  # its parent is this process, not this one's
    try:
        assert child.add(0) is False
        assert mine.is_much() is False
        assert child.add(9) is False
    finally:
        child.end()


def test_without_the_file_a_worker_is_alone_and_says_so(tmp_path):
    (tmp_path / "workers").mkdir()
    with structlog.testing.capture_logs() as logs:
        mine = InHand.shared(tmp_path / "workers")
    mine.add(100)
    assert mine.is_much() is False
    assert [line["event"] for line in logs] == ["workers_not_shared"]


def test_rows_of_processes_that_ended_are_cleared(tmp_path):
    file, mine = tmp_path / "workers", (os.getppid(), os.getpid(), 7)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    rows = [*mine, *(0, 0, 0), *(os.getppid(), ended.pid, 0)]
    file.write_bytes(array("q", rows).tobytes())
    taken = InHand.shared(file)
    taken.add(5)
    assert taken.is_much() is False
    kept = array("q", file.read_bytes())
    assert list(kept[:3]) == [os.getppid(), os.getpid(), 5]
    assert list(kept[3:]) == [0] * (len(kept) - 3)


def test_more_workers_than_there_are_places_are_alone(tmp_path):
    file = tmp_path / "workers"
    file.write_bytes(array("q", [1, os.getppid(), 0] * in_hand.MOST_WORKERS).tobytes())
    with structlog.testing.capture_logs() as logs:
        assert InHand.shared(file).is_much() is False
    assert [line["why"] for line in logs] == ["64 workers share it already"]
