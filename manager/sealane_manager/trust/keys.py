"""Keys that lie on the manager, as PEM files: Ed25519, `<role>.pem`.

An online role that is about to get a new key has a second file, `<role>.<8 digits of its id>.pem`,
until the root lists it and the old one goes.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from sealane import fileio
from sealane.errors import SealaneError
from securesystemslib.signer import CryptoSigner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROOT: Final = "root"
TARGETS: Final = "targets"
SNAPSHOT: Final = "snapshot"
TIMESTAMP: Final = "timestamp"
DIRECTOR: Final = "director"

_SHORT: Final = 8
_DIGITS: Final = "[0-9a-f]" * _SHORT

ONLINE: Final = (SNAPSHOT, TIMESTAMP, DIRECTOR)
"""Roles whose keys the manager holds."""

SAMPLE: Final = "sample"
"""No role, but its key lies beside theirs: see `layout.StateFolder.sample_key`."""

ROLES: Final = frozenset({ROOT, TARGETS, *ONLINE})
"""Roles that are no families."""

RESERVED: Final = ROLES | {SAMPLE}
"""What no family may be named after: roles, and what has a key file."""


def key_path(folder: Path, role: str) -> Path:
    """Where the key of a role lies."""
    return folder / f"{role}.pem"


def new_signer(folder: Path, role: str) -> CryptoSigner:
    """Make a new key for a role and store it."""
    signer = CryptoSigner.generate_ed25519()
    fileio.make_folder(folder)
    fileio.replace(key_path(folder, role), signer.private_bytes)
    return signer


def new_successor(folder: Path, role: str) -> CryptoSigner:
    """Make the next key of a role, beside the one that is in use."""
    signer = CryptoSigner.generate_ed25519()
    short = signer.public_key.keyid[:_SHORT]
    fileio.replace(folder / f"{role}.{short}.pem", signer.private_bytes)
    return signer


def load_signers(folder: Path, role: str) -> tuple[CryptoSigner, ...]:
    """Every key of a role that lies here; raises SealaneError when one is damaged."""
    paths = (key_path(folder, role), *sorted(folder.glob(f"{role}.{_DIGITS}.pem")))
    return tuple(load_signer(path) for path in paths if path.is_file())


def signers_here(folder: Path) -> Iterator[tuple[Path, CryptoSigner]]:
    """Every signing key that lies here, by its file; what is encrypted or no such key is not."""
    for path in sorted(folder.glob("*.pem")):
        with suppress(SealaneError):
            yield path, load_signer(path)


def load_signer(path: Path) -> CryptoSigner:
    """Read a key; raises SealaneError when it is not here or damaged."""
    try:
        return CryptoSigner(load_pem_private_key(path.read_bytes(), None))
    except FileNotFoundError as error:
        message = f"the key {path.name} is not on this machine"
        raise SealaneError(message, hint="sign where the key is kept") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SealaneError(f"the key {path.name} is damaged or encrypted") from error
