"""What the API gives of alerts, and takes to acknowledge one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from models.alerts_file import Code, Severity
from serving.schemas.answer import English, French, Hash, Told
from serving.schemas.request import Given

if TYPE_CHECKING:
    from serving.alerts import Alert

Instant = Annotated[str, Field(description="UTC.", json_schema_extra={"format": "date-time"})]
LONGEST_NOTE = 500


def _printable(text: str) -> str:
    if not text.isprintable():
        raise PydanticCustomError("not_printable", "must have printable characters only")
    return text


class AcknowledgementRequest(Given):
    """That a person has seen an alert."""

    note: Annotated[
        str,
        Field(max_length=LONGEST_NOTE, description="What was found or done; kept on the record."),
        AfterValidator(_printable),
    ] = ""


class Acknowledged(Told):
    """Who has seen an alert, when, and what was found or done."""

    by: Annotated[
        str | None, Field(description="Client of the API key; null for a crm key to read.")
    ]
    role: Annotated[str, Field(description="Of the API key.")]
    at: Instant
    note: Annotated[str | None, Field(description="Null for a crm key to read.")]


class AlertTold(Told):
    """A customer has degraded."""

    id: Annotated[str, Field(description="Of the alert.", json_schema_extra={"format": "uuid"})]
    customer_id: Annotated[str, Field(description="The seller's number for the customer.")]
    code: Annotated[
        Code, Field(description="Stable name of what has degraded; see docs/alerts.md.")
    ]
    severity: Annotated[Severity, Field(description="How much it matters.")]
    at: Annotated[Instant, Field(description="Of the state that was evaluated, UTC.")]
    assessment_id: Annotated[
        str | None, Field(description="Null when the whole portfolio was evaluated.")
    ]
    currency: Annotated[str, Field(description="ISO 4217, of all money in it.")]
    fr: French
    en: English
    evidence: Annotated[
        dict[str, Any],
        Field(description="The figures behind it, from and to; money is a string in `currency`."),
    ]
    measure: Annotated[
        float,
        Field(description="How much: notches, times, days, cents, a share or a number, by `code`."),
    ]
    replaces: Annotated[str | None, Field(description="The alert that it makes worse.")]
    rules: Annotated[Hash, Field(description="The rules of alerts.")]
    status: Annotated[
        Literal["open", "acknowledged", "over", "replaced"],
        Field(description="`over`: the condition no longer holds; `replaced` by a worse one."),
    ]
    acknowledged: Acknowledged | None
    ended_at: Annotated[Instant | None, Field(description="When it was over or replaced, UTC.")]


class AlertPage(Told):
    """Alerts in the order in which they were raised."""

    alerts: Annotated[list[AlertTold], Field(description="Oldest first.")]
    cursor: Annotated[
        str,
        Field(description="Send it to get what comes after; it never skips or repeats an alert."),
    ]
    is_last: Annotated[bool, Field(description="False when more is there already.")]


def alert_shown(alert: Alert, *, whole: bool) -> dict[str, Any]:
    """Show an alert with what became of it; `whole`, with who acknowledged it and the note."""
    seen = alert.acknowledged
    if seen is not None and not whole:
        seen = {**seen, "by": None, "note": None}
    became = {"acknowledged": seen, "ended_at": alert.ended_at}
    return {**alert.said, "status": alert.status, **became}
