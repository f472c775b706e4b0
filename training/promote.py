"""Puts challengers in charge, and former champions back: gate, signed record, alias, pointer file.

The service reads plain files and never MLflow, so promoting copies no model: bundles already stand
in their folder under their hash, and one small file that names them is swapped as a whole. What is
in charge was recorded before: the record comes first, then the registry's aliases, then the file.
"""

from __future__ import annotations

import fcntl
import getpass
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, Literal

from models import bundle as bundles
from models import policy as policies
from models.bundle import Champions
from models.targets import DEFAULT_DEFINITIONS
from models.workspace import Workspace
from training import gate, gate_file
from training.gate import Judge, Verdict
from training.gate_file import Rules
from training.signing import RecordError, Signatures, Signed
from training.tracking import CHALLENGER, CHAMPION, REGISTERED, Tracking

PARTS = (*REGISTERED, "policy")
PROMOTION, PROPOSAL, ROLLBACK = "promotion", "proposal", "rollback"


Tell = Callable[[Signed], object]


def _nobody(_signed: Signed) -> None:
    """Tell nobody."""


class PromotionError(ValueError):
    """There is nothing to promote or to go back to, or it cannot be used."""


@dataclass(frozen=True)
class Outcome:
    """What came of asking for a promotion or a rollback.

    Attributes
    ----------
    status : str
        ``done``; ``refused`` by the gate; ``proposed``, for a second person to approve;
        ``waiting``, for another person than the one who proposed; ``unchanged``, because
        everything asked for is in charge.
    champions : Champions or None
        What is in charge now.
    verdicts : tuple of Verdict
        Of the gate, one for each curve that would change.
    record : Signed or None
        What was written, or, when waiting, the proposal.
    """

    status: Literal["done", "refused", "proposed", "waiting", "unchanged"]
    champions: Champions | None
    verdicts: tuple[Verdict, ...] = ()
    record: Signed | None = None


def promote(
    tracking: Tracking,
    workspace: Workspace,
    policy: Path,
    judge: Judge | None = None,
    *,
    parts: Sequence[str] = PARTS,
    by: str | None = None,
    rules: Rules | None = None,
    tell: Tell = _nobody,
) -> Outcome:
    """Promote the challenger of each curve, and the policy.

    Parameters
    ----------
    tracking : Tracking
    workspace : Workspace
        Where the challengers' bundles stand and the pointer file is replaced.
    policy : Path
        The policy to put in force; a copy is kept under its hash.
    judge : callable, optional
        The gate: takes challenger and champion. Without it only a first promotion is possible, by
        :func:`training.gate.first`.
    parts : sequence of str
        Which of ``late``, ``default`` and ``policy``.
    by : str, optional
        Who promotes; by default the login name.
    rules : Rules, optional
        By default those of ``gate.yaml``.
    tell : callable, optional
        Told of what was signed before anything is put in charge by it; when it fails, nothing is.

    Returns
    -------
    Outcome
        A curve that the latest training could not teach has no champion, and says why.

    Raises
    ------
    PromotionError
        If a curve has neither a challenger nor a reason to abstain, or learned another definition
        of default than the policy's.
    BundleError, PolicyError, RecordError
        If a challenger's files are damaged, the policy is wrong, or the signed records were
        tampered with; nothing is promoted then.
    """
    rules = rules or gate_file.load()
    judge = judge or partial(gate.first, rules=rules)
    who = by or login_name()
    with _alone(workspace):
        records = signatures(workspace).verified()
        before = _in_charge(workspace, records)
        after = _asked_for(tracking, policy, before, parts)
        if before is not None and _named(after) == _named(before):
            return Outcome("unchanged", before)
        verdicts = tuple(
            _judged(tracking, workspace, question, before, after, judge)
            for question in _changed(before, after)
        )
        in_force = policy if "policy" in parts else _kept(workspace, after)
        _require_definition(workspace, after, in_force)
        if not all(verdict.is_accepted for verdict in verdicts):
            return Outcome("refused", before, verdicts)
        content = {
            "before": None if before is None else _named(before),
            "after": _named(after),
            "gate_sha256": rules.sha256,
            "verdicts": {verdict.question: gate.shown(verdict) for verdict in verdicts},
        }
        if rules.four_eyes:
            proposal = _open_proposal(records, content)
            if proposal is None:
                proposed = _sign(workspace, PROPOSAL, who, content, tell)
                return Outcome("proposed", before, verdicts, proposed)
            if _same_name(proposal.body["by"], who):
                return Outcome("waiting", before, verdicts, proposal)
            content["proposed_by"] = proposal.body["by"]
        if "policy" in parts:
            _keep_policy(policy, _kept(workspace, after))
        record = _sign(workspace, PROMOTION, who, content, tell)
        return Outcome("done", _put_in_charge(tracking, workspace, after), verdicts, record)


