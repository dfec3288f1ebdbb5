"""Writes and reads a bundle as an OCI image layout 1.0: oci-layout, index.json, blobs/sha256/….

A layout appears whole, by one rename, or not at all.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from sealane.bundle.jsonform import dump, load
from sealane.bundle.manifest import OCI_MANIFEST, digest_of, parse_manifest
from sealane.errors import BundleError, InvalidName
from sealane.fileio import rename, sync_folder
from sealane.limits import MANIFEST_BYTES, MIB
from sealane.names import Digest, hex_of, parse_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sealane.bundle.types import Layer, Manifest

    Write = Callable[[Path, Iterator[bytes]], None]

LAYOUT_VERSION: Final = "1.0.0"
INDEX_BYTES: Final = 64 * 1024
"""index.json names one manifest; registries' tools add a few annotations."""

_OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
_PUBLIC_FILE: Final = 0o644


def blob_path(folder: Path, digest: Digest) -> Path:
    """Where a blob lies in a layout."""
    return folder / "blobs" / "sha256" / hex_of(digest)


def write_new(path: Path, chunks: Iterator[bytes]) -> None:
    """Write a file that does not exist yet, durably."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with os.fdopen(os.open(path, flags, _PUBLIC_FILE), "wb") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def write_layout(
    folder: Path,
    manifest: Manifest,
    files: Mapping[str, Path | bytes],
    write: Write = write_new,
) -> None:
    """Write a layout; `files` holds every layer and the config under its path.

    Raises BundleError when the folder exists or a file is not what the manifest says, and OSError
    when the disk refuses; then nothing is left behind.
    """
    if folder.exists():
        raise BundleError(f"{folder} exists already", hint="choose another folder or remove it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        _fill(temporary, manifest, files, write)
        temporary.chmod(0o755)
        rename(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _fill(
    folder: Path,
    manifest: Manifest,
    files: Mapping[str, Path | bytes],
    write: Write,
) -> None:
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for layer in {layer.digest: layer for layer in (manifest.config, *manifest.layers)}.values():
        if layer.path not in files:
            raise BundleError(f"no content was given for {layer.path}")
        write(blob_path(folder, layer.digest), _checked(layer, files[layer.path]))
    complete_layout(folder, manifest, write)


def complete_layout(folder: Path, manifest: Manifest, write: Write = write_new) -> None:
    """Write what is missing of a layout whose blobs lie there; what an earlier try wrote goes."""
    contents = {
        blob_path(folder, manifest.digest): manifest.content,
        folder / "oci-layout": dump({"imageLayoutVersion": LAYOUT_VERSION}),
        folder / "index.json": _index(manifest),
    }
    for path, content in contents.items():
        path.unlink(missing_ok=True)
        write(path, iter([content]))
    blobs = folder / "blobs" / "sha256"
    for written in (blobs, blobs.parent, folder):
        sync_folder(written)


def _index(manifest: Manifest) -> bytes:
    entry = {
        "mediaType": OCI_MANIFEST,
        "artifactType": manifest.artifact,
        "digest": manifest.digest,
        "size": len(manifest.content),
    }
    return dump({"schemaVersion": 2, "mediaType": _OCI_INDEX, "manifests": [entry]})


def _checked(layer: Layer, content: Path | bytes) -> Iterator[bytes]:
    """The content in chunks; after the last one it was what the layer says, or BundleError."""
    counted, hashed = 0, sha256()
    for chunk in iter([content]) if isinstance(content, bytes) else _chunks(content):
        counted += len(chunk)
        hashed.update(chunk)
        yield chunk
    if counted != layer.size or hashed.hexdigest() != hex_of(layer.digest):
        raise BundleError(f"{layer.path} changed while the bundle was written")


def _chunks(path: Path) -> Iterator[bytes]:
    with open_regular(path) as file:
        while chunk := file.read(MIB):
            yield chunk


def read_layout(folder: Path) -> Manifest:
    """Read the manifest of a layout, or raise BundleError; the blobs are not looked at."""
    version = load(read_small(folder / "oci-layout", INDEX_BYTES), INDEX_BYTES, "oci-layout")
    if version.text("imageLayoutVersion") != LAYOUT_VERSION:
        raise BundleError(f"{folder} is not an OCI image layout {LAYOUT_VERSION}")
    digest = _indexed(read_small(folder / "index.json", INDEX_BYTES))
    content = read_small(blob_path(folder, digest), MANIFEST_BYTES)
    if digest_of(content) != digest:
        raise BundleError(f"the manifest in {folder} is not what index.json says")
    return parse_manifest(content)


def _indexed(index: bytes) -> Digest:
    found = list(load(index, INDEX_BYTES, "index.json").objects("manifests", 64))
    if len(found) != 1:
        raise BundleError(f"index.json names {len(found)} manifests, a bundle has one")
    try:
        return parse_digest(found[0].text("digest"))
    except InvalidName as error:
        raise BundleError(f"index.json: {error}", hint=error.hint) from error


@contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """Open a plain file for reading: no link, no pipe. Raises BundleError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise BundleError(f"{path} is missing", hint="is this the folder of a bundle?") from error
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise BundleError(f"{path} is not a plain file")
        yield file


def read_small(path: Path, limit: int) -> bytes:
    """Read a file of at most `limit` bytes, or raise BundleError."""
    with open_regular(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise BundleError(f"{path} is larger than the {limit} bytes allowed")
    return content
