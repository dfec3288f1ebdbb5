"""From what devices reported to what a gate judges: both groups, each device against its past."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sealane.names import SlotName
from sealane.telemetry.histogram import record
from sealane.telemetry.types import Arm, ErrorKind, ModelWindow, Predictions, Timings, Window
from sealane_manager.gate.odds import Stratum
from sealane_manager.gate.types import Checks
from sealane_manager.rollout.measure import Measures
from sealane_manager.rollout.tally import ERRORS, Asked, Tally, Watched, added, errors, past
from sealane_manager.rollout.types import DeviceState
from support.rollouts import NEW, OLD, SLOT, START, a_device, a_rollout, a_spec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sealane.names import DeviceId
    from sealane_manager.store.telemetry.records import Span

BEGAN = int(START.timestamp())
WATCHED = Watched(SLOT, str(NEW))


def model(release: object, requests: int, failed: int = 0, arm: Arm = Arm.ACTIVE) -> ModelWindow:
    return ModelWindow(
        slot=SLOT,
        release=str(release),
        arm=arm,
        requests=requests,
        errors={ErrorKind.FAILED: failed} if failed else {},
        timings=Timings(latency=record([1000.0 + 10 * n for n in range(requests)])),
        predictions=Predictions(classes=(requests - failed, failed)),
    )


def window(minute: int, *models: ModelWindow) -> Window:
    return Window(BEGAN + 60 * minute, 60, models)


def test_the_past_gives_a_device_bounds_that_its_own_requests_exceed_as_often_as_said() -> None:
    before = past([window(-3, model(OLD, 500)), window(-2, model(OLD, 500))], SLOT)
    assert before.answers
    above = [before.answers.timings.latency.above(limit) for limit in before.limits]
    assert above[0] == pytest.approx(500, abs=60)
    assert above[2] <= 30


def test_a_device_with_a_short_past_has_no_bounds() -> None:
    assert past([window(-2, model(OLD, 20))], SLOT).limits == ()
    assert past([], SLOT).answers is None


def test_windows_of_other_releases_and_slots_are_not_added() -> None:
    other = replace(model(NEW, 50), slot=SlotName("other"))
    found = added(Tally(), [window(1, model(OLD, 9), other)], WATCHED, Asked(Checks()))
    assert (found.answers, found.first) == (None, 0)


def test_errors_of_clients_are_not_the_releases() -> None:
    refused = replace(model(NEW, 50), errors={ErrorKind.REFUSED: 7, ErrorKind.CRASHED: 2})
    found = added(Tally(), [window(1, refused)], WATCHED, Asked(Checks()))
    unit = errors(found, past([window(-2, model(OLD, 100, 3))], SLOT))
    assert unit
    assert (unit.bad, unit.requests, unit.past_bad) == (2, 50, 3)


def test_a_window_in_which_both_releases_answered_is_a_bet() -> None:
    both = window(1, model(OLD, 30, 1), model(NEW, 10, 4, Arm.CANDIDATE))
    alone = window(2, model(NEW, 10, 4))
    found = added(Tally(), [both, alone], WATCHED, Asked(Checks()))
    assert found.splits[ERRORS].total == Stratum(10, 4, 30, 1)


class Reported:
    """Windows of each device, as a store would give them."""

    def __init__(self, windows: Mapping[str, list[Window]]) -> None:
        self.windows = dict(windows)
        self.asked: list[tuple[str, int]] = []

    def device_windows(self, device: DeviceId, span: Span) -> tuple[Window, ...]:
        self.asked.append((device, span.start))
        found = self.windows.get(device, [])
        return tuple(w for w in found if span.start <= w.start < span.end)


def fleet() -> Reported:
    day = [window(-minute, model(OLD, 20, 1)) for minute in range(2, 60)]
    windows = {f"d{n}": list(day) for n in range(1, 7)}
    for n in (1, 2):
        windows[f"d{n}"] += [window(minute, model(NEW, 20, 8)) for minute in range(1, 15)]
    for n in (3, 4, 5, 6):
        windows[f"d{n}"] += [window(minute, model(OLD, 20, 1)) for minute in range(1, 15)]
    return Reported(windows)


MEMBERS = (
    a_device("d1", DeviceState.SERVING, served=True, hardware="x86_64 cpu"),
    a_device("d2", DeviceState.SERVING, served=True, hardware="x86_64 cpu"),
    *(a_device(f"d{n}", hardware="aarch64 cpu") for n in (3, 4, 5, 6)),
)
ROLLOUT = a_rollout(a_spec("2", "100%"), MEMBERS)


def test_devices_with_the_release_are_compared_with_those_that_wait() -> None:
    now = START + timedelta(minutes=15)
    seen = Measures(fleet()).of(ROLLOUT, now)
    assert [unit.bad for unit in seen.errors.treated] == [112, 112]
    assert [unit.bad for unit in seen.errors.control] == [14] * 4
    assert (seen.stages, seen.classes, seen.split) == (2, 2, False)
    assert (seen.active, seen.reporting) == (2, 2)
    assert seen.minutes == pytest.approx(14, abs=0.1)
    assert len(seen.latency[0.9].treated) == 2


def test_windows_are_read_once_and_late_ones_for_ten_minutes() -> None:
    reported = fleet()
    measures = Measures(reported)
    measures.of(ROLLOUT, START + timedelta(minutes=15))
    reported.asked.clear()
    later = measures.of(ROLLOUT, START + timedelta(minutes=16))
    assert min(start for _, start in reported.asked) == BEGAN + 60 * 5
    assert [unit.bad for unit in later.errors.treated] == [112, 112]


def test_telemetry_is_not_read_again_within_seconds() -> None:
    reported = fleet()
    measures = Measures(reported)
    first = measures.of(ROLLOUT, START + timedelta(minutes=15))
    reported.asked.clear()
    again = measures.of(ROLLOUT, START + timedelta(minutes=15, seconds=5))
    assert (reported.asked, again is first) == ([], True)


def test_predictions_stand_as_they_were_when_the_look_was_due() -> None:
    measures = Measures(fleet())
    assert measures.of(ROLLOUT, START + timedelta(minutes=10)).treated == ()
    at_look = measures.of(ROLLOUT, START + timedelta(minutes=17))
    assert len(at_look.treated) == 2
    assert measures.of(ROLLOUT, START + timedelta(minutes=20)).treated == at_look.treated


def test_devices_that_stop_reporting_are_counted_as_missing() -> None:
    seen = Measures(fleet()).of(ROLLOUT, START + timedelta(minutes=40))
    assert (seen.active, seen.reporting) == (2, 0)


def test_an_incident_of_everybody_is_seen_on_devices_without_the_release() -> None:
    reported = fleet()
    for n in (3, 4, 5, 6):
        reported.windows[f"d{n}"] += [window(15, model(OLD, 200, 150))]
    seen = Measures(reported).of(ROLLOUT, START + timedelta(minutes=17))
    assert seen.shock > 3


def test_a_rollout_that_has_ended_is_forgotten() -> None:
    measures = Measures(fleet())
    first = measures.of(ROLLOUT, START + timedelta(minutes=15))
    measures.forget(frozenset())
    assert measures.of(ROLLOUT, START + timedelta(minutes=15)) is not first
