"""Decides what an operator's word does to a rollout, or refuses it and says why."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sealane_manager.errors import Refused
from sealane_manager.gate.ruling import Verdict
from sealane_manager.rollout import moves
from sealane_manager.rollout.advance import crown, go_on, look
from sealane_manager.rollout.case import is_lost, listed
from sealane_manager.rollout.challenge import challengers
from sealane_manager.rollout.terms import Approval
from sealane_manager.rollout.types import (
    IN_FLIGHT,
    PENDING,
    DeviceState,
    Note,
    Operation,
    Rollout,
    RolloutDevice,
    RolloutState,
    Step,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from sealane.names import DeviceId

    Act = Callable[["Asked"], Step]

_STOPPABLE: Final = frozenset({RolloutState.RUNNING, RolloutState.PAUSED})


@dataclass(frozen=True, slots=True)
class Word:
    """What an operator says: who, what, why, and of which device if it is about one."""

    operation: Operation
    reason: str
    actor: str
    device: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """An operator's word on a rollout, at a moment."""

    rollout: Rollout
    word: Word
    now: datetime

    @property
    def why(self) -> str:
        """For the rollout's reason: who did what, and why."""
        said = f": {self.word.reason}" if self.word.reason else ""
        return f"{self.word.operation} by {self.word.actor}{said}"


def operate(rollout: Rollout, word: Word, now: datetime) -> Step:
    """Do what the operator asks; raises Refused when the rollout's state does not allow it."""
    states, act = _ALLOWED[word.operation]
    if rollout.state not in states:
        wanted = word.operation.replace("_", "-")
        raise Refused(
            f"rollout {rollout.id} is {rollout.state}, so it cannot {wanted}",
            hint=_hint(rollout),
        )
    return act(Asked(rollout, word, now))


def possible(state: RolloutState) -> tuple[Operation, ...]:
    """What can be asked of a whole rollout in this state."""
    return tuple(
        operation
        for operation, (states, _) in _ALLOWED.items()
        if state in states and operation is not Operation.WRITE_OFF
    )


def _hint(rollout: Rollout) -> str:
    if rollout.ended_at:
        return "start a rollout of the release that shall serve instead"
    return f"it stands there because of: {rollout.reason}" if rollout.reason else ""


def _pause(asked: Asked) -> Step:
    return moves.enter(asked.rollout, RolloutState.PAUSED, asked.why, asked.now)


def _abort(asked: Asked) -> Step:
    return moves.finish(asked.rollout, RolloutState.ABORTED, asked.why, asked.now)


def _revert(asked: Asked) -> Step:
    return moves.revert(asked.rollout, asked.why, asked.now)


def _resume(asked: Asked) -> Step:
    """Accept the failures seen so far: they free their places, and go back to what was before.

    Deadlines count from here: one that has passed would stop it again at once.
    """
    policy = asked.rollout.spec.gate
    lost = [each for each in asked.rollout.devices if is_lost(each, policy, asked.now)]
    anew = replace(asked.rollout, began_at=asked.now, stage_since=asked.now)
    begun = moves.enter(anew, RolloutState.RUNNING, asked.why, asked.now)
    if not lost:
        return begun
    names = {device.device for device in lost}
    devices = tuple(_accepted(each, names, asked.now) for each in asked.rollout.devices)
    note = Note("acknowledged", listed(lost))
    return Step(
        replace(begun.rollout, devices=devices),
        (*begun.decisions, note, *moves.take_back(lost)),
    )


def _accepted(device: RolloutDevice, names: set[DeviceId], now: datetime) -> RolloutDevice:
    if device.device not in names:
        return device
    if device.state in IN_FLIGHT:
        device = moves.moved(device, DeviceState.SUSPECT, "silent when acknowledged", now)
    return replace(device, acknowledged=True)


def _approve(asked: Asked) -> Step:
    """Consent: by somebody else than the author, once each."""
    actor = asked.word.actor
    if actor == asked.rollout.author:
        raise Refused(
            f"{actor} started rollout {asked.rollout.id}, so somebody else must approve it"
        )
    if any(each.actor == actor for each in asked.rollout.approvals):
        raise Refused(f"{actor} has approved rollout {asked.rollout.id} already")
    given = (*asked.rollout.approvals, Approval(actor, asked.now, asked.word.reason))
    return Step(replace(asked.rollout, approvals=given), (Note("approve", asked.why),))


def _write_off(asked: Asked) -> Step:
    """Accept the loss of one device: its place is free, and it goes back when it is seen."""
    policy = asked.rollout.spec.gate
    named = [d for d in asked.rollout.devices if d.device == asked.word.device]
    if not named:
        raise Refused(f"{asked.word.device or 'no device'} is not in rollout {asked.rollout.id}")
    if not (is_lost(named[0], policy, asked.now) or named[0].awaits_retry):
        raise Refused(f"{named[0].device} is {named[0].state}: only a lost device is written off")
    names = {named[0].device}
    devices = tuple(_accepted(each, names, asked.now) for each in asked.rollout.devices)
    note = Note("write off", f"{named[0].device}: {asked.why}")
    return Step(replace(asked.rollout, devices=devices), (note, *moves.take_back(named)))


def _promote(asked: Asked) -> Step:
    seen = look(asked.rollout, asked.now)
    if seen.verdict is Verdict.FAIL:
        raise Refused(
            f"the gate fails: {seen.reason}", hint="pause and resume to acknowledge the failures"
        )
    beside = challengers(asked.rollout)
    if seen.running or not (
        beside or any(device.state is DeviceState.SERVING for device in asked.rollout.devices)
    ):
        raise Refused(f"stage {asked.rollout.stage + 1} is not ready: {seen.reason}")
    step = crown(seen, asked.why) if beside else go_on(seen, asked.why)
    return replace(step, decisions=(Note("promote", asked.why), *step.decisions))


_ALLOWED: Final[Mapping[Operation, tuple[frozenset[RolloutState], Act]]] = {
    Operation.PAUSE: (frozenset({RolloutState.RUNNING}), _pause),
    Operation.RESUME: (frozenset({RolloutState.PAUSED}), _resume),
    Operation.PROMOTE: (frozenset({RolloutState.RUNNING}), _promote),
    Operation.APPROVE: (frozenset({RolloutState.WAITING_APPROVAL}), _approve),
    Operation.WRITE_OFF: (_STOPPABLE, _write_off),
    Operation.ABORT: (_STOPPABLE | PENDING, _abort),
    Operation.REVERT: (_STOPPABLE, _revert),
}
