"""Writes and reads the lines of the control socket. Pure; both ends use it.

A line that is not what it should be raises ControlError. Unknown fields are ignored, so that a
newer supervisor can talk to an older endpoint.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sealane.errors import SealaneError
from sealane.failure import Failure, FailureKind
from sealane.limits import MIB
from sealane.names import parse_slot

from sealane_agent.layout import Pointer
from sealane_agent.serving.messages import (
    Activate,
    Bar,
    Drop,
    GivesWay,
    Load,
    Mirror,
    Proved,
    Return,
    Settle,
    Shadowed,
    SlotStatus,
    Status,
    Telemetry,
    Traffic,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealane_agent.serving.messages import Command

LINE_BYTES: Final = MIB
"""One line: the status of a thousand slots."""

_OPERATIONS: Final[dict[str, type[Command]]] = {
    "load": Load,
    "activate": Activate,
    "mirror": Mirror,
    "settle": Settle,
    "return": Return,
    "drop": Drop,
    "status": Status,
    "telemetry": Telemetry,
}
_NAMES: Final = {kind: name for name, kind in _OPERATIONS.items()}

_Plain = TypeVar("_Plain", Proved, Traffic, Shadowed)
_Read = TypeVar("_Read")


class ControlError(SealaneError):
    """A line on the control socket is not in its form."""


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """Every slot, and where the two doors listen."""

    slots: tuple[SlotStatus, ...]
    rest: str
    grpc: str


def encode_command(number: int, command: Command) -> bytes:
    """One command as a line."""
    content = {item.name: getattr(command, item.name) for item in fields(command)}
    if isinstance(command, Load):
        content |= {"pointer": pointer_fields(command.pointer), "bar": asdict(command.bar)}
    return _line({"id": number, "op": _NAMES[type(command)], **content})


def decode_command(line: bytes) -> tuple[int, Command]:
    """A command and its number."""
    content = decode_line(line)
    number, kind = content.get("id"), _OPERATIONS.get(str(content.get("op")))
    if type(number) is not int or kind is None:
        raise ControlError("a command has a number and an operation that is known")
    try:
        return number, _command(kind, content)
    except (KeyError, TypeError, ValueError, SealaneError) as error:
        raise ControlError(f"the fields of {content['op']} are not as they should be") from error


def _command(kind: type[Command], content: dict[str, Any]) -> Command:
    if kind is Status:
        return Status()
    if kind is Telemetry:
        return Telemetry(str(content["stored"]))
    slot = parse_slot(content["slot"])
    if kind is Load:
        gives_way = GivesWay(content.get("gives_way", GivesWay.IDLE))
        pointer, deadline_s = _pointer(content["pointer"]), float(content["deadline_s"])
        kept = content.get("stand_in") is True
        load = Load(slot, pointer, deadline_s, gives_way=gives_way, stand_in=kept)
        return replace(load, bar=_bar(content["bar"])) if "bar" in content else load
    if kind is Activate:
        return Activate(slot, str(content["worker"]), content["probation"] is True, _share(content))
    if kind in {Drop, Mirror}:
        return kind(slot, str(content["worker"]))
    return Settle(slot) if kind is Settle else Return(slot)


def _bar(content: dict[str, Any]) -> Bar:
    latency_us, rows_per_s = content["latency_us"], float(content["rows_per_s"])
    if type(latency_us) is not int or latency_us < 0 or not rows_per_s >= 0:
        raise ValueError("what is to be beaten is not below 0")
    return Bar(latency_us, rows_per_s)


def _share(content: dict[str, Any]) -> float:
    """Of the requests; all of them for a supervisor that knows of no split."""
    share = float(content.get("share", 1.0))
    if not 0.0 < share <= 1.0:
        raise ValueError("a share of requests is above 0 and at most 1")
    return share


def encode_answer(number: int, content: dict[str, Any]) -> bytes:
    """What a command came to."""
    return _line({"id": number, "ok": True, **content})


def encode_failure(number: int, failure: Failure) -> bytes:
    """Why a command failed."""
    return _line({"id": number, "ok": False, "failure": asdict(failure)})


def decode_line(line: bytes) -> dict[str, Any]:
    """The object on a line."""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        raise ControlError("the line is not JSON") from None
    if not isinstance(content, dict):
        raise ControlError("the line is not a JSON object")
    return content


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"


def pointer_fields(pointer: Pointer | None) -> dict[str, str] | None:
    """A pointer as JSON fields."""
    if pointer is None:
        return None
    return {
        "release": str(pointer.release),
        "manifest": pointer.manifest,
        "variant": pointer.variant,
    }


def _pointer(content: dict[str, Any]) -> Pointer:
    return Pointer.decode(json.dumps(content).encode())


def proved_fields(proved: Proved) -> dict[str, Any]:
    """A proof as JSON fields."""
    return {"proved": asdict(proved)}


def status_fields(status: SlotStatus) -> dict[str, Any]:
    """One slot as JSON fields."""
    return asdict(status) | {
        "active": pointer_fields(status.active),
        "previous": pointer_fields(status.previous),
    }


def read_proved(content: dict[str, Any]) -> Proved:
    """The proof in an answer."""
    return _checked(lambda: _plain(Proved, content["proved"]))


def read_status(content: dict[str, Any]) -> SlotStatus:
    """The slot in an answer."""
    return _checked(lambda: _status(content["slot"]))


def read_endpoint(content: dict[str, Any]) -> EndpointStatus:
    """Every slot in an answer."""
    return _checked(
        lambda: EndpointStatus(
            tuple(_status(item) for item in content["slots"]),
            str(content["rest"]),
            str(content["grpc"]),
        )
    )


def offer_fields(name: str, body: bytes) -> dict[str, str]:
    """Windows under their name as JSON fields."""
    return {"name": name, "windows": b64encode(body).decode()}


def read_offer(content: dict[str, Any]) -> tuple[str, bytes]:
    """The name and the windows in an answer."""
    return _checked(lambda: (str(content["name"]), b64decode(content["windows"], validate=True)))


def read_failure(content: dict[str, Any]) -> Failure:
    """The failure in an answer."""
    return _checked(lambda: _failure(content["failure"]))


def _checked(read: Callable[[], _Read]) -> _Read:
    try:
        return read()
    except (KeyError, TypeError, ValueError, SealaneError) as error:
        raise ControlError("the endpoint's answer is not as it should be") from error


def _plain(kind: type[_Plain], content: dict[str, Any]) -> _Plain:
    """What came to it later may be missing in the words of an earlier version."""
    return kind(
        **{
            item.name: content[item.name]
            for item in fields(kind)
            if item.name in content or item.default is MISSING
        }
    )


def _status(content: dict[str, Any]) -> SlotStatus:
    active, previous, shadow = content["active"], content["previous"], content.get("shadow")
    return SlotStatus(
        slot=parse_slot(content["slot"]),
        active=_pointer(active) if active else None,
        active_worker=str(content["active_worker"]),
        previous=_pointer(previous) if previous else None,
        probation=content["probation"] is True,
        standby=tuple(content["standby"]),
        traffic=_plain(Traffic, content["traffic"]),
        previous_worker=_name(content.get("previous_worker")),
        shadow=_plain(Shadowed, shadow) if shadow else None,
        broke=str(content.get("broke", "")),
        gap_ms=int(content.get("gap_ms", 0)),
        degraded=str(content.get("degraded", "")),
    )


def _name(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _failure(content: dict[str, Any]) -> Failure:
    known = {item.name: str(content[item.name]) for item in fields(Failure)}
    return Failure(**{**known, "kind": FailureKind(known["kind"])})  # type: ignore[arg-type] # kind is replaced
