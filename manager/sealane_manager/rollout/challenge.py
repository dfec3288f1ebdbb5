"""Decides who is a challenger: a release that stands beside the champion until the verdict. Pure.

The champion is what served before. On each device the challenger answers a share of the requests,
or only copies of them, and is kept when its stage's gate has passed, or somebody promotes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealane_manager.rollout.types import DeviceState

if TYPE_CHECKING:
    from datetime import timedelta

    from sealane_manager.rollout.types import Rollout, RolloutDevice, RolloutSpec


def challenges(spec: RolloutSpec, device: RolloutDevice) -> bool:
    """Whether the release stands beside the champion there, and waits for the verdict."""
    if spec.terms.challenge is None or device.promoted:
        return False
    answers = spec.terms.trial.share < 1
    return device.state is (DeviceState.PROBATION if answers else DeviceState.SHADOW)


def challengers(rollout: Rollout) -> tuple[RolloutDevice, ...]:
    """Where it does."""
    return tuple(each for each in rollout.devices if challenges(rollout.spec, each))


def watched(rollout: Rollout) -> timedelta:
    """How long a full stage is watched before its gate may pass."""
    lasts = rollout.spec.terms.challenge
    if lasts is None or not challengers(rollout):
        return rollout.spec.soak
    return max(rollout.spec.soak, lasts)
