"""SampleService, both ends: what the manager answers, and how an operator asks."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sealane import codec
from sealane.names import parse_device, parse_slot
from sealane.sampling.sealed import Part
from sealane.wire.v1 import samples_pb2 as wire
from sealane.wire.v1 import samples_pb2_grpc

from sealane_manager.rpc.answers import understood
from sealane_manager.rpc.operators import asked
from sealane_manager.store.records import SampleOrder, SampleRecord, SamplesOrdered, SampleWish

if TYPE_CHECKING:
    import grpc

    from sealane_manager.sampling import Sampling

    Context = grpc.aio.ServicerContext[Any, Any]

_CALL_SECONDS: Final = 30


class SampleService(samples_pb2_grpc.SampleServiceServicer):
    """Parses, asks the office, converts."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling

    def register(self, server: grpc.aio.Server) -> None:
        """Make the server answer for this service."""
        samples_pb2_grpc.add_SampleServiceServicer_to_server(self, server)

    async def OrderSamples(
        self, request: wire.OrderSamplesRequest, _context: Context
    ) -> wire.OrderSamplesResponse:
        """Want samples, or no more."""
        wish = SampleWish(request.selector, request.slot, timedelta(seconds=request.seconds))
        found = await asked(lambda who: self._sampling.order(wish, who.name, request.reason))
        return wire.OrderSamplesResponse(devices=found.devices, slot_unknown=found.slot_unknown)

    async def ListSampleOrders(
        self, _request: wire.ListSampleOrdersRequest, _context: Context
    ) -> wire.ListSampleOrdersResponse:
        """The orders that hold now."""
        found = await asked(lambda who: self._sampling.seen(who.sites).orders())
        return wire.ListSampleOrdersResponse(orders=map(_order_to_wire, found))

    async def ListSamples(
        self, request: wire.ListSamplesRequest, _context: Context
    ) -> wire.ListSamplesResponse:
        """Samples that are here."""
        found = await asked(
            lambda who: self._sampling.seen(who.sites).list(
                request.device, request.slot, request.release
            ),
        )
        return wire.ListSamplesResponse(samples=map(_sample_to_wire, found))

    async def ViewSample(
        self, request: wire.ViewSampleRequest, _context: Context
    ) -> wire.ViewSampleResponse:
        """Open one sample."""
        record, parts = await asked(
            lambda who: self._sampling.view(request.id, who.name, request.reason)
        )
        tensors = map(_part_to_wire, parts)
        return wire.ViewSampleResponse(sample=_sample_to_wire(record), tensors=tensors)

    async def DeleteSample(
        self, request: wire.DeleteSampleRequest, _context: Context
    ) -> wire.DeleteSampleResponse:
        """Delete one sample."""
        await asked(lambda who: self._sampling.delete(request.id, who.name, request.reason))
        return wire.DeleteSampleResponse()


class SampleCalls:
    """An operator's questions about samples; raise what `Operator`'s methods do."""

    def __init__(self, channel: grpc.Channel, address: str) -> None:
        self._stub = samples_pb2_grpc.SampleServiceStub(channel)
        self._address = address

    def order(self, wish: SampleWish, reason: str) -> SamplesOrdered:
        """Want samples, or no more."""
        request = wire.OrderSamplesRequest(
            selector=wish.selector,
            slot=wish.slot,
            seconds=round(wish.lasts.total_seconds()),
            reason=reason,
        )
        with understood(self._address):
            answer = self._stub.OrderSamples(request, timeout=_CALL_SECONDS)
        return SamplesOrdered(tuple(map(parse_device, answer.devices)), answer.slot_unknown)

    def orders(self) -> tuple[SampleOrder, ...]:
        """The orders that hold now."""
        request = wire.ListSampleOrdersRequest()
        with understood(self._address):
            answer = self._stub.ListSampleOrders(request, timeout=_CALL_SECONDS)
        return tuple(map(_order_from_wire, answer.orders))

    def list(self, device: str = "", slot: str = "", release: str = "") -> tuple[SampleRecord, ...]:
        """Samples that are there, the newest first."""
        request = wire.ListSamplesRequest(device=device, slot=slot, release=release)
        with understood(self._address):
            answer = self._stub.ListSamples(request, timeout=_CALL_SECONDS)
        return tuple(map(_sample_from_wire, answer.samples))

    def view(self, sample: str, reason: str) -> tuple[SampleRecord, tuple[Part, ...]]:
        """Open one sample."""
        request = wire.ViewSampleRequest(id=sample, reason=reason)
        with understood(self._address):
            answer = self._stub.ViewSample(request, timeout=_CALL_SECONDS)
        return _sample_from_wire(answer.sample), tuple(map(_part_from_wire, answer.tensors))

    def delete(self, sample: str, reason: str) -> None:
        """Delete one sample."""
        request = wire.DeleteSampleRequest(id=sample, reason=reason)
        with understood(self._address):
            self._stub.DeleteSample(request, timeout=_CALL_SECONDS)


def _order_to_wire(order: SampleOrder) -> wire.SampleOrder:
    return wire.SampleOrder(
        device=order.device,
        slot=order.slot,
        until_us=codec.to_micros(order.until),
        by=order.by,
        reason=order.reason,
    )


def _order_from_wire(found: wire.SampleOrder) -> SampleOrder:
    until = codec.from_micros(found.until_us)
    device, slot = parse_device(found.device), parse_slot(found.slot)
    return SampleOrder(device, slot, until, found.by, found.reason)


def _sample_to_wire(sample: SampleRecord) -> wire.Sample:
    return wire.Sample(
        id=sample.id,
        device=sample.device,
        slot=sample.slot,
        release=sample.release,
        trigger=sample.trigger,
        taken_us=codec.to_micros(sample.taken_at),
        received_us=codec.to_micros(sample.received_at),
        keep_until_us=codec.to_micros(sample.keep_until),
        bytes=sample.bytes,
    )


def _sample_from_wire(found: wire.Sample) -> SampleRecord:
    return SampleRecord(
        id=found.id,
        device=parse_device(found.device),
        slot=parse_slot(found.slot),
        release=found.release,
        trigger=found.trigger,
        taken_at=codec.from_micros(found.taken_us),
        received_at=codec.from_micros(found.received_us),
        keep_until=codec.from_micros(found.keep_until_us),
        bytes=found.bytes,
    )


def _part_to_wire(part: Part) -> wire.SampleTensor:
    return wire.SampleTensor(
        kind=part.kind,
        name=part.name,
        datatype=part.datatype,
        shape=[max(0, size) for size in part.shape],
        data=part.data,
    )


def _part_from_wire(found: wire.SampleTensor) -> Part:
    return Part(found.kind, found.name, found.datatype, tuple(found.shape), found.data)
