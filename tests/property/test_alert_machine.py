"""People are told once, in time, of what is, and never of what a silence or another alert hides."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from sealane_manager.alerts.machine import GONE, REMEMBERED, acknowledged, look
from sealane_manager.alerts.rules import BY_NAME
from sealane_manager.alerts.types import Alert, AlertState, Finding, Notice, Silence
from support.alerting import NOW, a_finding

Alerts = dict[tuple[str, str], Alert]

SITE = a_finding("berlin", "site_silent")
ONE = a_finding("box-1", "silent")
TWO = a_finding("box-2", "silent")
CRASH = a_finding("box-1")
SUBSETS = st.sets(st.sampled_from([SITE, ONE, TWO, CRASH]))


class World:
    """Alerts over time."""

    def __init__(self) -> None:
        self.alerts: Alerts = {}
        self.now = NOW

    def see(
        self, *found: Finding, after_s: float = 15, silences: tuple[Silence, ...] = ()
    ) -> tuple[Notice, ...]:
        self.now += timedelta(seconds=after_s)
        change = look(self.alerts, found, silences, self.now)
        self.alerts |= change.alerts
        for key in change.gone:
            del self.alerts[key]
        return change.notices


def told(notices: tuple[Notice, ...]) -> list[tuple[str, bool, int]]:
    return [(notice.rule, notice.resolved, len(notice.alerts)) for notice in notices]


def a_silence(minutes: int = 10, **what: str) -> Silence:
    fields = {"rule": "", "site": "", "subject": "", **what}
    return Silence("s-1", **fields, until=NOW + timedelta(minutes=minutes), by="ada", reason="x")


def test_an_alert_opens_once_and_ends_once() -> None:
    world = World()
    assert told(world.see(CRASH)) == [("crash_loop", False, 1)]
    assert told(world.see(CRASH)) == []
    assert told(world.see()) == []
    assert told(world.see(after_s=60)) == [("crash_loop", True, 1)]
    assert told(world.see(after_s=60)) == []
    assert world.alerts[CRASH.key].state is AlertState.RESOLVED


def test_a_rule_that_must_hold_tells_nobody_before() -> None:
    world = World()
    assert told(world.see(ONE)) == []
    assert world.alerts[ONE.key].state is AlertState.PENDING
    assert told(world.see(ONE, after_s=61)) == [("silent", False, 1)]


def test_what_went_away_before_it_held_is_forgotten() -> None:
    world = World()
    world.see(ONE)
    assert told(world.see(after_s=61)) == []
    assert world.alerts == {}


def test_what_flaps_stays_one_alert() -> None:
    world = World()
    world.see(CRASH)
    for _ in range(5):
        assert told(world.see(after_s=30)) == []
        assert told(world.see(CRASH, after_s=20)) == []


def test_what_comes_back_after_its_end_is_told_again() -> None:
    world = World()
    world.see(CRASH)
    world.see(after_s=61)
    assert told(world.see(CRASH)) == [("crash_loop", False, 1)]
    assert world.alerts[CRASH.key].count == 2


def test_alerts_of_a_rule_at_a_site_are_told_together() -> None:
    world = World()
    world.see(ONE, TWO)
    (notice,) = world.see(ONE, TWO, after_s=61)
    assert (notice.site, len(notice.alerts)) == ("berlin", 2)
    assert notice.headline == "silent: 2 of them at berlin"


def test_a_site_that_is_away_is_one_alert() -> None:
    world = World()
    world.see(SITE, ONE, TWO)
    assert told(world.see(SITE, ONE, TWO, after_s=61)) == [("site_silent", False, 1)]
    assert world.alerts[ONE.key].state is AlertState.OPEN
    # the site is back, one device is not: now that one is told
    world.see(ONE, after_s=30)
    assert told(world.see(ONE, after_s=61)) == [("silent", False, 1), ("site_silent", True, 1)]


def test_a_silence_hides_until_it_ends() -> None:
    world, quiet = World(), (a_silence(subject="box-1"),)
    assert told(world.see(CRASH, silences=quiet)) == []
    assert told(world.see(CRASH, after_s=700, silences=quiet)) == [("crash_loop", False, 1)]


def test_a_silence_of_another_site_hides_nothing() -> None:
    world = World()
    quiet = (a_silence(site="paris"), a_silence(rule="silent"))
    assert told(world.see(CRASH, silences=quiet)) == [("crash_loop", False, 1)]


def test_what_ends_under_a_silence_was_never_told() -> None:
    world, quiet = World(), (a_silence(site="berlin"),)
    world.see(CRASH, silences=quiet)
    assert told(world.see(after_s=61, silences=quiet)) == []


def test_an_acknowledged_alert_is_quiet_and_still_ends() -> None:
    world = World()
    world.see(CRASH)
    world.alerts[CRASH.key] = acknowledged(world.alerts[CRASH.key], "ada")
    assert told(world.see(CRASH)) == []
    assert world.alerts[CRASH.key].by == "ada"
    assert told(world.see(after_s=61)) == [("crash_loop", True, 1)]


def test_old_alerts_are_forgotten() -> None:
    world = World()
    world.see(CRASH)
    world.see(after_s=61)
    world.see(after_s=REMEMBERED.total_seconds() + 1)
    assert world.alerts == {}


@given(st.lists(st.tuples(SUBSETS, st.sampled_from([5, 20, 61, 300])), max_size=25))
def test_every_end_was_preceded_by_a_beginning(steps: list[tuple[set[Finding], int]]) -> None:
    world = World()
    open_now: set[tuple[str, str]] = set()
    for found, seconds in steps:
        for notice in world.see(*found, after_s=seconds):
            for alert in notice.alerts:
                assert (alert.key in open_now) == notice.resolved
                open_now ^= {alert.key}
        for key in open_now:
            assert world.alerts[key].told
            assert world.now - world.alerts[key].seen < GONE


@given(st.lists(st.tuples(SUBSETS, st.sampled_from([5, 20, 61, 300])), max_size=25))
def test_whatever_stays_is_told_or_explained(steps: list[tuple[set[Finding], int]]) -> None:
    world = World()
    for found, seconds in steps:
        world.see(*found, after_s=seconds)
    longest = max(BY_NAME[rule].holds for rule in ("silent", "site_silent", "crash_loop"))
    last = {ONE, CRASH}
    world.see(*last, after_s=1)
    world.see(*last, after_s=longest.total_seconds() + GONE.total_seconds())
    world.see(*last, after_s=1)
    assert all(world.alerts[finding.key].told for finding in last)
