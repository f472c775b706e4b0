"""An assessment of the past, made again from the facts as known then: the same bytes, or why not.

Twice, and neither trusts the other. The *replay* reads the facts up to the store's sequence that
the assessment saw, the bundles, the policy and the insurer's rules by their hashes, and calls the
very function that answered. The *walker* needs neither store nor LightGBM: it follows the recorded
features through the text of the boosters, in plain Python, to the recorded margins.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from features.build import feature_names
from features.history import Facts
from features.ledger import LedgerError
from features.store import Described, Store, connect
from models import bundle as bundles
from models import tree_walker
from models.bundle import BundleError, Champions
from models.insurance_file import InsuranceError, InsuranceRules
from models.insurance_file import load as load_rules
from models.overrides import Override
from models.policy import Order, PolicyError
from models.tree_walker import Tree, UnreadableBooster
from models.workspace import Workspace
from serving import overrides
from serving.answer import cover_found
from serving.answering import (
    SCHEMA_VERSION,
    AssessmentError,
    Known,
    Question,
    answer,
    instant_of,
    runs_on,
)
from serving.audit import Entry, leaf_hash
from serving.covers import Found
from serving.prospects import Prospect
from serving.situation import Insurer
from serving.speaking import Speaking

MOST_LOADED = 8  # sets of champions in memory; entries that follow each other share theirs
ENTRIES_A_READ = 200
ABSENT = object()
CANNOT = (AssessmentError, BundleError, InsuranceError, LedgerError, PolicyError, UnreadableBooster)
_entries = sa.table(
    "entries", *(sa.column(name) for name in ("sequence", "id", "kind", "body", "leaf_hash"))
)


class NotReplayable(Exception):
    """The entry cannot be made again; the message says what it lacks."""


class Replayed(NamedTuple):
    """What came of one entry.

    Attributes
    ----------
    entry : Entry
    differences : tuple of str
        What differs first, of its seal, its answer and its margins; empty: it is exact.
    other_code : tuple of str
        What answered then in another version than here.
    """

    entry: Entry
    differences: tuple[str, ...]
    other_code: tuple[str, ...]


class Curve(NamedTuple):
    """A curve as the walker reads it from a bundle: text and JSON alone."""

    trees: tuple[Tree, ...]
    features: int
    shortest: int
    longest: int


class Replayer:
    """Makes assessments of the past again.

    Parameters
    ----------
    workspace : Workspace
        Nothing is written there.
    store : Store
        Best one of its own: the peers' table goes forward with the entries.
    """

    def __init__(self, workspace: Workspace, store: Store) -> None:
        self._workspace, self._store = workspace, store
        self._ledger = store.ledger
        self._entries = Entries(workspace.record_url)
        self._speaking = lru_cache(MOST_LOADED)(self._load)
        self._rules = lru_cache(MOST_LOADED)(self._load_rules)
        self._curve = lru_cache(4 * MOST_LOADED)(self._load_curve)

    def replay(self, entry: Entry) -> Replayed:
        """Make an entry again, and follow its features through the trees."""
        differences, other_code = [], []
        if leaf_hash(entry.body) != entry.leaf_hash:
            differences.append("the entry's bytes are not those of its leaf hash")
        try:
            body = _read(entry)
            other_code = _other_code(body["evidence"]["runs_on"])
            again = self.again(body)
            if again != entry.body:
                differences.append(first_difference(body, json.loads(again)))
            differences.extend(self._walked(body))
        except (*CANNOT, NotReplayable) as error:
            differences.append(f"it cannot be made again: {error}")
        except OperationalError:  # the database fails, not the entry
            raise
        except Exception as error:  # noqa: BLE001 (whatever a changed entry leads to, it is named)
            differences.append(f"it cannot be made again: {type(error).__name__} in what it keeps")
        return Replayed(entry, tuple(differences), tuple(other_code))

    def again(self, body: dict[str, Any]) -> bytes:
        """Answer again what an entry's body says was asked, from what was known then."""
        said, kept = body["answer"], body["evidence"]
        asked = None if kept["asked"] is None else Order(**kept["asked"])
        customer_id = said["customer"]["id"]
        question = Question(
            said["id"], customer_id, asked, kept["actor"], kept["request"], kept.get("prospect")
        )
        return answer(question, self.known(body)).body

    def known(self, body: dict[str, Any]) -> Known:
        """Gather what was known then.

        Raises
        ------
        NotReplayable, BundleError, PolicyError, InsuranceError
        """
        said, kept = body["answer"], body["evidence"]
        if kept["ledger_id"] != self._ledger.id:
            raise NotReplayable("it is of another ledger")
        sequence, known_at = kept["sequence"], kept["known_at_microseconds"]
        customer_id = said["customer"]["id"]
        facts = self._facts(customer_id, known_at, sequence, kept.get("prospect"))
        return Known(
            now=instant_of(known_at),
            sequence=sequence,
            ledger=Described(self._ledger.id, self._ledger.currency, kept["observed_from"]),
            facts=facts,
            peers=self._store.peers(sequence),
            store=self._store,
            insurer=self._insurer(said, kept),
            speaking=self.speaking(body),
            override=self._override(kept["override"]),
            runs_on=kept["runs_on"],
        )

    def _facts(
        self, customer_id: str, known_at: int, sequence: int, prospect: dict[str, Any] | None
    ) -> Facts:
        """Read the customer's facts as they were known; those of a prospect are on its entry."""
        if prospect is not None:
            told = Prospect(customer_id, prospect)
            return told.facts(instant_of(known_at), self._ledger.currency)
        facts = self._store.snapshot(customer_id, known_at, sequence=sequence).facts
        if facts["customers"]["customer_id"].size == 0:
            raise NotReplayable("the ledger did not know the customer then")
        return facts

    def speaking(self, body: dict[str, Any]) -> Speaking:
        """Load the champions, challengers and policy that an entry names."""
        versions, kept = body["answer"]["versions"], body["evidence"]
        pointers = {
            "late": _sha256(versions["late"]),
            "default": _sha256(versions["default"]),
            "policy": _sha256(versions["policy"]),
            "abstentions": kept["abstentions"],
            "challengers": {name: one["sha256"] for name, one in kept["shadow"].items()},
        }
        return self._speaking(json.dumps(pointers))  # its text: a dict cannot be looked up by

    def _load(self, pointers: str) -> Speaking:
        champions = Champions(**json.loads(pointers))
        return Speaking.load(self._workspace, self._ledger.id, champions)

    def _load_rules(self, sha256: str) -> InsuranceRules:
        rules = load_rules(self._workspace.insurance / f"{sha256}.yaml")
        if rules.sha256 != sha256:
            raise InsuranceError(f"the insurer's policy {sha256[:12]} was changed")
        return rules

    def _insurer(self, said: dict[str, Any], kept: dict[str, Any]) -> Insurer:
        """Give the rules by their hash; whoever is not the ledger says again what he said."""
        rules = self._rules(_sha256(said["versions"]["insurance"]) or "")
        if kept["cover_from"] == "ledger":
            return Insurer(rules)
        return Insurer(rules, _AsRecorded(cover_found(kept["cover"])))

    def _override(self, id: str | None) -> Override | None:
        if id is None:
            return None
        entry = self._entries.find(id)
        if entry is None or entry.kind != overrides.KIND:
            raise NotReplayable("the override that it names is not on the record")
        if leaf_hash(entry.body) != entry.leaf_hash:
            raise NotReplayable(f"the override that it names, entry {entry.sequence}, was changed")
        return overrides.from_body(entry.body)

    def _load_curve(self, sha256: str) -> Curve:
        files = bundles.verify(self._workspace.bundles, sha256)
        how = json.loads(files["calibration.json"])
        n_features = len(json.loads(files["features.json"])["names"])
        trees = tree_walker.read(files["booster.txt"].decode())
        return Curve(trees, n_features, how["shortest"], how["longest"])

    def _walked(self, body: dict[str, Any]) -> Iterator[str]:
        """Follow the recorded features to the recorded margins; give the first that differs."""
        kept = body["evidence"]
        row = [float.fromhex(value) for value in kept["features"]]
        for question, margins in kept["margins"].items():
            curve = self._curve(_sha256(body["answer"]["versions"][question]) or "")
            asked = list(map(int, margins))
            if question == "late":
                asked = list(range(curve.shortest, curve.longest + 1))
            walked = tree_walker.margins(curve.trees, row[: curve.features], asked)
            recorded = None
            for term, margin in zip(asked, walked, strict=True):
                recorded = margins.get(str(term), recorded)
                if margin.hex() != recorded:
                    yield (
                        f"the trees of {question} give {margin.hex()} at {term} days, not the "
                        f"recorded {recorded}"
                    )
                    break


