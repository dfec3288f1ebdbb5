"""Producers, and bundles that they sign: rightly, or as an attacker would have it."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from sealane.bundle.signature import ProducerKey, sign
from sealane.bundle.statement import SIGNATURE_PATH, encode_statement, signed_files
from support.bundles import TINY_MODEL, manifest_of, tiny_files, write_bundle

if TYPE_CHECKING:
    from pathlib import Path

    from sealane.bundle.types import Manifest

ACME = ec.generate_private_key(ec.SECP256R1())
RIVAL = ec.generate_private_key(ec.SECP256R1())


def public(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A producer's public key in PEM."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def private(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A producer's private key in PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def known(key: ec.EllipticCurvePrivateKey, name: str = "acme.pem") -> ProducerKey:
    """A producer as a verifier knows it."""
    return ProducerKey.read(name, public(key))


def statement_of(manifest: Manifest) -> dict[str, Any]:
    """What an honest producer would sign for a bundle."""
    found: dict[str, Any] = json.loads(encode_statement(TINY_MODEL, signed_files(manifest.layers)))
    return found


def signed_statement(statement: object, key: ec.EllipticCurvePrivateKey = ACME) -> bytes:
    """A signature over any statement."""
    content = statement if isinstance(statement, bytes) else json.dumps(statement).encode()
    return sign(content, key)


def signed_files_of(version: int = 1, key: ec.EllipticCurvePrivateKey = ACME) -> dict[str, bytes]:
    """The files of the tiny bundle with the signature of its producer."""
    files = tiny_files(version)
    return {**files, SIGNATURE_PATH: signed_statement(statement_of(manifest_of(files)[0]), key)}


def signed_bundle(folder: Path, key: ec.EllipticCurvePrivateKey = ACME, version: int = 1) -> Path:
    """Write the tiny bundle, signed; returns the folder of its layout."""
    return write_bundle(folder, signed_files_of(version, key))


def enveloped(content: bytes, **changes: Any) -> bytes:
    """A signature with other fields at its top."""
    return json.dumps({**json.loads(content), **changes}).encode()


def resigned(payload: bytes, key: ec.EllipticCurvePrivateKey, payload_type: str) -> bytes:
    """A signature over a payload of another type, right in itself."""
    kind = payload_type.encode()
    whole = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    signature = key.sign(whole, ec.ECDSA(hashes.SHA256()))
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": payload_type,
        "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
    }
    return enveloped(sign(payload, key), dsseEnvelope=envelope)
