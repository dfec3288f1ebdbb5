"""Which devices of which rollouts were written: noted by the database itself, whoever wrote."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sealane.names import DeviceId
from sealane_manager.store.touched import EVERY, MOST_NAMES, Touched
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from support.rollouts import START, a_report
from support.stores import ADA, a_store, enrol, start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane_manager.store.store import Store

EDGE = DeviceId("edge-1")


@pytest.fixture
def store() -> Iterator[Store]:
    with a_store() as store:
        enrol(store, "edge-1", "edge-2", site="berlin")
        start(store)
        yield store


def run(store: Store, *statements: str) -> None:
    with store._database.write() as session:
        for statement in statements:
            session.connection().execute(text(statement))


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE rollout_device SET detail = 'x' WHERE device = 'edge-1'", {"edge-1"}),
        ("UPDATE rollout_device SET detail = 'x'", {"edge-1", "edge-2"}),
        ("DELETE FROM device_label WHERE device = 'edge-2'", {"edge-2"}),
        ("UPDATE device SET name = name, facts= '{}' WHERE id = 'edge-1'", {"edge-1"}),
        ("UPDATE rollout SET reason = 'x'", set()),
        ("UPDATE device SET last_seen = NULL", set()),
        ("DELETE FROM rollout_device WHERE device = 'edge-1'", None),
        ("DELETE FROM device WHERE id = 'edge-1'", None),
    ],
)
def test_the_devices_that_a_statement_wrote_are_named(
    store: Store, statement: str, expected: set[str] | None
) -> None:
    before = store.rollouts.revision
    run(store, statement)
    assert store.rollouts.moved_since("r-1", before) == expected


def test_what_was_rolled_back_was_not_written(store: Store) -> None:
    before = store.rollouts.revision
    with pytest.raises(IntegrityError):
        run(store, "UPDATE rollout_device SET detail = 'x'", "INSERT INTO rollout DEFAULT VALUES")
    run(store, "UPDATE rollout_device SET detail = 'y' WHERE device = 'edge-2'")
    assert store.rollouts.moved_since("r-1", before) == frozenset({"edge-2"})


def test_a_word_of_a_device_names_this_device_alone(store: Store) -> None:
    start(store, "r-2", slot="side")
    run(store, "UPDATE rollout_device SET state = 'leased'")
    before = store.rollouts.revision
    report = a_report("fetching", rollout="r-1", attempt_release="vision/defect@2")
    store.devices.report(EDGE, [report], START + timedelta(seconds=1))
    assert store.rollouts.moved_since("r-1", before) == frozenset({"edge-1"})
    assert store.rollouts.moved_since("r-2", before) == frozenset()
    store.devices.label(EDGE, {"line": "3"}, (), ADA)
    assert store.rollouts.moved_since("r-2", before) == frozenset({"edge-1"})


def test_what_lies_too_far_back_is_read_whole() -> None:
    touched = Touched()
    touched.add([("r-1", "edge-1")])
    assert touched.since(0, "r-1") == frozenset({"edge-1"})
    for number in range(MOST_NAMES // 100):
        touched.add([("r-2", f"box-{number}-{each}") for each in range(100)])
    assert touched.since(0, "r-1") is None
    assert touched.since(touched.revision, "r-1") == frozenset()


def test_devices_that_came_or_went_mean_all_of_them() -> None:
    touched = Touched()
    touched.add([("r-1", EVERY), ("r-1", "edge-1")])
    assert touched.since(0, "r-1") is None
    assert touched.since(0, "r-2") == frozenset()
