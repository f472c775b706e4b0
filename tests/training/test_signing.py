"""Signed records: what was written is read again, and whatever is touched is found."""

import hashlib
import json
import os
import shutil
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from training import signing
from training.signing import RecordError, Signatures


@pytest.fixture
def signatures(tmp_path) -> Signatures:
    return Signatures(tmp_path / "promotions", tmp_path / "keys" / "promotions.pem")


@pytest.fixture
def three(signatures, tmp_path) -> Path:
    """Write three records and return their folder."""
    for who in ("Anna", "Ben", "Chloé"):
        signatures.append({"by": who, "late": "a" * 64, "figures": [0.1, None]})
    return tmp_path / "promotions"


def test_records_are_read_as_they_were_written_oldest_first(signatures, three):
    found = signatures.verified()
    assert [one.body["by"] for one in found] == ["Anna", "Ben", "Chloé"]
    assert [one.number for one in found] == [1, 2, 3]
    assert found[0].body["figures"] == [0.1, None]


def test_each_record_names_the_file_before_it(signatures, three):
    first, second, third = signatures.verified()
    assert first.body["previous"] is None
    for before, after in ((first, second), (second, third)):
        file = three / f"{before.number:06d}.json"
        assert after.body["previous"] == hashlib.sha256(file.read_bytes()).hexdigest()


def test_before_the_first_record_there_is_none_and_no_key(signatures, tmp_path):
    assert signatures.verified() == []
    assert list(tmp_path.iterdir()) == []


def test_the_key_is_its_owners_alone_and_stays(signatures, three, tmp_path):
    key = tmp_path / "keys" / "promotions.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes()
    signatures.append({})
    assert key.read_bytes() == before
    assert signatures.signer() == json.loads((three / "000001.json").read_text())["public_key"]


def test_nothing_is_left_beside_the_records_and_the_key(three, tmp_path):
    assert sorted(file.name for file in three.iterdir()) == [f"00000{n}.json" for n in (1, 2, 3)]
    assert [file.name for file in (tmp_path / "keys").iterdir()] == ["promotions.pem"]


def test_a_copy_without_the_private_key_can_be_verified(signatures, three, tmp_path):
    there = Signatures(three, tmp_path / "elsewhere" / "promotions.pem")
    assert there.verified() == signatures.verified()


@pytest.mark.parametrize("number", [1, 2, 3])
def test_any_flipped_byte_is_found(signatures, three, number):
    file = three / f"{number:06d}.json"
    good = file.read_bytes()
    for place in range(0, len(good), 7):
        damaged = bytearray(good)
        damaged[place] ^= 1
        file.write_bytes(damaged)
        with pytest.raises(RecordError, match=f"record 00000{number}.json was changed"):
            signatures.verified()
    file.write_bytes(good)
    assert len(signatures.verified()) == 3


def test_a_blank_more_is_found(signatures, three):
    file = three / "000003.json"
    file.write_bytes(file.read_bytes() + b"\n")
    with pytest.raises(RecordError, match="was changed"):
        signatures.verified()


def test_a_dropped_record_is_found(signatures, three):
    (three / "000002.json").unlink()
    with pytest.raises(RecordError, match=r"000002\.json is missing"):
        signatures.verified()


def test_dropping_a_record_and_renaming_the_next_is_found(signatures, three):
    (three / "000003.json").rename(three / "000002.json")
    with pytest.raises(RecordError, match=r"000002\.json does not follow"):
        signatures.verified()


def test_records_in_another_order_are_found(signatures, three):
    first, second = three / "000001.json", three / "000002.json"
    kept = first.read_bytes()
    shutil.copy(second, first)
    second.write_bytes(kept)
    with pytest.raises(RecordError, match="does not follow"):
        signatures.verified()


def test_a_record_that_somebody_else_signed_is_found(signatures, three, tmp_path):
    own = Signatures(tmp_path / "forged", tmp_path / "forger" / "key.pem")
    own.append({"by": "Mallory"})
    shutil.copy(tmp_path / "forged" / "000001.json", three / "000001.json")
    with pytest.raises(RecordError):
        signatures.verified()


def test_a_last_record_that_another_key_signed_is_found_without_the_private_key(
    signatures, three, tmp_path
):
    body = signatures.verified()[2].body
    other = Ed25519PrivateKey.generate()
    forged = signing._file(body, other.public_key(), other.sign(signing._bytes(body)))
    (three / "000003.json").write_bytes(forged)
    with pytest.raises(RecordError, match=r"000003\.json was signed with another key"):
        Signatures(three, tmp_path / "elsewhere.pem").verified()


def test_even_who_holds_the_key_cannot_put_another_record_in_the_middle(
    signatures, three, tmp_path
):
    (tmp_path / "rewritten").mkdir()
    shutil.copy(three / "000001.json", tmp_path / "rewritten")
    Signatures(tmp_path / "rewritten", tmp_path / "keys" / "promotions.pem").append({"by": "Zoé"})
    shutil.copy(tmp_path / "rewritten" / "000002.json", three)
    with pytest.raises(RecordError, match=r"000003\.json does not follow"):
        signatures.verified()


def test_records_all_signed_anew_with_another_key_are_found(signatures, three, tmp_path):
    own = Signatures(tmp_path / "forged", tmp_path / "forger" / "key.pem")
    for record in signatures.verified():
        own.append({**record.body, "by": "Mallory"})
    shutil.rmtree(three)
    (tmp_path / "forged").rename(three)
    with pytest.raises(RecordError, match="another key"):
        signatures.verified()


def test_nothing_is_added_to_records_that_were_tampered_with(signatures, three):
    (three / "000001.json").write_text("{}")
    with pytest.raises(RecordError, match="was changed"):
        signatures.append({})
    assert len(list(three.iterdir())) == 3


def test_nothing_is_signed_when_the_key_is_lost_open_or_damaged(signatures, three, tmp_path):
    key = tmp_path / "keys" / "promotions.pem"
    key.chmod(0o644)
    with pytest.raises(RecordError, match="chmod 600"):
        signatures.append({})
    key.write_text("-----BEGIN PRIVATE KEY-----")
    key.chmod(0o600)
    with pytest.raises(RecordError, match="damaged"):
        signatures.append({})
    key.unlink()
    with pytest.raises(RecordError, match="is missing"):
        signatures.append({})
    assert not key.exists()
    assert len(list(three.iterdir())) == 3


def test_of_two_who_add_at_once_one_is_told_to_try_again(signatures, three, monkeypatch):
    link = os.link

    def second(draft: Path, path: Path) -> None:
        shutil.copy(draft, path)
        link(draft, path)

    monkeypatch.setattr(os, "link", second)
    with pytest.raises(RecordError, match=r"000004\.json was added by somebody else"):
        signatures.append({})
