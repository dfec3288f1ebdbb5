"""What the manager answers to one device, whatever carries it: Hello first, then each message."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sealane.errors import SealaneError
from sealane.fleet import AssignmentRequest, Events, Heartbeat, Hello, MetadataFile
from sealane.limits import EVENTS_PER_MESSAGE, METADATA_ROLES
from sealane.names import parse_device
from sealane.telemetry.types import TelemetryBatch

if TYPE_CHECKING:
    from sealane.fleet import DeviceMessage, ManagerMessage, SlotReport

    from sealane_manager.rpc.peers import Caller
    from sealane_manager.rpc.reception import Reception
    from sealane_manager.sessions import Line

FILES_GIVEN_BACK: Final = METADATA_ROLES
"""Files of metadata that one conversation may give back."""

NONCE_CHARS: Final = 128
"""A nonce of a device is half as long."""


class Conversation:
    """One device that speaks.

    Attributes:
        silent_s: after so many seconds without a word it is over.
    """

    def __init__(self, reception: Reception, caller: Caller, line: Line) -> None:
        self._reception, self._caller, self._line = reception, caller, line
        self.device = parse_device(caller.name)
        self.silent_s = reception.desk.pace.silent_s()
        self._greeted = False
        self._telemetry_boot: str | None = None
        self._newer_slots: tuple[SlotReport, ...] = ()
        self._files_wanted = 0

    def hear(self) -> None:
        """The device says something; raises NotAllowed once its certificate has expired."""
        self._reception.door.check(self._caller)
        self._reception.desk.heard(self.device)

    async def answers(self, message: DeviceMessage) -> tuple[ManagerMessage, ...]:
        """What to say to it; raises SealaneError when it is out of place."""
        if not self._greeted:
            return await self._greet(message)
        answer = await self._answer(message)
        return () if answer is None else (answer,)

    def over(self) -> None:
        """It has ended; a newer one of the same device goes on."""
        self._reception.sessions.closed(self.device, self._line)
        self._reception.wake()

    async def _greet(self, message: DeviceMessage) -> tuple[ManagerMessage, ...]:
        if not isinstance(message, Hello):
            raise SealaneError("a session begins with Hello")
        desk, ends = self._reception.desk, self._caller.expires
        if await asyncio.to_thread(desk.recovery.hello, self.device, message):
            self._newer_slots = message.slots
        welcome = await asyncio.to_thread(desk.hello, self.device, message, ends)
        self.silent_s = desk.pace.silent_s(message.heartbeat_s)
        self._reception.sessions.opened(self.device, self._line)
        self._greeted = True
        lost = await asyncio.to_thread(desk.recovery.lost, message)
        self._files_wanted = 0 if lost is None else FILES_GIVEN_BACK
        self._reception.wake()
        return (welcome,) if lost is None else (welcome, lost)

    async def _answer(self, message: DeviceMessage) -> ManagerMessage | None:
        desk, device = self._reception.desk, self.device
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
        return await asyncio.to_thread(recovery.take_back, self.device, file, self._newer_slots)

    async def _telemetry(self, batch: TelemetryBatch) -> ManagerMessage:
        """Answer when it is on disk; waiting here is what slows down a device that sends much."""
        first, self._telemetry_boot = batch.boot != self._telemetry_boot, batch.boot
        answer = self._reception.desk.telemetry(self.device, batch, first=first)
        return await asyncio.wrap_future(answer)


def _check_nonce(nonce: str) -> None:
    if not 0 < len(nonce) <= NONCE_CHARS:
        raise SealaneError(f"a nonce has 1 to {NONCE_CHARS} characters")


def _check_count(events: int) -> None:
    if events > EVENTS_PER_MESSAGE:
        raise SealaneError(f"one message holds at most {EVENTS_PER_MESSAGE} events, not {events}")
