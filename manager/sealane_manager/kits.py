"""What an operator asks of a kit, and decides until when one may be good. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sealane_manager.errors import Refused
from sealane_manager.rollout.notation import span_text

if TYPE_CHECKING:
    from datetime import datetime

    from sealane.names import DeviceId, ReleaseName, SlotName

SHORTEST: Final = timedelta(hours=1)
"""A kit that ends sooner would not be carried anywhere."""


@dataclass(frozen=True, slots=True)
class KitRequest:
    """What a kit shall bring, and where.

    Attributes:
        devices: their names; or else `selector` picks them.
        valid: so long, and not less; None: as long as its metadata.
    """

    release: ReleaseName
    slot: SlotName
    devices: tuple[DeviceId, ...]
    selector: str
    valid: timedelta | None


@dataclass(frozen=True, slots=True)
class Bound:
    """The role whose metadata ends first, and when."""

    role: str
    until: datetime


def good_until(valid: timedelta | None, bound: Bound, now: datetime) -> datetime:
    """When a kit made now ends; raises Refused when it cannot be good for as long as that.

    Whoever is asked for thirty days plans with thirty: to be told less only at the device is late.
    """
    begins, ends = now.replace(microsecond=0), bound.until.replace(microsecond=0)
    limit = f"the repository's {bound.role} ends at {ends:%Y-%m-%d %H:%M} UTC"
    if ends < begins + SHORTEST:
        hint = "sign the repository's metadata anew first"
        raise Refused(f"a kit made now would be good for less than an hour: {limit}", hint=hint)
    if valid is None:
        return ends
    if valid < SHORTEST:
        raise Refused(f"a kit is good for at least {span_text(SHORTEST)}")
    if ends - begins < valid:
        most = span_text(timedelta(hours=(ends - begins) // timedelta(hours=1)))
        raise Refused(
            f"a kit made now is good for at most {most}, not for {span_text(valid)}: {limit}",
            hint="import it by then: what a device serves by that time, it goes on serving",
        )
    return begins + valid
