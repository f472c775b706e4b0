"""How much the service takes and how long it waits."""

from __future__ import annotations

LONGEST_BODY_BYTES = 64 * 1024
BODY_SECONDS = 10.0
ANSWER_SECONDS = 15.0
RETRY_AFTER_SECONDS = 30
THREADS = 8
WORKERS = 2  # processes of the service: one a core of a small machine
