"""The use case: which models and which policy speak now. Reads only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from models import bundle as bundles
from models.bundle import BundleError, Champions
from models.policy import PolicyError, load
from models.workspace import Workspace
from serving.answer import to_bytes
from serving.assess import NotReady
from serving.speaking import Speaking

QUESTIONS = ("late", "default")


def models(workspace: Workspace, ledger_id: str) -> bytes:
    """Tell which bundles the pointer file names, from their cards.

    Raises
    ------
    NotReady
        If there is no pointer file, or it is damaged.
    """
    try:
        champions = Champions.load(workspace.champions)
    except BundleError as error:
        raise NotReady(f"No model is in charge: {error}.") from error
    refused = _refused(workspace, ledger_id)
    named = [("champion", question, getattr(champions, question)) for question in QUESTIONS]
    named += [("shadow", question, champions.challengers.get(question)) for question in QUESTIONS]
    found = [
        _told(workspace.bundles, place, question, sha256, refused.get((place, question)))
        for place, question, sha256 in named
        if sha256 is not None
    ]
    return to_bytes({"models": found, "abstentions": champions.abstentions})


def _refused(workspace: Workspace, ledger_id: str) -> dict[tuple[str, str], str]:
    """Say what would not be used if it were loaded now; the service keeps the last good ones."""
    try:
        speaking = Speaking.load(workspace, ledger_id)
    except (BundleError, PolicyError) as error:
        return {("champion", question): str(error) for question in QUESTIONS}
    return {("shadow", question): why for question, why in speaking.refused.items()}


def _told(
    folder: Path, place: str, question: str, sha256: str, refused: str | None
) -> dict[str, Any]:
    card: dict[str, Any] = {}
    try:
        card = json.loads(bundles.verify(folder, sha256)["card.json"])
    except (BundleError, KeyError) as error:
        refused = refused or str(error)
    data = card.get("data_sha256")
    return {
        "question": question,
        "place": place,
        "hash": f"sha256:{sha256}",
        "trained_on": None if data is None else f"sha256:{data}",
        "trained_from": card.get("trained_from"),
        "cutoff": card.get("cutoff"),
        "measured_until": card.get("measured_until"),
        "metrics": card.get("metrics", []),
        "refused": refused,
    }


def policy(workspace: Workspace) -> bytes:
    """Give the policy in force, checked against the hash that names it.

    Raises
    ------
    NotReady
    """
    try:
        named = Champions.load(workspace.champions).policy
        file = workspace.policies / f"{named}.yaml"
        found = load(file)
        if found.sha256 != named:
            raise BundleError(f"policy {named[:12]} was changed")
    except (BundleError, PolicyError) as error:
        raise NotReady(f"No policy can be used: {error}.") from error
    text = yaml.safe_load(file.read_text("utf-8"))
    told = {"hash": f"sha256:{named}", "version": found.version, "policy": text}
    return json.dumps(told, ensure_ascii=False, allow_nan=False, default=str).encode()
