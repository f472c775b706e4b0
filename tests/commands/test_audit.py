"""``encours audit``, and the verifier that needs nothing of this project."""

from __future__ import annotations

import base64
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pysqlite3
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from commands import audit
from features.store import sqlite_url
from serving import verification
from serving.audit import Record
from serving.checkpoint import Verifier
from serving.checkpoint_keys import Keys
from serving.sealer import Sealer
from tests.commands.conftest import Ran

ROOT = Path(__file__).parents[2]
VERIFIER = ROOT / "docs" / "verify.py"
AUDIT = [
    one for one in audit.app.registered_commands if one.callback.__module__ == "commands.audit"
]
# test_replay.py and test_evidence.py try them
OF_ANSWERS = {"replay", "bridge", "counterfactuals", "contest", "evidence"}


@pytest.fixture
def home(tmp_path) -> Path:
    """Give the home of the commands, which the fixture `run` sets."""
    return tmp_path / "home"


@pytest.fixture
def sealed(run, home) -> Record:
    """Make a record of nine entries, sealed three at a time."""
    record = Record(sqlite_url(home / "record.db"))
    for n in range(1, 10):
        record.append(f"id-{n}", "assessment", f'{{"n": {n}, "é": "à"}}'.encode())
        if n % 3 == 0:
            assert run("audit", "seal").out == "3 entries sealed\n"
    return record


def tamper(home: Path, *statements: str) -> None:
    """Do what the triggers forbid, as somebody who owns the file can."""
    with pysqlite3.connect(home / "record.db") as connection:
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
    connection.close()


def wrong(ran: Ran) -> str:
    assert (ran.code, ran.err) == (1, "")
    assert ran.out.startswith("WRONG: ")
    assert ran.out.count("\n") == 1
    return ran.out.removeprefix("WRONG: ")


