"""What operators do with rollouts: start, look, watch, pause, resume, promote, abort, revert.

A rollout can be of a hundred thousand devices, each with its lines in the log: it is told in parts,
and who watches hears only what has changed.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sealane.errors import InvalidName
from sealane.limits import MIB
from sealane.names import DeviceId, ReleaseName

from sealane_manager.assembly import Assembly
from sealane_manager.rollout.types import DeviceState, Phase, RolloutState
from sealane_manager.store.summaries import Page
from sealane_manager.views import (
    AppliedView,
    DecisionView,
    RolloutDeviceView,
    RolloutPart,
    RolloutView,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sealane.names import SlotName

    from sealane_manager.rollout.controller import Controller
    from sealane_manager.rollout.operate import Word
    from sealane_manager.rollout.types import RolloutSpec
    from sealane_manager.rollout_file.applying import Wish
    from sealane_manager.selector import Sites
    from sealane_manager.store.records import DecisionRecord, JudgementRecord, QuarantineRecord
    from sealane_manager.store.store import Store
    from sealane_manager.store.summaries import RolloutDeviceLine, RolloutLine

ANSWER_BYTES: Final = 2 * MIB
"""No answer about rollouts is larger, whatever devices and people write."""

PART: Final = 200
"""Devices, and lines of the log, in one part: a sentence of each has up to 1,000 characters."""

LISTED: Final = 50
"""Rollouts in one part of the list."""

_TOKEN_CHARS: Final = 40


@dataclass(frozen=True, slots=True)
class _At:
    """Where a part begins: the turn of its first device, and the line before its first."""

    position: int = 0
    line: int = 0


@dataclass(frozen=True, slots=True)
class _Part:
    """A part, where the next one begins, and whether it has anything."""

    view: RolloutView
    following: _At
    more: bool

    @property
    def standing(self) -> RolloutView:
        """The rollout without devices and decisions."""
        return replace(self.view, devices=(), decisions=())


class Rollouts:
    """Rollouts as operators see them; all but `watch` block."""

    def __init__(self, controller: Controller, store: Store) -> None:
        self._controller, self._store = controller, store

    def seen(self, sites: Sites) -> Rollouts:
        """The same for somebody who sees these sites alone; none means everything."""
        return Rollouts(self._controller, self._store.seen(sites))

    def create(self, spec: RolloutSpec, actor: str, reason: str, rollout: str = "") -> RolloutView:
        """Start a rollout; raises NotKnown, InvalidName or Refused."""
        return self._first(self._controller.create(spec, actor, reason, rollout).id)

    def apply(self, wish: Wish, actor: str, reason: str) -> AppliedView:
        """Do what a file asks for; raises NotKnown, InvalidName or Refused."""
        followed, rollout = self._controller.apply(wish, actor, reason)
        return AppliedView(followed, self._first(rollout.id))

    def roll_back(self, device: DeviceId, slot: SlotName, reason: str, actor: str) -> RolloutView:
        """Start a rollout of what one slot served before; raises NotKnown or Refused."""
        return self._first(self._controller.roll_back(device, slot, reason, actor).id)

    def operate(self, rollout: str, word: Word) -> RolloutView:
        """Do what an operator asks; raises NotKnown or Refused."""
        return self._first(self._controller.operate(rollout, word).id)

    def part(self, rollout: str, token: str = "") -> RolloutPart:
        """One rollout with some of its devices and decisions; raises NotKnown or InvalidName."""
        found = self._part(self._store.rollouts.id_of(rollout), _at(token))
        at = found.following
        return RolloutPart(found.view, f"{at.position}.{at.line}" if found.more else "")

    def whole(self, rollout: str) -> RolloutView:
        """One rollout with all its devices and decisions; raises NotKnown."""
        whole, token, more = Assembly(), "", True
        while more:
            part = self.part(rollout, token)
            whole.add(part.rollout)
            token, more = part.following, bool(part.following)
        return whole.view

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

    def listed(self, token: str = "") -> tuple[tuple[RolloutView, ...], str]:
        """Some rollouts, the newest first, without devices and decisions; and the next token."""
        number = _number(token) if token else 1
        page = Page(number, LISTED)
        found = self._store.progress.rollouts(page)
        more = page.offset + len(found) < self._store.progress.count()
        return tuple(view_of(each, (), ()) for each in found), str(number + 1) if more else ""

    async def watch(self, rollout: str) -> AsyncIterator[tuple[RolloutView, bool]]:
        """The rollout with everything, in parts; then what is new, after every change.

        Each comes with whether more of the same moment follows. Ends with the rollout; raises
        NotKnown.
        """
        name = await asyncio.to_thread(self._store.rollouts.id_of, rollout)
        told, line, since = None, 0, None
        while told is None or told.ended_at is None:
            shown, revision = self._controller.revision, self._store.rollouts.revision
            moved: frozenset[str] | None
            moved = None if since is None else self._store.rollouts.moved_since(name, since)
            since = revision
            async for part in self._news(name, moved, line):
                line = part.following.line
                if part.more or part.standing != part.view or part.standing != told:
                    yield part.view, part.more
                told = part.standing if part.view.counts else told
            if told and told.ended_at is None:
                await self._controller.changed(shown)

    async def _news(
        self, rollout: str, moved: frozenset[str] | None, line: int
    ) -> AsyncIterator[_Part]:
        """In parts: the devices that moved, or all of them; and the log after this line."""
        at, left = _At(0, line), sorted(moved or ())
        while True:
            if moved is None:
                part = await asyncio.to_thread(self._part, rollout, at)
            else:
                names, left = left[:PART], left[PART:]
                part = await asyncio.to_thread(self._part_of, rollout, at, names)
                part = replace(part, more=part.more or bool(left))
            yield part
            if not part.more:
                return
            at = part.following

    def _first(self, rollout: str) -> RolloutView:
        return self._part(rollout, _At()).view

    def _part(self, rollout: str, at: _At) -> _Part:
        """The devices and the lines from here on."""
        line = self._line(rollout, counted=at.position == 0)
        devices = self._store.progress.devices_from(rollout, at.position, PART)
        return self._with_log(line, at, devices)

    def _part_of(self, rollout: str, at: _At, names: Sequence[str]) -> _Part:
        """These devices, and the lines from here on."""
        line = self._line(rollout, counted=at.position == 0)
        part = self._with_log(line, at, self._store.progress.devices_named(rollout, names))
        return replace(part, more=len(part.view.decisions) == PART)

    def _line(self, rollout: str, *, counted: bool) -> RolloutLine:
        """Counted in the first of several parts: all of it is looked at for that."""
        progress = self._store.progress
        return progress.rollout(rollout) if counted else progress.uncounted(rollout)

    def _with_log(self, line: RolloutLine, at: _At, devices: Sequence[RolloutDeviceLine]) -> _Part:
        """The standing was read first: what the lines tell beyond it comes with the next news."""
        lines = self._store.decisions.after(line.id, at.line, PART)
        following = _At(
            devices[-1].position + 1 if devices else at.position,
            lines[-1][0] if lines else at.line,
        )
        view = view_of(line, devices, [each for _, each in lines])
        return _Part(view, following, PART in {len(devices), len(lines)})


def _at(token: str) -> _At:
    if not token:
        return _At()
    position, _, line = token.partition(".")
    return _At(_number(position), _number(line))


def _number(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise InvalidName(
            f"{text[:_TOKEN_CHARS]!r} names no part", hint="take the token of the answer before"
        )
    return int(text)


def view_of(
    line: RolloutLine, devices: Sequence[RolloutDeviceLine], decisions: Sequence[DecisionRecord]
) -> RolloutView:
    """A rollout as operators see it, with these devices and decisions."""
    return RolloutView(
        id=line.id,
        release=line.spec.release,
        previous_release=line.previous,
        slot=line.spec.slot,
        selector=line.selector,
        state=RolloutState(line.state),
        reason=line.reason,
        stage=line.stage,
        phase=Phase(line.phase),
        stages=line.stages,
        devices=tuple(_device_of(device) for device in devices),
        decisions=tuple(DecisionView(d.at, d.actor, d.action, d.detail) for d in decisions),
        created_at=line.created_at,
        ended_at=line.ended_at,
        name=line.name,
        asked=line.request,
        counts=dict(line.devices),
    )


def _device_of(device: RolloutDeviceLine) -> RolloutDeviceView:
    return RolloutDeviceView(
        device=DeviceId(device.device),
        name=device.device,
        stage=device.stage,
        state=DeviceState(device.state),
        detail=device.detail,
        requests=device.requests,
        changed_at=device.changed_at,
    )
