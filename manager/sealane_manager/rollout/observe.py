"""Decides what a device's word moves in a rollout; a late or repeated word moves nothing back.

Only a receipt with verdict `serving`, signed by the device, for this release and this rollout,
makes a device serving: a state's name never does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sealane import receipt as receipts
from sealane.failure import FailureKind

from sealane_manager.rollout.moves import moved
from sealane_manager.rollout.types import (
    BROKEN,
    IN_FLIGHT,
    UNGRANTED,
    DeviceState,
    Rollout,
    RolloutDevice,
    RolloutState,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sealane.fleet import SlotReport
    from sealane.names import DeviceId, Digest, ReleaseName, SlotName
    from sealane.receipt import Receipt

_WORDS: Final[Mapping[str, DeviceState]] = {
    # the agent's word       what it means here
    "accepted": DeviceState.FETCHING,
    "fetching": DeviceState.FETCHING,
    "staged": DeviceState.STAGED,
    "waiting": DeviceState.STAGED,
    "shadow": DeviceState.SHADOW,
    "activating": DeviceState.PROBATION,
    "probation": DeviceState.PROBATION,
    "committed": DeviceState.PROBATION,
    "failed": DeviceState.FAILED,
    "quarantined": DeviceState.FAILED,
    "rolling_back": DeviceState.ROLLED_BACK,
    "rolled_back": DeviceState.ROLLED_BACK,
    "safe_mode": DeviceState.ROLLED_BACK,
}
_ORDER: Final = (
    DeviceState.LEASED,
    DeviceState.FETCHING,
    DeviceState.STAGED,
    DeviceState.SHADOW,
    DeviceState.PROBATION,
)
_KEPT: Final = "committed"
_HOLD: Final = "hold"
"""What the agent calls a hold that a release waits for (`sealane_agent.slot.permission`)."""

_LOST: Final = "safe_mode"
_OPERATOR: Final = "operator"
"""What the agent calls somebody at the device who ended it (`sealane_agent.slot.going_back`)."""

_UNTRIED: Final = frozenset({DeviceState.LEASED, DeviceState.FETCHING, DeviceState.STAGED})
"""States of a device that has activated nothing in its present attempt."""

_MAX_DETAIL: Final = 500
"""Characters of a device's own words that the log keeps."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a rollout wants on a device; reverting: it wants it gone."""

    rollout: str
    slot: SlotName
    release: ReleaseName
    manifest: Digest
    reverting: bool


def target(rollout: Rollout, manifest: Digest) -> Target:
    """What this rollout wants."""
    gone = rollout.state in (RolloutState.REVERTING, RolloutState.REVERTED)
    return Target(rollout.id, rollout.spec.slot, rollout.spec.release, manifest, gone)


def reported(
    wanted: Target, device: RolloutDevice, report: SlotReport, now: datetime
) -> RolloutDevice:
    """The device after it said what its slot does."""
    if report.slot != wanted.slot or device.state in UNGRANTED:
        return device
    if wanted.reverting or device.acknowledged:
        return _gone_back(wanted, device, report, now)
    word = _WORDS.get(report.state)
    if word is None or (report.rollout, report.attempt) != (wanted.rollout, device.attempt):
        return device
    held = report.failure is not None and report.failure.component == _HOLD
    if word is device.state and word in IN_FLIGHT:
        return replace(device, held=held, detail=_detail(report))
    if not _may_move(device.state, word):
        return device
    device = replace(device, held=held)
    if device.state is DeviceState.SERVING:
        word = DeviceState.ROLLED_BACK
    if device.served and report.state == _KEPT and report.active_release == str(wanted.release):
        word = DeviceState.SERVING
    failure = _kind(report) if word in BROKEN else None
    device = replace(device, failure=failure, retry_at=None)
    return moved(device, word, _detail(report), now)


def _kind(report: SlotReport) -> FailureKind | None:
    """Whether trying again may help: not where somebody ended it, or the way back was lost."""
    failure = report.failure
    if failure is None:
        return None
    final = failure.component == _OPERATOR or report.state == _LOST
    return FailureKind.PERMANENT if final else failure.kind


def _may_move(old: DeviceState, new: DeviceState) -> bool:
    if old is DeviceState.SUSPECT:
        return True
    if old is DeviceState.SERVING:
        return new is DeviceState.ROLLED_BACK
    if old in BROKEN:
        return old is DeviceState.FAILED and new is DeviceState.ROLLED_BACK
    return new in BROKEN or _ORDER.index(new) > _ORDER.index(old)


def _gone_back(
    wanted: Target, device: RolloutDevice, report: SlotReport, now: datetime
) -> RolloutDevice:
    release = str(wanted.release)
    tries = report.attempt_release == release and _WORDS.get(report.state) in IN_FLIGHT
    if device.state in BROKEN or tries or report.active_release == release:
        return device
    detail = f"serves {report.active_release} again" if report.active_release else "serves nothing"
    return moved(device, DeviceState.ROLLED_BACK, detail[:_MAX_DETAIL], now)


def proven(wanted: Target, device: RolloutDevice, receipt: Receipt, now: datetime) -> RolloutDevice:
    """The device after a receipt whose signature was checked."""
    if not _is_about(wanted, device.device, receipt) or device.state in UNGRANTED:
        return device
    if device.acknowledged or device.state is DeviceState.ROLLED_BACK:
        return device
    if receipt.verdict == receipts.ROLLED_BACK and not _is_stale(device):
        return moved(device, DeviceState.ROLLED_BACK, _counted(receipt), now)
    if receipt.verdict != receipts.SERVING:
        return device
    proved = replace(device, requests=max(device.requests, receipt.requests), served=True)
    if device.state is DeviceState.SERVING:
        return proved
    return moved(proved, DeviceState.SERVING, _counted(receipt), now)


def _is_stale(device: RolloutDevice) -> bool:
    """Whether only an earlier attempt can have rolled back: a receipt does not say which did."""
    return device.attempt > 0 and device.state in _UNTRIED


def _is_about(wanted: Target, device: DeviceId, receipt: Receipt) -> bool:
    said = (receipt.device, receipt.slot, receipt.release, receipt.manifest, receipt.rollout)
    release = str(wanted.release)
    return said == (device, wanted.slot, release, wanted.manifest, wanted.rollout)


def _counted(receipt: Receipt) -> str:
    text = f"{receipt.requests} requests, {receipt.errors} errors, {receipt.fallbacks} fallbacks"
    weak = f", degraded: {receipt.degraded}" if receipt.degraded else ""
    return f"{text} on {receipt.runtime} {receipt.accelerator}{weak}"[:_MAX_DETAIL]


def _detail(report: SlotReport) -> str:
    return report.failure.message[:_MAX_DETAIL] if report.failure else ""
