"""Decides what the gate's table shows of a rollout that runs: each check, where it stands. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sealane_manager.dashboard.words import span
from sealane_manager.gate.explain import explained, lines
from sealane_manager.gate.ruling import Verdict, decide
from sealane_manager.rollout import moves
from sealane_manager.rollout.advance import look
from sealane_manager.rollout.case import is_lost, is_silent, tolerated
from sealane_manager.rollout.types import IN_FLIGHT, DeviceState, Phase, RolloutState

if TYPE_CHECKING:
    from datetime import datetime

    from sealane_manager.gate.explain import Line
    from sealane_manager.rollout.types import Rollout, RolloutDevice


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the table.

    Attributes:
        state: pass, hold or fail.
        filled: how much of the way to the limit is gone, from 0 to 1.
        harm: whether a full meter is bad.
    """

    name: str
    now: str
    limit: str
    state: Verdict
    filled: float
    harm: bool


@dataclass(frozen=True, slots=True)
class GateTable:
    """What the gate says, its checks, and how far the evidence of harm got in each of its tests.

    Attributes:
        checks: empty when the rollout has ended.
    """

    verdict: Verdict
    reason: str
    checks: tuple[Check, ...]
    evidence: tuple[Line, ...]


def gate_table(rollout: Rollout, now: datetime) -> GateTable:
    """Judge a running rollout as the controller does, check by check."""
    seen = look(rollout, now)
    devices = moves.granted(rollout)
    checks = [
        _failed(rollout, devices, now),
        _silent(rollout, devices, now),
        _proved(devices),
    ]
    if rollout.spec.gate.min_requests:
        checks.append(_requests(rollout, devices))
    checks.append(_soak(rollout, now))
    evidence = lines(decide(seen.judged.case)[2])
    return GateTable(seen.verdict, seen.reason, tuple(checks), evidence)


def last_judgement(verdict: str, reason: str, inputs: bytes) -> GateTable:
    """What the gate of a rollout that has ended said last, explained from what it saw."""
    return GateTable(Verdict(verdict), reason, (), explained(inputs))


def _failed(rollout: Rollout, devices: tuple[RolloutDevice, ...], now: datetime) -> Check:
    policy = rollout.spec.gate
    lost = sum(is_lost(device, policy, now) for device in devices)
    serving = sum(device.state is DeviceState.SERVING for device in devices)
    limit = tolerated(policy, lost + serving)
    state = Verdict.FAIL if lost > limit else Verdict.PASS
    of = f"{lost} of {lost + serving}"
    return Check("Failed devices", of, f"≤ {limit}", state, min(1.0, lost / (limit + 1)), harm=True)


def _silent(rollout: Rollout, devices: tuple[RolloutDevice, ...], now: datetime) -> Check:
    policy = rollout.spec.gate
    silent = sum(is_silent(device, policy, now) for device in devices)
    running = sum(device.state in IN_FLIGHT for device in devices)
    state = Verdict.FAIL if silent else Verdict.PASS
    filled = silent / running if running else 0.0
    limit = f"none for {span(policy.silent_after)}"
    return Check("Silent devices", str(silent), limit, state, filled, harm=True)


def _proved(devices: tuple[RolloutDevice, ...]) -> Check:
    serving = sum(device.state is DeviceState.SERVING for device in devices)
    running = sum(device.state in IN_FLIGHT for device in devices)
    state = Verdict.PASS if serving and not running else Verdict.HOLD
    total = serving + running
    filled = serving / total if total else 0.0
    limit = f"all {total}" if total else "at least 1"
    return Check("Serving receipts", str(serving), limit, state, filled, harm=False)


def _requests(rollout: Rollout, devices: tuple[RolloutDevice, ...]) -> Check:
    wanted = rollout.spec.gate.min_requests
    counts = [each.requests for each in devices if each.state is DeviceState.SERVING]
    fewest = min(counts, default=0)
    state = Verdict.PASS if counts and fewest >= wanted else Verdict.HOLD
    limit = f"≥ {wanted} each"
    return Check(
        "Fewest requests", str(fewest), limit, state, min(1.0, fewest / wanted), harm=False
    )


def _soak(rollout: Rollout, now: datetime) -> Check:
    wanted = rollout.spec.soak
    begun = rollout.phase is Phase.SOAK and rollout.state is RolloutState.RUNNING
    over = rollout.phase is Phase.EVALUATE
    passed = now - rollout.phase_since if begun else wanted * int(over)
    filled = 1.0 if over or not wanted else min(1.0, max(0.0, passed / wanted))
    state = Verdict.PASS if over else Verdict.HOLD
    return Check("Soak", span(passed), span(wanted), state, filled, harm=False)
