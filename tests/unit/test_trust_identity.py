"""Keys, certificates and the names in them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from sealane import limits
from sealane.errors import SealaneError, TrustError
from sealane.names import DeviceId
from sealane.trust.identity import (
    Peer,
    device_uri,
    key_from_pem,
    key_to_pem,
    load_certificate,
    make_csr,
    new_key,
    operator_uri,
    parse_peer,
    peer_of,
    public_key_of,
)
from sealane_manager.errors import Refused
from sealane_manager.identity.ca import Issuer, fingerprint_of
from support.trust import START, ManualClock

if TYPE_CHECKING:
    from pathlib import Path

DEVICE = DeviceId("press-7")


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer.create(tmp_path / "ca", "acme", ManualClock())


def _usages(certificate: x509.Certificate) -> list[x509.ObjectIdentifier]:
    return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def test_a_device_certificate_names_the_device_and_lives_a_day(issuer: Issuer) -> None:
    key = new_key()
    certificate = load_certificate(issuer.sign_device(make_csr(key), "acme", DEVICE))
    assert peer_of(certificate) == Peer("device", "acme", "press-7")
    assert public_key_of(certificate) == key.public_key()
    assert certificate.not_valid_after_utc == START + timedelta(days=1)
    assert certificate.not_valid_before_utc <= START
    assert _usages(certificate) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate.verify_directly_issued_by(load_certificate(issuer.certificate))


def test_an_operator_certificate_names_the_operator(issuer: Issuer) -> None:
    certificate = load_certificate(issuer.sign_operator(make_csr(new_key()), "acme", "ada"))
    assert peer_of(certificate) == Peer("operator", "acme", "ada")
    assert _usages(certificate) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_a_server_certificate_is_valid_for_a_device_whose_clock_is_far_behind(
    issuer: Issuer,
) -> None:
    server = issuer.sign_server(["manager.example", "127.0.0.1", "::1"])
    certificate = load_certificate(server.certificate)
    assert certificate.not_valid_before_utc.year == 1970
    assert load_certificate(issuer.certificate).not_valid_before_utc.year == 1970
    assert _usages(certificate) == [ExtendedKeyUsageOID.SERVER_AUTH]
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["manager.example"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    assert key_from_pem(server.key).public_key() == public_key_of(certificate)


def test_an_issuer_is_the_same_after_a_restart(tmp_path: Path) -> None:
    first = Issuer.create(tmp_path / "ca", "acme")
    again = Issuer(tmp_path / "ca")
    assert again.certificate == first.certificate
    assert len(fingerprint_of(tmp_path / "ca")) == 64
    assert load_certificate(again.sign_device(make_csr(new_key()), "acme", DEVICE))


def test_only_the_public_key_of_a_request_is_taken(issuer: Issuer) -> None:
    key = new_key()
    uri = x509.UniformResourceIdentifier("spiffe://acme/operator/root")
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "root")]))
        .add_extension(x509.SubjectAlternativeName([uri]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )
    certificate = load_certificate(issuer.sign_device(request, "acme", DEVICE))
    assert peer_of(certificate).name == "press-7"
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.value.ca is False


def test_a_request_that_does_not_prove_its_key_is_refused(issuer: Issuer) -> None:
    request = bytearray(make_csr(new_key()))
    request[-1] ^= 1
    with pytest.raises(Refused):
        issuer.sign_device(bytes(request), "acme", DEVICE)


@pytest.mark.parametrize("request_bytes", [b"", b"x" * 100, b"0" * (limits.CSR_BYTES + 1)])
def test_a_request_of_nonsense_is_refused(issuer: Issuer, request_bytes: bytes) -> None:
    with pytest.raises(Refused):
        issuer.sign_device(request_bytes, "acme", DEVICE)


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP256K1()])
def test_a_request_with_another_kind_of_key_is_refused(
    issuer: Issuer, curve: ec.EllipticCurve
) -> None:
    with pytest.raises(Refused, match="P-256"):
        issuer.sign_device(make_csr(ec.generate_private_key(curve)), "acme", DEVICE)


def test_a_key_comes_back_from_its_file() -> None:
    key = new_key()
    assert key_to_pem(key_from_pem(key_to_pem(key))) == key_to_pem(key)


def test_a_damaged_or_foreign_key_is_refused() -> None:
    foreign = ed25519.Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    for content in (b"", b"nonsense", key_to_pem(new_key())[:60], foreign):
        with pytest.raises(SealaneError):
            key_from_pem(content)


def test_names_in_certificates_are_spiffe_ids() -> None:
    assert device_uri("acme", DEVICE) == "spiffe://acme/device/press-7"
    assert parse_peer(device_uri("acme", DEVICE)) == Peer("device", "acme", "press-7")
    assert parse_peer(operator_uri("acme", "ada")) == Peer("operator", "acme", "ada")


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "spiffe://acme/device/",
        "spiffe://acme/device/a/b",
        "spiffe://acme/manager/x",
        "spiffe:///device/x",
        "https://acme/device/x",
        "spiffe://acme/device/../x",
        "spiffe://acme/device/X",
        "spiffe://ac me/device/x",
        "spiffe://acme/device/x\n",
        "x" * 10_000,
    ],
)
def test_other_names_are_refused(uri: str) -> None:
    with pytest.raises(TrustError):
        parse_peer(uri)


def test_a_certificate_that_names_nobody_or_two_is_refused(issuer: Issuer) -> None:
    with pytest.raises(TrustError, match="names nobody"):
        peer_of(load_certificate(issuer.certificate))
    server = load_certificate(issuer.sign_server(["localhost"]).certificate)
    with pytest.raises(TrustError, match="0 names"):
        peer_of(server)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAA==\n"])
def test_a_damaged_certificate_is_refused(content: bytes) -> None:
    with pytest.raises(TrustError):
        load_certificate(content)