def offline(*arguments: object, cwd: Path) -> Ran:
    """Run the verifier where it finds nothing of this project."""
    alone = shutil.copy(VERIFIER, cwd / "verify.py")
    ran = subprocess.run(
        [sys.executable, "-I", alone, *map(str, arguments)],
        cwd=cwd, env={}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in ran.stderr, ran.stderr
    return Ran(ran.returncode, ran.stdout, ran.stderr)


# fmt: off
CLOSED_UP = [
    "DELETE FROM entries WHERE sequence = 4",
    "UPDATE entries SET sequence = -sequence WHERE sequence > 4",
    "UPDATE entries SET sequence = -sequence - 1 WHERE sequence < 0",
]
SPREAD = [
    "UPDATE entries SET sequence = -sequence WHERE sequence > 4",
    "UPDATE entries SET sequence = -sequence + 1 WHERE sequence < 0",
    "INSERT INTO entries VALUES (5, 'x', 'assessment', x'7b7d', 'x', 0)",
]
SWAPPED = [
    "UPDATE entries SET sequence = 100 WHERE sequence = 3",
    "UPDATE entries SET sequence = 3 WHERE sequence = 7",
    "UPDATE entries SET sequence = 7 WHERE sequence = 100",
]
UNSEALED = ["DROP TABLE leaves", "DROP TABLE checkpoints"]
FIRST = "INSERT INTO entries VALUES (-1, 'x', 'override', x'7b7d', 'x', 0)"
OTHER_NOTE = "UPDATE checkpoints SET note = replace(note, 'A', 'B') WHERE size = 6"
# fmt: on

# verify


def test_a_good_record_is_said_to_be_good(run, sealed):
    ran = run("audit", "verify")
    assert ran.code == 0
    assert "9 entries are as they were sealed and signed: 3 checkpoints" in ran.out
    assert "3 checkpoints held in" in ran.out


def test_what_is_not_sealed_yet_is_said_and_no_fault(run, sealed):
    sealed.append("late", "assessment", b"{}")
    ran = run("audit", "verify")
    assert ran.code == 0
    assert "1 entries are not sealed yet, since 20" in ran.out


def test_where_nothing_is_recorded_or_sealed_the_commands_say_so(run, home):
    for command in (["verify"], ["prove", "x"], ["export"], ["rotate-key"], ["seal"]):
        ran = run("audit", *command)
        assert (ran.code, ran.out) == (2, "")
        assert "nothing is recorded here yet" in ran.err
    Record(sqlite_url(home / "record.db"))
    for command in (["verify"], ["prove", "x"], ["export"]):
        ran = run("audit", *command)
        assert ran.code == 2
        assert "nothing is sealed here yet" in ran.err


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (["UPDATE entries SET body = x'7b7d' WHERE sequence = 5"], "changed, entry 5: its body"),
        (["UPDATE entries SET kind = 'override' WHERE sequence = 2"], "changed, entry 2"),
        (["UPDATE entries SET recorded_at = 0 WHERE sequence = 9"], "changed, entry 9"),
        (["UPDATE entries SET leaf_hash = 'x' WHERE sequence = 1"], "changed, entry 1: its leaf"),
        (["UPDATE entries SET id = CAST(x'ff' AS TEXT) WHERE sequence = 4"], "changed, entry 4"),
        (["UPDATE entries SET recorded_at = 'noon' WHERE sequence = 4"], "changed, entry 4"),
        (["DELETE FROM entries WHERE sequence = 4"], "removed, entry 4"),
        (["DELETE FROM entries WHERE sequence > 6"], "truncated, entry 7"),
        (CLOSED_UP, "removed, entry 4: it is not there, and the body of entry 5 stands in"),
        (SPREAD, "inserted, entry 5"),
        (SWAPPED, "reordered, entry 3: the body of entry 7 stands there"),
        (["UPDATE entries SET sequence = 12 WHERE sequence = 6"], "reordered, entry 6"),
        ([FIRST], "inserted, entry -1"),
        (["UPDATE leaves SET leaf_hash = zeroblob(32) WHERE tree_index = 2"], "entry 3"),
        (["DELETE FROM leaves WHERE tree_index = 4"], "inserted, entry 5: later ones were sealed"),
        (["DELETE FROM checkpoints WHERE size = 6"], "unsigned, entries 4 to 6"),
        (["DELETE FROM checkpoints WHERE size = 9"], "unsigned, entries 7 to 9"),
        (["UPDATE checkpoints SET size = 5 WHERE size = 6"], "it is of 6 entries"),
        ([OTHER_NOTE], "unsigned, entries"),
        (UNSEALED, "unsigned: checkpoints are held elsewhere"),
    ],
)  # fmt: skip
def test_what_was_tampered_with_is_named(run, sealed, home, statements, said):
    tamper(home, *statements)
    assert said in wrong(run("audit", "verify"))


def test_a_database_that_cannot_be_read_is_wrong(run, sealed, home):
    file = home / "record.db"
    with pysqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    data = bytearray(file.read_bytes())
    data[4096:] = random.Random(1).randbytes(len(data) - 4096)  # noqa: S311
    file.write_bytes(data)
    assert "the record cannot be read" in wrong(run("audit", "verify"))


def copy_of(home: Path, folder: Path) -> Path:
    """Copy a home, its databases whole."""
    with pysqlite3.connect(home / "record.db") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return Path(shutil.copytree(home, folder))


def test_an_older_copy_is_found_by_a_checkpoint_held_elsewhere(run, sealed, home, tmp_path):
    old = copy_of(home, tmp_path / "old")
    sealed.append("id-10", "assessment", b"{}")
    run("audit", "seal")
    held = shutil.copy(home / "witness" / f"{10:012d}.txt", tmp_path / "paper.txt")
    shutil.rmtree(home)
    old.rename(home)
    assert run("audit", "verify").code == 0  # the copy is whole in itself
    said = wrong(run("audit", "verify", "--checkpoint", held))
    assert "older copy, entry 10: paper.txt has a checkpoint of 10 entries, and 9 are" in said


def test_an_older_copy_is_found_by_the_witness(run, sealed, home, tmp_path, monkeypatch):
    witness = tmp_path / "elsewhere"
    monkeypatch.setenv("ENCOURS_WITNESS", str(witness))
    old = copy_of(home, tmp_path / "old")
    sealed.append("id-10", "assessment", b"{}")
    run("audit", "seal")
    assert len(list(witness.iterdir())) == 4
    shutil.rmtree(home)
    old.rename(home)
    assert "older copy, entry 10" in wrong(run("audit", "verify"))
    monkeypatch.delenv("ENCOURS_WITNESS")
    assert run("audit", "verify").code == 0
    assert "older copy" in wrong(run("audit", "verify", "--witness", witness))


