"""Puts what both groups of devices did into what a gate judges. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sealane_manager.gate.mix import together
from sealane_manager.gate.odds import Split, Stratum
from sealane_manager.gate.types import Arms, Seen
from sealane_manager.rollout.tally import (
    BOUNDS,
    ERRORS,
    Past,
    Tally,
    classes_of,
    errors,
    paired,
    predicted,
    slow,
)
from sealane_manager.rollout.types import DeviceState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sealane.names import DeviceId

    from sealane_manager.gate.difference import Unit
    from sealane_manager.gate.shift import Predicted
    from sealane_manager.rollout.types import Rollout, RolloutDevice

REPORTS_WITHIN_S: Final = 300
"""A device with the release reports its telemetry at least so often."""

_LEAST_BAD: Final = 8
"""Bad requests of devices without the release that an incident of everybody shows."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One device, what it did since the rollout began, and what it did before."""

    device: RolloutDevice
    tally: Tally
    past: Past


def nothing(rollout: Rollout) -> Seen:
    """What is seen before any telemetry: who the devices are."""
    hardware = {device.hardware for device in rollout.devices}
    seed = hashlib.sha256(f"{rollout.id}\0{rollout.stage}".encode()).digest()
    return Seen(
        stages=len(rollout.spec.stages),
        minutes=0.0,
        classes=max(1, len(hardware)),
        seed=int.from_bytes(seed[:8], "big"),
    )


def seen(
    rollout: Rollout,
    treated: Mapping[DeviceId, Measured],
    control: Mapping[DeviceId, Measured],
    moment: int,
) -> Seen:
    """What both groups did, but for predictions; `moment` is now, in seconds since 1970."""
    begun = [each.tally.first for each in treated.values() if each.tally.first]
    active = [d for d in treated.values() if _serves_long(d, moment)]
    return replace(
        nothing(rollout),
        minutes=(moment - min(begun)) / 60 if begun else 0.0,
        split=any(each.tally.splits for each in treated.values()),
        errors=_arms(ERRORS, treated, control, lambda each: errors(each.tally, each.past)),
        latency={
            share: _arms(str(share), treated, control, _slow_at(place))
            for place, share in enumerate(BOUNDS)
        },
        mix=together(each.tally.mix for each in treated.values()),
        shadow=tuple(found for each in treated.values() if (found := paired(each.tally))),
        reporting=sum(moment - each.tally.until <= REPORTS_WITHIN_S for each in active),
        active=len(active),
        shock=_shock(control.values()),
    )


def with_predictions(
    found: Seen, treated: Mapping[DeviceId, Measured], control: Mapping[DeviceId, Measured]
) -> Seen:
    """With what both groups predicted, as it stood when the latest look was due."""
    every = (*treated.values(), *control.values())
    classes = classes_of(*(m for d in every for m in (d.tally.answers, d.past.answers)))
    if not classes:
        return found
    return replace(
        found,
        treated=_predictions(treated.values(), classes),
        control=_predictions(control.values(), classes),
    )


def _predictions(group: Iterable[Measured], classes: int) -> tuple[Predicted, ...]:
    found = (predicted(each.tally, each.past, classes) for each in group)
    return tuple(each for each in found if each)


def _serves_long(each: Measured, moment: int) -> bool:
    serves = each.device.state is DeviceState.SERVING
    return serves and moment - each.device.changed_at.timestamp() > REPORTS_WITHIN_S


def _slow_at(place: int) -> Callable[[Measured], Unit | None]:
    return lambda each: slow(each.tally, each.past, place)


def _arms(
    metric: str,
    treated: Mapping[DeviceId, Measured],
    control: Mapping[DeviceId, Measured],
    unit: Callable[[Measured], Unit | None],
) -> Arms:
    splits = [s for each in treated.values() if (s := each.tally.splits.get(metric))]
    return Arms(
        _together(splits) if splits else None,
        tuple(found for each in treated.values() if (found := unit(each))),
        tuple(found for each in control.values() if (found := unit(each))),
    )


def _together(splits: list[Split]) -> Split:
    """The bets of several devices, multiplied."""
    totals = [each.total for each in splits]
    return Split(
        tuple(map(sum, zip(*(each.harm for each in splits), strict=True))),
        tuple(map(sum, zip(*(each.harmless for each in splits), strict=True))),
        Stratum(
            sum(each.candidate for each in totals),
            sum(each.candidate_bad for each in totals),
            sum(each.active for each in totals),
            sum(each.active_bad for each in totals),
        ),
    )


def _shock(control: Iterable[Measured]) -> float:
    """By which factor devices without the release fail more requests than they did before."""
    units = [found for each in control if (found := errors(each.tally, each.past))]
    now, requests = sum(u.bad for u in units), sum(u.requests for u in units)
    then, before = sum(u.past_bad for u in units), sum(u.past_requests for u in units)
    if now < _LEAST_BAD or not requests or not before:
        return 1.0
    return (now + 1) / (then / before * requests + 1)
