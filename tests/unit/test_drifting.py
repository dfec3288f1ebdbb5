"""A camera that fails is found by its device and input; a healthy one is left in peace."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sealane.names import DeviceId
from sealane.telemetry.bins import Bins
from sealane.telemetry.types import Window
from sealane_manager.drift.watch import FORGOTTEN, Drifting
from support.recorded import a_telemetry, arrived, put
from support.telemetry import START, plain_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sealane_manager.store.telemetry import Telemetry

NAME = "image:brightness"
RELEASE = "vision/defect@7"
FLAT = Bins((500,) * 10)
DICE = random.Random(11)  # noqa: S311 - made-up images


class Told:
    """References that a test makes up."""

    def of(self, release: str) -> Mapping[str, Bins]:
        return {NAME: FLAT} if release == RELEASE else {}


def images(*, dark: bool) -> Bins:
    counts = [0] * 10
    for _ in range(200):
        value = DICE.random()
        counts[int((value * 0.6 if dark else value) * 10)] += 1
    return Bins(tuple(counts))


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    with a_telemetry() as opened:
        yield opened


def minute(telemetry: Telemetry, number: int, *, dark: bool) -> datetime:
    """A minute of two devices, one of them perhaps in the dark."""
    for device in ("box-1", "box-2"):
        bins = images(dark=dark and device == "box-1")
        window = Window(START + 60 * number, 60, (plain_model(200, inputs={NAME: bins}),))
        batch = arrived(number + 1, window, device=DeviceId(device), first=True)
        put(telemetry, batch)
    return datetime.fromtimestamp(START + 60 * number + 60, UTC)


def test_a_dark_camera_is_found_within_minutes_and_its_neighbour_is_not(
    telemetry: Telemetry,
) -> None:
    drifting = Drifting(telemetry, Told())
    for number in range(30):
        drifting.look(minute(telemetry, number, dark=False))
    assert drifting.found() == ()
    assert drifting.alarms() == frozenset()

    for number in range(30, 40):
        drifting.look(minute(telemetry, number, dark=True))

    (found,) = drifting.found()
    assert (found.device, found.release, found.input) == ("box-1", RELEASE, NAME)
    assert drifting.alarms() == {("box-1", RELEASE, "cam")}
    assert found.distance > 0.2
    assert found.cause == "site"


def test_an_alarm_ends_when_the_camera_is_well_again(telemetry: Telemetry) -> None:
    drifting = Drifting(telemetry, Told())
    for number in range(10):
        drifting.look(minute(telemetry, number, dark=True))
    assert drifting.found()

    for number in range(10, 14):
        drifting.look(minute(telemetry, number, dark=False))
    assert drifting.found() == ()


def test_a_release_without_a_reference_is_not_judged(telemetry: Telemetry) -> None:
    class Nothing:
        def of(self, _release: str) -> Mapping[str, Bins]:
            return {}

    drifting = Drifting(telemetry, Nothing())
    for number in range(10):
        drifting.look(minute(telemetry, number, dark=True))
    assert drifting.found() == ()


def test_a_device_that_sends_nothing_any_more_is_forgotten(telemetry: Telemetry) -> None:
    drifting = Drifting(telemetry, Told())
    for number in range(10):
        drifting.look(minute(telemetry, number, dark=True))

    drifting.look(datetime.fromtimestamp(START + 600, UTC) + FORGOTTEN + timedelta(days=1))

    assert drifting.found() == ()


def test_what_arrives_late_raises_no_alarm(telemetry: Telemetry) -> None:
    drifting = Drifting(telemetry, Told())
    for number in range(10):
        window = Window(
            START + 60 * number, 60, (plain_model(200, inputs={NAME: images(dark=True)}),)
        )
        batch = replace(arrived(number + 1, window, first=True), received=START + 7200)
        put(telemetry, batch)
        drifting.look(datetime.fromtimestamp(START + 7200 + number, UTC))
    assert drifting.found() == ()
