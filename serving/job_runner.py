"""Works on the jobs that wait, one after the other, beside the answers of one process."""

from __future__ import annotations

import traceback
from threading import Event, Lock, Thread

import structlog

from features.workers import WorkersError
from models.bundle import BundleError
from models.policy import PolicyError
from serving import portfolio_job
from serving.assess import NotReady
from serving.jobs import STOPPED, Job, Jobs
from serving.limits import MOST_JOBS
from serving.opened import Desk, Opened
from serving.portfolio_job import PortfolioError, Unwanted, Where, in_processes

LOOK_SECONDS = 5.0  # for what another process left, or for a place to run
RETRY_SECONDS = 30.0
TOLD = (BundleError, PolicyError, PortfolioError, WorkersError)  # they say no customer data
log = structlog.get_logger()


class JobRunner:
    """The jobs of the desk's home, and the thread that works on them.

    Parameters
    ----------
    desk : Desk
    where : Where
        Where shards are scored.
    """

    def __init__(self, desk: Desk, where: Where = in_processes) -> None:
        self._desk, self._where = desk, where
        self._jobs: Jobs | None = None
        self._thread: Thread | None = None
        self._opening, self._news, self._stopping = Lock(), Event(), Event()

    def jobs(self) -> Jobs:
        """Open the jobs; it blocks.

        Raises
        ------
        NotReady
        """
        with self._opening:
            if self._jobs is None:
                self._jobs = Jobs(self._desk.get().workspace.home / "jobs")
            return self._jobs

    def start(self) -> None:
        """Work on what waits, from now on: of an earlier process too."""
        with self._opening:
            if self._thread is None and not self._stopping.is_set():
                self._thread = Thread(target=self._work, name="jobs", daemon=True)
                self._thread.start()
        self._news.set()

    def close(self) -> None:
        """Stop; the job under way fails, those that wait run when the service is there again."""
        self._stopping.set()
        self._news.set()
        if self._thread is not None:
            self._thread.join()
        if self._jobs is not None:
            self._jobs.close()

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                wait = self._next()
            except NotReady:
                wait = RETRY_SECONDS
            except Exception as error:  # noqa: BLE001 (a full disk today is none tomorrow)
                log.error("jobs_failed", **_without_data(error))
                wait = RETRY_SECONDS
            if wait != 0:
                self._news.wait(wait)
            self._news.clear()

    def _next(self) -> float | None:
        """Do the next job; return how long to wait for more, ``None`` until there is news."""
        opened, jobs = self._desk.get(), self.jobs()
        jobs.recover(lambda: opened.record)
        job = jobs.take(MOST_JOBS)
        if job is None:
            return LOOK_SECONDS if jobs.some_wait() else None
        self._do(job, jobs, opened)
        return 0.0

    def _do(self, job: Job, jobs: Jobs, opened: Opened) -> None:
        log.info("job_begins", id=job.id)
        try:
            portfolio_job.run(
                job,
                jobs,
                opened.store,
                opened.record,
                opened.workspace,
                opened.clock(),
                self._where,
                self._stopping.is_set,
            )
        except Unwanted:
            jobs.fail(job.id, STOPPED)  # unless it was cancelled
        except Exception as error:  # noqa: BLE001 (whatever it is, the next job is done)
            log.error("job_failed", id=job.id, **_without_data(error))
            reason = str(error) if isinstance(error, TOLD) else "the service failed: see its log"
            jobs.settle(job.id, reason)
        log.info("job_ends", id=job.id, status=_status(jobs, job.id))


def _status(jobs: Jobs, id: str) -> str:
    job = jobs.find(id)
    return "gone" if job is None else job.status


def _without_data(error: Exception) -> dict[str, str]:
    """Tell a failure's type and place; its message may hold customer data."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return {"error": type(error).__name__, "at": f"{frame.filename}:{frame.lineno}"}
