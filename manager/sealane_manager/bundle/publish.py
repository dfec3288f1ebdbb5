"""Publishes a bundle as a release: blobs first, then the signed metadata that lists it.

The manager is a store here: what makes the release trusted is the signature, made on this side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sealane.bundle.check import check_layout
from sealane.bundle.layout import blob_path

from sealane_manager.errors import Refused
from sealane_manager.trust.releases import with_release

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from sealane.bundle.types import Manifest
    from sealane.names import Digest, ReleaseName, SlotName
    from securesystemslib.signer import Signer


class ReleaseDesk(Protocol):
    """The part of a manager that takes releases."""

    def missing_blobs(self, digests: Sequence[Digest]) -> Sequence[Digest]:
        """Which of these blobs it does not hold yet."""
        ...

    def upload_blob(self, digest: Digest, source: Path, progress: Callable[[int], None]) -> None:
        """Send one blob; `progress` is told the bytes of each part sent."""
        ...

    def get_metadata(self, role: str) -> bytes:
        """The current metadata of a role."""
        ...

    def submit_metadata(self, role: str, metadata: bytes) -> int:
        """Give it new metadata of a role; returns the snapshot's version."""
        ...


@dataclass(frozen=True, slots=True)
class PublishOrder:
    """Which bundle becomes which release, and where it may serve."""

    folder: Path
    release: ReleaseName
    slots: tuple[SlotName, ...]
    requires: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Upload:
    """One blob that the manager does not hold yet."""

    digest: Digest
    source: Path
    size: int


def check(order: PublishOrder) -> Manifest:
    """Verify the bundle and that it holds this model; raises BundleError or Refused."""
    manifest, deployment = check_layout(order.folder)
    if deployment.model != order.release.model:
        raise Refused(
            f"{order.folder} holds {deployment.model}, not {order.release.model}",
            hint="name the release after the model, or pack it again with --model",
        )
    return manifest


def plan_uploads(order: PublishOrder, manifest: Manifest, desk: ReleaseDesk) -> list[Upload]:
    """What must be sent before the release can be listed."""
    sizes = {layer.digest: layer.size for layer in (manifest.config, *manifest.layers)}
    sizes[manifest.digest] = len(manifest.content)
    return [
        Upload(digest, blob_path(order.folder, digest), sizes[digest])
        for digest in desk.missing_blobs(sorted(sizes))
    ]


def sign(order: PublishOrder, manifest: Manifest, desk: ReleaseDesk, signer: Signer) -> bytes:
    """The family's next metadata with this release; raises Refused when it is listed already."""
    current = desk.get_metadata(order.release.family)
    return with_release(current, order.release, manifest, order.slots, order.requires, signer)
