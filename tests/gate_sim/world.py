"""Simulated fleets: requests, errors, slow requests and predictions per device and minute.

Devices differ in traffic, in error rate and in what they see; noise of each device lasts for
minutes, the day has its rhythm, and an incident may hit everybody at once. A release may be worse
from the first minute on. Everything follows from the seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

MINUTES = 240
BOUNDS = (0.5, 0.9, 0.99)
_NORMAL = (0.0, 1.2815515655446004, 2.3263478740408408)
_DAY_MINUTES = 1440


@dataclass(frozen=True)
class Fleet:
    """A fleet and its stage: how many devices, how many of them get the release."""

    devices: int = 50
    treated: int = 5
    traffic: float = 30.0
    error_rate: float = 0.005
    spread: float = 0.6
    noise: float = 0.5
    incidents: float = 0.3
    split: float = 0.0


QUIET = Fleet(incidents=0.0)
INCIDENT = Fleet(incidents=1.0)
SPARSE = Fleet(traffic=2.0)
HETEROGENEOUS = Fleet(spread=1.2, noise=1.0)
WORLDS = {
    "quiet": QUIET,
    "incident": INCIDENT,
    "sparse": SPARSE,
    "heterogeneous": HETEROGENEOUS,
}


@dataclass(frozen=True)
class Effect:
    """What is wrong with the release: factors on errors and latency, a share of predictions."""

    errors: float = 1.0
    latency: float = 1.0
    flipped: float = 0.0
    broken: float = 0.01


FINE = Effect()


@dataclass(frozen=True)
class Run:
    """One rollout stage, minute by minute; arrays are [device, minute] unless said otherwise.

    Devices 0 .. treated-1 have the release. With a split, the `other` arrays are the requests that
    stayed with the release before it, on the same devices.
    """

    fleet: Fleet
    requests: Counts
    errors: Counts
    slow: Counts  # [bound, device, minute]
    other_requests: Counts
    other_errors: Counts
    other_slow: Counts
    past_requests: Counts  # [device]
    past_errors: Counts
    past_slow: Counts  # [bound, device]
    past_classes: Counts  # [device, class]
    classes: Counts  # [look, device, class]
    failed: NDArray[np.bool_]  # [treated device]


def simulate(fleet: Fleet, effect: Effect, seed: int) -> Run:
    """One run of a stage."""
    rng = np.random.default_rng(seed)
    traffic, rate, slower = _conditions(rng, fleet)
    treated = np.arange(fleet.devices) < fleet.treated
    share = np.where(treated & (fleet.split > 0), fleet.split, 1.0)[:, None]
    worse = np.where(treated, effect.errors, 1.0)[:, None]
    slowed = slower + np.where(treated, np.log(effect.latency), 0.0)[:, None]
    everything = rng.poisson(traffic)
    requests = rng.binomial(everything, share)
    other = everything - requests
    base = np.exp(fleet.spread * rng.standard_normal(fleet.devices) - fleet.spread**2 / 2)
    errors = np.minimum(0.9, fleet.error_rate * base[:, None] * rate)
    past_requests = rng.poisson(traffic.mean(axis=1) * _DAY_MINUTES)
    past, now = _predictions(rng, fleet, effect, past_requests)
    own = np.minimum(0.9, fleet.error_rate * base)
    return Run(
        fleet,
        requests,
        rng.binomial(requests, np.minimum(0.9, errors * worse)),
        _slow(rng, requests, slowed),
        other,
        rng.binomial(other, errors),
        _slow(rng, other, slower),
        past_requests,
        rng.binomial(past_requests, own),
        np.stack([rng.binomial(past_requests, 1 - bound) for bound in BOUNDS]),
        past,
        now,
        rng.random(fleet.treated) < effect.broken,
    )


def _conditions(rng: np.random.Generator, fleet: Fleet) -> tuple[Floats, Floats, Floats]:
    """Requests per minute, factor on errors, logarithm of the factor on latency."""
    minute = np.arange(MINUTES)
    day = 1 + 0.3 * np.sin(2 * np.pi * (minute / _DAY_MINUTES + rng.random()))
    mean = fleet.traffic * np.exp(0.8 * rng.standard_normal(fleet.devices))
    wander = np.exp(_lasting(rng, fleet.devices, 0.97, fleet.noise) - fleet.noise**2 / 2)
    latency = 0.3 * _lasting(rng, fleet.devices, 0.97, fleet.noise)
    if rng.random() < fleet.incidents:
        start = int(rng.integers(0, MINUTES - 20))
        hit = (minute >= start) & (minute < start + 20)
        wander = wander * np.where(hit, 6.0, 1.0)
        latency = latency + np.where(hit, np.log(1.35), 0.0)
    return mean[:, None] * day, wander, latency


def _lasting(rng: np.random.Generator, devices: int, memory: float, size: float) -> Floats:
    """Noise that lasts: an autoregressive walk of each device."""
    shocks = rng.standard_normal((devices, MINUTES)) * size * np.sqrt(1 - memory**2)
    walk: Floats = np.empty_like(shocks)
    walk[:, 0] = rng.standard_normal(devices) * size
    for minute in range(1, MINUTES):
        walk[:, minute] = memory * walk[:, minute - 1] + shocks[:, minute]
    return walk


def _slow(rng: np.random.Generator, requests: Counts, slower: Floats) -> Counts:
    """Requests above each bound of the past, when latency is log-normal with a sigma of 0.5."""
    slow: Counts = np.stack([rng.binomial(requests, _above(z - slower / 0.5)) for z in _NORMAL])
    return slow


def _above(score: Floats) -> Floats:
    """Share of a normal distribution above a score (Abramowitz and Stegun, 26.2.17)."""
    size = np.abs(score)
    t = 1 / (1 + 0.2316419 * size)
    tail = np.polyval([1.330274429, -1.821255978, 1.781477937, -0.356563782, 0.31938153, 0.0], t)
    upper = tail * np.exp(-(size**2) / 2) / np.sqrt(2 * np.pi)
    share: Floats = np.clip(np.where(score >= 0, upper, 1 - upper), 0.0, 1.0)
    return share


LOOKS = (15, 30, 60, 120)
_CLASSES = 10


def _predictions(
    rng: np.random.Generator, fleet: Fleet, effect: Effect, past_requests: Counts
) -> tuple[Counts, Counts]:
    """Counts of classes of the day before, and up to each look; devices see different things."""
    base = rng.dirichlet(np.full(_CLASSES, 3.0))
    mix = rng.dirichlet(base * 20, fleet.devices)
    drift = np.exp(0.05 * rng.standard_normal(mix.shape))
    now = mix * drift
    moved = now[: fleet.treated, 0] * effect.flipped
    now[: fleet.treated, 0] -= moved
    now[: fleet.treated, 1] += moved
    now /= now.sum(axis=1, keepdims=True)
    past = np.stack([rng.multinomial(n, p) for n, p in zip(past_requests, mix, strict=True)])
    counts = []
    before = 0
    total = np.zeros_like(past)
    for look in LOOKS:
        rate = past_requests * (look - before) // _DAY_MINUTES
        total = total + np.stack([rng.multinomial(n, p) for n, p in zip(rate, now, strict=True)])
        counts.append(total)
        before = look
    return past, np.stack(counts)