class _AsRecorded:
    """An insurer, or a file of covers, that says again what it said."""

    def __init__(self, found: Found | None) -> None:
        self._found = found

    def cover(self, customer_id: str, at: datetime) -> Found | None:
        """Return what was recorded."""
        return self._found


class Entries:
    """Reads the record, and never writes to it.

    Parameters
    ----------
    url : str
        SQLAlchemy URL of the record.
    """

    def __init__(self, url: str) -> None:
        self._engine = connect(url, only_reads=True)

    def find(self, id: str) -> Entry | None:
        """Return an entry by its identifier, if there is one."""
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(_entries).where(_entries.c.id == id)).first()
        return None if row is None else Entry(**row._mapping)

    def sample(self, n: int, seed: int) -> list[Entry]:
        """Draw at most `n` assessments, each with the same chance, in their order."""
        with self._engine.connect() as connection:
            last = connection.scalar(sa.select(sa.func.max(_entries.c.sequence))) or 0
            found: list[Entry] = []
            for places in _shuffled(last, seed):
                wanted = _entries.c.sequence.in_(places), _entries.c.kind == "assessment"
                rows = connection.execute(sa.select(_entries).where(*wanted))
                read = {row.sequence: Entry(**row._mapping) for row in rows}
                found += [read[place] for place in places if place in read]
                if len(found) >= n:
                    break
        return sorted(found[:n], key=lambda entry: entry.sequence)


