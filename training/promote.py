"""Puts challengers in charge: the registry's alias first, then the service's pointer file.

The service reads plain files and never MLflow, so promoting copies nothing into it: bundles already
stand in their folder under their hash, and one small file that names them is swapped as a whole.
"""

from __future__ import annotations

from pathlib import Path

from models import bundle as bundles
from models.bundle import Champions
from training.tracking import CHALLENGER, CHAMPION, REGISTERED, Tracking
from training.train import Abstained


class PromotionError(ValueError):
    """There is nothing to promote, or it cannot be used."""


def promote(
    tracking: Tracking,
    bundle_folder: Path,
    pointer: Path,
    policy_sha256: str,
    abstained: list[Abstained],
) -> Champions:
    """Promote the challenger of each curve.

    Parameters
    ----------
    tracking : Tracking
    bundle_folder : Path
        Where the challengers' bundles stand; each must verify.
    pointer : Path
        The champions file, replaced atomically.
    policy_sha256 : str
        The policy in force.
    abstained : list of Abstained
        Curves that must have no champion on this ledger.

    Returns
    -------
    Champions

    Raises
    ------
    PromotionError
        If no challenger is registered for a curve that does not abstain.
    BundleError
        If a challenger's files are damaged; nothing is promoted then.
    """
    silent = {abstention.question: abstention for abstention in abstained}
    chosen = {}
    for question in REGISTERED:
        if question in silent:
            continue
        version = tracking.find(question, CHALLENGER)
        if version is None:
            raise PromotionError(f"no challenger for the {question} curve: run `encours train`")
        bundles.verify(bundle_folder, version.bundle_sha256)
        chosen[question] = version
    for version in chosen.values():
        tracking.alias(version, CHAMPION)
    champions = Champions(
        late=chosen["late"].bundle_sha256 if "late" in chosen else None,
        default=chosen["default"].bundle_sha256 if "default" in chosen else None,
        policy=policy_sha256,
        abstentions={
            question: {"reason": a.reason, "events": a.events, "floor": a.floor}
            for question, a in silent.items()
        },
    )
    champions.save(pointer)
    return champions
