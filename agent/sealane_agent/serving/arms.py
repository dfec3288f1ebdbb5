"""Tells the recorder which series the requests of a slot's places count in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealane.names import SlotName
from sealane.telemetry.types import Arm

if TYPE_CHECKING:
    from sealane_agent.serving.place import Place
    from sealane_agent.serving.recorder import Recorder

_WHOLE: Final = ((Arm.ACTIVE, Arm.ACTIVE), (Arm.PREVIOUS, Arm.PREVIOUS))
_SPLIT: Final = ((Arm.CANDIDATE, Arm.PREVIOUS), (Arm.ACTIVE, Arm.PREVIOUS))
"""The arms of the active place and of the previous one: for their own requests, and for others'."""


def record_arms(
    recorder: Recorder | None,
    slot: str,
    places: tuple[Place | None, Place | None],
    *,
    split: bool,
) -> None:
    """Let the active place and the previous one count from now on as they serve now."""
    if split and recorder is not None:
        # What came before the split may not be counted beside what chance decided.
        recorder.close()
    for place, (arm, helping) in zip(places, _SPLIT if split else _WHOLE, strict=True):
        if place is None:
            continue
        place.told_arm = arm if split else None
        if recorder is not None:
            name, pointer = SlotName(slot), place.pointer
            place.record_in(
                recorder.series(name, pointer, arm), recorder.series(name, pointer, helping)
            )
