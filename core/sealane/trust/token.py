"""The join token: one paste that makes a device trust its manager and its release authority.

`slj1_` and base64url of zlib-compressed JSON. It carries the manager's enrol address, the whole CA
certificate, the hash of root.json and a secret, so nothing is ever fetched on trust.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealane import limits
from sealane.errors import TokenError

if TYPE_CHECKING:
    from typing import Any

PREFIX: Final = "slj1_"
_HINT: Final = "copy the whole token that `sealane device token` printed"
_ADDRESS: Final = re.compile(r"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9.-]{1,253}):([0-9]{1,5})")
_WORD: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_SHA256_BYTES: Final = 32
_LAST_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class JoinToken:
    """What a join token says.

    Attributes:
        address: host:port of the manager's enrol service.
        ca: the fleet's CA certificate, PEM.
        root_sha256: hash of the root.json to begin with.
        token_id: which token of the manager this is.
        secret: what proves it; never printed by accident.
    """

    address: str
    ca: bytes
    root_sha256: bytes
    token_id: str
    secret: str = field(repr=False)

    def encode(self) -> str:
        """The token as people paste it."""
        fields = {
            "a": self.address,
            "c": _to_base64(x509.load_pem_x509_certificate(self.ca).public_bytes(Encoding.DER)),
            "r": _to_base64(self.root_sha256),
            "i": self.token_id,
            "s": self.secret,
        }
        content = json.dumps(fields, separators=(",", ":"), sort_keys=True).encode()
        return PREFIX + _to_base64(zlib.compress(content, 9))

    @classmethod
    def parse(cls, text: str) -> JoinToken:
        """Read a token; raises TokenError when it cannot be."""
        text = text.strip()
        if len(text) > limits.JOIN_TOKEN_CHARS:
            message = f"a join token has at most {limits.JOIN_TOKEN_CHARS} characters"
            raise TokenError(message, hint=_HINT)
        if not text.startswith(PREFIX):
            raise TokenError(f"a join token begins with {PREFIX}", hint=_HINT)
        try:
            fields = json.loads(_inflate(_from_base64(text.removeprefix(PREFIX))))
            return _checked(fields)
        except (ValueError, KeyError, TypeError, RecursionError, zlib.error) as error:
            raise TokenError("the join token is cut off or changed", hint=_HINT) from error


def _checked(fields: Any) -> JoinToken:
    certificate = x509.load_der_x509_certificate(_from_base64(fields["c"]))
    root = _from_base64(fields["r"])
    if len(root) != _SHA256_BYTES:
        raise ValueError("the root's hash has another length")
    return JoinToken(
        address=_address(fields["a"]),
        ca=certificate.public_bytes(Encoding.PEM),
        root_sha256=root,
        token_id=_word(fields["i"]),
        secret=_word(fields["s"]),
    )


def _address(text: str) -> str:
    match = _ADDRESS.fullmatch(text)
    if match is None or not 0 < int(match[2]) <= _LAST_PORT:
        raise ValueError("the address is not host:port")
    return text


def _word(text: str) -> str:
    if not _WORD.fullmatch(text):
        raise ValueError("the token's id or secret has characters that none has")
    return text


def _inflate(content: bytes) -> bytes:
    inflater = zlib.decompressobj()
    plain = inflater.decompress(content, limits.JOIN_TOKEN_INFLATED_BYTES)
    if not inflater.eof or inflater.unused_data:
        raise ValueError("the token's content is cut off or too long")
    return plain


def _to_base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("not base64url") from error
