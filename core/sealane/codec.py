"""Converts session messages between plain values and the wire; the only reader of its types.

What comes from the wire is checked here: a message that does not fit raises InvalidName or
SealaneError, and never reaches a decision.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import singledispatch
from itertools import islice
from typing import TYPE_CHECKING

from sealane import fleet
from sealane.audit.position import Position
from sealane.bundle.deployment import ACCELERATORS
from sealane.errors import SealaneError
from sealane.failure import Failure, FailureKind
from sealane.limits import METADATA_ROLES, WINNERS_TOLD
from sealane.names import parse_device, parse_slot
from sealane.receipt import SignedReceipt
from sealane.telemetry.types import TelemetryAck, TelemetryBatch
from sealane.wire.v1 import fleet_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SENTENCE_CHARS = 300
"""Of a sentence that a device tells about itself."""

WORD_CHARS = 160
"""Of a name in what nobody signs: longer than any name may be, so what is cut is no name."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The moment, aware, in UTC; raises SealaneError when no calendar holds it."""
    try:
        return _EPOCH + timedelta(microseconds=micros)
    except OverflowError as error:
        raise SealaneError(f"{micros} microseconds since 1970 is no date") from error


def device_message_to_wire(message: fleet.DeviceMessage) -> wire.SessionRequest:
    """What the device says, for the wire."""
    match message:
        case fleet.Hello():
            return wire.SessionRequest(
                hello=wire.Hello(
                    agent_version=message.agent_version,
                    boot_id=message.boot_id,
                    facts=facts_to_wire(message.facts),
                    slots=[slot_to_wire(slot) for slot in message.slots],
                    director_version=message.memory.director_version,
                    metadata=message.memory.metadata,
                    heartbeat_interval_ms=round(message.heartbeat_s * 1000),
                )
            )
        case fleet.MetadataFile():
            file = wire.MetadataFile(name=message.name, content=message.content)
            return wire.SessionRequest(metadata_file=file)
        case fleet.Heartbeat():
            return wire.SessionRequest(
                heartbeat=wire.Heartbeat(slots=[slot_to_wire(slot) for slot in message.slots])
            )
        case fleet.AssignmentRequest():
            return wire.SessionRequest(
                assignment_request=wire.AssignmentRequest(
                    nonce=message.nonce,
                    log_epoch=message.seen.epoch,
                    log_size=message.seen.size,
                    log_root=message.seen.root,
                    hardware=message.hardware,
                )
            )
        case fleet.Events():
            return wire.SessionRequest(
                events=wire.Events(events=[_event_to_wire(event) for event in message.events])
            )
        case TelemetryBatch():
            return wire.SessionRequest(
                telemetry_batch=wire.TelemetryBatch(
                    boot_id=message.boot, sequence=message.sequence, body=message.body
                )
            )


def device_message_from_wire(message: wire.SessionRequest) -> fleet.DeviceMessage:
    """What the device said."""
    match message.WhichOneof("message"):
        case "hello":
            return fleet.Hello(
                agent_version=message.hello.agent_version,
                boot_id=message.hello.boot_id,
                facts=facts_from_wire(message.hello.facts),
                slots=tuple(slot_from_wire(slot) for slot in message.hello.slots),
                memory=_memory_from_wire(message.hello),
                heartbeat_s=message.hello.heartbeat_interval_ms / 1000,
            )
        case "metadata_file":
            return fleet.MetadataFile(message.metadata_file.name, message.metadata_file.content)
        case "heartbeat":
            return fleet.Heartbeat(tuple(slot_from_wire(slot) for slot in message.heartbeat.slots))
        case "assignment_request":
            request = message.assignment_request
            seen = Position(request.log_epoch, request.log_size, request.log_root)
            return fleet.AssignmentRequest(request.nonce, seen, request.hardware[:WORD_CHARS])
        case "events":
            return fleet.Events(tuple(_event_from_wire(event) for event in message.events.events))
        case "telemetry_batch":
            batch = message.telemetry_batch
            return TelemetryBatch(batch.boot_id, batch.sequence, batch.body)
        case _:
            raise SealaneError("the device sent a message of a kind this manager does not know")


