"""Judges a stage: pass, hold or fail, and why. What is not known is a hold, never a pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealane_manager.rollout.types import (
    BROKEN,
    IN_FLIGHT,
    DeviceState,
    GatePolicy,
    RolloutDevice,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

_NAMED: Final = 3
_LOST: Final = BROKEN | {DeviceState.SUSPECT}


def judge(
    policy: GatePolicy, devices: Sequence[RolloutDevice], now: datetime, *, soak_elapsed: bool
) -> tuple[Verdict, str]:
    """Say what the devices that were given a place prove so far, in one sentence.

    Failures are tolerated only beside successes: when every judged device failed, the gate fails.
    """
    lost = [device for device in devices if is_lost(device, policy, now)]
    serving = [device for device in devices if device.state is DeviceState.SERVING]
    judged = len(lost) + len(serving)
    running = any(device.state in IN_FLIGHT for device in devices)
    only_lost = bool(lost) and not serving and not running
    if only_lost or len(lost) > tolerated(policy, judged):
        return Verdict.FAIL, f"{len(lost)} of {judged} judged devices failed: {listed(lost)}"
    missing = _missing(policy, devices)
    if missing:
        return Verdict.HOLD, missing
    if not soak_elapsed:
        return Verdict.HOLD, f"{len(serving)} of {judged} judged devices serve; soaks"
    return Verdict.PASS, f"{len(serving)} of {judged} judged devices serve"


def _missing(policy: GatePolicy, devices: Sequence[RolloutDevice]) -> str:
    """What still has to be known before the stage can pass; empty when nothing."""
    running = [device for device in devices if device.state in IN_FLIGHT]
    if running:
        return f"waits for {listed(running)}"
    serving = [device for device in devices if device.state is DeviceState.SERVING]
    if not serving:
        return "no device has proved yet that it serves"
    quiet = [device for device in serving if device.requests < policy.min_requests]
    if quiet:
        return f"fewer than {policy.min_requests} requests were answered by {listed(quiet)}"
    return ""


def tolerated(policy: GatePolicy, judged: int) -> int:
    """How many failed devices the policy accepts among those that can be judged."""
    return max(policy.max_failed, policy.max_failed_percent * judged // 100)


def is_lost(device: RolloutDevice, policy: GatePolicy, now: datetime) -> bool:
    """Whether this device counts as failed."""
    if device.acknowledged:
        return False
    return device.state in _LOST or is_silent(device, policy, now)


def is_silent(device: RolloutDevice, policy: GatePolicy, now: datetime) -> bool:
    """Whether a device that has its place has said nothing for longer than the policy allows.

    A device that was leased and never began is silent even when it is heard: it does not obey.
    """
    if device.state not in IN_FLIGHT:
        return False
    obeys = device.state is not DeviceState.LEASED
    heard = device.heard_at if obeys else None
    words = (device.changed_at, device.watched_since, heard)
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
