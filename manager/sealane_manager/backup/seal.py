"""Seals the secrets of a backup with a passphrase: a key by scrypt, the seal by AES-256-GCM."""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sealane.bundle.jsonform import dump, load
from sealane.bundle.manifest import digest_of
from sealane.errors import BundleError

from sealane_manager.backup.contents import SEALED_BYTES, Seal, check_secret
from sealane_manager.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sealane_manager.backup.contents import Contents

PASSPHRASE_CHARS: Final = 12
"""A shorter one is guessed."""

_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_COST: Final = 2**17
_BLOCK: Final = 8
_SCRYPT_BYTES: Final = 256 * _COST * _BLOCK
"""Twice what this cost needs, 128 MiB: never taken from the file, so that no file asks for more."""


def seal(contents: Contents, files: Mapping[str, bytes], passphrase: str) -> tuple[Contents, bytes]:
    """The contents with their seal, and the sealed object; raises Refused for a weak passphrase."""
    if len(passphrase) < PASSPHRASE_CHARS:
        raise Refused(
            f"the passphrase has fewer than {PASSPHRASE_CHARS} characters",
            hint="it protects every key of the fleet: use several words",
        )
    salt, nonce = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_NONCE_BYTES)
    plain = dump({path: base64.b64encode(data).decode() for path, data in files.items()})
    sealed = AESGCM(_key(passphrase, salt)).encrypt(nonce, plain, contents.sealed_text)
    if len(sealed) > SEALED_BYTES:
        raise Refused(
            f"the secrets are {len(sealed)} bytes, more than the {SEALED_BYTES} allowed",
            hint="move out of the state folder what is not the manager's",
        )
    held = Seal(len(sealed), digest_of(sealed), salt.hex(), nonce.hex())
    return replace(contents, seal=held), sealed


def unseal(contents: Contents, sealed: bytes, passphrase: str) -> dict[str, bytes]:
    """The secret files by their paths; raises Refused."""
    held = contents.seal
    assert held is not None  # noqa: S101 - the caller looked
    try:
        salt, nonce = bytes.fromhex(held.salt), bytes.fromhex(held.nonce)
        cipher = AESGCM(_key(passphrase, salt))
        plain = cipher.decrypt(nonce, sealed, contents.sealed_text)
        found = load(plain, SEALED_BYTES, "what is sealed")
        return {
            check_secret(path): base64.b64decode(found.text(path), validate=True)
            for path in found.raw
        }
    except InvalidTag as error:
        raise Refused(
            "the passphrase is another one, or the backup was changed after it was made"
        ) from error
    except (BundleError, ValueError, binascii.Error) as error:
        raise Refused(f"what is sealed in the backup is malformed: {error}") from error


def _key(passphrase: str, salt: bytes) -> bytes:
    return hashlib.scrypt(
        passphrase.encode(), salt=salt, n=_COST, r=_BLOCK, p=1, maxmem=_SCRYPT_BYTES, dklen=32
    )
