"""Signatures that say other than what they seem to, and bundles that nobody signed."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from sealane.bundle.check import check_layout
from sealane.bundle.manifest import digest_of
from sealane.bundle.signature import producer_of
from sealane.bundle.statement import PREDICATE, SIGNATURE_BYTES, SIGNATURE_PATH
from sealane.errors import BundleError
from sealane_manager.bundle.signing import attach_signature, unpack
from support.bundles import manifest_of, tiny_bundle, tiny_files, tiny_manifest, write_bundle
from support.signed import (
    ACME,
    RIVAL,
    enveloped,
    known,
    resigned,
    signed_bundle,
    signed_files_of,
    signed_statement,
    statement_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sealane.bundle.types import Manifest

    Change = Callable[[dict[str, Any]], object]

MODEL = "onnx-fp32/model.onnx"


def signed(content: bytes) -> Manifest:
    """The manifest of the tiny bundle with this model.sig."""
    return manifest_of({**tiny_files(), SIGNATURE_PATH: content})[0]


def refused(content: bytes, says: str) -> None:
    """This model.sig is refused for the tiny bundle, though its key is known."""
    with pytest.raises(BundleError, match=says) as caught:
        producer_of(signed(content), content, [known(ACME)])
    assert len(str(caught.value).splitlines()) == 1


def changed(change: Change) -> bytes:
    """A right signature over a statement that was changed before it was signed."""
    statement = statement_of(tiny_manifest())
    change(statement)
    return signed_statement(statement)


def test_a_producers_signature_is_known_by_its_key(tmp_path: Path) -> None:
    content = signed_files_of()[SIGNATURE_PATH]
    found = producer_of(signed(content), content, [known(RIVAL, "rival.pem"), known(ACME)])
    assert found.name == "acme.pem"
    check_layout(signed_bundle(tmp_path / "bundle"))


def test_a_signature_by_somebody_else_is_refused() -> None:
    content = signed_files_of(key=RIVAL)[SIGNATURE_PATH]
    refused(content, r"was not made by acme\.pem")


def test_a_signature_by_somebody_else_that_names_the_right_key_is_refused() -> None:
    content = signed_files_of(key=RIVAL)[SIGNATURE_PATH]
    material = {"publicKey": {"hint": known(ACME).hint}, "tlogEntries": []}
    refused(enveloped(content, verificationMaterial=material), r"was not made by acme\.pem")


def test_a_right_signature_that_names_another_key_is_refused() -> None:
    content = signed_files_of()[SIGNATURE_PATH]
    material = {"publicKey": {"hint": known(RIVAL).hint}}
    refused(enveloped(content, verificationMaterial=material), r"was not made by acme\.pem")


def test_no_key_is_no_excuse() -> None:
    content = signed_files_of()[SIGNATURE_PATH]
    with pytest.raises(BundleError, match="was not made by any key that is known here"):
        producer_of(signed(content), content, [])


def test_a_signature_over_another_bundle_is_refused() -> None:
    other = signed_statement(statement_of(manifest_of(tiny_files(2))[0]))
    refused(other, "was made for other bytes of")


def test_a_file_added_after_signing_is_refused(tmp_path: Path) -> None:
    files = {**signed_files_of(), "extra/code.bin": b"evil"}
    with pytest.raises(BundleError, match=r"does not list extra/code\.bin"):
        check_layout(write_bundle(tmp_path / "bundle", files))


def test_a_file_removed_after_signing_is_refused(tmp_path: Path) -> None:
    statement = statement_of(manifest_of({**tiny_files(), "onnx-fp32/model.data": b"x"})[0])
    files = {**tiny_files(), SIGNATURE_PATH: signed_statement(statement)}
    with pytest.raises(BundleError, match=r"not in the bundle: onnx-fp32/model\.data"):
        check_layout(write_bundle(tmp_path / "bundle", files))


def test_a_file_renamed_after_signing_is_refused() -> None:
    def rename(statement: dict[str, Any]) -> None:
        for resource in statement["predicate"]["resources"]:
            resource["name"] = resource["name"].replace("model.onnx", "other.onnx")

    refused(changed(rename), f"does not list {MODEL}")


def test_two_files_whose_bytes_change_places_are_refused() -> None:
    def swap(statement: dict[str, Any]) -> None:
        first, second = statement["predicate"]["resources"][1:3]
        first["digest"], second["digest"] = second["digest"], first["digest"]

    refused(changed(swap), "not about the files that it lists")


@pytest.mark.parametrize("path", ["../model.onnx", "/etc/passwd", "a/../b", "a\\b", "a\0b", "CON"])
def test_a_path_that_leaves_the_folder_is_refused(path: str) -> None:
    def add(statement: dict[str, Any]) -> None:
        resource = {"name": path, "algorithm": "sha256", "digest": "0" * 64}
        statement["predicate"]["resources"].append(resource)

    refused(changed(add), "not a path that a bundle may hold")


def test_a_file_that_is_listed_twice_is_refused() -> None:
    def twice(statement: dict[str, Any]) -> None:
        resources = statement["predicate"]["resources"]
        resources.append({**resources[0], "digest": "0" * 64})

    refused(changed(twice), "twice")


@pytest.mark.parametrize("path", [MODEL, "onnx-fp32", "extra", ".", "", "/", "../", "MODEL.SIG"])
def test_a_list_of_ignored_files_hides_none(path: str) -> None:
    def overlook(statement: dict[str, Any]) -> None:
        statement["predicate"]["serialization"]["ignore_paths"].append(path)

    refused(changed(overlook), "asks to overlook")


def test_a_file_that_is_hidden_by_not_listing_it_is_refused() -> None:
    def hide(statement: dict[str, Any]) -> None:
        statement["predicate"]["resources"].pop()
        digests = [each["digest"] for each in statement["predicate"]["resources"]]
        root = digest_of(b"".join(map(bytes.fromhex, digests)))
        statement["subject"][0]["digest"]["sha256"] = root.removeprefix("sha256:")

    refused(changed(hide), f"does not list {MODEL}")


@pytest.mark.parametrize("links", [True, "false", 0, None])
def test_a_signature_that_allows_links_is_refused(links: object) -> None:
    def allow(statement: dict[str, Any]) -> None:
        statement["predicate"]["serialization"]["allow_symlinks"] = links

    refused(changed(allow), "links elsewhere")


@pytest.mark.parametrize(
    "kind", ["https://model_signing/Digests/v0.1", "https://model_signing/signature/v2", ""]
)
def test_another_type_of_predicate_is_refused(kind: str) -> None:
    refused(changed(lambda said: said.update(predicateType=kind)), "not one of model signing")


def test_another_type_of_statement_is_refused() -> None:
    refused(changed(lambda said: said.update(_type="other")), "not one of model signing")


@pytest.mark.parametrize("subject", [[], [{}], "x", [{"digest": {"sha256": "0" * 64}}] * 2])
def test_another_subject_than_the_files_is_refused(subject: object) -> None:
    refused(changed(lambda said: said.update(subject=subject)), "statement in model.sig")


@pytest.mark.parametrize(
    ("method", "hashed"), [("shards", "sha256"), ("files", "blake3"), ("files", "md5")]
)
def test_another_way_to_hash_is_refused(method: str, hashed: str) -> None:
    def other(statement: dict[str, Any]) -> None:
        statement["predicate"]["serialization"].update(method=method, hash_type=hashed)

    refused(changed(other), "not about whole files by SHA-256")


def test_a_key_that_stands_twice_in_the_statement_is_refused() -> None:
    content = json.dumps(statement_of(tiny_manifest())).encode()
    twice = content.replace(b'"predicateType":', b'"predicateType": "other", "predicateType":')
    assert json.loads(twice)["predicateType"] == PREDICATE
    refused(signed_statement(twice), "a key stands twice")


def test_a_key_that_stands_twice_in_the_envelope_is_refused() -> None:
    content = signed_files_of()[SIGNATURE_PATH]
    twice = content.replace(b'{"dsseEnvelope":', b'{"dsseEnvelope":{},"dsseEnvelope":')
    refused(twice, "a key stands twice")


def test_only_one_signature_is_looked_at_so_there_may_be_only_one() -> None:
    content = signed_files_of()[SIGNATURE_PATH]
    envelope: dict[str, list[object]] = json.loads(content)["dsseEnvelope"]
    for signatures in (envelope["signatures"] * 2, envelope["signatures"] * 0):
        both = {**envelope, "signatures": signatures}
        refused(enveloped(content, dsseEnvelope=both), "signature")


def test_a_payload_of_another_type_is_refused_though_its_signature_is_right() -> None:
    payload = json.dumps(statement_of(tiny_manifest())).encode()
    refused(resigned(payload, ACME, "application/json"), "in-toto statement")


def test_a_payload_that_was_changed_after_signing_is_refused() -> None:
    content = signed_files_of()[SIGNATURE_PATH]
    envelope = json.loads(content)["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"]).replace(b"demo/tiny", b"demo/evil")
    other = {**envelope, "payload": base64.b64encode(payload).decode()}
    refused(enveloped(content, dsseEnvelope=other), "was not made by")


@pytest.mark.parametrize("version", ["application/vnd.dev.sigstore.bundle+json;version=0.2", ""])
def test_another_version_of_the_bundle_is_refused(version: str) -> None:
    content = signed_files_of()[SIGNATURE_PATH]
    refused(enveloped(content, mediaType=version), "not a Sigstore bundle 0.3")


@pytest.mark.parametrize("material", [{"x509CertificateChain": {}}, {"certificate": {}}, {}])
def test_a_certificate_proves_nothing_here(material: dict[str, object]) -> None:
    content = signed_files_of()[SIGNATURE_PATH]
    refused(enveloped(content, verificationMaterial=material), "made with a certificate")


@pytest.mark.parametrize("hint", ["x", "0" * 63, 7, ["0" * 64], "\x1b[2J"])
def test_a_hint_that_is_no_digest_is_refused(hint: object) -> None:
    content = signed_files_of()[SIGNATURE_PATH]
    material = {"publicKey": {"hint": hint}}
    refused(enveloped(content, verificationMaterial=material), "something else than a SHA-256")


@pytest.mark.parametrize(
    "content",
    [b"", b"null", b"[]", b"{}", b"\xff", b"[" * 100_000, b" " * (SIGNATURE_BYTES + 1)],
)
def test_what_is_no_signature_at_all_is_refused(content: bytes) -> None:
    refused(content, "model.sig")


def test_base64_with_something_between_is_refused() -> None:
    content = signed_files_of()[SIGNATURE_PATH]
    envelope = json.loads(content)["dsseEnvelope"]
    other = {**envelope, "payload": envelope["payload"][:8] + "\n" + envelope["payload"][8:]}
    refused(enveloped(content, dsseEnvelope=other), "not base64")


def test_a_signature_for_another_bundle_is_not_attached(tmp_path: Path) -> None:
    folder, out = tiny_bundle(tmp_path / "bundle"), tmp_path / "out"
    with pytest.raises(BundleError, match="was made for other bytes"):
        attach_signature(folder, signed_files_of(2)[SIGNATURE_PATH], out)
    assert not out.exists()


def test_a_damaged_bundle_is_not_laid_out(tmp_path: Path) -> None:
    folder = signed_bundle(tmp_path / "bundle")
    blob = next((folder / "blobs" / "sha256").iterdir())
    blob.write_bytes(b"damaged")
    with pytest.raises(BundleError):
        unpack(folder, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
