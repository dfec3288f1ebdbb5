"""Simulators of what stands around an agent's supervisor, and short makers of its values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from sealane.failure import Failure, FailureKind
from sealane.names import Digest, ReleaseName, SlotName
from sealane.trust.documents import Lease, SlotAssignment
from sealane_agent.layout import Pointer
from sealane_agent.serving.messages import (
    MEMORY,
    Bar,
    GivesWay,
    Load,
    Proved,
    Shadowed,
    SlotStatus,
    Traffic,
)
from sealane_agent.serving.types import LoadFailed
from sealane_agent.uplink.fetch import SourceTrouble

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane_agent.uplink.fetch import Base

CAM = SlotName("cam")
START = datetime(2026, 1, 1, tzinfo=UTC)


def release(version: int) -> ReleaseName:
    return ReleaseName("vision/defect", version)


def digest(version: int) -> Digest:
    return Digest(f"sha256:{sha256(str(version).encode()).hexdigest()}")


def pointer(version: int, variant: str = "onnx-fp32") -> Pointer:
    return Pointer(release(version), digest(version), variant)


def assignment(
    version: int, rollout: str = "r1", lease_until: datetime | None = None
) -> SlotAssignment:
    lease = Lease("lease", lease_until) if lease_until else None
    return SlotAssignment(CAM, release(version), digest(version), 100, rollout, lease)


def proved(worker: str = "cam-1", latency_us: int = 100, memory_bytes: int = 1000) -> Proved:
    return Proved(worker, "1.32.0", 0.0, latency_us, memory_bytes, 20)


def failure(kind: FailureKind, component: str = "runtime", message: str = "no") -> Failure:
    return Failure(kind, "staged", component, "it", message)


class Died(Exception):  # noqa: N818 - the supervisor is killed at this point
    """Ends a supervisor from inside, as a crash would."""


@dataclass
class FakeEndpoint:
    """Serves slots without processes; `bad` maps a variant or a manifest to why it never proves.

    `measured`: by variant: what it measures beside its latency, by the names of `Proved`.
    `crowded`: slots in which there is memory for one model only.
    `dies_after` names a command after which the supervisor dies, once.
    """

    bad: dict[str, Failure] = field(default_factory=dict)
    latency_us: dict[str, int] = field(default_factory=dict)
    gone: bool = False
    loaded: dict[str, Pointer] = field(default_factory=dict)
    statuses: dict[str, SlotStatus] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)
    workers: int = 0
    measured: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[tuple[str, GivesWay]] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    crowded: set[str] = field(default_factory=set)
    interrupted: set[str] = field(default_factory=set)
    dies_after: str = ""

    async def status(self) -> tuple[SlotStatus, ...]:
        self._answer()
        return tuple(self.statuses.values())

    async def load(self, load: Load) -> Proved:
        self._answer()
        slot, pointer, gives_way = load.slot, load.pointer, load.gives_way
        self.asked.append((pointer.variant, gives_way))
        self.bars.append(load.bar)
        if slot in self.crowded and self._slot(slot).active is not None:
            if gives_way is not GivesWay.SERVING:
                no_room = failure(FailureKind.ENVIRONMENTAL, MEMORY, "it needs 9 MiB of memory")
                raise LoadFailed(replace(no_room, element=pointer.variant))
            self.interrupted.add(slot)
        assert load.deadline_s > 0
        why = self.bad.get(pointer.variant) or self.bad.get(pointer.manifest)
        if why is not None:
            raise LoadFailed(why)
        self.workers += 1
        worker = f"{slot}-{self.workers}"
        self.loaded[worker] = pointer
        status = self._slot(slot)
        self.statuses[slot] = replace(status, standby=(*status.standby, worker))
        self._die("load")
        found = proved(worker, self.latency_us.get(pointer.variant, 100))
        return replace(found, **self.measured.get(pointer.variant, {}))

    async def restore(self, slot: str, pointer: Pointer, deadline_s: float) -> Proved:
        return await self.load(Load(slot, pointer, deadline_s, gives_way=GivesWay.SERVING))

    async def activate(
        self, slot: str, worker: str, *, probation: bool, share: float = 1.0
    ) -> SlotStatus:
        self._answer()
        status = self._slot(slot)
        assert worker in status.standby
        self.shares[slot] = share
        self.statuses[slot] = replace(
            status,
            active=self.loaded[worker],
            active_worker=worker,
            previous=status.previous if status.probation else status.active,
            previous_worker=(status.previous_worker if status.probation else status.active_worker),
            probation=probation,
            standby=tuple(name for name in status.standby if name != worker),
            traffic=Traffic(),
            shadow=None,
        )
        if slot in self.interrupted:
            self.interrupted.discard(slot)
            alone = replace(self.statuses[slot], previous=None, previous_worker="", gap_ms=700)
            self.statuses[slot] = alone
        self._die("activate")
        return self.statuses[slot]

    async def mirror(self, slot: str, worker: str) -> SlotStatus:
        self._answer()
        assert worker in self._slot(slot).standby
        self.statuses[slot] = replace(self._slot(slot), shadow=Shadowed(worker, 10, compared=10))
        return self.statuses[slot]

    async def settle(self, slot: str) -> SlotStatus:
        self._answer()
        self.statuses[slot] = replace(self._slot(slot), probation=False)
        return self.statuses[slot]

    async def return_(self, slot: str) -> SlotStatus:
        self._answer()
        status = self._slot(slot)
        assert status.previous is not None
        self.statuses[slot] = replace(
            status,
            active=status.previous,
            active_worker=status.previous_worker or "",
            previous=None,
            previous_worker="",
            probation=False,
            traffic=Traffic(),
        )
        self._die("return")
        return self.statuses[slot]

    async def drop(self, slot: str, worker: str) -> None:
        self._answer()
        status = self._slot(slot)
        standby = tuple(name for name in status.standby if name != worker)
        status = replace(status, standby=standby)
        if worker == status.previous_worker:
            status = replace(status, previous=None, previous_worker="")
        if worker == status.active_worker:
            status = replace(status, active=None, active_worker="")
        self.statuses[slot] = status

    def begin(self, slot: str, pointer: Pointer | None) -> None:
        """Start again, as after a crash: only what the slot's pointer says serves."""
        self.workers += 1
        worker = f"{slot}-{self.workers}" if pointer else ""
        self.statuses[slot] = replace(empty(slot), active=pointer, active_worker=worker)

    def count(self, slot: str, traffic: Traffic) -> None:
        """Let the active worker have counted this."""
        self.statuses[slot] = replace(self._slot(slot), traffic=traffic)

    def _slot(self, slot: str) -> SlotStatus:
        return self.statuses.get(slot, empty(slot))

    def _die(self, command: str) -> None:
        if self.dies_after == command:
            self.dies_after = ""
            raise Died

    def _answer(self) -> None:
        if self.gone:
            raise ConnectionError("no endpoint listens")


