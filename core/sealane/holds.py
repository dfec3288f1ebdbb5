"""Holds: somebody's "not now", with an owner, a reason and an end. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sealane.errors import InvalidName

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

OWNER_CHARS: Final = 64
REASON_CHARS: Final = 200
LONGEST: Final = timedelta(days=14)
"""A hold that nobody ends, ends itself before a waiting release gives up."""

HOLDS_ORDERED: Final = 64
"""Holds of the manager that one device keeps: those that last longest, when there are more."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Somebody's "not now": nothing is activated until it ends.

    Attributes:
        id: names it, to end it early.
        slot: where; empty means everywhere on the device.
        until: trusted time.
    """

    id: str
    slot: str
    owner: str
    reason: str
    until: datetime


def parse_words(text: object, name: str, most: int) -> str:
    """The owner or the reason of a hold; raises InvalidName."""
    if not isinstance(text, str) or not text.strip() or not text.isprintable() or len(text) > most:
        raise InvalidName(f"it needs its {name}: 1 to {most} printable characters")
    return text


def check_length(length: timedelta) -> None:
    """Raise InvalidName when nobody may hold for so long from now on."""
    if not timedelta(0) < length <= LONGEST:
        raise InvalidName(f"a hold ends later than now, and within {LONGEST.days} days")


def concerning(holds: Iterable[Hold], slot: str) -> tuple[Hold, ...]:
    """Those that hold this slot."""
    return tuple(hold for hold in holds if hold.slot in ("", slot))
