"""The one place that configures Numba: ``njit`` with a cache that notices every source change.

Numba's own cache looks at the compiled function's file only, so a change in another file that it
calls would be missed. Here the cache folder is named after a hash of this package's sources. With
``NUMBA_DISABLE_JIT=1`` the same functions run as plain Python, for debugging and coverage.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

Function = TypeVar("Function", bound=Callable[..., object])


def sources_hash() -> str:
    """Hash of this package's sources and Numba's version: what compiled code depends on."""
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


_CACHE_HOME = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
setattr(numba.config, "CACHE_DIR", str(_CACHE_HOME / "encours" / f"numba-{sources_hash()}"))  # noqa: B010 (untyped)


def njit(function: Function) -> Function:
    """Compile `function` on its first call; keep the result on disk for the next process."""
    return cast(Function, numba.njit(cache=True)(function))


@njit
def count_before(days: NDArray[np.int32], day: int) -> int:
    """Count the ascending `days` that lie before `day`; ``searchsorted``, quicker to compile."""
    low, high = 0, days.size
    while low < high:
        middle = (low + high) // 2
        if days[middle] < day:
            low = middle + 1
        else:
            high = middle
    return low
