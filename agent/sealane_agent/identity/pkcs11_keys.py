"""Keys in a PKCS #11 token: an HSM, a smart card, or a TPM through tpm2-pkcs11.

The TPM is experimental: what is tested is a simulated one (swtpm). Signing goes through gRPC's
experimental custom signer.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from sealane.errors import SealaneError

from sealane_agent.identity.held import HeldKey
from sealane_agent.identity.token_uri import parse_token

try:
    import pkcs11
    from pkcs11.constants import DEFAULT
    from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters
except ImportError as error:
    raise SealaneError(
        "this agent cannot use keys in a token: its library is missing",
        hint="pip install 'sealane-agent[pkcs11]'",
    ) from error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography.hazmat.primitives.asymmetric import ec

    from sealane_agent.identity.token_uri import TokenUri

PREFIX: Final = "sealane-"
"""Labels of our keys begin so; no other object of the token is ever touched."""

_PUBLIC_UNSAID: Final = (
    pkcs11.Attribute.ENCRYPT,
    pkcs11.Attribute.VERIFY,
    pkcs11.Attribute.WRAP,
)
_PRIVATE_UNSAID: Final = (
    pkcs11.Attribute.DECRYPT,
    pkcs11.Attribute.DERIVE,
    pkcs11.Attribute.UNWRAP,
)
"""What else a key may do is left to the token: a TPM refuses to be told."""

_HALF: Final = 32
_LOCK: Final = threading.RLock()
"""A session belongs to one thread at a time, and modules differ in what they bear."""

_SESSIONS: Final[dict[tuple[str, str], Any]] = {}


class Token:
    """A token, with one key in it if the URI names one."""

    def __init__(self, uri: TokenUri) -> None:
        self._uri = uri

    def make(self) -> bytes:
        """A new key in the token; its file holds the URI."""
        named = self._uri.named(PREFIX + secrets.token_hex(12))
        curve = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
        with _session(self._uri) as session:
            domain = session.create_domain_parameters(pkcs11.KeyType.EC, curve, local=True)
            domain.generate_keypair(
                store=True,
                label=named.label,
                id=named.label.encode(),
                public_template=dict.fromkeys(_PUBLIC_UNSAID, DEFAULT),
                private_template=dict.fromkeys(_PRIVATE_UNSAID, DEFAULT),
            )
        return named.encode()

    def open(self) -> Pkcs11Key:
        """The key that the URI names."""
        if not self._uri.label.startswith(PREFIX):
            raise SealaneError(f"{self._uri.label!r} is not the name of a key of this agent")
        return Pkcs11Key(self._uri)

    def discard(self, content: bytes) -> None:
        """Destroy the key that a file spoke of."""
        gone = parse_token(content.decode("ascii", "replace").strip())
        if not gone.label.startswith(PREFIX):
            return
        with _session(gone) as session:
            for item in session.get_objects({pkcs11.Attribute.LABEL: gone.label}):
                item.destroy()


class Pkcs11Key(HeldKey):
    """A P-256 key in a token, as the cryptography library knows keys."""

    def __init__(self, uri: TokenUri) -> None:
        self._uri = uri
        kind = pkcs11.ObjectClass.PUBLIC_KEY
        with _session(uri) as session:
            found = session.get_key(label=uri.label, object_class=kind)
            public = load_der_public_key(encode_ec_public_key(found))
        if not isinstance(public, EllipticCurvePublicKey):
            raise SealaneError(f"the key {uri.label} is not a P-256 key")
        self._public = public

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """Sign with SHA-256; the token sees the hash."""
        if not isinstance(signature_algorithm, ECDSA):
            raise TypeError("a key in a token signs with ECDSA")
        if not isinstance(signature_algorithm.algorithm, SHA256):
            raise TypeError("a key in a token signs with SHA-256")
        digest = hashlib.sha256(data).digest()
        with _session(self._uri) as session:
            kind = pkcs11.ObjectClass.PRIVATE_KEY
            key = session.get_key(label=self._uri.label, object_class=kind)
            raw = key.sign(digest, mechanism=pkcs11.Mechanism.ECDSA)
        halves = int.from_bytes(raw[:_HALF], "big"), int.from_bytes(raw[_HALF:], "big")
        return encode_dss_signature(*halves)

    def public_key(self) -> EllipticCurvePublicKey:
        """Its public half."""
        return self._public

    @property
    def curve(self) -> ec.EllipticCurve:
        """P-256."""
        return SECP256R1()

    @property
    def key_size(self) -> int:
        """Bits."""
        return SECP256R1().key_size

    def exchange(self, algorithm: ec.ECDH, peer_public_key: EllipticCurvePublicKey) -> bytes:
        """Not for these keys."""
        del algorithm, peer_public_key
        _never()

    def private_numbers(self) -> ec.EllipticCurvePrivateNumbers:
        """Not for these keys."""
        _never()

    def private_bytes(self, encoding: Any, format: Any, encryption_algorithm: Any) -> bytes:  # noqa: A002 - the library's name
        """Not for these keys."""
        del encoding, format, encryption_algorithm
        _never()

    def __copy__(self) -> Pkcs11Key:
        return self

    def __deepcopy__(self, memo: dict[Any, Any]) -> Pkcs11Key:
        return self


def _never() -> NoReturn:
    raise TypeError("a key in a token never leaves it")


@contextmanager
def _session(uri: TokenUri) -> Iterator[Any]:
    """A session that is logged in; one for each token, for one thread at a time."""
    at = (uri.module, uri.token)
    with _LOCK:
        try:
            if at not in _SESSIONS:
                token = pkcs11.lib(uri.module).get_token(token_label=uri.token)
                pin = Path(uri.pin_file).read_text(encoding="utf-8").strip()
                _SESSIONS[at] = token.open(rw=True, user_pin=pin)
            yield _SESSIONS[at]
        except (pkcs11.PKCS11Error, RuntimeError) as error:
            _SESSIONS.pop(at, None)
            why = str(error) or type(error).__name__
            raise SealaneError(
                f"the token {uri.token} does not answer as it should: {why}",
                hint=f"is {uri.module} the right module, and the PIN in {uri.pin_file} right?",
            ) from error