def test_a_second_fork_signed_with_the_same_key_is_found(run, sealed, home, tmp_path):
    """Both histories are whole and signed; only who holds the other's checkpoint can tell."""
    fork = copy_of(home, tmp_path / "fork")
    for folder, id_ in ((home, "here"), (fork, "there")):
        record = Record(sqlite_url(folder / "record.db"))
        for n in range(2):
            record.append(f"{id_} {n}", "assessment", b"{}")
        Sealer(sqlite_url(folder / "record.db"), folder, folder / "witness").seal()
    assert run("audit", "verify").code == 0
    held = fork / "witness" / f"{11:012d}.txt"
    said = wrong(run("audit", "verify", "--checkpoint", held))
    assert "forked, entries 1 to 11, one at least" in said


def test_keys_noted_elsewhere_find_a_record_signed_anew(run, sealed, home, tmp_path):
    noted = shutil.copy(home / "keys" / "record.keys", tmp_path / "noted.keys")
    assert run("audit", "verify", "--keys", noted).code == 0
    for folder in ("keys", "witness"):
        shutil.rmtree(home / folder)
    tamper(home, *UNSEALED, "DELETE FROM entries WHERE id = '3'")
    run("audit", "seal")
    assert run("audit", "verify").code == 0
    assert "no known key signed it" in wrong(run("audit", "verify", "--keys", noted))


def test_several_processes_find_the_same(run, home, monkeypatch):
    """Two processes, seven entries a task; sealed four at a time."""
    monkeypatch.setattr(verification, "MANY", 10)
    monkeypatch.setattr(verification, "A_TASK", 7)
    monkeypatch.setattr(audit, "_processors", lambda: 2)
    record = Record(sqlite_url(home / "record.db"))
    for n in range(40):
        record.append(f"id-{n}", "assessment", b"%d" % n)
        if n % 4 == 3:
            run("audit", "seal")
    assert "40 entries are as they were sealed and signed: 10" in run("audit", "verify").out
    tamper(home, "UPDATE entries SET body = x'00' WHERE sequence = 29")
    assert "changed, entry 29" in wrong(run("audit", "verify"))
    tamper(home, "DELETE FROM entries WHERE sequence = 27")
    assert "removed, entry 27" in wrong(run("audit", "verify"))
    tamper(home, "DELETE FROM entries WHERE sequence > 13")
    assert "truncated, entry 14" in wrong(run("audit", "verify"))


# seal, rotate-key


def test_what_does_not_fit_is_not_sealed(run, sealed, home):
    sealed.append("id-10", "assessment", b"{}")
    tamper(home, "UPDATE entries SET body = x'00' WHERE sequence = 10")
    assert "nothing is sealed: entry 10 does not have" in wrong(run("audit", "seal"))


def test_keys_change_and_who_noted_the_first_can_still_verify(run, sealed, home, tmp_path):
    noted = shutil.copy(home / "keys" / "record.keys", tmp_path / "noted.keys")
    ran = run("audit", "rotate-key")
    assert ran.code == 0
    assert str(Keys(home / "keys").verifiers()[1]) in ran.out
    again = run("audit", "rotate-key")
    assert (again.code, again.out) == (2, "")
    assert "wait for the next checkpoint" in again.err
    for n in (10, 11):
        sealed.append(f"id-{n}", "assessment", b"{}")
        run("audit", "seal")
    assert run("audit", "verify", "--keys", noted).code == 0
    run("audit", "export", "--out", tmp_path / "all.jsonl")
    assert offline(tmp_path / "all.jsonl", "--keys", noted, cwd=tmp_path).code == 0


# prove, export, and the verifier


@pytest.fixture
def exported(run, sealed, tmp_path) -> Path:
    """Export all nine entries."""
    file = tmp_path / "all.jsonl"
    ran = run("audit", "export", "--out", file)
    assert ran.out == f"{file}: 9 entries\n"
    return file


