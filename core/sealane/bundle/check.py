"""Verifies a bundle offline: every digest, every size, every reference."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from sealane.bundle.agent import AGENT_CONTRACT_BYTES, parse_contract, tree_of
from sealane.bundle.deployment import parse_deployment
from sealane.bundle.layout import blob_path, open_regular, read_layout, read_small
from sealane.bundle.manifest import (
    AGENT_ARTIFACT,
    AGENT_CONTRACT_PATH,
    DEPLOYMENT_PATH,
    check_config,
    layer_at,
)
from sealane.bundle.references import check_references
from sealane.bundle.signature import check_consistent, signature_layer
from sealane.bundle.statement import SIGNATURE_BYTES
from sealane.errors import BundleError
from sealane.limits import DEPLOYMENT_BYTES, MANIFEST_BYTES, MIB
from sealane.names import hex_of

if TYPE_CHECKING:
    from pathlib import Path

    from sealane.bundle.agent import AgentContract
    from sealane.bundle.types import Deployment, Layer, Manifest


def check_layout(folder: Path) -> tuple[Manifest, Deployment]:
    """Verify a layout whole, or raise BundleError.

    Steps: 1 index → manifest by its digest; 2 every blob's size and digest; 3 the config lists the
    layers; 4 deployment.json; 5 everything that it names exists; 6 model.sig, if there is one,
    speaks of exactly these files.
    """
    manifest = _checked(folder)
    deployment = read_deployment(folder, manifest)
    check_references(manifest, deployment)
    if (signature := read_signature(folder, manifest)) is not None:
        check_consistent(manifest, signature)
    return manifest, deployment


def check_agent_layout(folder: Path) -> tuple[Manifest, AgentContract]:
    """Verify the layout of a version of the agent, or raise BundleError."""
    manifest = _checked(folder)
    tree_of(manifest)
    contract = layer_at(manifest, AGENT_CONTRACT_PATH)
    content = read_small(blob_path(folder, contract.digest), AGENT_CONTRACT_BYTES)
    return manifest, parse_contract(content)


def check_bundle(folder: Path) -> Manifest:
    """Verify the layout of a bundle of either kind, or raise BundleError."""
    if read_layout(folder).artifact == AGENT_ARTIFACT:
        return check_agent_layout(folder)[0]
    return check_layout(folder)[0]


def _checked(folder: Path) -> Manifest:
    """Steps 1 to 3."""
    manifest = read_layout(folder)
    for layer in (manifest.config, *manifest.layers):
        _check_blob(folder, layer)
    check_config(read_small(blob_path(folder, manifest.config.digest), MANIFEST_BYTES), manifest)
    return manifest


def read_signature(folder: Path, manifest: Manifest) -> bytes | None:
    """Read model.sig of a layout; None when it is not signed. Raises BundleError."""
    layer = signature_layer(manifest)
    return read_small(blob_path(folder, layer.digest), SIGNATURE_BYTES) if layer else None


def read_deployment(folder: Path, manifest: Manifest) -> Deployment:
    """Read deployment.json of a layout, or raise BundleError."""
    layer = layer_at(manifest, DEPLOYMENT_PATH)
    return parse_deployment(read_small(blob_path(folder, layer.digest), DEPLOYMENT_BYTES))


def _check_blob(folder: Path, layer: Layer) -> None:
    hashed, counted = sha256(), 0
    with open_regular(blob_path(folder, layer.digest)) as file:
        while counted <= layer.size and (chunk := file.read(MIB)):
            counted += len(chunk)
            hashed.update(chunk)
    if counted != layer.size:
        raise BundleError(f"{layer.path} is not the {layer.size} bytes that the manifest says")
    if hashed.hexdigest() != hex_of(layer.digest):
        raise BundleError(
            f"{layer.path} was changed: its bytes are not those of {layer.digest}",
            hint="pack or copy the bundle again",
        )
