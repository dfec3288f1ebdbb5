"""Conversations without a stream: each call brings what a device says, and takes the answers.

Between two calls a device counts as in session for as long as a silent stream would. What the
manager wants to say meanwhile waits for the next call.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import grpc
from sealane import codec
from sealane.errors import SealaneError
from sealane.fleet import DesiredChanged, Hello
from sealane.names import parse_device

from sealane_manager.rpc.answers import end_call
from sealane_manager.rpc.conversation import Conversation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sealane.fleet import DeviceMessage, ManagerMessage
    from sealane.names import DeviceId
    from sealane.wire.v1 import fleet_pb2 as wire

    from sealane_manager.rpc.peers import Caller
    from sealane_manager.rpc.reception import Reception
    from sealane_manager.sessions import Ending

    Context = grpc.aio.ServicerContext[Any, Any]

MESSAGES: Final = 64
"""Of one call; a device says a quarter of it at once."""

UNKNOWN: Final = "this conversation is not known here: begin again with Hello"


class Polls:
    """The conversations of the devices that poll; lives on the loop of the server."""

    def __init__(self, reception: Reception) -> None:
        self._reception = reception
        self._open: dict[DeviceId, _Polled] = {}

    async def answer(
        self, request: wire.PollRequest, context: Context
    ) -> tuple[ManagerMessage, ...]:
        """The answers to one call; raises NotAllowed or SealaneError."""
        if len(request.said) > MESSAGES:
            raise SealaneError(f"one poll says at most {MESSAGES} things, not {len(request.said)}")
        said = [codec.device_message_from_wire(each) for each in request.said]
        if said and isinstance(said[0], Hello):
            polled = self._begun(await self._reception.admit_to_session(context))
        else:
            caller = await self._reception.admit(context)
            polled = await self._known(caller, context)
        return await polled.answers(said)

    def _begun(self, caller: Caller) -> _Polled:
        device = parse_device(caller.name)
        if (older := self._open.get(device)) is not None:
            older.end()
        polled = self._open[device] = _Polled(self._reception, caller, self._ended)
        return polled

    async def _known(self, caller: Caller, context: Context) -> _Polled:
        """What goes on must be said with the key with which it began."""
        polled = self._open.get(parse_device(caller.name))
        if polled is None or polled.caller.shown != caller.shown:
            await end_call(context, grpc.StatusCode.ABORTED, UNKNOWN)
        return polled

    def _ended(self, polled: _Polled) -> None:
        if self._open.get(polled.device) is polled:
            del self._open[polled.device]


class _Polled:
    """One conversation, between its calls too; the `Line` by which the manager reaches it."""

    def __init__(
        self, reception: Reception, caller: Caller, ended: Callable[[_Polled], None]
    ) -> None:
        self.caller, self._ended = caller, ended
        self._conversation = Conversation(reception, caller, self)
        self.device = self._conversation.device
        self._loop = asyncio.get_running_loop()
        self._turn = asyncio.Lock()
        self._generation: int | None = None
        self._silence: asyncio.TimerHandle | None = None

    async def answers(self, said: Sequence[DeviceMessage]) -> tuple[ManagerMessage, ...]:
        """What follows from one call, and what is new since the one before."""
        async with self._turn:
            try:
                return await self._answers(said)
            except BaseException:
                self.end()
                raise

    async def _answers(self, said: Sequence[DeviceMessage]) -> tuple[ManagerMessage, ...]:
        answers: list[ManagerMessage] = []
        self._conversation.hear()
        for message in said:
            answers += await self._conversation.answers(message)
        generation, self._generation = self._generation, None
        if generation is not None:
            answers.append(DesiredChanged(generation))
        self._wait()
        return tuple(answers)

    def _wait(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
        self._silence = self._loop.call_later(self._conversation.silent_s, self.end)

    def changed(self, generation: int) -> None:
        """Tell the device of a new generation with its next call; from any thread."""
        self._generation = max(generation, self._generation or 0)

    def hang_up(self, _ending: Ending) -> None:
        """End it: the next call has to begin anew, and hears why it may not; from any thread."""
        self._loop.call_soon_threadsafe(self.end)

    def end(self) -> None:
        """It is over; may be said again."""
        if self._silence is not None:
            self._silence.cancel()
        self._ended(self)
        self._conversation.over()
