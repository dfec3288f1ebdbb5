"""Pushes a bundle to a registry: verified first, every blob before the manifest that names it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sealane.bundle.check import check_bundle

from sealane_manager.errors import Refused
from sealane_manager.registry.send import Sender, Way

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sealane.bundle.types import Manifest

    from sealane_manager.registry.receive import Patience
    from sealane_manager.registry.repository import Repository


@dataclass(frozen=True, slots=True)
class PushOrder:
    """Which bundle goes out.

    Attributes:
        source: a repository of the same registry whose blobs may be shared; empty: none.
        replace: whether a tag that stands for other bytes may be moved.
    """

    folder: Path
    source: str = ""
    replace: bool = False


@dataclass(frozen=True, slots=True)
class Pushed:
    """What is in the registry now, and how many bytes of blobs got there in which way."""

    manifest: Manifest
    ways: Mapping[Way, int]


def push(order: PushOrder, repository: Repository, patience: Patience) -> Pushed:
    """Verify the bundle and bring it to the registry.

    Raises BundleError for a damaged one before anything is sent, Refused for a tag that stands for
    other bytes, and what the repository raises.
    """
    manifest = check_bundle(order.folder)
    reference = repository.reference
    if reference.digest not in {None, manifest.digest}:
        raise Refused(
            f"{order.folder} is {manifest.digest}, not {reference.digest}",
            hint="leave the digest out, or push the bundle that it belongs to",
        )
    if reference.tag and not order.replace:
        _check_tag(repository, manifest)
    ways: Counter[Way] = Counter()
    sender = Sender(repository, order.folder, order.source, patience)
    for layer in {each.digest: each for each in (manifest.config, *manifest.layers)}.values():
        ways[sender.send(layer)] += layer.size
    repository.put_manifest(reference.tag or manifest.digest, manifest)
    return Pushed(manifest, ways)


def _check_tag(repository: Repository, manifest: Manifest) -> None:
    reference = repository.reference
    if (there := repository.manifest_digest(reference.tag)) not in {"", manifest.digest}:
        raise Refused(
            f"{reference.repository}:{reference.tag} is another bundle already: {there}",
            hint="push under the next tag; --replace moves the tag",
        )
