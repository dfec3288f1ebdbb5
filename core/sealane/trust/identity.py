"""Keys, certificate requests and the names in certificates.

Everybody on the wire has a P-256 key and a certificate whose URI names it in the SPIFFE form:
`spiffe://<fleet>/device/<id>` or `spiffe://<fleet>/operator/<name>`. Who somebody is comes from the
certificate alone, never from a message.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal, cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from sealane.errors import InvalidName, SealaneError, TrustError
from sealane.names import DeviceId, parse_device, parse_fleet, parse_operator

DEVICE: Final = "device"
OPERATOR: Final = "operator"

BACKDATED: Final = timedelta(minutes=5)
"""A client's certificate begins a little before it is issued: clocks of two managers differ."""

_URI: Final = re.compile(r"spiffe://([^/]{1,64})/(device|operator)/([^/]{1,64})")
_NAMES: Final = {DEVICE: parse_device, OPERATOR: parse_operator}
_STEP: Final = "identity"
_PROOF: Final = b"sealane rejoin\0"


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end.

    Attributes:
        kind: `device` or `operator`.
        fleet: the trust domain.
        name: the device's id or the operator's name.
    """

    kind: Literal["device", "operator"]
    fleet: str
    name: str


def new_key() -> EllipticCurvePrivateKey:
    """A new P-256 key."""
    return generate_private_key(SECP256R1())


def key_to_pem(key: EllipticCurvePrivateKey) -> bytes:
    """The private key as PEM (PKCS #8, not encrypted)."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def key_from_pem(content: bytes) -> EllipticCurvePrivateKey:
    """Read a private key; raises SealaneError when it is not one on P-256."""
    try:
        key = load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SealaneError("the private key is damaged or encrypted") from error
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise SealaneError("the private key is not a P-256 key")
    return key


def make_csr(key: EllipticCurvePrivateKey) -> bytes:
    """A certificate request (PKCS #10, DER) that proves possession of the key, and says no more."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def prove(key: EllipticCurvePrivateKey, nonce: bytes, csr: bytes) -> bytes:
    """A signature that this key asks, now, for a certificate of the request's key."""
    return key.sign(_PROOF + nonce + csr, ECDSA(hashes.SHA256()))


def proves(key: EllipticCurvePublicKey, signature: bytes, nonce: bytes, csr: bytes) -> bool:
    """Whether the key made this proof."""
    try:
        key.verify(signature, _PROOF + nonce + csr, ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def device_uri(fleet: str, device: DeviceId) -> str:
    """The name of a device in its certificate."""
    return f"spiffe://{fleet}/{DEVICE}/{device}"


def operator_uri(fleet: str, name: str) -> str:
    """The name of an operator in the certificate."""
    return f"spiffe://{fleet}/{OPERATOR}/{name}"


def parse_peer(uri: str) -> Peer:
    """Read a name from a certificate; raises TrustError when it is not one of a fleet."""
    match = _URI.fullmatch(uri)
    complaint = f"{uri[:200]!r} names no device or operator of a fleet"
    if match is None:
        raise TrustError(_STEP, complaint)
    fleet, kind, name = match.groups()
    try:
        names = parse_fleet(fleet), _NAMES[kind](name)
    except InvalidName as error:
        raise TrustError(_STEP, complaint) from error
    return Peer(cast("Literal['device', 'operator']", kind), *names)


def load_certificate(pem: bytes) -> x509.Certificate:
    """Read a certificate; raises TrustError when it is damaged or its key is not on P-256."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise TrustError(_STEP, "the certificate is damaged") from error
    public_key_of(certificate)
    return certificate


def public_key_of(certificate: x509.Certificate) -> EllipticCurvePublicKey:
    """The certificate's key, which verifies its owner's receipts; raises TrustError."""
    key = certificate.public_key()
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise TrustError(_STEP, "the certificate's key is not a P-256 key")
    return key


def peer_of(certificate: x509.Certificate) -> Peer:
    """Who a certificate names; raises TrustError when it names nobody, or several."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound as error:
        raise TrustError(_STEP, "the certificate names nobody") from error
    uris = names.value.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        raise TrustError(_STEP, f"the certificate has {len(uris)} names, expected one")
    return parse_peer(uris[0])
