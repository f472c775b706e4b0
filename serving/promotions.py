"""What was put in charge, on the record: each signed promotion, proposal and rollback, an entry.

Promoting belongs to training, which signs its records in a folder of files; the command line hands
them on. What is put in charge is on the record before it speaks, so that whoever reads the record
in its order sees by whom, and through which gate, the models of the next answers came.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from serving.answer import to_bytes
from serving.audit import New, Record

KIND = "promotion"
SCHEMA_VERSION = 1
PARTS = ("late", "default", "policy")


class Signed(Protocol):
    """A signed record of training: its place, the SHA-256 of its file, and what it says."""

    @property
    def number(self) -> int:
        """Its place among them, from 1."""

    @property
    def sha256(self) -> str:
        """Hash of its file."""

    @property
    def body(self) -> Mapping[str, Any]:
        """What was signed."""


def put_on_record(record: Record, signed: Iterable[Signed]) -> int:
    """Add the signed records that are not there yet, in their order; tell how many.

    An entry's id is the hash of the signed file: the same one again is no second entry.
    """
    missing = [one for one in signed if record.find(one.sha256) is None]
    if missing:
        record.append_many([New(one.sha256, KIND, _body(one)) for one in missing])
    return len(missing)


def _body(signed: Signed) -> bytes:
    said = dict(signed.body)
    return to_bytes(
        {
            "schema": SCHEMA_VERSION,
            "change": said["kind"],
            "by": said["by"],
            "at": said["at"],
            "parts": _changed(said),
            KIND: {"file_sha256": signed.sha256, **said},
        }
    )


def _changed(said: Mapping[str, Any]) -> list[str]:
    """Name what is another one afterwards: curves, the policy, or both."""
    before, after = said["before"] or {}, said["after"]
    return [part for part in PARTS if before.get(part) != after.get(part)]
