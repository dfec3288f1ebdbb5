"""Which version of the agent is started: always one that is there to serve the fleet again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sealane.names import Digest, ReleaseName
from sealane_agent.layout import Pointer
from sealane_agent.upgrade.starts import (
    CRASHES,
    PACKAGE,
    TRIAL_STARTS,
    Pointers,
    Starts,
    choose,
    choose_endpoint,
    well,
)

if TYPE_CHECKING:
    from sealane_agent.upgrade.starts import Launch


def version(number: int) -> Pointer:
    digest = Digest("sha256:" + str(number) * 64)
    return Pointer(ReleaseName("sealane/agent", number), digest, "agent")


ONE, TWO = version(1), version(2)
KEPT = Pointers(TWO, TWO, ONE)
TRIAL = Pointers(TWO, ONE, ONE)


def crashes(pointers: Pointers, times: int, boot: str = "b") -> list[Launch]:
    """So many starts, each of which ends without a word."""
    starts, found = Starts(), []
    for _ in range(times):
        found.append(choose(pointers, starts, boot))
        starts = found[-1].starts
    return found


def test_a_machine_without_pointers_runs_what_its_package_brought() -> None:
    assert choose(Pointers(), Starts(), "b").run == PACKAGE
    assert choose_endpoint(Pointers(), Starts(), "b").run == PACKAGE


def test_a_kept_version_is_started_without_an_alarm() -> None:
    found = choose(KEPT, Starts(), "b")
    assert (found.run, found.trial, found.given_up) == (TWO, False, None)


def test_a_version_on_trial_is_started_under_an_alarm() -> None:
    found = choose(TRIAL, Starts(), "b")
    assert (found.run, found.trial) == (TWO, True)


def test_a_version_on_trial_is_given_up_after_its_starts() -> None:
    *tried, last = crashes(TRIAL, TRIAL_STARTS + 1)
    assert [each.run for each in tried] == [TWO] * TRIAL_STARTS
    assert last.run == last.put_back == ONE
    assert last.given_up is not None
    assert last.given_up.manifest == TWO.manifest


def test_a_trial_that_was_told_to_stop_is_not_counted() -> None:
    starts = choose(TRIAL, Starts(), "b").starts
    for _ in range(5):
        found = choose(TRIAL, replace(starts, clean=True), "b")
        assert found.run == TWO
        starts = found.starts


def test_a_kept_version_that_ends_without_a_word_again_and_again_is_given_up() -> None:
    *kept, last = crashes(KEPT, CRASHES + 1)
    assert [each.run for each in kept] == [TWO] * CRASHES
    assert last.run == last.put_back == ONE
    assert last.given_up is not None
    assert "3 times" in last.given_up.reason


def test_what_it_falls_back_to_may_fall_back_to_the_package() -> None:
    fallen = Pointers(ONE, ONE, ONE)
    assert crashes(fallen, CRASHES + 1)[-1].run == PACKAGE
    assert crashes(Pointers(), 50)[-1].run == PACKAGE


def test_an_end_that_was_asked_for_and_a_power_cut_are_no_crashes() -> None:
    starts = Starts()
    for number in range(20):
        found = choose(KEPT, starts, f"boot-{number}")
        assert found.run == TWO
        starts = found.starts
    for _ in range(20):
        found = choose(KEPT, replace(starts, clean=True), "b")
        assert found.run == TWO
        starts = found.starts


def test_a_version_that_ran_well_begins_anew() -> None:
    tired = crashes(KEPT, CRASHES)[-1].starts
    assert choose(KEPT, replace(well(tired), clean=False), "b").run == TWO


def test_the_endpoint_never_runs_a_version_on_trial() -> None:
    assert choose_endpoint(TRIAL, Starts(), "b").run == ONE
    assert choose_endpoint(Pointers(TWO, None, None), Starts(), "b").run == PACKAGE


def test_an_endpoint_that_never_listens_falls_back_and_stays_there() -> None:
    starts, runs = Starts(), []
    for _ in range(3 * CRASHES):
        found = choose_endpoint(KEPT, starts, "b")
        runs.append(found.run)
        starts = found.starts
        assert found.put_back is None
    assert runs == [TWO] * CRASHES + [ONE] * CRASHES + [PACKAGE] * CRASHES


def test_an_endpoint_takes_up_a_newer_version_after_a_fallback() -> None:
    tired = Starts(ONE.manifest, 9, "b", clean=False)
    assert choose_endpoint(KEPT, tired, "b").run == TWO


@pytest.mark.parametrize("field", ["manifest", "count", "boot", "clean"])
def test_starts_that_lack_something_are_damaged(field: str) -> None:
    fields = {"manifest": "m", "count": 1, "boot": "b", "clean": True}
    assert Starts.decode(fields) == Starts("m", 1, "b", clean=True)
    del fields[field]
    with pytest.raises(KeyError):
        Starts.decode(fields)


some = st.sampled_from([None, PACKAGE, ONE, TWO, version(3)])


@given(
    st.builds(Pointers, some, some, some),
    st.lists(st.tuples(st.booleans(), st.sampled_from("ab")), min_size=30, max_size=30),
)
def test_whatever_ends_how_nothing_is_tried_for_ever(
    pointers: Pointers, ends: list[tuple[bool, str]]
) -> None:
    """Each version that was given up is not started again unless the pointers name it anew."""
    assume(pointers.previous in (None, PACKAGE) or pointers.previous != pointers.active)
    starts, away = Starts(), set[str]()
    for clean, boot in ends:
        found = choose(pointers, starts, boot)
        known = {pointers.active, pointers.lkg, pointers.previous, PACKAGE}
        assert found.run in known
        assert found.run.manifest not in away
        if found.given_up is not None:
            away.add(found.given_up.manifest)
            assert found.put_back is not None
            pointers = Pointers(found.put_back, found.put_back, pointers.previous)
            if pointers.previous and pointers.previous.manifest in away:
                pointers = replace(pointers, previous=None)
        starts = replace(found.starts, clean=clean)
