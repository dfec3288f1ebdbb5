"""P3: did devices with the release change more than devices without it? Pure.

Whole devices are compared, each with its own past, because devices differ more than releases do:
requests pooled over devices raise a false alarm in one rollout of four. It is the difference of
differences of log rates, judged by a t statistic whose unknown effect is a normal mixture. That is
a model, not an exact bet, so it has a share of the false-alarm budget of its own, and a guard for
sparse traffic.

Source of the mixture: Wang, Ramdas: "Anytime-valid t-tests and confidence sequences for Gaussian
means with unknown variance" (Sequential Analysis 44, 2025); the guard and the scale of the effect
were calibrated on simulated fleets (`tests/gate_sim`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealane_manager.gate import evidence

if TYPE_CHECKING:
    from collections.abc import Sequence

EFFECT: Final = 0.7
"""Scale of the log ratio that a bad release is expected to show: twice as many bad requests."""

PRIOR: Final = 20
"""Bad requests' worth of the fleet's own rate that each device's past is shrunk by."""

LEAST_BAD: Final = 8
"""Bad requests on devices with the release below which nothing is concluded."""

LEAST_HOT: Final = 2
"""Devices with the release that must each be worse than their controls let expect."""

_HOT: Final = 1.25
_LEAST_UNITS: Final = 2


@dataclass(frozen=True, slots=True)
class Unit:
    """One device, or one site when whole sites are switched.

    Attributes:
        bad, requests: since the release was activated on the treated ones.
        past_bad, past_requests: of the day before that.
    """

    bad: int
    requests: int
    past_bad: int
    past_requests: int


@dataclass(frozen=True, slots=True)
class Difference:
    """What the comparison says.

    Attributes:
        log_e: evidence that the change is above the margin (below it, when `above` is False).
        ratio: by how much devices with the release changed more, as a factor.
        above: on which side of the margin the difference lies.
        guarded: why it must not be believed yet; empty when it may.
    """

    log_e: float
    ratio: float
    above: bool
    guarded: str = ""


NOTHING: Final = Difference(evidence.NONE, 1.0, above=False, guarded="too few devices to compare")


def compare(treated: Sequence[Unit], control: Sequence[Unit], margin: float = 1.0) -> Difference:
    """Compare the devices with the release to those without; `margin` is a factor.

    Harm is shown above a margin of 1; harmlessness by a difference below a larger one.
    """
    if len(treated) < _LEAST_UNITS or len(control) < _LEAST_UNITS:
        return NOTHING
    rate = _fleet_rate((*treated, *control))
    if rate == 0:
        return NOTHING
    new, old = [_changed(u, rate) for u in treated], [_changed(u, rate) for u in control]
    delta = _mean(new) - _mean(old) - math.log(margin)
    freedom = len(new) + len(old) - 2
    spread = (_squares(new) + _squares(old)) / freedom * (1 / len(new) + 1 / len(old))
    log_e = _mixture(delta, max(spread, 1e-12), freedom)
    return Difference(log_e, math.exp(delta) * margin, delta > 0, _guarded(treated, control, rate))


def _mixture(delta: float, spread: float, freedom: int) -> float:
    """Logarithm of the t mixture against a difference of 0."""
    score = delta * delta / spread / freedom
    shrunk = spread / (spread + EFFECT * EFFECT)
    gained = math.log1p(score) - math.log1p(shrunk * score)
    return 0.5 * math.log(shrunk) + (freedom + 1) / 2 * gained


def _fleet_rate(units: Sequence[Unit]) -> float:
    requests = sum(unit.past_requests for unit in units)
    return sum(unit.past_bad for unit in units) / requests if requests else 0.0


def _expected(unit: Unit, rate: float) -> float:
    """Bad requests that the device's own past, shrunk towards the fleet's, lets expect."""
    own = (unit.past_bad + PRIOR) / (unit.past_requests + PRIOR / rate)
    return unit.requests * own


def _changed(unit: Unit, rate: float) -> float:
    return math.log((unit.bad + 1) / (_expected(unit, rate) + 1))


def _guarded(treated: Sequence[Unit], control: Sequence[Unit], rate: float) -> str:
    bad = sum(unit.bad for unit in treated)
    if bad < LEAST_BAD:
        return f"only {bad} bad requests on devices with the release"
    seen = sum(unit.bad for unit in control) + 1
    shared = seen / (sum(_expected(unit, rate) for unit in control) + 1)
    hot = sum(unit.bad - 1 > _HOT * shared * _expected(unit, rate) for unit in treated)
    if hot < LEAST_HOT:
        return f"only {hot} devices with the release are worse than the others let expect"
    return ""


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _squares(values: Sequence[float]) -> float:
    middle = _mean(values)
    return sum((value - middle) ** 2 for value in values)
