"""Signing keys of roles, as PEM files: Ed25519, one a role."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from sealane import fileio
from sealane.errors import SealaneError
from securesystemslib.signer import CryptoSigner

if TYPE_CHECKING:
    from pathlib import Path

ROOT: Final = "root"
TARGETS: Final = "targets"
SNAPSHOT: Final = "snapshot"
TIMESTAMP: Final = "timestamp"
DIRECTOR: Final = "director"

RESERVED: Final = frozenset({ROOT, TARGETS, SNAPSHOT, TIMESTAMP, DIRECTOR})
"""Roles that no family may be named after."""


def key_path(folder: Path, role: str) -> Path:
    """Where the key of a role lies."""
    return folder / f"{role}.pem"


def new_signer(folder: Path, role: str) -> CryptoSigner:
    """Make a new key for a role and store it."""
    signer = CryptoSigner.generate_ed25519()
    fileio.make_folder(folder)
    fileio.replace(key_path(folder, role), signer.private_bytes)
    return signer


def load_signer(path: Path) -> CryptoSigner:
    """Read a key; raises SealaneError when it is not here or damaged."""
    try:
        return CryptoSigner(load_pem_private_key(path.read_bytes(), None))
    except FileNotFoundError as error:
        message = f"the key {path.name} is not on this machine"
        raise SealaneError(message, hint="sign where the key is kept") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SealaneError(f"the key {path.name} is damaged or encrypted") from error