def _memory_from_wire(hello: wire.Hello) -> fleet.Memory:
    if len(hello.metadata) > METADATA_ROLES:
        raise SealaneError(f"a device holds metadata of at most {METADATA_ROLES} roles")
    return fleet.Memory(hello.director_version, dict(hello.metadata))


def manager_message_to_wire(message: fleet.ManagerMessage) -> wire.SessionResponse:
    """What the manager says, for the wire."""
    match message:
        case fleet.Welcome():
            return wire.SessionResponse(
                welcome=wire.Welcome(
                    device=message.device,
                    heartbeat_interval_ms=round(message.heartbeat_interval_s * 1000),
                    reconnect_window_ms=round(message.reconnect_window_s * 1000),
                    acked_sequence=message.acked_sequence,
                )
            )
        case fleet.DesiredChanged():
            return wire.SessionResponse(
                desired_changed=wire.DesiredChanged(generation=message.generation)
            )
        case fleet.Assignment():
            return wire.SessionResponse(
                assignment=wire.Assignment(
                    document=message.document,
                    log_proof=message.proof,
                    winners=[_winner_to_wire(each) for each in message.winners],
                )
            )
        case fleet.EventsAck():
            return wire.SessionResponse(events_ack=wire.EventsAck(sequence=message.sequence))
        case fleet.MetadataWanted():
            wanted = wire.MetadataWanted(above=message.above)
            return wire.SessionResponse(metadata_wanted=wanted)
        case TelemetryAck():
            return wire.SessionResponse(
                telemetry_ack=wire.TelemetryAck(boot_id=message.boot, sequence=message.sequence)
            )


def manager_message_from_wire(  # noqa: PLR0911 - one for each kind of message
    message: wire.SessionResponse,
) -> fleet.ManagerMessage | None:
    """What the manager said; None for a kind that this agent is too old to know."""
    match message.WhichOneof("message"):
        case "welcome":
            return fleet.Welcome(
                device=parse_device(message.welcome.device),
                heartbeat_interval_s=message.welcome.heartbeat_interval_ms / 1000,
                reconnect_window_s=message.welcome.reconnect_window_ms / 1000,
                acked_sequence=message.welcome.acked_sequence,
            )
        case "desired_changed":
            return fleet.DesiredChanged(message.desired_changed.generation)
        case "assignment":
            answer = message.assignment
            winners = _winners_from_wire(answer.winners)
            return fleet.Assignment(answer.document, tuple(answer.log_proof), winners)
        case "events_ack":
            return fleet.EventsAck(message.events_ack.sequence)
        case "metadata_wanted":
            return fleet.MetadataWanted(dict(message.metadata_wanted.above))
        case "telemetry_ack":
            return TelemetryAck(message.telemetry_ack.boot_id, message.telemetry_ack.sequence)
        case _:
            return None


def _winner_to_wire(winner: fleet.Winner) -> wire.Winner:
    return wire.Winner(
        hardware=winner.hardware,
        manifest=winner.manifest,
        variant=winner.variant,
        latency_us=winner.latency_us,
    )


def _winners_from_wire(told: Iterable[wire.Winner]) -> tuple[fleet.Winner, ...]:
    """As many as a document may name bundles; a document is not refused for what comes with it."""
    return tuple(
        fleet.Winner(
            each.hardware[:WORD_CHARS],
            each.manifest[:WORD_CHARS],
            each.variant[:WORD_CHARS],
            each.latency_us,
        )
        for each in islice(told, WINNERS_TOLD)
    )


def facts_to_wire(facts: fleet.DeviceFacts) -> wire.DeviceFacts:
    """What a device is, for the wire."""
    return wire.DeviceFacts(
        arch=facts.arch,
        os=facts.os,
        cpus=facts.cpus,
        memory_bytes=facts.memory_bytes,
        endpoint=facts.endpoint,
        runtimes=[
            wire.Runtime(
                name=item.name,
                version=item.version,
                accelerators=item.accelerators,
                opset=item.opset,
                ir_version=item.ir_version,
                lost=dict(item.lost),
            )
            for item in facts.runtimes
        ],
        instructions=facts.instructions,
    )


