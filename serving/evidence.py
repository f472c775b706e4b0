"""What an answer rests on, gathered from where it stands: by its hashes, and never changed.

What cannot be found, or is no longer what its hash says, is said to be so and never left out.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
import yaml

from features.store import Store
from features.store_sources import Append, sources_of
from models import bundle
from models.bundle import BundleError
from models.overrides import Override
from models.workspace import Workspace
from serving import merkle
from serving.answering import SCHEMA_VERSION
from serving.audit import Entry
from serving.checkpoint import Checkpoint, NoteError, opened
from serving.checkpoint_keys import Keys, vouched
from serving.export import NotExportable, prove
from serving.overrides import KIND, from_body
from serving.replay import Replayed, Replayer
from serving.seals import Seals, columns, open_to_read

QUESTIONS = ("default", "late")
_entries = sa.table("entries", *(sa.column(name) for name in ("sequence", "kind", "body")))
POLICY_PARTS = (
    "version",
    "default_definition",
    "horizon_days",
    "lgd_rate",
    "cures",
    "funding",
    "review",
    "appetite",
    "limit",
)
"""What of the policy an answer's figures follow from, beside the rules that fired."""


class NotEvident(Exception):
    """The entry is not one that this program wrote; the message says why."""


class Proof(NamedTuple):
    """What shows that the entry is on the signed record.

    Attributes
    ----------
    content : dict or None
        What ``docs/verify.py`` checks; None when there is none.
    checkpoint : Checkpoint or None
        What was signed.
    holds : bool
        Whether it was found to hold when this was made, with the keys here.
    """

    content: dict[str, Any] | None
    checkpoint: Checkpoint | None
    holds: bool


class Extract(NamedTuple):
    """A part of a file that is named by its hash.

    Attributes
    ----------
    sha256 : str
    text : str or None
        None when the file is gone, or is no longer what its hash says.
    """

    sha256: str
    text: str | None


class Evidence(NamedTuple):
    """Everything about one assessment.

    Attributes
    ----------
    entry : Entry
    body : dict
        What the entry says.
    replayed : Replayed or None
        None when it was not made again.
    sources : list of Append
        Where the customer's facts came from.
    cards : dict of str to (dict or None)
        Of the bundles named, by question; None where the bundle cannot be read.
    medians : dict or None
        Of each feature, to compare with.
    policy, insurance : Extract
    overrides : list of Override
        Decisions of people that the answer followed, or that were taken on it later.
    proof : Proof
    """

    entry: Entry
    body: dict[str, Any]
    replayed: Replayed | None
    sources: list[Append]
    cards: dict[str, dict[str, Any] | None]
    medians: dict[str, float | None] | None
    policy: Extract
    insurance: Extract
    overrides: list[Override]
    proof: Proof


def gather(workspace: Workspace, store: Store | None, entry: Entry) -> Evidence:
    """Gather what an assessment rests on, and make it again.

    Parameters
    ----------
    workspace : Workspace
        Nothing is written there.
    store : Store or None
        To make it again from, best one of its own; without, it is not made again.
    entry : Entry
        Of an assessment.

    Raises
    ------
    NotEvident
        If the entry is of a schema before, or is no assessment.
    """
    body = _read(entry)
    answer, kept = body["answer"], body["evidence"]
    customer_id = answer["customer"]["id"]
    known_at, sequence = kept["known_at_microseconds"], kept["sequence"]
    return Evidence(
        entry=entry,
        body=body,
        replayed=None if store is None else Replayer(workspace, store).replay(entry),
        sources=sources_of(workspace.facts_url, customer_id, known_at, sequence),
        cards=_cards(workspace.bundles, answer["versions"]),
        medians=medians(workspace.bundles, answer),
        policy=_policy(workspace.policies, answer),
        insurance=_insurance(workspace.insurance, answer),
        overrides=_overrides(workspace.record_url, answer["id"], kept["override"]),
        proof=proof_of(workspace, answer["id"]),
    )


def _read(entry: Entry) -> dict[str, Any]:
    """Read an entry that has the parts of an assessment, whatever became of them."""
    try:
        body: dict[str, Any] = json.loads(entry.body)
        schema = body["schema"]
        parts = body["answer"]["versions"], body["evidence"]["known_at_microseconds"]
    except (ValueError, KeyError, TypeError) as error:
        why = "it is no assessment as this program writes it"
        raise NotEvident(f"{why}: see `encours audit verify`") from error
    if schema != SCHEMA_VERSION or None in parts:
        raise NotEvident(f"it is of schema {schema}, which keeps too little")
    return body


