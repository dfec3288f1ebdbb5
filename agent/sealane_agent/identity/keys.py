"""Where a device's keys are kept: in a file, or in a token whose keys never leave it.

What lies in `device.key` is either the key itself, as PEM, or where it is: a PKCS #11 URI
(RFC 7512) of a token and an object in it. All else goes on as with files: a new key for every
renewal, one rename to settle it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from sealane.trust import identity

from sealane_agent.identity.token_uri import SCHEME, parse_token

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    from sealane_agent.identity.held import HeldKey
    from sealane_agent.identity.token_uri import TokenUri


class KeyStore(Protocol):
    """Makes keys, and lets them go."""

    def make(self) -> bytes:
        """A new P-256 key: what its file shall hold. Raises SealaneError."""
        ...

    def discard(self, content: bytes) -> None:
        """The key that a file spoke of is used no more. Raises SealaneError."""
        ...


class FileKeys:
    """Keys in files, PEM."""

    def make(self) -> bytes:
        """A new key."""
        return identity.key_to_pem(identity.new_key())

    def discard(self, content: bytes) -> None:
        """Its file was all there was."""


FILES: Final = FileKeys()


def open_key(content: bytes) -> EllipticCurvePrivateKey:
    """The key that a file holds or names; raises SealaneError."""
    if content.startswith(SCHEME.encode()):
        return _token(parse_token(content.decode("ascii", "replace").strip())).open()
    return identity.key_from_pem(content)


def store_of(content: bytes) -> KeyStore:
    """The store of the key that a file holds or names; raises SealaneError."""
    if content.startswith(SCHEME.encode()):
        return store_named(content.decode("ascii", "replace").strip())
    return FILES


def store_named(text: str) -> KeyStore:
    """The store that `--key-store` names: empty for files, or a PKCS #11 URI of a token."""
    return _token(parse_token(text)) if text else FILES


def _token(uri: TokenUri) -> _Token:
    """Imported late: only who keeps keys in a token has the library for it."""
    from sealane_agent.identity import pkcs11_keys  # noqa: PLC0415 - see above

    opened: Callable[[TokenUri], _Token] = pkcs11_keys.Token
    return opened(uri)


class _Token(KeyStore, Protocol):
    def open(self) -> HeldKey:
        """The key that the URI names."""
        ...
