"""FleetService: sessions and downloads of devices, over mutual TLS."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from sealane import codec
from sealane.errors import SealaneError
from sealane.fleet import AssignmentRequest, Events, Heartbeat, Hello, MetadataFile
from sealane.limits import EVENTS_PER_MESSAGE, METADATA_ROLES
from sealane.names import parse_device
from sealane.telemetry.types import TelemetryBatch
from sealane.wire.v1 import fleet_pb2 as wire
from sealane.wire.v1 import fleet_pb2_grpc

from sealane_manager.rpc.answers import answering, end_call
from sealane_manager.rpc.line import STATUS, SessionLine
from sealane_manager.sessions import Ending

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import grpc
    from sealane.fleet import DeviceMessage, ManagerMessage, SlotReport

    from sealane_manager.desk import Desk
    from sealane_manager.identity.renewal import Renewal
    from sealane_manager.rpc.content import Content
    from sealane_manager.rpc.peers import Caller, Door

    Context = grpc.aio.ServicerContext[Any, Any]

FILES_GIVEN_BACK: Final = METADATA_ROLES
"""Files of metadata that one session may give back."""

NONCE_CHARS: Final = 128
"""A nonce of a device is half as long."""


class Reception:
    """Who may speak here, who does now, and whom to tell that something changed."""

    def __init__(self, door: Door, desk: Desk, renewal: Renewal, wake: Callable[[], None]) -> None:
        self.door, self.desk, self.renewal, self.wake = door, desk, renewal, wake
        self.sessions = renewal.sessions

    async def admit(self, context: Context) -> Caller:
        """The device that calls; raises NotAllowed."""
        caller = self.door.admit(context)
        await asyncio.to_thread(self.desk.admit, parse_device(caller.name), caller.shown)
        return caller

    async def admit_to_fetch(self, context: Context) -> Caller:
        """The device that calls with a key that counts; raises NotAllowed."""
        caller = await self.admit(context)
        await asyncio.to_thread(self.renewal.check, parse_device(caller.name), caller.shown)
        return caller

    async def admit_to_session(self, context: Context) -> Caller:
        """The same; a superseded key puts the device into quarantine."""
        caller = await self.admit(context)
        await asyncio.to_thread(self.renewal.meet, parse_device(caller.name), caller.shown)
        return caller


class FleetService(fleet_pb2_grpc.FleetServiceServicer):
    """Parses, asks the desk or the content, converts."""

    def __init__(self, reception: Reception, content: Content) -> None:
        self._reception, self._content = reception, content

    def register(self, server: grpc.aio.Server) -> None:
        """Make the server answer for this service."""
        fleet_pb2_grpc.add_FleetServiceServicer_to_server(self, server)

    async def Session(  # type: ignore[override]  # grpc.aio takes a handler that writes itself
        self, requests: AsyncIterator[wire.SessionRequest], context: Context
    ) -> None:
        """One device's conversation, until it goes or the manager hangs up."""
        async with answering(context):
            caller = await self._reception.admit_to_session(context)
            conversation = _Conversation(self._reception, context, caller)
            await conversation.run(requests)

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
                self._reception.renewal.renew, parse_device(caller.name), caller.shown, request.csr
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


class _Conversation:
    """One Session call: Hello and Welcome, then an answer to each message."""

    def __init__(self, reception: Reception, context: Context, caller: Caller) -> None:
        self._reception, self._context, self._caller = reception, context, caller
        self._device = parse_device(caller.name)
        self._line = SessionLine(context)
        self._telemetry_boot: str | None = None
        self._silent_s = reception.desk.pace.silent_s()
        self._newer_slots: tuple[SlotReport, ...] = ()
        self._files_wanted = 0

    async def run(self, requests: AsyncIterator[wire.SessionRequest]) -> None:
        """Converse; ends the call with the manager's reason when it hangs up."""
        try:
            await self._greet(await self._hear(requests))
            while (message := await self._hear(requests)) is not None:
                answer = await self._answer(message)
                if answer is not None:
                    await self._line.say(answer)
        except asyncio.CancelledError:
            await self._explain()
        finally:
            self._line.closed()
            self._reception.sessions.closed(self._device, self._line)
            self._reception.wake()

    async def _explain(self) -> None:
        call, ending = asyncio.current_task(), self._line.ending
        if call is None or ending is None:
            raise asyncio.CancelledError
        call.uncancel()
        await end_call(self._context, STATUS[ending], ending.value)

    async def _greet(self, message: DeviceMessage | None) -> None:
        if not isinstance(message, Hello):
            raise SealaneError("a session begins with Hello")
        desk, ends = self._reception.desk, self._caller.expires
        if await asyncio.to_thread(desk.recovery.hello, self._device, message):
            self._newer_slots = message.slots
        welcome = await asyncio.to_thread(desk.hello, self._device, message, ends)
        self._silent_s = desk.pace.silent_s(message.heartbeat_s)
        self._reception.sessions.opened(self._device, self._line)
        await self._line.say(welcome)
        if (lost := await asyncio.to_thread(desk.recovery.lost, message)) is not None:
            self._files_wanted = FILES_GIVEN_BACK
            await self._line.say(lost)
        self._reception.wake()

    async def _hear(self, requests: AsyncIterator[wire.SessionRequest]) -> DeviceMessage | None:
        try:
            async with asyncio.timeout(self._silent_s):
                request = await anext(requests, None)
        except TimeoutError:
            await end_call(self._context, STATUS[Ending.SILENT], Ending.SILENT.value)
        if request is None:
            return None
        self._reception.door.check(self._caller)
        self._reception.desk.heard(self._device)
        return codec.device_message_from_wire(request)

    async def _answer(self, message: DeviceMessage) -> ManagerMessage | None:
        desk, device = self._reception.desk, self._device
        match message:
            case Heartbeat():
                await asyncio.to_thread(desk.heartbeat, device, message.slots)
                return None
            case AssignmentRequest():
                _check_nonce(message.nonce)
                return await asyncio.to_thread(desk.assignment, device, message)
            case Events():
                _check_count(len(message.events))
                ack = await asyncio.to_thread(desk.events, device, message.events)
                self._reception.wake()
                return ack
            case TelemetryBatch():
                return await self._telemetry(message)
            case MetadataFile():
                return await self._take_back(message)
            case Hello():
                raise SealaneError("a session holds one Hello")

    async def _take_back(self, file: MetadataFile) -> ManagerMessage | None:
        if not self._files_wanted:
            raise SealaneError("metadata is given back when the manager asks for it")
        self._files_wanted -= 1
        recovery = self._reception.desk.recovery
        return await asyncio.to_thread(recovery.take_back, self._device, file, self._newer_slots)

    async def _telemetry(self, batch: TelemetryBatch) -> ManagerMessage:
        """Answer when it is on disk; waiting here is what slows down a device that sends much."""
        first, self._telemetry_boot = batch.boot != self._telemetry_boot, batch.boot
        answer = self._reception.desk.telemetry(self._device, batch, first=first)
        return await asyncio.wrap_future(answer)


def _check_nonce(nonce: str) -> None:
    if not 0 < len(nonce) <= NONCE_CHARS:
        raise SealaneError(f"a nonce has 1 to {NONCE_CHARS} characters")


def _check_count(events: int) -> None:
    if events > EVENTS_PER_MESSAGE:
        raise SealaneError(f"one message holds at most {EVENTS_PER_MESSAGE} events, not {events}")
