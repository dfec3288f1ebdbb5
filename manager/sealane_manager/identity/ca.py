"""The fleet's certificate authority: signs devices, operators and the manager's own server.

Of a request only the public key is taken; names come from the caller. The authority's certificate
and the server's begin in 1970 and have no well-defined end (RFC 5280, 4.1.2.5), so that a device
connects whatever its clock says; what it installs is judged at the time that the director proves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from sealane import fileio, limits
from sealane.clock import SystemClock
from sealane.trust.identity import (
    BACKDATED,
    device_uri,
    key_from_pem,
    key_to_pem,
    load_certificate,
    make_csr,
    new_key,
    operator_uri,
)

from sealane_manager.errors import Refused
from sealane_manager.identity import external
from sealane_manager.identity.profile import Profile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sealane.clock import Clock
    from sealane.names import DeviceId

DEVICE_LIFETIME: Final = timedelta(hours=24)
SELDOM_LIVES: Final = 7
"""So many lives of an ordinary certificate one may live whose device wishes to renew seldom."""

OPERATOR_LIFETIME: Final = timedelta(days=365)

KEY: Final = "ca.key"
CERTIFICATE: Final = "ca.pem"
NEXT_KEY: Final = "next.key"
NEXT: Final = "next.pem"
PREVIOUS: Final = "previous.pem"
"""While an authority is replaced: see `sealane_manager.identity.rotation`."""

_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NO_END: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
_CLOCK: Final = SystemClock()


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """The manager's server key and certificate, PEM."""

    key: bytes
    certificate: bytes


class Authority(Protocol):
    """Signs; whose key it is and where it lies is its own affair."""

    @property
    def certificate(self) -> x509.Certificate:
        """The authority's own."""
        ...

    def issue(self, csr: x509.CertificateSigningRequest, profile: Profile) -> bytes:
        """A certificate for the request's key, PEM; nothing else of the request counts."""
        ...


@dataclass(frozen=True, slots=True)
class LocalAuthority:
    """Signs with a key that lies here."""

    key: EllipticCurvePrivateKey = field(repr=False)
    certificate: x509.Certificate

    def issue(self, csr: x509.CertificateSigningRequest, profile: Profile) -> bytes:
        """A certificate, PEM."""
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = (
            x509.CertificateBuilder(
                self.certificate.subject,
                _named(profile.common_name),
                csr.public_key(),
                x509.random_serial_number(),
                profile.begins,
                profile.ends,
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([profile.usage]), critical=False)
            .add_extension(x509.SubjectAlternativeName(profile.names), critical=False)
            .add_extension(issuer, critical=False)
        )
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)


class Issuer:
    """Says what certificates hold; an authority signs them: the key in its folder, or a command."""

    def __init__(
        self, folder: Path, clock: Clock = _CLOCK, device_lifetime: timedelta = DEVICE_LIFETIME
    ) -> None:
        self._clock, self._device_lifetime = clock, device_lifetime
        self._certificate = load_certificate((folder / CERTIFICATE).read_bytes())
        self._authority = _authority(folder, self._certificate)
        others = [folder / name for name in (NEXT, PREVIOUS) if (folder / name).exists()]
        self._others = tuple(load_certificate(path.read_bytes()) for path in others)

    @staticmethod
    def create(folder: Path, fleet: str, clock: Clock = _CLOCK) -> Issuer:
        """Make a new authority in an empty folder."""
        fileio.make_folder(folder)
        key, certificate = new_authority(fleet)
        fileio.replace(folder / KEY, key)
        fileio.replace(folder / CERTIFICATE, certificate)
        return Issuer(folder, clock)

    @property
    def certificate(self) -> bytes:
        """The authority's own certificate, PEM."""
        return self._certificate.public_bytes(Encoding.PEM)

    @property
    def authorities(self) -> tuple[x509.Certificate, ...]:
        """Whose signature on a device's certificate counts."""
        return (self._certificate, *self._others)

    @property
    def bundle(self) -> bytes:
        """Their certificates, PEM."""
        return b"".join(each.public_bytes(Encoding.PEM) for each in self.authorities)

    def sign_device(
        self, csr: bytes, fleet: str, device: DeviceId, wished: timedelta = timedelta(0)
    ) -> bytes:
        """A device's certificate, PEM; it may wish that it lives longer than is usual.

        Raises Refused when the request is no proof of a key.
        """
        usual = self._device_lifetime
        lifetime = min(max(wished, usual), SELDOM_LIVES * usual)
        return self._sign_client(csr, device, device_uri(fleet, device), lifetime)

    def sign_operator(self, csr: bytes, fleet: str, name: str) -> bytes:
        """An operator's certificate, PEM; raises Refused when the request is no proof of a key."""
        return self._sign_client(csr, name, operator_uri(fleet, name), OPERATOR_LIFETIME)

    def sign_server(self, hosts: Sequence[str]) -> ServerIdentity:
        """A new key and certificate for the names and addresses under which devices dial."""
        key = new_key()
        profile = Profile(
            common_name=hosts[0],
            names=[_host(host) for host in hosts],
            usage=ExtendedKeyUsageOID.SERVER_AUTH,
            begins=_BEGINNING,
            ends=self._certificate.not_valid_after_utc,
        )
        csr = x509.load_der_x509_csr(make_csr(key))
        return ServerIdentity(key_to_pem(key), self._authority.issue(csr, profile))

    def _sign_client(self, csr: bytes, name: str, uri: str, lifetime: timedelta) -> bytes:
        now = self._clock.now()
        profile = Profile(
            common_name=name,
            names=[x509.UniformResourceIdentifier(uri)],
            usage=ExtendedKeyUsageOID.CLIENT_AUTH,
            begins=now - BACKDATED,
            ends=now + lifetime,
        )
        return self._authority.issue(_proven(csr), profile)


def _authority(folder: Path, certificate: x509.Certificate) -> Authority:
    if (command := external.load(folder, certificate)) is not None:
        return command
    key = key_from_pem((folder / KEY).read_bytes())
    if certificate.public_key() != key.public_key():
        message = f"{folder / KEY} is not the key of {folder / CERTIFICATE}"
        raise Refused(message, hint="a switch was cut off: sealane authority switch")
    return LocalAuthority(key, certificate)


def new_authority(fleet: str) -> tuple[bytes, bytes]:
    """Key and certificate of a new authority, PEM."""
    key = new_key()
    name = _named(f"{fleet} fleet CA")
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(_BEGINNING)
        .not_valid_after(_NO_END)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    return key_to_pem(key), certificate.public_bytes(Encoding.PEM)


def fingerprint_of(folder: Path) -> str:
    """SHA-256 of the authority's certificate (DER), hexadecimal."""
    certificate = load_certificate((folder / CERTIFICATE).read_bytes())
    return certificate.fingerprint(hashes.SHA256()).hex()


def _proven(csr: bytes) -> x509.CertificateSigningRequest:
    if len(csr) > limits.CSR_BYTES:
        raise Refused(f"the certificate request is larger than {limits.CSR_BYTES} bytes")
    try:
        request = x509.load_der_x509_csr(csr)
        key = request.public_key()
        proven = request.is_signature_valid
    except ValueError as error:
        raise Refused("the certificate request is damaged") from error
    if not proven:
        raise Refused("the certificate request does not prove possession of its key")
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise Refused("the certificate request's key is not a P-256 key")
    return request


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
