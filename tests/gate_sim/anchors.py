"""The rules of other systems, as their documentation gives them, for the comparison in one table.

Each takes a simulated stage and returns the minute in which it stops the release, or None. They see
what the real ones see: hawkBit and AWS IoT Jobs only whether devices took the release; Flagger and
the example of Argo Rollouts a success rate and a 99th percentile of all requests of the devices
with the release; Kayenta the rates of both groups, as time series.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from gate_sim.world import MINUTES

if TYPE_CHECKING:
    from gate_sim.world import Floats, Run


def hawkbit(run: Run) -> int | None:
    """Half of the group failed (the default error threshold)."""
    joined = np.linspace(1, 10, run.fleet.treated).astype(int)
    for minute in range(1, 11):
        if run.failed[joined <= minute].sum() / run.fleet.treated > 0.5:
            return minute
    return None


def aws_iot_jobs(run: Run) -> int | None:
    """At least 10 devices tried and 20 % of them failed (the documentation's example)."""
    joined = np.linspace(1, 10, run.fleet.treated).astype(int)
    for minute in range(1, 11):
        tried = joined <= minute
        if tried.sum() >= 10 and run.failed[tried].sum() >= 0.2 * tried.sum():
            return minute
    return None


def flagger(run: Run) -> int | None:
    """Success below 99 % in ten checks, one a minute."""
    return _first_time(np.cumsum(_failed_share(run, 1) > 0.01) >= 10, 1)


def argo_example(run: Run) -> int | None:
    """Success below 95 % in more than three measurements, one in five minutes."""
    return _first_time(np.cumsum(_failed_share(run, 5) > 0.05) > 3, 5)


def kayenta(run: Run) -> int | None:
    """Each hour: the 98 % interval of the shift of per-minute rates lies above 25 % of control."""
    treated = np.arange(run.fleet.devices) < run.fleet.treated
    rates = [_rate(run, treated), _rate(run, ~treated)]
    for minute in range(60, MINUTES + 1, 60):
        canary, control = (rate[:minute] for rate in rates)
        if _lowest_shift(canary, control) > 0.25 * np.median(control):
            return minute
    return None


def _failed_share(run: Run, width: int) -> Floats:
    treated = slice(0, run.fleet.treated)
    edges = np.arange(0, MINUTES, width)
    errors = np.add.reduceat(run.errors[treated].sum(axis=0), edges)
    requests = np.add.reduceat(run.requests[treated].sum(axis=0), edges)
    share: Floats = errors / np.maximum(1, requests)
    return share


def _rate(run: Run, chosen: np.ndarray) -> Floats:
    requests = np.maximum(1, run.requests[chosen].sum(axis=0))
    rate: Floats = run.errors[chosen].sum(axis=0) / requests
    return rate


def _lowest_shift(canary: Floats, control: Floats) -> float:
    """Lower end of the 98 % interval of the Hodges-Lehmann shift."""
    shifts = np.sort((canary[:, None] - control[None, :]).ravel())
    pairs, points = shifts.size, canary.size + control.size
    deviation = np.sqrt(pairs * (points + 1) / 12)
    return float(shifts[max(0, int(pairs / 2 - 2.326 * deviation))])


def _first_time(hit: np.ndarray, width: int) -> int | None:
    found = np.flatnonzero(hit)
    return int((found[0] + 1) * width) if found.size else None


ANCHORS = {
    "hawkBit default": hawkbit,
    "AWS IoT Jobs example": aws_iot_jobs,
    "Flagger default": flagger,
    "Argo Rollouts example": argo_example,
    "Kayenta-like": kayenta,
}
