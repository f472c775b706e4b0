"""The keys that sign the record's checkpoints: outside the database, changed now and then.

``record.pem`` signs. ``record.keys`` holds every public key there ever was, the first one first,
one a line as ``name+id+key``; each later one with the signature of an earlier one beside it, so
that who knows the first key knows them all. After a change ``record.previous.pem`` signs the next
checkpoint too, and is then destroyed.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from models import key_file
from models.key_file import KeyFileError
from serving.checkpoint import NoteError, Signer, Verifier, signature_of

ORIGIN = "encours.record"


class Keys:
    """The keys of one record.

    Parameters
    ----------
    folder : Path
        Made with the first key.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._current, self._previous = folder / "record.pem", folder / "record.previous.pem"
        self._next, self.public = folder / "record.next.pem", folder / "record.keys"

    def signers(self, *, may_make: bool) -> list[Signer]:
        """Return what signs the next checkpoint: the key, and the one before after a change.

        Parameters
        ----------
        may_make : bool
            Make the first key when there is none: only while nothing was signed yet.

        Raises
        ------
        KeyFileError
            If a key is missing, open to others or damaged, or ``record.keys`` does not name it.
        """
        if may_make:
            self._make()
        if not self._current.exists() or not self.public.exists():
            raise KeyFileError(f"{self._current} or {self.public.name} is missing")
        names = {one.public: one.name for one in self.verifiers()}
        signers = {}
        for file in (self._current, self._previous):
            if file.exists():
                key = key_file.load(file)
                public = key.public_key().public_bytes_raw()
                if public not in names:
                    raise KeyFileError(f"{self.public} does not name the key in {file.name}")
                signers[public] = Signer(names[public], key)
        return list(signers.values())

    def verifiers(self) -> list[Verifier]:
        """Return every public key, the first one first.

        Raises
        ------
        NoteError
            If one was not signed by an earlier one.
        """
        lines = self.public.read_text("utf-8").splitlines() if self.public.exists() else []
        return vouched(lines)

    def rotate(self) -> Verifier:
        """Change to a new key; the one before signs the next checkpoint too.

        Raises
        ------
        KeyFileError
            If there is no key yet, or no checkpoint was signed since the last change.
        """
        with _alone(self._folder):
            signers = self.signers(may_make=False)
            if len(signers) > 1:
                raise KeyFileError("the key was just changed: wait for the next checkpoint")
            old = signers[0]
            self._next.unlink(missing_ok=True)
            new = Verifier.of(old.name, key_file.make(self._next))
            vouching = old.sign(f"{new}\n")
            lines = self.public.read_bytes() + f"{new} {vouching}\n".encode()
            key_file.replace(self.public, lines, 0o644)
            self._previous.unlink(missing_ok=True)  # the same as the current: a change cut short
            os.link(self._current, self._previous)
            self._next.replace(self._current)
            key_file.sync_folder(self._folder)
        return new

    def retire(self) -> None:
        """Destroy the key before, now that a checkpoint was signed by both."""
        with _alone(self._folder):
            self._previous.unlink(missing_ok=True)
            key_file.sync_folder(self._folder)

    def _make(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone(self._folder):
            if self.public.exists():
                return
            fresh = not self._current.exists()
            key = key_file.make(self._current) if fresh else key_file.load(self._current)
            first = Verifier.of(f"{ORIGIN}/{uuid.uuid4().hex[:12]}", key)
            key_file.write_new(self.public, f"{first}\n".encode(), 0o644)


def vouched(lines: Sequence[str], pinned: Sequence[Verifier] = ()) -> list[Verifier]:
    """Return the keys of ``record.keys`` that an earlier one vouches for.

    Parameters
    ----------
    lines : sequence of str
    pinned : sequence of Verifier, optional
        Keys known from elsewhere, to trust with those that they vouch for and no others; else
        the first line is trusted.

    Raises
    ------
    NoteError
        If a line is damaged or, where nothing is pinned, no earlier one vouches for it.
    """
    known = list(pinned)
    for line in lines:
        text, _, vouching = line.partition(" ")
        verifier = Verifier.parse(text)
        if not known or _is_vouched_for(text, vouching, known):
            known.append(verifier)
        elif not pinned:
            raise NoteError(f"no key before vouches for {text}")
    return known


def _is_vouched_for(text: str, vouching: str, known: Sequence[Verifier]) -> bool:
    if not vouching:
        return False
    key_id, signature = signature_of(vouching)
    by = [one for one in known if one.key_id == key_id]
    return any(one.has_signed(f"{text}\n", signature) for one in by)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let nobody else change the keys meanwhile."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)
