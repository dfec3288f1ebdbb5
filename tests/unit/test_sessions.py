from __future__ import annotations

from sealane.names import DeviceId
from sealane_manager.desk import Pace
from sealane_manager.sessions import Ending, Sessions

BOX = DeviceId("box-1")


class FakeLine:
    """A session that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[int] = []
        self.endings: list[Ending] = []

    def changed(self, generation: int) -> None:
        self.told.append(generation)

    def hang_up(self, ending: Ending) -> None:
        self.endings.append(ending)


def test_a_device_is_reachable_while_it_holds_a_session() -> None:
    sessions, line = Sessions(), FakeLine()
    sessions.opened(BOX, line)
    assert sessions.reachable() == {BOX}
    sessions.closed(BOX, line)
    assert sessions.reachable() == frozenset()


def test_a_newer_session_ends_the_older_and_outlives_it() -> None:
    sessions, older, newer = Sessions(), FakeLine(), FakeLine()
    sessions.opened(BOX, older)
    sessions.opened(BOX, newer)
    sessions.closed(BOX, older)

    assert older.endings == [Ending.REPLACED]
    assert sessions.reachable() == {BOX}
    sessions.notify(BOX, 7)
    assert (older.told, newer.told) == ([], [7])


def test_a_device_without_a_session_is_told_nothing() -> None:
    sessions = Sessions()
    sessions.notify(BOX, 1)
    sessions.end(BOX, Ending.REVOKED)
    assert sessions.reachable() == frozenset()


def test_a_manager_that_stops_ends_every_session() -> None:
    sessions = Sessions()
    lines = {DeviceId(f"box-{number}"): FakeLine() for number in range(3)}
    for device, line in lines.items():
        sessions.opened(device, line)

    sessions.end_all()

    assert all(line.endings == [Ending.STOPPING] for line in lines.values())


def test_a_device_may_speak_more_seldom_than_the_fleet_and_lives_as_long() -> None:
    pace = Pace(heartbeat_s=10.0)
    assert (pace.heartbeat_of(0.0), pace.silent_s()) == (10.0, 30.0)
    assert (pace.heartbeat_of(1800.0), pace.silent_s(1800.0)) == (1800.0, 5400.0)
    assert pace.heartbeat_of(1e9) == 3600.0, "and not never"
