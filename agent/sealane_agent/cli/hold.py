"""`sealane-agent hold|holds|release`: not now, says somebody at the line."""

from __future__ import annotations

import getpass
import json
import re
import sys
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from sealane.errors import InvalidName, SealaneError

from sealane_agent.cli.configured import configured
from sealane_agent.cli.folder import add_state, state_folder
from sealane_agent.line.client import ask
from sealane_agent.zone import device_zone

if TYPE_CHECKING:
    import argparse
    from datetime import tzinfo

_LENGTH: Final = re.compile(r"([0-9]{1,6})(s|m|h|d)")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the three commands."""
    hold = subparsers.add_parser("hold", help="activate nothing on this device until a time")
    hold.add_argument("--reason", required=True, help="why, for everybody who waits")
    hold.add_argument(
        "--until", required=True, help="2h, 30m, or a local time: 22:00, 2026-11-27T06:00"
    )
    hold.add_argument("--slot", default="", help="this slot only (default: all)")
    hold.add_argument("--owner", default="", help="who (default: you)")
    hold.set_defaults(handler=_hold)
    holds = subparsers.add_parser("holds", help="show what holds releases back here")
    holds.set_defaults(handler=_holds)
    release = subparsers.add_parser("release", help="end a hold before its time")
    release.add_argument("id", help="as `hold` and `holds` show it")
    release.set_defaults(handler=_release)
    for parser in (hold, holds, release):
        add_state(parser)
        parser.add_argument("--json", action="store_true", help="print JSON")


def _hold(arguments: argparse.Namespace) -> int:
    zone = device_zone(str(configured(arguments)["clock.zone"]))
    now = datetime.now(zone)
    asked = {
        "slot": arguments.slot,
        "owner": arguments.owner or getpass.getuser(),
        "reason": arguments.reason,
        "seconds": until(arguments.until, now).total_seconds(),
    }
    answer = ask(state_folder(arguments).line_socket, {"hold": asked})
    late = ", ".join(answer.pop("too_late"))
    _print(arguments, answer | {"too_late": late}, [hold_line(answer, zone)])
    if late:
        sys.stderr.write(f"too late for {late}: a release is being activated there\n")
    return 0


def _holds(arguments: argparse.Namespace) -> int:
    zone = device_zone(str(configured(arguments)["clock.zone"]))
    answer = ask(state_folder(arguments).line_socket, {"holds": True})
    _print(arguments, answer, [hold_line(hold, zone) for hold in answer["holds"]])
    return 0


def _release(arguments: argparse.Namespace) -> int:
    answer = ask(state_folder(arguments).line_socket, {"release": arguments.id})
    if not answer["released"]:
        raise SealaneError(
            f"there is no hold {arguments.id[:40]!r}", hint="see `sealane-agent holds`"
        )
    _print(arguments, answer, [f"{arguments.id} is released"])
    return 0


def until(text: str, now: datetime) -> timedelta:
    """How long from now (aware, local); raises InvalidName."""
    if found := _LENGTH.fullmatch(text):
        return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])
    try:
        if "T" in text or len(text) > len("22:00"):
            end = datetime.fromisoformat(text)
            end = end if end.tzinfo else end.replace(tzinfo=now.tzinfo)
        else:
            hour = datetime.strptime(text, "%H:%M").time()  # noqa: DTZ007 - the zone follows
            end = datetime.combine(now.date(), hour, now.tzinfo)
            end = (
                end
                if end > now
                else datetime.combine(now.date() + timedelta(days=1), hour, now.tzinfo)
            )
    except ValueError as error:
        raise InvalidName(
            f"{text[:40]!r} is no time", hint="write 2h, 30m, 22:00 or 2026-11-27T06:00"
        ) from error
    return timedelta(seconds=end.timestamp() - now.timestamp())


def _print(arguments: argparse.Namespace, answer: dict[str, Any], lines: list[str]) -> None:
    text = json.dumps(answer, indent=2) if arguments.json else "\n".join(lines)
    if text:
        sys.stdout.write(f"{text}\n")


def hold_line(hold: dict[str, Any], zone: tzinfo) -> str:
    """One hold as people read it; its end to the nearest minute."""
    end = datetime.fromisoformat(hold["until"]) + timedelta(seconds=30)
    until_text = f"{end.astimezone(zone):%Y-%m-%d %H:%M}"
    where = hold["slot"] or "every slot"
    return f"{hold['id']}  {where} until {until_text}  {hold['owner']}: {hold['reason']}"
