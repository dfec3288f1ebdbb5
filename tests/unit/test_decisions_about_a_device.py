"""Which lines of the decision log are about a device, and which only about one named like it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sealane.names import DeviceId
from sealane_manager.store.records import DecisionRecord
from support.rollouts import START
from support.stores import a_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane_manager.store.store import Store

EDGE = DeviceId("edge-1")
LINE = DecisionRecord(START, "", "ada", "label", "")


@pytest.fixture
def store() -> Iterator[Store]:
    with a_store() as store:
        yield store


@pytest.mark.parametrize(
    ("actor", "detail", "about"),
    [
        ("ada", "device edge-1", True),
        ("ada", "device edge-1: lost", True),
        ("ada", "device edge-1, key 00: lost", True),
        ("ada", "ab12 of demo/tiny@1 in cam of device edge-1", True),
        ("ada", "demo/tiny@1 on device edge-1. It was asked for", True),
        ("device edge-1", "committed", True),
        ("ada", "device edge-10: lost", False),
        ("ada", "device edge-1.old: lost", False),
        ("ada", "device edge-1_b, key 00", False),
        ("ada", "device edge-1-b", False),
        ("ada", "device my-edge-1: lost", False),
        ("device edge-10", "committed", False),
        ("device edge-10", "in place of device edge-1: lost", True),
    ],
)
def test_a_line_is_about_a_device_that_it_names_wholly(
    store: Store, actor: str, detail: str, *, about: bool
) -> None:
    store.decisions.write(replace(LINE, actor=actor, detail=detail))
    assert bool(store.audit.about(EDGE, 10)) is about


def test_signs_of_a_pattern_in_a_name_stand_for_themselves(store: Store) -> None:
    store.decisions.write(replace(LINE, detail="device aXb: lost"))
    assert store.audit.about(DeviceId("a_b"), 10) == ()


def test_the_newest_lines_come_first_and_no_more_than_were_asked_for(store: Store) -> None:
    for number in range(4):
        store.decisions.write(replace(LINE, detail=f"device edge-1: {number}"))
        store.decisions.write(replace(LINE, detail=f"device edge-10: {number}"))
    found = store.audit.about(EDGE, 2)
    assert [line.detail for line in found] == ["device edge-1: 3", "device edge-1: 2"]
