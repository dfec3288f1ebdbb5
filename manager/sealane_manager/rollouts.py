"""What operators do with rollouts: start, look, watch, pause, resume, promote, abort, revert."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from sealane.names import ReleaseName

from sealane_manager.people.redaction import without
from sealane_manager.rollout.placement import stage_text
from sealane_manager.views import AppliedView, DecisionView, RolloutDeviceView, RolloutView

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sealane.names import DeviceId, SlotName

    from sealane_manager.reach import Sites
    from sealane_manager.rollout.controller import Controller
    from sealane_manager.rollout.operate import Word
    from sealane_manager.rollout.types import Rollout, RolloutDevice, RolloutSpec
    from sealane_manager.rollout_file.applying import Wish
    from sealane_manager.store.records import DecisionRecord, JudgementRecord, QuarantineRecord
    from sealane_manager.store.store import Store


class Rollouts:
    """The controller's rollouts as operators see them; all but `watch` block."""

    def __init__(self, controller: Controller, store: Store) -> None:
        self._controller, self._store = controller, store

    def seen(self, sites: Sites) -> Rollouts:
        """The same for somebody who sees these sites alone; none means everything."""
        return Rollouts(self._controller, self._store.seen(sites))

    def create(self, spec: RolloutSpec, actor: str, reason: str, rollout: str = "") -> RolloutView:
        """Start a rollout; raises NotKnown, InvalidName or Refused."""
        return self._shown(self._controller.create(spec, actor, reason, rollout))

    def apply(self, wish: Wish, actor: str, reason: str) -> AppliedView:
        """Do what a file asks for; raises NotKnown, InvalidName or Refused."""
        followed, rollout = self._controller.apply(wish, actor, reason)
        return AppliedView(followed, self._shown(rollout))

    def roll_back(self, device: DeviceId, slot: SlotName, reason: str, actor: str) -> RolloutView:
        """Start a rollout of what one slot served before; raises NotKnown or Refused."""
        return self._shown(self._controller.roll_back(device, slot, reason, actor))

    def operate(self, rollout: str, word: Word) -> RolloutView:
        """Do what an operator asks; raises NotKnown or Refused."""
        return self._shown(self._controller.operate(rollout, word))

    def get(self, rollout: str) -> RolloutView:
        """One rollout; raises NotKnown."""
        return self._shown(self._controller.get(rollout))

    def judgements(self, rollout: str) -> tuple[JudgementRecord, ...]:
        """What the gate of one rollout said, with all that it saw; raises NotKnown."""
        return self._controller.judgements(rollout)

    def quarantine(self, release: str, reason: str, actor: str, *, stops: bool = False) -> int:
        """Take a release off every device; raises InvalidName, NotKnown or Refused."""
        return self._controller.quarantine(ReleaseName.parse(release), reason, actor, stops=stops)

    def lift(self, release: str, reason: str, actor: str) -> None:
        """Let a release be rolled out again; raises InvalidName or NotKnown."""
        self._controller.lift(ReleaseName.parse(release), reason, actor)

    def quarantined(self) -> tuple[QuarantineRecord, ...]:
        """Every release in quarantine, the newest first."""
        return self._controller.quarantined()

    def list(self) -> tuple[RolloutView, ...]:
        """Every rollout, the newest first, without devices and decisions."""
        found = tuple(view_of(each, (), ()) for each in self._controller.list())
        if not self._store.sites:
            return found
        reasons = self._store.progress.reasons()
        return tuple(replace(each, reason=reasons[each.id]) for each in found if each.id in reasons)

    async def watch(self, rollout: str) -> AsyncIterator[RolloutView]:
        """The rollout now and after every change, until it has ended; raises NotKnown."""
        last = None
        while last is None or last.ended_at is None:
            revision = self._controller.revision
            view = await asyncio.to_thread(self.get, rollout)
            if view != last:
                yield view
            last = view
            if view.ended_at is None:
                await self._controller.changed(revision)

    def _shown(self, rollout: Rollout) -> RolloutView:
        found = view_of(rollout, rollout.devices, self._controller.decisions(rollout.id))
        return _limited(found, self._store) if self._store.sites else found


def view_of(
    rollout: Rollout, devices: Sequence[RolloutDevice], decisions: Sequence[DecisionRecord]
) -> RolloutView:
    """A rollout as operators see it, with these devices and decisions."""
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
        devices=tuple(_device_of(device) for device in devices),
        decisions=tuple(DecisionView(d.at, d.actor, d.action, d.detail) for d in decisions),
        created_at=rollout.created_at,
        ended_at=rollout.ended_at,
        name=rollout.name,
        asked=rollout.request,
    )


def _limited(found: RolloutView, seen: Store) -> RolloutView:
    """What somebody sees of it who sees this of the store; raises NotKnown."""
    line = seen.progress.rollout(found.id)
    those = seen.overview.those(each.device for each in found.devices)
    hidden = frozenset(each.device for each in found.devices) - those
    return replace(
        found,
        reason=line.reason,
        devices=tuple(each for each in found.devices if each.device in those),
        decisions=tuple(
            replace(each, detail=without(each.detail, hidden)) for each in found.decisions
        ),
    )


def _device_of(device: RolloutDevice) -> RolloutDeviceView:
    return RolloutDeviceView(
        device=device.device,
        name=device.device,
        stage=device.stage,
        state=device.state,
        detail=device.detail,
        requests=device.requests,
        changed_at=device.changed_at,
    )
