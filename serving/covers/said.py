"""What a cover provider says, and the port that every one of them implements."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Literal, Protocol

from models.insurance import Cover, last_decision

Outage = Literal[
    "timeout",
    "unreachable",
    "insurer_error",
    "rate_limited",
    "refused",
    "redirected",
    "bad_reply",
    "paused",
    "busy",
    "identifier",
    "file_unreadable",
    "file_old",
    "rows_refused",
]

WORDS: dict[Outage, tuple[str, str]] = {
    "timeout": ("l’assureur n’a pas répondu à temps", "the insurer did not answer in time"),
    "unreachable": ("l’assureur est injoignable", "the insurer cannot be reached"),
    "insurer_error": ("le service de l’assureur est en panne", "the insurer's service fails"),
    "rate_limited": ("l’assureur limite nos demandes", "the insurer limits our requests"),
    "refused": ("l’assureur refuse nos demandes", "the insurer refuses our requests"),
    "redirected": ("l’adresse de l’assureur a changé", "the insurer's address has changed"),
    "bad_reply": ("la réponse de l’assureur est illisible", "the insurer's reply is unreadable"),
    "paused": (
        "l’assureur n’est plus interrogé pour l’instant, après plusieurs échecs",
        "the insurer is not asked for now, after several failures",
    ),
    "busy": ("trop de demandes attendent l’assureur", "too many requests wait for the insurer"),
    "identifier": (
        "l’identifiant du client ne peut être transmis à l’assureur",
        "the customer's identifier cannot be sent to the insurer",
    ),
    "file_unreadable": (
        "le fichier des agréments est illisible",
        "the file of covers cannot be read",
    ),
    "file_old": (
        "le fichier des agréments n’est plus tenu à jour",
        "the file of covers is no longer kept up to date",
    ),
    "rows_refused": (
        "une ligne de ce client dans le fichier des agréments est illisible",
        "a row of this customer in the file of covers is unreadable",
    ),
}


@dataclass(frozen=True)
class Found:
    """What is known of a customer's cover.

    Attributes
    ----------
    cover : Cover or None
        The decision in force, else the one that ended last; ``None`` when nothing is known.
    checked_at : datetime or None
        When the source last confirmed it, UTC; ``None`` when it never did.
    outage : str or None
        Why it is not confirmed now; ``None`` when it is.
    """

    cover: Cover | None
    checked_at: datetime | None
    outage: Outage | None = None

    @property
    def is_stale(self) -> bool:
        """Whether the source could not confirm it now."""
        return self.outage is not None

    @property
    def is_unverified(self) -> bool:
        """Whether nothing is known because the source is down; see ``assess_cover``."""
        return self.cover is None and self.outage is not None

    @property
    def fr(self) -> str | None:
        """Why it is stale, in French; ``None`` when it is not."""
        if self.outage is None:
            return None
        last = "aucune confirmation antérieure"
        if self.checked_at is not None:
            last = f"dernière confirmation le {self.checked_at:%d/%m/%Y à %H:%M} UTC"
        return f"Agrément non confirmé : {WORDS[self.outage][0]} ; {last}."

    @property
    def en(self) -> str | None:
        """Why it is stale, in English; ``None`` when it is not."""
        if self.outage is None:
            return None
        last = "never confirmed before"
        if self.checked_at is not None:
            last = f"last confirmed on {self.checked_at:%Y-%m-%d at %H:%M} UTC"
        return f"Cover not confirmed: {WORDS[self.outage][1]}; {last}."


class CoverProvider(Protocol):
    """Gives the insurer's decision on a customer; safe to call from several threads."""

    def cover(self, customer_id: str, at: datetime) -> Found | None:
        """Return what is known of a customer's cover at an instant.

        Parameters
        ----------
        customer_id : str
            The seller's own number for the customer.
        at : datetime
            The present, UTC: decisions known until the end of its day count.

        Returns
        -------
        Found or None
            ``None`` when the insurer never decided on this customer. An outage raises nothing: it
            gives the last known cover, or none, and says why.
        """
        ...


def found_among(
    covers: Iterable[Cover], at: datetime, checked_at: datetime, outage: Outage | None = None
) -> Found | None:
    """Say which of a customer's decisions holds; those not confirmed are marked stale."""
    cover = last_decision(covers, as_of(at))
    if cover is None:
        return None if outage is None else Found(None, checked_at, outage)
    return Found(replace(cover, is_stale=outage is not None), checked_at, outage)


def as_of(at: datetime) -> date:
    """Return the exclusive date that an instant looks from: the day after it, UTC.

    >>> as_of(datetime(2026, 11, 25, 23, 59, tzinfo=UTC))
    datetime.date(2026, 11, 26)
    """
    return at.astimezone(UTC).date() + timedelta(days=1)
