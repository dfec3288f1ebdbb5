"""What stands around a device and outlives its crashes: authorities, manager, link and endpoint.

Everything here is simulated but the signatures. A plant can be copied, so that every case of an
enumeration begins with the same one.
"""

from __future__ import annotations

import asyncio
import atexit
import copy
import hashlib
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from sealane.bundle.types import ProbationLimits
from sealane.fleet import (
    Assignment,
    AssignmentRequest,
    DesiredChanged,
    Events,
    EventsAck,
    Hello,
    Welcome,
)
from sealane.names import DeviceId, Digest, ReleaseName, SlotName
from sealane.policy import ANY_TIME, Policy
from sealane.telemetry.types import TelemetryBatch
from sealane.trust.documents import Lease, SlotAssignment
from sealane.trust.identity import BACKDATED, load_certificate, public_key_of
from sealane.trust.token import JoinToken
from sealane_agent.errors import Refused, Unreachable
from sealane_agent.identity.membership import Admission
from sealane_agent.uplink.fetch import SourceTrouble
from sealane_agent.uplink.rpc import SessionEnded
from sealane_manager.identity.ca import Issuer
from sealane_manager.identity.enrolment import key_named, proven_key
from sealane_manager.identity.succession import Keys, Shown
from support.agent_fakes import CAM, FakeBlobs
from support.bundles import TINY_MODEL, manifest_of, tiny_deployment, tiny_files
from support.crash_endpoint import ENOUGH, Endpoint
from support.crash_manager import Manager
from support.trust import DEVICE, ManualClock, Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane.bundle.types import Manifest
    from sealane.fleet import DeviceMessage, ManagerMessage
    from sealane.telemetry.types import Window
    from sealane_agent.identity.membership import Application, Membership
    from sealane_agent.slot.state import RollBack
    from sealane_agent.uplink.fetch import Base
    from support.crash_disk import FaultyDisk
    from support.crash_kit import Stick
    from support.crash_press import Press

FLEET = "plant"

TWO_WAYS: Final = 9
"""The version whose bundle has two variants: both are measured, and the winner is remembered."""


@cache
def bundle(version: int) -> tuple[Manifest, dict[Digest, bytes]]:
    """A release's manifest and its blobs."""
    deployment = tiny_deployment(ProbationLimits(seconds=0, min_requests=ENOUGH))
    if version == TWO_WAYS:
        (only,) = deployment.variants
        deployment = replace(deployment, variants=(only, replace(only, name="onnx-fp32-again")))
    manifest, files = manifest_of(tiny_files(version, deployment))
    return manifest, {item.digest: files[item.path] for item in manifest.layers}


@cache
def ca_folder() -> Path:
    """The fleet's certificate authority; it lives as long as the tests."""
    kept = TemporaryDirectory()
    atexit.register(kept.cleanup)
    Issuer.create(Path(kept.name) / "ca", FLEET)
    return Path(kept.name) / "ca"


@dataclass
class Authority:
    """The release authority and the director: two keys' worth of signatures."""

    simulator: Simulator = field(default_factory=lambda: Simulator(families=("demo",)))

    def copy(self) -> Authority:
        """The same keys, at the state of now."""
        twin = copy.copy(self.simulator)
        twin.files, twin.keys = dict(twin.files), dict(twin.keys)
        twin.root, twin.snapshot = copy.deepcopy(twin.root), copy.deepcopy(twin.snapshot)
        twin.timestamp = copy.deepcopy(twin.timestamp)
        twin.families = copy.deepcopy(twin.families)
        twin.asked = []
        return Authority(twin)

    def approve(self, version: int) -> None:
        """List a release."""
        name, (manifest, _) = ReleaseName(TINY_MODEL, version), bundle(version)
        fields = {"slots": ["cam", "gate"], "requires": {}, "size": 1}
        self.simulator.list_target(name.family, name.target_path, manifest.content, fields)

    def direct(self, manager: Manager, nonce: str | None, clock: ManualClock) -> bytes:
        """The director's document of now; one that is carried answers no nonce."""
        wishes = manager.wishes
        return self.simulator.direct(
            [wish.assignment(Lease("lease", clock.now() + wish.lease)) for wish in wishes],
            nonce,
            quarantined=manager.quarantined,
            holds=manager.holds,
            version=int(clock.now().timestamp()),
            issued=clock.now(),
            expires=clock.now() + timedelta(days=1),
        )


