from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from importlib.resources import files
from itertools import count
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from sealane.errors import InvalidName
from sealane.holds import Hold
from sealane.settings import ConfigurationError
from sealane_agent.cli.hold import hold_line, until
from sealane_agent.errors import DiskTrouble, Refused
from sealane_agent.line.holds import MAX_HOLDS, Holds
from sealane_agent.line.requests import Ask, Release, Show, parse_request
from sealane_agent.slot.journal import Journal
from sealane_agent.zone import device_zone
from support.agent_fakes import START

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ASKED = {"slot": "cam", "owner": "press 7", "reason": "batch 12", "seconds": 60}


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal.db")
    yield opened
    opened.close()


class Clock:
    now = START


def holds_of(journal: Journal, clock: Clock) -> Holds:
    names = count(1)
    return Holds(journal, lambda: clock.now, lambda: f"h{next(names)}")


def asked(slot: str = "cam", seconds: int = 60, *, kept: bool = False) -> Ask:
    return Ask(slot, "press 7", "batch 12", timedelta(seconds=seconds), kept)


def line(**changes: object) -> bytes:
    return json.dumps({"hold": ASKED | changes}).encode()


def test_requests_are_read() -> None:
    assert parse_request(line()) == asked()
    assert parse_request(b'{"keep": ' + json.dumps(ASKED).encode() + b"}") == asked(kept=True)
    assert parse_request(b'{"release": "h1"}') == Release("h1")
    assert parse_request(b'{"holds": true}') == Show()


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"[" * 100_000,
        b'{"hold": 1}',
        b'{"release": 1}',
        b'{"holds": false}',
        line(seconds=True),
        line(seconds="60"),
        line(seconds=0),
        line(seconds=-1),
        line(seconds=1e300),
        line(slot="../cam"),
        line(slot=7),
        line(owner=""),
        line(owner=" "),
        line(owner="a\nb"),
        line(reason="x" * 201),
        line(reason=None),
    ],
)
def test_a_hold_without_an_end_an_owner_or_a_reason_is_refused(bad: bytes) -> None:
    with pytest.raises(InvalidName):
        parse_request(bad)


def test_a_hold_survives_the_supervisor_and_one_that_is_kept_does_not(journal: Journal) -> None:
    first = holds_of(journal, Clock())
    first.add(asked())
    first.add(asked(kept=True))
    assert [hold.id for hold in first.of("cam")] == ["h1", "h2"]
    assert [hold.id for hold in holds_of(journal, Clock()).of("cam")] == ["h1"]


ORDERED = Hold("m-1", "", "ada", "the plant is audited", START + timedelta(hours=1))


def test_the_managers_holds_count_beside_the_lines_and_take_the_place_of_earlier_ones(
    journal: Journal,
) -> None:
    holds = holds_of(journal, Clock())
    own = holds.add(asked())
    assert holds.order((ORDERED,))
    assert not holds.order((ORDERED,))
    assert {*holds.of("cam")} == {own, ORDERED}
    assert holds.of("gate") == (ORDERED,)
    assert {*holds_of(journal, Clock()).all()} == {own, ORDERED}, "also after a restart, offline"
    assert holds.order(())
    assert holds.all() == holds_of(journal, Clock()).all() == (own,)


def test_a_hold_of_the_manager_ends_by_itself_too(journal: Journal) -> None:
    clock = Clock()
    holds = holds_of(journal, clock)
    holds.order((ORDERED,))
    clock.now = ORDERED.until
    assert holds.all() == ()


def test_the_line_cannot_end_what_the_manager_holds_and_is_told_where(journal: Journal) -> None:
    holds = holds_of(journal, Clock())
    holds.order((ORDERED,))
    with pytest.raises(Refused, match="the manager holds m-1") as refused:
        holds.end("m-1")
    assert refused.value.hint == "end it there: sealane device release m-1"


def test_the_managers_holds_take_no_room_of_the_lines(journal: Journal) -> None:
    holds = holds_of(journal, Clock())
    holds.order(tuple(replace(ORDERED, id=f"m-{number}") for number in range(MAX_HOLDS)))
    for _ in range(MAX_HOLDS):
        holds.add(asked())
    with pytest.raises(Refused, match="64 holds already"):
        holds.add(asked())


def test_a_hold_that_could_not_be_written_holds_and_is_written_the_next_time(
    journal: Journal,
) -> None:
    holds = holds_of(journal, Clock())
    journal.close()
    with pytest.raises(DiskTrouble):
        holds.order((ORDERED,))
    assert holds.all() == (ORDERED,)
    with pytest.raises(DiskTrouble):
        holds.order((ORDERED,))


def test_a_hold_ends_by_itself_or_when_it_is_released(journal: Journal) -> None:
    clock = Clock()
    holds = holds_of(journal, clock)
    holds.add(asked())
    second = holds.add(asked(seconds=120))
    clock.now = START + timedelta(seconds=60)
    assert holds.all() == (second,)
    assert holds.end("h2")
    assert not holds.end("h2")
    assert holds.all() == ()
    assert holds_of(journal, clock).all() == ()


def test_a_hold_of_another_slot_holds_nothing_and_one_of_the_device_everything(
    journal: Journal,
) -> None:
    holds = holds_of(journal, Clock())
    holds.add(asked("gate"))
    assert holds.of("cam") == ()
    holds.add(asked(""))
    assert len(holds.of("cam")) == 1


def test_a_device_has_so_many_holds_at_most(journal: Journal) -> None:
    holds = holds_of(journal, Clock())
    for _ in range(MAX_HOLDS):
        holds.add(asked(kept=True))
    with pytest.raises(Refused, match="64 holds"):
        holds.add(asked())


BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("2h", 2),
        ("23:00", 1),
        ("21:00", 22),  # the night is an hour shorter
        ("2026-03-29T04:00", 5),
        ("2026-03-29T04:00+00:00", 7),
    ],
)
def test_an_end_is_written_in_the_devices_own_time(text: str, hours: int) -> None:
    now = datetime(2026, 3, 28, 22, tzinfo=BERLIN)
    assert until(text, now) == timedelta(hours=hours)


def test_what_is_no_time_is_refused() -> None:
    for text in ("", "later", "25:00", "2026-13-01T00:00"):
        with pytest.raises(InvalidName, match="no time"):
            until(text, datetime(2026, 3, 28, tzinfo=BERLIN))


def test_the_devices_zone_is_the_one_that_is_set_or_the_machines(tmp_path: Path) -> None:
    moment = datetime(2026, 7, 1, tzinfo=ZoneInfo("UTC"))
    tokyo = files("tzdata.zoneinfo").joinpath("Asia", "Tokyo").read_bytes()
    (tmp_path / "localtime").write_bytes(tokyo)
    assert moment.astimezone(device_zone("", tmp_path / "localtime")).hour == 9
    assert moment.astimezone(device_zone("Europe/Berlin")).hour == 2
    assert moment.astimezone(device_zone("", tmp_path / "missing")).hour == 0
    with pytest.raises(ConfigurationError, match=r"Mars/Olympus"):
        device_zone("Mars/Olympus")


def test_a_hold_is_shown_with_the_minute_that_was_asked_for() -> None:
    hold = {"id": "h1", "slot": "cam", "owner": "press 7", "reason": "batch 12"}
    shown = hold_line(hold | {"until": "2026-11-27T21:59:59.981+00:00"}, ZoneInfo("UTC"))
    assert shown == "h1  cam until 2026-11-27 22:00  press 7: batch 12"
