"""The manager's half of one open session: writes in order, and hangs up with a reason."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import grpc
from sealane import codec
from sealane.fleet import DesiredChanged

from sealane_manager.sessions import Ending

if TYPE_CHECKING:
    from sealane.fleet import ManagerMessage

STATUS: Final = {
    Ending.REPLACED: grpc.StatusCode.ABORTED,
    Ending.REVOKED: grpc.StatusCode.PERMISSION_DENIED,
    Ending.QUARANTINED: grpc.StatusCode.PERMISSION_DENIED,
    Ending.EXPIRED: grpc.StatusCode.UNAUTHENTICATED,
    Ending.SILENT: grpc.StatusCode.DEADLINE_EXCEEDED,
    Ending.STOPPING: grpc.StatusCode.UNAVAILABLE,
}


class SessionLine:
    """Made inside the handler of one Session call, whose task it may end.

    Only the newest generation waits to be told, so that a device that does not read costs nothing.
    """

    def __init__(self, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._call = asyncio.current_task()
        self._writing = asyncio.Lock()
        self._generation: int | None = None
        self._telling: asyncio.Task[None] | None = None
        self.ending: Ending | None = None

    async def say(self, message: ManagerMessage) -> None:
        """Write one message after those that are being written."""
        async with self._writing:
            await self._context.write(codec.manager_message_to_wire(message))

    def changed(self, generation: int) -> None:
        """Tell the device of a new generation; from any thread."""
        self._loop.call_soon_threadsafe(self._changed, generation)

    def hang_up(self, ending: Ending) -> None:
        """End the session; from any thread."""
        self._loop.call_soon_threadsafe(self._hang_up, ending)

    def _changed(self, generation: int) -> None:
        self._generation = max(generation, self._generation or 0)
        if self._telling is None:
            self._telling = self._loop.create_task(self._tell())

    async def _tell(self) -> None:
        try:
            while self._generation is not None:
                generation, self._generation = self._generation, None
                await self.say(DesiredChanged(generation))
        except (grpc.aio.BaseError, asyncio.InvalidStateError):
            return  # the device has gone; its next session asks anyway
        finally:
            self._telling = None

    def _hang_up(self, ending: Ending) -> None:
        if self.ending is None and self._call is not None:
            self.ending = ending
            self._call.cancel()

    def closed(self) -> None:
        """The call has ended: nothing is written any more."""
        if self._telling:
            self._telling.cancel()
        if self.ending is None:
            self.ending = Ending.STOPPING
