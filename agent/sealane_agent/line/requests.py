"""Reads what the line's own software asks: holds, one JSON object a line. Pure.

{"hold": {"slot": "cam", "owner": "press 7", "reason": "batch 12", "seconds": 3600}}
{"keep": {…}}         the same, but it ends with the connection that asked for it
{"release": "ID"}
{"holds": true}
{"roll_back": {"slot": "cam", "owner": "press 7", "reason": "it misses scratches"}}
{"health": true}      what only the running supervisor knows, for its doctor
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sealane.errors import InvalidName
from sealane.names import parse_slot

from sealane_agent.slot.state import Hold, RollBack

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from typing import Any

    from sealane.names import SlotName

REQUEST_BYTES: Final = 4096
OWNER_CHARS: Final = 64
REASON_CHARS: Final = 200
LONGEST: Final = timedelta(days=14)
"""A hold that nobody ends, ends itself before a waiting release gives up."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A hold that somebody wants; `lives` with the connection when it is kept, not durable."""

    slot: str
    owner: str
    reason: str
    length: timedelta
    kept: bool = False

    def hold(self, name: str, now: datetime) -> Hold:
        """The same from now on."""
        return Hold(name, self.slot, self.owner, self.reason, now + self.length)


@dataclass(frozen=True, slots=True)
class Release:
    """End a hold."""

    id: str


@dataclass(frozen=True, slots=True)
class Show:
    """Say which holds there are."""


@dataclass(frozen=True, slots=True)
class Health:
    """Say what only the running supervisor knows."""


@dataclass(frozen=True, slots=True)
class GoBack:
    """Let a slot go back to the release before."""

    slot: SlotName
    order: RollBack


Request = Ask | Release | Show | Health | GoBack


def parse_request(line: bytes) -> Request:
    """Read one line; raises InvalidName."""
    try:
        fields: dict[str, Any] = json.loads(line)
        match fields:
            case {"hold": dict(asked)}:
                return ask(asked)
            case {"keep": dict(asked)}:
                return ask(asked, kept=True)
            case {"release": str(name)}:
                return Release(name)
            case {"holds": True}:
                return Show()
            case {"roll_back": dict(asked)}:
                return _go_back(asked)
            case {"health": True}:
                return Health()
    except (ValueError, RecursionError) as error:
        raise InvalidName(f"this is no JSON object: {line[:40]!r}") from error
    raise InvalidName(
        "this asks for nothing that the agent knows",
        hint='ask one of {"hold": …}, {"keep": …}, {"release": "ID"}, {"holds": true}',
    )


def ask(fields: Mapping[str, Any], *, kept: bool = False) -> Ask:
    """Check what is asked for; raises InvalidName."""
    seconds = fields.get("seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise InvalidName("a hold has an end", hint='say after how many "seconds" it ends')
    if not 0 < seconds <= LONGEST.total_seconds():
        raise InvalidName(f"a hold lasts at most {LONGEST.days} days, not {seconds:g} s")
    slot = fields.get("slot", "")
    if not isinstance(slot, str):
        raise InvalidName("a slot is a name")
    return Ask(
        slot=parse_slot(slot) if slot else "",
        owner=_text(fields, "owner", OWNER_CHARS),
        reason=_text(fields, "reason", REASON_CHARS),
        length=timedelta(seconds=seconds),
        kept=kept,
    )


def _go_back(fields: Mapping[str, Any]) -> GoBack:
    slot = fields.get("slot")
    if not isinstance(slot, str):
        raise InvalidName("a slot is a name", hint='name it: "slot"')
    order = RollBack(_text(fields, "owner", OWNER_CHARS), _text(fields, "reason", REASON_CHARS))
    return GoBack(parse_slot(slot), order)


def concerning(holds: Iterable[Hold], slot: str) -> tuple[Hold, ...]:
    """Those that hold this slot."""
    return tuple(hold for hold in holds if hold.slot in ("", slot))


def to_json(hold: Hold) -> dict[str, str]:
    """A hold, for whoever asks."""
    return {
        "id": hold.id,
        "slot": hold.slot,
        "owner": hold.owner,
        "reason": hold.reason,
        "until": hold.until.isoformat(),
    }


def _text(fields: Mapping[str, Any], name: str, most: int) -> str:
    text = fields.get(name)
    if not isinstance(text, str) or not text.strip() or not text.isprintable() or len(text) > most:
        raise InvalidName(f"it needs its {name}: 1 to {most} printable characters")
    return text
