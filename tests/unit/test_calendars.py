"""Calendars: hours, freezes and holidays of a site in its own time zone, and what they stop."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sealane.errors import InvalidName
from sealane.names import DeviceId
from sealane_manager.calendars import (
    MAX_CALENDARS,
    Calendar,
    Closed,
    Closings,
    all_open,
    checked,
    closed,
    first_to_open,
    named,
    opening,
)
from sealane_manager.errors import NotKnown, Refused
from sealane_manager.rollout.advance import advance
from sealane_manager.rollout.terms import Freeze, Terms, Times
from sealane_manager.rollout.types import DeviceState, Grant, RolloutState
from support.rollouts import START, a_device, a_rollout, a_spec
from support.stores import ADA, a_store, enrol, start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane_manager.rollout.types import Rollout, RolloutDevice
    from sealane_manager.store.store import Store

BERLIN = Calendar("berlin", "site=berlin", "Europe/Berlin", ("mon-fri 22:00-05:00",))
LISBON = Calendar("lisbon", "site=lisbon", "Europe/Lisbon", holidays=("12-25",))
YULE = Freeze(date(2026, 12, 24), date(2027, 1, 2))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def opens(calendar: Calendar, now: str) -> str:
    found = opening(calendar, utc(now))
    if found is None:
        return "never"
    return found.astimezone(ZoneInfo(calendar.zone)).isoformat(timespec="minutes")


def test_hours_are_those_on_the_wall_clock_of_the_site_in_winter_and_in_summer() -> None:
    assert opens(BERLIN, "2026-11-27T15:00") == "2026-11-27T22:00+01:00"
    assert opens(BERLIN, "2026-07-27T15:00") == "2026-07-27T22:00+02:00"
    assert closed(BERLIN, utc("2026-11-27T21:30")) is None
    assert closed(BERLIN, utc("2026-07-27T20:30")) is None


def test_a_change_of_the_clock_moves_hours_as_the_wall_clock_says() -> None:
    sunday = Calendar("s", "", "Europe/Berlin", ("sun 02:30-04:00",))
    assert opens(sunday, "2026-03-28T12:00") == "2026-03-29T03:00+02:00"
    assert opens(sunday, "2026-10-24T12:00") == "2026-10-25T02:30+02:00"


def test_a_freeze_is_of_days_at_the_site_and_ends_at_its_midnight() -> None:
    frozen = replace(BERLIN, hours=(), freezes=(YULE,))
    assert closed(frozen, utc("2026-12-23T22:59")) is None
    why = closed(frozen, utc("2026-12-23T23:00"))
    assert why is not None
    assert why.words == (
        "calendar berlin is closed (freeze 2026-12-24 to 2027-01-02);"
        " goes on at 2027-01-03 00:00 Europe/Berlin"
    )


def test_after_a_freeze_it_opens_in_its_next_hours() -> None:
    frozen = replace(BERLIN, freezes=(YULE,))
    assert opens(frozen, "2026-12-24T12:00") == "2027-01-04T22:00+01:00"


def test_a_holiday_comes_every_year() -> None:
    for year in (2026, 2031):
        assert opens(LISBON, f"{year}-12-25T10:00") == f"{year}-12-26T00:00+00:00"


def test_a_calendar_that_never_opens_says_so() -> None:
    always = replace(LISBON, freezes=(Freeze(date(2000, 1, 1), date(2999, 1, 1)),))
    why = closed(always, START)
    assert why is not None
    assert why.words.endswith("it opens no more")


def test_of_several_calendars_of_a_device_the_last_to_open_counts() -> None:
    both = (replace(BERLIN, selector=""), replace(LISBON, selector="", holidays=("11-27",)))
    now = utc("2026-11-27T15:00")
    found = Closings(both, now).of("d1", {})
    assert found is not None
    assert found.calendar == "lisbon"
    assert all_open(both, now) == utc("2026-11-28T00:00")


def test_they_open_in_the_order_of_moments_also_while_the_wall_clock_goes_back() -> None:
    zone = ZoneInfo("Europe/Berlin")
    earlier = Closed("earlier", "hours", utc("2026-10-25T00:50").astimezone(zone))
    later = Closed("later", "hours", utc("2026-10-25T01:10").astimezone(zone))
    assert first_to_open((later, earlier)) == earlier


def test_a_calendar_holds_for_the_devices_that_its_selector_means() -> None:
    closings = Closings((BERLIN,), utc("2026-11-27T15:00"))
    assert closings.of("d1", {"site": "berlin"})
    assert closings.of("d1", {"site": "lisbon"}) is None


def test_all_means_every_calendar() -> None:
    assert named((BERLIN, LISBON), ("all",)) == (BERLIN, LISBON)
    assert named((BERLIN, LISBON), ("lisbon",)) == (LISBON,)


@given(
    st.sampled_from(("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC")),
    st.lists(
        st.sampled_from(("mon-fri 22:00-05:00", "sun 02:00-03:00", "daily 23:30-00:15")), max_size=2
    ),
    st.lists(st.sampled_from((YULE, Freeze(date(2026, 3, 28), date(2026, 3, 29)))), max_size=2),
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 1)),  # noqa: DTZ001 - made aware below
)
@example("Australia/Lord_Howe", ["sun 02:00-03:00"], [], datetime(2026, 9, 27))  # noqa: DTZ001 - made aware below
def test_it_is_open_when_it_says_that_it_opens_and_not_before(
    zone: str, hours: list[str], freezes: list[Freeze], naive: datetime
) -> None:
    now = naive.replace(tzinfo=UTC)
    calendar = Calendar("c", "", zone, tuple(hours), tuple(freezes))
    found = opening(calendar, now)
    assert found is not None
    assert found >= now
    assert closed(calendar, found) is None
    assert (found == now) == (closed(calendar, now) is None)
    if found > now:
        assert closed(calendar, found - timedelta(microseconds=1)) is not None


@pytest.mark.parametrize(
    "wrong",
    [
        replace(BERLIN, name="all"),
        replace(BERLIN, name="Big Name"),
        replace(BERLIN, selector="site=="),
        replace(BERLIN, zone="Europe/Atlantis"),
        replace(BERLIN, zone="../../etc/passwd"),
        replace(BERLIN, hours=("at night",)),
        replace(BERLIN, hours=("daily 01:00-02:00",) * 99),
        replace(BERLIN, freezes=(Freeze(date(2026, 2, 2), date(2026, 2, 1)),)),
        replace(BERLIN, holidays=("13-01",)),
        replace(BERLIN, holidays=("12-25",) * 367),
    ],
)
def test_a_calendar_that_means_nothing_is_refused(wrong: Calendar) -> None:
    with pytest.raises(InvalidName):
        checked(wrong)


# In a rollout


def at(site: str) -> RolloutDevice:
    return a_device(site, labels=(("site", site),))


def running(*members: RolloutDevice) -> Rollout:
    return a_rollout(a_spec(), members, calendars=(BERLIN, LISBON))


def test_places_are_given_where_it_is_open_and_the_rest_follows_when_it_opens() -> None:
    now = utc("2026-11-27T15:00")
    step = advance(running(at("berlin"), at("lisbon")), now)
    assert step.decisions == (Grant(DeviceId("lisbon")),)
    night = advance(running(at("berlin"), at("lisbon")), utc("2026-11-27T21:00"))
    assert [each.device for each in night.decisions if isinstance(each, Grant)] == [
        "berlin",
        "lisbon",
    ]


def test_where_all_are_closed_the_rollout_says_what_stops_it_and_when_it_goes_on() -> None:
    found = advance(running(at("berlin")), utc("2026-11-27T15:00")).rollout
    assert found.reason == (
        "calendar berlin is closed (its hours are mon-fri 22:00-05:00);"
        " goes on at 2026-11-27 22:00 Europe/Berlin"
    )


def test_a_device_that_failed_is_tried_again_only_when_its_site_is_open() -> None:
    now = utc("2026-11-27T15:00")
    again = replace(at("berlin"), state=DeviceState.FAILED, retry_at=now)
    assert advance(running(again), now).decisions == ()


def test_a_scheduled_rollout_begins_when_its_time_came_and_a_site_is_open() -> None:
    times = Times(start=utc("2026-11-27T15:00"))
    rollout = replace(
        running(at("berlin")),
        spec=a_spec(terms=Terms(times=times)),
        state=RolloutState.SCHEDULED,
    )
    still = advance(rollout, utc("2026-11-27T16:00")).rollout
    assert still.state is RolloutState.SCHEDULED
    assert "goes on at 2026-11-27 22:00 Europe/Berlin" in still.reason
    assert advance(rollout, utc("2026-11-27T21:00")).rollout.state is RolloutState.RUNNING


# In the store


@pytest.fixture
def store() -> Iterator[Store]:
    with a_store() as store:
        enrol(store, "edge-1", site="berlin")
        yield store


def keeps_to(*names: str) -> Terms:
    return Terms(times=Times(calendars=names))


def test_a_calendar_is_kept_and_a_rollout_reads_it_as_it_is_now(store: Store) -> None:
    store.calendars.put(replace(BERLIN, freezes=(YULE,), holidays=("05-01",)), ADA)
    made = start(store, terms=keeps_to("berlin"))
    assert made.calendars == store.calendars.list()
    assert made.devices[0].labels == (("site", "berlin"),)
    store.calendars.put(replace(BERLIN, hours=()), ADA)
    assert store.rollouts.get("r-1").calendars == (replace(BERLIN, hours=()),)


def test_a_rollout_cannot_keep_to_a_calendar_that_is_not_there(store: Store) -> None:
    with pytest.raises(NotKnown, match="there is no calendar mars"):
        start(store, terms=keeps_to("mars", "all"))


def test_a_calendar_is_not_taken_away_under_a_rollout(store: Store) -> None:
    store.calendars.put(BERLIN, ADA)
    start(store, terms=keeps_to("berlin"))
    with pytest.raises(Refused, match="rollout r-1 keeps to calendar berlin"):
        store.calendars.remove("berlin", ADA)
    with pytest.raises(NotKnown, match="there is no calendar mars"):
        store.calendars.remove("mars", ADA)
    store.calendars.put(LISBON, ADA)
    store.calendars.remove("lisbon", ADA)
    assert [each.name for each in store.calendars.list()] == ["berlin"]


def test_there_is_a_most_of_calendars(store: Store) -> None:
    for number in range(MAX_CALENDARS):
        store.calendars.put(replace(LISBON, name=f"c{number}"), ADA)
    with pytest.raises(Refused, match="256 calendars already"):
        store.calendars.put(BERLIN, ADA)