def rollback(
    tracking: Tracking,
    workspace: Workspace,
    parts: Sequence[str] | None = None,
    by: str | None = None,
    tell: Tell = _nobody,
) -> Outcome:
    """Put back what was in charge before, as the signed records tell.

    One person may do so, four eyes or not: two have approved it before.

    Parameters
    ----------
    tracking : Tracking
    workspace : Workspace
    parts : sequence of str, optional
        Which of ``late``, ``default`` and ``policy``; by default what the latest promotion changed
        and is still in charge.
    by : str, optional
        Who rolls back; by default the login name.
    tell : callable, optional
        As in :func:`promote`.

    Raises
    ------
    PromotionError
        If nothing was in charge before, or it does not go with the policy that stays.
    BundleError, PolicyError, RecordError
        If its files are damaged, or the signed records were tampered with.
    """
    with _alone(workspace):
        records = signatures(workspace).verified()
        before = _in_charge(workspace, records)
        if before is None:
            raise PromotionError("nothing was promoted yet")
        formers = _formers(records)
        chosen = _latest(formers) if parts is None else parts
        for part in chosen:
            if len(formers[part]) < 2:
                raise PromotionError(f"nothing was in charge before: {part}")
        put_back = {part: formers[part][-2].state for part in chosen}
        after = _restored(before, put_back)
        _require_whole(workspace, after)
        content = {"before": _named(before), "after": _named(after), "parts": list(chosen)}
        record = _sign(workspace, ROLLBACK, by or login_name(), content, tell)
        return Outcome("done", _put_in_charge(tracking, workspace, after), record=record)


def name_challengers(tracking: Tracking, workspace: Workspace) -> None:
    """Name the registry's challengers in the pointer file, to be scored in the champions' shadow.

    Does nothing before the first promotion: there is no champion to be compared with.
    """
    with _alone(workspace):
        if not workspace.champions.exists():
            return
        champions = Champions.load(workspace.champions)
        named = replace(champions, challengers=_challengers(tracking, champions))
        if named != champions:
            named.save(workspace.champions)


def verify(workspace: Workspace) -> list[Signed]:
    """Check every signed record, their chain, and that they explain what is in charge.

    Returns
    -------
    list of Signed
        Oldest first.

    Raises
    ------
    RecordError
        If one was changed, dropped or inserted, or something else is in charge than the last says.
    """
    records = signatures(workspace).verified()
    if workspace.champions.exists():
        standing = _named(Champions.load(workspace.champions))
        last = _last_state(records) or {}
        wrong = [part for part, named in standing.items() if last.get(part) != named]
        if wrong:
            raise RecordError(
                f"{workspace.champions.name} names {' and '.join(wrong)} that no last record names"
            )
    return records


def signatures(workspace: Workspace) -> Signatures:
    """Open the signed records of a workspace and the key they are signed with."""
    home = workspace.home
    return Signatures(home / "promotions", home / "keys" / "promotions.pem")


