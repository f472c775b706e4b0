"""Whom an entry of the record is about, read from its exact bytes: for look-up, never the source.

One definition, two uses: as an entry is written, and for what a record of before holds.
"""

from __future__ import annotations

import json

from serving.person_key import key_named

PLACES: dict[str, tuple[str, ...]] = {
    "assessment": ("answer", "customer", "id"),
    "override": ("override", "customer_id"),
    "alert": ("alert", "customer_id"),
    "contest": ("contest", "customer_id"),
}


def customer_of(kind: str, body: bytes) -> str | None:
    """Return the customer an entry is about; ``None`` for one about nobody.

    A natural person is written as the id of the key that the body is encrypted by.

    >>> customer_of("override", b'{"override": {"customer_id": "C-17"}}')
    'C-17'
    >>> customer_of("key", b'{"key": {}}') is None
    True
    """
    if kind not in PLACES:
        return None
    if (id := key_named(body)) is not None:
        return id
    try:
        found = json.loads(body)
        for name in PLACES[kind]:
            found = found[name]
    except (ValueError, KeyError, TypeError):  # whatever it is, it is recorded
        return None
    return found if isinstance(found, str) else None
