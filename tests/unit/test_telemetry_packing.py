"""What a device said in an hour that has ended becomes one row and reads as before."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from sealane.names import DeviceId
from sealane.telemetry.codec import decode_windows
from sealane.telemetry.types import Predictions
from sealane_manager.store.telemetry import open_telemetry
from sealane_manager.store.telemetry.ingest import LATE_S
from sealane_manager.store.telemetry.pages import DEVICES_PAGE
from sealane_manager.store.telemetry.records import Span
from sealane_manager.store.telemetry.retention import SLICE, Keeping
from sealane_manager.store.telemetry.schema import connect
from support.recorded import BOX, Known, a_telemetry, arrived, put
from support.telemetry import START, plain_model, plain_window

if TYPE_CHECKING:
    from sealane.telemetry.types import Window
    from sealane_manager.store.telemetry import Telemetry

MINUTE, HOUR, DAY = 60, 3600, 86_400
NOON = START // DAY * DAY + DAY // 2
SOON = NOON + HOUR + LATE_S
"""When the hour after noon is packed."""


def minute(number: int, requests: int = 10) -> Window:
    return replace(plain_window(requests), start=NOON + number * MINUTE)


def keep_house(telemetry: Telemetry, now: int) -> None:
    telemetry.keep_house(datetime.fromtimestamp(now, UTC), Keeping())


def rows(telemetry: Telemetry) -> int:
    """Rows and blocks of devices."""
    return telemetry.readings.volume().windows


def test_an_hour_becomes_one_row_when_it_has_ended_and_reads_the_same() -> None:
    sent = tuple(minute(number) for number in range(60))
    with a_telemetry() as telemetry:
        put(telemetry, arrived(1, *sent))

        keep_house(telemetry, SOON - 1)
        assert rows(telemetry) == 60

        keep_house(telemetry, SOON)
        assert rows(telemetry) == 1
        assert telemetry.readings.device_windows(BOX, Span(NOON, NOON + HOUR)) == sent


def test_a_span_takes_only_its_windows_out_of_a_block() -> None:
    with a_telemetry() as telemetry:
        put(telemetry, arrived(1, *(minute(number) for number in range(60))))
        keep_house(telemetry, SOON)

        span = Span(NOON + 10 * MINUTE + 30, NOON + 20 * MINUTE)

        found = telemetry.readings.device_windows(BOX, span)
        assert found == tuple(minute(number) for number in range(10, 20))
        parts = telemetry.readings.device_by_arm(BOX, replace(span, bucket=HOUR))
        assert [bucket.requests for part in parts.values() for bucket in part] == [100]


def test_a_window_that_comes_late_is_merged_into_its_block() -> None:
    with a_telemetry() as telemetry:
        put(telemetry, arrived(1, minute(0), minute(1)))
        keep_house(telemetry, SOON)
        put(telemetry, arrived(2, minute(1), minute(5)))

        counted = [window.models[0].requests for window in read(telemetry)]
        assert sorted(counted) == [10, 10, 10, 10]

        keep_house(telemetry, SOON)
        assert rows(telemetry) == 1
        assert [window.models[0].requests for window in read(telemetry)] == [10, 20, 10]


def read(telemetry: Telemetry) -> tuple[Window, ...]:
    return telemetry.readings.device_windows(BOX, Span(NOON, NOON + HOUR))


def test_what_does_not_fit_into_one_body_stays_in_rows_of_its_own() -> None:
    many = Predictions(classes=(10**9,) * 64)
    models = [
        replace(plain_model(5), release=f"vision/m@{number}", predictions=many)
        for number in range(10, 74)
    ]
    heavy = [replace(minute(number), models=tuple(models)) for number in range(60)]
    with a_telemetry() as telemetry:
        for sequence, window in enumerate(heavy, 1):
            put(telemetry, arrived(sequence, window))
        put(telemetry, arrived(1, minute(0), minute(1), device=DeviceId("box-2")))

        keep_house(telemetry, SOON)

        assert rows(telemetry) == 60 + 1
        assert len(read(telemetry)) == 60
        keep_house(telemetry, NOON + 4 * DAY)
        (hour,) = read(telemetry)
        assert {model.requests for model in hour.models} == {300}


def test_hours_lie_in_one_row_a_day_once_all_minutes_of_the_day_became_hours() -> None:
    with a_telemetry() as telemetry:
        hours = [minute(60 * number) for number in range(12)]
        put(telemetry, arrived(1, *hours))

        keep_house(telemetry, NOON + DAY // 2 + 2 * DAY)

        assert rows(telemetry) == 1
        found = telemetry.readings.device_windows(BOX, Span(NOON, NOON + DAY))
        assert [window.start for window in found] == [window.start for window in hours]
        keep_house(telemetry, NOON + 40 * DAY)
        (day,) = telemetry.readings.device_windows(BOX, Span(NOON - DAY, NOON + DAY))
        assert day.models[0].requests == 120


def test_every_hour_that_has_ended_is_packed_and_the_one_that_runs_is_not() -> None:
    with a_telemetry() as telemetry:
        sent = [minute(60 * hour + number) for hour in (0, 1, 5) for number in (0, 59)]
        put(telemetry, arrived(1, *sent, minute(360), minute(361)))

        keep_house(telemetry, NOON + 6 * HOUR + LATE_S)

        assert rows(telemetry) == 3 + 2
        found = telemetry.readings.device_windows(BOX, Span(NOON, NOON + 7 * HOUR))
        assert len(found) == 8


def test_many_devices_are_packed_in_slices() -> None:
    names = [DeviceId(f"box-{number}") for number in range(SLICE * 2 + 1)]
    with a_telemetry() as telemetry:
        for name in names:
            put(telemetry, arrived(1, minute(0), minute(1), device=name))

        keep_house(telemetry, SOON)

        assert rows(telemetry) == len(names)


def test_an_export_takes_the_windows_of_its_span_out_of_blocks() -> None:
    with a_telemetry() as telemetry:
        put(telemetry, arrived(1, *(minute(number) for number in range(60))))
        put(telemetry, arrived(1, minute(3), device=DeviceId("box-2")))
        keep_house(telemetry, SOON)
        put(telemetry, arrived(2, minute(70)))

        span = Span(NOON + 2 * MINUTE, NOON + 2 * HOUR)
        kept = list(chain.from_iterable(telemetry.readings.device_pages(span, [BOX])))

        found = [window for row in kept for window in decode_windows(row.body)]
        assert {row.device for row in kept} == {BOX}
        assert sorted(w.start for w in found) == [
            NOON + number * MINUTE for number in (*range(2, 60), 70)
        ]


def test_an_export_gives_each_window_once_whatever_is_packed_meanwhile() -> None:
    names = [DeviceId(f"box-{number:02}") for number in range(3 * DEVICES_PAGE)]
    with a_telemetry() as telemetry:
        for name in names:
            put(telemetry, arrived(1, minute(0), minute(1), device=name))

        pages = telemetry.readings.device_pages(Span(NOON, NOON + HOUR), None)
        kept = list(next(pages))
        keep_house(telemetry, SOON)
        kept += chain.from_iterable(pages)

        assert rows(telemetry) == len(names)
        found = [(row.device, w.start) for row in kept for w in decode_windows(row.body)]
        assert sorted(found) == [(name, minute(n).start) for name in names for n in range(2)]


def test_a_file_from_before_there_were_blocks_keeps_its_windows_and_packs_them() -> None:
    sent = (minute(0), minute(1))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "telemetry.db"
        telemetry = open_telemetry(path, Known(), 0.0)
        put(telemetry, arrived(1, *sent))
        telemetry.close()
        _as_before_blocks(path)

        telemetry = open_telemetry(path, Known(), 0.0)
        assert read(telemetry) == sent
        keep_house(telemetry, SOON)
        assert rows(telemetry) == 1
        assert read(telemetry) == sent
        telemetry.close()


def _as_before_blocks(path: Path) -> None:
    with closing(connect(path)) as connection:
        connection.execute("DROP TABLE device_block")
        connection.execute("PRAGMA user_version=2")


def test_a_block_that_cannot_be_written_leaves_its_rows() -> None:
    with a_telemetry() as telemetry:
        put(telemetry, arrived(1, minute(0), minute(1)))
        with closing(sqlite3.connect(telemetry.readings._path)) as file:
            file.execute(
                "CREATE TRIGGER no BEFORE INSERT ON device_block BEGIN"
                " SELECT raise(ABORT, 'disk'); END"
            )
        with pytest.raises(sqlite3.IntegrityError):
            keep_house(telemetry, SOON)

        assert rows(telemetry) == len(read(telemetry)) == 2