def facts_from_wire(facts: wire.DeviceFacts) -> fleet.DeviceFacts:
    """What a device is."""
    return fleet.DeviceFacts(
        arch=facts.arch,
        os=facts.os,
        cpus=facts.cpus,
        memory_bytes=facts.memory_bytes,
        endpoint=facts.endpoint,
        runtimes=tuple(
            fleet.RuntimeFact(
                item.name,
                item.version,
                tuple(item.accelerators),
                item.opset,
                item.ir_version,
                _lost(item.lost),
            )
            for item in facts.runtimes
        ),
        instructions=tuple(facts.instructions),
    )


def _lost(told: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Of accelerators that have a name here, in order, each reason cut to a sentence's length."""
    return tuple((name, told[name][:SENTENCE_CHARS]) for name in ACCELERATORS if name in told)


def slot_to_wire(report: fleet.SlotReport) -> wire.SlotReport:
    """One slot, for the wire."""
    return wire.SlotReport(
        slot=report.slot,
        state=report.state,
        active_release=report.active_release,
        lkg_release=report.lkg_release,
        attempt_release=report.attempt_release,
        rollout=report.rollout,
        failure=_failure_to_wire(report.failure) if report.failure else None,
        attempt=report.attempt,
        degraded=report.degraded,
        chosen=report.chosen,
    )


def slot_from_wire(report: wire.SlotReport) -> fleet.SlotReport:
    """One slot."""
    return fleet.SlotReport(
        slot=parse_slot(report.slot),
        state=report.state,
        active_release=report.active_release,
        lkg_release=report.lkg_release,
        attempt_release=report.attempt_release,
        rollout=report.rollout,
        failure=_failure_from_wire(report.failure) if report.HasField("failure") else None,
        attempt=report.attempt,
        degraded=report.degraded[:SENTENCE_CHARS],
        chosen=report.chosen[:SENTENCE_CHARS],
    )


def _failure_to_wire(failure: Failure) -> wire.Failure:
    return wire.Failure(
        kind=failure.kind,
        phase=failure.phase,
        component=failure.component,
        element=failure.element,
        message=failure.message,
        hint=failure.hint,
    )


def _failure_from_wire(failure: wire.Failure) -> Failure:
    known = failure.kind in list(FailureKind)
    return Failure(
        kind=FailureKind(failure.kind) if known else FailureKind.ENVIRONMENTAL,
        phase=failure.phase,
        component=failure.component,
        element=failure.element,
        message=failure.message,
        hint=failure.hint,
    )


@singledispatch
def _body_to_wire(_body: object) -> wire.Event:
    raise TypeError("an event holds a slot report or a signed receipt")


@_body_to_wire.register
def _(body: fleet.SlotReport) -> wire.Event:
    return wire.Event(transition=slot_to_wire(body))


@_body_to_wire.register
def _(body: SignedReceipt) -> wire.Event:
    return wire.Event(receipt=wire.SignedReceipt(payload=body.payload, signature=body.signature))


def _event_to_wire(event: fleet.Event) -> wire.Event:
    message = _body_to_wire(event.body)
    message.sequence = event.sequence
    message.occurred_at_us = to_micros(event.occurred_at)
    return message


def _event_from_wire(event: wire.Event) -> fleet.Event:
    body: fleet.SlotReport | SignedReceipt
    match event.WhichOneof("kind"):
        case "transition":
            body = slot_from_wire(event.transition)
        case "receipt":
            body = SignedReceipt(event.receipt.payload, event.receipt.signature)
        case _:
            raise SealaneError(f"event {event.sequence} is of a kind this manager does not know")
    return fleet.Event(event.sequence, from_micros(event.occurred_at_us), body)
