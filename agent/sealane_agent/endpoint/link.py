"""The supervisor's end of the control socket: commands out, answers in, matched by number.

Implements `endpoint.Endpoint`. The connection is made when it is needed and made again after it was
lost; whatever cannot be sent or answered raises ConnectionError.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from sealane_agent.errors import Failed
from sealane_agent.serving.control_codec import (
    LINE_BYTES,
    ControlError,
    EndpointStatus,
    decode_line,
    encode_command,
    read_endpoint,
    read_failure,
    read_offer,
    read_proved,
    read_status,
)
from sealane_agent.serving.messages import (
    Activate,
    Drop,
    GivesWay,
    Load,
    Mirror,
    Return,
    Settle,
    Status,
    Telemetry,
)
from sealane_agent.serving.types import LoadFailed

if TYPE_CHECKING:
    from pathlib import Path

    from sealane.failure import Failure

    from sealane_agent.layout import Pointer
    from sealane_agent.serving.messages import Command, Proved, SlotStatus

ANSWER_S: Final = 10.0
"""Every command but a load is answered at once; a load gets this beyond its deadline."""


class EndpointLink:
    """One connection to the endpoint of this state folder."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._writer: asyncio.StreamWriter | None = None
        self._listener: asyncio.Task[None] | None = None
        self._connecting = asyncio.Lock()
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._number = 0

    async def connect(self) -> None:
        """Connect unless connected; raises ConnectionError."""
        async with self._connecting:
            if self._writer is not None:
                return
            try:
                reader, writer = await asyncio.open_unix_connection(self._socket, limit=LINE_BYTES)
            except OSError as error:
                raise ConnectionError(f"no endpoint listens on {self._socket}") from error
            self._writer = writer
            self._listener = asyncio.create_task(self._listen(reader, writer), name="endpoint link")

    async def close(self) -> None:
        """Disconnect; loads that are not finished end with it."""
        if self._listener is not None:
            self._listener.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listener
        self._disconnect()

    async def status(self) -> tuple[SlotStatus, ...]:
        """Every slot as it serves."""
        return (await self.whole_status()).slots

    async def whole_status(self) -> EndpointStatus:
        """Every slot, and where the two doors listen."""
        return read_endpoint(await self._ask(Status()))

    async def load(self, load: Load) -> Proved:
        """Start a standby worker and prove it; raises LoadFailed."""
        return read_proved(await self._ask(load, load.deadline_s))

    async def restore(self, slot: str, pointer: Pointer, deadline_s: float) -> Proved:
        """Start a standby of what was kept before; raises LoadFailed."""
        way = GivesWay.SERVING
        return await self.load(Load(slot, pointer, deadline_s, gives_way=way, stand_in=True))

    async def activate(
        self, slot: str, worker: str, *, probation: bool, share: float = 1.0
    ) -> SlotStatus:
        """Send the slot's requests, or in probation a share of them, to this one; raises Failed."""
        return read_status(await self._ask(Activate(slot, worker, probation, share)))

    async def mirror(self, slot: str, worker: str) -> SlotStatus:
        """Give this standby copies of the slot's requests; raises Failed."""
        return read_status(await self._ask(Mirror(slot, worker)))

    async def settle(self, slot: str) -> SlotStatus:
        """End the probation; raises Failed."""
        return read_status(await self._ask(Settle(slot)))

    async def return_(self, slot: str) -> SlotStatus:
        """Send the slot's requests back to the previous worker; raises Failed."""
        return read_status(await self._ask(Return(slot)))

    async def drop(self, slot: str, worker: str) -> None:
        """Stop a standby worker; raises Failed."""
        await self._ask(Drop(slot, worker))

    async def telemetry(self, stored: str) -> tuple[str, bytes]:
        """Closed windows and their name, those after the ones of the name that was stored last.

        An endpoint of an earlier version hangs up on this: ask on a link of its own.
        """
        return read_offer(await self._ask(Telemetry(stored)))

    async def _ask(self, command: Command, takes_s: float = 0.0) -> dict[str, Any]:
        answer: dict[str, Any]
        try:
            async with asyncio.timeout(takes_s + ANSWER_S):
                answer = await self._exchange(command)
        except TimeoutError as error:
            self._disconnect()
            raise ConnectionError("the endpoint does not answer") from error
        if answer.get("ok") is True:
            return answer
        raise _error(command, read_failure(answer))

    async def _exchange(self, command: Command) -> dict[str, Any]:
        await self.connect()
        if self._writer is None:
            raise ConnectionError("the endpoint went away")
        self._number += 1
        number = self._number
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            self._writer.write(encode_command(number, command))
            return await future
        finally:
            self._waiting.pop(number, None)

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                self._hear(decode_line(line))
        except (OSError, ValueError, ControlError):
            pass
        finally:
            writer.close()
            if self._writer is writer:
                self._disconnect()

    def _hear(self, answer: dict[str, Any]) -> None:
        number = answer.get("id")
        future = self._waiting.get(number) if type(number) is int else None
        if future is not None and not future.done():
            future.set_result(answer)

    def _disconnect(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ConnectionError("the endpoint went away"))


def _error(command: Command, failure: Failure) -> LoadFailed | Failed:
    return LoadFailed(failure) if isinstance(command, Load) else Failed(failure)
