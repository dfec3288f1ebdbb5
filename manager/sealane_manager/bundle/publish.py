"""Publishes a bundle as a release: blobs first, then the signed metadata that lists it.

The manager is a store here: what makes the release trusted is the signature, made on this side.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from sealane.bundle.check import check_agent_layout, check_layout
from sealane.bundle.layout import blob_path, read_layout
from sealane.bundle.manifest import AGENT_ARTIFACT
from sealane.names import AGENT_MODEL, AGENT_SLOT

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
class Published:
    """The release that is listed now, from this snapshot on."""

    manifest: Manifest
    uploaded_bytes: int
    snapshot: int


def publish(
    order: PublishOrder, desk: ReleaseDesk, signer: Signer, progress: Callable[[int, int], None]
) -> Published:
    """Verify, upload, sign, list; `progress` is told the bytes sent and the bytes in all.

    Raises BundleError for a damaged bundle and Refused for a release that is listed already or
    holds another model, before anything is sent; and whatever the desk raises.
    """
    order, manifest = _verified(order)
    _sign(order, manifest, desk, signer)
    uploaded = _upload(order, _missing(manifest, desk), desk, progress)
    # Others may have published meanwhile, so the metadata is read and signed once more.
    metadata = _sign(order, manifest, desk, signer)
    snapshot = desk.submit_metadata(order.release.family, metadata)
    return Published(manifest, uploaded, snapshot)


def _verified(order: PublishOrder) -> tuple[PublishOrder, Manifest]:
    if read_layout(order.folder).artifact == AGENT_ARTIFACT:
        manifest, contract = check_agent_layout(order.folder)
        model = AGENT_MODEL
        needs = {"arch": [contract.arch], "os": [contract.os]} | dict(order.requires)
        order = replace(order, slots=(AGENT_SLOT,), requires=needs)
    else:
        manifest, deployment = check_layout(order.folder)
        model = deployment.model
    if model != order.release.model:
        raise Refused(
            f"{order.folder} holds {model}, not {order.release.model}",
            hint="name the release after the model, or pack it again with --model",
        )
    return order, manifest


def _missing(manifest: Manifest, desk: ReleaseDesk) -> dict[Digest, int]:
    sizes = {layer.digest: layer.size for layer in (manifest.config, *manifest.layers)}
    sizes[manifest.digest] = len(manifest.content)
    missing = desk.missing_blobs(sorted(sizes))
    return {digest: sizes[digest] for digest in missing}


def _upload(
    order: PublishOrder,
    sizes: Mapping[Digest, int],
    desk: ReleaseDesk,
    progress: Callable[[int, int], None],
) -> int:
    sent, total = 0, sum(sizes.values())

    def count(part: int) -> None:
        nonlocal sent
        sent += part
        progress(sent, total)

    for digest in sizes:
        desk.upload_blob(digest, blob_path(order.folder, digest), count)
    return total


def _sign(order: PublishOrder, manifest: Manifest, desk: ReleaseDesk, signer: Signer) -> bytes:
    current = desk.get_metadata(order.release.family)
    return with_release(current, order.release, manifest, order.slots, order.requires, signer)