def _shuffled(last: int, seed: int) -> Iterator[list[int]]:
    """Give the places 1 … `last` in a random order, some at a time."""
    places = list(range(1, last + 1))
    random.Random(seed).shuffle(places)  # noqa: S311 (no secret)
    for start in range(0, last, ENTRIES_A_READ):
        yield places[start : start + ENTRIES_A_READ]


def in_order(entries: Sequence[Entry]) -> list[Entry]:
    """Order entries by what they saw of the store: peers are then read forward, once."""
    return sorted(entries, key=_seen)


def _seen(entry: Entry) -> tuple[int, int]:
    try:
        return json.loads(entry.body)["evidence"]["sequence"], entry.sequence
    except (ValueError, KeyError, TypeError):
        return 0, entry.sequence


def first_difference(recorded: dict[str, Any], again: dict[str, Any]) -> str:
    """Name what differs first: a feature by its name, else the field by its path."""
    old, new = (body["evidence"].get("features") for body in (recorded, again))
    if old != new:
        return _feature_that_differs(old, new)
    found = _differs(recorded, again, "")
    if found is None:
        return "the same content in other bytes"
    path, was, now = found
    return f"{path.lstrip('/')}: recorded {_shown(was)}, made again {_shown(now)}"


def _feature_that_differs(old: Any, new: list[str]) -> str:
    names = feature_names(with_order=True)
    if not isinstance(old, list) or len(old) != len(new):
        return f"the features: not the {len(new)} that are computed"
    place = next(i for i, pair in enumerate(zip(old, new, strict=True)) if pair[0] != pair[1])
    return f"feature {names[place]}: recorded {_shown(old[place])}, made again {new[place]}"


def _differs(old: Any, new: Any, path: str) -> tuple[str, Any, Any] | None:
    """Find the first place where two JSON documents differ, in the order of the first."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys: Sequence[Any] = list(dict.fromkeys([*old, *new]))
        pairs = [(key, old.get(key, ABSENT), new.get(key, ABSENT)) for key in keys]
    elif isinstance(old, list) and isinstance(new, list):
        longest = range(max(len(old), len(new)))
        pairs = [(i, _at(old, i), _at(new, i)) for i in longest]
    else:
        return None if (type(old), old) == (type(new), new) else (path, old, new)
    found = (_differs(was, now, f"{path}/{key}") for key, was, now in pairs)
    return next((one for one in found if one is not None), None)


def _at(values: list[Any], place: int) -> Any:
    return values[place] if place < len(values) else ABSENT


def _shown(value: Any) -> str:
    text = "nothing" if value is ABSENT else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _read(entry: Entry) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(entry.body)
    if body["schema"] != SCHEMA_VERSION:
        raise NotReplayable(
            f"it is of schema {body['schema']}, which keeps too little; this version replays "
            f"{SCHEMA_VERSION}"
        )
    return body


def _other_code(then: dict[str, str]) -> list[str]:
    now = runs_on()
    return [
        f"{name} {then.get(name, 'unknown')[:12]} → {now.get(name, 'unknown')[:12]}"
        for name in dict.fromkeys([*then, *now])
        if then.get(name) != now.get(name)
    ]


def _sha256(identity: str | None) -> str | None:
    return None if identity is None else identity.removeprefix("sha256:")
