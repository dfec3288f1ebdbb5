"""AlertService, both ends: what the manager answers, and how an operator asks."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sealane import codec
from sealane.wire.v1 import alerts_pb2 as wire
from sealane.wire.v1 import alerts_pb2_grpc

from sealane_manager.alerts.types import (
    Alert,
    AlertFilter,
    AlertState,
    Finding,
    Quiet,
    Severity,
    Silence,
)
from sealane_manager.rpc.answers import understood
from sealane_manager.rpc.convert_terms import word
from sealane_manager.rpc.operators import asked
from sealane_manager.views import ChannelView

if TYPE_CHECKING:
    import grpc

    from sealane_manager.alarms import Alarms

    Context = grpc.aio.ServicerContext[Any, Any]

_CALL_SECONDS: Final = 30


class AlertService(alerts_pb2_grpc.AlertServiceServicer):
    """Parses, asks the office, converts."""

    def __init__(self, alarms: Alarms) -> None:
        self._alarms = alarms

    def register(self, server: grpc.aio.Server) -> None:
        """Make the server answer for this service."""
        alerts_pb2_grpc.add_AlertServiceServicer_to_server(self, server)

    async def ListAlerts(
        self, request: wire.ListAlertsRequest, _context: Context
    ) -> wire.ListAlertsResponse:
        """The alerts that a filter picks."""
        found = await asked(lambda who: self._alarms.seen(who.sites).list(_filter(request)))
        return wire.ListAlertsResponse(alerts=map(_alert_to_wire, found))

    async def GetAlert(
        self, request: wire.GetAlertRequest, _context: Context
    ) -> wire.GetAlertResponse:
        """One alert."""
        found = await asked(
            lambda who: self._alarms.seen(who.sites).get(request.rule, request.subject)
        )
        return wire.GetAlertResponse(alert=_alert_to_wire(found))

    async def AcknowledgeAlert(
        self, request: wire.AcknowledgeAlertRequest, _context: Context
    ) -> wire.AcknowledgeAlertResponse:
        """Take care of an alert."""
        found = await asked(
            lambda who: self._alarms.acknowledge(
                request.rule, request.subject, who.name, request.reason
            ),
        )
        return wire.AcknowledgeAlertResponse(alert=_alert_to_wire(found))

    async def CreateSilence(
        self, request: wire.CreateSilenceRequest, _context: Context
    ) -> wire.CreateSilenceResponse:
        """Keep quiet for a while."""
        lasts = timedelta(seconds=request.seconds)
        quiet = Quiet(request.rule, request.site, request.subject, lasts)
        found = await asked(lambda who: self._alarms.silence(quiet, who.name, request.reason))
        return wire.CreateSilenceResponse(silence=_silence_to_wire(found))

    async def ListSilences(
        self, _request: wire.ListSilencesRequest, _context: Context
    ) -> wire.ListSilencesResponse:
        """The silences that hold now."""
        found = await asked(lambda who: self._alarms.seen(who.sites).silences())
        return wire.ListSilencesResponse(silences=map(_silence_to_wire, found))

    async def EndSilence(
        self, request: wire.EndSilenceRequest, _context: Context
    ) -> wire.EndSilenceResponse:
        """Speak again."""
        await asked(lambda who: self._alarms.end_silence(request.id, who.name, request.reason))
        return wire.EndSilenceResponse()

    async def ListChannels(
        self, _request: wire.ListChannelsRequest, _context: Context
    ) -> wire.ListChannelsResponse:
        """Every channel."""
        found = await asked(lambda who: self._alarms.seen(who.sites).described())
        return wire.ListChannelsResponse(channels=map(_channel_to_wire, found))

    async def TestChannels(
        self, request: wire.TestChannelsRequest, _context: Context
    ) -> wire.TestChannelsResponse:
        """Try channels."""
        found = await asked(lambda _: self._alarms.test(request.name))
        return wire.TestChannelsResponse(channels=map(_channel_to_wire, found))


class AlertCalls:
    """An operator's questions about alerts; raise what `Operator`'s methods do."""

    def __init__(self, channel: grpc.Channel, address: str) -> None:
        self._stub = alerts_pb2_grpc.AlertServiceStub(channel)
        self._address = address

    def list(self, wanted: AlertFilter) -> tuple[Alert, ...]:
        """The alerts, the latest first."""
        request = wire.ListAlertsRequest(
            rule=wanted.rule,
            site=wanted.site,
            severity=wanted.severity,
            text=wanted.text,
            states=wanted.states,
        )
        with understood(self._address):
            answer = self._stub.ListAlerts(request, timeout=_CALL_SECONDS)
        return tuple(map(_alert_from_wire, answer.alerts))

    def get(self, rule: str, subject: str) -> Alert:
        """One alert."""
        request = wire.GetAlertRequest(rule=rule, subject=subject)
        with understood(self._address):
            return _alert_from_wire(self._stub.GetAlert(request, timeout=_CALL_SECONDS).alert)

    def acknowledge(self, rule: str, subject: str, reason: str = "") -> Alert:
        """Take care of an alert."""
        request = wire.AcknowledgeAlertRequest(rule=rule, subject=subject, reason=reason)
        with understood(self._address):
            answer = self._stub.AcknowledgeAlert(request, timeout=_CALL_SECONDS)
        return _alert_from_wire(answer.alert)

    def silence(self, quiet: Quiet, reason: str) -> Silence:
        """Keep quiet for a while."""
        request = wire.CreateSilenceRequest(
            rule=quiet.rule,
            site=quiet.site,
            subject=quiet.subject,
            seconds=round(quiet.lasts.total_seconds()),
            reason=reason,
        )
        with understood(self._address):
            answer = self._stub.CreateSilence(request, timeout=_CALL_SECONDS)
        return _silence_from_wire(answer.silence)

    def silences(self) -> tuple[Silence, ...]:
        """The silences that hold now."""
        with understood(self._address):
            answer = self._stub.ListSilences(wire.ListSilencesRequest(), timeout=_CALL_SECONDS)
        return tuple(map(_silence_from_wire, answer.silences))

    def end_silence(self, silence: str, reason: str = "") -> None:
        """Speak again."""
        request = wire.EndSilenceRequest(id=silence, reason=reason)
        with understood(self._address):
            self._stub.EndSilence(request, timeout=_CALL_SECONDS)

    def channels(self) -> tuple[ChannelView, ...]:
        """Every channel."""
        with understood(self._address):
            answer = self._stub.ListChannels(wire.ListChannelsRequest(), timeout=_CALL_SECONDS)
        return tuple(map(_channel_from_wire, answer.channels))

    def test_channels(self, name: str = "") -> tuple[ChannelView, ...]:
        """Send a test through one channel, or all, and say what came of it."""
        request = wire.TestChannelsRequest(name=name)
        with understood(self._address):
            answer = self._stub.TestChannels(request, timeout=_CALL_SECONDS)
        return tuple(map(_channel_from_wire, answer.channels))


def _filter(request: wire.ListAlertsRequest) -> AlertFilter:
    return AlertFilter(
        rule=request.rule,
        site=request.site,
        severity=str(word(Severity, request.severity)) if request.severity else "",
        text=request.text,
        states=tuple(word(AlertState, each) for each in request.states),
    )


def _alert_to_wire(alert: Alert) -> wire.Alert:
    finding = alert.finding
    return wire.Alert(
        rule=finding.rule,
        subject=finding.subject,
        site=finding.site,
        severity=finding.severity,
        text=finding.text,
        state=alert.state,
        since_us=codec.to_micros(alert.since),
        seen_us=codec.to_micros(alert.seen),
        ended_us=codec.to_micros(alert.ended) if alert.ended else 0,
        by=alert.by,
        count=alert.count,
        told=alert.told,
    )


def _alert_from_wire(found: wire.Alert) -> Alert:
    severity = word(Severity, found.severity)
    return Alert(
        finding=Finding(found.rule, found.subject, found.site, severity, found.text),
        state=word(AlertState, found.state),
        since=codec.from_micros(found.since_us),
        seen=codec.from_micros(found.seen_us),
        told=found.told,
        ended=codec.from_micros(found.ended_us) if found.ended_us else None,
        by=found.by,
        count=found.count,
    )


def _silence_to_wire(silence: Silence) -> wire.Silence:
    return wire.Silence(
        id=silence.id,
        rule=silence.rule,
        site=silence.site,
        subject=silence.subject,
        until_us=codec.to_micros(silence.until),
        by=silence.by,
        reason=silence.reason,
    )


def _silence_from_wire(found: wire.Silence) -> Silence:
    until = codec.from_micros(found.until_us)
    return Silence(found.id, found.rule, found.site, found.subject, until, found.by, found.reason)


def _channel_to_wire(channel: ChannelView) -> wire.Channel:
    return wire.Channel(
        name=channel.name,
        kind=channel.kind,
        waiting=channel.waiting,
        dead=channel.dead,
        problem=channel.problem,
    )


def _channel_from_wire(found: wire.Channel) -> ChannelView:
    return ChannelView(found.name, found.kind, found.waiting, found.dead, found.problem)