def login_name() -> str:
    """Name who runs this, as the system knows them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"user {os.getuid()}"


@contextmanager
def _alone(workspace: Workspace) -> Iterator[None]:
    """Let nobody else change what is in charge meanwhile."""
    workspace.home.mkdir(parents=True, exist_ok=True)
    home = os.open(workspace.home, os.O_RDONLY)
    try:
        fcntl.flock(home, fcntl.LOCK_EX)
        yield
    finally:
        os.close(home)


# What is asked for, and what the gate says of it.


def _asked_for(
    tracking: Tracking, policy: Path, before: Champions | None, parts: Sequence[str]
) -> Champions:
    """Say what would be in charge; of the parts not asked for, what is in charge now."""
    if before is None and set(parts) != set(PARTS):
        raise PromotionError("the first promotion puts everything in charge: promote all")
    kept = {} if before is None else {"late": before.late, "default": before.default}
    abstentions = {} if before is None else dict(before.abstentions)
    for question in REGISTERED:
        if question not in parts:
            continue
        why = tracking.abstention(question)
        challenger = tracking.find(question, CHALLENGER)
        abstentions.pop(question, None)
        if why is not None:
            kept[question], abstentions[question] = None, why
        elif challenger is None:
            raise PromotionError(f"no challenger for the {question} curve: run `encours train`")
        else:
            kept[question] = challenger.bundle_sha256
    wanted = policies.load(policy).sha256
    in_force = before.policy if before is not None and "policy" not in parts else wanted
    return Champions(kept["late"], kept["default"], in_force, abstentions)


def _changed(before: Champions | None, after: Champions) -> list[str]:
    """Curves that would get another bundle."""
    return [
        question
        for question in REGISTERED
        if getattr(after, question) is not None
        and (before is None or getattr(after, question) != getattr(before, question))
    ]


def _judged(
    tracking: Tracking,
    workspace: Workspace,
    question: str,
    before: Champions | None,
    after: Champions,
    judge: Judge,
) -> Verdict:
    """Judge one challenger and say so in the registry."""
    challenger = bundles.read(workspace.bundles, getattr(after, question))
    speaking = None if before is None else getattr(before, question)
    champion = None if speaking is None else bundles.read(workspace.bundles, speaking)
    verdict = judge(challenger, champion)
    failed = [check.name for check in verdict.checks if check.status == "failed" and check.binds]
    version = tracking.version_of(question, challenger.sha256)
    if version is not None:
        said = f"refused: {', '.join(failed)}" if failed else "passed"
        tracking.tag(version, {"gate": said})
    return verdict


def _require_definition(workspace: Workspace, after: Champions, policy: Path) -> None:
    """Refuse a default curve that the policy could not use: the service would."""
    if after.default is None:
        return
    learned = bundles.read(workspace.bundles, after.default).card.get("default_definition")
    wanted = policies.load(policy).default_definition
    if learned != asdict(DEFAULT_DEFINITIONS[wanted]):
        raise PromotionError(
            f"the default curve {after.default[:12]} learned another definition of default than "
            f"the policy's, {wanted}: train again"
        )


def _kept(workspace: Workspace, champions: Champions) -> Path:
    """Copy of the policy in force."""
    return workspace.policies / f"{champions.policy}.yaml"


def _open_proposal(records: list[Signed], content: dict[str, Any]) -> Signed | None:
    """Return the last record when it proposes just this."""
    if not records or records[-1].body["kind"] != PROPOSAL:
        return None
    same = all(records[-1].body[key] == content[key] for key in ("before", "after", "gate_sha256"))
    return records[-1] if same else None


def _same_name(first: str, second: str) -> bool:
    return first.strip().casefold() == second.strip().casefold()


# What is in charge, and what was.


@dataclass(frozen=True)
class _Former:
    """One part's state, and the promotion that brought it; 0 when it is older than the records."""

    number: int
    state: Any


def _named(champions: Champions) -> dict[str, Any]:
    """Give what speaks, as records hold it: who stands in the shadow is no promotion."""
    return {part: getattr(champions, part) for part in (*PARTS, "abstentions")}


def _in_charge(workspace: Workspace, records: list[Signed]) -> Champions | None:
    """Read the pointer file; when it is lost, what the last record put there."""
    if workspace.champions.exists():
        return Champions.load(workspace.champions)
    last = _last_state(records)
    return None if last is None else Champions(**last)


