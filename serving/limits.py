"""How much the service takes and how long it waits."""

from __future__ import annotations

LONGEST_BODY_BYTES = 64 * 1024
LONGEST_BULK_BYTES = 8 * 1024 * 1024  # of many facts or many orders at once
LONGEST_PROSPECT_BYTES = 512 * 1024
MOST_PROSPECT_ROWS = 1_000  # facts of one prospect: they stay on its entry of the record
MOST_ROWS = 10_000  # facts or orders in one body
MOST_PARTS = 100_000  # objects and lists in one body
MOST_ERRORS = 100  # told at once
BODY_SECONDS = 10.0
ANSWER_SECONDS = 15.0
RECORD_WAIT_SECONDS = 5.0  # for another program that keeps the record; below ANSWER_SECONDS
TROUBLE_SECONDS = 2.0  # after a commit that failed, the service says that it is not ready
RETRY_AFTER_SECONDS = 30  # what is not ready
BUSY_SECONDS = 1  # what is ready, but has enough to do
ORDER_THREADS = 2  # one computes while another waits for the disk; more wait for each other
OTHER_THREADS = 4  # of all that is no single order: it may take long, and keeps no order waiting
MOST_IN_HAND = 32  # requests admitted at once: those that are worked on, and those that wait
CALLS_A_SECOND = 50.0  # of one key, unless it was made for more
MOST_CALLS_A_SECOND = 100_000.0
BURST_SECONDS = 4.0  # of calls that may come at once after a pause
WORKERS = 2  # processes of the service: one a core of a small machine
MOST_ASSESSED_AT_ONCE = 1_000  # in one call
BATCH_SECONDS = 50.0  # for such a call's answer; less than the patience of proxies
MOST_BATCHES = 2  # of them in hand, in one process
MOST_JOBS = 1  # that run at once, in all processes of one home
MOST_JOBS_WAITING = 20
MOST_CUSTOMERS_LISTED = 200_000  # in a job; without a list it takes all
