"""Machines that are not known are remembered within a limit; none is meant unless it is clear."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane.names import DeviceId
from sealane_manager.errors import NotKnown, Refused
from sealane_manager.identity.knocks import MOST_KNOCKS, Knocks, meant
from sealane_manager.identity.succession import Key, Shown
from support.rollouts import START

BOX = DeviceId("box-2")


def shown(digit: str) -> Shown:
    return Shown(Key(digit * 64, b"pem"), START)


def test_who_calls_again_is_one_machine_with_its_first_and_last_call() -> None:
    knocks = Knocks()
    assert knocks.heard(BOX, shown("a"), START)
    assert not knocks.heard(BOX, shown("a"), START + timedelta(minutes=5))
    (knock,) = knocks.list()
    assert (knock.first, knock.last) == (START, START + timedelta(minutes=5))
    assert meant(knocks.list(), BOX, "") == knock


def test_who_called_longest_ago_is_forgotten_beyond_the_limit() -> None:
    knocks = Knocks()
    for number in range(MOST_KNOCKS):
        knocks.heard(DeviceId(f"d{number}"), shown("a"), START)
    knocks.heard(DeviceId("d0"), shown("a"), START)
    knocks.heard(BOX, shown("a"), START)
    names = {each.device for each in knocks.list()}
    assert len(names) == MOST_KNOCKS
    assert {"d0", BOX} < names
    assert "d1" not in names


def test_nobody_is_meant_who_did_not_call() -> None:
    knocks = Knocks()
    knocks.heard(BOX, shown("a"), START)
    with pytest.raises(NotKnown, match="no machine called box-3 asked to be let in"):
        meant(knocks.list(), DeviceId("box-3"), "")
    with pytest.raises(NotKnown, match="with the key bbbbbbbb"):
        meant(knocks.list(), BOX, "bbbbbbbb")
    knocks.forget(BOX)
    with pytest.raises(NotKnown):
        meant(knocks.list(), BOX, "")


@pytest.mark.parametrize("key", ["", "a", "ab"])
def test_two_machines_of_one_name_are_told_apart_by_their_keys(key: str) -> None:
    knocks = Knocks()
    for digit in "ab":
        knocks.heard(BOX, shown(digit), START)
    with pytest.raises((Refused, NotKnown)):
        meant(knocks.list(), BOX, key)
    assert meant(knocks.list(), BOX, "AAAAAAAA").shown == shown("a")


@given(st.lists(st.sampled_from("abc"), max_size=6), st.sampled_from(["", "a" * 8, "b" * 64]))
def test_whoever_is_meant_has_called_and_is_the_only_one(digits: list[str], key: str) -> None:
    knocks = Knocks()
    for digit in digits:
        knocks.heard(BOX, shown(digit), START)
    fitting = [each for each in knocks.list() if each.shown.key.fingerprint.startswith(key)]
    try:
        assert [meant(knocks.list(), BOX, key)] == fitting
    except (NotKnown, Refused):
        assert len(fitting) != 1
