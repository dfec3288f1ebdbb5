"""The control socket: the supervisor of the same user says what to load, activate and drop.

Commands run side by side, so a long load delays no status; answers carry their command's number.
A supervisor that goes away takes its unfinished loads with it and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from typing import TYPE_CHECKING, Any

from sealane.errors import SealaneError
from sealane.failure import Failure, FailureKind
from sealane.fileio import PRIVATE_FILE, make_folder

from sealane_agent.serving.control_codec import (
    LINE_BYTES,
    ControlError,
    decode_command,
    encode_answer,
    encode_failure,
    offer_fields,
    proved_fields,
    status_fields,
)
from sealane_agent.serving.messages import (
    Activate,
    Drop,
    Load,
    Mirror,
    Return,
    Settle,
    Status,
    Telemetry,
)
from sealane_agent.serving.types import LoadFailed
from sealane_agent.serving.waiting import Offer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sealane_agent.serving.dataplane import Dataplane
    from sealane_agent.serving.messages import Command
    from sealane_agent.serving.recording import Recording

_CREDENTIALS = struct.Struct("3i")

_log = logging.getLogger(__name__)


class Control:
    """Executes commands on the dataplane; `addresses` says where the doors listen."""

    def __init__(
        self,
        dataplane: Dataplane,
        addresses: Callable[[], dict[str, str]],
        recording: Recording | None = None,
    ) -> None:
        self._dataplane = dataplane
        self._recording = recording
        self._addresses = addresses

    async def execute(self, command: Command) -> dict[str, Any]:
        """The fields of the answer; raises LoadFailed or a ServingError."""
        match command:
            case Load():
                return proved_fields(await self._dataplane.prove(command))
            case Status():
                slots = [status_fields(status) for status in self._dataplane.status()]
                return {"slots": slots, **self._addresses()}
            case Drop():
                self._dataplane.slot(command.slot).drop(command.worker)
                return {}
            case Telemetry():
                offer = await self._recording.offer(command.stored) if self._recording else Offer()
                return offer_fields(offer.name, offer.body)
            case _:
                return {"slot": status_fields(self._switch(command))}

    def _switch(self, command: Activate | Mirror | Settle | Return) -> Any:
        slot = self._dataplane.slot(command.slot)
        match command:
            case Activate():
                return slot.activate(
                    command.worker, probation=command.probation, share=command.share
                )
            case Mirror():
                return slot.mirror(command.worker)
            case Settle():
                return slot.settle()
            case Return():
                return slot.go_back()


class ControlServer:
    """Listens on the unix socket."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._sessions: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def listen(self, path: Path) -> None:
        """Begin; a socket left by an endpoint that is gone is replaced. Raises OSError."""
        listener = bind(path, PRIVATE_FILE)
        self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=LINE_BYTES)

    async def close(self) -> None:
        """End every session."""
        if self._server is not None:
            self._server.close()
        for session in tuple(self._sessions):
            session.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = asyncio.current_task()
        assert session is not None  # noqa: S101 - a coroutine of a stream server runs in a task
        self._sessions.add(session)
        try:
            if _same_user(writer.get_extra_info("socket")):
                await self._talk(reader, writer)
        except asyncio.CancelledError:
            _log.debug("the control session was ended")
        finally:
            self._sessions.discard(session)
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running: set[asyncio.Task[None]] = set()
        try:
            while line := await reader.readline():
                number, command = decode_command(line)
                task = asyncio.create_task(self._run(number, command, writer))
                running.add(task)
                task.add_done_callback(running.discard)
        except (ControlError, ValueError, ConnectionError) as error:
            _log.warning("the control session was ended: %s", error)
        finally:
            for task in running:
                task.cancel()

    async def _run(self, number: int, command: Command, writer: asyncio.StreamWriter) -> None:
        try:
            answer = encode_answer(number, await self._control.execute(command))
        except LoadFailed as error:
            answer = encode_failure(number, error.failure)
        except SealaneError as error:
            answer = encode_failure(number, _failure(command, error))
        except Exception as error:  # noqa: BLE001 - the supervisor hears of whatever went wrong
            _log.exception("a command ended in an error of ours")
            answer = encode_failure(number, _failure(command, error))
        writer.write(answer)


def bind(path: Path, rights: int) -> socket.socket:
    """A socket that nobody else can even open: it is born with these rights only."""
    make_folder(path.parent)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o777 & ~rights)
    try:
        listener.bind(os.fspath(path))
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(before)
    return listener


def _same_user(connection: socket.socket) -> bool:
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(raw)
    if user != os.getuid():
        _log.warning("user %d may not command this endpoint", user)
    return bool(user == os.getuid())


def _failure(command: Command, error: Exception) -> Failure:
    return Failure(
        FailureKind.TRANSIENT,
        phase="staged" if isinstance(command, Load) else "activating",
        component="endpoint",
        element=getattr(command, "worker", "") or getattr(command, "slot", ""),
        message=str(error) or type(error).__name__,
        hint=error.hint if isinstance(error, SealaneError) else "see the endpoint's log",
    )
