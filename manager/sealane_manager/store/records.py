"""What goes into the store and comes out of it: plain frozen values, never rows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sealane.names import AGENT_SLOT, PACKAGE_MANIFEST, PACKAGE_RELEASE

from sealane_manager.people.access import SINGLE_SIGN_ON

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from sealane.fleet import DeviceFacts, SlotReport
    from sealane.holds import Hold
    from sealane.names import DeviceId, Digest, ReleaseName, SlotName
    from sealane.trust.documents import Quarantined, SlotAssignment

    from sealane_manager.people.access import Grant
    from sealane_manager.rollout.types import Rollout, RolloutSpec
    from sealane_manager.selector import Selector


class Standing(StrEnum):
    """Whether a device may speak."""

    PENDING = "pending"
    ACTIVE = "active"
    QUARANTINED = "quarantined"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A join token as the manager keeps it: never the secret, only its hash.

    Attributes:
        secret_sha256: SHA-256 of the secret, as raw bytes.
        uses: how many devices may still enrol with it.
        approval: each of them waits until an operator approves it.
    """

    id: str
    secret_sha256: bytes
    labels: Mapping[str, str]
    uses: int
    expires_at: datetime
    issued_at: datetime
    issued_by: str
    approval: bool = False


@dataclass(frozen=True, slots=True)
class Redeemed:
    """What a join token gave: labels for a new device, or the device this key already is.

    `waits`: it is not approved yet.
    """

    labels: Mapping[str, str]
    device: DeviceId | None
    waits: bool = False


@dataclass(frozen=True, slots=True)
class NewDevice:
    """A machine that becomes a device.

    Attributes:
        public_key: PEM, SubjectPublicKeyInfo.
        key_fingerprint: SHA-256 of the public key's DER, hexadecimal.
        token: id of the join token it came with.
    """

    id: DeviceId
    name: str
    labels: Mapping[str, str]
    public_key: bytes
    key_fingerprint: str
    token: str
    enrolled_at: datetime
    waits: bool = False


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """A device, as last recorded.

    Attributes:
        public_key: PEM, SubjectPublicKeyInfo.
        facts: None until its first Hello.
        last_seen: None until its first word.
        acked_sequence: events up to this one are stored.
        generation: of its desired state.
        state_reason: why it is in quarantine or was revoked.
    """

    id: DeviceId
    name: str
    labels: Mapping[str, str]
    state: Standing
    public_key: bytes
    facts: DeviceFacts | None
    slots: tuple[SlotReport, ...]
    agent_version: str
    last_seen: datetime | None
    acked_sequence: int
    generation: int
    enrolled_at: datetime
    state_reason: str


@dataclass(frozen=True, slots=True)
class ReleaseSource:
    """A release as an assignment needs it."""

    name: ReleaseName
    manifest: Digest
    length: int


PACKAGE: Final = ReleaseSource(PACKAGE_RELEASE, PACKAGE_MANIFEST, 0)


def at_first(slot: str) -> ReleaseSource | None:
    """What a slot has before anything was assigned to it: the agent came with its package."""
    return PACKAGE if slot == AGENT_SLOT else None


@dataclass(frozen=True, slots=True)
class Issue:
    """What the next director document of a device says; `version` is used up by asking."""

    version: int
    generation: int
    slots: tuple[SlotAssignment, ...]
    quarantined: tuple[Quarantined, ...] = ()
    holds: tuple[Hold, ...] = ()


@dataclass(frozen=True, slots=True)
class QuarantineRecord:
    """A release that shall serve nowhere, who said so, and why.

    `stops`: also where nothing else can serve.
    """

    release: str
    manifest: str
    at: datetime
    actor: str
    reason: str
    stops: bool = False


@dataclass(frozen=True, slots=True)
class JudgementRecord:
    """What a gate said of a stage (from 0), and the bytes from which it follows."""

    at: datetime
    stage: int
    verdict: str
    reason: str
    inputs: bytes


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """One line of the decision log: who or what did it, and why.

    Attributes:
        rollout: its id; empty when the line is about a device or a token.
        actor: an operator's name, `controller`, or `device <id>`.
        evidence: SHA-256, hexadecimal, of the signed bytes that prove it, where there are any.
    """

    at: datetime
    rollout: str
    actor: str
    action: str
    detail: str
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class ReceiptRecord:
    """A receipt whose signature was checked."""

    device: DeviceId
    rollout: str
    slot: str
    release: str
    verdict: str
    requests: int
    errors: int
    fallbacks: int
    received_at: datetime


@dataclass(frozen=True, slots=True)
class By:
    """Who changes something, why and when."""

    actor: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Draft:
    """A rollout that is to be made; `name` is what its file calls it."""

    id: str
    spec: RolloutSpec
    source: ReleaseSource
    selector: Selector
    name: str = ""


@dataclass(frozen=True, slots=True)
class Changed:
    """A rollout after a transaction, and the desired states that changed with it."""

    rollout: Rollout
    generations: Mapping[DeviceId, int]


@dataclass(frozen=True, slots=True)
class User:
    """A person or a pipeline: with a password, a certificate, or an identity provider's word."""

    name: str
    grant: Grant
    password_hash: str
    created_at: datetime

    @property
    def local(self) -> bool:
        """Whether the manager itself knows him; an identity provider vouches for the others."""
        return not self.name.startswith(SINGLE_SIGN_ON)


@dataclass(frozen=True, slots=True)
class OperatorCertificate:
    """What lets a user call the operators' port.

    Attributes:
        key: fingerprint of the certified public key.
    """

    key: str
    user: str
    issued_at: datetime
    issued_by: str
    expires_at: datetime
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A session on the dashboard, with its user's role of now."""

    user: str
    grant: Grant
    opened_at: datetime
    used_at: datetime


@dataclass(frozen=True, slots=True)
class ApiToken:
    """What a program shows to read the API; never the secret."""

    id: str
    purpose: str
    grant: Grant
    created_at: datetime
    created_by: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class SampleOrder:
    """Samples of one slot of one device are wanted until a moment."""

    device: DeviceId
    slot: SlotName
    until: datetime
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class SampleRecord:
    """A sealed sample; `id` is the SHA-256 of its bytes."""

    id: str
    device: DeviceId
    slot: SlotName
    release: str
    trigger: str
    taken_at: datetime
    received_at: datetime
    keep_until: datetime
    bytes: int


@dataclass(frozen=True, slots=True)
class SampleWish:
    """Which samples an operator wants; no time ends it."""

    selector: str
    slot: str
    lasts: timedelta


@dataclass(frozen=True, slots=True)
class SamplesOrdered:
    """Whom an order of samples concerns, and whether none of them has that slot, so far."""

    devices: tuple[DeviceId, ...]
    slot_unknown: bool


@dataclass(frozen=True, slots=True)
class Leaf:
    """One entry of the audit log as it was hashed, and where it stands."""

    index: int
    content: bytes


@dataclass(frozen=True, slots=True)
class ReceiptProof:
    """A receipt as the device signed it, and its key, if known (DER, SubjectPublicKeyInfo)."""

    device: str
    sequence: int
    payload: bytes
    signature: bytes
    public_key: bytes
