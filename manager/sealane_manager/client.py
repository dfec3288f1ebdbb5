"""An operator's connection to a manager: OperatorService with plain values.

A context is a folder with operator.key, operator.pem, ca.pem and context.json (`address`).
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Self

import grpc
from sealane.errors import SealaneError
from sealane.limits import BLOB_CHUNK_BYTES, GRPC_MESSAGE_BYTES, TARGETS_BYTES
from sealane.names import DeviceId, Digest, parse_digest
from sealane.wire.v1 import operator_pb2 as wire
from sealane.wire.v1 import operator_pb2_grpc

from sealane_manager.assembly import Assembly
from sealane_manager.rpc import convert
from sealane_manager.rpc.alerts import AlertCalls
from sealane_manager.rpc.answers import understood
from sealane_manager.rpc.audit import AuditCalls
from sealane_manager.rpc.calendars import CalendarCalls
from sealane_manager.rpc.exports import ExportCalls
from sealane_manager.rpc.kits import KitCalls
from sealane_manager.rpc.orders import OrderCalls
from sealane_manager.rpc.rollouts import PlanCalls
from sealane_manager.rpc.samples import SampleCalls
from sealane_manager.rpc.schedules import schedule_from_wire, schedule_to_wire
from sealane_manager.trust.change_codec import FILE_BYTES
from sealane_manager.trust.changes import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import timedelta
    from pathlib import Path

    from sealane.names import ReleaseName

    from sealane_manager.rollout.types import Operation, RolloutSpec
    from sealane_manager.rollout_file.applying import Wish
    from sealane_manager.schedule import Schedule
    from sealane_manager.store.records import JudgementRecord, QuarantineRecord
    from sealane_manager.trust.changes import Change, Offer
    from sealane_manager.views import AppliedView, DeviceView, ReleaseView, RolloutView

_CALL_SECONDS: Final = 30
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", FILE_BYTES),
    ("grpc.max_send_message_length", max(GRPC_MESSAGE_BYTES, TARGETS_BYTES + 1024)),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.enable_retries", 0),
)


class Operator:
    """Calls a manager as one operator.

    Every method raises Refused, NotKnown, NoSpace, Unreachable or another SealaneError.
    """

    def __init__(self, context: Path) -> None:
        fields, credentials = _read_context(context)
        self._address, self.fleet = fields
        self._channel = grpc.secure_channel(self._address, credentials, options=_OPTIONS)
        self._stub = operator_pb2_grpc.OperatorServiceStub(self._channel)
        self.alerts = AlertCalls(self._channel, self._address)
        self.exports = ExportCalls(self._channel, self._address)
        self.kits = KitCalls(self._channel, self._address)
        self.samples = SampleCalls(self._channel, self._address)
        self.orders = OrderCalls(self._channel, self._address)
        self.calendars = CalendarCalls(self._channel, self._address)
        self.audit = AuditCalls(self._channel, self._address)
        self.plans = PlanCalls(self._channel, self._address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def create_join_token(
        self,
        labels: Mapping[str, str],
        uses: int,
        lifetime: timedelta,
        *,
        approval: bool = False,
    ) -> str:
        """A join token for `uses` machines that get these labels, each approved if need be."""
        request = wire.CreateJoinTokenRequest(
            labels=dict(labels),
            uses=uses,
            lifetime_s=round(lifetime.total_seconds()),
            approval=approval,
        )
        with understood(self._address):
            return self._stub.CreateJoinToken(request, timeout=_CALL_SECONDS).token

    def list_devices(self, selector: str = "") -> tuple[DeviceView, ...]:
        """The devices that a selector picks; all without one."""
        request = wire.ListDevicesRequest(selector=selector)
        with understood(self._address):
            answer = self._stub.ListDevices(request, timeout=_CALL_SECONDS)
        return tuple(convert.device_from_wire(device) for device in answer.devices)

    def label_device(
        self, device: DeviceId, labels: Mapping[str, str], remove: Sequence[str] = ()
    ) -> DeviceView:
        """Set some labels of a device and remove others."""
        request = wire.LabelDeviceRequest(device=device, set=dict(labels), remove=remove)
        with understood(self._address):
            answer = self._stub.LabelDevice(request, timeout=_CALL_SECONDS)
        return convert.device_from_wire(answer.device)

    def revoke_device(self, device: DeviceId, reason: str) -> None:
        """End a device's membership; its session ends at once."""
        request = wire.RevokeDeviceRequest(device=device, reason=reason)
        with understood(self._address):
            self._stub.RevokeDevice(request, timeout=_CALL_SECONDS)

    def list_schedules(self) -> tuple[Schedule, ...]:
        """When devices may fetch and activate."""
        with understood(self._address):
            answer = self._stub.ListSchedules(wire.ListSchedulesRequest(), timeout=_CALL_SECONDS)
        return tuple(schedule_from_wire(each) for each in answer.schedules)

    def put_schedule(self, schedule: Schedule, reason: str = "") -> None:
        """Add or replace a schedule."""
        request = wire.PutScheduleRequest(schedule=schedule_to_wire(schedule), reason=reason)
        with understood(self._address):
            self._stub.PutSchedule(request, timeout=_CALL_SECONDS)

    def remove_schedule(self, name: str, reason: str = "") -> None:
        """Take a schedule away."""
        request = wire.RemoveScheduleRequest(name=name, reason=reason)
        with understood(self._address):
            self._stub.RemoveSchedule(request, timeout=_CALL_SECONDS)

    def approve_device(self, device: DeviceId, reason: str = "") -> None:
        """Admit a device that waits for approval."""
        request = wire.ApproveDeviceRequest(device=device, reason=reason)
        with understood(self._address):
            self._stub.ApproveDevice(request, timeout=_CALL_SECONDS)

    def missing_blobs(self, digests: Sequence[Digest]) -> tuple[Digest, ...]:
        """Which of these blobs the manager does not hold yet."""
        request = wire.MissingBlobsRequest(digests=digests)
        with understood(self._address):
            answer = self._stub.MissingBlobs(request, timeout=_CALL_SECONDS)
        return tuple(parse_digest(digest) for digest in answer.digests)

    def upload_blob(
        self, digest: Digest, source: Path, progress: Callable[[int], None] | None = None
    ) -> None:
        """Send one blob; `progress` is told the bytes of each part. The manager checks it all."""
        with understood(self._address):
            self._stub.UploadBlob(_upload(digest, source, progress))

    def get_metadata(self, role: str) -> bytes:
        """The current version of one TUF metadata file."""
        request = wire.GetMetadataRequest(role=role)
        with understood(self._address):
            return self._stub.GetMetadata(request, timeout=_CALL_SECONDS).metadata

    def submit(self, offer: Offer) -> Outcome:
        """Give the manager new metadata of a role, or signatures for what waits."""
        request = wire.SubmitMetadataRequest(
            role=offer.role,
            metadata=offer.metadata,
            reason=offer.reason,
            replaces=offer.replaces,
            in_use=offer.in_use,
        )
        with understood(self._address):
            answer = self._stub.SubmitMetadata(request, timeout=_CALL_SECONDS)
        return Outcome(tuple(answer.published), answer.snapshot)

    def changes(self) -> tuple[Change, ...]:
        """Every change that waits for signatures."""
        with understood(self._address):
            answer = self._stub.ListChanges(wire.ListChangesRequest(), timeout=_CALL_SECONDS)
        return tuple(convert.change_from_wire(change) for change in answer.changes)

    def withdraw(self, role: str) -> None:
        """Forget a waiting change."""
        request = wire.WithdrawChangeRequest(role=role)
        with understood(self._address):
            self._stub.WithdrawChange(request, timeout=_CALL_SECONDS)

    def list_releases(self) -> tuple[ReleaseView, ...]:
        """Every listed release."""
        with understood(self._address):
            answer = self._stub.ListReleases(wire.ListReleasesRequest(), timeout=_CALL_SECONDS)
        return tuple(convert.release_from_wire(release) for release in answer.releases)

    def create_rollout(self, spec: RolloutSpec, reason: str = "") -> RolloutView:
        """Start a rollout."""
        request = convert.spec_to_wire(spec, reason)
        with understood(self._address):
            answer = self._stub.CreateRollout(request, timeout=_CALL_SECONDS)
        return self._completed(convert.rollout_from_wire(answer.rollout))

    def apply_rollout(self, wish: Wish, reason: str = "") -> AppliedView:
        """Start what a file asks for, unless the last rollout of its name does so already."""
        request = wire.ApplyRolloutRequest(
            name=wish.name, asked=convert.spec_to_wire(wish.spec, reason)
        )
        with understood(self._address):
            answer = self._stub.ApplyRollout(request, timeout=_CALL_SECONDS)
        applied = convert.applied_from_wire(answer)
        return replace(applied, rollout=self._completed(applied.rollout))

    def list_rollouts(self) -> tuple[RolloutView, ...]:
        """Every rollout, without its devices and decisions."""
        found: list[RolloutView] = []
        request = wire.ListRolloutsRequest()
        while True:
            with understood(self._address):
                answer = self._stub.ListRollouts(request, timeout=_CALL_SECONDS)
            found += map(convert.rollout_from_wire, answer.rollouts)
            if not answer.next_page_token:
                return tuple(found)
            request = wire.ListRolloutsRequest(page_token=answer.next_page_token)

    def get_rollout(self, rollout: str) -> RolloutView:
        """One rollout with all its devices and decisions."""
        whole = Assembly()
        request = wire.GetRolloutRequest(id=rollout, in_parts=True)
        while True:
            with understood(self._address):
                answer = self._stub.GetRollout(request, timeout=_CALL_SECONDS)
            whole.add(convert.rollout_from_wire(answer.rollout))
            if not answer.next_page_token:
                return whole.view
            request = wire.GetRolloutRequest(
                id=rollout, page_token=answer.next_page_token, in_parts=True
            )

    def _completed(self, part: RolloutView) -> RolloutView:
        """The rollout of a first part, with what that left out."""
        complete = len(part.devices) == sum(part.counts.values())
        return part if complete else self.get_rollout(part.id)

    def quarantine(self, release: ReleaseName, reason: str, *, stops: bool = False) -> int:
        """Take a release off every device; returns how many must hear of it.

        `stops`: slots in which nothing else can serve are emptied.
        """
        request = wire.QuarantineReleaseRequest(release=str(release), reason=reason, stops=stops)
        with understood(self._address):
            return self._stub.QuarantineRelease(request, timeout=_CALL_SECONDS).devices

    def lift_quarantine(self, release: ReleaseName, reason: str) -> None:
        """Let a release be rolled out again."""
        request = wire.LiftQuarantineRequest(release=str(release), reason=reason)
        with understood(self._address):
            self._stub.LiftQuarantine(request, timeout=_CALL_SECONDS)

    def quarantined(self) -> tuple[QuarantineRecord, ...]:
        """Every release in quarantine, the newest first."""
        with understood(self._address):
            answer = self._stub.ListQuarantine(wire.ListQuarantineRequest(), timeout=_CALL_SECONDS)
        return tuple(convert.quarantined_from_wire(each) for each in answer.releases)

    def judgements(self, rollout: str) -> tuple[JudgementRecord, ...]:
        """What the gate of a rollout said, each time with all that it saw."""
        with understood(self._address):
            answer = self._stub.GetJudgements(
                wire.GetJudgementsRequest(rollout=rollout), timeout=_CALL_SECONDS
            )
        return tuple(convert.judgement_from_wire(each) for each in answer.judgements)

    def watch_rollout(self, rollout: str) -> Iterator[RolloutView]:
        """The rollout now and after every change, until it has ended; whole each time."""
        call = self._stub.WatchRollout(wire.WatchRolloutRequest(id=rollout, in_parts=True))
        whole = Assembly()
        try:
            with understood(self._address):
                for answer in call:
                    whole.add(convert.rollout_from_wire(answer.rollout))
                    if not answer.more:
                        yield whole.view
        finally:
            call.cancel()  # type: ignore[no-untyped-call]  # grpc-stubs leaves it without types

    def control_rollout(
        self, rollout: str, operation: Operation, reason: str = "", device: str = ""
    ) -> RolloutView:
        """Do something with a rollout; `device` is the one that is written off.

        Of a large rollout the answer has only some devices and decisions.
        """
        request = wire.ControlRolloutRequest(
            id=rollout, action=operation, reason=reason, device=device
        )
        with understood(self._address):
            answer = self._stub.ControlRollout(request, timeout=_CALL_SECONDS)
        return convert.rollout_from_wire(answer.rollout)