@dataclass(frozen=True)
class Wish:
    """A release that the manager wants in a slot."""

    version: int
    rollout: str
    slot: SlotName = CAM
    policy: Policy = ANY_TIME
    lease: timedelta = timedelta(hours=1)

    def assignment(self, lease: Lease) -> SlotAssignment:
        """The same, as the director says it."""
        manifest, name = bundle(self.version)[0], ReleaseName(TINY_MODEL, self.version)
        length = len(manifest.content)
        asked = SlotAssignment(self.slot, name, manifest.digest, length, self.rollout, lease)
        return replace(asked, policy=self.policy)


@dataclass
class Blobs(FakeBlobs):
    """A source of blobs; of those in `stuck` only the first bytes come, however often."""

    stuck: set[Digest] = field(default_factory=set)

    def copy(self) -> Blobs:
        """The same source, once more."""
        return replace(self, contents=dict(self.contents), breaks=list(self.breaks), asked=[])

    def fetch(self, digest: Digest, offset: int) -> Iterator[bytes]:
        if digest not in self.stuck:
            yield from super().fetch(digest, offset)
            return
        if offset == 0:
            yield self.contents[digest][: self.chunk]
        raise SourceTrouble("the link broke")


@dataclass(frozen=True)
class Network:
    """What brings blobs while the manager can be reached."""

    plant: Plant

    def fetch(self, digest: Digest, offset: int) -> Iterator[bytes]:
        self._require_link()
        yield from self.plant.blobs.fetch(digest, offset)

    def patched(self, digest: Digest, base: Base) -> Iterator[bytes]:
        self._require_link()
        yield from self.plant.blobs.patched(digest, base)

    def _require_link(self) -> None:
        if self.plant.away:
            raise SourceTrouble("the manager does not answer")


