"""What an answer rests on, gathered from where it stands by its hashes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models import bundle
from models.bundle import BundleError


def medians(bundles: Path, answer: Mapping[str, Any]) -> dict[str, float | None] | None:
    """Give the medians that the explained curve compares with; ``None`` where they are gone."""
    explained = answer["explanation"]
    if explained is None:
        return None
    sha256 = answer["versions"][explained["curve"]].removeprefix("sha256:")
    try:
        files = bundle.verify(bundles, sha256)
    except BundleError:
        return None
    found: dict[str, float | None] = json.loads(files["reference.json"])["median"]
    return found
