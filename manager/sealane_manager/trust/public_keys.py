"""Decides whether a public key in metadata is what its id says, and who holds it. Pure.

A threshold counts key ids. So a key must have one id only, made from its content: another key under
a known id, or one key under two ids, would let one person sign as another, or twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from sealane.errors import InvalidName
from sealane.names import parse_operator
from securesystemslib.exceptions import UnsupportedLibraryError
from securesystemslib.signer import KEY_TYPE_ED25519, SSlibKey

from sealane_manager.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from tuf.api.metadata import Key

X_HOLDER: Final = "x-holder"
"""Field of a public key that says who holds the private one."""

_BROKEN: Final = (ValueError, KeyError, TypeError, UnsupportedAlgorithm, UnsupportedLibraryError)


def holder_of(key: Key) -> str:
    """Who holds a key, as it says itself; empty when it does not or not properly."""
    name = key.unrecognized_fields.get(X_HOLDER, "")
    try:
        return parse_operator(name) if isinstance(name, str) else ""
    except InvalidName:
        return ""


def is_genuine(keyid: str, key: Key) -> bool:
    """Whether a key is written in the one way that it can be, and the id is that of its content."""
    if not isinstance(key, SSlibKey) or key.unrecognized_fields.keys() - {X_HOLDER}:
        return False
    try:
        same = SSlibKey.from_crypto(_load(key), scheme=key.scheme)
    except _BROKEN:
        return False
    return (keyid, key.keytype, key.keyval) == (same.keyid, same.keytype, same.keyval)


def judge_keys(keys: Mapping[str, Key], roles: Mapping[str, Iterable[str]]) -> None:
    """Raise Refused unless keys are genuine, no role has one twice, and each is some role's.

    `roles`: the ids that each role lists.
    """
    for keyid, key in keys.items():
        if not is_genuine(keyid, key):
            raise Refused(
                f"{keyid[:12]!r} is not the id of the key that it stands for",
                hint="do not sign: somebody may pass off a key as another's; ask who proposed it",
            )
    for role, keyids in roles.items():
        _judge_role(role, tuple(keyids), keys)
    if unused := keys.keys() - {keyid for keyids in roles.values() for keyid in keyids}:
        raise Refused(f"the key {min(unused)[:12]} is listed for no role")


def _judge_role(role: str, keyids: tuple[str, ...], keys: Mapping[str, Key]) -> None:
    if missing := set(keyids) - keys.keys():
        raise Refused(f"{role} lists the key {min(missing)[:12]!r}, which is not there")
    if len({str(keys[keyid].keyval) for keyid in keyids}) != len(keyids):
        raise Refused(f"{role} would have the same key twice")


def _load(key: SSlibKey) -> Any:
    public = key.keyval["public"]
    if key.keytype == KEY_TYPE_ED25519:
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
    return load_pem_public_key(public.encode())