@dataclass
class Plant:
    """One device's surroundings.

    Attributes:
        boots: how often the device was switched on.
        order: of somebody at the device, who repeats it until it is done.
        requests: counted by the endpoint in windows that it has closed; 0 leaves telemetry off.
        press: the line's own software; None while it holds nothing.
        stick: a kit that somebody carries here; None when the manager has heard of it.
        older: a kit that comes once the device has taken up that one; None when it is refused.
    """

    authority: Authority = field(default_factory=Authority)
    clock: ManualClock = field(default_factory=ManualClock)
    manager: Manager = field(default_factory=Manager)
    endpoint: Endpoint = field(default_factory=Endpoint)
    blobs: Blobs = field(default_factory=lambda: Blobs({}, chunk=64))
    lines: list[Line] = field(default_factory=list)
    boots: int = 1
    requests: int = 0
    order: RollBack | None = None
    press: Press | None = None
    stick: Stick | None = None
    older: Stick | None = None

    def copy(self) -> Plant:
        """The same at this moment."""
        clock = ManualClock(self.clock.wall)
        clock.ticks = self.clock.ticks
        endpoint, blobs = self.endpoint.copy(), self.blobs.copy()
        manager, press = self.manager.copy(), replace(self.press) if self.press else None
        return replace(
            self,
            clock=clock,
            manager=manager,
            endpoint=endpoint,
            blobs=blobs,
            lines=[],
            press=press,
        )

    def count(self, window: Window) -> None:
        """The endpoint closes a window of telemetry."""
        self.requests += sum(model.requests for model in window.models)
        self.endpoint.windows.append((f"window-{self.requests}", window))

    @property
    def token(self) -> JoinToken:
        """What a machine is enrolled with."""
        root = hashlib.sha256(self.authority.simulator.first_root).digest()
        return JoinToken("127.0.0.1:1", Issuer(ca_folder()).certificate, root, "1.t", "secret")

    def enrol(self, _address: str, _ca: bytes, application: Application) -> Admission:
        """The enrol service: a token is good for one key."""
        manager, key = self.manager, key_named(proven_key(application.csr))
        if manager.keys is not None and manager.keys.current != key:
            raise Refused("the token is used")
        manager.keys = Keys(key, None, self.clock.now(), self.clock.now(), shown=False)
        certificate = self._certified(application.csr)
        root = self.authority.simulator.first_root
        return Admission(DEVICE, FLEET, certificate, "127.0.0.1:2", root)

    def renew(self, known: Membership, csr: bytes) -> bytes:
        """The renewal of a certificate."""
        if self.away:
            raise Unreachable("the manager does not answer")
        self.manager.renew(shown_by(known), key_named(proven_key(csr)), self.clock.now())
        return self._certified(csr)

    def _certified(self, csr: bytes) -> bytes:
        return Issuer(ca_folder(), self.clock).sign_device(csr, FLEET, DeviceId(DEVICE))

    def publish(self, version: int) -> None:
        """Make a release that any slot may be given."""
        self.authority.approve(version)
        self.blobs.contents |= bundle(version)[1]

    def want(self, *wishes: Wish) -> None:
        """What the manager wants from now on; every open session is told."""
        self.manager.wishes = wishes
        for line in self.lines:
            line.tell(DesiredChanged(1))

    def adopt(self, hello: Hello) -> None:
        """A device that took up a kit runs what the kit brought."""
        if self.stick is not None and hello.memory.director_version == self.stick.version:
            self.manager.wishes, self.stick = self.stick.wishes, None

    def fetch(self, name: str, limit: int) -> Iterator[bytes]:
        """The repository's files, as a metadata source."""
        return self.authority.simulator.fetch(name, limit)

    @property
    def away(self) -> bool:
        """Whether the manager is out of reach."""
        return self.clock.ticks < self.manager.away_until


def shown_by(membership: Membership) -> Shown:
    """The key that a device shows with its certificate."""
    certificate = load_certificate(membership.certificate)
    key = key_named(public_key_of(certificate))
    return Shown(key, certificate.not_valid_before_utc + BACKDATED)


class Line:
    """One session with the manager, from the device's side."""

    def __init__(self, plant: Plant, disk: FaultyDisk, membership: Membership) -> None:
        self._plant, self._disk, self._membership = plant, disk, membership
        self._answers: asyncio.Queue[ManagerMessage] = asyncio.Queue()
        plant.lines.append(self)

    def tell(self, message: ManagerMessage) -> None:
        """Let the manager say something."""
        self._answers.put_nowait(message)

    async def say(self, message: DeviceMessage) -> None:
        self._disk.tell()
        plant = self._plant
        if plant.away:
            raise SessionEnded("the manager does not answer")
        match message:
            case Hello():
                plant.manager.meet(shown_by(self._membership))
                plant.adopt(message)
                known = max(plant.manager.stored, default=0)
                self.tell(Welcome(DeviceId(DEVICE), 30.0, 10.0, known))
            case AssignmentRequest(nonce):
                document = plant.authority.direct(plant.manager, nonce, plant.clock)
                self.tell(Assignment(document))
            case Events(events):
                for event in events:
                    plant.manager.store(plant, event)
                self.tell(EventsAck(events[-1].sequence))
            case TelemetryBatch():
                self.tell(plant.manager.take(message))

    async def hear(self) -> ManagerMessage:
        return await self._answers.get()

    async def close(self) -> None:
        if self in self._plant.lines:
            self._plant.lines.remove(self)
