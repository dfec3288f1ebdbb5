"""OrderService, both ends: what the manager answers, and how an operator asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sealane import codec
from sealane.holds import Hold
from sealane.names import parse_device, parse_slot
from sealane.wire.v1 import orders_pb2 as wire
from sealane.wire.v1 import orders_pb2_grpc

from sealane_manager.hold_order import HoldOrder, HoldWish, Placed
from sealane_manager.identity.knocks import Adoption
from sealane_manager.rpc.answers import understood
from sealane_manager.rpc.operators import asked
from sealane_manager.views import UnknownDevice

if TYPE_CHECKING:
    import grpc
    from sealane.names import DeviceId, SlotName

    from sealane_manager.identity.knocks import Knock
    from sealane_manager.members import Members
    from sealane_manager.people.access import Who
    from sealane_manager.rollouts import Rollouts

    Context = grpc.aio.ServicerContext[Any, Any]

_CALL_SECONDS: Final = 30


class OrderService(orders_pb2_grpc.OrderServiceServicer):
    """Parses, asks the offices, converts."""

    def __init__(self, members: Members, rollouts: Rollouts) -> None:
        self._members, self._rollouts = members, rollouts

    def register(self, server: grpc.aio.Server) -> None:
        """Make the server answer for this service."""
        orders_pb2_grpc.add_OrderServiceServicer_to_server(self, server)

    async def HoldDevices(
        self, request: wire.HoldDevicesRequest, _context: Context
    ) -> wire.HoldDevicesResponse:
        """Hold devices back until a moment."""
        until = codec.from_micros(request.until_us)
        wish = HoldWish(request.target, request.slot, until, request.reason)
        placed = await asked(lambda who: self._members.hold(wish, who.name))
        return wire.HoldDevicesResponse(
            order=_order_to_wire(placed.order),
            devices=placed.devices,
            slot_unknown=placed.slot_unknown,
        )

    async def ReleaseHold(
        self, request: wire.ReleaseHoldRequest, _context: Context
    ) -> wire.ReleaseHoldResponse:
        """End a hold before its time."""
        devices = await asked(
            lambda who: self._members.release(request.id, request.reason, who.name)
        )
        return wire.ReleaseHoldResponse(devices=devices)

    async def ListHolds(
        self, request: wire.ListHoldsRequest, _context: Context
    ) -> wire.ListHoldsResponse:
        """The holds that have not ended."""
        found = await asked(lambda who: self._members.seen(who.sites).holds(request.device))
        return wire.ListHoldsResponse(orders=map(_order_to_wire, found))

    async def RollBackDevice(
        self, request: wire.RollBackDeviceRequest, _context: Context
    ) -> wire.RollBackDeviceResponse:
        """Start a rollout of what a slot of one device served before."""

        def roll_back(who: Who) -> wire.RollBackDeviceResponse:
            place = parse_device(request.device), parse_slot(request.slot)
            made = self._rollouts.roll_back(*place, request.reason, who.name)
            return wire.RollBackDeviceResponse(rollout=made.id, release=str(made.release))

        return await asked(roll_back)

    async def ListUnknownDevices(
        self, _request: wire.ListUnknownDevicesRequest, _context: Context
    ) -> wire.ListUnknownDevicesResponse:
        """Who called and is not known."""
        found = await asked(lambda _: self._members.unknown())
        return wire.ListUnknownDevicesResponse(devices=map(_unknown_to_wire, found))

    async def AdoptDevice(
        self, request: wire.AdoptDeviceRequest, _context: Context
    ) -> wire.AdoptDeviceResponse:
        """Make a machine a device again."""
        wish = Adoption(request.device, request.key, dict(request.labels), request.reason)
        await asked(lambda who: self._members.adopt(wish, who.name))
        return wire.AdoptDeviceResponse()


class OrderCalls:
    """An operator's orders; raise what `Operator`'s methods do."""

    def __init__(self, channel: grpc.Channel, address: str) -> None:
        self._stub = orders_pb2_grpc.OrderServiceStub(channel)
        self._address = address

    def hold(self, wish: HoldWish) -> Placed:
        """Hold devices back."""
        request = wire.HoldDevicesRequest(
            target=wish.target,
            slot=wish.slot,
            until_us=codec.to_micros(wish.until),
            reason=wish.reason,
        )
        with understood(self._address):
            answer = self._stub.HoldDevices(request, timeout=_CALL_SECONDS)
        return Placed(_order_from_wire(answer.order), answer.devices, answer.slot_unknown)

    def release(self, name: str, reason: str = "") -> int:
        """End a hold before its time; for how many devices."""
        request = wire.ReleaseHoldRequest(id=name, reason=reason)
        with understood(self._address):
            return self._stub.ReleaseHold(request, timeout=_CALL_SECONDS).devices

    def holds(self, device: str = "") -> tuple[HoldOrder, ...]:
        """The holds that have not ended: all, or those of a device."""
        request = wire.ListHoldsRequest(device=device)
        with understood(self._address):
            answer = self._stub.ListHolds(request, timeout=_CALL_SECONDS)
        return tuple(_order_from_wire(each) for each in answer.orders)

    def roll_back(self, device: DeviceId, slot: SlotName, reason: str) -> tuple[str, str]:
        """Start a rollout of what a slot served before: its id, and the release."""
        request = wire.RollBackDeviceRequest(device=device, slot=slot, reason=reason)
        with understood(self._address):
            answer = self._stub.RollBackDevice(request, timeout=_CALL_SECONDS)
        return answer.rollout, answer.release

    def unknown(self) -> tuple[UnknownDevice, ...]:
        """Machines with a certificate of this fleet that called and are not known."""
        with understood(self._address):
            answer = self._stub.ListUnknownDevices(
                wire.ListUnknownDevicesRequest(), timeout=_CALL_SECONDS
            )
        return tuple(map(_unknown_from_wire, answer.devices))

    def adopt(self, wish: Adoption) -> None:
        """Make one of them a device again."""
        request = wire.AdoptDeviceRequest(
            device=wish.device, key=wish.key, labels=dict(wish.labels), reason=wish.reason
        )
        with understood(self._address):
            self._stub.AdoptDevice(request, timeout=_CALL_SECONDS)


def _unknown_to_wire(knock: Knock) -> wire.UnknownDevice:
    return wire.UnknownDevice(
        device=knock.device,
        key=knock.shown.key.fingerprint,
        certified_us=codec.to_micros(knock.shown.issued),
        first_us=codec.to_micros(knock.first),
        last_us=codec.to_micros(knock.last),
    )


def _unknown_from_wire(found: wire.UnknownDevice) -> UnknownDevice:
    moments = (found.certified_us, found.first_us, found.last_us)
    return UnknownDevice(parse_device(found.device), found.key, *map(codec.from_micros, moments))


def _order_to_wire(order: HoldOrder) -> wire.HoldOrder:
    hold = order.hold
    return wire.HoldOrder(
        id=hold.id,
        selector=order.selector,
        slot=hold.slot,
        owner=hold.owner,
        reason=hold.reason,
        until_us=codec.to_micros(hold.until),
        placed_us=codec.to_micros(order.placed_at),
    )


def _order_from_wire(order: wire.HoldOrder) -> HoldOrder:
    until = codec.from_micros(order.until_us)
    hold = Hold(order.id, order.slot, order.owner, order.reason, until)
    return HoldOrder(hold, order.selector, codec.from_micros(order.placed_us))
