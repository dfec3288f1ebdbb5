"""FleetService: sessions and downloads of devices, over mutual TLS."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sealane import codec
from sealane.names import parse_device
from sealane.wire.v1 import fleet_pb2 as wire
from sealane.wire.v1 import fleet_pb2_grpc

from sealane_manager.rpc.answers import answering, end_call
from sealane_manager.rpc.conversation import Conversation
from sealane_manager.rpc.line import STATUS, SessionLine
from sealane_manager.rpc.polls import Polls
from sealane_manager.sessions import Ending

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import grpc
    from sealane.fleet import DeviceMessage

    from sealane_manager.rpc.content import Content
    from sealane_manager.rpc.peers import Caller
    from sealane_manager.rpc.reception import Reception

    Context = grpc.aio.ServicerContext[Any, Any]


class FleetService(fleet_pb2_grpc.FleetServiceServicer):
    """Parses, asks the desk or the content, converts."""

    def __init__(self, reception: Reception, content: Content) -> None:
        self._reception, self._content = reception, content
        self._polls = Polls(reception)

    def register(self, server: grpc.aio.Server) -> None:
        """Make the server answer for this service."""
        fleet_pb2_grpc.add_FleetServiceServicer_to_server(self, server)

    async def Session(  # type: ignore[override]  # grpc.aio takes a handler that writes itself
        self, requests: AsyncIterator[wire.SessionRequest], context: Context
    ) -> None:
        """One device's conversation, until it goes or the manager hangs up."""
        async with answering(context):
            caller = await self._reception.admit_to_session(context)
            await _Stream(self._reception, context, caller).run(requests)

    async def Poll(self, request: wire.PollRequest, context: Context) -> wire.PollResponse:
        """One exchange of a device whose streams are cut on the way."""
        async with answering(context):
            answers = await self._polls.answer(request, context)
        return wire.PollResponse(said=map(codec.manager_message_to_wire, answers))

    async def FetchMetadata(
        self, request: wire.FetchMetadataRequest, context: Context
    ) -> AsyncIterator[wire.FetchMetadataResponse]:
        """One metadata or target file, in chunks."""
        async with answering(context):
            await self._reception.admit_to_fetch(context)
            async for chunk in self._content.metadata(request.name):
                yield wire.FetchMetadataResponse(chunk=chunk)

    async def FetchBlob(
        self, request: wire.FetchBlobRequest, context: Context
    ) -> AsyncIterator[wire.FetchBlobResponse]:
        """One blob from an offset, in chunks."""
        async with answering(context):
            caller = await self._reception.admit_to_fetch(context)
            patched = False
            if request.base and not request.offset:
                async for chunk in self._content.patch(request.digest, request.base):
                    self._reception.door.check(caller)
                    patched = True
                    yield wire.FetchBlobResponse(chunk=chunk, patch=True)
            if patched:
                return
            async for chunk in self._content.blob(request.digest, request.offset):
                self._reception.door.check(caller)
                yield wire.FetchBlobResponse(chunk=chunk)

    async def Renew(self, request: wire.RenewRequest, context: Context) -> wire.RenewResponse:
        """A certificate for a new key of the device that calls."""
        async with answering(context):
            caller = await self._reception.admit(context)
            certificate = await asyncio.to_thread(
                self._reception.renewal.renew,
                parse_device(caller.name),
                caller.shown,
                request.csr,
                timedelta(seconds=request.lifetime_s),
            )
        return wire.RenewResponse(certificate=certificate)

    async def PutSample(
        self, request: wire.PutSampleRequest, context: Context
    ) -> wire.PutSampleResponse:
        """A sealed sample of the device that calls."""
        async with answering(context):
            caller = await self._reception.admit_to_fetch(context)
            device = parse_device(caller.name)
            await asyncio.to_thread(self._reception.desk.sample, device, request.sealed)
        return wire.PutSampleResponse()


class _Stream:
    """One Session call: an answer to each message, in order."""

    def __init__(self, reception: Reception, context: Context, caller: Caller) -> None:
        self._context = context
        self._line = SessionLine(context)
        self._conversation = Conversation(reception, caller, self._line)

    async def run(self, requests: AsyncIterator[wire.SessionRequest]) -> None:
        """Converse; ends the call with the manager's reason when it hangs up."""
        try:
            while (message := await self._hear(requests)) is not None:
                for answer in await self._conversation.answers(message):
                    await self._line.say(answer)
        except asyncio.CancelledError:
            await self._explain()
        finally:
            self._line.closed()
            self._conversation.over()

    async def _explain(self) -> None:
        call, ending = asyncio.current_task(), self._line.ending
        if call is None or ending is None:
            raise asyncio.CancelledError
        call.uncancel()
        await end_call(self._context, STATUS[ending], ending.value)

    async def _hear(self, requests: AsyncIterator[wire.SessionRequest]) -> DeviceMessage | None:
        try:
            async with asyncio.timeout(self._conversation.silent_s):
                request = await anext(requests, None)
        except TimeoutError:
            await end_call(self._context, STATUS[Ending.SILENT], Ending.SILENT.value)
        if request is None:
            return None
        self._conversation.hear()
        return codec.device_message_from_wire(request)
