"""Jobs: what is asked for in bulk, how far it is, and what came of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from serving.limits import MOST_CUSTOMERS_LISTED
from serving.schemas.answer import Hash, Told
from serving.schemas.request import Given, printable

Instant = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class JobRequest(Given):
    """Customers to score, each about its usual order."""

    kind: Annotated[Literal["portfolio"], Field(description="One row of scores a customer.")] = (
        "portfolio"
    )
    customers: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=128), AfterValidator(printable)],]
        | None,
        Field(
            min_length=1,
            max_length=MOST_CUSTOMERS_LISTED,
            description="Their numbers; each gets one row, one that the ledger does not know too. "
            "Without a list, all customers that the key sees.",
        ),
    ] = None


class Progress(Told):
    """How far a job is."""

    done: Annotated[int, Field(ge=0, description="Number of customers scored.")]
    total: Annotated[
        int | None, Field(description="Number of customers to score; null before it runs.")
    ]
    eta_seconds: Annotated[
        int | None,
        Field(description="Seconds that it will still take; null while nobody can tell."),
    ]


class ResultFile(Told):
    """A file of the result."""

    bytes: Annotated[int, Field(description="Size in bytes.")]
    sha256: Hash


class JobResult(Told):
    """What came of a job; the record holds the same, with models, policy and facts."""

    rows: Annotated[int, Field(description="Number of rows: customers.")]
    files: Annotated[
        dict[Literal["parquet", "csv"], ResultFile], Field(description="By format, to fetch.")
    ]
    entry: Annotated[int, Field(ge=1, description="Number of its entry in the record.")]
    leaf_hash: Annotated[
        str, Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of its leaf (RFC 6962).")
    ]


class Job(Told):
    """One job."""

    id: Annotated[str, Field(description="Of the job.", json_schema_extra={"format": "uuid"})]
    kind: Annotated[Literal["portfolio"], Field(description="What is made.")]
    status: Annotated[
        Literal["queued", "running", "done", "failed", "cancelled"],
        Field(description="The last three are final."),
    ]
    reason: Annotated[str | None, Field(description="Why it failed.")]
    progress: Progress
    created_at: Instant
    started_at: Instant | None
    ended_at: Instant | None
    result: Annotated[JobResult | None, Field(description="Once it is done.")]


JOB_EXAMPLE: dict[str, Any] = {
    "id": "01981f2e-7c1a-7d33-9f4e-5a0b6c7d8ea1",
    "kind": "portfolio",
    "status": "running",
    "reason": None,
    "progress": {"done": 40_000, "total": 100_000, "eta_seconds": 28},
    "created_at": "2025-03-12T09:14:07Z",
    "started_at": "2025-03-12T09:14:08Z",
    "ended_at": None,
    "result": None,
}
