"""A signature that OpenSSF's tool made once, and what signing decides by itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from sealane.bundle.check import check_layout
from sealane.bundle.manifest import DOC, MODEL_CONFIG, WEIGHT, digest_of
from sealane.bundle.signature import ProducerKey, producer_of, read_signing_key
from sealane.bundle.statement import SIGNATURE_PATH, encode_statement
from sealane.bundle.types import Layer, Manifest
from sealane.errors import BundleError
from sealane_manager.bundle.signing import sign_bundle, unpack
from support.bundles import tiny_bundle
from support.repository import ROOT
from support.signed import ACME, private, public

if TYPE_CHECKING:
    from pathlib import Path

RECORDED = ROOT / "tests" / "support" / "stock_signature"
"""Made by `model_signing sign key` 1.1.1 over a.json (`a`) and sub/b.bin (`b`), a line each."""


def bundle_of(files: dict[str, bytes], signature: bytes) -> Manifest:
    """A manifest of any files; the signature's is the last."""
    layers = [Layer(path, WEIGHT, digest_of(data), len(data)) for path, data in files.items()]
    layers.append(Layer(SIGNATURE_PATH, DOC, digest_of(signature), len(signature)))
    config = Layer("model-config.json", MODEL_CONFIG, digest_of(b""), 0)
    return Manifest(digest_of(b"any"), b"any", config, tuple(layers))


def test_a_recorded_signature_of_the_stock_tool_is_accepted_for_its_files_alone() -> None:
    signature = (RECORDED / "model.sig").read_bytes()
    key = ProducerKey.read("producer.pem", (RECORDED / "producer.pem").read_bytes())
    files = {"sub/b.bin": b"b\n", "a.json": b"a\n"}
    assert producer_of(bundle_of(files, signature), signature, [key]) == key
    with pytest.raises(BundleError, match=r"other bytes of a\.json"):
        producer_of(bundle_of({**files, "a.json": b"A\n"}, signature), signature, [key])


def test_files_are_signed_in_the_order_of_their_folders_as_the_stock_tool_has_it() -> None:
    digest = digest_of(b"")
    statement = json.loads(encode_statement("a/b", {"a-b": digest, "a/c": digest, "a": digest}))
    assert [each["name"] for each in statement["predicate"]["resources"]] == ["a", "a/c", "a-b"]


def test_the_same_bundle_and_key_give_the_same_signed_bundle(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bundle")
    first, second = (sign_bundle(bundle, ACME, tmp_path / name) for name in ("one", "two"))
    assert first == second
    assert check_layout(tmp_path / "one")[0] == first


def test_a_bundle_is_signed_once(tmp_path: Path) -> None:
    sign_bundle(tiny_bundle(tmp_path / "bundle"), ACME, tmp_path / "signed")
    with pytest.raises(BundleError, match="is signed already"):
        sign_bundle(tmp_path / "signed", ACME, tmp_path / "again")


def test_unpacked_files_lie_under_their_names(tmp_path: Path) -> None:
    manifest = unpack(tiny_bundle(tmp_path / "bundle"), tmp_path / "files")
    for layer in manifest.layers:
        assert digest_of((tmp_path / "files" / layer.path).read_bytes()) == layer.digest
    with pytest.raises(BundleError, match="exists already"):
        unpack(tmp_path / "bundle", tmp_path / "files")


@pytest.mark.parametrize("curve", [ec.SECP256K1(), ec.SECP224R1(), ec.BrainpoolP256R1()])
def test_a_key_on_another_curve_signs_nothing_and_proves_nothing(curve: ec.EllipticCurve) -> None:
    key = ec.generate_private_key(curve)
    with pytest.raises(BundleError, match="not on P-256"):
        read_signing_key("k", private(key), None)
    with pytest.raises(BundleError, match="not on P-256"):
        ProducerKey.read("k", public(key))


def test_a_key_of_another_kind_signs_nothing_and_proves_nothing() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(BundleError, match="not on P-256"):
        read_signing_key("k", pem, None)
    shown = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(BundleError, match="not on P-256"):
        ProducerKey.read("k", shown)


def test_an_encrypted_key_needs_its_passphrase() -> None:
    locked = BestAvailableEncryption(b"box")
    pem = ACME.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked)
    assert public(read_signing_key("k", pem, b"box")) == public(ACME)
    for passphrase, says in (
        (None, "k is encrypted"),
        (b"bag", "or the passphrase is wrong"),
        (b"", "k is"),
    ):
        with pytest.raises(BundleError, match=says):
            read_signing_key("k", pem, passphrase)
    with pytest.raises(BundleError, match="k is not encrypted"):
        read_signing_key("k", private(ACME), b"box")
