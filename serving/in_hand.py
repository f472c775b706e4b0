"""What each worker of a service has in hand, in a file that they share.

Whoever connects is taken by the worker that looks first, and a client that keeps its connections
may have all of them with one, while the other has nothing to do. A worker that sees this ends a
connection; made anew, it may find the other one. Processes are told apart by their ids: services in
several containers do not share a home's file.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from array import array
from pathlib import Path

import structlog

MOST_WORKERS = 64  # in one file: of all services that share a home
_ROW = 3  # service, worker, in hand: process ids, and a number of requests
_CELL_BYTES = 8
_BYTES = MOST_WORKERS * _ROW * _CELL_BYTES
log = structlog.get_logger()


class InHand:
    """The requests that this worker has in hand, beside those of the others of its service.

    Parameters
    ----------
    cells : memoryview of int64, optional
        Rows of the workers; by default this one is alone.
    row : int, default 0
        Its own.
    """

    def __init__(self, cells: memoryview[int] | None = None, row: int = 0) -> None:
        self._cells = memoryview(array("q", [0] * _ROW)) if cells is None else cells
        self._mine = row * _ROW + 2
        self._others = [at for at in range(2, len(self._cells), _ROW) if at != self._mine]

    @classmethod
    def shared(cls, file: Path) -> InHand:
        """Take a row of the workers' file; where that cannot be had, this worker is alone."""
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch(0o600)
            with file.open("r+b") as opened:
                fcntl.flock(opened, fcntl.LOCK_EX)
                try:
                    opened.write(bytes(max(0, _BYTES - len(opened.read()))))  # room, before it is
                    opened.flush()  # mapped: a full disk ends who writes to a map without
                    cells = memoryview(mmap.mmap(opened.fileno(), _BYTES)).cast("q")
                    return cls(cells, _take_row(cells))
                finally:
                    fcntl.flock(opened, fcntl.LOCK_UN)  # the map keeps the file open
        except OSError as error:
            log.warning("workers_not_shared", why=error.strerror)
            return cls()

    def add(self, requests: int) -> None:
        """Count requests that came, or, below 0, that went."""
        self._cells[self._mine] += requests

    def is_much(self) -> bool:
        """Tell whether another worker of the service has clearly less in hand."""
        mine, service = self._cells[self._mine], self._cells[self._mine - 2]
        others = [self._cells[at] for at in self._others if self._cells[at - 2] == service]
        more = mine - min(others, default=mine)
        return more >= 2 and 4 * more > mine


def _take_row(cells: memoryview[int]) -> int:
    """Clear the rows of processes that ended, and take one."""
    free = [row for row in range(MOST_WORKERS) if not _is_another(cells[row * _ROW + 1])]
    for row in free:
        cells[row * _ROW], cells[row * _ROW + 1] = 0, 0
    if not free:
        raise OSError(None, f"{MOST_WORKERS} workers share it already")
    for place, value in enumerate((os.getppid(), os.getpid(), 0)):
        cells[free[0] * _ROW + place] = value
    return free[0]


def _is_another(process: int) -> bool:
    """Tell whether a process lives, and is not this one, whose row was another's of before."""
    if process in {0, os.getpid()}:
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
