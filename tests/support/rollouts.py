"""Rollouts to try decisions on, and a small fleet whose devices behave, fail, or go away."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sealane import receipt as receipts
from sealane.failure import Failure, FailureKind
from sealane.fleet import DeviceFacts, Hello, RuntimeFact, SlotReport
from sealane.names import DeviceId, Digest, ReleaseName, SlotName
from sealane.receipt import Receipt
from sealane_manager.rollout.observe import proven, reported, target
from sealane_manager.rollout.placement import parse_stage, places, stage_text
from sealane_manager.rollout.types import (
    DeviceState,
    Grant,
    Phase,
    Promote,
    Rollout,
    RolloutDevice,
    RolloutSpec,
    RolloutState,
    Step,
    TakeBack,
)
from sealane_manager.views import DecisionView, RolloutDeviceView, RolloutView

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sealane_manager.store.records import DecisionRecord

START = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
SLOT = SlotName("cam")
OLD = ReleaseName("vision/defect", 1)
NEW = ReleaseName("vision/defect", 2)
MANIFEST = Digest("sha256:" + "2" * 64)
OLD_MANIFEST = Digest("sha256:" + "1" * 64)
SOAK = timedelta(minutes=10)


class FakeClock:
    """A clock that moves only when told."""

    def __init__(self, moment: datetime = START) -> None:
        self._now = moment
        self._monotonic = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, step: timedelta) -> datetime:
        self._now += step
        self._monotonic += step.total_seconds()
        return self._now

    def jump(self, step: timedelta) -> datetime:
        """The wall clock alone is set."""
        self._now += step
        return self._now


def a_spec(*stages: str, **changes: Any) -> RolloutSpec:
    """A rollout of NEW in SLOT to everybody."""
    spec = RolloutSpec(
        release=NEW,
        slot=SLOT,
        selector="",
        stages=tuple(parse_stage(text) for text in stages or ("100%",)),
        soak=SOAK,
    )
    return replace(spec, **changes)


def a_device(name: str, state: DeviceState = DeviceState.WAITING, **changes: Any) -> RolloutDevice:
    """A reachable device that served OLD before."""
    device = RolloutDevice(
        device=DeviceId(name),
        stage=0,
        state=state,
        previous=OLD,
        reachable=True,
        requests=0,
        detail="",
        changed_at=START,
        heard_at=START,
    )
    return replace(device, **changes)


def devices(*states: DeviceState) -> tuple[RolloutDevice, ...]:
    """Devices d1, d2, … in these states."""
    return tuple(a_device(f"d{number}", state) for number, state in enumerate(states, start=1))


def a_rollout(spec: RolloutSpec, members: Sequence[RolloutDevice], **changes: Any) -> Rollout:
    """A rollout that runs its first stage."""
    counts = places(spec.stages, len(members))
    rollout = Rollout(
        id="r-1",
        spec=spec,
        state=RolloutState.RUNNING,
        stage=0,
        phase=Phase.DISPATCH,
        phase_since=START,
        reason="",
        devices=tuple(
            replace(each, stage=next(n for n, count in enumerate(counts) if position < count))
            for position, each in enumerate(members)
        ),
        created_at=START,
    )
    return replace(rollout, **changes)


def all_reachable(rollout: Rollout) -> Rollout:
    """With a session of every device."""
    devices = tuple(replace(each, reachable=True) for each in rollout.devices)
    return replace(rollout, devices=devices)


def a_report(state: str, **changes: Any) -> SlotReport:
    """A slot that works on NEW for rollout r-1."""
    report = SlotReport(
        slot=SLOT,
        state=state,
        active_release=str(OLD),
        lkg_release=str(OLD),
        attempt_release=str(NEW),
        rollout="r-1",
    )
    return replace(report, **changes)


def a_failure(message: str, kind: FailureKind = FailureKind.PERMANENT) -> Failure:
    return Failure(kind, "staged", "runtime", "model.onnx", message)


def a_receipt(device: str, **changes: Any) -> Receipt:
    """A serving receipt for NEW in rollout r-1."""
    receipt = Receipt(
        device=device,
        slot=SLOT,
        release=str(NEW),
        manifest=MANIFEST,
        rollout="r-1",
        verdict=receipts.SERVING,
        variant="cpu",
        runtime="onnxruntime",
        runtime_version="1.32",
        accelerator="cpu",
        precision="fp32",
        golden_max_error=0.0,
        requests=20,
        errors=0,
        fallbacks=0,
        latency_p50_us=100,
        latency_p99_us=200,
        sequence=1,
        boot="b1",
        issued_at=START.isoformat(),
    )
    return replace(receipt, **changes)


def a_hello(*slots: SlotReport) -> Hello:
    facts = DeviceFacts(
        arch="x86_64",
        os="linux",
        cpus=4,
        memory_bytes=2**33,
        runtimes=(RuntimeFact("onnxruntime", "1.32", ("cpu",)),),
        endpoint="http://127.0.0.1:8000",
    )
    return Hello("0.1.0", "b1", facts, slots)


_ROAD = ("accepted", "fetching", "staged", "waiting", "activating", "probation", "committed")


@dataclass
class Agent:
    """What one device really does: it obeys what it last heard, and tells it when it can."""

    name: str
    reachable: bool = True
    wants_new: bool = False
    serves_new: bool = False
    at: int = -1
    gave_up: bool = False
    attempt: int = 0
    awaits: bool = False
    outbox: list[SlotReport | Receipt] = field(default_factory=list)
    said: list[SlotReport | Receipt] = field(default_factory=list)

    def work(self) -> None:
        """One step on the way to what it wants."""
        if not self.wants_new:
            self._go_back()
        elif not self.gave_up and self.at < len(_ROAD) - (2 if self.awaits else 1):
            self.at += 1
            self.serves_new = self.at >= _ROAD.index("activating")
            self.say(_ROAD[self.at])
            if _ROAD[self.at] == "committed":
                self.outbox.append(a_receipt(self.name))

    def fail(self, kind: FailureKind = FailureKind.PERMANENT) -> None:
        """The release does not work here."""
        if self.wants_new and not self.gave_up and self.at >= 0:
            word = "rolled_back" if self.serves_new else "failed"
            self.gave_up, self.serves_new = True, False
            self.say(word, a_failure("no", kind))

    def hears(self, attempt: int) -> None:
        """What is wanted now, by number: a new one is another try."""
        if attempt != self.attempt:
            self.at, self.gave_up, self.attempt = -1, False, attempt

    def say(self, word: str, failure: Failure | None = None) -> None:
        active = str(NEW if self.serves_new else OLD)
        attempt = str(NEW) if self.wants_new else ""
        rollout = "r-1" if self.wants_new else ""
        self.outbox.append(
            a_report(
                word,
                active_release=active,
                attempt_release=attempt,
                rollout=rollout,
                attempt=self.attempt,
                failure=failure,
            )
        )

    def _go_back(self) -> None:
        self.at, self.gave_up = -1, False
        self.serves_new = False
        self.say("committed")


class Fleet:
    """A rollout and the agents it moves, without a store: messages pass when a device is there."""

    def __init__(self, rollout: Rollout) -> None:
        self.rollout = rollout
        self.agents = {each.device: Agent(each.device) for each in rollout.devices}
        self.desired_new: set[str] = set()
        self.attempts: dict[str, int] = {}
        self.promoted: set[str] = set()
        self.now = START

    def apply(self, step: Step) -> None:
        """Record a step, and change what the director wants."""
        self.rollout = step.rollout
        for decision in step.decisions:
            match decision:
                case Grant(device, attempt):
                    assert self.agents[device].reachable, "a place went to an unreachable device"
                    before = self.attempts.get(device, -1)
                    assert attempt == before + 1, "a device was given a place twice"
                    self.attempts[device] = attempt
                    self.desired_new.add(device)
                case Promote(device):
                    self.promoted.add(device)
                case TakeBack(device, release):
                    assert release == OLD
                    self.desired_new.discard(device)
                case _:
                    pass

    def talk(self) -> None:
        """Every reachable agent hears what is wanted and empties its outbox."""
        for agent in self.agents.values():
            if agent.reachable:
                agent.wants_new = agent.name in self.desired_new
                agent.hears(self.attempts.get(agent.name, 0))
                challenge = self.rollout.spec.terms.challenge is not None
                agent.awaits = challenge and agent.name not in self.promoted
                words, agent.outbox = agent.outbox, []
                agent.said += words
                for word in words:
                    self.hear(agent.name, word)

    def hear(self, name: str, word: SlotReport | Receipt) -> None:
        """One word of one device reaches the manager."""
        wanted = target(self.rollout, MANIFEST)
        heard = tuple(
            self._moved(wanted, each, word) if each.device == name else each
            for each in self.rollout.devices
        )
        self.rollout = replace(self.rollout, devices=heard)

    def _moved(
        self, wanted: Any, device: RolloutDevice, word: SlotReport | Receipt
    ) -> RolloutDevice:
        if isinstance(word, Receipt):
            return proven(wanted, device, word, self.now)
        return reported(wanted, device, word, self.now)

    def seen(self) -> Rollout:
        """The rollout as the controller would hand it to a decision."""
        return replace(self.rollout, devices=tuple(map(self._as_seen, self.rollout.devices)))

    def _as_seen(self, device: RolloutDevice) -> RolloutDevice:
        here = self.agents[device.device].reachable
        heard = self.now if here else device.heard_at
        if (here, heard) == (device.reachable, device.heard_at):
            return device
        return replace(device, reachable=here, heard_at=heard)


def view_of(rollout: Rollout, decisions: Sequence[DecisionRecord] = ()) -> RolloutView:
    """A rollout as operators see it, with all its devices."""
    return RolloutView(
        id=rollout.id,
        release=rollout.spec.release,
        previous_release=str(rollout.previous or ""),
        slot=rollout.spec.slot,
        selector=rollout.spec.selector,
        state=rollout.state,
        reason=rollout.reason,
        stage=rollout.stage,
        phase=rollout.phase,
        stages=tuple(stage_text(stage) for stage in rollout.spec.stages),
        devices=tuple(
            RolloutDeviceView(
                *(each.device, each.device, each.stage, each.state),
                *(each.detail, each.requests, each.changed_at),
            )
            for each in rollout.devices
        ),
        decisions=tuple(DecisionView(d.at, d.actor, d.action, d.detail) for d in decisions),
        created_at=rollout.created_at,
        ended_at=rollout.ended_at,
        name=rollout.name,
        asked=rollout.request,
        counts=Counter(str(each.state) for each in rollout.devices),
    )
