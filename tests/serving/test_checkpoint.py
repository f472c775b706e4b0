"""Checkpoints as signed notes, and the keys that vouch for each other."""

from __future__ import annotations

import base64
import hashlib
import string

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from serving.checkpoint import Checkpoint, NoteError, Signer, Verifier, opened, signed
from serving.checkpoint_keys import vouched

# Published with the format's first implementation, golang.org/x/mod/sumdb/note.
KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
SIGNATURE = (
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
)
ALPHABET = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
CHECKPOINT = Checkpoint("encours.record/x", 3, b"r" * 32, b"c" * 32)


@pytest.fixture
def signer() -> Signer:
    return Signer("encours.record/x", Ed25519PrivateKey.generate())


@pytest.fixture
def other() -> Signer:
    return Signer("encours.record/x", Ed25519PrivateKey.generate())


# The published vector.


def test_the_published_key_is_read_and_has_the_published_id():
    verifier = Verifier.parse(KEY)
    assert (verifier.name, verifier.key_id.hex()) == ("PeterNeumann", "c74f20a3")
    assert str(verifier) == KEY


def test_the_published_signature_is_the_keys():
    note = f"{TEXT}\n— PeterNeumann {SIGNATURE}\n"
    with pytest.raises(NoteError, match="this is no checkpoint"):  # the signature was good
        opened(note, [Verifier.parse(KEY)])
    with pytest.raises(NoteError, match="signature is wrong"):
        opened(note.replace("answer", "Answer"), [Verifier.parse(KEY)])


def test_signing_gives_the_published_line():
    """The private key is published too."""
    seed = "810a1402d5146c8d84f2443330f54080ebf98ee17d9c74f6252fc5d5c7283173"
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))
    assert str(Verifier.of("PeterNeumann", key)) == KEY
    assert signed(TEXT, [Signer("PeterNeumann", key)]) == f"{TEXT}\n— PeterNeumann {SIGNATURE}\n"


# Checkpoints.


def test_a_checkpoint_is_read_as_it_was_signed(signer):
    note = signed(CHECKPOINT.text, [signer])
    assert opened(note, [signer.verifier]) == CHECKPOINT
    assert note.split("\n")[:2] == ["encours.record/x", "3"]


def test_every_changed_byte_is_found(signer):
    note = signed(CHECKPOINT.text, [signer]).encode()
    for place in range(len(note)):
        for bit in (1, 32):
            damaged = bytearray(note)
            damaged[place] ^= bit
            with pytest.raises(NoteError):
                opened(damaged.decode("utf-8", errors="replace"), [signer.verifier])


def test_spare_bits_of_base64_are_no_second_way_to_write_a_signature(signer):
    note = signed(CHECKPOINT.text, [signer])
    assert note.endswith("=\n")
    last = ALPHABET.index(note[-3])
    for spare in (1, 2, 3):
        with pytest.raises(NoteError):
            opened(note[:-3] + ALPHABET[last ^ spare] + "=\n", [signer.verifier])


def test_nothing_is_dropped_or_added_unnoticed(signer):
    note = signed(CHECKPOINT.text, [signer])
    for damaged in ("", note[:-1], note + "\n", note + " ", note[1:], "\n" + note, note + note):
        with pytest.raises(NoteError):
            opened(damaged, [signer.verifier])


def test_signatures_of_strangers_are_ignored_and_do_not_suffice(signer, other):
    both = signed(CHECKPOINT.text, [other, signer])
    assert opened(both, [signer.verifier]) == CHECKPOINT
    with pytest.raises(NoteError, match="no known key"):
        opened(both, [])
    with pytest.raises(NoteError, match="no known key"):
        opened(signed(CHECKPOINT.text, [other]), [signer.verifier])


def test_where_one_of_two_known_signatures_is_wrong_the_note_is(signer, other):
    good, bad = signed(CHECKPOINT.text, [signer]), signed(CHECKPOINT.text + "x\n", [other])
    note = good + bad.rpartition("\n\n")[2]
    with pytest.raises(NoteError, match="signature is wrong"):
        opened(note, [signer.verifier, other.verifier])


@pytest.mark.parametrize(
    "text",
    [
        "x\n03\ncnJycg==\ncolumns cnJycg==\n",
        "x\n-1\ncnJycg==\ncolumns cnJycg==\n",
        CHECKPOINT.text.replace("columns ", ""),
        CHECKPOINT.text.replace("\n3\n", "\n03\n"),
        CHECKPOINT.text.replace("\n3\n", "\n+3\n"),
        CHECKPOINT.text + "more\n",
        "\n3\n",
    ],
)
def test_other_texts_are_no_checkpoints(signer, text):
    with pytest.raises(NoteError):
        opened(signed(text, [signer]), [signer.verifier])


# Keys.


def line(new: Signer, by: Signer) -> str:
    return f"{new.verifier} {by.sign(f'{new.verifier}' + chr(10))}"


def test_who_knows_the_first_key_knows_those_it_vouches_for(signer, other):
    lines = [str(signer.verifier), line(other, signer)]
    assert vouched(lines) == [signer.verifier, other.verifier]
    assert vouched(lines, [signer.verifier]) == [signer.verifier, other.verifier]
    assert vouched(lines, [other.verifier]) == [other.verifier]  # it vouches for none


def test_a_key_that_nobody_vouches_for_is_not_trusted(signer, other):
    for wrong in (str(other.verifier), line(other, other), f"{other.verifier} {SIGNATURE}"):
        with pytest.raises(NoteError, match="no key before vouches"):
            vouched([str(signer.verifier), wrong])
    assert vouched([str(other.verifier)], [signer.verifier]) == [signer.verifier]


def test_a_key_that_is_too_long_is_refused():
    data = b"\x01" + bytes(33)
    key_id = hashlib.sha256(b"x\n" + data).hexdigest()[:8]
    with pytest.raises(NoteError):
        Verifier.parse(f"x+{key_id}+{base64.b64encode(data).decode()}")


@pytest.mark.parametrize("text", ["", "x", KEY[:-1], KEY.replace("c74f", "c74e"), f"y{KEY}"])
def test_a_damaged_key_is_refused(text):
    with pytest.raises(NoteError):
        Verifier.parse(text)