def empty(slot: str) -> SlotStatus:
    nothing = SlotStatus(slot, None, "", None, probation=False, standby=(), traffic=Traffic())
    return replace(nothing, previous_worker="")


@dataclass
class FakeBlobs:
    """A blob source; `breaks` says after how many bytes each delivery breaks, in order."""

    contents: dict[Digest, bytes]
    breaks: list[int | None] = field(default_factory=list)
    asked: list[tuple[Digest, int]] = field(default_factory=list)
    chunk: int = 4
    garbage: list[bytes] = field(default_factory=list)
    asked_patches: list[tuple[Digest, Digest]] = field(default_factory=list)

    def fetch(self, digest: Digest, offset: int) -> Iterator[bytes]:
        self.asked.append((digest, offset))
        after = self.breaks.pop(0) if self.breaks else None
        content = self.contents[digest][offset:]
        for start in range(0, len(content), self.chunk):
            if after is not None and start >= after:
                raise SourceTrouble("the link broke")
            yield content[start : start + self.chunk]

    def patched(self, digest: Digest, base: Base) -> Iterator[bytes]:
        """The patches there are: `garbage` in place of the blob, or the blob itself."""
        self.asked_patches.append((digest, base.digest))
        yield from self.garbage or ()
        if not self.garbage:
            yield from self.fetch(digest, 0)


@dataclass
class Lines:
    """A log that tests read; after a line with the state `dies_at` the supervisor dies, once."""

    events: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    dies_at: str = ""

    def __call__(self, event: str, **fields: object) -> None:
        self.events.append((event, fields))
        if self.dies_at and fields.get("state") == self.dies_at:
            self.dies_at = ""
            raise Died
