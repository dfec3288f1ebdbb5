"""Decides who signed a model: model.sig, a Sigstore bundle 0.3 around a DSSE envelope.

Keys on the curves P-256, P-384 and P-521, as OpenSSF model signing has them. Whoever signs with a
certificate, or with Sigstore itself, is not judged here: a producer is known by a key.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from sealane.bundle.jsonform import dump, load
from sealane.bundle.statement import (
    SIGNATURE_BYTES,
    SIGNATURE_PATH,
    check_statement,
    signed_files,
)
from sealane.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sealane.bundle.jsonform import Fields
    from sealane.bundle.types import Layer, Manifest

KEY_BYTES: Final = 16 * 1024
"""A key in PEM."""

_BUNDLE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD: Final = "application/vnd.in-toto+json"
_HASHES: Final[Mapping[str, type[hashes.HashAlgorithm]]] = {
    "secp256r1": hashes.SHA256,
    "secp384r1": hashes.SHA384,
    "secp521r1": hashes.SHA512,
}
_HINT: Final = re.compile(r"(?:[0-9a-f]{64})?")
_PUBLIC: Final = "write the one of a private key with: openssl ec -in KEY -pubout"
_CURVES: Final = "make one with: openssl ecparam -name prime256v1 -genkey -noout"


@dataclass(frozen=True, slots=True)
class ProducerKey:
    """A key that a producer's signatures are checked with.

    Attributes:
        name: what people call it, e.g. its file's name.
    """

    name: str
    key: ec.EllipticCurvePublicKey

    @property
    def hint(self) -> str:
        """SHA-256 of its PEM form, hexadecimal: how a signature says by which key it is."""
        return _hint(self.key)

    @classmethod
    def read(cls, name: str, pem: bytes) -> ProducerKey:
        """Read a public key in PEM, or raise BundleError."""
        try:
            key = load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise BundleError(f"{name} is no public key in PEM", hint=_PUBLIC) from error
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _HASHES:
            raise BundleError(f"{name} is not on P-256, P-384 or P-521", hint=_CURVES)
        return cls(name, key)


@dataclass(frozen=True, slots=True)
class Envelope:
    """What model.sig holds, before anything of it is believed.

    Attributes:
        by_key: whether it says to be made with a key, and not with a certificate.
        hint: which key, or empty.
    """

    payload: bytes
    signature: bytes
    by_key: bool
    hint: str


def read_signing_key(name: str, pem: bytes, passphrase: bytes | None) -> ec.EllipticCurvePrivateKey:
    """Read a private key in PEM, or raise BundleError."""
    try:
        key = load_pem_private_key(pem, passphrase)
    except TypeError as error:
        state = "encrypted" if passphrase is None else "not encrypted"
        hint = (
            "--passphrase-file (SEALANE_PASSPHRASE_FILE) is for an encrypted key, and only for one"
        )
        raise BundleError(f"{name} is {state}", hint=hint) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        message = f"{name} is no private key in PEM, or the passphrase is wrong"
        raise BundleError(message, hint=_CURVES) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in _HASHES:
        raise BundleError(f"{name} is not on P-256, P-384 or P-521", hint=_CURVES)
    return key


def sign(statement: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """The content of model.sig; the same statement and key give the same bytes."""
    algorithm = ec.ECDSA(_HASHES[key.curve.name](), deterministic_signing=True)
    signature = key.sign(_authenticated(statement), algorithm)
    envelope = {
        "payload": base64.b64encode(statement).decode(),
        "payloadType": _PAYLOAD,
        "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
    }
    material = {"publicKey": {"hint": _hint(key.public_key())}, "tlogEntries": []}
    return dump({"mediaType": _BUNDLE, "verificationMaterial": material, "dsseEnvelope": envelope})


def open_envelope(content: bytes) -> Envelope:
    """Read model.sig, or raise BundleError."""
    found = load(content, SIGNATURE_BYTES, SIGNATURE_PATH)
    if found.text("mediaType") != _BUNDLE:
        raise BundleError("model.sig is not a Sigstore bundle 0.3", hint="sign it again")
    envelope = found.fields("dsseEnvelope")
    signatures = [*envelope.objects("signatures", 1)]
    if envelope.text("payloadType") != _PAYLOAD or len(signatures) != 1:
        raise BundleError("model.sig does not hold one signature over an in-toto statement")
    material = found.fields("verificationMaterial")
    by_key = "publicKey" in material.raw
    hint = (material.fields("publicKey").raw.get("hint") if by_key else "") or ""
    if not isinstance(hint, str) or not _HINT.fullmatch(hint):
        raise BundleError("model.sig names its key by something else than a SHA-256")
    return Envelope(_decoded(envelope, "payload"), _decoded(signatures[0], "sig"), by_key, hint)


def signature_layer(manifest: Manifest) -> Layer | None:
    """Where a bundle's manifest says that model.sig is; None when it is not signed."""
    return next((layer for layer in manifest.layers if layer.path == SIGNATURE_PATH), None)


def check_consistent(manifest: Manifest, content: bytes) -> Envelope:
    """Raise BundleError unless model.sig speaks of exactly the files beside it.

    Who signed it is not looked at.
    """
    envelope = open_envelope(content)
    check_statement(envelope.payload, signed_files(manifest.layers))
    return envelope


def producer_of(manifest: Manifest, content: bytes, keys: Sequence[ProducerKey]) -> ProducerKey:
    """Which of these keys signed exactly the files of this bundle; raises BundleError."""
    envelope = open_envelope(content)
    if not envelope.by_key:
        raise BundleError(
            "model.sig was made with a certificate: only keys are checked here",
            hint="sign with a key: sealane bundle sign --key",
        )
    for known in keys:
        if _signed_by(envelope, known):
            check_statement(envelope.payload, signed_files(manifest.layers))
            return known
    names = ", ".join(known.name for known in keys)
    raise BundleError(
        f"model.sig was not made by {names or 'any key that is known here'}",
        hint=f"it says that its key has the SHA-256 {envelope.hint or '(nothing)'}",
    )


def _signed_by(envelope: Envelope, known: ProducerKey) -> bool:
    if envelope.hint not in {"", known.hint}:
        return False
    algorithm = ec.ECDSA(_HASHES[known.key.curve.name]())
    try:
        known.key.verify(envelope.signature, _authenticated(envelope.payload), algorithm)
    except InvalidSignature:
        return False
    return True


def _authenticated(payload: bytes) -> bytes:
    """What is really signed: DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(_PAYLOAD), _PAYLOAD.encode(), len(payload), payload)


def _decoded(found: Fields, key: str) -> bytes:
    try:
        return base64.b64decode(found.text(key), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BundleError(f"{found.where}: {key} is not base64") from error


def _hint(key: ec.EllipticCurvePublicKey) -> str:
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return sha256(pem).hexdigest()
