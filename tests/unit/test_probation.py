from __future__ import annotations

import pytest
from sealane.bundle.types import ProbationLimits
from sealane.limits import MIB
from sealane_agent.serving.messages import Traffic
from sealane_agent.slot.probation import Decision, judge, lengthened

LIMITS = ProbationLimits(seconds=30, min_requests=10, deadline_seconds=600)


def test_a_quiet_release_is_watched_until_its_time_is_over() -> None:
    assert judge(Traffic(20), LIMITS, 29).decision is Decision.WATCH
    assert judge(Traffic(20), LIMITS, 30).decision is Decision.KEEP


def test_too_few_requests_prolong_the_watch_until_the_deadline() -> None:
    assert judge(Traffic(9), LIMITS, 599).decision is Decision.WATCH
    assert judge(Traffic(9), LIMITS, 600).decision is Decision.KEEP


@pytest.mark.parametrize("traffic", [Traffic(1, crashes=1), Traffic(1, hangs=1)])
def test_a_crash_or_a_hang_sends_it_back_at_once(traffic: Traffic) -> None:
    verdict = judge(traffic, LIMITS, 0)
    assert verdict.decision is Decision.BACK
    assert "1 crashes and hangs" in verdict.reason


def test_the_limit_for_which_its_worker_was_ended_stands_in_the_reason() -> None:
    said = "it reached its limit of 300 MiB of memory and was ended"
    assert judge(Traffic(1, crashes=1), LIMITS, 0, said).reason.endswith(f"allowed 0; {said}")
    assert judge(Traffic(20), LIMITS, 30, said).reason == ""


def test_one_early_error_sends_nobody_back() -> None:
    assert judge(Traffic(3, errors=1), LIMITS, 1).decision is Decision.WATCH


def test_early_errors_beyond_a_hundred_requests_share_send_it_back() -> None:
    assert judge(Traffic(3, errors=2), LIMITS, 1).decision is Decision.BACK


def test_one_error_of_few_requests_counts_when_the_time_is_over() -> None:
    verdict = judge(Traffic(20, errors=1), LIMITS, 30)
    assert verdict.decision is Decision.BACK
    assert "1 of 20 requests failed" in verdict.reason


def test_a_share_at_the_limit_is_kept() -> None:
    assert judge(Traffic(100, errors=1), LIMITS, 30).decision is Decision.KEEP


def test_a_slow_release_goes_back_and_says_both_latencies() -> None:
    slow = Traffic(100, latency_p95_us=5001, baseline_p99_us=1000)
    verdict = judge(slow, LIMITS, 1)
    assert verdict.decision is Decision.BACK
    assert "5001" in verdict.reason
    assert "1000" in verdict.reason


@pytest.mark.parametrize(
    "traffic",
    [
        Traffic(99, latency_p95_us=9999, baseline_p99_us=1000),
        Traffic(100, latency_p95_us=5000, baseline_p99_us=1000),
        Traffic(100, latency_p95_us=9999, baseline_p99_us=0),
        Traffic(100, latency_p95_us=900, latency_p99_us=99_999, baseline_p99_us=1000),
    ],
    ids=["few requests", "at the limit", "nothing to compare with", "one hiccup"],
)
def test_latency_is_judged_only_on_grounds(traffic: Traffic) -> None:
    assert judge(traffic, LIMITS, 1).decision is Decision.WATCH


def test_a_ratio_of_zero_switches_the_latency_check_off() -> None:
    unlimited = ProbationLimits(max_latency_ratio=0)
    slow = Traffic(100, latency_p95_us=9999, baseline_p99_us=1)
    assert judge(slow, unlimited, 1).decision is Decision.WATCH


def test_a_worker_that_grows_goes_back_and_says_from_what_to_what() -> None:
    verdict = judge(Traffic(5, proved_bytes=100 * MIB, held_bytes=301 * MIB), LIMITS, 1)
    assert verdict.decision is Decision.BACK
    assert verdict.reason == ("its worker grew from 100 to 301 MiB, more than the allowed 300 MiB")


@pytest.mark.parametrize(
    "traffic",
    [
        Traffic(5, proved_bytes=100 * MIB, held_bytes=300 * MIB),
        Traffic(5, proved_bytes=10 * MIB, held_bytes=138 * MIB),
        Traffic(5, proved_bytes=0, held_bytes=900 * MIB),
        Traffic(5, proved_bytes=100 * MIB, held_bytes=0),
    ],
    ids=[
        "at the limit",
        "small, and its buffers fill",
        "nothing to compare with",
        "cannot be said",
    ],
)
def test_memory_is_judged_only_on_grounds(traffic: Traffic) -> None:
    assert judge(traffic, LIMITS, 1).decision is Decision.WATCH


def test_a_ratio_of_zero_switches_the_memory_check_off() -> None:
    unlimited = ProbationLimits(max_memory_ratio=0)
    grown = Traffic(5, proved_bytes=MIB, held_bytes=900 * MIB)
    assert judge(grown, unlimited, 1).decision is Decision.WATCH


def test_a_trial_lengthens_a_probation_and_its_deadline_and_never_shortens_it() -> None:
    longer = lengthened(LIMITS, 1800)
    assert (longer.seconds, longer.deadline_seconds) == (1800, 2370)
    assert lengthened(LIMITS, 1) == LIMITS
