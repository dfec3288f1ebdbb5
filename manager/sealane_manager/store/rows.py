"""Turns rows into plain values and back; what a device wrote itself is cut to a length here."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime, timedelta
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from sealane.failure import Failure, FailureKind
from sealane.fleet import DeviceFacts, RuntimeFact, SlotReport
from sealane.names import DeviceId, Digest, ReleaseName, SlotName

from sealane_manager.gate.record import checks_from_json, checks_to_json
from sealane_manager.rollout.placement import parse_stage, stage_text
from sealane_manager.rollout.terms import Approval, terms_from_json, terms_to_json
from sealane_manager.rollout.types import (
    DeviceState,
    GatePolicy,
    OnFailure,
    Phase,
    Rollout,
    RolloutDevice,
    RolloutSpec,
    RolloutState,
    Stage,
)
from sealane_manager.store.records import DecisionRecord, DeviceRecord, ReceiptRecord, Standing
from sealane_manager.store.tables.devices import SlotRow
from sealane_manager.store.tables.rollouts import RolloutRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Row

    from sealane_manager.store.records import Draft
    from sealane_manager.store.tables.decisions import DecisionRow
    from sealane_manager.store.tables.devices import DeviceRow, ReceiptRow
    from sealane_manager.store.tables.rollouts import RolloutDeviceRow

MAX_WORD: Final = 160
"""Characters of a name that a device reports: longer than any name may be."""

MAX_SENTENCE: Final = 1000
"""Characters of a message that a device reports."""

_MICROSECOND: Final = timedelta(microseconds=1)


def slot_row(device: DeviceId, report: SlotReport, now: datetime) -> SlotRow:
    """What a slot said, as a row."""
    return SlotRow(
        device=device,
        slot=report.slot,
        state=report.state[:MAX_WORD],
        active_release=report.active_release[:MAX_WORD],
        lkg_release=report.lkg_release[:MAX_WORD],
        attempt_release=report.attempt_release[:MAX_WORD],
        rollout=report.rollout[:MAX_WORD],
        failure=_failure_fields(report.failure) if report.failure else None,
        degraded=report.degraded[:MAX_SENTENCE],
        chosen=report.chosen[:MAX_SENTENCE],
        reported_at=now,
    )


def slot_report(row: SlotRow) -> SlotReport:
    """What a slot said."""
    return SlotReport(
        slot=SlotName(row.slot),
        state=row.state,
        active_release=row.active_release,
        lkg_release=row.lkg_release,
        attempt_release=row.attempt_release,
        rollout=row.rollout,
        failure=_failure(row.failure) if row.failure else None,
        degraded=row.degraded,
        chosen=row.chosen,
    )


def _failure_fields(failure: Failure) -> dict[str, str]:
    return {name: str(value)[:MAX_SENTENCE] for name, value in asdict(failure).items()}


def _failure(fields: Mapping[str, str]) -> Failure:
    return Failure(**{**fields, "kind": FailureKind(fields["kind"])})  # type: ignore[arg-type]  # a row holds what _failure_fields wrote


def facts_fields(facts: DeviceFacts) -> dict[str, Any]:
    """What a device is, as JSON."""
    return asdict(facts)


def facts(fields: Mapping[str, Any]) -> DeviceFacts:
    """What a device is."""
    runtimes = tuple(
        RuntimeFact(
            each["name"],
            each["version"],
            tuple(each["accelerators"]),
            int(each.get("opset", 0)),
            int(each.get("ir_version", 0)),
            tuple((name, why) for name, why in each.get("lost", ())),
        )
        for each in fields["runtimes"]
    )
    instructions = tuple(fields.get("instructions", ()))
    return DeviceFacts(**{**fields, "runtimes": runtimes, "instructions": instructions})


def device_record(
    row: DeviceRow, labels: Mapping[str, str], slots: Sequence[SlotReport]
) -> DeviceRecord:
    """A device."""
    return DeviceRecord(
        id=DeviceId(row.id),
        name=row.name,
        labels=dict(sorted(labels.items())),
        state=Standing(row.state),
        public_key=row.public_key,
        facts=facts(row.facts) if row.facts else None,
        slots=tuple(sorted(slots, key=lambda report: report.slot)),
        agent_version=row.agent_version,
        last_seen=row.last_seen,
        acked_sequence=row.acked_sequence,
        generation=row.generation,
        enrolled_at=row.enrolled_at,
        state_reason=row.state_reason,
    )


def rollout_row(rollout: Rollout, made: Draft) -> RolloutRow:
    """A new rollout, as a row."""
    spec = rollout.spec
    return RolloutRow(
        id=rollout.id,
        release=str(spec.release),
        manifest=made.source.manifest,
        length=made.source.length,
        slot=spec.slot,
        selector=spec.selector,
        stages=stage_texts(spec.stages),
        soak_us=spec.soak // _MICROSECOND,
        max_failed=spec.gate.max_failed,
        max_failed_percent=spec.gate.max_failed_percent,
        silent_after_us=spec.gate.silent_after // _MICROSECOND,
        min_requests=spec.gate.min_requests,
        by_evidence=spec.gate.by_evidence,
        checks=checks_to_json(spec.gate.checks),
        on_failure=spec.on_failure,
        terms=terms_to_json(spec.terms),
        author=rollout.author,
        name=rollout.name,
        asked=stage_texts(rollout.asked),
        created_at=rollout.created_at,
        **standing(rollout),
    )


def stage_texts(stages: Sequence[Stage]) -> list[str]:
    """Stages as a column keeps them."""
    return [stage_text(stage) for stage in stages]


def standing(rollout: Rollout) -> dict[str, Any]:
    """The columns of a rollout that change while it runs."""
    return {
        "state": str(rollout.state),
        "stage": rollout.stage,
        "phase": str(rollout.phase),
        "phase_since": rollout.phase_since,
        "reason": rollout.reason,
        "ended_at": rollout.ended_at,
        "began_at": rollout.began_at,
        "stage_since": rollout.stage_since,
        "approvals": [
            {"actor": each.actor, "at": each.at.isoformat(), "reason": each.reason}
            for each in rollout.approvals
        ],
    }


def rollout(row: RolloutRow, devices: Sequence[RolloutDevice]) -> Rollout:
    """A rollout with its devices, which are in their order."""
    return Rollout(
        id=row.id,
        spec=spec(row),
        state=RolloutState(row.state),
        stage=row.stage,
        phase=Phase(row.phase),
        phase_since=row.phase_since,
        reason=row.reason,
        devices=tuple(devices),
        created_at=row.created_at,
        ended_at=row.ended_at,
        author=row.author,
        approvals=approvals(row),
        began_at=row.began_at,
        stage_since=row.stage_since,
        name=row.name,
        asked=tuple(parse_stage(text) for text in row.asked),
    )


def approvals(row: RolloutRow) -> tuple[Approval, ...]:
    """Who agreed so far, the first first."""
    return tuple(
        Approval(each["actor"], datetime.fromisoformat(each["at"]), each["reason"])
        for each in row.approvals
    )


def spec(row: RolloutRow) -> RolloutSpec:
    """What was asked for."""
    return RolloutSpec(
        release=ReleaseName.parse(row.release),
        slot=SlotName(row.slot),
        selector=row.selector,
        stages=tuple(parse_stage(text) for text in row.stages),
        soak=row.soak_us * _MICROSECOND,
        gate=GatePolicy(
            max_failed=row.max_failed,
            max_failed_percent=row.max_failed_percent,
            silent_after=row.silent_after_us * _MICROSECOND,
            min_requests=row.min_requests,
            by_evidence=row.by_evidence,
            checks=checks_from_json(row.checks),
        ),
        on_failure=OnFailure(row.on_failure),
        terms=terms_from_json(row.terms),
    )


def rollout_device(
    row: RolloutDeviceRow | Row[Any],
    heard_at: datetime | None,
    facts: str | None = None,
) -> RolloutDevice:
    """A device in a rollout, with its facts as JSON; whether it is reachable is not known here."""
    return RolloutDevice(
        device=DeviceId(row.device),
        stage=row.stage,
        state=DeviceState(row.state),
        previous=ReleaseName.parse(row.previous) if row.previous else None,
        reachable=False,
        requests=row.requests,
        detail=row.detail,
        changed_at=row.changed_at,
        heard_at=heard_at,
        acknowledged=row.acknowledged,
        served=row.served,
        held=row.held,
        hardware=_hardware(facts),
        attempt=row.attempt,
        failure=FailureKind(row.failure) if row.failure else None,
        retry_at=row.retry_at,
        promoted=row.promoted,
    )


@lru_cache(maxsize=4096)
def _hardware(facts: str | None) -> str:
    """The class of a device: machines with the same processor and accelerators fail alike."""
    known = json.loads(facts) if facts else None
    if not known:
        return ""
    accelerators = {name for each in known["runtimes"] for name in each["accelerators"]}
    return " ".join((known["arch"], *sorted(accelerators)))


_MOVING: Final = (
    *("stage", "state", "requests", "detail"),
    *("changed_at", "acknowledged", "served", "held"),
    *("attempt", "failure", "retry_at", "promoted"),
)
standing_of = attrgetter(*_MOVING)
"""What of a device in a rollout changes."""


def moving(device: RolloutDevice) -> dict[str, Any]:
    """The columns of a device in a rollout that change."""
    columns = dict(zip(_MOVING, standing_of(device), strict=True))
    failure = device.failure and str(device.failure)
    return columns | {"state": str(device.state), "failure": failure}


def decision(row: DecisionRow) -> DecisionRecord:
    """A line of the decision log."""
    return DecisionRecord(row.at, row.rollout, row.actor, row.action, row.detail, row.evidence)


def receipt(row: ReceiptRow) -> ReceiptRecord:
    """A receipt that was checked."""
    return ReceiptRecord(
        device=DeviceId(row.device),
        rollout=row.rollout,
        slot=row.slot,
        release=row.release,
        verdict=row.verdict,
        requests=row.requests,
        errors=row.errors,
        fallbacks=row.fallbacks,
        received_at=row.received_at,
    )


def digest(text: str) -> Digest:
    """A digest that was checked before it was written."""
    return Digest(text)
