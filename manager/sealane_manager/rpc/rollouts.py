"""RolloutService, both ends: what a rollout would do, as the manager foresees it."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from sealane import codec
from sealane.names import parse_device
from sealane.wire.v1 import rollouts_pb2 as wire
from sealane.wire.v1 import rollouts_pb2_grpc

from sealane_manager.evidence import Entry, RolloutEvidence
from sealane_manager.gate.power import Habit
from sealane_manager.rollout.forecast import Lines, StageTime
from sealane_manager.rollout.prospect import Load
from sealane_manager.rollout_file.applying import Wish
from sealane_manager.rollout_file.fields import parse_name
from sealane_manager.rpc import convert
from sealane_manager.rpc.answers import understood
from sealane_manager.store.records import ReceiptProof
from sealane_manager.views import PlannedView, PlanView

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
    from datetime import datetime

    import grpc

    from sealane_manager.evidence import EvidenceDesk
    from sealane_manager.planning import Planning

    Context = grpc.aio.ServicerContext[Any, Any]

PAGE: Final = 1000
"""Devices in one message."""

_CALL_SECONDS: Final = 300


class RolloutService(rollouts_pb2_grpc.RolloutServiceServicer):
    """Parses, asks, converts."""

    def __init__(self, planning: Planning, evidence: EvidenceDesk) -> None:
        self._planning, self._evidence = planning, evidence

    def register(self, server: grpc.aio.Server) -> None:
        """Make the server answer for this service."""
        rollouts_pb2_grpc.add_RolloutServiceServicer_to_server(self, server)

    async def PlanRollout(
        self, request: wire.PlanRolloutRequest, _context: Context
    ) -> AsyncIterator[wire.PlanRolloutResponse]:
        """What a rollout would do."""
        name = parse_name(request.name) if request.name else ""
        wish = Wish(name, convert.spec_from_wire(request.asked))
        lines = Lines(request.link_kbit or Lines().link_kbit, request.zone or Lines().zone)
        found = await asyncio.to_thread(self._planning.plan, wish, lines)
        yield wire.PlanRolloutResponse(summary=_summary_to_wire(found))
        for page in _pages(found.devices):
            yield wire.PlanRolloutResponse(devices=map(_device_to_wire, page))

    async def GetEvidence(
        self, request: wire.GetEvidenceRequest, _context: Context
    ) -> AsyncIterator[wire.GetEvidenceResponse]:
        """What proves a rollout."""
        found = await asyncio.to_thread(self._evidence.of, request.rollout)
        for part in evidence_to_wire(found):
            yield part


def evidence_to_wire(found: RolloutEvidence) -> Iterator[wire.GetEvidenceResponse]:
    """What proves a rollout, one thing a message."""
    head = wire.EvidenceHead(rollout=found.rollout, note=found.note)
    yield wire.GetEvidenceResponse(head=head)
    for entry in found.entries:
        yield wire.GetEvidenceResponse(
            entry=wire.ProvedEntry(index=entry.index, content=entry.content, proof=entry.proof)
        )
    for inputs in found.judgements:
        yield wire.GetEvidenceResponse(judgement=inputs)
    for each in found.receipts:
        yield wire.GetEvidenceResponse(receipt=wire.ProvedReceipt(**asdict(each)))


def evidence_from_wire(parts: Sequence[wire.GetEvidenceResponse]) -> RolloutEvidence:
    """What proves a rollout."""
    every = {kind: [each for each in parts if each.WhichOneof("part") == kind] for kind in _PARTS}
    (head,) = every["head"]
    return RolloutEvidence(
        head.head.rollout,
        head.head.note,
        tuple(
            Entry(each.entry.index, each.entry.content, tuple(each.entry.proof))
            for each in every["entry"]
        ),
        tuple(each.judgement for each in every["judgement"]),
        tuple(_receipt(each.receipt) for each in every["receipt"]),
    )


_PARTS: Final = ("head", "entry", "judgement", "receipt")


def _receipt(found: wire.ProvedReceipt) -> ReceiptProof:
    return ReceiptProof(
        found.device, found.sequence, found.payload, found.signature, found.public_key
    )


def _pages(devices: tuple[PlannedView, ...]) -> Iterable[tuple[PlannedView, ...]]:
    return (devices[first : first + PAGE] for first in range(0, len(devices), PAGE))


class PlanCalls:
    """An operator's questions about rollouts to be; raise what `Operator`'s methods do."""

    def __init__(self, channel: grpc.Channel, address: str) -> None:
        self._stub = rollouts_pb2_grpc.RolloutServiceStub(channel)
        self._address = address

    def plan(self, wish: Wish, lines: Lines) -> PlanView:
        """What a rollout would do if it started now."""
        request = wire.PlanRolloutRequest(
            name=wish.name,
            asked=convert.spec_to_wire(wish.spec, ""),
            link_kbit=lines.link_kbit,
            zone=lines.zone,
        )
        with understood(self._address):
            answers = list(self._stub.PlanRollout(request, timeout=_CALL_SECONDS))
        devices = tuple(_device_from_wire(each) for answer in answers for each in answer.devices)
        return _plan_from_wire(answers[0].summary, devices)

    def evidence(self, rollout: str) -> RolloutEvidence:
        """What proves a rollout."""
        request = wire.GetEvidenceRequest(rollout=rollout)
        with understood(self._address):
            return evidence_from_wire(list(self._stub.GetEvidence(request, timeout=_CALL_SECONDS)))


def _summary_to_wire(found: PlanView) -> wire.PlanSummary:
    return wire.PlanSummary(
        id=found.id,
        spec=convert.spec_to_wire(found.spec, ""),
        stages=[
            wire.PlannedStage(
                begins_us=codec.to_micros(each.begins),
                serves_us=_micros(each.serves),
                ends_us=_micros(each.ends),
            )
            for each in found.times
        ],
        treated=[wire.DeviceHabit(**asdict(each)) for each in found.treated],
        control=[wire.DeviceHabit(**asdict(each)) for each in found.control],
        measured=found.measured,
    )


def _plan_from_wire(summary: wire.PlanSummary, devices: tuple[PlannedView, ...]) -> PlanView:
    return PlanView(
        summary.id,
        convert.spec_from_wire(summary.spec),
        devices,
        tuple(
            StageTime(
                codec.from_micros(each.begins_us), _moment(each.serves_us), _moment(each.ends_us)
            )
            for each in summary.stages
        ),
        tuple(Habit(each.per_minute, each.error_rate) for each in summary.treated),
        tuple(Habit(each.per_minute, each.error_rate) for each in summary.control),
        summary.measured,
    )


def _device_to_wire(each: PlannedView) -> wire.PlannedDevice:
    return wire.PlannedDevice(
        device=each.device,
        site=each.site,
        stage=0 if each.stage is None else each.stage + 1,
        variants=each.variants,
        why=each.why,
        fails=each.fails,
        bytes=each.load.whole,
        patched_bytes=each.load.patched,
    )


def _device_from_wire(each: wire.PlannedDevice) -> PlannedView:
    return PlannedView(
        parse_device(each.device),
        each.site,
        each.stage - 1 if each.stage else None,
        tuple(each.variants),
        each.why,
        each.fails,
        Load(each.bytes, each.patched_bytes),
    )


def _micros(moment: datetime | None) -> int:
    return codec.to_micros(moment) if moment else 0


def _moment(micros: int) -> datetime | None:
    return codec.from_micros(micros) if micros else None