def _read_context(context: Path) -> tuple[tuple[str, str], grpc.ChannelCredentials]:
    """The manager's address and the fleet's name, and what proves who calls."""
    try:
        fields = json.loads((context / "context.json").read_bytes())
        address, fleet = fields["address"], str(fields.get("fleet", ""))
        credentials = grpc.ssl_channel_credentials(
            root_certificates=(context / "ca.pem").read_bytes(),
            private_key=(context / "operator.key").read_bytes(),
            certificate_chain=(context / "operator.pem").read_bytes(),
        )
    except FileNotFoundError as error:
        raise SealaneError(
            f"{context} holds no operator context: {error.filename} is missing",
            hint="name it with --context or SEALANE_CONTEXT; `sealane init` makes one",
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise SealaneError(
            f"{context / 'context.json'} does not say the manager's address",
            hint="start the manager once with `sealane serve`",
        ) from error
    if not address:
        raise SealaneError(
            f"{context / 'context.json'} does not say the manager's address yet",
            hint="start the manager once with `sealane serve`",
        )
    return (address, fleet), credentials


def _upload(
    digest: Digest, source: Path, progress: Callable[[int], None] | None
) -> Iterator[wire.UploadBlobRequest]:
    yield wire.UploadBlobRequest(header=wire.BlobHeader(digest=digest, size=source.stat().st_size))
    with source.open("rb") as file:
        while chunk := file.read(BLOB_CHUNK_BYTES):
            yield wire.UploadBlobRequest(chunk=chunk)
            if progress is not None:
                progress(len(chunk))
