"""Writes each field of what a rollout asks for, and says in which fields two differ. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sealane.policy import WHOLE

from sealane_manager.gate.types import CHECKS
from sealane_manager.rollout_file.fields import FIELDS, FORM, NONE

if TYPE_CHECKING:
    from sealane.policy import Trial

    from sealane_manager.rollout.types import RolloutSpec
    from sealane_manager.rollout_file.fields import Field, Written
    from sealane_manager.rollout_file.reading import RolloutFile


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of which two files say different things; empty for nothing."""

    field: str
    before: str
    after: str


def written(asked: RolloutFile) -> Written:
    """Every field as text."""
    values = {"sealane": FORM, "name": asked.name, "reason": asked.reason, **_spec(asked.spec)}
    return {path: _text(field, values[path]) for path, field in FIELDS.items()}


def differences(before: RolloutSpec, after: RolloutSpec) -> tuple[Difference, ...]:
    """What the second asks for differently, in the order of the fields."""
    old, new = _spec(before), _spec(after)
    pairs = ((path, _text(FIELDS[path], old[path]), _text(FIELDS[path], new[path])) for path in old)
    return tuple(
        Difference(path, _shown(one), _shown(other)) for path, one, other in pairs if one != other
    )


def written_spec(spec: RolloutSpec) -> tuple[tuple[str, str], ...]:
    """Everything that is asked for, as text."""
    return tuple(
        (path, _shown(_text(FIELDS[path], value))) for path, value in sorted(_spec(spec).items())
    )


def _shown(value: str | tuple[str, ...]) -> str:
    return ", ".join(value) if isinstance(value, tuple) else value


def _text(field: Field, value: Any) -> str | tuple[str, ...]:
    if value is None:
        return ""
    if field.many:
        return tuple(field.value.text(each) for each in value)
    return field.value.text(value)


def _spec(spec: RolloutSpec) -> dict[str, Any]:
    gate, terms = spec.gate, spec.terms
    return {
        "release": spec.release,
        "slot": spec.slot,
        "selector": spec.selector,
        "stages": spec.stages,
        "soak": spec.soak,
        "on_failure": spec.on_failure,
        "on_conflict": terms.on_conflict,
        "approvals": terms.approvals,
        "join": terms.joins,
        "gate.max_failed": gate.max_failed,
        "gate.max_failed_percent": gate.max_failed_percent,
        "gate.min_requests": gate.min_requests,
        "gate.silent_after": gate.silent_after,
        "gate.by_evidence": gate.by_evidence,
        "gate.alpha": gate.checks.alpha,
        "gate.prove": gate.checks.prove,
        **_checks(spec),
        "pace.at_once": terms.pace.at_once,
        "pace.ramp": terms.pace.ramp,
        "pace.limits": terms.pace.limits,
        "retries.count": terms.retries.count,
        "retries.delay": terms.retries.delay,
        "challenge.for": terms.challenge,
        **_trial(terms.trial),
        "times.start": terms.times.start,
        "times.deadline": terms.times.deadline,
        "times.stage_deadline": terms.times.stage_deadline,
        "times.calendars": terms.times.calendars,
        "times.freeze": terms.times.freezes,
    }


def _trial(trial: Trial) -> dict[str, Any]:
    times = (trial.seconds, trial.shadow_seconds)
    lasts, shadow = (timedelta(seconds=each) if each else None for each in times)
    return {
        "split.share": None if trial.share == WHOLE.share else trial.share,
        "split.for": lasts,
        "shadow.for": shadow,
    }


def _checks(spec: RolloutSpec) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for standard in CHECKS:
        at = f"gate.checks.{standard.kind}"
        made = spec.gate.checks.of(standard.kind)
        check = made or standard
        found[f"{at}.mode"] = check.mode if made else NONE
        found[f"{at}.tolerate"] = check.tolerate
        found[f"{at}.proceed_below"] = check.proceed_below
        found[f"{at}.breach"] = check.breach
    return found
