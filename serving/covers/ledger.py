"""Covers of the ledger's own table, ``insurance_covers``: the provider by default."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from numpy.typing import NDArray

from features.history import NEVER
from models.insurance import Cover
from serving.covers.said import Found, found_among

Rows = Mapping[str, NDArray[Any]]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class LedgerCovers:
    """Gives the covers that the ledger holds; always current, for the ledger is what we know.

    Parameters
    ----------
    read : callable
        Gives the rows of ``insurance_covers`` of one customer at an instant. What it raises comes
        through: without the ledger there is no assessment either.
    """

    def __init__(self, read: Callable[[str, datetime], Rows]) -> None:
        self._read = read

    def cover(self, customer_id: str, at: datetime) -> Found | None:
        """Return the cover; see :meth:`CoverProvider.cover`."""
        return found_among(covers_of(self._read(customer_id, at)), at, at)


def covers_of(rows: Rows) -> tuple[Cover, ...]:
    """Turn rows of ``insurance_covers`` (days, cents, microseconds) into covers."""
    columns = ("amount_cents", "insured_rate", "starts_on", "ends_on", "recorded_at")
    return tuple(
        Cover(
            int(amount_cents),
            float(insured_rate),
            _date(starts_on),
            None if ends_on == NEVER else _date(ends_on),
            "ledger",
            EPOCH + timedelta(microseconds=int(recorded_at)),
        )
        for amount_cents, insured_rate, starts_on, ends_on, recorded_at in zip(
            *(rows[name] for name in columns), strict=True
        )
    )


def _date(day: int) -> date:
    return EPOCH.date() + timedelta(days=int(day))
