import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sealane.bundle.check import check_layout
from sealane.bundle.layout import blob_path, read_layout, write_layout, write_new
from sealane.bundle.manifest import layer_at
from sealane.bundle.types import Layer
from sealane.errors import BundleError
from support.bundles import tiny_bundle, tiny_contents, tiny_deployment, tiny_manifest

WRITES = 8
"""Six blobs of the tiny bundle, oci-layout and index.json."""


class FullDisk:
    """Writes some files, then half of one, then has no space left."""

    def __init__(self, files: int) -> None:
        self.files, self.written = files, 0

    def __call__(self, path: Path, chunks: Iterator[bytes]) -> None:
        if self.written == self.files:
            path.write_bytes(next(chunks)[:3])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.written += 1
        write_new(path, chunks)


def content_of(folder: Path) -> dict[Path, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder): path.read_bytes() for path in files}


def test_a_layout_is_what_the_oci_specification_says(tmp_path: Path) -> None:
    folder = tiny_bundle(tmp_path / "bundle")
    index = json.loads((folder / "index.json").read_bytes())
    (entry,) = index["manifests"]
    assert json.loads((folder / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    assert entry["digest"] == tiny_manifest().digest
    assert entry["size"] == len(tiny_manifest().content)
    assert len(list((folder / "blobs" / "sha256").iterdir())) == WRITES - 2


def test_the_same_files_give_the_same_bytes_everywhere(tmp_path: Path) -> None:
    one, two = tiny_bundle(tmp_path / "one"), tiny_bundle(tmp_path / "deeper" / "two")
    content = [
        {
            path.relative_to(folder): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
        for folder in (one, two)
    ]
    assert content[0] == content[1]


def test_a_layout_verifies_as_what_was_written(tmp_path: Path) -> None:
    manifest, deployment = check_layout(tiny_bundle(tmp_path / "bundle"))
    assert (manifest, deployment) == (tiny_manifest(), tiny_deployment())


@pytest.mark.parametrize("files", range(WRITES))
def test_a_disk_that_fills_up_leaves_nothing_behind(tmp_path: Path, files: int) -> None:
    with pytest.raises(OSError, match="No space left"):
        write_layout(tmp_path / "bundle", tiny_manifest(), tiny_contents(), FullDisk(files))
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_just_suffices_holds_a_bundle(tmp_path: Path) -> None:
    write_layout(tmp_path / "bundle", tiny_manifest(), tiny_contents(), FullDisk(WRITES))
    check_layout(tmp_path / "bundle")


def test_a_file_that_changes_while_it_is_packed_leaves_nothing_behind(tmp_path: Path) -> None:
    contents = tiny_contents() | {"onnx-fp32/model.onnx": b"other"}
    with pytest.raises(BundleError, match=r"model\.onnx changed"):
        write_layout(tmp_path / "bundle", tiny_manifest(), contents)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_not_given_is_named(tmp_path: Path) -> None:
    contents = tiny_contents()
    del contents["golden/input/x.bin"]
    with pytest.raises(BundleError, match=r"golden/input/x\.bin"):
        write_layout(tmp_path / "bundle", tiny_manifest(), contents)


def test_an_existing_folder_is_never_written_into(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="exists already"):
        write_layout(tmp_path, tiny_manifest(), tiny_contents())


@pytest.mark.parametrize("layer", tiny_manifest().layers, ids=lambda layer: layer.path)
def test_one_changed_byte_in_any_file_is_found(tmp_path: Path, layer: Layer) -> None:
    folder = tiny_bundle(tmp_path / "bundle")
    path = blob_path(folder, layer.digest)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x01
    path.write_bytes(content)
    with pytest.raises(BundleError, match="was changed"):
        check_layout(folder)


@pytest.mark.parametrize("change", [b"", b"more"], ids=["shorter", "longer"])
def test_a_file_of_another_size_is_found(tmp_path: Path, change: bytes) -> None:
    folder = tiny_bundle(tmp_path / "bundle")
    path = blob_path(folder, layer_at(tiny_manifest(), "golden/input/x.bin").digest)
    path.write_bytes(path.read_bytes() + change if change else b"short")
    with pytest.raises(BundleError, match="is not the 64 bytes"):
        check_layout(folder)


def test_a_changed_manifest_is_found(tmp_path: Path) -> None:
    folder = tiny_bundle(tmp_path / "bundle")
    path = blob_path(folder, tiny_manifest().digest)
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(BundleError, match=r"not what index\.json says"):
        read_layout(folder)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    folder = tiny_bundle(tmp_path / "bundle")
    blob_path(folder, tiny_manifest().layers[0].digest).unlink()
    with pytest.raises(BundleError, match="is missing"):
        check_layout(folder)


def test_a_link_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    folder = tiny_bundle(tmp_path / "bundle")
    path = blob_path(folder, tiny_manifest().layers[0].digest)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="cannot be read"):
        check_layout(folder)


def test_a_pipe_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    folder = tiny_bundle(tmp_path / "bundle")
    (folder / "index.json").unlink()
    os.mkfifo(folder / "index.json")
    with pytest.raises(BundleError, match="not a plain file"):
        read_layout(folder)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("oci-layout", b'{"imageLayoutVersion":"2.0.0"}', "not an OCI image layout"),
        ("oci-layout", b"", "not valid JSON"),
        ("index.json", b'{"manifests":[]}', "0 manifests"),
        ("index.json", b'{"manifests":[{},{}]}', "2 manifests"),
        ("index.json", b'{"manifests":[{"digest":"../../x"}]}', "not a digest"),
        ("index.json", b" " * 100_000, "larger than"),
    ],
)
def test_a_malformed_layout_is_refused(
    tmp_path: Path, name: str, content: bytes, complaint: str
) -> None:
    folder = tiny_bundle(tmp_path / "bundle")
    (folder / name).write_bytes(content)
    with pytest.raises(BundleError, match=complaint):
        read_layout(folder)


def test_a_folder_that_is_no_bundle_is_refused_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is missing") as caught:
        check_layout(tmp_path)
    assert "folder of a bundle" in caught.value.hint
