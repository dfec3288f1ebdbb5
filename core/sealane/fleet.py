"""What device and manager tell each other in a session, as plain values.

`sealane.codec` converts them to and from the wire. Telemetry travels in the same session:
`sealane.telemetry.types` says what is in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sealane.audit.position import NOWHERE, Position
from sealane.telemetry.types import TelemetryAck, TelemetryBatch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sealane.failure import Failure
    from sealane.names import DeviceId, SlotName
    from sealane.receipt import SignedReceipt


@dataclass(frozen=True, slots=True)
class RuntimeFact:
    """A runtime installed on a device and the accelerators it found there.

    Attributes:
        opset, ir_version: the highest of ONNX that its engine takes; 0 when nobody knows.
        lost: accelerators that it found there once and finds no longer, each with the reason.
    """

    name: str
    version: str
    accelerators: tuple[str, ...]
    opset: int = 0
    ir_version: int = 0
    lost: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What a device is; `requires` of a release is judged against it.

    Attributes:
        instructions: sets of its processors, of those in `sealane.bundle.fit.INSTRUCTIONS`; empty
            when nobody knows.
    """

    arch: str
    os: str
    cpus: int
    memory_bytes: int
    runtimes: tuple[RuntimeFact, ...]
    endpoint: str
    instructions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SlotReport:
    """What one slot does now.

    `state` is a word of the agent's state machine (`sealane_agent.slot.state`). Releases are
    written `vision/defect@7`; empty means none. `attempt` is the number of the attempt within its
    rollout, from 0. `degraded` says why it serves on the CPU what should be on an accelerator;
    `chosen`, which variant serves and why it was chosen.
    """

    slot: SlotName
    state: str
    active_release: str = ""
    lkg_release: str = ""
    attempt_release: str = ""
    rollout: str = ""
    failure: Failure | None = None
    attempt: int = 0
    degraded: str = ""
    chosen: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of the outbox: a slot changed its state, or a receipt was signed."""

    sequence: int
    occurred_at: datetime
    body: SlotReport | SignedReceipt


@dataclass(frozen=True, slots=True)
class Memory:
    """What a device has seen, by which an older manager notices that it is older.

    Attributes:
        director_version: of the newest director document that was accepted; 0 before the first.
        metadata: version of each offline role of the trust repository that the device holds.
    """

    director_version: int = 0
    metadata: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hello:
    """The first word of a device.

    `heartbeat_s` is how seldom it wants to speak; 0 leaves that to the manager.
    """

    agent_version: str
    boot_id: str
    facts: DeviceFacts
    slots: tuple[SlotReport, ...]
    memory: Memory = field(default_factory=Memory)
    heartbeat_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Still here, and this is what the slots do."""

    slots: tuple[SlotReport, ...]


@dataclass(frozen=True, slots=True)
class AssignmentRequest:
    """Asks for the director document that carries this nonce.

    `seen` is how much of the audit log the device has seen; `hardware`, the class that it belongs
    to, whose winners it wants to be told. Empty: none.
    """

    nonce: str
    seen: Position = NOWHERE
    hardware: str = ""


@dataclass(frozen=True, slots=True)
class Events:
    """Some events from the outbox, in order."""

    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Welcome:
    """The manager's answer to Hello."""

    device: DeviceId
    heartbeat_interval_s: float
    reconnect_window_s: float
    acked_sequence: int


@dataclass(frozen=True, slots=True)
class DesiredChanged:
    """The director has something new."""

    generation: int


@dataclass(frozen=True, slots=True)
class Winner:
    """The variant of a bundle that was the fastest on a device of one class of hardware.

    Nobody signs it: it says which variant is measured first, never what may serve.

    Attributes:
        hardware: the class, as `sealane_agent.slot.qualification.key_of` names it.
        manifest: digest of the bundle's manifest.
        latency_us: median of one inference there, in microseconds.
    """

    hardware: str
    manifest: str
    variant: str
    latency_us: int


@dataclass(frozen=True, slots=True)
class Assignment:
    """A signed director document, as bytes; `sealane.trust.verifier` reads it.

    `proof`: that the audit log continues what the device has seen. `winners`: what others of its
    class measured of the document's bundles; not signed.
    """

    document: bytes
    proof: tuple[bytes, ...] = ()
    winners: tuple[Winner, ...] = ()


@dataclass(frozen=True, slots=True)
class EventsAck:
    """Events up to this sequence are stored."""

    sequence: int


@dataclass(frozen=True, slots=True)
class MetadataWanted:
    """The manager lost metadata that the device holds; `above`: role to the version it has."""

    above: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class MetadataFile:
    """One file that a device holds: metadata by its role, or a manifest by its target path."""

    name: str
    content: bytes


DeviceMessage = MetadataFile | Hello | Heartbeat | AssignmentRequest | Events | TelemetryBatch
ManagerMessage = MetadataWanted | Welcome | DesiredChanged | Assignment | EventsAck | TelemetryAck
