"""The insurer's policy file: its schema and its checks; models/insurance.yaml explains each key."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator

from models.strict_yaml import Number, Rate, Section, Whole, read

PATH = Path(__file__).with_name("insurance.yaml")

Days = Annotated[int, Field(ge=0, le=3650)]
Amount = Annotated[Number, Field(ge=0, le=Decimal(10) ** 12, decimal_places=2)]
LOOPBACK = "127.0.0.1"


class InsuranceError(ValueError):
    """The insurer's policy cannot be used; each line says file, line, key and fault."""


class DisagreementRules(Section):
    """When our probability of default within 365 days contradicts the insurer's decision."""

    low_risk_at_most_rate: Rate
    high_risk_above_rate: Rate

    @field_validator("high_risk_above_rate")
    @classmethod
    def _is_not_below(cls, high: Decimal, known: ValidationInfo) -> Decimal:
        low = known.data.get("low_risk_at_most_rate")
        if low is not None and high < low:
            raise ValueError(f"must be at least low_risk_at_most_rate ({low})")
        return high


class LedgerSource(Section):
    """Covers are those of the ledger."""

    kind: Literal["ledger"]


class FileSource(Section):
    """Covers stand in a CSV or JSON file, which is stale when nobody wrote it for days."""

    kind: Literal["file"]
    path: Annotated[str, Field(pattern=r"\.(csv|json)$")]
    stale_after_days: Annotated[int, Field(gt=0, le=366)] = 2
    largest_file_bytes: Annotated[int, Field(gt=0)] = 50_000_000


class HttpSource(Section):
    """Covers are asked of the insurer, or of a gateway to him; see docs/cover_provider.md.

    `budget_ms` bounds what one answer may wait, retries included.
    """

    kind: Literal["http"]
    url: str
    api_key_variable: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")] = "ENCOURS_INSURER_KEY"
    budget_ms: Annotated[int, Field(gt=0, le=5_000)] = 300
    attempts: Annotated[int, Field(ge=1, le=5)] = 3
    backoff_ms: Annotated[int, Field(ge=0, le=1_000)] = 25
    retry_after_at_most_seconds: Annotated[int, Field(ge=0, le=3_600)] = 60
    fresh_seconds: Annotated[int, Field(ge=0, le=86_400)] = 300
    stale_seconds: Annotated[int, Field(ge=0, le=30 * 86_400)] = 86_400
    largest_reply_bytes: Annotated[int, Field(gt=0, le=1_000_000)] = 65_536
    cached_customers: Annotated[int, Field(gt=0, le=1_000_000)] = 10_000
    failures_before_pause: Annotated[int, Field(gt=0)] = 5
    pause_seconds: Annotated[int, Field(ge=0, le=3_600)] = 10

    @field_validator("url")
    @classmethod
    def _names_one_origin(cls, url: str) -> str:
        """Keep https, or http to this machine alone, without user, query or fragment."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ValueError("is not a URL") from error
        if parts.scheme != "https" and (parts.scheme, parts.hostname) != ("http", LOOPBACK):
            raise ValueError(f"must be https; http only for {LOOPBACK}")
        plain = url.isascii() and url.isprintable() and not set(url) & set(' \\%?#@"<>')
        if not plain or not parts.hostname or port == 0:
            raise ValueError("must be scheme, host and path alone: no user, query or fragment")
        if {".", ".."} & set(parts.path.split("/")):
            raise ValueError("must not climb in its path")
        return url.rstrip("/")


CoverSource = Annotated[LedgerSource | FileSource | HttpSource, Field(discriminator="kind")]


class InsuranceRules(Whole):
    """A checked policy of the insurer, as :func:`load` reads it."""

    version: str
    insured_rate: Rate
    deductible_per_claim_amount: Amount
    maximum_liability_amount: Amount | None
    maximum_terms_days: Days
    maximum_extension_days: Days
    stop_of_deliveries_days: Days
    threatened_loss_notification_days: Days
    waiting_period_days: Days
    excludes_disputed: bool
    disagreement: DisagreementRules
    provider: CoverSource = LedgerSource(kind="ledger")

    @property
    def deductible_cents(self) -> int:
        """Deductible of a claim, in cents."""
        return int(self.deductible_per_claim_amount * 100)

    @property
    def maximum_liability_cents(self) -> int | None:
        """Most that the insurer pays in one insurance year, in cents."""
        amount = self.maximum_liability_amount
        return None if amount is None else int(amount * 100)

    @field_validator("stop_of_deliveries_days")
    @classmethod
    def _stops_in_time(cls, days: int, known: ValidationInfo) -> int:
        """Refuse a delay that lets the seller deliver without cover."""
        most = known.data.get("maximum_extension_days")
        if most is not None and days > most:
            raise ValueError(f"must be at most maximum_extension_days ({most})")
        return days


def load(source: Path | str = PATH) -> InsuranceRules:
    """Read and check the insurer's policy.

    Parameters
    ----------
    source : Path or str
        A file, or the text of one.

    Raises
    ------
    InsuranceError
        With one line for each fault: ``insurance.yaml:12: insured_rate: ...``.
    """
    return read(source, "insurance", InsuranceRules, InsuranceError)
