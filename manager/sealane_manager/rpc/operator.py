"""OperatorService: what people and pipelines ask, over mutual TLS."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from sealane.names import parse_digest
from sealane.wire.v1 import operator_pb2 as wire
from sealane.wire.v1 import operator_pb2_grpc

from sealane_manager.identity.enrolment import Terms
from sealane_manager.members import LabelChange
from sealane_manager.rollout.operate import Word
from sealane_manager.rpc import convert
from sealane_manager.rpc.answers import answering
from sealane_manager.rpc.schedules import schedule_from_wire, schedule_to_wire
from sealane_manager.rpc.uploads import take_upload
from sealane_manager.trust.changes import Offer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import grpc

    from sealane_manager.blobs import BlobStore
    from sealane_manager.members import Members
    from sealane_manager.publishing import Publishing
    from sealane_manager.rollouts import Rollouts
    from sealane_manager.rpc.peers import Door

    Context = grpc.aio.ServicerContext[Any, Any]
    Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Offices:
    """Who answers what an operator asks; every method of theirs blocks."""

    members: Members
    publishing: Publishing
    blobs: BlobStore
    rollouts: Rollouts


class OperatorService(operator_pb2_grpc.OperatorServiceServicer):
    """Parses, asks an office, converts."""

    def __init__(self, door: Door, offices: Offices) -> None:
        self._door, self._offices = door, offices

    def register(self, server: grpc.aio.Server) -> None:
        """Make the server answer for this service."""
        operator_pb2_grpc.add_OperatorServiceServicer_to_server(self, server)

    async def _ask(self, context: Context, question: Callable[[str], Answer]) -> Answer:
        async with answering(context):
            caller = self._door.admit(context)
            return await asyncio.to_thread(question, caller.name)
        raise AssertionError("answering ends the call")

    async def CreateJoinToken(
        self, request: wire.CreateJoinTokenRequest, context: Context
    ) -> wire.CreateJoinTokenResponse:
        """A join token."""

        def invite(actor: str) -> str:
            lifetime = timedelta(seconds=request.lifetime_s)
            terms = Terms(dict(request.labels), request.uses, lifetime, request.approval)
            return self._offices.members.invite(terms, actor)

        return wire.CreateJoinTokenResponse(token=await self._ask(context, invite))

    async def ListDevices(
        self, request: wire.ListDevicesRequest, context: Context
    ) -> wire.ListDevicesResponse:
        """The devices that a selector picks."""
        members = self._offices.members
        found = await self._ask(context, lambda _: members.list(request.selector))
        return wire.ListDevicesResponse(devices=map(convert.device_to_wire, found))

    async def LabelDevice(
        self, request: wire.LabelDeviceRequest, context: Context
    ) -> wire.LabelDeviceResponse:
        """Set and remove labels."""

        def label(actor: str) -> wire.Device:
            change = LabelChange(dict(request.set), tuple(request.remove))
            device = self._offices.members.label(request.device, change, actor)
            return convert.device_to_wire(device)

        return wire.LabelDeviceResponse(device=await self._ask(context, label))

    async def RevokeDevice(
        self, request: wire.RevokeDeviceRequest, context: Context
    ) -> wire.RevokeDeviceResponse:
        """End a device's membership."""
        members = self._offices.members
        await self._ask(
            context, lambda actor: members.revoke(request.device, request.reason, actor)
        )
        return wire.RevokeDeviceResponse()

    async def ApproveDevice(
        self, request: wire.ApproveDeviceRequest, context: Context
    ) -> wire.ApproveDeviceResponse:
        """Admit a device that waits."""
        members = self._offices.members
        await self._ask(
            context, lambda actor: members.approve(request.device, request.reason, actor)
        )
        return wire.ApproveDeviceResponse()

    async def MissingBlobs(
        self, request: wire.MissingBlobsRequest, context: Context
    ) -> wire.MissingBlobsResponse:
        """Which of these blobs are not here."""

        def missing(_actor: str) -> tuple[str, ...]:
            return self._offices.blobs.missing([parse_digest(text) for text in request.digests])

        return wire.MissingBlobsResponse(digests=await self._ask(context, missing))

    async def UploadBlob(
        self, requests: AsyncIterator[wire.UploadBlobRequest], context: Context
    ) -> wire.UploadBlobResponse:
        """Take one blob."""
        async with answering(context):
            self._door.admit(context)
            await take_upload(requests, self._offices.blobs)
        return wire.UploadBlobResponse()

    async def GetMetadata(
        self, request: wire.GetMetadataRequest, context: Context
    ) -> wire.GetMetadataResponse:
        """The current metadata of a role."""
        publishing = self._offices.publishing
        content = await self._ask(context, lambda _: publishing.current(request.role))
        return wire.GetMetadataResponse(metadata=content)

    async def SubmitMetadata(
        self, request: wire.SubmitMetadataRequest, context: Context
    ) -> wire.SubmitMetadataResponse:
        """Take new metadata of a role, or signatures for what waits."""
        publishing = self._offices.publishing
        offer = Offer(request.role, request.metadata, request.reason, request.replaces)
        outcome = await self._ask(context, lambda actor: publishing.submit(offer, actor))
        return wire.SubmitMetadataResponse(snapshot=outcome.snapshot, published=outcome.published)

    async def ListChanges(
        self, _request: wire.ListChangesRequest, context: Context
    ) -> wire.ListChangesResponse:
        """Every change that waits for signatures."""
        publishing = self._offices.publishing
        found = await self._ask(context, lambda _: publishing.changes())
        return wire.ListChangesResponse(changes=map(convert.change_to_wire, found))

    async def WithdrawChange(
        self, request: wire.WithdrawChangeRequest, context: Context
    ) -> wire.WithdrawChangeResponse:
        """Forget a waiting change."""
        publishing = self._offices.publishing
        await self._ask(context, lambda actor: publishing.withdraw(request.role, actor))
        return wire.WithdrawChangeResponse()

    async def ListReleases(
        self, _request: wire.ListReleasesRequest, context: Context
    ) -> wire.ListReleasesResponse:
        """Every listed release."""
        publishing = self._offices.publishing
        found = await self._ask(context, lambda _: publishing.releases())
        return wire.ListReleasesResponse(releases=map(convert.release_to_wire, found))

    async def CreateRollout(
        self, request: wire.CreateRolloutRequest, context: Context
    ) -> wire.CreateRolloutResponse:
        """Start a rollout."""

        def create(actor: str) -> wire.Rollout:
            spec = convert.spec_from_wire(request)
            rollout = self._offices.rollouts.create(spec, actor, request.reason)
            return convert.rollout_to_wire(rollout)

        return wire.CreateRolloutResponse(rollout=await self._ask(context, create))

    async def ApplyRollout(
        self, request: wire.ApplyRolloutRequest, context: Context
    ) -> wire.ApplyRolloutResponse:
        """Do what a file asks for."""

        def apply(actor: str) -> wire.ApplyRolloutResponse:
            wish = convert.wish_from_wire(request)
            applied = self._offices.rollouts.apply(wish, actor, request.asked.reason)
            return convert.applied_to_wire(applied)

        return await self._ask(context, apply)

    async def ListRollouts(
        self, _request: wire.ListRolloutsRequest, context: Context
    ) -> wire.ListRolloutsResponse:
        """Every rollout, the newest first."""
        rollouts = self._offices.rollouts
        found = await self._ask(context, lambda _: rollouts.list())
        return wire.ListRolloutsResponse(rollouts=map(convert.rollout_to_wire, found))

    async def GetRollout(
        self, request: wire.GetRolloutRequest, context: Context
    ) -> wire.GetRolloutResponse:
        """One rollout with its devices and decisions."""
        rollouts = self._offices.rollouts
        found = await self._ask(context, lambda _: rollouts.get(request.id))
        return wire.GetRolloutResponse(rollout=convert.rollout_to_wire(found))

    async def WatchRollout(
        self, request: wire.WatchRolloutRequest, context: Context
    ) -> AsyncIterator[wire.WatchRolloutResponse]:
        """The rollout now and after every change, until it has ended."""
        async with answering(context):
            caller = self._door.admit(context)
            async for rollout in self._offices.rollouts.watch(request.id):
                self._door.check(caller)
                yield wire.WatchRolloutResponse(rollout=convert.rollout_to_wire(rollout))

    async def ControlRollout(
        self, request: wire.ControlRolloutRequest, context: Context
    ) -> wire.ControlRolloutResponse:
        """Do what an operator says of a rollout."""

        def control(actor: str) -> wire.Rollout:
            operation = convert.operation_from_wire(request)
            word = Word(operation, request.reason, actor, request.device)
            return convert.rollout_to_wire(self._offices.rollouts.operate(request.id, word))

        return wire.ControlRolloutResponse(rollout=await self._ask(context, control))

    async def ListSchedules(
        self, _request: wire.ListSchedulesRequest, context: Context
    ) -> wire.ListSchedulesResponse:
        """When devices may fetch and activate."""
        found = await self._ask(context, lambda _: self._offices.members.schedules())
        return wire.ListSchedulesResponse(schedules=map(schedule_to_wire, found))

    async def PutSchedule(
        self, request: wire.PutScheduleRequest, context: Context
    ) -> wire.PutScheduleResponse:
        """Add or replace a schedule."""

        def put(actor: str) -> None:
            schedule = schedule_from_wire(request.schedule)
            self._offices.members.schedule(schedule, request.reason, actor)

        await self._ask(context, put)
        return wire.PutScheduleResponse()

    async def RemoveSchedule(
        self, request: wire.RemoveScheduleRequest, context: Context
    ) -> wire.RemoveScheduleResponse:
        """Take a schedule away."""
        members = self._offices.members
        await self._ask(
            context, lambda actor: members.unschedule(request.name, request.reason, actor)
        )
        return wire.RemoveScheduleResponse()

    async def GetJudgements(
        self, request: wire.GetJudgementsRequest, context: Context
    ) -> wire.GetJudgementsResponse:
        """What the gate of a rollout said, with all that it saw."""
        rollouts = self._offices.rollouts
        found = await self._ask(context, lambda _: rollouts.judgements(request.rollout))
        return wire.GetJudgementsResponse(judgements=map(convert.judgement_to_wire, found))

    async def QuarantineRelease(
        self, request: wire.QuarantineReleaseRequest, context: Context
    ) -> wire.QuarantineReleaseResponse:
        """Take a release off every device."""
        rollouts = self._offices.rollouts
        told = await self._ask(
            context,
            lambda actor: rollouts.quarantine(
                request.release, request.reason, actor, stops=request.stops
            ),
        )
        return wire.QuarantineReleaseResponse(devices=told)

    async def LiftQuarantine(
        self, request: wire.LiftQuarantineRequest, context: Context
    ) -> wire.LiftQuarantineResponse:
        """Let a release be rolled out again."""
        rollouts = self._offices.rollouts
        await self._ask(
            context, lambda actor: rollouts.lift(request.release, request.reason, actor)
        )
        return wire.LiftQuarantineResponse()

    async def ListQuarantine(
        self, _request: wire.ListQuarantineRequest, context: Context
    ) -> wire.ListQuarantineResponse:
        """Every release in quarantine."""
        found = await self._ask(context, lambda _: self._offices.rollouts.quarantined())
        return wire.ListQuarantineResponse(releases=map(convert.quarantined_to_wire, found))
