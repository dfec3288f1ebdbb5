"""OperatorService: what people and pipelines ask, behind the door of `rpc.operators`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sealane.names import parse_digest
from sealane.wire.v1 import operator_pb2 as wire
from sealane.wire.v1 import operator_pb2_grpc

from sealane_manager.assembly import Assembly
from sealane_manager.identity.enrolment import Terms
from sealane_manager.members import LabelChange
from sealane_manager.rollout.operate import Word
from sealane_manager.rpc import convert
from sealane_manager.rpc.operators import asked, asking
from sealane_manager.rpc.schedules import schedule_from_wire, schedule_to_wire
from sealane_manager.rpc.uploads import take_upload
from sealane_manager.rpc.whole import in_one
from sealane_manager.trust.changes import Offer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import grpc

    from sealane_manager.blobs import BlobStore
    from sealane_manager.members import Members
    from sealane_manager.people.access import Who
    from sealane_manager.publishing import Publishing
    from sealane_manager.rollouts import Rollouts

    Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Offices:
    """Who answers what an operator asks; every method of theirs blocks."""

    members: Members
    publishing: Publishing
    blobs: BlobStore
    rollouts: Rollouts


class OperatorService(operator_pb2_grpc.OperatorServiceServicer):
    """Parses, asks an office, converts."""

    def __init__(self, offices: Offices) -> None:
        self._offices = offices

    def register(self, server: grpc.aio.Server) -> None:
        """Make the server answer for this service."""
        operator_pb2_grpc.add_OperatorServiceServicer_to_server(self, server)

    async def CreateJoinToken(
        self, request: wire.CreateJoinTokenRequest, _context: Context
    ) -> wire.CreateJoinTokenResponse:
        """A join token."""

        def invite(who: Who) -> str:
            lifetime = timedelta(seconds=request.lifetime_s)
            terms = Terms(dict(request.labels), request.uses, lifetime, request.approval)
            return self._offices.members.invite(terms, who.name)

        return wire.CreateJoinTokenResponse(token=await asked(invite))

    async def ListDevices(
        self, request: wire.ListDevicesRequest, _context: Context
    ) -> wire.ListDevicesResponse:
        """The devices that a selector picks."""
        members = self._offices.members
        found = await asked(lambda who: members.seen(who.sites).list(request.selector))
        return wire.ListDevicesResponse(devices=map(convert.device_to_wire, found))

    async def LabelDevice(
        self, request: wire.LabelDeviceRequest, _context: Context
    ) -> wire.LabelDeviceResponse:
        """Set and remove labels."""

        def label(who: Who) -> wire.Device:
            change = LabelChange(dict(request.set), tuple(request.remove))
            members = self._offices.members.seen(who.sites)
            device = members.label(request.device, change, who.name)
            return convert.device_to_wire(device)

        return wire.LabelDeviceResponse(device=await asked(label))

    async def RevokeDevice(
        self, request: wire.RevokeDeviceRequest, _context: Context
    ) -> wire.RevokeDeviceResponse:
        """End a device's membership."""
        members = self._offices.members
        await asked(lambda who: members.revoke(request.device, request.reason, who.name))
        return wire.RevokeDeviceResponse()

    async def ApproveDevice(
        self, request: wire.ApproveDeviceRequest, _context: Context
    ) -> wire.ApproveDeviceResponse:
        """Admit a device that waits."""
        members = self._offices.members
        await asked(lambda who: members.approve(request.device, request.reason, who.name))
        return wire.ApproveDeviceResponse()

    async def MissingBlobs(
        self, request: wire.MissingBlobsRequest, _context: Context
    ) -> wire.MissingBlobsResponse:
        """Which of these blobs are not here."""

        def missing(_: Who) -> tuple[str, ...]:
            return self._offices.blobs.missing([parse_digest(text) for text in request.digests])

        return wire.MissingBlobsResponse(digests=await asked(missing))

    async def UploadBlob(
        self, requests: AsyncIterator[wire.UploadBlobRequest], _context: Context
    ) -> wire.UploadBlobResponse:
        """Take one blob."""
        await take_upload(requests, self._offices.blobs)
        return wire.UploadBlobResponse()

    async def GetMetadata(
        self, request: wire.GetMetadataRequest, _context: Context
    ) -> wire.GetMetadataResponse:
        """The current metadata of a role."""
        publishing = self._offices.publishing
        content = await asked(lambda _: publishing.current(request.role))
        return wire.GetMetadataResponse(metadata=content)

    async def SubmitMetadata(
        self, request: wire.SubmitMetadataRequest, _context: Context
    ) -> wire.SubmitMetadataResponse:
        """Take new metadata of a role, or signatures for what waits."""
        publishing = self._offices.publishing
        offer = Offer(
            request.role, request.metadata, request.reason, request.replaces, request.in_use
        )
        outcome = await asked(lambda who: publishing.submit(offer, who.name))
        return wire.SubmitMetadataResponse(snapshot=outcome.snapshot, published=outcome.published)

    async def ListChanges(
        self, _request: wire.ListChangesRequest, _context: Context
    ) -> wire.ListChangesResponse:
        """Every change that waits for signatures."""
        publishing = self._offices.publishing
        found = await asked(lambda _: publishing.changes())
        return wire.ListChangesResponse(changes=map(convert.change_to_wire, found))

    async def WithdrawChange(
        self, request: wire.WithdrawChangeRequest, _context: Context
    ) -> wire.WithdrawChangeResponse:
        """Forget a waiting change."""
        publishing = self._offices.publishing
        await asked(lambda who: publishing.withdraw(request.role, who.name))
        return wire.WithdrawChangeResponse()

    async def ListReleases(
        self, _request: wire.ListReleasesRequest, _context: Context
    ) -> wire.ListReleasesResponse:
        """Every listed release."""
        publishing = self._offices.publishing
        found = await asked(lambda _: publishing.releases())
        return wire.ListReleasesResponse(releases=map(convert.release_to_wire, found))

    async def CreateRollout(
        self, request: wire.CreateRolloutRequest, _context: Context
    ) -> wire.CreateRolloutResponse:
        """Start a rollout."""

        def create(who: Who) -> wire.Rollout:
            spec = convert.spec_from_wire(request)
            rollouts = self._offices.rollouts.seen(who.sites)
            rollout = rollouts.create(spec, who.name, request.reason)
            return convert.rollout_to_wire(rollout)

        return wire.CreateRolloutResponse(rollout=await asked(create))

    async def ApplyRollout(
        self, request: wire.ApplyRolloutRequest, _context: Context
    ) -> wire.ApplyRolloutResponse:
        """Do what a file asks for."""

        def apply(who: Who) -> wire.ApplyRolloutResponse:
            wish = convert.wish_from_wire(request)
            rollouts = self._offices.rollouts.seen(who.sites)
            applied = rollouts.apply(wish, who.name, request.asked.reason)
            return convert.applied_to_wire(applied)

        return await asked(apply)

    async def ListRollouts(
        self, request: wire.ListRolloutsRequest, _context: Context
    ) -> wire.ListRolloutsResponse:
        """Some rollouts, the newest first."""
        rollouts = self._offices.rollouts
        found, token = await asked(lambda who: rollouts.seen(who.sites).listed(request.page_token))
        return wire.ListRolloutsResponse(
            rollouts=map(convert.rollout_to_wire, found), next_page_token=token
        )

    async def GetRollout(
        self, request: wire.GetRolloutRequest, _context: Context
    ) -> wire.GetRolloutResponse:
        """One rollout with some of its devices and decisions, or all where parts are not known."""
        rollouts = self._offices.rollouts
        if not (request.in_parts or request.page_token):
            whole = await asked(lambda who: in_one(rollouts.seen(who.sites).whole(request.id)))
            return wire.GetRolloutResponse(rollout=whole)
        found = await asked(
            lambda who: rollouts.seen(who.sites).part(request.id, request.page_token)
        )
        return wire.GetRolloutResponse(
            rollout=convert.rollout_to_wire(found.rollout), next_page_token=found.following
        )

    async def WatchRollout(
        self, request: wire.WatchRolloutRequest, _context: Context
    ) -> AsyncIterator[wire.WatchRolloutResponse]:
        """The rollout now, and what is new of it after every change, until it has ended."""
        rollouts, whole = self._offices.rollouts.seen(asking().sites), Assembly()
        async for rollout, more in rollouts.watch(request.id):
            if request.in_parts:
                yield wire.WatchRolloutResponse(rollout=convert.rollout_to_wire(rollout), more=more)
                continue
            whole.add(rollout)
            if not more:
                yield wire.WatchRolloutResponse(rollout=in_one(whole.view))

    async def ControlRollout(
        self, request: wire.ControlRolloutRequest, _context: Context
    ) -> wire.ControlRolloutResponse:
        """Do what an operator says of a rollout."""

        def control(who: Who) -> wire.Rollout:
            operation = convert.operation_from_wire(request)
            word = Word(operation, request.reason, who.name, request.device)
            rollouts = self._offices.rollouts.seen(who.sites)
            return convert.rollout_to_wire(rollouts.operate(request.id, word))

        return wire.ControlRolloutResponse(rollout=await asked(control))

    async def ListSchedules(
        self, _request: wire.ListSchedulesRequest, _context: Context
    ) -> wire.ListSchedulesResponse:
        """When devices may fetch and activate."""
        found = await asked(lambda _: self._offices.members.schedules())
        return wire.ListSchedulesResponse(schedules=map(schedule_to_wire, found))

    async def PutSchedule(
        self, request: wire.PutScheduleRequest, _context: Context
    ) -> wire.PutScheduleResponse:
        """Add or replace a schedule."""

        def put(who: Who) -> None:
            schedule = schedule_from_wire(request.schedule)
            self._offices.members.schedule(schedule, request.reason, who.name)

        await asked(put)
        return wire.PutScheduleResponse()

    async def RemoveSchedule(
        self, request: wire.RemoveScheduleRequest, _context: Context
    ) -> wire.RemoveScheduleResponse:
        """Take a schedule away."""
        members = self._offices.members
        await asked(lambda who: members.unschedule(request.name, request.reason, who.name))
        return wire.RemoveScheduleResponse()

    async def GetJudgements(
        self, request: wire.GetJudgementsRequest, _context: Context
    ) -> wire.GetJudgementsResponse:
        """What the gate of a rollout said, with all that it saw."""
        rollouts = self._offices.rollouts
        found = await asked(lambda _: rollouts.judgements(request.rollout))
        return wire.GetJudgementsResponse(judgements=map(convert.judgement_to_wire, found))

    async def QuarantineRelease(
        self, request: wire.QuarantineReleaseRequest, _context: Context
    ) -> wire.QuarantineReleaseResponse:
        """Take a release off every device."""
        rollouts = self._offices.rollouts
        told = await asked(
            lambda who: rollouts.quarantine(
                request.release, request.reason, who.name, stops=request.stops
            ),
        )
        return wire.QuarantineReleaseResponse(devices=told)

    async def LiftQuarantine(
        self, request: wire.LiftQuarantineRequest, _context: Context
    ) -> wire.LiftQuarantineResponse:
        """Let a release be rolled out again."""
        rollouts = self._offices.rollouts
        await asked(lambda who: rollouts.lift(request.release, request.reason, who.name))
        return wire.LiftQuarantineResponse()

    async def ListQuarantine(
        self, _request: wire.ListQuarantineRequest, _context: Context
    ) -> wire.ListQuarantineResponse:
        """Every release in quarantine."""
        found = await asked(lambda _: self._offices.rollouts.quarantined())
        return wire.ListQuarantineResponse(releases=map(convert.quarantined_to_wire, found))
