"""Puts together what a gate judges of a rollout. What is not known is a hold, never a pass."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sealane_manager.gate.outcomes import Outcomes
from sealane_manager.gate.ruling import Case, Facts
from sealane_manager.gate.types import Checks, Kind, Seen
from sealane_manager.rollout.challenge import challenges
from sealane_manager.rollout.pace import crowded_out
from sealane_manager.rollout.types import (
    IN_FLIGHT,
    LOST,
    DeviceState,
    GatePolicy,
    Rollout,
    RolloutDevice,
    RolloutSpec,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

_NAMED: Final = 3
_OF_DEVICES: Final = frozenset({Kind.OUTCOMES, Kind.AFTERWARDS})
_ONE_POINT: Final = 0.01


def case(rollout: Rollout, now: datetime, *, soaked: bool) -> Case:
    """All that the verdict on the devices which were given a place follows from."""
    policy = rollout.spec.gate
    devices = [each for each in rollout.devices if each.state not in _UNJUDGED]
    lost = [device for device in devices if is_lost(device, policy, now)]
    serving = sum(_stands(rollout.spec, device) for device in devices)
    running = _under_way(rollout)
    facts = Facts(
        lost=len(lost),
        named=listed(lost),
        serving=serving,
        running=bool(running),
        limit=None if policy.by_evidence else tolerated(policy, len(lost) + serving),
        missing=_missing(rollout.spec, devices, running),
        soaked=soaked,
    )
    return Case(facts, asked(policy), evidence(rollout, now))


_UNJUDGED: Final = frozenset({DeviceState.WAITING, DeviceState.SKIPPED})


def asked(policy: GatePolicy) -> Checks:
    """The checks of evidence; failed devices are counted by it only when no limit counts them."""
    if policy.by_evidence:
        return policy.checks
    kept = tuple(check for check in policy.checks.checks if check.kind not in _OF_DEVICES)
    return replace(policy.checks, checks=kept)


def evidence(rollout: Rollout, now: datetime) -> Seen:
    """What was measured, with what became of the devices themselves."""
    base = rollout.seen or Seen(stages=len(rollout.spec.stages), minutes=0.0)
    policy = rollout.spec.gate
    lost = [device for device in rollout.devices if is_lost(device, policy, now)]
    serving = [device for device in rollout.devices if device.state is DeviceState.SERVING]
    judged = [*lost, *serving]
    return replace(
        base,
        outcomes=_outcomes([d for d in lost if not d.served], judged),
        afterwards=_outcomes([d for d in lost if d.served], [d for d in judged if d.served]),
    )


def _outcomes(
    failed: Iterable[RolloutDevice], judged: Iterable[RolloutDevice]
) -> Mapping[str, Outcomes]:
    """How many of each hardware class were judged, and failed."""
    lost = Counter(device.hardware for device in failed)
    every = Counter(device.hardware for device in judged)
    return {name: Outcomes(lost[name], every[name]) for name in sorted(every)}


def _stands(spec: RolloutSpec, device: RolloutDevice) -> bool:
    """Whether the release is where its stage wants it: it serves, or challenges."""
    return device.state is DeviceState.SERVING or challenges(spec, device)


def _under_way(rollout: Rollout) -> tuple[RolloutDevice, ...]:
    """Devices on their way with their place, or that are tried again before the verdict."""
    later = crowded_out(rollout)
    return tuple(
        each
        for each in rollout.devices
        if (each.state in IN_FLIGHT and not challenges(rollout.spec, each))
        or (each.awaits_retry and each.device not in later)
    )


def _missing(
    spec: RolloutSpec, devices: Sequence[RolloutDevice], running: Sequence[RolloutDevice]
) -> str:
    """What still has to be known before the stage can pass; empty when nothing."""
    if running:
        held = sum(device.held for device in running)
        return f"waits for {listed(running)}" + (f"; {held} held" if held else "")
    serving = [device for device in devices if device.state is DeviceState.SERVING]
    if not any(_stands(spec, device) for device in devices):
        return "no device has proved yet that it serves"
    least = spec.gate.min_requests
    quiet = [device for device in serving if device.requests < least]
    if quiet:
        return f"fewer than {least} requests were answered by {listed(quiet)}"
    return ""


def tolerated(policy: GatePolicy, judged: int) -> int:
    """How many failed devices the policy accepts among those that can be judged."""
    return max(policy.max_failed, policy.max_failed_percent * judged // 100)


def is_lost(device: RolloutDevice, policy: GatePolicy, now: datetime) -> bool:
    """Whether this device counts as failed."""
    if device.acknowledged:
        return False
    broken = device.state in LOST and not device.awaits_retry
    return broken or is_silent(device, policy, now)


def is_silent(device: RolloutDevice, policy: GatePolicy, now: datetime) -> bool:
    """Whether a device that has its place has said nothing for longer than the policy allows.

    A device that was leased and never began is silent even when it is heard: it does not obey. One
    that will be tried again is silent when it is away for so long after its time has come.
    """
    if device.awaits_retry:
        return _gone(device, policy, now)
    if device.state not in IN_FLIGHT:
        return False
    obeys = device.state is not DeviceState.LEASED
    return _unheard(device, policy, now, device.heard_at if obeys else None)


def fell_silent(rollout: Rollout, now: datetime) -> tuple[RolloutDevice, ...]:
    """Devices that served, and have not been heard for longer than the policy allows.

    Where as large a share of the devices that still wait is silent too, it is the site or the night
    and not the release: then nobody is named.
    """
    policy = rollout.spec.gate
    serving = [d for d in rollout.devices if d.state is DeviceState.SERVING and not d.acknowledged]
    waiting = [d for d in rollout.devices if d.state is DeviceState.WAITING and d.heard_at]
    gone = tuple(d for d in serving if _gone(d, policy, now))
    if not gone:
        return ()
    others = sum(_gone(each, policy, now) for each in waiting) / len(waiting) if waiting else 0.0
    return gone if len(gone) / len(serving) > others + _ONE_POINT else ()


def _gone(device: RolloutDevice, policy: GatePolicy, now: datetime) -> bool:
    return not device.reachable and _unheard(device, policy, now, device.heard_at)


def _unheard(
    device: RolloutDevice, policy: GatePolicy, now: datetime, heard: datetime | None
) -> bool:
    words = (device.changed_at, device.watched_since, device.retry_at, heard)
    return now - max(word for word in words if word) > policy.silent_after


def listed(devices: Sequence[RolloutDevice]) -> str:
    """The first few devices with what they do, and how many more there are."""
    named = ", ".join(_described(device) for device in devices[:_NAMED])
    more = len(devices) - _NAMED
    return f"{named} and {more} more" if more > 0 else named


def _described(device: RolloutDevice) -> str:
    word = device.state.replace("_", " ")
    return (
        f"{device.device} ({word}: {device.detail})"
        if device.detail
        else (f"{device.device} ({word})")
    )
