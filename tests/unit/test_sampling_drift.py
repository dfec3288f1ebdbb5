"""Drift of inputs and ordered samples: what a device is told, and when."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sealane.names import DeviceId
from sealane.trust.director import from_targets, to_targets
from sealane.trust.documents import DirectorDocument, SamplingOrder, SlotAssignment
from sealane_manager.layout import StateFolder
from sealane_manager.sampling import Sampling
from sealane_manager.sessions import Sessions
from sealane_manager.store.records import SampleWish
from support.rollouts import MANIFEST, NEW, OLD, START, FakeClock
from support.samples import CAM, PUBLIC
from support.stores import a_store, enrol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sealane_manager.drift.watch import Place
    from sealane_manager.sessions import Ending

BOX, OTHER = DeviceId("box-1"), DeviceId("box-2")
HOUR = timedelta(hours=1)


class Line:
    """A session that counts how often its device is told that something changed."""

    def __init__(self) -> None:
        self.told = 0

    def changed(self, generation: int) -> None:
        self.told += generation > 0

    def hang_up(self, ending: Ending) -> None:
        """Stay."""


@pytest.fixture
def drifting() -> set[Place]:
    return set()


@pytest.fixture
def office(tmp_path: Path, drifting: set[Place]) -> Iterator[Sampling]:
    with a_store() as store:
        enrol(store, BOX, OTHER, site="berlin")
        state = StateFolder(tmp_path)
        state.keys.mkdir()
        office = Sampling(state, store, Sessions(), FakeClock(START), lambda: drifting)
        office.order(SampleWish(f"device={BOX}", CAM, HOUR), "ada", "why")
        yield office


def said(office: Sampling, device: DeviceId = BOX) -> SamplingOrder | None:
    (slot,) = office.ordered(device, (SlotAssignment(CAM, NEW, MANIFEST, 700),))
    return slot.sampling


def test_a_device_is_told_of_drift_of_the_release_that_it_shall_run(
    office: Sampling, drifting: set[Place]
) -> None:
    drifting |= {(BOX, str(OLD), CAM), (OTHER, str(NEW), CAM), (BOX, str(NEW), "side")}
    assert said(office) == SamplingOrder(said_key(office), START + HOUR)
    drifting.add((BOX, str(NEW), CAM))
    assert said(office) == SamplingOrder(said_key(office), START + HOUR, drift=True)
    assert said(office, OTHER) is None


def said_key(office: Sampling) -> bytes:
    order = said(office)
    assert order
    return order.key


def test_a_device_looks_again_when_drift_begins_and_when_it_ends(
    office: Sampling, drifting: set[Place]
) -> None:
    lines = {device: Line() for device in (BOX, OTHER)}
    for device, line in lines.items():
        office.sessions.opened(device, line)
    drifting |= {(BOX, str(NEW), CAM), (OTHER, str(NEW), CAM)}
    for place, told in ((None, 1), (None, 1), ((BOX, str(NEW), CAM), 2)):
        if place:
            drifting.remove(place)
        office.follow(START)
        assert lines[BOX].told == told
    assert lines[OTHER].told == 0  # nobody ordered samples of it


def test_nobody_is_told_once_the_order_is_over(office: Sampling, drifting: set[Place]) -> None:
    line = Line()
    office.sessions.opened(BOX, line)
    drifting.add((BOX, str(NEW), CAM))
    office.follow(START + 2 * HOUR)
    assert line.told == 0


@pytest.mark.parametrize("drift", [False, True])
def test_drift_stands_in_the_signed_document(drift: bool) -> None:  # noqa: FBT001 - the example
    order = SamplingOrder(PUBLIC, START + HOUR, drift=drift)
    slot = SlotAssignment(CAM, NEW, MANIFEST, 700, sampling=order)
    document = DirectorDocument(BOX, 1, START, START, "n", 1, 1, 1, (slot,))
    assert from_targets(to_targets(document)) == document
