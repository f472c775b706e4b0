"""Policies for the tests: the one shipped, and the same with some keys changed."""

from pathlib import Path
from typing import Any

import yaml

from models.policy import Decision, Option, Policy, load

FILE = Path(__file__).parents[2] / "models" / "policy.yaml"
TEXT = FILE.read_text(encoding="utf-8")
POLICY = load(FILE)
LESS = (
    "shorter_terms",
    "retention_of_title",
    "bank_guarantee",
    "letter_of_credit",
    "insured_sale",
    "factoring",
)


def policy_with(**changes: Any) -> Policy:
    """Load the shipped policy with other values: ``acceptance_rate={"cash": 0.3}``.

    A section keeps the keys that are not named; None takes a key away.
    """
    document = yaml.safe_load(TEXT)
    for name, value in changes.items():
        if isinstance(value, dict) and isinstance(document.get(name), dict):
            document[name] = {**document[name], **value}
            document[name] = {k: v for k, v in document[name].items() if v is not None}
        else:
            document[name] = value
    return load(yaml.safe_dump(document))


ONLY_DEPOSITS = policy_with(acceptance_rate=dict.fromkeys(LESS))
NO_DEPOSIT = policy_with(acceptance_rate={**dict.fromkeys(LESS), "deposit": {}})


def option(decision: Decision, kind: str) -> Option:
    return next(one for one in decision.options if one.kind == kind)


def admissible(decision: Decision) -> set[str]:
    """Return the kinds that nothing stands in the way of; a review is always possible."""
    return {one.kind for one in decision.options if one.admissible} - {"review"}


def rule_ids(decision: Decision) -> list[str]:
    return [rule.id for rule in decision.rules]
