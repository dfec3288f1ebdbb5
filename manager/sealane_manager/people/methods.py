"""Says what each method of the operators' port is: without an entry nobody may call it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealane_manager.people.access import Act

if TYPE_CHECKING:
    from collections.abc import Mapping

METHODS: Final[Mapping[str, Act]] = {
    "OperatorService/CreateJoinToken": Act.INVITE,
    "OperatorService/ListDevices": Act.LOOK,
    "OperatorService/LabelDevice": Act.LABEL,
    "OperatorService/RevokeDevice": Act.REVOKE,
    "OperatorService/ApproveDevice": Act.ADMIT,
    "OperatorService/MissingBlobs": Act.LOOK,
    "OperatorService/UploadBlob": Act.SUBMIT,
    "OperatorService/GetMetadata": Act.LOOK,
    "OperatorService/SubmitMetadata": Act.SUBMIT,
    "OperatorService/ListChanges": Act.LOOK,
    "OperatorService/WithdrawChange": Act.WITHDRAW,
    "OperatorService/ListReleases": Act.LOOK,
    "OperatorService/CreateRollout": Act.START,
    "OperatorService/ApplyRollout": Act.START,
    "OperatorService/ListRollouts": Act.LOOK,
    "OperatorService/GetRollout": Act.LOOK,
    "OperatorService/WatchRollout": Act.LOOK,
    "OperatorService/ControlRollout": Act.STEER,
    "OperatorService/ListSchedules": Act.LOOK,
    "OperatorService/PutSchedule": Act.SCHEDULE,
    "OperatorService/RemoveSchedule": Act.SCHEDULE,
    "OperatorService/QuarantineRelease": Act.KILL,
    "OperatorService/LiftQuarantine": Act.LIFT,
    "OperatorService/ListQuarantine": Act.LOOK,
    "OperatorService/GetJudgements": Act.AUDIT,
    "AlertService/ListAlerts": Act.LOOK,
    "AlertService/GetAlert": Act.LOOK,
    "AlertService/AcknowledgeAlert": Act.TEND,
    "AlertService/CreateSilence": Act.TEND,
    "AlertService/ListSilences": Act.LOOK,
    "AlertService/EndSilence": Act.TEND,
    "AlertService/ListChannels": Act.LOOK,
    "AlertService/TestChannels": Act.ADMINISTER,
    "AuditService/GetCheckpoint": Act.AUDIT,
    "AuditService/ListEntries": Act.AUDIT,
    "AuditService/ReadEntries": Act.AUDIT,
    "AuditService/DeclareLoss": Act.DECLARE,
    "CalendarService/ListCalendars": Act.LOOK,
    "CalendarService/PutCalendar": Act.SCHEDULE,
    "CalendarService/RemoveCalendar": Act.SCHEDULE,
    "ExportService/ExportTelemetry": Act.LOOK,
    "KitService/ExportKit": Act.CARRY,
    "OrderService/HoldDevices": Act.HOLD,
    "OrderService/ReleaseHold": Act.HOLD,
    "OrderService/ListHolds": Act.LOOK,
    "OrderService/RollBackDevice": Act.START,
    "OrderService/ListUnknownDevices": Act.ADOPT,
    "OrderService/AdoptDevice": Act.ADOPT,
    "RolloutService/PlanRollout": Act.START,
    "RolloutService/GetEvidence": Act.AUDIT,
    "SampleService/OrderSamples": Act.SAMPLE,
    "SampleService/ListSampleOrders": Act.LOOK,
    "SampleService/ListSamples": Act.LOOK,
    "SampleService/ViewSample": Act.SAMPLE,
    "SampleService/DeleteSample": Act.SAMPLE,
}
"""By service and method. What a rollout is told counts by the operation: `access.OPERATIONS`."""


def named(path: str) -> str:
    """The method as it stands above, of what gRPC calls it: `/package.Service/Method`."""
    return path.rpartition(".")[2]
