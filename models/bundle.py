"""A model's files on disk: text and JSON only, named after their hash, verified before parsing.

A damaged LightGBM text can crash the process that reads it, so nothing is parsed until every file
has the size and the SHA-256 of the manifest, and the manifest the hash it is named after. Bundles
are never changed and never deleted: an old decision replays with the files it was made with.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightgbm as lgb

from features.build import feature_names
from features.dictionary import dictionary_sha256
from models import trees
from models.curve import NOMINAL_TAIL, Calibration, TermCurve

MANIFEST = "manifest.json"


class BundleError(ValueError):
    """A bundle is missing or damaged, or was made for something else; it is not used."""


@dataclass(frozen=True)
class Bundle:
    """A curve with what is needed to use, explain and identify it.

    Attributes
    ----------
    sha256 : str
        Hash of the manifest: the model's identity.
    curve : TermCurve
    reference : dict
        ``median`` of each feature over the training rows, for comparisons in reasons.
    card : dict
        Question, default definition, ledger id, training window, data hash, versions, metrics.
    """

    sha256: str
    curve: TermCurve
    reference: dict[str, Any]
    card: dict[str, Any]


def write(folder: Path, curve: TermCurve, reference: dict[str, Any], card: dict[str, Any]) -> str:
    """Write a bundle below `folder`.

    Parameters
    ----------
    folder : Path
        Where bundles stand; the new one gets its hash as name.
    curve, reference, card
        See :class:`Bundle`.

    Returns
    -------
    str
        The bundle's SHA-256. The same curve, reference and card give the same one.
    """
    calibration = curve.calibration
    files = {
        "booster.txt": curve.booster.model_to_string().encode(),
        "features.json": _json(
            {"names": list(curve.features), "dictionary_sha256": dictionary_sha256()}
        ),
        "calibration.json": _json(
            {
                "question": curve.question,
                "slope": calibration.slope,
                "terms": list(calibration.terms),
                "offsets": list(calibration.offsets),
                "shortest": curve.shortest,
                "longest": curve.longest,
                **_tail(curve),
            }
        ),
        "reference.json": _json(reference),
        "card.json": _json(card),
    }
    manifest = _json(
        {name: {"sha256": _sha256(data), "size": len(data)} for name, data in files.items()}
    )
    sha256 = _sha256(manifest)
    target = folder / sha256
    if target.exists():
        verify(folder, sha256)
        return sha256
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        draft = Path(scratch) / sha256  # not the scratch itself, which only its owner may read
        draft.mkdir()
        for name, data in {**files, MANIFEST: manifest}.items():
            _write_through(draft / name, data)
        draft.rename(target)
    _sync_folder(folder)
    return sha256


def _tail(curve: TermCurve) -> dict[str, float]:
    """Name the tail only where it was chosen: a bundle of before keeps its bytes, and its hash."""
    return {} if curve.tail == NOMINAL_TAIL else {"interval_tail": curve.tail}


def verify(folder: Path, sha256: str) -> dict[str, bytes]:
    """Return a bundle's files after checking every size and hash.

    Raises
    ------
    BundleError
        Naming the first file that is missing, differs or does not belong there.
    """
    here = folder / sha256
    manifest = _read(here / MANIFEST)
    if _sha256(manifest) != sha256:
        raise BundleError(f"bundle {sha256[:12]}: {MANIFEST} was changed")
    files = {}
    for name, expected in json.loads(manifest).items():
        data = _read(here / name)
        if len(data) != expected["size"] or _sha256(data) != expected["sha256"]:
            raise BundleError(f"bundle {sha256[:12]}: {name} was changed")
        files[name] = data
    strangers = {path.name for path in here.iterdir()} - {MANIFEST, *files}
    if strangers:
        raise BundleError(f"bundle {sha256[:12]}: {min(strangers)} does not belong to it")
    return files


def read(folder: Path, sha256: str) -> Bundle:
    """Load a bundle after :func:`verify`.

    Raises
    ------
    BundleError
        If a file is missing or differs, or the curve reads other features than the ones computed
        now: they are told apart by their place, so another order would give silently wrong answers.
    """
    files = verify(folder, sha256)
    features = json.loads(files["features.json"])
    if features["names"] != list(feature_names(with_order=True)[: len(features["names"])]):
        raise BundleError(f"bundle {sha256[:12]} reads other features than those computed now")
    calibration = json.loads(files["calibration.json"])
    curve = TermCurve(
        question=calibration["question"],
        booster=lgb.Booster(model_str=files["booster.txt"].decode()),
        features=tuple(features["names"]),
        calibration=Calibration(
            calibration["slope"], tuple(calibration["terms"]), tuple(calibration["offsets"])
        ),
        shortest=calibration["shortest"],
        longest=calibration["longest"],
        tail=calibration.get("interval_tail", NOMINAL_TAIL),
        trees=trees.read(files["booster.txt"].decode()),
    )
    return Bundle(
        sha256, curve, json.loads(files["reference.json"]), json.loads(files["card.json"])
    )


@dataclass(frozen=True)
class Champions:
    """The one pointer file: which bundles and which policy speak, swapped as a whole.

    Attributes
    ----------
    late, default : str or None
        SHA-256 of the champions; ``None`` while there is none.
    policy : str
        SHA-256 of the policy file in force.
    abstentions : dict
        Why a curve has no champion, by question: ``reason``, ``events`` and ``floor``.
    challengers : dict
        SHA-256, by question, of the bundles that are scored in the shadow of the champions: their
        probabilities go on the record and never into an answer.
    """

    late: str | None
    default: str | None
    policy: str
    abstentions: dict[str, dict[str, Any]]
    challengers: dict[str, str] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Replace the pointer file atomically."""
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        _write_through(draft, _json(self.__dict__))
        draft.replace(path)
        _sync_folder(path.parent)

    @classmethod
    def load(cls, path: Path) -> Champions:
        """Read the pointer file.

        Raises
        ------
        BundleError
            If there is none yet, or it is not what :meth:`save` wrote.
        """
        data = _read(path)
        try:
            champions = cls(**json.loads(data))
        except (ValueError, TypeError, RecursionError) as error:  # no JSON, or other fields
            raise BundleError(f"{path.name} is damaged") from error
        if not champions._is_sound():
            raise BundleError(f"{path.name} is damaged")
        return champions

    def _is_sound(self) -> bool:
        by_question = (self.abstentions, self.challengers)
        if not all(isinstance(one, dict) for one in by_question):
            return False
        curves = [one for one in (self.late, self.default) if one is not None]
        return all(_is_sha256(one) for one in (self.policy, *curves, *self.challengers.values()))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path.parent.name}/{path.name} cannot be read") from error


def _write_through(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def keep(folder: Path, name: str, data: bytes) -> None:
    """Put a file named after its hash there for good, whole or not at all, unless it is there."""
    target = folder / name
    if target.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        draft = Path(scratch) / name
        _write_through(draft, data)
        draft.replace(target)
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    """Make renames in `folder` outlive a power cut, in the order they were made."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _json(content: Any) -> bytes:
    return json.dumps(content, sort_keys=True, indent=1, allow_nan=False).encode() + b"\n"


def _is_sha256(text: Any) -> bool:
    return isinstance(text, str) and re.fullmatch("[0-9a-f]{64}", text) is not None


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