def medians(bundles: Path, answer: Mapping[str, Any]) -> dict[str, float | None] | None:
    """Give the medians that the explained curve compares with; ``None`` where they are gone."""
    explained = answer["explanation"]
    if explained is None:
        return None
    reference = _of_bundle(bundles, answer["versions"][explained["curve"]], "reference.json")
    return None if reference is None else reference["median"]


def _cards(bundles: Path, versions: Mapping[str, str | None]) -> dict[str, dict[str, Any] | None]:
    named = {question: versions[question] for question in QUESTIONS}
    return {
        question: _of_bundle(bundles, identity, "card.json")
        for question, identity in named.items()
        if identity is not None
    }


def _of_bundle(bundles: Path, identity: str, name: str) -> dict[str, Any] | None:
    """Read a JSON file of a bundle after checking every hash."""
    try:
        files = bundle.verify(bundles, _sha256(identity))
    except BundleError:
        return None
    found: dict[str, Any] = json.loads(files[name])
    return found


def _policy(folder: Path, answer: Mapping[str, Any]) -> Extract:
    """Take out of the policy the rules that fired and what the figures follow from."""
    sha256 = _sha256(answer["versions"]["policy"])
    content = _named_by_hash(folder, sha256)
    if content is None:
        return Extract(sha256, None)
    whole = yaml.safe_load(content)
    fired = {rule["id"] for rule in answer["rules"]}
    told = {name: whole[name] for name in POLICY_PARTS if name in whole}
    told["blocking"] = [rule for rule in whole.get("blocking", []) if rule["id"] in fired]
    return Extract(sha256, as_yaml(told))


def _insurance(folder: Path, answer: Mapping[str, Any]) -> Extract:
    sha256 = _sha256(answer["versions"]["insurance"])
    content = _named_by_hash(folder, sha256)
    if content is None:
        return Extract(sha256, None)
    whole = yaml.safe_load(content)
    whole.pop("provider", None)  # where covers come from: an address is nobody else's business
    return Extract(sha256, as_yaml(whole))


def _named_by_hash(folder: Path, sha256: str) -> bytes | None:
    try:
        content = (folder / f"{sha256}.yaml").read_bytes()
    except OSError:
        return None
    return content if hashlib.sha256(content).hexdigest() == sha256 else None


def as_yaml(content: dict[str, Any]) -> str:
    """Write a part of a file, or of an entry, to be read."""
    return yaml.safe_dump(content, allow_unicode=True, sort_keys=False, width=96)


def _overrides(url: str, assessment_id: str, followed: str | None) -> list[Override]:
    query = sa.select(_entries.c.body).where(_entries.c.kind == KIND)
    engine = open_to_read(url)
    try:
        with engine.connect() as connection:
            bodies = connection.execute(query.order_by(_entries.c.sequence)).scalars()
            found = [from_body(bytes(body)) for body in bodies]
    finally:
        engine.dispose()
    return [one for one in found if one.id == followed or one.assessment_id == assessment_id]


def _sha256(identity: str) -> str:
    return identity.removeprefix("sha256:")


# --- The proof ---------------------------------------------------------------------------------


def proof_of(workspace: Workspace, id: str) -> Proof:
    """Prove that an entry is under the latest checkpoint, and check the proof at once."""
    public = Keys(workspace.home / "keys").public
    keys = public.read_text("utf-8").splitlines() if public.exists() else []
    engine = open_to_read(workspace.record_url)
    try:
        with engine.connect() as connection:
            seals = Seals(connection)
            if not seals.exist():
                return Proof(None, None, holds=False)
            content = prove(seals, keys, id)
    except NotExportable:
        return Proof(None, None, holds=False)
    finally:
        engine.dispose()
    return _checked(content, keys)


def _checked(content: dict[str, Any], keys: Sequence[str]) -> Proof:
    try:
        checkpoint = opened(content["checkpoint"], vouched(keys))
    except NoteError:
        return Proof(content, None, holds=False)
    return Proof(content, checkpoint, holds=_is_under(content, checkpoint))


def _is_under(content: Mapping[str, Any], checkpoint: Checkpoint) -> bool:
    """Tell whether the entry's bytes, and what stands beside them, lead to the signed roots."""
    said = content["entry"]
    kind, id = (said[name].encode() for name in ("kind", "id"))
    beside = columns(said["sequence"], said["recorded_at"], kind, id)
    leaves = {"bodies": base64.b64decode(said["body"]), "columns": beside}
    roots = {"bodies": checkpoint.root, "columns": checkpoint.columns}
    return all(
        merkle.is_included(
            merkle.leaf_hash(leaf),
            said["index"],
            checkpoint.size,
            [bytes.fromhex(node) for node in content["inclusion"][name]],
            roots[name],
        )
        for name, leaf in leaves.items()
    )
