"""Answers the line's own software on a unix socket: one JSON object a line, one answer each."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from sealane.errors import SealaneError

from sealane_agent.line.requests import (
    REQUEST_BYTES,
    Ask,
    GoBack,
    Health,
    ImportKit,
    Release,
    parse_request,
    to_json,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from sealane.names import SlotName

    from sealane_agent.line.holds import Holds
    from sealane_agent.line.requests import Request
    from sealane_agent.log import Log
    from sealane_agent.slot.state import RollBack

MAX_CONNECTIONS: Final = 64
_MODE: Final = 0o660


class Slots(Protocol):
    """The supervisor, as it is seen from the line."""

    def activating(self) -> tuple[str, ...]:
        """The slots that a hold comes too late for."""
        ...

    def look(self) -> None:
        """A hold has begun or ended."""
        ...

    async def roll_back(self, slot: SlotName, order: RollBack) -> Mapping[str, str]:
        """Let a slot go back; raises Refused."""
        ...

    async def import_kit(self) -> Mapping[str, str]:
        """Take up the kit on the shelf; raises Refused."""
        ...

    def health(self) -> Mapping[str, Any]:
        """What only it knows."""
        ...


class Door:
    """Listens until cancelled."""

    def __init__(self, holds: Holds, slots: Slots, log: Log) -> None:
        self._holds, self._slots, self._log = holds, slots, log
        self._open = 0

    async def run(self, path: Path) -> None:
        """Serve on this socket; a disk that does not let it be made is tried again."""
        while True:
            with suppress(OSError):
                await self._serve(path)
            await asyncio.sleep(_AGAIN_S)

    async def _serve(self, path: Path) -> None:
        door = await asyncio.to_thread(_listening, path)
        server = await asyncio.start_unix_server(self._greet, sock=door, limit=REQUEST_BYTES)
        async with server:
            await server.serve_forever()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kept: set[str] = set()
        self._open += 1
        try:
            if self._open > MAX_CONNECTIONS:
                _say(writer, {"error": "too many connections", "hint": "close one of them"})
                return
            while line := await reader.readline():
                _say(writer, await self._answer(line, kept))
                await writer.drain()
        except ValueError:
            _say(writer, {"error": f"a request has at most {REQUEST_BYTES} bytes", "hint": ""})
        except (ConnectionError, asyncio.CancelledError):
            pass  # gone, or the supervisor ends: the connection does too
        finally:
            self._open -= 1
            await self._forget(kept)
            writer.close()

    async def _forget(self, kept: set[str]) -> None:
        for name in kept:
            await asyncio.to_thread(self._holds.end, name)
            self._log("hold ended", hold=name, reason="its holder is gone")
        if kept:
            self._slots.look()

    async def _answer(self, line: bytes, kept: set[str]) -> dict[str, Any]:
        try:
            return await self._do(parse_request(line), kept)
        except (SealaneError, OSError) as error:
            return {"error": str(error), "hint": getattr(error, "hint", "")}

    async def _do(self, request: Request, kept: set[str]) -> dict[str, Any]:
        match request:
            case Ask():
                hold = await asyncio.to_thread(self._holds.add, request)
                if request.kept:
                    kept.add(hold.id)
                self._log("held", **to_json(hold), kept=request.kept or "")
                self._slots.look()
                return {**to_json(hold), "too_late": self._too_late(hold.slot)}
            case Release(name):
                ended = await asyncio.to_thread(self._holds.end, name)
                kept.discard(name)
                self._log("hold ended", hold=name)
                self._slots.look()
                return {"released": ended}
            case GoBack(slot, order):
                return {**await self._slots.roll_back(slot, order)}
            case ImportKit():
                return {"slots": {**await self._slots.import_kit()}}
            case Health():
                return {**self._slots.health()}
        return {"holds": [to_json(hold) for hold in self._holds.all()]}

    def _too_late(self, slot: str) -> list[str]:
        return [each for each in self._slots.activating() if slot in ("", each)]


def _listening(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    door = socket.socket(socket.AF_UNIX)
    door.bind(os.fspath(path))
    path.chmod(_MODE)
    return door


def _say(writer: asyncio.StreamWriter, answer: dict[str, Any]) -> None:
    writer.write(json.dumps(answer).encode() + b"\n")


_AGAIN_S: Final = 5.0