def test_the_verifier_is_one_short_file_of_the_standard_library_and_cryptography():
    text = VERIFIER.read_text("utf-8")
    assert len(text.splitlines()) < 300
    lines = [line for line in text.splitlines() if line.startswith(("import ", "from "))]
    modules = {line.split()[1].partition(".")[0] for line in lines}
    assert modules - set(sys.stdlib_module_names) == {"cryptography"}


def test_an_export_is_verified_offline(exported, home, tmp_path):
    ran = offline(exported, cwd=tmp_path)
    assert ran.code == 0, ran
    assert "9 entries, of 9 signed, are as they were signed; checkpoints of " in ran.out
    assert "signed well: 4." in ran.out
    assert "The keys are the file's own" in ran.out
    assert (home / "keys" / "record.keys").read_text().strip() in ran.out
    held = [home / "witness" / f"{n:012d}.txt" for n in (3, 6, 9)]
    options = [word for path in held for word in ("--checkpoint", path)]
    ran = offline(exported, "--keys", home / "keys" / "record.keys", *options, cwd=tmp_path)
    assert ran.code == 0, ran
    assert "The keys are" not in ran.out


def test_an_export_has_the_exact_bytes(exported):
    entries = [json.loads(line) for line in exported.read_text("utf-8").splitlines()]
    bodies = [base64.b64decode(one["body"]) for one in entries if "body" in one]
    assert bodies == [f'{{"n": {n}, "é": "à"}}'.encode() for n in range(1, 10)]


@pytest.mark.parametrize("bounds", [(1, 1), (2, 5), (4, 6), (9, 9), (1, 9), (3, 7)])
def test_a_part_is_verified_offline(run, sealed, tmp_path, bounds):
    file = tmp_path / "part.jsonl"
    run("audit", "export", "--from", bounds[0], "--to", bounds[1], "--out", file)
    ran = offline(file, cwd=tmp_path)
    assert ran.code == 0, ran
    assert f"{bounds[1] - bounds[0] + 1} entries, of 9 signed" in ran.out


def test_a_part_shows_that_the_record_grew_from_a_checkpoint_where_that_is_asked(
    run, sealed, home, tmp_path
):
    file, held = tmp_path / "part.jsonl", home / "witness" / f"{3:012d}.txt"
    part = ("audit", "export", "--from", 7, "--out", file)
    run(*part)
    ran = offline(file, "--checkpoint", held, cwd=tmp_path)
    assert ran.code == 1
    assert "nothing here shows that the record grew from" in ran.err
    run(*part, "--checkpoint", held)
    assert offline(file, "--checkpoint", held, cwd=tmp_path).code == 0


