"""Decides what a new-rollout form asks for, and how its plan looks before it starts. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealane.errors import InvalidName
from sealane.names import ReleaseName, parse_slot

from sealane_manager.dashboard import terms
from sealane_manager.rollout.notation import parse_span
from sealane_manager.rollout.placement import parse_stages, stage_text
from sealane_manager.rollout.types import GatePolicy, OnFailure, RolloutSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sealane_manager.rollout.types import Rollout, RolloutDevice

DEFAULTS: Final[Mapping[str, str]] = {
    "release": "",
    "slot": "",
    "selector": "",
    "stages": "1, 5%, 25%, 100%",
    "soak": "10m",
    "max_failed": "0",
    "max_failed_percent": "0",
    "min_requests": "0",
    "silent_after": "15m",
    "by_evidence": "no",
    "on_failure": "revert",
    **terms.DEFAULTS,
}
"""The fields of the form, as they are written when nothing was chosen."""

NAMED: Final = 24
"""Devices of one stage that the plan names."""

_ID: Final = re.compile(r"r-[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """One stage of a plan: the devices that join in it.

    Attributes:
        reach: devices that have the release when it is over.
    """

    text: str
    devices: tuple[RolloutDevice, ...]
    reach: int

    @property
    def named(self) -> tuple[RolloutDevice, ...]:
        """The first of them."""
        return self.devices[:NAMED]

    @property
    def unreachable(self) -> int:
        """Those that hold no session now: they get their turn when they are back."""
        return sum(not device.reachable for device in self.devices)


def spec_of(fields: Mapping[str, str]) -> RolloutSpec:
    """What the form asks for; raises InvalidName that says which field is wrong."""
    gate = GatePolicy(
        max_failed=terms.count(fields, "max_failed", terms.MAX_COUNT),
        max_failed_percent=terms.count(fields, "max_failed_percent", 100),
        silent_after=parse_span(fields["silent_after"]),
        min_requests=terms.count(fields, "min_requests", terms.MAX_COUNT),
        by_evidence=fields["by_evidence"] == "yes",
    )
    return RolloutSpec(
        release=ReleaseName.parse(fields["release"]),
        slot=parse_slot(fields["slot"]),
        selector=fields["selector"],
        stages=parse_stages(fields["stages"]),
        soak=parse_span(fields["soak"]),
        gate=gate,
        on_failure=_on_failure(fields["on_failure"]),
        terms=terms.terms_of(fields),
    )


def parse_id(text: str) -> str:
    """The id that a preview gave; raises InvalidName."""
    if not _ID.fullmatch(text):
        raise InvalidName("the plan has no id", hint="preview it again")
    return text


def _on_failure(text: str) -> OnFailure:
    try:
        return OnFailure(text)
    except ValueError as error:
        raise InvalidName(f"{text[:40]!r} is none of {', '.join(OnFailure)}") from error


def stages_of(rollout: Rollout) -> tuple[PlannedStage, ...]:
    """The plan of a rollout that has not begun."""
    planned, reach = [], 0
    for index, stage in enumerate(rollout.spec.stages):
        devices = tuple(device for device in rollout.devices if device.stage == index)
        reach += len(devices)
        planned.append(PlannedStage(stage_text(stage), devices, reach))
    return tuple(planned)
