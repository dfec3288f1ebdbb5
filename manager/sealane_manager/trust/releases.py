"""Lists a release in its family's metadata, or takes it off, and signs the result.

Bytes in, bytes out, signed here or later by others: where they are submitted is the caller's. Every
version also renews the metadata's life, so the clock is read. To revoke a release is to unlist it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealane.clock import SystemClock
from sealane.names import hex_of
from sealane.trust.agreement import ANY_SLOT
from tuf.api.metadata import Metadata, TargetFile, Targets

from sealane_manager.errors import NotKnown, Refused
from sealane_manager.trust import submission
from sealane_manager.trust.edits import LIFETIME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from sealane.bundle.types import Manifest
    from sealane.clock import Clock
    from sealane.names import ReleaseName, SlotName
    from securesystemslib.signer import Signer

_CLOCK: Final = SystemClock()


def with_release(  # noqa: PLR0913, PLR0917 - the parts of one signed statement, each named at the call
    current: bytes,
    release: ReleaseName,
    manifest: Manifest,
    slots: Sequence[SlotName],
    requires: Mapping[str, Any],
    signer: Signer | None,
) -> bytes:
    """The family's next metadata, which lists the release too; no slots means any slot.

    Listing the same again changes nothing, and brings back blobs that a manager has lost. Raises
    Refused when the release is listed already: a version is never used for other bytes.
    """
    metadata = submission.parse(Targets, current)
    path = release.target_path
    listed = metadata.signed.targets.get(path)
    hashes = {"sha256": hex_of(manifest.digest)}
    if listed is not None and listed.hashes != hashes:
        raise Refused(
            f"{release} is listed already",
            hint="a release never changes: publish the new bytes under the next version",
        )
    custom = {
        "slots": [str(slot) for slot in slots] or [ANY_SLOT],
        "requires": dict(requires),
        "size": manifest.config.size + sum(layer.size for layer in manifest.layers),
    }
    if listed is not None and listed.custom != custom:
        raise Refused(
            f"{release} is listed already, for {_terms(listed.custom or {})}",
            hint="a release never changes: name the same, or publish it under the next version",
        )
    target = TargetFile(len(manifest.content), hashes, path, {"custom": custom})
    metadata.signed.targets[path] = target
    return _next(metadata, signer)


def _terms(custom: Mapping[str, Any]) -> str:
    slots, requires = custom.get("slots", []), custom.get("requires", {})
    where = "any slot" if ANY_SLOT in slots else f"slot {', '.join(map(str, slots))}"
    needs = (f"{key}={_listed(value)}" for key, value in sorted(requires.items()))
    return f"{where}, requiring {', '.join(needs)}" if requires else where


def _listed(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def without_release(current: bytes, release: ReleaseName, signer: Signer | None) -> bytes:
    """The family's next metadata, which no longer lists the release; raises NotKnown."""
    metadata = submission.parse(Targets, current)
    if metadata.signed.targets.pop(release.target_path, None) is None:
        raise NotKnown(f"{release} is not listed")
    return _next(metadata, signer)


def first_metadata(signer: Signer, clock: Clock = _CLOCK) -> bytes:
    """A family's first metadata, which lists nothing."""
    signed = Targets(version=1, expires=clock.now() + LIFETIME)
    metadata = Metadata[Targets](signed)
    metadata.sign(signer)
    return metadata.to_bytes(submission.COMPACT)


def _next(metadata: Metadata[Targets], signer: Signer | None) -> bytes:
    metadata.signed.version += 1
    metadata.signed.expires = _CLOCK.now() + LIFETIME
    metadata.signatures.clear()
    if signer is not None:
        metadata.sign(signer)
    return metadata.to_bytes(submission.COMPACT)
