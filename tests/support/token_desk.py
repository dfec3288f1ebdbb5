"""A desk that gives tokens as Docker's registries want them, for `demo/tiny` alone."""

from __future__ import annotations

import base64
import json
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from joserfc import jwt
from joserfc.jwk import ECKey
from support.registries import Asked, FakeRegistry, Reply, registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_OPEN = "repository:demo/tiny:"


@contextmanager
def token_desk(folder: Path) -> Iterator[FakeRegistry]:
    """A desk on loopback; its certificate is `desk.pem` in the folder."""
    folder.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _certificate(key)
    (folder / "desk.pem").write_bytes(certificate.public_bytes(Encoding.PEM))

    def give(asked: Asked) -> Reply:
        query = parse_qs(urlsplit(asked.path).query)
        token = _token(key, certificate, query.get("service", [""])[0], query.get("scope", []))
        return Reply(200, {}, json.dumps({"token": token}).encode())

    with registry() as desk:
        desk.lies.append(give)
        yield desk


def _certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "desk")])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )


def _token(
    key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate, service: str, scopes: list[str]
) -> str:
    now = int(time.time())
    claims = {
        "iss": "desk",
        "sub": "",
        "aud": service,
        "iat": now - 60,
        "nbf": now - 60,
        "exp": now + 300,
        "jti": "1",
        "access": [
            {
                "type": "repository",
                "name": "demo/tiny",
                "actions": scope.rpartition(":")[2].split(","),
            }
            for scope in scopes
            if scope.startswith(_OPEN)
        ],
    }
    der = base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    header = {"alg": "ES256", "typ": "JWT", "x5c": [der]}
    return jwt.encode(header, claims, ECKey.import_key(pem))
