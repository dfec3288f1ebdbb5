"""Writes a bundle from its contract and its files."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from sealane.bundle.deployment import encode_deployment
from sealane.bundle.layout import open_regular, write_layout
from sealane.bundle.manifest import (
    CONFIG_PATH,
    DATASET,
    DEPLOYMENT_PATH,
    DOC,
    MODEL_CONFIG,
    WEIGHT,
    WEIGHT_CONFIG,
    digest_of,
    encode_config,
    encode_manifest,
)
from sealane.bundle.references import check_references
from sealane.bundle.signature import sign
from sealane.bundle.statement import SIGNATURE_PATH, encode_statement, signed_files
from sealane.bundle.types import Layer
from sealane.limits import MIB
from sealane.names import Digest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from sealane.bundle.types import Deployment, Manifest


def assemble(
    out: Path,
    deployment: Deployment,
    files: Mapping[str, Path | bytes],
    key: EllipticCurvePrivateKey | None = None,
) -> Manifest:
    """Write the layout whole, or raise BundleError or OSError; then nothing is left behind.

    `key`: its producer's, who signs all files.
    """
    contents = {**files, DEPLOYMENT_PATH: encode_deployment(deployment)}
    layers = [_layer(path, content) for path, content in contents.items()]
    if key:
        statement = encode_statement(deployment.model, signed_files(layers))
        contents[SIGNATURE_PATH] = sign(statement, key)
        layers.append(_layer(SIGNATURE_PATH, contents[SIGNATURE_PATH]))
    config = encode_config(deployment.model, layers)
    described = Layer(CONFIG_PATH, MODEL_CONFIG, *_measure(config))
    manifest = encode_manifest(described, layers)
    check_references(manifest, deployment)
    write_layout(out, manifest, {**contents, CONFIG_PATH: config})
    return manifest


def _layer(path: str, content: Path | bytes) -> Layer:
    return Layer(path, _media_type(path), *_measure(content))


def _media_type(path: str) -> str:
    if path == DEPLOYMENT_PATH:
        return WEIGHT_CONFIG
    if path == SIGNATURE_PATH:
        return DOC
    return DATASET if path.startswith("golden/") else WEIGHT


def _measure(content: Path | bytes) -> tuple[Digest, int]:
    if isinstance(content, bytes):
        return digest_of(content), len(content)
    hashed, size = sha256(), 0
    with open_regular(content) as file:
        while chunk := file.read(MIB):
            hashed.update(chunk)
            size += len(chunk)
    return Digest(f"sha256:{hashed.hexdigest()}"), size
