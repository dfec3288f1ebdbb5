"""CalendarService, both ends: what the manager answers, and how an operator asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sealane.wire.v1 import calendars_pb2 as wire
from sealane.wire.v1 import calendars_pb2_grpc

from sealane_manager.calendars import Calendar
from sealane_manager.rollout.notation import freeze_text, parse_freeze
from sealane_manager.rpc.answers import understood
from sealane_manager.rpc.operators import asked

if TYPE_CHECKING:
    import grpc

    from sealane_manager.members import Members

    Context = grpc.aio.ServicerContext[Any, Any]

_CALL_SECONDS: Final = 30


class CalendarService(calendars_pb2_grpc.CalendarServiceServicer):
    """Parses, asks the office, converts."""

    def __init__(self, members: Members) -> None:
        self._members = members

    def register(self, server: grpc.aio.Server) -> None:
        """Make the server answer for this service."""
        calendars_pb2_grpc.add_CalendarServiceServicer_to_server(self, server)

    async def ListCalendars(
        self, _request: wire.ListCalendarsRequest, _context: Context
    ) -> wire.ListCalendarsResponse:
        """Every calendar."""
        found = await asked(lambda _: self._members.calendars())
        return wire.ListCalendarsResponse(calendars=map(_to_wire, found))

    async def PutCalendar(
        self, request: wire.PutCalendarRequest, _context: Context
    ) -> wire.PutCalendarResponse:
        """Add or replace one."""
        await asked(
            lambda who: self._members.put_calendar(
                _from_wire(request.calendar), request.reason, who.name
            )
        )
        return wire.PutCalendarResponse()

    async def RemoveCalendar(
        self, request: wire.RemoveCalendarRequest, _context: Context
    ) -> wire.RemoveCalendarResponse:
        """Take one away."""
        await asked(
            lambda who: self._members.remove_calendar(request.name, request.reason, who.name)
        )
        return wire.RemoveCalendarResponse()


class CalendarCalls:
    """An operator's calendars; raise what `Operator`'s methods do."""

    def __init__(self, channel: grpc.Channel, address: str) -> None:
        self._stub = calendars_pb2_grpc.CalendarServiceStub(channel)
        self._address = address

    def list(self) -> tuple[Calendar, ...]:
        """Every calendar, by name."""
        with understood(self._address):
            answer = self._stub.ListCalendars(wire.ListCalendarsRequest(), timeout=_CALL_SECONDS)
        return tuple(_from_wire(each) for each in answer.calendars)

    def put(self, calendar: Calendar, reason: str = "") -> None:
        """Add or replace one."""
        request = wire.PutCalendarRequest(calendar=_to_wire(calendar), reason=reason)
        with understood(self._address):
            self._stub.PutCalendar(request, timeout=_CALL_SECONDS)

    def remove(self, name: str, reason: str = "") -> None:
        """Take one away."""
        request = wire.RemoveCalendarRequest(name=name, reason=reason)
        with understood(self._address):
            self._stub.RemoveCalendar(request, timeout=_CALL_SECONDS)


def _to_wire(calendar: Calendar) -> wire.Calendar:
    return wire.Calendar(
        name=calendar.name,
        selector=calendar.selector,
        zone=calendar.zone,
        hours=calendar.hours,
        freezes=map(freeze_text, calendar.freezes),
        holidays=calendar.holidays,
    )


def _from_wire(calendar: wire.Calendar) -> Calendar:
    return Calendar(
        calendar.name,
        calendar.selector,
        calendar.zone,
        tuple(calendar.hours),
        tuple(map(parse_freeze, calendar.freezes)),
        tuple(calendar.holidays),
    )
