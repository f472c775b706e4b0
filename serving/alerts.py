"""Alerts, read back from the record and written to it: raised, acknowledged, over.

The entries of one customer and code are a chain: each but the first names the one it follows, and
an entry is followed once. So two evaluations at the same time, in two processes or on two machines,
raise one alert: the second finds its place taken, reads what was said, and has nothing to add.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from threading import Lock
from typing import Any, Literal, NamedTuple

from uuid_utils import uuid7

from models.alerts import Finding
from serving.answer import to_bytes
from serving.audit import Entry, Once, Record

KIND = "alert"
SCHEMA_VERSION = 1
US = "encours\talerts"  # among the clients of requests; no API key can be made for that name
Status = Literal["open", "acknowledged", "over", "replaced"]
Chain = tuple[str, str]  # customer and code


@dataclass(frozen=True)
class Alert:
    """An alert, with what became of it.

    Attributes
    ----------
    sequence : int
        Place of the entry that raised it.
    said : dict
        As recorded: ``id``, ``code``, ``severity``, ``customer_id``, ``at``, ``fr``, ``en`` …
    status : str
        ``open``, ``acknowledged``; ``over`` when the condition is; ``replaced`` by a worse one.
    acknowledged : dict or None
        ``by``, ``role``, ``at`` and ``note``.
    ended_at : str or None
        When it was over or replaced.
    """

    sequence: int
    said: dict[str, Any]
    status: Status = "open"
    acknowledged: dict[str, Any] | None = None
    ended_at: str | None = None

    @property
    def id(self) -> str:
        """Its identifier, that of the entry that raised it."""
        return str(self.said["id"])

    @property
    def chain(self) -> Chain:
        """The customer and code."""
        return self.said["customer_id"], self.said["code"]

    @property
    def is_standing(self) -> bool:
        """Whether its condition still holds, as far as we know."""
        return self.status in ("open", "acknowledged")


class UnknownAlert(Exception):
    """There is no such alert."""


class AlertClosed(Exception):
    """The alert is over, replaced by a worse one, or acknowledged already."""


class Source(NamedTuple):
    """What an alert comes from.

    Attributes
    ----------
    at : datetime
        UTC, of the state that was evaluated.
    currency : str
    rules : str
        SHA-256 of the rules of alerts.
    assessment_id : str or None
        None when the whole portfolio was looked at.
    """

    at: datetime
    currency: str
    rules: str
    assessment_id: str | None = None


class Page(NamedTuple):
    """Alerts in the order of the record, and the place up to which they were looked for."""

    alerts: list[Alert]
    reached: int
    is_last: bool


class Alerts:
    """The alerts of a record.

    Parameters
    ----------
    record : Record
    """

    def __init__(self, record: Record) -> None:
        self._record, self._seen = record, 0
        self._by_id: dict[str, Alert] = {}  # in the order of the record
        self._latest: dict[Chain, str] = {}
        self._ends: dict[Chain, str] = {}  # the last entry of each chain
        self._persons: dict[str, set[Chain]] = {}  # by the key that their entries are encrypted by
        self._reading = Lock()

    def all(self) -> list[Alert]:
        """Return every alert, in the order they were raised."""
        self._catch_up()
        with self._reading:
            return list(self._by_id.values())

    def find(self, alert_id: str) -> Alert | None:
        """Return an alert by its identifier."""
        self._catch_up()
        return self._by_id.get(alert_id)

    def standing(self, customer_id: str) -> list[Alert]:
        """Return the customer's alerts whose condition holds, in the order they were raised."""
        found = [one for one in self.all() if one.chain[0] == customer_id]
        return [one for one in found if one.is_standing]

    def page(self, after: int, limit: int, keep: Callable[[Alert], bool]) -> Page:
        """Return the next alerts raised after a place that are to be kept."""
        self._catch_up()
        with self._reading:  # together: what another thread learns in between is not passed over
            alerts, reached = list(self._by_id.values()), max(after, self._seen)
        found = [one for one in alerts if one.sequence > after and keep(one)]
        if len(found) <= limit:
            return Page(found, reached, is_last=True)
        return Page(found[:limit], found[limit - 1].sequence, is_last=False)

    def tell(self, customer_id: str, finding: Finding, source: Source) -> Alert | None:
        """Raise an alert, unless it stands already; one that is worse replaces the one before."""

        def said(last: Alert | None, id: str) -> dict[str, Any] | None:
            standing = last if last is not None and last.is_standing else None
            if standing is not None and not _is_worse(standing, finding):
                return None
            told = {
                "id": id,
                "customer_id": customer_id,
                "code": finding.code,
                "severity": finding.severity,
                "at": _instant(source.at),
                "assessment_id": source.assessment_id,
                "currency": source.currency,
                "fr": finding.fr,
                "en": finding.en,
                "evidence": finding.evidence,
                "measure": finding.measure,
                "replaces": None if standing is None else standing.id,
                "rules": f"sha256:{source.rules}",
            }
            return {"event": "raised", "alert": told}

        entry = self._append((customer_id, finding.code), said)
        return None if entry is None else self._by_id.get(entry.id)

    def end(self, customer_id: str, codes: Collection[str], at: datetime) -> None:
        """Say that the conditions of those alerts that stand, if any do, are over."""

        def said(last: Alert | None, _id: str) -> dict[str, Any] | None:
            if last is None or not last.is_standing:
                return None
            told = {"id": last.id, "customer_id": customer_id, "code": last.chain[1]}
            return {"event": "over", "alert": {**told, "at": _instant(at)}}

        self._catch_up()
        with self._reading:
            chains = [(customer_id, code) for code in codes if (customer_id, code) in self._latest]
        for chain in chains:
            self._append(chain, said)

    def acknowledge(self, alert_id: str, actor: dict[str, str], note: str, at: datetime) -> Alert:
        """Record that a person has seen an alert; the same person and note again change nothing.

        Raises
        ------
        UnknownAlert, AlertClosed
        """
        alert = self.find(alert_id)
        if alert is None:
            raise UnknownAlert
        who = {"by": actor["client"], "role": actor["role"]}

        def said(_last: Alert | None, _id: str) -> dict[str, Any] | None:
            now = self._by_id.get(alert_id)
            if now is None:
                raise UnknownAlert  # he was erased
            before = now.acknowledged
            if before is not None and {**before, **who, "note": note} == before:
                return None
            if now.status != "open":
                raise AlertClosed
            customer_id, code = now.chain
            told = {"id": alert_id, "customer_id": customer_id, "code": code, "at": _instant(at)}
            return {"event": "acknowledged", "alert": told, "actor": actor, "note": note}

        self._append(alert.chain, said)
        return self._by_id.get(alert_id, alert)

    def _append(
        self, chain: Chain, said: Callable[[Alert | None, str], dict[str, Any] | None]
    ) -> Entry | None:
        """Add an entry to a chain; when another one took its place, look again what is to say."""
        while True:
            self._catch_up()
            with self._reading:
                end, latest = self._ends.get(chain), self._latest.get(chain)
                last = None if latest is None else self._by_id[latest]
            key = self._record.persons.key_for(chain[0])
            named = chain[0] if key is None else key.id
            id = str(uuid7())
            told = said(last, id)
            if told is None:
                return None
            body = to_bytes({"schema": SCHEMA_VERSION, **told, "follows": end})
            entry = self._record.append(id, KIND, body, _place_after((named, chain[1]), end))
            if entry.id == id:
                self._catch_up()
                return entry

    def _catch_up(self) -> None:
        with self._reading:
            for entry in self._record.after(self._seen, KIND):
                self._learn(entry, json.loads(entry.body))
                self._seen = entry.sequence
            for person in self._persons.keys() & self._record.persons.erased():
                self._forget(self._persons.pop(person))

    def _forget(self, chains: set[Chain]) -> None:
        """Know no more of a person who was erased."""
        self._by_id = {id: one for id, one in self._by_id.items() if one.chain not in chains}
        for chain in chains:
            self._latest.pop(chain, None)
            self._ends.pop(chain, None)

    def _learn(self, entry: Entry, said: dict[str, Any]) -> None:
        told, event = said["alert"], said["event"]
        chain: Chain = (told["customer_id"], told["code"])
        self._ends[chain] = entry.id
        if entry.person is not None:
            self._persons.setdefault(entry.person, set()).add(chain)
        if event == "raised":
            self._by_id[entry.id] = Alert(entry.sequence, told)
            self._latest[chain] = entry.id
            if told["replaces"] is not None:
                self._become(told["replaces"], status="replaced", ended_at=told["at"])
        elif event == "acknowledged":
            actor = said["actor"]
            who = {"by": actor["client"], "role": actor["role"]}
            seen = {**who, "at": told["at"], "note": said["note"]}
            self._become(told["id"], status="acknowledged", acknowledged=seen)
        else:
            self._become(told["id"], status="over", ended_at=told["at"])

    def _become(self, alert_id: str, **changes: Any) -> None:
        if alert_id in self._by_id:  # else it was about a person who was erased
            self._by_id[alert_id] = replace(self._by_id[alert_id], **changes)


def _place_after(chain: Chain, end: str | None) -> Once:
    """Name the one place that follows an entry of a chain, or that begins it."""
    named = hashlib.sha256("\0".join((*chain, end or "")).encode()).hexdigest()
    return Once(US, named, named)


def _is_worse(standing: Alert, finding: Finding) -> bool:
    """Tell whether what stands has become worse, and another evaluation has not said so."""
    return finding.is_again and finding.measure > standing.said["measure"]


def _instant(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