def test_days_bound_an_export(run, sealed, home, tmp_path):
    day = 86_400_000_000
    for n in range(1, 10):
        at = (20_000 + (n - 1) // 3) * day
        tamper(home, f"UPDATE entries SET recorded_at = {at} WHERE sequence = {n}")  # noqa: S608
    tamper(home, *UNSEALED)
    shutil.rmtree(home / "witness")
    run("audit", "seal")
    file = tmp_path / "days.jsonl"
    for bounds, n in (
        (("--from", "2024-10-05", "--to", "2024-10-05"), 3),
        (("--from", "2024-10-05"), 6),
        (("--to", "2024-10-04"), 3),
        (("--from", 2, "--to", "2024-10-05"), 5),
    ):
        assert f": {n} entries" in run("audit", "export", *bounds, "--out", file).out
        assert offline(file, cwd=tmp_path).code == 0
    for bad in (("--from", "yesterday"), ("--from", "2030-01-01"), ("--from", 8, "--to", 7)):
        assert run("audit", "export", *bad, "--out", file).code == 2


def test_one_entry_is_proved_and_verified_offline(run, sealed, home, tmp_path):
    file, held = tmp_path / "proof.json", home / "witness" / f"{6:012d}.txt"
    for n in range(1, 10):
        run("audit", "prove", f"id-{n}", "--out", file, "--checkpoint", held)
        ran = offline(file, "--checkpoint", held, cwd=tmp_path)
        assert ran.code == 0, ran
        assert f"entry {n} (id-{n}) is as it was signed" in ran.out
    on_screen = run("audit", "prove", "id-9", "--checkpoint", held).out
    assert json.loads(on_screen) == json.loads(file.read_text("utf-8"))


def test_what_is_not_there_or_not_sealed_cannot_be_proved(run, sealed):
    assert "x is not on the record" in run("audit", "prove", "x").err
    sealed.append("late", "assessment", b"{}")
    assert "late is not sealed yet" in run("audit", "prove", "late").err


def test_a_line_of_a_checkpoint_ends_with_a_line_feed_and_nothing_else(exported):
    lines = exported.read_text("utf-8").splitlines(keepends=True)
    checkpoint = json.loads(lines[0])["checkpoint"]
    for end in ("", "\f", "\r", "\v", "\x1c", "\u2028", "\n "):
        head = json.loads(lines[0]) | {"checkpoint": checkpoint[:-1] + end}
        exported.write_text("".join([json.dumps(head) + "\n", *lines[1:]]), "utf-8")
        refused(exported, "signed by no known key")


def test_every_changed_value_of_an_export_is_found(exported, tmp_path):
    """Through the verifier's own functions; that it runs alone is tested above."""
    check = namespace()["check"]
    lines = exported.read_text("utf-8").splitlines(keepends=True)
    rng, file = random.Random(4), tmp_path / "changed.jsonl"  # noqa: S311
    for _ in range(2_000):
        at = rng.randrange(len(lines))
        changed = list(lines)
        changed[at] = mutated(lines[at], rng)
        if said_by(changed[at]) == said_by(lines[at]):
            continue
        file.write_text("".join(changed), "utf-8")
        with pytest.raises(Exception):  # noqa: B017, PT011
            check(file, None, [])


def refused(file: Path, said: str) -> None:
    found = namespace()
    with pytest.raises(found["Wrong"], match=said):
        found["check"](file, None, [])


def test_a_changed_entry_of_a_part_without_checkpoints_is_found(run, sealed, tmp_path):
    file = tmp_path / "part.jsonl"
    run("audit", "export", "--from", 4, "--to", 5, "--out", file)
    head, first, second = map(json.loads, file.read_text("utf-8").splitlines())
    second["recorded_at"] += 1
    file.write_text("\n".join(map(json.dumps, (head, first, second))), "utf-8")
    refused(file, "entries from 4 on are not those of the last checkpoint")


def test_a_changed_entry_is_known_to_the_checkpoint(exported):
    lines = [json.loads(line) for line in exported.read_text("utf-8").splitlines()]
    lines[6]["recorded_at"] += 1  # entry 5; the checkpoints are of 3, 6 and 9
    exported.write_text("\n".join(map(json.dumps, lines)), "utf-8")
    refused(exported, "entries from 4 on are not those of the next checkpoint")


@pytest.mark.parametrize("tree", ["bodies", "columns"])
def test_a_forged_growth_is_refused(run, sealed, home, tmp_path, tree):
    file, held = tmp_path / "proof.json", home / "witness" / f"{3:012d}.txt"
    run("audit", "prove", "id-9", "--out", file, "--checkpoint", held)
    proof = json.loads(file.read_text("utf-8"))
    (grown,) = proof["consistency"]
    grown[tree][0] = "00" * 32
    file.write_text(json.dumps(proof), "utf-8")
    refused(file, "did not grow from the checkpoint of 3 entries")


def test_a_key_that_none_before_vouches_for_is_refused(run, exported, tmp_path):
    first, *lines = exported.read_text("utf-8").splitlines(keepends=True)
    head = json.loads(first)
    stranger = Verifier.of("encours.record/x", Ed25519PrivateKey.generate())
    head["keys"].append(str(stranger))
    exported.write_text("".join([json.dumps(head) + "\n", *lines]), "utf-8")
    refused(exported, "no key before vouches")


def namespace() -> dict:
    found: dict = {"__name__": "verify"}
    exec(compile(VERIFIER.read_text("utf-8"), str(VERIFIER), "exec"), found)  # noqa: S102
    return found


def said_by(line: str) -> object:
    """Read a line; Base64 has spare bits, which say nothing."""
    try:
        content = json.loads(line)
        return {**content, "body": base64.b64decode(content.get("body", ""))}
    except ValueError:
        return None


def mutated(line: str, rng: random.Random) -> str:
    """Change a character that is a letter or digit into another."""
    places = [at for at, char in enumerate(line) if char.isascii() and char.isalnum()]
    at = rng.choice(places)
    other = rng.choice([c for c in "0123456789abcdefABCDEF" if c != line[at]])
    return line[:at] + other + line[at + 1 :]


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda lines: lines[:-2], "cut short"),
        (lambda lines: [*lines[:3], *lines[4:]], "from 1 on are not those of the next"),
        (lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]], "does not follow"),
        (lambda lines: [lines[0], *lines[1:4], lines[3], *lines[4:]], "does not follow"),
        (lambda lines: [lines[0], lines[4], *lines[1:4], *lines[5:]], "not those of the next"),
        (lambda lines: [lines[0].replace('"end": 9', '"end": 8'), *lines[1:]], "does not follow"),
        (lambda lines: [lines[0].replace('"end": 9', '"end": 10'), *lines[1:]], "not among"),
        (lambda lines: ["not JSON\n", *lines[1:]], "damaged"),
        (lambda lines: [], "damaged"),
    ],
)
def test_an_export_that_was_edited_is_refused(exported, tmp_path, edit, said):
    lines = exported.read_text("utf-8").splitlines(keepends=True)
    assert "checkpoint" in json.loads(lines[4])
    exported.write_text("".join(edit(lines)), "utf-8")
    ran = offline(exported, cwd=tmp_path)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("WRONG: ")
    assert said in ran.err


