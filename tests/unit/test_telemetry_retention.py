"""Minutes become hours and days, old days are forgotten, and the file gives its pages back."""

from __future__ import annotations

from datetime import UTC, datetime

from sealane.names import DeviceId
from sealane_manager.store.telemetry.records import CohortFilter, Span
from sealane_manager.store.telemetry.retention import SLICE, Keeping
from support.recorded import BOX, a_telemetry, arrived, put
from support.telemetry import START, plain_window

HOUR = 3600
DAY = 24 * HOUR
NOON = START // DAY * DAY + DAY // 2
ALWAYS = Span(0, START + 1000 * DAY, HOUR)


def moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def minute(number: int) -> int:
    return (NOON - START) // 60 + 1 + number


def test_minutes_become_hours_and_hours_become_days() -> None:
    with a_telemetry() as telemetry:
        put(telemetry, arrived(1, *(plain_window(10, minute(n)) for n in range(90))))
        span = Span(NOON - DAY, NOON + 30 * DAY)

        telemetry.keep_house(moment(NOON + HOUR), Keeping(minutes=DAY))
        assert len(telemetry.readings.device_windows(BOX, span)) == 90

        telemetry.keep_house(moment(NOON + DAY + 3 * HOUR), Keeping(minutes=DAY))
        hours = telemetry.readings.device_windows(BOX, span)
        assert [window.models[0].requests for window in hours] == [600, 300]

        telemetry.keep_house(moment(NOON + 40 * DAY), Keeping())
        (day,) = telemetry.readings.device_windows(BOX, span)
        assert day.models[0].requests == 900
        assert telemetry.readings.totals(ALWAYS).requests == 900


def test_the_hour_that_still_runs_stays_in_minutes() -> None:
    with a_telemetry() as telemetry:
        put(telemetry, arrived(1, *(plain_window(10, minute(n)) for n in range(90))))

        telemetry.keep_house(moment(NOON + DAY + HOUR + HOUR // 2), Keeping(minutes=DAY))

        found = telemetry.readings.device_windows(BOX, Span(NOON, NOON + 2 * HOUR))
        assert len(found) == 1 + 30


def test_old_days_are_forgotten_with_their_cohorts() -> None:
    with a_telemetry() as telemetry:
        put(telemetry, arrived(1, plain_window(10, minute(0))))
        telemetry.keep_house(moment(NOON + 40 * DAY), Keeping())

        assert telemetry.keep_house(moment(NOON + 500 * DAY), Keeping()) == 1

        volume = telemetry.readings.volume()
        assert (volume.windows, volume.cohorts) == (0, 0)
        assert telemetry.readings.latest() == {}
        assert telemetry.readings.series(CohortFilter(), ALWAYS) == ()


def test_many_devices_are_moved_in_slices() -> None:
    with a_telemetry() as telemetry:
        names = [DeviceId(f"box-{number}") for number in range(SLICE * 2 + 1)]
        for name in names:
            put(telemetry, arrived(1, plain_window(2, minute(0)), device=name))

        telemetry.keep_house(moment(NOON + 3 * DAY), Keeping())

        assert telemetry.readings.volume().windows == len(names)
        assert telemetry.readings.totals(ALWAYS).requests == 2 * len(names)


def test_what_comes_late_joins_the_hour_that_was_rolled_up() -> None:
    with a_telemetry() as telemetry:
        put(telemetry, arrived(1, plain_window(10, minute(0))))
        telemetry.keep_house(moment(NOON + 3 * DAY), Keeping())
        put(telemetry, arrived(2, plain_window(5, minute(1))))

        telemetry.keep_house(moment(NOON + 3 * DAY), Keeping())

        (hour,) = telemetry.readings.device_windows(BOX, Span(NOON, NOON + HOUR))
        assert hour.models[0].requests == 15
        assert telemetry.readings.series(CohortFilter(), ALWAYS)[0].requests == 15
