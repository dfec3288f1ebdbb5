"""HPKE (RFC 9180) with one suite: what samples are sealed with.

Loaded at the first sample: an endpoint calls the library behind it for nothing else, and most
endpoints never take one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from sealane.errors import SampleError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def encrypt(content: bytes, key: bytes, info: bytes) -> bytes:
    """For the private half of this X25519 key, bound to `info`; raises ValueError for no key."""
    return _SUITE.encrypt(content, X25519PublicKey.from_public_bytes(key), info=info)


def decrypt(ciphertext: bytes, key: X25519PrivateKey, info: bytes) -> bytes:
    """What was encrypted; raises SampleError."""
    try:
        return _SUITE.decrypt(ciphertext, key, info=info)
    except (InvalidTag, ValueError) as error:
        raise SampleError("the sample was changed, or sealed for another key") from error