def test_an_older_copy_and_a_fork_are_found_offline(run, exported, home, sealed, tmp_path):
    fork = copy_of(home, tmp_path / "fork")
    sealed.append("here", "assessment", b"{}")
    run("audit", "seal")
    newer = home / "witness" / f"{10:012d}.txt"
    ran = offline(exported, "--checkpoint", newer, cwd=tmp_path)
    assert ran.code == 1
    assert "is of 10 entries, and 9 are signed here: entries from 10 on" in ran.err

    Record(sqlite_url(fork / "record.db")).append("there", "assessment", b"{}")
    Sealer(sqlite_url(fork / "record.db"), fork, fork / "witness").seal()
    run("audit", "export", "--out", exported)
    other = fork / "witness" / f"{10:012d}.txt"
    ran = offline(exported, "--checkpoint", other, cwd=tmp_path)
    assert ran.code == 1
    assert "rewritten or forked" in ran.err


# docs/auditing.md


def test_every_command_of_the_page_does_what_it_says(run, sealed, home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(home / "witness", "held")
    shutil.copy(home / "witness" / f"{6:012d}.txt", "checkpoint.txt")
    shutil.copy(home / "keys" / "record.keys", "record.keys")
    page = (ROOT / "docs" / "auditing.md").read_text("utf-8")
    lines = [line for block in page.split("```")[1::2] for line in block.splitlines()]
    commands = [line.replace(" ID ", " id-3 ").split() for line in lines]
    ours = [words[1:] for words in commands if words[:1] == ["encours"]]
    ours = [words for words in ours if words[1] not in OF_ANSWERS]
    theirs = [words[2:] for words in commands if words[:2] == ["python", "verify.py"]]
    assert {words[1] for words in ours} == {one.name or one.callback.__name__ for one in AUDIT}
    assert len(theirs) == 2
    for words in ours:
        ran = run(*words)
        assert (ran.code, ran.err) == (0, ""), (words, ran)
    for words in theirs:
        assert offline(*words, cwd=tmp_path).code == 0, words


def test_what_the_page_quotes_is_what_is_said():
    page = (ROOT / "docs" / "auditing.md").read_text("utf-8")
    source = (ROOT / "serving" / "verification.py").read_text("utf-8")
    for said in ("its body is another than was sealed", "that are others", "are sealed here"):
        assert said in page
        assert said in source
