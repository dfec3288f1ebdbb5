"""What each rule finds, and what it leaves in peace."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sealane.failure import FailureKind
from sealane_manager.alerts.rules import RULES, findings
from sealane_manager.alerts.types import Drifted, Health, RolloutHealth
from support.alerting import (
    HEARTBEAT_S,
    NOW,
    a_device,
    a_fleet,
    a_latest,
    a_trouble,
    ago,
    away,
)


def found(health: Health) -> list[tuple[str, str]]:
    return [(finding.rule, finding.subject) for finding in findings(health)]


def test_a_healthy_fleet_has_no_alerts() -> None:
    assert found(a_fleet(a_device(latest=a_latest()), a_device("box-2"))) == []


def test_a_device_is_silent_after_three_heartbeats() -> None:
    assert found(a_fleet(away("box-1", seconds=31), a_device("box-2"))) == [("silent", "box-1")]
    assert found(a_fleet(away("box-1", seconds=29), a_device("box-2"))) == []


def test_a_device_that_never_spoke_is_not_silent() -> None:
    assert found(a_fleet(a_device(reachable=False, last_seen=None))) == []


def test_a_site_is_away_when_none_of_its_devices_answers() -> None:
    fleet = a_fleet(away("box-1"), away("box-2"), a_device("far", site="paris"))

    assert found(fleet)[0] == ("site_silent", "berlin")
    assert found(a_fleet(away("box-1"))) == [("silent", "box-1")]
    assert ("site_silent", "") not in found(a_fleet(away("a", ""), away("b", "")))


@pytest.mark.parametrize(
    ("trouble", "rule"),
    [
        (a_trouble(), "activation_failed"),
        (a_trouble("rolled_back"), "activation_failed"),
        (a_trouble(component="verifier"), "signature_refused"),
        (a_trouble(component="fetch"), "hash_mismatch"),
    ],
)
def test_a_slot_that_failed_says_what_kind_of_failure(trouble: object, rule: str) -> None:
    assert found(a_fleet(a_device(slots=(trouble,)))) == [(rule, "box-1/cam")]


def test_a_slot_that_serves_on_the_cpu_for_an_accelerator_is_found() -> None:
    weak = replace(a_trouble("committed"), failure=None, degraded="no driver answers")
    (finding,) = findings(a_fleet(a_device(slots=(weak,))))
    assert (finding.rule, finding.subject) == ("degraded", "box-1/cam")
    assert "no driver answers" in finding.text


def test_a_transient_failure_that_is_tried_again_is_none() -> None:
    trouble = a_trouble("fetching", "fetch", kind=FailureKind.TRANSIENT)
    assert found(a_fleet(a_device(slots=(trouble,)))) == []


def test_safe_mode_and_many_restarts_are_a_crash_loop() -> None:
    stuck = a_device(slots=(a_trouble("safe_mode"),))
    again = a_device("box-2", latest=a_latest(restarts=3))
    once = a_device("box-3", latest=a_latest(restarts=1))

    assert found(a_fleet(stuck, again, once)) == [("crash_loop", "box-1"), ("crash_loop", "box-2")]


@pytest.mark.parametrize(
    ("latest", "rule"),
    [
        ({"disk": 0.91}, "disk"),
        ({"clock_offset": -31.0}, "clock_skew"),
        ({"clock_offset": 31.0}, "clock_skew"),
        ({"start": int(ago(7200).timestamp())}, "telemetry_late"),
    ],
)
def test_numbers_beyond_their_limit_are_found(latest: dict[str, object], rule: str) -> None:
    assert found(a_fleet(a_device(latest=a_latest(**latest)))) == [(rule, "box-1")]


def test_what_a_device_does_not_measure_is_not_wrong() -> None:
    latest = a_latest(disk=None, clock_offset=None, restarts=None)
    assert found(a_fleet(a_device(latest=latest))) == []


def test_windows_that_a_device_could_not_keep_are_found() -> None:
    (finding,) = findings(a_fleet(a_device(lost=7), a_device("box-2")))
    assert (finding.rule, finding.subject) == ("telemetry_lost", "box-1")
    assert "could not keep 7 windows" in finding.text


def test_a_certificate_that_is_not_renewed_is_found_in_time() -> None:
    soon = a_device(certificate_expires=NOW + timedelta(hours=5))
    later = a_device("box-2", certificate_expires=NOW + timedelta(hours=12))
    assert found(a_fleet(soon, later)) == [("certificate", "box-1")]


def test_telemetry_that_cannot_be_read_is_found() -> None:
    assert found(a_fleet(a_device(refused="damaged"))) == [("telemetry_refused", "box-1")]


@pytest.mark.parametrize(
    ("state", "minutes", "stalled"),
    [
        ("paused", 16, True),
        ("paused", 14, False),
        ("running", 16, False),
        ("running", 60 * 24 + 11, True),
        ("running", 60 * 24 + 9, False),
    ],
)
def test_a_rollout_that_waits_for_somebody_is_stalled(
    state: str,
    minutes: int,
    stalled: bool,  # noqa: FBT001 - a column of the table
) -> None:
    rollout = RolloutHealth("r-1", "vision/defect@7", state, "soak", "", ago(60 * minutes), 600)
    expected = [("rollout_stalled", "r-1")] if stalled else []
    assert found(a_fleet(rollouts=(rollout,))) == expected


def test_drift_names_the_device_the_release_and_the_input() -> None:
    drifted = Drifted("box-1", "berlin", "vision/defect@7", "image:brightness", 0.31, "device")

    (finding,) = findings(Health(NOW, HEARTBEAT_S, drifted=(drifted,)))

    assert finding.subject == "box-1/vision/defect@7/image:brightness"
    assert "JS 0.31" in finding.text


def test_rules_have_names_of_their_own_and_explain_only_rules() -> None:
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)
    assert all(rule.explains <= set(names) for rule in RULES)
