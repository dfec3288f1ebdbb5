"""AuditService, both ends: what the manager answers, and how an operator or auditor asks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from sealane import codec
from sealane.audit.position import Position
from sealane.wire.v1 import audit_pb2 as wire
from sealane.wire.v1 import audit_pb2_grpc

from sealane_manager.audit import Evidence
from sealane_manager.rpc.answers import understood
from sealane_manager.rpc.operators import asked
from sealane_manager.store.summaries import AuditFilter, AuditLine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import grpc

    from sealane_manager.audit import AuditLog

    Context = grpc.aio.ServicerContext[Any, Any]

MAX_LIST: Final = 1000
"""Entries in one list."""

_CALL_SECONDS: Final = 30
_READ_SECONDS: Final = 3600


class AuditService(audit_pb2_grpc.AuditServiceServicer):
    """Parses, asks the log, converts."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log

    def register(self, server: grpc.aio.Server) -> None:
        """Make the server answer for this service."""
        audit_pb2_grpc.add_AuditServiceServicer_to_server(self, server)

    async def GetCheckpoint(
        self, request: wire.GetCheckpointRequest, _context: Context
    ) -> wire.GetCheckpointResponse:
        """The newest checkpoint."""
        seen = Position(request.seen_epoch, request.seen_size)
        found = await asked(lambda _: self._log.evidence(seen))
        return wire.GetCheckpointResponse(note=found.note, proof=found.proof)

    async def ListEntries(
        self, request: wire.ListEntriesRequest, _context: Context
    ) -> wire.ListEntriesResponse:
        """Entries, the newest first."""
        wanted = AuditFilter(
            text=request.text,
            actor=request.actor,
            action=request.action,
            rollout=request.rollout,
            before=min(request.before, 2**63 - 1),
            size=min(request.size, MAX_LIST),
        )
        found = await asked(lambda _: self._log.lines(wanted))
        return wire.ListEntriesResponse(entries=map(_line_to_wire, found))

    async def ReadEntries(
        self, request: wire.ReadEntriesRequest, _context: Context
    ) -> AsyncIterator[wire.ReadEntriesResponse]:
        """Entries in order."""
        start, end = request.start, min(request.end, 2**63 - 1)
        while start < end:
            found = await asyncio.to_thread(self._log.leaves, start, end)
            if not found:
                return
            yield wire.ReadEntriesResponse(entries=found)
            start += len(found)

    async def DeclareLoss(
        self, request: wire.DeclareLossRequest, _context: Context
    ) -> wire.DeclareLossResponse:
        """Begin another epoch."""
        await asked(lambda who: self._log.declare_loss(who.name, request.reason))
        return wire.DeclareLossResponse()


class AuditCalls:
    """An operator's questions about the log; raise what `Operator`'s methods do."""

    def __init__(self, channel: grpc.Channel, address: str) -> None:
        self._stub = audit_pb2_grpc.AuditServiceStub(channel)
        self._address = address

    def evidence(self, seen: Position) -> Evidence:
        """The newest checkpoint, and that it continues what was seen."""
        request = wire.GetCheckpointRequest(seen_epoch=seen.epoch, seen_size=seen.size)
        with understood(self._address):
            answer = self._stub.GetCheckpoint(request, timeout=_CALL_SECONDS)
        return Evidence(answer.note, tuple(answer.proof))

    def lines(self, wanted: AuditFilter) -> tuple[AuditLine, ...]:
        """Entries that a filter picks, the newest first."""
        request = wire.ListEntriesRequest(
            text=wanted.text,
            actor=wanted.actor,
            action=wanted.action,
            rollout=wanted.rollout,
            before=wanted.before,
            size=wanted.size,
        )
        with understood(self._address):
            answer = self._stub.ListEntries(request, timeout=_CALL_SECONDS)
        return tuple(map(_line_from_wire, answer.entries))

    def leaves(self, size: int) -> Iterator[bytes]:
        """The first `size` entries in order, as they were hashed."""
        request = wire.ReadEntriesRequest(start=0, end=size)
        with understood(self._address):
            for answer in self._stub.ReadEntries(request, timeout=_READ_SECONDS):
                yield from answer.entries

    def declare_loss(self, reason: str) -> None:
        """Say that the newest entries were lost."""
        with understood(self._address):
            self._stub.DeclareLoss(wire.DeclareLossRequest(reason=reason), timeout=_CALL_SECONDS)


def _line_to_wire(line: AuditLine) -> wire.NumberedEntry:
    return wire.NumberedEntry(
        number=line.number,
        at_us=codec.to_micros(line.at),
        actor=line.actor,
        action=line.action,
        rollout=line.rollout,
        detail=line.detail,
        evidence=line.evidence,
    )


def _line_from_wire(found: wire.NumberedEntry) -> AuditLine:
    return AuditLine(
        number=found.number,
        at=codec.from_micros(found.at_us),
        rollout=found.rollout,
        actor=found.actor,
        action=found.action,
        detail=found.detail,
        evidence=found.evidence,
    )
