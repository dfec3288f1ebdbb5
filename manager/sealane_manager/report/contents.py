"""Decides what stands in the report of a rollout: timeline, judgements, stages, devices. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealane_manager.gate.explain import explained
from sealane_manager.gate.record import digest
from sealane_manager.rollout.types import BROKEN, DeviceState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime, timedelta

    from sealane_manager.gate.explain import Line
    from sealane_manager.store.records import JudgementRecord
    from sealane_manager.views import DecisionView, RolloutDeviceView, RolloutView

MOST_DEVICES: Final = 1000
"""Devices that a report names one by one; those in trouble come first."""

JUDGE: Final = "judge"
_TROUBLE: Final = BROKEN | {DeviceState.SUSPECT, DeviceState.SKIPPED}

_MEANINGS: Final[Mapping[str, str]] = {
    "start": "asked for it",
    "grant": "gave these devices their place, with the permission to activate",
    "take back": "gave these devices back what they had before",
    "mark": "concluded this of devices itself",
    "judge": "the gate said",
    "soak": "every place of the stage is taken; it is watched",
    "evaluate": "the soak is over; it passes as soon as the gate lets it",
    "dispatch": "the next stage begins",
    "receipt": "a device proved with its signature what serves there",
    "pause": "stopped giving places",
    "resume": "went on, and accepted the failures seen so far",
    "promote": "ended the soak by hand",
    "approve": "agreed",
    "write_off": "gave up a lost device",
    "join": "these devices matched later and joined",
    "running": "it began to run",
    "succeeded": "every stage passed",
    "aborted": "it ended; who serves the release keeps it",
    "reverting": "every device that was given the release goes back",
    "reverted": "the devices are back",
    "superseded": "another rollout took over",
    "failed": "no device was left to prove the release",
    "unconfirmed": "these have not said yet that they are back",
}
"""What an action of the log means, for who does not know Sealane."""

_OF_DEVICES: Final[Mapping[str, str]] = {
    "failed": "nothing changed there",
    "rolled_back": "the previous release answers there",
    "serving": "its receipt is here",
}
"""The same of what a device came to."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of the timeline.

    Attributes:
        meaning: what such an action is.
        judgement: number of the judgement that it rests on, from 1; 0 without one.
    """

    at: datetime
    actor: str
    action: str
    meaning: str
    detail: str
    judgement: int = 0


@dataclass(frozen=True, slots=True)
class Judged:
    """What the gate said once, with what each check found; `digest` names it in the audit log."""

    number: int
    at: datetime
    stage: int
    verdict: str
    reason: str
    digest: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class StageLine:
    """One stage and what became of its devices, the most frequent first."""

    number: int
    text: str
    devices: int
    states: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All of it.

    Attributes:
        took: from its start to its end; None while it is not over.
        more: devices that are not named.
    """

    rollout: RolloutView
    author: str
    took: timedelta | None
    timeline: tuple[Moment, ...]
    judgements: tuple[Judged, ...]
    stages: tuple[StageLine, ...]
    devices: tuple[RolloutDeviceView, ...]
    more: int


def report(rollout: RolloutView, judgements: Sequence[JudgementRecord]) -> Report:
    """What stands in the report."""
    named = sorted(rollout.devices, key=lambda each: (each.state not in _TROUBLE, each.stage))
    return Report(
        rollout=rollout,
        author=next((each.actor for each in rollout.decisions if each.action == "start"), ""),
        took=rollout.ended_at - rollout.created_at if rollout.ended_at else None,
        timeline=tuple(_timeline(rollout.decisions)),
        judgements=tuple(_judged(number, each) for number, each in enumerate(judgements, 1)),
        stages=tuple(_stages(rollout)),
        devices=tuple(named[:MOST_DEVICES]),
        more=max(0, len(named) - MOST_DEVICES),
    )


def _timeline(decisions: Iterable[DecisionView]) -> Iterator[Moment]:
    """The log in order; a judgement stands before the step that rests on it."""
    judged = 0
    for each in decisions:
        judged += each.action == JUDGE
        number = judged if each.action == JUDGE else 0
        of_device = each.actor.startswith("device ") and each.action in _OF_DEVICES
        meaning = (_OF_DEVICES if of_device else _MEANINGS).get(each.action, "")
        yield Moment(each.at, each.actor, each.action, meaning, each.detail, number)


def _judged(number: int, each: JudgementRecord) -> Judged:
    return Judged(
        number,
        each.at,
        each.stage,
        each.verdict,
        each.reason,
        digest(each.inputs),
        explained(each.inputs),
    )


def _stages(rollout: RolloutView) -> Iterator[StageLine]:
    for index, text in enumerate(rollout.stages):
        states = Counter(str(each.state) for each in rollout.devices if each.stage == index)
        yield StageLine(index + 1, text, states.total(), tuple(states.most_common()))
