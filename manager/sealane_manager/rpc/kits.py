"""KitService, both ends: a kit, streamed to whoever writes it to a medium."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sealane.limits import BLOB_CHUNK_BYTES
from sealane.names import ReleaseName, parse_device, parse_slot
from sealane.wire.v1 import kits_pb2 as wire
from sealane.wire.v1 import kits_pb2_grpc

from sealane_manager.kits import KitRequest
from sealane_manager.rpc.answers import understood
from sealane_manager.rpc.operators import asking
from sealane_manager.store.records import By

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import grpc
    from sealane.clock import Clock

    from sealane_manager.kit_office import KitOffice

    Context = grpc.aio.ServicerContext[Any, Any]


class KitService(kits_pb2_grpc.KitServiceServicer):
    """Makes a kit and streams it; the receiver's pace is the reader's."""

    def __init__(self, office: KitOffice, fleet: str, clock: Clock) -> None:
        self._office, self._fleet, self._clock = office, fleet, clock

    def register(self, server: grpc.aio.Server) -> None:
        """Make the server answer for this service."""
        kits_pb2_grpc.add_KitServiceServicer_to_server(self, server)

    async def ExportKit(
        self, request: wire.ExportKitRequest, _context: Context
    ) -> AsyncIterator[wire.ExportKitResponse]:
        """One kit."""
        by = By(asking().name, request.reason, self._clock.now())
        parts = await asyncio.to_thread(self._office.export, _from_wire(request), self._fleet, by)
        while (part := await asyncio.to_thread(next, parts, None)) is not None:
            for start in range(0, len(part), BLOB_CHUNK_BYTES):
                chunk = part[start : start + BLOB_CHUNK_BYTES]
                yield wire.ExportKitResponse(chunk=chunk)


def _from_wire(request: wire.ExportKitRequest) -> KitRequest:
    return KitRequest(
        ReleaseName.parse(request.release),
        parse_slot(request.slot),
        tuple(map(parse_device, request.devices)),
        request.selector,
        timedelta(seconds=min(request.valid_s, _LONGEST_S)) if request.valid_s else None,
    )


_LONGEST_S = 366 * 86_400


class KitCalls:
    """An operator's kits; raise what `Operator`'s methods do."""

    def __init__(self, channel: grpc.Channel, address: str) -> None:
        self._stub = kits_pb2_grpc.KitServiceStub(channel)
        self._address = address

    def export(self, asked: KitRequest, reason: str) -> Iterator[bytes]:
        """The bytes of a kit."""
        request = wire.ExportKitRequest(
            release=str(asked.release),
            slot=asked.slot,
            devices=asked.devices,
            selector=asked.selector,
            valid_s=round(asked.valid.total_seconds()) if asked.valid else 0,
            reason=reason,
        )
        call = self._stub.ExportKit(request)
        try:
            with understood(self._address):
                for answer in call:
                    yield answer.chunk
        finally:
            call.cancel()  # type: ignore[no-untyped-call]  # grpc-stubs leaves it without types
