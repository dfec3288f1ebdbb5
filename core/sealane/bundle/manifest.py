"""Decides what a manifest says: OCI image manifest, ModelPack media types, one raw layer a file.

No layer of a model is an archive and none is compressed, so nothing is unpacked on the way to a
device. A version of the agent is one archive, unpacked only after its digest was found right.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from sealane.bundle.jsonform import Fields, dump, load
from sealane.bundle.paths import CONFIG_PATH, check_path, check_paths
from sealane.bundle.types import Layer, Manifest
from sealane.errors import BundleError, InvalidName
from sealane.limits import BLOB_BYTES, BUNDLE_FILES, MANIFEST_BYTES
from sealane.names import Digest, parse_digest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["CONFIG_PATH", "DEPLOYMENT_PATH", "check_path", "encode_manifest", "parse_manifest"]

DEPLOYMENT_PATH: Final = "deployment.json"

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
MODEL_ARTIFACT: Final = "application/vnd.cncf.model.manifest.v1+json"
MODEL_CONFIG: Final = "application/vnd.cncf.model.config.v1+json"
WEIGHT: Final = "application/vnd.cncf.model.weight.v1.raw"
WEIGHT_CONFIG: Final = "application/vnd.cncf.model.weight.config.v1.raw"
DATASET: Final = "application/vnd.cncf.model.dataset.v1.raw"
DOC: Final = "application/vnd.cncf.model.doc.v1.raw"
LAYER_TYPES: Final = frozenset({WEIGHT, WEIGHT_CONFIG, DATASET, DOC})

AGENT_ARTIFACT: Final = "application/vnd.sealane.agent.manifest.v1+json"
AGENT_CONFIG: Final = "application/vnd.sealane.agent.config.v1+json"
AGENT_CONTRACT: Final = "application/vnd.sealane.agent.contract.v1+json"
AGENT_TREE: Final = "application/vnd.sealane.agent.tree.v1.tar+gzip"
AGENT_CONTRACT_PATH: Final = "agent.json"
AGENT_TREE_PATH: Final = "agent.tar.gz"


@dataclass(frozen=True, slots=True)
class _Kind:
    """What bundles of one kind are made of."""

    config: str
    layers: frozenset[str]
    contract: str


_KINDS: Final = {
    MODEL_ARTIFACT: _Kind(MODEL_CONFIG, LAYER_TYPES, DEPLOYMENT_PATH),
    AGENT_ARTIFACT: _Kind(
        AGENT_CONFIG, frozenset({AGENT_CONTRACT, AGENT_TREE}), AGENT_CONTRACT_PATH
    ),
}

_FILEPATH: Final = "org.cncf.model.filepath"
_TITLE: Final = "org.opencontainers.image.title"


def digest_of(content: bytes) -> Digest:
    """The digest of some bytes."""
    return Digest(f"sha256:{sha256(content).hexdigest()}")


def encode_manifest(
    config: Layer, layers: Sequence[Layer], artifact: str = MODEL_ARTIFACT
) -> Manifest:
    """Make a manifest; the same files give the same bytes. Raises BundleError."""
    ordered = sorted(layers, key=lambda layer: layer.path)
    content = dump(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": artifact,
            "config": _descriptor(config),
            "layers": [_descriptor(layer) | _annotations(layer) for layer in ordered],
        }
    )
    return parse_manifest(content)


def encode_config(name: str, layers: Sequence[Layer]) -> bytes:
    """Make the ModelPack config of a model with these layers."""
    ordered = sorted(layers, key=lambda layer: layer.path)
    files = {"type": "layers", "diffIds": [layer.digest for layer in ordered]}
    return dump({"descriptor": {"name": name}, "config": {}, "modelfs": files})


def check_config(content: bytes, manifest: Manifest) -> None:
    """Raise BundleError unless this config lists the manifest's layers."""
    files = load(content, MANIFEST_BYTES, "the config").fields("modelfs")
    listed = files.texts("diffIds", BUNDLE_FILES)
    if listed != tuple(layer.digest for layer in manifest.layers):
        raise BundleError("the config does not list the layers of its manifest")


def parse_manifest(content: bytes) -> Manifest:
    """Read a manifest, or raise BundleError."""
    found = load(content, MANIFEST_BYTES, "the manifest")
    if found.raw.get("schemaVersion") != 2 or found.raw.get("mediaType") != OCI_MANIFEST:  # noqa: PLR2004 - the number that the OCI specification fixes
        raise BundleError("the manifest is not an OCI image manifest")
    artifact = found.raw.get("artifactType")
    kind = _KINDS.get(artifact) if isinstance(artifact, str) else None
    if kind is None or not isinstance(artifact, str):
        raise BundleError(
            "the manifest is neither that of a model nor of an agent", hint="see docs/formats.md"
        )
    config = _layer(found.fields("config"), CONFIG_PATH, frozenset({kind.config}))
    layers = tuple(
        _file_layer(layer, kind.layers) for layer in found.objects("layers", BUNDLE_FILES)
    )
    check_paths(layer.path for layer in layers)
    _check_sizes((config, *layers))
    if kind.contract not in {layer.path for layer in layers}:
        raise BundleError(f"the manifest lists no {kind.contract}")
    return Manifest(digest_of(content), content, config, layers, artifact)


def layer_at(manifest: Manifest, path: str) -> Layer:
    """The layer with this path, or raise BundleError."""
    for layer in manifest.layers:
        if layer.path == path:
            return layer
    raise BundleError(f"the manifest lists no {path}")


def _file_layer(layer: Fields, media_types: frozenset[str]) -> Layer:
    return _layer(layer, layer.fields("annotations").text(_FILEPATH), media_types)


def _layer(found: Fields, path: str, media_types: frozenset[str]) -> Layer:
    media_type = found.text("mediaType")
    if media_type not in media_types:
        raise BundleError(f"{found.where} has the media type {media_type[:80]!r}, not a raw one")
    try:
        digest = parse_digest(found.text("digest"))
    except InvalidName as error:
        raise BundleError(f"{found.where}: {error}", hint=error.hint) from error
    return Layer(path, media_type, digest, found.integer("size", 0, BLOB_BYTES))


def _check_sizes(layers: Sequence[Layer]) -> None:
    sizes: dict[Digest, int] = {}
    for layer in layers:
        if sizes.setdefault(layer.digest, layer.size) != layer.size:
            raise BundleError(f"the manifest gives {layer.digest} two sizes")


def _descriptor(layer: Layer) -> dict[str, Any]:
    return {"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size}


def _annotations(layer: Layer) -> dict[str, Any]:
    return {"annotations": {_FILEPATH: layer.path, _TITLE: layer.path}}
