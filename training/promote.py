"""Puts challengers in charge: the registry's alias first, then the service's pointer file.

The service reads plain files and never MLflow, so promoting copies no model: bundles already stand
in their folder under their hash, and one small file that names them is swapped as a whole.
"""

from __future__ import annotations

from pathlib import Path

from models import bundle as bundles
from models import policy as policies
from models.bundle import Champions
from models.workspace import Workspace
from training.tracking import CHALLENGER, CHAMPION, REGISTERED, Tracking, Version


class PromotionError(ValueError):
    """There is nothing to promote, or it cannot be used."""


def promote(tracking: Tracking, workspace: Workspace, policy: Path) -> Champions:
    """Promote the challenger of each curve, and the policy.

    Parameters
    ----------
    tracking : Tracking
    workspace : Workspace
        Where the challengers' bundles stand and the pointer file is replaced.
    policy : Path
        The policy to put in force; a copy is kept under its hash.

    Returns
    -------
    Champions
        A curve that the latest training could not teach has none, and says why.

    Raises
    ------
    PromotionError
        If a curve has neither a challenger nor a reason to abstain.
    BundleError, PolicyError
        If a challenger's files are damaged or the policy is wrong; nothing is promoted then.
    """
    abstentions = {}
    chosen: dict[str, Version] = {}
    for question in REGISTERED:
        why = tracking.abstention(question)
        challenger = tracking.find(question, CHALLENGER)
        if why is not None:
            abstentions[question] = why
        elif challenger is None:
            raise PromotionError(f"no challenger for the {question} curve: run `encours train`")
        else:
            bundles.verify(workspace.bundles, challenger.bundle_sha256)
            chosen[question] = challenger
    policy_sha256 = _keep_policy(policy, workspace.policies)
    for version in chosen.values():
        tracking.alias(version, CHAMPION)
    for question in abstentions:
        tracking.withdraw(question, CHAMPION)
    speaking = {question: version.bundle_sha256 for question, version in chosen.items()}
    champions = Champions(
        late=speaking.get("late"),
        default=speaking.get("default"),
        policy=policy_sha256,
        abstentions=abstentions,
    )
    champions.save(workspace.champions)
    return champions


def _keep_policy(policy: Path, folder: Path) -> str:
    """Keep a checked copy of the policy under its hash."""
    sha256 = policies.load(policy).sha256
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"{sha256}.yaml"
    if not kept.exists():  # never touched again: the service may be reading it
        kept.write_bytes(policy.read_bytes())
    return sha256
