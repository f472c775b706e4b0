"""Private keys that sign: one Ed25519 key a file, made once, readable by its owner only."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)


class KeyFileError(ValueError):
    """The key is open to others, damaged or of another kind; nothing is signed with it."""


def make(path: Path, mode: int = 0o400) -> Ed25519PrivateKey:
    """Make a key and its file; the folder too when missing.

    Raises
    ------
    FileExistsError
        If there is one.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = Ed25519PrivateKey.generate()
    write_new(path, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), mode)
    return made


def load(path: Path) -> Ed25519PrivateKey:
    """Read a key.

    Raises
    ------
    KeyFileError
        If others may read it, or it is no Ed25519 key.
    """
    if path.stat().st_mode & 0o077:
        raise KeyFileError(f"{path} may be read by others: chmod 600 it")
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except ValueError as error:
        raise KeyFileError(f"{path} is damaged") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path} is no Ed25519 key")
    return key


def write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file whole or not at all, with `mode` less the umask; an older one stays.

    Raises
    ------
    FileExistsError
        If there is one.
    """
    draft = _draft(path, data, mode)
    try:
        os.link(draft, path)  # unlike a rename it fails where the name is taken
    finally:
        draft.unlink()
    sync_folder(path.parent)


def replace(path: Path, data: bytes, mode: int) -> None:
    """Write a file whole or not at all, in the place of an older one."""
    _draft(path, data, mode).replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Put on disk which files a folder holds."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _draft(path: Path, data: bytes, mode: int) -> Path:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with open(draft, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return draft
