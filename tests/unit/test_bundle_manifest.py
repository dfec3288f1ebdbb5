import json
from typing import Any

import pytest
from sealane.bundle.manifest import CONFIG_PATH, check_path, encode_manifest, parse_manifest
from sealane.bundle.paths import check_paths
from sealane.bundle.types import Layer
from sealane.errors import BundleError
from sealane.limits import MANIFEST_BYTES
from support.bundles import tiny_files, tiny_manifest


def changed(**fields: Any) -> bytes:
    return json.dumps(json.loads(tiny_manifest().content) | fields).encode()


def with_first_layer(**fields: Any) -> bytes:
    document = json.loads(tiny_manifest().content)
    document["layers"][0] |= fields
    return json.dumps(document).encode()


def test_the_order_of_the_layers_does_not_change_the_digest() -> None:
    manifest = tiny_manifest()
    again = encode_manifest(manifest.config, list(reversed(manifest.layers)))
    assert again == manifest


def test_a_manifest_is_read_back_as_it_was_written() -> None:
    manifest = tiny_manifest()
    assert parse_manifest(manifest.content) == manifest
    assert {layer.path for layer in manifest.layers} == set(tiny_files())
    assert manifest.config.path == CONFIG_PATH


def test_other_bytes_of_the_same_content_have_another_digest() -> None:
    spaced = json.dumps(json.loads(tiny_manifest().content), indent=1).encode()
    assert parse_manifest(spaced).digest != tiny_manifest().digest


def test_fields_of_later_versions_do_not_disturb() -> None:
    later = parse_manifest(changed(annotations={"later": "yes"}, subject=None))
    assert later.layers == tiny_manifest().layers


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "not valid JSON"),
        (b"[]", "not an object"),
        (b"\xff\xfe{}", "not valid JSON"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": 1e999}', "too large"),
        (b"[" * 100_000, "nested too deeply"),
        (b" " * (MANIFEST_BYTES + 1), "more than"),
        (changed(schemaVersion=1), "not an OCI image manifest"),
        (changed(mediaType="application/vnd.oci.image.index.v1+json"), "not an OCI image manifest"),
        (changed(artifactType="application/octet-stream"), "neither that of a model"),
        (changed(layers=[]), "lists no deployment.json"),
        (changed(layers={}), "not a list"),
        (changed(config=None), "not an object"),
        (with_first_layer(mediaType="application/vnd.cncf.model.weight.v1.tar"), "not a raw one"),
        (with_first_layer(digest="sha256:00"), "not a digest"),
        (with_first_layer(digest="md5:" + "0" * 64), "not a digest"),
        (with_first_layer(size=-1), "whole number"),
        (with_first_layer(size=True), "whole number"),
        (with_first_layer(size=2**60), "whole number"),
        (with_first_layer(annotations={}), "no org.cncf.model.filepath"),
        (with_first_layer(annotations={"org.cncf.model.filepath": "../x"}), "not a path"),
    ],
)
def test_a_malformed_manifest_is_refused(content: bytes, complaint: str) -> None:
    with pytest.raises(BundleError, match=complaint):
        parse_manifest(content)


def test_one_digest_with_two_sizes_is_refused() -> None:
    manifest = tiny_manifest()
    first, second, *others = manifest.layers
    twin = Layer(second.path, second.media_type, first.digest, first.size + 1)
    with pytest.raises(BundleError, match="two sizes"):
        encode_manifest(manifest.config, [first, twin, *others])


@pytest.mark.parametrize(
    "path",
    [
        *("", ".", "..", "a/..", "../a", "/a", "a//b", "a/", "./a", "a/./b"),
        *("a\\b", "a\0b", "a b", "a\n", "é", "a:b", "~a", "-a", ".hidden", "a/.hidden", "dot."),
        *("con", "CON.txt", "a/nul", "Com1.bin", "LPT9", "aux.onnx"),
        *("model-config.json", "MODEL-config.JSON"),
        *("x" * 101, "/".join("abcdefghi"), "/".join(["x" * 60] * 5)),
    ],
)
def test_a_path_outside_the_whitelist_is_refused(path: str) -> None:
    with pytest.raises(BundleError):
        check_path(path)


@pytest.mark.parametrize(
    "path", ["model.onnx", "a/b_c-1.2+3.bin", "console/x", "golden/input/x.bin", "_w", "x" * 100]
)
def test_a_plain_path_is_taken_as_it_is(path: str) -> None:
    assert check_path(path) == path


@pytest.mark.parametrize("paths", [("a", "a"), ("Model", "model"), ("a", "a/b"), ("A/b", "a/B")])
def test_paths_that_cannot_lie_in_one_folder_are_refused(paths: tuple[str, str]) -> None:
    with pytest.raises(BundleError):
        check_paths(paths)
