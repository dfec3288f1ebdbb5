"""Puts a producer's signature into a bundle, which is a new bundle then, and lays its files out."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sealane.bundle.check import check_bundle, check_layout
from sealane.bundle.jsonform import dump, load
from sealane.bundle.layout import blob_path, open_regular, read_small, write_layout
from sealane.bundle.manifest import CONFIG_PATH, DOC, digest_of, encode_manifest
from sealane.bundle.signature import (
    KEY_BYTES,
    ProducerKey,
    check_consistent,
    sign,
    signature_layer,
)
from sealane.bundle.statement import SIGNATURE_PATH, encode_statement, signed_files
from sealane.bundle.types import Layer
from sealane.errors import BundleError
from sealane.fileio import rename
from sealane.limits import MANIFEST_BYTES

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from sealane.bundle.types import Manifest


def read_producer(path: Path) -> ProducerKey:
    """The public key in a file, which may be a link; raises BundleError or OSError."""
    with path.open("rb") as file:
        return ProducerKey.read(path.name, file.read(KEY_BYTES))


def sign_bundle(folder: Path, key: EllipticCurvePrivateKey, out: Path) -> Manifest:
    """Write the bundle once more, signed with a key. Raises BundleError or OSError."""
    manifest, deployment = check_layout(folder)
    statement = encode_statement(deployment.model, signed_files(manifest.layers))
    return _with_signature(folder, manifest, sign(statement, key), out)


def attach_signature(folder: Path, signature: bytes, out: Path) -> Manifest:
    """Write the bundle once more, with a signature that some tool made for its files.

    Raises BundleError when it speaks of other files, or OSError.
    """
    manifest, _ = check_layout(folder)
    check_consistent(manifest, signature)
    return _with_signature(folder, manifest, signature, out)


def _with_signature(folder: Path, manifest: Manifest, signature: bytes, out: Path) -> Manifest:
    if signature_layer(manifest):
        raise BundleError(f"{folder} is signed already", hint="sign the bundle as it was packed")
    layer = Layer(SIGNATURE_PATH, DOC, digest_of(signature), len(signature))
    layers = sorted((*manifest.layers, layer), key=lambda each: each.path)
    config = _config(folder, manifest, layers)
    described = Layer(CONFIG_PATH, manifest.config.media_type, digest_of(config), len(config))
    signed = encode_manifest(described, layers)
    files: dict[str, Path | bytes] = {
        each.path: blob_path(folder, each.digest) for each in manifest.layers
    }
    write_layout(out, signed, {**files, SIGNATURE_PATH: signature, CONFIG_PATH: config})
    return signed


def _config(folder: Path, manifest: Manifest, layers: list[Layer]) -> bytes:
    """The bundle's config with one more layer in its list."""
    content = read_small(blob_path(folder, manifest.config.digest), MANIFEST_BYTES)
    raw = load(content, MANIFEST_BYTES, "the config").raw
    return dump({**raw, "modelfs": {**raw["modelfs"], "diffIds": [each.digest for each in layers]}})


def unpack(folder: Path, out: Path) -> Manifest:
    """Write a bundle's files under their own names into a new folder, as a device lays them out.

    Raises BundleError for a damaged bundle, or OSError; then nothing is left behind.
    """
    if out.exists():
        raise BundleError(f"{out} exists already", hint="choose another folder or remove it")
    manifest = check_bundle(folder)
    out.parent.mkdir(parents=True, exist_ok=True)
    growing = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        for layer in manifest.layers:
            target = growing / layer.path
            target.parent.mkdir(parents=True, exist_ok=True)
            with open_regular(blob_path(folder, layer.digest)) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file)
        growing.chmod(0o755)
        rename(growing, out)
    except BaseException:
        shutil.rmtree(growing, ignore_errors=True)
        raise
    return manifest
