"""What an operator asks of a kit. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import timedelta

    from sealane.names import DeviceId, ReleaseName, SlotName


@dataclass(frozen=True, slots=True)
class KitRequest:
    """What a kit shall bring, and where.

    Attributes:
        devices: their names; or else `selector` picks them.
        valid: at most so long.
    """

    release: ReleaseName
    slot: SlotName
    devices: tuple[DeviceId, ...]
    selector: str
    valid: timedelta
