"""Decides what an order of hold may say, and for which devices it holds. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealane.errors import InvalidName
from sealane.holds import (
    HOLDS_ORDERED,
    OWNER_CHARS,
    REASON_CHARS,
    Hold,
    check_length,
    parse_words,
)
from sealane.names import parse_device, parse_slot

from sealane_manager.selector import DEVICE, matches, one, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

MAX_HOLDS: Final = 512
"""Holds that last in one fleet: more than one for each line of the largest plants."""

_SIGNS: Final = frozenset("=!(, ")


@dataclass(frozen=True, slots=True)
class HoldOrder:
    """A hold, for the devices that a selector means, now and later.

    Attributes:
        hold: as each of them keeps it.
        placed_at: when it was ordered.
    """

    hold: Hold
    selector: str
    placed_at: datetime


@dataclass(frozen=True, slots=True)
class Placed:
    """An order of hold that is kept.

    Attributes:
        devices: how many it means now.
        slot_unknown: none of them has the slot that it names, so far.
    """

    order: HoldOrder
    devices: int
    slot_unknown: bool


@dataclass(frozen=True, slots=True)
class HoldWish:
    """What somebody asks for: whom to hold back (a device or a selector), until when, and why."""

    target: str
    slot: str
    until: datetime
    reason: str


def meant(target: str) -> str:
    """The selector that a device's name or a selector means; raises InvalidName."""
    text = target.strip()
    if not text:
        hint = f"name one, or all: {DEVICE}"
        raise InvalidName("a hold is for a device or a selector", hint=hint)
    if text != DEVICE and _SIGNS.isdisjoint(text):
        return one(parse_device(text))
    parse(text)
    return text


def ordered(wish: HoldWish, owner: str, name: str, now: datetime) -> HoldOrder:
    """The order that follows from what somebody asks for; raises InvalidName."""
    selector = meant(wish.target)
    check_length(wish.until - now)
    hold = Hold(
        id=name,
        slot=parse_slot(wish.slot) if wish.slot else "",
        owner=parse_words(owner[:OWNER_CHARS], "owner", OWNER_CHARS),
        reason=parse_words(wish.reason, "reason", REASON_CHARS),
        until=wish.until.replace(microsecond=0),
    )
    return HoldOrder(hold, selector, now)


def concerning(
    orders: Iterable[HoldOrder], labels: Mapping[str, str], device: str, now: datetime
) -> tuple[HoldOrder, ...]:
    """Those that hold a device back now, the last to end first; as many as it keeps."""
    found = [
        each
        for each in orders
        if now < each.hold.until and matches(parse(each.selector), labels, device)
    ]
    found.sort(key=lambda each: (each.hold.until, each.hold.id), reverse=True)
    return tuple(found[:HOLDS_ORDERED])
