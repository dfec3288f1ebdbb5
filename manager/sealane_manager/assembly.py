"""Puts a rollout together again from the parts in which a manager tells it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sealane.names import DeviceId

    from sealane_manager.views import DecisionView, RolloutDeviceView, RolloutView


@dataclass(slots=True)
class Assembly:
    """What was told so far: each device as it was told last, and every line of the log."""

    _standing: RolloutView | None = None
    _devices: dict[DeviceId, RolloutDeviceView] = field(default_factory=dict)
    _decisions: list[DecisionView] = field(default_factory=list)

    def add(self, part: RolloutView) -> None:
        """The next part."""
        if part.counts:  # others go on where it ended
            self._standing = replace(part, devices=(), decisions=())
        self._devices.update((each.device, each) for each in part.devices)
        self._decisions += part.decisions

    @property
    def view(self) -> RolloutView:
        """The rollout with all of it; raises LookupError before the first part."""
        if self._standing is None:
            raise LookupError("no part was added")
        return replace(
            self._standing,
            devices=tuple(self._devices.values()),
            decisions=tuple(self._decisions),
        )
