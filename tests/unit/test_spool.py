from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from sealane.names import SlotName
from sealane.telemetry.codec import decode_windows
from sealane.telemetry.types import Arm, HostWindow, Level, ModelWindow, TelemetryAck, Window
from sealane_agent.errors import SpoolDamaged
from sealane_agent.telemetry.spool import Spool, open_spool
from sealane_agent.telemetry.tiers import Row, groups
from support.telemetry import START, plain_window

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAY = 86_400


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "telemetry.db"


@pytest.fixture
def spool(path: Path) -> Iterator[Spool]:
    opened = Spool(path, "boot")
    yield opened
    opened.close()


def requests(windows: tuple[Window, ...]) -> int:
    return sum(model.requests for window in windows for model in window.models)


def change(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(statement, values)


def test_an_empty_spool_has_no_batch(spool: Spool) -> None:
    assert spool.next_batch() is None
    assert spool.stored == ""


def test_a_batch_stays_the_same_until_it_is_acknowledged(spool: Spool) -> None:
    spool.put([plain_window()])
    first = spool.next_batch()
    spool.put([plain_window(minute=1)])
    assert first is not None
    assert spool.next_batch() == first
    spool.acknowledge(TelemetryAck(first.boot, first.sequence))
    second = spool.next_batch()
    assert second is not None
    assert (first.sequence, second.sequence) == (1, 2)


def test_an_acknowledgement_of_another_boot_forgets_nothing(spool: Spool) -> None:
    spool.put([plain_window()])
    batch = spool.next_batch()
    spool.acknowledge(TelemetryAck("another", 99))
    assert spool.next_batch() == batch


def test_the_newest_windows_go_first(spool: Spool) -> None:
    spool.put([plain_window(minute=minute) for minute in range(300)])
    batch = spool.next_batch()
    assert batch is not None
    windows = decode_windows(batch.body)
    assert len(windows) < 300
    assert windows[0] == plain_window(minute=299)


def test_parts_of_a_minute_become_one_window(spool: Spool) -> None:
    model = plain_window().models[0]
    other = ModelWindow(SlotName("line"), model.release, Arm.ACTIVE, 5)
    spool.put([Window(START, 60, (model,)), Window(START, 60, (other,))])
    batch = spool.next_batch()
    assert batch is not None
    assert decode_windows(batch.body) == (Window(START, 60, (model, other)),)


def test_an_older_batch_keeps_its_boot(path: Path) -> None:
    first = Spool(path, "boot")
    first.put([plain_window()])
    sent = first.next_batch()
    first.close()
    second = Spool(path, "next boot")
    second.put([plain_window(minute=1)])
    assert sent is not None
    assert second.next_batch() == sent
    second.acknowledge(TelemetryAck(sent.boot, sent.sequence))
    after = second.next_batch()
    second.close()
    assert after is not None
    assert after.boot != sent.boot
    assert after.sequence == 1


def test_a_lost_file_makes_no_batch_of_a_known_name(path: Path) -> None:
    names = set()
    for _ in range(2):
        spool = Spool(path, "boot")
        spool.put([plain_window()])
        batch = spool.next_batch()
        assert batch is not None
        names.add((batch.boot, batch.sequence))
        spool.close()
        for file in path.parent.glob("telemetry.db*"):
            file.unlink()
    assert len(names) == 2


def test_the_name_of_what_was_stored_survives(path: Path) -> None:
    first = Spool(path, "boot")
    first.put([plain_window()], "endpoint-1")
    first.close()
    second = Spool(path, "boot")
    assert second.stored == "endpoint-1"
    second.close()


def test_a_truncated_window_costs_itself_alone(spool: Spool, path: Path) -> None:
    spool.put([plain_window(), plain_window(minute=1)])
    change(path, "UPDATE window SET body = substr(body, 1, 30) WHERE number = 1")
    batch = spool.next_batch()
    assert batch is not None
    assert decode_windows(batch.body) == (plain_window(minute=1),)
    assert spool.lost == 1


def test_what_was_lost_is_told_once_with_the_next_window_of_the_machine(
    spool: Spool, path: Path
) -> None:
    spool.put([plain_window()])
    change(path, "UPDATE window SET body = substr(body, 1, 30)")
    assert spool.next_batch() is None
    spool.close()

    again = Spool(path, "boot")
    for minute in (1, 2):
        again.put_measured(Window(START + 60 * minute, 60, host=HostWindow(cpu=Level.of(1))))
    batch = again.next_batch()
    assert batch is not None
    told = [window.host.lost for window in decode_windows(batch.body) if window.host]
    assert sorted(told) == [0, 1]
    assert again.lost == 0
    again.close()


def test_a_truncated_batch_keeps_its_place_and_says_nothing(spool: Spool, path: Path) -> None:
    spool.put([plain_window()])
    sent = spool.next_batch()
    change(path, "UPDATE batch SET body = substr(body, 1, 30)")
    again = spool.next_batch()
    assert sent is not None
    assert again is not None
    assert (again.boot, again.sequence) == (sent.boot, sent.sequence)
    assert decode_windows(again.body) == ()
    assert spool.lost == 1


def test_a_damaged_file_is_moved_aside(path: Path) -> None:
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(SpoolDamaged):
        Spool(path, "boot")
    spool, error = open_spool(path, "boot")
    assert isinstance(error, SpoolDamaged)
    assert spool.next_batch() is None
    assert spool.lost == 1
    spool.close()
    assert path.with_name("telemetry.db.damaged").exists()


def test_beyond_its_bytes_the_oldest_windows_are_merged(path: Path) -> None:
    spool = Spool(path, "boot", most_bytes=64_000)
    for minute in range(500):
        spool.put([plain_window(requests=7, minute=minute)])
    assert spool.bytes_used <= 64_000
    assert spool.pending() < 500
    total = 0
    while (batch := spool.next_batch()) is not None:
        total += requests(decode_windows(batch.body))
        spool.acknowledge(TelemetryAck(batch.boot, batch.sequence))
    assert total == 3500
    assert spool.lost == 0
    spool.close()


def test_windows_that_nothing_can_merge_give_way_and_are_counted(path: Path) -> None:
    spool = Spool(path, "boot", most_bytes=120_000)
    for minute in range(20):
        releases = [f"vision/defect@{minute * 64 + number + 1}" for number in range(64)]
        models = tuple(
            ModelWindow(SlotName("cam"), release, Arm.ACTIVE, requests)
            for release, requests in zip(sorted(releases), range(1, 65), strict=True)
        )
        spool.put([Window(START + 60 * minute, 60, models)])
    before = spool.bytes_used
    spool.close()
    tight = Spool(path, "boot", most_bytes=before // 2)
    tight.put([plain_window(minute=30)])
    assert tight.bytes_used <= before // 2
    assert tight.lost > 0
    tight.close()


def test_windows_age_from_minutes_to_ten_minutes_to_hours() -> None:
    hour = [Row(number, 60 * number, 60 * number + 60) for number in range(60)]
    assert groups(hour, 3600) == ()
    tens = groups(hour, 3600 + 6 * 3600)
    assert [len(group) for group in tens] == [10] * 6
    (all_of_it,) = groups(hour, 3600 + 3 * DAY)
    assert all_of_it == tuple(hour)


def test_what_is_long_enough_already_is_left_alone() -> None:
    ten = [Row(1, 0, 600), Row(2, 0, 600)]
    assert groups(ten, 7 * 3600) == ()
