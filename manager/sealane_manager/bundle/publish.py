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
from tuf.api.metadata import Targets

from sealane_manager.errors import Refused
from sealane_manager.trust.changes import Offer, encode, judge_known, parse
from sealane_manager.trust.releases import with_release, without_release

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from sealane.bundle.types import Manifest
    from sealane.names import Digest, ReleaseName, SlotName
    from securesystemslib.signer import Signer

    from sealane_manager.trust.changes import Change, Outcome


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

    def changes(self) -> tuple[Change, ...]:
        """Every change that waits for signatures."""
        ...

    def submit(self, offer: Offer) -> Outcome:
        """Give it new metadata of a role, or signatures for what waits."""
        ...


@dataclass(frozen=True, slots=True)
class PublishOrder:
    """Which bundle becomes which release, and where it may serve."""

    folder: Path
    release: ReleaseName
    slots: tuple[SlotName, ...]
    requires: Mapping[str, Any]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Published:
    """The release that was sent.

    Attributes:
        snapshot: from this one on it is listed; 0 while signatures are missing.
    """

    manifest: Manifest
    uploaded_bytes: int
    snapshot: int


def publish(
    order: PublishOrder, desk: ReleaseDesk, signer: Signer, progress: Callable[[int, int], None]
) -> Published:
    """Verify, upload, sign, list; `progress` is told the bytes sent and the bytes in all.

    Where more must sign, the release waits for them, signed once. Raises BundleError for a damaged
    bundle and Refused for a release that is listed already or holds another model, before anything
    is sent; and whatever the desk raises.
    """
    order, manifest = _verified(order)
    _sign(order, manifest, _current(order.release.family, desk), signer)
    uploaded = _upload(order, _missing(manifest, desk), desk, progress)
    # Others may have published meanwhile, so the metadata is read and signed once more.
    metadata = _sign(order, manifest, _current(order.release.family, desk), signer)
    outcome = desk.submit(Offer(order.release.family, metadata, _reason(order)))
    return Published(manifest, uploaded, outcome.snapshot)


def propose(
    order: PublishOrder, desk: ReleaseDesk, progress: Callable[[int, int], None]
) -> Published:
    """Verify, upload, and propose the release beside what is proposed already; nobody signs yet.

    Raises what `publish` raises.
    """
    order, manifest = _verified(order)
    _sign(order, manifest, _base(order.release, desk)[0], None)
    uploaded = _upload(order, _missing(manifest, desk), desk, progress)
    content, replaces = _base(order.release, desk)
    metadata = _sign(order, manifest, content, None)
    desk.submit(Offer(order.release.family, metadata, _reason(order), replaces))
    return Published(manifest, uploaded, 0)


def _base(release: ReleaseName, desk: ReleaseDesk) -> tuple[bytes, str]:
    """What a proposal goes on from, and the fingerprint of the proposal that it takes in."""
    current = _current(release.family, desk)
    version = parse(release.family, current).signed.version
    for change in desk.changes():
        document = change.document
        if change.role == release.family and document.signed.version > version:
            document.signed.version = version  # the next of it follows the current one, too
            return encode(document), change.fingerprint
    return current, ""


def revoke(release: ReleaseName, desk: ReleaseDesk, reason: str, signer: Signer | None) -> Outcome:
    """Take a release off the list, or propose it where nobody signs; raises NotKnown, Refused."""
    if signer is None:
        base, replaces = _base(release, desk)
    else:
        base, replaces = _current(release.family, desk), ""
    metadata = without_release(base, release, signer)
    return desk.submit(Offer(release.family, metadata, reason, replaces))


def _current(family: str, desk: ReleaseDesk) -> bytes:
    """What a family says now; raises NotKnown, and Refused when it has ended."""
    content = desk.get_metadata(family)
    judge_known(parse(Targets.type, desk.get_metadata(Targets.type)).signed, family)
    return content


def _reason(order: PublishOrder) -> str:
    return order.reason or f"release {order.release}"


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


def _sign(order: PublishOrder, manifest: Manifest, current: bytes, signer: Signer | None) -> bytes:
    return with_release(current, order.release, manifest, order.slots, order.requires, signer)
