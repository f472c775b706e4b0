"""The JSON Schema of a policy file, as an editor reads it.

``python -m models.policy_schema`` writes models/policy.schema.json anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from models.policy_file import Policy

FILE = Path(__file__).with_name("policy.schema.json")


def json_schema() -> dict[str, Any]:
    """Give the JSON Schema of a policy file: what an editor can check while it is written.

    Chains, bands and references between keys are checked by :func:`load` alone.
    """
    schema: dict[str, Any] = _plain(Policy.model_json_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


_LEFT_OUT = ("title", "default")
_BOUNDS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
}


def _plain(node: Any) -> Any:
    """Say numbers as JSON Schema does: text is no number here, and bounds have their own names."""
    if isinstance(node, list):
        return [_plain(one) for one in node if one != {"type": "string"}]
    if not isinstance(node, dict):
        return node
    kept = {_BOUNDS.get(k, k): _plain(one) for k, one in node.items() if k not in _LEFT_OUT}
    match kept:
        case {"anyOf": [{"type": "number", **bounds}], **others}:
            return {"type": "number", **bounds, **others}
    return kept


if __name__ == "__main__":
    FILE.write_text(json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n", "utf-8")
