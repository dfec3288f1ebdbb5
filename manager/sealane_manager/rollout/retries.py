"""Decides which failed devices are tried again, and when: by the class of their failure. Pure.

A transient or environmental failure before the release was proved there is tried again, up to the
terms' count and within the deadlines of stage and rollout; a permanent one never is.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sealane.failure import FailureKind

from sealane_manager.rollout.types import BROKEN

if TYPE_CHECKING:
    from datetime import datetime

    from sealane_manager.rollout.types import Rollout, RolloutDevice

LONGEST: Final = timedelta(days=1)
"""No pause is longer, however often it was doubled."""

_MAY_PASS: Final = frozenset({FailureKind.TRANSIENT, FailureKind.ENVIRONMENTAL})
_WHOLE: Final = 2**64


def to_try_again(rollout: Rollout) -> tuple[RolloutDevice, ...]:
    """Devices whose failure may pass and that have no time for their next attempt yet, with one."""
    return tuple(
        replace(device, retry_at=moment, detail=_told(rollout, device, moment))
        for device in rollout.devices
        if _may_be_tried(rollout, device)
        and _in_time(rollout, moment := device.changed_at + pause(rollout, device))
    )


def pause(rollout: Rollout, device: RolloutDevice) -> timedelta:
    """From nothing to the delay, doubled for each attempt; the same whenever it is asked."""
    seed = f"{rollout.id}\0{device.device}\0{device.attempt}".encode()
    share = int.from_bytes(hashlib.sha256(seed).digest()[:8]) / _WHOLE
    doubled: int = 2**device.attempt
    return min(rollout.spec.terms.retries.delay * doubled, LONGEST) * share


def _may_be_tried(rollout: Rollout, device: RolloutDevice) -> bool:
    fresh = device.retry_at is None and not (device.served or device.acknowledged)
    left = device.attempt < rollout.spec.terms.retries.count
    return fresh and left and device.state in BROKEN and device.failure in _MAY_PASS


def _in_time(rollout: Rollout, moment: datetime) -> bool:
    """Whether an attempt may begin then, as the deadlines of rollout and stage say."""
    times = rollout.spec.terms.times
    spans = ((rollout.began_at, times.deadline), (rollout.stage_since, times.stage_deadline))
    return all(moment < since + span for since, span in spans if since and span)


def _told(rollout: Rollout, device: RolloutDevice, moment: datetime) -> str:
    count = f"attempt {device.attempt + 2} of {rollout.spec.terms.retries.count + 1}"
    return f"{device.detail or device.state}; {count} from {moment:%Y-%m-%d %H:%M:%S} UTC"
