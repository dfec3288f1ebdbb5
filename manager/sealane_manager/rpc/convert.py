"""Converts what an operator asks and sees between plain values and the wire.

What does not fit raises InvalidName or SealaneError.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from sealane import codec
from sealane.names import ReleaseName, parse_device, parse_digest, parse_slot
from sealane.wire.v1 import operator_pb2 as wire

from sealane_manager.gate.types import Breach, Check, Checks, Kind, Mode
from sealane_manager.rollout.placement import parse_stage, stage_text
from sealane_manager.rollout.terms import Terms
from sealane_manager.rollout.types import (
    DeviceState,
    GatePolicy,
    OnFailure,
    Operation,
    Phase,
    RolloutSpec,
    RolloutState,
)
from sealane_manager.rollout_file.applying import Outcome, Wish
from sealane_manager.rollout_file.fields import parse_name
from sealane_manager.rpc.convert_terms import terms_from_wire, terms_to_wire, word
from sealane_manager.store.records import JudgementRecord, QuarantineRecord
from sealane_manager.trust.changes import Change, Given
from sealane_manager.views import (
    AppliedView,
    DecisionView,
    DeviceView,
    ReleaseView,
    RolloutDeviceView,
    RolloutView,
)

if TYPE_CHECKING:
    from datetime import datetime
    from enum import StrEnum

    Word = TypeVar("Word", bound=StrEnum)


def _micros(moment: datetime | None) -> int:
    return codec.to_micros(moment) if moment else 0


def _moment(micros: int) -> datetime | None:
    return codec.from_micros(micros) if micros else None


def device_to_wire(device: DeviceView) -> wire.Device:
    """One device, for the wire."""
    return wire.Device(
        id=device.id,
        name=device.name,
        labels=dict(device.labels),
        connected=device.connected,
        last_seen_us=_micros(device.last_seen),
        state=device.state,
        facts=codec.facts_to_wire(device.facts) if device.facts else None,
        slots=[codec.slot_to_wire(slot) for slot in device.slots],
    )


def device_from_wire(device: wire.Device) -> DeviceView:
    """One device."""
    return DeviceView(
        id=parse_device(device.id),
        name=device.name,
        labels=dict(device.labels),
        connected=device.connected,
        last_seen=_moment(device.last_seen_us),
        state=device.state,
        facts=codec.facts_from_wire(device.facts) if device.HasField("facts") else None,
        slots=tuple(codec.slot_from_wire(slot) for slot in device.slots),
    )


def release_to_wire(release: ReleaseView) -> wire.Release:
    """One release, for the wire."""
    return wire.Release(
        name=str(release.name),
        manifest=release.manifest,
        size=release.size,
        slots=release.slots,
        listed=release.listed,
    )


def release_from_wire(release: wire.Release) -> ReleaseView:
    """One release."""
    return ReleaseView(
        name=ReleaseName.parse(release.name),
        manifest=parse_digest(release.manifest),
        size=release.size,
        slots=tuple(release.slots),
        listed=release.listed,
    )


def change_to_wire(change: Change) -> wire.Change:
    """One proposed change, for the wire."""
    return wire.Change(
        role=change.role,
        metadata=change.metadata,
        reason=change.reason,
        proposer=change.proposer,
        proposed_us=_micros(change.proposed),
        given=[
            wire.GivenSignature(keyid=given.keyid, by=given.by, at_us=_micros(given.at))
            for given in change.given
        ],
    )


def change_from_wire(change: wire.Change) -> Change:
    """One proposed change."""
    return Change(
        role=change.role,
        metadata=change.metadata,
        reason=change.reason,
        proposer=change.proposer,
        proposed=codec.from_micros(change.proposed_us),
        given=tuple(
            Given(given.keyid, given.by, codec.from_micros(given.at_us)) for given in change.given
        ),
    )


def spec_to_wire(spec: RolloutSpec, reason: str) -> wire.CreateRolloutRequest:
    """What an operator asks for, for the wire."""
    return wire.CreateRolloutRequest(
        release=str(spec.release),
        slot=spec.slot,
        selector=spec.selector,
        stages=[stage_text(stage) for stage in spec.stages],
        soak_s=round(spec.soak.total_seconds()),
        gate=wire.GatePolicy(
            max_failed=spec.gate.max_failed,
            max_failed_percent=spec.gate.max_failed_percent,
            silent_after_s=round(spec.gate.silent_after.total_seconds()),
            min_requests=spec.gate.min_requests,
            by_evidence=spec.gate.by_evidence,
            checks=_checks_to_wire(spec.gate.checks),
        ),
        on_failure=spec.on_failure,
        reason=reason,
        terms=terms_to_wire(spec.terms),
    )


def spec_from_wire(request: wire.CreateRolloutRequest) -> RolloutSpec:
    """What an operator asked for; a gate that was left out has the safe defaults."""
    return RolloutSpec(
        release=ReleaseName.parse(request.release),
        slot=parse_slot(request.slot),
        selector=request.selector,
        stages=tuple(parse_stage(text) for text in request.stages),
        soak=timedelta(seconds=request.soak_s),
        gate=_gate_from_wire(request.gate) if request.HasField("gate") else GatePolicy(),
        on_failure=word(OnFailure, request.on_failure or OnFailure.REVERT),
        terms=terms_from_wire(request.terms) if request.HasField("terms") else Terms(),
    )


def _gate_from_wire(gate: wire.GatePolicy) -> GatePolicy:
    silent = timedelta(seconds=gate.silent_after_s)
    return GatePolicy(
        max_failed=gate.max_failed,
        max_failed_percent=gate.max_failed_percent,
        silent_after=silent or GatePolicy().silent_after,
        min_requests=gate.min_requests,
        by_evidence=gate.by_evidence,
        checks=_checks_from_wire(gate.checks) if gate.HasField("checks") else Checks(),
    )


def _checks_to_wire(checks: Checks) -> wire.GateChecks:
    return wire.GateChecks(
        alpha=checks.alpha,
        prove=checks.prove,
        checks=[wire.GateCheck(**asdict(check)) for check in checks.checks],
    )


def _checks_from_wire(checks: wire.GateChecks) -> Checks:
    return Checks(
        checks.alpha,
        checks.prove,
        tuple(
            Check(
                word(Kind, each.kind),
                each.tolerate,
                each.proceed_below,
                word(Mode, each.mode),
                word(Breach, each.breach),
            )
            for each in checks.checks
        ),
    )


def quarantined_to_wire(record: QuarantineRecord) -> wire.QuarantinedRelease:
    """One release in quarantine, for the wire."""
    return wire.QuarantinedRelease(
        release=record.release,
        manifest=record.manifest,
        at_us=codec.to_micros(record.at),
        actor=record.actor,
        reason=record.reason,
        stops=record.stops,
    )


def quarantined_from_wire(record: wire.QuarantinedRelease) -> QuarantineRecord:
    """One release in quarantine."""
    moment = codec.from_micros(record.at_us)
    return QuarantineRecord(
        record.release, record.manifest, moment, record.actor, record.reason, record.stops
    )


def judgement_to_wire(judgement: JudgementRecord) -> wire.Judgement:
    """What a gate said once, for the wire."""
    return wire.Judgement(
        at_us=codec.to_micros(judgement.at),
        stage=judgement.stage,
        verdict=judgement.verdict,
        reason=judgement.reason,
        inputs=judgement.inputs,
    )


def judgement_from_wire(judgement: wire.Judgement) -> JudgementRecord:
    """What a gate said once."""
    return JudgementRecord(
        codec.from_micros(judgement.at_us),
        judgement.stage,
        judgement.verdict,
        judgement.reason,
        judgement.inputs,
    )


def operation_from_wire(request: wire.ControlRolloutRequest) -> Operation:
    """What an operator asks of a rollout."""
    return word(Operation, request.action)


def rollout_to_wire(rollout: RolloutView) -> wire.Rollout:
    """One rollout, for the wire."""
    return wire.Rollout(
        id=rollout.id,
        release=str(rollout.release),
        previous_release=rollout.previous_release,
        slot=rollout.slot,
        selector=rollout.selector,
        state=rollout.state,
        reason=rollout.reason,
        stage=rollout.stage,
        phase=rollout.phase,
        stages=rollout.stages,
        devices=[_rollout_device_to_wire(device) for device in rollout.devices],
        decisions=[_decision_to_wire(decision) for decision in rollout.decisions],
        created_at_us=_micros(rollout.created_at),
        ended_at_us=_micros(rollout.ended_at),
        name=rollout.name,
        asked=spec_to_wire(rollout.asked, ""),
        counts=[
            wire.StateCount(state=state, devices=count) for state, count in rollout.counts.items()
        ],
    )


def rollout_from_wire(rollout: wire.Rollout) -> RolloutView:
    """One rollout."""
    return RolloutView(
        id=rollout.id,
        release=ReleaseName.parse(rollout.release),
        previous_release=rollout.previous_release,
        slot=parse_slot(rollout.slot),
        selector=rollout.selector,
        state=word(RolloutState, rollout.state),
        reason=rollout.reason,
        stage=rollout.stage,
        phase=word(Phase, rollout.phase),
        stages=tuple(rollout.stages),
        devices=tuple(_rollout_device_from_wire(device) for device in rollout.devices),
        decisions=tuple(_decision_from_wire(decision) for decision in rollout.decisions),
        created_at=codec.from_micros(rollout.created_at_us),
        ended_at=_moment(rollout.ended_at_us),
        name=rollout.name,
        asked=spec_from_wire(rollout.asked),
        counts={each.state: each.devices for each in rollout.counts},
    )


def wish_from_wire(request: wire.ApplyRolloutRequest) -> Wish:
    """What a file asks for."""
    return Wish(parse_name(request.name), spec_from_wire(request.asked))


def applied_to_wire(applied: AppliedView) -> wire.ApplyRolloutResponse:
    """What applying a file did, for the wire."""
    return wire.ApplyRolloutResponse(
        outcome=applied.outcome, rollout=rollout_to_wire(applied.rollout)
    )


def applied_from_wire(answer: wire.ApplyRolloutResponse) -> AppliedView:
    """What applying a file did."""
    return AppliedView(word(Outcome, answer.outcome), rollout_from_wire(answer.rollout))


def _rollout_device_to_wire(device: RolloutDeviceView) -> wire.RolloutDevice:
    return wire.RolloutDevice(
        device=device.device,
        name=device.name,
        stage=device.stage,
        state=device.state,
        detail=device.detail,
        requests=device.requests,
        changed_at_us=_micros(device.changed_at),
    )


def _rollout_device_from_wire(device: wire.RolloutDevice) -> RolloutDeviceView:
    return RolloutDeviceView(
        device=parse_device(device.device),
        name=device.name,
        stage=device.stage,
        state=word(DeviceState, device.state),
        detail=device.detail,
        requests=device.requests,
        changed_at=codec.from_micros(device.changed_at_us),
    )


def _decision_to_wire(decision: DecisionView) -> wire.Decision:
    return wire.Decision(
        at_us=_micros(decision.at),
        actor=decision.actor,
        action=decision.action,
        detail=decision.detail,
    )


def _decision_from_wire(decision: wire.Decision) -> DecisionView:
    return DecisionView(
        at=codec.from_micros(decision.at_us),
        actor=decision.actor,
        action=decision.action,
        detail=decision.detail,
    )
