"""Decides whether a release on probation is kept. Pure: no I/O, no clock, no random.

It is judged all the time, so that a bad release goes back at once; a small sample is given the
benefit of the doubt until the probation's time is over.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sealane.limits import MIB

from sealane_agent.serving.worker_limits import tolerated_bytes
from sealane_agent.slot.state import State

if TYPE_CHECKING:
    from sealane.bundle.types import ProbationLimits

    from sealane_agent.serving.messages import Traffic
    from sealane_agent.slot.state import Observed, SlotRecord

EARLY_SAMPLE: Final = 100
"""Requests below which a share of failures says little: one early failure sends nobody back."""

LATENCY_SAMPLE: Final = 100
"""Requests below which a 95th percentile is a handful of requests that one hiccup can slow."""

WATCHED: Final = frozenset({State.ACTIVATING, State.PROBATION, State.ROLLING_BACK})
"""States of an attempt in which the endpoint's probation is its own."""


class Decision(StrEnum):
    """What to do with the release."""

    KEEP = "keep"
    BACK = "back"
    WATCH = "watch"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision and its reason, for people."""

    decision: Decision
    reason: str = ""


def lengthened(limits: ProbationLimits, seconds: float) -> ProbationLimits:
    """The limits of a probation that lasts at least so long, and may wait as long after it."""
    waits = limits.deadline_seconds - limits.seconds
    longest = max(limits.seconds, seconds)
    return replace(limits, seconds=longest, deadline_seconds=longest + waits)


def outlived(record: SlotRecord, seen: Observed) -> bool:
    """Whether the endpoint still watches what is good, while the next attempt goes its way."""
    serving, attempt = seen.serving, record.attempt
    if serving is None or not serving.probation or attempt is None:
        return False
    good = seen.lkg is not None and serving.active == seen.lkg == seen.active
    return good and attempt.state not in WATCHED


def judge(traffic: Traffic, limits: ProbationLimits, elapsed_s: float, broke: str = "") -> Verdict:
    """The verdict on what was seen until now; `broke`: the limit for which a worker was ended.

    Latency is judged by the share of slow requests, not by the slowest: a 99th percentile of a
    short probation is one hiccup of a busy machine, and would send good releases back.
    """
    over = _is_over(traffic, limits, elapsed_s)
    for reason in (
        _too_many_crashes(traffic, limits),
        _too_many_failures(traffic, limits, over=over),
        _too_slow(traffic, limits),
        _too_large(traffic, limits),
    ):
        if reason:
            return Verdict(Decision.BACK, f"{reason}; {broke}" if broke else reason)
    return Verdict(Decision.KEEP) if over else Verdict(Decision.WATCH)


def _is_over(traffic: Traffic, limits: ProbationLimits, elapsed_s: float) -> bool:
    enough = traffic.requests >= limits.min_requests
    return elapsed_s >= limits.deadline_seconds or (elapsed_s >= limits.seconds and enough)


def _too_many_crashes(traffic: Traffic, limits: ProbationLimits) -> str:
    crashes = traffic.crashes + traffic.hangs
    if crashes <= limits.max_crashes:
        return ""
    return f"{crashes} crashes and hangs are more than the allowed {limits.max_crashes}"


def _too_many_failures(traffic: Traffic, limits: ProbationLimits, *, over: bool) -> str:
    failed = traffic.errors
    sample = traffic.requests if over else max(traffic.requests, EARLY_SAMPLE)
    if failed <= limits.max_error_rate * sample:
        return ""
    return (
        f"{failed} of {traffic.requests} requests failed, more than the allowed "
        f"{limits.max_error_rate:.2%}"
    )


def _too_slow(traffic: Traffic, limits: ProbationLimits) -> str:
    known = traffic.baseline_p99_us > 0 and traffic.requests >= LATENCY_SAMPLE
    if not (known and limits.max_latency_ratio > 0):
        return ""
    if traffic.latency_p95_us <= limits.max_latency_ratio * traffic.baseline_p99_us:
        return ""
    return (
        f"more than one request in twenty took {traffic.latency_p95_us} µs or longer, over "
        f"{limits.max_latency_ratio:g} times the previous release's p99 of "
        f"{traffic.baseline_p99_us} µs"
    )


def _too_large(traffic: Traffic, limits: ProbationLimits) -> str:
    known = traffic.proved_bytes > 0 and limits.max_memory_ratio > 0
    allowed = tolerated_bytes(traffic.proved_bytes, limits)
    if not known or traffic.held_bytes <= allowed:
        return ""
    return (
        f"its worker grew from {traffic.proved_bytes // MIB} to {traffic.held_bytes // MIB} MiB, "
        f"more than the allowed {round(allowed / MIB)} MiB"
    )
