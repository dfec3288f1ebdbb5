"""Reads what the line's own software asks: holds, one JSON object a line. Pure.

{"hold": {"slot": "cam", "owner": "press 7", "reason": "batch 12", "seconds": 3600}}
{"keep": {…}}         the same, but it ends with the connection that asked for it
{"release": "ID"}
{"holds": true}
{"roll_back": {"slot": "cam", "owner": "press 7", "reason": "it misses scratches"}}
{"import_kit": true}  take up the kit that `sealane-agent import` has put on the shelf
{"health": true}      what only the running supervisor knows, for its doctor
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sealane.errors import InvalidName
from sealane.holds import OWNER_CHARS, REASON_CHARS, Hold, check_length, parse_words
from sealane.names import parse_slot

from sealane_agent.slot.state import RollBack

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from typing import Any

    from sealane.names import SlotName

REQUEST_BYTES: Final = 4096

_CENTURY_S: Final = 3.2e9
"""More than anybody may ask for, and less than a duration can hold."""


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


@dataclass(frozen=True, slots=True)
class ImportKit:
    """Take up the kit on the shelf."""


Request = Ask | Release | Show | Health | GoBack | ImportKit


def parse_request(line: bytes) -> Request:  # noqa: PLR0911 - the table of requests
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
            case {"import_kit": True}:
                return ImportKit()
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
    length = timedelta(seconds=min(max(seconds, 0), _CENTURY_S))
    check_length(length)
    slot = fields.get("slot", "")
    if not isinstance(slot, str):
        raise InvalidName("a slot is a name")
    return Ask(
        slot=parse_slot(slot) if slot else "",
        owner=parse_words(fields.get("owner"), "owner", OWNER_CHARS),
        reason=parse_words(fields.get("reason"), "reason", REASON_CHARS),
        length=length,
        kept=kept,
    )


def _go_back(fields: Mapping[str, Any]) -> GoBack:
    slot = fields.get("slot")
    if not isinstance(slot, str):
        raise InvalidName("a slot is a name", hint='name it: "slot"')
    owner = parse_words(fields.get("owner"), "owner", OWNER_CHARS)
    reason = parse_words(fields.get("reason"), "reason", REASON_CHARS)
    return GoBack(parse_slot(slot), RollBack(owner, reason))


def to_json(hold: Hold) -> dict[str, str]:
    """A hold, for whoever asks."""
    return {
        "id": hold.id,
        "slot": hold.slot,
        "owner": hold.owner,
        "reason": hold.reason,
        "until": hold.until.isoformat(),
    }