def _last_state(records: list[Signed]) -> dict[str, Any] | None:
    states = [one.body["after"] for one in records if one.body["kind"] != PROPOSAL]
    return states[-1] if states else None


def _formers(records: list[Signed]) -> dict[str, list[_Former]]:
    """Play the records: what each part was, oldest first, without what was rolled back."""
    formers: dict[str, list[_Former]] = {part: [] for part in PARTS}
    for record in records:
        body = record.body
        for part, stack in formers.items():
            if body["kind"] == ROLLBACK and part in body["parts"]:
                stack.pop()
            elif body["kind"] == PROMOTION:
                _play(stack, record.number, part, body["before"], body["after"])
    return formers


def _play(
    stack: list[_Former],
    number: int,
    part: str,
    before: dict[str, Any] | None,
    after: dict[str, Any],
) -> None:
    if before is not None:
        old = _state(before, part)
        while stack and stack[-1].state != old:  # recorded, and not carried out
            stack.pop()
        if not stack:
            stack.append(_Former(0, old))
    new = _state(after, part)
    if not stack or stack[-1].state != new:
        stack.append(_Former(number, new))


def _state(named: dict[str, Any], part: str) -> list[Any]:
    """Give a part's bundle or policy and, of a curve that abstains, the reason."""
    return [named[part], named["abstentions"].get(part)]


def _latest(formers: dict[str, list[_Former]]) -> list[str]:
    """Name the parts that the latest promotion changed."""
    newest = {part: stack[-1].number for part, stack in formers.items() if len(stack) > 1}
    if not newest:
        raise PromotionError("nothing was in charge before what is in charge now")
    return [part for part, number in newest.items() if number == max(newest.values())]


def _restored(before: Champions, put_back: dict[str, list[Any]]) -> Champions:
    abstentions = {k: why for k, why in before.abstentions.items() if k not in put_back}
    abstentions |= {part: why for part, (_, why) in put_back.items() if why is not None}
    kept = {part: sha256 for part, (sha256, _) in put_back.items()}
    return replace(before, **kept, abstentions=abstentions, challengers={})


def _require_whole(workspace: Workspace, champions: Champions) -> None:
    for sha256 in (champions.late, champions.default):
        if sha256 is not None:
            bundles.read(workspace.bundles, sha256)
    policy = _kept(workspace, champions)
    if policies.load(policy).sha256 != champions.policy:
        raise PromotionError(f"policy {champions.policy[:12]} was changed")
    _require_definition(workspace, champions, policy)


# Carrying it out.


def _sign(workspace: Workspace, kind: str, by: str, content: dict[str, Any], tell: Tell) -> Signed:
    at = datetime.now(UTC).isoformat(timespec="seconds")
    said = {"kind": kind, "at": at, "by": by, "code": installed("encours"), **content}
    signed = signatures(workspace).append(said)
    tell(signed)
    return signed


def _put_in_charge(tracking: Tracking, workspace: Workspace, champions: Champions) -> Champions:
    """Point the registry's aliases, then the pointer file."""
    for question in REGISTERED:
        sha256 = getattr(champions, question)
        version = None if sha256 is None else tracking.version_of(question, sha256)
        if version is None:
            tracking.withdraw(question, CHAMPION)
        else:
            tracking.alias(version, CHAMPION)
    named = replace(champions, challengers=_challengers(tracking, champions))
    named.save(workspace.champions)
    return named


def _challengers(tracking: Tracking, champions: Champions) -> dict[str, str]:
    """Find the challengers that are not champions."""
    found = {question: tracking.find(question, CHALLENGER) for question in REGISTERED}
    return {
        question: version.bundle_sha256
        for question, version in found.items()
        if version is not None and version.bundle_sha256 != getattr(champions, question)
    }


def _keep_policy(policy: Path, kept: Path) -> None:
    """Keep a copy of the checked policy under its hash."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    if not kept.exists():  # never touched again: the service may be reading it
        kept.write_bytes(policy.read_bytes())
