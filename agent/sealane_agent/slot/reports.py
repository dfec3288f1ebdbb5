"""Makes what a device says of a slot: its report, and the receipt of its model. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sealane.failure import Failure, FailureKind
from sealane.fleet import SlotReport
from sealane.names import AGENT_SLOT
from sealane.receipt import Receipt

from sealane_agent.serving.messages import MEMORY
from sealane_agent.slot.permission import Obstacle, before_activation, before_fetching
from sealane_agent.slot.state import State

if TYPE_CHECKING:
    from datetime import datetime

    from sealane.names import DeviceId, SlotName

    from sealane_agent.layout import Pointer
    from sealane_agent.serving.messages import SlotStatus
    from sealane_agent.slot.state import Attempt, Choice, Observed, SlotRecord


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who speaks: the device and the boot it speaks in."""

    device: DeviceId
    boot: str


def report(slot: SlotName, attempt: Attempt | None, seen: Observed, now: datetime) -> SlotReport:
    """What the slot does now; while it waits, for what."""
    serving = seen.serving.active if seen.serving else seen.active
    if attempt is None:
        idle = SlotReport(slot, State.IDLE, _release(serving), _release(seen.lkg))
        return replace(idle, degraded=seen.degraded, chosen=seen.chosen)
    return SlotReport(
        slot=slot,
        state=attempt.state,
        active_release=_release(serving),
        lkg_release=_release(seen.lkg),
        attempt_release=str(attempt.release),
        rollout=attempt.rollout,
        failure=_failure(attempt, serving) or _waits_for(attempt, seen, now),
        attempt=attempt.number,
        degraded=seen.degraded,
        chosen=seen.chosen,
    )


def told(said: SlotReport) -> object:
    """What the manager must hear at once when it is different: all but the last known good."""
    return (said.state, said.active_release, said.attempt_release, said.failure, said.degraded)


def why_degraded(record: SlotRecord, serving: SlotStatus | None, active: Pointer | None) -> str:
    """Why what serves is on the CPU and not where it should be; empty when it is.

    The endpoint knows what stands in now; the journal, what could not be chosen at staging.
    """
    if serving is not None and serving.degraded:
        return serving.degraded
    choice = _choice(record, serving.active if serving is not None else active)
    return choice.degraded if choice is not None else ""


def chosen(record: SlotRecord, serving: SlotStatus | None, active: Pointer | None) -> str:
    """Which variant serves and why, as far as the journal knows; empty while another stands in."""
    serves = serving.active if serving is not None else active
    stands_in = serving is not None and bool(serving.degraded)
    if serves is None or stands_in or record.slot == AGENT_SLOT:
        return ""
    choice = _choice(record, serves)
    why = choice.why if choice is not None else ""
    return ", ".join(filter(None, (serves.variant, why)))


def _choice(record: SlotRecord, serves: Pointer | None) -> Choice | None:
    """That of the attempt which staged what serves, while the journal has it."""
    for each in (record.attempt, record.committed, record.before):
        if each is not None and each.choice is not None and each.pointer == serves:
            return each.choice
    return None


def _failure(attempt: Attempt, serving: Pointer | None) -> Failure | None:
    """Why it ended; of a release in quarantine also that it had to stay."""
    failure = attempt.failure
    stays = serving is not None and serving.manifest == attempt.manifest
    if failure is None or attempt.state is not State.QUARANTINED or not stays:
        return failure
    return replace(failure, message=f"{failure.message}; it serves on: nothing else can here")


def _waits_for(attempt: Attempt, seen: Observed, now: datetime) -> Failure | None:
    """What is in the way of a release, or was, in the words of a failure."""
    obstacle = None
    if attempt.state is State.PROBATION:
        obstacle = _gap(seen)
    elif attempt.state is State.WAITING:
        obstacle = before_activation(attempt, seen, now)
    elif attempt.state is State.FETCHING and not attempt.fetched:
        obstacle = before_fetching(attempt, seen, now)
    if obstacle is None:
        return None
    return Failure(
        FailureKind.ENVIRONMENTAL,
        phase=attempt.state,
        component=obstacle.kind,
        element=str(attempt.release),
        message=obstacle.reason,
    )


def _gap(seen: Observed) -> Obstacle | None:
    gap_ms = seen.serving.gap_ms if seen.serving else 0
    if not gap_ms:
        return None
    reason = f"nobody served for {gap_ms / 1000:.1f} s: there was no memory for two models"
    return Obstacle(MEMORY, reason)


def receipt(
    attempt: Attempt, verdict: str, speaker: Speaker, issued: tuple[int, datetime]
) -> Receipt:
    """What the release did here; `issued` is the receipt's sequence and trusted time."""
    if attempt.choice is None:
        raise ValueError("a release that was never staged has no receipt")
    choice, traffic = attempt.choice, attempt.traffic
    return Receipt(
        device=speaker.device,
        slot=attempt.slot,
        release=str(attempt.release),
        manifest=attempt.manifest,
        rollout=attempt.rollout,
        verdict=verdict,
        variant=choice.variant,
        runtime=choice.runtime,
        runtime_version=choice.proved.runtime_version,
        accelerator=choice.accelerator,
        precision=choice.precision,
        golden_max_error=choice.proved.golden_max_error,
        requests=traffic.requests,
        errors=traffic.errors,
        fallbacks=traffic.fallbacks,
        latency_p50_us=traffic.latency_p50_us,
        latency_p99_us=traffic.latency_p99_us,
        sequence=issued[0],
        boot=speaker.boot,
        issued_at=issued[1].isoformat(),
        degraded=choice.degraded,
        hardware=choice.hardware,
        measured_us=choice.proved.latency_us,
        memory_bytes=choice.proved.memory_bytes,
    )


def as_it_serves(attempt: Attempt, serving: SlotStatus | None) -> Attempt:
    """The attempt with what the endpoint knows of it by now, for its receipt."""
    if attempt.choice is None or serving is None or serving.active != attempt.pointer:
        return attempt
    degraded = serving.degraded or attempt.choice.degraded
    return replace(attempt, choice=replace(attempt.choice, degraded=degraded))


def _release(pointer: Pointer | None) -> str:
    return str(pointer.release) if pointer else ""
