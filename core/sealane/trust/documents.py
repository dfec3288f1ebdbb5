"""The director document: what one device shall run, signed by the manager's director key.

Its syntax is that of TUF targets metadata (specification 1.0.31, §4.5), so that the same code
verifies it; what a device shall do stands in `x-assignment`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sealane.policy import ANY_TIME, Policy

if TYPE_CHECKING:
    from datetime import datetime

    from sealane.holds import Hold
    from sealane.names import DeviceId, Digest, ReleaseName, SlotName


@dataclass(frozen=True, slots=True)
class Lease:
    """Permission to activate, until it expires."""

    id: str
    expires: datetime


@dataclass(frozen=True, slots=True)
class SamplingOrder:
    """Samples are wanted, as far as the release's own terms allow.

    Attributes:
        key: X25519 public key of the manager, 32 bytes: samples are sealed for it.
        until: after this nothing is kept any more.
        drift: the inputs of the slot's release drift on this device.
    """

    key: bytes
    until: datetime
    drift: bool = False


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A release that shall serve nowhere.

    Attributes:
        manifest: its digest.
        reason: of whoever put it there; at most QUARANTINE_REASON_CHARS.
        stops: a slot in which nothing else can serve is emptied; else it serves on there.
    """

    manifest: Digest
    reason: str
    stops: bool = False


@dataclass(frozen=True, slots=True)
class SlotAssignment:
    """What the director wants in one slot.

    Attributes:
        slot: the place.
        release: what shall serve there.
        manifest: digest of the release's manifest, as the director knows it.
        length: size of the manifest in bytes.
        rollout: id of the rollout that brings it; empty outside one.
        lease: None while the device may fetch and stage, but not activate.
        policy: when it may fetch and activate, and what makes it the last known good one.
        sampling: None while no samples are wanted.
        attempt: how often the rollout has tried it here before: a higher number asks again.
    """

    slot: SlotName
    release: ReleaseName
    manifest: Digest
    length: int
    rollout: str = ""
    lease: Lease | None = None
    policy: Policy = ANY_TIME
    sampling: SamplingOrder | None = None
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class DirectorDocument:
    """Everything a director document says.

    Attributes:
        version: max(last + 1, unix seconds): grows over a restore from backup.
        nonce: the one the device sent; None in a document carried by hand.
        issued: the time that the device may trust when the nonce is its own.
        root_version, snapshot_version: the repository must be at least that new.
        generation: of the desired state this document was made from.
        log: the audit log's checkpoint, as `sealane.audit.checkpoint` signs it; may be empty.
        quarantined: every release in quarantine that concerns the device; None says nothing of
            it, as managers of earlier versions do.
        holds: those that the manager orders; None says nothing of them.
    """

    device: DeviceId
    version: int
    issued: datetime
    expires: datetime
    nonce: str | None
    root_version: int
    snapshot_version: int
    generation: int
    slots: tuple[SlotAssignment, ...]
    log: str = ""
    quarantined: tuple[Quarantined, ...] | None = None
    holds: tuple[Hold, ...] | None = None


@dataclass(frozen=True, slots=True)
class ApprovedRelease:
    """One slot after the whole verification: these bytes may be fetched for it.

    Attributes:
        assignment: what the director wanted.
        manifest: the OCI manifest's bytes, whose digest and length both authorities agree on.
    """

    assignment: SlotAssignment
    manifest: bytes
