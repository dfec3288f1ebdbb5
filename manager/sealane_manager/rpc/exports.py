"""ExportService, both ends: stored telemetry, streamed to whoever writes it to a file."""

from __future__ import annotations

import asyncio
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from sealane.errors import InvalidName
from sealane.telemetry.codec import decode_windows
from sealane.wire.v1 import exports_pb2 as wire
from sealane.wire.v1 import exports_pb2_grpc

from sealane_manager.export.columns import Stored
from sealane_manager.rpc.answers import understood
from sealane_manager.rpc.operators import asked
from sealane_manager.selector import parse
from sealane_manager.store.telemetry.records import Span

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    import grpc

    from sealane_manager.store.store import Store
    from sealane_manager.store.telemetry.pages import Kept

    Context = grpc.aio.ServicerContext[Any, Any]

DEVICES: Final = "devices"
COHORTS: Final = "cohorts"


class ExportService(exports_pb2_grpc.ExportServiceServicer):
    """Reads pages and streams them; the receiver's pace is the reader's."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def register(self, server: grpc.aio.Server) -> None:
        """Make the server answer for this service."""
        exports_pb2_grpc.add_ExportServiceServicer_to_server(self, server)

    async def ExportTelemetry(
        self, request: wire.ExportTelemetryRequest, _context: Context
    ) -> AsyncIterator[wire.ExportTelemetryResponse]:
        """Every stored row of a span."""
        pages = await asked(lambda who: self._pages(request, self._store.seen(who.sites)))
        while (page := await asyncio.to_thread(next, pages, None)) is not None:
            yield wire.ExportTelemetryResponse(windows=map(_to_wire, page))

    def _pages(
        self, request: wire.ExportTelemetryRequest, store: Store
    ) -> Iterator[Sequence[Kept]]:
        if request.of not in {DEVICES, COHORTS}:
            raise InvalidName(f"{request.of[:40]!r} is neither {DEVICES} nor {COHORTS}")
        span, readings = Span(request.since_s, request.until_s), store.telemetry.readings
        if request.of == COHORTS:
            return readings.cohort_pages(span)
        if not request.selector:
            return readings.device_pages(span, None)
        chosen = store.devices.list(parse(request.selector))
        return readings.device_pages(span, [record.id for record in chosen])


class ExportCalls:
    """An operator's exports; raise what `Operator`'s methods do."""

    def __init__(self, channel: grpc.Channel, address: str) -> None:
        self._stub = exports_pb2_grpc.ExportServiceStub(channel)
        self._address = address

    def telemetry(self, of: str, span: Span, selector: str = "") -> Iterator[Stored]:
        """Every stored window of devices or cohorts in a span."""
        request = wire.ExportTelemetryRequest(
            since_s=span.start, until_s=span.end, of=of, selector=selector
        )
        call = self._stub.ExportTelemetry(request)
        try:
            with understood(self._address):
                for answer in call:
                    yield from chain.from_iterable(map(_from_wire, answer.windows))
        finally:
            call.cancel()  # type: ignore[no-untyped-call]  # grpc-stubs leaves it without types


def _from_wire(kept: wire.StoredWindow) -> Iterator[Stored]:
    return (
        Stored(kept.device, kept.site, kept.late, window) for window in decode_windows(kept.body)
    )


def _to_wire(kept: Kept) -> wire.StoredWindow:
    return wire.StoredWindow(device=kept.device, site=kept.site, late=kept.late, body=kept.body)
